/* test_limits.c - limits that a log, its options and its disk share: segments, blocks, the largest append.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, sim_disk.h, wal/read.c. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"
#include "tests/sim_disk.h"

/* Its own copy of the reader: what it asks for is looked at without a record of 4 GiB. */
#define reader_create own_reader_create
#define reader_destroy own_reader_destroy
#define reader_record own_reader_record
#include "wal/read.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WATCHDOG_S = 30 };

static void on_watchdog(int number)
{
    static const char text[] = "watchdog: a wait never ended\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static int append(struct wal *log, uint32_t size, struct wal_receipt *receipt)
{
    static const char bytes[1 << 20];
    const struct wal_record record = {.data = bytes, .size = size, .type = 1};
    const struct wal_append one = {.records = &record, .record_count = 1};
    return wal_append(log, &one, receipt);
}

/* What refuses for a while only, because the helper is at work, may be asked again. */
static int append_patiently(struct wal *log, uint32_t size, struct wal_receipt *receipt)
{
    int result = append(log, size, receipt);
    for (int turn = 0; turn < 300 && result == WAL_ENOSPC; turn++) {
        (void)usleep(10000);
        result = append(log, size, receipt);
    }
    return result == 0 ? wal_wait(log, receipt->ticket) : result;
}

/* --- segments_max -------------------------------------------------------------------------------- */

static void fill_to_the_bound(struct wal *log)
{
    struct wal_receipt receipt;
    int result;
    while ((result = append(log, 8000, &receipt)) == 0) {
        assert_int_equal(wal_wait(log, receipt.ticket), 0);
    }
    assert_int_equal(result, WAL_ENOSPC);
}

static void test_at_segments_max_room_comes_back_with_the_start(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal_verdict verdict;
    struct wal *log;
    options.batch_bytes_max = 4 * BLOCK;
    options.segments_max = 6;
    for (int life = 0; life < 2; life++) {
        assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), 0);
        fill_to_the_bound(log);
        assert_int_equal(wal_truncate_prefix(log, wal_last_index(log), &receipt), 0);
        assert_int_equal(wal_wait(log, receipt.ticket), 0);
        for (int i = 0; i < 30; i++) {
            assert_int_equal(append_patiently(log, 8000, &receipt), 0);
            if (i % 3 == 2) {
                assert_int_equal(wal_truncate_prefix(log, wal_last_index(log), &receipt), 0);
                assert_int_equal(wal_wait(log, receipt.ticket), 0);
            }
        }
        assert_int_equal(wal_close(log), 0);
    }
    fault_io_free(disk);
}

static void test_at_segments_max_the_helper_is_quiet(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log;
    options.batch_bytes_max = 4 * BLOCK;
    options.segments_max = 6;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    fill_to_the_bound(log);
    (void)usleep(100000);
    uint64_t writes = fault_io_count(disk, FAULT_WRITE | FAULT_OPEN);
    (void)usleep(200000);
    assert_int_equal(fault_io_count(disk, FAULT_WRITE | FAULT_OPEN), writes);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- sizes that changed between two openings ------------------------------------------------------ */

/* Ready segments of an earlier, smaller size stand in the way of an append that batch_bytes_max allows. */
static void test_small_ready_segments_do_not_refuse_a_large_append(void **state)
{
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal_stats stats;
    struct wal *log;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(append_patiently(log, 100, &receipt), 0);
    do {
        (void)usleep(1000);
        wal_stats(log, &stats);
    } while (stats.segments_ready == 0);
    assert_int_equal(wal_close(log), 0);
    options.flags = 0;
    options.segment_bytes = 256 * BLOCK;
    options.batch_bytes_max = 64 * BLOCK;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(append_patiently(log, 50 * BLOCK, &receipt), 0);
    assert_int_equal(wal_close(log), 0);
}

/* The identity is of the open that made the file, with one batch in flight; a later one may have had four. */
static void test_what_may_be_lost_is_bounded_by_any_open(void **state)
{
    in_child(ten_commits, *state);
    struct wal_verdict verdict;
    struct wal *log = open_log(*state, WAL_READ_ONLY, &verdict);
    assert_false(verdict.closed);
    assert_int_equal(verdict.concerned_batches, 4);
    assert_int_equal(wal_close(log), 0);
}

/* The limits of block and segment are those of the log that is there, not of the options' default block. */
static void test_segments_too_small_for_the_logs_blocks_are_refused(void **state)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal_receipt receipt;
    struct wal_verdict verdict;
    struct wal *log;
    options.flags = WAL_CREATE;
    options.block_bytes = 65536;
    options.segment_bytes = 16 * 65536;
    options.batch_bytes_max = 4 * 65536;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(append_patiently(log, 1000, &receipt), 0);
    assert_int_equal(wal_close(log), 0);
    options.flags = 0;
    options.block_bytes = 0;
    options.segment_bytes = 5 * 65536; /* 80 blocks of 4 KiB, and 5 of this log's. */
    assert_int_equal(wal_open(*state, &options, &log, &verdict), WAL_EINVAL);
    assert_true(verdict.text[0] != '\0');
    options.segment_bytes = 16 * 65536;
    assert_int_equal(wal_open(*state, &options, &log, &verdict), 0);
    assert_int_equal(wal_last_index(log), 1);
    assert_int_equal(wal_close(log), 0);
}

