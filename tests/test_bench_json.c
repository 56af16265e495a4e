/* test_bench_json.c - result files: what is written reads back, here and by another reader; what is wrong is refused.
 */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/json.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- helpers ------------------------------------------------------------------------------------- */

/* The text in memory of its own size, so that a sanitizer sees a byte too far. */
static struct json_value *parse_bytes(const char *text, size_t length, char error[JSON_ERROR_BYTES])
{
    char *exact = malloc(length + (length == 0));
    assert_non_null(exact);
    if (length > 0)
        memcpy(exact, text, length);
    struct json_value *root = json_parse(exact, length, error);
    free(exact);
    assert_true((root == NULL) == (error[0] != 0));
    return root;
}

static struct json_value *parsed(const char *text)
{
    char error[JSON_ERROR_BYTES];
    struct json_value *root = parse_bytes(text, strlen(text), error);
    if (root == NULL)
        fail_msg("%s: %s", text, error);
    return root;
}

static void assert_refused(const char *text, const char *expected)
{
    char error[JSON_ERROR_BYTES];
    struct json_value *root = parse_bytes(text, strlen(text), error);
    if (root != NULL)
        fail_msg("taken: %s", text);
    assert_string_equal(error, expected);
}

static void assert_text(const char *source, const char *expected)
{
    struct json_value *root = parsed(source);
    assert_non_null(json_text(root));
    assert_string_equal(json_text(root), expected);
    json_free(root);
}

/* What `write_it` writes, for the caller to free. */
static char *written(void (*write_it)(struct json_writer *writer))
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    assert_non_null(memory);
    struct json_writer writer;
    json_write_begin(&writer, memory);
    write_it(&writer);
    assert_int_equal(json_write_end(&writer), 0);
    fclose(memory);
    return text;
}

