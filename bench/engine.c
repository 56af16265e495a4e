/* engine.c - the log under load: closed loops of blocking threads or of one event loop, or appends due at a fixed rate.
 *
 * The happy path: open the log, wait until segments are ready, run a moment unmeasured (the log tries its strategies
 * then), measure, close.
 *
 * A latency runs from before the append call until its durability is known to the caller; with a rate, from when the
 * append was due, so that waiting behind a stall is charged to everyone who waited. In the closed event loop the clock
 * is read once for each burst of appends, at its begin: the later ones of a burst are charged a little too much, never
 * too little.
 *
 * What can fail: memory, the log. That is said on stderr and ends the load: a log that fails here is none to measure.
 *
 * Invariants: an operation counts only when its durability is known. */

#define _GNU_SOURCE
#include "bench/engine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/common.h"

enum { RECORD_OVERHEAD_BYTES = 24, BLOCK_BYTES = 4096, STALL_MS = 10000 };

static const uint64_t segment_bytes_default = UINT64_C(64) << 20;

uint64_t engine_append_bytes(unsigned records, uint32_t record_bytes)
{
    return records * (((uint64_t)record_bytes + RECORD_OVERHEAD_BYTES + 7) / 8 * 8);
}

/* --- the log under a load ------------------------------------------------------------------------- */

static struct wal_options options_of(const struct load *load)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE;
    options.segment_bytes = load->segment_bytes != 0 ? load->segment_bytes : segment_bytes_default;
    options.strategy = load->strategy;
    options.backend = load->backend;
    options.allocator = load->allocator;
    options.segments_ready = options.segment_bytes > segment_bytes_default ? 2 : 8;
    options.segments_pool_max = 16;
    options.batches_in_flight_max = load->batches_in_flight;
    if (options.segment_bytes < UINT64_C(4) << 20)
        options.batch_bytes_max = (uint32_t)(options.segment_bytes / 4);
    return options;
}

