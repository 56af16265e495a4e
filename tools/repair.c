/* repair.c - accepting a loss, with open eyes: what a cut would take, and the cut.
 *
 * The happy path: without --apply the log is looked at and nothing else; what would be kept and what would go is
 * printed. With --apply the files that the cut concerns are first copied whole to a backup directory, each synced, the
 * directory synced, and read back; then the library opens the log for writing, accepts the verdict, writes its forced
 * anchor, and closes. It leaves a doubt in the log, from the first index that the loss may concern.
 *
 * What can fail: anything before the copy is whole: then the log is untouched. A writer that holds the lock: WAL_EBUSY,
 * untouched. A log in order needs no repair: exit code 0, nothing done.
 *
 * Invariants: it only cuts, never invents; nothing is cut that was not copied and synced before; retired files are not
 * ours to touch. */

#define _GNU_SOURCE
#include "tools/batches.h"
#include "tools/chain.h"
#include "tools/waldump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

/* --- the copy ------------------------------------------------------------------------------------ */

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

/* Copies one segment file; what the disk does not read is zeros in the copy, and told. */
static int copy_segment(struct segment_file *file, const char *backup, int backup_fd)
{
    char name[FORMAT_NAME_BYTES];
    format_segment_name(file->number, name);
    int fd = openat(backup_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(backup, name, "cannot be made");
    }
    int code = 0;
    uint64_t written_digest = 0;
    uint64_t read_digest = 0;
    for (uint64_t offset = 0; code == 0 && offset < file->bytes; offset += COPY_BYTES) {
        uint64_t bytes = file->bytes - offset < COPY_BYTES ? file->bytes - offset : COPY_BYTES;
        const uint8_t *from = segment_at(file, offset, bytes);
        written_digest ^= payload_digest(from, bytes) * (2 * offset + 1);
        code = write_all(fd, from, bytes) == 0 ? 0 : fail(backup, name, "writing");
        progress_tell(name, offset, file->bytes);
    }
    if (code == 0 && fsync(fd) != 0) {
        code = fail(backup, name, "syncing");
    }
    struct segment_file copy = {.number = file->number, .bytes = file->bytes, .size = file->bytes, .fd = fd};
    for (uint64_t offset = 0; code == 0 && offset < file->bytes; offset += COPY_BYTES) {
        uint64_t bytes = file->bytes - offset < COPY_BYTES ? file->bytes - offset : COPY_BYTES;
        read_digest ^= payload_digest(segment_at(&copy, offset, bytes), bytes) * (2 * offset + 1);
    }
    if (code == 0 && read_digest != written_digest) {
        complain("%s/%s: the copy does not read as it was written", backup, name);
        code = EXIT_DISK;
    }
    if (code == 0 && file->gone) {
        complain("%s/%s: it went while it was copied: is the log in use?", backup, name);
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

static int save(struct settings *settings, struct segments *segments, const struct wal_verdict *seen, char *backup,
                size_t size)
{
    if (settings->backup != NULL) {
        (void)snprintf(backup, size, "%s", settings->backup);
    } else {
        default_backup(settings->path, backup, size);
    }
    if (mkdir(backup, 0700) != 0 && errno != EEXIST) {
        return fail(backup, "", "cannot be made");
    }
    int fd = open(backup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail(backup, "", "cannot be opened");
    }
    int code = 0;
    for (unsigned i = 0; code == 0 && i < segments->count; i++) {
        struct segment_file *file = &segments->list[i];
        if (file->odd != NULL) {
            char name[FORMAT_NAME_BYTES];
            format_segment_name(file->number, name);
            complain("%s/%s: %s: move it away first", settings->path, name, file->odd);
            code = EXIT_DISK;
        } else if (is_concerned(segments, file, seen)) {
            code = copy_segment(file, backup, fd);
        }
    }
    if (code == 0 && fsync(fd) != 0) {
        code = fail(backup, "", "syncing");
    }
    (void)close(fd);
    char *parent = strdup(backup);
    for (size_t length = strlen(backup); parent != NULL && length > 1 && parent[length - 1] == '/'; length--) {
        parent[length - 1] = '\0';
    }
    char *slash = parent == NULL ? NULL : strrchr(parent, '/');
    if (slash != NULL) {
        slash[slash == parent] = '\0';
    }
    if (code == 0 && sync_directory(slash != NULL ? parent : ".") != 0) {
        code = fail(backup, "..", "syncing");
    }
    free(parent);
    return code;
}

/* --- what would be lost -------------------------------------------------------------------------- */

/* Records at or above the cut that still read, wherever they stand. */
struct survivors {
    uint64_t records, bytes;
    uint64_t first, last; /* Of their indexes. */
};

static void count_survivors(struct segments *segments, struct segment_file *file, uint64_t index,
                            struct survivors *survivors)
{
    struct batch_look look;
    uint64_t offset = segments->block_bytes;
    while (!file->dead && batch_next(file, segments->block_bytes, &offset, file->size, &look)) {
        if (look.own && look.good_records > 0 && look.head.first_index + look.good_records > index) {
            uint64_t first = look.head.first_index > index ? look.head.first_index : index;
            uint64_t last = look.head.first_index + look.good_records - 1;
            survivors->records += last - first + 1;
            survivors->bytes += look.padded_bytes;
            survivors->first = survivors->first == 0 || first < survivors->first ? first : survivors->first;
            survivors->last = last > survivors->last ? last : survivors->last;
        }
        offset = batch_behind(&look, segments->block_bytes);
    }
}

static struct survivors find_survivors(const char *path, const struct wal_verdict *verdict)
{
    struct survivors survivors = {0};
    struct segments segments;
    if (segments_open(&segments, path) != 0) {
        return survivors;
    }
    for (unsigned i = 0; i < segments.count && !interrupted(); i++) {
        struct segment_file *file = &segments.list[i];
        if (file->number >= verdict->segment && !segment_is_foreign(&segments, file)) {
            count_survivors(&segments, file, verdict->index, &survivors);
        }
    }
    segments_close(&segments);
    return survivors;
}

/* The library refuses to cut where nothing could be kept; its sentence then names no flag for it. */
static bool can_be_cut(const struct wal_verdict *verdict)
{
    return strstr(verdict->text, "WAL_ACCEPT_") != NULL;
}

/* --- the plan, and the cut ----------------------------------------------------------------------- */

static void show_range(const struct wal_verdict *verdict)
{
    if (verdict->first_index > verdict->last_index) {
        (void)printf("no records\n");
    } else {
        (void)printf("records %" PRIu64 " to %" PRIu64 "\n", verdict->first_index, verdict->last_index);
    }
}

static void show_cut(struct settings *settings, const struct wal_verdict *verdict, bool done, const char *backup,
                     const struct survivors *survivors)
{
    (void)printf("  %s: ", done ? "kept" : "would keep");
    show_range(verdict);
    (void)printf("  %s: everything from index %" PRIu64 " on, at %" PRIu64 ":0x%" PRIx64 "\n",
                 done ? "cut" : "would cut", verdict->index, verdict->segment, verdict->offset);
    if (survivors->records > 0) {
        (void)printf("  lost with it: %" PRIu64 " records that %s, between %" PRIu64 " and %" PRIu64 ", in %" PRIu64
                     " bytes\n",
                     survivors->records, done ? "were readable" : "still read", survivors->first, survivors->last,
                     survivors->bytes);
    }
    if (done) {
        (void)printf("  saved: %s\n  the log holds a doubt from index %" PRIu64 " on, until its writer clears it\n",
                     shown(backup), verdict->doubt_index);
        return;
    }
    char *quoted = shell_quoted(settings->path);
    (void)printf("  nothing was changed; a copy or a peer is better than a cut\n");
    if (quoted == NULL) {
        return;
    }
    if (survivors->records > 0) {
        (void)printf("  to save the records first: waldump export --from %" PRIu64 " %s >records.ndjson\n",
                     survivors->first, shown(quoted));
    }
    (void)printf("  to cut: waldump repair --apply %s\n", shown(quoted));
    free(quoted);
}

static void show_plan(struct settings *settings, const struct wal_verdict *verdict, const char *action,
                      const char *backup, const struct survivors *survivors)
{
    struct emit *emit = &settings->emit;
    bool cut = verdict->kind == WAL_VERDICT_UNCERTAIN || verdict->kind == WAL_VERDICT_CORRUPT;
    if (settings->quiet) {
        return;
    }
    if (emit->format != EMIT_TEXT) {
        static const struct emit_column columns[] = {{"action", -8},      {"verdict", -9},   {"keep_first", 10},
                                                     {"keep_last", 10},   {"place", -14},    {"index", 10},
                                                     {"cut_records", 11}, {"cut_bytes", 11}, {"backup", 0}};
        emit_begin(emit, "waldump.repair/1", columns, 9);
        emit_row(emit);
        emit_text(emit, "action", action);
        emit_text(emit, "verdict", verdict_word(verdict->kind));
        emit_u64(emit, "keep_first", verdict->first_index);
        emit_u64(emit, "keep_last", verdict->last_index);
        emit_place(emit, verdict->segment, verdict->offset);
        emit_u64(emit, "index", verdict->index);
        emit_u64(emit, "cut_records", survivors->records);
        emit_u64(emit, "cut_bytes", survivors->bytes);
        emit_text(emit, "backup", backup);
        emit_u64(emit, "doubt", verdict->doubt_index);
        emit_end(emit);
        return;
    }
    (void)printf("%s: %s\n  %s\n", shown(settings->path), verdict_word(verdict->kind), verdict->text);
    if (!cut) {
        uint64_t pid;
        bool torn = verdict->kind == WAL_VERDICT_TORN;
        (void)printf("  nothing to repair%s\n", torn && view_in_use(settings->path, &pid) ? ": the log is in use"
                                                : torn ? ": the next open for writing cuts the torn tail by itself"
                                                       : "; bodies of sealed segments: waldump verify --deep");
        return;
    }
    if (!can_be_cut(verdict)) {
        (void)printf("  it cannot be cut: restore the file that is named from a copy\n"
                     "  what still reads: waldump export %s >records.ndjson\n",
                     shown(settings->path));
        return;
    }
    show_cut(settings, verdict, strcmp(action, "cut") == 0, backup, survivors);
}

/* Opens for writing with the loss accepted, and closes. limits: of the newest segment, zeros when they do not read. */
static int cut_log(struct settings *settings, const struct format_identity *limits, struct wal_verdict *verdict)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal *log;
    options.flags = WAL_ACCEPT_UNCERTAIN | WAL_ACCEPT_CORRUPT | WAL_NO_THREADS;
    options.segments_max = 65536;
    options.segments_pool_max = 1024; /* Nothing is removed for being surplus. */
    options.block_bytes = limits->block_shift != 0 ? 1u << limits->block_shift : 0;
    options.segment_bytes = limits->segment_bytes;
    options.batch_bytes_max = limits->batch_bytes_max;
    int status = wal_open(settings->path, &options, &log, verdict);
    if (status == WAL_EINVAL && limits->block_shift != 0 && limits->block_shift < 12) {
        complain("note: %s; its owner must have, so it is done here", verdict->text);
        options.flags |= WAL_POWERSAFE_OVERWRITE;
        status = wal_open(settings->path, &options, &log, verdict);
    }
    if (status != 0) {
        complain("%s: %s: %s; the log was not cut", settings->path, wal_strerror(status), verdict->text);
        return status == WAL_ECORRUPT ? EXIT_NEGATIVE : exit_code_of(status);
    }
    status = wal_close(log);
    if (status != 0) {
        complain("%s: closing: %s", settings->path, wal_strerror(status));
    }
    return status == 0 ? EXIT_READABLE : EXIT_DISK;
}

/* The cut is a fact now; was it the right one? A file above the end may still be in the way. */
static int look_again(struct settings *settings)
{
    struct view_log view;
    int code = view_open(&view, settings->path);
    bool bad = view.verdict.kind == WAL_VERDICT_UNCERTAIN || view.verdict.kind == WAL_VERDICT_CORRUPT;
    if (code <= EXIT_NEGATIVE && bad) {
        complain("%s: still not in order behind the cut: %s", settings->path, view.verdict.text);
        complain("if that names a file that does not belong here, move it away (do not delete it), and verify again");
        code = EXIT_NEGATIVE;
    }
    view_close(&view);
    return code;
}

static int apply(struct settings *settings, const struct wal_verdict *seen, const struct survivors *survivors)
{
    struct segments segments;
    char backup[4096];
    struct wal_verdict verdict = {0};
    struct format_identity limits = {0};
    int code = segments_open(&segments, settings->path);
    for (unsigned i = 0; code == 0 && i < segments.count; i++) {
        limits = segments.list[i].identity_verdict == FORMAT_OK ? segments.list[i].identity : limits;
    }
    code = code == 0 ? save(settings, &segments, seen, backup, sizeof(backup)) : code;
    segments_close(&segments);
    progress_end();
    if (code != 0) {
        complain("the log was not touched");
        return code;
    }
    code = cut_log(settings, &limits, &verdict);
    if (code == 0 && !verdict.accepted) {
        complain("the log was in order when it was opened for writing: nothing was cut; the copy is in %s", backup);
    } else if (code == 0) {
        verdict.index = verdict.index < seen->index ? verdict.index : seen->index;
        show_plan(settings, &verdict, "cut", backup, survivors);
        code = look_again(settings);
    }
    return code;
}

int command_repair(struct settings *settings)
{
    struct view_log view;
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE) {
        return code;
    }
    struct wal_verdict verdict = view.verdict;
    view_close(&view);
    bool cut = verdict.kind == WAL_VERDICT_UNCERTAIN || verdict.kind == WAL_VERDICT_CORRUPT;
    struct survivors survivors = {0};
    if (cut) {
        survivors = find_survivors(settings->path, &verdict);
    }
    if (cut && settings->apply && !can_be_cut(&verdict)) {
        complain("%s: %s; it cannot be cut, and nothing was changed", settings->path, verdict.text);
        return EXIT_NEGATIVE;
    }
    if (cut && settings->apply) {
        return apply(settings, &verdict, &survivors);
    }
    show_plan(settings, &verdict, cut ? "would cut" : "none", "", &survivors);
    return cut ? EXIT_NEGATIVE : EXIT_READABLE;
}
