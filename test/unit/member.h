/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Other processes that use daxpin
 *
 * Each member works on one file. It reads one command a line and answers with a
 * number, and with the library's message as text:
 *
 *   open PATH LENGTH MS   daxpin_file_open()
 *   attach KEY            daxpin_file_attach()
 *   grow PATH LENGTH      open() and ftruncate() of the member's own, and
 *                         fallocate() of the last page
 *   map PATH LENGTH FLAGS open() and mmap() of the member's own; FLAGS: a for
 *                         O_APPEND, r for O_RDONLY, p for a private mapping, o
 *                         for none
 *   adopt DIR MS          daxpin_file_adopt() of that mapping, of files below
 *                         DIR
 *   lend PATH MS          daxpin_file_lend()
 *   close                 unadopt, unpin and close the file
 *   state, cause, locks   of the file
 *   holder                whether this process is the holder
 *   key                   text: the key
 *   put OFFSET COUNT BYTE an access: 0 or -errno
 *   mem OFFSET            the byte in memory at OFFSET
 *   set OFFSET BYTE       a plain store at OFFSET, outside an access
 *   begin, end            an access that lasts from begin to end
 *   traffic               accesses without pause, until one fails: -errno
 *   has FD                whether this process has the descriptor
 *   check                 daxpin_file_check()
 *   write OFFSET COUNT    pwrite() to the shared open file description
 *   cut LENGTH            ftruncate() of the shared open file description
 *   shrink LENGTH         daxpin_file_shrink()
 *   release               daxpin_lease_release()
 *   lease                 F_SETLEASE by the shared open file description
 *   pin OFFSET LENGTH     0 or -errno
 *   same PID FD           kcmp() of the member's descriptor and FD of PID
 *   number                the member's descriptor of the file
 *   user UID              setuid()
 *   exit                  exit without closing the file
 */

#ifndef MEMBER_H_
#define MEMBER_H_

#include "child.h"
#include "daxpin/access.h"
#include "daxpin/adopt.h"
#include "daxpin/file/share.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>

typedef struct member {
    daxpin_file_t   *file;
    unsigned        slot;
    daxpin_access_t access;
    char            *memory;
    size_t          length;
    int             fd;      /* from the command "map" */
    int             adopted;
    daxpin_pin_t    *pin;    /* from the last command "pin" */
} member_t;

static UNIT_UNUSED int member_opened(member_t *me, int ret)
{
    if (ret == 0) {
        me->slot = daxpin_slot_get();
        me->length = daxpin_file_length(me->file);
        if (me->memory == NULL) {
            me->memory = daxpin_file_addr(me->file, 0, me->length);
        }
    }
    return ret;
}

static UNIT_UNUSED int member_open(member_t *me, char *args)
{
    daxpin_params_t params = {0};
    char path[PATH_MAX];
    size_t length;

    if (sscanf(args, "%s %zu %u", path, &length, &params.timeout_ms) != 3) {
        return -1;
    }
    return member_opened(me, daxpin_file_open(path, length, &params,
                                              &me->file));
}

static UNIT_UNUSED int member_attach(member_t *me, char *args)
{
    daxpin_key_t key;

    if (sscanf(args, "%lx-%lx-%lx-%x-%x", &key.dev, &key.ino, &key.generation,
               &key.uid, &key.pid) != 5) {
        return -1;
    }
    return member_opened(me, daxpin_file_attach(&key, &me->file));
}

static UNIT_UNUSED const char *member_key_text(const daxpin_file_t *file)
{
    static char text[128];
    daxpin_key_t key;

    daxpin_file_key(file, &key);
    snprintf(text, sizeof(text), "%lx-%lx-%lx-%x-%x", key.dev, key.ino,
             key.generation, key.uid, key.pid);
    return text;
}

static UNIT_UNUSED int member_grow(char *args)
{
    char path[PATH_MAX];
    long length;
    int fd, ret;

    if (sscanf(args, "%s %ld", path, &length) != 2) {
        return -1;
    }
    fd  = open(path, O_RDWR | O_CLOEXEC);
    ret = ((fd >= 0) && (ftruncate(fd, length) == 0) &&
           (fallocate(fd, 0, length - 4096, 4096) == 0)) ? 0 : -errno;
    close(fd);
    return ret;
}

