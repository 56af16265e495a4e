/* node.h - a node of a Raft cluster: core, log and snapshots behind one handle, driven by the caller's loop.
 *
 *     struct raftcore_node *node;
 *     raftcore_node_open("/var/lib/me", &options, &node, NULL);
 *     for (;;) {
 *         poll raftcore_node_fd(node) and the own sockets until raftcore_node_deadline_ns(node);
 *         raftcore_node_receive(node, now, bytes, size);      for each message that came in
 *         raftcore_node_propose(node, now, commands, n, me);  for what clients want
 *         raftcore_node_run(node, now);                       completions, timers, writes
 *         while (raftcore_node_next(node, &item))             what is to be done now
 *             switch (item.kind) ...
 *     }
 *
 * WHAT COMES OUT, in this order, one item at a time
 *   SEND      bytes to a peer, over any transport that keeps messages whole; it may lose, double and reorder them
 *   APPLY     one committed entry for the state machine; say raftcore_node_applied when it is done, soon or later
 *   RESTORE   the state machine is to be set to a snapshot: read it with raftcore_node_restore, then say applied
 *   SNAPSHOT  it is time to take one: raftcore_node_snapshot_begin, _put, _end
 *   PROPOSED  what became of a proposal: its index, or the reason why it was refused
 *   READ      the state machine may be read now for this request, or the reason why not
 *   ROLE      role, leader or members changed
 *   Nothing calls back, and nothing happens behind the caller's back.
 *
 * ON THE DISK, below the node's directory
 *   log-N/        a log of libwal: an entry is a record; term, vote and commit are its metadata (waldump reads it)
 *   snapshots/    files of the state machine, the two newest that read; the log reaches back to the older one
 *
 * THREADS
 *   A node belongs to one thread at a time; all calls but one. raftcore_node_work does what blocks on the disk: it may
 *   be called from the same loop, or for ever by a thread of the caller's. No thread is started but the log's own
 *   "wal-helper" and, without io_uring, "wal-commit" (WAL_NO_THREADS in options.wal: none).
 *
 * MEMORY
 *   Payloads are copied in; what an item points to is valid until the next call with this node. Bounded by the options
 *   of the core.
 *
 * AFTER A FAILURE
 *   A call that returns a negative code and leaves raftcore_node_failed() NULL has refused, and changed nothing. When
 *   raftcore_node_failed() tells something, the disk failed or a rule was broken: nothing is sent or applied any more.
 *   Close, and open anew: the open says what the disk still holds.
 *
 * May include: raftcore.h, disk.h, wal.h. */

#ifndef RAFTCORE_NODE_H
#define RAFTCORE_NODE_H

#include "raftcore/disk.h"
#include "raftcore/raftcore.h"
#include "wal/wal.h"

