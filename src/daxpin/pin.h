/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "daxpin.h"

/* The pins of one file: a treap ordered by offset, each node knowing the
 * greatest end below it, so that an overlap is found in O(log pins). */
typedef struct daxpin_pins {
    daxpin_pin_t *root;
    size_t       count;
} daxpin_pins_t;

/* Call func for every pin, with its first byte and the one behind it, as long
 * as it returns other than 0. What it returned last. With daxpin_lock held. */
typedef int (*daxpin_pin_func_t)(uint64_t start, uint64_t end, void *arg);

int daxpin_pins_each(const daxpin_pins_t *pins, daxpin_pin_func_t func,
                     void *arg);

#endif
