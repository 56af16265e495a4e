/* sim_disk_parts.h - what the simulated disk is made of: its files, the versions of their sectors, its names. For the
 * files sim_*.c alone; tests see sim_disk.h.
 *
 * May include: sim_disk.h. */

#ifndef TESTS_SIM_DISK_PARTS_H
#define TESTS_SIM_DISK_PARTS_H

#include "tests/sim_disk.h"

struct file {
    unsigned references; /* Names and handles. */
    uint64_t bytes;      /* As seen. */
    uint64_t durable_bytes;
    uint64_t capacity_bytes;
    uint8_t *durable;
    uint8_t *cache;
    bool locked;
};

struct version {
    unsigned file;
    uint64_t sector;
    uint64_t completed_order; /* When it came into the cache. */
    bool in_flight;           /* Of a write not completed yet: not in the cache. */
    const struct wal_io_op *op;
    uint8_t bytes[SIM_SECTOR_BYTES];
};

struct lost {
    unsigned file;
    uint64_t sector;
};

struct name {
    char text[SIM_NAME_BYTES];
    unsigned file;
};

struct names {
    struct name list[SIM_FILES_MAX];
    unsigned count;
};

enum change_kind { CHANGE_CREATE, CHANGE_RENAME, CHANGE_UNLINK };

struct change {
    enum change_kind kind;
    struct name name; /* Of the file that it concerns. */
    char to[SIM_NAME_BYTES];
};

enum { CHANGES_MAX = 64, HANDLES_MAX = 128 };

struct sim_disk {
    struct wal_io io; /* First. */
    struct sim_hooks hooks;
    struct file files[SIM_FILES_MAX];
    unsigned file_count;
    struct names durable_names;
    struct names names;
    struct change changes[CHANGES_MAX];
    unsigned change_count;
    struct version *versions;
    unsigned version_count, version_capacity;
    struct version *zombies; /* Writes of a killed owner. */
    unsigned zombie_count;
    struct lost *lost; /* Sectors that the cache has and the device never will. */
    unsigned lost_count, lost_capacity;
    uint64_t order; /* Counts completions. */
    struct wal_io_op *in_flight[SIM_OPS_MAX];
    unsigned in_flight_count;
    int bell;                      /* The eventfd + 1; 0: not asked for yet. */
    bool rung;                     /* It may be readable. */
    unsigned handles[HANDLES_MAX]; /* File number + 1; 0: free. */
    unsigned operations;
    enum sim_fault fault;
    unsigned fault_at;
    int fault_error;
    uint64_t room_bytes;
    unsigned bad_file;
    uint64_t bad_sector; /* UINT64_MAX: none. */
    bool bad_once_other;
    bool directory_locked;
    bool parent_synced;
    bool held;
    bool lies; /* Syncs succeed and do nothing. */
};

/* Asks the owner; 0 when there is none. */
unsigned sim_choice(const struct sim_disk *disk, unsigned options);

/* --- sim_sectors.c ------------------------------------------------------------------------------- */

/* Room for so many, in the cache and durable; new ones are zeros. */
void sim_ensure_bytes(struct file *file, uint64_t bytes);
/* op: the write that is in flight, or NULL: complete already. */
void sim_add_version(struct sim_disk *disk, unsigned file, uint64_t sector, const uint8_t *bytes,
                     const struct wal_io_op *op);
void sim_drop_version(struct sim_disk *disk, unsigned at);
/* Seen by every read from now on; on the device from now on. */
void sim_write_cached(struct sim_disk *disk, const struct version *version);
void sim_write_through(struct sim_disk *disk, const struct version *version);
/* The device will never have it. */
void sim_add_lost(struct sim_disk *disk, const struct version *version);
/* A dead owner's write comes into the cache. */
void sim_land(struct sim_disk *disk, unsigned zombie);
/* The write's sectors are in the cache now; of one that failed, whatever the chooser likes. */
void sim_finish_write(struct sim_disk *disk, const struct wal_io_op *op, bool failed);
/* Versions of these sectors that were complete at `order` are durable: the last of each wins. */
void sim_make_durable(struct sim_disk *disk, unsigned file, uint64_t first_sector, uint64_t end_sector, uint64_t order);
/* A sync that failed: each sector is as it was, durable, or forgotten by the kernel. */
void sim_fail_sync(struct sim_disk *disk, unsigned file);
void sim_grow_durable(struct sim_disk *disk, unsigned number, uint64_t bytes);

/* --- sim_disk.c ---------------------------------------------------------------------------------- */

/* What a directory operation does to a list of names, if it still can. */
void sim_apply(struct names *names, const struct change *change);

#endif
