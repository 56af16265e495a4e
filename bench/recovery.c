/* recovery.c - the log opening and verifying: after an orderly close, after a kill, cold and warm.
 *
 * One log of 1 GiB in records of 128 bytes is written once. Each case leaves it closed in order and about as large.
 * The crash is a real one: a child appends into a fresh segment until it is three quarters full and is killed there.
 *
 * Cold means that the pages of the log's files are dropped first (the files only, not the machine's cache); the log
 * reads them around the cache anyhow where the file system can. What the hypervisor below keeps is beyond us, and
 * equal for fio's read beside it. */

#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

enum { RECORD_BYTES = 128, APPEND_RECORDS = 1000, SEGMENT_BYTES = 64 << 20 };

static bool prepared;

static void log_path(char *path, size_t size)
{
    snprintf(path, size, "%s/recovery", settings.directory);
}

static int open_log(uint32_t flags, struct wal **log, struct wal_verdict *verdict, uint64_t *took_ns)
{
    char path[4096];
    struct wal_options options = WAL_OPTIONS_INIT;
    log_path(path, sizeof(path));
    options.flags = flags;
    options.segment_bytes = SEGMENT_BYTES;
    uint64_t before_ns = clock_ns();
    int result = wal_open(path, &options, log, verdict);
    *took_ns = clock_ns() - before_ns;
    if (result == 0)
        return 0;
    fprintf(stderr, "bench_commit: %s\n", verdict->text);
    return failed("wal_open", NULL, result);
}

/* Appends at least so many bytes of segments, or until a roll, whichever is asked for. */
static int append_bytes(struct wal *log, uint64_t bytes, bool until_roll)
{
    static struct wal_record records[APPEND_RECORDS];
    static unsigned char payload[APPEND_RECORDS * RECORD_BYTES];
    struct wal_append append = {.records = records, .record_count = APPEND_RECORDS};
    struct wal_stats stats;
    wal_stats(log, &stats);
    uint64_t written = stats.batch_bytes, rolls = stats.rolls;
    for (unsigned i = 0; i < APPEND_RECORDS; i++) {
        memset(payload + (size_t)i * RECORD_BYTES, (int)i, RECORD_BYTES);
        records[i] =
            (struct wal_record){.data = payload + (size_t)i * RECORD_BYTES, .size = RECORD_BYTES, .type = 1, .tag = i};
    }
    while (!interrupted() && (until_roll ? stats.rolls == rolls : stats.batch_bytes - written < bytes)) {
        int result = wal_commit(log, &append, NULL);
        if (result != 0)
            return failed("wal_commit", log, result);
        wal_stats(log, &stats);
    }
    return 0;
}

int recovery_prepare(void)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    if (prepared)
        return 0;
    prepared = true;
    int result = open_log(WAL_CREATE, &log, &verdict, &took_ns);
    return result != 0 ? result : close_log(log, append_bytes(log, settings.recovery_bytes, false));
}

static void drop_pages(void)
{
    char path[4096];
    struct dirent *entry;
    log_path(path, sizeof(path));
    DIR *directory = opendir(path);
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        int file = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            continue;
        fdatasync(file);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
    }
    if (directory != NULL)
        closedir(directory);
}

static void sample_once(struct sample *sample, uint64_t took_ns, uint64_t bytes, uint64_t records)
{
    sample->operations_per_s = 1e9 / (double)took_ns;
    sample->bytes_per_s = (double)bytes * sample->operations_per_s;
    sample->records_per_s = (double)records * sample->operations_per_s;
    sample->p50_ns = sample->p99_ns = sample->max_ns = took_ns;
}

int recover_closed(const struct bench_case *self, struct sample *sample)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    drop_pages();
    int result = open_log(0, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    sample_once(sample, took_ns, 0, 0);
    if (!verdict.closed)
        result = failed("the log was closed, but the verdict does not say so", log, WAL_ECORRUPT);
    return close_log(log, result);
}

