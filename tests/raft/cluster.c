/* cluster.c - a cluster of cores in virtual time: network, disks and clocks from one seed.
 *
 * The happy path: a heap of things to come, ordered by time; each is carried out as a step of one core, and what the
 * step's output asks for becomes new things to come. Everything is drawn from one generator, so a seed repeats a run.
 *
 * What can fail: anything that must hold between nodes; the first such thing is kept, and the run ends.
 *
 * Invariants checked after every step: one leader a term; a new leader has every entry that was applied anywhere; all
 * nodes apply the same entries; every node's state machine has the same history; a read's index is not below what was
 * applied when it was asked; a released payload was held. A core whose memory runs out refuses what the host asks for,
 * which is then offered again, but never what the host reports; and at its end it has given everything back.
 *
 * Time of nodes: virtual time plus what its clock has jumped. */

#include "tests/raft/cluster.h"

#include "raftcore/codec.h"
#include "tests/raft/disk.h"
#include "tests/raft/parcel.h"
#include "tests/raft/scarce.h"
#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OFFERS_MAX = 1000 };

enum thing_kind {
    THING_MESSAGE,
    THING_PERSIST,
    THING_IDLE,
    THING_TIME,
    THING_LOAD,
    THING_APPLY,
    THING_WRITTEN,
    THING_SPLICE
};

struct thing {
    uint64_t at_ns;
    uint64_t order; /* Of equal times the earlier made. */
    enum thing_kind kind;
    unsigned node;
    uint64_t life; /* Of the node; another one: it has crashed since. */
    struct raftcore_message *message;
    uint64_t a, b, c;
    struct raftcore_snapshot snapshot;
};

struct node {
    struct raftcore *core; /* NULL: down. */
    struct scarce memory;  /* Of all its cores. */
    struct disk disk;
    uint64_t life;
    uint64_t deadline_ns; /* On the node's clock. */
    uint64_t time_thing_at;
    uint64_t clock_ahead_ns;
    uint32_t syncing; /* Units in the sync that runs; 0: none does. */
    bool stalled, apply_stopped, lost_tail;
    uint64_t applied, apply_to;
    uint64_t state; /* Of the state machine: a hash of all that it applied. */
    bool applying;
    uint64_t last_leader_term;
};

struct truth {
    uint64_t term, value, state;
    uint64_t by_term; /* No leader before this term committed it later: of the node that applied it first. */
};

struct cluster {
    struct cluster_options options;
    uint64_t random, now_ns, steps, order, messages, bytes, sessions, snapshots, reads_answered;
    unsigned count;
    struct node nodes[CLUSTER_NODES_MAX + 1];
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    struct thing *heap;
    uint32_t heap_count, heap_capacity;
    struct arena arena;
    struct truth *truth; /* By index. */
    uint64_t truth_count, truth_capacity;
    unsigned *leader_of_term;
    uint64_t term_capacity;
    uint64_t snapshot_every, snapshot_keep;
    unsigned late_answers;
    char failure[400];
};

/* --- small things -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

uint64_t cluster_random(struct cluster *cluster, uint64_t bound)
{
    cluster->random += 0x9e3779b97f4a7c15U;
    return bound == 0 ? 0 : mix(cluster->random) % bound;
}

static bool chance(struct cluster *cluster, unsigned per_thousand)
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

static void tell(struct cluster *cluster, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct cluster *cluster, const char *format, ...)
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

static uint64_t value_of(const struct raftcore_entry *entry)
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

static void later(struct cluster *cluster, struct thing thing, uint64_t delay_ns)
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

/* --- what must hold between nodes ---------------------------------------------------------------- */

