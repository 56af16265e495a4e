/* recover.c - from a directory to a verdict.
 *
 * The happy path:
 *   - list the names; the newest segment with a readable opening anchor is T;
 *   - walk T from its anchor to the place p where a batch does not fit (scan.c): that gives the start of the log;
 *   - step back from anchor to predecessor, down to the start segment, reading two blocks and one header in each;
 *   - look at everything behind p, and into the files after T, for marks that contradict p;
 *   - the first row of the table that holds (verdict.c) is the verdict.
 *
 * Sealed bodies are not read: the verdict covers T wholly and the others by their ends (chain.c).
 *
 * What can fail: the disk, in ways that leave no verdict: WAL_EIO and its kin. Nothing is written here, whatever is
 * found.
 *
 * Invariants: a pure function of names and bytes; run twice it finds the same. table states: READY above T when usable,
 * SEALED from the start segment to T, RETIRED elsewhere.
 *
 * May include: recover.h, chain.h, bytes.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/recover.h"

#include "wal/bytes.h"
#include "wal/chain.h"
#include "wal/zoo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- listing ------------------------------------------------------------------------------------- */

static int enter_name(void *context, const char *name)
{
    struct recovery *recovery = context;
    uint64_t number = format_segment_of_name(name);
    if (number == 0) {
        bool temporary = format_is_temporary_name(name);
        recovery->has_temporaries = recovery->has_temporaries || temporary;
        size_t length = strlen(name);
        bool passing = length > 4 && strcmp(name + length - 4, ".tmp") == 0; /* Left by a crash: ours, or the disk's. */
        recovery->has_other_files = recovery->has_other_files || !passing;
        return 0;
    }
    const struct segment segment = {.number = number, .state = SEGMENT_RETIRED, .file = -1};
    return table_add(recovery->table, &segment, NULL);
}

int recover_list(struct recovery *recovery)
{
    int result = recovery->io->ops->list(recovery->io, enter_name, recovery);
    if (result == WAL_ENOSPC) {
        return report_set(recovery->report, WAL_ETOOBIG, "more segment files than segments_max = %u; raise the option",
                          recovery->table->capacity);
    }
    if (result == WAL_ENOMEM) {
        return report_set(recovery->report, WAL_ENOMEM, "out of memory for the segment table");
    }
    if (result != 0) {
        return report_set(recovery->report, status_of_errno(result), "cannot list the directory: %s",
                          errno_name(result));
    }
    if (recovery->table->count == 0) {
        return report_set(recovery->report, WAL_ENOENT, "the directory holds no segment (NNNNNNNNNNNNNNNNNNNN.wal)");
    }
    return 0;
}

/* --- finding T ----------------------------------------------------------------------------------- */

/* Takes the block size and uuid from the newest readable identity. */
static int learn_shape(struct recovery *recovery)
{
    for (uint32_t i = recovery->table->count; i-- > 0;) {
        struct segment *segment = recovery->table->list[i];
        struct format_identity identity;
        enum format_verdict verdict;
        int status = look_identity(recovery, segment, &identity, &verdict);
        if (status != 0) {
            return status;
        }
        if (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE) {
            return look_refuse_format(recovery, segment->number, verdict, &identity);
        }
        if (verdict == FORMAT_OK) {
            recovery->shape.block_bytes = 1u << identity.block_shift;
            recovery->shape.batch_bytes_max = identity.batch_bytes_max;
            recovery->shape.batches_in_flight_max = identity.batches_in_flight_max;
            memcpy(recovery->shape.uuid, identity.uuid, sizeof(identity.uuid));
            return 0;
        }
        segment_close_file(recovery->io, segment);
    }
    /* No identity reads: the anchors know their own place, so the block size can be found by trying. */
    for (uint32_t block_bytes = FORMAT_BLOCK_BYTES_MIN; block_bytes <= FORMAT_BLOCK_BYTES_MAX; block_bytes *= 2) {
        recovery->shape.block_bytes = block_bytes;
        struct segment *newest = recovery->table->list[recovery->table->count - 1];
        struct format_head head;
        if (segment_open_file(recovery->io, newest, false, recovery->report) == 0 &&
            look_opening_anchor(recovery, newest, &head)) {
            memcpy(recovery->shape.uuid, head.body.anchor.uuid, sizeof(recovery->shape.uuid));
            recovery->shape.batch_bytes_max = block_bytes;
            recovery->shape.batches_in_flight_max = 1;
            return 0;
        }
    }
    if (recovery->read_errno != 0) {
        return report_set(recovery->report, WAL_EIO, "no segment file can be read: %s; nothing was changed",
                          errno_name(recovery->read_errno));
    }
    recovery->seen.no_log = true;
    return report_set(recovery->report, WAL_ENOTLOG, "no segment file here has a readable identity or beginning");
}

