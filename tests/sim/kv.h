/* kv.h - the state machine of the simulated cluster: a few numbered keys, and a session for each client.
 *
 * Deterministic. A client's command counts once however often it comes. */

#ifndef TESTS_SIM_KV_H
#define TESTS_SIM_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KV_KEYS = 8, KV_CLIENTS = 8, KV_PADDING_BYTES = 20000 };

enum kv_kind { KV_WRITE = 1, KV_COMPARE_AND_SET };

struct kv_command {
    uint32_t client, kind;
    uint64_t sequence; /* Rising; one that is not above the client's last was carried out before. */
    uint32_t key, reserved;
    uint64_t value, expected;
};

struct kv_session {
    uint64_t sequence;
    bool succeeded;
};

struct kv {
    uint64_t index; /* Of the last entry applied. */
    uint64_t hash;  /* Of all that was applied. */
    uint64_t values[KV_KEYS];
    struct kv_session sessions[KV_CLIENTS];
};

uint64_t kv_mix(uint64_t value);

/* The entry at kv->index + 1. False: its bytes are no command. */
bool kv_apply(struct kv *kv, uint64_t term, unsigned type, const void *data, size_t size);

/* A snapshot's bytes, larger than they need to be, so that they come in pieces. */
enum { KV_SNAPSHOT_BYTES = sizeof(struct kv) + KV_PADDING_BYTES };
void kv_save(const struct kv *kv, uint8_t bytes[KV_SNAPSHOT_BYTES]);
/* False: the padding is not what belongs to this state. */
bool kv_load(struct kv *kv, const uint8_t bytes[KV_SNAPSHOT_BYTES]);

#endif
