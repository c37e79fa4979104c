/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What programs have mapped, for the memory domain that packs the keys */

#ifndef UCT_DAXPIN_MAPPED_H_
#define UCT_DAXPIN_MAPPED_H_

#include "daxpin_mr.h"
#include "daxpin_rkey.h"

/* Add a registration. Needs no memory. */
void uct_daxpin_mapped_add(uct_daxpin_memh_t *memh);

/* Remove a registration, and end the memory regions of its range and file, unless
 * another registration has exactly the same range of the file in memory */
void uct_daxpin_mapped_remove(uct_daxpin_memh_t *memh);

/* Return whether a program has mapped exactly this range, and it is of a file
 * under lease that devices may write to. Of several registrations of the range, the
 * last counts: the program may have mapped another file there after a revoke. */
int uct_daxpin_mapped_has_file(const void *address, size_t length);

/* Have a memory region end with the last registration of exactly its range and its
 * part of the file. Return 0 if the range is not of that part, or not any more: then
 * the region stays the caller's. */
int uct_daxpin_mapped_add_mr(uct_daxpin_mr_t *mr);

/* Get the remote key of the memory region that a memory domain of ib has of
 * exactly this range, and of what its last registration is of. Return 0 if there is
 * none, or only one that a revoke has ended. */
int uct_daxpin_mapped_mr_key(uct_md_h md, const void *address, size_t length,
                             uint32_t *rkey_p);

/* End all memory regions of a memory domain of ib, which is about to close */
void uct_daxpin_mapped_end_mrs(uct_md_h md);

/* Pack the key of the registration that has exactly this range. If there is
 * none, the range is the buffer of a message: its key is for this process. */
void uct_daxpin_mapped_pack(const void *address, size_t length,
                            void *rkey_buffer);

#endif
