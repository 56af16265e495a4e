/* plot.c - walbench plot FILE...: two pictures side by side, and always the data behind them.
 *
 * Left, how many updates a second each row makes durable (or opens, or verifies), a bar each; right, the share of
 * updates that were done within a time, a line each. Both axes of quantities are logarithmic: what matters here are
 * factors.
 *
 * The happy path: OUT.dat (bars, then the lines, as blocks for gnuplot's index) and OUT.gp are written; gnuplot makes
 * OUT.svg or OUT.png of them. Without gnuplot the two files stay, and that is said.
 *
 * What can fail: a file that is no result, a picture that cannot be written: exit code 3. */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/session.h"

enum { PLOT_ROWS_MAX = 64, NAME_BYTES = 4096 };

struct plot {
    char base[NAME_BYTES]; /* Of the files that are written. */
    const char *picture;
    bool png;
    unsigned row_count;
    const struct json_value *rows[PLOT_ROWS_MAX];
    unsigned files[PLOT_ROWS_MAX]; /* Which result a row is of. */
    bool emulated;
};

static uint64_t u64_of(const struct json_value *row, const char *name)
{
    uint64_t value = 0;
    (void)json_u64(json_member(row, name), &value);
    return value;
}

static double double_of(const struct json_value *row, const char *name)
{
    double value = 0;
    (void)json_double(json_member(row, name), &value);
    return value;
}

/* Results come from anywhere, and gnuplot runs what stands in backticks between double quotes, in scripts: these have
 * it between single quotes, where nothing but the quote itself (twice) means anything. In data nothing is run, and only
 * double quotes hold blanks together. */
static void put_label(FILE *to, char quote, const struct plot *plot, unsigned i, unsigned file_count)
{
    const char *label = json_text(json_member(plot->rows[i], "label"));
    const char *engine = json_text(json_member(plot->rows[i], "engine"));
    fputc(quote, to);
    if (file_count > 1)
        fprintf(to, "%u: ", plot->files[i] + 1);
    if (engine != NULL && strcmp(engine, "libwal") == 0)
        fputs("log: ", to);
    for (; label != NULL && *label != 0; label++) {
        unsigned char byte = (unsigned char)*label;
        bool escapes = quote == '"' && (byte == '"' || byte == '\\' || byte == '`'); /* `: for whoever copies it. */
        if (byte == '\'' && quote == '\'')
            fputc('\'', to);
        fputc(byte < ' ' || byte == 0x7f ? ' ' : escapes ? '\'' : byte, to);
    }
    fputc(quote, to);
}

static void collect(struct plot *plot, const struct json_value *root, unsigned file)
{
    for (const struct json_value *row = json_first(json_member(root, "rows")); row != NULL; row = json_next(row))
        if (u64_of(row, "operations") != 0 && plot->row_count < PLOT_ROWS_MAX) {
            plot->files[plot->row_count] = file;
            plot->rows[plot->row_count++] = row;
        }
    plot->emulated = plot->emulated || u64_of(root, "emulated_ns") != 0;
}

/* Block 0: the bars; block 1 + i: the line of row i. */
static void write_data(const struct plot *plot, unsigned file_count, FILE *to)
{
    fputs("# row label updates/s p50_us p99_us class (0: not durable, 1: by others, 2: by this log)\n", to);
    for (unsigned i = 0; i < plot->row_count; i++) {
        const struct json_value *row = plot->rows[i], *latency = json_member(row, "latency_ns");
        const char *kind = json_text(json_member(row, "kind")), *engine = json_text(json_member(row, "engine"));
        bool records = kind != NULL && strcmp(kind, "open") != 0 && strcmp(kind, "verify") != 0;
        bool durable = true;
        (void)json_bool(json_member(row, "durable"), &durable);
        fprintf(to, "%u ", i);
        put_label(to, '"', plot, i, file_count);
        fprintf(to, " %.3f %.3f %.3f %d\n", double_of(row, records ? "records_per_s" : "operations_per_s"),
                (double)u64_of(latency, "p50") / 1e3, (double)u64_of(latency, "p99") / 1e3,
                !durable                                          ? 0
                : engine != NULL && strcmp(engine, "libwal") == 0 ? 2
                                                                  : 1);
    }
    for (unsigned i = 0; i < plot->row_count; i++) {
        const struct json_value *latency = json_member(plot->rows[i], "latency_ns");
        uint64_t all = u64_of(latency, "count"), seen = 0;
        fputs("\n\n# ", to);
        put_label(to, '"', plot, i, file_count);
        fputs(": within_us share\n", to);
        for (const struct json_value *bucket = json_first(json_member(latency, "histogram")); bucket != NULL;
             bucket = json_next(bucket)) {
            uint64_t below_ns = 0, count = 0;
            (void)json_u64(json_at(bucket, 1), &below_ns);
            (void)json_u64(json_at(bucket, 2), &count);
            seen += count;
            fprintf(to, "%.3f %.6f\n", (double)below_ns / 1e3, all == 0 ? 0 : (double)seen / (double)all);
        }
    }
}

