/* view.c - the library's view of a log, and records as people see them.
 *
 * The happy path: view_open opens read only, without a lock; the verdict says what recovery would find. Records come
 * from cursors, verified.
 *
 * What can fail: the directory is no log, or cannot be read: EXIT_DISK, said with the library's own sentence. A newer
 * format: EXIT_NEWER. Damage is a verdict, and what reads is read.
 *
 * Invariants: nothing is written; payloads are shown only in the form that was asked for, by default none of a byte. */

#define _GNU_SOURCE
#include "raftcore/storage_metadata.h"
#include "tools/raft.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LOOKS_MAX = 10 };

int exit_code_of(int status)
{
    switch (status) {
    case WAL_OK:
        return EXIT_READABLE;
    case WAL_ECORRUPT:
    case WAL_EUNCERTAIN:
    case WAL_ECOMPACTED:
    case WAL_EBEYOND:
        return EXIT_NEGATIVE;
    case WAL_ENEWER:
        return EXIT_NEWER;
    default:
        return EXIT_DISK;
    }
}

const char *verdict_word(enum wal_verdict_kind kind)
{
    static const char *const words[] = {"none", "clean", "torn", "uncertain", "corrupt"};
    return words[kind];
}

const char *verdict_text(const struct wal_verdict *verdict, char text[WAL_VERDICT_TEXT_BYTES])
{
    char range[64];
    (void)snprintf(range, sizeof(range), "records %" PRIu64 " to %" PRIu64, verdict->first_index, verdict->last_index);
    const char *at = verdict->first_index > verdict->last_index ? strstr(verdict->text, range) : NULL;
    if (at == NULL) {
        return verdict->text;
    }
    (void)snprintf(text, WAL_VERDICT_TEXT_BYTES, "%.*sno records%s", (int)(at - verdict->text), verdict->text,
                   at + strlen(range));
    return text;
}

bool view_in_use(const char *directory, uint64_t *pid)
{
    struct stat facts;
    char line[256];
    *pid = 0;
    FILE *locks = stat(directory, &facts) == 0 ? fopen("/proc/locks", "re") : NULL;
    bool held = false;
    while (locks != NULL && !held && fgets(line, sizeof(line), locks) != NULL) {
        unsigned long long owner, inode;
        unsigned major_number, minor_number;
        const char *flock_at = strstr(line, "FLOCK");
        held = flock_at != NULL && strstr(line, "->") == NULL &&
               sscanf(flock_at, "FLOCK %*s %*s %llu %x:%x:%llu", &owner, &major_number, &minor_number, &inode) == 4 &&
               inode == facts.st_ino && makedev(major_number, minor_number) == facts.st_dev;
        *pid = held ? owner : 0;
    }
    if (locks != NULL) {
        (void)fclose(locks);
    }
    return held;
}

char *shell_quoted(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@%=";
    size_t length = strlen(path);
    if (length > 0 && strspn(path, plain) == length && path[0] != '-') {
        return strdup(path);
    }
    char *quoted = malloc(4 * length + 5);
    char *at = quoted;
    if (quoted == NULL) {
        return NULL;
    }
    if (path[0] == '-') {
        *at++ = '.';
        *at++ = '/';
    }
    *at++ = '\'';
    for (; *path != '\0'; path++) {
        if (*path == '\'') {
            at = stpcpy(at, "'\\''");
        } else {
            *at++ = *path;
        }
    }
    *at++ = '\'';
    *at = '\0';
    return quoted;
}

static int open_once(struct view_log *view, const char *directory, enum wal_backend backend, uint32_t more_flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_READ_ONLY | more_flags; /* The only thread that a reader starts is the one of wal_verify. */
    options.segments_max = 65536;
    options.backend = backend;
    view->status = wal_open(directory, &options, &view->log, &view->verdict);
    if (view->status == WAL_EIO || view->status == WAL_EINVAL) {
        /* A file system without direct I/O, or one that does it badly. */
        options.flags |= WAL_BUFFERED;
        view->status = wal_open(directory, &options, &view->log, &view->verdict);
    }
    if (view->status != 0) {
        view->log = NULL;
    }
    return view->status;
}

