/* commit_parts.h - what a thread that leads (commit_wait.c) and the ring (commit_ring.c) share: what may be written
 * now, how it is made ready, and what follows from its completion. For the files commit*.c alone.
 *
 * May include: commit.h. */

#ifndef WAL_COMMIT_PARTS_H
#define WAL_COMMIT_PARTS_H

#include "wal/commit.h"

/* All with the lock held. */

enum work { WORK_NONE, WORK_BATCH, WORK_ROLL };
enum work commit_next_work(struct wal *log);

/* Seals the front batch and fills in its write; the strategy says how it is made durable. */
void commit_prepare_batch(struct wal *log, struct batch *batch, struct strategy *strategy);
/* The write is over: all that is durable by it counts from here on. */
void commit_complete_batch(struct wal *log, struct batch *batch);

/* Fills the two blocks of a roll. From here on batches are sealed into the next segment. */
void commit_prepare_roll(struct wal *log);
/* Both are over. */
void commit_complete_roll(struct wal *log);

/* Something is at the disk that poll() will tell of. */
bool commit_submitted_in_flight(const struct wal *log);

/* Somebody who waits should look whether it can lead, or must poll for what was submitted: the event loop may never
 * come back. */
void commit_wake_next_leader(struct wal *log);

/* Waits in poll() for what others submitted (commit_ring.c). Gives the lock up on the way. */
void commit_poll_for_all(struct wal *log);

#endif
