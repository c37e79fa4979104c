/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Ranks in namespaces of their own, and ranks that may not access each other's
 * memory. The window is right, or no rank has one. The program that starts a
 * rank puts it into its namespaces, except into those that MPI_Init() would not
 * survive: "net" and "shm" are entered after it. "seccomp" forbids all ranks
 * but the first to access the memory of other processes.
 *
 * usage: contain KIND PATH COUNT [net | shm | seccomp]...
 */

#define _GNU_SOURCE

#include "window.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SIZE    65536
#define DECOYS  256
#define DECOY   0x5a5a5a5a5a5a5a5aull

static uint64_t *decoy;
static int from_all[64];

/* Other threads may open descriptors meanwhile: take only free ones. */
static void fill(int fd, int first, int end)
{
    int i;

    do {
        i = fcntl(fd, F_DUPFD, first);
        check(i >= 0, "F_DUPFD: %m");
    } while (i < end);
}

/* Have the first rank open what it opens at numbers at which the others have
 * memory of their own: what is opened by a number of another process is then
 * found in decoy. */
static void make_decoys(void)
{
    int fd = memfd_create("decoy", MFD_CLOEXEC);
    MPI_Comm comm;
    unsigned i;

    /* MPI opens by now what it opens to connect the ranks */
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, from_all, 1, MPI_INT,
                 comm);
    MPI_Comm_free(&comm);

    check((fd >= 0) && (ftruncate(fd, SIZE) == 0), "memfd: %m");
    decoy = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(decoy != MAP_FAILED, "mmap: %m");
    for (i = 0; i < SIZE / sizeof(*decoy); ++i) {
        decoy[i] = DECOY;
    }
    fill(fd, (check_rank == 0) ? 0 : DECOYS,
         (check_rank == 0) ? DECOYS : 2 * DECOYS);
}

/* Check that nothing was written to what only this rank knows. */
static void check_decoys(void)
{
    unsigned i;

    for (i = 0; i < SIZE / sizeof(*decoy); ++i) {
        check(decoy[i] == DECOY, "the window wrote to this program's own file");
    }
}

/* As the default of containers */
static void forbid_vm(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };
    const struct sock_fprog program = {
        .len    = sizeof(filter) / sizeof(filter[0]),
        .filter = filter
    };

    check((prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) &&
          (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0),
          "seccomp: %m");
}

static void enter(const char *name)
{
    if (strcmp(name, "net") == 0) {
        check(unshare(CLONE_NEWNET) == 0, "unshare: %m");
        return;
    }
    if (strcmp(name, "seccomp") == 0) {
        if (check_rank > 0) {
            forbid_vm();
        }
        return;
    }
    check(strcmp(name, "shm") == 0, "there is no %s", name);
    check((unshare(CLONE_NEWNS) == 0) &&
          (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) &&
          (mount("none", "/dev/shm", "tmpfs", 0, NULL) == 0), "mount: %m");
}

/* All ranks add to words of all ranks at once, and each word gets them all */
static void test_sums(const window_t *window, int count)
{
    const MPI_Datatype type = MPI_UINT64_T;
    uint64_t one = 1, old, sum = 0;
    int i, target;

    check_mpi(MPI_Win_lock_all(0, window->win), "lock_all");
    for (i = 0; i < count; ++i) {
        target = (check_rank + i) % check_size;
        check_mpi(MPI_Fetch_and_op(&one, &old, type, target,
                                   window_disp(window, target, 0), MPI_SUM,
                                   window->win), "fetch_and_op");
        check_mpi(MPI_Win_flush(target, window->win), "flush");
    }
    check_mpi(MPI_Win_unlock_all(window->win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, window->win), "lock_all");
    for (target = 0; target < check_size; ++target) {
        check_mpi(MPI_Get(&old, 1, type, target,
                          window_disp(window, target, 0), 1, type,
                          window->win), "get");
        check_mpi(MPI_Win_flush(target, window->win), "flush");
        sum += old;
    }
    check_mpi(MPI_Win_unlock_all(window->win), "unlock_all");
    check(sum == (uint64_t)count * check_size, "%lu of %lu additions were done",
          sum, (uint64_t)count * check_size);
}

/* What a rank puts is what its neighbour has */
static void test_put(const window_t *window)
{
    int right = (check_rank + 1) % check_size;
    int left  = (check_rank + check_size - 1) % check_size;
    uint64_t values[100], *own = (uint64_t*)window->base;
    int i;

    for (i = 0; i < 100; ++i) {
        values[i] = DECOY + 1000 * check_rank + i;
    }
    check_mpi(MPI_Win_fence(0, window->win), "fence");
    check_mpi(MPI_Put(values, 100, MPI_UINT64_T, right,
                      window_disp(window, right, 8), 100, MPI_UINT64_T,
                      window->win), "put");
    check_mpi(MPI_Win_fence(0, window->win), "fence");
    for (i = 0; i < 100; ++i) {
        check(own[8 + i] == DECOY + 1000 * left + i, "word %d is %#lx", i,
              own[8 + i]);
    }
}

/* A dynamic window over memory in no file */
static int open_private(window_t *window)
{
    int ret;

    window->kind = "dynamic";
    window->base = calloc(1, SIZE);
    ret = MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &window->win);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    MPI_Win_set_errhandler(window->win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_attach(window->win, window->base, SIZE), "attach");
    MPI_Get_address(window->base, &window->starts[check_rank]);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, window->starts, 1,
                  MPI_AINT, MPI_COMM_WORLD);
    return MPI_SUCCESS;
}

int main(int argc, char **argv)
{
    window_t window = {.size = SIZE, .unit = 8, .info = MPI_INFO_NULL};
    int is_private, ret, any, i;

    check_init(&argc, &argv);
    check(argc >= 4, "usage: contain KIND PATH COUNT [WORD]...");
    for (i = 4; i < argc; ++i) {
        enter(argv[i]);
    }
    make_decoys();
    window.kind = argv[1];
    window.path = argv[2];
    is_private  = window_is(&window, "private");
    ret         = is_private ? open_private(&window) : window_open(&window);
    any         = ret != MPI_SUCCESS;
    MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    check(any == (ret != MPI_SUCCESS), "the ranks do not agree on the window");
    if (ret == MPI_SUCCESS) {
        test_put(&window);
        test_sums(&window, atoi(argv[3]));
        MPI_Barrier(MPI_COMM_WORLD);
        if (is_private) {
            check_mpi(MPI_Win_free(&window.win), "free");
        } else {
            window_close(&window);
        }
    }
    check_decoys();
    printf("%s\n", (ret == MPI_SUCCESS) ? "right" : "no window");
    MPI_Finalize();
    return 0;
}
