/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Targets of this node in a dynamic window. An origin maps the files of a
 * target's regions when it first accesses the target. Attached memory that is
 * in no file is copied from and to the other process, or where that is
 * forbidden, sent by messages. For targets on other nodes, see osc_daxpin_am.c.
 */

#include "osc_daxpin_region.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/proc.h"

#include "osc_daxpin_am.h"
#include "osc_daxpin_attached.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_mapped.h"
#include "osc_daxpin_pack.h"
#include "osc_daxpin_segment.h"
#include "osc_daxpin_wait.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OSC_DAXPIN_TABLE_BOUND_SEC 30.0

/* Between two looks whether a pid is still the target's */
#define OSC_DAXPIN_PROBE_NSEC DAXPIN_MSEC

/*
 * The regions of a target
 */

static int osc_daxpin_region_is_same(const osc_daxpin_mem_t *mem,
                                     const osc_daxpin_region_t *region)
{
    return (mem->start == region->start) && (mem->size == region->size) &&
           (mem->offset == region->offset) &&
           (mem->read_only == region->read_only) &&
           (memcmp(&mem->key, &region->key, sizeof(mem->key)) == 0);
}

/* Return whether an error of daxpin_file_attach() means that the file of a target
 * is revoked: the target, which has it attached, does not hold it any more */
static int osc_daxpin_attach_is_late(const osc_daxpin_peer_t *peer, int ret)
{
    return (ret == -ESTALE) ||
           ((ret == -ENOENT) &&
            ((peer->process == 0) ||
             !daxpin_proc_has_ended(peer->process, peer->process_start)));
}

/* Share the file of a region and map it. Return 0 if that is done, or if the file
 * is revoked: dead. After another error the next call goes on. */
static int osc_daxpin_mem_share(const osc_daxpin_module_t *module, int target,
                                osc_daxpin_mem_t *mem)
{
    daxpin_file_t *file = mem->access.file;
    int ret;

    if (file == NULL) {
        ret = daxpin_file_attach(&mem->key, &file);
        if (ret != 0) {
            mem->dead = osc_daxpin_attach_is_late(&module->peers[target], ret);
            return mem->dead ? 0 : ret;
        }
        daxpin_access_init(file, module->slot, &mem->access);
        daxpin_access_relax(&mem->access);
    }
    mem->base = daxpin_file_addr(file, mem->offset, mem->size);
    mem->dead = (mem->base == NULL) && !osc_daxpin_file_is_good(file);
    return ((mem->base != NULL) || mem->dead) ? 0 : -ENOMEM;
}

/* What cannot be shared now is shared when it is accessed. */
static void osc_daxpin_region_open(const osc_daxpin_module_t *module,
                                   int target,
                                   const osc_daxpin_region_t *region,
                                   osc_daxpin_mem_t *mem)
{
    memset(mem, 0, sizeof(*mem));
    mem->start       = region->start;
    mem->size        = region->size;
    mem->offset      = region->offset;
    mem->key         = region->key;
    mem->read_only   = region->read_only;
    mem->dirty_start = UINT64_MAX;
    if (region->key.generation != 0) {
        (void)osc_daxpin_mem_share(module, target, mem);
    } else if (target == module->rank) {
        mem->base = (char*)(uintptr_t)region->start;
    }
}

/* Share the file of a region that is accessed, if there is one and that failed
 * before */
static int osc_daxpin_mem_ready(const osc_daxpin_module_t *module, int target,
                                osc_daxpin_mem_t *mem)
{
    if ((mem->base != NULL) || (mem->key.generation == 0) || mem->dead ||
        (osc_daxpin_mem_share(module, target, mem) == 0)) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: cannot share the file of "
                            "memory that rank %d has attached, so that nothing "
                            "is moved: %s", module->rank, target,
                            daxpin_errormsg());
}

/* Copy the table; return whether nothing has changed it meanwhile */
static int osc_daxpin_table_copy(osc_daxpin_table_t *table,
                                 osc_daxpin_table_t *copy)
{
    uint64_t version = atomic_load(&table->version);

    if (version % 2 != 0) {
        return 0;
    }
    copy->version = version;
    copy->count   = table->count;
    copy->count   = (copy->count < OSC_DAXPIN_REGIONS_MAX) ?
                            copy->count : OSC_DAXPIN_REGIONS_MAX;
    memcpy(copy->regions, table->regions,
           copy->count * sizeof(copy->regions[0]));
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load(&table->version) == version;
}

/* Read the table as it is at one moment. A change takes no time, unless the
 * target is stopped or has ended in the middle of it. */
