/* node_parts.h - a node from inside. For the files node*.c alone; callers see node.h.
 *
 * May include: node.h, storage.h, memory.h. */

#ifndef RAFTCORE_NODE_PARTS_H
#define RAFTCORE_NODE_PARTS_H

#include "raftcore/node.h"
#include "raftcore/storage.h"

#include <pthread.h>

/* Events: what one output is followed by, and loads that failed, which are one of each peer, or, when it is probed anew
 * meanwhile, two. The core has records of twice as many peers as there can be members. */
enum { NODE_TEXT_BYTES = 700, NODE_EVENTS_MAX = 4 * RAFTCORE_MEMBERS_MAX + 16, NODE_ENVELOPE_BYTES = 8 };

/* Payloads that came in together; each has the block's address in front of it. */
struct payload_block {
    struct payload_block *next, *previous; /* Of the node's; NULL: it is in no list. */
    size_t bytes;
    uint32_t references; /* Entries that the core holds, and one while the event is at work. */
};

/* What is done away from the loop. */
enum job_kind {
    JOB_LOAD,     /* Entries for a peer; peer 0: for another node's hole. */
    JOB_REPLAY,   /* Entries to be applied that the core does not hold. */
    JOB_PIECE,    /* A piece of a snapshot, into a message. */
    JOB_TAKEN,    /* An own snapshot is made durable. */
    JOB_RECEIVED, /* One that came in is verified and made durable. */
    JOB_KINDS
};

struct job {
    struct job *next;
    enum job_kind kind;
    int status;
    uint64_t peer, first_index, index, offset;
    uint32_t count, bytes;
    uint64_t unreadable;            /* The entry that did not read; 0: none. */
    struct payload_block *block;    /* Of the entries. */
    struct raftcore_entry *entries; /* So many were wanted; count are there. */
    uint32_t capacity;
    uint8_t *message; /* JOB_PIECE. */
    size_t message_bytes;
    uint8_t *piece;
    struct snapshot_writer writer;
    struct snapshot_receiver receiver;
    struct snapshot_header header;
};

enum { NODE_JOBS_MAX = 256 };

struct queued {
    struct raftcore_item item;
    uint8_t *bytes; /* Of a message; NULL: none. */
    size_t size;
};

struct raftcore_node {
    struct raftcore_node_options options;
    struct memory memory;
    struct raftcore_disk *disk;
    bool owns_disk;
    struct wal_io *snapshots_io;
    struct snapshot_store snapshots;
    struct storage storage;
    struct raftcore *core;
    struct raftcore_node_report report;
    struct wal_options wal; /* What options.wal points to. */
    bool begun;             /* There was a log before. */
    bool is_empty;          /* The state machine holds nothing that counts: no RESTORE has been carried out yet. */
    uint64_t now_ns, deadline_ns, last_unit_ns, prepared_ns, kept_up_ns;
    uint64_t told_sequence; /* Durable, as the core knows it. */
    uint64_t told_covered;
    char failed[NODE_TEXT_BYTES];

    /* Coming out. */
    struct queued *items; /* Ring, oldest first. */
    uint32_t item_head, item_count, item_capacity;
    struct queued current; /* What the caller was given last. */
    uint64_t apply_next, apply_end;
    struct job *replay; /* Entries read back, to be applied. */
    bool replay_wanted;
    uint64_t replay_not_before_ns; /* It met an entry that does not read. */
    uint64_t last_given;

    /* Going in. */
    struct payload_block payloads; /* The list of those that the core may refer to. */
    struct raftcore_entry *entries;
    uint32_t entry_capacity;
    struct raftcore_event events[NODE_EVENTS_MAX]; /* Of the node's own, to be stepped behind what is at work. */
    uint32_t event_count;
    bool in_step;

    /* Snapshots. */
    uint64_t applied, applied_bytes; /* The state machine's; bytes since the last snapshot. */
    bool snapshot_wanted, snapshot_open, snapshot_ending;
    struct snapshot_writer writer;
    bool receiving;
    struct snapshot_receiver receiver;
    uint64_t restore_index;
    bool restore_open;
    struct snapshot_reader reader;

    /* Work. */
    pthread_mutex_t lock;
    struct job *todo, *todo_last, *done;
    uint32_t jobs;                  /* Anywhere. */
    bool working;                   /* One is being done. */
    struct snapshot_reader sending; /* Of the worker. */
    uint64_t sending_index;
    bool sending_open;
    bool woken;
    int wake_fd, poll_fd; /* -1: not asked for. */
    int log_fd;
};

/* --- node.c -------------------------------------------------------------------------------------- */

void node_fail(struct raftcore_node *node, const char *what, const char *detail);
/* One event through the core, and what its output asks for; then events of the node's own. */
int node_step(struct raftcore_node *node, struct raftcore_event *event);
/* An event that follows from what is at work. */
void node_follow(struct raftcore_node *node, const struct raftcore_event *event);
struct queued *node_queue(struct raftcore_node *node, uint32_t kind);

/* --- node_work.c --------------------------------------------------------------------------------- */

/* Room for `count` payloads of together so many bytes. NULL: no memory. */
struct payload_block *payload_take(struct memory *memory, uint64_t count, uint64_t bytes);
/* Copies one in, behind those before; *used is 0 at first. */
const void *payload_put(struct payload_block *block, size_t *used, const void *data, uint32_t size);
/* Into the node's list, by which the end finds what the core still holds. */
void payload_list(struct raftcore_node *node, struct payload_block *block);
void payload_refer(const void *data);
void payload_let_go(struct memory *memory, const void *data);
void payload_drop(struct memory *memory, struct payload_block *block);

struct job *node_job(struct raftcore_node *node, enum job_kind kind);
void node_start_job(struct raftcore_node *node, struct job *job);
/* Takes up what has been done. */
void node_finish_jobs(struct raftcore_node *node);
void node_free_job(struct raftcore_node *node, struct job *job);
void node_drop_jobs(struct raftcore_node *node);
/* From the one to the other no job is done, and nobody else touches the log. */
void node_claim_worker(struct raftcore_node *node);
void node_release_worker(struct raftcore_node *node);
void node_worker_close(struct raftcore_node *node);

/* --- node_snapshot.c ----------------------------------------------------------------------------- */

void node_take_piece(struct raftcore_node *node, const struct raftcore_piece *piece);
void node_snapshot_done(struct raftcore_node *node, struct job *job);
void node_compact(struct raftcore_node *node, uint64_t first_kept);
void node_look_for_snapshot(struct raftcore_node *node);
void node_snapshots_close(struct raftcore_node *node);

/* --- node_open.c --------------------------------------------------------------------------------- */

int node_watch_log(struct raftcore_node *node);

#endif
