/* test_walbench.c - the parts of walbench, in this process: the histogram against sorted samples, assertions, numbers
 * of the command line, the result document, and that updates by hand write what and where they say.
 *
 * May include: scratch.h. */

#define _GNU_SOURCE
#include "bench/common.h"
#include "bench/emulate.h"
#include "bench/histogram.h"
#include "bench/profile.h"
#include "bench/result.h"
#include "bench/writer.h"
#include "tests/scratch.h"
#include "tools/command_line.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the histogram ------------------------------------------------------------------------------- */

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

enum { SAMPLES = 20000 };

/* Values over all sizes that occur, from nanoseconds to minutes. */
static void draw_samples(uint64_t seed, uint64_t samples[SAMPLES], struct histogram *histogram)
{
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t bits = random_next(&seed) % 38;
        samples[i] = random_next(&seed) & ((UINT64_C(1) << bits) | ((UINT64_C(1) << bits) - 1));
        histogram_add(histogram, samples[i], 1);
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare_u64);
}

static void test_histogram_agrees_with_sorted_samples(void **state)
{
    static const double shares[] = {0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    static uint64_t samples[SAMPLES];
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct histogram histogram = {.count = 0};
        uint64_t total = 0;
        draw_samples(seed, samples, &histogram);
        for (unsigned i = 0; i < SAMPLES; i++) {
            total += samples[i];
        }
        assert_int_equal(histogram.count, SAMPLES);
        assert_int_equal(histogram.total_ns, total);
        assert_int_equal(histogram.min_ns, samples[0]);
        assert_int_equal(histogram.max_ns, samples[SAMPLES - 1]);
        for (unsigned i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
            uint64_t rank = (uint64_t)(shares[i] * SAMPLES);
            uint64_t exact = samples[rank < SAMPLES ? rank : SAMPLES - 1];
            uint64_t told = histogram_quantile(&histogram, shares[i]);
            assert_true(told >= exact && told - exact <= exact / HISTOGRAM_SPLIT + 1);
        }
    }
}

static void test_histogram_buckets_join(void **state)
{
    (void)state;
    for (unsigned bucket = 0; bucket + 1 < HISTOGRAM_BUCKETS; bucket++) {
        struct histogram histogram = {.count = 0};
        histogram_add(&histogram, histogram_low_ns(bucket), 1);
        histogram_add(&histogram, histogram_low_ns(bucket + 1) - 1, 1);
        assert_int_equal(histogram.buckets[bucket], 2);
    }
}

static void test_histograms_merge(void **state)
{
    struct histogram whole = {.count = 0};
    struct histogram parts[2] = {{.count = 0}, {.count = 0}};
    uint64_t seed = 7;
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t value = random_next(&seed) >> 30;
        histogram_add(&whole, value, 1);
        histogram_add(&parts[i % 2], value, 1);
    }
    histogram_merge(&parts[0], &parts[1]);
    assert_memory_equal(&whole, &parts[0], sizeof(whole));
}

/* --- assertions ---------------------------------------------------------------------------------- */

static struct row *measured_row(struct result *result, const char *id, uint64_t latency_ns)
{
    struct histogram histogram = {.count = 0};
    struct row *row = result_add(result);
    assert_non_null(row);
    histogram_add(&histogram, latency_ns, 100);
    snprintf(row->id, sizeof(row->id), "%s", id);
    snprintf(row->label, sizeof(row->label), "\"%s\"\n", id);
    row_add_round(row, &histogram, 100 * latency_ns);
    row->records_done = 200;
    row->syncs = 50;
    return row;
}

static void test_assertions_are_checked(void **state)
{
    static const char *const good[] = {
        "p99<10ms", "fdatasync.append.p50 < 1.5us", "rate>1000", "log.rate > 100k", "records_per_sync>2",
        "max<2s",   "a.b.c.d.p9999<10ns",           "mean<1ms"};
    static const char *const bad[] = {"",          "p99",      "p99<",     "p99<10",   "p98<10ms",
                                      "rate>10ms", "<10ms",    "p99=10ms", "p99<-1ms", "p99<10parsec",
                                      "p99<ms",    "rate>1 k", "p99.<1ms"};
    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(assertion_check(good[i]));
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (assertion_check(bad[i]) == NULL) {
            fail_msg("'%s' is taken as an assertion", bad[i]);
        }
    }
}

