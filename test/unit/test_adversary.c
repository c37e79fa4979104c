/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * An adversary: what others do to a file, and to its members, in mid-traffic
 *
 * Each act is played in many rounds, in turn on a file on disk and on one in
 * tmpfs. DAXPIN_ADVERSARY_ROUNDS sets the number of rounds, for a long run by
 * hand:
 *
 *   DAXPIN_ADVERSARY_ROUNDS=1000 test/unit/test_adversary.unit [TEST]
 *
 * Three members write to a third of the file each: a number that grows, and
 * their mark. A number is acknowledged when daxpin_file_check() returns 0 after
 * it was written. When its access has failed, a member goes on to store to the
 * memory, without an access.
 *
 * After a harmful act, each member has to be revoked, what was acknowledged is
 * in the file that the other program has found, and what the other program has
 * written stays as it is. After a harmless act, each member goes on.
 */

#include "intruder.h"
#include "member.h"

#include "daxpin/os/rundir.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADVERSARY_MEMBERS 3
#define ADVERSARY_THIRD   (20 * 4096) /* of the file, about */
#define ADVERSARY_PAGES   16          /* of its third that a member uses */
#define ADVERSARY_RECORD  512
#define ADVERSARY_SECOND  2048 /* where the second thread of a member begins */
#define ADVERSARY_AGAIN   5    /* ms after which the file is looked at again */
#define ADVERSARY_ACKS    7000 /* ms that a revoke waits for a member */
#define ADVERSARY_PAUSE   5000 /* us */
#define ADVERSARY_GOES_ON 1    /* the result of accesses that do not fail */

/*
 * A member in mid-traffic
 *
 * It understands the commands of member.h, and:
 *
 *   run OFFSET MARK FLAGS  start a thread that writes from OFFSET on; FLAGS: b
 *                          for all signals blocked, s for a pause after each
 *                          write, so that many programs can run at a time
 *   acked N                the last number of the Nth thread that was
 *                          acknowledged
 *   asked N                when daxpin_file_check() was called for that (ns)
 *   result N               -errno of the first access that failed, or
 *                          ADVERSARY_GOES_ON
 *   limit NAME             as little as possible of it: files, data, space
 *   end                    end the threads
 */

typedef struct player_thread {
    pthread_t     thread;
    member_t      *member;
    size_t        offset;
    char          mark;
    int           blocked;
    int           is_slow;
    unsigned      slot;
    _Atomic long  acked;
    _Atomic long  asked;
    _Atomic int   result;
} player_thread_t;

static player_thread_t player_threads[2];
static unsigned        player_count;
static _Atomic int     player_end;
static int             player_is_limited;

static long adversary_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static UNIT_RACY void player_fill(const player_thread_t *me, uint64_t number)
{
    volatile char *memory = me->member->memory + me->offset;
    volatile char *page   = memory + number % ADVERSARY_PAGES * 4096;
    unsigned i;

    for (i = sizeof(number); i < ADVERSARY_RECORD; ++i) {
        page[i] = me->mark;
    }
    *(volatile uint64_t*)memory = number;
}

static int player_write(player_thread_t *me, daxpin_access_t *access,
                        uint64_t number)
{
    int ret = daxpin_access_begin(access);
    long now;

    if (ret == 0) {
        player_fill(me, number);
        ret = daxpin_access_end(access, me->offset, ADVERSARY_PAGES * 4096 -
                                ADVERSARY_SECOND);
    }
    if ((ret == 0) && (number % 8 == 0)) {
        now = adversary_ns();
        ret = daxpin_file_check(me->member->file);
        if (ret == 0) {
            me->acked = (long)number;
            me->asked = now;
        }
    }
    return ret;
}

static void *player_run(void *arg)
{
    player_thread_t *me = arg;
    uint64_t number     = 0;
    daxpin_access_t access;
    sigset_t all;
    int ret = 0;

    if (me->blocked) {
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    }
    daxpin_access_init(me->member->file, me->slot, &access);
    while ((ret == 0) && !player_end) {
        ret = player_write(me, &access, ++number);
        if (me->is_slow) {
            usleep(ADVERSARY_PAUSE);
        }
    }
    if (ret != 0) {
        me->result = ret;
    }
    while (!player_end) {
        player_fill(me, ++number);
        usleep(me->is_slow ? ADVERSARY_PAUSE : 50);
    }
    return NULL;
}

