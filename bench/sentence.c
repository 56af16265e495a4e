/* sentence.c - what a result comes to, in one plain sentence, and whether the disk can be believed.
 *
 * Plausibility compares what a sync cost with what the device says of itself. It can tell that something answers for
 * the disk; it cannot tell whether that survives a power cut. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>

#include "bench/common.h"
#include "bench/result.h"

__attribute__((format(printf, 2, 3))) static void say(struct result *result, const char *format, ...)
{
    size_t used = strlen(result->sentence);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->sentence + used, sizeof(result->sentence) - used, format, arguments);
    va_end(arguments);
}

/* The measured row with these words that the chooser likes best. */
static const struct row *one_thread(const struct result *result)
{
    for (unsigned i = 0; i < result->row_count; i++)
        if (result->rows[i]->kind == ROW_LOG && result->rows[i]->threads == 1 && row_measured(result->rows[i]))
            return result->rows[i];
    return NULL;
}

static const struct row *most(const struct result *result, bool threads)
{
    const struct row *found = NULL;
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        if (row->kind != ROW_LOG || !row_measured(row) || (threads ? row->threads : row->outstanding) < 2 ||
            row->rate_per_s > 0)
            continue;
        if (found == NULL || row_records_rate(row) > row_records_rate(found))
            found = row;
    }
    return found;
}

static const struct row *by_hand(const struct result *result, const char *layout, bool direct)
{
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        if (row->kind == ROW_WRITE && row->durable && row->depth == 1 && row->direct == direct && row_measured(row) &&
            strcmp(row->method, "fdatasync") == 0 && strcmp(row->layout, layout) == 0)
            return row;
    }
    return NULL;
}

static const struct row *first_durable(const struct result *result)
{
    for (unsigned i = 0; i < result->row_count; i++)
        if (result->rows[i]->durable && row_measured(result->rows[i]))
            return result->rows[i];
    return NULL;
}

/* --- appending ----------------------------------------------------------------------------------- */

/* An interrupted run may have nothing to compare with but an update of another size. */
static void say_times(struct result *result, const struct row *many, const struct row *one)
{
    char times[24];
    if (many->size_bytes != one->size_bytes)
        say(result, " (of %u bytes)", many->size_bytes);
    else
        say(result, " (%s times)", factor_text(row_records_rate(many) / row_records_rate(one), times));
}

static void say_group(struct result *result, const struct row *one)
{
    const struct row *crowd = most(result, true), *loop = most(result, false);
    char rate[24];
    if (crowd == NULL && loop == NULL)
        return;
    say(result, "; group commit makes");
    if (crowd != NULL) {
        say(result, " %s a second of it for %u threads waiting", count_text(row_records_rate(crowd), rate),
            crowd->threads);
        say_times(result, crowd, one);
    }
    if (loop != NULL) {
        say(result, "%s %s%s for one event loop with %u outstanding", crowd != NULL ? ", and" : "",
            count_text(row_records_rate(loop), rate), crowd != NULL ? "" : " a second of it", loop->outstanding);
        say_times(result, loop, one);
    }
}

/* What it costs is the median, what one after the other makes is the mean: a few slow ones weigh on the second, so that
 * it does not follow from the first. */
static void say_appends(struct result *result)
{
    const struct row *one = one_thread(result);
    const struct row *written = by_hand(result, "zeroed", true), *grown = by_hand(result, "append", true);
    char p50[24], p99[24], rate[24];
    one = one != NULL ? one : first_durable(result);
    if (one == NULL) {
        say(result, "In one sentence: nothing durable was measured.");
        return;
    }
    if (result->emulated_ns != 0)
        say(result, "In one sentence, EMULATED with %s a sync: ", duration_text(result->emulated_ns, p50));
    else
        say(result, "In one sentence: ");
    if (one->records > 1)
        say(result, "a durable append of %u records of %u bytes", one->records, one->size_bytes);
    else
        say(result, "a durable update of %u bytes", one->size_bytes);
    say(result, " costs %s here (p99 %s)", duration_text(histogram_quantile(&one->latency, 0.5), p50),
        duration_text(histogram_quantile(&one->latency, 0.99), p99));
    if (one->rate_per_s > 0 && row_rate(one) < one->rate_per_s * 0.95)
        say(result, " when %s a second are due, of which only %s can be made durable, so that the wait grows and grows",
            count_text(one->rate_per_s, rate), count_text(row_rate(one), p50));
    else if (one->rate_per_s > 0)
        say(result, " when %s a second are due", count_text(one->rate_per_s, rate));
    else
        say(result, ", and one after the other makes %s%s a second", count_text(row_records_rate(one), rate),
            one->records > 1 ? " records" : "");
    if (written != NULL && grown != NULL && row_rate(grown) < row_rate(written) * 0.9)
        say(result, ", %s times fewer where the file grows", factor_text(row_rate(written) / row_rate(grown), rate));
    say_group(result, one);
    say(result, ".");
}

/* --- recovery and peers -------------------------------------------------------------------------- */

