/* peer.h - what the peer programs share: their options, callers in a closed loop, failure, and the answer.
 *
 * A peer program runs one work on one thing that people use instead of this log:
 *
 *     peer_X --directory DIR --threads T --size BYTES --batch N --seconds S --warmup S [--seed N]
 *
 * T callers, each in a closed loop, append N records of BYTES payload that are durable when the call returns. The
 * answer is one line of JSON of schema "walbench.peer/1" on stdout.
 *
 * May include: bench/histogram.h. */

#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"

enum { PEER_EXIT_USAGE = 2, PEER_EXIT_FAILED = 3, PEER_EXIT_INTERRUPTED = 130 };

struct peer_options {
    const char *directory; /* Exists, empty, on a real disk. */
    unsigned threads;
    size_t size_bytes;
    unsigned batch; /* Records of one operation, under one sync. */
    double seconds, warm_seconds;
    uint64_t seed;
};

/* Between begin and end: the operations that began in it, until the last of them was durable. */
struct peer_window {
    struct histogram latency;
    uint64_t start_ns, start_cpu_ns;
    uint64_t elapsed_ns, cpu_ns;
};

/* Who answers. */
struct peer_name {
    const char *peer, *version;
    const char *what; /* Which of its calls and settings were measured. */
};

/* Ends the program where the options or the directory are no good. From here on an interrupt ends it, quietly. */
void peer_begin(int argc, char *argv[], struct peer_options *options);

/* One line on stderr, and the program ends. Of several threads that fail, one is heard. */
_Noreturn void peer_failed(const char *what, const char *text);
_Noreturn void peer_failed_errno(const char *what, int error);

/* Memory that is there, zeroed. */
void *peer_memory(size_t count, size_t bytes);
/* A path in the directory, to be freed. */
char *peer_path(const struct peer_options *options, const char *file);
/* The payload of one operation: batch times size_bytes, drawn from the seed; to be freed. */
unsigned char *peer_payload(const struct peer_options *options);

uint64_t peer_clock_ns(void);
void peer_window_begin(struct peer_window *window);
void peer_window_end(struct peer_window *window);

/* Appends one operation and returns once it is durable; if that fails, does not return. caller: 0 to threads - 1. */
typedef void peer_append(void *peer, unsigned caller);

/* All the callers, warm-up and measurement, each caller a thread. */
void peer_run_threads(const struct peer_options *options, peer_append *append, void *peer, struct peer_window *window);

/* The line on stdout. */
void peer_answer(const struct peer_options *options, const struct peer_name *name, const struct peer_window *window);

#endif
