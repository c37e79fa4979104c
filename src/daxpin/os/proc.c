/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What /proc says of a process */

#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
