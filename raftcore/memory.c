/* memory.c - where a core's memory comes from, and arrays that grow.
 *
 * The happy path: nothing; what is there is enough.
 *
 * What can fail: the allocator; then the caller's array is as it was.
 *
 * Invariants: memory->bytes is the sum of all blocks held.
 *
 * May include: memory.h. */

#include "raftcore/memory.h"

#include <stdlib.h>
#include <string.h>

enum { ARRAY_BYTES_MIN = 128 }; /* Small items are taken a few at a time; large ones as they are wanted. */

void *memory_resize(struct memory *memory, void *block, size_t old_bytes, size_t new_bytes)
{
    void *resized;
    if (memory->allocator.reallocate != NULL) {
        resized = memory->allocator.reallocate(memory->allocator.user, block, old_bytes, new_bytes);
    } else if (new_bytes == 0) {
        free(block);
        resized = NULL;
    } else {
        resized = realloc(block, new_bytes);
    }
    if (resized == NULL && new_bytes > 0) {
        return NULL;
    }
    if (new_bytes > old_bytes) {
        memset((char *)resized + old_bytes, 0, new_bytes - old_bytes);
    }
    memory->bytes = memory->bytes - old_bytes + new_bytes;
    return resized;
}

bool memory_take_once(struct memory *memory, void **block, size_t bytes)
{
    if (*block == NULL) {
        *block = memory_resize(memory, NULL, 0, bytes);
    }
    return *block != NULL;
}

bool memory_reserve(struct memory *memory, void **array, uint32_t *capacity, size_t item_bytes, uint64_t wanted)
{
    if (wanted <= *capacity) {
        return true;
    }
    uint64_t least = item_bytes < ARRAY_BYTES_MIN ? ARRAY_BYTES_MIN / item_bytes : 1;
    uint64_t grown = *capacity < least ? least : *capacity;
    while (grown < wanted) {
        grown *= 2;
    }
    if (grown > UINT32_MAX / 2) {
        return false;
    }
    void *resized = memory_resize(memory, *array, *capacity * item_bytes, grown * item_bytes);
    if (resized == NULL) {
        return false;
    }
    *array = resized;
    *capacity = (uint32_t)grown;
    return true;
}

bool memory_reserve_row(struct memory *memory, void **array, uint32_t *capacity, uint32_t *head, uint64_t count,
                        size_t item_bytes, uint64_t more)
{
    if (count == 0) {
        *head = 0;
    }
    if (more == 0 || *head + count + more <= *capacity) {
        return true;
    }
    if (count + more > *capacity / 2 && !memory_reserve(memory, array, capacity, item_bytes, 2 * (count + more)) &&
        count + more > *capacity) {
        return false;
    }
    memmove(*array, (char *)*array + *head * item_bytes, count * item_bytes);
    *head = 0;
    return true;
}
