/* test_format_forged.c - what no writer of ours has written: fields that are impossible under a right checksum, newer
 * versions, batches and records that belong elsewhere.
 *
 *   - newer versions and unknown features are told as such, and only under a right checksum;
 *   - fields that no writer writes, one by one, in identities, seals, heads and records;
 *   - other salts, places, indexes and segments: a record is valid in one place only;
 *   - an unreadable page behind every input: no decoder looks further than it may;
 *   - the writer asserts what the reader checks.
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

#include "tests/format_fixture.h"
#include "wal/bytes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void store(uint8_t *to, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
}

/* --- versions and features ----------------------------------------------------------------------- */

static void test_newer_major_and_unknown_features(void **state)
{
    (void)state;
    struct format_identity identity = example_identity();
    struct format_identity found = {0};
    uint8_t sector[SECTOR];
    identity.major = FORMAT_MAJOR + 1;
    identity.block_shift = 40; /* A newer version may mean something else by any field. */
    format_identity_encode(&identity, sector);
    assert_int_equal(format_identity_decode(sector, &found), FORMAT_NEWER);
    assert_memory_equal(&found, &identity, sizeof(found));

    for (unsigned bit = 0; bit < 32; bit++) {
        identity = example_identity();
        identity.features_must = 1u << bit;
        format_identity_encode(&identity, sector);
        memset(&found, 0, sizeof(found));
        assert_int_equal(format_identity_decode(sector, &found), FORMAT_UNKNOWN_FEATURE);
        assert_memory_equal(&found, &identity, sizeof(found));
    }

    identity = example_identity();
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
        {40, 8, FORMAT_NUMBER_MAX + 1},
        {40, 8, UINT64_MAX},
        {48, 8, 0},
        {48, 8, 15 * 4096},
        {48, 8, 4096 * 20 + 512},
        {63, 2, 0x0100},
        {48, 8, FORMAT_SEGMENT_BYTES_MAX},
        {48, 8, UINT64_MAX - 4095},
        {503, 1, 1},
    };
    struct format_identity identity = example_identity();
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
    static const struct forged forgeries[] = {
        {24, 8, 0},          {24, 8, UINT64_MAX}, {40, 8, 0},     {40, 8, FORMAT_NUMBER_MAX + 1},
        {40, 8, UINT64_MAX}, {112, 1, 1},         {503, 1, 0x80},
    };
    struct format_seal seal = example_seal();
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
    struct format_head head = example_head(kind);
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
    static const struct forged at_the_end[] = {
        {24, 8, FORMAT_NUMBER_MAX + 1}, {24, 8, UINT64_MAX},     {40, 8, FORMAT_NUMBER_MAX + 1},
        {40, 8, UINT64_MAX - 1},        {64, 8, UINT64_MAX - 1}, {64, 8, FORMAT_INDEX_MAX + 2},
    };
    for (unsigned i = 0; i < KINDS; i++) {
        for (size_t k = 0; k < sizeof(at_the_end) / sizeof(at_the_end[0]); k++) {
            assert_forged_head(kinds[i], &at_the_end[k], FORMAT_BAD_FIELD);
        }
    }
    assert_forged_head(BATCH_START, &(struct forged){80, 8, FORMAT_INDEX_MAX + 2}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_ANCHOR, &(struct forged){120, 8, FORMAT_INDEX_MAX + 2}, FORMAT_BAD_FIELD);
    assert_forged_head(BATCH_ANCHOR, &(struct forged){120, 8, FORMAT_INDEX_MAX + 1}, FORMAT_OK);
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
    assert_forged_head(BATCH_DATA, &(struct forged){40, 8, FORMAT_NUMBER_MAX}, FORMAT_OK);
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
    encode_example_record(bytes);
    assert_int_equal(decode_example_record(bytes, sizeof(bytes)), FORMAT_OK);
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
    struct format_record record = example_record("0123456789abcdef", 16);
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
    encode_example_record(bytes);
    for (uint64_t available = 0; available < sizeof(bytes); available++) {
        assert_int_equal(decode_example_record(bytes, available), FORMAT_TRUNCATED);
    }
    assert_int_equal(decode_example_record(bytes, UINT32_MAX), FORMAT_OK);
    static const uint32_t longer[] = {17, 4096, UINT32_MAX - 30, UINT32_MAX - 7, UINT32_MAX};
    for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
        store_u32_le(bytes + 8, longer[i]);
        assert_int_equal(decode_example_record(bytes, sizeof(bytes)), FORMAT_TRUNCATED);
    }
}

/* Type 0 and flags under a right checksum: forged here, since the encoder refuses them. */
static void test_impossible_records(void **state)
{
    (void)state;
    static const uint64_t first_words[] = {10, 10 | (uint64_t)1 << 32 | (uint64_t)1 << 48, 10 | (uint64_t)0x8000 << 48};
    for (size_t i = 0; i < sizeof(first_words) / sizeof(first_words[0]); i++) {
        uint8_t bytes[40];
        encode_example_record(bytes);
        store_u64_le(bytes + 8, first_words[i]);
        uint64_t seed = format_seed_base(SALT, SEGMENT) ^ (RECORD_OFFSET * 0xC2B2AE3D27D4EB4Fu);
        seed = (seed << 31 | seed >> 33) + RECORD_INDEX * 0x165667B19E3779F9u;
        seed ^= first_words[i];
        seed = (seed << 23 | seed >> 41) + 0xa1a2a3a4a5a6a7a8u * 0x9E3779B97F4A7C15u;
        store_u64_le(bytes, XXH3_64bits_withSeed(bytes + 24, 10, seed));
        assert_int_equal(decode_example_record(bytes, sizeof(bytes)), FORMAT_BAD_FIELD);
    }
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
    encode_example_record(bytes);
    for (uint32_t size = 0; size <= sizeof(bytes); size++) {
        memcpy(end - size, bytes, size);
        enum format_verdict expected = size == sizeof(bytes) ? FORMAT_OK : FORMAT_TRUNCATED;
        assert_int_equal(decode_example_record(end - size, size), expected);
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
    struct format_head right = example_head(BATCH_DATA);
    assert_false(encoding_stops(&right));
    struct format_head wrong[13];
    for (unsigned i = 0; i < 13; i++) {
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
    wrong[10].first_index = FORMAT_INDEX_MAX;
    wrong[10].record_count = 2;
    wrong[11].number = FORMAT_NUMBER_MAX + 1;
    wrong[12].segment = FORMAT_NUMBER_MAX + 1;
    for (unsigned i = 0; i < 13; i++) {
        if (!encoding_stops(&wrong[i])) {
            fail_msg("wrong head %u was encoded", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newer_major_and_unknown_features),
        cmocka_unit_test(test_impossible_identities),
        cmocka_unit_test(test_impossible_seals),
        cmocka_unit_test(test_impossible_heads),
        cmocka_unit_test(test_head_lengths),
        cmocka_unit_test(test_a_record_is_valid_in_one_place_only),
        cmocka_unit_test(test_no_two_near_places_share_a_seed),
        cmocka_unit_test(test_record_lengths),
        cmocka_unit_test(test_impossible_records),
        cmocka_unit_test(test_nothing_behind_the_end_is_read),
        cmocka_unit_test(test_the_encoder_refuses_what_the_decoder_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
