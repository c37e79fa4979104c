/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Open MPI: does it find daxpin's components, and does it use UCX? As its own
 * ompi_info tells, for it knows all files and variables that count. */

#include "checkup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OMPI_INFO_TIME   60 /* seconds */
#define OMPI_SYSTEM_FILE "/openmpi-mca-params.conf"

/* A parameter: its value and who set it */
typedef struct ompi_param {
    const char *name;
    char       value[1024];
    char       source[1024]; /* "default", "environment", "file (...)" */
} ompi_param_t;

/* Return what follows in the first line that begins with a string; NULL: there
 * is no such line */
static const char *ompi_search(const char *said, const char *begin)
{
    size_t length = strlen(begin);
    const char *p = said;

    while ((p = strstr(p, begin)) != NULL) {
        if ((p == said) || (p[-1] == '\n')) {
            return p + length;
        }
        p += length;
    }
    return NULL;
}

static int ompi_has(const char *said, const char *begin)
{
    return ompi_search(said, begin) != NULL;
}

/* Copy the rest of that line; "" if there is none */
static void ompi_find(const char *said, const char *begin, char *rest,
                      size_t size)
{
    const char *found = ompi_search(said, begin);

    found = (found != NULL) ? found : "";
    snprintf(rest, size, "%.*s", (int)strcspn(found, "\n"), found);
}

/* framework:component as in the name of a line */
static void ompi_param(const char *said, const char *owner, const char *name,
                       ompi_param_t *param)
{
    char begin[256];
    char *value = param->value;
    size_t length;

    param->name = name;
    snprintf(begin, sizeof(begin), "mca:%s:param:%s:value:", owner, name);
    ompi_find(said, begin, value, sizeof(param->value));
    length = strlen(value);
    if ((length > 1) && (value[0] == '"')) { /* a colon is in it */
        value[length - 1] = '\0';
        memmove(value, value + 1, length - 1);
    }
    snprintf(begin, sizeof(begin), "mca:%s:param:%s:source:", owner, name);
    ompi_find(said, begin, param->source, sizeof(param->source));
    /* What a synonym sets, ompi_info of 4.1 calls a default */
    snprintf(begin, sizeof(begin), "OMPI_MCA_%s", name);
    if (getenv(begin) != NULL) {
        snprintf(param->source, sizeof(param->source), "environment");
    }
}

/* What comes from there, the hook overrides */
static int ompi_is_of_system(const ompi_param_t *param)
{
    return (param->source[0] == '\0') ||
           (strcmp(param->source, "default") == 0) ||
           ((strncmp(param->source, "file (", 6) == 0) &&
            (strstr(param->source, OMPI_SYSTEM_FILE) != NULL));
}

/* Does a list of components leave this one in? */
static int ompi_allows(const char *list, const char *component)
{
    return (list[0] == '\0')  ? 1 :
           (list[0] == '^')   ? !daxpin_list_has(list + 1, component) :
                                daxpin_list_has(list, component);
}

static void ompi_check_path(daxpin_checkup_t *checkup, const char *said)
{
    char *dir, *save = NULL;
    ompi_param_t path;

    ompi_param(said, "mca:base", "mca_base_component_path", &path);
    for (dir = strtok_r(path.value, ":", &save); dir != NULL;
         dir = strtok_r(NULL, ":", &save)) {
        if ((strcmp(dir, "SYSTEM_DEFAULT") != 0) &&
            (strcmp(dir, "USER_DEFAULT") != 0) && (access(dir, X_OK) != 0) &&
            !ompi_is_of_system(&path)) {
            daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, "component path",
                               "mca_base_component_path (%s) names %s, which "
                               "is not there, and Open MPI looks no further; "
                               "take it out", path.source, dir);
        }
    }
}

static void ompi_check_components(daxpin_checkup_t *checkup, const char *said)
{
    static const struct {
        const char *name, *begin, *loss;
    } components[] = {
        {"hook_daxpin", "mca:hook:daxpin:version:",
         "the UCX module is not loaded and UCX not used"},
        {"osc_daxpin", "mca:osc:daxpin:version:",
         "windows whose info names a file get ordinary memory"},
    };
    size_t i;
    int found;

    ompi_check_path(checkup, said);
    for (i = 0; i < sizeof(components) / sizeof(components[0]); ++i) {
        found         = ompi_has(said, components[i].begin);
        checkup->hook = (i == 0) ? found : checkup->hook;
        if (found) {
            daxpin_checkup_say(checkup, DAXPIN_FINDING_OK, components[i].name,
                               "Open MPI finds it");
        } else {
            daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, components[i].name,
                               "Open MPI does not find it: %s; use `eval "
                               "\"$(daxpin env)\"`, or install it where Open "
                               "MPI looks", components[i].loss);
        }
    }
    if (!ompi_has(said, "mca:pml:ucx:version:") ||
        !ompi_has(said, "mca:osc:ucx:version:")) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, "Open MPI's UCX",
                           "its components pml/ucx and osc/ucx are not there; "
                           "install an Open MPI built with UCX");
    }
}

