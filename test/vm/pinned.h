/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * For tests that use the device of the pin module directly: files under lease,
 * kernel pins, and intruders that wait for them.
 */

#ifndef PINNED_H_
#define PINNED_H_

#define _GNU_SOURCE

#include "owner.h"

#include "wire/ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096ul
#define LENGTH (64 * PAGE)

#define DEVICE_DIR "/sys/class/misc/daxpin/"

static const char *directory;

/* As CHECK, for a function that returns 0, or -1 with `why` set */
#define TRY(_call) \
    do { \
        if ((_call) != 0) { \
            return; \
        } \
    } while (0)

static int fail(const char *what)
{
    snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
    return -1;
}

/* Read a number from a file, such as those in DEVICE_DIR. -1: an error. */
static UNUSED long number_in(const char *path)
{
    FILE *file = fopen(path, "r");
    long value = -1;

    if (file != NULL) {
        if (fscanf(file, "%ld", &value) != 1) {
            value = -1;
        }
        fclose(file);
    }
    return value;
}

/* Wait for up to 10 s until the number in a file has the value. */
static UNUSED int becomes(const char *path, long value)
{
    int i;

    for (i = 0; (i < 500) && (number_in(path) != value); ++i) {
        pause_ms(20);
    }
    return number_in(path) == value;
}

/*
 * A file under lease, mapped, and a pin of it
 */

typedef struct pinned {
    char path[PATH_MAX];
    int  fd;      /* -1: closed */
    char *memory; /* the file, of length; NULL: not mapped */
    int  device;  /* -1: closed */
    char *alias;  /* the mapping of the device; NULL: not mapped */
    size_t length;
} pinned_t;

/* Make a file of `length` bytes 'a', open and mapped, without a lease. */
static UNUSED int make(pinned_t *me, const char *name, size_t length)
{
    snprintf(me->path, sizeof(me->path), "%s/%s", directory, name);
    unlink(me->path);
    me->device = -1;
    me->alias  = NULL;
    me->memory = NULL;
    me->length = length;
    me->fd     = open(me->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if ((me->fd < 0) || (ftruncate(me->fd, (off_t)length) != 0)) {
        return fail(me->path);
    }
    me->memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, me->fd,
                      0);
    if (me->memory == MAP_FAILED) {
        return fail("mmap");
    }
    memset(me->memory, 'a', length);
    return 0;
}

static UNUSED int lease(pinned_t *me)
{
    signal(SIGIO, SIG_IGN); /* of its break */
    return (fcntl(me->fd, F_SETLEASE, F_WRLCK) == 0) ? 0 : fail("F_SETLEASE");
}

/* Pin a range. Return 0 or an errno value. */
static UNUSED int pin_at(int device, int fd, const void *addr, uint64_t offset,
                         uint64_t length)
{
    struct daxpin_ioc_pin args = {.addr   = (uintptr_t)addr,
                                  .offset = offset,
                                  .length = length,
                                  .fd     = fd};

    return (ioctl(device, DAXPIN_IOC_PIN, &args) == 0) ? 0 : errno;
}

/* Pin the whole file, and map the device. */
static UNUSED int pin(pinned_t *me)
{
    me->device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    if (me->device < 0) {
        return fail(DAXPIN_DEVICE);
    }
    errno = pin_at(me->device, me->fd, me->memory, 0, me->length);
    if (errno != 0) {
        return fail("DAXPIN_IOC_PIN");
    }
    me->alias = mmap(NULL, me->length, PROT_READ | PROT_WRITE, MAP_SHARED,
                     me->device, 0);
    if (me->alias == MAP_FAILED) {
        me->alias = NULL;
        return fail("mmap of the device");
    }
    return 0;
}

static UNUSED int make_pinned(pinned_t *me, const char *name)
{
    return ((make(me, name, LENGTH) == 0) && (lease(me) == 0)) ? pin(me) : -1;
}

static UNUSED void close_file(pinned_t *me)
{
    if (me->fd >= 0) {
        close(me->fd);
        me->fd = -1;
    }
}

static UNUSED void unmap_file(pinned_t *me)
{
    if (me->memory != NULL) {
        munmap(me->memory, me->length);
        me->memory = NULL;
    }
}

static UNUSED void close_device(pinned_t *me)
{
    if (me->device >= 0) {
        close(me->device);
        me->device = -1;
    }
}

static UNUSED void unmap_device(pinned_t *me)
{
    if (me->alias != NULL) {
        munmap(me->alias, me->length);
        me->alias = NULL;
    }
}

static UNUSED void release_all(pinned_t *me)
{
    unmap_device(me);
    close_device(me);
    unmap_file(me);
    close_file(me);
    unlink(me->path);
}

/*
 * Breaks
 */

/* Call a function for each of DAXPIN_VM_BREAKS breaks, or of so many, until one
 * fails. */
static UNUSED void run_breaks(unsigned standard, void (*once)(unsigned number))
{
    const char *value = getenv("DAXPIN_VM_BREAKS");
    unsigned count    = (value != NULL) ? (unsigned)atoi(value) : standard, i;

    for (i = 0; (i < count) && (why[0] == '\0'); ++i) {
        once(i);
    }
    printf("# %u breaks\n", i);
}

/*
 * Intruders
 */

/* Start a child that truncates the file to nothing. While it waits, it has
 * locked the file: do not read, write, link or unlink the file. */
static UNUSED pid_t intrude(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(3, ~0u, 0); /* a descriptor of the device is a pin */
        _exit((truncate(path, 0) == 0) ? 0 : errno);
    }
    return pid;
}

/* Return whether the process sleeps interruptibly for five checks in a row. */
static UNUSED int waits(pid_t pid)
{
    char path[64], state;
    int asleep = 0, i;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    for (i = 0; (i < 1000) && (asleep < 5); ++i) {
        state = '?';
        file  = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) {
                state = '?';
            }
            fclose(file);
        }
        if (state == 'Z') {
            return 0; /* it has ended */
        }
        asleep = (state == 'S') ? asleep + 1 : 0;
        pause_ms(5);
    }
    return asleep >= 5;
}

/* Print where in the kernel the process waits. */
static UNUSED void show_stack(pid_t pid)
{
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stack", (int)pid);
    file = fopen(path, "r");
    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        printf("# %s", line);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* Return whether the child succeeds within 20 s. */
static UNUSED int passes(pid_t pid)
{
    int status = -1, i;

    for (i = 0; i < 1000; ++i) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (WIFEXITED(status) && (WEXITSTATUS(status) != 0)) {
                printf("# %s\n", strerror(WEXITSTATUS(status)));
            }
            return status == 0;
        }
        pause_ms(20);
    }
    show_stack(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}

#endif
