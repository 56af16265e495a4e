/* window.c - the bytes of one file, read ahead.
 *
 * The happy path: the scanner asks for rising offsets; two reads of a chunk each are in flight in front of it (more
 * gained nothing), and what it asks for is in memory, contiguous, when it asks. When the memory is full, what is still
 * wanted moves to the front. An offset before the window, or far behind it, starts anew.
 *
 * What can fail, and what is left: a read error. The chunk is read again in pieces of 4,096 bytes; those that fail are
 * noted, and zeroed in memory, so that the scanner sees the same as for a block never written, and asks before it
 * concludes anything. And poll(): what was submitted is given up then, its memory with it, for the disk may still write
 * there; the window goes on in new memory, by execute().
 *
 * Invariants: base <= filled <= issued <= base + capacity; base and issued are multiples of the disk's alignment;
 * chunks finish in any order and are taken over in the order of the file.
 *
 * May include: window.h, memory.h, bytes.h, check.h. */

#include "wal/window.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/memory.h"

enum { PIECE_BYTES = 4096, CHUNKS = 2 };

static int take_memory(struct window *window)
{
    window->memory = memory_take(window->allocator, window->capacity_bytes, PIECE_BYTES);
    window->chunks = memory_take(window->allocator, CHUNKS * sizeof(struct window_chunk), 16);
    return window->memory != NULL && window->chunks != NULL ? 0 : WAL_ENOMEM;
}

static void give_memory(struct window *window)
{
    memory_give(window->allocator, window->memory, window->capacity_bytes);
    memory_give(window->allocator, window->chunks, CHUNKS * sizeof(struct window_chunk));
    window->memory = NULL;
    window->chunks = NULL;
}

int window_create(struct window *window, struct wal_io *io, bool ahead, size_t capacity_bytes,
                  const struct wal_allocator *allocator)
{
    *window = (struct window){.io = io, .allocator = allocator, .ahead = ahead && io->caps.asynchronous, .file = -1};
    window->capacity_bytes = round_up(capacity_bytes, PIECE_BYTES);
    window->chunk_bytes = WINDOW_CHUNK_BYTES;
    while (window->chunk_bytes > PIECE_BYTES && window->chunk_bytes > window->capacity_bytes / 4) {
        window->chunk_bytes /= 2;
    }
    if (take_memory(window) != 0) {
        give_memory(window);
        return WAL_ENOMEM;
    }
    return 0;
}

static void chunk_done(struct wal_io_op *op)
{
    struct window_chunk *chunk = op->owner;
    chunk->finished = true;
}

static void note_bad(struct window *window, uint64_t offset, uint64_t bytes, int error)
{
    window->bad_errno = error;
    if (window->bad_count != 0 &&
        (window->bad[window->bad_count - 1].end_offset == offset || window->bad_count == WINDOW_BAD_MAX)) {
        window->bad[window->bad_count - 1].end_offset = offset + bytes;
        return;
    }
    window->bad[window->bad_count++] = (struct window_bad){offset, offset + bytes};
}

/* Reads a failed chunk again in small pieces, so that one bad sector does not hide its neighbours. */
static void read_in_pieces(struct window *window, const struct wal_io_op *failed)
{
    for (uint32_t done = 0; done < failed->size; done += PIECE_BYTES) {
        uint32_t rest_bytes = failed->size - done;
        struct wal_io_op op = {.kind = WAL_IO_READ,
                               .file = failed->file,
                               .offset = failed->offset + done,
                               .size = rest_bytes < PIECE_BYTES ? rest_bytes : PIECE_BYTES,
                               .buffer = (uint8_t *)failed->buffer + done};
        if (window->io->ops->execute(window->io, &op) != 0) {
            memset(op.buffer, 0, op.size);
            note_bad(window, op.offset, op.size, op.result);
        }
    }
}

/* What is at the disk will not be heard of: its memory is nobody's from now on. Without memory the window is at its
 * end. */
static void abandon(struct window *window)
{
    window->ahead = false;
    window->filled_offset = window->issued_offset = window->base_offset;
    window->oldest_chunk = 0;
    if (take_memory(window) != 0) {
        give_memory(window);
    }
}

/* Waits for the oldest chunk in flight and makes it part of the window. */
static void take_over(struct window *window)
{
    struct window_chunk *chunk = &window->chunks[window->oldest_chunk];
    CHECK(chunk->pending);
    while (!chunk->finished) {
        if (window->io->ops->poll(window->io, 1) < 0) {
            abandon(window);
            return;
        }
    }
    chunk->pending = false;
    window->oldest_chunk ^= 1;
    if (chunk->op.result != 0) {
        read_in_pieces(window, &chunk->op);
    } else if (chunk->op.moved_bytes < chunk->op.size) {
        memset((uint8_t *)chunk->op.buffer + chunk->op.moved_bytes, 0, chunk->op.size - chunk->op.moved_bytes);
    }
    window->filled_offset = chunk->op.offset + chunk->op.size;
}

