/* snapshot_file.c - the bytes of a snapshot file.
 *
 * The happy path: a header is put into a block of its own, with a checksum over the whole block; another reader takes
 * it out again.
 *
 * What can fail: any bytes at all may come in; what is no header is refused, and nothing outside of the block is read.
 *
 * Invariants: a header that was decoded has sizes that agree with one another and a configuration that can be in force;
 * encoding it again gives the same bytes, and so the same id.
 *
 * May include: snapshot_file.h, configuration.h, bytes.h. */

#include "raftcore/snapshot_file.h"

#include "raftcore/configuration.h"
#include "wal/bytes.h"

#include <errno.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_CONFIGURATION_BYTES = 12,
    AT_INDEX = 16,
    AT_TERM = 24,
    AT_CLUSTER = 32,
    AT_STATE_BYTES = 40,
    AT_CHUNK_BYTES = 48,
    AT_RESERVED = 52,
    AT_TABLE_CHECKSUM = 56,
    AT_FILE_BYTES = 64,
    AT_ID = 72
};

enum { HEADER_SEED = 1 }; /* Of every version, so that a newer one is known for what it is. */

_Static_assert(AT_ID + 8 == SNAPSHOT_FIELDS_BYTES, "the fields end where the configuration begins");
_Static_assert(SNAPSHOT_FIELDS_BYTES + CODEC_CONFIGURATION_BYTES_MAX <= SNAPSHOT_BLOCK_BYTES,
               "any configuration fits into the header's block");
_Static_assert(SNAPSHOT_CHUNK_BYTES % SNAPSHOT_BLOCK_BYTES == 0, "chunks are whole blocks");

uint64_t snapshot_chunk_count(uint64_t state_bytes)
{
    return (state_bytes + SNAPSHOT_CHUNK_BYTES - 1) / SNAPSHOT_CHUNK_BYTES;
}

uint64_t snapshot_table_offset(uint64_t state_bytes)
{
    return SNAPSHOT_BLOCK_BYTES + round_up(state_bytes, SNAPSHOT_BLOCK_BYTES);
}

uint64_t snapshot_file_bytes(uint64_t state_bytes)
{
    uint64_t table_bytes = round_up(8 * snapshot_chunk_count(state_bytes), SNAPSHOT_BLOCK_BYTES);
    return snapshot_table_offset(state_bytes) + table_bytes + SNAPSHOT_BLOCK_BYTES;
}

/* The number is in it: a chunk that stands in another's place is none. */
uint64_t snapshot_chunk_checksum(const void *chunk, size_t bytes, uint64_t number)
{
    return XXH3_64bits_withSeed(chunk, bytes, number + 1);
}

uint64_t snapshot_table_checksum(const void *table, size_t bytes)
{
    return XXH3_64bits_withSeed(table, bytes, SNAPSHOT_MAGIC);
}

/* Of the block, its id left out. */
static uint64_t checksum_of(const uint8_t *block)
{
    uint8_t copy[SNAPSHOT_BLOCK_BYTES];
    memcpy(copy, block, sizeof(copy));
    memset(copy + AT_ID, 0, 8);
    uint64_t checksum = XXH3_64bits_withSeed(copy, sizeof(copy), HEADER_SEED);
    return checksum == 0 ? 1 : checksum;
}

void snapshot_encode_header(struct snapshot_header *header, uint8_t block[SNAPSHOT_BLOCK_BYTES])
{
    memset(block, 0, SNAPSHOT_BLOCK_BYTES);
    header->file_bytes = snapshot_file_bytes(header->state_bytes);
    store_u64_le(block + AT_MAGIC, SNAPSHOT_MAGIC);
    store_u32_le(block + AT_VERSION, SNAPSHOT_VERSION);
    store_u32_le(block + AT_CONFIGURATION_BYTES, (uint32_t)codec_configuration_bytes(&header->configuration));
    store_u64_le(block + AT_INDEX, header->index);
    store_u64_le(block + AT_TERM, header->term);
    store_u64_le(block + AT_CLUSTER, header->cluster_id);
    store_u64_le(block + AT_STATE_BYTES, header->state_bytes);
    store_u32_le(block + AT_CHUNK_BYTES, SNAPSHOT_CHUNK_BYTES);
    store_u64_le(block + AT_TABLE_CHECKSUM, header->table_checksum);
    store_u64_le(block + AT_FILE_BYTES, header->file_bytes);
    codec_encode_configuration(&header->configuration, block + SNAPSHOT_FIELDS_BYTES);
    header->id = checksum_of(block);
    store_u64_le(block + AT_ID, header->id);
}

int snapshot_decode_header(const uint8_t block[SNAPSHOT_BLOCK_BYTES], struct snapshot_header *header)
{
    if (load_u64_le(block + AT_MAGIC) != SNAPSHOT_MAGIC || load_u64_le(block + AT_ID) != checksum_of(block)) {
        return -EBADMSG;
    }
    if (load_u32_le(block + AT_VERSION) != SNAPSHOT_VERSION) {
        return -EPROTONOSUPPORT;
    }
    uint32_t configuration_bytes = load_u32_le(block + AT_CONFIGURATION_BYTES);
    *header = (struct snapshot_header){.index = load_u64_le(block + AT_INDEX),
                                       .term = load_u64_le(block + AT_TERM),
                                       .cluster_id = load_u64_le(block + AT_CLUSTER),
                                       .state_bytes = load_u64_le(block + AT_STATE_BYTES),
                                       .file_bytes = load_u64_le(block + AT_FILE_BYTES),
                                       .table_checksum = load_u64_le(block + AT_TABLE_CHECKSUM),
                                       .id = load_u64_le(block + AT_ID)};
    bool right = configuration_bytes <= CODEC_CONFIGURATION_BYTES_MAX && header->state_bytes <= SNAPSHOT_BYTES_MAX &&
                 load_u32_le(block + AT_CHUNK_BYTES) == SNAPSHOT_CHUNK_BYTES &&
                 header->file_bytes == snapshot_file_bytes(header->state_bytes) &&
                 codec_decode_configuration(block + SNAPSHOT_FIELDS_BYTES, configuration_bytes, &header->configuration);
    return right ? 0 : -EBADMSG;
}
