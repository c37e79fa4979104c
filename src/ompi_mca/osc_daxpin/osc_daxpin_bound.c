/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Bounds of waits for other ranks. Of a rank of this node the kernel reports
 * whether it has ended. A rank of another node that has ended is found by an
 * access to its memory: when a process ends, the kernel closes its
 * connections, or the device its queue pairs, and the inner component returns
 * an error for each access from then on. It returns none for a process that is
 * stopped, or is busy: the access waits. So does the wait, for the time in
 * osc_daxpin_peer_timeout_ms. If a rank that is stopped is of this node, the user
 * is told.
 *
 * What the inner component waits for itself cannot be given up: osc/ucx waits
 * in a loop for atomic operations, and for one that was under way when the
 * target ended the reply never comes. There the job is ended with a message. A
 * thread does that where Open MPI makes no progress meanwhile: osc/ucx makes
 * none while it finds a lock taken, and each look at the lock is quick.
 */

#include "osc_daxpin_bound.h"

#include "daxpin/os/proc.h"
#include "daxpin/os/thread.h"

#include "osc_daxpin_error.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Between two probes, and how many ranks of other nodes are probed then */
#define OSC_DAXPIN_PROBE_SEC   1.0
#define OSC_DAXPIN_PROBE_RANKS 16

/* For the inner component to return after its target has ended */
#define OSC_DAXPIN_RETURN_SEC 5.0

/* The probes in turn that find a rank stopped before the user is told */
#define OSC_DAXPIN_STOPS 2

/* Tell the user once of a rank of this node that is stopped while this one waits
 * for it. The wait goes on, because the user may want to continue the rank. */
static void osc_daxpin_probe_stopped(osc_daxpin_module_t *module, int rank,
                                     int at)
{
    osc_daxpin_peer_t *peer = &module->peers[rank];
    char what[64] = "", host[64] = "?";

    if (!daxpin_proc_is_stopped(peer->process)) {
        peer->stops = 0;
        return;
    }
    if (++peer->stops != OSC_DAXPIN_STOPS) {
        return;
    }
    if (at >= 0) {
        snprintf(what, sizeof(what), " in the middle of an accumulate at rank "
                 "%d", at);
    }
    gethostname(host, sizeof(host) - 1);
    opal_output(0,
                "osc/daxpin: rank %d: waits for rank %d, pid %d on %s, which "
                "is stopped%s; continue that process (SIGCONT), or end the job",
                module->rank, rank, peer->process, host, what);
}

/* Return the error if a rank of this node has ended. at: as of a bound. */
static int osc_daxpin_probe_process(osc_daxpin_module_t *module, int rank,
                                    int at)
{
    const osc_daxpin_peer_t *peer = &module->peers[rank];

    if ((rank == module->rank) || (peer->process == 0)) {
        return OMPI_SUCCESS;
    }
    if (daxpin_proc_has_ended(peer->process, peer->process_start)) {
        return osc_daxpin_error_gone(module, rank);
    }
    osc_daxpin_probe_stopped(module, rank, at);
    return OMPI_SUCCESS;
}

/* Return the error if a rank of another node has ended. Begin an access to a
 * word of its memory, and do not wait for it. */
static int osc_daxpin_probe_memory(osc_daxpin_module_t *module, int rank)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    int ret;

    if ((shadow->module == NULL) || (module->peers[rank].node_rank >= 0)) {
        return OMPI_SUCCESS;
    }
    ret = shadow->module->osc_get(&module->probed, 1, MPI_UINT64_T, rank,
                                  offsetof(osc_daxpin_slot_t, epochs) /
                                          sizeof(module->probed),
                                  1, MPI_UINT64_T, shadow->win);
    return (ret == OMPI_SUCCESS) ? ret : osc_daxpin_error_gone(module, rank);
}

/* Probe a rank, or those of this node and the next ones of others */
static int osc_daxpin_probe_next(osc_daxpin_module_t *module, int rank, int at,
                                 int *next_p)
{
    int ret = OMPI_SUCCESS;
    int i;

    if (rank != OSC_DAXPIN_ANY_RANK) {
        ret = osc_daxpin_probe_process(module, rank, at);
        return (ret != OMPI_SUCCESS) ? ret :
                                       osc_daxpin_probe_memory(module, rank);
    }
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_probe_process(module, i, at);
    }
    for (i = 0; (i < OSC_DAXPIN_PROBE_RANKS) && (i < module->size) &&
                (ret == OMPI_SUCCESS);
         ++i) {
        ret     = osc_daxpin_probe_memory(module, *next_p);
        *next_p = (*next_p + 1) % module->size;
    }
    return ret;
}

