/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The RDMA devices of this machine and their NUMA nodes */

#include "rdma.h"

#include "daxpin/os/locality.h"
#include "daxpin/os/proc.h"
#include "wire/ioctl.h"

#include <dirent.h>
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_VERBS
#include <infiniband/verbs.h>
#endif

/* hwloc does not list software devices */
#define RDMA_CLASS "/sys/class/infiniband"

static int rdma_is_active(const char *name)
{
    char pattern[PATH_MAX], state[64];
    int active = 0;
    glob_t ports;
    size_t i;

    snprintf(pattern, sizeof(pattern), RDMA_CLASS "/%s/ports/*/state", name);
    if (glob(pattern, 0, NULL, &ports) != 0) {
        return 0;
    }
    for (i = 0; i < ports.gl_pathc; ++i) {
        active |= (daxpin_proc_read_line(ports.gl_pathv[i], state,
                                    sizeof(state)) == 0) &&
                  (strstr(state, "ACTIVE") != NULL);
    }
    globfree(&ports);
    return active;
}

/* Store the name of the driver of the device below this one */
static void rdma_find_driver(const char *name, char *driver, size_t size)
{
    char path[PATH_MAX], target[PATH_MAX];
    const char *base;
    ssize_t length;

    snprintf(path, sizeof(path), RDMA_CLASS "/%s/device/driver", name);
    length = readlink(path, target, sizeof(target) - 1);
    target[(length > 0) ? length : 0] = '\0';
    base                              = strrchr(target, '/');
    snprintf(driver, size, "%.63s", (base != NULL) ? base + 1 : target);
}

#ifdef HAVE_VERBS
static int rdma_reports_demand(struct ibv_device *device,
                               struct ibv_context *(*open_device)(
                                       struct ibv_device*),
                               int (*close_device)(struct ibv_context*))
{
    struct ibv_context *context = open_device(device);
    struct ibv_device_attr_ex attr;
    struct verbs_context *verbs;
    int reports = -1;

    if (context == NULL) {
        return -1;
    }
    memset(&attr, 0, sizeof(attr));
    verbs = verbs_get_ctx_op(context, query_device_ex);
    if ((verbs != NULL) &&
        (verbs->query_device_ex(context, NULL, &attr, sizeof(attr)) == 0)) {
        reports = (attr.odp_caps.general_caps & IBV_ODP_SUPPORT) != 0;
    }
    close_device(context);
    return reports;
}

/* Ask libibverbs, which need not be there. Return -1 if that is not known. */
static int rdma_find_demand(const char *name)
{
    void *handle = dlopen("libibverbs.so.1", RTLD_LAZY);
    struct ibv_device **(*get_list)(int*);
    void (*free_list)(struct ibv_device**);
    struct ibv_context *(*open_device)(struct ibv_device*);
    int (*close_device)(struct ibv_context*);
    struct ibv_device **list;
    int reports = -1, i;

    if (handle == NULL) {
        return -1;
    }
    *(void**)&get_list     = dlsym(handle, "ibv_get_device_list");
    *(void**)&free_list    = dlsym(handle, "ibv_free_device_list");
    *(void**)&open_device  = dlsym(handle, "ibv_open_device");
    *(void**)&close_device = dlsym(handle, "ibv_close_device");
    if ((get_list == NULL) || (free_list == NULL) || (open_device == NULL) ||
        (close_device == NULL)) {
        return -1;
    }
    list = get_list(NULL);
    for (i = 0; (list != NULL) && (list[i] != NULL); ++i) {
        if (strcmp(list[i]->name, name) == 0) {
            reports = rdma_reports_demand(list[i], open_device, close_device);
        }
    }
    if (list != NULL) {
        free_list(list);
    }
    return reports; /* libibverbs stays: its drivers may not be unloaded */
}
#else
static int rdma_find_demand(const char *name)
{
    return -1;
}
#endif

