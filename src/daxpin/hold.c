/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What keeps the blocks of a file in place when the lease does not */

#include "hold.h"

#include "log.h"
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DAXPIN_HOLD_FILE_SYSTEMS 32

/* A truncate that sleeps interruptibly for so many looks in a row waits for
 * the hold: journals and disks are waited for uninterruptibly */
#define DAXPIN_HOLD_LOOKS      5
#define DAXPIN_HOLD_LOOK_PAUSE (5 * DAXPIN_MSEC)
#define DAXPIN_HOLD_LOOKS_MAX  400

/* A file system that was tried */
typedef struct daxpin_hold_answer {
    dev_t dev;
    int   works;
} daxpin_hold_answer_t;

static struct {
    pthread_mutex_t      lock;
    unsigned             count;
    daxpin_hold_answer_t answers[DAXPIN_HOLD_FILE_SYSTEMS];
} daxpin_holds = {.lock = PTHREAD_MUTEX_INITIALIZER};


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
    hold->guard   = NULL;
}


void daxpin_hold_drop(daxpin_hold_t *hold)
{
    daxpin_hold_close(hold);
    if (hold->guard != NULL) {
        munmap(hold->guard, (size_t)sysconf(_SC_PAGESIZE));
        hold->guard = NULL;
    }
}


int daxpin_hold_place(const char *path, int fd, daxpin_hold_t *hold)
{
    struct iovec byte = {.iov_len = 1};
    int ret;

    daxpin_hold_init(hold);
    byte.iov_base = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ,
                         MAP_SHARED, fd, 0);
    if (byte.iov_base == MAP_FAILED) {
        return daxpin_error(errno, "%s: cannot map a page to hold it: %m",
                            path);
    }
    hold->guard = byte.iov_base;
    if ((pipe2(hold->pipe, O_CLOEXEC) != 0) ||
        (vmsplice(hold->pipe[1], &byte, 1, 0) != 1)) {
        ret = daxpin_error(errno, "%s: cannot splice a byte of it into a pipe "
                           "to hold it: %m", path);
        daxpin_hold_drop(hold);
        return ret;
    }
    return 0;
}


int daxpin_hold_is_placed(const daxpin_hold_t *hold)
{
    return hold->guard != NULL;
}


/* He has the inode locked, also while he waits for a hold, so that a read which
 * must not wait fails. Nothing is in a page cache that could be waited for. */
int daxpin_hold_is_contended(int fd)
{
    char byte;
    const struct iovec iov = {.iov_base = &byte, .iov_len = 1};

    return (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0) && (errno == EAGAIN);
}


/*
 * Trying it out
 */

typedef struct daxpin_hold_trial {
    int         fd;
    _Atomic int tid;
    _Atomic int passed;
} daxpin_hold_trial_t;


static void *daxpin_hold_intrude(void *arg)
{
    daxpin_hold_trial_t *trial = arg;

    atomic_store(&trial->tid, gettid());
    if (ftruncate(trial->fd, 0) == 0) {
        atomic_store(&trial->passed, 1);
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


/* 1: he waits; 0: he passed, or nobody can tell */
static int daxpin_hold_observe(daxpin_hold_trial_t *trial)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_HOLD_LOOK_PAUSE};
    unsigned looks, asleep = 0;

    for (looks = 0; (looks < DAXPIN_HOLD_LOOKS_MAX) &&
                    (asleep < DAXPIN_HOLD_LOOKS) &&
                    !atomic_load(&trial->passed); ++looks) {
        nanosleep(&pause, NULL);
        asleep = daxpin_hold_intruder_sleeps(trial) ? asleep + 1 : 0;
    }
    return (asleep >= DAXPIN_HOLD_LOOKS) && !atomic_load(&trial->passed);
}


static int daxpin_hold_try_file(const char *path, int fd)
{
    daxpin_hold_trial_t trial = {.fd = fd};
    daxpin_hold_t hold;
    pthread_t intruder;
    int works = 0;

    if ((pwrite(fd, "daxpin", 6, 0) != 6) ||
        (daxpin_hold_place(path, fd, &hold) != 0)) {
        return 0;
    }
    if (pthread_create(&intruder, NULL, daxpin_hold_intrude, &trial) == 0) {
        works = daxpin_hold_observe(&trial);
        daxpin_hold_close(&hold); /* Lets him go; the page is still mapped */
        pthread_join(intruder, NULL);
    }
    daxpin_hold_drop(&hold);
    return works;
}


static int daxpin_hold_try(const char *path)
{
    char dir[PATH_MAX];
    int fd, works;

    snprintf(dir, sizeof(dir), "%s", path);
    fd = open(dirname(dir), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot try out whether its blocks "
                   "can be held: no scratch file in its directory: %m; make "
                   "the directory writable", path);
        return 0;
    }
    works = daxpin_hold_try_file(path, fd);
    close(fd);
    daxpin_log(DAXPIN_LOG_INFO, "%s: a hold on a page %s a truncate on its "
               "file system", path, works ? "stops" : "does not stop");
    return works;
}


int daxpin_hold_works(const char *path, dev_t dev)
{
    int works = -1;
    unsigned i;

    pthread_mutex_lock(&daxpin_holds.lock);
    for (i = 0; i < daxpin_holds.count; ++i) {
        if (daxpin_holds.answers[i].dev == dev) {
            works = daxpin_holds.answers[i].works;
        }
    }
    if (works < 0) {
        works = daxpin_hold_try(path);
        if (daxpin_holds.count < DAXPIN_HOLD_FILE_SYSTEMS) {
            daxpin_holds.answers[daxpin_holds.count].dev     = dev;
            daxpin_holds.answers[daxpin_holds.count++].works = works;
        }
    }
    pthread_mutex_unlock(&daxpin_holds.lock);
    return works;
}
