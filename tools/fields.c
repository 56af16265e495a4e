/* fields.c - every field of the format, as a table: what hex and explain name, and what format prints.
 *
 * FORMAT.md, sections 2 to 4, in a form that a program can walk. The decoders are wal/format.c's; a test encodes known
 * values there and finds them here, so that the two cannot drift apart.
 *
 * Invariants: the fields of a structure do not overlap and leave no gap but at its end. */

#include "tools/fields.h"

static const struct field identity[] = {
    {"magic", 0, 8, FIELD_TEXT, "WALSEGM1"},
    {"major", 8, 2, FIELD_NUMBER, "format version; a reader refuses a higher one"},
    {"minor", 10, 2, FIELD_NUMBER, ""},
    {"features_must", 12, 4, FIELD_HEX, "a reader refuses bits that it does not know"},
    {"features_may", 16, 4, FIELD_HEX, ""},
    {"block_shift", 20, 1, FIELD_NUMBER, "log2 of the block size"},
    {"prefill", 21, 1, FIELD_NUMBER, "1 = the file was zero-written, 2 = recycled"},
    {"zero", 22, 2, FIELD_HEX, ""},
    {"uuid", 24, 16, FIELD_BYTES, "of the log"},
    {"segment", 40, 8, FIELD_NUMBER, "its own number"},
    {"segment_bytes", 48, 8, FIELD_NUMBER, "size of the file"},
    {"batch_bytes_max", 56, 4, FIELD_NUMBER, "information"},
    {"in_flight_max", 60, 4, FIELD_NUMBER, "batches; information"},
    {"zeros", 64, 440, FIELD_BYTES, ""},
    {"checksum", 504, 8, FIELD_HEX, "XXH3 of the 504 bytes before it"},
};

static const struct field seal[] = {
    {"magic", 0, 8, FIELD_TEXT, "WALSEAL1"},
    {"uuid", 8, 16, FIELD_BYTES, "of the log"},
    {"segment", 24, 8, FIELD_NUMBER, "its own number"},
    {"salt", 32, 8, FIELD_HEX, "of the last run"},
    {"last_number", 40, 8, FIELD_NUMBER, "of the last batch"},
    {"last_checksum", 48, 8, FIELD_HEX, "header checksum of the last batch"},
    {"last_offset", 56, 8, FIELD_NUMBER, "of the last batch"},
    {"end_offset", 64, 8, FIELD_NUMBER, "where the last batch ends, padding included"},
    {"opening_index", 72, 8, FIELD_NUMBER, "first index of the opening anchor"},
    {"last_index", 80, 8, FIELD_NUMBER, "of the log at the seal"},
    {"low", 88, 8, FIELD_NUMBER, "lowest first index of any batch"},
    {"record_count", 96, 8, FIELD_NUMBER, "written into this segment"},
    {"own_offset", 104, 8, FIELD_NUMBER, ""},
    {"zeros", 112, 392, FIELD_BYTES, ""},
    {"checksum", 504, 8, FIELD_HEX, "XXH3 of the 504 bytes before it"},
};

static const struct field head[] = {
    {"checksum", 0, 8, FIELD_HEX, "XXH3 of the rest of the head; the next batch's chain"},
    {"magic", 8, 4, FIELD_TEXT, "WBCH"},
    {"kind", 12, 1, FIELD_KIND, ""},
    {"flags", 13, 1, FIELD_FLAGS, "1 forced, 2 zeroed, 4 clears doubt"},
    {"head_bytes", 14, 2, FIELD_NUMBER, "where the first record starts"},
    {"salt", 16, 8, FIELD_HEX, "of the run"},
    {"segment", 24, 8, FIELD_NUMBER, ""},
    {"place", 32, 4, FIELD_NUMBER, "own place, in blocks"},
    {"used_bytes", 36, 4, FIELD_NUMBER, "head and records, without padding"},
    {"number", 40, 8, FIELD_NUMBER, "of the batch"},
    {"mark", 48, 8, FIELD_NUMBER, "highest batch known durable when this one was made"},
    {"chain", 56, 8, FIELD_HEX, "header checksum of the batch before"},
    {"first_index", 64, 8, FIELD_NUMBER, ""},
    {"record_count", 72, 4, FIELD_NUMBER, ""},
    {"metadata_bytes", 76, 2, FIELD_NUMBER, "65535 = it carries none"},
    {"zero", 78, 2, FIELD_HEX, ""},
};

