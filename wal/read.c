/* read.c - from an index to verified bytes.
 *
 * The happy path: under the lock, the table says which segment holds the index, the segment's map which run of records;
 * the segment is pinned so that nobody recycles it, the lock is given up, the run's bytes are read - with what follows
 * them, up to the durable end, for whoever goes on - and each record passed on the way is verified. Sequential reads
 * find the next record in the buffer and touch neither disk nor map.
 *
 * A sealed segment whose map is not in memory is scanned once; the map is kept until too many are: then that of the
 * segment that was read longest ago is given up, by the reader itself.
 *
 * What can fail, and what is left: a record that does not verify is WAL_ECORRUPT with its place in wal_errmsg; others
 * are not concerned. A disk error is WAL_EIO. Nothing here poisons or changes the log.
 *
 * Invariants: only bytes below the durable end are read, and those never change under one (segment, salt); no byte is
 * given out that its record's checksum did not cover; a run is looked up again when the log's generation has changed.
 *
 * May include: read.h, memory.h, prepare.h, scan.h, window.h, bytes.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/read.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/memory.h"
#include "wal/prepare.h"
#include "wal/scan.h"
#include "wal/window.h"
#include "wal/zoo.h"

#include <inttypes.h>

enum { READER_ALIGN = 4096, MAP_WINDOW_BYTES = 4 << 20 };

int reader_create(struct wal *log, uint32_t capacity_bytes, struct reader **out)
{
    struct reader *reader = memory_take(log->options.allocator, sizeof(*reader), 16);
    if (reader == NULL) {
        return WAL_ENOMEM;
    }
    *reader = (struct reader){.log = log, .capacity_bytes = round_up(capacity_bytes, READER_ALIGN)};
    reader->buffer = memory_take(log->options.allocator, reader->capacity_bytes, READER_ALIGN);
    if (reader->buffer == NULL) {
        reader_destroy(reader);
        return WAL_ENOMEM;
    }
    *out = reader;
    return 0;
}

void reader_destroy(struct reader *reader)
{
    if (reader != NULL) {
        const struct wal_allocator *allocator = reader->log->options.allocator;
        memory_give(allocator, reader->buffer, reader->capacity_bytes);
        memory_give(allocator, reader, sizeof(*reader));
    }
}

/* --- maps of sealed segments --------------------------------------------------------------------- */

/* Scans a segment and fills its map. No lock; the segment is pinned. */
static int fill_map(struct wal *log, struct segment *segment, struct map *map, bool *damaged, struct report *report)
{
    struct window window;
    int status = window_create(&window, log->io, false, window_bytes_for(segment->bytes, MAP_WINDOW_BYTES),
                               log->options.allocator);
    if (status != 0) {
        return report_set(report, status, "out of memory for reading segment %" PRIu64, segment->number);
    }
    window_look_at(&window, segment->file, segment->bytes);
    const struct scan_expected expected = {.segment = segment->number,
                                           .segment_bytes = segment->bytes,
                                           .end_offset = segment->end_offset,
                                           .end_index = segment->end_index,
                                           .record_count = segment->record_count};
    status = scan_whole(&window, &expected, log->shape.block_bytes, map, damaged);
    int bad_errno = window.bad_errno;
    window_destroy(&window);
    if (status == 0 && bad_errno != 0) {
        return report_set(report, WAL_EIO, "reading segment %" PRIu64 " failed: %s", segment->number,
                          errno_name(bad_errno));
    }
    return status == 0 ? 0 : report_set(report, status, "out of memory for reading segment %" PRIu64, segment->number);
}

/* The lock held; given up during the scan. Afterwards the segment has a map, or there is an error. */
static int ensure_map(struct wal *log, struct segment *segment)
{
    struct report report = {0};
    struct segment scanned = *segment;
    segment->pins++;
    log_unlock(log);
    scanned.map = (struct map){0};
    bool damaged = false;
    int status = scanned.file >= 0 ? 0 : segment_open_file(log->io, &scanned, false, &report);
    if (status == 0) {
        status = segment_take_map(&log->table, &scanned, log->shape.block_bytes);
        if (status != 0) {
            (void)report_set(&report, status, "out of memory for the map of segment %" PRIu64, segment->number);
        }
    }
    if (status == 0) {
        status = fill_map(log, &scanned, &scanned.map, &damaged, &report);
    }
    log_lock(log);
    segment->pins--;
    bool opened_here = scanned.file >= 0 && segment->file != scanned.file;
    if (status != 0 || segment->map.entries != NULL) {
        if (opened_here) {
            segment_close_file(log->io, &scanned); /* Another reader was faster, or it failed. */
        }
        segment_give_map(&log->table, &scanned);
        log->report = status != 0 ? report : log->report;
        return status;
    }
    if (opened_here) {
        CHECK(segment->file < 0);
        segment->file = scanned.file;
        segment->locked = false;
    }
    segment->map = scanned.map;
    segment->map_damaged = damaged;
    segment->pins++;        /* Not this one, even when all others are being read. */
    prepare_drop_maps(log); /* One map more than before: perhaps one too many. There may be no helper to see to it. */
    segment->pins--;
    return 0;
}

