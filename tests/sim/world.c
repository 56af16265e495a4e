/* world.c - a cluster in virtual time, with everything in it that a real one has.
 *
 * The happy path: a heap of things to come, ordered by time. Each is carried out: a message reaches a node, a disk
 * completes an operation, a node's time has come, its work is done, a test calls itself back. Whenever a node was given
 * something it is pumped: what it wants sent becomes messages to come, what it wants applied goes into its state
 * machine.
 *
 * A crash takes what a power cut or a kill leaves of all disks of the node at one moment, be it in the middle of a
 * call: then nothing that the call gives out behind that moment counts.
 *
 * What can fail: anything that must hold; the first such thing is kept, and the run ends.
 *
 * Invariants checked: one leader a term; every index is applied with the same content everywhere, now and after every
 * restart; a snapshot restores the state that was there at its index; after a power cut alone no log is uncertain or
 * damaged, and no node is refused. */

#include "tests/sim/world.h"

#include "raftcore/node_parts.h"
#include "tests/sim/node_disk.h"
#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum thing_kind { THING_MESSAGE, THING_DISK, THING_TIME, THING_WORK, THING_APPLY, THING_CALL };

enum { TERMS_MAX = 1 << 16, CLUSTER_ID = 77, PENDING_MAX = 4096 };

struct thing {
    uint64_t at_ns, order;
    enum thing_kind kind;
    unsigned node;
    uint64_t life;
    void *bytes;
    size_t size;
    void (*call)(void *context, uint64_t argument);
    void *context;
    uint64_t argument;
};

struct pending { /* An entry that a slow state machine has not applied yet. */
    uint64_t index, term;
    unsigned type;
    uint8_t *bytes;
    size_t size;
};

struct sim_node {
    struct raftcore_node *node; /* NULL: down. */
    struct node_disk *disk;
    struct node_disk *after; /* What the crash that is under way leaves. */
    unsigned crash_at;       /* In so many moments of its disks; 0: none. */
    bool crash_kills, crashed_by_cut;
    uint64_t life, clock_ahead_ns, log_id;
    bool stalled, slow, lost, made, joins_later;
    bool damaged, looked_at, ever_damaged; /* looked_at: started since the damage. */
    bool disk_thing, work_thing, apply_thing;
    uint64_t time_thing_at_ns;
    uint64_t safe_at_ns; /* No crash before: what is written last must be covered. */
    struct kv kv;
    struct pending *pending;
    unsigned pending_count;
    uint64_t led_term;
};

struct truth {
    uint64_t term, hash;
    uint64_t members; /* Of the entry that holds a configuration: a hash of it. 0: it holds none. */
};

struct world {
    struct world_options options;
    uint64_t random, now_ns, order, sessions;
    unsigned count;
    struct sim_node nodes[WORLD_NODES_MAX + 1];
    bool cut[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1];
    unsigned drop, duplicate, late, corrupt;
    uint64_t delay_ns, disk_ns;
    struct thing *heap;
    uint32_t heap_count, heap_capacity;
    struct truth *truth; /* By index. */
    uint64_t truth_capacity, applied_most;
    unsigned *leader_of_term;
    struct world_watch watch;
    struct world_counts counts;
    struct wal_options wal;
    struct raftcore_configuration members;
    char failure[5000];
};

/* --- small things -------------------------------------------------------------------------------- */

uint64_t world_random(struct world *world, uint64_t bound)
{
    world->random += 0x9e3779b97f4a7c15U;
    return bound == 0 ? 0 : kv_mix(world->random) % bound;
}

static bool chance(struct world *world, unsigned per_thousand)
{
    return per_thousand > 0 && world_random(world, 1000) < per_thousand;
}

static unsigned choose(void *context, unsigned options)
{
    return (unsigned)world_random(context, options);
}