/* By the metadata: does a Raft node keep this log? */
static bool is_raft_log(struct wal *log)
{
    struct storage_metadata metadata;
    uint8_t bytes[WAL_METADATA_BYTES_MAX];
    size_t size = 0;
    return log != NULL && wal_metadata(log, bytes, sizeof(bytes), &size) == 0 &&
           storage_decode_metadata(bytes, size, &metadata);
}

static int open_log(struct view_log *view, const char *directory, enum wal_backend backend, uint32_t more_flags)
{
    *view = (struct view_log){0};
    int status = open_once(view, directory, backend, more_flags);
    for (unsigned turn = 0; turn < LOOKS_MAX && (status == WAL_ENOENT || status == WAL_ECOMPACTED); turn++) {
        /* A writer rolls and recycles faster than we look. */
        const struct timespec pause = {.tv_nsec = 20000000};
        struct stat facts;
        if (stat(directory, &facts) != 0 || !S_ISDIR(facts.st_mode)) {
            break;
        }
        (void)nanosleep(&pause, NULL);
        status = open_once(view, directory, backend, more_flags);
    }
    view->directory = directory;
    if (status != 0 && status != WAL_ECORRUPT && status != WAL_EUNCERTAIN) {
        complain("%s: %s%s%s", directory, wal_strerror(status), view->verdict.text[0] != '\0' ? ": " : "",
                 view->verdict.text);
        raft_hint(directory);
        return exit_code_of(status);
    }
    view->is_raft = is_raft_log(view->log);
    bool damaged = view->verdict.kind == WAL_VERDICT_CORRUPT || view->verdict.kind == WAL_VERDICT_UNCERTAIN;
    return status != 0 || damaged ? EXIT_NEGATIVE : EXIT_READABLE;
}

int view_open(struct view_log *view, const char *directory)
{
    return open_log(view, directory, WAL_BACKEND_POSIX, 0); /* Making a ring costs more than most looks. */
}

int view_open_whole(struct view_log *view, const char *directory, bool cached)
{
    return open_log(view, directory, WAL_BACKEND_AUTO, cached ? WAL_BUFFERED : 0);
}

void view_close(struct view_log *view)
{
    if (view->log != NULL) {
        (void)!wal_close(view->log);
    }
    view->log = NULL;
}

bool view_needs(struct view_need *need, const char *directory, uint64_t first, uint64_t end_index)
{
    if (!need->asked) {
        need->asked = true;
        bool open = view_open(&need->view, directory) == EXIT_READABLE;
        need->cursor = NULL;
        if (open && wal_cursor_open(need->view.log, 0, &need->cursor) != 0) {
            need->cursor = NULL;
        }
    }
    if (need->cursor == NULL) {
        return true;
    }
    uint64_t last = wal_durable_index(need->view.log);
    first = first < wal_first_index(need->view.log) ? wal_first_index(need->view.log) : first;
    for (uint64_t index = first; index < end_index && index <= last && !interrupted(); index++) {
        struct wal_record record;
        wal_cursor_seek(need->cursor, index);
        int status = wal_cursor_next(need->cursor, &record);
        if (status != 0 && status != WAL_EBEYOND && status != WAL_ECOMPACTED) {
            return true;
        }
    }
    return interrupted();
}

void view_need_close(struct view_need *need)
{
    if (need->asked) {
        wal_cursor_close(need->cursor);
        view_close(&need->view);
    }
    *need = (struct view_need){.asked = false};
}

