/* prepare.h - segments ready ahead of need, retired ones recycled, and the mark when the log idles: all that is done
 * off the append path.
 *
 * May include: log.h. */

#ifndef WAL_PREPARE_H
#define WAL_PREPARE_H

#include "wal/log.h"

/* One step, the lock held; it is given up during I/O. *more: there is more to do now. Failures that say something of
 * the disk's honesty poison. */
int prepare_step(struct wal *log, bool *more);

/* Makes segment `number` ready, by recycling or anew. The lock held; given up during I/O. */
int prepare_segment(struct wal *log, uint64_t number);

/* Gives up maps and files of the segments that were read longest ago, down to segments_mapped_max. The lock held. */
void prepare_drop_maps(struct wal *log);

/* For an append that waits on a handle without a helper thread. 0: look again. */
int prepare_inline(struct wal *log);

/* Writes a MARK if the last batch with content is not covered and nothing is going on; true if it did. The lock held;
 * given up during I/O. */
bool prepare_mark(struct wal *log);

/* The helper thread. Started with the lock held, stopped without. */
int prepare_start_thread(struct wal *log);
void prepare_stop_thread(struct wal *log);

#endif
