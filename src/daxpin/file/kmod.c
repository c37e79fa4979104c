/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The client of the pin module */

#include "kmod.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/sink.h"
#include "wire/ioctl.h"
#include "file.h"
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* How long to try again while the lease is lent */
#define DAXPIN_KMOD_TRY_BOUND (2 * DAXPIN_SEC)
#define DAXPIN_KMOD_PAUSE     (1 * DAXPIN_MSEC)

static _Atomic int daxpin_kmod_policy = DAXPIN_PIN_AUTO;

void daxpin_set_pin_policy(daxpin_pin_policy_t policy)
{
    atomic_store(&daxpin_kmod_policy, policy);
}

int daxpin_kmod_is_off(void)
{
    return atomic_load(&daxpin_kmod_policy) == DAXPIN_PIN_OFF;
}

int daxpin_kmod_is_available(void)
{
    return !daxpin_kmod_is_off() &&
           (access(DAXPIN_DEVICE, R_OK | W_OK) == 0);
}

/* Return what to do about a device that cannot be opened. */
static const char *daxpin_kmod_open_advice(int error)
{
    switch (error) {
    case EMFILE:
        return "raise the limit of open files (ulimit -n)";
    case ENFILE:
        return "raise the machine's limit of open files (sysctl fs.file-max)";
    case ENOMEM:
        return "free some memory";
    case EACCES:
    case EPERM:
        return "have the device opened to this user";
    default:
        return "load the pin module (modprobe daxpin)";
    }
}

static int daxpin_kmod_open(const daxpin_file_t *file)
{
    uint32_t version = 0;
    int fd, ret;

    fd = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return daxpin_error(errno, "%s: cannot pin for RDMA: " DAXPIN_DEVICE
                            ": %m; %s", file->path,
                            daxpin_kmod_open_advice(errno));
    }
    if ((ioctl(fd, DAXPIN_IOC_GET_VERSION, &version) != 0) ||
        (version != DAXPIN_IOC_VERSION)) {
        ret = daxpin_error(EPROTO, "%s: cannot pin for RDMA: the pin module "
                           "has interface version %u, and not %u; install the "
                           "pin module that came with this library",
                           file->path, version, DAXPIN_IOC_VERSION);
        close(fd);
        return ret;
    }
    return fd;
}

static const char *daxpin_kmod_advice(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
        return daxpin_kmod_open_advice(error);
    case ENOMEM:
        return "raise the limit of locked memory (ulimit -l), or the limits of "
               "the pin module (modinfo -p daxpin)";
    case EPERM:
        return "the lease has ended; open the file again";
    case EOPNOTSUPP:
        return "use a regular file on fsdax, with no blocks that are shared "
               "with a copy (reflink)";
    default:
        return "see the kernel's log (dmesg)";
    }
}

/* Return whether to try again: the lease is away for a moment while a reader or
 * a late rank is let in. */
static int daxpin_kmod_may_retry(const daxpin_file_t *file, int error)
{
    daxpin_state_t state = daxpin_file_state(file);

    return (error == EPERM) && ((state == DAXPIN_STATE_HELD) ||
                                (state == DAXPIN_STATE_LENT) ||
                                (state == DAXPIN_STATE_PENDING));
}

