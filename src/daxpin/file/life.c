/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Create and destroy the files of this process */

#include "life.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/fstype.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/locality.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/roster.h"
#include "daxpin/os/vma.h"
#include "fault.h"
#include "guard.h"
#include "join.h"
#include "keep.h"
#include "maps.h"
#include "pin.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <fcntl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Files of the parent, in the child of a fork: the program can only close
 * them */
static struct daxpin_files daxpin_forked = LIST_HEAD_INITIALIZER(daxpin_forked);

/* Files without a user, whose held page is to be unmapped once more */
static struct daxpin_files daxpin_leaving =
        LIST_HEAD_INITIALIZER(daxpin_leaving);

/* The process exits: libpmem2 has run its destructors, or is about to */
static _Atomic int daxpin_files_exited;

/* How long exit() waits for a thread that has daxpin_mutex: it may be the one that
 * exits */
#define DAXPIN_EXIT_BOUND_SEC 1

/* The loop thread goes on while the process exits, and destroys files that others
 * leave. The library's own mappings end with the process then. */
static __attribute__((destructor)) void daxpin_files_exit(void)
{
    struct timespec until;
    int locked;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DAXPIN_EXIT_BOUND_SEC;
    locked = pthread_mutex_timedlock(&daxpin_mutex, &until) == 0;
    atomic_store(&daxpin_files_exited, 1);
    if (locked) {
        pthread_mutex_unlock(&daxpin_mutex);
    }
}

static daxpin_file_t *daxpin_file_alloc(const char *path, const struct stat *st)
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
    file->late_fd         = -1;
    file->control_fd      = -1;
    file->watch_fd        = -1;
    file->roster_fd       = -1;
    file->growth_fd       = -1;
    daxpin_watch_init(&file->watch);
    daxpin_share_init(file);
    daxpin_hold_init(&file->hold);
    daxpin_guard_init(&file->guard);
    LIST_INIT(&file->maps);
    LIST_INIT(&file->callbacks);
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
        if (map->is_own && !atomic_load(&daxpin_files_exited)) {
            daxpin_map_unmap(map);
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
    if (file->roster_fd >= 0) {
        close(file->roster_fd);
    }
    daxpin_file_drop_fd(file);
    daxpin_slots_destroy(file->slots);
    free(file->accesses);
    free(file->spans.spans);
    free(file->path);
    free(file);
}

/* Report a distant NUMA node, once in a process. It is a warning only at the
 * holder: if the members run on several nodes, some are always distant. */
static void daxpin_file_warn_far(const daxpin_file_t *file)
{
    static _Atomic int warned;

    if (daxpin_locality_is_far(file->numa_node) &&
        !atomic_exchange(&warned, 1)) {
        daxpin_log(file->holder ? DAXPIN_LOG_WARN : DAXPIN_LOG_INFO,
                   "%s: is on NUMA node %d, and this process may run only far "
                   "from it (on node %d, distance %d), so access is slower; "
                   "bind the process to node %d, or use a file near it",
                   file->path,
                   file->numa_node, daxpin_cpu_numa_node(),
                   daxpin_locality_distance(daxpin_cpu_numa_node(),
                                            file->numa_node),
                   file->numa_node);
    }
}

