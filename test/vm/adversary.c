/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Takes the blocks of a file from members that put into it without pause, and
 * gives them to another file at once: the file system is full, so that the new
 * file gets only these blocks. Then each byte of the new file has to be its
 * own.
 *
 * usage: adversary [-n MEMBERS] [-r ROUNDS] [-a ACT,ACT...] [-e] DIRECTORY
 *                  BOARD COMMAND [ARGUMENT]...
 *
 * -e: puts are emulated, so they wait for a target that is stopped.
 * COMMAND is started once for each member, with its number as the last
 * argument; if there is an argument "mpirun", once for all (see member.c,
 * ranks.c). Acts:
 *
 *   truncate    by path
 *   open        by path, to write; then a hole is punched
 *   ftruncate   by a description that a member has, so the lease stays
 *   punch       likewise
 *   expire      by path, while the holder does nothing until its lease ends
 *   stop        by path, while a member that is not the holder is stopped
 *   kill        by path, while the holder is killed
 *   lend        by path, while a reader is let in and stays
 *   rewrite     the same file, by path: holes, and then bytes of its own
 *   copy        the same file, as cp does; every other time a reader is in
 *   lock        by path, while a reader stays that has locked the file
 *   files       by path, while the members may have no more descriptors
 *   memory      by path, while the members may have no more memory
 *   block       by path, while the members block all signals
 *   die         by a description, in the moment when all members are killed;
 *               only if asked for, since the kernel may complain, see hold.h
 *
 * As root, in the virtual machine: sets fs.lease-break-time. Prints numbers,
 * and what went wrong. Exit status 0: nothing did; of a control, plain members,
 * 0: harm was done to them.
 */

#define _GNU_SOURCE

#include "adversary.h"

#include <dirent.h>
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BLOCK_BYTES   4096u
#define BLOCKS        (FILE_BYTES / BLOCK_BYTES)
#define SPARE_BLOCKS  32u
#define PATIENCE_MS   120000l
#define HAMMER_MS     20l  /* puts go on after the blocks have gone */
#define WATCH_MS      50l  /* how long to check that a process waits */
#define DEATH_US      8000
#define OVERDUE_MS    1600l /* ... and one whose lease expires, of 1 s */

typedef enum act {
    ACT_TRUNCATE,
    ACT_OPEN,
    ACT_FTRUNCATE,
    ACT_PUNCH,
    ACT_EXPIRE,
    ACT_STOP,
    ACT_KILL,
    ACT_LEND,
    ACT_REWRITE,
    ACT_COPY,
    ACT_LOCK,
    ACT_FILES,
    ACT_MEMORY,
    ACT_BLOCK,
    ACT_DIE,
    ACT_LAST
} act_t;

static const char *const act_names[] = {
    "truncate", "open", "ftruncate", "punch", "expire", "stop", "kill",
    "lend", "rewrite", "copy", "lock", "files", "memory", "block", "die"
};

/* The blocks of a file, as block numbers of the device */
typedef struct extents {
    uint64_t physical[BLOCKS]; /* 0: a hole */
} extents_t;

/* What the intruder, a process of its own, reports */
typedef struct intruder {
    _Atomic int passed; /* the blocks are free */
    _Atomic int filled; /* and are the new file's */
    _Atomic int error;
} intruder_t;

static board_t    *board;
static intruder_t *intruder;
static char       **command;
static int        is_mpi, is_plain, is_emulated;
static unsigned   members = 3;
static char       new_path[PATH_MAX], ballast_path[PATH_MAX];
static uint8_t    pattern;
static pid_t      pids[MEMBERS_MAX]; /* of the commands */
static int        killed[MEMBERS_MAX];
static int        reader = -1;
static unsigned   failures;

static struct {
    unsigned rounds;
    unsigned acts[ACT_LAST];
    uint64_t acked;
    uint64_t refused;
    uint64_t reused;  /* blocks of the new file that were the victim's */
    uint64_t blocks;  /* of the new file */
    uint64_t foreign;   /* bytes in new files */
    uint64_t rewritten; /* foreign ones in the same file, written anew */
    unsigned sigbus;  /* members that died of it */
} sum;

