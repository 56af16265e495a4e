/* walbench.c - what one durable update costs on this disk, and what group commit makes of it: the command line.
 *
 * The happy path: walbench PATH measures and ends in one sentence. The tables below say which command takes which
 * option; they write the help as well.
 *
 * Exit codes: 0 measured; 1 an assertion, a threshold or a comparison says no, or could not be decided; 2 usage; 3 I/O,
 * no room, or every row was skipped; 4 there is no disk to measure; 130 interrupted, what there is was printed. */

#define _GNU_SOURCE
#include "bench/walbench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/emulate.h"
#include "bench/profile.h"
#include "bench/writer.h"

enum { SYNC = 1, APPEND = 2, RECOVER = 4, PEERS = 8, COMPARE = 16, PLOT = 32, PROBE = 64, EXPLAIN = 128, RAFT = 256 };
enum { RUNS = SYNC | APPEND | RECOVER | PEERS | RAFT, EVERY = 511 };

static const struct command commands[] = {
    {SYNC, "sync", "[PATH]", 0, 1, "one durable update, by method and layout; the usual one", command_sync},
    {APPEND, "append", "[PATH]", 0, 1, "this log: threads, outstanding, sizes, rates", command_append},
    {RECOVER, "recover", "[PATH]", 0, 1, "opening and verifying a log, by size", command_recover},
    {PEERS, "peers", "[PATH]", 0, 1, "the same work on what people use instead", command_peers},
    {RAFT, "raft", "[PATH]", 0, 1, "Raft nodes on this log, beside the log by itself", command_raft},
    {COMPARE, "compare", "OLD NEW", 2, 2, "two results; exit code 1: worse, or a row gone", command_compare},
    {PLOT, "plot", "FILE...", 1, COMMAND_WORDS_MAX, "a picture of results (gnuplot), and its data", command_plot},
    {PROBE, "probe", "[PATH]", 0, 1, "what is known about the disk, and what to mind", command_probe},
    {EXPLAIN, "explain", "[FILE]", 0, 1, "what a result says; without: what words mean", command_explain},
};

enum option_id {
    OPTION_TIME = 't',
    OPTION_ROUNDS = 'r',
    OPTION_QUICK = 'q',
    OPTION_METHOD = 'm',
    OPTION_LAYOUT = 'l',
    OPTION_SIZE = 's',
    OPTION_THREADS = 'c',
    OPTION_OUTPUT = 'o',
    OPTION_DEPTH = OPTION_IDS_FROM,
    OPTION_OUTSTANDING,
    OPTION_DIRECT,
    OPTION_RECORDS,
    OPTION_RATE,
    OPTION_ENGINE,
    OPTION_LOG_SIZE,
    OPTION_PEERS,
    OPTION_PROFILE,
    OPTION_ASSERT,
    OPTION_EMULATE,
    OPTION_WARMUP,
    OPTION_SEED,
    OPTION_JSON,
    OPTION_FORMAT,
    OPTION_HIST,
    OPTION_PROGRESS,
    OPTION_FORCE,
    OPTION_KEEP,
    OPTION_MAX_REGRESS,
    OPTION_STAT
};

