/* report.c - how a failure is told: a code, and a sentence with the place and the next step.
 *
 * The happy path is that none is; when one is, report_set notes the sentence and gives back the code.
 *
 * The codes and their words stand in one list in wal.h (WAL_STATUS_LIST); this file only looks them up. Messages are
 * built into fixed buffers: telling of a failure must not be able to fail.
 *
 * Invariants: a report's text is always terminated; a status of 0 goes with an empty text.
 *
 * What can fail: nothing; a message longer than its buffer is cut.
 *
 * May include: report.h, check.h. */

#define _GNU_SOURCE
#include "wal/report.h"

#include "wal/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(WAL_ENOENT == -ENOENT && WAL_EIO == -EIO && WAL_EAGAIN == -EAGAIN && WAL_ENOMEM == -ENOMEM &&
                   WAL_EACCES == -EACCES && WAL_EBUSY == -EBUSY && WAL_EEXIST == -EEXIST && WAL_EINVAL == -EINVAL &&
                   WAL_ENOSPC == -ENOSPC && WAL_EROFS == -EROFS,
               "codes above -1000 are Linux errno values");

const char *wal_strerror(int status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text) \
    case name:                         \
        return text;
        WAL_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    default:
        return "unknown code";
    }
}

const char *wal_version(void)
{
    return WAL_VERSION;
}

int report_set(struct report *report, int status, const char *format, ...)
{
    CHECK(status < 0);
    report->status = status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report->text, sizeof(report->text), format, arguments);
    va_end(arguments);
    return status;
}

int status_of_errno(int negative_errno)
{
    CHECK(negative_errno < 0);
    switch (negative_errno) {
    case -ENOENT:
    case -EIO:
    case -EAGAIN:
    case -ENOMEM:
    case -EACCES:
    case -EBUSY:
    case -EEXIST:
    case -EINVAL:
    case -ENOSPC:
    case -EROFS:
        return negative_errno;
    case -EPERM:
        return WAL_EACCES;
    case -EDQUOT:
        return WAL_ENOSPC;
    default:
        return WAL_ESYSTEM;
    }
}

const char *errno_name(int negative_errno)
{
    const char *name = strerrorname_np(-negative_errno);
    return name != NULL ? name : "unknown errno";
}
