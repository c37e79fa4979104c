/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A guard daemon that a test starts and ends. */

#ifndef DAEMON_H_
#define DAEMON_H_

#include "client.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char *guardd;        /* the program */
static const char *daemon_limit;  /* of connections; NULL: none */
static pid_t      daemon_pid;

#define READY_PATH "/run/daxpin-test-guard-ready"

static UNUSED int daemon_answers(void)
{
    const int sock = dial();

    close(sock);
    return sock >= 0;
}

/* Wait for READY=1, as systemd does. A connection is no proof that the
 * daemon is ready, because its programs are attached after it listens. */
static UNUSED int daemon_start(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pollfd ready        = {.events = POLLIN};
    char word[256]             = "";

    ready.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, READY_PATH);
    unlink(READY_PATH);
    if (bind(ready.fd, (struct sockaddr*)&address, sizeof(address)) != 0) {
        return 0;
    }
    daemon_pid = fork();
    if (daemon_pid == 0) {
        setenv("NOTIFY_SOCKET", READY_PATH, 1);
        execl(guardd, guardd, "--socket", socket_path,
              (daemon_limit != NULL) ? "--max-all-clients" : (char*)NULL,
              daemon_limit, (char*)NULL);
        _exit(127);
    }
    if (poll(&ready, 1, 60000) > 0) {
        (void)!recv(ready.fd, word, sizeof(word) - 1, 0);
    }
    close(ready.fd);
    unlink(READY_PATH);
    return strncmp(word, "READY=1", 7) == 0;
}

/* Wait until the daemon has ended. Its programs take seconds to leave the
 * kernel. */
static UNUSED void daemon_reap(void)
{
    waitpid(daemon_pid, NULL, 0);
}

static UNUSED void daemon_end(int number)
{
    kill(daemon_pid, number);
    daemon_reap();
}

#endif