static UNIT_UNUSED int member_map(member_t *me, char *args)
{
    char path[PATH_MAX], flags[16];

    if (sscanf(args, "%s %zu %15s", path, &me->length, flags) != 3) {
        return -1;
    }
    me->fd = open(path, O_CLOEXEC |
                  ((strchr(flags, 'r') != NULL) ? O_RDONLY : O_RDWR) |
                  ((strchr(flags, 'a') != NULL) ? O_APPEND : 0));
    if (me->fd < 0) {
        return -errno;
    }
    if (strchr(flags, 'o') != NULL) {
        return 0;
    }
    me->memory = mmap(NULL, me->length, (strchr(flags, 'r') != NULL) ?
                      PROT_READ : PROT_READ | PROT_WRITE,
                      (strchr(flags, 'p') != NULL) ? MAP_PRIVATE : MAP_SHARED,
                      me->fd, 0);
    return (me->memory != MAP_FAILED) ? 0 : -errno;
}

static UNIT_UNUSED int member_lend(member_t *me, char *args)
{
    daxpin_params_t params = {0};
    daxpin_inode_t inode   = {0};
    char path[PATH_MAX];
    struct stat st;

    if ((sscanf(args, "%s %u", path, &params.timeout_ms) != 2) ||
        (stat(path, &st) != 0)) {
        return -1;
    }
    inode.dev     = st.st_dev;
    inode.ino     = st.st_ino;
    inode.map_dev = st.st_dev;
    inode.map_ino = st.st_ino;
    return daxpin_file_lend(&inode, &params, &me->file);
}

static UNIT_UNUSED int member_adopt(member_t *me, char *args)
{
    daxpin_params_t params = {0};
    const char *dirs[2]    = {NULL, NULL};
    char path[PATH_MAX];
    uint64_t offset;
    int ret;

    if (sscanf(args, "%s %u", path, &params.timeout_ms) != 2) {
        return -1;
    }
    dirs[0] = path;
    ret     = daxpin_set_files(dirs);
    if (ret == 0) {
        ret = daxpin_file_adopt(me->memory, me->length, &params, &me->file,
                                &offset);
    }
    me->adopted = ret == 0;
    return member_opened(me, ret);
}

static UNIT_UNUSED int member_close(member_t *me)
{
    if (me->adopted) {
        daxpin_file_unadopt(me->file, me->memory, me->length);
    }
    daxpin_slot_put(me->slot);
    daxpin_unpin(me->pin);
    daxpin_file_close(me->file);
    memset(me, 0, sizeof(*me));
    return 0;
}

static UNIT_UNUSED int member_put(member_t *me, char *args)
{
    size_t offset, count;
    int byte, ret;

    if (sscanf(args, "%zu %zu %d", &offset, &count, &byte) != 3) {
        return -1;
    }
    daxpin_access_init(me->file, me->slot, &me->access);
    ret = daxpin_access_begin(&me->access);
    if (ret == 0) {
        memset(me->memory + offset, byte, count);
        ret = daxpin_access_end(&me->access, offset, count);
    }
    return ret;
}

static UNIT_UNUSED int member_traffic(member_t *me)
{
    uint64_t end = unit_ms() + 20000 * unit_slow();
    size_t offset;
    int ret, i;

    daxpin_access_init(me->file, me->slot, &me->access);
    for (i = 0; unit_ms() < end; ++i) {
        offset = (size_t)i * 512 % (me->length - 512);
        ret    = daxpin_access_begin(&me->access);
        if (ret == 0) {
            memset(me->memory + offset, i, 512);
            ret = daxpin_access_end(&me->access, offset, 512);
        }
        if (ret != 0) {
            return ret;
        }
    }
    return 0;
}

static UNIT_UNUSED int member_pin(member_t *me, char *args)
{
    size_t offset, length;

    if (sscanf(args, "%zu %zu", &offset, &length) != 2) {
        return -1;
    }
    daxpin_unpin(me->pin);
    return daxpin_pin(me->file, offset, length, NULL, &me->pin);
}

/* Return whether the loop knows of no process that shares a file with this one. */
static UNIT_UNUSED int member_is_alone(daxpin_file_t *file)
{
    int is_alone;

    pthread_mutex_lock(&daxpin_mutex);
    is_alone = daxpin_share_is_alone(file);
    pthread_mutex_unlock(&daxpin_mutex);
    return is_alone;
}

/* Count the descriptors of this process, while the loop has none for a moment. */
static UNIT_UNUSED int member_count_fds(void)
{
    int count;

    pthread_mutex_lock(&daxpin_mutex);
    count = unit_count_fds();
    pthread_mutex_unlock(&daxpin_mutex);
    return count;
}

/* Return this process's descriptor of the file, or -1. It may be one of the
 * library. Use stat() of its name, because ThreadSanitizer reports fstat() of a
 * descriptor of the library as a race with the library's close(). */
