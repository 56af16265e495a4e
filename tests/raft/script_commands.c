/* script_commands.c - the commands of a script that have to do with nodes.
 *
 * The happy path: a table names the commands; each takes its words, steps cores through script_nodes.h, and prints what
 * came of it. A command that prints nothing prints "ok".
 *
 * What can fail: words that make no sense and events that a core refuses; both print why, and nothing else happens. */

#define _GNU_SOURCE
#include "tests/raft/script_commands.h"

#include "raftcore/core.h"
#include "tests/raft/parcel.h"
#include "tests/raft/script_tables.h"
#include "wal/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STABILIZE_ROUNDS_MAX = 500 };

typedef void command_run(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words);

/* --- finding ------------------------------------------------------------------------------------- */

/* The node that the word names; NULL with a word to `out`. */
static struct script_node *node_of(struct script_nodes *nodes, const char *word, const struct words *words)
{
    struct script_node *node = word == NULL ? NULL : script_node(nodes, strtoull(word, NULL, 10));
    if (node == NULL) {
        (void)fprintf(words->out, "%s: no such node is up\n", word == NULL ? "?" : word);
    }
    return node;
}

static struct script_node *first_node(struct script_nodes *nodes, const struct script_case *script_case,
                                      const struct words *words)
{
    return node_of(nodes, script_bare(script_case, 0), words);
}

static void step(struct script_nodes *nodes, struct script_node *node, struct raftcore_event *event,
                 const struct words *words)
{
    int reason = script_step(nodes, node, event);
    if (reason != 0) {
        (void)fprintf(words->out, "%srefused: %s\n", words->indent, raftcore_reason_text(reason));
    }
}

/* The nodes that a command is about: those named, or all. Returns how many. */
static unsigned nodes_of(struct script_nodes *nodes, const struct script_case *script_case, uint64_t *ids)
{
    unsigned count = script_ids(script_case, ids, SCRIPT_NODES_MAX);
    if (count == 0) {
        for (unsigned id = 1; id <= nodes->count; id++) {
            ids[count++] = id;
        }
    }
    return count;
}

static bool names_id(const struct script_argument *argument, uint64_t id)
{
    for (unsigned i = 0; argument != NULL && i < argument->count; i++) {
        if (strtoull(argument->values[i], NULL, 10) == id) {
            return true;
        }
    }
    return false;
}

/* --- nodes come and go --------------------------------------------------------------------------- */

static void add_members(struct raftcore_configuration *configuration, const struct script_argument *ids, uint32_t flag)
{
    for (unsigned i = 0; ids != NULL && i < ids->count && configuration->count < RAFTCORE_MEMBERS_MAX; i++) {
        uint64_t id = strtoull(ids->values[i], NULL, 10);
        uint32_t at = configuration->count++;
        for (; at > 0 && configuration->members[at - 1].id > id; at--) {
            configuration->members[at] = configuration->members[at - 1];
        }
        configuration->members[at] = (struct raftcore_member){.id = id, .log_id = 1000 + id, .flags = flag};
    }
}

static struct raftcore_options options_of(const struct script_case *script_case, uint64_t id)
{
    struct raftcore_options options = {.size = sizeof(options), .id = id, .log_id = 1000 + id, .seed = id};
    uint64_t election_ticks = script_number(script_case, "election-tick", 3);
    options.election_timeout_ns = election_ticks * SCRIPT_TICK_NS;
    options.heartbeat_ns = script_number(script_case, "heartbeat-tick", 1) * SCRIPT_TICK_NS;
    options.no_pre_vote = !script_flag(script_case, "prevote", false);
    options.no_check_quorum = !script_flag(script_case, "checkquorum", false);
    options.window_messages = (uint32_t)script_number(script_case, "inflight", 0);
    options.message_bytes = (uint32_t)script_number(script_case, "message-bytes", 0);
    options.uncommitted_bytes = script_number(script_case, "uncommitted-bytes", 0);
    options.unapplied_bytes = script_number(script_case, "unapplied-bytes", 0);
    options.piece_bytes = (uint32_t)script_number(script_case, "piece-bytes", 0);
    options.lease_reads = strcmp(script_word(script_case, "read-only", "safe"), "lease-based") == 0;
    options.no_forwarding = script_flag(script_case, "disable-forwarding", false);
    options.stay_when_removed = !script_flag(script_case, "step-down-on-removal", false);
    return options;
}