static int player_start(member_t *member, char *args)
{
    player_thread_t *me = &player_threads[player_count];
    char flags[8];

    if (sscanf(args, "%zu %c %7s", &me->offset, &me->mark, flags) != 3) {
        return -1;
    }
    me->member  = member;
    me->blocked = strchr(flags, 'b') != NULL;
    me->is_slow = strchr(flags, 's') != NULL;
    me->slot    = daxpin_slot_get();
    me->acked   = 0;
    me->asked   = 0;
    me->result  = ADVERSARY_GOES_ON;
    ++player_count;
    return -pthread_create(&me->thread, NULL, player_run, me);
}

static int player_stop(void)
{
    player_end = 1;
    while (player_count > 0) {
        --player_count;
        pthread_join(player_threads[player_count].thread, NULL);
        daxpin_slot_put(player_threads[player_count].slot);
    }
    return 0;
}

/* Leave room for as little as the process has now. */
static int player_limit(const char *name)
{
    const int what = (strcmp(name, "files") == 0) ? RLIMIT_NOFILE : RLIMIT_DATA;
    struct rlimit limit = {0};

    player_is_limited = 1;
    if (strcmp(name, "space") == 0) {
        return unit_limit_space(4 * 4096);
    }
    if (what == RLIMIT_DATA) {
        limit.rlim_cur = 1024 * (rlim_t)(unit_number_in("/proc/self/status",
                                                        "VmData:") + 128);
    }
    limit.rlim_max = limit.rlim_cur;
    return (setrlimit((unsigned)what, &limit) == 0) ? 0 : -errno;
}

static long player_do(member_t *me, const char *what, char *args)
{
    if (strcmp(what, "run") == 0) {
        return player_start(me, args);
    } else if (strcmp(what, "acked") == 0) {
        return player_threads[atoi(args)].acked;
    } else if (strcmp(what, "asked") == 0) {
        return player_threads[atoi(args)].asked;
    } else if (strcmp(what, "result") == 0) {
        return player_threads[atoi(args)].result;
    } else if (strcmp(what, "limit") == 0) {
        return player_limit(args);
    } else if (strcmp(what, "end") == 0) {
        return player_stop();
    }
    return member_do(me, what, args);
}

static int player_child(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    member_serve(player_do);
    if (player_is_limited) {
        _exit(0); /* The search for leaks needs descriptors */
    }
    return 0;
}

/*
 * The other program
 *
 * It reads one command a line, and answers with 0 or an errno value; text: when
 * that was done (ns)
 *
 *   read    open for reading, and keep open
 *   write   open for reading and writing, and keep open
 *   over    open with O_TRUNC and write, as cp does, and keep open
 *   load    read the file; text: the number in each third
 *   put     write over all of the file
 *   pure    the number of bytes that it has not written; text: the first one
 *   cut     truncate by path to nothing
 *   lock    take the locks of flock() and fcntl() that a reader may take
 *   user    become another user
 *   meet    take the names where the members meet; the line of a failure that
 *           is missing
 *   close   close all
 */

typedef struct other {
    const char *path;
    int        read_fd;
    int        write_fd;
    int        socket_fd;
    unsigned   uid; /* of the members */
    char       dir[DAXPIN_RUNDIR_MAX]; /* where they meet */
} other_t;

static char other_bytes[UNIT_LENGTH];

static int other_put(const other_t *me)
{
    memset(other_bytes, 'X', sizeof(other_bytes));
    return (pwrite(me->write_fd, other_bytes, sizeof(other_bytes), 0) ==
            (ssize_t)sizeof(other_bytes)) ? 0 : EIO;
}

static int other_open(int *fd_p, const char *path, int flags)
{
    *fd_p = open(path, flags | O_CLOEXEC);
    return (*fd_p >= 0) ? 0 : errno;
}

