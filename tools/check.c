/* check.c - verify: is it whole?
 *
 * The happy path: the library opens the log read only and gives its verdict, which covers the newest segment wholly and
 * the others by their ends; with --deep every record of every segment is read and checked. Of one segment file alone
 * the chain is walked here.
 *
 * What can fail: what is asked about: an end torn by a crash is in order (exit 0, with a note), an uncertain one and
 * damage are not (exit 1). A log may be written to meanwhile: nothing bad is believed before it was seen twice.
 *
 * Invariants: nothing is written; each outcome has its own word; what is not in order names segment, offset and index,
 * and the next command to run. */

#define _GNU_SOURCE
#include "tools/chain.h"
#include "tools/waldump.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum outcome { OUTCOME_CLEAN, OUTCOME_IN_USE, OUTCOME_TORN, OUTCOME_CUT_SHORT, OUTCOME_UNCERTAIN, OUTCOME_DAMAGED };
enum { LOOKS_MAX = 5, RING_BYTES_LEAST = 64 << 20 };

struct finding {
    enum outcome outcome;
    int row; /* 0: none, of one segment alone. */
    uint64_t first_index;
    uint64_t last_index;
    uint64_t segments;
    uint64_t segment; /* The place concerned, */
    uint64_t offset;
    uint64_t index;
    uint64_t expected;
    uint64_t found;
    uint64_t mark;
    bool closed;
    bool begun; /* There is an opening anchor: the indexes mean something. */
    bool deep;
    uint64_t records; /* Read and checked. */
    uint64_t bytes;
    uint64_t bad_records;
    uint64_t spare_copies_damaged;
    uint64_t doubt_index; /* 0: none. */
    bool single;          /* One segment, not a log. */
    char text[700];
    char next[3 * 4096 + 200];
};

static const char *const outcome_words[] = {"clean", "in-use", "torn", "interrupted", "uncertain", "damaged"};

