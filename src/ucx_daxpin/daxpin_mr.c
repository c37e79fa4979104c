/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory regions of a NIC over files on fsdax */

#include "daxpin_mr.h"
#include "daxpin_mr_probe.h"
#include "daxpin_process.h"
#include "daxpin/access.h"
#include "daxpin/file/kmod.h"
#include "daxpin/file/pin.h"
#include "daxpin/file/revoke.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef HAVE_VERBS

#include <infiniband/verbs.h>

/* Marks the handles of daxpin. libuct_ib has no flag as high as this. */
#define UCT_DAXPIN_MR_FLAG UCS_BIT(31)

#define UCT_DAXPIN_MR_ACCESS (IBV_ACCESS_LOCAL_WRITE | \
                              IBV_ACCESS_REMOTE_WRITE | \
                              IBV_ACCESS_REMOTE_READ | \
                              IBV_ACCESS_REMOTE_ATOMIC)

/* What UCP does with registered memory, as a target and as a local buffer */
#define UCT_DAXPIN_MR_ODP_RC (IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_WRITE | \
                              IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_ATOMIC)
#define UCT_DAXPIN_MR_ODP_UD IBV_ODP_SUPPORT_SEND

/* Why a range is not registered */
#define UCT_DAXPIN_MR_NO_FD \
    "no descriptor is left; raise the limit of open files (ulimit -n)"

/* Functions of libibverbs, which is in the process if libuct_ib is. Not linked,
 * so that a program without both libraries can load the component. */
static uct_daxpin_verbs_t uct_daxpin_verbs;
static pthread_once_t     uct_daxpin_verbs_once = PTHREAD_ONCE_INIT;
static int                uct_daxpin_verbs_are_there;

/* Number of memory regions */
static _Atomic unsigned uct_daxpin_mr_count;

