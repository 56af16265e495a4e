/* explain.c - what stands at a place: explain, hex and format.
 *
 * The happy path: the structure that covers the offset is found (identity, seal, or the batch that begins at or before
 * it, and the record in that); explain says in sentences what it is, whether it counts and why, and which row of the
 * recovery table holds for the log; hex prints its bytes field by field.
 *
 * What can fail: the place lies outside of the segment, or there is no such segment or index: exit code 1.
 *
 * Invariants: payload bytes are printed only when --payload asks for them; where a structure is damaged its fields are
 * printed all the same, with the word that they are not to be believed. */

#define _GNU_SOURCE
#include "tools/chain.h"
#include "tools/command_line.h"
#include "tools/fields.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what covers a place ------------------------------------------------------------------------- */

enum cover { COVER_IDENTITY, COVER_SEAL, COVER_BATCH, COVER_NOTHING };

struct site {
    struct segment_file *file;
    uint32_t block_bytes;
    uint64_t offset;
    enum cover cover;
    struct batch_look batch; /* COVER_BATCH. */
    bool in_record;
    uint32_t ordinal; /* Of the record that covers the offset, with in_record. */
    uint64_t record_offset;
    enum format_verdict record_verdict;
    struct format_record record; /* With FORMAT_OK. */
};

/* The record of the batch that covers the offset; the last one that reads is where it ends. */
static void find_record(struct site *site)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < site->batch.head.record_count && !site->batch.cut_short; i++) {
        uint64_t here = next != 0 ? next : site->batch.offset + site->batch.head.head_bytes;
        site->record_verdict = batch_record(site->file, &site->batch, i, &next, &site->record);
        bool covers = site->offset >= here && (site->record_verdict != FORMAT_OK || site->offset < next);
        if (covers && site->offset < site->batch.offset + site->batch.head.used_bytes) {
            site->in_record = true;
            site->ordinal = i;
            site->record_offset = here;
        }
        if (covers || site->record_verdict != FORMAT_OK) {
            return;
        }
    }
}

static void find_site(struct site *site)
{
    uint64_t seal_offset = site->file->size > site->block_bytes ? site->file->size - site->block_bytes : 0;
    site->cover = COVER_NOTHING;
    if (site->offset < site->block_bytes) {
        site->cover = COVER_IDENTITY;
        return;
    }
    if (site->offset >= seal_offset) {
        site->cover = COVER_SEAL;
        return;
    }
    struct batch_look look;
    uint64_t offset = site->block_bytes;
    while (batch_next(site->file, site->block_bytes, &offset, site->offset + 1, &look)) {
        if (look.offset + look.padded_bytes > site->offset) {
            site->cover = COVER_BATCH; /* A later head, inside of a torn batch, is nearer: go on. */
            site->batch = look;
        }
        offset = batch_behind(&look, site->block_bytes);
    }
    if (site->cover == COVER_BATCH) {
        find_record(site);
    }
}

/* --- fields -------------------------------------------------------------------------------------- */

static const struct emit_column field_columns[] = {{"place", -14}, {"structure", -9}, {"field", -19},
                                                   {"bytes", -23}, {"value", -20},    {"about", 0}};

static void value_text(const uint8_t *structure, const struct field *field, char text[64])
{
    uint64_t value = field_value(structure, field);
    switch (field->look) {
    case FIELD_NUMBER:
        (void)snprintf(text, 64, "%" PRIu64, value);
        break;
    case FIELD_HEX:
    case FIELD_FLAGS:
        (void)snprintf(text, 64, "0x%" PRIx64, value);
        break;
    case FIELD_KIND:
        (void)snprintf(text, 64, "%" PRIu64 " %s", value, batch_kind_text((uint8_t)value));
        break;
    case FIELD_TEXT:
        for (unsigned i = 0; i <= field->size; i++) {
            uint8_t byte = i < field->size ? structure[field->offset + i] : 0;
            text[i] = i == field->size ? '\0' : byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
        }
        break;
    case FIELD_BYTES:
        text[0] = '\0';
        break;
    }
}

