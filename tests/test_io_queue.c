/* test_io_queue.c - what every disk must do that takes operations by submit and completes them by poll.
 *
 * Each test runs on all backends that do so (disk_fixture.h): results and errors come by poll and never within submit;
 * as many as allowed are in flight and no more; the event descriptor tells; threads may submit, poll and end as they
 * like. What a ring does when the kernel misbehaves is in test_io_uring.c.
 *
 * Invariants: assertions in the main thread only; other threads count what is wrong.
 *
 * May include: disk_fixture.h. */

#include "tests/disk_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- submit and poll ----------------------------------------------------------------------------- */

struct counted {
    struct wal_io_op op;
    atomic_uint done;
    atomic_bool in_submit;
    atomic_bool done_in_submit;
};

static void count_done(struct wal_io_op *op)
{
    struct counted *counted = op->owner;
    if (atomic_load(&counted->in_submit)) {
        atomic_store(&counted->done_in_submit, true);
    }
    op->next = op; /* The caller's again, every part of it. */
    atomic_fetch_add(&counted->done, 1);
}

static void prepare_counted(struct counted *counted, struct wal_io_op op)
{
    counted->op = op;
    counted->op.done = count_done;
    counted->op.owner = counted;
    atomic_store(&counted->done, 0);
}

/* For one thread: completions of other operations cannot run while this one is submitted. */
static int submit_counted(const struct fixture *fixture, struct counted *counted)
{
    atomic_store(&counted->in_submit, true);
    int result = fixture->io->ops->submit(fixture->io, &counted->op);
    atomic_store(&counted->in_submit, false);
    return result;
}

static void poll_all(const struct fixture *fixture, unsigned count)
{
    for (unsigned done = 0; done < count;) {
        int result = fixture->io->ops->poll(fixture->io, 1);
        assert_true(result >= 1);
        done += (unsigned)result;
        assert_true(done <= count);
    }
    assert_int_equal(fixture->io->ops->poll(fixture->io, 0), 0);
}

static void submit_and_wait(const struct fixture *fixture, struct counted *counted, struct wal_io_op op)
{
    prepare_counted(counted, op);
    assert_int_equal(submit_counted(fixture, counted), 0);
    assert_int_equal(atomic_load(&counted->done), 0);
    poll_all(fixture, 1);
    assert_int_equal(atomic_load(&counted->done), 1);
    assert_false(atomic_load(&counted->done_in_submit));
}

static void submitted_methods_write_and_grow(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    int file = create_file(fixture, "a");
    struct counted counted = {0};
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        fill(block_at(fixture, 0), 3 * BLOCK, method);
        struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, method * 3 * BLOCK, block_at(fixture, 0), 3 * BLOCK);
        op.method = (enum wal_io_method)method;
        submit_and_wait(fixture, &counted, op);
        assert_int_equal(counted.op.result, 0);
        assert_int_equal(counted.op.moved_bytes, 3 * BLOCK);
        assert_int_equal(bytes_of(fixture, file), (method + 1) * 3 * BLOCK);
        memset(block_at(fixture, 0), 0, 3 * BLOCK);
        submit_and_wait(fixture, &counted,
                        make_op(WAL_IO_READ, file, method * 3 * BLOCK, block_at(fixture, 0), 3 * BLOCK));
        assert_int_equal(counted.op.result, 0);
        assert_int_equal(counted.op.moved_bytes, 3 * BLOCK);
        assert_filled(block_at(fixture, 0), 3 * BLOCK, method);
    }
    submit_and_wait(fixture, &counted, make_op(WAL_IO_SYNC, file, 1, NULL, 0));
    assert_int_equal(counted.op.result, 0);
    submit_and_wait(fixture, &counted, make_op(WAL_IO_READ, file, 11 * BLOCK, block_at(fixture, 0), 4 * BLOCK));
    assert_int_equal(counted.op.result, 0);
    assert_int_equal(counted.op.moved_bytes, BLOCK);
    submit_and_wait(fixture, &counted, make_op(WAL_IO_READ, file, 40 * BLOCK, block_at(fixture, 0), 4 * BLOCK));
    assert_int_equal(counted.op.result, 0);
    assert_int_equal(counted.op.moved_bytes, 0);
    close_file(fixture, file);
}

static void submitted_errors_come_by_poll(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    close_file(fixture, create_file(fixture, "a"));
    int file = open_file(fixture, "a", 0);
    struct counted counted = {0};
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, 0, block_at(fixture, 0), BLOCK);
        op.method = (enum wal_io_method)method;
        submit_and_wait(fixture, &counted, op);
        assert_true(counted.op.result < 0);
        assert_int_equal(counted.op.moved_bytes, 0);
    }
    close_file(fixture, file);
    submit_and_wait(fixture, &counted, make_op(WAL_IO_SYNC, file, 0, NULL, 0));
    assert_int_equal(counted.op.result, -EBADF);
    submit_and_wait(fixture, &counted, make_op(WAL_IO_READ, file, 0, block_at(fixture, 0), BLOCK));
    assert_int_equal(counted.op.result, -EBADF);
}

