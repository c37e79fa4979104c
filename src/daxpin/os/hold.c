/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The hold: a spliced page makes a file system wait before it frees blocks */

#include "hold.h"

#include "clock.h"
#include "fork.h"
#include "log.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Above the descriptors of most programs, below the usual limit of 1024 */
#define DAXPIN_HOLD_FD_MIN 800

/* The kernel may use so much of the file at once, as one huge page */
#define DAXPIN_HOLD_HUGE (2ul << 20)

#define DAXPIN_HOLD_FILE_SYSTEMS 32

/* A truncate that sleeps interruptibly at so many checks in a row waits for the
 * hold: a wait for a journal or disk is uninterruptible */
#define DAXPIN_HOLD_CHECKS      5
#define DAXPIN_HOLD_CHECK_PAUSE (5 * DAXPIN_MSEC)
#define DAXPIN_HOLD_CHECKS_MAX  400

/* A range beyond the end of any file: a change there changes no content */
#define DAXPIN_HOLD_FAR  (1ll << 43)
#define DAXPIN_HOLD_PAGE 4096

/* The result of the trial with a DAX file of one file system. Where DAX is a
 * flag of each file, a trial with any other file says nothing, so that there is
 * no result of one. */
typedef struct daxpin_hold_answer {
    dev_t dev;
    int   works;
} daxpin_hold_answer_t;

static struct {
    pthread_mutex_t      turn;   /* one trial at a time; it may take seconds */
    pthread_mutex_t      lock;   /* for what follows */
    daxpin_hold_t        *trial; /* that a trial has placed now, or NULL */
    unsigned             count;
    daxpin_hold_answer_t answers[DAXPIN_HOLD_FILE_SYSTEMS];
} daxpin_holds = {
    .turn = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER
};

static void daxpin_hold_close(daxpin_hold_t *hold)
{
    if (hold->pipe[0] >= 0) {
        close(hold->pipe[0]);
        close(hold->pipe[1]);
    }
    hold->pipe[0] = hold->pipe[1] = -1;
}

void daxpin_hold_init(daxpin_hold_t *hold)
{
    hold->pipe[0] = hold->pipe[1] = -1;
    hold->path_fd = -1;
    hold->page    = NULL;
}

void daxpin_hold_drop(daxpin_hold_t *hold)
{
    daxpin_hold_close(hold);
    if (hold->page != NULL) {
        munmap(hold->page, (size_t)sysconf(_SC_PAGESIZE));
        hold->page = NULL;
    }
    if (hold->path_fd >= 0) {
        close(hold->path_fd); /* last, see daxpin_hold_create_pipe() */
        hold->path_fd = -1;
    }
}

void daxpin_hold_unmap(void *addr, size_t length, uint64_t offset)
{
    if (offset < DAXPIN_HOLD_HUGE) {
        length = (length < DAXPIN_HOLD_HUGE - offset) ?
                         length : DAXPIN_HOLD_HUGE - offset;
        /* Fails before Linux 5.18, where mapped pages stop no process */
        madvise(addr, length, MADV_DONTNEED_LOCKED);
    }
}

/* Map the first page of the file, with a block behind it. If the file has no
 * block there, or one that was never written, a read maps a page of zeros,
 * which keeps no block in place. MADV_POPULATE_WRITE faults the page in as a
 * store would, but changes nothing in it. */
static int daxpin_hold_map(const char *path, int fd, void **page_p)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    const int write   = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    void *page;

    page = mmap(NULL, size, write ? PROT_READ | PROT_WRITE : PROT_READ,
                MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return daxpin_error(errno, "%s: cannot place a hold: cannot map a "
                            "page: %m", path);
    }
    *page_p = page;
    /* EINVAL: Linux before 5.14 does not have it */
    if (write && (madvise(page, size, MADV_POPULATE_WRITE) != 0) &&
        (errno != EINVAL)) {
        return daxpin_error(errno, "%s: cannot place a hold: cannot allocate "
                            "its first page: %m; check whether the file system "
                            "is full", path);
    }
    return 0;
}

/* Move a descriptor to a number of at least min. Return whether it was. */
static int daxpin_hold_move_fd(int *fd, int min)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, min);

    if (moved >= 0) {
        close(*fd);
        *fd = moved;
    }
    return moved >= 0;
}