static __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list ap;

    printf("# round %u: ", atomic_load(&board->round));
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    ++failures;
}

static __attribute__((noreturn)) void give_up(const char *what)
{
    printf("# round %u: %s: %s\n", atomic_load(&board->round), what,
           strerror(errno));
    exit(2);
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define AWAIT(_ms, _condition) \
    ({ \
        long end_ms = now_ms() + (_ms); \
        int holds; \
        while (!(holds = !!(_condition)) && (now_ms() < end_ms)) { \
            pause_ms(1); \
        } \
        holds; \
    })

/*
 * Files
 */

static void fill(int fd, uint8_t byte)
{
    static uint8_t bytes[FILE_BYTES];

    memset(bytes, byte, sizeof(bytes));
    errno = ENOSPC; /* A short count says nothing */
    if (pwrite(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        atomic_store(&intruder->error, errno);
    }
}

static void get_extents(int fd, extents_t *extents)
{
    static union {
        struct fiemap map;
        char          space[sizeof(struct fiemap) +
                            BLOCKS * sizeof(struct fiemap_extent)];
    } u;
    uint64_t block, start, i, j;

    memset(extents, 0, sizeof(*extents));
    memset(&u, 0, sizeof(u));
    u.map.fm_length       = FILE_BYTES;
    u.map.fm_flags        = FIEMAP_FLAG_SYNC;
    u.map.fm_extent_count = BLOCKS;
    if (ioctl(fd, FS_IOC_FIEMAP, &u.map) != 0) {
        give_up("FIEMAP");
    }
    for (i = 0; i < u.map.fm_mapped_extents; ++i) {
        start = u.map.fm_extents[i].fe_logical / BLOCK_BYTES;
        block = u.map.fm_extents[i].fe_physical / BLOCK_BYTES;
        for (j = 0; (j < u.map.fm_extents[i].fe_length / BLOCK_BYTES) &&
                    (start + j < BLOCKS);
             ++j) {
            extents->physical[start + j] = block + j;
        }
    }
}

static unsigned count_shared(const extents_t *a, const extents_t *b)
{
    unsigned i, j, count = 0;

    for (i = 0; i < BLOCKS; ++i) {
        for (j = 0; (j < BLOCKS) && (a->physical[i] != 0); ++j) {
            count += a->physical[i] == b->physical[j];
        }
    }
    return count;
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        give_up(path);
    }
    return fd;
}

/* Fill the file system, except for blocks that it needs for metadata. */
static void fill_up(void)
{
    int fd = open_file(ballast_path);
    off_t end = lseek(fd, 0, SEEK_END), part;

    for (part = 1 << 28; part >= BLOCK_BYTES; part /= 2) {
        while (fallocate(fd, 0, end, part) == 0) {
            end += part;
        }
    }
    if ((ftruncate(fd, end - SPARE_BLOCKS * BLOCK_BYTES) != 0) ||
        (fsync(fd) != 0)) {
        give_up(ballast_path);
    }
    close(fd);
}

/* Make the victims' file whole, and the new file empty. */
static void make_files(extents_t *extents)
{
    int fd;

    if ((truncate(new_path, 0) != 0) || (truncate(board->path, 0) != 0)) {
        give_up(new_path);
    }
    fd = open_file(board->path);
    atomic_store(&intruder->error, 0);
    fill(fd, 0x11);
    if (fsync(fd) != 0) {
        give_up(board->path);
    }
    if (atomic_load(&intruder->error) != 0) {
        errno = atomic_load(&intruder->error);
        give_up("the file cannot be made");
    }
    get_extents(fd, extents);
    close(fd);
    fill_up();
}

/* Count the bytes that differ from the pattern. */
static uint64_t count_foreign(const char *path)
{
    static uint8_t bytes[FILE_BYTES];
    int fd = open_file(path);
    uint64_t count = 0;
    ssize_t length, i;

    length = pread(fd, bytes, sizeof(bytes), 0);
    close(fd);
    for (i = 0; i < length; ++i) {
        count += bytes[i] != pattern;
    }
    return count;
}

/*
 * Members
 */

static void start_one(unsigned number)
{
    static char text[16];
    unsigned i;

    killed[number] = 0;
    fflush(NULL);
    pids[number] = fork();
    if (pids[number] < 0) {
        give_up("fork");
    }
    if (pids[number] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!is_mpi) {
            snprintf(text, sizeof(text), "%u", number);
            for (i = 0; command[i] != NULL; ++i) {
            }
            command[i] = text; /* main() left room */
        }
        execvp(command[0], command);
        _exit(127);
    }
}

