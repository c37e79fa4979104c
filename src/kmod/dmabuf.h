/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* A pin as a dma-buf, which the kernel takes back from devices */

#ifndef DAXPIN_DMABUF_H_
#define DAXPIN_DMABUF_H_

#include "compat.h"

#if DAXPIN_HAVE_DMABUF
#include <linux/dma-resv.h>
#endif

struct dma_buf;

/* Pages that follow each other in the file and in memory */
struct daxpin_extent {
    unsigned long first; /* number of its first page in the pin */
    unsigned long count;
    struct page   *page;
};

/*
 * Devices map a dma-buf for as long as they use it, and they can be told to let
 * go. Only devices are served that can: then a truncate waits for the driver,
 * and not for the program.
 */
struct daxpin_dmabuf {
    /* The pin's, once it is exported */
    const struct daxpin_extent *extents;
    unsigned int               num_extents;
    unsigned long              count; /* of pages */

    /* Called when it is revoked, and no device has mapped it any more. Does not
     * sleep. */
    void (*on_unused)(struct daxpin_dmabuf *dmabuf);

    /* Called when there is no dma-buf any more */
    void (*on_release)(struct daxpin_dmabuf *dmabuf);

#if DAXPIN_HAVE_DMABUF
    struct dma_resv resv;     /* protects what follows */
    struct dma_buf  *dma_buf; /* NULL: not exported, or released */
#endif
    unsigned long   num_maps; /* by devices */
    bool            is_revoked;
};

void daxpin_dmabuf_init(struct daxpin_dmabuf *dmabuf);
void daxpin_dmabuf_destroy(struct daxpin_dmabuf *dmabuf);

bool daxpin_dmabuf_is_revoked(const struct daxpin_dmabuf *dmabuf);

/* Make a dma-buf, which calls on_release() at its end, or now on failure. Return
 * a descriptor of the calling process, or a negative errno. */
int daxpin_dmabuf_export(struct daxpin_dmabuf *dmabuf);

/* Take the pages back from devices. Return whether none has them any more. May
 * sleep, but not for long. */
bool daxpin_dmabuf_revoke(struct daxpin_dmabuf *dmabuf);

#endif
