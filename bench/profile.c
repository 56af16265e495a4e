/* profile.c - profiles of other systems, and assertions.
 *
 * An assertion is "[WORDS.]STAT OPERATOR VALUE": fdatasync.append.p99<10ms. The words choose rows: each must be one of
 * the dot-separated words of the row's id; without words, the first durable row of the run. STAT is p50, p90, p99,
 * p999, p9999, min, mean, max (durations), rate (operations a second) or records_per_sync. OPERATOR is < or >.
 *
 * Invariants: what nothing has decided is no pass. Words that no row has are a usage error, told before anything is
 * measured; an assertion whose rows were all skipped fails as undecided. */

#define _GNU_SOURCE
#include "bench/profile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const struct profile profiles[] = {
    {"etcd", "etcd's log: 2,300 bytes, write + fdatasync, the file grows", "fdatasync", "append", 2300, false, 10000000,
     "etcd's documentation: the 99th percentile of fdatasync below 10 ms"},
    {"postgres", "PostgreSQL's log: 8 KiB, write + fdatasync, recycled segments", "fdatasync", "recycled", 8192, false,
     0, NULL},
    {"sqlite", "SQLite in WAL mode, synchronous=FULL: a page and its header", "fdatasync", "append", 4120, false, 0,
     NULL},
    {"mysql", "InnoDB's redo log: 512 bytes, write + fsync, written over", "fsync", "recycled", 512, false, 0, NULL},
    {"redis", "Redis, appendfsync always: 128 bytes, write + fdatasync, grows", "fdatasync", "append", 128, false, 0,
     NULL},
    {"raftcore", "libwal: a block of 4 KiB into a prepared segment, direct", "fdatasync", "zeroed", 4096, true, 0,
     NULL},
};
const unsigned profile_count = sizeof(profiles) / sizeof(profiles[0]);

const struct profile *profile_find(const char *name)
{
    for (unsigned i = 0; i < profile_count; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

/* --- statistics ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double share; /* Of a percentile; 0: another. */
} statistics[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999},
                  {"min", 0},   {"mean", 0},  {"max", 0},    {"rate", 0},     {"records_per_sync", 0}};
enum { STATISTICS = sizeof(statistics) / sizeof(statistics[0]) };

bool row_statistic(const struct row *row, const char *name, double *out)
{
    const struct histogram *latency = &row->latency;
    for (unsigned i = 0; i < STATISTICS; i++) {
        if (strcmp(statistics[i].name, name) != 0)
            continue;
        switch (i) {
        case 5:
            *out = (double)latency->min_ns;
            return true;
        case 6:
            *out = latency->count == 0 ? 0 : (double)latency->total_ns / (double)latency->count;
            return true;
        case 7:
            *out = (double)latency->max_ns;
            return true;
        case 8:
            *out = row_rate(row);
            return true;
        case 9:
            *out = row_records_per_sync(row);
            return true;
        default:
            *out = (double)histogram_quantile(latency, statistics[i].share);
            return true;
        }
    }
    return false;
}

/* --- assertions ---------------------------------------------------------------------------------- */

struct parts {
    char words[128]; /* Dots between them; "": none. */
    char statistic[32];
    bool below;
    double value;
};

static bool is_duration(const char *statistic)
{
    return strcmp(statistic, "rate") != 0 && strcmp(statistic, "records_per_sync") != 0;
}

static const char *take_value(const char *text, struct parts *parts)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1}, {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"k", 1e3}, {"M", 1e6}};
    char *end;
    while (isspace((unsigned char)*text))
        text++;
    parts->value = strtod(text, &end);
    if (end == text || text[0] < '0' || text[0] > '9')
        return "a number is wanted behind < or >";
    bool duration = is_duration(parts->statistic);
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (duration && (i == 0 || i > 4))
            return "a duration wants its unit: ns, us, ms or s";
        if (!duration && i >= 1 && i <= 4)
            return "this is no duration";
        parts->value *= units[i].factor;
        return NULL;
    }
    return "the unit is none of ns, us, ms, s, k, M";
}

static const char *take_apart(const char *text, struct parts *parts)
{
    size_t length = strcspn(text, "<>");
    struct row none = {.kind = ROW_WRITE};
    double unused;
    *parts = (struct parts){.below = text[length] == '<'};
    if (text[length] == 0)
        return "there is no < or >";
    const char *value = text + length + 1;
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    size_t statistic = length;
    while (statistic > 0 && text[statistic - 1] != '.')
        statistic--;
    if (length - statistic >= sizeof(parts->statistic) || statistic > sizeof(parts->words))
        return "it is too long";
    memcpy(parts->statistic, text + statistic, length - statistic);
    if (statistic > 0)
        memcpy(parts->words, text, statistic - 1);
    if (!row_statistic(&none, parts->statistic, &unused))
        return "the statistic is none of p50 p90 p99 p999 p9999 min mean max rate records_per_sync";
    return take_value(value, parts);
}

const char *assertion_check(const char *text)
{
    struct parts parts;
    return strlen(text) < sizeof(((struct assertion *)NULL)->text) ? take_apart(text, &parts) : "it is too long";
}

/* Is each word of `words` a word of id? */
static bool has_words(const char *id, const char *words)
{
    while (*words != 0) {
        size_t length = strcspn(words, ".");
        bool found = false;
        for (const char *at = id; !found;) {
            size_t here = strcspn(at, ".");
            found = here == length && memcmp(at, words, length) == 0;
            if (at[here] == 0)
                break;
            at += here + 1;
        }
        if (!found)
            return false;
        words += length + (words[length] == '.');
    }
    return true;
}

static bool is_about(const struct parts *parts, const struct row *row)
{
    return parts->words[0] != 0 ? has_words(row->id, parts->words) : row->durable;
}

bool assertion_has_row(const struct result *result, const char *text)
{
    struct parts parts;
    for (unsigned i = 0; i < result->row_count && take_apart(text, &parts) == NULL; i++)
        if (is_about(&parts, result->rows[i]))
            return true;
    return false;
}

bool assertion_decide(struct result *result, const char *text)
{
    struct parts parts;
    struct assertion decided = {.ok = true};
    bool any = false;
    if (!assertion_has_row(result, text) || result->assertion_count == ASSERTIONS_MAX)
        return false;
    (void)take_apart(text, &parts);
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        double value = 0;
        if (!row_measured(row) || !is_about(&parts, row) || (parts.words[0] == 0 && any))
            continue;
        row_statistic(row, parts.statistic, &value);
        bool ok = parts.below ? value < parts.value : value > parts.value;
        if (!any || (decided.ok && !ok)) {
            decided.value = value;
            memcpy(decided.row, row->id, sizeof(decided.row));
        }
        decided.ok = decided.ok && ok;
        any = true;
    }
    decided.ok = decided.ok && any;
    decided.duration = is_duration(parts.statistic);
    snprintf(decided.text, sizeof(decided.text), "%s", text);
    result->assertions[result->assertion_count++] = decided;
    return true;
}
