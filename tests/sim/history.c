/* history.c - what clients asked of a key-value store and what they were told, and whether one order explains it all.
 *
 * What for: a simulated cluster may lose, repeat and delay what it likes, but its clients must not see it. This file
 * keeps what they saw and looks for an order of the operations that a single register for each key would explain.
 *
 * The happy path: a history is linearizable if that of each key is, so every key is looked at alone. Its operations
 * become steps, the steps become chains, and a search puts them in order: again and again it takes a step that may be
 * next, undoes it when it led nowhere, and keeps every state it saw so that none is looked at twice.
 *
 * Steps. A step may need a value (a read, a compare-and-set that succeeded), must not meet one (a compare-and-set that
 * failed), and may make one. Each has a deadline: the time of its return. An operation without an outcome has none: its
 * step is optional. A step may be next if it was invoked no later than the earliest deadline of the steps still to
 * come; optional ones do not count here.
 *
 * Deadlines are brought forward. If a single operation of the key makes a value other than 0 and some step that must
 * happen needs this value, then the maker must happen, and before that step, so the maker's deadline is at most that
 * step's. No order is lost, and the orders that this forbids are none: a third step, invoked after the new deadline, is
 * invoked after the return of the step that needs the value, so it comes after both anyway. Thus almost all operations
 * without an outcome that anybody saw stop being optional.
 *
 * Chains. Steps that must happen are dealt into chains where each step is invoked after the deadline of the one before.
 * What has been ordered of a chain is always a prefix, so the set of ordered steps is one position for each chain, and
 * there are no more chains than operations at a time.
 *
 * What is done without trying anything else, each time because any order that works from here still works with the step
 * moved to the front:
 * - A read that finds what the register holds, or a compare-and-set that fails rightly. Nothing else notices them.
 * - A write of a value that no step to come mentions, while the register holds a value that no step to come mentions,
 *   if no failing compare-and-set is to come. Between its old place and the next change nothing can stand, so nothing
 *   misses it there; before its old place nothing can tell the two values apart.
 *
 * What is not tried because it leads nowhere: to leave a value that some step needs and that no step makes again.
 * States where the register holds something that no step to come mentions count as the same: nothing tells them apart.
 * So do those that differ in whether an optional compare-and-set was used or has lost for good what it expects.
 *
 * Optional steps. Call one loose if some read found its value or some compare-and-set that did not certainly fail
 * expects it, and one that does is still to come. Others can do only one thing: hide a value from a compare-and-set
 * that fails because of it. Take an order with as few optional steps as can be, and in it one that is not loose, which
 * changes the register from a to b. Up to the next change there stand only failing compare-and-sets, for nobody finds
 * b. If none of them expects a, all is well without the optional step, against the choice of the order. So the step can
 * be moved to just before the first that does. Hence one that is not loose is tried only where a failing
 * compare-and-set may be next and expects what the register holds; where there is none it is never tried, which is as
 * good as to drop it. Of those whose values no step to come mentions one will do for another: what may be used now may
 * be used later. So a single one is tried, rather a compare-and-set than a write because a write is of use in more
 * places.
 *
 * What can fail: the states may run out, and the check says that it does not know. A bad key is reported rather than
 * one that ran out. Memory is asserted.
 *
 * Invariants: steps are sorted by deadline, so optional ones come last and a smaller number is never due later. The
 * tallies count the steps that are not ordered. The trail leads back to the first state. */

#include "tests/sim/history.h"

#include "wal/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum outcome {
    OUTCOME_PENDING,
    OUTCOME_RETURNED,
    OUTCOME_UNKNOWN,
    OUTCOME_REFUSED,
};

struct operation {
    enum history_kind kind;
    enum outcome outcome;
    uint32_t client, key;
    uint64_t value, expected; /* Of a read: the value found is the expected one. */
    uint64_t invoked, returned;
    bool succeeded;
};

struct history {
    struct operation *operations;
    uint32_t count, capacity;
    bool gave_up;
    uint64_t states;
    size_t text_bytes;
    char text[HISTORY_TEXT_BYTES];
};

