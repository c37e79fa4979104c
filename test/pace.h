/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_PACE_H_
#define DAXPIN_TEST_PACE_H_

/* How fast this machine is, and how much is to be done; see test/lib.sh */

#include <stdlib.h>

/* How many times longer than elsewhere things may take */
static inline unsigned pace_slow(void)
{
    const char *value = getenv("DAXPIN_TEST_SLOW");

    return (value != NULL) ? (unsigned)atoi(value) : 1;
}

/* Fewer rounds of what is repeated */
static inline unsigned pace_rounds(unsigned rounds, unsigned quick)
{
    const char *value = getenv("DAXPIN_TEST_QUICK");

    return ((value != NULL) && (atoi(value) != 0)) ? quick : rounds;
}

#endif
