/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Pinned ranges of a file and their owners */

#include "pin.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "file.h"
#include "guard.h"
#include "keep.h"
#include "kmod.h"
#include "params.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>

struct daxpin_pin {
    daxpin_range_t         range;    /* in the file */
    daxpin_file_t          *file;
    daxpin_report_record_t *record;  /* NULL: omitted */
    unsigned               forks;    /* daxpin_report_get_forks() of record */
    daxpin_kmod_pin_t      *kmod;    /* NULL: no kernel pin */
};

static daxpin_pin_t *daxpin_pin_of(daxpin_range_t *range)
{
    return (daxpin_pin_t*)((char*)range - offsetof(daxpin_pin_t, range));
}

/* Return whether the pin has a kernel pin that is not revoked, and not one of
 * the parent. */
static int daxpin_pin_is_in_kmod(const daxpin_pin_t *pin)
{
    return (pin->kmod != NULL) && daxpin_kmod_is_live(pin->kmod);
}

static void daxpin_pins_add_kmod(daxpin_pins_t *pins, daxpin_pin_t *pin)
{
    if (pin->kmod == NULL) {
        return;
    }
    if (pin->kmod->refs == 1) {
        daxpin_kmod_watch(pin->kmod, pin->file->holder && !pins->watched);
        pins->watched |= pin->kmod->event != 0;
    }
    ++pins->kmods;
}

static void daxpin_pins_remove_kmod(daxpin_pins_t *pins, daxpin_pin_t *pin)
{
    if (daxpin_pin_is_in_kmod(pin)) {
        pins->watched &= (pin->kmod->event == 0) || (pin->kmod->refs > 1);
        --pins->kmods;
    }
}

static int daxpin_pin_revoke(daxpin_range_t *range, void *arg)
{
    const int *later_p = arg;
    daxpin_pin_t *pin  = daxpin_pin_of(range);

    if (pin->kmod != NULL) {
        daxpin_kmod_revoke(pin->kmod, *later_p);
    }
    return 1;
}

static int daxpin_pin_fork(daxpin_range_t *range, void *arg)
{
    daxpin_pin_t *pin = daxpin_pin_of(range);

    if (pin->kmod != NULL) {
        daxpin_kmod_fork(pin->kmod);
    }
    return 1;
}

void daxpin_pins_revoke(daxpin_pins_t *pins, int later)
{
    daxpin_ranges_each(&pins->ranges, daxpin_pin_revoke, &later);
    pins->kmods = 0;
    pins->watched = 0;
}

void daxpin_pins_fork(daxpin_pins_t *pins)
{
    daxpin_ranges_each(&pins->ranges, daxpin_pin_fork, NULL);
    pins->kmods = 0;
    pins->watched = 0;
}

static int daxpin_pin_is_shareable(daxpin_range_t *range, void *arg)
{
    return daxpin_pin_is_in_kmod(daxpin_pin_of(range));
}

/* Share the kernel pin of another pin that covers the range. Return NULL if
 * there is none. */
static daxpin_kmod_pin_t *daxpin_pins_share_kmod(daxpin_file_t *file,
                                                     uint64_t offset,
                                                     uint64_t end)
{
    daxpin_kmod_pin_t *kmod = NULL;
    daxpin_range_t *range       = NULL;

    pthread_mutex_lock(&daxpin_mutex);
    if ((file->pins.kmods > 0) && !daxpin_kmod_is_off()) {
        range = daxpin_ranges_cover(&file->pins.ranges, offset, end,
                                    daxpin_pin_is_shareable, NULL);
    }
    if (range != NULL) {
        kmod = daxpin_pin_of(range)->kmod;
        ++kmod->refs;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return kmod;
}

/* Wait for the lease, which is away for a moment while a late rank maps the
 * file. The loop thread does not wait, because it is the thread that takes the
 * lease again. */
static void daxpin_pin_await_lease(daxpin_file_t *file, uint64_t deadline)
{
    if ((daxpin_file_state(file) == DAXPIN_STATE_PENDING) &&
        !daxpin_loop_is_self()) {
        (void)daxpin_file_wait(file, deadline);
    }
}

/* Get a kernel pin, if the policy allows one. Return 0, or -errno with a
 * message. May sleep for as long as a reader is let in. */
static int daxpin_pin_in_kmod(daxpin_pin_t *pin, uint64_t deadline)
{
    daxpin_pin_await_lease(pin->file, deadline);
    pin->kmod = daxpin_pins_share_kmod(pin->file, pin->range.start,
                                           pin->range.end);
    return (pin->kmod != NULL) ?
                   0 :
                   daxpin_kmod_pin(pin->file, pin->range.start,
                                     pin->range.end - pin->range.start,
                                     &pin->kmod);
}

/* Add the pin to its file if the file is under lease; drop its kernel pin
 * otherwise. Return 0, or -errno with a message. */
static int daxpin_pin_add(daxpin_pin_t *pin, const daxpin_owner_t *owner,
                          uint64_t deadline)
{
    daxpin_file_t *file = pin->file;
    size_t length       = pin->range.end - pin->range.start;
    int ret             = 0;

    daxpin_pin_await_lease(file, deadline);
    pthread_mutex_lock(&daxpin_mutex);
    if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) &&
        (daxpin_file_state(file) != DAXPIN_STATE_LENT)) {
        ret = daxpin_error(EPERM,
                           "%s: cannot pin %zu bytes at offset %lu: no lease "
                           "is held (it is %s); open the file again to take a "
                           "new one", daxpin_file_path(file), length,
                           pin->range.start,
                           daxpin_state_name(daxpin_file_state(file)));
        daxpin_kmod_unpin(pin->kmod);
        goto out;
    }
    daxpin_ranges_insert(&file->pins.ranges, &pin->range);
    daxpin_pins_add_kmod(&file->pins, pin);
    pin->record = daxpin_report_add(file, owner, length);
    pin->forks  = daxpin_report_get_forks();
    daxpin_guard_add(file, pin->range.start, pin->range.end);
    daxpin_guard_wait(file);
