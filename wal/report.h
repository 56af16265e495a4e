/* report.h - how a failure is told: a code, and a sentence with the place and the next step.
 *
 * May include: wal.h. */

#ifndef WAL_REPORT_H
#define WAL_REPORT_H

#include "wal/wal.h"

#include <stdarg.h>

enum { REPORT_TEXT_BYTES = 512 };

/* The newest failure of a handle. Guarded by its owner's lock. */
struct report {
    int status;
    char text[REPORT_TEXT_BYTES];
};

/* Notes the failure and returns status, so that `return report_set(...)` reads well. */
int report_set(struct report *report, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The code for an errno value of the disk (negative): the ones that wal.h names keep their number, all others become
 * WAL_ESYSTEM for control calls; a data operation that fails is WAL_EIO whatever the number. */
int status_of_errno(int negative_errno);

/* A short name such as "EIO" for a negative errno value, for messages; thread-safe, unlike strerror. */
const char *errno_name(int negative_errno);

#endif
