/* crash_traces.c - the traces that random search would not find soon, as short scripts.
 *
 * A script is a row of words; the log's whole life stands in it, power cuts included:
 *
 *   a88      append records of ids 8 and 8 in one call, and submit
 *   a5m3     the same, with metadata 3
 *   t2:99    remove the last 2 records and append 9 and 9, in one call
 *   m3       metadata alone
 *   s2       prefix truncation that keeps the last 2
 *   z3       reset, to 3 above the next index
 *   word+    the word, then everything in flight completes; + alone as well
 *   0  1     of the operations in flight the oldest, the newest completes
 *   ^  p     the idle mark; segments are made ready
 *   4*word   the word four times
 *   |        power cut: goes on with every image that there may be
 *   !        killed: goes on with an image as the kernel keeps it
 *   c        closed, and opened again
 *   /  \     cuts, kills also at every moment within the next word; before | ! c f: within the opening behind it
 *   e        the next operation of the disk fails
 *   r4  F    the disk has room for 4 segments; appends until the log refuses
 *   B        from the next opening on, segments are made twice as large
 *
 * and, at the end of a script:
 *
 *   d        each sector is damaged in each way, in turn, and the log opened
 *   D        each sector is damaged while the log is open, then everything is read
 *   v        each file vanishes, in turn
 *   b        each sector is read wrongly once, in turn, while the log is opened
 *   g        the last head is forged, in turn: self-valid, but wrong
 *   f        each sector is damaged, and where that is reported, the loss accepted: goes on with what is left
 *
 * Behind the scripts that are written down come all those of one word, of more when asked for: what nobody thought of.
 *
 * After every opening the log must be in a state that the model allows, and the verdict clean or torn. Behind d and v
 * it may be corrupt or uncertain instead; data that was acknowledged may be gone silently only where no mark or seal on
 * the disk proves it.
 *
 * What can fail: one of these; the failure's text has the trace, which can be given to --replay.
 * Invariants: everything is decided by the script and by counting, so a trace repeats (but for the salts).
 *
 * The words that damage are carried out in crash_damage.c. May include: crash_life.h. */

#define _GNU_SOURCE
#include "tests/crash_life.h"

#include "wal/check.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IMAGES_AT_ONCE = 256, IMAGES_AT_ONCE_DEEPER = 64 };

