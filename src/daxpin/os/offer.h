/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_OFFER_H_
#define DAXPIN_OFFER_H_

/*
 * Memory without a name (memfd) that processes of one user on a node share. One
 * process offers a descriptor of it at an address in the directory of rundir.h;
 * the others fetch it there. Numbers of processes and of descriptors mean
 * nothing in another pid namespace, so none is sent. What arrives is compared
 * with what was offered.
 *
 * For the components of UCX and Open MPI. One thread at a time uses an offer;
 * no lock of the library is needed.
 */

#include <stdint.h>

/* What names an offer. A process may send it to others as bytes. */
typedef struct daxpin_offer_id {
    uint64_t dev;
    uint64_t ino;
    uint64_t size; /* bytes, which never change */
} daxpin_offer_id_t;

typedef struct daxpin_offer daxpin_offer_t;

/* Offer a memfd that allows seals. Seal its size, so that no access to it can
 * fault. The caller keeps fd open until daxpin_offer_close(). Return 0, or
 * -errno with a message. */
int daxpin_offer_open(int fd, daxpin_offer_id_t *id, daxpin_offer_t **offer_p);

/* Send the descriptor to the processes of this user that have connected by now.
 * Does not wait. */
void daxpin_offer_serve(daxpin_offer_t *offer);

/* End an offer. NULL: nothing is done. */
void daxpin_offer_close(daxpin_offer_t *offer);

/* Fetch a descriptor while its process serves, for timeout_ms at most. Return
 * the descriptor, or -errno with a message. */
int daxpin_offer_fetch(const daxpin_offer_id_t *id, unsigned timeout_ms);

#endif
