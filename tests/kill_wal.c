/* kill_wal.c - kill -9 against the log on a real disk: promises P1 to P3, and P9 in passing.
 *
 * A lane is one log, one parent and one child at a time. The child opens the log, compares it with what was promised,
 * and goes on appending from several threads and from an event loop at once, with metadata, truncations of both ends,
 * resets, rolls through tiny segments, recycling, and now and then an orderly close. It dies by SIGKILL at a random
 * moment, or by its own hand at the n-th visit of a named point inside the library (which is built with -DWAL_POINTS
 * for this program and calls wal_point()).
 *
 * The journal is memory shared with the child, so it outlives it. Accepting an operation happens under one mutex, in
 * this order:
 *
 *   journal[limit] = operation, limit++   it may be in the log from here on
 *   wal_append()                          the order of the journal is the order of the log
 *   (mutex released) wal_wait()           or the event loop's wal_dispatch
 *   acknowledged = position + 1           it must be in the log from here on, and all before it
 *
 * The next open must show exactly the state after m operations of the journal, for some m in [acknowledged, limit]; m
 * is then what was kept: the rest of the journal is dropped, and if any of it shows up later that state matches no m
 * (P2). An operation changes records, start and metadata together, so a half one matches no m either (P3). A record's
 * tag is the number of its operation, never used twice in the life of the lane, and type, size and bytes follow from
 * seed, tag and index: every byte is compared.
 *
 * What else is checked: the verdict is clean or torn after every kill, and "closed" after an orderly close; tickets
 * go up by one; receipts name the indexes that the journal expects; a record read back while all this runs is right;
 * a second writer gets WAL_EBUSY and a reader of the live log sees some state after m operations, m not below what
 * was acknowledged before it opened; nothing hangs.
 *
 * kill_model.c holds the journal's operations and the comparison, kill_child.c the life of a child, this file the
 * parents.
 *
 * kill_wal [--kills N] [--seed S] [--dir D] [--backend auto|posix|uring|mix] [--threads N] [--lanes N]
 *
 * A failure prints its story and one line to run it again, keeps the directory, and ends with status 1. The moments of
 * the threads are not repeatable, so the line repeats the choices, not the schedule: give it more kills. */

#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kill.h"

/* --- the parent of a lane ------------------------------------------------------------------------ */

/* A second writer and a reader while the child appends; a process of its own. model stands before operation 0 of the
 * journal. */
__attribute__((noreturn)) static void visit(struct model *model)
{
    static struct found found;
    struct wal *log = NULL;
    struct wal_options options = WAL_OPTIONS_INIT;
    int result = wal_open(log_path, &options, &log, NULL);
    if (result != WAL_EBUSY)
        fail("a second writer got %s (%d), not WAL_EBUSY", wal_strerror(result), result);
    atomic_fetch_add(&shared->counts.second_writers, 1);
    options.flags = WAL_READ_ONLY;
    uint64_t acknowledged = atomic_load(&lane->acknowledged);
    struct wal_verdict verdict;
    if ((result = wal_open(log_path, &options, &log, &verdict)) != 0)
        fail("reader of a live log: %s (%d), row Y%d, %s", wal_strerror(result), result, verdict.row, verdict.text);
    if (verdict.kind != WAL_VERDICT_CLEAN && verdict.kind != WAL_VERDICT_TORN)
        fail("reader of a live log: verdict %d, row Y%d, %s", (int)verdict.kind, verdict.row, verdict.text);
    uint64_t limit = atomic_load(&lane->limit);
    read_log(log, &found);
    match(model, 0, acknowledged, limit, &found);
    if ((result = wal_close(log)) != 0)
        fail_call(NULL, "wal_close of a reader", result);
    atomic_fetch_add(&shared->counts.readers, 1);
    _exit(0);
}

