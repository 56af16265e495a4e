/* test_accept.c - what a loss leaves once it is accepted: nothing that was removed is given out as certain, nothing
 * that is acknowledged afterwards is lost again, and no more is cut than must be.
 *
 * The happy path of a test: a log is made, one block of it is destroyed or its newest file, and it is opened read only,
 * refused, accepted, used, and opened again. Other changes of whole files are in test_accept_files.c.
 *
 * What can fail: an expectation. Invariants: those of accept_fixture.h.
 *
 * May include: accept_fixture.h. */

#define _GNU_SOURCE
#include "tests/accept_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- doubts -------------------------------------------------------------------------------------- */

/* A later run, readable behind the damage, had truncated below it. */
static void test_doubt_reaches_down_to_a_truncation_of_a_later_run(void **state)
{
    struct model model;
    model_start(&model, *state, 64);
    model_open(&model);
    model_put(&model, 1, 8, 10);
    model_put(&model, 9, 1, 10);
    model_put(&model, 10, 1, 10);
    struct wal_place place = model_place(&model, 9);
    model_close(&model);
    model_open(&model);
    model_put(&model, 4, 3, 10);
    model_close(&model);
    model_destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    assert_int_equal(wal_doubt(model.log), 4);
    expect_usable(&model);
}

static void append_ten_and_truncate(struct wal *log)
{
    struct model model = {.log = log, .next_index = 1, .next_tag = 100};
    model_put(&model, 1, 10, 10);
    model_put(&model, 4, 2, 10);
}

