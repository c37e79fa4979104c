/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "daxpin/daxpin.h"

/* The pins of one file: a treap ordered by offset, each node knowing the
 * greatest end below it, so that an overlap is found in O(log pins). */
typedef struct daxpin_pins {
    daxpin_pin_t *root;
    size_t       count;
    size_t       modules; /* those that the pin module has pinned */
    int          watched; /* one of them tells of breaks of the lease */
} daxpin_pins_t;

/* Call func for every pin, with its first byte and the one behind it, as long
 * as it returns other than 0. What it returned last. With daxpin_lock held. */
typedef int (*daxpin_pin_func_t)(uint64_t start, uint64_t end, void *arg);

int daxpin_pins_each(const daxpin_pins_t *pins, daxpin_pin_func_t func,
                     void *arg);

/* Where the first pinned byte is in the mapping of the pin module, which RDMA
 * devices can register; NULL without the module, or after a revoke. Stays until
 * daxpin_unpin(); the memory behind it becomes anonymous at a revoke. */
void *daxpin_pin_alias(const daxpin_pin_t *pin);

/* With daxpin_lock held: what the module keeps for the pins of a file goes. In
 * the child of a fork, too. */
void daxpin_pins_revoke(daxpin_pins_t *pins);
void daxpin_pins_fork(daxpin_pins_t *pins);

#endif