static const struct trace {
    const char *name; /* The hole of the study, or what it shows. */
    unsigned in_flight;
    const char *script;
} all_traces[] = {
    {"a torn batch completed by its successor", 1, "a88 | a99 | a88+ |"},
    {"a mixture under the old salt", 2, "a88+ a5 t3:88 | t2:99 | a9+"},
    {"a cut truncation comes back by a retry", 2, "a5 a5 | a5 | a5 a5+"},
    {"a cut truncation comes back by itself", 2, "a5+ a5 t2:5 | | a4 |"},
    {"the same over three lives", 3, "a5 t1:5 a4 | a5 t1:5 | |"},
    {"marks are batches, not indexes", 2, "a55+ t2 a555 ^ |"},
    {"marks are not indexes, one in flight", 1, "a55+ t2+ ^ | a4 |"},
    {"the mark does not lead", 2, "a5 a5 1 a5 a5 1 |"},
    {"acknowledged in order", 2, "a5+ a5 a5 1 |"},
    {"acknowledged in order, three in flight", 3, "a5+ a5 a55 a5 1 | a5 |"},
    {"believed only what is flushed", 1, "a5+ a55 ! a5+ |"},
    {"killed, cut in the opening behind it", 2, "a5+ a55 a5 / ! a5+ |"},
    {"the roll waits for what is in flight", 3, "p 3*a6+ a6 a6 a5 | a5 |"},
    {"the roll cut at every moment", 2, "p 4*a6+ / a6+ | a5+ |"},
    {"a new segment cut at every moment", 1, "a5+ / p | a5+ |"},
    {"a new segment, killed at every moment", 1, "a5+ \\ p | a5+ |"},
    {"names of recycled segments", 1, "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p a6+ | a5+ |"},
    {"the start before recycling", 1, "p 4*a6+ a6+ s0 p | a5+ |"},
    {"recycling cut at every moment", 1, "p 4*a6+ a6+ s0+ ^ / p | a6+ |"},
    {"metadata and start are carried", 1, "p a6m7+ 3*a6+ s1+ a6+ s0+ p / | a5 |"},
    {"the idle mark is in order", 2, "a5+ / ^ a5+ | ^ |"},
    {"an errored write, and on", 1, "a5 e a88 + a99 + | a88+ |"},
    {"an errored write, killed", 2, "a5+ e a88 a5 + ! a88 |"},
    {"an errored write, opened twice", 1, "a5+ e a88 + ! ! a9+ |"},
    {"an unsynced name at the opening anchor", 1, "p 4*a6+ 4*a6+ a5+ 9*t1+ ! ! ! ! \\ ! | a5"},
    {"an unsynced name, made by an opening that was killed", 1, "p 4*a6+ 4*a6+ a5+ 9*t1+ \\ ! ! ! ! ! | a5"},
    {"an unsynced name, the segment a block fuller", 1, "p 4*a6+ 4*a6+ a5+ 9*t1+ ! ! ! ! ! \\ ! | a5"},
    {"an old record in a new batch, recycled", 2, "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p a88+ a5 t3:88 | t2:99 | a9+"},
    {"a torn batch completed, recycled", 1, "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p a88 | a99 | a88+ |"},
    {"a truncation into the segment before", 1, "p 4*a6+ a6+ t4:5 | a5+ s1 |"},
    {"a truncation to below the segment, its first gone", 1, "p 4*a6+ a6+ t5:5+ p s1+ p | a5 |"},
    {"reset", 2, "a55+ a5 z3 a5 | a5 |"},
    {"closed at every moment", 2, "a55m3+ / c a5 |"},
    {"cut in the opening, twice", 2, "a5+ a55 a4 / | / | a5 |"},
    {"bad marks behind a forced cut", 1, "a5+ a5+ a5+ f a5+ | a5 |"},
    {"bad marks behind a forced cut, in flight", 2, "a5+ a5 a5 0 a5 a5+ f |"},
    {"a forced cut, cut at every moment", 1, "a5m3+ a88+ a5+ / f | "},
    {"the doubt reaches down to a truncation of a later run", 1, "a5+ a5+ a5+ a5+ c t2:5+ c f |"},
    {"the doubt reaches down to a truncation of this run", 1, "a5+ a5+ a5+ a5+ t2:5+ a5+ c f |"},
    {"the doubt reaches down to a truncation that is lost", 1, "a5+ a5+ a5+ a5+ ! t2:5+ ! c f |"},
    {"the doubt reaches down from a later segment", 1, "p a5+ a5+ 4*a6+ a6+ t2:5+ c f |"},
    {"a cut in front of the start", 1, "p a5+ a5+ a5+ 4*a6+ a6+ s3+ c f a5+ | a5 |"},
    {"a second accept behind the first", 1, "p a5+ 4*a6+ a6+ c f p a5+ |"},
    {"a loss of the newest segment, cut at every moment", 1, "p 4*a6+ 5*a6+ / f |"},
    {"a loss of the newest segment, accepted with larger segments", 1, "p 4*a6+ 5*a6+ B / f |"},
    {"the doubt stays over a roll", 1, "a5+ a5+ a5+ f p 4*a6+ a6+ | p |"},
    {"damage", 1, "a5+ a88m4+ t1:9+ a5+ ^ d"},
    {"damage under the load", 1, "a5+ a88+ t2:99+ d"},
    {"damage, two in flight", 2, "a5+ a88 a5 0 a99+ | d"},
    {"damage behind a close", 1, "a5+ c a5+ d"},
    {"damage behind an opening", 1, "a5+ ! a5+ a5+ d"},
    {"damage of a recycled segment", 1, "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ a6+ a5+ a5+ d"},
    {"damage across a roll", 1, "p 4*a6+ a6+ a5+ d"},
    {"segments of another size from now on", 1, "p 4*a6+ a5+ B ! 5*a6+ p 5*a6+ s0+ p a5+ | a5 |"},
    {"the next segment must be made anew", 1, "p 4*a6+ 4*a6+ a5+ s0+ 12*t0+ B ! p 5*a6+ | a5 |"},
    {"no segment of the right size behind a full one", 1, "p 4*a6+ 4*a6+ a5+ 9*t1+ s0+ B ! ! ! ! ! | a5 |"},
    {"a vanished file", 1, "p 4*a6+ a6+ | v"},
    {"a vanished file, in the middle", 1, "p 4*a6+ 5*a6+ p a6+ v"},
    {"a transient bad read", 1, "a88+ a5+ b"},
    {"a transient bad read of a closed log", 1, "a88+ a5+ c b"},
    {"a transient bad read, recycled", 1, "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p a5+ a88+ b"},
    {"damage under an open log", 1, "p 4*a6+ a6m3+ a89+ t1:9+ D"},
    {"forged heads", 1, "a5+ a88+ t1:9+ g"},
    {"forged data", 1, "a5+ a88+ g"},
    {"a full disk", 1, "r4 p F s0+ p a6+ F c s0+ p a6+ |"},
    {"a full disk, opened again and again", 1, "r4 p F c c c c s0+ p a6+ |"},
    {"a full disk, opened and truncated by nothing more often than it has blocks", 1,
     "r4 p F c s88+ c s88+ c s88+ c s88+ c s88+ c s88+ c s88+ c s88+ c s88+ c s88+ c s0+ p a6+ |"},
};

