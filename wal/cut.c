/* cut.c - where a found log ends becomes a fact: the anchor of an open.
 *
 * The happy path: the bytes that ended the walk are read a second time; in a zero-written segment what stands behind
 * the end is made zero again; then an anchor with a fresh salt is written there, durable. It stands in the middle of
 * the open segment, or at the beginning of the next one when that is sealed or full.
 *
 * What can fail, and what is left: a disk that misreads is WAL_EUNSTABLE, and nothing was written. A crash or an error
 * in any step leaves the same observations, hence the same cut at the next open. No room for the next segment: the log
 * is left unanchored, to be read; a loss is not accepted then, for the next open would know nothing of it.
 *
 * Invariants: a cut that the caller accepted is forced: its anchor takes a number above all seen, and it leaves a doubt
 * from the first index that the loss may concern. Until that anchor is durable nothing behind the cut is touched, bytes
 * or files, and no name appears that was missing: that is the evidence.
 *
 * May include: cut.h, commit.h, prepare.h, seal.h, bytes.h, zoo.h. */

#include "wal/cut.h"

#include "wal/bytes.h"
#include "wal/commit.h"
#include "wal/prepare.h"
#include "wal/seal.h"
#include "wal/zoo.h"

#include <inttypes.h>

enum { DEFER_BLOCKS = 4 }; /* Room for an anchor and a START, twice. */

/* A log that counts from here on will not come to the end of the numbers, and what a damaged or forged one says beyond
 * is refused. */
#define GO_ON_NUMBER_MAX (FORMAT_NUMBER_MAX / 2)

/* --- before the anchor --------------------------------------------------------------------------- */

/* The bytes that ended the walk, read again: a disk that misreads once must not make us cut. */
static int read_again(struct recovery *recovery)
{
    struct segment *segment = recovery->cut_segment;
    uint64_t fingerprint = 0;
    bool unreadable = false;
    if (ZOO(second_read)) {
        return 0;
    }
    for (uint64_t done = 0; done < recovery->judged_bytes;) {
        uint64_t rest_bytes = recovery->judged_bytes - done;
        uint32_t piece_bytes = rest_bytes < recovery->scratch_bytes ? (uint32_t)rest_bytes : recovery->scratch_bytes;
        uint32_t moved_bytes;
        int result = segment_read(recovery->io, segment->file, recovery->walk.offset + done, recovery->scratch,
                                  piece_bytes, &moved_bytes);
        unreadable = unreadable || result != 0;
        memset(recovery->scratch + moved_bytes, 0, piece_bytes - moved_bytes);
        fingerprint = recovery_fingerprint(recovery, recovery->scratch, piece_bytes, fingerprint);
        done += piece_bytes;
    }
    bool same = recovery->judged_bytes == 0 || (unreadable == recovery->judged_unreadable &&
                                                (unreadable || fingerprint == recovery->judged_fingerprint));
    return same ? 0
                : report_set(recovery->report, WAL_EUNSTABLE,
                             "segment %" PRIu64 ", offset %" PRIu64
                             ": two reads of this place differ; nothing was changed. Check the disk, then open again",
                             segment->number, recovery->walk.offset);
}

/* In a zero-written segment, makes what lies behind the cut zero again, durably: so that damage there stays provable.
 */
static int zero_window(struct wal *log, struct recovery *recovery, bool *zeroed)
{
    struct segment *segment = recovery->cut_segment;
    uint64_t end_offset = recovery->evidence.nonzero_end_offset;
    bool closed = recovery->walk.last_kind == BATCH_CLOSE;
    *zeroed = segment->prefill == PREFILL_ZEROED && (!closed || recovery->old_content_known);
    if (!*zeroed || end_offset <= recovery->walk.offset || ZOO(zero_window)) {
        return 0;
    }
    memset(log->prepare_scratch, 0, log->prepare_scratch_bytes);
    int result = 0;
    for (uint64_t offset = recovery->walk.offset; result == 0 && offset < end_offset;
         offset += log->prepare_scratch_bytes) {
        uint64_t rest_bytes = end_offset - offset;
        uint32_t piece_bytes =
            rest_bytes < log->prepare_scratch_bytes ? (uint32_t)rest_bytes : log->prepare_scratch_bytes;
        struct wal_io_op op = {.kind = WAL_IO_WRITE,
                               .file = segment->file,
                               .offset = offset,
                               .size = piece_bytes,
                               .buffer = log->prepare_scratch};
        result = log->io->ops->execute(log->io, &op);
    }
    struct wal_io_op sync = {.kind = WAL_IO_SYNC, .file = segment->file};
    result = result == 0 ? log->io->ops->execute(log->io, &sync) : result;
    return result == 0 ? 0
                       : report_set(&log->report, status_of_errno(result),
                                    "segment %" PRIu64 ": zeroing behind offset %" PRIu64 " failed: %s",
                                    segment->number, recovery->walk.offset, errno_name(result));
}

