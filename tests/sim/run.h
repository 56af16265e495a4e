/* run.h - one run of the simulated cluster, from its seed to its verdict. */

#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/world.h"

struct run_result {
    char failure[5000]; /* "": all held. */
    const char *weather;
    struct world_counts counts;
    uint64_t operations, done;
    bool gave_up; /* The history was too hard to check. */
};

struct run_sums {
    struct world_counts counts;
    uint64_t runs, failed, operations, done, gave_up;
};

void run_seed(uint64_t seed, FILE *trace, struct run_result *result);
void run_add(struct run_sums *sums, const struct run_result *result);
void run_join(struct run_sums *sums, const struct run_sums *more);
void run_text(const struct run_sums *sums, char *text, size_t size);

#endif