static void drain(struct window *window)
{
    while (window->chunks != NULL && window->chunks[window->oldest_chunk].pending) {
        take_over(window);
    }
}

void window_destroy(struct window *window)
{
    drain(window);
    give_memory(window);
}

static void start_at(struct window *window, uint64_t offset)
{
    drain(window);
    offset &= ~(uint64_t)(PIECE_BYTES - 1);
    window->base_offset = window->filled_offset = window->issued_offset = offset;
}

void window_look_at(struct window *window, int file, uint64_t file_bytes)
{
    drain(window);
    window->file = file;
    window->file_bytes = file_bytes;
    window->bad_count = 0;
    window->bad_errno = 0;
    start_at(window, 0);
}

/* Starts the next read if there is something to read, a free chunk, and room. */
static bool issue(struct window *window)
{
    uint64_t end_offset = round_up(window->file_bytes, window->io->caps.align_bytes);
    uint64_t room_bytes = window->capacity_bytes - (window->issued_offset - window->base_offset);
    uint64_t bytes = end_offset > window->issued_offset ? end_offset - window->issued_offset : 0;
    if (bytes > window->chunk_bytes) {
        bytes = window->chunk_bytes;
    }
    if (bytes == 0 || bytes > room_bytes) {
        return false;
    }
    uint32_t slot = window->oldest_chunk ^ (window->chunks[window->oldest_chunk].pending ? 1 : 0);
    struct window_chunk *chunk = &window->chunks[slot];
    if (chunk->pending) {
        return false;
    }
    *chunk = (struct window_chunk){.op = {.kind = WAL_IO_READ,
                                          .file = window->file,
                                          .offset = window->issued_offset,
                                          .size = (uint32_t)bytes,
                                          .buffer = window->memory + (window->issued_offset - window->base_offset),
                                          .done = chunk_done,
                                          .owner = chunk}};
    if (!window->ahead || window->io->ops->submit(window->io, &chunk->op) != 0) {
        (void)window->io->ops->execute(window->io, &chunk->op);
        chunk->finished = true;
    }
    chunk->pending = true;
    window->issued_offset += bytes;
    return true;
}

/* Moves [offset, filled) to the front of the memory. */
static void compact(struct window *window, uint64_t offset)
{
    drain(window);
    uint64_t base_offset = offset & ~(uint64_t)(PIECE_BYTES - 1);
    if (window->chunks == NULL || base_offset > window->filled_offset) {
        return; /* What was filled is given up: it is read anew. */
    }
    CHECK(base_offset >= window->base_offset);
    memmove(window->memory, window->memory + (base_offset - window->base_offset), window->filled_offset - base_offset);
    window->base_offset = base_offset;
}

/* A batch larger than the window: rare, only in logs written with larger limits than ours. */
static int grow(struct window *window, uint64_t bytes)
{
    drain(window);
    size_t capacity_bytes = round_up(bytes, PIECE_BYTES) + 2 * (size_t)window->chunk_bytes + PIECE_BYTES;
    uint8_t *memory = memory_take(window->allocator, capacity_bytes, PIECE_BYTES);
    if (memory == NULL) {
        return WAL_ENOMEM;
    }
    memory_give(window->allocator, window->memory, window->capacity_bytes);
    window->memory = memory;
    window->capacity_bytes = capacity_bytes;
    window->filled_offset = window->issued_offset = window->base_offset;
    return 0;
}

const uint8_t *window_at(struct window *window, uint64_t offset, uint64_t bytes, int *status)
{
    *status = 0;
    if (offset > window->file_bytes || bytes > window->file_bytes - offset) {
        return NULL;
    }
    if (bytes + 2 * (uint64_t)window->chunk_bytes + PIECE_BYTES > window->capacity_bytes) {
        *status = grow(window, bytes);
        if (*status != 0) {
            return NULL;
        }
    }
    if (offset < window->base_offset || offset > window->issued_offset) {
        start_at(window, offset);
    }
    while (window->chunks != NULL && window->filled_offset < offset + bytes) {
        bool issued = issue(window);
        if (issued && window->ahead && !window->chunks[window->oldest_chunk ^ 1].pending) {
            continue;
        }
        if (window->chunks[window->oldest_chunk].pending) {
            take_over(window);
        } else if (!issued) {
            compact(window, offset < window->filled_offset ? offset : window->filled_offset);
        }
    }
    if (window->chunks == NULL) {
        *status = WAL_ENOMEM;
        return NULL;
    }
    (void)(window->ahead && issue(window));
    return window->memory + (offset - window->base_offset);
}

bool window_is_bad(const struct window *window, uint64_t offset, uint64_t bytes)
{
    for (uint32_t i = 0; i < window->bad_count; i++) {
        if (window->bad[i].offset < offset + bytes && window->bad[i].end_offset > offset) {
            return true;
        }
    }
    return false;
}
