/* explain.c - walbench explain and walbench probe: in words.
 *
 * Without a file, what the words of the tables mean; with one, what that result says: the same comparisons that a
 * person would make between its rows, each with its factor. probe tells the place, and what to think of when reading
 * its figures. */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bench/emulate.h"
#include "bench/profile.h"
#include "bench/session.h"
#include "bench/writer.h"

static int finish(int code)
{
    if (fflush(stdout) == 0 || errno == EPIPE)
        return code;
    say_on_stderr("standard output: %s", strerror(errno));
    return EXIT_SETUP;
}

/* --- the words ----------------------------------------------------------------------------------- */

static void explain_words(void)
{
    fputs(
        "An update is durable when it is still there after a power cut. A write alone is not: it lies in the memory\n"
        "of the machine, or of the disk. A sync waits until both have given it to the medium. A program that answers\n"
        "only for durable updates pays a sync for each, unless it lets many share one: that is group commit.\n\n"
        "Methods\n",
        stdout);
    for (unsigned i = 0; writer_methods[i] != NULL; i++)
        printf("  %-13s %s\n", writer_methods[i], writer_explain(writer_methods[i]));
    fputs("\nLayouts of the file\n", stdout);
    for (unsigned i = 0; writer_layouts[i] != NULL; i++)
        printf("  %-13s %s\n", writer_layouts[i], writer_explain(writer_layouts[i]));
    fputs("\nProfiles (--profile)\n", stdout);
    for (unsigned i = 0; i < profile_count; i++)
        printf("  %-13s %s%s%s\n", profiles[i].name, profiles[i].words,
               profiles[i].source != NULL ? "\n                threshold: " : "",
               profiles[i].source != NULL ? profiles[i].source : "");
    fputs("\nDisks to emulate (--emulate): that time is added to every sync\n", stdout);
    fputs(emulate_names(), stdout);
    fputs("\nColumns\n"
          "  updates/s     records made durable a second, over all rounds; in brackets the least and most of a round\n"
          "  p50 ... max   how long a caller waits for one, percentiles over all rounds\n"
          "  write, sync   the parts of it, where they can be told apart (median)\n"
          "  x base        updates a second against the first row of that kind\n"
          "\nAssertions (--assert): [WORDS.]STATISTIC<VALUE or >VALUE, as in fdatasync.append.p99<10ms or\n"
          "  log.threads64.rate>100k; the words choose rows by their ids (--json shows them); statistics are p50 p90\n"
          "  p99 p999 p9999 min mean max rate records_per_sync.\n",
          stdout);
}

/* --- a result ------------------------------------------------------------------------------------ */

struct found {
    const struct json_value *row;
    double rate, p50, p99;
};

/* The row with this id; its numbers 0 when it was not measured. */
static struct found find(const struct json_value *root, const char *id)
{
    struct found found = {.row = NULL};
    for (const struct json_value *row = json_first(json_member(root, "rows")); row != NULL; row = json_next(row)) {
        const char *its = json_text(json_member(row, "id"));
        if (its == NULL || strcmp(its, id) != 0)
            continue;
        found.row = row;
        (void)json_double(json_member(row, "records_per_s"), &found.rate);
        (void)json_double(json_member(json_member(row, "latency_ns"), "p50"), &found.p50);
        (void)json_double(json_member(json_member(row, "latency_ns"), "p99"), &found.p99);
    }
    return found;
}

static void compare_two(const struct json_value *root, const char *base, const char *other, const char *words)
{
    struct found left = find(root, base), right = find(root, other);
    char before[24], after[24], times[24];
    if (left.rate <= 0 || right.rate <= 0)
        return;
    double factor = right.rate / left.rate;
    /* The first is the median, the second the mean. */
    bool against = (right.p50 > left.p50 && factor > 1) || (right.p50 < left.p50 && factor < 1);
    printf("- %s: half of them within %s instead of %s, %s%s times as many a second%s.\n", words,
           duration_text((uint64_t)right.p50, after), duration_text((uint64_t)left.p50, before),
           against ? "and yet " : "", factor_text(factor, times),
           factor > 0.9 && factor < 1.1 ? ", which is no difference on a disk that drifts by a tenth"
           : against                    ? ", as a few slow ones weigh on that"
                                        : "");
}