void world_fail(struct world *world, const char *format, ...)
{
    if (world->failure[0] != 0) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(world->failure, sizeof(world->failure), "at %.3f ms: ", (double)world->now_ns / 1e6);
    (void)vsnprintf(world->failure + length, sizeof(world->failure) - (size_t)length, format, arguments);
    va_end(arguments);
    world_tell(world, "FAILED: %s", world->failure);
}

void world_tell(struct world *world, const char *format, ...)
{
    if (world->options.trace == NULL) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    fprintf(world->options.trace, "%11.3f ", (double)world->now_ns / 1e6);
    vfprintf(world->options.trace, format, arguments);
    fputc('\n', world->options.trace);
    va_end(arguments);
}

bool world_is_told(const struct world *world)
{
    return world->options.trace != NULL;
}

const char *world_failure(const struct world *world)
{
    return world->failure[0] == 0 ? NULL : world->failure;
}

struct world_counts *world_counts(struct world *world)
{
    return &world->counts;
}

uint64_t world_now(const struct world *world)
{
    return world->now_ns;
}

uint64_t world_local_ns(const struct world *world, unsigned id)
{
    return world->now_ns + world->nodes[id].clock_ahead_ns;
}

/* --- the heap of things to come ------------------------------------------------------------------ */

static bool comes_first(const struct thing *a, const struct thing *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void later(struct world *world, struct thing thing, uint64_t delay_ns)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = 2 * world->heap_capacity + 64;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof(*world->heap));
        CHECK(world->heap != NULL);
    }
    thing.at_ns = world->now_ns + delay_ns;
    thing.order = world->order++;
    thing.life = world->nodes[thing.node].life;
    uint32_t at = world->heap_count++;
    while (at > 0 && comes_first(&thing, &world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = thing;
}

static struct thing take_first(struct world *world)
{
    struct thing first = world->heap[0];
    struct thing last = world->heap[--world->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= world->heap_count) {
            break;
        }
        if (child + 1 < world->heap_count && comes_first(&world->heap[child + 1], &world->heap[child])) {
            child++;
        }
        if (!comes_first(&world->heap[child], &last)) {
            break;
        }
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}

void world_at(struct world *world, uint64_t delay_ns, void (*call)(void *context, uint64_t argument), void *context,
              uint64_t argument)
{
    later(world, (struct thing){.kind = THING_CALL, .call = call, .context = context, .argument = argument}, delay_ns);
}

/* --- crashes ------------------------------------------------------------------------------------- */

static void take_after(struct world *world, struct sim_node *node)
{
    node->crash_at = 0;
    node->after = node_disk_after(node->disk, node->crash_kills, choose, world);
}

/* A moment at which a cut makes a difference, of one of this node's disks. */
static void on_moment(void *context, struct sim_disk *disk, const char *what)
{
    struct world *world = context;
    (void)what;
    for (unsigned id = 1; id <= world->count; id++) {
        struct sim_node *node = &world->nodes[id];
        if (node->crash_at == 0 || node->after != NULL) {
            continue;
        }
        for (unsigned i = 0; i < node->disk->count; i++) {
            if (node->disk->directories[i].sim == disk && --node->crash_at == 0) {
                take_after(world, node);
                return;
            }
        }
    }
}

static void drop_pending(struct sim_node *node)
{
    for (unsigned i = 0; i < node->pending_count; i++) {
        free(node->pending[i].bytes);
    }
    node->pending_count = 0;
}

/* The crash is over: what counts from now on is what it left. */
static bool crashed(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->after == NULL) {
        return false;
    }
    world_tell(world, "n%u %s", id, node->crash_kills ? "is killed" : "loses power");
    world->counts.crashes++;
    *(node->crash_kills ? &world->counts.kills : &world->counts.cuts) += 1;
    node->crashed_by_cut = !node->crash_kills;
    node_disk_set_hooks(node->disk, &(struct sim_hooks){.choose = choose, .context = world});
    node_disk_mend(node->disk);
    node_disk_hold(node->disk, false);
    if (node->node != NULL) {
        (void)raftcore_node_close(node->node);
    }
    node->node = NULL;
    node_disk_free(node->disk);
    node->disk = node->after;
    node->after = NULL;
    node->life++;
    node->disk_thing = node->work_thing = node->apply_thing = false;
    node->time_thing_at_ns = 0;
    drop_pending(node);
    memset(&node->kv, 0, sizeof(node->kv));
    return true;
}

