/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A leased, mapped file: open, attach, map, close */

#include "file.h"

#include "daxpin/elect.h"
#include "daxpin/library.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/locality.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/space.h"
#include "daxpin/os/vma.h"
#include "fault.h"
#include "guard.h"
#include "holder.h"
#include "pin.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* To look through all processes for those who have a file open */
#define DAXPIN_WHO_BOUND (10 * DAXPIN_SEC)

pthread_cond_t      daxpin_called = PTHREAD_COND_INITIALIZER;
struct daxpin_files daxpin_files  = LIST_HEAD_INITIALIZER(daxpin_files);

/* Handles that a parent had at fork(): nothing but something to close */
static struct daxpin_files daxpin_forked = LIST_HEAD_INITIALIZER(daxpin_forked);

static void daxpin_map_replace(const daxpin_file_t *file,
                               const daxpin_map_t *map)
{
    if (mmap(map->addr, map->length, map->prot,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) ==
        MAP_FAILED) {
        daxpin_log(DAXPIN_LOG_ERROR, "%s: cannot replace its mapping at %p: "
                   "%m; an access there may hit the file's end", file->path,
                   map->addr);
    }
}

void daxpin_file_replace_maps(daxpin_file_t *file)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        daxpin_map_replace(file, map);
    }
    daxpin_pins_revoke(&file->pins);
}

/* In the child of a fork: a mapping keeps the description alive, and with it
 * the lease, even when the parent has died. What the program has mapped by
 * itself is inherited as ever. */
static void daxpin_file_replace_own_maps(daxpin_file_t *file)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (map->pmem2 != NULL) {
            daxpin_map_replace(file, map);
        }
    }
}

/*
 * Life
 */

static daxpin_file_t *daxpin_file_alloc(const char *path,
                                        const struct stat *st)
{
    daxpin_file_t *file = calloc(1, sizeof(*file));

    if (file == NULL) {
        goto err;
    }
    file->path  = strdup(path);
    file->slots = daxpin_slots_create();
    if ((file->path == NULL) || (file->slots == NULL)) {
        goto err_free;
    }
    file->refs            = 1;
    file->dev             = st->st_dev;
    file->ino             = st->st_ino;
    file->map_dev         = st->st_dev;
    file->map_ino         = st->st_ino;
    file->fd              = -1;
    file->control_fd      = -1;
    file->share.listen_fd = -1;
    daxpin_hold_init(&file->hold);
    daxpin_guard_init(&file->guard);
    LIST_INIT(&file->maps);
    LIST_INIT(&file->callbacks);
    LIST_INIT(&file->share.conns);
    return file;

err_free:
    free(file->path);
    daxpin_slots_destroy(file->slots);
    free(file);
err:
    daxpin_error(ENOMEM, "%s: out of memory", path);
    return NULL;
}

