/* diff.c - the first divergence of two logs, as of two replicas.
 *
 * The happy path: both are opened read only; of the indexes that both hold, records are compared one by one, type, tag
 * and bytes, until one differs.
 *
 * What can fail: damage in either: exit code 1, with the place. One log's being shorter, or starting later, is no
 * divergence: it is told, and is exit code 1 with --strict only.
 *
 * Invariants: nothing is concluded of indexes that only one of them holds. */

#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct side {
    const char *name;
    struct view_log view;
    struct wal_cursor *cursor;
    uint64_t first;
    uint64_t last;
    struct wal_record record;
    struct wal_place place;
    int status; /* Of the record at hand. */
};

static int open_side(struct side *side, const char *path)
{
    side->name = path;
    int code = view_open(&side->view, path);
    if (code != 0) {
        view_tell(&side->view);
    }
    if (side->view.log == NULL) {
        return code;
    }
    side->first = wal_first_index(side->view.log);
    side->last = wal_durable_index(side->view.log);
    int status = wal_cursor_open(side->view.log, side->first, &side->cursor);
    int told = view_status(&side->view, status);
    return told > code ? told : code;
}

static void close_side(struct side *side)
{
    wal_cursor_close(side->cursor);
    view_close(&side->view);
}

static void step(struct side *side, uint64_t index)
{
    wal_cursor_seek(side->cursor, index);
    side->status = wal_cursor_next(side->cursor, &side->record);
    if (side->status == 0) {
        side->status = wal_cursor_place(side->cursor, &side->place);
    }
}

/* What differs in the records at hand; NULL: nothing. */
static const char *difference(const struct side *a, const struct side *b)
{
    if (a->status != 0 || b->status != 0) {
        return "it does not read";
    }
    if (a->record.tag != b->record.tag) {
        return "tag";
    }
    if (a->record.type != b->record.type) {
        return "type";
    }
    if (a->record.size != b->record.size) {
        return "size";
    }
    bool same = a->record.size == 0 || memcmp(a->record.data, b->record.data, a->record.size) == 0;
    return same ? NULL : "payload";
}

static void tell_record(const struct side *side, uint64_t index)
{
    char buffer[24];
    if (side->status != 0) {
        char text[512] = "";
        (void)wal_errmsg(side->view.log, text, sizeof(text));
        (void)printf("  %s: index %" PRIu64 ": %s\n", shown(side->name), index, text);
        return;
    }
    (void)printf("  %s: index %" PRIu64 " at %" PRIu64 ":0x%" PRIx64 ", tag %" PRIu64 ", type %s, %" PRIu32
                 " bytes, xxh3 %016" PRIx64 "\n",
                 shown(side->name), index, side->place.segment, side->place.offset, side->record.tag,
                 type_text(side->record.type, side->view.is_raft, buffer), side->record.size,
                 payload_digest(side->record.data, side->record.size));
}

static void tell_range(const struct side *side)
{
    if (side->first > side->last) {
        (void)printf("%s: empty, the next index is %" PRIu64 "\n", shown(side->name), side->last + 1);
    } else {
        (void)printf("%s: records %" PRIu64 " to %" PRIu64 "\n", shown(side->name), side->first, side->last);
    }
}

/* What is compared: the indexes that both hold, as far as --from and --to leave them. */
struct range {
    uint64_t first, last;           /* Empty when first > last. */
    uint64_t both_first, both_last; /* Without the options. */
    bool limited;                   /* They leave less. */
};

static struct range range_of(const struct settings *settings, const struct side *a, const struct side *b)
{
    struct range range;
    range.both_first = a->first > b->first ? a->first : b->first;
    range.both_last = a->last < b->last ? a->last : b->last;
    range.first = settings->from > range.both_first ? settings->from : range.both_first;
    range.last = settings->to < range.both_last ? settings->to : range.both_last;
    range.limited =
        range.both_first <= range.both_last && (range.first != range.both_first || range.last != range.both_last);
    return range;
}

/* Nothing differs in what was compared: what does that say? */
static void show_same(const struct side *a, const struct side *b, const struct range *range)
{
    if (range->both_first > range->both_last) {
        bool empty = a->first > a->last && b->first > b->last;
        (void)printf("%s\n", empty ? "both are empty" : "no index is in both");
    } else if (range->first > range->last) {
        (void)printf("nothing was compared: of %" PRIu64 " to %" PRIu64
                     ", which are in both, --from and --to leave none\n",
                     range->both_first, range->both_last);
    } else if (range->limited) {
        (void)printf("no difference there; of %" PRIu64 " to %" PRIu64 ", which are in both, no others were compared\n",
                     range->both_first, range->both_last);
    } else if (a->last != b->last) {
        const struct side *longer = a->last > b->last ? a : b;
        uint64_t more = a->last > b->last ? a->last - b->last : b->last - a->last;
        (void)printf("%s has %" PRIu64 " more; no difference in what both hold\n", shown(longer->name), more);
    } else {
        (void)printf("no difference\n");
    }
}

