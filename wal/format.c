/* format.c - every byte on disk.
 *
 * The happy path: the writer fills a struct and encodes it; the reader decodes and gets the same struct back, or the
 * name of what is wrong. Offsets stand once, in the enums below, and both sides use them.
 *
 * The order of a decoder's checks is a rule: magic, then the bounds of what the checksum covers, then the checksum, and
 * only then is any other field believed. A field that no writer writes, under a right checksum, is FORMAT_BAD_FIELD:
 * ours is the bug, or the file is forged.
 *
 * What can fail: nothing; no I/O, no memory.
 *
 * Invariants: what decodes as FORMAT_OK encodes to the same bytes; zeros never decode as FORMAT_OK; no byte behind the
 * size given is read.
 *
 * May include: format.h, hash.h, bytes.h, check.h, zoo.h. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wal/format.h"

#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/hash.h"
#include "wal/zoo.h"

#include <stdio.h>

#define HEAD_SEED 0x77616c2d68656164u /* "wal-head" */
#define BATCH_MAGIC 0x48434257u       /* "WBCH" */
#define SEGMENT_FACTOR 0x9E3779B97F4A7C15u
#define OFFSET_FACTOR 0xC2B2AE3D27D4EB4Fu
#define INDEX_FACTOR 0x165667B19E3779F9u

static const uint8_t identity_magic[8] = {'W', 'A', 'L', 'S', 'E', 'G', 'M', '1'};
static const uint8_t seal_magic[8] = {'W', 'A', 'L', 'S', 'E', 'A', 'L', '1'};

enum identity_offset {
    IDENTITY_MAGIC = 0,
    IDENTITY_MAJOR = 8,
    IDENTITY_MINOR = 10,
    IDENTITY_MUST = 12,
    IDENTITY_MAY = 16,
    IDENTITY_SHIFT = 20,
    IDENTITY_PREFILL = 21,
    IDENTITY_ZERO = 22,
    IDENTITY_UUID = 24,
    IDENTITY_SEGMENT = 40,
    IDENTITY_BYTES = 48,
    IDENTITY_BATCH_MAX = 56,
    IDENTITY_IN_FLIGHT = 60,
    IDENTITY_END = 64,
    SECTOR_CHECKSUM = 504
};

enum seal_offset {
    SEAL_MAGIC = 0,
    SEAL_UUID = 8,
    SEAL_SEGMENT = 24,
    SEAL_SALT = 32,
    SEAL_LAST_NUMBER = 40,
    SEAL_LAST_CHECKSUM = 48,
    SEAL_LAST_OFFSET = 56,
    SEAL_END_OFFSET = 64,
    SEAL_OPENING_INDEX = 72,
    SEAL_LAST_INDEX = 80,
    SEAL_LOW = 88,
    SEAL_RECORDS = 96,
    SEAL_OWN_OFFSET = 104,
    SEAL_END = 112
};

enum head_offset {
    HEAD_CHECKSUM = 0,
    HEAD_MAGIC = 8,
    HEAD_KIND = 12,
    HEAD_FLAGS = 13,
    HEAD_BYTES = 14,
    HEAD_SALT = 16,
    HEAD_SEGMENT = 24,
    HEAD_PLACE = 32,
    HEAD_USED = 36,
    HEAD_NUMBER = 40,
    HEAD_MARK = 48,
    HEAD_CHAIN = 56,
    HEAD_FIRST_INDEX = 64,
    HEAD_RECORDS = 72,
    HEAD_METADATA_BYTES = 76,
    HEAD_ZERO = 78,
    HEAD_CONTROL = 80
};

enum anchor_offset {
    ANCHOR_UUID = 80,
    ANCHOR_PREDECESSOR = 96,
    ANCHOR_END_OFFSET = 104,
    ANCHOR_LAST_OFFSET = 112,
    ANCHOR_START_INDEX = 120,
    ANCHOR_START_SEGMENT = 128,
    ANCHOR_LOW = 136,
    ANCHOR_DOUBT = 144,
    ANCHOR_CUT_OFFSET = 152,
    ANCHOR_CUT_INDEX = 160,
    ANCHOR_CUT_RECORDS = 168,
    ANCHOR_CUT_REASON = 172,
    ANCHOR_LAST_TAG = 176,
    ANCHOR_END = 184
};

