/* format_fixture.c - one of each thing that stands on disk, for the tests of its format.
 *
 * The happy path: a test takes a sample, encodes it, changes a byte or a field, puts the checksum right again if it
 * likes, and decodes.
 *
 * What can fail: nothing.
 *
 * Invariants: no two fields of a sample that could be mistaken for each other have the same value; offsets stand here
 * as numbers on purpose: they are those of FORMAT.md, not those of format.c.
 *
 * May include: format_fixture.h. */

#include "tests/format_fixture.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wal/bytes.h"

#include <string.h>

#define HEAD_SEED 0x77616c2d68656164u

static const uint8_t uuid[FORMAT_UUID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
const enum batch_kind kinds[KINDS] = {BATCH_DATA, BATCH_TRUNCATE, BATCH_MARK, BATCH_CLOSE, BATCH_START, BATCH_ANCHOR};

struct format_identity example_identity(void)
{
    struct format_identity identity = {.major = FORMAT_MAJOR,
                                       .minor = FORMAT_MINOR,
                                       .features_may = 0x80000001,
                                       .block_shift = 12,
                                       .prefill = PREFILL_ZEROED,
                                       .segment = SEGMENT,
                                       .segment_bytes = 1u << 20,
                                       .batch_bytes_max = 65536,
                                       .batches_in_flight_max = 2};
    memcpy(identity.uuid, uuid, sizeof(uuid));
    return identity;
}

struct format_seal example_seal(void)
{
    struct format_seal seal = {.segment = SEGMENT,
                               .salt = SALT,
                               .last_number = 77,
                               .last_checksum = 0xfedcba9876543210,
                               .last_offset = 16384,
                               .end_offset = 20480,
                               .opening_index = 900,
                               .last_index = 1002,
                               .low = 899,
                               .record_count = 104,
                               .own_offset = (1u << 20) - 4096};
    memcpy(seal.uuid, uuid, sizeof(uuid));
    return seal;
}

struct format_head example_head(enum batch_kind kind)
{
    struct format_head head = {.kind = (uint8_t)kind,
                               .salt = SALT,
                               .segment = SEGMENT,
                               .place = 2,
                               .number = 42,
                               .mark = 41,
                               .chain = 0x1122334455667788,
                               .first_index = RECORD_INDEX,
                               .metadata_bytes = FORMAT_NO_METADATA};
    bool with_metadata = kind == BATCH_DATA || kind == BATCH_ANCHOR;
    head.head_bytes = (uint16_t)format_head_bytes(kind, with_metadata ? 5 : 0);
    head.used_bytes = head.head_bytes;
    if (with_metadata) {
        head.metadata_bytes = 5;
        memcpy(head.metadata, "state", 5);
    }
    if (kind == BATCH_DATA) {
        head.flags = BATCH_CLEARS_DOUBT;
        head.record_count = 2;
        head.used_bytes += 2 * RECORD_HEADER_BYTES + 16;
        head.body.tags = (struct format_tags){6, 7, 8};
    } else if (kind == BATCH_TRUNCATE) {
        head.body.tags = (struct format_tags){6, 6, 6};
    } else if (kind == BATCH_START) {
        head.body.start = (struct format_start){950, 2};
    } else if (kind == BATCH_ANCHOR) {
        head.flags = BATCH_FORCED | BATCH_ZEROED;
        head.body.anchor = (struct format_anchor){.predecessor_segment = 2,
                                                  .predecessor_end_offset = 12288,
                                                  .predecessor_last_offset = 8192,
                                                  .start = {950, 2},
                                                  .low = 940,
                                                  .doubt_index = 1001,
                                                  .cut_offset = 12288,
                                                  .cut_first_index = 1001,
                                                  .cut_records = 5,
                                                  .cut_reason = 6,
                                                  .last_tag = 6};
        memcpy(head.body.anchor.uuid, uuid, sizeof(uuid));
    }
    return head;
}

struct format_record example_record(const void *payload, uint32_t length)
{
    return (struct format_record){.length = length, .type = 0x0102, .tag = 0xa1a2a3a4a5a6a7a8, .payload = payload};
}

void encode_example_record(uint8_t *to)
{
    struct format_record record = example_record("hello, log", 10);
    format_record_encode(to, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
}

enum format_verdict decode_example_record(const uint8_t *from, uint64_t available)
{
    struct format_record record;
    return format_record_decode(from, available, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
}

void mend_sector(uint8_t *sector)
{
    store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
}

void mend_head(uint8_t *sector)
{
    uint32_t head_bytes = load_u16_le(sector + 14);
    head_bytes = head_bytes < 8 ? 8 : head_bytes > SECTOR ? SECTOR : head_bytes;
    store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, head_bytes - 8, HEAD_SEED));
}

static uint64_t random_state = 1;

uint64_t draw(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) ^ random_state << 31;
}
