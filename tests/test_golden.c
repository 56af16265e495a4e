/* test_golden.c - logs of every format version are read for ever, and an independent reader agrees with ours.
 *
 *   - tests/golden/NAME/ holds the segments of a small log and expected.txt: what tests/read_log.py printed when it was
 *     made. Our library must find the same in a copy of it.
 *   - Fresh logs of random work are read by both, clean, torn and damaged: verdict, row, metadata and every record must
 *     be the same.
 *
 * `test_golden --make` writes the golden logs anew (only for a new format version). */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/crash_model.h"
#include "wal/wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const golden_names[] = {"v1.0-closed", "v1.0-torn", "v1.0-reset", "v1.0-doubt", "v1.0-corrupt"};
enum { GOLDEN_COUNT = sizeof(golden_names) / sizeof(golden_names[0]), LINE_BYTES = 1024 };

static char scratch[] = "/tmp/wal-golden-XXXXXX";

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    assert_int_equal(system(command), 0);
}

static struct wal_options small_options(uint32_t flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags | WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE | WAL_BUFFERED;
    options.block_bytes = 512;
    options.segment_bytes = 16 * 512;
    options.batch_bytes_max = 6 * 512;
    options.segments_pool_max = 1;
    return options;
}

/* --- what our library says, in the words of read_log.py ------------------------------------------ */

static const char *const verdict_words[] = {"none", "clean", "torn", "uncertain", "corrupt"};

static void print_hex(FILE *to, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        fprintf(to, "%02x", bytes[i]);
    }
}

static void print_head(FILE *to, struct wal *log, const struct wal_verdict *verdict)
{
    fprintf(to, "%s%s row Y%d records %" PRIu64 "..%" PRIu64 " doubt %" PRIu64 " metadata ",
            verdict_words[verdict->kind], verdict->closed ? " closed" : "", verdict->row, verdict->first_index,
            verdict->last_index, verdict->doubt_index);
    uint8_t metadata[WAL_METADATA_BYTES_MAX];
    size_t size;
    if (wal_metadata(log, metadata, sizeof(metadata), &size) == 0) {
        print_hex(to, metadata, size);
    } else {
        fprintf(to, "-");
    }
    fprintf(to, "\n");
}

/* Opens read only and writes what it finds: the head line (without the place), then index, type, tag, length of each
 * record. */
static void describe(const char *directory, const char *out_path)
{
    struct wal_options options = small_options(WAL_READ_ONLY);
    struct wal *log;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
    FILE *to = fopen(out_path, "w");
    assert_non_null(to);
    print_head(to, log, &verdict);
    struct wal_cursor *cursor;
    assert_int_equal(wal_cursor_open(log, 0, &cursor), 0);
    for (uint64_t index = verdict.first_index; index <= verdict.last_index; index++) {
        struct wal_record record;
        assert_int_equal(wal_cursor_next(cursor, &record), 0);
        fprintf(to, "%" PRIu64 " %u %" PRIu64 " %u\n", record.index, record.type, record.tag, record.size);
    }
    wal_cursor_close(cursor);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(wal_close(log), 0);
}

/* read_log.py's words, cut down to what describe() writes; the payload hashes stay in expected.txt. */
static void python_describes(const char *directory, const char *out_path)
{
    shell("python3 tests/read_log.py %s >%s.full; test $? -le 1", directory, out_path);
    shell("sed -e '1s/ end segment.*//' -e '2,$s/ [0-9a-f]*$//' %s.full >%s", out_path, out_path);
}

