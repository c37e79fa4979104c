/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The address of a file: where its holder listens, and the election of it */

#include "address.h"

#include "clock.h"
#include "log.h"
#include "proc.h"
#include "roster.h"
#include "rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ADDRESS_BACKLOG   4096
#define ADDRESS_SWEEP_MAX 1024 /* names that one sweep looks at */
#define ADDRESS_LOCK      ".lock"
#define ADDRESS_NEW       ".new" /* the link of a door, before it has its name */
#define ADDRESS_DOOR_DEV  0 /* of no file: doors have numbers of their own */
#define ADDRESS_DOOR_TRIES 4

/* A time of a directory is as old as the tick of the kernel's clock, at most */
#define ADDRESS_SETTLED_SEC 1
#define ADDRESS_LOOK_PAUSE  (100 * DAXPIN_MSEC)

/* The names of an address: device and inode, in hexadecimal */
typedef struct address_names {
    char socket[40];
    char lock[48];
    char link[48];
} address_names_t;

static void address_make_names(uint64_t dev, uint64_t ino,
                               address_names_t *names)
{
    snprintf(names->socket, sizeof(names->socket), "%lx-%lx", dev, ino);
    snprintf(names->lock, sizeof(names->lock), "%s" ADDRESS_LOCK,
             names->socket);
    snprintf(names->link, sizeof(names->link), "%s" ADDRESS_NEW,
             names->socket);
}

/* Return the directory of an address at which this process listens. */
static int address_dir(const daxpin_address_t *address)
{
    return (address->door != NULL) ? address->door->dir_fd : address->dir_fd;
}

/* Make the address of a socket. By way of the descriptor, the path is short
 * enough, and nothing on the way to the directory can change. */
static void address_make_path(int dir_fd, const address_names_t *names,
                              struct sockaddr_un *path)
{
    memset(path, 0, sizeof(*path));
    path->sun_family = AF_UNIX;
    snprintf(path->sun_path, sizeof(path->sun_path), "/proc/self/fd/%d/%s",
             dir_fd, names->socket);
}

void daxpin_address_init(daxpin_address_t *address)
{
    memset(address, 0, sizeof(*address));
    address->dir_fd    = -1;
    address->lock_fd   = -1;
    address->listen_fd = -1;
}

/*
 * The lock
 */

/* Return whether a name still is that of an open file. */
static int address_is_name_of(int dir_fd, const char *name, int fd)
{
    struct stat named, opened;

    return (fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0) &&
           (fstat(fd, &opened) == 0) && (named.st_ino == opened.st_ino) &&
           (named.st_dev == opened.st_dev);
}

/* Open a lock file and take its lock. Return the descriptor, -EWOULDBLOCK if
 * another process has the lock or has just removed the file, or -errno. */
static int address_lock(int dir_fd, const char *name, int flags)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
                    flags, 0600), ret;

    if (fd < 0) {
        return -errno;
    }
    ret = (flock(fd, LOCK_EX | LOCK_NB) != 0) ? -errno :
          address_is_name_of(dir_fd, name, fd) ? 0 : -EWOULDBLOCK;
    if (ret != 0) {
        close(fd);
        return ret;
    }
    return fd;
}

/* Return the number of this process's pid namespace. */
static uint64_t address_pid_namespace(void)
{
    struct stat st;

    return (stat("/proc/self/ns/pid", &st) == 0) ? st.st_ino : 0;
}

/* Write this process into a lock file. The text is for messages only. */
static void address_sign(int lock_fd)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "%d %lu\n", (int)getpid(),
                          address_pid_namespace());

    if ((ftruncate(lock_fd, 0) != 0) ||
        (pwrite(lock_fd, text, (size_t)length, 0) != length)) {
        daxpin_log(DAXPIN_LOG_DEBUG, "cannot write a lock file: %m");
    }
}

pid_t daxpin_address_owner(uint64_t dev, uint64_t ino)
{
    char dir[DAXPIN_RUNDIR_MAX], text[64] = "";
    unsigned long namespace_id = 0;
    address_names_t names;
    int pid = 0, dir_fd, fd;

    dir_fd = daxpin_rundir_open(dir);
    if (dir_fd < 0) {
        return 0;
    }
    address_make_names(dev, ino, &names);
    fd = openat(dir_fd, names.lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                O_NONBLOCK);
    if (fd >= 0) {
        if ((pread(fd, text, sizeof(text) - 1, 0) <= 0) ||
            (sscanf(text, "%d %lu", &pid, &namespace_id) != 2) ||
            (namespace_id != address_pid_namespace())) {
            pid = 0;
        }
        close(fd);
    }
    close(dir_fd);
    return pid;
}

