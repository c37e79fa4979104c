/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Dynamic windows: memory in files and memory that is not, all calls, a list
 * that all ranks append to at once, and a truncate.
 *
 * usage: dynamic PATH INTRUDE ELEMENTS
 */

#define _GNU_SOURCE

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE     65536
#define WORDS    (SIZE / 8)
#define ELEMENTS 100 /* at most */
#define REGIONS  299 /* of 16 bytes, each 16 bytes behind the one before */

extern char **environ;

static MPI_Win win;
static int left, right, elements;

static void *map_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    void *addr;

    check(fd >= 0, "%s: %m", path);
    check(posix_fallocate(fd, 0, SIZE) == 0, "%s: no space", path);
    addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(addr != MAP_FAILED, "%s: %m", path);
    close(fd);
    return addr;
}

/* Return where the right neighbour's memory is */
static MPI_Aint exchange(const void *addr)
{
    MPI_Aint mine, theirs;

    MPI_Get_address(addr, &mine);
    MPI_Sendrecv(&mine, 1, MPI_AINT, left, 0, &theirs, 1, MPI_AINT, right, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return theirs;
}

static void test_calls(uint64_t *words, const char *what)
{
    MPI_Aint at = exchange(words);
    uint64_t values[6], old = 0, two = 2;
    MPI_Datatype vector;
    double sum = 0.25, was;
    int i;

    MPI_Type_vector(3, 2, 4, MPI_UINT64_T, &vector);
    MPI_Type_commit(&vector);
    memset(words, 0, SIZE);
    for (i = 0; i < 6; ++i) {
        values[i] = 1000 * check_rank + i;
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(values, 6, MPI_UINT64_T, right, at, 1, vector, win),
              "put");
    check_mpi(MPI_Accumulate(&two, 1, MPI_UINT64_T, right, at + 800, 1,
                             MPI_UINT64_T, MPI_SUM, win), "accumulate");
    check_mpi(MPI_Fetch_and_op(&sum, &was, MPI_DOUBLE, right, at + 808,
                               MPI_SUM, win), "fetch_and_op");
    check_mpi(MPI_Compare_and_swap(&two, &old, &values[0], MPI_UINT64_T, right,
                                   at + 816, win), "compare_and_swap");
    check_mpi(MPI_Win_fence(0, win), "fence");
    for (i = 0; i < 12; ++i) {
        check(words[i] == ((i % 4 < 2) ? 1000u * left + i / 4 * 2 + i % 4 : 0),
              "%s: word %d is %lu", what, i, words[i]);
    }
    check((words[100] == 2) && (((double*)words)[101] == 0.25) &&
                  (words[102] == 2), "%s: accumulates", what);
    memset(values, 0, sizeof(values));
    check_mpi(MPI_Get(values, 6, MPI_UINT64_T, right, at, 1, vector, win),
              "get");
    check_mpi(MPI_Win_fence(0, win), "fence");
    for (i = 0; i < 6; ++i) {
        check(values[i] == 1000u * check_rank + i, "%s: got %lu", what,
              values[i]);
    }
    check_class(MPI_Put(values, 1, MPI_UINT64_T, right, at + SIZE, 1,
                        MPI_UINT64_T, win), MPI_ERR_RMA_RANGE,
                "put behind the attached memory");
    MPI_Win_fence(0, win);
    MPI_Type_free(&vector);
}

/* An access may cross the border of two regions that are next to each other */
static void test_border(uint64_t *words, const char *what)
{
    uint64_t values[64], back[64];
    MPI_Aint at = exchange(words) + SIZE / 2 - sizeof(values) / 2;
    int i;

    for (i = 0; i < 64; ++i) {
        values[i] = 1000 * check_rank + i;
    }
    check_mpi(MPI_Win_detach(win, words), "detach");
    check_mpi(MPI_Win_attach(win, words + WORDS / 2, SIZE / 2), "attach");
    check_mpi(MPI_Win_attach(win, words, SIZE / 2), "attach");
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(values, 64, MPI_UINT64_T, right, at, 64, MPI_UINT64_T,
                      win), "put across a border");
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Get(back, 64, MPI_UINT64_T, right, at, 64, MPI_UINT64_T,
                      win), "get across a border");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    for (i = 0; i < 64; ++i) {
        check((words[WORDS / 2 - 32 + i] == 1000u * left + i) &&
                      (back[i] == values[i]), "%s: word %d is %lu, and %lu "
              "came back", what, i, words[WORDS / 2 - 32 + i], back[i]);
    }
    check_mpi(MPI_Win_detach(win, words), "detach");
    check_mpi(MPI_Win_detach(win, words + WORDS / 2), "detach");
    check_mpi(MPI_Win_attach(win, words, SIZE), "attach");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Of many regions, with empty ones in their middles, each is found, and what is
 * between them is not */
