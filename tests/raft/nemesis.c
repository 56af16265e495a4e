/* nemesis.c - one seed's life of a cluster, under every fault there is.
 *
 * Each seed draws a cluster, its timing and its faults: loss, doubling, reordering, partitions (whole, one-way,
 * partial), crashes that keep any prefix of what was on its way to the disk, stalled disks, slow state machines, clocks
 * that jump, changes of membership, transfers, snapshots, damaged tails and entries, memory that runs out. Then the
 * faults stop: within LIVE_NS of virtual time there must be a leader that commits a new entry on all members. */

#define _GNU_SOURCE
#include "tests/raft/nemesis.h"

#include "tests/raft/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_NS (30000 * MS) /* Of virtual time, election timeouts being 1 s. */

enum theme { ANYTHING, FIGURE_8, DAMAGE, MEMBERS, READS, THEMES };

struct run {
    struct cluster *cluster;
    uint64_t value;
    unsigned nodes, voters;
    bool damage;
    unsigned damaged; /* One at a time. */
    bool blocked;
    enum theme theme;
    bool leases;
};

static unsigned any_node(struct run *run)
{
    return 1 + (unsigned)cluster_random(run->cluster, run->nodes);
}

static void propose_somewhere(struct run *run)
{
    uint64_t many = 1 + cluster_random(run->cluster, 8);
    for (unsigned id = 1; id <= run->nodes; id++) {
        for (uint64_t i = 0; i < many; i++) {
            (void)cluster_propose(run->cluster, id, ++run->value, 8 + (uint32_t)cluster_random(run->cluster, 200));
        }
    }
}

static void cut_somewhere(struct run *run)
{
    struct cluster *cluster = run->cluster;
    switch (cluster_random(cluster, 6)) {
    case 0:
        cluster_isolate(cluster, any_node(run), true);
        break;
    case 1: /* One way. */
        cluster_link(cluster, any_node(run), any_node(run), false);
        break;
    case 2: /* Only one node hears everybody: the bridge of a partial partition. */
        for (unsigned a = 1; a <= run->nodes; a++) {
            for (unsigned b = 1; b <= run->nodes; b++) {
                cluster_link(cluster, a, b, a == 1 || b == 1);
            }
        }
        break;
    case 3: { /* Two halves. */
        unsigned half = any_node(run);
        for (unsigned a = 1; a <= run->nodes; a++) {
            for (unsigned b = 1; b <= run->nodes; b++) {
                cluster_link(cluster, a, b, (a <= half) == (b <= half));
            }
        }
        break;
    }
    case 4: { /* A chain: each hears its neighbours only. */
        for (unsigned a = 1; a <= run->nodes; a++) {
            for (unsigned b = 1; b <= run->nodes; b++) {
                cluster_link(cluster, a, b, a + 1 == b || b + 1 == a);
            }
        }
        break;
    }
    default:
        for (unsigned a = 1; a <= run->nodes; a++) {
            for (unsigned b = 1; b <= run->nodes; b++) {
                cluster_link(cluster, a, b, true);
            }
        }
    }
}

static bool is_whole(struct run *run, unsigned id)
{
    struct raftcore_status status;
    if (!cluster_is_up(run->cluster, id)) {
        return false;
    }
    raftcore_status(cluster_core(run->cluster, id), &status);
    return status.hole_count == 0 && status.hard_state.floor_index == 0;
}

static void crash_or_start(struct run *run)
{
    unsigned id = any_node(run);
    if (cluster_is_up(run->cluster, id)) {
        bool may_damage = run->damage && (run->damaged == 0 || is_whole(run, run->damaged)) && is_whole(run, id);
        for (unsigned other = 1; other <= run->voters; other++) {
            may_damage = may_damage && (other == id || is_whole(run, other));
        }
        cluster_crash(run->cluster, id);
        may_damage = may_damage && cluster_has_copy_elsewhere(run->cluster, id);
        if (may_damage && cluster_random(run->cluster, 2) == 0) {
            run->damaged = id;
            uint64_t hole = cluster_random(run->cluster, 2) * (1 + cluster_random(run->cluster, 30));
            uint64_t applied = cluster_applied_index(run->cluster, id);
            cluster_damage(run->cluster, id, hole == 0, hole == 0 || applied <= hole ? 0 : applied - hole);
        }
    } else {
        cluster_restart(run->cluster, id);
    }
}