static void show_field(struct settings *settings, const struct site *site, uint64_t base_offset,
                       const struct structure *structure, const struct field *field, const uint8_t *bytes)
{
    struct emit *emit = &settings->emit;
    char hex[64] = "";
    char value[64];
    unsigned shown = field->size < 16 ? field->size : 16;
    for (unsigned i = 0; i < shown; i++) {
        (void)sprintf(hex + 2 * (size_t)i, "%02x", bytes[field->offset + i]);
    }
    if (shown < field->size) {
        bool zero = true;
        for (unsigned i = 0; i < field->size; i++) {
            zero = zero && bytes[field->offset + i] == 0;
        }
        (void)snprintf(hex, sizeof(hex), zero ? "%u zeros" : "%u bytes", field->size);
    }
    value_text(bytes, field, value);
    emit_row(emit);
    emit_place(emit, site->file->number, base_offset + field->offset);
    emit_text(emit, "structure", structure->name);
    emit_text(emit, "field", field->name);
    emit_text(emit, "bytes", hex);
    emit_text(emit, "value", value);
    emit_text(emit, "about", field->about);
    emit_u64(emit, "size", field->size);
    emit_end(emit);
}

static void show_structure(struct settings *settings, const struct site *site, uint64_t base_offset,
                           enum structure_id id)
{
    const struct structure *structure = &structures[id];
    for (unsigned i = 0; i < structure->count; i++) {
        const struct field *field = &structure->fields[i];
        uint64_t bytes_wanted = (uint64_t)field->offset + field->size;
        const uint8_t *bytes = segment_at(site->file, base_offset, bytes_wanted);
        if (bytes != NULL) {
            show_field(settings, site, base_offset, structure, field, bytes);
        }
    }
}

/* Bytes that are no field: metadata, a payload, padding, or what nobody recognises. */
static void show_bytes(struct settings *settings, const struct site *site, uint64_t offset, uint64_t size,
                       const char *name, bool secret)
{
    struct emit *emit = &settings->emit;
    const uint8_t *bytes = segment_at(site->file, offset, size);
    uint64_t step = 16;
    if (bytes == NULL || size == 0) {
        return;
    }
    bool hidden = secret && (settings->payload == PAYLOAD_LEN || settings->payload == PAYLOAD_NONE);
    for (uint64_t at = 0; at < size; at += step) {
        char hex[64] = "";
        char text[32] = "";
        uint64_t count = size - at < step ? size - at : step;
        for (uint64_t i = 0; i < count && !hidden; i++) {
            uint8_t byte = bytes[at + i];
            (void)sprintf(hex + 2 * i, "%02x", byte);
            text[i] = byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
            text[i + 1] = '\0';
        }
        if (hidden) {
            (void)snprintf(hex, sizeof(hex), "%" PRIu64 " bytes", size);
            (void)snprintf(text, sizeof(text), "xxh3 %016" PRIx64, payload_digest(bytes, size));
        }
        emit_row(emit);
        emit_place(emit, site->file->number, offset + at);
        emit_text(emit, "structure", site->cover == COVER_BATCH ? "batch" : "");
        emit_text(emit, "field", name);
        emit_text(emit, "bytes", hex);
        emit_text(emit, "value", text);
        emit_text(emit, "about", hidden && at == 0 ? "--payload=hex shows them" : "");
        emit_u64(emit, "size", hidden ? size : count);
        emit_end(emit);
        if (hidden) {
            return;
        }
    }
}

static void show_batch_fields(struct settings *settings, const struct site *site)
{
    const struct format_head *head = &site->batch.head;
    uint64_t base_offset = site->batch.offset;
    show_structure(settings, site, base_offset, STRUCTURE_HEAD);
    if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE) {
        show_structure(settings, site, base_offset, STRUCTURE_TAGS);
    } else if (head->kind == BATCH_START) {
        show_structure(settings, site, base_offset, STRUCTURE_START);
    } else if (head->kind == BATCH_ANCHOR) {
        show_structure(settings, site, base_offset, STRUCTURE_ANCHOR);
    }
    uint64_t control_end = HEADER_BYTES + format_control_bytes((enum batch_kind)head->kind);
    show_bytes(settings, site, base_offset + control_end, head->head_bytes - control_end, "metadata", true);
    if (site->in_record) {
        show_structure(settings, site, site->record_offset, STRUCTURE_RECORD);
        if (site->record_verdict == FORMAT_OK) {
            show_bytes(settings, site, site->record_offset + RECORD_HEADER_BYTES, site->record.length, "payload", true);
        }
    }
}

