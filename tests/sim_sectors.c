/* sim_sectors.c - the simulated disk's sectors: what was written and is not durable yet, and what becomes of it.
 *
 * How it is kept: each file has its durable bytes and its cached bytes, and the disk has a list of versions: sectors
 * that were written and are not durable yet, in the order of writing. A read sees the cache. Making a sector durable
 * copies that version and forgets it and older ones.
 *
 * A failed write or sync leaves each of its sectors in one of four ways: not written, volatile, durable, or the worst:
 * seen by every read, but on its way to nowhere (the kernel has marked the page clean). Only forget_cache tells the
 * last from the third, and the next cut.
 *
 * What can fail: nothing here; the failures that a test asked for come in as an argument.
 *
 * Invariants: a sector without versions has the same bytes in cache and durable, unless a write or sync of it has
 * failed; a version in flight belongs to one operation and is not in the cache.
 *
 * May include: sim_disk_parts.h. */

#include "tests/sim_disk_parts.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

void sim_ensure_bytes(struct file *file, uint64_t bytes)
{
    if (bytes > file->capacity_bytes) {
        /* A file that grows will grow again; the copy of one has its size from the start, or each cut would double it.
         */
        uint64_t capacity_bytes = file->capacity_bytes == 0 ? bytes : 2 * bytes;
        capacity_bytes = capacity_bytes < 16384 ? 16384 : capacity_bytes;
        file->durable = realloc(file->durable, capacity_bytes);
        file->cache = realloc(file->cache, capacity_bytes);
        CHECK(file->durable != NULL && file->cache != NULL);
        memset(file->durable + file->capacity_bytes, 0, capacity_bytes - file->capacity_bytes);
        memset(file->cache + file->capacity_bytes, 0, capacity_bytes - file->capacity_bytes);
        file->capacity_bytes = capacity_bytes;
    }
}

void sim_add_version(struct sim_disk *disk, unsigned file, uint64_t sector, const uint8_t *bytes,
                     const struct wal_io_op *op)
{
    if (disk->version_count == disk->version_capacity) {
        disk->version_capacity = disk->version_capacity != 0 ? 2 * disk->version_capacity : 64;
        disk->versions = realloc(disk->versions, disk->version_capacity * sizeof(struct version));
        CHECK(disk->versions != NULL);
    }
    struct version *version = &disk->versions[disk->version_count++];
    version->file = file;
    version->sector = sector;
    version->completed_order = disk->order;
    version->in_flight = op != NULL;
    version->op = op;
    memcpy(version->bytes, bytes, SIM_SECTOR_BYTES);
}

void sim_drop_version(struct sim_disk *disk, unsigned at)
{
    disk->version_count--;
    memmove(&disk->versions[at], &disk->versions[at + 1], (disk->version_count - at) * sizeof(struct version));
}

void sim_land(struct sim_disk *disk, unsigned zombie)
{
    struct version *version = &disk->zombies[zombie];
    sim_write_cached(disk, version);
    sim_add_version(disk, version->file, version->sector, version->bytes, NULL);
    disk->zombie_count--;
    memmove(version, version + 1, (disk->zombie_count - zombie) * sizeof(struct version));
}

void sim_write_cached(struct sim_disk *disk, const struct version *version)
{
    memcpy(disk->files[version->file].cache + version->sector * SIM_SECTOR_BYTES, version->bytes, SIM_SECTOR_BYTES);
}

void sim_write_through(struct sim_disk *disk, const struct version *version)
{
    memcpy(disk->files[version->file].durable + version->sector * SIM_SECTOR_BYTES, version->bytes, SIM_SECTOR_BYTES);
}

void sim_add_lost(struct sim_disk *disk, const struct version *version)
{
    if (disk->lost_count == disk->lost_capacity) {
        disk->lost_capacity = disk->lost_capacity != 0 ? 2 * disk->lost_capacity : 16;
        disk->lost = realloc(disk->lost, disk->lost_capacity * sizeof(struct lost));
        CHECK(disk->lost != NULL);
    }
    disk->lost[disk->lost_count++] = (struct lost){version->file, version->sector};
}

void sim_finish_write(struct sim_disk *disk, const struct wal_io_op *op, bool failed)
{
    enum { VOLATILE, NOT_WRITTEN, DURABLE, TO_NOWHERE, FATES };
    disk->order++;
    for (unsigned i = 0; i < disk->version_count;) {
        struct version *version = &disk->versions[i];
        unsigned fate = VOLATILE;
        if (version->op != op || !version->in_flight) {
            i++;
            continue;
        }
        if (failed) {
            fate = sim_choice(disk, FATES);
        }
        version->in_flight = false;
        version->op = NULL;
        version->completed_order = disk->order;
        if (fate != NOT_WRITTEN) {
            sim_write_cached(disk, version);
        }
        if (fate == DURABLE) {
            sim_write_through(disk, version);
        } else if (fate == TO_NOWHERE) {
            sim_add_lost(disk, version);
        }
        if (fate == VOLATILE) {
            i++;
        } else {
            sim_drop_version(disk, i);
        }
    }
}

void sim_make_durable(struct sim_disk *disk, unsigned file, uint64_t first_sector, uint64_t end_sector, uint64_t order)
{
    for (unsigned i = 0; i < disk->version_count && !disk->lies;) {
        struct version *version = &disk->versions[i];
        if (version->file != file || version->in_flight || version->completed_order > order ||
            version->sector < first_sector || version->sector >= end_sector) {
            i++;
            continue;
        }
        sim_write_through(disk, version);
        sim_drop_version(disk, i);
    }
}

void sim_fail_sync(struct sim_disk *disk, unsigned file)
{
    for (unsigned i = 0; i < disk->version_count;) {
        struct version *version = &disk->versions[i];
        unsigned fate = version->file == file && !version->in_flight ? sim_choice(disk, 3) : 0;
        if (fate == 1) {
            sim_write_through(disk, version);
        } else if (fate == 2) {
            sim_add_lost(disk, version);
        }
        if (fate == 0) {
            i++;
        } else {
            sim_drop_version(disk, i);
        }
    }
}

void sim_grow_durable(struct sim_disk *disk, unsigned number, uint64_t bytes)
{
    struct file *file = &disk->files[number];
    if (bytes > file->durable_bytes && !disk->lies) {
        file->durable_bytes = bytes;
    }
}
