/* test_accept.c - what a loss leaves once it is accepted: nothing that was removed is given out as certain, nothing
 * that is acknowledged afterwards is lost again, and no more is cut than must be.
 *
 * Each log is made, one block or file of it is destroyed, and it is opened read only, refused, accepted, used, and
 * opened again. Every record carries a tag of its own, so a stale one is told from the one that took its index.
 *
 * May include: log_fixture.h. */

#define _GNU_SOURCE
#include "tests/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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

static void model_start(struct model *model, const char *directory, uint32_t blocks)
{
    *model = (struct model){.directory = directory, .next_index = 1, .next_tag = 100, .options = WAL_OPTIONS_INIT};
    model->options.flags = WAL_CREATE | WAL_NO_THREADS;
    model->options.segment_bytes = (uint64_t)blocks * BLOCK;
}

static void model_open(struct model *model)
{
    assert_int_equal(wal_open(model->directory, &model->options, &model->log, &model->verdict), 0);
}

static void model_close(struct model *model)
{
    assert_int_equal(wal_close(model->log), 0);
}

/* One commit of so many records at this index; what stood from there on is truncated. */
static void put(struct model *model, uint64_t index, unsigned count, uint32_t size)
{
    static const char bytes[PAYLOAD_BYTES_MAX];
    struct wal_record records[16];
    struct wal_append append = {.records = records, .record_count = count};
    for (unsigned i = 0; i < count; i++) {
        model->tags[index + i] = model->next_tag;
        records[i] = (struct wal_record){.data = bytes, .size = size, .type = 1, .tag = model->next_tag++};
    }
    if (index < model->next_index) {
        append.flags = WAL_APPEND_TRUNCATE;
        append.first_index = index;
    }
    for (uint64_t i = index + count; i < model->next_index; i++) {
        model->tags[i] = 0;
    }
    model->next_index = index + count;
    assert_int_equal(wal_commit(model->log, &append, NULL), 0);
}

static struct wal_place place_of(struct model *model, uint64_t index)
{
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_place place;
    assert_int_equal(wal_cursor_open(model->log, index, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(wal_cursor_place(cursor, &place), 0);
    wal_cursor_close(cursor);
    return place;
}

static void file_of(const struct model *model, uint64_t segment, char path[SCRATCH_PATH_BYTES])
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%020llu.wal", (unsigned long long)segment);
    scratch_join(path, model->directory, name);
}

/* The block that holds this place becomes zero. */
static void destroy_block(const struct model *model, struct wal_place place)
{
    static const char zeros[BLOCK];
    char path[SCRATCH_PATH_BYTES];
    file_of(model, place.segment, path);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, zeros, sizeof(zeros), (off_t)(place.offset / BLOCK * BLOCK)), sizeof(zeros));
    close(file);
}

static bool is_right(const struct model *model, uint64_t index, const struct wal_record *record)
{
    return index < model->next_index && record->tag == model->tags[index];
}

/* Read only, what is given out is right, or refused: both sides of the damage. */
static void expect_no_stale_record_read_only(struct model *model)
{
    static char buffer[PAYLOAD_BYTES_MAX];
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal_record record;
    options.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(model->directory, &options, &model->log, &model->verdict), 0);
    for (uint64_t index = wal_first_index(model->log); index <= wal_last_index(model->log); index++) {
        if (wal_read(model->log, index, buffer, sizeof(buffer), &record) == 0 && !is_right(model, index, &record)) {
            fail_msg("read only, index %llu is stale", (unsigned long long)index);
        }
    }
    model_close(model);
}

/* Refused, and accepted; then all that is below the doubt is right. */
static void accept_and_expect_doubt(struct model *model)
{
    static char buffer[PAYLOAD_BYTES_MAX];
    struct wal_record record;
    int status = wal_open(model->directory, &model->options, &model->log, &model->verdict);
    assert_true(status == WAL_ECORRUPT || status == WAL_EUNCERTAIN);
    model->options.flags |= WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN;
    model_open(model);
    model->options.flags &= ~(uint32_t)(WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN);
    uint64_t doubt = wal_doubt(model->log);
    assert_true(doubt != 0 && doubt == model->verdict.doubt_index);
    assert_true(wal_first_index(model->log) <= wal_last_index(model->log) + 1);
    for (uint64_t index = wal_first_index(model->log); index <= wal_last_index(model->log); index++) {
        int read = wal_read(model->log, index, buffer, sizeof(buffer), &record);
        if (read == 0 && !is_right(model, index, &record) && index < doubt) {
            fail_msg("index %llu is stale, and the doubt begins at %llu", (unsigned long long)index,
                     (unsigned long long)doubt);
        }
    }
}

