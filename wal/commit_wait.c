/* commit_wait.c - commits of threads that wait, one of whom leads.
 *
 * The happy path: a thread waits for its ticket. If the device is free, it leads: it gives way for a moment to those
 * who are coming back with their next records, writes the batch for everyone in it, acknowledges, and calls upon one of
 * the next batch. Otherwise it sleeps on its batch's word until that is durable, or until it is called upon.
 *
 * What can fail: the write, and what follows is commit.c's.
 *
 * Invariants: one leader at a time; nobody sleeps on a batch that nobody else will write: whoever stops leading or
 * polling calls upon a sleeper (commit_wake_next_leader).
 *
 * May include: commit_parts.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/commit_parts.h"

#include "wal/check.h"
#include "wal/zoo.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    POLL_FAILURES_MAX = 1000,
    GATHER_TURNS = 32,
    GATHER_IDLE_TURNS = 4,
    GATHER_QUIET_NS = 50000,
    GATHER_VAIN_STEP = 3,
    GATHER_VAIN_MAX = 6
};

/* --- leading ------------------------------------------------------------------------------------- */

/* Appends in the batch that is still open; 0 when there is none. */
static uint32_t open_appends(const struct wal *log)
{
    return log->open != NULL ? log->open->append_count : 0;
}

/* Where waiting was in vain of late: it gives way a few times, and goes on while the batch grows, up to what the larger
 * of the last two had. */
static void gather_briefly(struct wal *log)
{
    const uint32_t *recent = log->recent_appends;
    uint32_t wanted = recent[0] > recent[1] ? recent[0] : recent[1];
    unsigned idle_turns = 0;
    for (unsigned turn = 0; turn < GATHER_TURNS && idle_turns < GATHER_IDLE_TURNS; turn++) {
        uint32_t before = open_appends(log);
        if (before == 0 || before >= wanted || log->queue_tail != log->queue_next + 1) {
            return;
        }
        log_unlock(log);
        (void)sched_yield();
        log_lock(log);
        idle_turns = open_appends(log) > before ? 0 : idle_turns + 1;
    }
}

/* So long without a newcomer: what a processor that was asleep takes to run a woken thread (20 to 35 us in a virtual
 * machine), but little against a commit; on a slow disk a moment more costs nothing. Twice that in all. */
static uint64_t patience_ns(uint64_t commit_ns)
{
    uint64_t quiet_ns = commit_ns / 3 < GATHER_QUIET_NS ? commit_ns / 3 : GATHER_QUIET_NS;
    return commit_ns / 64 > quiet_ns ? commit_ns / 64 : quiet_ns;
}

/* And once nobody comes any more, no longer in all than twice the share that the missing ones have of a commit: all
 * wait for them, so for a few of many it is little. */
static uint64_t worth_ns(uint64_t commit_ns, uint32_t missing, uint32_t expected)
{
    return 2 * commit_ns * missing / expected;
}

/* Threads that wait for the open batch, this one with them; 0: it is complete, or there is none. */
static uint32_t present_threads(const struct wal *log)
{
    bool is_next = log->open != NULL && log->queue_tail == log->queue_next + 1;
    return is_next ? log_waiters(log, log->open) + 1 : 0;
}

enum gathered { GATHERED_AT_ONCE, GATHERED_BY_WAITING, GATHERED_IN_VAIN };

static enum gathered gather_patiently(struct wal *log)
{
    uint64_t quiet_ns = patience_ns(log->recent_commit_ns);
    uint64_t began_ns = now_ns(), now = began_ns, grown_ns = began_ns;
    unsigned idle_turns = 0;
    bool waited = false;
    for (;;) {
        uint32_t present = present_threads(log);
        if (present == 0 || present >= log->expected_threads) {
            return waited ? GATHERED_BY_WAITING : GATHERED_AT_ONCE;
        }
        if (now - began_ns >= 2 * quiet_ns) {
            return GATHERED_IN_VAIN;
        }
        if (idle_turns >= GATHER_IDLE_TURNS) {
            uint32_t missing = log->expected_threads - present;
            if (now - grown_ns >= quiet_ns ||
                now - began_ns >= worth_ns(log->recent_commit_ns, missing, log->expected_threads)) {
                return GATHERED_IN_VAIN;
            }
            waited = true;
        }
        log_unlock(log);
        (void)sched_yield();
        log_lock(log);
        now = now_ns();
        bool grew = present_threads(log) > present;
        idle_turns = grew ? 0 : idle_turns + 1;
        grown_ns = grew ? now : grown_ns;
    }
}

