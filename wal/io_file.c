/* io_file.c - files and directories of the real file system.
 *
 * The happy path: one descriptor for the directory, everything else relative to it; files opened for direct I/O where
 * the file system has it; execute() is pread, pwrite, pwritev2 with RWF_DSYNC, or pwrite and then fdatasync, in the
 * calling thread. Direct I/O is decided once, so that the capabilities are constant and any thread may look at them.
 *
 * What can fail: any call; its errno is the result. A sync that failed is not repeated: the kernel has forgotten the
 * error, and perhaps the data, by then. Only EINTR is, which says that it did not come to an end. An allocate() that
 * fails leaves no more room taken than before; a rename() that fails leaves the old name.
 *
 * Why no RWF_DSYNC on FUSE: an asynchronous direct write there went without the flush (seen on one with a volatile
 * cache), and its daemon never learns of the flag. An explicit fdatasync is a request of its own.
 *
 * Invariants: no descriptor outlives an exec (O_CLOEXEC); no symbolic link is followed inside the directory; no name
 * leaves it; a rename never replaces a name; only regular files are opened.
 *
 * May include: io_file.h, check.h, clock.h. */

#define _GNU_SOURCE
#include "wal/io_file.h"

#include "wal/check.h"
#include "wal/clock.h"

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

enum { ALIGN_MIN = 512, PAGE_BYTES = 4096, BLOCK_MAX = 65536, LOCK_WAIT_MS = 10000, LOCK_NAP_MS_MAX = 20 };
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static struct io_file *disk_of(struct wal_io *io)
{
    return (struct io_file *)io;
}

/* --- capabilities -------------------------------------------------------------------------------- */

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
    return bytes >= ALIGN_MIN && bytes <= BLOCK_MAX && (bytes & (bytes - 1)) == 0;
}

/* How direct I/O on this file must be aligned, as far as the kernel says: 0 when it has none, `fallback` when it does
 * not say. */
static uint32_t direct_align_bytes(int fd, uint32_t fallback)
{
#ifdef STATX_DIOALIGN
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) != 0) {
        uint32_t offset_bytes = status.stx_dio_offset_align;
        uint32_t memory_bytes = status.stx_dio_mem_align;
        uint32_t bytes = offset_bytes > memory_bytes ? offset_bytes : memory_bytes;
        return offset_bytes == 0 ? 0 : bytes < ALIGN_MIN ? ALIGN_MIN : bytes;
    }
#else
    (void)fd;
#endif
    return fallback;
}

struct direct_probe {
    int directory_fd;
    int fd; /* A file opened for direct I/O; -1: none was found, or it was refused. */
};

