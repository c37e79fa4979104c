/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The control page of a file, and the slots of this process's accesses */

#include "control.h"

#include "clock.h"
#include "log.h"
#include "memfd.h"
#include "vma.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

_Static_assert(sizeof(daxpin_control_t) <= DAXPIN_CONTROL_SIZE,
               "the control page is one page");
_Static_assert(sizeof(daxpin_slot_t) == DAXPIN_CACHELINE,
               "a slot is one cache line");

static pthread_once_t daxpin_membarrier_once = PTHREAD_ONCE_INIT;
static int daxpin_membarrier_works;

static int daxpin_membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* Register this process for barriers. The registration belongs to the address
 * space, so that a child of a fork has it too. */
static void daxpin_membarrier_register(void)
{
    daxpin_membarrier_works =
            daxpin_membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

static int daxpin_membarrier_ready(void)
{
    pthread_once(&daxpin_membarrier_once, daxpin_membarrier_register);
    return daxpin_membarrier_works;
}

void daxpin_control_barrier(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (daxpin_membarrier_ready()) {
        daxpin_membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
    }
}

uint32_t daxpin_control_needs_fence(const daxpin_control_t *control)
{
    return !daxpin_membarrier_ready() ||
           ((control->flags & DAXPIN_CONTROL_FENCE) != 0);
}

int daxpin_control_create(const char *path, daxpin_control_t **control_p,
                          int *fd_p)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE |
                      F_SEAL_SEAL;
    daxpin_control_t *control;
    int fd, ret;

    fd = daxpin_memfd_create("daxpin-control", MFD_ALLOW_SEALING);
    if (fd < 0) {
        return daxpin_error(errno, "%s: cannot create a control page: %m; "
                            "check the limit of open files (ulimit -n)", path);
    }
    if (ftruncate(fd, DAXPIN_CONTROL_SIZE) != 0) {
        ret = daxpin_error(errno, "%s: cannot size a control page: %m; check "
                           "whether memory is left", path);
        goto err_close;
    }
    control = mmap(NULL, DAXPIN_CONTROL_SIZE, PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) {
        ret = daxpin_error(errno, "%s: cannot map a control page: %m; check "
                           "the limits of memory (ulimit -v) and of mappings "
                           "(vm.max_map_count)", path);
        goto err_close;
    }
    if (fcntl(fd, F_ADD_SEALS, seals) != 0) {
        ret = daxpin_error(errno, "%s: cannot seal a control page: %m; Linux "
                           "5.1 or later is needed", path);
        goto err_unmap;
    }
    control->magic = DAXPIN_CONTROL_MAGIC;
    control->pid   = (uint32_t)getpid();
    control->flags = daxpin_membarrier_ready() ? 0 : DAXPIN_CONTROL_FENCE;
    *control_p     = control;
    *fd_p          = fd;
    return 0;

err_unmap:
    munmap(control, DAXPIN_CONTROL_SIZE);
err_close:
    close(fd);
    return ret;
}

int daxpin_control_attach(int fd, const daxpin_key_t *key,
                          daxpin_control_t **control_p)
{
    const int seals = fcntl(fd, F_GET_SEALS); /* -1: a file that has none */
    daxpin_control_t *control;
    struct stat st;

    /* A page of a file that cannot shrink cannot fault */
    if ((fstat(fd, &st) != 0) || (st.st_size != DAXPIN_CONTROL_SIZE) ||
        (seals < 0) || ((seals & F_SEAL_SHRINK) == 0)) {
        return daxpin_error(EPROTO, "cannot map the control page of inode %lu: "
                            "its holder sent a file that is not one", key->ino);
    }
    control = mmap(NULL, DAXPIN_CONTROL_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) {
        return daxpin_error(errno, "cannot map the control page of inode %lu: "
                            "%m", key->ino);
    }
    if ((control->magic != DAXPIN_CONTROL_MAGIC) ||
        (control->dev != key->dev) || (control->ino != key->ino)) {
        munmap(control, DAXPIN_CONTROL_SIZE);
        return daxpin_error(EPROTO, "cannot map the control page of inode %lu: "
                            "its holder sent the page of another file",
                            key->ino);
    }
    *control_p = control;
    return 0;
}

void daxpin_control_destroy(daxpin_control_t *control)
{
    munmap(control, DAXPIN_CONTROL_SIZE);
}

/* A reader of one of the two words must not find more than the other allows:
 * close before the state, open after it. */
