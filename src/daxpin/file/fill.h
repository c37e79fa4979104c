/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FILL_H_
#define DAXPIN_FILL_H_

/* Blocks for what others have added to a leased file, or punched out of it */

#include "file.h"

/* Allocate the blocks of the file that are missing. lends, check: see space.h;
 * check gets the file. Return 0, or -errno with a message, or what check()
 * returns. */
int daxpin_file_fill_all(daxpin_file_t *file, int fd, int lends,
                         int (*check)(void *arg));

/* Called once, with daxpin_mutex. ret: 0; -ECANCELED if the file is over, or
 * nobody needs it any more; or another -errno with a message. */
typedef void (*daxpin_fill_done_func_t)(daxpin_file_t *file, int ret);

/* Allocate all blocks of the file in a thread, without daxpin_mutex, because that
 * may take minutes: the loop and other files do not wait. If no thread can be
 * had, it is done at once. Caller holds daxpin_mutex. */
void daxpin_file_fill(daxpin_file_t *file, daxpin_fill_done_func_t done);

#endif
