/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Attaching memory is not collective, but the lease is granted only when the
 * ranks that have the file open share the description of the rank that attaches
 * it: see daxpin/adopt.h. That rank requests so in the memory that the ranks of
 * the node share, and the others lend when they make progress.
 */

#include "osc_daxpin_lend.h"

#include "daxpin/os/control.h"
#include "daxpin/os/proc.h"
#include "osc_daxpin_service.h"
#include "osc_daxpin_wait.h"

#include <stdlib.h>
#include <time.h>

/* If there is no lease by then, others may have the file open */
#define OSC_DAXPIN_LEND_AFTER_SEC 0.02

/* The last request of a rank that another rank has answered */
static _Atomic uint32_t *
osc_daxpin_lend_answer(const osc_daxpin_module_t *module, int from, int by)
{
    const osc_daxpin_node_t *node = &module->node;

    return &node->answers[(size_t)from * ompi_comm_size(node->comm) + by];
}

/*
 * At a rank that lends
 */

/* Keep the file until the window is freed */
static void osc_daxpin_lend_keep(osc_daxpin_module_t *module,
                                 daxpin_file_t *file)
{
    osc_daxpin_segment_t *segment = &module->segment;
    daxpin_file_t **lent;
    int i;

    for (i = 0; (i < segment->num_lent) && (segment->lent[i] != file); ++i) {
    }
    lent = (i < segment->num_lent) ?
                   NULL :
                   realloc(segment->lent, ((size_t)i + 1) * sizeof(*lent));
    if (lent == NULL) {
        daxpin_file_close(file); /* It is there already, or no memory is left */
        return;
    }
    segment->lent      = lent;
    segment->lent[i]   = file;
    segment->num_lent += 1;
}

/* Lend what this rank has of a file. If that fails, the rank that attaches gets
 * no lease, and an error that names this process. */
static void osc_daxpin_lend_file(osc_daxpin_module_t *module,
                                 const daxpin_inode_t *inode)
{
    const daxpin_params_t params = {
        .size       = sizeof(params),
        .timeout_ms = module->timeout_ms
    };
    daxpin_file_t *file;
    int ret;

    ret = daxpin_file_lend(inode, &params, &file);
    if (ret == 0) {
        osc_daxpin_lend_keep(module, file);
    } else if (ret != DAXPIN_FOREIGN) {
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank,
                    daxpin_errormsg());
    }
}

/* Answer a request, unless it is changed meanwhile: then there is a new call */
static int osc_daxpin_lend_serve(osc_daxpin_module_t *module, int from)
{
    osc_daxpin_lend_t *lend  = &module->node.lends[from];
    _Atomic uint32_t *answer = osc_daxpin_lend_answer(
            module, from, ompi_comm_rank(module->node.comm));
    uint32_t number          = atomic_load(&lend->number);
    daxpin_inode_t inode;

    if ((number % 2 != 0) || (number == atomic_load(answer))) {
        return 0;
    }
    inode = (daxpin_inode_t){.dev     = lend->dev,
                             .ino     = lend->ino,
                             .map_dev = lend->map_dev,
                             .map_ino = lend->map_ino};
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&lend->number) != number) {
        return 0;
    }
    osc_daxpin_lend_file(module, &inode);
    atomic_store(answer, number);
    return 1;
}

static int osc_daxpin_lend_serve_all(osc_daxpin_module_t *module)
{
    ompi_communicator_t *comm = module->node.comm;
    const uint32_t calls      = atomic_load(&module->node.lends[0].calls);
    int i, count              = 0;

    if (OPAL_LIKELY(calls == module->lend_calls)) {
        return 0;
    }
    module->lend_calls = calls;
    for (i = 0; i < ompi_comm_size(comm); ++i) {
        if (i != ompi_comm_rank(comm)) {
            count += osc_daxpin_lend_serve(module, i);
        }
    }
    return count;
}

void osc_daxpin_lend_open(osc_daxpin_module_t *module)
{
    if (ompi_comm_size(module->node.comm) > 1) {
        module->lends = 1;
        osc_daxpin_service_open(module, OSC_DAXPIN_SERVICE_LEND,
                                osc_daxpin_lend_serve_all);
    }
}

/*
 * At a rank that attaches
 */

