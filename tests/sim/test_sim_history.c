/* test_sim_history.c - the checker of histories: by hand, against a slow one, and against registers that are right.
 *
 * What for: every simulated run is judged by this checker. One that says yes too often hides bugs; one that says no
 * too often, or never ends, makes the simulation useless.
 *
 * The happy path: stories told by hand, where the verdict is plain; short random histories, judged also by trying
 * every order; long ones from clients of a register that works, before and after something in them is made wrong.
 *
 * What can fail: only what is tested. Random histories come from fixed seeds.
 *
 * Invariants: the slow checker knows nothing of deadlines, chains or loose steps. Both kinds of verdict must turn up
 * often enough among the random histories for the comparison to mean something. */

#include "tests/sim/history.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STATES_MAX = 1 << 20 };

static uint64_t random_state;

static uint64_t draw(uint64_t bound)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % bound;
}

/* --- stories by hand ----------------------------------------------------------------------------- */

enum { KEY = 7 };

static struct history *story;

/* What follows is added to the story of KEY: from when to when, and what. */
static void found(uint64_t from, uint64_t to, uint64_t value)
{
    history_return(story, history_invoke(story, 1, HISTORY_READ, KEY, 0, 0, from), value, true, to);
}

static void wrote(uint64_t from, uint64_t to, uint64_t value)
{
    history_return(story, history_invoke(story, 2, HISTORY_WRITE, KEY, value, 0, from), 0, true, to);
}

static void swapped(uint64_t from, uint64_t to, uint64_t expected, uint64_t value)
{
    history_return(story, history_invoke(story, 3, HISTORY_COMPARE_AND_SET, KEY, value, expected, from), 0, true, to);
}

static void failed(uint64_t from, uint64_t to, uint64_t expected, uint64_t value)
{
    history_return(story, history_invoke(story, 3, HISTORY_COMPARE_AND_SET, KEY, value, expected, from), 0, false, to);
}

static void maybe_wrote(uint64_t from, uint64_t value)
{
    history_unknown(story, history_invoke(story, 4, HISTORY_WRITE, KEY, value, 0, from));
}

static void maybe_swapped(uint64_t from, uint64_t expected, uint64_t value)
{
    history_unknown(story, history_invoke(story, 4, HISTORY_COMPARE_AND_SET, KEY, value, expected, from));
}

static void begin(void)
{
    history_free(story);
    story = history_new();
}

static void good(void)
{
    const char *text = history_check(story, STATES_MAX);
    if (text != NULL) {
        fail_msg("rejected: %s", text);
    }
    assert_false(history_gave_up(story));
    history_free(story);
    story = NULL;
}

static void bad_because(const char *words)
{
    const char *text = history_check(story, STATES_MAX);
    assert_non_null(text);
    assert_false(history_gave_up(story));
    assert_non_null(strstr(text, "key 7: no order exists"));
    if (strstr(text, words) == NULL) {
        fail_msg("no '%s' in: %s", words, text);
    }
    history_free(story);
    story = NULL;
}

static void bad(void)
{
    bad_because("");
}

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

/* --- every order --------------------------------------------------------------------------------- */

enum { SHORT_MAX = 11, SMALL_VALUES = 16, PLANS_MAX = 40000, NEVER_WRITTEN = 15 };

enum outcome {
    RETURNED,
    UNKNOWN,
};

/* An operation of a history that is still open to change. */
struct plan {
    enum history_kind kind;
    enum outcome outcome;
    uint32_t client, key;
    uint64_t value, expected, found, invoked, returned;
    bool succeeded;
};

static struct plan plans[PLANS_MAX];
static uint32_t plan_count;

/* Of each set of operations that were carried out: the values the register was seen to hold then. */
static uint16_t visited[1 << SHORT_MAX];

