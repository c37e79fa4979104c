/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: check whether daxpin is on and, if not, why */

#include "checkup.h"
#include "commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct doctor_args {
    int  json;
    int  strict;
    int  no_job;
    char **paths;    /* up to NULL */
    char **launcher; /* NULL: none was given */
} doctor_args_t;

/* Find a program after the launcher's options. It would be started, with the
 * probe as an argument. */
static const char *doctor_find_program(char **launcher)
{
    for (++launcher; *launcher != NULL; ++launcher) {
        if ((launcher[0][0] != '-') && (strchr(*launcher, '/') != NULL) &&
            (access(*launcher, X_OK) == 0) &&
            (access(*launcher, R_OK) == 0) && (launcher[1] == NULL)) {
            return *launcher;
        }
    }
    return NULL;
}

static int doctor_parse(int argc, char **argv, doctor_args_t *args)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"strict", no_argument, NULL, 's'},
        {"no-job", no_argument, NULL, 'n'},
        {NULL}
    };
    const char *program;
    int option, i;

    /* What follows "--" is not for getopt_long() */
    for (i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "--") == 0) {
            args->launcher = &argv[i + 1];
            argv[i]        = NULL;
            argc           = i;
        }
    }
    while ((option = getopt_long(argc, argv, "jsn", options, NULL)) >= 0) {
        switch (option) {
        case 'j':
            args->json = 1;
            break;
        case 's':
            args->strict = 1;
            break;
        case 'n':
            args->no_job = 1;
            break;
        default:
            return -1;
        }
    }
    args->paths = &argv[optind];
    if (args->launcher == NULL) {
        return 0;
    }
    program = (args->launcher[0] != NULL) ?
                      doctor_find_program(args->launcher) :
                      "";
    if (program != NULL) {
        fprintf(stderr, "daxpin doctor: after --, name a launcher with its "
                "options, such as mpirun -n 4 -x UCX_MD=daxpin%s%s\n",
                (program[0] != '\0') ? ", without the program: " : "",
                program);
        return -1;
    }
    return 0;
}

static int doctor_has_colour(void)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

    return isatty(STDOUT_FILENO) && (term != NULL) &&
           (strcmp(term, "dumb") != 0) && ((no == NULL) || (no[0] == '\0'));
}

static void doctor_print_totals(const daxpin_checkup_t *checkup)
{
    const unsigned *counts = checkup->counts;

    if (checkup->json != NULL) {
        daxpin_json_close(checkup->json, ']');
        daxpin_json_number(checkup->json, "ok", counts[DAXPIN_FINDING_OK]);
        daxpin_json_number(checkup->json, "note", counts[DAXPIN_FINDING_NOTE]);
        daxpin_json_number(checkup->json, "warn", counts[DAXPIN_FINDING_WARN]);
        daxpin_json_number(checkup->json, "bad", counts[DAXPIN_FINDING_BAD]);
        daxpin_json_close(checkup->json, '}');
        putchar('\n');
        return;
    }
    printf("%u ok, %u notes, %u warnings, %u bad\n", counts[DAXPIN_FINDING_OK],
           counts[DAXPIN_FINDING_NOTE], counts[DAXPIN_FINDING_WARN],
           counts[DAXPIN_FINDING_BAD]);
}

static int doctor_status(const daxpin_checkup_t *checkup, int strict)
{
    return (daxpin_cmd_flush("doctor") != 0) ||
           (checkup->counts[DAXPIN_FINDING_BAD] > 0) ||
           (strict && (checkup->counts[DAXPIN_FINDING_WARN] > 0));
}

int daxpin_cmd_doctor(int argc, char **argv)
{
    static daxpin_checkup_t checkup;
    daxpin_json_t json = {.stream = stdout};
    doctor_args_t args = {0};

    if (doctor_parse(argc, argv, &args) != 0) {
        return daxpin_cmd_usage("doctor");
    }
    if (daxpin_place_find(&checkup.place) != 0) {
        return 1;
    }
    checkup.colour = doctor_has_colour();
    if (args.json) {
        checkup.json = &json;
        daxpin_json_open(&json, NULL, '{');
        daxpin_json_open(&json, "findings", '[');
    }
    daxpin_check_system(&checkup);
    daxpin_check_storage(&checkup, args.paths);
    daxpin_check_ucx(&checkup);
    daxpin_check_mpich(&checkup);
    daxpin_check_ompi(&checkup);
    if (!args.no_job) {
        daxpin_check_job(&checkup, args.launcher);
    }
    doctor_print_totals(&checkup);
    return doctor_status(&checkup, args.strict);
}
