/* log_fixture.c - what tests of a log on real files share.
 *
 * The happy path: a test gets a fresh directory, makes a log there or has a child make one and crash, opens it in ways
 * that must work and in ways that must be refused, and the directory goes away with the test.
 *
 * What can fail: whatever is not as it must be ends the test at its line here, with what the log said printed.
 *
 * Invariants: a refused open is compared byte by byte with what was there before; a child never returns into the
 * parent's tests.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"

#include "tests/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FOUND_MAX = 256 };

int scratch_setup(void **state)
{
    *state = calloc(1, SCRATCH_PATH_BYTES);
    scratch_make(*state);
    return 0;
}

int scratch_teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

static struct wal_options options_of(uint32_t flags, uint64_t segment_blocks)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags;
    options.segment_bytes = segment_blocks * BLOCK;
    options.batch_bytes_max = 4 * BLOCK;
    return options;
}

struct wal_options small(uint32_t flags)
{
    return options_of(flags, 64);
}

struct wal_options tiny(uint32_t flags)
{
    return options_of(flags, 16);
}

struct wal *open_log(const char *directory, uint32_t flags, struct wal_verdict *verdict)
{
    struct wal_options options = small(flags);
    struct wal *log = NULL;
    struct wal_verdict own;
    verdict = verdict != NULL ? verdict : &own;
    int result = wal_open(directory, &options, &log, verdict);
    if (result != 0) {
        print_error("open: %s; %s\n", wal_strerror(result), verdict->text);
    }
    assert_int_equal(result, 0);
    return log;
}

struct wal_verdict expect_refused(const char *directory, const struct wal_options *options, int wanted)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    memset(&verdict, 0xee, sizeof(verdict));
    bool exists = access(directory, F_OK) == 0;
    uint64_t before = exists ? scratch_digest(directory) : 0;
    int result = wal_open(directory, options, &log, &verdict);
    if (result != wanted) {
        print_error("%s (row %d): %s\n", wal_strerror(result), verdict.row, verdict.text);
    }
    assert_int_equal(result, wanted);
    assert_null(log);
    assert_string_not_equal(verdict.text, "");
    assert_true(strlen(verdict.text) < WAL_VERDICT_TEXT_BYTES);
    assert_true(exists == (access(directory, F_OK) == 0));
    assert_true(!exists || scratch_digest(directory) == before);
    return verdict;
}

void make_log(const char *directory, uint64_t records)
{
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    for (uint64_t i = 0; i < records; i++) {
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_int_equal(wal_close(log), 0);
}

struct fault_io *fault_disk(const char *directory)
{
    struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    return disk;
}

void in_child(void (*work)(struct wal *log), const char *directory)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct wal_options options = small(WAL_CREATE | WAL_NO_THREADS);
        struct wal *log = NULL;
        if (wal_open(directory, &options, &log, NULL) != 0) {
            _exit(1);
        }
        work(log);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void must(int result)
{
    if (result != 0) {
        _exit(2);
    }
}

void ten_commits(struct wal *log)
{
    for (int i = 0; i < 10; i++) {
        must(sample_commit(log, 1));
    }
}

void ten_commits_and_close(struct wal *log)
{
    ten_commits(log);
    must(wal_close(log));
}

struct found_batch batch_of(const char *directory, uint64_t index)
{
    struct found_batch found[FOUND_MAX];
    size_t count = scratch_batches(directory, 1, found, FOUND_MAX);
    for (size_t i = 0; i < count; i++) {
        if (found[i].head.record_count != 0 && found[i].head.first_index == index) {
            return found[i];
        }
    }
    fail_msg("no batch starts with record %llu", (unsigned long long)index);
    return found[0];
}