/* The truncation itself is what is lost; an anchor behind it shows that there was one. */
static void test_doubt_covers_a_truncation_that_is_lost(void **state)
{
    struct model model;
    model_start(&model, *state, 64);
    in_child(append_ten_and_truncate, *state);
    model.tags[1] = 100;
    model.tags[2] = 101;
    model.tags[3] = 102;
    model.tags[4] = 110;
    model.tags[5] = 111;
    model.next_index = 6;
    model_open(&model);
    struct wal_place place = model_place(&model, 4);
    model_close(&model);
    model_open(&model);
    model_close(&model);
    model_destroy_block(&model, place);
    expect_no_stale_record_read_only(&model);
    assert_true(model.verdict.index_unknown);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* An older segment does not join; the newest one has truncated into it. */
static void test_doubt_covers_truncations_in_segments_behind_the_cut(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    model_put(&model, 1, 8, 10);
    model_put(&model, 9, 1, 40000);
    struct wal_place place = model_place(&model, 9);
    model_put(&model, 10, 1, 20000);
    model_put(&model, 4, 3, 10);
    model_close(&model);
    model_destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* --- cuts in front of the start ------------------------------------------------------------------- */

static void test_a_cut_in_front_of_the_start_leaves_an_empty_log_at_the_start(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    for (uint64_t index = 1; index <= 3; index++) {
        model_put(&model, index, 1, 100);
    }
    model_put(&model, 4, 9, 3900);
    struct wal_place place = model_place(&model, 4);
    for (uint64_t index = 13; index <= 15; index++) {
        model_put(&model, index, 1, 3000);
    }
    model_truncate_prefix(&model, 8);
    model_close(&model);
    model_destroy_block(&model, place);
    expect_no_stale_record_read_only(&model);
    accept_and_expect_doubt(&model);
    assert_int_equal(wal_first_index(model.log), 8);
    assert_int_equal(wal_last_index(model.log), 7);
    expect_usable(&model);
}

/* The damaged block holds a record that was removed; the START behind it says that nothing before counts. */
static void test_damage_in_front_of_a_start_does_not_hide_the_log(void **state)
{
    struct model model;
    char buffer[300];
    struct wal_record record;
    model_start(&model, *state, 16);
    model_open(&model);
    while (model.next_index < 41) {
        model_put(&model, model.next_index, 1, 3000);
    }
    do {
        model_put(&model, model.next_index, 1, 3000);
    } while (model_place(&model, model.next_index - 1).offset >= 4 * BLOCK);
    uint64_t damaged = model.next_index;
    for (unsigned i = 0; i < 3; i++) {
        model_put(&model, model.next_index, 1, 100);
    }
    struct wal_place place = model_place(&model, damaged);
    model_truncate_prefix(&model, model.next_index - 1);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(wal_maintain(model.log, WAL_MAINTAIN_PREPARE, NULL), 0); /* Recycles what lies below. */
    }
    model_put(&model, model.next_index, 1, 100);
    model_put(&model, model.next_index, 1, 100);
    uint64_t first = wal_first_index(model.log);
    model_close(&model);
    model_destroy_block(&model, place);
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(*state, &options, &model.log, &model.verdict), 0);
    assert_int_equal(model.verdict.kind, WAL_VERDICT_CORRUPT);
    assert_int_equal(wal_first_index(model.log), first);
    for (uint64_t index = first; index < model.next_index; index++) {
        assert_int_equal(wal_read(model.log, index, buffer, sizeof(buffer), &record), 0);
        assert_true(model_holds(&model, index, &record));
    }
    model_close(&model);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* --- a loss behind a close ------------------------------------------------------------------------ */

/* Goes on in that log in a child, which is killed. */
static void put_and_die(struct model *model, unsigned count)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        must(wal_open(model->directory, &model->options, &model->log, &model->verdict));
        for (unsigned i = 0; i < count; i++) {
            const struct wal_record record = {.data = "x", .size = 1, .type = 1};
            must(wal_commit(model->log, &(struct wal_append){.records = &record, .record_count = 1}, NULL));
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The run behind the close has lost its anchor, and is longer than what an open looks at behind a close. */
static void test_a_loss_behind_a_close_is_accepted_once(void **state)
{
    struct model model;
    model_start(&model, *state, 64);
    model.options.batch_bytes_max = 4 * BLOCK;
    model_open(&model);
    model_put(&model, 1, 1, 10);
    struct wal_place place = model_place(&model, 1);
    model_close(&model); /* The CLOSE is in the next block, then comes the anchor. */
    put_and_die(&model, 40);
    place.offset += 2 * BLOCK;
    model_destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    assert_int_equal(wal_last_index(model.log), 1);
    model_close(&model);
    put_and_die(&model, 5);
    model_open(&model);
    assert_int_equal(wal_last_index(model.log), 6);
    model_close(&model);
}

/* --- a second accept ----------------------------------------------------------------------------- */

/* The last record of some segment at or behind this index. */
static struct wal_place last_of_segment(struct model *model, uint64_t index)
{
    while (model_place(model, index + 1).segment == model_place(model, index).segment) {
        index++;
    }
    return model_place(model, index);
}

static void test_a_second_accept_cuts_no_more_than_it_must(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    while (model.next_index <= 40) {
        model_put(&model, model.next_index, 1, 9000);
    }
    struct wal_place place = last_of_segment(&model, 10);
    model_close(&model);
    model_destroy_block(&model, place);
    accept_and_expect_doubt(&model); /* A gap in the numbers of segments. */
    model.next_index = wal_last_index(model.log) + 1;
    uint64_t first_end = model.next_index;
    while (model.next_index <= first_end + 30) {
        model_put(&model, model.next_index, 1, 9000);
    }
    place = last_of_segment(&model, first_end + 15);
    model_close(&model);
    model_destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    assert_true(wal_last_index(model.log) >= first_end + 10);
    expect_usable(&model);
}

/* --- accepted, and killed ------------------------------------------------------------------------- */

/* A log of some segments, the newest of which cannot be gone on in: its opening anchor is lost, or its file. */
static void make_log_without_newest(struct model *model, const char *directory, bool vanished)
{
    char path[SCRATCH_PATH_BYTES];
    model_start(model, directory, 16);
    model_open(model);
    while (model->next_index <= 20) {
        model_put(model, model->next_index, 1, 9000);
    }
    uint64_t newest = model_place(model, 20).segment;
    model_close(model);
    for (uint64_t number = newest; vanished && number < newest + 4; number++) {
        model_file(model, number, path);
        (void)unlink(path);
    }
    if (!vanished) {
        model_destroy_block(model, (struct wal_place){.segment = newest, .offset = BLOCK});
    }
}

/* Accepts the loss on a disk that ends the open at its first durable write: the forced anchor's. */
static void accept_and_die(struct model *model, uint64_t segment_bytes, uint32_t flags)
{
    struct fault_io *disk = fault_disk(model->directory);
    struct wal_options options = model->options;
    struct wal *log = NULL;
    options.segment_bytes = segment_bytes;
    options.flags = WAL_NO_THREADS | WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN | flags;
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_WRITE_DURABLE, .nth = 1, .error = EIO});
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &model->verdict), WAL_EIO);
    assert_int_equal(fault_io_hits(disk), 1);
    fault_io_free(disk);
}

static void test_a_loss_accepted_and_killed_is_not_forgotten(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        struct model model;
        char directory[SCRATCH_PATH_BYTES];
        char name[16];
        (void)snprintf(name, sizeof(name), "log%u", i);
        scratch_join(directory, *state, name);
        make_log_without_newest(&model, directory, (i & 1) != 0);
        uint32_t zeroed = (i & 4) != 0 ? WAL_ZERO_RECYCLED : 0;
        for (unsigned turn = 0; turn < 2; turn++) {
            accept_and_die(&model, ((i & 2) != 0 ? 32 : 16) * BLOCK, zeroed);
        }
        accept_and_expect_doubt(&model); /* Refused first, as before. */
        expect_usable(&model);
    }
}

