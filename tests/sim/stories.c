/* stories.c - runs of whole nodes, told step by step.
 *
 * The happy path: a story sets links, disks and crashes so that one rule alone stands between it and a broken promise;
 * world.c notices what breaks. What can fail is what is told. Invariants: a story is deterministic. */

#include "tests/sim/stories.h"

#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

static char failure[600];

static void pass_time(struct world *world, uint64_t ns)
{
    uint64_t until_ns = world_now(world) + ns;
    while (world_now(world) < until_ns && world_step(world)) {
    }
}

static void propose(struct world *world, unsigned id, uint64_t value)
{
    const struct kv_command put = {.kind = KV_WRITE, .sequence = value, .value = value};
    const struct raftcore_command command = {.data = &put, .size = sizeof(put)};
    if (world_node(world, id) != NULL) {
        (void)raftcore_node_propose(world_node(world, id), world_local_ns(world, id), &command, 1, value);
        world_pump(world, id);
    }
}

static void set_links(struct world *world, const bool together[6])
{
    for (unsigned a = 1; a <= 5; a++) {
        for (unsigned b = 1; b <= 5; b++) {
            world_link(world, a, b, together[a] == together[b]);
        }
    }
}

static void isolate(struct world *world, unsigned id, bool isolated)
{
    for (unsigned other = 1; other <= 5; other++) {
        world_link(world, id, other, !isolated);
        world_link(world, other, id, !isolated);
    }
}

static unsigned wait_for_leader(struct world *world, unsigned not_this)
{
    for (unsigned i = 0; i < 200 && world_failure(world) == NULL; i++) {
        unsigned leader = world_leader(world);
        if (leader != 0 && leader != not_this) {
            return leader;
        }
        pass_time(world, 50 * MS);
    }
    return 0;
}

static unsigned wait_for_leader_of_three(struct world *world, unsigned old)
{
    for (unsigned i = 0; i < 100000 && world_failure(world) == NULL; i++) {
        unsigned leader = world_leader(world);
        if (leader != 0 && leader != old) {
            return leader;
        }
        pass_time(world, MS / 10);
    }
    return 0;
}

/* An entry of an old leader is on two of five nodes, him and `torn`. He dies, and the other three elect `fresh`, of
 * whom one is cut off then. What `fresh` appends lacks one answer to be committed, and gets that of `torn`, who must
 * cut the old entry for it, and whose disk stands still. Then the power of `torn` goes, `fresh` dies, and those who
 * have the old entry, or none, elect.
 *
 * The answer is for the entry that takes the old one's place, if the third node is cut off before it has that; else for
 * the next one, which `torn` appends behind the truncation. */
static const char *an_answer_is_early(bool is_for_the_truncation)
{
    const struct world_options options = {.seed = 5, .voters = 5, .snapshot_bytes = 1 << 30};
    struct world *world = world_new(&options);
    for (unsigned id = 1; id <= 5; id++) {
        world_start(world, id);
    }
    unsigned old = wait_for_leader(world, 0);
    pass_time(world, SECOND);
    unsigned torn = 1 + old % 5;
    bool pair[6] = {false};
    pair[old] = pair[torn] = true;
    set_links(world, pair);
    propose(world, old, 1); /* On two of five. */
    pass_time(world, 300 * MS);
    world_crash(world, old, false, 0);
    unsigned fresh = wait_for_leader_of_three(world, old);
    pass_time(world, is_for_the_truncation ? 0 : 500 * MS);
    unsigned third = 0, fourth = 0;
    for (unsigned id = 1; id <= 5; id++) {
        if (id != old && id != torn && id != fresh) {
            fourth = third;
            third = id;
        }
    }
    isolate(world, fourth, true);
    if (!is_for_the_truncation) {
        propose(world, fresh, 2); /* On two of five as well. */
    }
    pass_time(world, 100 * MS);
    world_stall_disk(world, torn, true);
    world_link(world, torn, fresh, true);
    world_link(world, fresh, torn, true);
    pass_time(world, 600 * MS);
    world_crash(world, torn, false, 0);
    world_crash(world, fresh, false, 0);
    world_stall_disk(world, torn, false);
    world_start(world, torn);
    world_start(world, old);
    isolate(world, fourth, false);
    isolate(world, torn, false);
    isolate(world, old, false);
    isolate(world, third, true);
    (void)wait_for_leader(world, fresh);
    pass_time(world, 5 * SECOND);
    world_heal(world);
    world_start(world, fresh);
    pass_time(world, 10 * SECOND);
    const char *wrong = world_failure(world);
    (void)snprintf(failure, sizeof(failure), "%s", wrong == NULL ? "" : wrong);
    world_free(world);
    return failure[0] == 0 ? NULL : failure;
}

static const char *an_answer_waits_for_the_entry(void)
{
    return an_answer_is_early(false);
}

static const char *an_answer_waits_for_the_truncation(void)
{
    return an_answer_is_early(true);
}

/* Node 3 is behind and gets a snapshot; it is killed at the so-many-th operation from then on, starts, and soon loses
 * its power. */
static bool a_receiver_dies_twice(unsigned operation)
{
    const struct world_options options = {.seed = operation, .voters = 3, .snapshot_bytes = 400};
    struct world *world = world_new(&options);
    for (unsigned id = 1; id <= 3; id++) {
        world_start(world, id);
    }
    (void)wait_for_leader(world, 0);
    isolate(world, 3, true);
    for (uint64_t value = 1; value <= 60; value++) {
        unsigned leader = world_leader(world);
        propose(world, leader == 3 ? 1 : leader, value);
        pass_time(world, 30 * MS);
    }
    isolate(world, 3, false);
    world_crash(world, 3, true, operation);
    for (unsigned i = 0; i < 2000 && world_node(world, 3) != NULL; i++) {
        pass_time(world, MS);
    }
    world_start(world, 3);
    world_crash(world, 3, false, 0);
    world_start(world, 3);
    pass_time(world, SECOND);
    const char *wrong = world_failure(world);
    (void)snprintf(failure, sizeof(failure), "%s", wrong == NULL ? "" : wrong);
    world_free(world);
    return failure[0] == 0;
}

static const char *a_received_snapshot_stays(void)
{
    for (unsigned operation = 1; operation <= 60; operation++) {
        if (!a_receiver_dies_twice(operation)) {
            return failure;
        }
    }
    return NULL;
}

const struct sim_story sim_stories[] = {
    {"an answer waits for the entry (A12)", an_answer_waits_for_the_entry},
    {"an answer waits for the truncation (A17)", an_answer_waits_for_the_truncation},
    {"a received snapshot stays (A23)", a_received_snapshot_stays},
};
const unsigned sim_story_count = sizeof(sim_stories) / sizeof(sim_stories[0]);
