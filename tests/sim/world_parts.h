/* world_parts.h - what a world is made of, for the files world*.c alone; tests see world.h. */

#ifndef TESTS_SIM_WORLD_PARTS_H
#define TESTS_SIM_WORLD_PARTS_H

#include "raftcore/node_parts.h"
#include "tests/sim/node_disk.h"
#include "tests/sim/world.h"

enum thing_kind { THING_MESSAGE, THING_DISK, THING_TIME, THING_WORK, THING_APPLY, THING_CALL };

enum { TERMS_MAX = 1 << 16 };

struct thing {
    uint64_t at_ns, order;
    enum thing_kind kind;
    unsigned node;
    uint64_t life;
    void *bytes;
    size_t size;
    void (*call)(void *context, uint64_t argument);
    void *context;
    uint64_t argument;
};

struct pending { /* An entry that a slow state machine has not applied yet. */
    uint64_t index, term;
    unsigned type;
    uint8_t *bytes;
    size_t size;
};

struct sim_node {
    struct raftcore_node *node; /* NULL: down. */
    struct node_disk *disk;
    struct node_disk *after; /* What the crash that is under way leaves. */
    unsigned crash_at;       /* In so many moments of its disks; 0: none. */
    bool crash_kills, crashed_by_cut;
    uint64_t life, clock_ahead_ns, log_id;
    bool stalled, slow, lost, made, joins_later;
    bool damaged, looked_at, ever_damaged; /* looked_at: started since the damage. */
    bool disk_thing, work_thing, apply_thing;
    uint64_t time_thing_at_ns;
    uint64_t safe_at_ns; /* No crash before: what is written last must be covered. */
    struct kv kv;
    struct pending *pending;
    unsigned pending_count;
    uint64_t led_term;
};

struct truth {
    uint64_t term, hash;
    uint64_t members; /* Of the entry that holds a configuration: a hash of it. 0: it holds none. */
};

struct world {
    struct world_options options;
    uint64_t random, now_ns, order, sessions;
    unsigned count;
    struct sim_node nodes[WORLD_NODES_MAX + 1];
    bool cut[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1];
    unsigned drop, duplicate, late, corrupt;
    uint64_t delay_ns, disk_ns;
    struct thing *heap;
    uint32_t heap_count, heap_capacity;
    struct truth *truth; /* By index. */
    uint64_t truth_capacity, applied_most;
    unsigned *leader_of_term;
    struct world_watch watch;
    struct world_counts counts;
    struct wal_options wal;
    struct raftcore_configuration members;
    char failure[5000];
};

/* --- world.c ------------------------------------------------------------------------------------- */

/* Adds to what is to come; of a thing of a node's nothing comes when that life of it is over. */
void world_later(struct world *world, struct thing thing, uint64_t delay_ns);
/* What is to come for this node: its disk, its work, its time. */
void world_look_ahead(struct world *world, unsigned id);
/* A crash is here: what it leaves is taken now. */
void world_take_after(struct world *world, struct sim_node *node);
/* There was one, and it is over: what counts from now on is what it left. */
bool world_crashed(struct world *world, unsigned id);

/* --- world_apply.c ------------------------------------------------------------------------------- */

void world_check_leader(struct world *world, unsigned id, const struct raftcore_item *item);
void world_take_entry(struct world *world, unsigned id, const struct raftcore_item *item);
/* A slow state machine has time for a few. */
void world_apply_some(struct world *world, unsigned id);
void world_restore(struct world *world, unsigned id, const struct raftcore_item *item);
void world_take_snapshot(struct world *world, unsigned id);
/* What was not applied yet is forgotten. */
void world_drop_pending(struct sim_node *node);

#endif
