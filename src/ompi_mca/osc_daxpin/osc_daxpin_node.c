/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The ranks of this node, and what all ranks agree on. The ranks of a node
 * share memory without a name, so that nothing is left behind when a rank is
 * killed. The first rank makes the memory and offers its descriptor; the others
 * fetch it, wherever their namespaces let them meet. Where they do not meet,
 * there is no window over files, because a file has one holder on a node. A
 * dynamic window has messages as well: each rank is then a node of its own.
 */

#include "osc_daxpin_node.h"

#include "daxpin/os/memfd.h"
#include "daxpin/os/offer.h"
#include "daxpin/os/proc.h"
#include "osc_daxpin_bound.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_local.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OSC_DAXPIN_NODE_TAG   1
#define OSC_DAXPIN_NODE_SPINS 1000
#define OSC_DAXPIN_OWNER_SEC  1.0 /* of a lock, before it is looked for */

/* For an answer of the first rank, which does nothing else meanwhile. Where
 * ranks do not meet, none of them waits. */
#define OSC_DAXPIN_NODE_WAIT_MS 60000

/* Namespaces that keep ranks of a node from meeting, or from what they need
 * then; a network namespace does not, and is named for completeness */
static const char *const osc_daxpin_spaces[] = {
    "mnt", "user", "pid", "ipc", "net"
};
#define OSC_DAXPIN_SPACES \
    (sizeof(osc_daxpin_spaces) / sizeof(osc_daxpin_spaces[0]))

/* What the first rank sends to the others */
typedef struct osc_daxpin_node_info {
    daxpin_offer_id_t offer;
    int               ret;
    int               id;
    uint64_t          spaces[OSC_DAXPIN_SPACES];
} osc_daxpin_node_info_t;

int osc_daxpin_agree_in(ompi_communicator_t *comm, int ret)
{
    int all = (ret > 0) ? -ret : ret;

    if (comm->c_coll->coll_allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN,
                                     comm,
                                     comm->c_coll->coll_allreduce_module) !=
        OMPI_SUCCESS) {
        return OMPI_ERROR;
    }
    return (all == 0) ? OMPI_SUCCESS : (ret != OMPI_SUCCESS) ? ret : OMPI_ERROR;
}

int osc_daxpin_agree(const osc_daxpin_module_t *module, int ret)
{
    return osc_daxpin_agree_in(module->comm, ret);
}

/*
 * Namespaces
 */

uint64_t osc_daxpin_space(const char *name)
{
    char path[32];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
    return (stat(path, &st) == 0) ? st.st_ino : 0;
}

static void osc_daxpin_spaces_get(uint64_t *spaces)
{
    size_t i;

    for (i = 0; i < OSC_DAXPIN_SPACES; ++i) {
        spaces[i] = osc_daxpin_space(osc_daxpin_spaces[i]);
    }
}

/* Write which namespaces of this rank are not those of the first rank */
static void osc_daxpin_spaces_compare(const uint64_t *first, char *text,
                                      size_t size)
{
    uint64_t own[OSC_DAXPIN_SPACES];
    size_t used = 0, i;

    osc_daxpin_spaces_get(own);
    snprintf(text, size, "no other namespaces");
    for (i = 0; (i < OSC_DAXPIN_SPACES) && (used < size); ++i) {
        if (own[i] != first[i]) {
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     (used > 0) ? ", " : "other namespaces: ",
                                     osc_daxpin_spaces[i]);
        }
    }
}

/*
 * The shared memory
 */

static size_t osc_daxpin_pairs_length(size_t count)
{
    return count * osc_daxpin_pairs_stride(count);
}

static size_t osc_daxpin_node_length(const osc_daxpin_module_t *module,
                                     int count)
{
    size_t each = sizeof(osc_daxpin_slot_t) + sizeof(osc_daxpin_lock_t);

    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        each += sizeof(osc_daxpin_table_t) + sizeof(osc_daxpin_lend_t) +
                count * sizeof(_Atomic uint32_t);
    }
    return osc_daxpin_lines(count * each) +
           (module->node.is_all ? osc_daxpin_pairs_length(count) : 0);
}

