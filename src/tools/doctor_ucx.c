/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: UCX, its release, the plug-in, and settings that exclude it */

#include "checkup.h"
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef DAXPIN_UCX_ABI
#include <ucp/api/ucp.h>
#include <uct/api/uct.h>
#endif

#include <dlfcn.h>
#include <sys/wait.h>

#define UCX_NAME        DAXPIN_UCX_MD_NAME
#define UCX_PLUGIN_ENV  "DAXPIN_UCX_MODULE"
#define UCX_CHILD_LABEL "daxpin-ucx "
#define UCX_TIME        60 /* seconds */

/* What a process of its own reported that loaded the plug-in */
typedef struct ucx_trial {
    char version[32];   /* of the UCX in use; "": there is none */
    char loaded[512];   /* "ok", or the reason why not */
    int  registered;    /* UCX lists the component */
    int  opened;        /* its memory domain can be opened */
    char tls[512];      /* UCX_TLS as UCX has it; "": not known */
    char *output;       /* of the process; the caller frees it */
} ucx_trial_t;

#ifdef DAXPIN_UCX_ABI

/*
 * In the child
 */

typedef struct ucx_api {
    void         (*get_version)(unsigned *, unsigned *, unsigned *);
    ucs_status_t (*config_read)(const char *, const char *, ucp_config_t **);
    void         (*config_print)(const ucp_config_t *, FILE *, const char *,
                                 ucs_config_print_flags_t);
    ucs_status_t (*query_components)(uct_component_h **, unsigned *);
    ucs_status_t (*component_query)(uct_component_h, uct_component_attr_t *);
    ucs_status_t (*md_config_read)(uct_component_h, const char *, const char *,
                                   uct_md_config_t **);
    ucs_status_t (*md_open)(uct_component_h, const char *,
                            const uct_md_config_t *, uct_md_h *);
} ucx_api_t;

static void *ucx_symbol(void *handle, const char *name)
{
    void *symbol = dlsym(RTLD_DEFAULT, name); /* as the plug-in does */

    return (symbol != NULL) ? symbol : dlsym(handle, name);
}

static int ucx_load(ucx_api_t *api)
{
    void *ucp = dlopen("libucp.so.0", RTLD_NOW | RTLD_GLOBAL);
    void *uct = dlopen("libuct.so.0", RTLD_NOW | RTLD_GLOBAL);

    if ((ucp == NULL) || (uct == NULL)) {
        printf(UCX_CHILD_LABEL "loaded %s\n", dlerror());
        return -1;
    }
    *(void**)&api->get_version      = ucx_symbol(ucp, "ucp_get_version");
    *(void**)&api->config_read      = ucx_symbol(ucp, "ucp_config_read");
    *(void**)&api->config_print     = ucx_symbol(ucp, "ucp_config_print");
    *(void**)&api->query_components = ucx_symbol(uct, "uct_query_components");
    *(void**)&api->component_query  = ucx_symbol(uct, "uct_component_query");
    *(void**)&api->md_config_read   = ucx_symbol(uct, "uct_md_config_read");
    *(void**)&api->md_open          = ucx_symbol(uct, "uct_md_open");
    return (api->get_version != NULL) ? 0 : -1;
}

static void ucx_try_component(const ucx_api_t *api)
{
    uct_component_attr_t attr = {
        .field_mask = UCT_COMPONENT_ATTR_FIELD_NAME
    };
    uct_component_h *components;
    uct_md_config_t *config;
    unsigned count, i;
    uct_md_h md;

    if ((api->query_components == NULL) ||
        (api->query_components(&components, &count) != UCS_OK)) {
        return;
    }
    for (i = 0; i < count; ++i) {
        if ((api->component_query(components[i], &attr) != UCS_OK) ||
            (strcmp(attr.name, UCX_NAME) != 0)) {
            continue;
        }
        puts(UCX_CHILD_LABEL "registered");
        if ((api->md_config_read(components[i], NULL, NULL, &config) ==
             UCS_OK) &&
            (api->md_open(components[i], UCX_NAME, config, &md) == UCS_OK)) {
            puts(UCX_CHILD_LABEL "opened");
        }
    }
}

