/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Dynamic windows. Each rank has a table of what it has attached in memory that
 * the ranks of its node share, and its targets have the files in it mapped
 * since they first looked for something there. Attached memory that is in no
 * file is copied from and to the other process. For other nodes, see
 * osc_daxpin_am.c.
 */

#include "osc_daxpin.h"

#include "opal/datatype/opal_convertor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static osc_daxpin_table_t *osc_daxpin_own_table(osc_daxpin_module_t *module)
{
    return &module->node.tables[ompi_comm_rank(module->node.comm)];
}

/*
 * Attach and detach
 */

static void osc_daxpin_table_begin(osc_daxpin_table_t *table)
{
    atomic_fetch_add(&table->version, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

static void osc_daxpin_table_end(osc_daxpin_table_t *table)
{
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&table->version, 1);
}

static int osc_daxpin_overlaps(const osc_daxpin_table_t *table, uint64_t start,
                               uint64_t size)
{
    const osc_daxpin_region_t *region;
    uint64_t i;

    for (i = 0; i < table->count; ++i) {
        region = &table->regions[i];
        if ((start < region->start + region->size) &&
            (region->start < start + size)) {
            return 1;
        }
    }
    return 0;
}

uint64_t osc_daxpin_attached_count(const osc_daxpin_module_t *module)
{
    return module->node.tables[ompi_comm_rank(module->node.comm)].count;
}

osc_daxpin_segment_t *osc_daxpin_attached_find(osc_daxpin_module_t *module,
                                            uint64_t start)
{
    uint64_t i, count = osc_daxpin_attached_count(module);
    osc_daxpin_segment_t *segment;

    for (i = 0; i < count; ++i) {
        segment = &module->attached[i];
        if ((start >= (uintptr_t)segment->base) &&
            (start - (uintptr_t)segment->base < segment->size)) {
            return segment;
        }
    }
    return NULL;
}

int osc_daxpin_regions_open(osc_daxpin_module_t *module)
{
    module->attached = calloc(OSC_DAXPIN_REGIONS_MAX,
                              sizeof(*module->attached));
    return (module->attached == NULL) ? OMPI_ERR_OUT_OF_RESOURCE :
                                        OMPI_SUCCESS;
}

static int osc_daxpin_attach(osc_daxpin_module_t *module, void *base,
                             size_t size)
{
    osc_daxpin_region_t region = {.start = (uintptr_t)base, .size = size};
    osc_daxpin_table_t *table  = osc_daxpin_own_table(module);
    osc_daxpin_segment_t segment;
    const char *path;
    size_t length;

    if ((table->count == OSC_DAXPIN_REGIONS_MAX) ||
        osc_daxpin_overlaps(table, region.start, size)) {
        return osc_daxpin_error(MPI_ERR_RMA_ATTACH, "%zu bytes at %p %s", size,
                                base,
                                (table->count == OSC_DAXPIN_REGIONS_MAX) ?
                                "cannot be attached: there are as many regions "
                                "as there can be; detach some" :
                                "overlap with memory that is attached already");
    }
    if (osc_daxpin_segment_adopt(base, size, &segment) != OMPI_SUCCESS) {
        return MPI_ERR_RMA_ATTACH;
    }
    if ((segment.file != NULL) && module->has_am) {
        segment.touched = calloc(module->size, sizeof(*segment.touched));
        if (segment.touched == NULL) {
            osc_daxpin_segment_release(&segment);
            return OMPI_ERR_OUT_OF_RESOURCE;
        }
    }
    if (segment.file != NULL) {
        daxpin_file_key(segment.file, &region.key);
        region.offset = segment.offset;
        path          = daxpin_file_path(segment.file);
        length        = strlen(path);
        snprintf(region.path, sizeof(region.path), "%s",
                 path + ((length < sizeof(region.path)) ?
                                 0 : length - sizeof(region.path) + 1));
    }
    osc_daxpin_table_begin(table);
    module->attached[table->count] = segment;
    table->regions[table->count++] = region;
    osc_daxpin_table_end(table);
    return OMPI_SUCCESS;
}

int osc_daxpin_win_attach(ompi_win_t *win, void *base, size_t size)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (module->flavor != MPI_WIN_FLAVOR_DYNAMIC) {
        return MPI_ERR_RMA_FLAVOR;
    }
    if (size == 0) {
        return OMPI_SUCCESS;
    }
    OPAL_THREAD_LOCK(&module->attach_mutex);
    ret = osc_daxpin_attach(module, base, size);
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}

