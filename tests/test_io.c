/* test_io.c - what every disk must do: one set of tests over all backends, and wal_io_advance with scripted results.
 *
 * Each test gets a fresh empty directory and one disk on it. A backend that the kernel refuses is skipped with a word.
 * What only real files have (full disks, limits, signals, forbidden system calls) is in test_io_posix.c. */

#define _GNU_SOURCE
#include "wal/io.h"

#include "tests/sim_disk.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, MANY = 80 };

struct fixture {
    const struct backend *backend;
    char directory[256];
    struct wal_io *io;
    uint8_t *memory; /* MANY blocks, aligned. */
};

struct backend {
    const char *name;
    int (*make)(const char *directory, unsigned flags, struct wal_io **io_out);
    unsigned flags;
    bool may_be_refused;
    bool simulated; /* One handle, one thread; it trusts the log not to write where it may only read, nor to use what it
                       closed. */
};

/* The simulated disk of the running test. */
static struct sim_disk *simulated;

/* Any order of completions, the same in every run. */
static unsigned choose(void *context, unsigned options)
{
    uint32_t *seed = context;
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % options;
}

static int make_simulated(const char *directory, unsigned flags, struct wal_io **io_out)
{
    static uint32_t seed = 1;
    (void)directory;
    (void)flags;
    simulated = sim_disk_create(&(struct sim_hooks){.choose = choose, .context = &seed});
    *io_out = sim_disk_io(simulated);
    return 0;
}

static const struct backend backends[] = {
    {"posix direct", wal_io_posix, 0, false, false},
    {"posix buffered", wal_io_posix, WAL_IO_BUFFERED, false, false},
    {"io_uring direct", wal_io_uring, 0, true, false},
    {"io_uring buffered", wal_io_uring, WAL_IO_BUFFERED, true, false},
    {"simulated", make_simulated, 0, false, true},
};

/* --- fixture ------------------------------------------------------------------------------------- */

static const char *temporary_root(void)
{
    struct stat status;
    const char *root = getenv("TMPDIR");
    if (root != NULL && root[0] != '\0') {
        return root;
    }
    return stat("build/tmp", &status) == 0 && S_ISDIR(status.st_mode) ? "build/tmp" : "/tmp";
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL) {
        return -1;
    }
    fixture->backend = *state;
    (void)snprintf(fixture->directory, sizeof(fixture->directory), "%s/test_io.XXXXXX", temporary_root());
    if (mkdtemp(fixture->directory) == NULL) {
        return -1;
    }
    int result = fixture->backend->make(fixture->directory, fixture->backend->flags, &fixture->io);
    if (result != 0) {
        fixture->io = NULL;
        print_message("%s: refused here: %s\n", fixture->backend->name, strerror(-result));
        if (!fixture->backend->may_be_refused) {
            return -1;
        }
    }
    fixture->memory = aligned_alloc(BLOCK, MANY * BLOCK);
    *state = fixture;
    return fixture->memory != NULL ? 0 : -1;
}

static int remove_one(void *context, const char *name)
{
    return fcntl(*(int *)context, F_GETFD) < 0 ? 0 : unlinkat(*(int *)context, name, 0);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct wal_io *io = fixture->io;
    int fd = open(fixture->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (io != NULL) {
        (void)io->ops->list(io, remove_one, &fd);
        io->ops->destroy(io);
    }
    if (simulated != NULL) {
        sim_disk_destroy(simulated);
        simulated = NULL;
    }
    (void)close(fd);
    int result = rmdir(fixture->directory);
    free(fixture->memory);
    free(fixture);
    return result;
}

static struct fixture *start(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->io == NULL) {
        skip();
    }
    return fixture;
}

static struct fixture *start_asynchronous(void **state)
{
    struct fixture *fixture = start(state);
    if (!fixture->io->caps.asynchronous) {
        skip();
    }
    return fixture;
}

static uint8_t *block_at(const struct fixture *fixture, unsigned n)
{
    return fixture->memory + (size_t)n * BLOCK;
}

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed * 101 + 1);
    }
}

static void assert_filled(const uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], (uint8_t)(i * 31 + (i >> 8) * 7 + seed * 101 + 1));
    }
}

static int open_file(const struct fixture *fixture, const char *name, unsigned flags)
{
    int file = -1;
    assert_int_equal(fixture->io->ops->open(fixture->io, name, flags, &file), 0);
    assert_true(file >= 0);
    return file;
}

static int create_file(const struct fixture *fixture, const char *name)
{
    return open_file(fixture, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE);
}

