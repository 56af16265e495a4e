/* test_damage.c - what damage must not do behind an open's back: bring truncated records back, or follow an accepted
 * loss. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/sim_disk.h"
#include "wal/format.h"
#include "wal/wal.h"

enum { BLOCK = 512 };

static unsigned choose_first(void *context, unsigned options)
{
    (void)context;
    (void)options;
    return 0;
}

/* The disk as the next process finds it: the lock of the one before is gone. */
static struct sim_disk *next_process(struct sim_disk *disk)
{
    struct sim_disk *after = sim_disk_kill(disk, NULL, choose_first, NULL);
    sim_disk_destroy(disk);
    return after;
}

static struct wal *open_log(struct sim_disk *disk, uint32_t flags, struct wal_verdict *verdict)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE | flags;
    options.block_bytes = BLOCK;
    options.segment_bytes = 16 * BLOCK;
    options.batch_bytes_max = 6 * BLOCK;
    struct wal *log = NULL;
    int status = wal_open_io(sim_disk_io(disk), &options, &log, verdict);
    if (status != 0) {
        fail_msg("%s", verdict->text);
    }
    return log;
}

/* One record of one byte; first 0: behind the last, else the log is truncated to there. */
static void put(struct wal *log, uint64_t first, char what)
{
    struct wal_record record = {.data = &what, .size = 1, .type = 1};
    struct wal_append append = {.records = &record, .record_count = 1, .first_index = first};
    append.flags = first != 0 ? WAL_APPEND_TRUNCATE : 0;
    assert_int_equal(wal_commit(log, &append, NULL), 0);
    (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL);
}

static char get(struct wal *log, uint64_t index)
{
    char what = '?';
    struct wal_record record;
    return wal_read(log, index, &what, 1, &record) == 0 ? what : '-';
}

/* Destroys the head of a batch of that kind in the segment, behind so many others. */
static void damage_batch_behind(struct sim_disk *disk, uint64_t segment, uint8_t kind, unsigned others)
{
    for (unsigned file = 0; file < sim_disk_file_count(disk); file++) {
        uint64_t size;
        uint8_t *bytes = sim_disk_file_bytes(disk, file, &size);
        for (uint64_t at = BLOCK; at < size && format_segment_of_name(sim_disk_file_name(disk, file)) == segment;
             at += BLOCK) {
            struct format_head head;
            if (format_head_decode(bytes + at, BLOCK, &head) == FORMAT_OK && head.kind == kind &&
                head.segment == segment && others-- == 0) {
                memset(bytes + at, 0xee, 64);
                sim_disk_settle(disk);
                return;
            }
        }
    }
    fail_msg("no such batch");
}

static void damage_batch(struct sim_disk *disk, uint64_t segment, uint8_t kind)
{
    damage_batch_behind(disk, segment, kind, 0);
}

/* A truncation in a sealed segment is lost: what it had removed must not read as data. */
static void lost_truncation(bool something_behind)
{
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_verdict verdict;
    struct wal *log = open_log(disk, WAL_CREATE, &verdict);
    put(log, 0, 'a');
    put(log, 0, 'b');
    put(log, 0, 'c');
    for (unsigned i = 0; i < (something_behind ? 0 : 6); i++) {
        put(log, 0, 'x'); /* So that little stands behind the truncation. */
    }
    put(log, 2, 'B');
    for (unsigned i = 0; i < 14; i++) {
        put(log, 0, (char)('C' + i));
    }
    assert_int_equal(wal_close(log), 0);
    disk = next_process(disk);
    damage_batch(disk, 1, BATCH_TRUNCATE);
    log = open_log(disk, 0, &verdict); /* Sealed bodies are not read at open. */
    for (uint64_t index = 1; index <= wal_last_index(log); index++) {
        char right = index == 1 ? 'a' : (char)('B' + index - 2);
        char found = get(log, index);
        assert_true(found == right || found == '-');
    }
    assert_int_equal(get(log, 2), '-');
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
}

