/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The memory domain: registers shared mappings of files under a lease */

#include "daxpin_md.h"
#include "daxpin_mapped.h"
#include "daxpin_process.h"
#include "daxpin_rkey.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#define UCT_DAXPIN_POSIX "posix"

/* The cost of a registration that UCX is given. UCP 1.13 to 1.15 count the cost
 * only when they choose lanes for the rendezvous of ordinary messages. All other
 * transports do the rendezvous better, so none is to register by daxpin. Later UCP
 * adds up what the memory domains of a rendezvous cost, and daxpin's costs
 * nothing there. */
#define UCT_DAXPIN_REG_COST_SEC (UCT_DAXPIN_UCP_HAS_CACHE ? 0.0 : 1.0)

/* What fails when a file cannot be leased */
enum { UCT_DAXPIN_REG_ERROR_MAP, UCT_DAXPIN_REG_ERROR_ACCESS };

static const char *uct_daxpin_on_break_names[] = {
    [DAXPIN_ON_BREAK_REVOKE] = "revoke",
    [DAXPIN_ON_BREAK_HOLD]   = "hold",
    [DAXPIN_ON_BREAK_HOLD + 1] = NULL
};

static const char *uct_daxpin_pin_names[] = {
    [DAXPIN_PIN_AUTO]    = "auto",
    [DAXPIN_PIN_MODULE]  = "module",
    [DAXPIN_PIN_OFF]     = "off",
    [DAXPIN_PIN_OFF + 1] = NULL
};

static const char *uct_daxpin_reg_error_names[] = {
    [UCT_DAXPIN_REG_ERROR_MAP]    = "map",
    [UCT_DAXPIN_REG_ERROR_ACCESS] = "access",
    NULL
};

ucs_config_field_t uct_daxpin_md_config_table[] = {
    {"FILES", "fsdax",
     "Comma-separated list of the files whose shared mappings are registered\n"
     "under an exclusive lease:\n"
     " fsdax - Files on file systems mounted with DAX.\n"
     " /dir  - Files below this directory, strictly treated as fsdax files.\n"
     "All other memory is registered as without daxpin.",
     offsetof(uct_daxpin_md_config_t, files), UCS_CONFIG_TYPE_STRING_ARRAY},

    {"ON_BREAK", "revoke",
     "What happens when another process truncates a registered file, punches\n"
     "a hole in it or opens it for writing:\n"
     " revoke - All access to the file ends with an error, then the other\n"
     "          process goes on.\n"
     " hold   - The other process waits until the file is not registered any\n"
     "          more or, if only the lease makes it wait, until the lease is\n"
     "          about to expire.",
     offsetof(uct_daxpin_md_config_t, on_break),
     UCS_CONFIG_TYPE_ENUM(uct_daxpin_on_break_names)},

    {"PIN", "auto",
     "What pins registered files on fsdax, for RDMA devices to access them:\n"
     " auto   - The pin module, if it is loaded and /dev/daxpin may be\n"
     "          opened; else nothing.\n"
     " module - The pin module; without it, registration fails.\n"
     " off    - Nothing: RDMA devices do not access files on fsdax.",
     offsetof(uct_daxpin_md_config_t, pin),
     UCS_CONFIG_TYPE_ENUM(uct_daxpin_pin_names)},

    {"TIMEOUT", "10s",
     "How long a registration waits for the lease while other programs have\n"
     "the file open.",
     offsetof(uct_daxpin_md_config_t, timeout), UCS_CONFIG_TYPE_TIME},

    {"REG_ERROR", "map",
     "What fails when a file cannot be leased:\n"
     " map    - Mapping (registering) the memory.\n"
     " access - Every access to the memory. For programs that do not survive\n"
     "          an error of mapping, such as Open MPI 4.1 with osc/ucx.",
     offsetof(uct_daxpin_md_config_t, reg_error),
     UCS_CONFIG_TYPE_ENUM(uct_daxpin_reg_error_names)},

    {NULL}
};

/* Shared by all registrations of memory that is not exposed */
static uct_daxpin_memh_t uct_daxpin_local_memh;

