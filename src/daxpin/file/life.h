/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LIFE_H_
#define DAXPIN_LIFE_H_

/* Create and destroy the files of this process */

#include "file.h"
#include "join.h"

/* Create the file of a holder. Takes *fd_p and the address, even when it fails:
 * both are empty then, from the moment when a fork() finds them in the list of all
 * files. Return 0, or -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_file_create_holder(const char *path, const struct stat *st,
                              int *fd_p, daxpin_address_t *address,
                              const daxpin_params_t *params,
                              daxpin_file_t **file_p);

/* Create the file of a member. path NULL: the holder's path. Takes the
 * descriptors of the welcome, even when it fails, in the same way. Return 0, or
 * -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_file_create_member(const char *path, const struct stat *st,
                              daxpin_welcome_t *welcome, int exposed,
                              daxpin_file_t **file_p);

/* Release the lease, close and free the file, if it has no reference and no
 * other reason to stay. Caller holds daxpin_mutex. */
void daxpin_file_destroy_if_unused(daxpin_file_t *file);

/* Go on to unmap the held pages of files that were destroyed, while processes
 * wait for the holds, and free these files. Return when to call again (ns).
 * Caller holds daxpin_mutex. */
uint64_t daxpin_files_leave(uint64_t now);

/* Close all files in the child of a fork, and allow no access to them. Caller
 * holds daxpin_mutex. */
void daxpin_files_fork(void);

#endif
