/* repair.c - accepting a loss, with open eyes: what a cut would take, and the cut.
 *
 * The happy path: without --apply the log is looked at and nothing else. The library makes the cut on a disk in memory
 * (rehearse.c), and what it then delivers is compared with what it delivers now: what would be kept and what would go
 * is printed. With --apply the files that the cut concerns are first copied whole (repair_copy.c); then the library
 * opens the log for writing, accepts the verdict, writes its forced anchor, and closes. It leaves a doubt in the log,
 * from the first index that the loss may concern.
 *
 * What can fail: anything before the copy is whole: then the log is untouched and the copy removed. A writer that holds
 * the lock: nothing is copied. An interrupt: until the cut begins it ends the work, behind that it comes too late. A
 * log in order needs no repair: exit code 0, nothing done.
 *
 * Invariants: it only cuts, never invents; nothing is cut that was not copied and synced before; retired files are not
 * ours to touch. */

#define _GNU_SOURCE
#include "tools/batches.h"
#include "tools/chain.h"
#include "tools/rehearse.h"
#include "tools/repair_copy.h"
#include "tools/waldump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* --- the cut, on this disk or in a rehearsal ----------------------------------------------------- */

enum { REHEARSED_SEGMENT_BYTES = 64 << 20, REHEARSED_BATCH_BYTES = 2 << 20 };

static uint64_t lower_of(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

/* Opens for writing with the loss accepted. io: a rehearsal's disk, or NULL for the real one. */
static int open_to_cut(const struct settings *settings, const struct format_identity *limits, struct wal_io *io,
                       struct wal **log, struct wal_verdict *verdict)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_ACCEPT_UNCERTAIN | WAL_ACCEPT_CORRUPT | WAL_NO_THREADS;
    options.segments_max = 65536;
    options.segments_pool_max = 1024; /* Nothing is removed for being surplus. */
    options.block_bytes = limits->block_shift != 0 ? 1u << limits->block_shift : 0;
    options.segment_bytes = limits->segment_bytes;
    options.batch_bytes_max = limits->batch_bytes_max;
    if (io != NULL) { /* What an identity claims is not worth gigabytes of a rehearsal, which writes a few blocks. */
        options.segment_bytes = lower_of(options.segment_bytes, REHEARSED_SEGMENT_BYTES);
        options.batch_bytes_max = (uint32_t)lower_of(options.batch_bytes_max, REHEARSED_BATCH_BYTES);
    }
    static const uint32_t more[] = {WAL_POWERSAFE_OVERWRITE, WAL_BUFFERED}; /* What small blocks may need here. */
    unsigned tries = limits->block_shift != 0 && limits->block_shift < 12 ? 2 : 0;
    for (unsigned i = 0;; i++) {
        int status =
            io != NULL ? wal_open_io(io, &options, log, verdict) : wal_open(settings->path, &options, log, verdict);
        if (status != WAL_EINVAL || i == tries) {
            if (status == 0 && i > 0 && io == NULL) {
                complain("note: blocks of %u bytes are smaller than those of this disk: opened with "
                         "WAL_POWERSAFE_OVERWRITE%s, as its owner must have",
                         options.block_bytes, i > 1 ? " and WAL_BUFFERED" : "");
            }
            return status;
        }
        options.flags |= more[i];
    }
}

/* The limits of the newest segment whose identity reads; zeros when none does. */
static struct format_identity limits_of(const struct segments *segments)
{
    struct format_identity limits = {0};
    for (unsigned i = 0; i < segments->count; i++) {
        limits = segments->list[i].identity_verdict == FORMAT_OK ? segments->list[i].identity : limits;
    }
    return limits;
}

/* --- what would be lost -------------------------------------------------------------------------- */

/* What a cut makes of the log, by a rehearsal of it. */
struct loss {
    bool known; /* The rehearsal went well. */
    uint64_t keep_first, keep_last;
    uint64_t doubt;
    uint64_t records, payload_bytes; /* Delivered now, and not behind the cut, or not from the same place; */
    uint64_t first, last;            /* their indexes lie between these. */
    uint64_t hidden_records;         /* Read, but recovery delivers them neither now nor behind the cut. */
    uint64_t older_records;          /* Kept, and not what the log delivers now under their indexes. */
    uint64_t older_first, older_last;
};

static bool record_at(struct wal_cursor *cursor, uint64_t index, struct wal_record *record, struct wal_place *place)
{
    wal_cursor_seek(cursor, index);
    return wal_cursor_next(cursor, record) == 0 && wal_cursor_place(cursor, place) == 0;
}

