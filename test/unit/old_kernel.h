/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Kernels before 6.11, as far as /proc/self/maps goes */

#ifndef OLD_KERNEL_H_
#define OLD_KERNEL_H_

#include "filter.h"

#define OLD_KERNEL_IOCTL 0xc0686611u /* PROCMAP_QUERY of <linux/fs.h> */

/* Have the kernel answer this thread, and those that it starts, as one does that
 * has no PROCMAP_QUERY. Return 0 if the kernel has no seccomp. */
static UNIT_UNUSED int old_kernel_begin(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OLD_KERNEL_IOCTL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };

    return filter_begin(filter, sizeof(filter) / sizeof(filter[0]));
}

#endif
