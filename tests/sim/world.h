/* world.h - a cluster in virtual time: whole nodes (core, storage, log) on simulated disks, a network, clocks.
 *
 * Everything is drawn from one seed. After every step what must hold between nodes is checked; the first thing that
 * does not ends the run. Not thread-safe; reads no clock. */

#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "raftcore/node.h"
#include "tests/sim/kv.h"

#include <stdio.h>

enum { WORLD_NODES_MAX = 7 };

#define MS 1000000ULL
#define SECOND (1000 * MS)

struct world;

struct world_options {
    uint64_t seed;
    unsigned voters;
    uint64_t snapshot_bytes; /* Of entries, between two snapshots. */
    bool lease_reads;        /* Leaders may answer reads by a lease. */
    FILE *trace;             /* NULL, or where the story goes. */
};

/* What happened, for the one line at the end. */
struct world_counts {
    uint64_t steps, messages, crashes, cuts, kills, failures, damages, wipes, changes, restarts;
    uint64_t uncertain_of_cuts; /* Starts behind a power cut alone that found an uncertain end. */
    uint64_t uncertain, rebuilt, holes, refused, snapshots, installs, committed;
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *world);

const char *world_failure(const struct world *world);
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_tell(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_is_told(const struct world *world);
struct world_counts *world_counts(struct world *world);

uint64_t world_now(const struct world *world);
uint64_t world_random(struct world *world, uint64_t bound);
/* The next thing happens. False: something failed. */
bool world_step(struct world *world);
/* Calls back at that time. */
void world_at(struct world *world, uint64_t delay_ns, void (*call)(void *context, uint64_t argument), void *context,
              uint64_t argument);

/* --- nodes, by id from 1 ------------------------------------------------------------------------- */

unsigned world_node_count(const struct world *world);
bool world_lease_reads(const struct world *world);
struct raftcore_node *world_node(struct world *world, unsigned id); /* NULL: it is down. */
const struct kv *world_kv(const struct world *world, unsigned id);
/* Lets a node that was given something carry it out. */
void world_pump(struct world *world, unsigned id);
/* Now, or in the middle of the so-many-th operation of its disks from now on (0: now). */
void world_crash(struct world *world, unsigned id, bool killed, unsigned operation);
void world_start(struct world *world, unsigned id);
/* The same, and it crashes in the middle of the so-many-th operation from there on, within the start or behind it. */
void world_start_and_crash(struct world *world, unsigned id, bool killed, unsigned operation);
bool world_is_lost(const struct world *world, unsigned id); /* It was refused at its last start. */
/* All its files are gone; it comes back as another log. */
void world_wipe(struct world *world, unsigned id);
uint64_t world_log_id(const struct world *world, unsigned id);
uint64_t world_local_ns(const struct world *world, unsigned id);
/* What is damaged and not mended yet: its durable data may be gone. */
bool world_is_damaged(struct world *world, unsigned id);
/* One sector of what it has on its disk is another from now on. False: there was none to be had. */
bool world_damage(struct world *world, unsigned id);
/* Every sector of its log that holds this value of a command is rotten from now on, and so many in front of it, be the
 * node up or down. False: none does. */
bool world_rot_entry(struct world *world, unsigned id, uint64_t value, unsigned sectors_before);
/* A sector in the middle of its snapshot of this index. False: it has none. */
bool world_rot_snapshot(struct world *world, unsigned id, uint64_t index);
void world_fail_disk(struct world *world, unsigned id, unsigned operation, int error);
/* As that, but of the directory of snapshots, always. */
void world_fail_snapshots(struct world *world, unsigned id, unsigned operation, int error);
void world_fill_disk(struct world *world, unsigned id, bool full);
void world_stall_disk(struct world *world, unsigned id, bool stalled);
/* Each operation of any node's log takes up to so much longer. */
void world_slow_disks(struct world *world, uint64_t ns);
/* As world_damage, but within the newest part of the log. */
bool world_damage_tail(struct world *world, unsigned id);
void world_slow_apply(struct world *world, unsigned id, bool slow);
void world_jump_clock(struct world *world, unsigned id, uint64_t ns);
/* The leader of the highest term, of those up; 0: none. */
unsigned world_leader(struct world *world);
uint64_t world_applied_most(const struct world *world);
/* In its log on the disk; 0: it is down. */
uint64_t world_log_entries(struct world *world, unsigned id);
/* The commit index that it gave its log to keep; 0: none, or it is down. */
uint64_t world_kept_commit(const struct world *world, unsigned id);

/* --- the network --------------------------------------------------------------------------------- */

void world_link(struct world *world, unsigned from, unsigned to, bool works);
void world_heal(struct world *world); /* Links, losses, disks, slowness. */
/* Of 1,000 messages so many are lost, doubled, late (by up to delay_ns), corrupted. */
void world_network(struct world *world, unsigned drop, unsigned duplicate, unsigned late, uint64_t delay_ns,
                   unsigned corrupt);

/* --- who wants to know --------------------------------------------------------------------------- */

struct world_watch {
    void *context;
    /* A command of this client was applied at this node. */
    void (*applied)(void *context, unsigned node, const struct kv_command *command);
    void (*proposed)(void *context, unsigned node, uint64_t request, uint16_t reason);
    void (*read)(void *context, unsigned node, uint64_t request, uint16_t reason);
};
void world_watch(struct world *world, const struct world_watch *watch);

#endif
