/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Packets with descriptors between processes of one node */

#include "socket.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for more descriptors than a packet should have: those that a hostile
 * sender adds must be closed */
#define DAXPIN_SOCKET_FDS_ROOM 8

_Static_assert(DAXPIN_SOCKET_FDS_MAX <= DAXPIN_SOCKET_FDS_ROOM, "they fit in");

#define DAXPIN_USER_OVERFLOW   65534u /* the kernel's default */

/* Aligned as sendmsg() requires */
typedef union daxpin_ancillary {
    struct cmsghdr header;
    char           space[CMSG_SPACE(DAXPIN_SOCKET_FDS_ROOM * sizeof(int))];
} daxpin_ancillary_t;

int daxpin_socket_send(int fd, const void *packet, size_t length,
                       const int *fds, unsigned num_fds)
{
    const size_t size    = num_fds * sizeof(*fds);
    struct iovec iov     = {.iov_base = (void*)packet, .iov_len = length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    daxpin_ancillary_t ancillary;
    ssize_t sent;

    if (num_fds > 0) {
        memset(&ancillary, 0, sizeof(ancillary));
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type  = SCM_RIGHTS;
        ancillary.header.cmsg_len   = CMSG_LEN(size);
        memcpy(CMSG_DATA(&ancillary.header), fds, size);
        header.msg_control    = &ancillary;
        header.msg_controllen = CMSG_SPACE(size);
    }
    sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return -errno;
    }
    return ((size_t)sent == length) ? 0 : -EMSGSIZE;
}

/* Take the descriptors of one control message until there is no room; close all
 * others. Return how many the message had. */
static unsigned daxpin_socket_take_fds(const struct cmsghdr *ancillary,
                                       int *fds, unsigned room)
{
    unsigned count = (ancillary->cmsg_len - CMSG_LEN(0)) / sizeof(*fds), i;
    int fd;

    for (i = 0; i < count; ++i) {
        memcpy(&fd, CMSG_DATA(ancillary) + i * sizeof(fd), sizeof(fd));
        if (i < room) {
            fds[i] = fd;
        } else {
            close(fd);
        }
    }
    return count;
}

ssize_t daxpin_socket_receive(int fd, void *packet, size_t size, int *fds,
                              unsigned num_fds)
{
    struct iovec iov = {.iov_base = packet, .iov_len = size};
    daxpin_ancillary_t ancillary;
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    struct cmsghdr *item;
    unsigned count = 0, i;
    ssize_t length;

    for (i = 0; i < num_fds; ++i) {
        fds[i] = -1;
    }
    length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        return -errno;
    }
    for (item = CMSG_FIRSTHDR(&header); item != NULL;
         item = CMSG_NXTHDR(&header, item)) {
        if ((item->cmsg_level == SOL_SOCKET) &&
            (item->cmsg_type == SCM_RIGHTS)) {
            count += daxpin_socket_take_fds(item, fds,
                                            (count == 0) ? num_fds : 0);
        }
    }
    if (count != num_fds) {
        for (i = 0; i < num_fds; ++i) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
            fds[i] = -1;
        }
    }
    return length;
}

int daxpin_socket_get_sender(int fd, uid_t *uid_p, pid_t *pid_p)
{
    socklen_t length = sizeof(struct ucred);
    struct ucred sender;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &sender, &length) != 0) {
        return -errno;
    }
    *uid_p = sender.uid;
    *pid_p = sender.pid;
    return 0;
}

int daxpin_socket_is_same_user(int fd, pid_t *pid_p)
{
    uid_t uid;

    *pid_p = 0;
    return (daxpin_socket_get_sender(fd, &uid, pid_p) == 0) &&
           (uid == geteuid()) && daxpin_user_is_known(uid);
}

static unsigned daxpin_user_read_overflow(void)
{
    FILE *file     = fopen("/proc/sys/fs/overflowuid", "re");
    unsigned value = DAXPIN_USER_OVERFLOW;

    if (file != NULL) {
        if (fscanf(file, "%u", &value) != 1) {
            value = DAXPIN_USER_OVERFLOW;
        }
        fclose(file);
    }
    return value;
}

/* Return the number of all users that a user namespace does not map. It is read
 * once, because each connection needs it. */
static unsigned daxpin_user_overflow(void)
{
    static _Atomic uint64_t known; /* the number + 1 */
    uint64_t value = known;

    if (value == 0) {
        value = (uint64_t)daxpin_user_read_overflow() + 1;
        known = value;
    }
    return (unsigned)(value - 1);
}

/* Return whether this user namespace maps a user. If the map cannot be read,
 * it does not. */
static int daxpin_user_is_mapped(uid_t uid)
{
    FILE *file = fopen("/proc/self/uid_map", "re");
    unsigned first, outside, count;
    int found = 0;

    while ((file != NULL) && !found &&
           (fscanf(file, "%u %u %u", &first, &outside, &count) == 3)) {
        found = (uid >= first) && (uid - first < count);
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

int daxpin_user_is_known(uid_t uid)
{
    return (uid != daxpin_user_overflow()) || daxpin_user_is_mapped(uid);
}
