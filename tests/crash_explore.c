/* crash_explore.c - workloads, cuts at every moment, verdicts.
 *
 * How it goes: a workload runs on a simulated disk; the disk calls `moment` around everything that a cut could come
 * between. There the explorer makes images of what the disk may hold after a power cut or a kill - all of them while
 * there are few, drawn ones when there are many - and opens each. The log found must be one of the states that the
 * model allows: after m of the operations accepted since the last open that returned, m not below those acknowledged;
 * and the verdict must be clean or torn. Then the same goes on with that image: cuts within its recovery, more work,
 * more cuts, to the depth that was asked for.
 *
 * In damage mode an image is first damaged in one sector, or loses a file, and the verdict is classified instead:
 *   reported      corrupt, uncertain, an error; or a read that fails, naming its place
 *   harmless      everything acknowledged is there
 *   irreducible   clean or torn, acknowledged data gone, and no mark on the disk covers it: no reader could know
 *   named         the same, but a mark covers it that stands only beyond two unreadable heads: the kind the study names
 *   avoidable     the same, and a readable header tells: a bug of ours
 *
 * What can fail: an allowed set that is missed; the failure's text has the seed that repeats it. */

#define _GNU_SOURCE
#include "tests/crash_explore.h"

#include "tests/crash_proof.h"
#include "wal/check.h"
#include "wal/zoo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK_BYTES = 512, SEGMENT_BLOCKS = 16, BATCH_BLOCKS = 5 };

struct level {
    struct explorer *explorer;
    struct wal *log;         /* NULL while it is being opened. */
    struct history *history; /* What an image taken now must match. */
    unsigned acknowledged;   /* Of its operations, while log is NULL. */
    unsigned depth;          /* Crashes so far. */
    bool quiet;
};

static void moment(void *context, struct sim_disk *disk, const char *what);

/* --- chance -------------------------------------------------------------------------------------- */

static uint64_t draw(struct explorer *explorer, uint64_t below)
{
    explorer->random = explorer->random * 6364136223846793005u + 1442695040888963407u;
    return (explorer->random >> 33) % below;
}

static bool chance(struct explorer *explorer, unsigned one_in)
{
    return draw(explorer, one_in) == 0;
}

static unsigned choose_any(void *context, unsigned options)
{
    struct level *level = context;
    return (unsigned)draw(level->explorer, options);
}

/* How a cut decides: by a number that counts through all combinations, or by chance with a bias. */
struct cutter {
    struct explorer *explorer;
    uint64_t combination;
    enum { CUT_COUNTED, CUT_OLDEST, CUT_NEWEST, CUT_MIXED } how;
    unsigned bias;
};

static unsigned choose_cut(void *context, unsigned options)
{
    struct cutter *cutter = context;
    switch (cutter->how) {
    case CUT_COUNTED: {
        unsigned answer = (unsigned)(cutter->combination % options);
        cutter->combination /= options;
        return answer;
    }
    case CUT_OLDEST:
        return 0;
    case CUT_NEWEST:
        return options - 1;
    case CUT_MIXED:
        break;
    }
    if (draw(cutter->explorer, 8) < cutter->bias) {
        return 0;
    }
    return 1 + (unsigned)draw(cutter->explorer, options - 1);
}

/* --- failures ------------------------------------------------------------------------------------ */

static void fail(struct explorer *explorer, uint64_t *counter, const char *what, const char *detail)
{
    (*counter)++;
    if (!explorer->failed) {
        explorer->failed = true;
        explorer->failed_seed = explorer->workload_seed;
        (void)snprintf(explorer->failure, sizeof(explorer->failure), "%s (image %" PRIu64 " of its workload): %s", what,
                       explorer->images_of_workload, detail);
    }
}

/* Which of the allowed states it is; -1: none. */
static int match(const struct history *history, unsigned acknowledged, const struct state *found)
{
    for (unsigned m = history->operations + 1; m-- > acknowledged;) {
        if (model_equal(&history->states[m], found)) {
            return (int)m;
        }
    }
    return -1;
}

static void fail_states(struct level *level, const struct state *found)
{
    struct explorer *explorer = level->explorer;
    char detail[640];
    char is[200];
    char should[200];
    model_print(found, is, sizeof(is));
    model_print(&level->history->states[level->acknowledged], should, sizeof(should));
    (void)snprintf(detail, sizeof(detail), "found %s; acknowledged %u of %u: %s", is, level->acknowledged,
                   level->history->operations, should);
    for (unsigned m = 0; m < level->acknowledged; m++) {
        if (model_equal(&level->history->states[m], found)) {
            fail(explorer, &explorer->lost, "acknowledged records are gone", detail);
            return;
        }
    }
    fail(explorer, &explorer->returned, "not a state that the log ever had", detail);
}

