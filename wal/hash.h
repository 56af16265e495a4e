/* hash.h - XXH3 of long payloads, as wide as the processor can, and while they are copied.
 *
 * May include: nothing of the project. */

#ifndef WAL_HASH_H
#define WAL_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 with a seed: the same value as the plain one, faster from some hundred bytes on where there is AVX2. */
uint64_t hash_long(const void *bytes, size_t size, uint64_t seed);

/* The same while the bytes are copied to `to`, which does not overlap them: in pieces that stay in the nearest cache,
 * so that the bytes are fetched once. Worth its bookkeeping from some ten KiB on. */
uint64_t hash_and_copy(void *to, const void *bytes, size_t size, uint64_t seed);

/* The plain one, for any processor (format.c, which has it anyway). */
uint64_t hash_plain(const void *bytes, size_t size, uint64_t seed);

#endif