/* --- the anchor ---------------------------------------------------------------------------------- */

static int write_anchor_block(struct wal *log, struct segment *segment, uint64_t offset, uint8_t *block)
{
    struct wal_io_op op = {.kind = ZOO(tail_cut_not_durable) ? WAL_IO_WRITE : WAL_IO_WRITE_DURABLE,
                           .file = segment->file,
                           .offset = offset,
                           .size = log->shape.block_bytes,
                           .buffer = block};
    POINT(open);
    int result = log->io->ops->execute(log->io, &op);
    return result == 0 ? 0
                       : report_set(&log->report, WAL_EIO,
                                    "segment %" PRIu64 ", offset %" PRIu64 ": writing the anchor failed: %s",
                                    segment->number, offset, errno_name(result));
}

/* In the middle of the open segment. */
static int anchor_in_place(struct wal *log, const struct anchor_cut *cut)
{
    if (ZOO(anchor_at_open) && !cut->forced) {
        return 0;
    }
    uint64_t salt = ZOO(fresh_salt) || ZOO(fresh_salt_and_chain) ? log->tail->salt : segment_draw_salt(&log->table);
    if (salt == 0) {
        return report_set(&log->report, WAL_ESYSTEM, "the kernel's random number generator gave nothing");
    }
    uint64_t offset = log->tail->end_offset;
    seal_anchor(log, log->tail, offset, salt, cut, log->roll_blocks);
    return write_anchor_block(log, log->tail, offset, log->roll_blocks);
}

/* The number of the segment that the log goes on in. When a loss is accepted, one that no file has: those behind the
 * cut are the evidence, and that there is none behind a sealed T is evidence too. A crash before the forced anchor is
 * durable must leave all of it to the next open. */
static uint64_t next_segment_number(const struct recovery *recovery, const struct anchor_cut *cut)
{
    uint64_t next = recovery->tail->number + 1;
    const struct segment *highest = recovery->table->list[recovery->table->count - 1];
    if (!cut->forced) {
        return next;
    }
    return highest->number > next ? highest->number + 1 : next + 1;
}

/* Makes that segment ready. NULL in *out: there is no room. */
static int prepare_next(struct wal *log, uint64_t number, struct segment **out)
{
    int status = 0;
    *out = table_find(&log->table, number);
    while (status == 0 && (*out == NULL || (*out)->state != SEGMENT_READY)) {
        log_lock(log); /* Not ready yet after a turn that only removed a retired file of another size. */
        status = prepare_segment(log, number);
        log_unlock(log);
        *out = status == 0 ? table_find(&log->table, number) : NULL;
    }
    return status == WAL_ENOSPC ? 0 : status;
}

/* While a forced anchor is on its way, files behind the cut are not to be recycled. */
static void keep_evidence(struct wal *log, const struct recovery *recovery, bool keep)
{
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->number > recovery->cut_segment->number) {
            segment->pins = keep ? 1 : 0;
        }
    }
}

/* At the beginning of another segment: the present one is sealed, or full, or lies behind an accepted cut. */
static int anchor_in_next(struct wal *log, struct recovery *recovery, const struct anchor_cut *cut)
{
    struct segment *next;
    keep_evidence(log, recovery, cut->forced);
    int prepared = prepare_next(log, next_segment_number(recovery, cut), &next);
    keep_evidence(log, recovery, false);
    if (prepared != 0 || next == NULL) {
        log->unanchored = prepared == 0;
        return prepared;
    }
    struct segment *from = log->tail;
    uint32_t block_bytes = log->shape.block_bytes;
    if (!recovery->evidence.sealed && !cut->forced) {
        segment_fill_seal(from, &log->shape, log->roll_blocks);
        int status = segment_write_block(log->io, from->file, segment_seal_offset(from, block_bytes), log->roll_blocks,
                                         block_bytes);
        if (status != 0) {
            return report_set(&log->report, WAL_EIO, "segment %" PRIu64 ": writing the seal failed: %s", from->number,
                              errno_name(status));
        }
    }
    uint64_t offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes;
    seal_anchor(log, next, offset, next->salt, cut, log->roll_blocks);
    from->state = SEGMENT_SEALED;
    next->state = SEGMENT_OPEN;
    return write_anchor_block(log, next, offset, log->roll_blocks);
}

