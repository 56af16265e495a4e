/* json_read.h - one flat JSON object of a line: names with numbers, strings, booleans or null. */

#ifndef TOOLS_JSON_READ_H
#define TOOLS_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind { JSON_NULL, JSON_NUMBER, JSON_TEXT, JSON_BOOL };

struct json_field {
    char name[32];
    enum json_kind kind;
    uint64_t number; /* JSON_NUMBER; JSON_BOOL: 0 or 1. */
    char *text;      /* JSON_TEXT: in the line given, terminated. */
    size_t length;
};

enum { JSON_FIELDS_MAX = 32 };

struct json_object {
    struct json_field fields[JSON_FIELDS_MAX];
    unsigned count;
};

/* Reads the line in place (strings are decoded into it). NULL, or what is wrong with it. Numbers are whole and not
 * negative; a nested object or array is refused; escapes above \u00ff are refused. */
const char *json_read(char *line, size_t length, struct json_object *out);

/* NULL: there is none of that name. */
const struct json_field *json_find(const struct json_object *object, const char *name);

/* Decodes base64 in place. False: it is none. */
bool base64_decode(char *text, size_t length, size_t *bytes_out);

#endif
