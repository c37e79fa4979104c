/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The slow path of the access check, and persistence */

#include "access.h"

#include "daxpin/file/file.h"
#include "daxpin/file/maps.h"
#include "daxpin/file/member.h"
#include "daxpin/file/share.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/thread.h"
#include "daxpin/os/watch.h"

#include <errno.h>
#include <libpmem2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* More than a second is long, with a leap second, and a step of the clock */
#define DAXPIN_SECOND_MOST (3 * DAXPIN_SEC)

/* A synchronisation waits for so long for a holder that has to act */
#define DAXPIN_CHECK_BOUND (10 * DAXPIN_SEC)

static void daxpin_access_set(daxpin_file_t *file, unsigned slot_index,
                              daxpin_access_t *access)
{
    static const _Atomic uint32_t never_open;
    static daxpin_slot_t unread_slot;

    access->state      = &file->control->state;
    access->slot       = &file->slots[slot_index];
    access->careful    = (file->fence ? DAXPIN_CAREFUL_FENCE : 0) |
                         ((slot_index == DAXPIN_SLOTS - 1) ?
                                  DAXPIN_CAREFUL_SHARED : 0);
    access->fast_open  = access->careful ? &never_open : access->state;
    access->fast_slot  = access->careful ? &unread_slot : access->slot;
    access->file       = file;
    access->relaxed    = 0;
    atomic_init(&access->sure, 0);
}

void daxpin_access_init(daxpin_file_t *file, unsigned slot_index,
                        daxpin_access_t *access)
{
    daxpin_thread_unblock();
    daxpin_access_set(file, slot_index, access);
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_share_expose(file);
    pthread_mutex_unlock(&daxpin_mutex);
    /* Or the holder could take what is done to the file now for harmless */
    (void)daxpin_share_await_sent(file);
}

/* Caller holds daxpin_mutex. */
static daxpin_access_t *daxpin_accesses_create(daxpin_file_t *file)
{
    daxpin_access_t *accesses = calloc(DAXPIN_SLOTS, sizeof(*accesses));
    unsigned i;

    if (accesses == NULL) {
        daxpin_error(ENOMEM, "%s: cannot access it: out of memory", file->path);
        return NULL;
    }
    for (i = 0; i < DAXPIN_SLOTS; ++i) {
        daxpin_access_set(file, i, &accesses[i]);
    }
    return accesses;
}

daxpin_access_t *daxpin_file_accesses(daxpin_file_t *file)
{
    daxpin_thread_unblock();
    pthread_mutex_lock(&daxpin_mutex);
    if (file->accesses == NULL) {
        file->accesses = daxpin_accesses_create(file);
    }
    daxpin_share_expose(file);
    pthread_mutex_unlock(&daxpin_mutex);
    return file->accesses;
}

void daxpin_access_relax(daxpin_access_t *access)
{
    access->relaxed = 1;
    if (access->fast_open == access->state) {
        access->fast_open = &access->file->control->open;
    }
}

void daxpin_access_leave(daxpin_access_t *access)
{
    if (access->careful & DAXPIN_CAREFUL_SHARED) {
        atomic_fetch_sub(&access->slot->busy, 1);
    } else {
        atomic_store_explicit(&access->slot->busy, 0, memory_order_release);
    }
}

static void daxpin_access_count(daxpin_access_t *access)
{
    if (access->careful & DAXPIN_CAREFUL_SHARED) {
        atomic_fetch_add_explicit(&access->slot->accesses, 1,
                                  memory_order_relaxed);
    } else {
        daxpin_slot_count(access->slot);
    }
}

