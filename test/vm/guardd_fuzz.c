/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Random messages to the guard daemon by several processes of an ordinary user,
 * with whatever descriptors there are, beside another user's guarded file. That
 * stays guarded, and at the end the daemon has nothing left of all.
 *
 * usage: guardd_fuzz SOCKET DIRECTORY  (as root, in the virtual machine, while the
 *                                       daemon listens at SOCKET with
 *                                       --max-clients 100 --max-ranges 1000)
 *
 *   DAXPIN_GUARD_CALLS  messages; default: 4000
 *   DAXPIN_GUARD_SEED   repeats a run, as far as several processes can
 */

#define _GNU_SOURCE

#include "hostile.h"
#include "../guard_fuzz.h"

#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#define USER        1000
#define PROCESSES   4
#define CONNS       32 /* of each process: all together more than the limit */
#define OWN         4  /* files of each process */
#define MAX_CLIENTS 100
#define MAX_RANGES  1000
#define PAGE        GUARD_FUZZ_PAGE
#define FILE_SIZE   (32 * PAGE)
#define START       (16 * PAGE) /* of the other user's range */
#define END         (24 * PAGE)
#define THINGS      32
#define SECONDS     1000
#define GROWTH_KB   256 /* of the daemon, in the second half of all messages */

typedef struct fuzz {
    int      conns[CONNS]; /* -1: none */
    int      file;         /* the newest one of its own; -1: none */
    unsigned number;       /* of the process */
    uint64_t state;        /* of the random numbers */
} fuzz_t;

typedef struct counts {
    _Atomic long sent;
    _Atomic long passed;  /* with descriptors */
    _Atomic long guarded; /* files */
} counts_t;

static const char *directory;
static counts_t   *counts;
static int        things[THINGS]; /* descriptors of all kinds */
static int        thing_count;

static uint32_t dice(fuzz_t *fuzz, uint32_t sides)
{
    return guard_fuzz_dice(&fuzz->state, sides);
}

/*
 * What is passed
 */

static void add_thing(int fd)
{
    if ((fd >= 0) && (thing_count < THINGS - 1)) {
        things[thing_count++] = fd;
    }
}

/* Open a file in the directory, which any user may write. */
static int open_file(const char *name, int flags)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, flags | O_CLOEXEC, 0666);
    if ((flags & O_CREAT) && ((fchmod(fd, 0666) != 0) ||
                              (ftruncate(fd, FILE_SIZE) != 0))) {
        return -1;
    }
    return fd;
}

/* Return an end of a pair of sockets whose other end has sent itself. */
static int circle(void)
{
    int ends[2];

    if ((socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) ||
        !say(ends[0], DAXPIN_GUARD_FILE, NULL, 0, ends[0])) {
        return -1;
    }
    close(ends[0]);
    return ends[1];
}

