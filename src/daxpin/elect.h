/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ELECT_H_
#define DAXPIN_ELECT_H_

#include "daxpin.h"
#include "description.h"

#include <stdint.h>
#include <sys/stat.h>

/*
 * Which process of the node holds a file: whoever binds its address first.
 * Everybody else asks at that address.
 */

/* Find or make this process's handle of the file. join: it has the file open
 * by itself, and gives that up. Does not wait for the lease. */
int daxpin_elect(const char *path, const struct stat *st, int join,
                 const daxpin_params_t *params,
                 const daxpin_description_ops_t *ops, void *arg,
                 daxpin_file_t **file_p);

int daxpin_elect_attach(const daxpin_key_t *key, daxpin_file_t **file_p);

/* When to give up (ns) */
uint64_t daxpin_elect_deadline(const daxpin_params_t *params);

/* In the child of a fork */
void daxpin_elect_fork(void);

#endif
