/* wal.c - the public face: every function of wal.h, each a few lines over the file that does the work.
 *
 * The happy path, the way of a record from append to durable:
 *   wal_append -> stage.c   index, place and checksum, in the open batch
 *              -> commit.c  the batch is sealed, one durable write, acknowledged; commit_wait.c, commit_ring.c: by whom
 *              -> wal_wait returns, or wal_dispatch reports the ticket
 *
 * Opening goes through handle.c, open.c, recover.c (what is there) and cut.c (where it goes on), reading through read.c
 * and verify.c; segments come from prepare.c.
 *
 * What can fail is said at each function in wal.h.
 *
 * Invariants: every function takes the lock at most once, and gives it up through log_unlock, which wakes whom it must.
 *
 * May include: wal.h, io.h, log.h, handle.h, stage.h, commit.h, prepare.h, read.h, verify.h, memory.h,
 * thread.h, check.h. */

#define _GNU_SOURCE
#include "wal/wal.h"

#include "wal/check.h"
#include "wal/commit.h"
#include "wal/handle.h"
#include "wal/io.h"
#include "wal/log.h"
#include "wal/memory.h"
#include "wal/prepare.h"
#include "wal/read.h"
#include "wal/stage.h"
#include "wal/thread.h"
#include "wal/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(WAL_METADATA_BYTES_MAX == FORMAT_METADATA_BYTES_MAX, "the header and the format agree");
_Static_assert(WAL_INDEX_MAX == FORMAT_INDEX_MAX, "the header and the format agree");
struct wal_cursor {
    struct reader *reader;
    uint64_t next_index;
};

/* --- a handle's life ----------------------------------------------------------------------------- */

int wal_open(const char *directory, const struct wal_options *options, struct wal **log_out,
             struct wal_verdict *verdict)
{
    struct wal_verdict own_verdict;
    return handle_open(directory, options, log_out, verdict != NULL ? verdict : &own_verdict);
}

int wal_open_io(struct wal_io *io, const struct wal_options *options, struct wal **log_out, struct wal_verdict *verdict)
{
    struct wal_verdict own_verdict;
    return handle_open_io(io, options, log_out, verdict != NULL ? verdict : &own_verdict);
}

int wal_close(struct wal *log)
{
    return log != NULL ? handle_close(log) : 0;
}

/* --- appending ----------------------------------------------------------------------------------- */

int wal_append(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt)
{
    log_lock(log);
    int status = stage_append(log, append, receipt);
    log_unlock(log);
    return status;
}

int wal_wait(struct wal *log, uint64_t ticket)
{
    return commit_wait(log, ticket);
}

int wal_commit(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt)
{
    struct wal_receipt own_receipt;
    receipt = receipt != NULL ? receipt : &own_receipt;
    int status = wal_append(log, append, receipt);
    return status == 0 ? commit_wait(log, receipt->ticket) : status;
}

int wal_truncate_suffix(struct wal *log, uint64_t first_removed, struct wal_receipt *receipt)
{
    const struct wal_append append = {.flags = WAL_APPEND_TRUNCATE, .first_index = first_removed};
    return wal_append(log, &append, receipt);
}

int wal_truncate_prefix(struct wal *log, uint64_t first_kept, struct wal_receipt *receipt)
{
    log_lock(log);
    bool nothing = log->anchor_deferred && first_kept == log->start_index;
    int status = nothing ? stage_nothing(log, receipt) : handle_start_deferred(log, first_kept, false);
    status = status == 0 && !nothing ? stage_start(log, first_kept, false, receipt) : status;
    log_unlock(log);
    return status;
}

int wal_reset(struct wal *log, uint64_t next_index, struct wal_receipt *receipt)
{
    log_lock(log);
    int status = handle_start_deferred(log, next_index, true);
    status = status == 0 ? stage_start(log, next_index, true, receipt) : status;
    log_unlock(log);
    return status;
}

/* --- state --------------------------------------------------------------------------------------- */

/* Locks a handle that the caller sees as constant: reading a number does not change the log. */
static struct wal *lock_const(const struct wal *log)
{
    struct wal *writable = (struct wal *)(uintptr_t)log;
    log_lock(writable);
    return writable;
}

uint64_t wal_first_index(const struct wal *log)
{
    struct wal *locked = lock_const(log);
    uint64_t value = locked->start_index;
    log_unlock(locked);
    return value;
}

