/* disk.h - where a node's files are: a few directories, each a struct wal_io. Public: others may bring a disk of their
 * own, tests bring a simulated one.
 *
 * May include: io.h. */

#ifndef RAFTCORE_DISK_H
#define RAFTCORE_DISK_H

#include "wal/io.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RAFTCORE_DISK_API __attribute__((visibility("default")))
#else
#define RAFTCORE_DISK_API
#endif

struct raftcore_disk;

/* Results are 0 or a negative errno value. Called by one thread at a time; all may block. */
struct raftcore_disk_ops {
    /* A directory of the node's ("snapshots", "log-1"): -ENOENT when it is not there and `make` is false. The caller
     * destroys *io_out. */
    int (*open)(struct raftcore_disk *disk, const char *name, bool make, struct wal_io **io_out);
    /* With all files in it; durable at some time later. 0 also when it is not there. */
    int (*remove)(struct raftcore_disk *disk, const char *name);
    int (*list)(struct raftcore_disk *disk, int (*each)(void *context, const char *name), void *context);
    void (*destroy)(struct raftcore_disk *disk);
};

struct raftcore_disk {
    const struct raftcore_disk_ops *ops;
};

/* Directories below `path`, which is made if `make` says so and its parent is there. buffered: through the page cache,
 * as WAL_BUFFERED. *disk_out is to be destroyed. */
RAFTCORE_DISK_API int raftcore_disk_open(const char *path, bool make, bool buffered, struct raftcore_disk **disk_out);

#ifdef __cplusplus
}
#endif

#endif