/*
 * Create the pipe, and a descriptor of the file with a lower number.
 *
 * When a process ends, or executes another program, the kernel drops its
 * mappings, then its descriptors from the lowest number up. It puts each open
 * file description that has no user left on a list, and then works through the
 * list from the last entry to the first. So a description is closed by the
 * highest number that it had, and the highest of all is closed first.
 *
 * The pipe has to be closed early, with a high number: so the page is free
 * before another process hears of the death by a socket. And the pipe has to be
 * closed before the last user of the file. If the file has no name any more,
 * the kernel frees it then. Since Linux 6.15 that waits for the hold, and no
 * signal ends the wait: the process would wait for ever for itself. A number of
 * the program's may be higher than those of the pipe. So the file has one more
 * description, O_PATH, with a number below the pipe, which is closed after it.
 * It keeps no lease away.
 */
static int daxpin_hold_create_pipe(int fd, daxpin_hold_t *hold)
{
    char path[64];
    int i;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    hold->path_fd = open(path, O_PATH | O_CLOEXEC);
    if ((hold->path_fd < 0) || (pipe2(hold->pipe, O_CLOEXEC) != 0)) {
        return -errno;
    }
    for (i = 0; i < 2; ++i) {
        /* The limit of descriptors may be lower. Another thread may have closed
         * a lower number in between. */
        if (((hold->path_fd >= DAXPIN_HOLD_FD_MIN) ||
             !daxpin_hold_move_fd(&hold->pipe[i], DAXPIN_HOLD_FD_MIN)) &&
            (hold->pipe[i] < hold->path_fd) &&
            !daxpin_hold_move_fd(&hold->pipe[i], hold->path_fd + 1)) {
            return -errno;
        }
    }
    return 0;
}

int daxpin_hold_place(const char *path, int fd, daxpin_hold_t *hold)
{
    struct iovec byte = {.iov_len = 1};
    int ret;

    daxpin_hold_init(hold);
    ret = daxpin_hold_map(path, fd, &hold->page);
    if (ret != 0) {
        daxpin_hold_drop(hold);
        return ret;
    }
    ret = daxpin_hold_create_pipe(fd, hold);
    if (ret != 0) {
        ret = daxpin_error(-ret, "%s: cannot place a hold: cannot create a "
                           "pipe and a descriptor of the file below it: %s; "
                           "raise the limit of open files (ulimit -n)", path,
                           strerror(-ret));
        daxpin_hold_drop(hold);
        return ret;
    }
    byte.iov_base = hold->page;
    if (vmsplice(hold->pipe[1], &byte, 1, 0) != 1) {
        ret = daxpin_error(errno, "%s: cannot place a hold: cannot splice a "
                           "byte into a pipe: %m", path);
        daxpin_hold_drop(hold);
        return ret;
    }
    return 0;
}

int daxpin_hold_is_placed(const daxpin_hold_t *hold)
{
    return hold->page != NULL;
}

/* A process that truncates has the inode locked, also while it waits for a
 * hold. So a read that must not wait fails. On fsdax there is no page cache
 * that the read could wait for. */
int daxpin_hold_is_contended(int fd)
{
    char byte;
    const struct iovec iov = {.iov_base = &byte, .iov_len = 1};

    return (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0) && (errno == EAGAIN);
}

/*
 * The trial of a file system
 */

/* What a hold of the first page should make wait. A hold is relied upon for all
 * other pages, so that no way frees the held page itself. */
typedef enum daxpin_hold_way {
    DAXPIN_HOLD_PUNCH, /* a hole behind the held page */
    DAXPIN_HOLD_CUT,   /* a truncate to the held page */
    DAXPIN_HOLD_BEYOND /* a range far beyond the end: a file of the user must
                          not change, even if it grows at this moment */
} daxpin_hold_way_t;

typedef struct daxpin_hold_trial {
    int               fd;
    daxpin_hold_way_t way;
    unsigned          checks; /* of all ways, so that the time has one bound */
    _Atomic int       tid;
    _Atomic int       passed;
} daxpin_hold_trial_t;

static void daxpin_hold_free_blocks(const daxpin_hold_trial_t *trial)
{
    const off_t page = (off_t)sysconf(_SC_PAGESIZE);

    /* The results do not matter: only whether the calls wait does */
    switch (trial->way) {
    case DAXPIN_HOLD_PUNCH:
        (void)fallocate(trial->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        page, page);
        break;
    case DAXPIN_HOLD_CUT:
        (void)!ftruncate(trial->fd, page);
        break;
    case DAXPIN_HOLD_BEYOND:
        (void)fallocate(trial->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                        DAXPIN_HOLD_FAR, DAXPIN_HOLD_PAGE);
        break;
    }
}

