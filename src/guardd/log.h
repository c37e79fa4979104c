/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef GUARD_LOG_H_
#define GUARD_LOG_H_

/* To stderr, which is the journal's. Levels as of <syslog.h>; the journal
 * wants them in front. */
void guard_log(int level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Nothing above this level is said; default: LOG_NOTICE */
void guard_log_set_level(int level);

#endif