static UNIT_UNUSED int member_number(const member_t *me)
{
    struct stat st;
    daxpin_key_t key;
    char name[64];
    int fd;

    daxpin_file_key(me->file, &key);
    for (fd = 0; fd < 256; ++fd) {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        if ((stat(name, &st) == 0) && (st.st_ino == key.ino) &&
            (st.st_dev == key.dev)) {
            return fd;
        }
    }
    return -1;
}

static UNIT_UNUSED int member_same(const member_t *me, char *args)
{
    int pid, fd;

    if (sscanf(args, "%d %d", &pid, &fd) != 2) {
        return -1;
    }
    return (int)syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, member_number(me),
                        fd);
}

/* Load and store outside an access: tests need these to race with a revoke. */
static UNIT_UNUSED UNIT_RACY int member_load(const member_t *me, size_t offset)
{
    return ((volatile unsigned char*)me->memory)[offset];
}

static UNIT_UNUSED UNIT_RACY void member_store(member_t *me, size_t offset,
                                               int byte)
{
    ((volatile char*)me->memory)[offset] = (char)byte;
}

/* Answer a command that only reads. Return 0 if the command is another one. */
static UNIT_UNUSED int member_check(member_t *me, const char *what, char *args)
{
    char text[CHILD_LINE_MAX];

    if (strcmp(what, "state") == 0) {
        child_report(daxpin_file_state(me->file), "%s",
                  daxpin_state_name(daxpin_file_state(me->file)));
    } else if (strcmp(what, "cause") == 0) {
        daxpin_file_cause(me->file, text, sizeof(text));
        child_report(0, "%s", text);
    } else if (strcmp(what, "holder") == 0) {
        child_report(daxpin_file_is_holder(me->file), "holder");
    } else if (strcmp(what, "locks") == 0) {
        child_report(daxpin_file_locks(me->file), "locks");
    } else if (strcmp(what, "key") == 0) {
        child_report(0, "%s", member_key_text(me->file));
    } else if (strcmp(what, "mem") == 0) {
        child_report(member_load(me, strtoul(args, NULL, 10)), "byte");
    } else if (strcmp(what, "same") == 0) {
        child_report(member_same(me, args), "kcmp");
    } else if (strcmp(what, "number") == 0) {
        child_report(member_number(me), "descriptor");
    } else {
        return 0;
    }
    return 1;
}

static UNIT_UNUSED int member_write(const member_t *me, char *args)
{
    static char bytes[4096];
    long offset;
    size_t count;

    if ((sscanf(args, "%ld %zu", &offset, &count) != 2) ||
        (count > sizeof(bytes))) {
        return -1;
    }
    memset(bytes, 'o', count);
    return (pwrite(member_number(me), bytes, count, offset) ==
            (ssize_t)count) ? 0 : -errno;
}

static UNIT_UNUSED long member_do(member_t *me, const char *what, char *args)
{
    size_t offset;
    int byte;

    if (strcmp(what, "open") == 0) {
        return member_open(me, args);
    } else if (strcmp(what, "attach") == 0) {
        return member_attach(me, args);
    } else if (strcmp(what, "grow") == 0) {
        return member_grow(args);
    } else if (strcmp(what, "map") == 0) {
        return member_map(me, args);
    } else if (strcmp(what, "adopt") == 0) {
        return member_adopt(me, args);
    } else if (strcmp(what, "lend") == 0) {
        return member_lend(me, args);
    } else if (strcmp(what, "close") == 0) {
        return member_close(me);
    } else if (strcmp(what, "put") == 0) {
        return member_put(me, args);
    } else if (strcmp(what, "traffic") == 0) {
        return member_traffic(me);
    } else if (strcmp(what, "pin") == 0) {
        return member_pin(me, args);
    } else if (strcmp(what, "begin") == 0) {
        daxpin_access_init(me->file, me->slot, &me->access);
        return daxpin_access_begin(&me->access);
    } else if (strcmp(what, "end") == 0) {
        return daxpin_access_end(&me->access, 0, 1);
    } else if (strcmp(what, "has") == 0) {
        return fcntl(atoi(args), F_GETFD) >= 0;
    } else if (strcmp(what, "check") == 0) {
        return daxpin_file_check(me->file);
    } else if (strcmp(what, "write") == 0) {
        return member_write(me, args);
    } else if (strcmp(what, "cut") == 0) {
        return (ftruncate(member_number(me), atol(args)) == 0) ? 0 : -errno;
    } else if (strcmp(what, "shrink") == 0) {
        return daxpin_file_shrink(me->file, strtoul(args, NULL, 10));
    } else if (strcmp(what, "release") == 0) {
        return daxpin_lease_release(me->file);
    } else if (strcmp(what, "lease") == 0) {
        return (fcntl(member_number(me), F_SETLEASE, F_WRLCK) == 0) ? 0 :
                                                                      -errno;
    } else if (strcmp(what, "user") == 0) {
        return (setuid((uid_t)atoi(args)) == 0) ? 0 : -errno;
    } else if ((strcmp(what, "set") == 0) &&
               (sscanf(args, "%zu %d", &offset, &byte) == 2)) {
        member_store(me, offset, byte);
        return 0;
    }
    return -1;
}