static void *take(size_t count, size_t bytes)
{
    void *taken = calloc(count + 1, bytes); /* Never of nothing: what that gives is anybody's guess. */
    CHECK(taken != NULL);
    return taken;
}

/* --- the recorder -------------------------------------------------------------------------------- */

struct history *history_new(void)
{
    return take(1, sizeof(struct history));
}

void history_free(struct history *history)
{
    if (history != NULL) {
        free(history->operations);
        free(history);
    }
}

uint32_t history_count(const struct history *history)
{
    return history->count;
}

uint32_t history_invoke(struct history *history, uint32_t client, enum history_kind kind, uint32_t key, uint64_t value,
                        uint64_t expected, uint64_t at_ns)
{
    CHECK(history->count < HISTORY_OPERATIONS_MAX);
    CHECK(at_ns < UINT64_MAX);
    if (history->count == history->capacity) {
        history->capacity = 2 * history->capacity + 64;
        history->operations = realloc(history->operations, history->capacity * sizeof(*history->operations));
        CHECK(history->operations != NULL);
    }
    history->operations[history->count] = (struct operation){
        .kind = kind, .client = client, .key = key, .value = value, .expected = expected, .invoked = at_ns};
    return history->count++;
}

static struct operation *pending(struct history *history, uint32_t number)
{
    CHECK(number < history->count);
    CHECK(history->operations[number].outcome == OUTCOME_PENDING);
    return &history->operations[number];
}

void history_return(struct history *history, uint32_t operation, uint64_t result_value, bool succeeded, uint64_t at_ns)
{
    struct operation *returned = pending(history, operation);
    CHECK(at_ns >= returned->invoked);
    CHECK(at_ns < UINT64_MAX);
    CHECK(succeeded || returned->kind == HISTORY_COMPARE_AND_SET);
    returned->outcome = OUTCOME_RETURNED;
    returned->returned = at_ns;
    returned->succeeded = succeeded;
    if (returned->kind == HISTORY_READ) {
        returned->expected = result_value;
    }
}

void history_unknown(struct history *history, uint32_t operation)
{
    pending(history, operation)->outcome = OUTCOME_UNKNOWN;
}

void history_refused(struct history *history, uint32_t operation)
{
    pending(history, operation)->outcome = OUTCOME_REFUSED;
}

/* --- the text of a verdict ----------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct history *history, const char *format, ...)
{
    size_t room = sizeof(history->text) - history->text_bytes;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(history->text + history->text_bytes, room, format, arguments);
    va_end(arguments);
    CHECK(wanted >= 0);
    history->text_bytes += (size_t)wanted < room ? (size_t)wanted : room - 1; /* What does not fit is cut off. */
}

static void say_operation(struct history *history, uint32_t number)
{
    const struct operation *operation = &history->operations[number];
    bool known = operation->outcome == OUTCOME_RETURNED;
    say(history, "\n  #%" PRIu32 " client %" PRIu32 " ", number, operation->client);
    if (operation->kind == HISTORY_READ) {
        say(history, "finds %" PRIu64, operation->expected);
    } else if (operation->kind == HISTORY_WRITE) {
        say(history, "writes %" PRIu64, operation->value);
    } else {
        say(history, "writes %" PRIu64 " if it finds %" PRIu64 "%s", operation->value, operation->expected,
            !known                 ? ""
            : operation->succeeded ? ", and did"
                                   : ", and did not");
    }
    if (known) {
        say(history, " [%" PRIu64 ", %" PRIu64 "]", operation->invoked, operation->returned);
    } else {
        say(history, " [%" PRIu64 ", outcome unknown]", operation->invoked);
    }
}

/* --- states that were seen ----------------------------------------------------------------------- */

struct memo {
    uint64_t *keys; /* Of `words` each, one after the other. */
    size_t words;
    uint32_t count, capacity;
    uint32_t *slots; /* Number of a key plus one; 0: empty. */
    uint32_t slot_count;
};

