/* wal.h - a persistent, segmented write-ahead log.
 *
 *     struct wal *log;
 *     struct wal_options options = WAL_OPTIONS_INIT;
 *     options.flags = WAL_CREATE;
 *     if (wal_open("/var/lib/me/log", &options, &log, NULL) != 0) ...
 *     struct wal_record record = {.data = "hello", .size = 5, .type = 1};
 *     struct wal_append append = {.records = &record, .record_count = 1};
 *     struct wal_receipt receipt;
 *     if (wal_append(log, &append, &receipt) == 0 && wal_wait(log, receipt.ticket) == 0)
 *         ... record receipt.first_index survives a power cut from here on
 *     wal_close(log);
 *
 * WHAT IS PROMISED
 *
 *   P1  An index reported durable survives kill -9, a kernel crash and a power cut, on any disk that honours flush.
 *   P2  After any crash the log is a gap-free prefix that holds everything reported durable, every record byte-exact.
 *       What recovery once cut never comes back.
 *   P3  One append call is atomic in recovery: all its records and its metadata, or none.
 *   P4  Damage to durable data that a later mark covers is never passed off as the end of the log: wal_open gives a
 *       verdict with its evidence. Corrupt and uncertain change nothing on disk unless the caller accepts them; a crash
 *       alone yields neither. The last commit before a crash (of an event loop's large batches, two at the disk at
 *       once, the last two: see batches_in_flight_max) is covered by a mark once a later write, the idle mark or
 *       wal_close has landed; if it is damaged before that, beyond recognition, no log can tell that from a tear.
 *   P5  After a failed write or sync the handle is poisoned: every waiter and every later append gets the error,
 *       nothing is retried into the same range, only a fresh open clears it. An error from append or wait means
 *       UNKNOWN, not ABSENT: the next open may find the records whole, and then keeps them.
 *   P6  A full disk refuses the append before anything is accepted. Reading, truncating and reopening keep working, and
 *       appending resumes when there is room; a reserve of one segment is kept for it, and its last blocks are for
 *       truncations of the start that free a segment: truncations of the end do not use them, and opens leave no trace
 *       in them.
 *   P7  Every read is verified. A wrong byte is an error with its place, never data.
 *   P8  Memory is bounded by the options; appending allocates nothing; at the bound the caller waits, or gets
 *       WAL_EAGAIN.
 *   P9  Two writers cannot open one directory; any number of readers may look at a live log.
 *
 * WORDS
 *
 *   index    number of a record, from 1. Consecutive. A truncation of the end lowers the last one.
 *   ticket   number of an accepted append, truncation or reset: +1 each, never lower while the handle lives; completion
 *            is told in tickets, since metadata alone has no index, and a truncation lowers it. They start anew with
 *            each open.
 *   durable  on stable storage, and so is everything before it.
 *
 * THREADS
 *
 *   | call                                 | from                                                               |
 *   |--------------------------------------|--------------------------------------------------------------------|
 *   | wal_append, wal_commit, wal_wait,    | any thread, at any time between open and close                     |
 *   | wal_truncate_*, wal_reset,           |                                                                    |
 *   | wal_submit, wal_read, wal_verify,    |                                                                    |
 *   | wal_first/last/durable_*, wal_doubt, |                                                                    |
 *   | wal_metadata, wal_stats, wal_errmsg, |                                                                    |
 *   | wal_maintain, wal_event_fd           |                                                                    |
 *   | wal_dispatch                         | any thread; one does the work, others return at once               |
 *   | a struct wal_cursor                  | one thread at a time; many cursors at once                         |
 *   | wal_open, wal_close                  | once each; close when no other call runs and no cursor is open     |
 *   | options.log                          | called from open and close, by the thread that is in them          |
 *   | options.allocator                    | called from any thread in a wal call, and from the threads below   |
 *
 *   Threads started: with the default options one, "wal-helper", which makes segments ready ahead of need, recycles
 *   retired ones and writes the mark when the log idles. With WAL_NO_THREADS none: then the caller calls
 *   wal_maintain() from its own loop. If wal_event_fd() is asked for and there is no ring, one more, "wal-commit",
 *   which carries the event loop's writes. They end in wal_close. A wal_verify that has two processors and two segments
 *   or more reads half of them in a thread of its own, "wal-verify", which has ended when it returns; not with
 *   WAL_NO_THREADS. All of them block all signals. A handle does not survive fork(): the child must not touch it.
 *
 * RESULTS
 *
 *   Every call returns 0 or a negative WAL_E code unless it says otherwise; outputs are written only on 0.
 *   wal_strerror() is the word for a code, wal_errmsg() the handle's last failure with file, offset, expected and
 *   found. The library never prints and reads no environment variable; it aborts only on a broken invariant of its own.
 *
 * Usable from C11 and C++17; needs no feature macro. Linux. */

