/* result.h - what a run of walbench has measured: a row for each thing, and what it was measured on.
 *
 * The same rows for all commands, so that compare, plot and explain read any of them. Files hold one document of schema
 * "walbench.result/1" (result_json.c); within /1 no key goes away or changes its meaning.
 *
 * May include: bench/device.h, bench/histogram.h, wal/wal.h. */

#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include "bench/device.h"
#include "bench/histogram.h"
#include "wal/wal.h"

#include <time.h>

#define RESULT_SCHEMA "walbench.result/1"

enum { ROWS_MAX = 256, ROUNDS_MAX = 64, ASSERTIONS_MAX = 32, ARGUMENTS_MAX = 64 };

/* How long a part of each operation took. */
struct stage {
    uint64_t count, mean_ns, p50_ns, p99_ns, max_ns;
};

struct round {
    double operations_per_s;
    uint64_t p50_ns, p99_ns;
};

enum row_kind { ROW_WRITE, ROW_LOG, ROW_OPEN, ROW_VERIFY, ROW_PEER, ROW_RAFT };
enum { ROW_KINDS = ROW_RAFT + 1 };

enum { ROW_ID_BYTES = 96, ROW_LABEL_BYTES = 96 };

struct row {
    /* What it is. */
    enum row_kind kind;
    char id[ROW_ID_BYTES]; /* Words separated by dots; the same work has the same id in every version. */
    char label[ROW_LABEL_BYTES];
    const char *section; /* Rows that belong together: they differ in one thing. */
    const char *method, *layout, *engine;
    bool direct, durable, base; /* base: the others of its section are compared with it. */
    uint32_t size_bytes;        /* Of one update; of recovery, of a record. */
    unsigned depth;             /* Writes at the disk at once. */
    unsigned threads, outstanding, records;
    double rate_per_s;
    uint64_t emulated_ns; /* Added to every sync. */
    uint64_t log_bytes;   /* Recovery. */

    /* What was seen. An operation is what a caller waits for. */
    char skipped[160]; /* Why it was not measured; "": it was. */
    unsigned round_count;
    struct round rounds[ROUNDS_MAX];
    uint64_t operations, records_done, bytes, unfinished, syncs, elapsed_ns, cpu_ns;
    struct histogram latency;
    struct stage queue, write, sync, acknowledge; /* count 0: this stage cannot be told apart. */
};

struct assertion {
    char text[128];
    char row[ROW_ID_BYTES]; /* That decided it; "": nothing did, as no row that it is about was measured. */
    double value;
    bool duration; /* The value is one, in ns. */
    bool ok;
};

struct result {
    const char *command;
    int argument_count;
    char **arguments;
    time_t started;
    double seconds, warm_seconds; /* Of a row in all, of a row in each round. */
    unsigned rounds;
    uint64_t seed;
    char stopped[256]; /* What ended the run before its time: "interrupted", or what failed; "": it is whole. */
    uint64_t emulated_ns;
    char emulated_name[32];
    struct device_facts device;
    unsigned row_count;
    struct row *rows[ROWS_MAX];
    bool overfull; /* More rows were asked for. */
    unsigned assertion_count;
    struct assertion assertions[ASSERTIONS_MAX];
    char plausibility[256];
    char sentence[768];
};

/* A new row, zeroed; NULL: there are too many, or no memory, and that was said. The result owns it. */
struct row *result_add(struct result *result);
void result_drop_last(struct result *result);
void result_free(struct result *result);

/* The first row with this id; NULL: none. */
const struct row *result_find(const struct result *result, const char *id);

/* The part of a round in a row: a histogram of its operations, and its counts. */
void row_add_round(struct row *row, const struct histogram *latency, uint64_t elapsed_ns);
/* Merges by weight; percentiles become the mean of the rounds'. */
void stage_add(struct stage *stage, uint64_t count, uint64_t mean_ns, uint64_t p50_ns, uint64_t p99_ns,
               uint64_t max_ns);
void stage_add_histogram(struct stage *stage, const struct histogram *histogram);

bool row_measured(const struct row *row);
bool result_measured(const struct result *result); /* Any row of it. */
double row_rate(const struct row *row);            /* Operations a second, over all rounds. */
double row_records_rate(const struct row *row);
double row_records_per_sync(const struct row *row); /* 0: not known. */

/* result_json.c: 0, or a negative errno. */
int result_write_json(const struct result *result, FILE *to);

/* result_text.c: the table, and what stands below it. Widths are for a terminal of 120 columns. */
enum table_form { TABLE_TEXT, TABLE_MARKDOWN, TABLE_CSV };
void result_print(const struct result *result, enum table_form form, bool histograms, FILE *to);
/* "FAIL: p99<1ms (ROW: 2.10 ms)". */
enum { ASSERTION_TEXT_BYTES = 320 };
const char *assertion_text(const struct assertion *assertion, char text[ASSERTION_TEXT_BYTES]);
/* "123 us", "1.23 ms". */
const char *duration_text(uint64_t ns, char text[24]);
const char *count_text(double value, char text[24]);  /* 12.3k, 1.23M: three digits. */
const char *factor_text(double value, char text[24]); /* 0.5, 1.17, 646, 1.38k. */

/* sentence.c: what it comes to, in plain words; how plausible the disk is. */
void result_conclude(struct result *result);

#endif
