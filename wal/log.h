/* log.h - the inside of a handle: one struct, its fields grouped by who may touch them, and its lock.
 *
 * The life of a record, through these files:
 *   stage.c    accepts it: index, place in the open batch, checksum;
 *   commit.c   seals the batch, writes it, makes it durable, tells the waiters;
 *   prepare.c  has the next segment ready when this one is full;
 *   read.c     finds it again.
 *
 * May include: wal.h, io.h, batch.h, clock.h, segment.h, latency.h, report.h, strategy.h, walk.h. */

#ifndef WAL_LOG_H
#define WAL_LOG_H

#include "wal/batch.h"
#include "wal/clock.h"
#include "wal/latency.h"
#include "wal/report.h"
#include "wal/segment.h"
#include "wal/strategy.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LOG_BATCHES_MAX = 8, LOG_TRUNCATIONS_KEPT = 1024 };

/* The log as of the last batch sealed: what the next header must say. Changes in the order of batches. */
struct sealed {
    uint64_t next_number;
    uint64_t chain;
    uint64_t next_index;
    struct format_start start;
    uint64_t doubt_index;
    uint64_t last_tag;
    uint64_t
        last_content_number; /* Last batch with records, a truncation, a start or metadata: what a mark must cover. */
    uint64_t highest_mark;
    uint8_t last_kind;
    uint16_t metadata_bytes; /* Or FORMAT_NO_METADATA. */
    uint8_t metadata[FORMAT_METADATA_BYTES_MAX];
};

/* Tickets whose records a truncation removed before they were durable: [first, end). */
struct truncated_tickets {
    uint64_t first_ticket;
    uint64_t end_ticket;
};

struct counters {
    uint64_t appends, records, payload_bytes;
    uint64_t batches, batch_bytes, padding_bytes;
    uint64_t marks, rolls, truncations, starts;
    uint64_t segments_made, segments_recycled, segments_removed;
    uint64_t roll_waits, buffer_waits;
};

/* Whom to wake, collected under the lock, done behind it. */
struct wakes {
    uint32_t all;      /* Bit per batch slot: all who wait for it. */
    uint32_t one;      /* One of them: the next leader. */
    bool loop;         /* The event loop's descriptor. */
    uint64_t since_ns; /* When the completion came in; 0: nobody is told of a completion. */
};

/* What an open found and cut: its anchor says so. */
struct anchor_cut {
    uint64_t offset;
    uint64_t first_index;
    uint32_t records;
    uint32_t reason;
    bool forced;
    bool zeroed;
    uint64_t number; /* With forced. */
};

struct wal {
    /* Constant after open. */
    struct wal_io *io;
    bool owns_io;
    bool read_only;
    bool shares_disk;           /* The disk is another handle's, which may be in use: only execute() may be called. */
    bool asynchronous;          /* The event loop's writes go through submit and poll. Decided for good when its
                                   descriptor is first asked for. */
    struct wal_options options; /* Defaults filled in. */
    uint32_t later_batch_bytes_min; /* Constant: a smaller batch that may grow is not sent while one is at the disk. */
    struct wal_allocator allocator_copy;
    struct segment_shape shape;
    struct wal_verdict verdict;

    /* Guarded by the lock, all below but where a line says otherwise. */
    pthread_mutex_t lock;
    pthread_cond_t room; /* A batch slot or a ready segment has become free. */
    uint32_t room_waiters;
    struct wakes wakes;
    struct report report;
    int poison; /* WAL_EPOISONED's cause, negative; 0: healthy. */
    bool closing;
    bool unanchored;                /* A full disk at open: there is no anchor, so nothing can be appended. */
    bool anchor_deferred;           /* But there is a block for it: a truncation of the start writes it first. */
    struct anchor_cut deferred_cut; /* What it will say. */

    /* Accepted: what the next append gets. appended >= submitted >= durable, in tickets. */
    uint64_t appended_ticket;
    uint64_t submitted_ticket;
    _Atomic uint64_t durable_ticket; /* Written under the lock, read without. */
    uint64_t start_index;            /* First index of the log, */
    uint64_t start_segment;          /* and a segment from which on all of it is: never goes back. */
    uint64_t next_index;             /* Last index + 1. */
    uint64_t staged_tag;
    uint32_t metadata_room_bytes;  /* The most metadata ever seen on this handle: set aside in each batch. */
    struct segment *stage_segment; /* Where the next batch will stand: the tail, or a ready one after it. */
    uint64_t stage_offset;         /* Known once the open batch, if any, is closed. */

    /* The queue of batches: [queue_head, queue_next) written or being written, [queue_next, queue_tail) waiting, the
     * last perhaps open. A batch's slot is its sequence number modulo batch_count. */
    struct batch batches[LOG_BATCHES_MAX];
    uint32_t waiters[LOG_BATCHES_MAX];
    uint32_t batch_count;
    uint64_t queue_head;
    uint64_t queue_next;
    uint64_t queue_tail;
    struct batch *open; /* The last of the queue while it takes appends; NULL: none does. */

