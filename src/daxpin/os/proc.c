/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Processes, their files and their leases, read from /proc */

#include "proc.h"

#include "vma.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PROC_USERS_MAX   4  /* that a message names */

#define PROC_PARENTS_MAX 16 /* that are looked at for the launcher of a job */

#define PROC_READ_SIZE ((size_t)16 * 1024) /* bytes, least for one read() */

int daxpin_proc_read_line(const char *path, char *buffer, size_t size)
{
    FILE *file = fopen(path, "re");
    int ret    = 0;

    if (file == NULL) {
        return -errno;
    }
    errno = 0;
    if (fgets(buffer, (int)size, file) == NULL) {
        ret       = -errno;
        buffer[0] = '\0';
    }
    buffer[strcspn(buffer, "\n")] = '\0';
    fclose(file);
    return ret;
}

/* Return whether /proc is about the pid namespace of this process. */
static int proc_is_own(void)
{
    char target[32], pid[32];
    ssize_t length = readlink("/proc/self", target, sizeof(target) - 1);

    target[(length > 0) ? length : 0] = '\0';
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    return strcmp(target, pid) == 0;
}

/*
 * Processes
 */

int daxpin_proc_each(daxpin_proc_func_t func, void *arg)
{
    struct dirent *entry;
    int ret = 0;
    DIR *dir;

    dir = opendir("/proc");
    if (dir == NULL) {
        return -errno;
    }
    while ((ret == 0) && ((entry = readdir(dir)) != NULL)) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            ret = func((pid_t)atoi(entry->d_name), arg);
        }
    }
    closedir(dir);
    return ret;
}

/* A process may have any bytes in its name, and messages go to terminals */
static void proc_make_printable(char *text)
{
    for (; *text != '\0'; ++text) {
        if ((*text < ' ') || (*text > '~')) {
            *text = '?';
        }
    }
}

/* Read the name of a process. "?": there is none that can be read. */
static void proc_read_name(pid_t pid, char *name, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    if ((daxpin_proc_read_line(path, name, size) != 0) || (name[0] == '\0')) {
        snprintf(name, size, "?");
    }
    proc_make_printable(name);
}

/* What /proc/PID/stat has of a process; see proc_pid_stat(5) */
typedef struct proc_stat {
    char     state;
    pid_t    parent;
    uint64_t user;    /* ticks of a processor */
    uint64_t system;  /* likewise */
    long     threads;
    uint64_t start;
} proc_stat_t;

/* Read what follows the name, which may have any bytes in it. Return 0 or
 * -errno. */
static int proc_read_stat_file(const char *path, proc_stat_t *stat)
{
    char text[1024];
    const char *rest;
    ssize_t length;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    length = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[(length > 0) ? length : 0] = '\0';
    rest = strrchr(text, ')');
    return ((rest != NULL) &&
            (sscanf(rest + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                    "%" SCNu64 " %" SCNu64 " %*d %*d %*d %*d %ld %*d %" SCNu64,
                    &stat->state, &stat->parent, &stat->user, &stat->system,
                    &stat->threads, &stat->start) == 6)) ? 0 : -EINVAL;
}

static int proc_read_stat(pid_t pid, proc_stat_t *stat)
{
    char path[64];

    if (!proc_is_own()) {
        return -ENOENT;
    }
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    return proc_read_stat_file(path, stat);
}

/* The job that a process belongs to, as far as /proc tells without a look at the
 * memory of a process, which may take as long as that process likes */
typedef struct proc_job {
    pid_t launcher;  /* 0: none is known */
    char  name[32];  /* of the launcher */
    char  slurm[32]; /* number of the Slurm job; empty: none */
} proc_job_t;

/* Programs that start the ranks of a job, by the beginnings of their names. A
 * daemon of a batch system serves one step of a job; a program of the first kind
 * within that step is nearer to the ranks. */
static const char *const proc_launchers[] = {"mpirun", "mpiexec", "orte",
                                             "prte", "hydra_", NULL};
