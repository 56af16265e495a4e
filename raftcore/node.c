/* node.c - events in, items out: the loop that joins core, log and snapshots.
 *
 * The happy path: a call becomes an event; the core's output is carried out at once: its unit goes to the log, its
 * messages are encoded, its entries to be applied are noted; what blocks becomes a job (node_work.c). raftcore_node_run
 * tells the core what has become durable and lets the log write, so that all units of one turn of the loop share one
 * sync. raftcore_node_next gives out what is to be done.
 *
 * What can fail, and what is left: the log or the core; then the node has failed, says why, and gives nothing out any
 * more. Memory for a message: the message is lost, as the network may lose it. Memory for reading entries back: they
 * did not read this time. Memory for anything else: the node has failed.
 *
 * Invariants: a payload lives as long as the core holds an entry with it; the core's events are stepped one after
 * another, never from inside an output; entries are given out once each, in order.
 *
 * May include: node_parts.h, zoo.h, bytes.h, check.h. */

#include "raftcore/node_parts.h"

#include "raftcore/zoo.h"
#include "wal/bytes.h"
#include "wal/check.h"

#include <errno.h>
#include <stdio.h>

/* --- failing ------------------------------------------------------------------------------------- */

void node_fail(struct raftcore_node *node, const char *what, const char *detail)
{
    if (node->failed[0] == 0) {
        (void)snprintf(node->failed, sizeof(node->failed), "%s%s%s", what, detail[0] == 0 ? "" : ": ", detail);
    }
    node->deadline_ns = RAFTCORE_INFINITY;
}

const char *raftcore_node_failed(const struct raftcore_node *node)
{
    return node->failed[0] == 0 ? NULL : node->failed;
}

/* --- what comes out of a step -------------------------------------------------------------------- */

struct queued *node_queue(struct raftcore_node *node, uint32_t kind)
{
    if (!memory_reserve_row(&node->memory, (void **)&node->items, &node->item_capacity, &node->item_head,
                            node->item_count, sizeof(*node->items), 1)) {
        node_fail(node, "out of memory for what is to be done", "");
        return NULL;
    }
    struct queued *queued = &node->items[node->item_head + node->item_count++];
    *queued = (struct queued){.item = {.kind = kind}};
    return queued;
}

static void queue_message(struct raftcore_node *node, const struct raftcore_message *message)
{
    size_t size = codec_message_bytes(message);
    uint8_t *bytes = size == 0 ? NULL : memory_resize(&node->memory, NULL, 0, NODE_ENVELOPE_BYTES + size);
    if (bytes == NULL) {
        return; /* Lost, as the network may lose it. */
    }
    store_u64_le(bytes, node->options.cluster_id);
    uint8_t *piece = codec_encode_message(message, bytes + NODE_ENVELOPE_BYTES);
    if (piece != NULL && message->piece == NULL) {
        /* So many are enough for all peers; a peer that asks again and again does not make it more. */
        struct job *job = node->jobs < NODE_JOBS_MAX ? node_job(node, JOB_PIECE) : NULL;
        if (job == NULL) {
            memory_resize(&node->memory, bytes, NODE_ENVELOPE_BYTES + size, 0);
            return;
        }
        job->peer = message->to;
        job->index = message->index;
        job->offset = message->offset;
        job->bytes = message->piece_bytes;
        job->message = bytes;
        job->message_bytes = NODE_ENVELOPE_BYTES + size;
        job->piece = piece;
        node_start_job(node, job);
        return;
    }
    struct queued *queued = node_queue(node, RAFTCORE_ITEM_SEND);
    if (queued != NULL) {
        queued->item.peer = message->to;
        queued->bytes = bytes;
        queued->size = NODE_ENVELOPE_BYTES + size;
    }
}

/* Told as durable before it is: what tests must notice. */
static bool is_told_early(const struct raftcore_unit *unit, uint32_t role)
{
    (void)role;
    return unit->sequence != 0 && ((ZOO(vote_told_early) && unit->entry_count == 0 && unit->truncate_from == 0) ||
                                   (ZOO(follower_told_early) && unit->entry_count > 0 && role != RAFTCORE_LEADER) ||
                                   (ZOO(leader_told_early) && unit->entry_count > 0 && role == RAFTCORE_LEADER) ||
                                   (ZOO(truncation_told_early) && unit->truncate_from != 0));
}