static int osc_daxpin_detach(osc_daxpin_module_t *module, const void *base)
{
    osc_daxpin_table_t *table = osc_daxpin_own_table(module);
    uint64_t i, last;

    for (i = 0; (i < table->count) && (module->attached[i].base != base);
         ++i) {
    }
    if (i == table->count) {
        return MPI_ERR_BASE;
    }
    osc_daxpin_segment_release(&module->attached[i]);
    osc_daxpin_table_begin(table);
    last                = --table->count;
    module->attached[i] = module->attached[last];
    table->regions[i]   = table->regions[last];
    osc_daxpin_table_end(table);
    return OMPI_SUCCESS;
}

int osc_daxpin_win_detach(ompi_win_t *win, const void *base)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (module->flavor != MPI_WIN_FLAVOR_DYNAMIC) {
        return MPI_ERR_RMA_FLAVOR;
    }
    OPAL_THREAD_LOCK(&module->attach_mutex);
    ret = osc_daxpin_detach(module, base);
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}

/*
 * Targets
 */

static int osc_daxpin_same_region(const osc_daxpin_mem_t *mem,
                                  const osc_daxpin_region_t *region)
{
    return (mem->start == region->start) && (mem->size == region->size) &&
           (mem->offset == region->offset) &&
           (memcmp(&mem->key, &region->key, sizeof(mem->key)) == 0);
}

static void osc_daxpin_region_open(osc_daxpin_module_t *module, int target,
                                   const osc_daxpin_region_t *region,
                                   osc_daxpin_mem_t *mem)
{
    daxpin_file_t *file;

    memset(mem, 0, sizeof(*mem));
    mem->start       = region->start;
    mem->size        = region->size;
    mem->offset      = region->offset;
    mem->key         = region->key;
    mem->dirty_start = UINT64_MAX;
    if (region->key.generation == 0) {
        mem->base = (target == module->rank) ?
                            (char*)(uintptr_t)region->start : NULL;
        return;
    }
    if (daxpin_file_attach(&region->key, &file) != 0) {
        mem->dead = 1;
        return;
    }
    daxpin_access_init(file, module->slot, &mem->access);
    mem->base = daxpin_file_addr(file, region->offset, region->size);
    mem->dead = mem->base == NULL;
}

/* As it was at one moment */
static uint64_t osc_daxpin_table_read(osc_daxpin_table_t *table,
                                      osc_daxpin_table_t *copy)
{
    uint64_t version;

    do {
        do {
            version = atomic_load(&table->version);
        } while (version % 2 != 0);
        copy->count = table->count;
        copy->count = (copy->count < OSC_DAXPIN_REGIONS_MAX) ?
                              copy->count : OSC_DAXPIN_REGIONS_MAX;
        memcpy(copy->regions, table->regions,
               copy->count * sizeof(copy->regions[0]));
        atomic_thread_fence(memory_order_seq_cst);
    } while (atomic_load(&table->version) != version);
    return version;
}

static int osc_daxpin_region_compare(const void *left, const void *right)
{
    const osc_daxpin_region_t *l = left, *r = right;

    return (l->start > r->start) - (l->start < r->start);
}

/* An access may go across the border of two regions that are next to each
 * other: they are one where their memory is, in order of addresses */
