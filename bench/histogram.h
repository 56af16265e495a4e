/* histogram.h - latencies counted in log-linear buckets: 32 to each power of two, so a value is told to 3 %. No
 * allocation, no lock: one histogram a thread, merged afterwards. Values are nanoseconds, up to 2^40 (18 minutes).
 *
 * May include: nothing of the project. */

#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SPLIT_BITS = 5,
    HISTOGRAM_SPLIT = 1 << HISTOGRAM_SPLIT_BITS,
    HISTOGRAM_BUCKETS = HISTOGRAM_SPLIT * 37
};

struct histogram {
    uint64_t count;
    uint64_t total_ns;
    uint64_t min_ns; /* 0 while there are none. */
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t times)
{
    unsigned bucket = (unsigned)ns;
    if (ns >= HISTOGRAM_SPLIT) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SPLIT_BITS;
        bucket = (shift + 1) * HISTOGRAM_SPLIT + (unsigned)((ns >> shift) - HISTOGRAM_SPLIT);
    }
    histogram->buckets[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1] += times;
    if (histogram->count == 0 || ns < histogram->min_ns)
        histogram->min_ns = ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
    histogram->count += times;
    histogram->total_ns += ns * times;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    if (from->count != 0 && (into->count == 0 || from->min_ns < into->min_ns))
        into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
    into->count += from->count;
    into->total_ns += from->total_ns;
}

/* Bucket `bucket` holds the values of [its low, the low of the next). */
static inline uint64_t histogram_low_ns(unsigned bucket)
{
    return bucket < HISTOGRAM_SPLIT
               ? bucket
               : (uint64_t)(HISTOGRAM_SPLIT + bucket % HISTOGRAM_SPLIT) << (bucket / HISTOGRAM_SPLIT - 1);
}

/* The upper end of the bucket that holds the given share (0 to 1) of all values; 0 when there are none. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)((double)histogram->count * share), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        seen += histogram->buckets[i];
        if (seen <= wanted && seen < histogram->count)
            continue;
        uint64_t end_ns = i < HISTOGRAM_SPLIT ? i : histogram_low_ns(i + 1);
        return end_ns < histogram->max_ns ? end_ns : histogram->max_ns;
    }
    return 0;
}

#endif