static void check_leader(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    if (status.role != RAFTCORE_LEADER || status.hard_state.term == node->last_leader_term) {
        return;
    }
    uint64_t term = status.hard_state.term;
    node->last_leader_term = term;
    tell(cluster, "n%u leads term %" PRIu64 ", last %" PRIu64, id, term, status.last_index);
    if (term >= cluster->term_capacity) {
        uint64_t grown = 2 * term + 64;
        cluster->leader_of_term = realloc(cluster->leader_of_term, grown * sizeof(*cluster->leader_of_term));
        CHECK(cluster->leader_of_term != NULL);
        memset(cluster->leader_of_term + cluster->term_capacity, 0,
               (grown - cluster->term_capacity) * sizeof(*cluster->leader_of_term));
        cluster->term_capacity = grown;
    }
    if (cluster->leader_of_term[term] != 0) { /* The same node twice is wrong as well. */
        cluster_fail(cluster, "two leaders in term %" PRIu64 ": %u and %u", term, cluster->leader_of_term[term], id);
    }
    cluster->leader_of_term[term] = id;
    /* Leader completeness (section 5.4.3): what was committed in an earlier term is in its log. */
    for (uint64_t index = 1; index <= cluster->truth_count; index++) {
        const struct truth *truth = &cluster->truth[index];
        if (truth->by_term >= term || index < node->disk.first_index) {
            continue;
        }
        bool there = index <= status.last_index && index <= disk_last(&node->disk);
        if (!there || node->disk.entries[index - node->disk.first_index].term != truth->term) {
            cluster_fail(cluster, "leader %u of term %" PRIu64 " has not the entry at %" PRIu64 " that was applied", id,
                         term, index);
        }
    }
}

static uint64_t node_term(const struct node *node)
{
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    return status.hard_state.term;
}

static void apply_one(struct cluster *cluster, unsigned id, uint64_t index, const struct raftcore_entry *entry)
{
    struct node *node = &cluster->nodes[id];
    uint64_t value = value_of(entry);
    node->state = mix(node->state ^ mix(entry->term) ^ mix(value + 1) ^ index);
    if (index >= cluster->truth_capacity) {
        cluster->truth_capacity = 2 * index + 64;
        cluster->truth = realloc(cluster->truth, cluster->truth_capacity * sizeof(*cluster->truth));
        CHECK(cluster->truth != NULL);
    }
    if (index > cluster->truth_count) {
        CHECK(index == cluster->truth_count + 1);
        cluster->truth[index] =
            (struct truth){.term = entry->term, .value = value, .state = node->state, .by_term = node_term(node)};
        cluster->truth_count = index;
    } else if (cluster->truth[index].term != entry->term || cluster->truth[index].value != value ||
               cluster->truth[index].state != node->state) {
        cluster_fail(cluster,
                     "node %u applies another entry at %" PRIu64 ": term %" PRIu64 " value %" PRIu64
                     ", it was term %" PRIu64 " value %" PRIu64,
                     id, index, entry->term, value, cluster->truth[index].term, cluster->truth[index].value);
    }
}

/* --- outputs ------------------------------------------------------------------------------------- */

static bool is_request(uint16_t kind)
{
    return kind == RAFTCORE_PRE_VOTE_REQUEST || kind == RAFTCORE_VOTE_REQUEST || kind == RAFTCORE_APPEND ||
           kind == RAFTCORE_HEARTBEAT || kind == RAFTCORE_SNAPSHOT || kind == RAFTCORE_TIMEOUT_NOW;
}

static void post(struct cluster *cluster, unsigned from, const struct raftcore_message *message)
{
    const struct cluster_options *options = &cluster->options;
    cluster->messages += is_request(message->kind);
    if (message->to > cluster->count || cluster->cut[from][message->to] || chance(cluster, options->drop)) {
        return;
    }
    unsigned copies = chance(cluster, options->duplicate) ? 2 : 1;
    while (copies-- > 0) {
        uint64_t delay = MS / 10 + cluster_random(cluster, MS / 2);
        if (chance(cluster, options->delay)) {
            delay += cluster_random(cluster, options->delay_ns);
        }
        if (!is_request(message->kind) && chance(cluster, cluster->late_answers)) {
            delay += 200 * MS + cluster_random(cluster, 1 + cluster_random(cluster, 2000)) * MS;
        }
        struct raftcore_message *copy = parcel_copy(&cluster->arena, message);
        cluster->bytes += parcel_payload_bytes(copy);
        later(cluster, (struct thing){.kind = THING_MESSAGE, .node = (unsigned)message->to, .message = copy}, delay);
    }
}

static void begin_sync(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (node->syncing > 0 || node->disk.pending_count == 0 || node->stalled) {
        return;
    }
    node->syncing = node->disk.pending_count;
    later(cluster, (struct thing){.kind = THING_PERSIST, .node = id},
          MS / 20 + cluster_random(cluster, cluster->options.disk_ns));
}

static void begin_apply(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (!node->applying && !node->apply_stopped && node->apply_to > node->applied + 1) {
        node->applying = true;
        later(cluster, (struct thing){.kind = THING_APPLY, .node = id}, MS / 100);
    }
}

