/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What only the tools read in /proc: the user of a process, all leases */

#ifndef DAXPIN_TOOLS_PROC_H_
#define DAXPIN_TOOLS_PROC_H_

#include "daxpin/os/proc.h"

typedef struct daxpin_proc {
    pid_t pid;
    pid_t own_pid;     /* in the innermost pid namespace of the process */
    uid_t uid;
    char  command[32];
} daxpin_proc_t;

/* Read /proc/<pid>/status. Return 0 or -errno; -ENOENT: there is no such
 * process. */
int daxpin_proc_read_status(pid_t pid, daxpin_proc_t *proc);

/* The leases of all processes at one moment */
typedef struct daxpin_leases {
    daxpin_lease_line_t *lines;
    size_t              count;
    int                 error; /* errno value: they cannot be read */
} daxpin_leases_t;

void daxpin_leases_read(daxpin_leases_t *leases);
void daxpin_leases_free(daxpin_leases_t *leases);

/* Return the lease on a file or NULL. dev may be another than the kernel's
 * number of the file system; then pid, the process that has the lease, decides.
 * pid 0: not known. */
const daxpin_lease_line_t *daxpin_leases_find(const daxpin_leases_t *leases,
                                              dev_t dev, uint64_t ino,
                                              pid_t pid);

#endif
