/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A process that pins files for owners that a test chooses, and accesses them */

/*
 * usage: pinner FILE=OWNER...
 *
 * OWNER: "process"; a file that owns the pin; "same", the owner before; or
 * "none", for no pin.
 *
 * It prints "ready" and the descriptors of the owners (-1 for the process) when
 * all pins are there. It reads commands: "unpin NUMBER" (counted from 0),
 * "release NUMBER", "access NUMBER", "quit"; and prints "done" after each.
 */

#include <daxpin.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PINNER_MAX    600
#define PINNER_LENGTH 65536

static daxpin_file_t *files[PINNER_MAX];
static daxpin_pin_t *pins[PINNER_MAX];
static daxpin_owner_t owners[PINNER_MAX];

static void pinner_fail(const char *what)
{
    fprintf(stderr, "pinner: %s: %s\n", what, daxpin_errormsg());
    exit(1);
}

static void pinner_pin(int number, char *spec)
{
    char *owner = strchr(spec, '=');

    if (owner == NULL) {
        pinner_fail(spec);
    }
    *owner++               = '\0';
    owners[number].fd      = -1;
    if (strcmp(owner, "same") == 0) {
        owners[number] = owners[number - 1];
    } else if ((strcmp(owner, "process") != 0) &&
               (strcmp(owner, "none") != 0)) {
        owners[number].type = DAXPIN_OWNER_FILE;
        owners[number].fd   = open(owner, O_RDONLY | O_CLOEXEC);
        if (owners[number].fd < 0) {
            perror(owner);
            exit(1);
        }
    }
    if (daxpin_file_open(spec, PINNER_LENGTH, NULL, &files[number]) != 0) {
        pinner_fail(spec);
    }
    if (strcmp(owner, "none") == 0) {
        return;
    }
    if (daxpin_pin(files[number], 0, 4096u * (unsigned)(number % 8 + 1),
                   &owners[number], &pins[number]) != 0) {
        pinner_fail(spec);
    }
}

int main(int argc, char **argv)
{
    char line[64], verb[16];
    int i, number;

    for (i = 1; (i < argc) && (i <= PINNER_MAX); ++i) {
        pinner_pin(i - 1, argv[i]);
    }
    printf("ready");
    for (i = 0; i < argc - 1; ++i) {
        printf(" %d", owners[i].fd);
    }
    printf("\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        number = 0;
        if ((sscanf(line, "%15s %d", verb, &number) < 1) || (number < 0) ||
            (number >= argc - 1) || (strcmp(verb, "quit") == 0)) {
            break;
        }
        if (strcmp(verb, "unpin") == 0) {
            daxpin_unpin(pins[number]);
            pins[number] = NULL;
        } else if ((strcmp(verb, "release") == 0) &&
                   (daxpin_lease_release(files[number]) != 0)) {
            pinner_fail("release");
        } else if ((strcmp(verb, "access") == 0) &&
                   (daxpin_file_persist(files[number], 0, 64) != 0)) {
            pinner_fail("access");
        }
        printf("done\n");
        fflush(stdout);
    }
    if (feof(stdin) || ferror(stdin)) {
        fprintf(stderr, "pinner %d: its input has ended\n", (int)getpid());
    }
    return 0;
}
