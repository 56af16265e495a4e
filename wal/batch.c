/* batch.c - one batch in memory.
 *
 * The happy path of a record:
 *   - the committer opens a batch at the place where it will stand: segment, offset and salt are known then, so
 *     everything that a record's checksum is seeded with is known when the record is added;
 *   - batch_add copies each record behind the others and computes its checksum, in one pass, into the very bytes that
 *     the device will read;
 *   - batch_seal writes the head: number, mark and chain are only known then, and only the head holds them.
 *
 * So a record is touched once, and sealing costs the same for one record as for ten thousand.
 *
 * The head's size is fixed when the batch is opened, since records begin behind it: that is why room for metadata is
 * set aside beforehand, and metadata that does not fit opens another batch.
 *
 * What can fail: only the taking of memory. Room is asked for first (batch_has_room) and asserted after.
 *
 * Invariants: head_bytes <= used_bytes <= limit_bytes <= capacity_bytes; records fill [head_bytes, used_bytes) without
 * gaps; first ticket and first index never change after batch_open.
 *
 * May include: batch.h, memory.h, bytes.h, check.h, zoo.h. */

#include "wal/batch.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/memory.h"
#include "wal/zoo.h"

int batch_create(struct batch *batch, const struct wal_allocator *allocator, uint32_t capacity_bytes,
                 uint32_t block_bytes)
{
    *batch = (struct batch){.capacity_bytes = capacity_bytes};
    batch->point_capacity = capacity_bytes / MAP_POINT_BYTES + 1;
    batch->append_capacity = capacity_bytes / RECORD_HEADER_BYTES;
    if (batch->append_capacity < BATCH_APPENDS_MIN) {
        batch->append_capacity = BATCH_APPENDS_MIN;
    } else if (batch->append_capacity > BATCH_APPENDS_MAX) {
        batch->append_capacity = BATCH_APPENDS_MAX;
    }
    batch->bytes = memory_take(allocator, capacity_bytes, block_bytes > 4096 ? block_bytes : 4096);
    batch->records_by_append = memory_take(allocator, batch->append_capacity * sizeof(uint32_t), 16);
    batch->points = memory_take(allocator, batch->point_capacity * sizeof(struct batch_point), 16);
    if (batch->bytes == NULL || batch->records_by_append == NULL || batch->points == NULL) {
        batch_destroy(batch, allocator);
        return WAL_ENOMEM;
    }
    return 0;
}

void batch_destroy(struct batch *batch, const struct wal_allocator *allocator)
{
    memory_give(allocator, batch->bytes, batch->capacity_bytes);
    memory_give(allocator, batch->records_by_append, batch->append_capacity * sizeof(uint32_t));
    memory_give(allocator, batch->points, batch->point_capacity * sizeof(struct batch_point));
    *batch = (struct batch){0};
}

enum { CACHE_LINE_BYTES = 64, AHEAD_BYTES = 2048 };

/* A device has just read this buffer, so its cache lines are shared or gone, and each store would wait for its line;
 * asking for those of the records to come, some records ahead, hides the wait (it was four fifths of the time of an
 * append). */
static inline void claim_ahead(struct batch *batch, uint32_t used_bytes)
{
#if defined(__x86_64__)
    uint32_t end = batch->capacity_bytes - used_bytes > AHEAD_BYTES ? used_bytes + AHEAD_BYTES : batch->capacity_bytes;
    uint32_t at = batch->claimed_bytes > used_bytes ? batch->claimed_bytes : used_bytes;
    for (; at < end; at += CACHE_LINE_BYTES) {
        __asm__ volatile("prefetchw %0" : : "m"(batch->bytes[at]));
    }
    batch->claimed_bytes = at;
#else
    (void)batch;
    (void)used_bytes;
#endif
}

void batch_open(struct batch *batch, enum batch_kind kind, const struct batch_place *place, uint64_t first_index,
                uint64_t first_ticket, uint64_t previous_tag, uint32_t metadata_room_bytes)
{
    CHECK(batch->state == BATCH_FREE);
    CHECK(place->file_offset % place->block_bytes == 0);
    CHECK(place->room_bytes >= place->block_bytes);
    batch->state = BATCH_OPEN;
    batch->head = (struct format_head){
        .kind = (uint8_t)kind,
        .head_bytes = (uint16_t)format_head_bytes(kind, metadata_room_bytes),
        .salt = place->salt,
        .segment = place->segment,
        .place = (uint32_t)(place->file_offset / place->block_bytes),
        .first_index = first_index,
        .metadata_bytes = FORMAT_NO_METADATA,
    };
    batch->head.used_bytes = batch->head.head_bytes;
    if (kind == BATCH_DATA || kind == BATCH_TRUNCATE) {
        batch->head.body.tags = (struct format_tags){previous_tag, previous_tag, previous_tag};
    }
    batch->file_offset = place->file_offset;
    batch->seed_base = format_seed_base(place->salt, place->segment);
    batch->limit_bytes =
        place->room_bytes < batch->capacity_bytes ? (uint32_t)place->room_bytes : batch->capacity_bytes;
    batch->metadata_room_bytes = batch->head.head_bytes - HEADER_BYTES - format_control_bytes(kind);
    batch->first_ticket = first_ticket;
    batch->append_count = 0;
    batch->point_count = 0;
    batch->opened_ns = 0;
    batch->submitted_ns = 0;
    CHECK(batch->head.head_bytes <= batch->limit_bytes);
    batch->claimed_bytes = 0;
    claim_ahead(batch, 0);
}

