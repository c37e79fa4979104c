/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The interface of the pin module */

#ifndef DAXPIN_IOCTL_H_
#define DAXPIN_IOCTL_H_

/*
 * One open description of the device is one pin. After DAXPIN_IOC_PIN, mmap()
 * of the device shows the pinned pages: byte 0 of the device is byte `offset`
 * of the file. This mapping is one that RDMA devices register. The pin ends
 * with the last descriptor and the last mapping of the description; there is
 * no other way to end it.
 *
 * The descriptor becomes readable when the lease of the pinned file is broken;
 * read() of 8 bytes returns the number of breaks since the last read().
 */

#include <linux/ioctl.h>
#include <linux/types.h>

#define DAXPIN_DEVICE      "/dev/daxpin"
#define DAXPIN_IOC_VERSION 1

/* addr, offset and length are multiples of the page size; the last page of a
 * file is pinned whole. */
struct daxpin_ioc_pin {
    __u64 addr;   /* where the calling process has mapped these bytes, shared
                     and writable */
    __u64 offset; /* in the file */
    __u64 length;
    __s32 fd;     /* the open file description that has the lease */
    __u32 flags;  /* 0 */
};

/* The version of this interface */
#define DAXPIN_IOC_GET_VERSION _IOR(0xDA, 0, __u32)

/*
 * Pin the blocks behind a range of a file. Errors:
 *
 *   EINVAL      flags, a range that is empty, unaligned, too long or leaves the
 *               file
 *   EBADF       fd, or the device was not opened for reading and writing
 *   EACCES      fd was not opened for reading and writing
 *   EOPNOTSUPP  not a regular file on fsdax, or blocks shared by reflink
 *   EPERM       no live exclusive lease (F_WRLCK) on fd's description
 *   EFAULT      addr is not a shared, writable mapping of these bytes
 *   ENOMEM      RLIMIT_MEMLOCK, the parameter limit_mib, or no memory
 *   EBUSY       this description has a pin already
 *   EINTR       a fatal signal arrived
 */
#define DAXPIN_IOC_PIN _IOW(0xDA, 1, struct daxpin_ioc_pin)

#endif
