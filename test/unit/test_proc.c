/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What is read in /proc: files of processes, leases and their waiters */

#include "filter.h"
#include "intruder.h"

#include "daxpin/os/proc.h"

#include <linux/fuse.h>
#include <pthread.h>

#define PROC_INODE_NUMBER 11101448
#define PROC_HOLDER       2722

static const daxpin_inode_t proc_inode = {.dev     = 0xfe00,
                                          .ino     = PROC_INODE_NUMBER,
                                          .map_dev = 0x2b,
                                          .map_ino = PROC_INODE_NUMBER + 1};

/* A file with the text, read in place of /proc/locks */
static const char *proc_locks(const char *text)
{
    const char *path = unit_path(unit_disk, "locks");
    FILE *file       = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static daxpin_sight_t proc_count(const char *text, daxpin_waiters_t *waiters)
{
    int fd = open(proc_locks(text), O_RDONLY | O_CLOEXEC);
    daxpin_sight_t sight;

    assert_true(fd >= 0);
    sight = daxpin_proc_count_waiters(fd, &proc_inode, PROC_HOLDER, waiters);
    assert_int_equal(close(fd), 0);
    return sight;
}

static daxpin_inode_t proc_inode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (daxpin_inode_t){.dev     = st.st_dev,
                            .ino     = st.st_ino,
                            .map_dev = st.st_dev,
                            .map_ino = st.st_ino,
                            .path    = path};
}

/*
 * Leases
 */

typedef struct proc_lines {
    unsigned            count;
    daxpin_lease_line_t lines[8];
} proc_lines_t;

static int proc_add_line(const daxpin_lease_line_t *line, void *arg)
{
    proc_lines_t *lines = arg;

    assert_true(lines->count < 8);
    lines->lines[lines->count++] = *line;
    return (lines->count < 8) ? 0 : 17;
}

static void test_lease_lines(void **state)
{
    proc_lines_t lines = {0};

    assert_int_equal(
            daxpin_proc_each_lease(
                    proc_locks(
                            "1: POSIX  ADVISORY  WRITE 12 fe:00:7 0 EOF\n"
                            "1: -> POSIX  ADVISORY  WRITE 13 fe:00:7 0 EOF\n"
                            "2: LEASE  ACTIVE    WRITE 14 fe:01:8 0 EOF\n"
                            "3: LEASE  ACTIVE    READ  15 00:2b:9 0 EOF\n"
                            "4: LEASE  BREAKING  UNLCK 16 fe:00:10 0 EOF\n"
                            "4: -> LEASE  BREAKER   READ  17 <none>:0 0 EOF\n"
                            "4: -> LEASE  BREAKER   WRITE 18 <none>:0 0 EOF\n"
                            "5: LEASE  BREAKING  READ  19 fe:00 0 EOF\n"
                            "6: DELEG  ACTIVE    READ  20 fe:00:11 0 EOF\n"
                            "LEASE\n\n"),
                    proc_add_line, &lines),
            0);
    assert_int_equal(lines.count, 5);

    assert_int_equal(lines.lines[0].pid, 14);
    assert_int_equal(lines.lines[0].dev, makedev(0xfe, 1));
    assert_int_equal(lines.lines[0].ino, 8);
    assert_true(lines.lines[0].write);
    assert_false(lines.lines[0].breaking);
    assert_false(lines.lines[0].waits);

    assert_int_equal(lines.lines[1].dev, makedev(0, 0x2b));
    assert_false(lines.lines[1].write);

    assert_int_equal(lines.lines[2].pid, 16);
    assert_true(lines.lines[2].breaking);
    assert_true(lines.lines[2].write);

    assert_int_equal(lines.lines[3].pid, 17);
    assert_true(lines.lines[3].waits);
    assert_false(lines.lines[3].write);

    assert_int_equal(lines.lines[4].pid, 18);
    assert_true(lines.lines[4].waits);
    assert_true(lines.lines[4].write);
    (void)state;
}

