/* json_read.c - one flat JSON object of a line: names with numbers, strings, booleans or null.
 *
 * The happy path: one pass over the line, strings decoded in place.
 *
 * What can fail: anything that is not such an object: a sentence says what.
 *
 * Invariants: nothing outside of the line is read or written, whatever it holds; nothing is allocated. */

#include "tools/json_read.h"

#include <string.h>

struct reader {
    char *at;
    char *end;
};

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\r' || *reader->at == '\n')) {
        reader->at++;
    }
}

static bool take(struct reader *reader, char wanted)
{
    skip_blanks(reader);
    if (reader->at < reader->end && *reader->at == wanted) {
        reader->at++;
        return true;
    }
    return false;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return false;
    }
    reader->at += length;
    return true;
}

static int hex_digit(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* The character behind a backslash. */
static const char *take_escape(struct reader *reader, char *to)
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end) {
        return "a string that does not end";
    }
    char letter = *reader->at++;
    const char *found = letter != '\0' ? strchr(plain, letter) : NULL;
    if (found != NULL) {
        *to = meant[found - plain];
        return NULL;
    }
    int value = 0;
    if (letter != 'u' || reader->end - reader->at < 4) {
        return "an escape that is not known";
    }
    for (unsigned i = 0; i < 4; i++) {
        int digit = hex_digit(reader->at[i]);
        if (digit < 0) {
            return "an escape that is not known";
        }
        value = value * 16 + digit;
    }
    reader->at += 4;
    if (value > 0xff) {
        return "an escape above \\u00ff";
    }
    *to = (char)(unsigned char)value;
    return NULL;
}

/* A string behind its first quote, decoded in place; the closing quote becomes its end. */
static const char *take_string(struct reader *reader, char **text, size_t *length)
{
    char *to = reader->at;
    *text = to;
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\') {
            reader->at++;
            const char *wrong = take_escape(reader, to);
            if (wrong != NULL) {
                return wrong;
            }
            to++;
        } else {
            *to++ = *reader->at++;
        }
    }
    if (reader->at == reader->end) {
        return "a string that does not end";
    }
    reader->at++;
    *to = '\0';
    *length = (size_t)(to - *text);
    return NULL;
}

static const char *take_number(struct reader *reader, uint64_t *number)
{
    bool any = false;
    *number = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        uint64_t digit = (uint64_t)(*reader->at++ - '0');
        if (*number > (UINT64_MAX - digit) / 10) {
            return "a number above 2^64 - 1";
        }
        *number = *number * 10 + digit;
        any = true;
    }
    return any ? NULL : "a value that is no string, whole number, boolean or null";
}

static const char *take_value(struct reader *reader, struct json_field *field)
{
    skip_blanks(reader);
    if (take(reader, '"')) {
        field->kind = JSON_TEXT;
        return take_string(reader, &field->text, &field->length);
    }
    if (take_word(reader, "null")) {
        field->kind = JSON_NULL;
        return NULL;
    }
    if (take_word(reader, "true") || take_word(reader, "false")) {
        field->kind = JSON_BOOL;
        field->number = reader->at[-2] == 'u'; /* tr-u-e, fal-s-e */
        return NULL;
    }
    field->kind = JSON_NUMBER;
    return take_number(reader, &field->number);
}

const char *json_read(char *line, size_t length, struct json_object *out)
{
    struct reader reader = {line, line + length};
    out->count = 0;
    if (!take(&reader, '{')) {
        return "no object";
    }
    while (!take(&reader, '}')) {
        char *name;
        size_t name_length;
        if (out->count != 0 && !take(&reader, ',')) {
            return "no comma where one must be";
        }
        if (out->count == JSON_FIELDS_MAX) {
            return "too many fields";
        }
        struct json_field *field = &out->fields[out->count++];
        *field = (struct json_field){.kind = JSON_NULL};
        if (!take(&reader, '"')) {
            return "no name where one must be";
        }
        const char *wrong = take_string(&reader, &name, &name_length);
        if (wrong != NULL) {
            return wrong;
        }
        if (name_length >= sizeof(field->name)) {
            return "a name that is too long";
        }
        memcpy(field->name, name, name_length + 1);
        if (json_find(out, field->name) != field) {
            return "a name that stands there twice";
        }
        if (!take(&reader, ':')) {
            return "no colon where one must be";
        }
        wrong = take_value(&reader, field);
        if (wrong != NULL) {
            return wrong;
        }
    }
    skip_blanks(&reader);
    return reader.at == reader.end ? NULL : "something behind the object";
}

const struct json_field *json_find(const struct json_object *object, const char *name)
{
    for (unsigned i = 0; i < object->count; i++) {
        if (strcmp(object->fields[i].name, name) == 0) {
            return &object->fields[i];
        }
    }
    return NULL;
}

static int base64_digit(char digit)
{
    return digit >= 'A' && digit <= 'Z'   ? digit - 'A'
           : digit >= 'a' && digit <= 'z' ? digit - 'a' + 26
           : digit >= '0' && digit <= '9' ? digit - '0' + 52
           : digit == '+'                 ? 62
           : digit == '/'                 ? 63
                                          : -1;
}

bool base64_decode(char *text, size_t length, size_t *bytes_out)
{
    size_t bytes = 0;
    if (length % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < length; i += 4) {
        bool last = i + 4 == length;
        unsigned padding = !last ? 0 : text[i + 2] == '=' ? 2 : text[i + 3] == '=' ? 1 : 0;
        uint32_t word = 0;
        for (unsigned k = 0; k < 4; k++) {
            int digit = k >= 4 - padding ? (text[i + k] == '=' ? 0 : -1) : base64_digit(text[i + k]);
            if (digit < 0) {
                return false;
            }
            word = word << 6 | (uint32_t)digit;
        }
        for (unsigned k = 0; k < 3 - padding; k++) {
            text[bytes++] = (char)(unsigned char)(word >> (16 - 8 * k) & 255);
        }
    }
    *bytes_out = bytes;
    return true;
}
