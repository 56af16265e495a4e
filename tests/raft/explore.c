/* explore.c - every order of events of a small cluster, as far as the count allows.
 *
 *   raft_explore [--states N] [--terms T] [--proposals P] [--crashes C] [--nodes N]
 *
 * Three cores, their disks and the messages between them are a state. From each state every action is taken: any
 * message is delivered (it stays deliverable for ever: so it may be late, doubled, reordered or lost), a node's units
 * become durable, a node crashes and keeps none of what was on its way, a node campaigns, a leader gets a proposal.
 * Time stands still: timers are the campaigns. Breadth first, states told apart by a hash of all that matters; prints
 * how many were seen.
 *
 * Checked in every state: raftcore_check of every core; one leadership a term, also of the same node; no two logs that
 * agree in a place and differ before it; what is committed anywhere never changes, and is in the log of every later
 * leader. Exit code 0: all held; 1: not, and the actions that lead there are printed; 2: usage. */

#define _GNU_SOURCE
#include "raftcore/core.h"
#include "tests/raft/disk.h"
#include "wal/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NODES_MAX = 5, TERMS_MAX = 8, INDEXES_MAX = 16, MESSAGES_MAX = 250, ENTRIES_MAX = 8 };

struct sent {
    struct raftcore_message message;
    struct raftcore_entry entries[ENTRIES_MAX];
};

struct world {
    struct raftcore *cores[NODES_MAX + 1];
    struct disk disks[NODES_MAX + 1];
    struct sent messages[MESSAGES_MAX]; /* Each once; never taken away. */
    uint32_t message_count;
    uint64_t leader_of_term[TERMS_MAX + 1];
    uint64_t committed[INDEXES_MAX]; /* Terms, by index. */
    uint64_t committed_in[INDEXES_MAX];
    uint32_t crashes, proposals;
    char wrong[200];
};

struct limits {
    uint64_t states, terms, proposals, crashes, nodes;
};

/* One state: how it was come to. */
struct state {
    uint32_t parent;
    uint16_t action;
};

static struct arena arena;
static struct limits limits = {.states = 1000000, .terms = 2, .proposals = 2, .crashes = 1, .nodes = 3};

/* --- worlds -------------------------------------------------------------------------------------- */

static void fail(struct world *world, const char *what, unsigned node)
{
    if (world->wrong[0] == 0) {
        snprintf(world->wrong, sizeof(world->wrong), "node %u: %s", node, what);
    }
}

static void check_logs(struct world *world)
{
    for (unsigned a = 1; a <= limits.nodes; a++) {
        for (unsigned b = a + 1; b <= limits.nodes; b++) {
            if (world->cores[a] == NULL || world->cores[b] == NULL) {
                continue; /* The first world is being made. */
            }
            const struct log *one = &world->cores[a]->log, *other = &world->cores[b]->log;
            uint64_t last = one->last_index < other->last_index ? one->last_index : other->last_index;
            bool agrees = false;
            for (uint64_t index = last; index > 0; index--) {
                uint64_t term_one = 0, term_other = 0;
                (void)log_term(one, index, &term_one);
                (void)log_term(other, index, &term_other);
                agrees = agrees || term_one == term_other;
                if (agrees && term_one != term_other) {
                    fail(world, "two logs agree in a place and differ before it", a);
                }
            }
        }
    }
}

static void check_commit(struct world *world, unsigned node)
{
    const struct raftcore *core = world->cores[node];
    for (uint64_t index = 1; index <= core->hard.commit && index < INDEXES_MAX; index++) {
        uint64_t term = 0;
        (void)log_term(&core->log, index, &term);
        if (world->committed[index] == 0) {
            world->committed[index] = term;
            world->committed_in[index] = core->hard.term;
        } else if (world->committed[index] != term) {
            fail(world, "another entry is committed than was before", node);
        }
    }
}