static void pause_a_little(const struct settings *settings)
{
    const struct timespec pause = {.tv_nsec = (long)settings->look_pause_ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* --- what is said -------------------------------------------------------------------------------- */

static void show_text(const struct settings *settings, const struct finding *finding)
{
    static const char *const headlines[] = {"CLEAN",
                                            "IN USE, whole so far",
                                            "TORN TAIL, normal after a crash",
                                            "INTERRUPTED, nothing bad so far",
                                            "UNCERTAIN TAIL",
                                            "DAMAGED"};
    static const char *const colours[] = {"\033[32m", "\033[32m", "\033[33m", "\033[33m", "\033[31m", "\033[31m"};
    const char *on = settings->colour ? colours[finding->outcome] : "";
    const char *off = settings->colour ? "\033[0m" : "";
    const char *headline = headlines[finding->outcome];
    if (finding->single && finding->outcome == OUTCOME_TORN) {
        headline = "NOT SEALED, AND ITS END IS NOT WHOLE";
    }
    (void)printf("%s: %s%s%s%s\n", shown(settings->path), on, headline, off,
                 interrupted() && finding->outcome != OUTCOME_CUT_SHORT ? " (interrupted: not all was read)" : "");
    if (!finding->begun) {
        (void)printf("  no batches");
    } else if (finding->first_index <= finding->last_index) {
        (void)printf("  records %" PRIu64 " to %" PRIu64, finding->first_index, finding->last_index);
    } else {
        (void)printf("  no records; the next index is %" PRIu64, finding->last_index + 1);
    }
    (void)printf("; %" PRIu64 " segment%s", finding->segments, finding->segments == 1 ? "" : "s");
    if (finding->deep) {
        bool large = finding->bytes >> 20 >= 10;
        (void)printf("; %" PRIu64 " records in %" PRIu64 " %s read and checked", finding->records,
                     large ? finding->bytes >> 20 : finding->bytes, large ? "MiB" : "bytes");
    }
    (void)printf("\n  %s\n", finding->text);
    if (finding->doubt_index != 0) {
        (void)printf("  doubt: a loss was accepted; records from %" PRIu64 " on may have been others before\n",
                     finding->doubt_index);
    }
    if (finding->spare_copies_damaged != 0) {
        (void)printf("  note: %" PRIu64 " identities or seals do not read; the log reads without them (waldump ls)\n",
                     finding->spare_copies_damaged);
    }
    if (finding->next[0] != '\0') {
        (void)printf("  next: %s\n", shown(finding->next));
    }
    emit_finish();
}

static void show_row(struct settings *settings, const struct finding *finding)
{
    static const struct emit_column columns[] = {{"path", -20}, {"outcome", -9}, {"row", 3},    {"first", 10},
                                                 {"last", 10},  {"place", -14},  {"index", 10}, {"expected", 10},
                                                 {"found", 10}, {"records", 10}, {"bytes", 12}, {"bad_records", 11},
                                                 {"text", -1},  {"next", 0}};
    struct emit *emit = &settings->emit;
    emit_begin(emit, "waldump.verify/1", columns, sizeof(columns) / sizeof(columns[0]));
    emit_row(emit);
    emit_text(emit, "path", settings->path);
    emit_text(emit, "outcome", outcome_words[finding->outcome]);
    emit_u64(emit, "row", (uint64_t)finding->row);
    emit_u64(emit, "first", finding->first_index);
    emit_u64(emit, "last", finding->last_index);
    emit_place(emit, finding->segment, finding->offset);
    emit_u64(emit, "index", finding->index);
    emit_u64(emit, "expected", finding->expected);
    emit_u64(emit, "found", finding->found);
    emit_u64(emit, "records", finding->records);
    emit_u64(emit, "bytes", finding->bytes);
    emit_u64(emit, "bad_records", finding->bad_records);
    emit_text(emit, "text", finding->text);
    emit_text(emit, "next", finding->next);
    emit_u64(emit, "mark", finding->mark);
    emit_u64(emit, "segments", finding->segments);
    emit_u64(emit, "spare_copies_damaged", finding->spare_copies_damaged);
    emit_u64(emit, "doubt", finding->doubt_index);
    emit_bool(emit, "closed", finding->closed);
    emit_bool(emit, "deep", finding->deep);
    emit_bool(emit, "partial", interrupted());
    emit_end(emit);
}

/* What is good is not known to be good when nobody looked at all of it. */
static void call_it_cut_short(struct finding *finding)
{
    finding->outcome = OUTCOME_CUT_SHORT;
    finding->next[0] = '\0';
    (void)snprintf(finding->text, sizeof(finding->text),
                   "what was read is in order; what else is in it nobody looked at: run it again");
}

static int conclude(struct settings *settings, struct finding *finding)
{
    if (interrupted() && finding->outcome < OUTCOME_UNCERTAIN) {
        call_it_cut_short(finding);
    }
    bool negative = finding->outcome >= OUTCOME_UNCERTAIN ||
                    (finding->outcome == OUTCOME_TORN && (settings->strict || finding->single));
    emit_worst(negative ? EXIT_NEGATIVE : EXIT_READABLE);
    if (!settings->quiet && settings->emit.format == EMIT_TEXT) {
        show_text(settings, finding);
    } else if (!settings->quiet) {
        show_row(settings, finding);
    }
    return negative ? EXIT_NEGATIVE : EXIT_READABLE;
}

/* The next command: explain the place; or, where there is no file to explain, what to look for. */
static void suggest(const struct settings *settings, struct finding *finding, const char *then)
{
    char name[FORMAT_NAME_BYTES];
    char *quoted = shell_quoted(settings->path);
    struct stat facts;
    format_segment_name(finding->segment, name);
    char *file = NULL;
    bool missing = !finding->single && asprintf(&file, "%s/%s", settings->path, name) >= 0 && stat(file, &facts) != 0;
    if (missing) {
        (void)snprintf(finding->next, sizeof(finding->next),
                       "look for %s in a copy of the log, and put it back (waldump ls tells what stands around it)",
                       name);
    } else {
        (void)snprintf(finding->next, sizeof(finding->next), "waldump explain --offset %" PRIu64 ":0x%" PRIx64 " %s%s",
                       finding->segment, finding->offset, quoted != NULL ? quoted : settings->path, then);
    }
    free(file);
    free(quoted);
}

/* --- a directory --------------------------------------------------------------------------------- */

static void from_verdict(const struct settings *settings, const struct wal_verdict *verdict, struct finding *finding)
{
    static const enum outcome outcomes[] = {
        [WAL_VERDICT_NONE] = OUTCOME_DAMAGED,    [WAL_VERDICT_CLEAN] = OUTCOME_CLEAN,
        [WAL_VERDICT_TORN] = OUTCOME_TORN,       [WAL_VERDICT_UNCERTAIN] = OUTCOME_UNCERTAIN,
        [WAL_VERDICT_CORRUPT] = OUTCOME_DAMAGED,
    };
    *finding = (struct finding){.outcome = outcomes[verdict->kind],
                                .row = verdict->row,
                                .first_index = verdict->first_index,
                                .last_index = verdict->last_index,
                                .segment = verdict->segment,
                                .offset = verdict->offset,
                                .index = verdict->index,
                                .expected = verdict->expected,
                                .found = verdict->found,
                                .mark = verdict->mark,
                                .closed = verdict->closed,
                                .begun = true,
                                .doubt_index = verdict->doubt_index,
                                .spare_copies_damaged = verdict->spare_copies_damaged};
    char text[WAL_VERDICT_TEXT_BYTES];
    (void)snprintf(finding->text, sizeof(finding->text), "row Y%d: %s", verdict->row, verdict_text(verdict, text));
    if (finding->outcome != OUTCOME_CLEAN) {
        suggest(settings, finding, finding->outcome == OUTCOME_TORN ? "" : "; then restore, or waldump repair");
    }
}

static int tell_progress(void *context, uint64_t bytes_done, uint64_t bytes_total)
{
    progress_tell(context, bytes_done, bytes_total);
    return interrupted();
}

/* Where in its segment the first bad record stands, and what is wrong there. */
static void locate_damage(const struct settings *settings, const struct wal_hole *hole, struct finding *finding)
{
    struct segments segments;
    finding->segment = hole->segment;
    finding->index = hole->first_index;
    if (segments_open(&segments, settings->path) == 0) {
        struct segment_file *file = segments_find(&segments, hole->segment);
        struct chain chain;
        if (file != NULL && file->anchor_verdict == FORMAT_OK) {
            chain_begin(&chain, file, segments.block_bytes);
            chain_walk(&chain, file, segments.block_bytes);
            bool record = chain.reason == CHAIN_BAD_RECORD;
            char story[CHAIN_STORY_BYTES];
            chain_story(&chain, story);
            finding->offset = record ? chain.bad_offset : chain.offset;
            finding->index = record ? chain.bad_index : chain.next_index;
            finding->expected = chain.expected;
            finding->found = chain.found;
            (void)snprintf(finding->text, sizeof(finding->text),
                           "%" PRIu64 " records do not read, from index %" PRIu64 " on: segment %" PRIu64
                           ", offset 0x%" PRIx64 ": %s. They were durable: this is not a torn tail",
                           finding->bad_records, hole->first_index, hole->segment, finding->offset, story);
        }
    }
    segments_close(&segments);
    if (finding->text[0] == '\0') {
        (void)snprintf(finding->text, sizeof(finding->text),
                       "%" PRIu64 " records do not read, from index %" PRIu64 " on, in segment %" PRIu64,
                       finding->bad_records, hole->first_index, hole->segment);
    }
    suggest(settings, finding,
            "; then restore from a copy or a peer; waldump dump tells each range that does not read");
}

/* One look; `bytes` is how much there is. What it saw may come from a log that moves. */
static int look_at_log(const struct settings *settings, uint64_t bytes, struct finding *finding)
{
    struct view_log view;
    bool ring = settings->deep && (bytes > RING_BYTES_LEAST || settings->cached);
    int code = ring ? view_open_whole(&view, settings->path, settings->cached) : view_open(&view, settings->path);
    if (code > EXIT_NEGATIVE) {
        return code;
    }
    from_verdict(settings, &view.verdict, finding);
    struct wal_stats stats = {0};
    if (view.log != NULL) {
        wal_stats(view.log, &stats);
        finding->segments = stats.segments;
    }
    if (settings->deep && view.log != NULL) {
        struct wal_verify_report report;
        int status = wal_verify(view.log, &report, tell_progress, (void *)settings->path);
        progress_end();
        if (status == WAL_ECOMPACTED) {
            finding->outcome = OUTCOME_TORN; /* It moved under us: another look. */
            finding->index = report.records;
            view_close(&view);
            return EXIT_READABLE;
        }
        if (status != 0 && status != WAL_ECORRUPT && status != WAL_EAGAIN) {
            (void)view_status(&view, status);
            view_close(&view);
            return EXIT_DISK;
        }
        finding->deep = true;
        finding->records = report.records;
        finding->bytes = report.bytes;
        finding->bad_records = report.bad_records;
        if (status == WAL_ECORRUPT && finding->outcome < OUTCOME_UNCERTAIN) {
            finding->outcome = OUTCOME_DAMAGED;
            finding->text[0] = '\0';
            locate_damage(settings, &report.first_bad, finding);
        }
    }
    if (finding->outcome == OUTCOME_CLEAN && !settings->deep && finding->segments > 1) {
        (void)snprintf(finding->text, sizeof(finding->text),
                       "row Y%d: the newest segment was read whole, the sealed ones (%" PRIu64
                       ") at their ends; what is inside of them: waldump verify --deep",
                       finding->row, finding->segments - 1);
    }
    view_close(&view);
    return EXIT_READABLE;
}

/* Nothing crashed: somebody writes. */
static void call_it_in_use(const struct settings *settings, struct finding *finding, bool moved)
{
    uint64_t pid;
    bool locked = view_in_use(settings->path, &pid);
    if (finding->outcome != OUTCOME_TORN || (!moved && !locked)) {
        return;
    }
    finding->outcome = OUTCOME_IN_USE;
    finding->next[0] = '\0';
    int length = snprintf(finding->text, sizeof(finding->text), "whole up to record %" PRIu64 "%s", finding->last_index,
                          moved ? "; the end moves" : "");
    if (locked && pid != 0 && length > 0) {
        (void)snprintf(finding->text + length, sizeof(finding->text) - (size_t)length,
                       "; process %" PRIu64 " has it open for writing", pid);
    }
}

/* Prepared segments whose identity does not read: the library passes them over without a word. */
static uint64_t count_spoilt_spares(struct segments *segments)
{
    const struct segment_file *newest = segments_newest_begun(segments);
    struct chain chain = {0};
    bool walked = false;
    uint64_t count = 0;
    for (unsigned i = 0; newest != NULL && i < segments->count; i++) {
        struct segment_file *file = &segments->list[i];
        if (file->number <= newest->number || segment_reads(file)) {
            continue;
        }
        if (!walked) {
            chain_begin(&chain, newest, segments->block_bytes);
            chain_walk(&chain, segments_find(segments, newest->number), segments->block_bytes);
            walked = true;
        }
        count += chain_is_spoilt_spare(segments, newest, &chain, file);
    }
    return count;
}

/* A writer rolls, truncates and recycles while we read: what is bad must be so twice, in the same place. */
static int verify_log(struct settings *settings, struct segments *segments)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < segments->count; i++) {
        bytes += segments->list[i].bytes;
    }
    uint64_t spoilt_spares = count_spoilt_spares(segments);
    struct finding finding = {0};
    struct finding before = {0};
    for (unsigned turn = 0;; turn++) {
        int code = look_at_log(settings, bytes, &finding);
        if (code != 0) {
            return code;
        }
        finding.spare_copies_damaged += spoilt_spares;
        bool same = turn != 0 && finding.segment == before.segment && finding.offset == before.offset &&
                    finding.index == before.index && finding.first_index == before.first_index;
        if (finding.outcome == OUTCOME_CLEAN || same || turn == LOOKS_MAX || interrupted()) {
            call_it_in_use(settings, &finding, turn != 0 && !same);
            return conclude(settings, &finding);
        }
        before = finding;
        pause_a_little(settings);
    }
}