#ifndef WAL_WAL_H
#define WAL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WAL_API __attribute__((visibility("default")))
#define WAL_CHECKED __attribute__((visibility("default"), warn_unused_result))
#else
#define WAL_API
#define WAL_CHECKED
#endif

#define WAL_VERSION "0.1.0"

struct wal;
struct wal_cursor;
struct wal_io; /* wal/io.h */

/* --- results ------------------------------------------------------------------------------------- */

/* Codes above -1000 are Linux errno values; the others are the log's own. */
#define WAL_STATUS_LIST(X)                                                            \
    X(WAL_OK, 0, "success")                                                           \
    X(WAL_ENOENT, -2, "no log here")                                                  \
    X(WAL_EIO, -5, "the disk failed")                                                 \
    X(WAL_EAGAIN, -11, "would have to wait")                                          \
    X(WAL_ENOMEM, -12, "out of memory")                                               \
    X(WAL_EACCES, -13, "permission denied")                                           \
    X(WAL_EBUSY, -16, "locked by another writer")                                     \
    X(WAL_EEXIST, -17, "there is a log already")                                      \
    X(WAL_EINVAL, -22, "invalid argument or option")                                  \
    X(WAL_ENOSPC, -28, "no room on the disk; nothing was accepted")                   \
    X(WAL_EROFS, -30, "opened for reading only")                                      \
    X(WAL_ESYSTEM, -1001, "a system call failed")                                     \
    X(WAL_EPOISONED, -1002, "an earlier write or sync failed; reopen the log")        \
    X(WAL_ECORRUPT, -1003, "durable data is damaged")                                 \
    X(WAL_EUNCERTAIN, -1004, "the end of the log may have lost acknowledged records") \
    X(WAL_ENOTLOG, -1005, "the directory is not a log")                               \
    X(WAL_EFOREIGN, -1006, "a segment belongs to another log")                        \
    X(WAL_ENEWER, -1007, "the log has a newer format")                                \
    X(WAL_ETOOBIG, -1008, "above a limit of the options")                             \
    X(WAL_EINDEX, -1009, "not the index that the log expects")                        \
    X(WAL_ECOMPACTED, -1010, "the index lies before the start of the log")            \
    X(WAL_EBEYOND, -1011, "the index lies behind the durable end of the log")         \
    X(WAL_ETRUNCATED, -1012, "the records were truncated before they were durable")   \
    X(WAL_ESMALL, -1013, "the buffer is too small")                                   \
    X(WAL_EUNSTABLE, -1014, "two reads of one place differ")                          \
    X(WAL_ECLOSED, -1015, "the log is being closed")

enum wal_status {
#define WAL_STATUS_ENUM(name, value, text) name = (value),
    WAL_STATUS_LIST(WAL_STATUS_ENUM)
#undef WAL_STATUS_ENUM
};

/* The text of a code, static; "unknown code" for any other number. Never NULL. */
WAL_API const char *wal_strerror(int status);

/* Copies the handle's last failure, with its place and the next step, into text: always terminated when size > 0, ""
 * when nothing has failed. Returns the length of the whole message. */
WAL_API size_t wal_errmsg(const struct wal *log, char *text, size_t size);

/* The version of the library linked, WAL_VERSION of its build. */
WAL_API const char *wal_version(void);

/* --- opening ------------------------------------------------------------------------------------- */