/* --- finding the site ---------------------------------------------------------------------------- */

/* Turns an index into a place, as the library sees it. */
static int place_of_index(struct settings *settings)
{
    struct view_log view;
    struct wal_cursor *cursor = NULL;
    struct wal_record record;
    struct wal_place place = {0, 0};
    uint64_t index = number_of(settings->second, settings->command);
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE || view.log == NULL) {
        view_tell(&view);
        return code;
    }
    int status = index == 0 ? WAL_ECOMPACTED : wal_cursor_open(view.log, index, &cursor);
    status = status == 0 ? wal_cursor_next(cursor, &record) : status;
    status = status == 0 ? wal_cursor_place(cursor, &place) : status;
    if (status != 0) {
        char text[512] = "";
        (void)wal_errmsg(view.log, text, sizeof(text));
        complain("index %" PRIu64 ": %s%s%s", index, wal_strerror(status), text[0] != '\0' ? ": " : "", text);
    }
    settings->place_segment = place.segment;
    settings->place_offset = place.offset;
    wal_cursor_close(cursor);
    view_close(&view);
    return exit_code_of(status);
}

static int open_site(const struct settings *settings, struct segments *segments, struct site *site)
{
    int code = segments_open(segments, settings->path);
    if (code != 0) {
        return code;
    }
    site->file = segments_find(segments, settings->place_segment);
    site->block_bytes = segments->block_bytes;
    site->offset = settings->place_offset;
    if (site->file == NULL) {
        complain("%s: there is no segment %" PRIu64, settings->path, settings->place_segment);
        return EXIT_NEGATIVE;
    }
    if (site->offset >= site->file->bytes) {
        complain("segment %" PRIu64 " has %" PRIu64 " bytes: offset 0x%" PRIx64 " lies behind its end",
                 site->file->number, site->file->bytes, site->offset);
        return EXIT_NEGATIVE;
    }
    find_site(site);
    return 0;
}

int command_hex(struct settings *settings)
{
    struct segments segments = {.directory_fd = -1};
    struct site site = {0};
    if ((settings->second != NULL) == (settings->place_segment != 0)) {
        complain("hex wants an INDEX or --offset SEG:OFF, one of them");
        return EXIT_USAGE;
    }
    if (settings->payload == PAYLOAD_TEXT || settings->payload == PAYLOAD_BASE64) {
        complain("hex --payload wants len, hex or none: hex shows the bytes, and beside them their characters");
        return EXIT_USAGE;
    }
    int code = settings->second != NULL ? place_of_index(settings) : EXIT_READABLE;
    code = code == 0 ? open_site(settings, &segments, &site) : code;
    if (code == 0) {
        emit_begin(&settings->emit, "waldump.field/1", field_columns, 6);
        if (site.cover == COVER_IDENTITY) {
            show_structure(settings, &site, 0, STRUCTURE_IDENTITY);
        } else if (site.cover == COVER_SEAL) {
            show_structure(settings, &site, site.file->size - site.block_bytes, STRUCTURE_SEAL);
        } else if (site.cover == COVER_BATCH) {
            show_batch_fields(settings, &site);
        } else {
            uint64_t base_offset = site.offset - site.offset % site.block_bytes;
            complain("no batch covers this place: the block's first bytes, read as a head, are not to be believed");
            show_structure(settings, &site, base_offset, STRUCTURE_HEAD);
        }
    }
    segments_close(&segments);
    return code;
}

/* --- explain ------------------------------------------------------------------------------------- */