static void test_many(uint64_t *words, const char *what)
{
    MPI_Aint at = exchange(words);
    uint64_t values[2], back[2];
    int i, j;

    check_mpi(MPI_Win_detach(win, words), "detach");
    for (i = 0; i < REGIONS; ++i) {
        j = i * 7 % REGIONS;
        check_mpi(MPI_Win_attach(win, words + 4 * j, 16), "attach");
        check_mpi(MPI_Win_attach(win, words + 4 * j + 1, 0), "attach nothing");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win), "lock");
    for (i = 0; i < REGIONS; ++i) {
        j         = i * 11 % REGIONS;
        values[0] = values[1] = 1000 * check_rank + j;
        check_mpi(MPI_Put(values, 2, MPI_UINT64_T, right, at + 32 * j, 2,
                          MPI_UINT64_T, win), "put");
        check_mpi(MPI_Get(back, 1, MPI_UINT64_T, right, at + 32 * j + 8, 1,
                          MPI_UINT64_T, win), "get");
        check_mpi(MPI_Win_flush(right, win), "flush");
        check(back[0] == values[1], "%s: region %d: got %lu", what, j, back[0]);
        check_class(MPI_Get(back, 1, MPI_UINT64_T, right, at + 32 * j + 16, 1,
                            MPI_UINT64_T, win), MPI_ERR_RMA_RANGE,
                    "get behind a region");
        check_class(MPI_Get(back, 2, MPI_UINT64_T, right, at + 32 * j + 8, 2,
                            MPI_UINT64_T, win), MPI_ERR_RMA_RANGE,
                    "get across its end");
    }
    check_class(MPI_Get(back, 1, MPI_UINT64_T, right, at - 8, 1, MPI_UINT64_T,
                        win), MPI_ERR_RMA_RANGE, "get before all regions");
    check_mpi(MPI_Win_unlock(right, win), "unlock");
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < REGIONS; ++i) {
        check((words[4 * i] == 1000u * left + i) &&
              (words[4 * i + 1] == 1000u * left + i), "%s: region %d has %lu",
              what, i, words[4 * i]);
        check_mpi(MPI_Win_detach(win, words + 4 * i), "detach");
        check_mpi(MPI_Win_detach(win, words + 4 * i + 1), "detach nothing");
    }
    check_mpi(MPI_Win_attach(win, words, SIZE), "attach");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* What goes by way of a copy in one message has a limit. The memory is not
 * touched. A rank's own memory is copied in place, without a limit. */
static void test_long(void)
{
    const size_t size = 3ul << 30;
    MPI_Datatype type;
    void *memory;
    MPI_Aint at;

    if (check_size == 1) {
        return;
    }
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    at     = exchange(memory);
    check(memory != MAP_FAILED, "%zu bytes: %m", size);
    MPI_Type_contiguous(1 << 30, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    check_mpi(MPI_Win_attach(win, memory, (MPI_Aint)size), "attach");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win), "lock");
    check_class(MPI_Put(memory, 3, type, right, at, 3, type, win),
                MPI_ERR_COUNT, "put of 3 GiB");
    check_mpi(MPI_Win_unlock(right, win), "unlock");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_detach(win, memory), "detach");
    MPI_Type_free(&type);
    munmap(memory, size);
}

