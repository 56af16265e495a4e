/* open.c - from a directory to a handle that appends.
 *
 * The happy path of an open for writing:
 *   1. lock the directory, then the newest segments' files: a dead owner's last writes are waited for;
 *   2. sync those files and the directory, drop cached pages: what is read from now on is what the device holds;
 *   3. recover (recover.c): a verdict, and the place where the log ends;
 *   4. read the doubtful place a second time; zero what a zero-written segment holds behind it;
 *   5. write the anchor there, durable: the cut is a fact before it is reported (4 and 5: cut.c);
 *   6. return. Every open does all of it, also after a clean close: there is no rarely used path.
 * A new log is one segment, born with its anchor, under a temporary name until it is complete; then it is opened like
 * any other.
 *
 * What can fail, and what is left: before step 4 nothing was written. A crash in 4 or 5 leaves the same observations,
 * hence the same cut. No room for the anchor's segment on a full disk: the handle reads, and refuses appends.
 *
 * Invariants: corrupt and uncertain stop before step 4 unless the caller accepts them; a reader writes nothing, and
 * believes nothing bad that it has not seen twice.
 *
 * May include: open.h, cut.h, read.h, recover.h, memory.h, bytes.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/open.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/cut.h"
#include "wal/memory.h"
#include "wal/read.h"
#include "wal/recover.h"
#include "wal/zoo.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

enum { SCRATCH_BYTES = 256 << 10, READER_BYTES = 256 << 10, WINDOW_BYTES = 8 << 20, PASSES_MAX = 64 };

/* --- making a log -------------------------------------------------------------------------------- */

static int check_block_bytes(struct wal *log, uint32_t block_bytes)
{
    const struct wal_io_caps *caps = &log->io->caps;
    /* The options were checked against block_bytes as the caller gave it; an existing log has its own. */
    uint64_t segment_bytes = log->options.segment_bytes;
    uint64_t batch_bytes = log->options.batch_bytes_max;
    if (batch_bytes % block_bytes != 0 || segment_bytes % block_bytes != 0 || batch_bytes < 4 * (uint64_t)block_bytes ||
        segment_bytes < (uint64_t)FORMAT_SEGMENT_BLOCKS_MIN * block_bytes ||
        batch_bytes > segment_bytes - 3 * (uint64_t)block_bytes) {
        return report_set(&log->report, WAL_EINVAL,
                          "batch_bytes_max and segment_bytes must be whole numbers of the log's blocks, %u bytes: at "
                          "least 4 and 16 of them, and a batch at most a segment less 3",
                          block_bytes);
    }
    if (block_bytes % caps->align_bytes != 0) {
        return report_set(
            &log->report, WAL_EINVAL,
            "block_bytes %u is not a multiple of what direct I/O needs here, %u; WAL_BUFFERED does without",
            block_bytes, caps->align_bytes);
    }
    if (block_bytes < caps->physical_block_bytes && (log->options.flags & WAL_POWERSAFE_OVERWRITE) == 0) {
        return report_set(&log->report, WAL_EINVAL,
                          "block_bytes %u is below the device's physical block, %u: two batches would share one. "
                          "WAL_POWERSAFE_OVERWRITE asserts that this is safe",
                          block_bytes, caps->physical_block_bytes);
    }
    return 0;
}

static int create_log(struct wal *log)
{
    int status = check_block_bytes(log, log->options.block_bytes);
    uint64_t salt = segment_draw_salt(&log->table);
    if (status == 0 &&
        (salt == 0 || getrandom(log->shape.uuid, sizeof(log->shape.uuid), 0) != (ssize_t)sizeof(log->shape.uuid))) {
        status = report_set(&log->report, WAL_ESYSTEM, "the kernel's random number generator gave nothing");
    }
    if (status != 0) {
        return status;
    }
    struct format_head anchor = {.kind = BATCH_ANCHOR,
                                 .head_bytes = (uint16_t)format_head_bytes(BATCH_ANCHOR, 0),
                                 .salt = salt,
                                 .segment = 1,
                                 .place = FORMAT_FIRST_BATCH_BLOCK,
                                 .number = 1,
                                 .first_index = 1,
                                 .metadata_bytes = FORMAT_NO_METADATA,
                                 .body.anchor = {.start = {1, 1}, .low = 1}};
    anchor.used_bytes = anchor.head_bytes;
    memcpy(anchor.body.anchor.uuid, log->shape.uuid, sizeof(anchor.body.anchor.uuid));
    memset(log->roll_blocks, 0, log->shape.block_bytes);
    format_head_encode(&anchor, log->roll_blocks);
    struct segment segment;
    status = segment_make(log->io, &log->shape, 1, log->roll_blocks, log->prepare_scratch, log->prepare_scratch_bytes,
                          NULL, &segment, &log->report);
    if (status != 0) {
        return status;
    }
    segment_close_file(log->io, &segment);
    int result = log->io->ops->sync_parent(log->io);
    return result == 0 ? 0
                       : report_set(&log->report, status_of_errno(result), "cannot sync the parent directory: %s",
                                    errno_name(result));
}

