/* snapshot.c - snapshot: what a Raft node's snapshot files hold, and whether every byte of them reads.
 *
 * The happy path: one file is shown as a block of lines; of a directory (a node's snapshots/, or the node's own) each
 * file is a row, indexes rising. Every file is read whole: a node does the same whenever it starts.
 *
 * What can fail: a file that does not read is a row that says so, and the others are shown all the same; the exit code
 * is the worst of all. A node may be at work meanwhile: a file that has gone since the directory was listed has no row;
 * one under its name does not change any more, so a second look is not needed.
 *
 * Invariants: what a file is called decides only what the node makes of it; what is told of its bytes comes from the
 * bytes alone. Nothing is written, and no part of the state is shown. */

#define _GNU_SOURCE
#include "raftcore/configuration.h"
#include "tools/raft.h"
#include "tools/snapshot_look.h"
#include "tools/waldump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum outcome { OK, DAMAGED, HALF_MADE, NOT_A_SNAPSHOT, NEWER, UNREADABLE, CUT_SHORT };

static const struct outcome_of {
    const char *word;
    const char *headline;
    int code; /* In a directory; a single file that is no snapshot is EXIT_DISK. */
} outcomes[] = {
    [OK] = {"ok", "OK", EXIT_READABLE},
    [DAMAGED] = {"damaged", "DAMAGED", EXIT_NEGATIVE},
    [HALF_MADE] = {"half-made", "HALF MADE", EXIT_READABLE},
    [NOT_A_SNAPSHOT] = {"not-a-snapshot", "NOT A SNAPSHOT", EXIT_READABLE},
    [NEWER] = {"newer", "A NEWER FORMAT", EXIT_NEWER},
    [UNREADABLE] = {"unreadable", "UNREADABLE", EXIT_DISK},
    [CUT_SHORT] = {"interrupted", "INTERRUPTED", EXIT_READABLE},
};

struct entry {
    char *name;
    enum raft_name kind;
    uint64_t index;
    uint64_t bytes;
};

struct directory {
    char *path;
    int fd;
    struct entry *list;
    size_t count, room;
    bool single; /* One file was named. */
};

__attribute__((noreturn)) static void out_of_memory(void)
{
    complain("out of memory");
    exit(EXIT_DISK);
}

/* --- what a file is ------------------------------------------------------------------------------ */

static void say(struct snapshot_look *look, const char *text)
{
    size_t used = strlen(look->text);
    (void)snprintf(look->text + used, sizeof(look->text) - used, "%s%s", used != 0 ? "; " : "", text);
}

/* By its bytes, and by what the node makes of its name. */
static enum outcome judge(const struct entry *entry, struct snapshot_look *look)
{
    static const enum outcome by_content[] = {
        [SNAPSHOT_WHOLE] = OK,    [SNAPSHOT_DAMAGED] = DAMAGED,       [SNAPSHOT_NONE] = NOT_A_SNAPSHOT,
        [SNAPSHOT_NEWER] = NEWER, [SNAPSHOT_UNREADABLE] = UNREADABLE, [SNAPSHOT_CUT_SHORT] = CUT_SHORT};
    enum outcome outcome = by_content[look->content];
    if (outcome == UNREADABLE || outcome == CUT_SHORT) {
        return outcome;
    }
    bool other_index = entry->kind != RAFT_NAME_OTHER && look->has_header && look->header.index != entry->index;
    if (other_index) {
        say(look, "its name is another index than its header's");
    }
    switch (entry->kind) {
    case RAFT_NAME_HALF:
        say(look, outcome == OK ? "all of it is there, but not its name: the node removes it when it starts"
                                : "the node removes it when it starts");
        return HALF_MADE;
    case RAFT_NAME_SHADOW:
        say(look, "by its name the node takes it for half made, and removes it when it starts");
        return outcome;
    case RAFT_NAME_SNAPSHOT:
        return outcome == NOT_A_SNAPSHOT || (outcome == OK && other_index) ? DAMAGED : outcome;
    case RAFT_NAME_OTHER:
        if (outcome != NOT_A_SNAPSHOT) {
            say(look, "the node does not look at files of this name");
        }
        return outcome;
    }
    return outcome;
}

/* --- showing it ---------------------------------------------------------------------------------- */

static void emit_number(struct emit *emit, const char *name, bool known, uint64_t value)
{
    known ? emit_u64(emit, name, value) : emit_none(emit, name);
}

