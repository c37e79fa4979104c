/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The directory of this user, in which the processes of a node meet */

#include "rundir.h"

#include "log.h"
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNDIR_PLACES  3
#define RUNDIR_WHY_MAX 512

/* Two of them are in directories where each user may create names, so another
 * user can take one of these, but cannot make this user accept it */
static const char *const rundir_places[RUNDIR_PLACES] = {
    "/dev/shm/daxpin-%u",
    "/run/user/%u/daxpin",
    "/tmp/daxpin-%u"
};

/* Append why a directory is not taken to a string. */
static void __attribute__((format(printf, 2, 3)))
rundir_refuse(char *why, const char *format, ...)
{
    size_t used = strlen(why);
    va_list ap;

    if ((used > 0) && (used < RUNDIR_WHY_MAX - 3)) {
        used += (size_t)snprintf(why + used, RUNDIR_WHY_MAX - used, "; ");
    }
    va_start(ap, format);
    vsnprintf(why + used, RUNDIR_WHY_MAX - used, format, ap);
    va_end(ap);
}

/* Check that only this user can create names in a directory. Return 0 or
 * -errno. Do not have a file system in user space, which may be another user's,
 * answer anything before the owner is known. */
static int rundir_check(int fd, const char *path, char *why)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
              STATX_UID | STATX_MODE | STATX_TYPE, &stx) != 0) {
        rundir_refuse(why, "%s: cannot stat: %s", path, strerror(errno));
        return -EIO;
    }
    if (!S_ISDIR(stx.stx_mode)) {
        rundir_refuse(why, "%s is not a directory (a symbolic link is none)",
                      path);
        return -ENOTDIR;
    }
    if (stx.stx_uid != geteuid()) {
        rundir_refuse(why, "%s belongs to user %u", path, stx.stx_uid);
        return -EPERM;
    }
    if ((stx.stx_mode & (S_IWGRP | S_IWOTH)) != 0) {
        rundir_refuse(why, "other users may write to %s, which has mode %03o",
                      path, stx.stx_mode & 07777u);
        return -EPERM;
    }
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        rundir_refuse(why, "%s: cannot write: %s", path, strerror(errno));
        return -EACCES;
    }
    return 0;
}

/* Open a directory that exists. Return the descriptor, -ENOENT, or -errno with
 * the reason in why. */
static int rundir_try(const char *path, char *why)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), ret;

    if (fd < 0) {
        ret = -errno;
        if (ret != -ENOENT) {
            rundir_refuse(why, "%s: cannot open: %s", path, strerror(-ret));
        }
        return ret;
    }
    ret = rundir_check(fd, path, why);
    if (ret != 0) {
        close(fd);
        return ret;
    }
    return fd;
}

/* Return whether an error is about this process, and not about a directory. Then
 * the next directory is not to be taken: others meet in the one before it. */
static int rundir_is_short(int ret)
{
    return (ret == -EMFILE) || (ret == -ENFILE) || (ret == -ENOMEM);
}

/* Create a directory, or open it if another process of this user has just
 * created it. */
static int rundir_create(const char *path, char *why)
{
    if ((mkdir(path, 0700) != 0) && (errno != EEXIST)) {
        rundir_refuse(why, "%s: cannot create: %s", path, strerror(errno));
        return -EACCES;
    }
    return rundir_try(path, why);
}

/* Open the directory that the user has chosen. */
static int rundir_open_chosen(const char *chosen, char *path)
{
    char why[RUNDIR_WHY_MAX] = "";
    size_t length            = strlen(chosen);
    int fd;

    /* With a slash at the end, O_NOFOLLOW would follow */
    while ((length > 1) && (chosen[length - 1] == '/')) {
        --length;
    }
    snprintf(path, DAXPIN_RUNDIR_MAX, "%.*s", (int)length, chosen);
    if ((path[0] != '/') || (length >= DAXPIN_RUNDIR_MAX)) {
        return daxpin_error(EINVAL, "cannot use %s=%s: it has to be an "
                            "absolute path", DAXPIN_RUNDIR_VARIABLE, chosen);
    }
    fd = rundir_try(path, why);
    if (fd == -ENOENT) {
        fd = rundir_create(path, why);
    }
    if (fd < 0) {
        return daxpin_error(-fd, "cannot use %s: %s; set it to a directory of "
                            "user %u, with mode 700 and on a local file "
                            "system, the same for all processes of a job",
                            DAXPIN_RUNDIR_VARIABLE,
                            (why[0] != '\0') ? why : "there is no directory",
                            (unsigned)geteuid());
    }
    return fd;
}

int daxpin_rundir_open(char *path)
{
    const char *chosen       = secure_getenv(DAXPIN_RUNDIR_VARIABLE);
    char why[RUNDIR_WHY_MAX] = "";
    int fd                   = -ENOENT, i;

    if (!daxpin_user_is_known(geteuid())) {
        return daxpin_error(EPERM, "cannot meet other processes: user %u of "
                            "this process stands for each user that this user "
                            "namespace does not map; map the user (see "
                            "user_namespaces(7))", (unsigned)geteuid());
    }
    if ((chosen != NULL) && (chosen[0] != '\0')) {
        return rundir_open_chosen(chosen, path);
    }
    for (i = 0; (i < RUNDIR_PLACES) && (fd < 0) && !rundir_is_short(fd);
         ++i) {
        snprintf(path, DAXPIN_RUNDIR_MAX, rundir_places[i],
                 (unsigned)geteuid());
        fd = rundir_try(path, why);
    }
    if ((fd < 0) && !rundir_is_short(fd)) {
        why[0] = '\0'; /* They are tried once more */
    }
    for (i = 0; (i < RUNDIR_PLACES) && (fd < 0) && !rundir_is_short(fd);
         ++i) {
        snprintf(path, DAXPIN_RUNDIR_MAX, rundir_places[i],
                 (unsigned)geteuid());
        fd = rundir_create(path, why);
    }
    if (rundir_is_short(fd)) {
        return daxpin_error(-fd, "cannot meet other processes of user %u: %s; "
                            "raise the limit of open files (ulimit -n)",
                            (unsigned)geteuid(), why);
    }
    return (fd >= 0) ? fd :
           daxpin_error(EACCES, "cannot meet other processes of user %u: %s; "
                        "have that ended, or set %s to a directory of this "
                        "user with mode 700", (unsigned)geteuid(), why,
                        DAXPIN_RUNDIR_VARIABLE);
}

uint64_t daxpin_rundir_id(void)
{
    char path[DAXPIN_RUNDIR_MAX];
    uint64_t id = 0;
    struct stat st;
    int fd;

    fd = daxpin_rundir_open(path);
    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &st) == 0) {
        id = (((uint64_t)st.st_dev << 32) ^ st.st_ino) | (1ull << 63);
    }
    close(fd);
    return id;
}
