/* history_search.h - whether some order of the operations on one key explains what was found. For the files history*.c
 * alone.
 *
 * May include: history_operation.h. */

#ifndef TESTS_SIM_HISTORY_SEARCH_H
#define TESTS_SIM_HISTORY_SEARCH_H

#include "tests/sim/history_operation.h"

#include <stdint.h>

enum history_verdict {
    HISTORY_ORDER,
    HISTORY_NO_ORDER, /* And said why. */
    HISTORY_UNDECIDED,
};

/* Of the operations of these numbers, of which there is one at least, all on one key. Adds the states that it looked
 * at, of which it allows itself so many. */
enum history_verdict history_search(const struct operation *operations, const uint32_t *numbers, uint32_t count,
                                    uint64_t states_max, uint64_t *states, struct history_text *text);

#endif
