/* crash_wal.c - the crash explorer as a program: directed traces, random workloads cut at every moment, damage, faults.
 *
 * crash_wal [--count N] [--seed S] [--seconds T] [--depth D] [--in-flight D] [--mode all|traces|crash|damage|faults]
 * [--workers W]
 *           [--replay 'MODE SEED' | --trace NAME]
 *
 * Workers are processes, each with its own part of the count and its own seeds. One line a mode: what was recovered,
 * and that nothing was lost, returned or falsely called damage. A failure prints the line that repeats it. Exit code:
 * 0, 1 something failed, 2 usage. */

#define _GNU_SOURCE
#include "tests/crash_explore.h"
#include "tests/crash_traces.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 16 };

struct settings {
    uint64_t count;
    uint64_t seed;
    double seconds;
    unsigned depth;
    unsigned in_flight;
    unsigned workers;
    const char *mode;
    const char *replay;
    const char *trace;
};

static const struct {
    const char *name;
    enum crash_mode mode;
    double share; /* Of the count. */
} modes[] = {{"crash", CRASH_CUTS, 0.7}, {"damage", CRASH_DAMAGE, 0.2}, {"faults", CRASH_FAULTS, 0.1}};

static int usage(FILE *to)
{
    fprintf(to, "use: crash_wal [--count N] [--seed S] [--seconds T] [--depth 1..3] [--in-flight 0..3] [--workers W]\n"
                "               [--mode all|traces|crash|damage|faults] [--replay 'MODE SEED'] [--trace NAME]\n"
                "Recovers images of a simulated disk after power cuts, kills, damage and faults, and judges each.\n");
    return to == stderr ? 2 : 0;
}

static bool parse(int count, char **arguments, struct settings *settings)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : NULL;
        const char *name = arguments[i];
        if (value == NULL) {
            return false;
        } else if (strcmp(name, "--count") == 0) {
            settings->count = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--seed") == 0) {
            settings->seed = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--seconds") == 0) {
            settings->seconds = strtod(value, NULL);
        } else if (strcmp(name, "--depth") == 0) {
            settings->depth = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--in-flight") == 0) {
            settings->in_flight = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--workers") == 0) {
            settings->workers = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--mode") == 0) {
            settings->mode = value;
        } else if (strcmp(name, "--replay") == 0) {
            settings->replay = value;
        } else if (strcmp(name, "--trace") == 0) {
            settings->trace = value;
        } else {
            return false;
        }
        i++;
    }
    return settings->depth >= 1 && settings->depth <= 3 && settings->in_flight <= 3 && settings->workers >= 1 &&
           settings->workers <= WORKERS_MAX;
}

static struct explorer explorer_of(const struct settings *settings, enum crash_mode mode)
{
    return (struct explorer){.mode = mode,
                             .seed = settings->seed,
                             .images_wanted = settings->count,
                             .depth_max = settings->depth,
                             .in_flight = settings->in_flight,
                             .seconds = settings->seconds};
}

static void add(struct explorer *sum, const struct explorer *part)
{
    sum->workloads += part->workloads;
    sum->images += part->images;
    sum->nested += part->nested;
    for (unsigned i = 0; i < 5; i++) {
        sum->verdicts[i] += part->verdicts[i];
    }
    sum->lost += part->lost;
    sum->returned += part->returned;
    sum->wrong += part->wrong;
    sum->false_alarms += part->false_alarms;
    sum->other += part->other;
    sum->reported += part->reported;
    sum->harmless += part->harmless;
    sum->lies_irreducible += part->lies_irreducible;
    sum->lies_avoidable += part->lies_avoidable;
    if (part->failed && !sum->failed) {
        sum->failed = true;
        sum->failed_seed = part->failed_seed;
        memcpy(sum->failure, part->failure, sizeof(sum->failure));
    }
}

static void tell(const char *name, const struct explorer *sum)
{
    printf("result: %s: %" PRIu64 " images recovered (%" PRIu64 " behind a second or third crash): %" PRIu64
           " clean, %" PRIu64 " torn, %" PRIu64 " uncertain, %" PRIu64 " corrupt; lost %" PRIu64 ", returned %" PRIu64
           ", wrong data %" PRIu64 ", false alarms %" PRIu64 ", other %" PRIu64,
           name, sum->images, sum->nested, sum->verdicts[WAL_VERDICT_CLEAN], sum->verdicts[WAL_VERDICT_TORN],
           sum->verdicts[WAL_VERDICT_UNCERTAIN], sum->verdicts[WAL_VERDICT_CORRUPT], sum->lost, sum->returned,
           sum->wrong, sum->false_alarms, sum->other);
    if (sum->mode == CRASH_DAMAGE) {
        printf("; damage reported %" PRIu64 ", harmless %" PRIu64 ", lies irreducible %" PRIu64 ", avoidable %" PRIu64,
               sum->reported, sum->harmless, sum->lies_irreducible, sum->lies_avoidable);
    }
    printf("\n");
    if (sum->failed) {
        printf("FAILED: %s\n  again: crash_wal --replay '%s %" PRIu64 "' --depth %u --in-flight %u\n", sum->failure,
               name, sum->failed_seed, sum->depth_max, sum->in_flight);
    }
}

