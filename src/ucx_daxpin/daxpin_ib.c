/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What memory domains of UCX's component ib register of files on fsdax */

/*
 * The memory domain registers memory itself, in a cache, which is its own or
 * UCP's. As long as that succeeds, daxpin does nothing more, so ordinary memory
 * costs what it does without daxpin. A range that the memory domain refuses and
 * that has fsdax in it is registered here:
 * - Memory that is exposed to others (mapped by the program) becomes a memory
 *   region of its own, if the NIC can register it in one of the ways of
 *   daxpin_mr.h. The region ends when it is given back.
 * - Everything else gets an empty handle. Its key is a null key, which nobody
 *   can unpack, so UCP emulates access to the memory over the same NIC. As a
 *   local buffer the memory is staged, see daxpin_stage.h.
 *
 * UCP's cache keeps a handle after the program has unmapped the memory, and
 * registers before daxpin's memory domain has the lease. So where UCP has a
 * cache, all that it keeps is the empty handle. The region is made when the key
 * of the memory is packed, and ends with the registration of daxpin_map, which
 * is not cached: see daxpin_mapped.h.
 */

#include "daxpin_ib.h"
#include "daxpin_mapped.h"
#include "daxpin_mr.h"
#include "daxpin_process.h"
#include "daxpin_stage.h"
#include "daxpin/access.h"
#include "daxpin/os/backing.h"
#include "daxpin/os/fork.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define UCT_DAXPIN_IB           "ib"

/* No memory region has this key */
#define UCT_DAXPIN_IB_NULL_RKEY UINT64_MAX

/* Memory type of the device's lane, where daxpin's transport shares a device
 * with others (see daxpin_tl.c). UCP chooses one lane for registered memory
 * of each type. For the host's type on one node that is daxpin's lane, because
 * it claims to be the fastest. So the device gets a lane of its own with a type
 * that no memory has where nothing detects that type. For each key UCP then
 * takes the first of these lanes that the key is good for. */
#define UCT_DAXPIN_IB_LANE_TYPE UCS_MEMORY_TYPE_ROCM_MANAGED

/* One memory domain, found by the operations that it was given. What follows
 * them is written under the lock of the component. */
typedef struct uct_daxpin_ib_md {
    uct_md_ops_t         ops;
    uct_md_ops_t         *inner; /* those that it had */
    uct_daxpin_mr_caps_t caps;
    int                  is_global; /* see uct_daxpin_ib_is_global() */
    char                 name[UCT_MD_NAME_MAX];
} uct_daxpin_ib_md_t;

/* What was said of a device. A program opens its memory domain as often as it
 * likes, so what was said belongs to the process, and stays. */
typedef struct uct_daxpin_ib_said {
    struct uct_daxpin_ib_said *next;
    const char                *how; /* a constant */
    char                      device[UCT_MD_NAME_MAX];
} uct_daxpin_ib_said_t;

/* The component and the operations that it had, written once; and what was said,
 * which is written under the lock */
static struct {
    pthread_mutex_t      lock;
    uct_daxpin_ib_said_t *said;
    uct_component_t      *component;
    ucs_status_t         (*md_open)(uct_component_t *component,
                                    const char *md_name,
                                    const uct_md_config_t *config,
                                    uct_md_h *md_p);
    uct_daxpin_rkey_unpack_func_t rkey_unpack;
} uct_daxpin_ib = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A registration that waits for a lease holds the lock for seconds. In a child
 * nobody waits, and no device registers for the parent. */
static void uct_daxpin_ib_fork(void)
{
    pthread_mutex_init(&uct_daxpin_ib.lock, NULL);
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_UCX_IB, uct_daxpin_ib_fork)

static uct_daxpin_ib_md_t *uct_daxpin_ib_md(uct_md_h md)
{
    return ucs_container_of(md->ops, uct_daxpin_ib_md_t, ops);
}