/* Notes where a record lies when the last such note is far enough away. */
static void note_point(struct batch *batch, uint64_t index, uint32_t offset)
{
    const struct batch_point *last = batch->point_count != 0 ? &batch->points[batch->point_count - 1] : NULL;
    if (last == NULL || offset - last->offset >= MAP_POINT_BYTES) {
        CHECK(batch->point_count < batch->point_capacity);
        batch->points[batch->point_count++] = (struct batch_point){index, offset};
    }
}

void batch_add(struct batch *batch, const struct wal_append *append)
{
    CHECK(batch->state == BATCH_OPEN);
    CHECK(batch->append_count < batch->append_capacity);
    uint32_t used_bytes = batch->head.used_bytes;
    uint64_t index = batch_end_index(batch);
    for (uint32_t i = 0; i < append->record_count; i++) {
        const struct wal_record *record = &append->records[i];
        uint32_t record_bytes = (uint32_t)format_record_bytes(record->size);
        CHECK(record_bytes <= batch->limit_bytes - used_bytes);
        note_point(batch, index, used_bytes);
        claim_ahead(batch, used_bytes);
        const struct format_record formatted = {record->size, record->type, record->tag, record->data};
        format_record_encode(batch->bytes + used_bytes, batch->seed_base, batch->file_offset + used_bytes, index,
                             &formatted);
        used_bytes += record_bytes;
        index++;
    }
    if (append->record_count != 0) {
        if (batch->head.record_count == 0) {
            batch->head.body.tags.first = append->records[0].tag;
        }
        batch->head.body.tags.last = append->records[append->record_count - 1].tag;
        batch->head.record_count += append->record_count;
    }
    batch->head.used_bytes = used_bytes;
    if ((append->flags & WAL_APPEND_METADATA) != 0) {
        batch_set_metadata(batch, append->metadata, append->metadata_bytes);
    }
    if ((append->flags & WAL_APPEND_CLEAR_DOUBT) != 0) {
        batch->head.flags |= BATCH_CLEARS_DOUBT;
    }
    batch->records_by_append[batch->append_count++] = batch->head.record_count;
}

void batch_set_metadata(struct batch *batch, const void *metadata, uint32_t metadata_bytes)
{
    CHECK(metadata_bytes <= FORMAT_METADATA_BYTES_MAX);
    batch->head.metadata_bytes = (uint16_t)metadata_bytes;
    memset(batch->head.metadata, 0, sizeof(batch->head.metadata));
    if (metadata_bytes != 0) {
        memcpy(batch->head.metadata, metadata, metadata_bytes);
    }
}

void batch_seal(struct batch *batch, uint64_t number, uint64_t mark, uint64_t chain, uint32_t block_bytes)
{
    CHECK(batch->state == BATCH_OPEN || batch->state == BATCH_CLOSED);
    batch->head.number = number;
    batch->head.mark = mark;
    batch->head.chain = chain;
    format_head_encode(&batch->head, batch->bytes);
    batch->padded_bytes = (uint32_t)round_up(batch->head.used_bytes, block_bytes);
    CHECK(batch->padded_bytes <= batch->capacity_bytes);
    memset(batch->bytes + batch->head.used_bytes, 0, batch->padded_bytes - batch->head.used_bytes);
}

void batch_map(const struct batch *batch, struct map *map)
{
    for (uint32_t i = 0; i < batch->point_count; i++) {
        const struct batch_point *point = &batch->points[i];
        uint64_t end_index = i + 1 < batch->point_count ? point[1].first_index : batch_end_index(batch);
        const struct map_entry entry = {
            .first_index = point->first_index,
            .salt = batch->head.salt,
            .record_count = (uint32_t)(end_index - point->first_index),
            .offset = (uint32_t)batch->file_offset + point->offset,
            .end_offset = (uint32_t)batch->file_offset + batch->head.used_bytes,
        };
        map_add(map, &entry);
    }
}
