/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The ranks of this node, and what all ranks agree on. The ranks of a node
 * share memory without a name, so that nothing is left behind when a rank is
 * killed. The first rank makes the memory, the others open it through /proc.
 */

#include "osc_daxpin_node.h"

#include "daxpin/os/memfd.h"
#include "osc_daxpin_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the first rank sends to the others */
typedef struct osc_daxpin_node_info {
    int pid;
    int fd;
    int id;
} osc_daxpin_node_info_t;

int osc_daxpin_agree(osc_daxpin_module_t *module, int ret)
{
    ompi_communicator_t *comm = module->comm;
    int all                   = (ret > 0) ? -ret : ret;

    if (comm->c_coll->coll_allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN,
                                     comm,
                                     comm->c_coll->coll_allreduce_module) !=
        OMPI_SUCCESS) {
        return OMPI_ERROR;
    }
    return (all == 0) ? OMPI_SUCCESS : (ret != OMPI_SUCCESS) ? ret : OMPI_ERROR;
}

uint64_t osc_daxpin_space(const char *name)
{
    char path[32];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
    return (stat(path, &st) == 0) ? st.st_ino : 0;
}

static int osc_daxpin_node_map(osc_daxpin_node_t *node, int fd)
{
    void *addr = mmap(NULL, node->length, PROT_READ | PROT_WRITE, MAP_SHARED,
                      fd, 0);

    if (addr == MAP_FAILED) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "cannot map %zu "
                                "bytes that the ranks of a node share: %s",
                                node->length, strerror(errno));
    }
    node->slots  = addr;
    node->tables = (osc_daxpin_table_t*)(node->slots +
                                         ompi_comm_size(node->comm));
    return OMPI_SUCCESS;
}

static int osc_daxpin_node_make(osc_daxpin_node_t *node)
{
    node->fd = daxpin_memfd_create("daxpin-window", 0);
    if ((node->fd < 0) || (ftruncate(node->fd, (off_t)node->length) != 0)) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "cannot make %zu "
                                "bytes that the ranks of a node share: %s",
                                node->length, strerror(errno));
    }
    return osc_daxpin_node_map(node, node->fd);
}

static int osc_daxpin_node_join(osc_daxpin_node_t *node,
                                const osc_daxpin_node_info_t *word)
{
    char path[64];
    int fd, ret;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", word->pid, word->fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return osc_daxpin_error(OMPI_ERROR, "cannot open %s, the memory "
                                "that the ranks of a node share: %s; run them "
                                "as one user, in one pid namespace, and "
                                "dumpable", path, strerror(errno));
    }
    ret = osc_daxpin_node_map(node, fd);
    close(fd);
    return ret;
}

int osc_daxpin_node_open(osc_daxpin_module_t *module)
{
    osc_daxpin_node_t *node     = &module->node;
    osc_daxpin_node_info_t word = {.fd = -1};
    ompi_communicator_t *comm;
    int first, ret;

    node->fd = -1;
    ret      = ompi_comm_split_type(module->comm, MPI_COMM_TYPE_SHARED, 0, NULL,
                                    &node->comm);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    comm         = node->comm;
    first        = ompi_comm_rank(comm) == 0;
    node->length = ompi_comm_size(comm) * sizeof(*node->slots);
    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        node->length += ompi_comm_size(comm) * sizeof(*node->tables);
    }
    if (first) {
        ret  = osc_daxpin_node_make(node);
        word = (osc_daxpin_node_info_t){
            .pid = getpid(), .fd = node->fd, .id = module->rank
        };
        word.fd = (ret == OMPI_SUCCESS) ? word.fd : -1;
    }
    comm->c_coll->coll_bcast(&word, sizeof(word), MPI_BYTE, 0, comm,
                             comm->c_coll->coll_bcast_module);
    node->id = word.id;
    if (!first) {
        ret = (word.fd < 0) ? OMPI_ERR_OUT_OF_RESOURCE :
                              osc_daxpin_node_join(node, &word);
    }
    ret = osc_daxpin_agree(module, ret);
    if (node->fd >= 0) {
        close(node->fd);
        node->fd = -1;
    }
    return ret;
}

void osc_daxpin_node_close(osc_daxpin_node_t *node)
{
    if (node->slots != NULL) {
        munmap(node->slots, node->length);
        node->slots = NULL;
    }
    if (node->comm != NULL) {
        ompi_comm_free(&node->comm);
    }
}