static void test_lease_lines_end(void **state)
{
    proc_lines_t lines = {.count = 7};

    assert_int_equal(daxpin_proc_each_lease(
                             proc_locks("2: LEASE ACTIVE WRITE 14 1:1:8 0 EOF\n"
                                        "3: LEASE ACTIVE WRITE 15 1:1:9 0 "
                                        "EOF\n"),
                             proc_add_line, &lines),
                     17);
    assert_int_equal(lines.count, 8);
    assert_int_equal(daxpin_proc_each_lease("/nonexistent", proc_add_line,
                                            &lines),
                     -ENOENT);
    (void)state;
}

static void test_waiters(void **state)
{
    daxpin_waiters_t waiters;

    proc_count("7: LEASE  BREAKING  UNLCK 2722 fe:00:11101448 0 EOF\n"
               "7: -> LEASE  BREAKER   READ  2723 <none>:0 0 EOF\n"
               "7: -> LEASE  BREAKER   WRITE 2724 <none>:0 0 EOF\n"
               "7: -> LEASE  BREAKER   READ  2725 <none>:0 0 EOF\n"
               "7: -> LEASE  BREAKER   WRITE 2726 <none>:0 0 EOF\n"
               "8: LEASE  BREAKING  UNLCK 2722 fe:00:11101449 0 EOF\n"
               "8: -> LEASE  BREAKER   WRITE 2727 <none>:0 0 EOF\n", &waiters);
    assert_int_equal(waiters.readers, 2);
    assert_int_equal(waiters.writers, 2);
    assert_int_equal(waiters.writer, 2724);

    /* The file system's own number of the device, as on btrfs */
    proc_count("7: LEASE  BREAKING  READ 2722 00:2b:11101448 0 EOF\n"
               "7: -> LEASE  BREAKER   READ 2723 <none>:0 0 EOF\n", &waiters);
    assert_int_equal(waiters.readers, 1);
    assert_int_equal(waiters.writers, 0);
    assert_int_equal(waiters.writer, 0);

    (void)state;
}

/* A lease without waiters, a list without the lease, and no list differ. */
static void test_sight(void **state)
{
    daxpin_waiters_t waiters;

    assert_int_equal(proc_count("7: LEASE  BREAKING  UNLCK 2722 "
                                "fe:00:11101448 0 EOF\n", &waiters),
                     DAXPIN_SIGHT_LEASE);
    assert_int_equal(waiters.readers + waiters.writers, 0);
    assert_int_equal(proc_count("7: LEASE  BREAKING  UNLCK 2722 "
                                "fe:00:11101449 0 EOF\n"
                                "7: -> LEASE  BREAKER   WRITE 2724 "
                                "<none>:0 0 EOF\n", &waiters),
                     DAXPIN_SIGHT_WITHOUT);
    assert_int_equal(proc_count("", &waiters), DAXPIN_SIGHT_WITHOUT);
    memset(&waiters, 0xff, sizeof(waiters));
    assert_int_equal(daxpin_proc_count_waiters(-1, &proc_inode, PROC_HOLDER,
                                               &waiters),
                     DAXPIN_SIGHT_NONE);
    assert_int_equal(waiters.readers + waiters.writers, 0);
    (void)state;
}

/* The list does not fit into one read. */
static void test_sight_of_long_list(void **state)
{
    const unsigned lines = 20000;
    char *text           = malloc(64 * (size_t)lines), *end = text;
    daxpin_waiters_t waiters;
    unsigned i;

    assert_non_null(text);
    for (i = 0; i < lines; ++i) {
        end += sprintf(end, "%u: POSIX  ADVISORY  WRITE 77 fe:00:12 %u %u\n", i,
                       i, i);
    }
    strcpy(end, "7: LEASE  BREAKING  UNLCK 2722 fe:00:11101448 0 EOF\n"
                "7: -> LEASE  BREAKER   WRITE 2724 <none>:0 0 EOF\n");
    assert_int_equal(proc_count(text, &waiters), DAXPIN_SIGHT_LEASE);
    assert_int_equal(waiters.writers, 1);
    free(text);
    (void)state;
}

/* A child of fork() has the same offset in the list as its parent, and may read
 * at the same time: both read the list from its beginning. */
