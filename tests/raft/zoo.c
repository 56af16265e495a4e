/* zoo.c - every seeded bug of raftcore/zoo.h, and the seed that catches it.
 *
 *   zoo_raft [BUG...] [--seeds N]
 *
 * A detector that was never seen to fire is not a detector. The core is built with -DWAL_ZOO; for each bug seeds are
 * run until one fails. A tenth of the same seeds without a bug must all hold: row `none`. Exit code 1: a bug that no
 * seed catches, or `none` caught. */

#define _GNU_SOURCE
#include "raftcore/zoo.h"

#include "tests/raft/directed.h"
#include "tests/raft/nemesis.h"

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
} bugs[] = {{"none", "no bug: nothing may fail"},
#define ZOO_ROW(name, text) {#name, text},
            ZOO_LIST(ZOO_ROW)
#undef ZOO_ROW
};
enum { BUGS = sizeof(bugs) / sizeof(bugs[0]), SEEDS_BETWEEN_SIGNS = 64 };

/* In a child, because a bug may well break the test's own assertions: `@seed` now and then, `!seed what` at the end. */
static void run_seeds(int bug, uint64_t seeds, FILE *to)
{
    raftcore_zoo = bug;
    for (unsigned i = 0; i < directed_count; i++) {
        const char *wrong = directed_tests[i].run();
        if (wrong != NULL) {
            fprintf(to, "!0 %s: %s\n", directed_tests[i].name, wrong);
            fflush(to);
            return;
        }
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct nemesis_result result = {0};
        if (seed % SEEDS_BETWEEN_SIGNS == 1) {
            fprintf(to, "@%" PRIu64 "\n", seed);
            fflush(to);
        }
        if (!nemesis_run(seed, false, &result)) {
            fprintf(to, "!%" PRIu64 " %s\n", seed, result.failure);
            break;
        }
    }
    fflush(to);
}

/* What fails: a directed story (what is not empty, and the seed is 0), or a seed. False: nothing did. */
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
    char line[600];
    uint64_t reached = 0;
    bool caught = false;
    while (fgets(line, sizeof(line), from) != NULL) {
        char *rest;
        uint64_t number = strtoull(line + 1, &rest, 10);
        if (line[0] == '@') {
            reached = number;
        } else {
            *seed = number;
            caught = true;
            snprintf(what, what_bytes, "%.*s", (int)strcspn(rest, "\n"), rest);
        }
    }
    fclose(from);
    int status = 0;
    waitpid(child, &status, 0);
    if (!caught && WIFSIGNALED(status)) {
        caught = true;
        *seed = reached;
        snprintf(what, what_bytes, " an assertion of the test, at or behind this seed");
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
    uint64_t seeds = 20000;
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
        char what[500] = "";
        uint64_t seed = 0;
        bool caught = hunt(bug, bug == 0 ? seeds / 10 : seeds, &seed, what, sizeof(what));
        bool good = (bug == 0) != caught;
        passed += good;
        failed += !good;
        char by[24] = "-";
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