/* --- opening an image ---------------------------------------------------------------------------- */

/* One, two and three; and now and then the default, which is not the same as any of them. */
static uint32_t in_flight_of(uint64_t seed)
{
    return seed % 8 == 7 ? 0 : 1 + (uint32_t)(seed % 3);
}

static struct wal_options options_of(struct explorer *explorer)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    options.flags = WAL_CREATE | WAL_NO_THREADS | WAL_POWERSAFE_OVERWRITE;
    options.block_bytes = BLOCK_BYTES;
    options.segment_bytes = (uint64_t)SEGMENT_BLOCKS * BLOCK_BYTES;
    options.batch_bytes_max = BATCH_BLOCKS * BLOCK_BYTES;
    options.batches_in_flight_max =
        explorer->in_flight != 0 ? explorer->in_flight : in_flight_of(explorer->workload_seed);
    options.segments_pool_max = 2;
    options.segments_max = 32;
    if (explorer->workload_seed % 7 == 0) {
        options.flags |= WAL_ZERO_RECYCLED;
    }
    return options;
}

static int open_image(struct explorer *explorer, struct sim_disk *image, const struct wal_options *options,
                      struct wal **log_out, struct wal_verdict *verdict)
{
    int status = wal_open_io(sim_disk_io(image), options, log_out, verdict);
    explorer->verdicts[verdict->kind]++;
    explorer->rows[verdict->row]++;
    return status;
}

static void work(struct level *level, unsigned operations);

/* Opens and judges; in the modes without damage anything but an allowed state is a failure. Takes the image. */
static void examine(struct level *parent, struct sim_disk *image, unsigned acknowledged)
{
    struct explorer *explorer = parent->explorer;
    explorer->images++;
    explorer->images_of_workload++;
    explorer->nested += parent->depth != 0;
    struct level level = {
        .explorer = explorer, .history = parent->history, .acknowledged = acknowledged, .depth = parent->depth + 1};
    const struct sim_hooks hooks = {choose_any, moment, &level};
    sim_disk_set_hooks(image, &hooks);
    struct wal_options options = options_of(explorer);
    struct wal_verdict verdict;
    struct wal *log = NULL;
    int status = open_image(explorer, image, &options, &log, &verdict);
    if (status != 0) {
        bool alarm = status == WAL_ECORRUPT || status == WAL_EUNCERTAIN;
        fail(explorer, alarm ? &explorer->false_alarms : &explorer->other,
             alarm ? "false alarm on a crash" : "open fails after a crash", verdict.text);
        sim_disk_destroy(image);
        return;
    }
    level.quiet = true;
    struct history *history = malloc(sizeof(*history));
    CHECK(history != NULL);
    char why[256] = "";
    int read = model_read(log, &history->states[0], why, sizeof(why));
    history->operations = 0;
    if (read != 0) {
        fail(explorer, &explorer->wrong, read > 0 ? "wrong data passed as valid" : "a recovered log does not read",
             why);
    } else if (match(level.history, acknowledged, &history->states[0]) < 0) {
        fail_states(&level, &history->states[0]);
    }
    level.quiet = false;
    level.log = log;
    level.history = history;
    if (!explorer->failed && level.depth <= explorer->depth_max && chance(explorer, level.depth + 1)) {
        work(&level, 2 + (unsigned)draw(explorer, 4));
    }
    level.quiet = true;
    (void)!wal_close(log);
    free(history);
    sim_disk_destroy(image);
}

/* --- damage -------------------------------------------------------------------------------------- */

enum damage { DAMAGE_GARBAGE, DAMAGE_ZEROS, DAMAGE_BIT, DAMAGE_MISDIRECTED, DAMAGE_VANISHED, DAMAGE_KINDS };