static void add_nodes(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    const char *word = script_bare(script_case, 0);
    uint64_t count = word == NULL ? 0 : strtoull(word, NULL, 10);
    uint64_t index = script_number(script_case, "index", 0);
    struct raftcore_configuration configuration = {0};
    add_members(&configuration, script_find(script_case, "voters"), RAFTCORE_VOTER);
    add_members(&configuration, script_find(script_case, "learners"), RAFTCORE_LEARNER);
    if (count == 0 || count > SCRIPT_NODES_MAX - nodes->count) {
        (void)fprintf(words->out, "add-nodes wants 1 to %d nodes\n", SCRIPT_NODES_MAX - (int)nodes->count);
        return;
    }
    if (index > 0) {
        nodes->base = 1;
    }
    uint64_t snapshot_id = ++nodes->snapshots;
    for (uint64_t i = 0; i < count; i++) {
        struct script_node *node = &nodes->nodes[++nodes->count];
        node->id = nodes->count;
        node->options = options_of(script_case, node->id);
        node->asynchronous = script_flag(script_case, "async-storage-writes", false);
        disk_init(&node->disk, &nodes->arena, &configuration);
        if (index > 0) {
            node->disk.snapshot =
                (struct raftcore_snapshot){.index = index, .term = 1, .id = snapshot_id, .bytes = 100};
            node->disk.first_index = index + 1;
            node->disk.before_term = 1;
            node->disk.hard = (struct raftcore_hard_state){.term = 1, .commit = index};
        }
        struct raftcore_start start;
        disk_start(&node->disk, &start);
        int reason = script_node_start(nodes, node, &start);
        if (reason != 0) {
            (void)fprintf(words->out, "%" PRIu64 ": refused: %s\n", node->id, raftcore_reason_text(reason));
        }
    }
}

static void crash(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    if (node == NULL) {
        return;
    }
    uint64_t kept = script_number(script_case, "keep", 0);
    script_node_stop(node);
    disk_persist(&node->disk, kept < node->disk.pending_count ? (uint32_t)kept : node->disk.pending_count);
    disk_lose_pending(&node->disk);
}

/* The last `lost` entries are gone, and the log can tell that something is, or cannot. */
static void lose_tail(struct script_node *node, const char *tail, uint64_t lost, struct raftcore_start *start)
{
    struct disk *disk = &node->disk;
    if (strcmp(tail, "lost") == 0 && disk->count > 0) {
        start->floor_index = disk_last(disk);
        start->floor_term = disk->entries[disk->count - 1].term;
    }
    disk->count -= lost < disk->count ? (uint32_t)lost : disk->count;
    uint64_t floor_term = start->floor_term, floor_index = start->floor_index;
    disk_start(disk, start);
    start->floor_term = floor_term;
    start->floor_index = floor_index;
    start->tail = strcmp(tail, "uncertain") == 0 ? RAFTCORE_TAIL_UNCERTAIN
                  : strcmp(tail, "lost") == 0    ? RAFTCORE_TAIL_ENTRIES_LOST
                                                 : RAFTCORE_TAIL_EXACT;
}

static void restart(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    const char *word = script_bare(script_case, 0);
    uint64_t id = word == NULL ? 0 : strtoull(word, NULL, 10);
    if (id == 0 || id > nodes->count || nodes->nodes[id].core != NULL) {
        (void)fprintf(words->out, "%s: no such node is down\n", word == NULL ? "?" : word);
        return;
    }
    struct script_node *node = &nodes->nodes[id];
    struct raftcore_start start = {0};
    struct raftcore_hole hole;
    const char *tail = script_word(script_case, "tail", "exact");
    if (strcmp(tail, "exact") != 0 && strcmp(tail, "lost") != 0 && strcmp(tail, "uncertain") != 0) {
        (void)fprintf(words->out, "tail=%s: exact, lost or uncertain\n", tail);
        return;
    }
    lose_tail(node, tail, script_number(script_case, "lose", 0), &start);
    const struct script_argument *range = script_find(script_case, "hole");
    if (range != NULL && range->count == 2) {
        hole.first = strtoull(range->values[0], NULL, 10);
        hole.last = hole.anchor_index = strtoull(range->values[1], NULL, 10);
        if (hole.first < node->disk.first_index || hole.last > disk_last(&node->disk) || hole.first > hole.last) {
            (void)fputs("the hole is not within the log\n", words->out);
            return;
        }
        for (uint64_t index = hole.first; index <= hole.last; index++) {
            node->disk.unreadable[index - node->disk.first_index] = true;
        }
        hole.anchor_term = node->disk.entries[hole.last - node->disk.first_index].term;
        start.holes = &hole;
        start.hole_count = 1;
    }
    int reason = script_node_start(nodes, node, &start);
    if (reason != 0) {
        (void)fprintf(words->out, "refused: %s\n", raftcore_reason_text(reason));
    }
}

