/* disk.c - what one node has on its disk, for tests of the core alone.
 *
 * The happy path: a unit is copied when it is issued and carried out when it is durable: truncation, then entries; or a
 * snapshot in place of the log. What can fail: nothing; memory is asserted. What a real log would find wrong (an entry
 * that does not join the last one) is asserted as well.
 *
 * Invariants: entries are contiguous; a crash is disk_persist of any number, then disk_lose_pending. */

#include "tests/raft/disk.h"

#include "raftcore/codec.h"
#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

/* --- payloads ------------------------------------------------------------------------------------ */

enum { ARENA_BLOCK_BYTES = 1 << 16 };

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    uint64_t bytes[]; /* Aligned as anything needs. */
};

void *arena_take(struct arena *arena, size_t bytes)
{
    size_t rounded = (bytes + 15) & ~(size_t)15;
    struct arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < rounded) {
        size_t capacity = rounded > ARENA_BLOCK_BYTES ? rounded : ARENA_BLOCK_BYTES;
        block = malloc(sizeof(*block) + capacity);
        CHECK(block != NULL);
        *block = (struct arena_block){.next = arena->blocks, .capacity = capacity};
        arena->blocks = block;
    }
    void *taken = (char *)block->bytes + block->used;
    block->used += rounded;
    return taken;
}

void arena_free(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

/* --- the disk ------------------------------------------------------------------------------------ */

void disk_init(struct disk *disk, struct arena *arena, const struct raftcore_configuration *configuration)
{
    *disk = (struct disk){.arena = arena, .first_index = 1, .configuration = *configuration};
}

void disk_free(struct disk *disk)
{
    disk_lose_pending(disk);
    if (disk->before != NULL) {
        disk_free(disk->before);
        free(disk->before);
    }
    free(disk->entries);
    free(disk->unreadable);
    free(disk->pending);
    free(disk->runs);
    free(disk->configurations);
    *disk = (struct disk){0};
}

static void reserve(struct disk *disk, uint32_t wanted)
{
    if (wanted > disk->capacity) {
        disk->capacity = 2 * wanted;
        disk->entries = realloc(disk->entries, disk->capacity * sizeof(*disk->entries));
        disk->unreadable = realloc(disk->unreadable, disk->capacity * sizeof(*disk->unreadable));
        CHECK(disk->entries != NULL && disk->unreadable != NULL);
    }
}

void disk_copy(struct disk *to, const struct disk *from)
{
    to->hard = from->hard;
    to->snapshot = from->snapshot;
    to->configuration = from->configuration;
    to->first_index = from->first_index;
    to->before_term = from->before_term;
    reserve(to, from->count + 1);
    to->count = from->count;
    if (from->count > 0) {
        memcpy(to->entries, from->entries, from->count * sizeof(*to->entries));
        memcpy(to->unreadable, from->unreadable, from->count * sizeof(*to->unreadable));
    }
}

uint64_t disk_last(const struct disk *disk)
{
    return disk->first_index + disk->count - 1;
}

const struct raftcore_entry *disk_entry(const struct disk *disk, uint64_t index)
{
    bool there = index >= disk->first_index && index <= disk_last(disk) && !disk->unreadable[index - disk->first_index];
    return there ? &disk->entries[index - disk->first_index] : NULL;
}

/* --- units --------------------------------------------------------------------------------------- */

void disk_issue(struct disk *disk, const struct raftcore_unit *unit, const struct raftcore_configuration *installed)
{
    if (disk->pending_count == disk->pending_capacity) {
        disk->pending_capacity = 2 * disk->pending_capacity + 8;
        disk->pending = realloc(disk->pending, disk->pending_capacity * sizeof(*disk->pending));
        CHECK(disk->pending != NULL);
    }
    struct disk_unit *pending = &disk->pending[disk->pending_count++];
    *pending = (struct disk_unit){.unit = *unit};
    if (unit->entry_count > 0) {
        pending->entries = malloc(unit->entry_count * sizeof(*pending->entries));
        CHECK(pending->entries != NULL);
        memcpy(pending->entries, unit->entries, unit->entry_count * sizeof(*pending->entries));
        for (uint32_t i = 0; i < unit->entry_count; i++) {
            struct raftcore_entry *entry = &pending->entries[i];
            if (entry->reserved != 0) { /* The core's own bytes: a log would have written them. */
                void *copy = arena_take(disk->arena, entry->size);
                memcpy(copy, entry->data, entry->size);
                entry->data = copy;
                entry->reserved = 0;
            }
        }
    }
    if (unit->install_snapshot) {
        CHECK(installed != NULL);
        pending->configuration = *installed;
    }
}

static void truncate(struct disk *disk, uint64_t from)
{
    CHECK(from > disk->hard.commit || disk->hard.commit == 0);
    if (from <= disk_last(disk)) {
        disk->count = (uint32_t)(from - disk->first_index);
    }
}

static void drop_below(struct disk *disk, uint64_t first_kept, uint64_t before_term)
{
    uint32_t gone = (uint32_t)(first_kept - disk->first_index);
    gone = gone < disk->count ? gone : disk->count;
    memmove(disk->entries, disk->entries + gone, (disk->count - gone) * sizeof(*disk->entries));
    memmove(disk->unreadable, disk->unreadable + gone, (disk->count - gone) * sizeof(*disk->unreadable));
    disk->count -= gone;
    disk->first_index = first_kept;
    disk->before_term = before_term;
}

static void carry_out(struct disk *disk, struct disk_unit *pending)
{
    const struct raftcore_unit *unit = &pending->unit;
    if (unit->install_snapshot) {
        if (!unit->keep_suffix) {
            disk->count = 0;
        }
        reserve(disk, 1);
        if (disk->count == 0) {
            disk->first_index = unit->snapshot.index + 1;
            disk->before_term = unit->snapshot.term;
        } else {
            drop_below(disk, unit->snapshot.index + 1, unit->snapshot.term);
        }
        disk->snapshot = unit->snapshot;
        disk->configuration = pending->configuration;
    }
    if (unit->truncate_from != 0) {
        truncate(disk, unit->truncate_from);
    }
    disk->hard = unit->hard_state;
    if (unit->entry_count > 0) {
        CHECK(unit->first_index == disk_last(disk) + 1);
        reserve(disk, disk->count + unit->entry_count);
        memcpy(disk->entries + disk->count, pending->entries, unit->entry_count * sizeof(*disk->entries));
        memset(disk->unreadable + disk->count, 0, unit->entry_count * sizeof(*disk->unreadable));
        disk->count += unit->entry_count;
    }
    free(pending->entries);
}

void disk_persist(struct disk *disk, uint32_t count)
{
    CHECK(count <= disk->pending_count);
    if (disk->before != NULL) {
        disk_copy(disk->before, disk);
    }
    for (uint32_t i = 0; i < count; i++) {
        carry_out(disk, &disk->pending[i]);
    }
    disk->pending_count -= count;
    if (disk->pending_count > 0) {
        memmove(disk->pending, disk->pending + count, disk->pending_count * sizeof(*disk->pending));
    }
}

void disk_lose_pending(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        free(disk->pending[i].entries);
    }
    disk->pending_count = 0;
}

