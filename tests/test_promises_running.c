/* test_promises_running.c - the promises P5 to P9 of wal.h, of what a log keeps while it runs, each shown on real
 * files, as a user of the log would meet them. P1 to P4 are in test_promises.c.
 *
 * The happy path of a test: a log is at work while its disk fails, fills up, returns a wrong byte or stalls, or while
 * another process wants it too; it says so with the code of wal.h, keeps what it has promised, and goes on when it may.
 *
 * What can fail: a promise. What this machine cannot show is told in a line `skipped: ...`.
 *
 * Invariants: a fault is the test's own (fault_io.h, a small file system), never the machine's.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- P5 ------------------------------------------------------------------------------------------ */

enum { WAITERS = 4 };

struct waiter {
    struct wal *log;
    pthread_t thread;
    int result;
};

static void *append_until_error(void *context)
{
    struct waiter *waiter = context;
    for (int i = 0; i < 100000; i++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record = sample_record(77, buffer);
        struct wal_append append = {.records = &record, .record_count = 1};
        waiter->result = wal_commit(waiter->log, &append, NULL);
        if (waiter->result != 0) {
            break;
        }
    }
    return NULL;
}

static void poison(const char *directory, uint32_t kinds, enum wal_strategy strategy)
{
    struct fault_io *disk = fault_disk(directory);
    struct wal_options options = small(WAL_CREATE);
    options.strategy = strategy;
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(sample_commit(log, 5), 0);
    fault_io_arm(disk, (struct fault_rule){.kinds = kinds, .nth = 20, .error = EIO});
    struct waiter waiters[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){.log = log};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, append_until_error, &waiters[i]), 0);
    }
    for (int i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
        assert_int_equal(waiters[i].result, WAL_EPOISONED);
    }
    fault_io_clear(disk);
    assert_int_equal(sample_commit(log, 1), WAL_EPOISONED);
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(log, 3, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_truncate_suffix(log, 3, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_reset(log, 1000000, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_wait(log, wal_durable_ticket(log) + 1), WAL_EPOISONED);
    assert_int_equal(wal_wait(log, wal_durable_ticket(log)), 0);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "segment 1"));
    assert_non_null(strstr(text, "offset"));
    assert_non_null(strstr(text, "EIO"));
    uint64_t durable = wal_durable_index(log);
    uint64_t writes = fault_io_count(disk, FAULT_WRITES | FAULT_SYNC);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    assert_int_equal(wal_read(log, 5, buffer, sizeof(buffer), &record), 0);
    assert_int_not_equal(wal_close(log), 0);
    assert_int_equal(fault_io_count(disk, FAULT_WRITES | FAULT_SYNC), writes);

    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_true(wal_last_index(log) >= durable);
    assert_int_equal(sample_commit(log, 5), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

static void test_p5_failed_write_poisons(void **state)
{
    poison(*state, FAULT_WRITE_DURABLE, WAL_STRATEGY_DSYNC);
}

static void test_p5_failed_sync_poisons(void **state)
{
    poison(*state, FAULT_WRITES | FAULT_SYNC, WAL_STRATEGY_FDATASYNC);
}

/* --- P6 ------------------------------------------------------------------------------------------ */

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* Appends until the disk is full; each refusal has changed nothing. */
static void fill(struct wal *log)
{
    int result = 0;
    for (int i = 0; i < 10000 && result == 0; i++) {
        uint64_t last = wal_last_index(log);
        result = sample_commit(log, 20);
        assert_int_equal(wal_last_index(log), last + (result == 0 ? 20 : 0));
    }
    assert_int_equal(result, WAL_ENOSPC);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_int_equal(wal_durable_index(log), wal_last_index(log));
    assert_int_equal(sample_commit(log, 20), WAL_ENOSPC);
}

/* With the older half gone, appending goes on once its segments have been made ready. */
static void resumes_after_truncation(struct wal *log)
{
    uint64_t kept = wal_first_index(log) + (wal_last_index(log) - wal_first_index(log)) / 2;
    uint64_t last = wal_last_index(log);
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(log, kept, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_true(sample_range_is_right(log, kept, last));
    int result = WAL_ENOSPC;
    for (int i = 0; i < 300 && result == WAL_ENOSPC; i++) {
        result = sample_commit(log, 20);
        if (result == WAL_ENOSPC) {
            sleep_ms(10);
        }
    }
    assert_int_equal(result, 0);
    assert_true(sample_range_is_right(log, kept, last + 20));
}

static void fill_file(const char *directory)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, directory, "../filler");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    static const char zeros[BLOCK];
    while (write(fd, zeros, sizeof(zeros)) > 0) {
    }
    (void)close(fd);
}