static int other_over(other_t *me)
{
    int ret = other_open(&me->write_fd, me->path, O_RDWR | O_TRUNC);

    return (ret == 0) ? other_put(me) : ret;
}

static void other_load(const other_t *me)
{
    int fd = (me->write_fd >= 0) ? me->write_fd : me->read_fd;
    uint64_t numbers[ADVERSARY_MEMBERS];
    unsigned i;

    if (pread(fd, other_bytes, sizeof(other_bytes), 0) !=
        (ssize_t)sizeof(other_bytes)) {
        child_report(EIO, "load");
        return;
    }
    for (i = 0; i < ADVERSARY_MEMBERS; ++i) {
        memcpy(&numbers[i], other_bytes + i * ADVERSARY_THIRD,
               sizeof(numbers[i]));
    }
    child_report(0, "%lu %lu %lu", numbers[0], numbers[1], numbers[2]);
}

static void other_look(const other_t *me)
{
    ssize_t length = pread(me->write_fd, other_bytes, sizeof(other_bytes), 0);
    long count     = (long)sizeof(other_bytes) - length;
    size_t i, first = sizeof(other_bytes);

    for (i = 0; i < (size_t)length; ++i) {
        if (other_bytes[i] != 'X') {
            first = (count == 0) ? i : first;
            ++count;
        }
    }
    child_report(count, "from %zu on: %#x", first,
                 (first < sizeof(other_bytes)) ? other_bytes[first] & 0xff : 0);
}

static int other_lock(const other_t *me)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    return ((flock(me->read_fd, LOCK_EX) == 0) &&
            (fcntl(me->read_fd, F_SETLK, &lock) == 0)) ? 0 : errno;
}

static int other_user(void)
{
    return ((setresgid(UNIT_NOBODY, UNIT_NOBODY, UNIT_NOBODY) == 0) &&
            (setresuid(UNIT_NOBODY, UNIT_NOBODY, UNIT_NOBODY) == 0)) ? 0 :
                                                                      errno;
}

#define other_check_fails(_call) \
    do { \
        if ((_call) >= 0) { \
            return __LINE__; \
        } \
    } while (0)

/* Do to a directory what another user should not be able to do. */
static int other_meet_at(const char *dir, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_MAX], lock[PATH_MAX + 8];
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
    other_check_fails(connect(fd, (struct sockaddr*)&address,
                              sizeof(address)));
    other_check_fails(bind(fd, (struct sockaddr*)&address, sizeof(address)));
    close(fd);
    other_check_fails(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    other_check_fails(open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    other_check_fails(open(lock, O_RDONLY | O_CLOEXEC));
    other_check_fails(unlink(path));
    other_check_fails(unlink(lock));
    other_check_fails(mkdir(dir, 0777));
    other_check_fails(chmod(dir, 0777));
    other_check_fails(rename(dir, "/dev/shm/daxpin-moved"));
    other_check_fails(rmdir(dir));
    return 0;
}

/* Take names that daxpin might use, and try those that it does use. */
static int other_meet(other_t *me)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    char name[64];
    int length;

    if (stat(me->path, &st) != 0) {
        return errno;
    }
    snprintf(name, sizeof(name), "%lx-%lx", st.st_dev, st.st_ino);
    length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                      "daxpin-%u-%s", me->uid, name);
    length += (int)offsetof(struct sockaddr_un, sun_path) + 1;
    me->socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    other_check_fails(connect(me->socket_fd, (struct sockaddr*)&address,
                              (socklen_t)length));
    if ((bind(me->socket_fd, (struct sockaddr*)&address,
              (socklen_t)length) != 0) || (listen(me->socket_fd, 8) != 0)) {
        return errno;
    }
    return other_meet_at(me->dir, name);
}

static int other_close(other_t *me)
{
    close(me->read_fd);
    close(me->write_fd);
    close(me->socket_fd);
    me->read_fd = me->write_fd = me->socket_fd = -1;
    return 0;
}

