/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The first rank exposes its mapping of a file. The other ranks have the file
 * open, or mapped, and give the window no memory. Each even rank of them has a
 * second file, which it exposes, and which the first rank has open.
 *
 * usage: others HOW PATH [allocate|attach]; allocate: the window is one of
 *        MPI_Win_allocate with that path, and the second rank has the file open;
 *        attach: the first rank attaches its mapping to a dynamic window
 *   read, write, both  descriptors of these modes
 *   map, readmap       a shared mapping, to write or only to read
 *   append, private    a descriptor with O_APPEND, a private mapping: no window
 */

#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536

typedef struct side {
    const char *how;
    int        flags;
    int        prot;
    int        map;    /* flags of mmap(); 0: no mapping */
    int        cannot; /* be shared */
} side_t;

static const side_t sides[] = {
    {.how = "read", .flags = O_RDONLY},
    {.how = "write", .flags = O_WRONLY},
    {.how = "both", .flags = O_RDWR},
    {.how   = "map",
     .flags = O_RDWR,
     .prot  = PROT_READ | PROT_WRITE,
     .map   = MAP_SHARED},
    {.how = "readmap", .flags = O_RDONLY, .prot = PROT_READ, .map = MAP_SHARED},
    {.how = "append", .flags = O_WRONLY | O_APPEND, .cannot = 1},
    {.how    = "private",
     .flags  = O_RDONLY,
     .prot   = PROT_READ | PROT_WRITE,
     .map    = MAP_PRIVATE,
     .cannot = 1},
    {.how = NULL}
};

/* Open a file, and map it. Return the memory, or NULL */
static char *take(const char *path, const side_t *side)
{
    int fd       = open(path, side->flags | O_CREAT, 0600);
    char *memory = NULL;

    check(fd >= 0, "%s: %m", path);
    if (side->map != 0) {
        memory = mmap(NULL, SIZE, side->prot, side->map, fd, 0);
        check(memory != MAP_FAILED, "%s: mmap: %m", path);
    }
    return memory;
}

static char *make(const char *path)
{
    const side_t side = {.how   = "own",
                         .flags = O_RDWR,
                         .prot  = PROT_READ | PROT_WRITE,
                         .map   = MAP_SHARED};

    check((creat(path, 0600) >= 0) && (truncate(path, SIZE) == 0), "%s: %m",
          path);
    return take(path, &side);
}

/* Fail to allocate a window */
static void allocate(const char *path, const side_t *side)
{
    MPI_Info info;
    MPI_Win win;
    char *base;
    int ret;

    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    if (check_rank == 1) {
        (void)take(path, side);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    ret = MPI_Win_allocate(SIZE, 1, info, MPI_COMM_WORLD, &base, &win);
    check_class(ret, MPI_ERR_WIN, "no window");
    printf("no window at rank %d\n", check_rank);
    MPI_Info_free(&info);
}

/* Attach, which the other ranks take no part in. They have each their own
 * description of the file. */
static void attach(const char *path, const side_t *side)
{
    char *base = NULL, *other = NULL;
    MPI_Aint place = 0;
    long value     = 42;
    MPI_Win win;
    int ret;

    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "window");
    check_mpi(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN), "errhandler");
    if (check_rank == 0) {
        base = make(path);
        MPI_Get_address(base, &place);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank != 0) {
        other = take(path, side);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        ret = MPI_Win_attach(win, base, SIZE);
        if (side->cannot) {
            check_class(ret, MPI_ERR_RMA_ATTACH, "attach");
            printf("not attached\n");
        } else {
            check_mpi(ret, "attach");
        }
    }
    MPI_Bcast(&place, 1, MPI_AINT, 0, MPI_COMM_WORLD);
    check_mpi(MPI_Win_fence(0, win), "fence");
    if ((check_rank == 1) && !side->cannot) {
        check_mpi(MPI_Put(&value, 1, MPI_LONG, 0, place, 1, MPI_LONG, win),
                  "put");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check((base == NULL) || side->cannot || (*(long*)base == 42),
          "the value is not there");
    check((other == NULL) || side->cannot || (*(long*)other == 42),
          "the value is not in this rank's own mapping");
    if ((check_rank == 0) && !side->cannot) {
        check_mpi(MPI_Win_detach(win, base), "detach");
    }
    check_mpi(MPI_Win_free(&win), "free");
}

int main(int argc, char **argv)
{
    const side_t *side = sides;
    char *base = NULL, *other = NULL, second[4096];
    int ret, exposes;
    long value = 42;
    MPI_Win win;

    check_init(&argc, &argv);
    check((argc == 3) || (argc == 4), "usage: others HOW PATH [allocate]");
    while ((side->how != NULL) && (strcmp(side->how, argv[1]) != 0)) {
        ++side;
    }
    check(side->how != NULL, "%s: no such way", argv[1]);
    if (argc == 4) {
        (strcmp(argv[3], "attach") == 0) ? attach(argv[2], side) :
                                           allocate(argv[2], side);
        MPI_Finalize();
        return 0;
    }
    snprintf(second, sizeof(second), "%s.%d", argv[2],
             (check_rank > 0) ? check_rank : 2);
    exposes = check_rank % 2 == 0;
    if (exposes) {
        base = make((check_rank == 0) ? argv[2] : second);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank != 0) {
        other = take(argv[2], side);
    } else if (check_size > 2) {
        (void)take(second, side);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    ret = MPI_Win_create(base, exposes ? SIZE : 0, 1, MPI_INFO_NULL,
                         MPI_COMM_WORLD, &win);
    if (side->cannot) {
        check_class(ret, MPI_ERR_WIN, "no window");
        printf("no window at rank %d\n", check_rank);
        MPI_Finalize();
        return 0;
    }
    check_mpi(ret, "window");
    check_mpi(MPI_Win_fence(0, win), "fence");
    if (check_rank == 1) {
        check_mpi(MPI_Put(&value, 1, MPI_LONG, 0, 0, 1, MPI_LONG, win), "put");
        if (check_size > 2) {
            check_mpi(MPI_Put(&value, 1, MPI_LONG, 2, 0, 1, MPI_LONG, win),
                      "put");
        }
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check((base == NULL) || (check_rank > 2) || (*(long*)base == 42),
          "the value is not there");
    check((other == NULL) || (*(long*)other == 42),
          "the value is not in this rank's own mapping");
    check_mpi(MPI_Win_free(&win), "free");
    MPI_Finalize();
    return 0;
}
