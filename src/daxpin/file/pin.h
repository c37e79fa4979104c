/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

/* Pinned ranges of a file and their owners */

#include "file.h"

/* Return the address of the first pinned byte in the mapping of the pin
 * module's device, which RDMA devices can register. Return NULL without the
 * pin module, or after a revoke. The address stays valid until
 * daxpin_unpin(); a revoke replaces the memory behind it by anonymous
 * memory. Caller does not hold daxpin_mutex. */
void *daxpin_pin_alias(const daxpin_pin_t *pin);

/* Return a new descriptor of a dma-buf that has the pinned bytes from *offset_p
 * on, which RDMA devices can register. Devices lose it at a revoke. Return
 * -ENOENT if the pin has none, or another -errno. Caller does not hold
 * daxpin_mutex. */
int daxpin_pin_dmabuf(const daxpin_pin_t *pin, uint64_t *offset_p);

/* Return a pin that overlaps the range, or NULL. Takes O(log pins). Caller does
 * not hold daxpin_mutex. */
daxpin_pin_t *daxpin_pin_find(daxpin_file_t *file, uint64_t offset,
                              size_t length);

/* Get which part of the file a pin covers. Needs no lock. */
void daxpin_pin_range(const daxpin_pin_t *pin, uint64_t *offset_p,
                      size_t *length_p);

/* End all kernel pins of a file; as dma-bufs later, see daxpin_kmod_revoke().
 * Caller holds daxpin_mutex. */
void daxpin_pins_revoke(daxpin_pins_t *pins, int later);

/* Forget all kernel pins of a file in the child of a fork. Caller holds
 * daxpin_mutex. */
void daxpin_pins_fork(daxpin_pins_t *pins);

#endif