/* What python3 makes of `text`: the output of a script that finds the value in `got`. */
static void ask_python(const char *script, const char *text, char *answer, size_t size)
{
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        close(to[1]);
        close(from[0]);
        execlp("python3", "python3", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(write(to[1], text, strlen(text)), (ssize_t)strlen(text)); /* Less than a pipe holds. */
    close(to[1]);
    size_t got = 0;
    for (ssize_t more = 1; more > 0 && got < size - 1; got += (size_t)more) {
        more = read(from[0], answer + got, size - 1 - got);
        assert_true(more >= 0);
    }
    answer[got] = 0;
    close(from[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* --- reading ------------------------------------------------------------------------------------- */

static void test_a_tree_is_walked(void **state)
{
    (void)state;
    struct json_value *root =
        parsed(" {\"rows\": [ {\"id\":\"a\",\"hist\":[[1,2],[],[3]]} , null, true,\r\n false, -1.5e2 ],"
               "\t\"empty\":{}, \"last\": \"x\" } ");
    assert_int_equal(json_kind(root), JSON_OBJECT);
    assert_int_equal(json_count(root), 3);
    const struct json_value *rows = json_member(root, "rows");
    assert_int_equal(json_kind(rows), JSON_ARRAY);
    assert_int_equal(json_count(rows), 5);
    assert_string_equal(json_name(rows), "rows");
    assert_string_equal(json_text(json_member(json_at(rows, 0), "id")), "a");
    const struct json_value *hist = json_member(json_at(rows, 0), "hist");
    assert_int_equal(json_count(hist), 3);
    uint64_t number = 0;
    assert_true(json_u64(json_first(json_at(hist, 2)), &number));
    assert_int_equal(number, 3);
    assert_null(json_first(json_at(hist, 1)));
    assert_int_equal(json_kind(json_at(rows, 1)), JSON_NULL);
    bool truth = false;
    assert_true(json_bool(json_at(rows, 2), &truth) && truth);
    assert_true(json_bool(json_at(rows, 3), &truth) && !truth);
    double real = 0;
    assert_true(json_double(json_at(rows, 4), &real) && real == -150);
    assert_null(json_at(rows, 5));
    size_t seen = 0;
    for (const struct json_value *row = json_first(rows); row != NULL; row = json_next(row))
        assert_ptr_equal(row, json_at(rows, seen++));
    assert_int_equal(seen, 5);
    assert_int_equal(json_count(json_member(root, "empty")), 0);
    assert_string_equal(json_text(json_next(json_member(root, "empty"))), "x");
    json_free(root);
}

static void test_what_is_not_there_is_nothing(void **state)
{
    (void)state;
    struct json_value *root = parsed("{\"a\":[1]}");
    uint64_t number = 7;
    double real = 7;
    bool truth = true;
    const struct json_value *none = json_member(json_member(root, "b"), "c");
    assert_null(none);
    assert_null(json_at(none, 0));
    assert_null(json_first(none));
    assert_null(json_next(none));
    assert_null(json_name(none));
    assert_null(json_text(none));
    assert_int_equal(json_kind(none), JSON_NULL);
    assert_int_equal(json_count(none), 0);
    assert_false(json_u64(none, &number) || json_double(none, &real) || json_bool(none, &truth));
    /* Nor is what is of another kind. */
    const struct json_value *array = json_member(root, "a");
    assert_null(json_member(array, "a"));
    assert_null(json_member(json_at(array, 0), "a"));
    assert_null(json_at(root, 0));
    assert_null(json_text(array));
    assert_null(json_next(root));
    assert_false(json_u64(array, &number) || json_double(array, &real) || json_bool(array, &truth));
    assert_true(number == 7 && real == 7 && truth);
    json_free(root);
    json_free(NULL);
}

static void test_the_first_of_one_name_wins(void **state)
{
    (void)state;
    struct json_value *root = parsed("{\"a\":1,\"\\u0061\":2,\"\":3}");
    uint64_t number = 0;
    assert_true(json_u64(json_member(root, "a"), &number) && number == 1);
    assert_true(json_u64(json_member(root, ""), &number) && number == 3);
    assert_int_equal(json_count(root), 3);
    json_free(root);
}

static void test_escapes(void **state)
{
    (void)state;
    assert_text("\"\"", "");
    assert_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    assert_text("\"a\\u0041\\u00e4\\u20AC\\uffFF\\u0001\"", "aA\xc3\xa4\xe2\x82\xac\xef\xbf\xbf\x01");
    assert_text("\"\\ud834\\udd1e\\udbff\\udfff\\ud800\\udc00\"", "\xf0\x9d\x84\x9e\xf4\x8f\xbf\xbf\xf0\x90\x80\x80");
    /* Surrogates that are alone. */
    assert_text("\"\\ud834\"", "\xef\xbf\xbd");
    assert_text("\"\\udd1e\\ud834x\"", "\xef\xbf\xbd\xef\xbf\xbdx");
    assert_text("\"\\ud834\\u0041\\ud834\\ud834\\udd1e\"", "\xef\xbf\xbd"
                                                           "A\xef\xbf\xbd\xf0\x9d\x84\x9e");
    assert_text("\"\\ud834\\n\"", "\xef\xbf\xbd\n");
    assert_text("\"\xc3\xa4\xe2\x82\xac\xf0\x9d\x84\x9e\x7f\"", "\xc3\xa4\xe2\x82\xac\xf0\x9d\x84\x9e\x7f");
    assert_refused("\"\\u0000\"", "line 1, column 4: \\u0000 is not taken here");
    assert_refused("\"\\u12g4\"", "line 1, column 4: \\u needs four hexadecimal digits");
    assert_refused("\"\\x\"", "line 1, column 3: no such escape");
    assert_refused("\"a\nb\"", "line 1, column 3: a control character inside a text");
}

static void test_only_utf8_is_taken(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xc3",
                                        "\xe0\x9f\xbf", "\xed\xa0\x80",     "\xe2\x82",         "\xf0\x8f\xbf\xbf",
                                        "\xff",         "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x9d\x84"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[16];
        snprintf(text, sizeof(text), "\n\"%s\"", wrong[i]);
        assert_refused(text, "line 2, column 2: not UTF-8");
    }
}

static void test_numbers_at_the_limits(void **state)
{
    (void)state;
    struct json_value *root =
        parsed("[18446744073709551615,18446744073709551616,0,-0,1.0,1e3,-1,99999999999999999999999,1e308,1e309,"
               "5e-324,1e-999,9007199254740993,0.1]");
    static const bool whole[] = {true,  false, true,  false, false, false, false,
                                 false, false, false, false, false, true,  false};
    static const uint64_t value[] = {UINT64_MAX, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9007199254740993u, 0};
    static const double real[] = {0x1p64,
                                  0x1p64,
                                  0,
                                  -0.0,
                                  1.0,
                                  1000,
                                  -1,
                                  99999999999999999999999.0,
                                  1e308,
                                  0,
                                  0x0.0000000000001p-1022,
                                  0,
                                  9007199254740992.0,
                                  0.1};
    for (size_t i = 0; i < json_count(root); i++) {
        uint64_t number = 0;
        double got = 0;
        assert_int_equal(json_u64(json_at(root, i), &number), whole[i]);
        assert_true(number == value[i]);
        assert_int_equal(json_double(json_at(root, i), &got), i != 9);
        assert_true(got == real[i]);
    }
    json_free(root);
    assert_refused("[01]", "line 1, column 3: expected ',' or ']'");
    assert_refused("[0x1]", "line 1, column 3: expected ',' or ']'");
    assert_refused("[1.]", "line 1, column 4: expected a digit behind the point");
    assert_refused("[1e+]", "line 1, column 5: expected a digit of the exponent");
    assert_refused("[-]", "line 1, column 3: expected a digit");
    assert_refused("[-Infinity]", "line 1, column 3: expected a digit");
    assert_refused("[NaN]", "line 1, column 2: expected a value");
    assert_refused("[.5]", "line 1, column 2: expected a value");
    assert_refused("[+1]", "line 1, column 2: expected a value");
}

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    assert_refused("", "line 1, column 1: the text ends too early");
    assert_refused(" \n ", "line 2, column 2: the text ends too early");
    assert_refused("{\n  \"a\": 1,\n  }", "line 3, column 3: expected the name of a member");
    assert_refused("[1,]", "line 1, column 4: expected a value");
    assert_refused("[,1]", "line 1, column 2: expected a value");
    assert_refused("[1 2]", "line 1, column 4: expected ',' or ']'");
    assert_refused("[1}", "line 1, column 3: expected ',' or ']'");
    assert_refused("{\"a\" 1}", "line 1, column 6: expected ':'");
    assert_refused("{\"a\":}", "line 1, column 6: expected a value");
    assert_refused("{\"a\":1 \"b\":2}", "line 1, column 8: expected ',' or '}'");
    assert_refused("{1:2}", "line 1, column 2: expected the name of a member");
    assert_refused("1 2", "line 1, column 3: something follows the value");
    assert_refused("[]]", "line 1, column 3: something follows the value");
    assert_refused("nul", "line 1, column 4: the text ends too early");
    assert_refused("trux", "line 1, column 4: expected a value");
    assert_refused("]", "line 1, column 1: expected a value");
    assert_refused("\xef\xbb\xbf{}", "line 1, column 1: expected a value");
    char error[JSON_ERROR_BYTES];
    assert_null(parse_bytes("1\0", 2, error));
    assert_string_equal(error, "line 1, column 2: something follows the value");
    assert_null(parse_bytes("\"a\0\"", 4, error));
    assert_string_equal(error, "line 1, column 3: a control character inside a text");
}

static void test_limits(void **state)
{
    (void)state;
    char text[2 * 40 + 1];
    for (unsigned depth = 30; depth <= 40; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * (size_t)depth] = 0;
        if (depth <= JSON_DEPTH_MAX)
            json_free(parsed(text));
        else
            assert_refused(text, "line 1, column 33: too many arrays and objects inside each other");
    }
    /* Brackets without end. */
    size_t bytes = (size_t)JSON_TEXT_BYTES_MAX + 1;
    char *large = malloc(bytes);
    assert_non_null(large);
    memset(large, '[', bytes);
    char error[JSON_ERROR_BYTES];
    assert_null(json_parse(large, bytes - 1, error));
    assert_string_equal(error, "line 1, column 33: too many arrays and objects inside each other");
    assert_null(json_parse(large, bytes, error));
    assert_string_equal(error, "line 1, column 1: more text than is taken here");
    /* As many values as are taken, and one more. */
    size_t most = JSON_VALUES_MAX; /* The array is one of them. */
    for (size_t count = most - 1; count <= most; count++) {
        for (size_t i = 0; i < count; i++)
            memcpy(large + 2 * i, i == 0 ? "[0" : ",0", 2);
        large[2 * count] = ']';
        struct json_value *root = json_parse(large, 2 * count + 1, error);
        assert_int_equal(json_count(root), count < most ? count : 0);
        assert_string_equal(error, count < most ? "" : "line 1, column 8388608: too many values");
        json_free(root);
    }
    free(large);
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"a\\n\\u00e4\\ud834\\udd1e\": [-1.5e+3, true, false, null, \"\xe2\x82\xac\", {}, [[]]],\n"
        " \"b\": {\"c\": 0, \"d\": \"\\\\\"}}";
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        char error[JSON_ERROR_BYTES];
        assert_null(parse_bytes(whole, length, error));
        assert_non_null(strstr(error, "line "));
    }
    json_free(parsed(whole));
    /* And with each byte replaced, it is taken or refused, without a fault. */
    for (size_t i = 0; i < sizeof(whole) - 1; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char changed[sizeof(whole)], error[JSON_ERROR_BYTES];
            memcpy(changed, whole, sizeof(whole));
            changed[i] = (char)byte;
            json_free(parse_bytes(changed, sizeof(whole) - 1, error));
        }
    }
}

