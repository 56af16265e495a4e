/* strategy.h - which of several ways of making a write durable is the fastest here: a probe made of the first commits.
 *
 * May include: wal.h, io.h. */

#ifndef WAL_STRATEGY_H
#define WAL_STRATEGY_H

#include "wal/io.h"
#include "wal/wal.h"

enum { STRATEGY_METHODS = 4, STRATEGY_SAMPLES = 15 };

struct strategy {
    enum wal_io_method chosen; /* DEFAULT while trying. */
    uint32_t methods;          /* Bit (1 << method): can be tried. */
    uint32_t next;             /* Round robin. */
    uint32_t samples[STRATEGY_METHODS];
    uint64_t sample_ns[STRATEGY_METHODS][STRATEGY_SAMPLES];
};

/* forced: METHOD_DEFAULT to try all of them. A method that is not in `methods` is not forced. */
void strategy_start(struct strategy *strategy, uint32_t methods, enum wal_io_method forced);

/* The method for the next durable write. */
enum wal_io_method strategy_next(struct strategy *strategy);

/* How long it took. Large writes say little about the sync and are left out. */
void strategy_learn(struct strategy *strategy, enum wal_io_method method, uint32_t bytes, uint64_t duration_ns);

/* Median seen for a method; 0: none. */
uint64_t strategy_median_ns(const struct strategy *strategy, enum wal_io_method method);

#endif
