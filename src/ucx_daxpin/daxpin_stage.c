/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Staging buffers for local buffers that a NIC cannot register */

#include "daxpin_stage.h"
#include "daxpin_hook.h"
#include "daxpin_mr.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* More than UCP gives one operation */
#define UCT_DAXPIN_STAGE_MAX_IOV    32

/* Staging buffers are powers of two; an interface keeps some for next time */
#define UCT_DAXPIN_STAGE_MIN_ORDER  13u
#define UCT_DAXPIN_STAGE_ORDERS     40u
#define UCT_DAXPIN_STAGE_KEEP_BYTES (16ul << 20)

typedef struct uct_daxpin_stage       uct_daxpin_stage_t;
typedef struct uct_daxpin_stage_iface uct_daxpin_stage_iface_t;

/* A staging buffer and the operation that uses the buffer */
struct uct_daxpin_stage {
    uct_completion_t         comp;  /* what the transport completes */
    uct_completion_t         *user; /* what the caller waits for, or NULL */
    uct_daxpin_stage_iface_t *iface;
    uct_daxpin_stage_t       *next; /* while no operation uses it */
    unsigned                 order;
    int                      is_get;
    char                     *buffer;
    uct_mem_h                memh;
    size_t                   iovcnt;
    uct_iov_t                iov[UCT_DAXPIN_STAGE_MAX_IOV]; /* the caller's */
};

/* What daxpin adds to an interface */
struct uct_daxpin_stage_iface {
    uct_md_h           md;
    size_t             kept; /* bytes */
    uct_daxpin_stage_t *free[UCT_DAXPIN_STAGE_ORDERS];
};

uct_ib_mem_t uct_daxpin_stage_memh = UCT_DAXPIN_IB_MEM_NONE;

static size_t uct_daxpin_stage_size(unsigned order)
{
    return 1ul << order;
}

static unsigned uct_daxpin_stage_order(size_t length)
{
    unsigned order = UCT_DAXPIN_STAGE_MIN_ORDER;

    while ((order < UCT_DAXPIN_STAGE_ORDERS) &&
           (uct_daxpin_stage_size(order) < length)) {
        ++order;
    }
    return order;
}

static uct_daxpin_stage_t *
uct_daxpin_stage_create(uct_daxpin_stage_iface_t *iface, unsigned order)
{
    size_t size = uct_daxpin_stage_size(order);
    uct_daxpin_stage_t *stage;
    ucs_status_t status;

    stage = ucs_calloc(1, sizeof(*stage), "daxpin_stage");
    if (stage == NULL) {
        goto err;
    }

    stage->iface  = iface;
    stage->order  = order;
    stage->buffer = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stage->buffer == MAP_FAILED) {
        goto err_free;
    }

    status = uct_md_mem_reg(iface->md, stage->buffer, size,
                            UCT_MD_MEM_ACCESS_LOCAL_READ |
                            UCT_MD_MEM_ACCESS_LOCAL_WRITE, &stage->memh);
    if (status != UCS_OK) {
        goto err_unmap;
    }
    return stage;

err_unmap:
    munmap(stage->buffer, size);
err_free:
    ucs_free(stage);
err:
    ucs_error("daxpin: cannot make a staging buffer of %zu bytes for an"
              " operation with a buffer in a file on fsdax; use another buffer,"
              " or smaller operations", size);
    return NULL;
}

static void uct_daxpin_stage_destroy(uct_daxpin_stage_t *stage)
{
    (void)uct_md_mem_dereg(stage->iface->md, stage->memh);
    munmap(stage->buffer, uct_daxpin_stage_size(stage->order));
    ucs_free(stage);
}

static uct_daxpin_stage_t *
uct_daxpin_stage_get(uct_daxpin_stage_iface_t *iface, size_t length)
{
    unsigned order = uct_daxpin_stage_order(length);
    uct_daxpin_stage_t *stage;

    if (order == UCT_DAXPIN_STAGE_ORDERS) {
        ucs_error("daxpin: cannot stage an operation of %zu bytes: the limit is"
                  " %zu; use smaller operations", length,
                  uct_daxpin_stage_size(UCT_DAXPIN_STAGE_ORDERS - 1));
        return NULL;
    }

    stage = iface->free[order];
    if (stage == NULL) {
        return uct_daxpin_stage_create(iface, order);
    }

    iface->free[order] = stage->next;
    iface->kept       -= uct_daxpin_stage_size(order);
    return stage;
}

