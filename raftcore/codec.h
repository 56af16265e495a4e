/* codec.h - messages and configurations as bytes.
 *
 * Little-endian, versioned, checksummed. A decoder believes nothing: whatever the bytes, it reads none outside of them,
 * and gives back either what an encoder was given or a reason.
 *
 * May include: raftcore.h. */

#ifndef RAFTCORE_CODEC_H
#define RAFTCORE_CODEC_H

#include "raftcore/raftcore.h"

/* A message: its fields, the table of its entries, its configuration, the entries' payloads, the piece; in front of all
 * a checksum of all behind it. */
enum {
    CODEC_VERSION = 1,
    CODEC_SIZE_BYTES = 12, /* Of so many first bytes codec_size_of_message tells the size of all. */
    CODEC_FIELDS = 20,
    CODEC_HEADER_BYTES = 32 + CODEC_FIELDS * 8,
    CODEC_ENTRY_BYTES = 16,
    CODEC_CONFIGURATION_HEADER_BYTES = 8,
    CODEC_MEMBER_BYTES = 24,
    CODEC_CONFIGURATION_BYTES_MAX = CODEC_CONFIGURATION_HEADER_BYTES + RAFTCORE_MEMBERS_MAX * CODEC_MEMBER_BYTES
};

#define CODEC_MESSAGE_BYTES_MAX (1U << 30)

/* What encoding takes; 0: the message is larger than CODEC_MESSAGE_BYTES_MAX, or its kind is none. */
RAFTCORE_API size_t codec_message_bytes(const struct raftcore_message *message);

/* bytes has room for codec_message_bytes(message). The payloads are copied into it; a piece that is NULL is left out,
 * and its bytes are the caller's to fill in before codec_seal. Returns where the piece stands; NULL without one. */
RAFTCORE_API void *codec_encode_message(const struct raftcore_message *message, void *bytes);

/* Makes the checksum right: behind codec_encode_message, and after the piece was filled in. */
RAFTCORE_API void codec_seal(void *bytes, size_t size);

/* The size of the message that begins with these CODEC_SIZE_BYTES bytes; 0: no message begins so. Not checked by the
 * checksum yet: hold it against a bound of your own before you make room. */
RAFTCORE_API size_t codec_size_of_message(const void *bytes);

/* Decodes; payloads and piece point into bytes, entries into the caller's array. 0; -EBADMSG: these bytes are no
 * message, or a damaged one; -EPROTONOSUPPORT: of a newer version; -ENOSPC: more than entries_max entries. */
RAFTCORE_API int codec_decode_message(const void *bytes, size_t size, struct raftcore_message *message,
                                      struct raftcore_entry *entries, uint32_t entries_max,
                                      struct raftcore_configuration *configuration);

/* A configuration, as configuration entries and snapshots hold it. */
RAFTCORE_API size_t codec_configuration_bytes(const struct raftcore_configuration *configuration);
/* bytes has room for codec_configuration_bytes. */
RAFTCORE_API void codec_encode_configuration(const struct raftcore_configuration *configuration, void *bytes);
/* False: these bytes are no configuration. */
RAFTCORE_API bool codec_decode_configuration(const void *bytes, size_t size,
                                             struct raftcore_configuration *configuration);

#endif
