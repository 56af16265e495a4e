/* posix_fixture.c - a fresh real directory, memory for blocks, and children in which a test may change the process.
 *
 * The happy path: a test works in the directory itself, or has a child do so that first changes what cannot be changed
 * back; the child's exit code is the result, and the directory goes away with the test.
 *
 * What can fail: what a child requires and does not find is told on stderr with its line, and fails the test; what this
 * machine cannot do is told in a line `skipped: ...`.
 *
 * Invariants: no assertion of the test library in a child, where it would have nowhere to jump to.
 *
 * May include: posix_fixture.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/posix_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { SKIPPED = 77 };

char fixture_path[SCRATCH_PATH_BYTES];
uint8_t *fixture_blocks;

int posix_setup(void **state)
{
    (void)state;
    scratch_make(fixture_path);
    fixture_blocks = aligned_alloc(BLOCK, BLOCKS * BLOCK);
    if (fixture_blocks == NULL) {
        return -1;
    }
    memset(fixture_blocks, 0x5a, BLOCKS * BLOCK);
    return 0;
}

int posix_teardown(void **state)
{
    (void)state;
    free(fixture_blocks);
    scratch_remove(fixture_path);
    return access(fixture_path, F_OK) == 0 ? -1 : 0;
}

void run_in_child(void (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

_Noreturn void skip_child(const char *why)
{
    printf("skipped: %s\n", why);
    (void)fflush(stdout);
    _exit(SKIPPED);
}

struct wal_io *plain_disk(unsigned flags)
{
    struct wal_io *io = NULL;
    REQUIRE(wal_io_posix(fixture_path, flags, &io) == 0);
    return io;
}

int create_on(struct wal_io *io, const char *name)
{
    int file = -1;
    REQUIRE(io->ops->open(io, name, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &file) == 0);
    return file;
}

struct wal_io_op blocks_op(enum wal_io_kind kind, int file, unsigned first, unsigned count)
{
    return (struct wal_io_op){
        .kind = kind, .file = file, .offset = (uint64_t)first * BLOCK, .size = count * BLOCK, .buffer = fixture_blocks};
}

uint64_t bytes_on(struct wal_io *io, int file)
{
    uint64_t bytes = UINT64_MAX;
    REQUIRE(io->ops->file_bytes(io, file, &bytes) == 0);
    return bytes;
}

void limit_file_bytes(void)
{
    const struct rlimit limit = {3 * BLOCK, RLIM_INFINITY};
    REQUIRE(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

void go_beyond_the_limit(struct wal_io *io, int (*carry_out)(struct wal_io *io, struct wal_io_op *op))
{
    for (unsigned method = WAL_IO_METHOD_DEFAULT; method <= WAL_IO_METHOD_LINKED; method++) {
        int file = create_on(io, "a");
        struct wal_io_op op = blocks_op(WAL_IO_WRITE_DURABLE, file, 1, 4);
        op.method = (enum wal_io_method)method;
        REQUIRE(carry_out(io, &op) == -EFBIG);
        REQUIRE(op.moved_bytes == 2 * BLOCK); /* The kernel's short write, then its refusal. */
        REQUIRE(bytes_on(io, file) == 3 * BLOCK);
        REQUIRE(ftruncate(file, 0) == 0);
        REQUIRE(io->ops->close(io, file) == 0);
    }
}
