/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_H_
#define DAXPIN_H_

/* The public interface of libdaxpin; see libdaxpin(3) */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file daxpin.h
 *
 * Persistent-memory files under an exclusive lease, shared by the processes of
 * one user on one node.
 *
 * For each file, one process of a node is the holder: it has the one open file
 * description and the kernel's lease. All other processes are members: the
 * holder sends them that description. A thread of the library, the loop thread,
 * watches the lease. When another process truncates the file, or opens it for
 * writing, the loop thread revokes the file: it stops new accesses, waits for
 * those under way, replaces the mappings in all processes by memory of no file,
 * and only then gives the lease back, so that the other process goes on.
 *
 * Errors: functions return 0 or a negative errno value; daxpin_errormsg() then
 * returns a sentence for the user. What a function returns in addition is
 * documented with it.
 *
 * Threads: all functions may be called from any thread, but not from a signal
 * handler.
 *
 * Units: lengths and offsets are in bytes; an offset is from the beginning of
 * the file.
 *
 * SIGBUS: the library installs a handler with the first file, as the last
 * resort against a truncate that no lease can see. It passes other faults on
 * to the handler that was there before; if there was none, the process ends as
 * it would have. A program that installs a handler later should pass on the
 * faults that do not concern it. A thread that accesses memory of a file by
 * itself must not have SIGBUS blocked: then the kernel calls no handler, and
 * such a truncate ends the process.
 *
 * Signals: the library uses one real-time signal that the program does not use
 * when the first file is opened: no handler, and not blocked in that thread. If
 * the program uses this signal later, the library gives back what it has read
 * of it, and moves to another one. Signals that kill() sent then have the
 * si_code SI_QUEUE, those of a descriptor SI_SIGIO. The library uses no other
 * signal, and its threads have all but SIGBUS blocked.
 *
 * dlclose(): the library stays loaded, because its thread and its handler do.
 *
 * fork(): the child is not a member. Its handles read as DAXPIN_STATE_REVOKED,
 * and memory from daxpin_file_addr() is not there: an access is SIGSEGV. The
 * child may open files of its own, the parent's among them. It inherits adopted
 * memory, as any mapping, and gets SIGBUS there after a truncate. While the
 * child has that memory, the lease outlives a dead parent.
 */

/** The state of a file. The holder and its members read the same one. */
typedef enum daxpin_state {
    DAXPIN_STATE_PENDING  = 0, /**< No lease yet: no access */
    DAXPIN_STATE_HELD     = 1, /**< Under lease: the one state for pins */
    DAXPIN_STATE_LENT     = 2, /**< A reader is let in, or a writer that the
                                    guard keeps in check; access is allowed;
                                    the lease comes back when it has left */
    DAXPIN_STATE_BREAKING = 3, /**< Being revoked: no access */
    DAXPIN_STATE_REVOKED  = 4, /**< Revoked: the memory is of no file, or of
                                    none as soon as this process goes on, if it
                                    was stopped meanwhile */
    DAXPIN_STATE_RELEASED = 5  /**< The user gave the lease back; pins and
                                    accesses remain, no new pins */
} daxpin_state_t;

/** What happens when another process truncates the file, punches a hole in it
 *  or opens it for writing. */
typedef enum daxpin_on_break {
    DAXPIN_ON_BREAK_REVOKE = 0, /**< All access ends; then it goes on */
    DAXPIN_ON_BREAK_HOLD   = 1  /**< It waits until the file is closed. If only
                                     the lease makes it wait, it waits until
                                     the lease is about to expire. */
} daxpin_on_break_t;

/** What a pin is for; `daxpin pins` shows it. */
typedef enum daxpin_owner_type {
    DAXPIN_OWNER_PROCESS = 0, /**< The process's own memory */
    DAXPIN_OWNER_FILE    = 1  /**< An open file, such as /dev/infiniband/… */
} daxpin_owner_type_t;