/* Map the memory; fd -1: memory of this rank alone */
static int osc_daxpin_node_map(osc_daxpin_node_t *node, int fd)
{
    const int count = ompi_comm_size(node->comm);
    void *addr = mmap(NULL, node->length, PROT_READ | PROT_WRITE,
                      MAP_SHARED | ((fd < 0) ? MAP_ANONYMOUS : 0), fd, 0);

    if (addr == MAP_FAILED) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "cannot map %zu "
                                "bytes that the ranks of a node share: %s",
                                node->length, strerror(errno));
    }
    node->slots  = addr;
    node->locks  = (osc_daxpin_lock_t*)(node->slots + count);
    node->tables = (osc_daxpin_table_t*)(node->locks + count);
    node->lends   = (osc_daxpin_lend_t*)(node->tables + count);
    node->answers = (_Atomic uint32_t*)(node->lends + count);
    if (node->is_all) {
        node->pairs = (char*)addr + node->length -
                      osc_daxpin_pairs_length(count);
    }
    return OMPI_SUCCESS;
}

/* Only the rank that makes the memory does this, before any other maps it */
static void osc_daxpin_locks_init(osc_daxpin_node_t *node)
{
    pthread_mutexattr_t attr;
    int i;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (i = 0; i < ompi_comm_size(node->comm); ++i) {
        pthread_mutex_init(&node->locks[i].mutex, &attr);
    }
    pthread_mutexattr_destroy(&attr);
}

/* Make the memory, and offer it to count - 1 ranks */
static int osc_daxpin_node_make(osc_daxpin_node_t *node, int count, int fd,
                                osc_daxpin_node_info_t *info,
                                daxpin_offer_t **offer_p)
{
    int ret;

    if ((fd < 0) || (ftruncate(fd, (off_t)node->length) != 0)) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "cannot make %zu "
                                "bytes that the ranks of a node share: %s",
                                node->length, strerror(errno));
    }
    ret = osc_daxpin_node_map(node, fd);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    osc_daxpin_locks_init(node);
    if ((count > 1) && (daxpin_offer_open(fd, &info->offer, offer_p) != 0)) {
        return osc_daxpin_error(OMPI_ERROR, "the ranks of this node cannot "
                                "share memory: %s", daxpin_errormsg());
    }
    return OMPI_SUCCESS;
}

/* Serve until each other rank has reported that it has the memory, or that it
 * gave up */
static int osc_daxpin_node_serve(ompi_communicator_t *comm,
                                 daxpin_offer_t *offer)
{
    int left = ompi_comm_size(comm) - 1;
    int ret  = MPI_SUCCESS;
    MPI_Status status;
    int flag;

    while ((left > 0) && (ret == MPI_SUCCESS)) {
        daxpin_offer_serve(offer);
        ret = PMPI_Iprobe(MPI_ANY_SOURCE, OSC_DAXPIN_NODE_TAG, comm, &flag,
                          &status);
        if ((ret == MPI_SUCCESS) && flag) {
            ret = PMPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE,
                            OSC_DAXPIN_NODE_TAG, comm, MPI_STATUS_IGNORE);
            --left;
        } else {
            sched_yield();
        }
    }
    return ret;
}

