/* test_failures.c - the machine is wrong: every disk operation fails, every allocation fails, one by one, and what the
 * log answers.
 *
 * The happy path of a test: something is made to fail, the log says so with the code of wal.h and a text, and has
 * changed nothing that it should not; with the fault gone it works, and everything acknowledged is there.
 *
 * What can fail: an answer. What this machine cannot show is told in a line `skipped: ...`.
 *
 * Invariants: the n-th operation, or allocation, is the same in every run of one test without threads, so that counting
 * n up until nothing is hit any more reaches all of them.
 *
 * May include: fault_io.h, log_fixture.h, sample.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"
#include "tests/log_fixture.h"
#include "tests/sample.h"
#include "tests/scratch.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- every operation fails once ------------------------------------------------------------------ */

/* What the log has promised so far. */
struct story {
    const char *directory;
    struct fault_io *disk;
    bool loop; /* By the event loop instead of waiting. */
    uint32_t flags;
    uint64_t acked;      /* Last index that must be there, */
    uint64_t first_kept; /* and the first, at most. */
    bool failed;
    int first_error;
};

static const char *story_now = "";
static int complaints; /* Told at once; they fail the test at its end. */

static void complain(const struct story *story, const char *what, int result, const char *text)
{
    complaints++;
    print_error("%s (%s): %s: %s; %s\n", story_now, fault_io_last(story->disk), what, wal_strerror(result), text);
}

static void told_too_late(int signal_number)
{
    (void)signal_number;
    (void)!write(2, "hangs: ", 7);
    (void)!write(2, story_now, strlen(story_now));
    (void)!write(2, "\n", 1);
    _exit(1);
}

/* Every failure has a code with a name and a text. */
static bool went_well(struct story *story, struct wal *log, int result)
{
    if (result == 0) {
        return true;
    }
    char text[512];
    assert_string_not_equal(wal_strerror(result), "unknown code");
    if (wal_errmsg(log, text, sizeof(text)) == 0) {
        complain(story, "a failure without a message", result, "");
    }
    story->first_error = story->failed ? story->first_error : result;
    story->failed = true;
    return false;
}

static int durable_by_loop(struct wal *log, uint64_t ticket)
{
    int fd = wal_event_fd(log);
    while (fd >= 0) {
        int result = wal_submit(log);
        struct wal_progress progress = {0};
        result = result == 0 ? wal_dispatch(log, &progress) : result;
        if (result != 0 || progress.durable_ticket >= ticket) {
            return result;
        }
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        if (poll(&entry, 1, 15000) != 1) { /* Long: a busy disk takes seconds. */
            fail_msg("%s: the loop's descriptor stays silent", story_now);
        }
    }
    return fd;
}

static bool durable(struct story *story, struct wal *log, int accepted, uint64_t ticket)
{
    if (!went_well(story, log, accepted)) {
        return false;
    }
    return went_well(story, log, story->loop ? durable_by_loop(log, ticket) : wal_wait(log, ticket));
}

static void append_some(struct story *story, struct wal *log, uint32_t count)
{
    struct wal_receipt receipt = {0};
    int accepted = sample_append(log, count, &receipt);
    if (durable(story, log, accepted, receipt.ticket) && receipt.last_index > story->acked) {
        story->acked = receipt.last_index;
    }
}

static void cut_some(struct story *story, struct wal *log)
{
    struct wal_receipt receipt = {0};
    uint64_t last = wal_last_index(log);
    if (last >= wal_first_index(log) + 3) {
        int accepted = wal_truncate_suffix(log, last - 1, &receipt);
        story->acked = accepted == 0 && story->acked > last - 2 ? last - 2 : story->acked;
        (void)durable(story, log, accepted, receipt.ticket);
    }
    if (last >= wal_first_index(log) + 12) {
        uint64_t first_kept = last - 10;
        int accepted = wal_truncate_prefix(log, first_kept, &receipt);
        story->first_kept = accepted == 0 ? first_kept : story->first_kept;
        (void)durable(story, log, accepted, receipt.ticket);
    }
}

static void read_some(struct story *story, struct wal *log)
{
    for (uint64_t index = wal_first_index(log); index <= wal_durable_index(log); index += 5) {
        uint8_t buffer[SAMPLE_BYTES_MAX];
        struct wal_record record;
        if (went_well(story, log, wal_read(log, index, buffer, sizeof(buffer), &record))) {
            assert_true(record.index == index && record.tag == index && sample_is_right(&record));
        }
    }
}