enum record_offset {
    RECORD_CHECKSUM = 0,
    RECORD_LENGTH = 8,
    RECORD_TYPE = 12,
    RECORD_FLAGS = 14,
    RECORD_TAG = 16,
    RECORD_PAYLOAD = 24
};

_Static_assert(IDENTITY_END == 64 && IDENTITY_UUID + FORMAT_UUID_BYTES == IDENTITY_SEGMENT, "identity fields join");
_Static_assert(SEAL_UUID + FORMAT_UUID_BYTES == SEAL_SEGMENT && SEAL_OWN_OFFSET + 8 == SEAL_END, "seal fields join");
_Static_assert(SECTOR_CHECKSUM + 8 == FORMAT_SECTOR_BYTES, "the checksum ends the sector");
_Static_assert((int)HEAD_CONTROL == (int)HEADER_BYTES && HEAD_ZERO + 2 == (int)HEADER_BYTES, "the header is 80 bytes");
_Static_assert((int)ANCHOR_UUID == (int)HEADER_BYTES && (int)ANCHOR_END == HEADER_BYTES + ANCHOR_CONTROL_BYTES,
               "the anchor's body is 104 bytes");
_Static_assert(HEADER_BYTES + ANCHOR_CONTROL_BYTES + FORMAT_METADATA_BYTES_MAX <= FORMAT_HEAD_BYTES_MAX,
               "every head fits one sector");
_Static_assert(FORMAT_HEAD_BYTES_MAX <= FORMAT_SECTOR_BYTES, "a head never crosses its sector");
_Static_assert(RECORD_TYPE == RECORD_LENGTH + 4 && RECORD_FLAGS == RECORD_LENGTH + 6,
               "length, type and flags are one word");
_Static_assert((int)RECORD_PAYLOAD == (int)RECORD_HEADER_BYTES && RECORD_TAG + 8 == RECORD_PAYLOAD,
               "the record header is 24 bytes");
_Static_assert(HEADER_BYTES % RECORD_ALIGN == 0 && DATA_CONTROL_BYTES % RECORD_ALIGN == 0, "records start aligned");

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

const char *format_verdict_text(enum format_verdict verdict)
{
    switch (verdict) {
    case FORMAT_OK:
        return "valid";
    case FORMAT_ZERO:
        return "zeros: never written";
    case FORMAT_BAD_MAGIC:
        return "no such structure";
    case FORMAT_BAD_CHECKSUM:
        return "wrong checksum";
    case FORMAT_NEWER:
        return "newer format";
    case FORMAT_UNKNOWN_FEATURE:
        return "unknown feature";
    case FORMAT_BAD_FIELD:
        return "impossible field";
    case FORMAT_TRUNCATED:
        return "longer than its room";
    }
    return "unknown";
}

/* --- identity ------------------------------------------------------------------------------------ */

void format_identity_encode(const struct format_identity *identity, uint8_t sector[FORMAT_SECTOR_BYTES])
{
    CHECK(identity->segment != 0);
    memset(sector, 0, FORMAT_SECTOR_BYTES);
    memcpy(sector + IDENTITY_MAGIC, identity_magic, sizeof(identity_magic));
    store_u16_le(sector + IDENTITY_MAJOR, identity->major);
    store_u16_le(sector + IDENTITY_MINOR, identity->minor);
    store_u32_le(sector + IDENTITY_MUST, identity->features_must);
    store_u32_le(sector + IDENTITY_MAY, identity->features_may);
    sector[IDENTITY_SHIFT] = identity->block_shift;
    sector[IDENTITY_PREFILL] = identity->prefill;
    memcpy(sector + IDENTITY_UUID, identity->uuid, FORMAT_UUID_BYTES);
    store_u64_le(sector + IDENTITY_SEGMENT, identity->segment);
    store_u64_le(sector + IDENTITY_BYTES, identity->segment_bytes);
    store_u32_le(sector + IDENTITY_BATCH_MAX, identity->batch_bytes_max);
    store_u32_le(sector + IDENTITY_IN_FLIGHT, identity->batches_in_flight_max);
    store_u64_le(sector + SECTOR_CHECKSUM, XXH3_64bits_withSeed(sector, SECTOR_CHECKSUM, HEAD_SEED));
}

