/* raftsim.c - clusters of whole nodes that must survive everything, in virtual time.
 *
 *     raftsim --seed N [--trace]          one run, and its story
 *     raftsim --seeds A..B [-j N]         many; a line for each that fails
 *
 * The happy path: for each seed a cluster is made, clients work, faults strike; then the faults end, and within a
 * stated time there must be a leader, all nodes must have applied the same, new writes must go through, and what the
 * clients were told must have an order. What can fail is what is looked for: the line printed repeats it.
 *
 * Exit codes: 0 all held, 1 something did not, 2 usage. */

#define _GNU_SOURCE
#include "tests/sim/clients.h"
#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void usage(FILE *to)
{
    fputs("usage: raftsim --seed N [--trace]\n"
          "       raftsim --seeds A..B [-j JOBS]\n\n"
          "Runs clusters of real nodes (core, storage, log) on simulated disks and networks, with faults, and checks\n"
          "what must hold. --trace tells the story, a line an event.\n",
          to);
}

static double seconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Every jobs-th seed, from the first on; the sums go into memory that all share. */
static void run_share(uint64_t first, uint64_t last, unsigned jobs, struct run_sums *sums)
{
    for (uint64_t seed = first; seed <= last; seed += jobs) {
        struct run_result result;
        run_seed(seed, NULL, &result);
        run_add(sums, &result);
        if (result.failure[0] != 0) {
            printf("FAILED raftsim --seed %" PRIu64 " (%s): %s\n", seed, result.weather, result.failure);
            (void)fflush(stdout);
        }
    }
}

static int run_many(uint64_t first, uint64_t last, unsigned jobs)
{
    double since = seconds();
    struct run_sums *sums = mmap(NULL, jobs * sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sums == MAP_FAILED) {
        perror("raftsim");
        return 1;
    }
    for (unsigned i = 1; i < jobs; i++) {
        if (fork() == 0) {
            run_share(first + i, last, jobs, &sums[i]);
            _exit(0);
        }
    }
    run_share(first, last, jobs, &sums[0]);
    bool died = false;
    int status;
    while (wait(&status) > 0) {
        died = died || status != 0;
    }
    for (unsigned i = 1; i < jobs; i++) {
        run_join(&sums[0], &sums[i]);
    }
    char text[1500];
    run_text(&sums[0], text, sizeof(text));
    double took = seconds() - since;
    printf("result: raftsim: seeds %" PRIu64 "..%" PRIu64 ": %s; %.0f s, %.1f seeds a second\n", first, last, text,
           took, (double)(last - first + 1) / took);
    if (died) {
        printf("FAILED: a process ended otherwise\n");
    }
    return died || sums[0].failed > 0 || sums[0].counts.uncertain_of_cuts > 0;
}

int main(int count, char **arguments)
{
    uint64_t first = 0, last = 0;
    unsigned jobs = 1;
    bool trace = false, one = false;
    for (int i = 1; i < count; i++) {
        const char *word = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        char end;
        if (strcmp(word, "--help") == 0) {
            usage(stdout);
            return 0;
        } else if (strcmp(word, "--trace") == 0) {
            trace = true;
        } else if (strcmp(word, "--seed") == 0 && value != NULL && sscanf(value, "%" SCNu64 "%c", &first, &end) == 1) {
            last = first;
            one = true;
            i++;
        } else if (strcmp(word, "--seeds") == 0 && value != NULL &&
                   sscanf(value, "%" SCNu64 "..%" SCNu64 "%c", &first, &last, &end) == 2 && first <= last) {
            i++;
        } else if (strcmp(word, "-j") == 0 && value != NULL && sscanf(value, "%u%c", &jobs, &end) == 1 && jobs > 0 &&
                   jobs <= 64) {
            i++;
        } else if (sscanf(word, "-j%u%c", &jobs, &end) == 1 && jobs > 0 && jobs <= 64) {
            continue;
        } else {
            usage(stderr);
            return 2;
        }
    }
    if (last == 0 || (trace && !one)) {
        usage(stderr);
        return 2;
    }
    if (one) {
        struct run_result result;
        run_seed(first, trace ? stdout : NULL, &result);
        if (result.failure[0] != 0) {
            printf("FAILED raftsim --seed %" PRIu64 " (%s): %s\n", first, result.weather, result.failure);
        } else {
            printf("seed %" PRIu64 " (%s): all held; %" PRIu64 " operations, %" PRIu64 " entries\n", first,
                   result.weather, result.operations, result.counts.committed);
        }
        return result.failure[0] != 0;
    }
    return run_many(first, last, jobs);
}
