/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LIBRARY_H_
#define DAXPIN_LIBRARY_H_

/* The library as a whole */

/* Start the library's thread, its report and its handler of SIGBUS, where they
 * are not there yet. Return 0, or -errno with a message. Thread-safe; without
 * daxpin_mutex. */
int daxpin_library_start(void);

#endif
