/* snapshot_look.c - is this file a snapshot, and does every byte of it read?
 *
 * The happy path:
 *   1. the first block is the header; the last one is the same again;
 *   2. the header's checksum of the table is held against the table, which is read in windows;
 *   3. the table's checksum of each chunk is held against the chunk; the table is read once more, a block for every 512
 *      chunks.
 *
 * What can fail: anything, these are any bytes. A header that does not read is replaced by the other; behind a table or
 * a chunk that does not read nothing more is looked at: the node uses all of a file or nothing of it. What the disk
 * does not give is told with the kernel's words, and is no damage of the file's.
 *
 * Invariants: memory is one window and one block, whatever a header says; nothing is read outside of the file, and no
 * length is believed but that of a header under a right checksum that fits into the file; nothing but a regular file is
 * opened, and nothing is written.
 *
 * May include: snapshot_look.h, emit.h. */

#define _GNU_SOURCE
#include "tools/snapshot_look.h"

#include "tools/emit.h"
#include "wal/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    WINDOW_BYTES = 1 << 20,
    WINDOW_CHUNKS = WINDOW_BYTES / SNAPSHOT_CHUNK_BYTES,
    ENTRIES_PER_BLOCK = SNAPSHOT_BLOCK_BYTES / 8
};

_Static_assert(ENTRIES_PER_BLOCK % WINDOW_CHUNKS == 0, "the entries of a window's chunks stand in one block");

struct file {
    int fd;
    bool direct;
    uint8_t *window; /* WINDOW_BYTES, and behind them a block of the table. */
    uint8_t *entries;
    const struct snapshot_span *span;
    struct snapshot_look *look;
};

/* --- what is wrong ------------------------------------------------------------------------------- */

/* Adds a sentence; the lowest offset is kept. */
__attribute__((format(printf, 3, 4))) static void note(struct snapshot_look *look, uint64_t offset, const char *format,
                                                       ...)
{
    size_t used = strlen(look->text);
    va_list arguments;
    if (used != 0 && used + 3 < sizeof(look->text)) {
        used += (size_t)sprintf(look->text + used, "; ");
    }
    va_start(arguments, format);
    (void)vsnprintf(look->text + used, sizeof(look->text) - used, format, arguments);
    va_end(arguments);
    look->offset = look->has_offset && look->offset < offset ? look->offset : offset;
    look->has_offset = true;
    look->content = look->content == SNAPSHOT_WHOLE ? SNAPSHOT_DAMAGED : look->content;
}

/* The same for what the disk did not give. 0: the file has become shorter meanwhile. */
static void note_error(struct snapshot_look *look, uint64_t offset, const char *what, int error)
{
    note(look, offset, "%s does not read: %s", what, error != 0 ? strerror(error) : "the file ends before it");
    look->content = error != 0 ? SNAPSHOT_UNREADABLE : look->content;
}

/* --- reading ------------------------------------------------------------------------------------- */