/* --- finding ------------------------------------------------------------------------------------- */

static int refuse_index(struct wal *log, uint64_t index)
{
    if (index < log->start_index || index == 0) {
        return report_set(&log->report, WAL_ECOMPACTED, "index %" PRIu64 " lies before the start of the log, %" PRIu64,
                          index, log->start_index);
    }
    if (index >= log->durable_end_index) {
        return report_set(&log->report, WAL_EBEYOND, "index %" PRIu64 " lies behind the durable end, %" PRIu64, index,
                          log->durable_end_index - 1);
    }
    return 0;
}

static int report_hole(struct wal *log, uint64_t index, const struct segment *segment)
{
    return report_set(&log->report, WAL_ECORRUPT,
                      "index %" PRIu64 " does not read: its batch in segment %" PRIu64
                      " is damaged; restore it from a copy or a peer",
                      index, segment != NULL ? segment->number : 0);
}

/* The lock held. On success the segment is pinned and the reader knows its run. */
static int locate(struct reader *reader, uint64_t index, struct segment **out)
{
    struct wal *log = reader->log;
    for (;;) {
        int status = refuse_index(log, index);
        if (status != 0) {
            return status;
        }
        struct segment *segment = table_holding(&log->table, index);
        if (segment == NULL) {
            return report_hole(log, index, NULL);
        }
        if (segment->map.entries == NULL) {
            status = ensure_map(log, segment);
            if (status != 0) {
                return status;
            }
            continue; /* The lock was given up: look again. */
        }
        const struct map_entry *entry = map_find(&segment->map, index);
        if (entry == NULL) {
            return report_hole(log, index, segment);
        }
        reader->generation = log->generation;
        reader->salt = entry->salt;
        reader->index = entry->first_index;
        reader->run_end_index = entry->first_index + entry->record_count;
        uint64_t superseded_index = table_superseded_from(&log->table, segment);
        if (superseded_index < reader->run_end_index) {
            reader->run_end_index = superseded_index;
        }
        if (log->durable_end_index < reader->run_end_index) {
            /* A truncation that is accepted and not sealed yet has not cut the map, and the generation is its own
             * already: what it removes must not become part of the run. */
            reader->run_end_index = log->durable_end_index;
        }
        reader->offset = entry->offset;
        reader->run_end_offset = entry->end_offset;
        segment->last_use = ++log->use_clock;
        segment->pins++;
        *out = segment;
        return 0;
    }
}

/* --- loading ------------------------------------------------------------------------------------- */

static int grow(struct reader *reader, uint64_t bytes)
{
    uint64_t capacity_bytes = round_up(bytes + 2 * READER_ALIGN, READER_ALIGN);
    uint8_t *buffer = memory_take(reader->log->options.allocator, capacity_bytes, READER_ALIGN);
    if (buffer == NULL) {
        return WAL_ENOMEM;
    }
    memory_give(reader->log->options.allocator, reader->buffer, reader->capacity_bytes);
    reader->buffer = buffer;
    reader->capacity_bytes = capacity_bytes;
    reader->segment = 0;
    return 0;
}

/* Makes [offset, offset + bytes) of the pinned segment present in the buffer, reading on to limit_offset where there is
 * room. */
static int load(struct reader *reader, struct segment *segment, uint64_t offset, uint64_t bytes, uint64_t limit_offset)
{
    struct wal *log = reader->log;
    if (reader->segment == segment->number && reader->buffer_generation == segment->salt &&
        offset >= reader->base_offset && offset + bytes <= reader->end_offset) {
        return 0;
    }
    if (bytes + 2 * READER_ALIGN > reader->capacity_bytes && grow(reader, bytes) != 0) {
        return WAL_ENOMEM;
    }
    uint64_t base_offset = offset & ~(uint64_t)(READER_ALIGN - 1);
    uint64_t end_offset = base_offset + reader->capacity_bytes;
    uint64_t last_offset =
        round_up(limit_offset > offset + bytes ? limit_offset : offset + bytes, log->io->caps.align_bytes);
    end_offset = end_offset < last_offset ? end_offset : last_offset;
    uint32_t moved_bytes;
    reader->segment = 0;
    int result = segment_read(log->io, segment->file, base_offset, reader->buffer, (uint32_t)(end_offset - base_offset),
                              &moved_bytes);
    if (result != 0 || moved_bytes < offset + bytes - base_offset) {
        log_lock(log);
        (void)report_set(&log->report, WAL_EIO, "reading segment %" PRIu64 " at offset %" PRIu64 " failed: %s",
                         segment->number, base_offset, result != 0 ? errno_name(result) : "the file is too short");
        log_unlock(log);
        return WAL_EIO;
    }
    atomic_fetch_add_explicit(&log->read_bytes, moved_bytes, memory_order_relaxed);
    reader->segment = segment->number;
    reader->buffer_generation = segment->salt;
    reader->base_offset = base_offset;
    reader->end_offset = base_offset + moved_bytes;
    if (reader->end_offset > offset + bytes && reader->end_offset > limit_offset) {
        /* What was read for the alignment's sake behind the durable end may still change. */
        reader->end_offset = limit_offset > offset + bytes ? limit_offset : offset + bytes;
    }
    return 0;
}