static int work(struct story *story)
{
    struct wal_options options = tiny(WAL_CREATE | story->flags);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int result = wal_open_io(fault_io_disk(story->disk), &options, &log, &verdict);
    if (result != 0) {
        assert_null(log);
        assert_string_not_equal(verdict.text, "");
        story->first_error = story->failed ? story->first_error : result;
        story->failed = true;
        return result;
    }
    for (uint32_t turn = 0; turn < 12; turn++) {
        bool more = true;
        for (int i = 0; i < 10 && more; i++) {
            more = went_well(story, log, wal_maintain(log, WAL_MAINTAIN_PREPARE, &more)) && more;
        }
        append_some(story, log, 1 + turn % 3 * 10);
        if (turn % 4 == 3) {
            cut_some(story, log);
            read_some(story, log);
        }
    }
    result = wal_close(log);
    story->failed = story->failed || result != 0;
    return result;
}

/* Two lives of a log with this fault; then, without it, everything acknowledged is there. */
static struct story tell(const char *directory, enum wal_backend backend, bool loop, uint32_t flags,
                         const struct fault_rule *rule)
{
    struct story story = {.directory = directory, .loop = loop, .flags = flags, .first_kept = 1};
    story.disk = fault_io_make(directory, backend);
    assert_non_null(story.disk);
    if (rule != NULL) {
        fault_io_arm(story.disk, *rule);
    }
    (void)alarm(20);
    (void)work(&story);
    (void)work(&story);
    fault_io_clear(story.disk);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int result = wal_open_io(fault_io_disk(story.disk), &options, &log, &verdict);
    if (result != 0) {
        complain(&story, "not opened again", result, verdict.text);
        return story;
    }
    if (verdict.kind > WAL_VERDICT_TORN) {
        complain(&story, "a crash alone gave this verdict", 0, verdict.text);
    }
    if (wal_first_index(log) > story.first_kept || wal_last_index(log) < story.acked ||
        !sample_range_is_right(log, wal_first_index(log), wal_last_index(log))) {
        print_error("log [%llu, %llu], acknowledged %llu\n", (unsigned long long)wal_first_index(log),
                    (unsigned long long)wal_last_index(log), (unsigned long long)story.acked);
        complain(&story, "something acknowledged is missing", 0, verdict.text);
    }
    assert_int_equal(sample_commit(log, 5), 0);
    assert_int_equal(wal_close(log), 0);
    (void)alarm(0);
    return story;
}

/* Where syncs cost nothing: the device is not what is tested here. */
static void fast_directory(char path[SCRATCH_PATH_BYTES], uint64_t turn)
{
    assert_true(snprintf(path, SCRATCH_PATH_BYTES, "/dev/shm/wal-test-%d-%llu", (int)getpid(),
                         (unsigned long long)turn) < SCRATCH_PATH_BYTES);
    if (access("/dev/shm", W_OK) != 0) {
        scratch_make(path);
    }
}

static void every_operation_fails(enum wal_backend backend, bool loop, uint32_t flags)
{
    char path[SCRATCH_PATH_BYTES];
    char now[128] = "no fault";
    story_now = now;
    complaints = 0;
    (void)signal(SIGALRM, told_too_late);
    fast_directory(path, 0);
    struct fault_io *probe = fault_io_make(path, backend);
    if (probe == NULL) {
        assert_int_equal(backend, WAL_BACKEND_URING);
        print_message("skipped: every operation fails, in a ring: there is none to be had here\n");
        scratch_remove(path);
        return;
    }
    fault_io_free(probe);
    struct story story = tell(path, backend, loop, flags, NULL);
    assert_false(story.failed);
    fault_io_free(story.disk);
    scratch_remove(path);
    uint64_t failed = 0;
    for (unsigned variant = 0; variant < 5; variant++) {
        struct fault_rule rule = {.kinds = variant == 4 ? FAULT_WRITES : FAULT_ANY,
                                  .nth = 1,
                                  .forever = (variant & 1) != 0,
                                  .error = (variant & 2) != 0 ? ENOSPC : EIO,
                                  .carried_out = variant == 4};
        for (bool reached = true; reached; rule.nth++) {
            (void)snprintf(now, sizeof(now), "operation %llu fails, error %d, for ever %d, carried out %d",
                           (unsigned long long)rule.nth, rule.error, rule.forever, rule.carried_out);
            fast_directory(path, rule.nth);
            story = tell(path, backend, loop, flags, &rule);
            failed += story.failed;
            struct fault_io *last = story.disk;
            reached = fault_io_hits(last) != 0;
            fault_io_free(last);
            scratch_remove(path);
        }
        print_message("variant %u: %llu operations\n", variant, (unsigned long long)rule.nth - 2);
    }
    assert_true(failed > 100);
    assert_int_equal(complaints, 0);
    story_now = "";
}