/* --- one segment --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
}

/* Follows the chain, in a sealed segment also past records that do not verify and were truncated later: nothing of the
 * log is in them. Returns how many those are. */
static uint64_t walk_past_the_dead(struct segments *segments, struct segment_file *file, struct chain *chain)
{
    struct view_need need = {.asked = false};
    struct batch_look look;
    uint64_t dead_records = 0;
    for (;;) {
        while (chain_step(chain, file, segments->block_bytes, &look)) {
        }
        uint64_t end_index = look.head.first_index + look.head.record_count;
        if (chain->reason != CHAIN_BAD_RECORD || look.cut_short || file->seal_verdict != FORMAT_OK ||
            view_needs(&need, segments->directory, chain->bad_index, end_index)) {
            break;
        }
        dead_records += end_index - chain->bad_index;
        chain_skip(chain, &look);
    }
    view_need_close(&need);
    return dead_records;
}

/* It is sealed: its batches must end as the seal says. */
static void judge_sealed(const struct segment_file *file, const struct chain *chain, uint64_t dead_records,
                         struct finding *finding)
{
    const struct format_seal *seal = &file->seal;
    char story[CHAIN_STORY_BYTES];
    chain_story(chain, story);
    if (chain->offset == seal->end_offset && chain->number - 1 == seal->last_number &&
        chain->checksum == seal->last_checksum) {
        finding->outcome = OUTCOME_CLEAN;
        int length =
            snprintf(finding->text, sizeof(finding->text),
                     "sealed; every batch up to its end at 0x%" PRIx64 " was read and checked", seal->end_offset);
        if (dead_records != 0 && length > 0) {
            (void)snprintf(finding->text + length, sizeof(finding->text) - (size_t)length,
                           "; %" PRIu64
                           " records in dead space (truncated later) do not verify, and nothing needs them",
                           dead_records);
        }
        return;
    }
    finding->outcome = OUTCOME_DAMAGED;
    say(finding, "sealed with batches up to 0x%" PRIx64 " (number %" PRIu64 "), but at 0x%" PRIx64 " stands %s",
        seal->end_offset, seal->last_number, finding->offset, story);
}