static void test_sight_in_two_processes(void **state)
{
    int fd = memfd_create("locks", MFD_CLOEXEC), status;
    daxpin_waiters_t waiters;
    pid_t child;

    assert_true(fd >= 0);
    assert_true(dprintf(fd, "7: LEASE  BREAKING  UNLCK 2722 fe:00:11101448 0 "
                        "EOF\n7: -> LEASE  BREAKER   WRITE 2724 <none>:0 0 "
                        "EOF\n") > 0);
    assert_int_equal(lseek(fd, 17, SEEK_SET), 17);
    child = fork();
    if (child == 0) {
        _exit((daxpin_proc_count_waiters(fd, &proc_inode, PROC_HOLDER,
                                         &waiters) == DAXPIN_SIGHT_LEASE) ?
                      0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 17);
    assert_int_equal(daxpin_proc_count_waiters(fd, &proc_inode, PROC_HOLDER,
                                               &waiters),
                     DAXPIN_SIGHT_LEASE);
    assert_int_equal(waiters.writers, 1);
    close(fd);
    (void)state;
}

/* Waiters for another file with this number, for another process's lease, and
 * for another kind of lock */
static void test_waiters_of_others(void **state)
{
    daxpin_waiters_t waiters;

    proc_count("7: LEASE  BREAKING  UNLCK 2722 fe:01:11101448 0 EOF\n"
               "7: -> LEASE  BREAKER   WRITE 2723 <none>:0 0 EOF\n"
               "8: LEASE  BREAKING  UNLCK 2721 fe:00:11101448 0 EOF\n"
               "8: -> LEASE  BREAKER   WRITE 2724 <none>:0 0 EOF\n"
               "9: LEASE  ACTIVE    WRITE 2722 fe:00:11101448 0 EOF\n"
               "10: POSIX  ADVISORY  WRITE 2722 fe:00:11101448 0 EOF\n"
               "10: -> POSIX  ADVISORY  WRITE 2725 fe:00:11101448 0 EOF\n",
               &waiters);
    assert_int_equal(waiters.readers, 0);
    assert_int_equal(waiters.writers, 0);
    assert_int_equal(waiters.writer, 0);
    (void)state;
}

/* As this kernel writes it */
static void test_waiter_of_kernel(void **state)
{
    const char *path = unit_path(unit_disk, "kernel");
    daxpin_inode_t inode;
    daxpin_waiters_t waiters;
    child_t child;
    int fd;

    unit_make_file(path, 4096, 1);
    inode = proc_inode_of(path);
    fd    = open(path, O_RDWR | O_CLOEXEC);
    unit_set_signal(SIGIO, SIG_IGN);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) {
        close(fd);
        skip();
    }
    intruder_start(&child, "write", path, 0);
    if (!unit_await(5000, strcmp(intruder_lease(path), "BREAKING") == 0)) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        close(fd);
        skip(); /* A file system whose numbers stat() does not tell */
    }
    assert_int_equal(daxpin_proc_count_waiters(daxpin_proc_locks_fd(), &inode,
                                               getpid(), &waiters),
                     DAXPIN_SIGHT_LEASE);
    assert_int_equal(waiters.readers, 0);
    assert_int_equal(waiters.writers, 1);
    assert_int_equal(waiters.writer, child.pid);
    fcntl(fd, F_SETLEASE, F_UNLCK);
    assert_int_equal(intruder_result(&child, 5000), 0);
    child_finish(&child);
    close(fd);
    (void)state;
}

/*
 * Files of a process
 */

/* Arguments: a path. Maps the file and closes it, says 0, waits. */
static int proc_mapper(int argc, char **argv)
{
    void *memory;
    int fd;

    if (argc < 2) {
        return 2;
    }
    fd     = open(argv[1], O_RDONLY | O_CLOEXEC);
    memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    child_report((memory != MAP_FAILED) ? 0 : -errno, "mapped");
    child_wait();
    return 0;
}

