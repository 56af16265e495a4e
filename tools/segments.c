/* segments.c - the files of a log as they lie on the disk, whatever is in them.
 *
 * The happy path: the directory's names are listed; of each segment three sectors are read: identity, opening anchor,
 * seal. Batches are then found block by block, through a window of the file.
 *
 * What can fail: a directory or file that does not open or read: said on stderr with its name, EXIT_DISK. Damage is no
 * failure: each structure has its verdict, and zeros stand for what the disk does not give.
 *
 * Invariants: nothing is written or locked; a size is believed only under a right checksum, and never beyond the
 * file's; memory is bounded by the largest batch that a right checksum vouches for. */

#define _GNU_SOURCE
#include "tools/segments.h"

#include "tools/emit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW_BYTES = 1 << 20, SEGMENTS_MAX = 1 << 20 };

/* --- reading ------------------------------------------------------------------------------------- */

void segment_forget(struct segment_file *file)
{
    file->window_filled = 0;
}

/* Fills the window from offset on; what cannot be read is zero. */
static void fill_window(struct segment_file *file, uint64_t offset)
{
    file->window_offset = offset;
    file->window_filled = 0;
    while (file->window_filled < file->window_bytes) {
        uint64_t at = offset + file->window_filled;
        ssize_t got =
            pread(file->fd, file->window + file->window_filled, file->window_bytes - file->window_filled, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            file->error = errno;
            uint64_t skip_bytes = FORMAT_SECTOR_BYTES - at % FORMAT_SECTOR_BYTES; /* Its neighbours may read. */
            uint64_t rest_bytes = file->window_bytes - file->window_filled;
            skip_bytes = skip_bytes < rest_bytes ? skip_bytes : rest_bytes;
            memset(file->window + file->window_filled, 0, skip_bytes);
            file->window_filled += skip_bytes;
            continue;
        }
        if (got == 0) {
            memset(file->window + file->window_filled, 0, file->window_bytes - file->window_filled);
            file->window_filled = file->window_bytes;
        }
        file->window_filled += (uint64_t)got;
    }
}

const uint8_t *segment_at(struct segment_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t limit = file->size > file->bytes ? file->size : file->bytes;
    if (offset > limit || bytes > limit - offset) {
        return NULL;
    }
    if (offset >= file->window_offset && offset + bytes <= file->window_offset + file->window_filled) {
        return file->window + (offset - file->window_offset);
    }
    if (bytes > file->window_bytes || file->window == NULL) {
        uint64_t wanted_bytes = bytes > WINDOW_BYTES ? bytes : WINDOW_BYTES;
        uint8_t *window = realloc(file->window, wanted_bytes);
        if (window == NULL) {
            complain("out of memory for a batch of %" PRIu64 " bytes", bytes);
            exit(EXIT_DISK);
        }
        file->window = window;
        file->window_bytes = wanted_bytes;
        file->window_filled = 0;
    }
    fill_window(file, offset);
    return file->window + (offset - file->window_offset);
}

/* --- the three sectors that tell of a segment ---------------------------------------------------- */

