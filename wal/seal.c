/* seal.c - the order of batches: the head that each one gets, and what it changes in the log's state.
 *
 * The happy path: when a batch's turn has come, seal_next_batch gives it its number, the mark and the chain, and notes
 * in log->sealed and in its segment what the log holds with it. The anchor, which opens each segment and each run, is
 * made in the same way by seal_anchor: from the state that all batches before it have left.
 *
 * Nothing here touches the disk; whoever seals a batch writes it next, or poisons the handle.
 *
 * What can fail: nothing.
 *
 * Invariants: numbers rise by one; the mark is read from durable_number, never computed; first indexes join; a
 * segment's low is never above its opening index.
 *
 * May include: seal.h, bytes.h, check.h, zoo.h. */

#include "wal/seal.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/zoo.h"

void seal_close_open_batch(struct wal *log)
{
    struct batch *batch = log->open;
    if (batch == NULL) {
        return;
    }
    batch->state = BATCH_CLOSED;
    log->open = NULL;
    log->stage_offset = batch->file_offset + round_up(batch->head.used_bytes, log->shape.block_bytes);
}

static uint64_t mark_now(const struct wal *log)
{
    if (ZOO(mark_leads)) {
        return log->sealed.next_number - 1;
    }
    if (ZOO(mark_is_an_index)) {
        return log->durable_end_index - 1 < log->sealed.next_number ? log->durable_end_index - 1
                                                                    : log->sealed.next_number - 1;
    }
    return log->durable_number;
}

/* What the sealed batch changes in the segment's facts and in the log's. */
static void note_sealed(struct wal *log, const struct format_head *head, uint64_t offset, uint64_t end_offset)
{
    struct sealed *sealed = &log->sealed;
    struct segment *segment = log->tail;
    CHECK(head->segment == segment->number);
    if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE) {
        CHECK(head->kind == BATCH_TRUNCATE || head->first_index == sealed->next_index);
        sealed->next_index = head->first_index + head->record_count;
        sealed->last_tag = head->body.tags.last;
        segment->record_count += head->record_count;
    } else if (head->kind == BATCH_START || head->kind == BATCH_ANCHOR) {
        sealed->start = head->kind == BATCH_START ? head->body.start : sealed->start; /* An anchor says it again. */
        if (sealed->next_index < sealed->start.index) {
            sealed->next_index = sealed->start.index;
        }
    }
    if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE || head->kind == BATCH_START) {
        sealed->last_content_number = head->number;
    }
    if ((head->flags & BATCH_CLEARS_DOUBT) != 0) {
        sealed->doubt_index = 0;
    }
    if (head->metadata_bytes != FORMAT_NO_METADATA) {
        sealed->metadata_bytes = head->metadata_bytes;
        memcpy(sealed->metadata, head->metadata, sizeof(sealed->metadata));
    }
    sealed->highest_mark = head->mark > sealed->highest_mark ? head->mark : sealed->highest_mark;
    sealed->last_kind = head->kind;
    sealed->chain = head->checksum;
    sealed->next_number = head->number + 1;
    segment->low = head->first_index < segment->low ? head->first_index : segment->low;
    segment->end_index = sealed->next_index;
    segment->last_number = head->number;
    segment->last_checksum = head->checksum;
    segment->last_offset = offset;
    segment->end_offset = end_offset;
}

void seal_next_batch(struct wal *log, struct batch *batch)
{
    batch_seal(batch, log->sealed.next_number, mark_now(log), log->sealed.chain, log->shape.block_bytes);
    CHECK(batch->file_offset == log->tail->end_offset);
    note_sealed(log, &batch->head, batch->file_offset, batch->file_offset + batch->padded_bytes);
    if (batch->head.kind == BATCH_TRUNCATE) {
        map_truncate(&log->tail->map, batch->head.first_index);
    }
    batch_map(batch, &log->tail->map);
    log->counters.batches++;
    log->counters.batch_bytes += batch->padded_bytes;
    log->counters.padding_bytes += batch->padded_bytes - batch->head.used_bytes;
    log->counters.marks += batch->head.kind == BATCH_MARK;
    log->recent_appends[1] = log->recent_appends[0];
    log->recent_appends[0] = batch->append_count;
}

void seal_anchor(struct wal *log, struct segment *segment, uint64_t offset, uint64_t salt, const struct anchor_cut *cut,
                 uint8_t *block)
{
    struct sealed *sealed = &log->sealed;
    struct segment *predecessor = log->tail; /* Itself when the anchor reopens it. */
    bool forced = cut != NULL && cut->forced;
    struct format_head head = {
        .kind = BATCH_ANCHOR,
        .flags = (uint8_t)((forced ? BATCH_FORCED : 0) | (cut != NULL && cut->zeroed ? BATCH_ZEROED : 0)),
        .head_bytes = (uint16_t)format_head_bytes(
            BATCH_ANCHOR, sealed->metadata_bytes == FORMAT_NO_METADATA ? 0 : sealed->metadata_bytes),
        .salt = salt,
        .segment = segment->number,
        .place = (uint32_t)(offset / log->shape.block_bytes),
        .number = forced ? cut->number : sealed->next_number,
        .chain = sealed->chain,
        .first_index = sealed->next_index,
        .metadata_bytes = sealed->metadata_bytes,
    };
    head.mark = mark_now(log);
    head.used_bytes = head.head_bytes;
    memcpy(head.metadata, sealed->metadata, sizeof(head.metadata));
    if (ZOO(metadata_carried)) {
        head.metadata_bytes = FORMAT_NO_METADATA;
        head.head_bytes = (uint16_t)format_head_bytes(BATCH_ANCHOR, 0);
        head.used_bytes = head.head_bytes;
    }
    struct format_anchor *body = &head.body.anchor;
    memcpy(body->uuid, log->shape.uuid, sizeof(body->uuid));
    body->predecessor_segment = predecessor->number;
    body->predecessor_end_offset = predecessor->end_offset;
    body->predecessor_last_offset = predecessor->last_offset;
    body->start =
        ZOO(start_carried) ? (struct format_start){predecessor->opening_index, predecessor->number} : sealed->start;
    body->low = predecessor->low;
    body->doubt_index = ZOO(doubt_forgotten) ? 0 : sealed->doubt_index;
    body->last_tag = sealed->last_tag;
    if (cut != NULL) {
        body->cut_offset = cut->offset;
        body->cut_first_index = cut->first_index;
        body->cut_records = cut->records;
        body->cut_reason = cut->reason;
    }
    memset(block, 0, log->shape.block_bytes);
    format_head_encode(&head, block);
    if (segment != predecessor) {
        segment->predecessor = predecessor->number;
        segment->opening_index = segment->low = segment->end_index = sealed->next_index;
        segment->record_count = 0;
        log->tail = segment;
    }
    segment->salt = salt;
    note_sealed(log, &head, offset, offset + log->shape.block_bytes);
    log->counters.batches++;
    log->counters.batch_bytes += log->shape.block_bytes;
}
