/* format.h - every byte on disk: layouts, encoders, decoders, and the name of each way bytes can be wrong.
 *
 * Pure: bytes in, verdict out; no I/O, no allocation, no state. FORMAT.md says the same in words. The writer asserts
 * what the reader checks.
 *
 * May include: zoo.h. */

#ifndef WAL_FORMAT_H
#define WAL_FORMAT_H

#include "wal/zoo.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_MAJOR 1
#define FORMAT_MINOR 0
#define FORMAT_SECTOR_BYTES 512u /* What a device writes whole, or not at all. */
#define FORMAT_BLOCK_BYTES_MIN 512u
#define FORMAT_BLOCK_BYTES_MAX 65536u
#define FORMAT_HEAD_BYTES_MAX 512u /* A head never crosses its first sector. */
#define FORMAT_METADATA_BYTES_MAX 256u
#define FORMAT_INDEX_MAX UINT64_C(0x7fffffffffffffff) /* So that index + 1, and sums of two, never wrap. */
#define FORMAT_NUMBER_MAX FORMAT_INDEX_MAX /* Of a batch, and of a segment: so that the next one never wraps. */
#define FORMAT_IN_FLIGHT_MAX 4u            /* Batches, of whatever open. */
#define FORMAT_NO_METADATA 0xffffu
#define FORMAT_UUID_BYTES 16u
#define FORMAT_SEGMENT_BLOCKS_MIN 16u
#define FORMAT_SEGMENT_BYTES_MAX 0x100000000u /* Exclusive: offsets in a segment fit 32 bits. */
#define FORMAT_FIRST_BATCH_BLOCK 1u           /* The opening anchor. */

enum {
    HEADER_BYTES = 80,
    DATA_CONTROL_BYTES = 24,
    START_CONTROL_BYTES = 16,
    ANCHOR_CONTROL_BYTES = 104,
    RECORD_HEADER_BYTES = 24,
    RECORD_ALIGN = 8,
};

/* What a decoder found. Each way to be wrong has its own name; only FORMAT_OK fills the output. */
enum format_verdict {
    FORMAT_OK = 0,
    FORMAT_ZERO, /* All bytes looked at are zero: never written. */
    FORMAT_BAD_MAGIC,
    FORMAT_BAD_CHECKSUM,
    FORMAT_NEWER,           /* A higher major version (checksum right). */
    FORMAT_UNKNOWN_FEATURE, /* A must-understand bit that this code does not know (checksum right). */
    FORMAT_BAD_FIELD,       /* Checksum right, but a field has a value that no writer writes. */
    FORMAT_TRUNCATED,       /* The structure says that it goes on behind the bytes given. */
};

/* A word for people; never NULL. */
const char *format_verdict_text(enum format_verdict verdict);

/* --- identity ------------------------------------------------------------------------------------ */

enum format_prefill { PREFILL_ZEROED = 1, PREFILL_RECYCLED = 2 };

struct format_identity {
    uint16_t major;
    uint16_t minor;
    uint32_t features_must;
    uint32_t features_may;
    uint8_t block_shift; /* log2 of the block size. */
    uint8_t prefill;     /* enum format_prefill */
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t segment;
    uint64_t segment_bytes;
    uint32_t batch_bytes_max;
    uint32_t batches_in_flight_max;
};

/* Fills the first sector (512 bytes) of block 0. major, minor and the features are written as given. */
void format_identity_encode(const struct format_identity *identity, uint8_t sector[FORMAT_SECTOR_BYTES]);

/* On FORMAT_NEWER and FORMAT_UNKNOWN_FEATURE the output is filled as well, so that the caller can say what it met.
 * FORMAT_BAD_FIELD: segment 0 or above FORMAT_NUMBER_MAX, block_shift outside 9..16, prefill unknown, segment_bytes not
 * a whole number of blocks or outside the limits. */
enum format_verdict format_identity_decode(const uint8_t sector[FORMAT_SECTOR_BYTES], struct format_identity *out);

/* --- batch head: header, control body, metadata -------------------------------------------------- */

enum batch_kind { BATCH_DATA = 1, BATCH_TRUNCATE, BATCH_MARK, BATCH_CLOSE, BATCH_START, BATCH_ANCHOR };
enum { BATCH_FORCED = 1, BATCH_ZEROED = 2, BATCH_CLEARS_DOUBT = 4, BATCH_FLAGS_KNOWN = 7 };

struct format_tags {
    uint64_t previous; /* Last tag of the batches before. */
    uint64_t first;    /* Equal to previous when the batch has no record. */
    uint64_t last;     /* The same. */
};

struct format_start {
    uint64_t index;
    uint64_t segment;
};

struct format_anchor {
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t predecessor_segment; /* 0: there is none. */
    uint64_t predecessor_end_offset;
    uint64_t predecessor_last_offset; /* Offset of its last batch. */
    struct format_start start;
    uint64_t low;
    uint64_t doubt_index; /* 0: none. */
    uint64_t cut_offset;  /* 0: nothing was cut. */
    uint64_t cut_first_index;
    uint32_t cut_records;
    uint32_t cut_reason; /* Number of the recovery row, 0 when nothing was cut. */
    uint64_t last_tag;
};

