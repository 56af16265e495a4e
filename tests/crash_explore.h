/* crash_explore.h - runs workloads on the simulated disk, cuts the power or kills at every moment, opens what is left,
 * and judges it. */

#ifndef TESTS_CRASH_EXPLORE_H
#define TESTS_CRASH_EXPLORE_H

#include "tests/crash_model.h"
#include "tests/sim_disk.h"

enum crash_mode { CRASH_CUTS = 1, CRASH_DAMAGE, CRASH_FAULTS };

struct explorer {
    /* Given. */
    enum crash_mode mode;
    uint64_t seed;
    uint64_t images_wanted;
    unsigned depth_max; /* Crashes in a row: 1 to 3. */
    unsigned in_flight; /* 0: drawn for each workload. */
    double seconds;     /* 0: no bound. */

    /* Counted. */
    uint64_t workloads;
    uint64_t images; /* Recovered. */
    uint64_t nested; /* Of them, crashes within a recovery or behind one. */
    uint64_t verdicts[5];
    uint64_t rows[12];
    uint64_t lost, returned, wrong, false_alarms, other;
    uint64_t reported, harmless, lies_irreducible, lies_avoidable, lies_named; /* Damage. */
    uint64_t uncertain_on_crash;

    /* Of the first failure. */
    bool failed;
    uint64_t failed_seed;
    char failure[800];

    /* At work. */
    uint64_t random;
    uint64_t workload_seed;
    uint64_t images_of_workload;
    double deadline;
};

/* Until the count, the time, or the first failure. True: nothing failed. */
bool explore(struct explorer *explorer);

/* One workload alone, by its seed. */
bool explore_one(struct explorer *explorer, uint64_t workload_seed);

#endif