/* Waits until condition() or the child's end; false at its end. A child that hangs is a failure. */
static bool await(pid_t pid, bool (*condition)(uint64_t), uint64_t argument)
{
    uint64_t end_ns = clock_ns() + UINT64_C(1000000) * HANG_MS;
    while (!condition(argument)) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            return false;
        if (clock_ns() > end_ns) {
            kill(pid, SIGABRT); /* A core, if the system keeps cores. */
            waitpid(pid, NULL, 0);
            fail("the child hangs: running %d, acknowledged %" PRIu64 " of %" PRIu64 ", %" PRIu64 " closes",
                 (int)atomic_load(&lane->running), atomic_load(&lane->acknowledged), atomic_load(&lane->limit),
                 atomic_load(&lane->sessions));
        }
        sleep_us(100);
    }
    return true;
}

static bool is_running(uint64_t unused)
{
    (void)unused;
    return atomic_load(&lane->running);
}

static bool has_acknowledged(uint64_t end)
{
    return atomic_load(&lane->acknowledged) >= end;
}

static bool has_closed(uint64_t count)
{
    return atomic_load(&lane->sessions) >= count;
}

static bool never(uint64_t deadline_ns)
{
    return clock_ns() >= deadline_ns;
}

enum manner { AT_RANDOM, AFTER_OPEN, AT_POINT, AFTER_PROGRESS, AFTER_CLOSE, VISITED };

static enum manner choose_manner(uint64_t *random)
{
    uint64_t dice = draw(random, 100);
    if (dice < 35)
        return AT_RANDOM;
    if (dice < 60)
        return AFTER_OPEN;
    if (dice < 92)
        return AT_POINT;
    if (dice < 94)
        return AFTER_PROGRESS;
    return dice < 96 ? AFTER_CLOSE : VISITED;
}

/* Names seen so far are equally likely; the visit is drawn from what a child usually makes. */
static void arm(uint64_t *random)
{
    int names = 0;
    while (names < POINTS_MAX && atomic_load(&shared->points[names].name) != NULL)
        names++;
    atomic_store(&lane->points_hit, 0);
    if (names == 0)
        return;
    int chosen = (int)draw(random, (uint64_t)names);
    uint64_t usual = atomic_load(&shared->points[chosen].hits) / (atomic_load(&shared->counts.kills) + 1);
    atomic_store(&lane->armed_hit, 1 + draw(random, usual < 2 ? 2 : usual > 40 ? 40 : usual));
    atomic_store(&lane->armed, chosen);
}

static void let_it_live(pid_t pid, enum manner manner, uint64_t *random, struct model *model)
{
    if (manner == AT_RANDOM || manner == AT_POINT) {
        await(pid, never, clock_ns() + (manner == AT_POINT ? 40000000 : draw(random, 20000000)));
        return;
    }
    if (!await(pid, is_running, 0))
        return;
    uint64_t target = atomic_load(&lane->acknowledged) + 40;
    if (manner == AFTER_OPEN)
        sleep_us(draw(random, 10000));
    if (manner == AFTER_PROGRESS && target < JOURNAL_MAX)
        await(pid, has_acknowledged, target);
    if (manner == AFTER_CLOSE)
        await(pid, has_closed, 1);
    if (manner == VISITED) {
        sleep_us(draw(random, 4000));
        pid_t visitor = fork();
        if (visitor == 0) {
            alarm(HANG_MS / 1000);
            visit(model);
        }
        int status = 0;
        if (visitor < 0 || waitpid(visitor, &status, 0) != visitor || status != 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail("the visitor ended with wait status %#x", (unsigned)status);
        }
    }
}

/* Takes what was acknowledged into the model, and moves the open rest of the journal to its front. */
static void compact(struct model *model)
{
    uint64_t acknowledged = atomic_load(&lane->acknowledged), limit = atomic_load(&lane->limit);
    for (uint64_t at = 0; at < acknowledged; at++)
        apply(model, &lane->journal[at]);
    memmove(lane->journal, lane->journal + acknowledged, (limit - acknowledged) * sizeof(lane->journal[0]));
    atomic_store(&lane->limit, limit - acknowledged);
    atomic_store(&lane->acknowledged, 0);
}

