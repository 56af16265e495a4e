/* table.c - medians over the rounds, ratios inside each round, and how they are printed: plain, markdown, JSON.
 *
 * A disk drifts by a fifth within an hour, so a ratio is taken between two samples of one round, and the median of
 * these ratios is what counts; the medians of the two columns divided may say something else. */

#define _GNU_SOURCE

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench/bench.h"

struct spread {
    double median, least, most;
    unsigned count;
};

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static struct spread spread_of(double *values, unsigned count)
{
    if (count == 0)
        return (struct spread){.count = 0};
    qsort(values, count, sizeof(values[0]), compare_doubles);
    double median = count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (struct spread){.median = median, .least = values[0], .most = values[count - 1], .count = count};
}

static double measure_of(const struct sample *sample, enum measure measure)
{
    switch (measure) {
    case RATE:
        return sample->records_per_s != 0 ? sample->records_per_s : sample->operations_per_s;
    case OPERATION_RATE:
        return sample->operations_per_s;
    case BYTES_RATE:
        return sample->bytes_per_s;
    case P50:
        return (double)sample->p50_ns;
    case P99:
        return (double)sample->p99_ns;
    case ROLL_P50:
        return (double)sample->roll_p50_ns;
    case CPU_PER_RECORD:
        return sample->cpu_ns_per_record;
    }
    return 0;
}

/* Of a case, or of its ratio to another's sample of the same round. */
static struct spread spread_measure(const struct bench_case *self, const struct bench_case *reference,
                                    enum measure measure)
{
    double values[ROUNDS_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < settings.rounds; round++) {
        if (!self->samples[round].valid || (reference != NULL && !reference->samples[round].valid))
            continue;
        double value = measure_of(&self->samples[round], measure);
        double against = reference == NULL ? 1 : measure_of(&reference->samples[round], measure);
        if (against > 0)
            values[count++] = value / against;
    }
    return spread_of(values, count);
}