static const char *const proc_daemons[]   = {"slurmstepd", "flux-shell", NULL};

static int proc_begins_with_any(const char *name, const char *const *list)
{
    for (; *list != NULL; ++list) {
        if (strncmp(name, *list, strlen(*list)) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Read the number of a Slurm job from the name of the control group. */
static void proc_find_slurm_job(pid_t pid, proc_job_t *job)
{
    static const char mark[] = "/job_";
    char path[64], line[512];
    const char *number;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while ((job->slurm[0] == '\0') &&
           (fgets(line, sizeof(line), file) != NULL)) {
        number = strstr(line, mark);
        if (number != NULL) {
            sscanf(number + strlen(mark), "%31[0-9]", job->slurm);
        }
    }
    fclose(file);
}

/* Find the outermost launcher among the parents of a process: the daemon that
 * starts the ranks may be a child of it. Otherwise find the daemon of a batch
 * system. The list of control groups has a lock of the kernel that other users
 * may have: look into it only below Slurm's daemon. */
static void proc_find_job(pid_t pid, proc_job_t *job)
{
    int is_launcher, has_launcher = 0;
    const pid_t process = pid;
    char path[64], name[32];
    proc_stat_t stat;
    unsigned depth;

    memset(job, 0, sizeof(*job));
    if (!proc_is_own()) {
        return;
    }
    for (depth = 0; depth < PROC_PARENTS_MAX; ++depth) {
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if ((proc_read_stat_file(path, &stat) != 0) || (stat.parent <= 1)) {
            return;
        }
        pid = stat.parent;
        proc_read_name(pid, name, sizeof(name));
        if (strcmp(name, "slurmstepd") == 0) {
            proc_find_slurm_job(process, job);
        }
        is_launcher   = proc_begins_with_any(name, proc_launchers);
        has_launcher |= is_launcher;
        if (is_launcher ||
            (!has_launcher && proc_begins_with_any(name, proc_daemons))) {
            job->launcher = pid;
            snprintf(job->name, sizeof(job->name), "%s", name);
        }
    }
}

/* Say what the jobs of two processes have in common. A daemon that stays may
 * have started several jobs, so that the same launcher does not make two ranks
 * those of one job. */
static const char *proc_compare_jobs(const proc_job_t *job,
                                     const proc_job_t *own)
{
    if ((job->launcher != 0) && (job->launcher == own->launcher)) {
        return "the same launcher";
    }
    if ((job->slurm[0] == '\0') || (strcmp(job->slurm, own->slurm) != 0)) {
        return "another job";
    }
    return ((job->launcher != 0) && (own->launcher != 0)) ? "another launcher" :
                                                            "the same job";
}

void daxpin_proc_describe_job(pid_t pid, char *buffer, size_t size)
{
    size_t used = strlen(buffer);
    proc_job_t job, own;

    if ((pid <= 0) || (pid == getpid())) {
        return;
    }
    proc_find_job(pid, &job);
    if ((job.launcher == 0) && (job.slurm[0] == '\0')) {
        return;
    }
    proc_find_job(getpid(), &own);
    snprintf(buffer + used, size - used, "; of %s:",
             proc_compare_jobs(&job, &own));
    if (job.launcher != 0) {
        used = strlen(buffer);
        snprintf(buffer + used, size - used, " %s, pid %d%s", job.name,
                 (int)job.launcher, (job.slurm[0] != '\0') ? "," : "");
    }
    if (job.slurm[0] != '\0') {
        used = strlen(buffer);
        snprintf(buffer + used, size - used, " Slurm job %s", job.slurm);
    }
}

void daxpin_proc_describe(pid_t pid, char *buffer, size_t size)
{
    size_t used = strlen(buffer);
    char name[32];

    if (pid <= 0) {
        snprintf(buffer + used, size - used, "%san unknown process (perhaps in "
                 "another container or pid namespace)", (used > 0) ? ", " : "");
        return;
    }
    proc_read_name(pid, name, sizeof(name));
    snprintf(buffer + used, size - used, "%spid %d (%s)",
             (used > 0) ? ", " : "", (int)pid, name);
}

void daxpin_proc_describe_all(pid_t pid, char *buffer, size_t size)
{
    size_t used;

    daxpin_proc_describe(pid, buffer, size);
    used = strlen(buffer);
    if ((used > 0) && (buffer[used - 1] == ')')) { /* else it is cut off */
        buffer[used - 1] = '\0';
        daxpin_proc_describe_job(pid, buffer, size);
        used = strlen(buffer);
        snprintf(buffer + used, size - used, ")");
    }
}

uint64_t daxpin_proc_start(pid_t pid)
{
    proc_stat_t stat;

    return (proc_read_stat(pid, &stat) == 0) ? stat.start : 0;
}

/* Return whether no process has this pid, or only one that has ended. A first
 * thread that has ended, with others left, is a zombie, too. */
static int proc_is_gone(pid_t pid)
{
    struct pollfd pollfd = {.events = POLLIN};
    int gone;

    pollfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pollfd.fd < 0) { /* There is no such call, or it is forbidden */
        return (kill(pid, 0) != 0) && (errno == ESRCH);
    }
    gone = poll(&pollfd, 1, 0) > 0;
    close(pollfd.fd);
    return gone;
}

int daxpin_proc_has_ended(pid_t pid, uint64_t start)
{
    proc_stat_t stat;

    if (proc_is_gone(pid)) {
        return 1;
    }
    return (proc_read_stat(pid, &stat) == 0) &&
           ((stat.state == 'X') ||
            ((stat.state == 'Z') && (stat.threads <= 1)) ||
            ((start != 0) && (stat.start != start)));
}

int daxpin_proc_is_stopped(pid_t pid)
{
    proc_stat_t stat;

    return (proc_read_stat(pid, &stat) == 0) &&
           ((stat.state == 'T') || (stat.state == 't'));
}

int daxpin_proc_has_thread(pid_t pid, pid_t tid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
    return proc_is_own() && (access(path, F_OK) == 0);
}

/* Return whether a thread of a process runs, could run, or waits for a disk. */
static int proc_has_busy_thread(pid_t pid)
{
    struct dirent *entry;
    char path[64 + sizeof(entry->d_name)];
    proc_stat_t stat;
    int busy = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }
    while (!busy && ((entry = readdir(dir)) != NULL)) {
        snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int)pid,
                 entry->d_name);
        busy = (proc_read_stat_file(path, &stat) == 0) &&
               ((stat.state == 'R') || (stat.state == 'D'));
    }
    closedir(dir);
    return busy;
}

