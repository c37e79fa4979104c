/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Which locks a file could have */

#include "locks.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/hold.h"
#include "wire/guardd.h"
#include "wire/ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCKS_CAP_LEASE 28 /* <linux/capability.h> */

static daxpin_verdict_t locks_say(daxpin_verdict_t verdict, char *why,
                                  const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static daxpin_verdict_t locks_say(daxpin_verdict_t verdict, char *why,
                                  const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, LOCKS_REASON_MAX, format, ap);
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
 * Who has it open
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

static int locks_look_process(pid_t pid, void *arg)
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
        daxpin_proc_each(locks_look_process, &search);
    }
}

/*
 * The lease
 */

/* What the file system says, on a file of our own */
static int locks_try_lease(const char *dir)
{
    int fd = daxpin_storage_scratch(dir);
    int error;

    if (fd < 0) {
        return 0; /* Not known: somebody else says so */
    }
    /* Nobody else can open it: it is never broken */
    error = (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) ? 0 : errno;
    close(fd);
    return error;
}

static daxpin_verdict_t locks_lease_refused(const daxpin_storage_t *storage,
                                            int error, char *why)
{
    char enabled[16] = "1";

    daxpin_proc_read_line("/proc/sys/fs/leases-enable", enabled,
                          sizeof(enabled));
    if (enabled[0] == '0') {
        return locks_say(DAXPIN_VERDICT_NO, why, "leases are switched off on "
                         "this machine; sysctl fs.leases-enable=1");
    }
    return locks_say(DAXPIN_VERDICT_NO, why, "%s grants none (%s); use ext4, "
                     "XFS or tmpfs", storage->has_mount ?
                     storage->mount.type : "the file system",
                     strerror(error));
}

static daxpin_verdict_t
locks_lease_of_other(const daxpin_lease_line_t *lease, char *why)
{
    daxpin_proc_t proc;

    if (daxpin_proc_read_status(lease->pid, &proc) != 0) {
        return locks_say(DAXPIN_VERDICT_NO, why, "pid %d has a lease on it",
                         (int)lease->pid);
    }
    return locks_say(DAXPIN_VERDICT_NO, why, "pid %d (%s) has %s lease on it; "
                     "if that is a job of daxpin's, processes of the same user "
                     "join it (daxpin pins %d)", (int)lease->pid,
                     proc.command, lease->write ? "the" : "a shared",
                     (int)lease->pid);
}

static daxpin_verdict_t locks_lease_of_file(const daxpin_storage_t *storage,
                                            const daxpin_openers_t *openers,
                                            char *why)
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
        return locks_lease_of_other(&lease, why);
    }
    if (openers->count > 0) {
        return locks_say(DAXPIN_VERDICT_NO, why, "pid %d (%s) has it open; "
                         "close it there", (int)openers->procs[0].pid,
                         openers->procs[0].command);
    }
    if ((storage->st.st_uid != geteuid()) &&
        !daxpin_has_capability(LOCKS_CAP_LEASE)) {
        user = getpwuid(storage->st.st_uid);
        return locks_say(DAXPIN_VERDICT_NO, why, "it belongs to user %s; run "
                         "as that user or with CAP_LEASE", (user != NULL) ?
                         user->pw_name : "unknown");
    }
    if (faccessat(AT_FDCWD, storage->path, R_OK | W_OK, AT_EACCESS) != 0) {
        return locks_say(DAXPIN_VERDICT_NO, why, "it cannot be opened for "
                         "reading and writing: %s", strerror(errno));
    }
    return DAXPIN_VERDICT_YES;
}

