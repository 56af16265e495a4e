/* scarce.c - memory that runs out when a test wants it to, and that counts what was not given back.
 *
 * The happy path: a request gets a block of its own, with its size in front. A block that grows always moves, so that a
 * sanitizer notices whoever still holds its old address.
 *
 * What can fail: what the test wants to fail. Shrinking and giving back never do.
 *
 * Invariants: who gives a block back knows its size; bytes is the sum of all blocks held. */

#include "tests/raft/scarce.h"

#include "wal/check.h"

#include <stddef.h>
#include <string.h>

/* In front of every block; what stands behind it is aligned for anything. */
struct front {
    _Alignas(max_align_t) size_t bytes;
};

static bool is_refused(struct scarce *scarce)
{
    uint64_t request = ++scarce->asked;
    bool refused = request >= scarce->refuse_from && request < scarce->refuse_until;
    if (scarce->one_in != 0) {
        scarce->random = scarce->random * 6364136223846793005U + 1442695040888963407U;
        refused = refused || (scarce->random >> 33) % scarce->one_in == 0;
    }
    scarce->refused += refused;
    return refused;
}

static void *reallocate(void *user, void *memory, size_t old_bytes, size_t new_bytes)
{
    struct scarce *scarce = user;
    struct front *old = memory == NULL ? NULL : (struct front *)memory - 1;
    struct front *made = NULL;
    CHECK(old_bytes == (old == NULL ? 0 : old->bytes));
    if (new_bytes > 0) {
        if (new_bytes > old_bytes && is_refused(scarce)) {
            return NULL;
        }
        made = malloc(sizeof(*made) + new_bytes);
        CHECK(made != NULL);
        made->bytes = new_bytes;
        if (old != NULL) {
            memcpy(made + 1, memory, old_bytes < new_bytes ? old_bytes : new_bytes);
        }
    }
    free(old);
    scarce->bytes = scarce->bytes - old_bytes + new_bytes;
    return made == NULL ? NULL : made + 1;
}

struct raftcore_allocator scarce_allocator(struct scarce *scarce)
{
    return (struct raftcore_allocator){.reallocate = reallocate, .user = scarce};
}