static void take_snapshot(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (cluster->snapshot_every == 0 || node->applied < node->disk.snapshot.index + cluster->snapshot_every ||
        disk_entry(&node->disk, node->applied) == NULL) {
        return;
    }
    struct raftcore_snapshot snapshot = {.index = node->applied,
                                         .term = disk_entry(&node->disk, node->applied)->term,
                                         .id = ++cluster->snapshots,
                                         .bytes = 1 + cluster_random(cluster, 600000)};
    struct raftcore_configuration configuration;
    CHECK(raftcore_configuration_at(node->core, snapshot.index, &configuration));
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_TAKEN};
    event.snapshot.snapshot = snapshot;
    event.snapshot.keep = cluster->snapshot_keep;
    uint64_t keep = cluster->snapshot_keep < snapshot.index ? cluster->snapshot_keep : snapshot.index;
    if (cluster_step(cluster, id, &event) == 0) {
        disk_compact(&node->disk, &snapshot, &configuration, snapshot.index + 1 - keep);
    }
}

static void take_output(struct cluster *cluster, unsigned id, const struct raftcore_output *output)
{
    struct node *node = &cluster->nodes[id];
    if (output->unit.sequence != 0) {
        struct raftcore_status status;
        raftcore_status(node->core, &status);
        struct raftcore_configuration installed;
        (void)raftcore_configuration_at(node->core, output->unit.snapshot.index, &installed);
        disk_issue(&node->disk, &output->unit, &installed);
        begin_sync(cluster, id);
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        post(cluster, id, &output->messages[i]);
    }
    for (uint32_t i = 0; i < output->load_count; i++) {
        const struct raftcore_load *load = &output->loads[i];
        later(cluster,
              (struct thing){.kind = THING_LOAD, .node = id, .a = load->peer, .b = load->first_index, .c = load->count},
              MS / 10);
    }
    if (output->piece.snapshot.index != 0 && output->piece.last) {
        later(cluster, (struct thing){.kind = THING_WRITTEN, .node = id, .snapshot = output->piece.snapshot}, MS);
    }
    if (output->splice.count != 0) {
        for (uint32_t i = 0; i < output->splice.count; i++) {
            uint64_t at = output->splice.first_index + i - node->disk.first_index;
            CHECK(at < node->disk.count);
            if (node->disk.entries[at].term != output->splice.entries[i].term) {
                cluster_fail(cluster, "node %u is to fill a hole with another entry", id);
            }
        }
        later(cluster,
              (struct thing){.kind = THING_SPLICE,
                             .node = id,
                             .a = output->splice.first_index,
                             .b = output->splice.first_index + output->splice.count - 1},
              MS);
    }
    if (output->restore_index != 0) {
        node->applied = output->restore_index;
        node->apply_to = output->restore_index + 1;
        CHECK(output->restore_index <= cluster->truth_count);
        node->state = cluster->truth[output->restore_index].state;
        tell(cluster, "n%u is set to snapshot %" PRIu64, id, output->restore_index);
    }
    if (output->apply_to > output->apply_from) {
        if (output->apply_from != node->apply_to) {
            cluster_fail(cluster, "node %u: entries from %" PRIu64 " are given out, expected %" PRIu64, id,
                         output->apply_from, node->apply_to);
        }
        node->apply_to = output->apply_to;
    }
    for (uint32_t i = 0; i < output->read_count; i++) {
        const struct raftcore_read_result *read = &output->reads[i];
        cluster->reads_answered += read->reason == 0;
        /* The context is what was applied anywhere when the read was asked: a read must see all of it. */
        if (read->reason == 0 && (read->index < read->context || node->applied < read->index)) {
            cluster_fail(cluster, "node %u answers a read at %" PRIu64 ", asked when %" PRIu64 " was applied", id,
                         read->index, read->context);
        }
    }
}

