/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The files of a window have relative names, are to be removed with the window,
 * and the program has changed its directory by then. With a third argument it
 * has renamed each file, too.
 *
 * usage: chdir DIRECTORY NAME [NEW_NAME]
 */

#include "check.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE 4096

int main(int argc, char **argv)
{
    char path[256], name[256], renamed[256];
    MPI_Info info;
    struct stat st;
    MPI_Win win;
    char *base;

    check_init(&argc, &argv);
    check((argc == 3) || (argc == 4), "usage: chdir DIRECTORY NAME [NEW_NAME]");
    snprintf(path, sizeof(path), "%s.%%r", argv[2]);
    snprintf(name, sizeof(name), "%s.%d", argv[2], check_rank);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "daxpin_unlink", "true");

    check(chdir(argv[1]) == 0, "chdir: %m");
    check_mpi(MPI_Win_allocate(SIZE, 1, info, MPI_COMM_WORLD, &base, &win),
              "window");
    MPI_Info_free(&info);
    memset(base, 1, SIZE);
    check(stat(name, &st) == 0, "%s: %m", name);
    if (argc == 4) {
        snprintf(renamed, sizeof(renamed), "%s.%d", argv[3], check_rank);
        check(rename(name, renamed) == 0, "%s: %m", renamed);
    }
    check(chdir("/") == 0, "chdir: %m");
    check_mpi(MPI_Win_free(&win), "free");
    MPI_Finalize();
    return 0;
}
