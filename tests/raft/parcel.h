/* parcel.h - a message on its way: a copy that outlives the core's output, with the bytes a transport would add.
 *
 * May include: disk.h. */

#ifndef TESTS_RAFT_PARCEL_H
#define TESTS_RAFT_PARCEL_H

#include "tests/raft/disk.h"

/* The caller's, to be given to free(); payloads are not copied, but for those that the core lent for a step only, which
 * go into the arena. A piece of a snapshot gets bytes that say which snapshot it is. */
struct raftcore_message *parcel_copy(struct arena *arena, const struct raftcore_message *message);

/* Of entries and piece. */
uint64_t parcel_payload_bytes(const struct raftcore_message *message);

#endif
