/* recovery.c - the cases of opening and verifying: after an orderly close, after a kill, cold and warm, and by waldump.
 *
 * One log of 1 GiB in records of 128 bytes is written once. Each case leaves it closed in order and about as large.
 *
 * Cold means that the pages of the log's files are dropped first; the log reads them around the cache anyhow where the
 * file system can. What the hypervisor below keeps is beyond us, and equal for fio's read beside it. */

#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/reopen.h"

enum { PATH_BYTES = 4096 };

static void log_path(char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/recovery", settings.directory);
}

int recovery_prepare(void)
{
    static bool prepared;
    char path[PATH_BYTES];
    log_path(path);
    int result = prepared ? 0 : reopen_make(path, settings.recovery_bytes);
    prepared = true;
    return result;
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
    char path[PATH_BYTES];
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    log_path(path);
    reopen_drop_pages(path);
    int result = reopen_open(path, 0, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    sample_once(sample, took_ns, 0, 0);
    if (!verdict.closed)
        result = failed("the log was closed, but the verdict does not say so", log, WAL_ECORRUPT);
    return close_log(log, result);
}

int recover_crashed(const struct bench_case *self, struct sample *sample)
{
    char path[PATH_BYTES];
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    log_path(path);
    int result = reopen_crash(path);
    if (result != 0)
        return result;
    reopen_drop_pages(path);
    if ((result = reopen_open(path, 0, &log, &verdict, &took_ns)) != 0)
        return result;
    sample_once(sample, took_ns, verdict.offset, 0);
    return close_log(log, reopen_shorten(log, settings.recovery_bytes)); /* The room is used by the next crash. */
}

static int verify(struct wal *log, struct sample *sample)
{
    struct wal_verify_report report;
    uint64_t took_ns;
    int result = reopen_verify(log, &report, &took_ns);
    if (result == 0)
        sample_once(sample, took_ns, report.bytes, report.records);
    return result;
}

int recover_cold(const struct bench_case *self, struct sample *sample)
{
    char path[PATH_BYTES];
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    log_path(path);
    int result = reopen_open(path, WAL_READ_ONLY, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    reopen_drop_pages(path);
    return close_log(log, verify(log, sample));
}

int recover_warm(const struct bench_case *self, struct sample *sample)
{
    char path[PATH_BYTES];
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    (void)self;
    log_path(path);
    int result = reopen_open(path, WAL_READ_ONLY | WAL_BUFFERED, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    if ((result = verify(log, sample)) == 0) /* Fills the cache. */
        result = verify(log, sample);
    return close_log(log, result);
}

/* --- waldump ------------------------------------------------------------------------------------- */

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
    char command[8192 + 64], directory[PATH_BYTES], program[PATH_BYTES], line[4096];
    log_path(directory);
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
    char path[PATH_BYTES];
    (void)self;
    log_path(path);
    reopen_drop_pages(path);
    return run_waldump(false, sample);
}

int recover_waldump_cached(const struct bench_case *self, struct sample *sample)
{
    (void)self;
    int result = run_waldump(true, sample); /* Fills the cache. */
    return result != 0 ? result : run_waldump(true, sample);
}
