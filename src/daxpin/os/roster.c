/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The processes that share the description of a file, by locks that outlive
 * its holder */

#include "roster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The byte that is locked while the file is made longer. The text of the lock
 * file is before it. */
#define ROSTER_GROWTH ((off_t)1 << 31)

/* The byte of the first turn */
#define ROSTER_FIRST ((off_t)1 << 32)

/* Bytes [first, last) of the lock file; last 0: all that follow */
static struct flock roster_bytes(off_t first, off_t last, short type)
{
    return (struct flock){.l_type   = type,
                          .l_whence = SEEK_SET,
                          .l_start  = first,
                          .l_len    = (last > 0) ? last - first : 0};
}

static off_t roster_byte(uint32_t turn)
{
    return ROSTER_FIRST + turn;
}

static int roster_set(int roster_fd, uint32_t turn, short type)
{
    struct flock lock = roster_bytes(roster_byte(turn), roster_byte(turn) + 1,
                                     type);

    return (fcntl(roster_fd, F_OFD_SETLK, &lock) == 0) ? 0 : -errno;
}

int daxpin_roster_open(int fd, uint32_t turn)
{
    char path[32];
    int roster_fd, ret;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    roster_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (roster_fd < 0) {
        return -errno;
    }
    ret = roster_set(roster_fd, turn, F_RDLCK);
    if (ret != 0) {
        close(roster_fd);
        return ret;
    }
    return roster_fd;
}

int daxpin_roster_advance(int roster_fd, uint32_t turn)
{
    int ret = roster_set(roster_fd, turn + 1, F_RDLCK);

    if (ret == 0) {
        (void)roster_set(roster_fd, turn, F_UNLCK);
    }
    return ret;
}

void daxpin_roster_leave(int roster_fd)
{
    struct flock lock = roster_bytes(ROSTER_FIRST, 0, F_UNLCK);

    fcntl(roster_fd, F_OFD_SETLK, &lock);
}

static int roster_has(int roster_fd, off_t first, off_t last)
{
    struct flock lock = roster_bytes(first, last, F_WRLCK);

    return (fcntl(roster_fd, F_OFD_GETLK, &lock) != 0) ||
           (lock.l_type != F_UNLCK);
}

int daxpin_roster_has_others(int roster_fd)
{
    return roster_has(roster_fd, ROSTER_FIRST, 0);
}

int daxpin_roster_has_earlier(int roster_fd, uint32_t turn)
{
    return (turn > 0) &&
           roster_has(roster_fd, ROSTER_FIRST, roster_byte(turn));
}

int daxpin_roster_has_later(int roster_fd, uint32_t turn)
{
    return roster_has(roster_fd, roster_byte(turn) + 1, 0);
}

void daxpin_roster_unlock_growth(int lock_fd)
{
    struct flock lock = roster_bytes(ROSTER_GROWTH, ROSTER_GROWTH + 1, F_UNLCK);

    /* The close alone would leave the lock to a child of fork() */
    fcntl(lock_fd, F_OFD_SETLK, &lock);
    close(lock_fd);
}

/* A description of its own excludes other threads as well as processes */
int daxpin_roster_try_growth(int roster_fd)
{
    struct flock lock = roster_bytes(ROSTER_GROWTH, ROSTER_GROWTH + 1, F_WRLCK);
    char link[32];
    int lock_fd, ret;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", roster_fd);
    lock_fd = open(link, O_RDWR | O_CLOEXEC);
    if (lock_fd < 0) {
        return -errno;
    }
    if (fcntl(lock_fd, F_OFD_SETLK, &lock) != 0) {
        ret = ((errno == EACCES) || (errno == EINTR)) ? -EAGAIN : -errno;
        close(lock_fd);
        return ret;
    }
    return lock_fd;
}
