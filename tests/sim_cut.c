/* sim_cut.c - what is left of a simulated disk: after a power cut, after its owner was killed, after damage.
 *
 * How it goes: a cut throws the cache away and chooses, for each sector with versions, one of them or the durable
 * bytes; a file that has grown keeps the new size or the durable one; of the operations on names since the directory
 * was synced any subset has happened; a directory whose parent was never synced may be gone altogether. A kill keeps
 * all that was seen, and its writes in flight have landed, or land later, or never. Damage changes what is durable,
 * behind everybody's back.
 *
 * What can fail: nothing; what is left open is chosen by the caller's chooser.
 *
 * Invariants: the disk that is cut or killed stays as it is; a choice of 0 in a cut is the durable state; behind
 * a cut nothing is undecided, but for the directory's own name.
 *
 * May include: sim_disk_parts.h. */

#include "tests/sim_disk_parts.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

/* --- cuts and kills ------------------------------------------------------------------------------ */

/* The first version of its sector: the place to decide about it. */
static bool decides_sector(const struct sim_disk *disk, unsigned at)
{
    for (unsigned i = 0; i < at; i++) {
        if (disk->versions[i].file == disk->versions[at].file &&
            disk->versions[i].sector == disk->versions[at].sector) {
            return false;
        }
    }
    return true;
}

unsigned sim_disk_undecided(const struct sim_disk *disk)
{
    unsigned count = disk->change_count + disk->zombie_count + !disk->parent_synced;
    for (unsigned i = 0; i < disk->version_count; i++) {
        count += decides_sector(disk, i);
    }
    for (unsigned i = 0; i < disk->file_count; i++) {
        count += disk->files[i].bytes != disk->files[i].durable_bytes;
    }
    return count;
}

static void copy_files(struct sim_disk *to, const struct sim_disk *from)
{
    to->file_count = from->file_count;
    for (unsigned i = 0; i < from->file_count; i++) {
        const struct file *source = &from->files[i];
        struct file *file = &to->files[i];
        sim_ensure_bytes(file, source->capacity_bytes);
        file->bytes = source->bytes;
        file->durable_bytes = source->durable_bytes;
        if (source->capacity_bytes != 0) {
            memcpy(file->durable, source->durable, source->capacity_bytes);
            memcpy(file->cache, source->cache, source->capacity_bytes);
        }
    }
    to->order = from->order;
    to->room_bytes = from->room_bytes;
    to->parent_synced = from->parent_synced;
    to->lies = from->lies;
}

/* Each sector that has versions: the durable bytes, or one of them. */
static void cut_sectors(struct sim_disk *after, const struct sim_disk *disk, sim_choose choose_one, void *context)
{
    for (unsigned i = 0; i < disk->version_count; i++) {
        if (!decides_sector(disk, i)) {
            continue;
        }
        const struct version *candidates[8];
        unsigned count = 0;
        for (unsigned j = i; j < disk->version_count && count < 8; j++) {
            if (disk->versions[j].file == disk->versions[i].file &&
                disk->versions[j].sector == disk->versions[i].sector) {
                candidates[count++] = &disk->versions[j];
            }
        }
        unsigned chosen = choose_one(context, count + 1);
        if (chosen != 0) {
            sim_write_through(after, candidates[chosen - 1]);
        }
    }
    for (unsigned i = 0; i < disk->zombie_count; i++) {
        if (choose_one(context, 2) == 1) {
            sim_write_through(after, &disk->zombies[i]);
        }
    }
}

static void cut_names(struct sim_disk *after, const struct sim_disk *disk, sim_choose choose_one, void *context)
{
    after->names = disk->durable_names;
    for (unsigned i = 0; i < disk->change_count; i++) {
        if (choose_one(context, 2) == 1) {
            sim_apply(&after->names, &disk->changes[i]);
        }
    }
    if (!disk->parent_synced && choose_one(context, 2) == 0) {
        after->names.count = 0; /* The directory itself is gone. */
    }
    after->durable_names = after->names;
}

