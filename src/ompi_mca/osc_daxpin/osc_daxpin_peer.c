/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The targets of a window: opening and closing them, and how each is reached */

#include "osc_daxpin_peer.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/fstype.h"
#include "daxpin/os/proc.h"

#include "osc_daxpin_am.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_inner.h"
#include "osc_daxpin_mapped.h"
#include "osc_daxpin_node.h"
#include "osc_daxpin_region.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* What each rank sends to all others */
typedef struct osc_daxpin_peer_info {
    daxpin_key_t key;
    uint64_t     offset;
    uint64_t     size;
    uint64_t     file_length;
    osc_daxpin_unit_t          disp_unit;
    int          has_file;
    int          read_only;
    int          node;      /* id */
    int          node_rank;
    int          pid;
    uint64_t     pid_space; /* namespace in which that is its pid */
    uint64_t     start;     /* of the process */
    uint64_t     time_space; /* namespace in which that is its time */
    uint64_t     probe;     /* address and content of a word of this rank */
    uint64_t     probe_is;
    uint64_t     sure_until; /* of the control page */
    uint64_t     sure_for;  /* ns, from now on */
} osc_daxpin_peer_info_t;

/* Note how long the lease is sure from now on */
static void osc_daxpin_peer_info_sure(const daxpin_file_t *file,
                                      osc_daxpin_peer_info_t *info)
{
    info->sure_until = DAXPIN_NEVER;
    if (file != NULL) {
        info->sure_until = atomic_load(&daxpin_file_control(file)->sure_until);
    }
    info->sure_for = daxpin_time_until(info->sure_until, daxpin_now());
}

static void osc_daxpin_peer_info_fill(const osc_daxpin_module_t *module,
                                      osc_daxpin_unit_t disp_unit,
                                      osc_daxpin_peer_info_t *info)
{
    const osc_daxpin_segment_t *segment = &module->segment;

    memset(info, 0, sizeof(*info));
    if (segment->file != NULL) {
        daxpin_file_key(segment->file, &info->key);
    }
    info->has_file    = segment->file != NULL;
    info->read_only   = segment->read_only;
    info->offset      = segment->offset;
    info->size        = segment->size;
    info->file_length = (segment->file_length > 0) ?
                                segment->file_length :
                                segment->offset + segment->size;
    info->disp_unit   = disp_unit;
    info->node        = module->node.id;
    info->node_rank   = ompi_comm_rank(module->node.comm);
    info->pid         = getpid();
    info->pid_space   = osc_daxpin_space("pid");
    info->start       = daxpin_proc_start(info->pid);
    info->time_space  = osc_daxpin_space("time");
    info->probe       = (uintptr_t)&module->probe;
    info->probe_is    = module->probe;
    osc_daxpin_peer_info_sure(segment->file, info);
}

/* Two names may lead to one file, whose segments were then not laid out
 * together */
static int osc_daxpin_peer_info_check(const osc_daxpin_module_t *module,
                                      const osc_daxpin_peer_info_t *infos)
{
    const osc_daxpin_peer_info_t *own = &infos[module->rank];
    const osc_daxpin_peer_info_t *info;
    int i;

    for (i = 0; i < module->size; ++i) {
        info = &infos[i];
        if ((i != module->rank) && (info->node == own->node) &&
            (info->key.dev == own->key.dev) &&
            (info->key.ino == own->key.ino) &&
            (info->offset < own->offset + own->size) &&
            (own->offset < info->offset + info->size)) {
            return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: ranks %d and %d "
                                    "opened this file by different names, and "
                                    "their segments overlap; use one name",
                                    module->segment.path, module->rank, i);
        }
    }
    return OMPI_SUCCESS;
}

static const osc_daxpin_way_t *
osc_daxpin_peer_way(const osc_daxpin_module_t *module,
                    const osc_daxpin_peer_info_t *info, int target)
{
    int is_here  = info->node == module->node.id;
    int is_empty = !info->has_file && (info->size == 0);

    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        return is_here ? &osc_daxpin_way_region : &osc_daxpin_way_am;
    }
    if ((target == module->rank) || is_empty || (is_here && info->has_file)) {
        return &osc_daxpin_way_mapped;
    }
    return &osc_daxpin_way_inner;
}

