/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What a job has of the guard: intruders get an error, and it keeps its file,
 * also when the daemon comes and goes.
 *
 * usage: guard GUARDD DIRECTORY      (as root, in the virtual machine; no
 *                                     other daemon may run)
 *
 *   DAXPIN_GUARD_ROUNDS  intrusions in all; default: 400
 *   DAXPIN_GUARD_BENCH   measure calls on other files instead, so many each
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "result.h"

#include <control.h>
#include <daxpin.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096
#define LENGTH (64 * PAGE)
#define START  (16 * PAGE)
#define END    (32 * PAGE)
#define PUNCH  (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static const char *guardd;
static const char *directory;
static const char *socket_path = "/run/daxpin-test-guard";
static pid_t      daemon_pid;


static void note(daxpin_log_level_t level, const char *message)
{
    fprintf(stderr, "# %d: %s\n", level, message);
}


/*
 * The daemon
 */

static int daemon_answers(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0), ret;

    strcpy(address.sun_path, socket_path);
    ret = connect(fd, (struct sockaddr*)&address, sizeof(address));
    close(fd);
    return ret == 0;
}


static int daemon_start(void)
{
    int i;

    daemon_pid = fork();
    if (daemon_pid == 0) {
        execl(guardd, guardd, "--socket", socket_path, (char*)NULL);
        _exit(127);
    }
    for (i = 0; (i < 1200) && !daemon_answers(); ++i) {
        pause_ms(50);
    }
    return i < 1200;
}


static void daemon_end(int number)
{
    kill(daemon_pid, number);
    waitpid(daemon_pid, NULL, 0);
}


/*
 * A job
 */

typedef struct job {
    char           path[PATH_MAX];
    daxpin_file_t  *file;
    daxpin_pin_t   *pin;
    daxpin_access_t access;
    char           *memory;
} job_t;


static int job_open(job_t *job, const char *where, const char *name)
{
    snprintf(job->path, sizeof(job->path), "%s/%s", where, name);
    unlink(job->path);
    job->pin = NULL;
    if (daxpin_file_open(job->path, LENGTH, NULL, &job->file) != 0) {
        return -1;
    }
    job->memory = daxpin_file_addr(job->file, 0, LENGTH);
    daxpin_access_init(job->file, daxpin_slot_get(), &job->access);
    memset(job->memory, 'a', LENGTH);
    return 0;
}


static int job_pin(job_t *job)
{
    return daxpin_pin(job->file, START, END - START, NULL, &job->pin);
}


static void job_close(job_t *job)
{
    daxpin_unpin(job->pin);
    daxpin_file_close(job->file);
    unlink(job->path);
}


static int becomes(daxpin_file_t *file, daxpin_state_t state)
{
    int i;

    for (i = 0; (i < 3000) && (daxpin_file_state(file) != state); ++i) {
        pause_ms(20);
    }
    return daxpin_file_state(file) == state;
}


static int has_guard(daxpin_file_t *file)
{
    int i;

    for (i = 0; (i < 3000) && !(daxpin_file_locks(file) & DAXPIN_LOCK_GUARD);
         ++i) {
        pause_ms(20);
    }
    return i < 3000;
}


static const char *state_of(const job_t *job)
{
    return daxpin_state_name(daxpin_file_state(job->file));
}


/*
 * Intruders: children; what they find is their exit status, an errno value
 */

static int intrude(const char *path, int how)
{
    int fd, ret;

    switch (how % 5) {
    case 0:
        return (truncate(path, START) < 0) ? errno : 0;
    case 1:
        return (open(path, O_RDWR | O_TRUNC) < 0) ? errno : 0;
    case 2:
        return (creat(path, 0600) < 0) ? errno : 0;
    default:
        fd = open(path, O_RDWR);
        if (fd < 0) {
            return errno;
        }
        ret = (how % 5 == 3) ? ftruncate(fd, END - 1) :
                               fallocate(fd, PUNCH, START, PAGE);
        ret = (ret < 0) ? errno : 0;
        close(fd);
        return ret;
    }
}


static pid_t intruder(const char *path, int how)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(intrude(path, how));
    }
    return pid;
}


/* -1: he is still at it */
static int status_of(pid_t pid, long ms)
{
    int status;

    for (; ms > 0; ms -= 20) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
        }
        pause_ms(20);
    }
    return -1;
}


/*
 * Tests
 */

