/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Where the processes of a user meet: the directory, other users, containers,
 * and holders that were killed, are stopped or have no descriptor left */

#include "intruder.h"
#include "member.h"

#include "daxpin/file/file.h"
#include "daxpin/os/rundir.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define RENDEZVOUS_USER 1000

/* Names of the addresses of a process: two for each file, and for the door */
#define RENDEZVOUS_NAMES(_files) (2 * (_files) + 2)

/* What fstatat() fails with; 0: with nothing. The function replaces that of the
 * C library in this program. */
static _Atomic int rendezvous_fault;

int fstatat(int dir_fd, const char *restrict name, struct stat *restrict st,
            int flags)
{
    errno = rendezvous_fault;
    return (errno != 0) ? -1 :
           (int)syscall(SYS_newfstatat, dir_fd, name, st, flags);
}

/* The same for links */
static _Atomic int rendezvous_link_fault;

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    errno = rendezvous_link_fault;
    return (errno != 0) ? -1 :
           (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

/* Have this process and its children meet in a new directory. */
static const char *rendezvous_dir(void)
{
    const char *dir = unit_path(unit_memory, "run");

    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR", dir, 1), 0);
    return dir;
}

/* Return how many names a directory has; 0 if there is none. */
static int rendezvous_count(const char *dir)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;
    int count = 0;

    while ((stream != NULL) && ((entry = readdir(stream)) != NULL)) {
        count += entry->d_name[0] != '.';
    }
    if (stream != NULL) {
        closedir(stream);
    }
    return count;
}

/* Return how often a word is in the log. */
static unsigned rendezvous_logged(const char *word)
{
    const char *text = unit_log;
    unsigned count   = 0;

    while ((text = strstr(text, word)) != NULL) {
        ++text;
        ++count;
    }
    return count;
}

/*
 * The directory
 */

/* Check that a file cannot be opened, because of a directory. */
static void rendezvous_check_refused(const char *dir, const char *word)
{
    const char *path = unit_path(unit_disk, "refused");
    daxpin_file_t *file;

    unit_make_file(path, 4096, 'x');
    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR", dir, 1), 0);
    if (daxpin_file_open(path, UNIT_LENGTH, NULL, &file) == 0) {
        daxpin_file_close(file);
        fail_msg("a file was opened by way of %s (%s)", dir, word);
    }
    assert_message("DAXPIN_RUNTIME_DIR");
    assert_message(dir);
    assert_message(word);
    assert_int_equal(unit_file_byte(path, 4095), 'x');
    assert_int_equal(unit_file_size(path), 4096);
}

static void test_directory_that_is_not_ours(void **state)
{
    const char *dir    = unit_path(unit_memory, "own");
    const char *link   = unit_path(unit_memory, "link");
    const char *parent = unit_path(unit_memory, "none");
    char slash[PATH_MAX];

    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(symlink(dir, link), 0);
    snprintf(slash, sizeof(slash), "%s/", link);
    rendezvous_check_refused(link, "symbolic link");
    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR", slash, 1), 0);
    snprintf(slash, sizeof(slash), "%s/below", parent);
    rendezvous_check_refused(slash, "No such file");
    rendezvous_check_refused("relative", "absolute");
    assert_int_equal(chmod(dir, 0777), 0);
    rendezvous_check_refused(dir, "777");
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, RENDEZVOUS_USER, RENDEZVOUS_USER), 0);
        rendezvous_check_refused(dir, "belongs to user 1000");
    }
    (void)state;
}

/* Squat the usual directory, and open a file. The arguments are a path, and how
 * to squat. Report the result of the open, and which directory has names. */
