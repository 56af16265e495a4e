/* test_promises.c - the promises P1 to P4 of wal.h, of what a crash or damage leaves, each shown on real files, as a
 * user of the log would meet them. P5 to P9 are in test_promises_running.c.
 *
 * The happy path of most tests: a child process makes a log and ends without closing it, which is what kill -9 leaves;
 * the parent does something to the files, opens the log again and looks.
 *
 * What can fail: a promise.
 *
 * Invariants: samples only, so that the parent can tell every record that the child wrote from any other.
 *
 * May include: log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FOUND_MAX = 256 };

/* The last batch on disk, in the newest segment. */
static struct found_batch last_batch(const char *directory, uint64_t *segment_out)
{
    struct found_batch found[FOUND_MAX];
    *segment_out = scratch_newest(directory);
    assert_true(*segment_out != 0);
    size_t count = scratch_batches(directory, *segment_out, found, FOUND_MAX);
    assert_true(count > 0);
    return found[count - 1];
}

/* --- P1 ------------------------------------------------------------------------------------------ */

static void commit_for_ever(const char *directory, enum wal_backend backend, int pipe_end)
{
    struct wal_options options = small(WAL_CREATE);
    options.backend = backend;
    struct wal *log = NULL;
    must(wal_open(directory, &options, &log, NULL));
    for (uint32_t turn = 0;; turn++) {
        must(sample_commit(log, 1 + turn % 5));
        uint64_t acknowledged = wal_durable_index(log);
        if (write(pipe_end, &acknowledged, sizeof(acknowledged)) != sizeof(acknowledged)) {
            _exit(3);
        }
    }
}

static void kill_once(const char *directory, enum wal_backend backend, uint64_t acknowledgements)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        commit_for_ever(directory, backend, ends[1]);
    }
    (void)close(ends[1]);
    uint64_t acknowledged = 0;
    uint64_t one;
    for (uint64_t i = 0; i < acknowledgements && read(ends[0], &one, sizeof(one)) == sizeof(one); i++) {
        acknowledged = one;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    while (read(ends[0], &one, sizeof(one)) == sizeof(one)) {
        acknowledged = one;
    }
    (void)close(ends[0]);
    assert_true(WIFSIGNALED(status));

    struct wal_verdict verdict;
    struct wal *log = open_log(directory, 0, &verdict);
    assert_true(verdict.kind == WAL_VERDICT_CLEAN || verdict.kind == WAL_VERDICT_TORN);
    assert_true(acknowledged > 0);
    assert_true(wal_last_index(log) >= acknowledged);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    assert_int_equal(wal_close(log), 0);
}

static void test_p1_acknowledged_survives_kill(void **state)
{
    for (uint64_t round = 1; round <= 8; round++) {
        kill_once(*state, round % 2 == 0 ? WAL_BACKEND_POSIX : WAL_BACKEND_AUTO, 20 * round + round % 3);
    }
}

/* --- P2 ------------------------------------------------------------------------------------------ */

static void nine_and_a_long_one(struct wal *log)
{
    for (int i = 0; i < 9; i++) {
        must(sample_commit(log, 1));
    }
    must(sample_commit(log, 64));
}

static void commit_tag(struct wal *log, uint64_t tag)
{
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record = sample_record(tag, buffer);
    struct wal_append append = {.records = &record, .record_count = 1};
    assert_int_equal(wal_commit(log, &append, NULL), 0);
}

/* Bytes [from, from + bytes) of the last batch, three blocks long, never reached the disk. The rest of it stays there.
 */
static void tail_is_cut_for_good(const char *directory, uint64_t from, size_t bytes)
{
    in_child(nine_and_a_long_one, directory);
    uint64_t segment;
    struct found_batch last = last_batch(directory, &segment);
    assert_int_equal(last.head.first_index, 10);
    assert_true(last.padded_bytes >= 3 * BLOCK);
    scratch_zero(directory, segment, last.offset + from, bytes);

    struct wal_verdict verdict;
    struct wal *log = open_log(directory, WAL_READ_ONLY, &verdict);
    assert_int_equal(verdict.kind, WAL_VERDICT_TORN);
    assert_true(sample_range_is_right(log, 1, 9));
    assert_int_equal(wal_close(log), 0);
    for (uint64_t round = 0; round < 3; round++) {
        log = open_log(directory, WAL_NO_THREADS, &verdict);
        assert_int_equal(verdict.kind, round == 0 ? WAL_VERDICT_TORN : WAL_VERDICT_CLEAN);
        assert_int_equal(wal_last_index(log), 9 + round);
        commit_tag(log, 1000 + round);
        assert_int_equal(wal_close(log), 0);
    }
    log = open_log(directory, 0, &verdict);
    for (uint64_t index = 1; index <= 12; index++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record;
        assert_int_equal(wal_read(log, index, buffer, sizeof(buffer), &record), 0);
        assert_int_equal(record.tag, index < 10 ? index : 990 + index);
        assert_true(sample_is_right(&record));
    }
    assert_int_equal(wal_last_index(log), 12);
    assert_int_equal(wal_close(log), 0);
}