/* --- temporaries --------------------------------------------------------------------------------- */

static int remember_temporary(void *context, const char *name)
{
    if (!format_is_temporary_name(name)) {
        return 0;
    }
    (void)snprintf(context, FORMAT_NAME_BYTES, "%s", name);
    return 1;
}

/* What a crash left of segments being made. */
static void remove_temporaries(struct wal *log)
{
    for (unsigned turn = 0; turn < 64; turn++) {
        char name[FORMAT_NAME_BYTES] = "";
        if (log->io->ops->list(log->io, remember_temporary, name) != 1 || log->io->ops->unlink(log->io, name) != 0) {
            return;
        }
    }
}

/* --- before a byte is believed ------------------------------------------------------------------- */

/* Locks the files that a dead owner may still be writing to: the newest one begun, its predecessor, and all after. */
static int lock_newest(struct wal *log, struct recovery *recovery)
{
    uint64_t from = recovery->tail != NULL ? recovery->tail->number - 1 : 0;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < log->table.count; i++) {
        if (log->table.list[i]->number >= from) {
            status = segment_open_file(log->io, log->table.list[i], true, &log->report);
        }
    }
    return status;
}

static int flush_newest(struct wal *log)
{
    if (ZOO(flush_before_believing)) {
        return 0;
    }
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (!segment->locked) {
            continue;
        }
        struct wal_io_op op = {.kind = WAL_IO_SYNC, .file = segment->file};
        int result = log->io->ops->execute(log->io, &op);
        if (result != 0) {
            return report_set(&log->report, WAL_EIO,
                              "segment %" PRIu64 ": sync before reading failed: %s; nothing was changed",
                              segment->number, errno_name(result));
        }
        (void)log->io->ops->forget_cache(log->io, segment->file);
    }
    int result = ZOO(directory_flush_at_open) ? 0 : log->io->ops->sync_directory(log->io);
    if (result == 0) {
        /* The one that made the log may have been killed before it came to that. */
        result = log->io->ops->sync_parent(log->io);
    }
    return result == 0
               ? 0
               : report_set(&log->report, status_of_errno(result),
                            "sync of the directory before reading failed: %s; nothing was changed", errno_name(result));
}

/* Lists and finds T; for writing, with everything flushed that could matter. */
static int find_tail(struct wal *log, struct recovery *recovery)
{
    int status = recover_find_tail(recovery);
    if (status != 0 || !recovery->for_writing) {
        return status;
    }
    status = lock_newest(log, recovery);
    if (status == 0) {
        status = flush_newest(log);
    }
    return status != 0 ? status
                       : recover_find_tail(recovery); /* A dead owner's last writes may have landed meanwhile. */
}

/* --- taking over --------------------------------------------------------------------------------- */

static void adopt(struct wal *log, const struct recovery *recovery)
{
    const struct walk *walk = &recovery->walk;
    log->shape.block_bytes = recovery->shape.block_bytes;
    memcpy(log->shape.uuid, recovery->shape.uuid, sizeof(log->shape.uuid));
    log->tail = recovery->cut_segment;
    log->sealed = (struct sealed){.next_number = walk->number,
                                  .chain = walk->chain,
                                  .next_index = walk->next_index,
                                  .start = walk->start,
                                  .doubt_index = walk->doubt_index,
                                  .last_tag = walk->last_tag,
                                  .last_content_number = walk->last_content_number,
                                  .highest_mark = walk->highest_mark,
                                  .last_kind = walk->last_kind,
                                  .metadata_bytes = walk->metadata_bytes};
    memcpy(log->sealed.metadata, walk->metadata, sizeof(log->sealed.metadata));
    log->durable_number = walk->number - 1;
}

/* The visible state follows from what is sealed: all of it is durable now. */
static void publish(struct wal *log)
{
    const struct sealed *sealed = &log->sealed;
    log->start_index = sealed->start.index;
    log->start_segment = sealed->start.segment;
    /* A prefix that ends in front of the start is one without records. */
    log->next_index = log->durable_end_index =
        sealed->next_index > sealed->start.index ? sealed->next_index : sealed->start.index;
    log->staged_tag = sealed->last_tag;
    log->durable_number = sealed->next_number - 1;
    log->durable_offset = log->tail->end_offset;
    log->durable_doubt_index = sealed->doubt_index;
    log->durable_metadata_bytes = sealed->metadata_bytes;
    memcpy(log->durable_metadata, sealed->metadata, sizeof(log->durable_metadata));
    log->metadata_room_bytes =
        sealed->metadata_bytes == FORMAT_NO_METADATA ? 0 : (uint32_t)round_up(sealed->metadata_bytes, 8);
    log->stage_segment = log->tail;
    log->stage_offset = log->tail->end_offset;
}

