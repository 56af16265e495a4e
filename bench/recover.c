/* recover.c - walbench recover: how fast a log of a size opens and verifies, with its pages in the cache or not.
 *
 * Each size has a log of its own, of records of 128 bytes in segments of 64 MiB. "after a crash" is one: a child is
 * killed while it appends. Cold means that the pages of the log's files were dropped before. */

#define _GNU_SOURCE
#include "bench/session.h"

#include <string.h>
#include <sys/stat.h>

#include "bench/reopen.h"

static bool add(struct session *session, enum row_kind kind, const char *method, const char *layout, uint64_t bytes)
{
    struct row *row = result_add(&session->result);
    if (row == NULL)
        return false;
    row->kind = kind;
    row->section = kind == ROW_OPEN ? "opening a log" : "verifying every record of a log";
    row->method = method;
    row->layout = layout;
    row->engine = "libwal";
    row->direct = strcmp(layout, "warm") != 0;
    row->size_bytes = REOPEN_RECORD_BYTES;
    row->log_bytes = bytes;
    snprintf(row->id, sizeof(row->id), "%s.%s.%lluM", method, layout, (unsigned long long)(bytes >> 20));
    snprintf(row->label, sizeof(row->label), "%s, %s, %llu MiB",
             kind == ROW_VERIFY            ? "verify"
             : strcmp(method, "open") == 0 ? "closed in order"
                                           : "after a crash",
             layout, (unsigned long long)(bytes >> 20));
    return true;
}

static void log_path(const struct session *session, const struct row *row, char path[4096])
{
    snprintf(path, 4096, "%s/recover-%lluM", session->directory, (unsigned long long)(row->log_bytes >> 20));
}

static int make_when_missing(const char *path, uint64_t bytes)
{
    struct stat status;
    return stat(path, &status) == 0 ? 0 : reopen_make(path, bytes);
}

static void add_once(struct row *row, uint64_t took_ns, uint64_t records, uint64_t bytes)
{
    struct histogram once = {.count = 0};
    histogram_add(&once, took_ns, 1);
    row_add_round(row, &once, took_ns);
    row->records_done += records;
    row->bytes += bytes;
}

static int run_open(struct row *row, const char *path)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    uint64_t took_ns;
    bool crashes = strcmp(row->method, "open-crashed") == 0;
    int result = crashes ? reopen_crash(path) : 0;
    if (result != 0)
        return result;
    if (strcmp(row->layout, "cold") == 0)
        reopen_drop_pages(path);
    result = reopen_open(path, strcmp(row->layout, "warm") == 0 ? WAL_BUFFERED : 0, &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    add_once(row, took_ns, wal_last_index(log) + 1 - wal_first_index(log), row->log_bytes);
    return close_log(log, crashes ? reopen_shorten(log, row->log_bytes) : 0);
}

static int run_verify(struct row *row, const char *path)
{
    struct wal *log = NULL;
    struct wal_verdict verdict;
    struct wal_verify_report report;
    uint64_t took_ns;
    bool warm = strcmp(row->layout, "warm") == 0;
    int result = reopen_open(path, WAL_READ_ONLY | (warm ? WAL_BUFFERED : 0), &log, &verdict, &took_ns);
    if (result != 0)
        return result;
    if (!warm)
        reopen_drop_pages(path);
    result = reopen_verify(log, &report, &took_ns);
    if (result == 0 && warm) /* The first one filled the cache. */
        result = reopen_verify(log, &report, &took_ns);
    if (result == 0)
        add_once(row, took_ns, report.records, report.bytes);
    return close_log(log, result);
}

int recover_run(struct session *session, struct row *row)
{
    char path[4096];
    log_path(session, row, path);
    int result = make_when_missing(path, row->log_bytes);
    if (result != 0 || interrupted())
        return result;
    return row->kind == ROW_OPEN ? run_open(row, path) : run_verify(row, path);
}

int command_recover(struct settings *settings)
{
    static const uint64_t sizes_usual[] = {UINT64_C(64) << 20, UINT64_C(256) << 20, UINT64_C(1) << 30};
    struct session session = {0};
    const uint64_t *sizes = settings->log_sizes.count != 0 ? settings->log_sizes.values : sizes_usual;
    unsigned count = list_count(&settings->log_sizes, settings->quick ? 1 : 3);
    uint64_t all_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        all_bytes += sizes[i] + sizes[i] / 8 + 8 * (uint64_t)REOPEN_SEGMENT_BYTES;
    int code = session_begin(&session, settings, "recover", all_bytes);
    bool added = code == EXIT_MEASURED;
    for (unsigned i = 0; added && i < count; i++)
        added = add(&session, ROW_OPEN, "open", "cold", sizes[i]) &&
                add(&session, ROW_OPEN, "open-crashed", "cold", sizes[i]);
    for (unsigned i = 0; added && i < count; i++)
        added = add(&session, ROW_VERIFY, "verify", "cold", sizes[i]) &&
                add(&session, ROW_VERIFY, "verify", "warm", sizes[i]);
    if (code == EXIT_MEASURED && !added)
        code = EXIT_SETUP;
    if (code == EXIT_MEASURED)
        code = session_measure(&session);
    return session_end(&session, code);
}