void osc_daxpin_bound_begin(osc_daxpin_module_t *module, int rank,
                            osc_daxpin_bound_t *bound)
{
    bound->module = module;
    bound->rank   = rank;
    bound->next   = 0;
    bound->at     = -1;
    osc_daxpin_patience_begin(&bound->probe, OSC_DAXPIN_PROBE_SEC);
    osc_daxpin_patience_begin(&bound->patience,
                              module->component->peer_timeout_ms / 1e3);
}

int osc_daxpin_bound_check(osc_daxpin_bound_t *bound)
{
    osc_daxpin_module_t *module = bound->module;

    if (osc_daxpin_patience_ends(&bound->patience)) {
        return osc_daxpin_error_silent(module, bound->rank);
    }
    if (!osc_daxpin_patience_ends(&bound->probe)) {
        return OMPI_SUCCESS;
    }
    osc_daxpin_patience_begin(&bound->probe, OSC_DAXPIN_PROBE_SEC);
    return osc_daxpin_probe_next(module, bound->rank, bound->at, &bound->next);
}

void osc_daxpin_bound_give_up(MPI_Request *request, int is_send)
{
    if (*request == MPI_REQUEST_NULL) {
        return;
    }
    if (!is_send) {
        (void)PMPI_Cancel(request);
    }
    (void)PMPI_Request_free(request);
}

/* A blocking call would wait for ever if it is nested in the wait of a thread
 * of MPI_THREAD_MULTIPLE: Open MPI leaves progress to the outer wait then. */
int osc_daxpin_bound_finish(osc_daxpin_module_t *module, int rank,
                            MPI_Request *request, int is_send)
{
    int flag = 0;
    osc_daxpin_bound_t bound;
    int ret;

    osc_daxpin_bound_begin(module, rank, &bound);
    for (;;) {
        ret = PMPI_Test(request, &flag, MPI_STATUS_IGNORE); /* progresses */
        if (ret != MPI_SUCCESS) {
            ret = (rank == OSC_DAXPIN_ANY_RANK) ?
                          ret : osc_daxpin_error_gone(module, rank);
            break;
        }
        if (flag) {
            return MPI_SUCCESS;
        }
        ret = osc_daxpin_bound_check(&bound);
        if (ret != OMPI_SUCCESS) {
            break;
        }
    }
    if (rank != OSC_DAXPIN_ANY_RANK) {
        osc_daxpin_bound_give_up(request, is_send);
    }
    return ret;
}

int osc_daxpin_bound_finish_all(osc_daxpin_module_t *module, int rank,
                                osc_daxpin_transfer_t *transfers, int count,
                                int ret)
{
    int i;

    for (i = 0; i < count; ++i) {
        if (ret == MPI_SUCCESS) {
            ret = osc_daxpin_bound_finish(module, rank, &transfers[i].request,
                                          transfers[i].is_send);
        } else {
            osc_daxpin_bound_give_up(&transfers[i].request,
                                     transfers[i].is_send);
        }
    }
    return ret;
}

/* Open MPI 5 frees windows that are left in MPI_Finalize(), where no function of
 * MPI may be called any more: that wait has no bound */
int osc_daxpin_bound_barrier(osc_daxpin_module_t *module)
{
    ompi_communicator_t *comm = module->comm;
    MPI_Request request;
    int flag, ret;

    if ((PMPI_Finalized(&flag) == MPI_SUCCESS) && flag) {
        return comm->c_coll->coll_barrier(comm,
                                          comm->c_coll->coll_barrier_module);
    }
    ret = PMPI_Ibarrier(module->comm, &request);
    return (ret != MPI_SUCCESS) ?
                   ret :
                   osc_daxpin_bound_finish(module, OSC_DAXPIN_ANY_RANK,
                                           &request, 1);
}

/*
 * Calls of the inner component
 */