/* Fills most of a fresh segment and waits for its end; tells the pipe when it is there. */
__attribute__((noreturn)) static void crash_child(int tell)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    if (open_log(0, &log, &verdict, &took_ns) == 0 && append_bytes(log, 0, true) == 0 &&
        append_bytes(log, SEGMENT_BYTES / 4 * 3, false) == 0 && write(tell, "x", 1) == 1)
        pause();
    _exit(1);
}

static int crash(void)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return failed("pipe2", NULL, -errno);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        crash_child(ends[1]);
    close(ends[1]);
    ssize_t got = pid < 0 ? 0 : read(ends[0], &byte, 1);
    close(ends[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return got == 1 ? 0 : failed("the child that was to be killed", NULL, WAL_ESYSTEM);
}

int recover_crashed(const struct bench_case *self, struct sample *sample)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    int result = crash();
    if (result != 0)
        return result;
    drop_pages();
    if ((result = open_log(0, &log, &verdict, &took_ns)) != 0)
        return result;
    sample_once(sample, took_ns, verdict.offset, 0);
    /* Keep the log at its size; the room is used again by the next crash. */
    uint64_t kept = settings.recovery_bytes / (RECORD_BYTES + 24), last = wal_last_index(log),
             first = wal_first_index(log);
    struct wal_receipt receipt;
    if (last + 1 - first > kept && (result = wal_truncate_prefix(log, last + 1 - kept, &receipt)) == 0)
        result = wal_wait(log, receipt.ticket);
    if (result != 0)
        failed("truncating", log, result);
    return close_log(log, result);
}

static int verify(struct wal *log, struct sample *sample)
{
    struct wal_verify_report report;
    uint64_t before_ns = clock_ns();
    int result = wal_verify(log, &report, NULL, NULL);
    if (result != 0)
        return failed("wal_verify", log, result);
    sample_once(sample, clock_ns() - before_ns, report.bytes, report.records);
    return 0;
}

int recover_cold(const struct bench_case *self, struct sample *sample)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    int result = open_log(WAL_READ_ONLY, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    drop_pages();
    return close_log(log, verify(log, sample));
}

int recover_warm(const struct bench_case *self, struct sample *sample)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    int result = open_log(WAL_READ_ONLY | WAL_BUFFERED, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    if ((result = verify(log, sample)) == 0) /* Fills the cache. */
        result = verify(log, sample);
    return close_log(log, result);
}

/* Where it was built: beside this program. */
static void waldump_path(char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length > 0 ? length : 0] = 0;
    char *name = strrchr(path, '/');
    name = name == NULL ? path : name + 1;
    snprintf(name, size - (size_t)(name - path), "waldump");
}

static int run_waldump(bool cached, struct sample *sample)
{
    char command[8192 + 64], directory[4096], program[4096], line[4096];
    log_path(directory, sizeof(directory));
    waldump_path(program, sizeof(program));
    snprintf(command, sizeof(command), "'%s' verify --deep --json%s '%s'", program, cached ? " --cached" : "",
             directory);
    fflush(NULL);
    uint64_t before_ns = clock_ns();
    FILE *output = popen(command, "re");
    bool said = output != NULL && fgets(line, sizeof(line), output) != NULL;
    int code = output == NULL ? -1 : pclose(output);
    uint64_t took_ns = clock_ns() - before_ns;
    const char *bytes = said ? strstr(line, "\"bytes\":") : NULL, *records = said ? strstr(line, "\"records\":") : NULL;
    if (code != 0 || bytes == NULL || records == NULL)
        return failed("waldump verify --deep", NULL, WAL_ESYSTEM);
    sample_once(sample, took_ns, strtoull(bytes + strlen("\"bytes\":"), NULL, 10),
                strtoull(records + strlen("\"records\":"), NULL, 10));
    return 0;
}

/* The tool as an operator runs it: start, open, everything read and checked, from the disk. */
int recover_waldump(const struct bench_case *self, struct sample *sample)
{
    (void)self;
    drop_pages();
    return run_waldump(false, sample);
}

int recover_waldump_cached(const struct bench_case *self, struct sample *sample)
{
    (void)self;
    int result = run_waldump(true, sample); /* Fills the cache. */
    return result != 0 ? result : run_waldump(true, sample);
}
