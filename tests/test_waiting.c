/* test_waiting.c - who wakes whom: threads and event loops that wait while something else is at the disk.
 *
 * Each test holds one kind of operation back at a gate, brings the log into the state in which a wake was once lost,
 * and opens the gate. A wake that is lost hangs the test; a watchdog ends the program then, and names it.
 *
 * May include: fault_io.h, log_fixture.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"
#include "wal/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WATCHDOG_S = 30, PATIENCE_MS = 4000 };

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

static void on_watchdog(int number)
{
    static const char text[] = "watchdog: a wait never ended\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static int append(struct wal *log, uint32_t size, uint32_t flags, struct wal_receipt *receipt)
{
    static const char bytes[16 * BLOCK];
    const struct wal_record record = {.data = bytes, .size = size, .type = 1};
    const struct wal_append one = {.records = &record, .record_count = 1, .flags = flags};
    return wal_append(log, &one, receipt);
}

static uint64_t append_and_wait(struct wal *log, uint32_t size)
{
    struct wal_receipt receipt;
    assert_int_equal(append(log, size, 0, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    return receipt.ticket;
}

/* Until the descriptor has brought the ticket's durability; false: it stayed silent too long. */
static bool loop_until(struct wal *log, int fd, uint64_t ticket)
{
    struct wal_progress progress = {0};
    struct pollfd event = {.fd = fd, .events = POLLIN};
    uint64_t began_ns = now_ns();
    while (progress.durable_ticket < ticket) {
        if (poll(&event, 1, PATIENCE_MS) == 0 || now_ns() - began_ns > (uint64_t)PATIENCE_MS * 1000000) {
            return false;
        }
        assert_int_equal(wal_dispatch(log, &progress), 0);
        assert_int_equal(wal_submit(log), 0);
    }
    return true;
}

/* --- a commit while the idle mark is written ------------------------------------------------------ */

struct committer {
    struct wal *log;
    uint64_t ended_ns;
};

static void *commit_one(void *argument)
{
    struct committer *committer = argument;
    struct wal_receipt receipt;
    if (append(committer->log, 100, 0, &receipt) == 0 && wal_wait(committer->log, receipt.ticket) == 0) {
        committer->ended_ns = now_ns();
    }
    return NULL;
}

static void test_a_commit_behind_the_idle_mark_does_not_wait_for_the_next(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct committer committer = {.log = NULL};
    pthread_t thread;
    options.idle_mark_ms = 1500; /* Long beside a commit, short enough to wait for. */
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &committer.log, NULL), 0);
    append_and_wait(committer.log, 10);
    fault_io_gate(disk, FAULT_WRITE_DURABLE);
    uint64_t writes = fault_io_count(disk, FAULT_WRITE_DURABLE);
    while (fault_io_count(disk, FAULT_WRITE_DURABLE) == writes) {
        pause_ms(1); /* The helper comes to write its mark, and is held at the gate. */
    }
    assert_int_equal(pthread_create(&thread, NULL, commit_one, &committer), 0);
    struct wal_stats stats;
    do {
        pause_ms(1);
        wal_stats(committer.log, &stats);
    } while (stats.appends < 2);
    pause_ms(20); /* Into its wait. */
    uint64_t opened_ns = now_ns();
    fault_io_gate(disk, 0);
    pthread_join(thread, NULL);
    assert_true(committer.ended_ns != 0);
    assert_true(committer.ended_ns - opened_ns < UINT64_C(1000000000)); /* Not the next turn of the helper, 1.5 s on. */
    assert_int_equal(wal_close(committer.log), 0);
    fault_io_free(disk);
}

/* --- rolls --------------------------------------------------------------------------------------- */

