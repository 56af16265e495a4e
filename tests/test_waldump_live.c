/* test_waldump_live.c - waldump's record commands on a log whose start moves under them.
 *
 * The happy path: a log of several segments is written and stays open; a command runs in a child, with a pipe for its
 * results that nobody reads until it is full; then the start is moved behind what the command has seen, the files are
 * recycled, and the pipe is read to its end.
 *
 * What must hold: what is gone is no damage. dump ends with what is there; export, whose first line
 * has promised more, says that it could not be made.
 *
 * May include: dump_run.h, scratch.h. */

#define _GNU_SOURCE
#include "tests/dump_run.h"
#include "tests/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { RECORDS = 600, RECORD_BYTES = 700, KEPT_FROM = 590, TEXT_ROOM = 4 << 20 };

static char path[SCRATCH_PATH_BYTES];
static char text[TEXT_ROOM]; /* What the child printed. */

static struct wal *make_log(void)
{
    static char payload[RECORD_BYTES];
    struct wal *log;
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE | WAL_NO_THREADS | WAL_BUFFERED;
    options.segment_bytes = 64 << 10;
    options.batch_bytes_max = 16 << 10;
    scratch_make(path);
    assert_int_equal(wal_open(path, &options, &log, NULL), 0);
    for (unsigned i = 1; i <= RECORDS; i++) {
        const struct wal_record record = {.data = payload, .size = RECORD_BYTES, .type = 1, .tag = i};
        const struct wal_append append = {.records = &record, .record_count = 1};
        assert_int_equal(wal_commit(log, &append, NULL), 0);
    }
    return log;
}

static void move_start(struct wal *log)
{
    struct wal_receipt receipt;
    bool more = true;
    assert_int_equal(wal_truncate_prefix(log, KEPT_FROM, &receipt), 0);
    assert_int_equal(wal_wait(log, receipt.ticket), 0);
    for (unsigned turn = 0; more && turn < 1000; turn++) {
        assert_int_equal(wal_maintain(log, WAL_MAINTAIN_PREPARE, &more), 0);
    }
}

static pid_t start(int (*command)(struct settings *settings), struct settings *settings, int *results)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int lost = open("/dev/null", O_WRONLY);
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(lost, STDERR_FILENO);
        (void)close(ends[0]);
        int code = command(settings);
        emit_finish();
        _exit(code);
    }
    (void)close(ends[1]);
    *results = ends[0];
    return child;
}

/* Full, so that the child waits: nothing comes for a while. */
static void wait_until_full(int results)
{
    int before = -1;
    int now = 0;
    for (unsigned turn = 0; turn < 200 && (now == 0 || now != before); turn++) {
        const struct timespec pause = {.tv_nsec = 100000000};
        before = now;
        (void)nanosleep(&pause, NULL);
        assert_int_equal(ioctl(results, FIONREAD, &now), 0);
    }
    assert_true(now > 32 << 10);
}

static int finish(pid_t child, int results)
{
    size_t used = 0;
    ssize_t got;
    while ((got = read(results, text + used, sizeof(text) - 1 - used)) > 0) {
        used += (size_t)got;
    }
    text[used] = '\0';
    (void)close(results);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run_on_moving(int (*command)(struct settings *settings), struct settings *settings)
{
    struct wal *log = make_log();
    int results;
    settings->path = path;
    pid_t child = start(command, settings, &results);
    wait_until_full(results);
    move_start(log);
    int code = finish(child, results);
    assert_int_equal(wal_close(log), 0);
    scratch_remove(path);
    return code;
}

static bool has_index(unsigned index)
{
    char wanted[32];
    (void)snprintf(wanted, sizeof(wanted), "\"index\":%u,", index);
    return strstr(text, wanted) != NULL;
}

static void test_dump_goes_on_with_what_is_there(void **state)
{
    (void)state;
    struct settings settings = dump_settings(path);
    settings.payload = PAYLOAD_HEX;
    assert_int_equal(run_on_moving(command_dump, &settings), EXIT_READABLE);
    assert_true(has_index(1));
    for (unsigned index = KEPT_FROM; index <= RECORDS; index++) {
        assert_true(has_index(index));
    }
    assert_false(has_index(KEPT_FROM - 30));
}

static void test_dump_backwards_ends_at_the_start(void **state)
{
    (void)state;
    struct settings settings = dump_settings(path);
    settings.payload = PAYLOAD_HEX;
    settings.reverse = true;
    assert_int_equal(run_on_moving(command_dump, &settings), EXIT_READABLE);
    assert_true(has_index(RECORDS));
    assert_false(has_index(1));
}

static void test_an_export_that_lost_its_start_is_no_damage(void **state)
{
    (void)state;
    struct settings settings = dump_settings(path);
    assert_int_equal(run_on_moving(command_export, &settings), EXIT_DISK);
    assert_null(strstr(text, "\"kind\":\"end\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump_goes_on_with_what_is_there),
        cmocka_unit_test(test_dump_backwards_ends_at_the_start),
        cmocka_unit_test(test_an_export_that_lost_its_start_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
