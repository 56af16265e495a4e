/* bench.h - what the parts of bench_commit share: the settings of a run, a case, and the sample that one round of a
 * case gives.
 *
 *   bench_commit.c   options, rounds in random order, the directory and its removal
 *   cases.c          the table of cases, and the floors they are held to
 *   limits.c         what the device can do: fio, and a write loop of our own
 *   appends.c        the log appending, by the engine: blocking threads, event loop, batches, streams, rolls
 *   recovery.c       the log opening and verifying
 *   table.c          medians, ratios, tables, JSON
 *
 * May include: wal/wal.h, bench/common.h, bench/histogram.h. */

#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/common.h"
#include "bench/histogram.h"
#include "wal/wal.h"

enum { ROUNDS_MAX = 100, CASES_MAX = 128 };

struct settings {
    char directory[WORKPLACE_PATH_BYTES]; /* Made by us, removed by us. */
    double seconds;                       /* One case in one round. */
    unsigned rounds;
    uint64_t seed;
    uint64_t file_bytes;     /* Of the file that the limits write and read. */
    uint64_t recovery_bytes; /* Of the log that is recovered. */
    bool fio;                /* There is one. */
    const char *cases;       /* Filter, comma separated; NULL: all. */
    bool quick, markdown;
    const char *json_path;
};

extern struct settings settings;

/* What one round of one case gives. An operation is what the caller waits for: one append call, one write, one open.
 * */
struct sample {
    bool valid;
    double operations_per_s;
    double records_per_s;
    double bytes_per_s; /* Payload; of limits and recovery, bytes of the file. */
    uint64_t p50_ns, p99_ns, p999_ns, max_ns;
    double cpu_ns_per_record; /* User and system time of this process. */
    double batches_per_record;
    double write_amplification;                    /* Bytes written for each byte of payload. */
    uint64_t roll_count, roll_p50_ns, roll_max_ns; /* Commits that rolled, as the caller saw them. */
};

struct bench_case {
    const char *name;
    const char *words;
    int (*run)(const struct bench_case *self, struct sample *sample); /* 0, or it has said on stderr what failed. */
    const char *argument;                                             /* limits.c: words for fio. */
    unsigned count;                                                   /* Threads, or appends outstanding. */
    unsigned records;                                                 /* In one append. */
    uint32_t record_bytes;
    uint64_t segment_bytes;     /* 0: 64 MiB, and the log that most cases share. */
    uint32_t batches_in_flight; /* 0: the library's default. */
    const char *variant_of;     /* NULL: the first of its variants, which the floors speak of. */
    char variant[32];           /* Strategy and backend, when there are several. */
    enum wal_strategy strategy;
    enum wal_backend backend;
    bool quick; /* Also with --quick. */
    bool chosen;
    struct sample samples[ROUNDS_MAX];
};

/* A floor: the case's measure against that of another case in the same round, or against a number. */
enum measure { RATE, OPERATION_RATE, BYTES_RATE, P50, P99, ROLL_P50, CPU_PER_RECORD };

struct floor_line {
    const char *name; /* Of the case. */
    const char *words;
    enum measure measure;
    const char *reference; /* Case; NULL: bound is absolute (ns, or bytes per second). */
    double bound;
    bool at_most; /* Else at least. */
};

extern struct bench_case cases[CASES_MAX];
extern unsigned case_count;
extern const struct floor_line floor_lines[];
extern const unsigned floor_line_count;

/* cases.c */
void cases_build(const enum wal_strategy *strategies, unsigned strategy_count, const enum wal_backend *backends,
                 unsigned backend_count);
struct bench_case *case_find(const char *name);
/* Applies the filter, and takes in what the chosen are compared with. False: a name is unknown. */
bool cases_choose(void);

/* limits.c */
int limits_prepare(void);
int limit_fio(const struct bench_case *self, struct sample *sample);
int limit_raw(const struct bench_case *self, struct sample *sample);
int limit_read(const struct bench_case *self, struct sample *sample);

/* appends.c */
int append_threads(const struct bench_case *self, struct sample *sample);
int append_loop(const struct bench_case *self, struct sample *sample);
int append_roll(const struct bench_case *self, struct sample *sample);
/* Makes the log of a case when it is not there, with enough recycled segments. */
int appends_prepare(const struct bench_case *self);
/* Memory asked for while 1,024 appends are outstanding: calls of options.allocator, and growth of the C library's
 * heap. */
int appends_count_allocations(uint64_t *calls_out, int64_t *heap_bytes_out, uint64_t *records_out);

/* recovery.c */
int recovery_prepare(void);
int recover_closed(const struct bench_case *self, struct sample *sample);
int recover_crashed(const struct bench_case *self, struct sample *sample);
int recover_cold(const struct bench_case *self, struct sample *sample);
int recover_warm(const struct bench_case *self, struct sample *sample);
int recover_waldump(const struct bench_case *self, struct sample *sample);
int recover_waldump_cached(const struct bench_case *self, struct sample *sample);

/* table.c */
void print_machine(FILE *out);
void print_results(FILE *out);
int write_json(const char *path);

/* bench_commit.c */
void sample_latency(struct sample *sample, const struct histogram *histogram);

#endif
