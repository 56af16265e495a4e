/* bench_raft.c - what the Raft core costs by itself: no disk, no network.
 *
 *   bench_raft [--seconds S] [--json]
 *
 * Three cores in one thread hand their messages to one another; a unit is durable at once, in the next event. Cases:
 * entries of 128 bytes proposed 1,000 at a time, and one at a time with each in a message of its own; then 10,000
 * groups of three that are idle: what a heartbeat interval costs a group, and its memory. Allocator calls are counted
 * while the entries go through.
 *
 * What can fail: a core that breaks, said and exit code 1. Invariants: an entry counts when all three cores have given
 * it out for applying; the clock of the cores is the test's, the clock of the figures is CLOCK_MONOTONIC. */

#define _GNU_SOURCE
#include "raftcore/raftcore.h"
#include "wal/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS 1000000ULL

enum { NODES = 3, QUEUE = 4096, ENTRIES = 1 << 14, PAYLOAD_BYTES = 128, GROUPS = 10000, ROUNDS = 5 };

struct queued {
    struct raftcore_message message;
    struct raftcore_entry *entries; /* A ring of the queue's own. */
};

struct group {
    struct raftcore *cores[NODES + 1];
    uint64_t sequence[NODES + 1]; /* Issued, and durable at the next event. */
    uint64_t durable[NODES + 1];
    uint64_t applied[NODES + 1];
};

/* Messages between all cores; first in, first out. */
static struct queued queue[QUEUE];
static struct raftcore_entry entry_ring[ENTRIES];
static uint32_t queue_head, queue_count, entry_at;
static struct group *group_of_queue[QUEUE];
static uint64_t now_ns = MS, steps, allocations, held_bytes;

static void *count_reallocate(void *user, void *memory, size_t old_bytes, size_t new_bytes)
{
    (void)user;
    allocations++;
    held_bytes = held_bytes - old_bytes + new_bytes;
    if (new_bytes == 0) {
        free(memory);
        return NULL;
    }
    return realloc(memory, new_bytes);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void enqueue(struct group *group, const struct raftcore_message *message)
{
    CHECK(queue_count < QUEUE && message->entry_count <= ENTRIES / 4);
    uint32_t place = (queue_head + queue_count++) % QUEUE;
    struct queued *queued = &queue[place];
    queued->message = *message;
    group_of_queue[place] = group;
    if (message->entry_count > 0) {
        if (entry_at + message->entry_count > ENTRIES) {
            entry_at = 0;
        }
        memcpy(entry_ring + entry_at, message->entries, message->entry_count * sizeof(*entry_ring));
        queued->message.entries = entry_ring + entry_at;
        entry_at += message->entry_count;
    }
}

static void step(struct group *group, unsigned node, struct raftcore_event *event)
{
    const struct raftcore_output *output;
    event->now_ns = now_ns;
    (void)raftcore_step(group->cores[node], event, &output);
    steps++;
    if (raftcore_broken(group->cores[node]) != NULL) {
        fprintf(stderr, "bench_raft: %s\n", raftcore_broken(group->cores[node]));
        exit(1);
    }
    if (output->unit.sequence != 0) {
        group->sequence[node] = output->unit.sequence;
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        enqueue(group, &output->messages[i]);
    }
    if (output->apply_to > output->apply_from) {
        group->applied[node] = output->apply_to - 1;
        struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = output->apply_to - 1};
        step(group, node, &applied);
    }
}

static void make_durable(struct group *group, unsigned node)
{
    if (group->durable[node] < group->sequence[node]) {
        struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
        event.persisted.sequence = event.persisted.covered = group->durable[node] = group->sequence[node];
        step(group, node, &event);
    }
}

/* Until nothing is on its way any more. */
static void settle(struct group *group)
{
    bool moved;
    do {
        moved = false;
        for (uint32_t batch = queue_count; batch-- > 0;) {
            struct raftcore_message *message = &queue[queue_head].message;
            struct group *to = group_of_queue[queue_head];
            struct raftcore_event event = {.kind = RAFTCORE_RECEIVE, .receive = message};
            queue_head = (queue_head + 1) % QUEUE;
            queue_count--;
            step(to, (unsigned)message->to, &event);
            moved = true;
        }
        for (unsigned node = 1; group != NULL && node <= NODES; node++) {
            moved = moved || group->durable[node] < group->sequence[node];
            make_durable(group, node);
        }
    } while (moved || queue_count > 0);
    queue_head = entry_at = 0; /* The same memory again: what is measured is the core, not this queue. */
}