/* Start the missing members, and wait until they are ready. */
static void start_members(void)
{
    unsigned i;

    for (i = 0; i < (is_mpi ? 1 : members); ++i) {
        if (pids[i] == 0) {
            start_one(i);
        }
    }
    for (i = 0; i < members; ++i) {
        if (!AWAIT(PATIENCE_MS, atomic_load(&board->member[i].pid) != 0)) {
            errno = ETIMEDOUT;
            give_up("a member does not start");
        }
    }
}

static void note_end(unsigned number, int status)
{
    unsigned i;

    pids[number] = 0;
    for (i = 0; i < members; ++i) {
        if (is_mpi || (i == number)) {
            atomic_store(&board->member[i].pid, 0);
        }
    }
    if (killed[number]) {
        return;
    }
    if (!is_mpi && WIFSIGNALED(status) && (WTERMSIG(status) == SIGBUS)) {
        ++sum.sigbus;
        if (is_plain) {
            return;
        }
    }
    fail("member %u ended by itself: status 0x%x", number, (unsigned)status);
}

static void reap_members(void)
{
    unsigned i;
    int status;

    for (i = 0; i < members; ++i) {
        if ((pids[i] != 0) && (waitpid(pids[i], &status, WNOHANG) == pids[i])) {
            note_end(i, status);
        }
    }
}

/* Kill a member. If the members are MPI ranks, mpirun ends all of them. */
static void kill_member(int number)
{
    killed[is_mpi ? 0 : number] = 1;
    kill(atomic_load(&board->member[number].pid), SIGKILL);
}

static void await_killed(void)
{
    unsigned i;

    for (i = 0; i < members; ++i) {
        if (killed[i] && (pids[i] != 0) &&
            !AWAIT(PATIENCE_MS, (reap_members(), pids[i] == 0))) {
            fail("a member was killed, and does not end");
            kill(pids[i], SIGKILL);
        }
    }
}

static int is_expected(unsigned number)
{
    return atomic_load(&board->member[number].pid) != 0;
}

static int have_reached(size_t offset, uint32_t round)
{
    unsigned i;

    reap_members();
    for (i = 0; i < members; ++i) {
        if (is_expected(i) &&
            (atomic_load((_Atomic uint32_t*)((char*)&board->member[i] +
                                             offset)) != round)) {
            return atomic_load(&board->failed);
        }
    }
    return 1;
}

static uint64_t count_acked(void)
{
    uint64_t count = 0;
    unsigned i;

    for (i = 0; i < members; ++i) {
        count += atomic_load(&board->member[i].acked);
    }
    return count;
}

/*
 * What the intruder does, in a process of its own
 */

/* Kill all members, and return after a part of the time that they need to
 * die. */
static void kill_all(void)
{
    uint64_t seed = (uint64_t)getpid() * 0x9e3779b97f4a7c15ull;
    unsigned i;

    for (i = 0; i < members; ++i) {
        kill(atomic_load(&board->member[i].pid), SIGKILL);
    }
    usleep((useconds_t)(next_random(&seed) % DEATH_US));
}