static int open_log(const struct load *load, struct wal **log)
{
    struct wal_options options = options_of(load);
    struct wal_verdict verdict;
    int result = load->io != NULL ? wal_open_io(load->io, &options, log, &verdict)
                                  : wal_open(load->directory, &options, log, &verdict);
    if (result != 0) {
        say_on_stderr("%s", verdict.text);
        *log = NULL;
        return failed("wal_open", NULL, result);
    }
    struct wal_stats stats;
    for (int turn = 0; turn < 6000 && !interrupted(); turn++) {
        wal_stats(*log, &stats);
        if (stats.segments_ready >= options.segments_ready)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return 0;
}

/* Moves the start up behind every half segment, so that segments come back. Not waited for: it rides with what
 * follows. */
struct retirer {
    uint64_t bytes;
    uint64_t every_bytes;
};

static int retire(struct retirer *retirer, struct wal *log, uint64_t batch_bytes, struct wal_receipt *receipt)
{
    receipt->ticket = 0;
    retirer->bytes += batch_bytes < BLOCK_BYTES ? BLOCK_BYTES : batch_bytes;
    if (retirer->bytes < retirer->every_bytes)
        return 0;
    retirer->bytes = 0;
    uint64_t first = wal_first_index(log), durable = wal_durable_index(log);
    return durable <= first ? 0 : wal_truncate_prefix(log, durable, receipt);
}

/* Payload that all appends share: the log copies it. */
static int fill_records(const struct load *load, struct wal_record **records_out, unsigned char **bytes_out)
{
    struct wal_record *records = calloc(load->records, sizeof(*records));
    unsigned char *bytes = malloc((size_t)load->records * load->record_bytes);
    *records_out = records;
    *bytes_out = bytes;
    if (records == NULL || bytes == NULL)
        return failed("memory for the records", NULL, -ENOMEM);
    for (size_t i = 0; i < (size_t)load->records * load->record_bytes; i++)
        bytes[i] = (unsigned char)(i * 131 + (i >> 8));
    for (unsigned i = 0; i < load->records; i++)
        records[i] = (struct wal_record){
            .data = bytes + (size_t)i * load->record_bytes, .size = load->record_bytes, .type = 1, .tag = i};
    return 0;
}

struct window {
    uint64_t start_ns, start_cpu_ns;
    struct wal_stats start;
};

static void window_begin(struct window *window, const struct wal *log)
{
    wal_stats(log, &window->start);
    window->start_cpu_ns = cpu_ns();
    window->start_ns = clock_ns();
}

/* outcome->latency is there already. */
static void window_end(const struct window *window, const struct wal *log, const struct load *load,
                       struct outcome *outcome)
{
    struct wal_stats end;
    outcome->elapsed_ns = clock_ns() - window->start_ns;
    outcome->cpu_ns = cpu_ns() - window->start_cpu_ns;
    wal_stats(log, &end);
    outcome->operations = outcome->latency.count;
    outcome->records = outcome->operations * load->records;
    outcome->payload_bytes = outcome->records * load->record_bytes;
    outcome->batches = end.batches - window->start.batches;
    outcome->batch_bytes = end.batch_bytes - window->start.batch_bytes;
    outcome->queue = end.queue;
    outcome->write = end.write;
    outcome->sync = end.sync;
    outcome->acknowledge = end.acknowledge;
    outcome->strategy = end.strategy;
    outcome->direct = end.direct;
    memcpy(outcome->backend, end.backend, sizeof(outcome->backend));
}

/* --- blocking threads ---------------------------------------------------------------------------- */

enum phase { WARMING, MEASURING, STOPPING };

struct crowd {
    const struct load *load;
    struct wal *log;
    struct wal_record *records;
    _Atomic int phase;
    _Atomic int result;
};

struct worker {
    struct crowd *crowd;
    pthread_t thread;
    bool retires; /* One of them does. */
    struct histogram histogram;
};

static void *commit_in_a_loop(void *argument)
{
    struct worker *worker = argument;
    struct crowd *crowd = worker->crowd;
    const struct wal_append append = {.records = crowd->records, .record_count = crowd->load->records};
    uint64_t append_bytes = (uint64_t)crowd->load->records * (crowd->load->record_bytes + RECORD_OVERHEAD_BYTES);
    struct retirer retirer = {.every_bytes = options_of(crowd->load).segment_bytes / 2};
    int phase;
    while ((phase = atomic_load_explicit(&crowd->phase, memory_order_relaxed)) != STOPPING) {
        struct wal_receipt receipt;
        uint64_t before_ns = clock_ns();
        int result = wal_commit(crowd->log, &append, NULL);
        if (result == 0 && phase == MEASURING)
            histogram_add(&worker->histogram, clock_ns() - before_ns, 1);
        if (result == 0 && worker->retires)
            result = retire(&retirer, crowd->log, append_bytes, &receipt);
        if (result != 0) {
            atomic_store(&crowd->result, result);
            return NULL;
        }
    }
    return NULL;
}

static int run_crowd(struct crowd *crowd, struct worker *workers, struct outcome *outcome)
{
    struct window window;
    unsigned count = crowd->load->threads, started = 0;
    for (; started < count; started++) {
        workers[started].crowd = crowd;
        workers[started].retires = started == 0;
        if (pthread_create(&workers[started].thread, NULL, commit_in_a_loop, &workers[started]) != 0)
            break;
    }
    if (started == count)
        sleep_seconds(crowd->load->warm_seconds);
    window_begin(&window, crowd->log);
    atomic_store(&crowd->phase, MEASURING);
    if (started == count)
        sleep_seconds(crowd->load->seconds);
    atomic_store(&crowd->phase, STOPPING);
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < started; i++)
        histogram_merge(&outcome->latency, &workers[i].histogram);
    window_end(&window, crowd->log, crowd->load, outcome);
    if (started != count)
        return failed("pthread_create", NULL, -EAGAIN);
    return crowd->result == 0 ? 0 : failed("wal_commit", crowd->log, crowd->result);
}

static int run_threads(const struct load *load, struct outcome *outcome)
{
    struct crowd crowd = {.load = load};
    unsigned char *bytes = NULL;
    struct worker *workers = load->threads > ENGINE_THREADS_MAX ? NULL : calloc(load->threads, sizeof(*workers));
    if (workers == NULL)
        return failed("memory for the threads", NULL, -ENOMEM);
    int result = fill_records(load, &crowd.records, &bytes);
    if (result == 0 && (result = open_log(load, &crowd.log)) == 0)
        result = close_log(crowd.log, run_crowd(&crowd, workers, outcome));
    free(workers);
    free(crowd.records);
    free(bytes);
    return result;
}

/* --- one event loop ------------------------------------------------------------------------------ */

struct loop {
    const struct load *load;
    struct wal *log;
    struct wal_append append;
    struct pollfd event;
    struct retirer retirer;
    uint64_t append_bytes;
    uint64_t appended_ticket, durable_ticket;
    uint64_t now_ns, first_due_ns, due; /* With a rate: append number `due` is due next. */
    uint64_t progress_ns;               /* When something last became durable. */
    bool measured;
    struct histogram *histogram;
    uint64_t outstanding_max;
    uint64_t *started_ns; /* By ticket, a ring; 0: a truncation, or not to be measured. */
    uint64_t ring_mask;   /* The ring is as small as may be: it stays in the cache. */
};