static const struct option_line option_lines[] = {
    {OPTION_TIME, "time", "TIME", RUNS, "for each row, in all rounds together (2s)"},
    {OPTION_ROUNDS, "rounds", "N", RUNS, "rounds, rows in random order in each (3)"},
    {OPTION_QUICK, "quick", NULL, RUNS, "fewer rows, half the time"},
    {OPTION_METHOD, "method", "LIST", SYNC, "write by hand so; 'walbench explain' has the words"},
    {OPTION_LAYOUT, "layout", "LIST", SYNC, "append, fallocated, zeroed, recycled"},
    {OPTION_DIRECT, "direct", "WORD", SYNC, "both, direct or buffered"},
    {OPTION_SIZE, "size", "LIST", SYNC | APPEND | PEERS | RAFT, "bytes of one update or record (k, M)"},
    {OPTION_DEPTH, "depth", "LIST", SYNC, "updates by hand at once"},
    {OPTION_THREADS, "threads", "LIST", SYNC | APPEND | PEERS, "threads that wait for the log"},
    {OPTION_OUTSTANDING, "outstanding", "LIST", SYNC | APPEND | RAFT, "appends outstanding in one event loop"},
    {OPTION_RECORDS, "records", "N", APPEND | PEERS, "records in one append (1)"},
    {OPTION_RATE, "rate", "N", APPEND, "appends due a second, timed from when due"},
    {OPTION_ENGINE, "engine", "WORD", SYNC | APPEND, "of the log: auto, posix or uring"},
    {OPTION_LOG_SIZE, "log-size", "LIST", RECOVER | RAFT, "bytes of a log (64M,256M,1G)"},
    {OPTION_PEERS, "peers", "LIST", PEERS, "libwal, raft, rocksdb, sqlite, lmdb, plain"},
    {OPTION_PROFILE, "profile", "NAME", SYNC, "what that system writes, and its threshold"},
    {OPTION_ASSERT, "assert", "EXPR", RUNS, "as 'p99<10ms'; exit code 1 when it fails"},
    {OPTION_EMULATE, "emulate", "DISK", SYNC | APPEND | RAFT, "hdd, ssd, ... or a time: added to each sync"},
    {OPTION_WARMUP, "warmup", "TIME", RUNS, "before each row in each round (0.1s)"},
    {OPTION_SEED, "seed", "N", RUNS, "of the order of rows (1)"},
    {OPTION_JSON, "json", NULL, RUNS | COMPARE | PROBE, "the result as one JSON document"},
    {OPTION_FORMAT, "format", "F", RUNS, "text, md, csv or json"},
    {OPTION_OUTPUT, "output", "FILE", RUNS | PLOT, "JSON beside the text; plot: .svg or .png"},
    {OPTION_HIST, "hist", NULL, RUNS, "a histogram of each row below the table"},
    {OPTION_PROGRESS, "progress", "WHEN", EVERY, "auto, always or never; on stderr"},
    {OPTION_FORCE, "force", NULL, RUNS, "measure what is no disk"},
    {OPTION_KEEP, "keep", NULL, RUNS, "leave the files"},
    {OPTION_MAX_REGRESS, "max-regress", "SHARE", COMPARE, "worse by more is exit code 1 (10%)"},
    {OPTION_STAT, "stat", "STAT", COMPARE, "p50, p90, p99, p999, max, mean, rate (p50)"},
    {OPTION_HELP, "help", NULL, EVERY, "this help"},
    {OPTION_VERSION, "version", NULL, EVERY, "versions of the tool, the library, the results"},
};

/* --- taking the command line --------------------------------------------------------------------- */

struct taking {
    struct list *list;
    const char *what;
    uint64_t least, most;
    bool sizes;
};

static void take_number(void *context, const char *word)
{
    struct taking *taking = context;
    uint64_t value = taking->sizes ? size_of(word, taking->what) : number_of(word, taking->what);
    if (value < taking->least || value > taking->most)
        usage("%s: %s is not between %llu and %llu", taking->what, word, (unsigned long long)taking->least,
              (unsigned long long)taking->most);
    for (unsigned i = 0; i < taking->list->count; i++)
        if (taking->list->values[i] == value)
            usage("%s: %s is there twice", taking->what, word);
    taking->list->values[taking->list->count++] = value;
}

static void take_list(struct list *list, const char *text, const char *what, uint64_t least, uint64_t most, bool sizes)
{
    struct taking taking = {list, what, least, most, sizes};
    list->count = 0;
    list_of(text, what, LIST_MAX, take_number, &taking);
}

static uint64_t number_between(const char *text, const char *what, uint64_t least, uint64_t most)
{
    struct list list;
    take_list(&list, text, what, least, most, false);
    return list.values[0];
}

struct taking_words {
    struct word_list *list;
    const char *const *known; /* NULL: any. */
    const char *what;
};

static void take_word(void *context, const char *word)
{
    struct taking_words *taking = context;
    struct word_list *list = taking->list;
    char *copy = taking->known == NULL ? strdup(word) : NULL; /* Lives as long as the program. */
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->words[i], word) == 0)
            usage("%s: %s is there twice", taking->what, word);
    list->words[list->count++] =
        taking->known != NULL ? taking->known[word_of(word, taking->what, taking->known)] : copy;
}

static void take_word_list(struct word_list *list, const char *text, const char *what, const char *const *known)
{
    struct taking_words taking = {list, known, what};
    list->count = 0;
    list_of(text, what, LIST_MAX, take_word, &taking);
}

static double share_of(const char *text, const char *what)
{
    char *end;
    double value = strtod(text, &end);
    bool percent = strcmp(end, "%") == 0;
    if (end == text || (*end != 0 && !percent) || !(value >= 0) || value > 1e6)
        usage("%s: '%s' is no share, like 10%% or 0.1", what, text);
    if (!percent && value > 1)
        usage("%s: '%s' is %g %%, which is hardly meant: write %s%%, or a share up to 1", what, text, value * 100,
              text);
    return percent ? value / 100 : value;
}

