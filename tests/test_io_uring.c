/* test_io_uring.c - the ring with results changed on their way, because a kernel gives short writes, cancelled links
 * and refused entries too rarely to wait for them.
 *
 * The happy path: io_uring.c is compiled once more in here, with this file between it and the ring; a script says what
 * the kernel is made to say, and the test counts what it was asked and looks at what reached the file.
 *
 * What can fail: an operation that claims more than reached the file, a sync that does not cover it, an entry that is
 * lost. Where no ring is to be had, that is told in a line `skipped: ...`.
 *
 * Invariants: exactly one completion for each operation; an unlinked sync is never handed over while its write is out.
 *
 * May include: posix_fixture.h, wal/io_uring.c. */

#define _GNU_SOURCE
#include "wal/io.h"

#include <liburing.h>

/* The backend once more, on a ring that this file stands in front of. */
static int scripted_submit(struct io_uring *ring);
static unsigned scripted_peek(struct io_uring *ring, struct io_uring_cqe **entries, unsigned count);
#define io_uring_submit scripted_submit
#define io_uring_peek_batch_cqe scripted_peek
#define wal_io_uring scripted_ring_disk
#define wal_io_uring_second scripted_second_ring
int scripted_ring_disk(const char *directory, unsigned flags, struct wal_io **io_out);
#include "wal/io_uring.c"
#undef io_uring_submit
#undef io_uring_peek_batch_cqe
#undef wal_io_uring

#include "tests/posix_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

/* --- the script ---------------------------------------------------------------------------------- */

/* What the kernel is made to say, and what it was asked. */
static struct script {
    int refuse_submits;     /* So many times: nothing is taken, -EAGAIN. */
    bool refuse_for_good;   /* Nothing is taken, -EPERM. */
    bool take_all_but_last; /* Once: the last entry is left in the queue. */
    bool write_half; /* Once: entries of a write ask for half of it only, so that the result is short, and no link
                        breaks. */
    int transfer_results[4]; /* In turn in place of the kernel's; 0: leave it. */
    int sync_results[4];
    unsigned transfer_next;
    unsigned sync_next;
    unsigned writes; /* Entries handed to the kernel. */
    unsigned syncs;
    unsigned empty;
    unsigned dsyncs;
    bool write_out;       /* A write was handed over, and its completion was not seen. */
    unsigned early_syncs; /* Unlinked syncs handed over while a write was out. */
} script;

static struct io_uring_sqe *queued(struct io_uring *ring, unsigned n)
{
    return &ring->sq.sqes[n & *ring->sq.kring_mask];
}

static void note_entries(struct io_uring *ring, unsigned from, unsigned to)
{
    bool linked = false;
    for (unsigned i = from; i != to; i++) {
        struct io_uring_sqe *entry = queued(ring, i);
        if (entry->opcode == IORING_OP_WRITE) {
            script.writes++;
            script.dsyncs += ((unsigned)entry->rw_flags & RWF_DSYNC) != 0;
            script.write_out = true;
            linked = (entry->flags & IOSQE_IO_LINK) != 0;
            if (script.write_half) {
                script.write_half = false;
                entry->len /= 2;
            }
        } else if (entry->opcode == IORING_OP_FSYNC) {
            script.syncs++;
            script.early_syncs += script.write_out && !linked;
            linked = false;
        } else {
            script.empty += entry->opcode == IORING_OP_NOP;
            linked = false;
        }
    }
}

static int scripted_submit(struct io_uring *ring)
{
    if (script.refuse_for_good) {
        return -EPERM;
    }
    if (script.refuse_submits > 0) {
        script.refuse_submits--;
        return -EAGAIN;
    }
    unsigned from = ring->sq.sqe_tail - io_uring_sq_ready(ring);
    unsigned hidden = script.take_all_but_last && ring->sq.sqe_tail - from > 1 ? 1 : 0;
    script.take_all_but_last = script.take_all_but_last && hidden == 0;
    ring->sq.sqe_tail -= hidden;
    note_entries(ring, from, ring->sq.sqe_tail);
    int result = io_uring_submit(ring);
    ring->sq.sqe_tail += hidden;
    return result;
}

static unsigned scripted_peek(struct io_uring *ring, struct io_uring_cqe **entries, unsigned count)
{
    unsigned seen = io_uring_peek_batch_cqe(ring, entries, count);
    for (unsigned i = 0; i < seen; i++) {
        unsigned out = (unsigned)entries[i]->user_data & OUT_MASK;
        int change = 0;
        if (out == TRANSFER_OUT) {
            script.write_out = false;
            change = script.transfer_next < 4 ? script.transfer_results[script.transfer_next++] : 0;
        } else if (out == SYNC_OUT) {
            change = script.sync_next < 4 ? script.sync_results[script.sync_next++] : 0;
        }
        entries[i]->res = change != 0 ? change : entries[i]->res;
    }
    return seen;
}