static void test_a_loop_without_threads_goes_on_over_rolls(void **state)
{
    struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
    struct wal *log;
    struct wal_stats stats;
    options.backend = WAL_BACKEND_POSIX;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    int fd = wal_event_fd(log);
    for (int i = 0; i < MANY; i++) {
        struct wal_receipt receipt;
        assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL), 0);
        assert_int_equal(append(log, 3000, 0, &receipt), 0);
        assert_int_equal(wal_submit(log), 0);
        assert_true(loop_until(log, fd, receipt.ticket));
    }
    wal_stats(log, &stats);
    assert_true(stats.rolls >= 3);
    assert_int_equal(wal_close(log), 0);
}

struct appender {
    struct wal *log;
    uint64_t ticket;
};

static void *append_large(void *argument)
{
    struct appender *appender = argument;
    struct wal_receipt receipt;
    if (append(appender->log, 12 * BLOCK, 0, &receipt) == 0) {
        appender->ticket = receipt.ticket;
    }
    return NULL;
}

/* A thread that waits in wal_append for a segment leads the loop's roll; the loop's submit falls into that time. Who
 * starts the loop's batch? */
static void test_a_roll_led_by_a_waiting_thread_starts_the_loops_batch(void **state)
{
    struct fault_io *disk = fault_io_make(*state, WAL_BACKEND_URING);
    struct wal_options options = tiny(WAL_CREATE);
    struct appender appender = {.log = NULL};
    struct wal_receipt mine;
    struct wal_stats stats;
    pthread_t thread;
    if (disk == NULL) {
        skip();
    }
    options.segment_bytes = 16 * BLOCK;
    options.batch_bytes_max = 13 * BLOCK;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &appender.log, NULL), 0);
    struct wal *log = appender.log;
    int fd = wal_event_fd(log);
    do {
        pause_ms(2);
        wal_stats(log, &stats);
    } while (stats.segments_ready < 2);
    pause_ms(50);
    fault_io_gate(disk, FAULT_SYNC); /* The helper makes nothing from now on. */
    append_and_wait(log, 9 * BLOCK);
    assert_int_equal(wal_dispatch(log, NULL), 0);
    assert_int_equal(append(log, 12 * BLOCK, 0, &mine), 0); /* In segment 2: a roll is due. */
    fault_io_gate(disk, FAULT_SYNC | FAULT_WRITE_DURABLE);
    assert_int_equal(pthread_create(&thread, NULL, append_large, &appender), 0);
    pause_ms(60); /* It waits for a segment, and leads the roll. */
    assert_int_equal(wal_submit(log), 0);
    fault_io_gate(disk, FAULT_WRITE_DURABLE);
    pause_ms(150); /* The helper makes the next segment. */
    fault_io_gate(disk, 0);
    pthread_join(thread, NULL);
    assert_true(appender.ticket != 0);
    assert_true(loop_until(log, fd, mine.ticket));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- disks that lack something -------------------------------------------------------------------- */

static struct wal_io_ops changed_ops;
static int (*real_poll)(struct wal_io *io, unsigned done_min);
static _Atomic bool poll_fails;
static _Atomic uint64_t polls;

static int no_event_fd(struct wal_io *io)
{
    (void)io;
    return -1;
}

static int failing_poll(struct wal_io *io, unsigned done_min)
{
    polls++;
    return poll_fails ? -EIO : real_poll(io, done_min);
}

static struct wal_io *ring_disk(const char *directory)
{
    struct wal_io *io;
    if (wal_io_uring(directory, WAL_IO_DIRECTORY_CREATE, &io) != 0) {
        skip();
    }
    changed_ops = *io->ops;
    real_poll = io->ops->poll;
    io->ops = &changed_ops;
    return io;
}

static void test_a_disk_without_an_event_descriptor_serves_a_loop(void **state)
{
    struct wal_io *io = ring_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct wal *log;
    changed_ops.event_fd = no_event_fd;
    assert_int_equal(wal_open_io(io, &options, &log, NULL), 0);
    int fd = wal_event_fd(log);
    assert_true(fd >= 0);
    for (int i = 0; i < 20; i++) {
        struct wal_receipt receipt;
        assert_int_equal(append(log, 100, 0, &receipt), 0);
        assert_int_equal(wal_submit(log), 0);
        assert_true(loop_until(log, fd, receipt.ticket));
    }
    assert_int_equal(wal_close(log), 0);
    io->ops->destroy(io);
}

