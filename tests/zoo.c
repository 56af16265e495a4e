/* zoo.c - every seeded bug of wal/zoo.h, and what catches it.
 *
 * A detector that was never seen to fire is not a detector. The library is built with -DWAL_ZOO; for each bug a child
 * process switches it on and runs the directed traces, the explorer in each mode, and zoo_promises.c, until one fails.
 * A bug is caught when the child says what failed, or dies of a broken invariant of the library. The same runs without
 * a bug must stay silent: row `none`.
 *
 * zoo_wal [BUG...] [--seconds T]   T bounds each detector (10). Exit code 1: a bug that nobody catches, or `none`
 * caught. */

#define _GNU_SOURCE
#include "tests/crash_explore.h"
#include "tests/crash_traces.h"
#include "tests/zoo_promises.h"
#include "wal/zoo.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int wal_zoo;

static const struct {
    const char *name;
    const char *rule;
} bugs[] = {{"none", "no bug: nothing may fail"},
#define ZOO_ROW(name, text) {#name, text},
            ZOO_LIST(ZOO_ROW)
#undef ZOO_ROW
};
enum { BUGS = sizeof(bugs) / sizeof(bugs[0]), DETECTORS = 5 };
enum { PROMISES = DETECTORS - 1 }; /* What no crash shows. */

static const char *const detectors[DETECTORS] = {"traces", "crash", "damage", "faults", "promises"};

struct result {
    bool failed;
    uint64_t images;
    char what[300];
};

static void first_line(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%.*s", (int)strcspn(from, "\n"), from);
}

static void detect(unsigned detector, double seconds, struct result *result)
{
    if (detector == 0) {
        struct traces traces = {.seconds = 3 * seconds};
        result->failed = !crash_traces(&traces);
        result->images = traces.images;
        first_line(result->what, sizeof(result->what), traces.failure);
        return;
    }
    if (detector == PROMISES) {
        result->failed = !zoo_promises(result->what, sizeof(result->what));
        return;
    }
    struct explorer explorer = {
        .mode = (enum crash_mode)detector, .seed = 1, .images_wanted = UINT64_MAX, .depth_max = 3, .seconds = seconds};
    result->failed = !explore(&explorer);
    result->images = explorer.images;
    first_line(result->what, sizeof(result->what), explorer.failure);
}

/* In a child, which may die of the bug. True: caught. */
static bool try_detector(unsigned bug, unsigned detector, double seconds, struct result *result)
{
    memset(result, 0, sizeof(*result));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        wal_zoo = (int)bug;
        (void)alarm((unsigned)(6 * seconds) + 30);
        detect(detector, seconds, result);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    if (!result->failed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        result->failed = true;
        (void)snprintf(result->what, sizeof(result->what), "%s",
                       WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM   ? "hangs"
                       : WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? "a broken invariant stops the program"
                                                                            : "CRASHES: a bug of its own");
    }
    return result->failed;
}

static double seconds_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool run_bug(unsigned bug, double seconds, struct result *result)
{
    double started = seconds_now();
    uint64_t images = 0;
    /* These two break nothing that the others look at. */
    unsigned detector = bug == ZOO_maps_kept || bug == ZOO_directory_not_locked ? PROMISES : 0;
    while (detector < DETECTORS && !try_detector(bug, detector, seconds, result)) {
        images += result->images;
        detector++;
    }
    bool caught = detector < DETECTORS;
    printf("%-30s %-8s %9" PRIu64 " %6.1f  %s\n", bugs[bug].name, caught ? detectors[detector] : "-",
           images + (caught ? result->images : 0), seconds_now() - started, caught ? result->what : bugs[bug].rule);
    (void)fflush(stdout);
    return caught;
}

static bool chosen(int count, char **arguments, const char *name)
{
    bool any = false;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--seconds") == 0) {
            i++;
            continue;
        }
        any = true;
        if (strcmp(arguments[i], name) == 0) {
            return true;
        }
    }
    return !any;
}

int main(int count, char **arguments)
{
    double seconds = 8;
    for (int i = 1; i + 1 < count; i++) {
        if (strcmp(arguments[i], "--seconds") == 0) {
            seconds = strtod(arguments[i + 1], NULL);
        }
    }
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
    struct result *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    printf("%-30s %-8s %9s %6s  %s\n", "seeded bug", "caught", "images", "s", "how, or the rule that it breaks");
    unsigned passed = 0;
    unsigned failed = 0;
    for (unsigned bug = 0; bug < BUGS; bug++) {
        if (chosen(count, arguments, bugs[bug].name)) {
            bool right = run_bug(bug, seconds, result) == (bug != 0);
            passed += right;
            failed += !right;
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
