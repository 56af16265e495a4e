/* hash.c - XXH3 of long payloads, as wide as the processor can.
 *
 * xxHash chooses its vectors when it is compiled, and a package must run on every x86-64; so this file is compiled for
 * AVX2 and asked only where the processor has it. On a 1 MiB record that is a third off the time of the checksum.
 * Elsewhere it is the plain function under another name. Hashed while it is copied, such a record takes a fifth less
 * time than when one goes behind the other.
 *
 * The happy path: one call, one number. What can fail: nothing.
 *
 * Invariants: the value does not depend on the vectors (a test compares both on all length classes).
 *
 * May include: hash.h. */

#include "wal/hash.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE 1
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define XXH_VECTOR 2 /* XXH_AVX2 */
#endif

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

static uint64_t hash_vectors(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

enum { PIECE_BYTES = 4096 };

static uint64_t hash_and_copy_vectors(uint8_t *to, const uint8_t *bytes, size_t size, uint64_t seed)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t at = 0; at < size; at += PIECE_BYTES) {
        size_t piece_bytes = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        (void)XXH3_64bits_update(&state, bytes + at, piece_bytes);
        memcpy(to + at, bytes + at, piece_bytes);
    }
    return XXH3_64bits_digest(&state);
}

#if defined(WIDE)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

uint64_t hash_long(const void *bytes, size_t size, uint64_t seed)
{
#if defined(WIDE)
    if (!__builtin_cpu_supports("avx2")) {
        return hash_plain(bytes, size, seed);
    }
#endif
    return hash_vectors(bytes, size, seed);
}

uint64_t hash_and_copy(void *to, const void *bytes, size_t size, uint64_t seed)
{
#if defined(WIDE)
    if (!__builtin_cpu_supports("avx2")) {
        memcpy(to, bytes, size);
        return hash_plain(bytes, size, seed);
    }
#endif
    return hash_and_copy_vectors(to, bytes, size, seed);
}
