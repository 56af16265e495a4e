/* map.c - where the records of one segment lie.
 *
 * The happy path: the committer adds a run for each batch that it seals, or the scanner for each batch that it
 * verifies; a reader finds the run of an index by binary search and walks the few records in front of it.
 *
 * A truncation batch removes what it replaces before its own records are added: so the map always holds the live
 * records of its own segment. What later segments truncate is the segment table's affair (segment.h, `low`).
 *
 * Invariants: entries rise in first_index and do not overlap; count <= capacity, which is enough for any segment by
 * construction (each batch takes a block, and further points of one batch lie MAP_POINT_BYTES apart).
 *
 * What can fail: nothing; memory was taken at open.
 *
 * May include: map.h, check.h. */

#include "wal/map.h"

#include "wal/check.h"

#include <stddef.h>

static uint64_t end_index(const struct map_entry *entry)
{
    return entry->first_index + entry->record_count;
}

void map_add(struct map *map, const struct map_entry *entry)
{
    CHECK(entry->record_count > 0);
    CHECK(map->count < map->capacity);
    CHECK(map->count == 0 || end_index(&map->entries[map->count - 1]) <= entry->first_index);
    map->entries[map->count++] = *entry;
}

void map_truncate(struct map *map, uint64_t first_index)
{
    while (map->count > 0 && map->entries[map->count - 1].first_index >= first_index) {
        map->count--;
    }
    if (map->count > 0) {
        struct map_entry *last = &map->entries[map->count - 1];
        if (end_index(last) > first_index) {
            last->record_count = (uint32_t)(first_index - last->first_index);
            CHECK(last->record_count > 0);
        }
    }
}

void map_drop_before(struct map *map, uint64_t offset)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        if (map->entries[i].offset >= offset) {
            map->entries[kept++] = map->entries[i];
        }
    }
    map->count = kept;
}

/* The number of entries with first_index <= index. */
static uint32_t entries_up_to(const struct map *map, uint64_t index)
{
    uint32_t low = 0;
    uint32_t high = map->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->entries[middle].first_index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct map_entry *map_find(const struct map *map, uint64_t index)
{
    uint32_t below = entries_up_to(map, index);
    if (below == 0 || end_index(&map->entries[below - 1]) <= index) {
        return NULL;
    }
    return &map->entries[below - 1];
}

uint64_t map_next(const struct map *map, uint64_t index)
{
    if (map_find(map, index) != NULL) {
        return index;
    }
    uint32_t below = entries_up_to(map, index);
    return below < map->count ? map->entries[below].first_index : 0;
}
