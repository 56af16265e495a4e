/* storms.c - what goes wrong, and when.
 *
 * The happy path: every so often a fault is drawn from those of the kind of weather, and carried out: crashes, disks
 * that fail or stall or fill up, sectors that rot, links that break, clocks that jump, members that come and go. Nodes
 * that are down are started again after a while.
 *
 * Invariants: the durable data of no more than a minority of the nodes is damaged at once, so each entry keeps copies
 * that read on the others; a wiped node is no voter before the cluster has taken its new log up. */

#include "tests/sim/storms.h"

#include "wal/check.h"

#include <errno.h>
#include <stdlib.h>

enum weather { CALM, CRASHES, PARTITIONS, DISKS, ROT, TAILS, ELECTIONS, MEMBERS, EVERYTHING, WEATHERS };

static const char *const names[WEATHERS] = {"calm",  "crashes",   "partitions", "disks",     "rot",
                                            "tails", "elections", "members",    "everything"};

struct storms {
    struct world *world;
    enum weather weather;
    unsigned voters;
    bool over;
};

static unsigned any_node(struct world *world)
{
    return 1 + (unsigned)world_random(world, world_node_count(world));
}

/* --- crashes ------------------------------------------------------------------------------------- */

static void cut_power(void *context, uint64_t id)
{
    struct storms *storms = context;
    world_crash(storms->world, (unsigned)id, false, 0);
}

/* And perhaps it crashes within the start, or the power goes before what that has read is on the disk for good. */
static void start_again(void *context, uint64_t id)
{
    struct storms *storms = context;
    struct world *world = storms->world;
    bool was_down = world_node(world, (unsigned)id) == NULL;
    bool rough = was_down && !storms->over && storms->weather != CALM && world_random(world, 4) == 0;
    if (rough) {
        world_start_and_crash(world, (unsigned)id, world_random(world, 3) == 0, 1 + (unsigned)world_random(world, 40));
    } else {
        world_start(world, (unsigned)id);
    }
    if (was_down && !storms->over && (storms->weather == CRASHES || storms->weather == ELECTIONS) &&
        world_random(world, 4) == 0) {
        world_at(world, world_random(world, 40 * MS), cut_power, storms, id);
    }
}

static void crash(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned id = any_node(world);
    bool killed = world_random(world, 3) == 0;
    unsigned operation = world_random(world, 2) == 0 ? 0 : 1 + (unsigned)world_random(world, 30);
    world_crash(world, id, killed, operation);
}

static void crash_all(struct storms *storms)
{
    for (unsigned id = 1; id <= world_node_count(storms->world); id++) {
        world_crash(storms->world, id, false, 0);
    }
}

/* Whoever is down comes back, sooner or later; where there are many elections, at once. */
static void look_after(void *context, uint64_t argument)
{
    struct storms *storms = context;
    struct world *world = storms->world;
    bool soon = storms->weather == ELECTIONS;
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        if (world_node(world, id) == NULL && !world_is_lost(world, id) && (soon || world_random(world, 3) == 0)) {
            world_at(world, world_random(world, soon ? 20 * MS : 500 * MS), start_again, storms, id);
        }
    }
    world_at(world, soon ? 20 * MS : 400 * MS, look_after, storms, argument);
}

/* Everybody is slow, and somebody dies while he waits for his disk. */
static void elect(struct storms *storms)
{
    struct world *world = storms->world;
    world_slow_disks(world, 200 * MS);
    world_network(world, 50, 50, 700, 500 * MS, 0);
    unsigned leader = world_leader(world);
    if (leader != 0) {
        world_crash(world, leader, false, 0);
    }
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        if (world_random(world, 2) == 0) {
            world_crash(world, id, false, 1 + (unsigned)world_random(world, 12));
        }
    }
}

/* --- the network --------------------------------------------------------------------------------- */

static void cut_off(struct world *world, unsigned id, bool one_way)
{
    for (unsigned other = 1; other <= world_node_count(world); other++) {
        world_link(world, id, other, false);
        if (!one_way) {
            world_link(world, other, id, false);
        }
    }
}

