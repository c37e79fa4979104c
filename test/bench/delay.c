/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time truncate(2) of a file that processes have under lease */

/*
 * usage: delay DIRECTORY [ROUNDS [MEMBERS [WHAT]...]]
 * prints lines of WHAT MEDIAN_US P99_US MAX_US; P99 is - of less than 200 rounds
 *
 * plain    no process has the file open
 * break    a process has a lease of the kernel's on it, and gives that back as
 *          soon as it gets the signal
 * idle     MEMBERS processes (2) have it open with daxpin, and the kernel has
 *          listed its locks just before, as for another truncate
 * first    the same without that: the kernel lists its locks only after all
 *          processors have left the list (RCU)
 * puts     and write 8 bytes at a time to it, each in an access
 * large    and write 64 MiB at a time to it, as MPI_Put() does: in one access, a
 *          piece at a time. The file is as long as that, else 64 KiB.
 * stopped  the last of them to open the file was stopped since
 *
 * They take turns, each time with a new file, of which the last page is cut off:
 * more of it would take the file system time. Processes that write have begun,
 * all of them. Default: all but the last two.
 */

#define _GNU_SOURCE

#include "daxpin/access.h"
#include "stats.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH      65536l
#define LARGE       (64l << 20)
#define CUT         4096
#define MEMBERS     2
#define MEMBERS_MAX 512
#define ROUNDS      200
#define ROUNDS_MAX  10000
#define ROUNDS_P99  200 /* of them, two are longer than the 99th percentile */
#define SETTLE_US   3000
#define FIRST_US    100000
#define PATH_BYTES  4096

typedef enum kind {
    KIND_PLAIN,
    KIND_BREAK,
    KIND_IDLE,
    KIND_FIRST,
    KIND_PUTS,
    KIND_LARGE,
    KIND_STOPPED,
    KINDS
} kind_t;

static const char *const kind_names[KINDS] = {"plain", "break", "idle",
                                              "first", "puts", "large",
                                              "stopped"};

/* A process that has the file open. It opens the file when it reads the kind of
 * the round, begins to write to the file when it reads a byte, and closes the
 * file when it reads another byte. It writes a byte when each is done. */
typedef struct member {
    int   in;
    int   out;
    pid_t pid;
} member_t;

static char path[PATH_BYTES];
static int num_members = MEMBERS;
static char *source; /* LARGE bytes */

static long length_of(kind_t kind)
{
    return (kind == KIND_LARGE) ? LARGE : LENGTH;
}

/* Each round ends with a warning, which takes time. */
static void be_silent(daxpin_log_level_t level, const char *message)
{
    (void)level;
    (void)message;
}

static void give_up(const char *what)
{
    fprintf(stderr, "delay: %s: %s\n", what, daxpin_errormsg());
    exit(1);
}

static char read_byte(int fd)
{
    char byte;

    if (read(fd, &byte, 1) != 1) {
        exit(1); /* the other side is gone */
    }
    return byte;
}

static void write_byte(int fd, int byte)
{
    char c = (char)byte;

    if (write(fd, &c, 1) != 1) {
        exit(1);
    }
}

/*
 * Members
 */

static void put_short(daxpin_access_t *access, volatile uint64_t *memory)
{
    memory[0] = memory[0] + 1;
}

/* Copy as MPI_Put() does, see osc_daxpin_range_copy_long(). */
static void put_large(daxpin_access_t *access, volatile uint64_t *memory)
{
    long done;

    for (done = 0; (done < LARGE) && daxpin_access_may_go_on(access);
         done += DAXPIN_ACCESS_CHUNK) {
        memcpy((char*)memory + done, source + done, DAXPIN_ACCESS_CHUNK);
    }
}

/* Put until the file is revoked. Write a byte within the first access, after
 * which this process may get no processor for a while. */
static void put(daxpin_file_t *file, unsigned slot, kind_t kind, int out)
{
    const size_t length = (size_t)length_of(kind);
    volatile uint64_t *memory = daxpin_file_addr(file, 0, length);
    daxpin_access_t access;
    int ret = 0, begun = 0;

    daxpin_access_init(file, slot, &access);
    daxpin_access_relax(&access);
    while (ret == 0) {
        ret = daxpin_access_begin(&access);
        if (!begun) {
            write_byte(out, 'b');
            begun = 1;
        }
        if (ret == 0) {
            ((kind == KIND_LARGE) ? put_large : put_short)(&access, memory);
            ret = daxpin_access_end(&access, 0, length);
        }
    }
}

static void open_file(kind_t kind, int in, int out)
{
    static unsigned slot;
    daxpin_file_t *file;

    if (daxpin_file_open(path, (size_t)length_of(kind), NULL, &file) != 0) {
        give_up(path);
    }
    slot = (slot == 0) ? daxpin_slot_get() : slot;
    write_byte(out, 'o');
    read_byte(in);
    if ((kind == KIND_PUTS) || (kind == KIND_LARGE)) {
        put(file, slot, kind, out);
    } else {
        write_byte(out, 'b');
    }
    read_byte(in);
    daxpin_file_close(file);
}

