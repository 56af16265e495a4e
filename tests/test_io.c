/* test_io.c - what every disk must do by a call that comes back with the result: names, sizes, locks, execute. And
 * wal_io_advance, with scripted results.
 *
 * Each test runs on all backends (disk_fixture.h). What is submitted and polled is in test_io_queue.c; what only real
 * files have (full disks, limits, signals, forbidden system calls) is in test_io_posix.c.
 *
 * May include: disk_fixture.h. */

#include "tests/disk_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- control plane ------------------------------------------------------------------------------- */

struct names {
    unsigned count;
    unsigned stop_at; /* 0: never. */
    char names[16][32];
};

static int note_name(void *context, const char *name)
{
    struct names *names = context;
    assert_true(names->count < 16);
    (void)snprintf(names->names[names->count++], sizeof(names->names[0]), "%s", name);
    return names->count == names->stop_at ? 42 : 0;
}

static bool has_name(const struct fixture *fixture, const char *wanted, unsigned count)
{
    struct names names = {0};
    assert_int_equal(fixture->io->ops->list(fixture->io, note_name, &names), 0);
    assert_int_equal(names.count, count);
    for (unsigned i = 0; i < names.count; i++) {
        if (strcmp(names.names[i], wanted) == 0) {
            return true;
        }
    }
    return false;
}

static void names_come_and_go(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *io = fixture->io;
    assert_false(has_name(fixture, "a", 0));
    close_file(fixture, create_file(fixture, "a"));
    assert_true(has_name(fixture, "a", 1));
    close_file(fixture, create_file(fixture, "b"));
    assert_true(has_name(fixture, "b", 2));

    assert_int_equal(io->ops->rename(io, "a", "c"), 0);
    assert_true(has_name(fixture, "c", 2));
    assert_false(has_name(fixture, "a", 2));
    assert_int_equal(io->ops->unlink(io, "b"), 0);
    assert_false(has_name(fixture, "b", 1));
    assert_int_equal(io->ops->sync_directory(io), 0);
    assert_int_equal(io->ops->sync_parent(io), 0);
}

static void a_listing_stops_when_told(void **state)
{
    struct fixture *fixture = start(state);
    for (char name[2] = "a"; name[0] <= 'e'; name[0]++) {
        close_file(fixture, create_file(fixture, name));
    }
    struct names names = {.stop_at = 3};
    assert_int_equal(fixture->io->ops->list(fixture->io, note_name, &names), 42);
    assert_int_equal(names.count, 3);
    assert_true(has_name(fixture, "e", 5)); /* The next one starts from the beginning. */
}

static void wrong_names_are_refused(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *io = fixture->io;
    int file = -1;
    assert_int_equal(io->ops->open(io, "none", 0, &file), -ENOENT);
    assert_int_equal(io->ops->open(io, "none", WAL_IO_OPEN_WRITE, &file), -ENOENT);
    assert_int_equal(io->ops->unlink(io, "none"), -ENOENT);
    assert_int_equal(io->ops->rename(io, "none", "other"), -ENOENT);
    assert_int_equal(file, -1);
}

static void a_rename_never_replaces(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *io = fixture->io;
    int a = create_file(fixture, "a");
    write_blocks(fixture, a, 0, 1, 1);
    close_file(fixture, a);
    int b = create_file(fixture, "b");
    write_blocks(fixture, b, 0, 1, 2);
    close_file(fixture, b);
    assert_int_equal(io->ops->rename(io, "a", "b"), -EEXIST);
    assert_true(has_name(fixture, "a", 2));
    b = open_file(fixture, "b", 0);
    assert_int_equal(read_blocks(fixture, b, 0, 1), BLOCK);
    assert_filled(block_at(fixture, 0), BLOCK, 2);
    close_file(fixture, b);
}

