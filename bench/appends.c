/* appends.c - the cases that append: each is a load of the engine, and its outcome becomes a sample.
 *
 * The logs stay between rounds, one for each size of segment, so that after appends_prepare() all segments are recycled
 * ones.
 *
 * What can fail: the engine, which has said what; the program ends. */

#define _GNU_SOURCE

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/engine.h"

enum { PATH_BYTES = 4096 };

static struct load load_of(const struct bench_case *self, char path[PATH_BYTES])
{
    struct load load = {.directory = path,
                        .strategy = self->strategy,
                        .backend = self->backend,
                        .segment_bytes = self->segment_bytes,
                        .batches_in_flight = self->batches_in_flight,
                        .threads = self->run == append_loop ? 0 : self->count,
                        .outstanding = self->run == append_loop ? self->count : 0,
                        .records = self->records,
                        .record_bytes = self->record_bytes,
                        .seconds = settings.seconds,
                        .warm_seconds = 0.2};
    snprintf(path, PATH_BYTES, "%s/log-%llu", settings.directory, (unsigned long long)self->segment_bytes);
    return load;
}

static int append(const struct bench_case *self, struct sample *sample)
{
    char path[PATH_BYTES];
    struct load load = load_of(self, path);
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    int result = outcome == NULL ? failed("memory", NULL, -ENOMEM) : engine_run(&load, outcome);
    if (result == 0 && outcome->records != 0) {
        double seconds = (double)outcome->elapsed_ns / 1e9;
        double records = (double)outcome->records;
        sample->operations_per_s = (double)outcome->operations / seconds;
        sample->records_per_s = records / seconds;
        sample->bytes_per_s = (double)outcome->payload_bytes / seconds;
        sample->cpu_ns_per_record = (double)outcome->cpu_ns / records;
        sample->batches_per_record = (double)outcome->batches / records;
        sample->write_amplification = (double)outcome->batch_bytes / (double)outcome->payload_bytes;
        sample_latency(sample, &outcome->latency);
    }
    free(outcome);
    return result;
}

int append_threads(const struct bench_case *self, struct sample *sample)
{
    return append(self, sample);
}

int append_loop(const struct bench_case *self, struct sample *sample)
{
    return append(self, sample);
}

int append_roll(const struct bench_case *self, struct sample *sample)
{
    char path[PATH_BYTES];
    struct load load = load_of(self, path);
    struct histogram rolling = {.count = 0};
    int result = append(self, sample);
    load.seconds /= 2;
    if (result == 0 && (result = engine_find_rolls(&load, &rolling)) == 0) {
        sample->roll_count = rolling.count;
        sample->roll_p50_ns = histogram_quantile(&rolling, 0.5);
        sample->roll_max_ns = rolling.max_ns;
    }
    return result;
}

int appends_prepare(const struct bench_case *self)
{
    char path[PATH_BYTES];
    struct load load = load_of(self, path);
    return engine_prepare(&load);
}

/* --- memory asked for ---------------------------------------------------------------------------- */

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

/* By a longer and by a shorter run; what both ask for belongs to opening and closing. */
int appends_count_allocations(uint64_t *calls_out, int64_t *heap_bytes_out, uint64_t *records_out)
{
    static _Atomic uint64_t calls;
    static const struct wal_allocator allocator = {
        .allocate = count_allocate, .release = count_release, .context = (void *)&calls};
    const struct bench_case self = {.run = append_loop, .count = 1024, .records = 1, .record_bytes = 128};
    char path[PATH_BYTES];
    struct load load = load_of(&self, path);
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    uint64_t calls_of[2] = {0}, records_of[2] = {0};
    int64_t heap_of[2] = {0};
    int result = outcome == NULL ? -ENOMEM : 0;
    load.allocator = &allocator;
    for (unsigned run = 0; run < 2 && result == 0; run++) {
        uint64_t calls_before = atomic_load(&calls);
        int64_t heap_before = heap_bytes();
        load.seconds = run == 0 ? 0.1 : 0.6;
        result = engine_run(&load, outcome);
        calls_of[run] = atomic_load(&calls) - calls_before;
        heap_of[run] = heap_bytes() - heap_before;
        records_of[run] = outcome->records;
    }
    *calls_out = calls_of[1] > calls_of[0] ? calls_of[1] - calls_of[0] : 0;
    *heap_bytes_out = heap_of[1] - heap_of[0];
    *records_out = records_of[1] - records_of[0];
    free(outcome);
    return result;
}
