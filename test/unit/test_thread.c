/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Many threads use the same and different files. Run it with ThreadSanitizer
 * and helgrind too. */

#include "daxpin/access.h"
#include "daxpin/file/pin.h"
#include "daxpin/os/loop.h"
#include "child.h"
#include "intruder.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define THREADS      8
#define THREAD_FILES 4
#define THREAD_MS    2000

typedef struct threads {
    const char   *paths[THREAD_FILES];
    uint64_t     end;      /* ms */
    int          intruded; /* files may be revoked at any time */
    _Atomic long rounds;
    _Atomic long failures;
    char         text[1024]; /* of the first failure */
} threads_t;

typedef struct thread {
    threads_t *all;
    unsigned  number;
    unsigned  seed;
} thread_t;

static void thread_fail(threads_t *all, const char *what, long ret)
{
    if (atomic_fetch_add(&all->failures, 1) == 0) {
        snprintf(all->text, sizeof(all->text), "%s: %ld: %s", what, ret,
                 daxpin_errormsg());
    }
}

static void thread_check(threads_t *all, const char *what, long ret)
{
    if ((ret != 0) && !(all->intruded && ((ret == -ESTALE) ||
                                          (ret == -EPERM) ||
                                          (ret == -EINVAL) ||
                                          (ret == -EAGAIN)))) {
        thread_fail(all, what, ret);
    }
}

static void thread_access(thread_t *thread, daxpin_file_t *file, char *memory)
{
    unsigned slot = daxpin_slot_get();
    daxpin_access_t access;
    int i, ret;

    daxpin_access_init(file, slot, &access);
    for (i = 0; i < 10; ++i) {
        ret = daxpin_access_begin(&access);
        if (ret == 0) {
            memory[thread->number * 64] = (char)i; /* own cache line */
            ret = daxpin_access_end(&access, thread->number * 64, 1);
        }
        thread_check(thread->all, "access", ret);
    }
    daxpin_slot_put(slot);
}

static void thread_callback(daxpin_file_t *file, void *arg)
{
    (void)daxpin_file_state(file);
    (void)arg;
}

static void thread_use(thread_t *thread, daxpin_file_t *file)
{
    uint64_t offset = (uint64_t)rand_r(&thread->seed) % (UNIT_LENGTH - 4096);
    char *memory    = daxpin_file_addr(file, 0, 4096);
    threads_t *all  = thread->all;
    char cause[1024];
    daxpin_pin_t *pin;
    int ret;

    thread_check(all, "on_revoke", daxpin_file_on_revoke(file, thread_callback,
                                                         thread));
    ret = daxpin_pin(file, offset, 4096, NULL, &pin);
    thread_check(all, "pin", ret);
    if (memory != NULL) {
        thread_access(thread, file, memory);
    } else if (!all->intruded) {
        thread_fail(all, "addr", 0);
    }
    if ((ret == 0) && (daxpin_pin_find(file, offset, 1) == NULL)) {
        thread_fail(all, "find", 0);
    }
    if (rand_r(&thread->seed) % 16 == 0) {
        thread_check(all, "persist", daxpin_file_persist(file, 0, 4096));
    }
    (void)daxpin_file_length(file);
    daxpin_file_cause(file, cause, sizeof(cause));
    daxpin_unpin(pin);
    daxpin_file_cancel_on_revoke(file, thread_callback, thread);
}

static void *thread_main(void *arg)
{
    daxpin_params_t params = {.timeout_ms = 8000};
    thread_t *thread       = arg;
    threads_t *all         = thread->all;
    daxpin_file_t *file, *again;
    daxpin_key_t key;
    int ret;

    while (unit_ms() < all->end) {
        ret = daxpin_file_open(all->paths[(unsigned)rand_r(&thread->seed) %
                                          THREAD_FILES],
                               UNIT_LENGTH, &params, &file);
        thread_check(all, "open", ret);
        if (ret != 0) {
            continue;
        }
        thread_use(thread, file);
        daxpin_file_key(file, &key);
        ret = daxpin_file_attach(&key, &again);
        if (ret == 0) {
            daxpin_file_close(again);
        } else if (ret != -ENOENT) {
            thread_check(all, "attach", ret);
        }
        daxpin_file_close(file);
        ++all->rounds;
    }
    return NULL;
}

static void *thread_intrude(void *arg)
{
    threads_t *all = arg;
    unsigned seed  = 5;
    int fd;

    while (unit_ms() < all->end) {
        const char *path = all->paths[(unsigned)rand_r(&seed) % THREAD_FILES];

        if (rand_r(&seed) % 2 != 0) {
            (void)!truncate(path, rand_r(&seed) % UNIT_LENGTH);
        } else {
            fd = open(path, O_RDONLY | O_CLOEXEC);
            close(fd);
        }
        unit_sleep_ms(5);
    }
    return NULL;
}

