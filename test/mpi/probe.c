/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Make one window, use it once, and print what happened. Then make windows over
 * ordinary memory, in all ways that there are.
 *
 * usage: probe FILE own|shared return|fatal [LATE_MS]
 *
 * The files exist. return, fatal: the error handler of the communicator, and
 * so of MPI_Win_create. All ranks but 0 open the file LATE_MS later.
 *
 * Rank 0 prints `window` or `no window`, `lease` if there is one,
 * `ordinary WAY COMPONENT` for windows over ordinary memory, and
 * `loaded NAME` for every shared object of interest.
 */

#define _GNU_SOURCE

#include "segment.h"

#define SEGMENT_BYTES  65536
#define ORDINARY_BYTES 4096

static void print_loaded(void)
{
    static const char *const names[] = {"libuct_daxpin", "mca_osc_ucx",
                                        "mca_osc_rdma", "mca_pml_ucx",
                                        "mca_pml_ob1"};
    char line[4096];
    size_t i;
    FILE *file;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        file = fopen("/proc/self/maps", "r");
        CHECK(file != NULL, "/proc/self/maps: %m");
        while (fgets(line, sizeof(line), file) != NULL) {
            if (strstr(line, names[i]) != NULL) {
                printf("loaded %s\n", names[i]);
                break;
            }
        }
        fclose(file);
    }
}

/* Components begin the name of a window with their own name */
static void print_ordinary(const char *way, MPI_Win *win)
{
    char name[MPI_MAX_OBJECT_NAME];
    int length;

    MPI_Win_get_name(*win, name, &length);
    if (comm_rank == 0) {
        printf("ordinary %s %.*s\n", way, (int)strcspn(name, " "), name);
    }
    MPI_Win_free(win);
}

static void make_ordinary(void)
{
    static char memory[ORDINARY_BYTES];
    MPI_Win win;
    void *base;

    MPI_Win_create(memory, sizeof(memory), 1, MPI_INFO_NULL, MPI_COMM_WORLD,
                   &win);
    print_ordinary("create", &win);
    MPI_Win_allocate(sizeof(memory), 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                     &win);
    print_ordinary("allocate", &win);
    /* Not all components make shared windows */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (MPI_Win_allocate_shared(sizeof(memory), 1, MPI_INFO_NULL,
                                MPI_COMM_WORLD, &base, &win) == MPI_SUCCESS) {
        print_ordinary("shared", &win);
    }
}

static void use(const segment_t *segment, MPI_Win win)
{
    int target     = (comm_rank + 1) % comm_size;
    int origin     = (comm_rank + comm_size - 1) % comm_size;
    uint64_t value = 1000 + comm_rank;
    int ret;

    MPI_Win_lock_all(0, win);
    ret = MPI_Put(&value, 8, MPI_BYTE, target, 16, 8, MPI_BYTE, win);
    CHECK(ret == MPI_SUCCESS, "put: %d", ret);
    ret = MPI_Win_flush(target, win);
    CHECK(ret == MPI_SUCCESS, "flush: %d", ret);
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);

    segment_read(segment, &value, 16, 8);
    CHECK(value == 1000ul + origin, "%s: %lu instead of %d", segment->path,
          (unsigned long)value, 1000 + origin);
}

int main(int argc, char **argv)
{
    segment_t segment;
    MPI_Win win;
    int ret;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm_size);
    CHECK(argc >= 4, "usage: probe FILE own|shared return|fatal [LATE_MS]");
    if (strcmp(argv[3], "return") == 0) {
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    }

    if ((argc > 4) && (comm_rank != 0)) {
        usleep(atoi(argv[4]) * 1000);
    }
    segment_open(&segment, argv[1], strcmp(argv[2], "shared") == 0,
                 SEGMENT_BYTES);
    ret = MPI_Win_create(segment.base, segment.length, 1, MPI_INFO_NULL,
                         MPI_COMM_WORLD, &win);
    if (comm_rank == 0) {
        puts((ret == MPI_SUCCESS) ? "window" : "no window");
        if (segment_has_lease(&segment)) {
            puts("lease");
        }
        print_loaded();
    }
    if (ret == MPI_SUCCESS) {
        MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
        use(&segment, win);
        ret = MPI_Win_free(&win);
        CHECK(ret == MPI_SUCCESS, "cannot free the window: %d", ret);
    }
    segment_close(&segment);
    make_ordinary();
    MPI_Finalize();
    return 0;
}