daxpin_verdict_t daxpin_lease_verdict(const daxpin_storage_t *storage,
                                      const daxpin_openers_t *openers,
                                      char *why)
{
    int error = locks_try_lease(storage->dir);

    why[0] = '\0';
    if (storage->is_device_dax) {
        return locks_say(DAXPIN_VERDICT_NO, why, "device DAX needs none: "
                         "nobody can truncate it");
    }
    if (!S_ISREG(storage->st.st_mode) && !S_ISDIR(storage->st.st_mode)) {
        return locks_say(DAXPIN_VERDICT_NO, why, "it is neither a regular "
                         "file nor a directory");
    }
    if (error != 0) {
        return locks_lease_refused(storage, error, why);
    }
    if (S_ISREG(storage->st.st_mode) &&
        (locks_lease_of_file(storage, openers, why) == DAXPIN_VERDICT_NO)) {
        return DAXPIN_VERDICT_NO;
    }
    if (storage->scratch_error != 0) {
        return locks_say(DAXPIN_VERDICT_UNKNOWN, why, "whether the file system "
                         "grants any cannot be tried: no scratch file in %s: "
                         "%s", storage->dir, strerror(storage->scratch_error));
    }
    if (openers->hidden > 0) {
        return locks_say(DAXPIN_VERDICT_YES, why, "unless it is open in one of "
                         "%u processes that cannot be looked at; ask as root",
                         openers->hidden);
    }
    return DAXPIN_VERDICT_YES;
}

/*
 * The others
 */

static void locks_keep_quiet(daxpin_log_level_t level, const char *message)
{
    (void)level;
    (void)message;
}

daxpin_verdict_t daxpin_hold_verdict(const daxpin_storage_t *storage,
                                     char *why)
{
    char path[PATH_MAX + 8];
    int works;

    if (storage->dax != 1) {
        return locks_say(DAXPIN_VERDICT_NO, why, "only files used with DAX "
                         "have blocks to be held");
    }
    if (storage->scratch_error != 0) {
        return locks_say(DAXPIN_VERDICT_UNKNOWN, why, "cannot be tried: no "
                         "scratch file in %s: %s", storage->dir,
                         strerror(storage->scratch_error));
    }
    snprintf(path, sizeof(path), "%s/scratch", storage->dir);
    daxpin_set_log(locks_keep_quiet);
    works = daxpin_hold_works(path, -1, storage->st.st_dev);
    daxpin_set_log(NULL);
    return works ? locks_say(DAXPIN_VERDICT_YES, why, "tried: a held block "
                             "lets a truncate wait") :
                   locks_say(DAXPIN_VERDICT_NO, why, "tried: this kernel does "
                             "not let a truncate wait for a held block");
}

daxpin_verdict_t daxpin_module_verdict(char *why)
{
    if (access(DAXPIN_DEVICE, F_OK) != 0) {
        return locks_say(DAXPIN_VERDICT_NO, why, "there is no %s: the module "
                         "daxpin is not loaded", DAXPIN_DEVICE);
    }
    if (faccessat(AT_FDCWD, DAXPIN_DEVICE, R_OK | W_OK, AT_EACCESS) != 0) {
        return locks_say(DAXPIN_VERDICT_UNKNOWN, why, "%s cannot be used: %s",
                         DAXPIN_DEVICE, strerror(errno));
    }
    return locks_say(DAXPIN_VERDICT_YES, why, "%s", DAXPIN_DEVICE);
}

daxpin_verdict_t daxpin_guard_verdict(char *why)
{
    const char *path           = daxpin_guard_socket();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error;

    if (access(path, F_OK) != 0) {
        return locks_say(DAXPIN_VERDICT_NO, why, "there is no %s: "
                         "daxpin-guardd does not run", path);
    }
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    fd    = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    error = ((fd >= 0) && (connect(fd, (struct sockaddr*)&address,
                                   sizeof(address)) == 0)) ? 0 : errno;
    if (fd >= 0) {
        close(fd);
    }
    if (error != 0) {
        return locks_say(DAXPIN_VERDICT_UNKNOWN, why, "nobody answers at %s: "
                         "%s; systemctl restart daxpin-guardd", path,
                         strerror(error));
    }
    return locks_say(DAXPIN_VERDICT_YES, why, "%s", path);
}
