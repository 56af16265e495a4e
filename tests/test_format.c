/* test_format.c - every byte on disk: what is written reads back, what was changed, moved or never written does not.
 *
 *   - round trips, by hand and by the thousand;
 *   - golden bytes: the format of version 1.0 in hex, so that it cannot drift unnoticed;
 *   - every single bit flipped: refused, or in space of which FORMAT.md says that nobody looks at it;
 *   - zeros, other salts, places, indexes and segments; fields that no writer writes, under a right checksum;
 *   - an unreadable page behind every input: no decoder looks further than it may.
 *
 * Offsets stand here as numbers on purpose: they are those of FORMAT.md, not those of format.c. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wal/bytes.h"
#include "wal/format.h"
#include "wal/hash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD_SEED 0x77616c2d68656164u
#define SALT 0x0123456789abcdefu

enum { SEGMENT = 3, SECTOR = FORMAT_SECTOR_BYTES, RECORD_OFFSET = 8296, RECORD_INDEX = 1001, ROOM = 1024 };

static const uint8_t uuid[FORMAT_UUID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const enum batch_kind kinds[] = {BATCH_DATA, BATCH_TRUNCATE, BATCH_MARK, BATCH_CLOSE, BATCH_START, BATCH_ANCHOR};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* --- samples ------------------------------------------------------------------------------------- */

static struct format_identity sample_identity(void)
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

static struct format_seal sample_seal(void)
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

/* A batch of each kind; DATA has two records and metadata, TRUNCATE neither. */
static struct format_head sample_head(enum batch_kind kind)
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

static struct format_record sample_record(const void *payload, uint32_t length)
{
    return (struct format_record){.length = length, .type = 0x0102, .tag = 0xa1a2a3a4a5a6a7a8, .payload = payload};
}

static void encode_sample_record(uint8_t *to)
{
    struct format_record record = sample_record("hello, log", 10);
    format_record_encode(to, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
}

static enum format_verdict decode_sample_record(const uint8_t *from, uint64_t available)
{
    struct format_record record;
    return format_record_decode(from, available, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
}

/* Puts the checksum of an identity or a seal right again. */
static void mend_sector(uint8_t *sector)
{
    store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
}

/* Of a head; head_bytes as it stands there, as far as a sector goes. */
static void mend_head(uint8_t *sector)
{
    uint32_t head_bytes = load_u16_le(sector + 14);
    head_bytes = head_bytes < 8 ? 8 : head_bytes > SECTOR ? SECTOR : head_bytes;
    store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, head_bytes - 8, HEAD_SEED));
}

static void store(uint8_t *to, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
}

static void flip(uint8_t *bytes, size_t bit)
{
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static uint64_t random_state = 1;

static uint64_t draw(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) ^ random_state << 31;
}

/* --- golden bytes -------------------------------------------------------------------------------- */

static void assert_bytes(const uint8_t *bytes, size_t size, const char *hex)
{
    char found[2 * ROOM + 1];
    for (size_t i = 0; i < size; i++) {
        (void)snprintf(found + 2 * i, 3, "%02x", bytes[i]);
    }
    assert_string_equal(found, hex);
}

static void test_golden_identity(void **state)
{
    (void)state;
    struct format_identity identity = sample_identity();
    uint8_t sector[SECTOR];
    memset(sector, 0xff, sizeof(sector));
    format_identity_encode(&identity, sector);
    assert_bytes(sector, 64,
                 "57414c5345474d310100000000000000010000800c0100000102030405060708090a0b0c0d0e0f100300000000000000"
                 "00001000000000000000010002000000");
    assert_true(all_zero(sector + 64, 440));
    assert_bytes(sector + 504, 8, "be2a2facb87b39aa");
}

static void test_golden_seal(void **state)
{
    (void)state;
    struct format_seal seal = sample_seal();
    uint8_t sector[SECTOR];
    memset(sector, 0xff, sizeof(sector));
    format_seal_encode(&seal, sector);
    assert_bytes(sector, 112,
                 "57414c5345414c310102030405060708090a0b0c0d0e0f100300000000000000efcdab89674523014d00000000000000"
                 "1032547698badcfe004000000000000000500000000000008403000000000000ea030000000000008303000000000000"
                 "680000000000000000f00f0000000000");
    assert_true(all_zero(sector + 112, 392));
    assert_bytes(sector + 504, 8, "6ddfc543dbfb49bb");
}

