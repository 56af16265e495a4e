/* crash_traces.h - the traces that random search would not find soon, as short scripts; each cut in them is exhaustive.
 */

#ifndef TESTS_CRASH_TRACES_H
#define TESTS_CRASH_TRACES_H

#include <stdbool.h>
#include <stdint.h>

struct traces {
    /* Given. */
    double seconds;          /* At most; 0: no bound. */
    const char *only;        /* One trace by name, or "in-flight script" of a new one; NULL: all of them. */
    uint64_t images_at_most; /* Of one trace; 0: 20,000. */
    unsigned words;          /* Of the scripts that are tried in all combinations; 0: 1. */

    /* Counted. */
    unsigned traces;
    uint64_t images; /* Opened. */
    uint64_t damaged, reported, harmless, lies_irreducible;

    /* Of the first failure. */
    bool failed;
    char failure[900]; /* With the trace's name. */
};

/* True: nothing failed. */
bool crash_traces(struct traces *traces);

#endif