/* --- writing ------------------------------------------------------------------------------------- */

static void write_sample(struct json_writer *writer)
{
    json_open_object(writer);
    json_put_name(writer, "schema");
    json_put_text(writer, "walbench/1");
    json_put_name(writer, "nothing");
    json_put_null(writer);
    json_put_name(writer, "empty");
    json_open_array(writer);
    json_close_array(writer);
    json_put_name(writer, "none");
    json_open_object(writer);
    json_close_object(writer);
    json_put_name(writer, "hist");
    json_open_array(writer);
    for (unsigned row = 0; row < 2; row++) {
        json_open_array(writer);
        json_put_u64(writer, row == 0 ? UINT64_MAX : 5);
        json_put_i64(writer, INT64_MIN);
        json_put_double(writer, 0.1);
        json_put_double(writer, (double)NAN);
        json_close_array(writer);
    }
    json_close_array(writer);
    json_put_name(writer, "mixed");
    json_open_array(writer);
    json_put_u64(writer, 1);
    json_put_bool(writer, true);
    json_put_text(writer, "\xc3\xa4");
    json_put_bool(writer, false);
    json_close_array(writer);
    json_close_object(writer);
}

static void test_layout(void **state)
{
    (void)state;
    char *text = written(write_sample);
    assert_string_equal(text, "{\n"
                              "  \"schema\": \"walbench/1\",\n"
                              "  \"nothing\": null,\n"
                              "  \"empty\": [],\n"
                              "  \"none\": {},\n"
                              "  \"hist\": [\n"
                              "    [18446744073709551615, -9223372036854775808, 0.1, null],\n"
                              "    [5, -9223372036854775808, 0.1, null]\n"
                              "  ],\n"
                              "  \"mixed\": [1, true,\n"
                              "    \"\xc3\xa4\",\n"
                              "    false\n"
                              "  ]\n"
                              "}\n");
    struct json_value *root = parsed(text);
    uint64_t number = 0;
    assert_true(json_u64(json_first(json_first(json_member(root, "hist"))), &number) && number == UINT64_MAX);
    json_free(root);
    free(text);
}