static int (*real_submit)(struct wal_io *io, struct wal_io_op *op);
static _Atomic uint32_t submitted;

static int narrow_submit(struct wal_io *io, struct wal_io_op *op)
{
    int result = submitted < io->caps.ops_max ? real_submit(io, op) : -EAGAIN;
    submitted += result == 0;
    return result;
}

static int counting_poll(struct wal_io *io, unsigned done_min)
{
    int result = real_poll(io, done_min);
    submitted -= result > 0 ? (uint32_t)result : 0;
    return result;
}

/* A loop that has as much in flight as the log lets it, over rolls, on a disk that takes only so many operations. */
static void live_on_a_narrow_disk(const char *directory, uint32_t ops_max)
{
    struct wal_io *io = ring_disk(directory);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal_stats stats;
    struct wal *log;
    real_submit = io->ops->submit;
    changed_ops.submit = narrow_submit;
    changed_ops.poll = counting_poll;
    submitted = 0;
    io->caps.ops_max = ops_max;
    options.batches_in_flight_max = 4;
    assert_int_equal(wal_open_io(io, &options, &log, NULL), 0);
    int fd = wal_event_fd(log);
    assert_true(fd >= 0);
    for (int i = 0; i < MANY; i++) {
        for (int batch = 0; batch < 4; batch++) {
            assert_int_equal(append(log, 3 * BLOCK, 0, &receipt), 0);
            assert_int_equal(wal_submit(log), 0);
        }
        assert_true(loop_until(log, fd, receipt.ticket));
    }
    wal_stats(log, &stats);
    assert_true(stats.rolls >= 3);
    assert_int_equal(wal_close(log), 0);
    io->ops->destroy(io);
}

static void test_a_disk_that_takes_few_operations_is_not_asked_for_more(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    for (uint32_t ops_max = 1; ops_max <= 3; ops_max++) {
        assert_true(snprintf(path, sizeof(path), "%s/%u", (const char *)*state, ops_max) < (int)sizeof(path));
        live_on_a_narrow_disk(path, ops_max);
    }
}

static _Atomic bool poll_held;

static int held_poll(struct wal_io *io, unsigned done_min)
{
    polls++;
    while (poll_held) {
        pause_ms(1);
    }
    return real_poll(io, done_min);
}

static void *wait_for_one(void *argument)
{
    return wal_wait(argument, 1) == 0 ? NULL : argument;
}

static bool is_readable(int fd, int patience_ms)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    return poll(&event, 1, patience_ms) == 1;
}

/* What completed is the affair of the thread that polls: the loop is told when that has acted on it, and does not turn
 * in vain until then. */
static void test_a_loop_does_not_spin_while_a_thread_polls(void **state)
{
    struct wal_io *io = ring_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct wal_progress progress;
    struct wal_receipt receipt;
    struct wal *log;
    pthread_t thread;
    void *result = NULL;
    options.idle_mark_ms = 3600000;
    assert_int_equal(wal_open_io(io, &options, &log, NULL), 0);
    int fd = wal_event_fd(log);
    assert_true(fd >= 0);
    assert_int_equal(append(log, 100, 0, &receipt), 0);
    changed_ops.poll = held_poll;
    poll_held = true;
    uint64_t before = polls;
    assert_int_equal(wal_submit(log), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_one, log), 0);
    while (polls == before) {
        pause_ms(1);
    }
    assert_true(is_readable(fd, PATIENCE_MS)); /* The kernel's own word. */
    assert_int_equal(wal_dispatch(log, &progress), 0);
    assert_false(is_readable(fd, 0));
    poll_held = false;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    assert_true(loop_until(log, fd, receipt.ticket));
    assert_int_equal(wal_close(log), 0);
    io->ops->destroy(io);
}

static void *close_log(void *argument)
{
    return wal_close(argument) == 0 ? NULL : argument;
}