/* The log's own buffers are aligned to 4,096 bytes: a disk that wants more is refused, and nothing is written to it. */
static void test_a_disk_that_wants_more_alignment_is_refused(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_verdict verdict;
    struct wal *log = NULL;
    options.block_bytes = 8192;
    options.segment_bytes = 16 * 8192;
    options.batch_bytes_max = 4 * 8192;
    fault_io_disk(disk)->caps.align_bytes = 8192;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), WAL_EINVAL);
    assert_non_null(strstr(verdict.text, "8192"));
    assert_int_equal(fault_io_count(disk, FAULT_ANY), 0);
    fault_io_disk(disk)->caps.align_bytes = 4096;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- the largest append -------------------------------------------------------------------------- */

/* What may be appended does not depend on the metadata in force, and the bound is exact. */
static void test_the_largest_append_does_not_depend_on_metadata(void **state)
{
    static const char metadata[256];
    const struct wal_append with_metadata = {
        .flags = WAL_APPEND_METADATA, .metadata = metadata, .metadata_bytes = sizeof(metadata)};
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal *log;
    options.segment_bytes = 64 * BLOCK;
    options.batch_bytes_max = 4 * BLOCK;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    uint32_t largest = 0;
    for (uint32_t size = options.batch_bytes_max - 500; size <= options.batch_bytes_max; size++) {
        int result = append(log, size, &receipt);
        if (result == WAL_ETOOBIG) {
            break;
        }
        assert_int_equal(result, 0);
        assert_int_equal(wal_wait(log, receipt.ticket), 0);
        largest = size;
    }
    assert_true(largest > 0 && largest < options.batch_bytes_max);
    assert_int_equal(wal_commit(log, &with_metadata, &receipt), 0);
    assert_int_equal(append_patiently(log, largest, &receipt), 0);
    assert_int_equal(append(log, largest + 1, &receipt), WAL_ETOOBIG);
    uint64_t last = wal_last_index(log);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(wal_close(log), 0);
    options.flags = 0;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(wal_last_index(log), last);
    assert_int_equal(wal_close(log), 0);
}

static size_t wanted_bytes;

static void *note_wanted(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    (void)alignment;
    wanted_bytes = bytes;
    return NULL;
}

/* The room for the largest records, of nearly 4 GiB, is not computed in 32 bits. */
static void test_the_largest_records_find_room_to_be_read(void **state)
{
    static struct wal log;
    const struct wal_allocator allocator = {note_wanted, NULL, NULL};
    struct segment segment = {.number = 1, .file = -1};
    struct reader reader = {.log = &log, .capacity_bytes = 1 << 20};
    (void)state;
    log.options.allocator = &allocator;
    for (uint64_t less = 512; less < 32768; less += 512) {
        uint64_t bytes = (UINT64_C(1) << 32) - less;
        assert_int_equal(load(&reader, &segment, 1024, bytes, 0), WAL_ENOMEM);
        assert_true(wanted_bytes >= bytes);
    }
}

/* --- numbers ------------------------------------------------------------------------------------- */

static void test_payload_counts_when_it_is_accepted(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal_stats stats;
    struct wal *log;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    fault_io_gate(disk, FAULT_WRITE_DURABLE);
    assert_int_equal(append(log, 1000, &receipt), 0);
    wal_stats(log, &stats);
    assert_int_equal(stats.appends, 1);
    assert_int_equal(stats.records, 1);
    assert_int_equal(stats.payload_bytes, 1000);
    fault_io_gate(disk, 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    wal_stats(log, &stats);
    assert_int_equal(stats.payload_bytes, 1000);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

static struct wal *open_for_a_loop(struct sim_disk *disk, uint32_t batches_in_flight_max)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE | WAL_NO_THREADS;
    options.segment_bytes = 64 * BLOCK;
    options.batch_bytes_max = 16 * BLOCK;
    options.batches_in_flight_max = batches_in_flight_max;
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(sim_disk_io(disk), &options, &log, NULL), 0);
    assert_true(wal_event_fd(log) >= 0);
    assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL), 0); /* So that nothing waits for a segment. */
    return log;
}

static void append_and_submit(struct wal *log, const char *bytes, uint32_t size)
{
    const struct wal_record record = {.data = bytes, .size = size, .type = 1};
    const struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
    int status = wal_append(log, &append, NULL);
    assert_true(status == 0 || status == WAL_EAGAIN);
    assert_int_equal(wal_submit(log), 0);
}

/* So many batches are at the disk when appends of these sizes have been submitted one by one. */
static unsigned at_the_disk(const uint32_t sizes[4], uint32_t batches_in_flight_max)
{
    static const char bytes[64 << 10];
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal *log = open_for_a_loop(disk, batches_in_flight_max);
    sim_disk_hold(disk, true);
    for (unsigned i = 0; i < 4 && sizes[i] != 0; i++) {
        append_and_submit(log, bytes, sizes[i]);
    }
    unsigned count = sim_disk_in_flight(disk);
    sim_disk_hold(disk, false);
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
    return count;
}