/* Return whether the intruder writes to the victims' file itself. */
static int is_rewrite(act_t act)
{
    return (act == ACT_REWRITE) || (act == ACT_COPY);
}

static int intrude(act_t act, int fd)
{
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    switch (act) {
    case ACT_DIE:
        kill_all();
        return ftruncate(fd, 0);
    case ACT_FTRUNCATE:
        return ftruncate(fd, 0);
    case ACT_PUNCH:
        return fallocate(fd, hole, 0, FILE_BYTES);
    case ACT_OPEN:
    case ACT_REWRITE:
        fd = open(board->path, O_RDWR | O_CLOEXEC);
        return (fd < 0) ? -1 : fallocate(fd, hole, 0, FILE_BYTES);
    case ACT_COPY:
        return open(board->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    default:
        return truncate(board->path, 0);
    }
}

static __attribute__((noreturn)) void intruder_main(act_t act, int fd)
{
    int target;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (intrude(act, fd) < 0) {
        atomic_store(&intruder->error, errno);
        _exit(1);
    }
    atomic_store(&intruder->passed, 1);
    target = open_file(is_rewrite(act) ? board->path : new_path);
    fill(target, pattern);
    atomic_store(&intruder->filled, 1);
    _exit(0);
}

/* Get the description that a member has of the file, as if it were
 * inherited. */
static int get_description(int number)
{
    pid_t pid = atomic_load(&board->member[number].pid);
    char dir_path[64], target[PATH_MAX];
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;
    struct dirent *entry;
    ssize_t length;
    DIR *dir;

    snprintf(dir_path, sizeof(dir_path), "/proc/%d/fd", (int)pid);
    dir = opendir(dir_path);
    while ((dir != NULL) && (fd < 0) && ((entry = readdir(dir)) != NULL)) {
        length = readlinkat(dirfd(dir), entry->d_name, target,
                            sizeof(target) - 1);
        target[(length > 0) ? length : 0] = '\0';
        if (strcmp(target, board->path) == 0) {
            fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
            if ((fd >= 0) && ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)) {
                close(fd); /* By O_PATH, for the hold */
                fd = -1;
            }
        }
    }
    if (fd < 0) {
        give_up("a member has no descriptor of the file");
    }
    closedir(dir);
    close(pidfd);
    return fd;
}

