/* history_operation.h - an operation of a client, and how it is told. For the files history*.c alone.
 *
 * May include: history.h (of which it takes the kinds and the limits, nothing that it calls). */

#ifndef TESTS_SIM_HISTORY_OPERATION_H
#define TESTS_SIM_HISTORY_OPERATION_H

#include "tests/sim/history.h"

#include <stddef.h>

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

/* The text of a verdict. What does not fit is cut off. */
struct history_text {
    size_t bytes;
    char text[HISTORY_TEXT_BYTES];
};

__attribute__((format(printf, 2, 3))) void history_say(struct history_text *text, const char *format, ...);
/* On a line of its own: the operation of that number. */
void history_say_operation(struct history_text *text, const struct operation *operations, uint32_t number);

#endif