/* Arguments: a path. Says whether its parent, which root runs, has the file. */
static int proc_stranger(int argc, char **argv)
{
    char users[256] = "";
    daxpin_inode_t inode;
    struct stat st;

    if ((argc < 2) || (stat(argv[1], &st) != 0)) {
        return 2;
    }
    inode = (daxpin_inode_t){.dev = st.st_dev, .ino = st.st_ino,
                             .map_dev = st.st_dev, .map_ino = st.st_ino,
                             .path = argv[1]};
    if (setresuid(UNIT_NOBODY, UNIT_NOBODY, UNIT_NOBODY) != 0) {
        return 3;
    }
    child_report(daxpin_proc_has_file(getppid(), &inode), "has");
    daxpin_proc_describe(getppid(), users, sizeof(users));
    child_report(0, "%s", users);
    child_wait();
    return 0;
}

static void test_open_file(void **state)
{
    const char *path     = unit_path(unit_memory, "open (deleted)");
    const char *other    = unit_path(unit_memory, "other");
    daxpin_inode_t inode;
    child_t child;
    int fd;

    unit_make_file(path, 4096, 1);
    unit_make_file(other, 4096, 1);
    inode = proc_inode_of(path);
    assert_int_equal(daxpin_proc_has_file(getpid(), &inode), 0);
    fd = open(path, O_PATH | O_CLOEXEC); /* which is in nobody's way */
    assert_true(fd >= 0);
    assert_int_equal(daxpin_proc_has_file(getpid(), &inode), 0);
    close(fd);
    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 5000), 0);
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 1);
    inode.map_dev = ++inode.dev;
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 0);
    inode = proc_inode_of(other);
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 0);
    child_finish(&child);
    (void)state;
}

/* By the device; where that is another, by the path; not by the number alone */
static void test_mapped_file(void **state)
{
    const char *path = unit_path(unit_memory, "with  two blanks (deleted)");
    daxpin_inode_t inode;
    child_t child;

    unit_make_file(path, 4096, 1);
    child_spawn(&child, "mapper", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    inode = proc_inode_of(path);
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 1);
    inode.map_dev = ++inode.dev;
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 1);
    inode.path = "/elsewhere";
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 0);
    inode.path = NULL;
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 0);

    inode = proc_inode_of(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 1);
    inode.dev = inode.ino = 1;
    assert_int_equal(daxpin_proc_has_file(child.pid, &inode), 1);
    child_finish(&child);
    (void)state;
}

static void test_unreadable(void **state)
{
    const char *path     = unit_path(unit_memory, "secret");
    daxpin_inode_t inode;
    char name[64]        = "";
    child_t child;
    int fd;

    unit_make_file(path, 4096, 1);
    inode = proc_inode_of(path);
    child_spawn(&child, "mapper", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    child_kill(&child);
    assert_int_equal(daxpin_proc_has_file(0x7ffffffe, &inode), -ENOENT);
    daxpin_proc_describe(0x7ffffffe, name, sizeof(name));
    assert_string_equal(name, "pid 2147483646 (?)");
    if (geteuid() != 0) {
        skip();
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    child_spawn(&child, "stranger", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), -EACCES);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    snprintf(name, sizeof(name), "pid %d (", (int)getpid());
    assert_contains(child.text, name);
    child_finish(&child);
    close(fd);
    (void)state;
}

/* What a process has called itself must not act on a terminal. */
static void test_name_of_process(void **state)
{
    char old[32] = "", name[64] = "", wanted[64];

    assert_int_equal(prctl(PR_GET_NAME, old), 0);
    assert_int_equal(prctl(PR_SET_NAME, "a\033[2J b\x9b\x7f"), 0);
    daxpin_proc_describe(getpid(), name, sizeof(name));
    assert_int_equal(prctl(PR_SET_NAME, old), 0);
    snprintf(wanted, sizeof(wanted), "pid %d (a?[2J b??)", (int)getpid());
    assert_string_equal(name, wanted);
    (void)state;
}

/* A launcher with two ranks, of which the second one has described the first */
typedef struct proc_job {
    pid_t launcher;
    pid_t rank;
    char  text[128];
} proc_job_t;

static void proc_name_child(const char *name)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, name);
}

