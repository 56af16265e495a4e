/* test_verify.c - wal_verify says what reading record by record says.
 *
 * The happy path: logs of a few segments are damaged in drawn places, several at once: bytes anywhere, whole files
 * gone, heads, ends. Each is verified by direct and by cached reads, with threads and without; the reports must be the
 * same to the last field, and the counts must agree with what reads record by record.
 *
 * What can fail: an expectation, told with its seed. Invariants: a seed is a log; nothing else is drawn. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/log_fixture.h"
#include "tests/sample.h"

enum { LOGS = 80, LARGE_LOGS = 25, LARGE_APPENDS = 80, LARGE_BYTES = 60000, DAMAGES_MAX = 8 };

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % below;
}

/* One piece of damage somewhere; segment 1 to 5 may exist or not. */
static void damage(const char *directory)
{
    char path[SCRATCH_PATH_BYTES];
    uint64_t segment = 1 + draw(5);
    scratch_path(directory, segment, path);
    struct stat facts;
    if (stat(path, &facts) != 0) {
        return;
    }
    uint64_t what = draw(10);
    if (what == 0) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    uint64_t block = what < 4 ? 1 + draw(3) : draw((uint64_t)facts.st_size / BLOCK);
    char bytes[512];
    memset(bytes, (int)draw(256), sizeof(bytes));
    scratch_write(directory, segment, block * BLOCK + 512 * draw(8), bytes, sizeof(bytes));
}

struct told {
    uint64_t done, total;
};

static int note_progress(void *context, uint64_t done, uint64_t total)
{
    struct told *told = context;
    assert_true(done >= told->done && done <= total);
    assert_true(told->total == 0 || total == told->total); /* Nobody writes. */
    *told = (struct told){done, total};
    return 0;
}

/* False: the log does not open any more. */
static bool verify(const char *directory, uint32_t flags, struct wal_verify_report *report, int *status)
{
    struct wal_options options = tiny(WAL_READ_ONLY | flags);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int opened = wal_open(directory, &options, &log, &verdict);
    if (log == NULL) {
        assert_true(opened != 0);
        return false;
    }
    struct told told = {0, 0};
    *status = wal_verify(log, report, note_progress, &told);
    assert_int_equal(told.done, told.total);
    assert_true(*status == 0 || *status == WAL_ECORRUPT);
    uint64_t readable = 0, first = wal_first_index(log), last = wal_last_index(log);
    for (uint64_t index = first; index <= last && (flags & WAL_BUFFERED) != 0; index++) { /* The ways must agree. */
        static char bytes[LARGE_BYTES];
        struct wal_record record;
        readable += wal_read(log, index, bytes, sizeof(bytes), &record) == 0;
    }
    assert_true(report->records == readable || (flags & WAL_BUFFERED) == 0);
    assert_int_equal(report->records + report->bad_records, last + 1 - first);
    assert_int_equal(wal_close(log), 0);
    return true;
}

/* Damages so many copies of a log, and verifies each in every way. */
static void verify_damaged(const char *directory, const char *whole, unsigned logs)
{
    unsigned corrupt = 0;
    for (uint64_t seed = 1; seed <= logs; seed++) {
        char path[SCRATCH_PATH_BYTES];
        scratch_join(path, directory, "damaged");
        scratch_copy(whole, path);
        random_state = seed;
        for (uint64_t left = draw(DAMAGES_MAX + 1); left > 0; left--) {
            damage(path);
        }
        const uint32_t flags[] = {WAL_NO_THREADS, 0, WAL_NO_THREADS | WAL_BUFFERED, WAL_BUFFERED};
        struct wal_verify_report reports[4];
        int statuses[4] = {0};
        bool opened[4];
        for (unsigned i = 0; i < 4; i++) {
            memset(&reports[i], 0, sizeof(reports[i]));
            opened[i] = verify(path, flags[i], &reports[i], &statuses[i]);
            if (opened[i] != opened[0] || statuses[i] != statuses[0] ||
                memcmp(&reports[i], &reports[0], sizeof(reports[0])) != 0) {
                fail_msg("seed %u: way %u says something else", (unsigned)seed, i);
            }
        }
        corrupt += statuses[0] == WAL_ECORRUPT;
        scratch_remove(path);
    }
    assert_true(corrupt > logs / 5); /* Or the damage misses. */
}