static void write_script(const struct plot *plot, unsigned file_count, const char *data, FILE *to)
{
    unsigned height = 120 + 24 * plot->row_count;
    height = height < 420 ? 420 : height;
    fprintf(to, "set terminal %s noenhanced size 1200,%u font 'sans,11' background rgb '#ffffff'\n",
            plot->png ? "pngcairo" : "svg", height);
    fprintf(to, "set output '%s'\n", plot->picture);
    fputs("set multiplot\n"
          "set grid lc rgb '#dddddd'\n"
          "set border lc rgb '#888888'\n"
          "set tics textcolor rgb '#222222'\n"
          "set logscale x\n"
          "set size 0.6,1\nset origin 0,0\n",
          to);
    fprintf(to, "set title '%s'\nset xlabel 'updates a second'\n",
            plot->emulated ? "made durable a second, on an EMULATED disk" : "made durable a second");
    /* Room behind the longest bar for its number. A bar cannot start at 0 on such an axis: from 1. */
    fprintf(to, "stats '%s' index 0 using 3 nooutput\nset xrange [1:STATS_max*25]\nset xtics 1,100\n", data);
    fprintf(to, "set yrange [%u:-1]\nset format x '%%.0s%%c'\nset style fill solid 0.85 noborder\nset lmargin 42\n",
            plot->row_count);
    fprintf(to,
            "plot '%s' index 0 using (1):1:(1):3:($1-0.35):($1+0.35):($6 == 0 ? 0xbbbbbb : $6 == 1 ? 0x2c7fb8 : "
            "0x31a354):ytic(2) with boxxyerror lc rgb variable notitle, "
            "'' index 0 using 3:1:(gprintf('  %%.2s%%c', $3)) with labels left font 'sans,9' notitle\n",
            data);
    fputs("set size 0.4,1\nset origin 0.6,0\nunset ytics\nset ytics auto textcolor rgb '#222222'\n"
          "set yrange [0:1]\nset xrange [*:*]\nset xtics 1,10\nset lmargin 8\n"
          "set title 'share of durable updates done within a time'\nset xlabel 'microseconds'\nset format x '%g'\n"
          "set format y '%g'\nset key below maxcols 2 font 'sans,8' samplen 1\n",
          to);
    bool any = false;
    for (unsigned i = 0; i < plot->row_count; i++) {
        bool durable = true;
        (void)json_bool(json_member(plot->rows[i], "durable"), &durable);
        if (!durable)
            continue;
        fprintf(to, "%s'%s' index %u using 1:2 with steps lw 1.5 dt %u title ", any ? ", " : "plot ", data, i + 1,
                i / 8 + 1);
        put_label(to, '\'', plot, i, file_count);
        any = true;
    }
    fputs(any ? "\nunset multiplot\n" : "unset multiplot\n", to);
}

/* 0, or a negative errno. */
static int write_file(const char *path, void (*write)(const void *context, FILE *to), const void *context)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return -errno;
    write(context, file);
    int error = ferror(file) ? -EIO : 0;
    if (fclose(file) != 0 && error == 0)
        error = -errno;
    return error;
}

struct plot_files {
    const struct plot *plot;
    unsigned file_count;
    const char *data;
};

static void data_of(const void *context, FILE *to)
{
    const struct plot_files *files = context;
    write_data(files->plot, files->file_count, to);
}

static void script_of(const void *context, FILE *to)
{
    const struct plot_files *files = context;
    write_script(files->plot, files->file_count, files->data, to);
}

