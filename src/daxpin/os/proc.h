/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Processes, their files and their leases, read from /proc */

#ifndef DAXPIN_PROC_H_
#define DAXPIN_PROC_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* All functions are thread-safe and take no lock. None opens a file that
 * another process has open: that would break its lease. */

#define DAXPIN_PROC_LOCKS "/proc/locks"

/* A file, as fstat() and as mappings number it: the two differ on btrfs and
 * overlayfs. Where only one is known, both members are to be the same. */
typedef struct daxpin_inode {
    dev_t      dev;
    uint64_t   ino;
    dev_t      map_dev;
    uint64_t   map_ino;
    const char *path;   /* the path it is mapped by; NULL: not known */
} daxpin_inode_t;

/* Read the first line of a small file, such as those of /proc and sysfs,
 * without its end. Return 0 or -errno; then the buffer is as it was. */
int daxpin_proc_read_line(const char *path, char *buffer, size_t size);

/*
 * Processes
 */

typedef int (*daxpin_proc_func_t)(pid_t pid, void *arg);

/* Call func for each process, until it returns non-zero. Return what func
 * returned last, or -errno. */
int daxpin_proc_each(daxpin_proc_func_t func, void *arg);

/* Append "pid 17 (cat)" to a string, after a comma unless the string is empty.
 * What cannot be printed of a name is a question mark.
 * pid 0: a process that this one cannot see. */
void daxpin_proc_describe(pid_t pid, char *buffer, size_t size);

/* Append "; of another job: mpirun, pid 12" to a string if that started the
 * process, which is a rank of an MPI job or was started by one: "of the same
 * launcher" if it started this process, too. The number of the Slurm job follows
 * where there is one; within one, it is "of another launcher", or "of the same
 * job". Reads several files for each of the two processes. */
void daxpin_proc_describe_job(pid_t pid, char *buffer, size_t size);

/* Return when a process started, in ticks of the clock since the boot as
 * processes of this time namespace count them; 0 if that cannot be read. */
uint64_t daxpin_proc_start(pid_t pid);

/* Return whether the process that had this pid has ended. start: of
 * daxpin_proc_start(), or 0. A process has ended if nobody has waited for it yet
 * (it is a zombie), and if another one has its pid now. One that is stopped has
 * not ended, and what cannot be found out is no. */
int daxpin_proc_has_ended(pid_t pid, uint64_t start);

/* Return whether a process is stopped, by a signal or a debugger. What cannot be
 * read is no. */
int daxpin_proc_is_stopped(pid_t pid);

/* Return whether a process has a thread. What cannot be read is no. */
int daxpin_proc_has_thread(pid_t pid, pid_t tid);

/* Return whether a process works: it has used a processor since the last call for
 * it, or a thread of it could use one, or waits for a disk. So a process that is
 * stopped, or in which all threads sleep, does not, and one to which others leave
 * no processor does. *used_p is the time of processors that it had used by the
 * last call, in ticks, and begins with 0. What cannot be read is no. */
int daxpin_proc_works(pid_t pid, uint64_t *used_p);

/*
 * Files of a process
 */

/* Entry @a name, a number, of the directory @a dir_fd, /proc/<pid>/fd */
typedef int (*daxpin_proc_fd_func_t)(int dir_fd, const char *name, void *arg);

/* Call func for each descriptor of a process, except the one that this function
 * opens, until func returns non-zero. pid 0: this process. Return what func
 * returned last, or -errno if the descriptors cannot be read. */
int daxpin_proc_each_fd(pid_t pid, daxpin_proc_fd_func_t func, void *arg);

/* Get st_dev, st_ino, st_nlink and the type (of st_mode) of what a descriptor
 * refers to, as daxpin_proc_each_fd() passes it; the rest of *st is 0. name "": dir_fd
 * itself. The kernel answers by itself: the descriptor may be of any file system,
 * also of one whose server never answers. Return 0 or -errno. */
int daxpin_proc_stat_fd(int dir_fd, const char *name, struct stat *st);

/* Descriptor @a fd, and the path or other name that the kernel gives it */
typedef int (*daxpin_proc_link_func_t)(int dir_fd, int fd, const char *target,
                                       void *arg);

/* As daxpin_proc_each_fd(), with what each descriptor refers to */
int daxpin_proc_each_link(pid_t pid, daxpin_proc_link_func_t func, void *arg);

/* Check whether a process has a descriptor or a mapping of a file; one with O_PATH
 * does not count, because it stands in the way of no lease. Return 1, 0,
 * or -errno if its descriptors cannot be read, as those of pid 0: a process
 * that this one cannot see. */
int daxpin_proc_has_file(pid_t pid, const daxpin_inode_t *inode);

