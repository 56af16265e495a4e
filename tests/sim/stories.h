/* stories.h - runs that chance would need too long to find, told step by step. */

#ifndef TESTS_SIM_STORIES_H
#define TESTS_SIM_STORIES_H

struct sim_story {
    const char *name;
    const char *(*run)(void); /* NULL: all held; else what did not, valid until the next run. */
};

extern const struct sim_story sim_stories[];
extern const unsigned sim_story_count;

#endif
