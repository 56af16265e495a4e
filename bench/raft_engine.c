/* raft_engine.c - Raft nodes under load.
 *
 * The happy path: the nodes are opened, one of them is elected; then so many proposals are kept outstanding at the
 * leader, each burst one call; whatever a node wants sent is handed over in memory at the next turn of the loop. A
 * proposal's time ends when the leader's state machine has applied it. Snapshots are taken now and then, so that the
 * logs' segments come back; a thread does what blocks.
 *
 * What can fail: memory, a node. That is said on stderr and ends the load.
 *
 * Invariants: proposals are applied in the order in which they were made, as one leader leads all the time; a change of
 * leader ends the load with an error. */

#define _GNU_SOURCE
#include "bench/raft_engine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bench/common.h"
#include "bench/emulate.h"
#include "raftcore/node.h"

enum { STARTS = 1 << 16, COMMANDS_MAX = 1024, STALL_S = 10, STREAM_BYTES = 64 << 10 };

struct mail {
    unsigned to;
    void *bytes;
    size_t size;
};

struct cluster {
    const struct raft_load *load;
    struct raftcore_node *nodes[RAFT_NODES_MAX];
    struct raftcore_disk *disks[RAFT_NODES_MAX]; /* Emulated ones. */
    uint64_t applied[RAFT_NODES_MAX];            /* Commands. */
    int leader;                                  /* -1: none yet. */
    struct mail *mails, *arriving;
    unsigned mail_count, mail_capacity, arriving_capacity;
    struct raftcore_command commands[COMMANDS_MAX];
    unsigned char *payload;
    uint64_t proposed, *started_ns; /* By number of the proposal, a ring. */
    bool measured;
    struct histogram *histogram;
    uint64_t measured_from;
    pthread_t worker;
    _Atomic bool stop;
    bool has_worker;
};

static int node_failed(const struct cluster *cluster, unsigned at)
{
    const char *text = raftcore_node_failed(cluster->nodes[at]);
    say_on_stderr("node %u: %s", at + 1, text == NULL ? "no progress" : text);
    return -1;
}

/* --- opening ------------------------------------------------------------------------------------- */

static struct wal_options log_options(bool buffered)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.segments_ready = 8;
    options.segments_pool_max = 16;
    options.flags = buffered ? WAL_BUFFERED : 0;
    return options;
}

static int open_node(const char *path, unsigned id, unsigned count, bool buffered, uint64_t snapshot_bytes,
                     struct raftcore_disk *disk, struct raftcore_node **node, struct raftcore_node_report *report)
{
    struct raftcore_configuration members = {.count = count};
    struct wal_options log = log_options(buffered);
    for (unsigned i = 0; i < count; i++)
        members.members[i] = (struct raftcore_member){.id = i + 1, .flags = RAFTCORE_VOTER};
    struct raftcore_node_options options = {.size = sizeof(options),
                                            .core = {.id = id, .election_timeout_ns = 1000000000},
                                            .cluster_id = 1,
                                            .now_ns = clock_ns(),
                                            .create = true,
                                            .first_members = &members,
                                            .snapshot_bytes = snapshot_bytes,
                                            .wal = &log,
                                            .disk = disk};
    int result = raftcore_node_open(path, &options, node, report);
    if (result != 0)
        say_on_stderr("%s: %s", path, report->text);
    return result == 0 ? 0 : -1;
}

