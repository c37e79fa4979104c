/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin env: print the environment in which programs find daxpin */

#include "commands.h"
#include "env.h"
#include "launcher.h"
#include "list.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The full name, with the project before it. By the short name mpirun of Open
 * MPI 5 sets PMIx' path as well, and loses PMIx' own components; that of 5.0
 * also sets PMIx' path as Open MPI's in the ranks. */
#define ENV_MCA_PATH       "OMPI_MCA_opal_mca_base_component_path"
#define ENV_MCA_PATH_SHORT "OMPI_MCA_mca_base_component_path"

/* Files with parameters of Open MPI. The system's is where it was built for. */
#define ENV_MCA_FILES       "OMPI_MCA_mca_base_param_files"
#define ENV_MCA_FILE_USER   "/.openmpi/mca-params.conf"
#define ENV_MCA_FILE_SYSTEM "openmpi-mca-params.conf"
#define ENV_MCA_FILE_MAX    65536 /* bytes */

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

/* Return the value if a line of a file sets the component path, or NULL. It is in
 * the line, which this cuts. */
static char *env_mca_value(char *line)
{
    static const char *const names[] = {"opal_mca_base_component_path",
                                        "mca_base_component_path"};
    char *value, *end;
    size_t i, length;

    line += strspn(line, " \t");
    for (i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        length = strlen(names[i]);
        value  = line + length;
        if ((strncmp(line, names[i], length) == 0) &&
            (value[strspn(value, " \t")] == '=')) {
            value += strspn(value, " \t") + 1;
            value += strspn(value, " \t");
            end    = value + strlen(value);
            while ((end > value) && (strchr(" \t\r\n", end[-1]) != NULL)) {
                --end;
            }
            *end = '\0';
            return value;
        }
    }
    return NULL;
}

/* Return the component path that a file sets, to be freed, or NULL. The last line
 * counts. */
static char *env_mca_read(const char *path)
{
    /* It may be anything of another user's, as HOME is of "su" */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *found = NULL, *line = NULL, *value;
    size_t size = 0, left = ENV_MCA_FILE_MAX;
    struct stat st;
    ssize_t length;
    FILE *file;

    if ((fd < 0) || (fstat(fd, &st) != 0) || !S_ISREG(st.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    file = fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
        return NULL;
    }
    while (((length = getline(&line, &size, file)) > 0) &&
           ((size_t)length <= left)) {
        left -= (size_t)length;
        value = env_mca_value(line);
        if ((value != NULL) && (value[0] != '\0')) {
            free(found);
            found = strdup(value);
        }
    }
    free(line);
    fclose(file);
    return found;
}

/* As env_mca_read(), of a file in a directory; NULL: there is none */
static char *env_mca_read_in(const char *dir, const char *name)
{
    char path[PATH_MAX];

    if ((dir == NULL) ||
        (snprintf(path, sizeof(path), "%s/%s", dir, name) >=
         (int)sizeof(path))) {
        return NULL;
    }
    return env_mca_read(path);
}

/* Return the component path that the system's file sets, to be freed, or NULL.
 * The file is in the directory etc beside that of mpirun, or where Debian has
 * it. */
static char *env_mca_read_system(void)
{
    const char *prefix = getenv("OPAL_PREFIX");
    char *program, *slash, *value;

    if (prefix != NULL) {
        return env_mca_read_in(prefix, "etc/" ENV_MCA_FILE_SYSTEM);
    }
    program = daxpin_launcher_find("mpirun");
    slash   = (program != NULL) ? strrchr(program, '/') : NULL;
    if (slash == NULL) {
        free(program);
        return NULL;
    }
    *slash = '\0';
    value  = env_mca_read_in(program, "../etc/" ENV_MCA_FILE_SYSTEM);
    if ((value == NULL) && (strcmp(program, "/usr/bin") == 0)) {
        value = env_mca_read("/etc/openmpi/" ENV_MCA_FILE_SYSTEM);
    }
    free(program);
    return value;
}

/* Return the component path that Open MPI has without a variable, which the
 * variable hides: that of the first file that sets it. To be freed; NULL: none
 * does. */
static char *env_mca_read_files(void)
{
    const char *files = getenv(ENV_MCA_FILES);
    char path[PATH_MAX], *value = NULL;

    if (files != NULL) {
        while ((value == NULL) &&
               daxpin_list_next(&files, path, sizeof(path))) {
            value = env_mca_read(path);
        }
        return value;
    }
    value = env_mca_read_in(getenv("HOME"), ENV_MCA_FILE_USER);
    return (value != NULL) ? value : env_mca_read_system();
}

/* Set the variable to a list with the directories of this daxpin before it. They
 * come before those of another one, so that all parts are of the same one. */
static int env_set_mca(const daxpin_place_t *place, const char *list,
                       daxpin_env_func_t func)
{
    char *value, *ours;
    int ret;

    ours = env_mca_missing(place, list);
    if (ours == NULL) {
        ret = -1;
    } else if (list[0] == '\0') {
        /* Open MPI stops at the first directory that does not exist. The user's
         * own directory often does not, so it comes last. */
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

static int env_walk_mca(const daxpin_place_t *place, daxpin_env_func_t func)
{
    const char *list = getenv(ENV_MCA_PATH);
    char *files      = NULL;
    int ret;

    if (place->mca_count == 0) {
        return 0;
    }
    if (list == NULL) {
        list = getenv(ENV_MCA_PATH_SHORT); /* which the full name hides */
    }
    if (list == NULL) {
        files = env_mca_read_files(); /* likewise */
        list  = (files != NULL) ? files : "";
    }
    ret = env_set_mca(place, list, func);
    free(files);
    return ret;
}

/* Add the directory of the command to PATH. Without PATH, programs are found in
 * directories of the system, and must be found there still. */
static int env_add_path(const daxpin_place_t *place, daxpin_env_func_t func)
{
    char system[PATH_MAX] = "", value[2 * PATH_MAX];

    if (getenv("PATH") != NULL) {
        return daxpin_env_add("PATH", place->bin, ':', 1, func);
    }
    confstr(_CS_PATH, system, sizeof(system));
    snprintf(value, sizeof(value), "%s%s%s", place->bin,
             (system[0] != '\0') ? ":" : "", system);
    return func("PATH", value);
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

    ret = env_add_path(place, func);
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