/* For the thread: between two looks, and how much longer it waits */
#define OSC_DAXPIN_WATCHDOG_STEP_SEC 1
#define OSC_DAXPIN_WATCHDOG_MORE_SEC 10.0

static struct {
    _Atomic unsigned      depth;  /* calls that have not returned */
    _Atomic uint64_t      number; /* of begins and ends */
    osc_daxpin_module_t   *module;
    int                   target;
    uint64_t              seen;   /* by the last check */
    osc_daxpin_bound_t    bound;
    int                   gone;   /* its result */
    osc_daxpin_patience_t patience; /* since then */
    atomic_flag           busy;
    pthread_mutex_t       opening; /* protects users, and the thread's life */
    unsigned              users;
    pthread_t             thread;
    int                   running;
    int                   stop;
    pthread_mutex_t       mutex;  /* of stop */
    pthread_cond_t        stopped;
} osc_daxpin_inside = {.busy    = ATOMIC_FLAG_INIT,
                       .opening = PTHREAD_MUTEX_INITIALIZER,
                       .mutex   = PTHREAD_MUTEX_INITIALIZER,
                       .stopped = PTHREAD_COND_INITIALIZER};

void osc_daxpin_inside_begin(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_inside.module = module;
    osc_daxpin_inside.target = target;
    ++osc_daxpin_inside.number;
    ++osc_daxpin_inside.depth;
}

/* Osc/ucx has one error for all that UCX reports */
int osc_daxpin_inside_end(osc_daxpin_module_t *module, int target, int ret)
{
    int first = 0;
    int gone;

    --osc_daxpin_inside.depth;
    ++osc_daxpin_inside.number;
    if (OPAL_LIKELY(ret != OMPI_ERROR)) {
        return ret;
    }
    gone = osc_daxpin_probe_next(module, target, -1, &first);
    return (gone != OMPI_SUCCESS) ? gone : ret;
}

/* With several threads, the call that began last may be over, its window freed,
 * or another call may have written its target only. */
static int osc_daxpin_inside_is_known(void)
{
    const osc_daxpin_module_t *module = osc_daxpin_inside.module;

    return (module != NULL) && (osc_daxpin_inside.target < module->size);
}

static __attribute__((noinline)) void osc_daxpin_inside_check(void)
{
    osc_daxpin_module_t *module = osc_daxpin_inside.module;
    uint64_t number             = osc_daxpin_inside.number;

    if (!osc_daxpin_inside_is_known()) {
        osc_daxpin_inside.seen = 0;
        return;
    }
    if (number != osc_daxpin_inside.seen) {
        osc_daxpin_inside.seen = number;
        osc_daxpin_inside.gone = OMPI_SUCCESS;
        osc_daxpin_bound_begin(module, osc_daxpin_inside.target,
                               &osc_daxpin_inside.bound);
        return;
    }
    if (osc_daxpin_inside.gone == OMPI_SUCCESS) {
        osc_daxpin_inside.gone =
                osc_daxpin_bound_check(&osc_daxpin_inside.bound);
        osc_daxpin_patience_begin(&osc_daxpin_inside.patience,
                                  OSC_DAXPIN_RETURN_SEC);
    } else if (osc_daxpin_patience_ends(&osc_daxpin_inside.patience)) {
        opal_output(0, "osc/daxpin: rank %d: ends the job, because another osc "
                    "component waits for that rank and does not return",
                    module->rank);
        PMPI_Abort(module->comm, MPI_ERR_OTHER);
    }
}

static int osc_daxpin_inside_progress(void)
{
    if (OPAL_UNLIKELY((osc_daxpin_inside.depth > 0) &&
                      !atomic_flag_test_and_set(&osc_daxpin_inside.busy))) {
        osc_daxpin_inside_check();
        atomic_flag_clear(&osc_daxpin_inside.busy);
    }
    return 0;
}

/* Return the seconds for which the inner component has not returned, in which
 * this process runs */
static double osc_daxpin_watchdog_count(double seconds, uint64_t *number_p)
{
    const uint64_t number = osc_daxpin_inside.number;

    if ((osc_daxpin_inside.depth == 0) || (number != *number_p)) {
        *number_p = number;
        return 0;
    }
    return seconds + OSC_DAXPIN_WATCHDOG_STEP_SEC;
}