/* index: where they differ, with what != NULL; else how far they were compared. */
static void show_result(struct settings *settings, const struct side *a, const struct side *b,
                        const struct range *range, uint64_t index, const char *what)
{
    uint64_t first = range->first;
    uint64_t last = range->last;
    struct emit *emit = &settings->emit;
    if (settings->quiet) {
        return;
    }
    if (emit->format != EMIT_TEXT) {
        static const struct emit_column columns[] = {{"outcome", 9}, {"first", 10},   {"last", 10},
                                                     {"index", 10},  {"what", 10},    {"a_first", 10},
                                                     {"a_last", 10}, {"b_first", 10}, {"b_last", 10}};
        emit_begin(emit, "waldump.diff/1", columns, 9);
        emit_row(emit);
        emit_text(emit, "outcome",
                  what != NULL                           ? "differ"
                  : range->both_first > range->both_last ? "disjoint"
                  : first > last                         ? "nothing"
                                                         : "same");
        emit_u64(emit, "first", first);
        emit_u64(emit, "last", last);
        what != NULL ? emit_u64(emit, "index", index) : emit_none(emit, "index");
        what != NULL ? emit_text(emit, "what", what) : emit_none(emit, "what");
        emit_u64(emit, "a_first", a->first);
        emit_u64(emit, "a_last", a->last);
        emit_u64(emit, "b_first", b->first);
        emit_u64(emit, "b_last", b->last);
        emit_bool(emit, "partial", interrupted());
        emit_end(emit);
        return;
    }
    tell_range(a);
    tell_range(b);
    if (index > first && first <= last) {
        (void)printf("same: %" PRIu64 " to %" PRIu64 "\n", first, index - 1);
    }
    if (what != NULL) {
        (void)printf("first difference: index %" PRIu64 ": %s\n", index, what);
        tell_record(a, index);
        tell_record(b, index);
    } else if (index <= last && first <= last) {
        (void)printf("interrupted: nothing is known from %" PRIu64 " on\n", index);
    } else {
        show_same(a, b, range);
    }
}

static int compare(struct settings *settings, struct side *a, struct side *b)
{
    const struct range range = range_of(settings, a, b);
    const uint64_t first = range.first;
    const uint64_t last = range.last;
    const char *what = NULL;
    uint64_t index = first;
    for (; index <= last && !interrupted(); index++) {
        step(a, index);
        step(b, index);
        if (a->status == WAL_ECOMPACTED || b->status == WAL_ECOMPACTED) {
            complain("%s: its writer removed index %" PRIu64 " while it was compared: compare again",
                     a->status == WAL_ECOMPACTED ? a->name : b->name, index);
            return EXIT_DISK;
        }
        what = difference(a, b);
        if (what != NULL) {
            break;
        }
        if ((index & 4095) == 0) {
            progress_count(a->name, index - first, last - first + 1, "records");
        }
    }
    progress_end();
    show_result(settings, a, b, &range, index, what);
    if (a->status == WAL_EIO || b->status == WAL_EIO) {
        const struct side *side = a->status == WAL_EIO ? a : b;
        (void)view_status(&side->view, WAL_EIO);
        return EXIT_DISK;
    }
    if (range.limited && first > last) {
        complain("no such index in both: nothing was compared");
        return EXIT_NEGATIVE;
    }
    bool uneven = a->last != b->last || a->first != b->first;
    return what != NULL || (settings->strict && uneven) ? EXIT_NEGATIVE : EXIT_READABLE;
}

int command_diff(struct settings *settings)
{
    struct side a = {0};
    struct side b = {0};
    int code = open_side(&a, settings->path);
    int second = code > EXIT_NEGATIVE ? code : open_side(&b, settings->second);
    code = second > code ? second : code;
    if (code <= EXIT_NEGATIVE && a.cursor != NULL && b.cursor != NULL) {
        int found = compare(settings, &a, &b);
        code = found > code ? found : code;
    }
    close_side(&a);
    close_side(&b);
    return code;
}
