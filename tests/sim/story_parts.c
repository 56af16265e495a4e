/* story_parts.c - the moves that stories are made of.
 *
 * The happy path: a story begins with a world whose nodes are started, moves it on step by step, and ends with what the
 * world noticed. What can fail: what the world notices, and who never comes together with the others at the end.
 * Invariants: a move draws nothing but from the world's seed; it ends when the world has failed. */

#include "tests/sim/story_parts.h"

#include "wal/check.h"

#include <inttypes.h>
#include <string.h>

enum { WAIT_S = 10, COMMAND_BYTES_MAX = 8192 };

struct world *story_begin(const struct world_options *options)
{
    struct world *world = world_new(options);
    for (unsigned id = 1; id <= options->voters; id++) {
        world_start(world, id);
    }
    return world;
}

const char *story_end(struct world *world)
{
    static char failure[600];
    const char *wrong = world_failure(world);
    (void)snprintf(failure, sizeof(failure), "%s", wrong == NULL ? "" : wrong);
    world_free(world);
    return failure[0] == 0 ? NULL : failure;
}

void story_pass(struct world *world, uint64_t ns)
{
    uint64_t until_ns = world_now(world) + ns;
    while (world_now(world) < until_ns && world_step(world)) {
    }
}

void story_propose(struct world *world, unsigned id, uint64_t value, uint32_t more_bytes)
{
    static uint8_t bytes[COMMAND_BYTES_MAX];
    const struct kv_command put = {.kind = KV_WRITE, .sequence = value, .value = value};
    const struct raftcore_command command = {.data = bytes, .size = (uint32_t)sizeof(put) + more_bytes};
    CHECK(command.size <= sizeof(bytes));
    memcpy(bytes, &put, sizeof(put));
    if (world_node(world, id) != NULL) {
        (void)raftcore_node_propose(world_node(world, id), world_local_ns(world, id), &command, 1, value);
        world_pump(world, id);
    }
}

void story_isolate(struct world *world, unsigned id, bool isolated)
{
    for (unsigned other = 1; other <= world_node_count(world); other++) {
        world_link(world, id, other, !isolated);
        world_link(world, other, id, !isolated);
    }
}

unsigned story_wait_for_leader(struct world *world, unsigned not_this, uint64_t every_ns)
{
    for (uint64_t i = 0; i < WAIT_S * SECOND / every_ns && world_failure(world) == NULL; i++) {
        unsigned leader = world_leader(world);
        if (leader != 0 && leader != not_this) {
            return leader;
        }
        story_pass(world, every_ns);
    }
    return 0;
}

bool story_hand_over(struct world *world, unsigned to)
{
    for (unsigned i = 0; i < WAIT_S && world_leader(world) != to; i++) {
        unsigned leader = world_leader(world);
        if (leader != 0) {
            (void)raftcore_node_transfer(world_node(world, leader), world_local_ns(world, leader), to);
            world_pump(world, leader);
        }
        story_pass(world, SECOND);
    }
    return world_leader(world) == to;
}

bool story_take_snapshot(struct world *world, unsigned id)
{
    static uint8_t bytes[KV_SNAPSHOT_BYTES];
    struct raftcore_node *node = world_node(world, id);
    if (node == NULL || raftcore_node_snapshot_begin(node) != 0) {
        return false;
    }
    kv_save(world_kv(world, id), bytes);
    bool taken = raftcore_node_snapshot_put(node, bytes, sizeof(bytes)) == 0 && raftcore_node_snapshot_end(node) == 0;
    world_pump(world, id);
    return taken;
}

const struct raftcore_status *story_status(struct world *world, unsigned id)
{
    static struct raftcore_status status;
    memset(&status, 0, sizeof(status));
    if (world_node(world, id) != NULL) {
        raftcore_node_status(world_node(world, id), &status);
    }
    return &status;
}

void story_come_together(struct world *world, uint64_t next_value)
{
    world_heal(world);
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        world_start(world, id);
    }
    unsigned leader = story_wait_for_leader(world, 0, 50 * MS);
    for (uint64_t i = 0; i < 5; i++) {
        story_propose(world, leader, next_value + i, 0);
        story_pass(world, 50 * MS);
    }
    story_pass(world, WAIT_S * SECOND);
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        uint64_t index = world_kv(world, id)->index;
        if (world_node(world, id) == NULL) {
            world_fail(world, "n%u is %s at the end", id, world_is_lost(world, id) ? "lost" : "down");
        } else if (index < world_applied_most(world)) {
            world_fail(world, "n%u has applied %" PRIu64 " of %" PRIu64 " at the end", id, index,
                       world_applied_most(world));
        }
    }
}
