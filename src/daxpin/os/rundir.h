/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_RUNDIR_H_
#define DAXPIN_RUNDIR_H_

/*
 * The directory of this user, in which the processes of a node meet.
 *
 * All processes of a user have to come to the same directory: the ranks of a
 * job, a batch step, a login shell. So the state of the file system decides
 * which one it is, and of the environment only DAXPIN_RUNTIME_DIR:
 * XDG_RUNTIME_DIR is not set in each of them, and ends with the last login.
 * The first of /dev/shm/daxpin-UID, /run/user/UID/daxpin and /tmp/daxpin-UID
 * that is this user's is the directory. If none is, the first that can be
 * created is. Nothing removes a directory: then all processes agree also if
 * another user takes one of these names and gives it back.
 *
 * No lock is needed.
 */

#include <stdint.h>

#define DAXPIN_RUNDIR_VARIABLE "DAXPIN_RUNTIME_DIR"
#define DAXPIN_RUNDIR_MAX      4096

/* Open the directory, and create it if it does not exist. The descriptor is
 * only good for names in it (O_PATH). path, of DAXPIN_RUNDIR_MAX bytes, gets
 * its name. Return the descriptor, or -errno with a message. */
int daxpin_rundir_open(char *path);

/* Return a number of the directory, which is the same in all processes of the
 * node that meet there; 0 with a message if there is no directory. */
uint64_t daxpin_rundir_id(void);

#endif