static pid_t start_intruder(act_t act)
{
    int fd = -1;
    unsigned i;
    pid_t pid;

    for (i = 0; (act == ACT_DIE) && (i < members); ++i) {
        killed[i] = 1;
    }
    if ((act == ACT_FTRUNCATE) || (act == ACT_PUNCH) || (act == ACT_DIE)) {
        fd = get_description(atomic_load(&board->holder));
    }
    memset(intruder, 0, sizeof(*intruder));
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        intruder_main(act, fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return pid;
}

/* The intruder has to wait. Members must not notice, unless they wait for a
 * stopped member. */
static void must_wait(act_t act, long ms, int is_stopped)
{
    uint64_t before = count_acked();

    if (AWAIT(ms, atomic_load(&intruder->passed) ||
                  atomic_load(&intruder->error))) {
        if (!is_plain) {
            fail("%s did not wait for members that have the file",
                 act_names[act]);
        }
    } else if (!(is_stopped && is_emulated) &&
               !AWAIT(PATIENCE_MS, count_acked() > before)) {
        fail("nothing was put while %s waits", act_names[act]);
    }
}

static int other_member(void)
{
    return (atomic_load(&board->holder) + 1) % (int)members;
}

static void end_round(uint32_t round)
{
    atomic_store(&board->stop, round);
}

/* Act on the members while the intruder waits. */
static void torment(act_t act, uint32_t round)
{
    int holder = atomic_load(&board->holder), odd = round / ACT_LAST % 2;
    int other  = other_member();
    pid_t pid  = atomic_load(&board->member[holder].pid);

    switch (act) {
    case ACT_FTRUNCATE:
    case ACT_PUNCH:
        must_wait(act, WATCH_MS, 0);
        if (odd && !is_mpi) {
            kill_member(holder); /* another one is the holder now */
            must_wait(act, WATCH_MS, 0);
        }
        end_round(round);
        break;
    case ACT_EXPIRE:
        if (board->on_break == 0) {
            kill(pid, SIGSTOP);
        }
        must_wait(act, OVERDUE_MS, board->on_break == 0);
        if (board->on_break != 0) {
            end_round(round);
        } else if (odd && !is_mpi) {
            kill_member(holder);
        } else {
            kill(pid, SIGCONT);
        }
        break;
    case ACT_STOP:
        pause_ms(WATCH_MS);
        if (atomic_load(&intruder->passed)) {
            fail("the truncate did not wait for a stopped member");
        }
        if (odd && !is_mpi) {
            kill_member(other);
        } else {
            kill(atomic_load(&board->member[other].pid), SIGCONT);
        }
        break;
    case ACT_KILL:
        kill_member(holder);
        break;
    case ACT_LEND:
    case ACT_LOCK:
        must_wait(act, WATCH_MS, 0);
        break;
    default:
        break;
    }
}

/* Return how much address space a process uses. */
static rlim_t space_of(pid_t pid)
{
    unsigned long pages;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    file = fopen(path, "re");
    if ((file == NULL) || (fscanf(file, "%lu", &pages) != 1)) {
        give_up(path);
    }
    fclose(file);
    return pages * BLOCK_BYTES;
}

/* Wait for a mapping that a process is in the middle of: this file is read with
 * the lock of its address space. */
static void wait_for_mapping(pid_t pid)
{
    char path[64], text[4096];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if ((file == NULL) || (fread(text, 1, sizeof(text), file) == 0)) {
        give_up(path);
    }
    fclose(file);
}

/* Leave a member room for as little as it has now. A mapping under way was
 * allowed by the old limit and counts only later; a limit below what the member
 * uses would not even let it replace a mapping. */
static void limit_space(pid_t pid, struct rlimit *limit)
{
    do {
        limit->rlim_cur = space_of(pid);
        if (prlimit(pid, RLIMIT_AS, limit, NULL) != 0) {
            give_up("prlimit");
        }
        wait_for_mapping(pid);
    } while (space_of(pid) > limit->rlim_cur);
}

/* Leave the members room for as little as they have now, or give it back. */
static void limit_members(act_t act, int is_limited)
{
    const int what = (act == ACT_FILES) ? RLIMIT_NOFILE : RLIMIT_AS;
    struct rlimit limit;
    unsigned i;
    pid_t pid;

    for (i = 0; i < members; ++i) {
        pid = atomic_load(&board->member[i].pid);
        if (pid == 0) {
            continue; /* it has ended by itself, which was a failure */
        }
        getrlimit(what, &limit); /* it was this process's, too */
        if (is_limited && (act != ACT_FILES)) {
            limit_space(pid, &limit);
            continue;
        }
        if (is_limited) {
            limit.rlim_cur = 0;
        }
        if (prlimit(pid, what, &limit, NULL) != 0) {
            give_up("prlimit");
        }
    }
}

static void let_reader_in(act_t act)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    reader = open(board->path, O_RDONLY | O_CLOEXEC);
    if ((act == ACT_LOCK) && ((flock(reader, LOCK_EX | LOCK_NB) != 0) ||
                              (fcntl(reader, F_SETLK, &lock) != 0))) {
        fail("a reader cannot lock the file: %s", strerror(errno));
    }
}

/* Prepare the act. */
static void prepare(act_t act, uint32_t round)
{
    switch (act) {
    case ACT_STOP:
        kill(atomic_load(&board->member[other_member()].pid), SIGSTOP);
        break;
    case ACT_COPY:
        if (round / ACT_LAST % 2) {
            let_reader_in(act);
        }
        break;
    case ACT_LEND:
    case ACT_LOCK:
        let_reader_in(act);
        break;
    case ACT_FILES:
    case ACT_MEMORY:
        limit_members(act, 1);
        break;
    default:
        break;
    }
}

