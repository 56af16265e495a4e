/* scan.c - reading one segment.
 *
 * The happy path: scan_run goes from batch to batch, verifies each record in place, and notes where they lie. It stops
 * where the log ends, or where damage begins; which of the two, nobody can see from that place alone. So scan_evidence
 * looks behind it, at every block: any self-valid header there tells by its mark what was once durable.
 *
 * What can fail: reads, which the window turns into noted gaps; memory for a batch larger than the window.
 *
 * Invariants: a batch is accepted whole or not at all; a map holds records of accepted batches only; nothing is
 * concluded from bytes that no checksum covers, save "zero" and "not zero"; no more is read, and no more memory taken,
 * than the file has bytes.
 *
 * May include: scan.h, bytes.h, check.h, zoo.h. */

#include "wal/scan.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/zoo.h"

/* Verifies the records of a batch whose head fits. On failure *stop says where. */
static bool verify_records(const uint8_t *bytes, uint64_t file_offset, const struct format_head *head,
                           struct scan_stop *stop)
{
    uint64_t seed_base = format_seed_base(head->salt, head->segment);
    uint64_t at = head->head_bytes;
    for (uint32_t i = 0; i < head->record_count; i++) {
        struct format_record record;
        uint64_t index = head->first_index + i;
        enum format_verdict verdict =
            format_record_decode(bytes + at, head->used_bytes - at, seed_base, file_offset + at, index, &record);
        if (verdict != FORMAT_OK) {
            stop->bytes_verdict = verdict;
            stop->bad_record = i;
            stop->bad_record_offset = (uint32_t)at;
            stop->bad_index = index;
            return false;
        }
        at += format_record_bytes(record.length);
    }
    if (at != head->used_bytes) {
        stop->bytes_verdict = FORMAT_BAD_FIELD;
        stop->bad_record = head->record_count;
        stop->bad_record_offset = (uint32_t)at;
        stop->bad_index = head->first_index + head->record_count;
        return false;
    }
    return true;
}

/* Enters a verified batch; a large one in several runs. */
static void enter(struct map *map, const uint8_t *bytes, uint64_t file_offset, const struct format_head *head)
{
    if (head->kind == BATCH_TRUNCATE) {
        map_truncate(map, head->first_index);
    }
    if (head->record_count == 0) {
        return;
    }
    struct map_entry entry = {.first_index = head->first_index,
                              .salt = head->salt,
                              .record_count = head->record_count,
                              .offset = (uint32_t)(file_offset + head->head_bytes),
                              .end_offset = (uint32_t)(file_offset + head->used_bytes)};
    if (head->used_bytes > MAP_POINT_BYTES) {
        uint64_t at = head->head_bytes;
        for (uint32_t i = 0; i < head->record_count; i++) {
            uint64_t record_offset = file_offset + at;
            if (record_offset - entry.offset >= MAP_POINT_BYTES) {
                entry.record_count = (uint32_t)(head->first_index + i - entry.first_index);
                map_add(map, &entry);
                entry.first_index = head->first_index + i;
                entry.offset = (uint32_t)record_offset;
            }
            at += format_record_bytes(load_u32_le(bytes + at + 8));
        }
        entry.record_count = (uint32_t)(head->first_index + head->record_count - entry.first_index);
    }
    map_add(map, &entry);
}

/* Decodes the head at an offset. FORMAT_OK: it is self-valid there. */
static int head_at(struct window *window, uint64_t segment, uint64_t offset, uint32_t block_bytes,
                   struct format_head *head, enum format_verdict *verdict)
{
    int status;
    const uint8_t *bytes = window_at(window, offset, FORMAT_SECTOR_BYTES, &status);
    if (bytes == NULL) {
        *verdict = FORMAT_TRUNCATED;
        return status;
    }
    *verdict = format_head_decode(bytes, FORMAT_SECTOR_BYTES, head);
    if (*verdict == FORMAT_OK && !format_head_is_self_valid(head, segment, offset / block_bytes)) {
        *verdict = FORMAT_BAD_FIELD;
    }
    return 0;
}

/* Where the file really ends, in whole blocks: behind it there is nothing to look at, whatever its identity says. */
static uint64_t file_end(struct window *window, uint32_t block_bytes)
{
    uint64_t bytes;
    bool known = window->io->ops->file_bytes(window->io, window->file, &bytes) == 0;
    return known ? round_up(bytes, block_bytes) : UINT64_MAX;
}