static void proc_start_job(proc_job_t *job, const char *name)
{
    int ends[2];
    pid_t second;

    memset(job, 0, sizeof(*job));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    job->launcher = fork();
    assert_true(job->launcher >= 0);
    if (job->launcher == 0) {
        proc_name_child(name);
        job->launcher = getpid();
        job->rank     = fork();
        second        = (job->rank > 0) ? fork() : -1;
        proc_name_child((job->rank == 0) ? "rank" : name);
        if (second == 0) {
            usleep(200 * 1000); /* until the other one ends with its parent */
            daxpin_proc_describe_job(job->rank, job->text, sizeof(job->text));
            (void)!write(ends[1], job, sizeof(*job));
        }
        pause();
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], job, sizeof(*job)), sizeof(*job));
    close(ends[0]);
}

/* End the launcher, and with it the ranks. */
static void proc_end_job(const proc_job_t *job)
{
    kill(job->launcher, SIGKILL);
    assert_int_equal(waitpid(job->launcher, NULL, 0), job->launcher);
}

/* Skip a test if these tests are a part of a job themselves. */
static void proc_skip_in_job(void)
{
    char text[128] = "";

    daxpin_proc_describe_job(getppid(), text, sizeof(text));
    if (text[0] != '\0') {
        skip();
    }
}

/* Two jobs on one file are told apart by what started their ranks. */
static void test_job_of_process(void **state)
{
    char name[128] = "", none[128] = "", wanted[128];
    proc_job_t job;

    proc_skip_in_job();
    proc_start_job(&job, "mpirun\033[2J");
    daxpin_proc_describe_job(job.rank, name, sizeof(name));
    daxpin_proc_describe_job(getpid(), none, sizeof(none));
    proc_end_job(&job);
    snprintf(wanted, sizeof(wanted), "; of another job: mpirun?[2J, pid %d",
             (int)job.launcher);
    assert_string_equal(name, wanted);
    snprintf(wanted, sizeof(wanted), "; of the same launcher: mpirun?[2J, pid "
             "%d", (int)job.launcher);
    assert_string_equal(job.text, wanted);
    assert_string_equal(none, "");

    proc_start_job(&job, "sh");
    proc_end_job(&job);
    assert_string_equal(job.text, "");
    (void)state;
}

/* Move a process to a control group. Return 0 if that is forbidden. */
static int proc_move_to_group(pid_t pid, const char *group)
{
    char path[128];
    FILE *file;
    int moved;

    if (mkdir(group, 0755) != 0) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    file  = fopen(path, "r+e");
    moved = (file != NULL) && (fprintf(file, "%d", (int)pid) > 0);
    return (file != NULL) && (fclose(file) == 0) && moved;
}

/* Slurm gives each of its jobs a control group. */
static void test_slurm_job_of_process(void **state)
{
    static const char *const groups[] = {"/sys/fs/cgroup/job_4711",
                                         "/sys/fs/cgroup/unified/job_4711"};
    const char *group = groups[access("/sys/fs/cgroup/unified", F_OK) == 0];
    char text[128] = "", wanted[128];
    proc_job_t job;
    int moved;

    proc_skip_in_job();
    proc_start_job(&job, "slurmstepd");
    moved = proc_move_to_group(job.rank, group);
    daxpin_proc_describe_job(job.rank, text, sizeof(text));
    proc_end_job(&job);
    while (moved && (rmdir(group) != 0) && (errno == EBUSY)) {
        usleep(1000); /* until the rank is gone */
    }
    if (!moved) {
        rmdir(group);
        skip(); /* no control groups, or none for this user */
    }
    snprintf(wanted, sizeof(wanted), "; of another job: slurmstepd, pid %d, "
             "Slurm job 4711", (int)job.launcher);
    assert_string_equal(text, wanted);
    (void)state;
}

/* Which step is wrong; 0: none */
#define proc_expect(_condition) \
    if (!(_condition)) { \
        return __LINE__; \
    }