static void osc_daxpin_watchdog_end(double seconds)
{
    opal_output(0, "osc/daxpin: rank %d of a window (-1: any rank) has not "
                "answered for %g s; is it stopped, or has it ended? This "
                "process ends, because another osc component waits for that "
                "rank and does not return", osc_daxpin_inside.target, seconds);
    abort();
}

static void *osc_daxpin_watchdog_main(void *arg)
{
    const double bound = *(const double*)arg;
    double seconds     = 0;
    uint64_t number    = 0;
    struct timespec next;

    pthread_mutex_lock(&osc_daxpin_inside.mutex);
    while (!osc_daxpin_inside.stop) {
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec += OSC_DAXPIN_WATCHDOG_STEP_SEC;
        pthread_cond_clockwait(&osc_daxpin_inside.stopped,
                               &osc_daxpin_inside.mutex, CLOCK_MONOTONIC,
                               &next);
        seconds = osc_daxpin_watchdog_count(seconds, &number);
        if (seconds > bound) {
            osc_daxpin_watchdog_end(seconds);
        }
    }
    pthread_mutex_unlock(&osc_daxpin_inside.mutex);
    return NULL;
}

/* Caller holds osc_daxpin_inside.opening. */
static int osc_daxpin_inside_begin_all(const osc_daxpin_module_t *module)
{
    static double bound;

    opal_progress_register(osc_daxpin_inside_progress);
    osc_daxpin_inside.stop = 0;
    bound                  = module->component->peer_timeout_ms / 1e3 +
                             OSC_DAXPIN_WATCHDOG_MORE_SEC;
    if (daxpin_thread_create(&osc_daxpin_inside.thread,
                             osc_daxpin_watchdog_main, &bound) != 0) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot "
                                "start a thread for a window on several nodes",
                                module->rank);
    }
    osc_daxpin_inside.running = 1;
    return OMPI_SUCCESS;
}

/* Several threads may open windows at a time. */
int osc_daxpin_inside_open(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;

    pthread_mutex_lock(&osc_daxpin_inside.opening);
    module->has_inside = 1;
    if (osc_daxpin_inside.users++ == 0) {
        ret = osc_daxpin_inside_begin_all(module);
    }
    pthread_mutex_unlock(&osc_daxpin_inside.opening);
    return ret;
}

static void osc_daxpin_watchdog_stop(void)
{
    pthread_mutex_lock(&osc_daxpin_inside.mutex);
    osc_daxpin_inside.stop = 1;
    pthread_cond_signal(&osc_daxpin_inside.stopped);
    pthread_mutex_unlock(&osc_daxpin_inside.mutex);
    pthread_join(osc_daxpin_inside.thread, NULL);
    osc_daxpin_inside.running = 0;
}

/* Caller holds osc_daxpin_inside.opening. */
static void osc_daxpin_inside_end_all(void)
{
    opal_progress_unregister(osc_daxpin_inside_progress);
    if (osc_daxpin_inside.running) {
        osc_daxpin_watchdog_stop();
    }
}

/* Wait for a check that is under way in another thread, which is short. No
 * check looks at the window any more. */
static void osc_daxpin_inside_forget(const osc_daxpin_module_t *module)
{
    while (atomic_flag_test_and_set(&osc_daxpin_inside.busy)) {
        sched_yield();
    }
    if (osc_daxpin_inside.module == module) {
        osc_daxpin_inside.module = NULL;
    }
    atomic_flag_clear(&osc_daxpin_inside.busy);
}

void osc_daxpin_inside_close(osc_daxpin_module_t *module)
{
    osc_daxpin_inside_forget(module);
    pthread_mutex_lock(&osc_daxpin_inside.opening);
    if (module->has_inside && (--osc_daxpin_inside.users == 0)) {
        osc_daxpin_inside_end_all();
    }
    pthread_mutex_unlock(&osc_daxpin_inside.opening);
    module->has_inside = 0;
}

void osc_daxpin_inside_finalize(void)
{
    pthread_mutex_lock(&osc_daxpin_inside.opening);
    if (osc_daxpin_inside.users > 0) {
        osc_daxpin_inside.users = 0;
        osc_daxpin_inside_end_all();
    }
    pthread_mutex_unlock(&osc_daxpin_inside.opening);
}