/* What is acknowledged now is there, now and after another opening. */
static void expect_usable(struct model *model)
{
    char buffer[300];
    struct wal_record record;
    uint64_t first = wal_last_index(model->log) + 1;
    model->next_index = first; /* No truncation. */
    for (uint64_t index = first; index < first + 3; index++) {
        put(model, index, 1, 100);
        assert_int_equal(wal_read(model->log, index, buffer, sizeof(buffer), &record), 0);
    }
    model_close(model);
    model_open(model);
    assert_int_equal(model->verdict.kind, WAL_VERDICT_CLEAN);
    for (uint64_t index = first; index < first + 3; index++) {
        assert_int_equal(wal_read(model->log, index, buffer, sizeof(buffer), &record), 0);
        assert_true(is_right(model, index, &record));
    }
    model_close(model);
}

/* --- doubts -------------------------------------------------------------------------------------- */

/* A later run, readable behind the damage, had truncated below it. */
static void test_doubt_reaches_down_to_a_truncation_of_a_later_run(void **state)
{
    struct model model;
    model_start(&model, *state, 64);
    model_open(&model);
    put(&model, 1, 8, 10);
    put(&model, 9, 1, 10);
    put(&model, 10, 1, 10);
    struct wal_place place = place_of(&model, 9);
    model_close(&model);
    model_open(&model);
    put(&model, 4, 3, 10);
    model_close(&model);
    destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    assert_int_equal(wal_doubt(model.log), 4);
    expect_usable(&model);
}

static void append_ten_and_truncate(struct wal *log)
{
    struct model model = {.log = log, .next_index = 1, .next_tag = 100};
    put(&model, 1, 10, 10);
    put(&model, 4, 2, 10);
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
    struct wal_place place = place_of(&model, 4);
    model_close(&model);
    model_open(&model);
    model_close(&model);
    destroy_block(&model, place);
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
    put(&model, 1, 8, 10);
    put(&model, 9, 1, 40000);
    struct wal_place place = place_of(&model, 9);
    put(&model, 10, 1, 20000);
    put(&model, 4, 3, 10);
    model_close(&model);
    destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* --- cuts in front of the start ------------------------------------------------------------------- */

static void truncate_prefix(struct model *model, uint64_t first_kept)
{
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(model->log, first_kept, &receipt), 0);
    assert_int_equal(wal_wait(model->log, receipt.ticket), 0);
}

static void test_a_cut_in_front_of_the_start_leaves_an_empty_log_at_the_start(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    for (uint64_t index = 1; index <= 3; index++) {
        put(&model, index, 1, 100);
    }
    put(&model, 4, 9, 3900);
    struct wal_place place = place_of(&model, 4);
    for (uint64_t index = 13; index <= 15; index++) {
        put(&model, index, 1, 3000);
    }
    truncate_prefix(&model, 8);
    model_close(&model);
    destroy_block(&model, place);
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
        put(&model, model.next_index, 1, 3000);
    }
    do {
        put(&model, model.next_index, 1, 3000);
    } while (place_of(&model, model.next_index - 1).offset >= 4 * BLOCK);
    uint64_t damaged = model.next_index;
    for (unsigned i = 0; i < 3; i++) {
        put(&model, model.next_index, 1, 100);
    }
    struct wal_place place = place_of(&model, damaged);
    truncate_prefix(&model, model.next_index - 1);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(wal_maintain(model.log, WAL_MAINTAIN_PREPARE, NULL), 0); /* Recycles what lies below. */
    }
    put(&model, model.next_index, 1, 100);
    put(&model, model.next_index, 1, 100);
    uint64_t first = wal_first_index(model.log);
    model_close(&model);
    destroy_block(&model, place);
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_READ_ONLY;
    assert_int_equal(wal_open(*state, &options, &model.log, &model.verdict), 0);
    assert_int_equal(model.verdict.kind, WAL_VERDICT_CORRUPT);
    assert_int_equal(wal_first_index(model.log), first);
    for (uint64_t index = first; index < model.next_index; index++) {
        assert_int_equal(wal_read(model.log, index, buffer, sizeof(buffer), &record), 0);
        assert_true(is_right(&model, index, &record));
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
    put(&model, 1, 1, 10);
    struct wal_place place = place_of(&model, 1);
    model_close(&model); /* The CLOSE is in the next block, then comes the anchor. */
    put_and_die(&model, 40);
    place.offset += 2 * BLOCK;
    destroy_block(&model, place);
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
    while (place_of(model, index + 1).segment == place_of(model, index).segment) {
        index++;
    }
    return place_of(model, index);
}

