/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MAPS_H_
#define DAXPIN_MAPS_H_

/* Mappings of a file in this process */

#include "file.h"

/* Replace all of this process's ranges of the file by anonymous memory */
void daxpin_file_replace_maps(daxpin_file_t *file);

/* A mapping of the library's own that reaches to end, or NULL. With daxpin_mutex
 * held. */
daxpin_map_t *daxpin_file_find_map(daxpin_file_t *file, uint64_t end);

/* An adopted range, page-aligned. Without daxpin_mutex. */
int  daxpin_file_add_map(daxpin_file_t *file, uintptr_t addr, size_t length,
                         uint64_t offset, int prot);

void daxpin_file_remove_map(daxpin_file_t *file, uintptr_t addr, size_t length);

/* In the child of a fork: replace the mappings of the library's own. Each would
 * keep the description alive, and with it the lease, even when the parent has
 * died. What the program has mapped by itself is inherited as ever. */
void daxpin_file_replace_own_maps(daxpin_file_t *file);

#endif
