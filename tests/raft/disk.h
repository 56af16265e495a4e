/* disk.h - what one node has on its disk, for tests of the core alone.
 *
 * Units become durable one after the other; a crash keeps a prefix of those on their way. Payloads are not copied: the
 * test keeps them for ever. */

#ifndef TESTS_RAFT_DISK_H
#define TESTS_RAFT_DISK_H

#include "raftcore/raftcore.h"

/* Bytes that stay where they are until all are given back. */
struct arena {
    struct arena_block *blocks;
};
void *arena_take(struct arena *arena, size_t bytes);
void arena_free(struct arena *arena);

struct disk_unit {
    struct raftcore_unit unit;
    struct raftcore_entry *entries;
    struct raftcore_configuration configuration; /* Of an installed snapshot. */
};

struct disk {
    struct arena *arena; /* Of payloads that the core lent only for a step. */
    struct raftcore_hard_state hard;
    struct raftcore_snapshot snapshot;
    struct raftcore_configuration configuration; /* As of the snapshot. */
    uint64_t first_index, before_term;
    struct raftcore_entry *entries; /* [first_index, first_index + count). */
    bool *unreadable;
    uint32_t count, capacity;
    struct disk_unit *pending;
    uint32_t pending_count, pending_capacity;
    struct disk *before; /* As it was before the newest batch; NULL: not kept. */
    struct raftcore_run *runs;
    struct raftcore_configuration_entry *configurations;
};

void disk_init(struct disk *disk, struct arena *arena, const struct raftcore_configuration *configuration);
void disk_free(struct disk *disk);
void disk_copy(struct disk *to, const struct disk *from); /* Without what is pending. */

void disk_issue(struct disk *disk, const struct raftcore_unit *unit, const struct raftcore_configuration *installed);
/* The oldest `count` units on their way become durable. */
void disk_persist(struct disk *disk, uint32_t count);
/* All others are lost. */
void disk_lose_pending(struct disk *disk);

uint64_t disk_last(const struct disk *disk);
/* NULL: not there, or it does not read. */
const struct raftcore_entry *disk_entry(const struct disk *disk, uint64_t index);
/* What storage would tell the core; pointers are valid until the disk changes. Session, tail and applied are not set.
 */
void disk_start(struct disk *disk, struct raftcore_start *start);
/* The snapshot of the own state is durable; entries below `first_kept` go. */
void disk_compact(struct disk *disk, const struct raftcore_snapshot *snapshot,
                  const struct raftcore_configuration *configuration, uint64_t first_kept);
uint64_t disk_bytes(const struct disk *disk);

#endif