/* Behind a loss a file with a good identity and no opening anchor may be one whose anchor is what was lost: its content
 * is not what a ready segment's is. It is made anew before its use. */
static void distrust_ready(struct wal *log, const struct recovery *recovery)
{
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->number > recovery->tail->number && segment->state == SEGMENT_READY) {
            segment->state = SEGMENT_RETIRED;
        }
    }
}

/* A file that has lost its end gets its size back, or every later open would find it short again. */
static int restore_size(struct wal *log, struct segment *segment)
{
    uint64_t file_bytes = 0;
    int result = log->io->ops->file_bytes(log->io, segment->file, &file_bytes);
    if (result == 0 && file_bytes < segment->bytes) {
        struct wal_io_op sync = {.kind = WAL_IO_SYNC, .file = segment->file};
        result = log->io->ops->allocate(log->io, segment->file, segment->bytes);
        result = result == 0 ? log->io->ops->execute(log->io, &sync) : result;
    }
    return result == 0 ? 0
                       : report_set(&log->report, status_of_errno(result),
                                    "segment %" PRIu64 ": giving the file its size back failed: %s", segment->number,
                                    errno_name(result));
}

/* The last blocks of a full disk are for truncating, not for being opened: is this such an open? Without a ready
 * segment, with no room to make one, the anchor is put off until the start is truncated; nothing is lost by that, for
 * an open without an anchor is one that a crash has ended. */
static bool is_to_be_deferred(struct wal *log, const struct recovery *recovery, const struct anchor_cut *cut)
{
    uint64_t seal_offset = segment_seal_offset(recovery->cut_segment, recovery->shape.block_bytes);
    uint64_t free_blocks = (seal_offset - recovery->walk.offset) / recovery->shape.block_bytes;
    const struct segment *next = table_find(&log->table, recovery->tail->number + 1);
    if (cut->forced || free_blocks > DEFER_BLOCKS || (next != NULL && next->state == SEGMENT_READY)) {
        return false;
    }
    log_lock(log);
    int status = prepare_segment(log, recovery->tail->number + 1);
    log_unlock(log);
    return status == WAL_ENOSPC;
}

int cut_make_deferred(struct wal *log)
{
    CHECK(log->anchor_deferred && log->unanchored);
    int status = segment_open_file(log->io, log->tail, true, &log->report);
    if (status != 0) {
        return status;
    }
    uint64_t offset = log->tail->end_offset;
    status = anchor_in_place(log, &log->deferred_cut);
    if (status == WAL_EIO) {
        /* It may be there or not: a second one in this place, or behind it, would be of another log. */
        log->anchor_deferred = false;
        commit_poison(log, "writing the anchor to", log->tail->number, offset, status);
        return WAL_EPOISONED;
    }
    if (status == 0) {
        log->unanchored = log->anchor_deferred = false;
    }
    return status;
}

/* What a forced cut leaves behind it is dead. */
static void retire_behind_cut(struct wal *log, const struct recovery *recovery)
{
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->number > recovery->cut_segment->number && segment->number < log->tail->number) {
            segment->state = SEGMENT_RETIRED;
        }
    }
}

static void describe_cut(const struct recovery *recovery, const struct wal_verdict *verdict, struct anchor_cut *cut)
{
    bool forced = verdict->kind == WAL_VERDICT_CORRUPT || verdict->kind == WAL_VERDICT_UNCERTAIN;
    if (forced || recovery->evidence.cut_bytes != 0 || recovery->stop.reason == WALK_BAD_RECORD) {
        cut->offset = recovery->walk.offset;
        cut->first_index = recovery->walk.next_index;
        cut->records = (uint32_t)recovery->evidence.cut_records;
        cut->reason = (uint32_t)verdict->row;
    }
    if (forced) {
        uint64_t highest = recovery->walk.number - 1;
        highest = recovery->evidence.highest_number > highest ? recovery->evidence.highest_number : highest;
        highest = recovery->evidence.highest_mark > highest ? recovery->evidence.highest_mark : highest;
        highest = recovery->tail->last_number > highest ? recovery->tail->last_number : highest;
        cut->forced = true;
        cut->number = ZOO(forced_anchor_jumps) ? recovery->walk.number : highest + 1;
    }
}

/* The numbers that the log would go on with. */
static int check_numbers(const struct recovery *recovery, const struct anchor_cut *cut)
{
    uint64_t batch = cut->forced ? cut->number : recovery->walk.number;
    uint64_t segment = next_segment_number(recovery, cut);
    if (batch <= GO_ON_NUMBER_MAX && segment <= GO_ON_NUMBER_MAX) {
        return 0;
    }
    return report_set(
        recovery->report, WAL_ETOOBIG,
        "batch %" PRIu64 " or segment %" PRIu64
        " would be next, and no log has come that far: a file is forged, or does not belong here; nothing "
        "was changed. Restore from a copy, or move that file elsewhere",
        batch, segment);
}

