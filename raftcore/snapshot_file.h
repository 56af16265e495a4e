/* snapshot_file.h - the bytes of a snapshot file. Pure: bytes in, bytes out.
 *
 *     header                      SNAPSHOT_BLOCK_BYTES
 *     state, in chunks            padded with zeros to whole blocks
 *     table: a checksum a chunk   padded likewise
 *     the header once more
 *
 * The header's checksum covers the table's, the table's the chunks', so it names the content: it is the snapshot's id.
 * All numbers are little-endian.
 *
 * May include: codec.h. */

#ifndef RAFTCORE_SNAPSHOT_FILE_H
#define RAFTCORE_SNAPSHOT_FILE_H

#include "raftcore/codec.h"

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_BLOCK_BYTES = 4096,
    SNAPSHOT_CHUNK_BYTES = 65536,
    SNAPSHOT_FIELDS_BYTES = 80 /* Behind them the configuration. */
};

#define SNAPSHOT_MAGIC UINT64_C(0x50414e5354464152) /* "RAFTSNAP" */
#define SNAPSHOT_BYTES_MAX (UINT64_C(1) << 46)      /* Of state. */

struct snapshot_header {
    uint64_t index; /* Of the last entry that the state holds; 0: the first file of a node, with its first members. */
    uint64_t term;
    uint64_t cluster_id;
    uint64_t state_bytes;
    uint64_t file_bytes;
    uint64_t table_checksum;
    uint64_t id; /* Checksum of the rest; never 0. */
    struct raftcore_configuration configuration;
};

/* Where things stand in a file with so much state. */
uint64_t snapshot_chunk_count(uint64_t state_bytes);
uint64_t snapshot_table_offset(uint64_t state_bytes);
uint64_t snapshot_file_bytes(uint64_t state_bytes);

uint64_t snapshot_chunk_checksum(const void *chunk, size_t bytes, uint64_t number);
uint64_t snapshot_table_checksum(const void *table, size_t bytes);

/* Writes the header's block; fills in file_bytes and id. */
void snapshot_encode_header(struct snapshot_header *header, uint8_t block[SNAPSHOT_BLOCK_BYTES]);

/* 0; -EBADMSG: no header, or a damaged one; -EPROTONOSUPPORT: of a newer version. */
int snapshot_decode_header(const uint8_t block[SNAPSHOT_BLOCK_BYTES], struct snapshot_header *header);

#endif
