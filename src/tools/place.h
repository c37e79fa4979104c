/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Where the parts of this daxpin are installed, or were built */

#ifndef DAXPIN_TOOLS_PLACE_H_
#define DAXPIN_TOOLS_PLACE_H_

#include <limits.h>

#define DAXPIN_UCX_PLUGIN_FILE "libuct_daxpin.so.0"
#define DAXPIN_MCA_DIRS_MAX    8

/* An empty string: that part is not there */
typedef struct daxpin_place {
    int      uninstalled;          /* 1: in the tree where it was built */
    char     bin[PATH_MAX];        /* the directory of the command */
    char     lib[PATH_MAX];        /* the directory of libdaxpin */
    char     ucx_plugin[PATH_MAX]; /* the file libuct_daxpin */
    char     ucx_plugin_path[PATH_MAX]; /* where it should be */
    char     probe[PATH_MAX];      /* the program that a doctor's job runs */
    unsigned mca_count;
    char     mca[DAXPIN_MCA_DIRS_MAX][PATH_MAX]; /* components of Open MPI */
} daxpin_place_t;

/* Find the parts from the path of the running command. Return 0, or -1 after a
 * message. */
int daxpin_place_find(daxpin_place_t *place);

#endif
