/* open.h - from a directory to a handle that appends.
 *
 * May include: log.h. */

#ifndef WAL_OPEN_H
#define WAL_OPEN_H

#include "wal/log.h"

/* log->io, log->options and the empty handle are there; everything else is made here. On failure the caller destroys
 * the handle. */
int open_recovered(struct wal *log, struct wal_verdict *verdict);

/* The anchor that was put off on a full disk (log->anchor_deferred): now, so that the start can be truncated. The lock
 * held; blocks. */
int open_anchor_deferred(struct wal *log);

#endif
