/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What keeps the blocks of a file in place in this process: its hold */

#include "keep.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "report.h"

#include <errno.h>
#include <time.h>

/* To look through all processes for those who have a file open */
#define DAXPIN_WHO_BOUND (10 * DAXPIN_SEC)

void daxpin_file_place_hold(daxpin_file_t *file)
{
    if (daxpin_hold_place(file->path, file->fd, &file->hold) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    } else if (file->holder) {
        atomic_fetch_or(&file->control->locks, DAXPIN_LOCK_HOLD);
    }
}

/* Every member that may access has a hold of its own: the death of one must
 * not open the lock. One that may not is without, so that others who map the
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

/* The holder's word that it is waived may be old by now */
void daxpin_file_hold_again(daxpin_file_t *file)
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

    if (file->holder) {
        deadline += DAXPIN_WHO_BOUND;
    }
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
            return daxpin_error(ESTALE, "%s: its holder (pid %d) has released "
                                "the lease; open it again when he has closed "
                                "it", file->path, (int)file->holder_pid);
        case DAXPIN_STATE_REVOKED:
            return daxpin_error(file->lease.error ? file->lease.error : EAGAIN,
                                "%s", cause);
        default:
            break;
        }
        if (daxpin_now() > deadline) {
            return daxpin_error(ETIMEDOUT, "%s: no lease in time: its holder "
                                "(pid %d) does not get or give it, or still "
                                "makes the file longer; is it stopped?",
                                file->path, (int)file->holder_pid);
        }
        nanosleep(&pause, NULL);
    }
}