void daxpin_address_describe(uint64_t dev, uint64_t ino, char *buffer,
                             size_t size)
{
    buffer[0] = '\0';
    daxpin_proc_describe(daxpin_address_owner(dev, ino), buffer, size);
}

/*
 * Names that killed holders left behind
 */

/* Listens left until the next sweep */
static _Atomic unsigned address_sweep_pause;

/* Remove the names of an address, unless a process has its lock. Return whether
 * they stay. */
static int address_sweep_one(int dir_fd, const char *lock)
{
    const size_t suffix = strlen(ADDRESS_LOCK), length = strlen(lock);
    char name[sizeof(((address_names_t*)NULL)->socket)];
    char link[sizeof(((address_names_t*)NULL)->link)];
    int fd, stays = 1;

    if ((length <= suffix) || (length - suffix >= sizeof(name)) ||
        (strcmp(lock + length - suffix, ADDRESS_LOCK) != 0)) {
        return 0;
    }
    fd = address_lock(dir_fd, lock, 0);
    if (fd >= 0) {
        if (!daxpin_roster_has_others(fd)) {
            snprintf(name, sizeof(name), "%.*s", (int)(length - suffix), lock);
            snprintf(link, sizeof(link), "%s" ADDRESS_NEW, name);
            unlinkat(dir_fd, link, 0);
            unlinkat(dir_fd, name, 0);
            unlinkat(dir_fd, lock, 0);
            stays = 0;
        }
        close(fd);
    }
    return stays;
}

/* Remove what killed holders left behind, except at an address of which this
 * process has the lock. Return how many addresses stay. An election that meets a
 * lock of this function tries again. */
static unsigned address_sweep(int dir_fd)
{
    int fd   = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = (fd >= 0) ? fdopendir(fd) : NULL;
    unsigned stay = 0, count;
    struct dirent *entry;

    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    for (count = 0; (count < ADDRESS_SWEEP_MAX) &&
                    ((entry = readdir(dir)) != NULL); ++count) {
        stay += (unsigned)address_sweep_one(dir_fd, entry->d_name);
    }
    closedir(dir);
    return stay;
}

/* Sweep at the first listen, and then after as many listens as addresses stayed:
 * so each listen looks at a few of them on average, however many there are. */
static void address_sweep_sometimes(int dir_fd)
{
    unsigned pause = atomic_load(&address_sweep_pause);

    if (pause > 0) {
        /* Of listens at the same time, some may not count */
        atomic_compare_exchange_strong(&address_sweep_pause, &pause,
                                       pause - 1);
        return;
    }
    atomic_store(&address_sweep_pause, address_sweep(dir_fd));
}

/*
 * Listen and connect
 */

/* Listen at an address of which this process has the lock. Return the socket,
 * or -errno. */
static int address_bind(int dir_fd, const address_names_t *names)
{
    struct sockaddr_un path;
    int fd, ret;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    address_make_path(dir_fd, names, &path);
    if (((unlinkat(dir_fd, names->socket, 0) != 0) && (errno != ENOENT)) ||
        (bind(fd, (struct sockaddr*)&path, sizeof(path)) != 0) ||
        (listen(fd, ADDRESS_BACKLOG) != 0)) {
        ret = -errno;
        close(fd);
        return ret;
    }
    return fd;
}

/* Take the lock of an address, as a newcomer or as the member of a roster.
 * Return the descriptor, or as daxpin_address_listen() does, without a message.
 */
static int address_elect(int dir_fd, const char *name, int roster_fd)
{
    int fd = address_lock(dir_fd, name, (roster_fd < 0) ? O_CREAT : 0);

    if (fd < 0) {
        return (fd == -EWOULDBLOCK) ? -EADDRINUSE :
               ((fd == -ENOENT) && (roster_fd >= 0)) ? -ESTALE : fd;
    }
    if ((roster_fd >= 0) && !address_is_name_of(dir_fd, name, roster_fd)) {
        close(fd);
        return -ESTALE;
    }
    if ((roster_fd < 0) && daxpin_roster_has_others(fd)) {
        close(fd);
        return -EADDRINUSE; /* as soon as a member has it */
    }
    return fd;
}

