/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Findings of `daxpin doctor`, and commands whose output it reads */

#include "checkup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECKUP_TEXT_MAX 8192
#define CAPTURE_PAUSE_NS 2000000 /* between looks at a command */
#define CAPTURE_KILL_MS  3000    /* in which a command can end by itself */

static const struct {
    const char *word;
    const char *colour;
} checkup_words[DAXPIN_FINDING_COUNT] = {
    [DAXPIN_FINDING_OK]   = {"ok", "\033[32m"},
    [DAXPIN_FINDING_NOTE] = {"note", "\033[36m"},
    [DAXPIN_FINDING_WARN] = {"warn", "\033[33m"},
    [DAXPIN_FINDING_BAD]  = {"bad", "\033[31m"}
};

void daxpin_checkup_add(daxpin_checkup_t *checkup, daxpin_finding_t finding,
                        const char *name, const char *format, ...)
{
    const char *word = checkup_words[finding].word;
    char text[CHECKUP_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    ++checkup->counts[finding];
    if (checkup->json != NULL) {
        daxpin_json_open(checkup->json, NULL, '{');
        daxpin_json_string(checkup->json, "finding", word);
        daxpin_json_string(checkup->json, "name", name);
        daxpin_json_string(checkup->json, "text", text);
        daxpin_json_close(checkup->json, '}');
        return;
    }
    printf("%s%-4s%s  %s: ", checkup->colour ? checkup_words[finding].colour :
                                               "",
           word, checkup->colour ? "\033[0m" : "", name);
    daxpin_text_put(stdout, text);
    putchar('\n');
    fflush(stdout);
}

/*
 * Commands
 */

/* The signals that end the doctor. A command must not go on without it, nor must
 * its files stay. */
static const int capture_ends[] = {SIGHUP, SIGINT, SIGTERM};

#define CAPTURE_ENDS (sizeof(capture_ends) / sizeof(capture_ends[0]))

static volatile sig_atomic_t capture_signal; /* that came; 0: none */

typedef struct capture_signals {
    struct sigaction actions[CAPTURE_ENDS]; /* from before */
    sigset_t         before;  /* the mask from before */
    sigset_t         waiting; /* the mask with which the doctor waits */
} capture_signals_t;

static void capture_note_signal(int number)
{
    capture_signal = number;
}

void daxpin_capture_block(sigset_t *before)
{
    sigset_t ends;
    size_t i;

    sigemptyset(&ends);
    for (i = 0; i < CAPTURE_ENDS; ++i) {
        sigaddset(&ends, capture_ends[i]);
    }
    sigprocmask(SIG_BLOCK, &ends, before);
}

/* Let the signals come while the doctor waits for a command, and only then. One
 * that is ignored stays so. */
static void capture_catch(capture_signals_t *signals)
{
    struct sigaction action = {.sa_handler = capture_note_signal};
    size_t i;

    daxpin_capture_block(&signals->before);
    signals->waiting = signals->before;
    capture_signal   = 0;
    for (i = 0; i < CAPTURE_ENDS; ++i) {
        sigdelset(&signals->waiting, capture_ends[i]);
        sigaction(capture_ends[i], NULL, &signals->actions[i]);
        if (signals->actions[i].sa_handler != SIG_IGN) {
            sigaction(capture_ends[i], &action, NULL);
        }
    }
}

/* Undo that. A signal that came ends the doctor, at once or when the caller lets
 * it come. */
static void capture_release(const capture_signals_t *signals)
{
    size_t i;

    for (i = 0; i < CAPTURE_ENDS; ++i) {
        sigaction(capture_ends[i], &signals->actions[i], NULL);
    }
    if (capture_signal != 0) {
        raise(capture_signal);
    }
    sigprocmask(SIG_SETMASK, &signals->before, NULL);
}

static pid_t capture_start(char *const *argv, int out,
                           const capture_signals_t *signals)
{
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0); /* a timeout kills it and all that it starts */
        sigprocmask(SIG_SETMASK, &signals->waiting, NULL);
        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid > 0) {
        setpgid(pid, pid); /* the child may not have come to it yet */
    }
    return pid;
}

