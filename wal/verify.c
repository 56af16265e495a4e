/* verify.c - every record of the log, read from the disk and checked.
 *
 * The happy path: segment after segment, upwards, each pinned while it is read: its batches are scanned through a
 * window that reads ahead, and what the scan could not enter into the map, of the indexes that are live in it, is
 * counted as bad; and so is what lies between the live parts of two segments, where one is gone. The log may be
 * appended to meanwhile.
 *
 * What can fail: memory; a segment file that does not open. A read error or damage is a bad record, with its place in
 * the report; the work goes on behind it.
 *
 * Invariants: nothing is written; every live index is counted once, as a record or as bad; only bytes below the durable
 * end are judged.
 *
 * May include: verify.h, io_file.h, memory.h, scan.h, window.h, bytes.h. */

#include "wal/verify.h"

#include "wal/bytes.h"
#include "wal/io_file.h"
#include "wal/memory.h"
#include "wal/scan.h"
#include "wal/window.h"

#include <inttypes.h>

enum { VERIFY_WINDOW_BYTES = 8 << 20, CACHED_WINDOW_BYTES = 1 << 20 };

struct verification {
    struct wal *log;
    struct wal_io *io; /* A ring of its own where there can be one, so that reads run ahead. */
    struct window window;
    struct map map;
    uint32_t map_capacity;
    struct wal_verify_report *report;
    uint64_t next_index; /* Live indexes below it have been counted. */
    uint64_t last_tag;   /* Of the record before it, where that read. */
    uint64_t end_index;  /* Of the log when this began. */
};

/* --- the first hole ------------------------------------------------------------------------------ */

/* The tag of a record that the map holds, and where it ends. */
static bool find_tag(struct verification *verification, uint64_t index, uint64_t *tag, uint64_t *end_offset)
{
    const struct map_entry *entry = map_find(&verification->map, index);
    uint64_t offset = entry != NULL ? entry->offset : 0;
    for (uint64_t at = entry != NULL ? entry->first_index : index + 1; at <= index; at++) {
        int status;
        const uint8_t *header = window_at(&verification->window, offset, RECORD_HEADER_BYTES, &status);
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
           scan_resync(&verification->window, segment->number, block_bytes, offset, end_offset, &head, &offset) == 0 &&
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
        scan_resync(&verification->window, segment->number, block_bytes, first_offset, first_offset + block_bytes,
                    &head, &offset) == 0 &&
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
        const struct map_entry *entry = map_find(&verification->map, from);
        if (entry != NULL) {
            uint64_t end_index = entry->first_index + entry->record_count;
            end_index = end_index < to ? end_index : to;
            report->records += end_index - from;
            from = end_index;
            continue;
        }
        uint64_t next = map_next(&verification->map, from);
        next = next == 0 || next > to ? to : next;
        bool first = report->bad_records == 0;
        count_hole(verification, segment->number, from, next);
        if (first) {
            describe_hole(verification, segment, end_offset);
        }
        from = next;
    }
}

/* Scans one segment (a copy of its facts) from its file. */
static int verify_segment(struct verification *verification, struct segment *segment, uint64_t end_offset,
                          uint64_t from, uint64_t to)
{
    struct wal *log = verification->log;
    struct report report = {0};
    segment->file = -1;
    int status = segment_open_file(verification->io, segment, false, &report);
    if (status != 0) {
        return status;
    }
    window_look_at(&verification->window, segment->file, segment->bytes);
    verification->map.count = 0;
    bool damaged;
    const struct scan_expected expected = {.segment = segment->number,
                                           .segment_bytes = segment->bytes,
                                           .end_offset = end_offset,
                                           .end_index = segment->end_index,
                                           .record_count = segment->record_count,
                                           .keep_doubtful = log->read_only && segment->state == SEGMENT_OPEN};
    status = scan_whole(&verification->window, &expected, log->shape.block_bytes, &verification->map, &damaged);
    verification->report->bytes += end_offset;
    look_back_at_hole(verification, segment);
    count_gaps(verification, segment, end_offset, from, to);
    uint64_t unused;
    if (from < to) {
        (void)find_tag(verification, to - 1, &verification->last_tag, &unused);
    }
    window_look_at(&verification->window, -1, 0);
    segment_close_file(verification->io, segment);
    return status;
}

static uint64_t end_offset_of(const struct wal *log, const struct segment *segment)
{
    return segment == log->tail && segment->state == SEGMENT_OPEN ? log->durable_offset : segment->end_offset;
}

/* The live indexes of a segment, and how far its bytes go. The lock held. */
static void live_part(const struct wal *log, const struct segment *segment, uint64_t *from, uint64_t *to,
                      uint64_t *end_offset)
{
    *from = segment->low > log->start_index ? segment->low : log->start_index;
    *to = segment->end_index < log->durable_end_index ? segment->end_index : log->durable_end_index;
    uint64_t superseded_index = table_superseded_from(&log->table, segment);
    *to = superseded_index < *to ? superseded_index : *to;
    *end_offset = end_offset_of(log, segment);
}

