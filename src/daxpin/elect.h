/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ELECT_H_
#define DAXPIN_ELECT_H_

/* Elect the holder of a file among the processes of the node */

#include "daxpin.h"
#include "description.h"

#include <stdint.h>
#include <sys/stat.h>

/*
 * The first process of the node that takes the address of a file (os/address.h)
 * becomes the holder. All other processes connect to that address and become
 * members. Caller of a function below does not hold daxpin_mutex.
 */

/* Find or create this process's handle of the file, with a reference. As the
 * holder, get the description from @a ops. join: the process has opened the
 * file by itself, and exchanges its descriptors for the holder's description.
 * Does not wait for the lease. Return 0, or -errno with a message. */
int daxpin_elect(const char *path, const struct stat *st, int join,
                 const daxpin_params_t *params,
                 const daxpin_description_ops_t *ops, void *arg,
                 daxpin_file_t **file_p);

/* Find or create this process's handle of a file whose holder is another
 * process, with a reference, and exchange this process's descriptors. Never
 * becomes the holder. Does not wait for the lease. Return 0, or -errno with a
 * message. */
int daxpin_elect_lend(const char *path, const struct stat *st,
                      const daxpin_params_t *params, daxpin_file_t **file_p);

/* Find or create this process's handle of the file that a remote key names,
 * with a reference. Never becomes the holder. Return 0, or -errno with a
 * message. */
int daxpin_elect_attach(const daxpin_key_t *key, daxpin_file_t **file_p);

/* Call a function while no process of the node has the file, or can open it with
 * this library. Wait for that until the deadline (ns), else do not call it. The
 * last message of this thread stays. */
void daxpin_elect_nobody(const struct stat *st, uint64_t deadline,
                         void (*func)(void *arg), void *arg);

/* Return when an election with these parameters ends (ns). */
uint64_t daxpin_elect_deadline(const daxpin_params_t *params);

#endif
