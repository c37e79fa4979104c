/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Everything that a user may do to the device of the pin module, at random, in
 * several processes that share files and descriptors. Nothing may be left.
 *
 * usage: kmod_fuzz DIRECTORY  (on fsdax, as root, with the module loaded)
 *
 *   DAXPIN_KMOD_CALLS  ioctl() and mmap() calls; default: 50000
 *   DAXPIN_KMOD_SEED   to have the same again, as far as several can
 */

#include "pinned.h"

#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>

#define USER      1000
#define PROCESSES 4
#define FILES     4
#define SLOTS     16
#define SECONDS   500

typedef struct fuzz {
    int      fds[SLOTS];   /* files and devices, -1: none */
    char     *maps[SLOTS]; /* NULL: none */
    size_t   lengths[SLOTS];
    uint64_t state;        /* of the random numbers */
    long     calls;
    long     pins;         /* that were there for a moment */
} fuzz_t;

typedef struct counts {
    _Atomic long calls;
    _Atomic long pins;
} counts_t;

static counts_t *counts;


static uint32_t dice(fuzz_t *fuzz, uint32_t sides)
{
    fuzz->state = fuzz->state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(fuzz->state >> 33) % sides;
}


/* A number as it comes, one of those at the edge, or a sensible one */
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


static void fuzz_open(fuzz_t *fuzz)
{
    static const int modes[] = {O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
    int mode = modes[dice(fuzz, 5)] | O_NONBLOCK, *fd;
    char path[PATH_MAX];

    fd = &fuzz->fds[dice(fuzz, SLOTS)];
    if (*fd >= 0) {
        close(*fd);
    }
    if (dice(fuzz, 2)) {
        *fd = open(DAXPIN_DEVICE, mode);
    } else {
        snprintf(path, sizeof(path), "%s/fuzz/%u", directory,
                 dice(fuzz, FILES));
        *fd = open(path, mode);
    }
}


/* Any descriptor, or no descriptor at all */
static int any(fuzz_t *fuzz)
{
    return dice(fuzz, 32) ? fuzz->fds[dice(fuzz, SLOTS)] :
                            (int)dice(fuzz, UINT32_MAX);
}


/* As it should be, all in all: a file under lease, mapped, and a device */
static void fuzz_pin_well(fuzz_t *fuzz)
{
    unsigned slot = dice(fuzz, SLOTS);
    uint64_t offset, length;
    int device, fd;
    char *map;

    fd     = any(fuzz);
    device = any(fuzz);
    offset = dice(fuzz, 8) * PAGE;
    length = (1 + dice(fuzz, 8)) * PAGE;
    map    = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  (off_t)offset);
    if (map == MAP_FAILED) {
        return;
    }
    fcntl(fd, F_SETLEASE, F_WRLCK);
    ++fuzz->calls;
    if (pin_at(device, fd, map, offset, length) == 0) {
        ++fuzz->pins;
        munmap(map, length);
        map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, device,
                   0);
        ++fuzz->calls;
        if (map == MAP_FAILED) {
            return;
        }
        map[dice(fuzz, (uint32_t)length)] = 'f';
    }
    if (fuzz->maps[slot] != NULL) {
        munmap(fuzz->maps[slot], fuzz->lengths[slot]);
    }
    fuzz->maps[slot]    = map;
    fuzz->lengths[slot] = length;
}


static void fuzz_ioctl(fuzz_t *fuzz)
{
    static const unsigned long commands[] = {DAXPIN_IOC_PIN, DAXPIN_IOC_PIN,
                                             DAXPIN_IOC_GET_VERSION,
                                             _IO(0xDA, 9)};
    struct daxpin_ioc_pin args = {.offset = number(fuzz),
                                  .length = number(fuzz),
                                  .fd     = any(fuzz)};

    args.flags = dice(fuzz, 16) ? 0 : dice(fuzz, UINT32_MAX);
    args.addr  = dice(fuzz, 2) ? number(fuzz) :
                 (uintptr_t)fuzz->maps[dice(fuzz, SLOTS)];
    ++fuzz->calls;
    ioctl(any(fuzz), commands[dice(fuzz, 4)],
          dice(fuzz, 16) ? (void*)&args : (void*)number(fuzz));
}


static void fuzz_mmap(fuzz_t *fuzz)
{
    unsigned slot = dice(fuzz, SLOTS);
    size_t length = (1 + dice(fuzz, 20)) * PAGE;
    char *map;

    map = mmap(NULL, length, (int)dice(fuzz, 8),
               dice(fuzz, 4) ? MAP_SHARED : MAP_PRIVATE, any(fuzz),
               (off_t)(number(fuzz) & ~(PAGE - 1)));
    ++fuzz->calls;
    if (map != MAP_FAILED) {
        if (fuzz->maps[slot] != NULL) {
            munmap(fuzz->maps[slot], fuzz->lengths[slot]);
        }
        fuzz->maps[slot]    = map;
        fuzz->lengths[slot] = length;
    }
}