uint64_t wal_last_index(const struct wal *log)
{
    struct wal *locked = lock_const(log);
    uint64_t value = locked->next_index - 1;
    log_unlock(locked);
    return value;
}

uint64_t wal_durable_index(const struct wal *log)
{
    struct wal *locked = lock_const(log);
    uint64_t value = locked->durable_end_index - 1;
    log_unlock(locked);
    return value;
}

uint64_t wal_durable_ticket(const struct wal *log)
{
    return atomic_load_explicit(&((struct wal *)(uintptr_t)log)->durable_ticket, memory_order_acquire);
}

uint64_t wal_doubt(const struct wal *log)
{
    struct wal *locked = lock_const(log);
    uint64_t value = locked->durable_doubt_index;
    log_unlock(locked);
    return value;
}

int wal_metadata(const struct wal *log, void *buffer, size_t buffer_bytes, size_t *bytes_out)
{
    struct wal *locked = lock_const(log);
    int status = 0;
    if (locked->durable_metadata_bytes == FORMAT_NO_METADATA) {
        status = WAL_ENOENT;
    } else {
        *bytes_out = locked->durable_metadata_bytes;
        if (locked->durable_metadata_bytes > buffer_bytes) {
            status = WAL_ESMALL;
        } else if (locked->durable_metadata_bytes != 0) {
            memcpy(buffer, locked->durable_metadata, locked->durable_metadata_bytes);
        }
    }
    log_unlock(locked);
    return status;
}

size_t wal_errmsg(const struct wal *log, char *text, size_t size)
{
    struct wal *locked = lock_const(log);
    size_t length = strlen(locked->report.text);
    if (size != 0) {
        (void)snprintf(text, size, "%s", locked->report.text);
    }
    log_unlock(locked);
    return length;
}

/* --- event loop ---------------------------------------------------------------------------------- */

/* Carries the event loop's writes where there is no ring. */
static void *run_commit_thread(void *argument)
{
    struct wal *log = argument;
    log_lock(log);
    while (!log->closing) {
        if (!log->leading && commit_has_work(log)) {
            commit_lead(log, false);
            log_unlock(log);
            log_lock(log);
        } else {
            (void)pthread_cond_wait(&log->commit_wake, &log->lock);
        }
    }
    log_unlock(log);
    return NULL;
}

static int start_commit_thread(struct wal *log)
{
    int result = thread_start(&log->commit_thread, "wal-commit", run_commit_thread, log);
    if (result != 0) {
        return report_set(&log->report, WAL_ESYSTEM, "cannot start the commit thread: %s", errno_name(result));
    }
    log->commit_thread_started = true;
    return 0;
}

/* The lock held. */
static int prepare_event_fd(struct wal *log)
{
    int status = 0;
    if (log->event_fd < 0) {
        log->event_fd = log->asynchronous ? log->io->ops->event_fd(log->io) : -1;
        if (log->event_fd < 0) {
            log->asynchronous = false; /* Nobody could tell the loop of a completion. Nothing was submitted yet. */
            log->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            log->owns_event_fd = log->event_fd >= 0;
        }
        if (log->event_fd < 0) {
            status = report_set(&log->report, WAL_ESYSTEM, "cannot make an eventfd: %s", errno_name(-errno));
        }
    }
    if (status == 0 && !log->asynchronous && !log->commit_thread_started && !log->read_only &&
        (log->options.flags & WAL_NO_THREADS) == 0) {
        status = start_commit_thread(log);
    }
    log->loop_used = status == 0;
    return status;
}

int wal_event_fd(struct wal *log)
{
    log_lock(log);
    int status = prepare_event_fd(log);
    int result = status == 0 ? log->event_fd : status;
    log_unlock(log);
    return result;
}

int wal_submit(struct wal *log)
{
    log_lock(log);
    int status = log->loop_used ? 0 : prepare_event_fd(log);
    if (status == 0 && log->poison != 0) {
        status = WAL_EPOISONED;
    }
    if (status == 0) {
        if (log->asynchronous) {
            commit_pump(log);
        } else if (log->commit_thread_started) {
            (void)pthread_cond_signal(&log->commit_wake);
        } else if (!log->leading && commit_has_work(log)) {
            commit_lead(log, false); /* No ring and no thread wanted: then the caller's own time. */
        }
    }
    log_unlock(log);
    return status;
}