/* Make what is not the file of anybody's job. */
static void make_things(void)
{
    int ends[2];

    add_thing(open_file("other", O_RDWR | O_CREAT));
    add_thing(open_file("other", O_RDONLY));
    add_thing(open_file("other", O_WRONLY));
    add_thing(open_file("other", O_PATH));
    add_thing(open("/proc/self/status", O_RDONLY));
    add_thing(open("/proc/self/comm", O_RDWR));
    add_thing(open("/sys/kernel/mm", O_RDONLY | O_DIRECTORY));
    add_thing(open("/dev/null", O_RDWR));
    add_thing(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    add_thing(memfd_create("fuzz", 0));
    add_thing(eventfd(0, EFD_NONBLOCK));
    add_thing(epoll_create1(0));
    add_thing(inotify_init1(0));
    add_thing(timerfd_create(CLOCK_MONOTONIC, 0));
    add_thing((int)syscall(SYS_pidfd_open, getpid(), 0));
    if (pipe(ends) == 0) {
        add_thing(ends[0]);
        add_thing(ends[1]);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) {
        add_thing(ends[0]);
    }
    add_thing(socket(AF_INET, SOCK_DGRAM, 0));
    add_thing(circle());
}

/* Return any descriptor. Some are invalid, with which nothing is sent. */
static int any(fuzz_t *fuzz)
{
    switch (dice(fuzz, 8)) {
    case 0:
        return fuzz->conns[dice(fuzz, CONNS)];
    case 1:
    case 2:
        return fuzz->file;
    default:
        return things[dice(fuzz, (uint32_t)thing_count)];
    }
}

/*
 * A process
 */

/* Put a connection in the place of another one, which ends. */
static void put_conn(fuzz_t *fuzz, unsigned slot, int conn)
{
    if (fuzz->conns[slot] >= 0) {
        close(fuzz->conns[slot]);
    }
    fuzz->conns[slot] = conn;
}

static void fuzz_connect(fuzz_t *fuzz, unsigned slot)
{
    put_conn(fuzz, slot, -1);
    put_conn(fuzz, slot, dial_now());
    if (fuzz->conns[slot] < 0) {
        pause_ms(1); /* The daemon has others to serve first */
    }
}

static void open_own(fuzz_t *fuzz)
{
    char name[32];

    if (fuzz->file >= 0) {
        close(fuzz->file);
    }
    snprintf(name, sizeof(name), "own.%u.%u", fuzz->number, dice(fuzz, OWN));
    fuzz->file = open_file(name, O_RDWR | O_NONBLOCK);
}

/* Guard a file as a job does, so that there is something to spoil. */
static void fuzz_guard(fuzz_t *fuzz, unsigned slot)
{
    const struct timeval bound = {.tv_sec = 2};
    int conn;

    fuzz_connect(fuzz, slot);
    conn = fuzz->conns[slot];
    open_own(fuzz);
    if ((conn < 0) || (fuzz->file < 0)) {
        return;
    }
    setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    fcntl(fuzz->file, F_SETLEASE, F_WRLCK);
    if (ask(conn, DAXPIN_GUARD_FILE, NULL, 0, fuzz->file) == 0) {
        ++counts->guarded;
    }
    ++counts->sent;
    ++counts->passed;
}

/* Add descriptors, or proof of who sends. The file of a job comes often. */
static void fuzz_ancillary(fuzz_t *fuzz, struct msghdr *header)
{
    static union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(300 * sizeof(int))];
    } ancillary;
    const struct ucred proof = {getpid(), getuid(), getgid()};
    unsigned count = 1, i;
    int fds[300];

    switch (dice(fuzz, 8)) {
    case 0:
        count = 2 + dice(fuzz, 30);
        break;
    case 1:
        count = 1 + dice(fuzz, 300); /* The kernel lets 253 pass */
        break;
    default:
        break;
    }
    for (i = 0; i < count; ++i) {
        fds[i] = any(fuzz);
    }
    ancillary.header.cmsg_level = SOL_SOCKET;
    if (dice(fuzz, 16)) {
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len  = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), fds, count * sizeof(int));
    } else {
        ancillary.header.cmsg_type = SCM_CREDENTIALS;
        ancillary.header.cmsg_len  = CMSG_LEN(sizeof(proof));
        memcpy(CMSG_DATA(&ancillary.header), &proof, sizeof(proof));
    }
    header->msg_control    = &ancillary;
    header->msg_controllen = CMSG_ALIGN(ancillary.header.cmsg_len);
}

static void fuzz_hear(int conn)
{
    daxpin_guard_head_t answer;
    int i;

    for (i = 0; (i < 64) && (recv(conn, &answer, sizeof(answer),
                                  MSG_DONTWAIT) > 0); ++i) {
    }
}