static void osc_daxpin_table_merge(osc_daxpin_table_t *table)
{
    osc_daxpin_region_t *last = table->regions;
    const osc_daxpin_region_t *region;
    uint64_t i;

    qsort(table->regions, table->count, sizeof(table->regions[0]),
          osc_daxpin_region_compare);
    for (i = 1; i < table->count; ++i) {
        region = &table->regions[i];
        if ((last->start + last->size == region->start) &&
            (memcmp(&last->key, &region->key, sizeof(last->key)) == 0) &&
            ((last->key.generation == 0) ||
             (last->offset + last->size == region->offset))) {
            last->size += region->size;
        } else {
            *++last = *region;
        }
    }
    if (table->count > 0) {
        table->count = (uint64_t)(last - table->regions) + 1;
    }
}

/* What is to be said of it at the end of the epoch goes over to the one that
 * has its place now */
static void osc_daxpin_mem_inherit(const osc_daxpin_mem_t *old,
                                   osc_daxpin_mem_t *mems, uint64_t count)
{
    uint64_t i, shift;

    for (i = 0; i < count; ++i) {
        if ((old->start >= mems[i].start) &&
            (old->start - mems[i].start < mems[i].size)) {
            shift            = old->start - mems[i].start;
            mems[i].touched |= old->touched;
            if (old->dirty_start >= old->dirty_end) {
                return;
            }
            if (old->dirty_start + shift < mems[i].dirty_start) {
                mems[i].dirty_start = old->dirty_start + shift;
            }
            if (old->dirty_end + shift > mems[i].dirty_end) {
                mems[i].dirty_end = old->dirty_end + shift;
            }
            return;
        }
    }
}

/* Most are where they were */
static unsigned osc_daxpin_mem_find(const osc_daxpin_peer_t *peer,
                                    const osc_daxpin_region_t *region,
                                    unsigned guess)
{
    unsigned i;

    if ((guess < peer->num_mems) &&
        osc_daxpin_same_region(&peer->mems[guess], region)) {
        return guess;
    }
    for (i = 0; i < peer->num_mems; ++i) {
        if (osc_daxpin_same_region(&peer->mems[i], region)) {
            break;
        }
    }
    return i;
}

static void osc_daxpin_peer_adapt(osc_daxpin_module_t *module, int target,
                                  const osc_daxpin_table_t *table,
                                  osc_daxpin_mem_t *mems)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    unsigned i, j;

    for (i = 0; i < table->count; ++i) {
        j = osc_daxpin_mem_find(peer, &table->regions[i], i);
        if (j < peer->num_mems) {
            mems[i]                   = peer->mems[j];
            peer->mems[j].access.file = NULL; /* it has moved */
            peer->mems[j].touched     = 0;
            peer->mems[j].dirty_start = UINT64_MAX;
        } else {
            osc_daxpin_region_open(module, target, &table->regions[i],
                                   &mems[i]);
        }
    }
    for (j = 0; j < peer->num_mems; ++j) {
        osc_daxpin_mem_inherit(&peer->mems[j], mems, table->count);
        daxpin_file_close(peer->mems[j].access.file);
    }
}

void osc_daxpin_region_path(osc_daxpin_module_t *module, int target,
                            const osc_daxpin_mem_t *mem, char *path,
                            size_t size)
{
    int node_rank                   = module->peers[target].node_rank;
    const osc_daxpin_table_t *table = &module->node.tables[node_rank];
    uint64_t i;

    path[0] = '\0';
    for (i = 0; (i < table->count) && (i < OSC_DAXPIN_REGIONS_MAX); ++i) {
        if ((mem->start == table->regions[i].start) &&
            (mem->key.ino == table->regions[i].key.ino)) {
            snprintf(path, size, "%.*s", OSC_DAXPIN_NAME_MAX - 1,
                     table->regions[i].path);
            break;
        }
    }
}

