/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Which locks daxpin could have on a file, and which processes have it open */

#include "locks.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/socket.h"
#include "wire/guardd.h"
#include "wire/ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCKS_CAP_LEASE 28 /* <linux/capability.h> */
#define LOCKS_GUARD_TIME 5000 /* ms in which the guard daemon has to answer */

/* Write a reason and return a verdict */
static daxpin_verdict_t locks_explain(daxpin_verdict_t verdict, char *reason,
                                      const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static daxpin_verdict_t locks_explain(daxpin_verdict_t verdict, char *reason,
                                      const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(reason, LOCKS_REASON_MAX, format, ap);
    va_end(ap);
    return verdict;
}

int daxpin_has_capability(unsigned number)
{
    unsigned long long effective = 0;
    char line[256];
    FILE *file;

    file = fopen("/proc/self/status", "re");
    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        if (sscanf(line, "CapEff: %llx", &effective) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return (int)((effective >> number) & 1);
}

/*
 * Processes that have a file open
 */

typedef struct locks_search {
    daxpin_inode_t   inode;
    daxpin_openers_t *openers;
} locks_search_t;

static daxpin_inode_t locks_inode(const daxpin_storage_t *storage)
{
    return (daxpin_inode_t){.dev     = storage->st.st_dev,
                            .ino     = storage->st.st_ino,
                            .map_dev = storage->has_mount ?
                                               storage->mount.dev :
                                               storage->st.st_dev,
                            .map_ino = storage->st.st_ino,
                            .path    = storage->path};
}

static int locks_check_process(pid_t pid, void *arg)
{
    locks_search_t *search    = arg;
    daxpin_openers_t *openers = search->openers;
    int ret;

    if (pid == getpid()) {
        return 0;
    }
    ret = daxpin_proc_has_file(pid, &search->inode);
    if ((ret == -EACCES) || (ret == -EPERM)) {
        ++openers->hidden;
    } else if ((ret == 1) && (openers->count < LOCKS_OPENERS_MAX)) {
        if (daxpin_proc_read_status(pid, &openers->procs[openers->count]) ==
            0) {
            ++openers->count;
        }
    } else if (ret == 1) {
        ++openers->more;
    }
    return 0;
}

void daxpin_openers_find(const daxpin_storage_t *storage,
                         daxpin_openers_t *openers)
{
    locks_search_t search = {.inode   = locks_inode(storage),
                             .openers = openers};

    memset(openers, 0, sizeof(*openers));
    if (!S_ISDIR(storage->st.st_mode)) {
        daxpin_proc_each(locks_check_process, &search);
    }
}

/*
 * The lease
 */

/* Take a lease on a scratch file. Return 0 or what the file system refuses it
 * with; 0 also if there is no scratch file, which the caller reports. */
static int locks_try_lease(const char *dir)
{
    int fd = daxpin_storage_scratch(dir);
    int error;

    if (fd < 0) {
        return 0;
    }
    /* No other process can open the file, so that the lease is never broken */
    error = (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) ? 0 : errno;
    close(fd);
    return error;
}

static daxpin_verdict_t locks_lease_refused(const daxpin_storage_t *storage,
                                            int error, char *reason)
{
    char enabled[16] = "1";

    daxpin_proc_read_line("/proc/sys/fs/leases-enable", enabled,
                          sizeof(enabled));
    if (enabled[0] == '0') {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "leases are switched off on this machine; sysctl "
                             "fs.leases-enable=1");
    }
    return locks_explain(DAXPIN_VERDICT_NO, reason,
                         "%s grants no lease (%s); use ext4, XFS or tmpfs",
                         storage->has_mount ? storage->mount.type :
                                              "the file system",
                         strerror(error));
}

static daxpin_verdict_t
locks_lease_of_other(const daxpin_lease_line_t *lease, char *reason)
{
    daxpin_proc_t proc;

    if (daxpin_proc_read_status(lease->pid, &proc) != 0) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "pid %d has a lease on the file",
                             (int)lease->pid);
    }
    return locks_explain(DAXPIN_VERDICT_NO, reason,
                         "pid %d (%s) has %s lease on the file; if that "
                         "process uses daxpin (daxpin pins %d), other "
                         "processes of the same user can join it",
                         (int)lease->pid, proc.command,
                         lease->write ? "the" : "a shared", (int)lease->pid);
}

