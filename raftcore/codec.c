/* codec.c - messages and configurations as bytes.
 *
 * The happy path: fields in a fixed order, little-endian; a checksum (XXH3-64) in front of all, over all behind it.
 *
 * What can fail, decoding: any byte may be wrong; every count
 * is held against what is there before it is believed, and what has been decoded is checked to be something that an
 * encoder is given.
 *
 * Invariants: decode(encode(x)) == x; no byte outside of the input is read.
 *
 * May include: codec.h, configuration.h, wal/bytes.h. */

#include "raftcore/codec.h"

#include "raftcore/configuration.h"
#include "wal/bytes.h"

#include <errno.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CONFIGURATION_VERSION = 1, CONFIGURATION_LEAVES = 1 };

_Static_assert(CODEC_CONFIGURATION_BYTES_MAX < 65536, "a configuration is a small entry");

size_t codec_configuration_bytes(const struct raftcore_configuration *configuration)
{
    return CODEC_CONFIGURATION_HEADER_BYTES + (size_t)configuration->count * CODEC_MEMBER_BYTES;
}

void codec_encode_configuration(const struct raftcore_configuration *configuration, void *bytes)
{
    uint8_t *out = bytes;
    store_u16_le(out, CONFIGURATION_VERSION);
    store_u16_le(out + 2, configuration->leave_automatically ? CONFIGURATION_LEAVES : 0);
    store_u32_le(out + 4, configuration->count);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raftcore_member *member = &configuration->members[i];
        uint8_t *at = out + CODEC_CONFIGURATION_HEADER_BYTES + i * CODEC_MEMBER_BYTES;
        store_u64_le(at, member->id);
        store_u64_le(at + 8, member->log_id);
        store_u32_le(at + 16, member->flags);
        store_u32_le(at + 20, 0);
    }
}

bool codec_decode_configuration(const void *bytes, size_t size, struct raftcore_configuration *configuration)
{
    const uint8_t *in = bytes;
    *configuration = (struct raftcore_configuration){0};
    if (size < CODEC_CONFIGURATION_HEADER_BYTES || load_u16_le(in) != CONFIGURATION_VERSION ||
        load_u16_le(in + 2) > CONFIGURATION_LEAVES) {
        return false;
    }
    uint32_t count = load_u32_le(in + 4);
    if (count > RAFTCORE_MEMBERS_MAX || size != CODEC_CONFIGURATION_HEADER_BYTES + (size_t)count * CODEC_MEMBER_BYTES) {
        return false;
    }
    configuration->leave_automatically = load_u16_le(in + 2) == CONFIGURATION_LEAVES;
    configuration->count = count;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = in + CODEC_CONFIGURATION_HEADER_BYTES + i * CODEC_MEMBER_BYTES;
        configuration->members[i] = (struct raftcore_member){
            .id = load_u64_le(at), .log_id = load_u64_le(at + 8), .flags = load_u32_le(at + 16)};
        if (load_u32_le(at + 20) != 0) {
            return false;
        }
    }
    return configuration_check(configuration) == 0;
}

/* --- messages ------------------------------------------------------------------------------------ */

/* Offsets in the header. */
enum {
    AT_CHECKSUM = 0,
    AT_SIZE = 8,
    AT_VERSION = 12,
    AT_KIND = 14,
    AT_FLAGS = 16,
    AT_REASON = 18,
    AT_ENTRY_COUNT = 20,
    AT_PIECE_BYTES = 24,
    AT_CONFIGURATION_BYTES = 28,
    AT_FIELDS = 32
};

_Static_assert(CODEC_HEADER_BYTES == 192, "the header is part of the format");
_Static_assert(AT_FIELDS + 8 * CODEC_FIELDS == CODEC_HEADER_BYTES, "the fields fill the header");

/* The 64-bit fields, in the order in which they are written. */
static void fields_of(struct raftcore_message *message, uint64_t *fields[CODEC_FIELDS])
{
    uint64_t *const all[CODEC_FIELDS] = {
        &message->from,        &message->to,          &message->log_id,         &message->session,
        &message->to_session,  &message->term,        &message->stream,         &message->index,
        &message->log_term,    &message->commit,      &message->hint_index,     &message->hint_term,
        &message->round,       &message->context,     &message->credit,         &message->floor_term,
        &message->floor_index, &message->snapshot_id, &message->snapshot_bytes, &message->offset};
    memcpy(fields, all, sizeof(all));
}

size_t codec_message_bytes(const struct raftcore_message *message)
{
    uint64_t bytes = CODEC_HEADER_BYTES + (uint64_t)message->entry_count * CODEC_ENTRY_BYTES + message->piece_bytes;
    if (message->kind == 0 || message->kind >= RAFTCORE_MESSAGE_KINDS || message->entry_count > RAFTCORE_ENTRIES_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < message->entry_count; i++) {
        bytes += message->entries[i].size;
    }
    if (message->configuration != NULL) {
        bytes += codec_configuration_bytes(message->configuration);
    }
    return bytes > CODEC_MESSAGE_BYTES_MAX ? 0 : (size_t)bytes;
}

