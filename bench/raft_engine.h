/* raft_engine.h - Raft nodes under load: one node, or three in one process with links in memory, each with a log and
 * snapshots of its own on the disk; one event loop for all.
 *
 * May include: bench/histogram.h. */

#ifndef BENCH_RAFT_ENGINE_H
#define BENCH_RAFT_ENGINE_H

#include "bench/histogram.h"

#include <stdbool.h>

enum { RAFT_NODES_MAX = 3 };

struct raft_load {
    const char *directory; /* Of the nodes; made when it is not there, and left. */
    unsigned nodes, outstanding;
    uint32_t record_bytes;
    uint64_t snapshot_bytes; /* Of entries, between two snapshots; 0: 64 MiB. */
    uint64_t added_ns;       /* To every sync of each node's own disk, which is emulated then; 0: none is. */
    double seconds, warm_seconds;
};

struct raft_outcome {
    struct histogram latency; /* A proposal, from before the call until it is applied at the leader. */
    uint64_t operations, elapsed_ns, cpu_ns, batches;
};

/* 0, or -1 and it has said what failed. */
int raft_engine_run(const struct raft_load *load, struct raft_outcome *outcome);

/* Makes a node whose log holds so many bytes of entries behind a snapshot, if it is not there. */
int raft_engine_make(const char *directory, uint64_t log_bytes, uint32_t record_bytes);
/* Opens and closes it; *took_ns is the open, until the state machine may begin; *entries what its log holds. */
int raft_engine_restart(const char *directory, bool warm, uint64_t *took_ns, uint64_t *entries);

#endif