/* The threads just woken come back with their next records in a moment. A leader that leaves at once leaves with half
 * of them, the other half waits for a whole commit, and they take turns for ever. So it gives way until all are there
 * that are expected: those who waited for the last batch, and those who had come by then for this one; a lone thread
 * expects only itself, and so does one beside others who append and do not wait. Waits become rare where more than one
 * in four is in vain: those who come then do so by chance. */
static void gather_followers(struct wal *log)
{
    if (log->gathers_left_out > 0) {
        log->gathers_left_out--;
        gather_briefly(log);
        return;
    }
    enum gathered gathered = gather_patiently(log);
    if (gathered == GATHERED_IN_VAIN) {
        uint32_t vain_gathers = log->vain_gathers + GATHER_VAIN_STEP;
        log->vain_gathers = vain_gathers < GATHER_VAIN_MAX ? vain_gathers : GATHER_VAIN_MAX;
        log->gathers_left_out = (1u << log->vain_gathers) - 1;
    } else if (gathered == GATHERED_BY_WAITING && log->vain_gathers > 0) {
        log->vain_gathers--;
    }
}

static void lead_roll(struct wal *log)
{
    POINT(roll);
    commit_prepare_roll(log);
    log_unlock(log);
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0 || log->roll_ops[0].result == 0) {
            (void)log->io->ops->execute(log->io, &log->roll_ops[i]);
        }
        POINT(seal);
    }
    log_lock(log);
    log->roll_pending = 0;
    commit_complete_roll(log);
    POINT(anchor);
}

static void lead_batch(struct wal *log)
{
    struct batch *batch = log_batch(log, log->queue_next);
    commit_prepare_batch(log, batch, &log->strategies[0]);
    if (batch->head.kind == BATCH_TRUNCATE) {
        POINT(truncate);
    }
    if (batch->head.kind == BATCH_START) {
        POINT(prefix);
    }
    log_unlock(log);
    (void)log->io->ops->execute(log->io, &batch->op);
    POINT(commit);
    log_lock(log);
    log->recent_commit_ns = batch->op.write_ns + batch->op.sync_ns;
    strategy_learn(&log->strategies[0], batch->op.method, batch->op.size, log->recent_commit_ns);
    commit_complete_batch(log, batch);
}

void commit_lead(struct wal *log, bool gather)
{
    CHECK(!log->leading);
    CHECK(log->in_flight == 0 && log->roll_pending == 0);
    log->leading = true;
    if (gather) {
        gather_followers(log);
    }
    switch (commit_next_work(log)) {
    case WORK_BATCH:
        lead_batch(log);
        break;
    case WORK_ROLL:
        lead_roll(log);
        break;
    case WORK_NONE:
        break;
    }
    log->leading = false;
    commit_wake_next_leader(log);
    if (log->loop_used && !log->asynchronous) {
        (void)pthread_cond_signal(&log->commit_wake);
    }
    (void)pthread_cond_broadcast(&log->room);
}

/* --- waiting ------------------------------------------------------------------------------------- */

static bool can_lead(struct wal *log)
{
    return !log->leading && log->in_flight == 0 && log->roll_pending == 0 && commit_next_work(log) != WORK_NONE;
}

void commit_advance(struct wal *log)
{
    if (can_lead(log)) {
        commit_lead(log, false);
    } else if (commit_submitted_in_flight(log) && !log->polling) {
        commit_poll_for_all(log);
    } else {
        if (log_has_wakes(log)) {
            log_unlock(log);
            log_lock(log);
            return;
        }
        log->room_waiters++;
        (void)pthread_cond_wait(&log->room, &log->lock);
        log->room_waiters--;
    }
}

