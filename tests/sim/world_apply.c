/* world_apply.c - what the nodes of a world give out, applied, and held against what the others gave.
 *
 * The happy path: an entry goes into the node's state machine, at once or, if that is slow, later; what the machine
 * then holds is compared with what any node held at that index. A snapshot is taken and restored in the same way.
 *
 * What can fail: what must hold. Invariants checked: one leader a term; every index is applied in order, with the same
 * content everywhere, now and after every restart; a snapshot restores the state that was there at its index, and names
 * the members as of it. */

#include "tests/sim/world_parts.h"

#include "wal/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX = 4096 };

/* --- what must hold ------------------------------------------------------------------------------ */

void world_check_leader(struct world *world, unsigned id, const struct raftcore_item *item)
{
    struct sim_node *node = &world->nodes[id];
    if (item->role != RAFTCORE_LEADER || item->term == node->led_term) {
        return;
    }
    node->led_term = item->term;
    world_tell(world, "n%u leads term %" PRIu64, id, item->term);
    if (item->term >= TERMS_MAX) {
        return;
    }
    unsigned *leader = &world->leader_of_term[item->term];
    if (*leader != 0) {
        world_fail(world, "two leaders in term %" PRIu64 ": n%u and n%u", item->term, *leader, id);
    }
    *leader = id;
}

static struct truth *truth_of(struct world *world, uint64_t index)
{
    while (index >= world->truth_capacity) {
        uint64_t before = world->truth_capacity;
        world->truth_capacity = 2 * before + 1024;
        world->truth = realloc(world->truth, world->truth_capacity * sizeof(*world->truth));
        CHECK(world->truth != NULL);
        memset(world->truth + before, 0, (world->truth_capacity - before) * sizeof(*world->truth));
    }
    return &world->truth[index];
}

static void check_state(struct world *world, unsigned id, uint64_t term)
{
    const struct kv *kv = &world->nodes[id].kv;
    struct truth *truth = truth_of(world, kv->index);
    if (truth->hash == 0) {
        *truth = (struct truth){.term = term, .hash = kv->hash};
    } else if (truth->hash != kv->hash) {
        world_fail(world, "n%u has another state at index %" PRIu64 " (term %" PRIu64 ", first seen with %" PRIu64 ")",
                   id, kv->index, term, truth->term);
    }
    if (kv->index > world->applied_most) {
        world->applied_most = kv->index;
        world->counts.committed = kv->index;
    }
}

static uint64_t hash_of_members(const struct raftcore_configuration *configuration)
{
    uint64_t hash = configuration->count + 1;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raftcore_member *member = &configuration->members[i];
        hash = kv_mix(hash ^ kv_mix(member->id * 64 + member->flags) ^ member->log_id);
    }
    return hash;
}

/* C13: the members that a snapshot names are those as of its index. */
static void check_members(struct world *world, unsigned id, uint64_t index)
{
    struct snapshot_info *info = snapshot_store_find(&world->nodes[id].node->snapshots, index);
    if (info == NULL) {
        return;
    }
    uint64_t at = index;
    while (at > 1 && truth_of(world, at)->members == 0) {
        at--;
    }
    uint64_t hash = truth_of(world, at)->members;
    if (hash_of_members(&info->header.configuration) != hash) {
        world_fail(world, "n%u: the snapshot of %" PRIu64 " does not name the members as of its index", id, index);
    }
}

/* --- applying ------------------------------------------------------------------------------------ */

static void apply(struct world *world, unsigned id, const struct pending *entry)
{
    struct kv *kv = &world->nodes[id].kv;
    if (entry->index != kv->index + 1) {
        world_fail(world, "n%u is given index %" PRIu64 " to apply behind %" PRIu64, id, entry->index, kv->index);
        return;
    }
    if (!kv_apply(kv, entry->term, entry->type, entry->bytes, entry->size)) {
        world_fail(world, "n%u is given something to apply at %" PRIu64 " that nobody proposed", id, entry->index);
    }
    check_state(world, id, entry->term);
    struct raftcore_configuration configuration;
    if (entry->type == RAFTCORE_ENTRY_CONFIGURATION &&
        codec_decode_configuration(entry->bytes, entry->size, &configuration)) {
        truth_of(world, entry->index)->members = hash_of_members(&configuration);
    }
    if (entry->type == RAFTCORE_ENTRY_NORMAL && world->watch.applied != NULL && entry->size >= 40) {
        struct kv_command command;
        memcpy(&command, entry->bytes, sizeof(command));
        world->watch.applied(world->watch.context, id, &command);
    }
}

