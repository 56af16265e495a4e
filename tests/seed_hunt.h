/* seed_hunt.h - a table of seeded bugs, each hunted with stories and seeds until something fails: the frame of zoo_raft
 * and zoo_sim.
 *
 * A detector that was never seen to fire is not a detector. Entry 0 of the table is no bug, and must not be caught by a
 * tenth of the seeds. */

#ifndef TESTS_SEED_HUNT_H
#define TESTS_SEED_HUNT_H

#include <stdint.h>
#include <stdio.h>

struct seed_hunt_bug {
    const char *name;
    const char *rule; /* That it breaks. */
    int zoo;          /* What switches it on. */
};

/* Runs in a child, because a bug may well break the test's own assertions: says where it is, and what it found. */
typedef void (*seed_hunt_run)(const struct seed_hunt_bug *bug, uint64_t seeds, FILE *to);

/* This seed is being tried; should the child die, it was this one, or one behind it. */
void seed_hunt_try(FILE *to, uint64_t seed);
/* It failed so. seed 0: a story. */
void seed_hunt_caught(FILE *to, uint64_t seed, const char *story, const char *what);

/* main() of `PROGRAM [BUG...] [--seeds N]`: a line a bug. 1: one that nothing catches, or entry 0 was caught. */
int seed_hunt_main(int count, char **arguments, const struct seed_hunt_bug *bugs, unsigned bug_count, uint64_t seeds,
                   seed_hunt_run run);

#endif
