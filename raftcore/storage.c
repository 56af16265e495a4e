/* storage.c - units into appends, tickets into sequences.
 *
 * The happy path: storage_persist hands a unit to the log as one append and remembers its ticket; storage_submit lets
 * the log write; storage_poll finds that the ticket is durable and tells the sequence. Entries that the core does not
 * hold any more are read back by storage_read.
 *
 * What can fail, and what is left: the log has no room (its buffers are full, or the disk is): the unit is copied and
 * waits, with all behind it, until there is; the core's own limits bound how many. The log is poisoned: storage_poll
 * says so, for ever. The installation of a snapshot is two steps, the hard state with the removal of what must go, and
 * the log's new beginning; a crash between them leaves an empty log below its snapshot, which the next open finishes.
 *
 * Invariants: appends are in the order of sequences; a sequence is told as durable when its last ticket is, and as
 * covered when a ticket of a later batch is; the doubt ends only in the append that holds the unit
 * that follows from it (B4).
 *
 * May include: storage.h, zoo.h, bytes.h, check.h. */

#include "raftcore/storage.h"

#include "raftcore/zoo.h"
#include "wal/bytes.h"
#include "wal/check.h"

#include <errno.h>

/* --- units --------------------------------------------------------------------------------------- */

/* Another unit may need to wait, and a ticket to be remembered: room for both, before anything is taken on. */
static bool has_room(struct storage *storage)
{
    return memory_reserve_row(&storage->memory, (void **)&storage->tickets, &storage->ticket_capacity,
                              &storage->ticket_head, storage->ticket_count, sizeof(*storage->tickets), 1) &&
           memory_reserve_row(&storage->memory, (void **)&storage->held, &storage->held_capacity, &storage->held_head,
                              storage->held_count, sizeof(*storage->held), 1);
}

static void fill_records(struct storage *storage, const struct raftcore_unit *unit)
{
    for (uint32_t i = 0; i < unit->entry_count; i++) {
        const struct raftcore_entry *entry = &unit->entries[i];
        storage->records[i] = (struct wal_record){
            .data = entry->data, .size = entry->size, .type = (uint16_t)(entry->type + 1), .tag = entry->term};
    }
}

/* The first index that goes with this unit; 0: none. */
static uint64_t truncation_of(const struct storage *storage, const struct raftcore_unit *unit)
{
    uint64_t from = unit->truncate_from;
    if (storage->cut_from != 0 && (from == 0 || storage->cut_from < from)) {
        from = storage->cut_from;
    }
    if (unit->install_snapshot && !unit->keep_suffix) {
        uint64_t first = wal_first_index(storage->log);
        from = first <= wal_last_index(storage->log) ? first : 0;
    }
    return from;
}

static int append_unit(struct storage *storage, const struct raftcore_unit *unit, uint64_t *ticket)
{
    if (!memory_reserve(&storage->memory, (void **)&storage->records, &storage->record_capacity,
                        sizeof(*storage->records), unit->entry_count)) {
        return WAL_EAGAIN;
    }
    fill_records(storage, unit);
    struct storage_metadata metadata = storage->metadata;
    metadata.hard = unit->hard_state;
    if (unit->install_snapshot) {
        metadata.before_index = unit->snapshot.index;
        metadata.before_term = unit->snapshot.term;
    }
    if (ZOO(term_and_vote_apart)) {
        metadata.hard.vote = metadata.hard.term == storage->metadata.hard.term ? metadata.hard.vote : 0;
    }
    uint8_t bytes[STORAGE_METADATA_BYTES];
    storage_encode_metadata(&metadata, bytes);
    struct wal_append append = {.records = storage->records,
                                .record_count = unit->entry_count,
                                .flags = WAL_APPEND_METADATA | WAL_APPEND_NO_WAIT,
                                .metadata = bytes,
                                .metadata_bytes = sizeof(bytes)};
    uint64_t truncate_from = truncation_of(storage, unit);
    if (truncate_from != 0) {
        append.flags |= WAL_APPEND_TRUNCATE;
        append.first_index = truncate_from;
    }
    if (storage->clears_doubt) {
        append.flags |= WAL_APPEND_CLEAR_DOUBT;
    }
    CHECK(unit->entry_count == 0 ||
          unit->first_index == (truncate_from != 0 ? truncate_from : wal_last_index(storage->log) + 1));
    struct wal_receipt receipt;
    int status = wal_append(storage->log, &append, &receipt);
    if (status == 0) {
        if (metadata.hard.term_limit != storage->metadata.hard.term_limit) {
            storage->limit_sequence = unit->sequence;
        }
        metadata.hard.vote = unit->hard_state.vote;
        storage->metadata = metadata;
        storage->clears_doubt = false;
        storage->cut_from = 0;
        *ticket = receipt.ticket;
    }
    return status;
}

