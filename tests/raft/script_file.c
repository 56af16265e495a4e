/* script_file.c - a file of cases in the data-driven grammar.
 *
 * The happy path: lines are taken one after the other; a case is taken apart in place, run, and its output held against
 * what the file says.
 *
 * What can fail: the file (a command without ----, a bracket that does not end); it is told with its line and nothing
 * behind it runs.
 *
 * Held against each other are outputs without lines of another implementation's log (DEBUG, INFO, WARN, ERROR) and
 * without the commit that newer scripts have in a status: ours prints neither, and a script of theirs may be replayed.
 * Output that is nothing but such lines is "ok". */

#define _GNU_SOURCE
#include "tests/raft/script_file.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    char *rest;
    unsigned line; /* The last one taken. */
};

/* NULL at the end. The line ends with a NUL in place of its newline. */
static char *take_line(struct reader *reader)
{
    char *line = reader->rest;
    if (line == NULL || *line == 0) {
        return NULL;
    }
    char *end = strchr(line, '\n');
    if (end != NULL) {
        *end = 0;
    }
    reader->rest = end == NULL ? NULL : end + 1;
    reader->line++;
    return line;
}

/* --- arguments ----------------------------------------------------------------------------------- */

static bool is_between(char c)
{
    return c == ' ' || c == '\t' || c == ',';
}

/* Values up to the bracket's end; NULL: there is none. */
static char *take_values(char *at, struct script_argument *argument)
{
    for (;;) {
        while (is_between(*at)) {
            *at++ = 0;
        }
        if (*at == 0) {
            return NULL;
        }
        if (*at == ')') {
            *at = 0;
            return at + 1;
        }
        if (argument->count == SCRIPT_VALUES_MAX) {
            return NULL;
        }
        argument->values[argument->count++] = at;
        while (*at != 0 && *at != ')' && !is_between(*at)) {
            at++;
        }
    }
}

static bool take_arguments(char *at, struct script_case *script_case)
{
    for (;;) {
        while (*at == ' ' || *at == '\t' || *at == '\r') {
            *at++ = 0;
        }
        if (*at == 0) {
            return true;
        }
        if (script_case->argument_count == SCRIPT_ARGUMENTS_MAX) {
            return false;
        }
        struct script_argument *argument = &script_case->arguments[script_case->argument_count++];
        *argument = (struct script_argument){.name = at};
        while (*at != 0 && *at != ' ' && *at != '=') {
            at++;
        }
        if (*at == '=') {
            *at++ = 0;
            argument->has_values = true;
            if (*at == '(') {
                *at++ = 0;
                at = take_values(at, argument);
                if (at == NULL) {
                    return false;
                }
            } else {
                argument->values[argument->count++] = at;
                while (*at != 0 && *at != ' ') {
                    at++;
                }
            }
        }
    }
}

const struct script_argument *script_find(const struct script_case *script_case, const char *name)
{
    for (unsigned i = 0; i < script_case->argument_count; i++) {
        const struct script_argument *argument = &script_case->arguments[i];
        if (argument->has_values && strcmp(argument->name, name) == 0) {
            return argument;
        }
    }
    return NULL;
}

const char *script_word(const struct script_case *script_case, const char *name, const char *otherwise)
{
    const struct script_argument *argument = script_find(script_case, name);
    return argument == NULL || argument->count == 0 ? otherwise : argument->values[0];
}

uint64_t script_number(const struct script_case *script_case, const char *name, uint64_t otherwise)
{
    const char *word = script_word(script_case, name, NULL);
    return word == NULL ? otherwise : strtoull(word, NULL, 10);
}

/* Each name has a blank on both sides. */
static bool is_one_of(const char *name, const char *names)
{
    size_t bytes = strlen(name);
    for (const char *at = strstr(names, name); at != NULL && bytes > 0; at = strstr(at + 1, name)) {
        if (at[-1] == ' ' && at[bytes] == ' ') {
            return true;
        }
    }
    return false;
}

static bool is_number(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return digits > 0 && word[digits] == 0 && digits <= 13 && strtoull(word, NULL, 10) <= 1ULL << 40;
}

