/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time and medians */

#ifndef DAXPIN_BENCH_STATS_H_
#define DAXPIN_BENCH_STATS_H_

#include <stdlib.h>
#include <time.h>

/* Return the time in seconds */
static inline double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + (ts.tv_nsec * 1e-9);
}

static int stats_compare(const void *a, const void *b)
{
    double x = *(const double*)a, y = *(const double*)b;

    return (x > y) - (x < y);
}

/* Return the median. Sorts the values. */
static inline double median(double *values, int count)
{
    qsort(values, count, sizeof(*values), stats_compare);
    return values[count / 2];
}

#endif
