/* accept_fixture.h - a log and what it must hold, for the tests of what a loss leaves once it is accepted. For programs
 * with cmocka: what is not as it must be ends the test.
 *
 * May include: log_fixture.h. */

#ifndef TESTS_ACCEPT_FIXTURE_H
#define TESTS_ACCEPT_FIXTURE_H

#include "tests/log_fixture.h"

enum { INDEXES_MAX = 200, PAYLOAD_BYTES_MAX = 60000 };

struct model {
    const char *directory;
    struct wal_options options;
    struct wal *log;
    struct wal_verdict verdict;
    uint64_t tags[INDEXES_MAX]; /* Of the records that are live; 0: none. */
    uint64_t next_index;
    uint64_t next_tag;
};

/* Of a log that is not there yet, with segments of so many blocks; without threads. */
void model_start(struct model *model, const char *directory, uint32_t blocks);
void model_open(struct model *model);
void model_close(struct model *model);

/* One commit of so many records at this index; what stood from there on is truncated. */
void model_put(struct model *model, uint64_t index, unsigned count, uint32_t size);
void model_truncate_prefix(struct model *model, uint64_t first_kept);
/* False: at this index there must be another record, or none. */
bool model_holds(const struct model *model, uint64_t index, const struct wal_record *record);

/* Of an open log: where that record stands. */
struct wal_place model_place(struct model *model, uint64_t index);
/* The path of a segment. */
void model_file(const struct model *model, uint64_t segment, char path[SCRATCH_PATH_BYTES]);
/* The block that holds this place becomes zero. */
void model_destroy_block(const struct model *model, struct wal_place place);

/* Of a closed log. Read only, what is given out is right, or refused: both sides of the damage. */
void expect_no_stale_record_read_only(struct model *model);
/* Of a closed log: refused, and accepted, and open then; all that is below the doubt is right. */
void accept_and_expect_doubt(struct model *model);
/* Of an open log, which is closed then. What is acknowledged now is there, now and after another opening. */
void expect_usable(struct model *model);

#endif
