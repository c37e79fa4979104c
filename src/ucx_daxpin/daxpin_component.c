/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The component: registers daxpin with UCX, if the running UCX fits */

#include "daxpin_component.h"

#include "daxpin_ib.h"
#include "daxpin_md.h"
#include "daxpin_process.h"
#include "daxpin_restrict.h"
#include "daxpin_rkey.h"
#include "daxpin_tl.h"
#include "daxpin/file/report.h"
#include "wire/ucx_md.h"

#include <ucs/debug/log_def.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A component that every UCX on Linux registers itself, to compare with */
#define UCT_DAXPIN_WITNESS "posix"

/* More than the flags of any component of the release */
#define UCT_DAXPIN_FLAGS_LIMIT 256

typedef struct uct_daxpin_global_config {
    UCS_CONFIG_STRING_ARRAY_FIELD(names) md;
} uct_daxpin_global_config_t;

/* UCX_MD, which UCX does not know: UCX warns of variables that nothing reads */
static ucs_config_field_t uct_daxpin_global_config_table[] = {
    {"MD", "",
     "Comma-separated list of memory domains beyond those that UCX has:\n"
     " daxpin - Shared mappings of persistent-memory files are registered\n"
     "          under an exclusive lease. See UCX_DAXPIN_FILES.",
     offsetof(uct_daxpin_global_config_t, md), UCS_CONFIG_TYPE_STRING_ARRAY},

    {NULL}
};

UCS_CONFIG_DECLARE_TABLE(uct_daxpin_global_config_table,
                         "daxpin: memory domains by name", "",
                         uct_daxpin_global_config_t)

