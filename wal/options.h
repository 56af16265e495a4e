/* options.h - the caller's options: defaults and limits.
 *
 * May include: wal.h, report.h. */

#ifndef WAL_OPTIONS_H
#define WAL_OPTIONS_H

#include "wal/report.h"
#include "wal/wal.h"

/* Fills in defaults and checks every limit. WAL_EINVAL with the reason in report. `caller` may be NULL.
 * *later_bytes_min: a batch that is smaller is not sent while another one is at the disk; 0: any may be. */
int options_check(const struct wal_options *caller, struct wal_options *out, uint32_t *later_bytes_min,
                  struct report *report);

#endif
