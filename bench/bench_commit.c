/* bench_commit.c - what one durable update costs on this disk, and what group commit makes of it.
 *
 * Each round runs every chosen case once, in an order drawn anew: the limits of the device (fio, and a loop of our
 * own) stand among the cases of the log, on the same file system, within the same minute. Ratios are taken inside a
 * round. Nothing here gates a build: the floors are printed beside what was measured, reached or not.
 *
 * bench_commit [--dir PATH] [--seconds S] [--rounds N] [--cases a,b,c] [--quick] [--seed N] [--json FILE] [--markdown]
 *              [--strategy auto,fdatasync,dsync,linked] [--backend auto,posix,uring]
 *
 * It works in a directory of its own below PATH (default: here) and removes it, also when interrupted. It refuses a
 * file system in memory: there is no disk to measure. What fails ends the program with status 1 and a reason;
 * interrupted, it prints what it has. */

#define _GNU_SOURCE

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

struct settings settings = {
    .seconds = 1, .rounds = 6, .seed = 1, .file_bytes = UINT64_C(1) << 30, .recovery_bytes = UINT64_C(1) << 30};

static volatile sig_atomic_t interrupt_seen;
static bool directory_made;

/* --- shared helpers ------------------------------------------------------------------------------ */

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

bool interrupted(void)
{
    return interrupt_seen != 0;
}

int failed(const char *what, const struct wal *log, int result)
{
    char text[512] = "";
    if (log != NULL)
        wal_errmsg(log, text, sizeof(text));
    if (!interrupted())
        fprintf(stderr, "bench_commit: %s: %s (%d) %s\n", what,
                result < -1000 ? wal_strerror(result) : strerror(-result), result, text);
    return -1;
}

void sample_latency(struct sample *sample, const struct histogram *histogram)
{
    sample->p50_ns = histogram_quantile(histogram, 0.5);
    sample->p99_ns = histogram_quantile(histogram, 0.99);
    sample->p999_ns = histogram_quantile(histogram, 0.999);
    sample->max_ns = histogram->max_ns;
}

/* --- the directory ------------------------------------------------------------------------------- */

