/* io_uring.c - the same disk, with a ring for submit and poll.
 *
 * The happy path: submit() fills an entry and hands it to the kernel; poll() takes completions and runs done().
 * A durable write is
 *   - one write with RWF_DSYNC (METHOD_DSYNC, and the default), or
 *   - a write linked to an fdatasync, handed over in one call (METHOD_LINKED), or
 *   - a write, and when poll() has seen it complete, an fdatasync (METHOD_FDATASYNC).
 *
 * What can fail, and what is left:
 *   - A transfer is short or interrupted. poll() issues the rest in the same way; in a linked pair the kernel has
 *     then cancelled the sync, and the rest goes out with a linked sync of its own.
 *   - The thread that submitted an entry ends before the kernel has carried it out. The entry comes back with
 *     -ECANCELED, or with -EFAULT where the kernel wanted the thread for the next step (io_req_task_submit in its
 *     io_uring.c). Nothing was done; poll() issues it again. A buffer that is really bad says -EFAULT each time, and
 *     after a few that is the result.
 *   - The kernel takes no entry (no memory). After a few tries the entries are made into empty ones, which it may
 *     take whenever it likes; submit() refuses the operation, and a rest that poll() issued ends it with the error.
 *   - The kernel takes the write of a pair and not the sync. Taken later, the sync would no longer be ordered behind
 *     the write. So it is made empty, and poll() issues another when the write is complete.
 *   - The kernel does not know RWF_DSYNC for this file: fdatasync instead, from then on.
 *   - A sync fails: the operation has failed. It is not repeated.
 *
 * Invariants:
 *   - A durable write ends with 0 only when all of it was written, and each piece carried RWF_DSYNC, or a sync that
 *     started after the last piece was complete came back with 0.
 *   - While an entry of an operation is out, operation and buffer are the kernel's: the OUT bits of private_state.
 *   - At most two entries for each of at most OPS_MAX operations are out: neither queue can overflow.
 *   - The submission queue and private_state belong to the lock, because poll() issues rests while another thread
 *     submits. The completion queue belongs to the poller. done() runs without the lock, so it may submit.
 *
 * Why no polling modes: a spinning thread holds the CPU that the kernel's completion worker wants; all of them were
 * slower by factors. Why no deferred task work: completions would wait for the submitting thread, which may be
 * computing while another one polls.
 *
 * May include: io_file.h, io.h, check.h, clock.h. */

#define _GNU_SOURCE
#include "wal/io_file.h"

#include "wal/check.h"
#include "wal/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    OPS_MAX = 64,
    SUBMISSION_ENTRIES = 2 * OPS_MAX,
    COMPLETION_ENTRIES = 2 * SUBMISSION_ENTRIES, /* The kernel's default. */
    ENTER_TRIES = 20,
    REPEATS_MAX = 1000,
    FAULTS_MAX = 4
};

struct ring_disk {
    struct io_file file; /* First: this is a struct wal_io. */
    struct io_uring ring;
    int event_fd;
    pthread_mutex_t lock;
    unsigned in_flight; /* Operations. */
};

/* private_state of an operation in flight. */
enum {
    TRANSFER_OUT = 1, /* The kernel has this entry. The two OUT bits are also the low bits of an entry's user data. */
    SYNC_OUT = 2,
    OUT_MASK = TRANSFER_OUT | SYNC_OUT,
    WITH_DSYNC = 4,   /* Writes carry RWF_DSYNC. */
    WITH_SYNC = 8,    /* A sync is to come after the write. */
    WITH_LINK = 16,   /* And goes out together with it. */
    TRANSFERRED = 32, /* All bytes moved, or the end of the file met. */
    SYNCED = 64,      /* A sync that started after that came back with 0. */
    FAILED = 128      /* result says why. */
};
_Static_assert(_Alignof(struct wal_io_op) > OUT_MASK, "an operation's address leaves room for the OUT bits");

static struct ring_disk *disk_of(struct wal_io *io)
{
    return (struct ring_disk *)io;
}

static void fail(struct wal_io_op *op, int error)
{
    CHECK(error < 0);
    op->private_state |= FAILED;
    op->result = error;
}

static bool is_complete(const struct wal_io_op *op)
{
    unsigned state = op->private_state;
    if ((state & OUT_MASK) != 0) {
        return false;
    }
    bool transferred = op->kind == WAL_IO_SYNC || (state & TRANSFERRED) != 0;
    bool synced = (state & WITH_SYNC) == 0 || (state & SYNCED) != 0;
    return (state & FAILED) != 0 || (transferred && synced);
}

