/* seed_hunt.c - seeded bugs, and what catches each.
 *
 * The happy path: for each bug a child runs stories and seeds, and writes into a pipe `@SEED` for one that it begins
 * and `!SEED what` for one that failed; a child that dies of an assertion has caught the bug too. What can fail: a bug
 * that nothing catches; that is the result. Invariants: each bug has a process of its own. */

#define _GNU_SOURCE
#include "tests/seed_hunt.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct catch
{
    bool caught;
    uint64_t seed;
    char what[500];
};

void seed_hunt_try(FILE *to, uint64_t seed)
{
    fprintf(to, "@%" PRIu64 "\n", seed);
    fflush(to);
}

void seed_hunt_caught(FILE *to, uint64_t seed, const char *story, const char *what)
{
    fprintf(to, "!%" PRIu64 " %s%s%.*s\n", seed, story, story[0] != 0 ? ": " : "", (int)strcspn(what, "\n"), what);
    fflush(to);
}

static void read_signs(FILE *from, struct catch *catch)
{
    static char line[6000];
    while (fgets(line, sizeof(line), from) != NULL) {
        char *rest;
        uint64_t seed = strtoull(line + 1, &rest, 10);
        if (line[0] == '@' && !catch->caught) {
            catch->seed = seed;
        } else if (line[0] == '!') {
            catch->caught = true;
            catch->seed = seed;
            snprintf(catch->what, sizeof(catch->what), "%.*s", (int)strcspn(rest, "\n"), rest);
        }
    }
}

static struct catch hunt(const struct seed_hunt_bug *bug, uint64_t seeds, seed_hunt_run run)
{
    struct catch catch = {.caught = false};
    int ends[2], status = 0;
    if (pipe(ends) != 0) {
        return catch;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        (void)!freopen("/dev/null", "w", stderr);
        run(bug, seeds, fdopen(ends[1], "w"));
        _exit(0);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    read_signs(from, &catch);
    fclose(from);
    waitpid(child, &status, 0);
    if (!catch.caught && WIFSIGNALED(status)) {
        catch.caught = true;
        snprintf(catch.what, sizeof(catch.what), " an assertion of the test, at or behind this seed");
    }
    return catch;
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

int seed_hunt_main(int count, char **arguments, const struct seed_hunt_bug *bugs, unsigned bug_count, uint64_t seeds,
                   seed_hunt_run run)
{
    for (int i = 1; i + 1 < count; i++) {
        if (strcmp(arguments[i], "--seeds") == 0) {
            seeds = strtoull(arguments[i + 1], NULL, 10);
        }
    }
    unsigned passed = 0, failed = 0;
    printf("%-30s %-8s %s\n", "seeded bug", "seed", "how, or the rule that it breaks");
    for (unsigned i = 0; i < bug_count; i++) {
        if (!is_wanted(bugs[i].name, count, arguments)) {
            continue;
        }
        struct catch catch = hunt(&bugs[i], i == 0 ? seeds / 10 : seeds, run);
        bool good = (i == 0) != catch.caught;
        passed += good;
        failed += !good;
        char by[24] = "-";
        if (catch.caught && catch.seed == 0) {
            snprintf(by, sizeof(by), "story");
        } else if (catch.caught) {
            snprintf(by, sizeof(by), "%" PRIu64, catch.seed);
        }
        printf("%-30s %-8s %.140s\n", bugs[i].name, by, catch.caught ? catch.what : bugs[i].rule);
        fflush(stdout);
    }
    if (passed + failed == 0) {
        fprintf(stderr, "no such seeded bug\n");
        return 2;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