typedef struct daxpin_owner {
    size_t              size; /**< sizeof(daxpin_owner_t); 0: as in 0.1 */
    daxpin_owner_type_t type;
    int                 fd;  /**< For DAXPIN_OWNER_FILE */
} daxpin_owner_t;

/** What keeps the blocks of a file in place; see daxpin(7). Flags, to be
 *  combined. */
typedef enum daxpin_lock {
    DAXPIN_LOCK_LEASE = 1 << 0, /**< The kernel's lease: a process that
                                     truncates waits, and daxpin is notified */
    DAXPIN_LOCK_HOLD  = 1 << 1, /**< A page in use by the kernel: the file
                                     system makes a truncate wait */
    DAXPIN_LOCK_GUARD = 1 << 2, /**< daxpin-guardd: a truncate of what this
                                     process has pinned fails */
    DAXPIN_LOCK_MODULE = 1 << 3 /**< Kernel pins: the file system makes a
                                     truncate wait, also when an RDMA device
                                     has the memory longer than the process */
} daxpin_lock_t;

/** Bytes that are enough for daxpin_locks_names() */
#define DAXPIN_LOCKS_NAMES_MAX 64

typedef struct daxpin_file daxpin_file_t;
typedef struct daxpin_pin  daxpin_pin_t;

/** The name of a file on this node, from one revoke to the next; part of a
 *  remote key. */
typedef struct daxpin_key {
    uint64_t dev;        /**< From fstat() */
    uint64_t ino;        /**< From fstat() */
    uint64_t generation; /**< Never 0; different after every revoke */
    uint32_t uid;        /**< The holder's user */
    uint32_t pid;        /**< The holder, for messages */
} daxpin_key_t;

/** How to open or adopt. All zero: the defaults. */
typedef struct daxpin_params {
    size_t            size;       /**< sizeof(daxpin_params_t), so that later
                                       releases can add members; 0: as in
                                       0.1 */
    unsigned          timeout_ms; /**< How long to wait for the lease while
                                       another process has the file open, in
                                       milliseconds;
                                       0: DAXPIN_TIMEOUT_DEFAULT_MS */
    daxpin_on_break_t on_break;
    mode_t            mode;       /**< Mode of a new file; 0: 0600 */
    int               any_fs;     /**< Not 0: take also a file whose file system
                                       does not notify of every process that
                                       changes it, such as overlayfs or NFS,
                                       with a warning; see daxpin(7). 0: as the
                                       environment variable DAXPIN_ANY_FS
                                       says */
    int               read_only;  /**< Of daxpin_file_adopt(), not 0: take also
                                       a mapping without PROT_WRITE, which
                                       stays as it is. daxpin_file_addr() of
                                       the file is writable even so: it is for
                                       the caller to keep from storing
                                       there. */
} daxpin_params_t;

#define DAXPIN_TIMEOUT_DEFAULT_MS 10000

/** Returned by daxpin_file_adopt() for memory that it does not lease. */
#define DAXPIN_FOREIGN 1

/**
 * Open a file for one-sided access: find its holder on this node or become it.
 *
 * A new or short file grows to @a length; an existing one keeps its content.
 * Every block is allocated before the call returns, and on DAX also converted.
 * The file does not change before the lease is there.
 *
 * @param [in]  path     Regular file; its directory must exist.
 * @param [in]  length   Least length wanted; 0: the length of the file.
 * @param [in]  params   NULL for the defaults.
 * @param [out] file_p   The handle; close it with daxpin_file_close(). The same
 *                       file opened again in a process is the same handle
 *                       with one more reference.
 *
 * @return 0; -EAGAIN another process has the file open (the message names it),
 *         or its holder has released the lease; -EACCES neither owner of the
 *         file nor CAP_LEASE; -ENOSPC; -ETIMEDOUT a process that uses the file
 *         still makes it longer; -EISDIR, -EINVAL not a regular file, or a file
 *         system without leases; -EOPNOTSUPP a file system whose leases do not
 *         tell of every process that changes the file, see
 *         daxpin_params_t.any_fs; other errors of open(2) and
 *         mmap(2). On error nothing is left behind that was not there before;
 *         only an empty file stays that this call has created, if another
 *         process has opened it meanwhile.
 */