int view_range(const struct view_log *view, const struct settings *settings, uint64_t *first, uint64_t *last)
{
    uint64_t low = wal_first_index(view->log);
    uint64_t high = wal_durable_index(view->log);
    bool asked = settings->from_given || settings->to_given;
    *first = settings->from > low ? settings->from : low;
    *last = settings->to < high ? settings->to : high;
    bool nothing = *first > *last;
    if (asked && low > high) {
        complain("the log is empty: its next index is %" PRIu64, low);
    } else if (asked && nothing) {
        complain("no index %" PRIu64 ": the log holds %" PRIu64 " to %" PRIu64,
                 settings->from > high ? settings->from : settings->to, low, high);
    } else if (settings->from_given && settings->from < low) {
        complain("note: no index %" PRIu64 ": the log holds %" PRIu64 " to %" PRIu64, settings->from, low, high);
    }
    if (nothing) { /* As of an empty log that goes on at the first index asked for. */
        *first = *first < low ? low : *first > high + 1 ? high + 1 : *first;
        *last = *first - 1;
    }
    return asked && nothing ? EXIT_NEGATIVE : EXIT_READABLE;
}

/* What a verdict says to one who asked for records. */
void view_tell(const struct view_log *view)
{
    const struct wal_verdict *verdict = &view->verdict;
    char text[WAL_VERDICT_TEXT_BYTES];
    uint64_t pid;
    if (verdict->kind == WAL_VERDICT_TORN && view->directory != NULL && view_in_use(view->directory, &pid)) {
        complain("note: the log is in use; it was whole up to record %" PRIu64 " when it was opened",
                 verdict->last_index);
    } else if (verdict->kind == WAL_VERDICT_TORN) {
        complain("note: %s", verdict_text(verdict, text));
    } else if (verdict->kind == WAL_VERDICT_CORRUPT || verdict->kind == WAL_VERDICT_UNCERTAIN) {
        complain("%s", verdict->text);
    }
}

int view_status(const struct view_log *view, int status)
{
    if (status != 0 && status != WAL_ECORRUPT) {
        char text[512] = "";
        (void)wal_errmsg(view->log, text, sizeof(text));
        complain("%s: %s", wal_strerror(status), text);
    }
    return exit_code_of(status);
}

/* --- records ------------------------------------------------------------------------------------- */

uint64_t payload_digest(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

bool record_wanted(const struct settings *settings, const struct wal_record *record)
{
    bool type_fits = settings->type_count == 0;
    for (unsigned i = 0; i < settings->type_count; i++) {
        type_fits = type_fits || settings->types[i] == record->type;
    }
    bool tag_fits = settings->tag_count == 0;
    for (unsigned i = 0; i < settings->tag_count; i++) {
        tag_fits = tag_fits || settings->tags[i] == record->tag;
    }
    return type_fits && tag_fits && record->size >= settings->min_size;
}

const char *type_text(uint16_t type, bool is_raft, char buffer[24])
{
    const char *name = is_raft ? raft_type_text(type) : NULL;
    (void)snprintf(buffer, 24, "unknown(0x%02x)", type);
    return name != NULL ? name : buffer;
}

void emit_record(struct settings *settings, const struct wal_record *record)
{
    struct emit *emit = &settings->emit;
    char buffer[24];
    emit_u64(emit, "tag", record->tag);
    if (emit->format == EMIT_TEXT) {
        emit_text(emit, "type", type_text(record->type, settings->raft_types, buffer));
    } else {
        emit_u64(emit, "type", record->type);
    }
    emit_u64(emit, "size", record->size);
    emit_x64(emit, "xxh3", payload_digest(record->data, record->size));
}

void emit_payload(struct settings *settings, const struct wal_record *record)
{
    struct emit *emit = &settings->emit;
    size_t shown_bytes = record->size < settings->max_payload ? record->size : (size_t)settings->max_payload;
    switch (settings->payload) {
    case PAYLOAD_HEX:
        emit_hex(emit, "payload", record->data, shown_bytes);
        break;
    case PAYLOAD_TEXT:
        emit_bytes(emit, "payload", record->data, shown_bytes);
        break;
    case PAYLOAD_BASE64:
        emit_base64(emit, "payload", record->data, shown_bytes);
        break;
    case PAYLOAD_LEN:
    case PAYLOAD_NONE:
        emit_none(emit, "payload"); /* JSON has the key always. */
        break;
    }
}