static void test_p2_lost_batch_never_comes_back(void **state)
{
    tail_is_cut_for_good(*state, 0, 2 * BLOCK);
}

static void test_p2_headless_batch_never_comes_back(void **state)
{
    tail_is_cut_for_good(*state, 0, FORMAT_SECTOR_BYTES);
}

static void test_p2_batch_with_a_hole_never_comes_back(void **state)
{
    tail_is_cut_for_good(*state, BLOCK, BLOCK);
}

/* --- P3 ------------------------------------------------------------------------------------------ */

static void metadata_then_both(struct wal *log)
{
    must(sample_commit(log, 3));
    struct wal_append append = {.flags = WAL_APPEND_METADATA, .metadata = "term 1", .metadata_bytes = 6};
    must(wal_commit(log, &append, NULL));
    uint8_t buffers[40][SAMPLE_BYTES_MAX];
    struct wal_record records[40];
    for (uint64_t i = 0; i < 40; i++) {
        records[i] = sample_record(3 + i, buffers[i]);
    }
    append = (struct wal_append){.records = records,
                                 .record_count = 40,
                                 .flags = WAL_APPEND_METADATA | WAL_APPEND_TRUNCATE,
                                 .first_index = 3,
                                 .metadata = "term 2 is longer",
                                 .metadata_bytes = 16};
    must(wal_commit(log, &append, NULL));
}

static void expect_metadata(struct wal *log, const char *text)
{
    char buffer[WAL_METADATA_BYTES_MAX];
    size_t bytes = 0;
    assert_int_equal(wal_metadata(log, buffer, sizeof(buffer), &bytes), 0);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(buffer, text, bytes);
}

/* A truncation, forty records and metadata in one append: with any one sector of it missing, nothing of it is there. */
static void test_p3_append_is_atomic(void **state)
{
    char whole[SCRATCH_PATH_BYTES];
    char torn[SCRATCH_PATH_BYTES];
    scratch_join(whole, *state, "whole");
    scratch_join(torn, *state, "torn");
    in_child(metadata_then_both, whole);
    uint64_t segment;
    struct found_batch last = last_batch(whole, &segment);
    assert_int_equal(last.head.record_count, 40);
    uint64_t used = last.head.used_bytes;
    for (uint64_t sector = 0; sector * FORMAT_SECTOR_BYTES < used; sector++) {
        scratch_copy(whole, torn);
        scratch_zero(torn, segment, last.offset + sector * FORMAT_SECTOR_BYTES, FORMAT_SECTOR_BYTES);
        struct wal_verdict verdict;
        struct wal *log = open_log(torn, WAL_NO_THREADS, &verdict);
        assert_int_equal(verdict.kind, WAL_VERDICT_TORN);
        assert_true(sample_range_is_right(log, 1, 3));
        expect_metadata(log, "term 1");
        assert_int_equal(wal_close(log), 0);
        scratch_remove(torn);
    }
    struct wal *log = open_log(whole, WAL_NO_THREADS, NULL);
    assert_true(sample_range_is_right(log, 1, 42));
    expect_metadata(log, "term 2 is longer");
    assert_int_equal(wal_close(log), 0);
}

/* --- P4 ------------------------------------------------------------------------------------------ */

static struct wal_verdict refused(const char *directory, uint32_t flags, int wanted)
{
    struct wal_options options = small(flags);
    return expect_refused(directory, &options, wanted);
}

