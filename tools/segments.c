/* segments.c - the files of a log as they lie on the disk, whatever is in them.
 *
 * The happy path: the directory's names are listed; of each segment three sectors are read: identity, opening anchor,
 * seal. What most identities say is believed of the log; then it is known which segments an accepted cut left dead.
 *
 * What can fail: a directory that does not open or read, or a single file: said on stderr with its name, EXIT_DISK. In
 * a directory what is no readable file is told, and listed as odd. Damage is no failure: each structure has its
 * verdict, and zeros stand for what the disk does not give.
 *
 * Invariants: nothing is written or locked; a size is believed only under a right checksum, and never beyond what the
 * format allows.
 *
 * May include: segment_read.h, emit.h, raft.h. */

#define _GNU_SOURCE
#include "tools/segments.h"

#include "tools/emit.h"
#include "tools/raft.h"
#include "tools/segment_read.h"

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

enum { SEGMENTS_MAX = 1 << 20, LOGS_MAX = 16 };

/* --- the three sectors that tell of a segment ---------------------------------------------------- */

static void look_at_identity(struct segment_file *file)
{
    uint8_t buffer[FORMAT_SECTOR_BYTES];
    uint64_t most_bytes = FORMAT_SEGMENT_BYTES_MAX - FORMAT_BLOCK_BYTES_MIN;
    file->size = file->bytes < most_bytes ? file->bytes : most_bytes;
    const uint8_t *sector = segment_sector_at(file, 0, buffer);
    file->identity_verdict = sector == NULL ? FORMAT_TRUNCATED : format_identity_decode(sector, &file->identity);
    if (file->identity_verdict == FORMAT_OK) {
        file->size = file->identity.segment_bytes;
    }
}

static void look_at_ends(struct segment_file *file, uint32_t block_bytes)
{
    uint8_t buffer[FORMAT_SECTOR_BYTES];
    const uint8_t *sector = segment_sector_at(file, block_bytes, buffer);
    file->anchor_verdict =
        sector == NULL ? FORMAT_TRUNCATED : format_head_decode(sector, FORMAT_SECTOR_BYTES, &file->anchor);
    if (file->anchor_verdict == FORMAT_OK &&
        (file->anchor.kind != BATCH_ANCHOR || !format_head_is_self_valid(&file->anchor, file->number, 1))) {
        file->anchor_verdict = FORMAT_BAD_FIELD;
    }
    uint64_t size = file->size - file->size % block_bytes;
    file->seal_verdict = FORMAT_TRUNCATED;
    sector = size < 2 * (uint64_t)block_bytes ? NULL : segment_sector_at(file, size - block_bytes, buffer);
    if (sector != NULL) {
        file->seal_verdict = format_seal_decode(sector, &file->seal);
        bool own = file->seal.segment == file->number && file->seal.own_offset == size - block_bytes;
        /* A file made anew under its own number, behind an accepted cut, may still have the seal of its earlier life.
         */
        own = own && (file->anchor_verdict != FORMAT_OK || file->seal.last_number >= file->anchor.number);
        file->seal_verdict = file->seal_verdict == FORMAT_OK && !own ? FORMAT_BAD_FIELD : file->seal_verdict;
    }
}

/* What the identities say of the log, and how many say it. */
struct shape {
    const struct format_identity *identity;
    unsigned votes;
};

/* A file of another log may have come among them: most are right, and the oldest where there is no majority. False: no
 * identity reads. */
static bool learn_shape_of_most(struct segments *segments)
{
    struct shape shapes[LOGS_MAX] = {{0}};
    unsigned best = 0;
    for (unsigned i = 0; i < segments->count; i++) {
        const struct segment_file *file = &segments->list[i];
        if (file->identity_verdict != FORMAT_OK) {
            continue;
        }
        unsigned at = 0;
        while (at < LOGS_MAX - 1 && shapes[at].votes != 0 &&
               (memcmp(shapes[at].identity->uuid, file->identity.uuid, FORMAT_UUID_BYTES) != 0 ||
                shapes[at].identity->block_shift != file->identity.block_shift)) {
            at++;
        }
        shapes[at].identity = shapes[at].votes == 0 ? &file->identity : shapes[at].identity;
        shapes[at].votes++;
        best = shapes[at].votes > shapes[best].votes ? at : best;
    }
    if (shapes[best].votes != 0) {
        segments->block_bytes = 1u << shapes[best].identity->block_shift;
        memcpy(segments->uuid, shapes[best].identity->uuid, sizeof(segments->uuid));
    }
    return shapes[best].votes != 0;
}

