/* walk.c - is this batch the next one?
 *
 * The happy path: walk_begin at the opening anchor, then for each batch walk_judge, the records' checksums (scan.c),
 * walk_accept. Everything that a log's state is made of comes out of the order of batches: indexes, start, doubt,
 * metadata, marks.
 *
 * What can fail: nothing; a batch that does not fit has a reason, and recovery decides what it means.
 *
 * Invariants: number and chain tie each batch to the one before; start.index <= next_index; low <= opening_index; a
 * first index other than next_index is possible in a TRUNCATE only.
 *
 * May include: walk.h, bytes.h, check.h, zoo.h. */

#include "wal/walk.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/zoo.h"

const char *walk_reason_text(enum walk_reason reason)
{
    static const char *const texts[] = {
        [WALK_FITS] = "fits",
        [WALK_FULL] = "the segment is full",
        [WALK_NO_HEAD] = "no valid batch header",
        [WALK_OTHER_SALT] = "a header of an earlier run",
        [WALK_BAD_NUMBER] = "a wrong batch number",
        [WALK_BAD_CHAIN] = "a wrong chain value",
        [WALK_BAD_INDEX] = "a wrong first index",
        [WALK_BAD_SIZE] = "a size that does not fit the segment",
        [WALK_BAD_KIND] = "a kind that cannot stand here",
        [WALK_BAD_RECORD] = "a record that does not verify",
    };
    return texts[reason];
}

void walk_begin(struct walk *walk, const struct format_head *opening_anchor, uint64_t segment_bytes,
                uint32_t block_bytes)
{
    CHECK(opening_anchor->kind == BATCH_ANCHOR);
    *walk = (struct walk){
        .segment = opening_anchor->segment,
        .segment_bytes = segment_bytes,
        .block_bytes = block_bytes,
        .offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)block_bytes,
        .number = opening_anchor->number,
        .chain = opening_anchor->chain,
        .salt = opening_anchor->salt,
        .next_index = opening_anchor->first_index,
        .start = opening_anchor->body.anchor.start,
        .metadata_bytes = FORMAT_NO_METADATA,
        .opening_index = opening_anchor->first_index,
        .low = opening_anchor->first_index,
    };
}

static enum walk_reason judge_index(const struct walk *walk, const struct format_head *head)
{
    if (head->kind != BATCH_TRUNCATE) {
        return head->first_index == walk->next_index ? WALK_FITS : WALK_BAD_INDEX;
    }
    uint64_t lowest = ZOO(low_truncation_refused) ? walk->opening_index : walk->start.index;
    return head->first_index >= lowest && head->first_index <= walk->next_index ? WALK_FITS : WALK_BAD_INDEX;
}

enum walk_reason walk_judge(const struct walk *walk, const struct format_head *head)
{
    bool anchor = head->kind == BATCH_ANCHOR;
    if (head->salt != walk->salt && !anchor) {
        return WALK_OTHER_SALT;
    }
    bool forced = anchor && (head->flags & BATCH_FORCED) != 0;
    if (head->number != walk->number && !(forced && head->number > walk->number) && !ZOO(batch_number_checked)) {
        return WALK_BAD_NUMBER;
    }
    if (head->chain != walk->chain && !ZOO(fresh_salt_and_chain)) {
        return WALK_BAD_CHAIN;
    }
    if (judge_index(walk, head) != WALK_FITS) {
        return WALK_BAD_INDEX;
    }
    uint64_t seal_offset = walk->segment_bytes - walk->block_bytes;
    if (format_batch_padded_bytes(head, walk->block_bytes) > seal_offset - walk->offset) {
        return WALK_BAD_SIZE;
    }
    bool opening = walk->offset == FORMAT_FIRST_BATCH_BLOCK * (uint64_t)walk->block_bytes;
    if (opening && !anchor) {
        return WALK_BAD_KIND;
    }
    if (head->kind == BATCH_START && head->body.start.index < walk->start.index) {
        return WALK_BAD_INDEX;
    }
    return WALK_FITS;
}

static void apply_anchor(struct walk *walk, const struct format_head *head)
{
    bool opening = walk->offset == FORMAT_FIRST_BATCH_BLOCK * (uint64_t)walk->block_bytes;
    walk->salt = head->salt;
    walk->anchor = head->body.anchor;
    walk->start = head->body.anchor.start;
    walk->doubt_index = head->body.anchor.doubt_index;
    walk->last_tag = head->body.anchor.last_tag;
    if (walk->next_index < walk->start.index) {
        walk->next_index = walk->start.index;
    }
    if (!opening && (head->flags & BATCH_ZEROED) == 0) {
        walk->reopened_unzeroed = true;
    }
}

static void apply_content(struct walk *walk, const struct format_head *head)
{
    if (head->kind == BATCH_START) {
        walk->start = head->body.start;
        if (walk->start.index > walk->next_index) {
            walk->next_index = walk->start.index; /* A reset. */
        }
    } else {
        walk->next_index = head->first_index + head->record_count;
        walk->record_count += head->record_count;
        walk->last_tag = head->body.tags.last;
    }
    if ((head->flags & BATCH_CLEARS_DOUBT) != 0) {
        walk->doubt_index = 0;
    }
    walk->last_content_number = head->number;
}

void walk_accept(struct walk *walk, const struct format_head *head)
{
    if (head->kind == BATCH_ANCHOR) {
        apply_anchor(walk, head);
    } else if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE || head->kind == BATCH_START) {
        apply_content(walk, head);
    }
    if (head->metadata_bytes != FORMAT_NO_METADATA) {
        walk->metadata_bytes = head->metadata_bytes;
        memcpy(walk->metadata, head->metadata, sizeof(walk->metadata));
    }
    if (head->first_index < walk->low) {
        walk->low = head->first_index;
    }
    if (head->mark > walk->highest_mark) {
        walk->highest_mark = head->mark;
    }
    walk->last_kind = head->kind;
    walk->last_offset = walk->offset;
    walk->offset += format_batch_padded_bytes(head, walk->block_bytes);
    walk->number = head->number + 1;
    walk->chain = head->checksum;
}

void walk_resume(struct walk *walk, const struct format_head *head)
{
    walk->offset = (uint64_t)head->place * walk->block_bytes;
    walk->number = head->number;
    walk->chain = head->chain;
    walk->salt = head->salt;
    walk->next_index = head->first_index;
}