static void test_golden_heads(void **state)
{
    (void)state;
    static const char *const golden[KINDS] = {
        "88cfafc263f961895742434801047000efcdab8967452301030000000000000002000000b00000002a00000000000000"
        "29000000000000008877665544332211e903000000000000020000000500000006000000000000000700000000000000"
        "08000000000000007374617465000000",
        "f4ceac8b0af337be5742434802006800efcdab8967452301030000000000000002000000680000002a00000000000000"
        "29000000000000008877665544332211e90300000000000000000000ffff000006000000000000000600000000000000"
        "0600000000000000",
        "d13f24f9db107a5f5742434803005000efcdab8967452301030000000000000002000000500000002a00000000000000"
        "29000000000000008877665544332211e90300000000000000000000ffff0000",
        "73c0f65aaa5409375742434804005000efcdab8967452301030000000000000002000000500000002a00000000000000"
        "29000000000000008877665544332211e90300000000000000000000ffff0000",
        "70df5d3cd7b877105742434805006000efcdab8967452301030000000000000002000000600000002a00000000000000"
        "29000000000000008877665544332211e90300000000000000000000ffff0000b6030000000000000200000000000000",
        "b899db8d1e5dfeb7574243480603c000efcdab8967452301030000000000000002000000c00000002a00000000000000"
        "29000000000000008877665544332211e90300000000000000000000050000000102030405060708090a0b0c0d0e0f10"
        "020000000000000000300000000000000020000000000000b6030000000000000200000000000000ac03000000000000"
        "e9030000000000000030000000000000e903000000000000050000000600000006000000000000007374617465000000",
    };
    for (unsigned i = 0; i < KINDS; i++) {
        struct format_head head = sample_head(kinds[i]);
        uint8_t sector[SECTOR];
        memset(sector, 0xff, sizeof(sector)); /* Not a byte may be left of what was there. */
        format_head_encode(&head, sector);
        assert_bytes(sector, head.head_bytes, golden[i]);
    }
}

static void test_golden_record(void **state)
{
    (void)state;
    uint8_t bytes[40];
    memset(bytes, 0xff, sizeof(bytes));
    encode_sample_record(bytes);
    assert_bytes(bytes, 40, "6406fdfda9ea63aa0a00000002010000a8a7a6a5a4a3a2a168656c6c6f2c206c6f67000000000000");
}

/* --- round trips --------------------------------------------------------------------------------- */

static void test_identity_round_trip(void **state)
{
    (void)state;
    struct format_identity identity = sample_identity();
    struct format_identity found;
    uint8_t sector[SECTOR];
    for (unsigned shift = 9; shift <= 16; shift++) {
        for (uint8_t prefill = PREFILL_ZEROED; prefill <= PREFILL_RECYCLED; prefill++) {
            identity.block_shift = (uint8_t)shift;
            identity.prefill = prefill;
            identity.segment_bytes = FORMAT_SEGMENT_BYTES_MAX - (1u << shift);
            format_identity_encode(&identity, sector);
            memset(&found, 0, sizeof(found));
            assert_int_equal(format_identity_decode(sector, &found), FORMAT_OK);
            assert_memory_equal(&found, &identity, sizeof(found));
        }
    }
}

static void test_seal_round_trip(void **state)
{
    (void)state;
    struct format_seal seal = sample_seal();
    struct format_seal found;
    uint8_t sector[SECTOR];
    format_seal_encode(&seal, sector);
    memset(&found, 0, sizeof(found));
    assert_int_equal(format_seal_decode(sector, &found), FORMAT_OK);
    assert_memory_equal(&found, &seal, sizeof(found));
}

static void assert_heads_equal(const struct format_head *a, const struct format_head *b)
{
    uint8_t a_bytes[SECTOR] = {0};
    uint8_t b_bytes[SECTOR] = {0};
    struct format_head a_copy = *a;
    struct format_head b_copy = *b;
    format_head_encode(&a_copy, a_bytes);
    format_head_encode(&b_copy, b_bytes);
    assert_memory_equal(a_bytes, b_bytes, SECTOR);
    assert_true(a->checksum == b->checksum);
}

static void test_heads_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        enum batch_kind kind = kinds[draw() % KINDS];
        struct format_head head = sample_head(kind);
        bool with_records = kind == BATCH_DATA || kind == BATCH_TRUNCATE;
        uint32_t metadata_bytes = (uint32_t)(draw() % (FORMAT_METADATA_BYTES_MAX + 1));
        head.metadata_bytes = draw() % 4 == 0 ? FORMAT_NO_METADATA : (uint16_t)metadata_bytes;
        for (unsigned k = 0; k < FORMAT_METADATA_BYTES_MAX; k++) {
            head.metadata[k] = k < metadata_bytes && head.metadata_bytes != FORMAT_NO_METADATA ? (uint8_t)draw() : 0;
        }
        head.flags = (uint8_t)(draw() % (BATCH_FLAGS_KNOWN + 1));
        head.head_bytes = (uint16_t)format_head_bytes(kind, metadata_bytes);
        head.record_count = with_records ? (uint32_t)(draw() % 1000) : 0;
        head.used_bytes = head.head_bytes + head.record_count * RECORD_HEADER_BYTES;
        head.used_bytes += head.record_count != 0 ? (uint32_t)(draw() % 100000) * RECORD_ALIGN : 0;
        head.mark = draw() >> draw() % 64;
        head.mark -= head.mark == UINT64_MAX;
        head.number = head.mark + 1 + draw() % (UINT64_MAX - head.mark);
        head.salt = draw() | 1;
        head.first_index = draw() | 1;
        head.chain = draw();
        uint8_t sector[SECTOR] = {0};
        format_head_encode(&head, sector);
        struct format_head found;
        assert_int_equal(format_head_decode(sector, sizeof(sector), &found), FORMAT_OK);
        assert_heads_equal(&head, &found);
        assert_memory_equal(head.metadata, found.metadata, sizeof(head.metadata));
        assert_int_equal(format_batch_padded_bytes(&found, 4096) % 4096, 0);
        assert_true(format_batch_padded_bytes(&found, 4096) - found.used_bytes < 4096);
    }
}

