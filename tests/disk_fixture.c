/* disk_fixture.c - one set of tests over every disk that there is.
 *
 * The happy path: a program has a table of tests; each of them is run on each disk, under a name of both, in a
 * directory of its own that is removed with all that is in it.
 *
 * What can fail: a backend that the kernel may refuse is skipped with a word; what else cannot be made ends the test. A
 * disk that leaves something that cannot be removed fails it too.
 *
 * Invariants: what an operation's disk is to fill in starts as garbage.
 *
 * May include: disk_fixture.h, scratch.h, sim_disk.h. */

#define _GNU_SOURCE
#include "tests/disk_fixture.h"

#include "tests/scratch.h"
#include "tests/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL) {
        return -1;
    }
    fixture->backend = *state;
    scratch_make(fixture->directory);
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

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->io != NULL) {
        fixture->io->ops->destroy(fixture->io);
    }
    if (simulated != NULL) {
        sim_disk_destroy(simulated);
        simulated = NULL;
    }
    scratch_remove(fixture->directory);
    int result = access(fixture->directory, F_OK) == 0 ? -1 : 0;
    free(fixture->memory);
    free(fixture);
    return result;
}

/* --- what tests do -------------------------------------------------------------------------------- */

struct fixture *start(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->io == NULL) {
        skip();
    }
    return fixture;
}

struct fixture *start_asynchronous(void **state)
{
    struct fixture *fixture = start(state);
    if (!fixture->io->caps.asynchronous) {
        skip();
    }
    return fixture;
}

uint8_t *block_at(const struct fixture *fixture, unsigned n)
{
    return fixture->memory + (size_t)n * BLOCK;
}

void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed * 101 + 1);
    }
}

void assert_filled(const uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], (uint8_t)(i * 31 + (i >> 8) * 7 + seed * 101 + 1));
    }
}

int open_file(const struct fixture *fixture, const char *name, unsigned flags)
{
    int file = -1;
    assert_int_equal(fixture->io->ops->open(fixture->io, name, flags, &file), 0);
    assert_true(file >= 0);
    return file;
}

int create_file(const struct fixture *fixture, const char *name)
{
    return open_file(fixture, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE);
}

void close_file(const struct fixture *fixture, int file)
{
    assert_int_equal(fixture->io->ops->close(fixture->io, file), 0);
}

uint64_t bytes_of(const struct fixture *fixture, int file)
{
    uint64_t bytes = 0;
    assert_int_equal(fixture->io->ops->file_bytes(fixture->io, file, &bytes), 0);
    return bytes;
}

struct wal_io_op make_op(enum wal_io_kind kind, int file, uint64_t offset, void *buffer, size_t size)
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

int execute(const struct fixture *fixture, struct wal_io_op *op)
{
    int result = fixture->io->ops->execute(fixture->io, op);
    assert_int_equal(result, op->result);
    return result;
}

void write_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count, unsigned seed)
{
    fill(block_at(fixture, 0), (size_t)count * BLOCK, seed);
    struct wal_io_op op =
        make_op(WAL_IO_WRITE, file, (uint64_t)first * BLOCK, block_at(fixture, 0), (size_t)count * BLOCK);
    assert_int_equal(execute(fixture, &op), 0);
    assert_int_equal(op.moved_bytes, count * BLOCK);
}

uint32_t read_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count)
{
    memset(block_at(fixture, 0), 0xee, (size_t)count * BLOCK);
    struct wal_io_op op =
        make_op(WAL_IO_READ, file, (uint64_t)first * BLOCK, block_at(fixture, 0), (size_t)count * BLOCK);
    assert_int_equal(execute(fixture, &op), 0);
    return op.moved_bytes;
}

/* --- all of them --------------------------------------------------------------------------------- */

enum { BACKENDS = sizeof(backends) / sizeof(backends[0]), ALL_MAX = 256 };

int run_on_every_disk(const char *group, const struct named_test *tests, size_t count, const struct CMUnitTest *alone,
                      size_t alone_count)
{
    static char names[ALL_MAX][96];
    static struct CMUnitTest all[ALL_MAX];
    assert_true(alone_count + BACKENDS * count <= ALL_MAX);
    size_t used = 0;
    while (used < alone_count) {
        all[used] = alone[used];
        used++;
    }
    for (size_t i = 0; i < BACKENDS * count; i++) {
        const struct backend *backend = &backends[i / count];
        const struct named_test *test = &tests[i % count];
        if (test->asynchronous && backend->make == wal_io_posix) {
            continue; /* Without a word: it says so itself (caps.asynchronous), and test_io_posix.c checks that. */
        }
        if (test->real && backend->simulated) {
            continue;
        }
        (void)snprintf(names[used], sizeof(names[used]), "%s: %s", backend->name, test->name);
        all[used] = (struct CMUnitTest){
            .name = names[used],
            .test_func = test->function,
            .setup_func = setup,
            .teardown_func = teardown,
            .initial_state = (void *)(uintptr_t)backend,
        };
        used++;
    }
    /* What cmocka_run_group_tests_name() calls, with a count of our own. */
    return _cmocka_run_group_tests(group, all, used, NULL, NULL);
}