/* One sector of something written, or a whole file. False: there was nothing to damage. */
static bool damage(struct explorer *explorer, struct sim_disk *image)
{
    enum damage kind = (enum damage)draw(explorer, DAMAGE_KINDS);
    if (sim_disk_file_count(image) == 0) {
        return false;
    }
    unsigned file = (unsigned)draw(explorer, sim_disk_file_count(image));
    if (kind == DAMAGE_VANISHED) {
        if (!chance(explorer, 8)) {
            return false;
        }
        sim_disk_vanish(image, file);
        return true;
    }
    uint64_t bytes;
    uint8_t *content = sim_disk_file_bytes(image, file, &bytes);
    for (unsigned attempt = 0; attempt < 20 && bytes >= BLOCK_BYTES; attempt++) {
        uint8_t *sector = content + draw(explorer, bytes / BLOCK_BYTES) * BLOCK_BYTES;
        uint8_t old[BLOCK_BYTES];
        memcpy(old, sector, BLOCK_BYTES);
        if (kind == DAMAGE_ZEROS) {
            memset(sector, 0, BLOCK_BYTES);
        } else if (kind == DAMAGE_BIT) {
            sector[draw(explorer, BLOCK_BYTES)] ^= (uint8_t)(1u << draw(explorer, 8));
        } else if (kind == DAMAGE_MISDIRECTED) {
            memcpy(sector, content + draw(explorer, bytes / BLOCK_BYTES) * BLOCK_BYTES, BLOCK_BYTES);
        } else {
            memset(sector, (int)(1 + draw(explorer, 255)), BLOCK_BYTES);
        }
        static const uint8_t zeros[BLOCK_BYTES];
        if (memcmp(old, sector, BLOCK_BYTES) != 0 && memcmp(old, zeros, BLOCK_BYTES) != 0) {
            sim_disk_settle(image);
            return true;
        }
        memcpy(sector, old, BLOCK_BYTES);
    }
    return false;
}

/* Acknowledged data is gone and the verdict does not say so: could it have? */
static void judge_loss(struct explorer *explorer, struct sim_disk *image, const struct wal_verdict *verdict)
{
    uint64_t highest_mark = crash_look_for_proof(image, BLOCK_BYTES).highest_mark;
    if (verdict->batch > highest_mark) {
        explorer->lies_irreducible++;
        return;
    }
    char detail[600];
    (void)snprintf(detail, sizeof(detail),
                   "verdict %d row Y%d batch %" PRIu64 " at %" PRIu64 ":%" PRIu64 ", highest mark on the disk %" PRIu64,
                   verdict->kind, verdict->row, verdict->batch, verdict->segment, verdict->offset, highest_mark);
    fail(explorer, &explorer->lies_avoidable, "damage under a mark was passed off as the end", detail);
}

static void classify(struct level *level, struct sim_disk *image, struct wal *log, const struct wal_verdict *verdict,
                     unsigned acknowledged)
{
    struct explorer *explorer = level->explorer;
    struct state found;
    char why[256];
    int read = model_read(log, &found, why, sizeof(why));
    if (read > 0) {
        fail(explorer, &explorer->wrong, "wrong data passed as valid", why);
    } else if (read < 0) {
        explorer->reported++;
    } else if (match(level->history, acknowledged, &found) >= 0) {
        explorer->harmless++;
    } else {
        judge_loss(explorer, image, verdict);
    }
}

/* Takes the image. */
static void examine_damaged(struct level *parent, struct sim_disk *image, unsigned acknowledged)
{
    struct explorer *explorer = parent->explorer;
    sim_disk_set_hooks(image, NULL);
    if (damage(explorer, image)) {
        explorer->images++;
        explorer->images_of_workload++;
        /* What the damaged disk can still prove is looked up before the open changes it. */
        struct cutter newest = {explorer, 0, CUT_NEWEST, 0};
        struct sim_disk *before = sim_disk_cut(image, NULL, choose_cut, &newest);
        struct wal_options options = options_of(explorer);
        options.flags &= ~(uint32_t)WAL_CREATE;
        struct wal_verdict verdict;
        struct wal *log = NULL;
        int status = open_image(explorer, image, &options, &log, &verdict);
        if (status != 0) {
            explorer->reported++;
        } else {
            classify(parent, before, log, &verdict, acknowledged);
            (void)!wal_close(log);
        }
        sim_disk_destroy(before);
    }
    sim_disk_destroy(image);
}

/* --- moments ------------------------------------------------------------------------------------- */

static void take_image(struct level *level, struct sim_disk *disk, unsigned acknowledged, const struct cutter *how)
{
    struct explorer *explorer = level->explorer;
    struct cutter cutter = *how;
    if (explorer->failed || explorer->images >= explorer->images_wanted) {
        return;
    }
    bool kill = explorer->mode != CRASH_DAMAGE && how->how == CUT_MIXED && chance(explorer, 4);
    struct sim_disk *image =
        kill ? sim_disk_kill(disk, NULL, choose_cut, &cutter) : sim_disk_cut(disk, NULL, choose_cut, &cutter);
    if (explorer->mode == CRASH_DAMAGE) {
        examine_damaged(level, image, acknowledged);
    } else {
        examine(level, image, acknowledged);
    }
}

