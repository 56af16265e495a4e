/* history.c - what clients asked of a key-value store and what they were told, and whether one order explains it all.
 *
 * What for: a simulated cluster may lose, repeat and delay what it likes, but its clients must not see it. This file
 * keeps what they saw and has an order of the operations looked for that a single register for each key would explain.
 *
 * The happy path: a history is linearizable if that of each key is, so every key is looked at alone. Its operations
 * become steps (history_steps.h), and a search puts them in order (history_search.h).
 *
 * What can fail: the states may run out, and the check says that it does not know. A bad key is reported rather than
 * one that ran out. Memory is asserted.
 *
 * Invariants: an operation gets one outcome. Calls go one way: from here to the search, from there to the steps and to
 * the states that were seen (history_seen.h).
 *
 * May include: history.h, history_memory.h, history_operation.h, history_search.h, wal/check.h. */

#include "tests/sim/history.h"

#include "tests/sim/history_memory.h"
#include "tests/sim/history_operation.h"
#include "tests/sim/history_search.h"

#include "wal/check.h"

#include <inttypes.h>
#include <stdlib.h>

struct history {
    struct operation *operations;
    uint32_t count, capacity;
    bool gave_up;
    uint64_t states;
    struct history_text text;
};

/* --- the recorder -------------------------------------------------------------------------------- */

struct history *history_new(void)
{
    return history_take(1, sizeof(struct history));
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
    struct place *places = history_take(history->count, sizeof(*places));
    uint32_t *numbers = history_take(history->count, sizeof(*numbers));
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
    uint32_t undecided = UINT32_MAX;
    bool bad = false;
    history->states = 0;
    history->text.bytes = 0;
    states_max = states_max < HISTORY_STATES_MAX ? states_max : HISTORY_STATES_MAX;
    for (uint32_t first = 0, end = 0; first < history->count && !bad; first = end) {
        uint32_t key = history->operations[numbers[first]].key;
        while (end < history->count && history->operations[numbers[end]].key == key) {
            end++;
        }
        enum history_verdict verdict = history_search(history->operations, numbers + first, end - first, states_max,
                                                      &history->states, &history->text);
        bad = verdict == HISTORY_NO_ORDER;
        undecided = verdict == HISTORY_UNDECIDED ? first : undecided;
    }
    history->gave_up = !bad && undecided != UINT32_MAX;
    if (history->gave_up) {
        history_say(&history->text, "key %" PRIu32 ": gave up after %" PRIu64 " states",
                    history->operations[numbers[undecided]].key, states_max);
    }
    free(numbers);
    return bad || history->gave_up ? history->text.text : NULL;
}

bool history_gave_up(const struct history *history)
{
    return history->gave_up;
}

uint64_t history_states(const struct history *history)
{
    return history->states;
}