static unsigned four_at_the_disk(uint32_t size, uint32_t batches_in_flight_max)
{
    return at_the_disk((const uint32_t[4]){size, size, size, size}, batches_in_flight_max);
}

/* A small batch grows while it waits for the one at the disk; a large one has nothing to gain from waiting. */
static void test_only_large_batches_follow_one_that_is_at_the_disk(void **state)
{
    (void)state;
    assert_int_equal(four_at_the_disk(128, 0), 1);
    assert_int_equal(four_at_the_disk(BLOCK, 0), 1);
    assert_int_equal(four_at_the_disk(2 * BLOCK, 0), 2); /* The one that waits has grown to a quarter of the largest. */
    assert_int_equal(four_at_the_disk(5 * BLOCK, 0), 2);
    assert_int_equal(four_at_the_disk(12 * BLOCK, 0), 2);
    assert_int_equal(four_at_the_disk(12 * BLOCK, 1), 1);
    /* One that the next does not fit into cannot grow. */
    assert_int_equal(at_the_disk((const uint32_t[4]){12 * BLOCK, 3 * BLOCK}, 0), 1);
    assert_int_equal(at_the_disk((const uint32_t[4]){12 * BLOCK, 3 * BLOCK, 14 * BLOCK}, 0), 2);
    assert_int_equal(four_at_the_disk(128, 3), 3); /* A caller who names a number gets it. */
}

/* Of four appends of this size two are at the disk, or one, and as many wait as find room. So many are at the disk when
 * the first is durable, as wal_dispatch has told, and the loop has not said wal_submit yet. */
static unsigned at_the_disk_behind_dispatch(uint32_t size, uint32_t batches_in_flight_max)
{
    static const char bytes[64 << 10];
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal *log = open_for_a_loop(disk, batches_in_flight_max);
    sim_disk_hold(disk, true);
    for (unsigned i = 0; i < 4; i++) {
        append_and_submit(log, bytes, size);
    }
    unsigned before = sim_disk_in_flight(disk);
    sim_disk_release(disk, 0);
    struct wal_progress progress;
    assert_int_equal(wal_dispatch(log, &progress), 0);
    assert_int_not_equal(progress.durable_ticket, 0);
    unsigned behind = sim_disk_in_flight(disk);
    assert_int_equal(wal_submit(log), 0);
    assert_int_equal(sim_disk_in_flight(disk), before);
    sim_disk_hold(disk, false);
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
    return behind;
}

/* The loop is about to append, and an open batch can take that in; a complete one would only let the disk wait. */
static void test_dispatch_sends_what_is_complete_and_keeps_what_may_grow(void **state)
{
    (void)state;
    assert_int_equal(at_the_disk_behind_dispatch(12 * BLOCK, 0), 2);
    assert_int_equal(at_the_disk_behind_dispatch(12 * BLOCK, 1), 1);
    assert_int_equal(at_the_disk_behind_dispatch(128, 0), 0);
    assert_int_equal(at_the_disk_behind_dispatch(128, 1), 0);
}

/* Behind the complete batch stands one that may grow, and there is room at the disk for both: it stays. */
static void test_dispatch_keeps_what_may_grow_behind_what_is_complete(void **state)
{
    (void)state;
    static const char bytes[64 << 10];
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal *log = open_for_a_loop(disk, 2);
    sim_disk_hold(disk, true);
    const uint32_t sizes[4] = {128, 128, 12 * BLOCK, 5 * BLOCK};
    for (unsigned i = 0; i < 4; i++) {
        append_and_submit(log, bytes, sizes[i]);
    }
    assert_int_equal(sim_disk_in_flight(disk), 2);
    sim_disk_release(disk, 0);
    sim_disk_release(disk, 1);
    assert_int_equal(wal_dispatch(log, NULL), 0);
    assert_int_equal(sim_disk_in_flight(disk), 1);
    assert_int_equal(wal_submit(log), 0);
    assert_int_equal(sim_disk_in_flight(disk), 2);
    sim_disk_hold(disk, false);
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
}

int main(void)
{
    (void)signal(SIGALRM, on_watchdog);
    (void)alarm(WATCHDOG_S);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_at_segments_max_room_comes_back_with_the_start),
        TEST(test_at_segments_max_the_helper_is_quiet),
        TEST(test_small_ready_segments_do_not_refuse_a_large_append),
        TEST(test_what_may_be_lost_is_bounded_by_any_open),
        TEST(test_segments_too_small_for_the_logs_blocks_are_refused),
        TEST(test_a_disk_that_wants_more_alignment_is_refused),
        TEST(test_the_largest_append_does_not_depend_on_metadata),
        TEST(test_the_largest_records_find_room_to_be_read),
        TEST(test_payload_counts_when_it_is_accepted),
        TEST(test_only_large_batches_follow_one_that_is_at_the_disk),
        TEST(test_dispatch_sends_what_is_complete_and_keeps_what_may_grow),
        TEST(test_dispatch_keeps_what_may_grow_behind_what_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
