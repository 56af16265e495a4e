/* commit.h - from an accepted batch to a durable one: sealing, writing, rolling, acknowledging, poison.
 *
 * May include: log.h. */

#ifndef WAL_COMMIT_H
#define WAL_COMMIT_H

#include "wal/log.h"

/* All with the lock held, unless said otherwise. */

/* Is there something to write that may be written now? */
bool commit_has_work(struct wal *log);

/* Starts what may be started, by submit(). Only where log->asynchronous. */
void commit_pump(struct wal *log);

/* Carries out one piece of work by execute(): gathers, writes, acknowledges. Nobody may be leading. Gives the lock up
 * on the way. */
void commit_lead(struct wal *log, bool gather);

/* Does the next useful thing for somebody who must wait for a batch to be written: lead, or poll, or sleep until
 * something changes. */
void commit_advance(struct wal *log);

/* Takes completions that are there, without waiting. Starts the next work unless there was progress to tell: then true
 * when there is work that wal_submit, or the next turn, is to start. */
bool commit_dispatch(struct wal *log);

/* Waits for a ticket. Takes the lock itself. */
int commit_wait(struct wal *log, uint64_t ticket);

/* Waits until all that was accepted is durable, or the handle is poisoned. */
int commit_drain(struct wal *log);

/* First failure wins: nothing more is written or accepted, everyone who waits is told. */
void commit_poison(struct wal *log, const char *operation, uint64_t segment, uint64_t offset, int result);

#endif