static void *daxpin_hold_intrude(void *arg)
{
    daxpin_hold_trial_t *trial = arg;

    atomic_store(&trial->tid, gettid());
    daxpin_hold_free_blocks(trial);
    atomic_store(&trial->passed, 1);
    if (trial->way == DAXPIN_HOLD_BEYOND) {
        (void)fallocate(trial->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        DAXPIN_HOLD_FAR, DAXPIN_HOLD_PAGE);
    }
    return NULL;
}

static int daxpin_hold_intruder_sleeps(daxpin_hold_trial_t *trial)
{
    char path[64], state = '?';
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
             atomic_load(&trial->tid));
    stat = fopen(path, "re");
    if (stat != NULL) {
        if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1) {
            state = '?';
        }
        fclose(stat);
    }
    return state == 'S';
}

/* Return 1 if the intruder waits; 0 if it passed or that cannot be decided. */
static int daxpin_hold_observe(daxpin_hold_trial_t *trial)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_HOLD_CHECK_PAUSE};
    unsigned asleep = 0;

    for (; (trial->checks < DAXPIN_HOLD_CHECKS_MAX) &&
           (asleep < DAXPIN_HOLD_CHECKS) && !atomic_load(&trial->passed);
         ++trial->checks) {
        nanosleep(&pause, NULL);
        asleep = daxpin_hold_intruder_sleeps(trial) ? asleep + 1 : 0;
    }
    return (asleep >= DAXPIN_HOLD_CHECKS) && !atomic_load(&trial->passed);
}

/* Place the hold of a trial. A child of fork() that has its pipe would keep the
 * intruder waiting. */
static int daxpin_hold_begin(const char *path, int fd, daxpin_hold_t *hold)
{
    int ret;

    pthread_mutex_lock(&daxpin_holds.lock);
    ret                = daxpin_hold_place(path, fd, hold);
    daxpin_holds.trial = (ret == 0) ? hold : NULL;
    pthread_mutex_unlock(&daxpin_holds.lock);
    return ret;
}

static void daxpin_hold_end(daxpin_hold_t *hold)
{
    pthread_mutex_lock(&daxpin_holds.lock);
    daxpin_hold_close(hold);
    daxpin_holds.trial = NULL;
    pthread_mutex_unlock(&daxpin_holds.lock);
}

static void daxpin_hold_fork(void)
{
    if (daxpin_holds.trial != NULL) {
        daxpin_hold_drop(daxpin_holds.trial);
        daxpin_holds.trial = NULL;
    }
}

static void daxpin_hold_fork_turn(void)
{
    pthread_mutex_init(&daxpin_holds.turn, NULL);
}

DAXPIN_FORK_LOCK(DAXPIN_FORK_HOLD, &daxpin_holds.lock)
DAXPIN_FORK_CHILD(DAXPIN_FORK_HOLD, daxpin_hold_fork)
DAXPIN_FORK_CHILD(DAXPIN_FORK_HOLD_TRIAL, daxpin_hold_fork_turn)

/* Return whether one way of freeing blocks waits for a hold; -1 with a message
 * if that cannot be tried. */
static int daxpin_hold_try_way(const char *path, daxpin_hold_way_t way,
                               daxpin_hold_trial_t *trial)
{
    daxpin_hold_t hold;
    pthread_t intruder;
    int works = -1;

    trial->way = way;
    atomic_store(&trial->tid, 0);
    atomic_store(&trial->passed, 0);
    if (daxpin_hold_begin(path, trial->fd, &hold) != 0) {
        return -1;
    }
    if (daxpin_thread_create(&intruder, daxpin_hold_intrude, trial) == 0) {
        works = daxpin_hold_observe(trial);
        daxpin_hold_end(&hold); /* the intruder goes on; the page is mapped */
        pthread_join(intruder, NULL);
    }
    daxpin_hold_end(&hold);
    daxpin_hold_drop(&hold);
    return works;
}

static int daxpin_hold_is_dax(int fd)
{
    struct statx stx;

    return (statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0) &&
           ((stx.stx_attributes & STATX_ATTR_DAX) != 0);
}

/* Open a file without a name that is used with DAX. Return its descriptor or
 * -1. */