static int status_of_ticket(struct wal *log, uint64_t ticket)
{
    uint64_t count = log->truncation_count;
    uint64_t kept = count < LOG_TRUNCATIONS_KEPT ? count : LOG_TRUNCATIONS_KEPT;
    for (uint64_t i = count - kept; i < count; i++) {
        const struct truncated_tickets *range = &log->truncations[i % LOG_TRUNCATIONS_KEPT];
        if (ticket >= range->first_ticket && ticket < range->end_ticket) {
            return WAL_ETRUNCATED;
        }
    }
    return 0;
}

/* Durable, and no truncation can have touched it: the answer needs no lock. */
static bool is_plainly_durable(struct wal *log, uint64_t ticket)
{
    return ticket <= atomic_load_explicit(&log->durable_ticket, memory_order_acquire) &&
           ticket >= atomic_load_explicit(&log->truncated_end_ticket, memory_order_acquire);
}

static bool is_durable(struct wal *log, uint64_t ticket)
{
    return ticket <= atomic_load_explicit(&log->durable_ticket, memory_order_acquire);
}

/* Sleeps until the batch that holds the ticket is durable, or until called upon to lead. Gives up the lock, and takes
 * it again unless the ticket has become durable (true). */
static bool sleep_on_batch(struct wal *log, uint64_t ticket)
{
    uint64_t sequence = log->queue_head;
    while (sequence < log->queue_tail && batch_end_ticket(log_batch(log, sequence)) <= ticket) {
        sequence++;
    }
    CHECK(sequence < log->queue_tail);
    uint32_t slot = (uint32_t)(sequence % log->batch_count);
    struct batch *batch = &log->batches[slot];
    uint32_t word = __atomic_load_n(&batch->durable_word, __ATOMIC_RELAXED);
    log->waiters[slot]++;
    log_unlock(log);
    (void)syscall(SYS_futex, &batch->durable_word, FUTEX_WAIT_PRIVATE, word, NULL, NULL, 0);
    if (is_plainly_durable(log, ticket)) {
        return true;
    }
    log_lock(log);
    if (!is_durable(log, ticket) && log->waiters[slot] != 0) {
        log->waiters[slot]--;
    }
    return false;
}

int commit_wait(struct wal *log, uint64_t ticket)
{
    if (ticket != 0 && is_plainly_durable(log, ticket)) {
        return 0;
    }
    log_lock(log);
    int status = WAL_EINVAL;
    if (ticket != 0 && ticket <= log->appended_ticket) {
        for (;;) {
            if (is_durable(log, ticket)) {
                status = status_of_ticket(log, ticket);
                break;
            }
            if (log->poison != 0) {
                status = WAL_EPOISONED;
                break;
            }
            if (can_lead(log)) {
                commit_lead(log, true);
            } else if (commit_submitted_in_flight(log) && !log->polling) {
                commit_poll_for_all(log);
            } else if (sleep_on_batch(log, ticket)) {
                return 0;
            }
        }
    }
    log_unlock(log);
    return status;
}

int commit_drain(struct wal *log)
{
    while (log->poison == 0 && (log->queue_head != log->queue_tail || log->leading || log->roll_pending != 0)) {
        commit_advance(log);
    }
    while (log->leading || log->polling || commit_submitted_in_flight(log)) {
        if (log->poll_failures > POLL_FAILURES_MAX) {
            log->abandoned = true;
            break;
        }
        commit_advance(log); /* Poisoned: still wait for what is at the disk. */
        if (log->poll_failures != 0) {
            const struct timespec pause = {.tv_nsec = 1000000};
            log_unlock(log);
            (void)nanosleep(&pause, NULL);
            log_lock(log);
        }
    }
    return log->poison != 0 ? WAL_EPOISONED : 0;
}