/* Two halves; or all see one node only (the star); or a chain; or one is cut off, perhaps one way. */
static void partition(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned count = world_node_count(world), kind = (unsigned)world_random(world, 5), middle = any_node(world);
    for (unsigned a = 1; a <= count; a++) {
        for (unsigned b = 1; b <= count; b++) {
            bool works = true;
            if (kind == 0) {
                works = (a <= count / 2) == (b <= count / 2);
            } else if (kind == 1) {
                works = a == middle || b == middle;
            } else if (kind == 2) {
                works = a == b || a + 1 == b || b + 1 == a;
            }
            world_link(world, a, b, works);
        }
    }
    if (kind >= 3) {
        cut_off(world, middle, kind == 4);
    }
    world_tell(world, "partition of kind %u around n%u", kind, middle);
}

static void rejoin(struct storms *storms)
{
    struct world *world = storms->world;
    for (unsigned a = 1; a <= world_node_count(world); a++) {
        for (unsigned b = 1; b <= world_node_count(world); b++) {
            world_link(world, a, b, true);
        }
    }
    world_tell(world, "all links work");
}

static void bad_network(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned much = (unsigned)world_random(world, 3);
    world_network(world, much * 60, much * 40, much * 80, 800 * MS, much * 10);
}

/* --- disks --------------------------------------------------------------------------------------- */

static void stall(struct storms *storms)
{
    world_stall_disk(storms->world, any_node(storms->world), true);
}

static void end_stalls(struct storms *storms)
{
    for (unsigned id = 1; id <= world_node_count(storms->world); id++) {
        world_stall_disk(storms->world, id, false);
        world_fill_disk(storms->world, id, false);
        world_slow_apply(storms->world, id, false);
    }
}

static void fail_disk(struct storms *storms)
{
    struct world *world = storms->world;
    world_fail_disk(world, any_node(world), 1 + (unsigned)world_random(world, 40),
                    world_random(world, 4) == 0 ? ENOSPC : EIO);
}

static void fill_disk(struct storms *storms)
{
    world_fill_disk(storms->world, any_node(storms->world), true);
}

static void slow_apply(struct storms *storms)
{
    world_slow_apply(storms->world, any_node(storms->world), true);
}

static unsigned damaged_count(struct storms *storms)
{
    unsigned count = 0;
    for (unsigned id = 1; id <= world_node_count(storms->world); id++) {
        count += world_is_damaged(storms->world, id);
    }
    return count;
}

/* Nothing is missing, and nothing under way: every node votes, with the log that it has, by a committed entry. */
static bool all_vote(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned leader = world_leader(world);
    if (leader == 0) {
        return false;
    }
    static struct raftcore_status status;
    raftcore_node_status(world_node(world, leader), &status);
    bool all =
        status.configuration_index <= status.hard_state.commit && status.configuration.count == world_node_count(world);
    for (uint32_t i = 0; all && i < status.configuration.count; i++) {
        const struct raftcore_member *member = &status.configuration.members[i];
        all = member->flags == RAFTCORE_VOTER && member->log_id == world_log_id(world, (unsigned)member->id);
    }
    return all;
}

/* A node that was wiped has not got all it had yet. */
static bool some_are_new(struct storms *storms)
{
    for (unsigned id = 1; id <= world_node_count(storms->world); id++) {
        if (world_log_id(storms->world, id) > 1000 &&
            world_kv(storms->world, id)->index < world_applied_most(storms->world)) {
            return true;
        }
    }
    return false;
}

static void crash_later(void *context, uint64_t id)
{
    struct storms *storms = context;
    world_crash(storms->world, (unsigned)id, world_random(storms->world, 2) == 0, 0);
}

/* Its damage is looked at soon: every start reads all. */
static void rot(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned id = any_node(world);
    if (all_vote(storms) && !some_are_new(storms) &&
        damaged_count(storms) + (world_is_damaged(world, id) ? 0 : 1) <= (storms->voters - 1) / 2 &&
        world_damage(world, id)) {
        world_at(world, 600 * MS + world_random(world, SECOND), crash_later, storms, id);
    }
}

static void join_again(void *context, uint64_t id)
{
    struct world *world = ((struct storms *)context)->world;
    for (unsigned other = 1; other <= world_node_count(world); other++) {
        world_link(world, (unsigned)id, other, true);
        world_link(world, other, (unsigned)id, true);
    }
}

