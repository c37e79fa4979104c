/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A user with 65,536 user IDs attacks the guard daemon and the pin module for a
 * while: processes that connect, guard, pin, and die; floods; sockets that linger;
 * file systems that do not answer. Meanwhile a job of another user goes on, new
 * jobs begin, and root truncates files that nobody guards. In the end the daemon
 * is to end at once, in the middle of it.
 *
 * usage: attack GUARDD DIRECTORY      (as root, on fsdax; no other daemon may run)
 *
 *   DAXPIN_VM_ATTACK  how long, in seconds; default: 600
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "daemon.h"
#include "hostile.h"

#include "daxpin/access.h"
#include "wire/ioctl.h"
#include <daxpin.h>

#include <grp.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PAGE      4096
#define LENGTH    (64 * PAGE)
#define START     (16 * PAGE)
#define END       (32 * PAGE)
#define PUNCH     (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

#define HOSTILE   1000
#define OWNER     1001 /* of the job */
#define NEIGHBOUR 1002 /* has a new job now and then */
#define CGROUP    "/sys/fs/cgroup/user/cgroup.procs" /* of the hostile user */
#define SUBUIDS   65536
#define SUBUID    100000 /* the first of them */

/* Of the hostile user's processes, and of what they do */
#define PROCESSES 300
#define BOMBS     3
#define CLIENT_MS 200

/* Shared by all processes of the test but those of the hostile user */
typedef struct board {
    atomic_int  stop;
    atomic_uint puts;
    atomic_uint lost;
    atomic_uint refused;     /* an access, because the file was revoked */
    atomic_uint unguarded;   /* how often the job was seen without the guard */
    atomic_uint truncates;   /* of root's */
    atomic_int  truncate_error;
    atomic_uint jobs;        /* new ones */
    atomic_uint jobs_guarded;
    atomic_int  jobs_error;
} board_t;

/* Counts of what the hostile user has done, which that user can write to */
typedef struct deeds {
    atomic_uint clients, pins, lingering, fuse, uids;
} deeds_t;

static const char *directory;
static board_t    *board;
static deeds_t    *deeds;

static void *share(size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
}

static int become(uid_t uid)
{
    return ((setgroups(0, NULL) == 0) && (setgid(uid) == 0) &&
            (setuid(uid) == 0)) ? 0 : -1;
}

/* Start a child that has no descendants after its end. */
static pid_t start(void (*run)(void))
{
    const pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run();
        _exit(0);
    }
    return pid;
}

/*
 * The jobs, and root
 */

static void as_user(uid_t uid)
{
    char dir[PATH_MAX];

    snprintf(dir, sizeof(dir), "/run/daxpin-attack-%d", (int)uid);
    setenv("DAXPIN_RUNTIME_DIR", dir, 1);
    if (((mkdir(dir, 0700) != 0) && (errno != EEXIST)) ||
        (chown(dir, uid, uid) != 0) || (become(uid) != 0)) {
        fprintf(stderr, "# %s: %m\n", dir);
        _exit(1);
    }
}

static daxpin_file_t *job_open(uid_t uid, const char *name, daxpin_pin_t **pin)
{
    char path[PATH_MAX];
    daxpin_file_t *file;

    snprintf(path, sizeof(path), "%s/%d/%s", directory, (int)uid, name);
    if ((daxpin_file_open(path, LENGTH, NULL, &file) != 0) ||
        (daxpin_pin(file, START, END - START, NULL, pin) != 0)) {
        fprintf(stderr, "# %s: %s\n", path, daxpin_errormsg());
        return NULL;
    }
    return file;
}

/* Write a number to each word in turn, having read what was there. */
static int job_put(daxpin_access_t *access, char *memory, uint64_t number)
{
    const uint64_t words = (END - START) / sizeof(number);
    const uint64_t at    = START + (number % words) * sizeof(number);
    volatile uint64_t *word = (volatile uint64_t*)(void*)(memory + at);
    uint64_t before;

    if (daxpin_access_begin(access) != 0) {
        return -1;
    }
    before = *word;
    *word  = number;
    if (daxpin_access_end(access, at, sizeof(number)) != 0) {
        return -1;
    }
    if ((number >= words) && (before != number - words)) {
        atomic_fetch_add(&board->lost, 1);
    }
    atomic_fetch_add(&board->puts, 1);
    return 0;
}