static void expect_corrupt_at(const struct wal_verdict *verdict, const struct found_batch *batch)
{
    assert_int_equal(verdict->kind, WAL_VERDICT_CORRUPT);
    assert_int_equal(verdict->row, 6);
    assert_int_equal(verdict->batch, batch->head.number);
    assert_int_equal(verdict->segment, batch->head.segment);
    assert_int_equal(verdict->offset, batch->offset);
    assert_int_equal(verdict->index, batch->head.first_index);
    assert_true(verdict->mark >= verdict->batch);
    assert_int_equal(verdict->last_index, batch->head.first_index - 1);
    assert_false(verdict->accepted);
}

static void both_sides_read(const char *directory, uint64_t lost, uint64_t last)
{
    uint64_t before = scratch_digest(directory);
    struct wal_verdict verdict;
    struct wal *log = open_log(directory, WAL_READ_ONLY, &verdict);
    assert_int_equal(verdict.kind, WAL_VERDICT_CORRUPT);
    for (uint64_t index = 1; index <= last; index++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record = {0};
        int result = wal_read(log, index, buffer, sizeof(buffer), &record);
        assert_int_equal(result, index == lost ? WAL_ECORRUPT : 0);
        assert_true(index == lost || (record.tag == index && sample_is_right(&record)));
    }
    assert_true(verdict.hole_count >= 1);
    assert_int_equal(verdict.holes[0].first_index, lost);
    assert_int_equal(verdict.holes[0].end_index, lost + 1);
    assert_int_equal(verdict.holes[0].tag_before, lost - 1);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(report.bad_records, 1);
    assert_int_equal(report.first_bad.first_index, lost);
    assert_int_equal(wal_close(log), 0);
    assert_true(scratch_digest(directory) == before);
}

enum { HEAD_ZERO, HEAD_BYTE, RECORD_BYTE, DAMAGES };

static void damage(const char *directory, const struct found_batch *batch, int how)
{
    switch (how) {
    case HEAD_ZERO:
        scratch_zero(directory, batch->head.segment, batch->offset, FORMAT_SECTOR_BYTES);
        break;
    case HEAD_BYTE:
        scratch_flip(directory, batch->head.segment, batch->offset + 40, 1);
        break;
    default:
        scratch_flip(directory, batch->head.segment, batch->offset + batch->head.head_bytes + 3, 0x80);
    }
}

static void damage_is_told(const char *directory, void (*work)(struct wal *log), uint64_t lost)
{
    char damaged[SCRATCH_PATH_BYTES];
    char whole[SCRATCH_PATH_BYTES];
    scratch_join(damaged, directory, "damaged");
    scratch_join(whole, directory, "whole");
    in_child(work, whole);
    struct found_batch batch = batch_of(whole, lost);
    for (int how = 0; how < DAMAGES; how++) {
        scratch_copy(whole, damaged);
        damage(damaged, &batch, how);
        struct wal_verdict verdict = refused(damaged, 0, WAL_ECORRUPT);
        expect_corrupt_at(&verdict, &batch);
        verdict = refused(damaged, WAL_ACCEPT_UNCERTAIN, WAL_ECORRUPT);
        both_sides_read(damaged, lost, 10);
        scratch_remove(damaged);
    }
}

static void test_p4_damage_in_a_crashed_log(void **state)
{
    damage_is_told(*state, ten_commits, 5);
}

static void test_p4_damage_in_a_closed_log(void **state)
{
    damage_is_told(*state, ten_commits_and_close, 5);
}

static void test_p4_damage_to_the_last_batch_of_a_closed_log(void **state)
{
    damage_is_told(*state, ten_commits_and_close, 10);
}

/* An accepted cut leaves a doubt, until an append clears it. */
static void doubt_stays(const char *directory, uint32_t accept, uint64_t doubt)
{
    struct wal_verdict verdict;
    struct wal_options options = small(accept | WAL_NO_THREADS);
    options.accept_metadata = "vote nobody";
    options.accept_metadata_bytes = 11;
    struct wal *log = NULL;
    assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
    assert_true(verdict.accepted);
    assert_int_equal(verdict.doubt_index, doubt);
    for (uint64_t round = 0; round < 3; round++) {
        assert_int_equal(wal_doubt(log), doubt);
        assert_int_equal(wal_last_index(log), doubt - 1 + round);
        assert_true(sample_range_is_right(log, 1, doubt - 1 + round));
        expect_metadata(log, "vote nobody");
        assert_int_equal(sample_commit(log, 1), 0);
        assert_int_equal(wal_close(log), 0);
        log = open_log(directory, WAL_NO_THREADS, &verdict);
        assert_int_equal(verdict.kind, WAL_VERDICT_CLEAN);
        assert_int_equal(verdict.doubt_index, doubt);
    }
    struct wal_append clear = {.flags = WAL_APPEND_CLEAR_DOUBT};
    assert_int_equal(wal_commit(log, &clear, NULL), 0);
    assert_int_equal(wal_doubt(log), 0);
    assert_int_equal(wal_close(log), 0);
    log = open_log(directory, WAL_NO_THREADS, &verdict);
    assert_int_equal(verdict.doubt_index, 0);
    assert_int_equal(wal_doubt(log), 0);
    assert_true(sample_range_is_right(log, 1, doubt + 2));
    assert_int_equal(wal_close(log), 0);
}

