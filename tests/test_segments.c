/* test_segments.c - the segments are not what they should be: missing, renamed, swapped, foreign, cut short or of
 * another size.
 *
 * The happy path of a test: a log is made and closed, its files are changed from outside, and opening it is refused
 * with the code of wal.h, the row of the recovery table and a text; or it opens, and verify says what is lost.
 *
 * What can fail: an answer.
 *
 * Invariants: a refused open changes no byte and no name, whatever its flags (expect_refused looks).
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* --- missing, renamed, swapped, foreign ---------------------------------------------------------- */

static void move_segment(const char *directory, uint64_t from, uint64_t to)
{
    char old_path[SCRATCH_PATH_BYTES];
    char new_path[SCRATCH_PATH_BYTES];
    scratch_path(directory, from, old_path);
    scratch_path(directory, to, new_path);
    assert_int_equal(rename(old_path, new_path), 0);
}

static void remove_segment(const char *directory, uint64_t segment)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_path(directory, segment, path);
    assert_int_equal(unlink(path), 0);
}

/* Without the accepting flag: this code and row, and nothing changed. Read only: the rest can be read. */
static void expect_refusal(const char *directory, int wanted, int row)
{
    struct wal_options options = tiny(0);
    struct wal_verdict verdict = expect_refused(directory, &options, wanted);
    assert_int_equal(verdict.row, row);
    assert_int_equal(verdict.kind, wanted == WAL_ECORRUPT ? WAL_VERDICT_CORRUPT : WAL_VERDICT_NONE);
    options.flags = WAL_CREATE | WAL_ACCEPT_UNCERTAIN;
    verdict = expect_refused(directory, &options, wanted);
    assert_int_equal(verdict.row, row);
}

/* In whatever row: which one is seen first depends on what the newest file is now. */
static void expect_corrupt(const char *directory)
{
    struct wal_options options = tiny(0);
    struct wal_verdict verdict = expect_refused(directory, &options, WAL_ECORRUPT);
    assert_int_equal(verdict.kind, WAL_VERDICT_CORRUPT);
}

static void test_segment_missing_in_the_middle(void **state)
{
    make_log(*state, MANY);
    uint64_t newest = scratch_newest(*state);
    assert_true(newest >= 4);
    remove_segment(*state, 2);
    expect_refusal(*state, WAL_ECORRUPT, 3);
}

static void test_first_segment_missing(void **state)
{
    make_log(*state, MANY);
    remove_segment(*state, 1);
    expect_refusal(*state, WAL_ECORRUPT, 3);
}

/* The newest and what was made ready behind it: the seal of the one before tells that there was a next one. */
static void test_newest_segment_missing(void **state)
{
    make_log(*state, MANY);
    uint64_t newest = scratch_newest(*state);
    remove_segment(*state, newest);
    char path[SCRATCH_PATH_BYTES];
    scratch_path(*state, newest + 1, path);
    for (uint64_t ready = newest + 1; access(path, F_OK) == 0; scratch_path(*state, ++ready, path)) {
        remove_segment(*state, ready);
    }
    expect_refusal(*state, WAL_ECORRUPT, 5);
}

/* The newest alone: the ready ones behind it are still there. */
static void test_newest_segment_missing_before_ready_ones(void **state)
{
    make_log(*state, MANY);
    remove_segment(*state, scratch_newest(*state));
    expect_refusal(*state, WAL_ECORRUPT, 5);
}

static void test_segment_renamed(void **state)
{
    make_log(*state, MANY);
    move_segment(*state, 2, 900);
    expect_refusal(*state, WAL_ECORRUPT, 3);
}

static void test_two_segments_swapped(void **state)
{
    make_log(*state, MANY);
    move_segment(*state, 2, 900);
    move_segment(*state, 3, 2);
    move_segment(*state, 900, 3);
    expect_refusal(*state, WAL_ECORRUPT, 3);
}

static void test_newest_swapped_with_the_one_before(void **state)
{
    make_log(*state, MANY);
    uint64_t newest = scratch_newest(*state);
    move_segment(*state, newest, 900);
    move_segment(*state, newest - 1, newest);
    move_segment(*state, 900, newest - 1);
    expect_corrupt(*state);
}

static void test_newest_segment_renamed(void **state)
{
    make_log(*state, MANY);
    move_segment(*state, scratch_newest(*state), 900);
    expect_corrupt(*state);
}