/* Does the batch claim more bytes than there are? Memory is not to be taken on its word. */
static bool claims_too_much(struct window *window, const struct walk *walk, const struct format_head *head)
{
    return head->used_bytes > window->capacity_bytes &&
           walk->offset + head->used_bytes > file_end(window, walk->block_bytes);
}

/* One step of the walk: stop->reason is WALK_FITS when the batch was taken. */
static int step(struct window *window, struct walk *walk, struct map *map, struct scan_stop *stop)
{
    uint64_t seal_offset = walk->segment_bytes - walk->block_bytes;
    *stop = (struct scan_stop){.reason = WALK_FULL};
    if (walk->offset >= seal_offset) {
        return 0;
    }
    stop->reason = WALK_NO_HEAD;
    int status = head_at(window, walk->segment, walk->offset, walk->block_bytes, &stop->head, &stop->bytes_verdict);
    stop->read_error = window_is_bad(window, walk->offset, FORMAT_SECTOR_BYTES);
    if (status != 0 || stop->bytes_verdict != FORMAT_OK) {
        return status;
    }
    stop->head_valid = true;
    stop->reason = walk_judge(walk, &stop->head);
    if (stop->reason != WALK_FITS) {
        return 0;
    }
    stop->beyond_file = claims_too_much(window, walk, &stop->head);
    if (stop->beyond_file) {
        stop->reason = WALK_BAD_RECORD;
        stop->bytes_verdict = FORMAT_TRUNCATED;
        stop->read_error = true;
        return 0;
    }
    const uint8_t *bytes = window_at(window, walk->offset, stop->head.used_bytes, &status);
    if (bytes == NULL) {
        stop->reason = WALK_BAD_SIZE;
        return status;
    }
    if (!verify_records(bytes, walk->offset, &stop->head, stop)) {
        stop->reason = WALK_BAD_RECORD;
        stop->read_error = window_is_bad(window, walk->offset, stop->head.used_bytes);
        if (!ZOO(batch_all_or_nothing) || stop->bad_record == 0) {
            return 0;
        }
        stop->head.record_count = stop->bad_record;
        stop->head.used_bytes = stop->bad_record_offset;
    }
    if (map != NULL) {
        enter(map, bytes, walk->offset, &stop->head);
    }
    walk_accept(walk, &stop->head);
    return 0;
}

int scan_run(struct window *window, struct walk *walk, struct map *map, struct scan_stop *stop)
{
    for (;;) {
        int status = step(window, walk, map, stop);
        if (status != 0 || stop->reason != WALK_FITS) {
            return status;
        }
    }
}

static void note_mark(struct scan_evidence *evidence, uint64_t mark, uint64_t number, uint64_t segment, uint64_t offset)
{
    if (mark > evidence->highest_mark) {
        evidence->highest_mark = mark;
        evidence->mark_segment = segment;
        evidence->mark_offset = offset;
    }
    if (number > evidence->highest_number) {
        evidence->highest_number = number;
    }
}

static void note_start(struct later_start *later, const struct format_start *start, const struct format_head *head,
                       const struct walk *walk)
{
    if (start->index > later->start.index && start->index > walk->start.index && start->segment <= head->segment) {
        *later = (struct later_start){*start, head->number, head->segment, (uint64_t)head->place * walk->block_bytes};
    }
}

/* How far back the log went behind the walk's end, in whatever run. A truncation that reads says where it cut; a batch
 * that goes back without one proves that a truncation is lost, of which only an anchor behind it tells a bound. */
static void note_lowest(struct scan_evidence *evidence, const struct format_head *head, const struct walk *walk)
{
    if (head->number < walk->number) {
        return; /* Of before: dead since an earlier open. */
    }
    uint64_t lowest = evidence->lowest_index != 0 ? evidence->lowest_index : walk->next_index;
    if (head->first_index < lowest && head->kind != BATCH_TRUNCATE) {
        evidence->truncation_lost = true;
        evidence->told_low = 0;
    }
    if (head->kind == BATCH_ANCHOR) {
        evidence->told_low = head->body.anchor.low;
        note_start(&evidence->anchor_start, &head->body.anchor.start, head, walk);
    } else if (head->kind == BATCH_START) {
        note_start(&evidence->batch_start, &head->body.start, head, walk);
    }
    if (evidence->lowest_index == 0 || head->first_index < evidence->lowest_index) {
        evidence->lowest_index = head->first_index;
    }
}

static void note_head(struct scan_evidence *evidence, const struct format_head *head, const struct walk *walk,
                      uint64_t offset, bool first_place)
{
    note_mark(evidence, head->mark, head->number, head->segment, offset);
    note_lowest(evidence, head, walk);
    if (head->salt != walk->salt) {
        return;
    }
    evidence->current_run = true;
    evidence->later_run_header = evidence->later_run_header || !first_place;
    evidence->cut_batches++;
    evidence->cut_records += head->record_count;
    evidence->cut_bytes += format_batch_padded_bytes(head, walk->block_bytes);
}