static void uct_daxpin_verbs_init(void)
{
    const struct {
        const char *name;
        void       *function_p;
        int        is_optional;
    } symbols[] = {
        {"ibv_reg_mr_iova2", &uct_daxpin_verbs.reg_mr},
        {"ibv_reg_dmabuf_mr", &uct_daxpin_verbs.reg_dmabuf_mr, 1},
        {"ibv_dereg_mr", &uct_daxpin_verbs.dereg_mr},
        {"ibv_create_cq", &uct_daxpin_verbs.create_cq},
        {"ibv_destroy_cq", &uct_daxpin_verbs.destroy_cq},
        {"ibv_create_qp", &uct_daxpin_verbs.create_qp},
        {"ibv_destroy_qp", &uct_daxpin_verbs.destroy_qp},
        {"ibv_modify_qp", &uct_daxpin_verbs.modify_qp},
        {"ibv_query_port", &uct_daxpin_verbs.query_port},
        {"ibv_query_gid", &uct_daxpin_verbs.query_gid}
    };
    void *handle = dlopen("libibverbs.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void *function;
    size_t i;

    if (handle == NULL) {
        return;
    }
    for (i = 0; i < sizeof(symbols) / sizeof(symbols[0]); ++i) {
        function = dlsym(handle, symbols[i].name);
        if ((function == NULL) && !symbols[i].is_optional) {
            return;
        }
        memcpy(symbols[i].function_p, &function, sizeof(function));
    }
    uct_daxpin_verbs_are_there = 1;
}

/* Read memory through a pointer that may be wrong: then the write to the pipe
 * fails, and the process goes on */
static int uct_daxpin_mr_peek(const int *pipes, const void *from, void *to,
                              size_t size)
{
    return (write(pipes[1], from, size) == (ssize_t)size) &&
           (read(pipes[0], to, size) == (ssize_t)size);
}

/* Check that the memory domain has the layout in abi/: its protection domain
 * must be one of the device that gave the memory domain its name */
static ucs_status_t uct_daxpin_mr_check_md(uct_md_h md, const char *md_name)
{
    const uct_ib_md_t *ib = ucs_derived_of(md, uct_ib_md_t);
    struct ibv_context context;
    struct ibv_device device;
    struct ibv_pd pd;
    uct_md_attr_t attr;
    int pipes[2];
    int ret;

    if (pipe(pipes) != 0) {
        return UCS_ERR_NO_RESOURCE;
    }
    ret = (uct_md_query(md, &attr) == UCS_OK) &&
          (attr.rkey_packed_size == sizeof(uint64_t)) &&
          uct_daxpin_mr_peek(pipes, ib->pd, &pd, sizeof(pd)) &&
          uct_daxpin_mr_peek(pipes, pd.context, &context, sizeof(context)) &&
          uct_daxpin_mr_peek(pipes, context.device, &device, sizeof(device)) &&
          (strncmp(device.name, md_name, sizeof(device.name)) == 0);
    close(pipes[0]);
    close(pipes[1]);
    return ret ? UCS_OK : UCS_ERR_UNSUPPORTED;
}

/* Check that memory handles have the layout in abi/: the handle of a page of
 * ordinary memory must hold the key that the handle is packed into */
static ucs_status_t uct_daxpin_mr_check_memh(uct_md_h md)
{
    const uct_md_mkey_pack_params_t pack_params = { 0 };
    uct_md_mem_dereg_params_t dereg_params      = {
        .field_mask = UCT_MD_MEM_DEREG_FIELD_MEMH
    };
    long size                                   = sysconf(_SC_PAGESIZE);
    uint64_t packed                             = 0;
    const uct_ib_mem_t *mem;
    ucs_status_t status;
    uct_mem_h memh;
    void *page;

    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    if (page == MAP_FAILED) {
        return UCS_ERR_NO_RESOURCE;
    }

    status = uct_md_mem_reg(md, page, size, UCT_MD_MEM_ACCESS_RMA |
                            UCT_MD_MEM_FLAG_HIDE_ERRORS, &memh);
    if (status != UCS_OK) {
        status = UCS_ERR_NO_RESOURCE; /* UCX itself needs this to work */
        goto out;
    }

    mem = memh;
    if ((uct_daxpin_call_mkey_pack(md->ops, md, memh, page, size, &pack_params,
                                   &packed) != UCS_OK) ||
        (mem->rkey != (uint32_t)packed) || (mem->flags & UCT_DAXPIN_MR_FLAG)) {
        status = UCS_ERR_UNSUPPORTED;
    }
    dereg_params.memh = memh;
    (void)md->ops->mem_dereg(md, &dereg_params);
out:
    munmap(page, size);
    return status;
}

/* Check whether the NIC reports on-demand paging for all that UCP does. Return
 * the number of its ports; 0 if it does not. */
static unsigned uct_daxpin_mr_reports_odp(struct ibv_context *context)
{
    struct verbs_context *verbs = verbs_get_ctx_op(context, query_device_ex);
    struct ibv_device_attr_ex attr;
    const struct ibv_odp_caps *odp = &attr.odp_caps;

    memset(&attr, 0, sizeof(attr));
    if ((verbs == NULL) ||
        (verbs->query_device_ex(context, NULL, &attr, sizeof(attr)) != 0) ||
        !(odp->general_caps & IBV_ODP_SUPPORT) ||
        ((odp->per_transport_caps.rc_odp_caps & UCT_DAXPIN_MR_ODP_RC) !=
         UCT_DAXPIN_MR_ODP_RC) ||
        ((odp->per_transport_caps.ud_odp_caps & UCT_DAXPIN_MR_ODP_UD) !=
         UCT_DAXPIN_MR_ODP_UD)) {
        return 0;
    }
    return attr.orig_attr.phys_port_cnt;
}

/* Find out whether there is on-demand paging that works. Return why not, or NULL.
 */
static const char *uct_daxpin_mr_query_odp(struct ibv_pd *pd, int *is_known_p)
{
    const unsigned ports = uct_daxpin_mr_reports_odp(pd->context);

    if (ports == 0) {
        return "the device has no on-demand paging, and there is no pin module";
    }
    switch (uct_daxpin_odp_ask(&uct_daxpin_verbs, pd, ports)) {
    case UCT_DAXPIN_ODP_WORKS:
        return NULL;
    case UCT_DAXPIN_ODP_CORRUPTS:
        return "the device's on-demand paging corrupts data: a probe has read"
               " other bytes than were written (soft-RoCE of Linux does so up"
               " to 7.3), and there is no pin module";
    case UCT_DAXPIN_ODP_ABSENT:
        return "the device reports on-demand paging, but a probe of it has"
               " failed, and there is no pin module";
    default:
        *is_known_p = 0;
        return "no memory or descriptor is left to find out whether it can";
    }
}

static ucs_status_t uct_daxpin_mr_check(uct_md_h md, const char *md_name)
{
    ucs_status_t status = uct_daxpin_mr_check_md(md, md_name);

    return (status == UCS_OK) ? uct_daxpin_mr_check_memh(md) : status;
}

void uct_daxpin_mr_query(uct_md_h md, const char *md_name,
                         uct_daxpin_mr_caps_t *caps)
{
    const uct_ib_md_t *ib = ucs_derived_of(md, uct_ib_md_t);
    ucs_status_t status   = UCS_OK;
    int is_known          = 1;

    caps->has_odp       = 0;
    caps->why_no_dmabuf = NULL;
    pthread_once(&uct_daxpin_verbs_once, uct_daxpin_verbs_init);
    if (!uct_daxpin_verbs_are_there) {
        caps->why_not = "libibverbs is not in the process, or too old";
        goto out;
    }

    status = uct_daxpin_mr_check(md, md_name);
    if (status == UCS_ERR_NO_RESOURCE) {
        caps->why_not = "no memory or descriptor is left to find out whether"
                        " it can";
    } else if (status != UCS_OK) {
        caps->why_not = "UCX's memory domain has another layout than this"
                        " daxpin was built for";
    } else {
        caps->why_not = uct_daxpin_mr_query_odp(ib->pd, &is_known);
        caps->has_odp = (caps->why_not == NULL);
        if (daxpin_kmod_is_available()) {
            caps->why_not = NULL;
        }
    }
out:
    caps->is_known = is_known && (status != UCS_ERR_NO_RESOURCE);
}

/* Check whether the same registration may succeed later */
static int uct_daxpin_mr_is_passing(int error)
{
    return (error == ENOMEM) || (error == EAGAIN) || (error == EINTR);
}

/* Have the NIC bring in a page of the range, as the first access does. Return 0
 * or an errno. A driver that cannot be asked for that is no reason against it:
 * what the device does by itself, the probe has shown. */
static int uct_daxpin_mr_prefetch(struct ibv_pd *pd, uct_daxpin_mr_t *mr)
{
    struct ibv_sge sge = {
        .addr   = (uintptr_t)mr->address,
        .length = 1,
        .lkey   = mr->super.lkey
    };
    int ret;

    ret = ibv_advise_mr(pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
                        IBV_ADVISE_MR_FLAG_FLUSH, &sge, 1);
    return ((ret == EOPNOTSUPP) || (ret == ENOSYS)) ? 0 : ret;
}

static void uct_daxpin_mr_set_keys(uct_daxpin_mr_t *mr, struct ibv_mr *verbs_mr)
{
    /* No key for atomics: rkey serves for them */
    uct_daxpin_ib_mem_init(&mr->super, verbs_mr->lkey, verbs_mr->rkey,
                           UCT_DAXPIN_MR_FLAG);
    atomic_store(&mr->mr, verbs_mr);
}

/* Release the registration, if that has not been done. Return 0 or an errno. */
static int uct_daxpin_mr_release(uct_daxpin_mr_t *mr)
{
    struct ibv_mr *verbs_mr = atomic_exchange(&mr->mr, NULL);
    int ret                 = 0;

    if (verbs_mr != NULL) {
        ret = uct_daxpin_verbs.dereg_mr(verbs_mr);
    }
    if (ret != 0) {
        atomic_store(&mr->mr, verbs_mr);
    }
    return ret;
}

/* The file's memory will be the program's own, and not the file's. On demand, the
 * NIC would write there and report success. Without the registration it reports
 * an error to the process that writes, whose endpoint fails then; UCX ends the
 * process if nobody handles that, which is so in Open MPI. So the registration
 * stays where others learn of the revoke from the control page. The blocks are
 * not at risk: the NIC has none of them when the memory has been replaced. */
static void uct_daxpin_mr_on_revoke(daxpin_file_t *file, void *arg)
{
    int ret = 0;

    if (!daxpin_file_is_distant(file)) {
        ret = uct_daxpin_mr_release(arg);
    }

    if (ret != 0) {
        ucs_error("daxpin: %s is revoked, but the registration of its memory"
                  " cannot be released: %s; other processes may write there"
                  " and get no error", daxpin_file_path(file), strerror(ret));
    }
}

static ucs_status_t uct_daxpin_mr_reg_odp(struct ibv_pd *pd,
                                          uct_daxpin_mr_caps_t *caps,
                                          uct_daxpin_mr_t *mr,
                                          const char **how_p)
{
    struct ibv_mr *verbs_mr;
    int ret;

    verbs_mr = uct_daxpin_verbs.reg_mr(pd, mr->address, mr->length,
                                       (uintptr_t)mr->address,
                                       UCT_DAXPIN_MR_ACCESS |
                                       IBV_ACCESS_ON_DEMAND);
    if (verbs_mr == NULL) {
        ret    = errno;
        *how_p = "its on-demand paging cannot register the file";
        goto err;
    }

    uct_daxpin_mr_set_keys(mr, verbs_mr);
    ret = uct_daxpin_mr_prefetch(pd, mr);
    if (ret != 0) {
        *how_p = "its on-demand paging cannot bring in a page of the file";
        goto err_dereg;
    }

    ret = daxpin_file_before_revoke(mr->file, uct_daxpin_mr_on_revoke, mr);
    if (ret != 0) {
        (void)uct_daxpin_mr_release(mr);
        *how_p = "the file was revoked, or no memory is left";
        return UCS_ERR_NO_RESOURCE;
    }

    mr->is_odp = 1;
    *how_p     = "registered on demand";
    return UCS_OK;

err_dereg:
    (void)uct_daxpin_mr_release(mr);
err:
    if (uct_daxpin_mr_is_passing(ret)) {
        *how_p = "no memory is left to register it on demand";
        return UCS_ERR_NO_RESOURCE;
    }
    caps->has_odp = 0;
    caps->why_not = daxpin_kmod_is_available() ? NULL : *how_p;
    return UCS_ERR_UNSUPPORTED;
}

/* Register the pin module's mapping of the range, under the address of the
 * program's own mapping. The pin module keeps the blocks for as long as the NIC
 * has them, even after a revoke. A revoke before that replaces the mapping: then
 * the NIC has memory that is not the file's, and would report success. */
static ucs_status_t uct_daxpin_mr_reg_alias(struct ibv_pd *pd, void *alias,
                                            uct_daxpin_mr_t *mr,
                                            const char **how_p)
{
    struct ibv_mr *verbs_mr;

    verbs_mr = uct_daxpin_verbs.reg_mr(pd, alias, mr->length,
                                       (uintptr_t)mr->address,
                                       UCT_DAXPIN_MR_ACCESS);
    if (verbs_mr == NULL) {
        *how_p = (errno == ENOMEM) ?
                 "no memory is left, or no more may be locked (ulimit -l)" :
                 "it cannot register what the pin module has pinned";
        return UCS_ERR_IO_ERROR;
    }

    uct_daxpin_mr_set_keys(mr, verbs_mr);
    if (daxpin_pin_alias(mr->pin) == NULL) {
        (void)uct_daxpin_mr_release(mr);
        *how_p = "the file was revoked";
        return UCS_ERR_NO_RESOURCE;
    }
    *how_p = "registered as the pin module has them pinned";
    return UCS_OK;
}

/* Note that the device takes no dma-buf, so that no other way is lost by it */
static ucs_status_t uct_daxpin_mr_no_dmabuf(uct_daxpin_mr_caps_t *caps,
                                            const char *why,
                                            const char **how_p)
{
    caps->why_no_dmabuf = why;
    *how_p              = why;
    return UCS_ERR_UNSUPPORTED;
}

/* Register the pin module's dma-buf of the range. At a revoke, the kernel takes
 * the range from the device: who writes there then, gets an error. */
static ucs_status_t uct_daxpin_mr_reg_dmabuf(struct ibv_pd *pd,
                                             uct_daxpin_mr_caps_t *caps, int fd,
                                             uint64_t offset,
                                             uct_daxpin_mr_t *mr,
                                             const char **how_p)
{
    struct ibv_mr *verbs_mr;

    if (uct_daxpin_verbs.reg_dmabuf_mr == NULL) {
        return uct_daxpin_mr_no_dmabuf(caps, "libibverbs is older than"
                                       " dma-bufs, and the device has no"
                                       " on-demand paging for the file", how_p);
    }

    verbs_mr = uct_daxpin_verbs.reg_dmabuf_mr(pd, offset, mr->length,
                                              (uintptr_t)mr->address, fd,
                                              UCT_DAXPIN_MR_ACCESS);
    if (verbs_mr != NULL) {
        uct_daxpin_mr_set_keys(mr, verbs_mr);
        *how_p = "registered as a dma-buf of the pin module";
        return UCS_OK;
    } else if (uct_daxpin_mr_is_passing(errno)) {
        *how_p = "no memory is left to register the dma-buf";
        return UCS_ERR_NO_RESOURCE;
    } else if (errno == ENODEV) {
        *how_p = "the dma-buf was revoked";
        return UCS_ERR_NO_RESOURCE;
    }
    return uct_daxpin_mr_no_dmabuf(caps, "the device's driver takes no dma-buf"
                                   " that can be revoked, and the device has"
                                   " no on-demand paging for the file", how_p);
}

static ucs_status_t uct_daxpin_mr_try_dmabuf(struct ibv_pd *pd,
                                             uct_daxpin_mr_caps_t *caps,
                                             uct_daxpin_mr_t *mr,
                                             const char **how_p)
{
    ucs_status_t status = UCS_ERR_UNSUPPORTED;
    uint64_t offset;
    int fd;

    *how_p = caps->why_no_dmabuf;
    if (caps->why_no_dmabuf == NULL) {
        *how_p = "the pin module has not pinned it, and the device has no"
                 " on-demand paging for it";
        fd     = daxpin_pin_dmabuf(mr->pin, &offset);
        if (fd >= 0) {
            status = uct_daxpin_mr_reg_dmabuf(pd, caps, fd, offset, mr, how_p);
            close(fd); /* The registration has the dma-buf */
        } else if (fd != -ENOENT) {
            *how_p = UCT_DAXPIN_MR_NO_FD;
            status = UCS_ERR_NO_RESOURCE;
        }
    }
    return status;
}

static ucs_status_t uct_daxpin_mr_reg_any(struct ibv_pd *pd,
                                          uct_daxpin_mr_caps_t *caps,
                                          uct_daxpin_mr_t *mr,
                                          const char **how_p)
{
    void *alias = daxpin_pin_alias(mr->pin);
    ucs_status_t status;

    if (alias != NULL) {
        return uct_daxpin_mr_reg_alias(pd, alias, mr, how_p);
    }
    status = uct_daxpin_mr_try_dmabuf(pd, caps, mr, how_p);
    return ((status == UCS_ERR_UNSUPPORTED) && caps->has_odp) ?
           uct_daxpin_mr_reg_odp(pd, caps, mr, how_p) : status;
}

/* Return why a range cannot be leased and pinned. ret: of daxpin_file_adopt() or
 * daxpin_pin(). */
static const char *uct_daxpin_mr_why_not(int ret)
{
    switch (ret) {
    case DAXPIN_FOREIGN:
        return "it is not a file that daxpin leases, or not any more"
               " (UCX_DAXPIN_FILES)";
    case -ENOMEM:
        return "no memory is left to lease and pin it, or no more may be locked"
               " (ulimit -l)";
    case -EMFILE:
    case -ENFILE:
        return UCT_DAXPIN_MR_NO_FD;
    case -EAGAIN:
    case -EBUSY:
    case -EPERM:
    case -ESTALE:
    case -ETIMEDOUT:
        return "the file is not under lease";
    default:
        return "the file cannot be leased, or not be pinned"
               " (UCX_LOG_LEVEL=debug says why)";
    }
}

static ucs_status_t uct_daxpin_mr_pin_error(int ret, const char **how_p)
{
    if (ret < 0) {
        ucs_debug("%s", daxpin_errormsg());
    }
    *how_p = uct_daxpin_mr_why_not(ret);
    return UCS_ERR_BUSY;
}

/* Lease and pin the range. daxpin's own memory domain registers first and has
 * the lease already, so there is nothing to wait for. */
static ucs_status_t uct_daxpin_mr_pin(uct_daxpin_mr_t *mr, int cmd_fd,
                                      const char **how_p)
{
    const daxpin_owner_t owner = {
        .size = sizeof(owner),
        .type = DAXPIN_OWNER_FILE,
        .fd   = cmd_fd
    };
    daxpin_params_t params;
    ucs_status_t status;
    int ret;

    if (!uct_daxpin_process_params(&params)) {
        *how_p = "no memory domain of daxpin is open";
        return UCS_ERR_UNSUPPORTED;
    }

    params.timeout_ms = 1;
    ret = daxpin_file_adopt(mr->address, mr->length, &params, &mr->file,
                            &mr->offset);
    if (ret != 0) {
        return uct_daxpin_mr_pin_error(ret, how_p);
    }

    ret = daxpin_pin(mr->file, mr->offset, mr->length, &owner, &mr->pin);
    if (ret != 0) {
        status = uct_daxpin_mr_pin_error(ret, how_p);
        daxpin_file_unadopt(mr->file, mr->address, mr->length);
        daxpin_file_close(mr->file);
        return status;
    }
    return UCS_OK;
}

static void uct_daxpin_mr_unpin(uct_daxpin_mr_t *mr)
{
    daxpin_unpin(mr->pin);
    daxpin_file_unadopt(mr->file, mr->address, mr->length);
    daxpin_file_close(mr->file);
}

ucs_status_t uct_daxpin_mr_reg(uct_md_h md, uct_daxpin_mr_caps_t *caps,
                               void *address, size_t length,
                               uct_daxpin_mr_t **mr_p, const char **how_p)
{
    struct ibv_pd *pd = ucs_derived_of(md, uct_ib_md_t)->pd;
    uct_daxpin_mr_t *mr;
    ucs_status_t status;

    *how_p = caps->why_not;
    if (caps->why_not != NULL) {
        return UCS_ERR_UNSUPPORTED;
    }

    mr = ucs_calloc(1, sizeof(*mr), "daxpin_mr");
    if (mr == NULL) {
        *how_p = "no memory is left";
        return UCS_ERR_NO_MEMORY;
    }

    mr->md      = md;
    mr->address = address;
    mr->length  = length;
    status      = uct_daxpin_mr_pin(mr, pd->context->cmd_fd, how_p);
    if (status != UCS_OK) {
        goto err_free;
    }

    status = uct_daxpin_mr_reg_any(pd, caps, mr, how_p);
    if (status != UCS_OK) {
        goto err_unpin;
    }

    atomic_fetch_add(&uct_daxpin_mr_count, 1);
    *mr_p = mr;
    return UCS_OK;

err_unpin:
    uct_daxpin_mr_unpin(mr);
err_free:
    ucs_free(mr);
    return status;
}

ucs_status_t uct_daxpin_mr_dereg(uct_daxpin_mr_t *mr)
{
    int ret;

    if (mr->is_odp) {
        daxpin_file_cancel_on_revoke(mr->file, uct_daxpin_mr_on_revoke, mr);
    }
    ret = uct_daxpin_mr_release(mr);
    if (ret != 0) {
        /* The NIC still has the blocks: keep the pin and the lease */
        ucs_error("daxpin: cannot release the registration of %zu bytes of"
                  " %s: %s", mr->length, daxpin_file_path(mr->file),
                  strerror(ret));
        return UCS_ERR_IO_ERROR;
    }

    atomic_fetch_sub(&uct_daxpin_mr_count, 1);
    uct_daxpin_mr_unpin(mr);
    ucs_free(mr);
    return UCS_OK;
}

int uct_daxpin_mr_key(const uct_daxpin_mr_t *mr, uint32_t *rkey_p)
{
    *rkey_p = mr->super.rkey;
    return (atomic_load(&mr->mr) != NULL) && !uct_daxpin_is_over(mr->file);
}

uct_daxpin_mr_t *uct_daxpin_mr_from_memh(uct_mem_h memh)
{
    /* Until there is a memory region, the layout of ib's handles is not
     * checked, and their flags must not be read */
    if ((atomic_load_explicit(&uct_daxpin_mr_count,
                              memory_order_relaxed) == 0) ||
        !(((uct_ib_mem_t*)memh)->flags & UCT_DAXPIN_MR_FLAG)) {
        return NULL;
    }
    return memh;
}

#else /* without libibverbs nothing can be registered */

void uct_daxpin_mr_query(uct_md_h md, const char *md_name,
                         uct_daxpin_mr_caps_t *caps)
{
    caps->is_known      = 1;
    caps->has_odp       = 0;
    caps->why_not       = "daxpin was built without libibverbs";
    caps->why_no_dmabuf = NULL;
}

ucs_status_t uct_daxpin_mr_reg(uct_md_h md, uct_daxpin_mr_caps_t *caps,
                               void *address, size_t length,
                               uct_daxpin_mr_t **mr_p, const char **how_p)
{
    *how_p = caps->why_not;
    return UCS_ERR_UNSUPPORTED;
}

ucs_status_t uct_daxpin_mr_dereg(uct_daxpin_mr_t *mr)
{
    return UCS_ERR_UNSUPPORTED;
}

int uct_daxpin_mr_key(const uct_daxpin_mr_t *mr, uint32_t *rkey_p)
{
    return 0;
}

uct_daxpin_mr_t *uct_daxpin_mr_from_memh(uct_mem_h memh)
{
    return NULL;
}

#endif
