/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_WINDOW_H_
#define DAXPIN_TEST_WINDOW_H_

/* Windows over files, made in all ways that there are */

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A window, made in one of these ways:
 *   own     MPI_Win_allocate, a file for each rank
 *   one     MPI_Win_allocate, one file for all ranks of a node
 *   shared  MPI_Win_allocate_shared, one file
 *   create  MPI_Win_create over a mapping of the program
 *   dynamic MPI_Win_create_dynamic, a mapping of the program attached
 *   dir     MPI_Win_allocate, no file named: the MCA parameter osc_daxpin_dir
 *   none    MPI_Win_allocate, no file
 */
typedef struct window {
    const char *kind;
    const char *path;
    size_t     size;
    int        unit;
    MPI_Info   info; /* further keys, or MPI_INFO_NULL */
    char       *base;
    MPI_Win    win;
    char       file[PATH_MAX]; /* of this rank */
    off_t      offset;         /* of this rank's segment in it */
    MPI_Aint   starts[64];     /* of each rank: the first displacement */
} window_t;

__attribute__((unused))
static int window_is(const window_t *window, const char *kind)
{
    return strcmp(window->kind, kind) == 0;
}

/* Return whether the program maps the memory itself */
static int window_is_mapped(const window_t *window)
{
    return window_is(window, "create") || window_is(window, "dynamic");
}

/* Return the displacement of a number of units */
__attribute__((unused))
static MPI_Aint window_disp(const window_t *window, int target, MPI_Aint units)
{
    return window_is(window, "dynamic") ?
                   MPI_Aint_add(window->starts[target],
                                units * window->unit) :
                   units;
}

/* Return this rank among those of its node, and their number */
static int node_rank(int *size_p)
{
    MPI_Comm node;
    int rank;

    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &node);
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, size_p);
    MPI_Comm_free(&node);
    return rank;
}

__attribute__((unused))
static int is_one_node(void)
{
    int size;

    node_rank(&size);
    return size == check_size;
}

static void window_map(window_t *window)
{
    int fd = open(window->file, O_RDWR | O_CREAT, 0600);

    check(fd >= 0, "%s: %m", window->file);
    check(posix_fallocate(fd, 0, (off_t)window->size) == 0, "%s: no space",
          window->file);
    window->base = mmap(NULL, window->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        fd, 0);
    check(window->base != MAP_FAILED, "%s: mmap: %m", window->file);
    close(fd);
}

static int window_attach(window_t *window, MPI_Info info)
{
    int ret;

    window_map(window);
    ret = MPI_Win_create_dynamic(info, MPI_COMM_WORLD, &window->win);
    if (ret == MPI_SUCCESS) {
        check_mpi(MPI_Win_attach(window->win, window->base,
                                 (MPI_Aint)window->size), "attach");
    }
    MPI_Get_address(window->base, &window->starts[check_rank]);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, window->starts, 1,
                  MPI_AINT, MPI_COMM_WORLD);
    return ret;
}

/* Return MPI_SUCCESS or the error of MPI */
__attribute__((unused))
static int window_open(window_t *window)
{
    char path[PATH_MAX];
    MPI_Info info;
    int ret, size;

    if (window->info == MPI_INFO_NULL) {
        MPI_Info_create(&info);
    } else {
        MPI_Info_dup(window->info, &info);
    }
    snprintf(window->file, sizeof(window->file), "%s", window->path);
    snprintf(path, sizeof(path), "%s", window->path);
    if (window_is(window, "own") || window_is_mapped(window)) {
        snprintf(window->file, sizeof(window->file), "%s.%d", window->path,
                 check_rank);
        snprintf(path, sizeof(path), "%s.%%r", window->path);
        window->offset = 0;
    } else {
        window->offset = node_rank(&size) * (off_t)window->size;
    }
    if (window_is(window, "create")) {
        window_map(window);
        ret = MPI_Win_create(window->base, (MPI_Aint)window->size,
                             window->unit, info, MPI_COMM_WORLD, &window->win);
        goto out;
    }
    if (window_is(window, "dynamic")) {
        ret = window_attach(window, info);
        goto out;
    }
    if (!window_is(window, "dir") && !window_is(window, "none")) {
        MPI_Info_set(info, "daxpin_path", path);
    }
    if (window_is(window, "shared")) {
        ret = MPI_Win_allocate_shared((MPI_Aint)window->size, window->unit,
                                      info, MPI_COMM_WORLD, &window->base,
                                      &window->win);
    } else {
        ret = MPI_Win_allocate((MPI_Aint)window->size, window->unit, info,
                               MPI_COMM_WORLD, &window->base, &window->win);
    }
out:
    MPI_Info_free(&info);
    if (ret == MPI_SUCCESS) {
        MPI_Win_set_errhandler(window->win, MPI_ERRORS_RETURN);
    }
    return ret;
}

/* Free a window that was not revoked: no error is allowed */
__attribute__((unused))
static void window_close(window_t *window)
{
    check_mpi(MPI_Win_free(&window->win), "MPI_Win_free");
    if (window_is_mapped(window)) {
        munmap(window->base, window->size);
    }
}

/* Read this rank's segment from the file, by read(2). The window must be
 * closed, because this process would be a reader to which the lease is lent. */
__attribute__((unused))
static void window_read(const window_t *window, void *buffer)
{
    int fd = open(window->file, O_RDONLY);

    check(fd >= 0, "%s: %m", window->file);
    check(pread(fd, buffer, window->size, window->offset) ==
                  (ssize_t)window->size,
          "%s: cannot read %zu bytes at %ld: %m", window->file, window->size,
          (long)window->offset);
    close(fd);
}

#endif