/* A framework whose component ucx is needed */
static void ompi_check_choice(daxpin_checkup_t *checkup, const char *said,
                              const char *framework)
{
    char owner[64];
    ompi_param_t choice;

    snprintf(owner, sizeof(owner), "%s:base", framework);
    ompi_param(said, owner, framework, &choice);
    if (ompi_allows(choice.value, "ucx") &&
        ((strcmp(framework, "osc") != 0) ||
         !ompi_allows(choice.value, "rdma") || ompi_is_of_system(&choice))) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_OK, framework,
                           "allows ucx");
    } else if (ompi_is_of_system(&choice) && checkup->hook) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_OK, framework,
                           "%s is the default here (%s), which hook_daxpin "
                           "overrides", choice.value, choice.source);
    } else if (!ompi_allows(choice.value, "ucx")) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, framework,
                           "\"%s\" (%s) keeps Open MPI from using UCX%s",
                           choice.value, choice.source,
                           ompi_is_of_system(&choice) ?
                           ", and without hook_daxpin nothing overrides it" :
                           "; take it out, or say ucx");
    } else {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, framework,
                           "\"%s\" (%s) allows osc/rdma, which wins against "
                           "osc/ucx and knows nothing of leases; take it out, "
                           "or say ^rdma,pt2pt", choice.value, choice.source);
    }
}

static void ompi_check_daxpin_allowed(daxpin_checkup_t *checkup,
                                      const char *said)
{
    ompi_param_t choice;

    ompi_param(said, "osc:base", "osc", &choice);
    if (!ompi_is_of_system(&choice) && !ompi_allows(choice.value, "daxpin")) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_WARN, "osc_daxpin",
                           "\"%s\" (%s) leaves it out: windows whose info "
                           "names a file get ordinary memory; say ^rdma,pt2pt",
                           choice.value, choice.source);
    }
}

/* Open MPI uses UCX only where it has one of these transports and devices */
static void ompi_check_support(daxpin_checkup_t *checkup, const char *said)
{
    static const char *const owners[] = {"pml:ucx", "osc:ucx"};
    static const char *const names[]  = {"pml_ucx_tls", "osc_ucx_tls",
                                         "pml_ucx_devices", "osc_ucx_devices"};
    ompi_param_t param;
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        ompi_param(said, owners[i % 2], names[i], &param);
        if (!ompi_is_of_system(&param) &&
            !daxpin_list_has(param.value, "any")) {
            daxpin_checkup_say(checkup, DAXPIN_FINDING_WARN, names[i],
                               "%s (%s): Open MPI uses UCX only where it has "
                               "one of them; set opal_common_ucx_%s to any",
                               param.value, param.source,
                               strchr(strchr(names[i], '_') + 1, '_') + 1);
        }
    }
}

static void ompi_check_said(daxpin_checkup_t *checkup, const char *said)
{
    char version[64];
    unsigned major = 0, minor = 0;

    ompi_find(said, "ompi:version:full:", version, sizeof(version));
    sscanf(version, "%u.%u", &major, &minor);
    daxpin_checkup_say(checkup, ((major == 4) && (minor == 1)) ?
                                        DAXPIN_FINDING_OK :
                                        DAXPIN_FINDING_WARN,
                       "Open MPI", "%s%s", version,
                       ((major == 4) && (minor == 1)) ? "" :
                       ": daxpin is tested with 4.1");
    ompi_check_components(checkup, said);
    ompi_check_choice(checkup, said, "pml");
    ompi_check_choice(checkup, said, "osc");
    ompi_check_daxpin_allowed(checkup, said);
    ompi_check_support(checkup, said);
}

void daxpin_check_ompi(daxpin_checkup_t *checkup)
{
    char info[] = "ompi_info", parsable[] = "--parsable", all[] = "--all";
    char *argv[] = {info, parsable, all, NULL};
    char *said   = NULL;
    int status;

    status = daxpin_capture(argv, OMPI_INFO_TIME, &said);
    if ((status != 0) || (said == NULL) ||
        !ompi_has(said, "ompi:version:full:")) {
        daxpin_checkup_say(checkup, DAXPIN_FINDING_BAD, "Open MPI",
                           (status == 127) ? "there is no ompi_info in PATH "
                           "(status %d); install openmpi-bin, or add Open "
                           "MPI's directory to PATH" : "ompi_info fails with "
                           "status %d; does it run at all?", status);
    } else {
        ompi_check_said(checkup, said);
    }
    free(said);
}