static uint64_t hash_of(const uint64_t *key, size_t words)
{
    uint64_t hash = 0x9E3779B97F4A7C15U;
    for (size_t i = 0; i < words; i++) {
        hash = (hash ^ key[i]) * 0xD6E8FEB86659FD93U;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The slot where the key is, or the empty one where it belongs. */
static uint32_t *slot_of(struct memo *memo, const uint64_t *key)
{
    uint32_t mask = memo->slot_count - 1;
    uint32_t at = (uint32_t)hash_of(key, memo->words) & mask;
    while (memo->slots[at] != 0 &&
           memcmp(memo->keys + (memo->slots[at] - 1) * memo->words, key, memo->words * sizeof(*key)) != 0) {
        at = (at + 1) & mask; /* At least half are empty. */
    }
    return &memo->slots[at];
}

static void memo_grow(struct memo *memo)
{
    memo->capacity = memo->capacity == 0 ? 64 : 2 * memo->capacity;
    memo->keys = realloc(memo->keys, memo->capacity * memo->words * sizeof(*memo->keys));
    CHECK(memo->keys != NULL);
    free(memo->slots);
    memo->slot_count = 2 * memo->capacity;
    memo->slots = take(memo->slot_count, sizeof(*memo->slots));
    for (uint32_t i = 0; i < memo->count; i++) {
        *slot_of(memo, memo->keys + i * memo->words) = i + 1;
    }
}

/* False: it was there. */
static bool memo_add(struct memo *memo, const uint64_t *key)
{
    if (memo->count == memo->capacity) {
        memo_grow(memo);
    }
    uint32_t *slot = slot_of(memo, key);
    if (*slot != 0) {
        return false;
    }
    memcpy(memo->keys + memo->count * memo->words, key, memo->words * sizeof(*key));
    *slot = ++memo->count;
    return true;
}

/* --- steps --------------------------------------------------------------------------------------- */

#define NONE UINT32_MAX
#define NO_DEADLINE UINT64_MAX

enum step_kind {
    STEP_READ, /* Finds the expected value. */
    STEP_FAIL, /* A compare-and-set that does not. */
    STEP_SWAP, /* A compare-and-set that does. */
    STEP_WRITE,
};

struct step {
    enum step_kind kind;
    uint32_t operation;
    uint32_t expected, value; /* Numbers of values; NONE: it expects none, or makes none. */
    uint64_t invoked, deadline;
    uint32_t chain, next; /* The next in the chain; NONE: it is the last. */
    bool loose, used;     /* Of an optional one. */
};

/* What there is of a value among the steps that are not ordered. */
struct tally {
    int32_t needed;    /* Steps that must happen and must find it. */
    int32_t mentioned; /* Steps that care whether the register holds it. */
    int32_t made;      /* Steps that make it. */
};

struct trail {
    uint32_t step, value; /* What the register held before. */
};

struct frame {
    uint32_t trail_count, next; /* The smallest number of a step that was not tried. */
};

/* The search for an order of the operations on one key. */
struct search {
    struct step *steps;
    uint32_t count, must; /* Those from `must` on are optional. */
    uint64_t *values;     /* By their numbers, sorted. */
    struct tally *tallies;
    uint32_t value_count;
    uint32_t *heads; /* The next step of each chain. */
    uint32_t chain_count;
    uint32_t value, left;
    int32_t fails_left;
    struct trail *trail;
    struct frame *frames;
    uint32_t trail_count, frame_count;
    struct memo memo;
    uint64_t *key;
    uint32_t *deepest_heads; /* Where the longest order ended. */
    uint32_t deepest_value, deepest_left;
};

static void search_free(struct search *search)
{
    free(search->steps);
    free(search->values);
    free(search->tallies);
    free(search->heads);
    free(search->trail);
    free(search->frames);
    free(search->memo.keys);
    free(search->memo.slots);
    free(search->key);
    free(search->deepest_heads);
}

static bool is_optional(const struct step *step)
{
    return step->deadline == NO_DEADLINE;
}

/* Whether it must find the value that it expects. */
static bool needs(const struct step *step)
{
    return step->kind == STEP_READ || step->kind == STEP_SWAP;
}

static int compare_numbers(const void *left, const void *right)
{
    uint64_t one, other;
    memcpy(&one, left, sizeof(one));
    memcpy(&other, right, sizeof(other));
    return (one > other) - (one < other);
}

static uint32_t number_of(const struct search *search, uint64_t value)
{
    const uint64_t *found =
        bsearch(&value, search->values, search->value_count, sizeof(*search->values), compare_numbers);
    CHECK(found != NULL);
    return (uint32_t)(found - search->values);
}

static void number_values(struct search *search, const struct history *history, const uint32_t *numbers, uint32_t count)
{
    search->values = take(2 * (size_t)count + 1, sizeof(*search->values));
    uint32_t all = 1; /* The first is 0, which every register holds at first. */
    for (uint32_t i = 0; i < count; i++) {
        const struct operation *operation = &history->operations[numbers[i]];
        search->values[all++] = operation->value;
        search->values[all++] = operation->expected;
    }
    qsort(search->values, all, sizeof(*search->values), compare_numbers);
    for (uint32_t i = 0; i < all; i++) {
        if (i == 0 || search->values[i] != search->values[i - 1]) {
            search->values[search->value_count++] = search->values[i];
        }
    }
    search->tallies = take(search->value_count, sizeof(*search->tallies));
}

/* False: the operation has no part in any order. */
static bool make_step(const struct search *search, const struct operation *operation, struct step *step)
{
    bool returned = operation->outcome == OUTCOME_RETURNED;
    if (operation->outcome == OUTCOME_REFUSED || (operation->kind == HISTORY_READ && !returned)) {
        return false; /* Who knows what such a read found? */
    }
    *step = (struct step){.expected = NONE,
                          .value = NONE,
                          .next = NONE,
                          .invoked = operation->invoked,
                          .deadline = returned ? operation->returned : NO_DEADLINE};
    bool fails = operation->kind == HISTORY_COMPARE_AND_SET && returned && !operation->succeeded;
    step->kind = operation->kind == HISTORY_READ    ? STEP_READ
                 : operation->kind == HISTORY_WRITE ? STEP_WRITE
                 : fails                            ? STEP_FAIL
                                                    : STEP_SWAP;
    if (step->kind != STEP_WRITE) {
        step->expected = number_of(search, operation->expected);
    }
    if (step->kind == STEP_WRITE || step->kind == STEP_SWAP) {
        step->value = number_of(search, operation->value);
    }
    return true;
}

static void make_steps(struct search *search, const struct history *history, const uint32_t *numbers, uint32_t count)
{
    search->steps = take(count, sizeof(*search->steps));
    for (uint32_t i = 0; i < count; i++) {
        struct step *step = &search->steps[search->count];
        if (make_step(search, &history->operations[numbers[i]], step)) {
            step->operation = numbers[i];
            search->count++;
        }
    }
}

/* --- deadlines ----------------------------------------------------------------------------------- */

/* Brings forward the deadlines of all that must have happened for this step to find what it needs. */
static void bring_forward(struct search *search, const uint32_t *makers, const struct step *step)
{
    while (!is_optional(step) && needs(step)) { /* Ends: each time around some deadline gets smaller. */
        uint32_t maker = makers[step->expected];
        if (maker == NONE || search->steps[maker].deadline <= step->deadline) {
            return;
        }
        search->steps[maker].deadline = step->deadline;
        step = &search->steps[maker];
    }
}

/* For each value the only step that makes it; NONE: there is no such step, or a register may hold the value without. */
static uint32_t *find_makers(struct search *search)
{
    uint32_t *makers = take(search->value_count, sizeof(*makers));
    memset(makers, 0xff, search->value_count * sizeof(*makers));
    for (uint32_t i = 0; i < search->count; i++) {
        uint32_t value = search->steps[i].value;
        if (value != NONE) {
            makers[value] = ++search->tallies[value].made == 1 && search->values[value] != 0 ? i : NONE;
        }
    }
    return makers;
}

/* False, and said: something was found that nobody had written. */
static bool set_deadlines(struct search *search, struct history *history, uint32_t key)
{
    uint32_t *makers = find_makers(search);
    bool explained = true;
    for (uint32_t i = 0; i < search->count; i++) {
        bring_forward(search, makers, &search->steps[i]);
    }
    for (uint32_t i = 0; i < search->count && explained; i++) {
        const struct step *step = &search->steps[i];
        bool must_find = !is_optional(step) && needs(step) && search->values[step->expected] != 0;
        if (must_find && search->tallies[step->expected].made == 0) {
            say(history, "key %" PRIu32 ": no order exists: nobody wrote the value that was found:", key);
            say_operation(history, step->operation);
            explained = false;
        } else if (must_find && makers[step->expected] != NONE) {
            const struct step *maker = &search->steps[makers[step->expected]];
            explained = maker->deadline >= maker->invoked;
            if (!explained) {
                say(history, "key %" PRIu32 ": no order exists: a value was found before it was written:", key);
                say_operation(history, step->operation);
                say_operation(history, maker->operation);
            }
        }
    }
    free(makers);
    return explained;
}

/* --- chains -------------------------------------------------------------------------------------- */

/* By deadline; of optional ones compare-and-sets first, for they are used first. */
static int compare_steps(const void *left, const void *right)
{
    const struct step *one = left, *other = right;
    if (one->deadline != other->deadline) {
        return one->deadline < other->deadline ? -1 : 1;
    }
    if (one->kind != other->kind) {
        return one->kind < other->kind ? -1 : 1;
    }
    if (one->invoked != other->invoked) {
        return one->invoked < other->invoked ? -1 : 1;
    }
    return (one->operation > other->operation) - (one->operation < other->operation);
}

struct arrival {
    uint64_t invoked;
    uint32_t step;
};

static int compare_arrivals(const void *left, const void *right)
{
    const struct arrival *one = left, *other = right;
    if (one->invoked != other->invoked) {
        return one->invoked < other->invoked ? -1 : 1;
    }
    return (one->step > other->step) - (one->step < other->step);
}

static void make_chains(struct search *search)
{
    struct arrival *arrivals = take(search->must, sizeof(*arrivals));
    uint32_t *tails = take(search->must, sizeof(*tails));
    search->heads = take(search->must, sizeof(*search->heads));
    for (uint32_t i = 0; i < search->must; i++) {
        arrivals[i] = (struct arrival){.invoked = search->steps[i].invoked, .step = i};
    }
    qsort(arrivals, search->must, sizeof(*arrivals), compare_arrivals);
    for (uint32_t i = 0; i < search->must; i++) {
        struct step *step = &search->steps[arrivals[i].step];
        uint32_t chain = 0;
        while (chain < search->chain_count && search->steps[tails[chain]].deadline >= step->invoked) {
            chain++;
        }
        if (chain == search->chain_count) {
            search->heads[search->chain_count++] = arrivals[i].step;
        } else {
            search->steps[tails[chain]].next = arrivals[i].step;
        }
        step->chain = chain;
        tails[chain] = arrivals[i].step;
    }
    free(arrivals);
    free(tails);
}

static void tally_step(struct search *search, const struct step *step, int32_t change)
{
    if (step->expected != NONE) {
        struct tally *tally = &search->tallies[step->expected];
        tally->mentioned += change;
        tally->needed += needs(step) && !is_optional(step) ? change : 0;
    }
    if (step->value != NONE) {
        search->tallies[step->value].made += change;
    }
    search->fails_left += step->kind == STEP_FAIL ? change : 0;
}

/* Loose: its value is expected by a step that is not sure to fail. */
static void mark_loose(struct search *search)
{
    bool *expected = take(search->value_count, sizeof(*expected));
    for (uint32_t i = 0; i < search->count; i++) {
        if (needs(&search->steps[i])) {
            expected[search->steps[i].expected] = true;
        }
    }
    for (uint32_t i = search->must; i < search->count; i++) {
        search->steps[i].loose = expected[search->steps[i].value];
    }
    free(expected);
}

/* All that the search needs, once the deadlines are final. */
static void prepare(struct search *search)
{
    qsort(search->steps, search->count, sizeof(*search->steps), compare_steps);
    memset(search->tallies, 0, search->value_count * sizeof(*search->tallies));
    for (uint32_t i = 0; i < search->count; i++) {
        tally_step(search, &search->steps[i], 1);
        search->must += !is_optional(&search->steps[i]);
    }
    make_chains(search);
    mark_loose(search);
    search->value = number_of(search, 0);
    search->left = search->must;
    search->deepest_left = NONE;
    search->deepest_heads = take(search->chain_count, sizeof(*search->deepest_heads));
    search->trail = take(search->count, sizeof(*search->trail));
    search->frames = take(search->count, sizeof(*search->frames));
    search->memo.words = 1 + (search->chain_count + 3) / 4 + (search->count - search->must + 63) / 64;
    search->key = take(search->memo.words, sizeof(*search->key));
}

/* --- one step forth and back --------------------------------------------------------------------- */

static void apply(struct search *search, uint32_t number)
{
    struct step *step = &search->steps[number];
    search->trail[search->trail_count++] = (struct trail){.step = number, .value = search->value};
    tally_step(search, step, -1);
    if (step->value != NONE) {
        search->value = step->value;
    }
    if (number < search->must) {
        search->heads[step->chain] = step->next;
        search->left--;
    } else {
        step->used = true;
    }
}

static void undo_to(struct search *search, uint32_t trail_count)
{
    while (search->trail_count > trail_count) {
        const struct trail *last = &search->trail[--search->trail_count];
        struct step *step = &search->steps[last->step];
        tally_step(search, step, 1);
        search->value = last->value;
        if (last->step < search->must) {
            search->heads[step->chain] = last->step;
            search->left++;
        } else {
            step->used = false;
        }
    }
}

/* --- what may be next ---------------------------------------------------------------------------- */

/* A step that was invoked later than this has another one before it. */
static uint64_t earliest_deadline(const struct search *search)
{
    uint32_t first = NONE;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        first = search->heads[i] < first ? search->heads[i] : first;
    }
    return first == NONE ? NO_DEADLINE : search->steps[first].deadline;
}

/* Whether to take it is no question, as long as it may be next at all. */
static bool is_forced(const struct search *search, const struct step *step)
{
    switch (step->kind) {
    case STEP_READ:
        return step->expected == search->value;
    case STEP_FAIL:
        return step->expected != search->value;
    case STEP_WRITE:
        return search->fails_left == 0 && search->tallies[search->value].mentioned == 0 &&
               search->tallies[step->value].mentioned == 0;
    case STEP_SWAP:
        break;
    }
    return false;
}

static void take_forced(struct search *search)
{
    bool again = true;
    while (again) { /* Each time around but the last some step is taken. */
        uint64_t due = earliest_deadline(search);
        again = false;
        for (uint32_t i = 0; i < search->chain_count; i++) {
            uint32_t head = search->heads[i];
            if (head != NONE && search->steps[head].invoked <= due && is_forced(search, &search->steps[head])) {
                apply(search, head);
                again = true;
            }
        }
    }
}

/* Whether some compare-and-set waits for the register to hold something else, so as to fail. */
static bool is_blocked(const struct search *search, uint64_t due)
{
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t head = search->heads[i];
        if (head != NONE && search->steps[head].kind == STEP_FAIL && search->steps[head].invoked <= due) {
            return true;
        }
    }
    return false;
}

