/* session.h - one run of walbench: begin, add rows, measure, end.
 *
 * May include: bench/walbench.h. */

#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench/walbench.h"

struct session {
    const struct settings *settings;
    struct result result;
    char directory[WORKPLACE_PATH_BYTES]; /* Of this run; removed at its end. */
    bool measuring;                       /* Its plan stands: there is a result to tell, whatever comes of it. */
    uint64_t file_bytes;                  /* Of the files that are written by hand. */
    uint64_t log_segment_bytes;
};

/* Looks where it is, refuses what is no disk, makes the directory. EXIT_MEASURED, or an exit code after it has said
 * why. session_end is to be called in any case. more_bytes: room needed beside the usual files. */
int session_begin(struct session *session, const struct settings *settings, const char *command, uint64_t more_bytes);

/* Checks the plan, runs every row of it in every round, in an order drawn anew. Exit code. */
int session_measure(struct session *session);

/* Prints and writes what there is, removes the directory. The exit code of the program. */
int session_end(struct session *session, int code);

/* A row of the log, with its id; section and label are the caller's. NULL: it has been said why. */
struct row *session_add_log(struct session *session, unsigned threads, unsigned outstanding, uint32_t size_bytes,
                            unsigned records, double rate_per_s);

/* recover.c, peers.c and raft.c: the work of their rows in one round. 0, or -1 and it has said what failed. */
int recover_run(struct session *session, struct row *row);
int peer_run(struct session *session, struct row *row);
int raft_run(struct session *session, struct row *row);

/* A row of what people use instead; NULL: it has been said why. */
struct row *peers_add(struct session *session, const char *engine, unsigned threads, uint32_t size_bytes,
                      const char *label);

/* Reads a file of walbench.result/1. NULL: it has been said why. */
struct json_value *session_read_result(const char *path);

#endif
