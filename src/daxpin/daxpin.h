/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_H_
#define DAXPIN_H_

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
 * One process a node and file is the holder: it has the one open file
 * description and the kernel lease on it. The others are peers: they got that
 * description from the holder's socket. A thread of the library watches the
 * lease. When somebody truncates the file, or opens it for writing, the thread
 * stops new accesses, waits for those under way, replaces the mappings by
 * anonymous memory in all processes, and only then lets the intruder go on.
 *
 * Functions return 0 or a negative errno value; daxpin_errormsg() then has a
 * sentence for the user. All functions may be called from any thread, except
 * from a signal handler. Lengths and offsets are in bytes.
 *
 * A handler of SIGBUS is installed with the first file, as the last resort
 * against a truncate that no lease can see; other faults go to the handler that
 * was there before. Who installs his own later should pass on what is not his.
 *
 * After fork() the child is not a member: its handles read as
 * DAXPIN_STATE_REVOKED, memory from daxpin_file_addr() is anonymous, as after a
 * revoke, and it may open files of its own. What was adopted is inherited, as
 * any mapping is; while the child has it, the lease outlives a dead parent.
 */

/** What the lease of a file is doing. Shared with peers; see control.h. */
typedef enum daxpin_state {
    DAXPIN_STATE_PENDING  = 0, /**< The lease is not there yet: no access */
    DAXPIN_STATE_HELD     = 1, /**< Under lease: the one state for pins */
    DAXPIN_STATE_LENT     = 2, /**< A reader is let in; taken again after him */
    DAXPIN_STATE_BREAKING = 3, /**< Being revoked: no access */
    DAXPIN_STATE_REVOKED  = 4, /**< Revoked: the memory is anonymous now */
    DAXPIN_STATE_RELEASED = 5  /**< The user let go; pins remain, no new ones */
} daxpin_state_t;

/** What to do when somebody wants to truncate or write the file. */
typedef enum daxpin_on_break {
    DAXPIN_ON_BREAK_REVOKE = 0, /**< End all accesses and let him in */
    DAXPIN_ON_BREAK_HOLD   = 1  /**< Let him wait until the file is closed, or,
                                     where nothing but the lease keeps him,
                                     until shortly before it would expire */
} daxpin_on_break_t;

/** Who is behind a pin, for the report. */
typedef enum daxpin_owner_type {
    DAXPIN_OWNER_PROCESS = 0, /**< The process's own memory */
    DAXPIN_OWNER_FILE    = 1  /**< An open file, such as /dev/infiniband/… */
} daxpin_owner_type_t;

typedef struct daxpin_owner {
    daxpin_owner_type_t type;
    int                 fd;  /**< For DAXPIN_OWNER_FILE */
} daxpin_owner_t;

/** What keeps the blocks of a file where they are. Flags, to be combined. */
typedef enum daxpin_lock {
    DAXPIN_LOCK_LEASE = 1 << 0, /**< The kernel's lease: who wants to truncate
                                     the file waits, and daxpin is told */
    DAXPIN_LOCK_HOLD  = 1 << 1, /**< A page in use by the kernel: the file
                                     system lets a truncate wait */
    DAXPIN_LOCK_GUARD = 1 << 2, /**< daxpin-guardd: a truncate of what this
                                     process has pinned fails */
    DAXPIN_LOCK_MODULE = 1 << 3 /**< Pins by the kernel module: the file system
                                     lets a truncate wait, though RDMA devices
                                     have the memory longer than the process */
} daxpin_lock_t;

/** Room for daxpin_locks_names() */
#define DAXPIN_LOCKS_NAMES_MAX 64

typedef struct daxpin_file daxpin_file_t;
typedef struct daxpin_pin  daxpin_pin_t;

/** Names one life of one file on this node; what a remote key carries. */
typedef struct daxpin_key {
    uint64_t dev;        /**< As of fstat() */
    uint64_t ino;        /**< As of fstat() */
    uint64_t generation; /**< Never 0; another one after every revoke */
    uint32_t uid;        /**< The holder's user */
    uint32_t pid;        /**< The holder, for messages */
} daxpin_key_t;

/** How to open or adopt. Zeroed: the defaults. */
typedef struct daxpin_params {
    unsigned          timeout_ms; /**< How long to wait for the lease while
                                       others still have the file open;
                                       0: DAXPIN_TIMEOUT_DEFAULT_MS */
    daxpin_on_break_t on_break;
    mode_t            mode;       /**< Of a new file; 0: 0600 */
} daxpin_params_t;

#define DAXPIN_TIMEOUT_DEFAULT_MS 10000

/** daxpin_file_adopt(): this memory is none of daxpin's business. */
#define DAXPIN_FOREIGN 1