/* 12.3k, 1.23M: three digits. */
static const char *shorten(double value, char *text, size_t size)
{
    static const char *const units[] = {"", "k", "M", "G"};
    unsigned unit = 0;
    while (fabs(value) >= 999.5 && unit < 3) {
        value /= 1000;
        unit++;
    }
    snprintf(text, size, "%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return text;
}

enum { CELL_BYTES = 128 };

/* A cell of three numbers; with one round only one. */
static void cell(struct spread spread, double scale, char *text)
{
    char median[32], least[32], most[32];
    if (spread.count == 0)
        snprintf(text, CELL_BYTES, "-");
    else if (spread.count == 1)
        snprintf(text, CELL_BYTES, "%s", shorten(spread.median * scale, median, sizeof(median)));
    else
        snprintf(text, CELL_BYTES, "%s [%s-%s]", shorten(spread.median * scale, median, sizeof(median)),
                 shorten(spread.least * scale, least, sizeof(least)), shorten(spread.most * scale, most, sizeof(most)));
}

static struct bench_case *limit_case(void)
{
    return case_find(settings.fio ? "F1" : "raw");
}

static void print_row(FILE *out, const char *const *cells, unsigned count)
{
    static const int case_widths[] = {50, 24, 24, 22, 22, 0}, floor_widths[] = {58, 24, 24, 0};
    const int *widths = count == 6 ? case_widths : floor_widths;
    for (unsigned i = 0; i < count; i++)
        if (settings.markdown)
            fprintf(out, "| %s%s", cells[i], i + 1 == count ? " |" : " ");
        else
            fprintf(out, "%-*s%s", widths[i], cells[i], widths[i] > 0 ? " " : "");
    fprintf(out, "\n");
}

static void print_head(FILE *out, const char *const *cells, unsigned count)
{
    print_row(out, cells, count);
    for (unsigned i = 0; i < count && settings.markdown; i++)
        fprintf(out, i + 1 == count ? "|---|\n" : "|---");
}

/* Appends and writes of one block stand beside the limit; large writes, opening and verifying do not. */
static bool is_beside_limit(const struct bench_case *self)
{
    return self->run == append_threads || self->run == append_loop || self->run == append_roll ||
           self->run == limit_raw || self == limit_case();
}

static void print_cases(FILE *out)
{
    const char *limit = settings.fio ? "x F1" : "x raw";
    const char *head[] = {"case", "records/s", "MB/s", "p50 us", "p99 us", limit};
    print_head(out, head, 6);
    for (unsigned i = 0; i < case_count; i++) {
        const struct bench_case *self = &cases[i];
        char label[200], rate[CELL_BYTES], bytes[CELL_BYTES], p50[CELL_BYTES], p99[CELL_BYTES], ratio[CELL_BYTES] = "-";
        const char *row[] = {label, rate, bytes, p50, p99, ratio};
        if (!self->chosen)
            continue;
        snprintf(label, sizeof(label), "%s%s%s", self->words, self->variant[0] != 0 ? ", " : "", self->variant);
        cell(spread_measure(self, NULL, RATE), 1, rate);
        cell(spread_measure(self, NULL, BYTES_RATE), 1e-6, bytes);
        cell(spread_measure(self, NULL, P50), 1e-3, p50);
        cell(spread_measure(self, NULL, P99), 1e-3, p99);
        if (is_beside_limit(self))
            cell(spread_measure(self, limit_case(), RATE), 1, ratio);
        if (self->run == recover_closed || self->run == recover_crashed)
            row[1] = "-";
        if (self->run == recover_closed)
            row[2] = "-";
        print_row(out, row, 6);
    }
}

static void print_floor(FILE *out, const struct floor_line *line, const struct bench_case *self,
                        const struct bench_case *reference)
{
    struct spread spread = spread_measure(self, reference, line->measure);
    bool bytes = line->measure == BYTES_RATE, cpu = line->measure == CPU_PER_RECORD;
    double scale = reference != NULL || cpu ? 1 : bytes ? 1e-9 : 1e-6;
    const char *unit = cpu ? "ns" : bytes ? "GB/s" : "ms";
    char bound[128], measured[CELL_BYTES];
    bool reached = spread.count > 0 && (line->at_most ? spread.median <= line->bound : spread.median >= line->bound);
    const char *row[] = {line->words, bound, measured, spread.count == 0 ? "-" : reached ? "yes" : "NO"};
    snprintf(bound, sizeof(bound), "%s %g %s%s", line->at_most ? "at most" : "at least", line->bound * scale,
             reference != NULL ? "x " : unit, reference != NULL ? reference->name : "");
    cell(spread, scale, measured);
    print_row(out, row, 4);
}

static void print_floors(FILE *out)
{
    const char *head[] = {"held to", "floor", "measured", "reached"};
    fprintf(out, "\n");
    print_head(out, head, 4);
    for (unsigned i = 0; i < floor_line_count; i++) {
        const struct floor_line *line = &floor_lines[i];
        const struct bench_case *self = case_find(line->name), *reference = NULL;
        if (line->reference != NULL)
            reference = strcmp(line->reference, "F1") == 0 ? limit_case() : case_find(line->reference);
        if (self->chosen && (reference == NULL || reference->chosen))
            print_floor(out, line, self, reference);
    }
}

static void print_costs(FILE *out)
{
    fprintf(out, "\n");
    for (unsigned i = 0; i < case_count; i++) {
        const struct bench_case *self = &cases[i];
        const struct sample *last = NULL;
        for (unsigned round = 0; round < settings.rounds && self->chosen; round++)
            last = self->samples[round].valid ? &self->samples[round] : last;
        if (last == NULL || last->batches_per_record == 0)
            continue;
        char cpu[64];
        shorten(spread_measure(self, NULL, CPU_PER_RECORD).median, cpu, sizeof(cpu));
        fprintf(out, "%s%s%s%s: %s ns of CPU a record, %.4g records a batch, %.2f bytes written a byte of payload",
                settings.markdown ? "- " : "", self->name, self->variant[0] != 0 ? ", " : "", self->variant, cpu,
                1 / last->batches_per_record, last->write_amplification);
        if (last->roll_count > 0)
            fprintf(out, "; %" PRIu64 " rolling commits in the last round: p50 %.0f us, slowest %.0f us",
                    last->roll_count, (double)last->roll_p50_ns / 1e3, (double)last->roll_max_ns / 1e3);
        fprintf(out, "\n");
    }
}

static void print_sentence(FILE *out)
{
    struct bench_case *one = case_find("threads-1"), *many = case_find("threads-64"), *loop = case_find("loop-1024");
    char rate[32], many_rate[32], loop_rate[32];
    struct spread rates = spread_measure(one, NULL, RATE), p50 = spread_measure(one, NULL, P50),
                  p99 = spread_measure(one, NULL, P99);
    if (rates.count == 0)
        return;
    fprintf(out, "\nOne durable update of 128 bytes costs %.0f us here (p99 %.0f us): %s a second, one at a time.",
            p50.median / 1e3, p99.median / 1e3, shorten(rates.median, rate, sizeof(rate)));
    struct spread many_rates = spread_measure(many, NULL, RATE), loop_rates = spread_measure(loop, NULL, RATE);
    if (many_rates.count > 0)
        fprintf(out, " Group commit makes %s a second of it for 64 threads (%.0f times)",
                shorten(many_rates.median, many_rate, sizeof(many_rate)), many_rates.median / rates.median);
    if (many_rates.count > 0 && loop_rates.count > 0)
        fprintf(out, ", and %s for one event loop with 1,024 outstanding (%.0f times)",
                shorten(loop_rates.median, loop_rate, sizeof(loop_rate)), loop_rates.median / rates.median);
    fprintf(out, "%s\n", many_rates.count > 0 ? "." : "");
}

/* The rest of the first line of a file that begins with `key` (and a colon, when there is a key); "?" when there is
 * none. */
static void read_line(const char *path, const char *key, char *text, size_t size)
{
    char line[256];
    FILE *file = fopen(path, "re");
    snprintf(text, size, "?");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        const char *value = strchr(line, ':');
        value = key[0] == 0 || value == NULL ? line : value + 1 + strspn(value + 1, " \t");
        snprintf(text, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file != NULL)
        fclose(file);
}

/* A partition's queue is that of its disk, one directory up. */
static void read_queue(const char *name, char *text, size_t size)
{
    struct stat status;
    char path[160];
    snprintf(text, size, "?");
    if (stat(settings.directory, &status) != 0)
        return;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/%s", major(status.st_dev), minor(status.st_dev), name);
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/%s", major(status.st_dev), minor(status.st_dev),
                 name);
    read_line(path, "", text, size);
}