/* Return the number of the request */
static uint32_t osc_daxpin_lend_request(const osc_daxpin_module_t *module,
                                        const daxpin_inode_t *inode)
{
    const osc_daxpin_node_t *node = &module->node;
    osc_daxpin_lend_t *lend       = &node->lends[ompi_comm_rank(node->comm)];
    const uint32_t number         = atomic_load(&lend->number) + 2;

    atomic_store(&lend->number, number - 1);
    atomic_thread_fence(memory_order_seq_cst);
    lend->dev     = inode->dev;
    lend->ino     = inode->ino;
    lend->map_dev = inode->map_dev;
    lend->map_ino = inode->map_ino;
    atomic_store(&lend->number, number);
    atomic_fetch_add(&node->lends[0].calls, 1);
    return number;
}

/* Return whether another rank of the node is known to have a file open */
static int osc_daxpin_lend_has(const osc_daxpin_module_t *module, int rank,
                               const daxpin_inode_t *inode)
{
    const osc_daxpin_peer_t *peer = &module->peers[rank];

    return (rank != module->rank) && (peer->node_rank >= 0) &&
           (peer->pid > 0) && (daxpin_proc_has_file(peer->pid, inode) > 0);
}

static int osc_daxpin_lend_is_answered(const osc_daxpin_module_t *module,
                                       int rank, uint32_t number)
{
    const int self = ompi_comm_rank(module->node.comm);

    return atomic_load(osc_daxpin_lend_answer(module, self,
                                              module->peers[rank].node_rank)) ==
           number;
}

/* Return whether this process does not get the lease, and no other one has
 * it */
static int osc_daxpin_lend_is_needed(const daxpin_adoption_t *adoption)
{
    const daxpin_control_t *control = daxpin_file_control(adoption->file);

    return adoption->elected &&
           (atomic_load(&control->state) == DAXPIN_STATE_PENDING) &&
           !atomic_load(&control->growing); /* It was taken */
}

/* Return whether it is still needed after a while, which is long enough to take
 * a lease: it costs less than a look at what all ranks have open. */
static int osc_daxpin_lend_stays_needed(const daxpin_adoption_t *adoption)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000};
    osc_daxpin_patience_t patience;

    osc_daxpin_patience_begin(&patience, OSC_DAXPIN_LEND_AFTER_SEC);
    while (osc_daxpin_lend_is_needed(adoption)) {
        if (osc_daxpin_patience_ends(&patience)) {
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* Ask the ranks that have the file open, and wait for them. Return early when the
 * patience has ended: then waiting for the lease returns the error. */
static void osc_daxpin_lend_ask(const osc_daxpin_module_t *module,
                                const daxpin_adoption_t *adoption,
                                const daxpin_inode_t *inode,
                                osc_daxpin_patience_t *patience)
{
    const uint32_t number = osc_daxpin_lend_request(module, inode);
    int rank;

    for (rank = 0; rank < module->size; ++rank) {
        if (!osc_daxpin_lend_has(module, rank, inode)) {
            continue;
        }
        while (!osc_daxpin_lend_is_answered(module, rank, number) &&
               osc_daxpin_lend_is_needed(adoption)) {
            if (osc_daxpin_patience_ends(patience)) {
                return;
            }
            opal_progress();
        }
    }
}

/* A rank has one request at a time: its threads take turns. */
static void osc_daxpin_lend_wait(osc_daxpin_module_t *module,
                                 const daxpin_adoption_t *adoption,
                                 const daxpin_inode_t *inode)
{
    osc_daxpin_patience_t patience;

    osc_daxpin_patience_begin(&patience, module->timeout_ms / 1e3);
    while (OPAL_THREAD_TRYLOCK(&module->lend_mutex) != 0) {
        if (osc_daxpin_patience_ends(&patience)) {
            return;
        }
        opal_progress();
    }
    osc_daxpin_lend_ask(module, adoption, inode, &patience);
    OPAL_THREAD_UNLOCK(&module->lend_mutex);
}

int osc_daxpin_lend_adopt(osc_daxpin_module_t *module,
                          daxpin_adoption_t *adoption)
{
    const daxpin_inode_t inode = daxpin_adoption_inode(adoption);
    int ret                    = daxpin_adoption_begin(adoption);

    if (ret != 0) {
        return ret;
    }
    if (module->lends && osc_daxpin_lend_stays_needed(adoption)) {
        osc_daxpin_lend_wait(module, adoption, &inode);
    }
    return daxpin_adoption_end(adoption);
}
