/* history.h - what clients asked of a key-value store and what they were told, and whether one order explains it all.
 *
 * A key holds a number; 0: it is absent, as every key is at first. The history is linearizable if every operation can
 * be given a moment between its invocation and its return so that, carried out one by one at these moments, all of them
 * find what they found. An operation comes before another only if it returned before the other was invoked; where the
 * two times are equal both orders will do, even for one client.
 *
 * The check is exact for any values. It is fast when no value is written twice to a key. */

#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HISTORY_OPERATIONS_MAX = 65000,
    HISTORY_STATES_MAX = 1 << 25, /* Of one key, whatever the caller allows. */
    HISTORY_TEXT_BYTES = 4096,
};

enum history_kind {
    HISTORY_READ,
    HISTORY_WRITE,
    HISTORY_COMPARE_AND_SET, /* Sets the value if the key holds the expected one (0: if it is absent). */
};

struct history;

struct history *history_new(void);
void history_free(struct history *history);

/* Returns the operation's number. Times need not grow from call to call. `value` is not used by a read; `expected` is
 * used by a compare-and-set alone. Until it is told otherwise the operation's outcome is unknown. */
uint32_t history_invoke(struct history *history, uint32_t client, enum history_kind kind, uint32_t key, uint64_t value,
                        uint64_t expected, uint64_t at_ns);
/* `result_value`: what a read found; not used otherwise. `succeeded` is false only of a compare-and-set that found
 * something else than it expected. */
void history_return(struct history *history, uint32_t operation, uint64_t result_value, bool succeeded, uint64_t at_ns);
/* The client gave up waiting: it takes effect at any time after its invocation, or never. */
void history_unknown(struct history *history, uint32_t operation);
/* The store said that it will never take effect. */
void history_refused(struct history *history, uint32_t operation);

uint32_t history_count(const struct history *history);

/* NULL: linearizable. Otherwise a text, valid until the next check: which key, and the operations at the place where
 * the longest order that was found ends. Looks at no more than `states_max` states for each key. */
const char *history_check(struct history *history, uint64_t states_max);
/* Of the newest check: its text says that it ran out of states, not that there is no order. */
bool history_gave_up(const struct history *history);
/* Of the newest check: states looked at, of all keys. */
uint64_t history_states(const struct history *history);

#endif
