/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What /proc says of a process */

#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int daxpin_proc_each_fd(pid_t pid, daxpin_proc_fd_func_t func, void *arg)
{
    char path[64] = "/proc/self/fd";
    struct dirent *entry;
    int ret = 0;
    DIR *dir;

    if (pid != 0) {
        snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    }
    dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    while ((ret == 0) && ((entry = readdir(dir)) != NULL)) {
        if (isdigit((unsigned char)entry->d_name[0]) &&
            ((pid != 0) || (atoi(entry->d_name) != dirfd(dir)))) {
            ret = func(dirfd(dir), entry->d_name, arg);
        }
    }
    closedir(dir);
    return ret;
}

/* A file of which descriptors are looked for */
typedef struct daxpin_fd_search {
    uint64_t         ino;
    dev_t            dev; /* 0: any */
    daxpin_fd_func_t func;
    void             *arg;
} daxpin_fd_search_t;

static int daxpin_fd_search_one(int dir_fd, const char *name, void *arg)
{
    const daxpin_fd_search_t *search = arg;
    int fd                           = atoi(name);
    struct stat st;

    (void)dir_fd;
    return ((fstat(fd, &st) == 0) && (st.st_ino == search->ino) &&
            ((search->dev == 0) || (st.st_dev == search->dev)) &&
            S_ISREG(st.st_mode)) ?
                   search->func(fd, search->arg) :
                   0;
}

int daxpin_fd_for_each(uint64_t ino, dev_t dev, daxpin_fd_func_t func,
                              void *arg)
{
    daxpin_fd_search_t search = {ino, dev, func, arg};

    return daxpin_proc_each_fd(0, daxpin_fd_search_one, &search);
}
