/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "file.h"

/* Where the first pinned byte is in the mapping of the pin module, which RDMA
 * devices can register; NULL without the module, or after a revoke. Stays until
 * daxpin_unpin(); the memory behind it becomes anonymous at a revoke. */
void *daxpin_pin_alias(const daxpin_pin_t *pin);

/* Return a pin that overlaps the range, or NULL. Takes O(log pins). Caller does
 * not hold daxpin_mutex. */
daxpin_pin_t *daxpin_pin_find(daxpin_file_t *file, uint64_t offset,
                              size_t length);

/* Get which part of the file a pin covers. Needs no lock. */
void daxpin_pin_range(const daxpin_pin_t *pin, uint64_t *offset_p,
                      size_t *length_p);

/* With daxpin_mutex held: what the module keeps for the pins of a file goes. In
 * the child of a fork, too. */
void daxpin_pins_revoke(daxpin_pins_t *pins);
void daxpin_pins_fork(daxpin_pins_t *pins);

#endif
