/* peers.c - walbench peers: the same work on this log, on what people use instead, and on the bare device.
 *
 * The work: so many callers, each in a closed loop, append records that are durable when the call returns. This log
 * runs in this process; the others are programs of their own (bench/peers/), built by make bench-peers where their
 * packages are installed, run as children in a directory each and asked for one line of JSON. The limit is what the
 * device gives to one write that holds a record of each caller, made durable, and the next behind it: fio where it is
 * installed, our own loop where not. All of them take turns within each round.
 *
 * What can fail: a program that is not built skips its rows, with a reason; one that fails has said why on stderr, and
 * its rows are skipped from then on. One that does not end when it is told to is killed, with all that it has
 * started. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_BYTES_MAX = 8 << 20, TURN_MS = 100, BLOCK_BYTES = 4096, RECORD_OVERHEAD_BYTES = 24 };

static const char *const known[] = {"libwal", "raft", "rocksdb", "sqlite", "lmdb", "plain"};
static const char *const words[] = {
    "this log", "raft_uv (libraft)", "RocksDB, sync writes", "SQLite, WAL, FULL", "LMDB", "pwrite + fdatasync, a lock"};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

/* --- children ------------------------------------------------------------------------------------ */

static bool is_built(const char *peer, char program[4096])
{
    ssize_t length = readlink("/proc/self/exe", program, 4096 - 64);
    program[length > 0 ? length : 0] = 0;
    char *slash = strrchr(program, '/');
    snprintf(slash != NULL ? slash : program, 64, "/peers/peer_%s", peer);
    return access(program, X_OK) == 0;
}

/* A group of its own: it gets a terminal's Ctrl-C from us alone, and whatever it has started can be ended with it. */
__attribute__((noreturn)) static void run_program(char *const arguments[], int answer)
{
    (void)setpgid(0, 0);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0)
        dup2(nothing, STDIN_FILENO); /* In the background a terminal would stop it. */
    dup2(answer, STDOUT_FILENO);
    execvp(arguments[0], arguments);
    _exit(127);
}

/* Behind an interrupt: asks the child to end, and ends it when it does not, as fio may hang in its own handler. */
struct ending {
    bool asked, killed;
    uint64_t patience_ns; /* When it is killed. */
};

static void end_when_interrupted(struct ending *ending, pid_t pid)
{
    if (!interrupted() || ending->killed)
        return;
    if (!ending->asked) {
        ending->patience_ns = clock_ns() + UINT64_C(1500000000);
        ending->asked = true;
        (void)kill(pid, SIGTERM);
    }
    if (interrupts() > 1 || clock_ns() >= ending->patience_ns) {
        ending->killed = true;
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL); /* It may not have got to its group yet. */
    }
}

/* Reads until the child closes its output, or is ended. */
static size_t read_answer(int from, pid_t pid, struct ending *ending, char *answer)
{
    size_t size = 0;
    for (bool open = true; open && size < ANSWER_BYTES_MAX - 1 && !ending->killed;) {
        struct pollfd event = {.fd = from, .events = POLLIN};
        int ready = poll(&event, 1, TURN_MS);
        end_when_interrupted(ending, pid);
        if (ready <= 0)
            continue;
        ssize_t got = read(from, answer + size, ANSWER_BYTES_MAX - 1 - size);
        open = got > 0 || (got < 0 && errno == EINTR);
        size += got > 0 ? (size_t)got : 0;
    }
    answer[size] = 0;
    return size;
}

/* Its status, as of waitpid. */
static int wait_for_end(pid_t pid, struct ending *ending)
{
    int status = -1;
    for (pid_t ended = 0; ended != pid;) {
        ended = waitpid(pid, &status, WNOHANG);
        if (ended < 0 && errno != EINTR)
            return -1;
        end_when_interrupted(ending, pid);
        if (ended != pid)
            nanosleep(&(struct timespec){.tv_nsec = TURN_MS * 100000L}, NULL);
    }
    return status;
}

