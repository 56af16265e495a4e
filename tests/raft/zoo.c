/* zoo.c - every seeded bug of raftcore/zoo.h in the core, and the story or the seed that catches it.
 *
 *   zoo_raft [BUG...] [--seeds N]
 *
 * The core is built with -DWAL_ZOO; for each bug the directed stories are told, then seeds are run until one fails. */

#include "raftcore/zoo.h"

#include "tests/raft/directed.h"
#include "tests/raft/nemesis.h"
#include "tests/seed_hunt.h"

int raftcore_zoo;

enum { SEEDS_BETWEEN_SIGNS = 64 };

static const struct seed_hunt_bug bugs[] = {{"none", "no bug: nothing may fail", ZOO_none},
#define ZOO_ROW(name, text) {#name, text, ZOO_##name},
                                            ZOO_LIST(ZOO_ROW)
#undef ZOO_ROW
};

static bool is_caught_by(const struct directed *stories, unsigned count, FILE *to)
{
    for (unsigned i = 0; i < count; i++) {
        const char *wrong = stories[i].run();
        if (wrong != NULL) {
            seed_hunt_caught(to, 0, stories[i].name, wrong);
            return true;
        }
    }
    return false;
}

static void run(const struct seed_hunt_bug *bug, uint64_t seeds, FILE *to)
{
    raftcore_zoo = bug->zoo;
    if (is_caught_by(directed_tests, directed_count, to) || is_caught_by(directed_rules, directed_rules_count, to) ||
        is_caught_by(directed_found, directed_found_count, to)) {
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct nemesis_result result = {0};
        if (seed % SEEDS_BETWEEN_SIGNS == 1) {
            seed_hunt_try(to, seed);
        }
        if (!nemesis_run(seed, false, &result)) {
            seed_hunt_caught(to, seed, "", result.failure);
            return;
        }
    }
}

int main(int count, char **arguments)
{
    return seed_hunt_main(count, arguments, bugs, sizeof(bugs) / sizeof(bugs[0]), 20000, run);
}
