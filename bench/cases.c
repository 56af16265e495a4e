/* cases.c - the table of cases and the floors that they are held to.
 *
 * A case that writes through the log is repeated for every strategy and backend asked for; the first of them carries
 * the plain name and is the one that the floors speak of. The sizes of fio's writes are those that the log writes: 4
 * KiB for one record of 128 bytes, and for a batch of 1,000 its 1,000 x 152 bytes with the header, rounded up to
 * blocks: 152 KiB. */

#include <string.h>

#include "bench/bench.h"

struct bench_case cases[CASES_MAX];
unsigned case_count;

#define FIO(case_name, text, is_quick, job)                                                    \
    {                                                                                          \
        .name = case_name, .words = text, .run = limit_fio, .argument = job, .quick = is_quick \
    }
#define LOG(case_name, text, is_quick, runner, how_many, per_append, bytes)                        \
    {                                                                                              \
        .name = case_name, .words = text, .run = runner, .count = how_many, .records = per_append, \
        .record_bytes = bytes, .quick = is_quick                                                   \
    }

static const struct bench_case plain_cases[] = {
    FIO("F1", "fio psync dsync 4 KiB, one at a time", true, "--ioengine=psync --rw=write --sync=dsync --bs=4k"),
    FIO("fio-152k", "fio psync dsync 152 KiB, one at a time", true,
        "--ioengine=psync --rw=write --sync=dsync --bs=152k"),
    FIO("fio-1m", "fio psync dsync 1 MiB, one at a time", false, "--ioengine=psync --rw=write --sync=dsync --bs=1m"),
    FIO("fio-raw", "fio io_uring 256 KiB, 8 at once, not durable", false,
        "--ioengine=io_uring --rw=write --iodepth=8 --bs=256k"),
    FIO("fio-read", "fio io_uring read 1 MiB, 8 at once", false, "--ioengine=io_uring --rw=read --iodepth=8 --bs=1m"),
    {.name = "read",
     .words = "io_uring read 1 MiB into huge pages, 4 at once, not looked at",
     .run = limit_read,
     .record_bytes = 1 << 20},
    {.name = "raw",
     .words = "plain pwrite and fdatasync, 4 KiB",
     .run = limit_raw,
     .record_bytes = 4096,
     .quick = true},
    LOG("threads-1", "1 blocking thread", true, append_threads, 1, 1, 128),
    LOG("threads-4", "4 blocking threads", true, append_threads, 4, 1, 128),
    LOG("threads-16", "16 blocking threads", true, append_threads, 16, 1, 128),
    LOG("threads-64", "64 blocking threads", true, append_threads, 64, 1, 128),
    LOG("loop-1", "event loop, 1 outstanding", false, append_loop, 1, 1, 128),
    LOG("loop-64", "event loop, 64 outstanding", true, append_loop, 64, 1, 128),
    LOG("loop-1024", "event loop, 1,024 outstanding", true, append_loop, 1024, 1, 128),
    LOG("loop-64x16", "event loop, 1,024 outstanding, 16 an append call", false, append_loop, 64, 16, 128),
    LOG("batch-1000", "1 thread, batches of 1,000", true, append_threads, 1, 1000, 128),
    LOG("stream-2", "event loop, 2 x 1 MiB outstanding", false, append_loop, 2, 1, 1 << 20),
    {.name = "stream-4",
     .words = "event loop, 4 x 1 MiB outstanding, 2 batches at the disk",
     .run = append_loop,
     .count = 4,
     .records = 1,
     .record_bytes = 1 << 20,
     .batches_in_flight = 2},
    LOG("stream-1", "1 blocking thread, 1 MiB", false, append_threads, 1, 1, 1 << 20),
    {.name = "roll",
     .words = "4 KiB commits, segments of 1 MiB recycled",
     .run = append_roll,
     .count = 1,
     .records = 1,
     .record_bytes = 3840,
     .segment_bytes = UINT64_C(1) << 20},
    {.name = "no-roll",
     .words = "4 KiB commits, one segment",
     .run = append_threads,
     .count = 1,
     .records = 1,
     .record_bytes = 3840,
     .segment_bytes = UINT64_C(256) << 20},
    {.name = "recover-closed", .words = "open, closed in order", .run = recover_closed},
    {.name = "recover-crashed", .words = "open after a kill, newest segment 3/4 full", .run = recover_crashed},
    {.name = "recover-cold", .words = "verify every record, cold", .run = recover_cold},
    {.name = "recover-warm", .words = "verify every record, from the page cache", .run = recover_warm},
    {.name = "waldump-deep", .words = "waldump verify --deep, started and all", .run = recover_waldump},
    {.name = "waldump-cached",
     .words = "waldump verify --deep --cached, started and all",
     .run = recover_waldump_cached},
};

