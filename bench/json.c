/* json.c - a tree read from JSON text.
 *
 * The happy path: json_parse copies the text and goes over it once. Values are laid down in one array in the order in
 * which they begin, so the first child of a value is the value behind it, and each knows how far its next sibling is.
 * Texts are decoded in place, in the copy; numbers stay text until somebody asks, so that none loses a digit. There is
 * no recursion: the open arrays and objects are a stack of fixed depth.
 *
 * What can fail: the text is not JSON, exceeds a limit, or there is no memory: NULL and the place, nothing is kept.
 *
 * Invariants: a decoded text never takes more bytes than its source, so the copy has room for it and its NUL; the copy
 * ends in a NUL that no rule accepts, so no loop runs past it.
 *
 * May include: json.h. */

#include "bench/json.h"

#include "wal/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct json_value {
    const char *name; /* Of a member, else NULL. */
    const char *text; /* Of a text; of a number, its source, which ends where a number cannot go on. */
    uint32_t count;   /* Of an array or object. */
    uint32_t next;    /* Its distance to the sibling behind it in the array of values; 0: none. */
    uint8_t kind;
    bool truth;
    bool root;
};

struct document {
    char *text; /* The copy. */
    struct json_value values[];
};

struct reader {
    struct document *document;
    char *at;
    const char *end;
    uint32_t count, capacity;
    unsigned depth;
    struct {
        uint32_t container, last_child; /* Indexes of values; last_child counts once the container has one. */
    } open[JSON_DEPTH_MAX];
    const char *wrong; /* NULL: nothing so far. It is at `at`. */
};

static bool refuse(struct reader *reader, const char *wrong)
{
    reader->wrong = reader->at == reader->end ? "the text ends too early" : wrong;
    return false;
}

static void skip_blanks(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r')
        reader->at++;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* The four digits of \uXXXX, from `at`; -1 when they are not there. */
static int32_t hex_of(const char *at)
{
    int32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        char digit = at[i];
        int32_t worth = is_digit(digit)                ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
        if (worth < 0)
            return -1;
        value = value * 16 + worth;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
    } else if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (char)(0xe0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    } else {
        *to++ = (char)(0xf0 | point >> 18);
        *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    }
    return to;
}

/* At the digits of \u. Moves `to` on. */
static bool read_unicode(struct reader *reader, char **to)
{
    int32_t point = hex_of(reader->at);
    if (point < 0)
        return refuse(reader, "\\u needs four hexadecimal digits");
    if (point == 0)
        return refuse(reader, "\\u0000 is not taken here");
    reader->at += 4;
    if (point >= 0xd800 && point <= 0xdfff) {
        int32_t low = point <= 0xdbff && reader->at[0] == '\\' && reader->at[1] == 'u' ? hex_of(reader->at + 2) : -1;
        bool paired = low >= 0xdc00 && low <= 0xdfff;
        point = paired ? 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
        reader->at += paired ? 6 : 0;
    }
    *to = put_utf8(*to, (uint32_t)point);
    return true;
}

/* At the opening quote. Decodes in place; NULL when it is wrong. */
static const char *read_text(struct reader *reader)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *start = ++reader->at;
    char *to = reader->at;
    while (*reader->at != '"') {
        if ((unsigned char)*reader->at < ' ') {
            refuse(reader, "a control character inside a text");
            return NULL;
        }
        if (*reader->at != '\\') {
            unsigned length = json_utf8_sequence(reader->at);
            if (length == 0) {
                refuse(reader, "not UTF-8");
                return NULL;
            }
            memmove(to, reader->at, length);
            to += length;
            reader->at += length;
            continue;
        }
        char letter = *++reader->at;
        const char *found = letter == 0 ? NULL : strchr(letters, letter);
        if (found != NULL) {
            *to++ = meanings[found - letters];
            reader->at++;
        } else if (letter == 'u') {
            reader->at++;
            if (!read_unicode(reader, &to))
                return NULL;
        } else {
            refuse(reader, "no such escape");
            return NULL;
        }
    }
    reader->at++;
    *to = 0;
    return start;
}