/* One sector and no more: a log may have thousands of segments. NULL: more than the segment has. */
static const uint8_t *sector_at(struct segment_file *file, uint64_t offset, uint8_t sector[FORMAT_SECTOR_BYTES])
{
    uint64_t limit = file->size > file->bytes ? file->size : file->bytes;
    if (offset > limit || FORMAT_SECTOR_BYTES > limit - offset) {
        return NULL;
    }
    ssize_t got;
    do {
        got = pread(file->fd, sector, FORMAT_SECTOR_BYTES, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    file->error = got < 0 ? errno : file->error;
    memset(sector + (got > 0 ? got : 0), 0, FORMAT_SECTOR_BYTES - (size_t)(got > 0 ? got : 0));
    return sector;
}

static void look_at_identity(struct segment_file *file)
{
    uint8_t buffer[FORMAT_SECTOR_BYTES];
    file->size = file->bytes;
    const uint8_t *sector = sector_at(file, 0, buffer);
    file->identity_verdict = sector == NULL ? FORMAT_TRUNCATED : format_identity_decode(sector, &file->identity);
    if (file->identity_verdict == FORMAT_OK) {
        file->size = file->identity.segment_bytes;
    }
}

static void look_at_ends(struct segment_file *file, uint32_t block_bytes)
{
    uint8_t buffer[FORMAT_SECTOR_BYTES];
    const uint8_t *sector = sector_at(file, block_bytes, buffer);
    file->anchor_verdict =
        sector == NULL ? FORMAT_TRUNCATED : format_head_decode(sector, FORMAT_SECTOR_BYTES, &file->anchor);
    if (file->anchor_verdict == FORMAT_OK &&
        (file->anchor.kind != BATCH_ANCHOR || !format_head_is_self_valid(&file->anchor, file->number, 1))) {
        file->anchor_verdict = FORMAT_BAD_FIELD;
    }
    uint64_t size = file->size - file->size % block_bytes;
    file->seal_verdict = FORMAT_TRUNCATED;
    sector = size < 2 * (uint64_t)block_bytes ? NULL : sector_at(file, size - block_bytes, buffer);
    if (sector != NULL) {
        file->seal_verdict = format_seal_decode(sector, &file->seal);
        bool own = file->seal.segment == file->number && file->seal.own_offset == size - block_bytes;
        file->seal_verdict = file->seal_verdict == FORMAT_OK && !own ? FORMAT_BAD_FIELD : file->seal_verdict;
    }
}

/* The block size from the newest identity that reads; else the one at which an opening anchor stands. */
static void learn_shape(struct segments *segments)
{
    segments->block_bytes = 4096;
    for (unsigned i = segments->count; i-- > 0;) {
        const struct segment_file *file = &segments->list[i];
        if (file->identity_verdict == FORMAT_OK) {
            segments->block_bytes = 1u << file->identity.block_shift;
            memcpy(segments->uuid, file->identity.uuid, sizeof(segments->uuid));
            return;
        }
    }
    for (unsigned i = segments->count; i-- > 0;) {
        struct segment_file *file = &segments->list[i];
        for (uint32_t block_bytes = FORMAT_BLOCK_BYTES_MIN; block_bytes <= FORMAT_BLOCK_BYTES_MAX; block_bytes *= 2) {
            uint8_t buffer[FORMAT_SECTOR_BYTES];
            const uint8_t *sector = sector_at(file, block_bytes, buffer);
            struct format_head head;
            if (sector != NULL && format_head_decode(sector, FORMAT_SECTOR_BYTES, &head) == FORMAT_OK &&
                head.kind == BATCH_ANCHOR && format_head_is_self_valid(&head, file->number, 1)) {
                segments->block_bytes = block_bytes;
                memcpy(segments->uuid, head.body.anchor.uuid, sizeof(segments->uuid));
                return;
            }
        }
    }
}

/* --- the list ------------------------------------------------------------------------------------ */

static int by_number(const void *left, const void *right)
{
    const struct segment_file *a = left;
    const struct segment_file *b = right;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int add_file(struct segments *segments, const char *name)
{
    uint64_t number = format_segment_of_name(name);
    if (number == 0) {
        return 0;
    }
    if (segments->count == SEGMENTS_MAX) {
        complain("%s: more than %d segment files", segments->directory, SEGMENTS_MAX);
        return EXIT_DISK;
    }
    if ((segments->count & (segments->count - 1)) == 0) { /* A power of two, or none: the list is full. */
        size_t room = segments->count == 0 ? 1 : 2 * (size_t)segments->count;
        struct segment_file *list = realloc(segments->list, room * sizeof(*list));
        if (list == NULL) {
            complain("out of memory for %zu segments", room);
            return EXIT_DISK;
        }
        segments->list = list;
    }
    segments->list[segments->count++] = (struct segment_file){.number = number, .fd = -1};
    return 0;
}

/* Opens the file of a number, if it is there. */
static int open_file(struct segments *segments, struct segment_file *file)
{
    char name[FORMAT_NAME_BYTES];
    struct stat facts;
    format_segment_name(file->number, name);
    file->fd = openat(segments->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &facts) != 0) {
        return errno;
    }
    if (!S_ISREG(facts.st_mode)) {
        return EINVAL;
    }
    file->bytes = facts.st_size < 0 ? 0 : (uint64_t)facts.st_size;
    return 0;
}

static int list_directory(struct segments *segments)
{
    int copy = dup(segments->directory_fd);
    DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    if (directory == NULL) {
        complain("%s: %s", segments->directory, strerror(errno));
        return EXIT_DISK;
    }
    struct dirent *entry;
    int code = 0;
    errno = 0;
    while (code == 0 && (entry = readdir(directory)) != NULL) {
        code = add_file(segments, entry->d_name);
        errno = 0;
    }
    if (code == 0 && errno != 0) {
        complain("%s: %s", segments->directory, strerror(errno));
        code = EXIT_DISK;
    }
    (void)closedir(directory);
    if (code == 0 && segments->count == 0) {
        complain("%s: no segment of a log here (NNNNNNNNNNNNNNNNNNNN.wal)", segments->directory);
        code = EXIT_DISK;
    }
    return code;
}

static int open_path(struct segments *segments, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_DISK;
    }
    segments->single = !S_ISDIR(facts.st_mode);
    char *copy = strdup(path);
    char *second = strdup(path);
    if (copy == NULL || second == NULL) {
        complain("out of memory");
        exit(EXIT_DISK);
    }
    segments->directory = strdup(segments->single ? dirname(copy) : path);
    const char *name = basename(second);
    segments->directory_fd =
        segments->directory == NULL ? -1 : open(segments->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;
    if (segments->directory_fd < 0) {
        complain("%s: %s", path, strerror(errno));
        code = EXIT_DISK;
    } else if (segments->single && format_segment_of_name(name) == 0) {
        complain("%s: not a segment's name (NNNNNNNNNNNNNNNNNNNN.wal), and not a directory", path);
        code = EXIT_DISK;
    } else {
        code = segments->single ? add_file(segments, name) : list_directory(segments);
    }
    free(copy);
    free(second);
    return code;
}

/* A log may lose files while we look at it: those are left out. */
static int open_files(struct segments *segments)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < segments->count; i++) {
        struct segment_file *file = &segments->list[i];
        int error = open_file(segments, file);
        if (error == ENOENT && !segments->single) {
            continue;
        }
        if (error != 0) {
            complain("%s: segment %" PRIu64 ": %s", segments->directory, file->number, strerror(error));
            return EXIT_DISK;
        }
        look_at_identity(file);
        if (file->identity_verdict == FORMAT_NEWER || file->identity_verdict == FORMAT_UNKNOWN_FEATURE) {
            complain("segment %" PRIu64 " has format %u.%u with features 0x%x; this program reads %u.x without any: "
                     "use a newer one",
                     file->number, file->identity.major, file->identity.minor, file->identity.features_must,
                     FORMAT_MAJOR);
            return EXIT_NEWER;
        }
        segments->list[kept++] = *file;
    }
    segments->count = kept;
    return 0;
}

