/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A client of the guard daemon that needs nothing but the C library: makes a file,
 * has it guarded, and checks that root's truncate is refused.
 *
 * usage: unit SOCKET FILE [stay]     (as root)
 *
 * With `stay` it makes FILE.guarded then, and waits to be killed. Exit status 0 if
 * the truncate was refused; otherwise it prints why not.
 */

#define _GNU_SOURCE

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define USER   1000
#define LENGTH 65536

/* As the user, guard all of the file. Return the connection, or -1. */
static int guard(const char *path)
{
    int fd, sock;

    fd   = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    sock = dial();
    if ((fd < 0) || (sock < 0) || (ftruncate(fd, LENGTH) != 0) ||
        (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)) {
        printf("%s, %s: %s\n", path, socket_path, strerror(errno));
        return -1;
    }
    if ((ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) != 0) ||
        (add(sock, 0, LENGTH) != 0)) {
        printf("the daemon refuses\n");
        return -1;
    }
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return sock;
}

int main(int argc, char **argv)
{
    char mark[4096];
    int cut;

    if ((argc < 3) || (seteuid(USER) != 0)) {
        fprintf(stderr, "usage: unit SOCKET FILE [stay] (as root)\n");
        return 2;
    }
    signal(SIGIO, SIG_IGN);
    socket_path = argv[1];
    unlink(argv[2]);
    if ((guard(argv[2]) < 0) || (seteuid(0) != 0)) {
        return 1;
    }
    cut = truncate(argv[2], 0);
    if ((cut == 0) || (errno != ETXTBSY)) {
        printf("truncate: %s\n", (cut == 0) ? "not refused" : strerror(errno));
        return 1;
    }
    if (argc > 3) {
        snprintf(mark, sizeof(mark), "%s.guarded", argv[2]);
        close(open(mark, O_WRONLY | O_CREAT, 0600));
        pause();
    }
    unlink(argv[2]);
    return 0;
}