static void test_records_round_trip(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0,   1,   3,   4,   8,   9,   16,  17,   127,  128,
                                       129, 240, 241, 512, 777, 900, 999, 1000, 1023, 1024};
    uint8_t payload[1024];
    uint8_t bytes[RECORD_HEADER_BYTES + sizeof(payload)];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)draw();
    }
    uint64_t seed_base = format_seed_base(SALT, SEGMENT);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct format_record record = sample_record(lengths[i] != 0 ? payload : NULL, lengths[i]);
        uint64_t size = format_record_bytes(lengths[i]);
        assert_true(size % RECORD_ALIGN == 0 && size >= RECORD_HEADER_BYTES + lengths[i] && size <= sizeof(bytes));
        memset(bytes, 0xff, sizeof(bytes));
        format_record_encode(bytes, seed_base, RECORD_OFFSET, RECORD_INDEX, &record);
        assert_true(all_zero(bytes + RECORD_HEADER_BYTES + lengths[i], size - RECORD_HEADER_BYTES - lengths[i]));
        assert_true(size == sizeof(bytes) || bytes[size] == 0xff);
        struct format_record found;
        assert_int_equal(format_record_decode(bytes, size, seed_base, RECORD_OFFSET, RECORD_INDEX, &found), FORMAT_OK);
        assert_int_equal(found.length, lengths[i]);
        assert_int_equal(found.type, record.type);
        assert_true(found.tag == record.tag && found.payload == bytes + RECORD_HEADER_BYTES);
        assert_memory_equal(found.payload, payload, lengths[i]);
    }
    assert_true(format_record_bytes(UINT32_MAX) == 0x100000018u);
}

/* The record's words are as FORMAT.md section 4 says, computed here once more. */
static void test_record_seed_is_that_of_the_page(void **state)
{
    (void)state;
    uint8_t bytes[40];
    encode_sample_record(bytes);
    uint64_t base = SALT + SEGMENT * 0x9E3779B97F4A7C15u;
    uint64_t seed = (base << 29 | base >> 35) ^ (RECORD_OFFSET * 0xC2B2AE3D27D4EB4Fu);
    seed = (seed << 31 | seed >> 33) + RECORD_INDEX * 0x165667B19E3779F9u;
    seed ^= 10 + ((uint64_t)0x0102 << 32);
    seed = (seed << 23 | seed >> 41) + 0xa1a2a3a4a5a6a7a8u * 0x9E3779B97F4A7C15u;
    assert_true(load_u64_le(bytes) == XXH3_64bits_withSeed("hello, log", 10, seed));
}

/* --- every bit flipped --------------------------------------------------------------------------- */

static void test_no_flipped_bit_passes_in_identity_and_seal(void **state)
{
    (void)state;
    struct format_identity identity = sample_identity();
    struct format_seal seal = sample_seal();
    uint8_t sector[SECTOR];
    format_identity_encode(&identity, sector);
    for (size_t bit = 0; bit < SECTOR * 8; bit++) {
        flip(sector, bit);
        enum format_verdict expected = bit < 64 ? FORMAT_BAD_MAGIC : FORMAT_BAD_CHECKSUM;
        assert_int_equal(format_identity_decode(sector, &identity), expected);
        flip(sector, bit);
    }
    format_seal_encode(&seal, sector);
    for (size_t bit = 0; bit < SECTOR * 8; bit++) {
        flip(sector, bit);
        enum format_verdict expected = bit < 64 ? FORMAT_BAD_MAGIC : FORMAT_BAD_CHECKSUM;
        assert_int_equal(format_seal_decode(sector, &seal), expected);
        flip(sector, bit);
    }
}

static void test_no_flipped_bit_passes_in_a_head(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        struct format_head head = sample_head(kinds[i]);
        struct format_head found;
        uint8_t sector[SECTOR] = {0};
        format_head_encode(&head, sector);
        for (size_t bit = 0; bit < SECTOR * 8; bit++) {
            flip(sector, bit);
            enum format_verdict verdict = format_head_decode(sector, sizeof(sector), &found);
            if (bit / 8 >= 8 && bit / 8 < 12) {
                assert_int_equal(verdict, FORMAT_BAD_MAGIC);
            } else if (bit / 8 < head.head_bytes) {
                assert_int_equal(verdict, FORMAT_BAD_CHECKSUM);
            } else {
                assert_int_equal(verdict, FORMAT_OK); /* Behind the head: records, or padding. */
                assert_heads_equal(&found, &head);
            }
            flip(sector, bit);
        }
    }
}