/* Not sealed: it may be the newest; marks behind the end tell what was durable. */
static void judge_open(struct segment_file *file, uint32_t block_bytes, const struct chain *chain,
                       struct finding *finding)
{
    struct behind behind;
    char story[CHAIN_STORY_BYTES];
    chain_story(chain, story);
    chain_look_behind(file, block_bytes, chain->offset, chain->salt, &behind);
    finding->mark = behind.highest_mark;
    if (behind.highest_mark >= chain->number) {
        finding->outcome = OUTCOME_DAMAGED;
        say(finding,
            "at 0x%" PRIx64 " stands %s; but a mark at 0x%" PRIx64 " says that batch %" PRIu64
            " was durable, and batch %" PRIu64 " is missing",
            finding->offset, story, behind.mark_offset, behind.highest_mark, chain->number);
        return;
    }
    bool quiet = chain->reason == CHAIN_FULL || chain->reason == CHAIN_ZERO || chain->reason == CHAIN_OTHER ||
                 (chain->reason == CHAIN_OTHER_SALT && chain->head.number < chain->number) ||
                 (chain->reason == CHAIN_NO_HEAD && file->identity_verdict == FORMAT_OK &&
                  file->identity.prefill == PREFILL_RECYCLED);
    if (quiet && behind.batches == 0) {
        finding->outcome = OUTCOME_CLEAN;
        say(finding, "not sealed; its batches end at 0x%" PRIx64 ": %s", chain->offset, story);
        return;
    }
    finding->outcome = OUTCOME_TORN;
    say(finding,
        "not sealed; its batches end at 0x%" PRIx64 ", where stands %s. One segment alone cannot tell more: verify the "
        "directory",
        chain->offset, story);
}

