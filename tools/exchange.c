/* exchange.c - a log as NDJSON, and back: export and import.
 *
 * The happy path: `waldump export A | waldump import B`. The first line describes the log (range, limits, metadata),
 * then a line a record, then a line with their count, so that a broken pipe is noticed. Import makes a new log with the
 * same indexes, tags, types and payloads, batch by batch, and its metadata.
 *
 * What can fail: damage in A: exit code 1, and the last line is not written. A line that import does not understand, or
 * that is longer than one of this log can be, input that does not read, or a missing last line: exit code 3, with the
 * line's number; what was taken until then stands in B, and is told.
 *
 * Invariants: import never writes to a directory that holds a log; B is closed in order before it says how much it
 * took. Batches, marks, truncations and a doubt are not carried over: B holds the records, not the history. */

#define _GNU_SOURCE
#include "tools/json_read.h"
#include "tools/waldump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "waldump.export/1"

/* --- export -------------------------------------------------------------------------------------- */

static void export_head(struct emit *emit, const struct view_log *view, const struct segments *segments, uint64_t first,
                        uint64_t last)
{
    uint8_t metadata[WAL_METADATA_BYTES_MAX];
    size_t metadata_bytes;
    uint64_t segment_bytes = 0;
    uint64_t batch_bytes_max = 0;
    for (unsigned i = 0; i < segments->count; i++) { /* Each was made with the limits of its day. */
        const struct segment_file *file = &segments->list[i];
        if (file->identity_verdict == FORMAT_OK) {
            segment_bytes = file->size > segment_bytes ? file->size : segment_bytes;
            batch_bytes_max =
                file->identity.batch_bytes_max > batch_bytes_max ? file->identity.batch_bytes_max : batch_bytes_max;
        }
    }
    emit_row(emit);
    emit_text(emit, "kind", "log");
    emit_hex(emit, "uuid", view->verdict.uuid, sizeof(view->verdict.uuid));
    emit_u64(emit, "first", first);
    emit_u64(emit, "last", last);
    emit_u64(emit, "block_bytes", segments->block_bytes);
    emit_u64(emit, "segment_bytes", segment_bytes);
    emit_u64(emit, "batch_bytes_max", batch_bytes_max);
    if (wal_metadata(view->log, metadata, sizeof(metadata), &metadata_bytes) == 0) {
        emit_base64(emit, "metadata", metadata, metadata_bytes);
    } else {
        emit_none(emit, "metadata");
    }
    emit_end(emit);
}

static int export_records(struct emit *emit, const struct view_log *view, uint64_t first, uint64_t last)
{
    struct wal_cursor *cursor;
    int status = wal_cursor_open(view->log, first, &cursor);
    if (status != 0) {
        return view_status(view, status);
    }
    for (uint64_t index = first; status == 0 && index <= last && !interrupted(); index++) {
        struct wal_record record;
        status = wal_cursor_next(cursor, &record);
        if (status == WAL_ECOMPACTED) { /* The first line has promised it, so there is no going on. */
            complain("index %" PRIu64 ": the log's writer removed it while the export was made: export it again",
                     index);
            wal_cursor_close(cursor);
            return EXIT_DISK;
        }
        if (status != 0) {
            char text[512] = "";
            (void)wal_errmsg(view->log, text, sizeof(text));
            complain("index %" PRIu64 ": %s; the export ends here, and says so by having no last line", index, text);
            break;
        }
        emit_row(emit);
        emit_text(emit, "kind", "record");
        emit_u64(emit, "index", record.index);
        emit_u64(emit, "tag", record.tag);
        emit_u64(emit, "type", record.type);
        emit_base64(emit, "data", record.data, record.size);
        emit_end(emit);
    }
    wal_cursor_close(cursor);
    return exit_code_of(status);
}