static bool explains(const struct plan *plan, uint64_t held, uint64_t *then)
{
    *then = held;
    if (plan->kind == HISTORY_READ) {
        return plan->outcome == UNKNOWN || plan->found == held;
    }
    bool does = plan->kind == HISTORY_WRITE || plan->expected == held;
    if (does) {
        *then = plan->value;
    }
    return plan->outcome == UNKNOWN || plan->kind == HISTORY_WRITE || does == plan->succeeded;
}

/* Tries each operation that no other one must precede as the next one. */
static bool some_order(uint32_t done, uint64_t held)
{
    bool all = true;
    if ((visited[done] >> held & 1) != 0) {
        return false;
    }
    visited[done] = (uint16_t)(visited[done] | 1U << held);
    for (uint32_t i = 0; i < plan_count; i++) {
        all = all && ((done >> i & 1) != 0 || plans[i].outcome == UNKNOWN);
    }
    for (uint32_t i = 0; i < plan_count && !all; i++) {
        uint64_t then;
        bool first = (done >> i & 1) == 0 && explains(&plans[i], held, &then);
        for (uint32_t j = 0; j < plan_count && first; j++) {
            first = (done >> j & 1) != 0 || plans[j].outcome == UNKNOWN || plans[j].returned >= plans[i].invoked;
        }
        all = first && some_order(done | 1U << i, then);
    }
    return all;
}

static bool slow_verdict(void)
{
    memset(visited, 0, sizeof(*visited) << plan_count);
    return some_order(0, 0);
}

static void record(struct history *history)
{
    for (uint32_t i = 0; i < plan_count; i++) {
        const struct plan *plan = &plans[i];
        uint32_t number =
            history_invoke(history, plan->client, plan->kind, plan->key, plan->value, plan->expected, plan->invoked);
        if (plan->outcome == RETURNED) {
            history_return(history, number, plan->found, plan->succeeded, plan->returned);
        } else {
            history_unknown(history, number);
        }
    }
}

static bool fast_verdict(void)
{
    struct history *history = history_new();
    record(history);
    bool accepted = history_check(history, STATES_MAX) == NULL;
    assert_false(history_gave_up(history));
    history_free(history);
    return accepted;
}

static void compare_verdicts(uint32_t *accepted, uint32_t *rejected)
{
    bool slow = slow_verdict(), fast = fast_verdict();
    if (slow != fast) {
        for (uint32_t i = 0; i < plan_count; i++) {
            print_message("%s value %u expected %u found %u succeeded %u [%u, %u]%s\n",
                          plans[i].kind == HISTORY_READ    ? "read"
                          : plans[i].kind == HISTORY_WRITE ? "write"
                                                           : "swap",
                          (unsigned)plans[i].value, (unsigned)plans[i].expected, (unsigned)plans[i].found,
                          plans[i].succeeded, (unsigned)plans[i].invoked, (unsigned)plans[i].returned,
                          plans[i].outcome == UNKNOWN ? " unknown" : "");
        }
        fail_msg("%s says yes, the other no", slow ? "the slow checker" : "the fast checker");
    }
    *accepted += fast;
    *rejected += !fast;
}

/* Anything at all, though of few values and times, so that it fits together now and then. */
static void draw_short(uint32_t count, bool unique, uint64_t times)
{
    uint64_t reads = draw(4), unknown = 1 + draw(5);
    plan_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct plan *plan = &plans[i];
        uint64_t some = draw(5);
        *plan = (struct plan){.client = i, .key = KEY, .invoked = draw(times), .succeeded = true};
        plan->kind = some < reads ? HISTORY_READ : some == reads ? HISTORY_WRITE : HISTORY_COMPARE_AND_SET;
        plan->outcome = draw(unknown) == 1 ? UNKNOWN : RETURNED;
        plan->returned = plan->invoked + draw(times / 2 + 1);
        plan->found = plan->kind == HISTORY_READ ? draw(count) : 0;
        plan->value = plan->kind != HISTORY_READ ? unique ? i + 1 : draw(4) : 0;
        plan->expected = plan->kind == HISTORY_COMPARE_AND_SET ? draw(count) : 0;
        plan->succeeded = plan->kind != HISTORY_COMPARE_AND_SET || draw(2) == 0;
    }
}

