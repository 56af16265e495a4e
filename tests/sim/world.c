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
 * Invariants checked here: after a power cut alone no log is uncertain or damaged, and no node is refused; those of
 * what is applied in world_apply.c. What goes wrong on purpose is in world_faults.c. */

#include "tests/sim/world_parts.h"

#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CLUSTER_ID = 77 };

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

void world_later(struct world *world, struct thing thing, uint64_t delay_ns)
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
    world_later(world, (struct thing){.kind = THING_CALL, .call = call, .context = context, .argument = argument},
                delay_ns);
}

/* --- crashes ------------------------------------------------------------------------------------- */

void world_take_after(struct world *world, struct sim_node *node)
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
                world_take_after(world, node);
                return;
            }
        }
    }
}

bool world_crashed(struct world *world, unsigned id)
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
    node->led_term = 0; /* To lead a term again is to be noticed. */
    node->disk_thing = node->work_thing = node->apply_thing = false;
    node->time_thing_at_ns = 0;
    world_drop_pending(node);
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
        world_take_after(world, node);
        (void)world_crashed(world, id);
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
    world_later(world,
                (struct thing){.kind = THING_MESSAGE, .node = to, .argument = from, .bytes = bytes, .size = size},
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
        world_take_entry(world, id, item);
        break;
    case RAFTCORE_ITEM_RESTORE:
        world_restore(world, id, item);
        break;
    case RAFTCORE_ITEM_SNAPSHOT:
        world_take_snapshot(world, id);
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
        world_check_leader(world, id, item);
        break;
    default:
        world_fail(world, "n%u gives out an item of kind %u", id, item->kind);
        break;
    }
}

void world_look_ahead(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    node_disk_hold(node->disk, true);
    if (!node->disk_thing && !node->stalled && node_disk_in_flight(node->disk) > 0) {
        node->disk_thing = true;
        uint64_t late_ns = world_random(world, 40) == 0 ? world_random(world, 60 * MS) : 0;
        late_ns += world->disk_ns == 0 ? 0 : world_random(world, world->disk_ns);
        world_later(world, (struct thing){.kind = THING_DISK, .node = id}, 300000 + world_random(world, MS) + late_ns);
    }
    if (!node->work_thing) {
        node->work_thing = true;
        bool has_work = raftcore_node_has_work(node->node);
        world_later(world, (struct thing){.kind = THING_WORK, .node = id},
                    has_work ? 100000 + world_random(world, 2 * MS) : 15 * MS);
    }
    uint64_t deadline_ns = raftcore_node_deadline_ns(node->node);
    uint64_t at_ns = deadline_ns - node->clock_ahead_ns;
    at_ns = deadline_ns < node->clock_ahead_ns || at_ns <= world->now_ns ? world->now_ns + 1 : at_ns;
    if (deadline_ns != RAFTCORE_INFINITY && (node->time_thing_at_ns == 0 || at_ns < node->time_thing_at_ns)) {
        node->time_thing_at_ns = at_ns;
        world_later(world, (struct thing){.kind = THING_TIME, .node = id}, at_ns - world->now_ns);
    }
}

static void node_failed(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    const char *broken = raftcore_broken(node->node->core);
    world_tell(world, "n%u has failed: %s", id, raftcore_node_failed(node->node));
    world->counts.failures++;
    if (broken == NULL || strstr(broken, "storage could not write") == NULL) {
        world_fail(world, "n%u broke a rule of its own: %s", id, raftcore_node_failed(node->node));
    }
    node->crash_kills = true;
    world_take_after(world, node);
    (void)world_crashed(world, id);
}

void world_pump(struct world *world, unsigned id)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node == NULL || world_crashed(world, id)) {
        return;
    }
    struct raftcore_item item;
    world->counts.steps++;
    int status = raftcore_node_run(node->node, world_local_ns(world, id));
    while (status == 0 && node->after == NULL && world->failure[0] == 0 && raftcore_node_next(node->node, &item)) {
        take_item(world, id, &item);
    }
    if (world_crashed(world, id)) {
        return;
    }
    if (raftcore_node_failed(node->node) != NULL) {
        node_failed(world, id);
        return;
    }
    world_look_ahead(world, id);
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
                                                     .lease_reads = world->options.lease_reads,
                                                     .check_everything = true},
                                            .cluster_id = CLUSTER_ID,
                                            .session = ++world->sessions,
                                            .now_ns = world_local_ns(world, id),
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
        (void)world_crashed(world, id);
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

void world_start_and_crash(struct world *world, unsigned id, bool killed, unsigned operation)
{
    struct sim_node *node = &world->nodes[id];
    if (node->node == NULL && !node->lost && world->now_ns >= node->safe_at_ns) {
        node->crash_kills = killed;
        node->crash_at = operation;
    }
    world_start(world, id);
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
        world_take_after(world, node);
        (void)world_crashed(world, id);
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

/* --- looking ------------------------------------------------------------------------------------- */

bool world_lease_reads(const struct world *world)
{
    return world->options.lease_reads;
}

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

uint64_t world_kept_commit(const struct world *world, unsigned id)
{
    const struct raftcore_node *node = world->nodes[id].node;
    return node == NULL ? 0 : node->storage.metadata.hard.commit;
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
        world_apply_some(world, id);
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
        world_drop_pending(node);
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
