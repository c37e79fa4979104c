/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages to stderr, which is the journal's */

#ifndef GUARD_LOG_H_
#define GUARD_LOG_H_

/* Print a message. Levels are those of <syslog.h>; the journal expects the
 * level in front. */
void guard_log(int level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Print messages up to this level; default: LOG_NOTICE. */
void guard_log_set_level(int level);

#endif