/* As many as allowed, of all kinds and methods, then one more. */
static void many_in_flight_and_no_more(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    const unsigned most = fixture->io->caps.ops_max;
    assert_true(most <= MANY);
    struct counted *counted = calloc(most + 1, sizeof(*counted));
    assert_non_null(counted);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, most + 1, 20);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i <= most; i++) {
            fill(block_at(fixture, i), BLOCK, i + round);
            enum wal_io_kind kind = i % 5 == 4 ? WAL_IO_SYNC : WAL_IO_WRITE_DURABLE;
            prepare_counted(&counted[i], make_op(kind, file, (uint64_t)i * BLOCK, block_at(fixture, i), BLOCK));
            counted[i].op.method = (enum wal_io_method)(round == 2 ? WAL_IO_METHOD_LINKED : i % 4);
            assert_int_equal(submit_counted(fixture, &counted[i]), i < most ? 0 : -EAGAIN);
        }
        poll_all(fixture, most);
        for (unsigned i = 0; i <= most; i++) {
            assert_int_equal(atomic_load(&counted[i].done), i < most ? 1 : 0);
            assert_false(atomic_load(&counted[i].done_in_submit));
            assert_true(i == most || counted[i].op.result == 0);
        }
        assert_int_equal(read_blocks(fixture, file, 0, most), most * BLOCK);
        for (unsigned i = 0; i < most; i++) {
            if (i % 5 != 4) {
                assert_filled(block_at(fixture, i), BLOCK, i + round);
            }
        }
    }
    free(counted);
    close_file(fixture, file);
}

static void poll_waits_for_as_many_as_wanted(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    int file = create_file(fixture, "a");
    struct counted counted[8];
    memset(counted, 0, sizeof(counted));
    fill(block_at(fixture, 0), 8 * BLOCK, 30);
    for (unsigned i = 0; i < 8; i++) {
        prepare_counted(&counted[i],
                        make_op(WAL_IO_WRITE_DURABLE, file, (uint64_t)i * BLOCK, block_at(fixture, i), BLOCK));
        assert_int_equal(submit_counted(fixture, &counted[i]), 0);
    }
    int first = fixture->io->ops->poll(fixture->io, 5);
    assert_true(first >= 5 && first <= 8);
    if (first < 8) {
        assert_int_equal(fixture->io->ops->poll(fixture->io, 8u - (unsigned)first), 8 - first);
    }
    close_file(fixture, file);
}

static bool readable(int fd, int wait_ms)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    int result = poll(&event, 1, wait_ms);
    assert_true(result >= 0);
    return result == 1 && (event.revents & POLLIN) != 0;
}

static void the_event_descriptor_tells(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    struct wal_io *io = fixture->io;
    int fd = io->ops->event_fd(io);
    if (fd < 0) {
        skip();
    }
    (void)io->ops->poll(io, 0);
    assert_false(readable(fd, 0));
    int file = create_file(fixture, "a");
    struct counted counted = {0};
    for (unsigned round = 0; round < 20; round++) {
        prepare_counted(&counted, make_op(WAL_IO_WRITE_DURABLE, file, 0, block_at(fixture, 0), BLOCK));
        counted.op.method = (enum wal_io_method)(round % 4); /* FDATASYNC: two steps, and a look in between. */
        assert_int_equal(submit_counted(fixture, &counted), 0);
        while (atomic_load(&counted.done) == 0) {
            assert_true(readable(fd, 5000));
            assert_true(io->ops->poll(io, 0) >= 0);
        }
        assert_int_equal(counted.op.result, 0);
        assert_int_equal(io->ops->poll(io, 0), 0);
        assert_false(readable(fd, 0));
    }
    close_file(fixture, file);
}

struct chain {
    struct wal_io_op op;
    struct wal_io *io;
    unsigned rest;
    int submit_result;
};

static void submit_next(struct wal_io_op *op)
{
    struct chain *chain = op->owner;
    if (--chain->rest > 0 && chain->submit_result == 0) {
        op->offset += BLOCK;
        chain->submit_result = chain->io->ops->submit(chain->io, op);
    }
}

static void done_may_submit(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    int file = create_file(fixture, "a");
    struct chain chain = {.io = fixture->io, .rest = 10};
    chain.op = make_op(WAL_IO_WRITE_DURABLE, file, 0, block_at(fixture, 0), BLOCK);
    chain.op.done = submit_next;
    chain.op.owner = &chain;
    assert_int_equal(fixture->io->ops->submit(fixture->io, &chain.op), 0);
    poll_all(fixture, 10);
    assert_int_equal(chain.submit_result, 0);
    assert_int_equal(chain.rest, 0);
    assert_int_equal(bytes_of(fixture, file), 10 * BLOCK);
    close_file(fixture, file);
}

/* One thread submits while another waits in poll. Asserts only in the main thread: results are collected. */
enum { SLOTS = 16, THREADED_OPS = 1500 };

