/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The published pins of this process */

#include "report.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/memfd.h"
#include "daxpin/os/proc.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DAXPIN_REPORT_PAUSE DAXPIN_SEC /* between looks at accesses */

static daxpin_report_t *daxpin_report; /* under daxpin_mutex, as the rest */
static unsigned        daxpin_report_begun; /* records that were ever used: no
                                               page of the others is touched */
static int             daxpin_report_fd = -1;
static unsigned        daxpin_report_forks; /* that led to this process */
static unsigned        daxpin_report_freed; /* records */

void daxpin_report_open(void)
{
    int fd;

    if (daxpin_report != NULL) {
        return;
    }
    fd = daxpin_memfd_create(DAXPIN_REPORT_NAME, 0);
    if ((fd < 0) || (ftruncate(fd, sizeof(*daxpin_report)) != 0)) {
        goto err;
    }
    daxpin_report = mmap(NULL, sizeof(*daxpin_report), PROT_READ | PROT_WRITE,
                         MAP_SHARED, fd, 0);
    if (daxpin_report == MAP_FAILED) {
        daxpin_report = NULL;
        goto err;
    }
    daxpin_report->version     = DAXPIN_REPORT_VERSION;
    daxpin_report->pid         = (uint32_t)getpid();
    daxpin_report->num_records = DAXPIN_REPORT_RECORDS;
    daxpin_report->magic       = DAXPIN_REPORT_MAGIC;
    daxpin_report_fd           = fd;
    daxpin_report_begun        = 0;
    return;

err:
    daxpin_log(DAXPIN_LOG_WARN, "cannot create a memfd: %m; the command "
               "daxpin does not show the pins of this process");
    if (fd >= 0) {
        close(fd);
    }
}

unsigned daxpin_report_get_forks(void)
{
    return daxpin_report_forks;
}

/* Close the report, because the child has no pins, and must not write the
 * report of its parent. */
void daxpin_report_fork(void)
{
    ++daxpin_report_forks;
    if (daxpin_report != NULL) {
        munmap(daxpin_report, sizeof(*daxpin_report));
        close(daxpin_report_fd);
        daxpin_report    = NULL;
        daxpin_report_fd = -1;
    }
}

static int daxpin_report_is_of(const daxpin_report_record_t *record,
                               const daxpin_file_t *file)
{
    return atomic_load(&record->used) && (record->ino == file->ino) &&
           (record->dev == file->dev);
}

/* Fill what changes of a record. */
static void daxpin_report_fill(daxpin_report_record_t *record,
                               const daxpin_file_t *file, uint64_t accesses)
{
    const size_t i = (size_t)(record - daxpin_report->records);

    record->holder_pid = (uint32_t)file->holder_pid;
    atomic_store(&record->locks, daxpin_file_locks_now(file));
    daxpin_report->events[i]   = file->events.counts;
    daxpin_report->accesses[i] = accesses;
}

/* Have a record be of nobody. Files that have lost theirs get another one. */
static void daxpin_report_free(daxpin_report_record_t *record)
{
    atomic_store(&record->used, 0);
    ++daxpin_report_freed;
}

/* Return the record of a file and owner, with pins 0 if it is new; or NULL if no
 * record is left. has_pin: then one without pins makes room. */
static daxpin_report_record_t *
daxpin_report_find(const daxpin_file_t *file, const daxpin_owner_t *owner,
                   int has_pin)
{
    daxpin_report_record_t *record, *unused = NULL, *unpinned = NULL;
    unsigned i;

    for (i = 0; i < daxpin_report_begun; ++i) {
        record = &daxpin_report->records[i];
        if (!atomic_load(&record->used)) {
            unused = (unused == NULL) ? record : unused;
        } else if (daxpin_report_is_of(record, file) &&
                   (record->owner_type == (uint32_t)owner->type) &&
                   (record->owner_fd == owner->fd)) {
            return record;
        } else if (atomic_load(&record->pins) == 0) {
            unpinned = record;
        }
    }
    if ((unused == NULL) && (daxpin_report_begun < DAXPIN_REPORT_RECORDS)) {
        unused = &daxpin_report->records[daxpin_report_begun++];
    }
    if ((unused == NULL) && has_pin && (unpinned != NULL)) {
        daxpin_report_free(unpinned);
        unused = unpinned;
    }
    if (unused != NULL) {
        unused->owner_type = (uint32_t)owner->type;
        unused->owner_fd   = owner->fd;
        unused->dev        = file->dev;
        unused->ino        = file->ino;
        unused->numa_node  = file->numa_node;
        snprintf(unused->path, sizeof(unused->path), "%s", file->path);
        daxpin_report_fill(unused, file, daxpin_slots_count(file->slots));
        atomic_store(&unused->used, 1);
    }
    return unused;
}

daxpin_report_record_t *daxpin_report_add(const daxpin_file_t *file,
                                          const daxpin_owner_t *owner,
                                          size_t length)
{
    daxpin_report_record_t *record;

    if (daxpin_report == NULL) {
        return NULL;
    }
    record = daxpin_report_find(file, owner, 1);
    if (record == NULL) {
        atomic_fetch_add(&daxpin_report->omitted, 1);
        return NULL;
    }
    atomic_fetch_add(&record->bytes, length);
    atomic_fetch_add(&record->pins, 1);
    return record;
}