static const char *file_system_name(void)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } known[] = {
        {0xEF53, "ext4"}, {0x58465342, "XFS"}, {0x9123683E, "btrfs"}, {0xF2F52010, "f2fs"}, {0x794C7630, "overlay"}};
    struct statfs kind;
    for (unsigned i = 0; statfs(settings.directory, &kind) == 0 && i < sizeof(known) / sizeof(known[0]); i++)
        if ((uint32_t)kind.f_type == known[i].magic)
            return known[i].name;
    return "another file system";
}

void print_machine(FILE *out)
{
    struct utsname name;
    char processor[128], cache[32], fua[32], block[32];
    uname(&name);
    read_line("/proc/cpuinfo", "model name", processor, sizeof(processor));
    read_queue("write_cache", cache, sizeof(cache));
    read_queue("fua", fua, sizeof(fua));
    read_queue("physical_block_size", block, sizeof(block));
    fprintf(out, "libwal %s; %s %s; %ld x %s; %s, device write cache \"%s\", fua %s, physical block %s.\n",
            wal_version(), name.sysname, name.release, sysconf(_SC_NPROCESSORS_ONLN), processor, file_system_name(),
            cache, fua, block);
    fprintf(out,
            "%u rounds of %.3g s a case, random order, seed %" PRIu64
            "; median [least-most]; ratios inside a round%s.\n\n",
            settings.rounds, settings.seconds, settings.seed,
            settings.fio ? "" : "; no fio here: ratios are to a plain pwrite and fdatasync of 4 KiB");
}

void print_results(FILE *out)
{
    print_cases(out);
    print_floors(out);
    print_costs(out);
    print_sentence(out);
}

int write_json(const char *path)
{
    FILE *out = fopen(path, "we");
    const char *comma = "";
    if (out == NULL)
        return failed(path, NULL, -errno);
    fprintf(out, "{\"version\": \"%s\", \"seconds\": %g, \"rounds\": %u, \"seed\": %" PRIu64 ", \"cases\": [",
            wal_version(), settings.seconds, settings.rounds, settings.seed);
    for (unsigned i = 0; i < case_count; i++) {
        if (!cases[i].chosen)
            continue;
        fprintf(out, "%s\n {\"name\": \"%s\", \"words\": \"%s\", \"variant\": \"%s\", \"rounds\": [", comma,
                cases[i].name, cases[i].words, cases[i].variant);
        comma = "";
        for (unsigned round = 0; round < settings.rounds; round++) {
            const struct sample *sample = &cases[i].samples[round];
            if (!sample->valid)
                continue;
            fprintf(out,
                    "%s\n  {\"round\": %u, \"operations_per_s\": %.1f, \"records_per_s\": %.1f, \"bytes_per_s\": %.0f, "
                    "\"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64
                    ", \"cpu_ns_per_record\": %.2f, \"batches_per_record\": %.6f, \"write_amplification\": %.4f, "
                    "\"rolls\": %" PRIu64 ", \"roll_p50_ns\": %" PRIu64 ", \"roll_max_ns\": %" PRIu64 "}",
                    comma, round, sample->operations_per_s, sample->records_per_s, sample->bytes_per_s, sample->p50_ns,
                    sample->p99_ns, sample->p999_ns, sample->max_ns, sample->cpu_ns_per_record,
                    sample->batches_per_record, sample->write_amplification, sample->roll_count, sample->roll_p50_ns,
                    sample->roll_max_ns);
            comma = ",";
        }
        fprintf(out, "]}");
        comma = ",";
    }
    fprintf(out, "\n]}\n");
    return fclose(out) == 0 ? 0 : failed(path, NULL, -errno);
}
