/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Memory that the program has mapped itself, adopted by all ranks together. The
 * lease is granted when nobody else has the file open. Ranks that have it open,
 * and expose no memory of it, must share the description of the others before
 * any rank waits for the lease: see daxpin/adopt.h.
 */

#include "osc_daxpin_adopt.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a rank sends to the others of its node */
typedef struct osc_daxpin_offer {
    osc_daxpin_process_t process;
    uint64_t             dev; /* with the others: daxpin_inode_t */
    uint64_t             ino;
    uint64_t             map_dev;
    uint64_t             map_ino;
    int                  adopts;
} osc_daxpin_offer_t;

int osc_daxpin_adopt_locate(void *base, size_t size, unsigned timeout_ms,
                            daxpin_adoption_t *adoption,
                            osc_daxpin_segment_t *segment)
{
    daxpin_params_t params = {
        .size       = sizeof(params),
        .timeout_ms = timeout_ms
    };
    int ret;

    ret = daxpin_adoption_locate(base, size, &params, adoption);
    if (ret == -EROFS) {
        params.read_only   = 1;
        segment->read_only = 1;
        ret = daxpin_adoption_locate(base, size, &params, adoption);
    }
    return ((ret == 0) || (ret == DAXPIN_FOREIGN) ||
            osc_daxpin_segment_without_lease(segment, ret)) ?
                   OMPI_SUCCESS :
                   osc_daxpin_error(OMPI_ERR_FILE_OPEN_FAILURE, "%s",
                                    daxpin_errormsg());
}

/* Return ret, or OMPI_ERROR if another rank failed */
static int osc_daxpin_adopt_agree(ompi_communicator_t *comm, int ret)
{
    int failed = ret != OMPI_SUCCESS;

    if (comm->c_coll->coll_allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX,
                                     comm,
                                     comm->c_coll->coll_allreduce_module) !=
        OMPI_SUCCESS) {
        return OMPI_ERROR;
    }
    return (ret != OMPI_SUCCESS) ? ret : failed ? OMPI_ERROR : OMPI_SUCCESS;
}

static void osc_daxpin_offer_fill(const daxpin_adoption_t *adoption, int rank,
                                  osc_daxpin_offer_t *offer)
{
    daxpin_inode_t inode;

    memset(offer, 0, sizeof(*offer));
    offer->process = osc_daxpin_process_self(rank);
    if (adoption->located) {
        inode          = daxpin_adoption_inode(adoption);
        offer->dev     = inode.dev;
        offer->ino     = inode.ino;
        offer->map_dev = inode.map_dev;
        offer->map_ino = inode.map_ino;
        offer->adopts  = 1;
    }
}

/* Report the last error of libdaxpin, with the ranks that it names */
static int osc_daxpin_adopt_error(const osc_daxpin_offer_t *offers, int count,
                                  int self)
{
    char text[1024];
    int i;

    snprintf(text, sizeof(text), "%s", daxpin_errormsg());
    for (i = 0; i < count; ++i) {
        osc_daxpin_error_name(&offers[i].process, &offers[self].process, text,
                              sizeof(text));
    }
    return osc_daxpin_error(OMPI_ERR_FILE_OPEN_FAILURE, "rank %d: %s",
                            offers[self].process.rank, text);
}

static int osc_daxpin_offer_is_same(const osc_daxpin_offer_t *offer,
                                    const osc_daxpin_offer_t *other)
{
    return offer->adopts && other->adopts && (offer->dev == other->dev) &&
           (offer->ino == other->ino);
}

/* Return whether this rank has seen to the file of an offer: it adopts the file
 * by itself, or another rank before has offered the file, too. */
static int osc_daxpin_offer_is_known(const osc_daxpin_offer_t *offers, int i,
                                     int self)
{
    int k;

    if (osc_daxpin_offer_is_same(&offers[i], &offers[self])) {
        return 1;
    }
    for (k = 0; (k < i) && !osc_daxpin_offer_is_same(&offers[i], &offers[k]);
         ++k) {
    }
    return k < i;
}