/* Publish what has changed of a file. Return whether it has a record. */
static int daxpin_report_publish(const daxpin_file_t *file, uint64_t accesses)
{
    daxpin_report_record_t *record;
    int found = 0;
    unsigned i;

    for (i = 0; (daxpin_report != NULL) && (i < daxpin_report_begun); ++i) {
        record = &daxpin_report->records[i];
        if (daxpin_report_is_of(record, file)) {
            daxpin_report_fill(record, file, accesses);
            found = 1;
        }
    }
    return found;
}

void daxpin_report_update(const daxpin_file_t *file)
{
    (void)daxpin_report_publish(file, daxpin_slots_count(file->slots));
}

/* All files look at the same times, so that many of them wake the loop no more
 * often than one. */
uint64_t daxpin_report_tick(daxpin_file_t *file, uint64_t now)
{
    static const daxpin_owner_t process = {.type = DAXPIN_OWNER_PROCESS,
                                           .fd   = -1};
    uint64_t accesses;

    if (file->revoke.phase == DAXPIN_PHASE_DONE) {
        return DAXPIN_NEVER; /* daxpin_report_revoked() was the last one */
    }
    if (now < file->events.look) {
        return file->events.look;
    }
    file->events.look = (now / DAXPIN_REPORT_PAUSE + 1) * DAXPIN_REPORT_PAUSE;
    accesses          = daxpin_slots_count(file->slots);
    if ((accesses == file->events.accesses) &&
        ((accesses == 0) || (file->events.freed == daxpin_report_freed))) {
        return file->events.look;
    }
    file->events.accesses = accesses;
    file->events.freed    = daxpin_report_freed;
    if (!daxpin_report_publish(file, accesses) && (daxpin_report != NULL)) {
        (void)daxpin_report_find(file, &process, 0);
    }
    return file->events.look;
}

void daxpin_report_drop(const daxpin_file_t *file)
{
    daxpin_report_record_t *record;
    unsigned i;

    for (i = 0; (daxpin_report != NULL) && (i < daxpin_report_begun); ++i) {
        record = &daxpin_report->records[i];
        if (daxpin_report_is_of(record, file) &&
            (atomic_load(&record->pins) == 0)) {
            daxpin_report_free(record);
        }
    }
}

/* Note how long it took, since a time (ns), until a thing was done. */
static void daxpin_report_note_delay(daxpin_report_count_t *count,
                                     uint64_t since)
{
    count->last_us = (daxpin_now() - since) / DAXPIN_USEC;
    if (count->last_us > count->max_us) {
        count->max_us = count->last_us;
    }
}

/* Note that the lease was given back because of the break. */
static void daxpin_report_answered(daxpin_file_t *file)
{
    daxpin_report_note_delay(&file->events.counts.breaks, file->events.broken);
    file->events.broken = 0;
}

void daxpin_report_broken(daxpin_file_t *file, uint64_t now)
{
    if (file->events.broken == 0) {
        file->events.broken = now;
        ++file->events.counts.breaks.count;
        daxpin_report_update(file);
    }
}

void daxpin_report_whole(daxpin_file_t *file)
{
    file->events.broken = 0;
}

void daxpin_report_lent(daxpin_file_t *file)
{
    if (file->events.broken != 0) {
        ++file->events.counts.lends.count;
        daxpin_report_note_delay(&file->events.counts.lends,
                                 file->events.broken);
        daxpin_report_answered(file);
        daxpin_report_update(file);
    }
}

void daxpin_report_revoked(daxpin_file_t *file)
{
    ++file->events.counts.revokes.count;
    daxpin_report_note_delay(&file->events.counts.revokes, file->revoke.start);
    if (file->events.broken != 0) {
        daxpin_report_answered(file);
    }
    daxpin_report_update(file);
}

void daxpin_report_remove(daxpin_report_record_t *record, size_t length)
{
    if (daxpin_report == NULL) {
        return; /* The child of a fork has no records */
    }
    if (record == NULL) {
        atomic_fetch_sub(&daxpin_report->omitted, 1);
        return;
    }
    atomic_fetch_sub(&record->bytes, length);
    if ((atomic_fetch_sub(&record->pins, 1) == 1) &&
        ((record->owner_type != (uint32_t)DAXPIN_OWNER_PROCESS) ||
         (daxpin_report->accesses[record - daxpin_report->records] == 0))) {
        daxpin_report_free(record);
    } /* else daxpin_report_drop() ends it */
}

/* Return whether a descriptor in /proc/PID/fd is a report. */
static int daxpin_report_is_fd(int dir_fd, const char *name, void *arg)
{
    const char *wanted = "/memfd:" DAXPIN_REPORT_NAME;
    char target[128];
    ssize_t length;

    (void)arg;
    length = readlinkat(dir_fd, name, target, sizeof(target) - 1);
    if (length <= 0) {
        return 0;
    }
    target[length] = '\0';
    return strncmp(target, wanted, strlen(wanted)) == 0;
}

void daxpin_report_walk(daxpin_report_func_t func, void *arg)
{
    const daxpin_report_record_t *record;
    unsigned i;

    pthread_mutex_lock(&daxpin_mutex);
    for (i = 0; (daxpin_report != NULL) && (i < daxpin_report_begun); ++i) {
        record = &daxpin_report->records[i];
        if (atomic_load(&record->used) && (atomic_load(&record->pins) > 0)) {
            func(record, arg);
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
}

int daxpin_report_exists(pid_t pid)
{
    /* 0 is an unknown process, or one of another pid namespace */
    return (pid > 0) &&
           (daxpin_proc_each_fd(pid, daxpin_report_is_fd, NULL) > 0);
}