int daxpin_proc_works(pid_t pid, uint64_t *used_p)
{
    const uint64_t before = *used_p;
    proc_stat_t stat;

    if ((pid <= 0) || (proc_read_stat(pid, &stat) != 0)) {
        return 0;
    }
    *used_p = stat.user + stat.system;
    return (*used_p > before) || proc_has_busy_thread(pid);
}

/*
 * Files of a process
 */

int daxpin_proc_each_fd(pid_t pid, daxpin_proc_fd_func_t func, void *arg)
{
    char path[64] = "/proc/self/fd";
    struct dirent *entry;
    int ret = 0;
    DIR *dir;

    if (pid != 0) {
        snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    }
    dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    while ((ret == 0) && ((entry = readdir(dir)) != NULL)) {
        if (isdigit((unsigned char)entry->d_name[0]) &&
            ((pid != 0) || (atoi(entry->d_name) != dirfd(dir)))) {
            ret = func(dirfd(dir), entry->d_name, arg);
        }
    }
    closedir(dir);
    return ret;
}

int daxpin_proc_stat_fd(int dir_fd, const char *name, struct stat *st)
{
    struct statx stx;

    if (statx(dir_fd, name, AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
              STATX_INO | STATX_TYPE | STATX_NLINK, &stx) != 0) {
        return -errno;
    }
    memset(st, 0, sizeof(*st));
    st->st_dev   = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    st->st_ino   = stx.stx_ino;
    st->st_mode  = stx.stx_mode & S_IFMT;
    st->st_nlink = stx.stx_nlink;
    return 0;
}