/* What a row of the recovery table says, FORMAT.md section 7. c: the number expected where the walk stopped; E: the
 * highest mark behind it. */
static const char *const row_rules[] = {
    "no row was reached",
    "Y1: no log, another log's, or a newer format: no verdict",
    "Y2: no segment has an opening anchor that reads: corrupt",
    "Y3: a segment between the start and the newest is missing, or is another one: corrupt",
    "Y4: a segment does not end as the anchor behind it says: corrupt",
    "Y5: the newest segment is sealed, and the next one is missing: corrupt",
    "Y6: a mark E >= c: batches c to E were durable and do not read: corrupt",
    "Y7: the caller knows a durable index above the last: corrupt",
    "Y8: a header of this run is right in itself and wrong in its place: corrupt",
    "Y9: a read error, or proof that something written was damaged: uncertain",
    "Y10: all content is covered by a mark, and nothing of this run stands behind: clean",
    "Y11: anything else: torn, as a crash leaves it",
};

struct story {
    char what[400];     /* What stands here. */
    char checks[400];   /* Is it right in itself and in its place? */
    char counts[400];   /* Does it count, and why. */
    char row[700];      /* The row that holds for the log, and why. */
    char recovery[400]; /* What recovery would do. */
};

static void tell_what(const struct site *site, struct story *story)
{
    const struct batch_look *batch = &site->batch;
    uint64_t number = site->file->number;
    switch (site->cover) {
    case COVER_IDENTITY:
        (void)snprintf(story->what, sizeof(story->what), "the identity of segment %" PRIu64 " (block 0)", number);
        (void)snprintf(story->checks, sizeof(story->checks), "%s", format_verdict_text(site->file->identity_verdict));
        break;
    case COVER_SEAL:
        (void)snprintf(story->what, sizeof(story->what), "the seal of segment %" PRIu64 " (last block)", number);
        (void)snprintf(story->checks, sizeof(story->checks), "%s",
                       site->file->seal_verdict == FORMAT_ZERO ? "not written: the segment is not sealed"
                                                               : format_verdict_text(site->file->seal_verdict));
        break;
    case COVER_BATCH:
        (void)snprintf(
            story->what, sizeof(story->what),
            "batch %" PRIu64 " (%s, %" PRIu32 " records, index %" PRIu64 " on) from 0x%" PRIx64 " to 0x%" PRIx64 "%s",
            batch->head.number, batch_kind_text(batch->head.kind), batch->head.record_count, batch->head.first_index,
            batch->offset, batch->offset + batch->padded_bytes,
            site->in_record                                         ? ""
            : site->offset < batch->offset + batch->head.head_bytes ? ", in its head"
                                                                    : ", in its padding, which nobody checks");
        break;
    case COVER_NOTHING:
        (void)snprintf(story->what, sizeof(story->what), "no batch whose head reads");
        break;
    }
    if (site->in_record) {
        size_t used = strlen(story->what);
        (void)snprintf(story->what + used, sizeof(story->what) - used,
                       "; in record %" PRIu32 " of it, index %" PRIu64 ", at 0x%" PRIx64, site->ordinal,
                       batch->head.first_index + site->ordinal, site->record_offset);
    }
}

static void tell_checks(const struct site *site, struct story *story)
{
    const struct batch_look *batch = &site->batch;
    char *text = story->checks;
    size_t size = sizeof(story->checks);
    if (site->cover == COVER_NOTHING) {
        const uint8_t *sector =
            segment_at(site->file, site->offset - site->offset % site->block_bytes, FORMAT_SECTOR_BYTES);
        struct format_head head;
        (void)snprintf(text, size, "the block's first 512 bytes, as a head: %s",
                       sector == NULL ? "behind the end"
                                      : format_verdict_text(format_head_decode(sector, FORMAT_SECTOR_BYTES, &head)));
    } else if (site->cover == COVER_BATCH && batch->cut_short) {
        (void)snprintf(text, size, "its head is right, but it says %" PRIu32 " bytes, more than the file has",
                       batch->head.used_bytes);
    } else if (site->cover == COVER_BATCH && batch->good_records != batch->head.record_count) {
        (void)snprintf(text, size,
                       "its head is right; record %" PRIu32 ", index %" PRIu64 ", at 0x%" PRIx64
                       " does not verify: %s (expected %" PRIu32 " good records, found %" PRIu32 ")",
                       batch->good_records, batch->head.first_index + batch->good_records, batch->bad_offset,
                       format_verdict_text(batch->record_verdict), batch->head.record_count, batch->good_records);
    } else if (site->cover == COVER_BATCH) {
        (void)snprintf(text, size, "head and all records verify%s",
                       batch->own ? "" : "; but it was written for another segment or place: the file's earlier life");
    }
}

