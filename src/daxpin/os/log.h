/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LOG_H_
#define DAXPIN_LOG_H_

#include "daxpin/daxpin.h"

/* Set the calling thread's message and return -error, for
 * "return daxpin_error(EINVAL, "%s: …", path);". The message ends without a
 * period and without the errno text, unless the caller adds it with %m. */
int daxpin_error(int error, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

void daxpin_log(daxpin_log_level_t level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

#endif
