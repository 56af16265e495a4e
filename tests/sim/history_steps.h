/* history_steps.h - the operations on one key as steps that a search can put in order. For the files history*.c alone.
 *
 * May include: history_operation.h. */

#ifndef TESTS_SIM_HISTORY_STEPS_H
#define TESTS_SIM_HISTORY_STEPS_H

#include "tests/sim/history_operation.h"

#include <stdbool.h>
#include <stdint.h>

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
    bool loose;           /* Of an optional one: its value is expected by a step that is not sure to fail. */
    uint32_t chain, next; /* For the search: the next in the chain; NONE: it is the last. */
    bool used;            /* For the search: an optional one was taken. */
};

struct steps {
    struct step *all;
    uint32_t count, must; /* Those from `must` on are optional. */
    uint64_t *values;     /* By their numbers, sorted. */
    uint32_t value_count;
};

/* Of the operations of these numbers, which are on one key. False, and said: something was found that nobody had
 * written; then there are no steps to use. To be freed either way. */
bool history_steps_make(struct steps *steps, const struct operation *operations, const uint32_t *numbers,
                        uint32_t count, struct history_text *text);
void history_steps_free(struct steps *steps);

uint32_t history_value_number(const struct steps *steps, uint64_t value);

static inline bool step_is_optional(const struct step *step)
{
    return step->deadline == NO_DEADLINE;
}

/* Whether it must find the value that it expects. */
static inline bool step_needs(const struct step *step)
{
    return step->kind == STEP_READ || step->kind == STEP_SWAP;
}

#endif
