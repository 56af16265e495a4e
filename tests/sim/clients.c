/* clients.c - clients of the simulated cluster.
 *
 * The happy path: a client picks an operation and a node, the one that it believes to lead; a write becomes a command
 * with its session's next sequence and counts as done when the node it waits on has applied it; a read is answered by
 * the node's state machine when the core says that it may. Every invocation and return goes into the history.
 *
 * What can fail: the node refuses, knows nobody, crashes, or does not answer: the client asks another one again, with
 * the same sequence, and after a while gives up; then nobody knows.
 *
 * Invariants: a client has one operation at a time; what it was told is in the history before it asks anew. */

#include "tests/sim/clients.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

enum { CLIENTS_MAX = KV_CLIENTS, OPERATIONS_MAX = 60000, STATES_MAX = 4000000 };

#define ASK_AGAIN_NS (700 * MS)
#define GIVE_UP_NS (6 * SECOND)

struct client {
    bool busy;
    uint32_t operation;
    enum history_kind kind;
    struct kv_command command;
    uint64_t since_ns;
    uint64_t request; /* Of the try that counts. */
    unsigned node;    /* That it waits on; 0: none took it. */
    unsigned leader;  /* As it believes. */
    uint64_t sequence;
};

struct clients {
    struct world *world;
    struct history *history;
    struct client list[CLIENTS_MAX];
    unsigned count;
    uint64_t pause_ns, values, requests, done;
    bool stopped;
};

static void ask(struct clients *clients, unsigned number);

static void finish(struct clients *clients, struct client *client, uint64_t value, bool succeeded)
{
    history_return(clients->history, client->operation, value, succeeded, world_now(clients->world));
    client->busy = false;
    clients->done++;
}

/* --- what the cluster says ----------------------------------------------------------------------- */

static void on_applied(void *context, unsigned node, const struct kv_command *command)
{
    struct clients *clients = context;
    if (command->client >= clients->count) {
        return;
    }
    struct client *client = &clients->list[command->client];
    if (client->busy && client->node == node && client->kind != HISTORY_READ && client->sequence == command->sequence) {
        finish(clients, client, 0, world_kv(clients->world, node)->sessions[command->client].succeeded);
    }
}

static struct client *of_request(struct clients *clients, uint64_t request)
{
    for (unsigned i = 0; i < clients->count; i++) {
        if (clients->list[i].busy && clients->list[i].request == request) {
            return &clients->list[i];
        }
    }
    return NULL;
}

static void on_proposed(void *context, unsigned node, uint64_t request, uint16_t reason)
{
    struct client *client = of_request(context, request);
    if (client != NULL && client->node == node && reason != 0) {
        client->node = client->leader = 0; /* Somebody else is asked. */
    }
}

static void on_read(void *context, unsigned node, uint64_t request, uint16_t reason)
{
    struct clients *clients = context;
    struct client *client = of_request(clients, request);
    if (client == NULL || client->kind != HISTORY_READ) {
        return;
    }
    if (reason != 0) {
        client->node = client->leader = 0;
        return;
    }
    finish(clients, client, world_kv(clients->world, node)->values[client->command.key], true);
}

/* --- asking -------------------------------------------------------------------------------------- */

static unsigned pick_node(struct clients *clients, const struct client *client)
{
    struct world *world = clients->world;
    if (client->leader != 0 && world_random(world, 8) != 0) {
        return client->leader;
    }
    return 1 + (unsigned)world_random(world, world_node_count(world));
}

static void try_node(struct clients *clients, struct client *client)
{
    struct world *world = clients->world;
    unsigned id = pick_node(clients, client);
    struct raftcore_node *node = world_node(world, id);
    int reason = RAFTCORE_REASON_NOT_LEADER;
    client->request = ++clients->requests;
    client->node = id;
    if (node != NULL && client->kind == HISTORY_READ) {
        reason = raftcore_node_read(node, world_local_ns(world, id), client->request, world_lease_reads(world));
    } else if (node != NULL) {
        uint8_t bytes[sizeof(client->command) + 200] = {0};
        memcpy(bytes, &client->command, sizeof(client->command));
        const struct raftcore_command command = {
            .data = bytes, .size = (uint32_t)(sizeof(client->command) + world_random(world, 200))};
        reason = raftcore_node_propose(node, world_local_ns(world, id), &command, 1, client->request);
    }
    client->leader = reason == 0 ? id : 0;
    client->node = reason == 0 ? id : 0;
    if (node != NULL) {
        world_pump(world, id);
    }
}

