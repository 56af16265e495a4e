/* peer.c - options, callers, failure and the answer of all peer programs.
 *
 * The happy path: peer_begin; the program opens what it measures; peer_run_threads (or, where callbacks take the place
 * of threads, the program's own loop with peer_window_begin and _end); the program closes; peer_answer.
 *
 * What can fail: options (exit 2), and everything else (exit 3): then the program ends where it stands, without an
 * answer, and the directory is left to whoever gave it. A limit on the size of files is made an error like a full disk.
 *
 * Invariants: an operation is counted only after its append has returned, and only if it began inside the window; the
 * window ends when the last of those is durable. So no operation that was waiting for a stall is left out, and the rate
 * is that of operations whose whole time is in the window. */

#define _GNU_SOURCE
#include "bench/peers/peer.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 4096, BATCH_MAX = 1000000, SECONDS_MAX = 86400 };
static const uint64_t operation_bytes_max = UINT64_C(1) << 30;

/* --- failure ------------------------------------------------------------------------------------- */

static void on_interrupt(int number)
{
    (void)number;
    _exit(PEER_EXIT_INTERRUPTED);
}

/* Some peers assert what a full disk breaks. They have said so on stderr; a failure it is, not a crash of ours. */
static void on_abort(int number)
{
    (void)number;
    _exit(PEER_EXIT_FAILED);
}

_Noreturn void peer_failed(const char *what, const char *text)
{
    static atomic_flag heard = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&heard))
        pause(); /* Another thread failed first; the program is about to end. */
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, text);
    _exit(PEER_EXIT_FAILED);
}

_Noreturn void peer_failed_errno(const char *what, int error)
{
    peer_failed(what, strerror(error));
}

void *peer_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        peer_failed_errno("memory", ENOMEM);
    return memory;
}

char *peer_path(const struct peer_options *options, const char *file)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", options->directory, file) < 0)
        peer_failed_errno("memory", ENOMEM);
    return path;
}

unsigned char *peer_payload(const struct peer_options *options)
{
    size_t bytes = options->size_bytes * options->batch;
    unsigned char *payload = peer_memory(bytes, 1);
    uint64_t state = options->seed * 2 + 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        payload[i] = (unsigned char)(state >> 56);
    }
    return payload;
}

/* --- options ------------------------------------------------------------------------------------- */

enum { OPTION_DIRECTORY, OPTION_THREADS, OPTION_SIZE, OPTION_BATCH, OPTION_SECONDS, OPTION_WARMUP, OPTION_SEED };
enum { OPTIONS = OPTION_SEED + 1 };

static const struct option known[] = {
    {"directory", required_argument, NULL, OPTION_DIRECTORY}, {"threads", required_argument, NULL, OPTION_THREADS},
    {"size", required_argument, NULL, OPTION_SIZE},           {"batch", required_argument, NULL, OPTION_BATCH},
    {"seconds", required_argument, NULL, OPTION_SECONDS},     {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"seed", required_argument, NULL, OPTION_SEED},           {NULL, 0, NULL, 0}};

_Noreturn static void usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn static void usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr,
            " (usage: %s --directory DIR --threads T --size BYTES --batch N --seconds S --warmup S [--seed N])\n",
            program_invocation_short_name);
    va_end(arguments);
    _exit(PEER_EXIT_USAGE);
}

static uint64_t whole(const char *name, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || number < least || number > most)
        usage("--%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, name, text, least, most);
    return number;
}

static double duration(const char *name, const char *text, bool may_be_zero)
{
    char *end = NULL;
    double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(seconds) || seconds < 0 || seconds > SECONDS_MAX ||
        (seconds <= 0 && !may_be_zero))
        usage("--%s: '%s' is not a number of seconds", name, text);
    return seconds;
}

static void take(struct peer_options *options, int option, const char *text)
{
    const char *name = known[option].name;
    switch (option) {
    case OPTION_DIRECTORY:
        options->directory = text;
        break;
    case OPTION_THREADS:
        options->threads = (unsigned)whole(name, text, 1, THREADS_MAX);
        break;
    case OPTION_SIZE:
        options->size_bytes = (size_t)whole(name, text, 1, operation_bytes_max);
        break;
    case OPTION_BATCH:
        options->batch = (unsigned)whole(name, text, 1, BATCH_MAX);
        break;
    case OPTION_SECONDS:
        options->seconds = duration(name, text, false);
        break;
    case OPTION_WARMUP:
        options->warm_seconds = duration(name, text, true);
        break;
    default:
        options->seed = whole(name, text, 0, UINT64_MAX);
        break;
    }
}

/* Every peer makes do with what it finds in its own way; here all find the same. */
static void check_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry = NULL;
    if (directory == NULL)
        peer_failed_errno(path, errno);
    for (errno = 0; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            peer_failed_errno(path, ENOTEMPTY);
    if (errno != 0)
        peer_failed_errno(path, errno);
    closedir(directory);
}