/* The first live segment behind those done, or NULL. The lock held. */
static struct segment *next_segment(const struct wal *log, uint64_t done_number, uint64_t *total_bytes)
{
    struct segment *segment = NULL;
    for (uint32_t i = log->table.count; i-- > 0;) {
        struct segment *candidate = log->table.list[i];
        bool live = candidate->state == SEGMENT_SEALED || candidate->state == SEGMENT_OPEN;
        if (live && candidate->number > done_number) {
            *total_bytes += end_offset_of(log, candidate);
            segment = candidate;
        }
    }
    return segment;
}

/* Live indexes go on without a gap from segment to segment: what is missing in front of this one was in a file that is
 * gone. The lock held. */
static void count_missing(struct verification *verification, uint64_t done_number, uint64_t from, uint64_t to)
{
    const struct wal *log = verification->log;
    if (verification->next_index < log->start_index) {
        verification->next_index = log->start_index; /* Truncated meanwhile. */
    }
    if (from < to && verification->next_index < from) {
        uint64_t missing_number = done_number != 0 ? done_number + 1 : log->start_segment;
        count_hole(verification, missing_number, verification->next_index, from);
    }
    verification->next_index = from < to ? to : verification->next_index;
}

/* The same behind the last segment. What was appended since this began is not asked for. The lock held. */
static void count_missing_end(struct verification *verification, uint64_t done_number)
{
    const struct wal *log = verification->log;
    uint64_t from = verification->next_index > log->start_index ? verification->next_index : log->start_index;
    uint64_t to = verification->end_index < log->durable_end_index ? verification->end_index : log->durable_end_index;
    if (from < to) {
        count_hole(verification, done_number != 0 ? done_number + 1 : log->start_segment, from, to);
    }
}

static int verify_all(struct verification *verification, int (*progress)(void *, uint64_t, uint64_t), void *context)
{
    struct wal *log = verification->log;
    uint64_t done_number = 0;
    for (;;) {
        log_lock(log);
        uint64_t total_bytes = verification->report->bytes;
        struct segment *segment = next_segment(log, done_number, &total_bytes);
        if (segment == NULL) {
            count_missing_end(verification, done_number);
            log_unlock(log);
            return 0;
        }
        uint64_t from;
        uint64_t to;
        uint64_t end_offset;
        live_part(log, segment, &from, &to, &end_offset);
        count_missing(verification, done_number, from, to);
        segment->pins++;
        struct segment copy = *segment;
        log_unlock(log);
        int status = verification->map.capacity >= map_capacity(copy.bytes, log->shape.block_bytes)
                         ? verify_segment(verification, &copy, end_offset, from, to)
                         : WAL_ENOMEM;
        log_lock(log);
        segment->pins--;
        log_unlock(log);
        done_number = copy.number;
        if (status != 0) {
            return status;
        }
        if (progress != NULL && progress(context, verification->report->bytes, total_bytes) != 0) {
            return WAL_EAGAIN;
        }
    }
}

int verify_log(struct wal *log, struct wal_verify_report *report, int (*progress)(void *, uint64_t, uint64_t),
               void *context)
{
    *report = (struct wal_verify_report){0};
    struct verification verification = {.log = log, .io = log->io, .report = report};
    struct wal_io *own_io = NULL;
    if (log->owns_io && wal_io_uring_second(log->io, &own_io) == 0) {
        verification.io = own_io;
    }
    uint64_t largest_bytes = log->shape.segment_bytes;
    log_lock(log);
    verification.end_index = log->durable_end_index;
    for (uint32_t i = 0; i < log->table.count; i++) {
        largest_bytes = log->table.list[i]->bytes > largest_bytes ? log->table.list[i]->bytes : largest_bytes;
    }
    log_unlock(log);
    verification.map.capacity = map_capacity(largest_bytes, log->shape.block_bytes);
    verification.map.entries =
        memory_take(log->options.allocator, verification.map.capacity * sizeof(struct map_entry), 16);
    /* From the page cache, the copy is made and checked while it is in the processor's cache; from the device, reads
     * are large. */
    size_t window_bytes =
        window_bytes_for(largest_bytes, verification.io->caps.direct ? VERIFY_WINDOW_BYTES : CACHED_WINDOW_BYTES);
    int status = verification.map.entries == NULL ? WAL_ENOMEM
                                                  : window_create(&verification.window, verification.io, own_io != NULL,
                                                                  window_bytes, log->options.allocator);
    if (status == 0) {
        status = verify_all(&verification, progress, context);
        window_destroy(&verification.window);
    }
    memory_give(log->options.allocator, verification.map.entries, verification.map.capacity * sizeof(struct map_entry));
    if (own_io != NULL) {
        own_io->ops->destroy(own_io);
    }
    if (status == WAL_ENOMEM) {
        log_lock(log);
        (void)report_set(&log->report, status, "out of memory for reading the log");
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