static int other_do(other_t *me, const char *what)
{
    if (strcmp(what, "read") == 0) {
        return other_open(&me->read_fd, me->path, O_RDONLY);
    } else if (strcmp(what, "write") == 0) {
        return other_open(&me->write_fd, me->path, O_RDWR);
    } else if (strcmp(what, "over") == 0) {
        return other_over(me);
    } else if (strcmp(what, "put") == 0) {
        return other_put(me);
    } else if (strcmp(what, "cut") == 0) {
        return (truncate(me->path, 0) == 0) ? 0 : errno;
    } else if (strcmp(what, "lock") == 0) {
        return other_lock(me);
    } else if (strcmp(what, "user") == 0) {
        return other_user();
    } else if (strcmp(what, "meet") == 0) {
        return other_meet(me);
    }
    return (strcmp(what, "close") == 0) ? other_close(me) : EINVAL;
}

static int other_child(int argc, char **argv)
{
    other_t me = {.path = argv[argc - 1], .read_fd = -1, .write_fd = -1,
                  .socket_fd = -1, .uid = geteuid()};
    char line[CHILD_LINE_MAX];
    int ret;

    close(daxpin_rundir_open(me.dir));
    while (child_read(line, sizeof(line))) {
        if (strcmp(line, "load") == 0) {
            other_load(&me);
        } else if (strcmp(line, "pure") == 0) {
            other_look(&me);
        } else {
            ret = other_do(&me, line);
            child_report(ret, "%ld", adversary_ns());
        }
    }
    return 0;
}

/*
 * The scene
 */

typedef struct scene {
    unsigned   round;
    const char *path;
    child_t    members[ADVERSARY_MEMBERS];
    child_t    other;
    unsigned   absent; /* member that has ended; ADVERSARY_MEMBERS: none */
    long       impure; /* rounds in which a lent file had bytes of members */
} scene_t;

typedef void (*act_t)(scene_t *scene);

/* Return the number of rounds that somebody has asked for, or 0. */
static unsigned adversary_asked(void)
{
    const char *value = getenv("DAXPIN_ADVERSARY_ROUNDS");

    return (value != NULL) ? (unsigned)atoi(value) : 0;
}

static unsigned adversary_rounds(void)
{
    const unsigned asked = adversary_asked();

    return (asked > 0)    ? asked :
           UNIT_SANITIZED ? 2 : pace_rounds(20, 5);
}

/* Return after how many seconds a lease expires. */
static unsigned adversary_break_time(void)
{
    return (unsigned)unit_number_in("/proc/sys/fs/lease-break-time", "");
}

/* Return the first member from number i on that has not ended. */
static unsigned scene_next(const scene_t *scene, unsigned i)
{
    return (i == scene->absent) ? i + 1 : i;
}

static long scene_acked(scene_t *scene, unsigned i)
{
    long number = child_query(&scene->members[i], "acked 0");

    if (number < 0) {
        fail_msg("round %u: member %u: %ld", scene->round, i, number);
    }
    return number;
}

/* Have all members do the same at a time. */
static __attribute__((format(printf, 2, 3))) void
scene_all(scene_t *scene, const char *format, ...)
{
    char line[CHILD_LINE_MAX];
    unsigned i;
    va_list ap;
    long ret;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        child_send(&scene->members[i], "%s", line);
    }
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        ret = child_answer(&scene->members[i], CHILD_WAIT_MS);
        if (ret != 0) {
            fail_msg("round %u: member %u: %s: %ld: %s", scene->round, i, line,
                     ret, scene->members[i].text);
        }
    }
}

static __attribute__((noreturn)) void
scene_fail(const scene_t *scene, unsigned i, const char *what)
{
    child_t member = scene->members[i];
    char state[CHILD_LINE_MAX];

    (void)child_query(&member, "state");
    snprintf(state, sizeof(state), "%s", member.text);
    (void)child_query(&member, "cause");
    fail_msg("round %u: member %u: %s: %s: %s", scene->round, i, what, state,
             member.text);
    abort();
}

/* Check that nothing has happened to the members so far. */
static void scene_check_undisturbed(scene_t *scene)
{
    unsigned i;

    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        if (!member_has_state(&scene->members[i], HELD) ||
            (child_query(&scene->members[i], "result 0") !=
             ADVERSARY_GOES_ON)) {
            scene_fail(scene, i, "disturbed before the act");
        }
    }
}