static int rendezvous_squat_child(int argc, char **argv)
{
    const char *places[] = {"/dev/shm", "/run/user", "/tmp"};
    char squatted[64], own[64], last[64];
    daxpin_file_t *file;
    int ret, i;

    (void)argc;
    snprintf(squatted, sizeof(squatted), "/dev/shm/daxpin-%d", (int)geteuid());
    snprintf(own, sizeof(own), "/run/user/%d", (int)geteuid());
    if ((unshare(CLONE_NEWNS) != 0) ||
        (mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0)) {
        return 1;
    }
    (void)mkdir(places[1], 0755);
    for (i = 0; i < 2; ++i) {
        if (mount("none", places[i], "tmpfs", 0, "mode=1777") != 0) {
            return 1;
        }
    }
    /* If the last directory is there, it would be taken before a new one */
    snprintf(last, sizeof(last), "%s/daxpin-%d", places[2], (int)geteuid());
    if ((access(last, F_OK) == 0) &&
        (mount("none", last, "tmpfs", 0, "mode=0777") != 0)) {
        return 1;
    }
    unsetenv("DAXPIN_RUNTIME_DIR");
    ret = (strcmp(argv[2], "link") == 0) ? symlink("/etc", squatted) :
          (mkdir(squatted, 0700) | chmod(squatted, 0777));
    if (strcmp(argv[2], "user") == 0) {
        ret |= chown(squatted, RENDEZVOUS_USER, RENDEZVOUS_USER);
    }
    if ((ret != 0) || (mkdir(own, 0700) != 0)) {
        return 1;
    }
    strcat(own, "/daxpin");
    ret = daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file);
    child_report(ret, "%s", daxpin_errormsg());
    child_report(rendezvous_count(own), "names");
    child_report((strcmp(argv[2], "link") != 0) ? rendezvous_count(squatted) :
                 0, "names");
    daxpin_file_close(file);
    return 0;
}

/* A process whose usual directory another user has taken goes to the next. */
static void test_directory_is_squatted(void **state)
{
    const char *how[] = {"link", "mode", "user"};
    child_t child;
    unsigned i;

    if (!unit_may_mount) {
        skip();
    }
    for (i = 0; i < 3; ++i) {
        child_spawn(&child, "squat", unit_path(unit_disk, "squat"), how[i],
                    NULL);
        assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
        assert_int_equal(child_answer(&child, CHILD_WAIT_MS),
                         RENDEZVOUS_NAMES(1));
        assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
        child_finish(&child);
    }
    (void)state;
}

/*
 * Other users
 */

/* Take the abstract name of a file's holder as another user, with a queue that
 * is full. The argument is the path. End when the input ends. */
static int rendezvous_abstract_child(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length;
    struct stat st;
    int fd, own;

    (void)argc;
    if (stat(argv[1], &st) != 0) {
        return 1;
    }
    length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
             snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                      "daxpin-%u-%lx-%lx", (unsigned)geteuid(), st.st_dev,
                      st.st_ino));
    if (setuid(UNIT_NOBODY) != 0) {
        return 1;
    }
    fd  = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    own = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if ((bind(fd, (struct sockaddr*)&address, length) != 0) ||
        (listen(fd, 0) != 0) ||
        (connect(own, (struct sockaddr*)&address, length) != 0)) {
        return 1;
    }
    child_report(0, "squatting");
    child_wait();
    return 0;
}

/* No name that another user can take keeps a process from a file. */
static void test_guessable_name(void **state)
{
    const char *path = unit_path(unit_disk, "guess");
    child_t squatter, child;

    if (geteuid() != 0) {
        skip();
    }
    rendezvous_dir();
    unit_make_file(path, 4096, 'x');
    child_spawn(&squatter, "abstract", path, NULL);
    assert_int_equal(child_answer(&squatter, CHILD_WAIT_MS), 0);
    member_start_open(&child, path);
    assert_int_equal(child_query(&child, "holder"), 1);
    child_finish(&child);
    child_finish(&squatter);
    (void)state;
}

/* Open a file in a user namespace that maps no user. The argument is the path.
 * Report the result. */
static int rendezvous_unmapped_child(int argc, char **argv)
{
    daxpin_file_t *file;
    int ret;

    (void)argc;
    unsetenv("DAXPIN_RUNTIME_DIR");
    if ((setresuid(RENDEZVOUS_USER, RENDEZVOUS_USER, RENDEZVOUS_USER) != 0) ||
        (unshare(CLONE_NEWUSER) != 0)) {
        return 1;
    }
    ret = daxpin_file_open(argv[1], 4096, NULL, &file);
    child_report(ret, "%s", daxpin_errormsg());
    daxpin_file_close(file);
    return 0;
}

