/* sim_disk.c - a disk in memory that forgets whatever it may forget.
 *
 * How it is kept: each file has its durable bytes and its cached bytes, and the disk has a list of versions: sectors
 * that were written and are not durable yet, in the order of writing. A read sees the cache. Making a sector durable
 * copies that version and forgets it and older ones. A cut throws the cache away and chooses, for each sector with
 * versions, one of them or the durable bytes; a file that has grown keeps the new size or the durable one. Names are
 * kept twice in the same way: the durable list, the list as seen, and the operations between them. A directory whose
 * parent was never synced may be gone altogether.
 *
 * A failed write or sync leaves each of its sectors in one of four ways: not written, volatile, durable, or the worst:
 * seen by every read, but on its way to nowhere (the kernel has marked the page clean). Only forget_cache tells the
 * last from the third, and the next cut.
 *
 * What can fail: what the test asked to fail (sim_disk_fail), or room that it took away.
 *
 * Invariants: a sector without versions has the same bytes in cache and durable, unless a write or sync of it has
 * failed; an operation completes once; its buffer has not changed between submit and completion (checked: the log
 * promised that). */

#define _GNU_SOURCE
#include "tests/sim_disk.h"

#include "wal/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static struct sim_disk *disk_of(struct wal_io *io)
{
    return (struct sim_disk *)io;
}

/* --- faults and moments -------------------------------------------------------------------------- */

static void moment(struct sim_disk *disk, const char *what)
{
    if (disk->hooks.moment != NULL) {
        disk->hooks.moment(disk->hooks.context, disk, what);
    }
}

/* Counts the operation; the error it is to fail with, or 0. */
static int fault_now(struct sim_disk *disk)
{
    disk->operations++;
    bool due =
        disk->fault != SIM_FAULT_NONE && (disk->operations == disk->fault_at ||
                                          (disk->fault == SIM_FAULT_FOR_EVER && disk->operations > disk->fault_at));
    return due ? -disk->fault_error : 0;
}

static unsigned choose(const struct sim_disk *disk, unsigned options)
{
    unsigned answer = disk->hooks.choose != NULL ? disk->hooks.choose(disk->hooks.context, options) : 0;
    CHECK(answer < options);
    return answer;
}

/* A dead owner's write lands whenever it likes, as long as nobody holds the file's lock. */
static void land(struct sim_disk *disk, unsigned zombie);
static void maybe_land(struct sim_disk *disk)
{
    if (disk->zombie_count != 0 && choose(disk, 8) == 0) {
        land(disk, choose(disk, disk->zombie_count));
    }
}

/* --- sectors ------------------------------------------------------------------------------------- */

static void ensure_bytes(struct file *file, uint64_t bytes)
{
    if (bytes > file->capacity_bytes) {
        uint64_t capacity_bytes = bytes > 16384 ? 2 * bytes : 16384;
        file->durable = realloc(file->durable, capacity_bytes);
        file->cache = realloc(file->cache, capacity_bytes);
        CHECK(file->durable != NULL && file->cache != NULL);
        memset(file->durable + file->capacity_bytes, 0, capacity_bytes - file->capacity_bytes);
        memset(file->cache + file->capacity_bytes, 0, capacity_bytes - file->capacity_bytes);
        file->capacity_bytes = capacity_bytes;
    }
}

