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

/* So long without a newcomer: what a processor that was asleep takes to run a woken thread (20 to 35 us in a virtual
 * machine), but little against a commit; on a slow disk a moment more costs nothing. */
static uint64_t patience_ns(uint64_t commit_ns)
{
    uint64_t quiet_ns = commit_ns / 3 < GATHER_QUIET_NS ? commit_ns / 3 : GATHER_QUIET_NS;
    return commit_ns / 64 > quiet_ns ? commit_ns / 64 : quiet_ns;
}

/* And so long in all, for the missing ones: their share of a commit, twice, since without them there would be more
 * commits. All wait for a few, so for a few it is little. */
static uint64_t worth_ns(uint64_t commit_ns, uint32_t missing, uint32_t wanted)
{
    return 2 * commit_ns * missing / wanted;
}

/* Waits become rare where more than one in four is in vain: those who come then do so by chance. */
static void note_gathered(struct wal *log, bool waited, bool vain)
{
    if (waited && vain) {
        uint32_t vain_gathers = log->vain_gathers + GATHER_VAIN_STEP;
        log->vain_gathers = vain_gathers < GATHER_VAIN_MAX ? vain_gathers : GATHER_VAIN_MAX;
        log->gathers_left_out = (1u << log->vain_gathers) - 1;
    } else if (waited) {
        log->vain_gathers -= log->vain_gathers > 0;
    } else if (vain && log->gathers_left_out > 0) {
        log->gathers_left_out--;
    }
}

/* The patient leader wants all who are expected, another one as many as the larger of the last two batches had. */
static uint32_t wanted_appends(const struct wal *log, bool patient)
{
    const uint32_t *recent = log->recent_appends;
    uint32_t larger = recent[0] > recent[1] ? recent[0] : recent[1];
    return patient ? log->expected_appends : larger;
}

/* The threads just woken come back with their next records in a moment. A leader that leaves at once leaves with half
 * of them, the other half waits for a whole commit, and they take turns for ever. So it gives way until all are there
 * that are expected: those of the last batch, and those who came while it was written; a lone writer expects only
 * itself, and never waits. Who waits in vain does so less and less often; in between a leader gives up when nobody came
 * in a few turns. */
static void gather_followers(struct wal *log)
{
    bool patient = log->gathers_left_out == 0;
    uint64_t quiet_ns = patient ? patience_ns(log->recent_commit_ns) : 0;
    uint32_t wanted = wanted_appends(log, patient);
    uint64_t began_ns = now_ns(), now = began_ns, grown_ns = began_ns;
    unsigned idle_turns = 0;
    bool waited = false;
    uint32_t appends;
    while ((appends = open_appends(log)) < wanted && appends != 0 && log->queue_tail == log->queue_next + 1) {
        if (idle_turns >= GATHER_IDLE_TURNS) {
            uint64_t waited_ns = now - began_ns;
            if (now - grown_ns >= quiet_ns || waited_ns >= 2 * quiet_ns ||
                waited_ns >= worth_ns(log->recent_commit_ns, wanted - appends, wanted)) {
                break;
            }
            waited = true;
        }
        log_unlock(log);
        (void)sched_yield();
        log_lock(log);
        now = now_ns();
        bool grew = open_appends(log) > appends;
        idle_turns = grew ? 0 : idle_turns + 1;
        grown_ns = grew ? now : grown_ns;
    }
    note_gathered(log, waited, appends < log->expected_appends);
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
