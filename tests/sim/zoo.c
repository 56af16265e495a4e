/* zoo.c - every seeded bug across the seam between core, log and snapshots, and the seed that catches it.
 *
 *   zoo_sim [BUG...] [--seeds N]
 *
 * A detector that was never seen to fire is not a detector. Core and storage are built with -DWAL_ZOO; for each bug of
 * ZOO_SEAM_LIST whole clusters are run until one fails, first of all with the seed that is written down here. Some
 * seeds without a bug must all hold: row `none`. Exit code 1: a bug that no seed catches, or `none` caught. */

#define _GNU_SOURCE
#include "raftcore/zoo.h"

#include "tests/sim/run.h"
#include "tests/sim/stories.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int raftcore_zoo;

static const struct {
    const char *name;
    const char *rule;
    int zoo;
} bugs[] = {{"none", "no bug: nothing may fail", ZOO_none},
#define ZOO_ROW(name, text) {#name, text, ZOO_##name},
            ZOO_SEAM_LIST(ZOO_ROW)
#undef ZOO_ROW
};
enum { BUGS = sizeof(bugs) / sizeof(bugs[0]) };

/* Where each was caught before; the search begins there. */
static const struct {
    const char *name;
    uint64_t seed;
} known[] = {
    {"vote_told_early", 1817},
    {"leader_told_early", 64},
    {"term_and_vote_apart", 314},
    {"compacted_before_snapshot", 22},
    {"snapshot_not_synced", 1},
    {"snapshot_directory_not_synced", 7},
    {"snapshot_with_newer_members", 611},
    {"damaged_entry_taken_as_end", 2},
    {"restart_forgets_uncertain", 439},
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
    fprintf(to, "@%" PRIu64 "\n", seed);
    fflush(to);
    run_seed(seed, NULL, &result);
    if (result.failure[0] != 0) {
        fprintf(to, "!%" PRIu64 " %s\n", seed, result.failure);
    }
    return result.failure[0] == 0;
}

/* In a child, because a bug may well break an assertion. */
static void run_seeds(int bug, uint64_t seeds, FILE *to)
{
    raftcore_zoo = bugs[bug].zoo;
    for (unsigned i = 0; i < sim_story_count; i++) {
        const char *wrong = sim_stories[i].run();
        if (wrong != NULL) {
            fprintf(to, "!0 %s: %s\n", sim_stories[i].name, wrong);
            fflush(to);
            return;
        }
    }
    if (holds(known_seed(bugs[bug].name), to)) {
        for (uint64_t seed = 1; seed <= seeds && holds(seed, to); seed++) {
        }
    }
    fflush(to);
}

static bool hunt(int bug, uint64_t seeds, uint64_t *seed, char *what, size_t what_bytes)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        (void)!freopen("/dev/null", "w", stderr);
        run_seeds(bug, seeds, fdopen(ends[1], "w"));
        _exit(0);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    static char line[6000];
    bool caught = false;
    while (fgets(line, sizeof(line), from) != NULL) {
        char *rest;
        if (line[0] != '@' && line[0] != '!') {
            continue;
        }
        *seed = strtoull(line + 1, &rest, 10);
        if (line[0] == '!') {
            caught = true;
            snprintf(what, what_bytes, "%.*s", (int)strcspn(rest, "\n"), rest);
        }
    }
    fclose(from);
    int status = 0;
    waitpid(child, &status, 0);
    if (!caught && WIFSIGNALED(status)) {
        caught = true;
        snprintf(what, what_bytes, " an assertion");
    }
    return caught;
}

static bool is_wanted(const char *name, int count, char **arguments)
{
    bool chosen = false;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--seeds") == 0) {
            i++;
        } else if (strcmp(arguments[i], name) == 0) {
            return true;
        } else {
            chosen = true;
        }
    }
    return !chosen;
}

int main(int count, char **arguments)
{
    uint64_t seeds = 4000;
    for (int i = 1; i + 1 < count; i++) {
        if (strcmp(arguments[i], "--seeds") == 0) {
            seeds = strtoull(arguments[i + 1], NULL, 10);
        }
    }
    unsigned passed = 0, failed = 0;
    printf("%-30s %-8s %s\n", "seeded bug", "seed", "how, or the rule that it breaks");
    for (int bug = 0; bug < BUGS; bug++) {
        if (!is_wanted(bugs[bug].name, count, arguments)) {
            continue;
        }
        char what[500] = "", by[24] = "-";
        uint64_t seed = 0;
        bool caught = hunt(bug, bug == 0 ? seeds / 10 : seeds, &seed, what, sizeof(what));
        bool good = (bug == 0) != caught;
        passed += good;
        failed += !good;
        if (caught) {
            if (seed == 0) {
                snprintf(by, sizeof(by), "story");
            } else {
                snprintf(by, sizeof(by), "%" PRIu64, seed);
            }
        }
        printf("%-30s %-8s %.140s\n", bugs[bug].name, by, caught ? what : bugs[bug].rule);
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