static void add_version(struct sim_disk *disk, unsigned file, uint64_t sector, const uint8_t *bytes,
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

static void drop_version(struct sim_disk *disk, unsigned at)
{
    disk->version_count--;
    memmove(&disk->versions[at], &disk->versions[at + 1], (disk->version_count - at) * sizeof(struct version));
}

static void land(struct sim_disk *disk, unsigned zombie)
{
    struct version *version = &disk->zombies[zombie];
    struct file *file = &disk->files[version->file];
    memcpy(file->cache + version->sector * SIM_SECTOR_BYTES, version->bytes, SIM_SECTOR_BYTES);
    add_version(disk, version->file, version->sector, version->bytes, NULL);
    disk->zombie_count--;
    memmove(version, version + 1, (disk->zombie_count - zombie) * sizeof(struct version));
}

static void write_through(struct sim_disk *disk, const struct version *version)
{
    memcpy(disk->files[version->file].durable + version->sector * SIM_SECTOR_BYTES, version->bytes, SIM_SECTOR_BYTES);
}

static void add_lost(struct sim_disk *disk, const struct version *version)
{
    if (disk->lost_count == disk->lost_capacity) {
        disk->lost_capacity = disk->lost_capacity != 0 ? 2 * disk->lost_capacity : 16;
        disk->lost = realloc(disk->lost, disk->lost_capacity * sizeof(struct lost));
        CHECK(disk->lost != NULL);
    }
    disk->lost[disk->lost_count++] = (struct lost){version->file, version->sector};
}

/* The write's sectors are in the cache now; of one that failed, whatever the chooser likes. */
static void finish_write(struct sim_disk *disk, const struct wal_io_op *op, bool failed)
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
            fate = choose(disk, FATES);
        }
        version->in_flight = false;
        version->op = NULL;
        version->completed_order = disk->order;
        if (fate != NOT_WRITTEN) {
            memcpy(disk->files[version->file].cache + version->sector * SIM_SECTOR_BYTES, version->bytes,
                   SIM_SECTOR_BYTES);
        }
        if (fate == DURABLE) {
            write_through(disk, version);
        } else if (fate == TO_NOWHERE) {
            add_lost(disk, version);
        }
        if (fate == VOLATILE) {
            i++;
        } else {
            drop_version(disk, i);
        }
    }
}

/* Versions of these sectors that were complete at `order` are durable: the last of each wins. */
static void make_durable(struct sim_disk *disk, unsigned file, uint64_t first_sector, uint64_t end_sector,
                         uint64_t order)
{
    for (unsigned i = 0; i < disk->version_count && !disk->lies;) {
        struct version *version = &disk->versions[i];
        if (version->file != file || version->in_flight || version->completed_order > order ||
            version->sector < first_sector || version->sector >= end_sector) {
            i++;
            continue;
        }
        write_through(disk, version);
        drop_version(disk, i);
    }
}

/* A sync that failed: each sector is as it was, durable, or forgotten by the kernel. */
static void fail_sync(struct sim_disk *disk, unsigned file)
{
    for (unsigned i = 0; i < disk->version_count;) {
        struct version *version = &disk->versions[i];
        unsigned fate = version->file == file && !version->in_flight ? choose(disk, 3) : 0;
        if (fate == 1) {
            write_through(disk, version);
        } else if (fate == 2) {
            add_lost(disk, version);
        }
        if (fate == 0) {
            i++;
        } else {
            drop_version(disk, i);
        }
    }
}

static void grow_durable(struct sim_disk *disk, unsigned number, uint64_t bytes)
{
    struct file *file = &disk->files[number];
    if (bytes > file->durable_bytes && !disk->lies) {
        file->durable_bytes = bytes;
    }
}

/* --- data plane ---------------------------------------------------------------------------------- */

static unsigned file_of(const struct sim_disk *disk, int handle)
{
    CHECK(handle >= 0 && handle < HANDLES_MAX && disk->handles[handle] != 0);
    return disk->handles[handle] - 1;
}

static void read_now(struct sim_disk *disk, struct wal_io_op *op)
{
    unsigned number = file_of(disk, op->file);
    const struct file *file = &disk->files[number];
    op->moved_bytes = 0;
    if (op->offset < file->bytes) {
        uint64_t rest_bytes = file->bytes - op->offset;
        op->moved_bytes = rest_bytes < op->size ? (uint32_t)rest_bytes : op->size;
        memcpy(op->buffer, file->cache + op->offset, op->moved_bytes);
    }
    uint64_t bad_offset = disk->bad_sector * SIM_SECTOR_BYTES;
    if (disk->bad_sector != UINT64_MAX && disk->bad_file == number && bad_offset >= op->offset &&
        bad_offset < op->offset + op->moved_bytes) {
        if (!disk->bad_once_other) {
            op->result = -EIO;
            return;
        }
        memset((uint8_t *)op->buffer + (bad_offset - op->offset), 0, SIM_SECTOR_BYTES);
        disk->bad_sector = UINT64_MAX;
    }
    op->result = 0;
}

