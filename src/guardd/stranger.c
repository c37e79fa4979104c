/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Descriptors of strangers */

#include "stranger.h"

#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* Children at the same time, of all users and of one. One that was killed counts
 * until it is gone. */
#define GUARD_CHILDREN      64
#define GUARD_CHILDREN_USER 8

/* Children that are started in one round, because clients wait meanwhile */
#define GUARD_CHILDREN_ROUND 2
#define GUARD_GONE_ROUND     64

/* How long a child may take */
#define GUARD_CHILD_MS 1000

/* Children that close sockets, at the same time */
#define GUARD_CLOSERS 4

/* Messages that are looked at before a socket is closed, for descriptors */
#define GUARD_CLOSE_MESSAGES 64

/* What the kernel passes at once; a message with more cannot be sent */
#define GUARD_FDS_MAX 253

typedef union guard_ancillary {
    struct cmsghdr header;
    char           space[CMSG_SPACE(GUARD_FDS_MAX * sizeof(int))];
} guard_ancillary_t;

/* A message that is to be received, or a child that does so */
typedef struct guard_child {
    TAILQ_ENTRY(guard_child) link;
    pid_t            pid;      /* 0: it waits to be started */
    int              sock;     /* of the client */
    int              answer;   /* from the child; -1: it has answered */
    guard_event_t    event;
    long             deadline; /* ms */
    int              is_late;  /* it is killed */
    guard_user_t     *user;
    guard_proof_cb_t cb;
    void             *arg;     /* NULL: nobody wants to know */
} guard_child_t;

static TAILQ_HEAD(, guard_child) guard_waiting =
        TAILQ_HEAD_INITIALIZER(guard_waiting);
static TAILQ_HEAD(, guard_child) guard_running =
        TAILQ_HEAD_INITIALIZER(guard_running);
static unsigned guard_children;

/* Sockets to close, and which processes do so */
static int      *guard_buried;
static size_t   guard_buried_count;
static size_t   guard_buried_capacity;
static pid_t    guard_closers[GUARD_CLOSERS];

/* A pipe that ends when all children that were started since the last closer
 * have closed what is not theirs; -1: none were */
static int guard_others[2] = {-1, -1};

static void guard_stranger_interrupt(int number)
{
    (void)number;
}

int guard_stranger_init(void)
{
    const struct sigaction interrupt = {
        .sa_handler = guard_stranger_interrupt,
        .sa_flags   = SA_RESTART
    };
    const struct sigaction reap  = {.sa_handler = SIG_DFL};
    const struct itimerval often = {.it_interval = {.tv_sec = 1},
                                    .it_value    = {.tv_sec = 1}};
    sigset_t alarms;

    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    return ((sigaction(SIGCHLD, &reap, NULL) == 0) &&
            (sigaction(SIGALRM, &interrupt, NULL) == 0) &&
            (sigprocmask(SIG_UNBLOCK, &alarms, NULL) == 0) &&
            (setitimer(ITIMER_REAL, &often, NULL) == 0)) ?
                   0 :
                   -errno;
}