static void *thread_fork(void *arg)
{
    threads_t *all = arg;
    int status;
    pid_t pid;

    while (unit_ms() < all->end) {
        pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        if ((waitpid(pid, &status, 0) != pid) || (status != 0)) {
            thread_fail(all, "fork", status);
        }
        unit_sleep_ms(5);
    }
    return NULL;
}

/* Run all threads, and one more that executes with(), unless that is NULL. */
static void threads_run(threads_t *all, void *(*with)(void *))
{
    pthread_t ids[THREADS], other;
    thread_t threads[THREADS];
    unsigned i;

    all->end = unit_ms() + THREAD_MS * ((unit_slow() > 3) ? 3 : unit_slow());
    for (i = 0; i < THREADS; ++i) {
        threads[i] = (thread_t){.all = all, .number = i, .seed = i};
        if (pthread_create(&ids[i], NULL, thread_main, &threads[i]) != 0) {
            _exit(1);
        }
    }
    if (with != NULL) {
        if (pthread_create(&other, NULL, with, all) != 0) {
            _exit(1);
        }
        pthread_join(other, NULL);
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(ids[i], NULL);
    }
}

/* Run all threads. This needs another process, because cmocka has its own
 * handler of SIGBUS, but the library needs one when files are truncated while
 * their leases are lent. The arguments are "intruders", "forks" or "alone", and
 * the paths. */
static int threads_child(int argc, char **argv)
{
    static threads_t all;
    unsigned i;

    (void)argc;
    for (i = 0; i < THREAD_FILES; ++i) {
        all.paths[i] = argv[2 + i];
    }
    if (strcmp(argv[1], "intruders") == 0) {
        all.intruded = 1;
        threads_run(&all, thread_intrude);
    } else {
        threads_run(&all, (strcmp(argv[1], "forks") == 0) ? thread_fork :
                                                            NULL);
    }
    for (i = 0; i < THREAD_FILES; ++i) {
        if (strcmp(intruder_lease(all.paths[i]), "") != 0) {
            thread_fail(&all, all.paths[i], 0); /* it still has a lease */
        }
    }
    if ((all.failures == 0) && (all.rounds <= THREADS)) {
        thread_fail(&all, "rounds", all.rounds);
    }
    child_report(all.failures, "%s", all.text);
    return 0;
}

static void threads_check(const char *kind)
{
    const char *paths[THREAD_FILES];
    child_t child;
    long failures;
    unsigned i;

    for (i = 0; i < THREAD_FILES; ++i) {
        paths[i] = unit_path((i % 2) ? unit_disk : unit_memory, "threads");
    }
    child_spawn(&child, "threads", kind, paths[0], paths[1], paths[2],
                paths[3], NULL);
    failures = child_answer(&child, THREAD_MS + CHILD_WAIT_MS);
    if (failures != 0) {
        fail_msg("%ld failures, the first: %s", failures, child.text);
    }
    child_finish(&child);
}

static void test_alone(void **state)
{
    threads_check("alone");
    (void)state;
}

/* Test accesses beside intruders. On fsdax this hangs now and then, which is to
 * be mended: a thread that opens a file waits in fallocate() for a truncate. The
 * truncate waits for a hold, and no process drops that hold. */
static void test_with_intruders(void **state)
{
    threads_check("intruders");
    (void)state;
}

static void test_with_forks(void **state)
{
    threads_check("forks");
    (void)state;
}

/* The first 48 bytes of what sched_getattr() fills in, as words; 0: it fails */
static uint64_t thread_slice(pid_t tid)
{
    uint64_t attr[6] = {0};

    return (syscall(SYS_sched_getattr, tid, attr, sizeof(attr), 0) == 0) ?
                   attr[3] :
                   0;
}

/* The thread of the library has a shorter slice than those of the program, as far
 * as the kernel has such, and the program's are as they were. */
static void test_short_slice(void **state)
{
    const uint64_t before = thread_slice(0);
    daxpin_file_t *file;

    (void)state;
    if ((before == 0) || (sched_getscheduler(0) != SCHED_OTHER)) {
        print_message("Linux before 6.12 has no slices of threads\n");
        skip();
    }
    assert_int_equal(daxpin_file_open(unit_path(unit_memory, "slice"),
                                      UNIT_LENGTH, NULL, &file), 0);
    assert_true(thread_slice(daxpin_loop_tid()) < before);
    assert_int_equal(thread_slice(0), before);
    daxpin_file_close(file);
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        {"threads", threads_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_alone),
        unit_case(test_with_intruders),
        unit_case(test_with_forks),
        unit_case(test_short_slice)
    };

    return unit_main("thread", argc, argv, children, tests);
}
