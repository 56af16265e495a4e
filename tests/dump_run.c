/* dump_run.c - commands of waldump, run in this process, with what they print caught.
 *
 * The happy path: stdout and stderr are pointed at files in memory, the command runs, they are pointed back.
 *
 * What can fail: nothing but the machine (CHECK). A command that ends the process ends the test: that is a finding.
 *
 * May include: dump_run.h. */

#define _GNU_SOURCE
#include "tests/dump_run.h"

#include "wal/check.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct settings dump_settings(const char *path)
{
    return (struct settings){.path = path,
                             .from = 1,
                             .to = UINT64_MAX,
                             .limit = UINT64_MAX,
                             .max_payload = UINT64_MAX,
                             .progress = PROGRESS_NEVER,
                             .emit.format = EMIT_JSON};
}

int dump_run(int (*command)(struct settings *settings), struct settings *settings, char *text, size_t size,
             size_t *length)
{
    static int caught = -1;
    static int lost = -1;
    if (caught < 0) {
        caught = memfd_create("stdout", MFD_CLOEXEC);
        lost = memfd_create("stderr", MFD_CLOEXEC);
        CHECK(caught >= 0 && lost >= 0);
    }
    (void)fflush(stdout);
    (void)fflush(stderr);
    int out = dup(STDOUT_FILENO);
    int error = dup(STDERR_FILENO);
    CHECK(out >= 0 && error >= 0 && ftruncate(caught, 0) == 0 && ftruncate(lost, 0) == 0);
    CHECK(lseek(caught, 0, SEEK_SET) == 0 && lseek(lost, 0, SEEK_SET) == 0);
    CHECK(dup2(caught, STDOUT_FILENO) >= 0 && dup2(lost, STDERR_FILENO) >= 0);
    int code = command(settings);
    (void)fflush(stdout);
    (void)fflush(stderr);
    CHECK(dup2(out, STDOUT_FILENO) >= 0 && dup2(error, STDERR_FILENO) >= 0);
    (void)close(out);
    (void)close(error);
    off_t end = lseek(caught, 0, SEEK_END);
    CHECK(end >= 0);
    *length = (size_t)end;
    ssize_t got = size == 0 ? 0 : pread(caught, text, size - 1, 0);
    CHECK(got >= 0);
    if (size != 0) {
        text[got] = '\0';
    }
    return code;
}