/* Takes the operation on: its sectors may survive a cut from now on. */
static void begin(struct sim_disk *disk, struct wal_io_op *op)
{
    op->moved_bytes = 0;
    op->write_ns = op->sync_ns = 0;
    op->private_ns = disk->order;
    op->private_state = 0;
    CHECK(op->kind == WAL_IO_SYNC || (op->offset % SIM_SECTOR_BYTES == 0 && op->size % SIM_SECTOR_BYTES == 0));
    if (op->kind != WAL_IO_WRITE && op->kind != WAL_IO_WRITE_DURABLE) {
        return;
    }
    unsigned number = file_of(disk, op->file);
    ensure_bytes(&disk->files[number], op->offset + op->size);
    if (op->offset + op->size > disk->files[number].bytes) {
        disk->files[number].bytes = op->offset + op->size;
    }
    for (uint32_t at = 0; at < op->size; at += SIM_SECTOR_BYTES) {
        add_version(disk, number, (op->offset + at) / SIM_SECTOR_BYTES, (const uint8_t *)op->buffer + at, op);
    }
}

static void complete(struct sim_disk *disk, struct wal_io_op *op)
{
    int error = fault_now(disk);
    op->result = error;
    unsigned number = file_of(disk, op->file);
    switch (op->kind) {
    case WAL_IO_READ:
        if (error == 0) {
            read_now(disk, op);
        }
        break;
    case WAL_IO_WRITE:
    case WAL_IO_WRITE_DURABLE:
        for (unsigned i = 0; i < disk->version_count; i++) {
            const struct version *version = &disk->versions[i];
            uint64_t at = version->sector * SIM_SECTOR_BYTES - op->offset;
            CHECK(version->op != op || memcmp(version->bytes, (const uint8_t *)op->buffer + at, SIM_SECTOR_BYTES) == 0);
        }
        finish_write(disk, op, error != 0);
        op->moved_bytes = error == 0 ? op->size : 0;
        if (error == 0 && op->kind == WAL_IO_WRITE_DURABLE) {
            make_durable(disk, number, op->offset / SIM_SECTOR_BYTES, (op->offset + op->size) / SIM_SECTOR_BYTES,
                         disk->order);
            grow_durable(disk, number, op->offset + op->size);
        }
        break;
    case WAL_IO_SYNC:
        if (error == 0) {
            make_durable(disk, number, 0, UINT64_MAX, op->private_ns);
            grow_durable(disk, number, disk->files[number].bytes);
        } else {
            fail_sync(disk, number);
        }
        break;
    }
}

static int execute(struct wal_io *io, struct wal_io_op *op)
{
    struct sim_disk *disk = disk_of(io);
    maybe_land(disk);
    if (op->kind != WAL_IO_READ) {
        moment(disk, "before");
    }
    begin(disk, op);
    if (op->kind != WAL_IO_READ) {
        moment(disk, "during");
    }
    complete(disk, op);
    if (op->kind != WAL_IO_READ) {
        moment(disk, "after");
    }
    return op->result;
}

static int submit(struct wal_io *io, struct wal_io_op *op)
{
    struct sim_disk *disk = disk_of(io);
    if (disk->in_flight_count == SIM_OPS_MAX) {
        return -EAGAIN;
    }
    begin(disk, op);
    disk->in_flight[disk->in_flight_count++] = op;
    if (op->kind != WAL_IO_READ) {
        moment(disk, "submitted");
    }
    return 0;
}

/* The one to complete next; in_flight_count: none, for now. */
static unsigned next_to_complete(const struct sim_disk *disk, bool must)
{
    if (!disk->held) {
        return must || choose(disk, 2) == 0 ? choose(disk, disk->in_flight_count) : disk->in_flight_count;
    }
    for (unsigned i = 0; i < disk->in_flight_count; i++) {
        if (disk->in_flight[i]->private_state != 0) {
            return i;
        }
    }
    return must ? 0 : disk->in_flight_count;
}

/* Completes at least done_min, and of the others as many as the chooser likes, in the order it likes; held: those
 * released. */