static void write_many(struct json_writer *writer)
{
    json_open_array(writer);
    for (uint64_t i = 0; i < 1000; i++)
        json_put_u64(writer, i * i * i);
    json_close_array(writer);
}

static void test_long_arrays_share_lines(void **state)
{
    (void)state;
    char *text = written(write_many);
    size_t lines = 0;
    for (const char *line = text; *line != 0; lines++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_true(end - line <= 100);
        line = end + 1;
    }
    assert_in_range(lines, 50, 150);
    struct json_value *root = parsed(text);
    assert_int_equal(json_count(root), 1000);
    json_free(root);
    free(text);
}

static const double doubles[] = {0.0,
                                 -0.0,
                                 1,
                                 -1,
                                 0.1,
                                 0.2 + 0.1,
                                 1.0 / 3,
                                 100000,
                                 123456789.25,
                                 1e15,
                                 1e21,
                                 1e22,
                                 1e23,
                                 5e-324,
                                 1e-5,
                                 0.000123,
                                 0x1p53,
                                 0x1p64,
                                 1.7976931348623157e308,
                                 -2.5e-9,
                                 1200.5,
                                 999999999999999.0};

static void write_doubles(struct json_writer *writer)
{
    json_open_array(writer);
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++)
        json_put_double(writer, doubles[i]);
    json_put_double(writer, (double)INFINITY);
    json_put_double(writer, -(double)INFINITY);
    uint64_t seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        double value;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &seed, sizeof(value));
        json_put_double(writer, value);
    }
    json_close_array(writer);
}

