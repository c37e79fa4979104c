/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * For test programs in the virtual machine: each test is a function, and prints
 * "ok NAME", "not ok NAME: why" or "skip NAME: why"; and the clock.
 *
 *   DAXPIN_VM_ONLY  run only tests that have this in their names
 */

#ifndef RESULT_H_
#define RESULT_H_

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNUSED __attribute__((unused))

static UNUSED int  failed;  /* whether any test failed: the exit status */
static UNUSED int  skipped; /* set by a test together with `why` */
static UNUSED char why[2 * PATH_MAX];

/* Fail the test and return from it */
#define FAIL(...) \
    do { \
        snprintf(why, sizeof(why), __VA_ARGS__); \
        return; \
    } while (0)

#define CHECK(_condition, ...) \
    do { \
        if (!(_condition)) { \
            FAIL(__VA_ARGS__); \
        } \
    } while (0)

static UNUSED void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* Return the time in seconds. */
static UNUSED double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Run a test and print its result. Return 0 unless it failed. */
static UNUSED int run(const char *name, void (*test)(void))
{
    const char *only = getenv("DAXPIN_VM_ONLY");

    if ((only != NULL) && (strstr(name, only) == NULL)) {
        return 0;
    }
    why[0]  = '\0';
    skipped = 0;
    test();
    if (why[0] == '\0') {
        printf("ok %s\n", name);
        return 0;
    }
    printf("%s %s: %s\n", skipped ? "skip" : "not ok", name, why);
    failed |= !skipped;
    return skipped ? 0 : -1;
}

#endif
