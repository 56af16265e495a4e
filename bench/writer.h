/* writer.h - durable updates as programs write them by hand, one method and one layout of the file at a time.
 *
 * May include: bench/result.h. */

#ifndef BENCH_WRITER_H
#define BENCH_WRITER_H

#include "bench/result.h"

struct writing {
    struct histogram latency;     /* Of whole updates; */
    struct histogram write, sync; /* of their two calls, where there are two. */
    uint64_t syncs, elapsed_ns, cpu_ns;
};

enum { WRITER_SKIPPED = 1, WRITER_REASON_BYTES = 160 };

extern const char *const writer_methods[]; /* "none", "fdatasync", ...; they end with NULL. */
extern const char *const writer_layouts[]; /* "append", "fallocated", "zeroed", "recycled". */
/* A sentence for each of the words above; "" when it is none of them. */
const char *writer_explain(const char *word);

/* Is an update with this method on stable storage when it is over? */
bool writer_is_durable(const char *method);

/* Makes the files that rows write over (zeroed, recycled), of file_bytes each, in the directory. 0, or -1 and it has
 * said what failed. */
int writer_prepare(const char *directory, uint64_t file_bytes);

/* Runs row (kind ROW_WRITE) for a time; a file that grows or was only reserved is made anew and ends the time early
 * when file_bytes are written. 0; -1 and it has said what failed; WRITER_SKIPPED, and reason says why this cannot be
 * done here. */
int writer_run(const struct row *row, const char *directory, uint64_t file_bytes, double warm_seconds, double seconds,
               struct writing *writing, char reason[WRITER_REASON_BYTES]);

#endif