/* At the first rank */
static int osc_daxpin_node_lead(osc_daxpin_module_t *module,
                                osc_daxpin_node_info_t *info)
{
    osc_daxpin_node_t *node   = &module->node;
    ompi_communicator_t *comm = node->comm;
    int fd                    = daxpin_memfd_create("daxpin-window",
                                                    MFD_ALLOW_SEALING);
    daxpin_offer_t *offer     = NULL;
    int ret;

    osc_daxpin_spaces_get(info->spaces);
    info->id  = module->rank;
    ret       = osc_daxpin_node_make(node, ompi_comm_size(comm), fd, info,
                                     &offer);
    info->ret = ret;
    comm->c_coll->coll_bcast(info, sizeof(*info), MPI_BYTE, 0, comm,
                             comm->c_coll->coll_bcast_module);
    if (offer != NULL) {
        ret = osc_daxpin_node_serve(comm, offer);
        daxpin_offer_close(offer);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ret;
}

static int osc_daxpin_node_fetch(osc_daxpin_module_t *module,
                                 const osc_daxpin_node_info_t *info)
{
    const int is_dynamic = module->flavor == MPI_WIN_FLAVOR_DYNAMIC;
    char spaces[128];
    int fd, ret;

    if (info->offer.size != module->node.length) {
        return osc_daxpin_error(OMPI_ERROR, "rank %d and rank %d of one node "
                                "run different releases of daxpin",
                                module->rank, info->id);
    }
    fd = daxpin_offer_fetch(&info->offer, OSC_DAXPIN_NODE_WAIT_MS);
    if (fd < 0) {
        osc_daxpin_spaces_compare(info->spaces, spaces, sizeof(spaces));
        return osc_daxpin_error(OMPI_ERROR, "rank %d does not meet rank %d of "
                                "its node (%s): %s; %s", module->rank,
                                info->id, spaces, daxpin_errormsg(),
                                is_dynamic ? "they exchange messages, which "
                                "takes longer" : "run all ranks of a node as "
                                "one user, and give their mount namespaces one "
                                "/dev/shm, or set DAXPIN_RUNTIME_DIR to a "
                                "directory that all of them have");
    }
    ret = osc_daxpin_node_map(&module->node, fd);
    close(fd);
    return ret;
}

/* At any other rank */
static int osc_daxpin_node_join(osc_daxpin_module_t *module,
                                osc_daxpin_node_info_t *info)
{
    ompi_communicator_t *comm = module->node.comm;
    int ret, sent;

    comm->c_coll->coll_bcast(info, sizeof(*info), MPI_BYTE, 0, comm,
                             comm->c_coll->coll_bcast_module);
    if (info->ret != OMPI_SUCCESS) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret  = osc_daxpin_node_fetch(module, info);
    sent = PMPI_Send(NULL, 0, MPI_BYTE, 0, OSC_DAXPIN_NODE_TAG, comm);
    return (ret != OMPI_SUCCESS) ? ret : sent;
}

static void osc_daxpin_node_unmap(osc_daxpin_node_t *node)
{
    if (node->slots != NULL) {
        munmap(node->slots, node->length);
        node->slots = NULL;
    }
}

/* Make this rank a node of its own */
static int osc_daxpin_node_alone(osc_daxpin_module_t *module)
{
    osc_daxpin_node_t *node   = &module->node;
    ompi_communicator_t *comm = node->comm;
    int ret;

    osc_daxpin_node_unmap(node);
    ret = ompi_comm_split(comm, ompi_comm_rank(comm), 0, &node->comm, 0);
    if (ret != OMPI_SUCCESS) {
        node->comm = comm;
        return ret;
    }
    ompi_comm_free(&comm);
    node->id     = module->rank;
    node->is_all = module->size == 1;
    node->length = osc_daxpin_node_length(module, 1);
    ret          = osc_daxpin_node_map(node, -1);
    if (ret == OMPI_SUCCESS) {
        osc_daxpin_locks_init(node);
    }
    return ret;
}

int osc_daxpin_node_open(osc_daxpin_module_t *module)
{
    osc_daxpin_node_t *node     = &module->node;
    osc_daxpin_node_info_t info = {.ret = OMPI_SUCCESS};
    int ret;

    ret = ompi_comm_split_type(module->comm, MPI_COMM_TYPE_SHARED, 0, NULL,
                               &node->comm);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    node->is_all = ompi_comm_size(node->comm) == module->size;
    node->length = osc_daxpin_node_length(module, ompi_comm_size(node->comm));
    ret          = (ompi_comm_rank(node->comm) == 0) ?
                           osc_daxpin_node_lead(module, &info) :
                           osc_daxpin_node_join(module, &info);
    node->id     = info.id;
    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        ret = osc_daxpin_agree_in(node->comm, ret);
        ret = (ret != OMPI_SUCCESS) ? osc_daxpin_node_alone(module) : ret;
    }
    return osc_daxpin_agree(module, ret);
}

void osc_daxpin_node_close(osc_daxpin_node_t *node)
{
    osc_daxpin_node_unmap(node);
    if (node->comm != NULL) {
        ompi_comm_free(&node->comm);
    }
}

/*
 * The lock of a rank's accumulates
 */

/* A wait for a lock. Its owner has it for a short time, unless it is stopped, or
 * waits for memory. */
typedef struct osc_daxpin_owner {
    int                   tid;
    osc_daxpin_patience_t settled; /* another owner has the lock by then */
    int                   late;    /* that time is over */
    osc_daxpin_bound_t    bound;   /* since then */
} osc_daxpin_owner_t;