/* Is the place on its segment's chain? */
static void tell_counts(struct segments *segments, const struct site *site, uint64_t start, struct story *story)
{
    char *text = story->counts;
    size_t size = sizeof(story->counts);
    struct segment_file *file = site->file;
    const struct segment_file *newest = segments_newest_begun(segments);
    uint64_t known_end = chain_known_end(segments, file);
    if (!segments->single && file->number < start) {
        (void)snprintf(text, size, "no: the log starts in segment %" PRIu64 "; this one is retired", start);
        return;
    }
    if (file->anchor_verdict != FORMAT_OK) {
        bool ready = newest == NULL || file->number > newest->number;
        (void)snprintf(text, size, "no: the segment %s",
                       ready ? "was prepared and not begun" : "has no opening anchor that reads");
        return;
    }
    struct chain chain;
    chain_begin(&chain, file, segments->block_bytes);
    struct batch_look look;
    while (chain.offset <= site->offset && chain_step(&chain, file, segments->block_bytes, &look)) {
    }
    char ending[CHAIN_STORY_BYTES];
    struct behind behind;
    chain_story(&chain, ending);
    chain_look_behind(file, segments->block_bytes, chain.offset, chain.salt, &behind);
    if (site->cover == COVER_SEAL && file->seal_verdict == FORMAT_ZERO && file == newest) {
        (void)snprintf(text, size, "the log goes on in this segment: nothing has been sealed yet");
    } else if (site->cover != COVER_BATCH && site->cover != COVER_NOTHING) {
        (void)snprintf(text, size, "it is a copy: the opening anchors say the same, and the log reads without it");
    } else if (chain.offset > site->offset) {
        (void)snprintf(text, size, "yes: it is on the chain, the batches before it fit one behind the other%s",
                       site->offset >= known_end && known_end != 0 ? "; but its successor says that it ended before"
                                                                   : "");
    } else if (known_end != 0 && site->offset < known_end) {
        (void)snprintf(text, size,
                       "it was durable: the segment is known to end at 0x%" PRIx64 ", but the chain stops at 0x%" PRIx64
                       ": %s",
                       known_end, chain.offset, ending);
    } else if (behind.highest_mark >= chain.number) {
        (void)snprintf(text, size,
                       "it may have: the chain stops at 0x%" PRIx64 ": %s; but the mark at 0x%" PRIx64
                       " says that batch %" PRIu64 " was durable",
                       chain.offset, ending, behind.mark_offset, behind.highest_mark);
    } else {
        (void)snprintf(text, size, "no: the chain ends at 0x%" PRIx64 ": %s", chain.offset, ending);
    }
}

