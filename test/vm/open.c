/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Opens a file twice, and another file beside it. usage: open FILE */

#include <daxpin.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    daxpin_file_t *files[3];
    char other[4096];
    int i;

    if (argc != 2) {
        return 2;
    }
    snprintf(other, sizeof(other), "%s.other", argv[1]);
    for (i = 0; i < 3; ++i) {
        if (daxpin_file_open((i < 2) ? argv[1] : other, 65536, NULL,
                             &files[i]) != 0) {
            fprintf(stderr, "%s\n", daxpin_errormsg());
            return 1;
        }
    }
    for (i = 0; i < 3; ++i) {
        daxpin_file_close(files[i]);
    }
    return 0;
}
