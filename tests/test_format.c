/* test_format.c - the format, to the bit: round trips, every flipped bit, every way to be out of place, and bytes that
 * never change. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "wal/bytes.h"
#include "wal/format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define HEAD_SEED 0x77616c2d68656164u

static struct format_identity sample_identity(void)
{
    struct format_identity identity = {.major = 1,
                                       .block_shift = 12,
                                       .prefill = PREFILL_ZEROED,
                                       .segment = 7,
                                       .segment_bytes = 64 << 20,
                                       .batch_bytes_max = 2 << 20,
                                       .batches_in_flight_max = 1};
    memset(identity.uuid, 0xab, sizeof(identity.uuid));
    return identity;
}

static struct format_head sample_head(enum batch_kind kind)
{
    bool data = kind == BATCH_DATA || kind == BATCH_TRUNCATE;
    struct format_head head = {.kind = (uint8_t)kind,
                               .head_bytes = (uint16_t)format_head_bytes(kind, 16),
                               .salt = 0x1122334455667788,
                               .segment = 7,
                               .place = 3,
                               .number = 20,
                               .mark = 18,
                               .chain = 0xc0ffee,
                               .first_index = 100,
                               .record_count = data ? 2 : 0,
                               .metadata_bytes = 11};
    head.used_bytes = head.head_bytes + (data ? 2 * (uint32_t)format_record_bytes(10) : 0);
    memcpy(head.metadata, "hello world", 11);
    if (data) {
        head.body.tags = (struct format_tags){4, 5, 6};
    } else if (kind == BATCH_START) {
        head.body.start = (struct format_start){90, 5};
    } else if (kind == BATCH_ANCHOR) {
        head.body.anchor = (struct format_anchor){.predecessor_segment = 6,
                                                  .predecessor_end_offset = 8192,
                                                  .predecessor_last_offset = 4096,
                                                  .start = {90, 5},
                                                  .low = 80,
                                                  .doubt_index = 95,
                                                  .cut_offset = 12288,
                                                  .cut_first_index = 100,
                                                  .cut_records = 3,
                                                  .cut_reason = 11,
                                                  .last_tag = 6};
        memset(head.body.anchor.uuid, 0xab, FORMAT_UUID_BYTES);
    }
    return head;
}

static struct format_seal sample_seal(void)
{
    struct format_seal seal = {.segment = 7,
                               .salt = 9,
                               .last_number = 40,
                               .last_checksum = 77,
                               .last_offset = 4096,
                               .end_offset = 8192,
                               .opening_index = 100,
                               .last_index = 140,
                               .low = 90,
                               .record_count = 41,
                               .own_offset = (64 << 20) - 4096};
    memset(seal.uuid, 0xab, sizeof(seal.uuid));
    return seal;
}

static void test_identity_round_trip_and_every_flipped_bit(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES];
    struct format_identity identity = sample_identity();
    struct format_identity read;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &read), FORMAT_OK);
    assert_memory_equal(&read, &identity, sizeof(read));
    for (unsigned bit = 0; bit < 8 * FORMAT_SECTOR_BYTES; bit++) {
        sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(format_identity_decode(sector, &read), FORMAT_OK);
        sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_heads_round_trip_and_every_flipped_bit(void **state)
{
    (void)state;
    for (int kind = BATCH_DATA; kind <= BATCH_ANCHOR; kind++) {
        uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
        struct format_head head = sample_head((enum batch_kind)kind);
        struct format_head read;
        format_head_encode(&head, sector);
        assert_int_equal(format_head_decode(sector, sizeof(sector), &read), FORMAT_OK);
        assert_memory_equal(&read, &head, sizeof(read));
        for (unsigned bit = 0; bit < 8u * head.head_bytes; bit++) {
            sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_not_equal(format_head_decode(sector, sizeof(sector), &read), FORMAT_OK);
            sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        sector[head.head_bytes] ^= 1; /* Behind the head: no part of it. */
        assert_int_equal(format_head_decode(sector, sizeof(sector), &read), FORMAT_OK);
    }
}

