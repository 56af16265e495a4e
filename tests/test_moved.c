/* test_moved.c - what changes under a handle: a reader's log moves on, a directory goes away, descriptors run out, a
 * forked child lives on. Each is told for what it is: no damage, no full disk, no other writer.
 *
 * May include: log_fixture.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int append(struct wal *log, uint32_t size)
{
    static const char bytes[BLOCK];
    const struct wal_record record = {.data = bytes, .size = size, .type = 1};
    const struct wal_append one = {.records = &record, .record_count = 1};
    return wal_commit(log, &one, NULL);
}

static void prepare(struct wal *log)
{
    bool more = true;
    for (int turn = 0; more && turn < 100; turn++) {
        assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, &more), 0);
    }
}

/* The writer truncates and recycles what a reader looks at. */
static void move_on(struct wal *writer)
{
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(writer, wal_last_index(writer), &receipt), 0);
    assert_int_equal(wal_wait(writer, receipt.ticket), 0);
    for (int i = 0; i < MANY; i++) {
        prepare(writer);
        assert_int_equal(append(writer, 3000), 0);
        assert_int_equal(wal_truncate_prefix(writer, wal_last_index(writer), &receipt), 0);
        assert_int_equal(wal_wait(writer, receipt.ticket), 0);
    }
}

/* A writer whose records fill some segments. */
static struct wal *write_many(const char *directory)
{
    struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
    struct wal *writer;
    options.segments_pool_max = 1;
    assert_int_equal(wal_open(directory, &options, &writer, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        prepare(writer);
        assert_int_equal(append(writer, 3000), 0);
    }
    return writer;
}

static void test_what_was_truncated_under_a_reader_is_no_damage(void **state)
{
    struct wal_options read_only = WAL_OPTIONS_INIT;
    struct wal *writer = write_many(*state);
    struct wal *reader;
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_verify_report report;
    char buffer[BLOCK];
    char text[512];
    read_only.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(*state, &read_only, &reader, NULL), 0);
    assert_int_equal(wal_read(reader, 1, buffer, sizeof(buffer), &record), 0);
    move_on(writer);
    for (uint64_t index = 2; index <= MANY; index++) {
        int status = wal_read(reader, index, buffer, sizeof(buffer), &record);
        assert_true(status == 0 || status == WAL_ECOMPACTED);
    }
    assert_int_equal(wal_read(reader, MANY / 2, buffer, sizeof(buffer), &record), WAL_ECOMPACTED);
    (void)wal_errmsg(reader, text, sizeof(text));
    assert_non_null(strstr(text, "open it again"));
    assert_int_equal(wal_cursor_open(reader, MANY / 2, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECOMPACTED);
    wal_cursor_close(cursor);
    assert_int_equal(wal_verify(reader, &report, NULL, NULL), WAL_ECOMPACTED);
    assert_int_equal(wal_close(reader), 0);
    assert_int_equal(wal_open(*state, &read_only, &reader, NULL), 0);
    assert_int_equal(wal_verify(reader, &report, NULL, NULL), 0);
    assert_int_equal(wal_close(reader), 0);
    assert_int_equal(wal_close(writer), 0);
}

/* Files that are renamed between the list and their opening: the next opens fail like that. */
static void rename_under(struct fault_io *disk, unsigned opens)
{
    for (unsigned nth = 1; nth <= opens; nth++) {
        fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_OPEN, .nth = nth, .error = ENOENT});
    }
}

static void test_files_renamed_while_a_reader_opens_are_looked_for_again(void **state)
{
    make_log(*state, MANY);
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_READ_ONLY);
    struct wal *log;
    rename_under(disk, 5);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(fault_io_hits(disk), 5);
    assert_int_equal(wal_last_index(log), MANY);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
    char empty[SCRATCH_PATH_BYTES];
    scratch_join(empty, *state, "empty");
    assert_int_equal(mkdir(empty, 0755), 0);
    (void)expect_refused(empty, &options, WAL_ENOENT);
}

