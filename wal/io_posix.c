/* io_posix.c - the plain backend: everything in the calling thread.
 *
 * The happy path: wal_io_posix opens the directory; the log calls execute() and the control plane (io_file.c). There is
 * no asynchronous way: caps.asynchronous is false, submit refuses, poll finds nothing. Where io_uring is forbidden, as
 * in many containers, this is what the log runs on.
 *
 * What can fail: opening the directory.
 *
 * Invariants: nothing is ever in flight.
 *
 * May include: io_file.h, io.h. */

#include "wal/io_file.h"

#include <errno.h>
#include <stdlib.h>

static int refuse_submit(struct wal_io *io, struct wal_io_op *op)
{
    (void)io;
    (void)op;
    return -EOPNOTSUPP;
}

static int find_nothing(struct wal_io *io, unsigned done_min)
{
    (void)io;
    return done_min == 0 ? 0 : -EOPNOTSUPP;
}

static int no_event_fd(struct wal_io *io)
{
    (void)io;
    return -1;
}

static void destroy(struct wal_io *io)
{
    struct io_file *disk = (struct io_file *)io;
    io_file_stop(disk);
    free(disk);
}

static const struct wal_io_ops posix_ops = {
    IO_FILE_CONTROL_PLANE, .submit = refuse_submit, .poll = find_nothing, .event_fd = no_event_fd, .destroy = destroy,
};

int wal_io_posix(const char *directory, unsigned flags, struct wal_io **io_out)
{
    struct io_file *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return -ENOMEM;
    }
    int result = io_file_start(disk, directory, flags);
    if (result != 0) {
        free(disk);
        return result;
    }
    disk->io.ops = &posix_ops;
    *io_out = &disk->io;
    return 0;
}