enum wal_flags {
    WAL_CREATE = 1,               /* Make the log when the directory does not exist or is empty. */
    WAL_EXCLUSIVE = 2,            /* With CREATE: WAL_EEXIST when there is one. */
    WAL_READ_ONLY = 4,            /* No lock, no flush, no write; may be a live log of another process. */
    WAL_NO_THREADS = 8,           /* Start no thread; the caller calls wal_maintain(). */
    WAL_BUFFERED = 16,            /* Through the page cache; for file systems that do direct I/O badly. */
    WAL_POWERSAFE_OVERWRITE = 32, /* The caller asserts that a torn write harms no byte outside itself: block_bytes may
                                     be below the device's physical block. */
    WAL_ACCEPT_UNCERTAIN = 64,    /* Cut where the log became uncertain, and leave a doubt. */
    WAL_ACCEPT_CORRUPT = 128,     /* Cut before the damage, and leave a doubt. Everything behind the cut is lost. */
    WAL_ZERO_RECYCLED = 256       /* Zero recycled segments again: damage there is provable everywhere, streaming gets
                                     slower. */
};

enum wal_backend { WAL_BACKEND_AUTO = 0, WAL_BACKEND_POSIX = 1, WAL_BACKEND_URING = 2 };

/* How a blocking commit makes its batch durable. AUTO tries each during the first commits and keeps the fastest. */
enum wal_strategy {
    WAL_STRATEGY_AUTO = 0,
    WAL_STRATEGY_FDATASYNC = 1,
    WAL_STRATEGY_DSYNC = 2,
    WAL_STRATEGY_LINKED = 3
};

enum wal_log_level { WAL_LOG_NOTICE = 1, WAL_LOG_WARNING = 2, WAL_LOG_ERROR = 3 };

/* Memory from the caller: allocate returns NULL on failure; alignment is a power of two. All pointers outlive the
 * handle. */
struct wal_allocator {
    void *(*allocate)(void *context, size_t bytes, size_t alignment);
    void (*release)(void *context, void *memory, size_t bytes);
    void *context;
};

/* Start from WAL_OPTIONS_INIT; 0 in a field means its default. Everything is checked by wal_open (WAL_EINVAL, with a
 * message in the verdict). */
struct wal_options {
    size_t options_bytes; /* sizeof(struct wal_options), set by WAL_OPTIONS_INIT. */
    uint32_t flags;       /* enum wal_flags */
    enum wal_backend backend;
    enum wal_strategy strategy;
    uint32_t block_bytes;     /* 4,096. Of a new log; a power of two, 512 to 65,536. An existing log keeps its own. */
    uint64_t segment_bytes;   /* 64 MiB. Of segments made from now on; a whole number of blocks, 16 blocks to 4 GiB - 1
                                 block. */
    uint32_t batch_bytes_max; /* 2 MiB. Largest batch; records of one append, 24 bytes added to each and a multiple of
                                 8, may take this less 360 bytes; at least 4 blocks; at most
                                 segment_bytes - 3 blocks. */
    uint32_t batches_in_flight_max; /* Of an event loop, at the disk at once; at most 4. 0: a second one when it has a
                                       quarter of batch_bytes_max or more, or cannot grow any more; smaller ones are
                                       better off waiting. (Threads that wait write one batch at a time.) */
    uint32_t segments_ready;        /* 2. Prepared ahead; 2 to 16. */
    uint32_t segments_pool_max;     /* 4. Retired files kept for recycling; at most 1,024; the surplus is removed. */
    uint32_t segments_max; /* 4,096. Files of the log at once; at most 65,536. At the bound appends get WAL_ENOSPC. */
    uint32_t segments_mapped_max; /* 8. Segments whose record offsets are held in memory, and their files open; at least
                                     2. */
    uint32_t idle_mark_ms;        /* 50. Quiet time after which the last batch is covered by a mark. */
    uint64_t known_durable_index; /* 0: none. An index the caller knows was durable; a log that ends before it is
                                     corrupt. */
    const void
        *accept_metadata; /* With ACCEPT_*: replaces the metadata in force, atomically with the cut; NULL: kept. */
    uint32_t accept_metadata_bytes;                                         /* At most WAL_METADATA_BYTES_MAX. */
    void (*log)(void *context, enum wal_log_level level, const char *text); /* NULL: silence. */
    void *log_context;
    const struct wal_allocator *allocator; /* NULL: the C library's, with huge pages for batch buffers. */
};