/* Lend what this rank has of the files that other ranks adopt */
static int osc_daxpin_adopt_lend(const osc_daxpin_offer_t *offers, int count,
                                 int self, const daxpin_params_t *params,
                                 osc_daxpin_segment_t *segment)
{
    daxpin_inode_t inode;
    daxpin_file_t *file;
    int i, ret;

    segment->lent = calloc((size_t)count, sizeof(*segment->lent));
    if (segment->lent == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    for (i = 0; i < count; ++i) {
        if (!offers[i].adopts || osc_daxpin_offer_is_known(offers, i, self)) {
            continue;
        }
        inode = (daxpin_inode_t){.dev     = offers[i].dev,
                                 .ino     = offers[i].ino,
                                 .map_dev = offers[i].map_dev,
                                 .map_ino = offers[i].map_ino};
        ret   = daxpin_file_lend(&inode, params, &file);
        if (ret == 0) {
            segment->lent[segment->num_lent++] = file;
        } else if (ret != DAXPIN_FOREIGN) {
            return osc_daxpin_adopt_error(offers, count, self);
        }
    }
    return OMPI_SUCCESS;
}

/* Begin to adopt, and exchange which ranks have begun: one whose memory is
 * read-only may do without a lease. */
static int osc_daxpin_adopt_begin(ompi_communicator_t *node,
                                  osc_daxpin_offer_t *offers,
                                  daxpin_adoption_t *adoption,
                                  osc_daxpin_segment_t *segment)
{
    const int count = ompi_comm_size(node), self = ompi_comm_rank(node);
    osc_daxpin_offer_t own = offers[self];
    int ret = OMPI_SUCCESS, begun;

    if (own.adopts) {
        begun      = daxpin_adoption_begin(adoption);
        own.adopts = begun == 0;
        if ((begun != 0) && !osc_daxpin_segment_without_lease(segment, begun)) {
            ret = osc_daxpin_adopt_error(offers, count, self);
        }
    }
    ret = osc_daxpin_adopt_agree(node, ret);
    return (ret != OMPI_SUCCESS) ? ret :
           node->c_coll->coll_allgather(&own, sizeof(own), MPI_BYTE, offers,
                                        sizeof(own), MPI_BYTE, node,
                                        node->c_coll->coll_allgather_module);
}

/* Wait for the lease, and take the file. */
static int osc_daxpin_adopt_end(const osc_daxpin_offer_t *offers, int count,
                                int self, daxpin_adoption_t *adoption,
                                osc_daxpin_segment_t *segment)
{
    int ret = daxpin_adoption_end(adoption);

    if (ret == 0) {
        osc_daxpin_segment_take(segment, adoption->file, adoption->offset);
        adoption->file = NULL;
        return OMPI_SUCCESS;
    }
    return osc_daxpin_segment_without_lease(segment, ret) ?
                   OMPI_SUCCESS :
                   osc_daxpin_adopt_error(offers, count, self);
}

/* The three steps, each after all ranks of the node have taken the one before.
 * If any has failed, the others go no further. */
static int osc_daxpin_adopt_steps(ompi_communicator_t *node,
                                  osc_daxpin_offer_t *offers,
                                  daxpin_adoption_t *adoption,
                                  osc_daxpin_segment_t *segment)
{
    const int count = ompi_comm_size(node), self = ompi_comm_rank(node);
    int ret;

    ret = osc_daxpin_adopt_begin(node, offers, adoption, segment);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_adopt_lend(offers, count, self, &adoption->params,
                                    segment);
        ret = osc_daxpin_adopt_agree(node, ret);
    }
    return ((ret != OMPI_SUCCESS) || !offers[self].adopts) ? ret :
           osc_daxpin_adopt_end(offers, count, self, adoption, segment);
}

int osc_daxpin_adopt(ompi_communicator_t *comm, daxpin_adoption_t *adoption,
                     osc_daxpin_segment_t *segment)
{
    ompi_communicator_t *node;
    osc_daxpin_offer_t *offers, own;
    int ret;

    ret = ompi_comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, NULL, &node);
    if (ret != OMPI_SUCCESS) {
        daxpin_adoption_cancel(adoption);
        return ret;
    }
    osc_daxpin_offer_fill(adoption, ompi_comm_rank(comm), &own);
    offers = calloc((size_t)ompi_comm_size(node), sizeof(*offers));
    ret    = osc_daxpin_adopt_agree(node, (offers == NULL) ?
                                                  OMPI_ERR_OUT_OF_RESOURCE :
                                                  OMPI_SUCCESS);
    if (ret == OMPI_SUCCESS) {
        ret = node->c_coll->coll_allgather(&own, sizeof(own), MPI_BYTE, offers,
                                           sizeof(own), MPI_BYTE, node,
                                           node->c_coll->coll_allgather_module);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_adopt_steps(node, offers, adoption, segment);
    }
    free(offers);
    ompi_comm_free(&node);
    ret = osc_daxpin_adopt_agree(comm, ret);
    daxpin_adoption_cancel(adoption); /* nothing, unless a rank has failed */
    return ret;
}
