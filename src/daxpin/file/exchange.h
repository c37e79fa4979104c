/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_EXCHANGE_H_
#define DAXPIN_EXCHANGE_H_

/* Mappings and descriptors of the program become those of the holder */

#include "file.h"

/* Make every mapping and descriptor of the file in this process one of
 * file->fd's open file description. Without daxpin_mutex. */
int daxpin_file_exchange(daxpin_file_t *file);

#endif
