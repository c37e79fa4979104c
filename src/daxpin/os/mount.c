/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Mounted file systems, as /proc/self/mountinfo lists them */

#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Undo the escapes of mountinfo: \040 is a blank */
static void mount_copy(char *to, size_t size, const char *from)
{
    size_t used = 0;
    unsigned octal;

    while ((*from != '\0') && (used + 1 < size)) {
        if ((from[0] == '\\') && (sscanf(from + 1, "%3o", &octal) == 1)) {
            to[used++] = (char)octal;
            from      += 4;
        } else {
            to[used++] = *from++;
        }
    }
    to[used] = '\0';
}

/* Parse a line such as
 *   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,barrier=0 */
static int mount_parse(char *line, daxpin_mount_t *mount)
{
    char *fields[6], *tail, *save = NULL;
    char *type, *source, *options;
    unsigned major, minor, i;

    tail = strstr(line, " - ");
    if (tail == NULL) {
        return -EINVAL;
    }
    *tail = '\0';
    for (i = 0; i < 6; ++i) {
        fields[i] = strtok_r((i == 0) ? line : NULL, " ", &save);
        if (fields[i] == NULL) {
            return -EINVAL;
        }
    }
    type    = strtok_r(tail + 3, " ", &save);
    source  = strtok_r(NULL, " ", &save);
    options = strtok_r(NULL, " \n", &save);
    if ((options == NULL) ||
        (sscanf(fields[2], "%u:%u", &major, &minor) != 2)) {
        return -EINVAL;
    }
    mount->id  = atoi(fields[0]);
    mount->dev = makedev(major, minor);
    mount_copy(mount->point, sizeof(mount->point), fields[4]);
    mount_copy(mount->type, sizeof(mount->type), type);
    mount_copy(mount->source, sizeof(mount->source), source);
    snprintf(mount->options, sizeof(mount->options), "%s,%s", fields[5],
             options);
    return 0;
}

int daxpin_mount_walk(daxpin_mount_func_t func, void *arg)
{
    char *line  = NULL;
    size_t size = 0;
    int ret     = 0;
    daxpin_mount_t mount;
    FILE *file;

    file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL) {
        return -errno;
    }
    while ((ret == 0) && (getline(&line, &size, file) > 0)) {
        if (mount_parse(line, &mount) == 0) {
            ret = func(&mount, arg);
        }
    }
    free(line);
    fclose(file);
    return ret;
}

typedef struct mount_search {
    uint64_t       id;
    daxpin_mount_t *mount;
} mount_search_t;

static int mount_has_id(const daxpin_mount_t *mount, void *arg)
{
    mount_search_t *search = arg;

    if ((uint64_t)mount->id != search->id) {
        return 0;
    }
    *search->mount = *mount;
    return 1;
}

/* Read the number of a descriptor's mount. statx() reports it since Linux 5.8
 * only. */
static int mount_read_id(int fd, uint64_t *id_p)
{
    char name[64], *line = NULL;
    size_t size = 0;
    int ret     = -ENOENT;
    FILE *file;

    snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
    file = fopen(name, "re");
    if (file == NULL) {
        return -errno;
    }
    while ((ret != 0) && (getline(&line, &size, file) > 0)) {
        ret = (sscanf(line, "mnt_id: %" SCNu64, id_p) == 1) ? 0 : -ENOENT;
    }
    free(line);
    fclose(file);
    return ret;
}

int daxpin_mount_find(int dirfd, const char *path, daxpin_mount_t *mount)
{
    mount_search_t search = {.mount = mount};
    int fd                = dirfd;
    int ret;

    if (path[0] != '\0') {
        fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
        if (fd < 0) {
            return -errno;
        }
    }
    ret = mount_read_id(fd, &search.id);
    if (fd != dirfd) {
        close(fd);
    }
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_mount_walk(mount_has_id, &search);
    return (ret == 1) ? 0 : (ret == 0) ? -ENOENT : ret;
}

int daxpin_mount_has_option(const daxpin_mount_t *mount, const char *option)
{
    size_t length   = strlen(option);
    const char *p   = mount->options;

    while (p != NULL) {
        if ((strncmp(p, option, length) == 0) &&
            ((p[length] == ',') || (p[length] == '\0'))) {
            return 1;
        }
        p = strchr(p, ',');
        p = (p != NULL) ? p + 1 : NULL;
    }
    return 0;
}

/* A file system that may have several devices, such as btrfs, has a number with
 * major 0; then the source may name a device */
dev_t daxpin_mount_device(const daxpin_mount_t *mount)
{
    struct stat st;

    if (major(mount->dev) != 0) {
        return mount->dev;
    }
    if ((mount->source[0] == '/') && (stat(mount->source, &st) == 0) &&
        S_ISBLK(st.st_mode)) {
        return st.st_rdev;
    }
    return 0;
}
