/* memory.h - where a core's memory comes from, and arrays that grow.
 *
 * Arrays grow by doubling and keep what they have, so that a core which has seen its load once takes nothing more.
 *
 * May include: raftcore.h. */

#ifndef RAFTCORE_MEMORY_H
#define RAFTCORE_MEMORY_H

#include "raftcore/raftcore.h"

struct memory {
    struct raftcore_allocator allocator;
    uint64_t bytes; /* Taken. */
};

/* NULL on failure, and the old block stays. Grown bytes are zero. new_bytes 0 frees. */
void *memory_resize(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes);

/* A block that few need, taken when it is first wanted, and kept. False: there is no memory. */
bool memory_take_once(struct memory *memory, void **block, size_t bytes);

/* Room for `wanted` items in an array of *capacity; false: there is no memory, and nothing changed. */
bool memory_reserve(struct memory *memory, void **array, uint32_t *capacity, size_t item_bytes, uint64_t wanted);

/* A row of `count` items that begins at array[*head], taken from at its head and added to at its end: room for `more`
 * behind it. Moves it to the beginning of the array only when that is at most half full, so that each item moves less
 * than once on average; without memory for a larger one, whenever it must. False: there is no memory, and nothing
 * changed. */
bool memory_reserve_row(struct memory *memory, void **array, uint32_t *capacity, uint32_t *head, uint64_t count,
                        size_t item_bytes, uint64_t more);

#endif
