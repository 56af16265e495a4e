/* sweep.h - one segment read from its file and checked, by this thread or beside it.
 *
 * May include: log.h, map.h, window.h. */

#ifndef WAL_SWEEP_H
#define WAL_SWEEP_H

#include "wal/log.h"
#include "wal/map.h"
#include "wal/window.h"

struct sweep {
    struct wal *log;
    struct wal_io *io; /* A ring of its own where there can be one, so that reads run ahead. */
    struct wal_io *own_io;
    struct window window;
    struct map map; /* What reads in the segment, behind sweep_finish. */

    /* The segment: set by the caller, who has pinned it; sweep_release unpins it. */
    struct segment *pinned;
    struct segment segment; /* A copy of its facts. */
    uint64_t from, to;      /* Its live indexes. */
    uint64_t end_offset;    /* How far its bytes go. */

    pthread_t thread;
    bool started;
    int status;
    struct report report; /* Why the file did not open. */
};

/* Room for segments of so many bytes, taken by the calling thread. 0, or WAL_ENOMEM; destroy it in both cases. */
int sweep_create(struct sweep *sweep, struct wal *log, uint64_t largest_bytes);
void sweep_destroy(struct sweep *sweep);

/* Begins in a thread of its own, "wal-verify"; without one sweep_finish does all the work. */
void sweep_start(struct sweep *sweep);

/* The segment has been read: 0, or why not. Map and window stay for looking closer until sweep_release. */
int sweep_finish(struct sweep *sweep);
void sweep_release(struct sweep *sweep);

#endif