int daxpin_access_begin_slow(daxpin_access_t *access)
{
    static _Thread_local int unblocked;

    if (!unblocked) {
        daxpin_thread_unblock(); /* It may not be the thread of the init */
        unblocked = 1;
    }
    if (access->careful & DAXPIN_CAREFUL_SHARED) {
        atomic_fetch_add(&access->slot->busy, 1);
    } else if (access->careful) {
        atomic_store(&access->slot->busy, 1);
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (daxpin_access_may_go_on(access)) {
        return 0; /* if the file is not open, the end checks the file */
    }
    daxpin_access_leave(access);
    return -ESTALE;
}

/* Check that the file still has the bytes up to end. While RELEASED, or LENT
 * without a watch, a truncate does not wait and is not noticed. A store beyond
 * the new end, but in its last page, does not fault, and is lost. */
static int daxpin_access_check_file(daxpin_access_t *access, uint64_t end)
{
    daxpin_file_t *file = access->file;
    struct stat st;
    int ret;

    pthread_mutex_lock(&daxpin_mutex);
    ret = (file->fd >= 0) ? fstat(file->fd, &st) : -1;
    pthread_mutex_unlock(&daxpin_mutex);
    if (ret != 0) {
        return -ESTALE;
    }
    if (end > (uint64_t)st.st_size) {
        atomic_store(&file->faulted, 1);
        daxpin_loop_wake_all();
        return -ESTALE;
    }
    /* If the file was truncated and has grown again, the fault handler has
     * changed the state */
    return daxpin_access_may_go_on(access) ? 0 : -ESTALE;
}

int daxpin_access_end_slow(daxpin_access_t *access, uint64_t offset,
                           size_t length)
{
    uint32_t state = atomic_load(access->state);
    int ret;

    if ((state == DAXPIN_STATE_HELD) ||
        (access->relaxed && (atomic_load(&access->file->control->open) ==
                             DAXPIN_CONTROL_OPEN))) {
        ret = 0; /* the access is careful */
    } else if (daxpin_state_allows(state)) {
        ret = daxpin_access_check_file(access, offset + length);
    } else {
        ret = -ESTALE;
    }
    if (ret == 0) {
        daxpin_access_count(access);
    }
    daxpin_access_leave(access);
    return ret;
}

/* Return whether the watch shows that nothing has happened to a lent file up to
 * now: the holder has acted on all that it has read, and there is nothing to
 * read. Without the holder's watch, wait until the holder has checked the file
 * twice: the first check may have begun before. */
static int daxpin_file_is_calm(daxpin_file_t *file, uint64_t first_check)
{
    struct pollfd pollfd = {.events = POLLIN};

    pollfd.fd = file->holder ? daxpin_watch_fd() : file->watch_fd;
    if (pollfd.fd < 0) {
        return atomic_load(&file->control->checks) - first_check >= 2;
    }
    return !atomic_load(&file->control->judging) &&
           (poll(&pollfd, 1, 0) == 0) && !atomic_load(&file->control->judging);
}

/* Return 1 if all accesses before are in the file, 0 if they may not be, and -1
 * if the holder has to act first. */
static int daxpin_file_is_sure(daxpin_file_t *file, uint64_t now,
                               uint64_t first_check)
{
    uint32_t open;
    int sure;

    /* What was found out counts only if the state is the same afterwards */
    switch (daxpin_file_state(file)) {
    case DAXPIN_STATE_HELD:
        sure = daxpin_member_is_sure(file, now) ||
               daxpin_member_look(file, now);
        return (sure && (daxpin_file_state(file) == DAXPIN_STATE_HELD)) ? 1 :
                                                                          -1;
    case DAXPIN_STATE_LENT:
        open = atomic_load(&file->control->open);
        sure = (open == DAXPIN_CONTROL_CHECKED) || /* by each access */
               ((open == DAXPIN_CONTROL_OPEN) &&
                daxpin_file_is_calm(file, first_check));
        return (sure && (daxpin_file_state(file) == DAXPIN_STATE_LENT)) ? 1 :
                                                                          -1;
    case DAXPIN_STATE_RELEASED:
        return 1;
    default:
        return 0;
    }
}

static int daxpin_file_check_slow(daxpin_file_t *file)
{
    const struct timespec pause = {.tv_nsec = 50 * DAXPIN_USEC};
    const uint64_t first        = atomic_load(&file->control->checks);
    const uint64_t deadline     = daxpin_now() + DAXPIN_CHECK_BOUND;
    uint64_t now;
    int ret;

    for (;;) {
        pthread_mutex_lock(&daxpin_mutex);
        now = daxpin_now();
        ret = daxpin_file_is_sure(file, now, first);
        if ((ret < 0) && (now >= deadline)) {
            if (!file->holder) {
                daxpin_member_give_up(file);
                daxpin_file_wake(file);
            }
            ret = 0;
        }
        if (ret < 0) {
            daxpin_file_wake(file);
        }
        pthread_mutex_unlock(&daxpin_mutex);
        if (ret >= 0) {
            return (ret > 0) ? 0 : -ESTALE;
        }
        nanosleep(&pause, NULL);
    }
}

int daxpin_access_look(daxpin_access_t *access, uint64_t second)
{
    const uint64_t until = (access->file == NULL) ? DAXPIN_NEVER :
                           atomic_load_explicit(
                                   &access->file->control->sure_until,
                                   memory_order_acquire);
    const uint64_t now   = daxpin_now_coarse();

    if (now >= until) {
        return 0;
    }
    if (until - now > DAXPIN_SECOND_MOST) {
        atomic_store_explicit(&access->sure, second, memory_order_relaxed);
    }
    return 1;
}

int daxpin_file_check(daxpin_file_t *file)
{
    const daxpin_control_t *control = file->control;

    /* First the beat, then the state: the holder may have found out since */
    if ((daxpin_now_coarse() < atomic_load_explicit(&control->sure_until,
                                                    memory_order_acquire)) &&
        (daxpin_file_state(file) == DAXPIN_STATE_HELD)) {
        return 0;
    }
    return daxpin_file_check_slow(file);
}

int daxpin_access_check(daxpin_access_t *access)
{
    const uint32_t state = atomic_load(access->state);

    /* The holder has seen that the lease was whole before it lent or released
     * it, and since then the end of each access looks at the file */
    return ((state == DAXPIN_STATE_LENT) || (state == DAXPIN_STATE_RELEASED)) ?
                   0 :
                   daxpin_file_check(access->file);
}

/* Return the error for a range that is not in the file: it was cut off, or
 * never was in the file. */
static int daxpin_file_persist_beyond(daxpin_file_t *file,
                                      daxpin_access_t *access, uint64_t offset,
                                      size_t length)
{
    uint64_t end;

    if (__builtin_add_overflow(offset, length, &end) ||
        (end > atomic_load(&file->control->length))) {
        daxpin_access_leave(access);
        return -EINVAL;
    }
    daxpin_access_leave(access);
    return daxpin_error(ESTALE, "%s: cannot persist %zu bytes at offset %lu: "
                        "they were cut off", file->path, length, offset);
}

int daxpin_file_persist(daxpin_file_t *file, uint64_t offset, size_t length)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    daxpin_map_t *map    = NULL;
    char cause[DAXPIN_CAUSE_MAX];
    daxpin_access_t access;
    uintptr_t start, end;
    void *addr;
    int ret = 0;

    daxpin_access_init(file, DAXPIN_SLOTS - 1, &access);
    if (daxpin_access_begin(&access) != 0) {
        daxpin_file_cause(file, cause, sizeof(cause));
        return daxpin_error(ESTALE, "%s: cannot persist: %s", file->path,
                            cause);
    }
    addr = daxpin_file_addr(file, offset, length);
    if (addr == NULL) {
        return daxpin_file_persist_beyond(file, &access, offset, length);
    }
    pthread_mutex_lock(&daxpin_mutex);
    map = daxpin_file_find_map(file, offset + length);
    pthread_mutex_unlock(&daxpin_mutex);
    if ((map->pmem2 == NULL) || (pmem2_map_get_store_granularity(map->pmem2) ==
                                 PMEM2_GRANULARITY_PAGE)) {
        /* As libpmem2 does, but with the error */
        start = (uintptr_t)addr & ~(page - 1);
        end   = (uintptr_t)addr + length;
        ret   = (msync((void*)start, end - start, MS_SYNC) == 0) ? 0 : -errno;
    } else {
        pmem2_get_persist_fn(map->pmem2)(addr, length);
    }
    if (daxpin_access_end(&access, offset, length) != 0) {
        daxpin_file_cause(file, cause, sizeof(cause));
        return daxpin_error(ESTALE, "%s: cannot persist: access ended "
                            "meanwhile: %s", file->path, cause);
    }
    if (ret != 0) {
        return daxpin_error(-ret, "%s: cannot persist %zu bytes at offset "
                            "%lu: %s", file->path, length, offset,
                            strerror(-ret));
    }
    return 0;
}

