/* window.h - the bytes of one file, read ahead: what the scanner looks through.
 *
 * May include: wal.h, io.h. */

#ifndef WAL_WINDOW_H
#define WAL_WINDOW_H

#include "wal/io.h"
#include "wal/wal.h"

enum { WINDOW_CHUNK_BYTES = 1 << 20, WINDOW_BAD_MAX = 16 };

struct window_chunk {
    struct wal_io_op op;
    bool pending; /* Issued, not yet taken over. */
    bool finished;
};

struct window_bad {
    uint64_t offset;
    uint64_t end_offset;
};

struct window {
    struct wal_io *io;
    const struct wal_allocator *allocator;
    bool ahead; /* Two reads in flight, by submit and poll; else one at a time, by execute. */
    int file;
    uint64_t file_bytes;
    uint32_t chunk_bytes;
    uint8_t *memory;
    size_t capacity_bytes;
    uint64_t base_offset;        /* Of memory[0] in the file; aligned. */
    uint64_t filled_offset;      /* [base, filled) is in memory. */
    uint64_t issued_offset;      /* [filled, issued) is being read. */
    struct window_chunk *chunks; /* Two. Not in here: should poll() fail, the disk keeps them. */
    uint32_t oldest_chunk;
    /* Pieces that the disk cannot read; zeros in memory. Beyond WINDOW_BAD_MAX the last one grows. */
    struct window_bad bad[WINDOW_BAD_MAX];
    uint32_t bad_count;
    int bad_errno; /* Of the newest; 0: none since window_look_at. */
};

/* What a window on a file of this size needs: it whole, with room for reading ahead, but no more than `most_bytes`. */
static inline size_t window_bytes_for(uint64_t file_bytes, size_t most_bytes)
{
    uint64_t whole_bytes = file_bytes + 3 * 4096;
    return whole_bytes < most_bytes ? (size_t)whole_bytes : most_bytes;
}

/* A window on nothing yet. ahead: submit and poll may be used (the disk has no other user now). */
int window_create(struct window *window, struct wal_io *io, bool ahead, size_t capacity_bytes,
                  const struct wal_allocator *allocator);
void window_destroy(struct window *window);

/* From now on look at this file. */
void window_look_at(struct window *window, int file, uint64_t file_bytes);

/* The bytes [offset, offset + bytes), valid until the next call; NULL: they lie behind the end of the file, or memory
 * ran out (*status WAL_ENOMEM). Unreadable pieces come as zeros: ask window_is_bad. Cheapest when offsets rise. */
const uint8_t *window_at(struct window *window, uint64_t offset, uint64_t bytes, int *status);

/* Could the disk not read some of [offset, offset + bytes)? Only for what window_at has given. */
bool window_is_bad(const struct window *window, uint64_t offset, uint64_t bytes);

#endif
