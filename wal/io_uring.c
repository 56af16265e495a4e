/* io_uring.c - the same disk, with a ring for submit and poll.
 *
 * The happy path: submit() fills an entry and hands it to the kernel; poll() takes completions and runs done(). A durable write is one
 * entry with RWF_DSYNC, or a write linked to an fdatasync, or a write and, when that is complete, an fdatasync.
 *
 * What can fail, and what is left: a short write goes on with the rest. In a linked pair the kernel then cancels the sync: the rest is
 * issued as a pair of its own. An operation is finished when its last entry is back and, for a durable write, a sync that was
 * started after the whole write came back without error.
 *
 * Invariants: an operation has one or two entries out, counted in private_state; its buffer is the kernel's until both are back; done()
 * runs in poll() only; entries out never exceed the ring (ops_max * 2 <= SQ size), so the submission queue is never full. Submitting happens under the
 * log's lock, by one thread at a time; polling by one thread at a time: the two touch different rings.
 *
 * Why no polling modes: a spinning thread holds the CPU that the kernel's completion worker wants; both were slower by factors here.
 *
 * May include: io_file.h, io.h, check.h. */

#define _GNU_SOURCE
#include "wal/io_file.h"

#include "wal/check.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { OPS_MAX = 64, RING_ENTRIES = 2 * OPS_MAX };

struct ring_disk {
    struct io_file file; /* First: this is a struct wal_io. */
    struct io_uring ring;
    pthread_mutex_t submission; /* The poller issues rests while another thread submits. */
    int event_fd;
    _Atomic unsigned in_flight;
};

/* Which entry of an operation a completion is of: the low bit of its user data. */
enum { ENTRY_TRANSFER = 0, ENTRY_SYNC = 1 };

/* private_state: entries out, and what is still to come. */
enum { STATE_OUT_MASK = 3, STATE_SYNC_AFTER = 4, STATE_LINKED = 8, STATE_WRITTEN = 16 };

static struct ring_disk *disk_of(struct wal_io *io)
{
    return (struct ring_disk *)io;
}

static uint64_t clock_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct io_uring_sqe *take_entry(struct ring_disk *disk, struct wal_io_op *op, uintptr_t which)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&disk->ring);
    CHECK(entry != NULL);
    io_uring_sqe_set_data64(entry, (uintptr_t)op | which);
    op->private_state++;
    CHECK((op->private_state & STATE_OUT_MASK) <= 2);
    return entry;
}

static void fill_sync(struct ring_disk *disk, struct wal_io_op *op)
{
    struct io_uring_sqe *entry = take_entry(disk, op, ENTRY_SYNC);
    uint64_t data = entry->user_data;
    io_uring_prep_fsync(entry, op->file, IORING_FSYNC_DATASYNC);
    entry->user_data = data;
}

/* Entries for what is left of the operation. */
static void fill_entries(struct ring_disk *disk, struct wal_io_op *op)
{
    if (op->kind == WAL_IO_SYNC || (op->private_state & STATE_WRITTEN) != 0) {
        fill_sync(disk, op);
        return;
    }
    struct io_uring_sqe *entry = take_entry(disk, op, ENTRY_TRANSFER);
    uint64_t data = entry->user_data;
    char *rest = (char *)op->buffer + op->moved_bytes;
    uint32_t rest_bytes = op->size - op->moved_bytes;
    uint64_t offset = op->offset + op->moved_bytes;
    if (op->kind == WAL_IO_READ) {
        io_uring_prep_read(entry, op->file, rest, rest_bytes, offset);
    } else {
        io_uring_prep_write(entry, op->file, rest, rest_bytes, offset);
        if (op->kind == WAL_IO_WRITE_DURABLE && (op->private_state & (STATE_SYNC_AFTER | STATE_LINKED)) == 0) {
            entry->rw_flags = RWF_DSYNC;
        }
    }
    entry->user_data = data;
    if ((op->private_state & STATE_LINKED) != 0) {
        entry->flags |= IOSQE_IO_LINK;
        fill_sync(disk, op);
    }
}