/* Send a message. A connection that has ended begins again. */
static void fuzz_send(fuzz_t *fuzz, unsigned slot, int with)
{
    static guard_fuzz_t message;
    struct iovec iov     = {.iov_base = &message};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    iov.iov_len = (with && dice(fuzz, 2)) ?
                          guard_fuzz_valid(&fuzz->state, DAXPIN_GUARD_FILE,
                                           &message) :
                          guard_fuzz_make(&fuzz->state, &message);
    if (with) {
        fuzz_ancillary(fuzz, &header);
    }
    if (sendmsg(fuzz->conns[slot], &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        ++counts->sent;
        counts->passed += with;
    } else if (errno == EAGAIN) {
        fuzz_hear(fuzz->conns[slot]);
        pause_ms(1);
    } else if ((errno == EPIPE) || (errno == ECONNRESET) ||
               (fuzz->conns[slot] < 0)) {
        fuzz_connect(fuzz, slot);
    }
}

/* Do something with the newest file of one's own. */
static void fuzz_file(fuzz_t *fuzz)
{
    const off_t place = (off_t)(dice(fuzz, 32) * PAGE);

    switch (dice(fuzz, 4)) {
    case 0:
        fcntl(fuzz->file, F_SETLEASE, dice(fuzz, 2) ? F_WRLCK : F_UNLCK);
        break;
    case 1:
        (void)!ftruncate(fuzz->file, dice(fuzz, 2) ? place : FILE_SIZE);
        break;
    case 2:
        (void)!fallocate(fuzz->file,
                         FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, place,
                         PAGE);
        break;
    default:
        open_own(fuzz);
        break;
    }
}

static void step(fuzz_t *fuzz)
{
    const unsigned slot = dice(fuzz, CONNS);

    switch (dice(fuzz, 32)) {
    case 0:
        fuzz_guard(fuzz, slot);
        break;
    case 1:
        fuzz_connect(fuzz, slot);
        break;
    case 2:
        put_conn(fuzz, slot, -1);
        break;
    case 3:
        shutdown(fuzz->conns[slot], (int)dice(fuzz, 3));
        break;
    case 4:
    case 5:
        fuzz_file(fuzz);
        break;
    case 6:
    case 7:
    case 8:
        fuzz_send(fuzz, slot, 1);
        break;
    case 9:
    case 10:
    case 11:
        fuzz_hear(fuzz->conns[slot]);
        break;
    default:
        fuzz_send(fuzz, slot, 0);
        break;
    }
}

static int become_user(void)
{
    return ((setgroups(0, NULL) == 0) && (setgid(USER) == 0) &&
            (setuid(USER) == 0)) ? 0 : -1;
}

/* Run until all messages are sent or the time is over. */
static void process(unsigned number, uint64_t seed, long calls, double end)
{
    fuzz_t fuzz = {.file = -1, .number = number, .state = seed};
    int i;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (become_user() != 0) {
        _exit(2);
    }
    for (i = 0; i < CONNS; ++i) {
        fuzz.conns[i] = -1;
    }
    while ((counts->sent < calls) && (now() < end)) {
        step(&fuzz);
    }
    _exit(0);
}

/*
 * The daemon
 */

typedef struct daemon_state {
    pid_t pid;
    int   fds;
    int   children;
    int   pins;    /* of programs in the kernel */
    long  data_kb; /* its own memory */
} daemon_state_t;

static int entries(const char *path)
{
    DIR *dir  = opendir(path);
    int count = 0;

    while ((dir != NULL) && (readdir(dir) != NULL)) {
        ++count;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

static int children_of(pid_t pid)
{
    char path[64], line[4096] = "";
    int count = 0;
    FILE *file;
    char *word;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
             (int)pid);
    file = fopen(path, "r");
    if (file != NULL) {
        (void)!fgets(line, sizeof(line), file);
        fclose(file);
    }
    for (word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
        ++count;
    }
    return count;
}

static long data_of(pid_t pid)
{
    char path[64], line[256];
    long kb = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "r");
    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        (void)sscanf(line, "VmData: %ld", &kb);
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb;
}

static void look_at_daemon(daemon_state_t *state)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)state->pid);
    state->fds      = entries(path);
    state->children = children_of(state->pid);
    state->pins     = entries("/sys/fs/bpf/daxpin-guard");
    state->data_kb  = data_of(state->pid);
}

/* Wait until the daemon has as few descriptors and children as before. It closes
 * by and by. Return whether it has come to that. */
static int settles(daemon_state_t *state, const daemon_state_t *before)
{
    int i;

    for (i = 0; i < 600; ++i) {
        look_at_daemon(state);
        if ((state->fds <= before->fds) && (state->children == 0)) {
            return 1;
        }
        pause_ms(50);
    }
    return 0;
}

/*
 * The job beside, and the test
 */

typedef struct job {
    int  fd;
    int  sock;
    long looks;
} job_t;

/* Guard a file of root's, which the user can open for writing. Its lease is given
 * back, so that opens do not wait. */
static int start_job(job_t *job)
{
    job->fd   = open_file("job", O_RDWR | O_CREAT);
    job->sock = dial();
    if ((job->fd < 0) || (job->sock < 0) ||
        (fcntl(job->fd, F_SETLEASE, F_WRLCK) != 0) ||
        (ask(job->sock, DAXPIN_GUARD_FILE, NULL, 0, job->fd) != 0) ||
        (add(job->sock, START, END) != 0) ||
        (fcntl(job->fd, F_SETLEASE, F_UNLCK) != 0)) {
        snprintf(why, sizeof(why), "the job cannot guard its file: %s",
                 strerror(errno));
        return -1;
    }
    add_thing(open_file("job", O_RDWR));
    add_thing(job->sock);
    return 0;
}