/* --- events -------------------------------------------------------------------------------------- */

static void run_campaign(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    struct raftcore_event event = {.kind = RAFTCORE_CAMPAIGN};
    event.campaign.roll_call = script_flag(script_case, "roll-call", false);
    event.campaign.at_once = script_flag(script_case, "at-once", false);
    if (node != NULL) {
        step(nodes, node, &event, words);
    }
}

static void run_propose(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    const char *data = script_bare(script_case, 1);
    if (node == NULL || data == NULL) {
        return;
    }
    uint64_t bytes = script_number(script_case, "bytes", strlen(data));
    char *payload = arena_take(&nodes->arena, bytes + 1);
    memset(payload, '.', bytes);
    memcpy(payload, data, strlen(data) < bytes ? strlen(data) : bytes);
    struct raftcore_entry entry = {.data = payload, .size = (uint32_t)bytes};
    struct raftcore_event event = {.kind = RAFTCORE_PROPOSE};
    event.propose.entries = &entry;
    event.propose.count = 1;
    event.propose.context = ++nodes->contexts;
    step(nodes, node, &event, words);
    node->refusal_count = event.propose.context != 0 && node->refusal_count > 0 &&
                                  node->refusals[node->refusal_count - 1].context == event.propose.context
                              ? node->refusal_count - 1
                              : node->refusal_count; /* It has been printed. */
}

static void propose_change(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    struct raftcore_change changes[RAFTCORE_MEMBERS_MAX];
    int count = script_changes(script_case->input, changes, RAFTCORE_MEMBERS_MAX, words->out);
    const char *transition = script_word(script_case, "transition", "auto");
    if (node == NULL || count < 0) {
        return;
    }
    struct raftcore_event event = {.kind = RAFTCORE_CHANGE};
    event.change.changes = changes;
    event.change.count = (uint32_t)count;
    event.change.transition = strcmp(transition, "explicit") == 0   ? RAFTCORE_TRANSITION_EXPLICIT
                              : strcmp(transition, "implicit") == 0 ? RAFTCORE_TRANSITION_IMPLICIT
                                                                    : RAFTCORE_TRANSITION_AUTO;
    event.change.unchecked = !script_flag(script_case, "checked", false);
    step(nodes, node, &event, words);
}

static void read_index(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    const char *context = script_bare(script_case, 1);
    struct raftcore_event event = {.kind = RAFTCORE_READ};
    event.read.context = context == NULL ? 0 : strtoull(context, NULL, 10);
    event.read.lease = script_flag(script_case, "lease", false);
    if (node != NULL) {
        int reason = script_step(nodes, node, &event);
        if (reason != 0 && node->read_count == 0) {
            (void)fprintf(words->out, "refused: %s\n", raftcore_reason_text(reason));
        }
    }
}

static void transfer(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = node_of(nodes, script_word(script_case, "from", NULL), words);
    struct raftcore_event event = {.kind = RAFTCORE_TRANSFER_LEADERSHIP};
    event.transfer.to = script_number(script_case, "to", 0);
    if (node != NULL) {
        step(nodes, node, &event, words);
    }
}

static void step_down(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    struct raftcore_event event = {.kind = RAFTCORE_STEP_DOWN};
    if (node != NULL) {
        step(nodes, node, &event, words);
    }
}

static void report_unreachable(struct script_nodes *nodes, const struct script_case *script_case,
                               const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    const char *peer = script_bare(script_case, 1);
    struct raftcore_event event = {.kind = RAFTCORE_UNREACHABLE};
    event.unreachable.peer = peer == NULL ? 0 : strtoull(peer, NULL, 10);
    if (node != NULL) {
        step(nodes, node, &event, words);
    }
}

static void forget_leader(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    (void)first_node(nodes, script_case, words);
    (void)fputs("raftcore has no such event: raftcore/DESIGN.md, scripts\n", words->out);
}

