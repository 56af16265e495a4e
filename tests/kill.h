/* kill.h - what the three parts of kill_wal share: the settings, the memory that outlives a child, the model of a
 * log.
 *
 * May include: wal/wal.h. */

#ifndef TESTS_KILL_H
#define TESTS_KILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal/wal.h"

enum {
    RING = 1 << 14,        /* Live records at most. */
    LIVE_MAX = 3000,       /* Above it the start is moved up. */
    JOURNAL_MAX = 1 << 15, /* Operations between two compactions: one child's life. */
    RECORDS_MAX = 8,       /* Of one operation. */
    RECORD_BYTES_MAX = 12000,
    BATCH_BYTES_MAX = 32768,
    OUTSTANDING_MAX = 16, /* Of the event loop. */
    POINTS_MAX = 64,
    LANES_MAX = 16,
    THREADS_MAX = 64,
    KILLS_PER_LOG = 100,
    HANG_MS = 20000,
    FAILED = 3 /* Exit status of a child that found a fault. */
};

enum operation_kind { APPEND = 1, TRUNCATE, PREFIX, RESET };

struct operation {
    uint64_t id;
    uint64_t index; /* TRUNCATE: first removed. PREFIX: first kept. RESET: next. */
    uint32_t record_count;
    uint16_t kind;
    bool metadata;
};

/* The state of a log: what a sequence of operations makes of it, or what was found on the disk. */
struct model {
    uint64_t first;
    uint64_t last;
    uint64_t metadata_id; /* Operation whose metadata is in force; 0: none yet. */
    uint64_t owner[RING]; /* By index % RING: the operation that wrote the record. */
};

struct point {
    _Atomic(const char *) name; /* A literal: at one address in all processes of this program. */
    _Atomic uint64_t hits;
    _Atomic uint64_t kills;
};

struct counts {
    _Atomic uint64_t kills, at_random, after_open, at_point, before_open_ended, logs, sessions, clean, torn, closed;
    _Atomic uint64_t accepted, acknowledged, records_verified, operations_cut, read_back, second_writers, readers;
};

/* Shared by parent and child. */
struct lane {
    _Atomic uint64_t limit;
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t next_id;
    struct operation journal[JOURNAL_MAX];
    _Atomic bool running;        /* Opened, compared, appending. */
    _Atomic bool closed;         /* The last session ended with a wal_close that succeeded. */
    _Atomic uint64_t sessions;   /* Orderly closes in this child. */
    _Atomic uint64_t points_hit; /* Of this child, of the armed name. */
    _Atomic int armed;           /* Point to die at; -1: none. */
    _Atomic uint64_t armed_hit;  /* At this visit. */
    _Atomic int died_at;
    bool stay_open; /* This child neither closes nor moves the start: visitors come. */
    _Atomic bool failed;
    char failure[1024];
};

struct shared {
    struct counts counts;
    struct point points[POINTS_MAX];
    _Atomic bool stop;
    struct lane lanes[LANES_MAX];
};

struct found {
    struct model model; /* metadata_id is not used. */
    bool metadata;
    uint32_t metadata_bytes;
    unsigned char bytes[WAL_METADATA_BYTES_MAX];
};

struct kill_settings {
    uint64_t kills, seed;
    const char *directory;
    int backend; /* enum wal_backend; -1: mixed. */
    unsigned threads, lanes;
};

extern struct kill_settings settings;
extern struct shared *shared;
extern struct lane *lane; /* Of this process. */
extern bool in_child;     /* Points count, and kill, only there. */
extern char log_path[4096];

/* kill_model.c */
uint64_t mix(uint64_t value);
uint64_t draw(uint64_t *state, uint64_t bound); /* Below bound. */
uint64_t clock_ns(void);
void sleep_us(uint64_t us);
/* The first story of a lane is kept; the process ends. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
__attribute__((noreturn)) void fail_call(const struct wal *log, const char *call, int result);
void wal_point(const char *name);
/* What an operation writes: type, size and bytes follow from its number, the index and the seed. Room:
 * RECORD_BYTES_MAX + 8. */
struct wal_record make_record(uint64_t id, uint64_t index, unsigned char *bytes);
uint32_t make_metadata(uint64_t id, unsigned char *bytes);
void apply(struct model *model, const struct operation *operation);
void check_record(const struct wal_record *record, uint64_t index);
void read_log(struct wal *log, struct found *found);
/* The largest m in [from, to] for which the state after m operations is the one found; fails when there is none.
 * `model` stands before operation `base` and is left at m. */
uint64_t match(struct model *model, uint64_t base, uint64_t from, uint64_t to, const struct found *found);

/* kill_child.c */
/* Opens, compares, appends, closes, and again, until killed. model stands before operation 0 of the journal. */
__attribute__((noreturn)) void child(struct model *model, uint64_t seed, uint64_t life);

#endif