static void copy_segment(const char *from, const char *to, uint64_t segment)
{
    static uint8_t bytes[16 * BLOCK];
    char path[SCRATCH_PATH_BYTES];
    scratch_read(from, segment, 0, bytes, sizeof(bytes));
    scratch_path(to, segment, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    (void)close(fd);
    scratch_write(to, segment, 0, bytes, sizeof(bytes));
}

/* `segment` 0: the newest. */
static void segment_of_another_log(const char *directory, uint64_t segment)
{
    char here[SCRATCH_PATH_BYTES];
    char there[SCRATCH_PATH_BYTES];
    scratch_join(here, directory, "here");
    scratch_join(there, directory, "there");
    make_log(here, MANY);
    make_log(there, MANY);
    copy_segment(there, here, segment != 0 ? segment : scratch_newest(there));
    expect_refusal(here, WAL_EFOREIGN, 1);
}

static void test_segment_of_another_log(void **state)
{
    segment_of_another_log(*state, 2);
}

static void test_newest_segment_of_another_log(void **state)
{
    segment_of_another_log(*state, 0);
}

/* An older copy of one's own segment: its batches end too early for the anchor behind it. */
static void test_older_copy_of_a_segment(void **state)
{
    char early[SCRATCH_PATH_BYTES];
    char late[SCRATCH_PATH_BYTES];
    scratch_join(early, *state, "early");
    scratch_join(late, *state, "late");
    make_log(late, 20);
    scratch_copy(late, early);
    struct wal_options options = tiny(0);
    struct wal *log = NULL;
    assert_int_equal(wal_open(late, &options, &log, NULL), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_int_equal(wal_close(log), 0);
    assert_true(scratch_newest(late) > scratch_newest(early));
    copy_segment(early, late, scratch_newest(early));
    expect_refusal(late, WAL_ECORRUPT, 4);
}

static void test_no_segment_has_a_beginning(void **state)
{
    make_log(*state, 5);
    scratch_zero(*state, 1, BLOCK, BLOCK);
    expect_refusal(*state, WAL_ECORRUPT, 2);
}

static void test_shorter_than_the_caller_knows(void **state)
{
    make_log(*state, 10);
    struct wal_options options = tiny(0);
    options.known_durable_index = 11;
    struct wal_verdict verdict = expect_refused(*state, &options, WAL_ECORRUPT);
    assert_int_equal(verdict.row, 7);
    options.known_durable_index = 10;
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
}

/* --- cut short ----------------------------------------------------------------------------------- */

static void test_segment_cut_short(void **state)
{
    make_log(*state, MANY);
    char path[SCRATCH_PATH_BYTES];
    scratch_path(*state, 2, path);
    assert_int_equal(truncate(path, 8 * BLOCK), 0);
    struct wal_options options = tiny(0);
    struct wal_verdict verdict = {0};
    struct wal *log = NULL;
    int result = wal_open(*state, &options, &log, &verdict);
    if (result == 0) { /* A sealed segment is not read at open: then reading tells. */
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record;
        bool told = false;
        for (uint64_t index = 1; index <= MANY; index++) {
            result = wal_read(log, index, buffer, sizeof(buffer), &record);
            told = told || result == WAL_ECORRUPT;
            assert_true(result == WAL_ECORRUPT || (result == 0 && record.tag == index && sample_is_right(&record)));
        }
        assert_true(told);
        struct wal_verify_report report;
        assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
        assert_int_equal(wal_close(log), 0);
    } else {
        assert_int_equal(result, WAL_ECORRUPT);
    }
}

/* A ready file lost its end: it is not gone on in, or the log would be found short when it is opened again. */
static void test_a_ready_segment_cut_short_is_made_anew(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        static const off_t left[] = {BLOCK, 2 * BLOCK, 15 * BLOCK};
        char directory[SCRATCH_PATH_BYTES];
        char path[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", i);
        scratch_join(directory, *state, name);
        make_log(directory, MANY);
        scratch_path(directory, scratch_newest(directory) + 1, path);
        assert_int_equal(truncate(path, left[i]), 0);
        for (unsigned turn = 0; turn < 2; turn++) {
            struct wal_options options = tiny(WAL_NO_THREADS);
            struct wal_verdict verdict;
            struct wal *log = NULL;
            assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
            assert_int_equal(verdict.kind, WAL_VERDICT_CLEAN);
            for (unsigned k = 0; k < 12 && turn == 0; k++) { /* Over the roll, and not yet over the next one. */
                assert_int_equal(sample_commit(log, 1), 0);
            }
            assert_int_equal(wal_close(log), 0);
        }
    }
}

/* --- what verify says of it ---------------------------------------------------------------------- */

static struct wal *open_to_read(const char *directory)
{
    struct wal_options options = tiny(WAL_READ_ONLY);
    struct wal *log = NULL;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    return log;
}

static uint64_t first_record_of(const char *directory, uint64_t segment)
{
    struct found_batch batches[MANY];
    assert_true(scratch_batches(directory, segment, batches, MANY) > 1);
    return batches[1].head.first_index; /* Behind the opening anchor. */
}

/* wal_verify counts every record of the missing segments, and says between which tags they stood. */
static void expect_missing(const char *directory, uint64_t segment, uint64_t first, uint64_t end)
{
    struct wal_verify_report report;
    struct wal *log = open_to_read(directory);
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(report.bad_records, end - first);
    assert_int_equal(report.records, MANY - (end - first));
    assert_int_equal(report.first_bad.first_index, first);
    assert_int_equal(report.first_bad.end_index, end);
    assert_int_equal(report.first_bad.segment, segment);
    assert_int_equal(report.first_bad.offset, 0);
    assert_int_equal(report.first_bad.tag_before, first - 1);
    assert_true(report.first_bad.tag_last_known);
    assert_int_equal(report.first_bad.tag_last, end - 1);
    assert_int_equal(wal_close(log), 0);
}

static void test_verify_counts_missing_segments(void **state)
{
    make_log(*state, MANY);
    uint64_t second = first_record_of(*state, 2);
    uint64_t third = first_record_of(*state, 3);
    uint64_t fourth = first_record_of(*state, 4);
    remove_segment(*state, 2);
    expect_missing(*state, 2, second, third);
    remove_segment(*state, 3);
    expect_missing(*state, 2, second, fourth);
    remove_segment(*state, 1);
    expect_missing(*state, 1, 1, fourth);
}

/* Of damage within a segment it tells the place, and the tags of the records around it. */
static void test_verify_describes_the_first_damage(void **state)
{
    struct found_batch batches[MANY];
    struct wal_verify_report report;
    make_log(*state, MANY);
    size_t count = scratch_batches(*state, 2, batches, MANY);
    assert_true(count > 6);
    scratch_flip(*state, 2, batches[3].offset + batches[3].head.head_bytes + RECORD_HEADER_BYTES, 1);
    scratch_flip(*state, 2, batches[4].offset, 1);
    struct wal *log = open_to_read(*state);
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(report.bad_records, 2);
    assert_int_equal(report.first_bad.first_index, batches[3].head.first_index);
    assert_int_equal(report.first_bad.end_index, batches[5].head.first_index);
    assert_int_equal(report.first_bad.segment, 2);
    assert_int_equal(report.first_bad.offset, batches[3].offset);
    assert_int_equal(report.first_bad.tag_before, batches[3].head.first_index - 1);
    assert_true(report.first_bad.tag_last_known);
    assert_int_equal(report.first_bad.tag_last, batches[5].head.first_index - 1);
    assert_int_equal(wal_close(log), 0);
}

/* --- a legal crash, and then an open with larger segments ---------------------------------------- */

/* As killed in a roll, between seal and anchor: the newest segment is ready, and not begun. */
static uint64_t make_log_cut_in_a_roll(const char *directory)
{
    make_log(directory, MANY);
    uint64_t newest = scratch_newest(directory);
    scratch_zero(directory, newest, BLOCK, 15 * BLOCK);
    assert_true(scratch_newest(directory) == newest - 1);
    return newest - 1;
}

/* The ready segment is too small for the batches from now on; it must not be missing for a moment all the same. */
static void test_larger_segments_behind_a_cut_roll(void **state)
{
    const struct fault_rule rules[] = {
        {.kinds = FAULT_SYNC_PARENT, .nth = 100, .error = EIO},                /* None. */
        {.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC}, /* The disk is full. */
        {.kinds = FAULT_UNLINK, .nth = 1, .error = EIO, .carried_out = true},  /* Killed behind the first unlink. */
        {.kinds = FAULT_WRITE_DURABLE, .nth = 1, .error = EIO, .carried_out = false}, /* Killed before the anchor. */
    };
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        static uint8_t large[20 * BLOCK];
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", i);
        scratch_join(directory, *state, name);
        (void)make_log_cut_in_a_roll(directory);
        struct wal_options options = small(WAL_NO_THREADS);
        options.batch_bytes_max = 32 * BLOCK;
        struct fault_io *disk = fault_disk(directory);
        fault_io_arm(disk, rules[i]);
        struct wal *log = NULL;
        struct wal_verdict verdict;
        int result = wal_open_io(fault_io_disk(disk), &options, &log, &verdict);
        assert_true(result == 0 || result == WAL_EIO);
        if (result == 0) {
            (void)wal_close(log);
        }
        fault_io_free(disk);
        assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
        assert_true(verdict.kind == WAL_VERDICT_CLEAN || verdict.kind == WAL_VERDICT_TORN);
        const struct wal_record record = {.data = large, .size = sizeof(large), .type = 1, .tag = 1};
        const struct wal_append append = {.records = &record, .record_count = 1};
        assert_int_equal(wal_commit(log, &append, NULL), 0);
        assert_int_equal(wal_close(log), 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_segment_missing_in_the_middle, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_verify_counts_missing_segments, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_verify_describes_the_first_damage, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_first_segment_missing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_missing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_missing_before_ready_ones, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_segment_renamed, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_two_segments_swapped, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_newest_swapped_with_the_one_before, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_renamed, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_segment_of_another_log, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_of_another_log, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_older_copy_of_a_segment, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_no_segment_has_a_beginning, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_shorter_than_the_caller_knows, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_segment_cut_short, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_a_ready_segment_cut_short_is_made_anew, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_larger_segments_behind_a_cut_roll, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