static bool decide(struct result *result, const char *text)
{
    assert_true(assertion_decide(result, text));
    return result->assertions[result->assertion_count - 1].ok;
}

static void test_assertions_decide(void **state)
{
    struct result result = {.command = "sync"};
    (void)state;
    measured_row(&result, "none.zeroed.direct.4096.d1", 1000)->durable = false;
    measured_row(&result, "fdatasync.zeroed.direct.4096.d1", 100000);
    measured_row(&result, "fdatasync.append.direct.4096.d1", 300000);
    assert_true(decide(&result, "p99<101us")); /* The first durable row. */
    assert_false(decide(&result, "p99<99us"));
    assert_false(decide(&result, "fdatasync.p99<200us")); /* All that have the word; the worst decides. */
    assert_string_equal(result.assertions[2].row, "fdatasync.append.direct.4096.d1");
    assert_true(decide(&result, "append.fdatasync.p50<400us"));
    assert_true(decide(&result, "none.p50<2us"));
    assert_true(decide(&result, "append.rate>3k"));
    assert_false(decide(&result, "append.rate>4k"));
    assert_true(decide(&result, "zeroed.fdatasync.records_per_sync>3"));
    assert_false(assertion_decide(&result, "fsync.p99<1s")); /* No row: that is no pass. */
    assert_false(assertion_decide(&result, "fdata.p99<1s"));
    assert_false(assertion_has_row(&result, "fsync.p99<1s"));
    assert_true(assertion_has_row(&result, "append.p99<1s"));
    result_free(&result);
}

static void test_what_was_not_measured_is_undecided(void **state)
{
    struct result result = {.command = "sync"};
    char text[ASSERTION_TEXT_BYTES];
    (void)state;
    struct row *row = result_add(&result);
    snprintf(row->id, sizeof(row->id), "fsync.append");
    snprintf(row->skipped, sizeof(row->skipped), "not here");
    assert_false(decide(&result, "p99<1s"));
    assert_false(decide(&result, "fsync.rate>1"));
    assert_true(strncmp(assertion_text(&result.assertions[1], text), "UNDECIDED: fsync.rate>1 ", 24) == 0);
    result_conclude(&result);
    assert_string_equal(result.sentence, "In one sentence: nothing was measured.");
    result_free(&result);
}

static void test_an_assertion_tells_its_value_in_its_unit(void **state)
{
    struct result result = {.command = "append"};
    char text[ASSERTION_TEXT_BYTES];
    (void)state;
    measured_row(&result, "log.rate1000.128", 1970000);
    assert_true(decide(&result, "rate1000.p99<100ms"));
    assert_string_equal(assertion_text(&result.assertions[0], text),
                        "PASS: rate1000.p99<100ms (log.rate1000.128: 1.97 ms)");
    assert_false(decide(&result, "log.rate>1k"));
    assert_string_equal(assertion_text(&result.assertions[1], text), "FAIL: log.rate>1k (log.rate1000.128: 508)");
    result_free(&result);
}

/* --- numbers ------------------------------------------------------------------------------------- */

static void test_numbers_of_the_command_line(void **state)
{
    (void)state;
    assert_int_equal(size_of("4k", "x"), 4096);
    assert_int_equal(size_of("2MiB", "x"), 2 << 20);
    assert_int_equal(size_of("1G", "x"), 1 << 30);
    assert_int_equal(duration_ns_of("10ms", "x"), 10000000);
    assert_int_equal(duration_ns_of("1.5", "x"), 1500000000);
    assert_int_equal(duration_ns_of("200us", "x"), 200000);
    assert_int_equal(duration_ns_of("2m", "x"), UINT64_C(120000000000));
    assert_int_equal(number_of("0x10", "x"), 16);
}

static void test_texts(void **state)
{
    char text[24];
    (void)state;
    assert_string_equal(duration_text(0, text), "0 ns");
    assert_string_equal(duration_text(999, text), "999 ns");
    assert_string_equal(duration_text(1000, text), "1.00 us");
    assert_string_equal(duration_text(123456, text), "123 us");
    assert_string_equal(duration_text(9999999, text), "10.0 ms");
    assert_string_equal(duration_text(UINT64_C(12345678901), text), "12.3 s");
    assert_string_equal(count_text(999.4, text), "999");
    assert_string_equal(count_text(12345, text), "12.3k");
    assert_string_equal(count_text(4.9e6, text), "4.90M");
    assert_string_equal(factor_text(0.5, text), "0.5");
    assert_string_equal(factor_text(1.1666, text), "1.17");
    assert_string_equal(factor_text(999.4, text), "999");
    assert_string_equal(factor_text(1378, text), "1.38k");
}