static void test_short_ones_against_every_order(void **state)
{
    (void)state;
    uint32_t accepted = 0, rejected = 0;
    random_state = 1;
    for (uint32_t round = 0; round < 300000; round++) {
        draw_short(1 + (uint32_t)draw(7), draw(4) != 0, 2 + draw(12));
        compare_verdicts(&accepted, &rejected);
    }
    assert_true(accepted > 30000 && rejected > 30000);
}

/* --- clients of a register that works ------------------------------------------------------------ */

enum { CLIENTS_MAX = 16, KEYS_MAX = 10, ORPHANS_MAX = 512 };

/* How the clients are. */
struct habits {
    uint32_t clients, keys, operations;
    uint32_t reads, writes;   /* Of ten; the rest is compare-and-sets. */
    uint32_t unknown_percent; /* Of the operations. */
    uint32_t unknown_max;
    uint64_t value_first; /* Values from here on are written. */
};

struct client {
    bool busy, applied, gives_up;
    uint32_t plan;
    uint64_t last_found[KEYS_MAX];
};

struct store {
    uint64_t held[KEYS_MAX], next_value, now;
    struct client clients[CLIENTS_MAX];
    uint32_t orphans[ORPHANS_MAX]; /* Given up, but still on their way. */
    uint32_t orphan_count, unknown_count;
};

static void carry_out(struct store *store, struct plan *plan)
{
    uint64_t *held = &store->held[plan->key];
    plan->succeeded = true;
    if (plan->kind == HISTORY_READ) {
        plan->found = *held;
    } else if (plan->kind == HISTORY_WRITE || *held == plan->expected) {
        *held = plan->value;
    } else {
        plan->succeeded = false;
    }
}

static void start_operation(struct store *store, const struct habits *habits, uint32_t number)
{
    struct client *client = &store->clients[number];
    struct plan *plan = &plans[plan_count];
    uint64_t some = draw(10);
    *plan = (struct plan){.client = number, .key = (uint32_t)draw(habits->keys), .invoked = store->now};
    plan->kind = some < habits->reads                    ? HISTORY_READ
                 : some < habits->reads + habits->writes ? HISTORY_WRITE
                                                         : HISTORY_COMPARE_AND_SET;
    if (plan->kind != HISTORY_READ) {
        plan->value = store->next_value++;
    }
    if (plan->kind == HISTORY_COMPARE_AND_SET) { /* What it knows of, or what is there. */
        plan->expected = draw(2) == 0 ? client->last_found[plan->key] : store->held[plan->key];
    }
    client->busy = true;
    client->applied = false;
    client->plan = plan_count++;
    client->gives_up = draw(100) < habits->unknown_percent && store->unknown_count < habits->unknown_max;
    store->unknown_count += client->gives_up;
}

static void give_up(struct store *store, struct client *client)
{
    struct plan *plan = &plans[client->plan];
    plan->outcome = UNKNOWN;
    client->busy = false;
    if (!client->applied && draw(3) != 0 && store->orphan_count < ORPHANS_MAX) {
        store->orphans[store->orphan_count++] = client->plan;
    }
}

/* A client does what comes next for it. */
static void advance(struct store *store, const struct habits *habits, uint32_t number)
{
    struct client *client = &store->clients[number];
    struct plan *plan = &plans[client->plan];
    if (!client->busy) {
        if (plan_count < habits->operations) {
            start_operation(store, habits, number);
        }
    } else if (client->gives_up && draw(2) == 0) {
        give_up(store, client);
    } else if (!client->applied) {
        carry_out(store, plan);
        client->applied = true;
    } else if (client->gives_up) {
        give_up(store, client);
    } else {
        plan->returned = store->now;
        client->busy = false;
        client->last_found[plan->key] = plan->kind == HISTORY_READ ? plan->found : plan->value;
    }
}

