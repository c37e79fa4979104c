/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the component has once in a process: log, memory events, parameters */

#include "daxpin_process.h"

#include "daxpin/os/fork.h"

#include <ucm/api/ucm.h>
#include <ucs/debug/log_def.h>

#include <errno.h>
#include <pthread.h>

/* Before UCX's own registration caches, which may register anew */
#define UCT_DAXPIN_UCM_PRIORITY -100

static struct {
    pthread_mutex_t lock;
    unsigned        users;   /* memory domains of daxpin and of ib */
    unsigned        own_mds; /* memory domains of daxpin */
    int             log;     /* UCX logs also without users */
    daxpin_params_t params;  /* of the one opened last */
} uct_daxpin_process = {.lock = PTHREAD_MUTEX_INITIALIZER};

DAXPIN_FORK_LOCK(DAXPIN_FORK_UCX_PROCESS, &uct_daxpin_process.lock)

ucs_status_t uct_daxpin_status(int ret)
{
    switch (-ret) {
    case 0:
        return UCS_OK;
    case ESTALE:
    case ENOENT:
        return UCS_ERR_CONNECTION_RESET;
    case EAGAIN:
    case EBUSY:
        return UCS_ERR_BUSY;
    case EACCES:
    case EPERM:
        return UCS_ERR_REJECTED;
    case EFAULT:
        return UCS_ERR_INVALID_ADDR;
    case EINVAL:
    case EPROTO:
        return UCS_ERR_INVALID_PARAM;
    case ENOMEM:
    case ENOSPC:
        return UCS_ERR_NO_MEMORY;
    case ETIMEDOUT:
        return UCS_ERR_TIMED_OUT;
    default:
        return UCS_ERR_IO_ERROR;
    }
}

static void uct_daxpin_log(daxpin_log_level_t level, const char *message)
{
    static const ucs_log_level_t ucs_level[] = {
        [DAXPIN_LOG_ERROR] = UCS_LOG_LEVEL_ERROR,
        [DAXPIN_LOG_WARN]  = UCS_LOG_LEVEL_WARN,
        [DAXPIN_LOG_INFO]  = UCS_LOG_LEVEL_INFO,
        [DAXPIN_LOG_DEBUG] = UCS_LOG_LEVEL_DEBUG
    };

    ucs_log(ucs_level[level], "%s", message);
}

static void uct_daxpin_ucm_event(ucm_event_type_t type, ucm_event_t *event,
                                 void *arg)
{
    if (type == UCM_EVENT_VM_MAPPED) {
        daxpin_cache_forget(event->vm_mapped.address, event->vm_mapped.size);
    } else {
        daxpin_cache_forget(event->vm_unmapped.address,
                            event->vm_unmapped.size);
    }
}

/* The cache may keep answers only where UCX reports that mappings change. The
 * event "mapped" is needed as well: UCX sends it after the change, so it ends
 * what another thread learned between "unmapped" and the change. */
void uct_daxpin_process_get(void)
{
    ucs_status_t status;

    pthread_mutex_lock(&uct_daxpin_process.lock);
    if (uct_daxpin_process.users++ == 0) {
        daxpin_set_log(uct_daxpin_log);
        status = ucm_set_event_handler(UCM_EVENT_VM_MAPPED |
                                       UCM_EVENT_VM_UNMAPPED,
                                       UCT_DAXPIN_UCM_PRIORITY,
                                       uct_daxpin_ucm_event, NULL);
        if (status == UCS_OK) {
            daxpin_cache_enable(1);
        } else {
            ucs_debug("daxpin: no memory events (%s): every registration is"
                      " looked up", ucs_status_string(status));
        }
    }
    pthread_mutex_unlock(&uct_daxpin_process.lock);
}

void uct_daxpin_process_put(void)
{
    pthread_mutex_lock(&uct_daxpin_process.lock);
    if (--uct_daxpin_process.users == 0) {
        daxpin_cache_enable(0);
        ucm_unset_event_handler(UCM_EVENT_VM_MAPPED | UCM_EVENT_VM_UNMAPPED,
                                uct_daxpin_ucm_event, NULL);
        if (!uct_daxpin_process.log) {
            daxpin_set_log(NULL);
        }
    }
    pthread_mutex_unlock(&uct_daxpin_process.lock);
}

void uct_daxpin_process_log(int on)
{
    pthread_mutex_lock(&uct_daxpin_process.lock);
    uct_daxpin_process.log = on;
    if (uct_daxpin_process.users == 0) {
        daxpin_set_log(on ? uct_daxpin_log : NULL);
    }
    pthread_mutex_unlock(&uct_daxpin_process.lock);
}

void uct_daxpin_process_add_md(const daxpin_params_t *params)
{
    pthread_mutex_lock(&uct_daxpin_process.lock);
    uct_daxpin_process.params = *params;
    ++uct_daxpin_process.own_mds;
    pthread_mutex_unlock(&uct_daxpin_process.lock);
}

void uct_daxpin_process_remove_md(void)
{
    pthread_mutex_lock(&uct_daxpin_process.lock);
    --uct_daxpin_process.own_mds;
    pthread_mutex_unlock(&uct_daxpin_process.lock);
}

int uct_daxpin_process_params(daxpin_params_t *params)
{
    int is_open;

    pthread_mutex_lock(&uct_daxpin_process.lock);
    is_open = uct_daxpin_process.own_mds > 0;
    *params = uct_daxpin_process.params;
    pthread_mutex_unlock(&uct_daxpin_process.lock);
    return is_open;
}
