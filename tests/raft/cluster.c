/* cluster.c - a cluster of cores in virtual time: network, disks and clocks from one seed.
 *
 * The happy path: a heap of things to come, ordered by time; each is carried out as a step of one core, and what the
 * step's output asks for becomes new things to come (cluster_step.c). Everything is drawn from one generator, so a seed
 * repeats a run. Here are time and the lives of nodes; what tests change and ask is in cluster_asks.c.
 *
 * What can fail: anything that must hold between nodes; the first such thing is kept, and the run ends.
 *
 * Invariants: of equal times the thing made earlier comes first; a thing of a life that has ended is dropped, a message
 * is not.
 *
 * Time of nodes: virtual time plus what its clock has jumped. */

#include "tests/raft/cluster_parts.h"

#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- small things -------------------------------------------------------------------------------- */

uint64_t cluster_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

uint64_t cluster_random(struct cluster *cluster, uint64_t bound)
{
    cluster->random += 0x9e3779b97f4a7c15U;
    return bound == 0 ? 0 : cluster_mix(cluster->random) % bound;
}

bool cluster_chance(struct cluster *cluster, unsigned per_thousand)
{
    return per_thousand > 0 && cluster_random(cluster, 1000) < per_thousand;
}

void cluster_fail(struct cluster *cluster, const char *format, ...)
{
    if (cluster->failure[0] != 0) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(cluster->failure, sizeof(cluster->failure), "at %.3f ms: ", (double)cluster->now_ns / 1e6);
    vsnprintf(cluster->failure + length, sizeof(cluster->failure) - (size_t)length, format, arguments);
    va_end(arguments);
}

void cluster_tell(struct cluster *cluster, const char *format, ...)
{
    if (cluster->options.trace == NULL) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    fprintf(cluster->options.trace, "%11.3f ", (double)cluster->now_ns / 1e6);
    vfprintf(cluster->options.trace, format, arguments);
    fputc('\n', cluster->options.trace);
    va_end(arguments);
}

uint64_t cluster_value_of(const struct raftcore_entry *entry)
{
    uint64_t value = 0;
    if (entry->type == RAFTCORE_ENTRY_NORMAL && entry->size >= sizeof(value)) {
        memcpy(&value, entry->data, sizeof(value));
    }
    return value;
}

/* --- the heap of things to come ------------------------------------------------------------------ */

