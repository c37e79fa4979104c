/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What a file is on: file system, device, and whether it is used with DAX */

#include "storage.h"

#include "daxpin/os/locality.h"
#include "daxpin/os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

/* File systems with DAX; ext4 and XFS on persistent memory */
static const char *const storage_dax_types[] = {
    "ext4", "xfs", "ext2", "erofs", "virtiofs", "famfs", "fuse"
};

/* Write why files are not used with DAX, and what to do about it */
static void storage_explain(daxpin_storage_t *storage, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static void storage_explain(daxpin_storage_t *storage, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(storage->no_dax_reason, sizeof(storage->no_dax_reason), format,
              ap);
    va_end(ap);
}

/*
 * Devices
 */

static void storage_sysfs(dev_t dev, char *dir, size_t size)
{
    snprintf(dir, size, "/sys/dev/block/%u:%u", major(dev), minor(dev));
}

static void storage_device_name(dev_t dev, char *name, size_t size)
{
    char dir[64], target[PATH_MAX];
    const char *slash;

    storage_sysfs(dev, dir, sizeof(dir));
    name[0] = '\0';
    if ((dev != 0) && (realpath(dir, target) != NULL)) {
        slash = strrchr(target, '/');
        snprintf(name, size, "/dev/%s", slash + 1);
    }
}

/* A partition has no queue directory: that of its device counts */
int daxpin_storage_is_pmem(dev_t dev)
{
    static const char *const names[] = {"queue/dax", "../queue/dax"};
    char dir[64], path[128], value[16];
    size_t i;

    storage_sysfs(dev, dir, sizeof(dir));
    for (i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if ((dev != 0) &&
            (daxpin_proc_read_line(path, value, sizeof(value)) == 0)) {
            return value[0] == '1';
        }
    }
    return 0;
}

/* Read an attribute of a device or of the nearest device above it that has the
 * attribute. Return whether there is one. */
static int storage_attribute(dev_t dev, const char *name, char *value,
                             size_t size)
{
    char link[64], dir[PATH_MAX], path[PATH_MAX + 64];
    char *slash;

    storage_sysfs(dev, link, sizeof(link));
    if (realpath(link, dir) == NULL) {
        return 0;
    }
    while ((slash = strrchr(dir, '/')) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        if (daxpin_proc_read_line(path, value, size) == 0) {
            return 1;
        }
        *slash = '\0';
    }
    return 0;
}

static const char *storage_granularity(const daxpin_storage_t *storage)
{
    char domain[64] = "";

    if ((storage->dax != 1) && !storage->is_device_dax) {
        return "page";
    }
    /* libpmem2 decides by this attribute as well */
    storage_attribute(storage->dev, "persistence_domain", domain,
                      sizeof(domain));
    return (strcmp(domain, "cpu_cache") == 0) ? "byte" : "cache line";
}

/*
 * DAX
 */

static int storage_type_has_dax(const char *type)
{
    size_t i;

    for (i = 0; i < sizeof(storage_dax_types) / sizeof(storage_dax_types[0]);
         ++i) {
        if (strcmp(type, storage_dax_types[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* For a device that the kernel does not use with DAX */
static void storage_explain_device(daxpin_storage_t *storage)
{
    char mode[32]     = "";
    const char *name  = storage->device;
    size_t length     = strlen(name);

    storage_attribute(storage->dev, "mode", mode, sizeof(mode));
    if ((strncmp(name, "/dev/pmem", 9) == 0) && (name[length - 1] == 's')) {
        storage_explain(storage, "%s is in sector mode; make it a device in "
                        "fsdax mode (ndctl create-namespace -f -e NAMESPACE -m "
                        "fsdax), which destroys what is on it", name);
    } else if (strcmp(mode, "raw") == 0) {
        storage_explain(storage, "%s is in raw mode, without room for the "
                        "kernel's records of its pages; make it a device in "
                        "fsdax mode (ndctl create-namespace -f -e NAMESPACE -m "
                        "fsdax), which destroys what is on it", name);
    } else {
        storage_explain(storage, "%s is not persistent memory", name);
    }
}

/* For a file system and a device that both could be used with DAX */
static void storage_explain_mount(daxpin_storage_t *storage)
{
    const daxpin_mount_t *mount = &storage->mount;
    long page                   = sysconf(_SC_PAGESIZE);
    struct statfs fs;

    if ((statfs(storage->path, &fs) == 0) && (fs.f_bsize != page)) {
        storage_explain(storage, "%s has blocks of %ld bytes, and DAX needs "
                        "blocks as large as a page, %ld; make the file system "
                        "again (mkfs -b %ld)", mount->point, (long)fs.f_bsize,
                        page, page);
    } else if (daxpin_mount_has_option(mount, "dax=never")) {
        storage_explain(storage, "%s is mounted with dax=never; mount it with "
                        "dax=always", mount->point);
    } else if (!daxpin_mount_has_option(mount, "dax=always") &&
               !daxpin_mount_has_option(mount, "dax")) {
        storage_explain(storage, "%s is not mounted with dax=always, and the "
                        "file has no DAX flag; mount it so, or set the flag on "
                        "an empty directory before files are made there "
                        "(xfs_io -c 'chattr +x')", mount->point);
    } else {
        storage_explain(storage, "%s is mounted for DAX, but the kernel does "
                        "not use it; the kernel's log may have the reason "
                        "(dmesg | grep -i dax): encrypted files, a journal of "
                        "data and reflinks exclude DAX", mount->point);
    }
}

static void storage_explain_no_dax(daxpin_storage_t *storage)
{
    char mode[32] = "";

    if (!storage->has_mount) {
        storage_explain(storage, "the file system is not listed in "
                        "/proc/self/mountinfo");
    } else if (!storage_type_has_dax(storage->mount.type)) {
        storage_explain(storage, "%s has no DAX; use ext4 or XFS on persistent "
                        "memory", storage->mount.type);
    } else if (storage->dev == 0) {
        storage_explain(storage, "%s is on no device of this machine",
                        storage->mount.point);
    } else if (!daxpin_storage_is_pmem(storage->dev) ||
               (storage_attribute(storage->dev, "mode", mode, sizeof(mode)) &&
                (strcmp(mode, "raw") == 0))) {
        storage_explain_device(storage);
    } else {
        storage_explain_mount(storage);
    }
}

int daxpin_storage_scratch(const char *dir)
{
    int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    return (fd >= 0) ? fd : -errno;
}

/* Whether files in a directory are used with DAX, only a new file shows */
static void storage_query_dax(daxpin_storage_t *storage)
{
    struct statx stx;
    int fd, ret;

    fd                     = daxpin_storage_scratch(storage->dir);
    storage->scratch_error = (fd < 0) ? -fd : 0;
    if (S_ISDIR(storage->st.st_mode)) {
        ret = (fd >= 0) ? statx(fd, "", AT_EMPTY_PATH, 0, &stx) : -1;
    } else {
        ret = statx(AT_FDCWD, storage->path, 0, 0, &stx);
    }
    if (fd >= 0) {
        close(fd);
    }
    storage->dax = (ret != 0) ? -1 :
                   ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
    if (storage->dax == -1) {
        storage_explain(storage, "cannot create a file in %s to see whether "
                        "it is used with DAX: %s", storage->dir,
                        strerror(storage->scratch_error));
    } else if (storage->dax == 0) {
        storage_explain_no_dax(storage);
    }
}

static int storage_is_device_dax(const struct stat *st)
{
    char link[64], subsystem[PATH_MAX];

    if (!S_ISCHR(st->st_mode)) {
        return 0;
    }
    snprintf(link, sizeof(link), "/sys/dev/char/%u:%u/subsystem",
             major(st->st_rdev), minor(st->st_rdev));
    return (realpath(link, subsystem) != NULL) &&
           (strcmp(strrchr(subsystem, '/'), "/dax") == 0);
}

int daxpin_storage_query(const char *path, daxpin_storage_t *storage)
{
    char *slash;

    memset(storage, 0, sizeof(*storage));
    if ((realpath(path, storage->path) == NULL) ||
        (stat(storage->path, &storage->st) != 0)) {
        return -errno;
    }
    snprintf(storage->dir, sizeof(storage->dir), "%s", storage->path);
    slash = strrchr(storage->dir, '/');
    if (!S_ISDIR(storage->st.st_mode)) {
        slash[slash == storage->dir] = '\0';
    }
    storage->is_device_dax = storage_is_device_dax(&storage->st);
    storage->numa_node     = daxpin_locality_of_file(AT_FDCWD, storage->path);
    if (S_ISREG(storage->st.st_mode) || S_ISDIR(storage->st.st_mode)) {
        storage->has_mount = daxpin_mount_find(AT_FDCWD, storage->path,
                                               &storage->mount) == 0;
        storage->dev       = storage->has_mount ?
                                     daxpin_mount_device(&storage->mount) :
                                     0;
        (void)daxpin_fstype_of_path(storage->path, &storage->fstype);
        storage_device_name(storage->dev, storage->device,
                            sizeof(storage->device));
        storage_query_dax(storage);
    }
    storage->granularity = storage_granularity(storage);
    return 0;
}
