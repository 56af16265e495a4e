/* script_nodes.c - nodes that do what a script says, one step at a time.
 *
 * The happy path: an event goes into a core, its output is put aside; handling the Ready prints what lies there, makes
 * units durable, lets messages go, applies entries, and says so to the core, which leaves the next Ready.
 *
 * What can fail: an invariant of a core; the first words of it are kept and end up in every command's output.
 *
 * Invariants: messages leave in the order in which the core let them go; units become durable in theirs. */

#include "tests/raft/script_nodes.h"

#include "tests/raft/parcel.h"
#include "wal/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- rows of messages ---------------------------------------------------------------------------- */

void script_row_add(struct script_row *row, struct raftcore_message *message)
{
    if (row->count == row->capacity) {
        row->capacity = 2 * row->capacity + 16;
        row->messages = realloc(row->messages, row->capacity * sizeof(struct raftcore_message *));
        CHECK(row->messages != NULL);
    }
    row->messages[row->count++] = message;
}

struct raftcore_message *script_row_take(struct script_row *row, uint32_t place)
{
    CHECK(place < row->count);
    struct raftcore_message *taken = row->messages[place];
    row->count--;
    memmove(&row->messages[place], &row->messages[place + 1], (row->count - place) * sizeof(struct raftcore_message *));
    return taken;
}

static void row_empty(struct script_row *row)
{
    while (row->count > 0) {
        free(row->messages[--row->count]);
    }
}

/* --- lives --------------------------------------------------------------------------------------- */

struct script_nodes *script_nodes_new(void)
{
    struct script_nodes *nodes = calloc(1, sizeof(*nodes));
    CHECK(nodes != NULL);
    return nodes;
}

void script_node_stop(struct script_node *node)
{
    raftcore_free(node->core);
    node->core = NULL;
    row_empty(&node->outbox);
    node->units_taken = node->append_count = node->apply_count = 0;
    node->restore_index = 0;
    node->written = (struct raftcore_snapshot){0};
    node->splice_first = node->splice_last = 0;
    node->read_count = node->refusal_count = 0;
}

void script_nodes_free(struct script_nodes *nodes)
{
    for (unsigned id = 1; id <= nodes->count; id++) {
        script_node_stop(&nodes->nodes[id]);
        disk_free(&nodes->nodes[id].disk);
        free(nodes->nodes[id].outbox.messages);
    }
    row_empty(&nodes->network);
    free(nodes->network.messages);
    arena_free(&nodes->arena);
    free(nodes);
}

struct script_node *script_node(struct script_nodes *nodes, uint64_t id)
{
    bool is_there = id >= 1 && id <= nodes->count && nodes->nodes[id].core != NULL;
    return is_there ? &nodes->nodes[id] : NULL;
}

static void persist(struct script_nodes *nodes, struct script_node *node, uint32_t count);

int script_node_start(struct script_nodes *nodes, struct script_node *node, struct raftcore_start *start)
{
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = start};
    start->session = ++nodes->sessions;
    start->applied = node->disk.snapshot.index;
    node->applied = node->taken_to = node->give_to = node->disk.snapshot.index;
    node->shown_role = RAFTCORE_FOLLOWER;
    node->shown_leader = 0;
    node->shown_hard = start->hard_state;
    CHECK(raftcore_new(&node->core, &node->options) == 0);
    int reason = script_step(nodes, node, &event);
    if (start->tail == RAFTCORE_TAIL_EXACT && start->hole_count == 0) {
        persist(nodes, node, node->disk.pending_count); /* The unit with which every life begins; nothing to see. */
    }
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    if (status.hard_state.term == start->hard_state.term && status.hard_state.commit == node->disk.snapshot.index) {
        node->shown_hard = status.hard_state; /* Beginning at a snapshot is no news. */
    }
    return reason;
}

/* --- steps --------------------------------------------------------------------------------------- */

struct wanted_load {
    uint64_t peer, first_index;
    uint32_t count;
};