int recover_find_tail(struct recovery *recovery)
{
    recovery->tail = NULL;
    recovery->spare_copies_damaged = 0;
    recovery->stranger = 0;
    int status = learn_shape(recovery);
    for (uint32_t i = recovery->table->count; status == 0 && i-- > 0 && recovery->tail == NULL;) {
        struct segment *segment = recovery->table->list[i];
        struct format_identity identity;
        enum format_verdict verdict;
        status = look_identity(recovery, segment, &identity, &verdict);
        if (status != 0) {
            break;
        }
        if (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE) {
            return look_refuse_format(recovery, segment->number, verdict, &identity);
        }
        if (look_opening_anchor(recovery, segment, &recovery->opening_anchor)) {
            if (memcmp(recovery->opening_anchor.body.anchor.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0 ||
                (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0)) {
                return look_refuse_foreign(recovery, segment->number, recovery->opening_anchor.body.anchor.uuid);
            }
            recovery->tail = segment;
            recovery->spare_copies_damaged = verdict != FORMAT_OK; /* Its identity. */
            if (verdict == FORMAT_OK && identity.segment != segment->number && !ZOO(segment_in_checksums)) {
                recovery->stranger = segment->number;
                recovery->stranger_found = identity.segment;
            }
        } else {
            if (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
                return look_refuse_foreign(recovery, segment->number, identity.uuid);
            }
            bool ours = verdict == FORMAT_OK && identity.segment == segment->number;
            if (verdict == FORMAT_OK && !ours && !ZOO(segment_in_checksums)) {
                recovery->stranger = segment->number; /* A file has its identity before it has its name. */
                recovery->stranger_found = identity.segment;
            }
            segment->state = ours ? SEGMENT_READY : SEGMENT_RETIRED;
        }
    }
    return status;
}

/* --- T itself ------------------------------------------------------------------------------------ */

/* Remembers the very bytes that ended the walk: a second read must find the same, or the disk misreads. */
static int remember_judged(struct recovery *recovery)
{
    const struct walk *walk = &recovery->walk;
    recovery->judged_bytes = 0;
    if (recovery->stop.reason == WALK_FULL) {
        return 0;
    }
    bool whole = recovery->stop.head_valid && recovery->stop.reason == WALK_BAD_RECORD && !recovery->stop.beyond_file;
    uint64_t bytes = whole ? format_batch_padded_bytes(&recovery->stop.head, walk->block_bytes) : walk->block_bytes;
    int status;
    const uint8_t *judged = window_at(recovery->window, walk->offset, bytes, &status);
    if (judged != NULL) {
        recovery->judged_bytes = bytes;
        recovery->judged_fingerprint = recovery_fingerprint(recovery, judged, bytes, 0);
        recovery->judged_unreadable = window_is_bad(recovery->window, walk->offset, bytes);
    }
    return status;
}

static int scan_tail(struct recovery *recovery)
{
    struct segment *tail = recovery->tail;
    int status = recovery_take_map(recovery, tail);
    if (status != 0) {
        return status;
    }
    window_look_at(recovery->window, tail->file, tail->bytes);
    walk_begin(&recovery->walk, &recovery->opening_anchor, tail->bytes, recovery->shape.block_bytes);
    status = scan_run(recovery->window, &recovery->walk, &tail->map, &recovery->stop);
    recovery_note_walk(tail, &recovery->walk, SEGMENT_OPEN);
    tail->predecessor = recovery->opening_anchor.body.anchor.predecessor_segment;
    recovery->cut_segment = tail;
    recovery->acceptable = true;
    recovery->old_content_known = tail->prefill == PREFILL_ZEROED && !recovery->walk.reopened_unzeroed;
    return status == 0 ? remember_judged(recovery) : status;
}

/* Looks at the blocks in [offset, the seal) of a segment, and at its seal. After a CLOSE short_bytes of them will do,
 * while nothing is found: but where there is something, all of it counts, for an accepted loss must jump over every
 * number that stands there. */
static int look_behind(struct recovery *recovery, const struct segment *segment, uint64_t offset, uint64_t short_bytes,
                       struct scan_evidence *evidence)
{
    uint64_t seal_offset = segment_seal_offset(segment, recovery->shape.block_bytes);
    uint64_t rest_bytes = seal_offset > offset ? seal_offset - offset : 0;
    uint64_t first_end = offset + (rest_bytes < short_bytes ? rest_bytes : short_bytes);
    struct window *window = recovery->window;
    int status = scan_evidence(window, &recovery->walk, segment->number, offset, first_end, evidence);
    if (status == 0) {
        status = scan_seal(window, segment->number, seal_offset, evidence);
    }
    if (status == 0 && (evidence->highest_number != 0 || evidence->read_error)) {
        status = scan_evidence(window, &recovery->walk, segment->number, first_end, seal_offset, evidence);
    }
    return status;
}

/* What a file after T has told goes to what is behind p. */
static void add_evidence(struct recovery *recovery, const struct scan_evidence *there)
{
    struct scan_evidence *evidence = &recovery->evidence;
    if (there->highest_mark > evidence->highest_mark) {
        evidence->highest_mark = there->highest_mark;
        evidence->mark_segment = there->mark_segment;
        evidence->mark_offset = there->mark_offset;
    }
    if (there->highest_number > evidence->highest_number) {
        evidence->highest_number = there->highest_number;
    }
    if (there->anchor_start.start.index > evidence->anchor_start.start.index) {
        evidence->anchor_start = there->anchor_start;
    }
    if (there->batch_start.start.index > evidence->batch_start.start.index) {
        evidence->batch_start = there->batch_start;
    }
    if (there->lowest_index != 0 && there->lowest_index < recovery->walk.next_index) {
        evidence->truncation_lost = true; /* T itself has no word of it. */
        evidence->told_low = 0;
    }
}

static bool more_is_known(const struct recovery *recovery)
{
    return recovery->options->known_durable_index != 0 &&
           recovery->options->known_durable_index >= recovery->walk.next_index;
}

/* The files after T. */
static int gather_behind_tail(struct recovery *recovery, bool short_look)
{
    uint32_t block_bytes = recovery->shape.block_bytes;
    uint64_t short_bytes = short_look ? 2 * (uint64_t)WINDOW_CHUNK_BYTES - block_bytes : UINT64_MAX;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < recovery->table->count; i++) {
        struct segment *later = recovery->table->list[i];
        struct scan_evidence there = {0};
        if (later->number <= recovery->tail->number ||
            later->bytes < (uint64_t)FORMAT_SEGMENT_BLOCKS_MIN * block_bytes) {
            continue;
        }
        status = segment_open_file(recovery->io, later, false, recovery->report);
        if (status == 0) {
            window_look_at(recovery->window, later->file, later->bytes);
            status = look_behind(recovery, later, block_bytes, short_bytes, &there);
            add_evidence(recovery, &there);
        }
    }
    window_look_at(recovery->window, recovery->tail->file, recovery->tail->bytes);
    return status;
}

