/* sim_disk.h - a disk in memory that forgets whatever it may forget.
 *
 * It is pessimistic in every point that a real one leaves open:
 *   - a write is volatile until it is made durable; a durable write makes only its own sectors so, a sync what was
 *     complete in that file before it; at a power cut each 512-byte sector that is not durable keeps any one of the
 *     versions it might have, whatever its neighbours do, those of writes in flight included;
 *   - names are volatile until the directory is synced: at a cut any subset of the operations since then has happened;
 *     sizes until the file is; the whole directory until its parent is;
 *   - a failed write or sync leaves its sectors lost, volatile, durable, or seen in the cache and lost on the device;
 *   - operations in flight complete in any order;
 *   - a killed process leaves the cache as it is, and its writes in flight may land later, until its files are locked
 *     by somebody else.
 *
 * Everything that is left open is chosen by the owner's chooser, so runs repeat. */

#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "wal/io.h"

enum { SIM_SECTOR_BYTES = 512, SIM_FILES_MAX = 64, SIM_NAME_BYTES = 32, SIM_OPS_MAX = 16 };

struct sim_disk;

/* Answers with a number below `options`. */
typedef unsigned (*sim_choose)(void *context, unsigned options);

enum sim_fault { SIM_FAULT_NONE = 0, SIM_FAULT_ERROR, SIM_FAULT_FOR_EVER }; /* Once; or from then on. */

struct sim_hooks {
    sim_choose choose;
    /* Before each operation that changes something, and before a completion is told: the moments at which a cut makes a
     * difference. */
    void (*moment)(void *context, struct sim_disk *disk, const char *what);
    void *context;
};

struct sim_disk *sim_disk_create(const struct sim_hooks *hooks);
void sim_disk_destroy(struct sim_disk *disk);
struct wal_io *sim_disk_io(struct sim_disk *disk);
void sim_disk_set_hooks(struct sim_disk *disk, const struct sim_hooks *hooks);

/* Held: a poll completes what was released, by its place among those in flight (0: the oldest); of the others the
 * oldest, and only when it must wait for something. */
void sim_disk_hold(struct sim_disk *disk, bool held);
unsigned sim_disk_in_flight(const struct sim_disk *disk);
void sim_disk_release(struct sim_disk *disk, unsigned which);

/* From now on syncs and durable writes succeed and make nothing durable. */
void sim_disk_set_lying(struct sim_disk *disk, bool lies);

/* What a cut must decide: sectors with more than one version, sizes, directory operations not synced, the directory
 * itself. */
unsigned sim_disk_undecided(const struct sim_disk *disk);

/* The disk after a power cut; each undecided thing is chosen: a sector among its versions (0: the durable one), a size,
 * a directory operation, a late write or the directory's own name between 0, not done, and 1. The old disk stays as it
 * is. */
struct sim_disk *sim_disk_cut(const struct sim_disk *disk, const struct sim_hooks *hooks, sim_choose choose,
                              void *context);

/* The disk after the process was killed: nothing written is lost, names are as they were seen; writes in flight have
 * landed, or will, or not. */
struct sim_disk *sim_disk_kill(const struct sim_disk *disk, const struct sim_hooks *hooks, sim_choose choose,
                               void *context);

/* From now on the n-th operation (1: the next) fails with -error: a write may land in part. */
void sim_disk_fail(struct sim_disk *disk, enum sim_fault fault, unsigned n, int error);
unsigned sim_disk_operations(const struct sim_disk *disk); /* So far. */

/* The disk's room in bytes; 0: endless. */
void sim_disk_set_room(struct sim_disk *disk, uint64_t bytes);

/* Damage, to what is durable. Files are those with a name, in the order of names. */
unsigned sim_disk_file_count(const struct sim_disk *disk);
const char *sim_disk_file_name(const struct sim_disk *disk, unsigned file);
uint8_t *sim_disk_file_bytes(struct sim_disk *disk, unsigned file, uint64_t *bytes_out);
/* This sector has these bytes now, on the device too. */
void sim_disk_damage(struct sim_disk *disk, unsigned file, uint64_t offset, const uint8_t bytes[SIM_SECTOR_BYTES]);
/* After a change of file bytes (which are the durable ones): what is cached is as what is durable. */
void sim_disk_settle(struct sim_disk *disk);
void sim_disk_vanish(struct sim_disk *disk, unsigned file);
/* Reads of this sector fail from now on, or give zeros once. */
void sim_disk_bad_sector(struct sim_disk *disk, unsigned file, uint64_t offset, bool once_other);

#endif
