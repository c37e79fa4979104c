/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_PLACE_H_
#define DAXPIN_TOOLS_PLACE_H_

#include <limits.h>

#define DAXPIN_UCX_MODULE_FILE "libuct_daxpin.so.0"
#define DAXPIN_MCA_DIRS_MAX    8

/* Where the parts of this daxpin are. An empty string: that part is not
 * there. */
typedef struct daxpin_place {
    int      uninstalled;          /* the tree it was built in */
    char     bin[PATH_MAX];        /* the directory of the command */
    char     lib[PATH_MAX];        /* the directory of libdaxpin */
    char     ucx_module[PATH_MAX]; /* the file libuct_daxpin */
    char     ucx_wanted[PATH_MAX]; /* where it would be, for messages */
    char     probe[PATH_MAX];      /* the program that a doctor's job runs */
    unsigned mca_count;
    char     mca[DAXPIN_MCA_DIRS_MAX][PATH_MAX]; /* Open MPI's components */
} daxpin_place_t;

/* Find them, seen from the running command. 0, or -1 after a message. */
int daxpin_place_find(daxpin_place_t *place);

#endif
