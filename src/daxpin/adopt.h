/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ADOPT_H_
#define DAXPIN_ADOPT_H_

/* The steps of daxpin_file_adopt(), for processes that adopt together */

#include "daxpin.h"
#include "daxpin/os/backing.h"
#include "daxpin/os/proc.h"

/*
 * Several processes of a job have one file open, and only some of them have
 * memory of it that is to be adopted. The kernel grants the lease when the
 * others have joined, too, and no process may wait for the lease before that:
 *
 *   each process that adopts: locate, begin
 *   when all have begun, each other process: lend
 *   when all have lent, each process that adopts: end
 */

typedef struct daxpin_adoption {
    uintptr_t        addr;
    size_t           length;
    daxpin_params_t  params;
    daxpin_backing_t backing;
    uint64_t         deadline; /* of the election (ns) */
    uint64_t         offset;   /* of addr in the file */
    int              located;  /* there is a file to adopt */
    int              elected;  /* this process has to fill the file */
    int              complete; /* nothing is left for the end */
    daxpin_file_t    *file;
} daxpin_adoption_t;

/* Find the file of a range, and take nothing yet. The parameters are as in
 * daxpin_file_adopt(). Return 0, DAXPIN_FOREIGN, or -errno with a message. */
int daxpin_adoption_locate(void *address, size_t length,
                           const daxpin_params_t *params,
                           daxpin_adoption_t *adoption);

/* Return what other processes need to find the file: without the path. */
daxpin_inode_t daxpin_adoption_inode(const daxpin_adoption_t *adoption);

/* Become the holder or a member. Does not wait for the lease. Return 0, or
 * -errno with a message and nothing left. */
int daxpin_adoption_begin(daxpin_adoption_t *adoption);

/* Wait for the lease, and adopt the range. Return 0, and the caller has the
 * reference in adoption->file; or -errno with a message and nothing left. */
int daxpin_adoption_end(daxpin_adoption_t *adoption);

/* Give up what was begun or only located. */
void daxpin_adoption_cancel(daxpin_adoption_t *adoption);

/*
 * Lend this process's descriptors and mappings of a file that another process
 * has begun to adopt: exchange them as daxpin_file_adopt() does. No memory of
 * this process is replaced by a revoke. Return 0 with a reference;
 * DAXPIN_FOREIGN if this process has neither; or -errno with a message, which
 * is -EBUSY if something cannot be exchanged and would keep the lease away.
 */
int daxpin_file_lend(const daxpin_inode_t *inode, const daxpin_params_t *params,
                     daxpin_file_t **file_p);

#endif
