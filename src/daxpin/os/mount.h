/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MOUNT_H_
#define DAXPIN_MOUNT_H_

#include <limits.h>
#include <sys/types.h>

/* A mounted file system, as /proc/self/mountinfo has it */
typedef struct daxpin_mount {
    int   id;                /* as of statx() */
    dev_t dev;
    char  point[PATH_MAX];
    char  type[64];
    char  source[PATH_MAX];  /* a device, or a word */
    char  options[1024];     /* of the mount, then of the file system */
} daxpin_mount_t;

/* Walk over them until func returns other than 0, and return that, or a
 * negative errno */
typedef int (*daxpin_mount_func_t)(const daxpin_mount_t *mount, void *arg);
int daxpin_mount_walk(daxpin_mount_func_t func, void *arg);

/* The one that a file is on; dirfd and path as for statx(), which opens
 * nothing; path "" is dirfd itself. 0 or a negative errno. */
int daxpin_mount_find(int dirfd, const char *path, daxpin_mount_t *mount);

/* Has it this option? With a value: "name=value". */
int daxpin_mount_has_option(const daxpin_mount_t *mount, const char *option);

/* Its block device; 0: it has none, as tmpfs */
dev_t daxpin_mount_device(const daxpin_mount_t *mount);

#endif
