/* parcel.c - a message on its way. One allocation holds the message, its entries, its configuration and its piece. */

#include "tests/raft/parcel.h"

#include "wal/check.h"

#include <stdlib.h>
#include <string.h>

struct raftcore_message *parcel_copy(struct arena *arena, const struct raftcore_message *message)
{
    size_t entries_bytes = message->entry_count * sizeof(struct raftcore_entry);
    struct raftcore_message *copy =
        malloc(sizeof(*copy) + entries_bytes + sizeof(struct raftcore_configuration) + message->piece_bytes + 64);
    CHECK(copy != NULL);
    *copy = *message;
    struct raftcore_entry *entries = (struct raftcore_entry *)(copy + 1);
    if (message->entry_count > 0) {
        memcpy(entries, message->entries, entries_bytes);
        copy->entries = entries;
    }
    for (uint32_t i = 0; i < message->entry_count; i++) {
        if (entries[i].reserved != 0) {
            void *bytes = arena_take(arena, entries[i].size);
            memcpy(bytes, entries[i].data, entries[i].size);
            entries[i].data = bytes;
            entries[i].reserved = 0;
        }
    }
    struct raftcore_configuration *configuration =
        (struct raftcore_configuration *)(void *)((char *)entries + entries_bytes);
    if (message->configuration != NULL) {
        *configuration = *message->configuration;
        copy->configuration = configuration;
    }
    if (message->kind == RAFTCORE_SNAPSHOT) {
        unsigned char *piece = (unsigned char *)(configuration + 1);
        memset(piece, (int)(message->snapshot_id & 0xff), message->piece_bytes);
        copy->piece = piece;
    }
    return copy;
}

uint64_t parcel_payload_bytes(const struct raftcore_message *message)
{
    uint64_t bytes = message->kind == RAFTCORE_SNAPSHOT ? message->piece_bytes : 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        bytes += message->entries[i].size;
    }
    return bytes;
}
