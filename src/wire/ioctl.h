/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The interface of the pin module */

#ifndef DAXPIN_IOCTL_H_
#define DAXPIN_IOCTL_H_

/*
 * One open description of the device is one pin. RDMA devices can register what
 * is pinned in one of two ways, of which a kernel has one:
 *
 * - mmap() of the device shows the pinned pages: byte 0 of the device is byte
 *   `offset` of the file. A device registers this mapping. The pin ends with the
 *   last descriptor and the last mapping of the description; there is no other
 *   way to end it.
 * - DAXPIN_IOC_EXPORT returns a dma-buf, whose byte 0 is byte `offset` of the
 *   file, too. When the lease is broken, devices lose it, and the blocks are
 *   unpinned. The pin ends with the last descriptor of the description and of
 *   the dma-buf.
 *
 * The descriptor becomes readable when the lease of the pinned file is broken;
 * read() of 8 bytes returns the number of breaks since the last read(). It is one
 * break, however many processes wait for the lease, and for how long; if a writer
 * comes while its owner lets readers in, it is another one.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

#define DAXPIN_DEVICE      "/dev/daxpin"
#define DAXPIN_IOC_VERSION 2

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

struct daxpin_ioc_export {
    __u32 flags;    /* 0 */
    __u32 grace_ms; /* from the break of the lease to the revoke */
};

#define DAXPIN_IOC_GRACE_MAX 60000u

/* The version of this interface */
#define DAXPIN_IOC_GET_VERSION _IOR(0xDA, 0, __u32)

/* Which ways this kernel has for devices to register what is pinned */
#define DAXPIN_IOC_GET_WAYS _IOR(0xDA, 2, __u32)
#define DAXPIN_IOC_MAPPING  1u
#define DAXPIN_IOC_DMABUF   2u

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
 *   ENOMEM      RLIMIT_MEMLOCK, a limit that is a parameter of the module, or
 *               no memory
 *   EBUSY       this description has a pin already
 *   EINTR       a fatal signal arrived
 */
#define DAXPIN_IOC_PIN _IOW(0xDA, 1, struct daxpin_ioc_pin)

/*
 * Export what is pinned as a dma-buf. Return a descriptor (O_CLOEXEC). Devices
 * lose it if the lease is broken, and its owner has not given it back grace_ms
 * later, or when half of fs.lease-break-time has passed, if that is earlier. An
 * owner who gives the lease back keeps the pin, unless DAXPIN_IOC_REVOKE or
 * DAXPIN_IOC_REVOKE_IN was called. While devices have the dma-buf mapped 1024
 * times, they cannot map it once more (EUSERS). Errors:
 *
 *   EINVAL      flags, grace_ms, or this description has no pin
 *   EOPNOTSUPP  this kernel has mappings, and no dma-bufs
 *   EBUSY       there is a dma-buf of this pin already
 *   EPERM       the lease is being broken
 *   ENODEV      it was revoked
 *   ENOMEM, EMFILE, ENFILE
 */
#define DAXPIN_IOC_EXPORT _IOW(0xDA, 3, struct daxpin_ioc_export)

/* Have the dma-buf taken from devices, and the blocks unpinned. Does not wait.
 * EINVAL: this description has no pin. EOPNOTSUPP: no dma-bufs. */
#define DAXPIN_IOC_REVOKE _IO(0xDA, 4)

/* The same in so many milliseconds, DAXPIN_IOC_GRACE_MAX at most, whatever
 * becomes of the lease and of this description meanwhile. Of several calls,
 * DAXPIN_IOC_REVOKE among them, the earliest time counts. EINVAL, EOPNOTSUPP as
 * above; EFAULT. Modules of before have no such call (ENOTTY). */
#define DAXPIN_IOC_REVOKE_IN _IOW(0xDA, 6, __u32)

/* Wait until that is done. ETIMEDOUT: a device has not let go within 10 s, or the
 * time of DAXPIN_IOC_REVOKE_IN has not come; EINTR: a signal. It goes on even
 * so. */
#define DAXPIN_IOC_WAIT _IO(0xDA, 5)

#endif
