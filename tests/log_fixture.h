/* log_fixture.h - what tests of a log on real files share: a directory each, small logs made and crashed in it, opens
 * that must work and opens that must be refused. For programs with cmocka: what is not as it must be ends the test.
 *
 * May include: fault_io.h, scratch.h. */

#ifndef TESTS_LOG_FIXTURE_H
#define TESTS_LOG_FIXTURE_H

#include "tests/fault_io.h"
#include "tests/scratch.h"

enum { BLOCK = 4096, MANY = 45 }; /* So many commits fill four or five segments of a tiny log. */

/* *state is the path of a fresh directory; removed with all that is in it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* A log that rolls after some dozens of batches, and one that rolls after some ten. */
struct wal_options small(uint32_t flags);
struct wal_options tiny(uint32_t flags);

/* A small log, opened; where verdict is NULL nobody wants it. */
struct wal *open_log(const char *directory, uint32_t flags, struct wal_verdict *verdict);
/* Opening must be refused like that, with a text, no log and nothing changed. */
struct wal_verdict expect_refused(const char *directory, const struct wal_options *options, int wanted);
/* A tiny log of so many records, one commit each, closed. */
void make_log(const char *directory, uint64_t records);
/* A disk on that directory, without faults so far. */
struct fault_io *fault_disk(const char *directory);

/* Runs work on a small log in a child that ends as if killed: no close, no idle mark. */
void in_child(void (*work)(struct wal *log), const char *directory);
/* In a child: ends it when a call failed, which the parent sees. */
void must(int result);
/* Work for a child: ten commits of one record; the same, and closed. */
void ten_commits(struct wal *log);
void ten_commits_and_close(struct wal *log);
/* The batch whose first record is `index`, in segment 1. */
struct found_batch batch_of(const char *directory, uint64_t index);

#endif
