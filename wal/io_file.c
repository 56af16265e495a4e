/* io_file.c - files and directories of the real file system.
 *
 * The happy path: one descriptor for the directory, everything else relative to it; files opened for direct I/O where the file system
 * has it; execute() is pread, pwrite, pwritev2 with RWF_DSYNC, or pwrite and then fdatasync, in the calling thread.
 *
 * What can fail: any call; its errno is the result. A sync that failed is not repeated: the kernel has forgotten the error, and perhaps
 * the data, by then. Only EINTR is, which says that nothing was done.
 *
 * Why no RWF_DSYNC on FUSE: on that path the kernel may leave the flush to a daemon that does not look at the flag.
 *
 * Invariants: no descriptor leaks into a child (O_CLOEXEC); no symbolic link is followed; a name is never replaced by a rename.
 *
 * May include: io_file.h, check.h. */

#define _GNU_SOURCE
#include "wal/io_file.h"

#include "wal/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ALIGN_DEFAULT = 512, PHYSICAL_DEFAULT = 4096, LOCK_WAIT_MS = 10000 };
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static struct io_file *disk_of(struct wal_io *io)
{
    return (struct io_file *)io;
}

static uint64_t clock_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* --- capabilities ------------------------------------------------------------------------------------------------------------ */

/* A number out of /sys about the device below the directory; of a partition's disk too. fallback when there is none. */
static uint32_t device_number(dev_t device, const char *attribute, uint32_t fallback)
{
    for (unsigned i = 0; i < 2; i++) {
        char path[128]; /* A partition has no queue of its own: its disk, one step up, does. */
        (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(device), minor(device),
                       i == 0 ? "" : "../", attribute);
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            continue;
        }
        char line[32] = "";
        bool read = fgets(line, sizeof(line), file) != NULL;
        (void)fclose(file);
        if (read) {
            return (uint32_t)strtoul(line, NULL, 10);
        }
    }
    return fallback;
}

static bool is_block_size(uint32_t bytes)
{
    return bytes >= ALIGN_DEFAULT && bytes <= 65536 && (bytes & (bytes - 1)) == 0;
}

static void learn_caps(struct io_file *disk)
{
    struct stat status;
    struct statfs file_system;
    dev_t device = fstat(disk->directory_fd, &status) == 0 ? status.st_dev : 0;
    uint32_t logical_bytes = device_number(device, "logical_block_size", ALIGN_DEFAULT);
    uint32_t physical_bytes = device_number(device, "physical_block_size", PHYSICAL_DEFAULT);
    disk->no_dsync =
        fstatfs(disk->directory_fd, &file_system) == 0 && (unsigned long)file_system.f_type == FUSE_SUPER_MAGIC;
    disk->io.caps = (struct wal_io_caps){
        .align_bytes = is_block_size(logical_bytes) ? logical_bytes : ALIGN_DEFAULT,
        .physical_block_bytes = is_block_size(physical_bytes) ? physical_bytes : PHYSICAL_DEFAULT,
        .ops_max = 1,
        .methods = 1u << WAL_IO_METHOD_FDATASYNC | (disk->no_dsync ? 0 : 1u << WAL_IO_METHOD_DSYNC),
        .direct = !disk->buffered,
        .fua = device_number(device, "fua", 0) == 1,
        .name = "posix",
    };
    if (disk->buffered && disk->io.caps.physical_block_bytes < PHYSICAL_DEFAULT) {
        disk->io.caps.physical_block_bytes = PHYSICAL_DEFAULT; /* The page is the unit of writing. */
    }
}

/* Does the file system open files for direct I/O? */
static bool direct_is_possible(int directory_fd)
{
    int fd = openat(directory_fd, ".", O_RDWR | O_TMPFILE | O_DIRECT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)close(fd);
        return true;
    }
    return errno != EINVAL; /* No temporary files, or not writable: found out at the first open. */
}

int io_file_start(struct io_file *disk, const char *directory, unsigned flags)
{
    if ((flags & WAL_IO_DIRECTORY_CREATE) != 0 && mkdir(directory, 0755) != 0 && errno != EEXIST) {
        return -errno;
    }
    disk->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->directory_fd < 0) {
        return -errno;
    }
    disk->buffered = (flags & WAL_IO_BUFFERED) != 0 || !direct_is_possible(disk->directory_fd);
    learn_caps(disk);
    return 0;
}

void io_file_stop(struct io_file *disk)
{
    (void)close(disk->directory_fd);
    disk->directory_fd = -1;
}

/* --- control plane -------------------------------------------------------------------------------------------------------------- */