/* --- time ---------------------------------------------------------------------------------------- */

static void tick(struct script_nodes *nodes, struct script_node *node, uint64_t ticks, const struct words *words)
{
    for (uint64_t i = 0; node != NULL && i < ticks && i < 10000; i++) {
        struct raftcore_event event = {.kind = RAFTCORE_TIME};
        node->now_ns += SCRIPT_TICK_NS;
        step(nodes, node, &event, words);
    }
}

static void tick_some(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    const char *ticks = script_bare(script_case, 1);
    tick(nodes, first_node(nodes, script_case, words), ticks == NULL ? 1 : strtoull(ticks, NULL, 10), words);
}

static void tick_heartbeat(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    tick(nodes, node, node == NULL ? 0 : node->options.heartbeat_ns / SCRIPT_TICK_NS, words);
}

static void tick_election(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    tick(nodes, node, node == NULL ? 0 : node->options.election_timeout_ns / SCRIPT_TICK_NS, words);
}

static void set_election_timeout(struct script_nodes *nodes, const struct script_case *script_case,
                                 const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    if (node != NULL && node->core->election_at_ns != RAFTCORE_INFINITY) {
        node->core->election_at_ns = node->now_ns + script_number(script_case, "timeout", 1) * SCRIPT_TICK_NS;
    }
}

/* --- what nodes want ----------------------------------------------------------------------------- */

static void process_ready(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    uint64_t ids[SCRIPT_NODES_MAX];
    unsigned count = nodes_of(nodes, script_case, ids);
    for (unsigned i = 0; i < count; i++) {
        struct script_node *node = script_node(nodes, ids[i]);
        struct words deeper = {.out = words->out, .base = nodes->base, .indent = count > 1 ? "  " : ""};
        if (node == NULL) {
            continue;
        }
        if (count > 1) {
            (void)fprintf(words->out, "> %" PRIu64 " handling Ready\n", ids[i]);
        }
        script_handle_ready(nodes, node, &deeper);
    }
}

static void process_append_thread(struct script_nodes *nodes, const struct script_case *script_case,
                                  const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    if (node != NULL && !script_append_thread(nodes, node, words)) {
        (void)fputs("no append work to perform\n", words->out);
    }
}

static void process_apply_thread(struct script_nodes *nodes, const struct script_case *script_case,
                                 const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    if (node != NULL && !script_apply_thread(nodes, node, words)) {
        (void)fputs("no apply work to perform\n", words->out);
    }
}

/* --- messages ------------------------------------------------------------------------------------ */

/* What a message prints begins with ids; its kind is the word behind them. */
static bool is_of_type(const struct raftcore_message *message, const char *type)
{
    char *line = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&line, &bytes);
    CHECK(out != NULL);
    struct words words = {.out = out, .indent = ""};
    words_message(&words, message);
    CHECK(fclose(out) == 0);
    char *kind = strchr(line, ' ');
    bool is = kind != NULL && strncmp(kind + 1, type, strlen(type)) == 0 && kind[1 + strlen(type)] == ' ';
    free(line);
    return is;
}

/* The first `most` messages that lie in the row now and go to this node; what they cause is not among them. Returns
 * how many. */
static unsigned deliver(struct script_nodes *nodes, uint64_t to, const char *type, uint64_t most, bool drop,
                        const struct words *words)
{
    struct script_node *node = script_node(nodes, to);
    unsigned delivered = 0;
    uint32_t left = nodes->network.count;
    for (uint32_t place = 0; left > 0 && delivered < most; left--) {
        const struct raftcore_message *message = nodes->network.messages[place];
        if (message->to != to || (type != NULL && !is_of_type(message, type))) {
            place++;
            continue;
        }
        struct raftcore_message *taken = script_row_take(&nodes->network, place);
        if (drop || node == NULL) {
            (void)fprintf(words->out, "%sdropped: ", words->indent);
        }
        words_message(words, taken);
        struct raftcore_event event = {.kind = RAFTCORE_RECEIVE, .receive = taken};
        if (!drop && node != NULL) {
            (void)script_step(nodes, node, &event);
        }
        free(taken);
        delivered++;
    }
    return delivered;
}