/* --- failures ------------------------------------------------------------------------------------ */

void life_fail(const struct life *life, const char *what, const char *detail)
{
    struct traces *traces = life->traces;
    if (!traces->failed) {
        traces->failed = true;
        (void)snprintf(traces->failure, sizeof(traces->failure), "trace '%u %s' before '%.20s', depth %u: %s: %s",
                       life->in_flight, life->script, life->resume, life->depth, what, detail);
    }
}

static void fail_log(const struct life *life, const char *what)
{
    char why[300];
    (void)wal_errmsg(life->log, why, sizeof(why));
    life_fail(life, what, why);
}

static void fail_state(const struct life *life, const char *what, const struct state *found,
                       const struct history *history, unsigned acknowledged)
{
    char is[150];
    char should[150];
    char detail[500];
    model_print(found, is, sizeof(is));
    model_print(&history->states[acknowledged], should, sizeof(should));
    (void)snprintf(detail, sizeof(detail), "found %s doubt %" PRIu64 "; acknowledged %u of %u: %s doubt %" PRIu64, is,
                   found->doubt, acknowledged, history->operations, should, history->states[acknowledged].doubt);
    life_fail(life, what, detail);
}

bool life_has_enough(const struct life *life)
{
    return life->traces->failed || life->traces->images >= life->images_end;
}

/* --- choices ------------------------------------------------------------------------------------- */

unsigned life_choose_counted(void *context, unsigned options)
{
    uint64_t *combination = context;
    unsigned answer = (unsigned)(*combination % options);
    *combination /= options;
    return answer;
}

static unsigned choose_mixed(void *context, unsigned options)
{
    uint64_t *random = context;
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*random >> 33) % options);
}

unsigned life_choose_none(void *context, unsigned options)
{
    (void)context;
    (void)options;
    return 0;
}

/* Of what a failed write, or a late one, may do: a different thing each time, the same in each run. */
static unsigned choose_turn(void *context, unsigned options)
{
    static unsigned turn;
    (void)context;
    return turn++ / 3 % options;
}

/* --- opening and judging ------------------------------------------------------------------------- */

struct wal_options life_options(const struct life *life, uint32_t flags)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = flags | WAL_NO_THREADS;
    options.flags |= (flags & WAL_READ_ONLY) == 0 ? (uint32_t)WAL_POWERSAFE_OVERWRITE : 0;
    options.block_bytes = BLOCK_BYTES;
    options.segment_bytes = (uint64_t)SEGMENT_BLOCKS * BLOCK_BYTES * (life->larger ? 2 : 1);
    options.batch_bytes_max = 5 * BLOCK_BYTES;
    options.batches_in_flight_max = life->in_flight;
    options.segments_pool_max = 2;
    options.segments_max = 32;
    return options;
}

int life_match(const struct history *history, unsigned acknowledged, const struct state *found)
{
    for (unsigned m = history->operations + 1; m-- > acknowledged;) {
        if (model_equal(&history->states[m], found) && history->states[m].doubt == found->doubt) {
            return (int)m;
        }
    }
    return -1;
}

