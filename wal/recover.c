/* recover.c - from a directory to a verdict.
 *
 * The happy path:
 *   - list the names; the newest segment with a readable opening anchor is T;
 *   - walk T from its anchor to the place p where a batch does not fit (scan.c): that gives the start of the log;
 *   - step back from anchor to predecessor, down to the start segment, reading two blocks and one header in each;
 *   - look at everything behind p, and into the files after T, for marks that contradict p;
 *   - the first row of the table that holds (verdict.c) is the verdict.
 *
 * Sealed bodies are not read: the verdict covers T wholly and the others by their ends. Where segments do not join, the
 * ones from the start on are walked to find how far a readable prefix goes.
 *
 * What can fail: the disk, in ways that leave no verdict: WAL_EIO and its kin. Nothing is written here, whatever is
 * found.
 *
 * Invariants: a pure function of names and bytes; run twice it finds the same. table states: READY above T when usable,
 * SEALED from the start segment to T, RETIRED elsewhere.
 *
 * May include: recover.h, bytes.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/recover.h"

#include "wal/bytes.h"
#include "wal/check.h"
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

/* --- small reads --------------------------------------------------------------------------------- */

/* Reads the sector at offset into scratch. 0, WAL_EIO kept as such, or another failure. */
static int read_sector(struct recovery *recovery, struct segment *segment, uint64_t offset)
{
    uint32_t bytes = (uint32_t)round_up(FORMAT_SECTOR_BYTES, recovery->io->caps.align_bytes);
    uint32_t moved_bytes;
    int result = segment_read(recovery->io, segment->file, offset, recovery->scratch, bytes, &moved_bytes);
    if (result == 0 && moved_bytes < bytes) {
        memset(recovery->scratch + moved_bytes, 0, bytes - moved_bytes);
    }
    return result;
}

/* The self-valid head at an offset: FORMAT_OK, or why not. An unreadable sector is FORMAT_BAD_CHECKSUM. */
static enum format_verdict read_head(struct recovery *recovery, struct segment *segment, uint64_t offset,
                                     struct format_head *head)
{
    if (read_sector(recovery, segment, offset) != 0) {
        return FORMAT_BAD_CHECKSUM;
    }
    enum format_verdict verdict = format_head_decode(recovery->scratch, FORMAT_SECTOR_BYTES, head);
    bool self_valid =
        verdict == FORMAT_OK && format_head_is_self_valid(head, segment->number, offset / recovery->shape.block_bytes);
    return verdict == FORMAT_OK && !self_valid ? FORMAT_BAD_FIELD : verdict;
}

static bool read_opening_anchor(struct recovery *recovery, struct segment *segment, struct format_head *head)
{
    uint64_t offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)recovery->shape.block_bytes;
    return read_head(recovery, segment, offset, head) == FORMAT_OK && head->kind == BATCH_ANCHOR;
}

/* Opens the file and reads its identity. *verdict says what was found; the segment's size and prefill are noted. */
static int read_identity(struct recovery *recovery, struct segment *segment, struct format_identity *identity,
                         enum format_verdict *verdict)
{
    int status = segment_open_file(recovery->io, segment, false, recovery->report);
    if (status != 0) {
        return status;
    }
    uint64_t file_bytes = 0;
    int result = recovery->io->ops->file_bytes(recovery->io, segment->file, &file_bytes);
    if (result != 0) {
        return report_set(recovery->report, status_of_errno(result),
                          "segment %" PRIu64 ": cannot learn the file's size: %s", segment->number, errno_name(result));
    }
    segment->bytes = file_bytes;
    result = read_sector(recovery, segment, 0);
    recovery->read_errno = result != 0 ? result : recovery->read_errno;
    *verdict = result == 0 ? format_identity_decode(recovery->scratch, identity) : FORMAT_BAD_CHECKSUM;
    if (*verdict == FORMAT_OK) {
        segment->prefill = identity->prefill;
        segment->bytes = identity->segment_bytes;
    } else if (recovery->shape.block_bytes != 0) {
        segment->bytes -= segment->bytes % recovery->shape.block_bytes;
    }
    return 0;
}

