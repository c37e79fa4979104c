/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* For tests of pins as dma-bufs: the device of test/vm/importer */

#ifndef IMPORTED_H_
#define IMPORTED_H_

#include "pinned.h"

#include "importer/importer.h"

/* Have a device write to the dma-buf. Return it, or -1. */
static UNUSED int import(int dmabuf, enum importer_mode mode)
{
    const struct importer_args args = {.fd = dmabuf, .mode = mode};
    int fd = open(IMPORTER_DEVICE, O_RDWR | O_CLOEXEC), error;

    if (ioctl(fd, IMPORTER_IOC_START, &args) != 0) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static UNUSED struct importer_stats stats_of(int device)
{
    struct importer_stats stats = { 0 };

    ioctl(device, IMPORTER_IOC_STATS, &stats);
    return stats;
}

/* Wait until the device has written something more. */
static UNUSED int writes(int device)
{
    unsigned long long before = stats_of(device).transfers;
    int i;

    for (i = 0; (i < 1000) && (stats_of(device).transfers <= before); ++i) {
        pause_ms(5);
    }
    return stats_of(device).transfers > before;
}

/* Return whether the device has been told to let go. */
static UNUSED int is_told(int device)
{
    int i;

    for (i = 0; (i < 500) && !stats_of(device).is_told; ++i) {
        pause_ms(20);
    }
    return stats_of(device).is_told;
}

#endif
