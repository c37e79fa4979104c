/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What a file is on: file system, device, and whether it is used with DAX */

#ifndef DAXPIN_TOOLS_STORAGE_H_
#define DAXPIN_TOOLS_STORAGE_H_

#include "daxpin/os/fstype.h"
#include "daxpin/os/mount.h"

#include <limits.h>
#include <sys/stat.h>

#define STORAGE_REASON_MAX 512

typedef struct daxpin_storage {
    char           path[PATH_MAX]; /* real */
    char           dir[PATH_MAX];  /* the path or, of a file, its directory */
    struct stat    st;
    int            is_device_dax;
    int            has_mount;
    daxpin_mount_t mount;
    daxpin_fstype_t fstype;       /* of a file or directory */
    int            scratch_error; /* errno value: no scratch file in dir */
    int            dax;           /* 1, 0; -1: not known */
    char           no_dax_reason[STORAGE_REASON_MAX]; /* and what to do */
    dev_t          dev;           /* of the device; 0: none */
    char           device[64];    /* "/dev/pmem0"; "" */
    int            numa_node;     /* -1: not known */
    const char     *granularity;  /* as daxpin_file_granularity() */
} daxpin_storage_t;

/* Query what a file or directory is on. The file is not opened; scratch files
 * are. Return 0, or -errno if there is no such path. */
int daxpin_storage_query(const char *path, daxpin_storage_t *storage);

/* Open a scratch file, one without a name, in a directory. Return its
 * descriptor or -errno. */
int daxpin_storage_scratch(const char *dir);

/* Check whether files on a device can be used without the page cache */
int daxpin_storage_is_pmem(dev_t dev);

#endif