/* A handle that is given up like this keeps its buffers, on purpose: the disk may still read them. */
#if defined(__SANITIZE_ADDRESS__)
void __lsan_disable(void);
void __lsan_enable(void);
#else
static void __lsan_disable(void)
{
}
static void __lsan_enable(void)
{
}
#endif

/* While a log is opened as well: then its reads go another way. What the disk still holds of them is left to it. */
static void test_a_poll_that_fails_while_opening_does_no_harm(void **state)
{
    __lsan_disable();
    for (unsigned life = 0; life < 3; life++) {
        struct wal_options options = small(WAL_READ_ONLY);
        struct wal *log;
        make_log(*state, MANY);
        struct wal_io *io = ring_disk(*state);
        changed_ops.poll = failing_poll;
        poll_fails = true;
        assert_int_equal(wal_open_io(io, &options, &log, NULL), 0);
        assert_int_equal(wal_last_index(log), MANY * (life + 1));
        assert_int_equal(wal_close(log), 0);
        poll_fails = false; /* The disk is left alone: operations of the log's are still with it. */
    }
    __lsan_enable();
}

/* What is at the disk will never be heard of: the wait and the close end with an error, and do not spin. */
static void test_a_poll_that_fails_for_good_ends_close(void **state)
{
    __lsan_disable();
    struct wal_io *io = ring_disk(*state);
    struct wal_options options = small(WAL_CREATE);
    struct wal_receipt receipt;
    struct wal *log;
    pthread_t thread;
    void *result = NULL;
    changed_ops.poll = failing_poll;
    assert_int_equal(wal_open_io(io, &options, &log, NULL), 0);
    assert_true(wal_event_fd(log) >= 0);
    assert_int_equal(append(log, 100, 0, &receipt), 0);
    poll_fails = true;
    assert_int_equal(wal_submit(log), 0);
    assert_int_not_equal(wal_wait(log, receipt.ticket), 0);
    assert_int_equal(pthread_create(&thread, NULL, close_log, log), 0);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    if (pthread_timedjoin_np(thread, &result, &until) != 0) {
        fail_msg("wal_close has not returned after %d ms and %llu polls", PATIENCE_MS, (unsigned long long)polls);
    }
    assert_non_null(result); /* An orderly close it was not. */
    poll_fails = false;
    __lsan_enable();
    /* The disk is left alone: an operation of the log's is still with it. */
}

/* --- close --------------------------------------------------------------------------------------- */

/* Each opening takes an anchor, each closing a CLOSE: sooner or later the CLOSE needs the next segment. */
static void open_and_close(const char *directory, uint32_t flags)
{
    struct wal_options options = tiny(WAL_CREATE | flags);
    for (int i = 0; i < 60; i++) {
        struct wal_verdict verdict;
        struct wal *log;
        assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
        assert_true(i == 0 || verdict.closed);
        assert_int_equal(wal_close(log), 0);
    }
}

static void test_close_makes_the_segment_it_needs(void **state)
{
    open_and_close(*state, 0);
}

static void test_close_makes_the_segment_it_needs_without_threads(void **state)
{
    open_and_close(*state, WAL_NO_THREADS);
}

int main(void)
{
    (void)signal(SIGALRM, on_watchdog);
    (void)alarm(WATCHDOG_S);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_commit_behind_the_idle_mark_does_not_wait_for_the_next),
        TEST(test_a_loop_without_threads_goes_on_over_rolls),
        TEST(test_a_roll_led_by_a_waiting_thread_starts_the_loops_batch),
        TEST(test_a_disk_without_an_event_descriptor_serves_a_loop),
        TEST(test_a_loop_does_not_spin_while_a_thread_polls),
        TEST(test_a_disk_that_takes_few_operations_is_not_asked_for_more),
        TEST(test_a_poll_that_fails_while_opening_does_no_harm),
        TEST(test_a_poll_that_fails_for_good_ends_close),
        TEST(test_close_makes_the_segment_it_needs),
        TEST(test_close_makes_the_segment_it_needs_without_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