int daxpin_file_open(const char *path, size_t length,
                     const daxpin_params_t *params, daxpin_file_t **file_p);

/**
 * Set which mappings daxpin_file_adopt() leases, for the whole process.
 *
 * @param [in] paths  "fsdax" for mappings of all files on fsdax file systems;
 *                    any other string is a directory, for all files below it,
 *                    which are then treated as fsdax files are. The array ends
 *                    with NULL, and is copied.
 *
 * @return 0; -ENOENT a directory does not exist; -ENOMEM. On error the former
 *         names stay.
 */
int daxpin_set_files(const char *const *paths);

/**
 * Take an existing shared mapping of a file under lease. Without
 * daxpin_params_t.read_only it has to be a writable one. The file is opened for
 * reading and writing in any case.
 *
 * Processes that each opened and mapped the same file find each other here: one
 * becomes the holder. The others exchange what they have (every mapping of this
 * file, and every descriptor of it without O_APPEND) for the holder's open file
 * description, in place; from then on they share its file offset, and a
 * descriptor that was read-only or write-only is for reading and writing, which
 * is logged as a warning, once for each file. What is of that description
 * already is not touched. The call returns when the
 * lease is held. No other thread may map or unmap this file meanwhile, open it
 * or close it.
 *
 * An exchange would lose the following, so that the call fails with -EBUSY, and
 * says where: O_SYNC, O_DSYNC, O_DIRECT or O_NOATIME of a descriptor, if the
 * flags of the holder's are others; a lock by F_OFD_SETLK or flock() on one of
 * the two; record locks (F_SETLK) of this process on the file; a mapping that
 * is registered with a userfaultfd, or has a protection key; what mlock() or
 * madvise() has set, if it could not be set again. Else that and what mbind()
 * has set is set again.
 *
 * A lock that is taken by flock() or F_OFD_SETLK after the exchange is one of
 * all processes that share the description. Record locks stay: a descriptor of
 * the library stays open until they are gone.
 *
 * Memory from daxpin_file_addr() is always taken, whatever daxpin_set_files()
 * names. DAXPIN_FOREIGN is returned for anonymous and private memory, character
 * devices (device DAX needs no lease), files that daxpin_set_files() does not
 * name, and deleted files of which this process has no descriptor.
 *
 * @param [in]  addr, length  Range of memory in this process.
 * @param [in]  params        NULL for the defaults.
 * @param [out] file_p        As in daxpin_file_open().
 * @param [out] offset_p      The offset of @a addr in the file.
 *
 * @return 0; DAXPIN_FOREIGN; -EROFS a mapping without PROT_WRITE; -EACCES one
 *         without PROT_READ, or a file that this user may not write; -EFAULT
 *         the range spans mappings of different files or leaves the file;
 *         -ENOENT a file that its name does not lead to, as in another mount
 *         namespace, without a descriptor in this process; -EBUSY an exchange
 *         would lose something of the program's; or as daxpin_file_open().
 */
int daxpin_file_adopt(void *addr, size_t length, const daxpin_params_t *params,
                      daxpin_file_t **file_p, uint64_t *offset_p);

/**
 * Report to the cache of daxpin_file_adopt() that a range was unmapped. There
 * is no cache until daxpin_cache_enable(1) is called: a program that enables it
 * has to report every unmapping, for example from UCX's memory events. Safe in
 * a memory event handler: takes a spinlock and allocates nothing.
 */
void daxpin_cache_forget(void *addr, size_t length);
void daxpin_cache_enable(int enable);