/* Return the rank of a thread, or OSC_DAXPIN_ANY_RANK: it may be in a pid
 * namespace of its own. */
static int osc_daxpin_node_find_thread(const osc_daxpin_module_t *module,
                                       int tid)
{
    int i;

    for (i = 0; i < module->size; ++i) {
        if ((module->peers[i].process != 0) &&
            daxpin_proc_has_thread(module->peers[i].process, tid)) {
            return i;
        }
    }
    return OSC_DAXPIN_ANY_RANK;
}

static int osc_daxpin_node_find_rank(const osc_daxpin_module_t *module,
                                     int node_rank)
{
    int i;

    for (i = 0; (i < module->size) &&
                (module->peers[i].node_rank != node_rank); ++i) {
    }
    return i;
}

/* Return the error if the wait has to end; to be called again and again. */
static int osc_daxpin_owner_check(osc_daxpin_module_t *module, int node_rank,
                                  osc_daxpin_owner_t *owner)
{
    const osc_daxpin_lock_t *lock = &module->node.locks[node_rank];
    const int tid = __atomic_load_n(&lock->mutex.__data.__lock,
                                    __ATOMIC_RELAXED) & FUTEX_TID_MASK;

    if ((tid != owner->tid) || (tid == 0)) {
        owner->tid  = tid;
        owner->late = 0;
        osc_daxpin_patience_begin(&owner->settled, OSC_DAXPIN_OWNER_SEC);
        return OMPI_SUCCESS;
    }
    if (owner->late) {
        return osc_daxpin_bound_check(&owner->bound);
    }
    if (osc_daxpin_patience_ends(&owner->settled)) {
        osc_daxpin_bound_begin(module, osc_daxpin_node_find_thread(module, tid),
                               &owner->bound);
        owner->bound.at = osc_daxpin_node_find_rank(module, node_rank);
        owner->late     = 1;
    }
    return OMPI_SUCCESS;
}

/* Lock the mutex. Return 0, an error of pthread, or EBUSY: the owner has had it
 * for too long, and *error_p is the error, with a message. */
static int osc_daxpin_node_trylock(osc_daxpin_module_t *module, int node_rank,
                                   int *error_p)
{
    osc_daxpin_lock_t *lock  = &module->node.locks[node_rank];
    osc_daxpin_owner_t owner = {.tid = 0};
    unsigned spins           = 0;
    int ret;

    *error_p = OMPI_SUCCESS;
    while (((ret = pthread_mutex_trylock(&lock->mutex)) == EBUSY) &&
           (*error_p == OMPI_SUCCESS)) {
        if (module->remote) {
            opal_progress(); /* who has it may wait for a reply of this rank */
        }
        if (++spins % OSC_DAXPIN_NODE_SPINS == 0) {
            sched_yield();
            *error_p = osc_daxpin_owner_check(module, node_rank, &owner);
        }
    }
    return ret;
}

int osc_daxpin_node_lock(osc_daxpin_module_t *module, int node_rank)
{
    osc_daxpin_lock_t *lock = &module->node.locks[node_rank];
    int ret, error;

    ret = osc_daxpin_node_trylock(module, node_rank, &error);
    if (ret == EBUSY) {
        return error;
    }
    if (ret == EOWNERDEAD) {
        /* A mutex that is not made consistent can stay locked for ever: so it
         * is in pthread_mutex_trylock() of glibc 2.36 */
        pthread_mutex_consistent(&lock->mutex);
        lock->broken = 1;
    } else if (ret != 0) {
        return osc_daxpin_error(MPI_ERR_OTHER, "cannot lock the memory of rank "
                                "%d of this node: %s", node_rank,
                                strerror(ret));
    }
    if (OPAL_LIKELY(!lock->broken)) {
        return OMPI_SUCCESS;
    }
    pthread_mutex_unlock(&lock->mutex);
    return osc_daxpin_error(MPI_ERR_OTHER, "cannot accumulate at rank %d of "
                            "this node: a process ended in the middle of an "
                            "accumulate there, which may be half done; free "
                            "the window", node_rank);
}

void osc_daxpin_node_unlock(osc_daxpin_module_t *module, int node_rank)
{
    pthread_mutex_unlock(&module->node.locks[node_rank].mutex);
}
