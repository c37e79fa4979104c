/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What this process has in use, and which calls libdaxpin has made in it */

#ifndef DAXPIN_SCALE_USAGE_H_
#define DAXPIN_SCALE_USAGE_H_

/*
 * The program has functions of the C library of its own, which count and pass
 * on: the linker has libdaxpin find those of the program first. So nothing has
 * to be traced, and the counts are the same on a busy machine.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* X(name in the table, column) */
#define USAGE_FIELDS(X) \
    X(descriptors) \
    X(mappings)    \
    X(threads)     \
    X(bytes)       /* of the heap */ \
    X(messages)    /* sent by sockets */ \
    X(looks)       /* at a lease */ \
    X(stats)       /* of files and directories */ \
    X(scans)       /* of all processes in /proc */ \
    X(lists)       /* of what this process has, read in /proc/self */ \
    X(names)       /* of processes, read in /proc */ \
    X(turns)       /* of the loop: waits for an event */ \
    X(slots)       /* of threads */ \
    X(barriers)    /* which interrupt processors of all processes */

typedef struct usage {
#define USAGE_FIELD(_name) long _name;
    USAGE_FIELDS(USAGE_FIELD)
#undef USAGE_FIELD
} usage_t;

static _Atomic long usage_messages, usage_looks, usage_stats, usage_scans,
        usage_lists, usage_names_read, usage_turns, usage_slots, usage_barriers;
static _Thread_local int usage_is_own; /* usage_get() reads the lists */

typedef long (*syscall_t)(long number, ...);

long syscall(long number, ...)
{
    static _Atomic(syscall_t) next;
    long args[6];
    va_list ap;
    int i;

    va_start(ap, number);
    for (i = 0; i < 6; ++i) {
        args[i] = va_arg(ap, long);
    }
    va_end(ap);
    if ((number == SYS_membarrier) &&
        (args[0] == MEMBARRIER_CMD_GLOBAL_EXPEDITED)) {
        atomic_fetch_add(&usage_barriers, 1);
    }
    if (next == NULL) {
        next = (syscall_t)dlsym(RTLD_NEXT, "syscall");
    }
    return next(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    atomic_fetch_add(&usage_messages, 1);
    return syscall(SYS_sendmsg, fd, message, flags);
}

int fcntl(int fd, int command, ...)
{
    va_list ap;
    long arg;

    va_start(ap, command);
    arg = va_arg(ap, long);
    va_end(ap);
    if (command == F_GETLEASE) {
        atomic_fetch_add(&usage_looks, 1);
    }
    return (int)syscall(SYS_fcntl, fd, command, arg);
}

int fstat(int fd, struct stat *st)
{
    atomic_fetch_add(&usage_stats, 1);
    return (int)syscall(SYS_fstat, fd, st);
}

int fstatat(int fd, const char *path, struct stat *st, int flags)
{
    atomic_fetch_add(&usage_stats, 1);
    return (int)syscall(SYS_newfstatat, fd, path, st, flags);
}

/* No slot is given twice, as long as there are fewer than 63. */
unsigned daxpin_slot_get(void)
{
    return (unsigned)atomic_fetch_add(&usage_slots, 1);
}

void daxpin_slot_put(unsigned index)
{
    atomic_fetch_sub(&usage_slots, 1);
}

typedef DIR *(*opendir_t)(const char *path);
typedef FILE *(*fopen_t)(const char *path, const char *mode);

DIR *opendir(const char *path)
{
    opendir_t next = (opendir_t)dlsym(RTLD_NEXT, "opendir");

    if (strcmp(path, "/proc") == 0) {
        atomic_fetch_add(&usage_scans, 1);
    } else if (!usage_is_own && (strcmp(path, "/proc/self/fd") == 0)) {
        atomic_fetch_add(&usage_lists, 1);
    }
    return next(path);
}

static void usage_note_file(const char *path)
{
    if (!usage_is_own && ((strcmp(path, "/proc/self/maps") == 0) ||
                          (strcmp(path, "/proc/self/smaps") == 0))) {
        atomic_fetch_add(&usage_lists, 1);
    } else if ((strncmp(path, "/proc/", 6) == 0) &&
               (strstr(path, "/comm") != NULL)) {
        atomic_fetch_add(&usage_names_read, 1);
    }
}

FILE *fopen(const char *path, const char *mode)
{
    fopen_t next = (fopen_t)dlsym(RTLD_NEXT, "fopen");

    usage_note_file(path);
    return next(path, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    usage_note_file(path);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    atomic_fetch_add(&usage_turns, 1);
    return (int)syscall(SYS_epoll_pwait, fd, events, count, timeout, NULL,
                        (size_t)8);
}

/* Return how many names a directory has, without "." and ".." */
static long usage_names(const char *path)
{
    DIR *dir   = opendir(path);
    long count = 0;

    while (readdir(dir) != NULL) {
        ++count;
    }
    closedir(dir);
    return count - 2;
}

static long usage_lines(const char *path)
{
    char buffer[65536];
    long count = 0;
    ssize_t length, i;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while ((length = read(fd, buffer, sizeof(buffer))) > 0) {
        for (i = 0; i < length; ++i) {
            count += buffer[i] == '\n';
        }
    }
    close(fd);
    return count;
}

static void usage_get(usage_t *usage)
{
    struct mallinfo2 heap = mallinfo2();

    usage_is_own       = 1;
    usage->bytes       = (long)(heap.uordblks + heap.hblkhd);
    usage->descriptors = usage_names("/proc/self/fd") - 1; /* of this look */
    usage->mappings    = usage_lines("/proc/self/maps");
    usage->threads     = usage_names("/proc/self/task");
    usage->messages    = atomic_load(&usage_messages);
    usage->looks       = atomic_load(&usage_looks);
    usage->stats       = atomic_load(&usage_stats);
    usage->scans       = atomic_load(&usage_scans);
    usage->lists       = atomic_load(&usage_lists);
    usage->names       = atomic_load(&usage_names_read);
    usage->turns       = atomic_load(&usage_turns);
    usage->slots       = atomic_load(&usage_slots);
    usage->barriers    = atomic_load(&usage_barriers);
    usage_is_own       = 0;
}

/* Keep the greater of two values in each field */
static inline void usage_max(usage_t *usage, const usage_t *other)
{
#define USAGE_FIELD(_name) \
    if (other->_name > usage->_name) { \
        usage->_name = other->_name; \
    }
    USAGE_FIELDS(USAGE_FIELD)
#undef USAGE_FIELD
}

static inline void usage_subtract(usage_t *usage, const usage_t *other)
{
#define USAGE_FIELD(_name) usage->_name -= other->_name;
    USAGE_FIELDS(USAGE_FIELD)
#undef USAGE_FIELD
}

/* Print lines of ROLE STAGE FIELD VALUE. */
static inline void usage_print(const char *role, const char *stage,
                               const usage_t *usage)
{
#define USAGE_FIELD(_name) \
    printf("%s %s " #_name " %ld\n", role, stage, usage->_name);
    USAGE_FIELDS(USAGE_FIELD)
#undef USAGE_FIELD
}

#endif
