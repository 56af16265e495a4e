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

enum { TAIL_DEFAULT = 10, POLL_MS = 100, WITNESSES = 64 };

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

/* What the newest shown records were: a truncation with something new in its place keeps the indexes, not these. */
struct witness {
    uint64_t index, tag, digest; /* Index 0: none. */
};

struct shown {
    uint64_t next; /* The first one not shown. */
    bool first_time;
    struct witness witnesses[WITNESSES]; /* By index % WITNESSES. */
};

static bool witness_of(struct wal_cursor *cursor, uint64_t index, struct witness *witness)
{
    struct wal_record record;
    wal_cursor_seek(cursor, index);
    if (wal_cursor_next(cursor, &record) != 0) {
        return false;
    }
    *witness = (struct witness){
        .index = index, .tag = record.tag, .digest = payload_digest(record.data, record.size) ^ record.type};
    return true;
}

static void remember_shown(struct shown *shown, struct wal *log, uint64_t first, uint64_t last)
{
    struct wal_cursor *cursor;
    uint64_t from = last - first + 1 > WITNESSES ? last - WITNESSES + 1 : first;
    if (wal_cursor_open(log, from, &cursor) != 0) {
        return;
    }
    for (uint64_t index = from; index <= last; index++) {
        struct witness *witness = &shown->witnesses[index % WITNESSES];
        if (!witness_of(cursor, index, witness)) {
            *witness = (struct witness){0};
        }
    }
    wal_cursor_close(cursor);
}

/* The first index that was shown and is another record now; shown->next: none. */
static uint64_t first_replaced(const struct shown *shown, struct wal *log, uint64_t first, uint64_t last)
{
    struct wal_cursor *cursor;
    uint64_t replaced = last + 1 < shown->next ? last + 1 : shown->next;
    if (wal_cursor_open(log, first, &cursor) != 0) {
        return replaced;
    }
    /* From the newest down: below the first one that is the same, all are. */
    while (replaced > first && replaced + WITNESSES > shown->next) {
        const struct witness *then = &shown->witnesses[(replaced - 1) % WITNESSES];
        struct witness now;
        if (then->index != replaced - 1 || !witness_of(cursor, replaced - 1, &now) ||
            (now.tag == then->tag && now.digest == then->digest)) {
            break;
        }
        replaced--;
    }
    wal_cursor_close(cursor);
    return replaced;
}

/* Shows records from shown->next on to the end as it is now; it moves behind it. */
static int show_news(struct settings *settings, struct shown *shown)
{
    struct view_log view;
    int code = view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE || view.log == NULL) {
        if (view.log == NULL && code == EXIT_NEGATIVE) {
            view_tell(&view);
        }
        return code;
    }
    settings->raft_types = view.is_raft;
    uint64_t first = wal_first_index(view.log);
    uint64_t last = wal_durable_index(view.log);
    uint64_t replaced = shown->first_time ? 0 : first_replaced(shown, view.log, first, last);
    if (shown->first_time) {
        view_tell(&view);
        shown->next = last - first + 1 > settings->limit ? last - settings->limit + 1 : first;
        shown->first_time = false;
    } else if (first > shown->next) {
        complain("note: records %" PRIu64 " to %" PRIu64 " were removed before they were shown", shown->next,
                 first - 1);
        shown->next = first;
    } else if (replaced < shown->next) {
        complain("note: the log was truncated from index %" PRIu64 " on; it ends at %" PRIu64 " now", replaced, last);
        shown->next = replaced;
    }
    int status = 0;
    if (shown->next <= last) {
        uint64_t limit = settings->limit;
        settings->limit = UINT64_MAX; /* Counted by shown->next: filters come after. */
        (void)records_show(settings, view.log, shown->next, last, &status);
        settings->limit = limit;
        remember_shown(shown, view.log, shown->next, last);
        shown->next = last + 1;
    }
    if (status == WAL_ECOMPACTED && !interrupted()) {
        status = 0; /* It went while it was shown: the next look tells. */
    }
    int told = view_status(&view, status);
    view_close(&view);
    return told > code ? told : code;
}

int command_tail(struct settings *settings)
{
    struct shown shown = {.first_time = true};
    settings->limit = settings->limit_given ? settings->limit : TAIL_DEFAULT;
    records_begin(settings);
    uint64_t seen = fingerprint(settings->path);
    int code = show_news(settings, &shown);
    while (settings->follow && code == EXIT_READABLE && !interrupted()) {
        emit_finish();
        wait_for_change(settings->path, seen);
        seen = fingerprint(settings->path); /* Before the look: what changes during it is seen the next time. */
        code = interrupted() ? code : show_news(settings, &shown);
    }
    return code;
}