static void explain_rows(const struct json_value *root)
{
    static const char base[] = "fdatasync.zeroed.direct.4096.d1";
    compare_two(root, base, "none.zeroed.direct.4096.d1",
                "Without a sync (not durable), so what the sync itself costs");
    compare_two(root, base, "fdatasync.append.direct.4096.d1", "When the file grows with each update");
    compare_two(root, base, "fdatasync.fallocated.direct.4096.d1", "When its blocks are reserved but not written");
    compare_two(root, base, "fdatasync.recycled.direct.4096.d1", "When an old file is written over");
    compare_two(root, base, "fdatasync.zeroed.buffered.4096.d1", "Through the page cache");
    compare_two(root, base, "fsync.zeroed.direct.4096.d1", "By fsync");
    compare_two(root, base, "o_dsync.zeroed.direct.4096.d1", "By O_DSYNC");
    compare_two(root, base, "rwf_dsync.zeroed.direct.4096.d1", "By RWF_DSYNC");
    compare_two(root, base, "uring-linked.zeroed.direct.4096.d1", "By io_uring, write and fdatasync linked");
    compare_two(root, base, "uring-dsync.zeroed.direct.4096.d1", "By io_uring, RWF_DSYNC");
    compare_two(root, "uring-dsync.zeroed.direct.4096.d1", "uring-dsync.zeroed.direct.4096.d16",
                "With 16 updates at the disk at once, each durable by itself");
    compare_two(root, base, "log.threads1.128", "This log, one thread");
    compare_two(root, "log.threads1.128", "log.threads8.128", "This log, 8 threads sharing syncs");
    compare_two(root, "log.threads1.128", "log.threads64.128", "This log, 64 threads sharing syncs");
    compare_two(root, "log.threads1.128", "log.loop1024.128",
                "This log, one event loop with 1,024 updates outstanding");
}

static void explain_environment(const struct json_value *root)
{
    const struct json_value *environment = json_member(root, "environment");
    const struct json_value *warnings = json_member(environment, "warnings");
    const char *started = json_text(json_member(root, "started")), *version = json_text(json_member(root, "version"));
    char when[64], by[64], mind[512];
    printf("Measured %s, by walbench %s.\n",
           printable_copy(started != NULL ? started : "at an unknown time", when, sizeof(when)),
           printable_copy(version != NULL ? version : "?", by, sizeof(by)));
    for (const struct json_value *warning = json_first(warnings); warning != NULL; warning = json_next(warning))
        if (json_text(warning) != NULL)
            printf("Mind: %s\n", printable_copy(json_text(warning), mind, sizeof(mind)));
}

static int explain_result(const char *path)
{
    struct json_value *root = session_read_result(path);
    if (root == NULL)
        return EXIT_SETUP;
    const char *sentence = json_text(json_member(root, "sentence"));
    const char *plausibility = json_text(json_member(root, "plausibility"));
    uint64_t emulated_ns = 0;
    char text[24], line[1024], why[256];
    bool partial = false;
    const char *stopped = json_text(json_member(root, "stopped_by")); /* Older results have none. */
    (void)json_u64(json_member(root, "emulated_ns"), &emulated_ns);
    (void)json_bool(json_member(root, "partial"), &partial);
    explain_environment(root);
    if (emulated_ns != 0)
        printf("EMULATED: %s was added to every sync; this says nothing about the disk.\n",
               duration_text(emulated_ns, text));
    if (partial)
        printf("PARTIAL: the run was stopped: %s.\n",
               printable_copy(stopped != NULL ? stopped : "interrupted", why, sizeof(why)));
    printf("\n%s\n", printable_copy(sentence, line, sizeof(line)));
    if (plausibility != NULL)
        printf("%s\n", printable_copy(plausibility, line, sizeof(line)));
    fputc('\n', stdout);
    explain_rows(root);
    for (const struct json_value *row = json_first(json_member(root, "rows")); row != NULL; row = json_next(row)) {
        const char *skipped = json_text(json_member(row, "skipped")), *id = json_text(json_member(row, "id"));
        if (skipped != NULL && id != NULL)
            printf("- Not measured: %s: %s.\n", printable_copy(id, line, sizeof(line)),
                   printable_copy(skipped, why, sizeof(why)));
    }
    json_free(root);
    return EXIT_MEASURED;
}

int command_explain(struct settings *settings)
{
    if (settings->word_count > 0)
        return finish(explain_result(settings->words[0]));
    explain_words();
    return finish(EXIT_MEASURED);
}

/* --- probe --------------------------------------------------------------------------------------- */

int command_probe(struct settings *settings)
{
    static struct device_facts facts;
    static char warnings[DEVICE_WARNINGS_MAX][DEVICE_WARNING_BYTES];
    const char *path = settings->word_count > 0 ? settings->words[0] : ".";
    int error = device_look(path, &facts);
    if (error != 0 && facts.fs_type[0] == 0) {
        failed(path, NULL, error);
        return EXIT_SETUP;
    }
    if (settings->json) {
        struct json_writer json;
        json_write_begin(&json, stdout);
        json_open_object(&json);
        json_put_name(&json, "schema");
        json_put_text(&json, "walbench.probe/1");
        json_put_name(&json, "path");
        json_put_text(&json, path);
        json_put_name(&json, "environment");
        device_write_json(&facts, &json);
        json_close_object(&json);
        error = json_write_end(&json);
        if (error == 0 || error == -EPIPE)
            return finish(EXIT_MEASURED);
        say_on_stderr("standard output: %s", strerror(-error));
        return EXIT_SETUP;
    }
    device_print(&facts, stdout);
    unsigned count = device_warnings(&facts, warnings, DEVICE_WARNINGS_MAX);
    for (unsigned i = 0; i < count; i++)
        printf("mind: %s\n", warnings[i]);
    return finish(EXIT_MEASURED);
}
