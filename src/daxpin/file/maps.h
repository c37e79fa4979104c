/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MAPS_H_
#define DAXPIN_MAPS_H_

/* Mappings of a file in this process, which a revoke replaces */

#include "file.h"

/* Replace all mappings of this process that show the file through the holder's
 * description by a sink: what is left of them in the known ranges, and what the
 * program has moved elsewhere. Nothing is replaced where no range is known, as
 * when an adoption has failed. Caller holds daxpin_mutex. */
void daxpin_file_replace_maps(daxpin_file_t *file);

/* Replace the pages that the fault handler has put into the known ranges after
 * they were replaced. Caller holds daxpin_mutex. */
void daxpin_file_replace_late(const daxpin_file_t *file);

/* Take the held page out of all mappings of this process that a revoke would
 * replace. Skip that if a revoke may have replaced them already: other memory
 * is there then. Caller holds daxpin_mutex. */
void daxpin_file_unmap_held(const daxpin_file_t *file);

/* Unmap one of the library's own mappings. */
void daxpin_map_unmap(daxpin_map_t *map);

/* Return a mapping of the library's own that reaches to end, or NULL. Caller
 * holds daxpin_mutex. */
daxpin_map_t *daxpin_file_find_map(daxpin_file_t *file, uint64_t end);

/* Return a mapping of the library's own that has a range of memory, or NULL.
 * Caller holds daxpin_mutex. */
const daxpin_map_t *daxpin_file_find_own_map(const daxpin_file_t *file,
                                             uintptr_t addr, size_t length);

/* Add an adopted range, page-aligned, or one more reference to it. Return 0, or
 * -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_file_add_map(daxpin_file_t *file, uintptr_t addr, size_t length,
                        uint64_t offset, int prot);

/* Drop a reference to an adopted range. If a process waits for the hold, take
 * the held page out of the range, because that can be done only as long as the
 * range is the library's to replace. Caller does not hold daxpin_mutex. */
void daxpin_file_remove_map(daxpin_file_t *file, uintptr_t addr, size_t length);

/* Take the library's own mappings away in the child of a fork. Each would keep
 * the open file description alive, and with it the lease, even after the parent
 * has died. What the child would need to see there, a copy of the bytes at the
 * moment of the fork, may be terabytes. Other memory in that place would read
 * as zeros that were never in the file, and stores to it would get lost. So an
 * access faults. The child keeps mappings of the program, as after any fork.
 * Caller holds daxpin_mutex. */
void daxpin_file_forbid_own_maps(daxpin_file_t *file);

#endif