/* Check that the job is served and its file guarded, its range and no more, and
 * that root cuts another file. Say in `why` if not. */
static int job_is_well(job_t *job, int free_fd)
{
    const daxpin_guard_range_t range = {0, PAGE};
    int added, removed, cut, other, behind;

    added   = add(job->sock, range.start, range.end);
    removed = ask(job->sock, DAXPIN_GUARD_REMOVE, &range, 1, -1);
    cut     = (ftruncate(job->fd, END - 1) != 0) ? errno : 0;
    behind  = (ftruncate(job->fd, FILE_SIZE) != 0) ? errno : 0;
    other   = (ftruncate(free_fd, 0) != 0) ? errno : 0;
    ++job->looks;
    if ((added == 0) && (removed == 0) && (cut == ETXTBSY) && (behind == 0) &&
        (other == 0)) {
        return 1;
    }
    snprintf(why, sizeof(why),
             "look %ld: ADD %d, REMOVE %d, truncate %d, behind "
             "the range %d, of another file %d",
             job->looks, added, removed, cut, behind, other);
    return 0;
}

/* Send `calls` messages in all, while the job is looked at. A process that ends waits
 * for the file system that does not answer, until its server has ended. */
static void run_processes(uint64_t seed, long calls, job_t *job, int free_fd)
{
    const double end = now() + SECONDS;
    char where[PATH_MAX];
    pid_t pids[PROCESSES], server = -1;
    unsigned i;
    int silent;

    snprintf(where, sizeof(where), "%s/fuse", directory);
    silent                = open_fuse(where, USER, &server);
    things[thing_count++] = (silent >= 0) ? silent : job->fd;
    for (i = 0; i < PROCESSES; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            process(i, seed + i * 1000003, calls, end);
        }
    }
    do {
        pause_ms(50);
    } while (job_is_well(job, free_fd) && (counts->sent < calls) &&
             (now() < end));
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        umount2(where, MNT_DETACH);
    }
    for (i = 0; i < PROCESSES; ++i) {
        if (why[0] != '\0') {
            kill(pids[i], SIGKILL);
        }
        waitpid(pids[i], NULL, 0);
    }
    close(silent);
    --thing_count;
}

/* Make the files that the processes guard; the user owns them. */
static int make_files(void)
{
    char name[32];
    int i, fd;

    for (i = 0; i < PROCESSES * OWN; ++i) {
        snprintf(name, sizeof(name), "own.%d.%d", i / OWN, i % OWN);
        fd = open_file(name, O_RDWR | O_CREAT);
        if ((fd < 0) || (fchown(fd, USER, USER) != 0)) {
            snprintf(why, sizeof(why), "%s: %s", name, strerror(errno));
            return -1;
        }
        close(fd);
    }
    return 0;
}

/* Check that nothing is guarded of the files that were. */
static void check_files(void)
{
    char name[32];
    int i, fd, error;

    for (i = 0; (i < PROCESSES * OWN) && (why[0] == '\0'); ++i) {
        snprintf(name, sizeof(name), "own.%d.%d", i / OWN, i % OWN);
        fd    = open_file(name, O_RDWR);
        error = (ftruncate(fd, 0) != 0) ? errno : 0;
        if (error != 0) {
            snprintf(why, sizeof(why), "%s cannot be cut: %s", name,
                     strerror(error));
        }
        close(fd);
    }
}

