/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What programs have mapped, for the memory domain that packs the keys */

#ifndef UCT_DAXPIN_MAPPED_H_
#define UCT_DAXPIN_MAPPED_H_

#include "daxpin_rkey.h"

/* Add a registration. Needs no memory. */
void uct_daxpin_mapped_add(uct_daxpin_memh_t *memh);

void uct_daxpin_mapped_remove(uct_daxpin_memh_t *memh);

/* Pack the key of the registration that has exactly this range. If there is
 * none, the range is the buffer of a message: its key is for this process. */
void uct_daxpin_mapped_pack(const void *address, size_t length,
                            void *rkey_buffer);

#endif
