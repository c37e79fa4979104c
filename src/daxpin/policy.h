/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_POLICY_H_
#define DAXPIN_POLICY_H_

/* The files that daxpin_file_adopt() leases, as set with daxpin_set_files(), and
 * the file systems of files that daxpin leases at all. Thread-safe. */

#include "daxpin.h"

/* Return whether a named directory is above the path, which is absolute and has
 * no links in it. */
int daxpin_policy_names_path(const char *path);

/* Return whether all files on fsdax are named. */
int daxpin_policy_names_fsdax(void);

/* Check that the leases of the file system of a descriptor notify of every
 * process that changes the file, or that the user does without: then warn, once
 * a file. path is for messages. Return 0, or -errno with a message. Needs no
 * lock. */
int daxpin_policy_check_fs(const char *path, int fd,
                           const daxpin_params_t *params);

#endif
