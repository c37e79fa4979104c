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

static pid_t capture_start(char *const *argv, int out)
{
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0); /* a timeout kills it and all that it starts */
        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static long long capture_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Read until the command closes the pipe. Return 0 or -ETIMEDOUT. */
static int capture_read(int in, long long end, FILE *output)
{
    struct pollfd ready = {.fd = in, .events = POLLIN};
    char buffer[4096];
    ssize_t length;
    long long left;

    for (;;) {
        left = end - capture_now_ms();
        if (left <= 0) {
            return -ETIMEDOUT;
        }
        if (poll(&ready, 1, (int)left) <= 0) {
            continue;
        }
        length = read(in, buffer, sizeof(buffer));
        if (length <= 0) {
            return 0;
        }
        fwrite(buffer, 1, (size_t)length, output);
    }
}

/* Wait for a command that has closed the pipe: it may go on without. Return 0 or
 * -ETIMEDOUT. */
static int capture_wait(pid_t pid, long long end, int *status_p)
{
    const struct timespec pause = {.tv_nsec = CAPTURE_PAUSE_NS};

    while (waitpid(pid, status_p, WNOHANG) == 0) {
        if (capture_now_ms() >= end) {
            return -ETIMEDOUT;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* Read what the command writes, and wait for it; kill it if it takes too long.
 * Return 0 or -ETIMEDOUT. */
static int capture_finish(pid_t pid, int in, long long end, FILE *output,
                          int *status_p)
{
    int ret = capture_read(in, end, output);

    if (ret == 0) {
        ret = capture_wait(pid, end, status_p);
    }
    if (ret != 0) {
        kill(-pid, SIGKILL);
        while ((waitpid(pid, status_p, 0) < 0) && (errno == EINTR)) {
        }
    }
    return ret;
}

int daxpin_capture(char *const *argv, unsigned seconds, char **output_p)
{
    int fds[2], status = 0, ret;
    size_t size = 0;
    FILE *output;
    pid_t pid;

    *output_p = NULL;
    output    = open_memstream(output_p, &size);
    if ((output == NULL) || (pipe2(fds, O_CLOEXEC) != 0)) {
        return -errno;
    }
    pid = capture_start(argv, fds[1]);
    ret = (pid < 0) ? -errno : 0;
    close(fds[1]);
    if (ret == 0) {
        ret = capture_finish(pid, fds[0], capture_now_ms() + seconds * 1000LL,
                             output, &status);
    }
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
