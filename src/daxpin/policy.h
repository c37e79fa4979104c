/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_POLICY_H_
#define DAXPIN_POLICY_H_

/* Which files daxpin_file_adopt() is concerned with: daxpin_set_files().
 * Thread-safe. */

/* Return whether a directory is named that the path, absolute and without
 * links, is below. */
int daxpin_policy_names_path(const char *path);

/* Return whether any file on fsdax is concerned. */
int daxpin_policy_names_fsdax(void);

#endif
