/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What programs do with the files of their windows meanwhile, and what windows
 * leave behind: many windows one after the other, two windows over the same
 * memory, files that become longer or shorter by the program's own descriptor,
 * and children.
 *
 * usage: steady PATH INTRUDE
 */

#define _GNU_SOURCE

#include "window.h"

#include <dirent.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SIZE       65536
#define WARM_UP    6
#define WINDOWS    24
#define AT_ONCE    12
#define PER_WINDOW 8  /* descriptors, of 2 ranks that have a file each */
#define PER_HOLD   4  /* and as many more of those, on DAX */
#define SLACK      8  /* what is closed a moment later, or is of Open MPI */

extern char **environ;

static const char *path, *intrude;
static int left, right;

static void put_round(MPI_Win win, MPI_Aint disp, const char *base,
                      size_t offset, uint64_t value)
{
    uint64_t is;

    value = 1000 * value + (uint64_t)check_rank;
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, right, disp, 1, MPI_UINT64_T,
                      win), "put");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    memcpy(&is, base + offset, sizeof(is));
    check(is == value - (uint64_t)check_rank + (uint64_t)left,
          "rank %d put %lu", left, is);
    MPI_Barrier(MPI_COMM_WORLD);
}

/*
 * Many windows
 */

static int count_lines(const char *name)
{
    FILE *file = fopen(name, "r");
    int count = 0, c;

    check(file != NULL, "%s: %m", name);
    while ((c = getc(file)) != EOF) {
        count += c == '\n';
    }
    fclose(file);
    return count;
}

static int count_descriptors(void)
{
    DIR *dir  = opendir("/proc/self/fd");
    int count = 0;

    check(dir != NULL, "/proc/self/fd: %m");
    while (readdir(dir) != NULL) {
        ++count;
    }
    closedir(dir);
    return count;
}

/* Return how many descriptors there are once there are not more than some, or
 * after a while. The holder of a file closes it when it notices that the other
 * rank has. */
static int await_descriptors(int most)
{
    int tries, count = count_descriptors();

    for (tries = 0; (count > most) && (tries < 10000); ++tries) {
        usleep(1000);
        count = count_descriptors();
    }
    return count;
}

/* Return how many descriptors there are when that has not changed for a while */
static int settled_descriptors(void)
{
    int tries = 0, same = 0, count = count_descriptors(), before;

    while ((same < 20) && (++tries < 10000)) {
        usleep(1000);
        before = count;
        count  = count_descriptors();
        same   = (count == before) ? same + 1 : 0;
    }
    return count;
}