static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (directory != NULL) {
        struct dirent *entry;
        while ((entry = readdir(directory)) != NULL)
            unlinkat(dirfd(directory), entry->d_name, 0);
        closedir(directory);
    }
    rmdir(path);
}

static void start_anew(struct model *model)
{
    remove_directory(log_path);
    *model = (struct model){.first = 1, .last = 0};
    atomic_store(&lane->limit, 0);
    atomic_store(&lane->acknowledged, 0);
    atomic_store(&lane->closed, false);
    atomic_fetch_add(&shared->counts.logs, 1);
}

static void count_kill(enum manner manner)
{
    struct counts *counts = &shared->counts;
    int died_at = atomic_load(&lane->died_at);
    atomic_fetch_add(&counts->kills, 1);
    if (!atomic_load(&lane->running) && atomic_load(&lane->sessions) == 0)
        atomic_fetch_add(&counts->before_open_ended, 1);
    if (died_at >= 0) {
        atomic_fetch_add(&counts->at_point, 1);
        atomic_fetch_add(&shared->points[died_at].kills, 1);
    } else {
        atomic_fetch_add(manner == AT_RANDOM || manner == AT_POINT ? &counts->at_random : &counts->after_open, 1);
    }
}

/* One life and death. */
static void one_kill(struct model *model, uint64_t *random, uint64_t life)
{
    enum manner manner = choose_manner(random);
    uint64_t seed = draw(random, UINT64_MAX);
    int status = 0;
    atomic_store(&lane->running, false);
    atomic_store(&lane->sessions, 0);
    atomic_store(&lane->armed, -1);
    atomic_store(&lane->died_at, -1);
    lane->stay_open = manner == VISITED;
    if (manner == AT_POINT)
        arm(random);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        child(model, seed, life);
    }
    let_it_live(pid, manner, random, model);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL || atomic_load(&lane->failed))
        fail("the child ended with wait status %#x",
             (unsigned)status); /* Keeps the child's own story, if it has told one. */
    count_kill(manner);
    compact(model);
}

__attribute__((noreturn)) static void run_lane(unsigned number)
{
    static struct model model;
    uint64_t random = mix(settings.seed * 1000 + number), life = number;
    lane = &shared->lanes[number];
    atomic_store(&lane->next_id, 1);
    snprintf(log_path, sizeof(log_path), "%s/kill_wal.%u", settings.directory, number);
    for (uint64_t kills = 0; atomic_load(&shared->counts.kills) < settings.kills && !atomic_load(&shared->stop);
         kills++) {
        if (kills % KILLS_PER_LOG == 0) {
            start_anew(&model);
            life += LANES_MAX;
        }
        one_kill(&model, &random, life);
    }
    if (!atomic_load(&shared->stop))
        remove_directory(log_path);
    _exit(0);
}

/* --- the whole ----------------------------------------------------------------------------------- */

static void stop_lanes(int signal_number)
{
    (void)signal_number;
    atomic_store(&shared->stop, true);
}

