/* history_seen.c - the states that a search was in.
 *
 * What for: two ways that lead to one state go on alike, so the second need not be walked.
 *
 * The happy path: a state is a key of some words; keys lie one after the other, and a hash table of their numbers finds
 * them. What can fail: nothing; memory is asserted, and the search bounds their count.
 *
 * Invariants: at least half of the slots are empty. A key stays under its number; where it lies may change.
 *
 * May include: history_memory.h, history_seen.h, wal/check.h. */

#include "tests/sim/history_seen.h"

#include "tests/sim/history_memory.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const uint64_t *key, size_t words)
{
    uint64_t hash = 0x9E3779B97F4A7C15U;
    for (size_t i = 0; i < words; i++) {
        hash = (hash ^ key[i]) * 0xD6E8FEB86659FD93U;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The slot where the key is, or the empty one where it belongs. */
static uint32_t *slot_of(struct history_seen *seen, const uint64_t *key)
{
    uint32_t mask = seen->slot_count - 1;
    uint32_t at = (uint32_t)hash_of(key, seen->words) & mask;
    while (seen->slots[at] != 0 &&
           memcmp(seen->keys + (seen->slots[at] - 1) * seen->words, key, seen->words * sizeof(*key)) != 0) {
        at = (at + 1) & mask; /* At least half are empty. */
    }
    return &seen->slots[at];
}

static void grow(struct history_seen *seen)
{
    seen->capacity = seen->capacity == 0 ? 64 : 2 * seen->capacity;
    seen->keys = realloc(seen->keys, seen->capacity * seen->words * sizeof(*seen->keys));
    CHECK(seen->keys != NULL);
    free(seen->slots);
    seen->slot_count = 2 * seen->capacity;
    seen->slots = history_take(seen->slot_count, sizeof(*seen->slots));
    for (uint32_t i = 0; i < seen->count; i++) {
        *slot_of(seen, seen->keys + i * seen->words) = i + 1;
    }
}

bool history_seen_add(struct history_seen *seen, const uint64_t *key)
{
    if (seen->count == seen->capacity) {
        grow(seen);
    }
    uint32_t *slot = slot_of(seen, key);
    if (*slot != 0) {
        return false;
    }
    memcpy(seen->keys + seen->count * seen->words, key, seen->words * sizeof(*key));
    *slot = ++seen->count;
    return true;
}

void history_seen_free(struct history_seen *seen)
{
    free(seen->keys);
    free(seen->slots);
}