/* Only one rank at a time has an exclusive lock, also while it puts and gets */
static void test_locks(uint64_t *words)
{
    MPI_Aint at[64], own;
    uint64_t value;
    int i;

    memset(words, 0, SIZE);
    MPI_Get_address(words, &own);
    MPI_Allgather(&own, 1, MPI_AINT, at, 1, MPI_AINT, MPI_COMM_WORLD);
    for (i = 0; i < elements; ++i) {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win), "lock");
        check_mpi(MPI_Get(&value, 1, MPI_UINT64_T, 0, at[0], 1, MPI_UINT64_T,
                          win), "get");
        check_mpi(MPI_Win_flush(0, win), "flush");
        ++value;
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 0, at[0], 1, MPI_UINT64_T,
                          win), "put");
        check_mpi(MPI_Win_unlock(0, win), "unlock");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank != 0) || (words[0] == (uint64_t)check_size * elements),
          "%d ranks counted to %lu", check_size, words[0]);
    MPI_Barrier(MPI_COMM_WORLD);
}

/*
 * A list: each element has a number, and leads to the next one
 */

typedef struct element {
    int64_t  rank; /* of the next one; -1: it is the last */
    MPI_Aint addr;
    int64_t  number;
} element_t;

/* Append an element. Two ranks must not append to the same one, so the rank is
 * written first, by a swap, and then the address. */
static void append(element_t *element, int *tail_rank, MPI_Aint *tail)
{
    const int64_t none = -1, mine = check_rank;
    MPI_Aint at;
    int64_t seen;

    MPI_Get_address(element, &at);
    for (;;) {
        check_mpi(MPI_Compare_and_swap(&mine, &none, &seen, MPI_INT64_T,
                                       *tail_rank, *tail, win), "cas");
        MPI_Win_flush(*tail_rank, win);
        if (seen == none) {
            break;
        }
        /* Another rank was faster: go on to its element */
        MPI_Aint next;
        do {
            check_mpi(MPI_Fetch_and_op(NULL, &next, MPI_AINT, *tail_rank,
                                       *tail + offsetof(element_t, addr),
                                       MPI_NO_OP, win), "next");
            MPI_Win_flush(*tail_rank, win);
        } while (next == 0);
        *tail_rank = (int)seen;
        *tail      = next;
    }
    check_mpi(MPI_Accumulate(&at, 1, MPI_AINT, *tail_rank,
                             *tail + offsetof(element_t, addr), 1, MPI_AINT,
                             MPI_REPLACE, win), "link");
    MPI_Win_flush(*tail_rank, win);
}

static void check_list(MPI_Aint head)
{
    int counts[64] = {0};
    MPI_Aint at    = head;
    int rank       = 0;
    element_t element;
    int i;

    for (;;) {
        check_mpi(MPI_Get(&element, sizeof(element), MPI_BYTE, rank, at,
                          sizeof(element), MPI_BYTE, win), "get element");
        MPI_Win_flush(rank, win);
        if (element.rank < 0) {
            break;
        }
        rank = (int)element.rank;
        at   = element.addr;
        ++counts[rank];
    }
    for (i = 0; i < check_size; ++i) {
        check(counts[i] == elements, "%d elements of rank %d in the list",
              counts[i], i);
    }
}

