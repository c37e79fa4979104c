/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Try to allocate a window with the given info, on all ranks, and print whether
 * there is one.
 *
 * usage: create SIZE [KEY VALUE]...
 */

#include "check.h"

#include <string.h>

int main(int argc, char **argv)
{
    int ret, mine, all, i;
    MPI_Info info;
    MPI_Win win;
    char *base;

    check_init(&argc, &argv);
    check(argc % 2 == 0, "usage: create SIZE [KEY VALUE]...");
    MPI_Info_create(&info);
    for (i = 2; i < argc; i += 2) {
        MPI_Info_set(info, argv[i], argv[i + 1]);
    }
    ret  = MPI_Win_allocate(atol(argv[1]), 1, info, MPI_COMM_WORLD, &base,
                            &win);
    mine = ret == MPI_SUCCESS;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check((all == 0) || (all == check_size), "%d of %d ranks have a window",
          all, check_size);
    if (mine) {
        memset(base, check_rank + 1, atol(argv[1]));
        check_mpi(MPI_Win_free(&win), "free");
    } else {
        check_class(ret, MPI_ERR_WIN, "no window");
    }
    if (check_rank == 0) {
        printf(mine ? "window\n" : "no window\n");
    }
    MPI_Info_free(&info);
    MPI_Finalize();
    return 0;
}
