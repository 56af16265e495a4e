/* history_steps.c - the operations on one key as steps, each with the time by which it is due.
 *
 * What for: a search for an order need not know kinds of operations, outcomes and values, only what a step finds, what
 * it makes and when it may be next.
 *
 * The happy path: the values get numbers, the operations become steps, the deadlines are brought forward, and the steps
 * are sorted by them.
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
 * What can fail: there may be no order, for a reason that shows here already: a value was found that nobody wrote, or
 * before it was written. That is said. Memory is asserted.
 *
 * Invariants: steps are sorted by deadline, so optional ones come last and a smaller number is never due later.
 *
 * May include: history_memory.h, history_steps.h, wal/check.h. */

#include "tests/sim/history_steps.h"

#include "tests/sim/history_memory.h"

#include "wal/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SEVERAL (NONE - 1)

/* --- values and steps ---------------------------------------------------------------------------- */

static int compare_numbers(const void *left, const void *right)
{
    uint64_t one, other;
    memcpy(&one, left, sizeof(one));
    memcpy(&other, right, sizeof(other));
    return (one > other) - (one < other);
}

uint32_t history_value_number(const struct steps *steps, uint64_t value)
{
    const uint64_t *found = bsearch(&value, steps->values, steps->value_count, sizeof(*steps->values), compare_numbers);
    CHECK(found != NULL);
    return (uint32_t)(found - steps->values);
}

static void number_values(struct steps *steps, const struct operation *operations, const uint32_t *numbers,
                          uint32_t count)
{
    steps->values = history_take(2 * (size_t)count + 1, sizeof(*steps->values));
    uint32_t all = 1; /* The first is 0, which every register holds at first. */
    for (uint32_t i = 0; i < count; i++) {
        const struct operation *operation = &operations[numbers[i]];
        steps->values[all++] = operation->value;
        steps->values[all++] = operation->expected;
    }
    qsort(steps->values, all, sizeof(*steps->values), compare_numbers);
    for (uint32_t i = 0; i < all; i++) {
        if (i == 0 || steps->values[i] != steps->values[i - 1]) {
            steps->values[steps->value_count++] = steps->values[i];
        }
    }
}

/* False: the operation has no part in any order. */
static bool make_step(const struct steps *steps, const struct operation *operation, struct step *step)
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
        step->expected = history_value_number(steps, operation->expected);
    }
    if (step->kind == STEP_WRITE || step->kind == STEP_SWAP) {
        step->value = history_value_number(steps, operation->value);
    }
    return true;
}

static void make_steps(struct steps *steps, const struct operation *operations, const uint32_t *numbers, uint32_t count)
{
    steps->all = history_take(count, sizeof(*steps->all));
    for (uint32_t i = 0; i < count; i++) {
        struct step *step = &steps->all[steps->count];
        if (make_step(steps, &operations[numbers[i]], step)) {
            step->operation = numbers[i];
            steps->count++;
        }
    }
}

/* --- deadlines ----------------------------------------------------------------------------------- */

/* Brings forward the deadlines of all that must have happened for this step to find what it needs. */
static void bring_forward(struct steps *steps, const uint32_t *makers, const struct step *step)
{
    while (!step_is_optional(step) && step_needs(step)) { /* Ends: each time around some deadline gets smaller. */
        uint32_t maker = makers[step->expected];
        if (maker == NONE || maker == SEVERAL || steps->all[maker].deadline <= step->deadline) {
            return;
        }
        steps->all[maker].deadline = step->deadline;
        step = &steps->all[maker];
    }
}

/* For each value the only step that makes it; NONE: there is no such step; SEVERAL: there are more, or a register may
 * hold the value without. */
static uint32_t *find_makers(const struct steps *steps)
{
    uint32_t *makers = history_take(steps->value_count, sizeof(*makers));
    for (uint32_t i = 0; i < steps->value_count; i++) {
        makers[i] = steps->values[i] == 0 ? SEVERAL : NONE;
    }
    for (uint32_t i = 0; i < steps->count; i++) {
        uint32_t value = steps->all[i].value;
        if (value != NONE) {
            makers[value] = makers[value] == NONE ? i : SEVERAL;
        }
    }
    return makers;
}

/* False, and said: something was found that nobody had written. */
static bool set_deadlines(struct steps *steps, const struct operation *operations, struct history_text *text)
{
    uint32_t *makers = find_makers(steps);
    bool explained = true;
    for (uint32_t i = 0; i < steps->count; i++) {
        bring_forward(steps, makers, &steps->all[i]);
    }
    for (uint32_t i = 0; i < steps->count && explained; i++) {
        const struct step *step = &steps->all[i];
        uint32_t key = operations[step->operation].key;
        bool must_find = !step_is_optional(step) && step_needs(step) && steps->values[step->expected] != 0;
        if (must_find && makers[step->expected] == NONE) {
            history_say(text, "key %" PRIu32 ": no order exists: nobody wrote the value that was found:", key);
            history_say_operation(text, operations, step->operation);
            explained = false;
        } else if (must_find && makers[step->expected] != SEVERAL) {
            const struct step *maker = &steps->all[makers[step->expected]];
            explained = maker->deadline >= maker->invoked;
            if (!explained) {
                history_say(text, "key %" PRIu32 ": no order exists: a value was found before it was written:", key);
                history_say_operation(text, operations, step->operation);
                history_say_operation(text, operations, maker->operation);
            }
        }
    }
    free(makers);
    return explained;
}

/* --- in order of deadlines ----------------------------------------------------------------------- */

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

static void mark_loose(struct steps *steps)
{
    bool *expected = history_take(steps->value_count, sizeof(*expected));
    for (uint32_t i = 0; i < steps->count; i++) {
        if (step_needs(&steps->all[i])) {
            expected[steps->all[i].expected] = true;
        }
    }
    for (uint32_t i = steps->must; i < steps->count; i++) {
        steps->all[i].loose = expected[steps->all[i].value];
    }
    free(expected);
}

bool history_steps_make(struct steps *steps, const struct operation *operations, const uint32_t *numbers,
                        uint32_t count, struct history_text *text)
{
    *steps = (struct steps){.count = 0};
    number_values(steps, operations, numbers, count);
    make_steps(steps, operations, numbers, count);
    if (!set_deadlines(steps, operations, text)) {
        return false;
    }
    qsort(steps->all, steps->count, sizeof(*steps->all), compare_steps);
    while (steps->must < steps->count && !step_is_optional(&steps->all[steps->must])) {
        steps->must++;
    }
    mark_loose(steps);
    return true;
}

void history_steps_free(struct steps *steps)
{
    free(steps->all);
    free(steps->values);
}