/* There is no room for the forced anchor's segment: the log can be read, and nobody is told of an accepted loss. */
static void test_a_loss_on_a_full_disk_is_not_accepted(void **state)
{
    struct model model;
    uint32_t metadata = 77;
    size_t bytes;
    make_log_without_newest(&model, *state, true);
    struct fault_io *disk = fault_disk(*state);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC});
    struct wal_options options = model.options;
    options.flags = WAL_NO_THREADS | WAL_ACCEPT_CORRUPT;
    options.accept_metadata = &metadata;
    options.accept_metadata_bytes = sizeof(metadata);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &model.log, &model.verdict), 0);
    assert_false(model.verdict.accepted);
    assert_int_equal(model.verdict.doubt_index, 0);
    assert_int_equal(wal_doubt(model.log), 0);
    assert_int_equal(wal_metadata(model.log, &metadata, sizeof(metadata), &bytes), WAL_ENOENT);
    model_close(&model);
    fault_io_free(disk);
    accept_and_expect_doubt(&model);
    assert_true(model.verdict.accepted);
    expect_usable(&model);
}

/* --- the largest index --------------------------------------------------------------------------- */

static void test_indexes_end_where_the_header_says(void **state)
{
    struct model model;
    struct wal_receipt receipt;
    const struct wal_record records[2] = {{.data = "x", .size = 1, .type = 1}, {.data = "y", .size = 1, .type = 1}};
    struct wal_append append = {.records = records, .record_count = 2};
    model_start(&model, *state, 64);
    model_open(&model);
    assert_int_equal(wal_reset(model.log, UINT64_MAX, &receipt), WAL_EINDEX);
    assert_int_equal(wal_reset(model.log, WAL_INDEX_MAX + 1, &receipt), WAL_EINDEX);
    assert_int_equal(wal_reset(model.log, WAL_INDEX_MAX, &receipt), 0);
    assert_int_equal(wal_commit(model.log, &append, NULL), WAL_EINDEX);
    append.record_count = 1;
    assert_int_equal(wal_commit(model.log, &append, &receipt), 0);
    assert_true(receipt.first_index == WAL_INDEX_MAX);
    assert_int_equal(wal_commit(model.log, &append, NULL), WAL_EINDEX);
    model_close(&model);
    model_open(&model);
    assert_true(wal_last_index(model.log) == WAL_INDEX_MAX && wal_first_index(model.log) == WAL_INDEX_MAX);
    assert_int_equal(wal_truncate_prefix(model.log, WAL_INDEX_MAX + 1, &receipt), 0);
    model_close(&model);
}

/* --- what a reader sees behind damage ------------------------------------------------------------ */

/* Each commit has metadata of its own: a reader of the damaged log gets that of the last one, behind the damage. */
static void test_a_reader_gets_the_newest_metadata_behind_damage(void **state)
{
    struct model model;
    model_start(&model, *state, 64);
    model_open(&model);
    for (unsigned i = 1; i <= 6; i++) {
        struct wal_record record = {.data = "x", .size = 1, .type = 1, .tag = i};
        struct wal_append append = {.records = &record,
                                    .record_count = 1,
                                    .flags = WAL_APPEND_METADATA,
                                    .metadata = &i,
                                    .metadata_bytes = sizeof(i)};
        assert_int_equal(wal_commit(model.log, &append, NULL), 0);
    }
    struct wal_place place = model_place(&model, 3);
    model_close(&model);
    model_destroy_block(&model, place);
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(*state, &options, &model.log, &model.verdict), 0);
    assert_int_equal(model.verdict.kind, WAL_VERDICT_CORRUPT);
    unsigned found = 0;
    size_t bytes;
    assert_int_equal(wal_metadata(model.log, &found, sizeof(found), &bytes), 0);
    assert_int_equal(found, 6);
    assert_int_equal(wal_durable_index(model.log), 6);
    model_close(&model);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_doubt_reaches_down_to_a_truncation_of_a_later_run),
        TEST(test_doubt_covers_a_truncation_that_is_lost),
        TEST(test_doubt_covers_truncations_in_segments_behind_the_cut),
        TEST(test_a_cut_in_front_of_the_start_leaves_an_empty_log_at_the_start),
        TEST(test_damage_in_front_of_a_start_does_not_hide_the_log),
        TEST(test_a_loss_behind_a_close_is_accepted_once),
        TEST(test_a_second_accept_cuts_no_more_than_it_must),
        TEST(test_a_loss_accepted_and_killed_is_not_forgotten),
        TEST(test_a_loss_on_a_full_disk_is_not_accepted),
        TEST(test_a_reader_gets_the_newest_metadata_behind_damage),
        TEST(test_indexes_end_where_the_header_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
