/* waldump.c - the tool that looks into a log: the command line, its help, and the way to the commands.
 *
 * The happy path: the first word names a command; its options are read by getopt_long from one table, which says which
 * commands take them, and which also writes the help; the command does the rest, and its exit code is ours.
 *
 * What can fail: the command line: one line on stderr, exit code 2.
 *
 * Invariants: an option that a command does not take is refused, never ignored; --help goes to stdout with exit code 0.
 * Exit codes: 0 readable (a torn tail is 0, with a note), 1 damage in durable data, no such index, or logs that differ,
 * 2 usage, 3 I/O error or cannot open, 4 a newer format, 130 interrupted. */

#define _GNU_SOURCE
#include "tools/command_line.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- commands ------------------------------------------------------------------------------------ */

enum {
    LS = 1,
    DUMP = 2,
    TAIL = 4,
    GET = 8,
    STAT = 16,
    VERIFY = 32,
    EXPLAIN = 64,
    HEX = 128,
    DIFF = 256,
    EXPORT = 512,
    IMPORT = 1024,
    REPAIR = 2048,
    META = 4096,
    FORMAT = 8192,
    SNAPSHOT = 16384,
    EVERY = 32767
};

static const struct command commands[] = {
    {VERIFY, "verify", "DIR|SEG", 1, 1, "is it whole? clean, torn, uncertain or damaged", command_verify},
    {LS, "ls", "DIR|SEG", 1, 1, "the segments: indexes, records, bytes, state", command_ls},
    {DUMP, "dump", "DIR|SEG", 1, 1, "the records, a line each", command_dump},
    {TAIL, "tail", "DIR", 1, 1, "the last records; -f follows a live log", command_tail},
    {GET, "get", "DIR INDEX", 2, 2, "one payload, raw, to stdout", command_get},
    {STAT, "stat", "DIR|SEG", 1, 1, "counts, sizes, batches, padding, histograms", command_stat},
    {EXPLAIN, "explain", "DIR|SEG", 1, 1, "what stands at --offset, and what recovery makes of it", command_explain},
    {HEX, "hex", "DIR|SEG [INDEX]", 1, 2, "annotated bytes of a record, or at --offset", command_hex},
    {DIFF, "diff", "DIR_A DIR_B", 2, 2, "the first divergence of two logs", command_diff},
    {EXPORT, "export", "DIR", 1, 1, "the log as NDJSON, for import", command_export},
    {IMPORT, "import", "DIR", 1, 1, "makes a log from an export on stdin", command_import},
    {REPAIR, "repair", "DIR", 1, 1, "what a cut would lose; --apply saves it, then cuts", command_repair},
    {META, "meta", "DIR", 1, 1, "the metadata in force, and the doubt", command_meta},
    {SNAPSHOT, "snapshot", "DIR|FILE", 1, 1, "a Raft node's snapshot files, each read whole", command_snapshot},
    {FORMAT, "format", "", 0, 0, "the format on disk as text", command_format},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* --- options ------------------------------------------------------------------------------------- */

enum option_id {
    OPTION_LIMIT = 'n',
    OPTION_FOLLOW = 'f',
    OPTION_QUIET = 'q',
    OPTION_FROM = OPTION_IDS_FROM,
    OPTION_TO,
    OPTION_REVERSE,
    OPTION_TYPE,
    OPTION_TAG,
    OPTION_SEGMENT,
    OPTION_MIN_SIZE,
    OPTION_VIEW,
    OPTION_PAYLOAD,
    OPTION_MAX_PAYLOAD,
    OPTION_BY,
    OPTION_OFFSET,
    OPTION_DEEP,
    OPTION_CACHED,
    OPTION_STRICT,
    OPTION_APPLY,
    OPTION_BACKUP,
    OPTION_JSON,
    OPTION_FORMAT,
    OPTION_PROGRESS,
    OPTION_COLOUR
};

static const struct option_line option_lines[] = {
    {OPTION_FROM, "from", "I", DUMP | DIFF | EXPORT, "first index (inclusive)"},
    {OPTION_TO, "to", "J", DUMP | DIFF | EXPORT, "last index (inclusive)"},
    {OPTION_LIMIT, "limit", "N", DUMP | TAIL, "at most N records"},
    {OPTION_REVERSE, "reverse", NULL, DUMP, "from the last to the first"},
    {OPTION_TYPE, "type", "T[,T]", DUMP | TAIL, "only these types, numbers; 'list' names those known"},
    {OPTION_TAG, "tag", "T[,T]", DUMP | TAIL, "only these tags"},
    {OPTION_SEGMENT, "segment", "S", DUMP | STAT, "only this segment"},
    {OPTION_MIN_SIZE, "min-size", "BYTES", DUMP | TAIL, "only payloads of so many bytes or more (k, M, G)"},
    {OPTION_VIEW, "view", "V", DUMP, "log: what recovery delivers; physical: all batches"},
    {OPTION_PAYLOAD, "payload", "P", DUMP | TAIL | HEX, "len (default, none shown), hex, text, base64, none"},
    {OPTION_MAX_PAYLOAD, "max-payload", "BYTES", DUMP | TAIL, "show at most so much of each payload"},
    {OPTION_FOLLOW, "follow", NULL, TAIL, "go on as the log grows"},
    {OPTION_BY, "by", "G", STAT, "count by type, size or segment"},
    {OPTION_OFFSET, "offset", "SEG:OFF", EXPLAIN | HEX, "the place, as other commands print it"},
    {OPTION_DEEP, "deep", NULL, VERIFY, "read and check every record of every segment"},
    {OPTION_CACHED, "cached", NULL, VERIFY | SNAPSHOT, "read through the page cache: faster, but not the disk"},
    {OPTION_STRICT, "strict", NULL, VERIFY | DIFF, "a torn tail, or a shorter log, is exit code 1"},
    {OPTION_QUIET, "quiet", NULL, VERIFY | DIFF | IMPORT | REPAIR, "print nothing; the exit code tells"},
    {OPTION_APPLY, "apply", NULL, REPAIR, "do it; without, only say what would be done"},
    {OPTION_BACKUP, "backup", "DIR", REPAIR, "where the cut segments are saved first"},
    {OPTION_JSON, "json", NULL, EVERY, "NDJSON; each line has a schema"},
    {OPTION_FORMAT, "format", "F", EVERY & ~(unsigned)EXPORT, "text, json or csv"},
    {OPTION_PROGRESS, "progress", "WHEN", EVERY, "auto, always or never; on stderr"},
    {OPTION_COLOUR, "color", "WHEN", VERIFY, "auto, always or never; NO_COLOR is honoured"},
    {OPTION_HELP, "help", NULL, EVERY, "this help"},
    {OPTION_VERSION, "version", NULL, EVERY, "versions of the tool, the library and the format"},
};
enum { OPTIONS = sizeof(option_lines) / sizeof(option_lines[0]) };

/* --- numbers ------------------------------------------------------------------------------------- */

/* "3:0x1000", or the file's whole name in place of the number. */
static void place_of(struct settings *settings, const char *text)
{
    const char *colon = strrchr(text, ':');
    char name[64];
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(name)) {
        usage("--offset: '%s' is not SEGMENT:OFFSET", text);
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
    settings->place_segment = format_segment_of_name(name);
    if (settings->place_segment == 0) {
        settings->place_segment = number_of(name, "--offset");
    }
    settings->place_offset = number_of(colon + 1, "--offset");
    if (settings->place_segment == 0) {
        usage("--offset: segments are numbered from 1");
    }
}

struct numbers {
    const char *what;
    uint64_t limit;
    unsigned count;
    uint64_t list[LIST_MAX];
};

static void add_number(void *context, const char *word)
{
    struct numbers *numbers = context;
    uint64_t number = number_of(word, numbers->what);
    if (number > numbers->limit) {
        usage("%s: %s is above %" PRIu64, numbers->what, word, numbers->limit);
    }
    numbers->list[numbers->count++] = number;
}

static void types_of(struct settings *settings, const char *text)
{
    struct numbers numbers = {.what = "--type", .limit = UINT16_MAX};
    if (strcmp(text, "list") == 0) {
        (void)printf("The log gives types no meaning; all but 0 are the caller's: 1 to 65535, or 0x1 to 0xffff.\n"
                     "In the log of a Raft node: 1 normal, 2 noop, 3 configuration, 0xffff hole.\n");
        emit_finish();
        exit(EXIT_READABLE);
    }
    settings->type_count = list_of(text, "--type", LIST_MAX, add_number, &numbers);
    for (unsigned i = 0; i < settings->type_count; i++) {
        settings->types[i] = (uint16_t)numbers.list[i];
    }
}

static void tags_of(struct settings *settings, const char *text)
{
    struct numbers numbers = {.what = "--tag", .limit = UINT64_MAX};
    settings->tag_count = list_of(text, "--tag", LIST_MAX, add_number, &numbers);
    memcpy(settings->tags, numbers.list, sizeof(numbers.list));
}

/* --- taking the command line --------------------------------------------------------------------- */

/* Options that choose records. False: it is none of them. */
static bool take_filter(struct settings *settings, enum option_id id, const char *text)
{
    switch (id) {
    case OPTION_FROM:
        settings->from = number_of(text, "--from");
        settings->from_given = true;
        return true;
    case OPTION_TO:
        settings->to = number_of(text, "--to");
        settings->to_given = true;
        return true;
    case OPTION_LIMIT:
        settings->limit = number_of(text, "-n");
        settings->limit_given = true;
        return true;
    case OPTION_REVERSE:
        settings->reverse = true;
        return true;
    case OPTION_TYPE:
        types_of(settings, text);
        return true;
    case OPTION_TAG:
        tags_of(settings, text);
        return true;
    case OPTION_SEGMENT:
        settings->segment = number_of(text, "--segment");
        if (settings->segment == 0) {
            usage("--segment: segments are numbered from 1");
        }
        return true;
    case OPTION_MIN_SIZE:
        settings->min_size = size_of(text, "--min-size");
        return true;
    case OPTION_OFFSET:
        place_of(settings, text);
        return true;
    default:
        return false;
    }
}

/* Options that choose a form. False: it is none of them. */
static bool take_form(struct settings *settings, enum option_id id, const char *text)
{
    static const char *const whens[] = {"auto", "always", "never", NULL};
    static const char *const forms[] = {"len", "hex", "text", "base64", "none", NULL};
    static const char *const views[] = {"log", "physical", NULL};
    static const char *const groups[] = {"", "type", "size", "segment", NULL};
    static const char *const formats[] = {"text", "json", "csv", NULL};
    switch (id) {
    case OPTION_VIEW:
        settings->view = (enum view)word_of(text, "--view", views);
        return true;
    case OPTION_PAYLOAD:
        settings->payload = (enum payload_form)word_of(text, "--payload", forms);
        return true;
    case OPTION_MAX_PAYLOAD:
        settings->max_payload = size_of(text, "--max-payload");
        return true;
    case OPTION_BY:
        settings->by = (enum grouping)word_of(text, "--by", groups);
        return true;
    case OPTION_JSON:
        settings->emit.format = EMIT_JSON;
        return true;
    case OPTION_FORMAT:
        settings->emit.format = (enum emit_format)word_of(text, "--format", formats);
        return true;
    case OPTION_PROGRESS:
        settings->progress = (enum progress_wish)word_of(text, "--progress", whens);
        return true;
    case OPTION_COLOUR:
        settings->colour = word_of(text, "--color", whens) != 2 &&
                           (strcmp(text, "always") == 0 || (isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL));
        return true;
    default:
        return false;
    }
}

static void take_option(struct settings *settings, int id, const char *text)
{
    if (take_filter(settings, (enum option_id)id, text) || take_form(settings, (enum option_id)id, text)) {
        return;
    }
    settings->follow = settings->follow || id == OPTION_FOLLOW;
    settings->deep = settings->deep || id == OPTION_DEEP;
    settings->cached = settings->cached || id == OPTION_CACHED;
    settings->strict = settings->strict || id == OPTION_STRICT;
    settings->quiet = settings->quiet || id == OPTION_QUIET;
    settings->apply = settings->apply || id == OPTION_APPLY;
    settings->backup = id == OPTION_BACKUP ? text : settings->backup;
}

static void take_words(struct settings *settings, const struct command *command, unsigned count, char **words)
{
    if (settings->from > settings->to) {
        usage("--from %" PRIu64 " is above --to %" PRIu64, settings->from, settings->to);
    }
    settings->command = command->name;
    settings->path = count > 0 ? words[0] : NULL;
    settings->second = count > 1 ? words[1] : NULL;
}

static void print_version(void)
{
    (void)printf("waldump %s (library %s, format %u.%u)\n", WAL_VERSION, wal_version(), FORMAT_MAJOR, FORMAT_MINOR);
}

static const struct program program = {
    .name = "waldump",
    .summary = "Looks into write-ahead logs. No lock; only repair --apply and import write.",
    .footer = "Exit codes: 0 readable; 1 damage, no such index, logs differ; 2 usage; 3 I/O;\n"
              "4 a newer format; 130 interrupted.\n"
              "  waldump verify --deep DIR\n"
              "  waldump dump --from 100 --to 110 --payload=text DIR\n"
              "  waldump explain --offset 3:0x1000 DIR\n",
    .commands = commands,
    .command_count = COMMANDS,
    .options = option_lines,
    .option_count = OPTIONS,
    .print_version = print_version,
    .take = take_option,
    .take_words = take_words,
};

int main(int argc, char **argv)
{
    struct settings settings = {.from = 1,
                                .to = UINT64_MAX,
                                .limit = UINT64_MAX,
                                .max_payload = UINT64_MAX,
                                .look_pause_ms = 120, /* Behind the log's idle mark, which comes after 50 ms. */
                                .colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL};
    signals_catch();
    const struct command *command = command_line_take(&program, &settings, argc, argv);
    progress_start(settings.progress);
    int code = command->run(&settings);
    progress_end();
    emit_finish();
    return interrupted() ? EXIT_INTERRUPTED : code;
}
