/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The daemon's programs in the kernel: load, attach, pin, and set ranges */

#include "programs.h"

#include "log.h"
#include "patience.h"

#include "guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

#define GUARD_HINT                                                \
    "the kernel has to have BTF and the BPF LSM: CONFIG_BPF_LSM " \
    "and \"bpf\" in /sys/kernel/security/lsm (boot with "         \
    "lsm=...,bpf), and no lockdown"

#define GUARD_MEMORY_HINT                                              \
    "Linux 7 cannot make any on a processor without cmpxchg16b (cx16 " \
    "in /proc/cpuinfo; a virtual machine may hide it)"

/* In the daemon's directory in a BPF file system: PID/inodes and PID/state are
 * maps, PID/link* are programs at their hooks */
#define GUARD_PIN_INODES "inodes"
#define GUARD_PIN_STATE  "state"
#define GUARD_FORMER_MAX 16
#define GUARD_NS_IN_MS   1000000ull

static struct guard  *guard_skeleton;
static guard_range_t *guard_ranges;
static uint64_t      *guard_waiting; /* connections, of GUARD_SLOTS */
static char          guard_pins[PATH_MAX]; /* empty: nothing is pinned */

/* A daemon that died */
typedef struct guard_former {
    char     path[PATH_MAX]; /* of its directory */
    int      inodes;
    uint64_t until;          /* ns; from then on its programs refuse nothing */
} guard_former_t;

static guard_former_t guard_former[GUARD_FORMER_MAX];
static unsigned       guard_formers;

/* Return CLOCK_MONOTONIC, which is also the clock of bpf_ktime_get_ns(). */
static uint64_t guard_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * GUARD_NS_IN_MS + (uint64_t)now.tv_nsec;
}

static int guard_print(enum libbpf_print_level level, const char *format,
                       va_list args)
{
    char message[1024];

    vsnprintf(message, sizeof(message), format, args);
    message[strcspn(message, "\n")] = '\0';
    guard_log((level == LIBBPF_WARN) ? LOG_WARNING : LOG_DEBUG, "%s", message);
    return 0;
}

/* Return the number of arguments of a kernel function; -errno if there is none
 * of this name. */
static int guard_hook_args(const char *name)
{
    struct btf *btf = btf__load_vmlinux_btf();
    const struct btf_type *type;
    int id, args;

    if (btf == NULL) {
        return -errno;
    }
    id = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
    if (id < 0) {
        args = id;
    } else {
        type = btf__type_by_id(btf, (__u32)id);
        args = btf_vlen(btf__type_by_id(btf, type->type));
    }
    btf__free(btf);
    return args;
}

/* Leave out programs whose hook this kernel lacks, or has in another form. */
static int guard_programs_choose(void)
{
    struct bpf_program *program = NULL;
    int args = guard_hook_args("bpf_lsm_inode_setattr");

    if (args < 0) {
        guard_log(LOG_ERR, "cannot find the hook inode_setattr: %s; "
                  GUARD_HINT, strerror(-args));
        return args;
    }
    bpf_program__set_autoload((args == 2) ?
                              guard_skeleton->progs.guard_inode_setattr_idmap :
                              guard_skeleton->progs.guard_inode_setattr, 0);
    if (guard_hook_args("vfs_dedupe_file_range_one") < 0) {
        while ((program = bpf_object__next_program(guard_skeleton->obj,
                                                   program)) != NULL) {
            if (strncmp(bpf_program__name(program), "guard_dedupe", 12) == 0) {
                bpf_program__set_autoload(program, 0);
            }
        }
    }
    return 0;
}

/* Return whether this is the first pid namespace, whose pids programs see. */
static int guard_is_initial(void)
{
    const ino_t initial_pid_namespace = 0xeffffffc; /* <linux/proc_ns.h> */
    struct stat st;

    return (stat("/proc/self/ns/pid", &st) == 0) &&
           (st.st_ino == initial_pid_namespace);
}

void guard_programs_beat(void)
{
    __atomic_store_n(&guard_skeleton->bss->guard_beat, guard_now(),
                     __ATOMIC_RELAXED);
}

/* Map a table, but not in children: a fork would copy each page's entry, of which the
 * ranges have 4096. Return NULL if that fails. */
