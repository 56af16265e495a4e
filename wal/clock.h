/* clock.h - time that only rises.
 *
 * May include: check.h. */

#ifndef WAL_CLOCK_H
#define WAL_CLOCK_H

#include "wal/check.h"

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC, clock_gettime(2): no system call where the kernel's vDSO serves it. */
static inline uint64_t now_ns(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

#endif
