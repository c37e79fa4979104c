/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The programs in the kernel: a call that takes blocks from a guarded range of
 * a file fails with ETXTBSY.
 *
 * - Truncates of all kinds (by path, by descriptor, O_TRUNC, io_uring, NFS
 *   server) meet inode_setattr, the one hook that knows the new size:
 *   path_truncate and file_truncate do not.
 * - fallocate() has no hook of its own, but calls file_permission. Programs at
 *   its entry note the range for the calling task, which may be a worker of
 *   io_uring. Cloning and deduplication are handled in the same way.
 *
 * Where the kernel may be preempted, it leaves out a program at an entry while
 * another task is within that program on the same processor. It leaves out no
 * program of a hook. So the hook knows by the stack whether it was called from
 * one of these functions: by the place of the call, which it has learnt from
 * calls that were noted, the first of them the daemon's. What was not noted is
 * refused, whatever its range. For that to be rare there are several programs at
 * each entry: one is enough, and a task can be within one at a time.
 *
 * The daemon pins these programs in the kernel, so that they outlive it for a
 * while. Another daemon may replace it meanwhile.
 */

#include "guard.bpf.h"

#include <linux/bpf.h>
#include <linux/falloc.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define ETXTBSY      26
#define ATTR_SIZE    (1 << 3)
#define MAY_WRITE    2
#define CALLS_MAX    32768
#define ALL_OF_IT    (~0ull)
#define EACCES       13
#define EAGAIN       11

#define S_IFMT             0170000
#define S_IFREG            0100000
#define FS_REQUIRES_DEV    1
#define TMPFS_MAGIC        0x01021994
#define HUGETLBFS_MAGIC    0x958458f6
#define FUSE_SUPER_MAGIC   0x65735546
#define NAMESPACES_NESTED  33

/* Frames of the stack to look at: fewer are between a hook and its caller */
#define FRAMES_MAX 16

/* The calls that are noted ask the hook so near to their beginning (bytes) */
#define FUNCTION_MAX 4096

/* Places that call file_permission on their way to take blocks away */
#define PLACES_MAX 8

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80
#endif

/* The members used of the kernel's structures; libbpf finds their offsets */
#pragma clang attribute push(__attribute__((preserve_access_index)), \
                             apply_to = record)

typedef struct {
    unsigned int val;
} kuid_t;

struct user_namespace {
    struct user_namespace *parent;
    int                   level;
    kuid_t                owner;
};

struct cred {
    kuid_t                euid;
    struct user_namespace *user_ns;
};

struct task_struct {
    int                pid;
    int                tgid;
    struct task_struct *real_parent;
    const struct cred  *cred;
};

struct file_system_type {
    int fs_flags;
};

struct super_block {
    struct file_system_type *s_type;
    unsigned long           s_magic;
};

struct inode {
    unsigned short     i_mode;
    kuid_t             i_uid;
    struct super_block *i_sb;
};

struct dentry {
    struct inode *d_inode;
};

struct file {
    struct inode *f_inode;
};

struct iattr {
    unsigned int ia_valid;
    long long    ia_size;
};

struct sock;

#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GRACE_NS (GUARD_GRACE_MS * 1000000ull)

#define SILENCE_NS (GUARD_SILENCE_MS * 1000000ull)

/* The pid of the daemon in the first pid namespace, which it learns here; when it
 * died (ns; 0: it lives), and when it said that it is alive */
int   guard_daemon = 0;
__u64 guard_died   = 0;
__u64 guard_beat   = 0;

/* Whether the daemon has ended in order: nothing is guarded any more */
int guard_ended = 0;

__u64 guard_places[PLACES_MAX] = {0};

/* A call that a task is in */
typedef struct guard_call {
    __u64 start;
    __u64 end;      /* start or less: it takes nothing away */
    __u64 file;
    __u64 function; /* where it begins */
} guard_call_t;

struct {
    __uint(type, BPF_MAP_TYPE_INODE_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, guard_map_t);
} inodes SEC(".maps");

/* The owners of files that the daemon has got, as they were then. Only the kernel's
 * own number counts: a mount may show others (idmapped). */
struct {
    __uint(type, BPF_MAP_TYPE_INODE_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u32);
} owners SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, GUARD_RANGES_MAX);
    __type(key, __u32);
    __type(value, guard_range_t);
} ranges SEC(".maps");