/* --- entries to the kernel: under the lock ------------------------------------------------------- */

static void fill_transfer(struct io_uring_sqe *entry, const struct wal_io_op *op)
{
    char *rest = (char *)op->buffer + op->moved_bytes;
    uint32_t rest_bytes = op->size - op->moved_bytes;
    uint64_t offset = op->offset + op->moved_bytes;
    if (op->kind == WAL_IO_READ) {
        io_uring_prep_read(entry, op->file, rest, rest_bytes, offset);
        return;
    }
    io_uring_prep_write(entry, op->file, rest, rest_bytes, offset);
    if ((op->private_state & WITH_DSYNC) != 0) {
        entry->rw_flags = RWF_DSYNC;
    }
    if ((op->private_state & WITH_LINK) != 0) {
        entry->flags |= IOSQE_IO_LINK;
    }
}

static void own_entry(struct io_uring_sqe *entry, struct wal_io_op *op, unsigned out)
{
    io_uring_sqe_set_data64(entry, (uintptr_t)op | out);
    op->private_state |= out;
}

/* Turns an entry that the kernel has not taken into one that does nothing and belongs to nobody. */
static void withdraw_entry(struct io_uring_sqe *entry, struct wal_io_op *op)
{
    op->private_state &= ~((unsigned)entry->user_data & OUT_MASK);
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data64(entry, 0);
}

static bool is_passing(int result)
{
    return result >= 0 || result == -EAGAIN || result == -EBUSY || result == -EINTR;
}

/* Hands over the last `count` entries; tries again only as long as the kernel has taken none of them. */
static int enter(struct ring_disk *disk, unsigned count)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    int result = 0;
    for (int tries = 0; tries < ENTER_TRIES; tries++) {
        result = io_uring_submit(&disk->ring);
        if (io_uring_sq_ready(&disk->ring) < count || !is_passing(result)) {
            break;
        }
        (void)nanosleep(&nap, NULL);
    }
    return result;
}

/* Issues what is next to do for the operation. 0: an entry of it is out. Else none is. */
static int issue(struct ring_disk *disk, struct wal_io_op *op)
{
    CHECK((op->private_state & (OUT_MASK | FAILED)) == 0);
    bool transfer = op->kind != WAL_IO_SYNC && (op->private_state & TRANSFERRED) == 0;
    bool sync = !transfer || (op->private_state & WITH_LINK) != 0;
    unsigned count = (transfer ? 1u : 0u) + (sync ? 1u : 0u);
    if (io_uring_sq_space_left(&disk->ring) < count) {
        (void)io_uring_submit(&disk->ring); /* Withdrawn ones, left from a time without memory. */
        if (io_uring_sq_space_left(&disk->ring) < count) {
            return -ENOMEM;
        }
    }
    struct io_uring_sqe *entries[2] = {NULL, NULL};
    unsigned filled = 0;
    op->private_state &= ~(unsigned)SYNCED;
    if (transfer) {
        entries[filled] = io_uring_get_sqe(&disk->ring);
        fill_transfer(entries[filled], op);
        own_entry(entries[filled++], op, TRANSFER_OUT);
    }
    if (sync) {
        entries[filled] = io_uring_get_sqe(&disk->ring);
        io_uring_prep_fsync(entries[filled], op->file, IORING_FSYNC_DATASYNC);
        own_entry(entries[filled++], op, SYNC_OUT);
    }
    int result = enter(disk, count);
    unsigned left = io_uring_sq_ready(&disk->ring);
    for (; left > 0 && filled > 0; left--) {
        withdraw_entry(entries[--filled], op);
    }
    if ((op->private_state & OUT_MASK) != 0) {
        return 0;
    }
    return is_passing(result) ? -ENOMEM : result; /* Not -EAGAIN: that one means "poll first". */
}

static unsigned state_of_method(struct ring_disk *disk, enum wal_io_method method)
{
    bool dsync = io_file_method(&disk->file, WAL_IO_METHOD_DSYNC) == WAL_IO_METHOD_DSYNC;
    if (method == WAL_IO_METHOD_FDATASYNC) {
        return WITH_SYNC;
    }
    return method != WAL_IO_METHOD_LINKED && dsync ? WITH_DSYNC : WITH_SYNC | WITH_LINK;
}

