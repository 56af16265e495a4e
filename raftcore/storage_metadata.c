/* storage_metadata.c - what the metadata of a node's log say.
 *
 * The happy path: fields one after another, little-endian, behind a magic number. The log's own checksum guards them.
 *
 * What can fail: metadata of another program, or of another version of this one: not ours.
 *
 * Invariants: what was encoded is decoded to the same; all fields fit into what the log takes.
 *
 * May include: storage_metadata.h, bytes.h. */

#include "raftcore/storage_metadata.h"

#include "wal/bytes.h"

#define METADATA_MAGIC UINT64_C(0x3154464152544d52)
enum { METADATA_FIELDS = 12, METADATA_BUILDING = 1 };

_Static_assert((METADATA_FIELDS + 2) * 8 <= STORAGE_METADATA_BYTES, "all fields fit");

void storage_encode_metadata(const struct storage_metadata *metadata, uint8_t bytes[STORAGE_METADATA_BYTES])
{
    const struct raftcore_hard_state *hard = &metadata->hard;
    const uint64_t fields[METADATA_FIELDS] = {
        metadata->log_id,  metadata->cluster_id,   metadata->id,          hard->term,
        hard->vote,        hard->commit,           hard->term_limit,      hard->floor_term,
        hard->floor_index, metadata->before_index, metadata->before_term, metadata->building ? METADATA_BUILDING : 0};
    memset(bytes, 0, STORAGE_METADATA_BYTES);
    store_u64_le(bytes, METADATA_MAGIC);
    for (unsigned i = 0; i < METADATA_FIELDS; i++) {
        store_u64_le(bytes + 8 * (i + 1), fields[i]);
    }
}

bool storage_decode_metadata(const void *bytes, size_t size, struct storage_metadata *metadata)
{
    if (size != STORAGE_METADATA_BYTES || load_u64_le(bytes) != METADATA_MAGIC) {
        return false;
    }
    uint64_t fields[METADATA_FIELDS];
    for (unsigned i = 0; i < METADATA_FIELDS; i++) {
        fields[i] = load_u64_le((const uint8_t *)bytes + 8 * (i + 1));
    }
    *metadata = (struct storage_metadata){.log_id = fields[0],
                                          .cluster_id = fields[1],
                                          .id = fields[2],
                                          .hard = {.term = fields[3],
                                                   .vote = fields[4],
                                                   .commit = fields[5],
                                                   .term_limit = fields[6],
                                                   .floor_term = fields[7],
                                                   .floor_index = fields[8]},
                                          .before_index = fields[9],
                                          .before_term = fields[10],
                                          .building = (fields[11] & METADATA_BUILDING) != 0};
    return metadata->log_id != 0 && metadata->id != 0;
}
