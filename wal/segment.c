/* segment.c - one segment file, and the table of all of them.
 *
 * A segment is a preallocated file, written front to back once, then sealed and only read, then recycled.
 *
 * The happy path of its life:
 *   - segment_make: temporary name, every byte written with zeros, identity, sync, rename, directory sync: it is READY;
 *   - the committer writes the opening anchor: OPEN; batches; the seal: SEALED (commit.c does the writing);
 *   - a START batch moves the log's start past it: RETIRED;
 *   - segment_recycle: identity of its new number, sync, rename, directory sync: READY again, with its old bytes in it.
 *
 * What can fail, and what is left: making fails before the rename - a temporary file, removed at once or at the next
 * open; after it - a READY segment whose name may not be durable: the error poisons no log, but the file is not used
 * (it is removed). Recycling fails - a retired file; the new identity in it does no harm, since open ignores what lies
 * below the start.
 *
 * Invariants: a segment is READY only when its content, then its name, are durable; numbers are never used twice for
 * different live content (the number is part of every checksum); the list rises in number.
 *
 * May include: segment.h, memory.h, bytes.h, check.h, zoo.h. */

#define _GNU_SOURCE
#include "wal/segment.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/memory.h"
#include "wal/zoo.h"

#include <inttypes.h>
#include <sys/random.h>

static int transfer(struct wal_io *io, enum wal_io_kind kind, int file, uint64_t offset, void *buffer, uint32_t bytes)
{
    struct wal_io_op op = {.kind = kind, .file = file, .size = bytes, .offset = offset, .buffer = buffer};
    return io->ops->execute(io, &op);
}

int segment_read(struct wal_io *io, int file, uint64_t offset, void *buffer, uint32_t bytes, uint32_t *moved_out)
{
    struct wal_io_op op = {.kind = WAL_IO_READ, .file = file, .size = bytes, .offset = offset, .buffer = buffer};
    int result = io->ops->execute(io, &op);
    *moved_out = result == 0 ? op.moved_bytes : 0;
    return result;
}

int segment_write_block(struct wal_io *io, int file, uint64_t offset, uint8_t *block, uint32_t block_bytes)
{
    CHECK(offset % block_bytes == 0);
    return transfer(io, WAL_IO_WRITE_DURABLE, file, offset, block, block_bytes);
}

/* Zeros everything but the first block, which the identity is to fill. */
static int write_zeros(struct wal_io *io, int file, uint64_t bytes, uint8_t *scratch, uint32_t scratch_bytes,
                       const struct segment_pace *pace)
{
    memset(scratch, 0, scratch_bytes);
    for (uint64_t offset = 0; offset < bytes;) {
        uint64_t rest_bytes = bytes - offset;
        uint32_t piece_bytes = rest_bytes < scratch_bytes ? (uint32_t)rest_bytes : scratch_bytes;
        int result = transfer(io, WAL_IO_WRITE, file, offset, scratch, piece_bytes);
        if (result != 0) {
            return result;
        }
        offset += piece_bytes;
        if (pace != NULL && pace->pause(pace->context, offset, bytes) != 0) {
            return WAL_ECLOSED;
        }
    }
    return 0;
}

static int write_identity(struct wal_io *io, const struct segment_shape *shape, int file, uint64_t number,
                          uint64_t bytes, uint8_t prefill, uint8_t *scratch)
{
    const struct format_identity identity = {
        .major = FORMAT_MAJOR,
        .minor = FORMAT_MINOR,
        .block_shift = (uint8_t)__builtin_ctz(shape->block_bytes),
        .prefill = prefill,
        .segment = number,
        .segment_bytes = bytes,
        .batch_bytes_max = shape->batch_bytes_max,
        .batches_in_flight_max = shape->batches_in_flight_max,
    };
    struct format_identity copy = identity;
    memcpy(copy.uuid, shape->uuid, sizeof(copy.uuid));
    memset(scratch, 0, shape->block_bytes);
    format_identity_encode(&copy, scratch);
    CHECK(format_identity_decode(scratch, &copy) == FORMAT_OK); /* A reader must take what we write. */
    int result = transfer(io, WAL_IO_WRITE, file, 0, scratch, shape->block_bytes);
    if (result == 0 && !ZOO(identity_not_synced)) {
        result = transfer(io, WAL_IO_SYNC, file, 0, NULL, 0);
    }
    return result;
}

