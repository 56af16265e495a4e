/* handle.h - the life of a handle. What the calls promise stands in wal.h at wal_open, wal_open_io, wal_close.
 *
 * May include: log.h. */

#ifndef WAL_HANDLE_H
#define WAL_HANDLE_H

#include "wal/log.h"

int handle_open(const char *directory, const struct wal_options *options, struct wal **log_out,
                struct wal_verdict *verdict);
int handle_open_io(struct wal_io *io, const struct wal_options *options, struct wal **log_out,
                   struct wal_verdict *verdict);
/* What lies below a read-only handle now, opened a second time, with text in no verdict: while other threads use the
 * first one's disk. To be closed. */
int handle_look_again(struct wal *log, struct wal **now_out);
/* The anchor that a full disk put off, if it did, and all that begins with it: when a START at this index is worth it.
 * The lock held. */
int handle_start_deferred(struct wal *log, uint64_t first_index, bool reset);
int handle_close(struct wal *log);

#endif
