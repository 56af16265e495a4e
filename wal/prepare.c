/* prepare.c - what is done off the append path.
 *
 * The happy path: the helper thread sleeps. A roll, or a START that became durable, wakes it: it recycles a retired
 * segment, or makes a new one when there is none, until segments_ready are ready; removes retired files beyond the
 * pool; gives up maps of segments that nobody has read for long. When nothing was committed for idle_mark_ms and the
 * last batch with content is under no mark yet, it commits a MARK. Without the helper, wal_maintain does the same from
 * the caller's own loop, a step a call; and an append that finds no room tries itself.
 *
 * The lock is never held during I/O: `preparing` keeps a second thread out, and the segment at work is in nobody's
 * hands.
 *
 * What can fail, and what is left: a full disk - no_room is set, appends that need a segment are refused, and the
 * attempt is repeated every RETRY_NS. No memory - the same, before a file is touched. A disk error poisons the handle:
 * a failed sync of a directory is as bad as one of a file.
 *
 * Invariants: ready segments carry the numbers that follow the newest, without a gap; a segment is recycled only in
 * state RETIRED and without pins; zeroing keeps ahead of the filling of the present segment and otherwise goes slowly,
 * for the writers' sake.
 *
 * May include: prepare.h, commit.h, stage.h, memory.h, thread.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/prepare.h"

#include "wal/check.h"
#include "wal/commit.h"
#include "wal/stage.h"
#include "wal/thread.h"
#include "wal/zoo.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#define RETRY_NS ((uint64_t)100000000)
#define PACE_NS 1000000

/* The number that the next ready segment must have. */
static uint64_t next_number(const struct wal *log)
{
    uint64_t number = log->tail->number + 1;
    for (;;) {
        const struct segment *segment = table_find(&log->table, number);
        if (segment == NULL || segment->state == SEGMENT_RETIRED) {
            return number;
        }
        number++;
    }
}

/* A retired segment that can become `number`; one of that very name has precedence. */
static struct segment *recyclable(const struct wal *log, uint64_t number)
{
    struct segment *same = table_find(&log->table, number);
    if (same != NULL) {
        return same;
    }
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->state == SEGMENT_RETIRED && segment->pins == 0 && segment->number < number &&
            (segment->bytes == 0 || segment->bytes == log->shape.segment_bytes)) {
            return segment;
        }
    }
    return NULL;
}

/* --- pace ---------------------------------------------------------------------------------------- */

/* Between pieces of zeroing: stop when the handle closes; go slowly while there is no hurry. */
static int pause_between_pieces(void *context, uint64_t bytes_done, uint64_t bytes_total)
{
    struct wal *log = context;
    log_lock(log);
    bool closing = log->closing;
    bool hurry = log_ready_segments(log) == 0 || log->room_waiters != 0 || !log->helper_started;
    const struct segment *stage = log->stage_segment; /* NULL while the log is being opened. */
    double filled = stage != NULL ? (double)log->stage_offset / (double)stage->bytes : 1.0;
    log_unlock(log);
    if (!closing && !hurry && (double)bytes_done / (double)bytes_total > filled + 0.125) {
        const struct timespec pace = {.tv_nsec = PACE_NS};
        (void)nanosleep(&pace, NULL);
    }
    return closing;
}

/* --- one segment --------------------------------------------------------------------------------- */

/* The size of a retired segment that was never opened. The struct is not touched: others look at it meanwhile. */
static int learn_size(struct wal *log, struct segment *segment, uint64_t *bytes_out, struct report *report)
{
    *bytes_out = segment->bytes;
    if (segment->bytes != 0) {
        return 0;
    }
    int status = segment_open_file(log->io, segment, true, report);
    if (status != 0) {
        return status;
    }
    int result = log->io->ops->file_bytes(log->io, segment->file, bytes_out);
    return result == 0
               ? 0
               : report_set(report, status_of_errno(result), "segment %" PRIu64 ": cannot learn the file's size: %s",
                            segment->number, errno_name(result));
}

