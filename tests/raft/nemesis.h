/* nemesis.h - one seed's life of a cluster, under every fault there is. */

#ifndef TESTS_RAFT_NEMESIS_H
#define TESTS_RAFT_NEMESIS_H

#include <stdbool.h>
#include <stdint.h>

struct nemesis_result {
    uint64_t steps, committed, blocked, reads; /* Added to. */
    char failure[400];                         /* Of a run that failed. */
};

/* False: something did not hold; result->failure says what. trace: told on stdout, event by event. */
bool nemesis_run(uint64_t seed, bool trace, struct nemesis_result *result);

#endif
