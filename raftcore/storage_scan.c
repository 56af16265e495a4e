/* storage_scan.c - all that a log holds, read once: runs of terms, configurations above the snapshot, holes.
 *
 * The happy path: a cursor goes from the first record to the durable end; each record adds to its run, and if it is a
 * configuration to those. One that does not read, or that says that it could not be read, becomes part of a hole; what
 * stands behind a hole is its anchor.
 *
 * What can fail: memory; records that no core has written (terms that fall, configurations without sense); more holes
 * than the core takes. Nothing on the disk is changed.
 *
 * Invariants: runs have rising first indexes and rising terms; holes rise and do not touch; a hole without an anchor is
 * the last one, and ends the log.
 *
 * May include: storage.h, configuration.h. */

#include "raftcore/storage.h"

#include "raftcore/configuration.h"

#include <string.h>

/* --- reading all --------------------------------------------------------------------------------- */

static bool note_term(struct storage *storage, uint64_t index, uint64_t term)
{
    if (storage->run_count > 0 && storage->runs[storage->run_count - 1].term == term) {
        return true;
    }
    if (!memory_reserve(&storage->memory, (void **)&storage->runs, &storage->run_capacity, sizeof(*storage->runs),
                        (uint64_t)storage->run_count + 1)) {
        return false;
    }
    storage->runs[storage->run_count++] = (struct raftcore_run){.first_index = index, .term = term};
    return true;
}

static int note_configuration(struct storage *storage, const struct wal_record *record)
{
    if (!memory_reserve(&storage->memory, (void **)&storage->configurations, &storage->configuration_capacity,
                        sizeof(*storage->configurations), (uint64_t)storage->configuration_count + 1)) {
        return WAL_ENOMEM;
    }
    struct raftcore_configuration_entry *found = &storage->configurations[storage->configuration_count];
    found->index = record->index;
    if (!codec_decode_configuration(record->data, record->size, &found->configuration)) {
        return storage_tell(storage, WAL_ECORRUPT, "a configuration entry makes no sense", "");
    }
    storage->configuration_count++;
    return 0;
}

/* A record that does not read: part of the hole that ends in front of it, or of a new one. */
static int note_lost(struct storage *storage, uint64_t index)
{
    struct raftcore_hole *hole = storage->hole_count > 0 ? &storage->holes[storage->hole_count - 1] : NULL;
    if (hole != NULL && hole->last + 1 == index) {
        hole->last = index;
        return 0;
    }
    if (storage->hole_count == RAFTCORE_HOLES_MAX) {
        return storage_tell(storage, WAL_ECORRUPT, "the log has more holes than can be repaired",
                            "restore it from a copy, or remove the node and add it anew");
    }
    storage->holes[storage->hole_count++] = (struct raftcore_hole){.first = index, .last = index};
    return 0;
}

static int note_record(struct storage *storage, struct wal *log, const struct wal_record *record, uint64_t above)
{
    uint64_t last_term = storage->run_count > 0 ? storage->runs[storage->run_count - 1].term : 0;
    if (record->tag < last_term || record->tag == 0) {
        return storage_tell(storage, WAL_ECORRUPT, "terms fall in the log", "it was not written by this program");
    }
    struct raftcore_hole *hole = storage->hole_count > 0 ? &storage->holes[storage->hole_count - 1] : NULL;
    if (hole != NULL && hole->last + 1 == record->index) {
        hole->anchor_index = record->index;
        hole->anchor_term = record->tag;
    }
    /* A hole that begins the log has the term behind it: that of a hole may be any. */
    uint64_t from = storage->run_count == 0 ? wal_first_index(log) : record->index;
    if (!note_term(storage, from, record->tag)) {
        return WAL_ENOMEM;
    }
    bool is_configuration = record->type == RAFTCORE_ENTRY_CONFIGURATION + 1;
    return is_configuration && record->index > above ? note_configuration(storage, record) : 0;
}

/* The open said so already. Asking a handle for reading costs a look at the whole log for each record. */
static bool verdict_says_lost(const struct wal_verdict *verdict, uint64_t index)
{
    for (uint32_t i = 0; i < verdict->hole_count; i++) {
        if (index >= verdict->holes[i].first_index && index < verdict->holes[i].end_index) {
            return true;
        }
    }
    return false;
}

int storage_scan(struct storage *storage, struct wal *log, uint64_t above)
{
    storage->run_count = storage->configuration_count = storage->hole_count = 0;
    struct wal_cursor *cursor;
    uint64_t first = wal_first_index(log), last = wal_durable_index(log);
    int status = wal_cursor_open(log, first, &cursor);
    if (status != 0) {
        return storage_tell(storage, status, "the log could not be read", "");
    }
    for (uint64_t index = first; status == 0 && index <= last; index++) {
        struct wal_record record;
        bool known = storage->verdict.kind == WAL_VERDICT_CORRUPT && verdict_says_lost(&storage->verdict, index);
        status = known ? WAL_ECORRUPT : wal_cursor_next(cursor, &record);
        bool is_lost = status == WAL_ECORRUPT || status == WAL_EIO || (status == 0 && record.index != index) ||
                       (status == 0 && record.type == STORAGE_HOLE_TYPE);
        if (is_lost) {
            status = note_lost(storage, index);
            wal_cursor_seek(cursor, index + 1);
        } else if (status == 0) {
            status = note_record(storage, log, &record, above);
        }
    }
    wal_cursor_close(cursor);
    if (status != 0 && storage->text[0] == 0) {
        (void)storage_tell(storage, status, "the log could not be read", "");
    }
    return status;
}

/* --- holes --------------------------------------------------------------------------------------- */

bool storage_ends_in_hole(const struct storage *storage)
{
    return storage->hole_count > 0 && storage->holes[storage->hole_count - 1].anchor_index == 0;
}

/* A hole may hide a truncation, so that records in front of it were replaced in it. Equal terms on both sides say that
 * it did not: a leader writes an index once, and what follows an entry fixes what stands before it (Log Matching).
 * Otherwise all that no snapshot vouches for belongs to the hole. */
void storage_widen_holes(struct storage *storage, uint64_t above)
{
    for (uint32_t i = 0; i < storage->hole_count; i++) {
        struct raftcore_hole *hole = &storage->holes[i];
        uint64_t term_before = 0;
        for (uint32_t r = 0; r < storage->run_count && storage->runs[r].first_index < hole->first; r++) {
            term_before = storage->runs[r].term;
        }
        if (hole->anchor_index != 0 && term_before != 0 && term_before != hole->anchor_term &&
            above + 1 < hole->first) {
            hole->first = above + 1; /* Those below it belong to it. */
            storage->hole_count -= i;
            memmove(storage->holes, hole, storage->hole_count * sizeof(*hole));
            i = 0;
        }
    }
}

bool storage_term_at(const struct storage *storage, uint64_t index, uint64_t *term)
{
    *term = 0;
    for (uint32_t i = 0; i < storage->run_count && storage->runs[i].first_index <= index; i++) {
        *term = storage->runs[i].term;
    }
    return *term != 0;
}

bool storage_is_lost(const struct storage *storage, uint64_t index)
{
    for (uint32_t i = 0; i < storage->hole_count; i++) {
        if (index >= storage->holes[i].first && index <= storage->holes[i].last) {
            return true;
        }
    }
    return false;
}
