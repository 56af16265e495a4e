/* result.c - rows: made, filled round by round, found.
 *
 * The happy path: result_add for each row of the plan; row_add_round after each round; the rest reads.
 *
 * What can fail: memory, and too many rows; said on stderr.
 *
 * Invariants: a row that was skipped has no rounds; the histogram of a row holds all its rounds' operations. */

#define _GNU_SOURCE
#include "bench/result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common.h"
#include "wal/check.h"

struct row *result_add(struct result *result)
{
    struct row *row = result->row_count == ROWS_MAX ? NULL : calloc(1, sizeof(*row));
    if (result->row_count == ROWS_MAX) {
        say_on_stderr("the lists make more than %d rows: shorten them", ROWS_MAX);
        result->overfull = true;
        return NULL;
    }
    if (row == NULL) {
        failed("the rows of this run", NULL, -ENOMEM);
        return NULL;
    }
    result->rows[result->row_count++] = row;
    row->engine = "syscall";
    row->method = row->layout = "";
    row->section = "";
    row->records = 1;
    row->durable = true;
    return row;
}

void result_drop_last(struct result *result)
{
    CHECK(result->row_count > 0);
    free(result->rows[--result->row_count]);
}

void result_free(struct result *result)
{
    for (unsigned i = 0; i < result->row_count; i++)
        free(result->rows[i]);
    result->row_count = 0;
}

const struct row *result_find(const struct result *result, const char *id)
{
    for (unsigned i = 0; i < result->row_count; i++)
        if (strcmp(result->rows[i]->id, id) == 0)
            return result->rows[i];
    return NULL;
}

void row_add_round(struct row *row, const struct histogram *latency, uint64_t elapsed_ns)
{
    CHECK(row->skipped[0] == 0);
    histogram_merge(&row->latency, latency);
    row->operations += latency->count;
    row->elapsed_ns += elapsed_ns;
    if (row->round_count == ROUNDS_MAX || elapsed_ns == 0)
        return;
    row->rounds[row->round_count++] =
        (struct round){.operations_per_s = (double)latency->count * 1e9 / (double)elapsed_ns,
                       .p50_ns = histogram_quantile(latency, 0.5),
                       .p99_ns = histogram_quantile(latency, 0.99)};
}

static uint64_t weighted(uint64_t left, uint64_t left_count, uint64_t right, uint64_t right_count)
{
    return (uint64_t)(((double)left * (double)left_count + (double)right * (double)right_count) /
                      (double)(left_count + right_count));
}

void stage_add(struct stage *stage, uint64_t count, uint64_t mean_ns, uint64_t p50_ns, uint64_t p99_ns, uint64_t max_ns)
{
    if (count == 0)
        return;
    stage->mean_ns = weighted(stage->mean_ns, stage->count, mean_ns, count);
    stage->p50_ns = weighted(stage->p50_ns, stage->count, p50_ns, count);
    stage->p99_ns = weighted(stage->p99_ns, stage->count, p99_ns, count);
    stage->max_ns = stage->max_ns > max_ns ? stage->max_ns : max_ns;
    stage->count += count;
}

void stage_add_histogram(struct stage *stage, const struct histogram *histogram)
{
    if (histogram->count != 0)
        stage_add(stage, histogram->count, histogram->total_ns / histogram->count, histogram_quantile(histogram, 0.5),
                  histogram_quantile(histogram, 0.99), histogram->max_ns);
}

bool row_measured(const struct row *row)
{
    return row->skipped[0] == 0 && row->operations != 0 && row->elapsed_ns != 0;
}

bool result_measured(const struct result *result)
{
    for (unsigned i = 0; i < result->row_count; i++)
        if (row_measured(result->rows[i]))
            return true;
    return false;
}

double row_rate(const struct row *row)
{
    return row_measured(row) ? (double)row->operations * 1e9 / (double)row->elapsed_ns : 0;
}

double row_records_rate(const struct row *row)
{
    return row_measured(row) ? (double)row->records_done * 1e9 / (double)row->elapsed_ns : 0;
}

double row_records_per_sync(const struct row *row)
{
    return row->syncs != 0 ? (double)row->records_done / (double)row->syncs : 0;
}