/* What identity and seal have in common: magic and the checksum of the sector. */
static enum format_verdict check_sector(const uint8_t *sector, const uint8_t magic[8])
{
    if (all_zero(sector, FORMAT_SECTOR_BYTES)) {
        return FORMAT_ZERO;
    }
    if (memcmp(sector, magic, 8) != 0) {
        return FORMAT_BAD_MAGIC;
    }
    uint64_t checksum = XXH3_64bits_withSeed(sector, SECTOR_CHECKSUM, HEAD_SEED);
    return load_u64_le(sector + SECTOR_CHECKSUM) == checksum ? FORMAT_OK : FORMAT_BAD_CHECKSUM;
}

/* Of a batch or a segment. */
static bool number_right(uint64_t number)
{
    return number != 0 && number <= FORMAT_NUMBER_MAX;
}

static bool identity_fields_right(const struct format_identity *identity, const uint8_t *sector)
{
    if (!number_right(identity->segment) || identity->block_shift < 9 || identity->block_shift > 16 ||
        (identity->prefill != PREFILL_ZEROED && identity->prefill != PREFILL_RECYCLED) ||
        load_u16_le(sector + IDENTITY_ZERO) != 0 || !all_zero(sector + IDENTITY_END, SECTOR_CHECKSUM - IDENTITY_END)) {
        return false;
    }
    uint64_t block_bytes = (uint64_t)1 << identity->block_shift;
    return identity->segment_bytes % block_bytes == 0 &&
           identity->segment_bytes >= FORMAT_SEGMENT_BLOCKS_MIN * block_bytes &&
           identity->segment_bytes < FORMAT_SEGMENT_BYTES_MAX;
}

enum format_verdict format_identity_decode(const uint8_t sector[FORMAT_SECTOR_BYTES], struct format_identity *out)
{
    enum format_verdict verdict = check_sector(sector, identity_magic);
    if (verdict != FORMAT_OK) {
        return verdict;
    }
    struct format_identity identity = {
        .major = load_u16_le(sector + IDENTITY_MAJOR),
        .minor = load_u16_le(sector + IDENTITY_MINOR),
        .features_must = load_u32_le(sector + IDENTITY_MUST),
        .features_may = load_u32_le(sector + IDENTITY_MAY),
        .block_shift = sector[IDENTITY_SHIFT],
        .prefill = sector[IDENTITY_PREFILL],
        .segment = load_u64_le(sector + IDENTITY_SEGMENT),
        .segment_bytes = load_u64_le(sector + IDENTITY_BYTES),
        .batch_bytes_max = load_u32_le(sector + IDENTITY_BATCH_MAX),
        .batches_in_flight_max = load_u32_le(sector + IDENTITY_IN_FLIGHT),
    };
    memcpy(identity.uuid, sector + IDENTITY_UUID, FORMAT_UUID_BYTES);
    if (identity.major > FORMAT_MAJOR) {
        *out = identity;
        return FORMAT_NEWER;
    }
    if (identity.features_must != 0) {
        *out = identity;
        return FORMAT_UNKNOWN_FEATURE;
    }
    if (identity.major != FORMAT_MAJOR || !identity_fields_right(&identity, sector)) {
        return FORMAT_BAD_FIELD;
    }
    *out = identity;
    return FORMAT_OK;
}

/* --- batch head ---------------------------------------------------------------------------------- */