static void take_emulation(struct settings *settings, const char *text)
{
    settings->emulated_name = text;
    settings->emulated_ns = emulate_named_ns(text);
    if (settings->emulated_ns == 0)
        settings->emulated_ns = duration_ns_of(text, "--emulate");
    if (settings->emulated_ns < 1000 || settings->emulated_ns > UINT64_C(10000000000))
        usage("--emulate: '%s' is not between 1us and 10s", text);
}

static void take_profile(struct settings *settings, const char *text)
{
    settings->profile = profile_find(text);
    if (settings->profile == NULL)
        usage("--profile: there is none called '%s'; 'walbench explain' lists them", text);
}

static void take_assertion(struct settings *settings, const char *text)
{
    const char *wrong = assertion_check(text);
    if (wrong != NULL)
        usage("--assert '%s': %s", text, wrong);
    if (settings->assertions.count == LIST_MAX)
        usage("--assert: more than %d of them", LIST_MAX);
    settings->assertions.words[settings->assertions.count++] = text;
}

/* What is measured. False: it is another kind of option. */
static bool take_work(struct settings *settings, int id, const char *text)
{
    static const char *const directions[] = {"both", "direct", "buffered", NULL};
    static const char *const engines[] = {"auto", "posix", "uring", NULL};
    switch (id) {
    case OPTION_METHOD:
        take_word_list(&settings->methods, text, "--method", writer_methods);
        return true;
    case OPTION_LAYOUT:
        take_word_list(&settings->layouts, text, "--layout", writer_layouts);
        return true;
    case OPTION_DIRECT:
        settings->directness = (enum directness)word_of(text, "--direct", directions);
        settings->directness_given = true;
        return true;
    case OPTION_SIZE:
        take_list(&settings->sizes, text, "--size", 1, 1 << 20, true);
        return true;
    case OPTION_DEPTH:
        take_list(&settings->depths, text, "--depth", 1, 64, false);
        return true;
    case OPTION_THREADS:
        take_list(&settings->threads, text, "--threads", 1, ENGINE_THREADS_MAX, false);
        return true;
    case OPTION_OUTSTANDING:
        take_list(&settings->outstanding, text, "--outstanding", 1, ENGINE_OUTSTANDING_MAX, false);
        return true;
    case OPTION_RECORDS:
        settings->records = (unsigned)number_between(text, "--records", 1, 10000);
        return true;
    case OPTION_RATE:
        settings->rate_per_s = (double)number_between(text, "--rate", 1, 100000000);
        return true;
    case OPTION_ENGINE:
        settings->backend = (enum wal_backend)word_of(text, "--engine", engines);
        settings->backend_given = true;
        return true;
    case OPTION_LOG_SIZE:
        take_list(&settings->log_sizes, text, "--log-size", 1 << 20, UINT64_C(1) << 40, true);
        return true;
    case OPTION_PEERS:
        take_word_list(&settings->peers, text, "--peers", NULL);
        return true;
    default:
        return false;
    }
}

/* How it is measured. */
static bool take_manner(struct settings *settings, int id, const char *text)
{
    switch (id) {
    case OPTION_TIME:
        settings->seconds = (double)duration_ns_of(text, "--time") / 1e9;
        settings->time_given = true;
        if (settings->seconds < 0.01 || settings->seconds > 3600)
            usage("--time: '%s' is not between 10ms and 1h", text);
        return true;
    case OPTION_WARMUP:
        settings->warm_seconds = (double)duration_ns_of(text, "--warmup") / 1e9;
        return true;
    case OPTION_ROUNDS:
        settings->rounds = (unsigned)number_between(text, "--rounds", 1, ROUNDS_MAX);
        return true;
    case OPTION_SEED:
        settings->seed = number_of(text, "--seed");
        return true;
    case OPTION_PROFILE:
        take_profile(settings, text);
        return true;
    case OPTION_ASSERT:
        take_assertion(settings, text);
        return true;
    case OPTION_EMULATE:
        take_emulation(settings, text);
        return true;
    case OPTION_MAX_REGRESS:
        settings->regress_max = share_of(text, "--max-regress");
        return true;
    default:
        return false;
    }
}

static void take_option(struct settings *settings, int id, const char *text)
{
    static const char *const whens[] = {"auto", "always", "never", NULL};
    static const char *const forms[] = {"text", "md", "csv", "json", NULL};
    static const char *const statistics[] = {
        "p50", "p90", "p99", "p999", "p9999", "min", "mean", "max", "rate", "records_per_sync", NULL};
    if (take_work(settings, id, text) || take_manner(settings, id, text))
        return;
    settings->quick = settings->quick || id == OPTION_QUICK;
    settings->json = settings->json || id == OPTION_JSON;
    settings->histograms = settings->histograms || id == OPTION_HIST;
    settings->force = settings->force || id == OPTION_FORCE;
    settings->keep = settings->keep || id == OPTION_KEEP;
    settings->output = id == OPTION_OUTPUT ? text : settings->output;
    if (id == OPTION_PROGRESS)
        settings->progress = (enum show_progress)word_of(text, "--progress", whens);
    if (id == OPTION_STAT)
        settings->stat = statistics[word_of(text, "--stat", statistics)];
    if (id == OPTION_FORMAT) {
        int form = word_of(text, "--format", forms);
        settings->json = form == 3;
        settings->form = form == 3 ? TABLE_TEXT : (enum table_form)form;
    }
}

