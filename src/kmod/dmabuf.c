// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* A pin as a dma-buf, which the kernel takes back from devices */

#include "dmabuf.h"

#if DAXPIN_HAVE_DMABUF

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>

MODULE_IMPORT_NS("DMA_BUF");

/* How long one attempt waits for devices; other pins of the user wait, too */
#define DAXPIN_DMABUF_WAIT (HZ / 10)

/* How often devices may have it mapped: each time takes memory for each extent,
 * and space in the device's own page table */
#define DAXPIN_DMABUF_MAPS 1024

#ifdef DAXPIN_HAS_INVALIDATE
#define daxpin_dmabuf_invalidate(_buf) dma_buf_invalidate_mappings(_buf)
#else
#define daxpin_dmabuf_invalidate(_buf) dma_buf_move_notify(_buf)
#endif

/*
 * The table of a device
 */

static unsigned long daxpin_dmabuf_segment(struct device *dev)
{
    unsigned long most = min_t(unsigned long, dma_get_max_seg_size(dev), SZ_1G);

    return max(most & PAGE_MASK, PAGE_SIZE) / PAGE_SIZE;
}

static int daxpin_dmabuf_fill(const struct daxpin_dmabuf *dmabuf,
                              unsigned long most, struct sg_table *table)
{
    const struct daxpin_extent *extent;
    unsigned long first, count;
    struct scatterlist *sg;
    unsigned int i, num = 0;
    int ret;

    for (i = 0; i < dmabuf->num_extents; ++i) {
        num += DIV_ROUND_UP(dmabuf->extents[i].count, most);
    }
    ret = sg_alloc_table(table, num, GFP_KERNEL_ACCOUNT);
    if (ret != 0) {
        return ret;
    }
    sg = table->sgl;
    for (i = 0; i < dmabuf->num_extents; ++i) {
        extent = &dmabuf->extents[i];
        for (first = 0; first < extent->count; first += count) {
            count = min(extent->count - first, most);
            sg_set_page(sg, daxpin_page_at(extent->page, first),
                        count << PAGE_SHIFT, 0);
            sg = sg_next(sg);
        }
    }
    return 0;
}

/*
 * What importers call. The kernel holds the reservation, but for attach and
 * release.
 */

static int daxpin_dmabuf_attach(struct dma_buf *dma_buf,
                                struct dma_buf_attachment *attachment)
{
    const struct daxpin_dmabuf *dmabuf = dma_buf->priv;

    return daxpin_dmabuf_is_revoked(dmabuf) ? -ENODEV : 0;
}

/* A device that wants the pages to stay gets them only if it can be told to let
 * go all the same */
static int daxpin_dmabuf_pin(struct dma_buf_attachment *attachment)
{
    const struct daxpin_dmabuf *dmabuf = attachment->dmabuf->priv;

    if (dmabuf->is_revoked) {
        return -ENODEV;
    }
#ifdef DAXPIN_HAS_REVOCABLE
    return dma_buf_attach_revocable(attachment) ? 0 : -EOPNOTSUPP;
#else
    return -EOPNOTSUPP;
#endif
}

static void daxpin_dmabuf_unpin(struct dma_buf_attachment *attachment)
{
}

static struct sg_table *
daxpin_dmabuf_map(struct dma_buf_attachment *attachment,
                  enum dma_data_direction direction)
{
    struct daxpin_dmabuf *dmabuf = attachment->dmabuf->priv;
    struct sg_table *table;
    int ret;

    if (dmabuf->is_revoked) {
        return ERR_PTR(-ENODEV);
    }
    if (dmabuf->num_maps >= DAXPIN_DMABUF_MAPS) {
        return ERR_PTR(-EUSERS);
    }
    table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
    if (table == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    ret = daxpin_dmabuf_fill(dmabuf, daxpin_dmabuf_segment(attachment->dev),
                             table);
    if (ret != 0) {
        goto err_free;
    }
    ret = dma_map_sgtable(attachment->dev, table, direction, 0);
    if (ret != 0) {
        goto err_free_table;
    }
    ++dmabuf->num_maps;
    return table;

err_free_table:
    sg_free_table(table);
err_free:
    kfree(table);
    return ERR_PTR(ret);
}

static void daxpin_dmabuf_unmap(struct dma_buf_attachment *attachment,
                                struct sg_table *table,
                                enum dma_data_direction direction)
{
    struct daxpin_dmabuf *dmabuf = attachment->dmabuf->priv;

