/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Random calls on the device of the pin module, by several processes that share
 * files, each of two threads that share all descriptors and mappings. At the
 * end no pin may be left.
 *
 * usage: kmod_fuzz DIRECTORY  (on fsdax, as root, with the module loaded)
 *
 *   DAXPIN_KMOD_CALLS  ioctl() and mmap() calls; default: 20000
 *   DAXPIN_KMOD_SEED   repeats a run, as far as several processes can
 */

#include "pinned.h"

#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define USER      1000
#define PROCESSES 4
#define SHARED    4  /* files of all processes */
#define OWN       16 /* files of each process, so that it gets a lease */
#define FILES     (SHARED + PROCESSES * OWN)
#define FILE_SIZE (20 * PAGE)
#define SLOTS     16
#define SECONDS   500
#define ALARM_NS  20000000 /* the longest wait */

/* Shared by the threads of a process; a thread that takes a slot owns it */
typedef struct slots {
    _Atomic int       fds[SLOTS];  /* files and devices, -1: none */
    _Atomic uintptr_t maps[SLOTS]; /* address and pages; 0: none */
} slots_t;

typedef struct fuzz {
    slots_t  *slots;
    unsigned number; /* of the process */
    uint64_t state;  /* of the random numbers */
    long     calls;  /* not counted yet */
    long     pins;   /* that were there for a moment */
    long     exports;
} fuzz_t;

typedef struct counts {
    _Atomic long calls;
    _Atomic long pins;
    _Atomic long exports; /* as a dma-buf */
    _Atomic long lives;
} counts_t;

static counts_t *counts;

static uint32_t dice(fuzz_t *fuzz, uint32_t sides)
{
    fuzz->state = fuzz->state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(fuzz->state >> 33) % sides;
}

/* Return a random number, an edge case, or a valid one. */
static uint64_t number(fuzz_t *fuzz)
{
    static const uint64_t edges[] = {0, 1, PAGE - 1, 1ull << 31, 1ull << 47,
                                     1ull << 63, UINT64_MAX, -PAGE};

    switch (dice(fuzz, 8)) {
    case 0:
        return ((uint64_t)dice(fuzz, UINT32_MAX) << 32) |
               dice(fuzz, UINT32_MAX);
    case 1:
        return edges[dice(fuzz, 8)];
    default:
        return dice(fuzz, 20) * PAGE;
    }
}

static void file_path(char *path, unsigned number)
{
    snprintf(path, PATH_MAX, "%s/fuzz/%u", directory, number);
}

/* Open a file in a slot, in place of another one. All slots are refilled,
 * because an open descriptor keeps other processes from a lease. */
