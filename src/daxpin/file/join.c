/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* How a process becomes a member */

#include "join.h"

#include "daxpin/os/address.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/log.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/socket.h"
#include "channel.h"
#include "message.h"
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAXPIN_WELCOME_BOUND (5 * DAXPIN_SEC)  /* at least */
#define DAXPIN_LOADED_BOUND  (60 * DAXPIN_SEC) /* while the holder works */
#define DAXPIN_LOADED_STEP   (1 * DAXPIN_SEC)  /* between the first two looks */

/* The bound of a wait for the holder. On a busy machine a holder may get no
 * processor for seconds, just as this process. So the bound grows while the
 * holder works, but not for ever: it may work without an answer. */
typedef struct daxpin_join_bound {
    uint64_t until;    /* wait, then look at the holder */
    uint64_t deadline; /* before the bound grows */
    uint64_t last;     /* it does not grow behind that */
    uint64_t used;     /* of daxpin_proc_works() */
    int      looked;   /* at the holder */
} daxpin_join_bound_t;

static void daxpin_join_bound_init(daxpin_join_bound_t *bound,
                                   uint64_t deadline)
{
    const uint64_t now   = daxpin_now();
    const uint64_t least = now + DAXPIN_WELCOME_BOUND;
    const uint64_t last  = now + DAXPIN_LOADED_BOUND;

    bound->deadline = (deadline > least) ? deadline : least;
    bound->last     = (deadline > last) ? deadline : last;
    bound->until    = bound->deadline - DAXPIN_LOADED_STEP;
    bound->used     = 0;
    bound->looked   = 0;
}

/* Return whether to wait on. What a holder does is known by the second look, and
 * nothing is looked at if the answer comes in time. */
static int daxpin_join_bound_grow(daxpin_join_bound_t *bound, pid_t holder)
{
    const int looked = bound->looked;
    uint64_t now     = daxpin_now();
    int works;

    if (now >= bound->last) {
        return 0;
    }
    works         = daxpin_proc_works(holder, &bound->used);
    bound->looked = 1;
    bound->until  = looked ? now + DAXPIN_WELCOME_BOUND : bound->deadline;
    return works || !looked;
}

/* Write the holder, for a message. Return the buffer. */
static const char *daxpin_welcome_holder(const daxpin_welcome_t *welcome,
                                         char *buffer, size_t size)
{
    buffer[0] = '\0';
    daxpin_proc_describe(welcome->pid, buffer, size);
    return buffer;
}

static void daxpin_welcome_close_one(int *fd_p)
{
    const int fd = *fd_p;

    *fd_p = -1;
    if (fd >= 0) {
        close(fd);
    }
}

void daxpin_welcome_forget(daxpin_welcome_t *welcome)
{
    *welcome = (daxpin_welcome_t)DAXPIN_WELCOME_NONE;
}

void daxpin_welcome_close(daxpin_welcome_t *welcome)
{
    const int fd = welcome->fd;

    welcome->fd = -1;
    if (fd >= 0) {
        daxpin_close(fd);
    }
    daxpin_welcome_close_one(&welcome->control_fd);
    daxpin_welcome_close_one(&welcome->watch_fd);
    daxpin_welcome_close_one(&welcome->roster_fd);
    daxpin_welcome_close_one(&welcome->sock);
}

void daxpin_welcome_discard(daxpin_welcome_t *welcome)
{
    pthread_mutex_lock(&daxpin_mutex); /* so no fork comes in between */
    daxpin_welcome_close(welcome);
    daxpin_share_forgo(welcome->conn);
    welcome->conn = NULL;
    pthread_mutex_unlock(&daxpin_mutex);
}

/* A child has no record locks that a close could end */
void daxpin_welcome_fork(daxpin_welcome_t *welcome)
{
    daxpin_welcome_close_one(&welcome->fd);
    daxpin_welcome_close(welcome);
    welcome->conn = NULL;
}

/* Check by which channel messages come. Return 0, or -errno with a message. */
static int daxpin_join_check_channel(const char *name,
                                     const daxpin_message_t *message,
                                     daxpin_welcome_t *welcome)
{
    const daxpin_conn_t *conn = welcome->conn;
    char holder[128];

    if ((message->token != conn->token) ||
        ((message->channel != 0) && (message->channel != conn->named))) {
        return daxpin_error(EPROTO, "%s: cannot join its holder: %s sent the "
                            "answer to another process; end that process",
                            name, daxpin_welcome_holder(welcome, holder,
                                                        sizeof(holder)));
    }
    if (message->channel != 0) {
        daxpin_welcome_close_one(&welcome->sock);
    }
    return 0;
}

