/* look.c - what a recovery has found so far, and its single looks at segment files.
 *
 * The happy path: a look opens the file if need be, reads one sector into the recovery's scratch, decodes it, and says
 * what it found. Notes put what was found where the verdict, the table and readers look for it.
 *
 * What can fail: opening a file, memory for a map: told in the report. A sector that cannot be read is what it would be
 * with damage in it, one that does not decode; only an identity's read error is remembered, for a directory of which
 * nothing reads.
 *
 * Invariants: nothing is written; a head is believed only where it says that it stands.
 *
 * May include: look.h, bytes.h, check.h. */

#include "wal/look.h"

#include "wal/bytes.h"
#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- looks --------------------------------------------------------------------------------------- */

int look_sector(struct recovery *recovery, struct segment *segment, uint64_t offset)
{
    if (offset >= FORMAT_SEGMENT_BYTES_MAX) {
        return -EINVAL; /* A damaged file may name any offset. */
    }
    /* The log's blocks may be smaller than what direct I/O needs here. */
    uint32_t align_bytes = recovery->io->caps.align_bytes;
    uint64_t base_offset = offset - offset % align_bytes;
    uint32_t bytes = (uint32_t)round_up(offset - base_offset + FORMAT_SECTOR_BYTES, align_bytes);
    CHECK(bytes <= recovery->scratch_bytes);
    uint32_t moved_bytes;
    int result = segment_read(recovery->io, segment->file, base_offset, recovery->scratch, bytes, &moved_bytes);
    if (result == 0) {
        memset(recovery->scratch + moved_bytes, 0, bytes - moved_bytes);
        memmove(recovery->scratch, recovery->scratch + (offset - base_offset), FORMAT_SECTOR_BYTES);
    }
    return result;
}

enum format_verdict look_head(struct recovery *recovery, struct segment *segment, uint64_t offset,
                              struct format_head *head)
{
    if (look_sector(recovery, segment, offset) != 0) {
        return FORMAT_BAD_CHECKSUM;
    }
    enum format_verdict verdict = format_head_decode(recovery->scratch, FORMAT_SECTOR_BYTES, head);
    bool self_valid =
        verdict == FORMAT_OK && format_head_is_self_valid(head, segment->number, offset / recovery->shape.block_bytes);
    return verdict == FORMAT_OK && !self_valid ? FORMAT_BAD_FIELD : verdict;
}

bool look_opening_anchor(struct recovery *recovery, struct segment *segment, struct format_head *head)
{
    uint64_t offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)recovery->shape.block_bytes;
    uint64_t least_bytes = (uint64_t)FORMAT_SEGMENT_BLOCKS_MIN * recovery->shape.block_bytes;
    if (look_head(recovery, segment, offset, head) != FORMAT_OK || head->kind != BATCH_ANCHOR) {
        return false;
    }
    if (segment->bytes < least_bytes) {
        segment->bytes = least_bytes; /* Its identity does not say, and what is left of the file is no measure. */
    }
    return true;
}

int look_identity(struct recovery *recovery, struct segment *segment, struct format_identity *identity,
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
    result = look_sector(recovery, segment, 0);
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

int look_refuse_format(struct recovery *recovery, uint64_t number, enum format_verdict verdict,
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

int look_refuse_foreign(struct recovery *recovery, uint64_t number, const uint8_t uuid[FORMAT_UUID_BYTES])
{
    recovery->seen.no_log = true;
    return report_set(
        recovery->report, WAL_EFOREIGN,
        "files of two logs lie here: the newest is of log %02x%02x%02x%02x..., segment %" PRIu64
        " of log %02x%02x%02x%02x...; nothing was changed. Move the files of the one that does not belong "
        "here elsewhere (waldump ls tells them apart); delete none",
        recovery->shape.uuid[0], recovery->shape.uuid[1], recovery->shape.uuid[2], recovery->shape.uuid[3], number,
        uuid[0], uuid[1], uuid[2], uuid[3]);
}

/* --- notes --------------------------------------------------------------------------------------- */

void recovery_note_place(struct recovery *recovery, uint64_t segment, uint64_t offset, uint64_t expected,
                         uint64_t found, const char *words)
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

int recovery_take_map(struct recovery *recovery, struct segment *segment)
{
    if (segment_take_map(recovery->table, segment, recovery->shape.block_bytes) != 0) {
        return report_set(recovery->report, WAL_ENOMEM, "out of memory for a segment's map");
    }
    return 0;
}

void recovery_note_walk(struct segment *segment, const struct walk *walk, enum segment_state state)
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

void recovery_note_hole(struct recovery *recovery, const struct walk *before, uint64_t segment,
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
    if (hole->first_index > hole->end_index) {
        hole->first_index = hole->end_index; /* A truncation is lost in it: from there on, at least. */
    }
    if (after->kind == BATCH_DATA || after->kind == BATCH_TRUNCATE) {
        hole->tag_last = after->body.tags.previous;
        hole->tag_last_known = true;
    } else if (after->kind == BATCH_ANCHOR) {
        hole->tag_last = after->body.anchor.last_tag;
        hole->tag_last_known = true;
    }
}

uint64_t recovery_fingerprint(const struct recovery *recovery, const uint8_t *bytes, uint64_t size, uint64_t so_far)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t piece_bytes = size - done < recovery->scratch_bytes ? size - done : recovery->scratch_bytes;
        so_far = format_fingerprint(bytes + done, piece_bytes, so_far);
        done += piece_bytes;
    }
    return so_far;
}