static int report_step(struct report *report, const char *step, uint64_t number, int result)
{
    if (result == WAL_ECLOSED) {
        return report_set(report, WAL_ECLOSED, "preparing segment %" PRIu64 " was stopped", number);
    }
    int status = status_of_errno(result);
    if (status == WAL_ENOSPC) {
        return report_set(report, status,
                          "%s segment %" PRIu64 ": no room (%s); free space or truncate the log's prefix", step, number,
                          errno_name(result));
    }
    return report_set(report, status, "%s segment %" PRIu64 " failed: %s", step, number, errno_name(result));
}

/* The steps of segment_make up to the rename. *step names the one that failed. */
static int fill_temporary(struct wal_io *io, const struct segment_shape *shape, const struct segment *segment,
                          uint8_t *opening_anchor, uint8_t *scratch, uint32_t scratch_bytes,
                          const struct segment_pace *pace, const char **step)
{
    *step = "locking";
    int result = io->ops->lock_file(io, segment->file);
    if (result == 0) {
        *step = "reserving room for";
        result = io->ops->allocate(io, segment->file, segment->bytes);
    }
    if (result == 0) {
        *step = "writing zeros to";
        result = write_zeros(io, segment->file, segment->bytes, scratch, scratch_bytes, pace);
    }
    if (result == 0 && opening_anchor != NULL) {
        *step = "writing the opening anchor of";
        uint64_t offset = FORMAT_FIRST_BATCH_BLOCK * (uint64_t)shape->block_bytes;
        result = transfer(io, WAL_IO_WRITE, segment->file, offset, opening_anchor, shape->block_bytes);
    }
    if (result == 0) {
        *step = "writing the identity of";
        result = write_identity(io, shape, segment->file, segment->number, segment->bytes, PREFILL_ZEROED, scratch);
    }
    return result;
}

int segment_make(struct wal_io *io, const struct segment_shape *shape, uint64_t number, uint8_t *opening_anchor,
                 uint8_t *scratch, uint32_t scratch_bytes, const struct segment_pace *pace, struct segment *out,
                 struct report *report)
{
    CHECK(scratch_bytes >= shape->block_bytes);
    *out = (struct segment){
        .number = number, .state = SEGMENT_READY, .file = -1, .prefill = PREFILL_ZEROED, .bytes = shape->segment_bytes};
    char temporary[FORMAT_NAME_BYTES];
    char name[FORMAT_NAME_BYTES];
    format_temporary_name(number, temporary);
    format_segment_name(number, name);
    const char *step = "creating";
    int result = io->ops->open(io, temporary, WAL_IO_OPEN_WRITE | WAL_IO_OPEN_CREATE, &out->file);
    if (result != 0) {
        return report_step(report, step, number, result);
    }
    result = fill_temporary(io, shape, out, opening_anchor, scratch, scratch_bytes, pace, &step);
    if (result == 0) {
        POINT(prepare);
        step = "naming";
        result = io->ops->rename(io, temporary, name);
        if (result == 0 && !ZOO(directory_sync_after_create)) {
            step = "syncing the directory for";
            result = io->ops->sync_directory(io);
            if (result != 0) {
                (void)io->ops->unlink(io, name);
            }
        }
    }
    if (result != 0) {
        segment_close_file(io, out);
        (void)io->ops->unlink(io, temporary);
        return report_step(report, step, number, result);
    }
    out->locked = true;
    return 0;
}

