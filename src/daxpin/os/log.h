/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LOG_H_
#define DAXPIN_LOG_H_

/* Messages to the log, and the message of the last error of each thread. No
 * lock is needed. */

#include "daxpin/daxpin.h"

/* Set the calling thread's message, which daxpin_errormsg() returns, and return
 * -error, for "return daxpin_error(EINVAL, "%s: …", path);". The message ends
 * without a period and without the errno text, unless the caller adds it with
 * %m. */
int daxpin_error(int error, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Pass a message to the function of daxpin_set_log(). */
void daxpin_log(daxpin_log_level_t level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

#endif