static void run_job(void)
{
    daxpin_access_t access;
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    uint64_t number = 0;
    char *memory;

    as_user(OWNER);
    file = job_open(OWNER, "job", &pin);
    if (file == NULL) {
        _exit(1);
    }
    memory = daxpin_file_addr(file, 0, LENGTH);
    daxpin_access_init(file, daxpin_slot_get(), &access);
    while (!atomic_load(&board->stop)) {
        if (job_put(&access, memory, number) != 0) {
            atomic_fetch_add(&board->refused, 1);
            _exit(1);
        }
        if (++number % 256 == 0) {
            atomic_fetch_add(&board->unguarded, !(daxpin_file_locks(file) &
                                                  DAXPIN_LOCK_GUARD));
            pause_ms(5);
        }
    }
    _exit(daxpin_file_state(file) != DAXPIN_STATE_HELD);
}

static void run_new_job(void)
{
    daxpin_file_t *file;
    daxpin_pin_t *pin;

    as_user(NEIGHBOUR);
    file = job_open(NEIGHBOUR, "job", &pin);
    if (file == NULL) {
        _exit(1);
    }
    atomic_fetch_add(&board->jobs_guarded,
                     (daxpin_file_locks(file) & DAXPIN_LOCK_GUARD) != 0);
    daxpin_unpin(pin);
    daxpin_file_close(file);
}

static void run_new_jobs(void)
{
    int status;

    while (!atomic_load(&board->stop)) {
        if ((waitpid(start(run_new_job), &status, 0) < 0) || (status != 0)) {
            atomic_store(&board->jobs_error, 1 + status);
            _exit(1);
        }
        atomic_fetch_add(&board->jobs, 1);
        pause_ms(500);
    }
}

/* Do to a file what the guard may refuse. Return 0 or an errno value. */
static int cut(const char *path)
{
    int fd    = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
        error = 0;

    if ((fd < 0) || (ftruncate(fd, LENGTH) != 0) ||
        (pwrite(fd, "r", 1, START) != 1) ||
        (fallocate(fd, PUNCH, START, PAGE) != 0) ||
        (ftruncate(fd, PAGE) != 0) || (truncate(path, 0) != 0)) {
        error = errno;
    }
    close(fd);
    return error;
}

static void run_root(void)
{
    char path[PATH_MAX];
    int error = 0;

    snprintf(path, sizeof(path), "%s/root", directory);
    while (!atomic_load(&board->stop) && (error == 0)) {
        error = cut(path);
        atomic_fetch_add(&board->truncates, 1);
        pause_ms(1);
    }
    atomic_store(&board->truncate_error, error);
}

/*
 * The hostile user. All of it is in a user namespace with many user IDs, and in a
 * PID namespace, whose first process takes all others with it.
 */

/* Take one of the many user IDs. */
static void take_uid(void)
{
    const uid_t uid = (uid_t)(1 + random() % (SUBUIDS - 1));

    if (setresuid(uid, uid, uid) == 0) {
        atomic_fetch_add(&deeds->uids, 1);
    }
}

/* Return a file of this user ID's, under lease and without a name; or -1. */
static int leased_file(void)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/open/%d.%d",
             (random() % 2) ? directory : "/dev/shm", (int)getuid(),
             (int)getpid());
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!ftruncate(fd, LENGTH);
        unlink(path);
        (void)fcntl(fd, F_SETLEASE, F_WRLCK);
    }
    return fd;
}

/* Pin, export, and call the module with nonsense. */
static void abuse_module(int fd)
{
    char *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                        0);
    struct daxpin_ioc_pin args = { .addr   = (uintptr_t)memory,
                                   .length = LENGTH,
                                   .fd     = fd };
    char nonsense[128];
    size_t k;
    int device, i;

    for (i = 0; i < 8; ++i) {
        device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
        if (device < 0) {
            return;
        }
        for (k = 0; k < sizeof(nonsense); ++k) {
            nonsense[k] = (char)random();
        }
        atomic_fetch_add(&deeds->pins,
                         ioctl(device, DAXPIN_IOC_PIN, &args) == 0);
        (void)ioctl(device, DAXPIN_IOC_PIN + (unsigned long)(random() % 3),
                    nonsense);
        (void)!mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, device, 0);
    }
}