daxpin_copy_func_t daxpin_file_durable_copy(daxpin_file_t *file)
{
    daxpin_copy_func_t copy = NULL;
    daxpin_map_t *map;

    pthread_mutex_lock(&daxpin_mutex);
    map = daxpin_file_find_map(file, 0);
    if ((map != NULL) && (map->pmem2 != NULL) &&
        (pmem2_map_get_store_granularity(map->pmem2) ==
         PMEM2_GRANULARITY_CACHE_LINE)) {
        copy = pmem2_get_memcpy_fn(map->pmem2);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return copy;
}

int daxpin_range_is_control(uintptr_t addr, size_t length)
{
    const daxpin_file_t *file;
    uintptr_t page;

    pthread_mutex_lock(&daxpin_mutex);
    LIST_FOREACH(file, &daxpin_files, link) {
        page = (uintptr_t)file->control;
        if ((page < addr + length) && (page + DAXPIN_CONTROL_SIZE > addr)) {
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return file != NULL;
}

const daxpin_control_t *daxpin_file_control(const daxpin_file_t *file)
{
    return file->control;
}

void daxpin_file_set_distant(daxpin_file_t *file)
{
    atomic_store(&file->distant, 1);
}

int daxpin_file_is_distant(const daxpin_file_t *file)
{
    return atomic_load(&file->distant);
}