int io_file_open(struct wal_io *io, const char *name, unsigned flags, int *file_out)
{
    struct io_file *disk = disk_of(io);
    int mode = (flags & WAL_IO_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY;
    mode |= (flags & WAL_IO_OPEN_CREATE) != 0 ? O_CREAT | O_TRUNC : 0;
    mode |= O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(disk->directory_fd, name, mode | (disk->buffered ? 0 : O_DIRECT), 0644);
    if (fd < 0 && errno == EINVAL && !disk->buffered) {
        fd = openat(disk->directory_fd, name, mode, 0644);
        disk->io.caps.direct = disk->io.caps.direct && fd < 0;
    }
    if (fd < 0) {
        return -errno;
    }
    *file_out = fd;
    return 0;
}

int io_file_close(struct wal_io *io, int file)
{
    (void)io;
    return close(file) == 0 ? 0 : -errno;
}

int io_file_bytes(struct wal_io *io, int file, uint64_t *bytes_out)
{
    (void)io;
    struct stat status;
    if (fstat(file, &status) != 0) {
        return -errno;
    }
    *bytes_out = (uint64_t)status.st_size;
    return 0;
}

int io_file_allocate(struct wal_io *io, int file, uint64_t bytes)
{
    (void)io;
    int result;
    do {
        result = fallocate(file, 0, 0, (off_t)bytes) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    if (result == -EOPNOTSUPP || result == -ENOSYS) {
        return ftruncate(file, (off_t)bytes) == 0 ? 0 : -errno;
    }
    if (result != 0) {
        (void)!ftruncate(file, 0); /* Room that a failed attempt took goes back. */
    }
    return result;
}

int io_file_rename(struct wal_io *io, const char *from, const char *to)
{
    int fd = disk_of(io)->directory_fd;
    if (renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL) {
        return -errno;
    }
    /* A file system without that flag: a link never replaces either. */
    if (linkat(fd, from, fd, to, 0) != 0) {
        return -errno;
    }
    return unlinkat(fd, from, 0) == 0 ? 0 : -errno;
}

int io_file_unlink(struct wal_io *io, const char *name)
{
    return unlinkat(disk_of(io)->directory_fd, name, 0) == 0 ? 0 : -errno;
}

int io_file_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    int fd = openat(disk_of(io)->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        int error = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return error;
    }
    int result = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            result = errno != 0 ? -errno : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = each(context, entry->d_name);
            if (result != 0) {
                break;
            }
        }
    }
    (void)closedir(directory);
    return result;
}

static int sync_fd(int fd)
{
    int result;
    do {
        result = fsync(fd) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    return result;
}

int io_file_sync_directory(struct wal_io *io)
{
    return sync_fd(disk_of(io)->directory_fd);
}

int io_file_sync_parent(struct wal_io *io)
{
    int fd = openat(disk_of(io)->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = sync_fd(fd);
    (void)close(fd);
    return result;
}

int io_file_lock_directory(struct wal_io *io)
{
    if (flock(disk_of(io)->directory_fd, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

int io_file_lock_file(struct wal_io *io, int file)
{
    (void)io;
    long pause_ms = 1;
    for (long waited_ms = 0; flock(file, LOCK_EX | LOCK_NB) != 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        }
        if (waited_ms >= LOCK_WAIT_MS) {
            return -EBUSY;
        }
        const struct timespec pause = {.tv_nsec = pause_ms * 1000000};
        (void)nanosleep(&pause, NULL);
        waited_ms += pause_ms;
        pause_ms = pause_ms < 20 ? pause_ms * 2 : 20;
    }
    return 0;
}

int io_file_forget_cache(struct wal_io *io, int file)
{
    (void)io;
    return -posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

/* --- execute ------------------------------------------------------------------------------------------------------------------------ */

enum wal_io_method io_file_method(struct io_file *disk, enum wal_io_method wanted)
{
    bool dsync = !disk->no_dsync && !atomic_load_explicit(&disk->dsync_refused, memory_order_relaxed);
    if (wanted == WAL_IO_METHOD_DSYNC && dsync) {
        return WAL_IO_METHOD_DSYNC;
    }
    return WAL_IO_METHOD_FDATASYNC;
}

/* One call for the rest of the operation: bytes or negative errno. */
static int64_t transfer_once(const struct wal_io_op *op, bool dsync)
{
    struct iovec rest = {(char *)op->buffer + op->moved_bytes, op->size - op->moved_bytes};
    off_t offset = (off_t)(op->offset + op->moved_bytes);
    ssize_t moved;
    if (op->kind == WAL_IO_READ) {
        moved = pread(op->file, rest.iov_base, rest.iov_len, offset);
    } else if (dsync) {
        moved = pwritev2(op->file, &rest, 1, offset, RWF_DSYNC);
    } else {
        moved = pwrite(op->file, rest.iov_base, rest.iov_len, offset);
    }
    return moved >= 0 ? moved : -errno;
}

static void sync_file(struct wal_io_op *op)
{
    int64_t raw;
    do {
        raw = fdatasync(op->file) == 0 ? 0 : -errno;
    } while (raw == -EINTR);
    op->result = (int32_t)raw;
}

int io_file_execute(struct wal_io *io, struct wal_io_op *op)
{
    struct io_file *disk = disk_of(io);
    op->moved_bytes = 0;
    op->private_count = 0;
    op->write_ns = op->sync_ns = 0;
    if (op->kind == WAL_IO_SYNC) {
        sync_file(op);
        return op->result;
    }
    bool durable = op->kind == WAL_IO_WRITE_DURABLE;
    bool dsync = durable && io_file_method(disk, op->method) == WAL_IO_METHOD_DSYNC;
    uint64_t started_ns = durable ? clock_ns() : 0;
    int64_t raw;
    do {
        raw = transfer_once(op, dsync);
        if (raw == -EOPNOTSUPP && dsync) {
            /* Refused before anything was written. */
            atomic_store_explicit(&disk->dsync_refused, true, memory_order_relaxed);
            dsync = false;
            raw = transfer_once(op, false);
        }
    } while (wal_io_advance(op, raw) == WAL_IO_AGAIN);
    if (durable) {
        uint64_t written_ns = clock_ns();
        op->write_ns = written_ns - started_ns;
        if (op->result == 0 && !dsync) {
            sync_file(op);
            op->sync_ns = clock_ns() - written_ns;
        }
    }
    return op->result;
}