static void take_unit(struct raftcore_node *node, const struct raftcore_output *output)
{
    const struct raftcore_unit *unit = &output->unit;
    node->last_unit_ns = node->now_ns;
    for (uint32_t i = 0; i < unit->entry_count; i++) {
        if (unit->entries[i].reserved == 0 && unit->entries[i].size > 0) {
            payload_refer(unit->entries[i].data);
        }
    }
    if (storage_persist(&node->storage, unit) != 0) {
        node_follow(node, &(struct raftcore_event){.kind = RAFTCORE_PERSIST_FAILED});
    } else if (is_told_early(unit, output->role)) {
        node->told_sequence = unit->sequence;
        node_follow(node,
                    &(struct raftcore_event){.kind = RAFTCORE_PERSISTED,
                                             .persisted = {.sequence = unit->sequence, .covered = node->told_covered}});
    }
}

static void take_loads(struct raftcore_node *node, const struct raftcore_output *output)
{
    for (uint32_t i = 0; i < output->load_count; i++) {
        struct job *job = node_job(node, JOB_LOAD);
        if (job == NULL) { /* The core asks again; told nothing, it would wait for these for ever. */
            node_follow(node, &(struct raftcore_event){.kind = RAFTCORE_LOADED,
                                                       .loaded = {.peer = output->loads[i].peer,
                                                                  .first_index = output->loads[i].first_index}});
            continue;
        }
        job->peer = output->loads[i].peer;
        job->first_index = output->loads[i].first_index;
        job->capacity = output->loads[i].count;
        job->bytes = output->loads[i].bytes;
        node_start_job(node, job);
    }
}

static void take_splice(struct raftcore_node *node, const struct raftcore_splice *splice)
{
    node_claim_worker(node);
    int status = storage_splice(&node->storage, splice->first_index, splice->entries, splice->count);
    node_release_worker(node);
    if (status == 0 && node->log_fd >= 0) {
        status = node_watch_log(node);
    }
    node_follow(node, &(struct raftcore_event){.kind = RAFTCORE_SPLICED,
                                               .spliced = {.first = splice->first_index,
                                                           .last = splice->first_index + splice->count - 1,
                                                           .failed = status != 0}});
}

static void take_results(struct raftcore_node *node, const struct raftcore_output *output, bool is_refused_proposal)
{
    for (uint32_t i = 0; i < output->proposal_count && !is_refused_proposal; i++) {
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_PROPOSED);
        if (queued != NULL) {
            queued->item.context = output->proposals[i].context;
            queued->item.index = output->proposals[i].first_index;
            queued->item.term = output->proposals[i].term;
            queued->item.reason = output->proposals[i].reason;
        }
    }
    for (uint32_t i = 0; i < output->read_count; i++) {
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_READ);
        if (queued != NULL) {
            queued->item.context = output->reads[i].context;
            queued->item.index = output->reads[i].index;
            queued->item.reason = output->reads[i].reason;
        }
    }
}

static void take_state(struct raftcore_node *node, const struct raftcore_output *output)
{
    if (output->role_changed || output->configuration_changed) {
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_ROLE);
        if (queued != NULL) {
            struct raftcore_status status;
            raftcore_status(node->core, &status);
            queued->item.role = output->role;
            queued->item.peer = output->leader;
            queued->item.term = status.hard_state.term;
        }
    }
    if (output->restore_index != 0) {
        struct queued *queued = node_queue(node, RAFTCORE_ITEM_RESTORE);
        const struct snapshot_info *info = snapshot_store_find(&node->snapshots, output->restore_index);
        if (queued != NULL && info != NULL) {
            queued->item.index = output->restore_index;
            queued->size = info->header.state_bytes;
            node->is_empty = true;
            node->apply_next = output->restore_index + 1; /* What was to be applied before is in it. */
            node->apply_end = output->restore_index + 1;
        }
    }
    if (output->apply_to > output->apply_from) {
        CHECK(output->apply_from == node->apply_end);
        node->apply_end = output->apply_to;
    }
    if (output->snapshot_wanted) {
        node->applied_bytes = node->options.snapshot_bytes;
        node_look_for_snapshot(node);
    }
    if (output->compact_to != 0) {
        node_compact(node, output->compact_to);
    }
}