static int poll_disk(struct wal_io *io, unsigned done_min)
{
    struct sim_disk *disk = disk_of(io);
    unsigned done = 0;
    while (disk->in_flight_count != 0) {
        unsigned which = next_to_complete(disk, done < done_min);
        if (which == disk->in_flight_count) {
            break;
        }
        struct wal_io_op *op = disk->in_flight[which];
        disk->in_flight_count--;
        memmove(&disk->in_flight[which], &disk->in_flight[which + 1], (disk->in_flight_count - which) * sizeof(op));
        complete(disk, op);
        if (op->kind != WAL_IO_READ) {
            moment(disk, "completed");
        }
        op->done(op);
        done++;
    }
    return (int)done;
}

void sim_disk_hold(struct sim_disk *disk, bool held)
{
    disk->held = held;
}

unsigned sim_disk_in_flight(const struct sim_disk *disk)
{
    return disk->in_flight_count;
}

void sim_disk_release(struct sim_disk *disk, unsigned which)
{
    CHECK(which < disk->in_flight_count);
    disk->in_flight[which]->private_state = 1;
}

static int no_event_fd(struct wal_io *io)
{
    (void)io;
    return -1;
}

/* --- names --------------------------------------------------------------------------------------- */

static struct name *find_name(struct names *names, const char *text)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].text, text) == 0) {
            return &names->list[i];
        }
    }
    return NULL;
}

static void copy_name(char *to, const char *from)
{
    CHECK(strlen(from) < SIM_NAME_BYTES);
    strcpy(to, from);
}

/* What a directory operation does to a list of names, if it still can. */
static void apply(struct names *names, const struct change *change)
{
    struct name *found = find_name(names, change->name.text);
    if (change->kind == CHANGE_CREATE) {
        if (found == NULL && names->count < SIM_FILES_MAX) {
            names->list[names->count++] = change->name;
        }
    } else if (found != NULL && found->file == change->name.file) {
        if (change->kind == CHANGE_RENAME) {
            struct name *replaced = find_name(names, change->to);
            if (replaced != NULL) {
                *replaced = names->list[--names->count];
                found = find_name(names, change->name.text);
            }
            copy_name(found->text, change->to);
        } else {
            *found = names->list[--names->count];
        }
    }
}

static void change_names(struct sim_disk *disk, enum change_kind kind, const struct name *name, const char *to)
{
    CHECK(disk->change_count < CHANGES_MAX);
    struct change *change = &disk->changes[disk->change_count++];
    *change = (struct change){.kind = kind, .name = *name};
    if (to != NULL) {
        copy_name(change->to, to);
    }
    apply(&disk->names, change);
}

static int open_file(struct wal_io *io, const char *text, unsigned flags, int *file_out)
{
    struct sim_disk *disk = disk_of(io);
    int error = fault_now(disk);
    if (error != 0) {
        return error;
    }
    struct name *name = find_name(&disk->names, text);
    if (name == NULL && (flags & WAL_IO_OPEN_CREATE) == 0) {
        return -ENOENT;
    }
    if (name == NULL) {
        moment(disk, "before create");
        CHECK(disk->file_count < SIM_FILES_MAX);
        struct name created = {.file = disk->file_count++};
        copy_name(created.text, text);
        disk->files[created.file] = (struct file){0};
        change_names(disk, CHANGE_CREATE, &created, NULL);
        name = find_name(&disk->names, text);
    } else if ((flags & WAL_IO_OPEN_CREATE) != 0) {
        disk->files[name->file].bytes = 0; /* Its old content is left to be found: nobody promised zeros. */
    }
    for (int handle = 0; handle < HANDLES_MAX; handle++) {
        if (disk->handles[handle] == 0) {
            disk->handles[handle] = name->file + 1;
            *file_out = handle;
            return 0;
        }
    }
    return -EMFILE;
}

static int close_file(struct wal_io *io, int handle)
{
    struct sim_disk *disk = disk_of(io);
    (void)file_of(disk, handle);
    for (unsigned i = 0; i < disk->in_flight_count; i++) {
        CHECK(disk->in_flight[i]->file != handle); /* A read in flight could end in another file. */
    }
    disk->handles[handle] = 0;
    return 0;
}