    dma_unmap_sgtable(attachment->dev, table, direction, 0);
    sg_free_table(table);
    kfree(table);
    --dmabuf->num_maps;
    if (dmabuf->is_revoked && (dmabuf->num_maps == 0)) {
        dmabuf->on_unused(dmabuf);
    }
}

static void daxpin_dmabuf_release(struct dma_buf *dma_buf)
{
    struct daxpin_dmabuf *dmabuf = dma_buf->priv;

    dma_resv_lock(&dmabuf->resv, NULL);
    if (dmabuf->dma_buf == dma_buf) { /* not one that came too late */
        dmabuf->dma_buf = NULL;
    }
    dma_resv_unlock(&dmabuf->resv);
    dmabuf->on_release(dmabuf);
}

static const struct dma_buf_ops daxpin_dmabuf_ops = {
    .attach        = daxpin_dmabuf_attach,
    .pin           = daxpin_dmabuf_pin,
    .unpin         = daxpin_dmabuf_unpin,
    .map_dma_buf   = daxpin_dmabuf_map,
    .unmap_dma_buf = daxpin_dmabuf_unmap,
    .release       = daxpin_dmabuf_release
};

/*
 * Life
 */

void daxpin_dmabuf_init(struct daxpin_dmabuf *dmabuf)
{
    dma_resv_init(&dmabuf->resv);
}

void daxpin_dmabuf_destroy(struct daxpin_dmabuf *dmabuf)
{
    dma_resv_fini(&dmabuf->resv);
}

int daxpin_dmabuf_export(struct daxpin_dmabuf *dmabuf)
{
    DEFINE_DMA_BUF_EXPORT_INFO(info);
    struct dma_buf *dma_buf;
    int ret;

    info.ops   = &daxpin_dmabuf_ops;
    info.size  = dmabuf->count << PAGE_SHIFT;
    info.flags = O_RDWR;
    info.resv  = &dmabuf->resv;
    info.priv  = dmabuf;
    dma_buf    = dma_buf_export(&info);
    if (IS_ERR(dma_buf)) {
        dmabuf->on_release(dmabuf);
        return PTR_ERR(dma_buf);
    }
    ret = dma_resv_lock_interruptible(&dmabuf->resv, NULL);
    if (ret != 0) {
        goto err_put;
    }
    if (dmabuf->dma_buf != NULL) {
        ret = -EBUSY;
    } else if (dmabuf->is_revoked) {
        ret = -ENODEV;
    } else {
        dmabuf->dma_buf = dma_buf;
    }
    dma_resv_unlock(&dmabuf->resv);
    if (ret == 0) {
        ret = dma_buf_fd(dma_buf, O_CLOEXEC);
    }
    if (ret >= 0) {
        return ret;
    }

err_put:
    dma_buf_put(dma_buf);
    return ret;
}

bool daxpin_dmabuf_revoke(struct daxpin_dmabuf *dmabuf)
{
    bool is_done;

    dma_resv_lock(&dmabuf->resv, NULL);
    if (!dmabuf->is_revoked) {
        WRITE_ONCE(dmabuf->is_revoked, true);
        if (dmabuf->dma_buf != NULL) {
            daxpin_dmabuf_invalidate(dmabuf->dma_buf);
        }
    }
    /* Until the fences are signalled a device may write; until it unmaps, it
     * may read ahead */
    is_done = (dma_resv_wait_timeout(&dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP,
                                     false, DAXPIN_DMABUF_WAIT) > 0) &&
              (dmabuf->num_maps == 0);
    dma_resv_unlock(&dmabuf->resv);
    return is_done;
}

#else

void daxpin_dmabuf_init(struct daxpin_dmabuf *dmabuf)
{
}

void daxpin_dmabuf_destroy(struct daxpin_dmabuf *dmabuf)
{
}

int daxpin_dmabuf_export(struct daxpin_dmabuf *dmabuf)
{
    dmabuf->on_release(dmabuf);
    return -EOPNOTSUPP;
}

bool daxpin_dmabuf_revoke(struct daxpin_dmabuf *dmabuf)
{
    return true;
}

#endif

bool daxpin_dmabuf_is_revoked(const struct daxpin_dmabuf *dmabuf)
{
    return READ_ONCE(dmabuf->is_revoked);
}
