/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* SIGBUS, the last resort */

#include "fault.h"

#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/vma.h"
#include "file.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define DAXPIN_WATCHES 4096

/* A watched mapping. The handler reads it without a lock: start is set last and
 * cleared first */
typedef struct daxpin_watch {
    _Atomic uintptr_t        start; /* 0: free */
    _Atomic uintptr_t        end;
    _Atomic(daxpin_file_t *) file;
} daxpin_watch_t;

static daxpin_watch_t   daxpin_watches[DAXPIN_WATCHES];
static _Atomic unsigned daxpin_num_watches; /* all in use are below */
static struct sigaction daxpin_old_action;
static uintptr_t        daxpin_page_size;

/* Check whether the mapping at the address is of the file. If nobody knows, the
 * answer is yes. */
static int daxpin_fault_is_in_file(uintptr_t addr, const daxpin_file_t *file)
{
    daxpin_piece_t piece;
    int ret = daxpin_vma_find(addr, &piece);

    return (ret == 0) ? ((piece.start <= addr) &&
                         (piece.ino == file->map_ino) &&
                         (piece.dev == file->map_dev)) :
                        (ret != -ENOENT);
}

static daxpin_file_t *daxpin_fault_file(uintptr_t addr)
{
    unsigned i, count = atomic_load(&daxpin_num_watches);
    daxpin_file_t *file;
    uintptr_t start;

    for (i = 0; i < count; ++i) {
        start = atomic_load(&daxpin_watches[i].start);
        if ((start == 0) || (addr < start) ||
            (addr >= atomic_load(&daxpin_watches[i].end))) {
            continue;
        }
        file = atomic_load(&daxpin_watches[i].file);
        if (daxpin_fault_is_in_file(addr, file)) {
            return file;
        }
    }
    return NULL;
}

static void daxpin_fault_pass_on(int signo, siginfo_t *info, void *context)
{
    if (daxpin_old_action.sa_flags & SA_SIGINFO) {
        daxpin_old_action.sa_sigaction(signo, info, context);
    } else if ((daxpin_old_action.sa_handler == SIG_DFL) ||
               (daxpin_old_action.sa_handler == SIG_IGN)) {
        /* The access faults again after the return, and the kernel acts on
         * it */
        sigaction(SIGBUS, &daxpin_old_action, NULL);
    } else {
        daxpin_old_action.sa_handler(signo);
    }
}

static void daxpin_fault_handler(int signo, siginfo_t *info, void *context)
{
    uintptr_t page      = (uintptr_t)info->si_addr & ~(daxpin_page_size - 1);
    int saved_errno     = errno;
    daxpin_file_t *file = NULL;
    uint32_t state;

    /* Handle only the end of a file, not a poisoned page (BUS_MCEERR_AR) */
    if (info->si_code == BUS_ADRERR) {
        file = daxpin_fault_file((uintptr_t)info->si_addr);
    }
    if ((file == NULL) ||
        (daxpin_vma_replace((void*)page, daxpin_page_size,
                            PROT_READ | PROT_WRITE, 0) != 0)) {
        daxpin_fault_pass_on(signo, info, context);
        errno = saved_errno;
        return;
    }

    state = atomic_load(&file->control->state);
    while (daxpin_state_allows(state)) {
        if (!file->holder) {
            daxpin_control_detach(file->control, DAXPIN_STATE_BREAKING);
            break;
        }
        atomic_store(&file->control->open, 0);
        if (atomic_compare_exchange_weak(&file->control->state, &state,
                                         DAXPIN_STATE_BREAKING)) {
            break;
        }
    }
    atomic_store(&file->faulted, 1);
    daxpin_loop_wake();
    errno = saved_errno;
}

int daxpin_fault_install(void)
{
    static int installed;
    struct sigaction action = {.sa_sigaction = daxpin_fault_handler,
                               .sa_flags     = SA_SIGINFO | SA_ONSTACK |
                                               SA_RESTART};

    if (installed) {
        return 0;
    }
    daxpin_page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &daxpin_old_action) != 0) {
        return daxpin_error(errno, "cannot install a handler of SIGBUS: %m");
    }
    installed = 1;
    return 0;
}

int daxpin_fault_watch(daxpin_file_t *file, uintptr_t start, uintptr_t end)
{
    daxpin_watch_t *watch;
    unsigned i;

    for (i = 0; i < DAXPIN_WATCHES; ++i) {
        watch = &daxpin_watches[i];
        if ((atomic_load(&watch->start) == start) &&
            (atomic_load(&watch->end) == end) &&
            (atomic_load(&watch->file) == file)) {
            return 0;
        }
        if (atomic_load(&watch->start) != 0) {
            continue;
        }
        atomic_store(&watch->end, end);
        atomic_store(&watch->file, file);
        atomic_store(&watch->start, start);
        if (atomic_load(&daxpin_num_watches) <= i) {
            atomic_store(&daxpin_num_watches, i + 1);
        }
        return 0;
    }
    return daxpin_error(ENOSPC, "%s: cannot watch its mapping: this process "
                        "has %d mappings of leased files already; map them in "
                        "larger pieces", file->path, DAXPIN_WATCHES);
}

void daxpin_fault_unwatch(daxpin_file_t *file)
{
    unsigned i, count = atomic_load(&daxpin_num_watches);

    for (i = 0; i < count; ++i) {
        if (atomic_load(&daxpin_watches[i].file) == file) {
            atomic_store(&daxpin_watches[i].start, 0);
            atomic_store(&daxpin_watches[i].file, NULL);
        }
    }
}