static void tell_row(const struct view_log *view, struct story *story)
{
    const struct wal_verdict *verdict = &view->verdict;
    int row = verdict->row >= 0 && verdict->row <= 11 ? verdict->row : 0;
    (void)snprintf(story->row, sizeof(story->row),
                   "%s. Here c = %" PRIu64 " at %" PRIu64 ":0x%" PRIx64 ", E = %" PRIu64 ". %s", row_rules[row],
                   verdict->batch, verdict->segment, verdict->offset, verdict->mark, verdict->text);
    switch (verdict->kind) {
    case WAL_VERDICT_CLEAN:
        (void)snprintf(story->recovery, sizeof(story->recovery), "keep records %" PRIu64 " to %" PRIu64 ", all of them",
                       verdict->first_index, verdict->last_index);
        break;
    case WAL_VERDICT_TORN:
        (void)snprintf(story->recovery, sizeof(story->recovery),
                       "keep records %" PRIu64 " to %" PRIu64 " and cut behind; at most the last %" PRIu32
                       " commits can have been acknowledged and lost",
                       verdict->first_index, verdict->last_index, verdict->concerned_batches);
        break;
    case WAL_VERDICT_UNCERTAIN:
    case WAL_VERDICT_CORRUPT:
        (void)snprintf(story->recovery, sizeof(story->recovery),
                       "refuse to write until the loss is accepted; then it would cut before index %" PRIu64,
                       verdict->index);
        break;
    case WAL_VERDICT_NONE:
        (void)snprintf(story->recovery, sizeof(story->recovery), "nothing: %s", wal_strerror(view->status));
        break;
    }
}

static void show_story(struct settings *settings, const struct site *site, const struct story *story, int row)
{
    struct emit *emit = &settings->emit;
    if (emit->format == EMIT_TEXT) {
        (void)printf("%" PRIu64 ":0x%" PRIx64 "\n  here      %s\n  checks    %s\n", site->file->number, site->offset,
                     story->what, story->checks);
        (void)printf("  counts    %s\n", story->counts);
        if (story->row[0] != '\0') {
            (void)printf("  the log   %s\n  recovery  would %s\n", story->row, story->recovery);
        }
        return;
    }
    static const struct emit_column columns[] = {{"place", 0}, {"here", 0}, {"checks", 0},  {"counts", 0},
                                                 {"row", 0},   {"log", 0},  {"recovery", 0}};
    emit_begin(emit, "waldump.explain/1", columns, 7);
    emit_row(emit);
    emit_place(emit, site->file->number, site->offset);
    emit_text(emit, "here", story->what);
    emit_text(emit, "checks", story->checks);
    emit_text(emit, "counts", story->counts);
    emit_u64(emit, "row", (uint64_t)row);
    emit_text(emit, "log", story->row);
    emit_text(emit, "recovery", story->recovery);
    emit_end(emit);
}

int command_explain(struct settings *settings)
{
    struct segments segments = {.directory_fd = -1};
    struct site site = {0};
    struct story story = {0};
    struct view_log view = {0};
    if (settings->place_segment == 0) {
        complain("explain wants --offset SEG:OFF, a place as the other commands print it");
        return EXIT_USAGE;
    }
    int code = open_site(settings, &segments, &site);
    uint64_t start = 0;
    if (code == 0 && !segments.single) {
        code = view_open(&view, settings->path);
        code = code == EXIT_NEGATIVE ? EXIT_READABLE : code;
        start = chain_start_segment(&segments);
        tell_row(&view, &story);
    }
    if (code == 0) {
        tell_what(&site, &story);
        tell_checks(&site, &story);
        tell_counts(&segments, &site, start, &story);
        show_story(settings, &site, &story, view.verdict.row);
    }
    view_close(&view);
    segments_close(&segments);
    return code;
}

