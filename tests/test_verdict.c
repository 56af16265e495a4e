/* test_verdict.c - the recovery table: rows are exhaustive and exclusive, and a verdict follows from each. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "wal/verdict.h"

enum { QUESTIONS = 10 };

static struct observation observation_of(unsigned bits)
{
    return (struct observation){
        .no_log = (bits & 1) != 0,
        .no_beginning = (bits & 2) != 0,
        .segment_missing = (bits & 4) != 0,
        .does_not_join = (bits & 8) != 0,
        .newest_missing = (bits & 16) != 0,
        .mark_beyond = (bits & 32) != 0,
        .known_beyond = (bits & 64) != 0,
        .wrongly_written = (bits & 128) != 0,
        .unreadable_or_proof = (bits & 256) != 0,
        .covered_and_quiet = (bits & 512) != 0,
    };
}

static void test_every_observation_has_exactly_one_row(void **state)
{
    (void)state;
    unsigned seen_rows = 0;
    for (unsigned bits = 0; bits < 1u << QUESTIONS; bits++) {
        struct observation seen = observation_of(bits);
        /* Said in another way than the code says it: the lowest bit set is the row, none is the last row. */
        int expected = bits == 0 ? ROW_Y11 : ROW_Y1 + __builtin_ctz(bits);
        assert_int_equal(verdict_row(&seen), expected);
        seen_rows |= 1u << expected;
    }
    for (int row = ROW_Y1; row <= ROW_Y11; row++) {
        assert_true((seen_rows & 1u << row) != 0);
    }
}

static void test_each_row_has_a_verdict_and_a_story(void **state)
{
    (void)state;
    for (int row = ROW_NONE; row <= ROW_Y11; row++) {
        enum wal_verdict_kind kind = verdict_kind((enum verdict_row)row);
        enum wal_verdict_kind expected = row <= ROW_Y1    ? WAL_VERDICT_NONE
                                         : row <= ROW_Y8  ? WAL_VERDICT_CORRUPT
                                         : row == ROW_Y9  ? WAL_VERDICT_UNCERTAIN
                                         : row == ROW_Y10 ? WAL_VERDICT_CLEAN
                                                          : WAL_VERDICT_TORN;
        assert_int_equal(kind, expected);
        assert_true(verdict_story((enum verdict_row)row)[0] != '\0');
    }
}

static void test_only_damage_stops_an_open(void **state)
{
    (void)state;
    assert_int_equal(verdict_status(WAL_VERDICT_CLEAN), 0);
    assert_int_equal(verdict_status(WAL_VERDICT_TORN), 0);
    assert_int_equal(verdict_status(WAL_VERDICT_UNCERTAIN), WAL_EUNCERTAIN);
    assert_int_equal(verdict_status(WAL_VERDICT_CORRUPT), WAL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_observation_has_exactly_one_row),
        cmocka_unit_test(test_each_row_has_a_verdict_and_a_story),
        cmocka_unit_test(test_only_damage_stops_an_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