static int submit(struct wal_io *io, struct wal_io_op *op)
{
    struct ring_disk *disk = disk_of(io);
    CHECK(op->done != NULL);
    (void)pthread_mutex_lock(&disk->lock);
    int result = -EAGAIN;
    if (disk->in_flight < OPS_MAX) {
        io_file_take_op(&disk->file, op);
        if (op->kind == WAL_IO_WRITE_DURABLE) {
            op->private_state = state_of_method(disk, op->method);
        } else if (op->kind == WAL_IO_SYNC) {
            op->private_state = WITH_SYNC;
        }
        result = issue(disk, op);
        disk->in_flight += result == 0;
    }
    (void)pthread_mutex_unlock(&disk->lock);
    return result;
}

/* --- completions from the kernel: under the lock ------------------------------------------------- */

/* An entry that the kernel gave back without having carried it out. */
static bool did_not_run(const struct wal_io_op *op, int raw)
{
    return raw == -ECANCELED || raw == -EINTR || (raw == -EFAULT && op->private_count < FAULTS_MAX);
}

static void take_transfer(struct ring_disk *disk, struct wal_io_op *op, int raw)
{
    CHECK((op->private_state & TRANSFER_OUT) != 0);
    op->private_state &= ~(unsigned)TRANSFER_OUT;
    if (raw == -EOPNOTSUPP && (op->private_state & WITH_DSYNC) != 0) {
        io_file_refuse_dsync(&disk->file);
        op->private_state ^= WITH_DSYNC | WITH_SYNC; /* That sync covers the pieces before, too. */
        return;
    }
    if (did_not_run(op, raw)) {
        raw = -EINTR;
    }
    if (op->kind != WAL_IO_READ) {
        op->write_ns = now_ns() - op->private_ns;
    }
    if (io_file_advance(&disk->file, op, raw) == WAL_IO_FINISHED) {
        op->private_state |= op->result == 0 ? TRANSFERRED : FAILED;
    }
}

static void take_sync(struct wal_io_op *op, int raw)
{
    CHECK((op->private_state & SYNC_OUT) != 0);
    op->private_state &= ~(unsigned)SYNC_OUT;
    if (raw == 0) {
        op->private_state |= SYNCED;
        op->sync_ns = now_ns() - op->private_ns - op->write_ns;
    } else if (did_not_run(op, raw) && op->private_count < REPEATS_MAX) {
        op->private_count++; /* Its write fell short, or its thread ended. */
    } else if ((op->private_state & FAILED) == 0) {
        fail(op, did_not_run(op, raw) ? -EIO : raw);
    }
}

/* True: the operation is complete. */
static bool take_completion(struct ring_disk *disk, struct wal_io_op *op, unsigned out, int raw)
{
    if (out == TRANSFER_OUT) {
        take_transfer(disk, op, raw);
    } else {
        take_sync(op, raw);
    }
    if ((op->private_state & OUT_MASK) == 0 && !is_complete(op)) {
        int result = issue(disk, op);
        if (result != 0) {
            fail(op, result);
        }
    }
    return is_complete(op);
}

/* Takes all that is in the completion queue. Returns the operations that are complete by it, in that order. */
static struct wal_io_op *take_completions(struct ring_disk *disk, unsigned *entries_out)
{
    struct io_uring_cqe *entries[COMPLETION_ENTRIES];
    unsigned count = io_uring_peek_batch_cqe(&disk->ring, entries, COMPLETION_ENTRIES);
    struct wal_io_op *first = NULL;
    struct wal_io_op **last = &first;
    (void)pthread_mutex_lock(&disk->lock);
    for (unsigned i = 0; i < count; i++) {
        uint64_t data = io_uring_cqe_get_data64(entries[i]);
        struct wal_io_op *op = (struct wal_io_op *)(uintptr_t)(data & ~(uint64_t)OUT_MASK);
        if (op != NULL && take_completion(disk, op, (unsigned)data & OUT_MASK, entries[i]->res)) {
            CHECK(disk->in_flight > 0);
            disk->in_flight--;
            op->next = NULL;
            *last = op;
            last = &op->next;
        }
    }
    (void)pthread_mutex_unlock(&disk->lock);
    io_uring_cq_advance(&disk->ring, count);
    *entries_out = count;
    return first;
}

/* --- the poller ---------------------------------------------------------------------------------- */