static int report_bad(struct reader *reader, uint64_t segment, uint64_t index, enum format_verdict verdict)
{
    struct wal *log = reader->log;
    log_lock(log);
    (void)report_set(&log->report, WAL_ECORRUPT,
                     "index %" PRIu64 " does not verify: segment %" PRIu64 ", offset %" PRIu64
                     ": %s; restore it from a copy or a peer",
                     index, segment, reader->offset, format_verdict_text(verdict));
    log_unlock(log);
    reader->index = 0;
    return WAL_ECORRUPT;
}

/* The record at the reader's position: in the buffer, verified. *available: bytes of the buffer from there, at most to
 * the run's end. */
static enum format_verdict decode_here(const struct reader *reader, uint64_t segment, struct format_record *record)
{
    const uint8_t *from = reader->buffer + (reader->offset - reader->base_offset);
    uint64_t end_offset = reader->end_offset < reader->run_end_offset ? reader->end_offset : reader->run_end_offset;
    enum format_verdict verdict =
        format_record_decode(from, end_offset - reader->offset, format_seed_base(reader->salt, segment), reader->offset,
                             reader->index, record);
    if (ZOO(reads_unverified) && verdict == FORMAT_BAD_CHECKSUM) {
        *record =
            (struct format_record){load_u32_le(from + 8), load_u16_le(from + 12), load_u64_le(from + 16), from + 24};
        return FORMAT_OK;
    }
    return verdict;
}

/* Loads the record at the reader's position and verifies it. */
static int take_record(struct reader *reader, struct segment *segment, uint64_t limit_offset,
                       struct format_record *record)
{
    if (reader->run_end_offset - reader->offset < RECORD_HEADER_BYTES) {
        return report_bad(reader, segment->number, reader->index, FORMAT_TRUNCATED);
    }
    int status = load(reader, segment, reader->offset, RECORD_HEADER_BYTES, limit_offset);
    if (status != 0) {
        return status;
    }
    uint64_t bytes = format_record_bytes(load_u32_le(reader->buffer + (reader->offset - reader->base_offset) + 8));
    if (bytes <= reader->run_end_offset - reader->offset) {
        status = load(reader, segment, reader->offset, bytes, limit_offset);
        if (status != 0) {
            return status;
        }
    }
    enum format_verdict verdict = decode_here(reader, segment->number, record);
    return verdict == FORMAT_OK ? 0 : report_bad(reader, segment->number, reader->index, verdict);
}

/* From the start of the run at hand to the record wanted; each one passed is verified. */
static int walk_run(struct reader *reader, struct segment *segment, uint64_t index, uint64_t limit_offset,
                    struct format_record *record)
{
    for (;;) {
        int status = take_record(reader, segment, limit_offset, record);
        if (status != 0 || reader->index == index) {
            return status;
        }
        reader->offset += format_record_bytes(record->length);
        reader->index++;
    }
}

static void step_over(struct reader *reader, const struct format_record *record)
{
    reader->offset += format_record_bytes(record->length);
    reader->index++;
    if (reader->index == reader->run_end_index) {
        reader->index = 0;
    }
}

/* The wanted record is the next of the run at hand, and in the buffer. The lock held. */
static bool at_hand(struct reader *reader, uint64_t index, struct format_record *record)
{
    return reader->index == index && index != 0 && reader->generation == reader->log->generation &&
           reader->segment != 0 && reader->offset >= reader->base_offset && reader->offset < reader->end_offset &&
           decode_here(reader, reader->segment, record) == FORMAT_OK;
}

int reader_record(struct reader *reader, uint64_t index, struct wal_record *out)
{
    struct wal *log = reader->log;
    struct format_record record;
    log_lock(log);
    int status = refuse_index(log, index);
    if (status == 0 && at_hand(reader, index, &record)) {
        log_unlock(log);
    } else {
        struct segment *segment = NULL;
        status = status == 0 ? locate(reader, index, &segment) : status;
        uint64_t limit_offset = segment == NULL ? 0 : segment == log->tail ? log->durable_offset : segment->end_offset;
        log_unlock(log);
        if (status != 0) {
            reader->index = 0;
            return status;
        }
        status = walk_run(reader, segment, index, limit_offset, &record);
        log_lock(log);
        segment->pins--;
        log_unlock(log);
        if (status != 0) {
            return status;
        }
    }
    atomic_fetch_add_explicit(&log->reads, 1, memory_order_relaxed);
    *out = (struct wal_record){
        .data = record.payload, .size = record.length, .type = record.type, .tag = record.tag, .index = index};
    reader->last = (struct wal_place){reader->segment, reader->offset};
    step_over(reader, &record);
    return 0;
}