/* Take a lease without daxpin, and give it back when it is broken. */
static void open_lease(int in, int out)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if ((fcntl(fd, F_SETSIG, SIGUSR1) != 0) ||
        (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)) {
        give_up("F_SETLEASE");
    }
    write_byte(out, 'o');
    read_byte(in);
    write_byte(out, 'b');
    sigwaitinfo(&set, NULL);
    fcntl(fd, F_SETLEASE, F_UNLCK);
    read_byte(in);
    close(fd);
}

static void member_main(int in, int out)
{
    kind_t kind;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    daxpin_set_log(be_silent);
    for (;;) {
        kind = (kind_t)read_byte(in);
        if (kind == KIND_BREAK) {
            open_lease(in, out);
        } else {
            open_file(kind, in, out);
        }
        write_byte(out, 'c');
    }
}

static void start_member(member_t *member)
{
    int to[2], from[2];

    if ((pipe2(to, O_CLOEXEC) != 0) || (pipe2(from, O_CLOEXEC) != 0)) {
        give_up("pipe");
    }
    member->pid = fork();
    if (member->pid == 0) {
        close(to[1]);
        close(from[0]);
        member_main(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    member->out = to[1];
    member->in  = from[0];
}

/*
 * The process that truncates
 */

static void create_file(long length)
{
    int fd;

    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if ((fd < 0) || (posix_fallocate(fd, 0, length) != 0)) {
        give_up(path);
    }
    close(fd);
}

/* Have members do something, and wait until all have done it. */
static void tell_all(member_t *members, int count, int what)
{
    int i;

    for (i = 0; i < count; ++i) {
        write_byte(members[i].out, what);
    }
    for (i = 0; i < count; ++i) {
        read_byte(members[i].in);
    }
}

/* Have the kernel list its locks. */
static void list_locks(void)
{
    char buffer[4096];
    int fd = open("/proc/locks", O_RDONLY | O_CLOEXEC);

    while ((fd >= 0) && (read(fd, buffer, sizeof(buffer)) > 0)) {
    }
    close(fd);
}

static double time_round(kind_t kind, member_t *members)
{
    const int count   = (kind == KIND_PLAIN) ? 0 :
                        (kind == KIND_BREAK) ? 1 : num_members;
    const long length = length_of(kind);
    double start;
    int i;

    create_file(length);
    for (i = 0; i < count; ++i) {
        tell_all(&members[i], 1, kind);
    }
    tell_all(members, count, 'b');
    usleep((kind == KIND_FIRST) ? FIRST_US : SETTLE_US);
    if (kind != KIND_FIRST) {
        list_locks();
    }
    if (kind == KIND_STOPPED) {
        kill(members[count - 1].pid, SIGSTOP);
    }
    start = now();
    if (truncate(path, length - CUT) != 0) {
        give_up("truncate");
    }
    start = now() - start;
    if (kind == KIND_STOPPED) {
        kill(members[count - 1].pid, SIGCONT);
    }
    tell_all(members, count, 'c');
    return start * 1e6;
}

/* Return whether a kind is to be measured. */
static int is_wanted(int kind, int argc, char **argv)
{
    int i;

    for (i = 4; i < argc; ++i) {
        if (strcmp(argv[i], kind_names[kind]) == 0) {
            return 1;
        }
    }
    return (argc <= 4) && (kind < KIND_LARGE);
}

static void print_times(const char *name, double *times, int rounds)
{
    const double middle = median(times, rounds); /* which sorts them */

    printf("%s %.1f ", name, middle);
    if (rounds >= ROUNDS_P99) {
        printf("%.1f ", times[rounds - 1 - rounds / 100]);
    } else {
        printf("- ");
    }
    printf("%.1f\n", times[rounds - 1]);
}

int main(int argc, char **argv)
{
    const int rounds = (argc > 2) ? atoi(argv[2]) : ROUNDS;
    static double times[KINDS][ROUNDS_MAX];
    member_t members[MEMBERS_MAX];
    int i, kind;

    num_members = (argc > 3) ? atoi(argv[3]) : MEMBERS;
    if ((argc < 2) || (rounds < 1) || (rounds > ROUNDS_MAX) ||
        (num_members < 1) || (num_members > MEMBERS_MAX)) {
        fprintf(stderr, "usage: delay DIRECTORY [ROUNDS [MEMBERS "
                "[WHAT]...]]\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/delay", argv[1]);
    source = malloc(LARGE);
    if (source == NULL) {
        give_up("malloc");
    }
    memset(source, 1, LARGE);
    for (i = 0; i < num_members; ++i) {
        start_member(&members[i]);
    }
    for (i = 0; i < rounds; ++i) {
        for (kind = 0; kind < KINDS; ++kind) {
            if (is_wanted(kind, argc, argv)) {
                times[kind][i] = time_round((kind_t)kind, members);
            }
        }
    }
    unlink(path);
    for (kind = 0; kind < KINDS; ++kind) {
        if (is_wanted(kind, argc, argv)) {
            print_times(kind_names[kind], times[kind], rounds);
        }
    }
    return 0;
}
