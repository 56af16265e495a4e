/* cluster_asks.c - what a test does to the cluster, and asks of it.
 *
 * The happy path: a few lines each; what is done is done at the time that the cluster has reached.
 *
 * What can fail: nothing here. Invariants: none but those of the cluster. */

#include "tests/raft/cluster_parts.h"

#include "wal/check.h"

#include <inttypes.h>
#include <string.h>

/* --- for the tests ------------------------------------------------------------------------------- */

const char *cluster_failure(const struct cluster *cluster)
{
    return cluster->failure[0] == 0 ? NULL : cluster->failure;
}

uint64_t cluster_now(const struct cluster *cluster)
{
    return cluster->now_ns;
}

uint64_t cluster_steps(const struct cluster *cluster)
{
    return cluster->steps;
}

struct raftcore *cluster_core(struct cluster *cluster, unsigned id)
{
    return cluster->nodes[id].core;
}

bool cluster_is_up(const struct cluster *cluster, unsigned id)
{
    return cluster->nodes[id].core != NULL;
}

void cluster_link(struct cluster *cluster, unsigned from, unsigned to, bool works)
{
    cluster->cut[from][to] = !works;
}

void cluster_isolate(struct cluster *cluster, unsigned id, bool isolated)
{
    cluster_tell(cluster, "n%u is %s", id, isolated ? "cut off" : "connected");
    for (unsigned other = 1; other <= cluster->count; other++) {
        cluster->cut[id][other] = cluster->cut[other][id] = isolated;
    }
}

void cluster_heal(struct cluster *cluster)
{
    cluster_tell(cluster, "the network heals");
    memset(cluster->cut, 0, sizeof(cluster->cut));
    cluster->options.drop = cluster->options.duplicate = cluster->options.delay = 0;
    cluster_set_scarcity(cluster, 0);
}

void cluster_set_faults(struct cluster *cluster, unsigned drop, unsigned duplicate, unsigned delay, uint64_t delay_ns)
{
    cluster->options.drop = drop;
    cluster->options.duplicate = duplicate;
    cluster->options.delay = delay;
    cluster->options.delay_ns = delay_ns;
}

void cluster_delay_answers(struct cluster *cluster, unsigned per_thousand)
{
    cluster->late_answers = per_thousand;
}

void cluster_set_scarcity(struct cluster *cluster, uint64_t one_in)
{
    for (unsigned id = 1; id <= cluster->count; id++) {
        cluster->nodes[id].memory.one_in = one_in;
        cluster->nodes[id].memory.random = cluster_mix(cluster->options.seed ^ cluster_mix(id));
    }
}

void cluster_refuse_memory(struct cluster *cluster, unsigned id, uint64_t first, uint64_t count)
{
    struct scarce *memory = &cluster->nodes[id].memory;
    memory->refuse_from = memory->asked + first;
    memory->refuse_until = memory->refuse_from + count;
}

uint64_t cluster_memory_refused(const struct cluster *cluster, unsigned id)
{
    return cluster->nodes[id].memory.refused;
}

void cluster_set_snapshots(struct cluster *cluster, uint64_t every, uint64_t keep)
{
    cluster->snapshot_every = every;
    cluster->snapshot_keep = keep;
}

void cluster_stall_disk(struct cluster *cluster, unsigned id, bool stalled)
{
    cluster->nodes[id].stalled = stalled;
    if (!stalled && cluster->nodes[id].core != NULL) {
        cluster_begin_sync(cluster, id);
    }
}

void cluster_jump_clock(struct cluster *cluster, unsigned id, uint64_t ns)
{
    cluster_tell(cluster, "n%u: the clock jumps by %.3f ms", id, (double)ns / 1e6);
    cluster->nodes[id].clock_ahead_ns += ns;
    cluster->nodes[id].time_thing_at = 0;
    struct raftcore_event event = {.kind = RAFTCORE_TIME};
    (void)cluster_step(cluster, id, &event);
}

void cluster_slow_apply(struct cluster *cluster, unsigned id, bool stopped)
{
    cluster->nodes[id].apply_stopped = stopped;
    if (!stopped && cluster->nodes[id].core != NULL) {
        cluster_begin_apply(cluster, id);
    }
}