static void check_leader(struct world *world, unsigned node, bool was_leader)
{
    const struct raftcore *core = world->cores[node];
    if (was_leader || core->role != RAFTCORE_LEADER) {
        return;
    }
    if (world->leader_of_term[core->hard.term] != 0) {
        fail(world, "a second leadership in its term", node);
    }
    world->leader_of_term[core->hard.term] = node;
    for (uint64_t index = 1; index < INDEXES_MAX; index++) {
        uint64_t term = 0;
        if (world->committed[index] != 0 && world->committed_in[index] < core->hard.term &&
            (!log_term(&core->log, index, &term) || term != world->committed[index])) {
            fail(world, "leads without an entry that is committed", node);
        }
    }
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3U;
    }
    return hash ^ hash >> 29;
}

static uint64_t hash_u64(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 31;
}

static uint64_t hash_message(const struct raftcore_message *message)
{
    struct raftcore_message plain = *message;
    plain.entries = NULL;
    uint64_t hash = hash_bytes(17, &plain, sizeof(plain));
    for (uint32_t i = 0; i < message->entry_count; i++) {
        hash = hash_u64(hash, message->entries[i].term);
    }
    return hash;
}

static void remember(struct world *world, const struct raftcore_message *message)
{
    uint64_t hash = hash_message(message);
    for (uint32_t i = 0; i < world->message_count; i++) {
        if (hash_message(&world->messages[i].message) == hash) {
            return;
        }
    }
    CHECK(world->message_count < MESSAGES_MAX && message->entry_count <= ENTRIES_MAX);
    struct sent *sent = &world->messages[world->message_count++];
    sent->message = *message;
    if (message->entry_count > 0) {
        memcpy(sent->entries, message->entries, message->entry_count * sizeof(sent->entries[0]));
        sent->message.entries = sent->entries;
    }
}

static void step(struct world *world, unsigned node, struct raftcore_event *event)
{
    const struct raftcore_output *output;
    struct raftcore *core = world->cores[node];
    bool was_leader = core->role == RAFTCORE_LEADER;
    event->now_ns = 1;
    (void)raftcore_step(core, event, &output);
    const char *wrong = raftcore_check(core);
    if (wrong != NULL) {
        fail(world, wrong, node);
        return;
    }
    if (output->unit.sequence != 0) {
        disk_issue(&world->disks[node], &output->unit, NULL);
    }
    for (uint32_t i = 0; i < output->message_count; i++) {
        remember(world, &output->messages[i]);
    }
    check_leader(world, node, was_leader);
    check_commit(world, node);
    check_logs(world);
}

static void start_node(struct world *world, unsigned node, uint64_t session)
{
    struct raftcore_options options = {.size = sizeof(options),
                                       .id = node,
                                       .log_id = node,
                                       .no_pre_vote = true,
                                       .no_check_quorum = true,
                                       .no_forwarding = true};
    CHECK(raftcore_new(&world->cores[node], &options) == 0);
    struct raftcore_start start;
    disk_start(&world->disks[node], &start);
    start.session = session;
    if (start.hard_state.term_limit == 0) {
        start.hard_state.term_limit = 1024;
    }
    struct raftcore_event event = {.kind = RAFTCORE_START, .start = &start};
    step(world, node, &event);
}

static struct world *first_world(void)
{
    struct world *world = calloc(1, sizeof(*world));
    CHECK(world != NULL);
    struct raftcore_configuration configuration = {.count = (uint32_t)limits.nodes};
    for (uint32_t i = 0; i < configuration.count; i++) {
        configuration.members[i] = (struct raftcore_member){.id = i + 1, .flags = RAFTCORE_VOTER};
    }
    for (unsigned node = 1; node <= limits.nodes; node++) {
        disk_init(&world->disks[node], &arena, &configuration);
        start_node(world, node, 100);
    }
    return world;
}

static void free_world(struct world *world)
{
    for (unsigned node = 1; node <= limits.nodes; node++) {
        raftcore_free(world->cores[node]);
        disk_free(&world->disks[node]);
    }
    free(world);
}

static void *copy_array(const void *from, size_t bytes)
{
    if (bytes == 0 || from == NULL) {
        return NULL;
    }
    void *copy = malloc(bytes);
    CHECK(copy != NULL);
    memcpy(copy, from, bytes);
    return copy;
}

