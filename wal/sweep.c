/* sweep.c - one segment read from its file and checked, by this thread or beside it.
 *
 * The happy path: the segment's file is opened, its batches are scanned through a window that reads ahead, and what
 * reads of them stands in the map. Most of the time goes into the copy out of the page cache, or waiting for the
 * device, and the rest into checksums: so two sweeps of two segments take half the time of one behind the other. One
 * thread that reads for another that checks would only move the bytes from one processor's cache to the next one's.
 *
 * What can fail: memory, a file that does not open; told by sweep_finish. A thread that does not start: the work is
 * done in sweep_finish. Read errors and damage are no failures: they are gaps in the map.
 *
 * Invariants: between start and finish nobody but the thread touches the sweep; the thread takes no lock of the log
 * and writes nothing; it has ended when sweep_finish returns.
 *
 * May include: sweep.h, check.h, io_file.h, memory.h, scan.h, thread.h. */

#define _GNU_SOURCE
#include "wal/sweep.h"

#include "wal/check.h"
#include "wal/io_file.h"
#include "wal/memory.h"
#include "wal/scan.h"
#include "wal/thread.h"

enum { DIRECT_WINDOW_BYTES = 8 << 20, CACHED_WINDOW_BYTES = 1 << 20 };

int sweep_create(struct sweep *sweep, struct wal *log, uint64_t largest_bytes)
{
    *sweep = (struct sweep){.log = log, .io = log->io};
    if (log->owns_io && wal_io_uring_second(log->io, &sweep->own_io) == 0) {
        sweep->io = sweep->own_io;
    }
    sweep->map.capacity = map_capacity(largest_bytes, log->shape.block_bytes);
    sweep->map.entries = memory_take(log->options.allocator, sweep->map.capacity * sizeof(struct map_entry), 16);
    if (sweep->map.entries == NULL) {
        return WAL_ENOMEM;
    }
    /* From the page cache, the copy is made and checked while it is in the processor's cache; from the device, reads
     * are large. */
    size_t window_bytes =
        window_bytes_for(largest_bytes, sweep->io->caps.direct ? DIRECT_WINDOW_BYTES : CACHED_WINDOW_BYTES);
    return window_create(&sweep->window, sweep->io, sweep->own_io != NULL, window_bytes, log->options.allocator);
}

void sweep_destroy(struct sweep *sweep)
{
    CHECK(!sweep->started);
    if (sweep->window.io != NULL) {
        window_destroy(&sweep->window);
    }
    if (sweep->map.entries != NULL) {
        memory_give(sweep->log->options.allocator, sweep->map.entries, sweep->map.capacity * sizeof(struct map_entry));
    }
    if (sweep->own_io != NULL) {
        sweep->own_io->ops->destroy(sweep->own_io);
    }
    *sweep = (struct sweep){0};
}

static void run(struct sweep *sweep)
{
    const struct wal *log = sweep->log;
    struct segment *segment = &sweep->segment;
    segment->file = -1;
    sweep->map.count = 0;
    if (sweep->map.capacity < map_capacity(segment->bytes, log->shape.block_bytes)) {
        sweep->status = WAL_ENOMEM;
        return;
    }
    sweep->report = (struct report){0};
    sweep->status = segment_open_file(sweep->io, segment, false, &sweep->report);
    if (sweep->status != 0) {
        return;
    }
    window_look_at(&sweep->window, segment->file, segment->bytes);
    bool damaged;
    const struct scan_expected expected = {.segment = segment->number,
                                           .segment_bytes = segment->bytes,
                                           .end_offset = sweep->end_offset,
                                           .end_index = segment->end_index,
                                           .record_count = segment->record_count,
                                           .keep_doubtful = log->read_only && segment->state == SEGMENT_OPEN};
    sweep->status = scan_whole(&sweep->window, &expected, log->shape.block_bytes, &sweep->map, &damaged);
}

static void *run_in_thread(void *context)
{
    run(context);
    return NULL;
}

void sweep_start(struct sweep *sweep)
{
    sweep->started = thread_start(&sweep->thread, "wal-verify", run_in_thread, sweep) == 0;
}

int sweep_finish(struct sweep *sweep)
{
    if (sweep->started) {
        (void)pthread_join(sweep->thread, NULL);
        sweep->started = false;
    } else {
        run(sweep);
    }
    return sweep->status;
}

void sweep_release(struct sweep *sweep)
{
    window_look_at(&sweep->window, -1, 0);
    if (sweep->segment.file >= 0) {
        segment_close_file(sweep->io, &sweep->segment);
    }
    log_lock(sweep->log);
    sweep->pinned->pins--;
    log_unlock(sweep->log);
}
