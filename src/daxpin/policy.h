/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_POLICY_H_
#define DAXPIN_POLICY_H_

/* The files that daxpin_file_adopt() leases, as set with daxpin_set_files().
 * Thread-safe. */

/* Return whether a named directory is above the path, which is absolute and has
 * no links in it. */
int daxpin_policy_names_path(const char *path);

/* Return whether all files on fsdax are named. */
int daxpin_policy_names_fsdax(void);

#endif
