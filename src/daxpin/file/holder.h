/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HOLDER_H_
#define DAXPIN_HOLDER_H_

/* The holder's state machine. Caller holds daxpin_mutex, at the holder. */

#include "daxpin/daxpin.h"

#include <stdint.h>

/* Begin to take the lease: the loop tries until it has the lease, or until the
 * timeout. */
void daxpin_holder_request_lease(daxpin_file_t *file, unsigned timeout_ms);

/* Return whether the file is to have a hold, and blocks may be missing, after the
 * thread that opened it has filled its part: others may have made the file
 * longer, and an intruder may have punched holes that the guard allows. On XFS,
 * fallocate() waits for kernel pins of any process, so where there may be some it
 * is not to be called without need. is_filled: it has just been called for all of
 * the file. Caller holds daxpin_mutex. */
int daxpin_holder_may_lack_blocks(const daxpin_file_t *file, int is_filled);

/* End the filling of the file, in phase FILLING: enter HELD. error: 0;
 * -ECANCELED if the lease was broken meanwhile, so that the loop gives it back
 * and tries again; or another -errno with a message, to revoke the file. The
 * file is as it was before, unless error is 0. */
void daxpin_holder_end_fill(daxpin_file_t *file, int error);

/* Give up a file that this thread has to fill, and has not: the others that have
 * it would wait for that. The message of this thread stays. The caller closes its
 * reference. */
void daxpin_holder_give_up_fill(daxpin_file_t *file);

/* Go on with a lease that another holder has taken: this process gets the
 * signal, and takes the lease under its own name as soon as possible. The watch
 * is placed, if it can be. */
void daxpin_holder_take_over(daxpin_file_t *file, uint64_t now);

/* Read what the watch has seen of all files. Members wait, at a synchronisation
 * while LENT, until daxpin_holder_tick() of each file has acted on it. */
void daxpin_holders_read_watch(void);

/* Take one step: check the file, decide and act. signaled: a lease may have
 * been broken. Return when to call again (ns). */
uint64_t daxpin_holder_tick(daxpin_file_t *file, uint64_t now, int signaled);

#endif