/* The smallest number from `from` on of an optional step worth a try. */
static uint32_t next_optional(const struct search *search, uint32_t from, uint64_t due)
{
    bool blocked = is_blocked(search, due), covered = false;
    for (uint32_t i = search->must; i < search->count; i++) {
        const struct step *step = &search->steps[i];
        bool possible = !step->used && step->invoked <= due && step->value != search->value &&
                        (step->kind == STEP_WRITE || step->expected == search->value);
        bool mentioned = search->tallies[step->value].mentioned > 0;
        if (!possible || (!blocked && !(step->loose && mentioned))) {
            continue;
        }
        if (!mentioned) {
            if (covered) {
                continue; /* The first of its like is as good. */
            }
            covered = true;
        }
        if (i >= from) {
            return i;
        }
    }
    return NONE;
}

/* The smallest number from `from` on of a step worth a try; those that are forced are taken. */
static uint32_t next_to_try(const struct search *search, uint32_t from)
{
    uint64_t due = earliest_deadline(search);
    uint32_t best = NONE;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t head = search->heads[i];
        if (head < from || head >= best || search->steps[head].invoked > due) {
            continue;
        }
        const struct step *step = &search->steps[head];
        if (step->kind == STEP_WRITE || (step->kind == STEP_SWAP && step->expected == search->value)) {
            best = head;
        }
    }
    return best != NONE ? best : next_optional(search, from, due);
}