/* Start three members, and wait until each has something acknowledged. */
static void scene_begin(scene_t *scene, const char *dir, const char *flags)
{
    unsigned i;

    alarm((UNIT_SECONDS + adversary_break_time()) * unit_slow());
    scene->path   = unit_path(dir, "adversary");
    scene->absent = ADVERSARY_MEMBERS;
    unit_make_file(scene->path, UNIT_LENGTH, 0);
    chmod(scene->path, 0644);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        child_spawn(&scene->members[i], "player", NULL);
    }
    scene_all(scene, "open %s %d %u", scene->path, UNIT_LENGTH,
              5000 * unit_slow());
    child_spawn(&scene->other, "other", scene->path, NULL);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        assert_child_ok(&scene->members[i], "run %u %c %s",
                        i * ADVERSARY_THIRD, 'a' + (int)i, flags);
    }
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        assert_true(unit_await(10000, scene_acked(scene, i) > 0));
    }
    scene_check_undisturbed(scene);
}

static void scene_end(scene_t *scene)
{
    unsigned i;

    scene_all(scene, "end");
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        child_finish(&scene->members[i]);
    }
    child_finish(&scene->other);
    unlink(scene->path);
}

/* Return the number of the holder; ADVERSARY_MEMBERS: there is none. */
static unsigned scene_holder(scene_t *scene)
{
    unsigned i;

    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        if (child_query(&scene->members[i], "holder") == 1) {
            break;
        }
    }
    return i;
}

static void scene_other(scene_t *scene, const char *what)
{
    long ret = child_query(&scene->other, "%s", what);

    if (ret != 0) {
        fail_msg("round %u: %s: %ld: %s", scene->round, what, ret,
                 scene->other.text);
    }
}

/* Check that what the other program has read has all that was acknowledged. */
static void scene_check_content(scene_t *scene, const char *content,
                                const long *acked)
{
    long found[ADVERSARY_MEMBERS];
    unsigned i;

    i = (unsigned)sscanf(content, "%ld %ld %ld", &found[0],
                         &found[1], &found[2]);
    assert_int_equal(i, ADVERSARY_MEMBERS);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        if (found[i] < acked[i]) {
            fail_msg("round %u: member %u: %ld is acknowledged, %ld is in the "
                     "file", scene->round, i, acked[i], found[i]);
        }
    }
}

/* Read the file while the members go on. */
static void scene_read(scene_t *scene)
{
    long acked[ADVERSARY_MEMBERS] = {0};
    unsigned i;

    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        acked[i] = scene_acked(scene, i);
    }
    scene_other(scene, "load");
    scene_check_content(scene, scene->other.text, acked);
}

static void scene_check_revoked(scene_t *scene)
{
    unsigned i;

    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        assert_member_becomes(&scene->members[i], REVOKED);
        assert_true(unit_await(10000, child_query(&scene->members[i],
                                                  "result 0") == -ESTALE));
    }
}

/* Have the other program change the file and check that each member is revoked,
 * and that nothing was acknowledged that was asked for after the change. */
static void scene_change(scene_t *scene, const char *what)
{
    long changed, asked;
    unsigned i;

    scene_other(scene, what);
    changed = atol(scene->other.text);
    scene_check_revoked(scene);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        asked = child_query(&scene->members[i], "asked 0");
        if ((asked < 0) || (asked > changed)) {
            fail_msg("round %u: member %u: acknowledged %ld ns after the "
                     "change by %s", scene->round, i, asked - changed, what);
        }
    }
}

/* Check that the file has nothing but what the other program has written. */
static void scene_check_pure(scene_t *scene)
{
    scene_other(scene, "pure");
    unit_sleep_ms(ADVERSARY_AGAIN);
    scene_other(scene, "pure");
}

/* Check that each member was revoked, and that the other program can now write
 * undisturbed. */
static void scene_check_lost(scene_t *scene)
{
    scene_check_revoked(scene);
    scene_other(scene, "put");
    scene_check_pure(scene);
}