static void carry_out(struct raftcore_node *node, const struct raftcore_output *output, bool is_refused_proposal)
{
    if (output->role == RAFTCORE_BROKEN) {
        const char *text = raftcore_broken(node->core);
        node_fail(node, node->storage.text[0] != 0 ? node->storage.text : (text != NULL ? text : "broken"), "");
        return;
    }
    if (output->unit.sequence != 0) {
        take_unit(node, output);
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        queue_message(node, &output->messages[i]);
    }
    take_loads(node, output);
    take_results(node, output, is_refused_proposal);
    take_state(node, output);
    if (output->piece.snapshot.index != 0) {
        node_take_piece(node, &output->piece);
    }
    if (output->splice.count > 0) {
        take_splice(node, &output->splice);
    }
    for (uint32_t i = 0; i < output->released_count; i++) {
        payload_let_go(&node->memory, output->released[i].data);
    }
    node->deadline_ns = output->deadline_ns;
}

/* --- stepping ------------------------------------------------------------------------------------ */

void node_follow(struct raftcore_node *node, const struct raftcore_event *event)
{
    CHECK(node->event_count < NODE_EVENTS_MAX);
    node->events[node->event_count++] = *event;
}

static int step_one(struct raftcore_node *node, struct raftcore_event *event)
{
    const struct raftcore_output *output;
    event->now_ns = node->now_ns;
    int reason = raftcore_step(node->core, event, &output);
    carry_out(node, output, event->kind == RAFTCORE_PROPOSE && reason != 0);
    return reason;
}

int node_step(struct raftcore_node *node, struct raftcore_event *event)
{
    CHECK(!node->in_step);
    if (node->failed[0] != 0) {
        return -EIO;
    }
    node->in_step = true;
    int reason = step_one(node, event);
    while (node->event_count > 0 && node->failed[0] == 0) {
        struct raftcore_event next = node->events[0];
        node->event_count--;
        memmove(node->events, node->events + 1, node->event_count * sizeof(next));
        (void)step_one(node, &next);
    }
    node->in_step = false;
    return node->failed[0] != 0 ? -EIO : reason;
}

static void see_time(struct raftcore_node *node, uint64_t now_ns)
{
    node->now_ns = now_ns > node->now_ns ? now_ns : node->now_ns;
}

static void take_completions(struct raftcore_node *node)
{
    uint64_t sequence, covered;
    int status = storage_poll(&node->storage, &sequence, &covered);
    sequence = sequence < node->told_sequence ? node->told_sequence : sequence;
    if (status != 0) {
        (void)node_step(node, &(struct raftcore_event){.kind = RAFTCORE_PERSIST_FAILED});
    } else if (sequence > node->told_sequence || covered > node->told_covered) {
        node->told_sequence = sequence;
        node->told_covered = covered;
        (void)node_step(node, &(struct raftcore_event){.kind = RAFTCORE_PERSISTED,
                                                       .persisted = {.sequence = sequence, .covered = covered}});
    }
}

int raftcore_node_run(struct raftcore_node *node, uint64_t now_ns)
{
    see_time(node, now_ns);
    if (node->failed[0] != 0) {
        return -EIO;
    }
    take_completions(node);
    node_finish_jobs(node);
    if (node->failed[0] == 0 && node->now_ns >= node->deadline_ns) {
        (void)node_step(node, &(struct raftcore_event){.kind = RAFTCORE_TIME});
    }
    if (node->failed[0] == 0 && storage_submit(&node->storage) != 0) {
        (void)node_step(node, &(struct raftcore_event){.kind = RAFTCORE_PERSIST_FAILED});
    }
    return node->failed[0] != 0 ? -EIO : 0;
}

uint64_t raftcore_node_deadline_ns(const struct raftcore_node *node)
{
    const uint64_t soon_ns = node->now_ns + 10000000; /* A log without room is asked again. */
    return node->failed[0] == 0 && storage_waiting(&node->storage) > 0 && soon_ns < node->deadline_ns
               ? soon_ns
               : node->deadline_ns;
}

/* --- events of the caller's ---------------------------------------------------------------------- */

static bool has_entries_room(struct raftcore_node *node, uint32_t count)
{
    return memory_reserve(&node->memory, (void **)&node->entries, &node->entry_capacity, sizeof(*node->entries), count);
}

/* What one unit may hold, for the log to take it as one append. */
static bool fits_a_unit(const struct raftcore_node *node, uint64_t count, uint64_t bytes)
{
    uint32_t batch_bytes = storage_wal_options(&node->storage, 0).batch_bytes_max;
    batch_bytes = batch_bytes == 0 ? 2U << 20 : batch_bytes;
    return bytes + count * 32 + 1024 <= batch_bytes;
}

