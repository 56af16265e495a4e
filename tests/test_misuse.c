/* test_misuse.c - the caller is wrong: options out of range or against the log that is found, appends and other calls
 * that cannot be meant, writes to a log that was opened for reading.
 *
 * The happy path of a test: a call that wal.h forbids gives the code that wal.h names, with a text that says which
 * field was wrong, and the next right call works.
 *
 * What can fail: an answer.
 *
 * Invariants: a refused call changes nothing, neither the log nor what the caller passed in.
 *
 * May include: log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the caller is wrong ------------------------------------------------------------------------- */

static void expect_bad_options(const char *directory, struct wal_options options, const char *word)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int result = wal_open(directory, &options, &log, &verdict);
    if (result != WAL_EINVAL || strstr(verdict.text, word) == NULL) {
        fail_msg("%s: %s; %s", word, wal_strerror(result), result != 0 ? verdict.text : "accepted");
    }
    assert_null(log);
}

/* Each line: a field, a value that is refused. The message names the field. */
static void test_options_out_of_range(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "log");
#define REFUSE_AS(field, value, word)                  \
    do {                                               \
        struct wal_options options = WAL_OPTIONS_INIT; \
        options.flags = WAL_CREATE;                    \
        options.field = (value);                       \
        expect_bad_options(path, options, word);       \
    } while (0)
#define REFUSE(field, value) REFUSE_AS(field, value, #field)
    REFUSE(options_bytes, 4);
    REFUSE(options_bytes, sizeof(struct wal_options) + 8);
    REFUSE_AS(flags, 1u << 20, "flag");
    REFUSE_AS(flags, WAL_CREATE | WAL_READ_ONLY, "WAL_READ_ONLY");
    REFUSE(backend, (enum wal_backend)7);
    REFUSE(strategy, (enum wal_strategy)9);
    REFUSE(block_bytes, 256);
    REFUSE(block_bytes, 5000);
    REFUSE(block_bytes, 131072);
    REFUSE(segment_bytes, 15 * BLOCK);
    REFUSE(segment_bytes, (64u << 20) + 1);
    REFUSE(segment_bytes, 4ull << 30);
    REFUSE(batch_bytes_max, 3 * BLOCK);
    REFUSE(batch_bytes_max, 64u << 20);
    REFUSE(batches_in_flight_max, 5);
    REFUSE(segments_ready, 1);
    REFUSE(segments_ready, 17);
    REFUSE(segments_pool_max, 1025);
    REFUSE(segments_max, 3);
    REFUSE(segments_max, 65537);
    REFUSE(segments_mapped_max, 1);
    REFUSE(idle_mark_ms, 3600001);
    REFUSE(accept_metadata_bytes, 257);
    REFUSE(accept_metadata_bytes, 1);
#undef REFUSE
#undef REFUSE_AS
    assert_int_not_equal(access(path, F_OK), 0);
}

/* What fails after the verdict was reached is what the text tells, not the verdict: an option that this log's blocks do
 * not suit. */
static void test_option_against_the_log_found(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "log");
    struct wal *log = NULL;
    struct wal_options options = tiny(WAL_CREATE);
    options.block_bytes = BLOCK;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
    options = tiny(WAL_POWERSAFE_OVERWRITE);
    options.block_bytes = 512;
    options.batch_bytes_max = 4 * BLOCK + 512;
    expect_bad_options(path, options, "batch_bytes_max and segment_bytes must be whole numbers of the log's blocks");
}

/* A log with blocks of 512 bytes comes to a disk whose direct I/O wants 4,096: it reads, and for writing says what to
 * do.
 */
