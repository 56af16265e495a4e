/* test_threads.c - everything at once: threads that wait, an event loop, readers, truncations, on both backends.
 *
 * The happy path: each record's tag says who wrote it and as which of its own, its content follows from its tag.
 * Writers check their receipts, readers whatever they meet, the end of the test that each writer's records stand in its
 * order without a gap.
 *
 * What can fail: an answer that cannot be explained by what others do at the same time; a hang, which the alarm ends;
 * under a thread sanitizer, a race.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WRITERS = 4, READERS = 2, LOOP = WRITERS, APPENDS = 600, LOOP_APPENDS = 1500, ALARM_S = 100 };

/* Asserting in other threads than the main one is not cmocka's; they count what is wrong instead. */
static atomic_int wrong;

static void check_at(bool right, int line, int value)
{
    if (!right) {
        (void)fprintf(stderr, "line %d: %d (%s)\n", line, value, wal_strerror(value));
        atomic_fetch_add(&wrong, 1);
    }
}
#define EXPECT(right, value) check_at((right), __LINE__, (value))

struct crowd {
    struct wal *log;
    atomic_bool over;
    atomic_ulong read;
};

struct worker {
    struct crowd *crowd;
    pthread_t thread;
    uint64_t number;
};

static uint64_t tag_of(uint64_t writer, uint64_t turn)
{
    return (writer + 1) << 32 | turn;
}

static int setup(void **state)
{
    atomic_store(&wrong, 0);
    (void)alarm(ALARM_S);
    return scratch_setup(state);
}

static int teardown(void **state)
{
    (void)alarm(0);
    return scratch_teardown(state);
}

static struct wal_options options_of(uint32_t flags, enum wal_backend backend)
{
    struct wal_options options = small(flags);
    options.backend = backend;
    options.batch_bytes_max = 8 * BLOCK;
    options.segments_mapped_max = 3;
    options.idle_mark_ms = 1;
    return options;
}

/* --- who takes part ------------------------------------------------------------------------------ */

static void *write_records(void *context)
{
    struct worker *worker = context;
    struct wal *log = worker->crowd->log;
    uint64_t turn = 0;
    for (int i = 0; i < APPENDS; i++) {
        uint8_t buffers[4][SAMPLE_BYTES_MAX];
        struct wal_record records[4];
        uint32_t count = 1 + (uint32_t)(i % 4);
        for (uint32_t k = 0; k < count; k++) {
            records[k] = sample_record(tag_of(worker->number, turn + k), buffers[k]);
        }
        struct wal_append append = {.records = records, .record_count = count};
        struct wal_receipt receipt = {0};
        int result = wal_append(log, &append, &receipt);
        EXPECT(result == 0 && receipt.last_index - receipt.first_index + 1 == count, result);
        if (result != 0) {
            break;
        }
        turn += count;
        if (i % 3 != 0) {
            result = wal_wait(log, receipt.ticket);
            EXPECT(result == 0, result);
            EXPECT(wal_durable_ticket(log) >= receipt.ticket, 0);
        }
    }
    return NULL;
}

static void *run_loop(void *context)
{
    struct worker *worker = context;
    struct wal *log = worker->crowd->log;
    int fd = wal_event_fd(log);
    EXPECT(fd >= 0, fd);
    uint64_t turn = 0;
    struct wal_progress progress = {0};
    uint64_t last_ticket = 0;
    while (fd >= 0 && (turn < LOOP_APPENDS || progress.durable_ticket < last_ticket)) {
        for (int burst = 0; burst < 8 && turn < LOOP_APPENDS; burst++) {
            uint8_t buffer[SAMPLE_BYTES_MAX];
            struct wal_record record = sample_record(tag_of(worker->number, turn), buffer);
            struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
            struct wal_receipt receipt = {0};
            int result = wal_append(log, &append, &receipt);
            EXPECT(result == 0 || result == WAL_EAGAIN, result);
            if (result != 0) {
                break;
            }
            last_ticket = receipt.ticket;
            turn++;
        }
        int result = wal_submit(log);
        EXPECT(result == 0, result);
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        (void)poll(&entry, 1, turn < LOOP_APPENDS ? 1 : 1000);
        uint64_t before = progress.durable_ticket;
        result = wal_dispatch(log, &progress);
        EXPECT(result == 0 && progress.durable_ticket >= before, result);
        if (result != 0) {
            break;
        }
    }
    return NULL;
}

static void look_at(struct crowd *crowd, int result, const struct wal_record *record, uint64_t index)
{
    bool excused = result == WAL_ECOMPACTED || result == WAL_EBEYOND;
    EXPECT(result == 0 || excused, result);
    if (result == 0) {
        EXPECT((index == 0 || record->index == index) && sample_is_right(record), 0);
        atomic_fetch_add(&crowd->read, 1);
    }
}

