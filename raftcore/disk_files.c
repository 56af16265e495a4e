/* disk_files.c - a node's directories on a real file system.
 *
 * The happy path: each directory is a struct wal_io of the log's library: with a ring where the kernel gives one, plain
 * otherwise.
 *
 * What can fail: what mkdir, opendir, unlink and rmdir fail with. A directory that could not be removed whole stays in
 * part; whoever asked for it asks again.
 *
 * Invariants: only names that the node gives, below its own directory, are made or removed; a directory is removed only
 * with plain files in it.
 *
 * May include: disk.h, memory.h. */

#define _GNU_SOURCE
#include "raftcore/disk.h"

#include "raftcore/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct files {
    struct raftcore_disk disk; /* First. */
    bool buffered;
    char path[PATH_MAX];
};

static int join(const struct files *files, const char *name, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/%s", files->path, name);
    return length > 0 && length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int open_directory(struct raftcore_disk *disk, const char *name, bool make, struct wal_io **io_out)
{
    char path[PATH_MAX];
    struct stat status;
    int result = join((struct files *)disk, name, path);
    if (result != 0) {
        return result;
    }
    if (!make && stat(path, &status) != 0) {
        return -errno;
    }
    unsigned flags = make ? WAL_IO_DIRECTORY_CREATE : 0;
    flags |= ((struct files *)disk)->buffered ? WAL_IO_BUFFERED : 0;
    if (wal_io_uring(path, flags, io_out) == 0) {
        return 0;
    }
    return wal_io_posix(path, flags, io_out);
}

/* Which directories there are. */
static int sync_names(const struct files *files)
{
    int fd = open(files->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = fsync(fd) == 0 ? 0 : -errno;
    (void)close(fd);
    return result;
}

static int remove_directory(struct raftcore_disk *disk, const char *name)
{
    char path[PATH_MAX];
    int result = join((struct files *)disk, name, path);
    DIR *directory = result == 0 ? opendir(path) : NULL;
    if (directory == NULL) {
        return result != 0 || errno == ENOENT ? result : -errno;
    }
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = unlinkat(dirfd(directory), entry->d_name, 0) == 0 ? 0 : -errno;
        }
    }
    (void)closedir(directory);
    if (result == 0 && rmdir(path) != 0) {
        result = -errno;
    }
    return result == 0 ? sync_names((struct files *)disk) : result;
}

static int list_directories(struct raftcore_disk *disk, int (*each)(void *context, const char *name), void *context)
{
    DIR *directory = opendir(((struct files *)disk)->path);
    if (directory == NULL) {
        return -errno;
    }
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            result = each(context, entry->d_name);
        }
    }
    (void)closedir(directory);
    return result;
}

static void destroy(struct raftcore_disk *disk)
{
    struct memory memory = {0};
    memory_resize(&memory, disk, sizeof(struct files), 0);
}

static const struct raftcore_disk_ops ops = {
    .open = open_directory, .remove = remove_directory, .list = list_directories, .destroy = destroy};

int raftcore_disk_open(const char *path, bool make, bool buffered, struct raftcore_disk **disk_out)
{
    struct memory memory = {0};
    *disk_out = NULL;
    if (strlen(path) >= PATH_MAX - 64) {
        return -ENAMETOOLONG;
    }
    /* The name of the node's directory is durable before anything in it counts, whoever made it. */
    struct wal_io *io;
    int result = wal_io_posix(path, WAL_IO_BUFFERED | (make ? WAL_IO_DIRECTORY_CREATE : 0), &io);
    if (result != 0) {
        return result;
    }
    result = io->ops->sync_parent(io);
    io->ops->destroy(io);
    if (result != 0) {
        return result;
    }
    struct files *files = memory_resize(&memory, NULL, 0, sizeof(*files));
    if (files == NULL) {
        return -ENOMEM;
    }
    files->disk.ops = &ops;
    files->buffered = buffered;
    (void)snprintf(files->path, sizeof(files->path), "%s", path);
    *disk_out = &files->disk;
    return 0;
}
