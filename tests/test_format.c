/* test_format.c - every byte on disk: what is written reads back, what was changed or never written does not.
 *
 *   - round trips, by hand and by the thousand;
 *   - golden bytes: the format of version 1.0 in hex, so that it cannot drift unnoticed;
 *   - every single bit flipped: refused, or in space of which FORMAT.md says that nobody looks at it;
 *   - zeros, whole and in part;
 *   - names of files, words of verdicts.
 *
 * What is wrong under a right checksum, or right and somewhere else, is in test_format_forged.c. Offsets stand here as
 * numbers on purpose: they are those of FORMAT.md, not those of format.c. */

#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/format_fixture.h"
#include "wal/bytes.h"
#include "wal/hash.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = 1024 };

static void flip(uint8_t *bytes, size_t bit)
{
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
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

/* Fields, zeros up to the checksum, and the checksum. */
static void assert_sector(const uint8_t *sector, size_t field_bytes, const char *fields, const char *checksum)
{
    assert_bytes(sector, field_bytes, fields);
    assert_true(all_zero(sector + field_bytes, 504 - field_bytes));
    assert_bytes(sector + 504, 8, checksum);
}

static void test_golden_identity(void **state)
{
    (void)state;
    struct format_identity identity = example_identity();
    uint8_t sector[SECTOR];
    memset(sector, 0xff, sizeof(sector));
    format_identity_encode(&identity, sector);
    assert_sector(sector, 64,
                  "57414c5345474d310100000000000000010000800c0100000102030405060708090a0b0c0d0e0f100300000000000000"
                  "00001000000000000000010002000000",
                  "be2a2facb87b39aa");
}

static void test_golden_seal(void **state)
{
    (void)state;
    struct format_seal seal = example_seal();
    uint8_t sector[SECTOR];
    memset(sector, 0xff, sizeof(sector));
    format_seal_encode(&seal, sector);
    assert_sector(sector, 112,
                  "57414c5345414c310102030405060708090a0b0c0d0e0f100300000000000000efcdab89674523014d00000000000000"
                  "1032547698badcfe004000000000000000500000000000008403000000000000ea030000000000008303000000000000"
                  "680000000000000000f00f0000000000",
                  "6ddfc543dbfb49bb");
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
        struct format_head head = example_head(kinds[i]);
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
    encode_example_record(bytes);
    assert_bytes(bytes, 40, "6406fdfda9ea63aa0a00000002010000a8a7a6a5a4a3a2a168656c6c6f2c206c6f67000000000000");
}

/* --- round trips --------------------------------------------------------------------------------- */

static void test_identity_round_trip(void **state)
{
    (void)state;
    struct format_identity identity = example_identity();
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
    struct format_seal seal = example_seal();
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
        struct format_head head = example_head(kind);
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
        head.mark = draw() >> (1 + draw() % 63);
        head.mark -= head.mark == FORMAT_NUMBER_MAX;
        head.number = head.mark + 1 + draw() % (FORMAT_NUMBER_MAX - head.mark);
        head.salt = draw() | 1;
        head.first_index = (draw() | 1) >> 2 | 1;
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
        struct format_record record = example_record(lengths[i] != 0 ? payload : NULL, lengths[i]);
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
    encode_example_record(bytes);
    uint64_t base = SALT + SEGMENT * 0x9E3779B97F4A7C15u;
    uint64_t seed = (base << 29 | base >> 35) ^ (RECORD_OFFSET * 0xC2B2AE3D27D4EB4Fu);
    seed = (seed << 31 | seed >> 33) + RECORD_INDEX * 0x165667B19E3779F9u;
    seed ^= 10 + ((uint64_t)0x0102 << 32);
    seed = (seed << 23 | seed >> 41) + 0xa1a2a3a4a5a6a7a8u * 0x9E3779B97F4A7C15u;
    assert_true(load_u64_le(bytes) == XXH3_64bits_withSeed("hello, log", 10, seed));
}

/* --- every bit flipped --------------------------------------------------------------------------- */

static enum format_verdict verdict_of_identity(const uint8_t *sector)
{
    struct format_identity identity;
    return format_identity_decode(sector, &identity);
}

static enum format_verdict verdict_of_seal(const uint8_t *sector)
{
    struct format_seal seal;
    return format_seal_decode(sector, &seal);
}

static void no_flipped_bit_passes(uint8_t *sector, enum format_verdict (*verdict_of)(const uint8_t *sector))
{
    for (size_t bit = 0; bit < SECTOR * 8; bit++) {
        flip(sector, bit);
        enum format_verdict expected = bit < 64 ? FORMAT_BAD_MAGIC : FORMAT_BAD_CHECKSUM;
        assert_int_equal(verdict_of(sector), expected);
        flip(sector, bit);
    }
}

static void test_no_flipped_bit_passes_in_identity_and_seal(void **state)
{
    (void)state;
    struct format_identity identity = example_identity();
    struct format_seal seal = example_seal();
    uint8_t sector[SECTOR];
    format_identity_encode(&identity, sector);
    no_flipped_bit_passes(sector, verdict_of_identity);
    format_seal_encode(&seal, sector);
    no_flipped_bit_passes(sector, verdict_of_seal);
}

static void test_no_flipped_bit_passes_in_a_head(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        struct format_head head = example_head(kinds[i]);
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
        struct format_record record = example_record(payload, lengths[i]);
        uint64_t size = format_record_bytes(lengths[i]);
        format_record_encode(bytes, format_seed_base(SALT, SEGMENT), RECORD_OFFSET, RECORD_INDEX, &record);
        for (size_t bit = 0; bit < size * 8; bit++) {
            flip(bytes, bit);
            enum format_verdict verdict = decode_example_record(bytes, size);
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
    static uint8_t bytes[70000], copy[70000];
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    for (size_t size = 0; size < sizeof(bytes) - 8; size += size < 2100 ? 1 : 997) {
        const uint8_t *from = bytes + size % 8;
        assert_true(hash_long(from, size, size) == hash_plain(from, size, size));
        copy[size] = 0xcc;
        assert_true(hash_and_copy(copy, from, size, size) == hash_plain(from, size, size));
        assert_memory_equal(copy, from, size);
        assert_int_equal(copy[size], 0xcc);
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
    struct format_head head = example_head(BATCH_ANCHOR);
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

/* --- belonging, names, words --------------------------------------------------------------------- */

static void test_self_valid_is_segment_and_place(void **state)
{
    (void)state;
    struct format_head head = example_head(BATCH_DATA);
    assert_true(format_head_is_self_valid(&head, SEGMENT, 2));
    assert_false(format_head_is_self_valid(&head, SEGMENT, 3));
    assert_false(format_head_is_self_valid(&head, SEGMENT + 1, 2));
    assert_false(format_head_is_self_valid(&head, SEGMENT, 2 + ((uint64_t)1 << 32)));
}

static void test_names(void **state)
{
    (void)state;
    char name[FORMAT_NAME_BYTES];
    static const uint64_t numbers[] = {1, 9, 10, 4294967296, 999999999999999999u, FORMAT_NUMBER_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        format_segment_name(numbers[i], name);
        assert_int_equal(strlen(name), 24);
        assert_true(format_segment_of_name(name) == numbers[i]);
        assert_false(format_is_temporary_name(name));
        format_temporary_name(numbers[i], name);
        assert_true(format_is_temporary_name(name));
        assert_true(format_segment_of_name(name) == 0);
    }
    format_segment_name(FORMAT_NUMBER_MAX + 1, name);
    assert_true(format_segment_of_name(name) == 0);
    format_segment_name(UINT64_MAX, name);
    assert_true(format_segment_of_name(name) == 0);
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
        cmocka_unit_test(test_self_valid_is_segment_and_place),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_each_verdict_has_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