/* Hands filled entries to the kernel. They are the kernel's even when this fails: a later call takes them along. */
static int enter(struct ring_disk *disk)
{
    int result;
    do {
        result = io_uring_submit(&disk->ring);
    } while (result == -EINTR);
    return result >= 0 || result == -EAGAIN || result == -EBUSY ? 0 : result;
}

static int issue(struct ring_disk *disk, struct wal_io_op *op)
{
    (void)pthread_mutex_lock(&disk->submission);
    fill_entries(disk, op);
    int result = enter(disk);
    (void)pthread_mutex_unlock(&disk->submission);
    return result;
}

/* Entries that the kernel had no memory for the first time. */
static int enter_leftovers(struct ring_disk *disk)
{
    (void)pthread_mutex_lock(&disk->submission);
    int result = io_uring_sq_ready(&disk->ring) != 0 ? enter(disk) : 0;
    (void)pthread_mutex_unlock(&disk->submission);
    return result;
}

static int submit(struct wal_io *io, struct wal_io_op *op)
{
    struct ring_disk *disk = disk_of(io);
    if (atomic_load(&disk->in_flight) == OPS_MAX) {
        return -EAGAIN;
    }
    op->moved_bytes = 0;
    op->private_count = 0;
    op->private_state = 0;
    op->write_ns = op->sync_ns = 0;
    op->private_ns = clock_ns();
    if (op->kind == WAL_IO_WRITE_DURABLE) {
        if (op->method == WAL_IO_METHOD_LINKED) {
            op->private_state = STATE_LINKED;
        } else if (op->method == WAL_IO_METHOD_FDATASYNC || disk->file.no_dsync) {
            op->private_state = STATE_SYNC_AFTER;
        }
    }
    atomic_fetch_add(&disk->in_flight, 1);
    return issue(disk, op);
}

/* One entry is back. True: the operation is finished. */
static bool take_result(struct wal_io_op *op, unsigned which, int result)
{
    op->private_state--;
    bool durable = op->kind == WAL_IO_WRITE_DURABLE;
    uint64_t now = clock_ns();
    if (which == ENTRY_SYNC) {
        bool broken_link = (op->private_state & STATE_LINKED) != 0 && result == -ECANCELED;
        if (!broken_link && op->result == 0) {
            op->result = result == -EINTR ? -EIO : result;
        }
        if (durable && !broken_link) {
            op->sync_ns = now - op->private_ns - op->write_ns;
            return (op->private_state & STATE_WRITTEN) != 0;
        }
        return !durable;
    }
    enum wal_io_next next = wal_io_advance(op, result);
    op->write_ns = now - op->private_ns;
    if (next == WAL_IO_FINISHED) {
        op->private_state |= STATE_WRITTEN;
        return op->result != 0 || (op->private_state & (STATE_SYNC_AFTER | STATE_LINKED)) == 0;
    }
    return false;
}

/* Takes one completion; returns the operation when it is finished, NULL while something of it is out, or is to be issued again. */
static struct wal_io_op *take_completion(const struct io_uring_cqe *completion, struct wal_io_op **again)
{
    uint64_t data = io_uring_cqe_get_data64(completion);
    struct wal_io_op *op = (struct wal_io_op *)(uintptr_t)(data & ~(uint64_t)1);
    unsigned which = (unsigned)(data & 1);
    bool finished = take_result(op, which, completion->res);
    if ((op->private_state & STATE_OUT_MASK) != 0) {
        return NULL; /* The other entry of a pair is still out: the buffer, or the verdict, is not ours yet. */
    }
    bool failed = (op->private_state & STATE_WRITTEN) != 0 && op->result != 0;
    if (finished || failed) {
        return op;
    }
    *again = op;
    return NULL;
}