static void test_every_operation_fails(void **state)
{
    (void)state;
    every_operation_fails(WAL_BACKEND_POSIX, false, WAL_NO_THREADS);
}

static void test_every_operation_fails_in_a_loop(void **state)
{
    (void)state;
    every_operation_fails(WAL_BACKEND_URING, true, WAL_NO_THREADS);
}

/* With the helper and the committing thread, so that a fault meets now this one, now that one. */
static void test_every_operation_fails_with_threads(void **state)
{
    (void)state;
    every_operation_fails(WAL_BACKEND_POSIX, true, 0);
}

/* --- the disk fails ------------------------------------------------------------------------------ */

/* Opening with this fault answers with the code and a text, and without it works. */
static void open_fails(const char *directory, struct fault_rule rule, int wanted)
{
    struct fault_io *disk = fault_disk(directory);
    fault_io_arm(disk, rule);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), wanted);
    assert_null(log);
    assert_string_not_equal(verdict.text, "");
    assert_int_not_equal(fault_io_hits(disk), 0);
    fault_io_clear(disk);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), 0);
    uint64_t last = wal_last_index(log);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_true(sample_range_is_right(log, 1, last + 1));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

static void test_eio_while_creating(void **state)
{
    static const uint32_t kinds[] = {
        FAULT_SYNC_DIRECTORY, FAULT_SYNC_PARENT, FAULT_WRITES, FAULT_SYNC | FAULT_WRITE_DURABLE,
        FAULT_RENAME,         FAULT_OPEN,        FAULT_LIST,   FAULT_ALLOCATE};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char directory[SCRATCH_PATH_BYTES];
        assert_true(snprintf(directory, sizeof(directory), "%s/%zu", (char *)*state, i) < (int)sizeof(directory));
        open_fails(directory, (struct fault_rule){.kinds = kinds[i], .nth = 1, .error = EIO}, WAL_EIO);
    }
}

static void test_no_room_while_creating(void **state)
{
    open_fails(*state, (struct fault_rule){.kinds = FAULT_ALLOCATE, .nth = 1, .forever = true, .error = ENOSPC},
               WAL_ENOSPC);
}

static void test_no_room_where_reserving_tells_nothing(void **state)
{
    open_fails(*state, (struct fault_rule){.kinds = FAULT_WRITES, .nth = 1, .forever = true, .error = ENOSPC},
               WAL_ENOSPC);
}

static void test_eio_while_opening(void **state)
{
    static const uint32_t kinds[] = {FAULT_SYNC_DIRECTORY, FAULT_SYNC | FAULT_WRITE_DURABLE, FAULT_LIST, FAULT_OPEN};
    make_log(*state, 10);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        open_fails(*state, (struct fault_rule){.kinds = kinds[i], .nth = 1, .forever = true, .error = EIO}, WAL_EIO);
    }
}

/* Whatever read fails at open: either it is told, or nothing is missing. */
static void test_eio_of_each_read_at_open(void **state)
{
    make_log(*state, 40);
    uint64_t told = 0;
    for (unsigned forever = 0; forever < 2; forever++) {
        bool reached = true;
        for (uint64_t nth = 1; reached; nth++) {
            struct fault_io *disk = fault_disk(*state);
            fault_io_arm(disk,
                         (struct fault_rule){.kinds = FAULT_READ, .nth = nth, .forever = forever != 0, .error = EIO});
            struct wal_options options = tiny(WAL_READ_ONLY);
            struct wal *log = NULL;
            struct wal_verdict verdict;
            int result = wal_open_io(fault_io_disk(disk), &options, &log, &verdict);
            reached = fault_io_hits(disk) != 0;
            fault_io_clear(disk);
            if (result == 0 && verdict.kind <= WAL_VERDICT_TORN) {
                assert_true(sample_range_is_right(log, 1, 40));
            } else {
                told++;
                if (result != 0 && result != WAL_EIO && result != WAL_EUNCERTAIN && result != WAL_ECORRUPT) {
                    fail_msg("read %llu fails (for ever %u): %s; %s", (unsigned long long)nth, forever,
                             wal_strerror(result), verdict.text);
                }
                assert_string_not_equal(verdict.text, "");
            }
            assert_int_equal(wal_close(log), 0);
            fault_io_free(disk);
        }
    }
    assert_int_not_equal(told, 0);
}