static bool nothing_in_flight(struct ring_disk *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    bool nothing = disk->in_flight == 0;
    (void)pthread_mutex_unlock(&disk->lock);
    return nothing;
}

static int poll_ring(struct wal_io *io, unsigned done_min)
{
    struct ring_disk *disk = disk_of(io);
    unsigned done = 0;
    uint64_t drained;
    /* Before looking: a completion that comes after the look is announced anew. */
    (void)!read(disk->event_fd, &drained, sizeof(drained));
    for (;;) {
        unsigned entries;
        struct wal_io_op *op = take_completions(disk, &entries);
        while (op != NULL) {
            struct wal_io_op *next = op->next; /* done() may give the operation away. */
            op->done(op);
            op = next;
            done++;
        }
        if (done >= done_min || nothing_in_flight(disk)) {
            return (int)done;
        }
        struct io_uring_cqe *unused;
        int result = entries == 0 ? io_uring_wait_cqe(&disk->ring, &unused) : 0;
        if (result != 0 && !is_passing(result)) {
            return result;
        }
    }
}

static int event_fd(struct wal_io *io)
{
    return disk_of(io)->event_fd;
}

/* --- making and destroying ----------------------------------------------------------------------- */

static void destroy(struct wal_io *io)
{
    struct ring_disk *disk = disk_of(io);
    CHECK(disk->in_flight == 0);
    io_uring_queue_exit(&disk->ring);
    (void)close(disk->event_fd);
    (void)pthread_mutex_destroy(&disk->lock);
    io_file_stop(&disk->file);
    free(disk);
}

static const struct wal_io_ops ring_ops = {
    IO_FILE_CONTROL_PLANE, .submit = submit, .poll = poll_ring, .event_fd = event_fd, .destroy = destroy,
};

/* Some containers give a ring and then refuse its use: one entry that does nothing tells. */
static int try_ring(struct io_uring *ring)
{
    if ((ring->features & IORING_FEAT_NODROP) == 0) {
        return -ENOSYS;
    }
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    CHECK(entry != NULL);
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data64(entry, 0);
    int result = io_uring_submit(ring);
    if (result != 1) {
        return result < 0 ? result : -ENOMEM;
    }
    struct io_uring_cqe *completion;
    do {
        result = io_uring_wait_cqe(ring, &completion);
    } while (result == -EINTR);
    if (result == 0) {
        result = completion->res;
        io_uring_cqe_seen(ring, completion);
    }
    return result;
}

static int start_ring(struct ring_disk *disk)
{
    int result = io_uring_queue_init(SUBMISSION_ENTRIES, &disk->ring, 0);
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

static void describe_ring(struct ring_disk *disk, struct wal_io **io_out)
{
    static const char name[] = "io_uring";
    struct wal_io_caps *caps = &disk->file.io.caps;
    (void)pthread_mutex_init(&disk->lock, NULL);
    caps->asynchronous = true;
    caps->ops_max = OPS_MAX;
    caps->methods_submitted = caps->methods | 1u << WAL_IO_METHOD_LINKED;
    __builtin_memcpy(caps->name, name, sizeof(name));
    disk->file.io.ops = &ring_ops;
    *io_out = &disk->file.io;
}

int wal_io_uring_second(const struct wal_io *first, struct wal_io **io_out)
{
    const struct ring_disk *known = (const struct ring_disk *)(const void *)first;
    if (first->ops != &ring_ops) {
        return -ENOSYS;
    }
    struct ring_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return -ENOMEM;
    }
    disk->file.io.caps = first->caps;
    disk->file.buffered = known->file.buffered;
    disk->file.no_dsync = known->file.no_dsync;
    atomic_store(&disk->file.dsync_refused, atomic_load(&known->file.dsync_refused));
    /* By the descriptor: the path may be another directory's by now. Opened anew, for a copy would share the lock. */
    disk->file.directory_fd = openat(known->file.directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = disk->file.directory_fd >= 0 ? start_ring(disk) : -errno;
    if (result != 0) {
        if (disk->file.directory_fd >= 0) {
            io_file_stop(&disk->file);
        }
        free(disk);
        return result;
    }
    describe_ring(disk, io_out);
    return 0;
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
    result = start_ring(disk);
    if (result != 0) {
        io_file_stop(&disk->file);
        free(disk);
        return result;
    }
    describe_ring(disk, io_out);
    return 0;
}