/* Check that each member goes on as before. */
static void scene_check_goes_on(scene_t *scene)
{
    unsigned i;
    long acked;

    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        if (!unit_await(10000, member_has_state(&scene->members[i], HELD))) {
            scene_fail(scene, i, "does not go on");
        }
        acked = scene_acked(scene, i);
        if (!unit_await(10000, scene_acked(scene, i) > acked) ||
            (child_query(&scene->members[i], "result 0") !=
             ADVERSARY_GOES_ON)) {
            scene_fail(scene, i, "accesses do not go on");
        }
    }
}

/* Play an act. With a cut, the shared open file description is truncated, which
 * waits for a hold where there is one. */
static void play(act_t act, unsigned rounds, int cut, const char *flags)
{
    const int held = cut && unit_is_dax(unit_disk);
    scene_t scene  = {0};

    for (scene.round = 0; scene.round < rounds; ++scene.round) {
        scene_begin(&scene, (held || (scene.round % 2 != 0)) ? unit_memory :
                                                               unit_disk,
                    flags);
        act(&scene);
        scene_end(&scene);
    }
    if (scene.impure > 0) {
        print_message("# in %ld of %u rounds, a member wrote to the file while "
                      "it was lent\n", scene.impure, rounds);
    }
}

/*
 * Harmful acts
 */

static void act_lend(scene_t *scene)
{
    scene_other(scene, "read");
    assert_member_becomes(&scene->members[scene->round % ADVERSARY_MEMBERS],
                          LENT);
    scene_read(scene);
}

/* While a file is lent, no lease makes the writer wait: until they are revoked,
 * members may write, too. Nothing of that is acknowledged. */
static void act_change_lent(scene_t *scene, const char *what)
{
    long impure;

    scene_change(scene, what);
    impure = child_query(&scene->other, "pure");
    assert_true(impure >= 0);
    scene->impure += impure > 0;
    scene_check_lost(scene);
}

/* While it is not lent, the writer waits, and the file is its own at once. */
static void act_overwrite(scene_t *scene)
{
    if (scene->round / 2 % 2 != 0) {
        scene_change(scene, "over");
        scene_check_pure(scene);
        return;
    }
    act_lend(scene);
    act_change_lent(scene, "over");
}

static void test_overwrite(void **state)
{
    play(act_overwrite, adversary_rounds(), 0, "-");
    (void)state;
}

/* The lease makes the writer wait until the members are revoked: all that they
 * have had acknowledged is there, and all that comes later is the writer's. */
static void act_rewrite(scene_t *scene)
{
    long acked[ADVERSARY_MEMBERS] = {0};
    unsigned i;

    scene_change(scene, "write");
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        acked[i] = scene_acked(scene, i);
    }
    scene_other(scene, "load");
    scene_check_content(scene, scene->other.text, acked);
    scene_other(scene, "put");
    scene_check_pure(scene);
}

static void test_rewrite(void **state)
{
    play(act_rewrite, adversary_rounds(), 0, "-");
    (void)state;
}

static void act_read_then_write(scene_t *scene)
{
    act_lend(scene);
    scene_other(scene, "write");
    scene_read(scene);
    act_change_lent(scene, "put");
}

static void test_read_then_write(void **state)
{
    play(act_read_then_write, adversary_rounds(), 0, "-");
    (void)state;
}

static void act_truncate(scene_t *scene)
{
    scene_change(scene, "cut");
    assert_int_equal(unit_file_size(scene->path), 0);
    scene_other(scene, "write");
    scene_other(scene, "put");
    scene_check_pure(scene);
}

static void test_truncate(void **state)
{
    play(act_truncate, adversary_rounds(), 0, "-");
    (void)state;
}

/* Truncate through the description that the members share, which breaks no
 * lease: only a fault shows it. */
static void act_cut(scene_t *scene)
{
    unsigned i = scene->round % ADVERSARY_MEMBERS;

    assert_child_ok(&scene->members[i], "cut 0");
    scene_check_revoked(scene);
    scene_other(scene, "write");
    scene_check_lost(scene);
}

static void act_no_descriptors(scene_t *scene)
{
    unsigned i = scene->round / 2 % (ADVERSARY_MEMBERS + 1);

    if (i < ADVERSARY_MEMBERS) {
        assert_child_ok(&scene->members[i], "limit files");
    } else {
        scene_all(scene, "limit files");
    }
    act_truncate(scene);
}