static void test_no_flipped_bit_passes_in_a_record(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, 3, 4, 8, 9, 10, 16, 17, 128, 129, 240, 241, 600};
    uint8_t payload[600];
    uint8_t bytes[RECORD_HEADER_BYTES + sizeof(payload)];
    memset(payload, 0x5a, sizeof(payload));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct format_record record = sample_record(payload, lengths[i]);
        uint64_t size = format_record_bytes(lengths[i]);
        format_record_encode(bytes, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
        for (size_t bit = 0; bit < size * 8; bit++) {
            flip(bytes, bit);
            enum format_verdict verdict = decode_sample_record(bytes, size);
            if (bit / 8 >= RECORD_HEADER_BYTES + lengths[i]) {
                assert_int_equal(verdict, FORMAT_OK); /* Padding to 8 bytes. */
            } else if (verdict != FORMAT_BAD_CHECKSUM) {
                assert_int_equal(verdict, FORMAT_TRUNCATED);
                assert_true(bit / 8 >= 8 && bit / 8 < 12);
            }
            flip(bytes, bit);
        }
    }
}

/* --- zeros --------------------------------------------------------------------------------------- */

static void test_wide_and_plain_hashes_agree(void **state)
{
    (void)state;
    static uint8_t bytes[70000];
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    for (size_t size = 0; size < sizeof(bytes) - 8; size += size < 2100 ? 1 : 997) {
        assert_true(hash_long(bytes + size % 8, size, size) == hash_plain(bytes + size % 8, size, size));
    }
}

/* Large payloads are copied in another way: every byte must arrive, at every alignment, and none beyond. */
static void test_large_payloads_arrive_whole(void **state)
{
    (void)state;
    static uint8_t payload[40000];
    static uint8_t room[40200];
    for (unsigned i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 13 + (i >> 7));
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        for (uint32_t length = 32760; length < 32860; length += 7) {
            struct format_record record = {length, 5, 6, payload};
            memset(room, 0xcc, sizeof(room));
            format_record_encode(room + shift, format_seed_base(9, 7), 4096, 1, &record);
            assert_memory_equal(room + shift + RECORD_HEADER_BYTES, payload, length);
            assert_int_equal(room[shift + format_record_bytes(length)], 0xcc);
        }
    }
}

static void test_zero_is_never_valid(void **state)
{
    (void)state;
    static const uint8_t zeros[ROOM];
    struct format_identity identity;
    struct format_seal seal;
    struct format_head head;
    struct format_record record;
    assert_int_equal(format_identity_decode(zeros, &identity), FORMAT_ZERO);
    assert_int_equal(format_seal_decode(zeros, &seal), FORMAT_ZERO);
    assert_int_equal(format_head_decode(zeros, SECTOR, &head), FORMAT_ZERO);
    assert_int_equal(format_record_decode(zeros, sizeof(zeros), 0, 0, 0, &record), FORMAT_BAD_CHECKSUM);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t seed_base = format_seed_base(draw(), draw());
        enum format_verdict verdict = format_record_decode(zeros, sizeof(zeros), seed_base, draw(), draw(), &record);
        assert_int_not_equal(verdict, FORMAT_OK);
    }
    /* One byte that is not zero: not "never written" any more. */
    uint8_t sector[SECTOR] = {0};
    sector[511] = 1;
    assert_int_equal(format_identity_decode(sector, &identity), FORMAT_BAD_MAGIC);
    assert_int_equal(format_seal_decode(sector, &seal), FORMAT_BAD_MAGIC);
    assert_int_equal(format_head_decode(sector, SECTOR, &head), FORMAT_BAD_MAGIC);
}

/* A sector that was overwritten by zeros in part. */
static void test_half_zeroed_structures_are_refused(void **state)
{
    (void)state;
    struct format_head head = sample_head(BATCH_ANCHOR);
    uint8_t whole[SECTOR] = {0};
    format_head_encode(&head, whole);
    for (size_t cut = 8; cut < head.head_bytes; cut += 8) {
        uint8_t sector[SECTOR];
        memcpy(sector, whole, SECTOR);
        memset(sector + cut, 0, SECTOR - cut);
        struct format_head found;
        enum format_verdict verdict = format_head_decode(sector, SECTOR, &found);
        assert_true(verdict != FORMAT_OK || memcmp(sector, whole, SECTOR) == 0);
    }
}

/* --- versions and features ----------------------------------------------------------------------- */