/* A user that is not mapped has the same number as each other one. */
static void test_unmapped_user(void **state)
{
    const char *path = unit_path(unit_memory, "unmapped");
    child_t child;
    long ret;

    if (geteuid() != 0) {
        skip();
    }
    unit_make_file(path, 4096, 'x');
    assert_int_equal(chown(path, RENDEZVOUS_USER, RENDEZVOUS_USER), 0);
    child_spawn(&child, "unmapped", path, NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    if (ret == CHILD_DIED) {
        skip(); /* no user namespaces here */
    }
    assert_int_equal(ret, -EPERM);
    assert_contains(child.text, "user namespace");
    child_finish(&child);
    (void)state;
}

/* A user that has the number 65534 and is mapped is an ordinary one. */
static void test_mapped_nobody(void **state)
{
    const char *path = unit_path(unit_memory, "nobody");
    child_t child;

    if (geteuid() != 0) {
        skip();
    }
    unsetenv("DAXPIN_RUNTIME_DIR");
    unit_make_file(path, UNIT_LENGTH, 'x');
    assert_int_equal(chown(path, UNIT_NOBODY, UNIT_NOBODY), 0);
    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_child_ok(&child, "open %s %d 5000", path, UNIT_LENGTH);
    child_finish(&child);
    (void)state;
}

/* A process without descriptors does not meet others somewhere else, nor make
 * the directory for that. */
static void test_no_descriptor_for_directory(void **state)
{
    char dir[DAXPIN_RUNDIR_MAX], last[64];
    struct rlimit limit, none;
    int had, ret;

    unsetenv("DAXPIN_RUNTIME_DIR");
    close(daxpin_rundir_open(dir));
    snprintf(last, sizeof(last), "/tmp/daxpin-%d", (int)geteuid());
    had = access(last, F_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none          = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ret = daxpin_rundir_open(dir);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(access(last, F_OK), had);
    assert_int_equal(ret, -EMFILE);
    (void)state;
}

/*
 * Containers
 */

/* A member in other namespaces: of the network, "net", or of pids, "pid" */
static int rendezvous_member_child(int argc, char **argv)
{
    const int pids = strcmp(argv[1], "pid") == 0;
    int status     = 1;
    pid_t pid;

    if (unshare(pids ? CLONE_NEWPID | CLONE_NEWNS : CLONE_NEWNET) != 0) {
        return 1;
    }
    pid = fork();
    if (pid != 0) {
        /* LeakSanitizer does not work where new processes are in another pid
         * namespace */
        _exit(((waitpid(pid, &status, 0) == pid) && (status == 0)) ? 0 : 1);
    }
    if (pids && ((mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0) ||
                 (mount("none", "/proc", "proc", 0, "") != 0))) {
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child_report(0, "ready");
    _exit(member_child(argc, argv));
}

/* Start a member in other namespaces. Skip the test if there are none. */
static void rendezvous_start(child_t *child, const char *what)
{
    child_spawn(child, "elsewhere", what, NULL);
    if (child_answer(child, CHILD_WAIT_MS) != 0) {
        skip();
    }
}

static void test_network_namespaces(void **state)
{
    const char *path = unit_path(unit_disk, "net");
    daxpin_file_t *file;
    child_t child;

    rendezvous_dir();
    file = unit_open(path, UNIT_LENGTH);
    rendezvous_start(&child, "net");
    assert_child_ok(&child, "open %s %d 1000", path, UNIT_LENGTH);
    assert_int_equal(child_query(&child, "holder"), 0);
    assert_child_ok(&child, "put 0 1 7");
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    assert_int_equal(*(char*)daxpin_file_addr(file, 0, 1), 7);
    intruder_run("truncate", path, 0, 3000);
    assert_member_becomes(&child, REVOKED);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/* The holder is in a container of another directory: the error names that. To
 * the holder this process is one that opens the file for writing, and may get
 * in; never do both have the file. */
static void test_directory_is_not_shared(void **state)
{
    const char *path = unit_path(unit_disk, "apart");
    daxpin_file_t *file;
    child_t child;

    rendezvous_dir();
    member_start_open(&child, path);
    rendezvous_dir();
    if (daxpin_file_open(path, UNIT_LENGTH,
                         &(daxpin_params_t){.timeout_ms = 300}, &file) != 0) {
        /* If it is let in without the lease, it sees the process itself */
        if (strstr(daxpin_errormsg(), "open elsewhere: pid") == NULL) {
            assert_message("container");
            assert_message("DAXPIN_RUNTIME_DIR");
        }
    } else {
        assert_true(member_has_state(&child, REVOKED));
        daxpin_file_close(file);
    }
    child_finish(&child);
    (void)state;
}

/* A holder that cannot be seen is called so: it has no pid here. */
static void test_pid_namespaces(void **state)
{
    const char *path = unit_path(unit_disk, "pid");
    child_t holder, child;

    rendezvous_dir();
    member_start_open(&holder, path);
    rendezvous_start(&child, "pid");
    child_stop(&holder);
    assert_int_equal(child_query(&child, "open %s %d 1000", path, UNIT_LENGTH),
                     -ETIMEDOUT);
    assert_contains(child.text, "pid namespace");
    assert_null(strstr(child.text, "pid 0"));
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    assert_child_ok(&child, "open %s %d 5000", path, UNIT_LENGTH);
    assert_int_equal(child_query(&child, "holder"), 0);
    assert_int_equal(child_query(&child, "release"), -EPERM);
    assert_contains(child.text, "pid namespace");
    assert_child_ok(&child, "close");
    child_finish(&child);
    child_finish(&holder);
    (void)state;
}

/*
 * Holders in trouble
 */

/* A killed holder leaves names behind, which the next one takes or removes. */
static void test_killed_holders(void **state)
{
    const char *dir  = rendezvous_dir(), *path = NULL;
    daxpin_file_t *file;
    child_t holder;
    unsigned i;

    for (i = 0; i < 5; ++i) {
        path = unit_path(unit_disk, "killed");
        member_start_open(&holder, path);
        child_kill(&holder);
        assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    }
    file = unit_open(path, UNIT_LENGTH);
    assert_int_equal(daxpin_file_is_holder(file), 1);
    assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    daxpin_file_close(file);
    assert_int_equal(rendezvous_count(dir), 0);
    (void)state;
}

/* Remove from a directory the names that contain a word. */
static void rendezvous_remove(const char *dir, const char *word)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;
    char path[PATH_MAX];

    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL) {
        if ((entry->d_name[0] != '.') &&
            (strstr(entry->d_name, word) != NULL)) {
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
            assert_int_equal(unlink(path), 0);
        }
    }
    closedir(stream);
}

/* Check that the holder makes its names again, and a newcomer finds it. */
static void rendezvous_check_restored(const char *dir, daxpin_file_t *file,
                                      int count)
{
    child_t child;

    assert_true(unit_await(10000, rendezvous_count(dir) == count));
    member_start(&child);
    assert_child_ok(&child, "open %s %d 5000", file->path, UNIT_LENGTH);
    assert_int_equal(child_query(&child, "holder"), 0);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    child_finish(&child);
}

/* Something removes what the user has in the directory, or the directory, as
 * systemd-logind does at the end of the last login. */
static void test_removed_names(void **state)
{
    const char *dir     = rendezvous_dir();
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "gone"), UNIT_LENGTH);
    daxpin_file_t *more = unit_open(unit_path(unit_disk, "too"), UNIT_LENGTH);

    unit_log_clear();
    unit_sleep_ms(2500); /* No name is looked at any more */
    rendezvous_remove(dir, "");
    assert_int_equal(rmdir(dir), 0);
    rendezvous_check_restored(dir, file, RENDEZVOUS_NAMES(2));
    assert_contains(unit_log, "are made again");
    rendezvous_remove(dir, ".lock");
    rendezvous_check_restored(dir, more, RENDEZVOUS_NAMES(2));
    rendezvous_remove(dir, "-");
    rendezvous_check_restored(dir, file, RENDEZVOUS_NAMES(2));
    unit_log_clear();
    daxpin_file_close(more);
    daxpin_file_close(file);
    /* A file stays until its holder has noticed that the members are gone */
    assert_true(unit_await(10000, rendezvous_count(dir) == 0));
    (void)state;
}

