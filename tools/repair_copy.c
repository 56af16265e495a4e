/* repair_copy.c - the copy that is made before a cut: whole, synced, read back; or gone again.
 *
 * The happy path: a directory of its own is made beside the log, or the one that was named is taken, when it is empty;
 * each file that the cut may concern is copied whole, synced and read back; then the directory is synced, and the one
 * that it stands in.
 *
 * What can fail: no room, a disk that does not take it, a user who interrupts: what was copied is removed again, so
 * that the same command can be given once more; where that does not go, it is named. After a kill -9 the copy stands
 * there half made, and the next one wants another place: nothing is ever written over a copy.
 *
 * Invariants: it is whole on the disk before repair_copy_make says so; the log's own directory is never written to. */

#define _GNU_SOURCE
#include "tools/repair_copy.h"

#include "tools/emit.h"
#include "tools/waldump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20, SUFFIX_BYTES = 8 };

/* --- one file ------------------------------------------------------------------------------------ */

static int fail(const char *directory, const char *name, const char *what)
{
    complain("%s/%s: %s: %s", directory, name, what, strerror(errno));
    return EXIT_DISK;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size != 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return -1;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Copies one segment file; what the disk does not read is zeros in the copy, and told. After an interrupt it is not
 * whole. */
static int copy_segment(struct segment_file *file, struct repair_copy *copied)
{
    char name[FORMAT_NAME_BYTES];
    format_segment_name(file->number, name);
    int fd = openat(copied->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(copied->path, name, "cannot be made");
    }
    copied->numbers[copied->count++] = file->number;
    int code = 0;
    uint64_t written_digest = 0;
    uint64_t read_digest = 0;
    for (uint64_t offset = 0; code == 0 && !interrupted() && offset < file->bytes; offset += COPY_BYTES) {
        uint64_t bytes = file->bytes - offset < COPY_BYTES ? file->bytes - offset : COPY_BYTES;
        const uint8_t *from = segment_at(file, offset, bytes);
        written_digest ^= payload_digest(from, bytes) * (2 * offset + 1);
        code = write_all(fd, from, bytes) == 0 ? 0 : fail(copied->path, name, "writing");
        progress_tell(name, offset, file->bytes);
    }
    if (code == 0 && fsync(fd) != 0) {
        code = fail(copied->path, name, "syncing");
    }
    struct segment_file copy = {.number = file->number, .bytes = file->bytes, .size = file->bytes, .fd = fd};
    for (uint64_t offset = 0; code == 0 && !interrupted() && offset < file->bytes; offset += COPY_BYTES) {
        uint64_t bytes = file->bytes - offset < COPY_BYTES ? file->bytes - offset : COPY_BYTES;
        read_digest ^= payload_digest(segment_at(&copy, offset, bytes), bytes) * (2 * offset + 1);
    }
    if (code == 0 && !interrupted() && read_digest != written_digest) {
        complain("%s/%s: the copy does not read as it was written", copied->path, name);
        code = EXIT_DISK;
    }
    if (code == 0 && file->gone) {
        complain("%s/%s: it went while it was copied: is the log in use?", copied->path, name);
        code = EXIT_DISK;
    }
    if (file->error != 0) {
        complain("%s: parts of it do not read (%s); zeros stand for them in the copy", name, strerror(file->error));
    }
    (void)close(fd);
    return code;
}

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 ? -1 : fsync(fd);
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return result;
}

/* --- where it goes ------------------------------------------------------------------------------- */

/* Where the cut segments go when nobody said: beside the log, with the time in its name. */
static void default_backup(const char *directory, char *path, size_t size)
{
    time_t now = time(NULL);
    struct tm parts;
    char stamp[32] = "";
    char *real = realpath(directory, NULL); /* "." and "log/" have a name of their own, and what is beside it. */
    size_t length = strlen(real != NULL ? real : directory);
    if (gmtime_r(&now, &parts) != NULL) {
        (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &parts);
    }
    (void)snprintf(path, size, "%.*s.cut-%s", (int)length, real != NULL ? real : directory, stamp);
    free(real);
}

/* Prepared, and never anything else in it: zeros behind the identity. */
static bool is_blank(struct segment_file *file, uint32_t block_bytes)
{
    static const uint8_t zeros[4096];
    if (file->identity_verdict != FORMAT_OK || file->odd != NULL) {
        return false;
    }
    for (uint64_t offset = block_bytes; offset < file->bytes; offset += sizeof(zeros)) {
        uint64_t bytes = file->bytes - offset < sizeof(zeros) ? file->bytes - offset : sizeof(zeros);
        const uint8_t *at = segment_at(file, offset, bytes);
        if (at == NULL || file->error != 0 || memcmp(at, zeros, bytes) != 0) {
            return false;
        }
    }
    return true;
}

/* May the cut take something of this file? Whatever it looks like: what the library takes for a prepared segment it
 * will use again. Left out are only those that are known to end before the cut, and those that hold nothing. */
static bool is_concerned(struct segments *segments, struct segment_file *file, const struct wal_verdict *seen)
{
    bool before =
        file->number < seen->segment && file->seal_verdict == FORMAT_OK && file->seal.last_index < seen->index;
    return !before && !is_blank(file, segments->block_bytes);
}

