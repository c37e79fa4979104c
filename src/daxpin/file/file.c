/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A leased file of this process: the list of all files, references, state */

#include "file.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The end of a cause is waited for so long: its holder may be stopped */
#define DAXPIN_TELLING_BOUND (100 * DAXPIN_MSEC)

/* How often to look, each ms, whether a file was made shorter */
#define DAXPIN_CUT_TRIES 1000

struct daxpin_files daxpin_files = LIST_HEAD_INITIALIZER(daxpin_files);

static TAILQ_HEAD(, daxpin_file) daxpin_wanted =
        TAILQ_HEAD_INITIALIZER(daxpin_wanted);
static unsigned                  daxpin_num_wanted;

void daxpin_file_want(daxpin_file_t *file)
{
    if (!file->wanted) {
        file->wanted = 1;
        ++daxpin_num_wanted;
        TAILQ_INSERT_TAIL(&daxpin_wanted, file, wanting);
    }
}

void daxpin_file_wake(daxpin_file_t *file)
{
    daxpin_file_want(file);
    daxpin_loop_wake();
}

void daxpin_file_unwant(daxpin_file_t *file)
{
    if (file->wanted) {
        file->wanted = 0;
        --daxpin_num_wanted;
        TAILQ_REMOVE(&daxpin_wanted, file, wanting);
    }
}

daxpin_file_t *daxpin_file_first_wanted(void)
{
    return TAILQ_FIRST(&daxpin_wanted);
}

unsigned daxpin_file_count_wanted(void)
{
    return daxpin_num_wanted;
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

const char *daxpin_file_holder_name(const daxpin_file_t *file, char *buffer,
                                    size_t size)
{
    if (file->holder_pid > 0) {
        snprintf(buffer, size, "pid %d", (int)file->holder_pid);
    } else {
        snprintf(buffer, size, "a process of another pid namespace");
    }
    return buffer;
}

/* Return a live file, or NULL. Caller holds daxpin_mutex. */
static daxpin_file_t *daxpin_file_look_up(dev_t dev, uint64_t ino)
{
    daxpin_file_t *file;

    LIST_FOREACH(file, &daxpin_files, link) {
        if ((file->ino == ino) && (file->dev == dev) &&
            daxpin_file_is_alive(file)) {
            break;
        }
    }
    return file;
}

int daxpin_file_await_cut(const daxpin_file_t *file, unsigned *tries_p)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};

    if (!file->shrinking || (*tries_p >= DAXPIN_CUT_TRIES)) {
        return 0;
    }
    ++*tries_p;
    pthread_mutex_unlock(&daxpin_mutex);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&daxpin_mutex);
    return 1;
}