/* The register no longer holds what some step needs, and never will again. */
static bool is_hopeless(const struct search *search, uint32_t before)
{
    const struct tally *tally = &search->tallies[before];
    return before != search->value && tally->needed > 0 && tally->made == 0;
}

/* --- the search ---------------------------------------------------------------------------------- */

enum verdict {
    VERDICT_ORDER,
    VERDICT_NO_ORDER,
    VERDICT_UNDECIDED,
};

/* Whether an optional step can never be taken from here on. */
static bool is_spent(const struct search *search, const struct step *step)
{
    return step->used ||
           (step->kind == STEP_SWAP && step->expected != search->value && search->tallies[step->expected].made == 0);
}

/* False: this state was seen before. */
static bool is_new(struct search *search)
{
    uint64_t *word = search->key;
    memset(word, 0, search->memo.words * sizeof(*word));
    *word++ = search->tallies[search->value].mentioned == 0 ? NONE : search->value;
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint64_t head = search->heads[i] == NONE ? UINT16_MAX : search->heads[i];
        word[i / 4] |= head << (i % 4 * 16);
    }
    word += (search->chain_count + 3) / 4;
    for (uint32_t i = search->must; i < search->count; i++) {
        uint32_t bit = i - search->must;
        word[bit / 64] |= (uint64_t)is_spent(search, &search->steps[i]) << (bit % 64);
    }
    return memo_add(&search->memo, search->key);
}