bool cluster_has_copy_elsewhere(const struct cluster *cluster, unsigned id)
{
    uint64_t index = cluster->truth_count;
    for (unsigned other = 1; other <= cluster->count; other++) {
        const struct disk *disk = &cluster->nodes[other].disk;
        const struct raftcore_entry *entry = disk_entry(disk, index);
        bool has = index <= disk->snapshot.index || (entry != NULL && entry->term == cluster->truth[index].term);
        if (other != id && (index == 0 || has)) {
            return true;
        }
    }
    return false;
}

bool cluster_holds_elsewhere(const struct cluster *cluster, unsigned id, uint64_t index)
{
    bool held = false;
    for (unsigned other = 1; other <= cluster->count; other++) {
        held = held || (other != id && disk_entry(&cluster->nodes[other].disk, index) != NULL);
    }
    return held;
}

void cluster_damage(struct cluster *cluster, unsigned id, bool tail, uint64_t hole)
{
    struct node *node = &cluster->nodes[id];
    CHECK(node->core == NULL && node->disk.before != NULL);
    if (tail) {
        cluster_tell(cluster, "n%u loses its newest batch", id);
        disk_copy(&node->disk, node->disk.before);
        node->lost_tail = true;
    }
    if (hole > node->disk.snapshot.index && hole <= disk_last(&node->disk) && hole >= node->disk.first_index) {
        cluster_tell(cluster, "n%u cannot read entry %" PRIu64, id, hole);
        node->disk.unreadable[hole - node->disk.first_index] = true;
    }
}

uint64_t cluster_propose(struct cluster *cluster, unsigned id, uint64_t value, uint32_t size)
{
    struct raftcore_status status;
    if (cluster->nodes[id].core == NULL) {
        return 0;
    }
    raftcore_status(cluster->nodes[id].core, &status);
    if (status.role != RAFTCORE_LEADER) {
        return 0;
    }
    char *payload = arena_take(&cluster->arena, size);
    memset(payload, 0, size);
    memcpy(payload, &value, sizeof(value));
    struct raftcore_entry entry = {.data = payload, .size = size};
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE};
    event.propose.entries = &entry;
    event.propose.count = 1;
    event.propose.context = value;
    return cluster_step(cluster, id, &event) == 0 ? status.last_index + 1 : 0;
}

int cluster_read(struct cluster *cluster, unsigned id, bool lease)
{
    struct raftcore_event event = {.kind = RAFTCORE_READ};
    event.read.context = cluster->truth_count;
    event.read.lease = lease;
    return cluster_step(cluster, id, &event);
}

uint64_t cluster_reads_answered(const struct cluster *cluster)
{
    return cluster->reads_answered;
}

unsigned cluster_leader(struct cluster *cluster)
{
    unsigned leader = 0;
    uint64_t highest = 0;
    for (unsigned id = 1; id <= cluster->count; id++) {
        struct raftcore_status status;
        if (cluster->nodes[id].core == NULL) {
            continue;
        }
        raftcore_status(cluster->nodes[id].core, &status);
        if (status.role == RAFTCORE_LEADER && status.hard_state.term > highest) {
            leader = id;
            highest = status.hard_state.term;
        }
    }
    return leader;
}

unsigned cluster_applied(struct cluster *cluster, uint64_t value, uint64_t *index)
{
    uint64_t found = 0;
    for (uint64_t i = 1; i <= cluster->truth_count && found == 0; i++) {
        found = cluster->truth[i].value == value ? i : 0;
    }
    unsigned nodes = 0;
    for (unsigned id = 1; found != 0 && id <= cluster->count; id++) {
        nodes += cluster->nodes[id].core != NULL && cluster->nodes[id].applied >= found;
    }
    if (index != NULL) {
        *index = found;
    }
    return nodes;
}

uint64_t cluster_applied_index(const struct cluster *cluster, unsigned id)
{
    return cluster->nodes[id].applied;
}

uint64_t cluster_committed(const struct cluster *cluster)
{
    return cluster->truth_count;
}

uint64_t cluster_messages(const struct cluster *cluster)
{
    return cluster->messages;
}

uint64_t cluster_bytes(const struct cluster *cluster)
{
    return cluster->bytes;
}

uint64_t cluster_log_bytes(const struct cluster *cluster, unsigned id)
{
    return disk_bytes(&cluster->nodes[id].disk);
}
