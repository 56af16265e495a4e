/* records.c - the commands that show records: dump and get.
 *
 * The happy path of the log's view: a cursor of the library, from the first index wanted to the last; each record is a
 * row. The physical view goes through the files block by block, shows each batch and record that can be recognised, and
 * asks the library which of them are alive.
 *
 * What can fail: records that do not read: said on stderr as a range, with the place, and exit code 1 at the end; the
 * others are shown.
 *
 * Invariants: the log's view is exactly what recovery would deliver; a record whose checksum is wrong is never shown as
 * data. */

#define _GNU_SOURCE
#include "tools/records.h"

#include "tools/chain.h"
#include "tools/command_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STUCK_MAX = 10 };

/* --- rows ---------------------------------------------------------------------------------------- */

static const struct emit_column log_columns[] = {{"index", -12}, {"place", -14}, {"tag", 8},    {"type", 13},
                                                 {"size", 9},    {"xxh3", -16},  {"payload", 0}};

void records_begin(struct settings *settings)
{
    bool with_payload = settings->payload != PAYLOAD_LEN && settings->payload != PAYLOAD_NONE;
    emit_begin(&settings->emit, "waldump.record/1", log_columns, with_payload ? 7 : 6);
}

static void show_record(struct settings *settings, const struct wal_record *record, const struct wal_place *place)
{
    emit_row(&settings->emit);
    emit_u64(&settings->emit, "index", record->index);
    emit_place(&settings->emit, place->segment, place->offset);
    emit_record(settings, record);
    emit_payload(settings, record);
    emit_end(&settings->emit);
}

/* --- the log's view ------------------------------------------------------------------------------ */

/* Records in a row that do not read are told as one. */
struct hole {
    uint64_t first_index; /* 0: none open. */
    uint64_t last_index;
    uint64_t count; /* Ever. */
    char text[256];
};

static void close_hole(struct hole *hole)
{
    if (hole->first_index == 0) {
        return;
    }
    uint64_t low = hole->first_index < hole->last_index ? hole->first_index : hole->last_index;
    uint64_t high = hole->first_index < hole->last_index ? hole->last_index : hole->first_index;
    complain("records %" PRIu64 " to %" PRIu64 " do not read: %s", low, high, hole->text);
    hole->first_index = 0;
}

static void note_bad(struct hole *hole, const struct wal *log, uint64_t index)
{
    if (hole->first_index == 0) {
        hole->first_index = index;
        (void)wal_errmsg(log, hole->text, sizeof(hole->text));
    }
    hole->last_index = index;
    hole->count++;
}

/* *stopped: the index at which WAL_ECOMPACTED ended it. */
static uint64_t show_range(struct settings *settings, struct wal *log, uint64_t first, uint64_t last, uint64_t *stopped,
                           int *failed)
{
    struct wal_cursor *cursor;
    struct hole hole = {0};
    uint64_t shown = 0;
    bool unreadable = false;
    *stopped = settings->reverse ? last : first;
    *failed = wal_cursor_open(log, settings->reverse ? last : first, &cursor);
    if (*failed != 0) {
        return 0;
    }
    for (uint64_t left = last - first + 1; left != 0 && shown < settings->limit && !interrupted(); left--) {
        uint64_t index = settings->reverse ? first + left - 1 : last - left + 1;
        struct wal_record record;
        struct wal_place place;
        wal_cursor_seek(cursor, index);
        int status = wal_cursor_next(cursor, &record);
        if (status == WAL_ECORRUPT || status == WAL_EIO) {
            unreadable = unreadable || status == WAL_EIO; /* What the disk does not give is a hole as well: go on. */
            note_bad(&hole, log, index);
            continue;
        }
        close_hole(&hole);
        if (status != 0) {
            *failed = status;
            *stopped = index;
            break;
        }
        bool wanted = record_wanted(settings, &record) && wal_cursor_place(cursor, &place) == 0 &&
                      (settings->segment == 0 || settings->segment == place.segment);
        if (wanted) {
            show_record(settings, &record, &place);
            shown++;
        }
    }
    close_hole(&hole);
    wal_cursor_close(cursor);
    if (*failed == 0 && hole.count != 0) {
        *failed = unreadable ? WAL_EIO : WAL_ECORRUPT;
    }
    return shown;
}