#define WAL_METADATA_BYTES_MAX 256u
#define WAL_INDEX_MAX UINT64_C(0x7fffffffffffffff) /* Of a record; appends and resets beyond are WAL_EINDEX. */
#ifdef __cplusplus
static inline wal_options wal_options_init()
{
    wal_options options = wal_options();
    options.options_bytes = sizeof(options);
    return options;
}
#define WAL_OPTIONS_INIT wal_options_init()
#else
#define WAL_OPTIONS_INIT                            \
    {                                               \
        .options_bytes = sizeof(struct wal_options) \
    }
#endif

enum wal_verdict_kind {
    WAL_VERDICT_NONE = 0, /* No judgement was reached: row Y1, a disk error, a bad option. */
    WAL_VERDICT_CLEAN = 1,
    WAL_VERDICT_TORN = 2,      /* Explained by the cut: see concerned_batches for what no log can tell. */
    WAL_VERDICT_UNCERTAIN = 3, /* Acknowledged records may be missing at the end. */
    WAL_VERDICT_CORRUPT = 4    /* Durable data does not read. */
};

/* What was seen of a batch that was cut. */
enum wal_cut_seen { WAL_CUT_NOTHING = 0, WAL_CUT_HEADER = 1, WAL_CUT_LATER_BATCHES = 2 };

/* Records [first_index, end_index) cannot be read: batches that fail their checks, at this place. */
struct wal_hole {
    uint64_t first_index;
    uint64_t end_index; /* 0: unknown. */
    uint64_t segment;
    uint64_t offset;
    uint64_t tag_before; /* Tag of the last record before the hole. */
    uint64_t tag_last;   /* Tag of the last record in it, when tag_last_known. */
    bool tag_last_known;
};

enum { WAL_HOLES_MAX = 8, WAL_VERDICT_TEXT_BYTES = 512 };

/* What wal_open found. Plain data, no pointers. */
struct wal_verdict {
    enum wal_verdict_kind kind;
    int row;                /* 1..11 for Y1..Y11 of FORMAT.md section 7; 0: none was reached. */
    bool closed;            /* CLEAN, and the last batch is a CLOSE: the strongest verdict. */
    bool flushed;           /* Files and directory were flushed before they were believed (false when read only). */
    bool accepted;          /* UNCERTAIN or CORRUPT, and the caller's flag accepted it: the cut has been made. */
    bool old_content_known; /* The bytes behind the end were known to be zero, so that damage there could be proved. */
    bool index_unknown; /* The damaged batch's indexes could not be told. (One whose head does not read may have been
                               a truncation, and concern lower indexes.) */
    uint8_t uuid[16];
    uint64_t first_index; /* Of the log; first_index > last_index: it is empty. */
    uint64_t last_index;  /* Last one readable without a hole before it. */
    uint64_t batch;       /* Expected number at the place where the walk stopped. */
    uint64_t segment;     /* That place, */
    uint64_t offset;
    uint64_t index;    /* and the first index concerned. */
    uint64_t mark;     /* Highest mark seen behind it: >= batch is the proof of damage. */
    uint64_t expected; /* What should have been there, and what was: numbers whose meaning the text gives. */
    uint64_t found;
    uint64_t cut_bytes; /* Bytes of recognisable batches behind the place. */
    uint64_t cut_records;
    enum wal_cut_seen cut_seen;
    uint32_t concerned_batches;    /* At most so many commits, from last_index + 1 on, can have been acknowledged and be
                                      lost (TORN, UNCERTAIN). */
    uint32_t spare_copies_damaged; /* Unreadable identities and seals whose loss changes no verdict. */
    uint64_t doubt_index;          /* Doubt in force; 0: none. */
    uint32_t hole_count;
    struct wal_hole holes[WAL_HOLES_MAX];
    char text[WAL_VERDICT_TEXT_BYTES]; /* One or two sentences: what was found where, and the next step. Also for errors
                                          without a handle. */
};