/* Is all that an accepted loss gives out below its doubt what the log held in some state since the acknowledged one? */
static bool certain_is_right(const struct history *history, unsigned acknowledged, const struct state *found)
{
    for (unsigned m = history->operations + 1; m-- > acknowledged;) {
        const struct state *state = &history->states[m];
        bool right = true;
        for (uint64_t index = found->start; index < found->next && index < found->doubt && right; index++) {
            right = index >= state->start && index < state->next &&
                    found->ids[index - found->start] == state->ids[index - state->start];
        }
        if (right) {
            return true;
        }
    }
    return false;
}

static bool judge(struct life *life, const struct history *allowed, unsigned acknowledged, struct state *found)
{
    char why[256] = "";
    int read = model_read(life->log, found, why, sizeof(why));
    if (read != 0) {
        life_fail(life, read > 0 ? "wrong data passed as valid" : "a recovered log does not read", why);
    } else if (!life->forced && !life->may_be_damaged && life_match(allowed, acknowledged, found) < 0) {
        fail_state(life, "not a state that is allowed", found, allowed, acknowledged);
    } else if (life->forced && found->doubt == 0) {
        life_fail(life, "a forced cut leaves no doubt", why);
    } else if (life->forced && !certain_is_right(allowed, acknowledged, found)) {
        fail_state(life, "a record below the doubt is stale", found, allowed, acknowledged);
    } else if (life->may_be_damaged && found->doubt == 0) {
        life_fail(life, "the damage is gone, and there is no doubt", why);
    }
    return !life->traces->failed;
}

/* --- branching ----------------------------------------------------------------------------------- */

/* Every image after a cut here, or while there are too many the extreme ones and a sample. */
static void each_cut(const struct life *life, struct sim_disk *disk, unsigned acknowledged, const struct birth *birth)
{
    unsigned undecided = sim_disk_undecided(disk);
    uint64_t at_most = life->depth == 0 ? IMAGES_AT_ONCE : IMAGES_AT_ONCE_DEEPER;
    uint64_t combinations = undecided < 20 ? (uint64_t)1 << undecided : (uint64_t)1 << 20;
    uint64_t random = 88172645463325252u;
    for (uint64_t i = 0; i < combinations && i < at_most && !life_has_enough(life); i++) {
        struct birth next = *birth;
        bool sampled = combinations > at_most && i >= 2;
        uint64_t count = i == 1 && combinations > at_most ? UINT64_MAX : i;
        next.image = sampled ? sim_disk_cut(disk, NULL, choose_mixed, &random)
                             : sim_disk_cut(disk, NULL, life_choose_counted, &count);
        life_live(life, life->history, acknowledged, &next);
    }
}

static void each_kill(const struct life *life, struct sim_disk *disk, unsigned acknowledged, const struct birth *birth)
{
    for (unsigned i = 0; i < 4 && !life_has_enough(life); i++) {
        struct birth next = *birth;
        uint64_t random = i;
        uint64_t count = 0;
        next.image = i == 0 ? sim_disk_kill(disk, NULL, life_choose_counted, &count)
                            : sim_disk_kill(disk, NULL, choose_mixed, &random);
        life_live(life, life->history, acknowledged, &next);
        if (sim_disk_in_flight(disk) == 0) {
            return;
        }
    }
}

static void moment(void *context, struct sim_disk *disk, const char *what)
{
    struct life *life = context;
    (void)what;
    enum branch branch = life->branch;
    if (branch == NO_BRANCH || life_has_enough(life)) {
        return;
    }
    unsigned acknowledged = life->log != NULL ? (unsigned)wal_durable_ticket(life->log) : life->acknowledged;
    struct birth birth = {.at = life->resume,
                          .may_be_damaged = life->log == NULL && (life->forced || life->may_be_damaged)};
    life->branch = NO_BRANCH;
    if (branch == BRANCH_CUT) {
        each_cut(life, disk, acknowledged, &birth);
    } else {
        each_kill(life, disk, acknowledged, &birth);
    }
    life->branch = branch;
}

/* --- words --------------------------------------------------------------------------------------- */

static void complete_all(struct life *life)
{
    sim_disk_hold(life->disk, false);
    for (unsigned turn = 0; turn < 100 && wal_durable_ticket(life->log) < life->history->operations; turn++) {
        if (wal_submit(life->log) != 0 || wal_dispatch(life->log, NULL) != 0) {
            break;
        }
    }
    sim_disk_hold(life->disk, true);
}