    /* Sealed and durable. */
    struct segment_table table;
    struct segment *tail; /* T: the segment that sealed batches go to. */
    struct sealed sealed;
    uint64_t durable_number;
    uint64_t durable_end_index; /* Visible: one past the last durable index. */
    uint64_t durable_offset;    /* In the tail: bytes before it are durable and will not change. */
    uint64_t generation;        /* Changes when an index may come to mean another record, or none. */
    uint64_t durable_doubt_index;
    uint16_t durable_metadata_bytes;
    uint8_t durable_metadata[FORMAT_METADATA_BYTES_MAX];
    struct truncated_tickets truncations[LOG_TRUNCATIONS_KEPT];
    uint64_t truncation_count;             /* Ever noted; the newest LOG_TRUNCATIONS_KEPT are kept. */
    _Atomic uint64_t truncated_end_ticket; /* No ticket from here on is in truncations. */

    /* At work. */
    bool leading;              /* A thread carries out a write by execute(). */
    bool polling;              /* A thread is in poll(). */
    uint32_t poll_failures;    /* Of poll(), in a row. */
    bool abandoned;            /* poll() fails for good: what is at the disk will never be heard of. */
    uint32_t in_flight;        /* Batches at the disk. */
    uint32_t roll_pending;     /* Writes of a roll at the disk. */
    struct segment *roll_from; /* Pinned while its seal is written. */
    struct segment *roll_to;
    uint64_t roll_started_ns;
    uint8_t *roll_blocks; /* Two blocks: seal, anchor. */
    struct wal_io_op roll_ops[2];
    struct wal_io_op *completed;   /* Taken from the disk, not yet acted on. The poller's. */
    uint32_t recent_appends[2];    /* Appends in the last two batches. */
    uint32_t expected_threads;     /* Those who waited for the batch written last, its leader with them, and for the
                                      open one by then: whom a leader may hope for. */
    uint64_t recent_commit_ns;     /* What the last batch that a thread led took at the disk. */
    uint32_t vain_gathers;         /* How often of late a leader waited and not all came; */
    uint32_t gathers_left_out;     /* and how many leaders are yet to go without. */
    struct strategy strategies[2]; /* [0] of execute, [1] of submit. */

    /* The event loop. */
    bool loop_used;
    int event_fd; /* -1: not asked for yet. */
    bool owns_event_fd;
    pthread_t commit_thread;
    bool commit_thread_started;
    pthread_cond_t commit_wake;

    /* The helper (prepare.c). */
    pthread_t helper_thread;
    bool helper_started;
    pthread_cond_t helper_wake;
    bool preparing;     /* Some thread is making a segment. */
    bool no_room;       /* The last attempt to make a segment failed, for this reason: */
    int no_room_status; /* WAL_ENOSPC (a full disk, or segments_max), or another. */
    struct report no_room_report;
    uint64_t no_room_ns;      /* When. */
    bool helper_asleep;       /* Nothing to do until somebody commits. */
    uint64_t idle_number;     /* Newest batch with content at the last look, */
    uint64_t idle_since_ns;   /* and since when it has been that. */
    uint8_t *prepare_scratch; /* The preparing thread's. */
    uint32_t prepare_scratch_bytes;

    struct counters counters;
    struct latency queue_latency, write_latency, sync_latency, acknowledge_latency, roll_latency;

    /* Reading (read.c), under its own lock, taken before the other one. */
    pthread_mutex_t read_lock;
    struct reader *reader; /* wal_read's. */
    uint64_t use_clock;    /* Under the other lock. */
    _Atomic uint64_t reads, read_bytes;
};

static inline struct batch *log_batch(struct wal *log, uint64_t sequence)
{
    return &log->batches[sequence % log->batch_count];
}

/* Threads that sleep until this batch is durable; NULL: none. */
static inline uint32_t log_waiters(const struct wal *log, const struct batch *batch)
{
    return batch != NULL ? log->waiters[batch - log->batches] : 0;
}

/* Somebody is to be woken when the lock is given up: nobody may go to sleep before that. */
static inline bool log_has_wakes(const struct wal *log)
{
    return log->wakes.all != 0 || log->wakes.one != 0 || log->wakes.loop || log->wakes.since_ns != 0;
}

static inline void log_lock(struct wal *log)
{
    (void)pthread_mutex_lock(&log->lock);
}

/* Segments that can be gone on in: ready, and no batch put into them yet. */
static inline uint32_t log_ready_segments(const struct wal *log)
{
    const struct segment *newest = log->stage_segment != NULL ? log->stage_segment : log->tail; /* NULL: opening. */
    return table_ready(&log->table, newest->number);
}

/* Unlocks, then wakes whom the work under the lock has made ready. (commit.c) */
void log_unlock_and_wake(struct wal *log);

static inline void log_unlock(struct wal *log)
{
    if (__builtin_expect(log_has_wakes(log), 0)) {
        log_unlock_and_wake(log);
    } else {
        (void)pthread_mutex_unlock(&log->lock);
    }
}

/* Tells the caller's log hook. Not under the lock. (wal.c) */
void log_tell(const struct wal *log, enum wal_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