static int offer(struct cluster *cluster, unsigned id, struct raftcore_event *event)
{
    struct node *node = &cluster->nodes[id];
    const struct raftcore_output *output;
    cluster->steps++;
    event->now_ns = cluster->now_ns + node->clock_ahead_ns;
    int reason = raftcore_step(node->core, event, &output);
    if (raftcore_broken(node->core) != NULL) {
        cluster_fail(cluster, "node %u is broken: %s", id, raftcore_broken(node->core));
        return reason;
    }
    take_output(cluster, id, output);
    node->deadline_ns = output->deadline_ns;
    if (output->role_changed) {
        check_leader(cluster, id);
    }
    if (output->restore_index != 0) {
        struct raftcore_event applied = {.kind = RAFTCORE_APPLIED, .applied.index = output->restore_index};
        return cluster_step(cluster, id, &applied);
    }
    begin_apply(cluster, id);
    if (node->deadline_ns != RAFTCORE_INFINITY) {
        uint64_t clock = cluster->now_ns + node->clock_ahead_ns;
        uint64_t wait = node->deadline_ns > clock ? node->deadline_ns - clock : 0;
        if (node->time_thing_at <= cluster->now_ns || cluster->now_ns + wait < node->time_thing_at) {
            node->time_thing_at = cluster->now_ns + wait;
            later(cluster, (struct thing){.kind = THING_TIME, .node = id}, wait);
        }
    }
    return reason;
}

/* What may be refused for want of memory: the host asks again, a message is lost. Anything else tells the core what has
 * happened, once, and there is nobody to tell it again. */
static bool may_be_refused(uint32_t kind)
{
    return kind == RAFTCORE_START || kind == RAFTCORE_RECEIVE || kind == RAFTCORE_PROPOSE || kind == RAFTCORE_CHANGE ||
           kind == RAFTCORE_READ || kind == RAFTCORE_HOLE_FOUND;
}

int cluster_step(struct cluster *cluster, unsigned id, struct raftcore_event *event)
{
    struct node *node = &cluster->nodes[id];
    int reason = node->core == NULL ? RAFTCORE_REASON_NOT_STARTED : offer(cluster, id, event);
    for (unsigned again = 0; reason == RAFTCORE_REASON_MEMORY && cluster->failure[0] == 0; again++) {
        if (!may_be_refused(event->kind) || again == OFFERS_MAX) {
            cluster_fail(cluster, "node %u refuses an event of kind %u for want of memory", id, event->kind);
        }
        if (event->kind == RAFTCORE_RECEIVE) {
            break;
        }
        reason = offer(cluster, id, event);
    }
    return reason;
}

/* --- things that come ---------------------------------------------------------------------------- */

static void persist(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (node->stalled) {
        node->syncing = 0;
        return;
    }
    uint32_t count = node->syncing;
    uint64_t covered = 0;
    node->syncing = 0;
    CHECK(count > 0 && count <= node->disk.pending_count);
    covered = node->disk.pending[0].unit.sequence - 1; /* This batch stands behind all before it. */
    uint64_t sequence = node->disk.pending[count - 1].unit.sequence;
    disk_persist(&node->disk, count);
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
    event.persisted.sequence = sequence;
    event.persisted.covered = covered;
    later(cluster, (struct thing){.kind = THING_IDLE, .node = id, .a = sequence}, 50 * MS);
    (void)cluster_step(cluster, id, &event);
    begin_sync(cluster, id);
}

/* The log's idle mark: the last batch has another behind it now. */
static void idle(struct cluster *cluster, unsigned id, uint64_t sequence)
{
    struct node *node = &cluster->nodes[id];
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    if (status.durable_sequence == sequence && node->disk.pending_count == 0) {
        struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
        event.persisted.sequence = event.persisted.covered = sequence;
        if (node->disk.before != NULL) {
            disk_copy(node->disk.before, &node->disk);
        }
        (void)cluster_step(cluster, id, &event);
    }
}

static void load(struct cluster *cluster, const struct thing *thing)
{
    struct node *node = &cluster->nodes[thing->node];
    struct raftcore_event event = {.kind = RAFTCORE_LOADED};
    event.loaded.peer = thing->a;
    event.loaded.first_index = thing->b;
    uint32_t count = 0;
    while (count < thing->c && disk_entry(&node->disk, thing->b + count) != NULL) {
        count++;
    }
    event.loaded.entries = count == 0 ? NULL : disk_entry(&node->disk, thing->b);
    event.loaded.count = count;
    (void)cluster_step(cluster, thing->node, &event);
}

static void apply(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    node->applying = false;
    if (node->apply_stopped || node->apply_to <= node->applied + 1) {
        return;
    }
    for (uint64_t index = node->applied + 1; index < node->apply_to; index++) {
        const struct raftcore_entry *entry = disk_entry(&node->disk, index);
        if (entry == NULL) {
            cluster_fail(cluster, "node %u is to apply %" PRIu64 ", which is not durable there", id, index);
            return;
        }
        apply_one(cluster, id, index, entry);
        node->applied = index;
    }
    struct raftcore_event event = {.kind = RAFTCORE_APPLIED, .applied.index = node->applied};
    (void)cluster_step(cluster, id, &event);
    if (node->core != NULL && cluster->failure[0] == 0) {
        take_snapshot(cluster, id);
    }
}