static void complete_one(struct life *life, bool newest)
{
    unsigned count = sim_disk_in_flight(life->disk);
    if (count != 0) {
        sim_disk_release(life->disk, newest ? count - 1 : 0);
    }
    (void)!wal_dispatch(life->log, NULL);
    (void)!wal_submit(life->log);
}

static uint8_t digit(char c)
{
    return isdigit((unsigned char)c) ? (uint8_t)(c - '0') : 0;
}

/* a.., t.., s.., z.., m..: what it asks for. */
static struct operation operation_of(const char *word, const struct state *now)
{
    struct operation operation = {.kind = OP_APPEND};
    const char *at = word + 1;
    if (word[0] == 't' || word[0] == 's' || word[0] == 'z') {
        uint64_t n = strtoull(at, (char **)(uintptr_t)&at, 10);
        operation.kind = word[0] == 't' ? OP_TRUNCATE : word[0] == 's' ? OP_START : OP_RESET;
        uint64_t span = now->next - now->start;
        n = operation.kind != OP_RESET && n > span ? span : n;
        operation.index = operation.kind == OP_RESET ? now->next + n : now->next - n;
        at += *at == ':';
    }
    if (word[0] == 'm') {
        operation.metadata = digit(*at);
        return operation;
    }
    while (isdigit((unsigned char)*at) && operation.record_count < 3) {
        operation.ids[operation.record_count++] = digit(*at++);
    }
    operation.metadata = *at == 'm' ? digit(at[1]) : 0;
    return operation;
}

/* 0: accepted. 1: refused for want of room. -1: anything else. */
static int accept(struct life *life, const char *word)
{
    struct history *history = life->history;
    if (history->operations == MODEL_OPERATIONS_MAX) {
        return -1;
    }
    struct operation operation = operation_of(word, &history->states[history->operations]);
    struct state after;
    CHECK(model_apply(&history->states[history->operations], &operation, &after));
    int status = WAL_EAGAIN;
    struct wal_receipt receipt;
    for (unsigned turn = 0; turn < 4 && status == WAL_EAGAIN; turn++) {
        status = model_submit(life->log, &operation, &receipt);
        if (status == WAL_EAGAIN) {
            complete_all(life);
            (void)!wal_maintain(life->log, WAL_MAINTAIN_PREPARE, NULL);
        }
    }
    if (status != 0) {
        return status == WAL_ENOSPC || status == WAL_EAGAIN ? 1 : -1;
    }
    history->states[++history->operations] = after;
    CHECK(receipt.ticket == history->operations);
    (void)!wal_submit(life->log);
    return 0;
}

static void do_operation(struct life *life, const char *word)
{
    if (wal_append(life->log, &(struct wal_append){.flags = WAL_APPEND_NO_WAIT}, NULL) == WAL_EPOISONED) {
        return; /* As it must be; what follows in the script is refused. */
    }
    if (accept(life, word) != 0) {
        struct state none = {0};
        if (model_submit(life->log, &(struct operation){.kind = OP_APPEND, .metadata = 1}, &(struct wal_receipt){0}) !=
            WAL_EPOISONED) {
            (void)none;
            fail_log(life, "an operation is refused");
        }
    }
}

static void fill(struct life *life)
{
    while (life->history->operations < MODEL_OPERATIONS_MAX) {
        int status = accept(life, "a6");
        if (status != 0) {
            if (status < 0) {
                fail_log(life, "a full disk is not told as such");
            }
            return;
        }
        complete_all(life);
    }
}

/* Closed and opened again: the same bytes, all names, no writer. */
static void close_and_reopen(struct life *life, const char *at)
{
    sim_disk_hold(life->disk, false);
    unsigned acknowledged = wal_close(life->log) == 0 ? life->history->operations : life->acknowledged;
    life->log = NULL;
    struct birth birth = {at, sim_disk_kill(life->disk, NULL, life_choose_none, NULL), life->branch_in_opening, 0,
                          false};
    life_live(life, life->history, acknowledged, &birth);
}