static void test_doubles_come_back(void **state)
{
    (void)state;
    char *text = written(write_doubles);
    assert_memory_equal(text, "[0, -0, 1, -1, 0.1, 0.30000000000000004, 0.3333333333333333, 100000, 123456789.25, ",
                        80);
    struct json_value *root = parsed(text);
    const struct json_value *at = json_first(root);
    double got;
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++, at = json_next(at)) {
        assert_true(json_double(at, &got));
        assert_memory_equal(&got, &doubles[i], sizeof(got));
    }
    assert_int_equal(json_kind(at), JSON_NULL);
    at = json_next(json_next(at));
    uint64_t seed = 1;
    for (unsigned i = 0; i < 20000; i++, at = json_next(at)) {
        double value;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &seed, sizeof(value));
        if (isfinite(value)) {
            assert_true(json_double(at, &got));
            assert_memory_equal(&got, &value, sizeof(got));
        } else {
            assert_int_equal(json_kind(at), JSON_NULL);
        }
    }
    assert_null(at);
    json_free(root);
    free(text);
}

static void write_bytes(struct json_writer *writer)
{
    char all[256];
    for (unsigned i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = 0;
    json_open_array(writer);
    json_put_text(writer, all);
    json_put_text(writer, "a\xe2\x82(\xf0\x9d\x84\x9e\xed\xa0\x80\xc3");
    json_put_text(writer, NULL);
    json_close_array(writer);
}

static void test_any_bytes_become_valid_text(void **state)
{
    (void)state;
    char *text = written(write_bytes);
    struct json_value *root = parsed(text);
    const char *all = json_text(json_at(root, 0));
    for (unsigned i = 1; i < 128; i++)
        assert_int_equal(all[i - 1], i);
    assert_int_equal(strlen(all), 127 + 128 * 3);
    for (unsigned i = 0; i < 128; i++)
        assert_memory_equal(all + 127 + 3 * i, "\xef\xbf\xbd", 3);
#define REPLACED "\xef\xbf\xbd"
    assert_string_equal(json_text(json_at(root, 1)),
                        "a" REPLACED REPLACED "(\xf0\x9d\x84\x9e" REPLACED REPLACED REPLACED REPLACED);
    assert_int_equal(json_kind(json_at(root, 2)), JSON_NULL);
    json_free(root);
    free(text);
}

static void test_another_reader_agrees(void **state)
{
    (void)state;
    char answer[4096];
    char *text = written(write_sample);
    ask_python("import json,sys; got=json.loads(sys.stdin.buffer.read()); print(ascii(got))", text, answer,
               sizeof(answer));
    assert_string_equal(answer, "{'schema': 'walbench/1', 'nothing': None, 'empty': [], 'none': {}, "
                                "'hist': [[18446744073709551615, -9223372036854775808, 0.1, None], "
                                "[5, -9223372036854775808, 0.1, None]], 'mixed': [1, True, '\\xe4', False]}\n");
    free(text);
    text = written(write_bytes);
    ask_python("import json,sys; got=json.loads(sys.stdin.buffer.read().decode('utf-8', 'strict'))\n"
               "print(got[0] == ''.join(map(chr, range(1, 128))) + '\\ufffd' * 128, ascii(got[1]), got[2])",
               text, answer, sizeof(answer));
    assert_string_equal(answer, "True 'a\\ufffd\\ufffd(\\U0001d11e\\ufffd\\ufffd\\ufffd\\ufffd' None\n");
    free(text);
}

/* --- misuse -------------------------------------------------------------------------------------- */

static void value_without_name(struct json_writer *writer)
{
    json_open_object(writer);
    json_put_u64(writer, 1);
}

static void two_names(struct json_writer *writer)
{
    json_open_object(writer);
    json_put_name(writer, "a");
    json_put_name(writer, "b");
}

static void name_without_value(struct json_writer *writer)
{
    json_open_object(writer);
    json_put_name(writer, "a");
    json_close_object(writer);
}

static void name_in_array(struct json_writer *writer)
{
    json_open_array(writer);
    json_put_name(writer, "a");
}

static void wrong_close(struct json_writer *writer)
{
    json_open_array(writer);
    json_close_object(writer);
}

static void close_of_nothing(struct json_writer *writer)
{
    json_close_array(writer);
}

static void two_values(struct json_writer *writer)
{
    json_put_u64(writer, 1);
    json_put_u64(writer, 2);
}

static void left_open(struct json_writer *writer)
{
    json_open_array(writer);
    json_write_end(writer);
}

static void nothing_at_all(struct json_writer *writer)
{
    json_write_end(writer);
}

static void too_deep(struct json_writer *writer)
{
    for (unsigned i = 0; i <= JSON_DEPTH_MAX; i++)
        json_open_array(writer);
}

static void test_misuse_stops_the_program(void **state)
{
    (void)state;
    void (*const misuses[])(struct json_writer *) = {
        value_without_name, two_names,  name_without_value, name_in_array,  wrong_close,
        close_of_nothing,   two_values, left_open,          nothing_at_all, too_deep};
    for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(1);
            FILE *lost = fopen("/dev/null", "w");
            struct json_writer writer;
            json_write_begin(&writer, lost);
            misuses[i](&writer);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("misuse %zu went through", i);
    }
}

static void test_a_failed_write_is_told(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    struct json_writer writer;
    json_write_begin(&writer, full);
    write_many(&writer);
    assert_true(json_write_end(&writer) < 0);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tree_is_walked),
        cmocka_unit_test(test_what_is_not_there_is_nothing),
        cmocka_unit_test(test_the_first_of_one_name_wins),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_only_utf8_is_taken),
        cmocka_unit_test(test_numbers_at_the_limits),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_long_arrays_share_lines),
        cmocka_unit_test(test_doubles_come_back),
        cmocka_unit_test(test_any_bytes_become_valid_text),
        cmocka_unit_test(test_another_reader_agrees),
        cmocka_unit_test(test_misuse_stops_the_program),
        cmocka_unit_test(test_a_failed_write_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
