/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The kernel's lease on an open file description */

#include "lease.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#define LEASE_BREAK_TIME_AGE (10 * DAXPIN_MSEC)

int daxpin_lease_take(int fd, pid_t tid, int signo)
{
    struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = tid};

    /* Signal and owner come first: F_UNLCK resets them, and the default signal
     * would kill the process if the lease was broken before F_SETSIG. */
    if ((fcntl(fd, F_SETSIG, signo) != 0) ||
        (fcntl(fd, F_SETOWN_EX, &owner) != 0) ||
        (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)) {
        return -errno;
    }
    /* The kernel has made the calling thread's process the owner if there was
     * none: name the thread once more. */
    fcntl(fd, F_SETOWN_EX, &owner);
    return 0;
}

int daxpin_lease_drop(int fd)
{
    return (fcntl(fd, F_SETLEASE, F_UNLCK) == 0) ? 0 : -errno;
}

daxpin_lease_state_t daxpin_lease_state(int fd)
{
    switch (fcntl(fd, F_GETLEASE)) {
    case F_WRLCK:
        return DAXPIN_LEASE_STATE_WHOLE;
    case F_RDLCK:
        return DAXPIN_LEASE_STATE_READERS;
    default:
        return DAXPIN_LEASE_STATE_BROKEN;
    }
}

int daxpin_lease_is_whole(int fd)
{
    return daxpin_lease_state(fd) == DAXPIN_LEASE_STATE_WHOLE;
}

static unsigned lease_read_break_time(void)
{
    static const char *path = "/proc/sys/fs/lease-break-time";
    FILE *file              = fopen(path, "re");
    unsigned seconds        = 45;

    if (file != NULL) {
        if (fscanf(file, "%u", &seconds) != 1) {
            seconds = 45;
        }
        fclose(file);
    }
    return seconds;
}

/* The file is read once for all leases that a turn of the loop looks at. A
 * thread that reads the time of another thread's turn reads its seconds, too, or
 * those of a later one. */
unsigned daxpin_lease_break_time(void)
{
    static _Atomic uint64_t read_at;
    static _Atomic unsigned seconds;
    const uint64_t now = daxpin_now();
    unsigned value;

    if (now - atomic_load(&read_at) < LEASE_BREAK_TIME_AGE) {
        return atomic_load(&seconds);
    }
    value = lease_read_break_time();
    atomic_store(&seconds, value);
    atomic_store(&read_at, now);
    return value;
}