/* A process with one more thread, which stays when the first one has ended */
static int proc_second(int argc, char **argv)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, (void *(*)(void*))pause, NULL) != 0) {
        return 1;
    }
    child_report(0, "thread");
    syscall(SYS_exit, 0);
    (void)argc;
    (void)argv;
    return 1;
}

/* Wait until /proc shows the state of a process, for a while. */
static int proc_await_state(pid_t pid, char wanted)
{
    char path[64], line[512];
    const char *rest;
    int i;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    for (i = 0; i < 5000; ++i) {
        if (daxpin_proc_read_line(path, line, sizeof(line)) == 0) {
            rest = strrchr(line, ')');
            if ((rest != NULL) && (rest[2] == wanted)) {
                return 1;
            }
        }
        usleep(1000);
    }
    return 0;
}

/* Take a process from its start to its end, and check what is reported. */
static int proc_live(void)
{
    siginfo_t info;
    uint64_t start;
    pid_t pid;

    proc_expect((pid = fork()) >= 0);
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    start = daxpin_proc_start(pid);
    proc_expect(start != 0);
    proc_expect(!daxpin_proc_has_ended(pid, start));
    proc_expect(!daxpin_proc_has_ended(pid, 0));
    /* A process that got the pid of another one */
    proc_expect(daxpin_proc_has_ended(pid, start + 1));
    proc_expect(kill(pid, SIGSTOP) == 0);
    proc_expect(proc_await_state(pid, 'T'));
    proc_expect(!daxpin_proc_has_ended(pid, start));
    proc_expect(kill(pid, SIGKILL) == 0);
    proc_expect(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    proc_expect(kill(pid, 0) == 0); /* It is a zombie */
    proc_expect(daxpin_proc_has_ended(pid, start));
    proc_expect(daxpin_proc_has_ended(pid, 0));
    proc_expect(waitpid(pid, NULL, 0) == pid);
    proc_expect(daxpin_proc_has_ended(pid, start));
    return 0;
}

/* Have the kernel refuse pidfd_open(), as some containers do. */
static int proc_refuse_pidfd(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };

    return filter_begin(filter, sizeof(filter) / sizeof(filter[0]));
}

static int proc_refused(int argc, char **argv)
{
    if (!proc_refuse_pidfd()) {
        child_report(-1, "no seccomp");
        return 0;
    }
    if ((syscall(SYS_pidfd_open, getpid(), 0) >= 0) || (errno != EPERM)) {
        child_report(__LINE__, "pidfd_open() is not refused");
        return 0;
    }
    child_report(proc_live(), "done");
    (void)argc;
    (void)argv;
    return 0;
}

/* A process that is stopped is there; a zombie and another process with the
 * same pid are not. */
