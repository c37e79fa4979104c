/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Open a file for writing, which waits for its lease to end; copy what is in
 * the file then, and truncate it.
 *
 * usage: intrude FILE COPY
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char buffer[1 << 20];
    struct stat st;
    ssize_t got;
    int in, out;

    if (argc != 3) {
        fprintf(stderr, "usage: intrude FILE COPY\n");
        return 2;
    }
    in  = open(argv[1], O_RDWR);
    out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if ((in < 0) || (out < 0) || (fstat(in, &st) != 0)) {
        perror(argv[1]);
        return 1;
    }
    while ((got = read(in, buffer, sizeof(buffer))) > 0) {
        if (write(out, buffer, got) != got) {
            perror(argv[2]);
            return 1;
        }
    }
    if ((got < 0) || (ftruncate(in, 0) != 0)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
