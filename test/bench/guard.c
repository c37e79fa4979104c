/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What the guard costs a put: one origin with two contexts, one with the guard
 * and one without, in turns.
 *
 * usage: guard FILE; prints: BYTES GUARDED_NS UNGUARDED_NS
 */

#define _GNU_SOURCE

#include "peer.h"
#include "stats.h"

#include <signal.h>
#include <sys/wait.h>

#define LENGTH 65536
#define ROUNDS 101

static double put_ns(peer_t *peer, const target_t *target, const void *buffer,
                     size_t bytes, int count)
{
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        if (ucp_put_nbi(peer->ep, buffer, bytes, target->base, peer->rkey) <
            0) {
            fprintf(stderr, "put failed\n");
            exit(1);
        }
    }
    peer_check(peer_flush(peer), "flush");
    return (now() - start) * 1e9 / count;
}

static void measure(peer_t *guarded, peer_t *unguarded, const target_t *target,
                    size_t bytes, int count)
{
    static uint8_t buffer[LENGTH];
    double with[ROUNDS], without[ROUNDS];
    int i;

    put_ns(guarded, target, buffer, bytes, count);
    put_ns(unguarded, target, buffer, bytes, count);
    for (i = 0; i < ROUNDS; ++i) {
        with[i]    = put_ns(guarded, target, buffer, bytes, count);
        without[i] = put_ns(unguarded, target, buffer, bytes, count);
    }
    printf("%zu %.2f %.2f\n", bytes, median(with, ROUNDS),
           median(without, ROUNDS));
}

static int origin(const target_t *target)
{
    peer_t guarded, unguarded;

    peer_init(&guarded, "y");
    peer_init(&unguarded, "n");
    peer_connect(&guarded, target);
    peer_connect(&unguarded, target);
    measure(&guarded, &unguarded, target, 8, 20000);
    measure(&guarded, &unguarded, target, 4096, 2000);
    return 0;
}

int main(int argc, char **argv)
{
    target_t *target     = shared_memory(sizeof(*target));
    _Atomic int *exposed = shared_memory(sizeof(*exposed));
    int status           = -1;
    peer_t peer;
    pid_t child;

    if (argc != 2) {
        fprintf(stderr, "usage: guard FILE\n");
        return 2;
    }

    child = fork();
    if (child == 0) {
        while (!atomic_load(exposed)) {
            usleep(1000);
        }
        exit(origin(target));
    }

    peer_init(&peer, NULL);
    peer_expose(&peer, map_file(argv[1], LENGTH), LENGTH, target);
    atomic_store(exposed, 1);
    while (waitpid(child, &status, WNOHANG) == 0) {
        ucp_worker_progress(peer.worker);
        usleep(1000);
    }
    return (status == 0) ? 0 : 1;
}
