/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The guard daemon: options, privileges, socket and loop */

#include "client.h"
#include "wire/guardd.h"
#include "log.h"
#include "loop.h"
#include "patience.h"
#include "programs.h"
#include "stranger.h"

#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Connections that are accepted in one round */
#define GUARD_ACCEPT_ROUND 64

/* How long the daemon waits at its end for clients to disconnect */
#define GUARD_DISMISS_MS 1500

/* How often owners of files are looked at */
#define GUARD_CHECK_MS 1000

/* Descriptors for other things than clients, of which each has two: its
 * connection and its file */
#define GUARD_FDS_OTHER 1024
#define GUARD_FDS       (1u << 19)

/* As Nice= of the unit */
#define GUARD_NICE -15

/* The directory where programs are pinned */
#define GUARD_PINS "/sys/fs/bpf/daxpin-guard"

typedef struct guard_options {
    const char *path;
    const char *pins;
    int        check; /* only check whether the daemon can run */
} guard_options_t;

static void usage(FILE *out)
{
    fprintf(out,
            "usage: daxpin-guardd [OPTION]...\n"
            "\n"
            "Make truncates and hole punches of pinned ranges of files fail "
            "with ETXTBSY.\n"
            "\n"
            "  --socket PATH    where libdaxpin finds it [%s]\n"
            "  --pins DIR       where a BPF file system keeps the guard while "
            "it is\n"
            "                   restarted [%s]\n"
            "  --max-clients N  connections of one user [%zu]\n"
            "  --max-ranges N   ranges of one user [%zu]\n"
            "  --max-all-clients N, --max-all-ranges N\n"
            "                   of all users [%zu, %zu]\n"
            "  --check          check whether this kernel can do it, and exit\n"
            "  --verbose        report which process guards which file\n"
            "  --help, --version\n"
            "\n"
            "See daxpin-guardd(8).\n",
            DAXPIN_GUARD_SOCKET, GUARD_PINS, guard_limits.clients,
            guard_limits.ranges, guard_limits.all_clients,
            guard_limits.all_ranges);
}

static size_t parse_number(const char *option, const char *text, size_t most)
{
    unsigned long number;
    char *end;

    errno  = 0;
    number = strtoul(text, &end, 10);
    if ((errno != 0) || (end == text) || (*end != '\0') || (number < 1) ||
        (number > most)) {
        fprintf(stderr, "daxpin-guardd: --%s %s: give a number from 1 to "
                "%zu\n", option, text, most);
        exit(2);
    }
    return number;
}

static void parse_options(int argc, char **argv, guard_options_t *options)
{
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'},
        {"pins", required_argument, NULL, 'p'},
        {"max-clients", required_argument, NULL, 'c'},
        {"max-ranges", required_argument, NULL, 'r'},
        {"max-all-clients", required_argument, NULL, 'a'},
        {"max-all-ranges", required_argument, NULL, 'A'},
        {"check", no_argument, NULL, 'C'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0}
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 's':
            options->path = optarg;
            break;
        case 'p':
            options->pins = optarg;
            break;
        case 'c':
            guard_limits.clients = parse_number("max-clients", optarg,
                                                1u << 20);
            break;
        case 'r':
            guard_limits.ranges = parse_number("max-ranges", optarg,
                                               GUARD_RANGES_MAX);
            break;
        case 'a':
            guard_limits.all_clients = parse_number("max-all-clients", optarg,
                                                    1u << 20);
            break;
        case 'A':
            guard_limits.all_ranges = parse_number("max-all-ranges", optarg,
                                                   GUARD_RANGES_MAX);
            break;
        case 'C':
            options->check = 1;
            break;
        case 'v':
            guard_log_set_level(LOG_INFO);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        case 'V':
            printf("daxpin-guardd %s\n", PACKAGE_VERSION);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr,
                "daxpin-guardd: %s: cannot take arguments, only options\n",
                argv[optind]);
        exit(2);
    }
}

/* Come before other processes, of which a user may start many: they would keep the
 * daemon from saying in time that it is alive. The unit does this where the daemon
 * may not. */