static void show_row(struct emit *emit, const struct directory *directory, const struct entry *entry,
                     enum outcome outcome, const struct snapshot_look *look)
{
    const struct snapshot_header *header = &look->header;
    char text[CONFIGURATION_TEXT_BYTES];
    bool known = look->has_header;
    emit_row(emit);
    emit_text(emit, "file", entry->name);
    emit_text(emit, "outcome", outcomes[outcome].word);
    emit_number(emit, "index", known, header->index);
    emit_number(emit, "term", known, header->term);
    emit_number(emit, "cluster_id", known, header->cluster_id);
    emit_number(emit, "state_bytes", known, header->state_bytes);
    emit_number(emit, "chunks", known, known ? snapshot_chunk_count(header->state_bytes) : 0);
    emit_number(emit, "file_bytes", known, header->file_bytes);
    known ? emit_text(emit, "configuration", configuration_text(&header->configuration, text))
          : emit_none(emit, "configuration");
    known ? emit_x64(emit, "id", header->id) : emit_none(emit, "id");
    emit_u64(emit, "bytes", look->bytes);
    emit_bool(emit, "first_header", look->first_reads);
    emit_bool(emit, "second_header", look->second_reads);
    look->table_checked ? emit_bool(emit, "table", look->table_reads) : emit_none(emit, "table");
    emit_u64(emit, "chunks_checked", look->chunks_checked);
    emit_number(emit, "damaged_chunk", look->chunk_is_damaged, look->chunks_checked);
    emit_number(emit, "offset", look->has_offset, look->offset);
    emit_text(emit, "text", look->text);
    emit_text(emit, "path", directory->path);
    emit_bool(emit, "partial", outcome == CUT_SHORT);
    emit_end(emit);
}

/* One file, for people. */
static void show_lines(const struct settings *settings, enum outcome outcome, const struct snapshot_look *look)
{
    const struct snapshot_header *header = &look->header;
    char text[CONFIGURATION_TEXT_BYTES];
    (void)printf("%s: %s\n", shown(settings->path), outcomes[outcome].headline);
    if (look->has_header) {
        emit_line("index", "%" PRIu64 ", term %" PRIu64, header->index, header->term);
        emit_line("cluster", "%" PRIu64, header->cluster_id);
        emit_line("configuration", "%s", configuration_text(&header->configuration, text));
        emit_line("id", "%016" PRIx64, header->id);
        emit_line("state", "%" PRIu64 " bytes in %" PRIu64 " chunks; %" PRIu64 " of them read and checked",
                  header->state_bytes, snapshot_chunk_count(header->state_bytes), look->chunks_checked);
        emit_line("headers", "%s",
                  look->first_reads && look->second_reads ? "both read"
                  : look->first_reads                     ? "only the first reads"
                                                          : "only the second reads");
        emit_line("table", "%s",
                  !look->table_checked       ? "not checked"
                  : !look->table_reads       ? "does not read"
                  : header->state_bytes == 0 ? "empty"
                                             : "reads");
    }
    emit_line("file", "%" PRIu64 " bytes", look->bytes);
    if (look->has_offset) {
        emit_line("offset", "0x%" PRIx64, look->offset);
    }
    if (look->text[0] != '\0') {
        emit_line("note", "%s", look->text);
    }
    emit_finish();
}

static void begin_rows(struct emit *emit)
{
    static const struct emit_column for_people[] = {{"file", -29}, {"outcome", -9},     {"index", 12},
                                                    {"term", 8},   {"state_bytes", 14}, {"configuration", -24},
                                                    {"id", -16},   {"text", 0}};
    static const struct emit_column all[] = {
        {"file", 0},          {"outcome", 0},      {"index", 0},         {"term", 0},          {"cluster_id", 0},
        {"state_bytes", 0},   {"chunks", 0},       {"file_bytes", 0},    {"configuration", 0}, {"id", 0},
        {"bytes", 0},         {"first_header", 0}, {"second_header", 0}, {"table", 0},         {"chunks_checked", 0},
        {"damaged_chunk", 0}, {"offset", 0},       {"text", 0}};
    bool text = emit->format == EMIT_TEXT;
    emit_begin(emit, "waldump.snapshot/1", text ? for_people : all,
               text ? sizeof(for_people) / sizeof(for_people[0]) : sizeof(all) / sizeof(all[0]));
}

/* --- files and directories ----------------------------------------------------------------------- */

static void add_entry(struct directory *directory, const char *name)
{
    struct stat facts;
    if (directory->count == directory->room) {
        directory->room = directory->room == 0 ? 64 : 2 * directory->room;
        directory->list = reallocarray(directory->list, directory->room, sizeof(*directory->list));
    }
    char *copy = strdup(name);
    if (directory->list == NULL || copy == NULL) {
        out_of_memory();
    }
    struct entry *entry = &directory->list[directory->count++];
    *entry = (struct entry){.name = copy};
    entry->kind = raft_name_of(name, &entry->index);
    entry->bytes = fstatat(directory->fd, name, &facts, 0) == 0 && facts.st_size > 0 ? (uint64_t)facts.st_size : 0;
}