static int file_bytes(struct wal_io *io, int handle, uint64_t *bytes_out)
{
    *bytes_out = disk_of(io)->files[file_of(disk_of(io), handle)].bytes;
    return 0;
}

static uint64_t used_bytes(const struct sim_disk *disk)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < disk->names.count; i++) {
        bytes += disk->files[disk->names.list[i].file].bytes;
    }
    return bytes;
}

static int allocate(struct wal_io *io, int handle, uint64_t bytes)
{
    struct sim_disk *disk = disk_of(io);
    int error = fault_now(disk);
    if (error != 0) {
        return error;
    }
    struct file *file = &disk->files[file_of(disk, handle)];
    if (disk->room_bytes != 0 && used_bytes(disk) - file->bytes + bytes > disk->room_bytes) {
        return -ENOSPC;
    }
    ensure_bytes(file, bytes);
    file->bytes = bytes;
    return 0;
}

static int rename_file(struct wal_io *io, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(io);
    moment(disk, "before rename");
    int error = fault_now(disk);
    if (error != 0) {
        return error;
    }
    struct name *name = find_name(&disk->names, from);
    if (name == NULL) {
        return -ENOENT;
    }
    if (find_name(&disk->names, to) != NULL) {
        return -EEXIST;
    }
    struct name copy = *name;
    change_names(disk, CHANGE_RENAME, &copy, to);
    moment(disk, "after rename");
    return 0;
}

static int unlink_file(struct wal_io *io, const char *text)
{
    struct sim_disk *disk = disk_of(io);
    moment(disk, "before unlink");
    int error = fault_now(disk);
    struct name *name = find_name(&disk->names, text);
    if (error != 0 || name == NULL) {
        return error != 0 ? error : -ENOENT;
    }
    struct name copy = *name;
    change_names(disk, CHANGE_UNLINK, &copy, NULL);
    moment(disk, "after unlink");
    return 0;
}

static int list_names(struct wal_io *io, int (*each)(void *context, const char *name), void *context)
{
    struct sim_disk *disk = disk_of(io);
    int error = fault_now(disk);
    struct names copy = disk->names;
    for (unsigned i = 0; error == 0 && i < copy.count; i++) {
        error = each(context, copy.list[i].text);
    }
    return error;
}

static int sync_directory(struct wal_io *io)
{
    struct sim_disk *disk = disk_of(io);
    moment(disk, "before directory sync");
    int error = fault_now(disk);
    if (error == 0 && !disk->lies) {
        disk->durable_names = disk->names;
        disk->change_count = 0;
        moment(disk, "after directory sync");
    }
    return error;
}

static int sync_parent(struct wal_io *io)
{
    struct sim_disk *disk = disk_of(io);
    moment(disk, "before parent sync");
    int error = fault_now(disk);
    disk->parent_synced = disk->parent_synced || (error == 0 && !disk->lies);
    return error;
}

static int lock_directory(struct wal_io *io)
{
    struct sim_disk *disk = disk_of(io);
    if (disk->directory_locked) {
        return -EBUSY;
    }
    disk->directory_locked = true;
    return 0;
}

/* Waits for the dead owner: its writes to this file land now, or never. */
static int lock_file(struct wal_io *io, int handle)
{
    struct sim_disk *disk = disk_of(io);
    unsigned file = file_of(disk, handle);
    for (unsigned i = 0; i < disk->zombie_count;) {
        if (disk->zombies[i].file != file) {
            i++;
        } else if (choose(disk, 2) == 0) {
            land(disk, i);
        } else {
            disk->zombie_count--;
            memmove(&disk->zombies[i], &disk->zombies[i + 1], (disk->zombie_count - i) * sizeof(struct version));
        }
    }
    return 0;
}

