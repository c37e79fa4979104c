/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: file systems and directories for files under lease */

#include "checkup.h"
#include "list.h"
#include "locks.h"
#include "storage.h"

#include "daxpin/os/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORAGE_FILES_ENV  "UCX_DAXPIN_FILES"
#define STORAGE_FSDAX      "fsdax"
#define STORAGE_MOUNTS_MAX 64

typedef struct storage_mounts {
    daxpin_checkup_t *checkup;
    unsigned         count;
    dev_t            devs[STORAGE_MOUNTS_MAX]; /* that were checked */
} storage_mounts_t;

static const char *storage_files(void)
{
    const char *files = getenv(STORAGE_FILES_ENV);

    return ((files != NULL) && (files[0] != '\0')) ? files : STORAGE_FSDAX;
}

/* Check whether UCX_DAXPIN_FILES names a path or a directory above it */
static int storage_is_named(const char *path)
{
    const char *files = storage_files();
    char dir[PATH_MAX], real[PATH_MAX];

    while (daxpin_list_next(&files, dir, sizeof(dir))) {
        if ((dir[0] == '/') && (realpath(dir, real) != NULL) &&
            (strncmp(path, real, strlen(real)) == 0) &&
            ((path[strlen(real)] == '/') || (path[strlen(real)] == '\0') ||
             (real[1] == '\0'))) {
            return 1;
        }
    }
    return 0;
}

/* Return whether daxpin takes files in a place for its own: that is named, or
 * fsdax is and they are used with DAX. */
static int storage_is_ours(const daxpin_storage_t *storage)
{
    return storage_is_named(storage->path) ||
           ((storage->dax != 0) &&
            daxpin_list_has(storage_files(), STORAGE_FSDAX));
}

/* Keep the first directory that is good for the job's file */
static void storage_note_dir(daxpin_checkup_t *checkup,
                             const daxpin_storage_t *storage)
{
    if ((checkup->dir[0] == '\0') && (storage->scratch_error == 0)) {
        snprintf(checkup->dir, sizeof(checkup->dir), "%s", storage->dir);
    }
}

/* Check a file, or a directory for new files */
static void storage_check(daxpin_checkup_t *checkup,
                          const daxpin_storage_t *storage, const char *name)
{
    char reason[LOCKS_REASON_MAX], hold_reason[LOCKS_REASON_MAX];
    static daxpin_openers_t openers;
    daxpin_verdict_t lease, hold;

    daxpin_openers_find(storage, &openers);
    lease = daxpin_lease_verdict(storage, &openers, reason);
    hold  = daxpin_hold_verdict(storage, hold_reason);
    if (storage->is_device_dax) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, name,
                           "device DAX, which needs no lease");
    } else if (lease == DAXPIN_VERDICT_NO) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, name,
                           "no lease is available: %s", reason);
    } else if (lease == DAXPIN_VERDICT_UNKNOWN) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, name, "%s", reason);
    } else if (daxpin_trust_verdict(storage, reason) == DAXPIN_VERDICT_NO) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, name, "%s", reason);
    } else if ((storage->dax == 1) && (hold != DAXPIN_VERDICT_YES)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, name,
                           "DAX and leases, but no hold: %s; a process that "
                           "truncates the file by an inherited descriptor "
                           "does not wait", hold_reason);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, name, "%s, leases%s",
                           (storage->dax == 1) ? "DAX" : "no DAX",
                           (hold == DAXPIN_VERDICT_YES) ? ", hold" : "");
    }
    if (lease == DAXPIN_VERDICT_YES) {
        storage_note_dir(checkup, storage);
    }
}

static void storage_report_ignored(daxpin_checkup_t *checkup,
                                   const daxpin_storage_t *storage,
                                   const char *path)
{
    if (storage->dax == 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, path,
                           "is not used with DAX (%s), and %s does not name "
                           "its directory: daxpin ignores it; set the variable "
                           "to %s", storage->no_dax_reason, STORAGE_FILES_ENV,
                           storage->dir);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, path,
                           "%s names neither its directory nor %s: daxpin "
                           "ignores it; add one to the variable",
                           STORAGE_FILES_ENV, STORAGE_FSDAX);
    }
}

/* Check a path of the command line */
static void storage_check_path(daxpin_checkup_t *checkup, const char *path)
{
    static daxpin_storage_t storage;
    int ret = daxpin_storage_query(path, &storage);

    if (ret != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, path,
                           "cannot stat: %s", strerror(-ret));
    } else if ((S_ISREG(storage.st.st_mode) || S_ISDIR(storage.st.st_mode)) &&
               !storage_is_ours(&storage)) {
        storage_report_ignored(checkup, &storage, path);
    } else {
        storage_check(checkup, &storage, path);
    }
}

static void storage_check_named(daxpin_checkup_t *checkup)
{
    const char *files = storage_files();
    static daxpin_storage_t storage;
    char dir[PATH_MAX];
    int ret;

    while (daxpin_list_next(&files, dir, sizeof(dir))) {
        if (strcmp(dir, STORAGE_FSDAX) == 0) {
            continue;
        }
        ret = daxpin_storage_query(dir, &storage);
        if (ret != 0) {
            daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, STORAGE_FILES_ENV,
                               "names \"%s\": %s; name directories that exist, "
                               "or %s", dir, strerror(-ret), STORAGE_FSDAX);
        } else {
            storage_check(checkup, &storage, dir);
        }
    }
}

static int storage_check_mount(const daxpin_mount_t *mount, void *arg)
{
    storage_mounts_t *mounts  = arg;
    daxpin_checkup_t *checkup = mounts->checkup;
    int asked = daxpin_mount_has_option(mount, "dax=always") ||
                daxpin_mount_has_option(mount, "dax");
    static daxpin_storage_t storage;
    unsigned i;

    if (!asked && !daxpin_storage_is_pmem(daxpin_mount_device(mount))) {
        return 0;
    }
    for (i = 0; i < mounts->count; ++i) {
        if (mounts->devs[i] == mount->dev) {
            return 0; /* mounted at another place as well */
        }
    }
    if ((mounts->count == STORAGE_MOUNTS_MAX) ||
        (daxpin_storage_query(mount->point, &storage) != 0)) {
        return 0;
    }
    mounts->devs[mounts->count++] = mount->dev;
    if (storage.dax == 1) {
        storage_check(checkup, &storage, mount->point);
    } else if (storage.dax == 0) {
        daxpin_checkup_add(checkup, asked ? DAXPIN_FINDING_BAD :
                                            DAXPIN_FINDING_WARN,
                           mount->point, "DAX is off%s: %s",
                           asked ? ", silently" : "", storage.no_dax_reason);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, mount->point,
                           "%s; name a directory of yours there (daxpin "
                           "doctor DIRECTORY)", storage.no_dax_reason);
    }
    return 0;
}

void daxpin_check_storage(daxpin_checkup_t *checkup, char **paths)
{
    storage_mounts_t mounts = {.checkup = checkup};
    int named = strcmp(storage_files(), STORAGE_FSDAX) != 0;

    for (; *paths != NULL; ++paths) {
        storage_check_path(checkup, *paths);
    }
    storage_check_named(checkup);
    if (!daxpin_list_has(storage_files(), STORAGE_FSDAX)) {
        return;
    }
    daxpin_mount_walk(storage_check_mount, &mounts);
    if ((mounts.count == 0) && !named) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "file systems",
                           "none with DAX is mounted, and %s names no "
                           "directory: daxpin has nothing to do; mount one, or "
                           "name the directory of your files",
                           STORAGE_FILES_ENV);
    }
}
