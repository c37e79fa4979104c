/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Open and check the description that the holder of a file leases, and fill the
 * file under the lease */

#include "description.h"

#include "daxpin/file/file.h"
#include "daxpin/file/fill.h"
#include "daxpin/file/holder.h"
#include "daxpin/file/keep.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/space.h"
#include "policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often the lease may be broken while the file is filled */
#define DAXPIN_FILL_TRIES 10

static int daxpin_description_is_dax(int fd)
{
    struct statx stx;

    return (statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
           ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
}

/* Return whether a descriptor is of file st. */
static int daxpin_description_is_of(int fd, const struct stat *st,
                                    struct stat *now)
{
    return (fstat(fd, now) == 0) && (now->st_ino == st->st_ino) &&
           (now->st_dev == st->st_dev);
}

/* Open a file that O_PATH has found: an open of the path could meet another file
 * by now, and break the lease that another job has on that one. Do not wait for
 * a lease in open(): it may last longer than the caller wants to wait. Return a
 * descriptor, or -1 with errno. */
static int daxpin_description_open_found(int path_fd)
{
    char name[64];
    int fd;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
    fd = open(name, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    } else if (errno == ENOENT) {
        errno = ENOSYS; /* the path did lead to the file */
    }
    return fd;
}

/* Try once. Return a descriptor, -1 with errno, or -2 if the path leads to
 * another file. */
static int daxpin_description_open_once(const char *path, const struct stat *st)
{
    int fd, error, path_fd = open(path, O_PATH | O_CLOEXEC);
    struct stat now;

    if (path_fd < 0) {
        return -1;
    }
    fd    = daxpin_description_is_of(path_fd, st, &now) ?
                    daxpin_description_open_found(path_fd) :
                    -2;
    error = errno;
    close(path_fd);
    errno = error;
    return fd;
}

static int daxpin_description_open_error(const char *path, int error,
                                         const daxpin_description_ops_t *ops)
{
    return daxpin_error((error == ENOENT) ? ops->other_error : error,
                        "%s: cannot open for reading and writing: %s", path,
                        (error == EAGAIN) ?
                        "another program has a lease on it, perhaps daxpin in "
                        "a container that does not share the directory "
                        "DAXPIN_RUNTIME_DIR (see daxpin(7))" :
                        (error == ENOSYS) ?
                        "there is no /proc/self/fd; check that /proc is "
                        "mounted" :
                        strerror(error));
}

int daxpin_description_open(const char *path, const struct stat *st,
                            uint64_t deadline,
                            const daxpin_description_ops_t *ops)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    int fd;

    while ((fd = daxpin_description_open_once(path, st)) < 0) {
        if (fd == -2) {
            return daxpin_error(ops->other_error, "%s: %s", path,
                                ops->other_message);
        }
        if ((errno != EAGAIN) || (daxpin_now() > deadline)) {
            return daxpin_description_open_error(path, errno, ops);
        }
        nanosleep(&pause, NULL);
    }
    return fd;
}

int daxpin_description_get(const char *path, const struct stat *st,
                           const daxpin_params_t *params, uint64_t deadline,
                           const daxpin_description_ops_t *ops, void *arg,
                           int *fd_p)
{
    struct stat now;
    int fd, ret;

    *fd_p = fd = ops->open(arg, path, st, deadline);
    if (fd < 0) {
        return fd;
    }
    if (!daxpin_description_is_of(fd, st, &now)) {
        daxpin_close(fd);
        return daxpin_error(ops->other_error, "%s: %s", path,
                            ops->other_message);
    }
    ret = daxpin_policy_check_fs(path, fd, params);
    if ((ret == 0) && daxpin_description_is_dax(fd) &&
        ((now.st_size > 0) || ops->grows)) {
        ret = daxpin_space_await_truncate(path, fd, deadline);
    }
    if (ret != 0) {
        if (ops->undo != NULL) {
            ops->undo(arg, path);
        }
        *fd_p = -1;
        daxpin_close(fd);
        return ret;
    }
    return fd;
}

/* Wait until the lease is there, or the file is revoked. Return whether the
 * file can be filled. */
static int daxpin_description_await(daxpin_file_t *file)
{
    const struct timespec pause = {.tv_nsec = 100 * DAXPIN_USEC};
    daxpin_lease_phase_t phase;
    int alive;

    for (;;) {
        pthread_mutex_lock(&daxpin_mutex);
        phase = file->lease.phase;
        alive = daxpin_file_is_alive(file);
        pthread_mutex_unlock(&daxpin_mutex);
        if (!alive || (phase != DAXPIN_LEASE_FIRST)) {
            return alive && (phase == DAXPIN_LEASE_FILLING);
        }
        nanosleep(&pause, NULL); /* decide.c has the time limit */
    }
}

int daxpin_description_check(void *arg)
{
    daxpin_file_t *file = arg;
    int ret             = 0;

    pthread_mutex_lock(&daxpin_mutex);
    if (!daxpin_file_is_alive(file) || (file->fd < 0)) {
        ret = daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                           file->path, file->control->cause);
    } else if (file->unfilled && !daxpin_lease_is_whole(file->fd)) {
        ret = -ECANCELED;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

/* Allocate what blocks are missing in all of the file, behind what the opener
 * has filled. Return 0, or -errno as daxpin_description_fill_once() does. */
static int daxpin_description_fill_rest(daxpin_file_t *file, int fd)
{
    int may_lack;

    pthread_mutex_lock(&daxpin_mutex);
    may_lack = daxpin_holder_may_lack_blocks(file, 0);
    pthread_mutex_unlock(&daxpin_mutex);
    return may_lack ? daxpin_file_fill_all(file, fd, 0,
                                           daxpin_description_check) :
                      0;
}

/* Fill the file once. Return 0, or -errno with a message after the file was
 * restored; -ECANCELED, without a message, if the lease was broken. */
static int daxpin_description_fill_once(daxpin_file_t *file,
                                        const daxpin_description_ops_t *ops,
                                        void *arg, int is_last)
{
    int ret, fd = daxpin_file_borrow_fd(file);

    if (fd < 0) {
        return fd;
    }
    ret = ops->fill(arg, file, fd);
    if (ret == 0) {
        /* Now, because the trial may need a page of the file */
        file->holdable = file->is_dax &&
                         (daxpin_hold_works(file->path, fd, file->dev) > 0);
        ret            = daxpin_description_fill_rest(file, fd);
    }
    if ((ret == -ECANCELED) && is_last) {
        ret = daxpin_error(EAGAIN, "%s: cannot allocate its blocks: other "
                           "processes keep opening it meanwhile; end them, or "
                           "start again later", file->path);
    }
    if ((ret != 0) && (ret != -ECANCELED) && (ops->undo != NULL)) {
        ops->undo(arg, file->path);
    }
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_holder_end_fill(file, ret);
    pthread_mutex_unlock(&daxpin_mutex);
    daxpin_file_return_fd(file);
    return ret;
}

int daxpin_description_fill(daxpin_file_t *file,
                            const daxpin_description_ops_t *ops, void *arg,
                            uint64_t deadline)
{
    unsigned tries = DAXPIN_FILL_TRIES;
    int ret        = -ECANCELED;

    while ((ret == -ECANCELED) && daxpin_description_await(file)) {
        ret = daxpin_description_fill_once(file, ops, arg, --tries == 0);
    }
    if ((ret == 0) || (ret == -ECANCELED)) {
        return daxpin_file_wait(file, deadline);
    }
    (void)daxpin_file_wait(file, deadline); /* until it is revoked */
    daxpin_error(-ret, "%s", file->control->cause);
    return ret;
}
