/* test_sim_history_unknown.c - the checker of histories: stories told by hand of clients that do not know what became
 * of what they asked.
 *
 * What for: most of what the checker does beyond trying orders is about operations without an outcome, which may take
 * effect at any time or never.
 *
 * The happy path: stories where the verdict is plain. What can fail: only what is tested.
 *
 * Invariants: a story is told with and without what decides it.
 *
 * May include: history.h, history_fixture.h. */

#include "tests/sim/history_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

static void test_an_unknown_write_is_seen(void **state)
{
    (void)state;
    begin();
    maybe_wrote(1, 10);
    found(2, 3, 10);
    good();
    begin();
    maybe_wrote(1, 10);
    found(2, 3, 0);
    found(4, 5, 10);
    found(6, 7, 10);
    good();
    begin(); /* Or never. */
    wrote(1, 2, 9);
    maybe_wrote(3, 10);
    found(4, 5, 9);
    good();
}

static void test_an_unknown_write_takes_effect_late(void **state)
{
    (void)state;
    begin();
    maybe_wrote(1, 10);
    wrote(2, 3, 11);
    found(4, 5, 11);
    wrote(6, 7, 12);
    found(8, 9, 12);
    found(100, 101, 10);
    good();
}

static void test_an_unknown_write_is_seen_and_unseen(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 9);
    maybe_wrote(3, 10);
    found(4, 5, 10);
    found(6, 7, 9);
    bad_because("finds 9 [6, 7]");
    begin(); /* It takes effect once, not twice. */
    maybe_wrote(1, 10);
    found(2, 3, 10);
    wrote(4, 5, 11);
    found(6, 7, 11);
    found(8, 9, 10);
    bad();
}

static void test_an_unknown_swap(void **state)
{
    (void)state;
    begin();
    wrote(1, 2, 9);
    maybe_swapped(3, 9, 10);
    found(4, 5, 10);
    good();
    begin(); /* What it expects was gone when it began. */
    wrote(1, 2, 9);
    wrote(3, 4, 8);
    maybe_swapped(5, 9, 10);
    found(6, 7, 10);
    bad();
    begin(); /* Two of one value, and both were seen. */
    wrote(1, 2, 9);
    maybe_swapped(3, 9, 10);
    maybe_swapped(3, 9, 11);
    found(4, 5, 10);
    found(6, 7, 11);
    bad();
    begin(); /* One after the other, the last seen first. */
    maybe_swapped(1, 11, 12);
    maybe_swapped(1, 0, 10);
    maybe_swapped(1, 10, 11);
    found(2, 3, 12);
    good();
    begin();
    maybe_swapped(1, 11, 12);
    maybe_swapped(1, 0, 10);
    maybe_swapped(1, 10, 11);
    found(2, 3, 12);
    found(4, 5, 10);
    bad();
}

static void test_an_unknown_write_explains_a_failure(void **state)
{
    (void)state;
    begin(); /* Nobody ever finds 10, and yet it was there. */
    maybe_wrote(1, 10);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    wrote(6, 7, 11);
    found(8, 9, 11);
    good();
    begin(); /* It cannot go away by itself. */
    maybe_wrote(1, 10);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    found(6, 7, 9);
    bad();
    begin(); /* One explains one. */
    maybe_wrote(1, 10);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    wrote(6, 7, 11);
    failed(8, 9, 11, 8);
    bad();
    begin();
    maybe_wrote(1, 10);
    maybe_swapped(1, 11, 12);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    wrote(6, 7, 11);
    failed(8, 9, 11, 8);
    good();
    begin(); /* Not one that began later. */
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    maybe_wrote(6, 10);
    bad();
    begin(); /* Nor one that writes what the other expects. */
    maybe_wrote(1, 10);
    failed(2, 3, 0, 8);
    failed(4, 5, 10, 8);
    bad();
    begin(); /* Of two unknown ones the second needs the first. */
    maybe_wrote(1, 10);
    maybe_swapped(1, 10, 12);
    failed(2, 3, 0, 8);
    failed(4, 5, 10, 8);
    good();
}

static void test_the_right_unknown_write_is_kept_for_later(void **state)
{
    (void)state;
    begin(); /* The swap can explain only the first failure. */
    maybe_wrote(1, 20);
    maybe_swapped(1, 9, 21);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    wrote(6, 7, 11);
    failed(8, 9, 11, 8);
    good();
    begin(); /* 20 must go first, for the third failure expects it. */
    maybe_wrote(1, 20);
    maybe_wrote(1, 21);
    wrote(2, 3, 9);
    failed(4, 5, 9, 8);
    wrote(6, 7, 11);
    failed(8, 9, 11, 8);
    failed(10, 11, 20, 8);
    good();
}

/* Two writes in either order come to the same, but one of the orders has a use for what is unknown. */
static void two_orders(void)
{
    wrote(1, 100, 10);
    wrote(1, 101, 11);
    failed(2, 3, 0, 8);
    failed(4, 5, 10, 8);
    failed(6, 7, 11, 8);
}

static void test_what_is_left_of_the_unknown_ones_counts(void **state)
{
    (void)state;
    for (unsigned enough = 0; enough < 2; enough++) {
        begin();
        maybe_wrote(1, 90);
        two_orders();
        wrote(110, 111, 12);
        failed(112, 113, 12, 8);
        if (enough == 0) {
            good();
        } else {
            wrote(114, 115, 13);
            failed(116, 117, 13, 8);
            bad();
        }
    }
    for (unsigned enough = 0; enough < 2; enough++) {
        begin(); /* What it expects is there once more later on. */
        maybe_swapped(1, 11, 90);
        two_orders();
        wrote(110, 111, 11);
        failed(112, 113, 11, 8);
        if (enough == 0) {
            good();
        } else {
            wrote(114, 115, 11);
            failed(116, 117, 11, 8);
            bad();
        }
    }
}

static void test_refused_and_unreturned(void **state)
{
    (void)state;
    begin();
    history_refused(story, history_invoke(story, 5, HISTORY_WRITE, KEY, 10, 0, 1));
    found(2, 3, 10);
    bad_because("nobody wrote");
    begin();
    history_refused(story, history_invoke(story, 5, HISTORY_READ, KEY, 0, 0, 1));
    history_unknown(story, history_invoke(story, 5, HISTORY_READ, KEY, 0, 0, 1));
    history_invoke(story, 5, HISTORY_READ, KEY, 0, 0, 1);
    history_invoke(story, 6, HISTORY_WRITE, KEY, 10, 0, 1); /* As good as unknown. */
    found(2, 3, 10);
    assert_int_equal(history_count(story), 5);
    good();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_write_is_seen),
        cmocka_unit_test(test_an_unknown_write_takes_effect_late),
        cmocka_unit_test(test_an_unknown_write_is_seen_and_unseen),
        cmocka_unit_test(test_an_unknown_swap),
        cmocka_unit_test(test_an_unknown_write_explains_a_failure),
        cmocka_unit_test(test_the_right_unknown_write_is_kept_for_later),
        cmocka_unit_test(test_what_is_left_of_the_unknown_ones_counts),
        cmocka_unit_test(test_refused_and_unreturned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
