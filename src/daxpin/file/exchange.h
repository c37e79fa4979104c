/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_EXCHANGE_H_
#define DAXPIN_EXCHANGE_H_

/* Exchange the program's mappings and descriptors for the holder's
 * description */

#include "daxpin/os/vma.h"
#include "file.h"

/* Make every mapping and descriptor of the file in this process one of
 * file->fd's open file description. What is one already stays untouched, as far
 * as that can be told. Return 0, or -errno with a message. Caller
 * does not hold daxpin_mutex. */
int daxpin_file_exchange(daxpin_file_t *file);

/* Return 1 if an exchange would change nothing, because this process has made
 * one, and the lease is whole since: there is no other description of the file
 * in any process. What this costs does not grow with what the process has
 * mapped and open. vma: a mapping of the file that was just looked at, and is
 * watched for faults from now on; NULL if none is to be adopted. Return 0 if an
 * exchange has to be made, or -errno with a message. Caller does not hold
 * daxpin_mutex. */
int daxpin_file_is_exchanged(daxpin_file_t *file, const daxpin_vma_t *vma);

#endif