typedef struct proc_links {
    daxpin_proc_link_func_t func;
    void                    *arg;
} proc_links_t;

static int proc_read_link(int dir_fd, const char *name, void *arg)
{
    const proc_links_t *links = arg;
    char target[PATH_MAX];
    ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

    if (length <= 0) {
        return 0;
    }
    target[length] = '\0';
    return links->func(dir_fd, atoi(name), target, links->arg);
}

int daxpin_proc_each_link(pid_t pid, daxpin_proc_link_func_t func, void *arg)
{
    proc_links_t links = {.func = func, .arg = arg};

    return daxpin_proc_each_fd(pid, proc_read_link, &links);
}

/* Return whether a process has opened a file for something: the link of a
 * descriptor with O_PATH, which stands in the way of no lease, has no mode. */
static int proc_fd_is_open(int dir_fd, const char *name)
{
    struct stat st;

    return (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) &&
           (st.st_mode & S_IRWXU);
}

static int proc_fd_is_file(int dir_fd, const char *name, void *arg)
{
    const daxpin_inode_t *inode = arg;
    struct stat st;

    return (daxpin_proc_stat_fd(dir_fd, name, &st) == 0) &&
           (st.st_ino == inode->ino) && (st.st_dev == inode->dev) &&
           proc_fd_is_open(dir_fd, name);
}

/* A number alone is that of many files, one per file system */
static int proc_is_inode(const daxpin_inode_t *inode, dev_t dev, uint64_t ino)
{
    return ((ino == inode->ino) &&
            ((dev == inode->dev) || (dev == inode->map_dev))) ||
           ((ino == inode->map_ino) && (dev == inode->map_dev));
}

static int proc_vma_is_file(const daxpin_vma_t *vma, void *arg)
{
    const daxpin_inode_t *inode = arg;

    return proc_is_inode(inode, vma->dev, vma->ino) ||
           ((vma->ino == inode->ino) && (inode->path != NULL) &&
            (strcmp(vma->path, inode->path) == 0));
}

int daxpin_proc_has_file(pid_t pid, const daxpin_inode_t *inode)
{
    char maps[64];
    int ret, mapped;

    if (pid <= 0) {
        return -ESRCH; /* daxpin_proc_each_fd() would take it for this one */
    }
    ret = daxpin_proc_each_fd(pid, proc_fd_is_file, (void*)inode);
    if (ret > 0) {
        return ret;
    }
    snprintf(maps, sizeof(maps), "/proc/%d/maps", (int)pid);
    mapped = daxpin_vma_read(maps, proc_vma_is_file, (void*)inode);
    return ((mapped > 0) || (ret == 0)) ? mapped : ret;
}

typedef struct proc_users {
    const daxpin_inode_t *inode;
    daxpin_proc_func_t   skip;
    void                 *arg;
    char                 *buffer;
    size_t               size;
    unsigned             count;
} proc_users_t;

static int proc_add_user(pid_t pid, void *arg)
{
    proc_users_t *users = arg;

    if ((pid != getpid()) && !users->skip(pid, users->arg) &&
        (daxpin_proc_has_file(pid, users->inode) > 0)) {
        daxpin_proc_describe_all(pid, users->buffer, users->size);
        ++users->count;
    }
    return users->count == PROC_USERS_MAX;
}

void daxpin_proc_list_users(const daxpin_inode_t *inode,
                            daxpin_proc_func_t skip, void *arg, char *buffer,
                            size_t size)
{
    proc_users_t users = {.inode  = inode,
                          .skip   = skip,
                          .arg    = arg,
                          .buffer = buffer,
                          .size   = size};

    buffer[0] = '\0';
    daxpin_proc_each(proc_add_user, &users);
}

/* A search for what keeps the lease of one description away */
typedef struct proc_keeper {
    const daxpin_inode_t *inode;
    pid_t                pid;
    int                  fd;   /* of that description */
    char                 *what;
    size_t               size;
} proc_keeper_t;