/* The user who a connection of the daemon's counts for. The daemon's own socket
 * has one as well, so that it is known by it. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u32);
} payers SEC(".maps");

/* Connections of the users of a slot that wait: the program counts up, the daemon
 * down */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, GUARD_SLOTS);
    __type(key, __u32);
    __type(value, __u64); /* the kernel has 8 bytes for each in any case */
} waiting SEC(".maps");

/* The range of a file that a task is about to change */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CALLS_MAX);
    __type(key, __u64);
    __type(value, guard_call_t);
} calls SEC(".maps");

/* Return whether a range overlaps. Only the first range that ends after start
 * can. */
static int guard_search(const guard_map_t *map, __u64 start, __u64 end)
{
    __u32 low = 0, high = map->count, middle, index, step;
    guard_range_t *range;

    for (step = 0; (step <= GUARD_SEARCH_STEPS) && (low < high); ++step) {
        middle = low + (high - low) / 2;
        index  = map->first + middle;
        range  = bpf_map_lookup_elem(&ranges, &index);
        if (range == NULL) {
            return 1;
        }
        if (range->end <= start) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low >= map->count) {
        return 0;
    }
    index = map->first + low;
    range = bpf_map_lookup_elem(&ranges, &index);
    return (range == NULL) || (range->start < end);
}

/* Return whether the daemon lives and says so, or has died a short while ago. */
static int guard_is_on(void)
{
    const __u64 now = bpf_ktime_get_ns();

    if (guard_ended) {
        return 0;
    }
    return (guard_died != 0) ? (now - guard_died <= GRACE_NS) :
                               (now <= guard_beat + SILENCE_NS);
}

static int guard_check(struct inode *inode, const guard_map_t *map, __u64 start,
                       __u64 end)
{
    if ((start >= map->end) || (end <= map->start)) {
        return 0;
    }
    if ((map->count > 0) && !guard_search(map, start, end)) {
        return 0;
    }
    if (!guard_is_on() ||
        ((map->owner != GUARD_ANY_OWNER) && (map->owner != inode->i_uid.val))) {
        return 0;
    }
    return -ETXTBSY;
}

static int guard_setattr(struct dentry *dentry, struct iattr *attr)
{
    struct inode *inode = dentry->d_inode;
    guard_map_t *map;

    if (!(attr->ia_valid & ATTR_SIZE) || (inode == NULL)) {
        return 0;
    }
    map = bpf_inode_storage_get(&inodes, inode, NULL, 0);
    if (map == NULL) {
        return 0;
    }
    if ((map->uid == GUARD_LEARN) && (guard_daemon == 0)) {
        guard_daemon = (int)(bpf_get_current_pid_tgid() >> 32);
    }
    return guard_check(inode, map, (__u64)attr->ia_size, ALL_OF_IT);
}

/* Linux 6.1 and 6.2 */
SEC("lsm/inode_setattr")
int BPF_PROG(guard_inode_setattr, struct dentry *dentry, struct iattr *attr,
             int ret)
{
    return (ret != 0) ? ret : guard_setattr(dentry, attr);
}

/* Linux 6.3 and later: the hook has one more argument */
SEC("lsm/inode_setattr")
int BPF_PROG(guard_inode_setattr_idmap, void *idmap, struct dentry *dentry,
             struct iattr *attr, int ret)
{
    return (ret != 0) ? ret : guard_setattr(dentry, attr);
}

/*
 * The stack. Functions that are not static are verified by themselves, once, and
 * not again for each way to a call of them: what compilers made of loops that are
 * one had too many ways, and was refused.
 */

/* Of two addresses return the one that is nearer behind the function's beginning,
 * for what is before it is in other functions. */
__attribute__((noinline)) __u64 guard_nearer(__u64 frame, __u64 function,
                                             __u64 place)
{
    return ((frame > function) && (frame < place)) ? frame : place;
}

/* Learn a place, unless it is known or there is no room. */
__attribute__((noinline)) int guard_learn_place(__u64 place)
{
    int i;

    for (i = 0; i < PLACES_MAX; ++i) {
        if (guard_places[i] == place) {
            return 0;
        }
        if (guard_places[i] == 0) {
            guard_places[i] = place;
            return 0;
        }
    }
    return 0;
}

/* Return whether a place was learnt. */
__attribute__((noinline)) int guard_is_learnt(__u64 place)
{
    int i;

    for (i = 0; i < PLACES_MAX; ++i) {
        if ((place != 0) && (guard_places[i] == place)) {
            return 1;
        }
    }
    return 0;
}

/* Learn the place where a function calls the hook: of the addresses on the stack
 * it is the first one after the function's beginning, for what follows in memory
 * is in other functions. Return 0 if the stack does not show the function: the call
 * that was noted has ended, and the program at its end was left out. */
