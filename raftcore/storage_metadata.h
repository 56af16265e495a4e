/* storage_metadata.h - how a node's log is to be read: its metadata, and its record types. Pure.
 *
 * A record's type is the entry's type + 1, its tag the entry's term.
 *
 * May include: raftcore.h. */

#ifndef RAFTCORE_STORAGE_METADATA_H
#define RAFTCORE_STORAGE_METADATA_H

#include "raftcore/raftcore.h"

enum {
    STORAGE_METADATA_BYTES = 128,
    STORAGE_HOLE_TYPE = 0xffff /* Of a record that stands where one could not be read. */
};

/* What the metadata of every append holds. */
struct storage_metadata {
    uint64_t log_id, cluster_id, id;
    struct raftcore_hard_state hard;
    uint64_t before_index, before_term; /* The entry in front of the log's first, when last known. */
    bool building;                      /* The log is being copied, and not complete. */
};

void storage_encode_metadata(const struct storage_metadata *metadata, uint8_t bytes[STORAGE_METADATA_BYTES]);
/* False: these are not ours. */
bool storage_decode_metadata(const void *bytes, size_t size, struct storage_metadata *metadata);

#endif