const char *script_odd_argument(const struct script_case *script_case)
{
    static const char numbers[] =
        " bytes count drop election-tick from heartbeat-tick hole index inflight keep learners"
        " lose max-inflight message-bytes piece-bytes timeout to unapplied-bytes"
        " uncommitted-bytes voters ";
    static const char words[] = " async-storage-writes autoleave cfg cfgj checkquorum disable-conf-change-validation"
                                " disable-forwarding idx log-level max-committed-size-per-ready prevote read-only"
                                " step-down-on-removal tail transition type votes ";
    for (unsigned i = 0; i < script_case->argument_count; i++) {
        const struct script_argument *argument = &script_case->arguments[i];
        bool has_numbers = argument->has_values && is_one_of(argument->name, numbers);
        if (argument->has_values && !has_numbers && !is_one_of(argument->name, words)) {
            return argument->name;
        }
        for (unsigned k = 0; has_numbers && k < argument->count; k++) {
            if (!is_number(argument->values[k])) {
                return argument->values[k];
            }
        }
    }
    const char *node = script_bare(script_case, 0); /* Most commands begin with a node's id. */
    return node != NULL && node[0] >= '0' && node[0] <= '9' && !is_number(node) ? node : NULL;
}

bool script_flag(const struct script_case *script_case, const char *name, bool otherwise)
{
    const char *word = script_word(script_case, name, NULL);
    for (unsigned i = 0; word == NULL && i < script_case->argument_count; i++) {
        if (!script_case->arguments[i].has_values && strcmp(script_case->arguments[i].name, name) == 0) {
            return true;
        }
    }
    return word == NULL ? otherwise : strcmp(word, "true") == 0 || strcmp(word, "1") == 0;
}

const char *script_bare(const struct script_case *script_case, unsigned which)
{
    for (unsigned i = 0; i < script_case->argument_count; i++) {
        if (!script_case->arguments[i].has_values && which-- == 0) {
            return script_case->arguments[i].name;
        }
    }
    return NULL;
}

unsigned script_ids(const struct script_case *script_case, uint64_t *ids, unsigned most)
{
    unsigned count = 0;
    for (unsigned i = 0; i < script_case->argument_count && count < most; i++) {
        const char *name = script_case->arguments[i].name;
        if (!script_case->arguments[i].has_values && name[0] >= '0' && name[0] <= '9') {
            ids[count++] = strtoull(name, NULL, 10);
        }
    }
    return count;
}

/* --- holding outputs against each other ---------------------------------------------------------- */