/* Compares from the future doubt on: what lies before it no loss concerns. */
static void compare(const struct settings *settings, struct wal *now, struct wal *cut, struct loss *loss)
{
    struct wal_cursor *old = NULL;
    struct wal_cursor *new = NULL;
    bool open = wal_cursor_open(now, 0, &old) == 0 && wal_cursor_open(cut, 0, &new) == 0;
    uint64_t last = wal_durable_index(now) > loss->keep_last ? wal_durable_index(now) : loss->keep_last;
    uint64_t first = wal_first_index(now) < loss->keep_first ? wal_first_index(now) : loss->keep_first;
    first = first < loss->doubt ? loss->doubt : first;
    for (uint64_t index = first; open && index <= last && !interrupted(); index++) {
        struct wal_record old_record, new_record;
        struct wal_place old_place, new_place;
        bool before = record_at(old, index, &old_record, &old_place);
        bool after = record_at(new, index, &new_record, &new_place);
        bool same = before && after && old_place.segment == new_place.segment && old_place.offset == new_place.offset;
        if (before && !same) {
            loss->first = loss->records == 0 ? index : loss->first;
            loss->last = index;
            loss->records++;
            loss->payload_bytes += old_record.size;
        }
        if (after && !same) {
            loss->older_first = loss->older_records == 0 ? index : loss->older_first;
            loss->older_last = index;
            loss->older_records++;
        }
        progress_count(settings->path, index - first, last - first + 1, "records");
    }
    progress_end();
    wal_cursor_close(old);
    wal_cursor_close(new);
    loss->known = open && !interrupted();
}

/* Records of a segment that can be recognised, but that recovery delivers neither now nor behind the cut: behind an
 * opening anchor that does not read, for one. */
static void count_hidden(struct segments *segments, struct segment_file *file, const struct wal_verdict *verdict,
                         struct wal_cursor *now, struct loss *loss)
{
    struct batch_look look;
    uint64_t offset = segments->block_bytes;
    while (!file->dead && !interrupted() && batch_next(file, segments->block_bytes, &offset, file->size, &look)) {
        for (uint32_t i = 0; look.own && i < look.good_records; i++) {
            struct wal_record record;
            struct wal_place place;
            uint64_t index = look.head.first_index + i;
            loss->hidden_records += index >= verdict->index && !record_at(now, index, &record, &place);
        }
        offset = batch_behind(&look, segments->block_bytes);
    }
}

static void find_hidden(struct segments *segments, const struct wal_verdict *verdict, struct wal *now,
                        struct loss *loss)
{
    struct wal_cursor *cursor;
    if (wal_cursor_open(now, 0, &cursor) != 0) {
        return;
    }
    for (unsigned i = 0; i < segments->count && !interrupted(); i++) {
        struct segment_file *file = &segments->list[i];
        if (file->number >= verdict->segment && !segment_is_foreign(segments, file)) {
            count_hidden(segments, file, verdict, cursor, loss);
        }
    }
    wal_cursor_close(cursor);
}

/* The library cuts a log in memory, and what it then delivers is compared with what it delivers now. */
static struct loss find_loss(const struct settings *settings, struct view_log *view)
{
    struct loss loss = {.keep_first = view->verdict.first_index, .keep_last = view->verdict.last_index};
    struct segments segments;
    struct wal_io *disk = NULL;
    struct wal *log = NULL;
    struct wal_verdict verdict = {0};
    bool usable = segments_open(&segments, settings->path) == 0 && view->log != NULL;
    int status = usable && rehearsal_disk(settings->path, &disk) == 0 ? 0 : WAL_ESYSTEM;
    if (status == 0) {
        const struct format_identity limits = limits_of(&segments);
        status = open_to_cut(settings, &limits, disk, &log, &verdict);
    }
    if (status == 0 && verdict.accepted) {
        loss.keep_first = wal_first_index(log);
        loss.keep_last = wal_durable_index(log);
        loss.doubt = verdict.doubt_index;
        compare(settings, view->log, log, &loss);
    }
    if (status == 0) {
        (void)!wal_close(log);
    }
    if (usable) {
        find_hidden(&segments, &view->verdict, view->log, &loss);
    }
    if (disk != NULL) {
        disk->ops->destroy(disk);
    }
    segments_close(&segments);
    return loss;
}

/* The library refuses to cut where nothing could be kept; its sentence then names no flag for it. */
static bool can_be_cut(const struct wal_verdict *verdict)
{
    return strstr(verdict->text, "WAL_ACCEPT_") != NULL;
}

