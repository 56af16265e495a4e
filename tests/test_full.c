/* test_full.c - what a full disk leaves possible: which blocks are for what, and how a log comes back to work.
 *
 * The happy path of a test: a child fills a log on a disk that gives no more room, spends what it may of the reserve,
 * and ends as if killed; the parent opens what it left, on the same full disk, truncates its start, and appends.
 *
 * Invariants: the disk is full for want of room to allocate alone (fault_io.h): what has been allocated can be written.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"
#include "tests/sample.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SPENT_MAX = 100, TURNS_MAX = 1000 };

static void pause_ms(long ms)
{
    (void)usleep((unsigned)ms * 1000);
}

static struct fault_io *full_disk(const char *directory)
{
    struct fault_io *disk = fault_disk(directory);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC});
    return disk;
}

static struct wal *open_on(struct fault_io *disk, uint32_t flags)
{
    struct wal_options options = tiny(flags);
    struct wal *log = NULL;
    options.idle_mark_ms = (flags & WAL_NO_THREADS) != 0 ? 3600000 : 20;
    int result = wal_open_io(fault_io_disk(disk), &options, &log, NULL);
    return result == 0 ? log : NULL;
}

/* Some segments, then no room, and appends to the end of what may be filled. */
static struct wal *fill_up(struct fault_io *disk)
{
    struct wal *log = open_on(disk, WAL_CREATE | WAL_NO_THREADS);
    must(log == NULL);
    for (unsigned i = 0; i < MANY; i++) {
        must(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL));
        must(sample_commit(log, 1));
    }
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC});
    int result = 0;
    while (result == 0) {
        (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL);
        result = sample_commit(log, 1);
    }
    must(result != WAL_ENOSPC);
    return log;
}

/* In a child: fills the log, truncates its end as often as it can, and ends. A log that was killed with its last blocks
 * left: too few for an anchor whenever it is opened. */
static void leave_last_blocks(const char *directory)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
        must(disk == NULL);
        struct wal *log = fill_up(disk);
        struct wal_receipt receipt;
        unsigned spent = 0;
        int result = 0;
        while (spent < SPENT_MAX && result == 0) {
            result = wal_truncate_suffix(log, wal_last_index(log), &receipt);
            result = result == 0 ? wal_wait(log, receipt.ticket) : result;
            spent += result == 0;
        }
        must(result != 0 && result != WAL_ENOSPC);
        _exit((int)(100 + spent));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_in_range(WEXITSTATUS(status), 100 + 4, 100 + SPENT_MAX - 1);
}