/* Names that cannot be looked at for a while are not lost. */
static void test_unreadable_names(void **state)
{
    const char *dir     = rendezvous_dir();
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "dark"), UNIT_LENGTH);
    int is_lost;

    rendezvous_fault = EIO;
    is_lost          = daxpin_address_is_lost(&file->share.address);
    rendezvous_fault = 0;
    assert_false(is_lost);
    assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    daxpin_file_close(file);
    (void)state;
}

/* Another process has the address by now: the holder reports that once, and
 * takes the address back when that process has ended. */
static void test_removed_and_taken(void **state)
{
    const char *dir     = rendezvous_dir();
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "taken"), UNIT_LENGTH);
    char lock[PATH_MAX], taken[PATH_MAX + 8];
    int fd;

    unit_log_clear();
    snprintf(lock, sizeof(lock), "%s/%lx-%lx.lock", dir, file->dev, file->ino);
    snprintf(taken, sizeof(taken), "%s.new", lock);
    fd = open(taken, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(rename(taken, lock), 0);
    assert_true(unit_await(10000, rendezvous_logged("has the file by now")));
    unit_sleep_ms(1200); /* it looks again */
    assert_int_equal(rendezvous_logged("has the file by now"), 1);
    close(fd);
    assert_true(unit_await(10000, rendezvous_logged("are made again")));
    rendezvous_check_restored(dir, file, RENDEZVOUS_NAMES(1));
    unit_log_clear();
    daxpin_file_close(file);
    /* A file stays until its holder has noticed that the members are gone */
    assert_true(unit_await(10000, rendezvous_count(dir) == 0));
    (void)state;
}

