/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin run: run a command in the environment of `daxpin env`, with UCX_MD */

#include "commands.h"
#include "env.h"

#include <errno.h>
#include <limits.h>
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

static const char *run_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return (slash == NULL) ? path : slash + 1;
}

/* Find the program that execvp() would start, behind symbolic links. Return its
 * path, to be freed, or NULL. */
static char *run_find(const char *command)
{
    const char *dir, *end;
    char *found = NULL;
    char path[PATH_MAX];

    if (strchr(command, '/') != NULL) {
        return realpath(command, NULL);
    }
    dir = getenv("PATH");
    for (; (dir != NULL) && (found == NULL);
         dir = (*end == '\0') ? NULL : end + 1) {
        end = strchrnul(dir, ':');
        snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - dir), dir,
                 (end == dir) ? "./" : "/", command);
        found = (access(path, X_OK) == 0) ? realpath(path, NULL) : NULL;
    }
    return found;
}

static int run_is_launcher_name(const char *name)
{
    static const char *const launchers[] = {"mpirun",  "mpiexec", "orterun",
                                            "prterun", "prun",    "srun"};
    size_t i;

    for (i = 0; i < sizeof(launchers) / sizeof(launchers[0]); ++i) {
        if (strcmp(name, launchers[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Check whether a command only starts other programs, by Open MPI or Slurm. In a
 * program of Open MPI hook_daxpin loads the plug-in. The launchers of MPICH have
 * the same names, but lead to hydra: its programs have no hook. */
static int run_is_launcher(const char *command)
{
    char *path       = run_find(command);
    const char *name = run_name((path != NULL) ? path : command);
    int is_mpich     = (strstr(name, "mpich") != NULL) ||
                       (strstr(name, "hydra") != NULL);
    int ret          = !is_mpich && (run_is_launcher_name(name) ||
                                     run_is_launcher_name(run_name(command)));

    free(path);
    return ret;
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
    if (run_is_launcher(command) && (place->mca_count > 0)) {
        return 0;
    }
    return daxpin_env_add("LD_PRELOAD", place->ucx_plugin, ':', 0, run_set);
}

int daxpin_cmd_run(int argc, char **argv)
{
    static daxpin_place_t place;
    int first = 1;

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
    fprintf(stderr, "daxpin run: cannot start %s: %s\n", argv[first],
            strerror(errno));
    return (errno == ENOENT) ? RUN_EXIT_NOT_FOUND : RUN_EXIT_CANNOT;
}