static void print_counts(double seconds)
{
    struct counts *counts = &shared->counts;
    printf("kill_wal: %" PRIu64 " kills in %.1f s (%.0f/s), %u lanes, seed %" PRIu64 ": %" PRIu64
           " at a named point, %" PRIu64 " after an open, %" PRIu64 " at random; %" PRIu64 " hit wal_open\n",
           counts->kills, seconds, (double)counts->kills / seconds, settings.lanes, settings.seed, counts->at_point,
           counts->after_open, counts->at_random, counts->before_open_ended);
    printf("  opened: %" PRIu64 " clean (%" PRIu64 " closed in order), %" PRIu64 " torn; %" PRIu64 " logs, %" PRIu64
           " orderly closes\n",
           counts->clean, counts->closed, counts->torn, counts->logs, counts->sessions);
    printf("  operations: %" PRIu64 " accepted, %" PRIu64 " acknowledged, %" PRIu64 " cut; records: %" PRIu64
           " compared, %" PRIu64 " read back; live: %" PRIu64 " second writers, %" PRIu64 " readers\n",
           counts->accepted, counts->acknowledged, counts->operations_cut, counts->records_verified, counts->read_back,
           counts->second_writers, counts->readers);
    printf("  points (kills of visits):");
    for (int i = 0; i < POINTS_MAX && shared->points[i].name != NULL; i++)
        printf(" %s %" PRIu64 "/%" PRIu64, shared->points[i].name, shared->points[i].kills, shared->points[i].hits);
    puts("");
}

/* Counts of an interrupted lane are harmless; only a failure of one makes the result 1. */
static int run_lanes(void)
{
    static const char *backends[] = {"mix", "auto", "posix", "uring"};
    pid_t pids[LANES_MAX];
    int result = 0;
    for (unsigned i = 0; i < settings.lanes; i++)
        if ((pids[i] = fork()) == 0)
            run_lane(i);
    for (unsigned i = 0; i < settings.lanes; i++) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        while (pid < 0 && errno == EINTR)
            pid = waitpid(-1, &status, 0);
        unsigned number = 0;
        while (number < settings.lanes && pids[number] != pid)
            number++;
        if (status == 0 || number == settings.lanes)
            continue;
        atomic_store(&shared->stop, true);
        result = 1;
        printf(
            "kill_wal: FAILED in lane %u, wait status %#x, after %" PRIu64 " kills: %s\n  log kept: %s/kill_wal.%u\n",
            number, (unsigned)status, shared->counts.kills, shared->lanes[number].failure, settings.directory, number);
    }
    if (result != 0)
        printf("  again: kill_wal --seed %" PRIu64 " --kills %" PRIu64
               " --lanes %u --threads %u --backend %s --dir %s\n",
               settings.seed, settings.kills, settings.lanes, settings.threads, backends[settings.backend + 1],
               settings.directory);
    return result;
}

static bool take_option(const char *name, const char *value)
{
    static const char *backends[] = {"mix", "auto", "posix", "uring"};
    if (strcmp(name, "--kills") == 0)
        return (settings.kills = strtoull(value, NULL, 0)) > 0;
    if (strcmp(name, "--seed") == 0)
        return settings.seed = strtoull(value, NULL, 0), true;
    if (strcmp(name, "--dir") == 0)
        return settings.directory = value, true;
    if (strcmp(name, "--threads") == 0)
        return (settings.threads = (unsigned)strtoul(value, NULL, 0)) <= THREADS_MAX;
    if (strcmp(name, "--lanes") == 0)
        return (settings.lanes = (unsigned)strtoul(value, NULL, 0)) - 1 < LANES_MAX;
    for (int i = 0; strcmp(name, "--backend") == 0 && i < 4; i++)
        if (strcmp(value, backends[i]) == 0)
            return settings.backend = i - 1, true;
    return false;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(argv[i], argv[i + 1])) {
            fprintf(stderr, "use: kill_wal [--kills N] [--seed S] [--dir D] [--backend auto|posix|uring|mix] "
                            "[--threads N] [--lanes N]\n");
            return 2;
        }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool made = mkdir(settings.directory, 0777) == 0;
    if (shared == MAP_FAILED || (!made && errno != EEXIST)) {
        fprintf(stderr, "kill_wal: %s: %s\n", settings.directory, strerror(errno));
        return 2;
    }
    signal(SIGINT, stop_lanes);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t started_ns = clock_ns();
    int result = run_lanes();
    print_counts((double)(clock_ns() - started_ns) / 1e9);
    if (made)
        rmdir(settings.directory); /* Stays when a log was kept in it. */
    return result;
}
