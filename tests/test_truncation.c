/* test_truncation.c - what a truncation leaves to readers and to those who wait: no removed record is ever given out,
 * every ticket that it removed is told so, and the start never goes back.
 *
 * May include: fault_io.h, log_fixture.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WATCHDOG_S = 30, RUNS = 70 };

static void on_watchdog(int number)
{
    static const char text[] = "watchdog: a wait never ended\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static int put(struct wal *log, const char *text, uint64_t truncate_from, struct wal_receipt *receipt)
{
    const struct wal_record record = {.data = text, .size = (uint32_t)strlen(text), .type = 1};
    const struct wal_append append = {.records = &record,
                                      .record_count = 1,
                                      .flags = truncate_from != 0 ? WAL_APPEND_TRUNCATE : 0,
                                      .first_index = truncate_from};
    return wal_append(log, &append, receipt);
}

static void put_many(struct wal *log, const char *text, unsigned count)
{
    struct wal_receipt receipt;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(put(log, text, 0, &receipt), 0);
    }
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
}

static void expect_text(struct wal *log, uint64_t index, const char *text)
{
    char buffer[100];
    struct wal_record record;
    assert_int_equal(wal_read(log, index, buffer, sizeof(buffer), &record), 0);
    assert_int_equal(record.index, index);
    assert_int_equal(record.size, strlen(text));
    assert_memory_equal(record.data, text, record.size);
}

/* A reader has a window over the records behind a cut that is accepted and not written yet; then it is written. */
static void test_a_reader_before_the_cut_does_not_give_out_what_was_removed(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_receipt receipt;
    put_many(log, "old", 10);
    assert_int_equal(put(log, "new", 6, &receipt), 0); /* Durable is up to 5 now. */
    assert_int_equal(wal_cursor_open(log, 1, &cursor), 0);
    for (uint64_t index = 1; index <= 5; index++) {
        assert_int_equal(wal_cursor_next(cursor, &record), 0);
        expect_text(log, index, "old");
    }
    wal_cursor_seek(cursor, 5);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(record.index, 6);
    assert_int_equal(record.size, 3);
    assert_memory_equal(record.data, "new", 3);
    expect_text(log, 6, "new");
    char buffer[100];
    assert_int_equal(wal_read(log, 7, buffer, sizeof(buffer), &record), WAL_EBEYOND);
    wal_cursor_close(cursor);
    assert_int_equal(wal_close(log), 0);
}

