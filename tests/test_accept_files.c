/* test_accept_files.c - what a loss leaves once it is accepted, where it is one of files: a stray one, the identity of
 * another, a newest one that is empty, zero or short; and a log of more files than there are descriptors.
 *
 * The happy path of a test: a log is made, its files are changed from outside, and it is opened read only, refused,
 * accepted, used, and opened again. Losses within a file are in test_accept.c.
 *
 * What can fail: an expectation. Invariants: those of accept_fixture.h.
 *
 * May include: accept_fixture.h. */

#define _GNU_SOURCE
#include "tests/accept_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- stray files --------------------------------------------------------------------------------- */

/* A copy of some segment under a name behind the newest one, as a careless restore leaves it. */
static void add_stray(const struct model *model, uint64_t segment, uint64_t name)
{
    char from[SCRATCH_PATH_BYTES];
    char to[SCRATCH_PATH_BYTES];
    static char bytes[64 * BLOCK];
    model_file(model, segment, from);
    model_file(model, name, to);
    FILE *in = fopen(from, "re");
    FILE *out = fopen(to, "we");
    assert_true(in != NULL && out != NULL);
    size_t size = fread(bytes, 1, sizeof(bytes), in);
    assert_true(size != 0 && fwrite(bytes, 1, size, out) == size);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

/* All that the log holds is what the model holds, to the last record. */
static void expect_exactly(struct model *model)
{
    static char buffer[PAYLOAD_BYTES_MAX];
    struct wal_record record;
    assert_int_equal(wal_last_index(model->log), model->next_index - 1);
    for (uint64_t index = wal_first_index(model->log); index < model->next_index; index++) {
        assert_int_equal(wal_read(model->log, index, buffer, sizeof(buffer), &record), 0);
        assert_true(model_holds(model, index, &record));
    }
}

/* A log in which an accepted loss has left a segment dead that joins the one before it: its file was away then. */
static uint64_t make_log_with_dead_segment(struct model *model, const char *directory)
{
    char path[SCRATCH_PATH_BYTES];
    char away[SCRATCH_PATH_BYTES];
    model_start(model, directory, 16);
    model_open(model);
    while (model->next_index <= 30) {
        model_put(model, model->next_index, 1, 9000);
    }
    uint64_t missing = model_place(model, 24).segment;
    model_close(model);
    model_file(model, missing, path);
    scratch_join(away, directory, "away.tmp");
    assert_int_equal(rename(path, away), 0);
    accept_and_expect_doubt(model);
    model->next_index = wal_last_index(model->log) + 1;
    model_put(model, model->next_index, 1, 10);
    uint64_t newest = model_place(model, model->next_index - 1).segment;
    model_close(model);
    assert_int_equal(rename(away, path), 0);
    return newest;
}

static void test_a_stray_file_brings_nothing_back_and_costs_nothing(void **state)
{
    struct model model;
    uint64_t newest = make_log_with_dead_segment(&model, *state);
    add_stray(&model, 2, newest + 5);
    accept_and_expect_doubt(&model);
    expect_exactly(&model);
    model_close(&model);
}

static void test_a_stray_file_behind_the_only_segment_costs_nothing(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    model_put(&model, 1, 3, 10);
    model_close(&model);
    add_stray(&model, 1, 7);
    accept_and_expect_doubt(&model);
    expect_exactly(&model);
    model_close(&model);
}

/* What was wrong is behind the log from then on, the stray file too. */
static void test_a_stray_file_is_accepted_once(void **state)
{
    struct model model;
    uint64_t newest = make_log_with_dead_segment(&model, *state);
    add_stray(&model, 2, newest + 5);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* The identity of another file has landed on a segment: on the newest, or on one in the middle. */
static void test_an_identity_that_is_anothers_is_accepted_once(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct model model;
        char directory[SCRATCH_PATH_BYTES];
        uint8_t identity[BLOCK];
        scratch_join(directory, *state, i == 0 ? "newest" : "middle");
        model_start(&model, directory, 16);
        model_open(&model);
        while (model.next_index <= 20) {
            model_put(&model, model.next_index, 1, 9000);
        }
        uint64_t segment = model_place(&model, i == 0 ? 20 : 12).segment;
        model_close(&model);
        scratch_read(directory, segment + 1, 0, identity, sizeof(identity));
        scratch_write(directory, segment, 0, identity, sizeof(identity));
        expect_no_stale_record_read_only(&model);
        assert_int_equal(model.verdict.row, 3);
        assert_int_equal(model.verdict.segment, segment);
        accept_and_expect_doubt(&model);
        expect_usable(&model);
    }
}

/* --- few descriptors ------------------------------------------------------------------------------ */

/* A log of many segments, one of which has lost its beginning; the last index in front of that. */
static uint64_t make_long_log(struct model *model, const char *directory)
{
    model_start(model, directory, 16);
    model_open(model);
    while (model->next_index <= 150) {
        model_put(model, model->next_index, 1, 9000);
    }
    uint64_t segment = model_place(model, 120).segment;
    uint64_t last = 120;
    while (model_place(model, last).segment == segment) {
        last--;
    }
    model_close(model);
    model_destroy_block(model, (struct wal_place){.segment = segment, .offset = BLOCK});
    return last;
}

static void accept_with_few_descriptors(const char *directory, uint64_t last)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal *log;
    options.flags = WAL_NO_THREADS | WAL_ACCEPT_CORRUPT;
    options.segment_bytes = 16 * BLOCK;
    const struct rlimit limit = {24, 24};
    must(setrlimit(RLIMIT_NOFILE, &limit));
    must(wal_open(directory, &options, &log, NULL));
    must(wal_last_index(log) == last ? 0 : -1);
    must(wal_close(log));
}