/* Everything behind p in T, the seal, and the files after T. */
static int gather_evidence(struct recovery *recovery)
{
    struct segment *tail = recovery->tail;
    struct scan_evidence *evidence = &recovery->evidence;
    uint32_t block_bytes = recovery->shape.block_bytes;
    bool closed = recovery->walk.last_kind == BATCH_CLOSE;
    if (ZOO(evidence_scan) || (closed && ZOO(look_behind_close))) {
        return 0;
    }
    /* An anchor fills one block, so what came after a CLOSE begins in the very next ones. */
    bool short_look = closed && !more_is_known(recovery);
    uint64_t look_bytes = round_up(2 * (uint64_t)recovery->shape.batch_bytes_max + 2 * block_bytes, block_bytes);
    int status = look_behind(recovery, tail, recovery->walk.offset, short_look ? look_bytes : UINT64_MAX, evidence);
    uint64_t file_bytes = 0;
    if (recovery->io->ops->file_bytes(recovery->io, tail->file, &file_bytes) == 0 && file_bytes < tail->bytes) {
        evidence->read_error = true; /* A segment has its full size before it has its name. */
    }
    recovery->spare_copies_damaged += evidence->seal_damaged;
    short_look = short_look && evidence->highest_number == 0 && !evidence->read_error;
    return status != 0 ? status : gather_behind_tail(recovery, short_look);
}