static void uct_daxpin_stage_put(uct_daxpin_stage_t *stage)
{
    uct_daxpin_stage_iface_t *iface = stage->iface;
    size_t size                     = uct_daxpin_stage_size(stage->order);

    if (iface->kept + size > UCT_DAXPIN_STAGE_KEEP_BYTES) {
        uct_daxpin_stage_destroy(stage);
        return;
    }

    stage->next               = iface->free[stage->order];
    iface->free[stage->order] = stage;
    iface->kept              += size;
}

static int uct_daxpin_stage_is_wanted(uct_mem_h memh)
{
    const uct_daxpin_mr_t *mr;

    if (memh == &uct_daxpin_stage_memh) {
        return 1;
    }
    mr = (memh != UCT_MEM_HANDLE_NULL) ? uct_daxpin_mr_from_memh(memh) : NULL;
    return (mr != NULL) && mr->is_odp;
}

static size_t uct_daxpin_stage_iov_length(const uct_iov_t *iov)
{
    return uct_daxpin_stage_is_wanted(iov->memh) ? iov->count * iov->length : 0;
}

static size_t uct_daxpin_stage_length(const uct_iov_t *iov, size_t iovcnt)
{
    size_t length = 0;
    size_t i;

    for (i = 0; i < iovcnt; ++i) {
        length += uct_daxpin_stage_iov_length(&iov[i]);
    }
    return length;
}

/* Copy from the caller's buffers into the staging buffer (is_in), or back */
static void uct_daxpin_stage_copy(uct_daxpin_stage_t *stage, int is_in)
{
    char *at = stage->buffer;
    size_t length, i;

    for (i = 0; i < stage->iovcnt; ++i) {
        length = uct_daxpin_stage_iov_length(&stage->iov[i]);
        if (length == 0) {
            continue;
        }
        if (is_in) {
            memcpy(at, stage->iov[i].buffer, length);
        } else {
            memcpy(stage->iov[i].buffer, at, length);
        }
        at += length;
    }
}

static void uct_daxpin_stage_complete(uct_completion_t *comp)
{
    uct_daxpin_stage_t *stage = ucs_container_of(comp, uct_daxpin_stage_t,
                                                 comp);
    uct_completion_t *user    = stage->user;
    ucs_status_t status       = comp->status;

    if (stage->is_get && (status == UCS_OK)) {
        uct_daxpin_stage_copy(stage, 0);
    }
    uct_daxpin_stage_put(stage);

    if (user != NULL) {
        uct_completion_update_status(user, status);
        if (--user->count == 0) {
            user->func(user);
        }
    }
}

/* Get a staging buffer, and fill @a staged, which has as many elements as @a
 * iov, with what the transport is to use instead */
