/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The limit of open files */

#include "limit.h"

#include "log.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define DAXPIN_LIMIT_LEFT  64      /* so few are left: time to raise it */
#define DAXPIN_LIMIT_LOOKS 8
#define DAXPIN_LIMIT_MAX   1048576 /* the default of fs.nr_open: programs that
                                      close all that may be open try no more */

static _Atomic rlim_t daxpin_limit_first; /* 0: not known */

void daxpin_limit_note(void)
{
    struct rlimit limit;
    rlim_t none = 0;

    if ((atomic_load(&daxpin_limit_first) == 0) &&
        (getrlimit(RLIMIT_NOFILE, &limit) == 0)) {
        atomic_compare_exchange_strong(&daxpin_limit_first, &none,
                                       limit.rlim_cur);
    }
}

/* Return whether so few descriptors are left that some file may not get what it
 * needs. A low number may be free whatever is in use above it, because daxpin
 * has closed a descriptor that it used for a moment: so look at some numbers
 * near the limit, too. */
static int daxpin_limit_is_near(rlim_t soft)
{
    int fd = eventfd(0, EFD_CLOEXEC), i; /* has the least number that is free */

    if (fd < 0) {
        return 1;
    }
    close(fd);
    if ((rlim_t)fd + DAXPIN_LIMIT_LEFT >= soft) {
        return 1;
    }
    for (i = 0; i < DAXPIN_LIMIT_LOOKS; ++i) {
        if (fcntl((int)(soft - DAXPIN_LIMIT_LEFT) + i, F_GETFD) >= 0) {
            return 1;
        }
    }
    return 0;
}

int daxpin_limit_check(void)
{
    struct rlimit limit;
    rlim_t soft, wanted;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    soft   = limit.rlim_cur;
    wanted = (limit.rlim_max < DAXPIN_LIMIT_MAX) ? limit.rlim_max :
                                                   DAXPIN_LIMIT_MAX;
    if ((soft != atomic_load(&daxpin_limit_first)) || (soft >= wanted) ||
        !daxpin_limit_is_near(soft)) {
        return 0;
    }
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    daxpin_log(DAXPIN_LOG_INFO, "the soft limit of open files is %lu now, as "
               "the hard one; it was %lu", (unsigned long)wanted,
               (unsigned long)soft);
    return 1;
}