static void test_newer_major_and_unknown_features(void **state)
{
    (void)state;
    struct format_identity identity = sample_identity();
    struct format_identity found = {0};
    uint8_t sector[SECTOR];
    identity.major = FORMAT_MAJOR + 1;
    identity.block_shift = 40; /* A newer version may mean something else by any field. */
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &found), FORMAT_NEWER);
    assert_memory_equal(&found, &identity, sizeof(found));

    for (unsigned bit = 0; bit < 32; bit++) {
        identity = sample_identity();
        identity.features_must = 1u << bit;
        format_identity_encode(&identity, sector);
        memset(&found, 0, sizeof(found));
        assert_int_equal(format_identity_decode(sector, &found), FORMAT_UNKNOWN_FEATURE);
        assert_memory_equal(&found, &identity, sizeof(found));
    }

    identity = sample_identity();
    identity.minor = 65535;
    identity.features_may = UINT32_MAX;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &found), FORMAT_OK);

    identity.major = 0;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &found), FORMAT_BAD_FIELD);

    /* What a wrong checksum covers is not believed, a version least of all. */
    identity.major = FORMAT_MAJOR + 1;
    format_identity_encode(&identity, sector);
    sector[504] ^= 1;
    assert_int_equal(format_identity_decode(sector, &found), FORMAT_BAD_CHECKSUM);
}

/* --- impossible fields under a right checksum ---------------------------------------------------- */

struct forged {
    unsigned offset;
    unsigned bytes;
    uint64_t value;
};

static void test_impossible_identities(void **state)
{
    (void)state;
    static const struct forged forgeries[] = {
        {20, 1, 8},
        {20, 1, 17},
        {20, 1, 255},
        {21, 1, 0},
        {21, 1, 3},
        {22, 2, 1},
        {40, 8, 0},
        {48, 8, 0},
        {48, 8, 15 * 4096},
        {48, 8, 4096 * 20 + 512},
        {63, 2, 0x0100},
        {48, 8, FORMAT_SEGMENT_BYTES_MAX},
        {48, 8, UINT64_MAX - 4095},
        {503, 1, 1},
    };
    struct format_identity identity = sample_identity();
    for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
        uint8_t sector[SECTOR];
        struct format_identity found = {0};
        const struct format_identity untouched = {0};
        format_identity_encode(&identity, sector);
        store(sector + forgeries[i].offset, forgeries[i].bytes, forgeries[i].value);
        mend_sector(sector);
        assert_int_equal(format_identity_decode(sector, &found), FORMAT_BAD_FIELD);
        assert_memory_equal(&found, &untouched, sizeof(found));
    }
}

static void test_impossible_seals(void **state)
{
    (void)state;
    static const struct forged forgeries[] = {{24, 8, 0}, {40, 8, 0}, {112, 1, 1}, {503, 1, 0x80}};
    struct format_seal seal = sample_seal();
    for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
        uint8_t sector[SECTOR];
        struct format_seal found;
        format_seal_encode(&seal, sector);
        store(sector + forgeries[i].offset, forgeries[i].bytes, forgeries[i].value);
        mend_sector(sector);
        assert_int_equal(format_seal_decode(sector, &found), FORMAT_BAD_FIELD);
    }
}

static void assert_forged_head(enum batch_kind kind, const struct forged *forged, enum format_verdict expected)
{
    struct format_head head = sample_head(kind);
    struct format_head found;
    uint8_t sector[SECTOR] = {0};
    format_head_encode(&head, sector);
    store(sector + forged->offset, forged->bytes, forged->value);
    mend_head(sector);
    enum format_verdict verdict = format_head_decode(sector, sizeof(sector), &found);
    if (verdict != expected) {
        fail_msg("kind %u, offset %u = %llu: %s", kind, forged->offset, (unsigned long long)forged->value,
                 format_verdict_text(verdict));
    }
}

static void test_impossible_heads(void **state)
{
    (void)state;
    static const struct forged any_kind[] = {
        {12, 1, 0},      {12, 1, 7}, {12, 1, 255}, {13, 1, 8},  {13, 1, 0x80},       {16, 8, 0},          {24, 8, 0},
        {32, 4, 0},      {40, 8, 0}, {40, 8, 41},  {48, 8, 42}, {48, 8, UINT64_MAX}, {64, 8, 0},          {76, 2, 257},
        {76, 2, 0xfffe}, {78, 2, 1}, {36, 4, 0},   {36, 4, 72}, {36, 4, UINT32_MAX}, {72, 4, UINT32_MAX},
    };
    for (unsigned i = 0; i < KINDS; i++) {
        for (size_t k = 0; k < sizeof(any_kind) / sizeof(any_kind[0]); k++) {
            assert_forged_head(kinds[i], &any_kind[k], FORMAT_BAD_FIELD);
        }
    }
    /* Records where there are none, or fewer bytes than they take, or bytes without records. */
    static const enum batch_kind bare[] = {BATCH_MARK, BATCH_CLOSE, BATCH_START, BATCH_ANCHOR};
    for (unsigned i = 0; i < sizeof(bare) / sizeof(bare[0]); i++) {
        assert_forged_head(bare[i], &(struct forged){72, 4, 1}, FORMAT_BAD_FIELD);
        assert_forged_head(bare[i], &(struct forged){36, 4, 1024}, FORMAT_BAD_FIELD);
    }
    assert_forged_head(BATCH_DATA, &(struct forged){72, 4, 0}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_DATA, &(struct forged){72, 4, 3}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_DATA, &(struct forged){36, 4, 113}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_DATA, &(struct forged){36, 4, 112 + 48 + 4}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_TRUNCATE, &(struct forged){72, 4, 1}, FORMAT_BAD_FIELD);
    /* Metadata that ends in the middle of its bytes: what follows is not zero. */
    assert_forged_head(BATCH_DATA, &(struct forged){76, 2, 4}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_DATA, &(struct forged){111, 1, 1}, FORMAT_BAD_FIELD);
    /* These are right again. */
    assert_forged_head(BATCH_DATA, &(struct forged){40, 8, UINT64_MAX}, FORMAT_OK);
    assert_forged_head(BATCH_DATA, &(struct forged){76, 2, 8}, FORMAT_OK);
    assert_forged_head(BATCH_DATA, &(struct forged){48, 8, 0}, FORMAT_OK);
}