static uint64_t due_ns(const struct loop *loop)
{
    return loop->first_due_ns + (uint64_t)((double)loop->due * 1e9 / loop->load->rate_per_s);
}

/* Appends what may be outstanding, or what is due. */
static int append_burst(struct loop *loop)
{
    struct wal_receipt receipt;
    unsigned burst = 0;
    bool open = loop->load->rate_per_s > 0;
    for (; loop->appended_ticket - loop->durable_ticket < loop->outstanding_max; burst++) {
        uint64_t start_ns = open ? due_ns(loop) : loop->now_ns;
        if (start_ns > loop->now_ns)
            break;
        int result = wal_append(loop->log, &loop->append, &receipt);
        if (result == WAL_EAGAIN)
            break;
        if (result != 0)
            return failed("wal_append", loop->log, result);
        loop->due++;
        loop->appended_ticket = receipt.ticket;
        loop->started_ns[receipt.ticket & loop->ring_mask] = loop->measured ? start_ns : 0;
    }
    int result = retire(&loop->retirer, loop->log, burst * loop->append_bytes, &receipt);
    if (result != 0)
        return failed("wal_truncate_prefix", loop->log, result);
    if (receipt.ticket != 0) {
        loop->appended_ticket = receipt.ticket;
        loop->started_ns[receipt.ticket & loop->ring_mask] = 0;
    }
    return 0;
}