/* True: there is a picture. */
static int run_gnuplot(const char *script)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int draw(struct plot *plot, unsigned file_count)
{
    char data[NAME_BYTES + 8], script[NAME_BYTES + 8];
    snprintf(data, sizeof(data), "%s.dat", plot->base);
    snprintf(script, sizeof(script), "%s.gp", plot->base);
    struct plot_files files = {plot, file_count, data};
    int error = write_file(data, data_of, &files);
    const char *failed_path = data;
    if (error == 0) {
        error = write_file(script, script_of, &files);
        failed_path = script;
    }
    if (error != 0) {
        say_on_stderr("%s: %s", failed_path, strerror(-error));
        return EXIT_SETUP;
    }
    int code = run_gnuplot(script);
    if (code == 127) {
        say_on_stderr("there is no gnuplot here: %s and %s are written, 'gnuplot %s' makes the picture", data, script,
                      script);
        return EXIT_MEASURED;
    }
    if (code != 0) {
        say_on_stderr("gnuplot failed on %s (exit code %d)", script, code);
        return EXIT_SETUP;
    }
    printf("%s\n", plot->picture);
    return fflush(stdout) == 0 || errno == EPIPE ? EXIT_MEASURED : EXIT_SETUP;
}

/* gnuplot runs what stands behind a | or < in the name of a file, and takes a script called -x for an option. */
static bool is_harmless(const char *path)
{
    if (path[0] == '|' || path[0] == '<' || path[0] == '-')
        return false;
    for (; *path != 0; path++)
        if ((unsigned char)*path < ' ' || *path == 0x7f || *path == '\'')
            return false;
    return true;
}

/* "out.svg" to "out": beside the picture stand its data. */
static void name_files(struct plot *plot, const struct settings *settings)
{
    plot->picture = settings->output != NULL ? settings->output : "walbench.svg";
    size_t length = strlen(plot->picture);
    if (length < 5 || length >= NAME_BYTES ||
        (strcmp(plot->picture + length - 4, ".svg") != 0 && strcmp(plot->picture + length - 4, ".png") != 0))
        usage("-o: '%s' does not end in .svg or .png", plot->picture);
    if (!is_harmless(plot->picture))
        usage("-o: gnuplot cannot have a name that begins with | or < or -, or that holds ' or control characters");
    plot->png = strcmp(plot->picture + length - 4, ".png") == 0;
    snprintf(plot->base, sizeof(plot->base), "%.*s", (int)(length - 4), plot->picture);
}

/* A result may be called out.dat. */
static void refuse_to_overwrite(const struct plot *plot, const struct settings *settings)
{
    static const char *const ends[] = {".dat", ".gp", ".svg", ".png"};
    for (unsigned end = 0; end < sizeof(ends) / sizeof(ends[0]); end++) {
        char path[NAME_BYTES + 8];
        struct stat written, read;
        snprintf(path, sizeof(path), "%s%s", plot->base, ends[end]);
        if (stat(path, &written) != 0 || (end >= 2 && strcmp(path, plot->picture) != 0))
            continue;
        for (unsigned i = 0; i < settings->word_count; i++)
            if (stat(settings->words[i], &read) == 0 && read.st_dev == written.st_dev && read.st_ino == written.st_ino)
                usage("-o: '%s' would be written over by %s: choose another name", settings->words[i], path);
    }
}

int command_plot(struct settings *settings)
{
    struct json_value *roots[COMMAND_WORDS_MAX] = {NULL};
    struct plot *plot = calloc(1, sizeof(*plot));
    int code = plot != NULL ? EXIT_MEASURED : EXIT_SETUP;
    if (plot != NULL) {
        name_files(plot, settings);
        refuse_to_overwrite(plot, settings);
    }
    for (unsigned i = 0; i < settings->word_count && code == EXIT_MEASURED; i++) {
        roots[i] = session_read_result(settings->words[i]);
        if (roots[i] == NULL)
            code = EXIT_SETUP;
        else
            collect(plot, roots[i], i);
    }
    if (code == EXIT_MEASURED && plot->row_count == 0) {
        say_on_stderr("nothing was measured in these results");
        code = EXIT_SETUP;
    }
    if (code == EXIT_MEASURED)
        code = draw(plot, settings->word_count);
    for (unsigned i = 0; i < settings->word_count; i++)
        json_free(roots[i]);
    free(plot);
    return code;
}