/* The length is bounded before it is used; a length of no head vouches for nothing, so its checksum is nobody's. */
static void test_head_lengths(void **state)
{
    (void)state;
    static const uint64_t out_of_bounds[] = {0, 7, 8, 72, 79, 513, 520, 4096, 65535};
    for (unsigned i = 0; i < KINDS; i++) {
        for (size_t k = 0; k < sizeof(out_of_bounds) / sizeof(out_of_bounds[0]); k++) {
            assert_forged_head(kinds[i], &(struct forged){14, 2, out_of_bounds[k]}, FORMAT_BAD_CHECKSUM);
        }
        /* In bounds, but not a multiple of 8, or longer than what is used. */
        assert_forged_head(kinds[i], &(struct forged){14, 2, 508}, FORMAT_BAD_FIELD);
        assert_forged_head(kinds[i], &(struct forged){14, 2, 512}, FORMAT_BAD_FIELD);
    }
    assert_forged_head(BATCH_DATA, &(struct forged){14, 2, 116}, FORMAT_BAD_FIELD);
    /* Too short for the control body of the kind, or for the metadata. */
    assert_forged_head(BATCH_DATA, &(struct forged){14, 2, 80}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_DATA, &(struct forged){14, 2, 104}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_TRUNCATE, &(struct forged){14, 2, 96}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_START, &(struct forged){14, 2, 88}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_ANCHOR, &(struct forged){14, 2, 176}, FORMAT_BAD_FIELD);
    assert_int_equal(format_head_bytes(BATCH_ANCHOR, FORMAT_METADATA_BYTES_MAX), 440);
    assert_int_equal(format_head_bytes(BATCH_MARK, 0), HEADER_BYTES);
    assert_int_equal(format_head_bytes(BATCH_DATA, 1), 112);
}

/* --- records that belong elsewhere --------------------------------------------------------------- */

static void test_a_record_is_valid_in_one_place_only(void **state)
{
    (void)state;
    uint8_t bytes[40];
    struct format_record record;
    encode_sample_record(bytes);
    assert_int_equal(decode_sample_record(bytes, sizeof(bytes)), FORMAT_OK);
    const struct {
        const char *what;
        uint64_t salt, segment, offset, index;
    } others[] = {
        {"another run's", SALT + 1, SEGMENT, RECORD_OFFSET, RECORD_INDEX},
        {"no salt", 0, SEGMENT, RECORD_OFFSET, RECORD_INDEX},
        {"the next segment's", SALT, SEGMENT + 1, RECORD_OFFSET, RECORD_INDEX},
        {"no segment", SALT, 0, RECORD_OFFSET, RECORD_INDEX},
        {"moved by 8 bytes", SALT, SEGMENT, RECORD_OFFSET + 8, RECORD_INDEX},
        {"moved by a sector", SALT, SEGMENT, RECORD_OFFSET - 512, RECORD_INDEX},
        {"moved by a block", SALT, SEGMENT, RECORD_OFFSET + 4096, RECORD_INDEX},
        {"the next index", SALT, SEGMENT, RECORD_OFFSET, RECORD_INDEX + 1},
        {"the index before", SALT, SEGMENT, RECORD_OFFSET, RECORD_INDEX - 1},
        {"place and index together", SALT, SEGMENT, RECORD_OFFSET + 40, RECORD_INDEX + 1},
        {"segment and index swapped", SALT, RECORD_INDEX, RECORD_OFFSET, SEGMENT},
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        uint64_t seed_base = format_seed_base(others[i].salt, others[i].segment);
        enum format_verdict verdict =
            format_record_decode(bytes, sizeof(bytes), seed_base, others[i].offset, others[i].index, &record);
        if (verdict != FORMAT_BAD_CHECKSUM) {
            fail_msg("%s: %s", others[i].what, format_verdict_text(verdict));
        }
    }
}

static void test_no_two_near_places_share_a_seed(void **state)
{
    (void)state;
    /* One payload, many neighbours: a stored checksum must never be that of another salt, segment, place or index. */
    enum { SIDE = 6, COUNT = SIDE * SIDE * SIDE * SIDE };
    static uint64_t sums[COUNT];
    uint8_t bytes[40];
    struct format_record record = sample_record("0123456789abcdef", 16);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t seed_base = format_seed_base(SALT + i % SIDE, 1 + i / SIDE % SIDE);
        format_record_encode(bytes, seed_base, 4096 + 8 * (i / (SIDE * SIDE) % SIDE), 1 + i / (SIDE * SIDE * SIDE),
                             &record);
        sums[i] = load_u64_le(bytes);
        for (uint64_t k = 0; k < i; k++) {
            assert_true(sums[k] != sums[i]);
        }
    }
}