int raftcore_node_propose(struct raftcore_node *node, uint64_t now_ns, const struct raftcore_command *commands,
                          uint32_t count, uint64_t context)
{
    see_time(node, now_ns);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += commands[i].size;
    }
    if (node->failed[0] != 0) {
        return -EIO;
    }
    if (count == 0 || count > RAFTCORE_ENTRIES_MAX || !fits_a_unit(node, count, bytes)) {
        return RAFTCORE_REASON_TOO_MANY;
    }
    struct payload_block *block = has_entries_room(node, count) ? payload_take(&node->memory, count, bytes) : NULL;
    if (block == NULL) {
        return RAFTCORE_REASON_MEMORY;
    }
    size_t used = 0;
    payload_list(node, block);
    for (uint32_t i = 0; i < count; i++) {
        node->entries[i] = (struct raftcore_entry){
            .data = payload_put(block, &used, commands[i].data, commands[i].size), .size = commands[i].size};
    }
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE,
                                   .propose = {.entries = node->entries, .count = count, .context = context}};
    int reason = node_step(node, &event);
    payload_drop(&node->memory, block);
    return reason;
}

/* Payloads out of the message's bytes, which are the caller's. 0; or the reason why not. */
static int keep_payloads(struct raftcore_node *node, const struct raftcore_message *message,
                         struct payload_block **kept)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        bytes += message->entries[i].size;
    }
    if (message->kind != RAFTCORE_FETCH_ANSWER && !fits_a_unit(node, message->entry_count, bytes)) {
        return RAFTCORE_REASON_TOO_MANY; /* A peer with larger limits than this node's. */
    }
    struct payload_block *block = payload_take(&node->memory, message->entry_count, bytes);
    if (block == NULL) {
        return RAFTCORE_REASON_MEMORY;
    }
    size_t used = 0;
    payload_list(node, block);
    for (uint32_t i = 0; i < message->entry_count; i++) {
        struct raftcore_entry *entry = &node->entries[i];
        entry->data = payload_put(block, &used, entry->data, entry->size);
    }
    *kept = block;
    return 0;
}

int raftcore_node_receive(struct raftcore_node *node, uint64_t now_ns, const void *bytes, size_t size)
{
    see_time(node, now_ns);
    if (node->failed[0] != 0) {
        return -EIO;
    }
    if (size <= NODE_ENVELOPE_BYTES || load_u64_le(bytes) != node->options.cluster_id) {
        return RAFTCORE_REASON_INVALID;
    }
    if (!has_entries_room(node, RAFTCORE_ENTRIES_MAX)) {
        return RAFTCORE_REASON_MEMORY;
    }
    struct raftcore_message message;
    struct raftcore_configuration configuration;
    int status = codec_decode_message((const uint8_t *)bytes + NODE_ENVELOPE_BYTES, size - NODE_ENVELOPE_BYTES,
                                      &message, node->entries, RAFTCORE_ENTRIES_MAX, &configuration);
    if (status != 0) {
        return RAFTCORE_REASON_INVALID;
    }
    struct payload_block *block = NULL;
    int reason = message.entry_count > 0 ? keep_payloads(node, &message, &block) : 0;
    if (reason != 0) {
        return reason;
    }
    reason = node_step(node, &(struct raftcore_event){.kind = RAFTCORE_RECEIVE, .receive = &message});
    if (block != NULL) {
        payload_drop(&node->memory, block);
    }
    return reason;
}

int raftcore_node_read(struct raftcore_node *node, uint64_t now_ns, uint64_t context, bool lease)
{
    see_time(node, now_ns);
    return node_step(node,
                     &(struct raftcore_event){.kind = RAFTCORE_READ, .read = {.context = context, .lease = lease}});
}

int raftcore_node_change(struct raftcore_node *node, uint64_t now_ns, const struct raftcore_change *changes,
                         uint32_t count, uint32_t transition)
{
    see_time(node, now_ns);
    return node_step(
        node, &(struct raftcore_event){.kind = RAFTCORE_CHANGE,
                                       .change = {.changes = changes, .count = count, .transition = transition}});
}