/* Fills `plans` with what the clients did. */
static void run_clients(const struct habits *habits)
{
    static struct store store;
    store = (struct store){.next_value = habits->value_first};
    plan_count = 0;
    bool busy = true;
    while (busy || plan_count < habits->operations) {
        store.now += draw(3) == 0 ? draw(5) : 0;
        advance(&store, habits, (uint32_t)draw(habits->clients));
        if (store.orphan_count > 0 && draw(8 * habits->clients) == 0) {
            uint32_t which = (uint32_t)draw(store.orphan_count);
            carry_out(&store, &plans[store.orphans[which]]);
            store.orphans[which] = store.orphans[--store.orphan_count];
        }
        busy = false;
        for (uint32_t i = 0; i < habits->clients; i++) {
            busy = busy || store.clients[i].busy;
        }
    }
    for (uint32_t i = 0; i < plan_count; i++) {
        plans[i].found = plans[i].outcome == RETURNED ? plans[i].found : 0;
    }
}

/* Some client learns something else than it did. */
static void change_a_result(uint64_t values)
{
    struct plan *plan = &plans[draw(plan_count)];
    if (plan->outcome != RETURNED) {
        plan->outcome = plan->kind == HISTORY_READ ? UNKNOWN : RETURNED;
        plan->returned = plan->invoked + draw(4);
        plan->succeeded = plan->kind != HISTORY_COMPARE_AND_SET || draw(2) == 0;
    } else if (plan->kind == HISTORY_READ) {
        plan->found = draw(values);
    } else if (plan->kind == HISTORY_COMPARE_AND_SET) {
        plan->succeeded = !plan->succeeded;
    } else {
        plan->returned -= draw(plan->returned - plan->invoked + 1);
    }
}

static void compare_changed(uint32_t operations, uint32_t rounds, uint32_t *accepted, uint32_t *rejected)
{
    for (uint32_t round = 0; round < rounds; round++) {
        struct habits habits = {.clients = 1 + (uint32_t)draw(5),
                                .keys = 1,
                                .operations = 1 + (uint32_t)draw(operations),
                                .reads = (uint32_t)draw(6),
                                .writes = (uint32_t)draw(5),
                                .unknown_percent = (uint32_t)draw(60),
                                .unknown_max = operations,
                                .value_first = 1};
        uint32_t right = 0, wrong = 0;
        run_clients(&habits);
        compare_verdicts(&right, &wrong);
        assert_int_equal(wrong, 0);
        change_a_result(habits.operations + 1);
        compare_verdicts(accepted, rejected);
    }
}

static void test_changed_ones_against_every_order(void **state)
{
    (void)state;
    uint32_t accepted = 0, rejected = 0;
    random_state = 2;
    compare_changed(7, 100000, &accepted, &rejected);
    assert_true(accepted > 10000 && rejected > 10000);
    accepted = rejected = 0;
    compare_changed(SHORT_MAX, 50000, &accepted, &rejected);
    assert_true(accepted > 5000 && rejected > 5000);
}

static struct habits any_habits(uint32_t operations)
{
    uint32_t keys = 1 + (uint32_t)draw(KEYS_MAX), reads = (uint32_t)draw(9);
    return (struct habits){.clients = 1 + (uint32_t)draw(CLIENTS_MAX),
                           .keys = keys,
                           .operations = operations,
                           .reads = reads,
                           .writes = (uint32_t)draw(11 - reads),
                           .unknown_percent = (uint32_t)draw(20),
                           .unknown_max = 24 * keys,
                           .value_first = 100};
}

static void test_what_a_register_does_is_accepted(void **state)
{
    (void)state;
    random_state = 3;
    for (uint32_t round = 0; round < 1500; round++) {
        struct habits habits = any_habits(200 + (uint32_t)draw(800));
        run_clients(&habits);
        assert_true(fast_verdict());
    }
}