/* Descriptors and mappings are as many after many windows as after a few */
static void test_many(const char *kind)
{
    window_t window = {.kind = kind, .path = path, .size = SIZE, .unit = 8,
                       .info = MPI_INFO_NULL};
    int descriptors = 0, maps = 0, i, after;

    for (i = 0; i < WARM_UP + WINDOWS; ++i) {
        if (i == WARM_UP) {
            descriptors = count_descriptors();
            maps        = count_lines("/proc/self/maps");
        }
        check_mpi(window_open(&window), kind);
        put_round(window.win, window_disp(&window, right, 1), window.base, 8,
                  (uint64_t)i);
        if (window_is(&window, "dynamic")) {
            check_mpi(MPI_Win_detach(window.win, window.base), "detach");
        }
        window_close(&window);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    after = await_descriptors(descriptors + SLACK);
    check(after <= descriptors + SLACK,
          "%s: %d windows left %d descriptors behind", kind, WINDOWS,
          after - descriptors);
    after = count_lines("/proc/self/maps");
    check(after <= maps + SLACK, "%s: %d windows left %d mappings behind",
          kind, WINDOWS, after - maps);
    unlink(window.file);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Return how many descriptors a window takes at most. */
static int per_window(const window_t *window)
{
    struct statx stx;

    check(statx(AT_FDCWD, window->file, 0, 0, &stx) == 0, "%s: %m",
          window->file);
    return PER_WINDOW +
           ((stx.stx_attributes & STATX_ATTR_DAX) ? PER_HOLD : 0);
}

/* Return the sum of all ranks. */
static int sum(int mine)
{
    int all;

    check_mpi(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD),
              "allreduce");
    return all;
}

/* Open windows, each on files of its own, and return how many descriptors that
 * takes */
static int open_at_once(window_t *windows, int first, const char *kind)
{
    static char paths[2 * AT_ONCE][PATH_MAX];
    int before = settled_descriptors(), i;

    for (i = first; i < first + AT_ONCE; ++i) {
        snprintf(paths[i], sizeof(paths[i]), "%s.%d", path, i);
        windows[i] = (window_t){.kind = kind, .path = paths[i], .size = SIZE,
                                .unit = 8, .info = MPI_INFO_NULL};
        check_mpi(window_open(&windows[i]), kind);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return settled_descriptors() - before;
}

/* Of windows that there are at once, each takes as many descriptors as another
 * one, however many there are already. That is so for all ranks together: the
 * holder of a file has more of them than a member, and any rank can be that. */
static void test_at_once(const char *kind)
{
    static window_t windows[2 * AT_ONCE];
    int before, first, second, most, after, tries, i;

    before = settled_descriptors();
    first  = open_at_once(windows, 0, kind);
    second = open_at_once(windows, AT_ONCE, kind);
    check(first <= AT_ONCE * per_window(&windows[0]) + SLACK,
          "%s: %d windows take %d descriptors", kind, AT_ONCE, first);
    for (tries = 0, most = sum(first) + SLACK;
         (sum(second) > most) && (tries < 1000); ++tries) {
        /* Sockets by which members have joined are closed a moment later */
        usleep(10000);
        second = count_descriptors() - before - first;
    }
    check(tries < 1000, "%s: %d windows take %d descriptors of this rank, %d "
          "more of them take %d", kind, AT_ONCE, first, AT_ONCE, second);
    for (i = 0; i < 2 * AT_ONCE; ++i) {
        put_round(windows[i].win, window_disp(&windows[i], right, 1),
                  windows[i].base, 8, (uint64_t)i);
    }
    for (i = 0; i < 2 * AT_ONCE; ++i) {
        window_close(&windows[i]);
        unlink(windows[i].file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    after = await_descriptors(before + SLACK);
    check(after <= before + SLACK, "%s: %d windows left %d descriptors behind",
          kind, 2 * AT_ONCE, after - before);
}

/*
 * The program's own file
 */

static char file_name[PATH_MAX];

static char *map(int fd, size_t length)
{
    char *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    check(base != MAP_FAILED, "%s: mmap: %m", file_name);
    return base;
}

static int make_file(void)
{
    int fd;

    snprintf(file_name, sizeof(file_name), "%s.%d", path, check_rank);
    unlink(file_name);
    fd = open(file_name, O_RDWR | O_CREAT | O_EXCL, 0600);
    check((fd >= 0) && (ftruncate(fd, SIZE) == 0), "%s: %m", file_name);
    return fd;
}

static MPI_Win expose(char *base, size_t length)
{
    MPI_Win win;

    check_mpi(MPI_Win_create(base, (MPI_Aint)length, 1, MPI_INFO_NULL,
                             MPI_COMM_WORLD, &win), "create");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    return win;
}

static void intrude_here(int victim)
{
    char copy[PATH_MAX + 8];
    char *argv[] = {(char*)intrude, file_name, copy, NULL};
    int status;
    pid_t pid;

    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == victim) {
        snprintf(copy, sizeof(copy), "%s.copy", file_name);
        check((posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0) &&
                      (waitpid(pid, &status, 0) == pid) && (status == 0),
              "the intruder failed");
        unlink(copy);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* A file grows under a window, and a second window is over all of it. Then it
 * is cut behind the first one. */
static void test_length(void)
{
    int fd         = make_file();
    char *base     = map(fd, SIZE), *all;
    MPI_Win first  = expose(base, SIZE), second;

    put_round(first, 0, base, 0, 1);
    check(ftruncate(fd, 3 * SIZE) == 0, "%s: cannot grow: %m", file_name);
    put_round(first, 8, base, 8, 2);
    all    = map(fd, 3 * SIZE);
    second = expose(all, 3 * SIZE);
    put_round(second, 2 * SIZE, all, 2 * SIZE, 3);
    put_round(first, 16, base, 16, 4);
    put_round(second, 24, base, 24, 5);
    check_mpi(MPI_Win_free(&second), "free");
    munmap(all, 3 * SIZE);
    check(ftruncate(fd, SIZE) == 0, "%s: cannot cut: %m", file_name);
    put_round(first, 32, base, 32, 6);
    check_mpi(MPI_Win_free(&first), "free");
    munmap(base, SIZE);
    close(fd);
}

/* Of two windows over one memory one is freed, and the other goes on; a revoke
 * is an error of the other, and the memory is still there */
static void test_two(void)
{
    int fd        = make_file();
    char *base    = map(fd, SIZE);
    MPI_Win first = expose(base, SIZE), second = expose(base, SIZE);
    MPI_Win third = expose(base + 512, 1024); /* of the same page */
    uint64_t value = 1;
    int ret;

    put_round(first, 0, base, 0, 1);
    put_round(third, 0, base, 512, 2);
    check_mpi(MPI_Win_free(&first), "free");
    put_round(second, 8, base, 8, 3);
    check_mpi(MPI_Win_free(&third), "free");
    put_round(second, 16, base, 16, 4);
    intrude_here(0);
    check_mpi(MPI_Win_lock_all(0, second), "lock_all");
    ret = MPI_Put(&value, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T, second);
    check((ret != MPI_SUCCESS) == (right == 0), "put to rank %d: %d", right,
          ret);
    (void)MPI_Win_unlock_all(second);
    (void)MPI_Win_free(&second);
    base[SIZE - 1] = 1;
    munmap(base, SIZE);
    close(fd);
}

/*
 * Children
 */

static void run(const char *command)
{
    check(system(command) == 0, "failed: %s", command);
}

/* Return whether anybody has a lease on the file */
static int is_leased(void)
{
    FILE *locks = fopen("/proc/locks", "r");
    char line[256], inode[32];
    int found = 0;
    struct stat st;

    check((locks != NULL) && (stat(file_name, &st) == 0), "/proc/locks: %m");
    snprintf(inode, sizeof(inode), ":%lu ", (unsigned long)st.st_ino);
    while (fgets(line, sizeof(line), locks) != NULL) {
        found |= (strstr(line, "LEASE") != NULL) &&
                 (strstr(line, inode) != NULL);
    }
    fclose(locks);
    return found;
}

/* Return whether the lease goes, soon: another rank closes the file a moment
 * later, and a child until it executes its program */
static int lease_goes(void)
{
    int tries;

    for (tries = 0; is_leased() && (tries < 1000); ++tries) {
        usleep(10000);
    }
    return tries < 1000;
}

/* Children copy the file, read it, fault in the memory of the window and
 * outlive it. None of them keeps the lease. */
static void test_children(void)
{
    window_t window = {.kind = "own", .path = path, .size = SIZE, .unit = 8,
                       .info = MPI_INFO_NULL};
    char command[PATH_MAX + 64];
    int status;
    pid_t pid, daemon;

    check_mpi(window_open(&window), "window");
    snprintf(file_name, sizeof(file_name), "%s", window.file);
    put_round(window.win, 1, window.base, 8, 1);
    snprintf(command, sizeof(command), "f=%s; cp $f $f.c && cmp $f $f.c && "
             "rm $f.c", file_name);
    run(command);
    put_round(window.win, 1, window.base, 8, 2);
    pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* Open MPI's handler prints a stack */
        window.base[16] = 1;
        _exit(0);
    }
    check((waitpid(pid, &status, 0) == pid) && WIFSIGNALED(status) &&
          (WTERMSIG(status) == SIGSEGV), "a child can store: status %x",
          status);
    put_round(window.win, 1, window.base, 8, 3);
    daemon = fork();
    if (daemon == 0) {
        execlp("sleep", "sleep", "1000", NULL);
        _exit(1);
    }
    check(is_leased(), "%s: there is no lease", file_name);
    window_close(&window);
    check(lease_goes(), "%s: a child keeps the lease", file_name);
    intrude_here(check_rank);
    kill(daemon, SIGKILL);
    waitpid(daemon, &status, 0);
}

int main(int argc, char **argv)
{
    const char *kinds[] = {"own", "create", "dynamic"};
    size_t i;

    check_init(&argc, &argv);
    check(argc == 3, "usage: steady PATH INTRUDE");
    path    = argv[1];
    intrude = argv[2];
    right   = (check_rank + 1) % check_size;
    left    = (check_rank + check_size - 1) % check_size;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
        test_many(kinds[i]);
    }
    test_at_once("own");
    test_at_once("one");
    test_length();
    test_two();
    test_children();
    MPI_Finalize();
    return 0;
}