int segment_recycle(struct wal_io *io, const struct segment_shape *shape, struct segment *segment, uint64_t number,
                    bool zero, uint8_t *scratch, uint32_t scratch_bytes, const struct segment_pace *pace,
                    struct report *report)
{
    CHECK(segment->state == SEGMENT_RETIRED);
    CHECK(segment->pins == 0);
    CHECK(number >= segment->number); /* Equal: a file above the newest whose identity does not read is made anew. */
    char old_name[FORMAT_NAME_BYTES];
    char new_name[FORMAT_NAME_BYTES];
    format_segment_name(segment->number, old_name);
    format_segment_name(number, new_name);
    int result = segment_open_file(io, segment, true, report);
    if (result != 0) {
        return result;
    }
    uint8_t prefill = zero ? PREFILL_ZEROED : PREFILL_RECYCLED;
    const char *step = "zeroing recycled";
    if (zero) {
        result = write_zeros(io, segment->file, segment->bytes, scratch, scratch_bytes, pace);
    }
    if (result == 0) {
        step = "writing the identity of recycled";
        result = write_identity(io, shape, segment->file, number, segment->bytes, prefill, scratch);
    }
    if (result == 0) {
        POINT(recycle);
        step = "renaming recycled";
        result = number != segment->number ? io->ops->rename(io, old_name, new_name) : 0;
    }
    if (result == 0 && !ZOO(directory_sync_after_rename)) {
        step = "syncing the directory for recycled";
        result = io->ops->sync_directory(io);
        if (result != 0 && number != segment->number) {
            (void)io->ops->rename(io, new_name, old_name);
        }
    }
    if (result != 0) {
        return report_step(report, step, number, result);
    }
    return 0;
}

int segment_open_file(struct wal_io *io, struct segment *segment, bool for_writing, struct report *report)
{
    if (segment->file >= 0 && (segment->locked || !for_writing)) {
        return 0;
    }
    segment_close_file(io, segment);
    char name[FORMAT_NAME_BYTES];
    format_segment_name(segment->number, name);
    int result = io->ops->open(io, name, for_writing ? WAL_IO_OPEN_WRITE : 0, &segment->file);
    if (result != 0) {
        segment->file = -1;
        return report_set(report, status_of_errno(result), "cannot open %s: %s", name, errno_name(result));
    }
    if (for_writing && !ZOO(dead_owner_awaited)) {
        result = io->ops->lock_file(io, segment->file);
        if (result != 0) {
            segment_close_file(io, segment);
            return report_set(report, status_of_errno(result),
                              "%s is still locked by another process (%s); wait until it has ended", name,
                              errno_name(result));
        }
    }
    segment->locked = for_writing;
    return 0;
}

void segment_close_file(struct wal_io *io, struct segment *segment)
{
    if (segment->file >= 0) {
        (void)io->ops->close(io, segment->file);
        segment->file = -1;
    }
    segment->locked = false;
}

void segment_fill_seal(const struct segment *segment, const struct segment_shape *shape, uint8_t *block)
{
    CHECK(segment->low <= segment->opening_index);
    CHECK(segment->end_offset <= segment_seal_offset(segment, shape->block_bytes));
    struct format_seal seal = {
        .segment = segment->number,
        .salt = segment->salt,
        .last_number = segment->last_number,
        .last_checksum = segment->last_checksum,
        .last_offset = segment->last_offset,
        .end_offset = segment->end_offset,
        .opening_index = segment->opening_index,
        .last_index = segment->end_index - 1,
        .low = segment->low,
        .record_count = segment->record_count,
        .own_offset = segment_seal_offset(segment, shape->block_bytes),
    };
    memcpy(seal.uuid, shape->uuid, sizeof(seal.uuid));
    memset(block, 0, shape->block_bytes);
    format_seal_encode(&seal, block);
}

uint64_t segment_draw_salt(const struct segment_table *table)
{
    for (unsigned attempt = 0; attempt < 16; attempt++) {
        uint64_t salt = 0;
        if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt)) {
            continue;
        }
        bool fresh = salt != 0;
        for (uint32_t i = 0; i < table->count && fresh; i++) {
            fresh = table->list[i]->salt != salt;
        }
        if (fresh) {
            return salt;
        }
    }
    return 0;
}

/* --- the table ----------------------------------------------------------------------------------- */

int table_create(struct segment_table *table, uint32_t capacity, const struct wal_allocator *allocator)
{
    *table = (struct segment_table){.capacity = capacity, .allocator = allocator};
    table->list = memory_take(allocator, capacity * sizeof(struct segment *), 16);
    return table->list != NULL ? 0 : WAL_ENOMEM;
}

void table_destroy(struct segment_table *table, struct wal_io *io)
{
    while (table->count != 0) {
        struct segment *segment = table->list[table->count - 1];
        table_take_out(table, segment);
        segment_close_file(io, segment);
        segment_free(table, segment);
    }
    memory_give(table->allocator, table->list, table->capacity * sizeof(struct segment *));
    table->list = NULL;
}