/* 0; WAL_EAGAIN, WAL_ENOSPC: not now, storage->stage says how far it came; else it never will be. */
static int take_on(struct storage *storage, const struct raftcore_unit *unit)
{
    uint64_t ticket = 0;
    if (storage->stage == 0) {
        int status = append_unit(storage, unit, &ticket);
        if (status != 0) {
            return status;
        }
    }
    if (unit->install_snapshot && wal_last_index(storage->log) < unit->snapshot.index) {
        struct wal_receipt receipt;
        storage->stage = 1;
        int status = wal_reset(storage->log, unit->snapshot.index + 1, &receipt);
        if (status != 0) {
            return status;
        }
        ticket = receipt.ticket;
    }
    if (storage->stage == 1 && ticket == 0) {
        ticket = wal_durable_ticket(storage->log); /* Nothing was left to do. */
    }
    storage->stage = 0;
    uint32_t at = storage->ticket_head + storage->ticket_count++;
    storage->tickets[at] = (struct storage_ticket){.sequence = unit->sequence, .ticket = ticket};
    return 0;
}

static bool may_pass(int status)
{
    return status == WAL_EAGAIN || status == WAL_ENOSPC;
}

/* A copy: what the unit points to is the core's and the caller's. */
static int hold(struct storage *storage, const struct raftcore_unit *unit)
{
    size_t bytes = (size_t)unit->entry_count * sizeof(struct raftcore_entry) + 1;
    for (uint32_t i = 0; i < unit->entry_count; i++) {
        bytes += unit->entries[i].size;
    }
    void *block = memory_resize(&storage->memory, NULL, 0, bytes);
    if (block == NULL) {
        return WAL_ENOMEM;
    }
    struct raftcore_entry *entries = block;
    uint8_t *payload = (uint8_t *)(entries + unit->entry_count);
    for (uint32_t i = 0; i < unit->entry_count; i++) {
        entries[i] = unit->entries[i];
        entries[i].data = payload;
        if (entries[i].size > 0) {
            memcpy(payload, unit->entries[i].data, entries[i].size);
        }
        payload += entries[i].size;
    }
    struct storage_held *held = &storage->held[storage->held_head + storage->held_count++];
    *held = (struct storage_held){.unit = *unit, .block = block, .block_bytes = bytes};
    held->unit.entries = entries;
    return 0;
}

/* Those that had to wait, as long as the log takes them. */
static int take_on_held(struct storage *storage)
{
    while (storage->held_count > 0) {
        struct storage_held *held = &storage->held[storage->held_head];
        if (!has_room(storage)) {
            return 0;
        }
        held = &storage->held[storage->held_head];
        int status = take_on(storage, &held->unit);
        if (status != 0) {
            return may_pass(status) ? 0 : storage_tell_log(storage, status, "a unit could not be appended");
        }
        memory_resize(&storage->memory, held->block, held->block_bytes, 0);
        storage->held_head++;
        storage->held_count--;
    }
    return 0;
}

int storage_persist(struct storage *storage, const struct raftcore_unit *unit)
{
    if (storage->failed) {
        return WAL_EPOISONED;
    }
    if (!has_room(storage)) {
        storage->failed = true; /* Order would be lost. */
        return storage_tell(storage, WAL_ENOMEM, "a unit could not be taken on", "out of memory");
    }
    int status = storage->held_count > 0 ? WAL_EAGAIN : take_on(storage, unit);
    if (may_pass(status)) {
        status = hold(storage, unit);
    }
    if (status != 0) {
        storage->failed = true;
        return storage_tell_log(storage, status, "a unit could not be appended");
    }
    return 0;
}

/* --- durable ------------------------------------------------------------------------------------- */