/* Opens, or with WAL_CREATE makes, the log in a directory. Recovers it: flush, read, judge, and (for writing) a durable
 * anchor at the end found. *log_out is the handle, to be closed with wal_close. *verdict (may be NULL) is filled
 * whatever the result.
 *
 * UNCERTAIN and CORRUPT: without the accepting flag nothing on disk has changed, the result is WAL_EUNCERTAIN or
 * WAL_ECORRUPT and there is no handle; WAL_READ_ONLY opens such a log all the same, result 0, so that both sides of the
 * damage can be read. A full disk without room for the anchor: result 0, appends answer WAL_ENOSPC. The directory's
 * parent must exist. options may be NULL (all defaults: an existing log). Blocks. */
WAL_CHECKED int wal_open(const char *directory, const struct wal_options *options, struct wal **log_out,
                         struct wal_verdict *verdict);

/* The same on a disk of the caller's, which stays the caller's and must outlive the handle. options->backend is
 * ignored. WAL_EINVAL: the disk wants an alignment above 4,096. Should its poll() fail meanwhile, the memory that it
 * may still read into is left to it, and the log is read by execute(). */
WAL_CHECKED int wal_open_io(struct wal_io *io, const struct wal_options *options, struct wal **log_out,
                            struct wal_verdict *verdict);

/* Waits for everything accepted, writes a CLOSE batch, ends the helper threads, frees the handle: it is gone whatever
 * the result. An error means that the log was not closed in order: the next open recovers it. Should the disk's poll()
 * fail for a second on end while writes are at it, their buffers stay where they are (WAL_EPOISONED), and so does the
 * rest of the handle's memory. NULL is allowed (0). */
WAL_API int wal_close(struct wal *log);

/* --- appending ----------------------------------------------------------------------------------- */

struct wal_record {
    const void *data; /* size bytes; may be NULL when size is 0. */
    uint32_t size;
    uint16_t type;  /* The caller's; not 0. */
    uint64_t tag;   /* The caller's. */
    uint64_t index; /* Filled by reads; ignored by appends. */
};

enum wal_append_flags {
    WAL_APPEND_METADATA = 1,   /* metadata (perhaps of 0 bytes) replaces the metadata in force, atomically with the
                                  records. */
    WAL_APPEND_TRUNCATE = 2,   /* Remove records from first_index on first, atomically with the rest. */
    WAL_APPEND_NO_WAIT = 4,    /* WAL_EAGAIN instead of waiting for room in the buffers or for a segment. */
    WAL_APPEND_CLEAR_DOUBT = 8 /* The doubt in force ends with this append. */
};

struct wal_append {
    const struct wal_record *records;
    uint32_t record_count; /* 0: metadata, truncation or cleared doubt alone. */
    uint32_t flags;        /* enum wal_append_flags */
    uint64_t first_index;  /* TRUNCATE: first index removed, first_index() <= it <= last_index() + 1. Else 0, or
                              last_index() + 1 as a check. */
    const void *metadata;
    uint32_t metadata_bytes; /* At most WAL_METADATA_BYTES_MAX. */
};

struct wal_receipt {
    uint64_t ticket;
    uint64_t first_index; /* Of the records of this call; */
    uint64_t last_index;  /* first_index - 1 when it had none. */
};

/* Accepts the records: they have indexes and a place in the order of the log; not yet durable. All data is copied
 * before it returns. Never waits for the device, but for room in the buffers (P8) or for a ready segment, unless
 * NO_WAIT. With an event loop (no thread waiting in wal_wait) nothing is written before wal_submit or wal_dispatch.
 * Refused whole, with nothing changed: WAL_ETOOBIG (more than one batch holds), WAL_EINDEX, WAL_EINVAL, WAL_ENOSPC,
 * WAL_EAGAIN, WAL_EROFS. WAL_EPOISONED after a failure: nothing further is accepted. A truncation lowers the visible
 * durable index at once to first_index - 1; waiters on records that it removed before they were durable get
 * WAL_ETRUNCATED when their turn has come, not success. */
WAL_CHECKED int wal_append(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt);

/* Waits until the ticket is durable. 0; WAL_ETRUNCATED: durable in its order, but a truncation accepted before that has
 * removed its records (remembered for the last 1,024 runs of such tickets); or WAL_EPOISONED: what became of it is
 * unknown. WAL_EINVAL: no such ticket was given out. The calling thread may carry out the write for everyone who waits.
 */
WAL_CHECKED int wal_wait(struct wal *log, uint64_t ticket);

