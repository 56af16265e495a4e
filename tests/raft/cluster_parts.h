/* cluster_parts.h - what the files of the cluster share: its nodes, and the things to come. For cluster*.c alone.
 *
 * May include: cluster.h, disk.h, parcel.h, scarce.h. */

#ifndef TESTS_RAFT_CLUSTER_PARTS_H
#define TESTS_RAFT_CLUSTER_PARTS_H

#include "tests/raft/cluster.h"
#include "tests/raft/disk.h"
#include "tests/raft/parcel.h"
#include "tests/raft/scarce.h"

enum { OFFERS_MAX = 1000 };

enum thing_kind {
    THING_MESSAGE,
    THING_PERSIST,
    THING_IDLE,
    THING_TIME,
    THING_LOAD,
    THING_APPLY,
    THING_WRITTEN,
    THING_SPLICE
};

struct thing {
    uint64_t at_ns;
    uint64_t order; /* Of equal times the earlier made. */
    enum thing_kind kind;
    unsigned node;
    uint64_t life; /* Of the node; another one: it has crashed since. */
    struct raftcore_message *message;
    uint64_t a, b, c;
    struct raftcore_snapshot snapshot;
};

struct node {
    struct raftcore *core; /* NULL: down. */
    struct scarce memory;  /* Of all its cores. */
    struct disk disk;
    uint64_t life;
    uint64_t deadline_ns; /* On the node's clock. */
    uint64_t time_thing_at;
    uint64_t clock_ahead_ns;
    uint32_t syncing; /* Units in the sync that runs; 0: none does. */
    bool stalled, apply_stopped, lost_tail;
    uint64_t applied, apply_to;
    uint64_t state; /* Of the state machine: a hash of all that it applied. */
    bool applying;
    uint64_t last_leader_term;
};

struct truth {
    uint64_t term, value, state;
    uint64_t by_term; /* No leader before this term committed it later: of the node that applied it first. */
};

struct cluster {
    struct cluster_options options;
    uint64_t random, now_ns, steps, order, messages, bytes, sessions, snapshots, reads_answered;
    unsigned count;
    struct node nodes[CLUSTER_NODES_MAX + 1];
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    struct thing *heap;
    uint32_t heap_count, heap_capacity;
    struct arena arena;
    struct truth *truth; /* By index. */
    uint64_t truth_count, truth_capacity;
    unsigned *leader_of_term;
    uint64_t term_capacity;
    uint64_t snapshot_every, snapshot_keep;
    unsigned late_answers;
    char failure[400];
};

/* --- cluster.c ----------------------------------------------------------------------------------- */

uint64_t cluster_mix(uint64_t value);
bool cluster_chance(struct cluster *cluster, unsigned per_thousand);
/* Into the trace, when there is one. */
void cluster_tell(struct cluster *cluster, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t cluster_value_of(const struct raftcore_entry *entry);
/* The thing is to come; its message is the heap's from now on. */
void cluster_later(struct cluster *cluster, struct thing thing, uint64_t delay_ns);

/* --- cluster_step.c ------------------------------------------------------------------------------ */

void cluster_begin_sync(struct cluster *cluster, unsigned id);
void cluster_begin_apply(struct cluster *cluster, unsigned id);
/* The thing has come to a node that lives. */
void cluster_carry_out(struct cluster *cluster, const struct thing *thing);

#endif
