/* storage.h - the core's term, vote and entries in a log.
 *
 * A unit of the core becomes one append: entries are records (index for index; term in the tag, type in the type), the
 * hard state is the metadata, a truncation is the append's. Many appends share a sync; tickets come back as sequences.
 * The only file of raftcore/ beside its callers that knows wal/wal.h.
 *
 * Not thread-safe, but for storage_read: one thread may read while another persists. Results are 0, a WAL_E code or a
 * negative errno value; storage->text has the words.
 *
 * May include: storage_metadata.h, snapshot_store.h, disk.h, wal.h. */

#ifndef RAFTCORE_STORAGE_H
#define RAFTCORE_STORAGE_H

#include "raftcore/disk.h"
#include "raftcore/snapshot_store.h"
#include "raftcore/storage_metadata.h"
#include "wal/wal.h"

enum { STORAGE_TEXT_BYTES = 640, STORAGE_ENTRY_TYPES = 0x7fff };

struct storage_options {
    struct raftcore_disk *disk;       /* The caller's; outlives the storage. */
    struct snapshot_store *snapshots; /* Open. */
    const struct wal_options *wal;    /* NULL: all defaults. */
    struct raftcore_allocator allocator;
    uint64_t id, cluster_id;
    uint64_t log_id;   /* Of a log that is made; 0: drawn. An existing log must have it, or it is 0. */
    bool create;       /* Make the log when there is none. */
    bool accept_alone; /* The operator's word for a cluster of one whose log is damaged (B17). */
};

/* A unit, or a step of one, that the log could not take yet. */
struct storage_held {
    struct raftcore_unit unit;
    void *block; /* Entries and payloads. */
    size_t block_bytes;
};

struct storage_ticket {
    uint64_t sequence, ticket;
};

struct storage {
    struct storage_options options;
    struct memory memory;
    struct wal_io *io;
    struct wal *log;
    uint32_t number; /* Of the log's directory. */
    struct storage_metadata metadata;
    struct wal_record *records;
    uint32_t record_capacity;
    struct storage_ticket *tickets; /* Ring, oldest first. */
    uint32_t ticket_head, ticket_count, ticket_capacity;
    struct storage_held *held; /* Ring, oldest first. */
    uint32_t held_head, held_count, held_capacity;
    unsigned stage; /* Of the unit that is being appended: of an installation the first part has been. */
    uint64_t durable_sequence, covered_sequence;
    uint64_t limit_sequence; /* The last unit that changed the term limit: its cover is wanted (B2). */
    uint64_t cover_ticket;   /* Of an append that is there to stand behind `cover_sequence`; 0: none. */
    uint64_t cover_sequence;
    bool clears_doubt; /* The next append ends the doubt: it holds what follows from it. */
    uint64_t cut_from; /* Records from here on go with the next append; 0: none. */
    bool failed;
    struct wal_cursor *cursor; /* Of storage_read. */
    uint64_t cursor_next;
    int status; /* Of the failure that `text` has the words of. */
    char text[STORAGE_TEXT_BYTES];

    /* What the open found; until storage_started. */
    struct raftcore_run *runs;
    uint32_t run_count, run_capacity;
    struct raftcore_configuration_entry *configurations;
    uint32_t configuration_count, configuration_capacity;
    struct raftcore_hole holes[RAFTCORE_HOLES_MAX];
    uint32_t hole_count;
    bool created, rebuilt, uncertain;
    struct wal_verdict verdict; /* Of the log as it was found. */
};

/* Opens or makes the log, mends what may be mended, and tells the core's start (all but session and applied); what it
 * points to is valid until storage_started. On failure nothing is open. */
int storage_open(struct storage *storage, const struct storage_options *options, struct raftcore_start *start);
void storage_started(struct storage *storage);
int storage_close(struct storage *storage);

/* Takes the unit on, in order. 0: it will become durable, or storage_poll says that it cannot. */
int storage_persist(struct storage *storage, const struct raftcore_unit *unit);
/* Starts writing. */
int storage_submit(struct storage *storage);
/* What is durable by now, and of it what lies in front of another durable batch. An error: PERSIST_FAILED. */
int storage_poll(struct storage *storage, uint64_t *sequence, uint64_t *covered);
/* Units that the log could not take yet: no room, on the disk or in memory. */
uint32_t storage_waiting(const struct storage *storage);

/* One stable entry; *data is valid until the next read. WAL_ECORRUPT: it does not read. WAL_ECOMPACTED, WAL_EBEYOND. */
int storage_read(struct storage *storage, uint64_t index, struct raftcore_entry *entry);

/* Entries below first_kept go. */
int storage_compact(struct storage *storage, uint64_t first_kept);

/* Puts entries in the place of a hole: writes the whole log anew beside the old one, and changes over when that is
 * durable (W9). Waits for all units that are on their way. */
int storage_splice(struct storage *storage, uint64_t first_index, const struct raftcore_entry *entries, uint32_t count);

/* --- storage_copy.c ------------------------------------------------------------------------------ */

/* Entries that take the place of what is in the log. */
struct storage_supply {
    uint64_t first_index;
    const struct raftcore_entry *entries;
    uint32_t count;
};

/* Copies all records of `from`, with the supply in place of its own and a record of STORAGE_HOLE_TYPE for each that
 * does not read, into the log directory `number`, and makes that durable. */
int storage_copy(struct storage *storage, struct wal *from, uint32_t number, const struct storage_supply *supply);

/* --- storage_scan.c ------------------------------------------------------------------------------ */

/* Reads all of the log: runs, configurations above that index, holes. */
int storage_scan(struct storage *storage, struct wal *log, uint64_t above);
/* The last hole ends the log: nothing behind it names it (B12b). */
bool storage_ends_in_hole(const struct storage *storage);
/* Holes that may hide a truncation reach down to `above`. */
void storage_widen_holes(struct storage *storage, uint64_t above);
/* In a hole that was found. */
bool storage_is_lost(const struct storage *storage, uint64_t index);
/* False: the log does not tell. */
bool storage_term_at(const struct storage *storage, uint64_t index, uint64_t *term);

/* --- storage_open.c ------------------------------------------------------------------------------ */

int storage_open_directory(struct storage *storage, uint32_t number, bool make, struct wal_io **io);
struct wal_options storage_wal_options(const struct storage *storage, uint32_t more_flags);
/* Is it the name of a log's directory, and of which? */
bool storage_is_log_name(const char *name, unsigned *number);
/* Says what failed; returns the status. */
int storage_tell(struct storage *storage, int status, const char *what, const char *detail);
/* The words of the log's own last failure. */
int storage_tell_log(struct storage *storage, int status, const char *what);

#endif
