/* list.c - ls: one row for each segment.
 *
 * The happy path: three sectors of each segment tell all of it, but for the newest, which has no seal yet and is
 * walked, and for those behind it, which are searched for a batch header: a prepared segment has none.
 *
 * What can fail: reads, as everywhere: told with path and offset, exit code 3, and the row is there all the same. A
 * segment that is damaged, or that is not there though the log needs it, has a row that says so, and exit code 1. A
 * writer may roll, rename and recycle meanwhile: what is odd is looked at once more, a moment later, before it is
 * believed, and a segment that has gone has no row.
 *
 * Invariants: ls reads no body of a sealed segment. */

#define _GNU_SOURCE
#include "tools/chain.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LOOKS_MAX = 5 };

static const struct emit_column ls_columns[] = {{"segment", 8},  {"state", -8}, {"first", 12}, {"last", 12},
                                                {"records", 10}, {"used", 12},  {"bytes", 12}, {"note", 0}};

/* What is known of a segment, for a row. */
struct ls_row {
    const char *state;
    bool counted;
    uint64_t first;
    uint64_t last;
    uint64_t records;
    uint64_t used_bytes;
    char note[160];
};

/* What is known of the log, for all rows. */
struct ls_log {
    struct segments segments;
    struct segment_file *newest; /* With an opening anchor that reads; NULL: none. */
    struct chain chain;          /* The newest one's, walked. */
    bool chain_is_fresh;         /* The newest was not looked at again since. */
    uint64_t start;              /* 0: unknown, or one segment file was named. */
    bool paused;
};

/* Segments that must be there, and are not; first 0: none. */
struct gap {
    uint64_t first;
    uint64_t last;
};

/* --- what the log says --------------------------------------------------------------------------- */

static void learn_log(struct ls_log *log)
{
    log->newest = segments_newest_begun(&log->segments);
    log->chain = (struct chain){0};
    if (log->newest != NULL) {
        chain_begin(&log->chain, log->newest, log->segments.block_bytes);
        chain_walk(&log->chain, log->newest, log->segments.block_bytes);
    }
    log->chain_is_fresh = true;
    log->start = log->segments.single ? 0 : log->chain.start.segment;
}

/* Of a segment behind the newest: is it one that was begun, and whose anchor is damaged? Behind an accepted cut files
 * are made anew under their own number: their batches then have lower numbers than the chain has reached. */
static bool lost_its_anchor(struct ls_log *log, struct segment_file *file)
{
    return file->anchor_verdict != FORMAT_OK && segment_begun(file, log->segments.block_bytes) &&
           (log->newest == NULL || file->begun_number >= log->chain.number);
}

/* The gap in the numbers between a segment and the one before it that counts, NULL for none. Behind an accepted cut the
 * anchor names the one before. */
static struct gap gap_before(const struct ls_log *log, const struct segment_file *before,
                             const struct segment_file *file)
{
    bool forced = file->anchor_verdict == FORMAT_OK && (file->anchor.flags & BATCH_FORCED) != 0;
    uint64_t expected = before != NULL ? before->number + 1 : log->start;
    uint64_t last = forced ? file->anchor.body.anchor.predecessor_segment : file->number - 1;
    return expected == 0 || expected > last || last >= file->number ? (struct gap){0, 0} : (struct gap){expected, last};
}

/* A seal is written when the next segment is begun. */
static struct gap gap_behind(const struct ls_log *log)
{
    const struct segment_file *newest = log->newest;
    bool lost = newest != NULL && !log->segments.single && newest->seal_verdict == FORMAT_OK &&
                segments_find(&log->segments, newest->number + 1) == NULL;
    return lost ? (struct gap){newest->number + 1, newest->number + 1} : (struct gap){0, 0};
}

/* Does a segment take part in the order of numbers? Not below the start, not behind an accepted cut, not a prepared
 * one. */
static bool is_in_order(struct ls_log *log, struct segment_file *file)
{
    return log->newest != NULL && file->number >= log->start && !file->dead &&
           (file->number <= log->newest->number || lost_its_anchor(log, file));
}

