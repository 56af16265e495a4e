/* crash_life.h - one life of a log within a trace: from an image of a disk that is opened, by the words of a script, to
 * the next cut. For crash_traces.c, which lives it, and crash_damage.c, which ends it.
 *
 * May include: crash_model.h, crash_traces.h, sim_disk.h. */

#ifndef TESTS_CRASH_LIFE_H
#define TESTS_CRASH_LIFE_H

#include "tests/crash_model.h"
#include "tests/crash_traces.h"
#include "tests/sim_disk.h"

enum { BLOCK_BYTES = 512, SEGMENT_BLOCKS = 16 };

enum branch { NO_BRANCH, BRANCH_CUT, BRANCH_KILL };

struct life {
    struct traces *traces;
    const char *script;
    unsigned in_flight;
    uint64_t images_end;
    struct sim_disk *disk;
    struct wal *log;
    struct history *history;       /* What an image taken now must match, */
    unsigned acknowledged;         /* while the log is being opened: */
    const char *resume;            /* and where it goes on. */
    enum branch branch;            /* At moments, now. */
    enum branch branch_in_opening; /* In the opening of the next life. */
    unsigned depth;
    bool larger;         /* Segments are made twice as large, from the next opening on. */
    bool forced;         /* Opened with force. */
    bool may_be_damaged; /* A cut within a forced opening: as before it, or as after it. */
};

/* What the next life is born into. */
struct birth {
    const char *at;
    struct sim_disk *image;
    enum branch branch_in_opening;
    uint32_t flags;
    bool may_be_damaged;
};

/* Opens the image (which it takes), judges it, and goes on with the script. */
void life_live(const struct life *parent, const struct history *allowed, unsigned acknowledged,
               const struct birth *birth);
struct wal_options life_options(const struct life *life, uint32_t flags);
/* Which state of the history it is, not below those acknowledged; -1: none. */
int life_match(const struct history *history, unsigned acknowledged, const struct state *found);
/* Tells the first failure, and where it was. */
void life_fail(const struct life *life, const char *what, const char *detail);
/* The trace has failed, or has had its images. */
bool life_has_enough(const struct life *life);

/* Choosers: a uint64_t that counts through all combinations, UINT64_MAX for the last of each; the first of each. */
unsigned life_choose_counted(void *context, unsigned options);
unsigned life_choose_none(void *context, unsigned options);

/* --- crash_damage.c: what ends a script ---------------------------------------------------------- */

/* Each sector is damaged in each way, in turn, and the log opened. */
void damage_each_sector(struct life *life);
/* Each file vanishes, in turn, from an image in which nothing survived that need not. */
void damage_each_file(struct life *life);
/* Each sector reads wrongly once, while the log is opened: that may be reported, but nothing may be lost by it. */
void damage_each_read(struct life *life);
/* What a read returns is right, whatever happens to the medium meanwhile. */
void damage_under_an_open_log(struct life *life);
/* The last batch of the newest segment, with a head that somebody else made. It must not be taken for ours. */
void damage_each_forgery(struct life *life);
/* Damages each sector; where open refuses, it is opened with force, and lives on behind `at`. */
void damage_each_and_accept(struct life *life, const char *at);

#endif
