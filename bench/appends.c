/* appends.c - the log appending: closed loops of blocking threads or of one event loop, for a fixed time.
 *
 * Every case opens its log, waits until segments are ready, runs a moment unmeasured (the log tries its strategies
 * then), measures, and closes. The logs stay between rounds, so that after appends_prepare() all segments are
 * recycled ones, as in a log that has been in use for a while; the start is moved up behind the end all the time,
 * which is what recycles them.
 *
 * A latency runs from before the append call until its durability is known to the caller. In the event loop the clock
 * is read once for each burst of appends, at its begin: the later ones of a burst are charged a little too much,
 * never too little.
 *
 * Errors end the case and the program: a log that fails here is no log to measure. */

#define _GNU_SOURCE

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"

enum {
    RECORD_OVERHEAD_BYTES = 24,
    BLOCK_BYTES = 4096,
    OUTSTANDING_RING = 4096, /* Power of two, above any case's count twice over. */
    THREADS_MAX = 256,
    STALL_MS = 10000
};

static const uint64_t segment_bytes_default = UINT64_C(64) << 20;
static const double warm_seconds = 0.2;

/* --- the log of a case --------------------------------------------------------------------------- */

static struct wal_options options_of(const struct bench_case *self)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE;
    options.segment_bytes = self->segment_bytes != 0 ? self->segment_bytes : segment_bytes_default;
    options.strategy = self->strategy;
    options.backend = self->backend;
    options.segments_ready = options.segment_bytes > segment_bytes_default ? 2 : 8;
    options.segments_pool_max = 16;
    options.batches_in_flight_max = self->batches_in_flight; /* 0: the library's default, one. */
    if (options.segment_bytes < UINT64_C(4) << 20)
        options.batch_bytes_max = (uint32_t)(options.segment_bytes / 4);
    return options;
}

