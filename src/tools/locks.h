/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_LOCKS_H_
#define DAXPIN_TOOLS_LOCKS_H_

#include "proc.h"
#include "storage.h"

#define LOCKS_REASON_MAX  512
#define LOCKS_OPENERS_MAX 64

typedef enum daxpin_verdict {
    DAXPIN_VERDICT_NO,
    DAXPIN_VERDICT_YES,
    DAXPIN_VERDICT_UNKNOWN
} daxpin_verdict_t;

/* Who has a file open */
typedef struct daxpin_openers {
    unsigned      count;  /* of those below */
    unsigned      more;   /* beyond those */
    unsigned      hidden; /* processes that cannot be looked at */
    daxpin_proc_t procs[LOCKS_OPENERS_MAX];
} daxpin_openers_t;

void daxpin_openers_find(const daxpin_storage_t *storage,
                         daxpin_openers_t *openers);

/* Each of these says why, and what to do, in a buffer of LOCKS_REASON_MAX */

/* Would daxpin get the lease on this file, or on a new one in this directory?
 * The file is not opened: that alone could break somebody's lease. */
daxpin_verdict_t daxpin_lease_verdict(const daxpin_storage_t *storage,
                                      const daxpin_openers_t *openers,
                                      char *why);

/* Does a hold on the blocks stop a truncate there? Tried on a scratch file. */
daxpin_verdict_t daxpin_hold_verdict(const daxpin_storage_t *storage,
                                     char *why);

/* The pin module and the guard: there, and usable? */
daxpin_verdict_t daxpin_module_verdict(char *why);
daxpin_verdict_t daxpin_guard_verdict(char *why);

/* Has this process the capability of that number? */
int daxpin_has_capability(unsigned number);

#endif