static void on_interrupt(int number)
{
    interrupt_seen = number;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_directory(void)
{
    if (directory_made)
        nftw(settings.directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    directory_made = false;
}

static int make_directory(const char *parent)
{
    enum { TMPFS = 0x01021994, RAMFS = (int)0x858458f6 };
    struct statfs kind;
    if (statfs(parent, &kind) != 0)
        return failed(parent, NULL, -errno);
    if ((uint32_t)kind.f_type == (uint32_t)TMPFS || (uint32_t)kind.f_type == (uint32_t)RAMFS) {
        fprintf(stderr,
                "bench_commit: %s is a file system in memory: nothing written there is durable, so there is nothing to "
                "measure. "
                "Give --dir a directory on a disk.\n",
                parent);
        return -1;
    }
    uint64_t wanted = settings.file_bytes + settings.recovery_bytes * 2 + (UINT64_C(4) << 30);
    if ((uint64_t)kind.f_bavail * (uint64_t)kind.f_bsize < wanted) {
        fprintf(stderr, "bench_commit: %s has less than %" PRIu64 " GiB free\n", parent, wanted >> 30);
        return -1;
    }
    snprintf(settings.directory, sizeof(settings.directory), "%s/bench_commit.XXXXXX", parent);
    if (mkdtemp(settings.directory) == NULL)
        return failed(settings.directory, NULL, -errno);
    directory_made = true;
    return 0;
}

/* --- rounds -------------------------------------------------------------------------------------- */

static uint64_t draw(uint64_t *state)
{
    uint64_t value = *state += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

static void progress(unsigned round, const char *what)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s%.0u%s", round > 0 ? "round " : "", round, round > 0 ? ": " : "");
    if (isatty(STDERR_FILENO))
        fputs(what, stderr);
}

/* What the chosen cases stand on is made before the first round. */
static int prepare(void)
{
    uint64_t prepared[8] = {0};
    unsigned prepared_count = 0;
    progress(0, "writing the files");
    if (limits_prepare() != 0)
        return -1;
    for (unsigned i = 0; i < case_count && !interrupted(); i++) {
        if (!cases[i].chosen || cases[i].run == limit_fio || cases[i].run == limit_raw)
            continue;
        if (cases[i].run != append_threads && cases[i].run != append_loop && cases[i].run != append_roll) {
            if (recovery_prepare() != 0)
                return -1;
            continue;
        }
        bool done = false;
        for (unsigned at = 0; at < prepared_count; at++)
            done = done || prepared[at] == cases[i].segment_bytes;
        if (!done && appends_prepare(&cases[i]) != 0)
            return -1;
        if (!done)
            prepared[prepared_count++] = cases[i].segment_bytes;
    }
    return 0;
}

static int run_round(unsigned round, uint64_t *random)
{
    unsigned order[CASES_MAX], count = 0;
    for (unsigned i = 0; i < case_count; i++)
        if (cases[i].chosen)
            order[count++] = i;
    for (unsigned left = count; left > 1; left--) {
        unsigned at = (unsigned)(draw(random) % left), swapped = order[at];
        order[at] = order[left - 1];
        order[left - 1] = swapped;
    }
    for (unsigned i = 0; i < count && !interrupted(); i++) {
        struct bench_case *self = &cases[order[i]];
        progress(round + 1, self->words);
        if (self->run(self, &self->samples[round]) != 0)
            return interrupted() ? 0 : failed(self->name, NULL, WAL_ESYSTEM);
        self->samples[round].valid = !interrupted();
    }
    return 0;
}

static int count_allocations(void)
{
    uint64_t calls = 0, records = 0;
    int64_t heap = 0;
    if (!case_find("loop-1024")->chosen || interrupted())
        return 0;
    if (appends_count_allocations(&calls, &heap, &records) != 0)
        return -1;
    printf("\nMemory asked for while %" PRIu64 " records were appended with 1,024 outstanding: %" PRIu64
           " calls of the allocator; the C library's heap grew by %" PRId64 " bytes.\n",
           records, calls, heap);
    return 0;
}

static int run_all(const char *parent)
{
    uint64_t random = settings.seed;
    int result = make_directory(parent);
    if (result == 0)
        result = prepare();
    for (unsigned round = 0; round < settings.rounds && result == 0 && !interrupted(); round++)
        result = run_round(round, &random);
    progress(0, "");
    if (result != 0)
        return result;
    print_machine(stdout);
    print_results(stdout);
    result = count_allocations();
    if (result == 0 && settings.json_path != NULL)
        result = write_json(settings.json_path);
    return result;
}

/* --- options ------------------------------------------------------------------------------------- */

static enum wal_strategy strategies[4];
static enum wal_backend backends[3];
static unsigned strategy_count, backend_count;

/* Comma-separated words to their places in a list of words; 0: one is not among them. */
static unsigned take_words(const char *text, const char *const *words, unsigned word_count, unsigned *places)
{
    unsigned count = 0;
    while (*text != 0) {
        size_t length = strcspn(text, ",");
        unsigned place = 0;
        while (place < word_count && (strlen(words[place]) != length || strncmp(words[place], text, length) != 0))
            place++;
        if (place == word_count || count == word_count)
            return 0;
        places[count++] = place;
        text += length + (text[length] == ',');
    }
    return count;
}

static bool take_option(const char *name, const char *value, const char **parent)
{
    static const char *const strategy_words[] = {"auto", "fdatasync", "dsync", "linked"};
    static const char *const backend_words[] = {"auto", "posix", "uring"};
    unsigned places[4];
    if (strcmp(name, "--dir") == 0)
        return *parent = value, true;
    if (strcmp(name, "--seconds") == 0)
        return (settings.seconds = strtod(value, NULL)) > 0;
    if (strcmp(name, "--rounds") == 0)
        return (settings.rounds = (unsigned)strtoul(value, NULL, 0)) - 1 < ROUNDS_MAX;
    if (strcmp(name, "--seed") == 0)
        return settings.seed = strtoull(value, NULL, 0), true;
    if (strcmp(name, "--cases") == 0)
        return settings.cases = value, true;
    if (strcmp(name, "--json") == 0)
        return settings.json_path = value, true;
    if (strcmp(name, "--strategy") == 0) {
        strategy_count = take_words(value, strategy_words, 4, places);
        for (unsigned i = 0; i < strategy_count; i++)
            strategies[i] = (enum wal_strategy)places[i];
        return strategy_count > 0;
    }
    if (strcmp(name, "--backend") == 0) {
        backend_count = take_words(value, backend_words, 3, places);
        for (unsigned i = 0; i < backend_count; i++)
            backends[i] = (enum wal_backend)places[i];
        return backend_count > 0;
    }
    return false;
}

static bool take_options(int argc, char **argv, const char **parent)
{
    bool rounds_given = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            settings.quick = true;
        } else if (strcmp(argv[i], "--markdown") == 0) {
            settings.markdown = true;
        } else if (i + 1 < argc && take_option(argv[i], argv[i + 1], parent)) {
            rounds_given = rounds_given || strcmp(argv[i], "--rounds") == 0;
            i++;
        } else {
            return false;
        }
    }
    if (settings.quick) {
        settings.file_bytes = UINT64_C(256) << 20;
        settings.rounds = rounds_given ? settings.rounds : 4;
    }
    if (strategy_count == 0)
        strategies[strategy_count++] = WAL_STRATEGY_AUTO;
    if (backend_count == 0)
        backends[backend_count++] = WAL_BACKEND_AUTO;
    return true;
}

int main(int argc, char **argv)
{
    const char *parent = ".";
    if (!take_options(argc, argv, &parent)) {
        fprintf(stderr,
                "use: bench_commit [--dir PATH] [--seconds S] [--rounds N] [--cases a,b,c] [--quick] [--seed N]\n"
                "                  [--strategy auto,fdatasync,dsync,linked] [--backend auto,posix,uring] [--json FILE] "
                "[--markdown]\n");
        return 2;
    }
    settings.fio = system("fio --version > /dev/null 2>&1") == 0;
    cases_build(strategies, strategy_count, backends, backend_count);
    if (!cases_choose())
        return 2;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int result = run_all(parent);
    remove_directory();
    return result == 0 && !interrupted() ? 0 : 1;
}
