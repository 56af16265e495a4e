/* common.c - clocks, the interrupt, what failed, and the directory that a bench program works in.
 *
 * The happy path: interrupt_catch, workplace_make, work, workplace_remove.
 *
 * What can fail: the directory cannot be made, or has no room; said on stderr. An interrupt only sets a flag: whoever
 * measures ends its loop, what there is gets printed, and the directory goes.
 *
 * Invariants: only what workplace_make made is ever removed. */

#define _GNU_SOURCE
#include "bench/common.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

const char *program_name = "bench";

static volatile sig_atomic_t interrupts_seen;
static atomic_flag failure_kept = ATOMIC_FLAG_INIT; /* Threads may fail together: the first one's text stays. */
static char failure[256];
static char workplace[WORKPLACE_PATH_BYTES]; /* "": none was made. */

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

/* SplitMix64. */
uint64_t random_next(uint64_t *state)
{
    uint64_t value = *state += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

static void on_interrupt(int number)
{
    (void)number;
    if (interrupts_seen < 100)
        interrupts_seen = interrupts_seen + 1;
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* Not below nohup. */
        sigaction(SIGHUP, &action, NULL);
}

bool interrupted(void)
{
    return interrupts_seen != 0;
}

unsigned interrupts(void)
{
    return (unsigned)interrupts_seen;
}

char *printable(char *text)
{
    for (char *at = text; *at != 0; at++) {
        bool second = (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0;
        if (second)
            *at++ = '?'; /* UTF-8 has control characters of two bytes, too. */
        if ((unsigned char)*at < ' ' || *at == 0x7f || second)
            *at = '?';
    }
    return text;
}

const char *printable_copy(const char *text, char *copy, size_t size)
{
    snprintf(copy, size, "%s", text != NULL ? text : "");
    return printable(copy);
}

/* Of a long text the end: there stands the reason. */
static void keep_failure(const char *text)
{
    size_t length = strlen(text), room = sizeof(failure) - 4;
    if (!atomic_flag_test_and_set(&failure_kept))
        snprintf(failure, sizeof(failure), "%s%s", length > room ? "..." : "",
                 text + (length > room ? length - room : 0));
}

void say_on_stderr(const char *format, ...)
{
    char *line = NULL; /* However long a path is, the reason behind it is told. */
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&line, format, arguments);
    va_end(arguments);
    const char *told = length < 0 ? "no memory to say what failed" : printable(line);
    fprintf(stderr, "%s: %s\n", program_name, told);
    keep_failure(told);
    if (length >= 0)
        free(line);
}

int failed(const char *what, const struct wal *log, int result)
{
    char text[512] = "";
    if (log != NULL)
        wal_errmsg(log, text, sizeof(text));
    if (interrupted())
        return -1;
    const char *why = result < -1000 ? wal_strerror(result) : strerror(-result);
    say_on_stderr("%s: %s%s%s", what, why, text[0] != 0 ? ": " : "", text);
    return -1;
}

const char *failure_told(void)
{
    return failure;
}

int close_log(struct wal *log, int result)
{
    int closed = wal_close(log);
    return result != 0 || closed == 0 ? result : failed("wal_close", NULL, closed);
}

void sleep_seconds(double seconds)
{
    uint64_t end_ns = clock_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t now = clock_ns(); now < end_ns && !interrupted(); now = clock_ns()) {
        uint64_t left_ns = end_ns - now;
        struct timespec pause = {.tv_nsec = (long)(left_ns < 100000000 ? left_ns : 100000000)};
        nanosleep(&pause, NULL);
    }
}

/* --- the place of work --------------------------------------------------------------------------- */

bool is_in_memory(const char *path)
{
    enum { TMPFS = 0x01021994, RAMFS = (int)0x858458f6 };
    struct statfs kind;
    return statfs(path, &kind) == 0 &&
           ((uint32_t)kind.f_type == (uint32_t)TMPFS || (uint32_t)kind.f_type == (uint32_t)RAMFS);
}

int workplace_make(const char *parent, uint64_t needed_bytes, char path[WORKPLACE_PATH_BYTES])
{
    struct statfs kind;
    if (statfs(parent, &kind) != 0)
        return failed(parent, NULL, -errno);
    uint64_t free_bytes = (uint64_t)kind.f_bavail * (uint64_t)kind.f_bsize;
    if (free_bytes < needed_bytes) {
        say_on_stderr("%s has %" PRIu64 " MiB free, and this needs %" PRIu64 " MiB", parent, free_bytes >> 20,
                      needed_bytes >> 20);
        return -1;
    }
    int length = snprintf(workplace, sizeof(workplace), "%s/%s.XXXXXX", parent, program_name);
    if (length < 0 || (size_t)length >= sizeof(workplace) || mkdtemp(workplace) == NULL) {
        int error = length < 0 || (size_t)length >= sizeof(workplace) ? ENAMETOOLONG : errno;
        workplace[0] = 0;
        return failed(parent, NULL, -error);
    }
    memcpy(path, workplace, sizeof(workplace));
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void tree_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void workplace_remove(void)
{
    if (workplace[0] != 0)
        tree_remove(workplace);
    workplace[0] = 0;
}