/**
 * Open a file for one-sided access: find its holder on this node or become it.
 *
 * A new or short file grows to @a length; an existing one keeps its content.
 * Every block is allocated before the call returns, on DAX written too.
 *
 * @param [in]  path     Regular file; its directory must exist.
 * @param [in]  length   Least length wanted; 0: as long as the file is.
 * @param [in]  params   NULL for the defaults.
 * @param [out] file_p   To be given back with daxpin_file_close(). The same
 *                       file opened again in a process is the same handle
 *                       with one more reference.
 *
 * @return 0; -EAGAIN somebody has the file open (the message says who);
 *         -EACCES neither owner of the file nor CAP_LEASE; -ENOSPC; -EISDIR,
 *         -EINVAL not a regular file, or a file system without leases; others
 *         as of open(2), mmap(2). On error nothing is left behind that was
 *         not there before.
 */
int daxpin_file_open(const char *path, size_t length,
                     const daxpin_params_t *params, daxpin_file_t **file_p);

/**
 * Say which mappings daxpin_file_adopt() concerns itself with. Process-wide.
 *
 * @param [in] paths  "fsdax" for mappings of any file on an fsdax file system;
 *                    else a directory: the files below it, strictly treated
 *                    as fsdax files are. NULL-terminated; copied.
 *
 * @return 0, -ENOENT for a directory that is not there, -ENOMEM.
 */
int daxpin_set_files(const char *const *paths);

/**
 * Take an existing shared, writable mapping of a file under lease.
 *
 * Processes that each opened and mapped the same file find each other here:
 * one becomes the holder, the others exchange what they had (every mapping of
 * this file, every descriptor of it that has no O_APPEND) for the holder's
 * open file description, in place, and with it the file offset. The call
 * returns when the lease is held. No other thread may map or unmap this file
 * meanwhile.
 *
 * Memory from daxpin_file_addr() is taken as it is, whatever
 * daxpin_set_files() names. Anonymous and private memory, character devices
 * (device DAX needs no lease) and files that daxpin_set_files() does not name
 * are DAXPIN_FOREIGN. A read-only mapping (-EACCES), a range that spans
 * mappings of different files or leaves the file (-EFAULT) and a deleted file
 * without a descriptor in this process (-ENOENT) are errors.
 *
 * @param [in]  addr, length  Range of memory in this process.
 * @param [out] file_p        As in daxpin_file_open().
 * @param [out] offset_p      Where in the file @a addr lies.
 *
 * @return 0, DAXPIN_FOREIGN, or as daxpin_file_open().
 */
int daxpin_file_adopt(void *addr, size_t length, const daxpin_params_t *params,
                      daxpin_file_t **file_p, uint64_t *offset_p);

/**
 * Tell the answer cache of daxpin_file_adopt() that a range was unmapped.
 * Until daxpin_cache_enable(1) was called there is no cache: whoever enables
 * it promises to report every unmapping, such as UCX's memory events.
 * Safe in a memory event handler: takes a spinlock, allocates nothing.
 */
void daxpin_cache_forget(void *addr, size_t length);
void daxpin_cache_enable(int enable);

/**
 * Become a peer of a file that another process of this user, or this process
 * itself, holds.
 *
 * @param [in] key  From daxpin_file_key() at the holder or any of its peers.
 *
 * @return 0; -ESTALE this life of the file is over; -EPERM another user's;
 *         -ENOENT no holder on this node; -ETIMEDOUT; -EPROTO.
 */
int daxpin_file_attach(const daxpin_key_t *key, daxpin_file_t **file_p);

/** One more reference to the handle. */
void daxpin_file_ref(daxpin_file_t *file);

/**
 * An adopted range may be unmapped from now on, and is not replaced at a
 * revoke any more. One call for every daxpin_file_adopt(), before _close().
 */
void daxpin_file_unadopt(daxpin_file_t *file, void *addr, size_t length);

/**
 * Give a handle back. With the last one the lease, the socket, the library's
 * mapping and descriptors go; what was adopted stays mapped to the file. A
 * holder with peers goes on to serve them until they have closed too, or the
 * process ends, which is a revoke for them. NULL is nothing.
 */
void daxpin_file_close(daxpin_file_t *file);

/**
 * Take back what opening a file has added to its length. Nobody else may use
 * it: no peer, and nobody in this process by another reference. Of what is
 * mapped, nothing beyond @a length is to be accessed any more.
 *
 * @return 0, also where the file is no longer than that; -EPERM not the
 *         holder; -EBUSY it is used; -ESTALE revoked; as of ftruncate(2).
 */
int daxpin_file_shrink(daxpin_file_t *file, size_t length);

/**
 * Where the library has mapped bytes @a offset .. @a offset + @a length.
 *
 * @return The address, or NULL where the file is not that long or the mapping
 *         failed. Stays valid until daxpin_file_close(); after a revoke it is
 *         anonymous memory.
 */
void *daxpin_file_addr(daxpin_file_t *file, uint64_t offset, size_t length);

size_t         daxpin_file_length(const daxpin_file_t *file);
const char    *daxpin_file_path(const daxpin_file_t *file);
int            daxpin_file_is_dax(const daxpin_file_t *file);
/** The NUMA node of the device that the file is on; -1: cannot be told */
int            daxpin_file_numa_node(const daxpin_file_t *file);
int            daxpin_file_is_holder(const daxpin_file_t *file);
daxpin_state_t daxpin_file_state(const daxpin_file_t *file);
const char    *daxpin_state_name(daxpin_state_t state);

