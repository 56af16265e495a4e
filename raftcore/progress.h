/* progress.h - what a leader knows of one peer, and what is on its way to it.
 *
 * PROBE: where the logs part is not known; one append at a time. REPLICATE: known; appends follow each other within the
 * windows. SEND_SNAPSHOT: the peer is behind the beginning of the log.
 *
 * May include: memory.h. */

#ifndef RAFTCORE_PROGRESS_H
#define RAFTCORE_PROGRESS_H

#include "raftcore/memory.h"

struct inflight {
    uint64_t last_index; /* Of the append. */
    uint64_t bytes;      /* Of its entries. */
    uint64_t sent_ns;
};

/* raftcore_prefetch and idle hosts rely on this order: what a heartbeat looks at stands first, up to inflight_count. */
struct progress {
    uint64_t id;
    uint32_t state;  /* enum raftcore_peer_state. */
    bool is_member;  /* Else it has been removed, and is told so until it knows (C11). */
    bool probe_sent; /* Of PROBE: an append is on its way. */
    bool loading;    /* Entries for it are being read. */
    bool caught_up;
    bool damaged; /* It said so. */
    bool heard;   /* Of this record: anything came in. */
    bool quarantined;
    uint64_t match;       /* It has our entries up to here, durably. */
    uint64_t next;        /* The next entry to send. */
    uint64_t commit_sent; /* The highest commit in a message to it. */
    uint64_t session;     /* Its; 0: not known. */
    uint64_t stream;      /* The number of this record. */
    uint64_t heard_ns;
    uint64_t round;   /* The highest heartbeat round that it answered. */
    uint64_t credit;  /* Bytes from match on that it takes. */
    uint64_t sent_ns; /* When something that must be answered was last sent. */

    struct inflight *inflight; /* Ring, oldest first. */
    uint32_t inflight_head, inflight_count, inflight_capacity;
    uint64_t inflight_bytes;

    uint64_t probe_round;       /* The newest heartbeat round when a probe was last sent. */
    uint64_t leaves_ns;         /* Of a removed one: when it is given up. */
    uint64_t catch_up_to;       /* Of a learner: the end of the round that runs, */
    uint64_t catch_up_since_ns; /* and its beginning. */

    struct raftcore_snapshot snapshot; /* That is being sent. */
    uint64_t snapshot_taken;           /* Bytes of it that the peer has. */
    uint64_t snapshot_sent;
};

/* A new record: nothing is known but where to begin. */
void progress_begin(struct progress *progress, uint64_t id, uint64_t next, uint64_t stream, uint64_t now_ns);
void progress_free(struct progress *progress, struct memory *memory);

void progress_to_probe(struct progress *progress, uint64_t next);
void progress_to_replicate(struct progress *progress);
void progress_to_snapshot(struct progress *progress, const struct raftcore_snapshot *snapshot);

/* Is there room for an append more? */
bool progress_is_paused(const struct progress *progress, uint32_t window_messages, uint64_t window_bytes);

/* An append up to last_index is on its way. False: no memory; it must not be sent. */
bool progress_sent(struct progress *progress, struct memory *memory, uint64_t last_index, uint64_t bytes,
                   uint64_t now_ns);

/* Its log matches up to index. True: that is news. */
bool progress_matched(struct progress *progress, uint64_t index);

/* It refused the append behind `refused`, and its log can match at hint at most. True: it is to be probed again; false:
 * the refusal is an old one. */
bool progress_refused(struct progress *progress, uint64_t refused, uint64_t hint);

#endif
