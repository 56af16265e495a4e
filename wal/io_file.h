/* io_file.h - files and directories of the real file system: the control plane and execute() that the real backends
 * share.
 *
 * May include: io.h. */

#ifndef WAL_IO_FILE_H
#define WAL_IO_FILE_H

#include "wal/io.h"

#include <stdatomic.h>

struct io_file {
    struct wal_io io; /* First: a struct wal_io is what the log sees. */
    int directory_fd;
    bool buffered;             /* Direct I/O was not wanted, or is not to be had. */
    bool no_dsync;             /* A file system that takes RWF_DSYNC and does not mean it. */
    atomic_bool dsync_refused; /* The kernel said EOPNOTSUPP to RWF_DSYNC once. */
};

/* Opens the directory and learns the disk's capabilities. 0 or negative errno. */
int io_file_start(struct io_file *disk, const char *directory, unsigned flags);
void io_file_stop(struct io_file *disk);

int io_file_open(struct wal_io *io, const char *name, unsigned flags, int *file_out);
int io_file_close(struct wal_io *io, int file);
int io_file_bytes(struct wal_io *io, int file, uint64_t *bytes_out);
int io_file_allocate(struct wal_io *io, int file, uint64_t bytes);
int io_file_rename(struct wal_io *io, const char *from, const char *to);
int io_file_unlink(struct wal_io *io, const char *name);
int io_file_list(struct wal_io *io, int (*each)(void *context, const char *name), void *context);
int io_file_sync_directory(struct wal_io *io);
int io_file_sync_parent(struct wal_io *io);
int io_file_lock_directory(struct wal_io *io);
int io_file_lock_file(struct wal_io *io, int file);
int io_file_forget_cache(struct wal_io *io, int file);
int io_file_execute(struct wal_io *io, struct wal_io_op *op);

/* FDATASYNC or DSYNC: how execute() carries out a WRITE_DURABLE. */
enum wal_io_method io_file_method(struct io_file *disk, enum wal_io_method wanted);

/* From now on io_file_method() does not say DSYNC. Any thread. */
void io_file_refuse_dsync(struct io_file *disk);

/* Checks what the caller filled in, clears what the disk fills in; private_ns becomes the time, except for a read. */
void io_file_take_op(const struct io_file *disk, struct wal_io_op *op);

/* wal_io_advance() for this disk's calls. */
enum wal_io_next io_file_advance(const struct io_file *disk, struct wal_io_op *op, int64_t raw);

/* Another ring on the directory of a first one, whatever its path is now. -ENOSYS: that one has no ring. */
int wal_io_uring_second(const struct wal_io *first, struct wal_io **io_out);

/* The control plane's part of a struct wal_io_ops. */
#define IO_FILE_CONTROL_PLANE                                                                                       \
    .open = io_file_open, .close = io_file_close, .file_bytes = io_file_bytes, .allocate = io_file_allocate,        \
    .rename = io_file_rename, .unlink = io_file_unlink, .list = io_file_list,                                       \
    .sync_directory = io_file_sync_directory, .sync_parent = io_file_sync_parent,                                   \
    .lock_directory = io_file_lock_directory, .lock_file = io_file_lock_file, .forget_cache = io_file_forget_cache, \
    .execute = io_file_execute

#endif
