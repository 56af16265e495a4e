/* result_text.c - a result for people: what was measured on, the table section by section, the sentence.
 *
 * A cell of a rate is the one over all rounds, with the least and most of a round beside it; "x" is the row's records a
 * second against the base of the table above it. */

#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bench/result.h"

const char *duration_text(uint64_t ns, char text[24])
{
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    unsigned i = 0;
    while (i < 3 && (double)ns < units[i].ns * 0.9995)
        i++;
    double value = (double)ns / units[i].ns;
    snprintf(text, 24, "%.*f %s", i == 3 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, units[i].unit);
    return text;
}

const char *count_text(double value, char text[24])
{
    static const char *const units[] = {"", "k", "M", "G"};
    unsigned unit = 0;
    while (fabs(value) >= 999.5 && unit < 3) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 24, "%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return text;
}

const char *factor_text(double value, char text[24])
{
    if (value >= 999.5 || value < 0.001)
        return count_text(value, text);
    snprintf(text, 24, "%.3g", value);
    return text;
}

/* --- rows ---------------------------------------------------------------------------------------- */

enum { CELLS = 9, CELL_BYTES = 112 };

static void rate_cell(const struct row *row, char *cell)
{
    char rate[24], least_text[24], most_text[24];
    double least = HUGE_VAL, most = 0;
    double factor = row->operations != 0 ? (double)row->records_done / (double)row->operations : 1;
    factor = row->kind == ROW_OPEN || row->kind == ROW_VERIFY ? 1 : factor;
    for (unsigned i = 0; i < row->round_count; i++) {
        least = fmin(least, row->rounds[i].operations_per_s * factor);
        most = fmax(most, row->rounds[i].operations_per_s * factor);
    }
    count_text(row->kind == ROW_OPEN || row->kind == ROW_VERIFY ? row_rate(row) : row_records_rate(row), rate);
    if (row->round_count < 2)
        snprintf(cell, CELL_BYTES, "%s", rate);
    else
        snprintf(cell, CELL_BYTES, "%s [%s-%s]", rate, count_text(least, least_text), count_text(most, most_text));
}

static void stage_cell(const struct stage *stage, char *cell)
{
    if (stage->count == 0)
        snprintf(cell, CELL_BYTES, "-");
    else
        duration_text(stage->p50_ns, cell);
}

static void fill_cells(const struct row *row, const struct row *base, char cells[CELLS][CELL_BYTES])
{
    const struct histogram *latency = &row->latency;
    snprintf(cells[0], CELL_BYTES, "%s", row->label);
    rate_cell(row, cells[1]);
    duration_text(histogram_quantile(latency, 0.5), cells[2]);
    duration_text(histogram_quantile(latency, 0.99), cells[3]);
    duration_text(histogram_quantile(latency, 0.999), cells[4]);
    duration_text(latency->max_ns, cells[5]);
    stage_cell(&row->write, cells[6]);
    stage_cell(&row->sync, cells[7]);
    if (row->kind == ROW_VERIFY)
        snprintf(cells[8], CELL_BYTES, "%.2f GB/s", row_rate(row) * (double)row->bytes / (double)row->operations / 1e9);
    else if (base != NULL && row_measured(base) && row->kind != ROW_OPEN)
        factor_text(row_records_rate(row) / row_records_rate(base), cells[8]);
    else
        snprintf(cells[8], CELL_BYTES, "-");
}

static void print_cells(const char *const cells[CELLS], enum table_form form, FILE *to)
{
    static const int widths[CELLS] = {-34, 22, 9, 9, 9, 9, 9, 9, 6};
    for (unsigned i = 0; i < CELLS; i++) {
        if (form == TABLE_TEXT)
            fprintf(to, "%s%*s", i == 0 ? "  " : " ", widths[i], cells[i]);
        else
            fprintf(to, "| %s%s", cells[i], i + 1 == CELLS ? " |" : " ");
    }
    fputc('\n', to);
}