static void log_row(struct result *result, unsigned threads, unsigned outstanding, uint64_t latency_ns, uint64_t ns)
{
    struct histogram histogram = {.count = 0};
    struct row *row = result_add(result);
    assert_non_null(row);
    histogram_add(&histogram, latency_ns, 100);
    row->kind = ROW_LOG;
    row->threads = threads;
    row->outstanding = outstanding;
    row->size_bytes = 128;
    snprintf(row->id, sizeof(row->id), "log.%u.%u", threads, outstanding);
    row_add_round(row, &histogram, ns);
    row->records_done = 100;
}

static void test_the_sentence_says_what_was_measured(void **state)
{
    struct result result = {.command = "append"};
    (void)state;
    log_row(&result, 1, 0, 1000000, 200000000); /* A median of 1 ms, and 500 a second: no "so" between them. */
    log_row(&result, 0, 1024, 1000000, 145000);
    result_conclude(&result);
    assert_string_equal(
        result.sentence,
        "In one sentence: a durable update of 128 bytes costs 1.00 ms here (p99 1.00 ms), and one after "
        "the other makes 500 a second; group commit makes 690k a second of it for one event loop with "
        "1024 outstanding (1.38k times).");
    log_row(&result, 64, 0, 1000000, 1000000);
    result_conclude(&result);
    assert_non_null(strstr(result.sentence,
                           "makes 100k a second of it for 64 threads waiting (200 times), and 690k for "
                           "one event loop with 1024 outstanding (1.38k times)."));
    result_free(&result);
}

/* --- the document -------------------------------------------------------------------------------- */

static void test_result_is_json(void **state)
{
    static char *arguments[] = {"walbench", "--assert", "p99<\"\xff\x01ms"};
    struct result result = {.command = "sync", .argument_count = 3, .arguments = arguments, .rounds = 1};
    char *text = NULL;
    char error[JSON_ERROR_BYTES];
    size_t size = 0;
    uint64_t number = 0;
    (void)state;
    measured_row(&result, "fdatasync.zeroed.direct.4096.d1", 100000);
    struct row *skipped = result_add(&result);
    snprintf(skipped->skipped, sizeof(skipped->skipped), "no io_uring here");
    result_conclude(&result);
    FILE *memory = open_memstream(&text, &size);
    assert_int_equal(result_write_json(&result, memory), 0);
    fclose(memory);
    struct json_value *root = json_parse(text, size, error);
    assert_non_null(root);
    assert_string_equal(json_text(json_member(root, "schema")), RESULT_SCHEMA);
    const struct json_value *rows = json_member(root, "rows");
    assert_int_equal(json_count(rows), 2);
    assert_int_equal(json_count(json_at(rows, 0)), json_count(json_at(rows, 1))); /* The same keys in each. */
    assert_true(json_u64(json_member(json_member(json_at(rows, 0), "latency_ns"), "p99"), &number));
    assert_int_equal(number, 100000);
    assert_string_equal(json_text(json_member(json_at(rows, 1), "skipped")), "no io_uring here");
    json_free(root);
    free(text);
    result_free(&result);
}

/* --- updates by hand ----------------------------------------------------------------------------- */

enum { FILE_BYTES = 1 << 20, UPDATE_BYTES = 4096 };

/* Is every block of the first `written` bytes other than what the layout began with? */
static bool was_written(const char *path, uint64_t written, bool zeros_before)
{
    unsigned char block[UPDATE_BYTES];
    unsigned char zeros[UPDATE_BYTES] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool all = file >= 0;
    for (uint64_t at = 0; at < written && all; at += UPDATE_BYTES) {
        all = pread(file, block, sizeof(block), (off_t)at) == sizeof(block) &&
              (!zeros_before || memcmp(block, zeros, sizeof(zeros)) != 0);
    }
    close(file);
    return all;
}