static void test_blocks_smaller_than_direct_io_wants(void **state)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "log");
    struct wal *log = NULL;
    struct wal_options options = tiny(WAL_CREATE | WAL_POWERSAFE_OVERWRITE | WAL_BUFFERED);
    options.block_bytes = 512;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    struct wal_record record = {.data = "hello", .size = 5, .type = 1};
    const struct wal_append append = {.records = &record, .record_count = 1};
    for (unsigned i = 0; i < 200; i++) { /* Over several segments. */
        assert_int_equal(wal_commit(log, &append, NULL), 0);
    }
    assert_int_equal(wal_close(log), 0);
    struct wal_io *disk = NULL;
    assert_int_equal(wal_io_posix(path, 0, &disk), 0);
    disk->caps.align_bytes = 4096;
    options = tiny(WAL_READ_ONLY | WAL_NO_THREADS);
    struct wal_verdict verdict;
    assert_int_equal(wal_open_io(disk, &options, &log, &verdict), 0);
    assert_int_equal(verdict.kind, WAL_VERDICT_CLEAN);
    assert_int_equal(wal_last_index(log), 200);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(report.records, 200);
    assert_int_equal(wal_close(log), 0);
    options = tiny(WAL_POWERSAFE_OVERWRITE);
    assert_int_equal(wal_open_io(disk, &options, &log, &verdict), WAL_EINVAL);
    assert_non_null(strstr(verdict.text, "WAL_BUFFERED"));
    disk->ops->destroy(disk);
}

static int append_of(struct wal *log, struct wal_append append)
{
    uint64_t last = wal_last_index(log);
    struct wal_receipt receipt = {77, 77, 77};
    int result = wal_append(log, &append, &receipt);
    assert_int_equal(wal_last_index(log), last);
    assert_true(result == 0 || (receipt.ticket == 77 && receipt.first_index == 77 && receipt.last_index == 77));
    char text[512];
    assert_true(result == 0 || wal_errmsg(log, text, sizeof(text)) > 0);
    return result;
}

static void test_misuse_of_append(void **state)
{
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    char text[512];
    assert_int_equal(wal_errmsg(log, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(sample_commit(log, 5), 0);
    static char big[8 * BLOCK];
    struct wal_record good = {.data = "x", .size = 1, .type = 1};
    struct wal_record untyped = {.data = "x", .size = 1};
    struct wal_record no_data = {.size = 1, .type = 1};
    struct wal_record large = {.data = big, .size = sizeof(big), .type = 1};
    struct wal_record huge = {.data = big, .size = UINT32_MAX, .type = 1};
    assert_int_equal(append_of(log, (struct wal_append){.records = &untyped, .record_count = 1}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.records = &no_data, .record_count = 1}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.record_count = 1}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){0}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.records = &good}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.records = &good, .record_count = 1, .flags = 16}), WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.records = &large, .record_count = 1}), WAL_ETOOBIG);
    assert_int_equal(append_of(log, (struct wal_append){.records = &huge, .record_count = 1}), WAL_ETOOBIG);
    struct wal_record most[3] = {huge, huge, huge};
    assert_int_equal(append_of(log, (struct wal_append){.records = most, .record_count = 3}), WAL_ETOOBIG);
    assert_int_equal(
        append_of(log, (struct wal_append){.flags = WAL_APPEND_METADATA, .metadata = big, .metadata_bytes = 257}),
        WAL_ETOOBIG);
    assert_int_equal(append_of(log, (struct wal_append){.flags = WAL_APPEND_METADATA, .metadata_bytes = 5}),
                     WAL_EINVAL);
    assert_int_equal(append_of(log, (struct wal_append){.records = &good, .record_count = 1, .first_index = 5}),
                     WAL_EINDEX);
    assert_int_equal(append_of(log, (struct wal_append){.records = &good, .record_count = 1, .first_index = 7}),
                     WAL_EINDEX);
    assert_int_equal(append_of(log, (struct wal_append){.flags = WAL_APPEND_TRUNCATE, .first_index = 7}), WAL_EINDEX);
    assert_int_equal(append_of(log, (struct wal_append){.flags = WAL_APPEND_TRUNCATE, .first_index = 0}), WAL_EINDEX);
    assert_true(sample_range_is_right(log, 1, 5));
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
}

