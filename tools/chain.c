/* chain.c - the batches of one segment, followed from its opening anchor as recovery would follow them.
 *
 * The happy path: chain_begin takes what the opening anchor says; each chain_step reads the head at the expected place,
 * compares number, chain, salt and first index, and verifies all records.
 *
 * What can fail: nothing but reads, which come as zeros. A batch that does not fit ends the walk with the reason, and
 * with what was expected and found.
 *
 * Invariants: a step takes a whole batch or none. */

#include "tools/chain.h"

#include "tools/emit.h"
#include "tools/segment_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *chain_reason_text(enum chain_reason reason)
{
    static const char *const texts[] = {
        [CHAIN_FULL] = "the segment is full",
        [CHAIN_ZERO] = "nothing was written here",
        [CHAIN_NO_HEAD] = "no batch header that reads",
        [CHAIN_OTHER] = "a header of another segment or place: the file's earlier life",
        [CHAIN_OTHER_SALT] = "a header of an earlier run",
        [CHAIN_BAD_NUMBER] = "a wrong batch number",
        [CHAIN_BAD_CHAIN] = "a chain value that is not the header checksum of the batch before",
        [CHAIN_BAD_INDEX] = "a wrong first index",
        [CHAIN_BAD_SIZE] = "a size that does not fit the segment",
        [CHAIN_BAD_KIND] = "a kind that cannot stand here",
        [CHAIN_BAD_RECORD] = "a record that does not verify",
        [CHAIN_INTERRUPTED] = "what was not looked at: interrupted",
    };
    return texts[reason];
}

void chain_story(const struct chain *chain, char text[CHAIN_STORY_BYTES])
{
    const char *reason = chain_reason_text(chain->reason);
    switch (chain->reason) {
    case CHAIN_FULL:
    case CHAIN_INTERRUPTED:
        (void)snprintf(text, CHAIN_STORY_BYTES, "%s", reason);
        break;
    case CHAIN_ZERO:
    case CHAIN_NO_HEAD:
        (void)snprintf(text, CHAIN_STORY_BYTES, "%s (%s): expected batch %" PRIu64 ", found none", reason,
                       format_verdict_text(chain->verdict), chain->number);
        break;
    case CHAIN_OTHER_SALT:
    case CHAIN_BAD_CHAIN:
        (void)snprintf(text, CHAIN_STORY_BYTES, "%s: expected %016" PRIx64 ", found %016" PRIx64, reason,
                       chain->expected, chain->found);
        break;
    case CHAIN_BAD_RECORD:
        (void)snprintf(text, CHAIN_STORY_BYTES,
                       "%s (%s), index %" PRIu64 " of batch %" PRIu64 ": expected %" PRIu64
                       " good records, found %" PRIu64,
                       reason, format_verdict_text(chain->verdict), chain->bad_index, chain->number, chain->expected,
                       chain->found);
        break;
    case CHAIN_OTHER:
    case CHAIN_BAD_NUMBER:
    case CHAIN_BAD_INDEX:
    case CHAIN_BAD_SIZE:
    case CHAIN_BAD_KIND:
        (void)snprintf(text, CHAIN_STORY_BYTES, "%s: expected %" PRIu64 ", found %" PRIu64, reason, chain->expected,
                       chain->found);
        break;
    }
}

void chain_begin(struct chain *chain, const struct segment_file *file, uint32_t block_bytes)
{
    *chain = (struct chain){.offset = block_bytes,
                            .number = file->anchor.number,
                            .checksum = file->anchor.chain,
                            .salt = file->anchor.salt,
                            .next_index = file->anchor.first_index,
                            .start = file->anchor.body.anchor.start,
                            .low = file->anchor.first_index};
}

static bool refuse(struct chain *chain, enum chain_reason reason, uint64_t expected, uint64_t found)
{
    chain->reason = reason;
    chain->expected = expected;
    chain->found = found;
    return false;
}

