/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages to the log, and the message of the last error of each thread */

#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAXPIN_MESSAGE_MAX 4096

static _Thread_local char daxpin_message[DAXPIN_MESSAGE_MAX];

static const char *daxpin_level_names[] = {
    [DAXPIN_LOG_ERROR] = "error",
    [DAXPIN_LOG_WARN]  = "warn",
    [DAXPIN_LOG_INFO]  = "info",
    [DAXPIN_LOG_DEBUG] = "debug"
};

const char *daxpin_errormsg(void)
{
    return daxpin_message;
}

int daxpin_error(int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(daxpin_message, sizeof(daxpin_message), format, ap);
    va_end(ap);
    return -error;
}

static daxpin_log_level_t daxpin_log_threshold(void)
{
    const char *name = getenv("DAXPIN_LOG_LEVEL");
    int level;

    for (level = DAXPIN_LOG_ERROR; level <= DAXPIN_LOG_DEBUG; ++level) {
        if ((name != NULL) && (strcmp(name, daxpin_level_names[level]) == 0)) {
            return (daxpin_log_level_t)level;
        }
    }
    return DAXPIN_LOG_WARN;
}

static void daxpin_log_stderr(daxpin_log_level_t level, const char *message)
{
    if (level <= daxpin_log_threshold()) {
        fprintf(stderr, "daxpin[%d]: %s: %s\n", (int)getpid(),
                daxpin_level_names[level], message);
    }
}

static _Atomic(daxpin_log_func_t) daxpin_log_func = daxpin_log_stderr;

void daxpin_set_log(daxpin_log_func_t func)
{
    atomic_store(&daxpin_log_func, (func != NULL) ? func : daxpin_log_stderr);
}

void daxpin_log(daxpin_log_level_t level, const char *format, ...)
{
    char message[DAXPIN_MESSAGE_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(message, sizeof(message), format, ap);
    va_end(ap);
    atomic_load(&daxpin_log_func)(level, message);
}

const char *daxpin_version(void)
{
    return PACKAGE_VERSION;
}
