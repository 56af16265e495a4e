/* stories.h - runs that chance would need too long to find, told step by step. */

#ifndef TESTS_SIM_STORIES_H
#define TESTS_SIM_STORIES_H

#include <stdint.h>

struct sim_story {
    const char *name;
    const char *(*tell)(uint64_t number); /* NULL: all held; else what did not. */
    uint64_t first, last; /* It is told with each of these numbers: a seed, or the operation at which it happens. */
};

/* NULL: all held, with each number; else what did not, and with which. Valid until the next call. */
const char *sim_story_run(const struct sim_story *story);

extern const struct sim_story sim_stories[];
extern const unsigned sim_story_count;

/* What a review found (stories_found.c). */
extern const struct sim_story sim_stories_found[];
extern const unsigned sim_stories_found_count;

#endif
