/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Which locks daxpin could have on a file, and which processes have it open */

#ifndef DAXPIN_TOOLS_LOCKS_H_
#define DAXPIN_TOOLS_LOCKS_H_

#include "proc.h"
#include "storage.h"

#define LOCKS_REASON_MAX  512
#define LOCKS_OPENERS_MAX 64

typedef enum daxpin_verdict {
    DAXPIN_VERDICT_NO,
    DAXPIN_VERDICT_UNFIT, /* no: it is there, and cannot be used */
    DAXPIN_VERDICT_YES,
    DAXPIN_VERDICT_UNKNOWN
} daxpin_verdict_t;

/* Processes that have a file open or mapped */
typedef struct daxpin_openers {
    unsigned      count;  /* of procs */
    unsigned      more;   /* openers for which procs has no room */
    unsigned      hidden; /* processes that this user may not read */
    daxpin_proc_t procs[LOCKS_OPENERS_MAX];
} daxpin_openers_t;

void daxpin_openers_find(const daxpin_storage_t *storage,
                         daxpin_openers_t *openers);

/* Each of these writes why, and what to do about it, into a buffer of
 * LOCKS_REASON_MAX bytes; "": nothing needs to be said. */

/* Check whether leases on the file system notify of every process that changes
 * a file. If not, daxpin refuses the file, or the environment allows it. */
daxpin_verdict_t daxpin_trust_verdict(const daxpin_storage_t *storage,
                                      char *reason);

/* Check whether daxpin would get the lease on a file, or on a new file in a
 * directory. The file is not opened: that alone could break another process's
 * lease. */
daxpin_verdict_t daxpin_lease_verdict(const daxpin_storage_t *storage,
                                      const daxpin_openers_t *openers,
                                      char *reason);

/* Try on a scratch file whether a truncate waits for a held block */
daxpin_verdict_t daxpin_hold_verdict(const daxpin_storage_t *storage,
                                     char *reason);

/* Check whether the pin module and the guard daemon are there and usable */
daxpin_verdict_t daxpin_kmod_verdict(char *reason);
daxpin_verdict_t daxpin_guard_verdict(char *reason);

/* Return what the pin module offers to RDMA devices: DAXPIN_IOC_MAPPING,
 * DAXPIN_IOC_DMABUF. 0: this process has no module. */
unsigned daxpin_kmod_offers(void);

/* Check whether this process has the capability with a number */
int daxpin_has_capability(unsigned number);

#endif