/* What the device never got is no longer seen. */
static int forget_cache(struct wal_io *io, int handle)
{
    struct sim_disk *disk = disk_of(io);
    unsigned number = file_of(disk, handle);
    struct file *file = &disk->files[number];
    unsigned kept = 0;
    for (unsigned i = 0; i < disk->lost_count; i++) {
        uint64_t offset = disk->lost[i].sector * SIM_SECTOR_BYTES;
        if (disk->lost[i].file != number) {
            disk->lost[kept++] = disk->lost[i];
        } else {
            memcpy(file->cache + offset, file->durable + offset, SIM_SECTOR_BYTES);
        }
    }
    disk->lost_count = kept;
    for (unsigned i = 0; i < disk->version_count; i++) {
        const struct version *version = &disk->versions[i];
        if (version->file == number && !version->in_flight) {
            memcpy(file->cache + version->sector * SIM_SECTOR_BYTES, version->bytes, SIM_SECTOR_BYTES);
        }
    }
    return 0;
}

static void destroy_io(struct wal_io *io)
{
    (void)io;
}

static const struct wal_io_ops sim_ops = {
    .open = open_file,
    .close = close_file,
    .file_bytes = file_bytes,
    .allocate = allocate,
    .rename = rename_file,
    .unlink = unlink_file,
    .list = list_names,
    .sync_directory = sync_directory,
    .sync_parent = sync_parent,
    .lock_directory = lock_directory,
    .lock_file = lock_file,
    .forget_cache = forget_cache,
    .execute = execute,
    .submit = submit,
    .poll = poll_disk,
    .event_fd = no_event_fd,
    .destroy = destroy_io,
};

/* --- a disk's life ------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_create(const struct sim_hooks *hooks)
{
    struct sim_disk *disk = calloc(1, sizeof(*disk));
    CHECK(disk != NULL);
    disk->io.ops = &sim_ops;
    disk->io.caps = (struct wal_io_caps){.align_bytes = SIM_SECTOR_BYTES,
                                         .physical_block_bytes = SIM_SECTOR_BYTES,
                                         .ops_max = SIM_OPS_MAX,
                                         .methods = 1u << WAL_IO_METHOD_DSYNC,
                                         .methods_submitted = 1u << WAL_IO_METHOD_DSYNC,
                                         .asynchronous = true,
                                         .direct = true,
                                         .name = "simulated"};
    disk->bad_sector = UINT64_MAX;
    sim_disk_set_hooks(disk, hooks);
    return disk;
}

void sim_disk_set_hooks(struct sim_disk *disk, const struct sim_hooks *hooks)
{
    disk->hooks = hooks != NULL ? *hooks : (struct sim_hooks){0};
}

void sim_disk_destroy(struct sim_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (unsigned i = 0; i < disk->file_count; i++) {
        free(disk->files[i].durable);
        free(disk->files[i].cache);
    }
    free(disk->versions);
    free(disk->zombies);
    free(disk->lost);
    free(disk);
}

struct wal_io *sim_disk_io(struct sim_disk *disk)
{
    return &disk->io;
}

unsigned sim_disk_operations(const struct sim_disk *disk)
{
    return disk->operations;
}

void sim_disk_fail(struct sim_disk *disk, enum sim_fault fault, unsigned n, int error)
{
    disk->fault = fault;
    disk->fault_at = disk->operations + n;
    disk->fault_error = error;
}

void sim_disk_set_room(struct sim_disk *disk, uint64_t bytes)
{
    disk->room_bytes = bytes;
}

void sim_disk_set_lying(struct sim_disk *disk, bool lies)
{
    disk->lies = lies;
}

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
        ensure_bytes(file, source->capacity_bytes);
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
            write_through(after, candidates[chosen - 1]);
        }
    }
    for (unsigned i = 0; i < disk->zombie_count; i++) {
        if (choose_one(context, 2) == 1) {
            write_through(after, &disk->zombies[i]);
        }
    }
}

static void cut_names(struct sim_disk *after, const struct sim_disk *disk, sim_choose choose_one, void *context)
{
    after->names = disk->durable_names;
    for (unsigned i = 0; i < disk->change_count; i++) {
        if (choose_one(context, 2) == 1) {
            apply(&after->names, &disk->changes[i]);
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
        add_lost(after, &(struct version){.file = disk->lost[i].file, .sector = disk->lost[i].sector});
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
            add_version(after, version->file, version->sector, version->bytes, NULL);
            memcpy(after->files[version->file].cache + version->sector * SIM_SECTOR_BYTES, version->bytes,
                   SIM_SECTOR_BYTES);
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
            drop_version(disk, i);
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