/* The child of a fork leaves the names of its parent alone. */
static void test_fork_keeps_the_address(void **state)
{
    const char *dir     = rendezvous_dir();
    const char *path    = unit_path(unit_disk, "fork");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member;
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        daxpin_file_close(file);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    member_start_open(&member, path);
    assert_int_equal(child_query(&member, "holder"), 0);
    child_finish(&member);
    daxpin_file_close(file);
    /* The file stays until the end of the member is noticed */
    assert_true(unit_await(2000, rendezvous_count(dir) == 0));
    (void)state;
}

/* Fill the queue of a stopped holder. */
static int rendezvous_fill_queue(const char *dir, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    int count = 0, fd;

    assert_int_equal(stat(path, &st), 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%lx-%lx", dir,
             st.st_dev, st.st_ino);
    do {
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        ++count;
    } while ((connect(fd, (struct sockaddr*)&address, sizeof(address)) == 0) &&
             (count < 10000));
    assert_int_equal(errno, EAGAIN);
    return count;
}

/* Let this process have many descriptors. */
static int rendezvous_raise_limit(void)
{
    struct rlimit limit = {.rlim_cur = 12000, .rlim_max = 12000};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* Fill the queue of a holder. The arguments are directory and path. */
static int rendezvous_flood_child(int argc, char **argv)
{
    (void)argc;
    if (!rendezvous_raise_limit()) {
        return 1;
    }
    child_report(rendezvous_fill_queue(argv[1], argv[2]), "connections");
    child_wait();
    return 0;
}

/* A holder that is stopped, and whose queue is full, does not keep another
 * process waiting. */
static void test_full_queue(void **state)
{
    const char *dir  = rendezvous_dir();
    const char *path = unit_path(unit_disk, "queue");
    child_t holder, flood, child;
    char pid[32];

    if (geteuid() != 0) {
        skip(); /* cannot raise the limit */
    }
    member_start_open(&holder, path);
    child_stop(&holder);
    child_spawn(&flood, "flood", dir, path, NULL);
    assert_true(child_answer(&flood, CHILD_WAIT_MS) > 0);
    member_start(&child);
    assert_int_equal(child_query(&child, "open %s %d 1000", path, UNIT_LENGTH),
                     -ETIMEDOUT);
    snprintf(pid, sizeof(pid), "pid %d", (int)holder.pid);
    assert_contains(child.text, pid);
    assert_contains(child.text, "stopped");
    child_finish(&child);
    child_finish(&flood);
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    child_finish(&holder);
    (void)state;
}

/* Open descriptors until there is no number left. Return the limit before. */
static rlim_t rendezvous_use_descriptors(int *fds, unsigned *count)
{
    struct rlimit limit;
    rlim_t old;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    old            = limit.rlim_cur;
    limit.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (*count = 0; *count < 128; ++*count) {
        fds[*count] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        if (fds[*count] < 0) {
            break;
        }
    }
    return old;
}

/* A holder without descriptors reports that once, and the newcomer learns
 * why. */
static void test_no_descriptors(void **state)
{
    const char *path     = unit_path(unit_disk, "descriptors");
    struct rlimit limit  = {0};
    daxpin_file_t *file;
    child_t child;
    unsigned count, i;
    int fds[128];
    rlim_t old;

    rendezvous_dir();
    file = unit_open(path, UNIT_LENGTH);
    member_start(&child);
    old = rendezvous_use_descriptors(fds, &count);
    child_send(&child, "open %s %d 2000", path, UNIT_LENGTH);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), -ETIMEDOUT);
    for (i = 0; i < count; ++i) {
        close(fds[i]);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = old;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rendezvous_logged("cannot accept a member"), 1);
    assert_contains(child.text, "ulimit");
    assert_child_ok(&child, "open %s %d 5000", path, UNIT_LENGTH);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/*
 * The door
 */

