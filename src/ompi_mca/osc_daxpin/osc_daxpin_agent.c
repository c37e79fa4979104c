/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A thread that makes this rank's part durable when ranks of other nodes ask
 * for it. They count up a word here; when another word has come as far, what
 * they had put before is durable. All through the inner component, which has
 * nothing to wake a thread with: it looks again and again, the less often the
 * longer nobody asked.
 */

#include "osc_daxpin.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#define OSC_DAXPIN_AGENT_SOON_NS  (20 * 1000)
#define OSC_DAXPIN_AGENT_LATE_NS  (1000 * 1000)


static osc_daxpin_slot_t *osc_daxpin_own_slot(osc_daxpin_module_t *module)
{
    return &module->node.slots[ompi_comm_rank(module->node.comm)];
}


/* What is asked for meanwhile is for the next time */
static void osc_daxpin_agent_serve(osc_daxpin_module_t *module,
                                   uint64_t asked)
{
    osc_daxpin_part_t *part = &module->part;
    osc_daxpin_slot_t *slot = osc_daxpin_own_slot(module);

    atomic_thread_fence(memory_order_seq_cst);
    if ((part->file != NULL) && (part->size > 0) &&
        (daxpin_file_persist(part->file, part->offset, part->size) != 0)) {
        atomic_fetch_add(&slot->failed, 1);
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank,
                    daxpin_errormsg());
    }
    atomic_store(&slot->served, asked);
}


static void *osc_daxpin_agent_main(void *arg)
{
    osc_daxpin_module_t *module = arg;
    osc_daxpin_slot_t *slot     = osc_daxpin_own_slot(module);
    struct timespec pause       = {.tv_nsec = OSC_DAXPIN_AGENT_SOON_NS};
    uint64_t served             = 0;
    uint64_t asked;

    while (!atomic_load(&module->agent.stop)) {
        asked = atomic_load(&slot->asked);
        if (asked != served) {
            osc_daxpin_agent_serve(module, asked);
            served        = asked;
            pause.tv_nsec = OSC_DAXPIN_AGENT_SOON_NS;
            continue;
        }
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < OSC_DAXPIN_AGENT_LATE_NS) {
            pause.tv_nsec += pause.tv_nsec / 4;
        }
    }
    return NULL;
}


int osc_daxpin_agent_start(osc_daxpin_module_t *module)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&module->agent.thread, NULL, osc_daxpin_agent_main,
                         module);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret != 0) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot "
                                "start a thread for daxpin_persist=flush",
                                module->rank);
    }
    module->agent.runs = 1;
    return OMPI_SUCCESS;
}


void osc_daxpin_agent_stop(osc_daxpin_module_t *module)
{
    if (module->agent.runs) {
        atomic_store(&module->agent.stop, 1);
        pthread_join(module->agent.thread, NULL);
        module->agent.runs = 0;
    }
}


/*
 * The other side
 */

static int osc_daxpin_agent_read(osc_daxpin_module_t *module, int target,
                                 size_t offset, uint64_t *value_p)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    int ret;

    ret = shadow->module->osc_get(value_p, 1, MPI_UINT64_T, target,
                                  (ptrdiff_t)(offset / sizeof(*value_p)), 1,
                                  MPI_UINT64_T, shadow->win);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   shadow->module->osc_flush(target, shadow->win);
}


int osc_daxpin_agent_ask(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    const uint64_t one          = 1;
    uint64_t ticket = 0, served = 0, before = 0, after = 0;
    int ret;

    ret = osc_daxpin_agent_read(module, target,
                                offsetof(osc_daxpin_slot_t, failed), &before);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = shadow->module->osc_fetch_and_op(
            &one, &ticket, MPI_UINT64_T, target,
            offsetof(osc_daxpin_slot_t, asked) / sizeof(ticket), MPI_SUM,
            shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    while ((ret == OMPI_SUCCESS) && (served <= ticket)) {
        ret = osc_daxpin_agent_read(module, target,
                                    offsetof(osc_daxpin_slot_t, served),
                                    &served);
        opal_progress();
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_agent_read(module, target,
                                    offsetof(osc_daxpin_slot_t, failed),
                                    &after);
    }
    if ((ret != OMPI_SUCCESS) || (after == before)) {
        return ret;
    }
    /* Because it was revoked, or because the file system says so */
    ret = osc_daxpin_peer_check(module, target);
    return (ret != OMPI_SUCCESS) ? ret : MPI_ERR_IO;
}