static void ucx_child(const char *plugin)
{
    unsigned major, minor, release;
    ucp_config_t *config;
    ucx_api_t api = {0};

    setenv(DAXPIN_UCX_MD, UCX_NAME, 1);
    if (ucx_load(&api) != 0) {
        return;
    }
    api.get_version(&major, &minor, &release);
    printf(UCX_CHILD_LABEL "version %u.%u.%u\n", major, minor, release);
    if ((api.config_read != NULL) && (api.config_print != NULL) &&
        (api.config_read(NULL, NULL, &config) == UCS_OK)) {
        api.config_print(config, stdout, NULL, UCS_CONFIG_PRINT_CONFIG);
    }
    if (dlopen(plugin, RTLD_NOW | RTLD_GLOBAL) == NULL) {
        printf(UCX_CHILD_LABEL "loaded %s\n", dlerror());
        return;
    }
    puts(UCX_CHILD_LABEL "loaded ok");
    ucx_try_component(&api);
}

#else

static void ucx_child(const char *plugin)
{
    (void)plugin;
}

#endif

int daxpin_cmd_try_ucx(int argc, char **argv)
{
    if (argc == 2) {
        ucx_child(argv[1]);
        fflush(stdout);
    }
    return 0;
}

/*
 * In the parent
 */

static void ucx_parse(ucx_trial_t *trial)
{
    char *copy = strdup(trial->output), *line, *save = NULL;

    for (line = (copy != NULL) ? strtok_r(copy, "\n", &save) : NULL;
         line != NULL; line = strtok_r(NULL, "\n", &save)) {
        sscanf(line, UCX_CHILD_LABEL "version %31s", trial->version);
        sscanf(line, UCX_CHILD_LABEL "loaded %511[^\n]", trial->loaded);
        sscanf(line, "UCX_TLS=%511s", trial->tls);
        if (strcmp(line, UCX_CHILD_LABEL "registered") == 0) {
            trial->registered = 1;
        } else if (strcmp(line, UCX_CHILD_LABEL "opened") == 0) {
            trial->opened = 1;
        }
    }
    free(copy);
}

/* Load the plug-in in another process, because a bad one may crash it */
static int ucx_try(const char *plugin, ucx_trial_t *trial)
{
    char exe[] = "/proc/self/exe", command[] = "try-ucx", file[PATH_MAX];
    char *argv[] = {exe, command, file, NULL};
    int status;

    memset(trial, 0, sizeof(*trial));
    snprintf(file, sizeof(file), "%s", plugin);
    status = daxpin_capture(argv, UCX_TIME, &trial->output);
    if (trial->output != NULL) {
        ucx_parse(trial);
    }
    return status;
}

/* Copy an error that UCX reported, if possible one of the plug-in; without an
 * error, a warning; else "" */
static void ucx_find_error(const ucx_trial_t *trial, char *text, size_t size)
{
    const char *line = NULL, *found;
    static const char *const levels[] = {"UCX  ERROR ", "UCX  WARN  "};
    size_t i;

    text[0] = '\0';
    for (i = 0; (i < sizeof(levels) / sizeof(levels[0])) && (line == NULL);
         ++i) {
        for (found = trial->output; found != NULL; ++found) {
            found = strstr(found, levels[i]);
            if (found == NULL) {
                break;
            }
            if ((line == NULL) || (strncmp(found + strlen(levels[i]), "daxpin",
                                           6) == 0)) {
                line = found + strlen(levels[i]);
            }
        }
    }
    if (line != NULL) {
        snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
    }
}

#ifdef DAXPIN_UCX_ABI

static int ucx_is_known(unsigned release)
{
    return (release >= DAXPIN_UCX_OLDEST) && (release <= DAXPIN_UCX_NEWEST);
}

#endif

static void ucx_check_version(daxpin_checkup_t *checkup,
                              const ucx_trial_t *trial)
{
#ifdef DAXPIN_UCX_ABI
    unsigned major = 0, minor = 0;

    sscanf(trial->version, "%u.%u", &major, &minor);
    if (trial->version[0] == '\0') {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX",
                           "cannot load it: %s; install it (Debian: "
                           "libucx0), or name its directory in "
                           "LD_LIBRARY_PATH", trial->loaded);
    } else if (!ucx_is_known(100 * major + minor)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX",
                           "%s is a release that this daxpin does not know "
                           "and does nothing in; run UCX %d.%d, or install a "
                           "daxpin that knows %u.%u: this one can be built "
                           "for %d.%d to %d.%d", trial->version,
                           DAXPIN_UCX_ABI / 100, DAXPIN_UCX_ABI % 100, major,
                           minor, DAXPIN_UCX_OLDEST / 100,
                           DAXPIN_UCX_OLDEST % 100, DAXPIN_UCX_NEWEST / 100,
                           DAXPIN_UCX_NEWEST % 100);
    } else if (100 * major + minor != DAXPIN_UCX_ABI) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX",
                           "%s is not %d.%d, for which this daxpin was built, "
                           "and daxpin does nothing in it; build daxpin for "
                           "%u.%u, or run UCX %d.%d", trial->version,
                           DAXPIN_UCX_ABI / 100, DAXPIN_UCX_ABI % 100, major,
                           minor, DAXPIN_UCX_ABI / 100, DAXPIN_UCX_ABI % 100);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "UCX", "%s",
                           trial->version);
    }