static long long capture_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static struct timespec capture_time(long long ms)
{
    return (struct timespec){.tv_sec  = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000};
}

/* Read until the command closes the pipe. Return 0, -ETIMEDOUT, or -EINTR if the
 * doctor is to end. */
static int capture_read(int in, long long end, const sigset_t *waiting,
                        FILE *output)
{
    struct pollfd ready = {.fd = in, .events = POLLIN};
    char buffer[4096];
    struct timespec time;
    ssize_t length;
    long long left;

    for (;;) {
        left = end - capture_now_ms();
        if (left <= 0) {
            return -ETIMEDOUT;
        }
        time = capture_time(left);
        if (ppoll(&ready, 1, &time, waiting) <= 0) {
            if (capture_signal != 0) {
                return -EINTR;
            }
            continue;
        }
        length = read(in, buffer, sizeof(buffer));
        if (length <= 0) {
            return 0;
        }
        fwrite(buffer, 1, (size_t)length, output);
    }
}

/* Wait for a command that has closed the pipe: it may go on without. Return as
 * capture_read(). */
static int capture_wait(pid_t pid, long long end, const sigset_t *waiting,
                        int *status_p)
{
    const struct timespec pause = {.tv_nsec = CAPTURE_PAUSE_NS};

    while (waitpid(pid, status_p, WNOHANG) == 0) {
        if (capture_now_ms() >= end) {
            return -ETIMEDOUT;
        }
        ppoll(NULL, 0, &pause, waiting);
        if (capture_signal != 0) {
            return -EINTR;
        }
    }
    return 0;
}

/* End a command and all that it started. A launcher needs a moment to do so on
 * other nodes. */
static void capture_kill(pid_t pid, int *status_p)
{
    const struct timespec pause = {.tv_nsec = CAPTURE_PAUSE_NS};
    const long long end         = capture_now_ms() + CAPTURE_KILL_MS;
    siginfo_t info;

    kill(-pid, SIGTERM);
    do {
        info.si_pid = 0;
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    } while ((info.si_pid == 0) && (capture_now_ms() < end) &&
             (nanosleep(&pause, NULL) == 0));
    kill(-pid, SIGKILL);
    while ((waitpid(pid, status_p, 0) < 0) && (errno == EINTR)) {
    }
}

/* Read what the command writes, and wait for it; end it if it takes too long, or
 * if the doctor is to end. Return as capture_read(). */
static int capture_finish(pid_t pid, int in, long long end,
                          const sigset_t *waiting, FILE *output, int *status_p)
{
    int ret = capture_read(in, end, waiting, output);

    if (ret == 0) {
        ret = capture_wait(pid, end, waiting, status_p);
    }
    if (ret != 0) {
        capture_kill(pid, status_p);
    }
    return ret;
}

int daxpin_capture(char *const *argv, unsigned seconds, char **output_p)
{
    int fds[2], status = 0, ret;
    capture_signals_t signals;
    size_t size = 0;
    FILE *output;
    pid_t pid;

    *output_p = NULL;
    output    = open_memstream(output_p, &size);
    if ((output == NULL) || (pipe2(fds, O_CLOEXEC) != 0)) {
        return -errno;
    }
    capture_catch(&signals);
    pid = capture_start(argv, fds[1], &signals);
    ret = (pid < 0) ? -errno : 0;
    close(fds[1]);
    if (ret == 0) {
        ret = capture_finish(pid, fds[0], capture_now_ms() + seconds * 1000LL,
                             &signals.waiting, output, &status);
    }
    capture_release(&signals);
    close(fds[0]);
    fclose(output);
    if (ret == -ETIMEDOUT) {
        return 124;
    }
    return (ret != 0)           ? ret :
           WIFEXITED(status)    ? WEXITSTATUS(status) :
                                  128 + WTERMSIG(status);
}

const char *daxpin_capture_find(const char *output, const char *begin)
{
    size_t length = strlen(begin);
    const char *p = output;

    while ((p = strstr(p, begin)) != NULL) {
        if ((p == output) || (p[-1] == '\n')) {
            return p + length;
        }
        p += length;
    }
    return NULL;
}