static void change_members(struct run *run)
{
    unsigned leader = cluster_leader(run->cluster);
    if (leader == 0) {
        return;
    }
    struct raftcore_change changes[2];
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE};
    event.change.count = (uint32_t)cluster_random(run->cluster, 3);
    for (uint32_t i = 0; i < event.change.count; i++) {
        unsigned id = any_node(run);
        changes[i] = (struct raftcore_change){
            .kind = 1 + (uint32_t)cluster_random(run->cluster, 4), .id = id, .log_id = 1000 + id};
    }
    event.change.changes = changes;
    event.change.transition = (uint32_t)cluster_random(run->cluster, 3);
    (void)cluster_step(run->cluster, leader, &event);
}

static void read_everywhere(struct run *run)
{
    for (unsigned id = 1; id <= run->nodes; id++) {
        (void)cluster_read(run->cluster, id, run->leases);
    }
}

static void transfer_somewhere(struct run *run)
{
    struct raftcore_event event = {.kind = RAFTCORE_TRANSFER_LEADERSHIP};
    unsigned leader = cluster_leader(run->cluster);
    event.transfer.to = cluster_random(run->cluster, 2) * any_node(run);
    (void)cluster_step(run->cluster, leader != 0 ? leader : any_node(run), &event);
}

static void campaign_somewhere(struct run *run)
{
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN};
    event.campaign.at_once = cluster_random(run->cluster, 2) == 0;
    (void)cluster_step(run->cluster, any_node(run), &event);
}

static void jump_somewhere(struct run *run)
{
    unsigned id = any_node(run);
    if (cluster_is_up(run->cluster, id) && !run->leases) { /* A lease is a bet on clocks. */
        cluster_jump_clock(run->cluster, id, cluster_random(run->cluster, 3000) * MS);
    }
}

/* The leader is cut off or crashes, just when it has something new: what figure 8 of the paper is made of. */
static void hurt_leader(struct run *run)
{
    unsigned leader = cluster_leader(run->cluster);
    if (leader == 0) {
        return;
    }
    propose_somewhere(run);
    cluster_run(run->cluster, cluster_random(run->cluster, 2000) * MS / 1000);
    if (cluster_random(run->cluster, 2) == 0) {
        cluster_crash(run->cluster, leader);
    } else {
        cluster_isolate(run->cluster, leader, true);
    }
}

static void run_a_little(struct run *run, uint64_t ms)
{
    cluster_run(run->cluster, cluster_random(run->cluster, ms * 1000) * MS / 1000);
}

static void campaign(struct run *run, unsigned id)
{
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN};
    event.campaign.at_once = true;
    (void)cluster_step(run->cluster, id, &event);
}

/* A short reign over those that a node can reach: elected, something new, and gone. */
static void reign_shortly(struct run *run)
{
    unsigned id = any_node(run);
    cluster_restart(run->cluster, id);
    for (unsigned other = 1; other <= run->nodes; other++) {
        bool works = cluster_random(run->cluster, 3) != 0;
        cluster_link(run->cluster, id, other, works);
        cluster_link(run->cluster, other, id, works);
    }
    campaign(run, id);
    run_a_little(run, 12);
    if (run->theme == MEMBERS) {
        change_members(run);
    } else {
        (void)cluster_propose(run->cluster, id, ++run->value, 8);
    }
    run_a_little(run, 6);
    if (cluster_random(run->cluster, 2) == 0) {
        cluster_isolate(run->cluster, id, true);
    } else {
        cluster_crash(run->cluster, id);
    }
}