/* Return how many descriptors of this process are sockets. */
static int rendezvous_sockets(void)
{
    DIR *stream = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat st;
    int count = 0;

    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL) {
        count += (fstatat(dirfd(stream), entry->d_name, &st, 0) == 0) &&
                 S_ISSOCK(st.st_mode);
    }
    closedir(stream);
    return count;
}

/* Connect to the address of a file that does not exist. Return the socket. */
static int rendezvous_connect(uint64_t dev, uint64_t ino)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    if (daxpin_address_connect(dev, ino, fd, 0) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Return whether a process waits to be accepted, and accept it. */
static int rendezvous_accept(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* Those that come before an address has the door wait at the socket that the
 * address had, those that come later at the door. */
static void test_address_gets_a_door(void **state)
{
    const char *dir = rendezvous_dir();
    daxpin_address_t door, address;
    int early, late, listen_fd, error = -1;

    assert_int_equal(daxpin_address_open_door(&door), 0);
    assert_int_equal(daxpin_address_listen(1, 77, -1, &address), 0);
    early     = rendezvous_connect(1, 77);
    listen_fd = daxpin_address_share(&address, &door, &error);
    late      = rendezvous_connect(1, 77);
    assert_int_equal(error, 0);
    assert_true((early >= 0) && (late >= 0) && (listen_fd >= 0));
    assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    assert_true(rendezvous_accept(listen_fd));
    assert_false(rendezvous_accept(listen_fd));
    assert_true(rendezvous_accept(door.listen_fd));
    assert_false(rendezvous_accept(door.listen_fd));
    assert_int_equal(daxpin_address_share(&address, &door, &error), -1);
    assert_int_equal(error, 0);
    assert_false(daxpin_address_is_lost(&address));
    daxpin_address_close(&address);
    assert_int_equal(rendezvous_connect(1, 77), -1);
    daxpin_address_close(&door);
    assert_int_equal(rendezvous_count(dir), 0);
    close(early);
    close(late);
    close(listen_fd);
    (void)state;
}

/* Without hard links, a file has a socket of its own. */
static void test_no_links(void **state)
{
    const char *dir  = rendezvous_dir();
    const char *path = unit_path(unit_disk, "link");
    int sockets      = rendezvous_sockets();
    daxpin_file_t *file;
    child_t member;

    rendezvous_link_fault = EPERM;
    file                  = unit_open(path, UNIT_LENGTH);
    rendezvous_link_fault = 0;
    assert_null(file->share.address.door);
    assert_int_equal(rendezvous_sockets(), sockets + 2);
    assert_int_equal(rendezvous_count(dir), RENDEZVOUS_NAMES(1));
    member_start_open(&member, path);
    assert_int_equal(child_query(&member, "holder"), 0);
    child_finish(&member);
    daxpin_file_close(file);
    assert_true(unit_await(10000, rendezvous_count(dir) == 0));
    assert_int_equal(rendezvous_sockets(), sockets);
    (void)state;
}

/* A holder whose door has lost its name makes another one, and its files that
 * have theirs are found there. */
static void test_door_is_removed(void **state)
{
    const char *dir     = rendezvous_dir();
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "door"), UNIT_LENGTH);
    daxpin_file_t *more;

    rendezvous_remove(dir, "0-");
    more = unit_open(unit_path(unit_disk, "next"), UNIT_LENGTH);
    assert_ptr_equal(more->share.address.door, file->share.address.door);
    rendezvous_check_restored(dir, file, RENDEZVOUS_NAMES(2));
    rendezvous_check_restored(dir, more, RENDEZVOUS_NAMES(2));
    daxpin_file_close(more);
    daxpin_file_close(file);
    assert_true(unit_await(10000, rendezvous_count(dir) == 0));
    (void)state;
}