/* Undo what has prepared the act. */
static void clear_up(act_t act)
{
    if ((act == ACT_FILES) || (act == ACT_MEMORY)) {
        limit_members(act, 0);
    }
    if (reader >= 0) {
        close(reader);
        reader = -1;
    }
}

static void check_round(act_t act, const extents_t *before)
{
    extents_t after;
    uint64_t foreign;
    unsigned shared;
    int fd;

    foreign = count_foreign(is_rewrite(act) ? board->path : new_path);
    if ((foreign > 0) && (!is_plain || !is_rewrite(act))) {
        fail("%lu bytes are foreign after %s", foreign, act_names[act]);
    }
    if (is_rewrite(act)) {
        sum.rewritten += foreign;
        return;
    }
    sum.foreign += foreign;
    fd = open_file(new_path);
    get_extents(fd, &after);
    close(fd);
    shared      = count_shared(before, &after);
    sum.reused += shared;
    sum.blocks += BLOCKS;
    if ((shared < BLOCKS / 2) && !is_plain) {
        fail("the new file has only %u of %u blocks that were freed", shared,
             BLOCKS);
    }
}

static void sum_up(void)
{
    unsigned i;

    for (i = 0; i < members; ++i) {
        sum.acked   += atomic_load(&board->member[i].acked);
        sum.refused += atomic_load(&board->member[i].refused);
        if (atomic_load(&board->failed) && (board->member[i].why[0] != '\0')) {
            fail("%s", board->member[i].why);
        }
        if (atomic_exchange(&board->member[i].caught, 0)) {
            fail("the library caught a SIGBUS: %s", board->member[i].why);
        }
        board->member[i].why[0] = '\0';
        atomic_store(&board->member[i].acked, 0);
        atomic_store(&board->member[i].refused, 0);
    }
    atomic_store(&board->failed, 0);
}