/* I/O without the lock: the retired segment becomes `number`. */
static int recycle(struct wal *log, struct segment *segment, uint64_t number, struct report *report)
{
    const struct segment_pace pace = {pause_between_pieces, log};
    bool zero = (log->options.flags & WAL_ZERO_RECYCLED) != 0;
    return segment_recycle(log->io, &log->shape, segment, number, zero, log->prepare_scratch,
                           log->prepare_scratch_bytes, &pace, report);
}

static void make_ready(struct wal *log, struct segment *segment, uint64_t salt)
{
    segment->state = SEGMENT_READY;
    segment->staged = false;
    segment->salt = salt;
    segment->map.count = 0;
    segment->map_damaged = false;
    segment->record_count = 0;
    segment->end_offset = 0;
    log->no_room = false;
    (void)pthread_cond_broadcast(&log->room);
}

static int note_failure(struct wal *log, uint64_t number, int status, const struct report *report)
{
    if (status == WAL_ECLOSED) {
        return status;
    }
    if (status == WAL_EIO) {
        commit_poison(log, "preparing", number, 0, status);
        return WAL_EPOISONED;
    }
    log->no_room = true;
    log->no_room_status = status;
    log->no_room_report = *report;
    log->no_room_ns = now_ns();
    log->report = *report;
    (void)pthread_cond_broadcast(&log->room);
    return status;
}

/* Removes a retired segment and its file. Out of the table first: the lock is given up for the file. */
static int remove_file(struct wal *log, struct segment *segment, struct report *report)
{
    char name[FORMAT_NAME_BYTES];
    format_segment_name(segment->number, name);
    table_take_out(&log->table, segment);
    log->preparing = true;
    log_unlock(log);
    segment_close_file(log->io, segment);
    int result = log->io->ops->unlink(log->io, name);
    log_lock(log);
    log->preparing = false;
    if (result != 0 && result != -ENOENT) {
        table_put_back(&log->table, segment);
        return report_set(report, status_of_errno(result), "segment %" PRIu64 ": cannot remove the file: %s",
                          segment->number, errno_name(result));
    }
    segment_free(&log->table, segment);
    log->no_room = false;
    (void)pthread_cond_broadcast(&log->room);
    return 0;
}

/* What a segment to be made ready needs besides its file, taken before the file is touched: once that has its name,
 * nothing may fail any more, or a file would stand there that the table does not know. */
struct provision {
    struct segment *entry; /* For a new file; NULL: one of the table's is recycled. */
    struct map map;        /* entries NULL: it has one. */
    uint64_t salt;
};

static void give_back(struct wal *log, struct provision *provision)
{
    struct segment mapped = {.map = provision->map};
    segment_give_map(&log->table, &mapped);
    if (provision->entry != NULL) {
        segment_free(&log->table, provision->entry);
    }
}

/* old: the segment to be recycled, or NULL. */
static int provide(struct wal *log, const struct segment *old, struct provision *provision, struct report *report)
{
    struct segment plan = {.file = -1, .bytes = log->shape.segment_bytes};
    *provision = (struct provision){.salt = segment_draw_salt(&log->table)};
    if (provision->salt == 0) {
        return report_set(report, WAL_ESYSTEM, "the kernel's random number generator gave nothing");
    }
    bool enough = true;
    if (old == NULL) {
        provision->entry = segment_copy(&log->table, &plan);
        enough = provision->entry != NULL;
    }
    if (enough && (old == NULL || old->map.entries == NULL)) {
        enough = segment_take_map(&log->table, &plan, log->shape.block_bytes) == 0;
        provision->map = plan.map;
    }
    if (!enough) {
        give_back(log, provision);
        return report_set(report, WAL_ENOMEM, "out of memory for a further segment");
    }
    return 0;
}

/* The file is there, and its name durable: the table learns of it. */
static void enter_ready(struct wal *log, struct segment *old, const struct segment *made, uint64_t number,
                        const struct provision *provision)
{
    struct segment *ready = old != NULL ? old : provision->entry;
    if (old == NULL) {
        *ready = *made;
        log->counters.segments_made++;
    } else {
        ready->number = number;
        ready->prefill = (log->options.flags & WAL_ZERO_RECYCLED) != 0 ? PREFILL_ZEROED : PREFILL_RECYCLED;
        log->counters.segments_recycled++;
    }
    if (provision->map.entries != NULL) {
        ready->map = provision->map;
    }
    if (old == NULL) {
        table_put_back(&log->table, ready);
    } else {
        table_reorder(&log->table);
    }
    make_ready(log, ready, provision->salt);
}