static void deliver_messages(struct script_nodes *nodes, const struct script_case *script_case,
                             const struct words *words)
{
    uint64_t ids[SCRIPT_NODES_MAX];
    const struct script_argument *dropped = script_find(script_case, "drop");
    const char *type = script_word(script_case, "type", NULL);
    uint64_t most = script_number(script_case, "count", UINT64_MAX);
    unsigned count = script_ids(script_case, ids, SCRIPT_NODES_MAX), done = 0;
    for (unsigned i = 0; i < count; i++) {
        done += deliver(nodes, ids[i], type, most, false, words);
    }
    for (uint64_t id = 1; id <= nodes->count; id++) {
        if (names_id(dropped, id)) {
            done += deliver(nodes, id, type, most, true, words);
        }
    }
    if (done == 0) {
        (void)fputs("no messages\n", words->out);
    }
}

static void send_snapshot(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    const char *word = script_bare(script_case, 1);
    uint64_t to = word == NULL ? 0 : strtoull(word, NULL, 10);
    struct progress *peer = NULL;
    for (uint32_t i = 0; node != NULL && i < node->core->peer_count; i++) {
        if (node->core->peers[i].id == to) {
            peer = &node->core->peers[i];
        }
    }
    if (peer == NULL || node->disk.snapshot.index == 0) {
        (void)fputs("no such peer, or no snapshot\n", words->out);
        return;
    }
    struct raftcore_message message = {.kind = RAFTCORE_SNAPSHOT,
                                       .flags = RAFTCORE_LAST_PIECE,
                                       .from = node->id,
                                       .to = to,
                                       .log_id = node->options.log_id,
                                       .session = node->core->session,
                                       .to_session = peer->session,
                                       .term = node->core->hard.term,
                                       .stream = peer->stream,
                                       .index = node->disk.snapshot.index,
                                       .log_term = node->disk.snapshot.term,
                                       .snapshot_id = node->disk.snapshot.id,
                                       .snapshot_bytes = node->disk.snapshot.bytes,
                                       .piece_bytes = (uint32_t)node->disk.snapshot.bytes,
                                       .configuration = &node->disk.configuration};
    struct raftcore_message *sent = parcel_copy(&nodes->arena, &message);
    words_message(words, sent);
    script_row_add(&nodes->network, sent);
}

/* --- until nothing happens ----------------------------------------------------------------------- */

static bool has_message(const struct script_nodes *nodes, uint64_t to)
{
    for (uint32_t i = 0; i < nodes->network.count; i++) {
        if (nodes->network.messages[i]->to == to) {
            return true;
        }
    }
    return false;
}

static bool stabilize_node(struct script_nodes *nodes, uint64_t id, unsigned stage, const struct words *deeper)
{
    struct script_node *node = script_node(nodes, id);
    FILE *out = deeper->out;
    if (stage == 1 && has_message(nodes, id)) {
        (void)fprintf(out, "> %" PRIu64 " receiving messages\n", id);
        (void)deliver(nodes, id, NULL, UINT64_MAX, false, deeper);
        return true;
    }
    if (node == NULL) {
        return false;
    }
    if (stage == 0 && script_is_ready(node)) {
        (void)fprintf(out, "> %" PRIu64 " handling Ready\n", id);
        script_handle_ready(nodes, node, deeper);
        return true;
    }
    if (stage == 2 && node->append_count > 0) {
        (void)fprintf(out, "> %" PRIu64 " processing append thread\n", id);
        return script_append_thread(nodes, node, deeper);
    }
    if (stage == 3 && node->apply_count > 0) {
        (void)fprintf(out, "> %" PRIu64 " processing apply thread\n", id);
        return script_apply_thread(nodes, node, deeper);
    }
    return false;
}

static void stabilize(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    uint64_t ids[SCRIPT_NODES_MAX];
    unsigned count = nodes_of(nodes, script_case, ids);
    struct words deeper = {.out = words->out, .base = nodes->base, .indent = "  "};
    bool happened = true;
    for (unsigned round = 0; happened; round++) {
        happened = false;
        if (round == STABILIZE_ROUNDS_MAX) {
            (void)fprintf(words->out, "not stable after %u rounds\n", round);
            return;
        }
        for (unsigned stage = 0; stage < 4; stage++) {
            for (unsigned i = 0; i < count; i++) {
                happened = stabilize_node(nodes, ids[i], stage, &deeper) || happened;
            }
        }
    }
}

/* --- looking ------------------------------------------------------------------------------------- */