/* --- both sides of damage ------------------------------------------------------------------------ */

/* Indexes go back over a hole: a truncation is lost in it. Only an anchor tells how low it can have cut; else nothing
 * in front of the hole is certain. */
static void drop_truncated(struct recovery *recovery, const struct format_head *head, uint64_t offset)
{
    struct segment *tail = recovery->tail;
    uint64_t low = head->kind == BATCH_ANCHOR ? head->body.anchor.low : recovery->walk.start.index;
    low = low < head->first_index ? low : head->first_index;
    if (head->kind == BATCH_ANCHOR) {
        map_truncate(&tail->map, low);
    } else {
        map_drop_before(&tail->map, offset);
    }
    tail->low = low < tail->low ? low : tail->low; /* Also of what the segments in front of T hold. */
    recovery->truncation_hidden = true;
}

/* Behind the damage in T: goes on wherever a batch of the log can be believed again, for readers. */
static int read_beyond(struct recovery *recovery)
{
    struct walk *beyond = &recovery->beyond;
    *beyond = recovery->walk;
    struct segment *tail = recovery->tail;
    uint64_t seal_offset = segment_seal_offset(tail, recovery->shape.block_bytes);
    for (;;) {
        struct format_head head;
        uint64_t offset;
        int status = scan_resync(recovery->window, tail->number, recovery->shape.block_bytes,
                                 beyond->offset + recovery->shape.block_bytes, seal_offset, &head, &offset);
        if (status != 0) {
            return status;
        }
        bool of_the_log = offset != 0 && head.number > beyond->number && head.first_index >= beyond->start.index;
        recovery_note_hole(recovery, beyond, tail->number, of_the_log ? &head : NULL);
        if (offset == 0) {
            return 0;
        }
        uint64_t before_index = beyond->next_index;
        beyond->offset = offset;
        if (!of_the_log) {
            continue;
        }
        walk_resume(beyond, &head);
        if (head.kind == BATCH_TRUNCATE) {
            map_truncate(&tail->map, head.first_index); /* Even if its records do not read. */
        } else if (head.first_index < before_index) {
            drop_truncated(recovery, &head, offset);
        }
        struct scan_stop stop;
        status = scan_run(recovery->window, beyond, &tail->map, &stop);
        if (status != 0) {
            return status;
        }
        if (beyond->next_index > tail->end_index) {
            tail->end_index = beyond->next_index;
        }
        if (stop.reason == WALK_FULL || (!stop.head_valid && beyond->number > recovery->evidence.highest_mark)) {
            return 0;
        }
    }
}

/* --- the verdict --------------------------------------------------------------------------------- */

static bool wrongly_written(const struct recovery *recovery)
{
    const struct scan_stop *stop = &recovery->stop;
    if (!stop->head_valid || stop->reason == WALK_BAD_RECORD || stop->reason == WALK_FULL) {
        return false;
    }
    /* An anchor with a lower number is one that an accepted cut left behind: the forced anchor's number jumped over it.
     */
    bool anchor = stop->head.kind == BATCH_ANCHOR && stop->head.number >= recovery->walk.number;
    return stop->head.salt == recovery->walk.salt || anchor;
}

/* Behind a sealed T the next file was complete before T's seal was written: a file without its identity, or shorter
 * than that says, may have held the newest batches. */