/* Rising indexes; those of one index by name, and other files at the end. */
static int by_index(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    bool left_other = left->kind == RAFT_NAME_OTHER, right_other = right->kind == RAFT_NAME_OTHER;
    if (left_other != right_other) {
        return left_other ? 1 : -1;
    }
    if (left->index != right->index) {
        return left->index < right->index ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

static int list_entries(struct directory *directory)
{
    int copy = dup(directory->fd);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    unsigned ours = 0;
    errno = entries != NULL ? 0 : errno;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        struct stat facts;
        uint64_t index;
        bool is_ours = raft_name_of(entry->d_name, &index) != RAFT_NAME_OTHER;
        bool is_sign = raft_is_sign(entry->d_name);
        if (is_ours || (!is_sign && fstatat(directory->fd, entry->d_name, &facts, 0) == 0 && S_ISREG(facts.st_mode))) {
            add_entry(directory, entry->d_name);
            ours += is_ours;
        }
        errno = 0;
    }
    int error = errno; /* 0: all was listed. */
    if (error != 0) {
        complain("%s: %s", directory->path, strerror(error));
    } else if (ours == 0) {
        complain("%s: no snapshot of a Raft node here (snapshot-, and 16 hexadecimal digits)", directory->path);
    }
    if (entries != NULL) {
        (void)closedir(entries);
    }
    if (directory->count != 0) {
        qsort(directory->list, directory->count, sizeof(*directory->list), by_index);
    }
    return error == 0 && ours != 0 ? EXIT_READABLE : EXIT_DISK;
}

/* Where the file, or the files, are: of a node's directory in snapshots/. */
static char *directory_of(const char *path, bool single)
{
    struct stat facts;
    char *copy = strdup(path), *below = NULL;
    if (copy == NULL || asprintf(&below, "%s/snapshots", path) < 0) {
        out_of_memory();
    }
    char *found = strdup(single ? dirname(copy) : stat(below, &facts) == 0 && S_ISDIR(facts.st_mode) ? below : path);
    if (found == NULL) {
        out_of_memory();
    }
    free(copy);
    free(below);
    return found;
}

static int open_directory(struct directory *directory, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_DISK;
    }
    directory->single = !S_ISDIR(facts.st_mode);
    directory->path = directory_of(path, directory->single);
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0) {
        complain("%s: %s", directory->path, strerror(errno));
        return EXIT_DISK;
    }
    if (!directory->single) {
        return list_entries(directory);
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        out_of_memory();
    }
    add_entry(directory, basename(copy));
    free(copy);
    return EXIT_READABLE;
}

static void close_directory(struct directory *directory)
{
    for (size_t i = 0; i < directory->count; i++) {
        free(directory->list[i].name);
    }
    if (directory->fd >= 0) {
        (void)close(directory->fd);
    }
    free(directory->list);
    free(directory->path);
}

/* --- the command --------------------------------------------------------------------------------- */

static int show_entry(struct settings *settings, const struct directory *directory, const struct entry *entry,
                      const struct snapshot_span *span)
{
    struct snapshot_look look;
    snapshot_look(directory->fd, entry->name, settings->cached, span, &look);
    if (look.gone && !directory->single) {
        return EXIT_READABLE;
    }
    enum outcome outcome = judge(entry, &look);
    int code = outcome == NOT_A_SNAPSHOT && directory->single ? EXIT_DISK : outcomes[outcome].code;
    emit_worst(code);
    progress_end();
    if (directory->single && settings->emit.format == EMIT_TEXT) {
        show_lines(settings, outcome, &look);
    } else {
        show_row(&settings->emit, directory, entry, outcome, &look);
    }
    return code;
}

int command_snapshot(struct settings *settings)
{
    struct directory directory = {.fd = -1};
    struct snapshot_span span = {0, 0};
    int code = open_directory(&directory, settings->path);
    if (code == EXIT_READABLE) {
        begin_rows(&settings->emit);
    }
    for (size_t i = 0; i < directory.count; i++) {
        span.total_bytes += directory.list[i].bytes;
    }
    bool readable = code == EXIT_READABLE;
    for (size_t i = 0; readable && i < directory.count && !interrupted(); i++) {
        int told = show_entry(settings, &directory, &directory.list[i], &span);
        code = told > code ? told : code;
        span.done_bytes += directory.list[i].bytes;
    }
    close_directory(&directory);
    return code;
}
