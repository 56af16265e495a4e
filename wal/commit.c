/* commit.c - from an accepted batch to a durable one.
 *
 * The happy path:
 *   - when the device is free, the batch at the front of the queue is sealed: it gets its number, the mark, the chain;
 *   - one durable write carries it to its place: by the thread that waits for it (commit_wait.c), or in the ring
 *     (commit_ring.c); whatever is accepted meanwhile forms the next batch, so that no timer is needed;
 *   - its completion moves durable_ticket, in the order of numbers, and wakes those who wait for that batch, then one
 *     of those who wait for the next: it leads.
 *
 * When the front batch stands in the next segment, a roll comes first: everything in the old one durable, then seal and
 * anchor, both durable, then the batch. The anchor of a roll and the anchor of an open are the same (seal_anchor).
 *
 * What can fail, and what is left: a write or a sync. The handle is poisoned: the error sticks, all who wait get it,
 * nothing is written again; what the medium holds of the failed batch is unknown, and only the next open judges it.
 * Batches behind the failed one are given up as well.
 *
 * Invariants: durable_number <= next_number - 1, and marks are read from it, never computed; numbers rise by one in the
 * order of the queue; at most batches_in_flight_max batches at the disk, none while a roll is; one leader at a time,
 * and none while something submitted is in flight.
 *
 * May include: commit_parts.h, seal.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/commit_parts.h"

#include "wal/check.h"
#include "wal/seal.h"
#include "wal/zoo.h"

#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- waking -------------------------------------------------------------------------------------- */

static void wake_batch(struct batch *batch, int how_many)
{
    (void)syscall(SYS_futex, &batch->durable_word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}

void log_unlock_and_wake(struct wal *log)
{
    struct wakes wakes = log->wakes;
    log->wakes = (struct wakes){0};
    int event_fd = log->event_fd;
    (void)pthread_mutex_unlock(&log->lock);
    /* Followers of what is durable first: they come back with their next records while the next leader still gathers.
     */
    for (uint32_t slot = 0; wakes.all != 0 && slot < LOG_BATCHES_MAX; slot++) {
        if ((wakes.all & (1u << slot)) != 0) {
            wake_batch(&log->batches[slot], INT_MAX);
        }
    }
    for (uint32_t slot = 0; wakes.one != 0 && slot < LOG_BATCHES_MAX; slot++) {
        if ((wakes.one & (1u << slot)) != 0) {
            wake_batch(&log->batches[slot], 1);
        }
    }
    if (wakes.loop && event_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(event_fd, &one, sizeof(one));
        (void)written; /* A full counter is readable already. */
    }
    if (wakes.since_ns != 0) {
        uint64_t took_ns = now_ns() - wakes.since_ns;
        (void)pthread_mutex_lock(&log->lock);
        latency_add(&log->acknowledge_latency, took_ns);
        (void)pthread_mutex_unlock(&log->lock);
    }
}

static void wake_room(struct wal *log)
{
    if (log->room_waiters != 0) {
        (void)pthread_cond_broadcast(&log->room);
    }
}

bool commit_submitted_in_flight(const struct wal *log)
{
    return !log->leading && (log->in_flight != 0 || log->roll_pending != 0);
}

void commit_wake_next_leader(struct wal *log)
{
    uint64_t first = commit_submitted_in_flight(log) ? log->queue_head : log->queue_next;
    for (uint64_t sequence = first; sequence < log->queue_tail; sequence++) {
        uint32_t slot = (uint32_t)(sequence % log->batch_count);
        if (log->waiters[slot] != 0) {
            /* The word changes, or one who has given up the lock and does not sleep yet would miss the call. */
            __atomic_add_fetch(&log->batches[slot].durable_word, 1, __ATOMIC_RELEASE);
            log->wakes.one |= 1u << slot;
            return;
        }
    }
    if (log->room_waiters != 0) {
        (void)pthread_cond_signal(&log->room);
    }
}

void commit_poison(struct wal *log, const char *operation, uint64_t segment, uint64_t offset, int result)
{
    if (log->poison != 0) {
        return;
    }
    CHECK(result < 0);
    log->poison = result;
    (void)report_set(&log->report, WAL_EPOISONED,
                     "%s segment %" PRIu64 " at offset %" PRIu64 " failed: %s; what the disk holds there is unknown. "
                     "Close this handle, look at the disk, and open the log again",
                     operation, segment, offset, errno_name(result));
    for (uint32_t slot = 0; slot < log->batch_count; slot++) {
        __atomic_add_fetch(&log->batches[slot].durable_word, 1, __ATOMIC_RELEASE);
        log->waiters[slot] = 0;
        log->wakes.all |= 1u << slot;
    }
    log->wakes.loop = log->loop_used;
    (void)pthread_cond_broadcast(&log->room);
    (void)pthread_cond_broadcast(&log->helper_wake);
    (void)pthread_cond_broadcast(&log->commit_wake);
}

/* --- what may be done now ------------------------------------------------------------------------ */

/* It gains more from waiting for the one at the disk, for it takes in what comes meanwhile. */
static bool may_grow(const struct wal *log, const struct batch *batch)
{
    return batch->state == BATCH_OPEN && batch->head.used_bytes < log->later_batch_bytes_min;
}

enum work commit_next_work(struct wal *log)
{
    if (log->poison != 0 || log->queue_next == log->queue_tail) {
        return WORK_NONE;
    }
    struct batch *batch = log_batch(log, log->queue_next);
    CHECK(batch->state == BATCH_OPEN || batch->state == BATCH_CLOSED);
    if (log->roll_pending != 0 && !ZOO(anchor_not_awaited)) {
        return WORK_NONE;
    }
    if (batch->head.segment != log->tail->number) {
        bool drained = log->in_flight == 0 || ZOO(roll_barrier);
        return drained && log->roll_pending == 0 ? WORK_ROLL : WORK_NONE;
    }
    bool full = log->in_flight >= log->options.batches_in_flight_max || (log->in_flight > 0 && may_grow(log, batch)) ||
                (log->asynchronous && log->in_flight >= log->io->caps.ops_max);
    return full ? WORK_NONE : WORK_BATCH;
}

bool commit_has_work(struct wal *log)
{
    return commit_next_work(log) != WORK_NONE;
}

/* --- durable ------------------------------------------------------------------------------------- */

/* Segments wholly below the durable start are done with. */
static void retire_segments(struct wal *log, uint64_t start_segment)
{
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->state == SEGMENT_SEALED && segment->number < start_segment) {
            segment->state = SEGMENT_RETIRED;
        }
    }
    (void)pthread_cond_signal(&log->helper_wake);
}

