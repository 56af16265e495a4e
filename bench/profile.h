/* profile.h - what well-known systems write, and the thresholds that they publish; assertions on rows.
 *
 * May include: bench/result.h. */

#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include "bench/result.h"

struct profile {
    const char *name;
    const char *words;
    const char *method, *layout;
    uint32_t size_bytes;
    bool direct;
    uint64_t p99_max_ns; /* 0: it publishes none. */
    const char *source;  /* Of the threshold. */
};

extern const struct profile profiles[];
extern const unsigned profile_count;

/* NULL: there is none of that name. */
const struct profile *profile_find(const char *name);

/* Is text an assertion, "[WORDS.]STAT<VALUE[UNIT]"? NULL, or what is wrong with it. */
const char *assertion_check(const char *text);

/* Is there a row, measured or not, that this is about? Without words: a durable one. */
bool assertion_has_row(const struct result *result, const char *text);

/* Decides it: all measured rows that have its words in their id must hold. It is added to the result, with the row that
 * decided; when none of its rows was measured, as not ok. False: no row has these words. */
bool assertion_decide(struct result *result, const char *text);

/* A statistic of a row: "p50", "p99", "p999", "max", "mean", "min" in ns, "rate" in operations a second,
 * "records_per_sync". False: there is none of that name. */
bool row_statistic(const struct row *row, const char *name, double *out);

#endif