uint64_t records_show(struct settings *settings, struct wal *log, uint64_t first, uint64_t last, int *failed)
{
    uint64_t stopped;
    return show_range(settings, log, first, last, &stopped, failed);
}

/* A writer removes records from the start while they are read: the log is opened again, and it goes on with what is
 * still there. Returns how many were shown; *status is the last one of the library. */
static uint64_t show_moving(struct settings *settings, struct view_log *view, uint64_t first, uint64_t last,
                            int *status)
{
    uint64_t stopped = 0;
    uint64_t limit = settings->limit;
    uint64_t shown = show_range(settings, view->log, first, last, &stopped, status);
    for (unsigned stuck = 0; *status == WAL_ECOMPACTED && stuck < STUCK_MAX && !interrupted();) {
        uint64_t kept_from = settings->reverse ? first : stopped;
        last = settings->reverse ? stopped : last;
        view_close(view);
        if (view_open(view, settings->path) > EXIT_NEGATIVE || view->log == NULL) {
            *status = view->status != 0 ? view->status : WAL_ESYSTEM;
            break;
        }
        first = wal_first_index(view->log) > kept_from ? wal_first_index(view->log) : kept_from;
        stuck = first > kept_from ? 0 : stuck + 1; /* Gone, though the log says that it is there. */
        if (first > kept_from) {
            complain("note: records %" PRIu64 " to %" PRIu64 " were removed before they were shown", kept_from,
                     (first <= last ? first : last + 1) - 1);
        }
        *status = 0;
        settings->limit = limit - shown;
        shown += first <= last ? show_range(settings, view->log, first, last, &stopped, status) : 0;
    }
    settings->limit = limit;
    return shown;
}

/* A segment that was asked for by its number must be there. */
static int find_segment(const struct settings *settings)
{
    struct segments segments;
    int code = settings->segment == 0 ? 0 : segments_open(&segments, settings->path);
    if (settings->segment != 0) {
        code = code == 0 ? segments_want(&segments, settings->segment) : code;
        segments_close(&segments);
    }
    return code;
}

static int dump_log(struct settings *settings)
{
    int code = find_segment(settings);
    if (code != 0) {
        return code;
    }
    struct view_log view;
    code = view_open(&view, settings->path);
    emit_worst(code);
    if (code > EXIT_NEGATIVE) {
        return code;
    }
    view_tell(&view);
    if (view.log == NULL) {
        return code;
    }
    uint64_t first, last;
    int ranged = view_range(&view, settings, &first, &last);
    code = ranged > code ? ranged : code;
    settings->raft_types = view.is_raft;
    records_begin(settings);
    if (first <= last) {
        int status;
        uint64_t shown = show_moving(settings, &view, first, last, &status);
        if (shown == 0 && settings->segment != 0) {
            complain("note: none of these records is in segment %" PRIu64, settings->segment);
        }
        int told = view.log == NULL ? exit_code_of(status) : view_status(&view, status);
        told = status == WAL_ECOMPACTED ? EXIT_DISK : told; /* A log that moves is not damaged. */
        code = told > code ? told : code;
    }
    view_close(&view);
    return code;
}

/* --- the physical view --------------------------------------------------------------------------- */

static const struct emit_column physical_columns[] = {
    {"place", -14}, {"what", -12}, {"batch", 8}, {"index", 10}, {"tag", 8},     {"type", 13},
    {"size", 9},    {"xxh3", -16}, {"state", 5}, {"why", -1},   {"payload", 0},
};

/* Which of the records on the disk the library would deliver. */
struct liveness {
    struct wal *log; /* NULL: unknown. */
    struct wal_cursor *cursor;
};

static const char *record_state(struct liveness *liveness, uint64_t index, uint64_t segment, uint64_t offset)
{
    struct wal_record record;
    struct wal_place place;
    if (liveness->cursor == NULL) {
        return "?";
    }
    wal_cursor_seek(liveness->cursor, index);
    int status = wal_cursor_next(liveness->cursor, &record);
    bool here = status == 0 && wal_cursor_place(liveness->cursor, &place) == 0 && place.segment == segment &&
                place.offset == offset;
    return here ? "live" : "dead";
}

