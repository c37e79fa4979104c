/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory without a name that one process offers and others fetch */

#include "child.h"

#include "daxpin/os/address.h"
#include "daxpin/os/memfd.h"
#include "daxpin/os/offer.h"
#include "daxpin/os/socket.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define OFFER_SIZE 8192u

/* What another thread does while this one fetches */
typedef struct offer_server {
    pthread_t        thread;
    daxpin_offer_t   *offer;   /* to serve; NULL: accept by hand */
    daxpin_address_t address;
    int              send_fd;  /* by hand: what to send; -1: hang up */
    _Atomic int      stop;
} offer_server_t;

/* Create memory, and have this process meet itself in a new directory. */
static int offer_memfd(void)
{
    int fd = daxpin_memfd_create("offer", MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, OFFER_SIZE), 0);
    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR", unit_path(unit_memory, "run"),
                            1), 0);
    return fd;
}

static void offer_answer(const offer_server_t *server)
{
    const daxpin_offer_id_t id = {0};
    int sock = accept(server->address.listen_fd, NULL, NULL);

    if (sock < 0) {
        return;
    }
    if (server->send_fd >= 0) {
        daxpin_socket_send(sock, &id, sizeof(id), &server->send_fd, 1);
    }
    close(sock);
}

static _Atomic int offer_is_swept;

static void *offer_serve(void *arg)
{
    offer_server_t *server = arg;

    while (!atomic_load(&server->stop)) {
        if (server->offer != NULL) {
            daxpin_offer_serve(server->offer);
        } else {
            offer_answer(server);
        }
        unit_sleep_ms(1);
    }
    return NULL;
}

static void offer_start(offer_server_t *server)
{
    atomic_store(&server->stop, 0);
    assert_int_equal(pthread_create(&server->thread, NULL, offer_serve, server),
                     0);
}

static void offer_stop(offer_server_t *server)
{
    atomic_store(&server->stop, 1);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
}

static int offer_fetch(const daxpin_offer_id_t *id)
{
    return daxpin_offer_fetch(id, 10000 * unit_slow());
}

static void test_fetch(void **state)
{
    offer_server_t server = {.send_fd = -1};
    int fd = offer_memfd(), got, i;
    daxpin_offer_id_t id;
    char byte = 0;

    assert_int_equal(daxpin_offer_open(fd, &id, &server.offer), 0);
    assert_int_equal(id.size, OFFER_SIZE);
    offer_start(&server);
    for (i = 0; i < 100; ++i) {
        got = offer_fetch(&id);
        assert_true(got >= 0);
        assert_int_equal(pwrite(fd, "x", 1, i), 1);
        assert_int_equal(pread(got, &byte, 1, i), 1);
        assert_int_equal(byte, 'x');
        /* Nobody can make an access to it fault */
        assert_int_not_equal(ftruncate(got, 0), 0);
        assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
        close(got);
    }
    offer_stop(&server);
    daxpin_offer_close(server.offer);
    close(fd);
    (void)state;
}

static void test_nobody(void **state)
{
    int fd = offer_memfd();
    daxpin_offer_t *offer, *other;
    daxpin_offer_id_t id;

    assert_int_equal(daxpin_offer_open(fd, &id, &offer), 0);
    assert_int_equal(daxpin_offer_open(fd, &id, &other), -EADDRINUSE);
    /* It listens, and does not serve */
    assert_int_equal(daxpin_offer_fetch(&id, 50), -ETIMEDOUT);
    assert_message("did not answer in time");
    daxpin_offer_close(offer);
    assert_int_equal(offer_fetch(&id), -ECONNREFUSED);
    assert_message("no process listens there");
    daxpin_offer_close(NULL);
    close(fd);
    (void)state;
}

static void *offer_sweep(void *arg)
{
    const daxpin_offer_id_t *id = arg;
    daxpin_address_t address;

    assert_int_equal(daxpin_address_listen(id->dev, id->ino, -1, &address), 0);
    atomic_store(&offer_is_swept, 1);
    unit_sleep_ms(100);
    daxpin_address_close(&address);
    return NULL;
}

/* Another process looks whether the address can be removed, and has its lock
 * for a moment. */
static void test_locked_for_a_moment(void **state)
{
    int fd = offer_memfd();
    daxpin_offer_id_t id;
    daxpin_offer_t *offer;
    pthread_t thread;

    assert_int_equal(daxpin_offer_open(fd, &id, &offer), 0);
    daxpin_offer_close(offer);
    assert_int_equal(pthread_create(&thread, NULL, offer_sweep, &id), 0);
    assert_true(unit_await(10000, atomic_load(&offer_is_swept)));
    assert_int_equal(daxpin_offer_open(fd, &id, &offer), 0);
    pthread_join(thread, NULL);
    daxpin_offer_close(offer);
    close(fd);
    (void)state;
}

/* What arrives is not what was meant: as when a number of a descriptor is of
 * another process. */
static void offer_cheat(int send_fd, const daxpin_offer_id_t *id, int wanted)
{
    offer_server_t server = {.send_fd = send_fd};

    assert_int_equal(daxpin_address_listen(id->dev, id->ino, -1,
                                           &server.address),
                     0);
    offer_start(&server);
    assert_int_equal(offer_fetch(id), wanted);
    offer_stop(&server);
    daxpin_address_close(&server.address);
}

static void test_other_file(void **state)
{
    int fd = offer_memfd(), other = offer_memfd();
    daxpin_offer_id_t id, longer;
    daxpin_offer_t *offer;
    struct stat st;

    assert_int_equal(daxpin_offer_open(fd, &id, &offer), 0);
    daxpin_offer_close(offer);
    longer       = id;
    longer.size += 1;
    offer_cheat(other, &id, -ESTALE);
    assert_message("sent another file");
    offer_cheat(fd, &longer, -ESTALE);
    offer_cheat(-1, &id, -ECONNRESET);
    /* The right file, if it could not be cut */
    assert_int_equal(fstat(other, &st), 0);
    id.ino = st.st_ino;
    offer_cheat(other, &id, -ESTALE);
    close(other);
    close(fd);
    (void)state;
}

static void test_cannot_seal(void **state)
{
    int fd = open(unit_path(unit_disk, "plain"), O_RDWR | O_CREAT, 0600);
    daxpin_offer_t *offer = NULL;
    daxpin_offer_id_t id;

    assert_true(fd >= 0);
    assert_true(daxpin_offer_open(fd, &id, &offer) < 0);
    assert_message("cannot seal memory");
    assert_null(offer);
    close(fd);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {
        unit_case(test_fetch),
        unit_case(test_nobody),
        unit_case(test_locked_for_a_moment),
        unit_case(test_other_file),
        unit_case(test_cannot_seal)
    };

    return unit_main("offer", argc, argv, children, tests);
}