/* Append elements in this rank's memory to a list of all ranks' elements */
static void test_list(void *memory)
{
    element_t *own = memory, *first = own + elements;
    MPI_Aint head, tail;
    int tail_rank = 0, i;

    for (i = 0; i <= elements; ++i) {
        own[i] = (element_t){.rank = -1, .addr = 0, .number = i};
    }
    MPI_Get_address(first, &head);
    MPI_Bcast(&head, 1, MPI_AINT, 0, MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    tail = head;
    for (i = 0; i < elements; ++i) {
        append(&own[i], &tail_rank, &tail);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_list(head);
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Truncate rank 0's file: ranks that access it get an error */
static void test_revoke(const char *path, const char *intrude, void *file,
                        void *plain)
{
    char copy[PATH_MAX], victim[PATH_MAX], text[MPI_MAX_ERROR_STRING];
    char *argv[]  = {(char*)intrude, victim, copy, NULL};
    MPI_Aint at[2];
    uint64_t value = 1;
    int ret, status, length;
    pid_t pid;

    MPI_Get_address(file, &at[0]);
    MPI_Get_address(plain, &at[1]);
    MPI_Bcast(at, 2, MPI_AINT, 0, MPI_COMM_WORLD);
    snprintf(victim, sizeof(victim), "%s.0", path);
    snprintf(copy, sizeof(copy), "%s.copy", path);
    MPI_Win_lock_all(0, win);
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 0, at[0], 1, MPI_UINT64_T, win),
              "put");
    check_mpi(MPI_Win_flush(0, win), "flush");
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        check(posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0,
              "%s: cannot start: %m", intrude);
        check((waitpid(pid, &status, 0) == pid) && (status == 0),
              "the intruder failed");
        unlink(copy);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    ret = MPI_Put(&value, 1, MPI_UINT64_T, 0, at[0], 1, MPI_UINT64_T, win);
    check(ret != MPI_SUCCESS, "a put to a revoked file");
    MPI_Error_string(ret, text, &length);
    check(strstr(text, "MPIX_ERR_DAXPIN_REVOKED: target rank 0: ") == text,
          "the error is %s", text);
    check(strstr(text, victim) != NULL, "the error does not name %s: %s",
          victim, text);
    check(MPI_Win_flush(0, win) != MPI_SUCCESS, "flush after it");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 0, at[1] + 8 * check_rank, 1,
                      MPI_UINT64_T, win), "put to other memory of the rank");
    check_mpi(MPI_Win_flush(0, win), "flush of other memory");
    MPI_Win_unlock_all(win);
    memset(file, 1, SIZE);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    void *file, *plain;

    check_init(&argc, &argv);
    check(argc == 4, "usage: dynamic PATH INTRUDE ELEMENTS");
    elements = atoi(argv[3]);
    check(elements <= ELEMENTS, "%d elements at most", ELEMENTS);
    right = (check_rank + 1) % check_size;
    left  = (check_rank + check_size - 1) % check_size;
    snprintf(path, sizeof(path), "%s.%d", argv[1], check_rank);
    file  = map_file(path);
    plain = calloc(1, SIZE);
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_attach(win, file, SIZE), "attach a file");
    check_mpi(MPI_Win_attach(win, plain, SIZE), "attach memory");
    check_class(MPI_Win_attach(win, (char*)plain + 8, 8), MPI_ERR_RMA_ATTACH,
                "attach it once more");
    MPI_Barrier(MPI_COMM_WORLD);

    test_calls(file, "file");
    test_calls(plain, "memory");
    test_border(file, "file");
    test_border(plain, "memory");
    test_many(file, "file");
    test_many(plain, "memory");
    test_long();
    test_locks(file);
    test_list(file);
    test_list(plain);
    check_mpi(MPI_Win_detach(win, file), "detach");
    check_mpi(MPI_Win_attach(win, file, SIZE / 2), "attach it again");
    MPI_Barrier(MPI_COMM_WORLD);
    test_list(file);
    test_revoke(argv[1], argv[2], file, plain);
    check_mpi(MPI_Win_detach(win, file), "detach");
    check_mpi(MPI_Win_detach(win, plain), "detach");
    check_mpi(MPI_Win_free(&win), "free");
    munmap(file, SIZE);
    free(plain);
    MPI_Finalize();
    return 0;
}
