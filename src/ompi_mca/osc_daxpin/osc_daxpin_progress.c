/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The progress thread makes ranges of this rank's segment durable when ranks of
 * other nodes request it. Each of them has a record here. It writes the range
 * and then a number into the record; the thread answers with the number and the
 * result. The inner component moves all of this and cannot wake a thread, so
 * the thread polls, less and less often while there is no request.
 */

#include "osc_daxpin_progress.h"

#include "daxpin/os/thread.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_wait.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OSC_DAXPIN_PROGRESS_MIN_NS (20 * 1000)
#define OSC_DAXPIN_PROGRESS_MAX_NS (1000 * 1000)

/* To wait for an answer: for the requests of others, and for this one on a slow
 * disk, in bytes per second */
#define OSC_DAXPIN_ANSWER_BOUND_SEC 600.0
#define OSC_DAXPIN_ANSWER_RATE      (1024.0 * 1024.0)

/* An answer is the number and, below it, a value of errno */
#define OSC_DAXPIN_ANSWER_SHIFT 12
#define OSC_DAXPIN_ANSWER_ERROR ((1u << OSC_DAXPIN_ANSWER_SHIFT) - 1)

/* Return 0 or errno */
static int osc_daxpin_progress_persist(osc_daxpin_module_t *module,
                                       const osc_daxpin_record_t *record)
{
    osc_daxpin_segment_t *segment = &module->segment;
    int ret;

    if ((record->length > segment->size) ||
        (record->start > segment->size - record->length)) {
        return EINVAL;
    }
    if (segment->file == NULL) {
        return 0;
    }
    ret = daxpin_file_persist(segment->file, segment->offset + record->start,
                              record->length);
    if (ret != 0) {
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank,
                    daxpin_errormsg());
    }
    return -ret;
}

/* Answer all requests; return whether there were any */
static int osc_daxpin_progress_serve(osc_daxpin_module_t *module)
{
    osc_daxpin_record_t *record;
    uint64_t number;
    int found = 0;
    int i, error;

    for (i = 0; i < module->size; ++i) {
        record = &module->progress.records[i];
        number = atomic_load(&record->number);
        if (number == atomic_load_explicit(&record->answer,
                                           memory_order_relaxed) >>
                              OSC_DAXPIN_ANSWER_SHIFT) {
            continue;
        }
        error = osc_daxpin_progress_persist(module, record);
        atomic_store(&record->answer,
                     (number << OSC_DAXPIN_ANSWER_SHIFT) |
                             ((unsigned)error & OSC_DAXPIN_ANSWER_ERROR));
        found = 1;
    }
    return found;
}

static void *osc_daxpin_progress_main(void *arg)
{
    osc_daxpin_module_t *module = arg;
    struct timespec pause       = {.tv_nsec = OSC_DAXPIN_PROGRESS_MIN_NS};

    while (!atomic_load(&module->progress.stop)) {
        if (osc_daxpin_progress_serve(module)) {
            pause.tv_nsec = OSC_DAXPIN_PROGRESS_MIN_NS;
            continue;
        }
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < OSC_DAXPIN_PROGRESS_MAX_NS) {
            pause.tv_nsec += pause.tv_nsec / 4;
        }
    }
    return NULL;
}

int osc_daxpin_progress_alloc(osc_daxpin_module_t *module)
{
    size_t size = (size_t)module->size * sizeof(*module->progress.records);

    module->progress.records = aligned_alloc(DAXPIN_CACHELINE, size);
    if (module->progress.records == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    memset(module->progress.records, 0, size);
    return OMPI_SUCCESS;
}

int osc_daxpin_progress_start(osc_daxpin_module_t *module)
{
    if (daxpin_thread_create(&module->progress.thread,
                             osc_daxpin_progress_main, module) != 0) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot "
                                "start a thread for daxpin_persist=flush",
                                module->rank);
    }
    module->progress.running = 1;
    return OMPI_SUCCESS;
}

void osc_daxpin_progress_stop(osc_daxpin_module_t *module)
{
    if (module->progress.running) {
        atomic_store(&module->progress.stop, 1);
        pthread_join(module->progress.thread, NULL);
        module->progress.running = 0;
    }
}

void osc_daxpin_progress_free(osc_daxpin_module_t *module)
{
    free(module->progress.records);
    module->progress.records = NULL;
}

/*
 * The requesting rank
 */

/* Put or get words of this rank's record at a target, from @a offset on */
static int osc_daxpin_record_access(osc_daxpin_module_t *module, int target,
                                    size_t offset, uint64_t *words, int count,
                                    int is_put)
{
    const ptrdiff_t disp        = (ptrdiff_t)((module->rank *
                                               sizeof(osc_daxpin_record_t) +
                                               offset) / sizeof(*words));
    osc_daxpin_shadow_t *shadow = &module->persist;
    int ret;

    osc_daxpin_inside_begin(module, target);
    ret = is_put ? shadow->module->osc_put(words, count, MPI_UINT64_T, target,
                                           disp, count, MPI_UINT64_T,
                                           shadow->win) :
                   shadow->module->osc_get(words, count, MPI_UINT64_T, target,
                                           disp, count, MPI_UINT64_T,
                                           shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    return osc_daxpin_inside_end(module, target, ret);
}

static int osc_daxpin_record_wait(osc_daxpin_module_t *module, int target,
                                  uint64_t number, uint64_t length,
                                  int *error_p)
{
    const double bound = OSC_DAXPIN_ANSWER_BOUND_SEC +
                         (double)length / OSC_DAXPIN_ANSWER_RATE;
    uint64_t answer    = 0;
    osc_daxpin_patience_t patience;
    int ret;

    osc_daxpin_patience_begin(&patience, bound);
    for (;;) {
        ret = osc_daxpin_record_access(module, target,
                                       offsetof(osc_daxpin_record_t, answer),
                                       &answer, 1, 0);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
        if ((answer >> OSC_DAXPIN_ANSWER_SHIFT) == number) {
            *error_p = (int)(answer & OSC_DAXPIN_ANSWER_ERROR);
            return OMPI_SUCCESS;
        }
        if (osc_daxpin_patience_ends(&patience)) {
            return osc_daxpin_error(MPI_ERR_IO, "rank %d: rank %d has not made "
                                    "%" PRIu64 " bytes durable in %g s; has it "
                                    "ended, or is it stopped?", module->rank,
                                    target, length, bound);
        }
        opal_progress();
    }
}

/* Send the range before the number */
int osc_daxpin_progress_request(osc_daxpin_module_t *module, int target,
                                uint64_t start, uint64_t length, int *error_p)
{
    uint64_t range[] = {start, length};
    uint64_t number  = ++module->peers[target].number;
    int ret;

    ret = osc_daxpin_record_access(module, target,
                                   offsetof(osc_daxpin_record_t, start), range,
                                   2, 1);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_record_access(module, target,
                                       offsetof(osc_daxpin_record_t, number),
                                       &number, 1, 1);
    }
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   osc_daxpin_record_wait(module, target, number, length,
                                          error_p);
}