static int osc_daxpin_table_read(const osc_daxpin_module_t *module, int target,
                                 osc_daxpin_table_t *table,
                                 osc_daxpin_table_t *copy)
{
    osc_daxpin_patience_t patience;

    osc_daxpin_patience_begin(&patience, OSC_DAXPIN_TABLE_BOUND_SEC);
    while (!osc_daxpin_table_copy(table, copy)) {
        if (osc_daxpin_patience_ends(&patience)) {
            return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: cannot find out "
                                    "what rank %d has attached: it has been "
                                    "changing that for %g s; has it ended, or "
                                    "is it stopped?", module->rank, target,
                                    OSC_DAXPIN_TABLE_BOUND_SEC);
        }
        sched_yield();
    }
    return OMPI_SUCCESS;
}

static int osc_daxpin_region_compare(const void *left, const void *right)
{
    const osc_daxpin_region_t *l = left, *r = right;

    return (l->start > r->start) - (l->start < r->start);
}

/* Sort the regions and join those that are next to each other in memory and in
 * the file, because an access may cross their border */
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
            (last->read_only == region->read_only) &&
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

/* Hand what the end of the epoch needs over to the region that is now at the
 * same address */
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

/* Most regions are where they were */
static unsigned osc_daxpin_mem_find(const osc_daxpin_peer_t *peer,
                                    const osc_daxpin_region_t *region,
                                    unsigned guess)
{
    unsigned i;

    if ((guess < peer->num_mems) &&
        osc_daxpin_region_is_same(&peer->mems[guess], region)) {
        return guess;
    }
    for (i = 0; i < peer->num_mems; ++i) {
        if (osc_daxpin_region_is_same(&peer->mems[i], region)) {
            break;
        }
    }
    return i;
}

/* Fill the new regions of a target: keep those that stay, open the others */
static void osc_daxpin_regions_fill(osc_daxpin_module_t *module, int target,
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

/* Update the regions to what a target has attached and detached since */
static int osc_daxpin_regions_refresh(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer   = &module->peers[target];
    osc_daxpin_table_t *table = &module->node.tables[peer->node_rank];
    osc_daxpin_table_t *copy;
    osc_daxpin_mem_t *mems;
    int ret;

    if (atomic_load(&table->version) == peer->version) {
        return OMPI_SUCCESS;
    }
    copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_table_read(module, target, table, copy);
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    osc_daxpin_table_merge(copy);
    mems = calloc(copy->count + 1, sizeof(*mems));
    if (mems == NULL) {
        ret = OMPI_ERR_OUT_OF_RESOURCE;
        goto out;
    }
    peer->version = copy->version;
    osc_daxpin_regions_fill(module, target, copy, mems);
    if (peer->mems != &peer->mem) {
        free(peer->mems);
    }
    peer->mems          = mems;
    peer->num_mems      = (unsigned)copy->count;
    peer->first_touched = 0;
    peer->end_touched   = peer->num_mems;
out:
    free(copy);
    return ret;
}

/* Return how many of the regions, which are sorted, begin at an address or
 * before it */
static unsigned osc_daxpin_mems_up_to(const osc_daxpin_peer_t *peer,
                                      uint64_t start)
{
    unsigned low = 0, high = peer->num_mems, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (peer->mems[middle].start <= start) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int osc_daxpin_region_find(osc_daxpin_module_t *module, int target,
                           uint64_t start, uint64_t length,
                           osc_daxpin_mem_t **mem_p)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                 = osc_daxpin_regions_refresh(module, target);
    osc_daxpin_mem_t *mem;
    unsigned i;

    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = osc_daxpin_mems_up_to(peer, start); i > 0; --i) {
        mem = &peer->mems[i - 1];
        if ((length <= mem->size) &&
            (start - mem->start <= mem->size - length)) {
            *mem_p = mem;
            return osc_daxpin_mem_ready(module, target, mem);
        }
        if (mem->size > 0) {
            break; /* Only empty regions are within others */
        }
    }
    return MPI_ERR_RMA_RANGE;
}

void osc_daxpin_regions_close(osc_daxpin_module_t *module)
{
    osc_daxpin_peer_t *peer;
    unsigned j;
    int i;

    if (module->flavor != MPI_WIN_FLAVOR_DYNAMIC) {
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
        peer->mems        = &peer->mem;
        peer->num_mems    = 0;
        peer->end_touched = 0;
    }
}

/*
 * Reaching it
 */

static ssize_t osc_daxpin_vm_copy(int pid, const struct iovec *local,
                                  const struct iovec *remote, unsigned count,
                                  int is_put)
{
    return is_put ? process_vm_writev(pid, local, 1, remote, count, 0) :
                    process_vm_readv(pid, local, 1, remote, count, 0);
}

/* Return whether a word of another process is what it should be. Else the pid may be
 * that of another process by now. */
static int osc_daxpin_vm_is(int pid, uint64_t addr, uint64_t is)
{
    uint64_t found      = ~is;
    struct iovec local  = {&found, sizeof(found)};
    struct iovec remote = {(void*)(uintptr_t)addr, sizeof(found)};

    return (osc_daxpin_vm_copy(pid, &local, &remote, 1, 0) ==
            (ssize_t)sizeof(found)) &&
           (found == is);
}

