/* emulate.h - a disk that takes longer: a stated time is added to every sync, one sync after the other, so that the
 * worth of batching can be seen on any machine. What comes of it is labelled as emulated everywhere.
 *
 * May include: wal/io.h, raftcore/disk.h. */

#ifndef BENCH_EMULATE_H
#define BENCH_EMULATE_H

#include "raftcore/disk.h"
#include "wal/io.h"

#include <stdint.h>

/* "hdd", "ssd", ... to nanoseconds; 0: it is none of them. */
uint64_t emulate_named_ns(const char *name);
/* "hdd 10 ms (...)", a line for each, in one text. */
const char *emulate_names(void);

/* Sleeps so long, behind all that sleep already: the disk makes one thing durable at a time. */
void emulate_sync(uint64_t added_ns);

/* A disk for wal_open_io: the plain backend below directory, and added_ns behind each durable write and sync. 0 or a
 * negative errno; *io_out is to be destroyed by its own destroy. */
int emulate_io(const char *directory, uint64_t added_ns, struct wal_io **io_out);

/* The same for a Raft node: a disk of its own, whose syncs wait for one another and for nobody else's. */
int emulate_node_disk(const char *directory, uint64_t added_ns, struct raftcore_disk **disk_out);

#endif