static void run_write(const char *directory, const char *method, const char *layout, bool direct, unsigned depth)
{
    static struct writing writing;
    char reason[WRITER_REASON_BYTES] = "";
    char path[SCRATCH_PATH_BYTES];
    struct row row = {.kind = ROW_WRITE,
                      .id = "row",
                      .method = method,
                      .layout = layout,
                      .direct = direct,
                      .size_bytes = UPDATE_BYTES,
                      .depth = depth};
    int result = writer_run(&row, directory, FILE_BYTES, 0, 0.02, &writing, reason);
    if (result == WRITER_SKIPPED) {
        printf("skipped: %s, %s: %s\n", method, layout, reason);
        return;
    }
    assert_int_equal(result, 0);
    assert_true(writing.latency.count > 0 && writing.elapsed_ns > 0);
    assert_int_equal(writing.syncs, writer_is_durable(method) ? writing.latency.count : 0);
    bool two = strcmp(method, "fdatasync") == 0 || strcmp(method, "fsync") == 0;
    assert_int_equal(writing.write.count, two ? writing.latency.count : 0);
    assert_int_equal(writing.sync.count, two ? writing.latency.count : 0);
    scratch_join(path, directory, layout);
    uint64_t written =
        writing.latency.count * UPDATE_BYTES < FILE_BYTES ? writing.latency.count * UPDATE_BYTES : FILE_BYTES;
    assert_true(was_written(path, written, strcmp(layout, "recycled") != 0));
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    if (strcmp(layout, "append") == 0) {
        assert_true((uint64_t)status.st_size >= written && status.st_size <= FILE_BYTES);
    } else {
        assert_int_equal(status.st_size, FILE_BYTES);
    }
}

static void test_updates_by_hand(void **state)
{
    char directory[SCRATCH_PATH_BYTES];
    (void)state;
    scratch_make(directory);
    assert_int_equal(writer_prepare(directory, FILE_BYTES), 0);
    for (unsigned method = 0; writer_methods[method] != NULL; method++) {
        assert_true(writer_explain(writer_methods[method])[0] != '\0');
        for (unsigned layout = 0; writer_layouts[layout] != NULL; layout++) {
            run_write(directory, writer_methods[method], writer_layouts[layout], true, 1);
            run_write(directory, writer_methods[method], writer_layouts[layout], false, 1);
        }
        run_write(directory, writer_methods[method], "zeroed", true, 4);
    }
    scratch_remove(directory);
}

/* --- what is said on stderr ----------------------------------------------------------------------- */

static void test_what_failed_first_is_kept_with_its_reason(void **state)
{
    char path[1000];
    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '\x1b';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(failed(path, NULL, -ENOSPC), -1);
    say_on_stderr("what follows from it");
    const char *told = failure_told();
    assert_true(strncmp(told, "...xxx", 6) == 0 && strlen(told) < 256);
    assert_non_null(strstr(told, "x: No space left on device"));
    char text[] = "a\nb\x7f\xc2\x9b\xc3\xa9";
    assert_string_equal(printable(text), "a?b???\xc3\xa9");
}

/* --- an interrupt -------------------------------------------------------------------------------- */

/* In a child, as the flag stays: without a look at it, it would sleep for an hour. */
static void test_an_interrupt_ends_an_emulated_sync(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        interrupt_catch();
        (void)alarm(100);
        (void)raise(SIGTERM);
        emulate_sync(UINT64_C(3600000000000));
        _exit(interrupts() == 1 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_agrees_with_sorted_samples),
        cmocka_unit_test(test_histogram_buckets_join),
        cmocka_unit_test(test_histograms_merge),
        cmocka_unit_test(test_assertions_are_checked),
        cmocka_unit_test(test_assertions_decide),
        cmocka_unit_test(test_what_was_not_measured_is_undecided),
        cmocka_unit_test(test_an_assertion_tells_its_value_in_its_unit),
        cmocka_unit_test(test_numbers_of_the_command_line),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_the_sentence_says_what_was_measured),
        cmocka_unit_test(test_result_is_json),
        cmocka_unit_test(test_updates_by_hand),
        cmocka_unit_test(test_what_failed_first_is_kept_with_its_reason),
        cmocka_unit_test(test_an_interrupt_ends_an_emulated_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