/* Return whether this process may copy from and to memory of a target. The pid
 * is a number of the target's namespace, and something may forbid the copy:
 * seccomp, Yama, another user namespace. */
static int osc_daxpin_peer_can_copy(const osc_daxpin_module_t *module,
                                    const osc_daxpin_peer_info_t *info,
                                    int target)
{
    return (target == module->rank) ||
           ((info->pid_space != 0) &&
            (info->pid_space == osc_daxpin_space("pid")) &&
            osc_daxpin_region_probe(info->pid, info->probe, info->probe_is));
}

/* Note how to find out whether a rank of this node has ended */
static void osc_daxpin_peer_fill_process(const osc_daxpin_peer_info_t *own,
                                         const osc_daxpin_peer_info_t *info,
                                         osc_daxpin_peer_t *peer)
{
    if ((info->node != own->node) || (info->pid_space == 0) ||
        (info->pid_space != own->pid_space)) {
        return;
    }
    peer->process       = info->pid;
    peer->process_start = (info->time_space == own->time_space) ? info->start :
                                                                  0;
}

/* Note until when the lease of a target is sure. before: a time (ns) before the
 * target filled its information in. */
static void osc_daxpin_peer_fill_sure(const osc_daxpin_peer_info_t *info,
                                      uint64_t before, osc_daxpin_sure_t *sure)
{
    sure->seen   = info->sure_until;
    sure->looked = before;
    sure->until  = daxpin_later(before, info->sure_for);
}

static void osc_daxpin_peer_fill(osc_daxpin_module_t *module,
                                 const osc_daxpin_peer_info_t *infos,
                                 int target)
{
    const osc_daxpin_peer_info_t *info = &infos[target];
    osc_daxpin_peer_t *peer            = &module->peers[target];

    peer->way             = osc_daxpin_peer_way(module, info, target);
    osc_daxpin_peer_fill_process(&infos[module->rank], info, peer);
    peer->mem.key         = info->key;
    peer->mem.dirty_start = UINT64_MAX;
    peer->mem.offset      = info->offset;
    peer->mem.size        = info->size;
    peer->mem.read_only   = info->read_only;
    peer->disp_unit       = info->disp_unit;
    peer->node_rank       = (info->node == module->node.id) ?
                                    info->node_rank : -1;
    peer->epoch           = 1;
    peer->mems            = &peer->mem;
    peer->num_mems        = 1;
    if (peer->way == &osc_daxpin_way_am) {
        peer->mem.size = UINT64_MAX; /* only the target knows its regions */
    } else if (peer->way == &osc_daxpin_way_region) {
        peer->mems     = NULL; /* found when they are first accessed */
        peer->num_mems = 0;
        peer->pid      = osc_daxpin_peer_can_copy(module, info, target) ?
                                 info->pid : 0;
        peer->probe    = info->probe;
        peer->probe_is = info->probe_is;
    }
}

/* Return where a target's segment is mapped. Segments of one file are as far
 * from each other here as in the file. */
static char *osc_daxpin_peer_map(osc_daxpin_module_t *module,
                                 const osc_daxpin_peer_info_t *infos,
                                 int target, daxpin_file_t *file)
{
    const osc_daxpin_segment_t *segment = &module->segment;
    const osc_daxpin_peer_info_t *info  = &infos[target];
    char *base;
    int i;

    if ((file == segment->file) && !segment->adopted) {
        return segment->base - segment->offset + info->offset;
    }
    for (i = 0; i < target; ++i) {
        if ((module->peers[i].mem.access.file == file) &&
            (infos[i].file_length == info->file_length)) {
            return module->peers[i].mem.base - infos[i].offset + info->offset;
        }
    }
    base = daxpin_file_addr(file, 0, info->file_length);
    return (base != NULL) ? base + info->offset : NULL;
}

/* Note what may be accessed in the short way: memory that is mapped here, of a
 * window that is not dynamic. After a put nothing is left to do. */
static void osc_daxpin_peer_shorten(const osc_daxpin_module_t *module,
                                    osc_daxpin_peer_t *peer)
{
    const int only_get = peer->mem.read_only ||
                         (module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH);

    peer->short_get = peer->mem.size;
    peer->short_put = only_get ? 0 : peer->mem.size;
}

/* Return whether a flush writes pages of a file back, after which each of them
 * is protected until it is stored to. Where nothing is written back, a page that
 * is writable stays so. */
