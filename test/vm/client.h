/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A client of the guard daemon, without libdaxpin. */

#ifndef CLIENT_H_
#define CLIENT_H_

#include "result.h"

#include <wire/guardd.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static UNUSED const char *socket_path; /* of the daemon */

static UNUSED int dial_with(int flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd                     = socket(AF_UNIX, SOCK_SEQPACKET | flags, 0);

    strncpy(address.sun_path, socket_path, sizeof(address.sun_path) - 1);
    if (connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) {
        close(fd); /* It does not change errno */
        return -1;
    }
    return fd;
}

/* Connect, when the daemon has room for one more connection of this user. */
static UNUSED int dial(void)
{
    int i, fd = dial_with(0);

    for (i = 0; (i < 6000) && (fd < 0) && (errno == EAGAIN); ++i) {
        pause_ms(10);
        fd = dial_with(0);
    }
    return fd;
}

/* Connect, if the daemon has room now. */
static UNUSED int dial_now(void)
{
    const int fd = dial_with(SOCK_NONBLOCK);

    if (fd >= 0) {
        fcntl(fd, F_SETFL, 0);
    }
    return fd;
}

static UNUSED int say(int sock, int type, const daxpin_guard_range_t *ranges,
                      uint32_t count, int fd)
{
    daxpin_guard_message_t message = {
        .head = {.magic   = DAXPIN_GUARD_MAGIC,
                 .version = DAXPIN_GUARD_VERSION,
                 .type    = (uint16_t)type,
                 .count   = count}
    };
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } ancillary       = {.space = {0}};
    struct iovec iov  = {&message, DAXPIN_GUARD_SIZE(count)};
    struct msghdr all = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        memcpy(message.ranges, ranges, count * sizeof(*ranges));
    }
    if (fd >= 0) {
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type  = SCM_RIGHTS;
        ancillary.header.cmsg_len   = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(int));
        all.msg_control    = &ancillary;
        all.msg_controllen = sizeof(ancillary);
    }
    return sendmsg(sock, &all, MSG_NOSIGNAL) > 0;
}

/* Return the error of an answer; -1: the daemon has closed the connection. */
static UNUSED int hear(int sock)
{
    daxpin_guard_head_t answer;

    if (recv(sock, &answer, sizeof(answer), 0) != sizeof(answer)) {
        return -1;
    }
    return (int)answer.error;
}

static UNUSED int ask(int sock, int type, const daxpin_guard_range_t *ranges,
                      uint32_t count, int fd)
{
    return say(sock, type, ranges, count, fd) ? hear(sock) : -1;
}

static UNUSED int add(int sock, uint64_t start, uint64_t end)
{
    const daxpin_guard_range_t range = {start, end};

    return ask(sock, DAXPIN_GUARD_ADD, &range, 1, -1);
}

/* Truncate a file as soon as the daemon lets it. Return whether that was within
 * 5 s. */
static UNUSED int truncates_soon(const char *name)
{
    int i;

    for (i = 0; (i < 500) && (truncate(name, 0) != 0); ++i) {
        pause_ms(10);
    }
    return i < 500;
}

#endif
