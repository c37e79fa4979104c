/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The programs in the kernel: a call that takes blocks from a guarded range of
 * a file fails with ETXTBSY.
 *
 * - Truncates of all kinds (by path, by descriptor, O_TRUNC, io_uring, NFS
 *   server) meet inode_setattr, the one hook that knows the new size:
 *   path_truncate and file_truncate do not.
 * - fallocate() has no hook of its own, but calls file_permission. A program at
 *   its entry notes the range for the calling task, which may be a worker of
 *   io_uring. Cloning and deduplication are handled in the same way.
 *
 * The daemon pins these programs in the kernel, so that they outlive it for a
 * while. Another daemon may replace it meanwhile.
 *
 * Limit: with preempt=full, the kernel skips the program at the entry if
 * another task was preempted within the same program on the same processor.
 * Then the second fallocate() is not refused.
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

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80
#endif

/* The members used of the kernel's structures; libbpf finds their offsets */
#pragma clang attribute push(__attribute__((preserve_access_index)), \
                             apply_to = record)

struct inode;

struct task_struct {
    int pid;
    int tgid;
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

#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GRACE_NS (GUARD_GRACE_MS * 1000000ull)

/* The pid of the daemon, and when it died (ns; 0: it lives). The pid is 0 in
 * another pid namespace than the first one; then nothing is pinned. */
const volatile int guard_daemon = 0;
__u64              guard_died   = 0;

struct {
    __uint(type, BPF_MAP_TYPE_INODE_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, guard_map_t);
} inodes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, GUARD_RANGES_MAX);
    __type(key, __u32);
    __type(value, guard_range_t);
} ranges SEC(".maps");

/* The range of a file that a task is about to change */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CALLS_MAX);
    __type(key, __u64);
    __type(value, guard_range_t);
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

static int guard_check(const guard_map_t *map, __u64 start, __u64 end)
{
    if ((start >= map->end) || (end <= map->start)) {
        return 0;
    }
    if ((map->count > 0) && !guard_search(map, start, end)) {
        return 0;
    }
    if ((guard_died != 0) && (bpf_ktime_get_ns() - guard_died > GRACE_NS)) {
        return 0;
    }
    return -ETXTBSY;
}

static int guard_setattr(struct dentry *dentry, struct iattr *attr)
{
    guard_map_t *map;

    if (!(attr->ia_valid & ATTR_SIZE)) {
        return 0;
    }
    map = bpf_inode_storage_get(&inodes, dentry->d_inode, NULL, 0);
    if (map == NULL) {
        return 0;
    }
    return guard_check(map, (__u64)attr->ia_size, ALL_OF_IT);
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

SEC("lsm/file_permission")
int BPF_PROG(guard_file_permission, struct file *file, int mask, int ret)
{
    guard_range_t *call;
    guard_map_t *map;
    __u64 task;

    if ((ret != 0) || !(mask & MAY_WRITE)) {
        return ret;
    }
    /* Files that are not guarded end here */
    map = bpf_inode_storage_get(&inodes, file->f_inode, NULL, 0);
    if (map == NULL) {
        return 0;
    }
    task = bpf_get_current_pid_tgid();
    call = bpf_map_lookup_elem(&calls, &task);
    return (call != NULL) ? guard_check(map, call->start, call->end) : 0;
}

static void guard_begin(__u64 start, __u64 length)
{
    guard_range_t call = {.start = start, .end = start + length};
    __u64 task         = bpf_get_current_pid_tgid();

    if (call.end < start) {
        call.end = ALL_OF_IT; /* an overflow, which the kernel refuses */
    }
    bpf_map_update_elem(&calls, &task, &call, BPF_ANY);
}

static void guard_end(void)
{
    __u64 task = bpf_get_current_pid_tgid();

    bpf_map_delete_elem(&calls, &task);
}

SEC("fentry/vfs_fallocate")
int BPF_PROG(guard_fallocate_begin, struct file *file, int mode, __s64 offset,
             __s64 length)
{
    if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
        guard_begin((__u64)offset, ALL_OF_IT); /* the rest moves */
    } else if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |
                       FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_WRITE_ZEROES)) {
        guard_begin((__u64)offset, (__u64)length);
    }
    return 0;
}

SEC("fexit/vfs_fallocate")
int BPF_PROG(guard_fallocate_end, struct file *file, int mode)
{
    if (mode != 0) {
        guard_end();
    }
    return 0;
}

SEC("fentry/vfs_clone_file_range")
int BPF_PROG(guard_clone_begin, struct file *in, __s64 in_offset,
             struct file *out, __s64 out_offset, __s64 length)
{
    /* Length 0: up to the end of the file */
    guard_begin((__u64)out_offset, (length > 0) ? (__u64)length : ALL_OF_IT);
    return 0;
}

SEC("fexit/vfs_clone_file_range")
int BPF_PROG(guard_clone_end)
{
    guard_end();
    return 0;
}

SEC("fentry/vfs_dedupe_file_range_one")
int BPF_PROG(guard_dedupe_begin, struct file *in, __s64 in_offset,
             struct file *out, __s64 out_offset, __s64 length)
{
    guard_begin((__u64)out_offset, (__u64)length);
    return 0;
}

SEC("fexit/vfs_dedupe_file_range_one")
int BPF_PROG(guard_dedupe_end)
{
    guard_end();
    return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(guard_exit, struct task_struct *task)
{
    if ((task->pid == guard_daemon) && (task->tgid == guard_daemon)) {
        guard_died = bpf_ktime_get_ns();
    }
    return 0;
}