static int probe_existing(void *context, const char *name)
{
    struct direct_probe *probe = context;
    struct stat status;
    if (fstatat(probe->directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) {
        return 0;
    }
    probe->fd = openat(probe->directory_fd, name, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return probe->fd >= 0 || errno == EINVAL ? 1 : 0;
}

static int list_directory(int directory_fd, int (*each)(void *context, const char *name), void *context);

/* A file of this directory opened for direct I/O, -1 where that is refused. A nameless file tells best; where there is
 * none to be had (no right to write, an old file system), a file that is there; in a new directory, a file made for the
 * purpose. */
static int open_for_direct(int directory_fd, bool may_create)
{
    int fd = openat(directory_fd, ".", O_RDWR | O_TMPFILE | O_DIRECT | O_CLOEXEC, 0600);
    if (fd >= 0 || errno == EINVAL) {
        return fd;
    }
    struct direct_probe probe = {directory_fd, -1};
    if (list_directory(directory_fd, probe_existing, &probe) == 0 && may_create) {
        static const char name[] = "direct-io-probe.tmp";
        probe.fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
        if (probe.fd >= 0 || errno == EINVAL) {
            (void)unlinkat(directory_fd, name, 0); /* Some kernels make the file, and then refuse to open it so. */
        }
    }
    return probe.fd;
}

static void learn_caps(struct io_file *disk, unsigned flags)
{
    struct stat status;
    struct statfs file_system;
    dev_t device = fstat(disk->directory_fd, &status) == 0 ? status.st_dev : 0;
    /* Without a device of its own (overlay, network): what direct I/O needs is unknown, and a page is always enough. */
    uint32_t logical_bytes = device_number(device, "logical_block_size", PAGE_BYTES);
    uint32_t physical_bytes = device_number(device, "physical_block_size", PAGE_BYTES);
    uint32_t align_bytes = 0;
    int fd = (flags & WAL_IO_BUFFERED) != 0
                 ? -1
                 : open_for_direct(disk->directory_fd, (flags & WAL_IO_DIRECTORY_CREATE) != 0);
    if (fd >= 0) {
        align_bytes = direct_align_bytes(fd, logical_bytes);
        (void)close(fd);
    }
    disk->buffered = !is_block_size(align_bytes);
    if (disk->buffered) {
        align_bytes = ALIGN_MIN;
        physical_bytes = physical_bytes < PAGE_BYTES ? PAGE_BYTES : physical_bytes; /* The cache writes whole pages. */
    }
    disk->no_dsync =
        fstatfs(disk->directory_fd, &file_system) == 0 && (unsigned long)file_system.f_type == FUSE_SUPER_MAGIC;
    disk->io.caps = (struct wal_io_caps){
        .align_bytes = align_bytes,
        .physical_block_bytes = is_block_size(physical_bytes) ? physical_bytes : PAGE_BYTES,
        .methods = 1u << WAL_IO_METHOD_FDATASYNC | (disk->no_dsync ? 0 : 1u << WAL_IO_METHOD_DSYNC),
        .direct = !disk->buffered,
        .fua = device_number(device, "fua", 0) == 1,
        .name = "posix",
    };
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
    learn_caps(disk, flags);
    return 0;
}

void io_file_stop(struct io_file *disk)
{
    (void)flock(disk->directory_fd, LOCK_UN); /* As for files: a forked child may live on. */
    (void)close(disk->directory_fd);
    disk->directory_fd = -1;
}

/* --- control plane ------------------------------------------------------------------------------- */

/* Names stay in the directory: that is the caller's duty, kept here because a name may come out of a damaged file. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Only regular files; anything else under a segment's name (a pipe, a directory) is a mistake to be reported, not to be
 * read. */
static int check_regular(int fd, bool direct)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    return fcntl(fd, F_SETFL, direct ? O_DIRECT : 0) == 0 ? 0 : -errno; /* O_NONBLOCK was for the opening only. */
}

int io_file_open(struct wal_io *io, const char *name, unsigned flags, int *file_out)
{
    struct io_file *disk = disk_of(io);
    CHECK((flags & WAL_IO_OPEN_CREATE) == 0 || (flags & WAL_IO_OPEN_WRITE) != 0);
    if (!is_plain_name(name)) {
        return -EINVAL;
    }
    int mode = (flags & WAL_IO_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY;
    mode |= (flags & WAL_IO_OPEN_CREATE) != 0 ? O_CREAT | O_TRUNC : 0;
    mode |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    bool direct = !disk->buffered;
    int fd = openat(disk->directory_fd, name, mode | (direct ? O_DIRECT : 0), 0644);
    if (fd < 0 && errno == EINVAL && direct) {
        direct = false; /* This one file has no direct I/O (encrypted, say). */
        fd = openat(disk->directory_fd, name, mode, 0644);
    }
    if (fd < 0) {
        return -errno;
    }
    int result = check_regular(fd, direct);
    if (result != 0) {
        (void)close(fd);
        return result;
    }
    *file_out = fd;
    return 0;
}

int io_file_close(struct wal_io *io, int file)
{
    (void)io;
    (void)flock(file,
                LOCK_UN); /* A child that was forked meanwhile shares the lock, and closing here would leave it. */
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
    uint64_t old_bytes;
    int result = io_file_bytes(io, file, &old_bytes);
    if (result != 0) {
        return result;
    }
    do {
        result = fallocate(file, 0, 0, (off_t)bytes) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    if (result == -EOPNOTSUPP || result == -ENOSYS) {
        return ftruncate(file, (off_t)bytes) == 0 ? 0 : -errno;
    }
    if (result == 0 && old_bytes > bytes) {
        return ftruncate(file, (off_t)bytes) == 0 ? 0 : -errno;
    }
    if (result != 0) {
        (void)!ftruncate(file, (off_t)old_bytes); /* Room that a failed attempt took goes back. */
    }
    return result;
}

int io_file_rename(struct wal_io *io, const char *from, const char *to)
{
    int fd = disk_of(io)->directory_fd;
    if (!is_plain_name(from) || !is_plain_name(to)) {
        return -EINVAL;
    }
    if (renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL) {
        return -errno;
    }
    /* A file system without that flag: the directory is locked, so no name appears behind this look. Not a link and an
     * unlink: a crash in between would leave two names, a retired and a live one, on one file. */
    struct stat status;
    if (fstatat(fd, to, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return -EEXIST;
    }
    if (errno != ENOENT) {
        return -errno;
    }
    return renameat(fd, from, fd, to) == 0 ? 0 : -errno;
}

int io_file_unlink(struct wal_io *io, const char *name)
{
    if (!is_plain_name(name)) {
        return -EINVAL;
    }
    return unlinkat(disk_of(io)->directory_fd, name, 0) == 0 ? 0 : -errno;
}

/* On a descriptor of its own, so that two listings do not share a position. */
static int list_directory(int directory_fd, int (*each)(void *context, const char *name), void *context)
{
    int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int result = -errno;
        (void)close(fd);
        return result;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = each(context, entry->d_name);
        }
    }
    (void)closedir(directory);
    return result;
}

int io_file_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    return list_directory(disk_of(io)->directory_fd, each, context);
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
    if (fd < 0 && errno == EACCES) {
        /* A parent that others may pass but not read: the whole file system then. */
        return syncfs(disk_of(io)->directory_fd) == 0 ? 0 : -errno;
    }
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
    const uint64_t started_ns = now_ns();
    long nap_ms = 1;
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        }
        if (now_ns() - started_ns >= LOCK_WAIT_MS * 1000000ull) {
            return -EBUSY;
        }
        const struct timespec nap = {.tv_nsec = nap_ms * 1000000};
        (void)nanosleep(&nap, NULL);
        nap_ms = nap_ms * 2 < LOCK_NAP_MS_MAX ? nap_ms * 2 : LOCK_NAP_MS_MAX;
    }
    return 0;
}