static void raft_state(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    (void)script_case;
    for (unsigned id = 1; id <= nodes->count; id++) {
        struct script_node *node = script_node(nodes, id);
        if (node == NULL) {
            (void)fprintf(words->out, "%u: down\n", id);
            continue;
        }
        struct raftcore_status status;
        raftcore_status(node->core, &status);
        bool votes = false;
        for (uint32_t i = 0; i < status.configuration.count; i++) {
            const struct raftcore_member *member = &status.configuration.members[i];
            votes |= member->id == id && (member->flags & (RAFTCORE_VOTER | RAFTCORE_VOTER_OLD)) != 0;
        }
        (void)fprintf(words->out, "%u: %s (%s) Term:%" PRIu64 " Lead:%" PRIu64, id, words_state(status.role),
                      votes ? "Voter" : "Non-Voter", words_term(words, status.hard_state.term), status.leader);
        for (uint32_t i = 0; i < status.hole_count; i++) {
            (void)fprintf(words->out, " hole=[%" PRIu64 ", %" PRIu64 "]", status.holes[i].first, status.holes[i].last);
        }
        if (status.hard_state.floor_index != 0) {
            if (status.hard_state.floor_index == RAFTCORE_INFINITY) {
                (void)fputs(" floor=above-everything", words->out);
            } else {
                (void)fprintf(words->out, " floor=%" PRIu64 "/%" PRIu64,
                              words_log_term(words, status.hard_state.floor_term), status.hard_state.floor_index);
            }
        }
        (void)fputc('\n', words->out);
    }
}

static void print_status(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    if (node == NULL) {
        return;
    }
    struct raftcore_status status;
    raftcore_status(node->core, &status);
    if (status.role != RAFTCORE_LEADER) {
        return;
    }
    struct raftcore_peer_status own = {.id = node->id,
                                       .match = status.durable_index,
                                       .next = status.last_index + 1,
                                       .state = RAFTCORE_REPLICATE,
                                       .active = true};
    bool own_printed = false;
    uint32_t window = node->options.window_messages != 0 ? node->options.window_messages : 256;
    for (uint32_t i = 0; i < status.peer_count; i++) {
        if (!own_printed && status.peers[i].id > own.id) {
            words_progress(words, &own, window);
            own_printed = true;
        }
        words_progress(words, &status.peers[i], window);
    }
    if (!own_printed) {
        words_progress(words, &own, window);
    }
}

static void raft_log(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    const char *word = script_bare(script_case, 0);
    uint64_t id = word == NULL ? 0 : strtoull(word, NULL, 10);
    if (id == 0 || id > nodes->count) {
        (void)fputs("no such node\n", words->out);
        return;
    }
    const struct disk *disk = &nodes->nodes[id].disk;
    if (disk->count == 0) {
        (void)fprintf(words->out, "log is empty: first index=%" PRIu64 ", last index=%" PRIu64 "\n", disk->first_index,
                      disk_last(disk));
    }
    for (uint32_t i = 0; i < disk->count; i++) {
        if (disk->unreadable[i]) {
            (void)fprintf(words->out, "%s?/%" PRIu64 " does not read\n", words->indent, disk->first_index + i);
        } else {
            words_entries(words, disk->first_index + i, &disk->entries[i], 1);
        }
    }
}

static void compact(struct script_nodes *nodes, const struct script_case *script_case, const struct words *words)
{
    struct script_node *node = first_node(nodes, script_case, words);
    const char *word = script_bare(script_case, 1);
    uint64_t index = word == NULL ? 0 : strtoull(word, NULL, 10);
    if (node == NULL) {
        return;
    }
    const struct raftcore_entry *entry = disk_entry(&node->disk, index);
    struct raftcore_configuration configuration;
    if (entry == NULL || !raftcore_configuration_at(node->core, index, &configuration)) {
        (void)fputs("the log does not hold this index\n", words->out);
        return;
    }
    struct raftcore_event event = {.kind = RAFTCORE_SNAPSHOT_TAKEN};
    event.snapshot.snapshot = (struct raftcore_snapshot){.index = index,
                                                         .term = entry->term,
                                                         .id = ++nodes->snapshots,
                                                         .bytes = script_number(script_case, "bytes", 100)};
    event.snapshot.keep = script_number(script_case, "keep", 0);
    int reason = script_step(nodes, node, &event);
    if (reason != 0) {
        (void)fprintf(words->out, "refused: %s\n", raftcore_reason_text(reason));
        return;
    }
    uint64_t keep = event.snapshot.keep < index ? event.snapshot.keep : index;
    disk_compact(&node->disk, &event.snapshot.snapshot, &configuration, index + 1 - keep);
    raft_log(nodes, script_case, words);
}

