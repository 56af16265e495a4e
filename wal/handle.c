/* handle.c - the life of a handle: from checked options to an open log, and down again.
 *
 * The happy path: memory and locks; the disk, io_uring if it may be used, else the plain one; the directory's lock;
 * then open.c recovers the log, and the helper thread starts. Closing goes the other way: threads end, what was
 * accepted is made durable, a CLOSE batch is written, everything is given back.
 *
 * What can fail, and what is left: any step; then the handle is taken down however far it was made (destroy), and the
 * verdict's text says why. A close that fails leaves the log as a crash would: the next open recovers it.
 *
 * Invariants: a handle exists only between a successful open and its close; nobody else has it before or after.
 *
 * May include: handle.h, commit.h, open.h, options.h, prepare.h, read.h, stage.h, memory.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/handle.h"

#include "wal/commit.h"
#include "wal/io.h"
#include "wal/memory.h"
#include "wal/open.h"
#include "wal/options.h"
#include "wal/prepare.h"
#include "wal/read.h"
#include "wal/stage.h"
#include "wal/zoo.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert((int)WAL_STRATEGY_DSYNC == (int)WAL_IO_METHOD_DSYNC &&
                   (int)WAL_STRATEGY_FDATASYNC == (int)WAL_IO_METHOD_FDATASYNC &&
                   (int)WAL_STRATEGY_LINKED == (int)WAL_IO_METHOD_LINKED,
               "strategies are the disk's methods");

enum { BUFFER_ALIGN_BYTES = 4096 };

void log_tell(const struct wal *log, enum wal_log_level level, const char *format, ...)
{
    if (log->options.log == NULL) {
        return;
    }
    char text[REPORT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log->options.log(log->options.log_context, level, text);
}

/* --- memory and locks ---------------------------------------------------------------------------- */