static void crash_when_full(struct wal *log)
{
    int result = 0;
    while (result == 0) {
        bool more = false;
        (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, &more);
        result = sample_commit(log, 20);
    }
    _exit(result == WAL_ENOSPC ? 0 : 4);
}

static void on_a_full_disk(const char *mount_point)
{
    char directory[SCRATCH_PATH_BYTES];
    scratch_join(directory, mount_point, "log");
    struct wal *log = open_log(directory, WAL_CREATE, NULL);
    fill(log);
    uint64_t last = wal_last_index(log);
    assert_true(sample_range_is_right(log, 1, last));
    resumes_after_truncation(log);
    fill(log);
    uint64_t first = wal_first_index(log);
    last = wal_last_index(log);
    fill_file(directory);
    assert_int_equal(wal_close(log), 0);
    for (int round = 0; round < 2; round++) {
        struct wal_verdict verdict;
        log = open_log(directory, 0, &verdict);
        assert_true(sample_range_is_right(log, first, last));
        if (round == 1) {
            resumes_after_truncation(log);
        }
        assert_int_equal(wal_close(log), 0);
    }
    in_child(crash_when_full, directory);
    log = open_log(directory, 0, NULL);
    assert_true(sample_range_is_right(log, wal_first_index(log), wal_last_index(log)));
    resumes_after_truncation(log);
    assert_int_equal(wal_close(log), 0);
}

static void test_p6_full_disk(void **state)
{
    if (mount("tmpfs", *state, "tmpfs", 0, "size=3m") != 0) {
        print_message("skipped: a full disk cannot be shown: mount: %s\n", strerror(errno));
        return;
    }
    on_a_full_disk(*state);
    assert_int_equal(umount(*state), 0);
}

static int teardown_mount(void **state)
{
    (void)umount2(*state, MNT_DETACH);
    return scratch_teardown(state);
}

static void test_p6_no_room_for_a_segment(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(sample_commit(log, 20), 0);
    }
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC});
    fill(log);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    resumes_after_truncation(log);
    fill(log);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_true(sample_range_is_right(log, wal_first_index(log), wal_last_index(log)));
    resumes_after_truncation(log);
    fault_io_clear(disk);
    for (int i = 0; i < 100; i++) {
        int result = sample_commit(log, 20);
        assert_true(result == 0 || result == WAL_ENOSPC);
        if (result != 0) {
            sleep_ms(20);
        }
    }
    assert_int_equal(sample_commit(log, 20), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- P7 ------------------------------------------------------------------------------------------ */

static void wrong_byte_is_an_error(struct fault_io *disk, uint64_t offset, uint8_t mask)
{
    struct wal_options options = small(WAL_READ_ONLY);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    fault_io_flip(disk, (struct fault_flip){.segment = 1, .offset = offset, .mask = mask});
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    assert_int_equal(wal_read(log, 5, buffer, sizeof(buffer), &record), WAL_ECORRUPT);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "segment 1"));
    struct wal_cursor *cursor = NULL;
    assert_int_equal(wal_cursor_open(log, 4, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECORRUPT);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECORRUPT);
    wal_cursor_seek(cursor, 6);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(record.index, 6);
    assert_true(sample_is_right(&record));
    wal_cursor_close(cursor);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(report.first_bad.first_index, 5);
    fault_io_clear(disk);
    assert_int_equal(wal_close(log), 0);
}

static void test_p7_every_wrong_byte_is_an_error(void **state)
{
    in_child(ten_commits_and_close, *state);
    struct found_batch batch = batch_of(*state, 5);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record = sample_record(5, buffer);
    struct fault_io *disk = fault_disk(*state);
    uint64_t begin = batch.offset + batch.head.head_bytes;
    for (uint64_t position = 0; position < RECORD_HEADER_BYTES + record.size; position++) {
        wrong_byte_is_an_error(disk, begin + position, (uint8_t)(1u << position % 8));
    }
    fault_io_free(disk);
}

/* --- P8 ------------------------------------------------------------------------------------------ */

struct meter {
    atomic_ulong live_bytes;
    atomic_ulong peak_bytes;
    atomic_ulong calls_while_watched;
};

