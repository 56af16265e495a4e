/* stage.h - accepting: indexes, tickets, and places in the order of the log.
 *
 * May include: log.h. */

#ifndef WAL_STAGE_H
#define WAL_STAGE_H

#include "wal/log.h"

/* Of the last segment of a full disk: for a CLOSE, the anchor of an open, and a START that frees a segment (and cut.c's
 * DEFER_BLOCKS: an open with no more than these puts its anchor off). */
enum { STAGE_LAST_BLOCKS = 4 };

/* What wal_append does, the lock held; may give it up while it waits for room. */
int stage_append(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt);

/* A START batch: the log begins at first_index. Above last index + 1 it is a reset. */
int stage_start(struct wal *log, uint64_t first_index, bool reset, struct wal_receipt *receipt);

/* A truncation of the start to where it is: nothing to say, where there are few blocks to say it. It has a ticket all
 * the same, durable at once. May give the lock up until what came before is durable. */
int stage_nothing(struct wal *log, struct wal_receipt *receipt);

/* On a handle whose anchor is put off: is a START at this index worth the blocks that it takes? 0; WAL_EINDEX, or
 * WAL_ENOSPC: it frees no segment. */
int stage_may_start(struct wal *log, uint64_t first_index, bool reset);

/* A batch of its own without append or ticket: MARK or CLOSE. WAL_EAGAIN, WAL_ENOSPC: there is no place for it. */
int stage_control(struct wal *log, enum batch_kind kind);

#endif