static int daxpin_hold_open_scratch(const char *dir)
{
    int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if ((fd >= 0) && !daxpin_hold_is_dax(fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Set the flag with which new files in a directory are used with DAX. */
static int daxpin_hold_flag_dir(const char *path)
{
    struct fsxattr attributes;
    int fd  = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret = -1;

    if (fd < 0) {
        return -1;
    }
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
        attributes.fsx_xflags |= FS_XFLAG_DAX;
        ret = ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
    }
    close(fd);
    return ret;
}

/* With dax=inode, a new file inherits the flag of its directory, and a flag
 * that is set later counts only when the inode is loaded again, which a file
 * without a name never is. So if the directory has no flag, a scratch directory
 * in it gets one. */
static int daxpin_hold_make_scratch(const char *dir)
{
    int scratch = daxpin_hold_open_scratch(dir);
    char path[PATH_MAX + 32];

    if (scratch >= 0) {
        return scratch;
    }
    snprintf(path, sizeof(path), "%s/.daxpin.XXXXXX", dir);
    if (mkdtemp(path) == NULL) {
        return -1;
    }
    if (daxpin_hold_flag_dir(path) == 0) {
        scratch = daxpin_hold_open_scratch(path);
    }
    rmdir(path);
    return scratch;
}

/* Give a scratch file the held page and one behind it. */
static int daxpin_hold_fill_scratch(int scratch)
{
    const off_t page = (off_t)sysconf(_SC_PAGESIZE);

    return (pwrite(scratch, "daxpin", 6, 0) == 6) &&
           (pwrite(scratch, "daxpin", 6, page) == 6) &&
           (ftruncate(scratch, 2 * page) == 0);
}

/* Try on a scratch file; if none can be created, on the file itself. Return -1
 * if neither can be tried. */
static int daxpin_hold_try(const char *path, int fd)
{
    daxpin_hold_trial_t trial = {.fd = fd};
    char dir[PATH_MAX];
    int scratch, works = -1;

    snprintf(dir, sizeof(dir), "%s", path);
    scratch = daxpin_hold_make_scratch(dirname(dir));
    if ((scratch >= 0) && daxpin_hold_fill_scratch(scratch)) {
        trial.fd = scratch;
        works    = daxpin_hold_try_way(path, DAXPIN_HOLD_PUNCH, &trial);
        if (works == 1) {
            works = daxpin_hold_try_way(path, DAXPIN_HOLD_CUT, &trial);
        }
    } else if ((fd >= 0) && daxpin_hold_is_dax(fd)) {
        works = daxpin_hold_try_way(path, DAXPIN_HOLD_BEYOND, &trial);
    }
    if (scratch >= 0) {
        close(scratch);
    }
    if (works >= 0) {
        daxpin_log(DAXPIN_LOG_INFO, "%s: a hold on a page %s a truncate on its "
                   "file system", path, works ? "stops" : "does not stop");
    } else {
        daxpin_log(DAXPIN_LOG_INFO, "%s: cannot try whether a hold on a page "
                   "stops a truncate on its file system, with a file in its "
                   "directory or with itself: none is used, and any process "
                   "that opens the file ends access", path);
    }
    return works;
}

/* Return the result of an earlier trial, or -1 */
static int daxpin_hold_known(dev_t dev)
{
    int works = -1;
    unsigned i;

    pthread_mutex_lock(&daxpin_holds.lock);
    for (i = 0; i < daxpin_holds.count; ++i) {
        if (daxpin_holds.answers[i].dev == dev) {
            works = daxpin_holds.answers[i].works;
        }
    }
    pthread_mutex_unlock(&daxpin_holds.lock);
    return works;
}

static void daxpin_hold_note(dev_t dev, int works)
{
    pthread_mutex_lock(&daxpin_holds.lock);
    if ((works >= 0) && (daxpin_holds.count < DAXPIN_HOLD_FILE_SYSTEMS)) {
        daxpin_holds.answers[daxpin_holds.count].dev     = dev;
        daxpin_holds.answers[daxpin_holds.count++].works = works;
    }
    pthread_mutex_unlock(&daxpin_holds.lock);
}

int daxpin_hold_works(const char *path, int fd, dev_t dev)
{
    int works;

    pthread_mutex_lock(&daxpin_holds.turn);
    works = daxpin_hold_known(dev);
    if (works < 0) {
        works = daxpin_hold_try(path, fd);
        daxpin_hold_note(dev, works);
    }
    pthread_mutex_unlock(&daxpin_holds.turn);
    return works;
}