/* What the child printed, to be freed; NULL: it failed, and has said why. */
static char *answer_of(char *const arguments[])
{
    int ends[2];
    char *answer = malloc(ANSWER_BYTES_MAX);
    struct ending ending = {.asked = false};
    if (answer == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        failed(arguments[0], NULL, -errno);
        free(answer);
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        run_program(arguments, ends[1]);
    close(ends[1]);
    if (pid > 0)
        (void)setpgid(pid, pid); /* Whichever of us comes first: a signal finds the group. */
    size_t size = pid > 0 ? read_answer(ends[0], pid, &ending, answer) : 0;
    close(ends[0]);
    int status = pid > 0 ? wait_for_end(pid, &ending) : -1;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && size > 0)
        return answer;
    free(answer);
    return NULL;
}

/* --- one peer in one round ----------------------------------------------------------------------- */

static uint64_t number_in(const struct json_value *object, const char *name)
{
    uint64_t number = 0;
    (void)json_u64(json_member(object, name), &number);
    return number;
}

static void take_histogram(const struct json_value *answer, struct histogram *histogram)
{
    const struct json_value *bucket = json_first(json_member(answer, "histogram"));
    for (; bucket != NULL; bucket = json_next(bucket)) {
        uint64_t low_ns = 0, count = 0;
        (void)json_u64(json_at(bucket, 0), &low_ns);
        (void)json_u64(json_at(bucket, 1), &count);
        if (count != 0)
            histogram_add(histogram, low_ns, count);
    }
    histogram->min_ns = number_in(answer, "min_ns");
    histogram->max_ns = number_in(answer, "max_ns");
    histogram->total_ns = number_in(answer, "total_ns");
}

static void take_answer(struct row *row, const char *text)
{
    char error[JSON_ERROR_BYTES];
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    struct json_value *answer = json_parse(text, strlen(text), error);
    if (answer == NULL || histogram == NULL) {
        snprintf(row->skipped, sizeof(row->skipped), "its answer was not understood: %.100s", error);
    } else {
        take_histogram(answer, histogram);
        row_add_round(row, histogram, number_in(answer, "elapsed_ns"));
        row->records_done += number_in(answer, "records");
        row->bytes += number_in(answer, "records") * row->size_bytes;
        row->cpu_ns += number_in(answer, "cpu_ns");
    }
    json_free(answer);
    free(histogram);
}

static int run_child(struct session *session, struct row *row)
{
    const struct settings *settings = session->settings;
    char program[4096], directory[4096], threads[16], size[16], batch[16], seconds[32], warm[32];
    (void)is_built(row->engine, program);
    snprintf(directory, sizeof(directory), "%s/peer", session->directory);
    snprintf(threads, sizeof(threads), "%u", row->threads);
    snprintf(size, sizeof(size), "%u", row->size_bytes);
    snprintf(batch, sizeof(batch), "%u", row->records);
    snprintf(seconds, sizeof(seconds), "%g", settings->seconds / settings->rounds);
    snprintf(warm, sizeof(warm), "%g", settings->warm_seconds);
    char *arguments[] = {program,   "--directory", directory,   "--threads", threads,    "--size", size,
                         "--batch", batch,         "--seconds", seconds,     "--warmup", warm,     NULL};
    if (mkdir(directory, 0777) != 0)
        return failed(directory, NULL, -errno);
    char *answer = answer_of(arguments);
    tree_remove(directory);
    if (answer != NULL)
        take_answer(row, answer);
    else if (!interrupted())
        snprintf(row->skipped, sizeof(row->skipped), "it failed; see above");
    free(answer);
    return 0;
}

/* --- the limit ----------------------------------------------------------------------------------- */

