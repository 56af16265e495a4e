/* test_numbers.c - durations in buckets, and the choice of the fastest strategy. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "wal/latency.h"
#include "wal/strategy.h"

enum { SAMPLES = 20000 };

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void assert_within_a_bucket(uint64_t told_ns, uint64_t exact_ns)
{
    assert_true(told_ns >= exact_ns);
    assert_true(told_ns <= exact_ns + exact_ns / 15 + 1);
}

static void test_percentiles_against_sorted_samples(void **state)
{
    (void)state;
    static struct latency latency;
    static uint64_t samples[SAMPLES];
    uint64_t random = 1;
    for (unsigned i = 0; i < SAMPLES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        samples[i] = (random >> 40) % (1u << (random >> 33) % 24);
        latency_add(&latency, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    struct wal_latency told;
    latency_summarise(&latency, &told);
    assert_int_equal(told.count, SAMPLES);
    assert_int_equal(told.max_ns, samples[SAMPLES - 1]);
    assert_within_a_bucket(told.p50_ns, samples[SAMPLES / 2 - 1]);
    assert_within_a_bucket(told.p90_ns, samples[SAMPLES / 10 * 9 - 1]);
    assert_within_a_bucket(told.p99_ns, samples[SAMPLES / 100 * 99 - 1]);
    assert_within_a_bucket(told.p999_ns, samples[SAMPLES / 1000 * 999 - 1]);
}

static void test_no_sample_and_a_huge_one(void **state)
{
    (void)state;
    static struct latency latency;
    struct wal_latency told;
    latency_summarise(&latency, &told);
    assert_int_equal(told.p50_ns + told.p999_ns + told.max_ns, 0);
    latency_add(&latency, UINT64_MAX / 2);
    latency_summarise(&latency, &told);
    assert_int_equal(told.max_ns, UINT64_MAX / 2);
    assert_true(told.p50_ns > 0 && told.p50_ns <= told.max_ns);
}

static void learn(struct strategy *strategy, uint64_t fdatasync_ns, uint64_t dsync_ns)
{
    for (unsigned i = 0; i < 4 * STRATEGY_SAMPLES; i++) {
        enum wal_io_method method = strategy_next(strategy);
        uint64_t noise_ns = i % 5 == 0 ? 1000000 : i; /* A stall now and then must not decide. */
        strategy_learn(strategy, method, 4096, (method == WAL_IO_METHOD_DSYNC ? dsync_ns : fdatasync_ns) + noise_ns);
    }
}

static void test_the_fastest_is_chosen(void **state)
{
    (void)state;
    const uint32_t both = 1u << WAL_IO_METHOD_FDATASYNC | 1u << WAL_IO_METHOD_DSYNC;
    static struct strategy strategy;
    strategy_start(&strategy, both, WAL_IO_METHOD_DEFAULT);
    learn(&strategy, 100000, 80000);
    assert_int_equal(strategy_next(&strategy), WAL_IO_METHOD_DSYNC);
    assert_true(strategy_median_ns(&strategy, WAL_IO_METHOD_FDATASYNC) >= 100000);
    strategy_start(&strategy, both, WAL_IO_METHOD_DEFAULT);
    learn(&strategy, 80000, 100000);
    assert_int_equal(strategy_next(&strategy), WAL_IO_METHOD_FDATASYNC);
}

static void test_a_forced_one_is_kept_and_a_single_one_needs_no_trial(void **state)
{
    (void)state;
    static struct strategy strategy;
    strategy_start(&strategy, 1u << WAL_IO_METHOD_FDATASYNC | 1u << WAL_IO_METHOD_DSYNC, WAL_IO_METHOD_DSYNC);
    learn(&strategy, 1, 100000);
    assert_int_equal(strategy_next(&strategy), WAL_IO_METHOD_DSYNC);
    strategy_start(&strategy, 1u << WAL_IO_METHOD_FDATASYNC, WAL_IO_METHOD_LINKED);
    assert_int_equal(strategy_next(&strategy), WAL_IO_METHOD_FDATASYNC);
    strategy_start(&strategy, 0, WAL_IO_METHOD_DEFAULT);
    assert_int_equal(strategy_next(&strategy), WAL_IO_METHOD_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_against_sorted_samples),
        cmocka_unit_test(test_no_sample_and_a_huge_one),
        cmocka_unit_test(test_the_fastest_is_chosen),
        cmocka_unit_test(test_a_forced_one_is_kept_and_a_single_one_needs_no_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