static _Thread_local bool watched;

static void *metered_allocate(void *context, size_t bytes, size_t alignment)
{
    struct meter *meter = context;
    unsigned long live = atomic_fetch_add(&meter->live_bytes, bytes) + bytes;
    if (live > atomic_load(&meter->peak_bytes)) {
        atomic_store(&meter->peak_bytes, live);
    }
    if (watched) {
        atomic_fetch_add(&meter->calls_while_watched, 1);
    }
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void metered_release(void *context, void *memory, size_t bytes)
{
    struct meter *meter = context;
    atomic_fetch_sub(&meter->live_bytes, bytes);
    if (watched) {
        atomic_fetch_add(&meter->calls_while_watched, 1);
    }
    free(memory);
}

static void test_p8_appending_allocates_nothing(void **state)
{
    struct meter meter = {0};
    struct wal_allocator allocator = {metered_allocate, metered_release, &meter};
    struct wal_options options = small(WAL_CREATE);
    options.segment_bytes = 1 << 20;
    options.batch_bytes_max = 1 << 16;
    options.allocator = &allocator;
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    unsigned long half_peak = 0;
    for (uint64_t index = 1; index <= 100000; index++) {
        struct wal_record record = {.data = &index, .size = sizeof(index), .type = 1, .tag = index};
        struct wal_append append = {.records = &record, .record_count = 1};
        struct wal_receipt receipt;
        watched = true;
        assert_int_equal(wal_append(log, &append, &receipt), 0);
        if (index % 500 == 0) {
            assert_int_equal(wal_wait(log, receipt.ticket), 0);
        }
        watched = false;
        if (index % 20000 == 0) {
            assert_int_equal(wal_truncate_prefix(log, index - 1000, &receipt), 0);
        }
        if (index == 60000) {
            half_peak = atomic_load(&meter.peak_bytes);
        }
    }
    assert_int_equal(atomic_load(&meter.calls_while_watched), 0);
    /* The preparer's working memory may or may not have been live at either peak. */
    assert_true(atomic_load(&meter.peak_bytes) <= half_peak + (1 << 20));
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(atomic_load(&meter.live_bytes), 0);
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* Reads a log of many segments: memory and descriptors stay at segments_mapped_max. */
static void read_within_bounds(const char *directory, uint32_t flags, uint32_t segments_max)
{
    struct meter meter = {0};
    struct wal_allocator allocator = {metered_allocate, metered_release, &meter};
    struct wal_options options = tiny(flags);
    struct wal *log = NULL;
    struct wal_stats stats;
    options.segments_mapped_max = 2;
    options.segments_max = segments_max;
    options.allocator = &allocator;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    uint64_t durable = wal_durable_index(log);
    unsigned files_before = descriptors();
    unsigned long bytes_before = atomic_load(&meter.live_bytes);
    assert_true(sample_range_is_right(log, 1, durable));
    unsigned files = descriptors();
    wal_stats(log, &stats);
    assert_true(stats.segments > 20);
    assert_true(files <= files_before + options.segments_mapped_max);
    assert_true(atomic_load(&meter.live_bytes) <= bytes_before + options.segments_mapped_max * BLOCK);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(atomic_load(&meter.live_bytes), 0);
}

static void test_p8_reading_keeps_to_the_maps_of_the_options(void **state)
{
    struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
    struct wal *log = NULL;
    struct wal_stats stats;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL), 0);
        assert_int_equal(sample_commit(log, 1), 0);
    }
    wal_stats(log, &stats);
    assert_int_equal(wal_close(log), 0);
    read_within_bounds(*state, WAL_READ_ONLY, 0);
    read_within_bounds(*state, WAL_NO_THREADS, 0);
    /* A writer that has no room for a further segment, and says so all the time. */
    read_within_bounds(*state, WAL_NO_THREADS, (uint32_t)(stats.segments + stats.segments_ready));
    read_within_bounds(*state, 0, (uint32_t)(stats.segments + stats.segments_ready));
}

static void *commit_one(void *context)
{
    struct waiter *waiter = context;
    waiter->result = sample_commit(waiter->log, 1);
    return NULL;
}

static void *append_waiting(void *context)
{
    struct waiter *waiter = context;
    struct wal_receipt receipt;
    waiter->result = sample_append(waiter->log, 20, &receipt);
    return NULL;
}