static void test_a_lost_truncation_brings_nothing_back(void **state)
{
    (void)state;
    lost_truncation(true);
    lost_truncation(false);
}

/* Lost appends, on the other hand, cost only themselves: the counts prove that no truncation was among them. */
static void test_a_lost_append_costs_only_itself(void **state)
{
    (void)state;
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_verdict verdict;
    struct wal *log = open_log(disk, WAL_CREATE, &verdict);
    for (unsigned i = 0; i < 20; i++) {
        put(log, 0, (char)('a' + i));
    }
    assert_int_equal(wal_close(log), 0);
    disk = next_process(disk);
    damage_batch(disk, 1, BATCH_DATA);
    log = open_log(disk, 0, &verdict);
    assert_int_equal(get(log, 1), '-');
    for (uint64_t index = 2; index <= 20; index++) {
        assert_int_equal(get(log, index), 'a' + (char)index - 1);
    }
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
}

/* What lies dead behind an accepted cut, anchors of old runs among it, must never be taken for damage later. */
static void test_a_log_lives_on_behind_an_accepted_cut(void **state)
{
    (void)state;
    for (unsigned later = 0; later < 8; later++) {
        struct sim_disk *disk = sim_disk_create(NULL);
        struct wal_verdict verdict;
        for (unsigned life = 0; life < 3; life++) {
            struct wal *log = open_log(disk, WAL_CREATE, &verdict);
            put(log, 0, 'a');
            assert_int_equal(wal_close(log), 0);
            disk = next_process(disk);
        }
        damage_batch(disk, 1, BATCH_DATA);
        struct wal *log = open_log(disk, WAL_ACCEPT_CORRUPT, &verdict);
        assert_true(verdict.accepted);
        for (unsigned i = 0; i < later; i++) {
            put(log, 0, 'z');
        }
        assert_int_equal(wal_close(log), 0);
        disk = next_process(disk);
        log = open_log(disk, 0, &verdict);
        assert_true(verdict.closed);
        assert_int_equal(wal_doubt(log), 1);
        assert_int_equal(wal_last_index(log), later);
        assert_int_equal(wal_close(log), 0);
        sim_disk_destroy(disk);
    }
}

/* Damage in the segment that is being written costs what it destroys, whether or not a batch is at the disk. */
static void test_damage_in_the_tail_costs_the_same_under_load(void **state)
{
    (void)state;
    struct sim_disk *disk = sim_disk_create(NULL);
    struct wal_verdict verdict;
    struct wal *log = open_log(disk, WAL_CREATE, &verdict);
    for (unsigned i = 0; i < 8; i++) {
        put(log, 0, (char)('a' + i));
    }
    damage_batch_behind(disk, 1, BATCH_DATA, 4);
    struct wal_verify_report quiet, busy;
    assert_true(wal_event_fd(log) >= 0);
    assert_int_equal(wal_verify(log, &quiet, NULL, NULL), WAL_ECORRUPT);
    sim_disk_hold(disk, true);
    const struct wal_record record = {.data = "i", .size = 1, .type = 1};
    const struct wal_append append = {.records = &record, .record_count = 1};
    assert_int_equal(wal_append(log, &append, NULL), 0);
    assert_int_equal(wal_submit(log), 0);
    assert_int_equal(sim_disk_in_flight(disk), 1);
    assert_int_equal(wal_verify(log, &busy, NULL, NULL), WAL_ECORRUPT);
    assert_int_equal(quiet.bad_records, 1);
    assert_int_equal(busy.bad_records, 1);
    assert_int_equal(busy.first_bad.first_index, quiet.first_bad.first_index);
    sim_disk_hold(disk, false);
    assert_int_equal(wal_close(log), 0);
    sim_disk_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lost_truncation_brings_nothing_back),
        cmocka_unit_test(test_a_lost_append_costs_only_itself),
        cmocka_unit_test(test_a_log_lives_on_behind_an_accepted_cut),
        cmocka_unit_test(test_damage_in_the_tail_costs_the_same_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
