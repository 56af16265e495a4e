/* history_seen.h - the states that a search was in, so that it looks at none twice. For the files history*.c alone.
 *
 * May include: nothing of the project. */

#ifndef TESTS_SIM_HISTORY_SEEN_H
#define TESTS_SIM_HISTORY_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero but for the words: it is empty. */
struct history_seen {
    uint64_t *keys; /* Of `words` each, one after the other. */
    size_t words;
    uint32_t count, capacity;
    uint32_t *slots; /* Number of a key plus one; 0: empty. */
    uint32_t slot_count;
};

/* False: it was there. */
bool history_seen_add(struct history_seen *seen, const uint64_t *key);
void history_seen_free(struct history_seen *seen);

#endif