/*
 * Many files
 */

#define RENDEZVOUS_FILES 48

static _Atomic unsigned rendezvous_locks;

/* Count calls, in place of the C library's function. */
int flock(int fd, int operation)
{
    atomic_fetch_add(&rendezvous_locks, 1);
    return (int)syscall(SYS_flock, fd, operation);
}

/* What a file costs does not depend on how many others there are: calls for its
 * address, and descriptors, none of which is a socket. */
static void test_many_files(void **state)
{
    daxpin_file_t *files[RENDEZVOUS_FILES];
    unsigned i, locks = 0;
    int descriptors = 0, sockets = 0;

    rendezvous_dir();
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        if (i == 1) {
            descriptors = member_count_fds();
            sockets     = rendezvous_sockets();
            locks       = atomic_load(&rendezvous_locks);
        }
        files[i] = unit_open(unit_path(unit_disk, "many"), UNIT_LENGTH);
    }
    locks       = atomic_load(&rendezvous_locks) - locks;
    descriptors = member_count_fds() - descriptors;
    assert_true(locks <= 4 * RENDEZVOUS_FILES);
    /* On DAX each has a hold, too */
    assert_true(descriptors <= (unit_is_dax(unit_disk) ? 8 : 4) *
                               (RENDEZVOUS_FILES - 1));
    assert_int_equal(rendezvous_sockets(), sockets);
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        daxpin_file_close(files[i]);
    }
    (void)state;
}

/* Open files, of which the parent is the holder. The argument is what their
 * paths begin with. Report the descriptors that all but the first one take. */
static int rendezvous_collector_child(int argc, char **argv)
{
    daxpin_file_t *files[RENDEZVOUS_FILES];
    char path[PATH_MAX];
    int before = 0, ret, i;

    (void)argc;
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        if (i == 1) {
            before = unit_count_fds();
        }
        snprintf(path, sizeof(path), "%s.%d", argv[1], i);
        ret = daxpin_file_open(path, UNIT_LENGTH, NULL, &files[i]);
        if (ret != 0) {
            child_report(ret, "%s", daxpin_errormsg());
            return ret;
        }
    }
    child_report(unit_count_fds() - before, "descriptors");
    child_wait();
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        daxpin_file_close(files[i]);
    }
    return 0;
}

/* Many files of one holder take few descriptors of a member, which watches them
 * by one inotify instance; and of the holder. */