static void ask_again(void *context, uint64_t argument)
{
    struct clients *clients = context;
    struct client *client = &clients->list[argument & 0xff];
    if (!client->busy || client->operation != argument >> 8) {
        return;
    }
    uint64_t waited_ns = world_now(clients->world) - client->since_ns;
    if (waited_ns > GIVE_UP_NS) {
        history_unknown(clients->history, client->operation);
        client->busy = false;
        return;
    }
    bool taken = client->node != 0 && world_node(clients->world, client->node) != NULL;
    if (!taken || world_random(clients->world, 3) == 0) {
        client->leader = taken ? 0 : client->leader;
        try_node(clients, client);
    }
    world_at(clients->world, client->node == 0 ? 60 * MS : ASK_AGAIN_NS, ask_again, clients, argument);
}

static void invoke(struct clients *clients, unsigned number)
{
    struct client *client = &clients->list[number];
    struct world *world = clients->world;
    uint64_t dice = world_random(world, 10);
    client->kind = dice < 4 ? HISTORY_READ : (dice < 8 ? HISTORY_WRITE : HISTORY_COMPARE_AND_SET);
    client->command = (struct kv_command){.client = number,
                                          .kind = client->kind == HISTORY_WRITE ? KV_WRITE : KV_COMPARE_AND_SET,
                                          .key = (uint32_t)world_random(world, KV_KEYS)};
    if (client->kind != HISTORY_READ) {
        client->command.sequence = ++client->sequence;
        client->command.value = ++clients->values;
        unsigned leader = world_leader(world);
        if (client->kind == HISTORY_COMPARE_AND_SET && leader != 0) {
            client->command.expected = world_kv(world, leader)->values[client->command.key];
        }
    }
    client->since_ns = world_now(world);
    client->busy = true;
    client->operation = history_invoke(clients->history, number, client->kind, client->command.key,
                                       client->command.value, client->command.expected, client->since_ns);
    try_node(clients, client);
    world_at(world, client->node == 0 ? 60 * MS : ASK_AGAIN_NS, ask_again, clients,
             (uint64_t)client->operation << 8 | number);
}

static void on_turn(void *context, uint64_t number)
{
    ask(context, (unsigned)number);
}

static void ask(struct clients *clients, unsigned number)
{
    struct client *client = &clients->list[number];
    if (!client->busy && !clients->stopped && history_count(clients->history) < OPERATIONS_MAX) {
        invoke(clients, number);
    }
    world_at(clients->world, 1 + clients->pause_ns / 2 + world_random(clients->world, clients->pause_ns), on_turn,
             clients, number);
}

/* --- their life ---------------------------------------------------------------------------------- */

struct clients *clients_new(struct world *world, unsigned count, uint64_t pause_ns)
{
    struct clients *clients = calloc(1, sizeof(*clients));
    CHECK(clients != NULL);
    CHECK(count <= CLIENTS_MAX);
    clients->world = world;
    clients->count = count;
    clients->pause_ns = pause_ns;
    clients->history = history_new();
    world_watch(world, &(struct world_watch){
                           .context = clients, .applied = on_applied, .proposed = on_proposed, .read = on_read});
    for (unsigned i = 0; i < count; i++) {
        world_at(world, 1 + i * MS, on_turn, clients, i);
    }
    return clients;
}

void clients_free(struct clients *clients)
{
    history_free(clients->history);
    free(clients);
}

void clients_stop(struct clients *clients)
{
    clients->stopped = true;
}

void clients_go_on(struct clients *clients)
{
    clients->stopped = false;
}

bool clients_are_idle(const struct clients *clients)
{
    for (unsigned i = 0; i < clients->count; i++) {
        if (clients->list[i].busy) {
            return false;
        }
    }
    return true;
}

uint64_t clients_done(const struct clients *clients)
{
    return clients->done;
}

uint64_t clients_operations(const struct clients *clients)
{
    return history_count(clients->history);
}

const char *clients_check(struct clients *clients, bool *gave_up)
{
    const char *wrong = history_check(clients->history, STATES_MAX);
    *gave_up = wrong != NULL && history_gave_up(clients->history);
    return wrong;
}
