/* compare.c - walbench compare OLD NEW: row by row, one statistic; exit code 1 when one got worse by more than allowed.
 *
 * Rows are the same when their ids are. Of durations less is better, of rates more. What differs between the two places
 * is said first: figures of two disks are no regression. A row that was measured and is not any more may hide the worst
 * regression of all, so it is exit code 1 as well; one that is new is only told.
 *
 * What can fail: a file that is no result: exit code 3. */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/session.h"

enum { FILE_BYTES_MAX = JSON_TEXT_BYTES_MAX };

static char *read_whole(const char *path, size_t *size)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = NULL;
    *size = 0;
    if (file == NULL)
        return NULL;
    for (size_t room = 1 << 16;; room *= 2) {
        char *more = room > 2 * (size_t)FILE_BYTES_MAX ? NULL : realloc(text, room);
        if (more == NULL) {
            free(text);
            text = NULL;
            errno = EFBIG;
            break;
        }
        text = more;
        *size += fread(text + *size, 1, room - *size, file);
        if (*size < room)
            break;
    }
    int error = ferror(file) ? EIO : errno;
    if (file != stdin)
        fclose(file);
    if (error == EIO) {
        free(text);
        text = NULL;
    }
    errno = error;
    return text;
}

struct json_value *session_read_result(const char *path)
{
    char error[JSON_ERROR_BYTES] = "";
    size_t size;
    char *text = read_whole(path, &size);
    if (text == NULL) {
        say_on_stderr("%s: %s", path, strerror(errno));
        return NULL;
    }
    struct json_value *root = json_parse(text, size, error);
    free(text);
    const char *schema = json_text(json_member(root, "schema"));
    if (root == NULL)
        say_on_stderr("%s: no JSON: %s", path, error);
    else if (schema == NULL || strcmp(schema, RESULT_SCHEMA) != 0)
        say_on_stderr("%s: no result of this program: its schema is not %s", path, RESULT_SCHEMA);
    else
        return root;
    json_free(root);
    return NULL;
}

/* --- what is compared ---------------------------------------------------------------------------- */

static bool more_is_better(const char *stat)
{
    return strcmp(stat, "rate") == 0 || strcmp(stat, "records_per_sync") == 0;
}

static bool statistic(const struct json_value *row, const char *stat, double *out)
{
    uint64_t operations = 0;
    if (!json_u64(json_member(row, "operations"), &operations) || operations == 0)
        return false;
    if (strcmp(stat, "rate") == 0)
        return json_double(json_member(row, "operations_per_s"), out);
    if (strcmp(stat, "records_per_sync") == 0)
        return json_double(json_member(row, stat), out);
    return json_double(json_member(json_member(row, "latency_ns"), stat), out);
}

static const struct json_value *row_with_id(const struct json_value *root, const char *id)
{
    for (const struct json_value *row = json_first(json_member(root, "rows")); row != NULL; row = json_next(row)) {
        const char *its = json_text(json_member(row, "id"));
        if (its != NULL && strcmp(its, id) == 0)
            return row;
    }
    return NULL;
}

/* --- what is said -------------------------------------------------------------------------------- */

static void tell_difference(const struct json_value *old, const struct json_value *new, const char *group,
                            const char *name)
{
    const struct json_value *left = json_member(json_member(json_member(old, "environment"), group), name);
    const struct json_value *right = json_member(json_member(json_member(new, "environment"), group), name);
    const char *before = json_text(left), *after = json_text(right);
    if (before != NULL && after != NULL && strcmp(before, after) != 0)
        say_on_stderr("note: %s differs: %s, and %s", name, before, after);
}

static void tell_places(const struct json_value *old, const struct json_value *new)
{
    bool partial_old = false, partial_new = false;
    uint64_t emulated_old = 0, emulated_new = 0;
    tell_difference(old, new, "machine", "kernel");
    tell_difference(old, new, "machine", "cpu");
    tell_difference(old, new, "file_system", "type");
    tell_difference(old, new, "device", "name");
    tell_difference(old, new, "device", "model");
    (void)json_bool(json_member(old, "partial"), &partial_old);
    (void)json_bool(json_member(new, "partial"), &partial_new);
    (void)json_u64(json_member(old, "emulated_ns"), &emulated_old);
    (void)json_u64(json_member(new, "emulated_ns"), &emulated_new);
    if (partial_old || partial_new)
        say_on_stderr("note: a run was interrupted or failed; its figures may stand on a few operations");
    if (emulated_old != emulated_new)
        say_on_stderr("note: the disks emulated differ");
}

static void show_value(const char *stat, double value, char text[24])
{
    if (more_is_better(stat))
        count_text(value, text);
    else
        duration_text((uint64_t)value, text);
}

struct comparison {
    const struct settings *settings;
    unsigned compared, worse, gone;
    struct json_writer json;
};