/* One mode, spread over the workers. */
static bool run_mode(const struct settings *settings, const char *name, enum crash_mode mode, double share)
{
    struct explorer *parts =
        mmap(NULL, WORKERS_MAX * sizeof(*parts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (parts == MAP_FAILED) {
        perror("mmap");
        return false;
    }
    (void)fflush(stdout);
    for (unsigned worker = 0; worker < settings->workers; worker++) {
        parts[worker] = explorer_of(settings, mode);
        parts[worker].seed = settings->seed * WORKERS_MAX + worker;
        parts[worker].images_wanted = (uint64_t)((double)settings->count * share) / settings->workers + 1;
        if (fork() == 0) {
            _exit(explore(&parts[worker]) ? 0 : 1);
        }
    }
    bool died = false;
    int status;
    while (wait(&status) > 0) {
        died = died || !WIFEXITED(status);
    }
    struct explorer sum = explorer_of(settings, mode);
    for (unsigned worker = 0; worker < settings->workers; worker++) {
        if (died && !parts[worker].failed) {
            printf("a worker may have died in: crash_wal --replay '%s %" PRIu64 "' --depth %u --in-flight %u\n", name,
                   parts[worker].workload_seed, settings->depth, settings->in_flight);
        }
        add(&sum, &parts[worker]);
    }
    tell(name, &sum);
    (void)munmap(parts, WORKERS_MAX * sizeof(*parts));
    return !sum.failed && !died;
}

enum { TRACE_IMAGES_LEAST = 9000 };

static bool run_traces(const struct settings *settings)
{
    struct traces traces = {.seconds = settings->seconds, .only = settings->trace};
    bool good = crash_traces(&traces);
    printf("result: traces: %u scripts, %" PRIu64 " images opened, %" PRIu64 " of them damaged: reported %" PRIu64
           ", harmless %" PRIu64 ", lies irreducible %" PRIu64 "\n",
           traces.traces, traces.images, traces.damaged, traces.reported, traces.harmless, traces.lies_irreducible);
    if (!good) {
        printf("FAILED: %s\n", traces.failure);
    } else if (settings->trace == NULL && settings->seconds == 0 && traces.images < TRACE_IMAGES_LEAST) {
        /* Once a change to the library quietly took the scripts' two batches in flight away. */
        printf("FAILED: the scripts see less than they did: at least %d images\n", TRACE_IMAGES_LEAST);
        good = false;
    }
    return good;
}

static int replay(const struct settings *settings)
{
    char name[32];
    uint64_t seed;
    if (sscanf(settings->replay, "%31s %" SCNu64, name, &seed) != 2) {
        return usage(stderr);
    }
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(name, modes[i].name) == 0) {
            struct explorer explorer = explorer_of(settings, modes[i].mode);
            explorer.images_wanted = UINT64_MAX;
            (void)explore_one(&explorer, seed);
            tell(name, &explorer);
            return explorer.failed;
        }
    }
    return usage(stderr);
}

int main(int count, char **arguments)
{
    struct settings settings = {.count = 200000, .seed = 1, .depth = 3, .workers = 2, .mode = "all"};
    if (count == 2 && strcmp(arguments[1], "--help") == 0) {
        return usage(stdout);
    }
    if (!parse(count, arguments, &settings)) {
        return usage(stderr);
    }
    /* Handles come and go by the hundred thousand: their buffers need not go back to the kernel each time. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
    if (settings.replay != NULL) {
        return replay(&settings);
    }
    bool good = true;
    bool known = false;
    bool all = strcmp(settings.mode, "all") == 0;
    if (all || settings.trace != NULL || strcmp(settings.mode, "traces") == 0) {
        known = true;
        good = run_traces(&settings);
    }
    for (unsigned i = 0; settings.trace == NULL && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (all || strcmp(settings.mode, modes[i].name) == 0) {
            known = true;
            good = run_mode(&settings, modes[i].name, modes[i].mode, all ? modes[i].share : 1) && good;
        }
    }
    return !known ? usage(stderr) : !good;
}