static void answer_load(struct script_nodes *nodes, struct script_node *node, const struct wanted_load *load)
{
    struct raftcore_event event = {.kind = RAFTCORE_LOADED};
    uint32_t count = 0;
    while (count < load->count && disk_entry(&node->disk, load->first_index + count) != NULL) {
        count++;
    }
    event.loaded.peer = load->peer;
    event.loaded.first_index = load->first_index;
    event.loaded.entries = count == 0 ? NULL : disk_entry(&node->disk, load->first_index);
    event.loaded.count = count;
    (void)script_step(nodes, node, &event);
}

static void take_results(struct script_node *node, const struct raftcore_output *output)
{
    for (uint32_t i = 0; i < output->read_count && node->read_count < 64; i++) {
        node->reads[node->read_count++] = output->reads[i];
    }
    for (uint32_t i = 0; i < output->proposal_count && node->refusal_count < 64; i++) {
        if (output->proposals[i].reason != 0) {
            node->refusals[node->refusal_count++] = output->proposals[i];
        }
    }
}

static void take_output(struct script_nodes *nodes, struct script_node *node, const struct raftcore_output *output)
{
    if (output->unit.sequence != 0) {
        struct raftcore_configuration installed;
        (void)raftcore_configuration_at(node->core, output->unit.snapshot.index, &installed);
        disk_issue(&node->disk, &output->unit, &installed);
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        script_row_add(&node->outbox, parcel_copy(&nodes->arena, &output->messages[i]));
    }
    if (output->piece.snapshot.index != 0 && output->piece.last) {
        node->written = output->piece.snapshot;
    }
    if (output->splice.count != 0) {
        node->splice_first = output->splice.first_index;
        node->splice_last = output->splice.first_index + output->splice.count - 1;
    }
    if (output->restore_index != 0) {
        node->restore_index = output->restore_index;
    }
    if (output->apply_to > output->apply_from) {
        node->give_to = output->apply_to - 1;
    }
    take_results(node, output);
}

int script_step(struct script_nodes *nodes, struct script_node *node, struct raftcore_event *event)
{
    const struct raftcore_output *output;
    event->now_ns = node->now_ns;
    int reason = raftcore_step(node->core, event, &output);
    if (nodes->complaint == NULL) {
        nodes->complaint = raftcore_check(node->core);
    }
    take_output(nodes, node, output);
    struct wanted_load loads[16];
    uint32_t count = output->load_count < 16 ? output->load_count : 16;
    for (uint32_t i = 0; i < count; i++) {
        loads[i] = (struct wanted_load){output->loads[i].peer, output->loads[i].first_index, output->loads[i].count};
    }
    for (uint32_t i = 0; i < count; i++) {
        answer_load(nodes, node, &loads[i]);
    }
    return reason;
}

/* --- what is ready ------------------------------------------------------------------------------- */

static bool hard_differs(const struct raftcore_hard_state *a, const struct raftcore_hard_state *b)
{
    return a->term != b->term || a->vote != b->vote || a->commit != b->commit;
}

bool script_is_ready(const struct script_node *node)
{
    if (node->core == NULL) {
        return false;
    }
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    return node->disk.pending_count > node->units_taken || node->outbox.count > 0 || node->give_to > node->taken_to ||
           node->restore_index != 0 || node->written.index != 0 || node->splice_first != 0 || node->read_count > 0 ||
           node->refusal_count > 0 || status.role != node->shown_role || status.leader != node->shown_leader ||
           hard_differs(&status.hard_state, &node->shown_hard);
}

static void print_hard_state(const struct words *words, const struct raftcore_hard_state *hard)
{
    (void)fprintf(words->out, "%sHardState Term:%" PRIu64, words->indent, words_term(words, hard->term));
    if (hard->vote == RAFTCORE_VOTE_SPENT) {
        (void)fputs(" Vote:spent", words->out);
    } else if (hard->vote != 0) {
        (void)fprintf(words->out, " Vote:%" PRIu64, hard->vote);
    }
    (void)fprintf(words->out, " Commit:%" PRIu64 "\n", hard->commit);
}

static void print_news(struct script_node *node, const struct words *words)
{
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    if (status.role != node->shown_role || status.leader != node->shown_leader) {
        (void)fprintf(words->out, "%sLead:%" PRIu64 " State:%s\n", words->indent, status.leader,
                      words_state(status.role));
    }
    if (hard_differs(&status.hard_state, &node->shown_hard)) {
        print_hard_state(words, &status.hard_state);
    }
    node->shown_role = status.role;
    node->shown_leader = status.leader;
    node->shown_hard = status.hard_state;
}