static void *work(void *argument)
{
    struct cluster *cluster = argument;
    while (!atomic_load(&cluster->stop)) {
        bool any = false;
        for (unsigned i = 0; i < cluster->load->nodes; i++)
            any = (raftcore_node_has_work(cluster->nodes[i]) && raftcore_node_work(cluster->nodes[i])) || any;
        if (!any)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

static int open_all(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->load->nodes; i++) {
        char path[4200];
        struct raftcore_node_report report;
        snprintf(path, sizeof(path), "%s/node-%u", cluster->load->directory, i + 1);
        int result =
            cluster->load->added_ns == 0 ? 0 : emulate_node_disk(path, cluster->load->added_ns, &cluster->disks[i]);
        if (result != 0)
            return failed(path, NULL, result);
        if (open_node(path, i + 1, cluster->load->nodes, false, cluster->load->snapshot_bytes, cluster->disks[i],
                      &cluster->nodes[i], &report) != 0)
            return -1;
    }
    cluster->has_worker = pthread_create(&cluster->worker, NULL, work, cluster) == 0;
    return cluster->has_worker ? 0 : failed("pthread_create", NULL, -EAGAIN);
}

static void close_all(struct cluster *cluster)
{
    atomic_store(&cluster->stop, true);
    if (cluster->has_worker)
        pthread_join(cluster->worker, NULL);
    for (unsigned i = 0; i < cluster->load->nodes; i++) {
        (void)raftcore_node_close(cluster->nodes[i]);
        if (cluster->disks[i] != NULL)
            cluster->disks[i]->ops->destroy(cluster->disks[i]);
    }
    for (unsigned i = 0; i < cluster->mail_count; i++)
        free(cluster->mails[i].bytes);
    free(cluster->mails);
    free(cluster->arriving);
    free(cluster->payload);
    free(cluster->started_ns);
}

/* --- one turn of the loop ------------------------------------------------------------------------ */

static void send_mail(struct cluster *cluster, const struct raftcore_item *item)
{
    if (cluster->mail_count == cluster->mail_capacity) {
        unsigned capacity = 2 * cluster->mail_capacity + 64;
        struct mail *mails = realloc(cluster->mails, capacity * sizeof(*mails));
        if (mails == NULL)
            return; /* Lost. */
        cluster->mails = mails;
        cluster->mail_capacity = capacity;
    }
    struct mail mail = {(unsigned)item->peer, malloc(item->size), item->size};
    if (mail.bytes != NULL) {
        memcpy(mail.bytes, item->data, item->size);
        cluster->mails[cluster->mail_count++] = mail;
    }
}

static void note_applied(struct cluster *cluster, unsigned at, uint64_t now_ns)
{
    uint64_t number = cluster->applied[at]++;
    if ((int)at == cluster->leader && cluster->measured && number >= cluster->measured_from)
        histogram_add(cluster->histogram, now_ns - cluster->started_ns[number % STARTS], 1);
}

static void take_items(struct cluster *cluster, unsigned at)
{
    struct raftcore_node *node = cluster->nodes[at];
    struct raftcore_item item;
    uint64_t applied = 0, now_ns = clock_ns();
    while (raftcore_node_next(node, &item)) {
        switch (item.kind) {
        case RAFTCORE_ITEM_SEND:
            send_mail(cluster, &item);
            break;
        case RAFTCORE_ITEM_APPLY:
            if (item.type == RAFTCORE_ENTRY_NORMAL)
                note_applied(cluster, at, now_ns);
            applied = item.index;
            break;
        case RAFTCORE_ITEM_RESTORE:
            applied = item.index;
            break;
        case RAFTCORE_ITEM_SNAPSHOT:
            if (raftcore_node_snapshot_begin(node) == 0 && raftcore_node_snapshot_put(node, &applied, 8) == 0)
                (void)raftcore_node_snapshot_end(node);
            break;
        case RAFTCORE_ITEM_ROLE:
            if (item.role == RAFTCORE_LEADER)
                cluster->leader = (int)at;
            break;
        default:
            break;
        }
    }
    if (applied != 0)
        (void)raftcore_node_applied(node, now_ns, applied);
}

static void deliver(struct cluster *cluster)
{
    struct mail *mails = cluster->mails;
    unsigned count = cluster->mail_count, capacity = cluster->mail_capacity;
    cluster->mails = cluster->arriving;
    cluster->mail_capacity = cluster->arriving_capacity;
    cluster->mail_count = 0;
    cluster->arriving = mails;
    cluster->arriving_capacity = capacity;
    for (unsigned i = 0; i < count; i++) {
        (void)raftcore_node_receive(cluster->nodes[mails[i].to - 1], clock_ns(), mails[i].bytes, mails[i].size);
        free(mails[i].bytes);
    }
}

static int turn(struct cluster *cluster)
{
    deliver(cluster);
    for (unsigned i = 0; i < cluster->load->nodes; i++) {
        take_items(cluster, i); /* The leader's messages leave before its log is waited for. */
        if (raftcore_node_run(cluster->nodes[i], clock_ns()) < 0)
            return node_failed(cluster, i);
        take_items(cluster, i);
    }
    return 0;
}

static void wait_for_something(struct cluster *cluster)
{
    struct pollfd fds[RAFT_NODES_MAX];
    uint64_t until_ns = UINT64_MAX, now_ns = clock_ns();
    for (unsigned i = 0; i < cluster->load->nodes; i++) {
        uint64_t deadline_ns = raftcore_node_deadline_ns(cluster->nodes[i]);
        fds[i] = (struct pollfd){.fd = raftcore_node_fd(cluster->nodes[i]), .events = POLLIN};
        until_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
    }
    uint64_t wait_ns = cluster->mail_count > 0 || until_ns <= now_ns ? 0 : until_ns - now_ns;
    wait_ns = wait_ns < 1000000000 ? wait_ns : 1000000000;
    if (wait_ns > 0)
        (void)ppoll(fds, cluster->load->nodes, &(struct timespec){.tv_nsec = (long)wait_ns % 1000000000}, NULL);
}

/* As many as may be outstanding, in one call. */
static int propose_burst(struct cluster *cluster, unsigned outstanding, unsigned most)
{
    struct raftcore_node *leader = cluster->nodes[cluster->leader];
    uint64_t open = cluster->proposed - cluster->applied[cluster->leader];
    unsigned count = open < outstanding ? outstanding - (unsigned)open : 0;
    count = count < most ? count : most;
    if (count == 0)
        return 0;
    uint64_t now_ns = clock_ns();
    int reason = raftcore_node_propose(leader, now_ns, cluster->commands, count, cluster->proposed);
    if (reason < 0)
        return node_failed(cluster, (unsigned)cluster->leader);
    if (reason == RAFTCORE_REASON_NOT_LEADER || reason == RAFTCORE_REASON_LEADER_ELSEWHERE) {
        say_on_stderr("the leader lost its office under load");
        return -1;
    }
    for (unsigned i = 0; reason == 0 && i < count; i++)
        cluster->started_ns[(cluster->proposed + i) % STARTS] = now_ns;
    cluster->proposed += reason == 0 ? count : 0;
    return 0;
}

static int run(struct cluster *cluster, double seconds, unsigned most)
{
    uint64_t end_ns = clock_ns() + (uint64_t)(seconds * 1e9), progress_ns = clock_ns(), seen = 0;
    while (clock_ns() < end_ns && !interrupted()) {
        if (propose_burst(cluster, cluster->load->outstanding, most) != 0 || turn(cluster) != 0)
            return -1;
        if (cluster->proposed - cluster->applied[cluster->leader] >= cluster->load->outstanding)
            wait_for_something(cluster); /* Else there is something to propose. */
        if (cluster->applied[cluster->leader] != seen) {
            seen = cluster->applied[cluster->leader];
            progress_ns = clock_ns();
        } else if (clock_ns() - progress_ns > (uint64_t)STALL_S * 1000000000) {
            return node_failed(cluster, (unsigned)cluster->leader);
        }
    }
    return 0;
}

/* The leader has applied all there is, what earlier loads left included. */
static bool is_ready(const struct cluster *cluster)
{
    static struct raftcore_status status;
    if (cluster->leader < 0)
        return false;
    raftcore_node_status(cluster->nodes[cluster->leader], &status);
    return status.role == RAFTCORE_LEADER && status.applied == status.last_index;
}

static int elect(struct cluster *cluster)
{
    uint64_t end_ns = clock_ns() + 3 * (uint64_t)STALL_S * 1000000000;
    cluster->leader = -1;
    while (!is_ready(cluster) && clock_ns() < end_ns && !interrupted()) {
        if (turn(cluster) != 0)
            return -1;
        wait_for_something(cluster);
    }
    if (!is_ready(cluster))
        return interrupted() ? 0 : failed("no leader that has applied all", NULL, -ETIMEDOUT);
    cluster->proposed = cluster->applied[cluster->leader];
    return 0;
}

static uint64_t batches_of(const struct cluster *cluster)
{
    struct wal_stats stats;
    raftcore_node_log_stats(cluster->nodes[cluster->leader], &stats);
    return stats.batches;
}

/* --- a load -------------------------------------------------------------------------------------- */

static int begin(struct cluster *cluster, uint32_t payload_bytes)
{
    cluster->payload = calloc(1, payload_bytes + 1);
    cluster->started_ns = calloc(STARTS, sizeof(*cluster->started_ns));
    if (cluster->payload == NULL || cluster->started_ns == NULL)
        return failed("memory for the proposals", NULL, -ENOMEM);
    for (unsigned i = 0; i < COMMANDS_MAX; i++)
        cluster->commands[i] = (struct raftcore_command){.data = cluster->payload, .size = payload_bytes};
    return open_all(cluster) == 0 ? elect(cluster) : -1;
}

/* Until all segments that the log needs have been written once, and come back. */
static int stream(const struct raft_load *load, uint64_t bytes)
{
    struct cluster cluster = {.load = load, .leader = -1};
    int result = begin(&cluster, load->record_bytes);
    while (result == 0 && !interrupted() && cluster.applied[cluster.leader] * load->record_bytes < bytes)
        result = run(&cluster, 0.05, load->outstanding);
    close_all(&cluster);
    return result;
}

int raft_engine_run(const struct raft_load *load, struct raft_outcome *outcome)
{
    struct cluster cluster = {.load = load, .leader = -1, .histogram = &outcome->latency};
    struct stat status;
    if (stat(load->directory, &status) != 0) {
        if (mkdir(load->directory, 0777) != 0)
            return failed(load->directory, NULL, -errno);
        struct raft_load whole = *load;
        whole.outstanding = 16;
        whole.added_ns = 0;
        whole.record_bytes = STREAM_BYTES;
        if (load->seconds >= 0.1 && stream(&whole, UINT64_C(640) << 20) != 0) /* A glance needs none of it. */
            return -1;
    }
    int result = begin(&cluster, load->record_bytes);
    result = result == 0 ? run(&cluster, load->warm_seconds, COMMANDS_MAX) : result;
    if (result == 0 && !interrupted()) {
        cluster.measured = true;
        cluster.measured_from = cluster.proposed;
        uint64_t batches = batches_of(&cluster), cpu = cpu_ns(), start_ns = clock_ns();
        result = run(&cluster, load->seconds, COMMANDS_MAX);
        outcome->elapsed_ns = clock_ns() - start_ns;
        outcome->cpu_ns = cpu_ns() - cpu;
        outcome->operations = outcome->latency.count;
        outcome->batches = batches_of(&cluster) - batches;
    }
    close_all(&cluster);
    return result;
}

/* --- restarting ---------------------------------------------------------------------------------- */

int raft_engine_make(const char *directory, uint64_t log_bytes, uint32_t record_bytes)
{
    struct stat status;
    if (stat(directory, &status) == 0)
        return 0;
    if (mkdir(directory, 0777) != 0)
        return failed(directory, NULL, -errno);
    struct raft_load load = {.directory = directory, .nodes = 1, .outstanding = 256, .record_bytes = record_bytes};
    int result = stream(&load, UINT64_C(80) << 20); /* With a snapshot; then without. */
    load.snapshot_bytes = UINT64_MAX;
    return result == 0 && !interrupted() ? stream(&load, log_bytes) : result;
}

int raft_engine_restart(const char *directory, bool warm, uint64_t *took_ns, uint64_t *entries)
{
    char path[4200];
    struct raftcore_node_report report;
    struct raftcore_node *node;
    snprintf(path, sizeof(path), "%s/node-1", directory);
    uint64_t before_ns = clock_ns();
    if (open_node(path, 1, 1, warm, 0, NULL, &node, &report) != 0)
        return -1;
    *took_ns = clock_ns() - before_ns;
    *entries = report.last_index + 1 - report.first_index;
    return raftcore_node_close(node) == 0 ? 0 : -1;
}