static void rdma_query(const char *name, int numa_node, daxpin_rdma_t *rdma)
{
    char path[PATH_MAX];

    memset(rdma, 0, sizeof(*rdma));
    snprintf(rdma->name, sizeof(rdma->name), "%.63s", name);
    snprintf(path, sizeof(path), RDMA_CLASS "/%s/parent", rdma->name);
    if (daxpin_proc_read_line(path, rdma->interface, sizeof(rdma->interface)) !=
        0) {
        rdma->interface[0] = '\0';
    }
    if (rdma->interface[0] != '\0') {
        snprintf(path, sizeof(path), "/sys/class/net/%s", rdma->interface);
    } else {
        snprintf(path, sizeof(path), RDMA_CLASS "/%s", rdma->name);
    }
    rdma->numa_node = daxpin_locality_of_sysfs(path);
    rdma->distance  = daxpin_locality_distance(numa_node, rdma->numa_node);
    rdma->active    = rdma_is_active(rdma->name);
    rdma->demand    = rdma_find_demand(rdma->name);
    rdma_find_driver(rdma->name, rdma->driver, sizeof(rdma->driver));
}

static int rdma_compare(const void *one, const void *two)
{
    const daxpin_rdma_t *a = one, *b = two;

    if (a->distance != b->distance) {
        return ((unsigned)a->distance < (unsigned)b->distance) ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

daxpin_rdma_t *daxpin_rdma_list(int numa_node, size_t *count_p)
{
    daxpin_rdma_t *list = NULL, *longer;
    struct dirent *entry;
    DIR *dir;

    *count_p = 0;
    dir      = opendir(RDMA_CLASS);
    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        longer = realloc(list, (*count_p + 1) * sizeof(*list));
        if (longer == NULL) {
            break;
        }
        list = longer;
        rdma_query(entry->d_name, numa_node, &list[(*count_p)++]);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (*count_p > 0) {
        qsort(list, *count_p, sizeof(*list), rdma_compare);
    }
    return list;
}

const char *daxpin_rdma_way_name(daxpin_rdma_way_t way)
{
    static const char *const names[] = {
        [DAXPIN_RDMA_EMULATION] = "emulation",
        [DAXPIN_RDMA_DEMAND]    = "on-demand paging",
        [DAXPIN_RDMA_MAPPING]   = "mapping",
        [DAXPIN_RDMA_DMABUF]    = "dma-buf"
    };

    return names[way];
}

/* Return whether the kernel's driver imports dma-bufs that can be revoked. The
 * driver is that of the PCI device. */
static int rdma_imports(const char *driver)
{
    static const char *const drivers[] = {"mlx5_core", "ice",     "i40e",
                                          "irdma",     "idpf",    "efa",
                                          "bnxt_en",   "bnxt_re", "mana",
                                          "ionic"};
    size_t i;

    for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); ++i) {
        if (strcmp(driver, drivers[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

daxpin_rdma_way_t daxpin_rdma_way(const daxpin_rdma_t *rdma, unsigned offers,
                                  char *reason, size_t size)
{
    const char *driver = (rdma->driver[0] != '\0') ? rdma->driver :
                                                     "of a software device";
    char why_no_module[160];

    if (offers & DAXPIN_IOC_MAPPING) {
        snprintf(reason, size, "it registers what the pin module maps");
        return DAXPIN_RDMA_MAPPING;
    } else if ((offers & DAXPIN_IOC_DMABUF) && rdma_imports(rdma->driver)) {
        snprintf(reason, size, "the pin module exports, and its driver %s "
                 "imports; contrib/check-dmabuf tries it", driver);
        return DAXPIN_RDMA_DMABUF;
    }

    if (offers & DAXPIN_IOC_DMABUF) {
        snprintf(why_no_module, sizeof(why_no_module),
                 "its driver %s is not known to import a dma-buf of the pin "
                 "module", driver);
    } else {
        snprintf(why_no_module, sizeof(why_no_module),
                 "there is no pin module for this process");
    }
    if (rdma->demand == 1) {
        snprintf(reason, size, "it reports that it has it, and UCX uses it if "
                 "a probe finds that it works; %s", why_no_module);
        return DAXPIN_RDMA_DEMAND;
    }
    snprintf(reason, size, "%s, and it %s on-demand paging", why_no_module,
             (rdma->demand == 0) ? "has no" : "is not known to have");
    return DAXPIN_RDMA_EMULATION;
}