/* wal_append and wal_wait. receipt may be NULL. */
WAL_CHECKED int wal_commit(struct wal *log, const struct wal_append *append, struct wal_receipt *receipt);

/* Removes the records from first_removed on: a wal_append with TRUNCATE and no records. Not durable on return: wait for
 * the ticket. */
WAL_CHECKED int wal_truncate_suffix(struct wal *log, uint64_t first_removed, struct wal_receipt *receipt);

/* Removes the records below first_kept (first_index() <= it <= last_index() + 1, else WAL_EINDEX). Segments that hold
 * nothing else are recycled or removed once the truncation is durable. Works on a full disk; one that frees no segment
 * only until the reserve is used up, and so does wal_truncate_suffix: WAL_ENOSPC then. */
WAL_CHECKED int wal_truncate_prefix(struct wal *log, uint64_t first_kept, struct wal_receipt *receipt);

/* Empties the log and goes on at next_index, which must be above last_index() + 1: a snapshot was installed. */
WAL_CHECKED int wal_reset(struct wal *log, uint64_t next_index, struct wal_receipt *receipt);

/* --- state --------------------------------------------------------------------------------------- */

WAL_API uint64_t wal_first_index(const struct wal *log);   /* First one not truncated, as accepted. */
WAL_API uint64_t wal_last_index(const struct wal *log);    /* Last one accepted; first_index - 1: the log is empty. */
WAL_API uint64_t wal_durable_index(const struct wal *log); /* Last one durable; never above wal_last_index. */
WAL_API uint64_t wal_durable_ticket(const struct wal *log);
WAL_API uint64_t wal_doubt(const struct wal *log); /* First index in doubt, durable until cleared; 0: none. */

/* Copies the newest durable metadata; of a damaged log opened for reading the newest that reads, on either side of the
 * damage. *bytes_out is its size; WAL_ESMALL (with *bytes_out set) when it does not fit; WAL_ENOENT: there never was
 * any. */
WAL_CHECKED int wal_metadata(const struct wal *log, void *buffer, size_t buffer_bytes, size_t *bytes_out);

/* --- event loop ---------------------------------------------------------------------------------- */

/* A descriptor that polls readable when wal_dispatch has something to do or to tell. The handle's; valid until
 * wal_close; negative code on failure. The first call prepares for event-loop use. */
WAL_CHECKED int wal_event_fd(struct wal *log);

/* The loop: poll the descriptor; wal_dispatch; act on what became durable, wal_append what is new; wal_submit; poll
 * again.
 *
 * Starts writing what has been accepted, if the device is free; else it goes out after the write that is under way, or
 * beside it (batches_in_flight_max).
 * Calls nothing back, and never blocks on the device - unless there is neither a ring nor a thread (WAL_NO_THREADS):
 * then it carries out one write in the caller's own time. */
WAL_CHECKED int wal_submit(struct wal *log);

struct wal_progress {
    uint64_t durable_ticket;
    uint64_t durable_index;
};

/* Takes completions and moves the durable counters. When that made progress, the next write is left for wal_submit, so
 * that what the loop appends in answer goes out with it; the descriptor stays readable until then. Only a batch that
 * is complete already, so that the answer could not join it, goes out at once. Never blocks. progress may be NULL.
 * WAL_EPOISONED after a failure (progress is filled then as well). */
WAL_CHECKED int wal_dispatch(struct wal *log, struct wal_progress *progress);

enum wal_maintain_flags {
    WAL_MAINTAIN_MARK = 1,   /* Write the idle mark now, if the last batch is not covered, without waiting out the quiet
                                time. */
    WAL_MAINTAIN_PREPARE = 2 /* Make segments ready until there are enough, not just one step; also on a disk that was
                                full within the last 100 ms. */
};

/* What the helper thread would do: one step of preparing or recycling a segment, the idle mark when its time has come.
 * Blocks on the device. Needed only with WAL_NO_THREADS. *more_out (may be NULL): call again soon. WAL_ENOSPC: no room
 * for a segment; another status: it could not be made, and why. */
WAL_CHECKED int wal_maintain(struct wal *log, uint32_t flags, bool *more_out);

/* --- reading ------------------------------------------------------------------------------------- */

