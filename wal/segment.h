/* segment.h - one segment file: making it, recycling it, sealing it; and the table of all of them.
 *
 * May include: wal.h, io.h, format.h, map.h, report.h. */

#ifndef WAL_SEGMENT_H
#define WAL_SEGMENT_H

#include "wal/format.h"
#include "wal/io.h"
#include "wal/map.h"
#include "wal/report.h"
#include "wal/wal.h"

enum segment_state {
    SEGMENT_RETIRED = 1, /* Below the start, or behind an accepted cut: its content does not count. */
    SEGMENT_SEALED,      /* Written, closed, live. */
    SEGMENT_OPEN,        /* The newest one begun: T. */
    SEGMENT_READY        /* Prepared and named, not begun. */
};

struct segment {
    uint64_t number;
    enum segment_state state;
    int file;        /* -1: not open. */
    bool locked;     /* The file is open for writing, under a lock. */
    uint8_t prefill; /* enum format_prefill */
    bool staged;     /* READY: batches are being put together for it. */
    bool dead;       /* While a damaged log is judged: a loss accepted earlier has removed it. */
    uint32_t pins;   /* Readers at work in the file: it must not be recycled. */
    uint64_t bytes;
    uint64_t salt; /* READY: drawn for its anchor. OPEN: of the present run. */

    /* What its batches hold, as sealed. SEALED and OPEN only. */
    uint64_t predecessor; /* Segment before it in the chain; 0: none. */
    uint64_t opening_index;
    uint64_t end_index; /* One past the last index of the log when it was sealed, or now. */
    uint64_t low;       /* Lowest first index of any batch in it; <= opening_index. */
    uint64_t record_count;
    uint64_t last_number;
    uint64_t last_checksum;
    uint64_t last_offset;
    uint64_t end_offset;

    struct map map;    /* entries NULL: not in memory. */
    bool map_damaged;  /* Some batch did not read when the map was made. */
    uint64_t last_use; /* For choosing whose map to give up. */
};

/* What all segments of a log have in common. */
struct segment_shape {
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint32_t block_bytes;
    uint64_t segment_bytes; /* Of new ones. */
    uint32_t batch_bytes_max;
    uint32_t batches_in_flight_max;
};

/* Where the seal goes: batches end before it. */
static inline uint64_t segment_seal_offset(const struct segment *segment, uint32_t block_bytes)
{
    return segment->bytes - block_bytes;
}

/* Called between pieces of long work; non-zero stops it (WAL_ECLOSED). May sleep. */
struct segment_pace {
    int (*pause)(void *context, uint64_t bytes_done, uint64_t bytes_total);
    void *context;
};

/* Makes segment `number` in the directory: zero-written, identified, synced, named, name synced; the file stays open
 * and locked. scratch: at least block_bytes, aligned, contents arbitrary. opening_anchor: NULL, or a block to be
 * written with it (the first segment of a log is born begun). On failure nothing of that name exists, at most a
 * temporary file. */
int segment_make(struct wal_io *io, const struct segment_shape *shape, uint64_t number, uint8_t *opening_anchor,
                 uint8_t *scratch, uint32_t scratch_bytes, const struct segment_pace *pace, struct segment *out,
                 struct report *report);

/* Turns a retired segment into segment `number`: new identity, synced, renamed, name synced. With zero: its content is
 * zeroed first. The struct keeps its old number and prefill: the caller changes them under its lock. On failure it is
 * what it was, retired, perhaps with the new identity, which nobody believes below the start. */
int segment_recycle(struct wal_io *io, const struct segment_shape *shape, struct segment *segment, uint64_t number,
                    bool zero, uint8_t *scratch, uint32_t scratch_bytes, const struct segment_pace *pace,
                    struct report *report);

/* Opens the file if it is not open, for writing under a lock when asked. */
int segment_open_file(struct wal_io *io, struct segment *segment, bool for_writing, struct report *report);
void segment_close_file(struct wal_io *io, struct segment *segment);

/* Makes an operation and carries it out. size a multiple of the disk's alignment. */
int segment_read(struct wal_io *io, int file, uint64_t offset, void *buffer, uint32_t bytes, uint32_t *moved_out);

/* A whole block, written and made durable. */
int segment_write_block(struct wal_io *io, int file, uint64_t offset, uint8_t *block, uint32_t block_bytes);

/* Fills a block with the seal of a segment whose batches are all sealed. */
void segment_fill_seal(const struct segment *segment, const struct segment_shape *shape, uint8_t *block);

/* A salt from the kernel's generator: not 0, not one of the table's. 0: the generator failed. */
struct segment_table;
uint64_t segment_draw_salt(const struct segment_table *table);

/* --- the table: all segment files of the log, by number ------------------------------------------ */

struct segment_table {
    struct segment **list; /* [0, count), numbers rising. */
    uint32_t count;
    uint32_t capacity;
    const struct wal_allocator *allocator;
};

int table_create(struct segment_table *table, uint32_t capacity, const struct wal_allocator *allocator);
/* Closes all files. */
void table_destroy(struct segment_table *table, struct wal_io *io);
/* A copy of *segment enters the table. WAL_ENOMEM, WAL_ENOSPC (the table is full). */
int table_add(struct segment_table *table, const struct segment *segment, struct segment **out);
/* A copy that is in no table yet: to be put in by table_put_back, or freed. NULL: no memory. */
struct segment *segment_copy(const struct segment_table *table, const struct segment *segment);
/* Takes an unpinned segment out of the table; it is the caller's until it is put back or freed (its file closed). */
void table_take_out(struct segment_table *table, struct segment *segment);
void table_put_back(struct segment_table *table, struct segment *segment);
void segment_free(const struct segment_table *table, struct segment *segment);
struct segment *table_find(const struct segment_table *table, uint64_t number);
/* Puts the list in order again after a segment was given another number. */
void table_reorder(struct segment_table *table);
/* Number of segments in a state. */
uint32_t table_count(const struct segment_table *table, enum segment_state state);
/* Ready segments behind segment `number`, without a gap: those that can be gone on in, one after the other. */
uint32_t table_ready(const struct segment_table *table, uint64_t number);
/* Memory for where the segment's records lie; empty. WAL_ENOMEM. */
int segment_take_map(const struct segment_table *table, struct segment *segment, uint32_t block_bytes);
void segment_give_map(const struct segment_table *table, struct segment *segment);
/* The lowest index that a live segment after this one holds: what this one has from there on was truncated. UINT64_MAX:
 * none. */
uint64_t table_superseded_from(const struct segment_table *table, const struct segment *segment);
/* The newest live segment that holds, or once held, the record of that index: the one with low <= index. NULL: none. */
struct segment *table_holding(const struct segment_table *table, uint64_t index);

#endif