static void print_units(const struct script_node *node, const struct words *words)
{
    bool has_entries = false;
    for (uint32_t i = node->units_taken; i < node->disk.pending_count; i++) {
        const struct disk_unit *pending = &node->disk.pending[i];
        if (pending->unit.install_snapshot) {
            (void)fprintf(words->out, "%sSnapshot ", words->indent);
            words_snapshot(words, &pending->unit.snapshot, &pending->configuration);
            (void)fputc('\n', words->out);
        }
    }
    for (uint32_t i = node->units_taken; i < node->disk.pending_count; i++) {
        const struct disk_unit *pending = &node->disk.pending[i];
        if (pending->unit.entry_count > 0 && !has_entries) {
            (void)fprintf(words->out, "%sEntries:\n", words->indent);
            has_entries = true;
        }
        words_entries(words, pending->unit.first_index, pending->entries, pending->unit.entry_count);
    }
}

static void print_applies(const struct script_node *node, const struct words *words, uint64_t from, uint64_t to)
{
    for (uint64_t index = from; index <= to; index++) {
        const struct raftcore_entry *entry = disk_entry(&node->disk, index);
        CHECK(entry != NULL); /* Only what is durable here is given out. */
        words_entries(words, index, entry, 1);
    }
}

static void print_results(struct script_node *node, const struct words *words)
{
    for (uint32_t i = 0; i < node->read_count; i++) {
        const struct raftcore_read_result *read = &node->reads[i];
        if (read->reason == 0) {
            (void)fprintf(words->out, "%sRead %" PRIu64 " may be answered at %" PRIu64 "\n", words->indent,
                          read->context, read->index);
        } else {
            (void)fprintf(words->out, "%sRead %" PRIu64 " is refused: %s\n", words->indent, read->context,
                          raftcore_reason_text(read->reason));
        }
    }
    for (uint32_t i = 0; i < node->refusal_count; i++) {
        (void)fprintf(words->out, "%sProposal is refused: %s\n", words->indent,
                      raftcore_reason_text(node->refusals[i].reason));
    }
    node->read_count = node->refusal_count = 0;
}

static void send_outbox(struct script_nodes *nodes, struct script_node *node, const struct words *words)
{
    while (node->outbox.count > 0) {
        struct raftcore_message *message = script_row_take(&node->outbox, 0);
        words_message(words, message);
        script_row_add(&nodes->network, message);
    }
}

/* --- the disk ------------------------------------------------------------------------------------ */

static void persist(struct script_nodes *nodes, struct script_node *node, uint32_t count)
{
    if (count == 0) {
        return;
    }
    struct raftcore_event event = {.kind = RAFTCORE_PERSISTED};
    event.persisted.sequence = node->disk.pending[count - 1].unit.sequence;
    event.persisted.covered = event.persisted.sequence; /* The log's idle mark stands behind it. */
    disk_persist(&node->disk, count);
    (void)script_step(nodes, node, &event);
}

static void finish_snapshot_and_splice(struct script_nodes *nodes, struct script_node *node)
{
    if (node->written.index != 0) {
        struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_WRITTEN, .snapshot.snapshot = node->written};
        node->written.index = 0;
        (void)script_step(nodes, node, &event);
    }
    if (node->splice_first != 0) {
        struct raftcore_event event = {.kind = RAFTCORE_SPLICED};
        event.spliced.first = node->splice_first;
        event.spliced.last = node->splice_last;
        for (uint64_t index = node->splice_first; index <= node->splice_last; index++) {
            node->disk.unreadable[index - node->disk.first_index] = false;
        }
        node->splice_first = node->splice_last = 0;
        (void)script_step(nodes, node, &event);
    }
}

static void say_applied(struct script_nodes *nodes, struct script_node *node, uint64_t to)
{
    struct raftcore_event event = {.kind = RAFTCORE_APPLIED, .applied.index = to};
    node->applied = to;
    (void)script_step(nodes, node, &event);
}