static void take_fio(struct row *row, const struct json_value *job, double seconds)
{
    const struct json_value *written = json_member(job, "write"), *latency = json_member(written, "clat_ns");
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    uint64_t elapsed_ns = 0, mean_ns = 0;
    double mean = 0;
    for (const struct json_value *bin = json_first(json_member(latency, "bins")); bin != NULL && histogram != NULL;
         bin = json_next(bin)) {
        uint64_t count = 0;
        (void)json_u64(bin, &count);
        if (count != 0)
            histogram_add(histogram, strtoull(json_name(bin), NULL, 10), count);
    }
    if (histogram == NULL || histogram->count == 0) {
        snprintf(row->skipped, sizeof(row->skipped), "fio's output was not understood");
        free(histogram);
        return;
    }
    (void)json_double(json_member(latency, "mean"), &mean);
    mean_ns = (uint64_t)mean;
    histogram->min_ns = number_in(latency, "min");
    histogram->max_ns = number_in(latency, "max");
    histogram->total_ns = mean_ns * histogram->count;
    elapsed_ns = number_in(written, "runtime") * 1000000;
    row_add_round(row, histogram, elapsed_ns != 0 ? elapsed_ns : (uint64_t)(seconds * 1e9));
    row->records_done += histogram->count * row->threads * row->records;
    row->bytes += number_in(written, "io_bytes");
    free(histogram);
}

static uint32_t limit_bytes(const struct row *row)
{
    uint32_t bytes = row->threads * row->records * (row->size_bytes + RECORD_OVERHEAD_BYTES);
    return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static int run_fio(struct session *session, struct row *row)
{
    double seconds = session->settings->seconds / session->settings->rounds;
    char file[4096 + 16], block[32], runtime[32], error[JSON_ERROR_BYTES];
    snprintf(file, sizeof(file), "--filename=%s/zeroed", session->directory);
    snprintf(block, sizeof(block), "--bs=%u", limit_bytes(row));
    snprintf(runtime, sizeof(runtime), "--runtime=%g", seconds < 1 ? 1 : seconds);
    char size[64];
    snprintf(size, sizeof(size), "--size=%llu", (unsigned long long)session->file_bytes);
    char *arguments[] = {"fio",
                         "--name=limit",
                         file,
                         size,
                         block,
                         runtime,
                         "--time_based",
                         "--rw=write",
                         "--overwrite=1",
                         "--direct=1",
                         "--ioengine=psync",
                         "--sync=dsync",
                         "--output-format=json+",
                         NULL};
    char *answer = answer_of(arguments);
    struct json_value *root = answer == NULL ? NULL : json_parse(answer, strlen(answer), error);
    if (root != NULL)
        take_fio(row, json_at(json_member(root, "jobs"), 0), seconds);
    else if (!interrupted())
        snprintf(row->skipped, sizeof(row->skipped), "fio failed");
    json_free(root);
    free(answer);
    return 0;
}

int peer_run(struct session *session, struct row *row)
{
    return strcmp(row->engine, "fio") == 0 ? run_fio(session, row) : run_child(session, row);
}

/* --- rows ---------------------------------------------------------------------------------------- */

static bool has_fio(void)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path != NULL ? path : ""), *rest = copy;
    bool found = false;
    for (char *folder = strsep(&rest, ":"); folder != NULL && !found; folder = strsep(&rest, ":")) {
        char program[4096];
        snprintf(program, sizeof(program), "%s/fio", folder);
        found = access(program, X_OK) == 0;
    }
    free(copy);
    return found;
}

static bool is_wanted(const struct settings *settings, const char *peer)
{
    for (unsigned i = 0; i < settings->peers.count; i++)
        if (strcmp(settings->peers.words[i], peer) == 0)
            return true;
    return settings->peers.count == 0;
}

