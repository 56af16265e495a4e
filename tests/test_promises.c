/* test_promises.c - the promises P1 to P9 of wal.h, each shown on real files, as a user of the log would meet them.
 *
 * The happy path of most tests: a child process makes a log and ends without closing it, which is what kill -9 leaves;
 * the parent does something to the files, opens the log again and looks.
 *
 * What can fail: a promise. What this machine cannot show is told in a line `skipped: ...`.
 *
 * May include: fault_io.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 4096, FOUND_MAX = 256 };

/* A small log: some dozens of batches make it roll. */
static struct wal_options small(uint32_t flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags;
    options.segment_bytes = 64 * (uint64_t)BLOCK;
    options.batch_bytes_max = 4 * BLOCK;
    return options;
}

static struct wal *open_log(const char *directory, uint32_t flags, struct wal_verdict *verdict)
{
    struct wal_options options = small(flags);
    struct wal *log = NULL;
    struct wal_verdict own;
    verdict = verdict != NULL ? verdict : &own;
    int result = wal_open(directory, &options, &log, verdict);
    if (result != 0) {
        print_error("open: %s; %s\n", wal_strerror(result), verdict->text);
    }
    assert_int_equal(result, 0);
    return log;
}

static int setup(void **state)
{
    *state = calloc(1, SCRATCH_PATH_BYTES);
    scratch_make(*state);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Runs work in a child that ends as if killed: no close, no idle mark. */
static void in_child(void (*work)(struct wal *log), const char *directory)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct wal_options options = small(WAL_CREATE | WAL_NO_THREADS);
        struct wal *log = NULL;
        if (wal_open(directory, &options, &log, NULL) != 0) {
            _exit(1);
        }
        work(log);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void must(int result)
{
    if (result != 0) {
        _exit(2);
    }
}

static void ten_commits(struct wal *log)
{
    for (int i = 0; i < 10; i++) {
        must(sample_commit(log, 1));
    }
}

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
    assert_true(snprintf(whole, sizeof(whole), "%s/whole", (char *)*state) < (int)sizeof(whole));
    assert_true(snprintf(torn, sizeof(torn), "%s/torn", (char *)*state) < (int)sizeof(torn));
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

/* The batch whose first record is `index`, in segment 1. */
static struct found_batch batch_of(const char *directory, uint64_t index)
{
    struct found_batch found[FOUND_MAX];
    size_t count = scratch_batches(directory, 1, found, FOUND_MAX);
    for (size_t i = 0; i < count; i++) {
        if (found[i].head.record_count != 0 && found[i].head.first_index == index) {
            return found[i];
        }
    }
    fail_msg("no batch starts with record %llu", (unsigned long long)index);
    return found[0];
}

static void close_in_order(struct wal *log)
{
    ten_commits(log);
    must(wal_close(log));
}

/* wal_open refuses, says where, and changes nothing. */
static struct wal_verdict refused(const char *directory, uint32_t flags, int wanted)
{
    uint64_t before = scratch_digest(directory);
    struct wal_options options = small(flags);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    memset(&verdict, 0xee, sizeof(verdict));
    assert_int_equal(wal_open(directory, &options, &log, &verdict), wanted);
    assert_null(log);
    assert_true(verdict.text[0] != '\0');
    assert_true(scratch_digest(directory) == before);
    return verdict;
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
    assert_true(snprintf(damaged, sizeof(damaged), "%s/damaged", directory) < (int)sizeof(damaged));
    assert_true(snprintf(whole, sizeof(whole), "%s/whole", directory) < (int)sizeof(whole));
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
    damage_is_told(*state, close_in_order, 5);
}

static void test_p4_damage_to_the_last_batch_of_a_closed_log(void **state)
{
    damage_is_told(*state, close_in_order, 10);
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
    struct wal_options options = small(WAL_CREATE);
    options.segment_bytes = 16 * BLOCK;
    struct wal *log = NULL;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_int_equal(wal_close(log), 0);
    uint64_t newest = scratch_newest(directory);
    assert_true(newest >= 3);
    uint64_t told = 0;
    for (uint64_t sector = 0; sector < newest * 16 * BLOCK / FORMAT_SECTOR_BYTES; sector++) {
        uint64_t segment = 1 + sector / (16 * BLOCK / FORMAT_SECTOR_BYTES);
        uint64_t offset = sector % (16 * BLOCK / FORMAT_SECTOR_BYTES) * FORMAT_SECTOR_BYTES + 100 + sector % 37;
        scratch_flip(directory, segment, offset, 4);
        struct wal_verdict verdict;
        log = open_log(directory, WAL_READ_ONLY, &verdict);
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

/* --- P5 ------------------------------------------------------------------------------------------ */

enum { WAITERS = 4 };

struct waiter {
    struct wal *log;
    pthread_t thread;
    int result;
};

static void *append_until_error(void *context)
{
    struct waiter *waiter = context;
    for (int i = 0; i < 100000; i++) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record = sample_record(77, buffer);
        struct wal_append append = {.records = &record, .record_count = 1};
        waiter->result = wal_commit(waiter->log, &append, NULL);
        if (waiter->result != 0) {
            break;
        }
    }
    return NULL;
}

static void poison(const char *directory, uint32_t kinds, enum wal_strategy strategy)
{
    struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    struct wal_options options = small(WAL_CREATE);
    options.strategy = strategy;
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(sample_commit(log, 5), 0);
    fault_io_arm(disk, (struct fault_rule){.kinds = kinds, .nth = 20, .error = EIO});
    struct waiter waiters[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){.log = log};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, append_until_error, &waiters[i]), 0);
    }
    for (int i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
        assert_int_equal(waiters[i].result, WAL_EPOISONED);
    }
    fault_io_clear(disk);
    assert_int_equal(sample_commit(log, 1), WAL_EPOISONED);
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(log, 3, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_truncate_suffix(log, 3, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_reset(log, 1000000, &receipt), WAL_EPOISONED);
    assert_int_equal(wal_wait(log, wal_durable_ticket(log) + 1), WAL_EPOISONED);
    assert_int_equal(wal_wait(log, wal_durable_ticket(log)), 0);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "segment 1"));
    assert_non_null(strstr(text, "offset"));
    assert_non_null(strstr(text, "EIO"));
    uint64_t durable = wal_durable_index(log);
    uint64_t writes = fault_io_count(disk, FAULT_WRITES | FAULT_SYNC);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    assert_int_equal(wal_read(log, 5, buffer, sizeof(buffer), &record), 0);
    assert_int_not_equal(wal_close(log), 0);
    assert_int_equal(fault_io_count(disk, FAULT_WRITES | FAULT_SYNC), writes);

    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_true(wal_last_index(log) >= durable);
    assert_int_equal(sample_commit(log, 5), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

static void test_p5_failed_write_poisons(void **state)
{
    poison(*state, FAULT_WRITE_DURABLE, WAL_STRATEGY_DSYNC);
}

static void test_p5_failed_sync_poisons(void **state)
{
    poison(*state, FAULT_WRITES | FAULT_SYNC, WAL_STRATEGY_FDATASYNC);
}

/* --- P6 ------------------------------------------------------------------------------------------ */

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* Appends until the disk is full; each refusal has changed nothing. */
static void fill(struct wal *log)
{
    int result = 0;
    for (int i = 0; i < 10000 && result == 0; i++) {
        uint64_t last = wal_last_index(log);
        result = sample_commit(log, 20);
        assert_int_equal(wal_last_index(log), last + (result == 0 ? 20 : 0));
    }
    assert_int_equal(result, WAL_ENOSPC);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_int_equal(wal_durable_index(log), wal_last_index(log));
    assert_int_equal(sample_commit(log, 20), WAL_ENOSPC);
}

/* With the older half gone, appending goes on once its segments have been made ready. */
static void resumes_after_truncation(struct wal *log)
{
    uint64_t kept = wal_first_index(log) + (wal_last_index(log) - wal_first_index(log)) / 2;
    uint64_t last = wal_last_index(log);
    struct wal_receipt receipt;
    assert_int_equal(wal_truncate_prefix(log, kept, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_true(sample_range_is_right(log, kept, last));
    int result = WAL_ENOSPC;
    for (int i = 0; i < 300 && result == WAL_ENOSPC; i++) {
        result = sample_commit(log, 20);
        if (result == WAL_ENOSPC) {
            sleep_ms(10);
        }
    }
    assert_int_equal(result, 0);
    assert_true(sample_range_is_right(log, kept, last + 20));
}

static void fill_file(const char *directory)
{
    char path[SCRATCH_PATH_BYTES];
    assert_true(snprintf(path, sizeof(path), "%s/../filler", directory) < (int)sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    static const char zeros[BLOCK];
    while (write(fd, zeros, sizeof(zeros)) > 0) {
    }
    (void)close(fd);
}

static void crash_when_full(struct wal *log)
{
    int result = 0;
    while (result == 0) {
        bool more = false;
        (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, &more);
        result = sample_commit(log, 20);
    }
    _exit(result == WAL_ENOSPC ? 0 : 4);
}

static void on_a_full_disk(const char *mount_point)
{
    char directory[SCRATCH_PATH_BYTES];
    assert_true(snprintf(directory, sizeof(directory), "%s/log", mount_point) < (int)sizeof(directory));
    struct wal *log = open_log(directory, WAL_CREATE, NULL);
    fill(log);
    uint64_t last = wal_last_index(log);
    assert_true(sample_range_is_right(log, 1, last));
    resumes_after_truncation(log);
    fill(log);
    uint64_t first = wal_first_index(log);
    last = wal_last_index(log);
    fill_file(directory);
    assert_int_equal(wal_close(log), 0);
    for (int round = 0; round < 2; round++) {
        struct wal_verdict verdict;
        log = open_log(directory, 0, &verdict);
        assert_true(sample_range_is_right(log, first, last));
        if (round == 1) {
            resumes_after_truncation(log);
        }
        assert_int_equal(wal_close(log), 0);
    }
    in_child(crash_when_full, directory);
    log = open_log(directory, 0, NULL);
    assert_true(sample_range_is_right(log, wal_first_index(log), wal_last_index(log)));
    resumes_after_truncation(log);
    assert_int_equal(wal_close(log), 0);
}

static void test_p6_full_disk(void **state)
{
    if (mount("tmpfs", *state, "tmpfs", 0, "size=3m") != 0) {
        print_message("skipped: a full disk cannot be shown: mount: %s\n", strerror(errno));
        return;
    }
    on_a_full_disk(*state);
    assert_int_equal(umount(*state), 0);
}

static int teardown_mount(void **state)
{
    (void)umount2(*state, MNT_DETACH);
    return teardown(state);
}

static void test_p6_no_room_for_a_segment(void **state)
{
    struct fault_io *disk = fault_io_make(*state, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    struct wal_options options = small(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(sample_commit(log, 20), 0);
    }
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC});
    fill(log);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    resumes_after_truncation(log);
    fill(log);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_true(sample_range_is_right(log, wal_first_index(log), wal_last_index(log)));
    resumes_after_truncation(log);
    fault_io_clear(disk);
    for (int i = 0; i < 100; i++) {
        int result = sample_commit(log, 20);
        assert_true(result == 0 || result == WAL_ENOSPC);
        if (result != 0) {
            sleep_ms(20);
        }
    }
    assert_int_equal(sample_commit(log, 20), 0);
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- P7 ------------------------------------------------------------------------------------------ */

static void wrong_byte_is_an_error(struct fault_io *disk, uint64_t offset, uint8_t mask)
{
    struct wal_options options = small(WAL_READ_ONLY);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    fault_io_flip(disk, (struct fault_flip){.segment = 1, .offset = offset, .mask = mask});
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    assert_int_equal(wal_read(log, 5, buffer, sizeof(buffer), &record), WAL_ECORRUPT);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "segment 1"));
    struct wal_cursor *cursor = NULL;
    assert_int_equal(wal_cursor_open(log, 4, &cursor), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECORRUPT);
    assert_int_equal(wal_cursor_next(cursor, &record), WAL_ECORRUPT);
    wal_cursor_seek(cursor, 6);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(record.index, 6);
    assert_true(sample_is_right(&record));
    wal_cursor_close(cursor);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(report.first_bad.first_index, 5);
    fault_io_clear(disk);
    assert_int_equal(wal_close(log), 0);
}

static void test_p7_every_wrong_byte_is_an_error(void **state)
{
    in_child(close_in_order, *state);
    struct found_batch batch = batch_of(*state, 5);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record = sample_record(5, buffer);
    struct fault_io *disk = fault_io_make(*state, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    uint64_t begin = batch.offset + batch.head.head_bytes;
    for (uint64_t position = 0; position < RECORD_HEADER_BYTES + record.size; position++) {
        wrong_byte_is_an_error(disk, begin + position, (uint8_t)(1u << position % 8));
    }
    fault_io_free(disk);
}

/* --- P8 ------------------------------------------------------------------------------------------ */

struct meter {
    atomic_ulong live_bytes;
    atomic_ulong peak_bytes;
    atomic_ulong calls_while_watched;
};

static _Thread_local bool watched;

static void *metered_allocate(void *context, size_t bytes, size_t alignment)
{
    struct meter *meter = context;
    unsigned long live = atomic_fetch_add(&meter->live_bytes, bytes) + bytes;
    if (live > atomic_load(&meter->peak_bytes)) {
        atomic_store(&meter->peak_bytes, live);
    }
    if (watched) {
        atomic_fetch_add(&meter->calls_while_watched, 1);
    }
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void metered_release(void *context, void *memory, size_t bytes)
{
    struct meter *meter = context;
    atomic_fetch_sub(&meter->live_bytes, bytes);
    if (watched) {
        atomic_fetch_add(&meter->calls_while_watched, 1);
    }
    free(memory);
}

static void test_p8_appending_allocates_nothing(void **state)
{
    struct meter meter = {0};
    struct wal_allocator allocator = {metered_allocate, metered_release, &meter};
    struct wal_options options = small(WAL_CREATE);
    options.segment_bytes = 1 << 20;
    options.batch_bytes_max = 1 << 16;
    options.allocator = &allocator;
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    unsigned long half_peak = 0;
    for (uint64_t index = 1; index <= 100000; index++) {
        struct wal_record record = {.data = &index, .size = sizeof(index), .type = 1, .tag = index};
        struct wal_append append = {.records = &record, .record_count = 1};
        struct wal_receipt receipt;
        watched = true;
        assert_int_equal(wal_append(log, &append, &receipt), 0);
        if (index % 500 == 0) {
            assert_int_equal(wal_wait(log, receipt.ticket), 0);
        }
        watched = false;
        if (index % 20000 == 0) {
            assert_int_equal(wal_truncate_prefix(log, index - 1000, &receipt), 0);
        }
        if (index == 60000) {
            half_peak = atomic_load(&meter.peak_bytes);
        }
    }
    assert_int_equal(atomic_load(&meter.calls_while_watched), 0);
    /* The preparer's working memory may or may not have been live at either peak. */
    assert_true(atomic_load(&meter.peak_bytes) <= half_peak + (1 << 20));
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(atomic_load(&meter.live_bytes), 0);
}

static void *commit_one(void *context)
{
    struct waiter *waiter = context;
    waiter->result = sample_commit(waiter->log, 1);
    return NULL;
}

static void *append_waiting(void *context)
{
    struct waiter *waiter = context;
    struct wal_receipt receipt;
    waiter->result = sample_append(waiter->log, 20, &receipt);
    return NULL;
}

/* A disk that stalls: at the bound NO_WAIT is told to come again, and others wait. */
static void test_p8_full_buffers(void **state)
{
    struct fault_io *disk = fault_io_make(*state, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    struct wal_options options = small(WAL_CREATE);
    options.idle_mark_ms = 60000;
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(sample_commit(log, 1), 0);
    fault_io_gate(disk, FAULT_WRITES | FAULT_SYNC);
    struct waiter committer = {.log = log};
    assert_int_equal(pthread_create(&committer.thread, NULL, commit_one, &committer), 0);
    struct wal_stats stats;
    for (int i = 0; i < 500 && wal_last_index(log) < 2; i++) {
        sleep_ms(2);
    }
    assert_int_equal(wal_last_index(log), 2);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_receipt receipt;
    int result = 0;
    uint64_t bytes = 0;
    while (result == 0 && bytes < 100u * options.batch_bytes_max) {
        uint64_t next = wal_last_index(log) + 1;
        struct wal_record record = sample_record(next, buffer);
        struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
        result = wal_append(log, &append, &receipt);
        bytes += record.size;
        assert_int_equal(wal_last_index(log), result == 0 ? next : next - 1);
    }
    assert_int_equal(result, WAL_EAGAIN);
    assert_true(bytes <= 8u * options.batch_bytes_max);
    struct waiter appender = {.log = log};
    assert_int_equal(pthread_create(&appender.thread, NULL, append_waiting, &appender), 0);
    do {
        sleep_ms(2);
        wal_stats(log, &stats);
    } while (stats.buffer_waits + stats.roll_waits == 0);
    uint64_t last = wal_last_index(log);
    sleep_ms(20);
    assert_int_equal(wal_last_index(log), last);
    fault_io_gate(disk, 0);
    assert_int_equal(pthread_join(committer.thread, NULL), 0);
    assert_int_equal(committer.result, 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_int_equal(pthread_join(appender.thread, NULL), 0);
    assert_int_equal(appender.result, 0);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_true(sample_range_is_right(log, 1, last + 21));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* The same where a loop appends and never submits. */
static void test_p8_full_buffers_of_a_loop(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    assert_true(wal_event_fd(log) >= 0);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_receipt receipt;
    int result = sample_append(log, 1, &receipt); /* Waits for the first segment to be ready. */
    while (result == 0 && wal_last_index(log) < 100000) {
        struct wal_record record = sample_record(wal_last_index(log) + 1, buffer);
        struct wal_append append = {.records = &record, .record_count = 1, .flags = WAL_APPEND_NO_WAIT};
        result = wal_append(log, &append, &receipt);
    }
    assert_int_equal(result, WAL_EAGAIN);
    assert_int_equal(wal_durable_index(log), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
}

/* --- P9 ------------------------------------------------------------------------------------------ */

static int open_in_child(const char *directory, uint32_t flags)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct wal_options options = small(flags | WAL_NO_THREADS);
        struct wal *log = NULL;
        int result = wal_open(directory, &options, &log, NULL);
        if (result == 0 && !sample_range_is_right(log, 1, wal_last_index(log))) {
            _exit(100);
        }
        _exit(-result);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void test_p9_one_writer_many_readers(void **state)
{
    struct wal *log = open_log(*state, WAL_CREATE, NULL);
    assert_int_equal(sample_commit(log, 10), 0);
    struct wal_options options = small(WAL_CREATE);
    struct wal *second = NULL;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(*state, &options, &second, &verdict), WAL_EBUSY);
    assert_null(second);
    assert_true(verdict.text[0] != '\0');
    assert_int_equal(open_in_child(*state, 0), WAL_EBUSY);
    struct wal *readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = open_log(*state, WAL_READ_ONLY, &verdict);
        assert_int_equal(wal_last_index(readers[i]), 10 + i);
        assert_int_equal(sample_commit(log, 1), 0);
        assert_int_equal(open_in_child(*state, WAL_READ_ONLY), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(sample_range_is_right(readers[i], 1, (uint64_t)(10 + i)));
        assert_int_equal(sample_commit(readers[i], 1), WAL_EROFS);
        assert_int_equal(wal_close(readers[i]), 0);
    }
    assert_int_equal(sample_commit(log, 1), 0);
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(open_in_child(*state, 0), 0);
    log = open_log(*state, 0, NULL);
    assert_true(sample_range_is_right(log, 1, 14));
    assert_int_equal(wal_close(log), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_p1_acknowledged_survives_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p2_lost_batch_never_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p2_headless_batch_never_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p2_batch_with_a_hole_never_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p3_append_is_atomic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_in_a_crashed_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_in_a_closed_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_to_the_last_batch_of_a_closed_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_accepted_corruption_leaves_a_doubt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_unreadable_end_is_uncertain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p4_damage_anywhere_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p5_failed_write_poisons, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p5_failed_sync_poisons, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p6_full_disk, setup, teardown_mount),
        cmocka_unit_test_setup_teardown(test_p6_no_room_for_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p7_every_wrong_byte_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p8_appending_allocates_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p8_full_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p8_full_buffers_of_a_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p9_one_writer_many_readers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