/* Another core in the same state; what it had put out is left behind. */
static struct raftcore *copy_core(const struct raftcore *from)
{
    struct raftcore *core = copy_array(from, sizeof(*from));
    core->log.memory = &core->memory;
    core->log.runs = copy_array(from->log.runs, from->log.run_capacity * sizeof(*from->log.runs));
    core->log.held = copy_array(from->log.held, from->log.held_capacity * sizeof(*from->log.held));
    core->stack = copy_array(from->stack, from->stack_capacity * sizeof(*from->stack));
    core->flights = copy_array(from->flights, from->flight_capacity * sizeof(*from->flights));
    core->waiting = copy_array(from->waiting, from->waiting_capacity * sizeof(*from->waiting));
    core->reads = copy_array(from->reads, from->read_capacity * sizeof(*from->reads));
    core->peers = copy_array(from->peers, from->peer_capacity * sizeof(*from->peers));
    for (uint32_t i = 0; i < from->peer_count; i++) {
        const struct progress *peer = &from->peers[i];
        core->peers[i].inflight = copy_array(peer->inflight, peer->inflight_capacity * sizeof(*peer->inflight));
    }
    core->received_configuration = copy_array(from->received_configuration, sizeof(*from->received_configuration));
    core->sent_configuration = copy_array(from->sent_configuration, sizeof(*from->sent_configuration));
    core->holes = copy_array(from->holes, RAFTCORE_HOLES_MAX * sizeof(*from->holes));
    core->messages = NULL;
    core->message_capacity = core->copy_count = 0;
    memset(&core->out, 0, sizeof(core->out));
    memset(&core->output, 0, sizeof(core->output));
    core->to_free = NULL;
    return core;
}

static struct world *copy_world(const struct world *from)
{
    struct world *world = copy_array(from, sizeof(*from));
    for (uint32_t i = 0; i < world->message_count; i++) {
        if (world->messages[i].message.entry_count > 0) {
            world->messages[i].message.entries = world->messages[i].entries;
        }
    }
    for (unsigned node = 1; node <= limits.nodes; node++) {
        world->cores[node] = copy_core(from->cores[node]);
        struct disk *disk = &world->disks[node];
        *disk = (struct disk){.arena = &arena};
        disk_copy(disk, &from->disks[node]);
        for (uint32_t i = 0; i < from->disks[node].pending_count; i++) {
            struct raftcore_unit unit = from->disks[node].pending[i].unit;
            unit.entries = from->disks[node].pending[i].entries;
            disk_issue(disk, &unit, NULL);
        }
    }
    return world;
}

/* All that the future depends on. */
static uint64_t hash_core(const struct raftcore *core, const struct disk *disk)
{
    uint64_t hash = hash_bytes(core->role, &core->hard, sizeof(core->hard));
    hash = hash_u64(hash, core->leader);
    hash = hash_u64(hash, core->session);
    hash = hash_u64(hash, core->log.last_index);
    for (uint32_t i = 0; i < core->log.run_count; i++) {
        hash = hash_u64(hash_u64(hash, core->log.runs[i].first_index), core->log.runs[i].term);
    }
    hash = hash_u64(hash, core->last_sequence - core->durable_sequence);
    hash = hash_u64(hash, core->durable_index);
    hash = hash_u64(hash, core->campaign);
    hash = hash_bytes(hash, core->votes, sizeof(core->votes[0]) * limits.nodes);
    hash = hash_u64(hash, core->campaign_waits);
    for (uint32_t i = 0; i < core->waiting_count; i++) {
        const struct waiting *waiting = &core->waiting[core->waiting_head + i];
        hash = hash_u64(hash_u64(hash, hash_message(&waiting->message)), waiting->after - core->durable_sequence);
    }
    for (uint32_t i = 0; core->role == RAFTCORE_LEADER && i < core->peer_count; i++) {
        const struct progress *peer = &core->peers[i];
        hash = hash_u64(hash_u64(hash, peer->match), peer->next);
        hash = hash_u64(hash_u64(hash, peer->state * 4 + peer->probe_sent * 2 + peer->heard), peer->session);
        hash = hash_u64(hash_u64(hash, peer->commit_sent), peer->inflight_count);
    }
    hash = hash_bytes(hash, &disk->hard, sizeof(disk->hard));
    for (uint32_t i = 0; i < disk->count; i++) {
        hash = hash_u64(hash, disk->entries[i].term);
    }
    return hash_u64(hash, disk->pending_count);
}

