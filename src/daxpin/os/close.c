/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Close descriptors of the program's files, and leave its record locks alone */

#include "close.h"

#include "clock.h"
#include "fork.h"
#include "log.h"
#include "loop.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAXPIN_CLOSE_PAUSE (100 * DAXPIN_MSEC) /* from look to look */
#define DAXPIN_CLOSE_STEP  16

static struct {
    pthread_mutex_t lock;
    int             *fds;  /* kept */
    unsigned        count;
} daxpin_kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

DAXPIN_FORK_LOCK(DAXPIN_FORK_CLOSE, &daxpin_kept.lock)

/* Return whether a close ends no lock. If the locks cannot be read, there may
 * be one, unless there is no /proc: then nobody can ever tell. */
static int daxpin_close_is_safe(int fd)
{
    int locks = daxpin_fd_record_locks(fd);

    return (locks == 0) || (locks == -ENOENT);
}

/* Return whether there was room. */
static int daxpin_close_keep(int fd)
{
    int *more;

    if (daxpin_kept.count % DAXPIN_CLOSE_STEP == 0) {
        more = realloc(daxpin_kept.fds,
                       (daxpin_kept.count + DAXPIN_CLOSE_STEP) * sizeof(*more));
        if (more == NULL) {
            return 0;
        }
        daxpin_kept.fds = more;
    }
    daxpin_kept.fds[daxpin_kept.count++] = fd;
    return 1;
}

void daxpin_close(int fd)
{
    int is_kept = 0;

    if (!daxpin_close_is_safe(fd)) {
        pthread_mutex_lock(&daxpin_kept.lock);
        is_kept = daxpin_close_keep(fd);
        pthread_mutex_unlock(&daxpin_kept.lock);
        if (!is_kept) {
            daxpin_log(DAXPIN_LOG_ERROR, "descriptor %d: out of memory: its "
                       "close ends the record locks (F_SETLK) of this process "
                       "on the file", fd);
        }
    }
    if (is_kept) {
        daxpin_loop_wake();
    } else {
        close(fd);
    }
}

int daxpin_close_reuse(int fd)
{
    int reused = -1;
    unsigned i;

    pthread_mutex_lock(&daxpin_kept.lock);
    for (i = 0; (i < daxpin_kept.count) && (reused < 0); ++i) {
        if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd,
                    daxpin_kept.fds[i]) == 0) {
            reused             = daxpin_kept.fds[i];
            daxpin_kept.fds[i] = daxpin_kept.fds[--daxpin_kept.count];
        }
    }
    pthread_mutex_unlock(&daxpin_kept.lock);
    return (reused >= 0) ? reused : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

uint64_t daxpin_close_tick(uint64_t now)
{
    unsigned i = 0, count;

    pthread_mutex_lock(&daxpin_kept.lock);
    while (i < daxpin_kept.count) {
        if (daxpin_close_is_safe(daxpin_kept.fds[i])) {
            close(daxpin_kept.fds[i]);
            daxpin_kept.fds[i] = daxpin_kept.fds[--daxpin_kept.count];
        } else {
            ++i;
        }
    }
    count = daxpin_kept.count;
    pthread_mutex_unlock(&daxpin_kept.lock);
    return (count > 0) ? now + DAXPIN_CLOSE_PAUSE : DAXPIN_NEVER;
}

void daxpin_close_fork(void)
{
    while (daxpin_kept.count > 0) {
        close(daxpin_kept.fds[--daxpin_kept.count]);
    }
}
