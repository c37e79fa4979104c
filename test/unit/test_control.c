/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The control page, when access ends */

#include "child.h"
#include "daxpin/access.h"
#include "daxpin/file/file.h"
#include "intruder.h"

#include <sys/ptrace.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* Leave no room for another mapping, and end access to a page that is mapped
 * read-only. Answer with the state and whether the page says more. */
static int control_room_child(int argc, char **argv)
{
    daxpin_control_t *first, *control;
    daxpin_key_t key = {0};
    int fd;

    (void)argc;
    (void)argv;
    if ((daxpin_control_create("file", &first, &fd) != 0) ||
        (daxpin_control_attach(fd, &key, &control) != 0)) {
        child_report(-1, "%s", daxpin_errormsg());
        return 0;
    }
    atomic_store(&first->length, 4096);
    daxpin_control_set_state(first, DAXPIN_STATE_HELD, 1);
    if (unit_limit_space(0) != 0) {
        child_report(-1, "cannot limit the address space");
        return 0;
    }
    daxpin_control_detach(control, DAXPIN_STATE_BREAKING);
    child_report((long)atomic_load(&control->state), "open %u length %lu",
                 atomic_load(&control->open), atomic_load(&control->length));
    _exit(0); /* The search for leaks needs memory */
}

static void test_no_room(void **state)
{
    child_t child;

    if (UNIT_SANITIZED) {
        skip(); /* they need memory of their own all the time */
    }
    child_spawn(&child, "room", NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS),
                     DAXPIN_STATE_BREAKING);
    assert_string_equal(child.text, "open 0 length 4096");
    child_finish(&child);
    (void)state;
}

/* As UCX replaces it: the new address is lost on the way to the kernel */
void *mremap(void *addr, size_t old_size, size_t new_size, int flags, ...)
{
    return (void*)syscall(SYS_mremap, addr, old_size, new_size, flags, NULL);
}

/* End access while mremap() is UCX's. The own page of a member takes the place
 * of the shared one, which it cannot write to. */
static void test_replaced_mremap(void **state)
{
    daxpin_control_t *first, *control;
    daxpin_key_t key = {0};
    int fd;

    assert_int_equal(daxpin_control_create("file", &first, &fd), 0);
    assert_int_equal(daxpin_control_attach(fd, &key, &control), 0);
    close(fd);
    daxpin_control_set_state(first, DAXPIN_STATE_HELD, 1);
    daxpin_control_detach(control, DAXPIN_STATE_BREAKING);
    assert_int_equal(atomic_load(&control->state), DAXPIN_STATE_BREAKING);
    assert_int_equal(atomic_load(&first->state), DAXPIN_STATE_HELD);
    control->cause[0] = 'x';
    assert_int_equal(first->cause[0], 0);
    daxpin_control_destroy(control);
    daxpin_control_destroy(first);
    (void)state;
}

static void *control_end_later(void *arg)
{
    unit_sleep_ms(50);
    daxpin_control_set_state(arg, DAXPIN_STATE_BREAKING, 0);
    return NULL;
}

/* Access to a lent file ends in two stores, and a synchronisation may come
 * between them. It must not take the first for a file that each access looks
 * at. */
static void test_end_of_lent_file(void **state)
{
    const char *path = unit_path(unit_disk, "ends");
    daxpin_access_t access;
    daxpin_file_t *file;
    pthread_t thread;
    child_t reader;

    file = unit_open(path, UNIT_LENGTH);
    daxpin_access_init(file, 0, &access);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_true(unit_await(10000, daxpin_file_state(file) ==
                                          DAXPIN_STATE_LENT));
    assert_int_equal(daxpin_file_check(file), 0);
    atomic_store(&file->control->open, 0);
    pthread_create(&thread, NULL, control_end_later, file->control);
    assert_int_equal(daxpin_file_check(file), -ESTALE);
    pthread_join(thread, NULL);
    daxpin_control_set_state(file->control, DAXPIN_STATE_LENT, 0);
    assert_int_equal(daxpin_file_check(file), 0);
    child_finish(&reader);
    daxpin_file_close(file);
    (void)state;
}

typedef struct control_words {
    daxpin_control_t control;
    _Atomic int      done;
} control_words_t;

static __attribute__((noreturn)) void control_end_lent(control_words_t *words)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(1);
    }
    raise(SIGSTOP);
    daxpin_control_set_state(&words->control, DAXPIN_STATE_BREAKING, 0);
    words->done = 1;
    _exit(0);
}

/* Have a process execute one instruction. Return whether it is there yet. */
static int control_step(pid_t pid)
{
    int status;

    return (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0) &&
           (waitpid(pid, &status, 0) == pid) && WIFSTOPPED(status);
}

/* A file that is being revoked does not seem to be a lent one that all accesses
 * have looked at, after any instruction. */
static void test_each_step_of_the_end(void **state)
{
    unsigned steps = 0, wrong = 0;
    control_words_t *words;
    int status;
    pid_t pid;

    words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(words, MAP_FAILED);
    daxpin_control_set_state(&words->control, DAXPIN_STATE_LENT, 1);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        control_end_lent(words);
    }
    child_remember(pid);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status)) {
        child_forget(pid);
        skip(); /* no process may trace another one here */
    }
    while (!words->done && control_step(pid)) {
        wrong += (words->control.open == DAXPIN_CONTROL_CHECKED) &&
                 (words->control.state == DAXPIN_STATE_LENT);
        ++steps;
    }
    assert_true(words->done && (steps > 2));
    assert_int_equal(words->control.state, DAXPIN_STATE_BREAKING);
    assert_int_equal(words->control.open, 0);
    assert_int_equal(wrong, 0);
    unit_kill_children();
    munmap(words, sizeof(*words));
    (void)state;
}

int main(int argc, char **argv)
{
    static const child_entry_t children[] = {
        INTRUDER_ENTRY, {"room", control_room_child}, {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_no_room),
        unit_case(test_replaced_mremap),
        unit_case(test_end_of_lent_file),
        unit_case(test_each_step_of_the_end)
    };

    return unit_main("control", argc, argv, children, tests);
}
