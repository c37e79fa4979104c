/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory that other processes have in a memfd */

#include "memory.h"

#include "proc.h"

#include "daxpin/os/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_READ_TRIES 10

/* A descriptor of a process that is a memfd of the name */
typedef struct memory_entry {
    uint64_t ino;
    int      fd;
} memory_entry_t;

typedef struct memory_search {
    const char     *name;
    size_t         length;   /* of it */
    dev_t          dev;      /* of memfds */
    memory_entry_t *entries;
    size_t         count;
    size_t         room;
} memory_search_t;

static dev_t memory_dev(void)
{
    static dev_t dev;
    struct stat st;
    int fd;

    if (dev == 0) {
        fd = daxpin_memfd_create("daxpin", 0);
        if ((fd >= 0) && (fstat(fd, &st) == 0)) {
            dev = st.st_dev;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return dev;
}

/* Return whether a descriptor is a memfd: its name can be that of any file. */
static int memory_is_memfd(const memory_search_t *search, int dir,
                           const char *name, struct stat *st)
{
    return (daxpin_proc_stat_fd(dir, name, st) == 0) &&
           S_ISREG(st->st_mode) && (st->st_dev == search->dev);
}

static int memory_add(int dir, int fd, const char *target, void *arg)
{
    memory_search_t *search = arg;
    memory_entry_t *entries;
    struct stat st;
    char name[16];
    size_t room;

    snprintf(name, sizeof(name), "%d", fd);
    if ((strncmp(target, search->name, search->length) != 0) ||
        ((target[search->length] != '\0') &&
         (target[search->length] != ' ')) ||
        !memory_is_memfd(search, dir, name, &st)) {
        return 0;
    }
    if (search->count == search->room) {
        room    = 2 * search->room + 16;
        entries = realloc(search->entries, room * sizeof(*entries));
        if (entries == NULL) {
            return -ENOMEM;
        }
        search->entries = entries;
        search->room    = room;
    }
    search->entries[search->count++] = (memory_entry_t){.ino = st.st_ino,
                                                        .fd  = fd};
    return 0;
}

/* The newest first: a process has older ones from its parents. */
static int memory_compare(const void *one, const void *two)
{
    const memory_entry_t *a = one, *b = two;

    return (a->ino != b->ino) ? ((a->ino > b->ino) ? -1 : 1) :
           (a->fd > b->fd) - (a->fd < b->fd);
}

/* Open a memfd that was found. By now the descriptor may be a device or another
 * thing that must not be opened. The process may have a lease on the memfd, and
 * the open must not wait until that ends. Return the descriptor or -1. */
static int memory_open(const memory_search_t *search, pid_t pid,
                       const memory_entry_t *entry)
{
    char name[64];
    struct stat st;
    int path_fd, fd = -1;

    snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)pid, entry->fd);
    path_fd = open(name, O_PATH | O_CLOEXEC);
    if (path_fd < 0) {
        return -1;
    }
    if (memory_is_memfd(search, path_fd, "", &st) &&
        (st.st_ino == entry->ino)) {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
        fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    close(path_fd);
    return fd;
}

int daxpin_memory_each(pid_t pid, const char *name, size_t most,
                       daxpin_memory_func_t func, void *arg)
{
    memory_search_t search = {.name   = name,
                              .length = strlen(name),
                              .dev    = memory_dev()};
    int fd, ret = daxpin_proc_each_link(pid, memory_add, &search);
    const memory_entry_t *entry;
    size_t i;

    if (search.count > 0) {
        qsort(search.entries, search.count, sizeof(*search.entries),
              memory_compare);
    }
    for (i = 0; (i < search.count) && (most > 0) && (ret == 0); ++i) {
        entry = &search.entries[i];
        if ((i > 0) && (entry->ino == entry[-1].ino)) {
            continue;
        }
        --most;
        fd = memory_open(&search, pid, entry);
        if (fd >= 0) {
            ret = func(fd, arg);
            close(fd);
        }
    }
    free(search.entries);
    return ret;
}

void *daxpin_memory_read(int fd, size_t size, size_t least)
{
    char *one = calloc(1, size), *two = calloc(1, size);
    ssize_t length;
    unsigned tries;

    /* Two copies that are the same */
    for (tries = 0; (one != NULL) && (two != NULL) &&
                    (tries < MEMORY_READ_TRIES); ++tries) {
        length = pread(fd, one, size, 0);
        if ((length < (ssize_t)least) ||
            (pread(fd, two, size, 0) != length)) {
            break;
        }
        if (memcmp(one, two, size) == 0) {
            free(two);
            return one;
        }
    }
    free(one);
    free(two);
    return NULL;
}
