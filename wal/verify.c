/* verify.c - every record of the log, read from the disk and checked.
 *
 * The happy path: segments are taken upwards, two at a time, and pinned while they are read: one sweep in a thread of
 * its own, one in this thread (sweep.c). Then, in order, what a sweep could not enter into its map, of the indexes that
 * are live in its segment, is counted as bad; and so is what lies between the live parts of two segments, where one is
 * gone. The log may be appended to meanwhile.
 *
 * What can fail: memory; a segment file that does not open. A read error or damage is a bad record, with its place in
 * the report; the work goes on behind it.
 *
 * Invariants: nothing is written; every live index is counted once, as a record or as bad, and in order, unless the end
 * is truncated meanwhile; only bytes below the durable end are judged; what was appended since this began is no loss.
 *
 * May include: verify.h, sweep.h, scan.h, bytes.h. */

#define _GNU_SOURCE
#include "wal/verify.h"

#include "wal/bytes.h"
#include "wal/scan.h"
#include "wal/sweep.h"

#include <inttypes.h>
#include <sched.h>

enum {
    SWEEPS = 2, /* At once. */
    /* A thread's beginning and end, once for each two segments, costs more than it saves on smaller ones. */
    SWEPT_TOGETHER_BYTES_MIN = 1 << 20
};

struct verification {
    struct wal *log;
    struct sweep sweeps[SWEEPS];
    unsigned sweep_count; /* 1 where there is no second thread. */
    struct sweep *sweep;  /* Whose segment is being counted. */
    struct wal_verify_report *report;
    uint64_t next_index; /* Live indexes below it have been counted. */
    uint64_t last_tag;   /* Of the record before it, where that read. */
    uint64_t done_number;
    uint64_t end_index;    /* Of the log when this began, or as it was truncated since: nothing is missing behind it. */
    struct report failure; /* Of the newest sweep that could not read its segment. */
};

/* --- the first hole ------------------------------------------------------------------------------ */

/* The tag of a record that the map holds, and where it ends. */
static bool find_tag(struct verification *verification, uint64_t index, uint64_t *tag, uint64_t *end_offset)
{
    const struct map_entry *entry = map_find(&verification->sweep->map, index);
    uint64_t offset = entry != NULL ? entry->offset : 0;
    for (uint64_t at = entry != NULL ? entry->first_index : index + 1; at <= index; at++) {
        int status;
        const uint8_t *header = window_at(&verification->sweep->window, offset, RECORD_HEADER_BYTES, &status);
        if (header == NULL) {
            return false;
        }
        *tag = load_u64_le(header + 16);
        offset += format_record_bytes(load_u32_le(header + 8));
        *end_offset = offset;
    }
    return entry != NULL;
}

/* What the head behind a hole says of the last record in it. */
static void take_tag_last(struct wal_hole *hole, const struct format_head *head)
{
    bool tagged = head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE;
    if (head->first_index == hole->end_index && (tagged || head->kind == BATCH_ANCHOR)) {
        hole->tag_last = tagged ? head->body.tags.previous : head->body.anchor.last_tag;
        hole->tag_last_known = true;
    }
}

/* Place and tags of a hole in the segment under the window. */
static void describe_hole(struct verification *verification, const struct segment *segment, uint64_t end_offset)
{
    struct wal_hole *hole = &verification->report->first_bad;
    uint32_t block_bytes = verification->log->shape.block_bytes;
    uint64_t offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes;
    hole->tag_before = verification->last_tag;
    if (find_tag(verification, hole->first_index - 1, &hole->tag_before, &offset)) {
        offset = round_up(offset, block_bytes);
    }
    hole->offset = offset;
    struct format_head head;
    while (!hole->tag_last_known && offset < end_offset &&
           scan_resync(&verification->sweep->window, segment->number, block_bytes, offset, end_offset, &head,
                       &offset) == 0 &&
           offset != 0) {
        take_tag_last(hole, &head);
        offset += block_bytes;
    }
}

/* The opening anchor of this segment knows the last record before it: of a hole that ends here. */
static void look_back_at_hole(struct verification *verification, const struct segment *segment)
{
    struct wal_hole *hole = &verification->report->first_bad;
    uint32_t block_bytes = verification->log->shape.block_bytes;
    uint64_t first_offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes;
    struct format_head head;
    uint64_t offset;
    if (verification->report->bad_records != 0 && !hole->tag_last_known &&
        scan_resync(&verification->sweep->window, segment->number, block_bytes, first_offset,
                    first_offset + block_bytes, &head, &offset) == 0 &&
        offset == first_offset) {
        take_tag_last(hole, &head);
    }
}