static void say_recovery(struct result *result)
{
    const struct row *closed = NULL, *crashed = NULL, *cold = NULL, *warm = NULL;
    char text[24];
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        if (!row_measured(row))
            continue;
        closed = strcmp(row->method, "open") == 0 ? row : closed;
        crashed = strcmp(row->method, "open-crashed") == 0 ? row : crashed;
        cold = row->kind == ROW_VERIFY && row->direct ? row : cold;
        warm = row->kind == ROW_VERIFY && !row->direct ? row : warm;
    }
    say(result, "In one sentence:");
    if (closed != NULL)
        say(result, " a log of %llu MiB opens in %s", (unsigned long long)(closed->log_bytes >> 20),
            duration_text(histogram_quantile(&closed->latency, 0.5), text));
    if (crashed != NULL)
        say(result, "%s %s after a crash", closed != NULL ? "," : " a log opens in",
            duration_text(histogram_quantile(&crashed->latency, 0.5), text));
    if (cold != NULL)
        say(result, "; every record is verified at %.2f GB/s from the disk",
            (double)cold->bytes / (double)cold->elapsed_ns);
    if (warm != NULL)
        say(result, "%s %.2f GB/s from the page cache", cold != NULL ? "," : "; every record is verified at",
            (double)warm->bytes / (double)warm->elapsed_ns);
    say(result, ".");
}

/* The best peer at the largest number of threads, on the same work. */
static void say_peers(struct result *result)
{
    const struct row *own = NULL, *best = NULL, *plain = NULL;
    char own_rate[24], best_rate[24], times[24];
    for (unsigned i = 0; i < result->row_count; i++) {
        const struct row *row = result->rows[i];
        if (row_measured(row) && row->kind == ROW_LOG && (own == NULL || row->threads > own->threads))
            own = row;
    }
    for (unsigned i = 0; i < result->row_count && own != NULL; i++) {
        const struct row *row = result->rows[i];
        if (!row_measured(row) || row->kind != ROW_PEER || strcmp(row->section, own->section) != 0)
            continue;
        if (strcmp(row->engine, "plain") == 0)
            plain = row;
        else if (strcmp(row->engine, "fio") != 0 && (best == NULL || row_records_rate(row) > row_records_rate(best)))
            best = row;
    }
    best = best != NULL ? best : plain;
    say(result, "In one sentence: ");
    if (own == NULL || best == NULL) {
        say(result, result->stopped[0] != 0
                        ? "stopped before there was anything to compare with."
                        : "there is nothing to compare with; make bench-peers builds the programs.");
        return;
    }
    say(result,
        "with %u thread%s waiting, this log makes %s updates of %u bytes a second durable, and the best of the "
        "others, %s, %s (%s times)",
        own->threads, own->threads > 1 ? "s" : "", count_text(row_records_rate(own), own_rate), own->size_bytes,
        best->engine, count_text(row_records_rate(best), best_rate),
        factor_text(row_records_rate(own) / row_records_rate(best), times));
    if (plain != NULL && plain != best)
        say(result, "; pwrite and fdatasync under a lock make %s", count_text(row_records_rate(plain), best_rate));
    say(result, ".");
}

/* --- plausibility -------------------------------------------------------------------------------- */

static void judge_device(struct result *result)
{
    const struct row *durable = by_hand(result, "zeroed", true), *none = NULL;
    const struct device_facts *device = &result->device;
    char p50[24], bare[24];
    for (unsigned i = 0; i < result->row_count; i++)
        if (!result->rows[i]->durable && row_measured(result->rows[i]) && result->rows[i]->direct)
            none = result->rows[i];
    durable = durable != NULL ? durable : one_thread(result);
    durable = durable != NULL ? durable : first_durable(result);
    if (durable == NULL || result->emulated_ns != 0 || durable->rate_per_s > 0) /* With a rate: that is waiting. */
        return;
    uint64_t sync_ns = histogram_quantile(&durable->latency, 0.5);
    uint64_t bare_ns = none != NULL ? histogram_quantile(&none->latency, 0.5) : 0;
    duration_text(sync_ns, p50);
    duration_text(bare_ns, bare);
    bool cached = strcmp(device->write_cache, "write back") == 0;
    char *text = result->plausibility;
    size_t size = sizeof(result->plausibility);
    if (device->in_memory == DEVICE_YES)
        snprintf(text, size, "Plausibility: NOT a disk: a file system in memory; nothing measured here is durable.");
    else if (device->rotational == DEVICE_YES && device->virtual_machine != DEVICE_YES && sync_ns < 2000000)
        snprintf(
            text, size,
            "Plausibility: NO: no turning disk makes a write durable in %s; a cache answers for it, and must survive "
            "a power cut.",
            p50);
    else if (sync_ns < 15000)
        snprintf(text, size,
                 "Plausibility: DOUBTFUL: %s is less than a flush to flash takes; either the device's cache survives a "
                 "power cut, or the sync does not reach it.",
                 p50);
    else if (cached && bare_ns != 0 && sync_ns < bare_ns + bare_ns / 10)
        snprintf(
            text, size,
            "Plausibility: DOUBTFUL: the device says that it caches writes, yet a sync adds nothing to a write (%s "
            "with, %s without).",
            p50, bare);
    else if (device->virtual_machine == DEVICE_YES)
        snprintf(text, size,
                 "Plausibility: a durable update takes %s, as a real flush may; but this is a virtual machine, and its "
                 "flush is as honest as the host.",
                 p50);
    else
        snprintf(text, size, "Plausibility: a durable update takes %s, as a real flush may.", p50);
}

void result_conclude(struct result *result)
{
    result->sentence[0] = result->plausibility[0] = 0;
    if (!result_measured(result)) {
        say(result, "In one sentence: nothing was measured.");
        return;
    }
    if (strcmp(result->command, "recover") == 0) {
        say_recovery(result);
        return;
    }
    if (strcmp(result->command, "peers") == 0)
        say_peers(result);
    else
        say_appends(result);
    judge_device(result);
}