int raftcore_node_transfer(struct raftcore_node *node, uint64_t now_ns, uint64_t to)
{
    see_time(node, now_ns);
    return node_step(node, &(struct raftcore_event){.kind = RAFTCORE_TRANSFER_LEADERSHIP, .transfer = {.to = to}});
}

int raftcore_node_campaign(struct raftcore_node *node, uint64_t now_ns, bool roll_call)
{
    see_time(node, now_ns);
    return node_step(node, &(struct raftcore_event){.kind = RAFTCORE_CAMPAIGN, .campaign = {.roll_call = roll_call}});
}

int raftcore_node_unreachable(struct raftcore_node *node, uint64_t now_ns, uint64_t peer)
{
    see_time(node, now_ns);
    return node_step(node, &(struct raftcore_event){.kind = RAFTCORE_UNREACHABLE, .unreachable = {.peer = peer}});
}

int raftcore_node_applied(struct raftcore_node *node, uint64_t now_ns, uint64_t index)
{
    see_time(node, now_ns);
    if (index > node->last_given || index < node->applied) {
        return RAFTCORE_REASON_INVALID;
    }
    node->applied = index;
    node->is_empty = node->is_empty && (node->restore_index == 0 || index < node->restore_index);
    int reason = node_step(node, &(struct raftcore_event){.kind = RAFTCORE_APPLIED, .applied = {.index = index}});
    node_look_for_snapshot(node);
    return reason;
}

/* --- giving out ---------------------------------------------------------------------------------- */

static bool give_entry(struct raftcore_node *node, struct raftcore_item *item, const struct raftcore_entry *entry)
{
    *item = (struct raftcore_item){.kind = RAFTCORE_ITEM_APPLY,
                                   .type = entry->type,
                                   .index = node->apply_next,
                                   .term = entry->term,
                                   .data = entry->data,
                                   .size = entry->size};
    node->applied_bytes += entry->size + 24;
    node->last_given = node->apply_next++;
    return true;
}

/* Entries that the core does not hold come from the log. */
static bool next_entry(struct raftcore_node *node, struct raftcore_item *item)
{
    struct raftcore_entry entry;
    if (node->apply_next >= node->apply_end) {
        return false;
    }
    if (raftcore_entry(node->core, node->apply_next, &entry)) {
        return give_entry(node, item, &entry);
    }
    struct job *replay = node->replay;
    bool is_there = replay != NULL && node->apply_next >= replay->first_index &&
                    node->apply_next - replay->first_index < replay->count;
    if (is_there) {
        return give_entry(node, item, &replay->entries[node->apply_next - replay->first_index]);
    }
    if (!node->replay_wanted && node->now_ns >= node->replay_not_before_ns) {
        struct job *job = node_job(node, JOB_REPLAY);
        if (job != NULL) {
            uint64_t count = node->apply_end - node->apply_next;
            job->first_index = node->apply_next;
            job->capacity = count < 1024 ? (uint32_t)count : 1024;
            job->bytes = 1U << 20;
            node->replay_wanted = true;
            node_start_job(node, job);
        }
    }
    return false;
}

bool raftcore_node_next(struct raftcore_node *node, struct raftcore_item *item)
{
    if (node->current.bytes != NULL) {
        memory_resize(&node->memory, node->current.bytes, node->current.size, 0);
        node->current.bytes = NULL;
    }
    if (node->failed[0] != 0) {
        return false;
    }
    if (node->item_count == 0) {
        return next_entry(node, item);
    }
    node->current = node->items[node->item_head];
    node->item_head++;
    node->item_count--;
    *item = node->current.item;
    item->data = node->current.bytes;
    item->size = node->current.size;
    if (item->kind == RAFTCORE_ITEM_RESTORE) {
        node->last_given = node->restore_index = item->index;
    }
    return true;
}

/* --- what there is to know ----------------------------------------------------------------------- */

void raftcore_node_status(const struct raftcore_node *node, struct raftcore_status *status)
{
    raftcore_status(node->core, status);
}

enum raftcore_outcome raftcore_node_outcome(const struct raftcore_node *node, uint64_t index, uint64_t term)
{
    return raftcore_outcome(node->core, index, term);
}

void raftcore_node_log_stats(const struct raftcore_node *node, struct wal_stats *stats)
{
    if (node->storage.log != NULL) { /* A repaired log could not be opened; the node has failed. */
        wal_stats(node->storage.log, stats);
    } else {
        memset(stats, 0, sizeof(*stats));
    }
}