#endif
}

static void ucx_check_plugin(daxpin_checkup_t *checkup, const char *plugin,
                             const ucx_trial_t *trial, int status)
{
    char error[1024];

    ucx_find_error(trial, error, sizeof(error));
    if ((status != 0) && (trial->loaded[0] == '\0')) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX module",
                           "%s crashes the process that loads it (status "
                           "%d); install daxpin again", plugin,
                           status);
    } else if (strcmp(trial->loaded, "ok") != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX module",
                           "cannot load it: %s; use `eval \"$(daxpin "
                           "env)\"`, or install daxpin again", trial->loaded);
    } else if (!trial->registered) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX module",
                           "%s is loaded, but does not register: %s", plugin,
                           (error[0] != '\0') ? error :
                           "UCX does not list it");
    } else if (!trial->opened) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX module",
                           "cannot open its memory domain: %s",
                           (error[0] != '\0') ? error :
                           "UCX does not report the reason");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "UCX module", "%s",
                           plugin);
    }
}

static void ucx_check_tls(daxpin_checkup_t *checkup, const char *tls)
{
    int excluded = (tls[0] == '^') ?
                           daxpin_list_has(tls + 1, UCX_NAME) :
                           !daxpin_list_has(tls, UCX_NAME) &&
                           !daxpin_list_has(tls, "all");

    if ((tls[0] != '\0') && excluded) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX_TLS",
                           "%s (%s) leaves out the transport daxpin: files "
                           "are exposed without a lease; add daxpin to it",
                           tls, (getenv("UCX_TLS") != NULL) ? "environment" :
                           "ucx.conf");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "UCX_TLS",
                           "does not leave out daxpin");
    }
}

static void ucx_check_settings(daxpin_checkup_t *checkup)
{
    const char *md = getenv(DAXPIN_UCX_MD);

    if (daxpin_ucx_md_names_us()) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, DAXPIN_UCX_MD, "%s", md);
    } else if ((md != NULL) && (md[0] != '\0')) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, DAXPIN_UCX_MD,
                           "%s does not name daxpin, so daxpin does nothing; "
                           "add it", md);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, DAXPIN_UCX_MD,
                           "is not set here; daxpin works in jobs that are "
                           "started with mpirun -x UCX_MD=daxpin");
    }
}

static void ucx_try_plugin(daxpin_checkup_t *checkup)
{
    const char *named  = getenv(UCX_PLUGIN_ENV);
    const char *plugin = checkup->place.ucx_plugin_path;
    ucx_trial_t trial;
    int status;

    if ((named != NULL) && (named[0] != '\0')) {
        plugin = named;
    }
    if (access(plugin, R_OK) != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX module",
                           "is not at %s%s; %s", plugin, (plugin == named) ?
                           ", which " UCX_PLUGIN_ENV " names" : "",
                           (plugin == named) ? "use `eval \"$(daxpin env)\"`" :
                           "build daxpin with UCX and install it");
    }
    status = ucx_try(plugin, &trial);
    ucx_check_version(checkup, &trial);
    if (access(plugin, R_OK) == 0) {
        ucx_check_plugin(checkup, plugin, &trial, status);
    }
    ucx_check_tls(checkup, trial.tls);
    free(trial.output);
}

void daxpin_check_ucx(daxpin_checkup_t *checkup)
{
#ifdef DAXPIN_UCX_ABI
    ucx_try_plugin(checkup);
#else
    daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "UCX",
                       "this daxpin was built without UCX; build it with UCX "
                       "(Debian: libucx-dev)");
#endif
    ucx_check_settings(checkup);
}
