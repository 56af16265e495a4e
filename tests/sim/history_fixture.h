/* history_fixture.h - stories of one key told by hand, for the tests of the checker of histories.
 *
 * For programs with cmocka: what is not as it must be ends the test.
 *
 * May include: history.h. */

#ifndef TESTS_SIM_HISTORY_FIXTURE_H
#define TESTS_SIM_HISTORY_FIXTURE_H

#include "tests/sim/history.h"

enum { KEY = 7, STATES_MAX = 1 << 20 };

extern struct history *story;

/* An empty one; where there is one still, it is forgotten. */
void begin(void);

/* Added to the story: from when to when, and what. */
void found(uint64_t from, uint64_t to, uint64_t value);
void wrote(uint64_t from, uint64_t to, uint64_t value);
void swapped(uint64_t from, uint64_t to, uint64_t expected, uint64_t value);
void failed(uint64_t from, uint64_t to, uint64_t expected, uint64_t value);
void maybe_wrote(uint64_t from, uint64_t value);
void maybe_swapped(uint64_t from, uint64_t expected, uint64_t value);

/* The end: some order explains it; none does; none does, and these words are among the reasons. */
void good(void);
void bad(void);
void bad_because(const char *words);

#endif