/* --- format -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t value;
    const char *about;
} constants[] = {
    {"major", FORMAT_MAJOR, "format version"},
    {"minor", FORMAT_MINOR, "format version"},
    {"sector_bytes", FORMAT_SECTOR_BYTES, "what a device writes whole, or not at all"},
    {"block_bytes_min", FORMAT_BLOCK_BYTES_MIN, "a power of two"},
    {"block_bytes_max", FORMAT_BLOCK_BYTES_MAX, ""},
    {"head_bytes_max", FORMAT_HEAD_BYTES_MAX, "a head never crosses its first sector"},
    {"metadata_bytes_max", FORMAT_METADATA_BYTES_MAX, ""},
    {"no_metadata", FORMAT_NO_METADATA, "metadata_bytes of a batch that carries none"},
    {"segment_blocks_min", FORMAT_SEGMENT_BLOCKS_MIN, ""},
    {"segment_bytes_max", FORMAT_SEGMENT_BYTES_MAX, "exclusive"},
    {"header_bytes", HEADER_BYTES, "of a batch, before its control body"},
    {"data_control_bytes", DATA_CONTROL_BYTES, "of data and truncate"},
    {"start_control_bytes", START_CONTROL_BYTES, ""},
    {"anchor_control_bytes", ANCHOR_CONTROL_BYTES, ""},
    {"record_header_bytes", RECORD_HEADER_BYTES, ""},
    {"record_align", RECORD_ALIGN, "each record takes a multiple of it"},
    {"kind_data", BATCH_DATA, ""},
    {"kind_truncate", BATCH_TRUNCATE, ""},
    {"kind_mark", BATCH_MARK, ""},
    {"kind_close", BATCH_CLOSE, ""},
    {"kind_start", BATCH_START, ""},
    {"kind_anchor", BATCH_ANCHOR, ""},
    {"flag_forced", BATCH_FORCED, "of an anchor: a loss was accepted"},
    {"flag_zeroed", BATCH_ZEROED, "of a reopening anchor: the file was zero behind it"},
    {"flag_clears_doubt", BATCH_CLEARS_DOUBT, "of data and truncate"},
};

/* CSV has one heading: both kinds of rows have all of its columns. */
static void show_format_csv(struct emit *emit)
{
    static const struct emit_column columns[] = {{"constant", 0}, {"value", 0}, {"structure", 0}, {"offset", 0},
                                                 {"size", 0},     {"field", 0}, {"about", 0}};
    emit_begin(emit, "waldump.format/1", columns, 7);
    for (unsigned i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        emit_row(emit);
        emit_text(emit, "constant", constants[i].name);
        emit_u64(emit, "value", constants[i].value);
        emit_none(emit, "structure");
        emit_none(emit, "offset");
        emit_none(emit, "size");
        emit_none(emit, "field");
        emit_text(emit, "about", constants[i].about);
        emit_end(emit);
    }
    for (unsigned id = 0; id < STRUCTURES; id++) {
        for (unsigned i = 0; i < structures[id].count; i++) {
            const struct field *field = &structures[id].fields[i];
            emit_row(emit);
            emit_none(emit, "constant");
            emit_none(emit, "value");
            emit_text(emit, "structure", structures[id].name);
            emit_u64(emit, "offset", field->offset);
            emit_u64(emit, "size", field->size);
            emit_text(emit, "field", field->name);
            emit_text(emit, "about", field->about);
            emit_end(emit);
        }
    }
}

int command_format(struct settings *settings)
{
    static const struct emit_column constant_columns[] = {{"constant", -20}, {"value", 12}, {"about", 0}};
    static const struct emit_column columns[] = {
        {"structure", -9}, {"offset", 6}, {"size", 5}, {"field", -19}, {"about", 0}};
    struct emit *emit = &settings->emit;
    if (emit->format == EMIT_CSV) {
        show_format_csv(emit);
        return EXIT_READABLE;
    }
    emit_begin(emit, "waldump.constant/1", constant_columns, 3);
    for (unsigned i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        emit_row(emit);
        emit_text(emit, "constant", constants[i].name);
        emit_u64(emit, "value", constants[i].value);
        emit_text(emit, "about", constants[i].about);
        emit_end(emit);
    }
    for (unsigned id = 0; id < STRUCTURES; id++) {
        const struct structure *structure = &structures[id];
        if (emit->format == EMIT_TEXT) {
            (void)printf("\n%s: %s\n", structure->name, structure->place);
        }
        if (id == 0 || emit->format == EMIT_TEXT) {
            emit_begin(emit, "waldump.format/1", columns, 5);
        }
        for (unsigned i = 0; i < structure->count; i++) {
            const struct field *field = &structure->fields[i];
            emit_row(emit);
            emit_text(emit, "structure", structure->name);
            emit_u64(emit, "offset", field->offset);
            emit_u64(emit, "size", field->size);
            emit_text(emit, "field", field->name);
            emit_text(emit, "about", field->about);
            emit_end(emit);
        }
    }
    return EXIT_READABLE;
}
