/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* How a process becomes a member */

#include "join.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/socket.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAXPIN_WELCOME_BOUND (5 * DAXPIN_SEC) /* at least */

void daxpin_welcome_discard(daxpin_welcome_t *welcome)
{
    if (welcome->fd >= 0) {
        close(welcome->fd);
        close(welcome->control_fd);
    }
    close(welcome->sock);
}

/* Is this the file that was asked for, writable, with a live holder? */
static int daxpin_join_check_file(const char *name, const daxpin_key_t *key,
                                  const daxpin_welcome_t *welcome)
{
    struct stat st;

    if ((welcome->fd < 0) || (fstat(welcome->fd, &st) != 0) ||
        !S_ISREG(st.st_mode) || (st.st_dev != key->dev) ||
        (st.st_ino != key->ino) ||
        ((fcntl(welcome->fd, F_GETFL) & O_ACCMODE) != O_RDWR)) {
        return daxpin_error(EPROTO, "%s: pid %d, which should be its holder, "
                            "sent a descriptor of something else", name,
                            (int)welcome->pid);
    }
    return 0;
}

/* Wait for the answer. A holder that makes room in the file first takes as long
 * as that. Return whether there is one. */
static int daxpin_join_await(int sock, uint64_t deadline)
{
    struct pollfd pollfd = {.fd = sock, .events = POLLIN};
    uint64_t now         = daxpin_now();
    int ret;

    if (deadline < now + DAXPIN_WELCOME_BOUND) {
        deadline = now + DAXPIN_WELCOME_BOUND;
    }
    do {
        now = daxpin_now();
        ret = (now < deadline) ?
              poll(&pollfd, 1, (int)((deadline - now) / DAXPIN_MSEC) + 1) : 0;
    } while ((ret < 0) && (errno == EINTR));
    return ret != 0;
}

static int daxpin_join_receive(const char *name, const daxpin_key_t *key,
                               uint64_t deadline, daxpin_welcome_t *welcome)
{
    daxpin_message_t message;
    ssize_t length;
    int fds[2];

    if (!daxpin_join_await(welcome->sock, deadline)) {
        return daxpin_error(ETIMEDOUT, "%s: its holder (pid %d) does not "
                            "answer; is it stopped, or still making room in "
                            "the file?", name, (int)welcome->pid);
    }
    length = daxpin_socket_receive(welcome->sock, &message, sizeof(message),
                                   fds, 2);
    if (length <= 0) {
        return -ECONNRESET; /* It has just gone, or found us too slow */
    }
    welcome->fd         = fds[0];
    welcome->control_fd = fds[1];
    if (!daxpin_message_is_valid(&message, length)) {
        return daxpin_error(EPROTO, "%s: its holder (pid %d) speaks another "
                            "version of daxpin; use one version on a node",
                            name, (int)welcome->pid);
    }
    if (message.type == DAXPIN_MESSAGE_STALE) {
        return daxpin_error(ESTALE, "%s: the remote key is of an earlier life "
                            "of the file, which was revoked or closed; make "
                            "the window anew", name);
    }
    welcome->generation = message.generation;
    return daxpin_join_check_file(name, key, welcome);
}

/* Connect, and check that the process that listens is of this user. */
static int daxpin_join_connect(const char *name, const daxpin_key_t *key,
                               daxpin_welcome_t *welcome)
{
    int ret = daxpin_message_connect(key->dev, key->ino, welcome->sock);

    if (ret != 0) {
        errno = -ret;
        return (ret == -ECONNREFUSED) ? ret :
               daxpin_error(errno, "%s: cannot reach its holder: %m", name);
    }
    if (!daxpin_message_is_same_user(welcome->sock, &welcome->pid)) {
        return daxpin_error(EPERM, "%s: pid %d of another user sits on the "
                            "address of its holder; have it removed", name,
                            (int)welcome->pid);
    }
    return 0;
}

int daxpin_join(const char *name, const daxpin_key_t *key, int join,
                uint64_t deadline, daxpin_welcome_t *welcome)
{
    int ret;

    welcome->fd         = -1;
    welcome->control_fd = -1;
    welcome->sock       = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (welcome->sock < 0) {
        return daxpin_error(errno, "%s: cannot create a socket: %m", name);
    }
    ret = daxpin_join_connect(name, key, welcome);
    if (ret != 0) {
        goto err;
    }
    ret = daxpin_message_send(welcome->sock, join ? DAXPIN_MESSAGE_JOIN :
                              DAXPIN_MESSAGE_HELLO, key, 0);
    if (ret != 0) {
        ret = -ECONNRESET;
        goto err;
    }
    ret = daxpin_join_receive(name, key, deadline, welcome);
    if (ret != 0) {
        goto err;
    }
    return 0;

err:
    daxpin_welcome_discard(welcome);
    return ret;
}
