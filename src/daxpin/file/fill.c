/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Blocks for what others have added to a leased file, or punched out of it */

#include "fill.h"

#include "daxpin/os/loop.h"
#include "daxpin/os/space.h"
#include "daxpin/os/thread.h"
#include "life.h"
#include "share.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct daxpin_fill {
    daxpin_file_t           *file; /* a reference */
    daxpin_fill_done_func_t done;
} daxpin_fill_t;

/* Stop between two pieces if nothing but the thread needs the file. */
static int daxpin_fill_check(void *arg)
{
    daxpin_file_t *file = arg;
    int goes_on;

    pthread_mutex_lock(&daxpin_mutex);
    goes_on = daxpin_file_is_alive(file) &&
              ((file->refs > 1) || daxpin_share_has_members(file));
    pthread_mutex_unlock(&daxpin_mutex);
    return goes_on ? 0 : -ECANCELED;
}

int daxpin_file_fill_all(daxpin_file_t *file, int fd, int lends,
                         int (*check)(void *arg))
{
    daxpin_space_t space = {.path   = file->path,
                            .fd     = fd,
                            .shared = 1,
                            .lends  = lends,
                            .check  = check,
                            .arg    = file};
    struct stat st;
    int ret;

    if ((fstat(fd, &st) != 0) || (st.st_size == 0)) {
        return 0;
    }
    space.end = (uint64_t)st.st_size;
    ret       = daxpin_space_fill(&space);
    daxpin_space_free(&space);
    return ret;
}

static void *daxpin_fill_thread(void *arg)
{
    daxpin_fill_t *fill = arg;
    daxpin_file_t *file = fill->file;
    int ret             = -ECANCELED;
    int fd              = daxpin_file_borrow_fd(file);

    if (fd >= 0) {
        ret = daxpin_file_fill_all(file, fd, 1, daxpin_fill_check);
        daxpin_file_return_fd(file);
    }
    pthread_mutex_lock(&daxpin_mutex);
    fill->done(file, ret);
    --file->refs;
    daxpin_file_destroy_if_unused(file);
    pthread_mutex_unlock(&daxpin_mutex);
    free(fill);
    return NULL;
}

void daxpin_file_fill(daxpin_file_t *file, daxpin_fill_done_func_t done)
{
    daxpin_fill_t *fill = malloc(sizeof(*fill));
    pthread_t thread;

    if (fill != NULL) {
        fill->file = file;
        fill->done = done;
        ++file->refs;
        if (daxpin_thread_create(&thread, daxpin_fill_thread, fill) == 0) {
            pthread_detach(thread);
            return;
        }
        --file->refs;
        free(fill);
    }
    done(file, daxpin_file_fill_all(file, file->fd, 1, NULL));
}