int io_file_forget_cache(struct wal_io *io, int file)
{
    (void)io;
    return -posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

/* --- execute ------------------------------------------------------------------------------------- */

enum wal_io_method io_file_method(struct io_file *disk, enum wal_io_method wanted)
{
    bool dsync = !disk->no_dsync && !atomic_load_explicit(&disk->dsync_refused, memory_order_relaxed);
    if (wanted == WAL_IO_METHOD_FDATASYNC || !dsync) {
        return WAL_IO_METHOD_FDATASYNC;
    }
    return wanted == WAL_IO_METHOD_DSYNC || disk->io.caps.fua ? WAL_IO_METHOD_DSYNC : WAL_IO_METHOD_FDATASYNC;
}

void io_file_refuse_dsync(struct io_file *disk)
{
    atomic_store_explicit(&disk->dsync_refused, true, memory_order_relaxed);
}

void io_file_take_op(const struct io_file *disk, struct wal_io_op *op)
{
    CHECK(op->kind >= WAL_IO_READ && op->kind <= WAL_IO_SYNC);
    if (op->kind != WAL_IO_SYNC) {
        const uint32_t below = disk->io.caps.align_bytes - 1;
        CHECK(op->size != 0 && (op->size & below) == 0);
        CHECK((op->offset & below) == 0);
        CHECK(op->offset <= (uint64_t)INT64_MAX - op->size);
        CHECK(op->buffer != NULL && ((uintptr_t)op->buffer & below) == 0);
    }
    op->result = 0;
    op->moved_bytes = 0;
    op->write_ns = op->sync_ns = 0;
    op->private_state = op->private_count = 0;
    op->private_ns = op->kind == WAL_IO_READ ? 0 : now_ns();
}

enum wal_io_next io_file_advance(const struct io_file *disk, struct wal_io_op *op, int64_t raw)
{
    if (raw == -EINVAL && op->kind == WAL_IO_READ && (op->moved_bytes & (disk->io.caps.align_bytes - 1)) != 0) {
        raw = 0; /* A read that stopped inside a block has met the end; some file systems refuse the unaligned rest. */
    }
    return wal_io_advance(op, raw);
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
    const uint64_t started_ns = now_ns();
    do {
        op->result = fdatasync(op->file) == 0 ? 0 : -errno;
    } while (op->result == -EINTR);
    op->sync_ns = now_ns() - started_ns;
}

int io_file_execute(struct wal_io *io, struct wal_io_op *op)
{
    struct io_file *disk = disk_of(io);
    io_file_take_op(disk, op);
    if (op->kind == WAL_IO_SYNC) {
        sync_file(op);
        return op->result;
    }
    bool durable = op->kind == WAL_IO_WRITE_DURABLE;
    bool dsync = durable && io_file_method(disk, op->method) == WAL_IO_METHOD_DSYNC;
    int64_t raw;
    do {
        raw = transfer_once(op, dsync);
        if (raw == -EOPNOTSUPP && dsync) {
            io_file_refuse_dsync(disk); /* Refused before anything was written. */
            dsync = false;
            raw = transfer_once(op, false);
        }
    } while (io_file_advance(disk, op, raw) == WAL_IO_AGAIN);
    if (op->kind != WAL_IO_READ) {
        op->write_ns = now_ns() - op->private_ns;
    }
    if (durable && op->result == 0 && !dsync) {
        sync_file(op);
    }
    return op->result;
}