/* --- Ready --------------------------------------------------------------------------------------- */

static void print_thread_messages(struct script_node *node, const struct words *words, uint32_t units, uint64_t to)
{
    if (units > 0) {
        const struct raftcore_hard_state *hard = &node->disk.pending[node->disk.pending_count - 1].unit.hard_state;
        (void)fprintf(words->out, "%s%" PRIu64 "->AppendThread MsgStorageAppend Term:%" PRIu64 " Commit:%" PRIu64,
                      words->indent, node->id, words_term(words, hard->term), hard->commit);
        if (hard->vote != 0) {
            (void)fprintf(words->out, " Vote:%" PRIu64, hard->vote);
        }
        (void)fprintf(words->out, " Units:%" PRIu32 "\n", units);
    }
    if (to != 0) {
        (void)fprintf(words->out, "%s%" PRIu64 "->ApplyThread MsgStorageApply up to %" PRIu64 "\n", words->indent,
                      node->id, to);
    }
}

static void restore(struct script_nodes *nodes, struct script_node *node, const struct words *words)
{
    uint64_t index = node->restore_index;
    if (index == 0) {
        return;
    }
    node->restore_index = 0;
    node->taken_to = index > node->taken_to ? index : node->taken_to;
    node->give_to = index > node->give_to ? index : node->give_to;
    (void)fprintf(words->out, "%sRestored to the snapshot at %" PRIu64 "\n", words->indent, index);
    say_applied(nodes, node, index);
}

void script_handle_ready(struct script_nodes *nodes, struct script_node *node, const struct words *words)
{
    uint32_t units = node->disk.pending_count - node->units_taken;
    uint64_t from = node->taken_to + 1, to = node->give_to;
    if (!script_is_ready(node)) {
        (void)fprintf(words->out, "%s<empty Ready>\n", words->indent);
        return;
    }
    (void)fprintf(words->out, "%sReady MustSync=%s:\n", words->indent, units > 0 ? "true" : "false");
    print_news(node, words);
    print_units(node, words);
    if (to >= from) {
        (void)fprintf(words->out, "%sCommittedEntries:\n", words->indent);
        print_applies(node, words, from, to);
        node->taken_to = to;
    }
    print_results(node, words);
    if (!node->asynchronous) {
        persist(nodes, node, units);
    }
    if (node->outbox.count > 0 || (node->asynchronous && (units > 0 || to >= from))) {
        (void)fprintf(words->out, "%sMessages:\n", words->indent);
    }
    send_outbox(nodes, node, words);
    if (node->asynchronous) {
        print_thread_messages(node, words, units, to >= from ? to : 0);
        node->units_taken += units;
        if (units > 0 && node->append_count < SCRIPT_QUEUE_MAX) {
            node->appends[node->append_count++] = units;
        }
        if (to >= from && node->apply_count < SCRIPT_QUEUE_MAX) {
            node->applies[node->apply_count++] = to;
        }
    } else if (to >= from) {
        say_applied(nodes, node, to);
    }
    finish_snapshot_and_splice(nodes, node);
    restore(nodes, node, words);
}

bool script_append_thread(struct script_nodes *nodes, struct script_node *node, const struct words *words)
{
    if (node->append_count == 0) {
        return false;
    }
    uint32_t units = node->appends[0];
    node->append_count--;
    memmove(node->appends, node->appends + 1, node->append_count * sizeof(node->appends[0]));
    node->units_taken -= units;
    (void)fprintf(words->out, "%sDurable: %" PRIu32 " unit%s\n", words->indent, units, units == 1 ? "" : "s");
    persist(nodes, node, units);
    return true;
}

bool script_apply_thread(struct script_nodes *nodes, struct script_node *node, const struct words *words)
{
    if (node->apply_count == 0) {
        return false;
    }
    uint64_t to = node->applies[0];
    node->apply_count--;
    memmove(node->applies, node->applies + 1, node->apply_count * sizeof(node->applies[0]));
    (void)fprintf(words->out, "%sApplied up to %" PRIu64 "\n", words->indent, to);
    say_applied(nodes, node, to);
    return true;
}