/* The same while a reader looks whether what it cannot read was truncated; and when that cannot be told at all. */
static void test_what_cannot_be_told_from_a_truncation_is_not_called_damage(void **state)
{
    struct wal *writer = write_many(*state);
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_READ_ONLY);
    struct wal *reader;
    struct wal_record record;
    char buffer[BLOCK];
    char text[512];
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &reader, NULL), 0);
    move_on(writer);
    rename_under(disk, 6);
    assert_int_equal(wal_read(reader, MANY / 2, buffer, sizeof(buffer), &record), WAL_ECOMPACTED);
    assert_int_equal(fault_io_hits(disk), 6);
    fault_io_clear(disk);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_LIST, .nth = 1, .forever = true, .error = EACCES});
    assert_int_equal(wal_read(reader, MANY / 2, buffer, sizeof(buffer), &record), WAL_EACCES);
    assert_true(wal_errmsg(reader, text, sizeof(text)) > 0);
    fault_io_clear(disk);
    assert_int_equal(wal_close(reader), 0);
    assert_int_equal(wal_close(writer), 0);
    fault_io_free(disk);
}

static struct wal_io_ops counting_ops;
static int (*real_submit)(struct wal_io *io, struct wal_io_op *op);
static unsigned submits;

static int counting_submit(struct wal_io *io, struct wal_io_op *op)
{
    submits++;
    return real_submit(io, op);
}

/* Two cursors may look at once, and only one thread may poll. */
static void test_a_look_for_a_truncation_leaves_the_ring_alone(void **state)
{
    struct wal *writer = write_many(*state);
    struct wal_options options = tiny(WAL_READ_ONLY);
    struct wal *reader;
    struct wal_io *io;
    struct wal_record record;
    char buffer[BLOCK];
    if (wal_io_uring(*state, 0, &io) != 0) {
        assert_int_equal(wal_close(writer), 0);
        skip();
    }
    counting_ops = *io->ops;
    real_submit = io->ops->submit;
    counting_ops.submit = counting_submit;
    io->ops = &counting_ops;
    assert_int_equal(wal_open_io(io, &options, &reader, NULL), 0);
    assert_true(submits != 0);
    move_on(writer);
    submits = 0;
    assert_int_equal(wal_read(reader, MANY / 2, buffer, sizeof(buffer), &record), WAL_ECOMPACTED);
    assert_int_equal(submits, 0);
    assert_int_equal(wal_close(reader), 0);
    io->ops->destroy(io);
    assert_int_equal(wal_close(writer), 0);
}

/* A segment that cannot be made for want of a descriptor is no full disk. */
static void test_no_descriptor_left_is_not_called_a_full_disk(void **state)
{
    struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
    struct rlimit before;
    struct wal *log;
    char text[512];
    options.backend = WAL_BACKEND_POSIX;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(STDERR_FILENO);
    const struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int status = 0;
    for (int i = 0; i < MANY && status == 0; i++) {
        status = append(log, 3000);
    }
    (void)wal_errmsg(log, text, sizeof(text));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, WAL_ESYSTEM);
    assert_non_null(strstr(text, "EMFILE"));
    for (int turn = 0; turn < 300 && status != 0; turn++) {
        (void)usleep(10000);
        (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL);
        status = append(log, 3000); /* It resumes. */
    }
    assert_int_equal(status, 0);
    assert_int_equal(wal_close(log), 0);
}

/* A child that was forked meanwhile, and merely lives, holds no lock of ours. */
static void test_a_forked_child_does_not_keep_the_directory(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ends[0]);
    assert_true(child > 0);
    assert_int_equal(wal_close(log), 0);
    log = open_log(*state, 0, NULL);
    assert_non_null(log);
    assert_int_equal(wal_close(log), 0);
    close(ends[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_truncated_under_a_reader_is_no_damage),
        TEST(test_files_renamed_while_a_reader_opens_are_looked_for_again),
        TEST(test_what_cannot_be_told_from_a_truncation_is_not_called_damage),
        TEST(test_a_look_for_a_truncation_leaves_the_ring_alone),
        TEST(test_no_descriptor_left_is_not_called_a_full_disk),
        TEST(test_a_forked_child_does_not_keep_the_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