int segments_open(struct segments *segments, const char *path)
{
    *segments = (struct segments){.directory_fd = -1};
    int code = open_path(segments, path);
    if (code == 0) {
        qsort(segments->list, segments->count, sizeof(*segments->list), by_number);
        code = open_files(segments);
    }
    if (code == 0) {
        learn_shape(segments);
        for (unsigned i = 0; i < segments->count; i++) {
            look_at_ends(&segments->list[i], segments->block_bytes);
        }
    }
    return code;
}

void segments_close(struct segments *segments)
{
    for (unsigned i = 0; i < segments->count; i++) {
        if (segments->list[i].fd >= 0) {
            (void)close(segments->list[i].fd);
        }
        free(segments->list[i].window);
    }
    free(segments->list);
    free(segments->directory);
    if (segments->directory_fd >= 0) {
        (void)close(segments->directory_fd);
    }
    *segments = (struct segments){.directory_fd = -1};
}

struct segment_file *segments_find(const struct segments *segments, uint64_t number)
{
    const struct segment_file key = {.number = number};
    return segments->count == 0 ? NULL
                                : bsearch(&key, segments->list, segments->count, sizeof(*segments->list), by_number);
}

struct segment_file *segments_newest_begun(const struct segments *segments)
{
    for (unsigned i = segments->count; i-- > 0;) {
        if (segments->list[i].anchor_verdict == FORMAT_OK) {
            return &segments->list[i];
        }
    }
    return NULL;
}