static void test_misuse_of_the_rest(void **state)
{
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    char buffer[WAL_METADATA_BYTES_MAX];
    size_t bytes = 0;
    assert_int_equal(wal_metadata(log, buffer, sizeof(buffer), &bytes), WAL_ENOENT);
    struct wal_append append = {.flags = WAL_APPEND_METADATA, .metadata = "0123456789", .metadata_bytes = 10};
    assert_int_equal(wal_commit(log, &append, NULL), 0);
    assert_int_equal(wal_metadata(log, buffer, 9, &bytes), WAL_ESMALL);
    assert_int_equal(bytes, 10);
    append = (struct wal_append){.flags = WAL_APPEND_METADATA};
    assert_int_equal(wal_commit(log, &append, NULL), 0);
    assert_int_equal(wal_metadata(log, NULL, 0, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(sample_commit(log, 20), 0);

    struct wal_receipt receipt;
    assert_int_equal(wal_wait(log, 0), WAL_EINVAL);
    assert_int_equal(wal_wait(log, 1000), WAL_EINVAL);
    assert_int_equal(wal_truncate_suffix(log, 0, &receipt), WAL_EINDEX);
    assert_int_equal(wal_truncate_suffix(log, 22, &receipt), WAL_EINDEX);
    assert_int_equal(wal_truncate_prefix(log, 0, &receipt), WAL_EINDEX);
    assert_int_equal(wal_truncate_prefix(log, 22, &receipt), WAL_EINDEX);
    assert_int_equal(wal_reset(log, 21, &receipt), WAL_EINDEX);
    assert_int_equal(wal_reset(log, 0, &receipt), WAL_EINDEX);
    assert_int_equal(wal_truncate_prefix(log, 5, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    struct wal_record record = {0};
    char data[SAMPLE_BYTES_MAX];
    assert_int_equal(wal_read(log, 0, data, sizeof(data), &record), WAL_ECOMPACTED);
    assert_int_equal(wal_read(log, 4, data, sizeof(data), &record), WAL_ECOMPACTED);
    assert_int_equal(wal_read(log, 21, data, sizeof(data), &record), WAL_EBEYOND);
    assert_int_equal(wal_read(log, UINT64_MAX, data, sizeof(data), &record), WAL_EBEYOND);
    uint8_t sample[SAMPLE_BYTES_MAX];
    uint32_t wanted = sample_record(7, sample).size;
    assert_true(wanted > 0);
    assert_int_equal(wal_read(log, 7, data, wanted - 1, &record), WAL_ESMALL);
    assert_int_equal(record.size, wanted);
    assert_int_equal(wal_read(log, 7, data, wanted, &record), 0);
    assert_ptr_equal(record.data, data);
    struct wal_cursor *cursor = NULL;
    assert_int_equal(wal_cursor_open(log, 4, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECOMPACTED);
    wal_cursor_seek(cursor, 21);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_EBEYOND);
    wal_cursor_seek(cursor, 20);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(record.index, 20);
    wal_cursor_close(cursor);
    assert_string_equal(wal_strerror(-99999), "unknown code");
    assert_string_equal(wal_version(), WAL_VERSION);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(wal_close(NULL), 0);
}

static void test_read_only_refuses_writes(void **state)
{
    make_log(*state, 20);
    uint64_t before = scratch_digest(*state);
    struct wal_options options = tiny(WAL_READ_ONLY);
    struct wal *log = NULL;
    struct wal_receipt receipt;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(sample_append(log, 1, &receipt), WAL_EROFS);
    assert_int_equal(wal_truncate_prefix(log, 3, &receipt), WAL_EROFS);
    assert_int_equal(wal_truncate_suffix(log, 3, &receipt), WAL_EROFS);
    assert_int_equal(wal_reset(log, 30, &receipt), WAL_EROFS);
    bool more = true;
    (void)!wal_maintain(log, WAL_MAINTAIN_MARK | WAL_MAINTAIN_PREPARE, &more);
    assert_true(sample_range_is_right(log, 1, 20));
    assert_int_equal(wal_close(log), 0);
    assert_true(scratch_digest(*state) == before);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_options_out_of_range, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_option_against_the_log_found, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_blocks_smaller_than_direct_io_wants, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_misuse_of_append, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_misuse_of_the_rest, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_read_only_refuses_writes, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