struct row *peers_add(struct session *session, const char *engine, unsigned threads, uint32_t size_bytes,
                      const char *label)
{
    struct row *row = result_add(&session->result);
    char program[4096];
    if (row == NULL)
        return NULL;
    row->kind = ROW_PEER;
    row->method = "append";
    row->engine = engine;
    row->threads = threads;
    row->records = session->settings->records;
    row->size_bytes = size_bytes;
    row->depth = 1;
    snprintf(row->id, sizeof(row->id), "peer.%s.threads%u.%u%s", engine, threads, size_bytes,
             row->records > 1 ? "x" : "");
    if (row->records > 1)
        snprintf(row->id + strlen(row->id), sizeof(row->id) - strlen(row->id), "%u", row->records);
    snprintf(row->label, sizeof(row->label), "%s", label);
    if (strcmp(engine, "fio") != 0 && !is_built(engine, program))
        snprintf(row->skipped, sizeof(row->skipped), "not built: make bench-peers");
    return row;
}

static bool add_limit(struct session *session, unsigned threads, uint32_t size_bytes)
{
    struct row *row = peers_add(session, "fio", threads, size_bytes, "the device: all records in one write");
    if (row == NULL)
        return false;
    row->direct = true;
    row->base = true;
    if (!has_fio())
        snprintf(row->skipped, sizeof(row->skipped), "no fio here: nothing to tell the device's limit");
    else if (limit_bytes(row) > session->file_bytes / 4)
        snprintf(row->skipped, sizeof(row->skipped), "one write of %u bytes is beyond reason", limit_bytes(row));
    return true;
}

static bool plan(struct session *session, unsigned threads, uint32_t size_bytes, char *section, size_t section_bytes)
{
    const struct settings *settings = session->settings;
    unsigned first = session->result.row_count;
    snprintf(section, section_bytes, "%u caller%s, %u record%s of %u bytes in each append", threads,
             threads > 1 ? "s" : "", settings->records, settings->records > 1 ? "s" : "", size_bytes);
    bool added = add_limit(session, threads, size_bytes);
    for (unsigned i = 0; i < KNOWN && added; i++) {
        if (!is_wanted(settings, known[i]))
            continue;
        struct row *row = i == 0 ? session_add_log(session, threads, 0, size_bytes, settings->records, 0)
                                 : peers_add(session, known[i], threads, size_bytes, words[i]);
        added = row != NULL;
        if (i == 0 && added)
            snprintf(row->label, sizeof(row->label), "%s", words[0]);
    }
    for (unsigned i = first; i < session->result.row_count; i++)
        session->result.rows[i]->section = section;
    return added;
}

static bool check_names(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->peers.count; i++) {
        bool found = false;
        for (unsigned peer = 0; peer < KNOWN; peer++)
            found = found || strcmp(settings->peers.words[i], known[peer]) == 0;
        if (!found)
            usage("--peers: '%s' is none of: libwal, raft, rocksdb, sqlite, lmdb, plain", settings->peers.words[i]);
    }
    return true;
}

int command_peers(struct settings *settings)
{
    static char sections[LIST_MAX * LIST_MAX][96];
    static const uint64_t threads_usual[] = {1, 16};
    struct session session = {0};
    unsigned count = 0;
    (void)check_names(settings);
    int code = session_begin(&session, settings, "peers", UINT64_C(4) << 30);
    for (unsigned t = 0; code == EXIT_MEASURED && t < list_count(&settings->threads, 2); t++)
        for (unsigned s = 0; code == EXIT_MEASURED && s < list_count(&settings->sizes, 1); s++) {
            uint64_t threads = settings->threads.count != 0 ? settings->threads.values[t] : threads_usual[t];
            uint64_t size = settings->sizes.count != 0 ? settings->sizes.values[s] : 128;
            if (!plan(&session, (unsigned)threads, (uint32_t)size, sections[count], sizeof(sections[0])))
                code = EXIT_SETUP;
            count++;
        }
    if (code == EXIT_MEASURED)
        code = session_measure(&session);
    return session_end(&session, code);
}