struct pipeline {
    struct wal_io *io;
    struct counted slots[SLOTS];
    atomic_uint completed;
    atomic_uint wrong;
};

static void free_slot(struct wal_io_op *op)
{
    struct pipeline *pipeline = op->owner;
    struct counted *slot = (struct counted *)op;
    if (op->result != 0 || op->moved_bytes != (op->kind == WAL_IO_SYNC ? 0 : op->size)) {
        atomic_fetch_add(&pipeline->wrong, 1);
    }
    atomic_fetch_add(&pipeline->completed, 1);
    atomic_store(&slot->done, 1); /* Last: the submitter takes it again. */
}

static void *poll_until_all(void *argument)
{
    struct pipeline *pipeline = argument;
    while (atomic_load(&pipeline->completed) < THREADED_OPS) {
        if (pipeline->io->ops->poll(pipeline->io, 1) < 0) {
            atomic_fetch_add(&pipeline->wrong, 1);
            break;
        }
        (void)sched_yield(); /* With nothing in flight it comes back at once. */
    }
    return NULL;
}

static void one_submits_another_polls(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    assert_non_null(pipeline);
    pipeline->io = fixture->io;
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, SLOTS, 40);
    for (unsigned i = 0; i < SLOTS; i++) {
        atomic_store(&pipeline->slots[i].done, 1);
    }
    pthread_t poller;
    assert_int_equal(pthread_create(&poller, NULL, poll_until_all, pipeline), 0);
    unsigned submitted = 0;
    int refused = 0;
    for (unsigned i = 0; submitted < THREADED_OPS && refused == 0; i++) {
        struct counted *slot = &pipeline->slots[i % SLOTS];
        if (atomic_load(&slot->done) == 0) {
            (void)sched_yield();
            continue;
        }
        atomic_store(&slot->done, 0);
        enum wal_io_kind kind = (enum wal_io_kind)(WAL_IO_READ + i % 4);
        slot->op = make_op(kind, file, (i % SLOTS) * BLOCK, block_at(fixture, i % SLOTS), BLOCK);
        slot->op.method = (enum wal_io_method)((i / 4) % 4);
        slot->op.done = free_slot;
        slot->op.owner = pipeline;
        refused = pipeline->io->ops->submit(pipeline->io, &slot->op);
        submitted += refused == 0;
    }
    if (refused == 0) {
        assert_int_equal(pthread_join(poller, NULL), 0);
    }
    assert_int_equal(refused, 0);
    assert_int_equal(atomic_load(&pipeline->wrong), 0);
    assert_int_equal(atomic_load(&pipeline->completed), THREADED_OPS);
    free(pipeline);
    close_file(fixture, file);
}

struct hand_over {
    struct wal_io *io;
    struct counted counted[32];
    int results[32];
};

static void *submit_and_leave(void *argument)
{
    struct hand_over *hand_over = argument;
    for (unsigned i = 0; i < 32; i++) {
        hand_over->results[i] = hand_over->io->ops->submit(hand_over->io, &hand_over->counted[i].op);
    }
    return NULL;
}

/* What a thread has submitted completes though the thread has ended. */
static void the_submitter_may_end(void **state)
{
    struct fixture *fixture = start_asynchronous(state);
    struct hand_over *hand_over = calloc(1, sizeof(*hand_over));
    assert_non_null(hand_over);
    hand_over->io = fixture->io;
    int file = create_file(fixture, "a");
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 32; i++) {
            prepare_counted(&hand_over->counted[i], make_op(i % 3 == 2 ? WAL_IO_SYNC : WAL_IO_WRITE_DURABLE, file,
                                                            i * BLOCK, block_at(fixture, i), BLOCK));
            hand_over->counted[i].op.method = (enum wal_io_method)(i % 4);
        }
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, submit_and_leave, hand_over), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        poll_all(fixture, 32);
        for (unsigned i = 0; i < 32; i++) {
            assert_int_equal(hand_over->results[i], 0);
            assert_int_equal(hand_over->counted[i].op.result, 0);
            assert_int_equal(atomic_load(&hand_over->counted[i].done), 1);
        }
    }
    free(hand_over);
    close_file(fixture, file);
}

/* --- all of them --------------------------------------------------------------------------------- */

static const struct named_test conformance[] = {
    NAMED_ASYNCHRONOUS(submitted_methods_write_and_grow), NAMED_ASYNCHRONOUS_REAL(submitted_errors_come_by_poll),
    NAMED_ASYNCHRONOUS(many_in_flight_and_no_more),       NAMED_ASYNCHRONOUS(poll_waits_for_as_many_as_wanted),
    NAMED_ASYNCHRONOUS_REAL(the_event_descriptor_tells),  NAMED_ASYNCHRONOUS(done_may_submit),
    NAMED_ASYNCHRONOUS_REAL(one_submits_another_polls),   NAMED_ASYNCHRONOUS_REAL(the_submitter_may_end),
};

int main(void)
{
    return run_on_every_disk("io queue", conformance, sizeof(conformance) / sizeof(conformance[0]), NULL, 0);
}