/* Reads one durable record into the caller's buffer and verifies it. record->data points into buffer. WAL_ESMALL:
 * record->size says what is needed. WAL_ECOMPACTED, WAL_EBEYOND: no such record. WAL_ECORRUPT: the bytes are wrong,
 * wal_errmsg names the place; other records may read well. Served while writes go on. A read-only handle sees the log
 * as it was when it was opened; what the writer has truncated since may be gone: WAL_ECOMPACTED as well, open it again.
 * It looks at the log anew to tell that from damage; where that look fails, its code is the answer. */
WAL_CHECKED int wal_read(struct wal *log, uint64_t index, void *buffer, size_t buffer_bytes, struct wal_record *record);

/* Opens a cursor before first_index (0: the first of the log). Allocates; to be closed before the log. */
WAL_CHECKED int wal_cursor_open(struct wal *log, uint64_t first_index, struct wal_cursor **cursor_out);

/* The next record, verified; record->data points into the cursor, until its next call. WAL_EBEYOND at the durable end
 * (more may come: ask again). WAL_ECOMPACTED: it was truncated away under the cursor. WAL_ECORRUPT: the cursor stays;
 * wal_cursor_seek past it to read on. */
WAL_CHECKED int wal_cursor_next(struct wal_cursor *cursor, struct wal_record *record);

/* Where a record stands: the offset of its header in the segment's file. For tools and messages. */
struct wal_place {
    uint64_t segment;
    uint64_t offset;
};

/* The place of the record that wal_cursor_next returned last. WAL_EINVAL: it has returned none yet. */
WAL_CHECKED int wal_cursor_place(const struct wal_cursor *cursor, struct wal_place *place);

/* The next record returned will be `index`. */
WAL_API void wal_cursor_seek(struct wal_cursor *cursor, uint64_t index);
WAL_API void wal_cursor_close(struct wal_cursor *cursor);

struct wal_verify_report {
    uint64_t records;
    uint64_t bytes;            /* Of segments read. */
    uint64_t bad_records;      /* Indexes that do not read, those of segments that are missing included. */
    struct wal_hole first_bad; /* With its tags, as far as its neighbours tell them; offset 0: its file is missing. */
};

/* Reads and verifies every live record. WAL_ECORRUPT when one fails (the report is filled); of a read-only handle
 * WAL_ECOMPACTED when the writer has truncated what it read. progress (may be NULL) is
 * called now and then; non-zero from it stops (WAL_EAGAIN). */
WAL_CHECKED int wal_verify(struct wal *log, struct wal_verify_report *report,
                           int (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total), void *context);

/* --- numbers ------------------------------------------------------------------------------------- */

struct wal_latency {
    uint64_t count;
    uint64_t total_ns;
    uint64_t p50_ns, p90_ns, p99_ns, p999_ns; /* From buckets of at most 6 % width. */
    uint64_t max_ns;
};

struct wal_stats {
    uint64_t appends, records, payload_bytes;     /* Accepted. */
    uint64_t batches, batch_bytes, padding_bytes; /* Written, control batches included. */
    uint64_t marks, rolls, truncations, starts;
    uint64_t segments_made, segments_recycled, segments_removed;
    uint64_t roll_waits;   /* Waits of appends for a ready segment, */
    uint64_t buffer_waits; /* and for room in the buffers; one append may wait more than once. */
    uint64_t reads, read_bytes;
    uint64_t appended_ticket, submitted_ticket, durable_ticket;
    uint64_t segments, segments_ready, segments_retired;
    struct wal_latency queue;       /* First append of a batch to its submission. */
    struct wal_latency write;       /* Submission to the end of the transfer (of the whole durable write when it is one
                                       operation). */
    struct wal_latency sync;        /* A separate sync; empty when there is none. */
    struct wal_latency acknowledge; /* Completion to the last waiter's being woken. */
    struct wal_latency roll;        /* Seal and anchor of a roll. */
    enum wal_strategy strategy;     /* In use for blocking commits; AUTO while the first commits try them. */
    uint64_t strategy_ns[4];        /* Median commit seen for each while trying; 0: not tried. */
    bool direct;
    char backend[24];
};

/* A consistent snapshot. */
WAL_API void wal_stats(const struct wal *log, struct wal_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