static void keep_deepest(struct search *search)
{
    if (search->left < search->deepest_left) {
        search->deepest_left = search->left;
        search->deepest_value = search->value;
        memcpy(search->deepest_heads, search->heads, search->chain_count * sizeof(*search->heads));
    }
}

static enum verdict find_order(struct search *search, uint64_t states_max)
{
    bool forth = true;
    for (;;) { /* Ends: each state is entered once, and each step is tried once in each. */
        if (forth) {
            take_forced(search);
            if (search->left == 0) {
                return VERDICT_ORDER;
            }
            keep_deepest(search);
            if (is_new(search)) {
                if (search->memo.count > states_max) {
                    return VERDICT_UNDECIDED;
                }
                search->frames[search->frame_count++] = (struct frame){.trail_count = search->trail_count};
            }
        }
        if (search->frame_count == 0) {
            return VERDICT_NO_ORDER;
        }
        struct frame *frame = &search->frames[search->frame_count - 1];
        undo_to(search, frame->trail_count);
        uint32_t number = next_to_try(search, frame->next);
        forth = number != NONE;
        if (forth) {
            uint32_t before = search->value;
            frame->next = number + 1;
            apply(search, number);
            forth = !is_hopeless(search, before);
        } else {
            search->frame_count--;
        }
    }
}

