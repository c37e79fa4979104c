/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the type of a file system says of its leases and its blocks */

#include "fstype.h"

#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Why not to trust a type: "a lease there ..." */
#define FSTYPE_NODES \
    "sees only processes of this node, and other nodes change the file " \
    "unnoticed"
#define FSTYPE_SERVER \
    "sees only processes of this node that use this mount, and the server of " \
    "the file system changes the file unnoticed"
#define FSTYPE_VIEW \
    "sees only processes that use this mount, and a process that changes the " \
    "file in the directory below it is not noticed"
#define FSTYPE_ROLLBACK \
    "does not see a rollback or receive, which change the file while it is " \
    "mounted"
#define FSTYPE_UNKNOWN \
    "may not see all processes that change the file, because daxpin does not " \
    "know this type of file system"

/*
 * Trusted are file systems of one node with one inode for each file, through
 * which all changes of the file go. st_blocks of ext2, ext3, ext4, XFS and
 * tmpfs has delayed and swapped blocks in it. The others compress, or write
 * elsewhere, after a store: then st_blocks gets smaller though nothing is lost.
 *
 * Those with a reason grant leases on some kernels, or have been seen in use for
 * files of jobs, so that a message should name them. The numbers are of
 * <linux/magic.h> or, where a file system is not of Linux, of its own headers.
 */
static const daxpin_fstype_t daxpin_fstypes[] = {
    {0x0000ef53, "ext4", NULL, 1}, /* ext2 and ext3 as well */
    {0x58465342, "xfs", NULL, 1},
    {0x01021994, "tmpfs", NULL, 1},
    {0x958458f6, "hugetlbfs", NULL, 0},
    {0x9123683e, "btrfs", NULL, 0},
    {0xf2f52010, "f2fs", NULL, 0},
    {0xca451a4e, "bcachefs", NULL, 0},
    {0x794c7630, "overlayfs", FSTYPE_VIEW, 0},
    {0x0000f15f, "ecryptfs", FSTYPE_VIEW, 0},
    {0x61756673, "aufs", FSTYPE_VIEW, 0},
    {0x65735546, "FUSE", FSTYPE_SERVER, 0}, /* virtiofs as well */
    {0x01021997, "9p", FSTYPE_SERVER, 0},
    {0x786f4256, "vboxsf", FSTYPE_SERVER, 0},
    {0x00006969, "NFS", FSTYPE_NODES, 0},
    {0xff534d42, "CIFS", FSTYPE_NODES, 0},
    {0xfe534d42, "SMB", FSTYPE_NODES, 0},
    {0x0000517b, "SMB", FSTYPE_NODES, 0},
    {0x0bd00bd0, "Lustre", FSTYPE_NODES, 0},
    {0x47504653, "GPFS", FSTYPE_NODES, 0},
    {0x19830326, "BeeGFS", FSTYPE_NODES, 0},
    {0x00c36400, "Ceph", FSTYPE_NODES, 0},
    {0x5346414f, "AFS", FSTYPE_NODES, 0},
    {0x6b414653, "AFS", FSTYPE_NODES, 0},
    {0x73757245, "Coda", FSTYPE_NODES, 0},
    {0x20030528, "OrangeFS", FSTYPE_NODES, 0},
    {0x7461636f, "OCFS2", FSTYPE_NODES, 0},
    {0x01161970, "GFS2", FSTYPE_NODES, 0},
    {0x87b282ff, "famfs", FSTYPE_NODES, 0},
    {0x2fc12fc1, "ZFS", FSTYPE_ROLLBACK, 0}
};

void daxpin_fstype_find(unsigned long magic, daxpin_fstype_t *type)
{
    size_t i;

    for (i = 0; i < sizeof(daxpin_fstypes) / sizeof(daxpin_fstypes[0]); ++i) {
        if (daxpin_fstypes[i].magic == magic) {
            *type = daxpin_fstypes[i];
            return;
        }
    }
    *type = (daxpin_fstype_t){.magic = magic, .why = FSTYPE_UNKNOWN};
}

/* Find the type that /proc/self/mountinfo has for a descriptor. */
static void daxpin_fstype_of_mount(int fd, daxpin_fstype_t *type)
{
    daxpin_mount_t mount;
    size_t i;

    if (daxpin_mount_find(fd, "", &mount) == 0) {
        for (i = 0; i < sizeof(daxpin_fstypes) / sizeof(daxpin_fstypes[0]);
             ++i) {
            if (strcasecmp(daxpin_fstypes[i].name, mount.type) == 0) {
                *type = daxpin_fstypes[i];
                return;
            }
        }
    }
    daxpin_fstype_find(0, type);
}

/* Check whether a file is on what statfs() says it is on, because a server of 9p
 * reports the type of its own file system. Only a file of tmpfs or hugetlbfs has
 * seals, and 9p is on no block device. memfd_create() uses a mount that is not
 * in /proc/self/mountinfo. */
static int daxpin_fstype_is_real(int fd)
{
    struct stat st;

    return (fcntl(fd, F_GET_SEALS) >= 0) ||
           ((fstat(fd, &st) == 0) && (major(st.st_dev) != 0));
}

int daxpin_fstype_of_fd(int fd, daxpin_fstype_t *type)
{
    unsigned long magic;
    struct statfs fs;
    int ret;

    if (fstatfs(fd, &fs) != 0) {
        ret = -errno;
        daxpin_fstype_find(0, type);
        return ret;
    }
    magic = (unsigned long)fs.f_type & 0xffffffff; /* f_type may be signed */
    daxpin_fstype_find(magic, type);
    if ((type->why == NULL) && !daxpin_fstype_is_real(fd)) {
        daxpin_fstype_of_mount(fd, type);
        type->magic = (type->name == NULL) ? magic : type->magic;
    }
    return 0;
}

int daxpin_fstype_of_path(const char *path, daxpin_fstype_t *type)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    int ret;

    if (fd < 0) {
        ret = -errno;
        daxpin_fstype_find(0, type);
        return ret;
    }
    ret = daxpin_fstype_of_fd(fd, type);
    close(fd);
    return ret;
}

char *daxpin_fstype_name(const daxpin_fstype_t *type, char *buffer,
                         size_t size)
{
    if (type->name != NULL) {
        snprintf(buffer, size, "%s", type->name);
    } else {
        snprintf(buffer, size, "a file system of type 0x%lx", type->magic);
    }
    return buffer;
}

char *daxpin_fstype_explain(const daxpin_fstype_t *type, char *buffer,
                            size_t size)
{
    char name[64];

    snprintf(buffer, size, "it is on %s: a lease there %s; use a file on ext4, "
             "XFS or tmpfs of this node (in a container, mount a volume), or "
             "set %s=1 to do without that notice",
             daxpin_fstype_name(type, name, sizeof(name)), type->why,
             DAXPIN_FSTYPE_ENV);
    return buffer;
}

int daxpin_fstype_allows_any(void)
{
    static const char *const words[] = {"1", "y", "yes", "true", "on"};
    const char *value                = getenv(DAXPIN_FSTYPE_ENV);
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        if ((value != NULL) && (strcmp(value, words[i]) == 0)) {
            return 1;
        }
    }
    return 0;
}