/* --- random work --------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % below;
}

static void one_operation(struct wal *log)
{
    struct operation operation = {.kind = OP_APPEND, .record_count = 1 + (unsigned)draw(3)};
    for (unsigned i = 0; i < 3; i++) {
        operation.ids[i] = (uint8_t)(1 + draw(MODEL_IDS - 1));
    }
    operation.metadata = draw(4) == 0 ? (uint8_t)(1 + draw(30)) : 0;
    uint64_t first = wal_first_index(log);
    uint64_t next = wal_last_index(log) + 1;
    if (draw(5) == 0) {
        operation.kind = OP_TRUNCATE;
        operation.index = next - draw(next - first + 1 < 9 ? next - first + 1 : 9);
        operation.record_count = (unsigned)draw(3);
    } else if (draw(9) == 0) {
        operation =
            (struct operation){.kind = OP_START, .index = next - draw(next - first + 1 < 5 ? next - first + 1 : 5)};
    } else if (draw(30) == 0) {
        operation = (struct operation){.kind = OP_RESET, .index = next + 1 + draw(9)};
    }
    struct wal_receipt receipt;
    if (model_submit(log, &operation, &receipt) == 0) {
        assert_int_equal(wal_wait(log, receipt.ticket), 0);
    }
    (void)!wal_maintain(log, draw(4) == 0 ? WAL_MAINTAIN_MARK : 0, NULL);
    (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL);
}

/* A log of random work in a fresh directory, opened several times; the last life is copied to `copy` before it is
 * closed. */
static void make_log(const char *directory, const char *copy, uint64_t seed, unsigned lives)
{
    random_state = seed;
    for (unsigned life = 0; life < lives; life++) {
        struct wal_options options = small_options(WAL_CREATE);
        struct wal *log;
        struct wal_verdict verdict;
        assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
        for (uint64_t i = 0, count = 5 + draw(12); i < count; i++) {
            one_operation(log);
        }
        if (copy != NULL && life + 1 == lives) {
            shell("rm -rf %s && cp -r %s %s", copy, directory, copy);
        }
        assert_int_equal(wal_close(log), 0);
    }
}

static void damage_file(const char *directory, uint64_t which, uint64_t offset, uint8_t with)
{
    char path[512];
    FILE *list = NULL;
    (void)snprintf(path, sizeof(path), "ls %s/*.wal | sort -r | sed -n %" PRIu64 "p", directory, which + 1);
    list = popen(path, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof(path), list));
    (void)pclose(list);
    path[strcspn(path, "\n")] = '\0';
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_not_equal(fputc(with, file), EOF);
    }
    assert_int_equal(fclose(file), 0);
}

/* --- tests --------------------------------------------------------------------------------------- */

static void assert_same(const char *a, const char *b)
{
    char command[1100];
    (void)snprintf(command, sizeof(command), "diff %s %s", a, b);
    if (system(command) != 0) {
        fail_msg("%s and %s differ", a, b);
    }
}

static void test_both_readers_agree_on_fresh_logs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        char log[256];
        char copy[256];
        char ours[256];
        char theirs[256];
        (void)snprintf(log, sizeof(log), "%s/fresh", scratch);
        (void)snprintf(copy, sizeof(copy), "%s/copy", scratch);
        (void)snprintf(ours, sizeof(ours), "%s/ours", scratch);
        (void)snprintf(theirs, sizeof(theirs), "%s/theirs", scratch);
        shell("rm -rf %s %s", log, copy);
        make_log(log, copy, seed, 1 + (unsigned)(seed % 4));
        describe(log, ours);
        python_describes(log, theirs);
        assert_same(ours, theirs);
        describe(copy, ours);
        python_describes(copy, theirs);
        assert_same(ours, theirs);
        damage_file(copy, draw(2), 512 * (1 + draw(14)) + draw(400), (uint8_t)draw(256));
        python_describes(copy, theirs);
        describe(copy, ours);
        /* Of a damaged log the readable part may be told differently; verdict and row may not. */
        shell("head -1 %s | sed 's/ records.*//' >%s.h; head -1 %s | sed 's/ records.*//' >%s.h", ours, ours, theirs,
              theirs);
        shell("cmp %s.h %s.h", ours, theirs);
    }
}

static void test_golden_logs_read_as_ever(void **state)
{
    (void)state;
    for (unsigned i = 0; i < GOLDEN_COUNT; i++) {
        char copy[256];
        char ours[256];
        char expected[256];
        (void)snprintf(copy, sizeof(copy), "%s/%s", scratch, golden_names[i]);
        (void)snprintf(ours, sizeof(ours), "%s/golden-ours", scratch);
        (void)snprintf(expected, sizeof(expected), "%s/golden-expected", scratch);
        shell("rm -rf %s && cp -r tests/golden/%s %s && mv %s/expected.txt %s.full", copy, golden_names[i], copy, copy,
              expected);
        shell("sed -e '1s/ end segment.*//' -e '2,$s/ [0-9a-f]*$//' %s.full >%s", expected, expected);
        describe(copy, ours);
        assert_same(ours, expected);
        shell("python3 tests/read_log.py %s >%s.python; test $? -le 1; cmp %s.python %s.full", copy, ours, ours,
              expected);
    }
}

