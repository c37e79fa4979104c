/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What a put costs: by daxpin into a file under a lease, and by UCX's posix into
 * anonymous memory, from one origin with two contexts, in turns.
 *
 * usage: put FILE; prints: BYTES FILE_NS POSIX_NS
 */

#define _GNU_SOURCE

#include "peer.h"
#include "stats.h"

#include <signal.h>
#include <sys/wait.h>

#define LENGTH 65536
#define ROUNDS 101

enum { BY_DAXPIN, BY_POSIX, KINDS };

static const char *const kind_tls[] = {"daxpin,self,tcp", "posix"};

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

static void measure(peer_t *peers, const target_t *targets, size_t bytes,
                    int count)
{
    static uint8_t buffer[LENGTH];
    double ns[KINDS][ROUNDS];
    int i, kind;

    for (i = -1; i < ROUNDS; ++i) { /* round -1 warms up */
        for (kind = 0; kind < KINDS; ++kind) {
            ns[kind][(i < 0) ? 0 : i] = put_ns(&peers[kind], &targets[kind],
                                               buffer, bytes, count);
        }
    }
    printf("%zu %.2f %.2f\n", bytes, median(ns[BY_DAXPIN], ROUNDS),
           median(ns[BY_POSIX], ROUNDS));
}

static int origin(const target_t *targets)
{
    peer_t peers[KINDS];
    int kind;

    for (kind = 0; kind < KINDS; ++kind) {
        peer_init(&peers[kind], kind_tls[kind]);
        peer_connect(&peers[kind], &targets[kind]);
    }
    measure(peers, targets, 8, 20000);
    measure(peers, targets, 4096, 2000);
    return 0;
}

int main(int argc, char **argv)
{
    target_t *targets    = shared_memory(KINDS * sizeof(*targets));
    _Atomic int *exposed = shared_memory(sizeof(*exposed));
    int status           = -1;
    peer_t peers[KINDS];
    pid_t child;
    int kind;

    if (argc != 2) {
        fprintf(stderr, "usage: put FILE\n");
        return 2;
    }

    child = fork();
    if (child == 0) {
        while (!atomic_load(exposed)) {
            usleep(1000);
        }
        exit(origin(targets));
    }

    for (kind = 0; kind < KINDS; ++kind) {
        peer_init(&peers[kind], kind_tls[kind]);
        peer_expose(&peers[kind], (kind == BY_POSIX) ? NULL :
                    map_file(argv[1], LENGTH), LENGTH, &targets[kind]);
    }
    atomic_store(exposed, 1);
    while (waitpid(child, &status, WNOHANG) == 0) {
        for (kind = 0; kind < KINDS; ++kind) {
            ucp_worker_progress(peers[kind].worker);
        }
        usleep(1000);
    }
    return (status == 0) ? 0 : 1;
}