static void init_locks(struct wal *log)
{
    pthread_mutexattr_t mutex_attributes;
    (void)pthread_mutexattr_init(&mutex_attributes);
    (void)pthread_mutexattr_settype(&mutex_attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(&log->lock, &mutex_attributes);
    (void)pthread_mutex_init(&log->read_lock, &mutex_attributes);
    (void)pthread_mutexattr_destroy(&mutex_attributes);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&log->room, &attributes);
    (void)pthread_cond_init(&log->helper_wake, &attributes);
    (void)pthread_cond_init(&log->commit_wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static struct wal *create_handle(const struct wal_options *options)
{
    struct wal *log = memory_take(options->allocator, sizeof(struct wal), 64);
    if (log == NULL) {
        return NULL;
    }
    log->options = *options;
    if (options->allocator != NULL) {
        log->allocator_copy = *options->allocator;
        log->options.allocator = &log->allocator_copy;
    }
    log->read_only = (options->flags & WAL_READ_ONLY) != 0;
    log->event_fd = -1;
    init_locks(log);
    return log;
}

/* Takes down a handle, however far it was made; nothing is in flight. */
static void destroy(struct wal *log)
{
    if (log->abandoned) {
        return; /* The disk may still write from these buffers: they are nobody's from now on. */
    }
    reader_destroy(log->reader);
    for (uint32_t i = 0; i < log->batch_count; i++) {
        batch_destroy(&log->batches[i], log->options.allocator);
    }
    if (log->table.list != NULL) {
        table_destroy(&log->table, log->io);
    }
    memory_give(log->options.allocator, log->roll_blocks, 2 * (size_t)FORMAT_BLOCK_BYTES_MAX);
    memory_give(log->options.allocator, log->prepare_scratch, log->prepare_scratch_bytes);
    if (log->owns_event_fd) {
        (void)close(log->event_fd);
    }
    if (log->owns_io && log->io != NULL) {
        log->io->ops->destroy(log->io);
    }
    (void)pthread_cond_destroy(&log->room);
    (void)pthread_cond_destroy(&log->helper_wake);
    (void)pthread_cond_destroy(&log->commit_wake);
    (void)pthread_mutex_destroy(&log->lock);
    (void)pthread_mutex_destroy(&log->read_lock);
    const struct wal_allocator allocator = log->allocator_copy;
    memory_give(log->options.allocator != NULL ? &allocator : NULL, log, sizeof(struct wal));
}

/* --- the disk ------------------------------------------------------------------------------------ */

static int open_disk(struct wal *log, const char *directory)
{
    unsigned flags = ((log->options.flags & WAL_CREATE) != 0 ? WAL_IO_DIRECTORY_CREATE : 0) |
                     ((log->options.flags & WAL_BUFFERED) != 0 ? WAL_IO_BUFFERED : 0);
    int result = -ENOSYS;
    if (log->options.backend != WAL_BACKEND_POSIX) {
        result = wal_io_uring(directory, flags, &log->io);
        bool missing = result == -ENOENT || result == -ENOTDIR || result == -EACCES;
        if (result != 0 && log->options.backend == WAL_BACKEND_AUTO && !missing) {
            log_tell(log, WAL_LOG_NOTICE, "no io_uring here (%s): the plain backend is used", errno_name(result));
        }
    }
    if (result != 0 && log->options.backend != WAL_BACKEND_URING) {
        result = wal_io_posix(directory, flags, &log->io);
    }
    log->owns_io = true;
    if (result == 0) {
        return 0;
    }
    log->io = NULL;
    int status = result == -ENOTDIR ? WAL_ENOTLOG : status_of_errno(result);
    return report_set(&log->report, status, "cannot open the directory %s: %s", directory, errno_name(result));
}

static int check_disk(struct wal *log)
{
    uint32_t align_bytes = log->io->caps.align_bytes;
    if (align_bytes == 0 || (align_bytes & (align_bytes - 1)) != 0 || align_bytes > BUFFER_ALIGN_BYTES) {
        return report_set(&log->report, WAL_EINVAL,
                          "the disk wants alignment to %u bytes, and the log's buffers are aligned to %u at most; "
                          "WAL_BUFFERED does without",
                          align_bytes, BUFFER_ALIGN_BYTES);
    }
    return 0;
}

static int lock_disk(struct wal *log)
{
    if (log->read_only || ZOO(directory_not_locked)) {
        return 0;
    }
    int result = log->io->ops->lock_directory(log->io);
    if (result == -EBUSY) {
        return report_set(&log->report, WAL_EBUSY,
                          "another writer holds the directory's lock; only readers may open it now");
    }
    return result == 0
               ? 0
               : report_set(&log->report, status_of_errno(result), "cannot lock the directory: %s", errno_name(result));
}

static void choose_strategies(struct wal *log)
{
    enum wal_io_method forced = (enum wal_io_method)log->options.strategy;
    strategy_start(&log->strategies[0], log->io->caps.methods, forced);
    /* In a ring the single durable write is the rule, and a linked pair is used when it is asked for: that won wherever
     * it was measured. */
    bool dsync = (log->io->caps.methods_submitted & (1u << WAL_IO_METHOD_DSYNC)) != 0;
    strategy_start(&log->strategies[1], log->io->caps.methods_submitted,
                   forced == WAL_IO_METHOD_DEFAULT && dsync ? WAL_IO_METHOD_DSYNC : forced);
}

/* Everything behind the disk. On failure the handle is gone. */
static int open_on_disk(struct wal *log, struct wal **log_out, struct wal_verdict *verdict)
{
    int status = check_disk(log);
    status = status == 0 ? lock_disk(log) : status;
    if (status == 0) {
        /* A roll has two writes at the disk at once. Of a disk that takes fewer, execute() is used alone. */
        log->asynchronous = log->io->caps.asynchronous && log->io->caps.ops_max >= 2;
        choose_strategies(log);
        status = open_recovered(log, verdict);
    }
    if (status == 0 && !log->read_only && !log->unanchored && (log->options.flags & WAL_NO_THREADS) == 0) {
        log_lock(log); /* The thread looks at what is set there. */
        status = prepare_start_thread(log);
        log_unlock(log);
    }
    if (status != 0) {
        if (log->report.text[0] != '\0') { /* The verdict's own sentence, or what failed after it was reached. */
            (void)snprintf(verdict->text, sizeof(verdict->text), "%s", log->report.text);
        }
        log_tell(log, WAL_LOG_ERROR, "%s", log->report.text);
        destroy(log);
        return status;
    }
    log->verdict = *verdict;
    if (log->unanchored) {
        log_tell(log, WAL_LOG_ERROR, "no room for the anchor: opened for reading");
    }
    if (verdict->kind == WAL_VERDICT_TORN || verdict->spare_copies_damaged != 0 || verdict->accepted) {
        log_tell(log, verdict->kind == WAL_VERDICT_TORN ? WAL_LOG_NOTICE : WAL_LOG_WARNING,
                 "%s (%u spare copies damaged)", verdict->text, verdict->spare_copies_damaged);
    }
    *log_out = log;
    return 0;
}

/* A handle with checked options, or the reason why not in the verdict. */
static int begin_open(const struct wal_options *options, struct wal **log_out, struct wal_verdict *verdict)
{
    struct report report = {0};
    struct wal_options checked;
    memset(verdict, 0, sizeof(*verdict));
    uint32_t later_batch_bytes_min;
    int status = options_check(options, &checked, &later_batch_bytes_min, &report);
    if (status == 0) {
        *log_out = create_handle(&checked);
        status = *log_out != NULL ? 0 : report_set(&report, WAL_ENOMEM, "out of memory for the handle");
    }
    if (status == 0) {
        (*log_out)->later_batch_bytes_min = later_batch_bytes_min;
    }
    (void)snprintf(verdict->text, sizeof(verdict->text), "%s", report.text);
    return status;
}

/* --- open and close ------------------------------------------------------------------------------ */

int handle_open(const char *directory, const struct wal_options *options, struct wal **log_out,
                struct wal_verdict *verdict)
{
    struct wal *log;
    int status = begin_open(options, &log, verdict);
    if (status != 0) {
        return status;
    }
    status = open_disk(log, directory);
    if (status != 0) {
        (void)snprintf(verdict->text, sizeof(verdict->text), "%s", log->report.text);
        destroy(log);
        return status;
    }
    return open_on_disk(log, log_out, verdict);
}

int handle_open_io(struct wal_io *io, const struct wal_options *options, struct wal **log_out,
                   struct wal_verdict *verdict)
{
    struct wal *log;
    int status = begin_open(options, &log, verdict);
    if (status != 0) {
        return status;
    }
    log->io = io;
    return open_on_disk(log, log_out, verdict);
}

int handle_look_again(struct wal *log, struct wal **now_out)
{
    struct wal_options options = log->options;
    struct wal_verdict verdict;
    struct wal *now;
    options.flags = WAL_READ_ONLY | WAL_NO_THREADS;
    options.log = NULL;
    int status = begin_open(&options, &now, &verdict);
    if (status != 0) {
        return status;
    }
    now->io = log->io;
    now->shares_disk = true;
    return open_on_disk(now, now_out, &verdict);
}

int handle_start_deferred(struct wal *log, uint64_t first_index, bool reset)
{
    if (!log->anchor_deferred) {
        return 0;
    }
    int status = stage_may_start(log, first_index, reset); /* The anchor takes a block. */
    status = status == 0 ? open_anchor_deferred(log) : status;
    if (status == 0 && (log->options.flags & WAL_NO_THREADS) == 0) {
        /* There was nothing to do for it so far. Should it not start, appends make their segments themselves. */
        (void)prepare_start_thread(log);
    }
    return status;
}

/* The last batch: nothing is left to be recovered. */
static int write_close(struct wal *log)
{
    int status = commit_drain(log);
    if (status == 0) {
        log->closing = false; /* For this one batch. */
        status = stage_control(log, BATCH_CLOSE);
        log->closing = true;
    }
    if (status == 0) {
        POINT(close);
        status = commit_drain(log);
    }
    return status;
}

int handle_close(struct wal *log)
{
    log_lock(log);
    log->closing = true;
    (void)pthread_cond_broadcast(&log->commit_wake);
    log_unlock(log);
    prepare_stop_thread(log);
    if (log->commit_thread_started) {
        (void)pthread_join(log->commit_thread, NULL);
        log->commit_thread_started = false;
    }
    int status = 0;
    if (!log->read_only && !log->unanchored) {
        log_lock(log);
        status = write_close(log);
        log_unlock(log);
        if (status != 0) {
            log_tell(log, WAL_LOG_ERROR, "not closed in order: %s", log->report.text);
        }
    }
    destroy(log);
    return status;
}