int storage_submit(struct storage *storage)
{
    if (storage->failed) {
        return WAL_EPOISONED;
    }
    int status = take_on_held(storage);
    status = status == 0 ? wal_submit(storage->log) : status;
    if (status != 0) {
        storage->failed = true;
        return storage_tell_log(storage, status, "the log could not write");
    }
    return 0;
}

/* The last unit that changed the term limit is durable, and nothing may come behind it for long: the metadata once more
 * (B2). An idle mark would do, but the log writes none where a segment ends. */
static void cover_limit(struct storage *storage, uint64_t durable_ticket)
{
    if (storage->cover_ticket != 0 && storage->cover_ticket <= durable_ticket) {
        storage->cover_ticket = 0;
        if (storage->cover_sequence > storage->covered_sequence) {
            storage->covered_sequence = storage->cover_sequence;
        }
    }
    bool wanted = storage->limit_sequence > storage->covered_sequence &&
                  storage->limit_sequence <= storage->durable_sequence && storage->cover_ticket == 0;
    if (!wanted || storage->ticket_count > 0 || storage->held_count > 0) {
        return;
    }
    uint8_t bytes[STORAGE_METADATA_BYTES];
    storage_encode_metadata(&storage->metadata, bytes);
    const struct wal_append append = {
        .flags = WAL_APPEND_METADATA | WAL_APPEND_NO_WAIT, .metadata = bytes, .metadata_bytes = sizeof(bytes)};
    struct wal_receipt receipt;
    if (wal_append(storage->log, &append, &receipt) == 0) { /* Else the next poll tries again. */
        storage->cover_ticket = receipt.ticket;
        storage->cover_sequence = storage->durable_sequence;
    }
}

static uint64_t durable_through(struct storage *storage, uint64_t durable_ticket)
{
    uint64_t sequence = storage->durable_sequence;
    while (storage->ticket_count > 0 && storage->tickets[storage->ticket_head].ticket <= durable_ticket) {
        sequence = storage->tickets[storage->ticket_head].sequence;
        storage->ticket_head++;
        storage->ticket_count--;
    }
    return sequence;
}

int storage_poll(struct storage *storage, uint64_t *sequence, uint64_t *covered)
{
    struct wal_progress progress = {0};
    int status = storage->failed ? WAL_EPOISONED : wal_dispatch(storage->log, &progress);
    if (status == 0) {
        uint64_t now = durable_through(storage, progress.durable_ticket);
        if (now > storage->durable_sequence) {
            storage->covered_sequence = storage->durable_sequence; /* What is durable now is in a later batch. */
            storage->durable_sequence = now;
        }
        cover_limit(storage, progress.durable_ticket);
        status = take_on_held(storage);
    }
    *sequence = storage->durable_sequence;
    *covered = storage->covered_sequence;
    if (status != 0 && !storage->failed) {
        storage->failed = true;
        return storage_tell_log(storage, status, "the log failed");
    }
    return status;
}

uint32_t storage_waiting(const struct storage *storage)
{
    return storage->held_count;
}

/* --- reading ------------------------------------------------------------------------------------- */

static int next_record(struct storage *storage, uint64_t index, struct wal_record *record)
{
    if (storage->cursor == NULL) {
        int status = wal_cursor_open(storage->log, index, &storage->cursor);
        if (status != 0) {
            return status;
        }
        storage->cursor_next = index;
    }
    if (storage->cursor_next != index) {
        wal_cursor_seek(storage->cursor, index);
    }
    int status = wal_cursor_next(storage->cursor, record);
    storage->cursor_next = status == 0 ? index + 1 : 0;
    return status == 0 && record->index != index ? WAL_ECOMPACTED : status;
}

int storage_read(struct storage *storage, uint64_t index, struct raftcore_entry *entry)
{
    struct wal_record record;
    int status = next_record(storage, index, &record);
    if (status == 0 && record.type == STORAGE_HOLE_TYPE) {
        return WAL_ECORRUPT;
    }
    if (status == 0) {
        *entry = (struct raftcore_entry){
            .term = record.tag, .data = record.data, .size = record.size, .type = (uint16_t)(record.type - 1)};
    }
    return status;
}

/* --- the beginning of the log -------------------------------------------------------------------- */