static void test_refused(void)
{
    char byte = 'b', names[DAXPIN_LOCKS_NAMES_MAX];
    job_t job;
    int how, status;

    CHECK(job_open(&job, directory, "refused") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    CHECK(daxpin_file_locks(job.file) & DAXPIN_LOCK_GUARD, "locks: %s",
          daxpin_locks_names(daxpin_file_locks(job.file), names,
                             sizeof(names)));
    for (how = 0; how < 5; ++how) {
        status = status_of(intruder(job.path, how), 60000);
        CHECK(status == ETXTBSY, "intruder %d: %s", how, strerror(status));
        CHECK(becomes(job.file, DAXPIN_STATE_HELD), "after intruder %d it is "
              "%s", how, state_of(&job));
    }
    job.memory[START] = byte;
    job_close(&job);
}


/* Whoever shortens it where nothing is pinned is served, and costs nothing. Not
 * so where blocks are held: a hold knows no ranges. */
static void test_by_range(void)
{
    struct stat st;
    job_t job;
    pid_t pid;
    int fd;

    CHECK(job_open(&job, "/dev/shm", "range") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(job.path, O_RDWR);
        if ((fd < 0) || (fallocate(fd, PUNCH, 0, START) != 0) ||
            (pwrite(fd, "b", 1, END) != 1)) {
            _exit(errno);
        }
        _exit((truncate(job.path, END) != 0) ? errno : 0);
    }
    CHECK(status_of(pid, 60000) == 0, "he was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    CHECK((stat(job.path, &st) == 0) && (st.st_size == END), "its size is %ld",
          (long)st.st_size);
    CHECK(job.memory[START] == 'a', "its content is gone");
    CHECK(job.memory[0] == 0, "the hole is none");
    job_close(&job);
}


/* A writer who stays: the job goes on beside him */
static void test_writer_stays(void)
{
    job_t job;
    int fd, i;
    pid_t pid;

    CHECK(job_open(&job, directory, "writer") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(job.path, O_RDWR);
        for (i = 0; i < 30; ++i) {
            if ((ftruncate(fd, 0) == 0) || (errno != ETXTBSY)) {
                _exit(1);
            }
            pause_ms(100);
        }
        _exit(0);
    }
    CHECK(becomes(job.file, DAXPIN_STATE_LENT), "it is %s", state_of(&job));
    for (i = 0; i < 100; ++i) {
        CHECK(daxpin_access_begin(&job.access) == 0, "no access: it is %s",
              state_of(&job));
        job.memory[START + i] = 'b';
        CHECK(daxpin_access_end(&job.access, START + (uint64_t)i, 1) == 0,
              "access %d was lost", i);
        pause_ms(10);
    }
    CHECK(status_of(pid, 60000) == 0, "he was not refused");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    CHECK(job.memory[START] == 'b', "what was written is gone");
    job_close(&job);
}


static void test_unpinned(void)
{
    job_t job;

    CHECK(job_open(&job, directory, "unpinned") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    daxpin_unpin(job.pin);
    job.pin = NULL;
    CHECK(status_of(intruder(job.path, 0), 60000) == 0, "he was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    job_close(&job);
}


static void test_closed(void)
{
    job_t job;

    CHECK(job_open(&job, directory, "closed") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    daxpin_unpin(job.pin);
    daxpin_file_close(job.file);
    CHECK(truncate(job.path, 0) == 0, "truncate: %m");
    unlink(job.path);
}


/* Of two processes only the other one has a pin */
static void test_peer(void)
{
    int to_peer[2], from_peer[2], status;
    daxpin_file_t *file;
    daxpin_key_t key;
    daxpin_pin_t *pin;
    char byte;
    job_t job;
    pid_t peer;

    CHECK((pipe(to_peer) == 0) && (pipe(from_peer) == 0), "%m");
    peer = fork();
    if (peer == 0) {
        if ((read(to_peer[0], &key, sizeof(key)) != sizeof(key)) ||
            (daxpin_file_attach(&key, &file) != 0) ||
            (daxpin_pin(file, START, END - START, NULL, &pin) != 0) ||
            (write(from_peer[1], "", 1) != 1) ||
            (read(to_peer[0], &byte, 1) != 1)) {
            _exit(1);
        }
        daxpin_unpin(pin);
        if ((write(from_peer[1], "", 1) != 1) ||
            (read(to_peer[0], &byte, 1) != 1)) {
            _exit(1);
        }
        _exit(daxpin_file_state(file) != DAXPIN_STATE_REVOKED);
    }
    CHECK(job_open(&job, directory, "peer") == 0, "%s", daxpin_errormsg());
    daxpin_file_key(job.file, &key);
    CHECK(write(to_peer[1], &key, sizeof(key)) == sizeof(key), "%m");
    CHECK(read(from_peer[0], &byte, 1) == 1, "the peer has failed");
    status = status_of(intruder(job.path, 0), 60000);
    CHECK(status == ETXTBSY, "truncate: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    CHECK(write(to_peer[1], "", 1) == 1, "%m");
    CHECK(read(from_peer[0], &byte, 1) == 1, "the peer has failed");
    status = status_of(intruder(job.path, 0), 60000);
    CHECK(status == 0, "truncate without a pin: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    CHECK(write(to_peer[1], "", 1) == 1, "%m");
    CHECK(status_of(peer, 60000) == 0, "it is not revoked at the peer");
    job_close(&job);
}


typedef struct traffic {
    job_t       *job;
    atomic_int  stop;
    unsigned    puts;
    unsigned    lost;
} traffic_t;


/* Write a number again and again, and read what came of the last one */
static void *traffic_run(void *arg)
{
    traffic_t *traffic = arg;
    job_t *job         = traffic->job;
    uint64_t number    = 0, offset, before;

    while (!atomic_load(&traffic->stop)) {
        offset = START + (number % ((END - START) / 8)) * 8;
        if (daxpin_access_begin(&job->access) != 0) {
            ++traffic->lost;
            break;
        }
        before = (number < (END - START) / 8) ?
                         0 :
                         *(volatile uint64_t*)(void*)(job->memory + offset);
        *(volatile uint64_t*)(void*)(job->memory + offset) = number;
        if (daxpin_access_end(&job->access, offset, 8) != 0) {
            ++traffic->lost;
            break;
        }
        if ((number >= (END - START) / 8) &&
            (before != number - (END - START) / 8)) {
            ++traffic->lost;
        }
        ++number;
        ++traffic->puts;
    }
    return NULL;
}


/* Processes that intrude all the time, whatever comes of it; they count those
 * that were not refused */
static void run_traffic(const char *name, int rounds, int kills)
{
    enum { INTRUDERS = 3 };
    traffic_t traffic = {.puts = 0};
    pid_t pids[INTRUDERS];
    pthread_t thread;
    job_t job;
    int i, k, status;

    CHECK(job_open(&job, directory, name) == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    for (i = 0; i < INTRUDERS; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            for (k = 0; k < rounds / INTRUDERS; ++k) {
                status = intrude(job.path, k + i);
                if (status != ETXTBSY) {
                    fprintf(stderr, "# intrusion %d: %s\n", k,
                            strerror(status));
                    _exit(1);
                }
                if (kills > 0) {
                    pause_ms(5);
                }
            }
            _exit(0);
        }
    }
    traffic.job = &job;
    CHECK(pthread_create(&thread, NULL, traffic_run, &traffic) == 0, "%m");
    for (i = 0; i < kills; ++i) {
        pause_ms(1000);
        daemon_end(SIGKILL);
        CHECK(daemon_start(), "the daemon does not start again");
        if (!has_guard(job.file)) {
            break;
        }
    }
    for (i = 0, status = 0; i < INTRUDERS; ++i) {
        status |= status_of(pids[i], 240000);
        kill(pids[i], SIGKILL);
    }
    atomic_store(&traffic.stop, 1);
    pthread_join(thread, NULL);
    fprintf(stderr, "# %s: %u puts beside %d intrusions, %d restarts\n", name,
            traffic.puts, rounds, kills);
    CHECK(status == 0, "an intruder was not refused (%d)", status);
    CHECK(traffic.lost == 0, "%u of %u puts were lost", traffic.lost,
          traffic.puts);
    CHECK(traffic.puts > 0, "there was no traffic");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    job_close(&job);
}


static void test_traffic(void)
{
    const char *rounds = getenv("DAXPIN_GUARD_ROUNDS");

    run_traffic("traffic", (rounds != NULL) ? atoi(rounds) : 400, 0);
}


static void test_restart(void)
{
    run_traffic("restart", 600, 3);
}


/* A writer is in when the daemon ends, and none comes after it. When it dies,
 * what was guarded is, for a while. */
static void end_beside_writer(const char *where, int number)
{
    int ready[2], fd, status;
    char byte, cause[1024];
    double begin;
    job_t job;
    pid_t pid;

    CHECK(pipe(ready) == 0, "%m");
    CHECK(job_open(&job, where, "end") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(job.path, O_RDWR);
        if ((fd < 0) || (write(ready[1], "", 1) != 1)) {
            _exit(1);
        }
        while (daemon_answers()) {
            pause_ms(10);
        }
        (void)!write(ready[1], ((ftruncate(fd, 0) < 0) && (errno == ETXTBSY)) ?
                     "y" : "n", 1);
        pause();
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1, "he was not let in");
    CHECK(becomes(job.file, DAXPIN_STATE_LENT), "it is %s", state_of(&job));
    begin = now();
    daemon_end(number);
    if (number == SIGKILL) {
        CHECK((read(ready[0], &byte, 1) == 1) && (byte == 'y'),
              "he may truncate it");
    }
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    fprintf(stderr, "# %s: revoked %.1f s after signal %d\n", where,
            now() - begin, number);
    daxpin_file_cause(job.file, cause, sizeof(cause));
    CHECK(strstr(cause, job.path) != NULL, "the cause is: %s", cause);
    kill(pid, SIGKILL);
    status = status_of(pid, 20000);
    CHECK(status != -1, "he is still there");
    CHECK(daemon_start(), "the daemon does not start again");
    close(ready[0]);
    job_close(&job);
}


static void test_killed_held(void)
{
    end_beside_writer(directory, SIGKILL);
}


static void test_killed_unheld(void)
{
    end_beside_writer("/dev/shm", SIGKILL);
}


static void test_ended(void)
{
    end_beside_writer(directory, SIGTERM);
}


/* A daemon that does not answer keeps nobody */
static void test_stopped(void)
{
    double begin, took;
    job_t job;

    CHECK(job_open(&job, directory, "stopped") == 0, "%s", daxpin_errormsg());
    kill(daemon_pid, SIGSTOP);
    begin = now();
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    took = now() - begin;
    CHECK(took < 30, "a pin took %.1f s", took);
    CHECK(!(daxpin_file_locks(job.file) & DAXPIN_LOCK_GUARD),
          "it is said to be guarded");
    CHECK(status_of(intruder(job.path, 0), 60000) == 0, "he was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    kill(daemon_pid, SIGCONT);
    job_close(&job);
}


/*
 * What it costs others
 */

static void bench(const char *what, int count)
{
    char name[PATH_MAX], byte = 'a';
    double begin, truncated, wrote, punched;
    int fd, i;

    snprintf(name, sizeof(name), "%s/bench", directory);
    fd = open(name, O_RDWR | O_CREAT, 0600);
    begin = now();
    for (i = 0; i < count; ++i) {
        if (ftruncate(fd, PAGE * (i % 2)) != 0) {
            return;
        }
    }
    truncated = now() - begin;
    begin     = now();
    for (i = 0; i < count; ++i) {
        if (pwrite(fd, &byte, 1, 0) != 1) {
            return;
        }
    }
    wrote = now() - begin;
    begin = now();
    for (i = 0; i < count; ++i) {
        if (fallocate(fd, PUNCH, 8 * PAGE, PAGE) != 0) {
            return;
        }
    }
    punched = now() - begin;
    printf("# %s: ns a call: ftruncate %.0f, pwrite %.0f, punch %.0f\n", what,
           truncated / count * 1e9, wrote / count * 1e9,
           punched / count * 1e9);
    close(fd);
    unlink(name);
}


static int run_bench(int count)
{
    job_t job;
    int i;

    for (i = 0; i < 3; ++i) {
        bench("no guard", count);
        if (!daemon_start()) {
            return 1;
        }
        bench("guard, nothing pinned", count);
        if ((job_open(&job, directory, "pinned") != 0) ||
            (job_pin(&job) != 0)) {
            return 1;
        }
        bench("guard, another file pinned", count);
        job_close(&job);
        daemon_end(SIGTERM);
    }
    return 0;
}


int main(int argc, char **argv)
{
    const char *count = getenv("DAXPIN_GUARD_BENCH");

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 3) {
        fprintf(stderr, "usage: guard GUARDD DIRECTORY (as root)\n");
        return 2;
    }
    guardd    = argv[1];
    directory = argv[2];
    setenv("DAXPIN_GUARD_SOCKET", socket_path, 1);
    daxpin_set_log(note);
    if (count != NULL) {
        return run_bench(atoi(count));
    }
    if (!daemon_start()) {
        printf("not ok the daemon: it does not start\n");
        return 1;
    }
    run("intruders get an error and the file stays", test_refused);
    run("where nothing is pinned they are served", test_by_range);
    run("a writer stays beside the job", test_writer_stays);
    run("without a pin a truncate revokes", test_unpinned);
    run("nothing is guarded when the file is closed", test_closed);
    run("a peer's pin is guarded", test_peer);
    run("intruders beside traffic", test_traffic);
    run("the daemon is killed and started again beside traffic", test_restart);
    run("the daemon is killed while a writer is in, blocks are held",
        test_killed_held);
    run("the daemon is killed while a writer is in, nothing is held",
        test_killed_unheld);
    run("the daemon ends while a writer is in", test_ended);
    run("the daemon is stopped", test_stopped);
    daemon_end(SIGTERM);
    return failed;
}
