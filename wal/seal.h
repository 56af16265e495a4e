/* seal.h - the order of batches: numbers, marks, the chain, and the state that they leave.
 *
 * All with the lock held. May include: log.h. */

#ifndef WAL_SEAL_H
#define WAL_SEAL_H

#include "wal/log.h"

/* Makes the batch at the front of the queue ready for writing. */
void seal_next_batch(struct wal *log, struct batch *batch);

/* Fills a block with an anchor that opens `segment` at `offset`, and moves log->sealed on. cut may be NULL. */
void seal_anchor(struct wal *log, struct segment *segment, uint64_t offset, uint64_t salt, const struct anchor_cut *cut,
                 uint8_t *block);

/* Closes the open batch, if any: it takes no more appends. */
void seal_close_open_batch(struct wal *log);

#endif