bool lists_updates(const struct settings *settings)
{
    return settings->methods.count != 0 || settings->layouts.count != 0 || settings->sizes.count != 0 ||
           settings->depths.count != 0 || settings->directness_given;
}

/* More than the log takes in one append would first be allocated and filled, gigabytes of it. */
static void check_appends(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->sizes.count; i++)
        if (engine_append_bytes(settings->records, (uint32_t)settings->sizes.values[i]) > ENGINE_APPEND_BYTES_MAX)
            usage("--records=%u --size=%llu: one append holds at most %u bytes, 24 of them for each record",
                  settings->records, (unsigned long long)settings->sizes.values[i], ENGINE_APPEND_BYTES_MAX);
}

/* What has no effect beside another is refused: whoever gave it would take the figures for those of what they asked. */
static void check_together(const struct settings *settings, const struct command *command)
{
    bool groups = settings->threads.count != 0 || settings->outstanding.count != 0;
    if (settings->rate_per_s > 0 && groups)
        usage("--rate sets when appends are due: it goes without --threads and --outstanding");
    if (settings->profile != NULL && lists_updates(settings))
        usage("--profile says what is written: it goes without --method, --layout, --direct, --size and --depth");
    if (command->bit == SYNC && settings->backend_given && lists_updates(settings) && !groups)
        usage("--engine is of the log, and only updates by hand are listed: name --threads or --outstanding as well");
    if (command->bit == RAFT && settings->emulated_ns != 0 && settings->log_sizes.count != 0)
        usage("on an emulated disk no restart is measured: --emulate goes without --log-size");
    check_appends(settings);
}

static void take_words(struct settings *settings, const struct command *command, unsigned count, char **words)
{
    for (unsigned i = 0; i < count; i++)
        settings->words[i] = words[i];
    settings->word_count = count;
    if (settings->quick && !settings->time_given)
        settings->seconds /= 2;
    if (command->bit == RECOVER && settings->rounds > 1 && settings->quick)
        settings->rounds = 2;
    check_together(settings, command);
}

unsigned list_count(const struct list *list, unsigned default_count)
{
    return list->count != 0 ? list->count : default_count;
}

static void print_version(void)
{
    printf("walbench %s (library %s, results %s)\n", WAL_VERSION, wal_version(), RESULT_SCHEMA);
}

static const struct program program = {
    .name = "walbench",
    .summary = "Tells what one durable update costs on the disk below PATH (here), and what\n"
               "group commit makes of it. Without a command: sync.",
    .footer = "Exit codes: 0 measured; 1 an assertion or comparison fails; 2 usage; 3 I/O, or\n"
              "all rows skipped; 4 no disk to measure; 130 interrupted.\n"
              "  walbench /var/lib\n"
              "  walbench --profile=etcd --assert 'p99<10ms' /var/lib/etcd\n"
              "  walbench append --threads=1,8,64 --emulate=hdd\n",
    .commands = commands,
    .command_count = sizeof(commands) / sizeof(commands[0]),
    .options = option_lines,
    .option_count = sizeof(option_lines) / sizeof(option_lines[0]),
    .usual = &commands[0],
    .print_version = print_version,
    .take = take_option,
    .take_words = take_words,
};

int main(int argc, char **argv)
{
    static char *arguments[ARGUMENTS_MAX];
    static struct settings settings; /* At the end it still holds the words that were copied: nothing is lost. */
    settings = (struct settings){.argument_count = argc < ARGUMENTS_MAX ? argc : ARGUMENTS_MAX,
                                 .arguments = arguments,
                                 .seconds = 2,
                                 .warm_seconds = 0.1,
                                 .rounds = 3,
                                 .seed = 1,
                                 .records = 1,
                                 .regress_max = 0.1,
                                 .stat = "p50"};
    for (int i = 0; i < settings.argument_count; i++)
        arguments[i] = argv[i]; /* Before getopt_long puts them in another order. */
    program_name = "walbench";
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* A limit on files is an error like a full disk. */
    return command_line_take(&program, &settings, argc, argv)->run(&settings);
}