uint32_t format_control_bytes(enum batch_kind kind)
{
    switch (kind) {
    case BATCH_DATA:
    case BATCH_TRUNCATE:
        return DATA_CONTROL_BYTES;
    case BATCH_START:
        return START_CONTROL_BYTES;
    case BATCH_ANCHOR:
        return ANCHOR_CONTROL_BYTES;
    case BATCH_MARK:
    case BATCH_CLOSE:
        return 0;
    }
    CHECK(false);
    return 0;
}

uint32_t format_head_bytes(enum batch_kind kind, uint32_t metadata_room_bytes)
{
    CHECK(metadata_room_bytes <= FORMAT_METADATA_BYTES_MAX);
    return (uint32_t)round_up(HEADER_BYTES + format_control_bytes(kind) + metadata_room_bytes, RECORD_ALIGN);
}

static void encode_anchor(const struct format_anchor *anchor, uint8_t *to)
{
    memcpy(to + ANCHOR_UUID, anchor->uuid, FORMAT_UUID_BYTES);
    store_u64_le(to + ANCHOR_PREDECESSOR, anchor->predecessor_segment);
    store_u64_le(to + ANCHOR_END_OFFSET, anchor->predecessor_end_offset);
    store_u64_le(to + ANCHOR_LAST_OFFSET, anchor->predecessor_last_offset);
    store_u64_le(to + ANCHOR_START_INDEX, anchor->start.index);
    store_u64_le(to + ANCHOR_START_SEGMENT, anchor->start.segment);
    store_u64_le(to + ANCHOR_LOW, anchor->low);
    store_u64_le(to + ANCHOR_DOUBT, anchor->doubt_index);
    store_u64_le(to + ANCHOR_CUT_OFFSET, anchor->cut_offset);
    store_u64_le(to + ANCHOR_CUT_INDEX, anchor->cut_first_index);
    store_u32_le(to + ANCHOR_CUT_RECORDS, anchor->cut_records);
    store_u32_le(to + ANCHOR_CUT_REASON, anchor->cut_reason);
    store_u64_le(to + ANCHOR_LAST_TAG, anchor->last_tag);
}

static void decode_anchor(const uint8_t *from, struct format_anchor *anchor)
{
    memcpy(anchor->uuid, from + ANCHOR_UUID, FORMAT_UUID_BYTES);
    anchor->predecessor_segment = load_u64_le(from + ANCHOR_PREDECESSOR);
    anchor->predecessor_end_offset = load_u64_le(from + ANCHOR_END_OFFSET);
    anchor->predecessor_last_offset = load_u64_le(from + ANCHOR_LAST_OFFSET);
    anchor->start.index = load_u64_le(from + ANCHOR_START_INDEX);
    anchor->start.segment = load_u64_le(from + ANCHOR_START_SEGMENT);
    anchor->low = load_u64_le(from + ANCHOR_LOW);
    anchor->doubt_index = load_u64_le(from + ANCHOR_DOUBT);
    anchor->cut_offset = load_u64_le(from + ANCHOR_CUT_OFFSET);
    anchor->cut_first_index = load_u64_le(from + ANCHOR_CUT_INDEX);
    anchor->cut_records = load_u32_le(from + ANCHOR_CUT_RECORDS);
    anchor->cut_reason = load_u32_le(from + ANCHOR_CUT_REASON);
    anchor->last_tag = load_u64_le(from + ANCHOR_LAST_TAG);
}

/* A start may lie one past the last index that there can be: then the log is empty, and stays so. */
static bool start_right(const struct format_head *head)
{
    uint64_t index = head->kind == BATCH_START    ? head->body.start.index
                     : head->kind == BATCH_ANCHOR ? head->body.anchor.start.index
                                                  : 0;
    return index <= FORMAT_INDEX_MAX + 1;
}