static bool is_log_line(const char *line, const char *end)
{
    static const char *const levels[] = {"DEBUG ", "INFO ", "WARN ", "WARNING ", "ERROR ", "FATAL ", "PANIC "};
    while (line < end && *line == ' ') {
        line++;
    }
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strncmp(line, levels[i], strlen(levels[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* A copy without what is not compared; the caller's to free. */
static char *without_logs(const char *text)
{
    char *copy = malloc(strlen(text) + sizeof("ok\n"));
    CHECK(copy != NULL);
    char *to = copy;
    while (*text != 0) {
        const char *end = strchr(text, '\n');
        end = end == NULL ? text + strlen(text) : end + 1;
        if (!is_log_line(text, end)) {
            for (const char *at = text; at < end;) {
                if (strncmp(at, " commit=", 8) == 0) {
                    at += 8 + strspn(at + 8, "0123456789");
                } else {
                    *to++ = *at++;
                }
            }
        }
        text = end;
    }
    while (to > copy && to[-1] == '\n') {
        to--;
    }
    *to = 0;
    if (to == copy) {
        strcpy(copy, "ok");
    }
    return copy;
}

static bool outputs_agree(const char *expected, const char *actual)
{
    char *a = without_logs(expected), *b = without_logs(actual);
    bool agree = strcmp(a, b) == 0;
    free(a);
    free(b);
    return agree;
}

static void print_prefixed(FILE *to, char prefix, const char *text)
{
    while (*text != 0) {
        const char *end = strchr(text, '\n');
        int length = end == NULL ? (int)strlen(text) : (int)(end - text);
        (void)fprintf(to, "%c %.*s\n", prefix, length, text);
        text += length + (end != NULL);
    }
}

/* --- cases --------------------------------------------------------------------------------------- */

/* Lines up to the end of the output, joined again; they begin behind the first "----". */
static const char *take_expected(struct reader *reader, bool *blank_lines)
{
    char *start = reader->rest;
    *blank_lines = false;
    if (start == NULL || *start == 0) {
        return "";
    }
    if (strncmp(start, "----\n", 5) == 0) {
        *blank_lines = true;
        reader->line++;
        start += 5;
        char *end = strncmp(start, "----\n----", 9) == 0 ? start : strstr(start, "\n----\n----");
        if (end == NULL) {
            return NULL;
        }
        reader->rest = end;
        for (char *at = start; at < end; at++) {
            reader->line += *at == '\n';
        }
        char *last = end;
        (void)take_line(reader);
        if (end != start) {
            (void)take_line(reader);
        }
        (void)take_line(reader);
        *last = 0;
        return start;
    }
    char *at = start;
    while (*at != 0 && *at != '\n') {
        char *end = strchr(at, '\n');
        reader->line++;
        at = end == NULL ? at + strlen(at) : end + 1;
    }
    reader->rest = at;
    if (*at == '\n') {
        *at = 0;
        reader->rest = at + 1;
        reader->line++;
    } else {
        reader->rest = NULL;
    }
    return start;
}

/* Lines up to "----", joined again; NULL: there is none. */
static char *take_input(struct reader *reader)
{
    char *start = reader->rest;
    char *at = start;
    while (at != NULL && *at != 0) {
        reader->line++;
        if (strncmp(at, "----\n", 5) == 0 || strcmp(at, "----") == 0) {
            reader->rest = at[4] == 0 ? NULL : at + 5;
            *at = 0;
            return start;
        }
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    return NULL;
}

static void run_case(const struct script_case *script_case, script_run *run, void *context, const char *name,
                     bool blank_lines, struct script_result *result, FILE *actual, FILE *differences)
{
    char *output = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&output, &bytes);
    CHECK(out != NULL);
    run(context, script_case, out);
    CHECK(fclose(out) == 0);
    result->cases++;
    const char *printed = output[0] == 0 ? "ok\n" : output;
    if (actual != NULL) {
        bool blanks = blank_lines || strstr(printed, "\n\n") != NULL;
        (void)fprintf(actual, blanks ? "----\n----\n%s----\n----\n\n" : "----\n%s\n", printed);
    }
    if (!outputs_agree(script_case->expected, printed)) {
        result->differences++;
        if (differences != NULL) {
            (void)fprintf(differences, "%s:%u: %s\n", name, script_case->line, script_case->command);
            print_prefixed(differences, '-', script_case->expected);
            print_prefixed(differences, '+', printed);
        }
    }
    free(output);
}

struct script_result script_file_run(char *text, const char *name, script_run *run, void *context, FILE *actual,
                                     FILE *differences)
{
    struct script_result result = {0};
    struct reader reader = {.rest = text};
    char *line;
    while ((line = take_line(&reader)) != NULL) {
        if (line[0] == '#' || line[strspn(line, " \t\r")] == 0) {
            if (actual != NULL) {
                (void)fprintf(actual, "%s\n", line);
            }
            continue;
        }
        struct script_case script_case = {.line = reader.line, .command = line};
        result.line = reader.line;
        script_case.input = take_input(&reader);
        if (script_case.input == NULL) {
            result.malformed = "a command without ----";
            return result;
        }
        if (actual != NULL) {
            (void)fprintf(actual, "%s\n%s", line, script_case.input);
        }
        char *arguments = line + strcspn(line, " \t\r");
        if (!take_arguments(arguments, &script_case)) {
            result.malformed = "arguments that make no sense";
            return result;
        }
        bool blank_lines;
        script_case.expected = take_expected(&reader, &blank_lines);
        if (script_case.expected == NULL) {
            result.malformed = "output that does not end with ---- twice";
            return result;
        }
        run_case(&script_case, run, context, name, blank_lines, &result, actual, differences);
    }
    result.line = reader.line;
    return result;
}