static void test_a_second_accept_cuts_no_more_than_it_must(void **state)
{
    struct model model;
    model_start(&model, *state, 16);
    model_open(&model);
    while (model.next_index <= 40) {
        put(&model, model.next_index, 1, 9000);
    }
    struct wal_place place = last_of_segment(&model, 10);
    model_close(&model);
    destroy_block(&model, place);
    accept_and_expect_doubt(&model); /* A gap in the numbers of segments. */
    model.next_index = wal_last_index(model.log) + 1;
    uint64_t first_end = model.next_index;
    while (model.next_index <= first_end + 30) {
        put(&model, model.next_index, 1, 9000);
    }
    place = last_of_segment(&model, first_end + 15);
    model_close(&model);
    destroy_block(&model, place);
    accept_and_expect_doubt(&model);
    assert_true(wal_last_index(model.log) >= first_end + 10);
    expect_usable(&model);
}

/* --- stray files --------------------------------------------------------------------------------- */

/* A copy of some segment under a name behind the newest one, as a careless restore leaves it. */
static void add_stray(const struct model *model, uint64_t segment, uint64_t name)
{
    char from[SCRATCH_PATH_BYTES];
    char to[SCRATCH_PATH_BYTES];
    static char bytes[64 * BLOCK];
    file_of(model, segment, from);
    file_of(model, name, to);
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
        assert_true(is_right(model, index, &record));
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
        put(model, model->next_index, 1, 9000);
    }
    uint64_t missing = place_of(model, 24).segment;
    model_close(model);
    file_of(model, missing, path);
    scratch_join(away, directory, "away.tmp");
    assert_int_equal(rename(path, away), 0);
    accept_and_expect_doubt(model);
    model->next_index = wal_last_index(model->log) + 1;
    put(model, model->next_index, 1, 10);
    uint64_t newest = place_of(model, model->next_index - 1).segment;
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
    put(&model, 1, 3, 10);
    model_close(&model);
    add_stray(&model, 1, 7);
    accept_and_expect_doubt(&model);
    expect_exactly(&model);
    model_close(&model);
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
            put(&model, model.next_index, 1, 9000);
        }
        uint64_t segment = place_of(&model, i == 0 ? 20 : 12).segment;
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

/* --- accepted, and killed ------------------------------------------------------------------------- */

/* A log of some segments, the newest of which cannot be gone on in: its opening anchor is lost, or its file. */
static void make_log_without_newest(struct model *model, const char *directory, bool vanished)
{
    char path[SCRATCH_PATH_BYTES];
    model_start(model, directory, 16);
    model_open(model);
    while (model->next_index <= 20) {
        put(model, model->next_index, 1, 9000);
    }
    uint64_t newest = place_of(model, 20).segment;
    model_close(model);
    for (uint64_t number = newest; vanished && number < newest + 4; number++) {
        file_of(model, number, path);
        (void)unlink(path);
    }
    if (!vanished) {
        destroy_block(model, (struct wal_place){.segment = newest, .offset = BLOCK});
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

/* What was wrong is behind the log from then on, the stray file too. */
static void test_a_stray_file_is_accepted_once(void **state)
{
    struct model model;
    uint64_t newest = make_log_with_dead_segment(&model, *state);
    add_stray(&model, 2, newest + 5);
    accept_and_expect_doubt(&model);
    expect_usable(&model);
}

/* --- few descriptors ------------------------------------------------------------------------------ */

/* A log of many segments, one of which has lost its beginning; the last index in front of that. */
static uint64_t make_long_log(struct model *model, const char *directory)
{
    model_start(model, directory, 16);
    model_open(model);
    while (model->next_index <= 150) {
        put(model, model->next_index, 1, 9000);
    }
    uint64_t segment = place_of(model, 120).segment;
    uint64_t last = 120;
    while (place_of(model, last).segment == segment) {
        last--;
    }
    model_close(model);
    destroy_block(model, (struct wal_place){.segment = segment, .offset = BLOCK});
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
        put(model, model->next_index, 1, 3000);
    }
    uint64_t newest = place_of(model, 50).segment;
    truncate_prefix(model, 48);
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
        file_of(&model, newest, path);
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
    file_of(&model, newest, path);
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
        file_of(&model, newest, path);
        destroy_block(&model, (struct wal_place){.segment = newest, .offset = 0});
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
    struct wal_place place = place_of(&model, 3);
    model_close(&model);
    destroy_block(&model, place);
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
        TEST(test_a_stray_file_brings_nothing_back_and_costs_nothing),
        TEST(test_a_stray_file_behind_the_only_segment_costs_nothing),
        TEST(test_an_identity_that_is_anothers_is_accepted_once),
        TEST(test_a_loss_accepted_and_killed_is_not_forgotten),
        TEST(test_a_loss_on_a_full_disk_is_not_accepted),
        TEST(test_a_stray_file_is_accepted_once),
        TEST(test_few_descriptors_cost_no_records),
        TEST(test_a_newest_file_without_content_is_no_torn_end),
        TEST(test_a_newest_file_that_is_short_is_accepted_once),
        TEST(test_a_newest_file_without_identity_and_end_is_no_clean_end),
        TEST(test_a_reader_gets_the_newest_metadata_behind_damage),
        TEST(test_indexes_end_where_the_header_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
