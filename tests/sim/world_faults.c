/* world_faults.c - what goes wrong in a world: damage; disks that fail, fill up, stand still; slowness, clocks, links.
 *
 * The happy path: a test says what, and to whom; the choice of the place is drawn from the world's seed. What can fail:
 * nothing. Invariants: a node that was damaged is called so until it has been started since and is whole again. */

#include "tests/sim/world_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- what goes wrong ----------------------------------------------------------------------------- */

bool world_is_damaged(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->lost) {
        return true;
    }
    if (!node->damaged || node->node == NULL) {
        return node->damaged;
    }
    struct raftcore_status status;
    raftcore_node_status(node->node, &status);
    bool whole = status.hole_count == 0 && status.hard_state.floor_index == 0 && node->kv.index == world->applied_most;
    if (whole && node->looked_at) {
        node->damaged = false;
    }
    return node->damaged;
}

static bool sector_is_worth_it(const uint8_t *bytes)
{
    for (unsigned i = 0; i < SIM_SECTOR_BYTES; i++) {
        if (bytes[i] != 0) {
            return true;
        }
    }
    return false;
}

/* The newest segment that has something in it, and the end of what it has. */
static bool find_tail(struct sim_disk *sim, unsigned *file_out, uint64_t *sector_out)
{
    uint64_t newest = 0;
    for (unsigned file = 0; file < sim_disk_file_count(sim); file++) {
        uint64_t size, number = strtoull(sim_disk_file_name(sim, file), NULL, 10), last = 0;
        const uint8_t *all = sim_disk_file_bytes(sim, file, &size);
        for (uint64_t sector = 2; sector + 1 < size / SIM_SECTOR_BYTES; sector++) {
            last = sector_is_worth_it(all + sector * SIM_SECTOR_BYTES) ? sector : last;
        }
        if (last > 8 && number > newest) {
            newest = number;
            *file_out = file;
            *sector_out = last;
        }
    }
    return newest != 0;
}

bool world_damage_tail(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    struct sim_disk *sim = node_disk_log(node->disk);
    unsigned file;
    uint64_t last, size;
    if (node->node == NULL || sim == NULL || node->stalled || !find_tail(sim, &file, &last)) {
        return false;
    }
    uint64_t first = last - world_random(world, 6), count = 1 + world_random(world, 4);
    uint8_t *all = sim_disk_file_bytes(sim, file, &size);
    for (uint64_t sector = first; sector < first + count && (sector + 1) * SIM_SECTOR_BYTES <= size; sector++) {
        uint8_t bytes[SIM_SECTOR_BYTES];
        memcpy(bytes, all + sector * SIM_SECTOR_BYTES, sizeof(bytes));
        bytes[world_random(world, sizeof(bytes))] ^= 0x5a;
        sim_disk_damage(sim, file, sector * SIM_SECTOR_BYTES, bytes);
    }
    world_tell(world, "n%u: %" PRIu64 " sectors of %s from %" PRIu64 " on are rotten", id, count,
               sim_disk_file_name(sim, file), first * SIM_SECTOR_BYTES);
    world->counts.damages++;
    node->damaged = node->ever_damaged = true;
    node->looked_at = false;
    node->safe_at_ns = world->now_ns + 500 * MS;
    return true;
}

bool world_damage(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    struct sim_disk *sim = world_random(world, 4) == 0 ? node_disk_snapshots(node->disk) : node_disk_log(node->disk);
    if (node->node == NULL || sim == NULL || node->stalled || sim_disk_file_count(sim) == 0) {
        return false;
    }
    for (unsigned turn = 0; turn < 20; turn++) {
        unsigned file = (unsigned)world_random(world, sim_disk_file_count(sim));
        uint64_t size;
        uint8_t *all = sim_disk_file_bytes(sim, file, &size);
        uint64_t sectors = size / SIM_SECTOR_BYTES;
        if (sectors == 0) {
            continue;
        }
        uint64_t offset = world_random(world, sectors) * SIM_SECTOR_BYTES;
        uint8_t bytes[SIM_SECTOR_BYTES];
        if (!sector_is_worth_it(all + offset)) {
            continue;
        }
        memcpy(bytes, all + offset, sizeof(bytes));
        unsigned kind = (unsigned)world_random(world, 3);
        if (kind == 0) {
            bytes[world_random(world, sizeof(bytes))] ^= (uint8_t)(1 + world_random(world, 255)); /* Rotten. */
        } else if (kind == 1) {
            memset(bytes, 0, sizeof(bytes)); /* Lost. */
        } else {
            memcpy(bytes, all + world_random(world, sectors) * SIM_SECTOR_BYTES, sizeof(bytes)); /* Misplaced. */
        }
        world_tell(world, "n%u: a sector of %s at %" PRIu64 " is %s", id, sim_disk_file_name(sim, file), offset,
                   kind == 0 ? "rotten" : (kind == 1 ? "zeroed" : "another's"));
        sim_disk_damage(sim, file, offset, bytes);
        world->counts.damages++;
        node->damaged = node->ever_damaged = true;
        node->looked_at = false;
        node->safe_at_ns = world->now_ns + 500 * MS;
        return true;
    }
    return false;
}