/* Do what daxpin_address_listen() does, without a sweep. */
static int address_listen(uint64_t dev, uint64_t ino, int roster_fd,
                          daxpin_address_t *address)
{
    char dir[DAXPIN_RUNDIR_MAX];
    address_names_t names;
    int ret;

    daxpin_address_init(address);
    address->dev    = dev;
    address->ino    = ino;
    address->dir_fd = daxpin_rundir_open(dir);
    if (address->dir_fd < 0) {
        return address->dir_fd;
    }
    address_make_names(dev, ino, &names);
    address->lock_fd = address_elect(address->dir_fd, names.lock, roster_fd);
    if ((address->lock_fd == -EADDRINUSE) || (address->lock_fd == -ESTALE)) {
        ret = address->lock_fd;
        goto err;
    }
    if (address->lock_fd < 0) {
        ret = daxpin_error(-address->lock_fd, "cannot lock %s/%s: %s", dir,
                           names.lock, strerror(-address->lock_fd));
        goto err;
    }
    address_sign(address->lock_fd);
    address->listen_fd = address_bind(address->dir_fd, &names);
    if (address->listen_fd < 0) {
        ret = daxpin_error(-address->listen_fd, "cannot listen at %s/%s: %s",
                           dir, names.socket, strerror(-address->listen_fd));
        goto err;
    }
    return 0;

err:
    daxpin_address_leave(address);
    return ret;
}

int daxpin_address_listen(uint64_t dev, uint64_t ino, int roster_fd,
                          daxpin_address_t *address)
{
    int ret = address_listen(dev, ino, roster_fd, address);

    if (ret == 0) {
        address_sweep_sometimes(address->dir_fd);
    }
    return ret;
}

/* A process that removes old names has the lock of each for a moment. */
int daxpin_address_open_door(daxpin_address_t *door)
{
    unsigned tries = 0;
    uint64_t number;
    int ret;

    do {
        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) !=
            sizeof(number)) {
            daxpin_address_init(door);
            return daxpin_error(EAGAIN, "cannot get a random number");
        }
        ret = address_listen(ADDRESS_DOOR_DEV, number, -1, door);
    } while ((ret == -EADDRINUSE) && (++tries < ADDRESS_DOOR_TRIES));
    return (ret != -EADDRINUSE) ? ret :
           daxpin_error(EADDRINUSE, "cannot listen: other processes have each "
                        "of %u random names", tries);
}

/* Return whether a name is gone, or that of another file than fd (-1: any). What
 * cannot be looked at is not gone: it is looked at again later. */
static int address_is_gone(int dir_fd, const char *name, int fd)
{
    struct stat named, opened;

    if (fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT;
    }
    return (fd >= 0) && (fstat(fd, &opened) == 0) &&
           ((named.st_ino != opened.st_ino) ||
            (named.st_dev != opened.st_dev));
}

/* Return whether a name is gone, or is not that of the socket of the door. What
 * cannot be looked at is. */