int command_export(struct settings *settings)
{
    struct emit *emit = &settings->emit;
    struct view_log view = {0};
    struct segments segments;
    int code = segments_open(&segments, settings->path);
    if (code == 0 && segments.single) {
        complain("%s: export wants the log's directory", settings->path);
        code = EXIT_USAGE;
    }
    code = code == 0 ? view_open(&view, settings->path) : code;
    view_tell(&view);
    if (code <= EXIT_NEGATIVE && view.log != NULL) {
        uint64_t first, last;
        int ranged = view_range(&view, settings, &first, &last);
        code = ranged > code ? ranged : code;
        emit->format = EMIT_JSON;
        emit_begin(emit, SCHEMA, NULL, 0);
        export_head(emit, &view, &segments, first, last);
        int told = first <= last ? export_records(emit, &view, first, last) : EXIT_READABLE;
        code = told > code ? told : code;
        if (told == 0 && !interrupted()) {
            emit_row(emit);
            emit_text(emit, "kind", "end");
            emit_u64(emit, "records", first <= last ? last - first + 1 : 0);
            emit_end(emit);
        }
    }
    view_close(&view);
    segments_close(&segments);
    return code;
}

/* --- import -------------------------------------------------------------------------------------- */

enum { BATCH_RECORDS_MAX = 1024, BATCH_BYTES_WANTED = 1 << 20, LINE_BYTES_LEAST = 1 << 16 };

struct import {
    struct settings *settings;
    struct wal *log;
    uint64_t line;
    uint64_t batch_bytes_max;
    uint64_t records; /* Accepted by the log. */
    uint64_t next_index;
    uint64_t last_index; /* As the first line says. */
    uint64_t ticket;     /* Of the newest append; 0: none. */
    bool ended;
    uint8_t metadata[WAL_METADATA_BYTES_MAX];
    size_t metadata_bytes;
    bool has_metadata;
    /* What is collected for the next append; payloads one behind the other in `bytes`. */
    struct wal_record batch[BATCH_RECORDS_MAX];
    uint32_t batch_count;
    char *bytes;
    size_t bytes_used;
    size_t bytes_room;
    char *text; /* Of the line at hand. */
    size_t text_room;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct import *import, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    complain("line %" PRIu64 ": %s", import->line, text);
    return EXIT_DISK;
}

static int log_refuses(const struct import *import, int status)
{
    char text[512] = "";
    (void)wal_errmsg(import->log, text, sizeof(text));
    return refuse(import, "%s: %s: %s", import->settings->path, wal_strerror(status), text);
}

static uint64_t number_in(const struct json_object *object, const char *name)
{
    const struct json_field *field = json_find(object, name);
    return field != NULL && field->kind == JSON_NUMBER ? field->number : 0;
}

/* Hands what was collected to the log. */
static int flush(struct import *import)
{
    struct wal_receipt receipt;
    if (import->batch_count == 0) {
        return 0;
    }
    const char *at = import->bytes;
    for (uint32_t i = 0; i < import->batch_count; i++) {
        import->batch[i].data = at;
        at += import->batch[i].size;
    }
    const struct wal_append append = {.records = import->batch, .record_count = import->batch_count};
    int status = wal_append(import->log, &append, &receipt);
    if (status != 0) {
        return log_refuses(import, status);
    }
    import->ticket = receipt.ticket;
    import->records += import->batch_count;
    import->batch_count = 0;
    import->bytes_used = 0;
    return 0;
}

/* The number must be there, as a number: what a program wrote as text, or left out, is not guessed. */
static int want_number(const struct import *import, const struct json_object *object, const char *name,
                       uint64_t *number)
{
    const struct json_field *field = json_find(object, name);
    if (field == NULL || field->kind != JSON_NUMBER) {
        return refuse(import, "%s is %s", name, field == NULL ? "missing" : "no number");
    }
    *number = field->number;
    return 0;
}

