/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The daxpin command: choose one of its commands */

#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct daxpin_cmd {
    const char *name;
    const char *usage;     /* in the list of commands; NULL: not listed */
    const char *help;
    const char *arguments; /* all of them */
    int (*func)(int argc, char **argv);
} daxpin_cmd_t;

static const daxpin_cmd_t daxpin_cmds[] = {
    { "env", "env", "print the variables with which programs find daxpin",
      "(as in: eval \"$(daxpin env)\")", daxpin_cmd_env },
    { "run", "run COMMAND...", "run a command with these variables and UCX_MD",
      "[--] COMMAND [ARGUMENT]...", daxpin_cmd_run },
    { "info", "info FILE|DIR...", "what daxpin can do with a file, and why not",
      "[--json] FILE|DIRECTORY...", daxpin_cmd_info },
    { "doctor", "doctor [-- MPIRUN...]",
      "check whether daxpin is on and, if not, why",
      "[--json] [--strict] [--no-job] [FILE|DIRECTORY]... "
      "[-- LAUNCHER [OPTION]...]", daxpin_cmd_doctor },
    { "pins", "pins [PID]...", "list pinned files, by process and owner",
      "[--json | --prometheus[=FILE]] [--watch[=SECONDS]] [PID]...",
      daxpin_cmd_pins },
    { "try-ucx", NULL, NULL, "PLUGIN", daxpin_cmd_try_ucx } /* for doctor */
};

#define DAXPIN_CMD_COUNT (sizeof(daxpin_cmds) / sizeof(daxpin_cmds[0]))

static void daxpin_usage(FILE *stream)
{
    size_t i;

    fprintf(stream, "usage:\n");
    for (i = 0; i < DAXPIN_CMD_COUNT; ++i) {
        if (daxpin_cmds[i].usage != NULL) {
            fprintf(stream, "    daxpin %-22s %s\n", daxpin_cmds[i].usage,
                    daxpin_cmds[i].help);
        }
    }
    fprintf(stream, "    daxpin --version\n"
                    "    daxpin --help\n"
                    "See daxpin(1) and daxpin(7).\n");
}

static const daxpin_cmd_t *daxpin_find(const char *name)
{
    size_t i;

    for (i = 0; i < DAXPIN_CMD_COUNT; ++i) {
        if (strcmp(name, daxpin_cmds[i].name) == 0) {
            return &daxpin_cmds[i];
        }
    }
    return NULL;
}

static void daxpin_usage_of(FILE *stream, const daxpin_cmd_t *command)
{
    fprintf(stream, "usage: daxpin %s %s\n", command->name,
            command->arguments);
}

static int daxpin_asks_for_help(const char *argument)
{
    return (strcmp(argument, "--help") == 0) || (strcmp(argument, "-h") == 0);
}

int daxpin_cmd_usage(const char *command)
{
    daxpin_usage_of(stderr, daxpin_find(command));
    return 2;
}

int daxpin_cmd_flush(const char *command)
{
    if ((fflush(stdout) != 0) || ferror(stdout)) {
        fprintf(stderr, "daxpin %s: cannot write to standard output: %s\n",
                command, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char name[32];
    const daxpin_cmd_t *command;

    if (argc < 2) {
        daxpin_usage(stderr);
        return 2;
    }
    if (daxpin_asks_for_help(argv[1])) {
        daxpin_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts(PACKAGE_STRING);
        return 0;
    }
    command = daxpin_find(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "daxpin: unknown command %s\n", argv[1]);
        daxpin_usage(stderr);
        return 2;
    }
    if ((argc > 2) && daxpin_asks_for_help(argv[2])) {
        daxpin_usage_of(stdout, command);
        printf("See daxpin(1).\n");
        return 0;
    }
    snprintf(name, sizeof(name), "daxpin %s", argv[1]);
    argv[1] = name; /* for messages of getopt_long() */
    return command->func(argc - 1, argv + 1);
}