static int address_is_not_of_door(const daxpin_address_t *door,
                                  const char *name)
{
    address_names_t names;
    struct stat named, linked;

    address_make_names(door->dev, door->ino, &names);
    if (fstatat(door->dir_fd, names.socket, &linked,
                AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT;
    }
    if (fstatat(door->dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT;
    }
    return (named.st_ino != linked.st_ino) || (named.st_dev != linked.st_dev);
}

/* Look at the directory of an address without a door, unless it was looked at
 * after some time (ns). Return a number that is another one if names may have
 * changed since the look before. First the clock: a change after the look then
 * has a time that is later than the one that was long ago. */
static uint64_t address_look(daxpin_address_t *address, uint64_t after)
{
    daxpin_address_watch_t *watch = &address->watch;
    const uint64_t now            = daxpin_now();
    struct timespec clock         = {0};
    struct stat st;

    if ((watch->number > 0) && (watch->looked > after)) {
        return watch->number;
    }
    clock_gettime(CLOCK_REALTIME, &clock);
    if (fstat(address->dir_fd, &st) != 0) {
        watch->settled = 0;
        return ++watch->number;
    }
    if (!watch->settled || (st.st_ctim.tv_sec != watch->changed.tv_sec) ||
        (st.st_ctim.tv_nsec != watch->changed.tv_nsec)) {
        ++watch->number;
    }
    watch->looked  = now;
    watch->changed = st.st_ctim;
    watch->settled = clock.tv_sec - st.st_ctim.tv_sec > ADDRESS_SETTLED_SEC;
    return watch->number;
}

/* Return whether both names were seen, and are those of the address. */
static int address_names_are_there(const daxpin_address_t *address)
{
    const int dir_fd = address_dir(address);
    address_names_t names, door_names;
    struct stat named, linked;

    address_make_names(address->dev, address->ino, &names);
    if (!address_is_name_of(dir_fd, names.lock, address->lock_fd) ||
        (fstatat(dir_fd, names.socket, &named, AT_SYMLINK_NOFOLLOW) != 0)) {
        return 0;
    }
    if (address->door == NULL) {
        return 1;
    }
    address_make_names(address->door->dev, address->door->ino, &door_names);
    return (fstatat(dir_fd, door_names.socket, &linked,
                    AT_SYMLINK_NOFOLLOW) == 0) &&
           (named.st_ino == linked.st_ino) && (named.st_dev == linked.st_dev);
}

/* Return whether one of the names is gone. */
static int address_names_are_gone(const daxpin_address_t *address)
{
    const int dir_fd = address_dir(address);
    address_names_t names;

    address_make_names(address->dev, address->ino, &names);
    return address_is_gone(dir_fd, names.lock, address->lock_fd) ||
           ((address->door != NULL) ?
                    address_is_not_of_door(address->door, names.socket) :
                    address_is_gone(dir_fd, names.socket, -1));
}

int daxpin_address_is_lost(daxpin_address_t *address)
{
    const uint64_t now    = daxpin_now();
    const uint64_t number = (address->door != NULL) ?
                                    address_look(address->door,
                                                 now - ADDRESS_LOOK_PAUSE) :
                                    address_look(address, now);

    if (number == address->seen) {
        return 0;
    }
    if (!address_names_are_there(address)) {
        return address_names_are_gone(address);
    }
    address->seen = number;
    return 0;
}

/* Have the next look find a change, whatever was seen before. */
static void address_look_again(daxpin_address_t *address, uint64_t number)
{
    address->watch = (daxpin_address_watch_t){.number = number + 1};
    address->seen  = 0;
}

/* Give a name to the socket of a door, in place of the socket that has it.
 * Newcomers find one or the other. Return 0 or -errno. */
static int address_link(const daxpin_address_t *door,
                        const address_names_t *names)
{
    const int dir_fd = door->dir_fd;
    address_names_t door_names;
    int ret          = 0;

    address_make_names(door->dev, door->ino, &door_names);
    if (((unlinkat(dir_fd, names->link, 0) != 0) && (errno != ENOENT)) ||
        (linkat(dir_fd, door_names.socket, dir_fd, names->link, 0) != 0)) {
        return -errno;
    }
    /* In some file systems, a link is another inode for connect() */
    if (address_is_not_of_door(door, names->link)) {
        ret = -EXDEV;
    } else if (renameat(dir_fd, names->link, dir_fd, names->socket) != 0) {
        ret = -errno;
    }
    /* rename() leaves both names if they are of one socket already */
    unlinkat(dir_fd, names->link, 0);
    return ret;
}

int daxpin_address_share(daxpin_address_t *address,
                         daxpin_address_t *door, int *error_p)
{
    const int listen_fd = address->listen_fd;
    struct stat own, of_door;
    address_names_t names;

    if ((fstat(address_dir(address), &own) != 0) ||
        (fstat(door->dir_fd, &of_door) != 0) ||
        (own.st_dev != of_door.st_dev) || (own.st_ino != of_door.st_ino)) {
        *error_p = -EXDEV;
        return -1;
    }
    address_make_names(address->dev, address->ino, &names);
    *error_p = address_link(door, &names);
    if (*error_p != 0) {
        return -1;
    }
    if (address->dir_fd >= 0) {
        close(address->dir_fd);
    }
    address->dir_fd    = -1;
    address->listen_fd = -1;
    address->door      = door;
    address->seen      = 0;
    return listen_fd;
}

/* Listen at another socket, of its own. The lock has its name, so that it still
 * elects this process. */
static int address_bind_again(daxpin_address_t *address)
{
    const int dir_fd = (address->door == NULL) ? address->dir_fd :
                       fcntl(address->door->dir_fd, F_DUPFD_CLOEXEC, 0);
    address_names_t names;
    int fd;

    address_make_names(address->dev, address->ino, &names);
    fd = (dir_fd < 0) ? -errno : address_bind(dir_fd, &names);
    if (fd < 0) {
        if ((dir_fd >= 0) && (address->door != NULL)) {
            close(dir_fd);
        }
        return daxpin_error(-fd, "cannot listen at %s: %s", names.socket,
                            strerror(-fd));
    }
    if (address->listen_fd >= 0) {
        close(address->listen_fd);
    }
    address->dir_fd    = dir_fd;
    address->listen_fd = fd;
    address->door      = NULL;
    address_look_again(address, address->watch.number);
    return 0;
}

int daxpin_address_restore(daxpin_address_t *address)
{
    daxpin_address_t restored;
    address_names_t names;
    int ret;

    address_make_names(address->dev, address->ino, &names);
    if (address_is_name_of(address_dir(address), names.lock,
                           address->lock_fd)) {
        if ((address->door != NULL) &&
            (address_link(address->door, &names) == 0)) {
            return 0;
        }
        return address_bind_again(address);
    }
    ret = daxpin_address_listen(address->dev, address->ino, -1, &restored);
    if (ret == 0) {
        address_look_again(&restored, address->watch.number);
        daxpin_address_forget(address);
        *address = restored;
    }
    return ret;
}

int daxpin_address_has_members(uint64_t dev, uint64_t ino)
{
    char dir[DAXPIN_RUNDIR_MAX];
    address_names_t names;
    int dir_fd, fd = -1, found = 0;

    dir_fd = daxpin_rundir_open(dir);
    if (dir_fd >= 0) {
        address_make_names(dev, ino, &names);
        fd = openat(dir_fd, names.lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                    O_NONBLOCK);
        close(dir_fd);
    }
    if (fd >= 0) {
        found = daxpin_roster_has_others(fd);
        close(fd);
    }
    return found;
}

/* Another thread may fork at any moment, and the child closes what is noted here:
 * so that is not a number which another descriptor may have by now. */
void daxpin_address_forget(daxpin_address_t *address)
{
    const daxpin_address_t old = *address;

    daxpin_address_init(address);
    if (old.listen_fd >= 0) {
        close(old.listen_fd);
    }
    if (old.lock_fd >= 0) {
        close(old.lock_fd);
    }
    if (old.dir_fd >= 0) {
        close(old.dir_fd);
    }
}

/* Remove the name of the socket, and the lock file too unless it stays. They are
 * of this process only while it has the lock, and while the lock file has its
 * name. */
static void address_remove(const daxpin_address_t *address, int lock_stays)
{
    const int dir_fd = address_dir(address);
    address_names_t names;

    if (address->lock_fd >= 0) {
        address_make_names(address->dev, address->ino, &names);
        if (address_is_name_of(dir_fd, names.lock, address->lock_fd)) {
            unlinkat(dir_fd, names.socket, 0);
            if (!lock_stays) {
                unlinkat(dir_fd, names.lock, 0);
            }
        }
    }
}

void daxpin_address_close(daxpin_address_t *address)
{
    address_remove(address, 0);
    daxpin_address_forget(address);
}

/* The socket goes in any case: a door listens on */
void daxpin_address_leave(daxpin_address_t *address)
{
    address_remove(address, (address->lock_fd >= 0) &&
                            daxpin_roster_has_others(address->lock_fd));
    daxpin_address_forget(address);
}

int daxpin_address_connect(uint64_t dev, uint64_t ino, int fd,
                           uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    char dir[DAXPIN_RUNDIR_MAX];
    struct sockaddr_un path;
    address_names_t names;
    int dir_fd, ret;

    dir_fd = daxpin_rundir_open(dir);
    if (dir_fd < 0) {
        return dir_fd;
    }
    address_make_names(dev, ino, &names);
    address_make_path(dir_fd, &names, &path);
    while (((ret = connect(fd, (struct sockaddr*)&path, sizeof(path))) != 0) &&
           ((errno == EAGAIN) || (errno == EINTR)) &&
           (daxpin_now() < deadline)) {
        nanosleep(&pause, NULL);
    }
    if (ret != 0) {
        ret = ((errno == ENOENT) || (errno == ECONNREFUSED)) ? -ECONNREFUSED :
              (errno == EAGAIN) ? -ETIMEDOUT :
              daxpin_error(errno, "cannot connect to %s/%s: %m", dir,
                           names.socket);
    }
    close(dir_fd);
    return ret;
}