static void test_many_files_of_a_member(void **state)
{
    const char *path = unit_path(unit_disk, "many");
    daxpin_file_t *files[RENDEZVOUS_FILES];
    char name[PATH_MAX];
    child_t member;
    int alone, i;

    rendezvous_dir();
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        snprintf(name, sizeof(name), "%s.%d", path, i);
        files[i] = unit_open(name, UNIT_LENGTH);
    }
    alone = unit_count_fds();
    child_spawn(&member, "collector", path, NULL);
    assert_in_range(child_answer(&member, CHILD_WAIT_MS), 1,
                    (unit_is_dax(unit_disk) ? 7 : 3) * (RENDEZVOUS_FILES - 1));
    /* And those of the child's pipes, and the reserve */
    assert_in_range(unit_count_fds() - alone, 1, RENDEZVOUS_FILES + 4);
    child_finish(&member);
    for (i = 0; i < RENDEZVOUS_FILES; ++i) {
        daxpin_file_close(files[i]);
    }
    (void)state;
}

/* Take all locks on what a member has received that it can take. */
static void rendezvous_lock(const char *name)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd            = open(name, O_RDWR | O_CLOEXEC);

    (void)flock(fd, LOCK_EX | LOCK_NB);
    (void)fcntl(fd, F_OFD_SETLK, &lock);
    lock.l_start = (off_t)1 << 33; /* beyond what is locked */
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

/* Lock the control page and the roster of a file, as a member. The argument is
 * the path. */
static int rendezvous_locker_child(int argc, char **argv)
{
    char name[64], target[PATH_MAX];
    daxpin_file_t *file;
    int ret = daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file), fd;
    ssize_t length;

    (void)argc;
    for (fd = 0; (ret == 0) && (fd < 256); ++fd) {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        length = readlink(name, target, sizeof(target) - 1);
        target[(length > 0) ? length : 0] = '\0';
        if ((strstr(target, "daxpin-control") != NULL) ||
            (strstr(target, ".lock") != NULL)) {
            rendezvous_lock(name);
        }
    }
    child_report(ret, "locked");
    child_wait();
    daxpin_file_close(file);
    return ret;
}

/* A member that locks for itself what it has received does not keep others from
 * joining, nor the holder from working. */
static void test_locked_roster(void **state)
{
    const char *path = unit_path(unit_disk, "page");
    daxpin_file_t *file;
    child_t locker, child;

    rendezvous_dir();
    file = unit_open(path, UNIT_LENGTH);
    child_spawn(&locker, "locker", path, NULL);
    assert_int_equal(child_answer(&locker, CHILD_WAIT_MS), 0);
    member_start_open(&child, path);
    child_finish(&locker);
    intruder_run("truncate", path, 0, 2000);
    assert_member_becomes(&child, REVOKED);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"squat", rendezvous_squat_child},
        {"abstract", rendezvous_abstract_child},
        {"unmapped", rendezvous_unmapped_child},
        {"elsewhere", rendezvous_member_child},
        {"flood", rendezvous_flood_child},
        {"collector", rendezvous_collector_child},
        {"locker", rendezvous_locker_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_directory_that_is_not_ours),
        unit_case(test_directory_is_squatted),
        unit_case(test_guessable_name),
        unit_case(test_unmapped_user),
        unit_case(test_mapped_nobody),
        unit_case(test_no_descriptor_for_directory),
        unit_case(test_network_namespaces),
        unit_case(test_directory_is_not_shared),
        unit_case(test_pid_namespaces),
        unit_case(test_killed_holders),
        unit_case(test_removed_names),
        unit_case(test_unreadable_names),
        unit_case(test_removed_and_taken),
        unit_case(test_fork_keeps_the_address),
        unit_case(test_full_queue),
        unit_case(test_no_descriptors),
        unit_case(test_address_gets_a_door),
        unit_case(test_no_links),
        unit_case(test_door_is_removed),
        unit_case(test_many_files),
        unit_case(test_many_files_of_a_member),
        unit_case(test_locked_roster)
    };

    return unit_main("rendezvous", argc, argv, children, tests);
}
