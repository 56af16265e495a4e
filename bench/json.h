/* json.h - result files: a tree read from JSON text, and a writer of JSON text.
 *
 *     struct json_value *root = json_parse(text, length, error);
 *     if (root == NULL || !json_u64(json_member(json_member(root, "latency"), "p99_ns"), &p99_ns)) ...
 *     json_free(root);
 *
 *     struct json_writer writer;
 *     json_write_begin(&writer, stdout);
 *     json_open_object(&writer);
 *     json_put_name(&writer, "p99_ns");
 *     json_put_u64(&writer, p99_ns);
 *     json_close_object(&writer);
 *     if (json_write_end(&writer) != 0) ...
 *
 * Both assume the decimal point of the C locale: the program does not call setlocale.
 *
 * May include: nothing of the project. */

#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    JSON_ERROR_BYTES = 128,
    JSON_DEPTH_MAX = 32, /* Arrays and objects inside each other. */
    JSON_TEXT_BYTES_MAX = 64 << 20,
    JSON_VALUES_MAX = 4 << 20 /* So that a tree takes at most a few hundred MiB. */
};

/* The length of the UTF-8 sequence at `at`, or 0 when there is none. Looks at no byte behind a wrong one, so a NUL is
 * end enough. */
unsigned json_utf8_sequence(const char *at);

/* --- reading ------------------------------------------------------------------------------------- */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT };

struct json_value;

/* The one value that the text holds, or NULL, and `error` names line, column (in bytes) and what is wrong. The text is
 * copied. Strict RFC 8259, with two choices of ours: a lone surrogate becomes U+FFFD, and \u0000 is refused. */
struct json_value *json_parse(const char *text, size_t length, char error[JSON_ERROR_BYTES]);
/* Of what json_parse returned, with all below it; NULL is nothing. */
void json_free(struct json_value *root);

/* All of these take NULL for a value that is not there, and then say the same as for one of another kind: NULL, 0,
 * false, JSON_NULL. So a chain of json_member needs one test, at its end. */
enum json_kind json_kind(const struct json_value *value);
const struct json_value *json_member(const struct json_value *object, const char *name); /* The first of that name. */
const struct json_value *json_at(const struct json_value *array, size_t i);              /* Walks: O(i). */
size_t json_count(const struct json_value *value);                   /* Of elements, or of members. */
const struct json_value *json_first(const struct json_value *value); /* Of an array or an object, */
const struct json_value *json_next(const struct json_value *value);  /* then the one behind; NULL: none. */
const char *json_name(const struct json_value *value);               /* Of a member of an object. */
const char *json_text(const struct json_value *value);               /* Valid UTF-8, NUL-terminated. */
bool json_bool(const struct json_value *value, bool *out);
bool json_u64(const struct json_value *value, uint64_t *out);  /* Digits alone, up to 2^64-1, exactly. */
bool json_double(const struct json_value *value, double *out); /* Any number that a double can hold, rounded. */

/* --- writing ------------------------------------------------------------------------------------- */

/* Indented by two spaces; an array of numbers alone shares lines of up to 100 columns. Misuse (a value without a name
 * in an object, a wrong close) breaks a CHECK. */
struct json_writer {
    FILE *to;
    unsigned depth;
    unsigned column;
    bool named; /* A name was put, its value is due. */
    bool done;  /* The one value is complete. */
    struct json_level {
        bool object;
        bool filled; /* It has a member or an element. */
        bool spread; /* An array: one element at least is no number, bool or null, so each has its own line. */
    } levels[JSON_DEPTH_MAX];
};

void json_write_begin(struct json_writer *writer, FILE *to);
/* One newline behind the value; flushes. 0, or a negative errno when anything could not be written. */
int json_write_end(struct json_writer *writer);

void json_open_object(struct json_writer *writer);
void json_close_object(struct json_writer *writer);
void json_open_array(struct json_writer *writer);
void json_close_array(struct json_writer *writer);
void json_put_name(struct json_writer *writer, const char *name);
void json_put_u64(struct json_writer *writer, uint64_t value);
void json_put_i64(struct json_writer *writer, int64_t value);
void json_put_double(struct json_writer *writer, double value);   /* The shortest that reads back the same; null for NaN
                                                                   * and the infinities. */
void json_put_text(struct json_writer *writer, const char *text); /* Each byte that is not UTF-8 becomes U+FFFD; NULL is
                                                                   * null. */
void json_put_bool(struct json_writer *writer, bool value);
void json_put_null(struct json_writer *writer);

#endif