static ucs_status_t
uct_daxpin_query_md_resources(uct_component_t *component,
                              uct_md_resource_desc_t **resources_p,
                              unsigned *num_resources_p)
{
    uct_md_resource_desc_t *resource;

    uct_daxpin_restrict();
    uct_daxpin_ib_init();

    resource = ucs_calloc(2, sizeof(*resource), "daxpin_md_resource");
    if (resource == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    snprintf(resource[0].md_name, sizeof(resource->md_name), "%s",
             UCT_DAXPIN_NAME);
    snprintf(resource[1].md_name, sizeof(resource->md_name), "%s",
             UCT_DAXPIN_MAP_NAME);
    *resources_p     = resource;
    *num_resources_p = UCT_DAXPIN_UCP_HAS_CACHE ? 2 : 1;
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_cm_open(uct_component_t *component, uct_worker_h worker,
                   const uct_cm_config_t *config, uct_cm_h *cm_p)
{
    return UCS_ERR_UNSUPPORTED;
}

/* Refuse pointers, because access through a pointer is not checked */
static ucs_status_t
uct_daxpin_rkey_ptr(uct_component_t *component, uct_rkey_t rkey, void *handle,
                    uint64_t remote_addr, void **local_addr_p)
{
    return UCS_ERR_UNSUPPORTED;
}

/* Compare keys by the structures to which they point */
static ucs_status_t UCS_F_MAYBE_UNUSED
uct_daxpin_rkey_compare(uct_component_t *component, uct_rkey_t rkey1,
                        uct_rkey_t rkey2,
                        const struct uct_rkey_compare_params *params,
                        int *result)
{
    if ((params == NULL) || (result == NULL)) {
        return UCS_ERR_INVALID_PARAM;
    }

    *result = (rkey1 > rkey2) - (rkey1 < rkey2);
    return UCS_OK;
}

static void uct_daxpin_vfs_show_pin(const daxpin_report_record_t *record,
                                    void *arg)
{
    ucs_string_buffer_appendf(arg, "%s pins: %lu bytes: %lu\n", record->path,
                              (unsigned long)record->pins,
                              (unsigned long)record->bytes);
}

static void uct_daxpin_vfs_show_pins(void *obj, ucs_string_buffer_t *strb,
                                     void *arg_ptr, uint64_t arg_u64)
{
    daxpin_report_walk(uct_daxpin_vfs_show_pin, strb);
}

/* Add a file that shows the pins. UCX removes the file with its directory, that
 * of the memory domain. */
static void uct_daxpin_md_vfs_init(uct_md_h md)
{
    ucs_vfs_obj_add_ro_file(md, uct_daxpin_vfs_show_pins, NULL, 0, "pins");
}

UCT_DAXPIN_ADAPT_RKEY_UNPACK(uct_daxpin_rkey_unpack)

static uct_component_t uct_daxpin_component = {
    .name               = UCT_DAXPIN_NAME,
    .query_md_resources = uct_daxpin_query_md_resources,
    .md_open            = uct_daxpin_md_open,
    .cm_open            = uct_daxpin_cm_open,
    .rkey_unpack        = uct_daxpin_rkey_unpack_op,
    .rkey_ptr           = uct_daxpin_rkey_ptr,
    .rkey_release       = uct_daxpin_rkey_release,
    UCT_DAXPIN_RKEY_COMPARE(uct_daxpin_rkey_compare)
    .md_config          = {
        .name   = "daxpin memory domain",
        .prefix = "DAXPIN_",
        .table  = uct_daxpin_md_config_table,
        .size   = sizeof(uct_daxpin_md_config_t)
    },
    .cm_config          = UCS_CONFIG_EMPTY_GLOBAL_LIST_ENTRY,
    .tl_list            = UCS_LIST_INITIALIZER(&uct_daxpin_component.tl_list,
                                               &uct_daxpin_component.tl_list),
    .flags              = 0,
    .md_vfs_init        = uct_daxpin_md_vfs_init
};

/* Warn if a variable leaves out one of daxpin's transports or devices: UCX
 * silently drops a memory domain without usable transports, and files are
 * exposed without a lease */
static void uct_daxpin_check_list(const char *variable, const char *what,
                                  const char *name)
{
    const char *value = getenv(variable);
    int excluded;

    if (value == NULL) {
        return;
    }
    excluded = (*value == '^') ? daxpin_list_has(value + 1, name) :
                                 !daxpin_list_has(value, name) &&
                                 !daxpin_list_has(value, "all");
    if (excluded) {
        ucs_warn(DAXPIN_UCX_MD
                 "=%s has no effect, because %s=%s leaves out the %s %s: files"
                 " are exposed without a lease; add it to %s", UCT_DAXPIN_NAME,
                 variable, value, what, name, variable);
    }
}

static void uct_daxpin_check_lists(void)
{
    uct_daxpin_check_list("UCX_TLS", "transport", UCT_DAXPIN_NAME);
    if (UCT_DAXPIN_UCP_HAS_CACHE) {
        uct_daxpin_check_list("UCX_SHM_DEVICES", "device", UCT_DAXPIN_NAME);
        uct_daxpin_check_list("UCX_SHM_DEVICES", "device",
                              UCT_DAXPIN_MAP_NAME);
    }
}

static void *uct_daxpin_find_symbol(const char *library, const char *name)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    void *handle;

    if (symbol == NULL) {
        /* Plug-ins of an MPI load UCX without making it visible to all */
        handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
        if (handle != NULL) {
            symbol = dlsym(handle, name);
            dlclose(handle);
        }
    }
    return symbol;
}

static int uct_daxpin_uct_lacks(const char *name)
{
    return (name != NULL) &&
           (uct_daxpin_find_symbol("libuct.so.0", name) == NULL);
}

/* Check that UCX is the release that daxpin was built for. The name of the
 * release goes to @a running. */
static int uct_daxpin_check_version(char *running, size_t size)
{
    void (*get_version)(unsigned *major, unsigned *minor, unsigned *release);
    unsigned major, minor, release;

    *(void**)&get_version = uct_daxpin_find_symbol("libucp.so.0",
                                                   "ucp_get_version");
    if (get_version != NULL) {
        get_version(&major, &minor, &release);
        snprintf(running, size, "%u.%u.%u", major, minor, release);
        return (major == UCT_DAXPIN_ABI_MAJOR) &&
               (minor == UCT_DAXPIN_ABI_MINOR);
    }

    /* A program of UCT alone */
    snprintf(running, size, "of another release");
    return (!uct_daxpin_uct_lacks(UCT_DAXPIN_ABI_THIS_SYMBOL) &&
            ((UCT_DAXPIN_ABI_NEXT_SYMBOL == NULL) ||
             uct_daxpin_uct_lacks(UCT_DAXPIN_ABI_NEXT_SYMBOL)));
}

/* Check that what UCX registered itself has the layout in abi/. The order of
 * the comparisons finds a wrong value before a wrong pointer is followed: names
 * lie in the structures themselves. */
static int uct_daxpin_check_structures(void)
{
    uct_component_t *component;
    uct_tl_t *tl;

    ucs_list_for_each(component, &uct_components_list, list) {
        if (strncmp(component->name, UCT_DAXPIN_WITNESS,
                    sizeof(component->name)) != 0) {
            continue;
        }

        if ((component->flags >= UCT_DAXPIN_FLAGS_LIMIT) ||
            ucs_list_is_empty(&component->tl_list)) {
            return 0;
        }

        tl = ucs_list_head(&component->tl_list, uct_tl_t, list);
        return (strncmp(tl->name, UCT_DAXPIN_WITNESS, sizeof(tl->name)) == 0) &&
               (component->md_config.name != NULL) &&
               (strstr(component->md_config.name, "memory domain") != NULL);
    }
    return 0;
}

/* Check whether the plug-in is loaded twice: preloaded from one place, and
 * loaded by an MPI's plug-in from another */
static int uct_daxpin_is_registered(void)
{
    uct_component_t *component;

    ucs_list_for_each(component, &uct_components_list, list) {
        if (strncmp(component->name, UCT_DAXPIN_NAME,
                    sizeof(component->name)) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Check that UCP uses protocols that obey the access check */
static int uct_daxpin_check_protocols(void)
{
    uct_daxpin_ucp_config_t config;

    if (!UCT_DAXPIN_UCP_NEW_IS_UNSAFE) {
        return 1;
    }

    uct_daxpin_ucp_config_read(&config);
    if (config.has_new_protocols) {
        ucs_warn("daxpin stays out: with UCX_PROTO_ENABLE=y UCX %d.%d reaches"
                 " files in ways that no revoke stops; unset it, or run UCX"
                 " 1.16 or later", UCT_DAXPIN_ABI_MAJOR, UCT_DAXPIN_ABI_MINOR);
    }
    return !config.has_new_protocols;
}

static int uct_daxpin_abi_check(void)
{
    char running[64] = "";

    if (!uct_daxpin_check_version(running, sizeof(running))) {
        ucs_warn("daxpin stays out: the running UCX is %s, this daxpin is made"
                 " for UCX %d.%d, and the interface between UCX and its"
                 " components changes with every release; build daxpin for the"
                 " running UCX (configure --with-ucx, if it knows that release)"
                 " or run UCX %d.%d",
                 running, UCT_DAXPIN_ABI_MAJOR, UCT_DAXPIN_ABI_MINOR,
                 UCT_DAXPIN_ABI_MAJOR, UCT_DAXPIN_ABI_MINOR);
        return 0;
    }

    if (!uct_daxpin_check_structures()) {
        ucs_warn("daxpin stays out: the running UCX %s reports the release this"
                 " daxpin is made for, %d.%d, but its component %s has another"
                 " layout; build daxpin for the running UCX (configure"
                 " --with-ucx)", running, UCT_DAXPIN_ABI_MAJOR,
                 UCT_DAXPIN_ABI_MINOR, UCT_DAXPIN_WITNESS);
        return 0;
    }

    return 1;
}

/* Declare UCX_MD to UCX as a variable that something reads */
static void uct_daxpin_global_config_init(void)
{
    uct_daxpin_global_config_t config;

    UCS_CONFIG_ADD_TABLE(uct_daxpin_global_config_table,
                         &ucs_config_global_list);
    if (uct_daxpin_config_fill(&config, uct_daxpin_global_config_table,
                               UCS_DEFAULT_ENV_PREFIX) == UCS_OK) {
        ucs_config_parser_release_opts(&config,
                                       uct_daxpin_global_config_table);
    }
}

static int uct_daxpin_fits;

/* Register daxpin. Runs when the plug-in is loaded, which may be while UCX
 * loads its own, so nothing here may query UCX's components. */
static void __attribute__((constructor)) uct_daxpin_init(void)
{
    if (!daxpin_ucx_md_names_us() || !uct_daxpin_abi_check() ||
        !uct_daxpin_check_protocols() || uct_daxpin_is_registered()) {
        return;
    }

    uct_daxpin_check_lists();
    uct_daxpin_restrict();
    uct_daxpin_ib_init();
    uct_daxpin_global_config_init();
    uct_component_register(&uct_daxpin_component);
    uct_tl_register(&uct_daxpin_component, &uct_daxpin_tl);
    uct_daxpin_fits = 1;
}

int uct_daxpin_configure(void)
{
    uct_md_config_t *config;
    ucs_status_t status;

    if (!uct_daxpin_fits && !uct_daxpin_is_registered()) {
        return -1; /* the plug-in stays out */
    }
    /* The prefix is that of Open MPI */
    status = uct_md_config_read(&uct_daxpin_component, "MPI", NULL, &config);
    if (status != UCS_OK) {
        return -1;
    }
    status = uct_daxpin_md_configure(config);
    uct_config_release(config);
    if (status != UCS_OK) {
        return -1;
    }
    uct_daxpin_process_log(1);
    return 0;
}

void uct_daxpin_unconfigure(void)
{
    uct_daxpin_process_log(0);
}
