/* latency.c - durations, counted in buckets.
 *
 * The happy path: latency_add in the committer, under its lock; latency_summarise on a copy for wal_stats. A bucket is
 * chosen by the position of the highest set bit and the four bits below it, so that each power of two is cut into 16
 * equal parts: 6 % at the worst, exact below 16 ns. The owner's lock guards it; a snapshot copies the numbers out.
 *
 * Invariants: count is the sum of the buckets (which wrap at 2^32 each, after months at a million a second); max_ns is
 * exact.
 *
 * What can fail: nothing.
 *
 * May include: latency.h, check.h. */

#define _GNU_SOURCE
#include "wal/latency.h"

#include "wal/check.h"

static uint32_t bucket_of(uint64_t duration_ns)
{
    if (duration_ns < (1u << LATENCY_SUB_BITS)) {
        return (uint32_t)duration_ns;
    }
    uint32_t high_bit = 63u - (uint32_t)__builtin_clzll(duration_ns);
    uint32_t shift = high_bit - LATENCY_SUB_BITS;
    uint64_t bucket =
        ((uint64_t)(shift + 1) << LATENCY_SUB_BITS) + ((duration_ns >> shift) & ((1u << LATENCY_SUB_BITS) - 1));
    return bucket < LATENCY_BUCKETS ? (uint32_t)bucket : LATENCY_BUCKETS - 1;
}

static uint64_t upper_edge_ns(uint32_t bucket)
{
    if (bucket < (1u << LATENCY_SUB_BITS)) {
        return bucket;
    }
    uint32_t shift = (bucket >> LATENCY_SUB_BITS) - 1;
    uint64_t mantissa = (1u << LATENCY_SUB_BITS) + (bucket & ((1u << LATENCY_SUB_BITS) - 1));
    return ((mantissa + 1) << shift) - 1;
}

void latency_add(struct latency *latency, uint64_t duration_ns)
{
    latency->count++;
    latency->total_ns += duration_ns;
    if (duration_ns > latency->max_ns) {
        latency->max_ns = duration_ns;
    }
    latency->buckets[bucket_of(duration_ns)]++;
}

void latency_summarise(const struct latency *latency, struct wal_latency *out)
{
    *out = (struct wal_latency){.count = latency->count, .total_ns = latency->total_ns, .max_ns = latency->max_ns};
    const uint32_t per_mille[4] = {500, 900, 990, 999};
    uint64_t *results[4] = {&out->p50_ns, &out->p90_ns, &out->p99_ns, &out->p999_ns};
    uint64_t seen = 0;
    uint32_t next = 0;
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS && next < 4; bucket++) {
        seen += latency->buckets[bucket];
        while (next < 4 && latency->count != 0 && seen * 1000 >= latency->count * per_mille[next]) {
            uint64_t edge_ns = upper_edge_ns(bucket);
            *results[next++] = edge_ns < latency->max_ns ? edge_ns : latency->max_ns;
        }
    }
}
