/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ADVICE_H_
#define DAXPIN_ADVICE_H_

/* What the program has asked of its mappings by mlock(), madvise(), mbind() and
 * the like. A mapping that takes the place of another has nothing of it. */

#include <stdint.h>

typedef enum daxpin_advice {
    DAXPIN_ADVICE_LOCK       = 1 << 0, /* mlock() */
    DAXPIN_ADVICE_ONFAULT    = 1 << 1, /* with MLOCK_ONFAULT */
    DAXPIN_ADVICE_DONTFORK   = 1 << 2,
    DAXPIN_ADVICE_DONTDUMP   = 1 << 3,
    DAXPIN_ADVICE_RANDOM     = 1 << 4,
    DAXPIN_ADVICE_SEQUENTIAL = 1 << 5,
    DAXPIN_ADVICE_HUGEPAGE   = 1 << 6,
    DAXPIN_ADVICE_NOHUGEPAGE = 1 << 7,

    /* These cannot be applied to another mapping */
    DAXPIN_ADVICE_USERFAULT  = 1 << 8, /* userfaultfd() */
    DAXPIN_ADVICE_KEY        = 1 << 9  /* pkey_mprotect() */
} daxpin_advice_t;

typedef void (*daxpin_advice_func_t)(uintptr_t start, uintptr_t end,
                                     unsigned advice, void *arg);

/* Call func for each mapping of this process, with a mask of daxpin_advice_t.
 * Return 0 or -errno. */
int daxpin_advice_each(daxpin_advice_func_t func, void *arg);

/* Check that the advice, which a mapping has, could be applied again: a limit may
 * have become lower. The mapping stays as it is. Return 0 or -errno; *name_p is
 * then the call that has failed. */
int daxpin_advice_check(uintptr_t start, uintptr_t end, unsigned advice,
                        const char **name_p);

/* Apply the advice to a mapping. One that is to be locked is locked page by page,
 * as the pages come, because to have them all takes long: see
 * daxpin_advice_fill(). Return as above. */
int daxpin_advice_apply(uintptr_t start, uintptr_t end, unsigned advice,
                        const char **name_p);

/* Return whether the advice is to have all pages in memory, which is still to be
 * done after it was applied. */
int daxpin_advice_fills(unsigned advice);

/* Have all pages of a range in memory, and locked. What cannot be there, such as
 * what is beyond the end of the file, was not there before. */
void daxpin_advice_fill(uintptr_t start, uintptr_t end);

#define DAXPIN_POLICY_NODES 1024 /* as many as the kernel can have */

/* The NUMA policy of a mapping, by mbind() */
typedef struct daxpin_policy {
    int           mode;
    unsigned long nodes[DAXPIN_POLICY_NODES / (8 * sizeof(unsigned long))];
} daxpin_policy_t;

/* Get the policy of the mapping at an address; none where the kernel reports
 * none. */
void daxpin_policy_get(uintptr_t addr, daxpin_policy_t *policy);

/* Set the policy of a mapping that has taken the place of another, unless it
 * has that policy: some file systems keep it with the file. Return 0 or
 * -errno. */
int daxpin_policy_apply(uintptr_t start, uintptr_t end,
                        const daxpin_policy_t *policy);

#endif
