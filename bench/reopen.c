/* reopen.c - a log that is made, killed, opened and verified.
 *
 * The happy path: reopen_make once; then reopen_crash or not, reopen_drop_pages or not, reopen_open, reopen_verify.
 *
 * The crash is a real one: a child appends into a fresh segment until it is three quarters full and is killed there.
 *
 * What can fail: the log, the child; said on stderr. */

#define _GNU_SOURCE
#include "bench/reopen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common.h"

enum { APPEND_RECORDS = 1000 };

int reopen_open(const char *path, uint32_t flags, struct wal **log, struct wal_verdict *verdict, uint64_t *took_ns)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags;
    options.segment_bytes = REOPEN_SEGMENT_BYTES;
    uint64_t before_ns = clock_ns();
    int result = wal_open(path, &options, log, verdict);
    *took_ns = clock_ns() - before_ns;
    if (result == 0)
        return 0;
    say_on_stderr("%s", verdict->text);
    return failed("wal_open", NULL, result);
}

/* Appends at least so many bytes of segments, or until a roll, whichever is asked for. */
static int append_bytes(struct wal *log, uint64_t bytes, bool until_roll)
{
    static struct wal_record records[APPEND_RECORDS];
    static unsigned char payload[APPEND_RECORDS * REOPEN_RECORD_BYTES];
    struct wal_append append = {.records = records, .record_count = APPEND_RECORDS};
    struct wal_stats stats;
    wal_stats(log, &stats);
    uint64_t written = stats.batch_bytes, rolls = stats.rolls;
    for (unsigned i = 0; i < APPEND_RECORDS; i++) {
        memset(payload + (size_t)i * REOPEN_RECORD_BYTES, (int)i, REOPEN_RECORD_BYTES);
        records[i] = (struct wal_record){
            .data = payload + (size_t)i * REOPEN_RECORD_BYTES, .size = REOPEN_RECORD_BYTES, .type = 1, .tag = i};
    }
    while (!interrupted() && (until_roll ? stats.rolls == rolls : stats.batch_bytes - written < bytes)) {
        int result = wal_commit(log, &append, NULL);
        if (result != 0)
            return failed("wal_commit", log, result);
        wal_stats(log, &stats);
    }
    return 0;
}

int reopen_make(const char *path, uint64_t bytes)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    int result = reopen_open(path, WAL_CREATE, &log, &verdict, &took_ns);
    return result != 0 ? result : close_log(log, append_bytes(log, bytes, false));
}

void reopen_drop_pages(const char *path)
{
    struct dirent *entry;
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

/* Fills most of a fresh segment and waits for its end; tells the pipe when it is there. */
__attribute__((noreturn)) static void crash_child(const char *path, int tell)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    if (reopen_open(path, 0, &log, &verdict, &took_ns) == 0 && append_bytes(log, 0, true) == 0 &&
        append_bytes(log, REOPEN_SEGMENT_BYTES / 4 * 3, false) == 0 && write(tell, "x", 1) == 1)
        pause();
    _exit(1);
}

int reopen_crash(const char *path)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return failed("pipe2", NULL, -errno);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        crash_child(path, ends[1]);
    close(ends[1]);
    ssize_t got = pid < 0 ? 0 : read(ends[0], &byte, 1);
    close(ends[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return got == 1 ? 0 : failed("the child that was to be killed", NULL, WAL_ESYSTEM);
}

int reopen_shorten(struct wal *log, uint64_t bytes)
{
    uint64_t kept = bytes / (REOPEN_RECORD_BYTES + 24), last = wal_last_index(log), first = wal_first_index(log);
    struct wal_receipt receipt;
    int result = 0;
    if (last + 1 - first > kept && (result = wal_truncate_prefix(log, last + 1 - kept, &receipt)) == 0)
        result = wal_wait(log, receipt.ticket);
    return result == 0 ? 0 : failed("truncating", log, result);
}

int reopen_verify(struct wal *log, struct wal_verify_report *report, uint64_t *took_ns)
{
    uint64_t before_ns = clock_ns();
    int result = wal_verify(log, report, NULL, NULL);
    *took_ns = clock_ns() - before_ns;
    return result == 0 ? 0 : failed("wal_verify", log, result);
}
