/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Which MPI a command such as mpirun belongs to */

#include "launcher.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *launcher_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return (slash == NULL) ? path : slash + 1;
}

char *daxpin_launcher_find(const char *command)
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

static int launcher_is_known(const char *name)
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

static int launcher_is_of_mpich(const char *name)
{
    return (strstr(name, "mpich") != NULL) || (strstr(name, "hydra") != NULL);
}

int daxpin_launcher_is_mpich(const char *command)
{
    char *path = daxpin_launcher_find(command);
    int ret    = launcher_is_of_mpich(
            launcher_name((path != NULL) ? path : command));

    free(path);
    return ret;
}

int daxpin_launcher_is_ompi(const char *command)
{
    char *path       = daxpin_launcher_find(command);
    const char *name = launcher_name((path != NULL) ? path : command);
    int ret          = !launcher_is_of_mpich(name) &&
                       (launcher_is_known(name) ||
                        launcher_is_known(launcher_name(command)));

    free(path);
    return ret;
}