static int open_log(const struct bench_case *self, const struct wal_allocator *allocator, struct wal **log)
{
    char path[4096];
    struct wal_options options = options_of(self);
    struct wal_verdict verdict;
    options.allocator = allocator;
    snprintf(path, sizeof(path), "%s/log-%llu", settings.directory, (unsigned long long)options.segment_bytes);
    int result = wal_open(path, &options, log, &verdict);
    if (result != 0) {
        fprintf(stderr, "bench_commit: %s\n", verdict.text);
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

/* log may be NULL: it was not opened. What failed first is what is told. */
static int close_log(struct wal *log, int result)
{
    int closed = wal_close(log);
    return result != 0 || closed == 0 ? result : failed("wal_close", NULL, closed);
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
static int fill_records(const struct bench_case *self, struct wal_record **records_out, unsigned char **bytes_out)
{
    struct wal_record *records = calloc(self->records, sizeof(*records));
    unsigned char *bytes = malloc((size_t)self->records * self->record_bytes);
    if (records == NULL || bytes == NULL)
        return failed("memory for the records", NULL, -ENOMEM);
    for (size_t i = 0; i < (size_t)self->records * self->record_bytes; i++)
        bytes[i] = (unsigned char)(i * 131 + (i >> 8));
    for (unsigned i = 0; i < self->records; i++)
        records[i] = (struct wal_record){
            .data = bytes + (size_t)i * self->record_bytes, .size = self->record_bytes, .type = 1, .tag = i};
    *records_out = records;
    *bytes_out = bytes;
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

static void window_end(const struct window *window, const struct wal *log, const struct bench_case *self,
                       const struct histogram *histogram, struct sample *sample)
{
    double seconds = (double)(clock_ns() - window->start_ns) / 1e9;
    double cpu = (double)(cpu_ns() - window->start_cpu_ns);
    double records = (double)histogram->count * self->records;
    struct wal_stats end;
    wal_stats(log, &end);
    sample->operations_per_s = (double)histogram->count / seconds;
    sample->records_per_s = records / seconds;
    sample->bytes_per_s = records * self->record_bytes / seconds;
    sample->cpu_ns_per_record = cpu / records;
    sample->batches_per_record = (double)(end.batches - window->start.batches) / records;
    sample->write_amplification =
        (double)(end.batch_bytes - window->start.batch_bytes) / (records * self->record_bytes);
    sample_latency(sample, histogram);
}

/* --- blocking threads ---------------------------------------------------------------------------- */

enum phase { WARMING, MEASURING, STOPPING };

struct crowd {
    const struct bench_case *self;
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
    const struct wal_append append = {.records = crowd->records, .record_count = crowd->self->records};
    uint64_t append_bytes = (uint64_t)crowd->self->records * (crowd->self->record_bytes + RECORD_OVERHEAD_BYTES);
    struct retirer retirer = {.every_bytes = options_of(crowd->self).segment_bytes / 2};
    int phase;
    while ((phase = atomic_load_explicit(&crowd->phase, memory_order_relaxed)) != STOPPING) {
        struct wal_receipt receipt;
        uint64_t before_ns = clock_ns();
        int result = wal_commit(crowd->log, &append, NULL);
        if (phase == MEASURING)
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

static void sleep_seconds(double seconds)
{
    uint64_t end_ns = clock_ns() + (uint64_t)(seconds * 1e9);
    while (clock_ns() < end_ns && !interrupted()) {
        uint64_t left_ns = end_ns - clock_ns();
        struct timespec pause = {.tv_nsec = (long)(left_ns < 100000000 ? left_ns : 100000000)};
        nanosleep(&pause, NULL);
    }
}

static int run_crowd(struct crowd *crowd, struct worker *workers, struct sample *sample)
{
    struct window window;
    unsigned count = crowd->self->count, started = 0;
    struct histogram *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return failed("memory", NULL, -ENOMEM);
    for (; started < count; started++) {
        workers[started].crowd = crowd;
        workers[started].retires = started == 0;
        if (pthread_create(&workers[started].thread, NULL, commit_in_a_loop, &workers[started]) != 0)
            break;
    }
    sleep_seconds(warm_seconds);
    window_begin(&window, crowd->log);
    atomic_store(&crowd->phase, MEASURING);
    sleep_seconds(settings.seconds);
    atomic_store(&crowd->phase, STOPPING);
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < started; i++)
        histogram_merge(all, &workers[i].histogram);
    window_end(&window, crowd->log, crowd->self, all, sample);
    free(all);
    return started == count ? 0 : failed("pthread_create", NULL, -EAGAIN);
}

int append_threads(const struct bench_case *self, struct sample *sample)
{
    struct crowd crowd = {.self = self};
    unsigned char *bytes = NULL;
    struct worker *workers = calloc(self->count, sizeof(*workers));
    if (workers == NULL || self->count > THREADS_MAX)
        return failed("memory for the threads", NULL, -ENOMEM);
    int result = fill_records(self, &crowd.records, &bytes);
    if (result == 0 && (result = open_log(self, NULL, &crowd.log)) == 0) {
        result = run_crowd(&crowd, workers, sample);
        if (crowd.result != 0)
            result = failed("wal_commit", crowd.log, crowd.result);
        result = close_log(crowd.log, result);
    }
    free(workers);
    free(crowd.records);
    free(bytes);
    return result;
}

/* --- one event loop ------------------------------------------------------------------------------ */

struct loop {
    const struct bench_case *self;
    struct wal *log;
    struct wal_append append;
    struct pollfd event;
    struct retirer retirer;
    uint64_t appended_ticket, durable_ticket;
    uint64_t started_ns[OUTSTANDING_RING]; /* By ticket; 0: a truncation, or not to be measured. */
    struct histogram histogram;
};

/* Keeps `count` appends outstanding for a while; measured when `measured`. */
static int run_loop(struct loop *loop, double seconds, bool measured)
{
    uint64_t now = clock_ns(), end_ns = now + (uint64_t)(seconds * 1e9);
    uint64_t append_bytes = (uint64_t)loop->self->records * (loop->self->record_bytes + RECORD_OVERHEAD_BYTES);
    struct wal_receipt receipt;
    struct wal_progress progress;
    int result;
    while (now < end_ns && !interrupted()) {
        unsigned burst = 0;
        for (; loop->appended_ticket - loop->durable_ticket < loop->self->count; burst++) {
            result = wal_append(loop->log, &loop->append, &receipt);
            if (result == WAL_EAGAIN)
                break;
            if (result != 0)
                return failed("wal_append", loop->log, result);
            loop->appended_ticket = receipt.ticket;
            loop->started_ns[receipt.ticket % OUTSTANDING_RING] = measured ? now : 0;
        }
        if ((result = retire(&loop->retirer, loop->log, burst * append_bytes, &receipt)) != 0)
            return failed("wal_truncate_prefix", loop->log, result);
        if (receipt.ticket != 0) {
            loop->appended_ticket = receipt.ticket;
            loop->started_ns[receipt.ticket % OUTSTANDING_RING] = 0;
        }
        if ((result = wal_submit(loop->log)) != 0)
            return failed("wal_submit", loop->log, result);
        if (poll(&loop->event, 1, STALL_MS) == 0)
            return failed("no completion for ten seconds", loop->log, -ETIMEDOUT);
        if ((result = wal_dispatch(loop->log, &progress)) != 0)
            return failed("wal_dispatch", loop->log, result);
        now = clock_ns();
        for (; loop->durable_ticket < progress.durable_ticket; loop->durable_ticket++) {
            uint64_t started_ns = loop->started_ns[(loop->durable_ticket + 1) % OUTSTANDING_RING];
            if (started_ns != 0)
                histogram_add(&loop->histogram, now - started_ns, 1);
        }
    }
    return 0;
}

static int loop_open(const struct bench_case *self, const struct wal_allocator *allocator, struct loop *loop)
{
    struct wal_stats stats;
    int result = open_log(self, allocator, &loop->log);
    if (result != 0)
        return result;
    wal_stats(loop->log, &stats);
    loop->self = self;
    loop->append.record_count = self->records;
    loop->append.flags = WAL_APPEND_NO_WAIT;
    loop->appended_ticket = loop->durable_ticket = stats.durable_ticket;
    loop->retirer.every_bytes = options_of(self).segment_bytes / 2;
    loop->event = (struct pollfd){.fd = wal_event_fd(loop->log), .events = POLLIN};
    return loop->event.fd >= 0 ? 0 : failed("wal_event_fd", loop->log, loop->event.fd);
}

int append_loop(const struct bench_case *self, struct sample *sample)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    struct window window;
    if (loop == NULL)
        return failed("memory", NULL, -ENOMEM);
    int result = fill_records(self, &records, &bytes);
    if (result == 0 && (result = loop_open(self, NULL, loop)) == 0) {
        loop->append.records = records;
        result = run_loop(loop, warm_seconds, false);
        if (result == 0) {
            window_begin(&window, loop->log);
            result = run_loop(loop, settings.seconds, true);
            window_end(&window, loop->log, self, &loop->histogram, sample);
        }
    }
    result = close_log(loop->log, result);
    free(loop);
    free(records);
    free(bytes);
    return result;
}

/* --- rolls --------------------------------------------------------------------------------------- */

/* The commits that roll are found by asking for the stats behind each one, apart from the measured window: asking
 * costs time. */
static int find_rolls(const struct bench_case *self, struct wal *log, const struct wal_append *append,
                      struct sample *sample)
{
    struct histogram *rolling = calloc(1, sizeof(*rolling));
    struct retirer retirer = {.every_bytes = self->segment_bytes / 2};
    struct wal_stats stats;
    struct wal_receipt receipt;
    int result = rolling == NULL ? -ENOMEM : 0;
    wal_stats(log, &stats);
    uint64_t rolls = stats.rolls, end_ns = clock_ns() + (uint64_t)(settings.seconds * 0.5e9);
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
    if (result == 0) {
        sample->roll_count = rolling->count;
        sample->roll_p50_ns = histogram_quantile(rolling, 0.5);
        sample->roll_max_ns = rolling->max_ns;
    }
    free(rolling);
    return result == 0 ? 0 : failed("a commit that rolls", log, result);
}

int append_roll(const struct bench_case *self, struct sample *sample)
{
    struct wal *log = NULL;
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    int result = append_threads(self, sample);
    if (result == 0)
        result = fill_records(self, &records, &bytes);
    if (result == 0 && (result = open_log(self, NULL, &log)) == 0) {
        struct wal_append append = {.records = records, .record_count = self->records};
        result = find_rolls(self, log, &append, sample);
        result = close_log(log, result);
    }
    free(records);
    free(bytes);
    return result;
}

/* --- before and after the rounds ----------------------------------------------------------------- */

/* Streams through the log until files have come round, so that no case meets one that is being zeroed. */
int appends_prepare(const struct bench_case *self)
{
    struct bench_case stream = *self;
    uint64_t segment_bytes = options_of(self).segment_bytes;
    struct wal *log = NULL;
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    stream.records = 1;
    stream.record_bytes = (uint32_t)(segment_bytes < UINT64_C(8) << 20 ? segment_bytes / 8 : 1 << 20);
    int result = fill_records(&stream, &records, &bytes);
    if (result == 0)
        result = open_log(&stream, NULL, &log);
    struct wal_append append = {.records = records, .record_count = 1};
    struct retirer retirer = {.every_bytes = segment_bytes / 2};
    /* A large segment is written ahead by the library; going round would take long, and its cases do not roll. */
    uint64_t turns = segment_bytes > segment_bytes_default ? 1 : 12;
    for (uint64_t done = 0; result == 0 && done < turns * segment_bytes && !interrupted();
         done += stream.record_bytes) {
        struct wal_receipt receipt;
        if ((result = wal_commit(log, &append, NULL)) == 0)
            result = retire(&retirer, log, stream.record_bytes, &receipt);
        if (result != 0)
            failed("preparing the log", log, result);
    }
    result = close_log(log, result);
    free(records);
    free(bytes);
    return result;
}

static void *count_allocate(void *context, size_t bytes, size_t alignment)
{
    void *memory = NULL;
    atomic_fetch_add((_Atomic uint64_t *)context, 1);
    return posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) == 0 ? memory : NULL;
}

static void count_release(void *context, void *memory, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(memory);
}

static int64_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return (int64_t)(info.uordblks + info.hblkhd);
}

int appends_count_allocations(uint64_t *calls_out, int64_t *heap_bytes_out, uint64_t *records_out)
{
    static _Atomic uint64_t calls;
    static const struct wal_allocator allocator = {
        .allocate = count_allocate, .release = count_release, .context = (void *)&calls};
    const struct bench_case self = {.count = 1024, .records = 1, .record_bytes = 128};
    struct loop *loop = calloc(1, sizeof(*loop));
    struct wal_record *records = NULL;
    unsigned char *bytes = NULL;
    int result = loop == NULL ? -ENOMEM : fill_records(&self, &records, &bytes);
    if (result == 0 && (result = loop_open(&self, &allocator, loop)) == 0) {
        loop->append.records = records;
        result = run_loop(loop, 1, false);
        uint64_t calls_before = atomic_load(&calls);
        int64_t heap_before = heap_bytes();
        if (result == 0)
            result = run_loop(loop, 0.5, true);
        *heap_bytes_out = heap_bytes() - heap_before;
        *calls_out = atomic_load(&calls) - calls_before;
        *records_out = loop->histogram.count;
    }
    if (loop != NULL)
        result = close_log(loop->log, result);
    free(loop);
    free(records);
    free(bytes);
    return result;
}
