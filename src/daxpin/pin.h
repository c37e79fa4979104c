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

#endif