static void carry_out(struct cluster *cluster, const struct thing *thing)
{
    struct node *node = &cluster->nodes[thing->node];
    struct raftcore_event event = {0};
    switch (thing->kind) {
    case THING_MESSAGE:
        event.kind = RAFTCORE_RECEIVE;
        event.receive = thing->message;
        tell(cluster,
             "n%u <- n%" PRIu64 " %s term %" PRIu64 " index %" PRIu64 "/%" PRIu64 " +%u commit %" PRIu64 "%s%s",
             thing->node, thing->message->from, raftcore_message_kind_text(thing->message->kind), thing->message->term,
             thing->message->index, thing->message->log_term, thing->message->entry_count, thing->message->commit,
             (thing->message->flags & RAFTCORE_REFUSED) != 0 ? " refused: " : "",
             (thing->message->flags & RAFTCORE_REFUSED) != 0 ? raftcore_reason_text(thing->message->reason) : "");
        (void)cluster_step(cluster, thing->node, &event);
        break;
    case THING_PERSIST:
        persist(cluster, thing->node);
        break;
    case THING_IDLE:
        idle(cluster, thing->node, thing->a);
        break;
    case THING_TIME:
        if (node->time_thing_at == cluster->now_ns) {
            event.kind = RAFTCORE_TIME;
            (void)cluster_step(cluster, thing->node, &event);
        }
        break;
    case THING_LOAD:
        load(cluster, thing);
        break;
    case THING_APPLY:
        apply(cluster, thing->node);
        break;
    case THING_WRITTEN:
        event.kind = RAFTCORE_SNAPSHOT_WRITTEN;
        event.snapshot.snapshot = thing->snapshot;
        (void)cluster_step(cluster, thing->node, &event);
        break;
    case THING_SPLICE:
        for (uint64_t index = thing->a; index <= thing->b; index++) {
            if (index >= node->disk.first_index && index <= disk_last(&node->disk)) {
                node->disk.unreadable[index - node->disk.first_index] = false;
            }
        }
        event.kind = RAFTCORE_SPLICED;
        event.spliced.first = thing->a;
        event.spliced.last = thing->b;
        (void)cluster_step(cluster, thing->node, &event);
        break;
    }
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
            carry_out(cluster, &thing);
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
    tell(cluster, "n%u crashes", id);
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
    tell(cluster, "n%u starts: term %" PRIu64 ", last %" PRIu64 "%s%s", id, node->disk.hard.term,
         disk_last(&node->disk), start.tail != 0 ? ", tail uncertain" : "", start.hole_count > 0 ? ", a hole" : "");
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
    cluster->random = mix(options->seed + 1);
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
    tell(cluster, "n%u is %s", id, isolated ? "cut off" : "connected");
    for (unsigned other = 1; other <= cluster->count; other++) {
        cluster->cut[id][other] = cluster->cut[other][id] = isolated;
    }
}

void cluster_heal(struct cluster *cluster)
{
    tell(cluster, "the network heals");
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
        cluster->nodes[id].memory.random = mix(cluster->options.seed ^ mix(id));
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
        begin_sync(cluster, id);
    }
}

void cluster_jump_clock(struct cluster *cluster, unsigned id, uint64_t ns)
{
    tell(cluster, "n%u: the clock jumps by %.3f ms", id, (double)ns / 1e6);
    cluster->nodes[id].clock_ahead_ns += ns;
    cluster->nodes[id].time_thing_at = 0;
    struct raftcore_event event = {.kind = RAFTCORE_TIME};
    (void)cluster_step(cluster, id, &event);
}

void cluster_slow_apply(struct cluster *cluster, unsigned id, bool stopped)
{
    cluster->nodes[id].apply_stopped = stopped;
    if (!stopped && cluster->nodes[id].core != NULL) {
        begin_apply(cluster, id);
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
        tell(cluster, "n%u loses its newest batch", id);
        disk_copy(&node->disk, node->disk.before);
        node->lost_tail = true;
    }
    if (hole > node->disk.snapshot.index && hole <= disk_last(&node->disk) && hole >= node->disk.first_index) {
        tell(cluster, "n%u cannot read entry %" PRIu64, id, hole);
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