static void test_few_descriptors_cost_no_records(void **state)
{
    struct model model;
    uint64_t last = make_long_log(&model, *state);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        accept_with_few_descriptors(*state, last);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- whole files --------------------------------------------------------------------------------- */

static uint64_t make_rolled_log(struct model *model, const char *directory)
{
    model_start(model, directory, 24);
    model_open(model);
    while (model->next_index <= 50) {
        model_put(model, model->next_index, 1, 3000);
    }
    uint64_t newest = model_place(model, 50).segment;
    model_truncate_prefix(model, 48);
    model_close(model);
    return newest;
}

static void expect_uncertain_and_cured(struct model *model)
{
    expect_no_stale_record_read_only(model);
    assert_int_equal(model->verdict.kind, WAL_VERDICT_UNCERTAIN);
    accept_and_expect_doubt(model);
    expect_usable(model);
}

static void test_a_newest_file_without_content_is_no_torn_end(void **state)
{
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        char directory[SCRATCH_PATH_BYTES];
        char path[SCRATCH_PATH_BYTES];
        struct model model;
        scratch_join(directory, *state, zeroed ? "zeroed" : "emptied");
        uint64_t newest = make_rolled_log(&model, directory);
        model_file(&model, newest, path);
        assert_int_equal(truncate(path, 0), 0);
        if (zeroed) {
            assert_int_equal(truncate(path, 24 * BLOCK), 0);
        }
        memset(model.tags, 0, sizeof(model.tags)); /* All of it is lost, and what comes back is in doubt. */
        model.next_index = 1;
        struct wal_options options = WAL_OPTIONS_INIT;
        options.flags = WAL_READ_ONLY;
        assert_int_equal(wal_open(directory, &options, &model.log, &model.verdict), 0);
        assert_int_equal(model.verdict.kind, WAL_VERDICT_UNCERTAIN);
        model_close(&model);
        accept_and_expect_doubt(&model);
        expect_usable(&model);
    }
}

static void test_a_newest_file_that_is_short_is_accepted_once(void **state)
{
    struct model model;
    char path[SCRATCH_PATH_BYTES];
    uint64_t newest = make_rolled_log(&model, *state);
    model_file(&model, newest, path);
    assert_int_equal(truncate(path, 10 * BLOCK), 0);
    expect_uncertain_and_cured(&model);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 24 * BLOCK);
}

/* Without its identity the newest file tells no size; but no segment has fewer than 16 blocks. */
static void test_a_newest_file_without_identity_and_end_is_no_clean_end(void **state)
{
    static const off_t left[] = {BLOCK + 512, 2 * BLOCK, 15 * BLOCK};
    for (unsigned i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        char directory[SCRATCH_PATH_BYTES];
        char path[SCRATCH_PATH_BYTES];
        char name[16];
        struct model model;
        (void)snprintf(name, sizeof(name), "log%u", i);
        scratch_join(directory, *state, name);
        uint64_t newest = make_rolled_log(&model, directory);
        model_file(&model, newest, path);
        model_destroy_block(&model, (struct wal_place){.segment = newest, .offset = 0});
        assert_int_equal(truncate(path, left[i]), 0);
        struct wal_options options = WAL_OPTIONS_INIT;
        options.flags = WAL_READ_ONLY;
        assert_int_equal(wal_open(directory, &options, &model.log, &model.verdict), 0);
        assert_true(model.verdict.kind == WAL_VERDICT_UNCERTAIN || model.verdict.kind == WAL_VERDICT_CORRUPT);
        model_close(&model);
        accept_and_expect_doubt(&model);
        expect_usable(&model);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_stray_file_brings_nothing_back_and_costs_nothing),
        TEST(test_a_stray_file_behind_the_only_segment_costs_nothing),
        TEST(test_an_identity_that_is_anothers_is_accepted_once),
        TEST(test_a_stray_file_is_accepted_once),
        TEST(test_few_descriptors_cost_no_records),
        TEST(test_a_newest_file_without_content_is_no_torn_end),
        TEST(test_a_newest_file_that_is_short_is_accepted_once),
        TEST(test_a_newest_file_without_identity_and_end_is_no_clean_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
