/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: whether Open MPI finds daxpin's components and may use them */

#include "checkup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OMPI_INFO_TIME   60 /* seconds */
#define OMPI_SYSTEM_FILE "/openmpi-mca-params.conf"

/* A parameter of Open MPI: its value, and where that was set */
typedef struct ompi_param {
    const char *name;
    char       value[1024];
    char       source[1024]; /* "default", "environment", "file (...)" */
} ompi_param_t;

static int ompi_has(const char *output, const char *begin)
{
    return daxpin_capture_find(output, begin) != NULL;
}

/* Copy the rest of that line; "" if there is none */
static void ompi_find(const char *output, const char *begin, char *rest,
                      size_t size)
{
    const char *found = daxpin_capture_find(output, begin);

    found = (found != NULL) ? found : "";
    snprintf(rest, size, "%.*s", (int)strcspn(found, "\n"), found);
}

static int ompi_is_set_by_full_name(const char *name)
{
    char full[256];

    snprintf(full, sizeof(full), "OMPI_MCA_opal_%s", name);
    return getenv(full) != NULL;
}

/* Read a parameter. owner: "framework:component", as ompi_info prints it. */
static void ompi_param(const char *output, const char *owner, const char *name,
                       ompi_param_t *param)
{
    char begin[256];
    char *value = param->value;
    size_t length;

    param->name = name;
    snprintf(begin, sizeof(begin), "mca:%s:param:%s:value:", owner, name);
    ompi_find(output, begin, value, sizeof(param->value));
    length = strlen(value);
    if ((length > 1) && (value[0] == '"')) { /* the value has a colon */
        value[length - 1] = '\0';
        memmove(value, value + 1, length - 1);
    }
    snprintf(begin, sizeof(begin), "mca:%s:param:%s:source:", owner, name);
    ompi_find(output, begin, param->source, sizeof(param->source));
    /* ompi_info 4.1 reports a default for what a synonym sets */
    snprintf(begin, sizeof(begin), "OMPI_MCA_%s", name);
    if ((getenv(begin) != NULL) || ompi_is_set_by_full_name(name)) {
        snprintf(param->source, sizeof(param->source), "environment");
    }
}

/* Check whether a parameter is a default of the system, which hook_daxpin
 * overrides */
static int ompi_is_default(const ompi_param_t *param)
{
    return (param->source[0] == '\0') ||
           (strcmp(param->source, "default") == 0) ||
           ((strncmp(param->source, "file (", 6) == 0) &&
            (strstr(param->source, OMPI_SYSTEM_FILE) != NULL));
}

/* Check whether a list of components allows one of them */
static int ompi_allows(const char *list, const char *component)
{
    return (list[0] == '\0')  ? 1 :
           (list[0] == '^')   ? !daxpin_list_has(list + 1, component) :
                                daxpin_list_has(list, component);
}

static void ompi_check_path(daxpin_checkup_t *checkup, const char *output)
{
    char *dir, *save = NULL;
    ompi_param_t path;

    ompi_param(output, "mca:base", "mca_base_component_path", &path);
    for (dir = strtok_r(path.value, ":", &save); dir != NULL;
         dir = strtok_r(NULL, ":", &save)) {
        if ((strcmp(dir, "SYSTEM_DEFAULT") != 0) &&
            (strcmp(dir, "USER_DEFAULT") != 0) && (access(dir, X_OK) != 0) &&
            !ompi_is_default(&path)) {
            daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "component path",
                               "mca_base_component_path (%s) names %s, which "
                               "does not exist, and Open MPI searches no "
                               "further; remove it from the list", path.source,
                               dir);
        }
    }
}

/* The launcher of Open MPI 5 sets the variable OMPI_MCA_mca_base_component_path for
 * the ranks, to the directory of PMIx's components. Only the full name goes before
 * that. */
static void ompi_check_launcher(daxpin_checkup_t *checkup, unsigned major)
{
    if ((major >= 5) && checkup->hook &&
        !ompi_is_set_by_full_name("mca_base_component_path")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "component path",
                           "mpirun of Open MPI %u may set another one for its "
                           "ranks (Debian's does): then they do not find "
                           "hook_daxpin, and files that programs map are not "
                           "leased; use `eval \"$(daxpin env)\"`, which sets "
                           "OMPI_MCA_opal_mca_base_component_path", major);
    }
}