static bool is_empty(int fd)
{
    int copy = dup(fd);
    DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    bool empty = directory != NULL;
    while (empty && (entry = readdir(directory)) != NULL) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return empty;
}

/* The directory that a path stands in; "." and names behind links by where they lead. NULL: it is not there. */
static char *parent_of(const char *path)
{
    char *copy = strdup(path);
    char *real = copy == NULL ? NULL : realpath(dirname(copy), NULL);
    free(copy);
    return real;
}

/* A copy in the log's own directory, or below it, would be taken for a part of the log, or lost with it. */
static bool is_inside(const char *directory, const char *backup)
{
    char *log = realpath(directory, NULL);
    char *place = realpath(backup, NULL); /* It may be there already, */
    bool there = place != NULL;
    place = there ? place : parent_of(backup); /* or be made where it would stand. */
    size_t length = log == NULL ? 0 : strlen(log);
    bool inside = log != NULL && place != NULL && strncmp(place, log, length) == 0 &&
                  (place[length] == '/' || place[length] == 0);
    free(log);
    free(place);
    return inside;
}

static int open_place(struct repair_copy *copy, const char *directory, const char *backup)
{
    bool named = backup != NULL;
    if (named) {
        (void)snprintf(copy->path, sizeof(copy->path), "%s", backup);
    } else {
        default_backup(directory, copy->path, sizeof(copy->path) - SUFFIX_BYTES);
    }
    if (is_inside(directory, copy->path)) {
        complain("%s: it lies in the log's own directory: name a new or an empty one outside of it", copy->path);
        return EXIT_USAGE;
    }
    size_t length = strlen(copy->path);
    copy->is_new = mkdir(copy->path, 0700) == 0;
    for (unsigned i = 2; !copy->is_new && !named && errno == EEXIST && i < 100; i++) { /* Two in one second. */
        (void)snprintf(copy->path + length, SUFFIX_BYTES, "-%u", i);
        copy->is_new = mkdir(copy->path, 0700) == 0;
    }
    if (!copy->is_new && (!named || errno != EEXIST)) {
        return fail(copy->path, "", "cannot be made");
    }
    copy->fd = open(copy->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy->fd < 0) {
        return fail(copy->path, "", "cannot be opened");
    }
    if (!copy->is_new && !is_empty(copy->fd)) {
        complain("%s: it is not empty (a log, or a copy that may not be whole?): name a new or an empty directory",
                 copy->path);
        return EXIT_DISK;
    }
    return 0;
}

/* --- all of it ----------------------------------------------------------------------------------- */

void repair_copy_close(struct repair_copy *copy)
{
    if (copy->fd >= 0) {
        (void)close(copy->fd);
    }
    copy->fd = -1;
    free(copy->numbers);
    copy->numbers = NULL;
    copy->count = 0;
}

void repair_copy_remove(struct repair_copy *copy)
{
    bool gone = true;
    for (unsigned i = 0; i < copy->count; i++) {
        char name[FORMAT_NAME_BYTES];
        format_segment_name(copy->numbers[i], name);
        gone = (unlinkat(copy->fd, name, 0) == 0 || errno == ENOENT) && gone;
    }
    if (copy->is_new && gone) {
        gone = rmdir(copy->path) == 0;
    }
    if (!gone) {
        complain("%s: it holds a copy that is not whole or not needed; it could not be removed: %s", copy->path,
                 strerror(errno));
    }
    copy->is_new = false;
    repair_copy_close(copy);
}

static int copy_all(struct repair_copy *copy, const char *directory, struct segments *segments,
                    const struct wal_verdict *seen)
{
    int code = 0;
    for (unsigned i = 0; code == 0 && i < segments->count && !interrupted(); i++) {
        struct segment_file *file = &segments->list[i];
        if (file->odd != NULL) {
            char name[FORMAT_NAME_BYTES];
            format_segment_name(file->number, name);
            complain("%s/%s: %s: move it away first", directory, name, file->odd);
            code = EXIT_DISK;
        } else if (is_concerned(segments, file, seen)) {
            code = copy_segment(file, copy);
        }
    }
    if (code == 0 && fsync(copy->fd) != 0) {
        code = fail(copy->path, "", "syncing");
    }
    char *parent = parent_of(copy->path);
    if (code == 0 && (parent == NULL || sync_directory(parent) != 0)) {
        code = fail(copy->path, "..", "syncing");
    }
    free(parent);
    return code;
}

int repair_copy_make(struct repair_copy *copy, const char *directory, const char *backup, struct segments *segments,
                     const struct wal_verdict *seen)
{
    *copy = (struct repair_copy){.fd = -1, .numbers = calloc(segments->count + 1u, sizeof(uint64_t))};
    if (copy->numbers == NULL) {
        complain("out of memory");
        return EXIT_DISK;
    }
    int code = open_place(copy, directory, backup);
    code = code == 0 ? copy_all(copy, directory, segments, seen) : code;
    progress_end();
    code = code == 0 && interrupted() ? EXIT_INTERRUPTED : code;
    if (code != 0) {
        repair_copy_remove(copy);
    }
    return code;
}
