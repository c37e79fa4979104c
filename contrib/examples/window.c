/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Every rank makes a file one-sided: it maps the file, creates a window over
 * the mapping, and puts a growing counter into the window of its neighbour,
 * until the time is up or MPI reports an error. Plain MPI, nothing else.
 *
 * usage: window [--shared] FILE [SECONDS]
 *
 * Rank R uses FILE.R, or with --shared its segment of FILE. Exit status 0: this
 * rank lived to the end, with or without errors from MPI.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENT_BYTES (1024 * 1024)

static int comm_rank;
static int comm_size;

__attribute__((format(printf, 1, 2)))
static void print_line(const char *format, ...)
{
    char line[1024];
    va_list ap;

    /* one write a line, so that lines of different ranks do not mix */
    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    printf("rank %d: %s\n", comm_rank, line);
    fflush(stdout);
}

static void give_up(const char *what, const char *path)
{
    print_line("cannot %s %s: %s", what, path, strerror(errno));
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

/* Map this rank's own file, or its segment of the shared one */
static volatile uint64_t *map_segment(const char *file, int shared)
{
    off_t offset = shared ? (off_t)comm_rank * SEGMENT_BYTES : 0;
    char path[4096];
    void *base;
    int fd, ret;

    if (shared) {
        snprintf(path, sizeof(path), "%s", file);
    } else {
        snprintf(path, sizeof(path), "%s.%d", file, comm_rank);
    }

    fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) {
        give_up("open", path);
    }

    ret = posix_fallocate(fd, offset, SEGMENT_BYTES);
    if (ret != 0) {
        errno = ret;
        give_up("allocate", path);
    }

    base = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                offset);
    if (base == MAP_FAILED) {
        give_up("map", path);
    }

    close(fd);
    memset(base, 0, SEGMENT_BYTES);
    print_line("mapped %d bytes of %s", SEGMENT_BYTES, path);
    return base;
}

/* Put 1, 2, 3... to the neighbour until @a end or an error, and return that */
static int put_counter(MPI_Win win, int neighbour,
                       const volatile uint64_t *mine, double end,
                       uint64_t *done_p)
{
    double next     = MPI_Wtime() + 1.0;
    uint64_t number = 0;
    uint64_t seen   = 0;
    double now;
    int ret;

    do {
        ++number;
        ret = MPI_Put(&number, 1, MPI_UINT64_T, neighbour, 0, 1, MPI_UINT64_T,
                      win);
        if (ret == MPI_SUCCESS) {
            ret = MPI_Win_flush(neighbour, win);
        }
        if (ret != MPI_SUCCESS) {
            break;
        }

        *done_p = number;
        now     = MPI_Wtime();
        if ((now >= next) && (mine[0] > seen)) {
            seen = mine[0];
            next = now + 1.0;
            print_line("put number %" PRIu64 " has arrived in my file", seen);
        }
    } while (now < end);

    return ret;
}

static void print_error(int neighbour, uint64_t done, int error)
{
    char text[MPI_MAX_ERROR_STRING];
    int length, class;

    MPI_Error_string(error, text, &length);
    MPI_Error_class(error, &class);
    print_line("after %" PRIu64 " puts to rank %d an MPI error: %s (class %d)",
               done, neighbour, text, class);
}

int main(int argc, char **argv)
{
    int shared    = 0;
    uint64_t done = 0;
    volatile uint64_t *mine;
    double end, seconds;
    int arg, ret, neighbour;
    MPI_Win win;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm_size);

    arg = 1;
    if ((arg < argc) && (strcmp(argv[arg], "--shared") == 0)) {
        shared = 1;
        ++arg;
    }
    if (arg >= argc) {
        fprintf(stderr, "usage: %s [--shared] FILE [SECONDS]\n", argv[0]);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    seconds = (arg + 1 < argc) ? atof(argv[arg + 1]) : 5;

    mine = map_segment(argv[arg], shared);
    MPI_Win_create((void*)mine, SEGMENT_BYTES, 1, MPI_INFO_NULL, MPI_COMM_WORLD,
                   &win);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    print_line("the window is there");

    neighbour = (comm_rank + 1) % comm_size;
    MPI_Win_lock_all(0, win);
    end = MPI_Wtime() + seconds;
    ret = put_counter(win, neighbour, mine, end, &done);
    if (ret != MPI_SUCCESS) {
        print_error(neighbour, done, ret);
    } else {
        print_line("%" PRIu64 " puts to rank %d, no error", done, neighbour);
    }

    /* This rank's memory is still memory after a truncate */
    mine[1] = done;

    /* May report an error once more, and then still have to be done */
    ret = MPI_Win_unlock_all(win);
    if (ret != MPI_SUCCESS) {
        MPI_Win_unlock_all(win);
    }

    ret = MPI_Win_free(&win);
    munmap((void*)mine, SEGMENT_BYTES);
    print_line("still alive%s",
               (ret == MPI_SUCCESS) ? "" : ", window not freed");
    MPI_Finalize();
    return (ret == MPI_SUCCESS) ? 0 : 1;
}