int scan_evidence(struct window *window, const struct walk *walk, uint64_t segment, uint64_t offset,
                  uint64_t end_offset, struct scan_evidence *evidence)
{
    uint32_t block_bytes = walk->block_bytes;
    uint64_t first_offset = offset;
    uint64_t real_end = file_end(window, block_bytes);
    end_offset = end_offset < real_end ? end_offset : real_end;
    for (; offset < end_offset; offset += block_bytes) {
        int status;
        const uint8_t *block = window_at(window, offset, block_bytes, &status);
        if (block == NULL) {
            return status;
        }
        evidence->read_error = evidence->read_error || window_is_bad(window, offset, block_bytes);
        if (all_zero(block, block_bytes)) {
            continue;
        }
        evidence->nonzero_end_offset = offset + block_bytes;
        struct format_head head;
        if (format_head_decode(block, FORMAT_SECTOR_BYTES, &head) == FORMAT_OK &&
            format_head_is_self_valid(&head, segment, offset / block_bytes)) {
            note_head(evidence, &head, walk, offset, offset == first_offset);
        }
    }
    return 0;
}

int scan_seal(struct window *window, uint64_t segment, uint64_t seal_offset, struct scan_evidence *evidence)
{
    int status;
    const uint8_t *sector = window_at(window, seal_offset, FORMAT_SECTOR_BYTES, &status);
    if (sector == NULL || ZOO(seal)) {
        return status;
    }
    evidence->read_error = evidence->read_error || window_is_bad(window, seal_offset, FORMAT_SECTOR_BYTES);
    struct format_seal seal;
    enum format_verdict verdict = format_seal_decode(sector, &seal);
    if (verdict == FORMAT_OK && seal.segment == segment && seal.own_offset == seal_offset) {
        evidence->sealed = true;
        evidence->seal = seal;
        note_mark(evidence, seal.last_number, seal.last_number, segment, seal_offset);
    } else if (verdict != FORMAT_ZERO && verdict != FORMAT_OK) {
        evidence->seal_damaged = true;
    }
    return 0;
}

/* Is some sector that [offset, offset + bytes) touches all zero: may it never have been written? */
static bool touches_zero_sector(const uint8_t *batch, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset / FORMAT_SECTOR_BYTES * FORMAT_SECTOR_BYTES;
    for (uint64_t at = first; at < offset + bytes; at += FORMAT_SECTOR_BYTES) {
        if (all_zero(batch + at, FORMAT_SECTOR_BYTES)) {
            return true;
        }
    }
    return false;
}

/* The records of a batch under a right head: is one of them wrong though all of its sectors were written?
 * A sector is written whole or not at all, and was zero before: one that is not zero holds what was written, so a
 * length in it is right. */
static bool records_prove_damage(const uint8_t *batch, uint64_t file_offset, const struct format_head *head)
{
    uint64_t seed_base = format_seed_base(head->salt, head->segment);
    uint64_t at = head->head_bytes;
    for (uint32_t i = 0; i < head->record_count; i++) {
        if (head->used_bytes - at < RECORD_HEADER_BYTES) {
            return true; /* All before it verified, or had a length that was written: the head and they disagree. */
        }
        if (touches_zero_sector(batch, at, RECORD_HEADER_BYTES)) {
            return false; /* Its length may be unwritten: nothing behind it can be told. */
        }
        uint64_t record_bytes = format_record_bytes(load_u32_le(batch + at + 8));
        if (record_bytes > head->used_bytes - at) {
            return true;
        }
        struct format_record record;
        enum format_verdict verdict = format_record_decode(batch + at, head->used_bytes - at, seed_base,
                                                           file_offset + at, head->first_index + i, &record);
        if (verdict != FORMAT_OK && !touches_zero_sector(batch, at, record_bytes)) {
            return true;
        }
        at += record_bytes;
    }
    return false;
}