struct segment *segment_copy(const struct segment_table *table, const struct segment *segment)
{
    struct segment *copy = memory_take(table->allocator, sizeof(struct segment), 16);
    if (copy != NULL) {
        *copy = *segment;
    }
    return copy;
}

int table_add(struct segment_table *table, const struct segment *segment, struct segment **out)
{
    if (table->count == table->capacity) {
        return WAL_ENOSPC;
    }
    struct segment *copy = segment_copy(table, segment);
    if (copy == NULL) {
        return WAL_ENOMEM;
    }
    table->list[table->count++] = copy;
    table_reorder(table);
    if (out != NULL) {
        *out = copy;
    }
    return 0;
}

void table_take_out(struct segment_table *table, struct segment *segment)
{
    CHECK(segment->pins == 0);
    uint32_t at = 0;
    while (at < table->count && table->list[at] != segment) {
        at++;
    }
    CHECK(at < table->count);
    table->count--;
    memmove(&table->list[at], &table->list[at + 1], (table->count - at) * sizeof(struct segment *));
}

void table_put_back(struct segment_table *table, struct segment *segment)
{
    CHECK(table->count < table->capacity);
    table->list[table->count++] = segment;
    table_reorder(table);
}

void segment_free(const struct segment_table *table, struct segment *segment)
{
    CHECK(segment->file < 0);
    segment_give_map(table, segment);
    memory_give(table->allocator, segment, sizeof(struct segment));
}

int segment_take_map(const struct segment_table *table, struct segment *segment, uint32_t block_bytes)
{
    CHECK(segment->map.entries == NULL);
    uint32_t capacity = map_capacity(segment->bytes, block_bytes);
    segment->map = (struct map){.capacity = capacity};
    segment->map.entries = memory_take(table->allocator, capacity * sizeof(struct map_entry), 16);
    segment->map_damaged = false;
    return segment->map.entries != NULL ? 0 : WAL_ENOMEM;
}

void segment_give_map(const struct segment_table *table, struct segment *segment)
{
    if (segment->map.entries != NULL) {
        memory_give(table->allocator, segment->map.entries, segment->map.capacity * sizeof(struct map_entry));
        segment->map = (struct map){0};
    }
}

struct segment *table_find(const struct segment_table *table, uint64_t number)
{
    for (uint32_t i = table->count; i-- > 0 && table->list[i]->number >= number;) {
        if (table->list[i]->number == number) {
            return table->list[i];
        }
    }
    return NULL;
}

void table_reorder(struct segment_table *table)
{
    /* Nearly sorted always: one segment at a time enters or changes its number. */
    for (uint32_t i = 1; i < table->count; i++) {
        struct segment *moved = table->list[i];
        uint32_t to = i;
        while (to > 0 && table->list[to - 1]->number > moved->number) {
            table->list[to] = table->list[to - 1];
            to--;
        }
        table->list[to] = moved;
    }
}

uint32_t table_count(const struct segment_table *table, enum segment_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        count += table->list[i]->state == state;
    }
    return count;
}

uint32_t table_ready(const struct segment_table *table, uint64_t number)
{
    uint32_t count = 0;
    for (;;) {
        const struct segment *next = table_find(table, number + 1 + count);
        if (next == NULL || next->state != SEGMENT_READY) {
            return count;
        }
        count++;
    }
}

static bool is_live(const struct segment *segment)
{
    return segment->state == SEGMENT_SEALED || segment->state == SEGMENT_OPEN;
}

uint64_t table_superseded_from(const struct segment_table *table, const struct segment *segment)
{
    uint64_t from = UINT64_MAX;
    for (uint32_t i = table->count; i-- > 0 && table->list[i]->number > segment->number;) {
        const struct segment *later = table->list[i];
        from = is_live(later) && later->low < from ? later->low : from;
    }
    return from;
}

struct segment *table_holding(const struct segment_table *table, uint64_t index)
{
    for (uint32_t i = table->count; i-- > 0;) {
        struct segment *segment = table->list[i];
        if (is_live(segment) && segment->low <= index) {
            return segment;
        }
    }
    return NULL;
}