const struct floor_line floor_lines[] = {
    {"threads-1", "1 thread, rate", RATE, "F1", 0.92, false},
    {"threads-1", "1 thread, p50", P50, "F1", 1.1, true},
    {"threads-1", "1 thread, p99", P99, "F1", 1.2, true},
    {"threads-4", "4 threads, rate", RATE, "F1", 2.4, false},
    {"threads-16", "16 threads, rate", RATE, "F1", 8.5, false},
    {"threads-64", "64 threads, rate", RATE, "F1", 19, false},
    {"threads-64", "64 threads, p99", P99, NULL, 1e6, true},
    {"loop-64", "event loop, 64 outstanding, rate", RATE, "F1", 50, false},
    {"loop-1024", "event loop, 1,024 outstanding, rate", RATE, "F1", 450, false},
    {"loop-1024", "CPU for a record at 1,024 outstanding", CPU_PER_RECORD, NULL, 60, true},
    {"loop-64x16", "the same, 16 an append call", CPU_PER_RECORD, NULL, 60, true},
    {"batch-1000", "batches of 1,000 against writes of the same size", OPERATION_RATE, "fio-152k", 1.0, false},
    {"stream-2", "stream of 1 MiB, 2 outstanding, against durable 1 MiB", BYTES_RATE, "fio-1m", 1.2, false},
    {"stream-2", "stream of 1 MiB, 2 outstanding, against raw", BYTES_RATE, "fio-raw", 0.75, false},
    {"stream-4", "stream of 1 MiB, 4 outstanding, 2 at the disk, against durable 1 MiB", BYTES_RATE, "fio-1m", 1.2,
     false},
    {"stream-4", "stream of 1 MiB, 4 outstanding, 2 at the disk, against raw", BYTES_RATE, "fio-raw", 0.75, false},
    {"stream-1", "stream of 1 MiB, blocking, against durable 1 MiB", BYTES_RATE, "fio-1m", 1.2, false},
    {"roll", "rolling, rate against no roll", RATE, "no-roll", 0.95, false},
    {"roll", "the commit that rolls, p50", ROLL_P50, NULL, 1e6, true},
    {"recover-cold", "verify cold against fio's read", BYTES_RATE, "fio-read", 2.2, false},
    {"recover-cold", "verify cold against reads into huge pages that nothing looks at", BYTES_RATE, "read", 0.9, false},
    {"recover-warm", "verify warm", BYTES_RATE, NULL, 6e9, false},
    {"waldump-deep", "waldump verify --deep against the library's, cold", BYTES_RATE, "recover-cold", 0.5, false},
    {"waldump-cached", "waldump verify --deep --cached against the library's, warm", BYTES_RATE, "recover-warm", 0.5,
     false},
    {"recover-closed", "open, closed in order", P50, NULL, 50e6, true},
};
const unsigned floor_line_count = sizeof(floor_lines) / sizeof(floor_lines[0]);

static const char *const strategy_words[] = {"auto", "fdatasync", "dsync", "linked"};
static const char *const backend_words[] = {"auto", "posix", "uring"};

static void add_variant(const struct bench_case *plain, enum wal_strategy strategy, enum wal_backend backend,
                        bool first, bool only)
{
    struct bench_case *added = &cases[case_count++];
    *added = *plain;
    added->strategy = strategy;
    added->backend = backend;
    if (!only)
        snprintf(added->variant, sizeof(added->variant), "%s on %s", strategy_words[strategy], backend_words[backend]);
    if (!first)
        added->variant_of = plain->name;
}

void cases_build(const enum wal_strategy *strategies, unsigned strategy_count, const enum wal_backend *backends,
                 unsigned backend_count)
{
    for (unsigned i = 0; i < sizeof(plain_cases) / sizeof(plain_cases[0]); i++) {
        const struct bench_case *plain = &plain_cases[i];
        bool through_log = plain->run == append_threads || plain->run == append_loop || plain->run == append_roll;
        for (unsigned s = 0; s < (through_log ? strategy_count : 1); s++)
            for (unsigned b = 0; b < (through_log ? backend_count : 1) && case_count < CASES_MAX; b++)
                add_variant(plain, through_log ? strategies[s] : WAL_STRATEGY_AUTO,
                            through_log ? backends[b] : WAL_BACKEND_AUTO, s == 0 && b == 0,
                            !through_log || strategy_count * backend_count == 1);
    }
}

/* The first of its variants. */
struct bench_case *case_find(const char *name)
{
    for (unsigned i = 0; i < case_count; i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    return NULL;
}

static void choose_references(void)
{
    struct bench_case *f1 = case_find("F1"), *raw = case_find("raw");
    f1->chosen = settings.fio;
    raw->chosen = raw->chosen || !settings.fio;
    for (unsigned i = 0; i < floor_line_count; i++)
        if (floor_lines[i].reference != NULL && case_find(floor_lines[i].name)->chosen)
            case_find(floor_lines[i].reference)->chosen = true;
    for (unsigned i = 0; i < case_count && !settings.fio; i++)
        if (cases[i].run == limit_fio)
            cases[i].chosen = false;
}

bool cases_choose(void)
{
    for (unsigned i = 0; i < case_count && settings.cases == NULL; i++)
        cases[i].chosen = !settings.quick || cases[i].quick;
    for (const char *at = settings.cases; at != NULL && *at != 0;) {
        size_t length = strcspn(at, ",");
        bool known = false;
        for (unsigned i = 0; i < case_count; i++)
            if (strlen(cases[i].name) == length && strncmp(cases[i].name, at, length) == 0)
                known = cases[i].chosen = true;
        if (!known) {
            fprintf(stderr, "bench_commit: no case is called %.*s; there are:\n", (int)length, at);
            for (unsigned i = 0; i < case_count; i++)
                fprintf(stderr, "  %-16s %s\n", cases[i].name, cases[i].words);
            return false;
        }
        at += length + (at[length] == ',');
    }
    choose_references();
    return true;
}
