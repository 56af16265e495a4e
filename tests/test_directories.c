/* test_directories.c - the directory is not what it should be: no log, another program's files, a log that somebody has
 * open, one that may not be read, one that is reached by a relative path.
 *
 * The happy path of a test: a directory is made as it should not be, and opening it is refused with the code of wal.h
 * and a text. What its segments may lack is in test_segments.c, what they may claim in test_forged.c.
 *
 * What can fail: an answer. What this machine cannot show is told in a line `skipped: ...`.
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
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void put_file(const char *directory, const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_no_log_there(void **state)
{
    struct wal_options options = tiny(0);
    struct wal_verdict verdict = expect_refused(*state, &options, WAL_ENOENT);
    assert_int_equal(verdict.kind, WAL_VERDICT_NONE);
    char missing[SCRATCH_PATH_BYTES];
    scratch_join(missing, *state, "missing");
    (void)expect_refused(missing, &options, WAL_ENOENT);
    (void)expect_refused(missing, NULL, WAL_ENOENT);
    options.flags = WAL_READ_ONLY;
    (void)expect_refused(missing, &options, WAL_ENOENT);
    options.flags = WAL_CREATE;
    scratch_join(missing, *state, "no/parent");
    (void)expect_refused(missing, &options, WAL_ENOENT);
}

static void test_not_a_log(void **state)
{
    put_file(*state, "letter.txt", "dear reader");
    struct wal_options options = tiny(0);
    (void)expect_refused(*state, &options, WAL_ENOTLOG);
    options.flags = WAL_CREATE;
    (void)expect_refused(*state, &options, WAL_ENOTLOG);
    options.flags = WAL_READ_ONLY;
    (void)expect_refused(*state, &options, WAL_ENOTLOG);
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "letter.txt");
    struct wal *log = NULL;
    assert_int_not_equal(wal_open(path, &options, &log, NULL), 0);
    assert_null(log);
}

static void test_exclusive(void **state)
{
    make_log(*state, 3);
    struct wal_options options = tiny(WAL_CREATE | WAL_EXCLUSIVE);
    (void)expect_refused(*state, &options, WAL_EEXIST);
}

static void test_locked_by_another_process(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct wal_options options = tiny(WAL_CREATE | WAL_NO_THREADS);
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
    struct wal_options options = tiny(WAL_CREATE);
    struct wal_verdict verdict = expect_refused(*state, &options, WAL_EBUSY);
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
    struct fault_io *disk = fault_disk(*state);
    fault_io_arm(disk, (struct fault_rule){.kinds = FAULT_OPEN, .nth = 1, .forever = true, .error = EACCES});
    struct wal_options options = tiny(0);
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

/* The path given to wal_open names another log after a chdir: what is verified is the one that was opened. */
static void test_a_relative_path_and_a_change_of_directory(void **state)
{
    static const char *const places[] = {"a", "b"};
    struct wal *logs[2];
    struct wal_verify_report report;
    struct wal_options options = tiny(WAL_CREATE);
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(before >= 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(chdir(*state), 0);
        assert_int_equal(mkdir(places[i], 0755), 0);
        assert_int_equal(chdir(places[i]), 0);
        assert_int_equal(wal_open("log", &options, &logs[i], NULL), 0);
        for (unsigned n = 0; n < 9 - 6 * i; n++) {
            assert_int_equal(sample_commit(logs[i], 1), 0);
        }
        assert_int_equal(fchdir(before), 0);
    }
    assert_int_equal(chdir(*state), 0);
    assert_int_equal(chdir(places[1]), 0);
    assert_int_equal(wal_verify(logs[0], &report, NULL, NULL), 0);
    assert_int_equal(report.records, 9);
    assert_int_equal(fchdir(before), 0);
    assert_int_equal(close(before), 0);
    options.flags = 0;
    struct wal *second = NULL;
    char path[SCRATCH_PATH_BYTES];
    scratch_join(path, *state, "a/log");
    assert_int_equal(wal_open(path, &options, &second, NULL), WAL_EBUSY); /* And it has kept its lock. */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(wal_close(logs[i]), 0);
    }
}

static void test_a_name_beyond_the_numbers_is_none_of_ours(void **state)
{
    make_log(*state, 3);
    put_file(*state, "18446744073709551615.wal", "x");
    struct wal_options options = tiny(0);
    struct wal *log = NULL;
    assert_int_equal(wal_open(*state, &options, &log, NULL), 0);
    assert_int_equal(wal_close(log), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]); /* A name, with * and ?. */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_log_there, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_not_a_log, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_exclusive, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_locked_by_another_process, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_a_relative_path_and_a_change_of_directory, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_no_permission, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_a_name_beyond_the_numbers_is_none_of_ours, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