bool segment_refresh(struct segments *segments, struct segment_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    segment_forget(file);
    file->error = 0;
    file->begun_known = false;
    if (open_file(segments, file) != 0) {
        return false;
    }
    look_at_identity(file);
    look_at_ends(file, segments->block_bytes);
    return true;
}

/* --- batches ------------------------------------------------------------------------------------- */

const char *batch_kind_text(uint8_t kind)
{
    static const char *const words[] = {"?", "data", "truncate", "mark", "close", "start", "anchor"};
    return kind < sizeof(words) / sizeof(words[0]) ? words[kind] : words[0];
}

enum format_verdict batch_record(struct segment_file *file, const struct batch_look *look, uint32_t ordinal,
                                 uint64_t *offset, struct format_record *record)
{
    const struct format_head *head = &look->head;
    uint64_t end_offset = look->offset + head->used_bytes;
    *offset = *offset == 0 ? look->offset + head->head_bytes : *offset;
    uint64_t available = *offset < end_offset ? end_offset - *offset : 0;
    if (available < RECORD_HEADER_BYTES || segment_at(file, look->offset, head->used_bytes) == NULL) {
        return FORMAT_TRUNCATED;
    }
    /* The seed wants the segment that the batch was written in: the head's. */
    enum format_verdict verdict =
        format_record_decode(segment_at(file, *offset, available), available,
                             format_seed_base(head->salt, head->segment), *offset, head->first_index + ordinal, record);
    if (verdict == FORMAT_OK) {
        *offset += format_record_bytes(record->length);
    }
    return verdict;
}

static void check_records(struct segment_file *file, struct batch_look *look)
{
    uint64_t offset = 0;
    look->record_verdict = FORMAT_OK;
    for (look->good_records = 0; look->good_records < look->head.record_count; look->good_records++) {
        struct format_record record;
        look->record_verdict = batch_record(file, look, look->good_records, &offset, &record);
        if (look->record_verdict != FORMAT_OK) {
            look->bad_offset = offset;
            return;
        }
    }
}

bool batch_next(struct segment_file *file, uint32_t block_bytes, uint64_t *offset, uint64_t end_offset,
                struct batch_look *look)
{
    end_offset = end_offset < file->bytes ? end_offset : file->bytes;
    for (; *offset < end_offset; *offset += block_bytes) {
        const uint8_t *sector = segment_at(file, *offset, FORMAT_SECTOR_BYTES);
        if (sector == NULL) {
            return false;
        }
        *look = (struct batch_look){.offset = *offset};
        if (format_head_decode(sector, FORMAT_SECTOR_BYTES, &look->head) != FORMAT_OK) {
            continue;
        }
        look->own = format_head_is_self_valid(&look->head, file->number, *offset / block_bytes);
        look->padded_bytes = format_batch_padded_bytes(&look->head, block_bytes);
        look->cut_short = look->head.used_bytes > file->bytes - *offset;
        if (!look->cut_short) {
            check_records(file, look);
        }
        return true;
    }
    return false;
}

/* Any header of this very segment, wherever it stands; an interrupted look does not count as one. */
static bool holds_own_head(struct segment_file *file, uint32_t block_bytes)
{
    uint64_t end_offset = file->bytes < file->size ? file->bytes : file->size;
    for (uint64_t offset = block_bytes; offset < end_offset && !interrupted(); offset += block_bytes) {
        const uint8_t *sector = segment_at(file, offset, FORMAT_SECTOR_BYTES);
        struct format_head head;
        if (sector == NULL) {
            break;
        }
        if (format_head_decode(sector, FORMAT_SECTOR_BYTES, &head) == FORMAT_OK &&
            format_head_is_self_valid(&head, file->number, offset / block_bytes)) {
            return true;
        }
    }
    return false;
}

bool segment_begun(struct segment_file *file, uint32_t block_bytes)
{
    if (file->anchor_verdict == FORMAT_OK || file->seal_verdict == FORMAT_OK) {
        return true;
    }
    if (!file->begun_known) {
        file->begun = file->identity_verdict == FORMAT_OK && holds_own_head(file, block_bytes);
        file->begun_known = !interrupted();
    }
    return file->begun;
}

uint64_t batch_behind(const struct batch_look *look, uint32_t block_bytes)
{
    bool whole = !look->cut_short && look->good_records == look->head.record_count;
    return look->offset + (whole ? look->padded_bytes : block_bytes);
}
