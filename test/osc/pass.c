/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The MCA parameter osc_daxpin_dir is set. Windows whose memory MPI allocates
 * are over files in that directory. Windows over the program's own memory pass
 * through to another component. Data is moved on each.
 *
 * usage: pass
 */

#include "check.h"

#include <daxpin_mpi.h>
#include <string.h>

#define WORDS 512

static long words[WORDS];

static int is_daxpin(MPI_Win win)
{
    char cause[256];

    return daxpin_mpi_cause(win, 0, cause, sizeof(cause)) == MPI_SUCCESS;
}

/* Put a word to the next rank. Displacements are words, or addresses. */
static void move(MPI_Win win, const long *base, MPI_Aint first)
{
    int next      = (check_rank + 1) % check_size;
    int previous  = (check_rank + check_size - 1) % check_size;
    MPI_Aint disp = first;
    long value    = 100 + check_rank;

    MPI_Sendrecv(&first, 1, MPI_AINT, previous, 0, &disp, 1, MPI_AINT, next, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    check_mpi(MPI_Put(&value, 1, MPI_LONG, next, disp, 1, MPI_LONG, win),
              "put");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(base[0] == 100 + previous, "rank %d put %ld", previous, base[0]);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void test_given(void)
{
    MPI_Win win;
    long *base;

    check_mpi(MPI_Win_allocate(sizeof(words), sizeof(long), MPI_INFO_NULL,
                               MPI_COMM_WORLD, &base, &win), "allocate");
    check(is_daxpin(win), "MPI_Win_allocate gave no file");
    move(win, base, 0);
    check_mpi(MPI_Win_free(&win), "free");
    check_mpi(MPI_Win_allocate_shared(sizeof(words), sizeof(long),
                                      MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                                      &win), "allocate_shared");
    check(is_daxpin(win), "MPI_Win_allocate_shared gave no file");
    move(win, base, 0);
    check_mpi(MPI_Win_free(&win), "free");
}

static void test_create(void)
{
    MPI_Win win;

    memset(words, 0, sizeof(words));
    check_mpi(MPI_Win_create(words, sizeof(words), sizeof(long), MPI_INFO_NULL,
                             MPI_COMM_WORLD, &win), "create");
    check(!is_daxpin(win), "MPI_Win_create did not pass through");
    move(win, words, 0);
    check_mpi(MPI_Win_free(&win), "free");
}

/* A dynamic window is daxpin's if it is for files, whatever is attached */
static void test_dynamic(const char *attach, int wanted)
{
    MPI_Aint first;
    MPI_Info info;
    MPI_Win win;

    memset(words, 0, sizeof(words));
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_attach", attach);
    check_mpi(MPI_Win_create_dynamic(info, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Info_free(&info);
    check(is_daxpin(win) == wanted, "a dynamic window, daxpin_attach=%s: it is "
          "daxpin's: %d", attach, is_daxpin(win));
    check_mpi(MPI_Win_attach(win, words, sizeof(words)), "attach");
    MPI_Get_address(words, &first);
    move(win, words, first);
    check_mpi(MPI_Win_detach(win, words), "detach");
    check_mpi(MPI_Win_free(&win), "free");
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    test_given();
    test_create();
    test_dynamic("false", 0);
    test_dynamic("true", 1);
    MPI_Finalize();
    return 0;
}