static daxpin_verdict_t locks_lease_of_file(const daxpin_storage_t *storage,
                                            const daxpin_openers_t *openers,
                                            char *reason)
{
    const daxpin_lease_line_t *line;
    daxpin_lease_line_t lease = {.pid = 0};
    const struct passwd *user;
    daxpin_leases_t leases;

    daxpin_leases_read(&leases);
    line = daxpin_leases_find(&leases, storage->has_mount ?
                              storage->mount.dev : storage->st.st_dev,
                              storage->st.st_ino, 0);
    if (line != NULL) {
        lease = *line;
    }
    daxpin_leases_free(&leases);
    if (lease.pid != 0) {
        return locks_lease_of_other(&lease, reason);
    }
    if (openers->count > 0) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "pid %d (%s) has the file open; close it there",
                             (int)openers->procs[0].pid,
                             openers->procs[0].command);
    }
    if ((storage->st.st_uid != geteuid()) &&
        !daxpin_has_capability(LOCKS_CAP_LEASE)) {
        user = getpwuid(storage->st.st_uid);
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "the file belongs to user %s; run as that user or "
                             "with CAP_LEASE", (user != NULL) ?
                             user->pw_name : "unknown");
    }
    if (faccessat(AT_FDCWD, storage->path, R_OK | W_OK, AT_EACCESS) != 0) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "cannot open the file for reading and writing: %s",
                             strerror(errno));
    }
    return DAXPIN_VERDICT_YES;
}

daxpin_verdict_t daxpin_trust_verdict(const daxpin_storage_t *storage,
                                      char *reason)
{
    char text[DAXPIN_FSTYPE_TEXT_MAX];

    reason[0] = '\0';
    if (storage->fstype.why == NULL) {
        return DAXPIN_VERDICT_YES;
    }
    if (daxpin_fstype_allows_any()) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "it is on %s, which %s allows: a lease there %s",
                             daxpin_fstype_name(&storage->fstype, text,
                                                sizeof(text)),
                             DAXPIN_FSTYPE_ENV, storage->fstype.why);
    }
    return locks_explain(DAXPIN_VERDICT_NO, reason, "%s",
                         daxpin_fstype_explain(&storage->fstype, text,
                                               sizeof(text)));
}

daxpin_verdict_t daxpin_lease_verdict(const daxpin_storage_t *storage,
                                      const daxpin_openers_t *openers,
                                      char *reason)
{
    int error = locks_try_lease(storage->dir);

    reason[0] = '\0';
    if (storage->is_device_dax) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "device DAX needs none: it cannot be truncated");
    }
    if (!S_ISREG(storage->st.st_mode) && !S_ISDIR(storage->st.st_mode)) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "neither a regular file nor a directory");
    }
    if (error != 0) {
        return locks_lease_refused(storage, error, reason);
    }
    if (!daxpin_fstype_allows_any() &&
        (daxpin_trust_verdict(storage, reason) == DAXPIN_VERDICT_NO)) {
        return DAXPIN_VERDICT_NO;
    }
    if (S_ISREG(storage->st.st_mode) &&
        (locks_lease_of_file(storage, openers, reason) == DAXPIN_VERDICT_NO)) {
        return DAXPIN_VERDICT_NO;
    }
    if (storage->scratch_error != 0) {
        return locks_explain(DAXPIN_VERDICT_UNKNOWN, reason,
                             "cannot try whether the file system grants "
                             "leases: cannot create a file in %s: %s",
                             storage->dir, strerror(storage->scratch_error));
    }
    if (openers->hidden > 0) {
        return locks_explain(DAXPIN_VERDICT_YES, reason,
                             "unless one of %u processes that this user may "
                             "not read has the file open; run as root to see",
                             openers->hidden);
    }
    return DAXPIN_VERDICT_YES;
}

/*
 * The other locks
 */

static void locks_ignore_message(daxpin_log_level_t level, const char *message)
{
    (void)level;
    (void)message;
}

daxpin_verdict_t daxpin_hold_verdict(const daxpin_storage_t *storage,
                                     char *reason)
{
    char path[PATH_MAX + 8];
    int works;

    if (storage->dax != 1) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "only files used with DAX have blocks that can be "
                             "held");
    }
    if (storage->scratch_error != 0) {
        return locks_explain(DAXPIN_VERDICT_UNKNOWN, reason,
                             "cannot try a hold: cannot create a file in %s: "
                             "%s", storage->dir,
                             strerror(storage->scratch_error));
    }
    snprintf(path, sizeof(path), "%s/scratch", storage->dir);
    daxpin_set_log(locks_ignore_message);
    works = daxpin_hold_works(path, -1, storage->st.st_dev);
    daxpin_set_log(NULL);
    if (works < 0) {
        return locks_explain(DAXPIN_VERDICT_UNKNOWN, reason,
                             "cannot try a hold: cannot create a file with DAX "
                             "in %s", storage->dir);
    }
    if (works == 0) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "tried: on this kernel, a truncate does not wait "
                             "for a held block");
    }
    return locks_explain(DAXPIN_VERDICT_YES, reason,
                         "tried: a truncate waits for a held block");
}

/* Open the device of the pin module. Return a descriptor or -errno. */
static int locks_open_kmod(void)
{
    int fd = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    return (fd >= 0) ? fd : -errno;
}

/* Return the interface version of the module; 0: it has none. */
static unsigned locks_kmod_version(int fd)
{
    uint32_t version = 0;

    return (ioctl(fd, DAXPIN_IOC_GET_VERSION, &version) == 0) ? version : 0;
}