int osc_daxpin_region_probe(int pid, uint64_t addr, uint64_t is)
{
    struct iovec local  = {&is, sizeof(is)};
    struct iovec remote = {(void*)(uintptr_t)addr, sizeof(is)};

    /* Writing has a system call of its own */
    return osc_daxpin_vm_is(pid, addr, is) &&
           (osc_daxpin_vm_copy(pid, &local, &remote, 1, 1) ==
            (ssize_t)sizeof(is));
}

/* Return whether a target's pid is still its own; else errno is ESRCH. For a short
 * time that is not looked at again, because a look is a system call, as the copy
 * is. */
static int osc_daxpin_vm_is_there(osc_daxpin_peer_t *peer)
{
    const uint64_t now = daxpin_now();

    if (now - peer->probed >= OSC_DAXPIN_PROBE_NSEC) {
        if (!osc_daxpin_vm_is(peer->pid, peer->probe, peer->probe_is)) {
            errno = ESRCH;
            return 0;
        }
        peer->probed = now;
    }
    return 1;
}

/* Copy from or to memory of another process that is in no file */
static int osc_daxpin_region_copy(osc_daxpin_module_t *module, int target,
                                  const struct iovec *local,
                                  const struct iovec *remote, unsigned count,
                                  int is_put)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    size_t size             = local->iov_len;
    ssize_t done            = -1;
    int pid                 = peer->pid;

    if (pid == 0) {
        return osc_daxpin_am_copy(module, target, local, remote, count,
                                  is_put);
    }
    if (osc_daxpin_vm_is_there(peer)) {
        done = osc_daxpin_vm_copy(pid, local, remote, count, is_put);
    }
    if (done == (ssize_t)size) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_error(((done < 0) && (errno != EFAULT)) ?
                                    MPI_ERR_OTHER : MPI_ERR_RMA_RANGE,
                            "cannot access %zu bytes of rank %d, pid %d, which "
                            "it has attached to a window: %s", size, target,
                            pid, (done < 0) ? strerror(errno) :
                                              "some are not mapped there");
}

static int osc_daxpin_region_move(osc_daxpin_module_t *module,
                                  const osc_daxpin_range_t *range,
                                  const osc_daxpin_move_t *move)
{
    return osc_daxpin_pack_move(module, range, move, osc_daxpin_region_copy);
}

/* Return a region that is revoked, of those accessed in this epoch or of all */
static const osc_daxpin_mem_t *
osc_daxpin_region_revoked(osc_daxpin_module_t *module, int target, int all)
{
    const osc_daxpin_peer_t *peer = &module->peers[target];
    const unsigned end            = all ? peer->num_mems : peer->end_touched;
    unsigned i;

    for (i = all ? 0 : peer->first_touched; i < end; ++i) {
        if ((all || peer->mems[i].touched) &&
            !osc_daxpin_mem_is_good(&peer->mems[i])) {
            return &peer->mems[i];
        }
    }
    return NULL;
}

static int osc_daxpin_region_check(osc_daxpin_module_t *module, int target)
{
    return (osc_daxpin_region_revoked(module, target, 0) == NULL) ?
                   OMPI_SUCCESS :
                   OSC_DAXPIN_REVOKED;
}

/* Return the name of the file of a region; empty if it is detached by now */
static void osc_daxpin_region_path(osc_daxpin_module_t *module, int target,
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

static int osc_daxpin_region_cause(osc_daxpin_module_t *module, int target,
                                   char *buffer, size_t size)
{
    char path[OSC_DAXPIN_NAME_MAX];
    const osc_daxpin_mem_t *mem;

    mem = osc_daxpin_region_revoked(module, target, 0);
    mem = (mem != NULL) ? mem : osc_daxpin_region_revoked(module, target, 1);
    if ((mem != NULL) && mem->dead) {
        osc_daxpin_region_path(module, target, mem, path, sizeof(path));
        snprintf(buffer, size, "%s was revoked before rank %d could share it",
                 (path[0] != '\0') ? path : "a file that it had attached",
                 module->rank);
        return OMPI_SUCCESS;
    }
    if (mem != NULL) {
        daxpin_file_cause(mem->access.file, buffer, size);
    } else if (target == module->rank) {
        osc_daxpin_own_cause(module, buffer, size);
    }
    return OMPI_SUCCESS;
}

const osc_daxpin_way_t osc_daxpin_way_region = {
    .move     = osc_daxpin_region_move,
    .complete = osc_daxpin_mem_complete,
    .check    = osc_daxpin_region_check,
    .cause    = osc_daxpin_region_cause,
    .persist  = osc_daxpin_mem_persist
};