static void test_eio_of_a_read(void **state)
{
    make_log(*state, 40);
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(0);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_READ, .nth = 1, .forever = true, .error = EIO});
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    char text[512];
    assert_int_equal(wal_read(log, 38, buffer, sizeof(buffer), &record), WAL_EIO);
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_int_not_equal(wal_read(log, 2, buffer, sizeof(buffer), &record), 0);
    struct wal_cursor *cursor = NULL;
    assert_int_equal(wal_cursor_open(log, 0, &cursor), 0);
    assert_int_not_equal(wal_cursor_next(cursor, &record), 0);
    fault_io_clear(disk);
    assert_int_equal(wal_cursor_next(cursor, &record), 0);
    assert_int_equal(record.index, 1);
    wal_cursor_close(cursor);
    assert_int_equal(sample_commit(log, 1), 0);
    assert_true(sample_range_is_right(log, 1, 41));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

static void test_eio_of_the_directory_sync_at_a_roll(void **state)
{
    struct fault_io *disk = fault_disk(*state);
    struct wal_options options = tiny(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_int_equal(sample_commit(log, 1), 0);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_SYNC_DIRECTORY, .nth = 2, .error = EIO});
    int result = 0;
    uint64_t acked = 1;
    for (int i = 0; i < 1000 && result == 0; i++) {
        result = sample_commit(log, 1);
        acked = result == 0 ? acked + 1 : acked;
    }
    assert_int_equal(result, WAL_EPOISONED);
    char text[512];
    assert_true(wal_errmsg(log, text, sizeof(text)) > 0);
    assert_int_not_equal(wal_close(log), 0);
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, NULL), 0);
    assert_true(wal_last_index(log) >= acked);
    assert_true(sample_range_is_right(log, 1, wal_last_index(log)));
    assert_int_equal(wal_close(log), 0);
    fault_io_free(disk);
}

/* --- memory runs out ----------------------------------------------------------------------------- */

struct scarce {
    atomic_long left; /* Allocations that succeed; then one fails, and later ones succeed again unless for_ever. */
    atomic_long live_bytes;
    atomic_long failed;
    bool for_ever;
};