static __attribute__((noinline)) int guard_learn(void *ctx, __u64 function)
{
    const __u64 end          = function + FUNCTION_MAX;
    __u64 frames[FRAMES_MAX] = {0};
    __u64 place              = end;
    int i;

    if ((function == 0) ||
        (bpf_get_stack(ctx, frames, sizeof(frames), 0) < 0)) {
        return 0;
    }
    for (i = 0; i < FRAMES_MAX; ++i) {
        place = guard_nearer(frames[i], function, place);
    }
    if (place == end) {
        return 0;
    }
    guard_learn_place(place);
    return 1;
}

/* Return whether the stack shows a place that was learnt; or cannot be seen. */
static __attribute__((noinline)) int guard_is_place(void *ctx)
{
    __u64 frames[FRAMES_MAX] = {0};
    int i;

    if (bpf_get_stack(ctx, frames, sizeof(frames), 0) < 0) {
        return 1;
    }
    for (i = 0; i < FRAMES_MAX; ++i) {
        if (guard_is_learnt(frames[i])) {
            return 1;
        }
    }
    return 0;
}

SEC("lsm/file_permission")
int BPF_PROG(guard_file_permission, struct file *file, int mask, int ret)
{
    struct inode *inode = file->f_inode;
    guard_call_t call = {.file = 0};
    guard_call_t *noted;
    guard_map_t *map;
    __u64 task;

    if ((ret != 0) || !(mask & MAY_WRITE) || (inode == NULL)) {
        return ret;
    }
    /* Files that are not guarded end here */
    map = bpf_inode_storage_get(&inodes, inode, NULL, 0);
    if (map == NULL) {
        return 0;
    }
    task  = bpf_get_current_pid_tgid();
    noted = bpf_map_lookup_elem(&calls, &task);
    if ((noted != NULL) && (noted->file == (__u64)file)) {
        call = *noted;
        bpf_map_delete_elem(&calls, &task); /* It is for one call */
    }
    if ((call.file == 0) || !guard_learn(ctx, call.function)) {
        return guard_is_place(ctx) ?
                       guard_check(inode, map, 0, ALL_OF_IT) :
                       0;
    }
    return (call.start < call.end) ?
                   guard_check(inode, map, call.start, call.end) :
                   0;
}

static void guard_begin(void *ctx, struct file *file, __u64 start, __u64 length)
{
    guard_call_t call = {.start    = start,
                         .end      = start + length,
                         .file     = (__u64)file,
                         .function = bpf_get_func_ip(ctx)};
    __u64 task        = bpf_get_current_pid_tgid();

    if (call.end < start) {
        call.end = ALL_OF_IT; /* an overflow, which the kernel refuses */
    }
    /* Without room it is not noted, and so refused */
    bpf_map_update_elem(&calls, &task, &call, BPF_ANY);
}

static void guard_end(void)
{
    __u64 task = bpf_get_current_pid_tgid();

    bpf_map_delete_elem(&calls, &task);
}

static void guard_begin_fallocate(void *ctx, struct file *file, int mode,
                                  __u64 offset, __u64 length)
{
    if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
        guard_begin(ctx, file, offset, ALL_OF_IT); /* the rest moves */
    } else if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |
                       FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_WRITE_ZEROES)) {
        guard_begin(ctx, file, offset, length);
    } else {
        guard_begin(ctx, file, offset, 0);
    }
}

/* A program at the entry of each function; three of them, see above */
#define GUARD_ENTRIES(_n) \
    SEC("fentry/vfs_fallocate") \
    int BPF_PROG(guard_fallocate_begin##_n, struct file *file, int mode, \
                 __s64 offset, __s64 length) \
    { \
        guard_begin_fallocate(ctx, file, mode, (__u64)offset, (__u64)length); \
        return 0; \
    } \
    \
    /* Length 0: up to the end of the file */ \
    SEC("fentry/vfs_clone_file_range") \
    int BPF_PROG(guard_clone_begin##_n, struct file *in, __s64 in_offset, \
                 struct file *out, __s64 out_offset, __s64 length) \
    { \
        guard_begin(ctx, out, (__u64)out_offset, \
                    (length > 0) ? (__u64)length : ALL_OF_IT); \
        return 0; \
    } \
    \
    SEC("fentry/vfs_dedupe_file_range_one") \
    int BPF_PROG(guard_dedupe_begin##_n, struct file *in, __s64 in_offset, \
                 struct file *out, __s64 out_offset, __s64 length) \
    { \
        guard_begin(ctx, out, (__u64)out_offset, (__u64)length); \
        return 0; \
    }