static void test_seal_round_trip_and_every_flipped_bit(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES];
    struct format_seal seal = sample_seal();
    struct format_seal read;
    format_seal_encode(&seal, sector);
    assert_int_equal(format_seal_decode(sector, &read), FORMAT_OK);
    assert_memory_equal(&read, &seal, sizeof(read));
    for (unsigned bit = 0; bit < 8 * FORMAT_SECTOR_BYTES; bit++) {
        sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(format_seal_decode(sector, &read), FORMAT_OK);
        sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_records_of_every_size_and_every_flipped_bit(void **state)
{
    (void)state;
    static uint8_t payload[700];
    static uint8_t bytes[800];
    for (unsigned i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    const uint32_t lengths[] = {0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 600};
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct format_record record = {lengths[i], 5, 0x1234567890, payload};
        struct format_record read;
        uint64_t size = format_record_bytes(lengths[i]);
        format_record_encode(bytes, format_seed_base(9, 7), 4200, 31, &record);
        assert_int_equal(format_record_decode(bytes, size, format_seed_base(9, 7), 4200, 31, &read), FORMAT_OK);
        assert_int_equal(read.length, lengths[i]);
        assert_int_equal(read.tag, record.tag);
        assert_memory_equal(read.payload, payload, lengths[i]);
        assert_true(all_zero(bytes + RECORD_HEADER_BYTES + lengths[i], size - RECORD_HEADER_BYTES - lengths[i]));
        for (unsigned bit = 0; bit < 8 * (RECORD_HEADER_BYTES + lengths[i]); bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_not_equal(format_record_decode(bytes, size, format_seed_base(9, 7), 4200, 31, &read), FORMAT_OK);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void test_a_record_is_valid_in_its_own_place_only(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct format_record record = {8, 5, 6, (const uint8_t *)"payload!"};
    struct format_record read;
    format_record_encode(bytes, format_seed_base(9, 7), 4200, 31, &record);
    assert_int_equal(format_record_decode(bytes, 32, format_seed_base(8, 7), 4200, 31, &read), FORMAT_BAD_CHECKSUM);
    assert_int_equal(format_record_decode(bytes, 32, format_seed_base(9, 8), 4200, 31, &read), FORMAT_BAD_CHECKSUM);
    assert_int_equal(format_record_decode(bytes, 32, format_seed_base(9, 7), 4208, 31, &read), FORMAT_BAD_CHECKSUM);
    assert_int_equal(format_record_decode(bytes, 32, format_seed_base(9, 7), 4200, 32, &read), FORMAT_BAD_CHECKSUM);
    assert_int_equal(format_record_decode(bytes, 31, format_seed_base(9, 7), 4200, 31, &read), FORMAT_TRUNCATED);
    assert_int_equal(format_record_decode(bytes, 23, format_seed_base(9, 7), 4200, 31, &read), FORMAT_TRUNCATED);
    assert_int_equal(format_record_decode(bytes, 32, format_seed_base(9, 7), 4200, 31, &read), FORMAT_OK);
}

static void test_zero_is_never_valid(void **state)
{
    (void)state;
    static const uint8_t zeros[1024];
    struct format_identity identity;
    struct format_head head;
    struct format_seal seal;
    struct format_record record;
    assert_int_equal(format_identity_decode(zeros, &identity), FORMAT_ZERO);
    assert_int_equal(format_head_decode(zeros, 512, &head), FORMAT_ZERO);
    assert_int_equal(format_seal_decode(zeros, &seal), FORMAT_ZERO);
    for (uint64_t index = 1; index < 1000; index++) {
        assert_int_not_equal(format_record_decode(zeros, 512, format_seed_base(index, 1), 0, index, &record),
                             FORMAT_OK);
    }
}

/* Puts the checksum of a changed head right. */
static void mend_head(uint8_t *sector)
{
    store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, load_u16_le(sector + 14) - 8u, HEAD_SEED));
}

static void test_fields_that_no_writer_writes(void **state)
{
    (void)state;
    struct format_head head = sample_head(BATCH_DATA);
    struct format_head read;
    uint8_t good[FORMAT_SECTOR_BYTES] = {0};
    format_head_encode(&head, good);
    const struct {
        unsigned offset;
        uint8_t value;
    } forged[] = {{12, 0},  {12, 7}, {13, 8},   {36, 8},   {36, 255}, {40, 0},
                  {48, 20}, {32, 0}, {72, 200}, {76, 200}, {78, 1}};
    for (unsigned i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
        uint8_t sector[FORMAT_SECTOR_BYTES];
        memcpy(sector, good, sizeof(sector));
        sector[forged[i].offset] = forged[i].value;
        mend_head(sector);
        assert_int_equal(format_head_decode(sector, sizeof(sector), &read), FORMAT_BAD_FIELD);
    }
    uint8_t sector[FORMAT_SECTOR_BYTES];
    memcpy(sector, good, sizeof(sector));
    store_u16_le(sector + 14, 520); /* A length out of bounds is not believed, whatever the checksum. */
    assert_int_equal(format_head_decode(sector, sizeof(sector), &read), FORMAT_BAD_CHECKSUM);
}

static void test_newer_formats_and_unknown_features(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES];
    struct format_identity identity = sample_identity();
    struct format_identity read;
    identity.major = 2;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &read), FORMAT_NEWER);
    assert_int_equal(read.major, 2);
    identity.major = 1;
    identity.minor = 9;
    identity.features_may = 0xffff;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &read), FORMAT_OK);
    identity.features_must = 4;
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &read), FORMAT_UNKNOWN_FEATURE);
}