static void *scarce_allocate(void *context, size_t bytes, size_t alignment)
{
    struct scarce *scarce = context;
    long left = atomic_fetch_sub(&scarce->left, 1);
    if (left == 1 || (left < 1 && scarce->for_ever)) {
        atomic_fetch_add(&scarce->failed, 1);
        return NULL;
    }
    atomic_fetch_add(&scarce->live_bytes, (long)bytes);
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void scarce_release(void *context, void *memory, size_t bytes)
{
    struct scarce *scarce = context;
    atomic_fetch_sub(&scarce->live_bytes, (long)bytes);
    free(memory);
}

/* A short life; the first failure, or 0. */
static int live_with(const char *directory, struct scarce *scarce, uint32_t flags)
{
    struct wal_allocator allocator = {scarce_allocate, scarce_release, scarce};
    struct wal_options options = tiny(flags);
    options.allocator = &allocator;
    options.segments_mapped_max = 2;
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int result = wal_open(directory, &options, &log, &verdict);
    if (result != 0) {
        assert_string_not_equal(verdict.text, "");
        return result;
    }
    struct wal_cursor *cursor = NULL;
    result = wal_cursor_open(log, 0, &cursor);
    for (uint64_t index = wal_first_index(log); result == 0 && index <= wal_durable_index(log); index++) {
        struct wal_record record;
        result = wal_cursor_next(cursor, &record);
        assert_true(result != 0 || (record.index == index && record.tag == index && sample_is_right(&record)));
    }
    wal_cursor_close(cursor);
    struct wal_verify_report report;
    result = result == 0 ? wal_verify(log, &report, NULL, NULL) : result;
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    if (result == 0 && wal_last_index(log) != 0) {
        result = wal_read(log, wal_first_index(log), buffer, sizeof(buffer), &record);
    }
    char text[512];
    if (result != 0 && wal_errmsg(log, text, sizeof(text)) == 0) {
        complaints++;
    }
    int closed = wal_close(log);
    return result != 0 ? result : closed;
}

static void every_allocation_fails(const char *directory, uint32_t flags, bool fresh)
{
    uint64_t failures = 0;
    complaints = 0;
    for (unsigned forever = 0; forever < 2; forever++) {
        bool reached = true;
        for (long nth = 1; reached; nth++) {
            struct scarce scarce = {.left = nth, .for_ever = forever != 0};
            char path[SCRATCH_PATH_BYTES];
            assert_true(snprintf(path, sizeof(path), "%s/%s%ld", directory, fresh ? "n" : "", fresh ? nth : 0) <
                        (int)sizeof(path));
            int result = live_with(fresh ? path : directory, &scarce, flags);
            if (result != 0 && result != WAL_ENOMEM) {
                fail_msg("allocation %ld (for ever %u): %s", nth, forever, wal_strerror(result));
            }
            if (atomic_load(&scarce.live_bytes) != 0) {
                fail_msg("allocation %ld (for ever %u): %ld bytes leaked", nth, forever,
                         atomic_load(&scarce.live_bytes));
            }
            failures += result != 0;
            reached = atomic_load(&scarce.failed) != 0;
            if (fresh) {
                scratch_remove(path);
            }
        }
    }
    assert_true(failures > 4);
    if (complaints != 0) {
        fail_msg("%d failures without a message", complaints);
    }
}

static void test_every_allocation_fails_while_creating(void **state)
{
    every_allocation_fails(*state, WAL_CREATE | WAL_NO_THREADS, true);
}

static void test_every_allocation_fails_while_opening(void **state)
{
    make_log(*state, MANY);
    every_allocation_fails(*state, WAL_NO_THREADS, false);
}

static void test_every_allocation_fails_while_looking(void **state)
{
    make_log(*state, MANY);
    uint64_t before = scratch_digest(*state);
    every_allocation_fails(*state, WAL_READ_ONLY, false);
    assert_true(scratch_digest(*state) == before);
}

enum { ENDLESS = 1 << 30, LIVELY = 70 };

static void may_lack_memory(int result)
{
    if (result != 0 && result != WAL_ENOMEM) {
        fail_msg("want of memory is told as: %s", wal_strerror(result));
    }
}

/* The log works, reads, rolls, recycles and removes, and its nth allocation since the open fails; when there is memory
 * again, all goes on. False: there was no such allocation. */
static bool live_on_with(const char *directory, long nth, bool for_ever)
{
    struct scarce scarce = {.left = ENDLESS, .for_ever = for_ever};
    struct wal_allocator allocator = {scarce_allocate, scarce_release, &scarce};
    struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
    uint8_t buffer[SAMPLE_BYTES_MAX];
    struct wal_record record;
    struct wal_receipt receipt;
    struct wal *log;
    options.allocator = &allocator;
    options.segments_mapped_max = 2;
    options.segments_pool_max = 1;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    atomic_store(&scarce.left, nth);
    for (unsigned i = 1; i <= LIVELY; i++) {
        may_lack_memory(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL));
        may_lack_memory(sample_commit(log, 1));
        if (wal_last_index(log) != 0) {
            may_lack_memory(wal_read(log, wal_first_index(log), buffer, sizeof(buffer), &record));
        }
        if (i > LIVELY / 2 && i % 8 == 0 && wal_last_index(log) >= wal_first_index(log) + 4) {
            assert_int_equal(wal_truncate_prefix(log, wal_last_index(log) - 4, &receipt), 0);
            assert_int_equal(wal_wait(log, receipt.ticket), 0);
        }
    }
    atomic_store(&scarce.left, ENDLESS);
    for (unsigned i = 0; i < LIVELY / 2; i++) {
        assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL), 0);
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_true(sample_range_is_right(log, wal_first_index(log), wal_last_index(log)));
    assert_int_equal(wal_close(log), 0);
    assert_int_equal(atomic_load(&scarce.live_bytes), 0);
    return atomic_load(&scarce.failed) != 0;
}

static void test_every_allocation_fails_while_running(void **state)
{
    for (unsigned forever = 0; forever < 2; forever++) {
        bool reached = true;
        for (long nth = 1; reached; nth++) {
            char path[SCRATCH_PATH_BYTES];
            assert_true(snprintf(path, sizeof(path), "%s/r%ld", (const char *)*state, nth) < (int)sizeof(path));
            reached = live_on_with(path, nth, forever != 0);
            assert_true(reached || nth > 10);
            scratch_remove(path);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_operation_fails, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_operation_fails_in_a_loop, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_operation_fails_with_threads, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_eio_while_creating, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_no_room_while_creating, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_no_room_where_reserving_tells_nothing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_eio_while_opening, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_each_read_at_open, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_a_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_the_directory_sync_at_a_roll, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_creating, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_opening, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_looking, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_running, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
