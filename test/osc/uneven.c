/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Windows whose ranks differ: in the unit of displacements and in the size, one
 * with no bytes; over communicators in another order than MPI_COMM_WORLD, of
 * some of its ranks, and of one rank, several of them at once.
 *
 * usage: uneven PATH
 */

#include "check.h"

#include <limits.h>
#include <string.h>

#define EMPTY 1 /* rank of the window that has no bytes */

static const char *path;

static MPI_Win make(MPI_Comm comm, const char *name, MPI_Aint size, int unit,
                    unsigned char **base_p)
{
    char file[PATH_MAX];
    MPI_Info info;
    MPI_Win win;

    snprintf(file, sizeof(file), "%s.%s", path, name);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", file);
    check_mpi(MPI_Win_allocate(size, unit, info, comm, base_p, &win), file);
    MPI_Info_free(&info);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    return win;
}

static int unit_of(int rank)
{
    return 2 * rank + 1;
}

static MPI_Aint size_of(int rank)
{
    return (rank == EMPTY) ? 0 : 500 * rank + 512;
}

/* Put to the last unit of a rank, which is at the end of its part or before, and
 * to the first unit that is beyond its end */
static void put_last(MPI_Win win, int target)
{
    const unsigned char value = 50 + (unsigned char)target;
    const int unit            = unit_of(target);
    const MPI_Aint beyond     = (size_of(target) + unit - 1) / unit;
    int ret;

    if (target != EMPTY) {
        ret = MPI_Put(&value, 1, MPI_BYTE, target, beyond - 1, 1, MPI_BYTE,
                      win);
        check_mpi(ret, "put to the last unit");
    }
    check_class(MPI_Put(&value, 1, MPI_BYTE, target, beyond, 1, MPI_BYTE, win),
                MPI_ERR_RMA_RANGE, "put beyond the end");
}

static void test_units(const char *name)
{
    const int unit      = unit_of(check_rank);
    const MPI_Aint size = size_of(check_rank);
    unsigned char *base;
    MPI_Aint i, last;
    MPI_Win win = make(MPI_COMM_WORLD, name, size, unit, &base);
    int rank;

    memset(base, 0, (size_t)size);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    for (rank = 0; rank < check_size; ++rank) {
        put_last(win, rank);
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    last = (size - 1) / unit * unit;
    for (i = 0; i < size; ++i) {
        check(base[i] == ((i == last) ? 50 + check_rank : 0),
              "byte %ld of %ld is %d", i, size, base[i]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_free(&win), "free");
}

/* Each rank of the communicator adds to the word of the next one, in all kinds
 * of epochs */
static void add_round(MPI_Comm comm, MPI_Win win, const unsigned char *base)
{
    long one = 1, old, is;
    int rank, size, right;

    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    right = (rank + 1) % size;
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Accumulate(&one, 1, MPI_LONG, right, 0, 1, MPI_LONG, MPI_SUM,
                             win), "accumulate");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, right, 0, win), "lock");
    check_mpi(MPI_Fetch_and_op(&one, &old, MPI_LONG, right, 0, MPI_SUM, win),
              "fetch_and_op");
    check_mpi(MPI_Win_unlock(right, win), "unlock");
    check(old == 100 + rank + 1, "rank %d of %d fetched %ld", rank, size, old);
    MPI_Barrier(comm);
    memcpy(&is, base, sizeof(is));
    check(is == 100 + (rank + size - 1) % size + 2,
          "rank %d of %d has %ld", rank, size, is);
}

static void begin(MPI_Comm comm, unsigned char *base)
{
    int rank, size;
    long value;

    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    value = 100 + (rank + size - 1) % size;
    memcpy(base, &value, sizeof(value));
}

/* Windows over communicators, all of them at once */
static void test_comms(void)
{
    const char *const names[] = {"reversed.%r", "ring", "half.%r", "self.%r"};
    const int count           = sizeof(names) / sizeof(names[0]);
    const int half            = check_rank % 2;
    const int periods[]       = {1};
    unsigned char *bases[4];
    MPI_Comm comms[4];
    MPI_Win wins[4];
    char name[64];
    int i;

    MPI_Comm_split(MPI_COMM_WORLD, 0, -check_rank, &comms[0]);
    MPI_Cart_create(MPI_COMM_WORLD, 1, &check_size, periods, 1, &comms[1]);
    MPI_Comm_split(MPI_COMM_WORLD, half, -check_rank, &comms[2]);
    MPI_Comm_dup(MPI_COMM_SELF, &comms[3]);
    for (i = 0; i < count; ++i) {
        snprintf(name, sizeof(name), "%s.%d", names[i],
                 (i < 2) ? 0 : (i == 2) ? half : check_rank);
        wins[i] = make(comms[i], name, 4096, 1, &bases[i]);
        begin(comms[i], bases[i]);
    }
    for (i = count - 1; i >= 0; --i) {
        add_round(comms[i], wins[i], bases[i]);
    }
    for (i = 0; i < count; ++i) {
        check_mpi(MPI_Win_free(&wins[i]), "free");
        MPI_Comm_free(&comms[i]);
    }
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    check(argc == 2, "usage: uneven PATH");
    path = argv[1];
    test_units("own.%r");
    test_units("one");
    test_comms();
    MPI_Finalize();
    return 0;
}