/* Where the longest order ended: what comes next in each chain, and what still has to find the value that is there. */
static void say_no_order(const struct search *search, struct history *history, uint32_t key)
{
    uint64_t held = search->values[search->deepest_value];
    say(history,
        "key %" PRIu32 ": no order exists: the longest one found has %" PRIu32 " of %" PRIu32
        " operations and leaves the value %" PRIu64 "; then there are",
        key, search->must - search->deepest_left, search->must, held);
    for (uint32_t i = 0; i < search->chain_count; i++) {
        if (search->deepest_heads[i] != NONE) {
            say_operation(history, search->steps[search->deepest_heads[i]].operation);
        }
    }
    const char *heading = "\n and";
    for (uint32_t i = 0; i < search->chain_count; i++) {
        uint32_t at = search->deepest_heads[i];
        while (at != NONE && search->steps[at].next != NONE) {
            at = search->steps[at].next;
            if (needs(&search->steps[at]) && search->steps[at].expected == search->deepest_value) {
                say(history, "%s", heading);
                say_operation(history, search->steps[at].operation);
                heading = "";
            }
        }
    }
}

static enum verdict check_key(struct history *history, const uint32_t *numbers, uint32_t count, uint64_t states_max)
{
    struct search search = {0};
    enum verdict verdict = VERDICT_NO_ORDER;
    uint32_t key = history->operations[numbers[0]].key;
    number_values(&search, history, numbers, count);
    make_steps(&search, history, numbers, count);
    if (set_deadlines(&search, history, key)) {
        prepare(&search);
        verdict = find_order(&search, states_max);
        history->states += search.memo.count;
        if (verdict == VERDICT_NO_ORDER) {
            say_no_order(&search, history, key);
        }
    }
    search_free(&search);
    return verdict;
}