static void test_self_valid_means_own_segment_and_place(void **state)
{
    (void)state;
    struct format_head head = sample_head(BATCH_DATA);
    assert_true(format_head_is_self_valid(&head, 7, 3));
    assert_false(format_head_is_self_valid(&head, 8, 3));
    assert_false(format_head_is_self_valid(&head, 7, 4));
}

static void test_names(void **state)
{
    (void)state;
    char name[FORMAT_NAME_BYTES];
    format_segment_name(42, name);
    assert_string_equal(name, "00000000000000000042.wal");
    assert_int_equal(format_segment_of_name(name), 42);
    format_segment_name(UINT64_MAX, name);
    assert_true(format_segment_of_name(name) == UINT64_MAX);
    static const char *const wrong[] = {"",
                                        "42.wal",
                                        "00000000000000000000.wal",
                                        "0000000000000000004x.wal",
                                        "99999999999999999999.wal",
                                        "00000000000000000042.wal~",
                                        "00000000000000000042.WAL",
                                        "+0000000000000000042.wal"};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(format_segment_of_name(wrong[i]), 0);
    }
    format_temporary_name(42, name);
    assert_true(format_is_temporary_name(name));
    assert_int_equal(format_segment_of_name(name), 0);
    assert_false(format_is_temporary_name("new-x.tmp"));
}

/* The bytes themselves: if one of these changes, the format has changed, and old logs do not read. */
static void test_bytes_that_never_change(void **state)
{
    (void)state;
    uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
    struct format_identity identity = sample_identity();
    format_identity_encode(&identity, sector);
    assert_int_equal(load_u64_le(sector + 504), 0x89d89cacba0e7098);
    struct format_seal seal = sample_seal();
    format_seal_encode(&seal, sector);
    assert_int_equal(load_u64_le(sector + 504), 0x29d6e5db5a1ca7c0);
    static const uint64_t heads[] = {0x639bde77d02b737b, 0x6f7c973cf4691143, 0xfe07379f7bfc279f,
                                     0x1bdfb4ae73c4cc5b, 0xc9931c3bcf5fcb06, 0xc5de9b17265aabd6};
    for (int kind = BATCH_DATA; kind <= BATCH_ANCHOR; kind++) {
        struct format_head head = sample_head((enum batch_kind)kind);
        format_head_encode(&head, sector);
        assert_int_equal(head.checksum, heads[kind - BATCH_DATA]);
    }
    uint8_t bytes[64];
    struct format_record record = {8, 5, 6, (const uint8_t *)"payload!"};
    format_record_encode(bytes, format_seed_base(9, 7), 4200, 31, &record);
    assert_int_equal(load_u64_le(bytes), 0x2aa785a59d378f9b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_round_trip_and_every_flipped_bit),
        cmocka_unit_test(test_heads_round_trip_and_every_flipped_bit),
        cmocka_unit_test(test_seal_round_trip_and_every_flipped_bit),
        cmocka_unit_test(test_records_of_every_size_and_every_flipped_bit),
        cmocka_unit_test(test_a_record_is_valid_in_its_own_place_only),
        cmocka_unit_test(test_zero_is_never_valid),
        cmocka_unit_test(test_fields_that_no_writer_writes),
        cmocka_unit_test(test_newer_formats_and_unknown_features),
        cmocka_unit_test(test_self_valid_means_own_segment_and_place),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bytes_that_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