static void test_no_descriptors(void **state)
{
    play(act_no_descriptors, adversary_rounds(), 0, "-");
    (void)state;
}

static void act_strict_memory(scene_t *scene)
{
    scene_all(scene, "limit %s", (scene->round / 2 % 2) ? "data" : "space");
    if (scene->round / 4 % 2) {
        act_cut(scene);
    } else {
        act_truncate(scene);
    }
}

static void test_strict_memory(void **state)
{
    if (UNIT_SANITIZED) {
        skip(); /* they need memory of their own all the time */
    }
    play(act_strict_memory, adversary_rounds(), 1, "-");
    (void)state;
}

static void test_blocked_signals(void **state)
{
    play(act_cut, adversary_rounds(), 1, "b");
    (void)state;
}

/* Two threads of a member meet the end of the file at one page. */
static void act_two_faults(scene_t *scene)
{
    const unsigned i = (scene->round + 1) % ADVERSARY_MEMBERS;
    child_t *member  = &scene->members[i];

    assert_child_ok(member, "run %u %c -",
                    i * ADVERSARY_THIRD + ADVERSARY_SECOND, 'A');
    assert_true(unit_await(10000, child_query(member, "acked 1") > 0));
    act_cut(scene);
    assert_true(unit_await(10000, child_query(member, "result 1") ==
                                  -ESTALE));
}

static void test_two_faults(void **state)
{
    play(act_two_faults, adversary_rounds(), 1, "-");
    (void)state;
}

/* Return whether a member has the file mapped. */
static int scene_is_mapped(const scene_t *scene, const child_t *member)
{
    char name[64], line[PATH_MAX + 128];
    int mapped = 0;
    FILE *maps;

    snprintf(name, sizeof(name), "/proc/%d/maps", (int)member->pid);
    maps = fopen(name, "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        mapped |= strstr(line, scene->path) != NULL;
    }
    fclose(maps);
    return mapped;
}

/* A member is stopped in mid-traffic. When it goes on, it reads at once that
 * the file is revoked, but has yet to replace its memory. On DAX its hold makes
 * the truncate wait, see test_revoke.c. */
static void act_suspend(scene_t *scene)
{
    const unsigned holder = scene_holder(scene);
    child_t *member       = &scene->members[(holder + 1) % ADVERSARY_MEMBERS];
    unsigned i;

    assert_true(holder < ADVERSARY_MEMBERS);
    child_stop(member);
    child_send(&scene->other, "cut");
    assert_int_equal(child_answer(&scene->other, ADVERSARY_ACKS + 5000), 0);
    for (i = 0; (i = scene_next(scene, i)) < ADVERSARY_MEMBERS; ++i) {
        if (&scene->members[i] != member) {
            assert_member_becomes(&scene->members[i], REVOKED);
        }
    }
    assert_int_equal(kill(member->pid, SIGCONT), 0);
    scene_check_revoked(scene);
    assert_int_equal(unit_file_size(scene->path), 0);
    scene_other(scene, "write");
    assert_true(unit_await(10000, !scene_is_mapped(scene, member)));
    scene_check_lost(scene);
}

/* Each round takes as long as a revoke waits for a member. */
static void test_suspend(void **state)
{
    play(act_suspend, (adversary_rounds() + 19) / 20, 1, "s");
    (void)state;
}

/* The holder is stopped until its lease has expired, and the other program is
 * let in and writes. By then the other members have found out by themselves.
 * The holder finds out when it goes on; until then its threads store to the
 * file. */