static void daxpin_file_free(daxpin_file_t *file)
{
    daxpin_callback_t *callback;
    daxpin_map_t *map;

    while ((callback = LIST_FIRST(&file->callbacks)) != NULL) {
        LIST_REMOVE(callback, link);
        free(callback);
    }
    while ((map = LIST_FIRST(&file->maps)) != NULL) {
        LIST_REMOVE(map, link);
        if (map->pmem2 != NULL) {
            pmem2_map_delete(&map->pmem2);
        }
        free(map);
    }
    daxpin_hold_drop(&file->hold);
    if (file->control != NULL) {
        daxpin_control_destroy(file->control);
    }
    if (file->control_fd >= 0) {
        close(file->control_fd);
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    daxpin_slots_destroy(file->slots);
    free(file->path);
    free(file);
}

/* Where the members of a file are on several nodes, some are far from it
 * whatever they do: only its holder is warned */
static void daxpin_file_tell_far(const daxpin_file_t *file)
{
    static _Atomic int told;

    if (daxpin_locality_is_far(file->numa_node) &&
        !atomic_exchange(&told, 1)) {
        daxpin_log(file->holder ? DAXPIN_LOG_WARN : DAXPIN_LOG_INFO,
                   "%s: is on NUMA node %d, and this process may run only far "
                   "from it (on node %d, distance %d): access is slower; bind "
                   "it elsewhere, or use a file near it", file->path,
                   file->numa_node, daxpin_cpu_numa_node(),
                   daxpin_locality_distance(daxpin_cpu_numa_node(),
                                            file->numa_node));
    }
}

/* What its mappings look like; on some file systems not what fstat() says */
static void daxpin_file_look(daxpin_file_t *file)
{
    void *page = mmap(NULL, 1, PROT_READ, MAP_SHARED, file->fd, 0);
    daxpin_vma_t vma;
    struct statx stx;

    if (page != MAP_FAILED) {
        if (daxpin_vma_query((uintptr_t)page, &vma) == 0) {
            file->map_dev = vma.dev;
            file->map_ino = vma.ino;
        }
        munmap(page, 1);
    }
    file->is_dax = (statx(file->fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
                   ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
    file->numa_node = daxpin_locality_of_file(file->fd, "");
    daxpin_file_tell_far(file);
}

void daxpin_file_place_hold(daxpin_file_t *file)
{
    if (daxpin_hold_place(file->path, file->fd, &file->hold) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    } else if (file->holder) {
        atomic_fetch_or(&file->control->locks, DAXPIN_LOCK_HOLD);
    }
}

int daxpin_file_create_holder(const char *path, const struct stat *st, int fd,
                              int listen_fd, const daxpin_params_t *params,
                              daxpin_file_t **file_p)
{
    daxpin_file_t *file = daxpin_file_alloc(path, st);
    int ret;

    if (file == NULL) {
        close(fd);
        close(listen_fd);
        return -ENOMEM;
    }
    file->fd              = fd;
    file->holder          = 1;
    file->holder_pid      = getpid();
    file->on_break        = params->on_break;
    file->share.listen_fd = listen_fd;
    ret = daxpin_control_create(&file->control, &file->control_fd);
    if (ret != 0) {
        goto err;
    }
    while ((file->generation == 0) &&
           (getrandom(&file->generation, sizeof(file->generation), 0) >= 0)) {
    }
    file->control->dev        = file->dev;
    file->control->ino        = file->ino;
    file->control->generation = file->generation;
    snprintf(file->control->path, sizeof(file->control->path), "%s", path);
    file->fence = daxpin_control_needs_fence(file->control);
    daxpin_file_look(file);
    file->holdable = file->is_dax && daxpin_hold_works(path, fd, file->dev);

    pthread_mutex_lock(&daxpin_lock);
    ret = daxpin_share_serve(file, listen_fd);
    if (ret == 0) {
        LIST_INSERT_HEAD(&daxpin_files, file, link);
    }
    pthread_mutex_unlock(&daxpin_lock);
    if (ret != 0) {
        goto err;
    }
    *file_p = file;
    return 0;

err:
    close(listen_fd);
    daxpin_file_free(file);
    return ret;
}

int daxpin_file_create_peer(const char *path, const struct stat *st,
                            const daxpin_welcome_t *welcome, int exposed,
                            daxpin_file_t **file_p)
{
    const daxpin_key_t key = {.dev = st->st_dev, .ino = st->st_ino};
    char name[DAXPIN_PATH_MAX];
    daxpin_control_t *control;
    daxpin_file_t *file;
    int ret;

    ret = daxpin_control_attach(welcome->control_fd, &key, &control);
    if (ret != 0) {
        goto err;
    }
    /* Memory that another process writes: take no more than a page's worth */
    snprintf(name, sizeof(name), "%.*s", DAXPIN_PATH_MAX - 1,
             (path != NULL) ? path : control->path);
    file = daxpin_file_alloc(name, st);
    if (file == NULL) {
        daxpin_control_destroy(control);
        ret = -ENOMEM;
        goto err;
    }
    file->control = control;
    file->control_fd = welcome->control_fd;
    file->fd         = welcome->fd;
    file->holder_pid = welcome->pid;
    file->generation = welcome->generation;
    file->exposed    = exposed;
    file->fence      = daxpin_control_needs_fence(file->control);
    daxpin_file_look(file);

    pthread_mutex_lock(&daxpin_lock);
    ret = daxpin_share_follow(file, welcome);
    if (ret == 0) {
        LIST_INSERT_HEAD(&daxpin_files, file, link);
    }
    pthread_mutex_unlock(&daxpin_lock);
    if (ret != 0) {
        close(welcome->sock);
        daxpin_file_free(file);
        return ret;
    }
    *file_p = file;
    return 0;

err:
    close(welcome->control_fd);
    close(welcome->fd);
    close(welcome->sock);
    return ret;
}

const daxpin_control_t *daxpin_file_control(const daxpin_file_t *file)
{
    return file->control;
}

daxpin_state_t daxpin_file_state(const daxpin_file_t *file)
{
    return (daxpin_state_t)atomic_load_explicit(&file->control->state,
                                                memory_order_acquire);
}

int daxpin_file_is_alive(const daxpin_file_t *file)
{
    daxpin_state_t state = daxpin_file_state(file);

    return (file->revoke.phase == DAXPIN_PHASE_NONE) &&
           ((state == DAXPIN_STATE_PENDING) || (state == DAXPIN_STATE_HELD) ||
            (state == DAXPIN_STATE_LENT));
}

daxpin_file_t *daxpin_file_find(dev_t dev, uint64_t ino)
{
    daxpin_file_t *file;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(file, &daxpin_files, link) {
        if ((file->ino == ino) && (file->dev == dev) &&
            daxpin_file_is_alive(file)) {
            ++file->refs;
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    return file;
}

int daxpin_range_is_control(uintptr_t addr, size_t length)
{
    const daxpin_file_t *file;
    uintptr_t page;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(file, &daxpin_files, link) {
        page = (uintptr_t)file->control;
        if ((page < addr + length) && (page + DAXPIN_CONTROL_SIZE > addr)) {
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    return file != NULL;
}

static int daxpin_file_is_needed(const daxpin_file_t *file)
{
    daxpin_phase_t phase = file->revoke.phase;

    if ((file->refs > 0) || file->calling) {
        return 1;
    }
    if ((phase != DAXPIN_PHASE_NONE) && (phase != DAXPIN_PHASE_DONE)) {
        return 1; /* F_UNLCK comes at its end, and not before */
    }
    return file->holder && (phase == DAXPIN_PHASE_NONE) &&
           daxpin_share_has_members(file);
}

void daxpin_file_destroy_if_unused(daxpin_file_t *file)
{
    if (daxpin_file_is_needed(file)) {
        return;
    }
    daxpin_guard_close(file);
    if (file->holder && (file->revoke.phase == DAXPIN_PHASE_NONE)) {
        daxpin_lease_drop(file->fd);
    }
    LIST_REMOVE(file, link);
    daxpin_share_close(file);
    daxpin_fault_unwatch(file);
    daxpin_file_free(file);
}

void daxpin_file_let_go(daxpin_file_t *file)
{
    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
}

void daxpin_file_ref(daxpin_file_t *file)
{
    pthread_mutex_lock(&daxpin_lock);
    ++file->refs;
    pthread_mutex_unlock(&daxpin_lock);
}

void daxpin_file_close(daxpin_file_t *file)
{
    if (file == NULL) {
        return;
    }
    pthread_mutex_lock(&daxpin_lock);
    --file->refs;
    daxpin_file_destroy_if_unused(file);
    pthread_mutex_unlock(&daxpin_lock);
}

void daxpin_files_fork(void)
{
    daxpin_file_t *file;

    while ((file = LIST_FIRST(&daxpin_files)) != NULL) {
        LIST_REMOVE(file, link);
        LIST_INSERT_HEAD(&daxpin_forked, file, link);
        daxpin_share_close(file);
        daxpin_guard_fork(file);
        daxpin_file_replace_own_maps(file);
        daxpin_control_detach(file->control, DAXPIN_STATE_REVOKED);
        snprintf(file->control->cause, sizeof(file->control->cause),
                 "%s: this process is a child of the one that opened it, and "
                 "not a member; open it here", file->path);
        file->revoke.phase = DAXPIN_PHASE_DONE;
        file->calling      = 0;
        if (file->control_fd >= 0) {
            close(file->control_fd);
            file->control_fd = -1;
        }
        daxpin_hold_drop(&file->hold);
        daxpin_pins_fork(&file->pins);
        daxpin_file_let_go(file);
    }
    pthread_cond_init(&daxpin_called, NULL);
}

/* Every member that may access has a hold of its own: the death of one must
 * not open the lock. One that may not is without, so that others who map the
 * file late can make it longer. */
void daxpin_file_follow_hold(daxpin_file_t *file)
{
    if (!file->holder && file->exposed && daxpin_file_is_alive(file) &&
        (atomic_load(&file->control->locks) & DAXPIN_LOCK_HOLD) &&
        !atomic_load(&file->control->waived) &&
        !daxpin_hold_is_placed(&file->hold)) {
        daxpin_file_place_hold(file);
    }
}

/* The holder's word that it is waived may be old by now */
void daxpin_file_hold_again(daxpin_file_t *file)
{
    if ((file->holder || file->exposed) && (file->growing == 0) &&
        (file->fd >= 0) && (file->revoke.phase != DAXPIN_PHASE_DONE) &&
        atomic_load(&file->control->waived) &&
        !daxpin_hold_is_placed(&file->hold)) {
        daxpin_file_place_hold(file);
        daxpin_report_update(file);
    }
}

int daxpin_file_wait(daxpin_file_t *file, uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = 100 * DAXPIN_USEC};
    const char *cause           = file->control->cause;

    if (file->holder) {
        deadline += DAXPIN_WHO_BOUND;
    }
    for (;;) {
        switch (daxpin_file_state(file)) {
        case DAXPIN_STATE_HELD:
        case DAXPIN_STATE_LENT:
            if (!file->holder && atomic_load(&file->control->growing)) {
                break;
            }
            pthread_mutex_lock(&daxpin_lock);
            daxpin_file_follow_hold(file);
            pthread_mutex_unlock(&daxpin_lock);
            return 0;
        case DAXPIN_STATE_RELEASED:
            return daxpin_error(ESTALE, "%s: its holder (pid %d) has released "
                                "the lease; open it again when he has closed "
                                "it", file->path, (int)file->holder_pid);
        case DAXPIN_STATE_REVOKED:
            return daxpin_error(file->lease.error ? file->lease.error : EAGAIN,
                                "%s", cause);
        default:
            break;
        }
        if (daxpin_now() > deadline) {
            return daxpin_error(ETIMEDOUT, "%s: no lease in time: its holder "
                                "(pid %d) does not get or give it, or still "
                                "makes the file longer; is it stopped?",
                                file->path, (int)file->holder_pid);
        }
        nanosleep(&pause, NULL);
    }
}

/*
 * Mappings
 */

/* With daxpin_lock held: a revoke closes the descriptor */
static size_t daxpin_file_size(const daxpin_file_t *file)
{
    struct stat st;

    if ((file->fd >= 0) && (fstat(file->fd, &st) == 0)) {
        return (size_t)st.st_size;
    }
    return atomic_load(&file->control->length);
}

int daxpin_file_dup(const daxpin_file_t *file)
{
    int fd;

    pthread_mutex_lock(&daxpin_lock);
    if (file->fd < 0) {
        fd = daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                          file->path, file->control->cause);
    } else {
        fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
        fd = (fd >= 0) ? fd : daxpin_error(errno, "%s: no descriptor is left: "
                                           "%m; raise the limit of open files "
                                           "(ulimit -n)", file->path);
    }
    pthread_mutex_unlock(&daxpin_lock);
    return fd;
}

/* The whole file: no length is set, because libpmem2 wants one to be a
 * multiple of a page. With daxpin_lock held. */
static daxpin_map_t *daxpin_file_map(daxpin_file_t *file)
{
    struct pmem2_config *config = NULL;
    struct pmem2_source *source = NULL;
    daxpin_map_t *map           = calloc(1, sizeof(*map));

    if ((map == NULL) || (pmem2_source_from_fd(&source, file->fd) != 0) ||
        (pmem2_config_new(&config) != 0) ||
        (pmem2_config_set_required_store_granularity(
                 config, PMEM2_GRANULARITY_PAGE) != 0) ||
        (pmem2_map_new(&map->pmem2, config, source) != 0)) {
        daxpin_error(ENOMEM, "%s: cannot be mapped: %s", file->path,
                     pmem2_errormsg());
        free(map);
        map = NULL;
        goto out;
    }
    map->addr   = pmem2_map_get_address(map->pmem2);
    map->length = pmem2_map_get_size(map->pmem2);
    map->prot   = PROT_READ | PROT_WRITE;
    map->refs   = 1;
    LIST_INSERT_HEAD(&file->maps, map, link);
    if (daxpin_fault_watch(file, (uintptr_t)map->addr,
                           (uintptr_t)map->addr + map->length) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    }
out:
    pmem2_config_delete(&config);
    pmem2_source_delete(&source);
    return map;
}

daxpin_map_t *daxpin_file_find_map(daxpin_file_t *file, uint64_t end)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if ((map->pmem2 != NULL) && (map->length >= end)) {
            return map;
        }
    }
    return NULL;
}

void *daxpin_file_addr(daxpin_file_t *file, uint64_t offset, size_t length)
{
    daxpin_map_t *map = NULL;
    uint64_t end;
    size_t size;

    pthread_mutex_lock(&daxpin_lock);
    size = daxpin_file_size(file);
    if (!__builtin_add_overflow(offset, length, &end) && (end <= size)) {
        map = daxpin_file_find_map(file, end);
        if ((map == NULL) && daxpin_file_is_alive(file)) {
            map = daxpin_file_map(file);
        } else if (map == NULL) {
            daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                         file->path, file->control->cause);
        }
    } else {
        daxpin_error(EFAULT, "%s: bytes %lu to %lu are not in the file, which "
                     "has %zu", file->path, offset, end, size);
    }
    pthread_mutex_unlock(&daxpin_lock);
    return (map != NULL) ? (char*)map->addr + offset : NULL;
}

int daxpin_file_add_map(daxpin_file_t *file, uintptr_t addr, size_t length,
                        uint64_t offset, int prot)
{
    daxpin_map_t *map;
    int ret = 0;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(map, &file->maps, link) {
        if ((map->addr == (void*)addr) && (map->length == length) &&
            (map->pmem2 == NULL)) {
            ++map->refs;
            goto out;
        }
    }
    map = calloc(1, sizeof(*map));
    if (map == NULL) {
        ret = daxpin_error(ENOMEM, "%s: out of memory", file->path);
        goto out;
    }
    map->addr   = (void*)addr;
    map->length = length;
    map->offset = offset;
    map->prot   = prot;
    map->refs   = 1;
    LIST_INSERT_HEAD(&file->maps, map, link);
out:
    /* Revoked while it was not in the list: nobody replaced it */
    if ((ret == 0) && !daxpin_file_is_alive(file)) {
        ret = daxpin_error(ESTALE, "%s", file->control->cause);
        if (--map->refs == 0) {
            LIST_REMOVE(map, link);
            free(map);
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

void daxpin_file_remove_map(daxpin_file_t *file, uintptr_t addr,
                            size_t length)
{
    daxpin_map_t *map;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(map, &file->maps, link) {
        if ((map->addr == (void*)addr) && (map->length == length) &&
            (map->pmem2 == NULL)) {
            break;
        }
    }
    if ((map != NULL) && (--map->refs == 0)) {
        LIST_REMOVE(map, link);
        free(map);
    }
    pthread_mutex_unlock(&daxpin_lock);
}

/*
 * Space
 */

static int daxpin_file_has_others(daxpin_file_t *file)
{
    return (file->refs > 1) || !daxpin_share_is_alone(file);
}

/* With daxpin_lock held: who joins now finds the file as it is then */
static int daxpin_file_shrink_locked(daxpin_file_t *file, size_t length)
{
    int held = daxpin_hold_is_placed(&file->hold);
    int ret;

    if (!file->holder) {
        return daxpin_error(EPERM, "%s: cannot shrink to %zu bytes: its holder "
                            "(pid %d) has to do that", file->path, length,
                            (int)file->holder_pid);
    }
    if (!daxpin_file_is_alive(file)) {
        return daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                            file->path, file->control->cause);
    }
    if (daxpin_file_has_others(file)) {
        return daxpin_error(EBUSY, "%s: stays at %zu bytes, because it is in "
                            "use by others as well", file->path,
                            daxpin_file_size(file));
    }
    if (file->pins.modules > 0) {
        return daxpin_error(EBUSY, "%s: cannot shrink to %zu bytes while ranges"
                            " of it are pinned by the kernel module; unpin them"
                            " first", file->path, length);
    }
    daxpin_hold_drop(&file->hold); /* It would stop us as well */
    ret = daxpin_space_cut(file->fd, length);
    if (ret != 0) {
        daxpin_error(-ret, "%s: cannot go back to %zu bytes: %s", file->path,
                     length, strerror(-ret));
    }
    daxpin_file_note_size(file);
    if (held) {
        daxpin_file_place_hold(file);
    }
    return ret;
}

int daxpin_file_shrink(daxpin_file_t *file, size_t length)
{
    int ret;

    pthread_mutex_lock(&daxpin_lock);
    ret = daxpin_file_shrink_locked(file, length);
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

/*
 * Open
 */

typedef struct daxpin_open {
    const char *path;
    size_t     length;
    int        created;    /* by this call */
    int        fd;         /* the description once more, if this call opened
                              it; else -1 */
    off_t      old_length;
    struct stat made;      /* what it was made */
} daxpin_open_t;

/* elect.h: this process is to be the holder, and gets the description. Space
 * is made before the lease is there: nobody else can access the file yet. */
static int daxpin_open_description(void *arg, const struct stat *st,
                                   uint64_t deadline, int *fd_p)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    daxpin_open_t *open_args    = arg;
    const char *path            = open_args->path;
    struct statx stx;
    struct stat now;
    int fd, is_dax, ret;

    /* O_NONBLOCK: somebody else's lease must not keep us for its whole time */
    while ((fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0) {
        if ((errno != EAGAIN) || (daxpin_now() > deadline)) {
            return daxpin_error((errno == ENOENT) ? ESTALE : errno,
                                "%s: cannot open for reading and writing: %s",
                                path, (errno == EAGAIN) ?
                                "another program has a lease on it" :
                                strerror(errno));
        }
        nanosleep(&pause, NULL);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    if ((fstat(fd, &now) != 0) || (now.st_ino != st->st_ino) ||
        (now.st_dev != st->st_dev)) {
        ret = daxpin_error(ESTALE, "%s: was replaced by another file while it "
                           "was being opened; try again", path);
        close(fd);
        return ret;
    }
    is_dax = (statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
             (stx.stx_attributes & STATX_ATTR_DAX);
    ret    = is_dax ? daxpin_space_await_truncate(path, fd, deadline) : 0;
    if (ret == 0) {
        ret = daxpin_space_grow(path, fd, is_dax, open_args->length, 1);
    }
    if (ret != 0) {
        goto err;
    }
    if (fstat(fd, &open_args->made) != 0) {
        ret = daxpin_error(errno, "%s: cannot be looked at: %m", path);
        goto err;
    }
    open_args->old_length = now.st_size;
    open_args->fd         = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    *fd_p                 = fd;
    return 0;

err:
    /* Nobody else of daxpin can have it before the election is over */
    if (open_args->created) {
        unlink(path);
    }
    close(fd);
    return ret;
}

static int daxpin_open_create(const char *path, const daxpin_params_t *params,
                              struct stat *st, int *created_p)
{
    mode_t mode = (params->mode != 0) ? params->mode : 0600;
    int fd;

    *created_p = 0;
    if ((stat(path, st) != 0) && (errno == ENOENT)) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if ((fd < 0) && (errno != EEXIST)) {
            return daxpin_error(errno, "%s: cannot create: %m", path);
        }
        *created_p = fd >= 0;
        if (fd >= 0) {
            close(fd);
        }
    }
    if (stat(path, st) != 0) {
        return daxpin_error(errno, "%s: cannot be looked at: %m", path);
    }
    if (S_ISDIR(st->st_mode)) {
        return daxpin_error(EISDIR, "%s: is a directory; name a file in it",
                            path);
    }
    if (!S_ISREG(st->st_mode)) {
        return daxpin_error(EINVAL, "%s: is not a regular file; device DAX "
                            "needs no lease, map it directly", path);
    }
    return 0;
}

/* Also where the guard stands in for the hold, which may be back any moment */
static int daxpin_file_is_held(const daxpin_file_t *file)
{
    return daxpin_hold_is_placed(&file->hold) ||
           (atomic_load(&file->control->locks) & DAXPIN_LOCK_HOLD);
}

/* A hold would stop us as well as anybody else: it is put aside, if it is the
 * only one, for as long as any thread of ours is at this. The lease stays. Who
 * is a member was counted; who becomes one now sees that the file is growing
 * before he could hold it. */
static int daxpin_open_grow_begin(daxpin_file_t *file, size_t length)
{
    int held, others;

    pthread_mutex_lock(&daxpin_lock);
    held   = daxpin_file_is_held(file);
    others = (held && (!file->holder || daxpin_share_has_members(file))) ||
             (file->pins.modules > 0);
    if (!others) {
        ++file->growing;
        daxpin_hold_drop(&file->hold);
        if (file->holder) {
            atomic_store(&file->control->growing, 1);
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    if (others) {
        return daxpin_error(EBUSY, "%s: cannot grow to %zu bytes, because "
                            "other processes hold its blocks; the first one "
                            "to open it has to ask for the greatest length",
                            file->path, length);
    }
    return 0;
}

/* While PENDING there is no hold: it comes with the lease, see lease.c */
static void daxpin_open_grow_end(daxpin_file_t *file)
{
    daxpin_state_t state;

    pthread_mutex_lock(&daxpin_lock);
    state = daxpin_file_state(file);
    if ((--file->growing == 0) && file->holder) {
        if (file->holdable && ((state == DAXPIN_STATE_HELD) ||
                               (state == DAXPIN_STATE_LENT))) {
            daxpin_file_place_hold(file);
        }
        atomic_store(&file->control->growing, 0);
    }
    pthread_mutex_unlock(&daxpin_lock);
}

static int daxpin_open_grow(daxpin_file_t *file, size_t length)
{
    int fd, ret;

    ret = daxpin_open_grow_begin(file, length);
    if (ret != 0) {
        return ret;
    }
    ret = fd = daxpin_file_dup(file);
    if (fd >= 0) {
        ret = daxpin_space_grow(file->path, fd, file->is_dax, length, 0);
        close(fd);
    }
    daxpin_open_grow_end(file);
    return ret;
}

static int daxpin_open_finish(daxpin_file_t *file, size_t length,
                              uint64_t deadline)
{
    int ret = daxpin_file_wait(file, deadline + DAXPIN_SEC);

    if ((ret == 0) && (daxpin_file_length(file) < length)) {
        ret = daxpin_open_grow(file, length);
    }
    if (ret != 0) {
        return ret;
    }
    if (daxpin_file_addr(file, 0, length) == NULL) {
        pthread_mutex_lock(&daxpin_lock);
        ret = daxpin_file_is_alive(file) ? -ENOMEM : -ESTALE;
        pthread_mutex_unlock(&daxpin_lock);
        return ret;
    }
    return 0;
}

/* Who has it open by himself may write to it, as long as there is no lease */
static int daxpin_open_is_untouched(const daxpin_open_t *open_args)
{
    const struct stat *made = &open_args->made;
    struct stat st;

    return (fstat(open_args->fd, &st) == 0) && (st.st_size == made->st_size) &&
           (st.st_mtim.tv_sec == made->st_mtim.tv_sec) &&
           (st.st_mtim.tv_nsec == made->st_mtim.tv_nsec);
}

/* It could not be leased, or not be mapped: leave it as it was, unless somebody
 * has had it under this lease meanwhile, or has written to it */
static void daxpin_open_undo(const daxpin_open_t *open_args,
                             daxpin_file_t *file)
{
    int undone = 0;

    if (open_args->fd < 0) {
        return;
    }
    pthread_mutex_lock(&daxpin_lock);
    if ((file == NULL) || !file->lease.once || !daxpin_file_has_others(file)) {
        if (file != NULL) {
            daxpin_hold_drop(&file->hold);
        }
        undone = daxpin_open_is_untouched(open_args) &&
                 (daxpin_space_cut(open_args->fd,
                                  (size_t)open_args->old_length) == 0);
    }
    pthread_mutex_unlock(&daxpin_lock);
    if (undone && open_args->created) {
        unlink(open_args->path);
    }
}

/* -ESTALE: the path leads to another file by now */
static int daxpin_open_try(const char *path, size_t length,
                           const daxpin_params_t *params, uint64_t deadline,
                           daxpin_file_t **file_p)
{
    daxpin_open_t open_args = {.length = length, .fd = -1};
    char *real_path;
    struct stat st;
    int ret;

    ret = daxpin_open_create(path, params, &st, &open_args.created);
    if (ret != 0) {
        return ret;
    }
    real_path      = realpath(path, NULL);
    open_args.path = (real_path != NULL) ? real_path : path;
    ret = daxpin_elect(open_args.path, &st, 0, params, daxpin_open_description,
                       &open_args, file_p);
    if (ret == 0) {
        ret = daxpin_open_finish(*file_p, length, deadline);
    }
    if (ret != 0) {
        daxpin_open_undo(&open_args, *file_p);
        daxpin_file_close(*file_p);
        *file_p = NULL;
    }
    if (open_args.fd >= 0) {
        close(open_args.fd);
    }
    free(real_path);
    return ret;
}

int daxpin_file_open(const char *path, size_t length,
                     const daxpin_params_t *params, daxpin_file_t **file_p)
{
    const daxpin_params_t defaults = {0};
    uint64_t deadline;
    int ret;

    *file_p  = NULL;
    params   = (params != NULL) ? params : &defaults;
    deadline = daxpin_elect_deadline(params);
    ret      = daxpin_library_start();
    if (ret != 0) {
        return ret;
    }
    do {
        ret = daxpin_open_try(path, length, params, deadline, file_p);
    } while ((ret == -ESTALE) && (daxpin_now() < deadline));
    return ret;
}

int daxpin_file_attach(const daxpin_key_t *key, daxpin_file_t **file_p)
{
    daxpin_file_t *file = NULL;
    int ret;

    *file_p = NULL;
    if (key->uid != geteuid()) {
        return daxpin_error(EPERM, "inode %lu: its holder runs as user %u, "
                            "this process as %u; run the job as one user",
                            key->ino, key->uid, (unsigned)geteuid());
    }
    ret = daxpin_library_start();
    if (ret == 0) {
        ret = daxpin_elect_attach(key, &file);
    }
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_file_wait(file, daxpin_now() + DAXPIN_TIMEOUT_DEFAULT_MS *
                                 DAXPIN_MSEC);
    if (ret != 0) {
        daxpin_file_close(file);
        return (ret == -EAGAIN) ? -ESTALE : ret;
    }
    *file_p = file;
    return 0;
}

/*
 * What there is to know
 */

size_t daxpin_file_length(const daxpin_file_t *file)
{
    size_t size;

    pthread_mutex_lock(&daxpin_lock);
    size = daxpin_file_size(file);
    pthread_mutex_unlock(&daxpin_lock);
    return size;
}

const char *daxpin_file_path(const daxpin_file_t *file)
{
    return file->path;
}

int daxpin_file_is_dax(const daxpin_file_t *file)
{
    return file->is_dax;
}

int daxpin_file_numa_node(const daxpin_file_t *file)
{
    return file->numa_node;
}

const char *daxpin_file_granularity(daxpin_file_t *file)
{
    const char *name  = "page";
    daxpin_map_t *map = NULL;

    /* Of what was adopted only, there is no mapping of ours yet */
    (void)daxpin_file_addr(file, 0, 0);
    pthread_mutex_lock(&daxpin_lock);
    map = daxpin_file_find_map(file, 0);
    if (map != NULL) {
        switch (pmem2_map_get_store_granularity(map->pmem2)) {
        case PMEM2_GRANULARITY_BYTE:
            name = "byte";
            break;
        case PMEM2_GRANULARITY_CACHE_LINE:
            name = "cache line";
            break;
        default:
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    return name;
}

int daxpin_file_is_holder(const daxpin_file_t *file)
{
    return file->holder;
}

const char *daxpin_state_name(daxpin_state_t state)
{
    static const char *names[] = {
        [DAXPIN_STATE_PENDING]  = "PENDING",
        [DAXPIN_STATE_HELD]     = "HELD",
        [DAXPIN_STATE_LENT]     = "LENT",
        [DAXPIN_STATE_BREAKING] = "BREAKING",
        [DAXPIN_STATE_REVOKED]  = "REVOKED",
        [DAXPIN_STATE_RELEASED] = "RELEASED"
    };

    return ((unsigned)state < sizeof(names) / sizeof(names[0])) ?
                   names[state] :
                   "unknown";
}

unsigned daxpin_file_locks_now(const daxpin_file_t *file)
{
    unsigned locks = atomic_load(&file->control->locks);

    if (daxpin_file_state(file) == DAXPIN_STATE_HELD) {
        locks |= DAXPIN_LOCK_LEASE;
    }
    if (atomic_load(&file->control->waived)) {
        locks &= ~(unsigned)DAXPIN_LOCK_HOLD;
    }
    if (daxpin_hold_is_placed(&file->hold)) {
        locks |= DAXPIN_LOCK_HOLD;
    }
    if (file->guard.status == DAXPIN_GUARD_STATUS_GUARDED) {
        locks |= DAXPIN_LOCK_GUARD;
    }
    if (file->pins.modules > 0) {
        locks |= DAXPIN_LOCK_MODULE;
    }
    return locks;
}

unsigned daxpin_file_locks(const daxpin_file_t *file)
{
    unsigned locks;

    pthread_mutex_lock(&daxpin_lock);
    locks = daxpin_file_locks_now(file);
    pthread_mutex_unlock(&daxpin_lock);
    return locks;
}

char *daxpin_locks_names(unsigned locks, char *buffer, size_t size)
{
    static const struct {
        unsigned   lock;
        const char *name;
    } known[] = {
        {DAXPIN_LOCK_LEASE, "lease"},
        {DAXPIN_LOCK_HOLD, "hold"},
        {DAXPIN_LOCK_GUARD, "guard"},
        {DAXPIN_LOCK_MODULE, "module"}
    };
    size_t used = 0, i;

    snprintf(buffer, size, "none");
    for (i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
        if ((locks & known[i].lock) && (used < size)) {
            used += (size_t)snprintf(buffer + used, size - used, "%s%s",
                                     (used > 0) ? "," : "", known[i].name);
        }
    }
    return buffer;
}

void daxpin_file_key(const daxpin_file_t *file, daxpin_key_t *key)
{
    key->dev        = file->dev;
    key->ino        = file->ino;
    key->generation = file->generation;
    key->uid        = geteuid();
    key->pid        = (uint32_t)file->holder_pid;
}

void daxpin_file_cause(const daxpin_file_t *file, char *buffer, size_t size)
{
    daxpin_state_t state = daxpin_file_state(file);
    int ended = (state == DAXPIN_STATE_BREAKING) ||
                (state == DAXPIN_STATE_REVOKED);

    snprintf(buffer, size, "%s", ended ? file->control->cause : "");
}

/*
 * Callbacks
 */

int daxpin_file_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                          void *arg)
{
    daxpin_callback_t *callback = malloc(sizeof(*callback));
    int ret                     = 0;

    if (callback == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    callback->cb  = cb;
    callback->arg = arg;
    pthread_mutex_lock(&daxpin_lock);
    if (daxpin_file_is_alive(file)) {
        LIST_INSERT_HEAD(&file->callbacks, callback, link);
    } else {
        ret = daxpin_error(ESTALE, "%s: is %s already", file->path,
                           daxpin_state_name(daxpin_file_state(file)));
        free(callback);
    }
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

void daxpin_file_cancel_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                                  void *arg)
{
    daxpin_callback_t *callback;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(callback, &file->callbacks, link) {
        if ((callback->cb == cb) && (callback->arg == arg)) {
            LIST_REMOVE(callback, link);
            free(callback);
            goto out;
        }
    }
    while (file->calling && !daxpin_monitor_is_self()) {
        pthread_cond_wait(&daxpin_called, &daxpin_lock);
    }
out:
    pthread_mutex_unlock(&daxpin_lock);
}

void daxpin_file_note_size(daxpin_file_t *file)
{
    struct stat st;

    if (fstat(file->fd, &st) == 0) {
        atomic_store(&file->control->length, (uint64_t)st.st_size);
        /* No more than it needs: what a file system has put by beyond the
         * end, it may take back */
        file->lease.blocks = st.st_size / 512;
        if (st.st_blocks < file->lease.blocks) {
            file->lease.blocks = st.st_blocks;
        }
    }
}