static void print_row(const struct row *row, const struct row *base, enum table_form form, FILE *to)
{
    char cells[CELLS][CELL_BYTES];
    const char *texts[CELLS];
    if (!row_measured(row)) {
        const char *reason = row->skipped[0] != 0 ? row->skipped : "not reached";
        fprintf(to, form == TABLE_TEXT ? "  %-34s %s\n" : "| %s | %s | | | | | | | |\n", row->label, reason);
        return;
    }
    fill_cells(row, base, cells);
    for (unsigned i = 0; i < CELLS; i++)
        texts[i] = cells[i];
    print_cells(texts, form, to);
}

static void print_histogram(const struct row *row, FILE *to)
{
    const struct histogram *latency = &row->latency;
    char low[24], high[24];
    if (!row_measured(row))
        return;
    fprintf(to, "\n%s, %" PRIu64 " operations\n", row->label, row->operations);
    /* A line for each power of two. */
    for (unsigned first = 0; first < HISTOGRAM_BUCKETS; first += HISTOGRAM_SPLIT) {
        uint64_t count = 0;
        for (unsigned i = first; i < first + HISTOGRAM_SPLIT; i++)
            count += latency->buckets[i];
        if (count == 0)
            continue;
        double share = (double)count / (double)latency->count;
        fprintf(to, "  %9s to %-9s %-40.*s %6.2f %%\n", duration_text(histogram_low_ns(first), low),
                duration_text(histogram_low_ns(first + HISTOGRAM_SPLIT), high), (int)(share * 40 + 0.999),
                "########################################", share * 100);
    }
}

/* --- the whole ----------------------------------------------------------------------------------- */

static void print_head(const struct result *result, FILE *to)
{
    char sync[24];
    device_print(&result->device, to);
    fprintf(to, "libwal %s; %u rows, %.3g s each in %u round%s, in random order (seed %" PRIu64 ")\n", wal_version(),
            result->row_count, result->seconds, result->rounds, result->rounds > 1 ? "s" : "", result->seed);
    if (result->emulated_ns != 0)
        fprintf(to, "EMULATED: %s added to every sync (%s); this says nothing about the disk here\n",
                duration_text(result->emulated_ns, sync), result->emulated_name);
}

/* Of its own section, or else of its kind, further up. */
static const struct row *base_of(const struct result *result, unsigned at)
{
    const struct row *base = NULL;
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        bool same = row->kind == result->rows[at]->kind;
        if (strcmp(row->section, result->rows[at]->section) == 0 && row->base)
            return row;
        if (same && row->base && (base == NULL || i <= at))
            base = row;
    }
    return base;
}

static void print_table(const struct result *result, enum table_form form, FILE *to)
{
    const char *head[CELLS] = {"", "updates/s", "p50", "p99", "p99.9", "max", "write p50", "sync p50", "x base"};
    const char *section = "";
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        if (strcmp(section, row->section) != 0) {
            section = row->section;
            head[1] = row->kind == ROW_OPEN ? "opens/s" : row->kind == ROW_VERIFY ? "verified/s" : "updates/s";
            fprintf(to, form == TABLE_TEXT ? "\n%s\n" : "\n**%s**\n\n", section);
            print_cells(head, form, to);
            if (form == TABLE_MARKDOWN)
                fputs("|---|---|---|---|---|---|---|---|---|\n", to);
        }
        print_row(row, base_of(result, i), form, to);
    }
}

static void print_csv(const struct result *result, FILE *to)
{
    fputs("id,operations,records,bytes,elapsed_ns,operations_per_s,records_per_s,records_per_sync,p50_ns,p90_ns,p99_ns,"
          "p999_ns,max_ns,cpu_ns,durable,emulated_ns,skipped\n",
          to);
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        const struct histogram *latency = &row->latency;
        fprintf(to,
                "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.3f,%.3f,%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu64
                ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d,%" PRIu64 ",\"%s\"\n",
                row->id, row->operations, row->records_done, row->bytes, row->elapsed_ns, row_rate(row),
                row_records_rate(row), row_records_per_sync(row), histogram_quantile(latency, 0.5),
                histogram_quantile(latency, 0.9), histogram_quantile(latency, 0.99), histogram_quantile(latency, 0.999),
                latency->max_ns, row->cpu_ns, row->durable, row->emulated_ns, row->skipped);
    }
}