/**
 * Which locks keep the blocks of a file where they are at this moment: those
 * that the holder has, and those that this process has itself. While a reader
 * is let in, and from the beginning of a revoke on, the lease is none of them.
 *
 * @return Flags of daxpin_lock_t; 0: nothing does.
 */
unsigned daxpin_file_locks(const daxpin_file_t *file);

/** Write the names of locks to @a buffer, such as "lease,hold", or "none".
 *  Returns @a buffer. */
char *daxpin_locks_names(unsigned locks, char *buffer, size_t size);

/** What makes stores durable: "byte" (nothing has to be done), "cache line"
 *  (flushing them) or "page" (msync) */
const char    *daxpin_file_granularity(daxpin_file_t *file);
void           daxpin_file_key(const daxpin_file_t *file, daxpin_key_t *key);

/**
 * Why a file was revoked, naming the file and who did it where that is known.
 *
 * @param [out] buffer  Filled, always terminated; empty while not revoked.
 */
void daxpin_file_cause(const daxpin_file_t *file, char *buffer, size_t size);

/**
 * Make stores to a range durable (libpmem2's way for this file).
 *
 * @return 0, -EINVAL beyond the file, -ESTALE revoked before or meanwhile.
 */
int daxpin_file_persist(daxpin_file_t *file, uint64_t offset, size_t length);

/** Called once in the library's thread after the memory was replaced and
 *  before the intruder goes on. Must not block; may call any function of this
 *  header but daxpin_file_open(), _adopt(), _attach(). */
typedef void (*daxpin_revoke_cb_t)(daxpin_file_t *file, void *arg);

/** @return 0, -ENOMEM, -ESTALE if already revoked (it is not called then). */
int daxpin_file_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                          void *arg);

/** Remove a callback. When this returns, it is not running and will not. */
void daxpin_file_cancel_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                                  void *arg);

/**
 * Let the lease go by free will (holder only). Pins and accesses remain, new
 * pins are refused; nobody is protected from a truncate any more, but where
 * blocks are held: there it waits until all have closed the file.
 *
 * @return 0, -EPERM not the holder, -ESTALE not held.
 */
int daxpin_lease_release(daxpin_file_t *file);

/** Who pins blocks of files on fsdax, for RDMA devices to register them. */
typedef enum daxpin_pin_policy {
    DAXPIN_PIN_AUTO   = 0, /**< The kernel module daxpin, if it is loaded and
                                this user may open /dev/daxpin; else nobody */
    DAXPIN_PIN_MODULE = 1, /**< The module; daxpin_pin() fails without */
    DAXPIN_PIN_OFF    = 2  /**< Nobody: RDMA devices refuse the memory */
} daxpin_pin_policy_t;

/** Of the pins to come in this process. */
void daxpin_set_pin_policy(daxpin_pin_policy_t policy);

/**
 * Pin a range: declare that it is exposed to one-sided access. Waits, for at
 * most the default time of daxpin_file_open(), while the lease is PENDING.
 *
 * @return 0; -EPERM no lease is held (the message names the file); -EINVAL
 *         beyond the file or empty; -ENOMEM. With DAXPIN_PIN_MODULE and a file
 *         on fsdax also what keeps the kernel module from pinning it: -ENOENT
 *         not loaded, -EACCES /dev/daxpin is not for this user, -ENOMEM
 *         RLIMIT_MEMLOCK, -EOPNOTSUPP blocks shared with a copy of the file.
 */
int  daxpin_pin(daxpin_file_t *file, uint64_t offset, size_t length,
                const daxpin_owner_t *owner, daxpin_pin_t **pin_p);
void daxpin_unpin(daxpin_pin_t *pin);

/** @return A pin that overlaps the range, or NULL. O(log pins). */
daxpin_pin_t *daxpin_pin_find(daxpin_file_t *file, uint64_t offset,
                              size_t length);

/** Which part of the file a pin covers. */
void daxpin_pin_range(const daxpin_pin_t *pin, uint64_t *offset_p,
                      size_t *length_p);

/** Sentence about the last error of this thread: what file, what was tried,
 *  why it failed, what to do. Valid until the next call in this thread. */
const char *daxpin_errormsg(void);

typedef enum daxpin_log_level {
    DAXPIN_LOG_ERROR,
    DAXPIN_LOG_WARN,
    DAXPIN_LOG_INFO,
    DAXPIN_LOG_DEBUG
} daxpin_log_level_t;

/** Where messages go that no return value can carry. Default: warnings and
 *  errors to stderr, or as $DAXPIN_LOG_LEVEL (error, warn, info, debug)
 *  says. Called from any thread. NULL: the default. */
typedef void (*daxpin_log_func_t)(daxpin_log_level_t level,
                                  const char *message);

void daxpin_set_log(daxpin_log_func_t func);

/** The NUMA node near which this process may run or, if that is not one only,
 *  runs now. -1: cannot be told. */
int daxpin_cpu_numa_node(void);

/** "major.minor.patch" of the library in use. */
const char *daxpin_version(void);

#ifdef __cplusplus
}
#endif

#endif