/* Somebody finds a value though another one was written after it and before he asked. False: there is no such place. */
static bool add_stale_read(void)
{
    for (uint32_t tries = 0; tries < 10000; tries++) {
        const struct plan *old = &plans[draw(plan_count)], *new = &plans[draw(plan_count)];
        bool both_wrote = old->kind == HISTORY_WRITE && old->outcome == RETURNED &&
                          new->kind == HISTORY_WRITE &&new->outcome == RETURNED && old->key == new->key;
        if (both_wrote && old->returned < new->invoked) {
            plans[plan_count++] = (struct plan){.kind = HISTORY_READ,
                                                .key = old->key,
                                                .found = old->value,
                                                .succeeded = true,
                                                .invoked = new->returned + 1,
                                                .returned = new->returned + 2 + draw(50)};
            return true;
        }
    }
    return false;
}

static void test_long_ones_with_a_stale_read_are_rejected(void **state)
{
    (void)state;
    uint32_t rejected = 0;
    random_state = 4;
    for (uint32_t round = 0; round < 500; round++) {
        struct habits habits = any_habits(200 + (uint32_t)draw(800));
        run_clients(&habits);
        if (add_stale_read()) {
            assert_false(fast_verdict());
            rejected++;
        }
    }
    assert_true(rejected > 300);
}

/* --- it ends ------------------------------------------------------------------------------------- */

static void assert_it_ends(const struct habits *habits, uint64_t states_max)
{
    for (uint32_t round = 0; round < 20; round++) {
        struct history *history = history_new();
        run_clients(habits);
        record(history);
        assert_int_equal(history_count(history), habits->operations);
        const char *text = history_check(history, states_max);
        if (text != NULL) {
            fail_msg("%s", text);
        }
        history_free(history);
    }
}

static void test_long_ones_end(void **state)
{
    (void)state;
    random_state = 5;
    struct habits usual = {.clients = 8,
                           .keys = 10,
                           .operations = 2000,
                           .reads = 4,
                           .writes = 3,
                           .unknown_percent = 20,
                           .unknown_max = 200,
                           .value_first = 1};
    assert_it_ends(&usual, 100000);
    struct habits crowded = {.clients = 16,
                             .keys = 1,
                             .operations = 2000,
                             .reads = 4,
                             .writes = 3,
                             .unknown_percent = 3,
                             .unknown_max = 40,
                             .value_first = 1};
    assert_it_ends(&crowded, STATES_MAX);
    struct habits longest = {.clients = 8,
                             .keys = 10,
                             .operations = 40000,
                             .reads = 5,
                             .writes = 3,
                             .unknown_percent = 1,
                             .unknown_max = 200,
                             .value_first = 1};
    assert_it_ends(&longest, STATES_MAX);
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
        cmocka_unit_test(test_an_unknown_write_is_seen),
        cmocka_unit_test(test_an_unknown_write_takes_effect_late),
        cmocka_unit_test(test_an_unknown_write_is_seen_and_unseen),
        cmocka_unit_test(test_an_unknown_swap),
        cmocka_unit_test(test_an_unknown_write_explains_a_failure),
        cmocka_unit_test(test_the_right_unknown_write_is_kept_for_later),
        cmocka_unit_test(test_what_is_left_of_the_unknown_ones_counts),
        cmocka_unit_test(test_equal_times_are_no_order),
        cmocka_unit_test(test_writes_at_the_same_time_in_the_order_of_the_reads),
        cmocka_unit_test(test_values_written_twice),
        cmocka_unit_test(test_refused_and_unreturned),
        cmocka_unit_test(test_keys_do_not_mix),
        cmocka_unit_test(test_it_gives_up),
        cmocka_unit_test(test_a_long_text_is_cut),
        cmocka_unit_test(test_short_ones_against_every_order),
        cmocka_unit_test(test_changed_ones_against_every_order),
        cmocka_unit_test(test_what_a_register_does_is_accepted),
        cmocka_unit_test(test_long_ones_with_a_stale_read_are_rejected),
        cmocka_unit_test(test_long_ones_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