struct format_head {
    uint64_t checksum; /* Of this head; set by encode and decode. The next batch's chain. */
    uint8_t kind;      /* enum batch_kind */
    uint8_t flags;
    uint16_t head_bytes; /* Where the first record starts, from the start of the batch. */
    uint64_t salt;
    uint64_t segment;
    uint32_t place;      /* In blocks. */
    uint32_t used_bytes; /* Head and records, without padding. */
    uint64_t number;
    uint64_t mark;
    uint64_t chain;
    uint64_t first_index;
    uint32_t record_count;
    uint16_t metadata_bytes; /* Or FORMAT_NO_METADATA. */
    uint8_t metadata[FORMAT_METADATA_BYTES_MAX];
    union {
        struct format_tags tags;     /* DATA, TRUNCATE */
        struct format_start start;   /* START */
        struct format_anchor anchor; /* ANCHOR */
    } body;
};

/* Bytes of the control body of a kind; 0 for MARK and CLOSE. The kind must be a known one. */
uint32_t format_control_bytes(enum batch_kind kind);

/* The head bytes of a batch of this kind with room for so much metadata: a multiple of 8, at most
 * FORMAT_HEAD_BYTES_MAX. */
uint32_t format_head_bytes(enum batch_kind kind, uint32_t metadata_room_bytes);

/* Writes head->head_bytes bytes at `to` (which has that many) and sets head->checksum. Every field but the checksum is
 * the caller's; asserted: kind and flags known, head_bytes as above, used_bytes >= head_bytes, number > mark, salt !=
 * 0, segment != 0, anchor: no records. Metadata shorter than its room is followed by zeros. */
void format_head_encode(struct format_head *head, uint8_t *to);

/* Decodes from a first sector; size must be at least FORMAT_SECTOR_BYTES, only that much is looked at.
 * FORMAT_ZERO when the whole first sector is zero. Checksum is verified before any other field is believed; the head's
 * length is bounded before it is used. FORMAT_BAD_FIELD for a value that no writer writes (unknown kind or flag, sizes
 * that do not fit, number 0 or not above its mark unless the mark is 0, salt 0, segment 0, place 0, a number, segment
 * or index above its limit, record count and bytes that contradict each other, MARK/CLOSE/START/ANCHOR with records).
 * Metadata is copied into out->metadata, the rest of which is zero. */
enum format_verdict format_head_decode(const uint8_t *sector, size_t size, struct format_head *out);

/* Only the checksum field of the next batch's chain, and place and segment: may the mark of this head be believed? */
static inline bool format_head_is_self_valid(const struct format_head *head, uint64_t segment, uint64_t place)
{
    return (head->segment == segment || ZOO(segment_in_checksums)) && head->place == place;
}

/* Bytes the batch takes in the file, padding included. */
uint64_t format_batch_padded_bytes(const struct format_head *head, uint32_t block_bytes);

/* --- record -------------------------------------------------------------------------------------- */

struct format_record {
    uint32_t length; /* Of the payload, bytes. */
    uint16_t type;   /* Never 0. */
    uint64_t tag;
    const uint8_t *payload;
};

/* The part of the seed that is the same for a whole batch: rotl64(salt + segment * K, 29). */
uint64_t format_seed_base(uint64_t salt, uint64_t segment);

/* Bytes a record takes in a batch, its padding included. */
static inline uint64_t format_record_bytes(uint64_t payload_bytes)
{
    return (RECORD_HEADER_BYTES + payload_bytes + (RECORD_ALIGN - 1)) & ~(uint64_t)(RECORD_ALIGN - 1);
}

/* Copies the record to `to`, which has format_record_bytes(length) bytes, pads with zeros, computes the checksum.
 * file_offset is the offset of the record's first byte in its segment. type != 0 is asserted. Hot: inlined hashing. */
void format_record_encode(uint8_t *to, uint64_t seed_base, uint64_t file_offset, uint64_t index,
                          const struct format_record *record);

/* Verifies the record that starts at `from`; `available` bytes may be looked at (to the batch's used_bytes).
 * FORMAT_TRUNCATED: the header or the length it claims runs past them. FORMAT_BAD_FIELD: type 0 or flags (checksum
 * right). FORMAT_BAD_CHECKSUM otherwise. On FORMAT_OK out->payload points into `from`. */
enum format_verdict format_record_decode(const uint8_t *from, uint64_t available, uint64_t seed_base,
                                         uint64_t file_offset, uint64_t index, struct format_record *out);

/* --- seal ---------------------------------------------------------------------------------------- */

struct format_seal {
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t segment;
    uint64_t salt;
    uint64_t last_number;
    uint64_t last_checksum;
    uint64_t last_offset;
    uint64_t end_offset;
    uint64_t opening_index;
    uint64_t last_index;
    uint64_t low;
    uint64_t record_count;
    uint64_t own_offset;
};

void format_seal_encode(const struct format_seal *seal, uint8_t sector[FORMAT_SECTOR_BYTES]);
enum format_verdict format_seal_decode(const uint8_t sector[FORMAT_SECTOR_BYTES], struct format_seal *out);

/* --- fingerprint */

/* A number for any bytes, to tell whether two reads of one place gave the same; continued from `so_far` (0 at first).
 */
uint64_t format_fingerprint(const void *bytes, size_t size, uint64_t so_far);

/* --- names --------------------------------------------------------------------------------------- */

enum { FORMAT_NAME_BYTES = 32 };

/* "00000000000000000001.wal" */
void format_segment_name(uint64_t segment, char name[FORMAT_NAME_BYTES]);
/* "new-00000000000000000001.tmp" */
void format_temporary_name(uint64_t segment, char name[FORMAT_NAME_BYTES]);
/* The number, or 0 when the name is not a segment's (above FORMAT_NUMBER_MAX there is none). */
uint64_t format_segment_of_name(const char *name);
bool format_is_temporary_name(const char *name);

#endif