/* The visible durable end behind a batch: truncations accepted meanwhile hold it down. */
static uint64_t end_index_behind(struct wal *log, uint64_t sequence)
{
    const struct batch *batch = log_batch(log, sequence);
    uint64_t end_index = log->durable_end_index;
    if (batch->head.kind == BATCH_DATA || batch->head.kind == BATCH_TRUNCATE) {
        end_index = batch_end_index(batch);
    } else if (batch->head.kind == BATCH_START && batch->head.body.start.index > end_index) {
        end_index = batch->head.body.start.index;
    }
    for (uint64_t later = sequence + 1; later < log->queue_tail; later++) {
        const struct format_head *head = &log_batch(log, later)->head;
        if (head->kind == BATCH_TRUNCATE && head->first_index < end_index) {
            end_index = head->first_index;
        }
    }
    return end_index;
}

/* The batch at this place of the queue is durable, and so is everything before it. */
static void make_durable(struct wal *log, uint64_t sequence)
{
    struct batch *batch = log_batch(log, sequence);
    uint32_t slot = (uint32_t)(sequence % log->batch_count);
    CHECK(ZOO(acknowledged_out_of_order) || ZOO(roll_barrier) || batch->head.number > log->durable_number);
    log->durable_number = batch->head.number;
    log->durable_offset = batch->file_offset + batch->padded_bytes;
    log->durable_end_index = end_index_behind(log, sequence);
    if (batch->head.metadata_bytes != FORMAT_NO_METADATA) {
        log->durable_metadata_bytes = batch->head.metadata_bytes;
        memcpy(log->durable_metadata, batch->head.metadata, sizeof(log->durable_metadata));
    }
    if ((batch->head.flags & BATCH_CLEARS_DOUBT) != 0) {
        log->durable_doubt_index = 0;
    }
    if (batch->head.kind == BATCH_START && !ZOO(start_before_recycling)) {
        retire_segments(log, batch->head.body.start.segment);
    }
    if (batch->append_count != 0) {
        atomic_store_explicit(&log->durable_ticket, batch_end_ticket(batch) - 1, memory_order_release);
    }
    __atomic_add_fetch(&batch->durable_word, 1, __ATOMIC_RELEASE);
    if (log->waiters[slot] != 0) {
        log->waiters[slot] = 0;
        log->wakes.all |= 1u << slot;
    }
    log->wakes.loop = log->loop_used;
}

static void retire_batches(struct wal *log)
{
    while (log->queue_head < log->queue_next && log_batch(log, log->queue_head)->state == BATCH_WRITTEN) {
        if (!ZOO(acknowledged_out_of_order) && !ZOO(acknowledged_before_completion)) {
            make_durable(log, log->queue_head);
        }
        log_batch(log, log->queue_head)->state = BATCH_FREE;
        log->queue_head++;
    }
    wake_room(log);
}