static void say_applied(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    (void)raftcore_node_applied(node->node, world_local_ns(world, id), node->kv.index);
}

void world_drop_pending(struct sim_node *node)
{
    for (unsigned i = 0; i < node->pending_count; i++) {
        free(node->pending[i].bytes);
    }
    node->pending_count = 0;
}

void world_take_entry(struct world *world, unsigned id, const struct raftcore_item *item)
{
    struct sim_node *node = &world->nodes[id];
    struct pending entry = {.index = item->index,
                            .term = item->term,
                            .type = item->type,
                            .bytes = (uint8_t *)(uintptr_t)item->data,
                            .size = item->size};
    if (!node->slow && node->pending_count == 0) {
        apply(world, id, &entry);
        say_applied(world, id);
        return;
    }
    CHECK(node->pending_count < PENDING_MAX);
    if (node->pending == NULL) {
        node->pending = calloc(PENDING_MAX, sizeof(*node->pending));
        CHECK(node->pending != NULL);
    }
    entry.bytes = malloc(item->size + 1);
    CHECK(entry.bytes != NULL);
    if (item->size > 0) {
        memcpy(entry.bytes, item->data, item->size);
    }
    node->pending[node->pending_count++] = entry;
    if (!node->apply_thing) {
        node->apply_thing = true;
        world_later(world, (struct thing){.kind = THING_APPLY, .node = id}, 30 * MS);
    }
}

void world_apply_some(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    unsigned count = node->slow && node->pending_count > 5 ? 5 : node->pending_count;
    node->apply_thing = false;
    for (unsigned i = 0; i < count; i++) {
        apply(world, id, &node->pending[i]);
        free(node->pending[i].bytes);
    }
    node->pending_count -= count;
    memmove(node->pending, node->pending + count, node->pending_count * sizeof(*node->pending));
    if (node->pending_count > 0) {
        node->apply_thing = true;
        world_later(world, (struct thing){.kind = THING_APPLY, .node = id}, node->slow ? 30 * MS : 1);
    }
    if (count > 0) {
        say_applied(world, id);
    }
}

void world_restore(struct world *world, unsigned id, const struct raftcore_item *item)
{
    struct sim_node *node = &world->nodes[id];
    static uint8_t bytes[KV_SNAPSHOT_BYTES];
    world_drop_pending(node);
    if (item->size != KV_SNAPSHOT_BYTES) {
        world_fail(world, "n%u is to restore a snapshot of %zu bytes", id, item->size);
        return;
    }
    if (raftcore_node_restore(node->node, 0, bytes, sizeof(bytes)) != 0) {
        world_tell(world, "n%u cannot read the snapshot of %" PRIu64, id, item->index);
        world->counts.failures++;
        node->damaged = node->ever_damaged = true;
        node->crash_kills = true;
        world_take_after(world, node);
        return;
    }
    if (!kv_load(&node->kv, bytes) || node->kv.index != item->index) {
        world_fail(world, "n%u restores a snapshot of %" PRIu64 " that holds another state, of %" PRIu64, id,
                   item->index, node->kv.index);
        return;
    }
    world->counts.installs++;
    world_tell(world, "n%u restores the snapshot of %" PRIu64, id, item->index);
    check_state(world, id, 0);
    check_members(world, id, item->index);
    say_applied(world, id);
}

void world_take_snapshot(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    static uint8_t bytes[KV_SNAPSHOT_BYTES];
    if (raftcore_node_snapshot_begin(node->node) != 0) {
        return;
    }
    kv_save(&node->kv, bytes);
    if (raftcore_node_snapshot_put(node->node, bytes, sizeof(bytes)) == 0 &&
        raftcore_node_snapshot_end(node->node) == 0) {
        world->counts.snapshots++;
        world_tell(world, "n%u takes a snapshot of %" PRIu64, id, node->kv.index);
    }
}
