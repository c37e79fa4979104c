/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory without a name that processes of a node share: its descriptor, offered
 * by one process and fetched by the others */

#include "offer.h"

#include "address.h"
#include "clock.h"
#include "log.h"
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OFFER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define OFFER_BOUND (2 * DAXPIN_SEC)

struct daxpin_offer {
    daxpin_address_t address;
    int              fd;
};

/* The descriptor comes with it */
typedef struct offer_packet {
    daxpin_offer_id_t id;
} offer_packet_t;

static int offer_get_id(int fd, daxpin_offer_id_t *id)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    id->dev  = st.st_dev;
    id->ino  = st.st_ino;
    id->size = (uint64_t)st.st_size;
    return 0;
}

static int offer_is_same(const daxpin_offer_id_t *left,
                         const daxpin_offer_id_t *right)
{
    return (left->dev == right->dev) && (left->ino == right->ino) &&
           (left->size == right->size);
}

/* Listen at the address of an offer. A process that removes old names has the
 * lock of each for a moment, also of one that was just made. */
static int offer_listen(const daxpin_offer_id_t *id, daxpin_address_t *address)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    const uint64_t deadline     = daxpin_now() + OFFER_BOUND;
    int ret;

    while (((ret = daxpin_address_listen(id->dev, id->ino, -1, address)) ==
            -EADDRINUSE) && (daxpin_now() < deadline)) {
        nanosleep(&pause, NULL);
    }
    return ret;
}

int daxpin_offer_open(int fd, daxpin_offer_id_t *id, daxpin_offer_t **offer_p)
{
    daxpin_offer_t *offer;
    int ret;

    if (fcntl(fd, F_ADD_SEALS, OFFER_SEALS) != 0) {
        return daxpin_error(errno, "cannot seal memory that processes are to "
                            "share: %m");
    }
    ret = offer_get_id(fd, id);
    if (ret != 0) {
        return daxpin_error(-ret, "cannot stat memory that processes are to "
                            "share: %s", strerror(-ret));
    }
    offer = malloc(sizeof(*offer));
    if (offer == NULL) {
        return daxpin_error(ENOMEM, "cannot offer memory to other processes: "
                            "no memory");
    }
    ret = offer_listen(id, &offer->address);
    if (ret != 0) {
        free(offer);
        return (ret != -EADDRINUSE) ? ret :
               daxpin_error(EADDRINUSE, "cannot offer memory to other "
                            "processes: another process has its address, "
                            "%lx-%lx", id->dev, id->ino);
    }
    offer->fd = fd;
    *offer_p  = offer;
    return 0;
}

/* Send to a process that has connected. It reads the packet also after the
 * close. */
static void offer_send(const daxpin_offer_t *offer, int sock)
{
    offer_packet_t packet;
    pid_t pid;
    int ret;

    if (!daxpin_socket_is_same_user(sock, &pid)) {
        daxpin_log(DAXPIN_LOG_WARN, "refused memory of this process to a "
                   "process of another user");
        return;
    }
    ret = offer_get_id(offer->fd, &packet.id);
    if (ret == 0) {
        ret = daxpin_socket_send(sock, &packet, sizeof(packet), &offer->fd, 1);
    }
    if (ret != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "cannot send the descriptor of memory that "
                   "processes share: %s", strerror(-ret));
    }
}

void daxpin_offer_serve(daxpin_offer_t *offer)
{
    int sock;

    while ((sock = accept4(offer->address.listen_fd, NULL, NULL,
                           SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        offer_send(offer, sock);
        close(sock);
    }
}

void daxpin_offer_close(daxpin_offer_t *offer)
{
    if (offer != NULL) {
        daxpin_address_close(&offer->address);
        free(offer);
    }
}

/* Wait for a packet, or for the end of the connection. Return 0, or -errno
 * without a message. */
static int offer_wait(int sock, uint64_t deadline)
{
    struct pollfd item = {.fd = sock, .events = POLLIN};
    uint64_t now;
    int ret;

    do {
        now = daxpin_now();
        ret = poll(&item, 1, (now < deadline) ?
                   (int)((deadline - now) / DAXPIN_MSEC) + 1 : 0);
    } while ((ret < 0) && (errno == EINTR));
    return (ret > 0) ? 0 : (ret == 0) ? -ETIMEDOUT : -errno;
}

/* Receive the descriptor. Return it, or -errno without a message. */
static int offer_receive(int sock, uint64_t deadline)
{
    offer_packet_t packet;
    ssize_t length;
    pid_t pid;
    int fd, ret;

    if (!daxpin_socket_is_same_user(sock, &pid)) {
        return -EPERM;
    }
    ret = offer_wait(sock, deadline);
    if (ret != 0) {
        return ret;
    }
    length = daxpin_socket_receive(sock, &packet, sizeof(packet), &fd, 1);
    if ((length >= 0) && (fd >= 0) && (length != sizeof(packet))) {
        close(fd);
        fd = -1;
    }
    return (length < 0) ? (int)length : (length == 0) ? -ECONNRESET :
           (fd < 0) ? -EPROTO : fd;
}

/* Return whether a descriptor is of what was offered, and cannot fault. */
static int offer_is_good(int fd, const daxpin_offer_id_t *id)
{
    const int seals = fcntl(fd, F_GET_SEALS); /* -1: a file that has none */
    daxpin_offer_id_t is;

    return (offer_get_id(fd, &is) == 0) && offer_is_same(&is, id) &&
           (seals >= 0) && ((seals & OFFER_SEALS) == OFFER_SEALS);
}

static int offer_explain(int ret, const daxpin_offer_id_t *id)
{
    return daxpin_error(-ret, "cannot fetch memory that another process "
                        "offers at %lx-%lx: %s", id->dev, id->ino,
                        (ret == -ECONNREFUSED) ? "no process listens there" :
                        (ret == -EPERM) ? "another user listens there" :
                        (ret == -ETIMEDOUT) ? "it did not answer in time" :
                        (ret == -ECONNRESET) ? "it refused" :
                        (ret == -EPROTO) ? "it sent no descriptor; check the "
                        "limit of open files (ulimit -n)" :
                        (ret == -ESTALE) ? "it sent another file" :
                        strerror(-ret));
}

int daxpin_offer_fetch(const daxpin_offer_id_t *id, unsigned timeout_ms)
{
    const uint64_t deadline = daxpin_now() + timeout_ms * DAXPIN_MSEC;
    int sock, fd;

    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0) {
        return offer_explain(-errno, id);
    }
    fd = daxpin_address_connect(id->dev, id->ino, sock, deadline);
    if ((fd != 0) && (fd != -ECONNREFUSED) && (fd != -ETIMEDOUT)) {
        close(sock);
        return fd; /* It has a message */
    }
    if (fd == 0) {
        fd = offer_receive(sock, deadline);
    }
    close(sock);
    if ((fd >= 0) && !offer_is_good(fd, id)) {
        close(fd);
        fd = -ESTALE;
    }
    return (fd >= 0) ? fd : offer_explain(fd, id);
}