void world_crash(struct world *world, unsigned id, bool killed, unsigned operation)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node == NULL || world->now_ns < node->safe_at_ns) {
        return;
    }
    node->crash_kills = killed;
    node->crash_at = operation;
    if (operation == 0) {
        take_after(world, node);
        (void)crashed(world, id);
    }
}

/* --- what must hold ------------------------------------------------------------------------------ */

static void check_leader(struct world *world, unsigned id, const struct raftcore_item *item)
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

static void take_entry(struct world *world, unsigned id, const struct raftcore_item *item)
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
        later(world, (struct thing){.kind = THING_APPLY, .node = id}, 30 * MS);
    }
}

/* A slow state machine has time for a few. */
static void apply_some(struct world *world, unsigned id)
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
        later(world, (struct thing){.kind = THING_APPLY, .node = id}, node->slow ? 30 * MS : 1);
    }
    if (count > 0) {
        say_applied(world, id);
    }
}

static void restore(struct world *world, unsigned id, const struct raftcore_item *item)
{
    struct sim_node *node = &world->nodes[id];
    static uint8_t bytes[KV_SNAPSHOT_BYTES];
    drop_pending(node);
    if (item->size != KV_SNAPSHOT_BYTES) {
        world_fail(world, "n%u is to restore a snapshot of %zu bytes", id, item->size);
        return;
    }
    if (raftcore_node_restore(node->node, 0, bytes, sizeof(bytes)) != 0) {
        world_tell(world, "n%u cannot read the snapshot of %" PRIu64, id, item->index);
        world->counts.failures++;
        node->damaged = node->ever_damaged = true;
        node->crash_kills = true;
        take_after(world, node);
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

static void take_snapshot(struct world *world, unsigned id)
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

/* --- the network --------------------------------------------------------------------------------- */

static void send_once(struct world *world, unsigned from, unsigned to, const void *data, size_t size)
{
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    if (chance(world, world->corrupt)) {
        bytes[world_random(world, size)] ^= (uint8_t)(1 + world_random(world, 255));
    }
    uint64_t delay_ns = 200000 + world_random(world, 2 * MS);
    if (chance(world, world->late)) {
        delay_ns += world_random(world, world->delay_ns);
    }
    later(world, (struct thing){.kind = THING_MESSAGE, .node = to, .argument = from, .bytes = bytes, .size = size},
          delay_ns);
}

static void send_message(struct world *world, unsigned from, const struct raftcore_item *item)
{
    unsigned to = (unsigned)item->peer;
    world->counts.messages++;
    if (to == 0 || to > world->count || world->cut[from][to] || chance(world, world->drop)) {
        return;
    }
    send_once(world, from, to, item->data, item->size);
    if (chance(world, world->duplicate)) {
        send_once(world, from, to, item->data, item->size);
    }
}

/* --- one node ------------------------------------------------------------------------------------ */

static void take_item(struct world *world, unsigned id, const struct raftcore_item *item)
{
    const struct world_watch *watch = &world->watch;
    switch (item->kind) {
    case RAFTCORE_ITEM_SEND:
        send_message(world, id, item);
        break;
    case RAFTCORE_ITEM_APPLY:
        take_entry(world, id, item);
        break;
    case RAFTCORE_ITEM_RESTORE:
        restore(world, id, item);
        break;
    case RAFTCORE_ITEM_SNAPSHOT:
        take_snapshot(world, id);
        break;
    case RAFTCORE_ITEM_PROPOSED:
        if (watch->proposed != NULL) {
            watch->proposed(watch->context, id, item->context, item->reason);
        }
        break;
    case RAFTCORE_ITEM_READ:
        if (watch->read != NULL) {
            watch->read(watch->context, id, item->context, item->reason);
        }
        break;
    case RAFTCORE_ITEM_ROLE:
        check_leader(world, id, item);
        break;
    default:
        world_fail(world, "n%u gives out an item of kind %u", id, item->kind);
        break;
    }
}

/* What is to come for this node: its disk, its work, its time. */
static void look_ahead(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    node_disk_hold(node->disk, true);
    if (!node->disk_thing && !node->stalled && node_disk_in_flight(node->disk) > 0) {
        node->disk_thing = true;
        uint64_t late_ns = world_random(world, 40) == 0 ? world_random(world, 60 * MS) : 0;
        late_ns += world->disk_ns == 0 ? 0 : world_random(world, world->disk_ns);
        later(world, (struct thing){.kind = THING_DISK, .node = id}, 300000 + world_random(world, MS) + late_ns);
    }
    if (!node->work_thing) {
        node->work_thing = true;
        bool has_work = raftcore_node_has_work(node->node);
        later(world, (struct thing){.kind = THING_WORK, .node = id},
              has_work ? 100000 + world_random(world, 2 * MS) : 15 * MS);
    }
    uint64_t deadline_ns = raftcore_node_deadline_ns(node->node);
    uint64_t at_ns = deadline_ns - node->clock_ahead_ns;
    at_ns = deadline_ns < node->clock_ahead_ns || at_ns <= world->now_ns ? world->now_ns + 1 : at_ns;
    if (deadline_ns != RAFTCORE_INFINITY && (node->time_thing_at_ns == 0 || at_ns < node->time_thing_at_ns)) {
        node->time_thing_at_ns = at_ns;
        later(world, (struct thing){.kind = THING_TIME, .node = id}, at_ns - world->now_ns);
    }
}

static void node_failed(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    world_tell(world, "n%u has failed: %s", id, raftcore_node_failed(node->node));
    world->counts.failures++;
    node->crash_kills = true;
    take_after(world, node);
    (void)crashed(world, id);
}

void world_pump(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node == NULL || crashed(world, id)) {
        return;
    }
    struct raftcore_item item;
    world->counts.steps++;
    int status = raftcore_node_run(node->node, world_local_ns(world, id));
    while (status == 0 && node->after == NULL && world->failure[0] == 0 && raftcore_node_next(node->node, &item)) {
        take_item(world, id, &item);
    }
    if (crashed(world, id)) {
        return;
    }
    if (raftcore_node_failed(node->node) != NULL) {
        node_failed(world, id);
        return;
    }
    look_ahead(world, id);
}

/* --- starting ------------------------------------------------------------------------------------ */

static void look_at_report(struct world *world, unsigned id, int status, const struct raftcore_node_report *report)
{
    struct sim_node *node = &world->nodes[id];
    world->counts.uncertain += report->uncertain;
    world->counts.rebuilt += report->rebuilt;
    world->counts.holes += report->holes;
    world->counts.refused += status != 0;
    if (node->crashed_by_cut && !node->damaged && report->verdict.kind == WAL_VERDICT_UNCERTAIN) {
        world->counts.uncertain_of_cuts++;
    }
    bool bad = status != 0 || report->uncertain || report->holes > 0 || report->snapshots_damaged > 0;
    node->looked_at = true;
    if (bad && node->ever_damaged) {
        node->damaged = true; /* Damage in a place that nobody needed until now. */
    }
    if (bad && !node->damaged) {
        world_fail(
            world, "n%u finds damage where there is none: status %d, uncertain %d, holes %u, snapshots %u: %s %s", id,
            status, report->uncertain, report->holes, report->snapshots_damaged, report->text, report->verdict.text);
    }
}

void world_start(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node != NULL || node->lost) {
        return;
    }
    struct raftcore_node_report report;
    struct raftcore_node_options options = {.size = sizeof(options),
                                            .core = {.id = id,
                                                     .log_id = node->log_id,
                                                     .seed = world->options.seed * 64 + id + node->life * 1000003,
                                                     .election_timeout_ns = SECOND,
                                                     .piece_bytes = 8192,
                                                     .message_bytes = 4096,
                                                     .cache_bytes = 4096,
                                                     .unapplied_bytes = 64 << 10,
                                                     .uncommitted_bytes = 64 << 10,
                                                     .check_everything = true},
                                            .cluster_id = CLUSTER_ID,
                                            .session = ++world->sessions,
                                            .create = !node->made,
                                            .first_members = node->joins_later ? NULL : &world->members,
                                            .wal = &world->wal,
                                            .snapshot_bytes = world->options.snapshot_bytes,
                                            .keep_entries = 8,
                                            .disk = &node->disk->disk};
    node_disk_hold(node->disk, false);
    int status = raftcore_node_open(NULL, &options, &node->node, &report);
    world->counts.restarts++;
    world_tell(world, "n%u starts: %s, log [%" PRIu64 ", %" PRIu64 "], snapshot %" PRIu64 "%s%s%s, holes %u", id,
               status == 0 ? wal_strerror(0) : report.text, report.first_index, report.last_index,
               report.snapshot_index, report.created ? ", new" : "", report.uncertain ? ", uncertain" : "",
               report.rebuilt ? ", rebuilt" : "", report.holes);
    if (node->after != NULL) { /* Within the open. */
        (void)crashed(world, id);
        return;
    }
    if (status == WAL_ENOSPC) {
        return; /* Another time. */
    }
    look_at_report(world, id, status, &report);
    if (status != 0) {
        node->lost = true;
        return;
    }
    node->made = true;
    world_pump(world, id);
}

