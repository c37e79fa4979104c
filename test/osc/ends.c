/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Unusual ends of windows, after data was put.
 *
 * usage: ends HOW PATH
 *   left      the window is never freed
 *   self      it is freed when MPI_COMM_SELF goes, in MPI_Finalize()
 *   unmapped  its memory is unmapped and its file removed before it is freed
 *   errors    MPI_Abort() in an epoch, with status 7
 *   locked    it is freed while all of it is locked, another one while its ranks
 *             lock a part one after the other, and none unlocks it
 *   fopen, mpiio, grow
 *             rank 0 opens the file of its part again, to write to it, or
 *             truncates it to a greater length by its name: that is a revoke
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

static window_t window;

static int free_window(MPI_Comm comm, int key, void *value, void *extra)
{
    check_mpi(MPI_Win_free(&window.win), "free");
    return MPI_SUCCESS;
}

static void free_with_self(void)
{
    int key;

    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, free_window, &key, NULL);
    MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
}

/* Each rank but the first waits for the lock until the one before it frees the
 * window */
static void free_locked(void)
{
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    check_mpi(MPI_Win_free(&window.win), "free in an epoch of lock_all");
    check_mpi(window_open(&window), "another window");
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    check_mpi(MPI_Win_free(&window.win), "free in an epoch of a lock");
}

/* Store a word behind the one that was put, by the name of the file */
static void open_again(const char *how)
{
    const uint64_t word = 7;
    MPI_File mpi_file;
    FILE *file;

    if (strcmp(how, "mpiio") == 0) {
        check_mpi(MPI_File_open(MPI_COMM_SELF, window.file, MPI_MODE_RDWR,
                                MPI_INFO_NULL, &mpi_file), "MPI_File_open");
        check_mpi(MPI_File_write_at(mpi_file, 8, &word, 1, MPI_UINT64_T,
                                    MPI_STATUS_IGNORE), "MPI_File_write_at");
        check_mpi(MPI_File_close(&mpi_file), "MPI_File_close");
        return;
    }
    if (strcmp(how, "grow") == 0) {
        check(truncate(window.file, 2 * (off_t)window.size) == 0, "%s: %m",
              window.file);
    }
    file = fopen(window.file, "r+");
    check((file != NULL) && (fseek(file, 8, SEEK_SET) == 0) &&
                  (fwrite(&word, 8, 1, file) == 1) && (fclose(file) == 0),
          "%s: %m", window.file);
}

/* Whoever puts to rank 0 hears of the revoke, and rank 0 when it flushes. The
 * file keeps what was put before, and has what was written then. */
static void check_again(const char *how, int right)
{
    char text[MPI_MAX_ERROR_STRING], file[PATH_MAX + 2];
    uint64_t value = 200, words[2];
    int ret, length, fd;

    if (check_rank == 0) {
        open_again(how);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    ret = MPI_Put(&value, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T,
                  window.win);
    if (ret == MPI_SUCCESS) {
        ret = MPI_Win_flush(right, window.win);
    }
    if (right != 0) {
        check_mpi(ret, "a put to another rank");
        ret = MPI_Win_flush(check_rank, window.win);
    }
    check(ret != MPI_SUCCESS, "no error of the revoke");
    MPI_Error_string(ret, text, &length);
    snprintf(file, sizeof(file), " %s.0 ", window.path);
    check((strstr(text, "MPIX_ERR_DAXPIN_REVOKED: target rank 0:") == text) &&
                  (strstr(text, file) != NULL) &&
                  (strstr(text, ", which is this program itself, ") != NULL),
          "the error is %s", text);
    (void)MPI_Win_unlock_all(window.win);
    check_mpi(MPI_Win_free(&window.win), "free");
    fd = open(window.file, O_RDONLY);
    check((fd >= 0) && (pread(fd, words, 16, 0) == 16), "%s: %m", window.file);
    close(fd);
    check((check_rank != 0) || ((words[0] == 99u + (unsigned)check_size) &&
                                (words[1] == 7)),
          "the file has %lu, %lu", words[0], words[1]);
}

int main(int argc, char **argv)
{
    const char *how;
    uint64_t value;
    int right;

    check_init(&argc, &argv);
    check(argc == 3, "usage: ends HOW PATH");
    how    = argv[1];
    right  = (check_rank + 1) % check_size;
    value  = 100 + (uint64_t)check_rank;
    window = (window_t){.kind = (strcmp(how, "unmapped") == 0) ? "create" :
                                                                 "own",
                        .path = argv[2], .size = 65536, .unit = 8,
                        .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T,
                      window.win), "put");
    if (strcmp(how, "errors") == 0) {
        MPI_Abort(MPI_COMM_WORLD, 7);
    }
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(*(uint64_t*)window.base ==
                  100u + (unsigned)((check_rank + check_size - 1) %
                                    check_size), "the data is wrong");
    if (strcmp(how, "self") == 0) {
        free_with_self();
    } else if (strcmp(how, "unmapped") == 0) {
        munmap(window.base, window.size);
        unlink(window.file);
        check_mpi(MPI_Win_free(&window.win), "free");
    } else if (strcmp(how, "locked") == 0) {
        free_locked();
    } else if ((strcmp(how, "fopen") == 0) || (strcmp(how, "mpiio") == 0) ||
               (strcmp(how, "grow") == 0)) {
        check_again(how, right);
    }
    MPI_Finalize();
    return 0;
}