static void test_p4_accepted_corruption_leaves_a_doubt(void **state)
{
    in_child(ten_commits, *state);
    struct found_batch batch = batch_of(*state, 5);
    damage(*state, &batch, HEAD_ZERO);
    doubt_stays(*state, WAL_ACCEPT_CORRUPT, 5);
}

/* Bytes that are neither zero nor a batch, where the file was zero: the last commit may have been acknowledged. */
static void test_p4_unreadable_end_is_uncertain(void **state)
{
    in_child(ten_commits, *state);
    struct found_batch batch = batch_of(*state, 10);
    damage(*state, &batch, HEAD_BYTE);
    struct wal_verdict verdict = refused(*state, 0, WAL_EUNCERTAIN);
    assert_int_equal(verdict.kind, WAL_VERDICT_UNCERTAIN);
    assert_int_equal(verdict.row, 9);
    assert_int_equal(verdict.offset, batch.offset);
    assert_int_equal(verdict.index, 10);
    assert_int_equal(verdict.last_index, 9);
    assert_true(verdict.old_content_known);
    assert_true(verdict.concerned_batches >= 1);
    verdict = refused(*state, WAL_ACCEPT_CORRUPT, WAL_EUNCERTAIN);
    doubt_stays(*state, WAL_ACCEPT_UNCERTAIN, 10);
}

/* A closed log of several segments: whichever sector is damaged, nothing is missing without a word, and no wrong byte
 * is data. */
static void test_p4_damage_anywhere_is_told(void **state)
{
    enum { RECORDS = 30 };
    const char *directory = *state;
    make_log(directory, RECORDS);
    uint64_t newest = scratch_newest(directory);
    assert_true(newest >= 3);
    uint64_t told = 0;
    for (uint64_t sector = 0; sector < newest * 16 * BLOCK / FORMAT_SECTOR_BYTES; sector++) {
        uint64_t segment = 1 + sector / (16 * BLOCK / FORMAT_SECTOR_BYTES);
        uint64_t offset = sector % (16 * BLOCK / FORMAT_SECTOR_BYTES) * FORMAT_SECTOR_BYTES + 100 + sector % 37;
        scratch_flip(directory, segment, offset, 4);
        struct wal_verdict verdict;
        struct wal *log = open_log(directory, WAL_READ_ONLY, &verdict);
        bool suspected = verdict.kind == WAL_VERDICT_CORRUPT || verdict.kind == WAL_VERDICT_UNCERTAIN;
        for (uint64_t index = 1; index <= RECORDS; index++) {
            uint8_t buffer[SAMPLE_BYTES_MAX];
            struct wal_record record = {0};
            int result = wal_read(log, index, buffer, sizeof(buffer), &record);
            assert_true(result == WAL_ECORRUPT || (result == WAL_EBEYOND && suspected) ||
                        (result == 0 && record.tag == index && sample_is_right(&record)));
            told += result != 0;
        }
        assert_true(suspected || (wal_first_index(log) == 1 && wal_last_index(log) == RECORDS));
        assert_int_equal(wal_close(log), 0);
        scratch_flip(directory, segment, offset, 4);
    }
    assert_true(told >= RECORDS / 2);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_p1_acknowledged_survives_kill, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p2_lost_batch_never_comes_back, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p2_headless_batch_never_comes_back, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p2_batch_with_a_hole_never_comes_back, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p3_append_is_atomic, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_in_a_crashed_log, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_in_a_closed_log, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_to_the_last_batch_of_a_closed_log, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_accepted_corruption_leaves_a_doubt, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_unreadable_end_is_uncertain, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_anywhere_is_told, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
