/* test_sim_history.c - the checker of histories: stories told by hand of clients that know what became of what they
 * asked.
 *
 * What for: every simulated run is judged by this checker. One that says yes too often hides bugs; one that says no
 * too often, or never ends, makes the simulation useless.
 *
 * The happy path: stories where the verdict is plain. Those of clients that do not know are in
 * test_sim_history_unknown.c, those that are drawn in test_sim_history_orders.c.
 *
 * What can fail: only what is tested. Invariants: a story is told with and without what decides it.
 *
 * May include: history.h, history_fixture.h. */

#include "tests/sim/history_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_one_after_the_other(void **state)
{
    (void)state;
    begin();
    good();
    begin();
    found(1, 2, 0);
    wrote(3, 4, 10);
    found(5, 6, 10);
    swapped(7, 8, 10, 11);
    failed(9, 10, 10, 12);
    found(11, 12, 11);
    wrote(13, 14, 13);
    found(15, 16, 13);
    good();
}

static void test_a_stale_read(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    wrote(3, 4, 11);
    found(5, 6, 10);
    bad_because("finds 10 [5, 6]");
}

static void test_an_acknowledged_write_is_lost(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    found(3, 4, 0);
    bad_because("#1 client 1 finds 0 [3, 4]");
    begin(); /* A shorter way to lose it. */
    wrote(1, 2, 10);
    swapped(3, 4, 0, 11);
    bad_because("writes 11 if it finds 0, and did [3, 4]");
}

static void test_a_read_goes_back(void **state)
{
    (void)state;
    begin(); /* Both while the second write is on its way. */
    wrote(1, 2, 10);
    wrote(3, 20, 11);
    found(4, 5, 11);
    found(6, 7, 10);
    bad();
    begin();
    wrote(1, 2, 10);
    wrote(3, 20, 11);
    found(4, 5, 10);
    found(6, 7, 11);
    good();
}

static void test_reads_at_the_same_time_may_differ(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    wrote(3, 20, 11);
    found(4, 8, 11);
    found(5, 7, 10);
    good();
    begin();
    wrote(1, 20, 10);
    found(2, 19, 10);
    found(3, 18, 0);
    found(4, 17, 10);
    good();
}

static void test_a_value_from_nowhere(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    found(3, 4, 99);
    bad_because("nobody wrote");
    begin(); /* Nor does one that failed write it. */
    failed(1, 2, 5, 99);
    found(3, 4, 99);
    bad_because("nobody wrote");
    begin();
    found(1, 2, 10);
    wrote(3, 4, 10);
    bad_because("before it was written");
    begin(); /* Nor is a write on its way seen before it begins. */
    found(1, 2, 10);
    maybe_wrote(3, 10);
    bad_because("before it was written");
}

static void test_two_swaps_of_one_value(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    swapped(3, 9, 10, 11);
    swapped(4, 8, 10, 12);
    bad();
    begin();
    swapped(1, 9, 0, 11);
    swapped(2, 8, 0, 12);
    bad_because("0 of 2");
    begin();
    swapped(1, 9, 0, 11);
    failed(2, 8, 0, 12);
    found(10, 11, 11);
    good();
}

static void test_a_swap_fails_without_reason(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    failed(3, 4, 10, 11);
    bad_because("and did not [3, 4]");
    begin();
    failed(1, 2, 0, 11);
    bad();
    begin(); /* The reason may be on its way. */
    wrote(1, 2, 10);
    wrote(2, 9, 12);
    failed(3, 4, 10, 11);
    good();
    begin(); /* But it did not come before a later read. */
    wrote(1, 2, 10);
    wrote(2, 9, 12);
    failed(3, 4, 10, 11);
    found(5, 6, 10);
    bad();
}

static void test_a_chain_of_swaps(void **state)
{
    (void)state;
    begin();
    swapped(1, 20, 12, 13);
    swapped(2, 20, 11, 12);
    swapped(3, 20, 0, 11);
    found(21, 22, 13);
    good();
    begin(); /* In that order they cannot have been. */
    swapped(1, 4, 12, 13);
    swapped(5, 20, 11, 12);
    swapped(5, 20, 0, 11);
    bad_because("before it was written");
    begin(); /* Something was between. */
    swapped(1, 20, 0, 11);
    swapped(1, 20, 11, 12);
    found(21, 22, 12);
    found(23, 24, 11);
    bad();
}

static void test_equal_times_are_no_order(void **state)
{
    (void)state;
    begin();
    wrote(1, 5, 10);
    found(5, 6, 0);
    good();
    begin();
    found(1, 5, 10);
    wrote(5, 6, 10);
    good();
    begin();
    wrote(1, 5, 10);
    found(6, 6, 0);
    bad();
}