/* One of the fork bomb's: a client that does some of what a client does, and
 * something else. */
static void be_client(void)
{
    const daxpin_guard_range_t range = {START, END};
    char nonsense[512];
    int fd, conns[8], i;

    srandom((unsigned)getpid());
    take_uid();
    fd = leased_file();
    for (i = 0; i < 8; ++i) {
        conns[i] = dial_now();
        say(conns[i], DAXPIN_GUARD_FILE, NULL, 0,
            (random() % 8) ? fd : conns[0]);
        say(conns[i], DAXPIN_GUARD_ADD, &range, 1, (random() % 8) ? -1 : fd);
        if (random() % 8 == 0) {
            memset(nonsense, (int)random(), sizeof(nonsense));
            send(conns[i], nonsense, (size_t)(random() % 512), MSG_NOSIGNAL);
        }
    }
    atomic_fetch_add(&deeds->clients, 1);
    if ((fd >= 0) && (random() % 2)) {
        abuse_module(fd);
    }
    if (random() % 2) {
        pause_ms(random() % CLIENT_MS);
    }
}

/* Fork for as long as the kernel lets it, and kill some. */
static void run_bomb(void)
{
    pid_t pid;

    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        pid = start(be_client);
        if (pid < 0) {
            pause_ms(10);
        } else if (random() % 4 == 0) {
            pause_ms(random() % 5);
            kill(pid, SIGKILL);
        }
    }
}

static void run_flood(void)
{
    take_uid();
    flood();
}

