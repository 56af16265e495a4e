/* walbench.h - what the parts of walbench share: the settings of a run, and its commands.
 *
 *   walbench.c     the command line
 *   session.c      a run: the place, the rounds in random order, what is printed and written at the end
 *   sync.c         sync: which rows, of writes by hand and of the log
 *   append.c       append: which rows, of the log
 *   recover.c      recover: a log of a size, opened and verified
 *   peers.c        peers: the same work on what people use instead, as children
 *   raft.c         raft: nodes of libraftcore on this log, by raft_engine.c
 *   profile.c      what other systems write, their published thresholds; --assert
 *   compare.c, plot.c, explain.c      read results
 *   writer.c, engine.c, emulate.c     do the work
 *   result*.c, sentence.c, json.c, device.c     hold and tell what came of it
 *
 * May include: the headers named here. */

#ifndef BENCH_WALBENCH_H
#define BENCH_WALBENCH_H

#include "bench/common.h"
#include "bench/engine.h"
#include "bench/result.h"
#include "tools/command_line.h"

enum exit_code {
    EXIT_MEASURED = 0,
    EXIT_ASSERTION = 1, /* An assertion, a profile's threshold, or a comparison says no, or nothing has decided it. */
    EXIT_USAGE = 2,
    EXIT_SETUP = 3,       /* I/O, a full disk, no room, a forced engine that is not there, every row skipped. */
    EXIT_MEANINGLESS = 4, /* There is no disk to measure. */
    EXIT_INTERRUPTED = 130
};

enum { LIST_MAX = 16 };

struct list {
    unsigned count; /* 0: not given. */
    uint64_t values[LIST_MAX];
};

struct word_list {
    unsigned count;
    const char *words[LIST_MAX];
};

enum directness { DIRECT_BOTH, DIRECT_ONLY, BUFFERED_ONLY };
enum show_progress { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

struct profile;

struct settings {
    int argument_count; /* The command line as it was. */
    char **arguments;
    const char *words[COMMAND_WORDS_MAX];
    unsigned word_count;

    double seconds, warm_seconds;
    unsigned rounds;
    uint64_t seed;
    bool quick, time_given, rounds_given;

    struct word_list methods, layouts, peers;
    enum directness directness;
    bool directness_given;
    struct list sizes, depths, threads, outstanding, log_sizes;
    unsigned records;
    double rate_per_s;
    enum wal_backend backend;
    bool backend_given;
    const struct profile *profile;
    struct word_list assertions;
    uint64_t emulated_ns;
    const char *emulated_name;

    enum table_form form;
    bool json, histograms, force, keep;
    enum show_progress progress;
    const char *output; /* -o: of the JSON; of the picture. */
    double regress_max; /* compare: a share, 0.1 is 10 %. */
    const char *stat;
};

int command_sync(struct settings *settings);
int command_append(struct settings *settings);
int command_recover(struct settings *settings);
int command_peers(struct settings *settings);
int command_raft(struct settings *settings);
int command_compare(struct settings *settings);
int command_plot(struct settings *settings);
int command_probe(struct settings *settings);
int command_explain(struct settings *settings);

/* sync: are updates by hand listed, instead of the usual ones? */
bool lists_updates(const struct settings *settings);

/* The number `at` of the list, or that of the defaults when none was given. */
unsigned list_count(const struct list *list, unsigned default_count);

#endif
