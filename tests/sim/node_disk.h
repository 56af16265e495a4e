/* node_disk.h - what one simulated node's files are on: a simulated disk for each of its directories. */

#ifndef TESTS_SIM_NODE_DISK_H
#define TESTS_SIM_NODE_DISK_H

#include "raftcore/disk.h"
#include "tests/sim_disk.h"

enum { NODE_DIRECTORIES_MAX = 6 };

struct node_disk {
    struct raftcore_disk disk; /* First. */
    struct sim_hooks hooks;
    struct {
        char name[SIM_NAME_BYTES];
        struct sim_disk *sim;
    } directories[NODE_DIRECTORIES_MAX];
    unsigned count;
    bool held; /* Of directories of logs: completions wait until they are released. */
};

struct node_disk *node_disk_new(const struct sim_hooks *hooks);
void node_disk_free(struct node_disk *disk);

/* What a power cut (or, `killed`, the end of the process alone) leaves at this moment; the old one stays as it is. */
struct node_disk *node_disk_after(const struct node_disk *disk, bool killed, sim_choose choose, void *context);

/* The directory of the log that is in use: the one with operations in flight, or the newest. NULL: there is none. */
struct sim_disk *node_disk_log(struct node_disk *disk);
struct sim_disk *node_disk_snapshots(struct node_disk *disk);
unsigned node_disk_in_flight(const struct node_disk *disk);
void node_disk_release(struct node_disk *disk);
void node_disk_hold(struct node_disk *disk, bool held);
void node_disk_set_hooks(struct node_disk *disk, const struct sim_hooks *hooks);
/* All faults end. */
void node_disk_mend(struct node_disk *disk);

#endif