int guard_stranger_brings(int sock)
{
    char byte;
    struct iovec iov     = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    int i;

    /* Without room for descriptors, the kernel only says that there are some;
     * they stay with the message. Before any message it tells once of an error:
     * that the client has closed its end without having read all answers. */
    for (i = 0; i < 2; ++i) {
        if (recvmsg(sock, &header, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            return (header.msg_flags & MSG_CTRUNC) != 0;
        }
        if (errno == EAGAIN) {
            return 0;
        }
    }
    return 1; /* What could not be looked at */
}

/*
 * The child
 */

/* Leave nothing of the daemon's open but two descriptors, as 3 and 4. Connections
 * of other clients would not end while the child has them. */
static void guard_child_close_others(int first, int second)
{
    const int low  = fcntl(first, F_DUPFD, 6);
    const int high = fcntl(second, F_DUPFD, 6);
    const int end  = fcntl(guard_others[1], F_DUPFD, 6);

    if ((low < 0) || (high < 0) || (end < 0) || (dup2(low, 3) != 3) ||
        (dup2(high, 4) != 4) || (dup2(end, 5) != 5) ||
        (close_range(6, ~0u, 0) != 0) || (close(5) != 0)) {
        _exit(1);
    }
}

/* Receive the message. Return its first descriptor or -1. */
static int guard_child_take(int sock)
{
    guard_ancillary_t ancillary;
    char byte;
    struct iovec iov     = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    struct cmsghdr *first;
    int fd;

    if (recvmsg(sock, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) {
        return -1;
    }
    first = CMSG_FIRSTHDR(&header);
    if ((first == NULL) || (first->cmsg_level != SOL_SOCKET) ||
        (first->cmsg_type != SCM_RIGHTS) ||
        (first->cmsg_len < CMSG_LEN(sizeof(fd)))) {
        return -1;
    }
    memcpy(&fd, CMSG_DATA(first), sizeof(fd));
    return fd;
}

/* Open by descriptor with O_PATH: this breaks no lease, and needs no name. */
static int guard_child_open_path(int fd)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_PATH | O_CLOEXEC);
}

/* Find out what the daemon has to know. Return a path descriptor or -1. */
static int guard_child_prove(int fd, guard_proof_t *proof)
{
    struct stat st;
    int path_fd;

    proof->error = EPERM;
    if ((fd < 0) || ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) ||
        (fstat(fd, &st) != 0) || !S_ISREG(st.st_mode)) {
        return -1;
    }
    proof->has_lease = fcntl(fd, F_GETLEASE) == F_WRLCK;
    proof->dev       = st.st_dev;
    proof->ino       = st.st_ino;
    proof->owner     = st.st_uid;
    path_fd          = guard_child_open_path(fd);
    proof->error     = (path_fd < 0) ? errno : 0;
    return path_fd;
}