/* Return whether this was said of the device in this process */
static int uct_daxpin_ib_was_said(const char *device, const char *how)
{
    const uct_daxpin_ib_said_t *said;

    for (said = uct_daxpin_ib.said; said != NULL; said = said->next) {
        if ((strcmp(said->how, how) == 0) &&
            (strcmp(said->device, device) == 0)) {
            return 1;
        }
    }
    return 0;
}

/* Note that this is said of the device. Return 0 without memory: then it is not. */
static int uct_daxpin_ib_say(const char *device, const char *how)
{
    uct_daxpin_ib_said_t *said = ucs_calloc(1, sizeof(*said), "daxpin_ib_said");

    if (said == NULL) {
        return 0;
    }
    snprintf(said->device, sizeof(said->device), "%s", device);
    said->how          = how;
    said->next         = uct_daxpin_ib.said;
    uct_daxpin_ib.said = said;
    return 1;
}

/* Report how a range is registered, or why it is not: each way and each reason
 * once for each device. Caller holds the lock of the component. */
static void uct_daxpin_ib_report(const char *device, void *address,
                                 size_t length, int is_mr, const char *how)
{
    daxpin_vma_t vma;

    if (uct_daxpin_ib_was_said(device, how) ||
        (daxpin_range_is_dax((uintptr_t)address, length, &vma) <= 0) ||
        !uct_daxpin_ib_say(device, how)) {
        return;
    }

    if (is_mr) {
        ucs_info("daxpin: %s and files on fsdax, such as %s: %s", device,
                 vma.path, how);
    } else {
        ucs_info("daxpin: %s and files on fsdax, such as %s: not registered,"
                 " because %s; access by others is emulated by UCX, local"
                 " buffers are staged", device, vma.path, how);
    }
}

/* Make a memory region of memory that a program mapped for others. Caller holds
 * the lock of the component. */
static ucs_status_t uct_daxpin_ib_expose(uct_md_h md, void *address,
                                         size_t length, uct_daxpin_mr_t **mr_p)
{
    uct_daxpin_ib_md_t *ib = uct_daxpin_ib_md(md);
    ucs_status_t status;
    const char *how;

    if (!ib->caps.is_known) {
        uct_daxpin_mr_query(md, ib->name, &ib->caps);
    }

    status = uct_daxpin_mr_reg(md, &ib->caps, address, length, mr_p, &how);
    uct_daxpin_ib_report(ib->name, address, length, status == UCS_OK, how);
    return status;
}

/* Register a range of fsdax. Where UCP has no cache, it requests atomics if a
 * program maps memory, and never for the buffer of an operation. */
static void uct_daxpin_ib_mem_reg_dax(uct_md_h md, void *address,
                                      size_t length, uint64_t flags,
                                      uct_mem_h *memh_p)
{
    uct_daxpin_mr_t *mr;

    *memh_p = &uct_daxpin_stage_memh;
    if (UCT_DAXPIN_UCP_HAS_CACHE ||
        !(flags & UCT_MD_MEM_ACCESS_REMOTE_ATOMIC)) {
        return;
    }

    pthread_mutex_lock(&uct_daxpin_ib.lock);
    if (uct_daxpin_ib_expose(md, address, length, &mr) == UCS_OK) {
        *memh_p = &mr->super;
    }
    pthread_mutex_unlock(&uct_daxpin_ib.lock);
}

/* Return whether the memory domain is to register the range, if it can. Without
 * blocking it does so on demand, and so does one with a handle of all memory: files
 * on fsdax as well, but it would go on writing after a revoke. */
static int uct_daxpin_ib_may_try(const uct_daxpin_ib_md_t *ib,
                                 const void *address, size_t length,
                                 uint64_t flags)
{
    daxpin_vma_t vma;

    return (!(flags & UCT_MD_MEM_FLAG_NONBLOCK) && !ib->is_global) ||
           (daxpin_range_is_dax((uintptr_t)address, length, &vma) == 0);
}

/* End a registration of which nobody knows whether it is of fsdax: a registration
 * on demand would go on writing after a revoke. */