struct sim_disk *sim_disk_cut(const struct sim_disk *disk, const struct sim_hooks *hooks, sim_choose choose_one,
                              void *context)
{
    struct sim_disk *after = sim_disk_create(hooks);
    copy_files(after, disk);
    cut_sectors(after, disk, choose_one, context);
    cut_names(after, disk, choose_one, context);
    after->parent_synced = disk->parent_synced || after->names.count != 0;
    for (unsigned i = 0; i < after->file_count; i++) {
        struct file *file = &after->files[i];
        if (file->bytes != file->durable_bytes && choose_one(context, 2) == 0) {
            file->bytes = file->durable_bytes;
        }
        file->durable_bytes = file->bytes;
        if (file->capacity_bytes != 0) {
            memcpy(file->cache, file->durable, file->capacity_bytes);
        }
    }
    return after;
}

struct sim_disk *sim_disk_kill(const struct sim_disk *disk, const struct sim_hooks *hooks, sim_choose choose_one,
                               void *context)
{
    struct sim_disk *after = sim_disk_create(hooks);
    copy_files(after, disk);
    after->names = disk->names;
    after->durable_names = disk->durable_names;
    memcpy(after->changes, disk->changes, sizeof(disk->changes));
    after->change_count = disk->change_count;
    for (unsigned i = 0; i < disk->lost_count; i++) {
        sim_add_lost(after, &(struct version){.file = disk->lost[i].file, .sector = disk->lost[i].sector});
    }
    after->zombies = calloc(disk->version_count + disk->zombie_count + 1, sizeof(struct version));
    CHECK(after->zombies != NULL);
    for (unsigned i = 0; i < disk->zombie_count; i++) {
        after->zombies[after->zombie_count++] = disk->zombies[i];
    }
    for (unsigned i = 0; i < disk->version_count; i++) {
        const struct version *version = &disk->versions[i];
        unsigned fate = version->in_flight ? choose_one(context, 3) : 0;
        if (fate == 0) {
            sim_add_version(after, version->file, version->sector, version->bytes, NULL);
            sim_write_cached(after, version);
        } else if (fate == 1) {
            after->zombies[after->zombie_count] = *version;
            after->zombies[after->zombie_count].in_flight = false;
            after->zombies[after->zombie_count++].op = NULL;
        }
    }
    return after;
}

/* --- damage -------------------------------------------------------------------------------------- */

unsigned sim_disk_file_count(const struct sim_disk *disk)
{
    return disk->names.count;
}

const char *sim_disk_file_name(const struct sim_disk *disk, unsigned file)
{
    return disk->names.list[file].text;
}

uint8_t *sim_disk_file_bytes(struct sim_disk *disk, unsigned file, uint64_t *bytes_out)
{
    struct file *found = &disk->files[disk->names.list[file].file];
    *bytes_out = found->bytes;
    return found->durable;
}

void sim_disk_settle(struct sim_disk *disk)
{
    for (unsigned i = 0; i < disk->file_count; i++) {
        struct file *file = &disk->files[i];
        if (file->capacity_bytes != 0) {
            memcpy(file->cache, file->durable, file->capacity_bytes);
        }
    }
}

void sim_disk_damage(struct sim_disk *disk, unsigned file, uint64_t offset, const uint8_t bytes[SIM_SECTOR_BYTES])
{
    struct file *found = &disk->files[disk->names.list[file].file];
    CHECK(offset % SIM_SECTOR_BYTES == 0 && offset + SIM_SECTOR_BYTES <= found->capacity_bytes);
    memcpy(found->cache + offset, bytes, SIM_SECTOR_BYTES);
    memcpy(found->durable + offset, bytes, SIM_SECTOR_BYTES);
    for (unsigned i = 0; i < disk->version_count;) {
        struct version *version = &disk->versions[i];
        bool here = version->file == disk->names.list[file].file && version->sector == offset / SIM_SECTOR_BYTES;
        if (here && !version->in_flight) {
            sim_drop_version(disk, i);
        } else {
            i++;
        }
    }
}

void sim_disk_vanish(struct sim_disk *disk, unsigned file)
{
    disk->names.list[file] = disk->names.list[--disk->names.count];
    disk->durable_names = disk->names;
}

void sim_disk_bad_sector(struct sim_disk *disk, unsigned file, uint64_t offset, bool once_other)
{
    disk->bad_file = disk->names.list[file].file;
    disk->bad_sector = offset / SIM_SECTOR_BYTES;
    disk->bad_once_other = once_other;
}