/* One of the two that have an entry forgets it, and meets the one that never had it. */
static void forget(struct run *run)
{
    struct cluster *cluster = run->cluster;
    unsigned leader = cluster_leader(cluster);
    unsigned forgetful = any_node(run), stranger = any_node(run);
    bool all_whole = run->damage && leader != 0 && forgetful != leader && stranger != leader && forgetful != stranger;
    for (unsigned id = 1; all_whole && id <= run->voters; id++) {
        cluster_restart(cluster, id);
        all_whole = is_whole(run, id);
    }
    if (!all_whole) {
        return;
    }
    cluster_isolate(cluster, stranger, true);
    for (uint64_t i = cluster_random(cluster, 3); i-- > 0;) {
        (void)cluster_propose(cluster, leader, ++run->value, 8);
        run_a_little(run, 10);
    }
    (void)cluster_propose(cluster, leader, ++run->value, 8);
    run_a_little(run, 45); /* Not so long that the log's idle mark stands behind it. */
    cluster_crash(cluster, forgetful);
    if (!cluster_has_copy_elsewhere(cluster, forgetful)) {
        return;
    }
    run->damaged = forgetful;
    uint64_t applied = cluster_applied_index(cluster, forgetful);
    bool tail = cluster_random(cluster, 2) == 0;
    cluster_damage(cluster, forgetful, tail, tail ? 0 : applied - cluster_random(cluster, 3));
    cluster_isolate(cluster, leader, true);
    cluster_isolate(cluster, stranger, false);
    cluster_link(cluster, leader, stranger, false);
    cluster_link(cluster, stranger, leader, false);
    cluster_restart(cluster, forgetful);
    run_a_little(run, 100);
    if (cluster_random(cluster, 2) == 0) {
        cluster_crash(cluster, forgetful);
        cluster_restart(cluster, forgetful);
        run_a_little(run, 100);
    }
    for (uint64_t i = cluster_random(cluster, 4); i-- > 0;) {
        campaign(run, stranger);
        run_a_little(run, 100);
        (void)cluster_propose(cluster, stranger, ++run->value, 8);
        run_a_little(run, 100);
    }
}

/* The leader is cut off; its answers are still on their way, and another is elected when theirs are over. */
static void outlive(struct run *run)
{
    struct cluster *cluster = run->cluster;
    unsigned leader = cluster_leader(cluster);
    if (leader == 0) {
        return;
    }
    cluster_isolate(cluster, leader, true);
    for (unsigned i = 0; i < 25 && cluster_failure(cluster) == NULL; i++) {
        cluster_run(cluster, 100 * MS);
        for (unsigned id = 1; id <= run->nodes; id++) {
            if (id != leader) {
                (void)cluster_propose(cluster, id, ++run->value, 8);
            }
        }
        (void)cluster_read(cluster, leader, run->leases);
    }
}

static void connect_somewhere(struct run *run)
{
    unsigned id = any_node(run);
    cluster_isolate(run->cluster, id, false);
    cluster_restart(run->cluster, id);
}

enum act {
    CUT,
    CRASH,
    STALL,
    SLOW,
    JUMP,
    CHANGE,
    TRANSFER,
    READ,
    CAMPAIGN,
    PROPOSE,
    HURT,
    CONNECT,
    REIGN,
    FORGET,
    OUTLIVE,
    ACTS
};

/* How often each is drawn, by what a seed is about. */
static const unsigned char weights[THEMES][ACTS] = {
    /* CUT CRASH STALL SLOW JUMP CHANGE TRANSFER READ CAMPAIGN PROPOSE HURT CONNECT REIGN FORGET OUTLIVE */
    [ANYTHING] = {2, 3, 1, 1, 1, 2, 1, 2, 1, 2, 0, 0, 0, 0, 0},
    [FIGURE_8] = {0, 1, 0, 0, 2, 0, 0, 0, 1, 1, 3, 5, 10, 0, 0},
    [DAMAGE] = {1, 4, 0, 0, 2, 0, 0, 0, 2, 4, 2, 6, 0, 3, 0},
    [MEMBERS] = {1, 1, 0, 0, 2, 6, 1, 0, 1, 1, 2, 6, 6, 0, 0},
    [READS] = {1, 1, 0, 0, 1, 0, 1, 8, 2, 3, 3, 6, 0, 0, 2},
};
static enum act draw_act(struct run *run)
{
    unsigned total = 0, act = 0;
    for (unsigned i = 0; i < ACTS; i++) {
        total += weights[run->theme][i];
    }
    uint64_t drawn = cluster_random(run->cluster, total);
    while (drawn >= weights[run->theme][act]) {
        drawn -= weights[run->theme][act++];
    }
    return (enum act)act;
}