static void *read_records(void *context)
{
    struct worker *worker = context;
    struct crowd *crowd = worker->crowd;
    uint64_t random = worker->number * 0x9e3779b97f4a7c15u + 1;
    while (!atomic_load(&crowd->over)) {
        struct wal_cursor *cursor = NULL;
        int result = wal_cursor_open(crowd->log, 0, &cursor);
        EXPECT(result == 0, result);
        struct wal_record record;
        for (int i = 0; result == 0 && i < 200; i++) {
            result = wal_cursor_next(cursor, &record);
            look_at(crowd, result, &record, 0);
        }
        wal_cursor_close(cursor);
        for (int i = 0; i < 20; i++) {
            uint64_t first = wal_first_index(crowd->log);
            uint64_t durable = wal_durable_index(crowd->log);
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t index = durable > first ? first + (random >> 33) % (durable - first + 1) : first;
            uint8_t buffer[SAMPLE_BYTES_MAX];
            look_at(crowd, wal_read(crowd->log, index, buffer, sizeof(buffer), &record), &record, index);
        }
        struct wal_stats stats;
        wal_stats(crowd->log, &stats);
        EXPECT(stats.durable_ticket <= stats.submitted_ticket && stats.submitted_ticket <= stats.appended_ticket, 0);
        char text[256];
        (void)wal_errmsg(crowd->log, text, sizeof(text));
    }
    return NULL;
}

