/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Rank 0 shares files late that rank 1 has attached to a dynamic window: it has
 * no descriptors for one, then no address space for another one, and the third
 * is truncated before. Only that one is revoked; of the others, the next access
 * is a new try.
 *
 * usage: late PATH INTRUDE
 */

#define _GNU_SOURCE

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL       ((size_t)65536)
#define LARGE       ((size_t)64 << 20)
#define SPARE       ((rlim_t)32 << 20) /* less than that */
#define DESCRIPTORS 200

extern char **environ;

static MPI_Win win;
static const char *path;

static void *map_file(const char *name, size_t size)
{
    char file[PATH_MAX];
    void *addr;
    int fd;

    snprintf(file, sizeof(file), "%s.%s", path, name);
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(fd >= 0, "%s: %m", file);
    check(posix_fallocate(fd, 0, (off_t)size) == 0, "%s: no space", file);
    addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(addr != MAP_FAILED, "%s: %m", file);
    close(fd);
    return addr;
}

/* Have rank 1 attach a file, and return where it is */
static MPI_Aint attach(const char *name, size_t size, void **memory_p)
{
    MPI_Aint at = 0;

    *memory_p = NULL;
    if (check_rank == 1) {
        *memory_p = map_file(name, size);
        check_mpi(MPI_Win_attach(win, *memory_p, (MPI_Aint)size), "attach");
        MPI_Get_address(*memory_p, &at);
    }
    MPI_Bcast(&at, 1, MPI_AINT, 1, MPI_COMM_WORLD);
    return at;
}

static void detach(void *memory, size_t size)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        check_mpi(MPI_Win_detach(win, memory), "detach");
        munmap(memory, size);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static int put(MPI_Aint at, uint64_t value)
{
    return MPI_Put(&value, 1, MPI_UINT64_T, 1, at, 1, MPI_UINT64_T, win);
}

/* Check that rank 0 can put where it could not before */
static void check_put(MPI_Aint at, const uint64_t *word, const char *what)
{
    if (check_rank == 0) {
        check_mpi(put(at, 7), what);
        check_mpi(MPI_Win_flush(1, win), what);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank == 0) || (*word == 7), "%s: the word is %lu", what,
          *word);
}

/* Libdaxpin would go beyond a limit that is soft. */
static void test_descriptors(MPI_Aint at, const uint64_t *word)
{
    const struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};
    int count                 = 0;
    int fds[DESCRIPTORS];

    if (check_rank == 0) {
        check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %m");
        do {
            fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        } while ((fds[count] >= 0) && (++count < DESCRIPTORS));
        check_class(put(at, 1), MPI_ERR_OTHER, "put without descriptors");
        check_mpi(MPI_Win_flush(1, win), "flush without descriptors");
        while (count > 0) {
            close(fds[--count]);
        }
    }
    check_put(at, word, "put with descriptors");
}

static void test_memory(MPI_Aint at, const uint64_t *word, MPI_Aint other)
{
    struct rlimit old, limit;
    unsigned long pages;
    FILE *file;

    if (check_rank == 0) {
        file = fopen("/proc/self/statm", "r");
        check((file != NULL) && (fscanf(file, "%lu", &pages) == 1),
              "statm: %m");
        fclose(file);
        check(getrlimit(RLIMIT_AS, &old) == 0, "getrlimit: %m");
        limit          = old;
        limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + SPARE;
        check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %m");
        check_class(put(at, 1), MPI_ERR_OTHER, "put without memory");
        check_mpi(put(other, 2), "put to another file");
        check_mpi(MPI_Win_flush(1, win), "flush without memory");
        check(setrlimit(RLIMIT_AS, &old) == 0, "setrlimit: %m");
    }
    check_put(at, word, "put with memory");
}

static void truncate_file(const char *intrude, const char *name)
{
    char victim[PATH_MAX], copy[PATH_MAX];
    char *argv[] = {(char*)intrude, victim, copy, NULL};
    int status;
    pid_t pid;

    snprintf(victim, sizeof(victim), "%s.%s", path, name);
    snprintf(copy, sizeof(copy), "%s.copy", path);
    check(posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0,
          "%s: cannot start: %m", intrude);
    check((waitpid(pid, &status, 0) == pid) && (status == 0),
          "the intruder failed");
    unlink(copy);
}

static void test_revoked(MPI_Aint at, const char *intrude)
{
    static const char start[] = "MPIX_ERR_DAXPIN_REVOKED: target rank 1: ";
    char text[MPI_MAX_ERROR_STRING];
    int i, ret, length;

    if (check_rank == 1) {
        truncate_file(intrude, "revoked");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; (check_rank == 0) && (i < 2); ++i) {
        ret = put(at, 1);
        check(ret != MPI_SUCCESS, "a put to a revoked file");
        MPI_Error_string(ret, text, &length);
        check(strncmp(text, start, strlen(start)) == 0, "the error is %s",
              text);
    }
    check((check_rank == 1) || (MPI_Win_flush(1, win) != MPI_SUCCESS),
          "flush after it");
}

int main(int argc, char **argv)
{
    void *small, *large, *revoked;
    MPI_Aint at, other;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size == 2), "usage: late PATH INTRUDE");
    path = argv[1];
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    other = attach("small", SMALL, &small);
    test_descriptors(other, small);
    at = attach("large", LARGE, &large);
    test_memory(at, large, other);
    detach(large, LARGE);
    at = attach("revoked", SMALL, &revoked);
    test_revoked(at, argv[2]);
    MPI_Win_unlock_all(win);
    detach(revoked, SMALL);
    detach(small, SMALL);
    check_mpi(MPI_Win_free(&win), "free");
    MPI_Finalize();
    return 0;
}
