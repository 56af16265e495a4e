/* cluster.h - a cluster of cores in virtual time: network, disks and clocks from one seed.
 *
 * For tests of the core alone: the disk is a model (units become durable in order, a crash keeps any prefix of those on
 * their way), the network loses, doubles, delays and reorders. After every step what must hold between nodes is
 * checked. Not thread-safe; nothing here reads a real clock. */

#ifndef TESTS_RAFT_CLUSTER_H
#define TESTS_RAFT_CLUSTER_H

#include "raftcore/raftcore.h"

#include <stdio.h>

enum { CLUSTER_NODES_MAX = 12 };

#define MS 1000000ULL

struct cluster;

struct cluster_options {
    uint64_t seed;
    unsigned voters;              /* Nodes 1 to voters belong from the beginning. */
    unsigned spares;              /* Nodes behind them run, and belong to nothing yet. */
    unsigned drop;                /* Of 1,000 messages so many are lost, */
    unsigned duplicate;           /* come twice, */
    unsigned delay;               /* come late. */
    uint64_t delay_ns;            /* So late at most. */
    uint64_t disk_ns;             /* A sync takes up to this. */
    bool damage;                  /* Crashes may leave uncertain tails and holes. */
    struct raftcore_options core; /* id, log_id, seed and size are filled in. */
    FILE *trace;                  /* NULL, or where each event is told. */
};

struct cluster *cluster_new(const struct cluster_options *options);
void cluster_free(struct cluster *cluster);
/* The end of all cores, which have given everything back then, or that is a failure. Nothing else may be done behind it
 * but to ask for the failure, and cluster_free. */
void cluster_end(struct cluster *cluster);

/* The first thing that did not hold; NULL: all held so far. */
const char *cluster_failure(const struct cluster *cluster);
/* Says that something does not hold. */
void cluster_fail(struct cluster *cluster, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lets virtual time pass; returns early when something fails. */
void cluster_run(struct cluster *cluster, uint64_t ns);
uint64_t cluster_now(const struct cluster *cluster);
uint64_t cluster_steps(const struct cluster *cluster);
uint64_t cluster_random(struct cluster *cluster, uint64_t bound);

/* Nodes have ids from 1. */
struct raftcore *cluster_core(struct cluster *cluster, unsigned id); /* NULL: it is down. */
bool cluster_is_up(const struct cluster *cluster, unsigned id);
void cluster_crash(struct cluster *cluster, unsigned id);
void cluster_restart(struct cluster *cluster, unsigned id);
void cluster_link(struct cluster *cluster, unsigned from, unsigned to, bool works);
void cluster_isolate(struct cluster *cluster, unsigned id, bool isolated); /* Both ways, all others. */
void cluster_heal(struct cluster *cluster);                                /* All links; no losses from now on. */
void cluster_stall_disk(struct cluster *cluster, unsigned id, bool stalled);
void cluster_jump_clock(struct cluster *cluster, unsigned id, uint64_t ns);
void cluster_slow_apply(struct cluster *cluster, unsigned id, bool stopped);
void cluster_set_faults(struct cluster *cluster, unsigned drop, unsigned duplicate, unsigned delay, uint64_t delay_ns);
/* Of so many requests of a core for memory one is refused; 0: none. Until the network heals. */
void cluster_set_scarcity(struct cluster *cluster, uint64_t one_in);
/* Of those from now on the first-th (1: the next one), and count in all. */
void cluster_refuse_memory(struct cluster *cluster, unsigned id, uint64_t first, uint64_t count);
uint64_t cluster_memory_refused(const struct cluster *cluster, unsigned id);
/* Of 1,000 answers so many come 200 ms to 2,200 ms late, the shorter delays more often. */
void cluster_delay_answers(struct cluster *cluster, unsigned per_thousand);
void cluster_set_snapshots(struct cluster *cluster, uint64_t every, uint64_t keep); /* Entries; 0: none. */

/* Is everything that was applied anywhere also on the disk of another node than this one? */
bool cluster_has_copy_elsewhere(const struct cluster *cluster, unsigned id);
/* Has another node this entry, readable? */
bool cluster_holds_elsewhere(const struct cluster *cluster, unsigned id, uint64_t index);
/* A node that is down and will start with damage: its newest batch is gone; the entry `hole` (0: none) does not read.
 */
void cluster_damage(struct cluster *cluster, unsigned id, bool tail, uint64_t hole);

/* An event for a node, again and again while it is refused for want of memory; returns the step's reason. */
int cluster_step(struct cluster *cluster, unsigned id, struct raftcore_event *event);
/* A value, which must not be 0; returns its index, or 0 when the node does not lead. size: of the payload, at least 8.
 */
uint64_t cluster_propose(struct cluster *cluster, unsigned id, uint64_t value, uint32_t size);
int cluster_read(struct cluster *cluster, unsigned id, bool lease);
uint64_t cluster_reads_answered(const struct cluster *cluster);

/* The one leader of the highest term that a majority can hear of; 0: there is none. */
unsigned cluster_leader(struct cluster *cluster);
/* How many nodes have applied this value, and at which index (0: none). */
unsigned cluster_applied(struct cluster *cluster, uint64_t value, uint64_t *index);
uint64_t cluster_applied_index(const struct cluster *cluster, unsigned id);
uint64_t cluster_committed(const struct cluster *cluster);              /* The highest index that any node applied. */
uint64_t cluster_messages(const struct cluster *cluster);               /* Requests sent so far, answers not counted. */
uint64_t cluster_bytes(const struct cluster *cluster);                  /* Of payloads in messages sent so far. */
uint64_t cluster_log_bytes(const struct cluster *cluster, unsigned id); /* Of payloads in its durable log. */

#endif