struct scripted_case {
    const char *name;
    struct script script;
    enum wal_io_method method;
    int result;
    unsigned writes, syncs, empty;
};

static const struct scripted_case scripted_cases[] = {
    {"dsync", {0}, WAL_IO_METHOD_DSYNC, 0, 1, 0, 0},
    {"linked", {0}, WAL_IO_METHOD_LINKED, 0, 1, 1, 0},
    {"write, then sync", {0}, WAL_IO_METHOD_FDATASYNC, 0, 1, 1, 0},
    {"dsync, short: every piece carries the flag",
     {.transfer_results = {BLOCK, BLOCK}},
     WAL_IO_METHOD_DSYNC,
     0,
     3,
     0,
     0},
    {"dsync is not known: fdatasync covers it", {.transfer_results = {-EOPNOTSUPP}}, WAL_IO_METHOD_DSYNC, 0, 2, 1, 0},
    {"dsync is not known for the rest", {.transfer_results = {BLOCK, -EOPNOTSUPP}}, WAL_IO_METHOD_DSYNC, 0, 3, 1, 0},
    {"linked, short: the rest has a sync of its own",
     {.transfer_results = {BLOCK}, .sync_results = {-ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     2,
     0},
    {"linked, short, and the link did not break: its sync counts for nothing",
     {.write_half = true},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     2,
     0},
    {"the same, and the sync of the rest does not run: the first one covers nothing of it",
     {.write_half = true, .sync_results = {0, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     3,
     0},
    {"linked, interrupted",
     {.transfer_results = {-EINTR, -EAGAIN}, .sync_results = {-ECANCELED, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     0,
     3,
     3,
     0},
    {"linked, only the sync is cancelled", {.sync_results = {-ECANCELED}}, WAL_IO_METHOD_LINKED, 0, 1, 2, 0},
    {"linked, the sync's thread has ended", {.sync_results = {-EFAULT}}, WAL_IO_METHOD_LINKED, 0, 1, 2, 0},
    {"the write's thread has ended", {.transfer_results = {-ECANCELED, -EFAULT}}, WAL_IO_METHOD_DSYNC, 0, 3, 0, 0},
    {"linked, the sync fails", {.sync_results = {-EIO}}, WAL_IO_METHOD_LINKED, -EIO, 1, 1, 0},
    {"the sync after the write fails", {.sync_results = {-EIO}}, WAL_IO_METHOD_FDATASYNC, -EIO, 1, 1, 0},
    {"linked, the write fails",
     {.transfer_results = {-EIO}, .sync_results = {-ECANCELED}},
     WAL_IO_METHOD_LINKED,
     -EIO,
     1,
     1,
     0},
    {"linked, the write fails, and the sync does too",
     {.transfer_results = {-ENOSPC}, .sync_results = {-EIO}},
     WAL_IO_METHOD_LINKED,
     -ENOSPC,
     1,
     1,
     0},
    {"linked, the rest fails",
     {.transfer_results = {BLOCK, -ENOSPC}, .sync_results = {-ECANCELED, -ECANCELED}},
     WAL_IO_METHOD_LINKED,
     -ENOSPC,
     2,
     2,
     0},
    {"the write fails: no sync", {.transfer_results = {-EIO}}, WAL_IO_METHOD_FDATASYNC, -EIO, 1, 0, 0},
    {"the kernel has no memory at first", {.refuse_submits = 3}, WAL_IO_METHOD_LINKED, 0, 1, 1, 0},
    {"the kernel takes the write and not the sync", {.take_all_but_last = true}, WAL_IO_METHOD_LINKED, 0, 1, 1, 1},
    {"the same, and the write is short",
     {.take_all_but_last = true, .transfer_results = {BLOCK}},
     WAL_IO_METHOD_LINKED,
     0,
     2,
     1,
     1},
    {"the same, and the write fails",
     {.take_all_but_last = true, .transfer_results = {-EIO}},
     WAL_IO_METHOD_LINKED,
     -EIO,
     1,
     0,
     0},
};

static unsigned done_count;

static void count_done(struct wal_io_op *op)
{
    (void)op;
    done_count++;
}

static struct wal_io *make_scripted(void)
{
    struct wal_io *io = NULL;
    script = (struct script){0};
    int result = scripted_ring_disk(fixture_path, 0, &io);
    if (result != 0) {
        print_message("skipped: no ring here: %s\n", strerror(-result));
        skip();
    }
    return io;
}

static void run_scripted(const struct scripted_case *run)
{
    struct wal_io *io = make_scripted();
    int file = create_on(io, "a");
    memset(fixture_blocks, 0x77, 4 * BLOCK);
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = run->method;
    op.done = count_done;
    done_count = 0;
    script = run->script;
    assert_int_equal(io->ops->submit(io, &op), 0);
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(done_count, 1);
    if (op.result != run->result || script.writes != run->writes || script.syncs != run->syncs ||
        script.empty != run->empty || script.early_syncs != 0) {
        print_error("%s: result %d, %u writes, %u syncs (%u early), %u empty\n", run->name, op.result, script.writes,
                    script.syncs, script.early_syncs, script.empty);
        fail();
    }
    if (run->method == WAL_IO_METHOD_DSYNC) {
        assert_int_equal(script.dsyncs, script.syncs == 0 ? script.writes : script.writes - 1);
    }
    assert_true(op.result != 0 || op.moved_bytes == op.size);
    if (op.result == 0) {
        memset(fixture_blocks, 0, 4 * BLOCK);
        struct wal_io_op back = blocks_op(WAL_IO_READ, file, 0, 4);
        assert_int_equal(io->ops->execute(io, &back), 0);
        assert_int_equal(back.moved_bytes, 4 * BLOCK);
        for (size_t i = 0; i < 4 * BLOCK; i++) {
            assert_int_equal(fixture_blocks[i], 0x77);
        }
    }
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

static void scripted_rings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scripted_cases) / sizeof(scripted_cases[0]); i++) {
        run_scripted(&scripted_cases[i]);
    }
}

/* The kernel takes nothing: submit gives the operation back, nothing of it is left in the queue, and the ring works
 * afterwards. */
static void a_ring_that_takes_nothing(void **state)
{
    (void)state;
    struct wal_io *io = make_scripted();
    int file = create_on(io, "a");
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = WAL_IO_METHOD_LINKED;
    op.done = count_done;
    done_count = 0;
    for (unsigned round = 0; round < 100; round++) {
        script = (struct script){.refuse_for_good = true};
        assert_int_equal(io->ops->submit(io, &op), round < 64 ? -EPERM : -ENOMEM);
    }
    script = (struct script){.refuse_submits = 1000};
    assert_int_equal(io->ops->submit(io, &op), -ENOMEM);
    assert_int_equal(io->ops->poll(io, 1), 0); /* Nothing is in flight. */

    script = (struct script){0};
    assert_int_equal(io->ops->submit(io, &op), 0);
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(op.result, 0);
    assert_int_equal(done_count, 1);
    assert_int_equal(script.writes, 1);
    assert_int_equal(script.syncs, 1);
    assert_int_equal(script.empty, 2 * 64);
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

/* A rest that the kernel does not take ends the operation with an error; it is not lost. */
static void a_rest_that_is_not_taken(void **state)
{
    (void)state;
    struct wal_io *io = make_scripted();
    int file = create_on(io, "a");
    struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 0, 4);
    op.method = WAL_IO_METHOD_FDATASYNC;
    op.done = count_done;
    done_count = 0;
    assert_int_equal(io->ops->submit(io, &op), 0);
    script.refuse_for_good = true;
    assert_int_equal(io->ops->poll(io, 1), 1);
    assert_int_equal(op.result, -EPERM);
    assert_int_equal(op.moved_bytes, 4 * BLOCK);
    assert_int_equal(done_count, 1);
    assert_int_equal(io->ops->close(io, file), 0);
    io->ops->destroy(io);
}

static int submit_and_poll(struct wal_io *io, struct wal_io_op *op)
{
    op->done = count_done;
    REQUIRE(io->ops->submit(io, op) == 0);
    REQUIRE(io->ops->poll(io, 1) == 1);
    return op->result;
}

/* The kernel's own short write in a linked pair. */
static void link_beyond_a_limit(void)
{
    limit_file_bytes();
    struct wal_io *io = NULL;
    script = (struct script){0};
    if (scripted_ring_disk(fixture_path, 0, &io) != 0) {
        skip_child("no ring here");
    }
    go_beyond_the_limit(io, submit_and_poll);
    io->ops->destroy(io);
}

static void a_link_broken_by_the_kernel(void **state)
{
    (void)state;
    run_in_child(link_beyond_a_limit);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, posix_setup, posix_teardown)
    const struct CMUnitTest tests[] = {
        TEST(scripted_rings),
        TEST(a_ring_that_takes_nothing),
        TEST(a_rest_that_is_not_taken),
        TEST(a_link_broken_by_the_kernel),
    };
    return cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
