/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_CLOCK_H_
#define DAXPIN_CLOCK_H_

/* Time in ns of CLOCK_MONOTONIC, as everywhere in the library */

#include <stdint.h>
#include <time.h>

#define DAXPIN_NEVER UINT64_MAX
#define DAXPIN_USEC  1000ull
#define DAXPIN_MSEC  1000000ull
#define DAXPIN_SEC   1000000000ull

/* Return the time now. Async-signal-safe. */
static inline uint64_t daxpin_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * DAXPIN_SEC + (uint64_t)now.tv_nsec;
}

/* Return the time now, up to 10 ms late, for a tenth of the cost. */
static inline uint64_t daxpin_now_coarse(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * DAXPIN_SEC + (uint64_t)now.tv_nsec;
}

/* Return the time that is a while after another one; DAXPIN_NEVER if it is later
 * than all times. */
static inline uint64_t daxpin_later(uint64_t time, uint64_t length)
{
    uint64_t later;

    return __builtin_add_overflow(time, length, &later) ? DAXPIN_NEVER : later;
}

/* Return how long it is from now until a time; 0 if that is over, DAXPIN_NEVER if
 * it never comes. */
static inline uint64_t daxpin_time_until(uint64_t time, uint64_t now)
{
    return (time == DAXPIN_NEVER) ? DAXPIN_NEVER :
           (time > now)           ? time - now : 0;
}

/* Return the earlier of two times. */
static inline uint64_t daxpin_earlier(uint64_t a, uint64_t b)
{
    return (a < b) ? a : b;
}

#endif