static void close_file(const struct fixture *fixture, int file)
{
    assert_int_equal(fixture->io->ops->close(fixture->io, file), 0);
}

static uint64_t bytes_of(const struct fixture *fixture, int file)
{
    uint64_t bytes = 0;
    assert_int_equal(fixture->io->ops->file_bytes(fixture->io, file, &bytes), 0);
    return bytes;
}

static struct wal_io_op make_op(enum wal_io_kind kind, int file, uint64_t offset, void *buffer, size_t size)
{
    /* What the disk fills in starts as garbage. */
    return (struct wal_io_op){.kind = kind,
                              .file = file,
                              .offset = offset,
                              .buffer = buffer,
                              .size = (uint32_t)size,
                              .result = -12345,
                              .moved_bytes = 777,
                              .write_ns = 7,
                              .sync_ns = 7,
                              .private_ns = 7,
                              .private_state = 0xffffffff,
                              .private_count = 999};
}

static int execute(const struct fixture *fixture, struct wal_io_op *op)
{
    int result = fixture->io->ops->execute(fixture->io, op);
    assert_int_equal(result, op->result);
    return result;
}

static void write_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count, unsigned seed)
{
    fill(block_at(fixture, 0), (size_t)count * BLOCK, seed);
    struct wal_io_op op =
        make_op(WAL_IO_WRITE, file, (uint64_t)first * BLOCK, block_at(fixture, 0), (size_t)count * BLOCK);
    assert_int_equal(execute(fixture, &op), 0);
    assert_int_equal(op.moved_bytes, count * BLOCK);
}

static uint32_t read_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count)
{
    memset(block_at(fixture, 0), 0xee, (size_t)count * BLOCK);
    struct wal_io_op op =
        make_op(WAL_IO_READ, file, (uint64_t)first * BLOCK, block_at(fixture, 0), (size_t)count * BLOCK);
    assert_int_equal(execute(fixture, &op), 0);
    return op.moved_bytes;
}

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

struct named_test {
    const char *name;
    CMUnitTestFunction function;
    bool asynchronous; /* Of submit and poll. */
    bool real;         /* Not for the simulated disk. */
};

/* clang-format off */
#define NAMED(function) {#function, function, false, false}
#define NAMED_REAL(function) {#function, function, false, true}
#define NAMED_ASYNCHRONOUS(function) {#function, function, true, false}
#define NAMED_ASYNCHRONOUS_REAL(function) {#function, function, true, true}
/* clang-format on */

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
    NAMED_ASYNCHRONOUS(submitted_methods_write_and_grow),
    NAMED_ASYNCHRONOUS_REAL(submitted_errors_come_by_poll),
    NAMED_ASYNCHRONOUS(many_in_flight_and_no_more),
    NAMED_ASYNCHRONOUS(poll_waits_for_as_many_as_wanted),
    NAMED_ASYNCHRONOUS_REAL(the_event_descriptor_tells),
    NAMED_ASYNCHRONOUS(done_may_submit),
    NAMED_ASYNCHRONOUS_REAL(one_submits_another_polls),
    NAMED_ASYNCHRONOUS_REAL(the_submitter_may_end),
};

enum {
    BACKENDS = sizeof(backends) / sizeof(backends[0]),
    CONFORMANCE = sizeof(conformance) / sizeof(conformance[0]),
    ADVANCE = 4
};

int main(void)
{
    static char names[BACKENDS * CONFORMANCE][96];
    static struct CMUnitTest tests[ADVANCE + BACKENDS * CONFORMANCE] = {
        cmocka_unit_test(advance_whole_and_short),
        cmocka_unit_test(advance_at_the_end_of_a_file),
        cmocka_unit_test(advance_with_errors),
        cmocka_unit_test(advance_when_interrupted),
    };
    for (unsigned i = 0; i < BACKENDS * CONFORMANCE; i++) {
        const struct backend *backend = &backends[i / CONFORMANCE];
        const struct named_test *test = &conformance[i % CONFORMANCE];
        if (test->asynchronous && backend->make == wal_io_posix) {
            continue; /* Without a word: it says so itself (caps.asynchronous), and test_io_posix.c checks that. */
        }
        if (test->real && backend->simulated) {
            continue;
        }
        (void)snprintf(names[i], sizeof(names[i]), "%s: %s", backend->name, test->name);
        tests[ADVANCE + i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = test->function,
            .setup_func = setup,
            .teardown_func = teardown,
            .initial_state = (void *)(uintptr_t)backend,
        };
    }
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
