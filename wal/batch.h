/* batch.h - one batch in memory: records of many append calls, put together in the place they will have on disk.
 *
 * Pure memory: no I/O, no lock, no clock.
 *
 * May include: wal.h, io.h, format.h, map.h. */

#ifndef WAL_BATCH_H
#define WAL_BATCH_H

#include "wal/format.h"
#include "wal/io.h"
#include "wal/map.h"
#include "wal/wal.h"

/* Appends in one batch: one for each record that it could hold, within these bounds. */
enum { BATCH_APPENDS_MIN = 256, BATCH_APPENDS_MAX = 65536 };

enum batch_state {
    BATCH_FREE = 0,
    BATCH_OPEN,    /* Takes appends. */
    BATCH_CLOSED,  /* Complete; waits for its turn. */
    BATCH_WRITING, /* Sealed; the disk's. */
    BATCH_WRITTEN  /* On the medium; waits for the ones before it to be durable. */
};

struct batch_point {
    uint64_t first_index;
    uint32_t offset; /* In the batch. */
};

struct batch {
    uint8_t *bytes; /* capacity_bytes, aligned to a block. */
    uint32_t capacity_bytes;
    enum batch_state state;

    /* Set by batch_open: what the batch is and where it will stand. */
    struct format_head head; /* used_bytes and record_count grow; number, mark and chain come with the seal. */
    uint64_t file_offset;
    uint64_t seed_base;
    uint32_t limit_bytes; /* Bytes it may use: capacity, or the room left in the segment. */
    uint32_t metadata_room_bytes;
    uint32_t claimed_bytes; /* The processor was asked for the cache lines before it. */

    /* The appends in it. */
    uint64_t first_ticket; /* [first_ticket, first_ticket + append_count) */
    uint32_t append_count;
    uint32_t *records_by_append; /* Record count after each append. */
    uint32_t append_capacity;

    struct batch_point *points;
    uint32_t point_count;
    uint32_t point_capacity;

    uint64_t opened_ns;
    uint64_t submitted_ns;
    uint32_t padded_bytes; /* What is written; set by batch_seal. */
    struct wal_io_op op;
    uint32_t durable_word; /* Changes when the batch becomes durable or is given up: waiters sleep on it. */
};

/* Takes its memory once. WAL_ENOMEM: nothing is held. */
int batch_create(struct batch *batch, const struct wal_allocator *allocator, uint32_t capacity_bytes,
                 uint32_t block_bytes);
void batch_destroy(struct batch *batch, const struct wal_allocator *allocator);

struct batch_place {
    uint64_t segment;
    uint64_t salt;
    uint64_t file_offset;
    uint32_t block_bytes;
    uint64_t room_bytes; /* From file_offset to the seal block. */
};

/* Makes a free batch an open one. metadata_room_bytes: the most metadata it can carry later. */
void batch_open(struct batch *batch, enum batch_kind kind, const struct batch_place *place, uint64_t first_index,
                uint64_t first_ticket, uint64_t previous_tag, uint32_t metadata_room_bytes);

/* Is there room for so many record bytes, one more append, and metadata of that size (0: none)? */
static inline bool batch_has_room(const struct batch *batch, uint64_t record_bytes, uint32_t metadata_bytes)
{
    return record_bytes <= batch->limit_bytes - batch->head.used_bytes &&
           batch->append_count < batch->append_capacity && metadata_bytes <= batch->metadata_room_bytes;
}

/* Adds an append that has room. */
void batch_add(struct batch *batch, const struct wal_append *append);

/* Metadata alone, for batches of control kinds too. */
void batch_set_metadata(struct batch *batch, const void *metadata, uint32_t metadata_bytes);

/* Finishes the bytes: header, checksum, padding. [bytes, bytes + padded_bytes) is what goes to file_offset. */
void batch_seal(struct batch *batch, uint64_t number, uint64_t mark, uint64_t chain, uint32_t block_bytes);

/* The runs of records of a sealed batch, for the segment's map. */
void batch_map(const struct batch *batch, struct map *map);

/* First index behind the batch's records. */
static inline uint64_t batch_end_index(const struct batch *batch)
{
    return batch->head.first_index + batch->head.record_count;
}

/* One past the last ticket. */
static inline uint64_t batch_end_ticket(const struct batch *batch)
{
    return batch->first_ticket + batch->append_count;
}

#endif
