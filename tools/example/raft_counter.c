/* raft_counter.c - a replicated counter: three nodes in one process, each with a log and snapshots of its own.
 *
 *     raft_counter DIRECTORY [ADDITIONS]
 *
 * The happy path: the nodes elect a leader; it is asked to add 1, many times; each node applies the additions in the
 * same order; when all have, the sums are printed. Run again, it goes on from where it was: the counter is what the
 * logs and snapshots say. What can fail ends the program with the reason. A service over a network differs in one
 * point: SEND goes into a socket, and what comes out of one goes into raftcore_node_receive. */

#define _GNU_SOURCE
#include <poll.h>
#include <raftcore/node.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { NODES = 3, MAILS_MAX = 1024, OUTSTANDING_MAX = 64 };

struct mail { /* On its way in memory. */
    uint64_t to;
    void *bytes;
    size_t size;
};

static struct raftcore_node *nodes[NODES + 1]; /* By id. */
static uint64_t counters[NODES + 1];           /* The state machines, */
static uint64_t applied[NODES + 1];            /* and the index up to which each is. */
static struct mail mails[MAILS_MAX];
static unsigned mail_count;
static uint64_t proposed, answered, last_index, leader;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static void stop(unsigned id, const char *what, const char *why)
{
    fprintf(stderr, "raft_counter: node %u: %s: %s\n", id, what, why);
    exit(1);
}

static void act(unsigned id, const struct raftcore_item *item)
{
    struct raftcore_node *node = nodes[id];
    switch (item->kind) {
    case RAFTCORE_ITEM_SEND:
        if (mail_count < MAILS_MAX) { /* Else it is lost; Raft sends again. */
            mails[mail_count] = (struct mail){item->peer, malloc(item->size), item->size};
            if (mails[mail_count].bytes != NULL) {
                memcpy(mails[mail_count++].bytes, item->data, item->size);
            }
        }
        break;
    case RAFTCORE_ITEM_APPLY:
        counters[id] += item->type == RAFTCORE_ENTRY_NORMAL;
        applied[id] = item->index;
        raftcore_node_applied(node, now_ns(), item->index);
        break;
    case RAFTCORE_ITEM_RESTORE:
        if (raftcore_node_restore(node, 0, &counters[id], sizeof(counters[id])) != 0) {
            stop(id, "restoring", "the snapshot does not read");
        }
        applied[id] = item->index;
        raftcore_node_applied(node, now_ns(), item->index);
        break;
    case RAFTCORE_ITEM_SNAPSHOT:
        if (raftcore_node_snapshot_begin(node) == 0) {
            raftcore_node_snapshot_put(node, &counters[id], sizeof(counters[id]));
            raftcore_node_snapshot_end(node);
        }
        break;
    case RAFTCORE_ITEM_PROPOSED:
        answered++;
        last_index = item->index > last_index ? item->index : last_index;
        break;
    case RAFTCORE_ITEM_ROLE:
        leader = item->role == RAFTCORE_LEADER ? id : leader;
        break;
    }
}

static void deliver_and_act(void)
{
    struct raftcore_item item;
    for (unsigned i = 0; i < mail_count; i++) {
        struct mail mail = mails[i];
        raftcore_node_receive(nodes[mail.to], now_ns(), mail.bytes, mail.size);
        free(mail.bytes);
    }
    mail_count = 0;
    for (unsigned id = 1; id <= NODES; id++) {
        if (raftcore_node_run(nodes[id], now_ns()) < 0) {
            stop(id, "running", raftcore_node_failed(nodes[id]));
        }
        while (raftcore_node_next(nodes[id], &item)) {
            act(id, &item);
        }
        while (raftcore_node_has_work(nodes[id])) {
            raftcore_node_work(nodes[id]); /* A service would have a thread for this. */
        }
    }
}

static void wait_for_something(void)
{
    struct pollfd fds[NODES];
    uint64_t until_ns = UINT64_MAX, now = now_ns();
    for (unsigned id = 1; id <= NODES; id++) {
        uint64_t deadline_ns = raftcore_node_deadline_ns(nodes[id]);
        fds[id - 1] = (struct pollfd){.fd = raftcore_node_fd(nodes[id]), .events = POLLIN};
        until_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
    }
    uint64_t wait_ns = mail_count > 0 || until_ns <= now ? 0 : until_ns - now;
    poll(fds, NODES, (int)((wait_ns + 999999) / 1000000));
}

int main(int count, char **arguments)
{
    static struct raftcore_configuration members = {.count = NODES};
    uint64_t additions = count > 2 ? strtoull(arguments[2], NULL, 10) : 10000;
    if (count < 2) {
        fprintf(stderr, "usage: raft_counter DIRECTORY [ADDITIONS]\n");
        return 2;
    }
    for (unsigned id = 1; id <= NODES; id++) {
        members.members[id - 1] = (struct raftcore_member){.id = id, .flags = RAFTCORE_VOTER};
    }
    mkdir(arguments[1], 0777);
    for (unsigned id = 1; id <= NODES; id++) {
        char path[4096];
        struct raftcore_node_report report;
        struct raftcore_node_options options = {.size = sizeof(options), .cluster_id = 1, .create = true};
        options.core.id = id;
        options.first_members = &members;
        snprintf(path, sizeof(path), "%s/node-%u", arguments[1], id);
        if (raftcore_node_open(path, &options, &nodes[id], &report) != 0) {
            stop(id, path, report.text);
        }
    }
    const struct raftcore_command add = {.data = "+1", .size = 2};
    while (answered < additions || applied[1] < last_index || applied[2] < last_index || applied[3] < last_index) {
        wait_for_something();
        while (leader != 0 && proposed < additions && proposed - answered < OUTSTANDING_MAX &&
               raftcore_node_propose(nodes[leader], now_ns(), &add, 1, proposed) == 0) {
            proposed++;
        }
        deliver_and_act();
    }
    for (unsigned id = 1; id <= NODES; id++) {
        printf("node %u counts %llu\n", id, (unsigned long long)counters[id]);
        raftcore_node_close(nodes[id]);
    }
    return 0;
}
