/* io.c - what the raw result of a transfer call means: the one rule that all backends share.
 *
 * The happy path: all bytes at once. Otherwise: a short transfer goes on where it stopped, with the same kind of
 * operation (so that a durable write stays durable in every piece); an interrupted one is repeated.
 *
 * What can fail: whatever the kernel says finishes the operation, and so does a call that makes no progress 1,000 times
 * in a row.
 *
 * Invariants: moved_bytes never passes size; a finished write has moved all of it or has an error.
 *
 * May include: io.h, check.h. */

#include "wal/io.h"

#include "wal/check.h"

#include <errno.h>

enum { TURNS_WITHOUT_PROGRESS_MAX = 1000 };

static enum wal_io_next finish(struct wal_io_op *op, int32_t result)
{
    op->result = result;
    return WAL_IO_FINISHED;
}

enum wal_io_next wal_io_advance(struct wal_io_op *op, int64_t raw)
{
    if (raw == -EINTR || raw == -EAGAIN) {
        op->private_count++;
        return op->private_count < TURNS_WITHOUT_PROGRESS_MAX ? WAL_IO_AGAIN : finish(op, -EIO);
    }
    if (raw < 0) {
        return finish(op, (int32_t)raw);
    }
    op->private_count = 0;
    if (op->kind == WAL_IO_SYNC) {
        return finish(op, 0);
    }
    CHECK((uint64_t)raw <= op->size - op->moved_bytes);
    op->moved_bytes += (uint32_t)raw;
    if (op->moved_bytes == op->size) {
        return finish(op, 0);
    }
    if (raw == 0) {
        return finish(op, op->kind == WAL_IO_READ ? 0 : -EIO);
    }
    return WAL_IO_AGAIN;
}