static void disturb(struct run *run)
{
    switch (draw_act(run)) {
    case CUT:
        cut_somewhere(run);
        break;
    case CRASH:
        crash_or_start(run);
        break;
    case STALL:
        cluster_stall_disk(run->cluster, any_node(run), cluster_random(run->cluster, 2) == 0);
        break;
    case SLOW:
        cluster_slow_apply(run->cluster, any_node(run), cluster_random(run->cluster, 2) == 0);
        break;
    case JUMP:
        jump_somewhere(run);
        break;
    case CHANGE:
        change_members(run);
        break;
    case TRANSFER:
        transfer_somewhere(run);
        break;
    case READ:
        read_everywhere(run);
        break;
    case CAMPAIGN:
        campaign_somewhere(run);
        break;
    case HURT:
        hurt_leader(run);
        break;
    case CONNECT:
        connect_somewhere(run);
        break;
    case REIGN:
        reign_shortly(run);
        break;
    case FORGET:
        forget(run);
        break;
    case OUTLIVE:
        outlive(run);
        break;
    default:
        propose_somewhere(run);
    }
}

/* Too few voters are left whole to elect one: the operator's word (B16). */
static void call_the_roll(struct run *run)
{
    for (unsigned id = 1; id <= run->nodes && cluster_leader(run->cluster) == 0; id++) {
        struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN};
        event.campaign.roll_call = true;
        (void)cluster_step(run->cluster, id, &event);
        cluster_run(run->cluster, 500 * MS);
    }
}

/* Does a node miss an entry that no other node holds as an entry any more, or that it has nobody to ask for (B17)? */
static bool has_lost_entry(struct run *run)
{
    for (unsigned id = 1; id <= run->nodes; id++) {
        struct raftcore_status status;
        raftcore_status(cluster_core(run->cluster, id), &status);
        bool is_alone = status.configuration.count == 1;
        if (status.hole_count > 0 && is_alone) {
            return true;
        }
        if (status.hole_count > 0 && !cluster_holds_elsewhere(run->cluster, id, status.holes[0].first)) {
            return true;
        }
    }
    return false;
}

static void recover(struct run *run)
{
    struct cluster *cluster = run->cluster;
    cluster_heal(cluster);
    for (unsigned id = 1; id <= run->nodes; id++) {
        cluster_stall_disk(cluster, id, false);
        cluster_restart(cluster, id);
        cluster_slow_apply(cluster, id, false);
    }
    uint64_t value = 0, end = cluster_now(cluster) + LIVE_NS, index = 0;
    while (cluster_failure(cluster) == NULL && cluster_now(cluster) < end) {
        unsigned leader = cluster_leader(cluster);
        if (leader == 0 && run->damage && end - cluster_now(cluster) < LIVE_NS / 2) {
            call_the_roll(run);
        }
        if (leader != 0 && cluster_propose(cluster, leader, ++run->value, 16) != 0) {
            value = run->value;
        }
        cluster_run(cluster, 500 * MS);
        unsigned applied = value == 0 ? 0 : cluster_applied(cluster, value, &index);
        if (leader == 0 || applied == 0) {
            continue;
        }
        struct raftcore_status status;
        raftcore_status(cluster_core(cluster, leader), &status);
        bool all = true;
        for (uint32_t i = 0; i < status.configuration.count; i++) {
            unsigned id = (unsigned)status.configuration.members[i].id;
            all = all && cluster_applied_index(cluster, id) >= index;
        }
        if (all) {
            return;
        }
    }
    if (cluster_failure(cluster) == NULL && run->damage && has_lost_entry(run)) {
        run->blocked = true; /* The operator's to repair. */
        return;
    }
    if (cluster_failure(cluster) == NULL) {
        cluster_fail(cluster, "no progress %llu ms after the faults stopped", (unsigned long long)(LIVE_NS / MS));
    }
}