int prepare_segment(struct wal *log, uint64_t number)
{
    struct report report = {0};
    struct provision provision;
    struct segment *old = recyclable(log, number);
    struct segment made = {.file = -1};
    if (old == NULL && log->table.count == log->table.capacity) {
        (void)report_set(&report, WAL_ENOSPC, "there are segments_max = %u segments", log->table.capacity);
        return note_failure(log, number, WAL_ENOSPC, &report); /* Before a file is made that nobody would know of. */
    }
    int status = provide(log, old, &provision, &report);
    if (status != 0) {
        return note_failure(log, number, status, &report);
    }
    log->preparing = true;
    log_unlock(log);
    uint64_t old_bytes = 0;
    status = old != NULL ? learn_size(log, old, &old_bytes, &report) : 0;
    if (old != NULL && status == 0) {
        log_lock(log);
        old->bytes = old_bytes;
        log_unlock(log);
    }
    bool fits = old == NULL || old_bytes == log->shape.segment_bytes;
    if (status == 0 && old != NULL && fits) {
        status = recycle(log, old, number, &report);
    } else if (status == 0 && old == NULL) {
        const struct segment_pace pace = {pause_between_pieces, log};
        status = segment_make(log->io, &log->shape, number, NULL, log->prepare_scratch, log->prepare_scratch_bytes,
                              &pace, &made, &report);
    }
    log_lock(log);
    log->preparing = false;
    if (status == 0 && fits) {
        enter_ready(log, old, &made, number, &provision);
        return 0;
    }
    give_back(log, &provision);
    status = status == 0 ? remove_file(log, old, &report) : status; /* Of another size: of no use. */
    return status == 0 ? 0 : note_failure(log, number, status, &report);
}

/* --- tidying ------------------------------------------------------------------------------------- */

/* Removes one retired file beyond the pool. */
static bool remove_surplus(struct wal *log)
{
    if (table_count(&log->table, SEGMENT_RETIRED) <= log->options.segments_pool_max) {
        return false;
    }
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        if (segment->state == SEGMENT_RETIRED && segment->pins == 0) {
            struct report report = {0};
            if (remove_file(log, segment, &report) != 0) {
                return false;
            }
            log->counters.segments_removed++;
            return true;
        }
    }
    return false;
}

/* Gives up the map and the file of the sealed segment that was read longest ago, while there are too many. */
static bool drop_a_map(struct wal *log)
{
    uint32_t mapped = 0;
    struct segment *oldest = NULL;
    for (uint32_t i = 0; i < log->table.count; i++) {
        struct segment *segment = log->table.list[i];
        bool retired = segment->state == SEGMENT_RETIRED && !log->preparing; /* Else it may be the one at work. */
        bool idle = (segment->state == SEGMENT_SEALED || retired) && segment->pins == 0;
        if (segment->map.entries != NULL && segment->state != SEGMENT_READY) {
            mapped++;
            oldest = idle && (oldest == NULL || segment->last_use < oldest->last_use) ? segment : oldest;
        }
    }
    if (mapped <= log->options.segments_mapped_max || oldest == NULL) {
        return false;
    }
    segment_give_map(&log->table, oldest);
    segment_close_file(log->io, oldest);
    return true;
}

void prepare_drop_maps(struct wal *log)
{
    while (!ZOO(maps_kept) && drop_a_map(log)) {
    }
}

int prepare_step(struct wal *log, bool *more)
{
    *more = false;
    if (log->read_only || log->unanchored || log->poison != 0 || log->preparing) {
        return log->poison != 0 ? WAL_EPOISONED : 0;
    }
    prepare_drop_maps(log); /* First: what follows may have no room for long. */
    if (log->no_room && now_ns() - log->no_room_ns < RETRY_NS && table_count(&log->table, SEGMENT_RETIRED) == 0) {
        return log->no_room_status;
    }
    if (log_ready_segments(log) < log->options.segments_ready) {
        int status = prepare_segment(log, next_number(log));
        *more = status == 0;
        return status;
    }
    *more = remove_surplus(log);
    return 0;
}