static int check_range(struct import *import, const struct json_object *object)
{
    uint64_t first = 0, last = 0;
    int code = want_number(import, object, "first", &first);
    code = code == 0 ? want_number(import, object, "last", &last) : code;
    if (code != 0) {
        return code;
    }
    if (first == 0 || first > WAL_INDEX_MAX || last > WAL_INDEX_MAX || last + 1 < first) {
        return refuse(import, "no log has records %" PRIu64 " to %" PRIu64, first, last);
    }
    const struct json_field *metadata = json_find(object, "metadata");
    if (metadata != NULL && metadata->kind != JSON_TEXT && metadata->kind != JSON_NULL) {
        return refuse(import, "metadata is no text");
    }
    import->last_index = last;
    return 0;
}

static int make_log(struct import *import, const struct json_object *object)
{
    int wrong = check_range(import, object);
    if (wrong != 0) {
        return wrong;
    }
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal_verdict verdict = {0};
    uint64_t first = number_in(object, "first");
    uint64_t block_bytes = number_in(object, "block_bytes");
    uint64_t batch_bytes_max = number_in(object, "batch_bytes_max");
    if (block_bytes > UINT32_MAX || batch_bytes_max > UINT32_MAX) {
        return refuse(import, "limits that no log has");
    }
    options.flags = WAL_CREATE | WAL_EXCLUSIVE;
    options.block_bytes = (uint32_t)block_bytes;
    options.segment_bytes = number_in(object, "segment_bytes");
    options.batch_bytes_max = (uint32_t)batch_bytes_max;
    options.segments_max = 65536;
    int status = wal_open(import->settings->path, &options, &import->log, &verdict);
    if (status == WAL_EINVAL) { /* This disk, or this library, has other limits: those of a new log, if records fit. */
        complain("note: %s. The new log gets the default sizes", verdict.text);
        options.block_bytes = 0;
        options.segment_bytes = 0;
        options.batch_bytes_max = batch_bytes_max <= UINT32_C(2) << 20 ? 0 : (uint32_t)batch_bytes_max;
        status = wal_open(import->settings->path, &options, &import->log, &verdict);
    }
    if (status != 0) {
        import->log = NULL;
        return refuse(import, "%s: %s: %s", import->settings->path, wal_strerror(status), verdict.text);
    }
    import->batch_bytes_max = batch_bytes_max != 0 ? batch_bytes_max : 2 << 20;
    import->next_index = first > 1 ? first : 1;
    if (first > 1) {
        struct wal_receipt receipt;
        status = wal_reset(import->log, first, &receipt);
        if (status != 0) {
            return log_refuses(import, status);
        }
        import->ticket = receipt.ticket;
    }
    const struct json_field *metadata = json_find(object, "metadata");
    if (metadata != NULL && metadata->kind == JSON_TEXT) {
        if (!base64_decode(metadata->text, metadata->length, &import->metadata_bytes) ||
            import->metadata_bytes > sizeof(import->metadata)) {
            return refuse(import, "metadata that are no base64 of at most %zu bytes", sizeof(import->metadata));
        }
        memcpy(import->metadata, metadata->text, import->metadata_bytes);
        import->has_metadata = true;
    }
    return 0;
}