static void tell_status(struct cluster *cluster, unsigned id)
{
    struct raftcore_status status;
    if (!cluster_is_up(cluster, id)) {
        printf("n%u down\n", id);
        return;
    }
    raftcore_status(cluster_core(cluster, id), &status);
    printf("n%u %s term %" PRIu64 " vote %" PRIu64 " limit %" PRIu64 "/%" PRIu64 " floor %" PRIu64 "/%" PRIu64
           " log [%" PRIu64 ", %" PRIu64 "] durable %" PRIu64 " commit %" PRIu64 " applied %" PRIu64
           " snapshot %" PRIu64 " holes %u units %" PRIu64 "/%" PRIu64 " unapplied %" PRIu64 "\n",
           id, raftcore_role_text(status.role), status.hard_state.term, status.hard_state.vote,
           status.hard_state.term_limit, status.term_limit_in_force, status.hard_state.floor_term,
           status.hard_state.floor_index, status.first_index, status.last_index, status.durable_index,
           status.hard_state.commit, status.applied, status.snapshot.index, status.hole_count, status.durable_sequence,
           status.last_sequence, status.unapplied_bytes);
    for (uint32_t i = 0; i < status.configuration.count; i++) {
        printf("   member %" PRIu64 " flags %u\n", status.configuration.members[i].id,
               status.configuration.members[i].flags);
    }
    for (uint32_t i = 0; i < status.peer_count; i++) {
        const struct raftcore_peer_status *peer = &status.peers[i];
        printf("   peer %" PRIu64 " state %u match %" PRIu64 " next %" PRIu64
               " inflight %u paused %d damaged %d snapshot %" PRIu64 " at %" PRIu64 "\n",
               peer->id, peer->state, peer->match, peer->next, peer->inflight, peer->paused, peer->damaged,
               peer->snapshot_index, peer->snapshot_offset);
    }
}

bool nemesis_run(uint64_t seed, bool trace, struct nemesis_result *result)
{
    struct cluster_options options = {.seed = seed, .trace = trace ? stdout : NULL};
    uint64_t draw = seed * 0x9e3779b97f4a7c15U;
    options.voters = 1 + (unsigned)((draw >> 60) % 5);
    options.spares = (unsigned)((draw >> 57) % 3);
    options.drop = (draw >> 50) % 2 == 0 ? 0 : 100;
    options.duplicate = (draw >> 48) % 2 == 0 ? 0 : 100;
    options.delay = (draw >> 46) % 2 == 0 ? 0 : 200;
    options.delay_ns = (draw >> 44) % 2 == 0 ? 20 * MS : 2000 * MS;
    options.disk_ns = (draw >> 42) % 2 == 0 ? 2 * MS : 40 * MS;
    options.damage = draw % THEMES == DAMAGE || (draw >> 40) % 8 == 0;
    options.core.lease_reads = (draw >> 18) % 4 == 0;
    options.core.no_check_quorum = !options.core.lease_reads && (draw >> 16) % 4 == 0;
    options.core.check_everything = true;
    options.core.message_entries = (draw >> 36) % 2 == 0 ? 0 : 3;
    options.core.cache_bytes = (draw >> 34) % 2 == 0 ? 0 : 64;
    options.core.window_messages = (draw >> 32) % 2 == 0 ? 0 : 2;
    options.core.uncommitted_bytes = (draw >> 30) % 2 == 0 ? 0 : 4096;
    options.core.unapplied_bytes = (draw >> 28) % 2 == 0 ? 0 : 4096;
    options.core.no_pre_vote = (draw >> 24) % 8 == 0;
    options.core.units_max = (draw >> 20) % 4 == 0 ? 4 : 0;
    struct run run = {.nodes = options.voters + options.spares, .voters = options.voters, .damage = options.damage};
    run.theme = (enum theme)(draw % THEMES);
    run.leases = options.core.lease_reads;
    run.cluster = cluster_new(&options);
    if ((draw >> 22) % 2 == 0) {
        cluster_set_snapshots(run.cluster, 5 + (draw >> 10) % 40, (draw >> 8) % 10);
    }
    cluster_run(run.cluster, 3000 * MS);
    if ((draw >> 26) % 4 == 0) {
        cluster_set_scarcity(run.cluster, 20);
    }
    for (unsigned i = 0; i < 160 && cluster_failure(run.cluster) == NULL; i++) {
        disturb(&run);
        cluster_run(run.cluster, cluster_random(run.cluster, i % 4 == 0 ? 800 : 40) * MS);
    }
    if (cluster_failure(run.cluster) == NULL) {
        recover(&run);
    }
    if (cluster_failure(run.cluster) == NULL) {
        cluster_end(run.cluster);
    }
    result->steps += cluster_steps(run.cluster);
    result->committed += cluster_committed(run.cluster);
    result->reads += cluster_reads_answered(run.cluster);
    result->blocked += run.blocked;
    const char *failure = cluster_failure(run.cluster);
    for (unsigned id = 1; failure != NULL && trace && id <= run.nodes; id++) {
        tell_status(run.cluster, id);
    }
    if (failure != NULL) {
        snprintf(result->failure, sizeof(result->failure), "%s", failure);
    }
    bool held = failure == NULL;
    cluster_free(run.cluster);
    return held;
}
