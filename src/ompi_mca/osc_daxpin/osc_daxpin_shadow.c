/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Windows of the inner component, the best that there is besides this one */

#include "osc_daxpin.h"

#include "opal/util/info.h"

#include <string.h>

#define OSC_DAXPIN_COMPONENTS_MAX 16

typedef struct osc_daxpin_choice {
    ompi_osc_base_component_t *component;
    int                       priority;
} osc_daxpin_choice_t;

static int osc_daxpin_is_excluded(const ompi_osc_base_component_t *component,
                                  int flavor)
{
    const char *inner = mca_osc_daxpin_component.inner;
    const char *name  = component->osc_version.mca_component_name;

    return (component == &mca_osc_daxpin_component.super) ||
           ((inner != NULL) && (inner[0] != '\0') &&
            (flavor != MPI_WIN_FLAVOR_SHARED) && (strcmp(inner, name) != 0));
}

/* Those that want this window, best first; the number of them */
static int osc_daxpin_choose(ompi_win_t *win, void **base, size_t size,
                             int disp_unit, ompi_communicator_t *comm,
                             opal_info_t *info, int flavor,
                             osc_daxpin_choice_t *choices)
{
    mca_base_component_list_item_t *item;
    ompi_osc_base_component_t *component;
    int count = 0, i, priority;

    OPAL_LIST_FOREACH(item, &ompi_osc_base_framework.framework_components,
                      mca_base_component_list_item_t)
    {
        component = (ompi_osc_base_component_t*)item->cli_component;
        if (osc_daxpin_is_excluded(component, flavor) ||
            (count == OSC_DAXPIN_COMPONENTS_MAX)) {
            continue;
        }
        priority = component->osc_query(win, base, size, disp_unit, comm, info,
                                        flavor);
        if (priority < 0) {
            continue;
        }
        for (i = count++; (i > 0) && (choices[i - 1].priority < priority);
             --i) {
            choices[i] = choices[i - 1];
        }
        choices[i] = (osc_daxpin_choice_t){component, priority};
    }
    return count;
}

int osc_daxpin_pass_through(ompi_win_t *win, void **base, size_t size,
                            int disp_unit, ompi_communicator_t *comm,
                            opal_info_t *info, int flavor, int *model)
{
    osc_daxpin_choice_t choices[OSC_DAXPIN_COMPONENTS_MAX];

    if (osc_daxpin_choose(win, base, size, disp_unit, comm, info, flavor,
                          choices) == 0) {
        return OMPI_ERR_NOT_SUPPORTED;
    }
    return choices[0].component->osc_select(win, base, size, disp_unit, comm,
                                            info, flavor, model);
}

/* Not by ompi_win_create(): MPI_Finalize() would free it once more */
static ompi_win_t *osc_daxpin_shadow_new(const ompi_win_t *win,
                                         opal_info_t *info)
{
    ompi_win_t *shadow = OBJ_NEW(ompi_win_t);

    if (shadow == NULL) {
        return NULL;
    }
    shadow->w_acc_ops      = win->w_acc_ops;
    shadow->w_acc_order    = win->w_acc_order;
    shadow->w_flavor       = MPI_WIN_FLAVOR_CREATE;
    shadow->w_group        = win->w_group;
    shadow->w_f_to_c_index = -1;
    OBJ_RETAIN(shadow->w_group);
    shadow->super.s_info = OBJ_NEW(opal_info_t);
    if (info != NULL) {
        opal_info_dup(info, &shadow->super.s_info);
    }
    return shadow;
}

static void osc_daxpin_shadow_delete(osc_daxpin_shadow_t *shadow)
{
    OBJ_RELEASE(shadow->win);
    shadow->win    = NULL;
    shadow->module = NULL;
}

int osc_daxpin_shadow_open(const ompi_win_t *win, ompi_communicator_t *comm,
                           void *base, size_t size, int disp_unit,
                           opal_info_t *info, int *model_p,
                           osc_daxpin_shadow_t *shadow)
{
    osc_daxpin_choice_t choices[OSC_DAXPIN_COMPONENTS_MAX];
    int ret   = OMPI_ERR_NOT_SUPPORTED;
    int count = 0;
    int i;

    shadow->win = osc_daxpin_shadow_new(win, info);
    if (shadow->win == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    info = shadow->win->super.s_info; /* osc/pt2pt wants one in any case */
    if (ompi_comm_size(comm) == 1) {
        ret = osc_daxpin_single_new(shadow->win, model_p);
    } else {
        count = osc_daxpin_choose(shadow->win, &base, size, disp_unit, comm,
                                  info, MPI_WIN_FLAVOR_CREATE, choices);
    }
    /* Some want what they then cannot do; they say so on all ranks */
    for (i = 0; (i < count) && (ret != OMPI_SUCCESS); ++i) {
        ret = choices[i].component->osc_select(shadow->win, &base, size,
                                               disp_unit, comm, info,
                                               MPI_WIN_FLAVOR_CREATE, model_p);
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_shadow_delete(shadow);
        return osc_daxpin_error(ret, "no other osc component can do the work%s"
                                "%s; the MCA parameters osc and "
                                "osc_daxpin_inner say which are there",
                                (count == 0) ? ": none wants it" : "",
                                (mca_osc_daxpin_component.inner != NULL) ?
                                " that osc_daxpin_inner allows" : "");
    }
    shadow->module = shadow->win->w_osc_module;
    return OMPI_SUCCESS;
}

void osc_daxpin_shadow_close(osc_daxpin_shadow_t *shadow)
{
    if (shadow->module == NULL) {
        return;
    }
    if (shadow->module->osc_free(shadow->win) != OMPI_SUCCESS) {
        opal_output(0, "osc/daxpin: an inner window could not be freed");
    }
    osc_daxpin_shadow_delete(shadow);
}
