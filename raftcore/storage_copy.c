/* storage_copy.c - a log written anew beside the old one.
 *
 * The happy path: a directory with the next number gets a log that begins where the old one does; a first append says
 * that it is being built; all records follow, in appends as large as fit; a last append says that it is complete, and
 * is waited for. From then on the new log is the one that counts (storage_open.c takes the highest number that is
 * complete), and the old directory may go.
 *
 * What can fail, and what is left: anything before the last append leaves a log that calls itself unfinished, which the
 * next open removes; the old one is as it was.
 *
 * Invariants: index for index the new log has what the old one had, or what was supplied; where neither reads it has a
 * record of STORAGE_HOLE_TYPE, so that a hole is a fact of the log and no damage any more; its tag is the term of the
 * record before it, which is not above the hole's own.
 *
 * May include: storage.h, check.h. */

#include "raftcore/storage.h"

#include "wal/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS_MAX = 4096, STAGING_BYTES = 1 << 20, RECORD_OVERHEAD_BYTES = 32, BATCH_OVERHEAD_BYTES = 512 };

struct copy {
    struct storage *storage;
    struct wal *to;
    struct wal_record *records;
    uint32_t record_count;
    uint8_t *staging;
    uint32_t staging_bytes, filled, spent; /* spent: with what each record takes beside its payload. */
    uint64_t last_term;
};

static int put_metadata(struct copy *copy, bool building)
{
    struct storage_metadata metadata = copy->storage->metadata;
    metadata.building = building;
    uint8_t bytes[STORAGE_METADATA_BYTES];
    storage_encode_metadata(&metadata, bytes);
    const struct wal_append append = {.flags = WAL_APPEND_METADATA, .metadata = bytes, .metadata_bytes = sizeof(bytes)};
    return wal_commit(copy->to, &append, NULL);
}

static int flush(struct copy *copy)
{
    if (copy->record_count == 0) {
        return 0;
    }
    const struct wal_append append = {.records = copy->records, .record_count = copy->record_count};
    int status = wal_commit(copy->to, &append, NULL);
    copy->record_count = 0;
    copy->filled = copy->spent = 0;
    return status;
}

static uint32_t batch_room(const struct storage *storage)
{
    uint32_t batch_bytes = storage_wal_options(storage, 0).batch_bytes_max;
    return (batch_bytes == 0 ? 2U << 20 : batch_bytes) - BATCH_OVERHEAD_BYTES;
}

static int put(struct copy *copy, const struct wal_record *record)
{
    uint32_t room = batch_room(copy->storage);
    room = room < copy->staging_bytes ? room : copy->staging_bytes;
    uint32_t cost = record->size + RECORD_OVERHEAD_BYTES;
    if (cost > room) { /* As large as one may be: by itself. */
        int status = flush(copy);
        const struct wal_append append = {.records = record, .record_count = 1};
        return status == 0 ? wal_commit(copy->to, &append, NULL) : status;
    }
    if (copy->spent + cost > room || copy->record_count == RECORDS_MAX) {
        int status = flush(copy);
        if (status != 0) {
            return status;
        }
    }
    if (record->size > 0) {
        memcpy(copy->staging + copy->filled, record->data, record->size);
    }
    copy->records[copy->record_count] = *record;
    copy->records[copy->record_count++].data = copy->staging + copy->filled;
    copy->filled += record->size;
    copy->spent += cost;
    return 0;
}

static bool is_supplied(const struct storage_supply *supply, uint64_t index, struct wal_record *record)
{
    if (supply == NULL || index < supply->first_index || index - supply->first_index >= supply->count) {
        return false;
    }
    const struct raftcore_entry *entry = &supply->entries[index - supply->first_index];
    *record = (struct wal_record){
        .data = entry->data, .size = entry->size, .type = (uint16_t)(entry->type + 1), .tag = entry->term};
    return true;
}

static int copy_records(struct copy *copy, struct wal *from, const struct storage_supply *supply)
{
    uint64_t last = wal_durable_index(from);
    struct wal_cursor *cursor;
    int status = wal_cursor_open(from, wal_first_index(from), &cursor);
    for (uint64_t index = wal_first_index(from); status == 0 && index <= last; index++) {
        struct wal_record record;
        if (!is_supplied(supply, index, &record)) {
            wal_cursor_seek(cursor, index);
            status = storage_is_lost(copy->storage, index) ? WAL_ECORRUPT : wal_cursor_next(cursor, &record);
            if (status == WAL_ECORRUPT || status == WAL_EIO || (status == 0 && record.index != index)) {
                record = (struct wal_record){.type = STORAGE_HOLE_TYPE, .tag = copy->last_term};
                status = 0;
            }
        }
        copy->last_term = record.tag;
        status = status == 0 ? put(copy, &record) : status;
    }
    if (cursor != NULL) {
        wal_cursor_close(cursor);
    }
    return status == 0 ? flush(copy) : status;
}

static int fill(struct copy *copy, struct wal *from, const struct storage_supply *supply)
{
    int status = put_metadata(copy, true);
    if (status == 0 && wal_first_index(from) > 1) {
        struct wal_receipt receipt;
        status = wal_reset(copy->to, wal_first_index(from), &receipt);
    }
    status = status == 0 ? copy_records(copy, from, supply) : status;
    if (status == 0) {
        CHECK(wal_last_index(copy->to) == wal_durable_index(from));
        status = put_metadata(copy, false);
    }
    return status;
}

static bool take_memory(struct copy *copy)
{
    struct memory *memory = &copy->storage->memory;
    copy->staging_bytes = STAGING_BYTES;
    copy->records = memory_resize(memory, NULL, 0, RECORDS_MAX * sizeof(*copy->records));
    copy->staging = memory_resize(memory, NULL, 0, STAGING_BYTES);
    return copy->records != NULL && copy->staging != NULL;
}

int storage_copy(struct storage *storage, struct wal *from, uint32_t number, const struct storage_supply *supply)
{
    struct copy copy = {.storage = storage};
    struct wal_io *io = NULL;
    struct wal_verdict verdict = {0};
    char name[32];
    (void)snprintf(name, sizeof(name), "log-%u", number);
    (void)storage->options.disk->ops->remove(storage->options.disk, name); /* Of an earlier try. */
    int status = take_memory(&copy) ? storage_open_directory(storage, number, true, &io) : WAL_ENOMEM;
    if (status == 0) {
        struct wal_options options = storage_wal_options(storage, WAL_CREATE | WAL_EXCLUSIVE);
        status = wal_open_io(io, &options, &copy.to, &verdict);
    }
    if (status == 0) {
        status = fill(&copy, from, supply);
        int closed = wal_close(copy.to);
        status = status == 0 ? closed : status;
    }
    if (io != NULL) {
        io->ops->destroy(io);
    }
    if (status != 0) { /* The old log goes on, and the room that this one took is needed. */
        (void)storage->options.disk->ops->remove(storage->options.disk, name);
    }
    memory_resize(&storage->memory, copy.records, copy.records == NULL ? 0 : RECORDS_MAX * sizeof(*copy.records), 0);
    memory_resize(&storage->memory, copy.staging, copy.staging == NULL ? 0 : STAGING_BYTES, 0);
    return status == 0 ? 0 : storage_tell(storage, status, "the log could not be written anew", verdict.text);
}