static void *guard_map_table(const struct bpf_map *map, size_t size)
{
    void *table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                       bpf_map__fd(map), 0);

    if ((table == MAP_FAILED) || (madvise(table, size, MADV_DONTFORK) != 0)) {
        return NULL;
    }
    return table;
}

static int guard_programs_attach(void)
{
    int ret;

    guard_skeleton = guard__open();
    if (guard_skeleton == NULL) {
        guard_log(LOG_ERR, "cannot open the BPF programs: %s",
                  strerror(errno));
        return -errno;
    }
    ret = guard_programs_choose();
    if (ret != 0) {
        return ret;
    }
    ret = guard__load(guard_skeleton);
    if (ret == 0) {
        ret = guard__attach(guard_skeleton);
    }
    if (ret != 0) {
        guard_log(LOG_ERR, "cannot load the BPF programs: %s; run it as root, "
                  "or with CAP_BPF and CAP_PERFMON; " GUARD_HINT,
                  strerror(-ret));
        return ret;
    }
    guard_programs_beat();
    guard_ranges  = guard_map_table(guard_skeleton->maps.ranges,
                                    GUARD_RANGES_MAX * sizeof(*guard_ranges));
    guard_waiting = guard_map_table(guard_skeleton->maps.waiting,
                                    GUARD_SLOTS * sizeof(*guard_waiting));
    if ((guard_ranges == NULL) || (guard_waiting == NULL)) {
        guard_log(LOG_ERR, "cannot map tables of the programs: %s",
                  strerror(errno));
        return -errno;
    }
    return 0;
}

static int guard_is_refused(int ret)
{
    return (ret != 0) && (errno == ETXTBSY);
}

/* Attached programs are never called if "bpf" is not among the security
 * modules. So try them on a file of the daemon's own. */
static int guard_programs_try(int fd)
{
    const int punch       = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const guard_map_t map = {.start = 8192,
                             .end   = 12288,
                             .uid   = GUARD_LEARN,
                             .owner = GUARD_ANY_OWNER};
    int ret;

    if (ftruncate(fd, 16384) != 0) {
        return -errno;
    }
    ret = guard_programs_set(fd, &map);
    if (ret != 0) {
        return ret;
    }
    if (!guard_is_refused(ftruncate(fd, 10000)) ||
        !guard_is_refused(fallocate(fd, punch, 4096, 8192)) ||
        (ftruncate(fd, 12288) != 0) || (fallocate(fd, punch, 0, 8192) != 0)) {
        return -ENOTSUP;
    }
    return guard_programs_clear(fd);
}

