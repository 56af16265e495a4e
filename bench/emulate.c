/* emulate.c - a disk that takes longer.
 *
 * The happy path: every call goes to the plain backend; a durable write or a sync then sleeps for the stated time. The
 * wrapper has no asynchronous way and no event descriptor, so an event loop is served by the log's own thread. The disk
 * of a Raft node is the same around each of its directories.
 *
 * What can fail: what the backend below fails; that goes up as it is, without a sleep. An interrupt ends every
 * sleep at once: what is being measured then counts for nothing.
 *
 * Invariants: one mutex is a disk: two of its syncs never overlap, as on one spindle. */

#define _GNU_SOURCE
#include "bench/emulate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/common.h"

static const struct {
    const char *name;
    uint64_t ns;
} named[] = {{"hdd", 10000000}, {"ssd", 1000000}, {"cloud", 2500000}, {"nvme", 100000}};

uint64_t emulate_named_ns(const char *name)
{
    for (unsigned i = 0; i < sizeof(named) / sizeof(named[0]); i++)
        if (strcmp(named[i].name, name) == 0)
            return named[i].ns;
    return 0;
}

const char *emulate_names(void)
{
    return "  hdd    10 ms    a mechanical disk: half a turn and a seek for every sync\n"
           "  cloud  2.5 ms   a network volume\n"
           "  ssd    1 ms     a consumer's SSD that really empties its cache\n"
           "  nvme   0.1 ms   an NVMe disk with a write cache that survives power loss, or a virtual one\n"
           "  or any duration, like 3ms\n";
}

enum { LOOK_NS = 50000000 };

static pthread_mutex_t the_disk = PTHREAD_MUTEX_INITIALIZER;

/* An interrupt ends it: who measures gives up what is under way. The signal wakes one thread only, and with many that
 * wait for one another it is another one, so the flag is looked at now and then. */
static void sync_on(pthread_mutex_t *disk, uint64_t added_ns)
{
    pthread_mutex_lock(disk);
    uint64_t end_ns = clock_ns() + added_ns;
    for (uint64_t now_ns = clock_ns(); now_ns < end_ns && !interrupted(); now_ns = clock_ns()) {
        uint64_t until_ns = end_ns - now_ns > LOOK_NS ? now_ns + LOOK_NS : end_ns;
        struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    pthread_mutex_unlock(disk);
}

void emulate_sync(uint64_t added_ns)
{
    sync_on(&the_disk, added_ns);
}

/* --- the disk for a log -------------------------------------------------------------------------- */

struct slow_io {
    struct wal_io io;
    struct wal_io *below;
    pthread_mutex_t *disk;
    uint64_t added_ns;
};

static struct wal_io *below(struct wal_io *io)
{
    return ((struct slow_io *)io)->below;
}

static int slow_open(struct wal_io *io, const char *name, unsigned flags, int *file_out)
{
    return below(io)->ops->open(below(io), name, flags, file_out);
}

static int slow_close(struct wal_io *io, int file)
{
    return below(io)->ops->close(below(io), file);
}

static int slow_file_bytes(struct wal_io *io, int file, uint64_t *bytes_out)
{
    return below(io)->ops->file_bytes(below(io), file, bytes_out);
}

static int slow_allocate(struct wal_io *io, int file, uint64_t bytes)
{
    return below(io)->ops->allocate(below(io), file, bytes);
}

static int slow_rename(struct wal_io *io, const char *from, const char *to)
{
    return below(io)->ops->rename(below(io), from, to);
}

static int slow_unlink(struct wal_io *io, const char *name)
{
    return below(io)->ops->unlink(below(io), name);
}

static int slow_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    return below(io)->ops->list(below(io), each, context);
}

static int slow_sync_directory(struct wal_io *io)
{
    return below(io)->ops->sync_directory(below(io));
}

static int slow_sync_parent(struct wal_io *io)
{
    return below(io)->ops->sync_parent(below(io));
}

static int slow_lock_directory(struct wal_io *io)
{
    return below(io)->ops->lock_directory(below(io));
}

static int slow_lock_file(struct wal_io *io, int file)
{
    return below(io)->ops->lock_file(below(io), file);
}

static int slow_forget_cache(struct wal_io *io, int file)
{
    return below(io)->ops->forget_cache(below(io), file);
}