static void print_groups(const struct result *result, FILE *to)
{
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        char queue[24], acknowledge[24];
        if (row->kind != ROW_LOG || !row_measured(row))
            continue;
        fprintf(to, "  %-34s %.3g MB/s, %.1f records a sync, %.2f us of CPU a record; queued %s, told in %s",
                row->label, (double)row->bytes * 1e3 / (double)row->elapsed_ns, row_records_per_sync(row),
                (double)row->cpu_ns / (double)row->records_done / 1e3,
                row->queue.count != 0 ? duration_text(row->queue.p50_ns, queue) : "-",
                row->acknowledge.count != 0 ? duration_text(row->acknowledge.p50_ns, acknowledge) : "-");
        if (row->unfinished != 0)
            fprintf(to, "; %" PRIu64 " due and NOT durable in time", row->unfinished);
        fputc('\n', to);
    }
}

/* The log against each of those that did the same work. */
static void print_ratios(const struct result *result, FILE *to)
{
    fputc('\n', to);
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *log = result->rows[i];
        const char *comma = "";
        char times[24];
        if (log->kind != ROW_LOG || !row_measured(log))
            continue;
        for (unsigned j = 0; j < result->row_count; j++) {
            const struct row *row = result->rows[j];
            if (row->kind != ROW_PEER || !row_measured(row) || strcmp(row->section, log->section) != 0)
                continue;
            if (comma[0] == 0)
                fprintf(to, "%s: this log makes", log->section);
            fprintf(to, "%s %s times %s", comma, factor_text(row_records_rate(log) / row_records_rate(row), times),
                    strcmp(row->engine, "fio") == 0 ? "the device" : row->engine);
            comma = ",";
        }
        if (comma[0] != 0)
            fputc('\n', to);
    }
}

const char *assertion_text(const struct assertion *assertion, char text[ASSERTION_TEXT_BYTES])
{
    char value[24];
    if (assertion->row[0] == 0)
        snprintf(text, ASSERTION_TEXT_BYTES, "UNDECIDED: %s (no row that it is about was measured)", assertion->text);
    else
        snprintf(text, ASSERTION_TEXT_BYTES, "%s: %s (%s: %s)", assertion->ok ? "PASS" : "FAIL", assertion->text,
                 assertion->row,
                 assertion->duration ? duration_text((uint64_t)assertion->value, value)
                                     : count_text(assertion->value, value));
    return text;
}

static void print_assertions(const struct result *result, FILE *to)
{
    char text[ASSERTION_TEXT_BYTES];
    for (unsigned i = 0; i < result->assertion_count; i++)
        fprintf(to, "%s\n", assertion_text(&result->assertions[i], text));
}

void result_print(const struct result *result, enum table_form form, bool histograms, FILE *to)
{
    if (form == TABLE_CSV) {
        print_csv(result, to);
        return;
    }
    print_head(result, to);
    print_table(result, form, to);
    if (strcmp(result->command, "peers") == 0)
        print_ratios(result, to);
    else if (form == TABLE_TEXT)
        print_groups(result, to);
    for (unsigned i = 0; i < result->row_count && histograms; i++)
        print_histogram(result->rows[i], to);
    fputc('\n', to);
    if (result->stopped[0] != 0)
        fprintf(to, "PARTIAL: %s; what there is may stand on a few operations\n", result->stopped);
    print_assertions(result, to);
    if (result->plausibility[0] != 0)
        fprintf(to, "%s\n", result->plausibility);
    fprintf(to, "%s\n", result->sentence);
}
