/* test_sim_memory.c - whole nodes when there is no memory for what a node does beside its core.
 *
 * The happy path: a leader that has no memory for reading entries back is asked again and reads them later.
 *
 * What can fail: a peer that never gets what it lacks. Invariants: the memory of one node alone runs out; what it holds
 * is the C library's, as for all others. */

#include "raftcore/node_parts.h"
#include "tests/sim/story_parts.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS 1000000ULL
#define VALUE_BASE 0x6d656d6f727900ULL

enum { NO_SNAPSHOTS = 1 << 30, LONG_BYTES = 3000 };

/* Of one test at a time. */
struct shortage {
    size_t of_bytes;   /* Requests for blocks of this size are refused; 0: of any. */
    unsigned after;    /* So many are not refused yet, */
    unsigned refusals; /* then so many are. */
    unsigned happened;
};

static void *reallocate(void *user, void *memory, size_t old_bytes, size_t new_bytes)
{
    struct shortage *shortage = user;
    bool is_meant = new_bytes > old_bytes && (shortage->of_bytes == 0 || shortage->of_bytes == new_bytes);
    if (new_bytes == 0) {
        free(memory);
        return NULL;
    }
    if (is_meant && shortage->after > 0) {
        shortage->after--;
    } else if (is_meant && shortage->refusals > 0) {
        shortage->refusals--;
        shortage->happened++;
        return NULL;
    }
    return realloc(memory, new_bytes);
}

/* --- reading back -------------------------------------------------------------------------------- */

static void test_a_load_without_memory_is_asked_for_again(void **state)
{
    (void)state;
    struct world *world = story_begin(&(struct world_options){.seed = 5, .voters = 3, .snapshot_bytes = NO_SNAPSHOTS});
    unsigned leader = story_wait_for_leader(world, 0, 25 * MS);
    unsigned behind = 1 + leader % 3;
    uint64_t values = VALUE_BASE;
    story_isolate(world, behind, true);
    for (unsigned i = 0; i < 10; i++) {
        story_propose(world, leader, ++values, LONG_BYTES);
        story_pass(world, 20 * MS);
    }
    struct shortage shortage = {.of_bytes = sizeof(struct job), .refusals = 3};
    struct raftcore_node *node = world_node(world, leader);
    node->memory.allocator = (struct raftcore_allocator){.reallocate = reallocate, .user = &shortage};
    story_isolate(world, behind, false);
    story_pass(world, 4000 * MS);
    assert_int_equal(shortage.happened, 3);
    assert_int_equal(story_status(world, leader)->role, RAFTCORE_LEADER);
    assert_int_equal(story_status(world, behind)->applied, story_status(world, leader)->applied);
    node->memory.allocator = (struct raftcore_allocator){.reallocate = NULL};
    story_come_together(world, ++values);
    const char *wrong = story_end(world);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_load_without_memory_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