static bool read_number(struct reader *reader)
{
    reader->at += *reader->at == '-';
    if (!is_digit(*reader->at))
        return refuse(reader, "expected a digit");
    bool zero = *reader->at == '0';
    do {
        reader->at++;
    } while (!zero && is_digit(*reader->at));
    if (*reader->at == '.') {
        reader->at++;
        if (!is_digit(*reader->at))
            return refuse(reader, "expected a digit behind the point");
        while (is_digit(*reader->at))
            reader->at++;
    }
    if (*reader->at == 'e' || *reader->at == 'E') {
        reader->at++;
        reader->at += *reader->at == '+' || *reader->at == '-';
        if (!is_digit(*reader->at))
            return refuse(reader, "expected a digit of the exponent");
        while (is_digit(*reader->at))
            reader->at++;
    }
    return true;
}

static bool read_word(struct reader *reader, const char *word)
{
    while (*word != 0) {
        if (*reader->at != *word++)
            return refuse(reader, "expected a value");
        reader->at++;
    }
    return true;
}

/* A new value behind the last one, as the last child of the innermost open container. */
static struct json_value *add_value(struct reader *reader)
{
    if (reader->count == reader->capacity) {
        uint32_t capacity = reader->capacity * 2;
        struct document *grown = NULL;
        if (capacity <= JSON_VALUES_MAX)
            grown = realloc(reader->document, sizeof(*grown) + capacity * sizeof(grown->values[0]));
        if (grown == NULL) {
            refuse(reader, capacity > JSON_VALUES_MAX ? "too many values" : "out of memory");
            return NULL;
        }
        reader->document = grown;
        reader->capacity = capacity;
    }
    uint32_t index = reader->count++;
    struct json_value *values = reader->document->values;
    values[index] = (struct json_value){.root = index == 0};
    if (reader->depth > 0) {
        uint32_t container = reader->open[reader->depth - 1].container;
        uint32_t *last_child = &reader->open[reader->depth - 1].last_child;
        if (values[container].count++ > 0)
            values[*last_child].next = index - *last_child;
        *last_child = index;
    }
    return &values[index];
}

static bool inside_object(const struct reader *reader)
{
    return reader->depth > 0 && reader->document->values[reader->open[reader->depth - 1].container].kind == JSON_OBJECT;
}

/* At the first byte of a value; an array or object is only opened. */
static bool read_value(struct reader *reader, const char *name)
{
    struct json_value *value = add_value(reader);
    if (value == NULL)
        return false;
    value->name = name;
    char first = *reader->at;
    if (first == '{' || first == '[') {
        if (reader->depth == JSON_DEPTH_MAX)
            return refuse(reader, "too many arrays and objects inside each other");
        value->kind = first == '{' ? JSON_OBJECT : JSON_ARRAY;
        reader->open[reader->depth++].container = (uint32_t)(value - reader->document->values);
        reader->at++;
        return true;
    }
    value->kind = first == '"' ? JSON_TEXT : first == '-' || is_digit(first) ? JSON_NUMBER : JSON_BOOL;
    value->text = reader->at;
    if (first == '"')
        return (value->text = read_text(reader)) != NULL;
    if (value->kind == JSON_NUMBER)
        return read_number(reader);
    value->kind = first == 'n' ? JSON_NULL : JSON_BOOL;
    value->truth = first == 't';
    return read_word(reader, first == 'n' ? "null" : first == 't' ? "true" : "false");
}

static bool read_member_name(struct reader *reader, const char **name)
{
    if (*reader->at != '"')
        return refuse(reader, "expected the name of a member");
    *name = read_text(reader);
    if (*name == NULL)
        return false;
    skip_blanks(reader);
    if (*reader->at != ':')
        return refuse(reader, "expected ':'");
    reader->at++;
    skip_blanks(reader);
    return true;
}

/* Behind a value, or behind an opening bracket: closes what is to be closed. False at the end, right or wrong; true
 * when a member or an element follows. */
static bool read_on(struct reader *reader, bool opened)
{
    for (skip_blanks(reader); reader->depth > 0; skip_blanks(reader)) {
        bool object = inside_object(reader);
        if (*reader->at == (object ? '}' : ']')) {
            reader->depth--;
        } else if (opened) {
            return true;
        } else if (*reader->at != ',') {
            return refuse(reader, object ? "expected ',' or '}'" : "expected ',' or ']'");
        }
        opened = false;
        if (*reader->at++ == ',') {
            skip_blanks(reader);
            return true;
        }
    }
    if (reader->at != reader->end)
        refuse(reader, "something follows the value");
    return false;
}

