/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time one holder and many origins: attach, put, truncate */

/*
 * usage: many FILE PROCESSES
 * prints: PROCESSES ATTACH_MS TRAFFIC_MS REVOKE_MS TRUNCATE_MS
 *
 * How long it takes until all are attached, until each has made its puts, and
 * until a truncate is done and all have their error; and how long the truncate
 * took.
 */

#define _GNU_SOURCE

#include "side.h"
#include "stats.h"

#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>

#define LENGTH       65536
#define PUTS         20000
#define PATIENCE_SEC 60

/* The step that origins wait for, and how many have done it */
typedef struct stage {
    _Atomic int step;
    _Atomic int done;
    double      truncate_ms; /* from its call to its return */
    target_t    target;
} stage_t;

enum { STEP_INIT = 1, STEP_ATTACH, STEP_TRAFFIC, STEP_REVOKE, STEP_END };

static void wait_for(_Atomic int *word, int value, ucp_worker_h worker)
{
    double end = now() + PATIENCE_SEC;

    while (atomic_load(word) < value) {
        if (worker != NULL) {
            ucp_worker_progress(worker);
        }
        usleep(100);
        if (now() > end) {
            fprintf(stderr, "many: a step takes too long\n");
            exit(1);
        }
    }
}

static ucs_status_t put(side_t *side, const target_t *target, int index)
{
    uint64_t value      = index;
    ucs_status_t status = ucp_put_nbi(side->ep, &value, sizeof(value),
                                      target->base + (index * sizeof(value)),
                                      side->rkey);

    return UCS_STATUS_IS_ERR(status) ? status : side_flush(side);
}

static void origin(stage_t *stage, int index)
{
    side_t side;
    double end;
    int i;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    side_init(&side, NULL);
    atomic_fetch_add(&stage->done, 1);

    wait_for(&stage->step, STEP_ATTACH, NULL);
    side_connect(&side, &stage->target);
    side_check(put(&side, &stage->target, index), "first put");
    atomic_fetch_add(&stage->done, 1);

    wait_for(&stage->step, STEP_TRAFFIC, NULL);
    for (i = 0; i < PUTS; ++i) {
        side_check(put(&side, &stage->target, index), "put");
    }
    atomic_fetch_add(&stage->done, 1);

    wait_for(&stage->step, STEP_REVOKE, NULL);
    end = now() + PATIENCE_SEC;
    while (put(&side, &stage->target, index) == UCS_OK) {
        usleep(100);
        if (now() > end) {
            fprintf(stderr, "many: no error after the truncate\n");
            exit(1);
        }
    }
    atomic_fetch_add(&stage->done, 1);
    wait_for(&stage->step, STEP_END, NULL);
    _exit(0);
}

/* Have all origins do a step, and return how many ms that took */
static double run_step(stage_t *stage, int step, int origins,
                       ucp_worker_h worker)
{
    double start = now();

    atomic_store(&stage->step, step);
    wait_for(&stage->done, origins * step, worker);
    return (now() - start) * 1e3;
}

/* Have another process truncate the file, and return how many ms it took until
 * the truncate was done and all origins had their error */
static double run_revoke(stage_t *stage, int origins, ucp_worker_h worker,
                         const char *path)
{
    double start = now();
    pid_t child  = fork();
    int status   = -1;

    if (child == 0) {
        start  = now();
        status = truncate(path, 0);
        stage->truncate_ms = (now() - start) * 1e3;
        _exit((status == 0) ? 0 : 1);
    }
    run_step(stage, STEP_REVOKE, origins, worker);
    while (waitpid(child, &status, WNOHANG) == 0) {
        usleep(100);
    }
    if (status != 0) {
        fprintf(stderr, "many: truncate failed\n");
        exit(1);
    }
    return (now() - start) * 1e3;
}

int main(int argc, char **argv)
{
    stage_t *stage = shared_memory(sizeof(*stage));
    double attach, traffic, revoke;
    int i, origins;
    side_t side;

    if (argc != 3) {
        fprintf(stderr, "usage: many FILE PROCESSES\n");
        return 2;
    }

    origins = atoi(argv[2]) - 1;
    for (i = 0; i < origins; ++i) {
        if (fork() == 0) {
            origin(stage, i);
        }
    }

    side_init(&side, NULL);
    side_expose(&side, map_file(argv[1], LENGTH), LENGTH, &stage->target);
    run_step(stage, STEP_INIT, origins, side.worker);
    attach  = run_step(stage, STEP_ATTACH, origins, side.worker);
    traffic = run_step(stage, STEP_TRAFFIC, origins, side.worker);
    revoke  = run_revoke(stage, origins, side.worker, argv[1]);
    atomic_store(&stage->step, STEP_END);
    while (wait(NULL) > 0) {
    }
    printf("%d %.2f %.2f %.2f %.2f\n", origins + 1, attach, traffic, revoke,
           stage->truncate_ms);
    return 0;
}