/* --- the plan ------------------------------------------------------------------------------------ */

static void show_kept(const struct loss *loss, bool done)
{
    (void)printf("  %s: ", done ? "kept" : "would keep");
    if (loss->keep_first > loss->keep_last) {
        (void)printf("no records\n");
    } else {
        (void)printf("records %" PRIu64 " to %" PRIu64 "\n", loss->keep_first, loss->keep_last);
    }
    if (loss->older_records != 0) {
        (void)printf("  of these %" PRIu64 ", between %" PRIu64 " and %" PRIu64
                     ", %s older ones, which had been truncated away or did not read\n",
                     loss->older_records, loss->older_first, loss->older_last, done ? "are" : "would be");
    }
}

static void show_lost(const struct loss *loss, bool done)
{
    if (loss->records > 0) {
        (void)printf("  lost with it: %" PRIu64 " record%s that %s, between %" PRIu64 " and %" PRIu64 ", with %" PRIu64
                     " bytes of payload\n",
                     loss->records, loss->records == 1 ? "" : "s", done ? "were readable" : "still read", loss->first,
                     loss->last, loss->payload_bytes);
    }
    if (loss->hidden_records > 0) {
        (void)printf("  lost with it: %" PRIu64 " record%s that only waldump dump --view=physical %s\n",
                     loss->hidden_records, loss->hidden_records == 1 ? "" : "s", done ? "showed" : "shows");
    }
    if (!loss->known && !done) {
        (void)printf("  what else would be lost is not known: %s\n",
                     interrupted() ? "interrupted" : "the cut could not be rehearsed");
    }
}

/* The commands to go on with: as they can be given to a shell. */
static void show_next(const struct settings *settings, const struct loss *loss)
{
    char *path = shell_quoted(settings->path);
    char *backup = settings->backup == NULL ? NULL : shell_quoted(settings->backup);
    (void)printf("  nothing was changed; a copy or a peer is better than a cut\n");
    if (path != NULL && loss->records > 0) {
        (void)printf("  to save the records first: waldump export --from %" PRIu64 " %s >records.ndjson\n", loss->first,
                     shown(path));
    }
    if (path != NULL && (settings->backup == NULL || backup != NULL)) {
        (void)printf("  to cut: waldump repair --apply %s%s%s%s\n", backup != NULL ? "--backup=" : "",
                     backup != NULL ? shown(backup) : "", backup != NULL ? " " : "", shown(path));
    }
    free(path);
    free(backup);
}

static void show_cut(const struct settings *settings, const struct wal_verdict *verdict, bool done, const char *backup,
                     const struct loss *loss)
{
    show_kept(loss, done);
    (void)printf("  %s: everything from index %" PRIu64 " on, at %" PRIu64 ":0x%" PRIx64 "\n",
                 done ? "cut" : "would cut", verdict->index, verdict->segment, verdict->offset);
    show_lost(loss, done);
    if (done) {
        (void)printf("  saved: %s\n", shown(backup));
    }
    if (loss->doubt != 0) {
        (void)printf("  the log %s a doubt from index %" PRIu64
                     " on, until its writer clears it: records from there on may be older versions\n",
                     done ? "holds" : "would hold", loss->doubt);
    }
    if (!done) {
        show_next(settings, loss);
    }
}

static void show_plan(struct settings *settings, const struct wal_verdict *verdict, const char *action,
                      const char *backup, const struct loss *loss)
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
        emit_u64(emit, "keep_first", loss->keep_first);
        emit_u64(emit, "keep_last", loss->keep_last);
        emit_place(emit, verdict->segment, verdict->offset);
        emit_u64(emit, "index", verdict->index);
        emit_u64(emit, "cut_records", loss->records);
        emit_u64(emit, "cut_bytes", loss->payload_bytes);
        emit_text(emit, "backup", backup);
        emit_u64(emit, "doubt", loss->doubt != 0 ? loss->doubt : verdict->doubt_index);
        emit_u64(emit, "cut_first", loss->first);
        emit_u64(emit, "cut_last", loss->last);
        emit_u64(emit, "hidden_records", loss->hidden_records);
        emit_u64(emit, "older_records", loss->older_records);
        emit_u64(emit, "older_first", loss->older_first);
        emit_u64(emit, "older_last", loss->older_last);
        emit_bool(emit, "partial", cut && can_be_cut(verdict) && !loss->known);
        emit_end(emit);
        return;
    }
    char text[WAL_VERDICT_TEXT_BYTES];
    (void)printf("%s: %s\n  %s\n", shown(settings->path), verdict_word(verdict->kind), verdict_text(verdict, text));
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
    show_cut(settings, verdict, strcmp(action, "cut") == 0, backup, loss);
}