static bool read_all(struct reader *reader)
{
    skip_blanks(reader);
    for (bool more = true; more;) {
        const char *name = NULL;
        unsigned depth = reader->depth;
        if (inside_object(reader) && !read_member_name(reader, &name))
            return false;
        if (!read_value(reader, name))
            return false;
        more = read_on(reader, reader->depth > depth);
    }
    return reader->wrong == NULL;
}

/* By the text as it was given: the copy has been decoded over. */
static void tell(char error[JSON_ERROR_BYTES], const char *text, size_t offset, const char *wrong)
{
    size_t line = 1, line_offset = 0;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            line_offset = i + 1;
        }
    }
    snprintf(error, JSON_ERROR_BYTES, "line %zu, column %zu: %s", line, offset - line_offset + 1, wrong);
}

struct json_value *json_parse(const char *text, size_t length, char error[JSON_ERROR_BYTES])
{
    error[0] = 0;
    if (length > JSON_TEXT_BYTES_MAX) {
        tell(error, text, 0, "more text than is taken here");
        return NULL;
    }
    struct reader reader = {.capacity = 64};
    reader.document = malloc(sizeof(*reader.document) + reader.capacity * sizeof(reader.document->values[0]));
    char *copy = malloc(length + 1);
    if (reader.document == NULL || copy == NULL) {
        tell(error, text, 0, "out of memory");
        free(reader.document);
        free(copy);
        return NULL;
    }
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = 0;
    reader.at = copy;
    reader.end = copy + length;
    bool right = read_all(&reader);
    reader.document->text = copy;
    if (right)
        return reader.document->values;
    tell(error, text, (size_t)(reader.at - copy), reader.wrong);
    free(copy);
    free(reader.document);
    return NULL;
}

void json_free(struct json_value *root)
{
    if (root == NULL)
        return;
    CHECK(root->root);
    struct document *document = (struct document *)(void *)((char *)root - offsetof(struct document, values));
    free(document->text);
    free(document);
}

enum json_kind json_kind(const struct json_value *value)
{
    return value == NULL ? JSON_NULL : (enum json_kind)value->kind;
}

size_t json_count(const struct json_value *value)
{
    return value == NULL ? 0 : value->count;
}

const struct json_value *json_first(const struct json_value *value)
{
    return json_count(value) == 0 ? NULL : value + 1;
}

const struct json_value *json_next(const struct json_value *value)
{
    return value == NULL || value->next == 0 ? NULL : value + value->next;
}

const struct json_value *json_member(const struct json_value *object, const char *name)
{
    const struct json_value *member = json_kind(object) == JSON_OBJECT ? json_first(object) : NULL;
    while (member != NULL && strcmp(member->name, name) != 0)
        member = json_next(member);
    return member;
}

const struct json_value *json_at(const struct json_value *array, size_t i)
{
    const struct json_value *element = json_kind(array) == JSON_ARRAY ? json_first(array) : NULL;
    while (element != NULL && i-- > 0)
        element = json_next(element);
    return element;
}

const char *json_name(const struct json_value *value)
{
    return value == NULL ? NULL : value->name;
}

const char *json_text(const struct json_value *value)
{
    return json_kind(value) == JSON_TEXT ? value->text : NULL;
}

bool json_bool(const struct json_value *value, bool *out)
{
    if (json_kind(value) != JSON_BOOL)
        return false;
    *out = value->truth;
    return true;
}

bool json_u64(const struct json_value *value, uint64_t *out)
{
    if (json_kind(value) != JSON_NUMBER)
        return false;
    uint64_t number = 0;
    const char *at = value->text;
    for (; is_digit(*at); at++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return false;
    }
    if (at == value->text || *at == '.' || *at == 'e' || *at == 'E')
        return false;
    *out = number;
    return true;
}

bool json_double(const struct json_value *value, double *out)
{
    if (json_kind(value) != JSON_NUMBER)
        return false;
    double number = strtod(value->text, NULL);
    if (!isfinite(number))
        return false;
    *out = number;
    return true;
}