static void show_row(struct comparison *comparison, const char *id, double before, double after, double change,
                     bool worse)
{
    const struct settings *settings = comparison->settings;
    char old_text[24], new_text[24], shown[ROW_ID_BYTES];
    if (!settings->json) {
        show_value(settings->stat, before, old_text);
        show_value(settings->stat, after, new_text);
        printf("%-40s %12s %12s %+8.1f %%%s\n", printable_copy(id, shown, sizeof(shown)), old_text, new_text,
               change * 100, worse ? "  WORSE" : "");
        return;
    }
    struct json_writer *json = &comparison->json;
    json_open_object(json);
    json_put_name(json, "id");
    json_put_text(json, id);
    json_put_name(json, "old");
    json_put_double(json, before);
    json_put_name(json, "new");
    json_put_double(json, after);
    json_put_name(json, "change");
    json_put_double(json, change);
    json_put_name(json, "worse");
    json_put_bool(json, worse);
    json_close_object(json);
}

/* Was anything measured in it? */
static bool has_operations(const struct json_value *row)
{
    uint64_t operations = 0;
    return json_u64(json_member(row, "operations"), &operations) && operations != 0;
}

static void compare_row(struct comparison *comparison, const char *id, double before, double after)
{
    const char *stat = comparison->settings->stat;
    double change = after / before - 1;
    bool worse = (more_is_better(stat) ? -change : change) > comparison->settings->regress_max;
    comparison->compared++;
    comparison->worse += worse;
    show_row(comparison, id, before, after, change, worse);
}

/* Each row of the old result: compared, or it is said why not. */
static void compare_rows(struct comparison *comparison, const struct json_value *old, const struct json_value *new)
{
    const char *stat = comparison->settings->stat;
    for (const struct json_value *row = json_first(json_member(old, "rows")); row != NULL; row = json_next(row)) {
        const char *id = json_text(json_member(row, "id"));
        const struct json_value *other = id == NULL ? NULL : row_with_id(new, id);
        double before = 0, after = 0;
        if (id == NULL || !has_operations(row))
            continue;
        if (other == NULL || !has_operations(other)) {
            const char *why = json_text(json_member(other, "skipped"));
            say_on_stderr("%s is GONE: measured in the old result only%s%s", id, why != NULL ? ": " : "",
                          why != NULL ? why : "");
            comparison->gone++;
        } else if (!statistic(row, stat, &before) || !statistic(other, stat, &after)) {
            say_on_stderr("note: %s is not compared: it has no %s", id, stat);
        } else if (before <= 0) {
            say_on_stderr("note: %s is not compared: its %s is 0 in the old result", id, stat);
        } else {
            compare_row(comparison, id, before, after);
        }
    }
}

static void tell_new_rows(const struct json_value *old, const struct json_value *new)
{
    for (const struct json_value *row = json_first(json_member(new, "rows")); row != NULL; row = json_next(row)) {
        const char *id = json_text(json_member(row, "id"));
        const struct json_value *other = id == NULL ? NULL : row_with_id(old, id);
        if (id != NULL && has_operations(row) && (other == NULL || !has_operations(other)))
            say_on_stderr("note: %s is measured in the new result only", id);
    }
}

static int show_all(struct comparison *comparison, const struct json_value *old, const struct json_value *new)
{
    const struct settings *settings = comparison->settings;
    struct json_writer *json = &comparison->json;
    if (!settings->json) {
        printf("%-40s %12s %12s %10s\n", settings->stat, "old", "new", "change");
        compare_rows(comparison, old, new);
        printf("%u rows compared, %u worse by more than %g %%", comparison->compared, comparison->worse,
               settings->regress_max * 100);
        if (comparison->gone != 0)
            printf(", %u gone", comparison->gone);
        fputc('\n', stdout);
        return fflush(stdout) == 0 ? 0 : -errno;
    }
    json_write_begin(json, stdout);
    json_open_object(json);
    json_put_name(json, "schema");
    json_put_text(json, "walbench.compare/1");
    json_put_name(json, "statistic");
    json_put_text(json, settings->stat);
    json_put_name(json, "allowed");
    json_put_double(json, settings->regress_max);
    json_put_name(json, "rows");
    json_open_array(json);
    compare_rows(comparison, old, new);
    json_close_array(json);
    json_put_name(json, "compared");
    json_put_u64(json, comparison->compared);
    json_put_name(json, "worse");
    json_put_u64(json, comparison->worse);
    json_put_name(json, "gone");
    json_put_u64(json, comparison->gone);
    json_close_object(json);
    return json_write_end(json);
}

int command_compare(struct settings *settings)
{
    struct comparison comparison = {.settings = settings};
    struct json_value *old = session_read_result(settings->words[0]);
    struct json_value *new = old == NULL ? NULL : session_read_result(settings->words[1]);
    int code = EXIT_SETUP;
    if (new != NULL) {
        tell_places(old, new);
        int error = show_all(&comparison, old, new);
        tell_new_rows(old, new);
        if (error != 0 && error != -EPIPE)
            say_on_stderr("standard output: %s", strerror(-error));
        else if (comparison.compared == 0)
            say_on_stderr("the two results have no row in common");
        else
            code = comparison.worse + comparison.gone != 0 ? EXIT_ASSERTION : EXIT_MEASURED;
    }
    json_free(old);
    json_free(new);
    return code;
}