out:
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

/* Return whether a thread makes the file shorter, which would wait for a pin. */
static int daxpin_pin_meets_cut(daxpin_file_t *file)
{
    int shrinking;

    pthread_mutex_lock(&daxpin_mutex);
    shrinking = file->shrinking;
    pthread_mutex_unlock(&daxpin_mutex);
    return shrinking;
}

int daxpin_pin(daxpin_file_t *file, uint64_t offset, size_t length,
               const daxpin_owner_t *owner, daxpin_pin_t **pin_p)
{
    uint64_t deadline = daxpin_now() + DAXPIN_TIMEOUT_DEFAULT_MS * DAXPIN_MSEC;
    daxpin_owner_t known;
    daxpin_pin_t *pin;
    uint64_t end;
    int ret;

    *pin_p = NULL;
    ret    = daxpin_owner_copy(owner, &known);
    if (ret != 0) {
        return ret;
    }
    if (known.type == DAXPIN_OWNER_PROCESS) {
        known.fd = -1;
    }
    if ((length == 0) || __builtin_add_overflow(offset, length, &end) ||
        (end > daxpin_file_length(file))) {
        return daxpin_error(EINVAL,
                            "%s: cannot pin %zu bytes at offset %lu: the file "
                            "has %zu bytes", daxpin_file_path(file), length,
                            offset, daxpin_file_length(file));
    }
    pin = calloc(1, sizeof(*pin));
    if (pin == NULL) {
        return daxpin_error(ENOMEM, "%s: cannot pin: out of memory",
                            daxpin_file_path(file));
    }
    pin->range.start = offset;
    pin->range.end   = end;
    pin->file        = file;
    if (daxpin_pin_meets_cut(file)) {
        ret = daxpin_error(EAGAIN, "%s: cannot pin: another thread shrinks the "
                           "file; try again", daxpin_file_path(file));
        goto err_free;
    }
    ret = daxpin_pin_in_kmod(pin, deadline);
    if (ret != 0) {
        goto err_free;
    }
    ret = daxpin_pin_add(pin, &known, deadline);
    if (ret != 0) {
        goto err_free;
    }
    *pin_p = pin;
    return 0;

err_free:
    free(pin);
    return ret;
}

void daxpin_unpin(daxpin_pin_t *pin)
{
    daxpin_file_t *file;
    int in_kmod;

    if (pin == NULL) {
        return;
    }
    file = pin->file;
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_ranges_remove(&file->pins.ranges, &pin->range);
    in_kmod = daxpin_pin_is_in_kmod(pin);
    daxpin_pins_remove_kmod(&file->pins, pin);
    daxpin_kmod_unpin(pin->kmod);
    daxpin_guard_remove(file, pin->range.start, pin->range.end);
    daxpin_guard_wait(file);
    if (pin->forks == daxpin_report_get_forks()) {
        daxpin_report_remove(pin->record, pin->range.end - pin->range.start);
        if (in_kmod) {
            daxpin_report_update(file); /* It may have been the last one */
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    free(pin);
}

daxpin_pin_t *daxpin_pin_find(daxpin_file_t *file, uint64_t offset,
                              size_t length)
{
    daxpin_range_t *range;
    uint64_t end;

    if (__builtin_add_overflow(offset, length, &end)) {
        end = UINT64_MAX;
    }
    pthread_mutex_lock(&daxpin_mutex);
    range = daxpin_ranges_overlap(&file->pins.ranges, offset, end);
    pthread_mutex_unlock(&daxpin_mutex);
    return (range != NULL) ? daxpin_pin_of(range) : NULL;
}

void *daxpin_pin_alias(const daxpin_pin_t *pin)
{
    char *addr = NULL;

    pthread_mutex_lock(&daxpin_mutex);
    if (daxpin_pin_is_in_kmod(pin) && (pin->kmod->addr != NULL)) {
        addr = (char *)pin->kmod->addr +
               (pin->range.start - pin->kmod->offset);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return addr;
}

int daxpin_pin_dmabuf(const daxpin_pin_t *pin, uint64_t *offset_p)
{
    int fd = -ENOENT;

    pthread_mutex_lock(&daxpin_mutex);
    if (daxpin_pin_is_in_kmod(pin) && (pin->kmod->dmabuf >= 0)) {
        *offset_p = pin->range.start - pin->kmod->offset;
        fd        = fcntl(pin->kmod->dmabuf, F_DUPFD_CLOEXEC, 0);
        fd        = (fd < 0) ? -errno : fd;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return fd;
}

void daxpin_pin_range(const daxpin_pin_t *pin, uint64_t *offset_p,
                      size_t *length_p)
{
    *offset_p = pin->range.start;
    *length_p = pin->range.end - pin->range.start;
}
