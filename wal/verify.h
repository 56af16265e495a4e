/* verify.h - every record of the log, read from the disk and checked.
 *
 * May include: log.h. */

#ifndef WAL_VERIFY_H
#define WAL_VERIFY_H

#include "wal/log.h"

/* What wal_verify does. */
int verify_log(struct wal *log, struct wal_verify_report *report,
               int (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total), void *context);

#endif
