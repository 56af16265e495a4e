/* posix_fixture.h - a fresh real directory, memory for blocks, and children in which a test may change the process
 * (limits, user, filters, mounts): their exit code is the result.
 *
 * May include: scratch.h, wal/io.h. */

#ifndef TESTS_POSIX_FIXTURE_H
#define TESTS_POSIX_FIXTURE_H

#include "tests/scratch.h"
#include "wal/io.h"

#include <stdio.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 256 };

/* Of the running test: its directory, and BLOCKS blocks, aligned. */
extern char fixture_path[SCRATCH_PATH_BYTES];
extern uint8_t *fixture_blocks;

int posix_setup(void **state);
int posix_teardown(void **state);

/* For children, where an assertion of the test library has nowhere to jump to. */
#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                                     \
        }                                                                                 \
    } while (0)

/* Runs body in a child, which must end well, or the test is skipped. */
void run_in_child(void (*body)(void));
/* In a child: this machine does not have what it takes. */
_Noreturn void skip_child(const char *why);

/* In a child or not, these must work. */
struct wal_io *plain_disk(unsigned flags);
int create_on(struct wal_io *io, const char *name);
uint64_t bytes_on(struct wal_io *io, int file);
/* On `count` blocks from `first` on, in the fixture's memory. */
struct wal_io_op blocks_op(enum wal_io_kind kind, int file, unsigned first, unsigned count);

/* In a child, for ever: no file becomes longer than three blocks. */
void limit_file_bytes(void);
/* Then writes one that would, by each method: what fits is there, and the rest is refused. */
void go_beyond_the_limit(struct wal_io *io, int (*carry_out)(struct wal_io *io, struct wal_io_op *op));

#endif