void *codec_encode_message(const struct raftcore_message *message, void *bytes)
{
    uint8_t *out = bytes;
    size_t configuration_bytes = message->configuration == NULL ? 0 : codec_configuration_bytes(message->configuration);
    struct raftcore_message copy = *message;
    uint64_t *fields[CODEC_FIELDS];
    fields_of(&copy, fields);
    store_u32_le(out + AT_SIZE, (uint32_t)codec_message_bytes(message));
    store_u16_le(out + AT_VERSION, CODEC_VERSION);
    store_u16_le(out + AT_KIND, message->kind);
    store_u16_le(out + AT_FLAGS, message->flags);
    store_u16_le(out + AT_REASON, message->reason);
    store_u32_le(out + AT_ENTRY_COUNT, message->entry_count);
    store_u32_le(out + AT_PIECE_BYTES, message->piece_bytes);
    store_u32_le(out + AT_CONFIGURATION_BYTES, (uint32_t)configuration_bytes);
    for (size_t i = 0; i < CODEC_FIELDS; i++) {
        store_u64_le(out + AT_FIELDS + 8 * i, *fields[i]);
    }
    uint8_t *table = out + CODEC_HEADER_BYTES;
    uint8_t *at = table + (size_t)message->entry_count * CODEC_ENTRY_BYTES;
    if (configuration_bytes > 0) {
        codec_encode_configuration(message->configuration, at);
        at += configuration_bytes;
    }
    for (uint32_t i = 0; i < message->entry_count; i++, table += CODEC_ENTRY_BYTES) {
        const struct raftcore_entry *entry = &message->entries[i];
        store_u64_le(table, entry->term);
        store_u32_le(table + 8, entry->size);
        store_u16_le(table + 12, entry->type);
        store_u16_le(table + 14, 0);
        if (entry->size > 0) {
            memcpy(at, entry->data, entry->size);
            at += entry->size;
        }
    }
    if (message->piece_bytes > 0 && message->piece != NULL) {
        memcpy(at, message->piece, message->piece_bytes);
    }
    codec_seal(bytes, codec_message_bytes(message));
    return message->piece_bytes > 0 ? at : NULL;
}

void codec_seal(void *bytes, size_t size)
{
    uint8_t *out = bytes;
    store_u64_le(out + AT_CHECKSUM, XXH3_64bits(out + AT_SIZE, size - AT_SIZE));
}

size_t codec_size_of_message(const void *bytes)
{
    uint32_t size = load_u32_le((const uint8_t *)bytes + AT_SIZE);
    return size < CODEC_HEADER_BYTES || size > CODEC_MESSAGE_BYTES_MAX ? 0 : size;
}

/* The table of entries; *at is where their payloads begin, and moves behind them. False: they do not fit. */
static bool decode_entries(const uint8_t *table, uint32_t count, const uint8_t **at, const uint8_t *end,
                           struct raftcore_entry *entries)
{
    for (uint32_t i = 0; i < count; i++, table += CODEC_ENTRY_BYTES) {
        uint32_t bytes = load_u32_le(table + 8);
        if (bytes > (size_t)(end - *at) || load_u16_le(table + 14) != 0) {
            return false;
        }
        entries[i] = (struct raftcore_entry){.term = load_u64_le(table),
                                             .data = bytes == 0 ? NULL : *at,
                                             .size = bytes,
                                             .type = load_u16_le(table + 12)};
        *at += bytes;
    }
    return true;
}

int codec_decode_message(const void *bytes, size_t size, struct raftcore_message *message,
                         struct raftcore_entry *entries, uint32_t entries_max,
                         struct raftcore_configuration *configuration)
{
    const uint8_t *in = bytes, *end = in + size;
    *message = (struct raftcore_message){0};
    if (size < CODEC_HEADER_BYTES || size > CODEC_MESSAGE_BYTES_MAX || load_u32_le(in + AT_SIZE) != size ||
        load_u64_le(in + AT_CHECKSUM) != XXH3_64bits(in + AT_SIZE, size - AT_SIZE)) {
        return -EBADMSG;
    }
    if (load_u16_le(in + AT_VERSION) != CODEC_VERSION) {
        return -EPROTONOSUPPORT;
    }
    uint32_t count = load_u32_le(in + AT_ENTRY_COUNT);
    uint32_t configuration_bytes = load_u32_le(in + AT_CONFIGURATION_BYTES);
    message->kind = load_u16_le(in + AT_KIND);
    message->flags = load_u16_le(in + AT_FLAGS);
    message->reason = load_u16_le(in + AT_REASON);
    message->piece_bytes = load_u32_le(in + AT_PIECE_BYTES);
    if (message->kind == 0 || message->kind >= RAFTCORE_MESSAGE_KINDS || count > RAFTCORE_ENTRIES_MAX) {
        return -EBADMSG;
    }
    if (count > entries_max) {
        return -ENOSPC;
    }
    uint64_t *fields[CODEC_FIELDS];
    fields_of(message, fields);
    for (size_t i = 0; i < CODEC_FIELDS; i++) {
        *fields[i] = load_u64_le(in + AT_FIELDS + 8 * i);
    }
    const uint8_t *table = in + CODEC_HEADER_BYTES;
    if ((uint64_t)count * CODEC_ENTRY_BYTES + configuration_bytes > (uint64_t)(end - table)) {
        return -EBADMSG;
    }
    const uint8_t *at = table + (size_t)count * CODEC_ENTRY_BYTES;
    if (configuration_bytes > 0) {
        if (!codec_decode_configuration(at, configuration_bytes, configuration)) {
            return -EBADMSG;
        }
        message->configuration = configuration;
        at += configuration_bytes;
    }
    if (!decode_entries(table, count, &at, end, entries) || (size_t)(end - at) != message->piece_bytes) {
        return -EBADMSG;
    }
    message->entries = count > 0 ? entries : NULL;
    message->entry_count = count;
    message->piece = message->piece_bytes > 0 ? at : NULL;
    return 0;
}