static int proc_fd_keeps(int dir_fd, const char *name, void *arg)
{
    const proc_keeper_t *keeper = arg;
    struct stat st;
    long differs;

    if (!proc_fd_is_open(dir_fd, name) ||
        (daxpin_proc_stat_fd(dir_fd, name, &st) != 0) ||
        !proc_is_inode(keeper->inode, st.st_dev, st.st_ino)) {
        return 0;
    }
    differs = syscall(SYS_kcmp, getpid(), keeper->pid, KCMP_FILE, keeper->fd,
                      atoi(name));
    if (differs == 0) {
        return 0;
    }
    snprintf(keeper->what, keeper->size, "descriptor %s%s%s", name,
             ((keeper->pid == getpid()) &&
              (fcntl(atoi(name), F_GETFL) & O_APPEND)) ? " with O_APPEND" : "",
             ((differs < 0) && ((errno == EPERM) || (errno == ENOSYS))) ?
                     " (kcmp(2) is not allowed here)" : "");
    return 1;
}

static int proc_vma_keeps(const daxpin_vma_t *vma, void *arg)
{
    const proc_keeper_t *keeper = arg;

    if (vma->shared || !proc_vma_is_file(vma, (void*)keeper->inode)) {
        return 0;
    }
    snprintf(keeper->what, keeper->size, "a private mapping of it at %p",
             (void*)vma->start);
    return 1;
}

int daxpin_proc_keeps_file(pid_t pid, const daxpin_inode_t *inode, int fd,
                           char *what, size_t size)
{
    proc_keeper_t keeper = {.inode = inode,
                            .pid   = pid,
                            .fd    = fd,
                            .what  = what,
                            .size  = size};
    char maps[64] = "/proc/self/maps";
    int ret;

    if (pid != getpid()) {
        snprintf(maps, sizeof(maps), "/proc/%d/maps", (int)pid);
    }
    ret = daxpin_proc_each_fd((pid == getpid()) ? 0 : pid, proc_fd_keeps,
                              &keeper);
    return (ret != 0) ? ret : daxpin_vma_read(maps, proc_vma_keeps, &keeper);
}

/* A search for a process that can write to a file */
typedef struct proc_writer {
    const daxpin_inode_t *inode;
    int                  fd;    /* of the description that does not count */
    daxpin_proc_func_t   skip;
    void                 *arg;
    pid_t                pid;   /* whose descriptors are read */
} proc_writer_t;

/* The link of a descriptor in /proc has the mode of the description. */
static int proc_fd_can_write(int dir_fd, const char *name, void *arg)
{
    const proc_writer_t *search = arg;
    struct stat st;

    return (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) &&
           (st.st_mode & S_IWUSR) &&
           (daxpin_proc_stat_fd(dir_fd, name, &st) == 0) &&
           proc_is_inode(search->inode, st.st_dev, st.st_ino) &&
           (syscall(SYS_kcmp, getpid(), search->pid, KCMP_FILE, search->fd,
                    atoi(name)) != 0);
}

static int proc_is_writer(pid_t pid, void *arg)
{
    proc_writer_t *search = arg;

    if ((pid == getpid()) || search->skip(pid, search->arg)) {
        return 0;
    }
    search->pid = pid;
    return daxpin_proc_each_fd(pid, proc_fd_can_write, search) > 0;
}

pid_t daxpin_proc_find_writer(const daxpin_inode_t *inode, int fd,
                              daxpin_proc_func_t skip, void *arg)
{
    proc_writer_t search = {.inode = inode,
                            .fd    = fd,
                            .skip  = skip,
                            .arg   = arg};

    return (daxpin_proc_each(proc_is_writer, &search) > 0) ? search.pid : 0;
}

/*
 * Leases
 */

/* Lines of one lock share a number; those that wait for it have an arrow:
 *   7: LEASE  BREAKING  UNLCK 2722 fe:00:11101448 0 EOF
 *   7: -> LEASE  BREAKER   WRITE 2723 <none>:0 0 EOF */