static void test_record_lengths(void **state)
{
    (void)state;
    uint8_t bytes[40];
    encode_sample_record(bytes);
    for (uint64_t available = 0; available < sizeof(bytes); available++) {
        assert_int_equal(decode_sample_record(bytes, available), FORMAT_TRUNCATED);
    }
    assert_int_equal(decode_sample_record(bytes, UINT32_MAX), FORMAT_OK);
    static const uint32_t longer[] = {17, 4096, UINT32_MAX - 30, UINT32_MAX - 7, UINT32_MAX};
    for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
        store_u32_le(bytes + 8, longer[i]);
        assert_int_equal(decode_sample_record(bytes, sizeof(bytes)), FORMAT_TRUNCATED);
    }
}

/* Type 0 and flags under a right checksum: forged here, since the encoder refuses them. */
static void test_impossible_records(void **state)
{
    (void)state;
    static const uint64_t first_words[] = {10, 10 | (uint64_t)1 << 32 | (uint64_t)1 << 48, 10 | (uint64_t)0x8000 << 48};
    for (size_t i = 0; i < sizeof(first_words) / sizeof(first_words[0]); i++) {
        uint8_t bytes[40];
        encode_sample_record(bytes);
        store_u64_le(bytes + 8, first_words[i]);
        uint64_t seed = format_seed_base(SALT, SEGMENT) ^ (RECORD_OFFSET * 0xC2B2AE3D27D4EB4Fu);
        seed = (seed << 31 | seed >> 33) + RECORD_INDEX * 0x165667B19E3779F9u;
        seed ^= first_words[i];
        seed = (seed << 23 | seed >> 41) + 0xa1a2a3a4a5a6a7a8u * 0x9E3779B97F4A7C15u;
        store_u64_le(bytes, XXH3_64bits_withSeed(bytes + 24, 10, seed));
        assert_int_equal(decode_sample_record(bytes, sizeof(bytes)), FORMAT_BAD_FIELD);
    }
}

/* --- belonging, names, words --------------------------------------------------------------------- */

static void test_self_valid_is_segment_and_place(void **state)
{
    (void)state;
    struct format_head head = sample_head(BATCH_DATA);
    assert_true(format_head_is_self_valid(&head, SEGMENT, 2));
    assert_false(format_head_is_self_valid(&head, SEGMENT, 3));
    assert_false(format_head_is_self_valid(&head, SEGMENT + 1, 2));
    assert_false(format_head_is_self_valid(&head, SEGMENT, 2 + ((uint64_t)1 << 32)));
}

static void test_names(void **state)
{
    (void)state;
    char name[FORMAT_NAME_BYTES];
    static const uint64_t numbers[] = {1, 9, 10, 4294967296, 9999999999999999999u, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        format_segment_name(numbers[i], name);
        assert_int_equal(strlen(name), 24);
        assert_true(format_segment_of_name(name) == numbers[i]);
        assert_false(format_is_temporary_name(name));
        format_temporary_name(numbers[i], name);
        assert_true(format_is_temporary_name(name));
        assert_true(format_segment_of_name(name) == 0);
    }
    format_segment_name(1, name);
    assert_string_equal(name, "00000000000000000001.wal");
    format_temporary_name(UINT64_MAX, name);
    assert_string_equal(name, "new-18446744073709551615.tmp");
    static const char *const others[] = {
        "",
        ".",
        "..",
        "1.wal",
        "00000000000000000000.wal",
        "0000000000000000001.wal",
        "000000000000000000001.wal",
        "18446744073709551616.wal",
        "99999999999999999999.wal",
        "0000000000000000000a.wal",
        "-0000000000000000001.wal",
        " 0000000000000000001.wal",
        "+0000000000000000001.wal",
        "00000000000000000001.WAL",
        "00000000000000000001.wal~",
        "00000000000000000001.wa",
        "00000000000000000001",
        "x0000000000000000001.wal",
        "lock",
        "LOCK.wal",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_true(format_segment_of_name(others[i]) == 0);
        assert_false(format_is_temporary_name(others[i]));
    }
    assert_false(format_is_temporary_name("new-00000000000000000000.tmp"));
    assert_false(format_is_temporary_name("new-0000000000000000001.tmp"));
    assert_false(format_is_temporary_name("new-00000000000000000001.tmp2"));
    assert_false(format_is_temporary_name("old-00000000000000000001.tmp"));
}

static void test_each_verdict_has_its_word(void **state)
{
    (void)state;
    for (int a = FORMAT_OK; a <= FORMAT_TRUNCATED; a++) {
        for (int b = FORMAT_OK; b < a; b++) {
            assert_string_not_equal(format_verdict_text((enum format_verdict)a),
                                    format_verdict_text((enum format_verdict)b));
        }
    }
    assert_non_null(format_verdict_text((enum format_verdict)99));
}

