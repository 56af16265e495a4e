/* batches.c - the batches of a segment, found block by block, whatever is in it.
 *
 * The happy path: at each block a head is looked for; of one that decodes the records are verified, one behind the
 * other, in the window of the segment.
 *
 * What can fail: nothing but reads, which come as zeros. A head may lie about its length as long as its checksum is
 * right: a record that does not fit the window is verified piece by piece, and only one that verifies is held whole.
 *
 * Invariants: memory is bounded by the longest record whose checksum is right; a search ends when the user interrupts,
 * with nothing found; holes of a sparse file cost no reading.
 *
 * May include: batches.h, segment_read.h, emit.h, bytes.h. */

#include "tools/batches.h"

#include "tools/emit.h"
#include "tools/segment_read.h"
#include "wal/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

const char *batch_kind_text(uint8_t kind)
{
    static const char *const words[] = {"?", "data", "truncate", "mark", "close", "start", "anchor"};
    return kind < sizeof(words) / sizeof(words[0]) ? words[kind] : words[0];
}

/* --- records ------------------------------------------------------------------------------------- */

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* S of FORMAT.md section 4, its first line given. */
static uint64_t record_seed(uint64_t seed_base, uint64_t offset, uint64_t index, uint64_t words, uint64_t tag)
{
    uint64_t seed = rotate_left(seed_base ^ (offset * UINT64_C(0xC2B2AE3D27D4EB4F)), 31);
    seed += index * UINT64_C(0x165667B19E3779F9);
    return rotate_left(seed ^ words, 23) + tag * UINT64_C(0x9E3779B97F4A7C15);
}

/* A record longer than the window: its payload is hashed piece by piece. header: its 24 bytes. */
static enum format_verdict check_long_record(struct segment_file *file, const uint8_t *header, uint64_t seed_base,
                                             uint64_t offset, uint64_t index, struct format_record *record)
{
    uint64_t checksum = load_u64_le(header);
    uint64_t words = load_u64_le(header + 8);
    *record = (struct format_record){
        .length = (uint32_t)words, .type = (uint16_t)(words >> 32), .tag = load_u64_le(header + 16)};
    XXH3_state_t state;
    memset(&state, 0, sizeof(state));
    (void)XXH3_64bits_reset_withSeed(&state, record_seed(seed_base, offset, index, words, record->tag));
    offset += RECORD_HEADER_BYTES;
    for (uint64_t left_bytes = record->length; left_bytes != 0;) {
        uint64_t piece_bytes = left_bytes < SEGMENT_WINDOW_BYTES ? left_bytes : SEGMENT_WINDOW_BYTES;
        const uint8_t *piece = interrupted() ? NULL : segment_at(file, offset, piece_bytes);
        if (piece == NULL) {
            return FORMAT_TRUNCATED;
        }
        (void)XXH3_64bits_update(&state, piece, piece_bytes);
        offset += piece_bytes;
        left_bytes -= piece_bytes;
    }
    if (XXH3_64bits_digest(&state) != checksum) {
        return FORMAT_BAD_CHECKSUM;
    }
    return record->type == 0 || words >> 48 != 0 ? FORMAT_BAD_FIELD : FORMAT_OK;
}

enum format_verdict batch_record_check(struct segment_file *file, const struct batch_look *look, uint32_t ordinal,
                                       uint64_t *offset, struct format_record *record)
{
    const struct format_head *head = &look->head;
    uint64_t end_offset = look->offset + head->used_bytes;
    *offset = *offset == 0 ? look->offset + head->head_bytes : *offset;
    uint64_t available = *offset < end_offset ? end_offset - *offset : 0;
    const uint8_t *header = available < RECORD_HEADER_BYTES ? NULL : segment_at(file, *offset, RECORD_HEADER_BYTES);
    uint64_t record_bytes = header == NULL ? UINT64_MAX : format_record_bytes(load_u32_le(header + 8));
    if (record_bytes > available) {
        return FORMAT_TRUNCATED;
    }
    /* The seed wants the segment that the batch was written in: the head's. */
    uint64_t seed_base = format_seed_base(head->salt, head->segment);
    uint64_t index = head->first_index + ordinal;
    enum format_verdict verdict = FORMAT_TRUNCATED;
    if (record_bytes > SEGMENT_WINDOW_BYTES) {
        verdict = check_long_record(file, header, seed_base, *offset, index, record);
    } else {
        const uint8_t *whole = segment_at(file, *offset, record_bytes);
        verdict = whole == NULL ? FORMAT_TRUNCATED
                                : format_record_decode(whole, record_bytes, seed_base, *offset, index, record);
    }
    if (verdict == FORMAT_OK) {
        *offset += record_bytes;
        record->payload = NULL;
    }
    return verdict;
}