static int refuse_format(struct recovery *recovery, uint64_t number, enum format_verdict verdict,
                         const struct format_identity *identity)
{
    recovery->seen.no_log = true;
    if (verdict == FORMAT_NEWER) {
        return report_set(recovery->report, WAL_ENEWER,
                          "segment %" PRIu64 " has format version %u.%u, this library reads %u.x; use a newer library",
                          number, identity->major, identity->minor, FORMAT_MAJOR);
    }
    return report_set(recovery->report, WAL_ENEWER,
                      "segment %" PRIu64 " needs features 0x%x that this library does not know; use a newer library",
                      number, identity->features_must);
}

/* --- finding T ----------------------------------------------------------------------------------- */

/* Takes the block size and uuid from the newest readable identity. */
static int learn_shape(struct recovery *recovery)
{
    for (uint32_t i = recovery->table->count; i-- > 0;) {
        struct segment *segment = recovery->table->list[i];
        struct format_identity identity;
        enum format_verdict verdict;
        int status = read_identity(recovery, segment, &identity, &verdict);
        if (status != 0) {
            return status;
        }
        if (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE) {
            return refuse_format(recovery, segment->number, verdict, &identity);
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
        if (block_bytes % recovery->io->caps.align_bytes == 0 &&
            segment_open_file(recovery->io, newest, false, recovery->report) == 0 &&
            read_opening_anchor(recovery, newest, &head)) {
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

static int refuse_foreign(struct recovery *recovery, uint64_t number)
{
    recovery->seen.no_log = true;
    return report_set(recovery->report, WAL_EFOREIGN,
                      "segment %" PRIu64 " belongs to another log (its uuid differs); remove or restore that file",
                      number);
}

int recover_find_tail(struct recovery *recovery)
{
    recovery->tail = NULL;
    recovery->stranger = 0;
    int status = learn_shape(recovery);
    for (uint32_t i = recovery->table->count; status == 0 && i-- > 0 && recovery->tail == NULL;) {
        struct segment *segment = recovery->table->list[i];
        struct format_identity identity;
        enum format_verdict verdict;
        status = read_identity(recovery, segment, &identity, &verdict);
        if (status != 0) {
            break;
        }
        if (verdict == FORMAT_NEWER || verdict == FORMAT_UNKNOWN_FEATURE) {
            return refuse_format(recovery, segment->number, verdict, &identity);
        }
        if (read_opening_anchor(recovery, segment, &recovery->opening_anchor)) {
            if (memcmp(recovery->opening_anchor.body.anchor.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0 ||
                (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0)) {
                return refuse_foreign(recovery, segment->number);
            }
            recovery->tail = segment;
        } else {
            if (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
                return refuse_foreign(recovery, segment->number);
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

/* --- the chain of segments, downwards from T ----------------------------------------------------- */

static void note_place(struct recovery *recovery, uint64_t segment, uint64_t offset, uint64_t expected, uint64_t found,
                       const char *words)
{
    if (recovery->place_known) {
        return; /* The first one found is told. */
    }
    recovery->place_known = true;
    recovery->place_segment = segment;
    recovery->place_offset = offset;
    recovery->place_expected = expected;
    recovery->place_found = found;
    (void)snprintf(recovery->place, sizeof(recovery->place), "%s", words);
}

/* Is the predecessor's last batch where, and what, the anchor behind it says? */
static bool joins(struct recovery *recovery, struct segment *predecessor, const struct format_head *anchor)
{
    const struct format_anchor *said = &anchor->body.anchor;
    struct format_head last;
    if (read_head(recovery, predecessor, said->predecessor_last_offset, &last) != FORMAT_OK) {
        note_place(recovery, predecessor->number, said->predecessor_last_offset, anchor->number - 1, 0,
                   "the last batch of the segment does not read");
        return false;
    }
    bool forced = (anchor->flags & BATCH_FORCED) != 0;
    uint64_t end_offset = said->predecessor_last_offset + format_batch_padded_bytes(&last, recovery->shape.block_bytes);
    bool right = last.checksum == anchor->chain && (forced || last.number + 1 == anchor->number) &&
                 end_offset == said->predecessor_end_offset;
    if (!right) {
        note_place(recovery, predecessor->number, said->predecessor_last_offset, anchor->number - 1, last.number,
                   "the segment does not end as its successor says (expected and found are batch numbers)");
    }
    return right;
}

/* Looks at the segment in front of `anchor`. NULL in *out: it cannot be used, and recovery->seen says why. */
static int step_back(struct recovery *recovery, const struct format_head *anchor, struct segment **out,
                     struct format_head *out_anchor)
{
    *out = NULL;
    const struct format_anchor *said = &anchor->body.anchor;
    uint64_t number = said->predecessor_segment;
    struct segment *segment = number < anchor->segment ? table_find(recovery->table, number) : NULL;
    if (segment == NULL) {
        recovery->seen.segment_missing = true;
        note_place(recovery, number, 0, number, 0, "the segment is missing (expected is its number)");
        return 0;
    }
    struct format_identity identity;
    enum format_verdict verdict;
    int status = read_identity(recovery, segment, &identity, &verdict);
    if (status != 0) {
        return status;
    }
    if (verdict == FORMAT_OK && memcmp(identity.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
        return refuse_foreign(recovery, number);
    }
    if (verdict == FORMAT_OK && identity.segment != number && !ZOO(segment_in_checksums)) {
        recovery->seen.segment_missing = true;
        note_place(recovery, number, 0, number, identity.segment,
                   "the file holds another segment (expected and found are segment numbers)");
        return 0;
    }
    recovery->spare_copies_damaged += verdict != FORMAT_OK;
    if (!read_opening_anchor(recovery, segment, out_anchor)) {
        recovery->seen.segment_missing = true;
        note_place(recovery, number, recovery->shape.block_bytes, 0, 0, "the segment's opening anchor does not read");
        return 0;
    }
    if (memcmp(out_anchor->body.anchor.uuid, recovery->shape.uuid, FORMAT_UUID_BYTES) != 0) {
        return refuse_foreign(recovery, number);
    }
    if (!joins(recovery, segment, anchor) && !ZOO(predecessor_check)) {
        recovery->seen.does_not_join = true;
        return 0;
    }
    *out = segment;
    return 0;
}

/* What an anchor says of the segment in front of it. */
static void note_facts(struct segment *segment, const struct format_head *own_anchor,
                       const struct format_head *next_anchor)
{
    const struct format_anchor *said = &next_anchor->body.anchor;
    segment->state = SEGMENT_SEALED;
    segment->predecessor = own_anchor->body.anchor.predecessor_segment;
    segment->opening_index = own_anchor->first_index;
    segment->end_index = next_anchor->first_index;
    segment->low = said->low;
    segment->salt = own_anchor->salt;
    segment->last_number = next_anchor->number - 1;
    segment->last_checksum = next_anchor->chain;
    segment->last_offset = said->predecessor_last_offset;
    segment->end_offset = said->predecessor_end_offset;
}

/* The seal of a sealed segment is a spare copy of what the anchor behind it says. */
static void count_spare_seal(struct recovery *recovery, struct segment *segment)
{
    uint64_t seal_offset = segment_seal_offset(segment, recovery->shape.block_bytes);
    struct format_seal seal;
    bool reads = read_sector(recovery, segment, seal_offset) == 0 &&
                 format_seal_decode(recovery->scratch, &seal) == FORMAT_OK && seal.segment == segment->number;
    recovery->spare_copies_damaged += !reads;
}

static int walk_down(struct recovery *recovery)
{
    struct format_head anchor = recovery->opening_anchor;
    struct segment *upper = recovery->tail;
    while (upper->number > recovery->walk.start.segment) {
        struct segment *lower;
        struct format_head lower_anchor;
        int status = step_back(recovery, &anchor, &lower, &lower_anchor);
        if (status != 0 || lower == NULL) {
            return status;
        }
        note_facts(lower, &lower_anchor, &anchor);
        count_spare_seal(recovery, lower);
        segment_close_file(recovery->io, lower);
        upper = lower;
        anchor = lower_anchor;
    }
    if (upper->number != recovery->walk.start.segment) {
        recovery->seen.segment_missing = true;
        note_place(recovery, recovery->walk.start.segment, 0, recovery->walk.start.segment, upper->number,
                   "the start segment is not on the chain (expected and found are segment numbers)");
    }
    return 0;
}

/* --- T itself ------------------------------------------------------------------------------------ */

static int make_map(struct recovery *recovery, struct segment *segment)
{
    if (segment_take_map(recovery->table, segment, recovery->shape.block_bytes) != 0) {
        return report_set(recovery->report, WAL_ENOMEM, "out of memory for a segment's map");
    }
    return 0;
}

static void note_walk(struct segment *segment, const struct walk *walk, enum segment_state state)
{
    segment->state = state;
    segment->opening_index = walk->opening_index;
    segment->end_index = walk->next_index;
    segment->low = walk->low;
    segment->record_count = walk->record_count;
    segment->salt = walk->salt;
    segment->last_number = walk->number - 1;
    segment->last_checksum = walk->chain;
    segment->last_offset = walk->last_offset;
    segment->end_offset = walk->offset;
}

uint64_t recover_fingerprint(const struct recovery *recovery, const uint8_t *bytes, uint64_t size, uint64_t so_far)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t piece_bytes = size - done < recovery->scratch_bytes ? size - done : recovery->scratch_bytes;
        so_far = format_fingerprint(bytes + done, piece_bytes, so_far);
        done += piece_bytes;
    }
    return so_far;
}

/* Remembers the very bytes that ended the walk: a second read must find the same, or the disk misreads. */
static int remember_judged(struct recovery *recovery)
{
    const struct walk *walk = &recovery->walk;
    recovery->judged_bytes = 0;
    if (recovery->stop.reason == WALK_FULL) {
        return 0;
    }
    bool whole = recovery->stop.head_valid && recovery->stop.reason == WALK_BAD_RECORD;
    uint64_t bytes = whole ? format_batch_padded_bytes(&recovery->stop.head, walk->block_bytes) : walk->block_bytes;
    int status;
    const uint8_t *judged = window_at(recovery->window, walk->offset, bytes, &status);
    if (judged != NULL) {
        recovery->judged_bytes = bytes;
        recovery->judged_fingerprint = recover_fingerprint(recovery, judged, bytes, 0);
        recovery->judged_unreadable = window_is_bad(recovery->window, walk->offset, bytes);
    }
    return status;
}

static int scan_tail(struct recovery *recovery)
{
    struct segment *tail = recovery->tail;
    int status = make_map(recovery, tail);
    if (status != 0) {
        return status;
    }
    window_look_at(recovery->window, tail->file, tail->bytes);
    walk_begin(&recovery->walk, &recovery->opening_anchor, tail->bytes, recovery->shape.block_bytes);
    status = scan_run(recovery->window, &recovery->walk, &tail->map, &recovery->stop);
    note_walk(tail, &recovery->walk, SEGMENT_OPEN);
    tail->predecessor = recovery->opening_anchor.body.anchor.predecessor_segment;
    recovery->cut_segment = tail;
    recovery->acceptable = true;
    recovery->old_content_known = tail->prefill == PREFILL_ZEROED && !recovery->walk.reopened_unzeroed;
    return status == 0 ? remember_judged(recovery) : status;
}

/* Everything behind p in T, the seal, and the files after T. */
static int gather_evidence(struct recovery *recovery)
{
    struct segment *tail = recovery->tail;
    uint32_t block_bytes = recovery->shape.block_bytes;
    uint64_t seal_offset = segment_seal_offset(tail, block_bytes);
    uint64_t offset = recovery->walk.offset;
    bool closed = recovery->walk.last_kind == BATCH_CLOSE;
    if (ZOO(evidence_scan) || (closed && ZOO(look_behind_close))) {
        return 0;
    }
    uint64_t end_offset = seal_offset;
    if (closed) {
        /* An anchor fills one block, so what came after a CLOSE begins in the very next ones. */
        uint64_t look_bytes = round_up(2 * (uint64_t)recovery->shape.batch_bytes_max + 2 * block_bytes, block_bytes);
        end_offset = seal_offset - offset > look_bytes ? offset + look_bytes : seal_offset;
    }
    int status = scan_evidence(recovery->window, tail->number, recovery->walk.salt, block_bytes, offset, end_offset,
                               &recovery->evidence);
    if (status == 0) {
        status = scan_seal(recovery->window, tail->number, seal_offset, &recovery->evidence);
    }
    uint64_t file_bytes = 0;
    if (recovery->io->ops->file_bytes(recovery->io, tail->file, &file_bytes) == 0 && file_bytes < tail->bytes) {
        recovery->evidence.read_error = true; /* A segment has its full size before it has its name. */
    }
    recovery->spare_copies_damaged += recovery->evidence.seal_damaged;
    for (uint32_t i = 0; status == 0 && i < recovery->table->count; i++) {
        struct segment *later = recovery->table->list[i];
        if (later->number <= tail->number || later->bytes < (uint64_t)FORMAT_SEGMENT_BLOCKS_MIN * block_bytes) {
            continue;
        }
        struct scan_evidence there = {0};
        uint64_t later_end =
            closed && later->bytes > 2 * (uint64_t)WINDOW_CHUNK_BYTES ? 2 * (uint64_t)WINDOW_CHUNK_BYTES : later->bytes;
        status = segment_open_file(recovery->io, later, false, recovery->report);
        if (status != 0) {
            break;
        }
        window_look_at(recovery->window, later->file, later->bytes);
        later_end -= later_end % block_bytes;
        status = scan_evidence(recovery->window, later->number, recovery->walk.salt, block_bytes, block_bytes,
                               later_end, &there);
        if (status == 0) {
            status = scan_seal(recovery->window, later->number, segment_seal_offset(later, block_bytes), &there);
        }
        if (there.highest_mark > recovery->evidence.highest_mark) {
            recovery->evidence.highest_mark = there.highest_mark;
            recovery->evidence.mark_segment = there.mark_segment;
            recovery->evidence.mark_offset = there.mark_offset;
        }
        if (there.highest_number > recovery->evidence.highest_number) {
            recovery->evidence.highest_number = there.highest_number;
        }
    }
    window_look_at(recovery->window, tail->file, tail->bytes);
    return status;
}

/* --- both sides of damage ------------------------------------------------------------------------ */

static void note_hole(struct recovery *recovery, const struct walk *before, uint64_t segment,
                      const struct format_head *after)
{
    if (recovery->hole_count == WAL_HOLES_MAX) {
        return;
    }
    struct wal_hole *hole = &recovery->holes[recovery->hole_count++];
    *hole = (struct wal_hole){.first_index = before->next_index,
                              .segment = segment,
                              .offset = before->offset,
                              .tag_before = before->last_tag};
    if (after == NULL) {
        return;
    }
    hole->end_index = after->first_index;
    if (after->kind == BATCH_DATA || after->kind == BATCH_TRUNCATE) {
        hole->tag_last = after->body.tags.previous;
        hole->tag_last_known = true;
    } else if (after->kind == BATCH_ANCHOR) {
        hole->tag_last = after->body.anchor.last_tag;
        hole->tag_last_known = true;
    }
}

/* Behind the damage in T: goes on wherever a batch of the log can be believed again, for readers. */
static int read_beyond(struct recovery *recovery)
{
    struct walk walk = recovery->walk;
    struct segment *tail = recovery->tail;
    uint64_t seal_offset = segment_seal_offset(tail, recovery->shape.block_bytes);
    for (;;) {
        struct format_head head;
        uint64_t offset;
        int status = scan_resync(recovery->window, tail->number, recovery->shape.block_bytes,
                                 walk.offset + recovery->shape.block_bytes, seal_offset, &head, &offset);
        if (status != 0) {
            return status;
        }
        bool of_the_log = offset != 0 && head.number > walk.number && head.first_index >= walk.start.index;
        note_hole(recovery, &walk, tail->number, of_the_log ? &head : NULL);
        if (offset == 0) {
            return 0;
        }
        walk.offset = offset;
        if (!of_the_log) {
            continue;
        }
        walk_resume(&walk, &head);
        if (head.kind != BATCH_TRUNCATE && tail->map.count != 0 && head.first_index < tail->end_index) {
            map_truncate(&tail->map, head.first_index);
        }
        struct scan_stop stop;
        status = scan_run(recovery->window, &walk, &tail->map, &stop);
        if (status != 0) {
            return status;
        }
        if (walk.next_index > tail->end_index) {
            tail->end_index = walk.next_index;
        }
        if (stop.reason == WALK_FULL || (!stop.head_valid && walk.number > recovery->evidence.highest_mark)) {
            return 0;
        }
    }
}

/* Y3 and Y4: how far a readable prefix goes, upwards from the start segment. */
static int walk_up(struct recovery *recovery)
{
    const struct walk newest = recovery->walk;
    struct format_start start = newest.start;
    recovery->acceptable = false;
    const struct walk *previous = NULL;
    struct walk walk;
    for (uint64_t number = start.segment; number < recovery->tail->number; number++) {
        struct segment *segment = table_find(recovery->table, number);
        struct format_identity identity;
        enum format_verdict verdict;
        struct format_head anchor;
        if (segment == NULL || read_identity(recovery, segment, &identity, &verdict) != 0 ||
            !read_opening_anchor(recovery, segment, &anchor) ||
            (previous != NULL &&
             (anchor.chain != previous->chain || anchor.body.anchor.predecessor_end_offset != previous->offset))) {
            break;
        }
        if (segment->map.entries == NULL && make_map(recovery, segment) != 0) {
            return WAL_ENOMEM;
        }
        segment->map.count = 0;
        struct scan_stop stop;
        window_look_at(recovery->window, segment->file, segment->bytes);
        walk_begin(&walk, &anchor, segment->bytes, recovery->shape.block_bytes);
        int status = scan_run(recovery->window, &walk, &segment->map, &stop);
        if (status != 0) {
            return status;
        }
        note_walk(segment, &walk, SEGMENT_SEALED);
        segment->predecessor = anchor.body.anchor.predecessor_segment;
        recovery->walk = walk;
        recovery->stop = stop;
        recovery->cut_segment = segment;
        recovery->acceptable = true;
        previous = &recovery->walk;
    }
    if (recovery->acceptable) {
        /* Start, doubt and metadata never go back: what T says of them holds, whatever records are lost. */
        recovery->walk.start = start;
        recovery->walk.doubt_index = newest.doubt_index;
        recovery->walk.metadata_bytes = newest.metadata_bytes;
        memcpy(recovery->walk.metadata, newest.metadata, sizeof(newest.metadata));
        note_hole(recovery, &recovery->walk, recovery->cut_segment->number, NULL);
    }
    window_look_at(recovery->window, recovery->tail->file, recovery->tail->bytes);
    return 0;
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

static int observe(struct recovery *recovery)
{
    struct observation *seen = &recovery->seen;
    const struct walk *walk = &recovery->walk;
    const struct scan_evidence *evidence = &recovery->evidence;
    uint64_t expected = ZOO(mark_is_an_index) ? walk->next_index : walk->number;
    seen->newest_missing = evidence->sealed && table_find(recovery->table, recovery->tail->number + 1) == NULL;
    seen->mark_beyond =
        evidence->highest_mark >= expected || (ZOO(any_later_header_is_proof) && evidence->later_run_header);
    seen->known_beyond = recovery->options->known_durable_index >= walk->next_index;
    seen->wrongly_written = wrongly_written(recovery);
    bool proof = false;
    if (recovery->old_content_known) {
        int status = scan_proof(recovery->window, walk, &recovery->stop, &proof);
        if (status != 0) {
            return status;
        }
    }
    seen->unreadable_or_proof = proof || evidence->read_error || recovery->stop.read_error;
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
    verdict->last_index = walk->next_index - 1;
    verdict->batch = walk->number;
    verdict->index = walk->next_index;
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
    verdict->index_unknown = verdict->kind == WAL_VERDICT_CORRUPT && recovery->place_known;
    verdict->cut_bytes = evidence->cut_bytes;
    verdict->cut_records = evidence->cut_records;
    verdict->cut_seen = evidence->later_run_header                                              ? WAL_CUT_LATER_BATCHES
                        : recovery->stop.head_valid && recovery->stop.reason == WALK_BAD_RECORD ? WAL_CUT_HEADER
                                                                                                : WAL_CUT_NOTHING;
    bool window_open = verdict->kind == WAL_VERDICT_TORN || verdict->kind == WAL_VERDICT_UNCERTAIN ||
                       (verdict->kind == WAL_VERDICT_CLEAN && !verdict->closed);
    verdict->concerned_batches = window_open ? recovery->shape.batches_in_flight_max : 0;
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
        note_place(recovery, recovery->table->list[0]->number, recovery->shape.block_bytes, 1, 0,
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
            note_place(recovery, recovery->stranger, 0, recovery->stranger, recovery->stranger_found,
                       "the file holds another segment (expected and found are segment numbers)");
        }
        if (status == 0) {
            status = walk_down(recovery);
        }
        bool broken = recovery->seen.segment_missing || recovery->seen.does_not_join;
        bool cut_wanted = recovery->for_writing && (recovery->options->flags & WAL_ACCEPT_CORRUPT) != 0;
        if (status == 0 && !broken && !cut_wanted &&
            verdict_kind(verdict_row(&recovery->seen)) == WAL_VERDICT_CORRUPT) {
            status = read_beyond(recovery);
        }
        if (status == 0 && broken) {
            status = walk_up(recovery);
        }
    }
    if (status == 0) {
        fill_verdict(recovery, verdict);
    }
    return status;
}
