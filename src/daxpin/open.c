/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Open, grow, shrink and attach a file */

#include "daxpin/file/keep.h"
#include "daxpin/file/life.h"
#include "daxpin/file/maps.h"
#include "daxpin/file/params.h"
#include "daxpin/file/share.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/space.h"
#include "daxpin.h"
#include "description.h"
#include "elect.h"
#include "library.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often to try to shrink a file that another process changes now, every
 * ms */
#define DAXPIN_SHRINK_TRIES 100

/* How long to wait for a holder to go that could not fill a new file */
#define DAXPIN_UNDO_BOUND (2 * DAXPIN_SEC)

/* Return whether anybody else uses the file. After a hand-over, a member that has
 * not followed this holder yet has no connection, and uses it all the same. */
static int daxpin_file_has_others(daxpin_file_t *file)
{
    return (file->refs > 1) || !daxpin_share_is_alone(file) ||
           daxpin_share_has_lost_members(file);
}

/* Return 0, or -errno with a message, if the file may not be made shorter now. Caller
 * holds daxpin_mutex. */
static int daxpin_shrink_check(daxpin_file_t *file, size_t length)
{
    char holder[DAXPIN_HOLDER_NAME];

    if (!file->holder) {
        daxpin_file_holder_name(file, holder, sizeof(holder));
        return daxpin_error(EPERM, "%s: cannot shrink to %zu bytes: this "
                            "process is not its holder; shrink it in %s",
                            file->path, length, holder);
    }
    if (!daxpin_file_is_alive(file)) {
        return daxpin_error(ESTALE, "%s: cannot shrink to %zu bytes: access "
                            "has ended: %s", file->path, length,
                            file->control->cause);
    }
    if (daxpin_file_has_others(file) || file->shrinking) {
        return daxpin_error(EBUSY, "%s: cannot shrink from %zu bytes to %zu: "
                            "it has other users; close it there first",
                            file->path, daxpin_file_size(file), length);
    }
    if (file->pins.kmods > 0) {
        return daxpin_error(EBUSY, "%s: cannot shrink to %zu bytes: the pin "
                            "module pins ranges of it; unpin them first",
                            file->path, length);
    }
    if (file->is_dax && daxpin_hold_is_contended(file->fd)) {
        return daxpin_error(EAGAIN, "%s: cannot shrink to %zu bytes: another "
                            "process truncates it, or waits to do so; try "
                            "again", file->path, length);
    }
    return 0;
}

/* Keep out whoever would find the file half cut, and have what the watch sees be the
 * program's own. Return the descriptor, or -errno with a message. */