static void an_open_file_survives_its_name(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 2, 3);
    assert_int_equal(fixture->io->ops->rename(fixture->io, "a", "b"), 0);
    assert_int_equal(read_blocks(fixture, file, 0, 2), 2 * BLOCK);
    assert_int_equal(fixture->io->ops->unlink(fixture->io, "b"), 0);
    assert_int_equal(read_blocks(fixture, file, 0, 2), 2 * BLOCK);
    assert_filled(block_at(fixture, 0), 2 * BLOCK, 3);
    close_file(fixture, file);
}

static void create_empties_what_is_there(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 2, 4);
    close_file(fixture, file);
    file = open_file(fixture, "a", WAL_IO_OPEN_WRITE);
    assert_int_equal(bytes_of(fixture, file), 2 * BLOCK);
    close_file(fixture, file);
    file = create_file(fixture, "a");
    assert_int_equal(bytes_of(fixture, file), 0);
    close_file(fixture, file);
}

static void allocate_sets_the_size(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *io = fixture->io;
    int file = create_file(fixture, "a");
    assert_int_equal(io->ops->allocate(io, file, 16 * BLOCK), 0);
    assert_int_equal(bytes_of(fixture, file), 16 * BLOCK);
    write_blocks(fixture, file, 15, 1, 5);
    assert_int_equal(bytes_of(fixture, file), 16 * BLOCK);
    assert_int_equal(io->ops->allocate(io, file, 16 * BLOCK), 0);
    assert_int_equal(read_blocks(fixture, file, 15, 1), BLOCK);
    assert_filled(block_at(fixture, 0), BLOCK, 5);
    close_file(fixture, file);
}

static void one_owner_of_a_directory(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *first = fixture->io;
    struct wal_io *second = NULL;
    assert_int_equal(fixture->backend->make(fixture->directory, fixture->backend->flags, &second), 0);
    assert_int_equal(first->ops->lock_directory(first), 0);
    assert_int_equal(second->ops->lock_directory(second), -EBUSY);
    assert_int_equal(second->ops->lock_directory(second), -EBUSY);
    first->ops->destroy(first);
    fixture->io = second;
    assert_int_equal(second->ops->lock_directory(second), 0);
}

static void a_lock_on_a_file_ends_with_it(void **state)
{
    struct fixture *fixture = start(state);
    struct wal_io *io = fixture->io;
    int file = create_file(fixture, "a");
    assert_int_equal(io->ops->lock_file(io, file), 0);
    int other = create_file(fixture, "b");
    assert_int_equal(io->ops->lock_file(io, other), 0);
    close_file(fixture, file);
    file = open_file(fixture, "a", WAL_IO_OPEN_WRITE);
    assert_int_equal(io->ops->lock_file(io, file), 0);
    close_file(fixture, file);
    close_file(fixture, other);
}

/* --- execute ------------------------------------------------------------------------------------- */

static void caps_make_sense(void **state)
{
    struct fixture *fixture = start(state);
    const struct wal_io_caps *caps = &fixture->io->caps;
    assert_true(caps->align_bytes >= 1 && caps->align_bytes <= BLOCK);
    assert_int_equal(caps->align_bytes & (caps->align_bytes - 1), 0);
    assert_true(caps->physical_block_bytes >= 512);
    assert_int_equal(caps->physical_block_bytes & (caps->physical_block_bytes - 1), 0);
    assert_true((caps->methods & ~1u) != 0);
    assert_true(!caps->asynchronous || (caps->ops_max > 0 && caps->methods_submitted != 0));
    assert_true(memchr(caps->name, '\0', sizeof(caps->name)) != NULL && caps->name[0] != '\0');
    assert_true(!caps->direct || (fixture->backend->flags & WAL_IO_BUFFERED) == 0);
}

static void what_is_written_is_read(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 9, 6);
    assert_int_equal(read_blocks(fixture, file, 0, 9), 9 * BLOCK);
    assert_filled(block_at(fixture, 0), 9 * BLOCK, 6);
    assert_int_equal(fixture->io->ops->forget_cache(fixture->io, file), 0);
    assert_int_equal(read_blocks(fixture, file, 8, 1), BLOCK);
    fill(block_at(fixture, 1), 9 * BLOCK, 6);
    assert_memory_equal(block_at(fixture, 0), block_at(fixture, 9), BLOCK);
    close_file(fixture, file);
}