/* Return whether the kernel grants MAP_SYNC, which not every DAX device allows. */
static int daxpin_file_can_sync(const daxpin_file_t *file)
{
    void *page;

    pthread_mutex_lock(&daxpin_mutex); /* A child of fork() would keep it */
    page = mmap(NULL, 1, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, file->fd,
                0);
    if (page != MAP_FAILED) {
        munmap(page, 1);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return page != MAP_FAILED;
}

/* Get the properties of the file. In /proc/self/maps, some file systems have
 * other numbers than fstat() returns. */
static void daxpin_file_inspect(daxpin_file_t *file)
{
    void *page;
    daxpin_fstype_t type;
    daxpin_piece_t piece;
    struct statx stx;

    pthread_mutex_lock(&daxpin_mutex); /* A child of fork() would keep it */
    page = mmap(NULL, 1, PROT_READ, MAP_SHARED, file->fd, 0);
    if (page != MAP_FAILED) {
        if (daxpin_vma_find((uintptr_t)page, &piece) == 0) {
            file->map_dev = piece.dev;
            file->map_ino = piece.ino;
        }
        munmap(page, 1);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    file->is_dax = (statx(file->fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
                   ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
    file->syncs  = file->is_dax && daxpin_file_can_sync(file);
    (void)daxpin_fstype_of_fd(file->fd, &type);
    file->counts    = type.counts;
    file->numa_node = daxpin_locality_of_file(file->fd, "");
    daxpin_file_warn_far(file);
}

/* Serve a new file of this process. The description, the address and a place on
 * the roster are of a file that a fork() finds in the list of all, at once. Return
 * 0, or -errno with a message. Caller holds daxpin_mutex. */
static int daxpin_file_begin_holder(daxpin_file_t *file, int *fd_p,
                                    daxpin_address_t *address)
{
    int ret;

    file->roster_fd = daxpin_roster_open(address->lock_fd, file->turn);
    if (file->roster_fd < 0) {
        ret = -file->roster_fd;
        return daxpin_error(ret, "%s: cannot begin its roster: %s; check that "
                            "/proc is mounted, and the limit of open files "
                            "(ulimit -n)", file->path, strerror(ret));
    }
    /* Members get the instance */
    (void)daxpin_watch_place(&file->watch, file->fd);
    ret = daxpin_share_serve(file, address);
    if (ret != 0) {
        daxpin_watch_drop(&file->watch);
        return ret;
    }
    *fd_p = -1;
    daxpin_address_init(address);
    LIST_INSERT_HEAD(&daxpin_files, file, link);
    daxpin_file_want(file);
    return 0;
}

int daxpin_file_create_holder(const char *path, const struct stat *st,
                              int *fd_p, daxpin_address_t *address,
                              const daxpin_params_t *params,
                              daxpin_file_t **file_p)
{
    daxpin_file_t *file = daxpin_file_alloc(path, st);
    const int fd        = *fd_p;
    int ret;

    if (file == NULL) {
        *fd_p = -1;
        daxpin_close(fd);
        daxpin_address_close(address);
        return -ENOMEM;
    }
    file->fd              = fd;
    file->holder          = 1;
    file->holder_pid      = getpid();
    file->on_break        = params->on_break;
    ret = daxpin_control_create(path, &file->control, &file->control_fd);
    if (ret != 0) {
        goto err;
    }
    while ((file->generation == 0) &&
           (getrandom(&file->generation, sizeof(file->generation), 0) >= 0)) {
    }
    file->control->dev        = file->dev;
    file->control->ino        = file->ino;
    file->control->generation = file->generation;
    file->control->on_break   = (uint32_t)file->on_break;
    snprintf(file->control->path, sizeof(file->control->path), "%s", path);
    file->fence = daxpin_control_needs_fence(file->control);
    daxpin_file_inspect(file);

    pthread_mutex_lock(&daxpin_mutex);
    ret = daxpin_file_begin_holder(file, fd_p, address);
    pthread_mutex_unlock(&daxpin_mutex);
    if (ret != 0) {
        goto err;
    }
    *file_p = file;
    return 0;

err:
    *fd_p = -1;
    daxpin_address_close(address);
    daxpin_file_free(file);
    return ret;
}

int daxpin_file_create_member(const char *path, const struct stat *st,
                            daxpin_welcome_t *welcome, int exposed,
                            daxpin_file_t **file_p)
{
    const daxpin_key_t key = {.dev = st->st_dev, .ino = st->st_ino};
    const int control_fd   = welcome->control_fd;
    char name[DAXPIN_PATH_MAX];
    daxpin_control_t *control;
    daxpin_file_t *file;
    int ret;

    ret = daxpin_control_attach(welcome->control_fd, &key, &control);
    if (ret != 0) {
        goto err;
    }
    /* Another process writes control->path: it may lack the final null */
    snprintf(name, sizeof(name), "%.*s", DAXPIN_PATH_MAX - 1,
             (path != NULL) ? path : control->path);
    file = daxpin_file_alloc(name, st);
    if (file == NULL) {
        daxpin_control_destroy(control);
        ret = -ENOMEM;
        goto err;
    }
    welcome->control_fd = -1;
    close(control_fd); /* The mapping is all that a member needs */
    file->control    = control;
    file->fd         = welcome->fd;
    file->roster_fd  = welcome->roster_fd;
    file->turn       = control->turn;
    file->holder_pid = welcome->pid;
    file->generation = welcome->generation;
    file->exposed    = exposed;
    file->fence      = daxpin_control_needs_fence(file->control);
    daxpin_file_inspect(file);

    pthread_mutex_lock(&daxpin_mutex);
    file->watch_fd = daxpin_watch_keep(welcome->watch, welcome->watch_fd);
    ret = daxpin_share_follow(file, welcome->conn, welcome->sock,
                              welcome->pid);
    if (ret == 0) {
        LIST_INSERT_HEAD(&daxpin_files, file, link);
        daxpin_file_want(file);
    } else {
        daxpin_watch_release(&file->watch_fd);
        close(welcome->sock);
        daxpin_share_forgo(welcome->conn);
    }
    daxpin_welcome_forget(welcome);
    pthread_mutex_unlock(&daxpin_mutex);
    if (ret != 0) {
        daxpin_file_free(file);
        return ret;
    }
    daxpin_loop_wake(); /* for daxpin_member_tick(): when to look again */
    *file_p = file;
    return 0;

err:
    daxpin_welcome_discard(welcome);
    return ret;
}

static int daxpin_file_is_needed(const daxpin_file_t *file)
{
    daxpin_phase_t phase = file->revoke.phase;

    if ((file->refs > 0) || file->calling) {
        return 1;
    }
    if ((phase != DAXPIN_PHASE_NONE) && (phase != DAXPIN_PHASE_DONE)) {
        return 1; /* The lease ends at the end of the revoke, and not before */
    }
    return file->holder && (phase == DAXPIN_PHASE_NONE) &&
           daxpin_share_has_members(file);
}

/* Return whether there are mappings that stay when the file is closed. */
static int daxpin_file_has_adopted(const daxpin_file_t *file)
{
    const daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (!map->is_own) {
            return 1;
        }
    }
    return 0;
}

void daxpin_file_destroy_if_unused(daxpin_file_t *file)
{
    if (daxpin_file_is_needed(file)) {
        return;
    }
    if (daxpin_guard_close(file, daxpin_now()) != DAXPIN_NEVER) {
        daxpin_file_wake(file); /* It calls this again */
        return;
    }
    if (file->holder && (file->revoke.phase == DAXPIN_PHASE_NONE) &&
        !daxpin_share_has_lost_members(file)) {
        daxpin_lease_drop(file->fd); /* else the lost members have it */
    }
    daxpin_roster_leave(file->roster_fd); /* before the address is given up */
    LIST_REMOVE(file, link);
    daxpin_report_drop(file);
    daxpin_share_close(file);
    daxpin_file_drop_hold(file);
    daxpin_file_unwant(file); /* The functions above may have wanted it */
    if (!daxpin_fault_unwatch(file)) {
        return; /* Its memory is lost, which is better than to be used again */
    }
    if ((file->unmap.left > 0) && daxpin_file_has_adopted(file)) {
        LIST_INSERT_HEAD(&daxpin_leaving, file, link);
    } else {
        daxpin_file_free(file);
    }
}

uint64_t daxpin_files_leave(uint64_t now)
{
    uint64_t next = DAXPIN_NEVER;
    daxpin_file_t *file, *following;

    for (file = LIST_FIRST(&daxpin_leaving); file != NULL; file = following) {
        following = LIST_NEXT(file, link);
        next = daxpin_earlier(next, daxpin_file_unmap_tick(file, now));
        if (file->unmap.left == 0) {
            LIST_REMOVE(file, link);
            daxpin_file_free(file);
        }
    }
    return next;
}

/* Return whether nothing needs the file but one reference. */
static int daxpin_file_is_last_ref(daxpin_file_t *file)
{
    int is_needed;

    --file->refs;
    is_needed = daxpin_file_is_needed(file);
    ++file->refs;
    return !is_needed;
}

void daxpin_file_close(daxpin_file_t *file)
{
    if (file == NULL) {
        return;
    }
    pthread_mutex_lock(&daxpin_mutex);
    if (!daxpin_loop_is_self()) {
        daxpin_guard_close_wait(file, daxpin_file_is_last_ref);
    }
    --file->refs;
    daxpin_file_destroy_if_unused(file);
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Close the descriptors of the parent in the child of a fork. */
static void daxpin_file_fork_fds(daxpin_file_t *file)
{
    if (file->control_fd >= 0) {
        close(file->control_fd);
        file->control_fd = -1;
    }
    if (file->roster_fd >= 0) {
        close(file->roster_fd); /* The parent keeps its place */
        file->roster_fd = -1;
    }
    if (file->growth_fd >= 0) {
        close(file->growth_fd);
        file->growth_fd = -1;
    }
    daxpin_hold_drop(&file->hold);
    file->fd_users = 0; /* those threads are not here */
    daxpin_file_drop_fd(file);
    if (file->late_fd >= 0) {
        close(file->late_fd);
        file->late_fd = -1;
    }
}

void daxpin_files_fork(void)
{
    daxpin_file_t *file;

    daxpin_share_fork_all();
    while ((file = LIST_FIRST(&daxpin_files)) != NULL) {
        daxpin_file_unwant(file);
        LIST_REMOVE(file, link);
        LIST_INSERT_HEAD(&daxpin_forked, file, link);
        daxpin_share_fork(file);
        daxpin_guard_fork(file);
        daxpin_file_forbid_own_maps(file);
        (void)daxpin_fault_unwatch(file); /* What the child inherits is as it
                                             is */
        daxpin_control_detach(file->control, DAXPIN_STATE_REVOKED);
        snprintf(file->control->cause, sizeof(file->control->cause),
                 "%s: cannot use it in the child of a fork: the parent opened "
                 "it; open the file in this process", file->path);
        file->revoke.phase = DAXPIN_PHASE_DONE;
        file->calling      = 0;
        daxpin_pins_fork(&file->pins);
        daxpin_file_fork_fds(file);
    }
    while ((file = LIST_FIRST(&daxpin_leaving)) != NULL) {
        LIST_REMOVE(file, link);
        LIST_INSERT_HEAD(&daxpin_forked, file, link);
        daxpin_file_forbid_own_maps(file);
        daxpin_file_fork_fds(file);
    }
    daxpin_revoke_fork();
}