/* One line about a batch. end_offset: where the segment's chain ends, 0 when nobody knows. */
static void show_batch(struct settings *settings, const struct segment_file *file, const struct batch_look *look,
                       uint64_t end_offset)
{
    struct emit *emit = &settings->emit;
    char what[40];
    (void)snprintf(what, sizeof(what), look->head.record_count != 0 ? "%s[%" PRIu32 "]" : "%s",
                   batch_kind_text(look->head.kind), look->head.record_count);
    bool whole = !look->cut_short && look->good_records == look->head.record_count;
    const char *state = !look->own ? "old" : !whole ? "bad" : look->offset >= end_offset ? "dead" : "chain";
    emit_row(emit);
    emit_place(emit, file->number, look->offset);
    emit_text(emit, "what", what);
    emit_u64(emit, "batch", look->head.number);
    emit_u64(emit, "index", look->head.first_index);
    emit_none(emit, "tag");
    emit_none(emit, "type");
    emit_u64(emit, "size", look->head.used_bytes);
    emit_x64(emit, "xxh3", look->head.checksum);
    emit_text(emit, "state", state);
    emit_text(emit, "why", !look->own ? "of the file's earlier life" : whole ? "" : "a record does not verify");
    emit_none(emit, "payload");
    emit_u64(emit, "mark", look->head.mark);
    emit_x64(emit, "salt", look->head.salt);
    emit_end(emit);
}

static void show_bad_record(struct settings *settings, const struct segment_file *file, const struct batch_look *look,
                            uint32_t ordinal, uint64_t offset, enum format_verdict verdict)
{
    struct emit *emit = &settings->emit;
    emit_row(emit);
    emit_place(emit, file->number, offset);
    emit_text(emit, "what", "  record");
    emit_u64(emit, "batch", look->head.number);
    emit_u64(emit, "index", look->head.first_index + ordinal);
    emit_none(emit, "tag");
    emit_none(emit, "type");
    emit_none(emit, "size");
    emit_none(emit, "xxh3");
    emit_text(emit, "state", "bad");
    emit_text(emit, "why", format_verdict_text(verdict));
    emit_none(emit, "payload");
    emit_none(emit, "mark"); /* Of batches; every row has the same keys. */
    emit_none(emit, "salt");
    emit_end(emit);
}

/* The records of a batch, the first that does not verify included. Returns how many were shown. */
static uint64_t show_batch_records(struct settings *settings, struct segment_file *file, const struct batch_look *look,
                                   struct liveness *liveness, uint64_t limit)
{
    struct emit *emit = &settings->emit;
    uint64_t offset = 0;
    uint64_t shown = 0;
    for (uint32_t i = 0; i < look->head.record_count && !look->cut_short && shown < limit; i++) {
        uint64_t here = offset != 0 ? offset : look->offset + look->head.head_bytes;
        uint64_t index = look->head.first_index + i;
        struct format_record found;
        enum format_verdict verdict = batch_record(file, look, i, &offset, &found);
        if (verdict != FORMAT_OK) {
            show_bad_record(settings, file, look, i, here, verdict);
            break; /* Its length is not to be believed, so nobody knows where the next one is. */
        }
        const struct wal_record record = {
            .data = found.payload, .size = found.length, .type = found.type, .tag = found.tag, .index = index};
        if (index < settings->from || index > settings->to || !record_wanted(settings, &record)) {
            continue;
        }
        emit_row(emit);
        emit_place(emit, file->number, here);
        emit_text(emit, "what", "  record");
        emit_u64(emit, "batch", look->head.number);
        emit_u64(emit, "index", index);
        emit_record(settings, &record);
        emit_text(emit, "state", look->own ? record_state(liveness, index, file->number, here) : "old");
        emit_text(emit, "why", "");
        emit_payload(settings, &record);
        emit_none(emit, "mark");
        emit_none(emit, "salt");
        emit_end(emit);
        shown++;
    }
    return shown;
}

