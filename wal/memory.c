/* memory.c - where all memory of a handle comes from.
 *
 * The happy path: take zeroed memory at open, give it back at close; nothing in between.
 *
 * Invariants: what is taken is zeroed and aligned as asked; it is given back with the size it was taken with.
 *
 * What can fail: the allocator. The caller gets NULL and returns WAL_ENOMEM; nothing else has changed.
 *
 * Why huge pages: with O_DIRECT the kernel pins the pages of a buffer for each write, and a checksum loop walks them
 * through the TLB; one 2 MiB page in place of 512 small ones was worth a fifth of the time of a 1 MiB commit and half
 * of a cold recovery's. It is advice: where the kernel has none to give, everything works with small pages.
 *
 * May include: memory.h, bytes.h, check.h. */

#define _GNU_SOURCE
#include "wal/memory.h"

#include "wal/bytes.h"
#include "wal/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Large blocks come straight from the kernel: zeroed, and touched only where they are used. */
static void *take_large(size_t bytes)
{
    size_t mapped_bytes = round_up(bytes, HUGE_PAGE_BYTES);
    /* One huge page more than wanted, so that an aligned piece is inside; the ends go back at once. */
    char *mapped =
        mmap(NULL, mapped_bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    char *aligned = (char *)round_up((uintptr_t)mapped, HUGE_PAGE_BYTES);
    size_t front_bytes = (size_t)(aligned - mapped);
    if (front_bytes != 0) {
        (void)munmap(mapped, front_bytes);
    }
    if (front_bytes != HUGE_PAGE_BYTES) {
        (void)munmap(aligned + mapped_bytes, HUGE_PAGE_BYTES - front_bytes);
    }
    (void)madvise(aligned, mapped_bytes, MADV_HUGEPAGE);
    return aligned;
}

void *memory_take(const struct wal_allocator *allocator, size_t bytes, size_t alignment)
{
    CHECK(bytes != 0);
    CHECK(is_power_of_two(alignment));
    if (allocator != NULL) {
        void *memory = allocator->allocate(allocator->context, bytes, alignment);
        if (memory != NULL) {
            CHECK(((uintptr_t)memory & (alignment - 1)) == 0);
            memset(memory, 0, bytes);
        }
        return memory;
    }
    if (bytes >= HUGE_PAGE_BYTES) {
        return take_large(bytes);
    }
    void *memory = aligned_alloc(alignment, round_up(bytes, alignment));
    if (memory != NULL) {
        memset(memory, 0, bytes);
    }
    return memory;
}

void memory_give(const struct wal_allocator *allocator, void *memory, size_t bytes)
{
    if (memory == NULL) {
        return;
    }
    if (allocator != NULL) {
        allocator->release(allocator->context, memory, bytes);
    } else if (bytes >= HUGE_PAGE_BYTES) {
        (void)munmap(memory, round_up(bytes, HUGE_PAGE_BYTES));
    } else {
        free(memory);
    }
}