static int daxpin_shrink_begin(daxpin_file_t *file, size_t length, int *held_p)
{
    int ret;

    pthread_mutex_lock(&daxpin_mutex);
    ret = daxpin_shrink_check(file, length);
    if (ret == 0) {
        *held_p         = daxpin_hold_is_placed(&file->hold);
        file->shrinking = 1;
        ++file->growing; /* no hold meanwhile: it would stop the cut as well */
        daxpin_file_drop_hold(file);
        file->grew = 1;
        if (length < atomic_load(&file->control->length)) {
            atomic_store(&file->control->length, length);
            file->lease.blocks = 0; /* what goes is no loss */
        }
        ++file->fd_users;
        ret = file->fd;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

/* A file that is shorter than it was cut to was cut by another process, too. Then the
 * length that was noted shows the loss. */
static void daxpin_shrink_end(daxpin_file_t *file, int held)
{
    pthread_mutex_lock(&daxpin_mutex);
    --file->growing;
    file->shrinking        = 0;
    file->grew             = 1;
    file->lease.look_again = 0; /* A break may have come */
    if (daxpin_file_is_alive(file)) {
        if (daxpin_file_size(file) >= atomic_load(&file->control->length)) {
            daxpin_file_note_size(file);
        }
        if (held) {
            daxpin_file_place_hold(file);
        }
    }
    daxpin_file_wake(file);
    pthread_mutex_unlock(&daxpin_mutex);
    daxpin_file_return_fd(file);
}

/* Make the file shorter, without daxpin_mutex: that takes as long as the file system
 * needs to free what it cuts. */
static int daxpin_file_shrink_once(daxpin_file_t *file, size_t length)
{
    int fd, ret, held;

    fd = daxpin_shrink_begin(file, length, &held);
    if (fd < 0) {
        return fd;
    }
    ret = daxpin_space_cut(fd, length);
    daxpin_shrink_end(file, held);
    return (ret == 0) ? 0 :
                        daxpin_error(-ret, "%s: cannot shrink to %zu bytes: %s",
                                     file->path, length, strerror(-ret));
}

int daxpin_file_shrink(daxpin_file_t *file, size_t length)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    unsigned i                  = 0;
    int ret;

    do {
        if (i > 0) {
            nanosleep(&pause, NULL);
        }
        ret = daxpin_file_shrink_once(file, length);
    } while ((ret == -EAGAIN) && (++i < DAXPIN_SHRINK_TRIES));
    return ret;
}

/* So many descriptors the address of a file needs: for the directory, the lock
 * and the socket; and one to spare */
#define DAXPIN_OPEN_ROOM 4

/* What one call of daxpin_file_open() has done to the file */
typedef struct daxpin_open {
    const char *path;
    size_t     length;
    struct stat st;        /* the file at the start of this call */
    int        created;    /* by this call */
    int        elected;    /* this process became the holder in this call */
    daxpin_space_t space;  /* what daxpin_open_fill() did */
} daxpin_open_t;

/* Return whether this call created the file, and it is still empty. */
static int daxpin_open_may_unlink(const daxpin_open_t *open_args,
                                  const char *path)
{
    struct stat st;

    return open_args->created && (stat(path, &st) == 0) && (st.st_size == 0) &&
           (st.st_ino == open_args->st.st_ino) &&
           (st.st_dev == open_args->st.st_dev);
}

/* Delete the file if this call created it, and it is still empty. */
static void daxpin_open_unlink(void *arg, const char *path)
{
    daxpin_open_t *open_args = arg;

    if (daxpin_open_may_unlink(open_args, path)) {
        unlink(path);
    }
    open_args->created = 0;
}

static int daxpin_open_error_empty(const char *path)
{
    return daxpin_error(EINVAL, "%s: cannot open: the file is empty, and no "
                        "length was given; give a length", path);
}

static const daxpin_description_ops_t daxpin_open_description;

static int daxpin_open_descriptor(void *arg, const char *path,
                                  const struct stat *st, uint64_t deadline)
{
    daxpin_open_t *open_args = arg;
    int fd;

    if ((st->st_size == 0) && (open_args->length == 0)) {
        daxpin_open_unlink(arg, path);
        return daxpin_open_error_empty(path);
    }
    fd = daxpin_description_open(path, st, deadline, &daxpin_open_description);
    if (fd >= 0) {
        open_args->elected = 1;
    }
    return fd;
}

/* Grow and fill the file. No other process has it open, and members wait. */
static int daxpin_open_fill(void *arg, daxpin_file_t *file, int fd)
{
    daxpin_open_t *open_args = arg;
    size_t size              = daxpin_file_length(file);

    if ((size == 0) && (open_args->length == 0)) {
        return daxpin_open_error_empty(file->path); /* by now */
    }
    daxpin_space_free(&open_args->space);
    open_args->space = (daxpin_space_t){
        .path     = file->path,
        .fd       = fd,
        .end      = (open_args->length > size) ? open_args->length : size,
        .converts = file->is_dax,
        .check    = daxpin_description_check,
        .arg      = file
    };
    return daxpin_space_fill(&open_args->space);
}

static const daxpin_description_ops_t daxpin_open_description = {
    .open          = daxpin_open_descriptor,
    .other_error   = ESTALE,
    .other_message = "cannot open: its path leads to another file by now; try "
                     "again",
    .grows         = 1,
    .fill          = daxpin_open_fill,
    .undo          = daxpin_open_unlink
};

/* Check that enough descriptors are left to delete a new file again, which this
 * process does under the address of the file. */
static int daxpin_open_check_room(const char *path)
{
    int fds[DAXPIN_OPEN_ROOM], count = 0, error = 0;

    while ((count < DAXPIN_OPEN_ROOM) && (error == 0)) {
        fds[count] = eventfd(0, EFD_CLOEXEC);
        if (fds[count] >= 0) {
            ++count;
        } else {
            error = errno;
        }
    }
    while (count > 0) {
        close(fds[--count]);
    }
    return (error == 0) ? 0 :
           daxpin_error(error, "%s: cannot create: %s; raise the limit of open "
                        "files (ulimit -n)", path, strerror(error));
}

/* Create the file if there is none, and check that it is a regular file. */
static int daxpin_open_create(const char *path, const daxpin_params_t *params,
                              struct stat *st, int *created_p)
{
    mode_t mode = (params->mode != 0) ? params->mode : 0600;
    int fd, ret;

    *created_p = 0;
    if ((stat(path, st) != 0) && (errno == ENOENT)) {
        ret = daxpin_open_check_room(path);
        if (ret != 0) {
            return ret;
        }
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
        return daxpin_error(errno, "%s: cannot stat: %m", path);
    }
    if (S_ISDIR(st->st_mode)) {
        return daxpin_error(EISDIR, "%s: cannot open: it is a directory; name "
                            "a file in it", path);
    }
    if (!S_ISREG(st->st_mode)) {
        return daxpin_error(EINVAL, "%s: cannot open: it is not a regular "
                            "file; device DAX needs no lease, so map it "
                            "directly", path);
    }
    return 0;
}

/* Return whether the blocks are held. While the guard stands in for the hold,
 * the hold may be placed again at any moment, so that the answer is yes. */
static int daxpin_file_is_held(const daxpin_file_t *file)
{
    return daxpin_hold_is_placed(&file->hold) ||
           (atomic_load(&file->control->locks) & DAXPIN_LOCK_HOLD);
}

/* Return whether other processes may have holds: members do, also those that have
 * not followed this holder yet. */
static int daxpin_open_others_hold(const daxpin_file_t *file)
{
    return !file->holder || daxpin_share_has_members(file) ||
           daxpin_share_has_lost_members(file);
}

/* Drop this process's hold while any of its threads grows the file, because a
 * hold stops the holder as well. Fail if another process has a hold. The lease
 * stays. The present members were counted, and a process that joins now reads
 * control->growing before it places a hold. */
static int daxpin_open_grow_begin(daxpin_file_t *file, size_t length)
{
    int held, others;

    pthread_mutex_lock(&daxpin_mutex);
    held   = daxpin_file_is_held(file);
    others = (held && daxpin_open_others_hold(file)) || (file->pins.kmods > 0);
    if (!others) {
        ++file->growing;
        file->grew = 1;
        daxpin_share_send_grow(file, 1);
        daxpin_file_drop_hold(file);
        if (file->holder) {
            atomic_store(&file->control->growing, 1);
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    if (others) {
        return daxpin_error(EBUSY, "%s: cannot grow to %zu bytes: other "
                            "processes hold its blocks; let the first process "
                            "that opens it request the greatest length",
                            file->path, length);
    }
    return 0;
}

/* End the growing of one thread; the last one places the hold again. While
 * PENDING there is no hold: holder.c places it with the lease. */
static void daxpin_open_grow_end(daxpin_file_t *file)
{
    daxpin_state_t state;

    pthread_mutex_lock(&daxpin_mutex);
    state = daxpin_file_state(file);
    --file->growing;
    file->grew = 1;
    if (file->growing == 0) {
        daxpin_share_send_grow(file, 0);
    }
    if ((file->growing == 0) && file->holder) {
        if (file->holdable && ((state == DAXPIN_STATE_HELD) ||
                               (state == DAXPIN_STATE_LENT))) {
            daxpin_file_place_hold(file);
        }
        atomic_store(&file->control->growing, 0);
    }
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Grow the file, for one thread of all processes at a time. The new part has
 * its blocks before any other thread sees the new length. */
static int daxpin_open_grow_locked(daxpin_file_t *file, size_t length)
{
    daxpin_space_t space = {
        .path     = file->path,
        .fd       = daxpin_file_borrow_fd(file),
        .end      = length,
        .converts = file->is_dax,
        .shared   = 1,
        .lends    = 1,
        .check    = daxpin_description_check,
        .arg      = file
    };
    int ret;

    if (space.fd < 0) {
        return space.fd;
    }
    ret = (daxpin_file_length(file) < length) ? daxpin_space_fill(&space) : 0;
    daxpin_space_free(&space);
    daxpin_file_return_fd(file);
    return ret;
}

static int daxpin_open_grow(daxpin_file_t *file, size_t length,
                            uint64_t deadline)
{
    int ret;

    ret = daxpin_open_grow_begin(file, length);
    if (ret != 0) {
        return ret;
    }
    if (daxpin_share_await_sent(file) != 0) {
        /* It would take the change for one of another program */
        daxpin_open_grow_end(file);
        return daxpin_error(EAGAIN, "%s: cannot grow to %zu bytes: its holder "
                            "does not receive messages; check whether that "
                            "process is stopped, and try again", file->path,
                            length);
    }
    ret = daxpin_file_lock_growth(file, deadline);
    if (ret == 0) {
        ret = daxpin_open_grow_locked(file, length);
        daxpin_file_unlock_growth(file);
    }
    daxpin_open_grow_end(file);
    return ret;
}

/* Wait for the lease, then grow and map the file. */
static int daxpin_open_finish(daxpin_open_t *open_args, daxpin_file_t *file,
                              uint64_t deadline)
{
    const size_t length = open_args->length;
    int ret;

    ret = open_args->elected ?
          daxpin_description_fill(file, &daxpin_open_description, open_args,
                                  deadline + DAXPIN_SEC) :
          daxpin_file_wait(file, deadline + DAXPIN_SEC);
    if ((ret == 0) && (daxpin_file_length(file) < length)) {
        ret = daxpin_open_grow(file, length, deadline + DAXPIN_SEC);
    }
    if (ret != 0) {
        return ret;
    }
    if (daxpin_file_addr(file, 0, length) == NULL) {
        pthread_mutex_lock(&daxpin_mutex);
        ret = daxpin_file_is_alive(file) ? -ENOMEM : -ESTALE;
        pthread_mutex_unlock(&daxpin_mutex);
        return ret;
    }
    return 0;
}

/* Begin to restore the file, if no other process has had it under this lease:
 * one that joins meanwhile waits. Return whether that is so. Caller holds
 * daxpin_mutex. */
static int daxpin_open_undo_begin(daxpin_open_t *open_args, daxpin_file_t *file)
{
    if (daxpin_file_has_others(file) || (file->fd < 0) ||
        (daxpin_file_state(file) != DAXPIN_STATE_HELD)) {
        return 0;
    }
    ++file->growing;
    file->grew = 1;
    atomic_store(&file->control->growing, 1);
    daxpin_file_drop_hold(file);
    open_args->space.lends = 1; /* from now on */
    return 1;
}

/* Restore the file without daxpin_mutex, because a disk may be slow. */
static void daxpin_open_undo_space(daxpin_open_t *open_args,
                                   daxpin_file_t *file)
{
    if (daxpin_file_borrow_fd(file) >= 0) {
        daxpin_space_undo(&open_args->space);
        daxpin_file_return_fd(file);
    }
    pthread_mutex_lock(&daxpin_mutex);
    --file->growing;
    file->grew = 1;
    atomic_store(&file->control->growing, 0);
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Restore the file after it could not be mapped. Delete a new file that could
 * not be leased, unless another process has it open. */
static void daxpin_open_undo(daxpin_open_t *open_args, daxpin_file_t *file)
{
    int may_unlink = 1, undoes = 0;

    if (!open_args->elected || (file == NULL)) {
        return;
    }
    pthread_mutex_lock(&daxpin_mutex);
    if (!daxpin_lease_was_held(&file->lease)) {
        may_unlink = file->lease.error != EAGAIN;
    } else {
        undoes     = daxpin_open_undo_begin(open_args, file);
        may_unlink = undoes;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    if (undoes) {
        daxpin_open_undo_space(open_args, file);
    }
    if (may_unlink) {
        daxpin_open_unlink(open_args, open_args->path);
    }
}

static void daxpin_open_undo_creation(void *arg)
{
    daxpin_open_t *open_args = arg;

    daxpin_open_unlink(open_args, open_args->path);
}

/* Undo all that this call has done. Another process may have been elected for a
 * new file that this one has created, and have failed: it deletes nothing, since
 * it found the file. Without a handle this process has been elected, but has
 * given the address back, so that another one may have it by now. */
static void daxpin_open_fail(daxpin_open_t *open_args, daxpin_file_t *file)
{
    const int is_free = !open_args->elected || (file == NULL);

    daxpin_open_undo(open_args, file);
    daxpin_file_close(file);
    if (is_free &&
        daxpin_open_may_unlink(open_args, open_args->path)) {
        daxpin_elect_nobody(&open_args->st, daxpin_now() + DAXPIN_UNDO_BOUND,
                            daxpin_open_undo_creation, open_args);
    }
}

/* Try once. Return 0, or -errno with a message; -ESTALE if the path leads to
 * another file by now. */
static int daxpin_open_try(const char *path, size_t length,
                           const daxpin_params_t *params, uint64_t deadline,
                           daxpin_file_t **file_p)
{
    daxpin_open_t open_args = {.length = length};
    char *real_path;
    int ret;

    ret = daxpin_open_create(path, params, &open_args.st, &open_args.created);
    if (ret != 0) {
        return ret;
    }
    real_path      = realpath(path, NULL);
    open_args.path = (real_path != NULL) ? real_path : path;
    ret = daxpin_elect(open_args.path, &open_args.st, 0, params,
                       &daxpin_open_description, &open_args, file_p);
    if (ret == 0) {
        ret = daxpin_open_finish(&open_args, *file_p, deadline);
    }
    if (ret != 0) {
        daxpin_open_fail(&open_args, *file_p);
        *file_p = NULL;
    }
    daxpin_space_free(&open_args.space);
    free(real_path);
    return ret;
}

int daxpin_file_open(const char *path, size_t length,
                     const daxpin_params_t *params, daxpin_file_t **file_p)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    daxpin_params_t known;
    uint64_t deadline;
    int ret;

    *file_p = NULL;
    ret     = daxpin_params_copy(params, &known);
    if (ret == 0) {
        ret = daxpin_library_start();
    }
    if (ret != 0) {
        return ret;
    }
    deadline = daxpin_elect_deadline(&known);
    while (((ret = daxpin_open_try(path, length, &known, deadline, file_p)) ==
            -ESTALE) && (daxpin_now() < deadline)) {
        nanosleep(&pause, NULL);
    }
    return ret;
}

int daxpin_file_attach(const daxpin_key_t *key, daxpin_file_t **file_p)
{
    daxpin_file_t *file = NULL;
    int ret;

    *file_p = NULL;
    if (key->uid != geteuid()) {
        return daxpin_error(EPERM, "inode %lu: cannot attach: its holder runs "
                            "as user %u, this process as %u; run the job as "
                            "one user", key->ino, key->uid,
                            (unsigned)geteuid());
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
