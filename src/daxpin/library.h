/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LIBRARY_H_
#define DAXPIN_LIBRARY_H_

/* Start of the library */

/* Start the loop thread, the report and the handler of SIGBUS, unless they were
 * started before. Return 0, or -errno with a message. Thread-safe. Caller does
 * not hold daxpin_mutex. */
int daxpin_library_start(void);

#endif