int storage_compact(struct storage *storage, uint64_t first_kept)
{
    if (storage->failed || first_kept <= wal_first_index(storage->log)) {
        return 0;
    }
    if (first_kept > wal_last_index(storage->log) + 1) {
        first_kept = wal_last_index(storage->log) + 1;
    }
    struct wal_cursor *cursor;
    struct wal_record before;
    if (wal_cursor_open(storage->log, first_kept - 1, &cursor) == 0) {
        if (wal_cursor_next(cursor, &before) == 0 && before.index == first_kept - 1 &&
            before.type != STORAGE_HOLE_TYPE) {
            storage->metadata.before_index = first_kept - 1;
            storage->metadata.before_term = before.tag;
        }
        wal_cursor_close(cursor);
    }
    struct wal_receipt receipt;
    int status = wal_truncate_prefix(storage->log, first_kept, &receipt);
    return status == 0 || may_pass(status) ? 0 : storage_tell_log(storage, status, "the log could not be compacted");
}

/* --- a hole is filled ---------------------------------------------------------------------------- */

static int finish_all(struct storage *storage)
{
    int status = take_on_held(storage);
    if (status != 0 || storage->held_count > 0) {
        return status != 0 ? status : WAL_ENOSPC;
    }
    for (uint32_t i = 0; status == 0 && i < storage->ticket_count; i++) {
        status = wal_wait(storage->log, storage->tickets[storage->ticket_head + i].ticket);
        status = status == WAL_ETRUNCATED ? 0 : status;
    }
    return status == 0 ? 0 : storage_tell_log(storage, status, "units on their way could not be made durable");
}

int storage_splice(struct storage *storage, uint64_t first_index, const struct raftcore_entry *entries, uint32_t count)
{
    if (storage->failed) {
        return WAL_EPOISONED;
    }
    int status = finish_all(storage);
    if (status != 0) {
        return status;
    }
    const struct storage_supply supply = {.first_index = first_index, .entries = entries, .count = count};
    status = storage_copy(storage, storage->log, storage->number + 1, &supply);
    if (status != 0) {
        return status; /* The old log goes on. */
    }
    /* From here on the new one counts. All tickets given so far are durable. */
    if (storage->cursor != NULL) {
        wal_cursor_close(storage->cursor);
        storage->cursor = NULL;
    }
    (void)wal_close(storage->log);
    storage->io->ops->destroy(storage->io);
    storage->log = NULL;
    storage->io = NULL;
    char name[32];
    (void)snprintf(name, sizeof(name), "log-%u", storage->number);
    (void)storage->options.disk->ops->remove(storage->options.disk, name);
    storage->number++;
    if (storage->ticket_count > 0) {
        storage->durable_sequence = storage->tickets[storage->ticket_head + storage->ticket_count - 1].sequence;
        storage->ticket_count = 0;
    }
    status = storage_open_directory(storage, storage->number, false, &storage->io);
    if (status == 0) {
        struct wal_options options = storage_wal_options(storage, 0);
        status = wal_open_io(storage->io, &options, &storage->log, &storage->verdict);
    }
    if (status != 0) {
        storage->failed = true;
        return storage_tell(storage, status, "the repaired log could not be opened", storage->verdict.text);
    }
    storage->covered_sequence = storage->durable_sequence; /* The open wrote an anchor behind all of it. */
    storage->cover_ticket = 0;
    return 0;
}

/* --- the end ------------------------------------------------------------------------------------- */

int storage_close(struct storage *storage)
{
    int status = 0;
    if (storage->cursor != NULL) {
        wal_cursor_close(storage->cursor);
    }
    if (storage->log != NULL) {
        status = wal_close(storage->log);
    }
    if (storage->io != NULL) {
        storage->io->ops->destroy(storage->io);
    }
    for (uint32_t i = 0; i < storage->held_count; i++) {
        struct storage_held *held = &storage->held[storage->held_head + i];
        memory_resize(&storage->memory, held->block, held->block_bytes, 0);
    }
    struct memory *memory = &storage->memory;
    storage_started(storage);
    memory_resize(memory, storage->records, storage->record_capacity * sizeof(*storage->records), 0);
    memory_resize(memory, storage->tickets, storage->ticket_capacity * sizeof(*storage->tickets), 0);
    memory_resize(memory, storage->held, storage->held_capacity * sizeof(*storage->held), 0);
    storage->records = NULL;
    storage->tickets = NULL;
    storage->held = NULL;
    storage->log = NULL;
    storage->io = NULL;
    storage->cursor = NULL;
    storage->held_count = 0;
    return status;
}