static void guard_child_answer(int answer, const guard_proof_t *proof,
                               int path_fd)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } ancillary          = {.space = {0}};
    struct iovec iov     = {.iov_base = (void*)proof,
                            .iov_len  = sizeof(*proof)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (path_fd >= 0) {
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type  = SCM_RIGHTS;
        ancillary.header.cmsg_len   = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), &path_fd, sizeof(int));
        header.msg_control    = &ancillary;
        header.msg_controllen = sizeof(ancillary);
    }
    (void)sendmsg(answer, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void guard_child_run(int sock, int answer, pid_t daemon)
{
    guard_proof_t proof = {.error = EPERM};
    int fd, path_fd;

    /* Without the daemon nobody ends it, and guard_file_receive lets it have
     * everything */
    if ((prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) || (getppid() != daemon)) {
        _exit(1);
    }
    guard_child_close_others(sock, answer);
    fd      = guard_child_take(3);
    path_fd = guard_child_prove(fd, &proof);
    /* Whoever has the answer can end the lease by closing the file */
    if (fd >= 0) {
        close(fd);
    }
    guard_child_answer(4, &proof, path_fd);
    _exit(0);
}

/*
 * The daemon's side
 */

/* Receive the answer. Return its path descriptor or -1. */
static int guard_stranger_hear(int sock, guard_proof_t *proof)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct iovec iov     = {.iov_base = proof, .iov_len = sizeof(*proof)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    struct cmsghdr *first;
    int fd = -1;

    if (recvmsg(sock, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) !=
        sizeof(*proof)) {
        memset(proof, 0, sizeof(*proof));
        proof->error = EAGAIN; /* The child has died */
        return -1;
    }
    first = CMSG_FIRSTHDR(&header);
    if (first != NULL) {
        memcpy(&fd, CMSG_DATA(first), sizeof(fd));
    }
    if ((fd < 0) && (proof->error == 0)) {
        proof->error = EMFILE;
    }
    return fd;
}

/* Take the child's answer, or that there is none, and tell who asked. */
static void guard_stranger_settle(void *arg)
{
    guard_child_t *child = arg;
    guard_proof_t proof;
    int path_fd;

    if (child->answer < 0) {
        return;
    }
    path_fd = guard_stranger_hear(child->answer, &proof);
    guard_loop_remove(child->answer);
    close(child->answer);
    child->answer = -1;
    if (child->arg != NULL) {
        child->cb(child->arg, &proof, path_fd);
    } else if (path_fd >= 0) {
        close(path_fd);
    }
}

static void guard_stranger_free(guard_child_t *child)
{
    guard_user_release(child->user);
    free(child);
}

/* Return whether the client has gone, so that nobody waits for an answer. */
static int guard_stranger_is_gone(const guard_child_t *child)
{
    struct pollfd sock = {.fd = child->sock};

    return (poll(&sock, 1, 0) == 1) && (sock.revents & (POLLHUP | POLLERR));
}

static int guard_stranger_start(guard_child_t *child)
{
    const pid_t daemon = getpid();
    int socks[2], ret;

    if ((guard_others[0] < 0) && (pipe2(guard_others, O_CLOEXEC) != 0)) {
        return -errno;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0) {
        return -errno;
    }
    child->answer      = socks[0];
    child->event.ready = guard_stranger_settle;
    child->event.arg   = child;
    ret                = guard_loop_add(child->answer, &child->event);
    child->pid         = (ret == 0) ? fork() : -1;
    if (child->pid == 0) {
        guard_child_run(child->sock, socks[1], daemon);
    }
    close(socks[1]);
    if (child->pid < 0) {
        ret = (ret == 0) ? -errno : ret;
        guard_loop_remove(child->answer);
        close(child->answer);
        child->pid    = 0;
        child->answer = -1;
        return ret;
    }
    child->deadline = guard_now_ms() + GUARD_CHILD_MS;
    ++guard_children;
    ++child->user->children;
    TAILQ_REMOVE(&guard_waiting, child, link);
    TAILQ_INSERT_TAIL(&guard_running, child, link);
    return 0;
}

int guard_stranger_examine(int sock, guard_user_t *user, guard_proof_cb_t cb,
                           void *arg)
{
    guard_child_t *child = calloc(1, sizeof(*child));

    if (child == NULL) {
        return -ENOMEM;
    }
    child->sock   = sock;
    child->answer = -1;
    child->user   = user;
    child->cb     = cb;
    child->arg    = arg;
    guard_user_keep(user);
    TAILQ_INSERT_TAIL(&guard_waiting, child, link);
    return 0;
}

void guard_stranger_forget(void *arg)
{
    guard_child_t *child, *next;

    TAILQ_FOREACH(child, &guard_running, link) {
        if (child->arg == arg) {
            child->arg = NULL;
        }
    }
    for (child = TAILQ_FIRST(&guard_waiting); child != NULL; child = next) {
        next = TAILQ_NEXT(child, link);
        if (child->arg == arg) {
            TAILQ_REMOVE(&guard_waiting, child, link);
            guard_stranger_free(child);
        }
    }
}

/* Return the next one to start, of a user that has the fewest; NULL if there is
 * none, or no room. */
static guard_child_t *guard_stranger_next(void)
{
    guard_child_t *child, *best = NULL;

    if (guard_children >= GUARD_CHILDREN) {
        return NULL;
    }
    TAILQ_FOREACH(child, &guard_waiting, link) {
        if ((child->user->children < GUARD_CHILDREN_USER) &&
            ((best == NULL) || (child->user->children <
                                best->user->children))) {
            best = child;
        }
    }
    return best;
}

/* Start some. Those whose clients have gone need no child: a flood leaves
 * thousands of them. */
static void guard_stranger_start_some(void)
{
    const guard_proof_t gone = {.error = ECONNRESET};
    guard_child_t *child;
    int started = 0, i;

    for (i = 0; (i < GUARD_GONE_ROUND) && (started < GUARD_CHILDREN_ROUND);
         ++i) {
        child = guard_stranger_next();
        if (child == NULL) {
            return;
        }
        if (!guard_stranger_is_gone(child)) {
            ++started;
            if (guard_stranger_start(child) != 0) {
                return;
            }
        } else {
            TAILQ_REMOVE(&guard_waiting, child, link);
            child->cb(child->arg, &gone, -1);
            guard_stranger_free(child);
        }
    }
}

/* End children that are late, and forget those that have ended. Nobody is told
 * before that: until then a child may take a message of the client's. */
static void guard_stranger_reap(void)
{
    guard_child_t *child, *next;
    const long now = guard_now_ms();

    for (child = TAILQ_FIRST(&guard_running); child != NULL; child = next) {
        next = TAILQ_NEXT(child, link);
        if ((child->answer >= 0) && (now >= child->deadline) &&
            !child->is_late) {
            child->is_late = 1;
            guard_log(LOG_INFO, "user %u has passed something that takes "
                      "too long to look at", (unsigned)child->user->uid);
        }
        if ((child->answer < 0) || child->is_late) {
            (void)kill(child->pid, SIGKILL);
        }
        if (waitpid(child->pid, NULL, WNOHANG) == child->pid) {
            guard_stranger_settle(child);
            --guard_children;
            --child->user->children;
            TAILQ_REMOVE(&guard_running, child, link);
            guard_stranger_free(child);
        }
    }
}

/*
 * Closing
 */

/* Return whether the socket's queue is empty, and stays so: then it is closed at
 * once. */
static int guard_stranger_drain(int sock)
{
    char byte;
    int i;

    shutdown(sock, SHUT_RDWR); /* Nothing more can be sent to it */
    for (i = 0; i < GUARD_CLOSE_MESSAGES; ++i) {
        if (guard_stranger_brings(sock)) {
            return 0;
        }
        if (recv(sock, &byte, 1, MSG_DONTWAIT) <= 0) {
            return 1;
        }
    }
    return 0;
}

void guard_stranger_close(int sock)
{
    size_t capacity = (guard_buried_capacity > 0) ? 2 * guard_buried_capacity :
                                                    64;
    int *buried;

    if (guard_stranger_drain(sock)) {
        close(sock);
        return;
    }
    if (guard_buried_count == guard_buried_capacity) {
        buried = realloc(guard_buried, capacity * sizeof(*buried));
        if (buried == NULL) {
            return; /* It stays open until the daemon ends */
        }
        guard_buried          = buried;
        guard_buried_capacity = capacity;
    }
    guard_buried[guard_buried_count++] = sock;
}

/* Forget the pipe. */
static void guard_stranger_close_others(void)
{
    if (guard_others[0] >= 0) {
        close(guard_others[0]);
        close(guard_others[1]);
    }
    guard_others[0] = -1;
    guard_others[1] = -1;
}

/* Close sockets by the exit of a child: a process that exits does not linger. It
 * has to be the last one that has them: those before it have copies, too. */
static pid_t guard_stranger_fork_closer(void)
{
    size_t i;
    char byte;
    pid_t pid;

    if ((guard_others[0] < 0) && (pipe2(guard_others, O_CLOEXEC) != 0)) {
        return 0;
    }
    pid = fork();
    if (pid == 0) {
        close(guard_others[1]);
        (void)!read(guard_others[0], &byte, 1);
        _exit(0);
    }
    if (pid < 0) {
        return 0;
    }
    for (i = 0; i < guard_buried_count; ++i) {
        close(guard_buried[i]);
    }
    guard_buried_count = 0;
    guard_stranger_close_others();
    return pid;
}

static void guard_stranger_bury(void)
{
    int i;

    for (i = 0; i < GUARD_CLOSERS; ++i) {
        if ((guard_closers[i] != 0) &&
            (waitpid(guard_closers[i], NULL, WNOHANG) == guard_closers[i])) {
            guard_closers[i] = 0;
        }
        if ((guard_closers[i] == 0) && (guard_buried_count > 0)) {
            guard_closers[i] = guard_stranger_fork_closer();
        }
    }
}

void guard_stranger_tick(void)
{
    guard_stranger_reap();
    guard_stranger_start_some();
    guard_stranger_bury();
}
