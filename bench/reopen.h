/* reopen.h - a log that is made, killed, opened and verified, timed.
 *
 * May include: wal/wal.h. */

#ifndef BENCH_REOPEN_H
#define BENCH_REOPEN_H

#include <stdint.h>

#include "wal/wal.h"

enum { REOPEN_RECORD_BYTES = 128, REOPEN_SEGMENT_BYTES = 64 << 20 };

/* All of these: 0, or -1 and it has said what failed. */

/* A log of at least so many bytes of batches, in records of 128 bytes, closed in order. */
int reopen_make(const char *path, uint64_t bytes);

/* took_ns: of wal_open alone. */
int reopen_open(const char *path, uint32_t flags, struct wal **log, struct wal_verdict *verdict, uint64_t *took_ns);

/* A child appends to it until the newest segment is three quarters full, and is killed there. */
int reopen_crash(const char *path);

/* Makes it no larger than about so many bytes again, from the front. */
int reopen_shorten(struct wal *log, uint64_t bytes);

int reopen_verify(struct wal *log, struct wal_verify_report *report, uint64_t *took_ns);

/* Drops the pages of the log's files from the cache (of these files only). What a hypervisor below keeps is beyond us.
 */
void reopen_drop_pages(const char *path);

#endif