typedef long (*member_func_t)(member_t *me, const char *what, char *args);

/* Execute commands by a function until there are no more. */
static UNIT_UNUSED void member_serve(member_func_t func)
{
    char line[CHILD_LINE_MAX], *args;
    static member_t me; /* so that leak detection finds its file after "exit" */
    long ret;

    while (child_read(line, sizeof(line))) {
        args = line + strcspn(line, " ");
        if (*args != '\0') {
            *args++ = '\0';
        }
        if (strcmp(line, "exit") == 0) {
            exit(0);
        }
        if (!member_check(&me, line, args)) {
            ret = func(&me, line, args);
            child_report(ret, "%s", (ret != 0) ? daxpin_errormsg() : "");
        }
    }
}

static UNIT_UNUSED int member_child(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    member_serve(member_do);
    return 0;
}

#define MEMBER_ENTRY {"member", member_child}

static UNIT_UNUSED void member_start(child_t *child)
{
    child_spawn(child, "member", NULL);
}

/* Start a process that opens a file with daxpin_file_open(). */
static UNIT_UNUSED void member_start_open(child_t *child, const char *path)
{
    member_start(child);
    assert_child_ok(child, "open %s %d %u", path, UNIT_LENGTH,
                    5000 * unit_slow());
}

#define member_has_state(_child, _state) \
    (child_query(_child, "state") == DAXPIN_STATE_##_state)

/* Fail, and show in which state a member is and why. */
static UNIT_UNUSED void member_complain(child_t *child, const char *what)
{
    char state[32];
    long holder;

    (void)child_query(child, "state");
    snprintf(state, sizeof(state), "%.31s", child->text);
    holder = child_query(child, "holder");
    (void)child_query(child, "cause");
    fail_msg("%s: pid %d is %s, %s: \"%s\"", what, (int)child->pid, state,
             (holder == 1) ? "the holder" : "a member", child->text);
}

#define assert_member_becomes(_child, _state) \
    do { \
        if (!unit_await(10000, member_has_state(_child, _state))) { \
            member_complain(_child, "does not become " #_state); \
        } \
    } while (0)

#define assert_becomes(_file, _state) \
    assert_true(unit_await(10000, daxpin_file_state(_file) == \
                                  DAXPIN_STATE_##_state))

/* Return the holder among members, or count if there is not exactly one. */
static UNIT_UNUSED unsigned member_find_holder(child_t *members,
                                               unsigned count)
{
    unsigned holders = 0, holder = count, i;

    for (i = 0; i < count; ++i) {
        if (child_query(&members[i], "holder") == 1) {
            holder = i;
            ++holders;
        }
    }
    return (holders == 1) ? holder : count;
}

typedef struct member_lease {
    pid_t pid;
    ino_t ino;
} member_lease_t;

static UNIT_UNUSED int member_is_lease(const daxpin_lease_line_t *line,
                                       void *arg)
{
    const member_lease_t *lease = arg;

    return !line->waits && (line->pid == lease->pid) &&
           (line->ino == lease->ino);
}

/* Return whether a process has taken the lease of a file. */
static UNIT_UNUSED int member_has_lease(const child_t *child, const char *path)
{
    member_lease_t lease = {.pid = child->pid};
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    lease.ino = st.st_ino;
    return daxpin_proc_each_lease(DAXPIN_PROC_LOCKS, member_is_lease,
                                  &lease) > 0;
}

/* Wait until one of the members is the holder, with a lease of its own, and all
 * are HELD by its page. Return which one it is. */
static UNIT_UNUSED unsigned
member_await_holder(child_t *members, unsigned count, const char *path)
{
    unsigned holder, i;

    if (!unit_await(10000, member_find_holder(members, count) < count)) {
        for (i = 0; i < count; ++i) {
            member_complain(&members[i], "no member is the holder");
        }
    }
    for (i = 0; i < count; ++i) {
        assert_member_becomes(&members[i], HELD);
    }
    holder = member_find_holder(members, count);
    assert_true(holder < count);
    assert_true(unit_await(10000, member_has_lease(&members[holder], path)));
    for (i = 0; i < count; ++i) {
        assert_member_becomes(&members[i], HELD);
    }
    return holder;
}

#endif
