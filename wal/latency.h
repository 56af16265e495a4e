/* latency.h - durations, counted in buckets: log-linear, at most 6 % wide, no allocation.
 *
 * May include: wal.h. */

#ifndef WAL_LATENCY_H
#define WAL_LATENCY_H

#include "wal/wal.h"

/* 16 buckets for each power of two, up to 2^40 ns (18 minutes); longer ones count in the last. */
enum { LATENCY_SUB_BITS = 4, LATENCY_BUCKETS = (40 - LATENCY_SUB_BITS + 1) << LATENCY_SUB_BITS };

struct latency {
    uint64_t count;
    uint64_t total_ns;
    uint64_t max_ns;
    uint32_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t duration_ns);

/* Percentiles are the upper edges of their buckets, never above the maximum seen. */
void latency_summarise(const struct latency *latency, struct wal_latency *out);

#endif
