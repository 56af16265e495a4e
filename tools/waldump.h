/* waldump.h - what the commands share: the settings of a run, and the library's view of a log. */

#ifndef TOOLS_WALDUMP_H
#define TOOLS_WALDUMP_H

#include "tools/emit.h"
#include "tools/segments.h"
#include "wal/wal.h"

#include <stdbool.h>
#include <stdint.h>

enum payload_form { PAYLOAD_LEN, PAYLOAD_HEX, PAYLOAD_TEXT, PAYLOAD_BASE64, PAYLOAD_NONE };
enum view { VIEW_LOG, VIEW_PHYSICAL };
enum grouping { GROUP_NOTHING, GROUP_TYPE, GROUP_SIZE, GROUP_SEGMENT };

enum { LIST_MAX = 64 };

/* What the command line says; 0 where it says nothing, but for the limits. */
struct settings {
    const char *command;
    const char *path;
    const char *second; /* DIR_B of diff, INDEX of get and hex. */
    uint64_t from;      /* 1 when not given. */
    uint64_t to;        /* UINT64_MAX when not given. */
    bool from_given;
    uint64_t limit; /* UINT64_MAX when not given. */
    bool limit_given;
    bool reverse;
    uint16_t types[LIST_MAX];
    unsigned type_count;
    uint64_t tags[LIST_MAX];
    unsigned tag_count;
    bool to_given;
    uint64_t segment; /* 0: not given. */
    uint64_t min_size;
    uint64_t max_payload; /* UINT64_MAX when not given. */
    enum payload_form payload;
    enum view view;
    enum grouping by;
    uint64_t place_segment; /* 0: --offset was not given. */
    uint64_t place_offset;
    bool deep;
    bool cached; /* Through the page cache, which may hide what the disk has become. */
    bool strict;
    bool quiet;
    bool follow;
    bool apply;
    const char *backup;
    unsigned look_pause_ms; /* Before a second look at what seems bad: a writer may be at work. */
    enum progress_wish progress;
    bool colour;
    bool raft_types; /* Found in the log, not on the command line: types have the names of a Raft node's. */
    struct emit emit;
};

/* The commands. Each returns an exit code, and has said on stderr why when it is not 0. */
int command_ls(struct settings *settings);
int command_dump(struct settings *settings);
int command_tail(struct settings *settings);
int command_get(struct settings *settings);
int command_stat(struct settings *settings);
int command_verify(struct settings *settings);
int command_explain(struct settings *settings);
int command_hex(struct settings *settings);
int command_diff(struct settings *settings);
int command_export(struct settings *settings);
int command_import(struct settings *settings);
int command_repair(struct settings *settings);
int command_meta(struct settings *settings);
int command_snapshot(struct settings *settings);
int command_format(struct settings *settings);

/* --- the library's view (view.c) ----------------------------------------------------------------- */

/* A log opened read only, and the verdict on it. */
struct view_log {
    const char *directory;
    struct wal *log; /* NULL: it cannot be opened; verdict tells why. */
    struct wal_verdict verdict;
    int status;
    bool is_raft; /* By its metadata it is a Raft node's. */
};

/* Opens without a lock. An exit code: 0 also for a torn tail; EXIT_NEGATIVE for damage, with the handle open if any of
 * it reads. Says nothing but for EXIT_DISK and EXIT_NEWER. */
int view_open(struct view_log *view, const char *directory);
/* The same, to read all of it: reads run ahead in a ring of their own where there can be one. */
int view_open_whole(struct view_log *view, const char *directory, bool cached);
void view_close(struct view_log *view);

/* Of records that do not read: does the log need them? Those that were truncated later are in dead space. */
struct view_need {
    struct view_log view;
    struct wal_cursor *cursor;
    bool asked;
};

/* Is any record of [first, end_index) one that recovery should deliver, and cannot? True also where the log does not
 * tell. Opens the log at the first question; to be closed, also when none was asked. */
bool view_needs(struct view_need *need, const char *directory, uint64_t first, uint64_t end_index);
void view_need_close(struct view_need *need);

/* Has a writer the log open? By the kernel's list of locks, so that none need be taken. *pid: its process, 0 when that
 * is not told. False also where the list cannot be read. */
bool view_in_use(const char *directory, uint64_t *pid);

/* [*first, *last] becomes what of the log --from and --to leave: *last is *first - 1 when that is nothing. Says on
 * stderr when they ask for what is not there; EXIT_NEGATIVE when nothing is left that was asked for by an index. */
int view_range(const struct view_log *view, const struct settings *settings, uint64_t *first, uint64_t *last);

/* Says on stderr what is not in order: a note for a torn tail, the verdict for damage. */
void view_tell(const struct view_log *view);

/* The exit code for a status of the open log; it says why on stderr, but for damage, which has been told. */
int view_status(const struct view_log *view, int status);

/* The exit code for a status of the library. */
int exit_code_of(int status);

/* A path as a shell wants it, in quotes where it needs them; NULL: no memory. The caller frees it. */
char *shell_quoted(const char *path);

/* "clean", "torn", "uncertain", "corrupt". */
const char *verdict_word(enum wal_verdict_kind kind);

/* What the verdict says; of an empty log "no records", where the library has "records 1 to 0". */
const char *verdict_text(const struct wal_verdict *verdict, char text[WAL_VERDICT_TEXT_BYTES]);

/* --- records as people see them (view.c) --------------------------------------------------------- */

/* Does a record pass --type, --tag, --min-size? */
bool record_wanted(const struct settings *settings, const struct wal_record *record);

/* The fields tag, type, size and xxh3; and the payload, in the form asked for. */
void emit_record(struct settings *settings, const struct wal_record *record);
void emit_payload(struct settings *settings, const struct wal_record *record);

/* "unknown(0x2a)": the log gives types no meaning; those in a Raft node's log have names. */
const char *type_text(uint16_t type, bool is_raft, char buffer[24]);

/* XXH3-64 of the payload alone: the same in every copy of the record. */
uint64_t payload_digest(const void *data, size_t size);

#endif