/* False: this life is over. */
static bool do_word(struct life *life, const char *word, const char *next)
{
    struct birth birth = {next, NULL, life->branch_in_opening, 0, false};
    life->acknowledged = (unsigned)wal_durable_ticket(life->log);
    switch (word[0]) {
    case '|':
        each_cut(life, life->disk, life->acknowledged, &birth);
        return false;
    case '!':
        each_kill(life, life->disk, life->acknowledged, &birth);
        return false;
    case 'c':
        close_and_reopen(life, next);
        return false;
    case 'd':
        damage_each_sector(life);
        return false;
    case 'v':
        damage_each_file(life);
        return false;
    case 'D':
        damage_under_an_open_log(life);
        return false;
    case 'b':
        damage_each_read(life);
        return false;
    case 'g':
        damage_each_forgery(life);
        return false;
    case 'f':
        damage_each_and_accept(life, next);
        return false;
    case '0':
    case '1':
        complete_one(life, word[0] == '1');
        return true;
    case '^':
        sim_disk_hold(life->disk, false);
        (void)!wal_maintain(life->log, WAL_MAINTAIN_MARK, NULL);
        (void)!wal_dispatch(life->log, NULL);
        sim_disk_hold(life->disk, true);
        return true;
    case 'p':
        (void)!wal_maintain(life->log, WAL_MAINTAIN_PREPARE, NULL);
        return true;
    case 'e':
        sim_disk_fail(life->disk, SIM_FAULT_ERROR, 1, EIO);
        return true;
    case 'r':
        sim_disk_set_room(life->disk, digit(word[1]) * (uint64_t)SEGMENT_BLOCKS * BLOCK_BYTES);
        return true;
    case 'B':
        life->larger = true;
        return true;
    case 'F':
        fill(life);
        return true;
    case '+':
        break;
    default:
        do_operation(life, word);
    }
    if (strchr(word, '+') != NULL) {
        complete_all(life);
    }
    return true;
}

/* The next word, copied; where it ends. NULL: there is none. */
static const char *take_word(const char *at, char word[32])
{
    while (*at == ' ') {
        at++;
    }
    size_t length = strcspn(at, " ");
    CHECK(length < 32);
    memcpy(word, at, length);
    word[length] = '\0';
    return length == 0 ? NULL : at + length;
}

static void act(struct life *life, const char *at)
{
    char word[32];
    enum branch branch = NO_BRANCH;
    for (const char *next; !life_has_enough(life) && (next = take_word(at, word)) != NULL; at = next) {
        if (strcmp(word, "/") == 0 || strcmp(word, "\\") == 0) {
            branch = word[0] == '/' ? BRANCH_CUT : BRANCH_KILL;
            continue;
        }
        const char *star = strchr(word, '*');
        unsigned times = star != NULL ? (unsigned)strtoul(word, NULL, 10) : 1;
        bool opens = strchr("|!cf", word[0]) != NULL;
        life->resume = next;
        life->branch_in_opening = opens ? branch : NO_BRANCH;
        life->branch = opens && word[0] != 'c' ? NO_BRANCH : branch;
        for (unsigned i = 0; i < times && !life_has_enough(life); i++) {
            if (!do_word(life, star != NULL ? star + 1 : word, next)) {
                return;
            }
        }
        life->branch = branch = NO_BRANCH;
    }
}

void life_live(const struct life *parent, const struct history *allowed, unsigned acknowledged,
               const struct birth *birth)
{
    struct history *history = calloc(2, sizeof(*history));
    CHECK(history != NULL);
    history[0] = *allowed; /* The parent may be inside a call. */
    struct life life = {.traces = parent->traces,
                        .script = parent->script,
                        .in_flight = parent->in_flight,
                        .larger = parent->larger,
                        .images_end = parent->images_end,
                        .disk = birth->image,
                        .history = &history[0],
                        .acknowledged = acknowledged,
                        .resume = birth->at,
                        .branch = birth->branch_in_opening,
                        .depth = parent->depth + 1,
                        .forced = (birth->flags & WAL_ACCEPT_CORRUPT) != 0,
                        .may_be_damaged = birth->may_be_damaged};
    const struct sim_hooks hooks = {choose_turn, moment, &life};
    sim_disk_set_hooks(birth->image, &hooks);
    struct wal_options options = life_options(&life, birth->flags | WAL_CREATE);
    struct wal_verdict verdict;
    life.traces->images++;
    int status = wal_open_io(sim_disk_io(birth->image), &options, &life.log, &verdict);
    life.branch = NO_BRANCH;
    if (status != 0) {
        bool damaged = status == WAL_ECORRUPT || status == WAL_EUNCERTAIN;
        bool nothing_to_keep = life.forced && verdict.row >= 2 && verdict.row <= 4;
        if (!(damaged && life.may_be_damaged) && !nothing_to_keep) {
            life_fail(&life, status == WAL_ECORRUPT || status == WAL_EUNCERTAIN ? "false alarm" : "open fails",
                      verdict.text);
        }
    } else if (judge(&life, allowed, acknowledged, &history[1].states[0])) {
        history[1].operations = 0;
        life.history = &history[1];
        life.forced = false;
        life.may_be_damaged = false;
        sim_disk_hold(life.disk, true);
        act(&life, birth->at);
    }
    life.branch = NO_BRANCH;
    sim_disk_hold(life.disk, false);
    (void)!wal_close(life.log);
    sim_disk_destroy(birth->image);
    free(history);
}