/* message_bytes: 0 is the default; PAYLOAD_BYTES has room for one entry. */
static void start_group(struct group *group, uint32_t message_bytes, uint64_t seed)
{
    for (unsigned node = 1; node <= NODES; node++) {
        struct raftcore_options options = {.size = sizeof(options),
                                           .id = node,
                                           .log_id = node,
                                           .seed = seed + node,
                                           .message_bytes = message_bytes,
                                           .window_messages = 1024,
                                           .allocator = {.reallocate = count_reallocate}};
        CHECK(raftcore_new(&group->cores[node], &options) == 0);
        struct raftcore_start start = {.session = 1, .hard_state = {.term_limit = 1024}, .first_index = 1};
        start.configuration.count = NODES;
        for (unsigned member = 0; member < NODES; member++) {
            start.configuration.members[member] = (struct raftcore_member){.id = member + 1, .flags = RAFTCORE_VOTER};
        }
        struct raftcore_event event = {.kind = RAFTCORE_START, .start = &start};
        step(group, node, &event);
    }
    settle(group);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN, .campaign.at_once = true};
    step(group, 1, &event);
    settle(group);
}

static void stop_group(struct group *group)
{
    for (unsigned node = 1; node <= NODES; node++) {
        raftcore_free(group->cores[node]);
    }
}

struct result {
    double per_second;
    uint64_t allocations;
    uint64_t committed;
};

static struct result commit_entries(uint32_t batch, uint32_t message_bytes, double seconds)
{
    static char payload[PAYLOAD_BYTES];
    static struct raftcore_entry entries[1000];
    struct group group = {0};
    struct result result = {0};
    for (uint32_t i = 0; i < batch; i++) {
        entries[i] = (struct raftcore_entry){.data = payload, .size = sizeof(payload)};
    }
    start_group(&group, message_bytes, 7);
    double began = 0;
    uint64_t first = 0;
    for (uint64_t turn = 0;; turn++) {
        if (turn == 2000) { /* The arrays have their sizes now. */
            began = seconds_now();
            first = group.applied[1];
            allocations = 0;
        }
        struct raftcore_event event = {.kind = RAFTCORE_PROPOSE};
        event.propose.entries = entries;
        event.propose.count = batch;
        step(&group, 1, &event);
        settle(&group);
        now_ns += MS / 10;
        if (turn % 64 == 0) { /* The log of terms is one run; the caller compacts as he likes. */
            if (turn > 2000 && seconds_now() - began > seconds) {
                break;
            }
        }
    }
    double took = seconds_now() - began;
    uint64_t all = group.applied[1];
    for (unsigned node = 2; node <= NODES; node++) {
        all = group.applied[node] < all ? group.applied[node] : all;
    }
    result.committed = all - first;
    result.per_second = (double)result.committed / took;
    result.allocations = allocations;
    stop_group(&group);
    return result;
}

struct idle {
    double ns_per_group_and_tick; /* Of a host that only steps, */
    double ns_with_prefetch;      /* and of one that calls raftcore_prefetch two groups and one group ahead. */
    double ns_when_nothing_is_due;
    uint64_t bytes_per_group;
};

/* Every core of every group gets an event that says only that time has passed; returns ns a group. */
static double tell_time(struct group *groups, uint64_t step_ns, bool is_heartbeat, bool looks_ahead, double seconds)
{
    double began = seconds_now();
    uint64_t ticks = 0;
    do {
        now_ns += step_ns;
        for (unsigned i = 0; i < GROUPS; i++) {
            for (unsigned node = 1; node <= NODES; node++) {
                if (looks_ahead && i + 2 < GROUPS) {
                    raftcore_prefetch(groups[i + 2].cores[node], false);
                    raftcore_prefetch(groups[i + 1].cores[node], true);
                }
                struct raftcore_event event = {.kind = RAFTCORE_TIME};
                step(&groups[i], node, &event);
            }
            if (is_heartbeat) {
                settle(&groups[i]);
            }
        }
        ticks++;
    } while (seconds_now() - began < seconds);
    return (seconds_now() - began) * 1e9 / ((double)ticks * GROUPS);
}

