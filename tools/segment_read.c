/* segment_read.c - bytes of segment files: one open file, one window, whatever the number of segments.
 *
 * The happy path: who reads a segment gets its file opened by name and a window of 1 MiB filled from where he asks; the
 * next read inside of the window costs nothing. Reading another segment closes the file and takes the window over: a
 * log of 65,536 segments needs one descriptor and one window.
 *
 * What can fail: a sector that the disk does not give: it is zero, its neighbours are read all the same, and
 * file->error with file->error_offset tell of the first. A file that was renamed or removed since it was listed has
 * file->gone, and reads as zeros. Memory: the program ends with EXIT_DISK.
 *
 * Invariants: nothing but a regular file is opened, and nothing is written; the window belongs to the segment whose
 * token is in it, and to no other.
 *
 * May include: segment_read.h, emit.h. */

#define _GNU_SOURCE
#include "tools/segment_read.h"

#include "tools/emit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    uint64_t token; /* Of the segment that has it; 0: none. */
    uint64_t tokens_given;
    int fd; /* -1: not open, or the segment has a descriptor of its own. */
    uint8_t *window;
    uint64_t window_bytes;
    uint64_t offset; /* The window holds [offset, offset + filled) of the file. */
    uint64_t filled;
} reader = {.fd = -1};

static void note_error(struct segment_file *file, int error, uint64_t offset)
{
    if (file->error == 0) {
        file->error = error;
        file->error_offset = offset;
    }
}

/* --- the one open file --------------------------------------------------------------------------- */

void segment_leave(void)
{
    if (reader.fd >= 0) {
        (void)close(reader.fd);
    }
    free(reader.window);
    reader.fd = -1;
    reader.token = reader.filled = reader.window_bytes = 0;
    reader.window = NULL;
}

static const char *kind_text(mode_t mode)
{
    return S_ISDIR(mode)                    ? "a directory, not a regular file"
           : S_ISFIFO(mode)                 ? "a FIFO, not a regular file"
           : S_ISSOCK(mode)                 ? "a socket, not a regular file"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "a device, not a regular file"
           : S_ISLNK(mode)                  ? "a symbolic link to nothing"
                                            : "not a regular file";
}

/* Opens it by its name. What stands there is looked at before: to open a device or a FIFO may do something. */
static int open_by_name(struct segment_file *file)
{
    char name[FORMAT_NAME_BYTES];
    struct stat facts;
    format_segment_name(file->number, name);
    if (fstatat(file->directory_fd, name, &facts, 0) != 0) {
        int error = errno;
        if (error == ENOENT && fstatat(file->directory_fd, name, &facts, AT_SYMLINK_NOFOLLOW) == 0) {
            file->odd = kind_text(facts.st_mode);
        } else if (error == ENOENT) {
            file->gone = true;
        } else {
            file->odd = "cannot be looked at";
            note_error(file, error, 0);
        }
        return -1;
    }
    if (!S_ISREG(facts.st_mode)) {
        file->odd = kind_text(facts.st_mode);
        return -1;
    }
    int fd = openat(file->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        file->gone = errno == ENOENT;
        if (!file->gone) {
            file->odd = "cannot be opened";
            note_error(file, errno, 0);
        }
    }
    return fd;
}

/* The descriptor of a segment, which has the window from now on; -1: it does not open. */
static int enter(struct segment_file *file)
{
    if (file->token == 0 || file->token != reader.token) {
        if (reader.fd >= 0) {
            (void)close(reader.fd);
        }
        reader.filled = 0;
        file->token = ++reader.tokens_given;
        reader.token = file->token;
        reader.fd = file->fd >= 0 || file->odd != NULL || file->gone ? -1 : open_by_name(file);
    }
    return file->fd >= 0 ? file->fd : reader.fd;
}

void segment_forget(struct segment_file *file)
{
    file->token = 0;
}

bool segment_look_for(struct segment_file *file)
{
    struct stat facts;
    segment_forget(file);
    file->error = 0;
    file->odd = NULL;
    file->gone = false;
    file->begun_known = false;
    file->bytes = 0;
    int fd = enter(file);
    if (fd >= 0 && fstat(fd, &facts) == 0) {
        file->bytes = facts.st_size < 0 ? 0 : (uint64_t)facts.st_size;
    }
    return !file->gone;
}

/* --- reading ------------------------------------------------------------------------------------- */

/* Reads what it can of [offset, offset + bytes); the rest of `to` is zero. */
static void read_piece(struct segment_file *file, int fd, uint8_t *to, uint64_t offset, uint64_t bytes)
{
    uint64_t done = 0;
    while (fd >= 0 && done < bytes) {
        ssize_t got = pread(fd, to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            note_error(file, errno, offset + done);
            uint64_t skip_bytes = FORMAT_SECTOR_BYTES - (offset + done) % FORMAT_SECTOR_BYTES; /* The next may read. */
            skip_bytes = skip_bytes < bytes - done ? skip_bytes : bytes - done;
            memset(to + done, 0, skip_bytes);
            done += skip_bytes;
            continue;
        }
        if (got == 0) {
            break;
        }
        done += (uint64_t)got;
    }
    memset(to + done, 0, bytes - done);
}

static bool is_inside(const struct segment_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t limit = file->size > file->bytes ? file->size : file->bytes;
    return offset <= limit && bytes <= limit - offset;
}

const uint8_t *segment_sector_at(struct segment_file *file, uint64_t offset, uint8_t sector[FORMAT_SECTOR_BYTES])
{
    if (!is_inside(file, offset, FORMAT_SECTOR_BYTES)) {
        return NULL;
    }
    read_piece(file, enter(file), sector, offset, FORMAT_SECTOR_BYTES);
    return sector;
}

/* A window that was made larger for one record does not stay so. */
static void make_room(uint64_t bytes)
{
    uint64_t wanted_bytes = bytes > SEGMENT_WINDOW_BYTES ? bytes : SEGMENT_WINDOW_BYTES;
    if (reader.window != NULL && reader.window_bytes == wanted_bytes) {
        return;
    }
    free(reader.window);
    reader.window = malloc(wanted_bytes);
    reader.window_bytes = wanted_bytes;
    reader.filled = 0;
    if (reader.window == NULL) {
        complain("out of memory for %" PRIu64 " bytes of a segment", wanted_bytes);
        exit(EXIT_DISK);
    }
}

const uint8_t *segment_at(struct segment_file *file, uint64_t offset, uint64_t bytes)
{
    if (!is_inside(file, offset, bytes)) {
        return NULL;
    }
    int fd = enter(file);
    if (reader.window == NULL || offset < reader.offset || offset - reader.offset > reader.filled ||
        bytes > reader.filled - (offset - reader.offset)) {
        make_room(bytes);
        read_piece(file, fd, reader.window, offset, reader.window_bytes);
        reader.offset = offset;
        reader.filled = reader.window_bytes;
    }
    return reader.window + (offset - reader.offset);
}

uint64_t segment_next_data(struct segment_file *file, uint64_t offset, uint32_t block_bytes)
{
    int fd = enter(file);
    if (fd < 0 || offset > INT64_MAX) {
        return offset;
    }
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data < 0) {
        return errno == ENXIO ? UINT64_MAX - UINT64_MAX % block_bytes : offset;
    }
    return (uint64_t)data - (uint64_t)data % block_bytes;
}
