/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Open, check and fill the description that the holder of a file leases */

#include "description.h"

#include "daxpin/os/log.h"
#include "daxpin/os/space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int daxpin_description_is_dax(int fd)
{
    struct statx stx;

    return (statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
           ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
}

int daxpin_description_get(const char *path, const struct stat *st,
                           uint64_t deadline,
                           const daxpin_description_ops_t *ops, void *arg)
{
    int fd, is_dax, ret = 0;
    struct stat now;

    fd = ops->open(arg, path, st, deadline);
    if (fd < 0) {
        return fd;
    }
    if ((fstat(fd, &now) != 0) || (now.st_ino != st->st_ino) ||
        (now.st_dev != st->st_dev)) {
        close(fd);
        return daxpin_error(ops->other_error, "%s: %s", path,
                            ops->other_message);
    }
    is_dax = daxpin_description_is_dax(fd);
    if (is_dax && ((now.st_size > 0) || ops->grows)) {
        ret = daxpin_space_await_truncate(path, fd, deadline);
    }
    if (ret == 0) {
        ret = ops->fill(arg, path, fd, &now, is_dax);
    }
    if (ret != 0) {
        if (ops->undo != NULL) {
            ops->undo(arg, path);
        }
        close(fd);
        return ret;
    }
    return fd;
}