GUARD_ENTRIES(1)
GUARD_ENTRIES(2)
GUARD_ENTRIES(3)

SEC("fexit/vfs_fallocate")
int BPF_PROG(guard_fallocate_end)
{
    guard_end();
    return 0;
}

SEC("fexit/vfs_clone_file_range")
int BPF_PROG(guard_clone_end)
{
    guard_end();
    return 0;
}

SEC("fexit/vfs_dedupe_file_range_one")
int BPF_PROG(guard_dedupe_end)
{
    guard_end();
    return 0;
}

/* The first death counts: a later process may have the daemon's pid */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(guard_exit, struct task_struct *task)
{
    if ((guard_died == 0) && (guard_daemon != 0) &&
        (task->pid == guard_daemon) && (task->tgid == guard_daemon)) {
        guard_died = bpf_ktime_get_ns();
    }
    return 0;
}

/* Keep from the daemon and its children each descriptor of another process whose
 * use or end might wait for that process, see stranger.h. What is left is a
 * regular file of a file system on a block device, or in memory. A daemon that
 * has been silent for long has died, even if its death was not noted: another
 * process may have its pid. */
SEC("lsm/file_receive")
int BPF_PROG(guard_file_receive, struct file *file, int ret)
{
    struct task_struct *task   = bpf_get_current_task_btf();
    struct task_struct *parent = task->real_parent;
    struct inode *inode        = file->f_inode;
    struct file_system_type *type;
    struct super_block *super;
    __u32 *owner;

    if ((ret != 0) || (guard_died != 0) || (guard_daemon == 0) ||
        ((task->tgid != guard_daemon) &&
         ((parent == NULL) || (parent->tgid != guard_daemon))) ||
        (bpf_ktime_get_ns() > guard_beat + GRACE_NS)) {
        return ret;
    }
    super = (inode != NULL) ? inode->i_sb : NULL;
    type  = (super != NULL) ? super->s_type : NULL;
    if ((type == NULL) || ((inode->i_mode & S_IFMT) != S_IFREG) ||
        (super->s_magic == FUSE_SUPER_MAGIC)) {
        return -EACCES;
    }
    if (!(type->fs_flags & FS_REQUIRES_DEV) &&
        (super->s_magic != TMPFS_MAGIC) &&
        (super->s_magic != HUGETLBFS_MAGIC)) {
        return -EACCES;
    }
    owner = bpf_inode_storage_get(&owners, inode, NULL,
                                  BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (owner != NULL) { /* else the daemon has the client try again */
        *owner = inode->i_uid.val;
    }
    return 0;
}

/* Return the user who has made the user namespace that this task is in, or one
 * above it: who is behind all its user IDs. Without one, or if it was root, the
 * user ID counts. */
static __u32 guard_payer(void)
{
    const struct cred *cred = bpf_get_current_task_btf()->cred;
    struct user_namespace *ns;
    __u32 payer;
    int i;

    if (cred == NULL) {
        return 0;
    }
    payer = cred->euid.val;
    ns    = cred->user_ns;
    for (i = 0; i < NAMESPACES_NESTED; ++i) {
        if ((ns == NULL) || (ns->level == 0)) {
            break;
        }
        if (ns->level == 1) {
            payer = (ns->owner.val != 0) ? ns->owner.val : payer;
            break;
        }
        ns = ns->parent;
    }
    return payer;
}

/* Note who connects to the daemon. A user who has many connections that wait gets no
 * more, so that there is room in the queue for other users. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(guard_connect, struct sock *sock, struct sock *other,
             struct sock *newsk, int ret)
{
    __u32 user, slot, *payer;
    __u64 *count;

    if ((ret != 0) || (bpf_sk_storage_get(&payers, other, NULL, 0) == NULL)) {
        return ret;
    }
    user  = guard_payer();
    slot  = user % GUARD_SLOTS;
    count = bpf_map_lookup_elem(&waiting, &slot);
    if ((count == NULL) || (*count >= GUARD_WAITING_MAX)) {
        return -EAGAIN;
    }
    payer = bpf_sk_storage_get(&payers, newsk, NULL,
                               BPF_SK_STORAGE_GET_F_CREATE);
    if (payer == NULL) {
        return -EAGAIN;
    }
    *payer = user;
    __sync_fetch_and_add(count, 1);
    return 0;
}