/* Append "pid 17 (cat; of another job: mpirun, pid 12)": both. */
void daxpin_proc_describe_all(pid_t pid, char *buffer, size_t size);

/* Write "pid 17 (cat), pid 18 (cp; of another job: mpirun, pid 12)": up to four
 * other processes that have the file open or mapped, without those for which skip
 * returns non-zero. The string is empty if there are none, or none that this
 * process may read. */
void daxpin_proc_list_users(const daxpin_inode_t *inode,
                            daxpin_proc_func_t skip, void *arg, char *buffer,
                            size_t size);

/* Find what a process has of a file, besides the description @a fd of this
 * process, so that this description cannot be leased: another descriptor or a
 * private mapping. Return 1 with its name in @a what, 0, or -errno if that
 * cannot be read. */
int daxpin_proc_keeps_file(pid_t pid, const daxpin_inode_t *inode, int fd,
                           char *what, size_t size);

/* Return another process that has the file open for writing, by another
 * description than @a fd of this process, and for which skip returns 0; or 0 if
 * there is none that this process may read. */
pid_t daxpin_proc_find_writer(const daxpin_inode_t *inode, int fd,
                              daxpin_proc_func_t skip, void *arg);

/*
 * Leases
 */

/* A line of /proc/locks that is about a lease */
typedef struct daxpin_lease_line {
    int      waits;    /* for the lease of the last line where this is 0; then
                          the line names no file */
    int      breaking;
    int      write;    /* the lease, or what waits, is exclusive */
    pid_t    pid;
    dev_t    dev;      /* of the file system, which is not always st_dev */
    uint64_t ino;
} daxpin_lease_line_t;

typedef int (*daxpin_lease_line_func_t)(const daxpin_lease_line_t *line,
                                        void *arg);

/* Call func for each lease and each process that waits for a lease, until
 * func returns non-zero. locks: DAXPIN_PROC_LOCKS. Return what func returned
 * last, or -errno. */
int daxpin_proc_each_lease(const char *locks, daxpin_lease_line_func_t func,
                           void *arg);

/* Whether the list of locks shows a lease. Only a lease that is shown without
 * waiters has none: silence is no answer. */
typedef enum daxpin_sight {
    DAXPIN_SIGHT_NONE,    /* the list cannot be read, or is not about this
                             process's pid namespace */
    DAXPIN_SIGHT_WITHOUT, /* the list does not have the lease: it has expired,
                             or lines have moved while the list was read */
    DAXPIN_SIGHT_LEASE    /* the list has the lease, and its waiters */
} daxpin_sight_t;

/* Processes that wait for a lease to end */
typedef struct daxpin_waiters {
    unsigned readers;
    unsigned writers;
    pid_t    writer;  /* the first; 0: of another pid namespace */
} daxpin_waiters_t;

/* Open DAXPIN_PROC_LOCKS, and keep it, so that no lack of descriptors blinds
 * this process later. Return the descriptor, the same in each call, or -1. */
int daxpin_proc_locks_fd(void);

/* Count the processes that wait for the lease that a process has on a file.
 * locks_fd: daxpin_proc_locks_fd(); its offset does not matter. Without
 * DAXPIN_SIGHT_LEASE the counts are 0. */
daxpin_sight_t daxpin_proc_count_waiters(int locks_fd,
                                         const daxpin_inode_t *inode,
                                         pid_t holder,
                                         daxpin_waiters_t *waiters);

/*
 * Descriptors of this process
 */

typedef int (*daxpin_fd_func_t)(int fd, void *arg);

/* Call func for each descriptor that this process has of a regular file, until
 * func returns non-zero; dev 0: on any device. Return what func returned last,
 * or -errno. */
int daxpin_fd_for_each(uint64_t ino, dev_t dev, daxpin_fd_func_t func,
                       void *arg);

/* Locks on a file; a lease is none */
typedef enum daxpin_fd_lock {
    DAXPIN_FD_LOCK_RECORD = 1 << 0, /* F_SETLK: of this process; the close of
                                       any descriptor of the file ends it */
    DAXPIN_FD_LOCK_OFD    = 1 << 1, /* F_OFD_SETLK: of the description */
    DAXPIN_FD_LOCK_FLOCK  = 1 << 2  /* flock(): of the description */
} daxpin_fd_lock_t;

/* Return the locks of a descriptor of this process, a mask of daxpin_fd_lock_t;
 * or -errno if they cannot be read. Record locks are those that were set by the
 * description of this descriptor. */
int daxpin_fd_locks(int fd);

/* Return DAXPIN_FD_LOCK_RECORD if this process has record locks on the file of
 * a descriptor, else 0; or -errno if that cannot be read. */
int daxpin_fd_record_locks(int fd);

#endif