static double seconds_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void moment(void *context, struct sim_disk *disk, const char *what)
{
    (void)what;
    struct level *level = context;
    struct explorer *explorer = level->explorer;
    static const unsigned one_in[3] = {1, 14, 24};
    if (level->quiet || explorer->failed || level->depth >= explorer->depth_max ||
        !chance(explorer, one_in[level->depth])) {
        return;
    }
    unsigned acknowledged = level->log != NULL ? (unsigned)wal_durable_ticket(level->log) : level->acknowledged;
    unsigned undecided = sim_disk_undecided(disk);
    struct cutter cutter = {.explorer = explorer};
    if (level->depth == 0 && undecided <= 3) {
        cutter.how = CUT_COUNTED; /* Few: all of them. */
        for (cutter.combination = 0; cutter.combination < 1u << undecided; cutter.combination++) {
            take_image(level, disk, acknowledged, &cutter);
        }
    } else {
        unsigned drawn = level->depth == 0 ? 4 : 1;
        for (unsigned i = 0; i < drawn; i++) {
            cutter.how = chance(explorer, 8) ? CUT_OLDEST : chance(explorer, 8) ? CUT_NEWEST : CUT_MIXED;
            cutter.bias = 1 + (unsigned)draw(explorer, 7);
            take_image(level, disk, acknowledged, &cutter);
        }
    }
    cutter = (struct cutter){explorer, 0, CUT_MIXED, 4};
    if (level->depth == 0) {
        take_image(level, disk, acknowledged, &cutter);
    }
}

/* --- work ---------------------------------------------------------------------------------------- */

static struct operation draw_operation(struct explorer *explorer, const struct state *now)
{
    struct operation operation = {.kind = OP_APPEND, .record_count = 1 + (unsigned)draw(explorer, 3)};
    uint8_t same = (uint8_t)(1 + draw(explorer, MODEL_IDS - 1));
    for (unsigned i = 0; i < 3; i++) {
        operation.ids[i] = chance(explorer, 3) ? (uint8_t)(1 + draw(explorer, MODEL_IDS - 1)) : same;
    }
    operation.metadata = chance(explorer, 4) ? (uint8_t)(1 + draw(explorer, 30)) : 0;
    uint64_t span = now->next - now->start;
    switch (draw(explorer, 16)) {
    case 0:
    case 1:
    case 2:
        operation.kind = OP_TRUNCATE;
        operation.index = now->next - draw(explorer, span + 1 < 6 ? span + 1 : 6);
        operation.record_count = (unsigned)draw(explorer, 3);
        break;
    case 3:
        operation.kind = OP_TRUNCATE;
        operation.index = now->start + draw(explorer, span + 1);
        operation.record_count = (unsigned)draw(explorer, 3);
        break;
    case 4:
    case 5:
        operation =
            (struct operation){.kind = OP_START, .index = now->next - draw(explorer, span + 1 < 4 ? span + 1 : 4)};
        break;
    case 6:
        if (chance(explorer, 3)) {
            operation = (struct operation){.kind = OP_RESET, .index = now->next + 1 + draw(explorer, 5)};
        }
        break;
    case 7:
        operation = (struct operation){.kind = OP_APPEND, .metadata = (uint8_t)(1 + draw(explorer, 30))};
        break;
    default:
        break;
    }
    return operation;
}

/* Lets the disk work until the ticket is durable, or nothing can be done any more. */
static void let_work(struct level *level, uint64_t ticket)
{
    for (unsigned turn = 0; turn < 100 && wal_durable_ticket(level->log) < ticket; turn++) {
        struct wal_progress progress;
        if (wal_submit(level->log) != 0 || wal_dispatch(level->log, &progress) != 0) {
            return;
        }
    }
}

/* Accepts one operation; false: the handle takes no more. */
static bool accept(struct level *level)
{
    struct explorer *explorer = level->explorer;
    struct history *history = level->history;
    struct operation operation = draw_operation(explorer, &history->states[history->operations]);
    struct state after;
    if (!model_apply(&history->states[history->operations], &operation, &after)) {
        return true;
    }
    for (unsigned turn = 0; turn < 8; turn++) {
        struct wal_receipt receipt;
        int status = model_submit(level->log, &operation, &receipt);
        if (status == 0) {
            history->states[++history->operations] = after;
            CHECK(receipt.ticket == history->operations);
            return true;
        }
        if (status == WAL_EAGAIN) {
            let_work(level, history->operations);
            (void)!wal_maintain(level->log, WAL_MAINTAIN_PREPARE, NULL);
        } else if (explorer->mode == CRASH_FAULTS && (status == WAL_EPOISONED || status == WAL_ENOSPC)) {
            return false;
        } else if (status != WAL_EINVAL && status != WAL_ETOOBIG) {
            char why[256];
            (void)wal_errmsg(level->log, why, sizeof(why));
            fail(explorer, &explorer->other, "an append is refused", why);
            return false;
        } else {
            return true; /* Nothing in it. */
        }
    }
    return true;
}

