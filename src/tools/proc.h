/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_PROC_H_
#define DAXPIN_TOOLS_PROC_H_

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc tells of processes, descriptors, mappings and leases. Nothing
 * here opens a file that somebody else has open: that would break its lease. */

typedef struct daxpin_proc {
    pid_t pid;
    pid_t own_pid;     /* as the process itself knows it */
    uid_t uid;
    char  command[32];
} daxpin_proc_t;

/* 0 or -errno: -ENOENT there is no such process (any more) */
int daxpin_proc_look(pid_t pid, daxpin_proc_t *proc);

/* Walks end early when func returns other than 0, and return that */
typedef int (*daxpin_proc_func_t)(pid_t pid, void *arg);
int daxpin_proc_walk(daxpin_proc_func_t func, void *arg);

/* A descriptor of a process, what it leads to as the kernel calls it, and
 * /proc/<pid>/fd. A negative errno where that cannot be read. */
typedef int (*daxpin_proc_link_func_t)(int dir, int fd, const char *target,
                                       void *arg);
int daxpin_proc_walk_links(pid_t pid, daxpin_proc_link_func_t func, void *arg);

/* Has the process a descriptor or a mapping of this file? 1, 0, or a negative
 * errno where it cannot be looked at. path: as it is mapped; may be NULL. */
int daxpin_proc_has_file(pid_t pid, dev_t dev, uint64_t ino,
                         const char *path);

/* A lease of the kernel, a line of /proc/locks */
typedef struct daxpin_lease_line {
    int      breaking;
    int      write;    /* exclusive */
    pid_t    pid;
    dev_t    dev;      /* of the file system, which is not always st_dev */
    uint64_t ino;
} daxpin_lease_line_t;

typedef struct daxpin_leases {
    daxpin_lease_line_t *lines;
    size_t              count;
    int                 error; /* errno value: they cannot be read */
} daxpin_leases_t;

void daxpin_leases_read(daxpin_leases_t *leases);
void daxpin_leases_free(daxpin_leases_t *leases);

/* The lease on a file or NULL. pid: who has it, should the device not tell;
 * or 0. */
const daxpin_lease_line_t *daxpin_leases_find(const daxpin_leases_t *leases,
                                              dev_t dev, uint64_t ino,
                                              pid_t pid);

/* The first line of a small file, such as those of sysfs. 0 or -errno. */
int daxpin_proc_read(const char *path, char *buffer, size_t size);

#endif