static void uct_daxpin_md_close(uct_md_h tl_md)
{
    uct_daxpin_md_t *md = ucs_derived_of(tl_md, uct_daxpin_md_t);

    uct_daxpin_process_remove_md();
    uct_daxpin_process_put();
    uct_md_close(md->inner);
    ucs_free(md);
}

static ucs_status_t uct_daxpin_md_query(uct_md_h tl_md,
                                        uct_daxpin_md_attr_t *attr)
{
    const uct_daxpin_md_t *md = ucs_derived_of(tl_md, uct_daxpin_md_t);

    uct_daxpin_md_attr_init(attr);
    /* Zero-copy needs no local key, because it is a copy. What owns a lease is
     * not cached, so the registration ends when it is given back. */
    uct_daxpin_md_attr_cap(attr)->flags            =
            UCT_MD_FLAG_REG | UCT_MD_FLAG_NEED_RKEY |
            UCT_DAXPIN_MD_FLAGS_INVALIDATE;
    uct_daxpin_md_attr_cap(attr)->max_reg          = ULONG_MAX;
    uct_daxpin_md_attr_cap(attr)->reg_mem_types    =
            UCS_BIT(UCS_MEMORY_TYPE_HOST);
    uct_daxpin_md_attr_cap(attr)->access_mem_types =
            UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->reg_cost.c       = UCT_DAXPIN_REG_COST_SEC;
    attr->rkey_packed_size = md->has_keys ? sizeof(uct_daxpin_packed_rkey_t) :
                                            sizeof(uct_daxpin_null_rkey_t);
    if (!md->has_leases) {
        uct_daxpin_md_attr_set_cached(attr);
    }
    return UCS_OK;
}

static ucs_status_t uct_daxpin_mem_reg_error(int ret, uint64_t flags)
{
    if (flags & UCT_MD_MEM_FLAG_HIDE_ERRORS) {
        ucs_debug("%s", daxpin_errormsg());
    } else {
        ucs_error("%s", daxpin_errormsg());
    }
    return uct_daxpin_status(ret);
}

/* A mapping that is read-only is leased for those that get from it by another
 * transport, because this one would let them put. No access check is around
 * those gets: one that meets a revoke may get the sink's bytes, and succeeds.
 * After the revoke the key is dead. Without a lease they can get as well. */
static int uct_daxpin_memh_adopt_read_only(const uct_daxpin_md_t *md,
                                           uct_daxpin_memh_t *memh,
                                           uint64_t flags,
                                           daxpin_file_t **file_p)
{
    daxpin_params_t params = md->params;
    int ret;

    params.size      = sizeof(params);
    params.read_only = 1;
    memh->read_only  = 1;
    ret = daxpin_file_adopt((void*)(uintptr_t)memh->va, memh->length, &params,
                            file_p, &memh->offset);
    if ((ret != -EACCES) && (ret != -EPERM) && (ret != -EROFS) &&
        (ret != -EAGAIN)) {
        return ret;
    }
    if (!(flags & UCT_MD_MEM_FLAG_HIDE_ERRORS)) {
        ucs_warn("%s; its read-only memory is exposed without a lease: a "
                 "truncate may end this process", daxpin_errormsg());
    }
    return DAXPIN_FOREIGN;
}

/* Lease and pin the range, if it is of a file that is to be leased */
static ucs_status_t uct_daxpin_memh_adopt(uct_daxpin_md_t *md,
                                          uct_daxpin_memh_t *memh,
                                          uint64_t flags)
{
    const daxpin_owner_t owner = {
        .size = sizeof(owner),
        .type = DAXPIN_OWNER_PROCESS
    };
    void *address = (void*)(uintptr_t)memh->va;
    daxpin_file_t *file;
    int ret;

    ret = daxpin_file_adopt(address, memh->length, &md->params, &file,
                            &memh->offset);
    if (ret == -EROFS) {
        ret = uct_daxpin_memh_adopt_read_only(md, memh, flags, &file);
    }
    if (ret == DAXPIN_FOREIGN) {
        return UCS_OK;
    } else if (ret != 0) {
        return uct_daxpin_mem_reg_error(ret, flags);
    }

    ret = daxpin_pin(file, memh->offset, memh->length, &owner, &memh->pin);
    if (ret != 0) {
        daxpin_file_unadopt(file, address, memh->length);
        daxpin_file_close(file);
        return uct_daxpin_mem_reg_error(ret, flags);
    }

    memh->file = file;
    return UCS_OK;
}