/* Whole blocks, all of them. False: *error, 0 when the file ends before. */
static bool read_blocks(struct file *file, uint64_t offset, uint8_t *to, size_t bytes, int *error)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(file->fd, to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EINVAL && file->direct) { /* A file system that does it badly. */
            file->direct = false;
            if (fcntl(file->fd, F_SETFL, O_NONBLOCK) == 0) {
                continue;
            }
        }
        if (got <= 0) {
            *error = got < 0 ? errno : 0;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static const char *kind_text(mode_t mode)
{
    return S_ISDIR(mode)                    ? "a directory, not a file"
           : S_ISFIFO(mode)                 ? "a FIFO, not a file"
           : S_ISSOCK(mode)                 ? "a socket, not a file"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "a device, not a file"
                                            : "not a regular file";
}

/* What stands there is looked at before: to open a device or a FIFO may do something. */
static bool open_file(struct file *file, int directory_fd, const char *name, bool cached)
{
    struct snapshot_look *look = file->look;
    struct stat facts;
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    if (fstatat(directory_fd, name, &facts, 0) == 0 && !S_ISREG(facts.st_mode)) {
        (void)snprintf(look->text, sizeof(look->text), "%s", kind_text(facts.st_mode));
        look->content = SNAPSHOT_NONE;
        return false;
    }
    file->direct = !cached;
    file->fd = cached ? -1 : openat(directory_fd, name, flags | O_DIRECT);
    if (file->fd < 0) {
        file->direct = false;
        file->fd = openat(directory_fd, name, flags);
    }
    if (file->fd < 0 || fstat(file->fd, &facts) != 0) {
        look->gone = errno == ENOENT;
        (void)snprintf(look->text, sizeof(look->text), "%s", strerror(errno));
        look->content = SNAPSHOT_UNREADABLE;
        return false;
    }
    look->bytes = (uint64_t)facts.st_size;
    return true;
}

static void tell(const struct file *file, uint64_t offset)
{
    progress_tell("snapshot", file->span->done_bytes + offset, file->span->total_bytes);
}

/* --- headers ------------------------------------------------------------------------------------- */

struct header_look {
    int result; /* Of snapshot_decode_header; -EIO: the disk. */
    bool has_magic;
    struct snapshot_header header;
};

static void look_at_header(struct file *file, uint64_t offset, const char *which, struct header_look *at)
{
    int error = 0;
    *at = (struct header_look){.result = -EBADMSG};
    if (offset > file->look->bytes || file->look->bytes - offset < SNAPSHOT_BLOCK_BYTES) {
        return;
    }
    if (read_blocks(file, offset, file->window, SNAPSHOT_BLOCK_BYTES, &error)) {
        at->has_magic = load_u64_le(file->window) == SNAPSHOT_MAGIC;
        at->result = snapshot_decode_header(file->window, &at->header);
    } else if (error != 0) {
        note_error(file->look, offset, which, error);
        at->result = -EIO;
    }
}

/* Nothing here reads as a header. */
static void tell_no_header(struct snapshot_look *look, const struct header_look *first,
                           const struct header_look *second)
{
    if (first->result == -EPROTONOSUPPORT || second->result == -EPROTONOSUPPORT) {
        (void)snprintf(look->text, sizeof(look->text), "a newer version of the format: use a newer program");
        look->content = SNAPSHOT_NEWER;
    } else if (look->content != SNAPSHOT_UNREADABLE && (first->has_magic || second->has_magic)) {
        note(look, first->has_magic ? 0 : look->bytes - look->bytes % SNAPSHOT_BLOCK_BYTES - SNAPSHOT_BLOCK_BYTES,
             "neither header reads");
    } else if (look->content != SNAPSHOT_UNREADABLE) {
        (void)snprintf(look->text, sizeof(look->text), "no header where one would stand");
        look->content = SNAPSHOT_NONE;
    }
}

/* From its first place, or its second, as the node does. False: there is none. */
static bool look_at_headers(struct file *file)
{
    struct snapshot_look *look = file->look;
    struct header_look first, second;
    uint64_t end = look->bytes - look->bytes % SNAPSHOT_BLOCK_BYTES;
    look_at_header(file, 0, "the first header", &first);
    uint64_t second_end = first.result == 0 ? first.header.file_bytes : end;
    second = (struct header_look){.result = -EBADMSG};
    if (second_end >= 2 * SNAPSHOT_BLOCK_BYTES) {
        look_at_header(file, second_end - SNAPSHOT_BLOCK_BYTES, "the second header", &second);
    }
    look->first_reads = first.result == 0;
    look->second_reads = second.result == 0;
    look->has_header = look->first_reads || (look->second_reads && first.result != -EPROTONOSUPPORT);
    if (!look->has_header) {
        tell_no_header(look, &first, &second);
        return false;
    }
    look->header = look->first_reads ? first.header : second.header;
    if (!look->first_reads && first.result != -EIO) {
        note(look, 0, "the first header does not read, so the node does not use the file");
    }
    if (look->bytes != look->header.file_bytes) {
        bool longer = look->bytes > look->header.file_bytes;
        note(look, longer ? look->header.file_bytes : look->bytes,
             longer ? "it has %" PRIu64 " bytes, more than the %" PRIu64 " its header says"
                    : "it is cut off at %" PRIu64 " of %" PRIu64 " bytes",
             look->bytes, look->header.file_bytes);
    }
    bool differ = look->first_reads && look->second_reads && first.header.id != second.header.id;
    if (differ || (!look->second_reads && second.result != -EIO && look->bytes >= look->header.file_bytes)) {
        note(look, second_end - SNAPSHOT_BLOCK_BYTES, "the second header %s",
             differ ? "is another one" : "does not read; the node reads the file without it");
    }
    return true;
}

/* --- table and chunks ---------------------------------------------------------------------------- */

/* False: the chunks cannot be checked. */
static bool look_at_table(struct file *file)
{
    struct snapshot_look *look = file->look;
    uint64_t left = 8 * snapshot_chunk_count(look->header.state_bytes);
    uint64_t offset = snapshot_table_offset(look->header.state_bytes);
    uint64_t whole = round_up(left, SNAPSHOT_BLOCK_BYTES);
    if (whole > look->bytes || offset > look->bytes - whole) {
        return false; /* That it is cut off has been told. */
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, SNAPSHOT_MAGIC);
    for (uint64_t at = 0; left != 0 && !interrupted(); at += WINDOW_BYTES) {
        size_t part = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        int error;
        if (!read_blocks(file, offset + at, file->window, (size_t)round_up(part, SNAPSHOT_BLOCK_BYTES), &error)) {
            note_error(look, offset + at, "the table", error);
            return false;
        }
        (void)XXH3_64bits_update(&state, file->window, part);
        left -= part;
        tell(file, 0);
    }
    look->table_checked = !interrupted();
    look->table_reads = look->header.state_bytes == 0 || XXH3_64bits_digest(&state) == look->header.table_checksum;
    if (look->table_checked && !look->table_reads) {
        note(look, offset, "the table does not read, so no chunk can be checked");
    }
    return look->table_checked && look->table_reads;
}

static size_t chunk_bytes(const struct snapshot_look *look, uint64_t number)
{
    uint64_t left = look->header.state_bytes - number * SNAPSHOT_CHUNK_BYTES;
    return left < SNAPSHOT_CHUNK_BYTES ? (size_t)left : SNAPSHOT_CHUNK_BYTES;
}

/* Of a chunk in the window, or when the window did not come whole, of one read alone. */
static bool look_at_chunk(struct file *file, uint64_t number, uint8_t *chunk, bool is_here)
{
    struct snapshot_look *look = file->look;
    uint64_t offset = SNAPSHOT_BLOCK_BYTES + number * SNAPSHOT_CHUNK_BYTES;
    size_t bytes = chunk_bytes(look, number);
    char what[64];
    int error;
    (void)snprintf(what, sizeof(what), "chunk %" PRIu64 " at 0x%" PRIx64, number, offset);
    if (!is_here && !read_blocks(file, offset, chunk, (size_t)round_up(bytes, SNAPSHOT_BLOCK_BYTES), &error)) {
        note_error(look, offset, what, error);
        look->chunk_is_damaged = true;
        return false;
    }
    uint64_t expected = load_u64_le(file->entries + 8 * (number % ENTRIES_PER_BLOCK));
    if (snapshot_chunk_checksum(chunk, bytes, number) != expected) {
        note(look, offset, "%s does not read: wrong checksum", what);
        look->chunk_is_damaged = true;
        return false;
    }
    return true;
}

/* Up to the first one that does not read. */
static void look_at_chunks(struct file *file)
{
    struct snapshot_look *look = file->look;
    uint64_t count = snapshot_chunk_count(look->header.state_bytes);
    uint64_t table_offset = snapshot_table_offset(look->header.state_bytes);
    for (uint64_t first = 0; first < count && !interrupted(); first += WINDOW_CHUNKS) {
        int error;
        uint64_t entries_offset = table_offset + 8 * first;
        if (first % ENTRIES_PER_BLOCK == 0 &&
            !read_blocks(file, entries_offset, file->entries, SNAPSHOT_BLOCK_BYTES, &error)) {
            note_error(look, entries_offset, "the table", error);
            return;
        }
        uint64_t left = look->header.state_bytes - first * SNAPSHOT_CHUNK_BYTES;
        size_t bytes = left < WINDOW_BYTES ? (size_t)round_up(left, SNAPSHOT_BLOCK_BYTES) : WINDOW_BYTES;
        uint64_t offset = SNAPSHOT_BLOCK_BYTES + first * SNAPSHOT_CHUNK_BYTES;
        bool is_here = read_blocks(file, offset, file->window, bytes, &error);
        for (uint64_t i = 0; i < WINDOW_CHUNKS && first + i < count; i++) {
            if (!look_at_chunk(file, first + i, file->window + i * SNAPSHOT_CHUNK_BYTES, is_here)) {
                return;
            }
            look->chunks_checked++;
        }
        tell(file, offset + bytes);
    }
}

/* --- all of it ----------------------------------------------------------------------------------- */

void snapshot_look(int directory_fd, const char *name, bool cached, const struct snapshot_span *span,
                   struct snapshot_look *look)
{
    struct file file = {.fd = -1, .span = span, .look = look};
    *look = (struct snapshot_look){.content = SNAPSHOT_WHOLE};
    file.window = aligned_alloc(SNAPSHOT_BLOCK_BYTES, WINDOW_BYTES + SNAPSHOT_BLOCK_BYTES);
    if (file.window == NULL) {
        complain("out of memory");
        exit(EXIT_DISK);
    }
    file.entries = file.window + WINDOW_BYTES;
    if (open_file(&file, directory_fd, name, cached) && look_at_headers(&file) && look_at_table(&file)) {
        look_at_chunks(&file);
    }
    if (interrupted()) {
        look->content = SNAPSHOT_CUT_SHORT;
        (void)snprintf(look->text, sizeof(look->text), "interrupted: not all was read");
    }
    if (file.fd >= 0) {
        (void)close(file.fd);
    }
    free(file.window);
}