static void test_golden_logs_that_are_whole_can_be_written_on(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char copy[256];
        (void)snprintf(copy, sizeof(copy), "%s/%s", scratch, golden_names[i]);
        shell("rm -rf %s && cp -r tests/golden/%s %s && rm %s/expected.txt", copy, golden_names[i], copy, copy);
        random_state = i + 1;
        struct wal_options options = small_options(0);
        struct wal *log;
        struct wal_verdict verdict;
        assert_int_equal(wal_open(copy, &options, &log, &verdict), 0);
        for (unsigned k = 0; k < 20; k++) {
            one_operation(log);
        }
        assert_int_equal(wal_close(log), 0);
        assert_int_equal(wal_open(copy, &options, &log, &verdict), 0);
        assert_true(verdict.closed);
        assert_int_equal(wal_close(log), 0);
    }
}

/* --- making -------------------------------------------------------------------------------------- */

/* Damages an early batch of the newest segment begun; false: that is none, or not one that a mark covers. */
static bool damage_covered(const char *directory)
{
    struct wal_options options = small_options(WAL_READ_ONLY);
    struct wal *log;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
    assert_int_equal(wal_close(log), 0);
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%020" PRIu64 ".wal", directory, verdict.segment);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 2 * 512 + 40, SEEK_SET), 0);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_not_equal(fputc(0xee, file), EOF);
    }
    assert_int_equal(fclose(file), 0);
    options = small_options(0);
    int status = wal_open(directory, &options, &log, &verdict);
    assert_int_not_equal(status, 0);
    return status == WAL_ECORRUPT;
}

static void accept_loss(const char *directory)
{
    struct wal_options options = small_options(WAL_ACCEPT_CORRUPT | WAL_ACCEPT_UNCERTAIN);
    struct wal *log;
    struct wal_verdict verdict;
    assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
    assert_true(verdict.accepted);
    one_operation(log);
    assert_int_equal(wal_close(log), 0);
}

static void make_golden(void **state)
{
    (void)state;
    shell("rm -rf tests/golden && mkdir tests/golden");
    for (unsigned i = 0; i < GOLDEN_COUNT; i++) {
        char directory[256];
        (void)snprintf(directory, sizeof(directory), "tests/golden/%s", golden_names[i]);
        bool copied = i == 1 || i == 3 || i == 4;
        char made[256];
        (void)snprintf(made, sizeof(made), "%s/made", scratch);
        shell("rm -rf %s", made);
        make_log(copied ? made : directory, copied ? directory : NULL, i < 3 ? 100 + i : 200, 3);
        if (i == 2) {
            struct wal_options options = small_options(0);
            struct wal *log;
            struct wal_verdict verdict;
            struct wal_receipt receipt;
            assert_int_equal(wal_open(directory, &options, &log, &verdict), 0);
            assert_int_equal(wal_reset(log, 5000, &receipt), 0);
            one_operation(log);
            assert_int_equal(wal_close(log), 0);
        }
        if (i == 3 || i == 4) {
            assert_true(damage_covered(directory));
        }
        if (i == 3) {
            accept_loss(directory);
        }
        shell("python3 tests/read_log.py %s >%s/expected; test $? -le 1; mv %s/expected %s/expected.txt", directory,
              scratch, scratch, directory);
        shell("head -1 %s/expected.txt", directory);
    }
}

int main(int count, char **arguments)
{
    assert_non_null(mkdtemp(scratch));
    const struct CMUnitTest making[] = {cmocka_unit_test(make_golden)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_readers_agree_on_fresh_logs),
        cmocka_unit_test(test_golden_logs_read_as_ever),
        cmocka_unit_test(test_golden_logs_that_are_whole_can_be_written_on),
    };
    bool make = count > 1 && strcmp(arguments[1], "--make") == 0;
    int failed = make ? cmocka_run_group_tests(making, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", scratch);
    return system(command) != 0 || failed;
}
