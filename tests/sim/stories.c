/* stories.c - runs of whole nodes, told step by step.
 *
 * The happy path: a story sets links, disks and crashes so that one rule alone stands between it and a broken promise;
 * world.c notices what breaks. What can fail is what is told. Invariants: a story is deterministic. */

#include "tests/sim/stories.h"

#include "tests/sim/story_parts.h"

#include <inttypes.h>

static void set_links(struct world *world, const bool together[6])
{
    for (unsigned a = 1; a <= 5; a++) {
        for (unsigned b = 1; b <= 5; b++) {
            world_link(world, a, b, together[a] == together[b]);
        }
    }
}

/* An entry of an old leader is on two of five nodes, him and `torn`. He dies, and the other three elect `fresh`, of
 * whom one is cut off then. What `fresh` appends lacks one answer to be committed, and gets that of `torn`, who must
 * cut the old entry for it, and whose disk stands still. Then the power of `torn` goes, `fresh` dies, and those who
 * have the old entry, or none, elect.
 *
 * The answer is for the entry that takes the old one's place, if the third node is cut off before it has that; else for
 * the next one, which `torn` appends behind the truncation. */
static const char *an_answer_is_early(uint64_t seed, bool is_for_the_truncation)
{
    const struct world_options options = {.seed = seed, .voters = 5, .snapshot_bytes = 1 << 30};
    struct world *world = story_begin(&options);
    unsigned old = story_wait_for_leader(world, 0, 50 * MS);
    story_pass(world, SECOND);
    unsigned torn = 1 + old % 5;
    bool pair[6] = {false};
    pair[old] = pair[torn] = true;
    set_links(world, pair);
    story_propose(world, old, 1, 0); /* On two of five. */
    story_pass(world, 300 * MS);
    world_crash(world, old, false, 0);
    unsigned fresh = story_wait_for_leader(world, old, MS / 10);
    story_pass(world, is_for_the_truncation ? 0 : 500 * MS);
    unsigned third = 0, fourth = 0;
    for (unsigned id = 1; id <= 5; id++) {
        if (id != old && id != torn && id != fresh) {
            fourth = third;
            third = id;
        }
    }
    story_isolate(world, fourth, true);
    if (!is_for_the_truncation) {
        story_propose(world, fresh, 2, 0); /* On two of five as well. */
    }
    story_pass(world, 100 * MS);
    world_stall_disk(world, torn, true);
    world_link(world, torn, fresh, true);
    world_link(world, fresh, torn, true);
    story_pass(world, 600 * MS);
    world_crash(world, torn, false, 0);
    world_crash(world, fresh, false, 0);
    world_stall_disk(world, torn, false);
    world_start(world, torn);
    world_start(world, old);
    story_isolate(world, fourth, false);
    story_isolate(world, torn, false);
    story_isolate(world, old, false);
    story_isolate(world, third, true);
    (void)story_wait_for_leader(world, fresh, 50 * MS);
    story_pass(world, 5 * SECOND);
    world_heal(world);
    world_start(world, fresh);
    story_pass(world, 10 * SECOND);
    return story_end(world);
}

static const char *an_answer_waits_for_the_entry(uint64_t seed)
{
    return an_answer_is_early(seed, false);
}

static const char *an_answer_waits_for_the_truncation(uint64_t seed)
{
    return an_answer_is_early(seed, true);
}

/* Node 3 is behind and gets a snapshot; it is killed at the so-many-th operation from then on, starts, and soon loses
 * its power. */
static const char *a_receiver_dies_twice(uint64_t operation)
{
    const struct world_options options = {.seed = operation, .voters = 3, .snapshot_bytes = 400};
    struct world *world = story_begin(&options);
    (void)story_wait_for_leader(world, 0, 50 * MS);
    story_isolate(world, 3, true);
    for (uint64_t value = 1; value <= 60; value++) {
        unsigned leader = world_leader(world);
        story_propose(world, leader == 3 ? 1 : leader, value, 0);
        story_pass(world, 30 * MS);
    }
    story_isolate(world, 3, false);
    world_crash(world, 3, true, (unsigned)operation);
    for (unsigned i = 0; i < 2000 && world_node(world, 3) != NULL; i++) {
        story_pass(world, MS);
    }
    world_start(world, 3);
    world_crash(world, 3, false, 0);
    world_start(world, 3);
    story_pass(world, SECOND);
    return story_end(world);
}

const struct sim_story sim_stories[] = {
    {"an answer waits for the entry (A12)", an_answer_waits_for_the_entry, 5, 5},
    {"an answer waits for the truncation (A17)", an_answer_waits_for_the_truncation, 5, 5},
    {"a received snapshot stays (A23)", a_receiver_dies_twice, 1, 60},
};
const unsigned sim_story_count = sizeof(sim_stories) / sizeof(sim_stories[0]);

const char *sim_story_run(const struct sim_story *story)
{
    static char text[700];
    for (uint64_t number = story->first; number <= story->last; number++) {
        const char *wrong = story->tell(number);
        if (wrong != NULL) {
            (void)snprintf(text, sizeof(text), "with %" PRIu64 ", %s", number, wrong);
            return text;
        }
    }
    return NULL;
}
