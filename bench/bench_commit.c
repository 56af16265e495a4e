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

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

struct settings settings = {
    .seconds = 1, .rounds = 6, .seed = 1, .file_bytes = UINT64_C(1) << 30, .recovery_bytes = UINT64_C(1) << 30};

void sample_latency(struct sample *sample, const struct histogram *histogram)
{
    sample->p50_ns = histogram_quantile(histogram, 0.5);
    sample->p99_ns = histogram_quantile(histogram, 0.99);
    sample->p999_ns = histogram_quantile(histogram, 0.999);
    sample->max_ns = histogram->max_ns;
}

/* --- the directory ------------------------------------------------------------------------------- */

static int make_directory(const char *parent)
{
    if (is_in_memory(parent)) {
        fprintf(stderr,
                "bench_commit: %s is a file system in memory: nothing written there is durable, so there is nothing to "
                "measure. Give --dir a directory on a disk.\n",
                parent);
        return -1;
    }
    uint64_t wanted = settings.file_bytes + settings.recovery_bytes * 2 + (UINT64_C(4) << 30);
    return workplace_make(parent, wanted, settings.directory);
}

/* --- rounds -------------------------------------------------------------------------------------- */

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
        unsigned at = (unsigned)(random_next(random) % left), swapped = order[at];
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
    program_name = "bench_commit";
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
    interrupt_catch();
    int result = run_all(parent);
    workplace_remove();
    return result == 0 && !interrupted() ? 0 : 1;
}
