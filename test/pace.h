/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The pace of the tests: how slow this machine is, and how many rounds run */

#ifndef DAXPIN_TEST_PACE_H_
#define DAXPIN_TEST_PACE_H_

#include <stdlib.h>

/* Return how many times longer than elsewhere a test may take. */
static inline unsigned pace_slow(void)
{
    const char *value = getenv("DAXPIN_TEST_SLOW");

    return (value != NULL) ? (unsigned)atoi(value) : 1;
}

/* Return the number of rounds of a repeated test. */
static inline unsigned pace_rounds(unsigned rounds, unsigned quick)
{
    const char *value = getenv("DAXPIN_TEST_QUICK");

    return ((value != NULL) && (atoi(value) != 0)) ? quick : rounds;
}

#endif
