/* bytes.h - little-endian loads and stores, and rounding. Nothing else.
 *
 * May include: nothing of the project. */

#ifndef WAL_BYTES_H
#define WAL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16_le(const void *from)
{
    const unsigned char *b = from;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t load_u32_le(const void *from)
{
    const unsigned char *b = from;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t load_u64_le(const void *from)
{
    const unsigned char *b = from;
    return (uint64_t)load_u32_le(b) | (uint64_t)load_u32_le(b + 4) << 32;
}

static inline void store_u16_le(void *to, uint16_t value)
{
    unsigned char *b = to;
    b[0] = (unsigned char)value;
    b[1] = (unsigned char)(value >> 8);
}

static inline void store_u32_le(void *to, uint32_t value)
{
    unsigned char *b = to;
    b[0] = (unsigned char)value;
    b[1] = (unsigned char)(value >> 8);
    b[2] = (unsigned char)(value >> 16);
    b[3] = (unsigned char)(value >> 24);
}

static inline void store_u64_le(void *to, uint64_t value)
{
    unsigned char *b = to;
    store_u32_le(b, (uint32_t)value);
    store_u32_le(b + 4, (uint32_t)(value >> 32));
}

/* The next multiple of a power of two, at or above value. */
static inline uint64_t round_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* True when all of [bytes, bytes + size) is zero. */
static inline bool all_zero(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    return size == 0 || (b[0] == 0 && memcmp(b, b + 1, size - 1) == 0);
}

#endif
