/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Owners: processes with files of their own, that end while the test goes on. */

#ifndef OWNER_H_
#define OWNER_H_

#include "result.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct owner {
    pid_t pid; /* 0: it has ended */
} owner_t;

/* Start a child that sets something up, which returns 0 or -1, and then does something
 * until it is killed. Return when the first is done; -1 if it failed. The child is gone
 * then, and in any case when this process has ended. */
static UNUSED int start_owner(owner_t *owner, int (*set_up)(void),
                              void (*then)(void))
{
    int ready[2];
    char done;

    owner->pid = 0;
    if (pipe(ready) != 0) {
        snprintf(why, sizeof(why), "pipe: %s", strerror(errno));
        return -1;
    }
    owner->pid = fork();
    if (owner->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        done = (set_up() == 0);
        if (!done) {
            printf("# %s\n", why);
        } else if (write(ready[1], &done, 1) == 1) {
            close(ready[1]);
            then();
        }
        _exit(1);
    }
    close(ready[1]);
    done = 0;
    if ((owner->pid > 0) && (read(ready[0], &done, 1) == 1)) {
        close(ready[0]);
        return 0;
    }
    close(ready[0]);
    if (owner->pid > 0) {
        waitpid(owner->pid, NULL, 0);
    }
    owner->pid = 0;
    snprintf(why, sizeof(why), "the owner could not be set up");
    return -1;
}

/* Kill it, and wait for its end. */
static UNUSED int end_owner(owner_t *owner)
{
    int ret = 0;

    if (owner->pid > 0) {
        kill(owner->pid, SIGKILL);
        ret        = (waitpid(owner->pid, NULL, 0) == owner->pid) ? 0 : -1;
        owner->pid = 0;
    }
    return ret;
}

static UNUSED void sleep_on(void)
{
    pause();
}

#endif