/* All of its bytes: whatever is in it does not read. */
static void rot_sector(struct world *world, unsigned id, struct sim_disk *sim, unsigned file, uint64_t offset)
{
    struct sim_node *node = &world->nodes[id];
    uint8_t bytes[SIM_SECTOR_BYTES];
    uint64_t size;
    memcpy(bytes, sim_disk_file_bytes(sim, file, &size) + offset, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] ^= 0x5a;
    }
    sim_disk_damage(sim, file, offset, bytes);
    world_tell(world, "n%u: a sector of %s at %" PRIu64 " is rotten", id, sim_disk_file_name(sim, file), offset);
    world->counts.damages++;
    node->damaged = node->ever_damaged = true;
    node->looked_at = false;
}

bool world_rot_entry(struct world *world, unsigned id, uint64_t value, unsigned sectors_before)
{
    struct sim_disk *sim = node_disk_log(world->nodes[id].disk);
    bool found = false;
    for (unsigned file = 0; sim != NULL && file < sim_disk_file_count(sim); file++) {
        uint64_t size, at = 0;
        const uint8_t *all = sim_disk_file_bytes(sim, file, &size);
        for (; at + sizeof(value) <= size; at += sizeof(value)) { /* Payloads are aligned. */
            uint64_t sector = at / SIM_SECTOR_BYTES;
            if (memcmp(all + at, &value, sizeof(value)) != 0 || sector < sectors_before) {
                continue;
            }
            found = true;
            for (uint64_t i = sector - sectors_before; i <= sector; i++) {
                rot_sector(world, id, sim, file, i * SIM_SECTOR_BYTES);
            }
            at = (sector + 1) * SIM_SECTOR_BYTES - sizeof(value); /* It holds the value twice. */
        }
    }
    return found;
}

bool world_rot_snapshot(struct world *world, unsigned id, uint64_t index)
{
    struct sim_disk *sim = node_disk_snapshots(world->nodes[id].disk);
    char name[SIM_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "snapshot-%016" PRIx64, index);
    for (unsigned file = 0; sim != NULL && file < sim_disk_file_count(sim); file++) {
        uint64_t size, sectors;
        (void)sim_disk_file_bytes(sim, file, &size);
        sectors = size / SIM_SECTOR_BYTES;
        if (strcmp(sim_disk_file_name(sim, file), name) == 0 && sectors > 0) {
            rot_sector(world, id, sim, file, sectors / 2 * SIM_SECTOR_BYTES);
            return true;
        }
    }
    return false;
}

void world_fail_disk(struct world *world, unsigned id, unsigned operation, int error)
{
    struct sim_node *node = &world->nodes[id];
    struct sim_disk *sim = world_random(world, 3) == 0 ? node_disk_snapshots(node->disk) : node_disk_log(node->disk);
    if (node->node != NULL && sim != NULL && world->now_ns >= node->safe_at_ns) {
        sim_disk_fail(sim, SIM_FAULT_ERROR, operation, error);
    }
}

void world_fail_snapshots(struct world *world, unsigned id, unsigned operation, int error)
{
    struct sim_disk *sim = node_disk_snapshots(world->nodes[id].disk);
    if (world->nodes[id].node != NULL && sim != NULL) {
        sim_disk_fail(sim, SIM_FAULT_ERROR, operation, error);
    }
}

void world_fill_disk(struct world *world, unsigned id, bool full)
{
    struct sim_disk *sim = node_disk_log(world->nodes[id].disk);
    if (sim != NULL) {
        sim_disk_set_room(sim, full ? 1 : 0);
    }
}

void world_stall_disk(struct world *world, unsigned id, bool stalled)
{
    struct sim_node *node = &world->nodes[id];
    node->stalled = stalled;
    if (node->node != NULL && !stalled) {
        world_look_ahead(world, id);
    }
}

void world_slow_disks(struct world *world, uint64_t ns)
{
    world->disk_ns = ns;
}

void world_slow_apply(struct world *world, unsigned id, bool slow)
{
    world->nodes[id].slow = slow;
}

void world_jump_clock(struct world *world, unsigned id, uint64_t ns)
{
    world->nodes[id].clock_ahead_ns += ns;
    world_pump(world, id);
}

/* --- the network's faults ------------------------------------------------------------------------ */

void world_link(struct world *world, unsigned from, unsigned to, bool works)
{
    world->cut[from][to] = !works;
}

void world_network(struct world *world, unsigned drop, unsigned duplicate, unsigned late, uint64_t delay_ns,
                   unsigned corrupt)
{
    world->drop = drop;
    world->duplicate = duplicate;
    world->late = late;
    world->delay_ns = delay_ns;
    world->corrupt = corrupt;
}

void world_heal(struct world *world)
{
    memset(world->cut, 0, sizeof(world->cut));
    world_network(world, 0, 0, 0, 0, 0);
    world->disk_ns = 0;
    for (unsigned id = 1; id <= world->count; id++) {
        struct sim_node *node = &world->nodes[id];
        node_disk_mend(node->disk);
        node->slow = false;
        node->crash_at = 0;
        world_stall_disk(world, id, false);
    }
}
