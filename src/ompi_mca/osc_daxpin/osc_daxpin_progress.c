/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The progress thread makes ranges of this rank's segments durable when ranks of
 * other nodes request it. There is one for all windows of the process. Each rank
 * of a window has a record here. It writes the range and then a number into the
 * record; the thread answers with the number and the result. The inner component
 * moves all of this and cannot wake a thread, so the thread polls, less and less
 * often while there is no request.
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

/* To wait for an answer: for the requests of others, also in other windows, and
 * for this one on a slow disk, in bytes per second */
#define OSC_DAXPIN_ANSWER_BOUND_SEC 600.0
#define OSC_DAXPIN_ANSWER_RATE      (1024.0 * 1024.0)

/* An answer is the number and, below it, a value of errno */
#define OSC_DAXPIN_ANSWER_SHIFT 12
#define OSC_DAXPIN_ANSWER_ERROR ((1u << OSC_DAXPIN_ANSWER_SHIFT) - 1)

/* The windows that the thread serves. It does so without the mutex, because
 * that may take long. */
static struct {
    pthread_mutex_t     opening; /* protects the thread's life */
    pthread_t           thread;
    pthread_mutex_t     mutex;   /* protects what follows */
    osc_daxpin_module_t *first;
    osc_daxpin_module_t *now;    /* the thread serves it */
    osc_daxpin_module_t *next;   /* and then this one */
    pthread_cond_t      served;
    int                 stop;
} osc_daxpin_progress = {.opening = PTHREAD_MUTEX_INITIALIZER,
                         .mutex   = PTHREAD_MUTEX_INITIALIZER,
                         .served  = PTHREAD_COND_INITIALIZER};

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

/* Caller holds osc_daxpin_progress.mutex, but not while a window is served: it
 * cannot be freed then, all others can. Return whether there were requests. */
static int osc_daxpin_progress_serve_all(void)
{
    int found = 0;
    osc_daxpin_module_t *module;

    osc_daxpin_progress.next = osc_daxpin_progress.first;
    while ((module = osc_daxpin_progress.next) != NULL) {
        osc_daxpin_progress.next = module->progress.next;
        osc_daxpin_progress.now  = module;
        pthread_mutex_unlock(&osc_daxpin_progress.mutex);
        found |= osc_daxpin_progress_serve(module);
        pthread_mutex_lock(&osc_daxpin_progress.mutex);
        osc_daxpin_progress.now = NULL;
        pthread_cond_broadcast(&osc_daxpin_progress.served);
    }
    return found;
}

static void *osc_daxpin_progress_main(void *arg)
{
    struct timespec pause = {.tv_nsec = OSC_DAXPIN_PROGRESS_MIN_NS};

    pthread_mutex_lock(&osc_daxpin_progress.mutex);
    while (!osc_daxpin_progress.stop) {
        if (osc_daxpin_progress_serve_all()) {
            pause.tv_nsec = OSC_DAXPIN_PROGRESS_MIN_NS;
            continue;
        }
        pthread_mutex_unlock(&osc_daxpin_progress.mutex);
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < OSC_DAXPIN_PROGRESS_MAX_NS) {
            pause.tv_nsec += pause.tv_nsec / 4;
        }
        pthread_mutex_lock(&osc_daxpin_progress.mutex);
    }
    pthread_mutex_unlock(&osc_daxpin_progress.mutex);
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

/* Caller holds osc_daxpin_progress.opening. */
static void osc_daxpin_progress_add(osc_daxpin_module_t *module)
{
    pthread_mutex_lock(&osc_daxpin_progress.mutex);
    module->progress.served   = 1;
    module->progress.next     = osc_daxpin_progress.first;
    osc_daxpin_progress.first = module;
    osc_daxpin_progress.stop  = 0;
    pthread_mutex_unlock(&osc_daxpin_progress.mutex);
}

/* Caller holds osc_daxpin_progress.opening. Return whether no window is left. */
static int osc_daxpin_progress_remove(osc_daxpin_module_t *module)
{
    osc_daxpin_module_t **link = &osc_daxpin_progress.first;
    int last;

    pthread_mutex_lock(&osc_daxpin_progress.mutex);
    while (*link != module) {
        link = &(*link)->progress.next;
    }
    *link                   = module->progress.next;
    module->progress.served = 0;
    if (osc_daxpin_progress.next == module) {
        osc_daxpin_progress.next = module->progress.next;
    }
    while (osc_daxpin_progress.now == module) {
        pthread_cond_wait(&osc_daxpin_progress.served,
                          &osc_daxpin_progress.mutex);
    }
    last                     = osc_daxpin_progress.first == NULL;
    osc_daxpin_progress.stop = last;
    pthread_mutex_unlock(&osc_daxpin_progress.mutex);
    return last;
}

/* Several threads may open and free windows at a time. */
int osc_daxpin_progress_start(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    int is_first;

    pthread_mutex_lock(&osc_daxpin_progress.opening);
    is_first = osc_daxpin_progress.first == NULL;
    osc_daxpin_progress_add(module);
    if (is_first && (daxpin_thread_create(&osc_daxpin_progress.thread,
                                          osc_daxpin_progress_main,
                                          NULL) != 0)) {
        (void)osc_daxpin_progress_remove(module);
        ret = osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot "
                               "start a thread for daxpin_persist=flush",
                               module->rank);
    }
    pthread_mutex_unlock(&osc_daxpin_progress.opening);
    return ret;
}

void osc_daxpin_progress_stop(osc_daxpin_module_t *module)
{
    if (!module->progress.served) {
        return;
    }
    pthread_mutex_lock(&osc_daxpin_progress.opening);
    if (osc_daxpin_progress_remove(module)) {
        pthread_join(osc_daxpin_progress.thread, NULL);
    }
    pthread_mutex_unlock(&osc_daxpin_progress.opening);
}

void osc_daxpin_progress_free(osc_daxpin_module_t *module)
{
    free(module->progress.records);
    module->progress.records = NULL;
}

/*
 * The requesting rank
 */

/* Put or get words of this rank's record at a target, from @a offset on. An
 * access that is given up may still use its memory. */
static int osc_daxpin_record_access(osc_daxpin_module_t *module, int target,
                                    size_t offset, uint64_t *words, int count,
                                    int is_put)
{
    const ptrdiff_t disp        = (ptrdiff_t)((module->rank *
                                               sizeof(osc_daxpin_record_t) +
                                               offset) / sizeof(*words));
    const size_t length         = count * sizeof(*words);
    osc_daxpin_shadow_t *shadow = &module->persist;
    uint64_t *copy              = malloc(length);
    int ret;

    if (copy == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    memcpy(copy, words, length);
    osc_daxpin_inside_begin(module, target);
    ret = is_put ? shadow->module->osc_put(copy, count, MPI_UINT64_T, target,
                                           disp, count, MPI_UINT64_T,
                                           shadow->win) :
                   shadow->module->osc_get(copy, count, MPI_UINT64_T, target,
                                           disp, count, MPI_UINT64_T,
                                           shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    ret = osc_daxpin_inside_end(module, target, ret);
    if (ret == OMPI_SUCCESS) {
        memcpy(words, copy, length);
    }
    osc_daxpin_error_free(ret, copy);
    return ret;
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
