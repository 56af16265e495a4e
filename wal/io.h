/* io.h - what the log asks of a disk. Public: others may bring a disk of their own (wal_open_io).
 *
 * A `struct wal_io` is one directory on one disk. It has two planes:
 *
 *   control   open, create, rename, list, sync the directory, lock: rare, may block; called from one thread at a time
 *             for any one file, and from several threads for different files.
 *   data      operations that the caller owns: fill a `struct wal_io_op`, hand it over, get exactly one result.
 *               execute()         carries it out in the calling thread and returns when it is over. Any thread, any
 *                                 time.
 *               submit(), poll()  the asynchronous way, only where caps.asynchronous: submit() starts it and never
 *                                 completes it, calls nothing back and does not wait for the device; poll() runs done()
 *                                 for what has finished. Each is called by one thread at a time (the log holds a lock);
 *                                 a submit may run while another thread waits in poll.
 *
 * An operation and its buffer belong to the disk from submit/execute until done() runs or execute() returns.
 *
 * WRITE_DURABLE is one kind of operation: when its result is 0, the bytes [offset, offset + size), and the file's size
 * if the write changed it, are on stable storage. How (fdatasync behind the write, RWF_DSYNC, linked in a ring) is its
 * method. No operation is ordered against another. A disk that fails a WRITE_DURABLE or a SYNC has said nothing about
 * what is on the medium: the caller treats the range as unknown, and nobody retries to learn more.
 *
 * A backend resumes short transfers and repeats interrupted ones itself (wal_io_advance says how), so results are whole
 * or an error.
 *
 * Results are 0 or a negative errno value. Nothing here prints, reads the environment or starts a thread.
 *
 * May include: nothing of the project. */

#ifndef WAL_IO_H
#define WAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WAL_IO_API __attribute__((visibility("default")))
#else
#define WAL_IO_API
#endif

enum wal_io_kind {
    WAL_IO_READ = 1, /* moved_bytes < size only at the end of the file. */
    WAL_IO_WRITE,    /* In the file when it completes; not durable. */
    WAL_IO_WRITE_DURABLE,
    WAL_IO_SYNC /* fdatasync of the file: all writes completed before it was handed over are durable. Ignores the range.
                 */
};

/* How a WRITE_DURABLE is made durable. A backend uses METHOD_DEFAULT's choice for a method it does not have. */
enum wal_io_method {
    WAL_IO_METHOD_DEFAULT = 0,
    WAL_IO_METHOD_FDATASYNC = 1, /* write, and when that is complete, fdatasync */
    WAL_IO_METHOD_DSYNC = 2,     /* one write with RWF_DSYNC */
    WAL_IO_METHOD_LINKED = 3     /* in a ring: write linked to fdatasync */
};

struct wal_io_op {
    enum wal_io_kind kind;
    enum wal_io_method method; /* WRITE_DURABLE only. */
    int file;                  /* From open(). */
    uint32_t size;             /* Multiple of caps.align_bytes. */
    uint64_t offset;           /* Multiple of caps.align_bytes. */
    void *buffer;              /* Aligned to caps.align_bytes. */

    /* Filled by the disk. */
    int32_t result;       /* 0 or negative errno. */
    uint32_t moved_bytes; /* Bytes transferred. */
    uint64_t write_ns;    /* Duration of the transfer; 0 if not measured. */
    uint64_t sync_ns;     /* Duration of a separate sync; 0 if there was none, or not measured. */

    void (*done)(struct wal_io_op *op); /* Runs inside poll() only; may be NULL for execute(). */
    void *owner;                        /* The caller's; the disk never reads it. */

    /* The disk's while the operation is its own. */
    struct wal_io_op *next;
    uint64_t private_ns;
    uint32_t private_state;
    uint32_t private_count;
};

struct wal_io_caps {
    uint32_t align_bytes; /* Of offsets, sizes and buffers of data operations; a power of two, at most 4,096. */
    uint32_t physical_block_bytes; /* What the device writes whole inside; 4,096 when unknown. */
    uint32_t ops_max;              /* In flight at once by submit; -EAGAIN beyond. Below 2 the log writes by execute. */
    uint32_t methods;              /* Bit (1 << method) set for each that execute() has. */
    uint32_t methods_submitted;    /* The same for submit(). */
    bool asynchronous;             /* submit and poll work and do not wait for the device. */
    bool direct;                   /* Reads and writes go around the page cache. */
    bool fua;                      /* The device can write through its cache. */
    char name[24];                 /* "posix", "io_uring", ... for the stats. */
};

