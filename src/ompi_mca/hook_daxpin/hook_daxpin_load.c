/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Finding and loading the UCX plug-in */

#include "hook_daxpin.h"

#include "ompi/mca/hook/base/base.h"
#include "opal/util/output.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOOK_DAXPIN_MODULE_ENV  "DAXPIN_UCX_MODULE"
#define HOOK_DAXPIN_MODULE_FILE "libuct_daxpin.so.0"

/* Find PREFIX/lib/ucx/libuct_daxpin.so.0 from the path of this hook, which is
 * PREFIX/lib/openmpi/mca_hook_daxpin.so */
static int hook_daxpin_load_near(char *path, size_t size)
{
    Dl_info info;
    char    self[PATH_MAX];
    int     i, length;

    if ((dladdr((void *)hook_daxpin_load_near, &info) == 0) ||
        (realpath(info.dli_fname, self) == NULL)) {
        return 0;
    }
    for (i = 0; i < 2; ++i) {
        if (strrchr(self, '/') == NULL) {
            return 0;
        }
        *strrchr(self, '/') = '\0';
    }
    length = snprintf(path, size, "%s/ucx/%s", self, HOOK_DAXPIN_MODULE_FILE);
    return (length < (int)size) && (access(path, R_OK) == 0);
}

static const char *hook_daxpin_load_find(const char *parameter, char *buffer,
                                         size_t size, const char **why_p)
{
    const char *path = getenv(HOOK_DAXPIN_MODULE_ENV);

    if ((path != NULL) && (path[0] != '\0')) {
        *why_p = "from " HOOK_DAXPIN_MODULE_ENV;
        return path;
    }
    if ((parameter != NULL) && (parameter[0] != '\0')) {
        *why_p = "from the MCA parameter hook_daxpin_module";
        return parameter;
    }
    if (hook_daxpin_load_near(buffer, size)) {
        *why_p = "found near mca_hook_daxpin.so";
        return buffer;
    }
    snprintf(buffer, size, "%s/%s", DAXPIN_UCXMODULEDIR,
             HOOK_DAXPIN_MODULE_FILE);
    if (access(buffer, R_OK) == 0) {
        *why_p = "where daxpin was installed";
        return buffer;
    }
    *why_p = "in the dynamic linker's path, because it is nowhere else";
    return HOOK_DAXPIN_MODULE_FILE;
}

static int hook_daxpin_is_loaded;

/* If the plug-in was preloaded from elsewhere as well, that one is found */
static int hook_daxpin_configure(void)
{
    int (*func)(void);

    *(void**)&func = dlsym(RTLD_DEFAULT, "uct_daxpin_configure");
    return (func == NULL) ? -1 : func();
}

int hook_daxpin_load(const char *parameter)
{
    char        buffer[PATH_MAX];
    const char *why, *path;

    path = hook_daxpin_load_find(parameter, buffer, sizeof(buffer), &why);

    /* It is never closed, because UCX refers to it until the process ends */
    if (dlopen(path, RTLD_NOW | RTLD_GLOBAL) == NULL) {
        opal_output(0,
                    "hook/daxpin: UCX_MD names daxpin, but its UCX module "
                    "%s (%s) cannot be loaded: %s. Files are NOT protected. "
                    "Set " HOOK_DAXPIN_MODULE_ENV
                    " to the file name of " HOOK_DAXPIN_MODULE_FILE
                    " and pass it on with mpirun -x, or use "
                    "`eval \"$(daxpin env)\"`.",
                    path, why, dlerror());
        return -1;
    }
    if (hook_daxpin_configure() != 0) {
        opal_output(0,
                    "hook/daxpin: UCX_MD names daxpin, but its UCX module "
                    "%s (%s) cannot be used; see the messages above. Files "
                    "are NOT protected. `daxpin doctor` finds the cause.",
                    path, why);
        return -1;
    }
    hook_daxpin_is_loaded = 1;
    opal_output_verbose(10, ompi_hook_base_framework.framework_output,
                        "hook/daxpin: loaded %s (%s)", path, why);
    return 0;
}

void hook_daxpin_unload(void)
{
    void (*func)(void);

    *(void**)&func = dlsym(RTLD_DEFAULT, "uct_daxpin_unconfigure");
    if (hook_daxpin_is_loaded && (func != NULL)) {
        func();
    }
    hook_daxpin_is_loaded = 0;
}