static void rot_tail(void *context, uint64_t id)
{
    struct storms *storms = context;
    if (all_vote(storms) && !some_are_new(storms) && damaged_count(storms) == 0 &&
        world_damage_tail(storms->world, (unsigned)id)) {
        world_at(storms->world, 600 * MS, crash_later, storms, id);
        world_at(storms->world, 650 * MS, start_again, storms, id);
    }
}

/* One falls behind; the newest entries of another rot, and it starts anew; the leader dies: who has what was committed?
 */
static void tails(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned count = world_node_count(world), leader = world_leader(world);
    if (leader == 0 || damaged_count(storms) > 0) {
        return;
    }
    unsigned behind = 1 + leader % count, rotten = 1 + behind % count;
    rotten = rotten == leader ? 1 + leader % count : rotten;
    cut_off(world, behind, false);
    world_at(world, 300 * MS, rot_tail, storms, rotten);
    world_at(world, 905 * MS, cut_power, storms, leader);
    world_at(world, 950 * MS, join_again, storms, behind);
}

/* --- clocks, leaders, members -------------------------------------------------------------------- */

static void jump(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned id = any_node(world);
    uint64_t ns = world_random(world, 5 * SECOND);
    if (!world_lease_reads(world)) { /* A lease rests on clocks that run alike. */
        world_jump_clock(world, id, ns);
    }
}

static void transfer(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned leader = world_leader(world);
    if (leader != 0) {
        (void)raftcore_node_transfer(world_node(world, leader), world_local_ns(world, leader), 0);
        world_pump(world, leader);
    }
}

static void change(struct storms *storms, unsigned id, enum raftcore_change_kind kind, uint64_t log_id)
{
    struct world *world = storms->world;
    unsigned leader = world_leader(world);
    const struct raftcore_change wanted = {.kind = kind, .id = id, .log_id = log_id};
    if (leader != 0 && raftcore_node_change(world_node(world, leader), world_local_ns(world, leader), &wanted, 1,
                                            (uint32_t)world_random(world, 2)) == 0) {
        world_counts(world)->changes++;
        world_tell(world, "n%u changes the members: kind %u of n%u", leader, kind, id);
    }
    if (leader != 0) {
        world_pump(world, leader);
    }
}

static const struct raftcore_member *member_of_leader(struct world *world, unsigned id, uint32_t *voters)
{
    static struct raftcore_status status;
    const struct raftcore_member *found = NULL;
    unsigned leader = world_leader(world);
    *voters = 0;
    if (leader == 0) {
        return NULL;
    }
    raftcore_node_status(world_node(world, leader), &status);
    for (uint32_t i = 0; i < status.configuration.count; i++) {
        *voters += (status.configuration.members[i].flags & RAFTCORE_VOTER) != 0;
        if (status.configuration.members[i].id == id) {
            found = &status.configuration.members[i];
        }
    }
    return found;
}

/* One step towards what should be: all nodes are voters, with the logs that they have. */
static void mend_members(struct storms *storms)
{
    struct world *world = storms->world;
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        uint32_t voters;
        const struct raftcore_member *member = member_of_leader(world, id, &voters);
        if (voters == 0) {
            return;
        }
        uint64_t log_id = world_log_id(world, id);
        if (member != NULL && member->log_id != log_id) {
            change(storms, id, RAFTCORE_REMOVE, 0);
            return;
        }
        if (member == NULL || (member->flags & (RAFTCORE_VOTER | RAFTCORE_PROMOTE)) == 0) {
            change(storms, id, RAFTCORE_ADD_AND_PROMOTE, log_id);
            return;
        }
    }
}

static void come_or_go(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned id = any_node(world);
    if (all_vote(storms) && damaged_count(storms) == 0 && world_random(world, 2) == 0) {
        change(storms, id, world_random(world, 3) == 0 ? RAFTCORE_ADD_LEARNER : RAFTCORE_REMOVE,
               world_log_id(world, id));
    } else {
        mend_members(storms);
    }
}