static void a_read_ends_with_the_file(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 3, 7);
    assert_int_equal(read_blocks(fixture, file, 2, 4), BLOCK);
    fill(block_at(fixture, 1), 3 * BLOCK, 7);
    assert_memory_equal(block_at(fixture, 0), block_at(fixture, 3), BLOCK);
    assert_int_equal(read_blocks(fixture, file, 3, 1), 0);
    assert_int_equal(read_blocks(fixture, file, 50, 1), 0);
    close_file(fixture, file);
}

static void a_write_beyond_the_end_grows_the_file(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 1, 8);
    write_blocks(fixture, file, 5, 1, 9);
    assert_int_equal(bytes_of(fixture, file), 6 * BLOCK);
    assert_int_equal(read_blocks(fixture, file, 1, 5), 5 * BLOCK);
    for (size_t i = 0; i < 4 * BLOCK; i++) {
        assert_int_equal(block_at(fixture, 0)[i], 0);
    }
    assert_filled(block_at(fixture, 4), BLOCK, 9);
    close_file(fixture, file);
}

static void every_method_writes_and_grows(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        fill(block_at(fixture, 0), 2 * BLOCK, method);
        struct wal_io_op op = make_op(WAL_IO_WRITE_DURABLE, file, method * 2 * BLOCK, block_at(fixture, 0), 2 * BLOCK);
        op.method = (enum wal_io_method)method; /* One that the disk does not have is done in another way. */
        assert_int_equal(execute(fixture, &op), 0);
        assert_int_equal(op.moved_bytes, 2 * BLOCK);
        assert_int_equal(bytes_of(fixture, file), (method + 1) * 2 * BLOCK);
        assert_int_equal(read_blocks(fixture, file, method * 2, 2), 2 * BLOCK);
        assert_filled(block_at(fixture, 0), 2 * BLOCK, method);
    }
    struct wal_io_op sync = make_op(WAL_IO_SYNC, file, 1, NULL, 0);
    assert_int_equal(execute(fixture, &sync), 0);
    close_file(fixture, file);
}

static void reading_is_not_writing(void **state)
{
    struct fixture *fixture = start(state);
    int file = create_file(fixture, "a");
    write_blocks(fixture, file, 0, 1, 10);
    close_file(fixture, file);
    file = open_file(fixture, "a", 0);
    for (enum wal_io_kind kind = WAL_IO_WRITE; kind <= WAL_IO_WRITE_DURABLE; kind++) {
        struct wal_io_op op = make_op(kind, file, 0, block_at(fixture, 1), BLOCK);
        assert_true(execute(fixture, &op) < 0);
        assert_int_equal(op.moved_bytes, 0);
    }
    assert_int_equal(read_blocks(fixture, file, 0, 1), BLOCK);
    assert_filled(block_at(fixture, 0), BLOCK, 10);
    close_file(fixture, file);
}

/* --- wal_io_advance ------------------------------------------------------------------------------ */

static struct wal_io_op fresh_op(enum wal_io_kind kind)
{
    return (struct wal_io_op){.kind = kind, .size = 8192, .result = -1};
}

static void advance_whole_and_short(void **state)
{
    (void)state;
    struct wal_io_op op = fresh_op(WAL_IO_WRITE_DURABLE);
    assert_int_equal(wal_io_advance(&op, 8192), WAL_IO_FINISHED);
    assert_int_equal(op.result, 0);
    assert_int_equal(op.moved_bytes, 8192);

    op = fresh_op(WAL_IO_WRITE);
    assert_int_equal(wal_io_advance(&op, 512), WAL_IO_AGAIN);
    assert_int_equal(op.moved_bytes, 512);
    assert_int_equal(wal_io_advance(&op, 7679), WAL_IO_AGAIN);
    assert_int_equal(wal_io_advance(&op, 1), WAL_IO_FINISHED);
    assert_int_equal(op.result, 0);
    assert_int_equal(op.moved_bytes, 8192);
}