/* Does the head at the expected place fit behind what came before? */
static bool judge(struct chain *chain, const struct segment_file *file, uint32_t block_bytes)
{
    const struct format_head *head = &chain->head;
    bool anchor = head->kind == BATCH_ANCHOR;
    bool forced = anchor && (head->flags & BATCH_FORCED) != 0;
    uint64_t seal_offset = file->size - block_bytes;
    if (!format_head_is_self_valid(head, file->number, chain->offset / block_bytes)) {
        return refuse(chain, CHAIN_OTHER, file->number, head->segment);
    }
    if (head->salt != chain->salt && !anchor) {
        return refuse(chain, CHAIN_OTHER_SALT, chain->salt, head->salt);
    }
    if (head->number != chain->number && !(forced && head->number > chain->number)) {
        return refuse(chain, CHAIN_BAD_NUMBER, chain->number, head->number);
    }
    if (head->chain != chain->checksum) {
        return refuse(chain, CHAIN_BAD_CHAIN, chain->checksum, head->chain);
    }
    bool index_fits = head->kind == BATCH_TRUNCATE
                          ? head->first_index >= chain->start.index && head->first_index <= chain->next_index
                          : head->first_index == chain->next_index;
    if (!index_fits || (head->kind == BATCH_START && head->body.start.index < chain->start.index)) {
        return refuse(chain, CHAIN_BAD_INDEX, chain->next_index, head->first_index);
    }
    if (format_batch_padded_bytes(head, block_bytes) > seal_offset - chain->offset) {
        return refuse(chain, CHAIN_BAD_SIZE, seal_offset - chain->offset, head->used_bytes);
    }
    if (chain->offset == block_bytes && !anchor) {
        return refuse(chain, CHAIN_BAD_KIND, BATCH_ANCHOR, head->kind);
    }
    return true;
}

static void take(struct chain *chain, const struct batch_look *look)
{
    const struct format_head *head = &look->head;
    bool content = head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE || head->kind == BATCH_START;
    if (head->kind == BATCH_ANCHOR) {
        chain->salt = head->salt;
        chain->start = head->body.anchor.start;
        chain->doubt_index = head->body.anchor.doubt_index;
    } else if (head->kind == BATCH_START) {
        chain->start = head->body.start;
    } else if (content) {
        chain->next_index = head->first_index + head->record_count;
        chain->records += head->record_count;
    }
    if (chain->next_index < chain->start.index) {
        chain->next_index = chain->start.index;
    }
    if ((head->flags & BATCH_CLEARS_DOUBT) != 0) {
        chain->doubt_index = 0;
    }
    chain->content_number = content ? head->number : chain->content_number;
    chain->highest_mark = head->mark > chain->highest_mark ? head->mark : chain->highest_mark;
    chain->low = head->first_index < chain->low ? head->first_index : chain->low;
    chain->last_kind = head->kind;
    chain->last_offset = chain->offset;
    chain->batches++;
    chain->number = head->number + 1;
    chain->checksum = head->checksum;
    chain->offset += look->padded_bytes;
}

bool chain_step(struct chain *chain, struct segment_file *file, uint32_t block_bytes, struct batch_look *look)
{
    chain->head_reads = false;
    if (interrupted()) {
        return refuse(chain, CHAIN_INTERRUPTED, 0, 0);
    }
    if (file->size < 2 * (uint64_t)block_bytes || chain->offset >= file->size - block_bytes) {
        return refuse(chain, CHAIN_FULL, 0, 0);
    }
    const uint8_t *sector = segment_at(file, chain->offset, FORMAT_SECTOR_BYTES);
    chain->verdict = sector == NULL ? FORMAT_TRUNCATED : format_head_decode(sector, FORMAT_SECTOR_BYTES, &chain->head);
    if (chain->verdict != FORMAT_OK) {
        return refuse(chain, chain->verdict == FORMAT_ZERO ? CHAIN_ZERO : CHAIN_NO_HEAD, chain->number, 0);
    }
    chain->head_reads = true;
    if (!judge(chain, file, block_bytes)) {
        return false;
    }
    uint64_t offset = chain->offset;
    (void)batch_next(file, block_bytes, &offset, offset + 1, look);
    if (look->cut_short || look->good_records != look->head.record_count) {
        if (interrupted()) {
            return refuse(chain, CHAIN_INTERRUPTED, 0, 0); /* Its records may verify: nobody looked at all of them. */
        }
        chain->verdict = look->cut_short ? FORMAT_TRUNCATED : look->record_verdict;
        chain->bad_offset = look->cut_short ? look->offset : look->bad_offset;
        chain->bad_index = look->head.first_index + look->good_records;
        return refuse(chain, CHAIN_BAD_RECORD, look->head.record_count, look->good_records);
    }
    take(chain, look);
    return true;
}

