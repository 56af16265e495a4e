/* map.h - where the records of one segment lie: index to offset, in memory.
 *
 * May include: nothing of the project. */

#ifndef WAL_MAP_H
#define WAL_MAP_H

#include <stdbool.h>
#include <stdint.h>

/* A run of records of one batch, in the order of the file. A large batch has several entries, so that a read need not
 * walk all of it. */
struct map_entry {
    uint64_t first_index;
    uint64_t salt;
    uint32_t record_count;
    uint32_t offset;     /* Of the first record. */
    uint32_t end_offset; /* Where the batch's records end: no record of this run reaches beyond. */
    uint32_t unused;
};

struct map {
    struct map_entry
        *entries; /* [0, count), first_index rising, runs disjoint. Gaps are holes: records that do not read. */
    uint32_t count;
    uint32_t capacity;
};

/* Adds a run behind all others. first_index must not lie below the end of the last one. */
void map_add(struct map *map, const struct map_entry *entry);

/* Forgets all records from first_index on. */
void map_truncate(struct map *map, uint64_t first_index);

/* Forgets all records that lie before this offset. */
void map_drop_before(struct map *map, uint64_t offset);

/* The run that holds index, or NULL. */
const struct map_entry *map_find(const struct map *map, uint64_t index);

/* The first index at or above `index` that the map holds; 0 when there is none. */
uint64_t map_next(const struct map *map, uint64_t index);

/* Entries that a segment of so many bytes can need: one a block, and one a point. */
enum { MAP_POINT_BYTES = 65536 };
static inline uint32_t map_capacity(uint64_t segment_bytes, uint32_t block_bytes)
{
    return (uint32_t)(segment_bytes / block_bytes + segment_bytes / MAP_POINT_BYTES + 1);
}

#endif