void peer_begin(int argc, char *argv[], struct peer_options *options)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}, aborted = {.sa_handler = on_abort},
                     ignore = {.sa_handler = SIG_IGN};
    bool given[OPTIONS] = {[OPTION_SEED] = true};
    int option;
    *options = (struct peer_options){.seed = 1};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == '?')
            usage("'%s' is no option of this program, or lacks its value", argv[optind - 1]);
        take(options, option, optarg);
        given[option] = true;
    }
    if (optind < argc)
        usage("'%s' is not expected", argv[optind]);
    for (int i = 0; i < OPTIONS; i++)
        if (!given[i])
            usage("--%s is missing", known[i].name);
    if (options->size_bytes > operation_bytes_max / options->batch)
        usage("--size times --batch is more than %" PRIu64 " bytes", operation_bytes_max);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    sigaction(SIGABRT, &aborted, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
    check_directory(options->directory);
}

/* --- the window ---------------------------------------------------------------------------------- */

uint64_t peer_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Of this process, all threads. */
static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

void peer_window_begin(struct peer_window *window)
{
    window->start_cpu_ns = cpu_ns();
    window->start_ns = peer_clock_ns();
}

void peer_window_end(struct peer_window *window)
{
    window->elapsed_ns = peer_clock_ns() - window->start_ns;
    window->cpu_ns = cpu_ns() - window->start_cpu_ns;
}

/* --- callers that are threads -------------------------------------------------------------------- */

enum phase { WARMING, MEASURING, STOPPING };

struct crowd {
    peer_append *append;
    void *peer;
    _Atomic int phase;
};

struct caller {
    struct crowd *crowd;
    pthread_t thread;
    unsigned number;
    struct histogram latency;
};

static void *append_in_a_loop(void *argument)
{
    struct caller *caller = argument;
    struct crowd *crowd = caller->crowd;
    int phase;
    while ((phase = atomic_load_explicit(&crowd->phase, memory_order_relaxed)) != STOPPING) {
        uint64_t before_ns = peer_clock_ns();
        crowd->append(crowd->peer, caller->number);
        if (phase == MEASURING)
            histogram_add(&caller->latency, peer_clock_ns() - before_ns, 1);
    }
    return NULL;
}

static void sleep_seconds(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

void peer_run_threads(const struct peer_options *options, peer_append *append, void *peer, struct peer_window *window)
{
    struct crowd crowd = {.append = append, .peer = peer};
    struct caller *callers = peer_memory(options->threads, sizeof(*callers));
    for (unsigned i = 0; i < options->threads; i++) {
        callers[i].crowd = &crowd;
        callers[i].number = i;
        int error = pthread_create(&callers[i].thread, NULL, append_in_a_loop, &callers[i]);
        if (error != 0)
            peer_failed_errno("pthread_create", error);
    }
    sleep_seconds(options->warm_seconds);
    peer_window_begin(window);
    atomic_store(&crowd.phase, MEASURING);
    sleep_seconds(options->seconds);
    atomic_store(&crowd.phase, STOPPING);
    for (unsigned i = 0; i < options->threads; i++)
        pthread_join(callers[i].thread, NULL);
    peer_window_end(window);
    for (unsigned i = 0; i < options->threads; i++)
        histogram_merge(&window->latency, &callers[i].latency);
    free(callers);
}

/* --- the answer ---------------------------------------------------------------------------------- */

static void print_number(const char *name, uint64_t number)
{
    printf(",\"%s\":%" PRIu64, name, number);
}

void peer_answer(const struct peer_options *options, const struct peer_name *name, const struct peer_window *window)
{
    const struct histogram *latency = &window->latency;
    printf("{\"schema\":\"walbench.peer/1\",\"peer\":\"%s\",\"version\":\"%s\",\"what\":\"%s\"", name->peer,
           name->version, name->what);
    print_number("threads", options->threads);
    print_number("size", options->size_bytes);
    print_number("batch", options->batch);
    print_number("operations", latency->count);
    print_number("records", latency->count * options->batch);
    print_number("elapsed_ns", window->elapsed_ns);
    print_number("cpu_ns", window->cpu_ns);
    print_number("p50_ns", histogram_quantile(latency, 0.5));
    print_number("p99_ns", histogram_quantile(latency, 0.99));
    print_number("p999_ns", histogram_quantile(latency, 0.999));
    print_number("max_ns", latency->max_ns);
    print_number("min_ns", latency->min_ns);
    print_number("total_ns", latency->total_ns);
    printf(",\"histogram\":[");
    const char *comma = "";
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (latency->buckets[i] != 0) {
            printf("%s[%" PRIu64 ",%" PRIu64 "]", comma, histogram_low_ns(i), latency->buckets[i]);
            comma = ",";
        }
    printf("]}\n");
    if (fflush(stdout) != 0)
        peer_failed_errno("stdout", errno);
}
