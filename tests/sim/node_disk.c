/* node_disk.c - what one simulated node's files are on.
 *
 * The happy path: each directory that the node asks for is a simulated disk of its own; a cut or a kill makes what is
 * left of each. What can fail: more directories than a node ever has, which is checked. Invariants: the disks of one
 * node are cut at the same moment; a directory that was removed does not come back. */

#include "tests/sim/node_disk.h"

#include "wal/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node_disk *of(struct raftcore_disk *disk)
{
    return (struct node_disk *)disk;
}

static int open_directory(struct raftcore_disk *base, const char *name, bool make, struct wal_io **io_out)
{
    struct node_disk *disk = of(base);
    for (unsigned i = 0; i < disk->count; i++) {
        if (strcmp(disk->directories[i].name, name) == 0) {
            *io_out = sim_disk_io(disk->directories[i].sim);
            return 0;
        }
    }
    if (!make) {
        return -ENOENT;
    }
    CHECK(disk->count < NODE_DIRECTORIES_MAX);
    CHECK(strlen(name) < SIM_NAME_BYTES);
    struct sim_disk *sim = sim_disk_create(&disk->hooks);
    strcpy(disk->directories[disk->count].name, name);
    disk->directories[disk->count++].sim = sim;
    *io_out = sim_disk_io(sim);
    return 0;
}

static int remove_directory(struct raftcore_disk *base, const char *name)
{
    struct node_disk *disk = of(base);
    for (unsigned i = 0; i < disk->count; i++) {
        if (strcmp(disk->directories[i].name, name) == 0) {
            sim_disk_destroy(disk->directories[i].sim);
            disk->count--;
            memmove(&disk->directories[i], &disk->directories[i + 1], (disk->count - i) * sizeof(disk->directories[0]));
            return 0;
        }
    }
    return 0;
}

static int list_directories(struct raftcore_disk *base, int (*each)(void *context, const char *name), void *context)
{
    struct node_disk *disk = of(base);
    int result = 0;
    for (unsigned i = 0; result == 0 && i < disk->count; i++) {
        result = each(context, disk->directories[i].name);
    }
    return result;
}

static void destroy(struct raftcore_disk *base)
{
    (void)base; /* The world's. */
}

static const struct raftcore_disk_ops ops = {
    .open = open_directory, .remove = remove_directory, .list = list_directories, .destroy = destroy};

struct node_disk *node_disk_new(const struct sim_hooks *hooks)
{
    struct node_disk *disk = calloc(1, sizeof(*disk));
    CHECK(disk != NULL);
    disk->disk.ops = &ops;
    disk->hooks = *hooks;
    return disk;
}

void node_disk_free(struct node_disk *disk)
{
    for (unsigned i = 0; disk != NULL && i < disk->count; i++) {
        sim_disk_destroy(disk->directories[i].sim);
    }
    free(disk);
}

struct node_disk *node_disk_after(const struct node_disk *disk, bool killed, sim_choose choose, void *context)
{
    struct node_disk *after = node_disk_new(&disk->hooks);
    for (unsigned i = 0; i < disk->count; i++) {
        const struct sim_disk *sim = disk->directories[i].sim;
        after->directories[i].sim = killed ? sim_disk_kill(sim, &disk->hooks, choose, context)
                                           : sim_disk_cut(sim, &disk->hooks, choose, context);
        strcpy(after->directories[i].name, disk->directories[i].name);
    }
    after->count = disk->count;
    return after;
}

static bool is_log(const struct node_disk *disk, unsigned i)
{
    return strncmp(disk->directories[i].name, "log-", 4) == 0;
}

struct sim_disk *node_disk_log(struct node_disk *disk)
{
    struct sim_disk *found = NULL;
    for (unsigned i = 0; i < disk->count; i++) {
        if (is_log(disk, i) && (found == NULL || sim_disk_in_flight(found) == 0)) {
            found = disk->directories[i].sim;
        }
    }
    return found;
}

struct sim_disk *node_disk_snapshots(struct node_disk *disk)
{
    for (unsigned i = 0; i < disk->count; i++) {
        if (!is_log(disk, i)) {
            return disk->directories[i].sim;
        }
    }
    return NULL;
}

unsigned node_disk_in_flight(const struct node_disk *disk)
{
    unsigned count = 0;
    for (unsigned i = 0; i < disk->count; i++) {
        count += sim_disk_in_flight(disk->directories[i].sim);
    }
    return count;
}

void node_disk_release(struct node_disk *disk)
{
    for (unsigned i = 0; i < disk->count; i++) {
        if (sim_disk_in_flight(disk->directories[i].sim) > 0) {
            sim_disk_release(disk->directories[i].sim, 0);
        }
    }
}

void node_disk_hold(struct node_disk *disk, bool held)
{
    disk->held = held;
    for (unsigned i = 0; i < disk->count; i++) {
        sim_disk_hold(disk->directories[i].sim, held);
    }
}

void node_disk_set_hooks(struct node_disk *disk, const struct sim_hooks *hooks)
{
    disk->hooks = *hooks;
    for (unsigned i = 0; i < disk->count; i++) {
        sim_disk_set_hooks(disk->directories[i].sim, hooks);
    }
}

void node_disk_mend(struct node_disk *disk)
{
    for (unsigned i = 0; i < disk->count; i++) {
        sim_disk_fail(disk->directories[i].sim, SIM_FAULT_NONE, 0, 0);
        sim_disk_set_room(disk->directories[i].sim, 0);
    }
}