static int proc_parse_lease(const char *text, daxpin_lease_line_t *line)
{
    char kind[16], status[16], type[16];
    const char *arrow      = strstr(text, "->");
    const char *colon      = strchr(text, ':');
    unsigned major_id      = 0, minor_id = 0;
    unsigned long ino      = 0;
    int wanted, count, pid = 0;

    if (colon == NULL) {
        return 0;
    }
    wanted = (arrow != NULL) ? 4 : 7;
    count  = sscanf((arrow != NULL) ? arrow + 2 : colon + 1,
                    "%15s %15s %15s %d %x:%x:%lu", kind, status, type, &pid,
                    &major_id, &minor_id, &ino);
    if ((count < wanted) || (strcmp(kind, "LEASE") != 0)) {
        return 0;
    }
    line->waits    = arrow != NULL;
    line->breaking = strcmp(status, "BREAKING") == 0;
    line->write    = line->breaking || (strcmp(type, "READ") != 0);
    line->pid      = pid;
    line->dev      = makedev(major_id, minor_id);
    line->ino      = ino;
    return 1;
}

/* Call func for each lease in the text of a list of locks; see
 * daxpin_proc_each_lease(). */
static int proc_each_lease(FILE *file, daxpin_lease_line_func_t func, void *arg)
{
    daxpin_lease_line_t line;
    char text[512];
    int ret = 0;

    while ((ret == 0) && (fgets(text, sizeof(text), file) != NULL)) {
        if (proc_parse_lease(text, &line)) {
            ret = func(&line, arg);
        }
    }
    return ret;
}

int daxpin_proc_each_lease(const char *locks, daxpin_lease_line_func_t func,
                           void *arg)
{
    FILE *file = fopen(locks, "re");
    int ret;

    if (file == NULL) {
        return -errno;
    }
    ret = proc_each_lease(file, func, arg);
    fclose(file);
    return ret;
}

/* Read all of a file from its beginning, whatever its size. Children of fork()
 * share the offset of the description, so neither use nor move it. Return the
 * text, for the caller to free, or NULL. */
static char *proc_read_all(int fd, size_t *length_p)
{
    size_t size = 0, used = 0;
    char *text = NULL, *more;
    ssize_t count;

    do {
        if (used + PROC_READ_SIZE > size) {
            size = 2 * size + PROC_READ_SIZE;
            more = realloc(text, size);
            if (more == NULL) {
                free(text);
                return NULL;
            }
            text = more;
        }
        count = pread(fd, text + used, size - used, (off_t)used);
        if (count > 0) {
            used += (size_t)count;
        }
    } while ((count > 0) || ((count < 0) && (errno == EINTR)));
    if (count < 0) {
        free(text);
        return NULL;
    }
    *length_p = used;
    return text;
}

typedef struct proc_waiters {
    const daxpin_inode_t *inode;
    pid_t                holder;
    daxpin_waiters_t     *waiters;
    int                  is_ours; /* the lease that the next lines wait for */
    int                  seen;    /* the lease */
} proc_waiters_t;

static int proc_count_waiter(const daxpin_lease_line_t *line, void *arg)
{
    proc_waiters_t *search = arg;

    if (!line->waits) {
        search->is_ours = (line->pid == search->holder) &&
                          proc_is_inode(search->inode, line->dev, line->ino);
        search->seen |= search->is_ours;
    } else if (search->is_ours && !line->write) {
        ++search->waiters->readers;
    } else if (search->is_ours && (search->waiters->writers++ == 0)) {
        search->waiters->writer = line->pid;
    }
    return 0;
}

int daxpin_proc_locks_fd(void)
{
    static _Atomic int kept = -1;
    int none                = -1;
    int fd                  = atomic_load(&kept);

    if (fd >= 0) {
        return fd;
    }
    fd = open(DAXPIN_PROC_LOCKS, O_RDONLY | O_CLOEXEC);
    if ((fd >= 0) && !atomic_compare_exchange_strong(&kept, &none, fd)) {
        close(fd); /* Another thread was first */
        fd = none;
    }
    return fd;
}