static void ompi_check_components(daxpin_checkup_t *checkup, const char *output)
{
    static const struct {
        const char *name, *begin, *loss;
    } components[] = {
        {"hook_daxpin", "mca:hook:daxpin:version:",
         "the UCX plug-in is not loaded, and files that programs map are not "
         "leased"},
        {"osc_daxpin", "mca:osc:daxpin:version:",
         "windows whose info names a file get ordinary memory"},
    };
    size_t i;
    int found;

    ompi_check_path(checkup, output);
    for (i = 0; i < sizeof(components) / sizeof(components[0]); ++i) {
        found         = ompi_has(output, components[i].begin);
        checkup->hook = (i == 0) ? found : checkup->hook;
        if (found) {
            daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, components[i].name,
                               "Open MPI finds it");
        } else {
            daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, components[i].name,
                               "Open MPI does not find it: %s; use `eval "
                               "\"$(daxpin env)\"`, or install it where Open "
                               "MPI searches", components[i].loss);
        }
    }
    if (!ompi_has(output, "mca:osc:ucx:version:")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "Open MPI's UCX",
                           "there is no component osc/ucx; install an Open MPI "
                           "built with UCX");
    }
}

/* Check which components the parameter osc allows: osc_daxpin for windows over
 * files, and osc/ucx for what it does between nodes */
static void ompi_check_osc(daxpin_checkup_t *checkup, const char *output)
{
    ompi_param_t choice;
    int by_hook;

    ompi_param(output, "osc:base", "osc", &choice);
    by_hook = ompi_is_default(&choice) && checkup->hook;
    if (ompi_allows(choice.value, "daxpin") &&
        ompi_allows(choice.value, "ucx")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "osc",
                           "allows daxpin and ucx");
    } else if (by_hook) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "osc",
                           "%s is the default here (%s), and hook_daxpin adds "
                           "to it what osc_daxpin needs", choice.value,
                           choice.source);
    } else if (ompi_allows(choice.value, "daxpin")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "osc",
                           "\"%s\" (%s) excludes osc/ucx%s: another component "
                           "reaches windows over files on other nodes; to have "
                           "osc/ucx do that, %s", choice.value, choice.source,
                           ompi_is_default(&choice) ?
                           ", and without hook_daxpin nothing adds it" : "",
                           ompi_is_default(&choice) ?
                           "have Open MPI find hook_daxpin" : "allow it");
    } else if (ompi_allows(choice.value, "ucx") &&
               !ompi_allows(choice.value, "rdma")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "osc_daxpin",
                           "\"%s\" (%s) excludes it: windows whose info names "
                           "a file get ordinary memory; unset it, or add "
                           "daxpin", choice.value, choice.source);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "osc",
                           "\"%s\" (%s) excludes osc_daxpin, and the others "
                           "ignore leases; unset it, or add daxpin",
                           choice.value, choice.source);
    }
}

/* Return whether daxpin's components know a release */
static int ompi_is_known(unsigned major, unsigned minor)
{
    char name[32];

    snprintf(name, sizeof(name), ", %u.%u,", major, minor);
    return strstr(", " DAXPIN_OMPI_KNOWN ",", name) != NULL;
}

static void ompi_check_output(daxpin_checkup_t *checkup, const char *output)
{
    char version[64];
    unsigned major = 0, minor = 0;
    int known;

    ompi_find(output, "ompi:version:full:", version, sizeof(version));
    sscanf(version, "%u.%u", &major, &minor);
    known = ompi_is_known(major, minor);
    daxpin_checkup_add(checkup, known ? DAXPIN_FINDING_OK :
                                        DAXPIN_FINDING_BAD,
                       "Open MPI", "%s%s", version, known ? "" :
                       ": daxpin knows " DAXPIN_OMPI_KNOWN ", and stays off "
                       "with any other release; use one of these");
    ompi_check_components(checkup, output);
    ompi_check_launcher(checkup, major);
    ompi_check_osc(checkup, output);
}

/* ompi_info reads all files and variables that Open MPI does */
void daxpin_check_ompi(daxpin_checkup_t *checkup)
{
    char info[] = "ompi_info", parsable[] = "--parsable", all[] = "--all";
    char *argv[] = {info, parsable, all, NULL};
    char *output   = NULL;
    int status;

    status        = daxpin_capture(argv, OMPI_INFO_TIME, &output);
    checkup->ompi = status != 127;
    if (!checkup->ompi && checkup->mpich) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, "Open MPI",
                           "there is no ompi_info in PATH: programs get what "
                           "daxpin does for MPICH");
    } else if ((status != 0) || (output == NULL) ||
        !ompi_has(output, "ompi:version:full:")) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "Open MPI",
                           (status == 127) ? "there is no ompi_info in PATH "
                           "(status %d); install openmpi-bin, or add Open "
                           "MPI's directory to PATH" : "ompi_info fails with "
                           "status %d; run it by hand", status);
    } else {
        ompi_check_output(checkup, output);
    }
    free(output);
}