static double median(double *rounds)
{
    for (unsigned i = 1; i < ROUNDS; i++) {
        for (unsigned at = i; at > 0 && rounds[at] < rounds[at - 1]; at--) {
            double swapped = rounds[at];
            rounds[at] = rounds[at - 1];
            rounds[at - 1] = swapped;
        }
    }
    return rounds[ROUNDS / 2];
}

/* A tick: time moves by one heartbeat interval, and what falls due is done in every group; then so little that nothing
 * is due. */
static struct idle idle_groups(double seconds)
{
    struct group *groups = calloc(GROUPS, sizeof(*groups));
    struct idle idle = {0};
    CHECK(groups != NULL);
    held_bytes = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        start_group(&groups[i], 0, i * 10ULL);
    }
    idle.bytes_per_group = held_bytes / GROUPS;
    double stepping[ROUNDS], looking_ahead[ROUNDS], nothing[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        stepping[round] = tell_time(groups, 100 * MS, true, false, seconds / ROUNDS);
        looking_ahead[round] = tell_time(groups, 100 * MS, true, true, seconds / ROUNDS);
        nothing[round] = tell_time(groups, 1, false, false, seconds / ROUNDS / 4);
    }
    idle.ns_per_group_and_tick = median(stepping);
    idle.ns_with_prefetch = median(looking_ahead);
    idle.ns_when_nothing_is_due = median(nothing);
    for (unsigned i = 0; i < GROUPS; i++) {
        stop_group(&groups[i]);
    }
    free(groups);
    return idle;
}

int main(int count, char **arguments)
{
    double seconds = 2;
    bool json = false;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--json") == 0) {
            json = true;
        } else if (strcmp(arguments[i], "--seconds") == 0 && i + 1 < count && strtod(arguments[i + 1], NULL) > 0) {
            seconds = strtod(arguments[++i], NULL);
        } else {
            fprintf(stderr, "usage: bench_raft [--seconds S] [--json]\n");
            return 2;
        }
    }
    struct result batched = commit_entries(1000, 0, seconds);
    struct result single = commit_entries(1, PAYLOAD_BYTES, seconds);
    struct idle idle = idle_groups(seconds);
    if (json) {
        printf("{\"schema\":\"bench_raft/1\",\"batched_per_second\":%.0f,\"single_per_second\":%.0f,"
               "\"allocations\":%" PRIu64 ",\"idle_ns_per_group_and_tick\":%.0f,"
               "\"idle_ns_with_prefetch\":%.0f,\"idle_ns_when_nothing_is_due\":%.0f,"
               "\"idle_bytes_per_group\":%" PRIu64 "}\n",
               batched.per_second, single.per_second, batched.allocations + single.allocations,
               idle.ns_per_group_and_tick, idle.ns_with_prefetch, idle.ns_when_nothing_is_due, idle.bytes_per_group);
        return 0;
    }
    printf("three cores, one thread, payloads of %d bytes, nothing but the core:\n", PAYLOAD_BYTES);
    printf("  %.2f million entries a second, 1,000 a proposal (%" PRIu64 " allocator calls in %" PRIu64 " entries)\n",
           batched.per_second / 1e6, batched.allocations, batched.committed);
    printf("  %.2f million entries a second, one a message (%" PRIu64 " allocator calls in %" PRIu64 " entries)\n",
           single.per_second / 1e6, single.allocations, single.committed);
    printf("  %d idle groups of three: %.0f ns a group and heartbeat interval (%.0f ns with raftcore_prefetch), "
           "%.0f ns when nothing is due; %" PRIu64 " bytes a group\n",
           GROUPS, idle.ns_per_group_and_tick, idle.ns_with_prefetch, idle.ns_when_nothing_is_due,
           idle.bytes_per_group);
    return 0;
}