daxpin_sight_t daxpin_proc_count_waiters(int locks_fd,
                                         const daxpin_inode_t *inode,
                                         pid_t holder,
                                         daxpin_waiters_t *waiters)
{
    proc_waiters_t search = {.inode   = inode,
                             .holder  = holder,
                             .waiters = waiters};
    size_t length;
    char *text;
    FILE *file;

    memset(waiters, 0, sizeof(*waiters));
    text = ((locks_fd >= 0) && proc_is_own()) ? proc_read_all(locks_fd, &length)
                                              : NULL;
    if (text == NULL) {
        return DAXPIN_SIGHT_NONE;
    }
    file = (length > 0) ? fmemopen(text, length, "r") : NULL;
    if (file != NULL) {
        proc_each_lease(file, proc_count_waiter, &search);
        fclose(file);
    }
    free(text);
    return search.seen                      ? DAXPIN_SIGHT_LEASE :
           ((file != NULL) || (length == 0)) ? DAXPIN_SIGHT_WITHOUT :
                                               DAXPIN_SIGHT_NONE;
}

/* A file of which descriptors are searched for */
typedef struct daxpin_fd_search {
    uint64_t         ino;
    dev_t            dev; /* 0: any */
    daxpin_fd_func_t func;
    void             *arg;
} daxpin_fd_search_t;

/* Look by name: the number is the program's, which may close it meanwhile */
static int daxpin_fd_search_one(int dir_fd, const char *name, void *arg)
{
    const daxpin_fd_search_t *search = arg;
    struct stat st;

    return ((daxpin_proc_stat_fd(dir_fd, name, &st) == 0) &&
            (st.st_ino == search->ino) &&
            ((search->dev == 0) || (st.st_dev == search->dev)) &&
            S_ISREG(st.st_mode)) ?
                   search->func(atoi(name), search->arg) :
                   0;
}

int daxpin_fd_for_each(uint64_t ino, dev_t dev, daxpin_fd_func_t func,
                       void *arg)
{
    daxpin_fd_search_t search = {ino, dev, func, arg};

    return daxpin_proc_each_fd(0, daxpin_fd_search_one, &search);
}

/* Parse a line of /proc/self/fdinfo/<fd>, such as:
 *   lock: 1: POSIX  ADVISORY  WRITE 2722 fe:00:11101448 0 EOF */
static int daxpin_fd_parse_lock(const char *line)
{
    char kind[16];

    if (sscanf(line, "lock: %*u: %15s", kind) != 1) {
        return 0;
    }
    return (strcmp(kind, "POSIX") == 0)  ? DAXPIN_FD_LOCK_RECORD :
           (strcmp(kind, "OFDLCK") == 0) ? DAXPIN_FD_LOCK_OFD :
           (strcmp(kind, "FLOCK") == 0)  ? DAXPIN_FD_LOCK_FLOCK :
                                           0;
}

int daxpin_fd_locks(int fd)
{
    char line[256];
    int locks = 0;
    FILE *file;

    snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
    file = fopen(line, "re");
    if (file == NULL) {
        return -errno;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        locks |= daxpin_fd_parse_lock(line);
    }
    if (ferror(file)) {
        locks = -EIO;
    }
    fclose(file);
    return locks;
}

static int daxpin_fd_find_record_lock(int fd, void *arg)
{
    int locks = daxpin_fd_locks(fd);

    (void)arg;
    /* Another thread may have closed the descriptor meanwhile */
    return (locks == -ENOENT) ? 0 :
           (locks < 0)        ? locks :
                                locks & DAXPIN_FD_LOCK_RECORD;
}

int daxpin_fd_record_locks(int fd)
{
    struct stat st;

    return (fstat(fd, &st) != 0) ?
                   -errno :
                   daxpin_fd_for_each(st.st_ino, st.st_dev,
                                      daxpin_fd_find_record_lock, NULL);
}