static ucs_status_t uct_daxpin_ib_unknown(const void *address, size_t length,
                                          uint64_t flags, int error)
{
    ucs_log((flags & UCT_MD_MEM_FLAG_HIDE_ERRORS) ? UCS_LOG_LEVEL_DEBUG :
                                                    UCS_LOG_LEVEL_ERROR,
            "daxpin: cannot find out whether the %zu bytes at %p are of a file"
            " on fsdax: %s; raise the limit of open files (ulimit -n), and"
            " check that /proc is mounted", length, address, strerror(-error));
    return UCS_ERR_IO_ERROR;
}

static ucs_status_t uct_daxpin_ib_mem_reg(uct_md_h md, void *address,
                                          size_t length,
                                          const uct_md_mem_reg_params_t *params,
                                          uct_mem_h *memh_p)
{
    uct_daxpin_ib_md_t *ib = uct_daxpin_ib_md(md);
    uint64_t flags         = uct_daxpin_reg_flags(params);
    ucs_status_t status;
    daxpin_vma_t vma;
    unsigned epoch;
    int is_dax;

    /* Only mappings known to be fsdax are not tried: nobody stages UCX's own
     * buffers, which are registered here as well */
    if (!daxpin_cache_is_fsdax((uintptr_t)address, length)) {
        status = UCS_ERR_UNSUPPORTED;
        if (uct_daxpin_ib_may_try(ib, address, length, flags)) {
            status = uct_daxpin_call_mem_reg(ib->inner, md, address, length,
                                             params,
                                             UCT_MD_MEM_FLAG_HIDE_ERRORS,
                                             memh_p);
        }
        if (status == UCS_OK) {
            return UCS_OK;
        }

        epoch = daxpin_cache_epoch();
        if (daxpin_range_is_control((uintptr_t)address, length)) {
            /* Of a window, for others to read: UCP emulates that */
            *memh_p = &uct_daxpin_stage_memh;
            return UCS_OK;
        }

        is_dax = daxpin_range_is_dax((uintptr_t)address, length, &vma);
        if (is_dax < 0) {
            return uct_daxpin_ib_unknown(address, length, flags, is_dax);
        } else if (is_dax == 0) {
            /* Once more, to report the reason */
            return (flags & UCT_MD_MEM_FLAG_HIDE_ERRORS) ? status :
                   uct_daxpin_call_mem_reg(ib->inner, md, address, length,
                                           params, 0, memh_p);
        }

        daxpin_cache_insert_fsdax(vma.start, vma.end, epoch);
    }

    uct_daxpin_ib_mem_reg_dax(md, address, length, flags, memh_p);
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_ib_mem_dereg(uct_md_h md, const uct_md_mem_dereg_params_t *params)
{
    ucs_status_t status = UCS_OK;
    uct_daxpin_mr_t *mr = NULL;

    if (params->memh != &uct_daxpin_stage_memh) {
        mr = uct_daxpin_mr_from_memh(params->memh);
        if (mr == NULL) {
            return uct_daxpin_ib_md(md)->inner->mem_dereg(md, params);
        }
        status = uct_daxpin_mr_dereg(mr);
    }

    uct_daxpin_invalidated(params);
    return status;
}

static int uct_daxpin_ib_memh_is_ours(uct_mem_h memh)
{
    return (memh == &uct_daxpin_stage_memh) ||
           (uct_daxpin_mr_from_memh(memh) != NULL);
}

static ucs_status_t uct_daxpin_ib_mem_advise(uct_md_h md, uct_mem_h memh,
                                             void *address, size_t length,
                                             unsigned advice)
{
    return uct_daxpin_ib_memh_is_ours(memh) ? UCS_OK :
           uct_daxpin_ib_md(md)->inner->mem_advise(md, memh, address, length,
                                                   advice);
}

/* Return a key as UCX packs it, without one for atomics, which rkey serves for */
static uint64_t uct_daxpin_ib_pack(uint32_t rkey)
{
    return ((uint64_t)UINT32_MAX << 32) | rkey;
}

/* Return the key of a range of which UCP keeps the empty handle: a null key,
 * unless a program has mapped exactly this range. A message from all of a mapped
 * range has the same key, and fails if the program unmaps the range meanwhile. */
static uint64_t uct_daxpin_ib_mapped_key(uct_md_h md, void *address,
                                         size_t length)
{
    uint64_t packed = UCT_DAXPIN_IB_NULL_RKEY;
    uct_daxpin_mr_t *mr;
    uint32_t rkey;

    pthread_mutex_lock(&uct_daxpin_ib.lock);
    if (uct_daxpin_mapped_mr_key(md, address, length, &rkey)) {
        packed = uct_daxpin_ib_pack(rkey);
    } else if (uct_daxpin_mapped_has_file(address, length) &&
               (uct_daxpin_ib_expose(md, address, length, &mr) == UCS_OK)) {
        rkey = mr->super.rkey; /* The region may end as soon as it is added */
        if (uct_daxpin_mapped_add_mr(mr)) {
            packed = uct_daxpin_ib_pack(rkey);
        } else {
            (void)uct_daxpin_mr_dereg(mr);
        }
    }
    pthread_mutex_unlock(&uct_daxpin_ib.lock);
    return packed;
}

static ucs_status_t
uct_daxpin_ib_mkey_pack(uct_md_h md, uct_mem_h memh, void *address,
                        size_t length,
                        const uct_md_mkey_pack_params_t *params,
                        void *rkey_buffer)
{
    uint64_t packed = UCT_DAXPIN_IB_NULL_RKEY;
    uint32_t rkey;

    if (!uct_daxpin_ib_memh_is_ours(memh)) {
        return uct_daxpin_call_mkey_pack(uct_daxpin_ib_md(md)->inner, md, memh,
                                         address, length, params, rkey_buffer);
    }

    if (memh != &uct_daxpin_stage_memh) {
        if (uct_daxpin_mr_key(memh, &rkey)) {
            packed = uct_daxpin_ib_pack(rkey);
        }
    } else if (UCT_DAXPIN_UCP_HAS_CACHE && !uct_daxpin_pack_flags(params)) {
        /* One that UCP may have to invalidate would be a message's */
        packed = uct_daxpin_ib_mapped_key(md, address, length);
    }
    memcpy(rkey_buffer, &packed, sizeof(packed));
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_ib_rkey_unpack(uct_component_t *component, const void *rkey_buffer,
                          const struct uct_rkey_unpack_params *params,
                          uct_rkey_t *rkey_p, void **handle_p)
{
    uint64_t packed;

    memcpy(&packed, rkey_buffer, sizeof(packed));
    if (packed == UCT_DAXPIN_IB_NULL_RKEY) {
        return UCS_ERR_UNREACHABLE;
    }
    return uct_daxpin_call_rkey_unpack(uct_daxpin_ib.rkey_unpack, component,
                                       rkey_buffer, params, rkey_p, handle_p);
}

static ucs_status_t uct_daxpin_ib_md_query(uct_md_h md,
                                           uct_daxpin_md_attr_t *attr)
{
    ucs_status_t status = uct_daxpin_ib_md(md)->inner->query(md, attr);

    /* UCX_GVA_ENABLE: one key for all memory, which no revoke could end */
    uct_daxpin_md_attr_set_gva(attr, 0);
    if (!UCT_DAXPIN_UCP_HAS_CACHE && (status == UCS_OK) &&
        (uct_daxpin_md_attr_cap(attr)->flags & UCT_MD_FLAG_REG)) {
        uct_daxpin_md_attr_cap(attr)->reg_mem_types |=
                UCS_BIT(UCT_DAXPIN_IB_LANE_TYPE);
    }
    return status;
}

UCT_DAXPIN_ADAPT_MEM_REG(uct_daxpin_ib_mem_reg)
UCT_DAXPIN_ADAPT_MKEY_PACK(uct_daxpin_ib_mkey_pack)
UCT_DAXPIN_ADAPT_RKEY_UNPACK(uct_daxpin_ib_rkey_unpack)

static void uct_daxpin_ib_md_close(uct_md_h md)
{
    uct_daxpin_ib_md_t *ib = uct_daxpin_ib_md(md);

    uct_daxpin_mapped_end_mrs(md);
    md->ops = ib->inner;
    ucs_free(ib);
    uct_daxpin_process_put();
    md->ops->close(md);
}

/* Return whether the memory domain has one handle of all memory, on demand: UCX
 * before 1.15 does so for UCX_IB_REG_METHODS=odp, and where it has no cache. Two
 * registrations then are the same. */
static int uct_daxpin_ib_is_global(uct_md_h md, const uct_md_ops_t *ops)
{
    static const uct_md_mem_reg_params_t params = {
        .field_mask = UCT_MD_MEM_REG_FIELD_FLAGS,
        .flags      = UCT_MD_MEM_ACCESS_ALL | UCT_MD_MEM_FLAG_HIDE_ERRORS
    };
    static char pages[3 * 4096]; /* the middle keeps the others apart */
    uct_md_mem_dereg_params_t dereg = {
        .field_mask = UCT_MD_MEM_DEREG_FIELD_MEMH
    };
    uct_mem_h memhs[2];
    int is_global;

    if (UCT_DAXPIN_SINCE(15) ||
        (uct_daxpin_call_mem_reg(ops, md, &pages[0], 1, &params, 0,
                                 &memhs[0]) != UCS_OK)) {
        return 0;
    }

    is_global = 0;
    if (uct_daxpin_call_mem_reg(ops, md, &pages[2 * 4096], 1, &params, 0,
                                &memhs[1]) == UCS_OK) {
        is_global  = memhs[1] == memhs[0];
        dereg.memh = memhs[1];
        (void)ops->mem_dereg(md, &dereg);
    }
    dereg.memh = memhs[0];
    (void)ops->mem_dereg(md, &dereg);
    return is_global;
}

static ucs_status_t
uct_daxpin_ib_md_open(uct_component_t *component, const char *md_name,
                      const uct_md_config_t *config, uct_md_h *md_p)
{
    uct_daxpin_ib_md_t *ib;
    ucs_status_t status;

    ib = ucs_calloc(1, sizeof(*ib), "daxpin_ib_md");
    if (ib == NULL) {
        ucs_error("daxpin: no memory for the memory domain of %s", md_name);
        return UCS_ERR_NO_MEMORY;
    }

    status = uct_daxpin_ib.md_open(component, md_name, config, md_p);
    if (status != UCS_OK) {
        ucs_free(ib);
        return status;
    }

    snprintf(ib->name, sizeof(ib->name), "%s", md_name);
    ib->inner          = (*md_p)->ops;
    ib->is_global      = uct_daxpin_ib_is_global(*md_p, ib->inner);
    ib->ops            = *ib->inner;
    ib->ops.close      = uct_daxpin_ib_md_close;
    ib->ops.query      = uct_daxpin_ib_md_query;
    ib->ops.mem_reg    = uct_daxpin_ib_mem_reg_op;
    ib->ops.mem_dereg  = uct_daxpin_ib_mem_dereg;
    ib->ops.mem_advise = uct_daxpin_ib_mem_advise;
    ib->ops.mkey_pack  = uct_daxpin_ib_mkey_pack_op;
    (*md_p)->ops       = &ib->ops;
    uct_daxpin_process_get();
    return UCS_OK;
}

void uct_daxpin_ib_init(void)
{
    uct_component_t *component;

    pthread_mutex_lock(&uct_daxpin_ib.lock);
    if (uct_daxpin_ib.component != NULL) {
        goto out;
    }

    ucs_list_for_each(component, &uct_components_list, list) {
        if (strncmp(component->name, UCT_DAXPIN_IB,
                    sizeof(component->name)) == 0) {
            uct_daxpin_ib.component   = component;
            uct_daxpin_ib.md_open     = component->md_open;
            uct_daxpin_ib.rkey_unpack = component->rkey_unpack;
            component->md_open        = uct_daxpin_ib_md_open;
            component->rkey_unpack    = uct_daxpin_ib_rkey_unpack_op;
            uct_daxpin_stage_transports(component);
            break;
        }
    }
out:
    pthread_mutex_unlock(&uct_daxpin_ib.lock);
}
