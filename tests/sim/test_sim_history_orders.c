/* test_sim_history_orders.c - the checker of histories: against a slow one, and against registers that are right.
 *
 * What for: stories told by hand show what one thought of; these show the rest.
 *
 * The happy path: short random histories, judged also by trying every order; long ones from clients of a register that
 * works, before and after something in them is made wrong.
 *
 * What can fail: only what is tested. Random histories come from fixed seeds.
 *
 * Invariants: the slow checker knows nothing of deadlines, chains or loose steps. Both kinds of verdict must turn up
 * often enough among the random histories for the comparison to mean something.
 *
 * May include: history.h. */

#include "tests/sim/history.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { KEY = 7, STATES_MAX = 1 << 20 };

static uint64_t random_state;

static uint64_t draw(uint64_t bound)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % bound;
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
        cmocka_unit_test(test_short_ones_against_every_order),
        cmocka_unit_test(test_changed_ones_against_every_order),
        cmocka_unit_test(test_what_a_register_does_is_accepted),
        cmocka_unit_test(test_long_ones_with_a_stale_read_are_rejected),
        cmocka_unit_test(test_long_ones_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