/* --- the cut ------------------------------------------------------------------------------------- */

/* Opens for writing with the loss accepted, and closes. */
static int cut_log(const struct settings *settings, const struct format_identity *limits, struct wal_verdict *verdict)
{
    struct wal *log;
    int status = open_to_cut(settings, limits, NULL, &log, verdict);
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

/* The lock of a writer, held while the copy is made: a copy that is given up at its end for a writer that was there all
 * the time helps nobody. -1 after it has said why. */
static int lock(const char *directory)
{
    uint64_t pid;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return fd;
    }
    if (fd >= 0 && errno == EWOULDBLOCK && view_in_use(directory, &pid) && pid != 0) {
        complain("%s: process %" PRIu64 " has it open for writing: stop it first", directory, pid);
    } else if (fd >= 0 && errno == EWOULDBLOCK) {
        complain("%s: it is open for writing: stop its writer first", directory);
    } else {
        complain("%s: %s", directory, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

/* The copy, with the lock held. */
static int save(const struct settings *settings, const struct wal_verdict *seen, struct repair_copy *copy,
                struct format_identity *limits)
{
    struct segments segments = {.directory_fd = -1};
    int held = interrupted() ? -1 : lock(settings->path);
    int code = interrupted() ? EXIT_INTERRUPTED : held < 0 ? EXIT_DISK : segments_open(&segments, settings->path);
    if (code == 0) {
        *limits = limits_of(&segments);
        code = repair_copy_make(copy, settings->path, settings->backup, &segments, seen);
    }
    if (held >= 0) {
        segments_close(&segments);
        (void)close(held); /* The library takes it in a moment, for itself. */
    }
    if (code == 0 && interrupted()) {
        repair_copy_remove(copy);
        code = EXIT_INTERRUPTED;
    }
    if (code != 0) {
        complain("%sthe log was not touched", interrupted() ? "interrupted; " : "");
    }
    return code;
}

static int apply(struct settings *settings, const struct wal_verdict *seen, struct loss *loss)
{
    struct repair_copy copy;
    struct wal_verdict verdict = {0};
    struct format_identity limits = {0};
    int code = save(settings, seen, &copy, &limits);
    if (code != 0) {
        return code;
    }
    code = cut_log(settings, &limits, &verdict);
    if (code != 0) {
        complain("%s: the copy of what would have been cut", copy.path);
    } else if (!verdict.accepted && (verdict.kind == WAL_VERDICT_UNCERTAIN || verdict.kind == WAL_VERDICT_CORRUPT)) {
        complain(
            "no room for the anchor that a cut needs: nothing was cut; free some space, and repair again. The copy is "
            "in %s",
            copy.path);
        code = EXIT_DISK;
    } else if (!verdict.accepted) {
        complain("the log was in order when it was opened for writing: nothing was cut; the copy is in %s", copy.path);
    } else {
        verdict.index = verdict.index < seen->index ? verdict.index : seen->index;
        loss->keep_first = verdict.first_index;
        loss->keep_last = verdict.last_index;
        loss->doubt = verdict.doubt_index;
        show_plan(settings, &verdict, "cut", copy.path, loss);
        code = look_again(settings);
    }
    if (interrupted()) {
        complain("note: the interrupt came when the cut had begun, and it was finished");
    }
    repair_copy_close(&copy);
    return code;
}

int command_repair(struct settings *settings)
{
    struct view_log view;
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE) {
        return code;
    }
    const struct wal_verdict verdict = view.verdict;
    bool cut = verdict.kind == WAL_VERDICT_UNCERTAIN || verdict.kind == WAL_VERDICT_CORRUPT;
    struct loss loss = {.keep_first = verdict.first_index, .keep_last = verdict.last_index};
    if (cut && settings->apply && !can_be_cut(&verdict)) {
        complain("%s: %s; it cannot be cut, and nothing was changed", settings->path, verdict.text);
        view_close(&view);
        return EXIT_NEGATIVE;
    }
    if (cut && can_be_cut(&verdict)) {
        loss = find_loss(settings, &view);
    }
    view_close(&view);
    if (cut && settings->apply) {
        return apply(settings, &verdict, &loss);
    }
    show_plan(settings, &verdict, cut ? "would cut" : "none", "", &loss);
    return cut ? EXIT_NEGATIVE : EXIT_READABLE;
}