static int fuzz_open(fuzz_t *fuzz, unsigned slot, int is_device)
{
    static const int modes[] = {O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
    int mode = modes[dice(fuzz, 5)] | O_NONBLOCK | O_CLOEXEC, fd;
    char path[PATH_MAX];

    fd = atomic_exchange(&fuzz->slots->fds[slot], -1);
    if (fd >= 0) {
        close(fd);
    }
    if (is_device) {
        fd = open(DAXPIN_DEVICE, mode);
    } else {
        file_path(path, dice(fuzz, 4) ?
                  SHARED + fuzz->number * OWN + dice(fuzz, OWN) :
                  dice(fuzz, SHARED));
        fd = open(path, mode);
    }
    fuzz->slots->fds[slot] = fd;
    return fd;
}

/* Return any descriptor, or an invalid one. */
static int any(fuzz_t *fuzz)
{
    return dice(fuzz, 32) ? fuzz->slots->fds[dice(fuzz, SLOTS)] :
                            (int)dice(fuzz, UINT32_MAX);
}

static void put_map(fuzz_t *fuzz, char *map, size_t pages)
{
    uintptr_t old;

    old = atomic_exchange(&fuzz->slots->maps[dice(fuzz, SLOTS)],
                          (uintptr_t)map | pages);
    if (old != 0) {
        munmap((void*)(old & -PAGE), old % PAGE * PAGE);
    }
}

/* Export a pin, on kernels that have no mapping, in the place of a slot. */
static void fuzz_export(fuzz_t *fuzz, int device)
{
    const struct daxpin_ioc_export args = {.grace_ms = dice(fuzz, 20)};
    int fd = ioctl(device, DAXPIN_IOC_EXPORT, &args);

    ++fuzz->calls;
    fuzz->exports += fd >= 0;
    if (fd >= 0) {
        fd = atomic_exchange(&fuzz->slots->fds[dice(fuzz, SLOTS)], fd);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Pin correctly: a file under lease, mapped, and the device, with or without
 * other descriptors open. */
static void fuzz_pin_well(fuzz_t *fuzz)
{
    size_t offset = dice(fuzz, 8), pages = 1 + dice(fuzz, 8);
    unsigned slot = dice(fuzz, SLOTS);
    int fd, device;
    char *map;

    fd = dice(fuzz, 4) ? fuzz_open(fuzz, slot, 0) : any(fuzz);
    device = dice(fuzz, 4) ? fuzz_open(fuzz, (slot + 1) % SLOTS, 1) : any(fuzz);
    map    = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  (off_t)(offset * PAGE));
    if (map == MAP_FAILED) {
        return;
    }
    fcntl(fd, F_SETLEASE, F_WRLCK);
    ++fuzz->calls;
    if (pin_at(device, fd, map, offset * PAGE, pages * PAGE) == 0) {
        ++fuzz->pins;
        munmap(map, pages * PAGE);
        map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                   device, 0);
        ++fuzz->calls;
        if (map == MAP_FAILED) {
            fuzz_export(fuzz, device);
            return;
        }
        map[dice(fuzz, (uint32_t)(pages * PAGE))] = 'f';
    }
    put_map(fuzz, map, pages);
}

static void fuzz_ioctl(fuzz_t *fuzz)
{
    static const unsigned long commands[] = {DAXPIN_IOC_PIN, DAXPIN_IOC_PIN,
                                             DAXPIN_IOC_GET_VERSION,
                                             DAXPIN_IOC_GET_WAYS,
                                             DAXPIN_IOC_EXPORT,
                                             DAXPIN_IOC_REVOKE,
                                             DAXPIN_IOC_REVOKE_IN,
                                             DAXPIN_IOC_WAIT, _IO(0xDA, 9)};
    struct daxpin_ioc_pin args = {.offset = number(fuzz),
                                  .length = number(fuzz),
                                  .fd     = any(fuzz)};

    args.flags = dice(fuzz, 16) ? 0 : dice(fuzz, UINT32_MAX);
    args.addr  = dice(fuzz, 2) ? number(fuzz) :
                 fuzz->slots->maps[dice(fuzz, SLOTS)] & -PAGE;
    ++fuzz->calls;
    ioctl(any(fuzz), commands[dice(fuzz, 9)],
          dice(fuzz, 16) ? (void*)&args : (void*)number(fuzz));
}

static void fuzz_mmap(fuzz_t *fuzz)
{
    size_t pages = 1 + dice(fuzz, 20);
    char *map;

    map = mmap(NULL, pages * PAGE, (int)dice(fuzz, 8),
               dice(fuzz, 4) ? MAP_SHARED : MAP_PRIVATE, any(fuzz),
               (off_t)(number(fuzz) & ~(PAGE - 1)));
    ++fuzz->calls;
    if (map != MAP_FAILED) {
        put_map(fuzz, map, pages);
    }
}

/* Change a part of a mapping or all of it; then restore it, or leave it. */
static void fuzz_map(fuzz_t *fuzz)
{
    static const int advice[] = {MADV_DONTNEED, MADV_WILLNEED, MADV_REMOVE,
                                 MADV_POPULATE_WRITE, MADV_DOFORK,
                                 MADV_COLD, MADV_PAGEOUT, MADV_FREE};
    uintptr_t taken = atomic_exchange(&fuzz->slots->maps[dice(fuzz, SLOTS)], 0);
    char *map       = (char*)(taken & -PAGE), *moved;
    size_t pages    = taken % PAGE, first, count;

    if (map == NULL) {
        return;
    }
    first = dice(fuzz, (uint32_t)pages);
    count = 1 + dice(fuzz, (uint32_t)(pages - first));
    switch (dice(fuzz, 7)) {
    case 0:
        munmap(map + first * PAGE, count * PAGE);
        if (first > 0) {
            put_map(fuzz, map, first);
        }
        if (first + count < pages) {
            put_map(fuzz, map + (first + count) * PAGE, pages - first - count);
        }
        return;
    case 1:
        mprotect(map + first * PAGE, count * PAGE, (int)dice(fuzz, 8));
        break;
    case 2:
        madvise(map + first * PAGE, count * PAGE, advice[dice(fuzz, 8)]);
        break;
    case 3:
        count = 1 + dice(fuzz, 20);
        moved = mremap(map, pages * PAGE, count * PAGE,
                       dice(fuzz, 2) ? MREMAP_MAYMOVE : 0);
        if (moved != MAP_FAILED) {
            map   = moved;
            pages = count;
        }
        break;
    case 4:
        msync(map, pages * PAGE, MS_SYNC);
        break;
    case 5:
        mlock(map, pages * PAGE);
        break;
    default:
        munmap(map, pages * PAGE);
        return;
    }
    put_map(fuzz, map, pages);
}

static void fuzz_file(fuzz_t *fuzz)
{
    struct pollfd pollfd = {.fd = any(fuzz), .events = POLLIN};
    char bytes[64], path[64];
    int fd = any(fuzz), info;

    switch (dice(fuzz, 8)) {
    case 0:
        fcntl(fd, F_SETLEASE, dice(fuzz, 2) ? F_WRLCK : F_UNLCK);
        break;
    case 1:
        if (ftruncate(fd, (off_t)(dice(fuzz, 20) * PAGE)) != 0) {
            break;
        }
        break;
    case 2:
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(dice(fuzz, 16) * PAGE), PAGE);
        break;
    case 3:
        poll(&pollfd, 1, 0);
        break;
    case 4:
        fcntl(fd, F_SETFL, O_NONBLOCK);
        if (read(fd, bytes, dice(fuzz, sizeof(bytes))) < 0) {
            break;
        }
        break;
    case 5:
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        info = open(path, O_RDONLY);
        while (read(info, bytes, sizeof(bytes)) > 0) {
        }
        close(info);
        break;
    case 6:
        dup2(fd, fuzz->slots->fds[dice(fuzz, SLOTS)]);
        break;
    default:
        fallocate(fd, 0, 0, FILE_SIZE);
        break;
    }
}