static void truncate_start(struct wal *log)
{
    struct wal_receipt receipt;
    assert_int_equal(sample_commit(log, 1), WAL_ENOSPC); /* The anchor was put off. */
    assert_int_equal(wal_truncate_prefix(log, wal_last_index(log), &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
}

static void test_appending_resumes_behind_an_anchor_put_off(void **state)
{
    char directory[SCRATCH_PATH_BYTES];
    scratch_join(directory, *state, "log");
    leave_last_blocks(directory);
    struct fault_io *disk = full_disk(directory);
    struct wal *log = open_on(disk, 0);
    struct wal_stats stats;
    assert_non_null(log);
    truncate_start(log);
    unsigned accepted = 0;
    for (unsigned turn = 0; turn < TURNS_MAX && accepted < MANY / 2; turn++) {
        accepted += sample_commit(log, 1) == 0;
        pause_ms(accepted != 0 ? 0 : 10);
    }
    assert_int_equal(accepted, MANY / 2);
    do {
        pause_ms(1); /* The idle mark comes by itself, too. */
        wal_stats(log, &stats);
    } while (stats.marks == 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* Without the helper, and without a call of wal_maintain: the append itself looks for room. */
static void test_appending_resumes_without_threads(void **state)
{
    char directory[SCRATCH_PATH_BYTES];
    scratch_join(directory, *state, "log");
    leave_last_blocks(directory);
    struct fault_io *disk = full_disk(directory);
    struct wal *log = open_on(disk, WAL_NO_THREADS);
    assert_non_null(log);
    truncate_start(log);
    for (unsigned i = 0; i < MANY / 2; i++) {
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* The anchor may be there or not: nothing is written behind it, or in its place. */
static void test_eio_of_an_anchor_put_off(void **state)
{
    char directory[SCRATCH_PATH_BYTES];
    scratch_join(directory, *state, "log");
    leave_last_blocks(directory);
    struct fault_io *disk = full_disk(directory);
    struct wal *log = open_on(disk, WAL_NO_THREADS);
    struct wal_receipt receipt;
    assert_non_null(log);
    assert_int_equal(fault_io_count(disk, FAULT_WRITE_DURABLE), 0); /* Put off. */
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_WRITE_DURABLE, .nth = 1, .error = EIO, .carried_out = true});
    uint64_t kept = wal_last_index(log) - 2;
    assert_int_equal(wal_truncate_prefix(log, kept, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_truncate_prefix(log, kept, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_truncate_prefix(log, wal_first_index(log), &receipt), WAL_EPOISONED);
    assert_int_equal(fault_io_count(disk, FAULT_WRITE_DURABLE), 1); /* No second one. */
    (void)wal_close(log);
    fault_io_free(disk);
    struct wal_options options = tiny(WAL_NO_THREADS);
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
}

/* Data may not come into the reserve behind a truncation, in its batch. */
static void test_data_does_not_join_a_truncation_in_the_reserve(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal *log = fill_up(disk);
    struct wal_receipt receipt;
    struct wal_receipt joined;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t last = wal_last_index(log);
        assert_int_equal(wal_truncate_suffix(log, last, &receipt), 0);
        assert_int_equal(sample_append(log, 1, &joined), WAL_ENOSPC);
        assert_int_equal(wal_last_index(log), last - 1);
        assert_int_equal(wal_wait(log, receipt.ticket), 0);
    }
    assert_int_equal(wal_truncate_prefix(log, wal_last_index(log), &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* A start that frees no segment is not worth the last blocks: neither while the log is full, nor when it is opened
 * again and again; one that does is. */
static void test_what_frees_nothing_does_not_use_the_last_blocks(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal *log = fill_up(disk);
    struct wal_receipt receipt;
    unsigned accepted = 0;
    int result = 0;
    for (uint64_t first = 2; result == 0; first++) {
        result = wal_truncate_prefix(log, first, &receipt);
        result = result == 0 ? wal_wait(log, receipt.ticket) : result;
        accepted += result == 0;
        for (unsigned i = 0; i < SPENT_MAX && result == 0; i++) { /* Says nothing, and so may be said for ever. */
            assert_int_equal(wal_truncate_prefix(log, first, &receipt), 0);
            assert_int_equal(wal_wait(log, receipt.ticket), 0);
            assert_int_equal(receipt.ticket, wal_durable_ticket(log));
        }
    }
    assert_true(accepted > 0);
    assert_int_equal(result, WAL_ENOSPC);
    assert_int_equal(wal_truncate_suffix(log, wal_last_index(log), &receipt), WAL_ENOSPC);
    assert_int_equal(wal_close(log), 0);
    for (unsigned life = 0; life < 10; life++) {
        log = open_on(disk, WAL_NO_THREADS);
        assert_non_null(log);
        assert_int_equal(wal_truncate_prefix(log, wal_first_index(log), NULL), 0);
        assert_int_equal(wal_truncate_prefix(log, wal_first_index(log) + 1, &receipt), WAL_ENOSPC);
        assert_int_equal(wal_truncate_prefix(log, wal_last_index(log) + 2, &receipt), WAL_EINDEX);
        assert_int_equal(wal_close(log), 0);
    }
    log = open_on(disk, WAL_NO_THREADS);
    assert_non_null(log);
    truncate_start(log);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

int main(void)
{
    (void)alarm(60);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_appending_resumes_behind_an_anchor_put_off),
        TEST(test_appending_resumes_without_threads),
        TEST(test_eio_of_an_anchor_put_off),
        TEST(test_data_does_not_join_a_truncation_in_the_reserve),
        TEST(test_what_frees_nothing_does_not_use_the_last_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