enum format_verdict batch_record(struct segment_file *file, const struct batch_look *look, uint32_t ordinal,
                                 uint64_t *offset, struct format_record *record)
{
    enum format_verdict verdict = batch_record_check(file, look, ordinal, offset, record);
    if (verdict == FORMAT_OK) {
        uint64_t record_bytes = format_record_bytes(record->length);
        const uint8_t *whole = segment_at(file, *offset - record_bytes, record_bytes);
        verdict = whole == NULL ? FORMAT_TRUNCATED : FORMAT_OK;
        record->payload = whole == NULL ? NULL : whole + RECORD_HEADER_BYTES;
    }
    return verdict;
}

static void check_records(struct segment_file *file, struct batch_look *look)
{
    uint64_t offset = 0;
    look->record_verdict = FORMAT_OK;
    for (look->good_records = 0; look->good_records < look->head.record_count; look->good_records++) {
        struct format_record record;
        look->record_verdict = batch_record_check(file, look, look->good_records, &offset, &record);
        if (look->record_verdict != FORMAT_OK) {
            look->bad_offset = offset;
            return;
        }
    }
}

/* --- batches ------------------------------------------------------------------------------------- */

/* The block to look at behind one without a head; past what is known to be empty. */
static uint64_t block_behind(struct segment_file *file, uint32_t block_bytes, uint64_t offset,
                             enum format_verdict verdict)
{
    offset += block_bytes;
    return verdict == FORMAT_ZERO ? segment_next_data(file, offset, block_bytes) : offset;
}

bool batch_next(struct segment_file *file, uint32_t block_bytes, uint64_t *offset, uint64_t end_offset,
                struct batch_look *look)
{
    end_offset = end_offset < file->bytes ? end_offset : file->bytes;
    while (*offset < end_offset) {
        const uint8_t *sector = segment_at(file, *offset, FORMAT_SECTOR_BYTES);
        if (sector == NULL) {
            return false;
        }
        *look = (struct batch_look){.offset = *offset};
        enum format_verdict verdict = format_head_decode(sector, FORMAT_SECTOR_BYTES, &look->head);
        if (verdict != FORMAT_OK) {
            *offset = interrupted() ? end_offset : block_behind(file, block_bytes, *offset, verdict);
            continue;
        }
        look->own = format_head_is_self_valid(&look->head, file->number, *offset / block_bytes);
        look->padded_bytes = format_batch_padded_bytes(&look->head, block_bytes);
        look->cut_short = look->head.used_bytes > file->bytes - *offset;
        if (!look->cut_short) {
            check_records(file, look);
        }
        return true;
    }
    return false;
}

uint64_t batch_behind(const struct batch_look *look, uint32_t block_bytes)
{
    bool whole = !look->cut_short && look->good_records == look->head.record_count;
    return look->offset + (whole ? look->padded_bytes : block_bytes);
}

/* --- was it begun? ------------------------------------------------------------------------------- */

/* Any header of this very segment, wherever it stands; what an interrupted look did not find is not found. */
bool segment_holds_own_head(struct segment_file *file, uint32_t block_bytes)
{
    uint64_t end_offset = file->bytes < file->size ? file->bytes : file->size;
    for (uint64_t offset = block_bytes; offset < end_offset && !interrupted();) {
        const uint8_t *sector = segment_at(file, offset, FORMAT_SECTOR_BYTES);
        struct format_head head;
        enum format_verdict verdict =
            sector == NULL ? FORMAT_TRUNCATED : format_head_decode(sector, FORMAT_SECTOR_BYTES, &head);
        if (verdict == FORMAT_OK && format_head_is_self_valid(&head, file->number, offset / block_bytes)) {
            file->begun_number = head.number;
            return true;
        }
        offset = block_behind(file, block_bytes, offset, verdict);
    }
    return false;
}

bool segment_begun(struct segment_file *file, uint32_t block_bytes)
{
    if (!file->begun_known && (file->anchor_verdict == FORMAT_OK || file->seal_verdict == FORMAT_OK)) {
        file->begun = file->begun_known = true;
        file->begun_number = file->anchor_verdict == FORMAT_OK ? file->anchor.number : file->seal.last_number;
    }
    if (!file->begun_known) {
        file->begun = file->identity_verdict == FORMAT_OK && segment_holds_own_head(file, block_bytes);
        file->begun_known = !interrupted();
    }
    return file->begun;
}