static int dump_physical(struct settings *settings)
{
    struct segments segments;
    struct view_log view = {0};
    struct liveness liveness = {0};
    int code = segments_open(&segments, settings->path);
    code = code == 0 && settings->segment != 0 ? segments_want(&segments, settings->segment) : code;
    if (code == 0 && !segments.single) {
        code = view_open(&view, settings->path);
        code = code == EXIT_NEGATIVE ? 0 : code; /* Damage is in the rows. */
        view_tell(&view);
        settings->raft_types = view.is_raft;
        if (view.log != NULL && wal_cursor_open(view.log, 0, &liveness.cursor) != 0) {
            liveness.cursor = NULL;
        }
    }
    bool with_payload = settings->payload != PAYLOAD_LEN && settings->payload != PAYLOAD_NONE;
    emit_begin(&settings->emit, "waldump.physical/1", physical_columns, with_payload ? 11 : 10);
    uint64_t left = settings->limit;
    for (unsigned i = 0; code == 0 && i < segments.count && left != 0; i++) {
        struct segment_file *file = &segments.list[i];
        if (settings->segment != 0 && settings->segment != file->number) {
            continue;
        }
        uint64_t end_offset = chain_end(&segments, file);
        uint64_t offset = segments.block_bytes;
        struct batch_look look;
        while (left != 0 && !interrupted() &&
               batch_next(file, segments.block_bytes, &offset, file->size - segments.block_bytes, &look)) {
            bool touches =
                look.head.record_count == 0 || (look.head.first_index <= settings->to &&
                                                look.head.first_index + look.head.record_count > settings->from);
            if (touches && settings->type_count == 0 && settings->tag_count == 0 && settings->min_size == 0) {
                show_batch(settings, file, &look, end_offset);
            }
            left -= touches ? show_batch_records(settings, file, &look, &liveness, left) : 0;
            offset = batch_behind(&look, segments.block_bytes);
        }
        if (file->error != 0) {
            complain("segment %" PRIu64 ": %s; zeros stand for what does not read", file->number,
                     strerror(file->error));
            code = EXIT_DISK;
        }
    }
    wal_cursor_close(liveness.cursor);
    view_close(&view);
    segments_close(&segments);
    return code;
}

int command_dump(struct settings *settings)
{
    struct stat facts;
    bool single = stat(settings->path, &facts) == 0 && !S_ISDIR(facts.st_mode);
    return settings->view == VIEW_PHYSICAL || single ? dump_physical(settings) : dump_log(settings);
}

/* --- get ----------------------------------------------------------------------------------------- */

/* Raw; or as one row of records, with all of the payload. */
static int show_payload(struct settings *settings, const struct wal_cursor *cursor, const struct wal_record *record)
{
    struct wal_place place;
    if (settings->emit.format == EMIT_TEXT) {
        (void)fwrite(record->data, 1, record->size, stdout);
        return 0;
    }
    int status = wal_cursor_place(cursor, &place);
    if (status == 0) {
        settings->payload = PAYLOAD_BASE64;
        records_begin(settings);
        show_record(settings, record, &place);
    }
    return status;
}

int command_get(struct settings *settings)
{
    struct view_log view;
    struct wal_cursor *cursor = NULL;
    struct wal_record record;
    uint64_t index = number_of(settings->second, "get");
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE || view.log == NULL) {
        if (code == EXIT_NEGATIVE) {
            view_tell(&view);
        }
        return code;
    }
    int status = wal_cursor_open(view.log, index, &cursor);
    status = status == 0 ? (index == 0 ? WAL_ECOMPACTED : wal_cursor_next(cursor, &record)) : status;
    if (status == 0) {
        status = show_payload(settings, cursor, &record);
    }
    if (status == 0) {
        emit_finish();
        code = EXIT_READABLE;
    } else {
        char text[512] = "";
        (void)wal_errmsg(view.log, text, sizeof(text));
        complain("index %" PRIu64 ": %s%s%s", index, wal_strerror(status), text[0] != '\0' ? ": " : "", text);
        code = exit_code_of(status);
    }
    wal_cursor_close(cursor);
    view_close(&view);
    return code;
}
