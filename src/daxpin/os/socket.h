/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SOCKET_H_
#define DAXPIN_SOCKET_H_

/* Packets with descriptors between processes of one node, and the process at
 * the other end. Nothing here blocks, needs a lock or leaves a message. */

#include <stddef.h>
#include <sys/types.h>

#define DAXPIN_SOCKET_FDS_MAX 4

/* Send one packet with @a num_fds descriptors, at most DAXPIN_SOCKET_FDS_MAX.
 * Return 0, or -errno; -EAGAIN if the socket is full. */
int daxpin_socket_send(int fd, const void *packet, size_t length,
                       const int *fds, unsigned num_fds);

/* Receive one packet and exactly @a num_fds descriptors with it. If another
 * number arrived, they are closed and all of @a fds are -1. Return the length
 * of the packet, which may be more than @a size; 0 at the end of the
 * connection; or -errno, -EAGAIN if there is no packet. */
ssize_t daxpin_socket_receive(int fd, void *packet, size_t size, int *fds,
                              unsigned num_fds);

/* Get the user and the process at the other end, as they were when that process
 * connected or listened. Return 0 or -errno. */
int daxpin_socket_get_sender(int fd, uid_t *uid_p, pid_t *pid_p);

/* Get the process at the other end; pid 0: it is in another pid namespace.
 * Return whether it is of the same user as this process. */
int daxpin_socket_is_same_user(int fd, pid_t *pid_p);

/* Return whether a number is that of one user. In a user namespace, one number
 * stands for all users that the namespace does not map: two processes that have
 * it may be of different users. */
int daxpin_user_is_known(uid_t uid);

#endif