static void work(struct level *level, unsigned operations)
{
    struct explorer *explorer = level->explorer;
    for (unsigned i = 0; i < operations && !explorer->failed && level->history->operations < MODEL_OPERATIONS_MAX;
         i++) {
        if (!accept(level)) {
            return;
        }
        struct wal_progress progress;
        switch (draw(explorer, 6)) {
        case 0:
            break; /* Let more gather. */
        case 1:
        case 2:
            (void)!wal_submit(level->log);
            break;
        case 3:
            (void)!wal_submit(level->log);
            (void)!wal_dispatch(level->log, &progress);
            break;
        default:
            let_work(level, level->history->operations);
            break;
        }
        if (chance(explorer, 3)) {
            (void)!wal_maintain(level->log, chance(explorer, 2) ? WAL_MAINTAIN_MARK : WAL_MAINTAIN_PREPARE, NULL);
        }
    }
    if (chance(explorer, 2)) {
        let_work(level, level->history->operations);
        (void)!wal_maintain(level->log, WAL_MAINTAIN_MARK | WAL_MAINTAIN_PREPARE, NULL);
    }
}

/* A handle that met a fault is closed, and the disk, which works again, is opened as after a kill. */
static void reopen_after_faults(struct level *level, struct sim_disk *disk)
{
    unsigned acknowledged = (unsigned)wal_durable_ticket(level->log);
    struct cutter cutter = {level->explorer, 0, CUT_MIXED, 4};
    struct sim_disk *image = sim_disk_kill(disk, NULL, choose_cut, &cutter);
    examine(level, image, acknowledged);
}

bool explore_one(struct explorer *explorer, uint64_t workload_seed)
{
    explorer->workload_seed = workload_seed;
    explorer->random = workload_seed * 0x9E3779B97F4A7C15u + 12345;
    explorer->images_of_workload = 0;
    explorer->workloads++;
    struct history *history = calloc(1, sizeof(*history));
    CHECK(history != NULL);
    history->states[0] = (struct state){.start = 1, .next = 1};
    struct level level = {.explorer = explorer, .history = history};
    level.quiet = !chance(explorer, 8); /* Now and then the making of the log itself is cut. */
    const struct sim_hooks hooks = {choose_any, moment, &level};
    struct sim_disk *disk = sim_disk_create(&hooks);
    struct wal_options options = options_of(explorer);
    struct wal *log = NULL;
    struct wal_verdict verdict;
    int status = wal_open_io(sim_disk_io(disk), &options, &log, &verdict);
    if (status != 0) {
        fail(explorer, &explorer->other, "a new log does not open", verdict.text);
    } else {
        (void)!wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL);
        level.quiet = explorer->mode == CRASH_FAULTS;
        level.log = log;
        if (explorer->mode == CRASH_FAULTS) {
            sim_disk_fail(disk, chance(explorer, 2) ? SIM_FAULT_ERROR : SIM_FAULT_FOR_EVER,
                          1 + (unsigned)draw(explorer, 40), chance(explorer, 4) ? ENOSPC : EIO);
        }
        unsigned lives = 4 + (unsigned)draw(explorer, 18);
        work(&level, lives);
        if (explorer->mode == CRASH_FAULTS && !explorer->failed) {
            sim_disk_fail(disk, SIM_FAULT_NONE, 0, 0);
            reopen_after_faults(&level, disk);
        }
        level.quiet = chance(explorer, 2) || explorer->mode == CRASH_FAULTS;
        if (explorer->mode != CRASH_FAULTS) {
            let_work(&level, history->operations);
        }
        level.log = log;
        (void)!wal_close(log);
    }
    sim_disk_destroy(disk);
    free(history);
    return !explorer->failed;
}

bool explore(struct explorer *explorer)
{
    explorer->deadline = explorer->seconds > 0 ? seconds_now() + explorer->seconds : 0;
    uint64_t workload_seed = explorer->seed * 1000003;
    while (explorer->images < explorer->images_wanted && !explorer->failed) {
        if (explorer->deadline > 0 && seconds_now() > explorer->deadline) {
            break;
        }
        (void)explore_one(explorer, ++workload_seed);
    }
    return !explorer->failed;
}
