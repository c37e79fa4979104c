/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * To be linked into a program: after so many collective calls as the variable
 * DAXPIN_TEST_CALLS says, rank 1 does nothing any more, as if it were dead, and
 * the collective calls of the others fail, as those of an MPI that tolerates
 * faults do. And no directory can be synced, if there is DAXPIN_TEST_NO_SYNC.
 */

#include <errno.h>
#include <mpi.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls;

static int is_over(int begun)
{
    const char *limit = getenv("DAXPIN_TEST_CALLS");
    int rank;

    if ((limit == NULL) || (begun <= atoi(limit))) {
        return 0;
    }
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    while (rank == 1) {
        pause();
    }
    return 1;
}

int MPI_Put(const void *origin, int origin_count, MPI_Datatype origin_type,
            int target, MPI_Aint at, int target_count,
            MPI_Datatype target_type, MPI_Win win)
{
    is_over(calls + 1);
    return PMPI_Put(origin, origin_count, origin_type, target, at, target_count,
                    target_type, win);
}

int MPI_Allreduce(const void *from, void *to, int count, MPI_Datatype type,
                  MPI_Op op, MPI_Comm comm)
{
    return is_over(++calls) ? MPI_ERR_OTHER :
           PMPI_Allreduce(from, to, count, type, op, comm);
}

int MPI_Allgather(const void *from, int from_count, MPI_Datatype from_type,
                  void *to, int to_count, MPI_Datatype to_type, MPI_Comm comm)
{
    return is_over(++calls) ? MPI_ERR_OTHER :
           PMPI_Allgather(from, from_count, from_type, to, to_count, to_type,
                          comm);
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int from,
              MPI_Comm comm)
{
    return is_over(++calls) ? MPI_ERR_OTHER :
           PMPI_Bcast(data, count, type, from, comm);
}

int fsync(int fd)
{
    struct stat st;

    if ((getenv("DAXPIN_TEST_NO_SYNC") != NULL) && (fstat(fd, &st) == 0) &&
        S_ISDIR(st.st_mode)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