/* --- no decoder looks further than it may -------------------------------------------------------- */

static void test_nothing_behind_the_end_is_read(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    uint8_t *end = pages + page;
    struct format_record record;
    uint8_t bytes[40];
    encode_sample_record(bytes);
    for (uint32_t size = 0; size <= sizeof(bytes); size++) {
        memcpy(end - size, bytes, size);
        enum format_verdict expected = size == sizeof(bytes) ? FORMAT_OK : FORMAT_TRUNCATED;
        assert_int_equal(decode_sample_record(end - size, size), expected);
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t size = draw() % 200;
        for (uint64_t k = 0; k < size; k++) {
            *(end - size + k) = draw() % 3 == 0 ? 0 : (uint8_t)draw();
        }
        if (size >= 12) {
            store_u32_le(end - size + 8, (uint32_t)(draw() % 256));
        }
        (void)format_record_decode(end - size, size, draw(), draw(), draw(), &record);
    }
    struct format_head head;
    for (uint32_t head_bytes = 0; head_bytes <= 65535; head_bytes += (uint32_t)(draw() % 32) + 1) {
        memset(end - SECTOR, 0xa5, SECTOR);
        memcpy(end - SECTOR + 8, "WBCH", 4);
        store_u16_le(end - SECTOR + 14, (uint16_t)head_bytes);
        mend_head(end - SECTOR);
        enum format_verdict verdict = format_head_decode(end - SECTOR, SECTOR, &head);
        bool bounded = head_bytes >= HEADER_BYTES && head_bytes <= FORMAT_HEAD_BYTES_MAX;
        assert_int_equal(verdict, bounded ? FORMAT_BAD_FIELD : FORMAT_BAD_CHECKSUM);
    }
    assert_int_equal(munmap(pages, 2 * page), 0);
}

/* --- the writer asserts what the reader checks --------------------------------------------------- */

/* Does encoding this head stop the program? */
static bool encoding_stops(const struct format_head *head)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)!freopen("/dev/null", "w", stderr);
        struct format_head copy = *head;
        uint8_t sector[1 << 16];
        format_head_encode(&copy, sector);
        _exit(0);
    }
    int status = 0;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_the_encoder_refuses_what_the_decoder_refuses(void **state)
{
    (void)state;
    struct format_head right = sample_head(BATCH_DATA);
    assert_false(encoding_stops(&right));
    struct format_head wrong[10];
    for (unsigned i = 0; i < 10; i++) {
        wrong[i] = right;
    }
    wrong[0].kind = 7;
    wrong[1].flags = 8;
    wrong[2].head_bytes = 104; /* No room for the metadata. */
    wrong[3].used_bytes = right.head_bytes - 8u;
    wrong[4].number = right.mark;
    wrong[5].salt = 0;
    wrong[6].segment = 0;
    wrong[7].place = 0;
    wrong[8].first_index = 0;
    wrong[9].kind = BATCH_MARK; /* With records. */
    for (unsigned i = 0; i < 10; i++) {
        if (!encoding_stops(&wrong[i])) {
            fail_msg("wrong head %u was encoded", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_identity),
        cmocka_unit_test(test_golden_seal),
        cmocka_unit_test(test_golden_heads),
        cmocka_unit_test(test_golden_record),
        cmocka_unit_test(test_identity_round_trip),
        cmocka_unit_test(test_seal_round_trip),
        cmocka_unit_test(test_heads_round_trip),
        cmocka_unit_test(test_records_round_trip),
        cmocka_unit_test(test_record_seed_is_that_of_the_page),
        cmocka_unit_test(test_no_flipped_bit_passes_in_identity_and_seal),
        cmocka_unit_test(test_no_flipped_bit_passes_in_a_head),
        cmocka_unit_test(test_no_flipped_bit_passes_in_a_record),
        cmocka_unit_test(test_wide_and_plain_hashes_agree),
        cmocka_unit_test(test_large_payloads_arrive_whole),
        cmocka_unit_test(test_zero_is_never_valid),
        cmocka_unit_test(test_half_zeroed_structures_are_refused),
        cmocka_unit_test(test_newer_major_and_unknown_features),
        cmocka_unit_test(test_impossible_identities),
        cmocka_unit_test(test_impossible_seals),
        cmocka_unit_test(test_impossible_heads),
        cmocka_unit_test(test_head_lengths),
        cmocka_unit_test(test_a_record_is_valid_in_one_place_only),
        cmocka_unit_test(test_no_two_near_places_share_a_seed),
        cmocka_unit_test(test_record_lengths),
        cmocka_unit_test(test_impossible_records),
        cmocka_unit_test(test_self_valid_is_segment_and_place),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_each_verdict_has_its_word),
        cmocka_unit_test(test_nothing_behind_the_end_is_read),
        cmocka_unit_test(test_the_encoder_refuses_what_the_decoder_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
