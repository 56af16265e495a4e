/* script_nodes.h - nodes that do what a script says, one step at a time.
 *
 * Nothing happens by itself: time stands still but for ticks, messages lie in one row until they are delivered, and
 * what a core asks of its disk and its state machine is done when the node "handles its Ready".
 *
 * May include: script_words.h, disk.h. */

#ifndef TESTS_RAFT_SCRIPT_NODES_H
#define TESTS_RAFT_SCRIPT_NODES_H

#include "tests/raft/disk.h"
#include "tests/raft/script_words.h"

enum { SCRIPT_NODES_MAX = 12, SCRIPT_QUEUE_MAX = 256 };

#define SCRIPT_TICK_NS 100000000ULL

struct script_row {
    struct raftcore_message **messages;
    uint32_t count, capacity;
};

/* What a node's core wants, and where it stands with that. */
struct script_node {
    uint64_t id;
    struct raftcore *core; /* NULL: down. */
    struct raftcore_options options;
    struct raftcore_configuration first; /* It began with. */
    struct disk disk;
    uint64_t now_ns;
    bool asynchronous; /* Disk and state machine have commands of their own. */

    struct script_row outbox; /* Left the core, not yet the node. */
    uint32_t units_taken;     /* Of those on their way, by the disk's thread. */
    uint32_t appends[SCRIPT_QUEUE_MAX];
    uint32_t append_count; /* Batches of units for the disk's thread. */
    uint64_t applies[SCRIPT_QUEUE_MAX];
    uint32_t apply_count;                /* Ends of ranges for the state machine's thread. */
    uint64_t applied, taken_to, give_to; /* Up to here: applied; taken for it; given out by the core. */
    uint64_t restore_index;
    struct raftcore_snapshot written; /* index 0: none. */
    uint64_t splice_first, splice_last;
    struct raftcore_read_result reads[64];
    uint32_t read_count;
    struct raftcore_proposal_result refusals[64];
    uint32_t refusal_count;

    uint32_t shown_role;
    uint64_t shown_leader;
    struct raftcore_hard_state shown_hard;
};

struct script_nodes {
    struct script_node nodes[SCRIPT_NODES_MAX + 1]; /* From 1. */
    unsigned count;
    struct script_row network; /* In the order in which they were sent. */
    struct arena arena;
    uint64_t sessions, snapshots, contexts;
    uint64_t base;         /* script_words.h. */
    const char *complaint; /* What a core did that it must not; NULL: nothing. */
};

struct script_nodes *script_nodes_new(void);
void script_nodes_free(struct script_nodes *nodes);

/* NULL: there is none, or it is down. */
struct script_node *script_node(struct script_nodes *nodes, uint64_t id);

/* One event; takes the output. Returns the reason. */
int script_step(struct script_nodes *nodes, struct script_node *node, struct raftcore_event *event);

/* Makes and starts nodes[id]; options but for ids, configuration and disk are set. */
int script_node_start(struct script_nodes *nodes, struct script_node *node, struct raftcore_start *start);
void script_node_stop(struct script_node *node);

bool script_is_ready(const struct script_node *node);
/* Does and prints all that the core wants of its surroundings. */
void script_handle_ready(struct script_nodes *nodes, struct script_node *node, const struct words *words);
/* Batches and ranges that were taken, one at a time; false: none waits. */
bool script_append_thread(struct script_nodes *nodes, struct script_node *node, const struct words *words);
bool script_apply_thread(struct script_nodes *nodes, struct script_node *node, const struct words *words);

/* Puts a message at the end of the network's row. It belongs to the row from then on. */
void script_row_add(struct script_row *row, struct raftcore_message *message);
/* Takes out the message at this place. The caller's. */
struct raftcore_message *script_row_take(struct script_row *row, uint32_t place);

#endif