/* Check that the holder sent the requested file, open for writing. Return 0, or
 * -errno with a message. */
static int daxpin_join_check_file(const char *name, const daxpin_key_t *key,
                                  const daxpin_welcome_t *welcome)
{
    char holder[128];
    struct stat st;

    if ((welcome->fd < 0) || (welcome->control_fd < 0) ||
        (welcome->roster_fd < 0) ||
        (fstat(welcome->fd, &st) != 0) || !S_ISREG(st.st_mode) ||
        (st.st_dev != key->dev) || (st.st_ino != key->ino) ||
        ((fcntl(welcome->fd, F_GETFL) & O_ACCMODE) != O_RDWR)) {
        return daxpin_error(EPROTO, "%s: cannot join its holder: %s sent the "
                            "descriptor of another file; end that process",
                            name, daxpin_welcome_holder(welcome, holder,
                                                        sizeof(holder)));
    }
    return 0;
}

/* Wait for the answer, which is late if the holder allocates blocks of the file
 * first. Return whether there is an answer. */
static int daxpin_join_await_until(int sock, uint64_t deadline)
{
    struct pollfd pollfd = {.fd = sock, .events = POLLIN};
    uint64_t now;
    int ret;

    do {
        now = daxpin_now();
        ret = (now < deadline) ?
              poll(&pollfd, 1, (int)((deadline - now) / DAXPIN_MSEC) + 1) : 0;
    } while ((ret < 0) && (errno == EINTR));
    return ret != 0;
}

static int daxpin_join_await(const daxpin_welcome_t *welcome,
                             daxpin_join_bound_t *bound)
{
    int ret;

    do {
        ret = daxpin_join_await_until(welcome->sock, bound->until);
    } while (!ret && daxpin_join_bound_grow(bound, welcome->pid));
    return ret;
}

/* Say why the holder has refused. Released is for as long as it likes, so that to
 * try again is up to the program. */
static int daxpin_join_stale(const char *name, const daxpin_key_t *key,
                             const daxpin_message_t *message,
                             const daxpin_welcome_t *welcome)
{
    char holder[128];

    daxpin_welcome_holder(welcome, holder, sizeof(holder));
    if (message->value != 0) {
        return daxpin_error((key->generation == 0) ? ECANCELED : ESTALE,
                            "%s: cannot join: its holder (%s) has released the "
                            "lease; open the file again when that process has "
                            "closed it", name, holder);
    }
    if (key->generation == 0) {
        return daxpin_error(ESTALE, "%s: cannot join: its holder (%s) ends "
                            "access to it; open the file again", name, holder);
    }
    return daxpin_error(ESTALE, "%s: cannot use the remote key: it is of an "
                        "earlier life of the file, which was revoked or "
                        "closed; create the window again", name);
}

int daxpin_join_receive(const char *name, const daxpin_key_t *key,
                        daxpin_welcome_t *welcome)
{
    daxpin_message_t message;
    char holder[128];
    ssize_t length;
    int fds[4], ret;

    length = daxpin_socket_receive(welcome->sock, &message, sizeof(message),
                                   fds, 4);
    if ((length == -EAGAIN) || (length == -EINTR)) {
        return -EAGAIN;
    }
    if (length <= 0) {
        return -ECONNRESET; /* It has just exited, or has timed out */
    }
    daxpin_welcome_holder(welcome, holder, sizeof(holder));
    welcome->fd         = fds[0];
    welcome->control_fd = fds[1];
    welcome->watch_fd   = fds[2];
    welcome->roster_fd  = fds[3];
    if (!daxpin_message_is_valid(&message, length)) {
        return daxpin_error(EPROTO, "%s: cannot join its holder: %s uses "
                            "another version of daxpin; use one version on a "
                            "node", name, holder);
    }
    if (message.type == DAXPIN_MESSAGE_BUSY) {
        daxpin_error(EBUSY, "%s: cannot join its holder: %s cannot accept a "
                     "member: %s; raise its limit of open files (ulimit -n)",
                     name, holder, strerror((int)message.value));
        return -EBUSY;
    }
    if (message.type == DAXPIN_MESSAGE_STALE) {
        return daxpin_join_stale(name, key, &message, welcome);
    }
    welcome->watch = message.value;
    if (message.value == 0) {
        daxpin_welcome_close_one(&welcome->watch_fd);
    }
    welcome->generation = message.generation;
    ret = daxpin_join_check_file(name, key, welcome);
    return (ret != 0) ? ret :
           daxpin_join_check_channel(name, &message, welcome);
}