static bool next_is_damaged(const struct recovery *recovery)
{
    const struct segment *next = table_find(recovery->table, recovery->tail->number + 1);
    uint64_t file_bytes = 0;
    if (!recovery->evidence.sealed || next == NULL || next->file < 0) {
        return false;
    }
    bool tells_size = recovery->io->ops->file_bytes(recovery->io, next->file, &file_bytes) == 0;
    return next->state != SEGMENT_READY || (tells_size && file_bytes < next->bytes);
}

static int observe(struct recovery *recovery)
{
    struct observation *seen = &recovery->seen;
    const struct walk *walk = &recovery->walk;
    const struct scan_evidence *evidence = &recovery->evidence;
    uint64_t expected = ZOO(mark_is_an_index) ? walk->next_index : walk->number;
    seen->newest_missing = evidence->sealed && table_find(recovery->table, recovery->tail->number + 1) == NULL;
    seen->mark_beyond =
        evidence->highest_mark >= expected || (ZOO(any_later_header_is_proof) && evidence->later_run_header);
    seen->known_beyond = more_is_known(recovery);
    seen->wrongly_written = wrongly_written(recovery);
    bool proof = false;
    if (recovery->old_content_known) {
        int status = scan_proof(recovery->window, walk, &recovery->stop, &proof);
        if (status != 0) {
            return status;
        }
    }
    bool next_damaged = next_is_damaged(recovery);
    seen->unreadable_or_proof = proof || evidence->read_error || recovery->stop.read_error || next_damaged;
    if (next_damaged || seen->newest_missing) { /* What is lost with a whole segment may have been a truncation. */
        recovery->evidence.truncation_lost = true;
        recovery->evidence.told_low = 0;
    }
    seen->covered_and_quiet = walk->last_content_number <= walk->highest_mark && !evidence->current_run;
    return 0;
}

static void tell(const struct recovery *recovery, struct wal_verdict *verdict)
{
    const struct walk *walk = &recovery->walk;
    char *text = verdict->text;
    size_t size = sizeof(verdict->text);
    enum verdict_row row = (enum verdict_row)verdict->row;
    const char *story = verdict_story(row);
    if (row == ROW_Y10 || row == ROW_Y11) {
        (void)snprintf(text, size,
                       "%s; records %" PRIu64 " to %" PRIu64 ", the log ends in segment %" PRIu64 " at offset %" PRIu64
                       "%s",
                       story, verdict->first_index, verdict->last_index, verdict->segment, verdict->offset,
                       verdict->closed ? ", closed in order" : "");
        return;
    }
    char next_step[128] = "Restore the file from a copy; nothing of the log can be read without it.";
    if (recovery->acceptable) {
        (void)snprintf(next_step, sizeof(next_step),
                       "Restore from a copy or a peer, or open with WAL_ACCEPT_%s to cut the log before index %" PRIu64
                       ".",
                       row == ROW_Y9 ? "UNCERTAIN" : "CORRUPT", verdict->index);
    }
    if (recovery->place_known) {
        (void)snprintf(
            text, size, "%s: segment %" PRIu64 ", offset %" PRIu64 ": %s; expected %" PRIu64 ", found %" PRIu64 ". %s",
            story, verdict->segment, verdict->offset, recovery->place, verdict->expected, verdict->found, next_step);
        return;
    }
    (void)snprintf(text, size,
                   "%s: segment %" PRIu64 ", offset %" PRIu64 ", batch %" PRIu64 ", index %" PRIu64
                   ": %s; highest mark behind it %" PRIu64 ". %s",
                   story, verdict->segment, verdict->offset, walk->number, verdict->index,
                   recovery->stop.read_error ? "the disk cannot read it" : walk_reason_text(recovery->stop.reason),
                   verdict->mark, next_step);
}