static int collect(struct import *import, const struct json_object *object)
{
    const struct json_field *data = json_find(object, "data");
    const struct json_field *index = json_find(object, "index");
    uint64_t type = 0, tag = 0;
    size_t bytes;
    int wrong = want_number(import, object, "type", &type);
    wrong = wrong == 0 ? want_number(import, object, "tag", &tag) : wrong;
    if (wrong != 0) {
        return wrong;
    }
    if (index == NULL || index->kind != JSON_NUMBER || index->number != import->next_index) {
        return refuse(import, "index %" PRIu64 " is wanted here", import->next_index);
    }
    if (type == 0 || type > UINT16_MAX) {
        return refuse(import, "a type of 1 to 65535 is wanted");
    }
    if (data == NULL || data->kind != JSON_TEXT || !base64_decode(data->text, data->length, &bytes) ||
        bytes > UINT32_MAX) {
        return refuse(import, "data that are no base64");
    }
    uint64_t limit_bytes =
        import->batch_bytes_max / 2 < BATCH_BYTES_WANTED ? import->batch_bytes_max / 2 : BATCH_BYTES_WANTED;
    uint64_t with_headers =
        import->bytes_used + bytes + ((uint64_t)import->batch_count + 1) * (RECORD_HEADER_BYTES + 8);
    if (import->batch_count == BATCH_RECORDS_MAX || (import->batch_count != 0 && with_headers > limit_bytes)) {
        int code = flush(import);
        if (code != 0) {
            return code;
        }
    }
    if (import->bytes_used + bytes > import->bytes_room) {
        size_t room = 2 * (import->bytes_used + bytes);
        char *larger = realloc(import->bytes, room);
        if (larger == NULL) {
            return refuse(import, "out of memory for a record of %zu bytes", bytes);
        }
        import->bytes = larger;
        import->bytes_room = room;
    }
    if (bytes != 0) {
        memcpy(import->bytes + import->bytes_used, data->text, bytes);
    }
    import->bytes_used += bytes;
    import->batch[import->batch_count++] =
        (struct wal_record){.size = (uint32_t)bytes, .type = (uint16_t)type, .tag = tag};
    import->next_index++;
    return 0;
}

static int take_line(struct import *import, char *line, size_t length)
{
    struct json_object object;
    const char *wrong = json_read(line, length, &object);
    if (wrong != NULL) {
        return refuse(import, "%s", wrong);
    }
    const struct json_field *schema = json_find(&object, "schema");
    const struct json_field *kind = json_find(&object, "kind");
    if (schema == NULL || schema->kind != JSON_TEXT || strcmp(schema->text, SCHEMA) != 0 || kind == NULL ||
        kind->kind != JSON_TEXT) {
        return refuse(import, "not a line of " SCHEMA);
    }
    if (import->ended) {
        return refuse(import, "something behind the last line");
    }
    bool is_log = strcmp(kind->text, "log") == 0;
    if (is_log != (import->log == NULL)) {
        return refuse(import, is_log ? "a second log" : "the first line must describe the log");
    }
    if (is_log) {
        return make_log(import, &object);
    }
    if (strcmp(kind->text, "record") == 0) {
        return collect(import, &object);
    }
    if (strcmp(kind->text, "end") != 0) {
        return refuse(import, "a line of a kind that is not known");
    }
    if (import->next_index != import->last_index + 1) {
        return refuse(import, "the records end at %" PRIu64 ", the first line says %" PRIu64, import->next_index - 1,
                      import->last_index);
    }
    import->ended = true;
    uint64_t count = import->records + import->batch_count;
    return number_in(&object, "records") == count ? 0
                                                  : refuse(import, "it says %" PRIu64 " records, there were %" PRIu64,
                                                           number_in(&object, "records"), count);
}

/* What is left goes in, with the metadata; then everything is made durable. */
static int finish(struct import *import)
{
    int code = flush(import);
    int status = 0;
    if (code == 0 && import->has_metadata && import->ended) {
        struct wal_receipt receipt;
        const struct wal_append append = {.flags = WAL_APPEND_METADATA,
                                          .metadata = import->metadata,
                                          .metadata_bytes = (uint32_t)import->metadata_bytes};
        status = wal_append(import->log, &append, &receipt);
        import->ticket = status == 0 ? receipt.ticket : import->ticket;
    }
    status = status == 0 && import->ticket != 0 ? wal_wait(import->log, import->ticket) : status;
    return status != 0 ? log_refuses(import, status) : code;
}

/* The longest line that can be right: the first one tells of the log, the others hold at most the largest record, which
 * base64 makes longer by a third. */
