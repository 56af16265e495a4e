/* peer_raft.c - libraft on raft_uv: a cluster of one voter whose log is on disk, commands applied once committed.
 *
 * The happy path: bootstrap a configuration of one voter, start, which elects it at once; keep as many raft_apply
 * outstanding as there are callers, all on one event loop; a callback that comes back means that the entries are on
 * disk and committed, and the caller proposes its next. When time is up, wait for what is outstanding and close.
 *
 * The one voter has nobody to talk to: its transport refuses. Snapshots never come: the log is what is measured, and
 * libraft keeps all of it in memory.
 *
 * What can fail: starting, proposing, and each callback's status, said with libraft's own words. Any of them ends the
 * program, and so does a callback that does not come within STALL_MS: some failures of its disk libraft only notes.
 *
 * Invariants: outstanding is the number of proposals whose callback has not come; a command's memory is libraft's from
 * the moment that raft_apply took it. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <errno.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdlib.h>
#include <string.h>

#ifndef PEER_RAFT_VERSION
#define PEER_RAFT_VERSION "not told" /* raft.h does not say; the build may: pkg-config --modversion raft. */
#endif

enum { STALL_MS = 10000, SNAPSHOT_NEVER = 0x7fffffff };

static const char address[] = "127.0.0.1:1"; /* Of nobody. */

enum phase { WARMING, MEASURING, STOPPING };

struct cluster {
    const struct peer_options *options;
    uv_loop_t loop;
    struct raft_uv_transport transport;
    struct raft_io io;
    struct raft_fsm machine;
    struct raft raft;
    uv_timer_t phase_timer, stall_timer;
    enum phase phase;
    unsigned outstanding;
    uint64_t completions, completions_seen;
    const unsigned char *payload;
    struct raft_buffer *commands; /* Of one operation, while it is proposed. */
    struct peer_window *window;
};

struct caller {
    struct raft_apply request; /* Its `data` is this caller. */
    struct cluster *cluster;
    uint64_t started_ns;
    bool measured;
};

/* --- failure ------------------------------------------------------------------------------------- */

_Noreturn static void failed(struct cluster *cluster, const char *what, int result)
{
    const char *text = raft_errmsg(&cluster->raft);
    if (text[0] == 0)
        text = cluster->io.errmsg;
    peer_failed(what, text[0] != 0 ? text : raft_strerror(result));
}

static void check(struct cluster *cluster, const char *what, int result)
{
    if (result != 0)
        failed(cluster, what, result);
}

static void check_uv(const char *what, int result)
{
    if (result != 0)
        peer_failed(what, uv_strerror(result));
}

/* --- what libraft asks for: a transport and a state machine --------------------------------------- */

static int transport_init(struct raft_uv_transport *transport, raft_id id, const char *own_address)
{
    (void)transport;
    (void)id;
    (void)own_address;
    return 0;
}

static int transport_listen(struct raft_uv_transport *transport, raft_uv_accept_cb accepted)
{
    (void)transport;
    (void)accepted;
    return 0;
}

static int transport_connect(struct raft_uv_transport *transport, struct raft_uv_connect *request, raft_id id,
                             const char *other_address, raft_uv_connect_cb connected)
{
    (void)transport;
    (void)request;
    (void)id;
    (void)other_address;
    (void)connected;
    return RAFT_NOCONNECTION;
}

static void transport_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb closed)
{
    closed(transport);
}

static int machine_apply(struct raft_fsm *machine, const struct raft_buffer *command, void **result)
{
    (void)machine;
    (void)command;
    *result = NULL;
    return 0;
}

static int machine_snapshot(struct raft_fsm *machine, struct raft_buffer **buffers, unsigned *count)
{
    (void)machine;
    (void)buffers;
    (void)count;
    return RAFT_BUSY;
}

static int machine_restore(struct raft_fsm *machine, struct raft_buffer *buffer)
{
    (void)machine;
    (void)buffer;
    return RAFT_INVALID;
}

/* --- the work ------------------------------------------------------------------------------------ */

static void on_raft_closed(struct raft *raft)
{
    raft_uv_close(raft->io);
}

static void on_drained(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    uv_close((uv_handle_t *)&cluster->phase_timer, NULL);
    uv_close((uv_handle_t *)&cluster->stall_timer, NULL);
    raft_close(&cluster->raft, on_raft_closed);
}

static void start_phase_timer(struct cluster *cluster, double seconds, uv_timer_cb ended)
{
    uv_update_time(&cluster->loop);
    check_uv("uv_timer_start", uv_timer_start(&cluster->phase_timer, ended, (uint64_t)(seconds * 1e3), 0));
}

/* All that was proposed is durable. raft_uv does not bear to be closed from inside a callback of its own writes. */
static void finish(struct cluster *cluster)
{
    peer_window_end(cluster->window);
    start_phase_timer(cluster, 0, on_drained);
}

static void on_applied(struct raft_apply *request, int status, void *result);