/**
 * Become a member of a file whose holder is another process of this user, or
 * this process itself.
 *
 * @param [in]  key     From daxpin_file_key() at the holder or any member.
 * @param [out] file_p  As in daxpin_file_open().
 *
 * @return 0; -ESTALE the file was revoked or closed since the key was made;
 *         -EPERM the holder belongs to another user; -ENOENT no holder on this
 *         node; -ETIMEDOUT; -EPROTO.
 */
int daxpin_file_attach(const daxpin_key_t *key, daxpin_file_t **file_p);

/** Take one more reference to the handle. */
void daxpin_file_ref(daxpin_file_t *file);

/**
 * End an adoption: the range need not show the file any more. With the last
 * range of the file, a revoke replaces the program's mappings no longer. One
 * call for every daxpin_file_adopt(), before daxpin_file_close().
 */
void daxpin_file_unadopt(daxpin_file_t *file, void *addr, size_t length);

/**
 * Drop a reference to the handle. With the last one, the lease, the socket and
 * the library's mapping and descriptors are closed; adopted memory stays mapped
 * to the file. A holder with members serves them until they have closed the
 * file too. When it exits or is killed before, one of them becomes the holder,
 * and they go on. NULL is allowed.
 */
void daxpin_file_close(daxpin_file_t *file);

/**
 * Shorten a file to @a length, to undo what opening it has added. The file must
 * have no member and no other reference in this process. Memory beyond
 * @a length must not be accessed any more.
 *
 * @return 0, also if the file is no longer than that; -EPERM not the holder;
 *         -EBUSY there is a member, another reference or a kernel pin; -EAGAIN
 *         another process truncates the file; -ESTALE revoked; other errors of
 *         ftruncate(2).
 */
int daxpin_file_shrink(daxpin_file_t *file, size_t length);

/**
 * Get the address where the library has mapped a range of the file.
 *
 * @return The address, or NULL if the file is shorter or the mapping failed. It
 *         is valid until daxpin_file_close(); after a revoke it is memory of
 *         no file.
 */
void *daxpin_file_addr(daxpin_file_t *file, uint64_t offset, size_t length);

size_t         daxpin_file_length(const daxpin_file_t *file);
const char    *daxpin_file_path(const daxpin_file_t *file);
int            daxpin_file_is_dax(const daxpin_file_t *file);
/** Return the NUMA node of the device that the file is on; -1: not known */
int            daxpin_file_numa_node(const daxpin_file_t *file);
int            daxpin_file_is_holder(const daxpin_file_t *file);
daxpin_state_t daxpin_file_state(const daxpin_file_t *file);
const char    *daxpin_state_name(daxpin_state_t state);

/**
 * Return the locks that keep the blocks of a file in place at this moment:
 * those of the holder, and those of this process itself. The lease is among
 * them only in DAXPIN_STATE_HELD.
 *
 * @return Flags of daxpin_lock_t, or 0.
 */
unsigned daxpin_file_locks(const daxpin_file_t *file);

/** Write the names of locks to @a buffer, such as "lease,hold", or "none".
 *  Return @a buffer. */
char *daxpin_locks_names(unsigned locks, char *buffer, size_t size);

/** Return what makes stores durable: "byte" (nothing has to be done), "cache
 *  line" (flushing them) or "page" (msync). */
const char    *daxpin_file_granularity(daxpin_file_t *file);
/** Write the key with which other processes attach. */
void           daxpin_file_key(const daxpin_file_t *file, daxpin_key_t *key);

/**
 * Write why a file was revoked: the file, and the process that truncated it, if
 * that is known. While the holder still finds out more of that process, this
 * waits for it, 0.1 s at most.
 *
 * @param [out] buffer  Always terminated; empty if the file is not revoked.
 */
void daxpin_file_cause(const daxpin_file_t *file, char *buffer, size_t size);

/**
 * Make stores to a range durable: by msync(), or on DAX as libpmem2 does it.
 *
 * @return 0; -EINVAL beyond the file; -ESTALE revoked before or meanwhile.
 */