/* The block size and the log from the identities; else from the block size at which an opening anchor stands. */
static void learn_shape(struct segments *segments)
{
    segments->block_bytes = 4096;
    if (learn_shape_of_most(segments)) {
        return;
    }
    for (unsigned i = segments->count; i-- > 0;) {
        struct segment_file *file = &segments->list[i];
        for (uint32_t block_bytes = FORMAT_BLOCK_BYTES_MIN; block_bytes <= FORMAT_BLOCK_BYTES_MAX; block_bytes *= 2) {
            uint8_t buffer[FORMAT_SECTOR_BYTES];
            const uint8_t *sector = segment_sector_at(file, block_bytes, buffer);
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

bool segment_is_foreign(const struct segments *segments, const struct segment_file *file)
{
    const uint8_t *uuid = file->identity_verdict == FORMAT_OK ? file->identity.uuid
                          : file->anchor_verdict == FORMAT_OK ? file->anchor.body.anchor.uuid
                                                              : segments->uuid;
    return memcmp(uuid, segments->uuid, sizeof(segments->uuid)) != 0;
}

/* Going back from the newest: a forced opening anchor names the segment that the log was cut in; those between are dead
 * (FORMAT.md section 5). */
static void mark_dead(struct segments *segments)
{
    const struct segment_file *newest = segments_newest_begun(segments);
    uint64_t dead_above = UINT64_MAX; /* Segments above this one, and below the anchor that named it. */
    for (unsigned i = segments->count; i-- > 0;) {
        struct segment_file *file = &segments->list[i];
        if (newest == NULL || file->number > newest->number) {
            continue;
        }
        file->dead = file->number > dead_above;
        if (!file->dead && file->anchor_verdict == FORMAT_OK && !segment_is_foreign(segments, file)) {
            uint64_t predecessor = file->anchor.body.anchor.predecessor_segment;
            bool forced = (file->anchor.flags & BATCH_FORCED) != 0 && predecessor < file->number;
            dead_above = forced ? predecessor : UINT64_MAX;
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
    segments->list[segments->count++] =
        (struct segment_file){.number = number, .directory_fd = segments->directory_fd, .fd = -1};
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
        raft_hint(segments->directory);
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

/* Says what is odd about a file; the log's other files are looked at all the same. */
static int tell_odd(const struct segments *segments, const struct segment_file *file)
{
    char name[FORMAT_NAME_BYTES];
    if (file->odd != NULL) {
        format_segment_name(file->number, name);
        complain("%s/%s: %s%s%s", segments->directory, name, file->odd, file->error != 0 ? ": " : "",
                 file->error != 0 ? strerror(file->error) : "");
    }
    return file->odd != NULL && segments->single ? EXIT_DISK : 0;
}

/* A log may lose files while we look at it: those are left out. */
static int look_at_files(struct segments *segments)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < segments->count; i++) {
        struct segment_file *file = &segments->list[i];
        if (!segment_look_for(file) && !segments->single) {
            continue;
        }
        if (file->gone) {
            complain("%s: segment %" PRIu64 ": %s", segments->directory, file->number, strerror(ENOENT));
            return EXIT_DISK;
        }
        int code = tell_odd(segments, file);
        if (code != 0) {
            return code;
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

/* Between the two looks a file may have gone as well. */
static void look_at_all_ends(struct segments *segments)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < segments->count; i++) {
        struct segment_file *file = &segments->list[i];
        look_at_ends(file, segments->block_bytes);
        if (!file->gone || segments->single) {
            segments->list[kept++] = *file;
        }
    }
    segments->count = kept;
}

int segments_open(struct segments *segments, const char *path)
{
    *segments = (struct segments){.directory_fd = -1};
    int code = open_path(segments, path);
    if (code == 0) {
        qsort(segments->list, segments->count, sizeof(*segments->list), by_number);
        code = look_at_files(segments);
    }
    if (code == 0) {
        learn_shape(segments);
        look_at_all_ends(segments);
        mark_dead(segments);
    }
    return code;
}

void segments_close(struct segments *segments)
{
    segment_leave();
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

int segments_want(const struct segments *segments, uint64_t number)
{
    if (segments_find(segments, number) == NULL) {
        complain("%s: there is no segment %" PRIu64, segments->directory, number);
        return EXIT_NEGATIVE;
    }
    return EXIT_READABLE;
}

struct segment_file *segments_newest_begun(const struct segments *segments)
{
    for (unsigned i = segments->count; i-- > 0;) {
        if (segments->list[i].anchor_verdict == FORMAT_OK && !segment_is_foreign(segments, &segments->list[i])) {
            return &segments->list[i];
        }
    }
    return NULL;
}

bool segment_refresh(struct segments *segments, struct segment_file *file)
{
    if (!segment_look_for(file)) {
        return false;
    }
    look_at_identity(file);
    look_at_ends(file, segments->block_bytes);
    return !file->gone;
}

void segments_tell_error(const struct segments *segments, const struct segment_file *file)
{
    char name[FORMAT_NAME_BYTES];
    format_segment_name(file->number, name);
    if (file->odd != NULL) {
        return; /* Told when it was found. */
    }
    complain("%s/%s: offset 0x%" PRIx64 ": %s; zeros stand for what does not read", segments->directory, name,
             file->error_offset, strerror(file->error));
}
