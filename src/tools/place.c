/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Where the parts of this daxpin are: an installed prefix or a build tree */

#include "place.h"

#include "probe.h"

#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int place_print(char *buffer, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static int place_print(char *buffer, const char *format, ...)
{
    va_list ap;
    int length;

    va_start(ap, format);
    length = vsnprintf(buffer, PATH_MAX, format, ap);
    va_end(ap);
    if (length >= PATH_MAX) {
        fprintf(stderr,
                "daxpin: the path %.80s... is too long; install daxpin in a "
                "place with a shorter path\n",
                buffer);
        return -1;
    }
    return 0;
}

static int place_strip(char *path, const char *suffix)
{
    size_t length = strlen(path), suffix_length = strlen(suffix);

    if ((length <= suffix_length) ||
        (strcmp(path + length - suffix_length, suffix) != 0)) {
        return 0;
    }
    path[length - suffix_length] = '\0';
    return 1;
}

static void place_add_mca(daxpin_place_t *place, const char *pattern)
{
    glob_t found;
    char *slash;
    size_t i;

    if (glob(pattern, 0, NULL, &found) != 0) {
        return;
    }
    for (i = 0; i < found.gl_pathc; ++i) {
        slash  = strrchr(found.gl_pathv[i], '/');
        *slash = '\0';
        if ((place->mca_count < DAXPIN_MCA_DIRS_MAX) &&
            ((place->mca_count == 0) ||
             (strcmp(place->mca[place->mca_count - 1], found.gl_pathv[i]) !=
              0)) &&
            (place_print(place->mca[place->mca_count], "%s",
                         found.gl_pathv[i]) == 0)) {
            ++place->mca_count;
        }
    }
    globfree(&found);
}

/* A build tree: exe is TOP/src/tools[/.libs]/daxpin */
static int place_find_tree(daxpin_place_t *place, const char *top)
{
    char pattern[PATH_MAX];

    place->uninstalled = 1;
    if ((place_print(place->bin, "%s/src/tools", top) != 0) ||
        (place_print(place->lib, "%s/src/daxpin/.libs", top) != 0) ||
        (place_print(place->ucx_plugin_path, "%s/src/ucx_daxpin/.libs/%s", top,
                     DAXPIN_UCX_PLUGIN_FILE) != 0) ||
        (place_print(place->probe, "%s/src/tools/" PROBE_FILE, top) != 0) ||
        (place_print(pattern, "%s/src/ompi_mca/*/.libs/mca_*_daxpin.so", top) !=
         0)) {
        return -1;
    }
    place_add_mca(place, pattern);
    return 0;
}

/* Print a directory below the configured prefix, which may have been moved */
static int place_move(char *buffer, const char *prefix, const char *dir)
{
    size_t length = strlen(DAXPIN_PREFIX);

    if ((strncmp(dir, DAXPIN_PREFIX, length) == 0) && (dir[length] == '/')) {
        return place_print(buffer, "%s%s", prefix, dir + length);
    }
    return place_print(buffer, "%s", dir);
}

static int place_find_prefix(daxpin_place_t *place, const char *bin)
{
    char prefix[PATH_MAX], dir[PATH_MAX], pattern[PATH_MAX];
    const char *bin_suffix = DAXPIN_BINDIR;
    size_t length          = strlen(DAXPIN_PREFIX);

    if (strncmp(DAXPIN_BINDIR, DAXPIN_PREFIX, length) == 0) {
        bin_suffix += length;
    }
    if ((place_print(prefix, "%s", bin) != 0) ||
        (place_print(place->bin, "%s", bin) != 0)) {
        return -1;
    }
    if (!place_strip(prefix, bin_suffix)) {
        snprintf(prefix, sizeof(prefix), "%s", DAXPIN_PREFIX);
    }

    if ((place_move(place->lib, prefix, DAXPIN_LIBDIR) != 0) ||
        (place_move(dir, prefix, DAXPIN_PROBEDIR) != 0) ||
        (place_print(place->probe, "%s/" PROBE_FILE, dir) != 0) ||
        (place_move(dir, prefix, DAXPIN_UCXMODULEDIR) != 0) ||
        (place_print(place->ucx_plugin_path, "%s/%s", dir,
                     DAXPIN_UCX_PLUGIN_FILE) != 0) ||
        (place_move(dir, prefix, DAXPIN_MCACOMPONENTDIR) != 0) ||
        (place_print(pattern, "%s/mca_*_daxpin.so", dir) != 0)) {
        return -1;
    }
    place_add_mca(place, pattern);
    return 0;
}

int daxpin_place_find(daxpin_place_t *place)
{
    char exe[PATH_MAX], top[PATH_MAX], lib[PATH_MAX];
    ssize_t length;
    int ret;

    memset(place, 0, sizeof(*place));
    length = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (length < 0) {
        fprintf(stderr,
                "daxpin: cannot read /proc/self/exe to find its parts: %s; "
                "mount /proc\n",
                strerror(errno));
        return -1;
    }
    exe[length]        = '\0';
    *strrchr(exe, '/') = '\0';
    memcpy(top, exe, sizeof(top));
    (void)place_strip(top, "/.libs");
    if (place_strip(top, "/src/tools") &&
        (place_print(lib, "%s/src/daxpin/libdaxpin.la", top) == 0) &&
        (access(lib, R_OK) == 0)) {
        ret = place_find_tree(place, top);
    } else {
        ret = place_find_prefix(place, exe);
    }
    if (ret != 0) {
        return ret;
    }

    if (access(place->ucx_plugin_path, R_OK) == 0) {
        memcpy(place->ucx_plugin, place->ucx_plugin_path,
               sizeof(place->ucx_plugin));
    }
    return 0;
}
