/* memory.h - where all memory of a handle comes from: the caller's allocator, or the C library.
 *
 * Everything is taken at open, at the opening of a cursor or by the preparer; appending and committing never come here.
 *
 * May include: wal.h. */

#ifndef WAL_MEMORY_H
#define WAL_MEMORY_H

#include "wal/wal.h"

/* NULL on failure. Zeroed. Blocks of 2 MiB and more are aligned to 2 MiB and ask for huge pages when the memory is the
 * C library's: the kernel then pins one page instead of 512 for each write. alignment is a power of two, at least 16.
 */
void *memory_take(const struct wal_allocator *allocator, size_t bytes, size_t alignment);

/* NULL is allowed. bytes as it was taken. */
void memory_give(const struct wal_allocator *allocator, void *memory, size_t bytes);

#endif