static void fuzz_map(fuzz_t *fuzz)
{
    static const int advice[] = {MADV_DONTNEED, MADV_WILLNEED, MADV_REMOVE,
                                 MADV_POPULATE_WRITE, MADV_DOFORK,
                                 MADV_COLD, MADV_PAGEOUT, MADV_FREE};
    unsigned slot = dice(fuzz, SLOTS);
    char *map     = fuzz->maps[slot];
    size_t pages  = fuzz->lengths[slot] / PAGE, first, count;

    if (map == NULL) {
        return;
    }
    first = dice(fuzz, (uint32_t)pages);
    count = 1 + dice(fuzz, (uint32_t)(pages - first));
    switch (dice(fuzz, 7)) {
    case 0:
        munmap(map + first * PAGE, count * PAGE);
        break;
    case 1:
        mprotect(map + first * PAGE, count * PAGE, (int)dice(fuzz, 8));
        break;
    case 2:
        madvise(map + first * PAGE, count * PAGE, advice[dice(fuzz, 8)]);
        break;
    case 3:
        map = mremap(map, pages * PAGE, (1 + dice(fuzz, 20)) * PAGE, 0);
        break;
    case 4:
        msync(map, pages * PAGE, MS_SYNC);
        break;
    case 5:
        mlock(map, pages * PAGE);
        break;
    default:
        munmap(map, pages * PAGE);
        fuzz->maps[slot] = NULL;
        break;
    }
}


/* Nobody waits for long: an alarm interrupts him */
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
        dup2(fd, fuzz->fds[dice(fuzz, SLOTS)]);
        break;
    default:
        fallocate(fd, 0, 0, 20 * PAGE);
        break;
    }
}


static void step(fuzz_t *fuzz)
{
    switch (dice(fuzz, 8)) {
    case 0:
        fuzz_open(fuzz);
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


/* One life; it may end by a fault in memory that it lost */
static void live(uint64_t seed, long calls)
{
    const struct itimerval often = {{0, 20000}, {0, 20000}};
    struct sigaction action      = {.sa_handler = on_signal};
    fuzz_t fuzz                  = {.state = seed};
    int i;

    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGIO, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (i = 0; i < SLOTS; ++i) {
        fuzz.fds[i] = -1;
    }
    for (i = 0; i < SLOTS; ++i) {
        fuzz_open(&fuzz);
    }
    while (fuzz.calls < calls) {
        step(&fuzz);
        if (fuzz.calls % 64 == 0) {
            counts->calls += fuzz.calls;
            counts->pins += fuzz.pins;
            calls -= fuzz.calls;
            fuzz.calls = fuzz.pins = 0;
        }
    }
}


static int become_user(void)
{
    const struct rlimit limit = {1 << 20, 1 << 20}, none = {0, 0};

    return ((setrlimit(RLIMIT_MEMLOCK, &limit) == 0) &&
            (setrlimit(RLIMIT_CORE, &none) == 0) && (setgroups(0, NULL) == 0) &&
            (setgid(USER) == 0) && (setuid(USER) == 0)) ? 0 : -1;
}


/* Lives until all calls are done or the time is over */
static void process(uint64_t seed, long calls, time_t end)
{
    pid_t pid;

    if (become_user() != 0) {
        _exit(2);
    }
    while ((counts->calls < calls) && (time(NULL) < end)) {
        pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            live(seed, 2000);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
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


static void test_fuzz(void)
{
    const char *value = getenv("DAXPIN_KMOD_CALLS");
    const char *start = getenv("DAXPIN_KMOD_SEED");
    long calls        = (value != NULL) ? atol(value) : 50000, before;
    uint64_t seed     = (start != NULL) ? strtoull(start, NULL, 0) :
                        (uint64_t)time(NULL);
    char path[PATH_MAX + 16];
    pid_t pids[PROCESSES];
    int i, fd;

    snprintf(path, sizeof(path), "%s/fuzz", directory);
    CHECK((mkdir(path, 0700) == 0) && (chown(path, USER, USER) == 0), "%m");
    for (i = 0; i < FILES; ++i) {
        snprintf(path, sizeof(path), "%s/fuzz/%d", directory, i);
        fd = open(path, O_RDWR | O_CREAT, 0600);
        CHECK((fallocate(fd, 0, 0, 20 * PAGE) == 0) &&
              (fchown(fd, USER, USER) == 0), "%m");
        close(fd);
    }
    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    before = pages_out();
    for (i = 0; i < PROCESSES; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            process(seed + (uint64_t)i * 1000003, calls, time(NULL) + SECONDS);
        }
    }
    for (i = 0; i < PROCESSES; ++i) {
        waitpid(pids[i], NULL, 0);
    }
    printf("# %ld calls, %ld pins, seed %lu\n", counts->calls, counts->pins,
           seed);
    CHECK(counts->calls >= calls, "no more than %ld of %ld calls in %d s",
          counts->calls, calls, SECONDS);
    CHECK(counts->pins > calls / 1000, "no more than %ld pins", counts->pins);
    CHECK(becomes(DEVICE_DIR "pins", 0) && becomes(DEVICE_DIR "lingering", 0) &&
          becomes(DEVICE_DIR "pages", 0), "pins are left");
    CHECK(pages_out() == before, "%ld pages are still pinned, %ld before",
          pages_out(), before);
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
    run("kmod: anything, at random, as an ordinary user", test_fuzz);
    return failed;
}
