/* kv.c - the state machine of the simulated cluster.
 *
 * The happy path: entries are applied in order; the hash of all of them tells two histories apart. What can fail: bytes
 * that are no command, which only a broken log can bring. Invariants: a command with a sequence that is not above its
 * client's last changes nothing; the same entries give the same state, hash included. */

#include "tests/sim/kv.h"

#include <string.h>

uint64_t kv_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3U;
    }
    return kv_mix(hash);
}

static void carry_out(struct kv *kv, const struct kv_command *command)
{
    struct kv_session *session = &kv->sessions[command->client];
    if (command->sequence <= session->sequence) {
        return;
    }
    uint64_t *value = &kv->values[command->key];
    bool matches = command->kind == KV_WRITE || *value == command->expected;
    *value = matches ? command->value : *value;
    *session = (struct kv_session){.sequence = command->sequence, .succeeded = matches};
}

bool kv_apply(struct kv *kv, uint64_t term, unsigned type, const void *data, size_t size)
{
    kv->index++;
    kv->hash = hash_bytes(kv->hash ^ kv_mix(term * 4 + type), data, size);
    if (type != 0) {
        return true; /* Not for us. */
    }
    struct kv_command command;
    if (size < sizeof(command)) {
        return false;
    }
    memcpy(&command, data, sizeof(command));
    if (command.client >= KV_CLIENTS || command.key >= KV_KEYS) {
        return false;
    }
    carry_out(kv, &command);
    return true;
}

static uint8_t padding_at(const struct kv *kv, size_t at)
{
    return (uint8_t)(kv_mix(kv->hash + at / 64) >> (at % 8));
}

void kv_save(const struct kv *kv, uint8_t bytes[KV_SNAPSHOT_BYTES])
{
    memcpy(bytes, kv, sizeof(*kv));
    for (size_t i = sizeof(*kv); i < KV_SNAPSHOT_BYTES; i++) {
        bytes[i] = padding_at(kv, i);
    }
}

bool kv_load(struct kv *kv, const uint8_t bytes[KV_SNAPSHOT_BYTES])
{
    memcpy(kv, bytes, sizeof(*kv));
    for (size_t i = sizeof(*kv); i < KV_SNAPSHOT_BYTES; i++) {
        if (bytes[i] != padding_at(kv, i)) {
            return false;
        }
    }
    return true;
}