int daxpin_file_persist(daxpin_file_t *file, uint64_t offset, size_t length);

/** Called once in the loop thread, after the memory was replaced and before the
 *  lease is given back. Must not block. May call all functions of this header
 *  except daxpin_file_open(), daxpin_file_adopt() and daxpin_file_attach(). */
typedef void (*daxpin_revoke_cb_t)(daxpin_file_t *file, void *arg);

/** Register a callback. Return 0; -ENOMEM; -ESTALE already revoked, and the
 *  callback is not called. */
int daxpin_file_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                          void *arg);

/** Remove a callback. After the return it does not run, and will not. */
void daxpin_file_cancel_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                                  void *arg);

/**
 * Give the lease back (holder only). Pins and accesses remain; new pins are
 * refused. A truncate does not wait for the lease any more. With a hold it
 * waits until all processes have closed the file.
 *
 * @return 0; -EPERM not the holder; -ESTALE neither held nor lent.
 */
int daxpin_lease_release(daxpin_file_t *file);

/** Whether pins of files on fsdax are kernel pins as well, so that RDMA devices
 *  can register the memory. */
typedef enum daxpin_pin_policy {
    DAXPIN_PIN_AUTO   = 0, /**< If the pin module is loaded and this user may
                                open /dev/daxpin */
    DAXPIN_PIN_MODULE = 1, /**< Always; daxpin_pin() fails without the pin
                                module */
    DAXPIN_PIN_OFF    = 2  /**< Never: RDMA devices refuse the memory */
} daxpin_pin_policy_t;

/** Set the policy of all later pins of this process. */
void daxpin_set_pin_policy(daxpin_pin_policy_t policy);

/**
 * Pin a range: declare that it is exposed to one-sided access. While the lease
 * is PENDING, wait for it, for at most DAXPIN_TIMEOUT_DEFAULT_MS.
 *
 * @param [in]  owner  What the pin is for; NULL: this process.
 * @param [out] pin_p  The pin; remove it with daxpin_unpin().
 *
 * @return 0; -EPERM no lease is held (the message names the file); -EINVAL
 *         beyond the file or empty; -ENOMEM. With DAXPIN_PIN_MODULE and a file
 *         on fsdax also errors of the pin module: -ENOENT not loaded, -EACCES
 *         this user may not open /dev/daxpin, -ENOMEM RLIMIT_MEMLOCK,
 *         -EOPNOTSUPP blocks shared with a copy of the file.
 */
int  daxpin_pin(daxpin_file_t *file, uint64_t offset, size_t length,
                const daxpin_owner_t *owner, daxpin_pin_t **pin_p);
void daxpin_unpin(daxpin_pin_t *pin);

/** Return a sentence about the last error of this thread: the file, what was
 *  tried, why it failed, what to do. Valid until the next call in this
 *  thread. */
const char *daxpin_errormsg(void);

typedef enum daxpin_log_level {
    DAXPIN_LOG_ERROR,
    DAXPIN_LOG_WARN,
    DAXPIN_LOG_INFO,
    DAXPIN_LOG_DEBUG
} daxpin_log_level_t;

/** Receives the messages of the library. Called from any thread. The default
 *  prints errors and warnings to stderr, or what the environment variable
 *  DAXPIN_LOG_LEVEL selects: error, warn, info or debug. */
typedef void (*daxpin_log_func_t)(daxpin_log_level_t level,
                                  const char *message);

/** Replace the default; NULL: go back to it. */
void daxpin_set_log(daxpin_log_func_t func);

/** Return the NUMA node where this process may run. If it may run on several,
 *  return the one where it runs now; -1: not known. */
int daxpin_cpu_numa_node(void);

/** Return the version of the library in use, "major.minor.patch". */
const char *daxpin_version(void);

#ifdef __cplusplus
}
#endif

#endif