int wal_dispatch(struct wal *log, struct wal_progress *progress)
{
    log_lock(log);
    int status = log->loop_used ? 0 : prepare_event_fd(log);
    if (status == 0 && log->owns_event_fd) {
        uint64_t count;
        ssize_t taken = read(log->event_fd, &count, sizeof(count));
        (void)taken; /* Empty is as good: the counters are looked at anyway. */
    }
    if (status == 0) {
        bool more = commit_dispatch(log);
        log->wakes.loop = more; /* The loop is here: it need not be called, unless something is left to start. */
        status = log->poison != 0 ? WAL_EPOISONED : 0;
    }
    if (progress != NULL) {
        progress->durable_ticket = atomic_load_explicit(&log->durable_ticket, memory_order_relaxed);
        progress->durable_index = log->durable_end_index - 1;
    }
    log_unlock(log);
    return status;
}

int wal_maintain(struct wal *log, uint32_t flags, bool *more_out)
{
    bool more = false;
    log_lock(log);
    int status;
    if ((flags & WAL_MAINTAIN_PREPARE) != 0) {
        log->no_room_ns = 0; /* Whoever says so does not wait out the pause after a full disk. */
    }
    do {
        status = prepare_step(log, &more);
    } while (status == 0 && more && (flags & WAL_MAINTAIN_PREPARE) != 0);
    bool quiet = log->idle_number == log->sealed.last_content_number &&
                 now_ns() - log->idle_since_ns >= (uint64_t)log->options.idle_mark_ms * 1000000;
    if ((flags & WAL_MAINTAIN_MARK) != 0 || quiet) {
        (void)prepare_mark(log);
    }
    if (log->idle_number != log->sealed.last_content_number) {
        log->idle_number = log->sealed.last_content_number;
        log->idle_since_ns = now_ns();
    }
    log_unlock(log);
    if (more_out != NULL) {
        *more_out = more;
    }
    return status;
}

/* --- reading ------------------------------------------------------------------------------------- */

/* Does the log below a read-only handle no longer hold that index where this handle knows it? Also when a truncation of
 * its end has moved it since. 0, or why that cannot be told. */
static int is_gone(struct wal *log, uint64_t index, bool *gone, uint64_t *first_index)
{
    struct wal *now;
    int status = handle_look_again(log, &now);
    if (status != 0) {
        return status;
    }
    *first_index = now->start_index;
    log_lock(log);
    const struct segment *holding = table_holding(&log->table, index);
    *gone = index < now->start_index || (holding != NULL && holding->number < now->start_segment);
    log_unlock(log);
    return handle_close(now);
}

/* A read-only handle sees the log as it was, but its files are the writer's: what has been truncated since may be
 * recycled under our reads. That is no damage, and what cannot be told from it is not called damage either. */
static int after_failed_read(struct wal *log, uint64_t index, int status)
{
    if (!log->read_only || (status != WAL_ECORRUPT && status != WAL_EIO && status != WAL_ENOENT)) {
        return status;
    }
    bool gone = false;
    uint64_t first_index = 0;
    int looked = is_gone(log, index, &gone, &first_index);
    log_lock(log);
    if (looked == 0 && gone) {
        status = report_set(&log->report, WAL_ECOMPACTED,
                            "index %" PRIu64 " was truncated while the log was read; it begins at %" PRIu64
                            " now: open it again",
                            index, first_index);
    } else if (looked != 0 && looked != WAL_ECORRUPT && status != WAL_EIO) {
        status =
            report_set(&log->report, looked,
                       "index %" PRIu64 " does not read, and whether it was truncated meanwhile cannot be told: %s",
                       index, wal_strerror(looked));
    }
    log_unlock(log);
    return status;
}

int wal_read(struct wal *log, uint64_t index, void *buffer, size_t buffer_bytes, struct wal_record *record)
{
    (void)pthread_mutex_lock(&log->read_lock);
    struct wal_record found;
    int status = reader_record(log->reader, index, &found);
    status = status == 0 ? 0 : after_failed_read(log, index, status);
    if (status == 0) {
        if (found.size > buffer_bytes) {
            record->size = found.size;
            status = WAL_ESMALL;
        } else {
            if (found.size != 0) {
                memcpy(buffer, found.data, found.size);
            }
            found.data = buffer;
            *record = found;
        }
    }
    (void)pthread_mutex_unlock(&log->read_lock);
    return status;
}