enum {
    WAL_IO_OPEN_WRITE = 1, /* Else read only. */
    WAL_IO_OPEN_CREATE = 2 /* With WRITE; an existing file of that name is emptied first. */
};

struct wal_io;

struct wal_io_ops {
    /* Opens a file of the directory. A symbolic link is not followed (-ELOOP). */
    int (*open)(struct wal_io *io, const char *name, unsigned flags, int *file_out);
    int (*close)(struct wal_io *io, int file);
    int (*file_bytes)(struct wal_io *io, int file, uint64_t *bytes_out);
    /* Reserves room for the file's first `bytes` and sets its size; -ENOSPC before anything is written where the file
     * system can tell. 0 also where reserving is not supported. Content is not promised: the caller writes it. */
    int (*allocate)(struct wal_io *io, int file, uint64_t bytes);
    /* Never replaces: -EEXIST. */
    int (*rename)(struct wal_io *io, const char *from, const char *to);
    int (*unlink)(struct wal_io *io, const char *name);
    /* Calls each() for every name but "." and ".."; a non-zero answer stops and is returned. */
    int (*list)(struct wal_io *io, int (*each)(void *context, const char *name), void *context);
    int (*sync_directory)(struct wal_io *io);
    int (*sync_parent)(struct wal_io *io); /* Makes the directory's own name durable. */
    /* Exclusive, not waited for (-EBUSY), held until destroy. */
    int (*lock_directory)(struct wal_io *io);
    /* Exclusive on this open file; waits, some seconds at most (-EBUSY), for a dead owner's writes to end. Held until
     * close. */
    int (*lock_file)(struct wal_io *io, int file);
    /* Drops cached pages so that the next read comes from the device. May do nothing where reads are direct. */
    int (*forget_cache)(struct wal_io *io, int file);

    int (*execute)(struct wal_io *io, struct wal_io_op *op); /* Returns op->result. */
    int (*submit)(struct wal_io *io,
                  struct wal_io_op *op); /* 0: it is the disk's. -EAGAIN: ops_max. Else refused, still the caller's. */
    /* Waits until at least done_min operations (0: none) have completed, or nothing is in flight; runs done() for each;
     * returns how many, or an error. */
    int (*poll)(struct wal_io *io, unsigned done_min);
    /* A non-blocking eventfd, readable when poll() would find something; poll() drains it; the log drains it while
     * another thread is in poll(), and adds to it to call its own loop. -1 when there is none: the log's event loop is
     * then served by a thread of its own, by execute(). The disk's, not to be closed. */
    int (*event_fd)(struct wal_io *io);
    void (*destroy)(struct wal_io *io); /* Nothing may be in flight. */
};

/* First member of every backend. */
struct wal_io {
    const struct wal_io_ops *ops;
    struct wal_io_caps caps;
};

enum {
    WAL_IO_DIRECTORY_CREATE = 1, /* Make the directory when it is not there. */
    WAL_IO_BUFFERED = 2          /* Do not ask for direct I/O. */
};

/* The plain backend: pread, pwritev2, fdatasync; caps.asynchronous is false. 0 or negative errno; *io_out is to be
 * destroyed. */
WAL_IO_API int wal_io_posix(const char *directory, unsigned flags, struct wal_io **io_out);

/* The same control plane and execute(), and a ring for submit and poll. -ENOSYS, -EPERM or whatever the kernel said
 * when there is no ring to be had (sysctl, seccomp, old kernel): take the plain one then. */
WAL_IO_API int wal_io_uring(const char *directory, unsigned flags, struct wal_io **io_out);

/* What a backend does with the raw result of one transfer call (bytes, or negative errno): shared by all backends. */
enum wal_io_next {
    WAL_IO_FINISHED, /* op->result and op->moved_bytes are final. */
    WAL_IO_AGAIN     /* Issue the rest: [offset + moved_bytes, offset + size). */
};
/* -EINTR and -EAGAIN: again (bounded: after 1,000 in a row without progress -EIO). A short read or write goes on; a
 * read of 0 is the end of the file; a write of 0 is -EIO. Anything else finishes. op->private_count counts the turns
 * without progress. */
WAL_IO_API enum wal_io_next wal_io_advance(struct wal_io_op *op, int64_t raw);

#ifdef __cplusplus
}
#endif

#endif
