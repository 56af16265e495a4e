/* session.c - one run of walbench.
 *
 * The happy path: look at the place, refuse it when there is no disk, make a directory there; a command adds its rows;
 * what they stand on is prepared; in each round every row runs once, in an order drawn anew, so that a disk that drifts
 * drifts under all of them; then what there is gets printed and written, and the directory removed.
 *
 * What can fail: the disk, memory: said on stderr, exit code 3, the directory removed. Ctrl-C: the row under way is
 * given up, what there is gets printed, marked partial, exit code 130.
 *
 * Invariants: nothing outside the run's own directory is written but the result that -o names. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/emulate.h"
#include "bench/profile.h"
#include "bench/writer.h"

enum { OUTPUT_PATH_BYTES = 4096 };

static const uint64_t mebibyte = UINT64_C(1) << 20;

/* --- the file of -o ------------------------------------------------------------------------------ */

/* Where links end, that a link stays one: what is written is what it points to. 0 or a negative errno. */
static int follow_links(const char *path, char target[OUTPUT_PATH_BYTES])
{
    char link[OUTPUT_PATH_BYTES], joined[2 * OUTPUT_PATH_BYTES];
    if (snprintf(target, OUTPUT_PATH_BYTES, "%s", path) >= OUTPUT_PATH_BYTES)
        return -ENAMETOOLONG;
    for (int turn = 0; turn < 40; turn++) {
        ssize_t length = readlink(target, link, sizeof(link) - 1);
        if (length < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : -errno;
        link[length] = 0;
        const char *slash = link[0] == '/' ? NULL : strrchr(target, '/');
        snprintf(joined, sizeof(joined), "%.*s%s", slash == NULL ? 0 : (int)(slash - target) + 1, target, link);
        if (snprintf(target, OUTPUT_PATH_BYTES, "%s", joined) >= OUTPUT_PATH_BYTES)
            return -ENAMETOOLONG;
    }
    return -ELOOP;
}

/* What is there and is no regular file (a device, a pipe), or is where our own text goes (/dev/stdout into a file), is
 * written into: it cannot be replaced by another. */
static bool is_written_into(const char *path, struct stat *status, bool *is_there)
{
    *is_there = stat(path, status) == 0;
    if (!*is_there)
        return false;
    for (int file = STDOUT_FILENO; file <= STDERR_FILENO; file++) {
        struct stat own;
        if (fstat(file, &own) == 0 && own.st_dev == status->st_dev && own.st_ino == status->st_ino)
            return true;
    }
    return !S_ISREG(status->st_mode);
}

/* A new file beside the target, under a name that nobody has: -1, and errno. */
static int open_beside(const char *target, char temporary[OUTPUT_PATH_BYTES + 8])
{
    snprintf(temporary, OUTPUT_PATH_BYTES + 8, "%s.XXXXXX", target);
    return mkostemp(temporary, O_CLOEXEC);
}

/* Before minutes go by: could it be written? 0 or a negative errno. */
static int output_check(const char *path)
{
    char target[OUTPUT_PATH_BYTES], temporary[OUTPUT_PATH_BYTES + 8];
    struct stat status;
    bool is_there;
    if (is_written_into(path, &status, &is_there))
        return S_ISDIR(status.st_mode) ? -EISDIR : access(path, W_OK) == 0 ? 0 : -errno;
    int error = path[0] == 0 ? -ENOENT : follow_links(path, target);
    int file = error != 0 ? -1 : open_beside(target, temporary);
    if (error == 0 && file < 0)
        error = -errno;
    if (file >= 0) {
        close(file);
        (void)unlink(temporary);
    }
    return error;
}

static int write_into(const struct result *result, int file)
{
    FILE *stream = file < 0 ? NULL : fdopen(file, "w");
    int error = stream == NULL ? -errno : result_write_json(result, stream);
    if (stream == NULL && file >= 0)
        close(file);
    if (stream != NULL && fclose(stream) != 0 && error == 0)
        error = -errno;
    return error;
}

/* A regular file is there whole, or as it was before. 0 or a negative errno. */
static int output_write(const struct result *result, const char *path)
{
    char target[OUTPUT_PATH_BYTES], temporary[OUTPUT_PATH_BYTES + 8];
    struct stat status;
    bool is_there;
    if (is_written_into(path, &status, &is_there))
        return write_into(result, open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
    int error = follow_links(path, target);
    int file = error != 0 ? -1 : open_beside(target, temporary);
    if (file < 0)
        return error != 0 ? error : -errno;
    mode_t mask = umask(0); /* There is no other way to ask for it. */
    (void)umask(mask);
    (void)fchmod(file, is_there ? status.st_mode & 0777 : 0666 & ~mask);
    error = write_into(result, file);
    if (error == 0 && rename(temporary, target) != 0)
        error = -errno;
    if (error != 0)
        (void)unlink(temporary);
    return error;
}

/* --- begin --------------------------------------------------------------------------------------- */

static int refuse(const char *path, const struct device_facts *device)
{
    say_on_stderr(
        "%s is %s, a file system in memory: nothing there survives, so there is no durable update to measure.", path,
        device->fs_type);
    fputs("Name a directory on a disk, or measure the memory with --force.\n", stderr);
    return EXIT_MEANINGLESS;
}

int session_begin(struct session *session, const struct settings *settings, const char *command, uint64_t more_bytes)
{
    const char *path = settings->word_count > 0 ? settings->words[0] : ".";
    session->settings = settings;
    bool brief = settings->quick || settings->emulated_ns != 0 || settings->seconds / settings->rounds < 0.2;
    session->file_bytes = (brief ? 32 : 256) * mebibyte;
    session->log_segment_bytes = (brief ? 8 : 32) * mebibyte;
    struct result *result = &session->result;
    *result = (struct result){.command = command,
                              .argument_count = settings->argument_count,
                              .arguments = settings->arguments,
                              .started = time(NULL),
                              .seconds = settings->seconds,
                              .warm_seconds = settings->warm_seconds,
                              .rounds = settings->rounds,
                              .seed = settings->seed,
                              .emulated_ns = settings->emulated_ns};
    snprintf(result->emulated_name, sizeof(result->emulated_name), "%s",
             settings->emulated_name != NULL ? settings->emulated_name : "");
    int error = device_look(path, &result->device);
    if (error == -ENOENT || error == -EACCES || error == -ENOTDIR) {
        bool word = error == -ENOENT && strchr(path, '/') == NULL;
        char what[512];
        snprintf(what, sizeof(what), word ? "%s: neither a command nor a directory" : "%s", path);
        failed(what, NULL, error);
        return EXIT_SETUP;
    }
    if (result->device.in_memory == DEVICE_YES && !settings->force)
        return refuse(path, &result->device);
    error = settings->output != NULL ? output_check(settings->output) : 0;
    if (error != 0) {
        failed(settings->output, NULL, error);
        return EXIT_SETUP;
    }
    interrupt_catch();
    uint64_t needed_bytes = 3 * session->file_bytes + 32 * session->log_segment_bytes + more_bytes;
    return workplace_make(path, needed_bytes, session->directory) == 0 ? EXIT_MEASURED : EXIT_SETUP;
}

/* --- rows of the log ----------------------------------------------------------------------------- */

struct row *session_add_log(struct session *session, unsigned threads, unsigned outstanding, uint32_t size_bytes,
                            unsigned records, double rate_per_s)
{
    struct row *row = result_add(&session->result);
    char how[32], batch[24] = "";
    if (row == NULL)
        return NULL;
    if (rate_per_s > 0)
        snprintf(how, sizeof(how), "rate%.0f", rate_per_s);
    else
        snprintf(how, sizeof(how), "%s%u", threads > 0 ? "threads" : "loop", threads > 0 ? threads : outstanding);
    if (records > 1)
        snprintf(batch, sizeof(batch), "x%u", records);
    row->kind = ROW_LOG;
    row->method = "wal_append";
    row->layout = "segments";
    row->engine = "libwal";
    row->direct = true;
    row->depth = 1; /* Batches at the disk. */
    row->threads = threads;
    row->outstanding = outstanding;
    row->size_bytes = size_bytes;
    row->records = records;
    row->rate_per_s = rate_per_s;
    row->emulated_ns = session->settings->emulated_ns;
    snprintf(row->id, sizeof(row->id), "log.%s.%u%s", how, size_bytes, batch);
    return row;
}

static void log_path(const struct session *session, char path[4096])
{
    snprintf(path, 4096, "%s/log", session->directory);
}

static struct load load_of(const struct session *session, const struct row *row, const char *path)
{
    const struct settings *settings = session->settings;
    return (struct load){.directory = path,
                         .backend = settings->backend,
                         .segment_bytes = session->log_segment_bytes,
                         .threads = row->threads,
                         .outstanding = row->outstanding,
                         .records = row->records,
                         .record_bytes = row->size_bytes,
                         .rate_per_s = row->rate_per_s,
                         .seconds = settings->seconds / settings->rounds,
                         .warm_seconds = settings->warm_seconds};
}

/* With an emulated disk below it, when one is wanted. */
static int with_disk(const struct session *session, struct load *load,
                     int (*run)(void *context, const struct load *load), void *context)
{
    if (session->settings->emulated_ns == 0)
        return run(context, load);
    int result = emulate_io(load->directory, session->settings->emulated_ns, &load->io);
    if (result != 0)
        return failed(load->directory, NULL, result);
    result = run(context, load);
    load->io->ops->destroy(load->io);
    return result;
}

static int run_load(void *context, const struct load *load)
{
    return engine_run(load, context);
}

static void add_latency(struct stage *stage, const struct wal_latency *latency)
{
    if (latency->count != 0)
        stage_add(stage, latency->count, latency->total_ns / latency->count, latency->p50_ns, latency->p99_ns,
                  latency->max_ns);
}

static int run_log(struct session *session, struct row *row)
{
    char path[4096];
    log_path(session, path);
    struct load load = load_of(session, row, path);
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    int result = outcome == NULL ? failed("memory", NULL, -ENOMEM) : with_disk(session, &load, run_load, outcome);
    if (result == 0 && !interrupted()) {
        row_add_round(row, &outcome->latency, outcome->elapsed_ns);
        row->records_done += outcome->records;
        row->bytes += outcome->payload_bytes;
        row->unfinished += outcome->unfinished;
        row->syncs += outcome->batches;
        row->cpu_ns += outcome->cpu_ns;
        add_latency(&row->queue, &outcome->queue);
        add_latency(&row->write, &outcome->write);
        add_latency(&row->sync, &outcome->sync);
        add_latency(&row->acknowledge, &outcome->acknowledge);
    }
    free(outcome);
    return result;
}

/* --- rows written by hand ------------------------------------------------------------------------ */

/* Nothing was done in the row's time: whoever reads the table is told why. Of a row that other rounds have measured,
 * these stand. */
static void tell_why_empty(struct row *row, uint64_t file_bytes)
{
    if (row->operations == 0)
        snprintf(row->skipped, sizeof(row->skipped),
                 "the warm-up came to the end of its file of %" PRIu64 " MiB: a shorter --warmup, or a smaller --size",
                 file_bytes >> 20);
}

static int run_write(struct session *session, struct row *row)
{
    const struct settings *settings = session->settings;
    struct writing *writing = calloc(1, sizeof(*writing));
    if (writing == NULL)
        return failed("memory", NULL, -ENOMEM);
    int result = writer_run(row, session->directory, session->file_bytes, settings->warm_seconds,
                            settings->seconds / settings->rounds, writing, row->skipped);
    if (result == 0 && !interrupted() && writing->latency.count == 0) {
        tell_why_empty(row, session->file_bytes);
    } else if (result == 0 && !interrupted()) {
        row_add_round(row, &writing->latency, writing->elapsed_ns);
        row->records_done += writing->latency.count;
        row->bytes += writing->latency.count * row->size_bytes;
        row->syncs += writing->syncs;
        row->cpu_ns += writing->cpu_ns;
        stage_add_histogram(&row->write, &writing->write);
        stage_add_histogram(&row->sync, &writing->sync);
    }
    free(writing);
    return result == WRITER_SKIPPED ? 0 : result;
}

/* --- rounds -------------------------------------------------------------------------------------- */

static void progress(const struct session *session, unsigned done, unsigned all, const char *what)
{
    enum show_progress wish = session->settings->progress;
    if (wish == PROGRESS_NEVER || (wish == PROGRESS_AUTO && !isatty(STDERR_FILENO)))
        return;
    if (what == NULL) {
        fprintf(stderr, "\r\033[K");
        return;
    }
    double row_seconds = session->settings->seconds / session->settings->rounds + session->settings->warm_seconds;
    fprintf(stderr, "\r\033[K%u of %u, %.0f s left: %s", done, all, row_seconds * (all - done), what);
    fflush(stderr);
}

static bool has_kind(const struct session *session, enum row_kind kind)
{
    for (unsigned i = 0; i < session->result.row_count; i++)
        if (session->result.rows[i]->kind == kind)
            return true;
    return false;
}

static bool has_work(const struct session *session)
{
    for (unsigned i = 0; i < session->result.row_count; i++)
        if (session->result.rows[i]->skipped[0] == 0)
            return true;
    return false;
}

static int prepare(struct session *session)
{
    char path[4096];
    int result = 0;
    progress(session, 0, session->result.row_count * session->settings->rounds, "writing the files");
    if (has_kind(session, ROW_WRITE))
        result = writer_prepare(session->directory, session->file_bytes);
    if (result == 0 && has_kind(session, ROW_LOG) && !interrupted()) {
        struct row none = {.threads = 1, .records = 1, .size_bytes = 1};
        log_path(session, path);
        struct load load = load_of(session, &none, path);
        result = engine_prepare(&load); /* Also when a slower disk is emulated later. */
    }
    return result;
}

static int run_row(struct session *session, struct row *row)
{
    if (row->skipped[0] != 0)
        return 0;
    switch (row->kind) {
    case ROW_WRITE:
        return run_write(session, row);
    case ROW_LOG:
        return run_log(session, row);
    case ROW_OPEN:
    case ROW_VERIFY:
        return recover_run(session, row);
    case ROW_PEER:
        return peer_run(session, row);
    case ROW_RAFT:
        return raft_run(session, row);
    }
    return -1;
}

static int run_round(struct session *session, unsigned round, uint64_t *random)
{
    unsigned order[ROWS_MAX], count = session->result.row_count;
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned left = count; left > 1; left--) {
        unsigned at = (unsigned)(random_next(random) % left), swapped = order[at];
        order[at] = order[left - 1];
        order[left - 1] = swapped;
    }
    for (unsigned i = 0; i < count && !interrupted(); i++) {
        struct row *row = session->result.rows[order[i]];
        progress(session, round * count + i, session->settings->rounds * count, row->id);
        if (run_row(session, row) != 0)
            return -1;
    }
    return 0;
}

/* What no row can decide is told before minutes go by. */
static bool check_assertions(const struct session *session)
{
    const struct word_list *assertions = &session->settings->assertions;
    for (unsigned i = 0; i < assertions->count; i++)
        if (!assertion_has_row(&session->result, assertions->words[i])) {
            say_on_stderr("--assert '%s': no row of this run has these words in its id", assertions->words[i]);
            return false;
        }
    return true;
}

/* What reads a result finds rows by their ids. */
static bool check_ids(const struct result *result)
{
    for (unsigned i = 0; i < result->row_count; i++)
        if (result_find(result, result->rows[i]->id) != result->rows[i]) {
            say_on_stderr("two rows would be called %s: the lists name the same thing twice", result->rows[i]->id);
            return false;
        }
    return true;
}

int session_measure(struct session *session)
{
    uint64_t random = session->settings->seed;
    struct result *whole = &session->result;
    if (!check_ids(whole) || !check_assertions(session))
        return EXIT_USAGE;
    session->measuring = true;
    int result = has_work(session) ? prepare(session) : 0;
    for (unsigned round = 0; round < session->settings->rounds && result == 0 && !interrupted(); round++)
        result = run_round(session, round, &random);
    progress(session, 0, 0, NULL);
    if (interrupted())
        snprintf(whole->stopped, sizeof(whole->stopped), "interrupted");
    else if (result != 0)
        snprintf(whole->stopped, sizeof(whole->stopped), "failed: %s", failure_told());
    return result != 0 && !interrupted() ? EXIT_SETUP : EXIT_MEASURED;
}

/* --- end ----------------------------------------------------------------------------------------- */

static int decide(struct session *session)
{
    const struct settings *settings = session->settings;
    struct result *result = &session->result;
    const struct profile *profile = settings->profile;
    char text[128];
    if (profile != NULL && profile->p99_max_ns != 0) {
        snprintf(text, sizeof(text), "profile.p99<%gms", (double)profile->p99_max_ns / 1e6);
        assertion_decide(result, text);
    }
    for (unsigned i = 0; i < settings->assertions.count; i++)
        assertion_decide(result, settings->assertions.words[i]);
    for (unsigned i = 0; i < result->assertion_count; i++)
        if (!result->assertions[i].ok)
            return EXIT_ASSERTION;
    return EXIT_MEASURED;
}

/* Where the table has no place for it, or a program reads it, people are told on stderr why the exit code is 1. */
static void tell_failures(const struct session *session)
{
    const struct result *result = &session->result;
    char text[ASSERTION_TEXT_BYTES];
    if (interrupted() || (!session->settings->json && session->settings->form != TABLE_CSV))
        return;
    for (unsigned i = 0; i < result->assertion_count; i++)
        if (!result->assertions[i].ok)
            say_on_stderr("%s", assertion_text(&result->assertions[i], text));
}

static int write_output(const struct session *session)
{
    int error = output_write(&session->result, session->settings->output);
    if (error == 0)
        return EXIT_MEASURED;
    say_on_stderr("%s: %s", session->settings->output, strerror(-error));
    return EXIT_SETUP;
}

static int show(const struct session *session)
{
    int error = 0;
    if (session->settings->json)
        error = result_write_json(&session->result, stdout);
    else
        result_print(&session->result, session->settings->form, session->settings->histograms, stdout);
    if (error == 0 && fflush(stdout) != 0)
        error = -errno;
    if (error == 0 || error == -EPIPE)
        return EXIT_MEASURED;
    say_on_stderr("standard output: %s", strerror(-error));
    return EXIT_SETUP;
}

/* Tells all there is: an exit code. */
static int conclude(struct session *session, int code)
{
    result_conclude(&session->result);
    int decided = decide(session);
    int shown = show(session);
    int written = session->settings->output != NULL ? write_output(session) : EXIT_MEASURED;
    tell_failures(session);
    if (code == EXIT_MEASURED && !interrupted() && !result_measured(&session->result)) {
        say_on_stderr("nothing was measured; the result says of each row why");
        return EXIT_SETUP;
    }
    return code != EXIT_MEASURED ? code : shown != EXIT_MEASURED ? shown : written != EXIT_MEASURED ? written : decided;
}

int session_end(struct session *session, int code)
{
    if (session->directory[0] != 0 && !session->settings->keep)
        workplace_remove();
    if (session->measuring)
        code = conclude(session, code);
    if (session->directory[0] != 0 && session->settings->keep)
        say_on_stderr("the files are kept in %s", session->directory);
    if (session->result.overfull)
        code = EXIT_USAGE;
    if (interrupted() && code != EXIT_SETUP)
        code = EXIT_INTERRUPTED;
    result_free(&session->result);
    return code;
}