static int slow_execute(struct wal_io *io, struct wal_io_op *op)
{
    const struct slow_io *slow = (const struct slow_io *)io;
    int result = slow->below->ops->execute(slow->below, op);
    if (result == 0 && (op->kind == WAL_IO_WRITE_DURABLE || op->kind == WAL_IO_SYNC)) {
        sync_on(slow->disk, slow->added_ns);
        op->sync_ns += slow->added_ns;
    }
    return result;
}

static int slow_submit(struct wal_io *io, struct wal_io_op *op)
{
    (void)io;
    (void)op;
    return -ENOSYS;
}

static int slow_poll(struct wal_io *io, unsigned done_min)
{
    (void)io;
    (void)done_min;
    return 0;
}

static int slow_event_fd(struct wal_io *io)
{
    (void)io;
    return -1;
}

static void slow_destroy(struct wal_io *io)
{
    below(io)->ops->destroy(below(io));
    free(io);
}

static const struct wal_io_ops slow_ops = {
    .open = slow_open,
    .close = slow_close,
    .file_bytes = slow_file_bytes,
    .allocate = slow_allocate,
    .rename = slow_rename,
    .unlink = slow_unlink,
    .list = slow_list,
    .sync_directory = slow_sync_directory,
    .sync_parent = slow_sync_parent,
    .lock_directory = slow_lock_directory,
    .lock_file = slow_lock_file,
    .forget_cache = slow_forget_cache,
    .execute = slow_execute,
    .submit = slow_submit,
    .poll = slow_poll,
    .event_fd = slow_event_fd,
    .destroy = slow_destroy,
};

/* Takes `io` over, also when it fails. */
static int wrap(struct wal_io *io, pthread_mutex_t *disk, uint64_t added_ns, struct wal_io **io_out)
{
    struct slow_io *slow = calloc(1, sizeof(*slow));
    if (slow == NULL) {
        io->ops->destroy(io);
        return -ENOMEM;
    }
    slow->io.ops = &slow_ops;
    slow->io.caps = io->caps;
    slow->io.caps.asynchronous = false;
    slow->below = io;
    slow->disk = disk;
    slow->added_ns = added_ns;
    *io_out = &slow->io;
    return 0;
}

int emulate_io(const char *directory, uint64_t added_ns, struct wal_io **io_out)
{
    struct wal_io *io;
    int result = wal_io_posix(directory, WAL_IO_DIRECTORY_CREATE, &io);
    return result == 0 ? wrap(io, &the_disk, added_ns, io_out) : result;
}

/* --- the disk for a node ------------------------------------------------------------------------- */

struct slow_disk {
    struct raftcore_disk disk; /* First. */
    struct raftcore_disk *below;
    pthread_mutex_t busy;
    uint64_t added_ns;
};

static int node_open(struct raftcore_disk *disk, const char *name, bool make, struct wal_io **io_out)
{
    struct slow_disk *slow = (struct slow_disk *)disk;
    struct wal_io *io;
    int result = slow->below->ops->open(slow->below, name, make, &io);
    return result == 0 ? wrap(io, &slow->busy, slow->added_ns, io_out) : result;
}

static int node_remove(struct raftcore_disk *disk, const char *name)
{
    struct raftcore_disk *below_disk = ((struct slow_disk *)disk)->below;
    return below_disk->ops->remove(below_disk, name);
}

static int node_list(struct raftcore_disk *disk, int (*each)(void *context, const char *name), void *context)
{
    struct raftcore_disk *below_disk = ((struct slow_disk *)disk)->below;
    return below_disk->ops->list(below_disk, each, context);
}

static void node_destroy(struct raftcore_disk *disk)
{
    struct slow_disk *slow = (struct slow_disk *)disk;
    slow->below->ops->destroy(slow->below);
    pthread_mutex_destroy(&slow->busy);
    free(slow);
}

static const struct raftcore_disk_ops slow_disk_ops = {
    .open = node_open, .remove = node_remove, .list = node_list, .destroy = node_destroy};

int emulate_node_disk(const char *directory, uint64_t added_ns, struct raftcore_disk **disk_out)
{
    struct slow_disk *slow = calloc(1, sizeof(*slow));
    int result = slow == NULL ? -ENOMEM : raftcore_disk_open(directory, true, false, &slow->below);
    if (result != 0) {
        free(slow);
        return result;
    }
    slow->disk.ops = &slow_disk_ops;
    slow->added_ns = added_ns;
    (void)pthread_mutex_init(&slow->busy, NULL);
    *disk_out = &slow->disk;
    return 0;
}