static void look_at_segment(const struct settings *settings, struct segments *segments, struct finding *finding)
{
    struct segment_file *file = &segments->list[0];
    struct chain chain;
    *finding = (struct finding){.segments = 1,
                                .single = true,
                                .segment = file->number,
                                .offset = segments->block_bytes,
                                .deep = true,
                                .bytes = file->bytes};
    suggest(settings, finding, "");
    finding->offset = 0;
    if (file->identity_verdict == FORMAT_OK && file->identity.segment != file->number) {
        finding->outcome = OUTCOME_DAMAGED;
        finding->expected = file->number;
        finding->found = file->identity.segment;
        say(finding, "the file's name is segment %" PRIu64 "'s, its identity is segment %" PRIu64 "'s", file->number,
            file->identity.segment);
        return;
    }
    if (file->anchor_verdict != FORMAT_OK) {
        bool ready = file->identity_verdict == FORMAT_OK && !segment_begun(file, segments->block_bytes);
        bool begun = file->identity_verdict == FORMAT_OK && !ready;
        finding->outcome = ready ? OUTCOME_CLEAN : OUTCOME_DAMAGED;
        finding->offset = segments->block_bytes;
        say(finding, "%s: identity: %s; opening anchor: %s",
            ready   ? "prepared, not begun"
            : begun ? "it was written to, but its opening anchor does not read"
                    : "nothing of it reads; whether the log needs it only the directory tells: verify that",
            format_verdict_text(file->identity_verdict), format_verdict_text(file->anchor_verdict));
        finding->next[0] = ready ? '\0' : finding->next[0];
        return;
    }
    chain_begin(&chain, file, segments->block_bytes);
    uint64_t dead_records = walk_past_the_dead(segments, file, &chain);
    finding->begun = true;
    finding->first_index = file->anchor.first_index;
    finding->last_index = chain.next_index - 1;
    finding->records = chain.records;
    finding->offset = chain.reason == CHAIN_BAD_RECORD ? chain.bad_offset : chain.offset;
    finding->index = chain.reason == CHAIN_BAD_RECORD ? chain.bad_index : chain.next_index;
    finding->expected = chain.expected;
    finding->found = chain.found;
    finding->closed = chain.last_kind == BATCH_CLOSE;
    if (chain.reason == CHAIN_INTERRUPTED) {
        call_it_cut_short(finding);
        return;
    }
    if (file->seal_verdict == FORMAT_OK) {
        judge_sealed(file, &chain, dead_records, finding);
    } else {
        judge_open(file, segments->block_bytes, &chain, finding);
    }
    finding->bad_records = finding->outcome == OUTCOME_DAMAGED;
    if (finding->outcome == OUTCOME_CLEAN) {
        finding->next[0] = '\0';
    } else {
        suggest(settings, finding, "");
    }
}

static int verify_segment(struct settings *settings, struct segments *segments)
{
    struct finding finding;
    struct finding before = {0};
    for (unsigned turn = 0;; turn++) {
        if (!segment_refresh(segments, &segments->list[0])) {
            complain("%s: it is gone", settings->path);
            return EXIT_DISK;
        }
        look_at_segment(settings, segments, &finding);
        if (segments->list[0].error != 0) {
            complain("%s: %s", settings->path, strerror(segments->list[0].error));
            return EXIT_DISK;
        }
        bool same = turn != 0 && finding.outcome == before.outcome && finding.offset == before.offset;
        if (finding.outcome == OUTCOME_CLEAN || same || turn == LOOKS_MAX || interrupted()) {
            return conclude(settings, &finding);
        }
        before = finding;
        pause_a_little(settings);
    }
}

int command_verify(struct settings *settings)
{
    struct segments segments;
    int code = segments_open(&segments, settings->path);
    if (code == 0) {
        code = segments.single ? verify_segment(settings, &segments) : verify_log(settings, &segments);
    }
    segments_close(&segments);
    return code;
}
