/* sim_disk.c - a disk in memory that forgets whatever it may forget: what the log sees of it.
 *
 * How it is kept: sectors as sim_sectors.c says. Names are kept twice in the same way: the durable list, the list as
 * seen, and the operations between them. What a cut or a kill leaves of all that is in sim_cut.c.
 *
 * The happy path: an operation tells its owner the moment before it, during it and behind it, and is carried out; a
 * submitted one waits in flight until a poll completes it, in the order that the chooser likes or the test releases.
 *
 * What can fail: what the test asked to fail (sim_disk_fail), or room that it took away.
 *
 * Invariants: an operation completes once; its buffer has not changed between submit and completion (checked: the log
 * promised that); a file is not closed while an operation on it is in flight (checked).
 *
 * May include: sim_disk_parts.h. */

#define _GNU_SOURCE
#include "tests/sim_disk_parts.h"

#include "wal/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

unsigned sim_choice(const struct sim_disk *disk, unsigned options)
{
    unsigned answer = disk->hooks.choose != NULL ? disk->hooks.choose(disk->hooks.context, options) : 0;
    CHECK(answer < options);
    return answer;
}

/* A dead owner's write lands whenever it likes, as long as nobody holds the file's lock. */
static void maybe_land(struct sim_disk *disk)
{
    if (disk->zombie_count != 0 && sim_choice(disk, 8) == 0) {
        sim_land(disk, sim_choice(disk, disk->zombie_count));
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
    sim_ensure_bytes(&disk->files[number], op->offset + op->size);
    if (op->offset + op->size > disk->files[number].bytes) {
        disk->files[number].bytes = op->offset + op->size;
    }
    for (uint32_t at = 0; at < op->size; at += SIM_SECTOR_BYTES) {
        sim_add_version(disk, number, (op->offset + at) / SIM_SECTOR_BYTES, (const uint8_t *)op->buffer + at, op);
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
        sim_finish_write(disk, op, error != 0);
        op->moved_bytes = error == 0 ? op->size : 0;
        if (error == 0 && op->kind == WAL_IO_WRITE_DURABLE) {
            sim_make_durable(disk, number, op->offset / SIM_SECTOR_BYTES, (op->offset + op->size) / SIM_SECTOR_BYTES,
                             disk->order);
            sim_grow_durable(disk, number, op->offset + op->size);
        }
        break;
    case WAL_IO_SYNC:
        if (error == 0) {
            sim_make_durable(disk, number, 0, UINT64_MAX, op->private_ns);
            sim_grow_durable(disk, number, disk->files[number].bytes);
        } else {
            sim_fail_sync(disk, number);
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

/* The descriptor is readable while poll() would find something. */
static void ring(struct sim_disk *disk)
{
    const uint64_t one = 1;
    disk->rung = disk->bell != 0;
    CHECK(!disk->rung || write(disk->bell - 1, &one, sizeof(one)) == sizeof(one));
}

static int submit(struct wal_io *io, struct wal_io_op *op)
{
    struct sim_disk *disk = disk_of(io);
    if (disk->in_flight_count == SIM_OPS_MAX) {
        return -EAGAIN;
    }
    begin(disk, op);
    disk->in_flight[disk->in_flight_count++] = op;
    if (!disk->held) {
        ring(disk);
    }
    if (op->kind != WAL_IO_READ) {
        moment(disk, "submitted");
    }
    return 0;
}

/* The one to complete next; in_flight_count: none, for now. */
static unsigned next_to_complete(const struct sim_disk *disk, bool must)
{
    if (!disk->held) {
        return must || sim_choice(disk, 2) == 0 ? sim_choice(disk, disk->in_flight_count) : disk->in_flight_count;
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
    uint64_t drained;
    if (disk->rung) {
        (void)!read(disk->bell - 1, &drained, sizeof(drained));
        disk->rung = false;
    }
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
    bool more = !disk->held && disk->in_flight_count != 0;
    for (unsigned i = 0; i < disk->in_flight_count; i++) {
        more = more || disk->in_flight[i]->private_state != 0; /* Released. */
    }
    if (more) {
        ring(disk);
    }
    return (int)done;
}

void sim_disk_hold(struct sim_disk *disk, bool held)
{
    disk->held = held;
    if (!held && disk->in_flight_count != 0) {
        ring(disk);
    }
}

unsigned sim_disk_in_flight(const struct sim_disk *disk)
{
    return disk->in_flight_count;
}

void sim_disk_release(struct sim_disk *disk, unsigned which)
{
    CHECK(which < disk->in_flight_count);
    disk->in_flight[which]->private_state = 1;
    ring(disk);
}

static int event_fd(struct wal_io *io)
{
    struct sim_disk *disk = disk_of(io);
    if (disk->bell == 0) {
        disk->rung = disk->in_flight_count != 0 && !disk->held;
        disk->bell = eventfd(disk->rung, EFD_CLOEXEC | EFD_NONBLOCK) + 1;
        CHECK(disk->bell > 0);
    }
    return disk->bell - 1;
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

void sim_apply(struct names *names, const struct change *change)
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
    if (disk->change_count == CHANGES_MAX) { /* Nobody syncs; the file system does, by and by. */
        disk->durable_names = disk->names;
        disk->change_count = 0;
    }
    struct change *change = &disk->changes[disk->change_count++];
    *change = (struct change){.kind = kind, .name = *name};
    if (to != NULL) {
        copy_name(change->to, to);
    }
    sim_apply(&disk->names, change);
}

static bool names_hold(const struct names *names, unsigned file)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (names->list[i].file == file) {
            return true;
        }
    }
    return false;
}

/* Nothing that a cut or a kill may choose leads to it any more. */
static bool is_forgotten(const struct sim_disk *disk, unsigned file)
{
    bool known = names_hold(&disk->names, file) || names_hold(&disk->durable_names, file);
    for (unsigned i = 0; !known && i < disk->change_count; i++) {
        known = disk->changes[i].name.file == file;
    }
    for (unsigned i = 0; !known && i < HANDLES_MAX; i++) {
        known = disk->handles[i] == file + 1;
    }
    for (unsigned i = 0; !known && i < disk->version_count; i++) {
        known = disk->versions[i].file == file;
    }
    for (unsigned i = 0; !known && i < disk->zombie_count; i++) {
        known = disk->zombies[i].file == file;
    }
    for (unsigned i = 0; !known && i < disk->lost_count; i++) {
        known = disk->lost[i].file == file;
    }
    return !known;
}

/* A place for a new file: with the content of one that is forgotten, if need be, as on a real disk. */
static unsigned place_for_file(struct sim_disk *disk)
{
    if (disk->file_count < SIM_FILES_MAX) {
        disk->files[disk->file_count] = (struct file){0};
        return disk->file_count++;
    }
    for (unsigned i = 0; i < disk->file_count; i++) {
        if (is_forgotten(disk, i)) {
            disk->files[i].bytes = disk->files[i].durable_bytes = 0;
            disk->files[i].locked = false;
            return i;
        }
    }
    CHECK(disk->file_count < SIM_FILES_MAX);
    return 0;
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
        struct name created = {.file = place_for_file(disk)};
        copy_name(created.text, text);
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
    sim_ensure_bytes(file, bytes);
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
        } else if (sim_choice(disk, 2) == 0) {
            sim_land(disk, i);
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
            sim_write_cached(disk, version);
        }
    }
    return 0;
}

/* The disk stays; its lock ends with whoever had it. */
static void destroy_io(struct wal_io *io)
{
    disk_of(io)->directory_locked = false;
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
    .event_fd = event_fd,
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
    if (disk->bell != 0) {
        (void)close(disk->bell - 1);
    }
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
