/* cluster_step.c - one step of a core in the cluster: what it asks for is begun, what comes is told to it.
 *
 * The happy path: a thing comes (cluster_carry_out) and becomes an event; cluster_step gives it to the core; messages
 * of the output are posted, units go to the disk, entries to the state machine, each as a thing to come.
 *
 * What can fail: what must hold between nodes, told by cluster_fail.
 *
 * Invariants checked after every step: one leader a term; a new leader has every entry that was applied anywhere; all
 * nodes apply the same entries; every node's state machine has the same history; a read's index is not below what was
 * applied when it was asked; a released payload was held. A core whose memory runs out refuses what the host asks for,
 * which is then offered again, but never what the host reports. */

#include "tests/raft/cluster_parts.h"

#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
    cluster_tell(cluster, "n%u leads term %" PRIu64 ", last %" PRIu64, id, term, status.last_index);
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
    uint64_t value = cluster_value_of(entry);
    node->state = cluster_mix(node->state ^ cluster_mix(entry->term) ^ cluster_mix(value + 1) ^ index);
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
    if (message->to > cluster->count || cluster->cut[from][message->to] || cluster_chance(cluster, options->drop)) {
        return;
    }
    unsigned copies = cluster_chance(cluster, options->duplicate) ? 2 : 1;
    while (copies-- > 0) {
        uint64_t delay = MS / 10 + cluster_random(cluster, MS / 2);
        if (cluster_chance(cluster, options->delay)) {
            delay += cluster_random(cluster, options->delay_ns);
        }
        if (!is_request(message->kind) && cluster_chance(cluster, cluster->late_answers)) {
            delay += 200 * MS + cluster_random(cluster, 1 + cluster_random(cluster, 2000)) * MS;
        }
        struct raftcore_message *copy = parcel_copy(&cluster->arena, message);
        cluster->bytes += parcel_payload_bytes(copy);
        cluster_later(cluster, (struct thing){.kind = THING_MESSAGE, .node = (unsigned)message->to, .message = copy},
                      delay);
    }
}

void cluster_begin_sync(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (node->syncing > 0 || node->disk.pending_count == 0 || node->stalled) {
        return;
    }
    node->syncing = node->disk.pending_count;
    cluster_later(cluster, (struct thing){.kind = THING_PERSIST, .node = id},
                  MS / 20 + cluster_random(cluster, cluster->options.disk_ns));
}

void cluster_begin_apply(struct cluster *cluster, unsigned id)
{
    struct node *node = &cluster->nodes[id];
    if (!node->applying && !node->apply_stopped && node->apply_to > node->applied + 1) {
        node->applying = true;
        cluster_later(cluster, (struct thing){.kind = THING_APPLY, .node = id}, MS / 100);
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
        cluster_begin_sync(cluster, id);
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        post(cluster, id, &output->messages[i]);
    }
    for (uint32_t i = 0; i < output->load_count; i++) {
        const struct raftcore_load *load = &output->loads[i];
        cluster_later(
            cluster,
            (struct thing){.kind = THING_LOAD, .node = id, .a = load->peer, .b = load->first_index, .c = load->count},
            MS / 10);
    }
    if (output->piece.snapshot.index != 0 && output->piece.last) {
        cluster_later(cluster, (struct thing){.kind = THING_WRITTEN, .node = id, .snapshot = output->piece.snapshot},
                      MS);
    }
    if (output->splice.count != 0) {
        for (uint32_t i = 0; i < output->splice.count; i++) {
            uint64_t at = output->splice.first_index + i - node->disk.first_index;
            CHECK(at < node->disk.count);
            if (node->disk.entries[at].term != output->splice.entries[i].term) {
                cluster_fail(cluster, "node %u is to fill a hole with another entry", id);
            }
        }
        cluster_later(cluster,
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
        cluster_tell(cluster, "n%u is set to snapshot %" PRIu64, id, output->restore_index);
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
    cluster_begin_apply(cluster, id);
    if (node->deadline_ns != RAFTCORE_INFINITY) {
        uint64_t clock = cluster->now_ns + node->clock_ahead_ns;
        uint64_t wait = node->deadline_ns > clock ? node->deadline_ns - clock : 0;
        if (node->time_thing_at <= cluster->now_ns || cluster->now_ns + wait < node->time_thing_at) {
            node->time_thing_at = cluster->now_ns + wait;
            cluster_later(cluster, (struct thing){.kind = THING_TIME, .node = id}, wait);
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
    cluster_later(cluster, (struct thing){.kind = THING_IDLE, .node = id, .a = sequence}, 50 * MS);
    (void)cluster_step(cluster, id, &event);
    cluster_begin_sync(cluster, id);
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

void cluster_carry_out(struct cluster *cluster, const struct thing *thing)
{
    struct node *node = &cluster->nodes[thing->node];
    struct raftcore_event event = {0};
    switch (thing->kind) {
    case THING_MESSAGE:
        event.kind = RAFTCORE_RECEIVE;
        event.receive = thing->message;
        cluster_tell(
            cluster, "n%u <- n%" PRIu64 " %s term %" PRIu64 " index %" PRIu64 "/%" PRIu64 " +%u commit %" PRIu64 "%s%s",
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