static int osc_daxpin_peer_faults(const osc_daxpin_module_t *module,
                                  daxpin_file_t *file)
{
    daxpin_fstype_t type;

    return (module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH) &&
           (strcmp(daxpin_file_granularity(file), "page") == 0) &&
           ((daxpin_fstype_of_path(daxpin_file_path(file), &type) != 0) ||
            (type.magic != TMPFS_MAGIC));
}

/* Map the file of a target of this node */
static int osc_daxpin_peer_open_file(osc_daxpin_module_t *module,
                                     const osc_daxpin_peer_info_t *infos,
                                     int target)
{
    osc_daxpin_mem_t *mem = &module->peers[target].mem;
    daxpin_file_t *file   = module->segment.file;

    if (target == module->rank) {
        daxpin_file_ref(file);
    } else if (daxpin_file_attach(&infos[target].key, &file) != 0) {
        return osc_daxpin_error(OMPI_ERR_FILE_OPEN_FAILURE, "rank %d: cannot "
                                "share the file of rank %d: %s", module->rank,
                                target, daxpin_errormsg());
    }
    daxpin_access_init(file, module->slot, &mem->access);
    daxpin_access_relax(&mem->access);
    mem->base = (target == module->rank) ?
                        module->segment.base :
                        osc_daxpin_peer_map(module, infos, target, file);
    if (mem->base == NULL) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot map "
                                "the segment of rank %d: %s", module->rank,
                                target, daxpin_errormsg());
    }
    mem->faults = osc_daxpin_peer_faults(module, file);
    mem->copy   = (module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH) ?
                          daxpin_file_durable_copy(file) :
                          NULL;
    osc_daxpin_peer_shorten(module, &module->peers[target]);
    return OMPI_SUCCESS;
}

static int osc_daxpin_peer_open(osc_daxpin_module_t *module,
                                const osc_daxpin_peer_info_t *infos,
                                int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];

    osc_daxpin_peer_fill(module, infos, target);
    module->remote |= peer->way->is_remote ||
                      ((peer->way == &osc_daxpin_way_region) &&
                       (peer->pid == 0));
    if (peer->way != &osc_daxpin_way_mapped) {
        return OMPI_SUCCESS;
    }
    if (infos[target].has_file) {
        return osc_daxpin_peer_open_file(module, infos, target);
    }
    if (target == module->rank) {
        /* NULL would mean that it is not mapped */
        peer->mem.base = (module->segment.base != NULL) ?
                                 module->segment.base :
                                 module->sync_memory;
    }
    return OMPI_SUCCESS;
}

/* Agree on whether all ranks could open their targets, and on what remote
 * targets need, which all ranks make or none */
static int osc_daxpin_remote_agree(osc_daxpin_module_t *module, int ret)
{
    int any[]                 = {ret != OMPI_SUCCESS, module->remote,
                                 module->spec.persist ==
                                         OSC_DAXPIN_PERSIST_FLUSH};
    ompi_communicator_t *comm = module->comm;
    int status;

    status = comm->c_coll->coll_allreduce(MPI_IN_PLACE, any, 3, MPI_INT,
                                          MPI_MAX, comm,
                                          comm->c_coll->coll_allreduce_module);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->remote          = any[1];
    module->progress.wanted = any[1] && any[2];
    return (status != OMPI_SUCCESS) ? status : any[0] ? OMPI_ERROR :
                                                        OMPI_SUCCESS;
}

/* Exchange what the ranks have, and open them as targets. before: a time (ns)
 * before any of them has come here. */
static int osc_daxpin_peers_exchange(osc_daxpin_module_t *module,
                                     osc_daxpin_unit_t disp_unit,
                                     uint64_t before,
                                     osc_daxpin_peer_info_t *infos)
{
    ompi_communicator_t *comm = module->comm;
    osc_daxpin_peer_info_t own;
    int i, ret;

    osc_daxpin_peer_info_fill(module, disp_unit, &own);
    ret = comm->c_coll->coll_allgather(&own, sizeof(own), MPI_BYTE, infos,
                                       sizeof(own), MPI_BYTE, comm,
                                       comm->c_coll->coll_allgather_module);
    if ((ret == OMPI_SUCCESS) && (module->segment.path[0] != '\0')) {
        ret = osc_daxpin_peer_info_check(module, infos);
    }
    module->remote = 0;
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_peer_open(module, infos, i);
        osc_daxpin_peer_fill_sure(&infos[i], before, &module->peers[i].sure);
    }
    return osc_daxpin_remote_agree(module, ret);
}

