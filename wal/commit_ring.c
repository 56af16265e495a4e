/* commit_ring.c - commits of an event loop, by the ring.
 *
 * The happy path: wal_submit starts what may be started (commit_pump); the ring's descriptor wakes the loop;
 * wal_dispatch takes what has completed, and leaves the next write to wal_submit, so that what the loop appends in
 * answer goes out with it; but a complete batch does not wait while the loop copies what is for the one behind it. A
 * thread that waits for a batch polls for all of them meanwhile (commit_poll_for_all).
 *
 * What can fail: a submission or a poll. The handle is poisoned.
 *
 * Invariants: one thread polls at a time; nothing is submitted while a thread leads; completions are noted inside
 * poll() and acted on behind it, with the lock held.
 *
 * May include: commit_parts.h, check.h. */

#define _GNU_SOURCE
#include "wal/commit_parts.h"

#include "wal/check.h"

#include <stddef.h>
#include <unistd.h>

/* Runs inside poll(), with or without the lock: only notes the operation. */
static void note_completed(struct wal_io_op *op)
{
    struct wal *log = op->owner;
    op->next = log->completed;
    log->completed = op;
}

static void submit_op(struct wal *log, struct wal_io_op *op, uint64_t segment)
{
    op->done = note_completed;
    int result = log->io->ops->submit(log->io, op);
    if (result != 0) {
        op->result = result;
        commit_poison(log, "submitting a write to", segment, op->offset, result);
    }
}

/* Starts what may be started; with complete_only, no batch that could still take in what is appended next, and no roll.
 */
static void pump(struct wal *log, bool complete_only)
{
    CHECK(log->asynchronous);
    bool submitted = false;
    while (!log->leading) {
        enum work work = commit_next_work(log);
        if (complete_only && !(work == WORK_BATCH && log_batch(log, log->queue_next)->state == BATCH_CLOSED)) {
            break;
        }
        if (work == WORK_BATCH) {
            struct batch *batch = log_batch(log, log->queue_next);
            commit_prepare_batch(log, batch, &log->strategies[1]);
            submit_op(log, &batch->op, batch->head.segment);
            log->in_flight -= log->poison != 0;
            submitted = true;
        } else if (work == WORK_ROLL) {
            commit_prepare_roll(log);
            for (unsigned i = 0; i < 2 && log->poison == 0; i++) {
                submit_op(log, &log->roll_ops[i], log->roll_to->number);
                log->roll_pending -= log->poison != 0 ? 2 - i : 0;
            }
            if (log->roll_pending == 0) {
                log->roll_from->pins--; /* Neither of the two was taken. */
            }
            submitted = true;
        } else {
            break;
        }
    }
    if (submitted && !log->polling) {
        commit_wake_next_leader(log);
    }
}

void commit_pump(struct wal *log)
{
    pump(log, false);
}

static void act_on_completed(struct wal *log)
{
    struct wal_io_op *op = log->completed;
    log->completed = NULL;
    while (op != NULL) {
        struct wal_io_op *next = op->next;
        if (op == &log->roll_ops[0] || op == &log->roll_ops[1]) {
            CHECK(log->roll_pending > 0);
            if (--log->roll_pending == 0) {
                commit_complete_roll(log);
            }
        } else {
            struct batch *batch = (struct batch *)((char *)op - offsetof(struct batch, op));
            strategy_learn(&log->strategies[1], op->method, op->size, now_ns() - batch->submitted_ns);
            commit_complete_batch(log, batch);
        }
        op = next;
    }
}

/* Does a thread sleep until some batch is durable? */
static bool somebody_waits(const struct wal *log)
{
    for (uint32_t slot = 0; slot < log->batch_count; slot++) {
        if (log->waiters[slot] != 0) {
            return true;
        }
    }
    return log->room_waiters != 0;
}

bool commit_dispatch(struct wal *log)
{
    if (!log->asynchronous) {
        return false;
    }
    if (log->polling) {
        /* The one that polls takes what has completed and calls the loop then; until that the loop need not turn. */
        uint64_t count;
        (void)!read(log->event_fd, &count, sizeof(count));
        return false;
    }
    uint64_t durable_before = log->durable_number;
    log->polling = true;
    int result = log->io->ops->poll(log->io, 0);
    log->polling = false;
    if (result < 0) {
        commit_poison(log, "polling for writes to", log->tail->number, 0, result);
        return false;
    }
    act_on_completed(log);
    if (log->durable_number != durable_before && log->roll_pending == 0 && !somebody_waits(log)) {
        /* The loop now acts on what has become durable, and what it appends belongs into the next batch: two half
         * batches in turn would cost twice the writes. It calls wal_submit when it is done; should it not, its
         * descriptor stays readable. A complete batch would wait for nothing. */
        pump(log, true);
        return commit_next_work(log) != WORK_NONE;
    }
    commit_pump(log);
    commit_wake_next_leader(log);
    return false;
}

void commit_poll_for_all(struct wal *log)
{
    log->polling = true;
    log_unlock(log);
    int result = log->io->ops->poll(log->io, 1);
    log_lock(log);
    log->polling = false;
    log->poll_failures = result < 0 ? log->poll_failures + 1 : 0;
    if (result < 0) {
        commit_poison(log, "polling for writes to", log->tail->number, 0, result);
        return;
    }
    act_on_completed(log);
    commit_pump(log);
    commit_wake_next_leader(log);
    log->wakes.loop = log->loop_used; /* Its descriptor is the ring's, and was drained here. */
    (void)pthread_cond_broadcast(&log->room);
}