static void test_end_of_process(void **state)
{
    child_t child;
    uint64_t start;

    assert_int_equal(proc_live(), 0);
    assert_true(daxpin_proc_start(getpid()) != 0);
    assert_false(daxpin_proc_has_ended(getpid(), daxpin_proc_start(getpid())));

    child_spawn(&child, "second", NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    start = daxpin_proc_start(child.pid);
    assert_true(proc_await_state(child.pid, 'Z'));
    assert_false(daxpin_proc_has_ended(child.pid, start));
    child_kill(&child);
    (void)state;
}

/* The same where pidfd_open() is refused */
static void test_end_without_pidfd(void **state)
{
    child_t child;
    long ret;

    child_spawn(&child, "refused", NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    child_finish(&child);
    if (ret < 0) {
        print_message("# no seccomp\n");
        skip();
    }
    assert_int_equal(ret, 0);
    (void)state;
}

static int proc_skip(pid_t pid, void *arg)
{
    return pid == *(const pid_t*)arg;
}

/* Others that have the file, and no more than a message has room for */
static void test_users(void **state)
{
    const char *path = unit_path(unit_memory, "users");
    daxpin_inode_t inode;
    child_t children[6];
    char users[256], wanted[256] = "", name[32];
    const char *comma;
    unsigned i, count;
    pid_t none = 0;
    int fd;

    unit_make_file(path, 4096, 1);
    inode = proc_inode_of(path);
    fd    = open(path, O_RDONLY | O_CLOEXEC);
    daxpin_proc_list_users(&inode, proc_skip, &none, users, sizeof(users));
    assert_string_equal(users, "");

    for (i = 0; i < 2; ++i) {
        child_spawn(&children[i], "mapper", path, NULL);
        assert_int_equal(child_answer(&children[i], CHILD_WAIT_MS), 0);
    }
    daxpin_proc_describe(children[1].pid, wanted, sizeof(wanted));
    snprintf(users, sizeof(users), "/proc/%d/comm", (int)children[1].pid);
    assert_int_equal(daxpin_proc_read_line(users, name, sizeof(name)), 0);
    assert_true(name[0] != '\0');
    snprintf(users, sizeof(users), "pid %d (%s)", (int)children[1].pid, name);
    assert_string_equal(wanted, users);
    daxpin_proc_list_users(&inode, proc_skip, &children[0].pid, users,
                           sizeof(users));
    assert_string_equal(users, wanted);

    for (; i < 6; ++i) {
        intruder_start(&children[i], "read", path, 0);
        assert_int_equal(intruder_result(&children[i], 5000), 0);
    }
    daxpin_proc_list_users(&inode, proc_skip, &none, users, sizeof(users));
    for (count = 1, comma = users; (comma = strstr(comma, ", ")) != NULL;
         ++comma) {
        ++count;
    }
    assert_int_equal(count, 4);
    for (i = 0; i < 6; ++i) {
        child_finish(&children[i]);
    }
    close(fd);
    (void)state;
}

/*
 * A file system whose server does not answer
 */

/* Answer the first requests of a file system in user space. That it knows neither
 * open() nor close() has the kernel do both without it. */
static void *proc_serve_fuse(void *arg)
{
    static char buffer[FUSE_MIN_READ_BUFFER + 65536];
    const struct fuse_in_header *in = (const struct fuse_in_header*)buffer;
    const int fuse                  = *(int*)arg;
    struct {
        struct fuse_out_header head;
        struct fuse_init_out   init;
    } out;

    do {
        if (read(fuse, buffer, sizeof(buffer)) < 0) {
            break;
        }
        memset(&out, 0, sizeof(out));
        out.head.unique = in->unique;
        out.head.len    = sizeof(out.head);
        out.head.error  = -ENOSYS;
        if (in->opcode == FUSE_INIT) {
            out.head.error = 0;
            out.head.len  += sizeof(out.init);
            out.init.major = FUSE_KERNEL_VERSION;
            out.init.minor = FUSE_KERNEL_MINOR_VERSION;
        }
    } while ((write(fuse, &out, out.head.len) > 0) &&
             (in->opcode != FUSE_FLUSH));
    return NULL;
}

/* Open a file of a file system that does not answer any more. Return its
 * descriptor, or -1 if there can be none. */
static int proc_open_hung(const char *path)
{
    const int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    pthread_t server;
    char options[128];
    int fd;

    snprintf(options, sizeof(options), "fd=%d,rootmode=100666,user_id=%d,"
             "group_id=%d", fuse, (int)geteuid(), (int)getegid());
    unit_make_file(path, 0, 0);
    if ((fuse < 0) || (mount("fuse", path, "fuse", 0, options) != 0)) {
        return -1;
    }
    if (pthread_create(&server, NULL, proc_serve_fuse, (void*)&fuse) != 0) {
        return -1;
    }
    close(open(path, O_RDWR | O_CLOEXEC));
    pthread_join(server, NULL);
    fd = open(path, O_RDWR | O_CLOEXEC);
    umount2(path, MNT_DETACH);
    return fd;
}

static int proc_count_fd(int fd, void *arg)
{
    (void)fd;
    ++*(unsigned*)arg;
    return 0;
}

/* Have the file of the first path, and one that does not answer at the second.
 * Report how many descriptors of the first there are. */
static int proc_hung(int argc, char **argv)
{
    const daxpin_inode_t inode = proc_inode_of(argv[1]);
    unsigned count             = 0;
    int fd;

    (void)argc;
    unit_own_mounts();
    if (!unit_may_mount || (proc_open_hung(argv[2]) < 0)) {
        child_report(-1, "no FUSE");
        return 0;
    }
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    child_report((fd >= 0) ? 0 : errno, "open");
    child_wait();
    daxpin_fd_for_each(inode.ino, inode.dev, proc_count_fd, &count);
    child_report(count, "descriptors");
    child_wait();
    return 0;
}

static int proc_skip_others(pid_t pid, void *arg)
{
    return pid != *(const pid_t*)arg;
}

/* Look for the file of a path in a process, and report what is found. */
static int proc_look(int argc, char **argv)
{
    pid_t pid                  = atoi(argv[1]);
    const daxpin_inode_t inode = proc_inode_of(argv[2]);
    const int fd               = open(argv[2], O_RDONLY | O_CLOEXEC);
    char what[64];

    (void)argc;
    child_report(daxpin_proc_has_file(pid, &inode), "has it");
    child_report(daxpin_proc_keeps_file(pid, &inode, fd, what, sizeof(what)),
                 "keeps it");
    child_report(daxpin_proc_find_writer(&inode, fd, proc_skip_others, &pid),
                 "writes it");
    return 0;
}

/* A descriptor of a file system that does not answer keeps nobody from a look at
 * the others. */
static void test_hung_file_system(void **state)
{
    const char *path = unit_path(unit_memory, "looked");
    child_t hung, look;
    char pid[16];

    unit_make_file(path, 4096, 1);
    child_spawn(&hung, "hung", path, unit_path(unit_memory, "hung"), NULL);
    if (child_answer(&hung, CHILD_WAIT_MS) < 0) {
        child_finish(&hung);
        print_message("# no file system in user space\n");
        skip();
    }
    snprintf(pid, sizeof(pid), "%d", (int)hung.pid);
    child_spawn(&look, "look", pid, path, NULL);
    assert_int_equal(child_answer(&look, CHILD_WAIT_MS), 1);
    assert_int_equal(child_answer(&look, CHILD_WAIT_MS), 1);
    assert_int_equal(child_answer(&look, CHILD_WAIT_MS), 0);
    child_finish(&look);
    child_send(&hung, "look");
    assert_int_equal(child_answer(&hung, CHILD_WAIT_MS), 1);
    child_finish(&hung);
    (void)state;
}

static void test_read_line(void **state)
{
    char line[8] = "before";

    assert_int_equal(daxpin_proc_read_line("/nonexistent", line, sizeof(line)),
                     -ENOENT);
    assert_string_equal(line, "before");
    assert_int_equal(daxpin_proc_read_line(proc_locks("one\ntwo\n"), line,
                                           sizeof(line)), 0);
    assert_string_equal(line, "one");
    assert_int_equal(daxpin_proc_read_line(proc_locks("seven or more"), line,
                                           sizeof(line)), 0);
    assert_string_equal(line, "seven o");
    assert_int_equal(daxpin_proc_read_line(proc_locks(""), line, sizeof(line)),
                     0);
    assert_string_equal(line, "");
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        {"mapper", proc_mapper},
        {"stranger", proc_stranger},
        {"second", proc_second},
        {"refused", proc_refused},
        {"hung", proc_hung},
        {"look", proc_look},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_lease_lines),
        unit_case(test_lease_lines_end),
        unit_case(test_waiters),
        unit_case(test_sight),
        unit_case(test_sight_of_long_list),
        unit_case(test_sight_in_two_processes),
        unit_case(test_waiters_of_others),
        unit_case(test_waiter_of_kernel),
        unit_case(test_open_file),
        unit_case(test_mapped_file),
        unit_case(test_unreadable),
        unit_case(test_name_of_process),
        unit_case(test_job_of_process),
        unit_case(test_slurm_job_of_process),
        unit_case(test_end_of_process),
        unit_case(test_end_without_pidfd),
        unit_case(test_users),
        unit_case(test_hung_file_system),
        unit_case(test_read_line)
    };

    return unit_main("proc", argc, argv, children, tests);
}