void daxpin_control_set_state(daxpin_control_t *control, daxpin_state_t state,
                              int is_open)
{
    if (!is_open) {
        atomic_store(&control->open, daxpin_state_allows(state) ?
                                             DAXPIN_CONTROL_CHECKED : 0);
    }
    atomic_store_explicit(&control->state, (uint32_t)state,
                          memory_order_release);
    if (is_open) {
        atomic_store_explicit(&control->open, DAXPIN_CONTROL_OPEN,
                              memory_order_release);
    }
}

/* A reader of both words has no later end with a longer time */
void daxpin_control_set_sure(daxpin_control_t *control, uint64_t until,
                             uint64_t now)
{
    const uint64_t length = daxpin_time_until(until, now);

    if (length < atomic_load(&control->sure_for)) {
        atomic_store(&control->sure_for, length);
    }
    atomic_store(&control->sure_until, until);
    atomic_store(&control->sure_for, length);
}

int daxpin_control_replace(daxpin_control_t *control, daxpin_control_t *other)
{
    /* The system call itself: UCX replaces mremap() of the C library by one that
     * drops the new address. For root, the page then went to address 0. */
    if ((void*)syscall(SYS_mremap, other, DAXPIN_CONTROL_SIZE,
                       DAXPIN_CONTROL_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       control) == MAP_FAILED) {
        munmap(other, DAXPIN_CONTROL_SIZE);
        return -ENOMEM;
    }
    return 0;
}

static void daxpin_control_note_end(daxpin_control_t *control,
                                    uint64_t generation, uint64_t length,
                                    daxpin_state_t state)
{
    control->generation = generation;
    atomic_store(&control->length, length);
    atomic_store(&control->state, (uint32_t)state);
}

void daxpin_control_detach(daxpin_control_t *control, daxpin_state_t state)
{
    const uint64_t generation = control->generation;
    const uint64_t length     = atomic_load(&control->length);
    daxpin_control_t *own;

    /* Complete the page before it appears at the address: a thread of this
     * process may be in an access, and read the state. */
    own = mmap(NULL, DAXPIN_CONTROL_SIZE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own != MAP_FAILED) {
        daxpin_control_note_end(own, generation, length, state);
        if (daxpin_control_replace(control, own) == 0) {
            return;
        }
    }
    /* The process may have no more memory or mappings. Mapped in the place of
     * the page, a new one needs neither, and allows no access from the first
     * moment on, because the state of a page of zeros is PENDING. */
    (void)daxpin_vma_replace(control, DAXPIN_CONTROL_SIZE,
                             PROT_READ | PROT_WRITE, 0);
    daxpin_control_note_end(control, generation, length, state);
}

daxpin_slot_t *daxpin_slots_create(void)
{
    daxpin_slot_t *slots = aligned_alloc(DAXPIN_CACHELINE,
                                         DAXPIN_SLOTS * sizeof(*slots));

    if (slots != NULL) {
        memset(slots, 0, DAXPIN_SLOTS * sizeof(*slots));
    }
    return slots;
}

void daxpin_slots_destroy(daxpin_slot_t *slots)
{
    free(slots);
}

int daxpin_slots_busy(const daxpin_slot_t *slots)
{
    unsigned i;

    for (i = 0; i < DAXPIN_SLOTS; ++i) {
        if (atomic_load_explicit(&slots[i].busy, memory_order_acquire) != 0) {
            return 1;
        }
    }
    return 0;
}

uint64_t daxpin_slots_count(const daxpin_slot_t *slots)
{
    uint64_t count = 0;
    unsigned i;

    for (i = 0; i < DAXPIN_SLOTS; ++i) {
        count += atomic_load_explicit(&slots[i].accesses, memory_order_relaxed);
    }
    return count;
}

/* Bit i: index i has a user. The last index has no bit: many users share it. */
static _Atomic uint64_t daxpin_slots_used;

unsigned daxpin_slot_get(void)
{
    uint64_t used = atomic_load(&daxpin_slots_used);
    unsigned index;

    do {
        index = (~used != 0) ? (unsigned)__builtin_ctzll(~used) : 64;
        if (index >= DAXPIN_SLOTS - 1) {
            return DAXPIN_SLOTS - 1;
        }
    } while (!atomic_compare_exchange_weak(&daxpin_slots_used, &used,
                                           used | (1ull << index)));
    return index;
}

void daxpin_slot_put(unsigned index)
{
    if (index < DAXPIN_SLOTS - 1) {
        atomic_fetch_and(&daxpin_slots_used, ~(1ull << index));
    }
}
