/* zoo_promises.c - promises that no crash shows, and so none of the explorer's modes: P8 and P9.
 *
 * The happy path: a log of many segments in a real directory; its directory is locked while it is open; read from end
 * to end by a reader with few maps, whose memory does not grow with the log.
 *
 * What can fail: a promise, which is told; whatever else goes wrong ends the program, and counts as caught too.
 *
 * Invariants: no clock; the directory goes away.
 *
 * May include: scratch.h, sample.h, zoo_promises.h, wal/check.h. */

#define _GNU_SOURCE
#include "tests/zoo_promises.h"

#include "tests/sample.h"
#include "tests/scratch.h"
#include "wal/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { BLOCK = 4096, RECORDS = 250, MAPS = 2 };

static void *metered_allocate(void *context, size_t bytes, size_t alignment)
{
    size_t *live_bytes = context;
    *live_bytes += bytes;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void metered_release(void *context, void *memory, size_t bytes)
{
    size_t *live_bytes = context;
    *live_bytes -= bytes;
    free(memory);
}

static struct wal *open_small(const char *directory, uint32_t flags, const struct wal_allocator *allocator)
{
    struct wal_options options = WAL_OPTIONS_INIT;
    struct wal *log;
    options.flags = flags | WAL_NO_THREADS;
    options.segment_bytes = 16 * BLOCK;
    options.batch_bytes_max = 4 * BLOCK;
    options.segments_mapped_max = MAPS;
    options.allocator = allocator;
    CHECK(wal_open(directory, &options, &log, NULL) == 0);
    return log;
}

/* P9, by its first means. The locks of the files are another, which waits for a dead owner and so comes late. */
static bool is_locked(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(fd);
    return locked;
}

/* P8: reading many segments takes the maps of few. */
static bool reads_within_bounds(const char *directory)
{
    size_t live_bytes = 0;
    const struct wal_allocator allocator = {metered_allocate, metered_release, &live_bytes};
    struct wal *log = open_small(directory, WAL_READ_ONLY, &allocator);
    size_t before_bytes = live_bytes;
    CHECK(sample_range_is_right(log, 1, RECORDS));
    bool bounded = live_bytes <= before_bytes + MAPS * BLOCK / 2; /* A map of 16 blocks is far smaller. */
    CHECK(wal_close(log) == 0);
    return bounded;
}

bool zoo_promises(char *what, size_t size)
{
    char directory[SCRATCH_PATH_BYTES];
    const char *broken = NULL;
    scratch_make(directory);
    struct wal *log = open_small(directory, WAL_CREATE, NULL);
    if (!is_locked(directory)) {
        broken = "P9: the directory is not locked while a writer has it open";
    }
    for (unsigned i = 0; i < RECORDS; i++) {
        CHECK(wal_maintain(log, WAL_MAINTAIN_PREPARE, NULL) == 0 && sample_commit(log, 1) == 0);
    }
    CHECK(wal_close(log) == 0);
    if (broken == NULL && !reads_within_bounds(directory)) {
        broken = "P8: reading keeps more maps than segments_mapped_max";
    }
    scratch_remove(directory);
    (void)snprintf(what, size, "%s", broken != NULL ? broken : "");
    return broken == NULL;
}