static const struct field tags[] = {
    {"tag_before", 80, 8, FIELD_NUMBER, "of the last record of the batches before"},
    {"first_tag", 88, 8, FIELD_NUMBER, "of the first record here"},
    {"last_tag", 96, 8, FIELD_NUMBER, "of the last record here"},
};

static const struct field start[] = {
    {"start_index", 80, 8, FIELD_NUMBER, "the log begins here"},
    {"start_segment", 88, 8, FIELD_NUMBER, ""},
};

static const struct field anchor[] = {
    {"uuid", 80, 16, FIELD_BYTES, "of the log"},
    {"predecessor_segment", 96, 8, FIELD_NUMBER, "0 in the very first"},
    {"predecessor_end", 104, 8, FIELD_NUMBER, "offset where it ends"},
    {"predecessor_last", 112, 8, FIELD_NUMBER, "offset of its last batch"},
    {"start_index", 120, 8, FIELD_NUMBER, "first index of the log"},
    {"start_segment", 128, 8, FIELD_NUMBER, ""},
    {"low", 136, 8, FIELD_NUMBER, "of the predecessor segment"},
    {"doubt_index", 144, 8, FIELD_NUMBER, "0 = none"},
    {"cut_offset", 152, 8, FIELD_NUMBER, "0 = nothing was cut at this open"},
    {"cut_first_index", 160, 8, FIELD_NUMBER, ""},
    {"cut_records", 168, 4, FIELD_NUMBER, "seen in what was cut"},
    {"cut_reason", 172, 4, FIELD_NUMBER, "row of the recovery table"},
    {"last_tag", 176, 8, FIELD_NUMBER, "of the last record before"},
};

static const struct field record[] = {
    {"checksum", 0, 8, FIELD_HEX, "XXH3 of the payload, seeded with all of this and the place"},
    {"length", 8, 4, FIELD_NUMBER, "of the payload"},
    {"type", 12, 2, FIELD_NUMBER, "the caller's; never 0"},
    {"flags", 14, 2, FIELD_HEX, "zero"},
    {"tag", 16, 8, FIELD_NUMBER, "the caller's"},
};

#define STRUCTURE(name, place, fields)                            \
    {                                                             \
        name, place, fields, sizeof(fields) / sizeof((fields)[0]) \
    }

const struct structure structures[STRUCTURES] = {
    [STRUCTURE_IDENTITY] = STRUCTURE("identity", "block 0, first 512 bytes", identity),
    [STRUCTURE_SEAL] = STRUCTURE("seal", "last block, first 512 bytes", seal),
    [STRUCTURE_HEAD] = STRUCTURE("head", "first bytes of a batch", head),
    [STRUCTURE_TAGS] = STRUCTURE("tags", "behind the head of data and truncate", tags),
    [STRUCTURE_START] = STRUCTURE("start", "behind the head of start", start),
    [STRUCTURE_ANCHOR] = STRUCTURE("anchor", "behind the head of anchor", anchor),
    [STRUCTURE_RECORD] = STRUCTURE("record", "from head_bytes on, each in a multiple of 8 bytes", record),
};

uint64_t field_value(const uint8_t *structure, const struct field *field)
{
    uint64_t value = 0;
    for (unsigned i = field->size < 8 ? field->size : 8; i-- > 0;) {
        value = value << 8 | structure[field->offset + i];
    }
    return value;
}