/* Tickets that take turns between records and metadata are many runs of removed ones. */
static void test_every_removed_ticket_is_told(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    const struct wal_append metadata = {.flags = WAL_APPEND_METADATA, .metadata = "x", .metadata_bytes = 1};
    uint64_t removed[RUNS];
    uint64_t kept[RUNS];
    struct wal_receipt receipt;
    for (unsigned i = 0; i < RUNS; i++) {
        assert_int_equal(put(log, "gone", 0, &receipt), 0);
        removed[i] = receipt.ticket;
        assert_int_equal(wal_append(log, &metadata, &receipt), 0);
        kept[i] = receipt.ticket;
    }
    assert_int_equal(wal_truncate_suffix(log, 1, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    for (unsigned i = 0; i < RUNS; i++) {
        assert_int_equal(wal_wait(log, removed[i]), WAL_ETRUNCATED);
        assert_int_equal(wal_wait(log, kept[i]), 0);
    }
    assert_int_equal(wal_close(log), 0);
}

/* --- truncations that wait for room --------------------------------------------------------------- */

struct truncator {
    struct wal *log;
    bool prefix;
    uint64_t index;
    int result;
    struct wal_receipt receipt;
};

static void *cut(void *argument)
{
    struct truncator *truncator = argument;
    truncator->result = truncator->prefix ? wal_truncate_prefix(truncator->log, truncator->index, &truncator->receipt)
                                          : wal_truncate_suffix(truncator->log, truncator->index, &truncator->receipt);
    if (truncator->result == 0) {
        truncator->result = wal_wait(truncator->log, truncator->receipt.ticket);
    }
    return NULL;
}

/* Fills all buffers while nothing gets to the disk. */
static void fill_buffers(struct wal *log)
{
    static const char bytes[2 * BLOCK];
    const struct wal_record record = {.data = bytes, .size = sizeof(bytes), .type = 1};
    const struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
    struct wal_receipt receipt;
    while (wal_append(log, &append, &receipt) == 0) {
    }
}

static void pause_ms(long ms)
{
    (void)usleep((unsigned)ms * 1000);
}

/* Two truncations wait for room, in this order. Their results are in truncators. */
static void cut_both(struct wal *log, struct fault_io *disk, struct truncator truncators[2])
{
    pthread_t threads[2];
    fault_io_gate(disk, FAULT_WRITE_DURABLE);
    fill_buffers(log);
    for (unsigned i = 0; i < 2; i++) {
        truncators[i].log = log;
        assert_int_equal(pthread_create(&threads[i], NULL, cut, &truncators[i]), 0);
        pause_ms(10);
    }
    pause_ms(10);
    fault_io_gate(disk, 0);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}

static struct wal *thirty_records(struct fault_io *disk, struct wal_options *options)
{
    struct wal *log;
    *options = tiny(WAL_CREATE);
    options->segment_bytes = 64 * BLOCK;
    options->batch_bytes_max = 4 * BLOCK;
    assert_int_equal(wal_open_io(fault_io_disk(disk), options, &log, NULL), 0);
    put_many(log, "kept", 30);
    return log;
}

/* Starts at 20 and at 5: whoever comes first, the start is at 20 in the end, also after another opening. */
static void test_starts_that_wait_for_room_never_go_back(void **state)
{
    for (unsigned round = 0; round < 10; round++) {
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", round);
        scratch_join(directory, *state, name);
        struct fault_io *disk = fault_disk(directory);
        struct wal_options options;
        struct wal *log = thirty_records(disk, &options);
        struct truncator truncators[2] = {{.prefix = true, .index = round % 2 == 0 ? 20 : 5},
                                          {.prefix = true, .index = round % 2 == 0 ? 5 : 20}};
        cut_both(log, disk, truncators);
        for (unsigned i = 0; i < 2; i++) { /* The lower one may be told that it is behind the start already. */
            assert_true(truncators[i].result == 0 || (truncators[i].index == 5 && truncators[i].result == WAL_EINDEX));
        }
        assert_int_equal(wal_first_index(log), 20);
        assert_int_equal(wal_close(log), 0);
        assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
        assert_int_equal(wal_first_index(log), 20);
        expect_text(log, 20, "kept");
        assert_int_equal(wal_close(log), 0);
        fault_io_free(disk);
    }
}

/* The start goes to 20, the end is cut before 10: they exclude each other, and whoever is second must be told. */
static void test_start_and_end_that_wait_for_room_exclude_each_other(void **state)
{
    for (unsigned round = 0; round < 10; round++) {
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", round);
        scratch_join(directory, *state, name);
        struct fault_io *disk = fault_disk(directory);
        struct wal_options options;
        struct wal *log = thirty_records(disk, &options);
        struct truncator truncators[2] = {{.prefix = round % 2 == 0, .index = round % 2 == 0 ? 20 : 10},
                                          {.prefix = round % 2 != 0, .index = round % 2 == 0 ? 10 : 20}};
        cut_both(log, disk, truncators);
        assert_true((truncators[0].result == 0) + (truncators[1].result == 0) >= 1);
        uint64_t first = wal_first_index(log);
        uint64_t last = wal_last_index(log);
        assert_true(first <= last + 1);
        for (uint64_t index = first; index <= last && index <= 30; index++) {
            expect_text(log, index, "kept");
        }
        assert_int_equal(wal_close(log), 0);
        assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
        assert_int_equal(wal_first_index(log), first);
        assert_int_equal(wal_last_index(log), last);
        assert_int_equal(wal_close(log), 0);
        fault_io_free(disk);
    }
}

int main(void)
{
    (void)signal(SIGALRM, on_watchdog);
    (void)alarm(WATCHDOG_S);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_reader_before_the_cut_does_not_give_out_what_was_removed),
        TEST(test_every_removed_ticket_is_told),
        TEST(test_starts_that_wait_for_room_never_go_back),
        TEST(test_start_and_end_that_wait_for_room_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