static uint64_t first_gap(struct ls_log *log)
{
    const struct segment_file *before = NULL;
    for (unsigned i = 0; i < log->segments.count && !log->segments.single; i++) {
        struct segment_file *file = &log->segments.list[i];
        if (is_in_order(log, file)) {
            struct gap gap = gap_before(log, before, file);
            before = file;
            if (gap.first != 0) {
                return gap.first;
            }
        }
    }
    return gap_behind(log).first;
}

static void pause_a_little(const struct settings *settings)
{
    const struct timespec pause = {.tv_nsec = (long)settings->look_pause_ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* A list that was read while a writer renamed may lack a file: a gap must be there twice. */
static int open_log(const struct settings *settings, struct ls_log *log)
{
    uint64_t gap = 0;
    for (unsigned turn = 0;; turn++) {
        int code = segments_open(&log->segments, settings->path);
        if (code != 0) {
            return code;
        }
        learn_log(log);
        uint64_t gap_before_that = gap;
        gap = first_gap(log);
        if (gap == 0 || gap == gap_before_that || turn == LOOKS_MAX || interrupted()) {
            return 0;
        }
        segments_close(&log->segments);
        pause_a_little(settings);
    }
}

/* --- a row --------------------------------------------------------------------------------------- */

static void from_seal(const struct segment_file *file, struct ls_row *row)
{
    row->state = "sealed";
    row->counted = true;
    row->first = file->seal.low;
    row->last = file->seal.last_index;
    row->records = file->seal.record_count;
    row->used_bytes = file->seal.end_offset;
}

static void from_walk(const struct ls_log *log, struct segment_file *file, struct ls_row *row)
{
    struct chain chain = log->chain;
    if (file != log->newest || !log->chain_is_fresh) {
        chain_begin(&chain, file, log->segments.block_bytes);
        chain_walk(&chain, file, log->segments.block_bytes);
    }
    bool followed = chain_known_end(&log->segments, file) != 0;
    row->counted = true;
    row->first = chain.low;
    row->last = chain.next_index - 1;
    row->records = chain.records;
    row->used_bytes = chain.offset;
    row->state = followed || (log->newest != NULL && file->number < log->newest->number) ? "sealed" : "open";
    if (row->state[0] == 's') {
        (void)snprintf(row->note, sizeof(row->note), "its seal does not read");
    }
}

/* What is wrong with it as a file of this log; false: nothing. */
static bool is_wrong_file(const struct segments *segments, const struct segment_file *file, struct ls_row *row)
{
    size_t size = sizeof(row->note);
    if (file->odd != NULL) {
        (void)snprintf(row->note, size, "%s%s%s", file->odd, file->error != 0 ? ": " : "",
                       file->error != 0 ? strerror(file->error) : "");
    } else if (!segment_reads(file)) {
        (void)snprintf(row->note, size, "identity: %s", format_verdict_text(file->identity_verdict));
    } else if (file->identity_verdict == FORMAT_OK && file->identity.segment != file->number) {
        (void)snprintf(row->note, size, "its identity is segment %" PRIu64 "'s", file->identity.segment);
    } else if (segment_is_foreign(segments, file)) {
        (void)snprintf(row->note, size, "of another log");
    } else {
        return false;
    }
    return true;
}

static void judge_segment(struct ls_log *log, struct segment_file *file, struct ls_row *row)
{
    *row = (struct ls_row){.state = "damaged"};
    if (file->number < log->start && file->odd == NULL) {
        row->state = "retired"; /* Whatever is in it: it may be on its way to another number. */
        return;
    }
    if (file->dead) {
        row->state = "dead";
        (void)snprintf(row->note, sizeof(row->note), "behind an accepted loss; waits to be recycled");
        return;
    }
    if (chain_is_spoilt_spare(&log->segments, log->newest, &log->chain, file)) {
        row->state = "ready";
        (void)snprintf(row->note, sizeof(row->note), "its identity does not read; it is made anew before it is used");
        return;
    }
    if (is_wrong_file(&log->segments, file, row)) {
        return;
    }
    if (file->anchor_verdict != FORMAT_OK) {
        bool behind = log->newest == NULL || file->number > log->newest->number;
        row->state = behind && !lost_its_anchor(log, file) ? "ready" : "damaged";
        if (row->state[0] == 'd') {
            (void)snprintf(row->note, sizeof(row->note), "its opening anchor does not read");
        }
    } else if (file->seal_verdict == FORMAT_OK) {
        from_seal(file, row);
    } else {
        from_walk(log, file, row);
    }
    if (file->identity_verdict != FORMAT_OK) {
        (void)snprintf(row->note, sizeof(row->note), "its identity does not read");
    } else if (file->bytes != file->size) {
        (void)snprintf(row->note, sizeof(row->note), "the file has %" PRIu64 " bytes, its identity says %" PRIu64,
                       file->bytes, file->size);
    }
}

/* False: the segment has gone. What is odd at the first look may be a writer at work. */
static bool judge_with_care(const struct settings *settings, struct ls_log *log, struct segment_file *file,
                            struct ls_row *row)
{
    judge_segment(log, file, row);
    if (file->gone) {
        return false;
    }
    if (row->note[0] == '\0' || file->dead || log->segments.single || interrupted()) {
        return true;
    }
    if (!log->paused) {
        pause_a_little(settings);
        log->paused = true; /* For the rows after it as well: they were seen before the pause. */
    }
    if (!segment_refresh(&log->segments, file)) {
        return false;
    }
    log->chain_is_fresh = log->chain_is_fresh && file != log->newest;
    judge_segment(log, file, row);
    return !file->gone;
}

static void show_row(struct settings *settings, uint64_t number, const struct ls_row *row, bool there, uint64_t bytes)
{
    struct emit *emit = &settings->emit;
    char name[FORMAT_NAME_BYTES];
    format_segment_name(number, name);
    emit_row(emit);
    emit_u64(emit, "segment", number);
    emit_text(emit, "state", row->state);
    if (row->counted && row->first <= row->last) {
        emit_u64(emit, "first", row->first);
        emit_u64(emit, "last", row->last);
    } else {
        emit_none(emit, "first");
        emit_none(emit, "last");
    }
    if (row->counted) {
        emit_u64(emit, "records", row->records);
        emit_u64(emit, "used", row->used_bytes);
    } else {
        emit_none(emit, "records");
        emit_none(emit, "used");
    }
    if (there) {
        emit_u64(emit, "bytes", bytes);
    } else {
        emit_none(emit, "bytes");
    }
    emit_text(emit, "note", row->note);
    emit_text(emit, "file", name);
    emit_end(emit);
}

/* One row, however many there are. */
static int show_gap(struct settings *settings, const struct gap *gap)
{
    struct ls_row row = {.state = "missing"};
    if (gap->first == 0) {
        return 0;
    }
    if (gap->first == gap->last) {
        (void)snprintf(row.note, sizeof(row.note), "there is no such file");
    } else {
        (void)snprintf(row.note, sizeof(row.note), "there is no such file, nor of the numbers up to %" PRIu64,
                       gap->last);
    }
    show_row(settings, gap->first, &row, false, 0);
    return EXIT_NEGATIVE;
}

static int worse_of(int code, int other)
{
    return code > other ? code : other;
}

int command_ls(struct settings *settings)
{
    struct ls_log log = {.segments.directory_fd = -1};
    struct ls_row row;
    const struct segment_file *before = NULL;
    int code = open_log(settings, &log);
    if (code != 0) {
        segments_close(&log.segments);
        return code;
    }
    emit_begin(&settings->emit, "waldump.segment/1", ls_columns, 8);
    for (unsigned i = 0; i < log.segments.count && !interrupted(); i++) {
        struct segment_file *file = &log.segments.list[i];
        bool there = judge_with_care(settings, &log, file, &row);
        if (interrupted()) {
            break; /* Half a look is no row. */
        }
        if (!there) {
            continue;
        }
        if (is_in_order(&log, file) && !log.segments.single) {
            struct gap gap = gap_before(&log, before, file);
            code = worse_of(code, show_gap(settings, &gap));
            before = file;
        }
        show_row(settings, file->number, &row, true, file->bytes);
        code = worse_of(code, row.state[0] == 'd' && !file->dead ? EXIT_NEGATIVE : 0);
        if (file->error != 0) {
            segments_tell_error(&log.segments, file);
            code = EXIT_DISK;
        }
        if (file == log.newest) {
            struct gap gap = gap_behind(&log);
            code = worse_of(code, show_gap(settings, &gap));
        }
    }
    segments_close(&log.segments);
    return code;
}