static void test_it_counts_what_reads(void **state)
{
    char whole[SCRATCH_PATH_BYTES];
    scratch_join(whole, *state, "whole");
    make_log(whole, MANY);
    verify_damaged(*state, whole, LOGS);
}

/* Segments large enough for a second thread. */
static void test_two_threads_say_what_one_says(void **state)
{
    char whole[SCRATCH_PATH_BYTES];
    scratch_join(whole, *state, "whole");
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE;
    options.segment_bytes = 1 << 20;
    struct wal *log = NULL;
    assert_int_equal(wal_open(whole, &options, &log, NULL), 0);
    static const char bytes[LARGE_BYTES];
    for (unsigned i = 0; i < LARGE_APPENDS; i++) {
        const struct wal_record record = {.data = bytes, .size = sizeof(bytes), .type = 1};
        const struct wal_append append = {.records = &record, .record_count = 1};
        assert_int_equal(wal_commit(log, &append, NULL), 0);
    }
    assert_int_equal(wal_close(log), 0);
    verify_damaged(*state, whole, LARGE_LOGS);
}

/* The writer, in the pauses between two segments: which of the things that must not look like damage. */
struct writer {
    struct wal *log;
    unsigned truncates_at; /* Turn; 0: never. */
    unsigned turn;
    bool appended;
};

static int write_meanwhile(void *context, uint64_t done, uint64_t total)
{
    struct writer *writer = context;
    if (++writer->turn == writer->truncates_at) {
        struct wal_receipt receipt;
        assert_int_equal(wal_truncate_suffix(writer->log, wal_last_index(writer->log) - 3, &receipt), 0);
        assert_int_equal(wal_wait(writer->log, receipt.ticket), 0);
    }
    if (done == total && !writer->appended) { /* The last segment has been read; it goes on, and rolls. */
        writer->appended = true;
        for (unsigned i = 0; i < (writer->truncates_at != 0 ? 3U : 30U); i++) {
            assert_int_equal(sample_commit(writer->log, 1), 0);
        }
    }
    return 0;
}

static void test_what_is_written_meanwhile_is_no_damage(void **state)
{
    for (unsigned truncates_at = 0; truncates_at <= 2; truncates_at++) {
        char path[SCRATCH_PATH_BYTES], name[16];
        (void)snprintf(name, sizeof(name), "%u", truncates_at);
        scratch_join(path, *state, name);
        make_log(path, MANY);
        struct wal_options options = tiny(0);
        struct writer writer = {.truncates_at = truncates_at};
        assert_int_equal(wal_open(path, &options, &writer.log, NULL), 0);
        struct wal_verify_report report;
        assert_int_equal(wal_verify(writer.log, &report, write_meanwhile, &writer), 0);
        assert_int_equal(report.bad_records, 0);
        assert_true(writer.appended);
        assert_int_equal(wal_close(writer.log), 0);
    }
}

/* Asked to stop, it stops, and leaves nothing pinned: the log closes, and can be truncated and recycled. */
static int stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    return 1;
}

static void test_it_stops_when_asked(void **state)
{
    const char *directory = *state;
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, directory, "stopped");
    make_log(path, MANY);
    struct wal_options options = tiny(0);
    struct wal *log = NULL;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, stop_at_once, NULL), WAL_EAGAIN);
    assert_true(report.records > 0 && report.records < MANY);
    assert_int_equal(wal_truncate_prefix(log, MANY, NULL), 0);
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(report.records, 1);
    assert_int_equal(wal_close(log), 0);
}

/* No segment's file can be opened: an error with its place, not damage; and nothing is wrong afterwards. */
static void test_without_descriptors_it_names_the_segment(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "few");
    make_log(path, MANY);
    struct wal_options options = tiny(0);
    struct wal *log = NULL;
    struct wal_verify_report report;
    struct rlimit before;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    int lowest_free = dup(STDERR_FILENO);
    assert_true(lowest_free >= 0);
    (void)close(lowest_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = (rlim_t)lowest_free, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int status = wal_verify(log, &report, NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(status != 0 && status != WAL_ECORRUPT);
    char text[512];
    (void)wal_errmsg(log, text, sizeof(text));
    assert_non_null(strstr(text, "00000000000000000001.wal"));
    assert_non_null(strstr(text, "EMFILE"));
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(report.records, MANY);
    assert_int_equal(wal_close(log), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_counts_what_reads, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_two_threads_say_what_one_says, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_written_meanwhile_is_no_damage, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_it_stops_when_asked, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_without_descriptors_it_names_the_segment, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
