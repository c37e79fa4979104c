/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time a put by daxpin beside a put by UCX's posix */

/*
 * usage: put FILE; prints: BYTES FILE_NS POSIX_NS
 *
 * daxpin puts into a file under a lease, posix into anonymous memory. One
 * origin has two contexts, which take turns.
 */

#define _GNU_SOURCE

#include "side.h"
#include "stats.h"

#include <signal.h>
#include <sys/wait.h>

#define LENGTH 65536
#define ROUNDS 101

enum { BY_DAXPIN, BY_POSIX, KINDS };

static const char *const kind_tls[] = {"daxpin,self,tcp", "posix"};

static double put_ns(side_t *side, const target_t *target, const void *buffer,
                     size_t bytes, int count)
{
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        if (ucp_put_nbi(side->ep, buffer, bytes, target->base, side->rkey) <
            0) {
            fprintf(stderr, "put failed\n");
            exit(1);
        }
    }
    side_check(side_flush(side), "flush");
    return (now() - start) * 1e9 / count;
}

static void measure(side_t *sides, const target_t *targets, size_t bytes,
                    int count)
{
    static uint8_t buffer[LENGTH];
    double ns[KINDS][ROUNDS];
    int i, kind;

    for (i = -1; i < ROUNDS; ++i) { /* round -1 warms up */
        for (kind = 0; kind < KINDS; ++kind) {
            ns[kind][(i < 0) ? 0 : i] = put_ns(&sides[kind], &targets[kind],
                                               buffer, bytes, count);
        }
    }
    printf("%zu %.2f %.2f\n", bytes, median(ns[BY_DAXPIN], ROUNDS),
           median(ns[BY_POSIX], ROUNDS));
}

static int origin(const target_t *targets)
{
    side_t sides[KINDS];
    int kind;

    for (kind = 0; kind < KINDS; ++kind) {
        side_init(&sides[kind], kind_tls[kind]);
        side_connect(&sides[kind], &targets[kind]);
    }
    measure(sides, targets, 8, 20000);
    measure(sides, targets, 4096, 2000);
    return 0;
}

int main(int argc, char **argv)
{
    target_t *targets    = shared_memory(KINDS * sizeof(*targets));
    _Atomic int *exposed = shared_memory(sizeof(*exposed));
    int status           = -1;
    side_t sides[KINDS];
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
        side_init(&sides[kind], kind_tls[kind]);
        side_expose(&sides[kind], (kind == BY_POSIX) ? NULL :
                    map_file(argv[1], LENGTH), LENGTH, &targets[kind]);
    }
    atomic_store(exposed, 1);
    while (waitpid(child, &status, WNOHANG) == 0) {
        for (kind = 0; kind < KINDS; ++kind) {
            ucp_worker_progress(sides[kind].worker);
        }
        usleep(1000);
    }
    return (status == 0) ? 0 : 1;
}