/* --- all keys ------------------------------------------------------------------------------------ */

struct place {
    uint32_t key, operation;
};

static int compare_places(const void *left, const void *right)
{
    const struct place *one = left, *other = right;
    if (one->key != other->key) {
        return one->key < other->key ? -1 : 1;
    }
    return (one->operation > other->operation) - (one->operation < other->operation);
}

/* The operations' numbers, those on one key side by side. */
static uint32_t *sort_by_key(const struct history *history)
{
    struct place *places = take(history->count, sizeof(*places));
    uint32_t *numbers = take(history->count, sizeof(*numbers));
    for (uint32_t i = 0; i < history->count; i++) {
        places[i] = (struct place){.key = history->operations[i].key, .operation = i};
    }
    qsort(places, history->count, sizeof(*places), compare_places);
    for (uint32_t i = 0; i < history->count; i++) {
        numbers[i] = places[i].operation;
    }
    free(places);
    return numbers;
}

const char *history_check(struct history *history, uint64_t states_max)
{
    uint32_t *numbers = sort_by_key(history);
    uint32_t undecided = NONE;
    bool bad = false;
    history->states = 0;
    history->text_bytes = 0;
    states_max = states_max < HISTORY_STATES_MAX ? states_max : HISTORY_STATES_MAX;
    for (uint32_t first = 0, end = 0; first < history->count && !bad; first = end) {
        uint32_t key = history->operations[numbers[first]].key;
        while (end < history->count && history->operations[numbers[end]].key == key) {
            end++;
        }
        enum verdict verdict = check_key(history, numbers + first, end - first, states_max);
        bad = verdict == VERDICT_NO_ORDER;
        undecided = verdict == VERDICT_UNDECIDED ? first : undecided;
    }
    history->gave_up = !bad && undecided != NONE;
    if (history->gave_up) {
        say(history, "key %" PRIu32 ": gave up after %" PRIu64 " states", history->operations[numbers[undecided]].key,
            states_max);
    }
    free(numbers);
    return bad || history->gave_up ? history->text : NULL;
}

bool history_gave_up(const struct history *history)
{
    return history->gave_up;
}

uint64_t history_states(const struct history *history)
{
    return history->states;
}