/* What holds of every head that is written, and is checked of every head that is read. */
static bool head_fields_right(const struct format_head *head)
{
    if (head->kind < BATCH_DATA || head->kind > BATCH_ANCHOR || (head->flags & ~BATCH_FLAGS_KNOWN) != 0) {
        return false;
    }
    bool no_metadata = head->metadata_bytes == FORMAT_NO_METADATA;
    if (!no_metadata && head->metadata_bytes > FORMAT_METADATA_BYTES_MAX) {
        return false;
    }
    uint32_t least_bytes = format_head_bytes(head->kind, no_metadata ? 0 : head->metadata_bytes);
    if (head->head_bytes < least_bytes || head->head_bytes > FORMAT_HEAD_BYTES_MAX ||
        head->head_bytes % RECORD_ALIGN != 0) {
        return false;
    }
    bool with_records = head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE;
    uint64_t least_used = head->head_bytes + (uint64_t)head->record_count * RECORD_HEADER_BYTES;
    if ((!with_records && head->record_count != 0) || head->used_bytes < least_used ||
        head->used_bytes % RECORD_ALIGN != 0 || (head->record_count == 0 && head->used_bytes != head->head_bytes)) {
        return false;
    }
    return number_right(head->number) && head->number > head->mark && head->salt != 0 && number_right(head->segment) &&
           head->place != 0 && head->first_index != 0 && head->first_index <= FORMAT_INDEX_MAX + 1 &&
           head->record_count <= FORMAT_INDEX_MAX + 1 - head->first_index;
}

void format_head_encode(struct format_head *head, uint8_t *to)
{
    CHECK((head_fields_right(head) && start_right(head)) || ZOO(mark_is_an_index));
    memset(to, 0, head->head_bytes);
    store_u32_le(to + HEAD_MAGIC, BATCH_MAGIC);
    to[HEAD_KIND] = head->kind;
    to[HEAD_FLAGS] = head->flags;
    store_u16_le(to + HEAD_BYTES, head->head_bytes);
    store_u64_le(to + HEAD_SALT, head->salt);
    store_u64_le(to + HEAD_SEGMENT, head->segment);
    store_u32_le(to + HEAD_PLACE, head->place);
    store_u32_le(to + HEAD_USED, head->used_bytes);
    store_u64_le(to + HEAD_NUMBER, head->number);
    store_u64_le(to + HEAD_MARK, head->mark);
    store_u64_le(to + HEAD_CHAIN, head->chain);
    store_u64_le(to + HEAD_FIRST_INDEX, head->first_index);
    store_u32_le(to + HEAD_RECORDS, head->record_count);
    store_u16_le(to + HEAD_METADATA_BYTES, head->metadata_bytes);
    if (head->kind == BATCH_DATA || head->kind == BATCH_TRUNCATE) {
        store_u64_le(to + HEAD_CONTROL, head->body.tags.previous);
        store_u64_le(to + HEAD_CONTROL + 8, head->body.tags.first);
        store_u64_le(to + HEAD_CONTROL + 16, head->body.tags.last);
    } else if (head->kind == BATCH_START) {
        store_u64_le(to + HEAD_CONTROL, head->body.start.index);
        store_u64_le(to + HEAD_CONTROL + 8, head->body.start.segment);
    } else if (head->kind == BATCH_ANCHOR) {
        encode_anchor(&head->body.anchor, to);
    }
    if (head->metadata_bytes != FORMAT_NO_METADATA) {
        memcpy(to + HEAD_CONTROL + format_control_bytes(head->kind), head->metadata, head->metadata_bytes);
    }
    head->checksum = XXH3_64bits_withSeed(to + HEAD_MAGIC, head->head_bytes - HEAD_MAGIC, HEAD_SEED);
    store_u64_le(to + HEAD_CHECKSUM, head->checksum);
}