static void propose(struct caller *caller)
{
    struct cluster *cluster = caller->cluster;
    const struct peer_options *options = cluster->options;
    caller->measured = cluster->phase == MEASURING;
    caller->started_ns = peer_clock_ns();
    for (unsigned i = 0; i < options->batch; i++) {
        struct raft_buffer *command = &cluster->commands[i];
        command->len = options->size_bytes;
        command->base = raft_malloc(command->len);
        if (command->base == NULL)
            peer_failed_errno("memory", ENOMEM);
        memcpy(command->base, cluster->payload + i * options->size_bytes, command->len);
    }
    cluster->outstanding++;
    check(cluster, "raft_apply",
          raft_apply(&cluster->raft, &caller->request, cluster->commands, options->batch, on_applied));
}

static void on_applied(struct raft_apply *request, int status, void *result)
{
    struct caller *caller = request->data;
    struct cluster *cluster = caller->cluster;
    (void)result;
    check(cluster, "raft_apply", status);
    cluster->outstanding--;
    cluster->completions++;
    if (caller->measured)
        histogram_add(&cluster->window->latency, peer_clock_ns() - caller->started_ns, 1);
    if (cluster->phase != STOPPING)
        propose(caller);
    else if (cluster->outstanding == 0)
        finish(cluster);
}

static void on_time_up(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    cluster->phase = STOPPING;
}

static void on_warm(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    peer_window_begin(cluster->window);
    cluster->phase = MEASURING;
    start_phase_timer(cluster, cluster->options->seconds, on_time_up);
}

static void on_stall_check(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    if (cluster->completions == cluster->completions_seen)
        failed(cluster, "raft_apply: no callback for ten seconds", RAFT_IOERR);
    cluster->completions_seen = cluster->completions;
}

/* --- begin and end ------------------------------------------------------------------------------- */

static void start_raft(struct cluster *cluster)
{
    struct raft_configuration configuration;
    cluster->transport = (struct raft_uv_transport){
        .init = transport_init, .listen = transport_listen, .connect = transport_connect, .close = transport_close};
    cluster->machine = (struct raft_fsm){
        .version = 1, .apply = machine_apply, .snapshot = machine_snapshot, .restore = machine_restore};
    check(cluster, cluster->options->directory,
          raft_uv_init(&cluster->io, &cluster->loop, cluster->options->directory, &cluster->transport));
    check(cluster, "raft_init", raft_init(&cluster->raft, &cluster->io, &cluster->machine, 1, address));
    raft_set_snapshot_threshold(&cluster->raft, SNAPSHOT_NEVER);
    raft_configuration_init(&configuration);
    check(cluster, "raft_configuration_add", raft_configuration_add(&configuration, 1, address, RAFT_VOTER));
    check(cluster, "raft_bootstrap", raft_bootstrap(&cluster->raft, &configuration));
    raft_configuration_close(&configuration);
    check(cluster, "raft_start", raft_start(&cluster->raft));
    if (raft_state(&cluster->raft) != RAFT_LEADER)
        failed(cluster, "raft_start: the only voter does not lead", RAFT_NOTLEADER);
}

static void run(struct cluster *cluster)
{
    const struct peer_options *options = cluster->options;
    struct caller *callers = peer_memory(options->threads, sizeof(*callers));
    check_uv("uv_loop_init", uv_loop_init(&cluster->loop));
    check_uv("uv_timer_init", uv_timer_init(&cluster->loop, &cluster->phase_timer));
    check_uv("uv_timer_init", uv_timer_init(&cluster->loop, &cluster->stall_timer));
    cluster->phase_timer.data = cluster;
    cluster->stall_timer.data = cluster;
    start_raft(cluster);
    start_phase_timer(cluster, options->warm_seconds, on_warm);
    check_uv("uv_timer_start", uv_timer_start(&cluster->stall_timer, on_stall_check, STALL_MS, STALL_MS));
    for (unsigned i = 0; i < options->threads; i++) {
        callers[i].cluster = cluster;
        callers[i].request.data = &callers[i];
        propose(&callers[i]);
    }
    check_uv("uv_run", uv_run(&cluster->loop, UV_RUN_DEFAULT));
    check_uv("uv_loop_close", uv_loop_close(&cluster->loop));
    if (cluster->phase != STOPPING || cluster->outstanding != 0)
        peer_failed("uv_run", "ended before its time");
    free(callers);
}

int main(int argc, char *argv[])
{
    static struct peer_window window;
    static struct cluster cluster;
    struct peer_options options;
    peer_begin(argc, argv, &options);
    unsigned char *payload = peer_payload(&options);
    cluster.options = &options;
    cluster.payload = payload;
    cluster.commands = peer_memory(options.batch, sizeof(*cluster.commands));
    cluster.window = &window;
    run(&cluster);
    peer_answer(&options, &(struct peer_name){"raft", PEER_RAFT_VERSION, "raft_apply on raft_uv, one voter"}, &window);
    free(cluster.commands);
    free(payload);
    return 0;
}
