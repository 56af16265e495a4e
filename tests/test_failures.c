/* test_failures.c - every way in which the disk, the directory or the caller can be wrong, one by one, and what the log
 * answers.
 *
 * The happy path of a test: something is made wrong, the log says so with the code of wal.h and a text, and has changed
 * nothing that it should not; with the fault gone it works.
 *
 * What can fail: an answer. What this machine cannot show is told in a line `skipped: ...`.
 *
 * May include: fault_io.h. */

#define _GNU_SOURCE
#include "tests/fault_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 4096 };

static struct wal_options small(uint32_t flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags;
    options.segment_bytes = 16 * BLOCK;
    options.batch_bytes_max = 4 * BLOCK;
    return options;
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
        if (poll(&entry, 1, 5000) != 1) {
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
    struct wal_options options = small(WAL_CREATE | story->flags);
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
    struct wal_options options = small(WAL_CREATE);
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

static struct fault_io *disk_on(const char *directory)
{
    struct fault_io *disk = fault_io_make(directory, WAL_BACKEND_POSIX);
    assert_non_null(disk);
    return disk;
}

/* A closed log of so many records in `directory`, one commit each, over several segments when there are many. */
static void make_log(const char *directory, uint64_t records)
{
    struct wal_options options = small(WAL_CREATE);
    struct wal *log = NULL;
    assert_int_equal(wal_open(directory, &options, &log, NULL), 0);
    for (uint64_t i = 0; i < records; i++) {
        assert_int_equal(sample_commit(log, 1), 0);
    }
    assert_int_equal(wal_close(log), 0);
}

/* Opening with this fault answers with the code and a text, and without it works. */
static void open_fails(const char *directory, struct fault_rule rule, int wanted)
{
    struct fault_io *disk = disk_on(directory);
    fault_io_arm(disk, rule);
    struct wal_options options = small(WAL_CREATE);
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
            struct fault_io *disk = disk_on(*state);
            fault_io_arm(disk,
                         (struct fault_rule){.kinds = FAULT_READ, .nth = nth, .forever = forever != 0, .error = EIO});
            struct wal_options options = small(WAL_READ_ONLY);
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
    struct fault_io *disk = disk_on(*state);
    struct wal_options options = small(0);
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
    struct fault_io *disk = disk_on(*state);
    struct wal_options options = small(WAL_CREATE);
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

/* --- the directory is not what it should be ------------------------------------------------------ */

static struct wal_verdict refused(const char *directory, const struct wal_options *options, int wanted)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    memset(&verdict, 0xee, sizeof(verdict));
    bool exists = access(directory, F_OK) == 0;
    uint64_t before = exists ? scratch_digest(directory) : 0;
    int result = wal_open(directory, options, &log, &verdict);
    if (result != wanted) {
        print_error("%s (row %d): %s\n", wal_strerror(result), verdict.row, verdict.text);
    }
    assert_int_equal(result, wanted);
    assert_null(log);
    assert_string_not_equal(verdict.text, "");
    assert_true(strlen(verdict.text) < WAL_VERDICT_TEXT_BYTES);
    assert_true(exists == (access(directory, F_OK) == 0));
    assert_true(!exists || scratch_digest(directory) == before);
    return verdict;
}

static void put_file(const char *directory, const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    assert_true(snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_no_log_there(void **state)
{
    struct wal_options options = small(0);
    struct wal_verdict verdict = refused(*state, &options, WAL_ENOENT);
    assert_int_equal(verdict.kind, WAL_VERDICT_NONE);
    char missing[SCRATCH_PATH_BYTES];
    assert_true(snprintf(missing, sizeof(missing), "%s/missing", (char *)*state) < (int)sizeof(missing));
    (void)refused(missing, &options, WAL_ENOENT);
    (void)refused(missing, NULL, WAL_ENOENT);
    options.flags = WAL_READ_ONLY;
    (void)refused(missing, &options, WAL_ENOENT);
    options.flags = WAL_CREATE;
    assert_true(snprintf(missing, sizeof(missing), "%s/no/parent", (char *)*state) < (int)sizeof(missing));
    (void)refused(missing, &options, WAL_ENOENT);
}

static void test_not_a_log(void **state)
{
    put_file(*state, "letter.txt", "dear reader");
    struct wal_options options = small(0);
    (void)refused(*state, &options, WAL_ENOTLOG);
    options.flags = WAL_CREATE;
    (void)refused(*state, &options, WAL_ENOTLOG);
    options.flags = WAL_READ_ONLY;
    (void)refused(*state, &options, WAL_ENOTLOG);
    char path[SCRATCH_PATH_BYTES];
    assert_true(snprintf(path, sizeof(path), "%s/letter.txt", (char *)*state) < (int)sizeof(path));
    struct wal *log = NULL;
    assert_int_not_equal(wal_open(path, &options, &log, NULL), 0);
    assert_null(log);
}

static void test_exclusive(void **state)
{
    make_log(*state, 3);
    struct wal_options options = small(WAL_CREATE | WAL_EXCLUSIVE);
    (void)refused(*state, &options, WAL_EEXIST);
}

static void change_identity(const char *directory, uint64_t segment, void (*change)(struct format_identity *identity))
{
    uint8_t sector[FORMAT_SECTOR_BYTES];
    struct format_identity identity;
    scratch_read(directory, segment, 0, sector, sizeof(sector));
    assert_int_equal(format_identity_decode(sector, &identity), FORMAT_OK);
    change(&identity);
    format_identity_encode(&identity, sector);
    scratch_write(directory, segment, 0, sector, sizeof(sector));
}

static void make_newer(struct format_identity *identity)
{
    identity->major = FORMAT_MAJOR + 1;
}

static void make_strange(struct format_identity *identity)
{
    identity->features_must = 1u << 7;
}

static void test_of_a_newer_format(void **state)
{
    make_log(*state, 5);
    change_identity(*state, 1, make_newer);
    static const uint32_t flags[] = {0, WAL_CREATE, WAL_READ_ONLY, WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN};
    for (size_t i = 0; i < 4; i++) {
        struct wal_options options = small(flags[i]);
        struct wal_verdict verdict = refused(*state, &options, WAL_ENEWER);
        assert_int_equal(verdict.row, 1);
        assert_int_equal(verdict.kind, WAL_VERDICT_NONE);
    }
}

static void test_of_an_unknown_feature(void **state)
{
    make_log(*state, 5);
    change_identity(*state, 1, make_strange);
    struct wal_options options = small(WAL_ACCEPT_CORRUPT);
    struct wal_verdict verdict = refused(*state, &options, WAL_ENEWER);
    assert_int_equal(verdict.row, 1);
}

static void test_locked_by_another_process(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct wal_options options = small(WAL_CREATE | WAL_NO_THREADS);
        struct wal *log = NULL;
        char answer = wal_open(*state, &options, &log, NULL) == 0 && sample_commit(log, 1) == 0 ? 'y' : 'n';
        (void)!write(ends[1], &answer, 1);
        for (;;) {
            (void)pause();
        }
    }
    char answer = 'n';
    assert_int_equal(read(ends[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    struct wal_options options = small(WAL_CREATE);
    struct wal_verdict verdict = refused(*state, &options, WAL_EBUSY);
    assert_int_equal(verdict.kind, WAL_VERDICT_NONE);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ends[0]);
    (void)close(ends[1]);
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_true(sample_range_is_right(log, 1, 1));
    assert_int_equal(wal_close(log), 0);
}

static void test_no_permission(void **state)
{
    make_log(*state, 3);
    struct fault_io *disk = disk_on(*state);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_OPEN, .nth = 1, .forever = true, .error = EACCES});
    struct wal_options options = small(0);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    assert_int_equal(wal_open_io(fault_io_disk(disk), &options, &log, &verdict), WAL_EACCES);
    assert_string_not_equal(verdict.text, "");
    fault_io_free(disk);
    if (geteuid() == 0) {
        print_message("skipped: permissions on a real directory: root may do all\n");
        return;
    }
    assert_int_equal(chmod(*state, 0), 0);
    assert_int_equal(wal_open(*state, &options, &log, &verdict), WAL_EACCES);
    assert_int_equal(chmod(*state, 0700), 0);
}

/* --- segments missing, renamed, swapped, foreign ------------------------------------------------- */

enum { MANY = 45 }; /* Records of a log of four or five segments. */

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
    struct wal_options options = small(0);
    struct wal_verdict verdict = refused(directory, &options, wanted);
    assert_int_equal(verdict.row, row);
    assert_int_equal(verdict.kind, wanted == WAL_ECORRUPT ? WAL_VERDICT_CORRUPT : WAL_VERDICT_NONE);
    options.flags = WAL_CREATE | WAL_ACCEPT_UNCERTAIN;
    verdict = refused(directory, &options, wanted);
    assert_int_equal(verdict.row, row);
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
    struct wal_options options = small(0);
    struct wal_verdict verdict = refused(*state, &options, WAL_ECORRUPT);
    assert_int_equal(verdict.kind, WAL_VERDICT_CORRUPT);
}

static void test_newest_segment_renamed(void **state)
{
    make_log(*state, MANY);
    move_segment(*state, scratch_newest(*state), 900);
    struct wal_options options = small(0);
    struct wal_verdict verdict = refused(*state, &options, WAL_ECORRUPT);
    assert_int_equal(verdict.kind, WAL_VERDICT_CORRUPT);
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

static void test_segment_of_another_log(void **state)
{
    char here[SCRATCH_PATH_BYTES];
    char there[SCRATCH_PATH_BYTES];
    assert_true(snprintf(here, sizeof(here), "%s/here", (char *)*state) < (int)sizeof(here));
    assert_true(snprintf(there, sizeof(there), "%s/there", (char *)*state) < (int)sizeof(there));
    make_log(here, MANY);
    make_log(there, MANY);
    copy_segment(there, here, 2);
    expect_refusal(here, WAL_EFOREIGN, 1);
}

static void test_newest_segment_of_another_log(void **state)
{
    char here[SCRATCH_PATH_BYTES];
    char there[SCRATCH_PATH_BYTES];
    assert_true(snprintf(here, sizeof(here), "%s/here", (char *)*state) < (int)sizeof(here));
    assert_true(snprintf(there, sizeof(there), "%s/there", (char *)*state) < (int)sizeof(there));
    make_log(here, MANY);
    make_log(there, MANY);
    copy_segment(there, here, scratch_newest(there));
    expect_refusal(here, WAL_EFOREIGN, 1);
}

/* An older copy of one's own segment: its batches end too early for the anchor behind it. */
static void test_older_copy_of_a_segment(void **state)
{
    char early[SCRATCH_PATH_BYTES];
    char late[SCRATCH_PATH_BYTES];
    assert_true(snprintf(early, sizeof(early), "%s/early", (char *)*state) < (int)sizeof(early));
    assert_true(snprintf(late, sizeof(late), "%s/late", (char *)*state) < (int)sizeof(late));
    make_log(late, 20);
    scratch_copy(late, early);
    struct wal_options options = small(0);
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
    struct wal_options options = small(0);
    options.known_durable_index = 11;
    struct wal_verdict verdict = refused(*state, &options, WAL_ECORRUPT);
    assert_int_equal(verdict.row, 7);
    options.known_durable_index = 10;
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
}

static void test_segment_cut_short(void **state)
{
    make_log(*state, MANY);
    char path[SCRATCH_PATH_BYTES];
    scratch_path(*state, 2, path);
    assert_int_equal(truncate(path, 8 * BLOCK), 0);
    struct wal_options options = small(0);
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
    assert_true(snprintf(path, sizeof(path), "%s/log", (char *)*state) < (int)sizeof(path));
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
    assert_true(snprintf(path, sizeof(path), "%s/log", (char *)*state) < (int)sizeof(path));
    struct wal *log = NULL;
    struct wal_options options = small(WAL_CREATE);
    options.block_bytes = BLOCK;
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
    options = small(WAL_POWERSAFE_OVERWRITE);
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
    assert_true(snprintf(path, sizeof(path), "%s/log", (char *)*state) < (int)sizeof(path));
    struct wal *log = NULL;
    struct wal_options options = small(WAL_CREATE | WAL_POWERSAFE_OVERWRITE | WAL_BUFFERED);
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
    options = small(WAL_READ_ONLY | WAL_NO_THREADS);
    struct wal_verdict verdict;
    assert_int_equal(wal_open_io(disk, &options, &log, &verdict), 0);
    assert_int_equal(verdict.kind, WAL_VERDICT_CLEAN);
    assert_int_equal(wal_last_index(log), 200);
    struct wal_verify_report report;
    assert_int_equal(wal_verify(log, &report, NULL, NULL), 0);
    assert_int_equal(report.records, 200);
    assert_int_equal(wal_close(log), 0);
    options = small(WAL_POWERSAFE_OVERWRITE);
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
    struct wal_options options = small(WAL_CREATE);
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
    struct wal_options options = small(WAL_CREATE);
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
    struct wal_options options = small(WAL_READ_ONLY);
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
    struct wal_options options = small(flags);
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

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_operation_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_operation_fails_in_a_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_operation_fails_with_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eio_while_creating, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room_while_creating, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room_where_reserving_tells_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eio_while_opening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_each_read_at_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_a_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eio_of_the_directory_sync_at_a_roll, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_log_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_a_newer_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_an_unknown_feature, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locked_by_another_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_permission, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment_missing_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_segment_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_missing_before_ready_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_segments_swapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_swapped_with_the_one_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment_of_another_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_segment_of_another_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_copy_of_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_segment_has_a_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shorter_than_the_caller_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segment_cut_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options_out_of_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_option_against_the_log_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks_smaller_than_direct_io_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse_of_append, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse_of_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only_refuses_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_creating, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_opening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_while_looking, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