int prepare_inline(struct wal *log)
{
    bool more;
    if (log->preparing) {
        commit_advance(log);
        return 0;
    }
    return prepare_step(log, &more);
}

/* --- the idle mark ------------------------------------------------------------------------------- */

static bool is_quiet(const struct wal *log)
{
    return log->poison == 0 && !log->read_only && !log->unanchored && log->queue_head == log->queue_tail &&
           log->in_flight == 0 && log->roll_pending == 0 && !log->leading && !log->closing;
}

static bool is_covered(const struct wal *log)
{
    return log->sealed.last_content_number <= log->sealed.highest_mark;
}

bool prepare_mark(struct wal *log)
{
    if (!is_quiet(log) || is_covered(log)) {
        return false;
    }
    /* A mark must not take the last free blocks: open, truncate and close have need of them. */
    uint64_t least_blocks = log_ready_segments(log) == 0 ? STAGE_LAST_BLOCKS + 1 : 2;
    uint64_t seal_offset = segment_seal_offset(log->stage_segment, log->shape.block_bytes);
    uint64_t free_bytes = seal_offset > log->stage_offset ? seal_offset - log->stage_offset : 0;
    if (free_bytes < least_blocks * log->shape.block_bytes || stage_control(log, BATCH_MARK) != 0) {
        return false;
    }
    POINT(mark);
    commit_lead(log, false);
    return true;
}

/* --- the thread ---------------------------------------------------------------------------------- */

static void wait_ns(struct wal *log, uint64_t duration_ns)
{
    uint64_t until_ns = now_ns() + duration_ns;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                                   .tv_nsec = (long)(until_ns % 1000000000u)};
    (void)pthread_cond_timedwait(&log->helper_wake, &log->lock, &until);
}

/* Sleeps until there may be something to do; writes the mark when the quiet time is over. */
static void idle(struct wal *log, bool retry)
{
    uint64_t quiet_ns = (uint64_t)log->options.idle_mark_ms * 1000000;
    if (log->poison != 0 || (is_covered(log) && !retry)) {
        log->helper_asleep = true;
        (void)pthread_cond_wait(&log->helper_wake, &log->lock);
        log->helper_asleep = false;
        return;
    }
    if (log->idle_number == log->sealed.last_content_number && is_quiet(log) &&
        now_ns() - log->idle_since_ns >= quiet_ns && prepare_mark(log)) {
        return; /* The lock was given up meanwhile, and wakes are to be given: look at everything anew. */
    }
    if (log->idle_number != log->sealed.last_content_number) {
        log->idle_number = log->sealed.last_content_number;
        log->idle_since_ns = now_ns();
    }
    if (!log->closing && log->poison == 0) {
        wait_ns(log, retry && quiet_ns > RETRY_NS ? RETRY_NS : quiet_ns);
    }
}

static void *run_helper(void *argument)
{
    struct wal *log = argument;
    log_lock(log);
    while (!log->closing) {
        bool more;
        int status = prepare_step(log, &more);
        if (log_has_wakes(log)) {
            log_unlock(log);
            log_lock(log);
        } else if (!more && !log->closing) {
            idle(log, status != 0); /* The lock was not given up since prepare_step looked: no signal is missed. */
        }
    }
    log_unlock(log);
    return NULL;
}

int prepare_start_thread(struct wal *log)
{
    int result = thread_start(&log->helper_thread, "wal-helper", run_helper, log);
    log->helper_started = result == 0;
    if (result != 0) {
        return report_set(&log->report, WAL_ESYSTEM, "cannot start the helper thread: %s; WAL_NO_THREADS does without",
                          errno_name(result));
    }
    return 0;
}

void prepare_stop_thread(struct wal *log)
{
    if (log->helper_started) {
        log_lock(log);
        (void)pthread_cond_broadcast(&log->helper_wake);
        log_unlock(log);
        (void)pthread_join(log->helper_thread, NULL);
        log->helper_started = false;
    }
}