static void drain_event(struct ring_disk *disk)
{
    uint64_t count;
    ssize_t taken = read(disk->event_fd, &count, sizeof(count));
    (void)taken; /* Empty is fine: the ring is looked at next in any case. */
}

static int poll_ring(struct wal_io *io, unsigned done_min)
{
    struct ring_disk *disk = disk_of(io);
    unsigned done = 0;
    drain_event(disk);
    int left = enter_leftovers(disk);
    if (left != 0) {
        return left;
    }
    for (;;) {
        struct io_uring_cqe *completion = NULL;
        int result =
            done < done_min ? io_uring_wait_cqe(&disk->ring, &completion) : io_uring_peek_cqe(&disk->ring, &completion);
        if (result == -EINTR || (result == -EAGAIN && done < done_min)) {
            continue;
        }
        if (result == -EAGAIN) {
            return (int)done;
        }
        if (result != 0) {
            return result;
        }
        struct wal_io_op *again = NULL;
        struct wal_io_op *op = take_completion(completion, &again);
        io_uring_cqe_seen(&disk->ring, completion);
        if (again != NULL) {
            result = issue(disk, again);
            if (result != 0) {
                return result;
            }
        }
        if (op != NULL) {
            atomic_fetch_sub(&disk->in_flight, 1);
            done++;
            op->done(op);
        }
    }
}

static int event_fd(struct wal_io *io)
{
    return disk_of(io)->event_fd;
}

static void destroy(struct wal_io *io)
{
    struct ring_disk *disk = disk_of(io);
    CHECK(atomic_load(&disk->in_flight) == 0);
    io_uring_queue_exit(&disk->ring);
    (void)close(disk->event_fd);
    io_file_stop(&disk->file);
    free(disk);
}

static const struct wal_io_ops ring_ops = {
    IO_FILE_CONTROL_PLANE, .submit = submit, .poll = poll_ring, .event_fd = event_fd, .destroy = destroy,
};

/* Some containers give a ring and then refuse its use: one entry that does nothing tells. */
static int try_ring(struct io_uring *ring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    CHECK(entry != NULL);
    io_uring_prep_nop(entry);
    int result = io_uring_submit_and_wait(ring, 1);
    if (result < 0) {
        return result;
    }
    struct io_uring_cqe *completion;
    result = io_uring_peek_cqe(ring, &completion);
    if (result == 0) {
        result = completion->res;
        io_uring_cqe_seen(ring, completion);
    }
    return result;
}

static int start_ring(struct ring_disk *disk)
{
    int result = io_uring_queue_init(RING_ENTRIES, &disk->ring, IORING_SETUP_CLAMP);
    if (result != 0) {
        return result;
    }
    disk->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    result = disk->event_fd >= 0 ? try_ring(&disk->ring) : -errno;
    if (result == 0) {
        result = io_uring_register_eventfd(&disk->ring, disk->event_fd);
    }
    if (result != 0) {
        if (disk->event_fd >= 0) {
            (void)close(disk->event_fd);
        }
        io_uring_queue_exit(&disk->ring);
    }
    return result;
}

int wal_io_uring(const char *directory, unsigned flags, struct wal_io **io_out)
{
    struct ring_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return -ENOMEM;
    }
    int result = io_file_start(&disk->file, directory, flags);
    if (result != 0) {
        free(disk);
        return result;
    }
    (void)pthread_mutex_init(&disk->submission, NULL);
    result = start_ring(disk);
    if (result != 0) {
        io_file_stop(&disk->file);
        free(disk);
        return result;
    }
    struct wal_io *io = &disk->file.io;
    io->ops = &ring_ops;
    io->caps.asynchronous = true;
    io->caps.ops_max = OPS_MAX;
    io->caps.methods_submitted = io->caps.methods | 1u << WAL_IO_METHOD_LINKED;
    static const char name[] = "io_uring";
    __builtin_memcpy(io->caps.name, name, sizeof(name));
    *io_out = io;
    return 0;
}