static void decode_fields(const uint8_t *sector, struct format_head *head)
{
    memset(head, 0, sizeof(*head));
    head->checksum = load_u64_le(sector + HEAD_CHECKSUM);
    head->kind = sector[HEAD_KIND];
    head->flags = sector[HEAD_FLAGS];
    head->head_bytes = load_u16_le(sector + HEAD_BYTES);
    head->salt = load_u64_le(sector + HEAD_SALT);
    head->segment = load_u64_le(sector + HEAD_SEGMENT);
    head->place = load_u32_le(sector + HEAD_PLACE);
    head->used_bytes = load_u32_le(sector + HEAD_USED);
    head->number = load_u64_le(sector + HEAD_NUMBER);
    head->mark = load_u64_le(sector + HEAD_MARK);
    head->chain = load_u64_le(sector + HEAD_CHAIN);
    head->first_index = load_u64_le(sector + HEAD_FIRST_INDEX);
    head->record_count = load_u32_le(sector + HEAD_RECORDS);
    head->metadata_bytes = load_u16_le(sector + HEAD_METADATA_BYTES);
}

static bool body_right(const uint8_t *sector, struct format_head *head)
{
    switch ((enum batch_kind)head->kind) {
    case BATCH_DATA:
    case BATCH_TRUNCATE:
        head->body.tags.previous = load_u64_le(sector + HEAD_CONTROL);
        head->body.tags.first = load_u64_le(sector + HEAD_CONTROL + 8);
        head->body.tags.last = load_u64_le(sector + HEAD_CONTROL + 16);
        break;
    case BATCH_START:
        head->body.start.index = load_u64_le(sector + HEAD_CONTROL);
        head->body.start.segment = load_u64_le(sector + HEAD_CONTROL + 8);
        break;
    case BATCH_ANCHOR:
        decode_anchor(sector, &head->body.anchor);
        break;
    case BATCH_MARK:
    case BATCH_CLOSE:
        break;
    }
    uint32_t metadata_offset = HEAD_CONTROL + format_control_bytes(head->kind);
    uint32_t metadata_bytes = head->metadata_bytes == FORMAT_NO_METADATA ? 0 : head->metadata_bytes;
    memcpy(head->metadata, sector + metadata_offset, metadata_bytes);
    uint32_t behind_offset = metadata_offset + metadata_bytes;
    return all_zero(sector + behind_offset, head->head_bytes - behind_offset);
}

enum format_verdict format_head_decode(const uint8_t *sector, size_t size, struct format_head *out)
{
    CHECK(size >= FORMAT_SECTOR_BYTES);
    if (load_u32_le(sector + HEAD_MAGIC) != BATCH_MAGIC) {
        return all_zero(sector, FORMAT_SECTOR_BYTES) ? FORMAT_ZERO : FORMAT_BAD_MAGIC;
    }
    uint32_t head_bytes = load_u16_le(sector + HEAD_BYTES);
    if (head_bytes < HEADER_BYTES || head_bytes > FORMAT_HEAD_BYTES_MAX) {
        return FORMAT_BAD_CHECKSUM; /* Nothing vouches for a length that is out of bounds. */
    }
    if (load_u64_le(sector + HEAD_CHECKSUM) !=
        XXH3_64bits_withSeed(sector + HEAD_MAGIC, head_bytes - HEAD_MAGIC, HEAD_SEED)) {
        return FORMAT_BAD_CHECKSUM;
    }
    decode_fields(sector, out);
    bool right =
        load_u16_le(sector + HEAD_ZERO) == 0 && head_fields_right(out) && body_right(sector, out) && start_right(out);
    return right ? FORMAT_OK : FORMAT_BAD_FIELD;
}

uint64_t format_batch_padded_bytes(const struct format_head *head, uint32_t block_bytes)
{
    return round_up(head->used_bytes, block_bytes);
}

/* --- record -------------------------------------------------------------------------------------- */

uint64_t format_seed_base(uint64_t salt, uint64_t segment)
{
    uint64_t seeded_salt = ZOO(salt_in_record_seed) ? 0 : salt;
    uint64_t seeded_segment = ZOO(segment_in_checksums) ? 0 : segment;
    return rotate_left(seeded_salt + seeded_segment * SEGMENT_FACTOR, 29);
}