static uint64_t lower_of(uint64_t index, uint64_t other)
{
    return other != 0 && other < index ? other : index;
}

/* The first index that what was lost can concern, as far as it can be told: a truncation, or what was written behind
 * one, goes back. Of a truncation that is itself lost only a bound is known: the low that a later anchor tells, or else
 * the start. */
static uint64_t first_doubtful(const struct recovery *recovery)
{
    const struct scan_stop *stop = &recovery->stop;
    const struct scan_evidence *evidence = &recovery->evidence;
    uint64_t start_index = recovery->walk.start.index;
    uint64_t index = recovery->walk.next_index;
    if (stop->head_valid && stop->head.kind == BATCH_TRUNCATE) {
        index = lower_of(index, stop->head.first_index);
    }
    index = lower_of(index, evidence->lowest_index);
    if (evidence->truncation_lost) {
        index = lower_of(index, evidence->told_low != 0 ? evidence->told_low : start_index);
    }
    return index > start_index ? index : start_index; /* In front of the start there is nothing to doubt. */
}

/* An accepted loss: a doubt from the cut on, and the caller's metadata with it. */
static void accept_loss(struct wal *log, const struct recovery *recovery)
{
    struct sealed *sealed = &log->sealed;
    uint64_t doubtful = first_doubtful(recovery);
    if (sealed->doubt_index == 0 || doubtful < sealed->doubt_index) {
        sealed->doubt_index = doubtful;
    }
    if (log->options.accept_metadata != NULL) {
        sealed->metadata_bytes = (uint16_t)log->options.accept_metadata_bytes;
        memset(sealed->metadata, 0, sizeof(sealed->metadata));
        memcpy(sealed->metadata, log->options.accept_metadata, log->options.accept_metadata_bytes);
    }
}

/* The forced anchor is durable, and what it leaves behind is dead; or it is not, and nothing was accepted. */
static void conclude_loss(struct wal *log, const struct recovery *recovery, const struct sealed *before, bool durable,
                          struct wal_verdict *verdict)
{
    if (!durable) {
        log->sealed = *before;
        return;
    }
    verdict->accepted = true;
    verdict->doubt_index = log->sealed.doubt_index;
    retire_behind_cut(log, recovery);
}

int cut_make(struct wal *log, struct recovery *recovery, struct wal_verdict *verdict)
{
    if (!recovery->acceptable) {
        return report_set(&log->report, WAL_ECORRUPT, "%s", verdict->text);
    }
    int status = recovery->cut_segment == recovery->tail ? read_again(recovery) : 0;
    uint64_t seal_offset = segment_seal_offset(recovery->cut_segment, recovery->shape.block_bytes);
    bool in_place = recovery->cut_segment == recovery->tail && !recovery->evidence.sealed &&
                    recovery->walk.offset < seal_offset && recovery->stranger == 0;
    struct anchor_cut cut = {0};
    const struct sealed before = log->sealed;
    describe_cut(recovery, verdict, &cut);
    status = status == 0 ? check_numbers(recovery, &cut) : status;
    if (cut.forced && log->sealed.start.index > log->sealed.next_index) {
        /* All that reads lies in front of the start: the log goes on there, empty, as behind a reset. */
        log->sealed.start.segment = in_place ? recovery->cut_segment->number : next_segment_number(recovery, &cut);
    }
    if (status == 0 && in_place && !cut.forced) {
        /* Not when a loss is accepted: what is behind the cut is the evidence, until the forced anchor is durable. */
        status = zero_window(log, recovery, &cut.zeroed);
    }
    if (status != 0) {
        return status;
    }
    if (cut.forced) {
        accept_loss(log, recovery);
        distrust_ready(log, recovery);
    }
    status = segment_open_file(log->io, log->tail, true, &log->report);
    if (status == 0 && in_place && is_to_be_deferred(log, recovery, &cut)) {
        log->unanchored = log->anchor_deferred = true;
        log->deferred_cut = cut;
        return 0;
    }
    if (status == 0 && in_place) {
        status = restore_size(log, log->tail);
    }
    if (status == 0) {
        status = in_place ? anchor_in_place(log, &cut) : anchor_in_next(log, recovery, &cut);
    }
    if (cut.forced) {
        conclude_loss(log, recovery, &before, status == 0 && !log->unanchored, verdict);
    }
    return status;
}