/* A disk that stalls: at the bound NO_WAIT is told to come again, and others wait. */
static void test_p8_full_buffers(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    options.idle_mark_ms = 60000;
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(sample_commit(log, 1), 0);
    fault_io_gate(disk, FAULT_WRITES | FAULT_SYNC);
    struct waiter committer = {.log = log};
    assert_int_equal(pthread_create(&committer.thread, NULL, commit_one, &committer), 0);
    struct wal_stats stats;
    for (int i = 0; i < 500 && wal_last_index(log) < 2; i++) {
        sleep_ms(2);
    }
    assert_int_equal(wal_last_index(log), 2);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_receipt receipt;
    int result = 0;
    uint64_t bytes = 0;
    while (result == 0 && bytes < 100u * options.batch_bytes_max) {
        uint64_t next = wal_last_index(log) + 1;
        struct wal_record record = sample_record(next, buffer);
        struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
        result = wal_append(log, &append, &receipt);
        bytes += record.size;
        assert_int_equal(wal_last_index(log), result == 0 ? next : next - 1);
    }
    assert_int_equal(result, WAL_EAGAIN);
    assert_true(bytes <= 8u * options.batch_bytes_max);
    struct waiter appender = {.log = log};
    assert_int_equal(pthread_create(&appender.thread, NULL, append_waiting, &appender), 0);
    do {
        sleep_ms(2);
        wal_stats(log, &stats);
    } while (stats.buffer_waits + stats.roll_waits == 0);
    uint64_t last = wal_last_index(log);
    sleep_ms(20);
    assert_int_equal(wal_last_index(log), last);
    fault_io_gate(disk, 0);
    assert_int_equal(pthread_join(committer.thread, NULL), 0);
    assert_int_equal(committer.result, 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_int_equal(pthread_join(appender.thread, NULL), 0);
    assert_int_equal(appender.result, 0);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_true(sample_range_is_right(log, 1, last + 21));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* The same where a loop appends and never submits. */
static void test_p8_full_buffers_of_a_loop(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    assert_true(wal_event_fd(log) >= 0);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_receipt receipt;
    int result = sample_append(log, 1, &receipt); /* Waits for the first segment to be ready. */
    while (result == 0 && wal_last_index(log) < 100000) {
        struct wal_record record = sample_record(wal_last_index(log) + 1, buffer);
        struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
        result = wal_append(log, &append, &receipt);
    }
    assert_int_equal(result, WAL_EAGAIN);
    assert_int_equal(wal_durable_index(log), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
}

/* --- P9 ------------------------------------------------------------------------------------------ */

static int open_in_child(const char *directory, uint32_t flags)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct wal_options options = small(flags | WAL_NO_THREADS);
        struct wal *log = NULL;
        int result = wal_open(directory, &options, &log, NULL);
        if (result == 0 && !sample_range_is_right(log, 1, wal_last_index(log))) {
            _exit(100);
        }
        _exit(-result);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void test_p9_one_writer_many_readers(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    assert_int_equal(sample_commit(log, 10), 0);
    struct wal_options options = small(WAL_CREATE);
    struct wal *second = NULL;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(*state, &options, &second, &verdict), WAL_EBUSY);
    assert_null(second);
    assert_true(verdict.text[0] != '\0');
    assert_int_equal(open_in_child(*state, 0), WAL_EBUSY);
    struct wal *readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = open_log(*state, WAL_READ_ONLY, &verdict);
        assert_int_equal(wal_last_index(readers[i]), 10 + i);
        assert_int_equal(sample_commit(log, 1), 0);
        assert_int_equal(open_in_child(*state, WAL_READ_ONLY), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(sample_range_is_right(readers[i], 1, (uint64_t)(10 + i)));
        assert_int_equal(sample_commit(readers[i], 1), WAL_EROFS);
        assert_int_equal(wal_close(readers[i]), 0);
    }
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(open_in_child(*state, 0), 0);
    log = open_log(*state, 0, NULL);
    assert_true(sample_range_is_right(log, 1, 14));
    assert_int_equal(wal_close(log), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_p5_failed_write_poisons, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p5_failed_sync_poisons, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p6_full_disk, scratch_setup, teardown_mount),
        cmocka_unit_test_setup_teardown(test_p6_no_room_for_a_segment, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p7_every_wrong_byte_is_an_error, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p8_appending_allocates_nothing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p8_reading_keeps_to_the_maps_of_the_options, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p8_full_buffers, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p8_full_buffers_of_a_loop, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p9_one_writer_many_readers, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