static uint64_t hash_world(const struct world *world)
{
    uint64_t hash =
        hash_bytes(world->crashes * 64 + world->proposals, world->leader_of_term, sizeof(world->leader_of_term));
    hash = hash_bytes(hash, world->committed, sizeof(world->committed));
    uint64_t messages = 0; /* A set: the order does not matter. */
    for (uint32_t i = 0; i < world->message_count; i++) {
        messages += hash_u64(3, hash_message(&world->messages[i].message));
    }
    hash = hash_u64(hash, messages);
    for (unsigned node = 1; node <= limits.nodes; node++) {
        hash = hash_u64(hash, hash_core(world->cores[node], &world->disks[node]));
    }
    return hash == 0 ? 1 : hash;
}

/* --- actions ------------------------------------------------------------------------------------- */

enum { PERSIST, CRASH, CAMPAIGN, PROPOSE, KINDS, DELIVER = 64 };

/* False: it cannot be taken here. */
static bool may_act(const struct world *world, unsigned action)
{
    if (action >= DELIVER) {
        return action - DELIVER < world->message_count;
    }
    unsigned node = 1 + action / KINDS;
    if (node > limits.nodes) {
        return false;
    }
    const struct raftcore *core = world->cores[node];
    switch (action % KINDS) {
    case PERSIST:
        return world->disks[node].pending_count > 0;
    case CRASH:
        return world->crashes < limits.crashes;
    case CAMPAIGN:
        return core->role != RAFTCORE_LEADER && core->hard.term < limits.terms && !core->campaign_waits;
    default:
        return core->role == RAFTCORE_LEADER && world->proposals < limits.proposals;
    }
}

static void act(struct world *world, unsigned action)
{
    struct raftcore_event event = {0};
    unsigned node = 1 + action / KINDS;
    if (action >= DELIVER) {
        const struct raftcore_message *message = &world->messages[action - DELIVER].message;
        event.kind = RAFTCORE_RECEIVE;
        event.receive = message;
        step(world, (unsigned)message->to, &event);
        return;
    }
    struct disk *disk = &world->disks[node];
    struct raftcore_entry entry = {0};
    switch (action % KINDS) {
    case PERSIST:
        event.kind = RAFTCORE_PERSISTED;
        event.persisted.sequence = event.persisted.covered = disk->pending[disk->pending_count - 1].unit.sequence;
        disk_persist(disk, disk->pending_count);
        break;
    case CRASH:
        world->crashes++;
        disk_lose_pending(disk);
        raftcore_free(world->cores[node]);
        start_node(world, node, 100 + world->crashes);
        return;
    case CAMPAIGN:
        event.kind = RAFTCORE_CAMPAIGN;
        event.campaign.at_once = true;
        break;
    default:
        world->proposals++;
        event.kind = RAFTCORE_PROPOSE;
        event.propose.entries = &entry;
        event.propose.count = 1;
    }
    step(world, node, &event);
}

static void tell_action(const struct world *world, unsigned action)
{
    static const char *const kinds[] = {"persists", "crashes", "campaigns", "gets a proposal"};
    if (action < DELIVER) {
        printf("  node %u %s\n", 1 + action / KINDS, kinds[action % KINDS]);
        return;
    }
    const struct raftcore_message *message = &world->messages[action - DELIVER].message;
    printf("  node %" PRIu64 " gets %s of node %" PRIu64 ": term %" PRIu64 " index %" PRIu64 "/%" PRIu64
           " +%u commit %" PRIu64 "%s\n",
           message->to, raftcore_message_kind_text(message->kind), message->from, message->term, message->index,
           message->log_term, message->entry_count, message->commit,
           (message->flags & RAFTCORE_REFUSED) != 0 ? " refused" : "");
}

/* --- the search ---------------------------------------------------------------------------------- */

struct search {
    struct state *states;
    uint64_t *seen; /* Open addressing, a power of two. */
    uint64_t seen_size;
    uint64_t count, depth;
};

