/* result_json.c - a result as one JSON document of schema walbench.result/1.
 *
 * Times are whole nanoseconds, sizes bytes, rates doubles; every key is there in every row, null where there is nothing
 * to tell. Numbers may be above 2^53. */

#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "bench/result.h"

static void put_text(struct json_writer *json, const char *name, const char *text)
{
    json_put_name(json, name);
    json_put_text(json, text);
}

static void put_u64(struct json_writer *json, const char *name, uint64_t value)
{
    json_put_name(json, name);
    json_put_u64(json, value);
}

static void put_double(struct json_writer *json, const char *name, double value)
{
    json_put_name(json, name);
    json_put_double(json, value);
}

static void put_bool(struct json_writer *json, const char *name, bool value)
{
    json_put_name(json, name);
    json_put_bool(json, value);
}

static void put_latency(struct json_writer *json, const struct histogram *histogram)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    json_put_name(json, "latency_ns");
    json_open_object(json);
    put_u64(json, "count", histogram->count);
    put_u64(json, "min", histogram->min_ns);
    put_u64(json, "mean", histogram->count == 0 ? 0 : histogram->total_ns / histogram->count);
    for (unsigned i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
        put_u64(json, quantiles[i].name, histogram_quantile(histogram, quantiles[i].share));
    put_u64(json, "max", histogram->max_ns);
    /* Triples: at least, below, how many. */
    json_put_name(json, "histogram");
    json_open_array(json);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] == 0)
            continue;
        json_open_array(json);
        json_put_u64(json, histogram_low_ns(i));
        json_put_u64(json, histogram_low_ns(i + 1));
        json_put_u64(json, histogram->buckets[i]);
        json_close_array(json);
    }
    json_close_array(json);
    json_close_object(json);
}

static void put_stage(struct json_writer *json, const char *name, const struct stage *stage)
{
    json_put_name(json, name);
    if (stage->count == 0) {
        json_put_null(json);
        return;
    }
    json_open_object(json);
    put_u64(json, "count", stage->count);
    put_u64(json, "mean_ns", stage->mean_ns);
    put_u64(json, "p50_ns", stage->p50_ns);
    put_u64(json, "p99_ns", stage->p99_ns);
    put_u64(json, "max_ns", stage->max_ns);
    json_close_object(json);
}

static void put_rounds(struct json_writer *json, const struct row *row)
{
    json_put_name(json, "rounds");
    json_open_array(json);
    for (unsigned i = 0; i < row->round_count; i++) {
        json_open_object(json);
        put_double(json, "operations_per_s", row->rounds[i].operations_per_s);
        put_u64(json, "p50_ns", row->rounds[i].p50_ns);
        put_u64(json, "p99_ns", row->rounds[i].p99_ns);
        json_close_object(json);
    }
    json_close_array(json);
}

static void put_row(struct json_writer *json, const struct row *row)
{
    static const char *const kinds[] = {"write", "log", "open", "verify", "peer", "raft"};
    _Static_assert(sizeof(kinds) / sizeof(kinds[0]) == ROW_KINDS, "each kind of row has a name");
    json_open_object(json);
    put_text(json, "id", row->id);
    put_text(json, "kind", kinds[row->kind]);
    put_text(json, "label", row->label);
    put_text(json, "section", row->section);
    put_text(json, "method", row->method);
    put_text(json, "layout", row->layout);
    put_text(json, "engine", row->engine);
    put_bool(json, "direct", row->direct);
    put_bool(json, "durable", row->durable);
    put_bool(json, "base", row->base);
    put_u64(json, "size_bytes", row->size_bytes);
    put_u64(json, "depth", row->depth);
    put_u64(json, "threads", row->threads);
    put_u64(json, "outstanding", row->outstanding);
    put_u64(json, "records_per_operation", row->records);
    put_double(json, "rate_per_s", row->rate_per_s);
    put_u64(json, "emulated_ns", row->emulated_ns);
    put_u64(json, "log_bytes", row->log_bytes);
    put_text(json, "skipped", row->skipped[0] != 0 ? row->skipped : NULL);
    put_u64(json, "operations", row->operations);
    put_u64(json, "records", row->records_done);
    put_u64(json, "bytes", row->bytes);
    put_u64(json, "unfinished", row->unfinished);
    put_u64(json, "syncs", row->syncs);
    put_u64(json, "elapsed_ns", row->elapsed_ns);
    put_u64(json, "cpu_ns", row->cpu_ns);
    put_double(json, "operations_per_s", row_rate(row));
    put_double(json, "records_per_s", row_records_rate(row));
    put_double(json, "records_per_sync", row_records_per_sync(row));
    put_rounds(json, row);
    put_latency(json, &row->latency);
    put_stage(json, "queue", &row->queue);
    put_stage(json, "write", &row->write);
    put_stage(json, "sync", &row->sync);
    put_stage(json, "acknowledge", &row->acknowledge);
    json_close_object(json);
}

static void put_head(struct json_writer *json, const struct result *result)
{
    char started[32];
    struct tm parts;
    put_text(json, "schema", RESULT_SCHEMA);
    put_text(json, "command", result->command);
    put_text(json, "version", WAL_VERSION);
    put_text(json, "library", wal_version());
    json_put_name(json, "argv");
    json_open_array(json);
    for (int i = 0; i < result->argument_count; i++)
        json_put_text(json, result->arguments[i]);
    json_close_array(json);
    gmtime_r(&result->started, &parts);
    strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", &parts);
    put_text(json, "started", started);
    put_bool(json, "partial", result->stopped[0] != 0);
    put_text(json, "stopped_by", result->stopped[0] != 0 ? result->stopped : NULL);
    put_u64(json, "time_ns", (uint64_t)(result->seconds * 1e9));
    put_u64(json, "warmup_ns", (uint64_t)(result->warm_seconds * 1e9));
    put_u64(json, "rounds", result->rounds);
    put_u64(json, "seed", result->seed);
    put_u64(json, "emulated_ns", result->emulated_ns);
    put_text(json, "emulated", result->emulated_name[0] != 0 ? result->emulated_name : NULL);
    json_put_name(json, "environment");
    device_write_json(&result->device, json);
}

int result_write_json(const struct result *result, FILE *to)
{
    struct json_writer json;
    json_write_begin(&json, to);
    json_open_object(&json);
    put_head(&json, result);
    json_put_name(&json, "rows");
    json_open_array(&json);
    for (unsigned i = 0; i < result->row_count; i++)
        put_row(&json, result->rows[i]);
    json_close_array(&json);
    json_put_name(&json, "assertions");
    json_open_array(&json);
    for (unsigned i = 0; i < result->assertion_count; i++) {
        const struct assertion *assertion = &result->assertions[i];
        json_open_object(&json);
        put_text(&json, "expression", assertion->text);
        put_text(&json, "row", assertion->row[0] != 0 ? assertion->row : NULL);
        if (assertion->row[0] != 0) {
            put_double(&json, "value", assertion->value);
        } else {
            json_put_name(&json, "value");
            json_put_null(&json);
        }
        put_bool(&json, "ok", assertion->ok);
        json_close_object(&json);
    }
    json_close_array(&json);
    put_text(&json, "plausibility", result->plausibility[0] != 0 ? result->plausibility : NULL);
    put_text(&json, "sentence", result->sentence);
    json_close_object(&json);
    return json_write_end(&json);
}