/* Wait until the new file has the blocks. */
static void await_intruder(act_t act, pid_t pid)
{
    if (!AWAIT(PATIENCE_MS, atomic_load(&intruder->filled) ||
                            atomic_load(&intruder->error))) {
        fail("%s was not let through in %ld s", act_names[act],
             PATIENCE_MS / 1000);
        kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
    if (atomic_load(&intruder->error) && !is_plain) {
        fail("%s, or the new file: %s", act_names[act],
             strerror(atomic_load(&intruder->error)));
    }
}

static void one_round(uint32_t round, act_t act)
{
    extents_t extents;
    pid_t pid;

    start_members();
    pattern         = (uint8_t)(0x20 + round % 0x50);
    board->on_break = (act == ACT_EXPIRE) && (round / ACT_LAST % 4 < 2);
    make_files(&extents);
    board->blocks   = act == ACT_BLOCK;
    atomic_store(&board->round, round);
    if (!AWAIT(PATIENCE_MS, have_reached(offsetof(member_t, ready), round))) {
        fail("a member does not begin to put");
    }
    if (!AWAIT(PATIENCE_MS, (reap_members(), count_acked() > 2 * members) ||
                            is_plain || atomic_load(&board->failed))) {
        fail("nothing is put");
    }
    prepare(act, round);
    pid = start_intruder(act);
    torment(act, round);
    await_intruder(act, pid);
    pause_ms(HAMMER_MS);
    end_round(round);
    await_killed();
    if (!AWAIT(PATIENCE_MS, have_reached(offsetof(member_t, gone), round))) {
        fail("a member does not give the file back");
    }
    check_round(act, &extents);
    clear_up(act);
    sum_up();
    ++sum.rounds;
    ++sum.acts[act];
}

static void end_members(void)
{
    unsigned i;

    atomic_store(&board->quit, 1);
    for (i = 0; i < members; ++i) {
        if ((pids[i] != 0) &&
            !AWAIT(PATIENCE_MS, waitpid(pids[i], NULL, WNOHANG) == pids[i])) {
            fail("a member does not end");
            kill(pids[i], SIGKILL);
        }
    }
}

static void set_lease_break_time(const char *seconds)
{
    FILE *file = fopen("/proc/sys/fs/lease-break-time", "w");

    if ((file == NULL) || (fputs(seconds, file) < 0) || (fclose(file) != 0)) {
        give_up("fs.lease-break-time");
    }
}

static unsigned parse_acts(char *names, act_t *acts)
{
    unsigned count = 0, i;
    char *name;

    for (name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        for (i = 0; (i < ACT_LAST) && (strcmp(name, act_names[i]) != 0); ++i) {
        }
        if ((i == ACT_LAST) || (count == ACT_LAST)) {
            fprintf(stderr, "adversary: there is no act %s\n", name);
            exit(2);
        }
        acts[count++] = (act_t)i;
    }
    return count;
}

static int report(void)
{
    unsigned i;

    printf("# %u rounds:", sum.rounds);
    for (i = 0; i < ACT_LAST; ++i) {
        if (sum.acts[i] > 0) {
            printf(" %s %u", act_names[i], sum.acts[i]);
        }
    }
    printf("\n# %lu puts acknowledged, %lu refused; the new files had %lu of "
           "%lu blocks that were the victims', %lu bytes of them foreign, and "
           "files written anew %lu; %u members died of SIGBUS; %u failures\n",
           sum.acked, sum.refused, sum.reused, sum.blocks, sum.foreign,
           sum.rewritten, sum.sigbus, failures);
    if (is_plain && ((sum.sigbus == 0) || (sum.rewritten == 0))) {
        fail("the control came to no harm: this shows nothing");
    }
    return (failures == 0) ? 0 : 1;
}

static void set_up(const char *dir, const char *board_path)
{
    unlink(board_path);
    board          = board_map(board_path);
    board->members = members;
    intruder       = mmap(NULL, sizeof(*intruder), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(board->path, sizeof(board->path), "%s/leased", dir);
    snprintf(new_path, sizeof(new_path), "%s/new", dir);
    snprintf(ballast_path, sizeof(ballast_path), "%s/ballast", dir);
    close(open_file(new_path));
    close(open_file(board->path));
}

int main(int argc, char **argv)
{
    char all[] = "truncate,open,ftruncate,punch,expire,stop,kill,lend,"
                 "rewrite,copy,lock,files,memory,block";
    unsigned rounds = 16, count, i;
    act_t acts[ACT_LAST];
    char *names = all;
    int option;

    while ((option = getopt(argc, argv, "+n:r:a:e")) != -1) {
        members = (option == 'n') ? (unsigned)atoi(optarg) : members;
        rounds  = (option == 'r') ? (unsigned)atoi(optarg) : rounds;
        names   = (option == 'a') ? optarg : names;
        is_emulated |= option == 'e';
    }
    if ((argc - optind < 3) || (members > MEMBERS_MAX)) {
        fprintf(stderr,
                "usage: adversary [-n MEMBERS] [-r ROUNDS] [-a ACTS] [-e] "
                "DIRECTORY BOARD COMMAND [ARGUMENT]...\n");
        return 2;
    }
    count   = parse_acts(names, acts);
    command = calloc((size_t)argc + 2, sizeof(*command));
    for (i = 0; (int)i + optind + 2 < argc; ++i) {
        command[i] = argv[optind + 2 + (int)i];
        is_mpi    |= strstr(command[i], "mpirun") != NULL;
        is_plain  |= strcmp(command[i], "plain") == 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    set_up(argv[optind], argv[optind + 1]);
    set_lease_break_time("1");
    for (i = 1; (i <= rounds) && (failures < 10); ++i) {
        one_round(i, acts[i % count]);
    }
    set_lease_break_time("45");
    end_members();
    unlink(ballast_path);
    unlink(new_path);
    unlink(board->path);
    return report();
}
