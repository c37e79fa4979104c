/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: the kernel, its settings, RDMA devices, optional parts */

#include "checkup.h"
#include "list.h"
#include "locks.h"
#include "rdma.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/mount.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SYSTEM_CAP_IPC_LOCK   14 /* <linux/capability.h> */
#define SYSTEM_BREAK_TIME_MIN 10 /* seconds */
#define SYSTEM_MEMLOCK_MIN    (64ul << 20)
#define SYSTEM_SHM_MIN        (64ul << 20)

static void system_check_kernel(daxpin_checkup_t *checkup)
{
    unsigned major = 0, minor = 0;
    struct utsname name;

    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    if ((major < 5) || ((major == 5) && (minor < 8))) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "kernel",
                           "Linux %s does not report which files are used "
                           "with DAX; run 5.8 or later", name.release);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "kernel",
                           "Linux %s, %s", name.release, name.machine);
    }
}

static void system_check_leases(daxpin_checkup_t *checkup)
{
    char value[32] = "";

    if (daxpin_proc_read_line("/proc/sys/fs/leases-enable", value,
                              sizeof(value)) != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "leases",
                           "cannot read fs.leases-enable; mount /proc");
    } else if (value[0] == '0') {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "leases",
                           "are switched off; sysctl fs.leases-enable=1");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "leases",
                           "are switched on");
    }
}

static void system_check_break_time(daxpin_checkup_t *checkup)
{
    char value[32] = "";
    long seconds;

    if (daxpin_proc_read_line("/proc/sys/fs/lease-break-time", value,
                              sizeof(value)) != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "lease-break-time",
                           "cannot read fs.lease-break-time; mount /proc");
        return;
    }
    seconds = atol(value);
    if (seconds <= 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "lease-break-time",
                           "%ld s: the kernel takes no lease from a process: "
                           "whoever truncates a file waits for ever if the job "
                           "that has it hangs; sysctl fs.lease-break-time=45",
                           seconds);
        return;
    }
    daxpin_checkup_add(checkup,
                       (seconds <= 1) ? DAXPIN_FINDING_BAD :
                       (seconds < SYSTEM_BREAK_TIME_MIN) ?
                                        DAXPIN_FINDING_WARN :
                                        DAXPIN_FINDING_OK,
                       "lease-break-time", "%ld s%s", seconds,
                       (seconds < SYSTEM_BREAK_TIME_MIN) ?
                               ": the kernel takes the lease from a process "
                               "that needs longer to give it up; sysctl "
                               "fs.lease-break-time=45" : "");
}

static void system_check_membarrier(daxpin_checkup_t *checkup)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0);

    if ((commands < 0) || !(commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "membarrier",
                           "is not available (%s): each access costs one "
                           "more fence; allow it in the container's filter of "
                           "system calls", (commands < 0) ?
                           strerror(errno) : "not expedited");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "membarrier",
                           "is there");
    }
}

/* Whether two descriptors are of one description. A filter of system calls, such as
 * Docker's, allows it only to those that may trace other processes. */
static void system_check_kcmp(daxpin_checkup_t *checkup)
{
    if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "kcmp",
                           "is not allowed (%s): daxpin may refuse a file that "
                           "several processes map by themselves; allow it in "
                           "the container's filter of system calls, or docker "
                           "--cap-add SYS_PTRACE", strerror(errno));
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "kcmp", "is allowed");
    }
}

/* The kernel locks memory that an RDMA device registers */
static void system_check_memlock(daxpin_checkup_t *checkup, size_t devices)
{
    struct rlimit limit;

    getrlimit(RLIMIT_MEMLOCK, &limit);
    if ((limit.rlim_cur == RLIM_INFINITY) ||
        daxpin_has_capability(SYSTEM_CAP_IPC_LOCK)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "memlock",
                           "not limited");
    } else if (limit.rlim_cur < SYSTEM_MEMLOCK_MIN) {
        daxpin_checkup_add(checkup, (devices > 0) ? DAXPIN_FINDING_BAD :
                                                    DAXPIN_FINDING_WARN,
                           "memlock", "only %lu KiB may be locked, too little "
                           "for memory that %s; set memlock to unlimited in "
                           "/etc/security/limits.conf, or LimitMEMLOCK of the "
                           "service that starts jobs to infinity",
                           (unsigned long)limit.rlim_cur >> 10,
                           (devices > 0) ? "an RDMA device registers" :
                                           "an RDMA device would register "
                                           "(there is none here)");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "memlock",
                           "%lu MiB may be locked",
                           (unsigned long)limit.rlim_cur >> 20);
    }
}

