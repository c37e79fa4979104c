/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What /proc tells */

#include "proc.h"

#include "daxpin/os/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int daxpin_proc_read(const char *path, char *buffer, size_t size)
{
    FILE *file = fopen(path, "re");
    int ret    = 0;

    if (file == NULL) {
        return -errno;
    }
    errno = 0;
    if (fgets(buffer, (int)size, file) == NULL) {
        ret       = (errno != 0) ? -errno : 0;
        buffer[0] = '\0';
    }
    buffer[strcspn(buffer, "\n")] = '\0';
    fclose(file);
    return ret;
}

int daxpin_proc_look(pid_t pid, daxpin_proc_t *proc)
{
    char path[64], line[256];
    const char *last;
    FILE *file;

    proc->pid     = pid;
    proc->own_pid = pid;
    proc->uid     = (uid_t)-1;
    snprintf(proc->command, sizeof(proc->command), "?");
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "Name:\t", 6) == 0) {
            snprintf(proc->command, sizeof(proc->command), "%.31s", line + 6);
        } else if (strncmp(line, "Uid:\t", 5) == 0) {
            proc->uid = (uid_t)strtoul(line + 5, NULL, 10);
        } else if (strncmp(line, "NSpid:", 6) == 0) {
            last          = strrchr(line, '\t');
            proc->own_pid = (last != NULL) ? (pid_t)atoi(last) : pid;
        }
    }
    fclose(file);
    return 0;
}

int daxpin_proc_walk(daxpin_proc_func_t func, void *arg)
{
    struct dirent *entry;
    int ret = 0;
    DIR *dir;

    dir = opendir("/proc");
    if (dir == NULL) {
        return -errno;
    }
    while ((ret == 0) && ((entry = readdir(dir)) != NULL)) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            ret = func((pid_t)atoi(entry->d_name), arg);
        }
    }
    closedir(dir);
    return ret;
}

typedef struct proc_links {
    daxpin_proc_link_func_t func;
    void                    *arg;
} proc_links_t;

static int proc_look_link(int dir_fd, const char *name, void *arg)
{
    const proc_links_t *links = arg;
    char target[PATH_MAX];
    ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

    if (length <= 0) {
        return 0;
    }
    target[length] = '\0';
    return links->func(dir_fd, atoi(name), target, links->arg);
}

int daxpin_proc_walk_links(pid_t pid, daxpin_proc_link_func_t func, void *arg)
{
    proc_links_t links = {.func = func, .arg = arg};

    return daxpin_proc_each_fd(pid, proc_look_link, &links);
}

/*
 * Who has a file open
 */

typedef struct proc_file {
    dev_t    dev;
    uint64_t ino;
} proc_file_t;

static int proc_fd_is_file(int dir, int fd, const char *target, void *arg)
{
    const proc_file_t *file = arg;
    char name[16];
    struct stat st;

    (void)target;
    snprintf(name, sizeof(name), "%d", fd);
    return (fstatat(dir, name, &st, 0) == 0) && (st.st_ino == file->ino) &&
           (st.st_dev == file->dev);
}

static int proc_maps_file(pid_t pid, dev_t dev, uint64_t ino,
                          const char *path)
{
    unsigned major, minor;
    unsigned long number;
    char name[64], *line = NULL;
    size_t size = 0;
    int found   = 0, at;
    FILE *maps;

    snprintf(name, sizeof(name), "/proc/%d/maps", (int)pid);
    maps = fopen(name, "re");
    if (maps == NULL) {
        return -errno;
    }
    while (!found && (getline(&line, &size, maps) > 0)) {
        line[strcspn(line, "\n")] = '\0';
        at                        = 0;
        if ((sscanf(line, "%*s %*s %*s %x:%x %lu %n", &major, &minor, &number,
                    &at) >= 3) && (number == ino)) {
            found = (makedev(major, minor) == dev) ||
                    ((path != NULL) && (strcmp(line + at, path) == 0));
        }
    }
    free(line);
    fclose(maps);
    return found;
}

int daxpin_proc_has_file(pid_t pid, dev_t dev, uint64_t ino, const char *path)
{
    proc_file_t file = {.dev = dev, .ino = ino};
    int ret;

    ret = daxpin_proc_walk_links(pid, proc_fd_is_file, &file);
    return (ret != 0) ? ret : proc_maps_file(pid, dev, ino, path);
}

/*
 * Leases
 */

/*   7: LEASE  ACTIVE    WRITE 2722 fe:00:11101448 0 EOF */
static int proc_lease_parse(const char *line, daxpin_lease_line_t *lease)
{
    char kind[16], status[16], type[16];
    const char *colon = strchr(line, ':');
    unsigned major, minor;
    unsigned long ino;
    int pid;

    if ((colon == NULL) ||
        (sscanf(colon + 1, "%15s %15s %15s %d %x:%x:%lu", kind, status, type,
                &pid, &major, &minor, &ino) != 7) ||
        (strcmp(kind, "LEASE") != 0)) {
        return 0;
    }
    lease->breaking = strcmp(status, "BREAKING") == 0;
    lease->write    = lease->breaking || (strcmp(type, "WRITE") == 0);
    lease->pid      = pid;
    lease->dev      = makedev(major, minor);
    lease->ino      = ino;
    return 1;
}

void daxpin_leases_read(daxpin_leases_t *leases)
{
    daxpin_lease_line_t lease, *lines;
    char line[512];
    FILE *locks;

    memset(leases, 0, sizeof(*leases));
    locks = fopen("/proc/locks", "re");
    if (locks == NULL) {
        leases->error = errno;
        return;
    }
    while (fgets(line, sizeof(line), locks) != NULL) {
        if (!proc_lease_parse(line, &lease)) {
            continue;
        }
        lines = realloc(leases->lines, (leases->count + 1) * sizeof(*lines));
        if (lines == NULL) {
            leases->error = ENOMEM;
            break;
        }
        leases->lines                  = lines;
        leases->lines[leases->count++] = lease;
    }
    fclose(locks);
}

void daxpin_leases_free(daxpin_leases_t *leases)
{
    free(leases->lines);
    memset(leases, 0, sizeof(*leases));
}

const daxpin_lease_line_t *daxpin_leases_find(const daxpin_leases_t *leases,
                                              dev_t dev, uint64_t ino,
                                              pid_t pid)
{
    size_t i;

    for (i = 0; i < leases->count; ++i) {
        if ((leases->lines[i].ino == ino) &&
            ((leases->lines[i].dev == dev) || (leases->lines[i].pid == pid))) {
            return &leases->lines[i];
        }
    }
    return NULL;
}