static void advance_at_the_end_of_a_file(void **state)
{
    (void)state;
    struct wal_io_op op = fresh_op(WAL_IO_READ);
    assert_int_equal(wal_io_advance(&op, 100), WAL_IO_AGAIN);
    assert_int_equal(wal_io_advance(&op, 0), WAL_IO_FINISHED);
    assert_int_equal(op.result, 0);
    assert_int_equal(op.moved_bytes, 100);

    op = fresh_op(WAL_IO_WRITE); /* A disk that takes nothing and says nothing. */
    assert_int_equal(wal_io_advance(&op, 100), WAL_IO_AGAIN);
    assert_int_equal(wal_io_advance(&op, 0), WAL_IO_FINISHED);
    assert_int_equal(op.result, -EIO);
}

static void advance_with_errors(void **state)
{
    (void)state;
    static const int errors[] = {-EIO, -ENOSPC, -EDQUOT, -EFBIG, -EROFS, -EBADF, -EINVAL, -EOPNOTSUPP};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (unsigned kind = WAL_IO_READ; kind <= WAL_IO_SYNC; kind++) {
            struct wal_io_op op = fresh_op((enum wal_io_kind)kind);
            if (kind != WAL_IO_SYNC) {
                assert_int_equal(wal_io_advance(&op, 4096), WAL_IO_AGAIN);
            }
            assert_int_equal(wal_io_advance(&op, errors[i]), WAL_IO_FINISHED);
            assert_int_equal(op.result, errors[i]);
            assert_int_equal(op.moved_bytes, kind != WAL_IO_SYNC ? 4096 : 0);
        }
    }
    struct wal_io_op sync = fresh_op(WAL_IO_SYNC);
    assert_int_equal(wal_io_advance(&sync, 0), WAL_IO_FINISHED);
    assert_int_equal(sync.result, 0);
}

/* Interruptions: repeated, but not for ever; progress starts the count anew. */
static void advance_when_interrupted(void **state)
{
    (void)state;
    struct wal_io_op op = fresh_op(WAL_IO_WRITE);
    for (unsigned turn = 0; turn < 999; turn++) {
        assert_int_equal(wal_io_advance(&op, turn % 2 == 0 ? -EINTR : -EAGAIN), WAL_IO_AGAIN);
    }
    assert_int_equal(wal_io_advance(&op, 4096), WAL_IO_AGAIN);
    for (unsigned turn = 0; turn < 999; turn++) {
        assert_int_equal(wal_io_advance(&op, -EAGAIN), WAL_IO_AGAIN);
    }
    assert_int_equal(wal_io_advance(&op, -EAGAIN), WAL_IO_FINISHED);
    assert_int_equal(op.result, -EIO);
    assert_int_equal(op.moved_bytes, 4096);
}

/* --- all of them --------------------------------------------------------------------------------- */

static const struct named_test conformance[] = {
    NAMED(caps_make_sense),
    NAMED(names_come_and_go),
    NAMED(a_listing_stops_when_told),
    NAMED(wrong_names_are_refused),
    NAMED(a_rename_never_replaces),
    NAMED(an_open_file_survives_its_name),
    NAMED(create_empties_what_is_there),
    NAMED(allocate_sets_the_size),
    NAMED_REAL(one_owner_of_a_directory),
    NAMED(a_lock_on_a_file_ends_with_it),
    NAMED(what_is_written_is_read),
    NAMED(a_read_ends_with_the_file),
    NAMED(a_write_beyond_the_end_grows_the_file),
    NAMED(every_method_writes_and_grows),
    NAMED_REAL(reading_is_not_writing),
};

int main(void)
{
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(advance_whole_and_short),
        cmocka_unit_test(advance_at_the_end_of_a_file),
        cmocka_unit_test(advance_with_errors),
        cmocka_unit_test(advance_when_interrupted),
    };
    return run_on_every_disk("io", conformance, sizeof(conformance) / sizeof(conformance[0]), alone,
                             sizeof(alone) / sizeof(alone[0]));
}