static bool add_if_new(struct search *search, uint64_t hash)
{
    uint64_t at = hash & (search->seen_size - 1);
    while (search->seen[at] != 0) {
        if (search->seen[at] == hash) {
            return false;
        }
        at = (at + 1) & (search->seen_size - 1);
    }
    search->seen[at] = hash;
    return true;
}

static struct world *go_to(const struct search *search, uint32_t state, uint64_t *depth, bool tell)
{
    uint16_t path[4096];
    uint64_t length = 0;
    for (; state != 0; state = search->states[state].parent) {
        path[length++] = search->states[state].action;
    }
    *depth = length;
    struct world *world = first_world();
    while (length-- > 0) {
        if (tell) {
            tell_action(world, path[length]);
        }
        act(world, path[length]);
    }
    return world;
}

/* False: something did not hold. */
static bool expand(struct search *search, uint32_t state)
{
    struct world *world = go_to(search, state, &search->depth, false);
    bool held = true;
    for (unsigned action = 0; held && action < DELIVER + world->message_count && search->count < limits.states;
         action++) {
        if (!may_act(world, action)) {
            continue;
        }
        struct world *next = copy_world(world);
        act(next, action);
        if (next->wrong[0] != 0) {
            uint64_t depth;
            printf("%s, after:\n", next->wrong);
            free_world(go_to(search, state, &depth, true));
            tell_action(world, action);
            held = false;
        } else if (add_if_new(search, hash_world(next))) {
            search->states[search->count++] = (struct state){.parent = state, .action = (uint16_t)action};
        }
        free_world(next);
    }
    free_world(world);
    return held;
}

static bool parse(int count, char **arguments)
{
    static const struct {
        const char *name;
        uint64_t *value;
        uint64_t most;
    } options[] = {{"--states", &limits.states, UINT32_MAX},
                   {"--terms", &limits.terms, TERMS_MAX},
                   {"--proposals", &limits.proposals, ENTRIES_MAX - 4},
                   {"--crashes", &limits.crashes, 10},
                   {"--nodes", &limits.nodes, NODES_MAX}};
    for (int i = 1; i < count; i += 2) {
        bool found = false;
        for (size_t o = 0; o < sizeof(options) / sizeof(options[0]) && i + 1 < count; o++) {
            if (strcmp(arguments[i], options[o].name) == 0) {
                *options[o].value = strtoull(arguments[i + 1], NULL, 10);
                found = *options[o].value <= options[o].most;
            }
        }
        if (!found) {
            return false;
        }
    }
    return limits.states > 0 && limits.nodes > 0;
}

int main(int count, char **arguments)
{
    if (!parse(count, arguments)) {
        fprintf(stderr, "usage: raft_explore [--states N] [--terms T] [--proposals P] [--crashes C] [--nodes N]\n");
        return 2;
    }
    struct search search = {.seen_size = 1024};
    while (search.seen_size < 2 * limits.states) {
        search.seen_size *= 2;
    }
    search.states = calloc(limits.states + 1, sizeof(*search.states));
    search.seen = calloc(search.seen_size, sizeof(*search.seen));
    CHECK(search.states != NULL && search.seen != NULL);
    struct timespec began, ended;
    timespec_get(&began, TIME_UTC);
    struct world *world = first_world();
    (void)add_if_new(&search, hash_world(world));
    search.count = 1;
    free_world(world);
    bool held = true;
    uint64_t expanded = 0;
    while (held && expanded < search.count && search.count < limits.states) {
        held = expand(&search, (uint32_t)expanded++);
    }
    timespec_get(&ended, TIME_UTC);
    bool complete = held && expanded == search.count;
    printf("result: raft_explore: %" PRIu64 " nodes, terms %" PRIu64 ", proposals %" PRIu64 ", crashes %" PRIu64
           ": %" PRIu64 " distinct states, %s, depth %" PRIu64 ", %s, %.1f s\n",
           limits.nodes, limits.terms, limits.proposals, limits.crashes, search.count,
           complete ? "complete" : "partial", search.depth, held ? "all held" : "NOT ALL HELD",
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    free(search.states);
    free(search.seen);
    arena_free(&arena);
    return held ? 0 : 1;
}