/* A node that was refused at its start, or is struck by lightning, loses everything and joins anew. */
static void wipe(struct storms *storms)
{
    struct world *world = storms->world;
    unsigned id = 0;
    for (unsigned i = 1; i <= world_node_count(world); i++) {
        id = world_is_lost(world, i) ? i : id;
    }
    if (id == 0 && storms->weather >= MEMBERS && all_vote(storms) && damaged_count(storms) == 0 &&
        world_random(world, 3) == 0) {
        id = any_node(world); /* One at a time: the others hold all there is. */
    }
    if (id != 0) {
        world_wipe(world, id);
    }
}

/* --- the weather --------------------------------------------------------------------------------- */

struct fault {
    unsigned weathers; /* A bit for each it belongs to. */
    void (*carry_out)(struct storms *storms);
};

#define IN(weather) (1u << (weather))
#define ALWAYS (~0u)

static const struct fault faults[] = {
    {IN(CRASHES) | IN(ROT) | IN(MEMBERS) | IN(EVERYTHING), crash},
    {IN(CRASHES) | IN(DISKS) | IN(EVERYTHING), crash},
    {IN(CRASHES), crash_all},
    {IN(PARTITIONS) | IN(MEMBERS) | IN(EVERYTHING), partition},
    {ALWAYS, rejoin},
    {IN(PARTITIONS) | IN(CRASHES) | IN(EVERYTHING), bad_network},
    {IN(DISKS) | IN(EVERYTHING), stall},
    {IN(DISKS) | IN(EVERYTHING), fail_disk},
    {IN(DISKS) | IN(EVERYTHING), fill_disk},
    {IN(DISKS) | IN(EVERYTHING), slow_apply},
    {ALWAYS, end_stalls},
    {IN(ROT) | IN(EVERYTHING), rot},
    {IN(ROT), rot},
    {IN(TAILS) | IN(EVERYTHING), tails},
    {IN(TAILS), tails},
    {IN(TAILS), tails},
    {IN(ELECTIONS), elect},
    {IN(ELECTIONS), elect},
    {IN(ELECTIONS), elect},
    {IN(ELECTIONS), crash},
    {IN(PARTITIONS) | IN(EVERYTHING), jump},
    {IN(PARTITIONS) | IN(MEMBERS) | IN(EVERYTHING) | IN(CALM), transfer},
    {IN(MEMBERS) | IN(EVERYTHING), come_or_go},
    {IN(MEMBERS), come_or_go},
    {IN(ROT) | IN(TAILS) | IN(MEMBERS) | IN(EVERYTHING), wipe},
    {IN(ROT) | IN(TAILS) | IN(MEMBERS) | IN(EVERYTHING), mend_members},
    {IN(ELECTIONS), partition},
};

static void strike(void *context, uint64_t argument)
{
    struct storms *storms = context;
    if (storms->over) {
        return;
    }
    const struct fault *fault = &faults[world_random(storms->world, sizeof(faults) / sizeof(faults[0]))];
    if ((fault->weathers & IN(storms->weather)) != 0) {
        fault->carry_out(storms);
    }
    world_at(storms->world, 50 * MS + world_random(storms->world, 300 * MS), strike, storms, argument);
}

struct storms *storms_new(struct world *world)
{
    struct storms *storms = calloc(1, sizeof(*storms));
    CHECK(storms != NULL);
    storms->world = world;
    storms->voters = world_node_count(world);
    storms->weather = (enum weather)world_random(world, WEATHERS);
    world_at(world, 2 * SECOND, strike, storms, 0);
    world_at(world, 400 * MS, look_after, storms, 0);
    return storms;
}

void storms_free(struct storms *storms)
{
    free(storms);
}

const char *storms_name(const struct storms *storms)
{
    return names[storms->weather];
}

static void bring_back(void *context, uint64_t argument)
{
    struct storms *storms = context;
    struct world *world = storms->world;
    for (unsigned id = 1; id <= world_node_count(world); id++) {
        if (world_is_lost(world, id)) {
            world_wipe(world, id);
        }
        world_start(world, id);
    }
    mend_members(storms);
    world_at(world, 300 * MS, bring_back, storms, argument);
}

void storms_end(struct storms *storms)
{
    storms->over = true;
    world_heal(storms->world);
    world_tell(storms->world, "all faults end");
    world_at(storms->world, 1, bring_back, storms, 0);
}
