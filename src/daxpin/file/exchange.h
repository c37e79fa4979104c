/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_EXCHANGE_H_
#define DAXPIN_EXCHANGE_H_

/* Exchange the program's mappings and descriptors for the holder's
 * description */

#include "file.h"

/* Make every mapping and descriptor of the file in this process one of
 * file->fd's open file description. What is one already stays untouched, as far
 * as that can be told. Return 0, or -errno with a message. Caller
 * does not hold daxpin_mutex. */
int daxpin_file_exchange(daxpin_file_t *file);

#endif