static size_t system_check_rdma(daxpin_checkup_t *checkup)
{
    const unsigned offers = daxpin_kmod_offers();
    char names[512] = "", name[128], reason[512];
    daxpin_rdma_way_t way;
    daxpin_rdma_t *rdma;
    size_t count, i;

    rdma = daxpin_rdma_list(-1, &count);
    for (i = 0; i < count; ++i) {
        snprintf(name, sizeof(name), "%s%s", rdma[i].name,
                 rdma[i].active ? "" : " (not active)");
        daxpin_list_append(names, sizeof(names), ", ", name);
    }
    daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, "RDMA devices", "%s",
                       (count > 0) ? names : "none");
    for (i = 0; i < count; ++i) {
        way = daxpin_rdma_way(&rdma[i], offers, reason, sizeof(reason));
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, rdma[i].name,
                           "reaches files on fsdax by %s: %s",
                           daxpin_rdma_way_name(way), reason);
    }
    free(rdma);
    return count;
}

static void system_check_shm(daxpin_checkup_t *checkup)
{
    struct statvfs fs;
    unsigned long long size;

    if ((statvfs("/dev/shm", &fs) != 0) || (access("/dev/shm", W_OK) != 0)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "/dev/shm",
                           "cannot write to it: %s; mount a tmpfs there that "
                           "every user may write to, because the ranks of a "
                           "node need it to communicate",
                           strerror(errno));
        return;
    }
    size = (unsigned long long)fs.f_bavail * fs.f_frsize;
    daxpin_checkup_add(checkup, (size < SYSTEM_SHM_MIN) ? DAXPIN_FINDING_WARN :
                                                          DAXPIN_FINDING_OK,
                       "/dev/shm", "%llu MiB are free%s", size >> 20,
                       (size < SYSTEM_SHM_MIN) ?
                               ", which may be too little for UCX; mount -o "
                               "remount,size=..., or docker --shm-size" : "");
}

static void system_check_proc(daxpin_checkup_t *checkup)
{
    daxpin_mount_t mount;

    if ((daxpin_mount_find(AT_FDCWD, "/proc", &mount) == 0) &&
        (daxpin_mount_has_option(&mount, "hidepid=2") ||
         daxpin_mount_has_option(&mount, "hidepid=invisible"))) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "/proc",
                           "is mounted with hidepid=2: messages cannot name "
                           "the process that has a file open; mount it "
                           "without");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "/proc",
                           "shows processes");
    }
}

/* The directory in which the processes of a user meet */
static void system_check_rundir(daxpin_checkup_t *checkup)
{
    char path[DAXPIN_RUNDIR_MAX];
    int fd = daxpin_rundir_open(path);

    if (fd < 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "meeting", "%s",
                           daxpin_errormsg());
    } else {
        close(fd);
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "meeting",
                           "processes of this user meet in %s", path);
    }
}

/* Report an optional part: its absence is no fault */
static void system_check_option(daxpin_checkup_t *checkup, const char *name,
                                daxpin_verdict_t (*verdict_func)(char *reason))
{
    char reason[LOCKS_REASON_MAX];
    daxpin_verdict_t verdict = verdict_func(reason);

    daxpin_checkup_add(checkup, (verdict == DAXPIN_VERDICT_YES) ?
                                        DAXPIN_FINDING_OK :
                                (verdict == DAXPIN_VERDICT_NO) ?
                                        DAXPIN_FINDING_NOTE :
                                        DAXPIN_FINDING_WARN,
                       name, "%s%s", reason, (verdict == DAXPIN_VERDICT_NO) ?
                       " (optional)" : "");
}

void daxpin_check_system(daxpin_checkup_t *checkup)
{
    system_check_kernel(checkup);
    system_check_leases(checkup);
    system_check_break_time(checkup);
    system_check_membarrier(checkup);
    system_check_kcmp(checkup);
    system_check_memlock(checkup, system_check_rdma(checkup));
    system_check_shm(checkup);
    system_check_proc(checkup);
    system_check_rundir(checkup);
    system_check_option(checkup, "module", daxpin_kmod_verdict);
    system_check_option(checkup, "guard", daxpin_guard_verdict);
}