/* Say in the child of a test what fails, and exit. */
#define EXIT_UNLESS(_condition) \
    do { \
        if (!(_condition)) { \
            printf("# line %d: %s: %m\n", __LINE__, #_condition); \
            _exit(1); \
        } \
    } while (0)

/* Use up all that the user may have. Nothing of before counts any more. */
static void use_up_limits(void)
{
    daxpin_guard_range_t ranges[100];
    int socks[MAX_CLIENTS + 1], i;
    const int fd = open_file("own.0.0", O_RDWR);

    EXIT_UNLESS(become_user() == 0);
    for (i = 0; i < 100; ++i) {
        ranges[i] = (daxpin_guard_range_t){(uint64_t)i * 2 * PAGE,
                                           (uint64_t)(i * 2 + 1) * PAGE};
    }
    for (i = 0; i <= MAX_CLIENTS; ++i) {
        socks[i] = dial();
        (void)say(socks[i], DAXPIN_GUARD_HELLO, NULL, 0, -1);
        EXIT_UNLESS(hear(socks[i]) == ((i < MAX_CLIENTS) ? 0 : EUSERS));
    }
    EXIT_UNLESS(fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    EXIT_UNLESS(ask(socks[0], DAXPIN_GUARD_FILE, NULL, 0, fd) == 0);
    for (i = 0; i <= MAX_RANGES / 100; ++i) {
        EXIT_UNLESS(ask(socks[0], DAXPIN_GUARD_ADD, ranges, 100, -1) ==
                    ((i < MAX_RANGES / 100) ? 0 : EDQUOT));
    }
    _exit(0);
}

static void check_limits(void)
{
    const pid_t pid = fork();
    int status      = -1;

    if (pid == 0) {
        use_up_limits();
    }
    waitpid(pid, &status, 0);
    CHECK(status == 0, "a limit of the user is not what it was");
}

/* Check what has become of the daemon in both halves of the messages. */
static void check_daemon(const daemon_state_t *before, uint64_t seed,
                         long calls, job_t *job, int free_fd)
{
    daemon_state_t half = *before, whole = *before;

    run_processes(seed, calls / 2, job, free_fd);
    if (why[0] != '\0') {
        return;
    }
    CHECK(settles(&half, before), "%d descriptors and %d children, %d before",
          half.fds, half.children, before->fds);
    run_processes(seed + 1, calls, job, free_fd);
    if (why[0] != '\0') {
        return;
    }
    CHECK(settles(&whole, before), "%d descriptors and %d children, %d before",
          whole.fds, whole.children, before->fds);
    CHECK(whole.pins == before->pins, "%d pins, %d before", whole.pins,
          before->pins);
    printf("# %ld messages, %ld with descriptors, %ld files guarded, %ld looks "
           "at the job, memory %ld, %ld, %ld KiB, seed %lu\n", counts->sent,
           counts->passed, counts->guarded, job->looks, before->data_kb,
           half.data_kb, whole.data_kb, (unsigned long)seed);
    CHECK(whole.data_kb <= half.data_kb + GROWTH_KB,
          "the daemon has grown from %ld to %ld KiB", half.data_kb,
          whole.data_kb);
    CHECK(counts->sent >= calls, "no more than %ld of %ld messages in %d s",
          counts->sent, calls, SECONDS);
    CHECK((counts->guarded > calls / 400) && (counts->passed > calls / 40),
          "no more than %ld files guarded and %ld descriptors passed",
          counts->guarded, counts->passed);
}

static int daemon_pid(int sock, pid_t *pid_p)
{
    struct ucred daemon;
    socklen_t length = sizeof(daemon);
    const int ret    = getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &daemon,
                                  &length);

    *pid_p = (ret == 0) ? daemon.pid : 0;
    return ret;
}

static void test_fuzz(void)
{
    const char *value = getenv("DAXPIN_GUARD_CALLS");
    const char *start = getenv("DAXPIN_GUARD_SEED");
    const long calls  = (value != NULL) ? atol(value) : 4000;
    const uint64_t seed = (start != NULL) ? strtoull(start, NULL, 0) :
                                            (uint64_t)time(NULL);
    const int free_fd   = open_file("free", O_RDWR | O_CREAT);
    daemon_state_t before;
    job_t job = {.fd = -1};

    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if ((make_files() != 0) || (start_job(&job) != 0)) {
        return;
    }
    make_things();
    CHECK(daemon_pid(job.sock, &before.pid) == 0, "%m");
    look_at_daemon(&before);
    check_daemon(&before, seed, calls, &job, free_fd);
    if (why[0] == '\0') {
        check_files();
    }
    if (why[0] == '\0') {
        check_limits();
    }
    close(job.sock);
    close(job.fd);
}

int main(int argc, char **argv)
{
    const struct rlimit many = {8192, 8192};

    setvbuf(stdout, NULL, _IONBF, 0);
    if ((argc != 3) || (setrlimit(RLIMIT_NOFILE, &many) != 0)) {
        fprintf(stderr, "usage: guardd_fuzz SOCKET DIRECTORY (as root)\n");
        return 2;
    }
    signal(SIGIO, SIG_IGN); /* a lease that breaks */
    socket_path = argv[1];
    directory   = argv[2];
    chmod(directory, 0711);
    run("random messages of an ordinary user", test_fuzz);
    return failed;
}