/* Until something is durable, or the next append is due. */
static int wait_for_event(struct loop *loop)
{
    struct timespec pause = {.tv_sec = STALL_MS / 1000};
    if (loop->load->rate_per_s > 0) {
        uint64_t now = clock_ns(), due = due_ns(loop), left = due > now ? due - now : 0;
        bool full = loop->appended_ticket - loop->durable_ticket >= loop->outstanding_max;
        if (!full && left < (uint64_t)STALL_MS * 1000000)
            pause = (struct timespec){.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
    }
    (void)ppoll(&loop->event, 1, &pause, NULL);
    loop->now_ns = clock_ns();
    if (loop->appended_ticket == loop->durable_ticket)
        loop->progress_ns = loop->now_ns;
    return loop->now_ns - loop->progress_ns < (uint64_t)STALL_MS * 1000000
               ? 0
               : failed("no completion for ten seconds", loop->log, -ETIMEDOUT);
}

static int take_completions(struct loop *loop)
{
    struct wal_progress progress;
    int result = wal_dispatch(loop->log, &progress);
    if (result != 0)
        return failed("wal_dispatch", loop->log, result);
    loop->now_ns = clock_ns();
    for (; loop->durable_ticket < progress.durable_ticket; loop->durable_ticket++) {
        uint64_t started_ns = loop->started_ns[(loop->durable_ticket + 1) & loop->ring_mask];
        if (started_ns != 0)
            histogram_add(loop->histogram, loop->now_ns - started_ns, 1);
        loop->progress_ns = loop->now_ns;
    }
    return 0;
}

static int run_loop(struct loop *loop, double seconds, bool measured)
{
    loop->now_ns = loop->progress_ns = loop->first_due_ns = clock_ns();
    loop->due = 0;
    loop->measured = measured;
    uint64_t end_ns = loop->now_ns + (uint64_t)(seconds * 1e9);
    while (loop->now_ns < end_ns && !interrupted()) {
        int result = append_burst(loop);
        if (result != 0)
            return result;
        if ((result = wal_submit(loop->log)) != 0)
            return failed("wal_submit", loop->log, result);
        if ((result = wait_for_event(loop)) != 0 || (result = take_completions(loop)) != 0)
            return result;
    }
    return 0;
}

static int loop_open(const struct load *load, struct loop *loop)
{
    struct wal_stats stats;
    int result = open_log(load, &loop->log);
    if (result != 0)
        return result;
    wal_stats(loop->log, &stats);
    loop->load = load;
    loop->outstanding_max = load->rate_per_s > 0 ? ENGINE_OUTSTANDING_MAX : load->outstanding;
    for (loop->ring_mask = 63; loop->ring_mask < 2 * loop->outstanding_max;) /* Truncations take tickets as well. */
        loop->ring_mask = 2 * loop->ring_mask + 1;
    loop->started_ns = calloc(loop->ring_mask + 1, sizeof(*loop->started_ns));
    if (loop->started_ns == NULL)
        return failed("memory for the event loop", NULL, -ENOMEM);
    loop->append.record_count = load->records;
    loop->append.flags = WAL_APPEND_NO_WAIT;
    loop->append_bytes = (uint64_t)load->records * (load->record_bytes + RECORD_OVERHEAD_BYTES);
    loop->appended_ticket = loop->durable_ticket = stats.durable_ticket;
    loop->retirer.every_bytes = options_of(load).segment_bytes / 2;
    loop->event = (struct pollfd){.fd = wal_event_fd(loop->log), .events = POLLIN};
    return loop->event.fd >= 0 ? 0 : failed("wal_event_fd", loop->log, loop->event.fd);
}

static int run_event_loop(const struct load *load, struct outcome *outcome)
{
    struct loop *loop = load->outstanding > ENGINE_OUTSTANDING_MAX ? NULL : calloc(1, sizeof(*loop));
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    struct window window;
    if (loop == NULL)
        return failed("memory for the event loop", NULL, -ENOMEM);
    int result = fill_records(load, &records, &bytes);
    loop->histogram = &outcome->latency;
    if (result == 0 && (result = loop_open(load, loop)) == 0) {
        loop->append.records = records;
        result = run_loop(loop, load->warm_seconds, false);
        if (result == 0) {
            window_begin(&window, loop->log);
            result = run_loop(loop, load->seconds, true);
            window_end(&window, loop->log, load, outcome);
            uint64_t due = (uint64_t)((double)outcome->elapsed_ns / 1e9 * load->rate_per_s);
            outcome->unfinished = due > outcome->operations ? due - outcome->operations : 0;
        }
    }
    result = close_log(loop->log, result);
    free(loop->started_ns);
    free(loop);
    free(records);
    free(bytes);
    return result;
}

int engine_run(const struct load *load, struct outcome *outcome)
{
    *outcome = (struct outcome){.elapsed_ns = 0};
    return load->threads != 0 ? run_threads(load, outcome) : run_event_loop(load, outcome);
}

/* --- rolls --------------------------------------------------------------------------------------- */

/* Found by asking for the stats behind each commit, which costs time: not for measuring anything else. */
static int find_rolls(const struct load *load, struct wal *log, const struct wal_append *append,
                      struct histogram *rolling)
{
    struct retirer retirer = {.every_bytes = options_of(load).segment_bytes / 2};
    struct wal_stats stats;
    struct wal_receipt receipt;
    int result = 0;
    wal_stats(log, &stats);
    uint64_t rolls = stats.rolls, end_ns = clock_ns() + (uint64_t)(load->seconds * 1e9);
    while (result == 0 && clock_ns() < end_ns && !interrupted()) {
        uint64_t before_ns = clock_ns();
        result = wal_commit(log, append, NULL);
        uint64_t took_ns = clock_ns() - before_ns;
        wal_stats(log, &stats);
        if (stats.rolls != rolls)
            histogram_add(rolling, took_ns, 1);
        rolls = stats.rolls;
        if (result == 0)
            result = retire(&retirer, log, BLOCK_BYTES, &receipt);
    }
    return result == 0 ? 0 : failed("a commit that rolls", log, result);
}

int engine_find_rolls(const struct load *load, struct histogram *rolling)
{
    struct wal *log = NULL;
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    int result = fill_records(load, &records, &bytes);
    if (result == 0 && (result = open_log(load, &log)) == 0) {
        struct wal_append append = {.records = records, .record_count = load->records};
        result = close_log(log, find_rolls(load, log, &append, rolling));
    }
    free(records);
    free(bytes);
    return result;
}

/* --- before the rounds --------------------------------------------------------------------------- */

static int stream_round(const struct load *load, struct wal *log, const struct wal_append *append)
{
    uint64_t segment_bytes = options_of(load).segment_bytes;
    struct retirer retirer = {.every_bytes = segment_bytes / 2};
    /* A large segment is written ahead by the library; going round would take long, and its loads do not roll. */
    uint64_t turns = segment_bytes > segment_bytes_default ? 1 : 12;
    int result = 0;
    for (uint64_t done = 0; result == 0 && done < turns * segment_bytes && !interrupted(); done += load->record_bytes) {
        struct wal_receipt receipt;
        if ((result = wal_commit(log, append, NULL)) == 0)
            result = retire(&retirer, log, load->record_bytes, &receipt);
    }
    return result == 0 ? 0 : failed("preparing the log", log, result);
}

int engine_prepare(const struct load *load)
{
    struct load stream = *load;
    uint64_t segment_bytes = options_of(load).segment_bytes;
    struct wal *log = NULL;
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    stream.records = 1;
    stream.record_bytes = (uint32_t)(segment_bytes < UINT64_C(8) << 20 ? segment_bytes / 8 : 1 << 20);
    int result = fill_records(&stream, &records, &bytes);
    if (result == 0 && (result = open_log(&stream, &log)) == 0) {
        struct wal_append append = {.records = records, .record_count = 1};
        result = close_log(log, stream_round(&stream, log, &append));
    }
    free(records);
    free(bytes);
    return result;
}