/* --- the table ----------------------------------------------------------------------------------- */

static const struct command {
    const char *name;
    command_run *run;
    const char *help;
} commands[] = {
    {"add-nodes", add_nodes, "N [voters=(..)] [learners=(..)] [index=I] [prevote=] [checkquorum=] ...: new nodes"},
    {"campaign", run_campaign, "ID [roll-call] [at-once]: asks for votes"},
    {"propose", run_propose, "ID DATA [bytes=N]: an entry"},
    {"propose-conf-change", propose_change, "ID [transition=] [checked]: changes as v1 l2 r3 u4 p5 in the input"},
    {"read", read_index, "ID CONTEXT [lease]: a linearizable read"},
    {"transfer-leadership", transfer, "from=ID to=ID"},
    {"step-down", step_down, "ID"},
    {"report-unreachable", report_unreachable, "ID PEER"},
    {"forget-leader", forget_leader, "ID: not in raftcore"},
    {"tick", tick_some, "ID N: so many ticks"},
    {"tick-heartbeat", tick_heartbeat, "ID: one heartbeat interval"},
    {"tick-election", tick_election, "ID: one election timeout"},
    {"set-randomized-election-timeout", set_election_timeout, "ID timeout=TICKS: from now"},
    {"process-ready", process_ready, "[ID..]: what the core wants of its surroundings"},
    {"process-append-thread", process_append_thread, "ID: the oldest batch becomes durable"},
    {"process-apply-thread", process_apply_thread, "ID: the oldest range is applied"},
    {"deliver-msgs", deliver_messages,
     "[ID..] [type=] [drop=(..)] [count=N]: messages to these nodes, the oldest first"},
    {"send-snapshot", send_snapshot, "FROM TO: one that nobody asked for"},
    {"stabilize", stabilize, "[ID..]: Ready, messages and threads until nothing happens"},
    {"raft-state", raft_state, "a line a node"},
    {"status", print_status, "ID: a leader's view of its peers"},
    {"raft-log", raft_log, "ID: entries that are durable"},
    {"compact", compact, "ID INDEX [keep=N] [bytes=N]: a snapshot there, and the log without what it stands for"},
    {"crash", crash, "ID [keep=UNITS]: units on their way are lost but for the first so many"},
    {"restart", restart, "ID [tail=exact|lost|uncertain] [lose=N] [hole=(A,B)]: from its disk, as damaged"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

void script_commands_help(FILE *out)
{
    for (unsigned i = 0; i < COMMANDS; i++) {
        (void)fprintf(out, "  %s %s\n", commands[i].name, commands[i].help);
    }
    (void)fputs("  log-level NAME: none prints nothing but ok\n"
                "  committed cfg=(..) [cfgj=(..)] idx=(..) and vote cfg=(..) [cfgj=(..)] votes=(y,n,_): quorums\n"
                "  simple, enter-joint [autoleave=], leave-joint: changes as v1 l2 r3 in the input\n",
                out);
}

static void run_one(struct script_player *player, const struct command *command, const struct script_case *script_case,
                    FILE *out)
{
    const char *level = script_word(script_case, "log-level", NULL);
    bool silent = level == NULL ? player->silent : strcmp(level, "none") == 0;
    struct words words = {.out = out, .base = player->nodes->base, .indent = ""};
    FILE *nowhere = NULL;
    if (silent) {
        nowhere = fopen("/dev/null", "w");
        CHECK(nowhere != NULL);
        words.out = nowhere;
    }
    command->run(player->nodes, script_case, &words);
    if (nowhere != NULL) {
        CHECK(fclose(nowhere) == 0);
    }
    if (player->nodes->complaint != NULL) {
        (void)fprintf(out, "BROKEN: %s\n", player->nodes->complaint);
    }
}

bool script_commands_run(struct script_player *player, const struct script_case *script_case, FILE *out)
{
    if (strcmp(script_case->command, "log-level") == 0) {
        const char *level = script_bare(script_case, 0);
        player->silent = level != NULL && strcmp(level, "none") == 0;
        return true;
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, script_case->command) == 0) {
            run_one(player, &commands[i], script_case, out);
            return true;
        }
    }
    return false;
}