enum { CURSOR_BYTES = 1 << 20 };

int wal_cursor_open(struct wal *log, uint64_t first_index, struct wal_cursor **cursor_out)
{
    struct wal_cursor *cursor = memory_take(log->options.allocator, sizeof(*cursor), 16);
    if (cursor == NULL || reader_create(log, CURSOR_BYTES, &cursor->reader) != 0) {
        memory_give(log->options.allocator, cursor, sizeof(*cursor));
        log_lock(log);
        int status = report_set(&log->report, WAL_ENOMEM, "out of memory for a cursor");
        log_unlock(log);
        return status;
    }
    cursor->next_index = first_index != 0 ? first_index : wal_first_index(log);
    *cursor_out = cursor;
    return 0;
}

int wal_cursor_next(struct wal_cursor *cursor, struct wal_record *record)
{
    int status = reader_record(cursor->reader, cursor->next_index, record);
    if (status != 0) {
        return after_failed_read(cursor->reader->log, cursor->next_index, status);
    }
    cursor->next_index++;
    return 0;
}

int wal_cursor_place(const struct wal_cursor *cursor, struct wal_place *place)
{
    if (cursor->reader->last.segment == 0) {
        return WAL_EINVAL;
    }
    *place = cursor->reader->last;
    return 0;
}

void wal_cursor_seek(struct wal_cursor *cursor, uint64_t index)
{
    cursor->next_index = index;
}

void wal_cursor_close(struct wal_cursor *cursor)
{
    if (cursor != NULL) {
        const struct wal_allocator *allocator = cursor->reader->log->options.allocator;
        reader_destroy(cursor->reader);
        memory_give(allocator, cursor, sizeof(*cursor));
    }
}

int wal_verify(struct wal *log, struct wal_verify_report *report,
               int (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total), void *context)
{
    int status = verify_log(log, report, progress, context);
    return status == 0
               ? 0
               : after_failed_read(log, status == WAL_ECORRUPT ? report->first_bad.first_index : wal_first_index(log),
                                   status);
}

/* --- numbers ------------------------------------------------------------------------------------- */

void wal_stats(const struct wal *log, struct wal_stats *stats)
{
    struct wal *locked = lock_const(log);
    const struct counters *counters = &locked->counters;
    *stats = (struct wal_stats){
        .appends = counters->appends,
        .records = counters->records,
        .payload_bytes = counters->payload_bytes,
        .batches = counters->batches,
        .batch_bytes = counters->batch_bytes,
        .padding_bytes = counters->padding_bytes,
        .marks = counters->marks,
        .rolls = counters->rolls,
        .truncations = counters->truncations,
        .starts = counters->starts,
        .segments_made = counters->segments_made,
        .segments_recycled = counters->segments_recycled,
        .segments_removed = counters->segments_removed,
        .roll_waits = counters->roll_waits,
        .buffer_waits = counters->buffer_waits,
        .reads = atomic_load_explicit(&locked->reads, memory_order_relaxed),
        .read_bytes = atomic_load_explicit(&locked->read_bytes, memory_order_relaxed),
        .appended_ticket = locked->appended_ticket,
        .submitted_ticket = locked->submitted_ticket,
        .durable_ticket = atomic_load_explicit(&locked->durable_ticket, memory_order_relaxed),
        .segments = table_count(&locked->table, SEGMENT_SEALED) + table_count(&locked->table, SEGMENT_OPEN),
        .segments_ready = table_count(&locked->table, SEGMENT_READY),
        .segments_retired = table_count(&locked->table, SEGMENT_RETIRED),
        .strategy = (enum wal_strategy)locked->strategies[0].chosen,
        .direct = locked->io->caps.direct,
    };
    latency_summarise(&locked->queue_latency, &stats->queue);
    latency_summarise(&locked->write_latency, &stats->write);
    latency_summarise(&locked->sync_latency, &stats->sync);
    latency_summarise(&locked->acknowledge_latency, &stats->acknowledge);
    latency_summarise(&locked->roll_latency, &stats->roll);
    for (uint32_t method = 1; method < STRATEGY_METHODS; method++) {
        stats->strategy_ns[method] = strategy_median_ns(&locked->strategies[0], (enum wal_io_method)method);
    }
    (void)snprintf(stats->backend, sizeof(stats->backend), "%s", locked->io->caps.name);
    log_unlock(locked);
}
