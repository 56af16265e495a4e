/* json_write.c - a writer of JSON text.
 *
 * The happy path: every put first makes the place for its value (a comma, a new line, its indent) and then writes it. A
 * stack of fixed depth knows what is open.
 *
 * What can fail: a write. The writer goes on, and json_write_end tells it. Misuse is the caller's bug: CHECK.
 *
 * Invariants: what comes out is one JSON value in valid UTF-8, whatever bytes come in; a number reads back as the same.
 *
 * May include: json.h. */

#include "bench/json.h"

#include "wal/check.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_COLUMNS = 100, NUMBER_BYTES = 40 };

unsigned json_utf8_sequence(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    unsigned length = byte[0] < 0x80 ? 1 : byte[0] < 0xc2 ? 0 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
    if (length <= 1 || byte[0] > 0xf4)
        return length <= 1 ? length : 0;
    /* Neither longer than need be, nor a surrogate, nor above U+10FFFF. */
    unsigned low = byte[0] == 0xe0 ? 0xa0 : byte[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = byte[0] == 0xed ? 0x9f : byte[0] == 0xf4 ? 0x8f : 0xbf;
    if (byte[1] < low || byte[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

static void put(struct json_writer *writer, const char *text)
{
    fputs(text, writer->to);
    writer->column += (unsigned)strlen(text);
}

static void new_line(struct json_writer *writer)
{
    fputc('\n', writer->to);
    writer->column = 0;
    for (unsigned i = 0; i < writer->depth; i++)
        put(writer, "  ");
}

static struct json_level *innermost(struct json_writer *writer)
{
    return writer->depth == 0 ? NULL : &writer->levels[writer->depth - 1];
}

/* Makes the place for a value; `length`: of one that may share a line with others in an array, else 0. */
static void place_value(struct json_writer *writer, size_t length)
{
    struct json_level *level = innermost(writer);
    CHECK(!writer->done);
    if (level == NULL) {
        writer->done = true;
        return;
    }
    if (level->object) {
        CHECK(writer->named);
        writer->named = false;
        return;
    }
    if (length == 0)
        level->spread = true;
    if (level->filled)
        put(writer, ",");
    /* Behind it come a bracket and a comma. */
    if (level->spread || writer->column + length + 3 > LINE_COLUMNS)
        new_line(writer);
    else if (level->filled)
        put(writer, " ");
    level->filled = true;
}

static void put_short(struct json_writer *writer, const char *text)
{
    place_value(writer, strlen(text));
    put(writer, text);
}

static void put_quoted(struct json_writer *writer, const char *text)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    put(writer, "\"");
    while (*text != 0) {
        unsigned length = json_utf8_sequence(text);
        const char *found = strchr(meanings, *text);
        char piece[8] = "\xef\xbf\xbd"; /* U+FFFD. */
        if (found != NULL)
            snprintf(piece, sizeof(piece), "\\%c", letters[found - meanings]);
        else if ((unsigned char)*text < ' ')
            snprintf(piece, sizeof(piece), "\\u%04x", (unsigned)*text);
        else if (length > 0)
            snprintf(piece, sizeof(piece), "%.*s", (int)length, text);
        put(writer, piece);
        text += length > 0 ? length : 1;
    }
    put(writer, "\"");
}

static void open_level(struct json_writer *writer, bool object)
{
    place_value(writer, 0);
    CHECK(writer->depth < JSON_DEPTH_MAX);
    writer->levels[writer->depth++] = (struct json_level){.object = object};
    writer->done = false;
    put(writer, object ? "{" : "[");
}

static void close_level(struct json_writer *writer, bool object)
{
    CHECK(writer->depth > 0);
    const struct json_level *level = innermost(writer);
    CHECK(level->object == object);
    CHECK(!writer->named);
    bool own_line = level->filled && (object || level->spread);
    writer->depth--;
    if (own_line)
        new_line(writer);
    put(writer, object ? "}" : "]");
    writer->done = writer->depth == 0;
}

void json_write_begin(struct json_writer *writer, FILE *to)
{
    *writer = (struct json_writer){.to = to};
}

int json_write_end(struct json_writer *writer)
{
    CHECK(writer->done);
    errno = 0;
    fputc('\n', writer->to);
    int flushed = fflush(writer->to);
    if (flushed == 0 && !ferror(writer->to))
        return 0;
    return errno != 0 ? -errno : -EIO;
}

void json_open_object(struct json_writer *writer)
{
    open_level(writer, true);
}

void json_close_object(struct json_writer *writer)
{
    close_level(writer, true);
}

void json_open_array(struct json_writer *writer)
{
    open_level(writer, false);
}

void json_close_array(struct json_writer *writer)
{
    close_level(writer, false);
}

void json_put_name(struct json_writer *writer, const char *name)
{
    struct json_level *level = innermost(writer);
    CHECK(level != NULL && level->object);
    CHECK(!writer->named);
    if (level->filled)
        put(writer, ",");
    level->filled = true;
    new_line(writer);
    put_quoted(writer, name);
    put(writer, ": ");
    writer->named = true;
}

void json_put_u64(struct json_writer *writer, uint64_t value)
{
    char text[NUMBER_BYTES];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    put_short(writer, text);
}

void json_put_i64(struct json_writer *writer, int64_t value)
{
    char text[NUMBER_BYTES];
    snprintf(text, sizeof(text), "%" PRId64, value);
    put_short(writer, text);
}

void json_put_double(struct json_writer *writer, double value)
{
    char text[NUMBER_BYTES] = "null";
    if (isfinite(value)) {
        /* Whole numbers that a person still counts as such: without an exponent. */
        bool whole = fabs(value) < 1e15 && (double)(int64_t)value == value;
        snprintf(text, sizeof(text), "%.0f", value);
        for (int digits = 1; !whole && digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, value);
            whole = strtod(text, NULL) == value;
        }
    }
    put_short(writer, text);
}

void json_put_text(struct json_writer *writer, const char *text)
{
    if (text == NULL) {
        json_put_null(writer);
        return;
    }
    place_value(writer, 0);
    put_quoted(writer, text);
}

void json_put_bool(struct json_writer *writer, bool value)
{
    put_short(writer, value ? "true" : "false");
}

void json_put_null(struct json_writer *writer)
{
    put_short(writer, "null");
}
