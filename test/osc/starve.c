/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * One rank has no memory left while it makes a window: each allocation of the
 * component fails in turn. All ranks get an error then, or none, and no rank
 * waits for another one.
 *
 * usage: starve KIND PATH, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <dlfcn.h>

#define SIZE   65536
#define VICTIM 1
#define MOST   1000 /* allocations */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

static int left; /* allocations up to the one that fails; 0: none fails */

/* Return whether an allocation has to fail: the component is the caller. */
static int fails(const void *caller)
{
    Dl_info info;

    return (left > 0) && (dladdr(caller, &info) != 0) &&
           (info.dli_fname != NULL) &&
           (strstr(info.dli_fname, "mca_osc_daxpin") != NULL) && (--left == 0);
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL :
                                                __libc_calloc(count, size);
}

/* Return whether the allocation with a number failed */
static int turn(window_t *window, int number)
{
    int missed = 0;
    int made, all, ret;

    left = (check_rank == VICTIM) ? number : 0;
    ret  = window_open(window);
    if (left > 0) {
        missed = 1;
        left   = 0;
    }
    made = ret == MPI_SUCCESS;
    MPI_Allreduce(&made, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Bcast(&missed, 1, MPI_INT, VICTIM, MPI_COMM_WORLD);
    check((all == 0) || (all == check_size),
          "allocation %d fails: %d of %d ranks have a window", number, all,
          check_size);
    check((all > 0) || !missed, "no window, and no allocation failed");
    if (made) {
        window_close(window);
    } else if (window_is_mapped(window)) {
        munmap(window->base, window->size);
    }
    return !missed;
}

int main(int argc, char **argv)
{
    window_t window = {.size = SIZE, .unit = 8, .info = MPI_INFO_NULL};
    int number;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size > VICTIM), "usage: starve KIND PATH");
    window.kind = argv[1];
    window.path = argv[2];
    check_mpi(window_open(&window), "the first window");
    window_close(&window);
    for (number = 1; turn(&window, number); ++number) {
        check(number < MOST, "%d allocations", number);
    }
    check(number > 1, "the component makes no allocation");
    if (check_rank == 0) {
        printf("%d allocations failed\n", number - 1);
    }
    unlink(window.file);
    MPI_Finalize();
    return 0;
}
