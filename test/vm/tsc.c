/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Prints how many kHz the time-stamp counter of this machine has. Runs on the
 * host, because an emulated processor has the host's counter and the guest
 * cannot measure it.
 */

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES    1000
#define DISTANCE 200000000 /* ns */

typedef struct moment {
    uint64_t ticks;
    uint64_t ns;
} moment_t;

/* Read both clocks at once: of many tries, take the shortest. */
static moment_t look(void)
{
    uint64_t least = UINT64_MAX, begin, end;
    moment_t moment = {0, 0};
    struct timespec ts;
    int i;

    for (i = 0; i < TRIES; ++i) {
        begin = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
        end = __rdtsc();
        if (end - begin < least) {
            least        = end - begin;
            moment.ticks = begin + least / 2;
            moment.ns    = (uint64_t)ts.tv_sec * 1000000000 +
                           (uint64_t)ts.tv_nsec;
        }
    }
    return moment;
}

int main(void)
{
    const struct timespec distance = {.tv_nsec = DISTANCE};
    moment_t begin, end;

    begin = look();
    nanosleep(&distance, NULL);
    end = look();
    printf("%.0f\n", (double)(end.ticks - begin.ticks) * 1e6 /
                             (double)(end.ns - begin.ns));
    return 0;
}