daxpin_file_t *daxpin_file_find(dev_t dev, uint64_t ino)
{
    unsigned tries = 0;
    daxpin_file_t *file;

    pthread_mutex_lock(&daxpin_mutex);
    do {
        file = daxpin_file_look_up(dev, ino);
    } while ((file != NULL) && daxpin_file_await_cut(file, &tries));
    if ((file != NULL) && !file->shrinking) {
        ++file->refs;
    } else {
        file = NULL; /* Who joins itself tries again, too */
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return file;
}

/* A process that has not mapped the file by itself has no descriptor of its own,
 * because that would have kept the lease away, and so no record lock. */
static void daxpin_file_close_fd(const daxpin_file_t *file, int fd)
{
    if (file->adopted) {
        daxpin_close(fd);
    } else {
        close(fd);
    }
}

void daxpin_file_drop_fd(daxpin_file_t *file)
{
    daxpin_watch_drop(&file->watch);
    daxpin_watch_release(&file->watch_fd);
    if (file->fd < 0) {
        return;
    }
    if (file->fd_users > 0) {
        file->late_fd = file->fd;
    } else {
        daxpin_file_close_fd(file, file->fd);
    }
    file->fd = -1;
}

int daxpin_file_borrow_fd(daxpin_file_t *file)
{
    int fd;

    pthread_mutex_lock(&daxpin_mutex);
    if (file->fd < 0) {
        fd = daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                          file->path, file->control->cause);
    } else {
        fd = file->fd;
        ++file->fd_users;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return fd;
}

void daxpin_file_return_fd(daxpin_file_t *file)
{
    pthread_mutex_lock(&daxpin_mutex);
    if ((--file->fd_users == 0) && (file->late_fd >= 0)) {
        daxpin_file_close_fd(file, file->late_fd);
        file->late_fd = -1;
    }
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Return 0, -EAGAIN if another thread or process has the lock, or another -errno.
 * Note the descriptor with the mutex, so that a child of fork() closes it: else it
 * would keep the lock when this process dies. */
static int daxpin_file_try_growth(daxpin_file_t *file)
{
    int ret = -EAGAIN;

    pthread_mutex_lock(&daxpin_mutex);
    if (file->growth_fd < 0) {
        ret = daxpin_roster_try_growth(file->roster_fd);
        if (ret >= 0) {
            file->growth_fd = ret;
            ret             = 0;
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

int daxpin_file_lock_growth(daxpin_file_t *file, uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    int ret;

    while ((ret = daxpin_file_try_growth(file)) == -EAGAIN) {
        if (daxpin_now() > deadline) {
            return daxpin_error(ETIMEDOUT, "%s: cannot wait longer to grow it "
                                "or to allocate its blocks: another process or "
                                "thread that uses it still does so",
                                file->path);
        }
        nanosleep(&pause, NULL);
    }
    return (ret == 0) ? 0 :
           daxpin_error(-ret, "%s: cannot lock its growth: %s; check that /proc "
                        "is mounted, and the limit of open files (ulimit -n)",
                        file->path, strerror(-ret));
}

void daxpin_file_unlock_growth(daxpin_file_t *file)
{
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_roster_unlock_growth(file->growth_fd);
    file->growth_fd = -1;
    pthread_mutex_unlock(&daxpin_mutex);
}

void daxpin_file_ref(daxpin_file_t *file)
{
    pthread_mutex_lock(&daxpin_mutex);
    ++file->refs;
    pthread_mutex_unlock(&daxpin_mutex);
}

size_t daxpin_file_size(const daxpin_file_t *file)
{
    struct stat st;

    if ((file->fd >= 0) && (fstat(file->fd, &st) == 0)) {
        return (size_t)st.st_size;
    }
    return atomic_load(&file->control->length);
}

size_t daxpin_file_length(const daxpin_file_t *file)
{
    size_t size;

    pthread_mutex_lock(&daxpin_mutex);
    size = daxpin_file_size(file);
    pthread_mutex_unlock(&daxpin_mutex);
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
    if (file->pins.kmods > 0) {
        locks |= DAXPIN_LOCK_MODULE;
    }
    return locks;
}

unsigned daxpin_file_locks(const daxpin_file_t *file)
{
    unsigned locks;

    pthread_mutex_lock(&daxpin_mutex);
    locks = daxpin_file_locks_now(file);
    pthread_mutex_unlock(&daxpin_mutex);
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
    const struct timespec pause = {.tv_nsec = 50 * DAXPIN_USEC};
    const daxpin_state_t state  = daxpin_file_state(file);
    const int ended             = (state == DAXPIN_STATE_BREAKING) ||
                                  (state == DAXPIN_STATE_REVOKED);
    const uint64_t deadline     = daxpin_now() + DAXPIN_TELLING_BOUND;

    while (ended && atomic_load(&file->control->telling) &&
           !daxpin_loop_is_self() && (daxpin_now() < deadline)) {
        nanosleep(&pause, NULL);
    }
    snprintf(buffer, size, "%s", ended ? file->control->cause : "");
}

void daxpin_file_note_size(daxpin_file_t *file)
{
    struct stat st;

    if (fstat(file->fd, &st) == 0) {
        atomic_store(&file->control->length, (uint64_t)st.st_size);
        /* No more than the length needs: the file system may free blocks that
         * it has allocated beyond the end. None if it compresses. */
        file->lease.blocks = file->counts ? st.st_size / 512 : 0;
        if (st.st_blocks < file->lease.blocks) {
            file->lease.blocks = st.st_blocks;
        }
    }
}
