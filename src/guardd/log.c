/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages to stderr, which is the journal's */

#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

static int guard_log_level = LOG_NOTICE;

void guard_log_set_level(int level)
{
    guard_log_level = level;
}

void guard_log(int level, const char *format, ...)
{
    char message[1024];
    va_list args;

    if (level > guard_log_level) {
        return;
    }
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (getenv("JOURNAL_STREAM") != NULL) {
        fprintf(stderr, "<%d>%s\n", level, message);
    } else {
        fprintf(stderr, "daxpin-guardd: %s\n", message);
    }
}