/* --- counting ------------------------------------------------------------------------------------ */

static void count_hole(struct verification *verification, uint64_t segment, uint64_t from, uint64_t to)
{
    struct wal_verify_report *report = verification->report;
    if (report->bad_records == 0) {
        report->first_bad = (struct wal_hole){
            .first_index = from, .end_index = to, .segment = segment, .tag_before = verification->last_tag};
    }
    report->bad_records += to - from;
}

/* What of [from, to) the map does not hold counts as bad. */
static void count_gaps(struct verification *verification, const struct segment *segment, uint64_t end_offset,
                       uint64_t from, uint64_t to)
{
    struct wal_verify_report *report = verification->report;
    while (from < to) {
        const struct map_entry *entry = map_find(&verification->sweep->map, from);
        if (entry != NULL) {
            uint64_t end_index = entry->first_index + entry->record_count;
            end_index = end_index < to ? end_index : to;
            report->records += end_index - from;
            from = end_index;
            continue;
        }
        uint64_t next = map_next(&verification->sweep->map, from);
        next = next == 0 || next > to ? to : next;
        bool first = report->bad_records == 0;
        count_hole(verification, segment->number, from, next);
        if (first) {
            describe_hole(verification, segment, end_offset);
        }
        from = next;
    }
}

/* --- segment by segment -------------------------------------------------------------------------- */

static bool is_open_tail(const struct wal *log, const struct segment *segment)
{
    return segment == log->tail && segment->state == SEGMENT_OPEN;
}

/* How far a segment's bytes go. The lock held. */
static uint64_t end_offset_of(const struct wal *log, const struct segment *segment)
{
    return is_open_tail(log, segment) ? log->durable_offset : segment->end_offset;
}

/* The tail counts batches when they are sealed; those at the disk are behind the bytes that are judged. The lock held.
 */
static void leave_out_what_is_at_the_disk(struct wal *log, struct segment *copy)
{
    for (uint64_t sequence = log->queue_next; sequence-- > log->queue_head;) {
        const struct format_head *head = &log_batch(log, sequence)->head;
        if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE) {
            copy->record_count -= head->record_count;
            copy->end_index = head->kind == BATCH_DATA ? head->first_index : copy->end_index;
        }
    }
}

/* Gives a sweep its segment, pinned, and the indexes that are live in it. The lock held. */
static void give_segment(struct wal *log, struct segment *segment, struct sweep *sweep)
{
    uint64_t superseded_index = table_superseded_from(&log->table, segment);
    uint64_t to = segment->end_index < log->durable_end_index ? segment->end_index : log->durable_end_index;
    segment->pins++;
    sweep->pinned = segment;
    sweep->segment = *segment;
    if (is_open_tail(log, segment)) {
        leave_out_what_is_at_the_disk(log, &sweep->segment);
    }
    sweep->from = segment->low > log->start_index ? segment->low : log->start_index;
    sweep->to = superseded_index < to ? superseded_index : to;
    sweep->end_offset = end_offset_of(log, segment);
}

/* Gives each sweep a segment, as long as there are some; returns how many. */
static unsigned take_segments(struct verification *verification, uint64_t *total_bytes)
{
    struct wal *log = verification->log;
    unsigned taken = 0;
    log_lock(log);
    *total_bytes = verification->report->bytes;
    if (log->durable_end_index < verification->end_index) {
        verification->end_index = log->durable_end_index;
    }
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        bool live = segment->state == SEGMENT_SEALED || segment->state == SEGMENT_OPEN;
        if (!live || segment->number <= verification->done_number) {
            continue;
        }
        *total_bytes += end_offset_of(log, segment);
        if (taken < verification->sweep_count) {
            give_segment(log, segment, &verification->sweeps[taken++]);
        }
    }
    log_unlock(log);
    return taken;
}

/* Live indexes go on without a gap from segment to segment, up to the end: what is missing in front of this index was
 * in a file that is gone. What was appended since this began is not asked for. */
static void count_missing(struct verification *verification, uint64_t until)
{
    struct wal *log = verification->log;
    uint64_t done = verification->done_number;
    log_lock(log);
    uint64_t from = verification->next_index > log->start_index ? verification->next_index : log->start_index;
    until = until < verification->end_index ? until : verification->end_index;
    if (from < until) {
        count_hole(verification, done != 0 ? done + 1 : log->start_segment, from, until);
    }
    log_unlock(log);
}

