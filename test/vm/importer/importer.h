/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The interface of the importer of the tests, see importer.c */

#ifndef IMPORTER_H_
#define IMPORTER_H_

#include <linux/ioctl.h>
#include <linux/types.h>

#define IMPORTER_DEVICE "/dev/importer"

/* How a device behaves when it is told to let go */
enum importer_mode {
    IMPORTER_AT_ONCE, /* it stops and unmaps before it returns */
    IMPORTER_LATER,   /* it has a fence, and unmaps later */
    IMPORTER_PINNED,  /* at once, but had asked for pages that stay */
    IMPORTER_SLOW,    /* it unmaps at IMPORTER_IOC_LET_GO */
    IMPORTER_ROGUE,   /* it unmaps, and would use the pages even so */
    IMPORTER_STATIC,  /* it cannot be told */
    IMPORTER_STUCK,   /* it writes nothing, and keeps it, with a fence, until it
                         is closed */
    IMPORTER_SLEEPY,  /* at once, but sleeps for 5 s before */
    IMPORTER_MODES
};

struct importer_args {
    __s32 fd;
    __u32 mode;
};

struct importer_stats {
    __u64 transfers; /* pages that were written */
    __u64 late;      /* of them, those that were not pinned at that moment */
    __u32 is_mapped;
    __u32 is_told;   /* to let go */
};

/* Attach to a dma-buf, map it, and begin to write: page after page, again and
 * again, each with 'd'. Once a description. */
#define IMPORTER_IOC_START _IOW(0xDB, 1, struct importer_args)

/* Stop writing, and stay attached and mapped */
#define IMPORTER_IOC_STOP _IO(0xDB, 2)

#define IMPORTER_IOC_STATS _IOR(0xDB, 3, struct importer_stats)

/* IMPORTER_SLOW: let go now */
#define IMPORTER_IOC_LET_GO _IO(0xDB, 4)

#endif
