/* tail.c - the last records, and those that come.
 *
 * The happy path: the log is opened read only, the last records are shown; with -f the files are watched, and when they
 * have changed the log is opened again and what is new is shown.
 *
 * What can fail: damage ends it, with exit code 1; a log that cannot be opened, with 3. A truncation of the end, or a
 * prefix that went away before it was shown, is told on stderr, and it goes on behind it.
 *
 * Invariants: each record is shown once, in the order of indexes; what is shown was whole on the disk (a crash may
 * still take the last ones: they need not be durable yet). */

#define _GNU_SOURCE
#include "tools/records.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

enum { TAIL_DEFAULT = 10, POLL_MS = 100 };

/* Something that changes when the log does: names and times of its segment files. */
static uint64_t fingerprint(const char *path)
{
    uint64_t sum = 0;
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        struct stat facts;
        uint64_t number = format_segment_of_name(entry->d_name);
        if (number != 0 && fstatat(dirfd(directory), entry->d_name, &facts, 0) == 0) {
            const uint64_t words[3] = {number, (uint64_t)facts.st_mtim.tv_sec, (uint64_t)facts.st_mtim.tv_nsec};
            sum += payload_digest(words, sizeof(words));
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return sum;
}

/* Returns when the files have changed since they gave `seen`, or on a signal. */
static void wait_for_change(const char *path, uint64_t seen)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    do {
        (void)nanosleep(&pause, NULL);
    } while (!interrupted() && fingerprint(path) == seen);
}

/* Shows records from *next on to the end as it is now; *next moves behind it. */
static int show_news(struct settings *settings, uint64_t *next, bool *first_time)
{
    struct view_log view;
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE || view.log == NULL) {
        if (view.log == NULL && code == EXIT_NEGATIVE) {
            view_tell(&view);
        }
        return code;
    }
    uint64_t first = wal_first_index(view.log);
    uint64_t last = wal_durable_index(view.log);
    if (*first_time) {
        view_tell(&view);
        *next = last - first + 1 > settings->limit ? last - settings->limit + 1 : first;
        *first_time = false;
    } else if (last + 1 < *next) {
        complain("note: the log was truncated: it ends at index %" PRIu64 " now", last);
        *next = last + 1;
    } else if (first > *next) {
        complain("note: records %" PRIu64 " to %" PRIu64 " were removed before they were shown", *next, first - 1);
        *next = first;
    }
    int status = 0;
    if (*next <= last) {
        uint64_t limit = settings->limit;
        settings->limit = UINT64_MAX; /* Counted by *next: filters come after. */
        (void)records_show(settings, view.log, *next, last, &status);
        settings->limit = limit;
        *next = last + 1;
    }
    int told = view_status(&view, status);
    view_close(&view);
    return told > code ? told : code;
}

int command_tail(struct settings *settings)
{
    uint64_t next = 0;
    bool first_time = true;
    settings->limit = settings->limit_given ? settings->limit : TAIL_DEFAULT;
    records_begin(settings);
    uint64_t seen = fingerprint(settings->path);
    int code = show_news(settings, &next, &first_time);
    while (settings->follow && code == EXIT_READABLE && !interrupted()) {
        emit_finish();
        wait_for_change(settings->path, seen);
        seen = fingerprint(settings->path); /* Before the look: what changes during it is seen the next time. */
        code = interrupted() ? code : show_news(settings, &next, &first_time);
    }
    return code;
}
