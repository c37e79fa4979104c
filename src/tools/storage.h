/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_STORAGE_H_
#define DAXPIN_TOOLS_STORAGE_H_

#include "daxpin/os/mount.h"

#include <limits.h>
#include <sys/stat.h>

#define STORAGE_REASON_MAX 512

/* What a file is on. Looks at it, and opens nothing but scratch files beside
 * it, which have no name. */
typedef struct daxpin_storage {
    char           path[PATH_MAX]; /* real */
    char           dir[PATH_MAX];  /* itself, or the one it is in */
    struct stat    st;
    int            is_device_dax;
    int            has_mount;
    daxpin_mount_t mount;
    int            scratch_error; /* errno value: no scratch file in dir */
    int            dax;           /* -1: not known */
    char           why_not[STORAGE_REASON_MAX]; /* and what to do */
    dev_t          dev;           /* of the device; 0: none */
    char           device[64];    /* "/dev/pmem0"; "" */
    int            numa_node;     /* -1: not known */
    const char     *granularity;  /* as daxpin_file_granularity() */
} daxpin_storage_t;

/* 0, or -errno: the path cannot be looked at */
int daxpin_storage_look(const char *path, daxpin_storage_t *storage);

/* A file without a name in a directory, for trying things out. -errno */
int daxpin_storage_scratch(const char *dir);

/* Is this device one that files can be used on without the page cache? */
int daxpin_storage_is_pmem(dev_t dev);

#endif