static void raise_priority(void)
{
    if (getpriority(PRIO_PROCESS, 0) > GUARD_NICE) {
        (void)setpriority(PRIO_PROCESS, 0, GUARD_NICE);
    }
}

/* Keep only CAP_BPF. The programs are loaded; from now on the daemon only
 * changes their maps, which needs CAP_BPF if sysctl
 * kernel.unprivileged_bpf_disabled is set. */
static int drop_privileges(void)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3
    };
    struct __user_cap_data_struct data[2] = {{0}, {0}};
    const unsigned bpf                    = CAP_TO_INDEX(CAP_BPF);

    if (syscall(SYS_capget, &header, data) != 0) {
        goto err;
    }
    data[bpf].permitted  &= CAP_TO_MASK(CAP_BPF);
    data[bpf].effective   = data[bpf].permitted;
    data[bpf].inheritable = 0;
    memset(&data[1 - bpf], 0, sizeof(data[0]));
    if (syscall(SYS_capset, &header, data) == 0) {
        return 0;
    }
err:
    guard_log(LOG_ERR, "cannot drop privileges: %s", strerror(errno));
    return -errno;
}

/* A descriptor for every connection and every file. Where there are fewer than
 * for all clients, there are fewer clients. */
static void raise_limits(void)
{
    const struct rlimit plenty = {.rlim_cur = GUARD_FDS, .rlim_max = GUARD_FDS};
    struct rlimit limit;
    size_t most;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    if (setrlimit(RLIMIT_NOFILE, &plenty) == 0) {
        limit = plenty;
    } else {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    most = (limit.rlim_max > 2 * GUARD_FDS_OTHER) ?
                   (limit.rlim_max - GUARD_FDS_OTHER) / 2 :
                   limit.rlim_max / 4;
    if (guard_limits.all_clients > most) {
        guard_limits.all_clients = most;
    }
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        guard_log(LOG_ERR, "%s: cannot listen: the name is too long; use at "
                  "most %zu characters", path, sizeof(address.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        guard_log(LOG_ERR, "cannot create a socket: %s", strerror(errno));
        return -errno;
    }
    if (connect(fd, (struct sockaddr*)&address, sizeof(address)) == 0) {
        guard_log(LOG_ERR, "%s: cannot listen: another daxpin-guardd uses "
                  "this socket", path);
        close(fd);
        return -EADDRINUSE;
    }
    unlink(path); /* The socket of a former daemon */
    if ((bind(fd, (struct sockaddr*)&address, sizeof(address)) != 0) ||
        (chmod(path, 0666) != 0) || (listen(fd, GUARD_BACKLOG) != 0)) {
        guard_log(LOG_ERR, "%s: cannot listen: %s; create its directory, and "
                  "make it writable", path, strerror(errno));
        close(fd);
        return -errno;
    }
    return fd;
}

/* Notify systemd, as sd_notify(3) does; a library is not worth it. One that does not
 * read is not waited for: the programs in the kernel wait for the daemon's beat. */
static void notify_systemd(const char *message)
{
    const struct timeval bound = {.tv_usec = 100000};
    const char *path           = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length;
    int fd;

    if ((path == NULL) || (strlen(path) >= sizeof(address.sun_path))) {
        return;
    }
    strcpy(address.sun_path, path);
    length = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if ((fd < 0) ||
        (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)) != 0) ||
        (sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                (struct sockaddr*)&address, (socklen_t)length) < 0)) {
        guard_log(LOG_WARNING, "cannot notify systemd: %s",
                  strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static guard_event_t listener;

/* Accept connections, but not so many that clients wait for it. If no resources
 * are left for one, it waits in the queue. */
static void accept_clients(void *arg)
{
    const int listen_fd         = *(int*)arg;
    const struct timespec pause = {.tv_nsec = 10000000};
    int i, fd = 0;

    for (i = 0; (i < GUARD_ACCEPT_ROUND) && (fd >= 0); ++i) {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            guard_client_accept(fd);
        }
    }
    if ((fd < 0) && ((errno == EMFILE) || (errno == ENFILE) ||
                     (errno == ENOMEM) || (errno == ENOBUFS))) {
        guard_log(LOG_WARNING, "cannot accept a client: %s; raise the limit of "
                  "open files (LimitNOFILE)", strerror(errno));
        nanosleep(&pause, NULL);
    }
}

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = number;
}

