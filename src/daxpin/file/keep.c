/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What keeps the blocks of a file in place in this process: its hold */

#include "keep.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "maps.h"
#include "report.h"

#include <errno.h>
#include <time.h>

/* Time for the holder to find the processes that have a file open */
#define DAXPIN_USERS_BOUND (10 * DAXPIN_SEC)

/* How often the held page is unmapped for a process that waits, every ms */
#define DAXPIN_UNMAPS_MAX 100

void daxpin_file_place_hold(daxpin_file_t *file)
{
    if (daxpin_hold_place(file->path, file->fd, &file->hold) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    } else if (file->holder) {
        atomic_fetch_or(&file->control->locks, DAXPIN_LOCK_HOLD);
    }
}

void daxpin_file_drop_hold(daxpin_file_t *file)
{
    daxpin_hold_drop(&file->hold);
    file->unmap.left = 0;
    if (file->is_dax) {
        file->unmap.left = DAXPIN_UNMAPS_MAX;
        file->unmap.next = 0;
        if (daxpin_file_unmap_tick(file, daxpin_now()) != DAXPIN_NEVER) {
            daxpin_file_wake(file);
        }
    }
}

/* An access of another thread may map the page before the waiter has seen that
 * no process has it mapped */
uint64_t daxpin_file_unmap_tick(daxpin_file_t *file, uint64_t now)
{
    if ((file->unmap.left > 0) && (now < file->unmap.next)) {
        return file->unmap.next;
    }
    if ((file->unmap.left == 0) || (file->fd < 0) ||
        (file->revoke.phase != DAXPIN_PHASE_NONE) ||
        daxpin_hold_is_placed(&file->hold) ||
        !daxpin_hold_is_contended(file->fd)) {
        file->unmap.left = 0;
        return DAXPIN_NEVER;
    }
    daxpin_file_unmap_held(file);
    --file->unmap.left;
    file->unmap.next = now + DAXPIN_MSEC;
    return file->unmap.next;
}

/* Place the hold of a member that may access the file. Every such member has a
 * hold of its own, because the file must stay held when one process dies. A
 * member that may not access the file has none, so that a process that maps the
 * file late can make it longer. */
void daxpin_file_follow_hold(daxpin_file_t *file)
{
    if (!file->holder && file->exposed && daxpin_file_is_alive(file) &&
        (atomic_load(&file->control->locks) & DAXPIN_LOCK_HOLD) &&
        !atomic_load(&file->control->waived) &&
        !daxpin_hold_is_placed(&file->hold)) {
        daxpin_file_place_hold(file);
    }
}

/* Place the hold even though control->waived is set, because the holder may
 * change that at any moment */
void daxpin_file_place_hold_again(daxpin_file_t *file)
{
    if ((file->holder || file->exposed) && (file->growing == 0) &&
        (file->fd >= 0) && (file->revoke.phase != DAXPIN_PHASE_DONE) &&
        atomic_load(&file->control->waived) &&
        !daxpin_hold_is_placed(&file->hold)) {
        daxpin_file_place_hold(file);
        daxpin_report_update(file);
    }
}

int daxpin_file_wait(daxpin_file_t *file, uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = 100 * DAXPIN_USEC};
    const char *cause           = file->control->cause;
    char holder[DAXPIN_HOLDER_NAME];

    if (file->holder) {
        deadline += DAXPIN_USERS_BOUND;
    }
    daxpin_file_holder_name(file, holder, sizeof(holder));
    for (;;) {
        switch (daxpin_file_state(file)) {
        case DAXPIN_STATE_HELD:
        case DAXPIN_STATE_LENT:
            if (!file->holder && atomic_load(&file->control->growing)) {
                break;
            }
            pthread_mutex_lock(&daxpin_mutex);
            daxpin_file_follow_hold(file);
            pthread_mutex_unlock(&daxpin_mutex);
            return 0;
        case DAXPIN_STATE_RELEASED:
            return daxpin_error(EAGAIN, "%s: cannot join: its holder (%s) "
                                "has released the lease; open the file again "
                                "when that process has closed it", file->path,
                                holder);
        case DAXPIN_STATE_REVOKED:
            if (atomic_load(&file->control->growing)) {
                /* The holder could not fill the file for itself, and left it
                 * as it was; this process may want less */
                return daxpin_error(ESTALE, "%s", cause);
            }
            return daxpin_error(file->lease.error ? file->lease.error : EAGAIN,
                                "%s", cause);
        default:
            break;
        }
        if (daxpin_now() > deadline) {
            return daxpin_error(ETIMEDOUT, "%s: cannot wait longer for the "
                                "lease: its holder (%s) does not get it, "
                                "or still makes the file longer; check whether "
                                "that process is stopped", file->path,
                                holder);
        }
        nanosleep(&pause, NULL);
    }
}