static bool comes_first(const struct thing *a, const struct thing *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

void cluster_later(struct cluster *cluster, struct thing thing, uint64_t delay_ns)
{
    if (cluster->heap_count == cluster->heap_capacity) {
        cluster->heap_capacity = 2 * cluster->heap_capacity + 64;
        cluster->heap = realloc(cluster->heap, cluster->heap_capacity * sizeof(*cluster->heap));
        CHECK(cluster->heap != NULL);
    }
    thing.at_ns = cluster->now_ns + delay_ns;
    thing.order = cluster->order++;
    thing.life = thing.kind == THING_MESSAGE ? 0 : cluster->nodes[thing.node].life;
    uint32_t at = cluster->heap_count++;
    while (at > 0 && comes_first(&thing, &cluster->heap[(at - 1) / 2])) {
        cluster->heap[at] = cluster->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    cluster->heap[at] = thing;
}

static struct thing take_first(struct cluster *cluster)
{
    struct thing first = cluster->heap[0];
    struct thing last = cluster->heap[--cluster->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= cluster->heap_count) {
            break;
        }
        if (child + 1 < cluster->heap_count && comes_first(&cluster->heap[child + 1], &cluster->heap[child])) {
            child++;
        }
        if (!comes_first(&cluster->heap[child], &last)) {
            break;
        }
        cluster->heap[at] = cluster->heap[child];
        at = child;
    }
    cluster->heap[at] = last;
    return first;
}

void cluster_run(struct cluster *cluster, uint64_t ns)
{
    uint64_t until = cluster->now_ns + ns;
    while (cluster->failure[0] == 0 && cluster->heap_count > 0 && cluster->heap[0].at_ns <= until) {
        struct thing thing = take_first(cluster);
        cluster->now_ns = thing.at_ns;
        struct node *node = &cluster->nodes[thing.node];
        bool is_for_this_life = thing.kind == THING_MESSAGE || thing.life == node->life;
        if (node->core != NULL && is_for_this_life) {
            cluster_carry_out(cluster, &thing);
        }
        free(thing.message);
    }
    cluster->now_ns = until;
}

/* --- lives --------------------------------------------------------------------------------------- */

static struct raftcore_configuration first_configuration(const struct cluster *cluster, unsigned id)
{
    struct raftcore_configuration configuration = {0};
    for (unsigned voter = 1; id <= cluster->options.voters && voter <= cluster->options.voters; voter++) {
        configuration.members[configuration.count++] =
            (struct raftcore_member){.id = voter, .log_id = 1000 + voter, .flags = RAFTCORE_VOTER};
    }
    return configuration;
}

static void end_core(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    raftcore_free(node->core);
    node->core = NULL;
    if (node->memory.bytes != 0) {
        cluster_fail(cluster, "node %u has not given back %" PRIu64 " bytes", id, node->memory.bytes);
    }
}

void cluster_crash(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (node->core == NULL) {
        return;
    }
    cluster_tell(cluster, "n%u crashes", id);
    end_core(cluster, id);
    node->life++;
    node->syncing = 0;
    node->applying = false;
    node->time_thing_at = 0;
    disk_persist(&node->disk, (uint32_t)cluster_random(cluster, node->disk.pending_count + 1ULL)); /* A3. */
    disk_lose_pending(&node->disk);
}

/* The newest batch does not read any more; a hole opens somewhere else. */
static void damage(struct cluster *cluster, unsigned id, struct raftcore_start *start, struct raftcore_hole *hole)
{
    struct node *node = &cluster->nodes[id];
    struct disk *disk = &node->disk;
    if (node->lost_tail) {
        start->tail = RAFTCORE_TAIL_UNCERTAIN;
    }
    uint64_t first = 0;
    for (uint64_t index = disk->snapshot.index + 1; index <= disk_last(disk); index++) {
        bool unreadable = index >= disk->first_index && disk->unreadable[index - disk->first_index];
        if (unreadable && first == 0) {
            first = index;
            *hole = (struct raftcore_hole){.first = index, .last = index};
        } else if (unreadable && index == hole->last + 1) {
            hole->last = index;
        }
    }
    if (first != 0) {
        hole->anchor_index = hole->last;
        hole->anchor_term = disk->entries[hole->last - disk->first_index].term;
        start->holes = hole;
        start->hole_count = 1;
    }
}

void cluster_restart(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (node->core != NULL) {
        return;
    }
    struct raftcore_options options = cluster->options.core;
    options.size = sizeof(options);
    options.id = id;
    options.log_id = 1000 + id;
    options.seed = cluster_random(cluster, UINT64_MAX);
    options.allocator = scarce_allocator(&node->memory);
    int status = raftcore_new(&node->core, &options);
    for (unsigned again = 0; status == -ENOMEM && again < OFFERS_MAX; again++) {
        status = raftcore_new(&node->core, &options);
    }
    CHECK(status == 0);
    struct raftcore_start start;
    struct raftcore_hole hole;
    disk_start(&node->disk, &start);
    start.session = ++cluster->sessions;
    start.applied = node->disk.snapshot.index;
    damage(cluster, id, &start, &hole);
    node->lost_tail = false;
    node->applied = node->disk.snapshot.index;
    node->apply_to = node->applied + 1;
    node->state = node->applied == 0 ? 0 : cluster->truth[node->applied].state;
    cluster_tell(cluster, "n%u starts: term %" PRIu64 ", last %" PRIu64 "%s%s", id, node->disk.hard.term,
                 disk_last(&node->disk), start.tail != 0 ? ", tail uncertain" : "",
                 start.hole_count > 0 ? ", a hole" : "");
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = &start};
    int reason = cluster_step(cluster, id, &event);
    if (reason != 0) {
        cluster_fail(cluster, "node %u does not start: %s", id, raftcore_reason_text(reason));
    }
}

struct cluster *cluster_new(const struct cluster_options *options)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    CHECK(cluster != NULL && options->voters + options->spares <= CLUSTER_NODES_MAX);
    cluster->options = *options;
    cluster->random = cluster_mix(options->seed + 1);
    cluster->count = options->voters + options->spares;
    if (cluster->options.disk_ns == 0) {
        cluster->options.disk_ns = MS;
    }
    for (unsigned id = 1; id <= cluster->count; id++) {
        struct raftcore_configuration configuration = first_configuration(cluster, id);
        disk_init(&cluster->nodes[id].disk, &cluster->arena, &configuration);
        if (options->damage) {
            struct disk *before = calloc(1, sizeof(*before));
            CHECK(before != NULL);
            disk_init(before, &cluster->arena, &configuration);
            cluster->nodes[id].disk.before = before;
        }
        cluster_restart(cluster, id);
    }
    return cluster;
}

void cluster_end(struct cluster *cluster)
{
    for (unsigned id = 1; id <= cluster->count; id++) {
        end_core(cluster, id);
    }
}

void cluster_free(struct cluster *cluster)
{
    for (unsigned id = 1; id <= cluster->count; id++) {
        end_core(cluster, id);
        disk_free(&cluster->nodes[id].disk);
    }
    while (cluster->heap_count > 0) {
        free(cluster->heap[--cluster->heap_count].message);
    }
    arena_free(&cluster->arena);
    free(cluster->heap);
    free(cluster->truth);
    free(cluster->leader_of_term);
    free(cluster);
}