/* The slot of all windows of this process, where one thread at a time calls
 * MPI */
static struct {
    unsigned windows;
    unsigned index;
} osc_daxpin_shared_slot;

/* Choose a slot for a window. A slot is for one thread at a time, but the last
 * is for many. */
static void osc_daxpin_peers_get_slot(osc_daxpin_module_t *module)
{
    if (opal_using_threads()) {
        module->slot = DAXPIN_SLOTS - 1;
        return;
    }
    if (osc_daxpin_shared_slot.windows++ == 0) {
        osc_daxpin_shared_slot.index = daxpin_slot_get();
    }
    module->slot     = osc_daxpin_shared_slot.index;
    module->has_slot = 1;
}

static void osc_daxpin_peers_put_slot(osc_daxpin_module_t *module)
{
    if (module->has_slot && (--osc_daxpin_shared_slot.windows == 0)) {
        daxpin_slot_put(osc_daxpin_shared_slot.index);
    }
}

int osc_daxpin_peers_open(osc_daxpin_module_t *module,
                          osc_daxpin_unit_t disp_unit)
{
    const uint64_t before = daxpin_now(); /* all ranks agree after that */
    osc_daxpin_peer_info_t *infos;
    int ret = OMPI_SUCCESS;

    if (getrandom(&module->probe, sizeof(module->probe), 0) !=
        (ssize_t)sizeof(module->probe)) {
        module->probe = (uintptr_t)module;
    }
    module->peers         = calloc(module->size, sizeof(*module->peers));
    module->dummy_control = calloc(1, DAXPIN_CONTROL_SIZE);
    infos                 = calloc(module->size, sizeof(*infos));
    if ((module->peers == NULL) || (infos == NULL) ||
        (module->dummy_control == NULL)) {
        ret = OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_agree(module, ret);
    if (ret == OMPI_SUCCESS) {
        atomic_store(&module->dummy_control->state, DAXPIN_STATE_HELD);
        osc_daxpin_peers_get_slot(module);
        ret = osc_daxpin_peers_exchange(module, disp_unit, before, infos);
    }
    free(infos);
    return ret;
}

void osc_daxpin_peers_close(osc_daxpin_module_t *module)
{
    int i;

    if (module->peers == NULL) {
        return;
    }
    osc_daxpin_regions_close(module);
    for (i = 0; i < module->size; ++i) {
        daxpin_file_close(module->peers[i].mem.access.file);
    }
    osc_daxpin_peers_put_slot(module);
    free(module->dummy_control);
    module->dummy_control = NULL;
}

char *osc_daxpin_peer_base(const osc_daxpin_module_t *module, int target)
{
    const osc_daxpin_mem_t *mem = &module->peers[target].mem;

    /* Memory of this module stands for none, see osc_daxpin_peer_open() */
    return (mem->base != module->sync_memory) ? mem->base : NULL;
}

const daxpin_control_t *osc_daxpin_own_control(osc_daxpin_module_t *module)
{
    const daxpin_file_t *file = module->peers[module->rank].mem.access.file;

    return (file != NULL) ? daxpin_file_control(file) : module->dummy_control;
}

void osc_daxpin_peer_forget_told(osc_daxpin_peer_t *peer)
{
    int is_left = peer->has_more;
    osc_daxpin_mem_t *mem;
    unsigned i;

    if (peer->has_more) {
        peer->known       = peer->told;
        peer->known_epoch = peer->epoch;
    }
    if (peer->mems == &peer->mem) {
        peer->mem.dirty_start = UINT64_MAX;
        peer->mem.dirty_end   = 0;
    }
    for (i = peer->first_touched; i < peer->end_touched; ++i) {
        mem          = &peer->mems[i];
        mem->touched = mem->touched && !osc_daxpin_mem_is_good(mem) &&
                       !osc_daxpin_key_is_same(&mem->key, &peer->told);
        is_left     |= mem->touched;
    }
    if (!is_left) {
        osc_daxpin_peer_forget(peer);
    }
}