static void step(fuzz_t *fuzz)
{
    switch (dice(fuzz, 8)) {
    case 0:
        fuzz_open(fuzz, dice(fuzz, SLOTS), (int)dice(fuzz, 2));
        break;
    case 1:
    case 2:
        fuzz_pin_well(fuzz);
        break;
    case 3:
    case 4:
        fuzz_ioctl(fuzz);
        break;
    case 5:
        fuzz_mmap(fuzz);
        break;
    case 6:
        fuzz_map(fuzz);
        break;
    default:
        fuzz_file(fuzz);
        break;
    }
}

static void on_signal(int signo)
{
    (void)signo;
}

/* Send signals to this thread repeatedly: they interrupt any wait. */
static void set_alarm(void)
{
    const struct itimerspec often = {{0, ALARM_NS}, {0, ALARM_NS}};
    struct sigevent event         = {.sigev_notify = SIGEV_THREAD_ID,
                                     .sigev_signo  = SIGALRM};
    timer_t timer;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if ((timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) ||
        (timer_settime(timer, 0, &often, NULL) != 0)) {
        _exit(2);
    }
}

static void *live_thread(void *arg)
{
    fuzz_t *fuzz = arg;
    int i;

    set_alarm();
    for (i = 0; i < 4000; ++i) {
        step(fuzz);
        counts->calls += fuzz->calls;
        counts->pins += fuzz->pins;
        counts->exports += fuzz->exports;
        fuzz->calls = fuzz->pins = fuzz->exports = 0;
    }
    return NULL;
}

/* Run one process. It may die by a fault in memory that it has lost. */
static void live(unsigned number, uint64_t seed)
{
    struct sigaction action = {.sa_handler = on_signal};
    slots_t slots           = { 0 };
    fuzz_t fuzz[2];
    pthread_t thread;
    unsigned i;

    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGIO, &action, NULL);
    for (i = 0; i < 2; ++i) {
        fuzz[i] = (fuzz_t){.slots  = &slots,
                           .number = number,
                           .state  = seed + i * 7919};
    }
    for (i = 0; i < SLOTS; ++i) {
        slots.fds[i] = -1;
    }
    for (i = 0; i < SLOTS; ++i) {
        fuzz_open(&fuzz[0], i, (int)i % 2);
    }
    if (pthread_create(&thread, NULL, live_thread, &fuzz[1]) != 0) {
        _exit(2);
    }
    live_thread(&fuzz[0]);
    pthread_join(thread, NULL);
}