static void fill_verdict(const struct recovery *recovery, struct wal_verdict *verdict)
{
    const struct walk *walk = &recovery->walk;
    const struct scan_evidence *evidence = &recovery->evidence;
    verdict->row = (int)verdict_row(&recovery->seen);
    verdict->kind = verdict_kind((enum verdict_row)verdict->row);
    verdict->closed = verdict->kind == WAL_VERDICT_CLEAN && walk->last_kind == BATCH_CLOSE;
    verdict->old_content_known = recovery->old_content_known;
    memcpy(verdict->uuid, recovery->shape.uuid, sizeof(verdict->uuid));
    verdict->first_index = walk->start.index;
    uint64_t next_index = walk->next_index > walk->start.index ? walk->next_index : walk->start.index;
    verdict->last_index = next_index - 1;
    verdict->batch = walk->number;
    verdict->index = next_index;
    verdict->segment = recovery->cut_segment != NULL ? recovery->cut_segment->number : 0;
    verdict->offset = walk->offset;
    verdict->mark = evidence->highest_mark;
    verdict->expected = walk->number;
    verdict->found = recovery->stop.head_valid ? recovery->stop.head.number : 0;
    if (recovery->place_known) {
        verdict->segment = recovery->place_segment;
        verdict->offset = recovery->place_offset;
        verdict->expected = recovery->place_expected;
        verdict->found = recovery->place_found;
    }
    verdict->index_unknown =
        verdict->kind == WAL_VERDICT_CORRUPT && (recovery->place_known || recovery->truncation_hidden);
    verdict->cut_bytes = evidence->cut_bytes;
    verdict->cut_records = evidence->cut_records;
    verdict->cut_seen = evidence->later_run_header                                              ? WAL_CUT_LATER_BATCHES
                        : recovery->stop.head_valid && recovery->stop.reason == WALK_BAD_RECORD ? WAL_CUT_HEADER
                                                                                                : WAL_CUT_NOTHING;
    bool window_open = verdict->kind == WAL_VERDICT_TORN || verdict->kind == WAL_VERDICT_UNCERTAIN ||
                       (verdict->kind == WAL_VERDICT_CLEAN && !verdict->closed);
    /* Not what an identity says: that is of the open that made the file; a later one may have had more in flight. */
    verdict->concerned_batches = window_open ? FORMAT_IN_FLIGHT_MAX : 0;
    verdict->spare_copies_damaged = recovery->spare_copies_damaged;
    verdict->doubt_index = walk->doubt_index;
    verdict->hole_count = recovery->hole_count;
    memcpy(verdict->holes, recovery->holes, sizeof(verdict->holes));
    tell(recovery, verdict);
}

int recover_judge(struct recovery *recovery, struct wal_verdict *verdict)
{
    int status = 0;
    if (recovery->tail == NULL) {
        recovery->seen.no_beginning = true;
        recovery_note_place(recovery, recovery->table->list[0]->number, recovery->shape.block_bytes, 1, 0,
                            "no opening anchor reads in any segment");
        recovery->walk.start.index = recovery->walk.next_index = 1;
    } else {
        status = scan_tail(recovery);
        if (status == 0) {
            status = gather_evidence(recovery);
        }
        if (status == 0) {
            status = observe(recovery);
        }
        if (status == 0 && recovery->stranger != 0) {
            recovery->seen.segment_missing = true;
            recovery_note_place(recovery, recovery->stranger, 0, recovery->stranger, recovery->stranger_found,
                                "the file holds another segment (expected and found are segment numbers)");
        }
        recovery->spare_copies_of_tail = recovery->spare_copies_damaged;
        if (status == 0) {
            status = chain_walk_down(recovery);
        }
        if (status == 0 && recovery->seen.segment_missing && recovery->stranger == 0) {
            status = chain_walk_to_later_start(recovery);
        }
        bool broken = recovery->seen.segment_missing || recovery->seen.does_not_join;
        if (status == 0 && !broken && verdict_status(verdict_kind(verdict_row(&recovery->seen))) != 0) {
            chain_adopt_durable_start(recovery);
        }
        bool cut_wanted = recovery->for_writing && (recovery->options->flags & WAL_ACCEPT_CORRUPT) != 0;
        if (status == 0 && !broken && !cut_wanted &&
            verdict_kind(verdict_row(&recovery->seen)) == WAL_VERDICT_CORRUPT) {
            status = read_beyond(recovery);
        }
        if (status == 0 && broken) {
            status = chain_walk_up(recovery);
        }
    }
    if (status == 0) {
        fill_verdict(recovery, verdict);
    }
    return status;
}
