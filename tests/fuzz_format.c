/* fuzz_format.c - any bytes into every decoder: no crash, no read behind what was given, and what decodes as right
 * encodes to the same bytes.
 *
 * Byte 0 chooses the decoder; its top bit asks for the checksum to be put right first, so that the fields behind it are
 * reached. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/fuzz.h"
#include "wal/bytes.h"
#include "wal/check.h"
#include "wal/format.h"

#define HEAD_SEED 0x77616c2d68656164u

static void fuzz_identity(uint8_t *sector, bool mend)
{
    struct format_identity identity;
    uint8_t again[FORMAT_SECTOR_BYTES];
    if (mend) {
        memcpy(sector, "WALSEGM1", 8);
        store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
    }
    if (format_identity_decode(sector, &identity) == FORMAT_OK) {
        format_identity_encode(&identity, again);
        CHECK(memcmp(again, sector, sizeof(again)) == 0);
    }
}

static void fuzz_seal(uint8_t *sector, bool mend)
{
    struct format_seal seal;
    uint8_t again[FORMAT_SECTOR_BYTES];
    if (mend) {
        memcpy(sector, "WALSEAL1", 8);
        store_u64_le(sector + 504, XXH3_64bits_withSeed(sector, 504, HEAD_SEED));
    }
    if (format_seal_decode(sector, &seal) == FORMAT_OK) {
        format_seal_encode(&seal, again);
        CHECK(memcmp(again, sector, sizeof(again)) == 0);
    }
}

static void fuzz_head(uint8_t *sector, bool mend)
{
    struct format_head head;
    uint8_t again[FORMAT_SECTOR_BYTES];
    if (mend) {
        store_u32_le(sector + 8, 0x48434257);
        uint32_t head_bytes = load_u16_le(sector + 14);
        if (head_bytes >= HEADER_BYTES && head_bytes <= FORMAT_HEAD_BYTES_MAX) {
            store_u64_le(sector, XXH3_64bits_withSeed(sector + 8, head_bytes - 8, HEAD_SEED));
        }
    }
    if (format_head_decode(sector, FORMAT_SECTOR_BYTES, &head) == FORMAT_OK) {
        struct format_head copy = head;
        format_head_encode(&copy, again);
        CHECK(memcmp(again, sector, head.head_bytes) == 0);
        CHECK(copy.checksum == head.checksum);
        CHECK(format_batch_padded_bytes(&head, 4096) >= head.used_bytes);
    }
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* The checksum of FORMAT.md section 4, of a record whose length fits. */
static void mend_record(uint8_t *bytes, size_t size, uint64_t seed_base)
{
    uint32_t length = size >= RECORD_HEADER_BYTES ? load_u32_le(bytes + 8) : UINT32_MAX;
    if (format_record_bytes(length) <= size) {
        uint64_t seed = rotate_left(seed_base ^ (4096 * 0xC2B2AE3D27D4EB4Fu), 31) + 11 * 0x165667B19E3779F9u;
        seed = rotate_left(seed ^ load_u64_le(bytes + 8), 23) + load_u64_le(bytes + 16) * 0x9E3779B97F4A7C15u;
        store_u64_le(bytes, XXH3_64bits_withSeed(bytes + RECORD_HEADER_BYTES, length, seed));
    }
}

/* The rest of the input is the record's room, to the byte. */
static void fuzz_record(const uint8_t *input, size_t size, bool mend)
{
    struct format_record record;
    uint64_t seed_base = format_seed_base(7, 3);
    uint8_t *bytes = malloc(size != 0 ? size : 1);
    CHECK(bytes != NULL);
    memcpy(bytes, input, size);
    if (mend) {
        mend_record(bytes, size, seed_base);
    }
    enum format_verdict verdict = format_record_decode(bytes, size, seed_base, 4096, 11, &record);
    CHECK(!mend || verdict != FORMAT_BAD_CHECKSUM);
    if (verdict == FORMAT_OK) {
        uint8_t *again = malloc(format_record_bytes(record.length));
        CHECK(again != NULL);
        format_record_encode(again, seed_base, 4096, 11, &record);
        CHECK(memcmp(again, bytes, RECORD_HEADER_BYTES + record.length) == 0);
        free(again);
    }
    free(bytes);
}

static void fuzz_names(const uint8_t *bytes, size_t size)
{
    char name[64] = "";
    memcpy(name, bytes, size < sizeof(name) - 1 ? size : sizeof(name) - 1);
    uint64_t number = format_segment_of_name(name);
    if (number != 0) {
        char again[FORMAT_NAME_BYTES];
        format_segment_name(number, again);
        CHECK(strcmp(again, name) == 0);
    }
    (void)format_is_temporary_name(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t sector[FORMAT_SECTOR_BYTES] = {0};
    size_t rest = size - 1;
    memcpy(sector, data + 1, rest < sizeof(sector) ? rest : sizeof(sector));
    bool mend = (data[0] & 0x80) != 0;
    switch (data[0] % 5) {
    case 0:
        fuzz_identity(sector, mend);
        break;
    case 1:
        fuzz_seal(sector, mend);
        break;
    case 2:
        fuzz_head(sector, mend);
        break;
    case 3:
        fuzz_record(data + 1, rest, mend);
        break;
    default:
        fuzz_names(data + 1, rest);
        break;
    }
    return 0;
}