void chain_skip(struct chain *chain, const struct batch_look *look)
{
    take(chain, look);
}

void chain_walk(struct chain *chain, struct segment_file *file, uint32_t block_bytes)
{
    struct batch_look look;
    while (chain_step(chain, file, block_bytes, &look)) {
    }
}

static bool all_zero(const uint8_t *bytes, uint64_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

void chain_look_behind(struct segment_file *file, uint32_t block_bytes, uint64_t offset, uint64_t salt,
                       struct behind *behind)
{
    *behind = (struct behind){.zero = true};
    uint64_t end_offset = file->bytes < file->size ? file->bytes : file->size;
    end_offset = end_offset > block_bytes ? end_offset - block_bytes : 0;
    for (; offset < end_offset && !interrupted(); offset += block_bytes) {
        uint64_t rest_bytes = end_offset - offset;
        uint64_t bytes = rest_bytes < block_bytes ? rest_bytes : block_bytes;
        const uint8_t *block = segment_at(file, offset, bytes);
        if (block == NULL || all_zero(block, bytes)) {
            offset = segment_next_data(file, offset + block_bytes, block_bytes) - block_bytes;
            continue;
        }
        behind->zero = false;
        struct format_head head;
        if (bytes < FORMAT_SECTOR_BYTES || format_head_decode(block, FORMAT_SECTOR_BYTES, &head) != FORMAT_OK ||
            !format_head_is_self_valid(&head, file->number, offset / block_bytes)) {
            continue;
        }
        if (head.mark > behind->highest_mark) {
            behind->highest_mark = head.mark;
            behind->mark_offset = offset;
        }
        behind->batches += head.salt == salt;
        behind->records += head.salt == salt ? head.record_count : 0;
    }
}

uint64_t chain_known_end(const struct segments *segments, const struct segment_file *file)
{
    const struct segment_file *listed = segments_find(segments, file->number);
    unsigned next = listed == NULL ? 0 : (unsigned)(listed - segments->list) + 1;
    for (unsigned i = next; i < segments->count; i++) {
        const struct segment_file *later = &segments->list[i];
        if (!later->dead && later->anchor_verdict == FORMAT_OK && !segment_is_foreign(segments, later) &&
            later->anchor.body.anchor.predecessor_segment == file->number) {
            return later->anchor.body.anchor.predecessor_end_offset;
        }
    }
    return file->seal_verdict == FORMAT_OK ? file->seal.end_offset : 0;
}

uint64_t chain_end(const struct segments *segments, struct segment_file *file)
{
    uint64_t end_offset = file->dead ? 0 : chain_known_end(segments, file);
    if (end_offset == 0 && !file->dead && file->anchor_verdict == FORMAT_OK) {
        struct chain chain;
        chain_begin(&chain, file, segments->block_bytes);
        chain_walk(&chain, file, segments->block_bytes);
        end_offset = chain.offset;
    }
    return end_offset;
}

bool chain_is_spoilt_spare(const struct segments *segments, const struct segment_file *newest,
                           const struct chain *chain, struct segment_file *file)
{
    bool unreadable = file->odd == NULL && !segment_reads(file) && file->seal_verdict != FORMAT_OK;
    if (newest == NULL || segments->single || file->number <= newest->number || newest->seal_verdict == FORMAT_OK ||
        !unreadable) {
        return false;
    }
    /* Behind an accepted cut batches of an earlier life may stand in it, with lower numbers. */
    return !segment_holds_own_head(file, segments->block_bytes) || file->begun_number < chain->number;
}

uint64_t chain_start_segment(const struct segments *segments)
{
    struct segment_file *newest = segments_newest_begun(segments);
    if (newest == NULL || segments->single) {
        return 0;
    }
    struct chain chain;
    chain_begin(&chain, newest, segments->block_bytes);
    chain_walk(&chain, newest, segments->block_bytes);
    return chain.start.segment;
}