static size_t line_bytes_max(const struct import *import)
{
    return LINE_BYTES_LEAST + (import->log == NULL ? 0 : (size_t)import->batch_bytes_max / 3 * 4);
}

static bool make_room_for_line(struct import *import, size_t length, size_t most)
{
    if (length < import->text_room) {
        return true;
    }
    size_t room = import->text_room == 0 ? LINE_BYTES_LEAST : 2 * import->text_room;
    room = room < most + 1 ? room : most + 1;
    char *larger = realloc(import->text, room);
    import->text = larger != NULL ? larger : import->text;
    import->text_room = larger != NULL ? room : import->text_room;
    return larger != NULL;
}

/* The next line, of which there need be no end: it is read no further than one of its kind can be long. False: there is
 * none, or *code says why. */
static bool next_line(struct import *import, size_t *length, int *code)
{
    size_t most = line_bytes_max(import);
    int byte = 0;
    *length = 0;
    import->line++;
    while (byte != '\n' && (byte = getc_unlocked(stdin)) != EOF) {
        if (*length == most) {
            *code = refuse(import, "longer than %zu bytes: no record of this log is", most);
            return false;
        }
        if (!make_room_for_line(import, *length, most)) {
            *code = refuse(import, "out of memory for a line of %zu bytes", *length);
            return false;
        }
        import->text[(*length)++] = (char)byte;
    }
    if (byte == EOF && ferror(stdin) && !interrupted()) {
        *code = refuse(import, "standard input: %s", strerror(errno));
    }
    return *length != 0 && *code == 0 && !interrupted();
}

/* What was taken in becomes durable, also when it is not all. Returns what the export's end, and the log, make of code.
 */
static int end_log(struct import *import, int code)
{
    int told = finish(import);
    code = code == 0 ? told : code;
    if (code == 0 && !import->ended) {
        code = interrupted() ? EXIT_INTERRUPTED : refuse(import, "the export's last line is missing: it is not whole");
    }
    int status = wal_close(import->log);
    if (status != 0 && code == 0) {
        code = refuse(import, "%s: closing: %s", import->settings->path, wal_strerror(status));
    }
    return code;
}

static void show_import(const struct import *import, int code)
{
    const char *path = import->settings->path;
    uint64_t first = import->next_index - import->batch_count - import->records;
    struct emit *emit = &import->settings->emit;
    if (!import->settings->quiet && emit->format != EMIT_TEXT) {
        static const struct emit_column columns[] = {
            {"path", -20}, {"records", 10}, {"first", 10}, {"last", 10}, {"complete", 8}};
        emit_begin(emit, "waldump.import/1", columns, 5);
        emit_row(emit);
        emit_text(emit, "path", path);
        emit_u64(emit, "records", import->records);
        emit_u64(emit, "first", first);
        emit_u64(emit, "last", first + import->records - 1);
        emit_bool(emit, "complete", code == 0);
        emit_end(emit);
    } else if (code == 0 && !import->settings->quiet) {
        (void)printf("%s: %" PRIu64 " records, first index %" PRIu64 ", durable, closed in order\n", shown(path),
                     import->records, first);
    }
    if (code != 0) {
        complain("%s holds %" PRIu64 " records from index %" PRIu64 " on: not the whole export", path, import->records,
                 first);
    }
}

int command_import(struct settings *settings)
{
    struct import *import = calloc(1, sizeof(*import));
    size_t length;
    int code = 0;
    if (import == NULL) {
        complain("out of memory");
        return EXIT_DISK;
    }
    import->settings = settings;
    while (code == 0 && next_line(import, &length, &code)) {
        code = take_line(import, import->text, length);
    }
    if (import->log == NULL && code == 0 && !interrupted()) {
        complain("nothing came in: an export is wanted on standard input");
        code = EXIT_DISK;
    }
    if (import->log != NULL) {
        code = end_log(import, code);
        show_import(import, code);
    }
    free(import->bytes);
    free(import->text);
    free(import);
    return code;
}