void osc_daxpin_region_refresh(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer   = &module->peers[target];
    osc_daxpin_table_t *table = &module->node.tables[peer->node_rank];
    osc_daxpin_table_t *copy;
    osc_daxpin_mem_t *mems;
    uint64_t version;

    if (atomic_load(&table->version) == peer->version) {
        return;
    }
    copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return;
    }
    version = osc_daxpin_table_read(table, copy);
    osc_daxpin_table_merge(copy);
    mems    = calloc(copy->count + 1, sizeof(*mems));
    if (mems == NULL) {
        free(copy);
        return;
    }
    peer->version = version;
    osc_daxpin_peer_adapt(module, target, copy, mems);
    if (peer->mems != &peer->mem) {
        free(peer->mems);
    }
    peer->mems     = mems;
    peer->num_mems = (unsigned)copy->count;
    free(copy);
}

osc_daxpin_mem_t *osc_daxpin_region_find(osc_daxpin_module_t *module,
                                         int target, uint64_t start,
                                         uint64_t length)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem;
    unsigned i;

    osc_daxpin_region_refresh(module, target);
    for (i = 0; i < peer->num_mems; ++i) {
        mem = &peer->mems[i];
        if ((start >= mem->start) && (length <= mem->size) &&
            (start - mem->start <= mem->size - length)) {
            return mem;
        }
    }
    return NULL;
}

void osc_daxpin_regions_close(osc_daxpin_module_t *module)
{
    osc_daxpin_peer_t *peer;
    uint64_t count;
    unsigned j;
    int i;

    if (module->attached == NULL) {
        return;
    }
    for (i = 0; i < module->size; ++i) {
        peer = &module->peers[i];
        for (j = 0; j < peer->num_mems; ++j) {
            daxpin_file_close(peer->mems[j].access.file);
        }
        if (peer->mems != &peer->mem) {
            free(peer->mems);
        }
        peer->mems     = &peer->mem;
        peer->num_mems = 0;
    }
    for (count = osc_daxpin_own_table(module)->count; count > 0; --count) {
        osc_daxpin_segment_release(&module->attached[count - 1]);
    }
    free(module->attached);
    module->attached = NULL;
}

/*
 * Memory of another process
 */

static int osc_daxpin_vm_copy(int pid, const struct iovec *local,
                              const struct iovec *remote, unsigned count,
                              int is_put)
{
    size_t size = local->iov_len;
    ssize_t done;

    done = is_put ? process_vm_writev(pid, local, 1, remote, count, 0) :
                    process_vm_readv(pid, local, 1, remote, count, 0);
    if (done == (ssize_t)size) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_error(MPI_ERR_RMA_RANGE, "cannot access %zu bytes of "
                            "process %d, which it has attached to a window: "
                            "%s", size, pid,
                            (done < 0) ? strerror(errno) : "not all are there");
}

int osc_daxpin_region_copy(osc_daxpin_module_t *module, int target,
                           void *packed, char *addr, int count,
                           const ompi_datatype_t *dt, int is_put)
{
    const osc_daxpin_peer_t *peer = &module->peers[target];
    struct iovec local = {.iov_base = packed};
    struct iovec remote[OSC_DAXPIN_IOV_MAX];
    opal_convertor_t convertor;
    uint32_t num;
    int ret = OMPI_SUCCESS;
    int done;

    OBJ_CONSTRUCT(&convertor, opal_convertor_t);
    opal_convertor_copy_and_prepare_for_recv(ompi_mpi_local_convertor,
                                             &dt->super, count, addr, 0,
                                             &convertor);
    do {
        num           = OSC_DAXPIN_IOV_MAX;
        local.iov_len = 0;
        done = opal_convertor_raw(&convertor, remote, &num, &local.iov_len);
        if ((num > 0) && (peer->node_rank < 0)) {
            ret = osc_daxpin_am_copy(module, target, &local, remote, num,
                                       is_put);
        } else if (num > 0) {
            ret = osc_daxpin_vm_copy(peer->pid, &local, remote, num, is_put);
        }
        local.iov_base = (char*)local.iov_base + local.iov_len;
    } while (!done && (ret == OMPI_SUCCESS));
    opal_convertor_cleanup(&convertor);
    OBJ_DESTRUCT(&convertor);
    return ret;
}
