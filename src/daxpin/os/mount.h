/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Mounted file systems, as /proc/self/mountinfo lists them */

#ifndef DAXPIN_MOUNT_H_
#define DAXPIN_MOUNT_H_

#include <limits.h>
#include <sys/types.h>

typedef struct daxpin_mount {
    int   id;                /* as in fdinfo */
    dev_t dev;               /* may be a number that no device has */
    char  point[PATH_MAX];
    char  type[64];
    char  source[PATH_MAX];  /* a device, or a word */
    char  options[1024];     /* of the mount, then of the file system */
} daxpin_mount_t;

typedef int (*daxpin_mount_func_t)(const daxpin_mount_t *mount, void *arg);

/* Call func for each mount, until it returns non-zero. Return what func
 * returned last, or -errno. */
int daxpin_mount_walk(daxpin_mount_func_t func, void *arg);

/* Find the mount that a file is on. dirfd and path as for statx(); path "" stands
 * for dirfd itself. The file is not opened but with O_PATH, which breaks no
 * lease. Return 0 or -errno. */
int daxpin_mount_find(int dirfd, const char *path, daxpin_mount_t *mount);

/* Check whether a mount has an option; of one with a value: "name=value" */
int daxpin_mount_has_option(const daxpin_mount_t *mount, const char *option);

/* Return the block device of a mount; 0 if it has none, like tmpfs */
dev_t daxpin_mount_device(const daxpin_mount_t *mount);

#endif