#ifdef __cplusplus
extern "C" {
#endif

struct raftcore_node;

/* A field that is 0 has the default that stands behind it. */
struct raftcore_node_options {
    size_t size;                                        /* sizeof(struct raftcore_node_options). */
    struct raftcore_options core;                       /* id is needed; size and seed may be 0. log_id 0: the log's. */
    uint64_t cluster_id;                                /* Of all nodes that may talk with this one; not 0. */
    uint64_t session;                                   /* Different at each start; 0: drawn from the kernel. */
    uint64_t now_ns;                                    /* On the clock of all calls; 0: that is CLOCK_BOOTTIME. */
    bool create;                                        /* Make the node when there is none. */
    bool accept_alone;                                  /* A cluster of one starts though its log lost something. */
    const struct raftcore_configuration *first_members; /* Of a node that is made; the same on each of the first nodes;
                                                           NULL: none, it is added to a running cluster later. */
    const struct wal_options *wal; /* NULL: the log's defaults. CREATE, READ_ONLY and ACCEPT are set by the node. */
    uint64_t snapshot_bytes;       /* Of applied entries, until SNAPSHOT is asked for: 64 MiB. */
    uint64_t keep_entries;         /* Entries that stay in the log behind a snapshot, at least: 1,024. */
    struct raftcore_disk *disk;    /* NULL: raftcore_node_open's directory. */
};

/* What the open found. */
struct raftcore_node_report {
    bool created;
    bool rebuilt;               /* The log was copied, since parts of it do not read. */
    bool uncertain;             /* The end of the log is: the node neither votes freely nor leads until repaired. */
    uint32_t holes;             /* Entries that do not read, in so many ranges; peers are asked for them. */
    uint32_t snapshots_damaged; /* Files that do not read. */
    uint64_t first_index, last_index, snapshot_index;
    uint64_t log_id;
    struct wal_verdict verdict; /* Of the log. */
    char text[640];             /* On failure: what failed, and the next step. */
};

/* Opens, or with options.create makes, the node in a directory whose parent exists (path is ignored when options.disk
 * is given). 0, or a negative code (WAL_E..., errno) with the words in report->text (report may be NULL). Blocks. */
RAFTCORE_API int raftcore_node_open(const char *path, const struct raftcore_node_options *options,
                                    struct raftcore_node **node, struct raftcore_node_report *report);

/* Ends in order: what is on its way is made durable. raftcore_node_work must not be running. NULL is allowed. */
RAFTCORE_API int raftcore_node_close(struct raftcore_node *node);

/* Readable when raftcore_node_run has something to do; or a negative code. */
RAFTCORE_API int raftcore_node_fd(struct raftcore_node *node);
/* By then raftcore_node_run wants to be called; on the caller's clock. */
RAFTCORE_API uint64_t raftcore_node_deadline_ns(const struct raftcore_node *node);

/* --- what goes in -------------------------------------------------------------------------------- */

/* Each returns 0, a reason (enum raftcore_reason, positive) for which it was refused, or a negative code when the node
 * has failed. now_ns: as in raftcore.h. */

/* Takes completions, lets timers fire, lets the log write. */
RAFTCORE_API int raftcore_node_run(struct raftcore_node *node, uint64_t now_ns);
/* A message as item SEND of a peer gave it. Damaged, foreign or hostile bytes are refused. */
RAFTCORE_API int raftcore_node_receive(struct raftcore_node *node, uint64_t now_ns, const void *bytes, size_t size);

struct raftcore_command {
    const void *data;
    uint32_t size;
};
/* All of them, in a row, or none; the outcome comes as PROPOSED with `context`, if this call returns 0: reason 0 says
 * that a leader has taken them, not that they are committed. A follower hands them on, and what is lost on the way is
 * never told of: give up by a time of your own. raftcore_node_run must follow, or nothing is written. */
RAFTCORE_API int raftcore_node_propose(struct raftcore_node *node, uint64_t now_ns,
                                       const struct raftcore_command *commands, uint32_t count, uint64_t context);
RAFTCORE_API int raftcore_node_read(struct raftcore_node *node, uint64_t now_ns, uint64_t context, bool lease);
RAFTCORE_API int raftcore_node_change(struct raftcore_node *node, uint64_t now_ns,
                                      const struct raftcore_change *changes, uint32_t count, uint32_t transition);
RAFTCORE_API int raftcore_node_transfer(struct raftcore_node *node, uint64_t now_ns, uint64_t to);
/* roll_call: the operator's word, raftcore/DESIGN.md section 6. */
RAFTCORE_API int raftcore_node_campaign(struct raftcore_node *node, uint64_t now_ns, bool roll_call);
/* Messages to a peer were lost. */
RAFTCORE_API int raftcore_node_unreachable(struct raftcore_node *node, uint64_t now_ns, uint64_t peer);

/* --- what comes out ------------------------------------------------------------------------------ */

enum raftcore_item_kind {
    RAFTCORE_ITEM_SEND = 1,
    RAFTCORE_ITEM_APPLY,
    RAFTCORE_ITEM_RESTORE,
    RAFTCORE_ITEM_SNAPSHOT,
    RAFTCORE_ITEM_PROPOSED,
    RAFTCORE_ITEM_READ,
    RAFTCORE_ITEM_ROLE
};

struct raftcore_item {
    uint32_t kind;
    uint16_t reason;  /* PROPOSED, READ: 0, or why not. */
    uint16_t type;    /* APPLY: enum raftcore_entry_type; only NORMAL ones have something for the state machine. */
    uint64_t peer;    /* SEND. ROLE: the leader, 0: not known. */
    uint64_t index;   /* APPLY, RESTORE, PROPOSED (of the first command), READ (has been applied). */
    uint64_t term;    /* APPLY, PROPOSED. ROLE: the current one. */
    uint64_t context; /* PROPOSED, READ. */
    const void *data; /* SEND, APPLY. */
    size_t size;      /* Of data. RESTORE: of the state. */
    uint32_t role;    /* ROLE. */
};

/* False: nothing more for now. */
RAFTCORE_API bool raftcore_node_next(struct raftcore_node *node, struct raftcore_item *item);

/* The state machine holds everything up to index: of an item APPLY, or RESTORE. May be said for many at once. */
RAFTCORE_API int raftcore_node_applied(struct raftcore_node *node, uint64_t now_ns, uint64_t index);

/* --- snapshots ----------------------------------------------------------------------------------- */

/* A snapshot of what is applied now. The state may be put in at once or bit by bit while the node goes on, as long as
 * it is the state of this moment. One at a time. -EALREADY: nothing new since the last one, or one is being taken. */
RAFTCORE_API int raftcore_node_snapshot_begin(struct raftcore_node *node);
RAFTCORE_API int raftcore_node_snapshot_put(struct raftcore_node *node, const void *data, size_t bytes);
/* It is made durable by raftcore_node_work; then the log is compacted. */
RAFTCORE_API int raftcore_node_snapshot_end(struct raftcore_node *node);
RAFTCORE_API void raftcore_node_snapshot_abort(struct raftcore_node *node);

/* State of the snapshot that the last RESTORE named, verified: [offset, offset + bytes). */
RAFTCORE_API int raftcore_node_restore(struct raftcore_node *node, uint64_t offset, void *to, size_t bytes);

/* Does one thing that blocks: entries read back for a peer, a snapshot made durable or read for a peer, upkeep of a log
 * without threads. True: there was something to do. */
RAFTCORE_API bool raftcore_node_work(struct raftcore_node *node);
/* Is there? For a caller who hands it to a thread. */
RAFTCORE_API bool raftcore_node_has_work(struct raftcore_node *node);

/* --- what there is to know ----------------------------------------------------------------------- */

RAFTCORE_API void raftcore_node_status(const struct raftcore_node *node, struct raftcore_status *status);
RAFTCORE_API enum raftcore_outcome raftcore_node_outcome(const struct raftcore_node *node, uint64_t index,
                                                         uint64_t term);
RAFTCORE_API void raftcore_node_log_stats(const struct raftcore_node *node, struct wal_stats *stats);
/* NULL, or why the node does nothing any more; the node's. */
RAFTCORE_API const char *raftcore_node_failed(const struct raftcore_node *node);

#ifdef __cplusplus
}
#endif

#endif