void commit_complete_batch(struct wal *log, struct batch *batch)
{
    CHECK(batch->state == BATCH_WRITING);
    CHECK(log->in_flight > 0);
    log->in_flight--;
    log->expected_threads = 1 + log_waiters(log, batch) + log_waiters(log, log->open);
    uint64_t now = now_ns();
    latency_add(&log->write_latency, batch->op.write_ns != 0 ? batch->op.write_ns : now - batch->submitted_ns);
    if (batch->op.sync_ns != 0) {
        latency_add(&log->sync_latency, batch->op.sync_ns);
    }
    if (batch->op.result != 0 && !ZOO(poison_forgotten)) {
        commit_poison(log, "writing a batch to", batch->head.segment, batch->file_offset, batch->op.result);
        return;
    }
    if (log->poison != 0) {
        return; /* What was in flight with the failed one is as unknown as that. */
    }
    batch->state = BATCH_WRITTEN;
    log->wakes.since_ns = now;
    if (ZOO(acknowledged_out_of_order)) {
        for (uint64_t sequence = log->queue_head; sequence < log->queue_next; sequence++) {
            if (log_batch(log, sequence) == batch) {
                make_durable(log, sequence);
            }
        }
    }
    retire_batches(log);
    if (log->helper_asleep) {
        log->helper_asleep = false;
        (void)pthread_cond_signal(&log->helper_wake);
    }
}

void commit_complete_roll(struct wal *log)
{
    log->roll_from->pins--;
    log->roll_to->state = SEGMENT_OPEN;
    for (unsigned i = 0; i < 2; i++) {
        if (log->roll_ops[i].result != 0) {
            commit_poison(log, i == 0 ? "sealing" : "writing the anchor of",
                          i == 0 ? log->roll_to->predecessor : log->roll_to->number, log->roll_ops[i].offset,
                          log->roll_ops[i].result);
            return;
        }
    }
    uint64_t anchor_number = log->roll_to->last_number;
    if (log->poison == 0 && anchor_number > log->durable_number) {
        log->durable_number = ZOO(anchor_not_awaited) ? log->durable_number : anchor_number;
        log->durable_offset = log->roll_to->end_offset;
    }
    latency_add(&log->roll_latency, now_ns() - log->roll_started_ns);
    log->counters.rolls++;
    log->wakes.loop = log->loop_used; /* The batch behind the roll is still to be started: by wal_submit, perhaps. */
    (void)pthread_cond_signal(&log->helper_wake);
}

/* --- writing ------------------------------------------------------------------------------------- */

void commit_prepare_batch(struct wal *log, struct batch *batch, struct strategy *strategy)
{
    if (batch->state == BATCH_OPEN) {
        seal_close_open_batch(log);
    }
    seal_next_batch(log, batch);
    batch->state = BATCH_WRITING;
    batch->submitted_ns = now_ns();
    if (batch->opened_ns != 0) {
        latency_add(&log->queue_latency, batch->submitted_ns - batch->opened_ns);
    }
    bool unsynced = ZOO(write_not_synced) || (ZOO(idle_mark_in_order) && batch->head.kind == BATCH_MARK);
    batch->op = (struct wal_io_op){
        .kind = unsynced ? WAL_IO_WRITE : WAL_IO_WRITE_DURABLE,
        .method = strategy_next(strategy),
        .file = log->tail->file,
        .size = batch->padded_bytes,
        .offset = batch->file_offset,
        .buffer = batch->bytes,
        .owner = log,
    };
    log->queue_next++;
    log->in_flight++;
    log->submitted_ticket = batch->append_count != 0 ? batch_end_ticket(batch) - 1 : log->submitted_ticket;
    if (ZOO(acknowledged_before_completion)) {
        make_durable(log, log->queue_next - 1);
    }
}

void commit_prepare_roll(struct wal *log)
{
    struct segment *from = log->tail;
    struct segment *to = table_find(&log->table, from->number + 1);
    CHECK(to != NULL && to->state == SEGMENT_READY && to->staged);
    uint32_t block_bytes = log->shape.block_bytes;
    uint8_t *seal_block = log->roll_blocks;
    uint8_t *anchor_block = log->roll_blocks + block_bytes;
    segment_fill_seal(from, &log->shape, seal_block);
    uint64_t salt = ZOO(recycle_without_salt) ? from->salt : to->salt;
    seal_anchor(log, to, FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes, salt, NULL, anchor_block);
    from->state = SEGMENT_SEALED;
    log->roll_from = from;
    log->roll_to = to;
    from->pins++; /* Sealed from now on, but its file is still written to. */
    log->roll_pending = 2;
    log->roll_started_ns = now_ns();
    const struct wal_io_op op = {.kind = WAL_IO_WRITE_DURABLE, .size = block_bytes, .owner = log};
    log->roll_ops[0] = log->roll_ops[1] = op;
    log->roll_ops[0].file = from->file;
    log->roll_ops[0].offset = segment_seal_offset(from, block_bytes);
    log->roll_ops[0].buffer = seal_block;
    log->roll_ops[0].kind = ZOO(seal_not_synced) || ZOO(seal) ? WAL_IO_WRITE : WAL_IO_WRITE_DURABLE;
    log->roll_ops[1].file = to->file;
    log->roll_ops[1].offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes;
    log->roll_ops[1].buffer = anchor_block;
}
