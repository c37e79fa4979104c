/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LIFE_H_
#define DAXPIN_LIFE_H_

/* How a file begins and ends in this process */

#include "file.h"
#include "join.h"

/* Both take what they are given (descriptors, sockets), even when they fail.
 * path NULL: as the holder calls it. Without daxpin_mutex. */
int daxpin_file_create_holder(const char *path, const struct stat *st, int fd,
                              int listen_fd, const daxpin_params_t *params,
                              daxpin_file_t **file_p);

int daxpin_file_create_member(const char *path, const struct stat *st,
                            const daxpin_welcome_t *welcome, int exposed,
                            daxpin_file_t **file_p);

/* The last reference is gone and so is the last reason to stay: F_UNLCK,
 * close, free. With daxpin_mutex held. */
void daxpin_file_destroy_if_unused(daxpin_file_t *file);

/* In the child of a fork: keep nothing open, allow nothing */
void daxpin_files_fork(void);

#endif