static ucs_status_t uct_daxpin_mem_reg(uct_md_h tl_md, void *address,
                                       size_t length,
                                       const uct_md_mem_reg_params_t *params,
                                       uct_mem_h *memh_p)
{
    uct_daxpin_md_t *md = ucs_derived_of(tl_md, uct_daxpin_md_t);
    uint64_t flags      = uct_daxpin_reg_flags(params);
    uct_daxpin_memh_t *memh;
    ucs_status_t status;

    /* The other memory domain has the lease, or nobody needs one: the CPU of
     * this process copies from and to a buffer that is not exposed */
    if (!md->has_leases || !(flags & (UCT_MD_MEM_ACCESS_REMOTE_PUT |
                                      UCT_MD_MEM_ACCESS_REMOTE_GET |
                                      UCT_MD_MEM_ACCESS_REMOTE_ATOMIC))) {
        *memh_p = &uct_daxpin_local_memh;
        return UCS_OK;
    }

    memh = ucs_calloc(1, sizeof(*memh), "daxpin_memh");
    if (memh == NULL) {
        ucs_error("daxpin: no memory to register %zu bytes at %p", length,
                  address);
        return UCS_ERR_NO_MEMORY;
    }

    memh->va     = (uintptr_t)address;
    memh->length = length;
    memh->status = uct_daxpin_memh_adopt(md, memh, flags);
    status       = memh->status;
    if ((status != UCS_OK) &&
        ((md->reg_error == UCT_DAXPIN_REG_ERROR_MAP) ||
         (flags & UCT_MD_MEM_FLAG_HIDE_ERRORS))) {
        ucs_free(memh);
        return status;
    }

    uct_daxpin_mapped_add(memh);
    *memh_p = memh;
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_mem_dereg(uct_md_h md, const uct_md_mem_dereg_params_t *params)
{
    uct_daxpin_memh_t *memh = params->memh;

    if (memh != &uct_daxpin_local_memh) {
        uct_daxpin_mapped_remove(memh);
        if (memh->file != NULL) {
            daxpin_unpin(memh->pin);
            daxpin_file_unadopt(memh->file, (void*)memh->va, memh->length);
            daxpin_file_close(memh->file);
        }
        ucs_free(memh);
    }

    /* Keys that others have are dead by now, or the other memory domain makes
     * them so */
    uct_daxpin_invalidated(params);
    return UCS_OK;
}

static ucs_status_t uct_daxpin_mem_advise(uct_md_h md, uct_mem_h memh,
                                          void *address, size_t length,
                                          unsigned advice)
{
    return UCS_ERR_UNSUPPORTED;
}

static ucs_status_t
uct_daxpin_mkey_pack(uct_md_h tl_md, uct_mem_h memh, void *address,
                     size_t length, const uct_md_mkey_pack_params_t *params,
                     void *rkey_buffer)
{
    const uct_daxpin_md_t *md = ucs_derived_of(tl_md, uct_daxpin_md_t);

    if (!md->has_keys) {
        uct_daxpin_mkey_write_null(rkey_buffer);
    } else if (md->has_leases) {
        uct_daxpin_mkey_write(memh, rkey_buffer);
    } else {
        uct_daxpin_mapped_pack(address, length, rkey_buffer);
    }
    return UCS_OK;
}

UCT_DAXPIN_ADAPT_MEM_REG(uct_daxpin_mem_reg)
UCT_DAXPIN_ADAPT_MKEY_PACK(uct_daxpin_mkey_pack)

static uct_md_ops_t uct_daxpin_md_ops = {
    .close      = uct_daxpin_md_close,
    .query      = uct_daxpin_md_query,
    .mem_advise = uct_daxpin_mem_advise,
    .mem_reg    = uct_daxpin_mem_reg_op,
    .mem_dereg  = uct_daxpin_mem_dereg,
    .mkey_pack  = uct_daxpin_mkey_pack_op,
    UCT_DAXPIN_MD_OPS_OTHERS
};

/* Return the component of a name, or NULL. The list of components never
 * changes, so the handle is valid after the query's memory is released. */
static uct_component_h uct_daxpin_find_component(const char *name)
{
    uct_component_h found    = NULL;
    uct_component_attr_t attr = { .field_mask = UCT_COMPONENT_ATTR_FIELD_NAME };
    uct_component_h *components;
    unsigned count, i;

    if (uct_query_components(&components, &count) != UCS_OK) {
        return NULL;
    }

    for (i = 0; i < count; ++i) {
        if ((uct_component_query(components[i], &attr) == UCS_OK) &&
            (strcmp(attr.name, name) == 0)) {
            found = components[i];
        }
    }

    uct_release_component_list(components);
    return found;
}

static ucs_status_t uct_daxpin_md_open_inner(uct_daxpin_md_t *md)
{
    uct_md_config_t *config;
    ucs_status_t status;

    md->posix = uct_daxpin_find_component(UCT_DAXPIN_POSIX);
    if (md->posix == NULL) {
        ucs_error("daxpin: this UCX has no component %s, which the transport"
                  " is made from", UCT_DAXPIN_POSIX);
        return UCS_ERR_NO_DEVICE;
    }

    status = uct_md_config_read(md->posix, NULL, NULL, &config);
    if (status != UCS_OK) {
        return status;
    }

    status = uct_md_open(md->posix, UCT_DAXPIN_POSIX, config, &md->inner);
    uct_config_release(config);
    return status;
}

ucs_status_t uct_daxpin_md_configure(const uct_md_config_t *md_config)
{
    const uct_daxpin_md_config_t *config =
            (const uct_daxpin_md_config_t*)md_config;
    ucs_status_t status = UCS_OK;
    const char **paths;
    unsigned i;
    int ret;

    paths = ucs_calloc(config->files.count + 1, sizeof(*paths),
                       "daxpin_files");
    if (paths == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    for (i = 0; i < config->files.count; ++i) {
        paths[i] = config->files.names[i];
    }

    daxpin_set_pin_policy((daxpin_pin_policy_t)config->pin);
    ret = daxpin_set_files(paths);
    if (ret != 0) {
        ucs_error("UCX_DAXPIN_FILES: %s", daxpin_errormsg());
        status = uct_daxpin_status(ret);
    }
    ucs_free(paths);
    return status;
}

static unsigned uct_daxpin_timeout_ms(double seconds)
{
    double ms = seconds * 1e3;

    /* 0 would be the default of the library */
    return (ms < 1) ? 1 : (ms > UINT_MAX) ? UINT_MAX : (unsigned)ms;
}

ucs_status_t uct_daxpin_md_open(uct_component_t *component,
                                const char *md_name,
                                const uct_md_config_t *md_config,
                                uct_md_h *md_p)
{
    const uct_daxpin_md_config_t *config =
            (const uct_daxpin_md_config_t*)md_config;
    uct_daxpin_md_t *md;
    ucs_status_t status;

    md = ucs_calloc(1, sizeof(*md), "daxpin_md");
    if (md == NULL) {
        ucs_error("daxpin: no memory for a memory domain");
        return UCS_ERR_NO_MEMORY;
    }

    md->super.ops         = &uct_daxpin_md_ops;
    md->super.component   = component;
    md->params.size       = sizeof(md->params);
    md->params.timeout_ms = uct_daxpin_timeout_ms(config->timeout);
    md->params.on_break   = config->on_break;
    md->reg_error         = config->reg_error;
    uct_daxpin_ucp_config_read(&md->ucp);
    md->has_keys          = strcmp(md_name, UCT_DAXPIN_NAME) == 0;
    md->has_leases        = !UCT_DAXPIN_UCP_HAS_CACHE || !md->has_keys;

    status = uct_daxpin_md_configure(md_config);
    if (status != UCS_OK) {
        goto err_free;
    }

    status = uct_daxpin_md_open_inner(md);
    if (status != UCS_OK) {
        goto err_free;
    }

    uct_daxpin_process_get();
    uct_daxpin_process_add_md(&md->params);
    *md_p = &md->super;
    return UCS_OK;

err_free:
    ucs_free(md);
    return status;
}
