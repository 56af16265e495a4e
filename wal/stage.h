/* stage.h - accepting: indexes, tickets, and places in the order of the log.
 *
 * May include: log.h. */

#ifndef WAL_STAGE_H
#define WAL_STAGE_H

#include "wal/log.h"

/* What wal_append does, the lock held; may give it up while it waits for room. */
int stage_append(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt);

/* A START batch: the log begins at first_index. Above last index + 1 it is a reset. */
int stage_start(struct wal *log, uint64_t first_index, bool reset, struct wal_receipt *receipt);

/* A batch of its own without append or ticket: MARK or CLOSE. WAL_EAGAIN, WAL_ENOSPC: there is no place for it. */
int stage_control(struct wal *log, enum batch_kind kind);

#endif
