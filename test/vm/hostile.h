/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What a hostile user sends to the guard daemon. */

#ifndef HOSTILE_H_
#define HOSTILE_H_

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* Never reads its answers, connects again and again */
static UNUSED void flood(void)
{
    const daxpin_guard_range_t range = {0, 4096};
    char path[64];
    int i, fd;

    snprintf(path, sizeof(path), "/dev/shm/guardd-flood.%d", getpid());
    fd = open(path, O_RDWR | O_CREAT, 0600);
    if ((fd < 0) || (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)) {
        _exit(1);
    }
    for (;;) {
        int socks[200];

        for (i = 0; i < 200; ++i) {
            socks[i] = dial();
            say(socks[i], DAXPIN_GUARD_FILE, NULL, 0, fd);
        }
        for (i = 0; i < 20000; ++i) {
            if (!say(socks[i % 200], (i % 400 < 200) ? DAXPIN_GUARD_ADD :
                     DAXPIN_GUARD_REMOVE, &range, 1, -1)) {
                close(socks[i % 200]);
                socks[i % 200] = dial();
                say(socks[i % 200], DAXPIN_GUARD_FILE, NULL, 0, fd);
            }
        }
        for (i = 0; i < 200; ++i) {
            close(socks[i]);
        }
    }
}

/* Listen at the loopback device. Return the socket or -1. */
static UNUSED int listen_here(struct sockaddr_in *address)
{
    socklen_t length = sizeof(*address);
    const int sock   = socket(AF_INET, SOCK_STREAM, 0);

    memset(address, 0, sizeof(*address));
    address->sin_family      = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ((bind(sock, (struct sockaddr*)address, length) == 0) &&
            (listen(sock, 1) == 0) &&
            (getsockname(sock, (struct sockaddr*)address, &length) == 0)) ?
                   sock :
                   -1;
}

/* Pass a socket of which the last close() waits for an hour, because nobody reads
 * what was sent. The process that passes it exits at once: an exit does not
 * wait. */
static UNUSED int pass_one(const struct sockaddr_in *address, int conn)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 3600};
    static char block[65536];
    const int sock = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(sock, (const struct sockaddr*)address, sizeof(*address)) != 0) {
        return 0;
    }
    while (send(sock, block, sizeof(block), MSG_DONTWAIT) > 0) {
    }
    return (setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) ==
            0) && say(conn, DAXPIN_GUARD_FILE, NULL, 0, sock);
}

/* Pass one on a connection that ends with an answer which was not read: of that
 * the daemon is told as an error, before it sees the message. */
static UNUSED int pass_unread(int listener, const struct sockaddr_in *address)
{
    struct pollfd conn = {.fd = dial(), .events = POLLIN};
    int fds[2], status;
    pid_t pid;

    if ((conn.fd < 0) || (pipe(fds) != 0) ||
        !say(conn.fd, DAXPIN_GUARD_FILE, NULL, 0, fds[0]) ||
        (poll(&conn, 1, 60000) != 1)) {
        return 0;
    }
    pid = fork();
    if (pid == 0) {
        _exit(!pass_one(address, conn.fd));
    }
    if ((accept(listener, NULL, NULL) < 0) ||
        (waitpid(pid, &status, 0) != pid)) {
        return 0;
    }
    close(conn.fd);
    return status == 0;
}

/* Pass such sockets to the daemon in all places where it may have to close them,
 * and then do nothing. Exits with 1 if that is not possible. */
static UNUSED void pass_lingering(int ready)
{
    struct sockaddr_in address;
    int i, status, listener = listen_here(&address), conn = -1;
    pid_t pid;

    if ((listener >= 0) && !pass_unread(listener, &address)) {
        _exit(1);
    }
    for (i = 0; (listener >= 0) && (i < 24); ++i) {
        if (i % 3 != 2) {
            conn = dial();
        }
        pid = fork();
        if (pid == 0) {
            _exit(!pass_one(&address, conn));
        }
        if ((accept(listener, NULL, NULL) < 0) ||
            (waitpid(pid, &status, 0) != pid) || (status != 0)) {
            _exit(1);
        }
        if (i % 3 == 2) {
            close(conn); /* The message may not have been received */
        }
    }
    (void)!write(ready, "", (listener >= 0) ? 1 : 0);
    pause();
}

/* The server of a file system with one file, its root: it opens that, and then
 * answers nothing. */
static UNUSED void serve_fuse(int fd)
{
    static char buffer[1 << 18];
    struct fuse_in_header *in = (void*)buffer;
    struct {
        struct fuse_out_header head;
        union {
            struct fuse_init_out init;
            struct fuse_open_out open;
            struct fuse_attr_out attr;
        };
    } out;

    while (read(fd, buffer, sizeof(buffer)) > 0) {
        memset(&out, 0, sizeof(out));
        out.head.unique = in->unique;
        out.head.len    = sizeof(out.head);
        switch (in->opcode) {
        case FUSE_INIT:
            out.init.major     = FUSE_KERNEL_VERSION;
            out.init.minor     = FUSE_KERNEL_MINOR_VERSION;
            out.init.max_write = 4096;
            out.head.len      += sizeof(out.init);
            break;
        case FUSE_OPEN:
            out.head.len += sizeof(out.open);
            break;
        default:
            continue;
        }
        (void)!write(fd, &out, out.head.len);
    }
}

/* Return a file of a file system of a user's that does not answer, and its server;
 * -1 if there can be none. */
static UNUSED int open_fuse(const char *where, uid_t user, pid_t *server_p)
{
    char options[128];
    const int fuse = open("/dev/fuse", O_RDWR);
    int fd         = open(where, O_RDWR | O_CREAT, 0666);

    close(fd);
    snprintf(options, sizeof(options), "fd=%d,rootmode=100666,user_id=%d,"
             "group_id=%d,allow_other", fuse, (int)user, (int)user);
    if ((fuse < 0) || (mount("fuse", where, "fuse", 0, options) != 0)) {
        close(fuse);
        return -1;
    }
    *server_p = fork();
    if (*server_p == 0) {
        serve_fuse(fuse);
        _exit(0);
    }
    close(fuse);
    return open(where, O_RDWR);
}

#endif