/* Connect a new socket, and check that the process that listens is of this user.
 */
static int daxpin_join_connect_sock(const char *name, const daxpin_key_t *key,
                                    daxpin_join_bound_t *bound,
                                    daxpin_welcome_t *welcome)
{
    char holder[128];
    int ret;

    do {
        ret = daxpin_address_connect(key->dev, key->ino, welcome->sock,
                                     bound->until);
    } while ((ret == -ETIMEDOUT) &&
             daxpin_join_bound_grow(bound, daxpin_address_owner(key->dev,
                                                                key->ino)));
    if (ret == -ETIMEDOUT) {
        daxpin_address_describe(key->dev, key->ino, holder, sizeof(holder));
        return daxpin_error(ETIMEDOUT, "%s: cannot join its holder: %s does "
                            "not accept connections; check whether it is "
                            "stopped", name, holder);
    }
    if (ret != 0) {
        return ret;
    }
    if (!daxpin_socket_is_same_user(welcome->sock, &welcome->pid)) {
        return daxpin_error(EPERM, "%s: cannot join its holder: %s of another "
                            "user listens at its address; have that process "
                            "ended", name,
                            daxpin_welcome_holder(welcome, holder,
                                                  sizeof(holder)));
    }
    return 0;
}

static int daxpin_join_connect_within(const char *name,
                                      const daxpin_key_t *key,
                                      daxpin_join_bound_t *bound,
                                      daxpin_welcome_t *welcome)
{
    int ret;

    daxpin_welcome_forget(welcome);
    welcome->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
                           SOCK_NONBLOCK, 0);
    if (welcome->sock < 0) {
        return daxpin_error(errno, "%s: cannot create a socket: %m", name);
    }
    ret = daxpin_join_connect_sock(name, key, bound, welcome);
    if (ret != 0) {
        daxpin_welcome_close_one(&welcome->sock);
    }
    return ret;
}

int daxpin_join_connect(const char *name, const daxpin_key_t *key,
                        uint64_t deadline, daxpin_welcome_t *welcome)
{
    daxpin_join_bound_t bound = {.until = deadline, .last = deadline};

    return daxpin_join_connect_within(name, key, &bound, welcome);
}

int daxpin_join_ask(const char *name, const daxpin_key_t *key, int join,
                    daxpin_welcome_t *welcome)
{
    daxpin_message_t message;

    welcome->conn = daxpin_share_prepare(key, welcome->pid);
    if (welcome->conn == NULL) {
        daxpin_welcome_close_one(&welcome->sock);
        return daxpin_error(ENOMEM, "%s: out of memory", name);
    }
    daxpin_message_init(&message, join ? DAXPIN_MESSAGE_JOIN :
                        DAXPIN_MESSAGE_HELLO, key);
    message.token   = welcome->conn->token;
    message.channel = welcome->conn->named;
    /* If the holder has closed the connection, it may have sent the reason */
    (void)daxpin_socket_send(welcome->sock, &message, sizeof(message), NULL,
                             0);
    return 0;
}

int daxpin_join(const char *name, const daxpin_key_t *key, int join,
                uint64_t deadline, daxpin_welcome_t *welcome)
{
    daxpin_join_bound_t bound;
    char holder[128];
    int ret;

    daxpin_join_bound_init(&bound, deadline);
    ret = daxpin_join_connect_within(name, key, &bound, welcome);
    if (ret == 0) {
        pthread_mutex_lock(&daxpin_mutex);
        ret = daxpin_join_ask(name, key, join, welcome);
        pthread_mutex_unlock(&daxpin_mutex);
    }
    if (ret != 0) {
        return ret;
    }
    ret = -EAGAIN;
    while ((ret == -EAGAIN) && daxpin_join_await(welcome, &bound)) {
        pthread_mutex_lock(&daxpin_mutex); /* so no fork comes in between */
        ret = daxpin_join_receive(name, key, welcome);
        pthread_mutex_unlock(&daxpin_mutex);
    }
    if (ret == -EAGAIN) {
        ret = daxpin_error(ETIMEDOUT, "%s: cannot join its holder: %s does "
                           "not answer; check whether it is stopped, or still "
                           "allocates blocks", name,
                           daxpin_welcome_holder(welcome, holder,
                                                 sizeof(holder)));
    }
    if (ret != 0) {
        daxpin_welcome_discard(welcome);
    }
    return (ret == -ECANCELED) ? -EAGAIN : ret;
}
