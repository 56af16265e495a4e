/* zoo.c - every seeded bug across the seam between core, log and snapshots, and the story or the seed that catches it.
 *
 *   zoo_sim [BUG...] [--seeds N]
 *
 * Core and storage are built with -DWAL_ZOO; for each bug of ZOO_SEAM_LIST the stories are told, then whole clusters
 * are run until one fails, first of all with the seed that is written down here. */

#include "raftcore/zoo.h"

#include "tests/seed_hunt.h"
#include "tests/sim/run.h"
#include "tests/sim/stories.h"

#include <stdbool.h>
#include <string.h>

int raftcore_zoo;

static const struct seed_hunt_bug bugs[] = {{"none", "no bug: nothing may fail", ZOO_none},
#define ZOO_ROW(name, text) {#name, text, ZOO_##name},
                                            ZOO_SEAM_LIST(ZOO_ROW)
#undef ZOO_ROW
};

/* Where those were caught before that no story catches; the search begins there. */
static const struct {
    const char *name;
    uint64_t seed;
} known[] = {
    {"vote_told_early", 855},          {"leader_told_early", 927},           {"term_and_vote_apart", 271},
    {"compacted_before_snapshot", 29}, {"snapshot_with_newer_members", 342}, {"restart_forgets_uncertain", 64},
};

static uint64_t known_seed(const char *name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].seed;
        }
    }
    return 1;
}

static bool holds(uint64_t seed, FILE *to)
{
    static struct run_result result;
    seed_hunt_try(to, seed);
    run_seed(seed, NULL, &result);
    if (result.failure[0] != 0) {
        seed_hunt_caught(to, seed, "", result.failure);
    }
    return result.failure[0] == 0;
}

static bool all_hold(const struct sim_story *stories, unsigned count, FILE *to)
{
    for (unsigned i = 0; i < count; i++) {
        const char *wrong = sim_story_run(&stories[i]);
        if (wrong != NULL) {
            seed_hunt_caught(to, 0, stories[i].name, wrong);
            return false;
        }
    }
    return true;
}

static void run(const struct seed_hunt_bug *bug, uint64_t seeds, FILE *to)
{
    raftcore_zoo = bug->zoo;
    if (all_hold(sim_stories, sim_story_count, to) && all_hold(sim_stories_found, sim_stories_found_count, to) &&
        holds(known_seed(bug->name), to)) {
        for (uint64_t seed = 1; seed <= seeds && holds(seed, to); seed++) {
        }
    }
}

int main(int count, char **arguments)
{
    return seed_hunt_main(count, arguments, bugs, sizeof(bugs) / sizeof(bugs[0]), 4000, run);
}