/* --- all of them --------------------------------------------------------------------------------- */

static double seconds_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run_trace(struct traces *traces, unsigned in_flight, const char *script)
{
    struct history *history = calloc(1, sizeof(*history));
    CHECK(history != NULL);
    history->states[0] = (struct state){.start = 1, .next = 1};
    struct life none = {.traces = traces,
                        .script = script,
                        .in_flight = in_flight,
                        .images_end = traces->images + (traces->images_at_most != 0 ? traces->images_at_most : 20000)};
    struct birth birth = {.at = script, .image = sim_disk_create(NULL)};
    none.depth = UINT32_MAX;
    life_live(&none, history, 0, &birth);
    traces->traces++;
    free(history);
}

/* Every script of so many words behind a few beginnings, with one to three batches in flight, cut and opened and cut.
 */
static void run_every_script(struct traces *traces, const char *beginning, unsigned words, double end)
{
    static const char *const alphabet[] = {"a5", "a88", "t1:5", "t2:99", "t0:6", "s1",    "s0",   "z2", "m3", "^",
                                           "p",  "0",   "1",    "+",     "/ ^",  "/ a6+", "\\ p", "e",  "!",  "c"};
    const uint64_t letters = sizeof(alphabet) / sizeof(alphabet[0]);
    uint64_t scripts = 3;
    for (unsigned i = 0; i < words; i++) {
        scripts *= letters;
    }
    for (uint64_t i = 0; i < scripts && !traces->failed && (end == 0 || seconds_now() < end); i++) {
        uint64_t rest = i * 7919 % scripts; /* A prime: all of them, in an order that a bounded run samples fairly. */
        unsigned in_flight = 1 + (unsigned)(rest % 3);
        rest /= 3;
        char script[200];
        size_t length = (size_t)snprintf(script, sizeof(script), "%s", beginning);
        for (unsigned word = 0; word < words; word++, rest /= letters) {
            length += (size_t)snprintf(script + length, sizeof(script) - length, " %s", alphabet[rest % letters]);
        }
        (void)snprintf(script + length, sizeof(script) - length, " | a5 |");
        run_trace(traces, in_flight, script);
    }
}

bool crash_traces(struct traces *traces)
{
    double end = traces->seconds > 0 ? seconds_now() + traces->seconds : 0;
    const char *only = traces->only;
    if (only != NULL && isdigit((unsigned char)only[0])) {
        run_trace(traces, digit(only[0]), only + 1);
        return !traces->failed;
    }
    for (size_t i = 0; i < sizeof(all_traces) / sizeof(all_traces[0]) && !traces->failed; i++) {
        const struct trace *trace = &all_traces[i];
        if ((only == NULL || strcmp(only, trace->name) == 0) && (end == 0 || seconds_now() < end)) {
            run_trace(traces, trace->in_flight, trace->script);
        }
    }
    static const char *const beginnings[] = {"p a5+", "p 4*a6+", "p 4*a6+ s0+ p 4*a6+ s0+ p 4*a6+ s0+ p a5+"};
    unsigned words = traces->words != 0 ? traces->words : 1;
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]) && only == NULL && !traces->failed; i++) {
        run_every_script(traces, beginnings[i], words, end);
    }
    return !traces->failed;
}