/* Block the signals except in guard_loop_wait(), so that none is missed. */
static void catch_stop(sigset_t *mask)
{
    const struct sigaction action = {.sa_handler = on_stop};
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_BLOCK, &stops, mask);
}

/* Tell systemd that the daemon is alive, if it wants to know that. */
static void beat_systemd(long now)
{
    static long next;
    const char *usec = getenv("WATCHDOG_USEC");

    if ((usec != NULL) && (now >= next)) {
        notify_systemd("WATCHDOG=1");
        next = now + atol(usec) / 3000;
    }
}

/* What is due at times: programs in the kernel and systemd are told that the
 * daemon is alive, owners are looked at. */
static void beat(void)
{
    static long checked;
    const long now = guard_now_ms();

    guard_programs_beat();
    beat_systemd(now);
    if (now >= checked + GUARD_CHECK_MS) {
        checked = now;
        guard_clients_check();
    }
}

/* Serve every client that has sent a message. */
static void serve_round(int timeout_ms, const sigset_t *mask)
{
    const int forget_ms = guard_programs_forget();

    if ((forget_ms >= 0) && (forget_ms < timeout_ms)) {
        timeout_ms = forget_ms;
    }
    guard_loop_wait((timeout_ms < GUARD_BEAT_MS) ? timeout_ms : GUARD_BEAT_MS,
                    mask);
    beat();
    guard_patience_renew();
    guard_stranger_tick();
    guard_clients_finish();
}

/* Guard files until their clients have replaced the guard. Wait for a limited
 * time, because a client may be stopped. The socket is shut rather than closed:
 * connections that were not accepted end with the process, which lingers for
 * none of what was sent by them. */
static void serve_last(int listen_fd, const char *path, const sigset_t *mask)
{
    const long deadline = guard_now_ms() + GUARD_DISMISS_MS;

    unlink(path);
    guard_loop_remove(listen_fd);
    shutdown(listen_fd, SHUT_RDWR);
    guard_clients_dismiss();
    while (guard_clients_exist() && (guard_now_ms() < deadline)) {
        serve_round((int)(deadline - guard_now_ms()) + 1, mask);
    }
    guard_programs_end();
}

static int serve(int listen_fd, const char *path)
{
    sigset_t mask;

    if (guard_stranger_init() != 0) {
        guard_log(LOG_ERR, "cannot set up signals: %s", strerror(errno));
        return 1;
    }
    catch_stop(&mask);
    listener.ready = accept_clients;
    listener.arg   = &listen_fd;
    if ((guard_loop_init() != 0) ||
        (guard_loop_add(listen_fd, &listener) != 0)) {
        guard_log(LOG_ERR, "cannot watch its socket: %s", strerror(errno));
        return 1;
    }
    while (!stopped) {
        serve_round(GUARD_BEAT_MS, &mask);
    }
    serve_last(listen_fd, path, &mask);
    return 0;
}

int main(int argc, char **argv)
{
    guard_options_t options = {.path = DAXPIN_GUARD_SOCKET, .pins = GUARD_PINS};
    int fd;

    parse_options(argc, argv, &options);
    if (guard_programs_start() != 0) {
        return 1;
    }
    if (options.check) {
        printf("this kernel refuses truncates and hole punches of guarded "
               "ranges\n");
        return 0;
    }
    raise_limits();
    fd = open_socket(options.path);
    if (fd < 0) {
        return 1;
    }
    if (guard_programs_mark(fd) != 0) {
        guard_log(LOG_WARNING, "cannot see who is behind a user ID: limits of "
                  "a user are of each user ID: %s", strerror(errno));
    }
    (void)guard_programs_pin(options.pins); /* The daemon works without */
    raise_priority();
    if (drop_privileges() != 0) {
        return 1;
    }
    notify_systemd("READY=1\nSTATUS=Pinned ranges are guarded");
    guard_log(LOG_NOTICE, "guards pinned ranges; listens at %s", options.path);
    return serve(fd, options.path);
}
