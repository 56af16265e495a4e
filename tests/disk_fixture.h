/* disk_fixture.h - one set of tests over every disk that there is: the real ones, direct and buffered, and the
 * simulated one.
 *
 * Each test gets a fresh empty directory and one disk on it. A backend that the kernel refuses is skipped with a word.
 *
 * May include: scratch.h, wal/io.h. */

#ifndef TESTS_DISK_FIXTURE_H
#define TESTS_DISK_FIXTURE_H

#include "tests/scratch.h"
#include "wal/io.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { BLOCK = 4096, MANY = 80 };

struct backend {
    const char *name;
    int (*make)(const char *directory, unsigned flags, struct wal_io **io_out);
    unsigned flags;
    bool may_be_refused;
    bool simulated; /* One handle, one thread; it trusts the log not to write where it may only read, nor to use what it
                       closed. */
};

struct fixture {
    const struct backend *backend;
    char directory[SCRATCH_PATH_BYTES];
    struct wal_io *io;
    uint8_t *memory; /* MANY blocks, aligned. */
};

/* The test's fixture, when its disk is to be had; the second one: when it takes operations by submit. Else the test is
 * skipped. */
struct fixture *start(void **state);
struct fixture *start_asynchronous(void **state);

uint8_t *block_at(const struct fixture *fixture, unsigned n);
/* Bytes that follow from the seed. */
void fill(uint8_t *bytes, size_t size, unsigned seed);
void assert_filled(const uint8_t *bytes, size_t size, unsigned seed);

/* These must work. */
int open_file(const struct fixture *fixture, const char *name, unsigned flags);
int create_file(const struct fixture *fixture, const char *name);
void close_file(const struct fixture *fixture, int file);
uint64_t bytes_of(const struct fixture *fixture, int file);
struct wal_io_op make_op(enum wal_io_kind kind, int file, uint64_t offset, void *buffer, size_t size);
int execute(const struct fixture *fixture, struct wal_io_op *op);
void write_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count, unsigned seed);
uint32_t read_blocks(const struct fixture *fixture, int file, unsigned first, unsigned count);

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

/* Runs each of `tests` on each disk that it is for, behind those `alone`, which need none. The number that failed. */
int run_on_every_disk(const char *group, const struct named_test *tests, size_t count, const struct CMUnitTest *alone,
                      size_t alone_count);

#endif