/* Keeps the newest thousand records. */
static void *cut_the_front(void *context)
{
    struct worker *worker = context;
    struct crowd *crowd = worker->crowd;
    while (!atomic_load(&crowd->over)) {
        uint64_t first = wal_first_index(crowd->log);
        uint64_t last = wal_durable_index(crowd->log);
        if (last > first + 1000) {
            struct wal_receipt receipt;
            int result = wal_truncate_prefix(crowd->log, last - 1000, &receipt);
            EXPECT(result == 0, result);
            result = result == 0 ? wal_wait(crowd->log, receipt.ticket) : result;
            EXPECT(result == 0, result);
        }
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* --- the end ------------------------------------------------------------------------------------- */

struct order {
    uint64_t writers; /* There are no others. */
    bool gaps;        /* May be: what was cut off is missing. */
    uint64_t next[WRITERS + 1];
    bool seen[WRITERS + 1];
};

/* Every record from the first to the last, as it was written, each writer's in its order. */
static void read_in_order(struct wal *log, struct order *order)
{
    struct wal_cursor *cursor = NULL;
    assert_int_equal(wal_cursor_open(log, 0, &cursor), 0);
    uint64_t index = wal_first_index(log);
    struct wal_record record;
    int result;
    while ((result = wal_cursor_next(cursor, &record)) == 0) {
        assert_int_equal(record.index, index++);
        assert_true(sample_is_right(&record));
        uint64_t writer = (record.tag >> 32) - 1;
        uint64_t turn = record.tag & 0xffffffffu;
        assert_true(writer < order->writers);
        bool follows = order->gaps ? turn >= order->next[writer] : turn == order->next[writer];
        assert_true(follows || (!order->seen[writer] && wal_first_index(log) != 1));
        order->seen[writer] = true;
        order->next[writer] = turn + 1;
    }
    assert_int_equal(result, WAL_EBEYOND);
    assert_int_equal(index, wal_last_index(log) + 1);
    wal_cursor_close(cursor);
}

/* Each writer's records in its order, without a gap from the first that is still there to its last. */
static void check_order(struct wal *log, const uint64_t *ends)
{
    struct order order = {.writers = WRITERS + 1};
    read_in_order(log, &order);
    for (int i = 0; i <= WRITERS; i++) {
        assert_true(!order.seen[i] || order.next[i] == ends[i]);
        assert_true(order.seen[i] || wal_first_index(log) != 1 || ends[i] == 0);
    }
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(report.records, wal_last_index(log) - wal_first_index(log) + 1);
}

static void start(struct worker *worker, struct crowd *crowd, uint64_t number, void *(*work)(void *))
{
    *worker = (struct worker){.crowd = crowd, .number = number};
    assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void all_at_once(const char *directory, enum wal_backend backend, bool truncating, bool loop)
{
    struct wal_options options = options_of(WAL_CREATE, backend);
    struct crowd crowd = {0};
    int opened = wal_open(directory, &options, &crowd.log, NULL);
    if (opened == WAL_ESYSTEM && backend == WAL_BACKEND_URING) {
        print_message("skipped: no ring to be had here\n");
        return;
    }
    assert_int_equal(opened, 0);
    struct worker writers[WRITERS + 1];
    struct worker readers[READERS];
    struct worker cutter;
    for (uint64_t i = 0; i < WRITERS; i++) {
        start(&writers[i], &crowd, i, write_records);
    }
    if (loop) {
        start(&writers[LOOP], &crowd, LOOP, run_loop);
    }
    for (uint64_t i = 0; i < READERS; i++) {
        start(&readers[i], &crowd, i, read_records);
    }
    if (truncating) {
        start(&cutter, &crowd, 0, cut_the_front);
    }
    for (int i = 0; i < WRITERS + (loop ? 1 : 0); i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
    atomic_store(&crowd.over, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
    }
    if (truncating) {
        assert_int_equal(pthread_join(cutter.thread, NULL), 0);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&crowd.read) > 100);
    uint64_t ends[WRITERS + 1];
    for (int i = 0; i < WRITERS; i++) {
        ends[i] = APPENDS / 4 * (1 + 2 + 3 + 4);
    }
    ends[LOOP] = loop ? LOOP_APPENDS : 0;
    uint64_t last = wal_last_index(crowd.log);
    assert_int_equal(last, WRITERS * ends[0] + ends[LOOP]);
    struct wal_stats stats;
    wal_stats(crowd.log, &stats);
    assert_int_equal(wal_wait(crowd.log, stats.appended_ticket), 0);
    check_order(crowd.log, ends);
    uint64_t first = wal_first_index(crowd.log);
    assert_int_equal(wal_close(crowd.log), 0);

    struct wal_verdict verdict;
    assert_int_equal(wal_open(directory, &options, &crowd.log, &verdict), 0);
    assert_int_equal(verdict.kind, WAL_VERDICT_CLEAN);
    assert_true(verdict.closed);
    assert_int_equal(wal_first_index(crowd.log), first);
    assert_int_equal(wal_last_index(crowd.log), last);
    check_order(crowd.log, ends);
    assert_int_equal(wal_close(crowd.log), 0);
}

static void test_all_at_once_posix(void **state)
{
    all_at_once(*state, WAL_BACKEND_POSIX, false, true);
}

static void test_all_at_once_uring(void **state)
{
    all_at_once(*state, WAL_BACKEND_URING, false, true);
}

static void test_all_at_once_with_truncation_posix(void **state)
{
    all_at_once(*state, WAL_BACKEND_POSIX, true, true);
}

static void test_all_at_once_with_truncation_uring(void **state)
{
    all_at_once(*state, WAL_BACKEND_URING, true, true);
}

static void test_writers_that_wait(void **state)
{
    all_at_once(*state, WAL_BACKEND_AUTO, true, false);
}

/* --- truncations of the end ---------------------------------------------------------------------- */

/* Writers whose records may be cut off at any time: then their wait tells. */
static void *write_under_the_knife(void *context)
{
    struct worker *worker = context;
    struct wal *log = worker->crowd->log;
    for (uint64_t turn = 0; turn < APPENDS; turn++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record = sample_record(tag_of(worker->number, turn), buffer);
        struct wal_append append = {.records = &record, .record_count = 1};
        int result = wal_commit(log, &append, NULL);
        EXPECT(result == 0 || result == WAL_ETRUNCATED, result);
    }
    return NULL;
}

static void *cut_the_end(void *context)
{
    struct worker *worker = context;
    struct crowd *crowd = worker->crowd;
    for (uint64_t round = 0; !atomic_load(&crowd->over); round++) {
        uint64_t last = wal_last_index(crowd->log);
        uint64_t first = wal_first_index(crowd->log);
        if (last > first + 50) {
            struct wal_receipt receipt;
            int result = wal_truncate_suffix(crowd->log, last - round % 7, &receipt);
            EXPECT(result == 0, result);
            result = result == 0 && round % 2 == 0 ? wal_wait(crowd->log, receipt.ticket) : result;
            EXPECT(result == 0, result);
        }
        struct timespec pause = {.tv_nsec = 500000};
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void check_rising(struct wal *log)
{
    struct order order = {.writers = WRITERS, .gaps = true};
    read_in_order(log, &order);
}

static void ends_are_cut(const char *directory, enum wal_backend backend)
{
    struct wal_options options = options_of(WAL_CREATE, backend);
    struct crowd crowd = {0};
    assert_int_equal(wal_open(directory, &options, &crowd.log, NULL), 0);
    struct worker writers[WRITERS];
    struct worker reader;
    struct worker cutters[2];
    for (uint64_t i = 0; i < WRITERS; i++) {
        start(&writers[i], &crowd, i, write_under_the_knife);
    }
    start(&reader, &crowd, 0, read_records);
    start(&cutters[0], &crowd, 0, cut_the_end);
    start(&cutters[1], &crowd, 0, cut_the_front);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
    atomic_store(&crowd.over, true);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_int_equal(pthread_join(cutters[0].thread, NULL), 0);
    assert_int_equal(pthread_join(cutters[1].thread, NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    struct wal_stats stats;
    wal_stats(crowd.log, &stats);
    int result = wal_wait(crowd.log, stats.appended_ticket);
    assert_true(result == 0 || result == WAL_ETRUNCATED);
    uint64_t last = wal_last_index(crowd.log);
    assert_int_equal(wal_durable_index(crowd.log), last);
    check_rising(crowd.log);
    assert_int_equal(wal_close(crowd.log), 0);
    assert_int_equal(wal_open(directory, &options, &crowd.log, NULL), 0);
    assert_int_equal(wal_last_index(crowd.log), last);
    check_rising(crowd.log);
    assert_int_equal(wal_close(crowd.log), 0);
}

static void test_ends_are_cut_posix(void **state)
{
    ends_are_cut(*state, WAL_BACKEND_POSIX);
}

static void test_ends_are_cut_auto(void **state)
{
    ends_are_cut(*state, WAL_BACKEND_AUTO);
}

/* --- a roll that takes long ---------------------------------------------------------------------- */

static void *commit_samples(void *context)
{
    struct worker *worker = context;
    int result = 0;
    while (result == 0 && !atomic_load(&worker->crowd->over)) {
        result = sample_commit(worker->crowd->log, 1);
        EXPECT(result == 0, result);
        if (result != 0) {
            char text[512];
            (void)wal_errmsg(worker->crowd->log, text, sizeof(text));
            (void)fprintf(stderr, "%s\n", text);
        }
    }
    return NULL;
}

/* The disk stalls again and again, now and then in the middle of a roll, while readers make the helper drop maps and
 * close files of sealed segments: the one that is being sealed must stay open. */
static void test_stalled_rolls(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = options_of(WAL_CREATE, WAL_BACKEND_POSIX);
    options.segment_bytes = 16 * BLOCK;
    options.segments_mapped_max = 2;
    struct crowd crowd = {0};
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &crowd.log, NULL), 0);
    struct worker writer;
    struct worker reader;
    start(&writer, &crowd, 0, commit_samples);
    start(&reader, &crowd, 0, read_records);
    for (int i = 0; i < 150; i++) {
        struct timespec pause = {.tv_nsec = 2000000};
        fault_io_gate(disk, FAULT_WRITE_DURABLE);
        (void)nanosleep(&pause, NULL);
        fault_io_gate(disk, 0);
        pause.tv_nsec = 100000 * (i % 20);
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&crowd.over, true);
    assert_int_equal(pthread_join(writer.thread, NULL), 0);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    struct wal_stats stats;
    wal_stats(crowd.log, &stats);
    assert_true(stats.rolls >= 3);
    uint64_t last = wal_last_index(crowd.log);
    assert_int_equal(wal_close(crowd.log), 0);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &crowd.log, NULL), 0);
    assert_true(sample_range_is_right(crowd.log, 1, last));
    assert_int_equal(wal_close(crowd.log), 0);
    fault_io_free(disk);
}

/* --- closing ------------------------------------------------------------------------------------- */

/* wal_close waits for what nobody waited for; with the helper at work, idle, or just begun. */
static void test_close_keeps_what_was_accepted(void **state)
{
    for (uint64_t round = 0; round < 40; round++) {
        struct wal_options options = options_of(WAL_CREATE | (round % 5 == 4 ? WAL_NO_THREADS : 0),
                                                round % 2 == 0 ? WAL_BACKEND_POSIX : WAL_BACKEND_AUTO);
        struct wal *log = NULL;
        struct wal_verdict verdict;
        assert_int_equal(wal_open(*state, &options, &log, &verdict), 0);
        assert_int_equal(wal_last_index(log), round * 10);
        assert_true(round == 0 || verdict.closed);
        if (round % 3 == 1) {
            assert_true(wal_event_fd(log) >= 0);
        }
        struct wal_receipt receipt;
        assert_int_equal(sample_append(log, 10, &receipt), 0);
        if (round % 3 == 2) {
            assert_int_equal(wal_wait(log, receipt.ticket), 0);
            struct timespec pause = {.tv_nsec = 5000000}; /* Longer than the quiet time: idle. */
            (void)nanosleep(&pause, NULL);
        }
        assert_int_equal(wal_close(log), 0);
    }
    struct wal *log = NULL;
    struct wal_options options = options_of(0, WAL_BACKEND_AUTO);
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_true(sample_range_is_right(log, 1, 400));
    assert_int_equal(wal_close(log), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_at_once_posix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_at_once_uring, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_at_once_with_truncation_posix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_at_once_with_truncation_uring, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writers_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_are_cut_posix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_are_cut_auto, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stalled_rolls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_keeps_what_was_accepted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
