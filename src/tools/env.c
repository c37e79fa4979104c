/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin env: print the environment in which programs find daxpin */

#include "commands.h"
#include "env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The full name, with the project before it. By the short name mpirun of Open
 * MPI 5 sets PMIx' path as well, and loses PMIx' own components; that of 5.0
 * also sets PMIx' path as Open MPI's in the ranks. */
#define ENV_MCA_PATH       "OMPI_MCA_opal_mca_base_component_path"
#define ENV_MCA_PATH_SHORT "OMPI_MCA_mca_base_component_path"

static int env_list_has(const char *list, const char *element, char separator)
{
    size_t length = strlen(element);
    const char *p = list;

    for (;;) {
        if ((strncmp(p, element, length) == 0) &&
            ((p[length] == separator) || (p[length] == '\0'))) {
            return 1;
        }
        p = strchr(p, separator);
        if (p == NULL) {
            return 0;
        }
        ++p;
    }
}

int daxpin_env_add(const char *name, const char *element, char separator,
                   int before, daxpin_env_func_t func)
{
    const char *list = getenv(name);
    char *value;
    int ret;

    if ((list == NULL) || (list[0] == '\0')) {
        return func(name, element);
    }
    if (env_list_has(list, element, separator)) {
        return func(name, list);
    }
    ret = before ? asprintf(&value, "%s%c%s", element, separator, list) :
                   asprintf(&value, "%s%c%s", list, separator, element);
    if (ret < 0) {
        fprintf(stderr, "daxpin: out of memory for the new value of %s\n",
                name);
        return -1;
    }
    ret = func(name, value);
    free(value);
    return ret;
}

/* Return the directories with daxpin's components that are not in a list, with
 * colons between them; NULL: out of memory */
static char *env_mca_missing(const daxpin_place_t *place, const char *list)
{
    char *value = strdup("");
    char *longer;
    unsigned i;
    int ret;

    for (i = 0; (i < place->mca_count) && (value != NULL); ++i) {
        if (env_list_has(list, place->mca[i], ':')) {
            continue;
        }
        ret = asprintf(&longer, "%s%s%s", value,
                       (value[0] != '\0') ? ":" : "", place->mca[i]);
        free(value);
        value = (ret < 0) ? NULL : longer;
    }
    return value;
}

/* Open MPI stops at the first directory that does not exist. The user's own
 * directory often does not, so it comes last. The directories of this daxpin
 * come before those of another one, so that all parts are of the same one. */
static int env_walk_mca(const daxpin_place_t *place, daxpin_env_func_t func)
{
    const char *list = getenv(ENV_MCA_PATH);
    char *value, *ours;
    int ret;

    if (place->mca_count == 0) {
        return 0;
    }
    if (list == NULL) {
        list = getenv(ENV_MCA_PATH_SHORT); /* which the full name hides */
    }
    list = (list != NULL) ? list : "";
    ours = env_mca_missing(place, list);
    if (ours == NULL) {
        ret = -1;
    } else if (list[0] == '\0') {
        ret = asprintf(&value, "SYSTEM_DEFAULT:%s:USER_DEFAULT", ours);
    } else {
        ret = asprintf(&value, "%s%s%s", ours, (ours[0] != '\0') ? ":" : "",
                       list);
    }
    free(ours);
    if (ret < 0) {
        fprintf(stderr, "daxpin: out of memory for the new value of %s\n",
                ENV_MCA_PATH);
        return -1;
    }
    ret = func(ENV_MCA_PATH, value);
    free(value);
    return ret;
}

/* Check whether the dynamic linker searches a directory by itself */
static int env_is_standard(const char *dir)
{
    static const char *const standard[] = {"/lib", "/usr/lib", "/lib64",
                                           "/usr/lib64", "/usr/local/lib"};
    size_t i;

    for (i = 0; i < sizeof(standard) / sizeof(standard[0]); ++i) {
        if (strcmp(dir, standard[i]) == 0) {
            return 1;
        }
    }
    return (strncmp(dir, "/usr/lib/", 9) == 0) &&
           (strstr(dir, "-linux-gnu") != NULL);
}

/* Have UCX find the component by itself, which it can since 1.22. It looks into
 * a directory. */
static int env_add_plugin(const daxpin_place_t *place, daxpin_env_func_t func)
{
#if DAXPIN_UCX_ABI >= 122
    char dir[PATH_MAX];

    snprintf(dir, sizeof(dir), "%.*s",
             (int)(strrchr(place->ucx_plugin, '/') - place->ucx_plugin),
             place->ucx_plugin);
    return daxpin_env_add("UCX_PLUGIN_PATH", dir, ':', 1, func);
#else
    (void)place;
    (void)func;
    return 0;
#endif
}

int daxpin_env_walk(const daxpin_place_t *place, daxpin_env_func_t func)
{
    int ret;

    ret = daxpin_env_add("PATH", place->bin, ':', 1, func);
    if ((ret == 0) && !env_is_standard(place->lib)) {
        ret = daxpin_env_add("LD_LIBRARY_PATH", place->lib, ':', 1, func);
    }
    if ((ret == 0) && (place->ucx_plugin[0] != '\0')) {
        ret = func("DAXPIN_UCX_MODULE", place->ucx_plugin);
        if (ret == 0) {
            ret = env_add_plugin(place, func);
        }
    }
    if (ret == 0) {
        ret = env_walk_mca(place, func);
    }
    return ret;
}

/* Print export NAME='value', for any POSIX shell */
static int env_print(const char *name, const char *value)
{
    const char *p;

    printf("export %s='", name);
    for (p = value; *p != '\0'; ++p) {
        if (*p == '\'') {
            fputs("'\\''", stdout);
        } else {
            putchar(*p);
        }
    }
    puts("'");
    return 0;
}

int daxpin_cmd_env(int argc, char **argv)
{
    static daxpin_place_t place;

    if (argc > 1) {
        fprintf(stderr, "daxpin env: unexpected argument %s\n", argv[1]);
        return daxpin_cmd_usage("env");
    }
    if ((daxpin_place_find(&place) != 0) ||
        (daxpin_env_walk(&place, env_print) != 0)) {
        return 1;
    }
    if (daxpin_cmd_flush("env") != 0) {
        return 1;
    }
    if (place.ucx_plugin[0] == '\0') {
        fprintf(stderr,
                "daxpin env: warning: the UCX plug-in is not at %s; build "
                "daxpin with UCX and install it\n",
                place.ucx_plugin_path);
    }
    if (place.mca_count == 0) {
        fprintf(stderr,
                "daxpin env: warning: no Open MPI component of daxpin was "
                "found; build daxpin with Open MPI and install it\n");
    }
    return 0;
}
