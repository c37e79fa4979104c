/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A program without MPI_Init() that uses MPI sessions alone: windows over a file
 * in two sessions, one after the other, and one without a file beside.
 *
 * usage: sessions FILE
 */

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 2

static int rank, size;

static void check(int ret, const char *what)
{
    if (ret != MPI_SUCCESS) {
        printf("rank %d: %s: error %d\n", rank, what, ret);
        exit(1);
    }
}

static MPI_Comm open_comm(MPI_Session *session_p)
{
    MPI_Group group;
    MPI_Comm comm;

    check(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, session_p),
          "session");
    check(MPI_Group_from_session_pset(*session_p, "mpi://WORLD", &group),
          "group");
    check(MPI_Comm_create_from_group(group, "daxpin", MPI_INFO_NULL,
                                     MPI_ERRORS_RETURN, &comm), "comm");
    MPI_Group_free(&group);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    return comm;
}

/* Count at the next rank, and return the count here */
static uint64_t count(MPI_Comm comm, MPI_Info info, const char *what)
{
    const uint64_t one = 1;
    int next           = (rank + 1) % size;
    uint64_t *mine, value;
    MPI_Win win;

    check(MPI_Win_allocate(4096, 8, info, comm, &mine, &win), what);
    if (info == MPI_INFO_NULL) {
        mine[0] = 0;
    }
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    check(MPI_Win_fence(0, win), "fence");
    check(MPI_Accumulate(&one, 1, MPI_UINT64_T, next, 0, 1, MPI_UINT64_T,
                         MPI_SUM, win), "accumulate");
    check(MPI_Win_fence(0, win), "fence");
    value = mine[0];
    check(MPI_Win_free(&win), "free");
    return value;
}

int main(int argc, char **argv)
{
    uint64_t value, plain;
    MPI_Session session;
    MPI_Info info;
    MPI_Comm comm;
    int round;

    for (round = 1; (argc == 2) && (round <= ROUNDS); ++round) {
        comm = open_comm(&session);
        MPI_Info_create(&info);
        MPI_Info_set(info, "daxpin_path", argv[1]);
        value = count(comm, info, "a window over a file");
        plain = count(comm, MPI_INFO_NULL, "a window");
        printf("session %d: %lu in the file, %lu in memory\n", round, value,
               plain);
        fflush(stdout);
        MPI_Info_free(&info);
        MPI_Comm_free(&comm);
        check(MPI_Session_finalize(&session), "finalize");
    }
    return (argc == 2) ? 0 : 2;
}