static void test_writes_at_the_same_time_in_the_order_of_the_reads(void **state)
{
    (void)state;
    begin();
    wrote(1, 50, 10);
    wrote(1, 50, 11);
    wrote(1, 50, 12);
    found(2, 3, 11);
    found(4, 5, 12);
    found(6, 7, 10);
    good();
    begin();
    wrote(1, 50, 10);
    wrote(1, 50, 11);
    wrote(1, 50, 12);
    found(2, 3, 11);
    found(4, 5, 12);
    found(6, 7, 11);
    bad();
    begin(); /* Two clients disagree about the order. */
    wrote(1, 2, 10);
    wrote(1, 2, 11);
    found(3, 10, 10);
    found(11, 12, 11);
    bad();
}

static void test_values_written_twice(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    wrote(3, 4, 11);
    wrote(5, 6, 10);
    found(7, 8, 10);
    good();
    begin(); /* Which of the two unknown ones was seen? Both, one after the other. */
    maybe_wrote(1, 10);
    maybe_wrote(1, 10);
    found(2, 3, 10);
    wrote(4, 5, 11);
    found(6, 7, 11);
    found(8, 9, 10);
    good();
    begin();
    maybe_wrote(1, 10);
    maybe_wrote(1, 10);
    found(2, 3, 10);
    wrote(4, 5, 11);
    found(6, 7, 10);
    wrote(8, 9, 12);
    found(10, 11, 10);
    bad();
    begin(); /* Zero is what was there at first, but one may write it, too. */
    wrote(1, 2, 10);
    maybe_wrote(3, 0);
    found(4, 5, 10);
    found(6, 7, 0);
    good();
}

static void test_keys_do_not_mix(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 10);
    history_return(story, history_invoke(story, 9, HISTORY_READ, 8, 0, 0, 3), 0, true, 4);
    history_return(story, history_invoke(story, 9, HISTORY_READ, 6, 0, 0, 3), 0, true, 4);
    found(5, 6, 10);
    good();
    begin(); /* What is on another key is not an excuse. */
    history_return(story, history_invoke(story, 9, HISTORY_WRITE, 8, 10, 0, 1), 0, true, 2);
    found(3, 4, 10);
    bad_because("nobody wrote");
}

/* So many writes at a time, none of them found, and a failure that nothing explains: every set of them is a state. */
static void many_writes(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        wrote(1, 100, 10 + i);
    }
    failed(50, 60, 9, 8);
    wrote(101, 102, 9);
    failed(103, 104, 9, 7);
}

static void test_it_gives_up(void **state)
{
    (void)state;
    begin();
    many_writes(12);
    const char *text = history_check(story, 100);
    assert_non_null(text);
    assert_true(history_gave_up(story));
    assert_string_equal(text, "key 7: gave up after 100 states");
    assert_in_range(history_states(story), 100, 101);
    assert_non_null(history_check(story, STATES_MAX)); /* A check may be repeated. */
    assert_false(history_gave_up(story));
    history_return(story, history_invoke(story, 9, HISTORY_READ, 9, 0, 0, 3), 0, true, 4);
    assert_non_null(history_check(story, 100)); /* That another key is good does not help. */
    assert_true(history_gave_up(story));
    history_return(story, history_invoke(story, 9, HISTORY_READ, 8, 0, 0, 3), 99, true, 4);
    text = history_check(story, 100); /* What is certain counts, not what is not known. */
    assert_false(history_gave_up(story));
    assert_non_null(strstr(text, "key 8: no order exists"));
    history_free(story);
    story = NULL;
}

static void test_a_long_text_is_cut(void **state)
{
    (void)state;
    begin();
    for (uint64_t i = 0; i < 200; i++) {
        swapped(1, 100, 0, 1000000000 + i);
    }
    const char *text = history_check(story, STATES_MAX);
    assert_non_null(text);
    assert_int_equal(strlen(text), HISTORY_TEXT_BYTES - 1);
    history_free(story);
    story = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_a_stale_read),
        cmocka_unit_test(test_an_acknowledged_write_is_lost),
        cmocka_unit_test(test_a_read_goes_back),
        cmocka_unit_test(test_reads_at_the_same_time_may_differ),
        cmocka_unit_test(test_a_value_from_nowhere),
        cmocka_unit_test(test_two_swaps_of_one_value),
        cmocka_unit_test(test_a_swap_fails_without_reason),
        cmocka_unit_test(test_a_chain_of_swaps),
        cmocka_unit_test(test_equal_times_are_no_order),
        cmocka_unit_test(test_writes_at_the_same_time_in_the_order_of_the_reads),
        cmocka_unit_test(test_values_written_twice),
        cmocka_unit_test(test_keys_do_not_mix),
        cmocka_unit_test(test_it_gives_up),
        cmocka_unit_test(test_a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
