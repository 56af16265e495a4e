/* open.h - from a directory to a handle that appends.
 *
 * May include: log.h. */

#ifndef WAL_OPEN_H
#define WAL_OPEN_H

#include "wal/log.h"

/* Fills in defaults and checks every limit. WAL_EINVAL with the reason in report. `caller` may be NULL. */
int open_options(const struct wal_options *caller, struct wal_options *out, struct report *report);

/* log->io, log->options and the empty handle are there; everything else is made here. On failure the caller destroys
 * the handle. */
int open_recovered(struct wal *log, struct wal_verdict *verdict);

#endif