int scan_proof(struct window *window, const struct walk *walk, const struct scan_stop *stop, bool *proof_out)
{
    *proof_out = false;
    int status = 0;
    if (stop->reason == WALK_FULL || stop->beyond_file) {
        return 0;
    }
    if (!stop->head_valid) {
        const uint8_t *sector = window_at(window, walk->offset, FORMAT_SECTOR_BYTES, &status);
        *proof_out = sector != NULL && !all_zero(sector, FORMAT_SECTOR_BYTES);
        return status;
    }
    if (stop->reason == WALK_BAD_RECORD) {
        uint64_t padded_bytes = format_batch_padded_bytes(&stop->head, walk->block_bytes);
        const uint8_t *batch = window_at(window, walk->offset, padded_bytes, &status);
        *proof_out = batch != NULL && records_prove_damage(batch, walk->offset, &stop->head);
    }
    return status;
}

int scan_resync(struct window *window, uint64_t segment, uint32_t block_bytes, uint64_t offset, uint64_t end_offset,
                struct format_head *head_out, uint64_t *offset_out)
{
    uint64_t real_end = file_end(window, block_bytes);
    end_offset = end_offset < real_end ? end_offset : real_end;
    *offset_out = 0;
    for (; offset < end_offset; offset += block_bytes) {
        enum format_verdict verdict;
        int status = head_at(window, segment, offset, block_bytes, head_out, &verdict);
        if (status != 0) {
            return status;
        }
        if (verdict == FORMAT_OK) {
            *offset_out = offset;
            return 0;
        }
    }
    return 0;
}

/* The holes met in a segment: batches that do not read. */
struct holes {
    uint64_t end_offset;      /* Of the last one. */
    uint64_t missing_records; /* If they held nothing but appends. */
    bool unknown;
};

static void note_hole(struct holes *holes, uint64_t before_index, uint64_t after_index, uint64_t end_offset)
{
    holes->end_offset = end_offset;
    if (after_index < before_index) {
        holes->unknown = true;
    } else {
        holes->missing_records += after_index - before_index;
    }
}

/* Had a truncation been lost in a hole, more records would have been written than are read and missing. */
static int drop_doubtful(struct window *window, const struct walk *walk, const struct scan_expected *expected,
                         const struct holes *holes, struct map *map)
{
    uint64_t record_count = expected->record_count;
    if (record_count == 0) {
        struct scan_evidence evidence = {0};
        int status = scan_seal(window, walk->segment, walk->segment_bytes - walk->block_bytes, &evidence);
        if (status != 0) {
            return status;
        }
        record_count = evidence.sealed ? evidence.seal.record_count : UINT64_MAX;
    }
    if (holes->unknown || record_count != walk->record_count + holes->missing_records) {
        map_drop_before(map, holes->end_offset);
    }
    return 0;
}

/* Enters all batches from walk->offset on that read, and steps over damage. */
static int scan_on(struct window *window, struct walk *walk, const struct scan_expected *expected, struct map *map,
                   bool *damaged)
{
    struct holes holes = {0};
    struct scan_stop stop = {.reason = WALK_FITS};
    while (walk->offset < expected->end_offset) {
        int status = step(window, walk, map, &stop);
        if (status != 0) {
            return status;
        }
        if (stop.reason == WALK_FITS) {
            continue;
        }
        *damaged = true;
        struct format_head head;
        uint64_t offset;
        status = scan_resync(window, walk->segment, walk->block_bytes, walk->offset + walk->block_bytes,
                             expected->end_offset, &head, &offset);
        if (status != 0) {
            return status;
        }
        if (offset == 0) {
            note_hole(&holes, walk->next_index, expected->end_index, expected->end_offset);
            break;
        }
        note_hole(&holes, walk->next_index, head.kind == BATCH_TRUNCATE ? 0 : head.first_index, offset);
        walk_resume(walk, &head);
        map_truncate(map, head.first_index);
    }
    return *damaged && !expected->keep_doubtful ? drop_doubtful(window, walk, expected, &holes, map) : 0;
}

int scan_whole(struct window *window, const struct scan_expected *expected, uint32_t block_bytes, struct map *map,
               bool *damaged)
{
    const uint64_t first_offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes;
    struct format_head head;
    uint64_t offset;
    *damaged = false;
    int status =
        scan_resync(window, expected->segment, block_bytes, first_offset, expected->end_offset, &head, &offset);
    if (status != 0 || offset == 0) {
        return status;
    }
    struct walk walk = {.segment = expected->segment,
                        .segment_bytes = expected->segment_bytes,
                        .block_bytes = block_bytes,
                        .offset = offset};
    walk.start.index = head.kind == BATCH_ANCHOR ? head.body.anchor.start.index : 0;
    walk_resume(&walk, &head);
    struct scan_expected on = *expected;
    if (offset != first_offset) {
        *damaged = true;
        on.record_count = UINT64_MAX; /* What was lost in front cannot be counted. */
    }
    return scan_on(window, &walk, &on, map, damaged);
}
