/* history_memory.h - memory for judging a history: zeroed, and asserted. For the files history*.c alone.
 *
 * May include: wal/check.h. */

#ifndef TESTS_SIM_HISTORY_MEMORY_H
#define TESTS_SIM_HISTORY_MEMORY_H

#include "wal/check.h"

#include <stdlib.h>

static inline void *history_take(size_t count, size_t bytes)
{
    void *taken = calloc(count + 1, bytes); /* Never of nothing: what that gives is anybody's guess. */
    CHECK(taken != NULL);
    return taken;
}

#endif