/* The seed holds everything of a record but its payload: where it is, and the words of its header. */
static inline uint64_t record_seed(uint64_t seed_base, uint64_t file_offset, uint64_t index, uint64_t first_word,
                                   uint64_t tag)
{
    uint64_t seeded_offset = ZOO(place_in_record_seed) ? 0 : file_offset;
    uint64_t seeded_index = ZOO(index_in_record_seed) ? 0 : index;
    uint64_t seed = rotate_left(seed_base ^ (seeded_offset * OFFSET_FACTOR), 31) + seeded_index * INDEX_FACTOR;
    return rotate_left(seed ^ first_word, 23) + tag * SEGMENT_FACTOR;
}

uint64_t hash_plain(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

enum { LONG_BYTES = 1024, COPY_HASHED_BYTES_MIN = 32768 };

static inline uint64_t hash_payload(const void *payload, uint32_t length, uint64_t seed)
{
    return length < LONG_BYTES ? XXH3_64bits_withSeed(payload, length, seed) : hash_long(payload, length, seed);
}

void format_record_encode(uint8_t *to, uint64_t seed_base, uint64_t file_offset, uint64_t index,
                          const struct format_record *record)
{
    CHECK(record->type != 0);
    uint64_t first_word = record->length | (uint64_t)record->type << 32;
    uint64_t seed = record_seed(seed_base, file_offset, index, first_word, record->tag);
    uint64_t checksum;
    if (record->length >= COPY_HASHED_BYTES_MIN) {
        checksum = hash_and_copy(to + RECORD_PAYLOAD, record->payload, record->length, seed);
    } else {
        /* The caller's bytes are hashed, not the copy: loads right behind stores would wait for them. */
        checksum = hash_payload(record->payload, record->length, seed);
        if (record->length != 0) {
            memcpy(to + RECORD_PAYLOAD, record->payload, record->length);
        }
    }
    store_u64_le(to + RECORD_CHECKSUM, checksum);
    store_u64_le(to + RECORD_LENGTH, first_word);
    store_u64_le(to + RECORD_TAG, record->tag);
    for (uint64_t at = RECORD_HEADER_BYTES + (uint64_t)record->length; at % RECORD_ALIGN != 0; at++) {
        to[at] = 0;
    }
}

enum format_verdict format_record_decode(const uint8_t *from, uint64_t available, uint64_t seed_base,
                                         uint64_t file_offset, uint64_t index, struct format_record *out)
{
    if (available < RECORD_HEADER_BYTES) {
        return FORMAT_TRUNCATED;
    }
    uint64_t first_word = load_u64_le(from + RECORD_LENGTH);
    uint32_t length = (uint32_t)first_word;
    if (format_record_bytes(length) > available) {
        return FORMAT_TRUNCATED;
    }
    uint64_t tag = load_u64_le(from + RECORD_TAG);
    uint64_t seed = record_seed(seed_base, file_offset, index, first_word, tag);
    if (load_u64_le(from + RECORD_CHECKSUM) != hash_payload(from + RECORD_PAYLOAD, length, seed)) {
        return FORMAT_BAD_CHECKSUM;
    }
    uint16_t type = (uint16_t)(first_word >> 32);
    if (type == 0 || first_word >> 48 != 0) {
        return FORMAT_BAD_FIELD;
    }
    *out = (struct format_record){length, type, tag, from + RECORD_PAYLOAD};
    return FORMAT_OK;
}

/* --- seal ---------------------------------------------------------------------------------------- */

void format_seal_encode(const struct format_seal *seal, uint8_t sector[FORMAT_SECTOR_BYTES])
{
    CHECK(number_right(seal->segment) && number_right(seal->last_number));
    memset(sector, 0, FORMAT_SECTOR_BYTES);
    memcpy(sector + SEAL_MAGIC, seal_magic, sizeof(seal_magic));
    memcpy(sector + SEAL_UUID, seal->uuid, FORMAT_UUID_BYTES);
    store_u64_le(sector + SEAL_SEGMENT, seal->segment);
    store_u64_le(sector + SEAL_SALT, seal->salt);
    store_u64_le(sector + SEAL_LAST_NUMBER, seal->last_number);
    store_u64_le(sector + SEAL_LAST_CHECKSUM, seal->last_checksum);
    store_u64_le(sector + SEAL_LAST_OFFSET, seal->last_offset);
    store_u64_le(sector + SEAL_END_OFFSET, seal->end_offset);
    store_u64_le(sector + SEAL_OPENING_INDEX, seal->opening_index);
    store_u64_le(sector + SEAL_LAST_INDEX, seal->last_index);
    store_u64_le(sector + SEAL_LOW, seal->low);
    store_u64_le(sector + SEAL_RECORDS, seal->record_count);
    store_u64_le(sector + SEAL_OWN_OFFSET, seal->own_offset);
    store_u64_le(sector + SECTOR_CHECKSUM, XXH3_64bits_withSeed(sector, SECTOR_CHECKSUM, HEAD_SEED));
}

enum format_verdict format_seal_decode(const uint8_t sector[FORMAT_SECTOR_BYTES], struct format_seal *out)
{
    enum format_verdict verdict = check_sector(sector, seal_magic);
    if (verdict != FORMAT_OK) {
        return verdict;
    }
    struct format_seal seal = {
        .segment = load_u64_le(sector + SEAL_SEGMENT),
        .salt = load_u64_le(sector + SEAL_SALT),
        .last_number = load_u64_le(sector + SEAL_LAST_NUMBER),
        .last_checksum = load_u64_le(sector + SEAL_LAST_CHECKSUM),
        .last_offset = load_u64_le(sector + SEAL_LAST_OFFSET),
        .end_offset = load_u64_le(sector + SEAL_END_OFFSET),
        .opening_index = load_u64_le(sector + SEAL_OPENING_INDEX),
        .last_index = load_u64_le(sector + SEAL_LAST_INDEX),
        .low = load_u64_le(sector + SEAL_LOW),
        .record_count = load_u64_le(sector + SEAL_RECORDS),
        .own_offset = load_u64_le(sector + SEAL_OWN_OFFSET),
    };
    memcpy(seal.uuid, sector + SEAL_UUID, FORMAT_UUID_BYTES);
    if (!number_right(seal.segment) || !number_right(seal.last_number) ||
        !all_zero(sector + SEAL_END, SECTOR_CHECKSUM - SEAL_END)) {
        return FORMAT_BAD_FIELD;
    }
    *out = seal;
    return FORMAT_OK;
}

/* --- fingerprint --- */

uint64_t format_fingerprint(const void *bytes, size_t size, uint64_t so_far)
{
    return XXH3_64bits_withSeed(bytes, size, so_far);
}

/* --- names --------------------------------------------------------------------------------------- */

enum { DIGITS = 20 };

void format_segment_name(uint64_t segment, char name[FORMAT_NAME_BYTES])
{
    (void)snprintf(name, FORMAT_NAME_BYTES, "%020llu.wal", (unsigned long long)segment);
}

void format_temporary_name(uint64_t segment, char name[FORMAT_NAME_BYTES])
{
    (void)snprintf(name, FORMAT_NAME_BYTES, "new-%020llu.tmp", (unsigned long long)segment);
}

/* Exactly 20 decimal digits that fit 64 bits; 0 for anything else. */
static uint64_t number_of_digits(const char *digits)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return 0;
        }
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        number = number * 10 + digit;
    }
    return number;
}

uint64_t format_segment_of_name(const char *name)
{
    if (strlen(name) != DIGITS + 4 || strcmp(name + DIGITS, ".wal") != 0) {
        return 0;
    }
    uint64_t number = number_of_digits(name);
    return number_right(number) ? number : 0;
}

bool format_is_temporary_name(const char *name)
{
    return strlen(name) == 4 + DIGITS + 4 && strncmp(name, "new-", 4) == 0 && strcmp(name + 4 + DIGITS, ".tmp") == 0 &&
           number_of_digits(name + 4) != 0;
}
