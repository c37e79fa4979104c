/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin run: run a command in the environment of `daxpin env`, with UCX_MD */

#include "commands.h"
#include "env.h"
#include "launcher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit statuses as of env(1) and nohup(1) */
#define RUN_EXIT_CANNOT    126
#define RUN_EXIT_NOT_FOUND 127

static int run_set(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0) {
        fprintf(stderr, "daxpin run: cannot set %s: %s\n", name,
                strerror(errno));
        return -1;
    }
    return 0;
}

static int run_prepare(const daxpin_place_t *place, const char *command)
{
    if (place->ucx_plugin[0] == '\0') {
        fprintf(stderr,
                "daxpin run: cannot run %s with daxpin: the UCX plug-in is "
                "not at %s; build daxpin with UCX and install it\n",
                command, place->ucx_plugin_path);
        return -1;
    }
    if ((daxpin_env_walk(place, run_set) != 0) ||
        (daxpin_env_add("UCX_MD", "daxpin", ',', 0, run_set) != 0)) {
        return -1;
    }
    /* In a program of Open MPI hook_daxpin loads the plug-in. Programs of MPICH
     * have no hook. */
    if (daxpin_launcher_is_ompi(command) && (place->mca_count > 0)) {
        return 0;
    }
    return daxpin_env_add("LD_PRELOAD", place->ucx_plugin, ':', 0, run_set);
}

int daxpin_cmd_run(int argc, char **argv)
{
    static daxpin_place_t place;
    int error, first = 1;

    if ((first < argc) && (strcmp(argv[first], "--") == 0)) {
        ++first;
    } else if ((first < argc) && (argv[first][0] == '-')) {
        fprintf(stderr, "daxpin run: unknown option %s\n", argv[first]);
        first = argc;
    }
    if (first >= argc) {
        return daxpin_cmd_usage("run");
    }
    if ((daxpin_place_find(&place) != 0) ||
        (run_prepare(&place, argv[first]) != 0)) {
        return 1;
    }
    execvp(argv[first], &argv[first]);
    error = errno; /* a message may not come through */
    fprintf(stderr, "daxpin run: cannot start %s: %s\n", argv[first],
            strerror(error));
    return (error == ENOENT) ? RUN_EXIT_NOT_FOUND : RUN_EXIT_CANNOT;
}