/* A ready file that has lost its end, and was not begun, tells nothing; but what is written into it would lie in a
 * segment that is found short ever after. It is made anew. */
static bool lost_its_end(struct wal *log, struct segment *segment)
{
    uint64_t file_bytes;
    if (log->io->ops->file_bytes(log->io, segment->file, &file_bytes) != 0 || file_bytes >= segment->bytes) {
        return false;
    }
    segment->bytes = file_bytes;
    return true;
}

/* Ready segments that were found: salt and map, so that a roll needs nothing. */
static int equip_ready(struct wal *log, const struct recovery *recovery)
{
    uint64_t next_number = recovery->tail->number + 1;
    bool too_small = false;
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->state != SEGMENT_READY) {
            continue;
        }
        /* Made when batches were smaller: the largest would not fit. Then the later ones neither: there is no gap. */
        too_small = too_small || segment->bytes < log->options.batch_bytes_max + 3 * (uint64_t)log->shape.block_bytes;
        /* But the one behind a sealed T must not be missing for a moment: the log goes on in it, and rolls early. */
        bool needed = recovery->evidence.sealed && segment->number == next_number;
        if (too_small && !needed) {
            segment->state = SEGMENT_RETIRED;
            continue;
        }
        int status = segment_open_file(log->io, segment, true, &log->report);
        if (status != 0) {
            return status;
        }
        if (lost_its_end(log, segment)) {
            segment->state = SEGMENT_RETIRED;
            continue;
        }
        segment->salt = segment_draw_salt(&log->table);
        if (segment->salt == 0 ||
            (segment->map.entries == NULL && segment_take_map(&log->table, segment, log->shape.block_bytes) != 0)) {
            return report_set(&log->report, WAL_ENOMEM, "out of memory for the map of segment %" PRIu64,
                              segment->number);
        }
    }
    return 0;
}

/* --- all of it ----------------------------------------------------------------------------------- */

static int list_or_create(struct wal *log, struct recovery *recovery)
{
    int status = recover_list(recovery);
    bool create = (log->options.flags & WAL_CREATE) != 0;
    if (status == 0 && create && (log->options.flags & WAL_EXCLUSIVE) != 0) {
        return report_set(&log->report, WAL_EEXIST, "the directory holds a log already");
    }
    if (status == WAL_ENOENT && recovery->has_other_files) {
        return report_set(&log->report, WAL_ENOTLOG, "the directory holds files, but no segment of a log: not touched");
    }
    if (status != WAL_ENOENT || !create) {
        return status;
    }
    remove_temporaries(log);
    status = create_log(log);
    if (status == 0) {
        log->report = (struct report){0};
        status = recover_list(recovery);
    }
    return status;
}

static int make_buffers(struct wal *log)
{
    const struct wal_allocator *allocator = log->options.allocator;
    log->prepare_scratch_bytes = SCRATCH_BYTES;
    log->roll_blocks = memory_take(allocator, 2 * (size_t)FORMAT_BLOCK_BYTES_MAX, 4096);
    log->prepare_scratch = memory_take(allocator, log->prepare_scratch_bytes, 4096);
    if (log->roll_blocks == NULL || log->prepare_scratch == NULL) {
        return WAL_ENOMEM;
    }
    /* Those at the disk, the one that fills, and one more; but by default that one is rather at the disk. */
    bool by_default = log->later_batch_bytes_min != 0;
    log->batch_count = log->read_only ? 1 : log->options.batches_in_flight_max + (by_default ? 1 : 2);
    CHECK(log->batch_count <= LOG_BATCHES_MAX);
    for (uint32_t i = 0; i < log->batch_count && !log->read_only; i++) {
        if (batch_create(&log->batches[i], allocator, log->options.batch_bytes_max, log->options.block_bytes) != 0) {
            return WAL_ENOMEM;
        }
    }
    return reader_create(log, READER_BYTES, &log->reader);
}