static void count_segment(struct verification *verification)
{
    const struct sweep *sweep = verification->sweep;
    if (sweep->from < sweep->to) {
        count_missing(verification, sweep->from);
        verification->next_index = sweep->to;
    }
    verification->report->bytes += sweep->end_offset;
    look_back_at_hole(verification, &sweep->segment);
    count_gaps(verification, &sweep->segment, sweep->end_offset, sweep->from, sweep->to);
    uint64_t unused;
    if (sweep->from < sweep->to) {
        (void)find_tag(verification, sweep->to - 1, &verification->last_tag, &unused);
    }
    verification->done_number = sweep->segment.number;
}

/* Reads the segments taken, at the same time; counts them one behind the other. */
static int verify_segments(struct verification *verification, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        sweep_start(&verification->sweeps[i]);
    }
    int status = 0;
    for (unsigned i = 0; i < count; i++) {
        verification->sweep = &verification->sweeps[i];
        int finished = sweep_finish(verification->sweep);
        if (status == 0 && finished == 0) {
            count_segment(verification);
        } else if (status == 0) {
            verification->failure = verification->sweep->report;
        }
        status = status != 0 ? status : finished;
        sweep_release(verification->sweep);
    }
    return status;
}

static int verify_all(struct verification *verification, int (*progress)(void *, uint64_t, uint64_t), void *context)
{
    for (;;) {
        uint64_t total_bytes;
        unsigned taken = take_segments(verification, &total_bytes);
        if (taken == 0) {
            count_missing(verification, UINT64_MAX);
            return 0;
        }
        int status = verify_segments(verification, taken);
        if (status != 0 && verification->sweep_count > 1) {
            sweep_destroy(&verification->sweeps[1]); /* Perhaps there are not descriptors or memory enough for two. */
            verification->sweep_count = 1;
            continue;
        }
        if (status != 0) {
            return status;
        }
        if (progress != NULL && progress(context, verification->report->bytes, total_bytes) != 0) {
            return WAL_EAGAIN;
        }
    }
}

/* A second thread, where it may be started and has a processor to run on, and where there is enough for it. */
static unsigned sweeps_for(const struct wal *log, uint32_t live_segments, uint64_t largest_bytes)
{
    cpu_set_t allowed;
    bool has_one_processor = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) < 2;
    bool one = (log->options.flags & WAL_NO_THREADS) != 0 || !log->owns_io || has_one_processor || live_segments < 2 ||
               largest_bytes < SWEPT_TOGETHER_BYTES_MIN;
    return one ? 1 : SWEEPS;
}

int verify_log(struct wal *log, struct wal_verify_report *report, int (*progress)(void *, uint64_t, uint64_t),
               void *context)
{
    *report = (struct wal_verify_report){0};
    struct verification verification = {.log = log, .report = report};
    uint64_t largest_bytes = log->shape.segment_bytes;
    uint32_t live_segments = 0;
    log_lock(log);
    verification.end_index = log->durable_end_index;
    for (uint32_t i = 0; i < log->table.count; i++) {
        const struct segment *segment = log->table.list[i];
        largest_bytes = segment->bytes > largest_bytes ? segment->bytes : largest_bytes;
        live_segments += segment->state == SEGMENT_SEALED || segment->state == SEGMENT_OPEN;
    }
    log_unlock(log);
    int status = sweep_create(&verification.sweeps[0], log, largest_bytes);
    verification.sweep_count = sweeps_for(log, live_segments, largest_bytes);
    if (status == 0 && verification.sweep_count > 1 && sweep_create(&verification.sweeps[1], log, largest_bytes) != 0) {
        sweep_destroy(&verification.sweeps[1]);
        verification.sweep_count = 1; /* Slower, and no reason to fail. */
    }
    if (status == 0) {
        status = verify_all(&verification, progress, context);
    }
    for (unsigned i = 0; i < SWEEPS; i++) {
        sweep_destroy(&verification.sweeps[i]);
    }
    if (status == WAL_ENOMEM) {
        log_lock(log);
        (void)report_set(&log->report, status, "out of memory for reading the log");
        log_unlock(log);
    } else if (status != 0 && status == verification.failure.status) {
        log_lock(log);
        log->report = verification.failure;
        log_unlock(log);
    }
    if (status == 0 && report->bad_records != 0) {
        log_lock(log);
        status = report_set(&log->report, WAL_ECORRUPT,
                            "%" PRIu64 " records do not read, the first of them index %" PRIu64 " in segment %" PRIu64,
                            report->bad_records, report->first_bad.first_index, report->first_bad.segment);
        log_unlock(log);
    }
    return status;
}
