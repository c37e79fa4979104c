/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MEMFD_H_
#define DAXPIN_MEMFD_H_

/* Files without a name, which hold data and nothing to execute */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

/* Create a memfd that no process can execute, which some administrators require
 * (sysctl vm.memfd_noexec=2). EINVAL: Linux before 6.3 does not have it. flags:
 * MFD_ALLOW_SEALING or 0; the kernel allows seals in any case. Return the
 * descriptor, or -1 with errno. No lock is needed. */
static inline int daxpin_memfd_create(const char *name, unsigned flags)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL | flags);

    if ((fd < 0) && (errno == EINVAL)) {
        return memfd_create(name, MFD_CLOEXEC | flags);
    }
    if ((fd >= 0) && !(flags & MFD_ALLOW_SEALING)) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL);
    }
    return fd;
}

#endif