static int daxpin_kmod_try(daxpin_file_t *file, int fd,
                             const struct daxpin_ioc_pin *args)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_KMOD_PAUSE};
    uint64_t deadline           = daxpin_now() + DAXPIN_KMOD_TRY_BOUND;
    int error;

    while (ioctl(fd, DAXPIN_IOC_PIN, args) != 0) {
        error = errno;
        if (!daxpin_kmod_may_retry(file, error) ||
            (daxpin_now() > deadline)) {
            return daxpin_error(error, "%s: cannot pin %llu bytes at offset "
                                "%llu for RDMA: %s; %s", file->path,
                                args->length, args->offset, strerror(error),
                                daxpin_kmod_advice(error));
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

unsigned daxpin_kmod_grace(unsigned break_time, unsigned part)
{
    const uint64_t ms = (uint64_t)break_time * 1000 / part;

    return ((break_time > 0) && (ms < DAXPIN_IOC_GRACE_MAX)) ?
                   (unsigned)ms :
                   DAXPIN_IOC_GRACE_MAX;
}

/* Make of a pinned range what devices can register, in the way that the kernel
 * has for it. The grace is the time in which this process decides whether it
 * lends the file; if the process hangs, the kernel takes the blocks back. */
static int daxpin_kmod_offer(const daxpin_file_t *file, daxpin_kmod_pin_t *pin)
{
    struct daxpin_ioc_export args = {.flags = 0};
    uint32_t ways                 = 0;

    if (ioctl(pin->fd, DAXPIN_IOC_GET_WAYS, &ways) != 0) {
        return daxpin_error(errno,
                            "%s: cannot pin for RDMA: the pin module does "
                            "not say how devices can register: %m",
                            file->path);
    }
    if (ways & DAXPIN_IOC_DMABUF) {
        args.grace_ms = daxpin_kmod_grace(daxpin_lease_break_time(), 2);
        pin->dmabuf   = ioctl(pin->fd, DAXPIN_IOC_EXPORT, &args);
        return (pin->dmabuf >= 0) ? 0 :
               daxpin_error(errno, "%s: cannot export the pinned blocks as a "
                            "dma-buf: %m; %s", file->path,
                            daxpin_kmod_advice(errno));
    }
    pin->addr = mmap(NULL, pin->length, PROT_READ | PROT_WRITE, MAP_SHARED,
                     pin->fd, 0);
    if (pin->addr == MAP_FAILED) {
        pin->addr = NULL;
        return daxpin_error(errno, "%s: cannot map the pinned blocks: %m; %s",
                            file->path, daxpin_kmod_advice(errno));
    }
    return 0;
}

static int daxpin_kmod_do_pin(daxpin_file_t *file, uint64_t offset,
                                size_t length, daxpin_kmod_pin_t *pin)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct daxpin_ioc_pin args;
    char *addr;
    int ret;

    addr = daxpin_file_addr(file, offset, length);
    if (addr == NULL) {
        return -EINVAL;
    }
    memset(&args, 0, sizeof(args));
    args.offset = offset & ~(page - 1);
    args.addr   = (uintptr_t)addr - (offset - args.offset);
    args.length = ((offset + length + page - 1) & ~(page - 1)) - args.offset;
    args.fd     = daxpin_file_borrow_fd(file);
    if (args.fd < 0) {
        return args.fd;
    }
    ret = pin->fd = daxpin_kmod_open(file);
    if (ret < 0) {
        goto out;
    }
    ret = daxpin_kmod_try(file, pin->fd, &args);
    if (ret != 0) {
        goto err_close;
    }
    pin->offset = args.offset;
    pin->length = args.length;
    ret         = daxpin_kmod_offer(file, pin);
    if (ret == 0) {
        goto out;
    }

err_close:
    close(pin->fd);
out:
    daxpin_file_return_fd(file);
    return (ret < 0) ? ret : 0;
}

int daxpin_kmod_pin(daxpin_file_t *file, uint64_t offset, size_t length,
                      daxpin_kmod_pin_t **pin_p)
{
    static _Atomic int warned; /* of which error last */
    int policy = atomic_load(&daxpin_kmod_policy), ret;
    daxpin_kmod_pin_t *pin;

    *pin_p = NULL;
    if ((policy == DAXPIN_PIN_OFF) || !file->is_dax) {
        return 0;
    }
    if ((policy == DAXPIN_PIN_AUTO) && !daxpin_kmod_is_available()) {
        return 0;
    }
    pin = calloc(1, sizeof(*pin));
    if (pin == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    pin->dmabuf = -1;
    ret         = daxpin_kmod_do_pin(file, offset, length, pin);
    if (ret == 0) {
        pin->refs = 1;
        *pin_p    = pin;
        return 0;
    }
    free(pin);
    if (policy == DAXPIN_PIN_AUTO) {
        daxpin_log((atomic_exchange(&warned, ret) == ret) ? DAXPIN_LOG_DEBUG :
                                                            DAXPIN_LOG_WARN,
                   "%s; RDMA devices cannot register the file",
                   daxpin_errormsg());
        return 0;
    }
    return ret;
}

/* Have the loop check all leases: the device reports that one was broken. */
static void daxpin_kmod_on_break(void *arg, uint32_t events)
{
    daxpin_kmod_pin_t *pin = arg;
    uint64_t breaks;

    (void)events;
    if (read(pin->fd, &breaks, sizeof(breaks)) == sizeof(breaks)) {
        daxpin_loop_hint();
    }
}

static void daxpin_kmod_close_dmabuf(daxpin_kmod_pin_t *pin)
{
    if (pin->dmabuf >= 0) {
        close(pin->dmabuf);
        pin->dmabuf = -1;
    }
}

static void daxpin_kmod_close(daxpin_kmod_pin_t *pin)
{
    if (pin->event != 0) {
        daxpin_loop_remove(pin->event, pin->fd);
        pin->event = 0;
    }
    if (pin->fd >= 0) {
        close(pin->fd);
        pin->fd = -1;
    }
}

int daxpin_kmod_is_live(const daxpin_kmod_pin_t *pin)
{
    return ((pin->addr != NULL) && !pin->revoked) || (pin->dmabuf >= 0);
}

void daxpin_kmod_watch(daxpin_kmod_pin_t *pin, int wanted)
{
    if ((pin->fd >= 0) && wanted) {
        pin->event = daxpin_loop_add(pin->fd, daxpin_kmod_on_break, pin);
    }
    if ((pin->event == 0) && (pin->dmabuf < 0)) {
        daxpin_kmod_close(pin);
    }
}

void daxpin_kmod_unpin(daxpin_kmod_pin_t *pin)
{
    if ((pin == NULL) || (--pin->refs > 0)) {
        return;
    }
    daxpin_kmod_close_dmabuf(pin);
    daxpin_kmod_close(pin);
    if (pin->addr != NULL) {
        munmap(pin->addr, pin->length);
    }
    free(pin);
}

/* Have the kernel take the dma-buf from devices, at once or later. A module that
 * can only do it at once does so. */
static int daxpin_kmod_revoke_dmabuf(const daxpin_kmod_pin_t *pin, int later)
{
    uint32_t delay_ms;

    if (later) {
        delay_ms = daxpin_kmod_grace(daxpin_lease_break_time(), 1);
        if (ioctl(pin->fd, DAXPIN_IOC_REVOKE_IN, &delay_ms) == 0) {
            return 0;
        }
    }
    return ioctl(pin->fd, DAXPIN_IOC_REVOKE);
}

void daxpin_kmod_revoke(daxpin_kmod_pin_t *pin, int later)
{
    int ret;

    if ((pin->dmabuf >= 0) && (daxpin_kmod_revoke_dmabuf(pin, later) != 0)) {
        daxpin_log(DAXPIN_LOG_ERROR, "cannot take pinned blocks from devices: "
                   "%m; they stay pinned until their registrations end");
    }
    daxpin_kmod_close_dmabuf(pin);
    daxpin_kmod_close(pin);
    if ((pin->addr != NULL) && !pin->revoked) {
        pin->revoked = 1;
        ret          = daxpin_sink_replace_range(pin->addr, pin->length,
                                                 PROT_READ | PROT_WRITE);
        if (ret != 0) {
            daxpin_log(DAXPIN_LOG_ERROR, "cannot replace the mapping of pinned "
                       "blocks at %p: %s; the blocks stay pinned until this "
                       "process exits", pin->addr,
                       strerror(-ret));
        }
    }
}

void daxpin_kmod_fork(daxpin_kmod_pin_t *pin)
{
    pin->event = 0; /* The parent's loop has it */
    pin->addr  = NULL;
    daxpin_kmod_close_dmabuf(pin);
    daxpin_kmod_close(pin);
}
