/* engine.h - the log under load: blocking threads, or one event loop, closed or open, for a fixed time.
 *
 * The log does the group commit; nothing here does. Segments are recycled ones, as in a log that has been in use for a
 * while: the start is moved up behind the end all the time, and engine_prepare has gone round once.
 *
 * May include: bench/histogram.h, wal/wal.h. */

#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "bench/histogram.h"
#include "wal/io.h"
#include "wal/wal.h"

enum { ENGINE_THREADS_MAX = 256, ENGINE_OUTSTANDING_MAX = 65536 };

/* What one append may take of a batch of the usual size, as engine_append_bytes counts. */
enum { ENGINE_APPEND_BYTES_MAX = (2 << 20) - 360 };
uint64_t engine_append_bytes(unsigned records, uint32_t record_bytes);

struct load {
    const char *directory; /* Of the log; made when it is not there, and left. */
    struct wal_io *io;     /* Instead of the disk below `directory`; NULL: that disk. */
    const struct wal_allocator *allocator;
    enum wal_strategy strategy;
    enum wal_backend backend;
    uint64_t segment_bytes;     /* 0: 64 MiB. */
    uint32_t batches_in_flight; /* 0: the library's default. */
    unsigned threads;           /* Blocking, each in a closed loop. 0: one event loop with */
    unsigned outstanding;       /* so many appends. */
    unsigned records;           /* In one append. */
    uint32_t record_bytes;
    double rate_per_s; /* Event loop: appends are due at this rate, whether earlier ones are durable or not, and are
                        * timed from when they were due. 0: as soon as another is durable. */
    double seconds, warm_seconds;
};

struct outcome {
    struct histogram latency; /* An append, from before the call (or from when it was due) until known durable. */
    uint64_t operations, records, payload_bytes, elapsed_ns, cpu_ns;
    uint64_t unfinished; /* With a rate: due, and not durable when the time was over. They are not in `latency`. */
    uint64_t batches, batch_bytes;
    /* Since the log was opened, the warm-up included. */
    struct wal_latency queue, write, sync, acknowledge;
    enum wal_strategy strategy;
    bool direct;
    char backend[24];
};

/* Streams through the log until its files have come round, so that no load meets one that is being zeroed. 0, or -1 and
 * it has said what failed; so the others. */
int engine_prepare(const struct load *load);

int engine_run(const struct load *load, struct outcome *outcome);

/* One blocking thread: only the commits that roll are counted. */
int engine_find_rolls(const struct load *load, struct histogram *rolling);

#endif
