/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Which files daxpin leases */

#include "policy.h"

#include "daxpin/file/report.h"
#include "daxpin/os/fork.h"
#include "daxpin/os/fstype.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DAXPIN_DIRS_MAX  64
#define DAXPIN_FILES_MAX 64

typedef struct daxpin_names {
    int      fsdax;
    unsigned num_dirs;
    char     *dirs[DAXPIN_DIRS_MAX]; /* absolute, no slash at the end */
} daxpin_names_t;

/* Set before the first adoption, then only read */
static struct {
    pthread_mutex_t lock;
    daxpin_names_t  names;
} daxpin_policy = {.lock = PTHREAD_MUTEX_INITIALIZER, .names = {.fsdax = 1}};

DAXPIN_FORK_LOCK(DAXPIN_FORK_POLICY, &daxpin_policy.lock)

static void daxpin_names_free(daxpin_names_t *names)
{
    while (names->num_dirs > 0) {
        free(names->dirs[--names->num_dirs]);
    }
}

static int daxpin_names_add(daxpin_names_t *names, const char *path)
{
    char *dir;

    if (strcmp(path, "fsdax") == 0) {
        names->fsdax = 1;
        return 0;
    }
    if (names->num_dirs == DAXPIN_DIRS_MAX) {
        return daxpin_error(ENOMEM, "%s: cannot add to the directories of "
                            "files to lease: there are %d already; name a "
                            "directory above them", path, DAXPIN_DIRS_MAX);
    }
    dir = realpath(path, NULL);
    if (dir == NULL) {
        return daxpin_error(errno, "%s: cannot find the directory of files to "
                            "lease: %m", path);
    }
    names->dirs[names->num_dirs++] = dir;
    return 0;
}

int daxpin_set_files(const char *const *paths)
{
    daxpin_names_t names = {0}, former;
    int ret = 0;

    for (; (*paths != NULL) && (ret == 0); ++paths) {
        ret = daxpin_names_add(&names, *paths);
    }
    if (ret != 0) {
        daxpin_names_free(&names);
        return ret;
    }
    pthread_mutex_lock(&daxpin_policy.lock);
    former              = daxpin_policy.names;
    daxpin_policy.names = names;
    pthread_mutex_unlock(&daxpin_policy.lock);
    daxpin_names_free(&former);
    /* Memory that was foreign under the old names may be named now */
    daxpin_cache_forget(NULL, SIZE_MAX);
    /* Report to holders that this process will join if it opens their file */
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_report_open();
    pthread_mutex_unlock(&daxpin_mutex);
    return 0;
}

int daxpin_policy_names_path(const char *path)
{
    const daxpin_names_t *names = &daxpin_policy.names;
    int found = 0;
    size_t length;
    unsigned i;

    pthread_mutex_lock(&daxpin_policy.lock);
    for (i = 0; !found && (i < names->num_dirs); ++i) {
        length = strlen(names->dirs[i]);
        found  = (strncmp(path, names->dirs[i], length) == 0) &&
                 ((path[length] == '/') || (length == 1));
    }
    pthread_mutex_unlock(&daxpin_policy.lock);
    return found;
}

int daxpin_policy_names_fsdax(void)
{
    int fsdax;

    pthread_mutex_lock(&daxpin_policy.lock);
    fsdax = daxpin_policy.names.fsdax;
    pthread_mutex_unlock(&daxpin_policy.lock);
    return fsdax;
}

/* Files of any file system that the user was warned of; the oldest are
 * forgotten */
static struct {
    pthread_mutex_t lock;
    unsigned        count;
    struct {
        dev_t dev;
        ino_t ino;
    } files[DAXPIN_FILES_MAX];
} daxpin_warned = {.lock = PTHREAD_MUTEX_INITIALIZER};

DAXPIN_FORK_LOCK(DAXPIN_FORK_WARNED, &daxpin_warned.lock)

/* Return whether the user was warned of this file, and remember it. */
static int daxpin_policy_was_warned(int fd)
{
    struct stat st;
    unsigned i;
    int found = 0;

    if (fstat(fd, &st) != 0) {
        return 0;
    }
    pthread_mutex_lock(&daxpin_warned.lock);
    for (i = 0; (i < daxpin_warned.count) && (i < DAXPIN_FILES_MAX); ++i) {
        found |= (daxpin_warned.files[i].dev == st.st_dev) &&
                 (daxpin_warned.files[i].ino == st.st_ino);
    }
    if (!found) {
        i                          = daxpin_warned.count++ % DAXPIN_FILES_MAX;
        daxpin_warned.files[i].dev = st.st_dev;
        daxpin_warned.files[i].ino = st.st_ino;
    }
    pthread_mutex_unlock(&daxpin_warned.lock);
    return found;
}

int daxpin_policy_check_fs(const char *path, int fd,
                           const daxpin_params_t *params)
{
    char text[DAXPIN_FSTYPE_TEXT_MAX];
    daxpin_fstype_t type;
    int ret = daxpin_fstype_of_fd(fd, &type);

    if (type.why == NULL) {
        return 0;
    }
    if (!params->any_fs && !daxpin_fstype_allows_any()) {
        return (ret != 0) ?
               daxpin_error(-ret, "%s: cannot lease: cannot find out what file "
                            "system it is on: %s", path, strerror(-ret)) :
               daxpin_error(EOPNOTSUPP, "%s: cannot lease: %s", path,
                            daxpin_fstype_explain(&type, text, sizeof(text)));
    }
    if (!daxpin_policy_was_warned(fd)) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: leased although it is on %s: the "
                   "lease %s", path,
                   daxpin_fstype_name(&type, text, sizeof(text)), type.why);
    }
    return 0;
}