static int become_user(void)
{
    const struct rlimit limit = {1 << 20, 1 << 20}, none = {0, 0};

    return ((setrlimit(RLIMIT_MEMLOCK, &limit) == 0) &&
            (setrlimit(RLIMIT_CORE, &none) == 0) && (setgroups(0, NULL) == 0) &&
            (setgid(USER) == 0) && (setuid(USER) == 0)) ? 0 : -1;
}

/* Run until all calls are done or the time is over. */
static void process(unsigned number, uint64_t seed, long calls, time_t end)
{
    pid_t pid;

    if (become_user() != 0) {
        _exit(2);
    }
    while ((counts->calls < calls) && (time(NULL) < end)) {
        pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            live(number, seed);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
        ++counts->lives;
        seed = seed * 31 + 7;
    }
    _exit(0);
}

static long pages_out(void)
{
    char key[128];
    FILE *file = fopen("/proc/vmstat", "r");
    long value, sum = 0;

    number_in("/proc/sys/vm/stat_refresh"); /* what processors count apart */
    rewind(file);
    while (fscanf(file, "%127s %ld", key, &value) == 2) {
        if (strcmp(key, "nr_foll_pin_acquired") == 0) {
            sum += value;
        } else if (strcmp(key, "nr_foll_pin_released") == 0) {
            sum -= value;
        }
    }
    fclose(file);
    return sum;
}

/* Count the pages that stay pinned: direct I/O of any process pins some for a
 * moment. */
static long pages_kept(void)
{
    long count = pages_out(), kept = count;
    int i;

    for (i = 0; i < 20; ++i) {
        usleep(50 * 1000);
        count = pages_out();
        kept  = (count < kept) ? count : kept;
    }
    return kept;
}

/* Make all files; the user owns them. */
static int make_files(void)
{
    char path[PATH_MAX];
    int i, fd, ret = 0;

    snprintf(path, sizeof(path), "%s/fuzz", directory);
    if ((mkdir(path, 0700) != 0) || (chown(path, USER, USER) != 0)) {
        return fail(path);
    }
    for (i = 0; (i < FILES) && (ret == 0); ++i) {
        file_path(path, (unsigned)i);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if ((fallocate(fd, 0, 0, FILE_SIZE) != 0) ||
            (fchown(fd, USER, USER) != 0)) {
            ret = fail(path);
        }
        close(fd);
    }
    return ret;
}

static void run_processes(uint64_t seed, long calls)
{
    pid_t pids[PROCESSES];
    unsigned i;

    for (i = 0; i < PROCESSES; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            process(i, seed + i * 1000003, calls, time(NULL) + SECONDS);
        }
    }
    for (i = 0; i < PROCESSES; ++i) {
        waitpid(pids[i], NULL, 0);
    }
}

/* Return whether the module exports dma-bufs on this kernel. */
static int has_dmabuf(void)
{
    const int device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    uint32_t ways    = 0;
    const int ret    = ioctl(device, DAXPIN_IOC_GET_WAYS, &ways);

    close(device);
    return (ret == 0) && (ways & DAXPIN_IOC_DMABUF);
}

static void test_fuzz(void)
{
    const char *value = getenv("DAXPIN_KMOD_CALLS");
    const char *start = getenv("DAXPIN_KMOD_SEED");
    long calls        = (value != NULL) ? atol(value) : 20000, before, after;
    uint64_t seed     = (start != NULL) ? strtoull(start, NULL, 0) :
                        (uint64_t)time(NULL);

    TRY(make_files());
    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    before = pages_kept();
    run_processes(seed, calls);
    printf("# %ld calls, %ld pins, %ld exports, %ld lives, seed %lu\n",
           counts->calls, counts->pins, counts->exports, counts->lives, seed);
    CHECK(counts->calls >= calls, "no more than %ld of %ld calls in %d s",
          counts->calls, calls, SECONDS);
    CHECK(counts->pins > calls / 100, "no more than %ld pins", counts->pins);
    CHECK(!has_dmabuf() || (counts->exports > calls / 1000),
          "no more than %ld exports", counts->exports);
    CHECK(becomes(DEVICE_DIR "pins", 0) && becomes(DEVICE_DIR "lingering", 0) &&
          becomes(DEVICE_DIR "pages", 0), "pins are left");
    after = pages_kept();
    CHECK(after == before, "%ld pages are still pinned, %ld before", after,
          before);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: kmod_fuzz DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    chmod(directory, 0711);
    run("kmod: random calls of an ordinary user", test_fuzz);
    return failed;
}