static void run_lingering(void)
{
    char byte;
    int ready[2];
    pid_t pid;

    take_uid();
    for (;;) {
        if (pipe(ready) != 0) {
            _exit(1);
        }
        pid = fork();
        if (pid == 0) {
            pass_lingering(ready[1]);
        }
        close(ready[1]);
        atomic_fetch_add(&deeds->lingering,
                         (pid > 0) && (read(ready[0], &byte, 1) == 1));
        close(ready[0]);
        pause_ms(100);
        kill((pid > 0) ? pid : getpid(), SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

/* Pass files of a file system that does not answer, again and again. */
static void run_fuse(void)
{
    pid_t server;
    int fd, conns[12], i;

    if ((unshare(CLONE_NEWNS) != 0) ||
        (mount("none", "/tmp", "tmpfs", 0, NULL) != 0)) {
        _exit(1);
    }
    for (;;) {
        fd = open_fuse("/tmp/fuse", 0, &server);
        if (fd < 0) {
            fprintf(stderr, "# no file system of the hostile user's: %m\n");
            _exit(1);
        }
        for (i = 0; i < 12; ++i) {
            conns[i] = dial();
            say(conns[i], DAXPIN_GUARD_FILE, NULL, 0, fd);
        }
        atomic_fetch_add(&deeds->fuse, 1);
        pause_ms(300);
        for (i = 0; i < 12; ++i) {
            close(conns[i]);
        }
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        close(fd);
        umount2("/tmp/fuse", MNT_DETACH);
    }
}

/* All of it, as root of the user namespace, and as the first process */
static void attack(void)
{
    int i;

    /* Another user ID clears PR_SET_PDEATHSIG */
    if ((setresgid(0, 0, 0) != 0) || (setresuid(0, 0, 0) != 0) ||
        (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)) {
        _exit(1);
    }
    start(run_lingering);
    start(run_fuse);
    start(run_flood);
    for (i = 0; i < BOMBS; ++i) {
        start(run_bomb);
    }
    for (;;) {
        pause_ms(1000);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}

/* Become the hostile user, and the root of a user namespace when its user IDs are
 * there. The limit of processes is the user's, and that of all in the namespace:
 * otherwise the machine has no memory left. */
static void become_hostile(int ready, int go)
{
    const struct rlimit processes = {PROCESSES, PROCESSES};
    int group                     = open(CGROUP, O_WRONLY | O_CLOEXEC);
    char byte;

    if ((write(group, "0", 1) != 1) ||
        (setrlimit(RLIMIT_NPROC, &processes) != 0) ||
        (become(HOSTILE) != 0) || (prctl(PR_SET_DUMPABLE, 1) != 0) ||
        (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)) {
        fprintf(stderr, "# no user namespace: %m\n");
        _exit(1);
    }
    if ((write(ready, "", 1) != 1) || (read(go, &byte, 1) != 1)) {
        _exit(1);
    }
    waitpid(start(attack), NULL, 0);
    _exit(1);
}

/* As newuidmap(1) and newgidmap(1) do for a user with subordinate IDs */
static int map_ids(pid_t pid, const char *name)
{
    char path[64], map[64];
    int fd, ret;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    snprintf(map, sizeof(map), "0 %d %d\n", SUBUID, SUBUIDS);
    fd  = open(path, O_WRONLY | O_CLOEXEC);
    ret = (write(fd, map, strlen(map)) == (ssize_t)strlen(map)) ? 0 : -1;
    close(fd);
    return ret;
}

/* Start the attack. Return its process, or 0 with `why` set. */
static pid_t start_attack(void)
{
    char byte;
    int ready[2], go[2];
    pid_t pid;

    if ((pipe(ready) != 0) || (pipe(go) != 0)) {
        return 0;
    }
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        close(go[1]);
        become_hostile(ready[1], go[0]);
    }
    close(ready[1]);
    close(go[0]);
    if ((read(ready[0], &byte, 1) != 1) || (map_ids(pid, "uid_map") != 0) ||
        (map_ids(pid, "gid_map") != 0) || (write(go[1], "", 1) != 1)) {
        snprintf(why, sizeof(why), "no user with many user IDs: %s",
                 strerror(errno));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pid = 0;
    }
    close(ready[0]);
    close(go[1]);
    return pid;
}

/*
 * Tests
 */

enum { JOB, NEW_JOBS, ROOT, CHILDREN };

static pid_t children[CHILDREN];
static pid_t attacker;
static double seconds = 600;

/* Return whether a child has ended, and note that. */
static int has_ended(int child)
{
    if ((children[child] > 0) &&
        (waitpid(children[child], NULL, WNOHANG) == children[child])) {
        children[child] = 0;
    }
    return children[child] == 0;
}

static int make_directory(const char *where, const char *name, uid_t uid,
                          mode_t mode)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", where, name);
    return ((mkdir(path, mode) == 0) && (chmod(path, mode) == 0) &&
            (chown(path, uid, uid) == 0)) ? 0 : -1;
}

static void test_start(void)
{
    int i;

    CHECK((make_directory(directory, "1001", OWNER, 0700) == 0) &&
          (make_directory(directory, "1002", NEIGHBOUR, 0700) == 0) &&
          (make_directory(directory, "open", 0, 01777) == 0) &&
          ((make_directory("/dev/shm", "open", 0, 01777) == 0) ||
           (errno == EEXIST)), "directories: %m");
    CHECK(daemon_start(), "the daemon does not start");
    children[JOB] = start(run_job);
    for (i = 0; (i < 3000) && (atomic_load(&board->puts) == 0); ++i) {
        pause_ms(20);
    }
    CHECK(atomic_load(&board->puts) > 0, "the job does not begin");
    children[NEW_JOBS] = start(run_new_jobs);
    children[ROOT]     = start(run_root);
    attacker           = start_attack();
}

/* Return whether the job, new jobs and root have gone on since the last call. */
static int go_on(void)
{
    static unsigned puts, jobs, truncates;
    const int moved = (board->puts > puts) && (board->jobs > jobs) &&
                      (board->truncates > truncates);

    puts      = board->puts;
    jobs      = board->jobs;
    truncates = board->truncates;
    return moved;
}

static void test_attack(void)
{
    const double begin = now();
    int looks;

    for (looks = 1; now() - begin < seconds; ++looks) {
        pause_ms(10000);
        CHECK(!has_ended(JOB), "the job has ended: %u accesses refused",
              atomic_load(&board->refused));
        CHECK(!has_ended(NEW_JOBS), "a new job has failed: %d",
              atomic_load(&board->jobs_error));
        CHECK(!has_ended(ROOT), "root cannot truncate a file that nobody "
              "guards: %s", strerror(atomic_load(&board->truncate_error)));
        CHECK(waitpid(daemon_pid, NULL, WNOHANG) == 0, "the daemon has ended");
        CHECK(waitpid(attacker, NULL, WNOHANG) == 0, "the attack has ended");
        CHECK((looks % 6 != 0) || go_on(),
              "for a minute: %u puts, %u new jobs, "
              "%u files cut by root",
              board->puts, board->jobs, board->truncates);
    }
    printf("# %.0f s: %u clients, %u changes of user ID, %u pins, %u times "
           "sockets that linger, %u file systems\n", now() - begin,
           deeds->clients, deeds->uids, deeds->pins, deeds->lingering,
           deeds->fuse);
    printf("# beside it: %u puts, %u of %u looks without the guard; %u new jobs, "
           "%u of them guarded; %u files cut by root\n", board->puts,
           board->unguarded, board->puts / 256, board->jobs,
           board->jobs_guarded, board->truncates);
    CHECK(board->lost == 0, "%u puts were lost", board->lost);
    CHECK((deeds->clients > 0) && (deeds->uids > 0) && (deeds->lingering > 0) &&
          (deeds->fuse > 0), "some of it was not tried");
    CHECK((access(DAXPIN_DEVICE, F_OK) != 0) || (deeds->pins > 0),
          "the module was not tried");
    CHECK((board->jobs > 0) && (board->truncates > 0), "nothing was beside it");
}

/* The attack goes on meanwhile. Its bound is that of systemd, for a machine that
 * is emulated many times slower. */
static void test_end(void)
{
    const double begin = now();
    char path[PATH_MAX];
    unsigned puts;
    int i, status;

    CHECK(attacker > 0, "there was no attack");
    kill(daemon_pid, SIGTERM);
    for (i = 0; (i < 3000) && (waitpid(daemon_pid, NULL, WNOHANG) == 0); ++i) {
        pause_ms(20);
    }
    printf("# the daemon has ended %.1f s after SIGTERM\n", now() - begin);
    CHECK(i < 3000, "it has not ended");
    puts = atomic_load(&board->puts);
    for (i = 0; (i < 3000) && (atomic_load(&board->puts) < puts + 1000); ++i) {
        pause_ms(20);
    }
    CHECK(i < 3000, "the job does not go on without it");
    kill(attacker, SIGKILL);
    waitpid(attacker, NULL, 0);
    attacker = 0;
    atomic_store(&board->stop, 1);
    CHECK((waitpid(children[JOB], &status, 0) > 0) && (status == 0),
          "the job has lost its file: %d", status);
    children[JOB] = 0;
    CHECK(board->lost == 0, "%u puts were lost", board->lost);
    snprintf(path, sizeof(path), "%s/%d/job", directory, OWNER);
    for (i = 0; (i < 3000) && (truncate(path, 0) != 0); ++i) {
        pause_ms(20);
    }
    CHECK(i < 3000, "its file is guarded still: %m");
}

int main(int argc, char **argv)
{
    const char *length = getenv("DAXPIN_VM_ATTACK");
    int i;

    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGIO, SIG_IGN);
    if (argc != 3) {
        fprintf(stderr, "usage: attack GUARDD DIRECTORY (as root)\n");
        return 2;
    }
    guardd      = argv[1];
    directory   = argv[2];
    socket_path = "/run/daxpin-test-guard";
    board       = share(sizeof(*board));
    deeds       = share(sizeof(*deeds));
    seconds     = (length != NULL) ? atof(length) : seconds;
    setenv("DAXPIN_GUARD_SOCKET", socket_path, 1);
    chmod(directory, 0711);
    if (run("attack: it begins", test_start) == 0) {
        run("attack: a job, new jobs and root go on", test_attack);
        run("attack: the daemon ends in the middle of it", test_end);
    }
    atomic_store(&board->stop, 1);
    if (attacker > 0) {
        kill(attacker, SIGKILL);
    }
    for (i = 0; i < CHILDREN; ++i) {
        if (children[i] > 0) {
            kill(children[i], SIGKILL);
        }
    }
    return failed;
}