int guard_programs_start(void)
{
    const char *what = "ignores programs", *hint = GUARD_HINT;
    int fd, ret;

    libbpf_set_print(guard_print);
    ret = guard_programs_attach();
    if (ret != 0) {
        return ret;
    }
    fd = memfd_create("daxpin-guardd", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if ((fd < 0) && (errno == EINVAL)) { /* Linux before 6.3 */
        fd = memfd_create("daxpin-guardd", MFD_CLOEXEC);
    }
    ret = (fd >= 0) ? guard_programs_try(fd) : -errno;
    close(fd);
    if ((ret == 0) && ((guard_skeleton->bss->guard_daemon == 0) ||
                       (guard_skeleton->bss->guard_places[0] == 0))) {
        ret = -ENOTSUP;
    }
    if (ret == -ENOMEM) {
        what = "makes no entry for a file";
        hint = GUARD_MEMORY_HINT;
    }
    if (ret != 0) {
        guard_log(LOG_ERR, "cannot guard: the kernel %s (%s); %s", what,
                  strerror(-ret), hint);
    }
    return ret;
}

/*
 * Pins, which outlive the daemon
 */

/* Remove a directory with its pins. */
static void guard_remove_pins(const char *directory)
{
    char path[PATH_MAX + 300];
    struct dirent *entry;
    DIR *dir = opendir(directory);

    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
            unlink(path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    rmdir(directory);
}

/* Open a map that a former daemon has pinned. Return -1 with EPROTO if that one was of
 * another release, and its map has other values than the daemon's own. */
static int guard_open_pin(const char *directory, const char *name,
                          const struct bpf_map *own)
{
    struct bpf_map_info info = {.value_size = 0};
    uint32_t length          = sizeof(info);
    char path[PATH_MAX + 16];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = bpf_obj_get(path);
    if ((fd >= 0) && (bpf_obj_get_info_by_fd(fd, &info, &length) == 0) &&
        (info.value_size != bpf_map__value_size(own))) {
        close(fd);
        fd    = -1;
        errno = EPROTO;
    }
    return fd;
}

/* Return when the daemon of a directory died, or when it was alive for the last
 * time if that is long ago: the program that notes its death may have been left
 * out. 0: it lives, or its state cannot be read; 1: it was of another release, and
 * nothing of it can be used. */
static uint64_t guard_died(const char *directory)
{
    struct guard__bss state = {.guard_died = 0};
    const uint32_t index    = 0;
    int fd = guard_open_pin(directory, GUARD_PIN_STATE,
                            guard_skeleton->maps.bss);

    if (fd >= 0) {
        (void)bpf_map_lookup_elem(fd, &index, &state);
        close(fd);
    } else if (errno == EPROTO) {
        return 1;
    }
    if ((state.guard_died == 0) &&
        (state.guard_beat + GUARD_GRACE_MS * GUARD_NS_IN_MS < guard_now())) {
        return state.guard_beat;
    }
    return state.guard_died;
}

static void guard_find_former(const char *directory)
{
    guard_former_t *former;
    struct dirent *entry;
    DIR *dir = opendir(directory);
    uint64_t died;

    while ((dir != NULL) && ((entry = readdir(dir)) != NULL) &&
           (guard_formers < GUARD_FORMER_MAX)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        former = &guard_former[guard_formers];
        snprintf(former->path, PATH_MAX, "%.*s/%.64s", PATH_MAX - 80,
                 directory, entry->d_name);
        died = guard_died(former->path);
        if (died == 0) {
            continue; /* A live daemon with another socket */
        }
        former->until  = died + GUARD_GRACE_MS * GUARD_NS_IN_MS;
        former->inodes = guard_open_pin(former->path, GUARD_PIN_INODES,
                                        guard_skeleton->maps.inodes);
        ++guard_formers;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    (void)guard_programs_forget();
}

static int guard_pin_all(void)
{
    char path[PATH_MAX + 64];
    struct bpf_link **links = (struct bpf_link**)&guard_skeleton->links;
    size_t i, count = sizeof(guard_skeleton->links) / sizeof(*links);
    int ret;

    snprintf(path, sizeof(path), "%s/" GUARD_PIN_INODES, guard_pins);
    ret = bpf_map__pin(guard_skeleton->maps.inodes, path);
    if (ret == 0) {
        snprintf(path, sizeof(path), "%s/" GUARD_PIN_STATE, guard_pins);
        ret = bpf_map__pin(guard_skeleton->maps.bss, path);
    }
    for (i = 0; (i < count) && (ret == 0); ++i) {
        if (links[i] != NULL) {
            snprintf(path, sizeof(path), "%s/link%zu", guard_pins, i);
            ret = bpf_link__pin(links[i], path);
        }
    }
    return ret;
}

static void guard_programs_unpin(void)
{
    if (guard_pins[0] != '\0') {
        guard_remove_pins(guard_pins);
        guard_pins[0] = '\0';
    }
}

int guard_programs_pin(const char *directory)
{
    int ret = 0;

    if (!guard_is_initial()) {
        ret = -EXDEV;
        goto err;
    }
    guard_find_former(directory);
    snprintf(guard_pins, sizeof(guard_pins), "%.*s/%d", PATH_MAX - 80,
             directory, (int)getpid());
    guard_remove_pins(guard_pins); /* Of a dead daemon with this pid */
    if (((mkdir(directory, 0700) != 0) && (errno != EEXIST)) ||
        (mkdir(guard_pins, 0700) != 0)) {
        ret = -errno;
        goto err;
    }
    ret = guard_pin_all();
    if (ret == 0) {
        return 0;
    }
err:
    guard_programs_unpin();
    guard_log(LOG_WARNING, "%s: cannot pin the programs, so nothing is guarded "
              "during a restart: %s; use a BPF file system (mount -t bpf bpf "
              "/sys/fs/bpf)", directory, strerror(-ret));
    return ret;
}

int guard_programs_are_pinned(void)
{
    return guard_pins[0] != '\0';
}

/* Programs are detached where their last reference goes, which takes seconds when the
 * processors are busy: the kernel waits until all tasks have left each function. A
 * process that has closed a descriptor of a program waits for that, also at its exit;
 * for a pin, a thread of the kernel does (on Linux 6.12 and 7.3; 6.1 makes the process
 * wait). So the pins come last. Until then the programs let everything pass. */
void guard_programs_end(void)
{
    struct bpf_link **links = (struct bpf_link**)&guard_skeleton->links;
    size_t i, count = sizeof(guard_skeleton->links) / sizeof(*links);

    __atomic_store_n(&guard_skeleton->bss->guard_ended, 1, __ATOMIC_SEQ_CST);
    if (guard_pins[0] == '\0') {
        return;
    }
    for (i = 0; i < count; ++i) {
        bpf_link__destroy(links[i]); /* Only the descriptor */
        links[i] = NULL;
    }
    guard_programs_unpin();
}

int guard_programs_knew(int fd, uid_t uid)
{
    guard_map_t map;
    unsigned i;

    for (i = 0; i < guard_formers; ++i) {
        if ((guard_now() < guard_former[i].until) &&
            (bpf_map_lookup_elem(guard_former[i].inodes, &fd, &map) == 0) &&
            (map.uid == uid)) {
            return 1;
        }
    }
    return 0;
}

int guard_programs_forget(void)
{
    uint64_t now = guard_now(), next = UINT64_MAX;
    unsigned i, kept = 0;

    for (i = 0; i < guard_formers; ++i) {
        if (guard_former[i].until <= now) {
            close(guard_former[i].inodes);
            guard_remove_pins(guard_former[i].path);
            continue;
        }
        next = (guard_former[i].until < next) ? guard_former[i].until : next;
        guard_former[kept++] = guard_former[i];
    }
    guard_formers = kept;
    return (kept > 0) ? (int)((next - now) / GUARD_NS_IN_MS) + 1 : -1;
}

/*
 * Guarded ranges
 */

/* Set what a map has for a descriptor. Return 0 or -errno. */
static int guard_update(struct bpf_map *map, int fd, const void *value)
{
    unsigned tries = 0;
    int ret;

    do {
        ret = (bpf_map_update_elem(bpf_map__fd(map), &fd, value, BPF_ANY) ==
               0) ? 0 : -errno;
    } while (guard_try_again(ret, &tries));
    return ret;
}

int guard_programs_owner(int fd, uid_t *owner_p)
{
    return (bpf_map_lookup_elem(bpf_map__fd(guard_skeleton->maps.owners), &fd,
                                owner_p) == 0) ? 0 : -errno;
}

int guard_programs_set(int fd, const guard_map_t *map)
{
    return guard_update(guard_skeleton->maps.inodes, fd, map);
}

int guard_programs_clear(int fd)
{
    unsigned tries = 0;
    int ret;

    do {
        ret = (bpf_map_delete_elem(bpf_map__fd(guard_skeleton->maps.inodes),
                                   &fd) == 0) ? 0 : -errno;
    } while (guard_try_again(ret, &tries));
    return ret;
}

guard_range_t *guard_programs_ranges(void)
{
    return guard_ranges;
}

int guard_programs_mark(int listen_fd)
{
    const uint32_t none = 0;

    return guard_update(guard_skeleton->maps.payers, listen_fd, &none);
}

uid_t guard_programs_payer(int sock, uid_t uid, int *waits_p)
{
    uint32_t payer;

    *waits_p = bpf_map_lookup_elem(bpf_map__fd(guard_skeleton->maps.payers),
                                   &sock, &payer) == 0;
    return *waits_p ? payer : uid;
}

void guard_programs_served(uid_t payer)
{
    __atomic_sub_fetch(&guard_waiting[payer % GUARD_SLOTS], 1,
                       __ATOMIC_RELAXED);
}

int guard_programs_settle(void)
{
    /* This waits for a grace period of RCU; programs run in RCU sections */
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0;
}