/* From a found T to a usable handle. */
static int judge_and_take_over(struct wal *log, struct recovery *recovery, struct wal_verdict *verdict)
{
    int status = recover_judge(recovery, verdict);
    if (status != 0) {
        return status;
    }
    verdict->flushed = recovery->for_writing;
    bool accepted = (verdict->kind == WAL_VERDICT_UNCERTAIN && (log->options.flags & WAL_ACCEPT_UNCERTAIN) != 0) ||
                    (verdict->kind == WAL_VERDICT_CORRUPT && (log->options.flags & WAL_ACCEPT_CORRUPT) != 0);
    int judged = verdict_status(verdict->kind);
    if (judged != 0 && ((!accepted && !log->read_only) || recovery->cut_segment == NULL)) {
        return report_set(&log->report, judged, "%s", verdict->text);
    }
    adopt(log, recovery);
    if (log->read_only) {
        log->tail = recovery->tail;
        publish(log);
        if (judged != 0) {
            /* Both sides of the damage can be read: up to the last record found behind it. */
            log->durable_end_index = log->next_index =
                recovery->tail->end_index > log->next_index ? recovery->tail->end_index : log->next_index;
            log->durable_offset = segment_seal_offset(recovery->tail, log->shape.block_bytes);
            if (recovery->beyond.block_bytes != 0) {
                log->durable_metadata_bytes = recovery->beyond.metadata_bytes;
                memcpy(log->durable_metadata, recovery->beyond.metadata, sizeof(log->durable_metadata));
            }
        }
        return 0;
    }
    status = check_block_bytes(log, log->shape.block_bytes);
    if (status == 0) {
        status = equip_ready(log, recovery);
    }
    if (status == 0) {
        status = cut_make(log, recovery, verdict);
    }
    if (status == 0) {
        publish(log);
    }
    return status;
}

/* One pass from the directory's list to a usable handle. */
static int pass(struct wal *log, struct wal_verdict *verdict)
{
    struct window window = {0};
    struct recovery recovery = {.io = log->io,
                                .options = &log->options,
                                .table = &log->table,
                                .window = &window,
                                .scratch = log->prepare_scratch,
                                .scratch_bytes = log->prepare_scratch_bytes,
                                .for_writing = !log->read_only,
                                .report = &log->report};
    int status = list_or_create(log, &recovery);
    if (status == 0) {
        status = find_tail(log, &recovery);
    }
    if (status == 0) {
        uint64_t tail_bytes = recovery.tail != NULL ? recovery.tail->bytes : WINDOW_BYTES;
        status = window_create(&window, log->io, !log->shares_disk, window_bytes_for(tail_bytes, WINDOW_BYTES),
                               log->options.allocator);
        if (status != 0) {
            (void)report_set(&log->report, status, "out of memory for reading the log");
        }
    }
    if (status == 0) {
        status = judge_and_take_over(log, &recovery, verdict);
    }
    window_destroy(&window);
    if (recovery.seen.no_log) {
        verdict->row = ROW_Y1;
    }
    return status;
}

/* A reader may look at a log that moves: it rolls, recycles and appends between two of our reads, and what we then see
 * fits no row of an honest log. Damage stays where it is: so nothing bad is believed until two passes have seen the
 * same. */
static int read_only_passes(struct wal *log, struct wal_verdict *verdict)
{
    struct wal_verdict before = {0};
    int status_before = 0;
    for (unsigned turn = 0;; turn++) {
        struct wal_verdict now = {0};
        log->report = (struct report){0};
        int status = pass(log, &now);
        bool good = status == 0 && verdict_status(now.kind) == 0;
        /* Without a verdict there is nothing to compare: a file that was renamed under us says "no such file". */
        bool same = now.row != 0 && status == status_before && now.row == before.row && now.segment == before.segment &&
                    now.offset == before.offset && now.batch == before.batch && now.mark == before.mark;
        if (good || same || turn == PASSES_MAX) {
            *verdict = now;
            return status;
        }
        before = now;
        status_before = status;
        table_destroy(&log->table, log->io);
        if (table_create(&log->table, log->options.segments_max, log->options.allocator) != 0) {
            return report_set(&log->report, WAL_ENOMEM, "out of memory for the segment table");
        }
    }
}

int open_anchor_deferred(struct wal *log)
{
    int status = cut_make_deferred(log);
    if (status == 0) {
        publish(log);
    }
    return status;
}

int open_recovered(struct wal *log, struct wal_verdict *verdict)
{
    log->shape = (struct segment_shape){.block_bytes = log->options.block_bytes,
                                        .segment_bytes = log->options.segment_bytes,
                                        .batch_bytes_max = log->options.batch_bytes_max,
                                        .batches_in_flight_max = log->options.batches_in_flight_max};
    int status = table_create(&log->table, log->options.segments_max, log->options.allocator);
    status = status == 0 ? make_buffers(log) : status;
    if (status != 0) {
        return report_set(&log->report, status, "out of memory for the handle's buffers");
    }
    if (log->read_only) {
        return read_only_passes(log, verdict);
    }
    status = pass(log, verdict);
    if (status == 0) {
        remove_temporaries(log);
    }
    return status;
}