static void act_suspend_holder(scene_t *scene)
{
    const uint64_t ms     = adversary_break_time() * 1000 + 5000;
    const unsigned holder = scene_holder(scene);
    long acked[ADVERSARY_MEMBERS], opened, asked;
    char content[CHILD_LINE_MAX];
    unsigned i;

    assert_true(holder < ADVERSARY_MEMBERS);
    child_stop(&scene->members[holder]);
    child_send(&scene->other, "write");
    assert_int_equal(child_answer(&scene->other, ms), 0);
    opened = atol(scene->other.text);
    scene_other(scene, "load");
    snprintf(content, sizeof(content), "%s", scene->other.text);
    scene_other(scene, "put");
    assert_int_equal(kill(scene->members[holder].pid, SIGCONT), 0);
    scene_check_revoked(scene);
    for (i = 0; i < ADVERSARY_MEMBERS; ++i) {
        acked[i] = scene_acked(scene, i);
        asked    = child_query(&scene->members[i], "asked 0");
        if ((asked < 0) || (asked > opened)) {
            fail_msg("round %u: member %u of holder %u: acknowledged %ld ns "
                     "after the lease has expired", scene->round, i, holder,
                     asked - opened);
        }
    }
    scene_check_content(scene, content, acked);
    scene_check_lost(scene);
}

/* Each round takes as long as a lease stays. */
static void test_suspend_holder(void **state)
{
    if ((adversary_asked() == 0) && (adversary_break_time() > 3)) {
        skip(); /* the setting is that of the whole machine */
    }
    play(act_suspend_holder, (adversary_rounds() + 19) / 20, 1, "s");
    (void)state;
}

/*
 * Harmless acts
 */

static void act_reader(scene_t *scene)
{
    act_lend(scene);
    scene_other(scene, "close");
    scene_check_goes_on(scene);
}

static void test_reader(void **state)
{
    play(act_reader, adversary_rounds(), 0, "-");
    (void)state;
}

static void act_lock(scene_t *scene)
{
    if ((geteuid() == 0) && (scene->round / 2 % 2 != 0)) {
        scene_other(scene, "user");
    }
    act_lend(scene);
    scene_other(scene, "lock");
    scene_read(scene);
    scene_other(scene, "close");
    scene_check_goes_on(scene);
}

static void test_lock(void **state)
{
    play(act_lock, adversary_rounds(), 0, "-");
    (void)state;
}

/* Another user is where the members meet, and a new member comes. */
static void act_meet(scene_t *scene)
{
    child_t late;

    scene_other(scene, "user");
    scene_other(scene, "meet");
    member_start_open(&late, scene->path);
    assert_child_ok(&late, "put %d 8 1", UNIT_LENGTH - 4096);
    assert_int_equal(child_query(&late, "holder"), 0);
    scene_check_goes_on(scene);
    assert_child_ok(&late, "close");
    child_finish(&late);
    scene_other(scene, "close");
    scene_check_goes_on(scene);
}

static void test_meeting_place(void **state)
{
    if ((geteuid() != 0) || (getenv("DAXPIN_RUNTIME_DIR") != NULL)) {
        skip();
    }
    play(act_meet, adversary_rounds(), 0, "-");
    (void)state;
}

/* The holder ends, the others go on, and are revoked as ever. */
static void act_holder_ends(scene_t *scene)
{
    unsigned i = scene_holder(scene);

    scene->absent = i;
    if (scene->round / 2 % 2 == 0) {
        child_kill(&scene->members[i]);
    } else {
        child_send(&scene->members[i], "exit");
        child_finish(&scene->members[i]);
    }
    if (!unit_await(10000, scene_holder(scene) < ADVERSARY_MEMBERS)) {
        scene_fail(scene, scene_next(scene, 0), "there is no new holder");
    }
    scene_check_goes_on(scene);
    act_truncate(scene);
}

static void test_holder_ends(void **state)
{
    play(act_holder_ends, adversary_rounds(), 0, "-");
    (void)state;
}

int main(int argc, char **argv)
{
    static const child_entry_t children[] = {
        MEMBER_ENTRY, {"player", player_child}, {"other", other_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_overwrite),
        unit_case(test_rewrite),
        unit_case(test_read_then_write),
        unit_case(test_truncate),
        unit_case(test_no_descriptors),
        unit_case(test_strict_memory),
        unit_case(test_blocked_signals),
        unit_case(test_two_faults),
        unit_case(test_suspend),
        unit_case(test_suspend_holder),
        unit_case(test_reader),
        unit_case(test_lock),
        unit_case(test_meeting_place),
        unit_case(test_holder_ends)
    };

    return unit_main("adversary", argc, argv, children, tests);
}