static ucs_status_t
uct_daxpin_stage_begin(uct_daxpin_stage_iface_t *iface, const uct_iov_t *iov,
                       size_t iovcnt, size_t length, int is_get,
                       uct_completion_t *comp, uct_iov_t *staged,
                       uct_daxpin_stage_t **stage_p)
{
    uct_daxpin_stage_t *stage;
    char *at;
    size_t i;

    if (iovcnt > UCT_DAXPIN_STAGE_MAX_IOV) {
        ucs_error("daxpin: cannot stage an operation of %zu buffers, some of"
                  " them in files on fsdax: the limit is %d; use fewer"
                  " buffers", iovcnt, UCT_DAXPIN_STAGE_MAX_IOV);
        return UCS_ERR_INVALID_PARAM;
    }

    stage = uct_daxpin_stage_get(iface, length);
    if (stage == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    memcpy(stage->iov, iov, iovcnt * sizeof(*iov));
    memcpy(staged, iov, iovcnt * sizeof(*iov));
    for (at = stage->buffer, i = 0; i < iovcnt; ++i) {
        if (uct_daxpin_stage_is_wanted(iov[i].memh)) {
            staged[i].buffer = at;
            staged[i].memh   = stage->memh;
            at              += uct_daxpin_stage_iov_length(&iov[i]);
        }
    }

    stage->comp.func   = uct_daxpin_stage_complete;
    stage->comp.count  = 1;
    stage->comp.status = UCS_OK;
    stage->user        = comp;
    stage->is_get      = is_get;
    stage->iovcnt      = iovcnt;
    if (!is_get) {
        uct_daxpin_stage_copy(stage, 1);
    }
    *stage_p = stage;
    return UCS_OK;
}

/* Finish an operation that is not in progress, because the transport does not
 * complete it */
static ucs_status_t uct_daxpin_stage_end(uct_daxpin_stage_t *stage,
                                         ucs_status_t status)
{
    if (status == UCS_INPROGRESS) {
        return status;
    }

    if (stage->is_get && (status == UCS_OK)) {
        uct_daxpin_stage_copy(stage, 0);
    }
    uct_daxpin_stage_put(stage);
    return status;
}

/* Put (is_get is 0) or get */
static ucs_status_t
uct_daxpin_stage_ep_rma_zcopy(uct_ep_h ep, const uct_iov_t *iov, size_t iovcnt,
                              uint64_t remote_addr, uct_rkey_t rkey,
                              uct_completion_t *comp, int is_get)
{
    const uct_daxpin_hook_t *hook = uct_daxpin_hook_find(ep->iface);
    uct_ep_put_zcopy_func_t inner = is_get ? hook->inner.ep_get_zcopy :
                                             hook->inner.ep_put_zcopy;
    size_t length                 = uct_daxpin_stage_length(iov, iovcnt);
    uct_iov_t staged[UCT_DAXPIN_STAGE_MAX_IOV];
    uct_daxpin_stage_t *stage;
    ucs_status_t status;

    if (length == 0) {
        return inner(ep, iov, iovcnt, remote_addr, rkey, comp);
    }

    status = uct_daxpin_stage_begin(hook->arg, iov, iovcnt, length, is_get,
                                    comp, staged, &stage);
    if (status != UCS_OK) {
        return status;
    }

    status = inner(ep, staged, iovcnt, remote_addr, rkey, &stage->comp);
    return uct_daxpin_stage_end(stage, status);
}

static ucs_status_t
uct_daxpin_stage_ep_put_zcopy(uct_ep_h ep, const uct_iov_t *iov, size_t iovcnt,
                              uint64_t remote_addr, uct_rkey_t rkey,
                              uct_completion_t *comp)
{
    return uct_daxpin_stage_ep_rma_zcopy(ep, iov, iovcnt, remote_addr, rkey,
                                         comp, 0);
}

static ucs_status_t
uct_daxpin_stage_ep_get_zcopy(uct_ep_h ep, const uct_iov_t *iov, size_t iovcnt,
                              uint64_t remote_addr, uct_rkey_t rkey,
                              uct_completion_t *comp)
{
    return uct_daxpin_stage_ep_rma_zcopy(ep, iov, iovcnt, remote_addr, rkey,
                                         comp, 1);
}

static ucs_status_t
uct_daxpin_stage_ep_am_zcopy(uct_ep_h ep, uint8_t id, const void *header,
                             unsigned header_length, const uct_iov_t *iov,
                             size_t iovcnt, unsigned flags,
                             uct_completion_t *comp)
{
    const uct_daxpin_hook_t *hook = uct_daxpin_hook_find(ep->iface);
    uct_ep_am_zcopy_func_t inner  = hook->inner.ep_am_zcopy;
    size_t length                 = uct_daxpin_stage_length(iov, iovcnt);
    uct_iov_t staged[UCT_DAXPIN_STAGE_MAX_IOV];
    uct_daxpin_stage_t *stage;
    ucs_status_t status;

    if (length == 0) {
        return inner(ep, id, header, header_length, iov, iovcnt, flags, comp);
    }

    status = uct_daxpin_stage_begin(hook->arg, iov, iovcnt, length, 0, comp,
                                    staged, &stage);
    if (status != UCS_OK) {
        return status;
    }

    status = inner(ep, id, header, header_length, staged, iovcnt, flags,
                   &stage->comp);
    return uct_daxpin_stage_end(stage, status);
}

/* Hide tag matching of the NIC, which writes into memory at a time that nobody
 * knows, so that there is no operation to stage */
static ucs_status_t uct_daxpin_stage_iface_query(uct_iface_h uct_iface,
                                                 uct_iface_attr_t *attr)
{
    static const uint64_t tag_flags = UCT_IFACE_FLAG_TAG_EAGER_SHORT |
                                      UCT_IFACE_FLAG_TAG_EAGER_BCOPY |
                                      UCT_IFACE_FLAG_TAG_EAGER_ZCOPY |
                                      UCT_IFACE_FLAG_TAG_RNDV_ZCOPY;
    static _Atomic int reported;
    const uct_daxpin_hook_t *hook   = uct_daxpin_hook_find(uct_iface);
    ucs_status_t status;

    status = hook->inner.iface_query(uct_iface, attr);
    if ((status == UCS_OK) && (attr->cap.flags & tag_flags)) {
        attr->cap.flags &= ~tag_flags;
        if (atomic_exchange(&reported, 1) == 0) {
            ucs_info("daxpin: the processor matches tags, not the NIC, which"
                     " cannot receive into files on fsdax");
        }
    }
    return status;
}

static void uct_daxpin_stage_iface_close(uct_iface_h uct_iface)
{
    uct_daxpin_hook_t *hook         = uct_daxpin_hook_find(uct_iface);
    uct_daxpin_stage_iface_t *iface = hook->arg;
    uct_daxpin_stage_t *stage;
    unsigned order;

    /* Close the transport first, which may complete operations only now */
    uct_daxpin_hook_remove(hook);
    uct_iface->ops.iface_close(uct_iface);

    for (order = 0; order < UCT_DAXPIN_STAGE_ORDERS; ++order) {
        while ((stage = iface->free[order]) != NULL) {
            iface->free[order] = stage->next;
            uct_daxpin_stage_destroy(stage);
        }
    }
    ucs_free(iface);
}

static ucs_status_t
uct_daxpin_stage_iface_open(uct_md_h md, uct_worker_h worker,
                            const uct_iface_params_t *params,
                            const uct_iface_config_t *config,
                            uct_iface_h *uct_iface_p)
{
    uct_daxpin_stage_iface_t *iface;
    ucs_status_t status;

    iface = ucs_calloc(1, sizeof(*iface), "daxpin_stage_iface");
    if (iface == NULL) {
        ucs_error("daxpin: no memory for an interface of a NIC");
        return UCS_ERR_NO_MEMORY;
    }

    iface->md = md;
    status    = uct_daxpin_hook_open(md, worker, params, config, iface,
                                     uct_iface_p);
    if (status != UCS_OK) {
        ucs_free(iface);
        return status;
    }

    (*uct_iface_p)->ops.ep_put_zcopy = uct_daxpin_stage_ep_put_zcopy;
    (*uct_iface_p)->ops.ep_get_zcopy = uct_daxpin_stage_ep_get_zcopy;
    (*uct_iface_p)->ops.ep_am_zcopy  = uct_daxpin_stage_ep_am_zcopy;
    (*uct_iface_p)->ops.iface_query  = uct_daxpin_stage_iface_query;
    (*uct_iface_p)->ops.iface_close  = uct_daxpin_stage_iface_close;
    return UCS_OK;
}

void uct_daxpin_stage_transports(uct_component_t *component)
{
    uct_tl_t *tl;

    ucs_list_for_each(tl, &component->tl_list, list) {
        if (uct_daxpin_hook_tl(tl, uct_daxpin_stage_iface_open) != UCS_OK) {
            ucs_warn("daxpin: %s has too many transports for daxpin; %s fails"
                     " with buffers in files on fsdax", component->name,
                     tl->name);
        }
    }
}