bool world_is_lost(const struct world *world, unsigned id)
{
    return world->nodes[id].lost;
}

void world_wipe(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node != NULL) {
        node->crash_kills = true;
        take_after(world, node);
        (void)crashed(world, id);
    }
    world_tell(world, "n%u loses all it had", id);
    node_disk_free(node->disk);
    node->disk = node_disk_new(&(struct sim_hooks){.choose = choose, .moment = on_moment, .context = world});
    node->made = node->lost = node->damaged = node->ever_damaged = false;
    node->joins_later = true;
    node->log_id += 1000;
    world->counts.wipes++;
}

uint64_t world_log_id(const struct world *world, unsigned id)
{
    return world->nodes[id].log_id;
}

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

void world_fail_disk(struct world *world, unsigned id, unsigned operation, int error)
{
    struct sim_node *node = &world->nodes[id];
    struct sim_disk *sim = world_random(world, 3) == 0 ? node_disk_snapshots(node->disk) : node_disk_log(node->disk);
    if (node->node != NULL && sim != NULL && world->now_ns >= node->safe_at_ns) {
        sim_disk_fail(sim, SIM_FAULT_ERROR, sim_disk_operations(sim) + operation, error);
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
        look_ahead(world, id);
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

/* --- looking ------------------------------------------------------------------------------------- */

unsigned world_node_count(const struct world *world)
{
    return world->count;
}

struct raftcore_node *world_node(struct world *world, unsigned id)
{
    return world->nodes[id].node;
}

const struct kv *world_kv(const struct world *world, unsigned id)
{
    return &world->nodes[id].kv;
}

uint64_t world_applied_most(const struct world *world)
{
    return world->applied_most;
}

unsigned world_leader(struct world *world)
{
    unsigned leader = 0;
    uint64_t term = 0;
    for (unsigned id = 1; id <= world->count; id++) {
        struct raftcore_status status;
        if (world->nodes[id].node == NULL) {
            continue;
        }
        raftcore_node_status(world->nodes[id].node, &status);
        if (status.role == RAFTCORE_LEADER && status.hard_state.term > term) {
            term = status.hard_state.term;
            leader = id;
        }
    }
    return leader;
}

uint64_t world_log_entries(struct world *world, unsigned id)
{
    const struct raftcore_node *node = world->nodes[id].node;
    return node == NULL ? 0 : wal_last_index(node->storage.log) + 1 - wal_first_index(node->storage.log);
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

void world_watch(struct world *world, const struct world_watch *watch)
{
    world->watch = *watch;
}

/* --- time ---------------------------------------------------------------------------------------- */

static void do_thing(struct world *world, struct thing *thing)
{
    unsigned id = thing->node;
    struct sim_node *node = &world->nodes[id];
    if (thing->kind == THING_CALL) {
        thing->call(thing->context, thing->argument);
        return;
    }
    if (thing->kind == THING_MESSAGE) {
        if (node->node != NULL && !world->cut[thing->argument][id]) {
            (void)raftcore_node_receive(node->node, world_local_ns(world, id), thing->bytes, thing->size);
            world_pump(world, id);
        }
        free(thing->bytes);
        return;
    }
    if (node->node == NULL || thing->life != node->life) {
        return;
    }
    switch (thing->kind) {
    case THING_DISK:
        node->disk_thing = false;
        if (!node->stalled) {
            node_disk_release(node->disk);
        }
        break;
    case THING_WORK:
        node->work_thing = false;
        if (!node->stalled) {
            (void)raftcore_node_work(node->node);
        }
        break;
    case THING_APPLY:
        apply_some(world, id);
        break;
    default:
        node->time_thing_at_ns = 0;
        break;
    }
    world_pump(world, id);
}

bool world_step(struct world *world)
{
    if (world->failure[0] != 0 || world->heap_count == 0) {
        return false;
    }
    struct thing thing = take_first(world);
    world->now_ns = thing.at_ns;
    do_thing(world, &thing);
    return world->failure[0] == 0;
}

/* --- memory -------------------------------------------------------------------------------------- */

/* Logs are opened by the thousand: their buffers are not to be taken from the system, and cleared, each time. */
static void *allocate(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(memory);
}

static const struct wal_allocator allocator = {.allocate = allocate, .release = release};

/* --- a world's life ------------------------------------------------------------------------------ */

struct world *world_new(const struct world_options *options)
{
    struct world *world = calloc(1, sizeof(*world));
    CHECK(world != NULL);
    world->options = *options;
    world->random = kv_mix(options->seed + 1);
    world->now_ns = SECOND;
    world->count = options->voters;
    world->leader_of_term = calloc(TERMS_MAX, sizeof(*world->leader_of_term));
    CHECK(world->leader_of_term != NULL);
    world->wal = (struct wal_options)WAL_OPTIONS_INIT;
    world->wal.flags = WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE;
    world->wal.block_bytes = SIM_SECTOR_BYTES;
    world->wal.segment_bytes = 32 << 10;
    world->wal.batch_bytes_max = 12 << 10;
    world->wal.idle_mark_ms = 3600000; /* By the node's clock instead, which is virtual. */
    world->wal.segments_max = 40;
    world->wal.allocator = &allocator;
    world->members.count = options->voters;
    for (unsigned id = 1; id <= world->count; id++) {
        struct sim_node *node = &world->nodes[id];
        node->log_id = id;
        node->disk = node_disk_new(&(struct sim_hooks){.choose = choose, .moment = on_moment, .context = world});
        world->members.members[id - 1] =
            (struct raftcore_member){.id = id, .log_id = node->log_id, .flags = RAFTCORE_VOTER};
    }
    return world;
}

void world_free(struct world *world)
{
    for (unsigned id = 1; id <= world->count; id++) {
        struct sim_node *node = &world->nodes[id];
        node->crash_at = 0;
        node_disk_mend(node->disk);
        node_disk_hold(node->disk, false);
        (void)raftcore_node_close(node->node);
        node_disk_free(node->after);
        node_disk_free(node->disk);
        drop_pending(node);
        free(node->pending);
    }
    for (uint32_t i = 0; i < world->heap_count; i++) {
        free(world->heap[i].bytes);
    }
    free(world->heap);
    free(world->truth);
    free(world->leader_of_term);
    free(world);
}
