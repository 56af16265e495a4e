/* strategy.c - which way of making a write durable is the fastest here.
 *
 * The happy path: strategy_next before each write, strategy_learn after it.
 *
 * write and fdatasync, one write with RWF_DSYNC, a linked pair in a ring: which wins depends on the device's
 * write-through, the file system and the kernel. So the first commits of a handle take turns - each is durable
 * whichever way it goes, so the probe costs nothing and measures the real thing - and from then on the one with the
 * lowest median is used.
 *
 * What can fail: nothing.
 *
 * Invariants: chosen is one of methods, or DEFAULT until each has STRATEGY_SAMPLES samples.
 *
 * May include: strategy.h. */

#include "wal/strategy.h"

#include <string.h>

enum { LARGE_WRITE_BYTES = 256 << 10 };

void strategy_start(struct strategy *strategy, uint32_t methods, enum wal_io_method forced)
{
    memset(strategy, 0, sizeof(*strategy));
    strategy->methods = methods & ~1u;
    if (forced != WAL_IO_METHOD_DEFAULT && (strategy->methods & (1u << forced)) != 0) {
        strategy->chosen = forced;
    } else if (__builtin_popcount(strategy->methods) == 1) {
        strategy->chosen = (enum wal_io_method)__builtin_ctz(strategy->methods);
    }
}

enum wal_io_method strategy_next(struct strategy *strategy)
{
    if (strategy->chosen != WAL_IO_METHOD_DEFAULT || strategy->methods == 0) {
        return strategy->chosen;
    }
    do {
        strategy->next = (strategy->next + 1) % STRATEGY_METHODS;
    } while ((strategy->methods & (1u << strategy->next)) == 0);
    return (enum wal_io_method)strategy->next;
}

uint64_t strategy_median_ns(const struct strategy *strategy, enum wal_io_method method)
{
    uint32_t count = strategy->samples[method];
    uint64_t sorted[STRATEGY_SAMPLES];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = i;
        while (to > 0 && sorted[to - 1] > strategy->sample_ns[method][i]) {
            sorted[to] = sorted[to - 1];
            to--;
        }
        sorted[to] = strategy->sample_ns[method][i];
    }
    return count != 0 ? sorted[count / 2] : 0;
}

void strategy_learn(struct strategy *strategy, enum wal_io_method method, uint32_t bytes, uint64_t duration_ns)
{
    if (strategy->chosen != WAL_IO_METHOD_DEFAULT || method == WAL_IO_METHOD_DEFAULT || bytes > LARGE_WRITE_BYTES) {
        return;
    }
    if (strategy->samples[method] < STRATEGY_SAMPLES) {
        strategy->sample_ns[method][strategy->samples[method]++] = duration_ns;
    }
    enum wal_io_method best = WAL_IO_METHOD_DEFAULT;
    for (uint32_t i = 1; i < STRATEGY_METHODS; i++) {
        if ((strategy->methods & (1u << i)) == 0) {
            continue;
        }
        if (strategy->samples[i] < STRATEGY_SAMPLES) {
            return;
        }
        if (best == WAL_IO_METHOD_DEFAULT ||
            strategy_median_ns(strategy, (enum wal_io_method)i) < strategy_median_ns(strategy, best)) {
            best = (enum wal_io_method)i;
        }
    }
    strategy->chosen = best;
}