/* --- start and snapshots ------------------------------------------------------------------------- */

void disk_start(struct disk *disk, struct raftcore_start *start)
{
    disk->runs = realloc(disk->runs, (disk->count + 1) * sizeof(*disk->runs));
    disk->configurations = realloc(disk->configurations, (disk->count + 1) * sizeof(*disk->configurations));
    CHECK(disk->runs != NULL && disk->configurations != NULL);
    *start = (struct raftcore_start){.hard_state = disk->hard,
                                     .snapshot = disk->snapshot,
                                     .configuration = disk->configuration,
                                     .first_index = disk->first_index,
                                     .last_index = disk_last(disk),
                                     .before_term = disk->before_term,
                                     .runs = disk->runs,
                                     .configurations = disk->configurations};
    for (uint32_t i = 0; i < disk->count; i++) {
        const struct raftcore_entry *entry = &disk->entries[i];
        uint64_t index = disk->first_index + i;
        if (start->run_count == 0 || disk->runs[start->run_count - 1].term != entry->term) {
            disk->runs[start->run_count++] = (struct raftcore_run){.first_index = index, .term = entry->term};
        }
        if (entry->type == RAFTCORE_ENTRY_CONFIGURATION && index > disk->snapshot.index) {
            struct raftcore_configuration_entry *found = &disk->configurations[start->configuration_count++];
            found->index = index;
            CHECK(codec_decode_configuration(entry->data, entry->size, &found->configuration));
        }
    }
}

void disk_compact(struct disk *disk, const struct raftcore_snapshot *snapshot,
                  const struct raftcore_configuration *configuration, uint64_t first_kept)
{
    disk->snapshot = *snapshot;
    disk->configuration = *configuration;
    if (first_kept > disk->first_index) {
        uint64_t term = disk->entries[first_kept - 1 - disk->first_index].term;
        drop_below(disk, first_kept, term);
    }
}

uint64_t disk_bytes(const struct disk *disk)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < disk->count; i++) {
        bytes += disk->entries[i].size + 24; /* And what a log keeps beside it. */
    }
    return bytes;
}