unsigned daxpin_kmod_offers(void)
{
    uint32_t offers = 0;
    int fd          = locks_open_kmod();

    if (fd >= 0) {
        if ((locks_kmod_version(fd) != DAXPIN_IOC_VERSION) ||
            (ioctl(fd, DAXPIN_IOC_GET_WAYS, &offers) != 0)) {
            offers = 0;
        }
        close(fd);
    }
    return offers;
}

daxpin_verdict_t daxpin_kmod_verdict(char *reason)
{
    unsigned offers, version;
    int fd;

    fd = locks_open_kmod();
    if ((fd == -ENOENT) || (fd == -ENXIO) || (fd == -ENODEV)) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "there is no %s: the pin module is not loaded; "
                             "modprobe daxpin", DAXPIN_DEVICE);
    }
    if (fd < 0) {
        return locks_explain(DAXPIN_VERDICT_UNKNOWN, reason,
                             "cannot open %s: %s", DAXPIN_DEVICE,
                             strerror(-fd));
    }
    version = locks_kmod_version(fd);
    close(fd);
    if (version != DAXPIN_IOC_VERSION) {
        return locks_explain(DAXPIN_VERDICT_UNFIT, reason,
                             "the pin module has interface version %u, and not "
                             "%u; install the pin module that came with this "
                             "daxpin", version, DAXPIN_IOC_VERSION);
    }
    offers = daxpin_kmod_offers();
    return locks_explain(DAXPIN_VERDICT_YES, reason, "%s%s", DAXPIN_DEVICE,
                         (offers & DAXPIN_IOC_MAPPING) ?
                                 ", with mappings for RDMA devices" :
                         (offers & DAXPIN_IOC_DMABUF) ?
                                 ", with dma-bufs for RDMA devices" : "");
}

/* Check that a socket is root's or this user's: libdaxpin takes no other user's
 * word that a file is guarded. Return 0 or an errno value. */
static int locks_check_guard(int fd)
{
    uid_t uid;
    pid_t pid;
    int ret = daxpin_socket_get_sender(fd, &uid, &pid);

    if (ret != 0) {
        return -ret;
    }
    return ((uid == 0) || ((uid == geteuid()) && daxpin_user_is_known(uid))) ?
                   0 :
                   EPERM;
}

/* Have the guard daemon say HELLO. Return 0 or an errno value. */
static int locks_greet_guard(int fd)
{
    const daxpin_guard_head_t hello = {.magic   = DAXPIN_GUARD_MAGIC,
                                       .version = DAXPIN_GUARD_VERSION,
                                       .type    = DAXPIN_GUARD_HELLO};
    struct pollfd ready             = {.fd = fd, .events = POLLIN};
    daxpin_guard_head_t answer;
    ssize_t length;
    int count;

    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0) {
        return errno;
    }
    count = poll(&ready, 1, LOCKS_GUARD_TIME);
    if (count <= 0) {
        return (count == 0) ? ETIMEDOUT : errno;
    }
    length = recv(fd, &answer, sizeof(answer), 0);
    if (length <= 0) {
        return (length < 0) ? errno : EPROTONOSUPPORT; /* as version 1 ends */
    }
    if ((length != (ssize_t)sizeof(answer)) ||
        (answer.magic != DAXPIN_GUARD_MAGIC)) {
        return EPROTO;
    }
    return (int)answer.error;
}

/* Ask the guard daemon whether it is there. A daemon that is stopped still has
 * room for a connection, or none; it must not stop who asks. Return 0 or an errno
 * value. */
static int locks_ask_guard(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    error = (connect(fd, (struct sockaddr*)&address, sizeof(address)) == 0) ?
                    0 :
            (errno == EAGAIN) ? ETIMEDOUT : errno;
    if (error == 0) {
        error = locks_check_guard(fd);
    }
    if (error == 0) {
        error = locks_greet_guard(fd);
    }
    close(fd);
    return error;
}

daxpin_verdict_t daxpin_guard_verdict(char *reason)
{
    const char *path = daxpin_guard_socket();
    int error;

    if (access(path, F_OK) != 0) {
        return locks_explain(DAXPIN_VERDICT_NO, reason,
                             "there is no %s: daxpin-guardd does not run",
                             path);
    }
    error = locks_ask_guard(path);
    if (error == EPERM) {
        return locks_explain(DAXPIN_VERDICT_UNFIT, reason,
                             "%s is not that of root or of this user: "
                             "libdaxpin does not take its word; have root "
                             "start daxpin-guardd", path);
    }
    if (error == EPROTONOSUPPORT) {
        return locks_explain(DAXPIN_VERDICT_UNFIT, reason,
                             "the guard daemon at %s has another version of "
                             "the protocol; install daxpin-guardd and "
                             "libdaxpin of one release, and systemctl restart "
                             "daxpin-guardd", path);
    }
    if (error != 0) {
        return locks_explain(DAXPIN_VERDICT_UNKNOWN, reason,
                             "the guard daemon does not answer at %s: %s; "
                             "systemctl restart daxpin-guardd", path,
                             strerror(error));
    }
    return locks_explain(DAXPIN_VERDICT_YES, reason, "%s", path);
}
