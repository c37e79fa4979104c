/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Windows of the inner component, the best osc component besides this one */

#include "osc_daxpin_shadow.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_node.h"

#include "opal/util/info.h"

#include <stdio.h>
#include <string.h>

#define OSC_DAXPIN_COMPONENTS_MAX 16

typedef struct osc_daxpin_choice {
    ompi_osc_base_component_t *component;
    int                       priority;
} osc_daxpin_choice_t;

/* What a component is chosen for */
typedef enum osc_daxpin_use {
    OSC_DAXPIN_USE_PASS,     /* a window that passes through */
    OSC_DAXPIN_USE_PASS_ANY, /* the same, if no other component takes it */
    OSC_DAXPIN_USE_INNER     /* a shadow window */
} osc_daxpin_use_t;

static int osc_daxpin_list_has(const char *list, const char *name)
{
    const size_t length = strlen(name);
    const char *p       = list;

    while ((p != NULL) && ((p = strstr(p, name)) != NULL)) {
        if (((p == list) || (p[-1] == ',')) &&
            ((p[length] == '\0') || (p[length] == ','))) {
            return 1;
        }
        p += length;
    }
    return 0;
}

static int osc_daxpin_is_excluded(const osc_daxpin_component_t *self,
                                  const ompi_osc_base_component_t *component,
                                  osc_daxpin_use_t use)
{
    const char *inner = self->inner;
    const char *name  = component->osc_version.mca_component_name;

    if (component == &self->super) {
        return 1;
    }
    if (use == OSC_DAXPIN_USE_INNER) {
        return (inner != NULL) && (inner[0] != '\0') &&
               (strcmp(inner, name) != 0);
    }
    return (use == OSC_DAXPIN_USE_PASS) &&
           osc_daxpin_list_has(self->only_inner, name);
}

/* List the components that want this window, best first; return their number,
 * or an error. Of inner components osc/ucx comes first: osc/rdma, which has a
 * higher priority, has devices write into files without daxpin. */
static int osc_daxpin_list(const osc_daxpin_component_t *self, ompi_win_t *win,
                           void **base, size_t size,
                           osc_daxpin_unit_t disp_unit,
                           ompi_communicator_t *comm, opal_info_t *info,
                           int flavor, osc_daxpin_use_t use,
                           osc_daxpin_choice_t *choices)
{
    mca_base_component_list_item_t *item;
    ompi_osc_base_component_t *component;
    int count = 0, i, priority;

    OPAL_LIST_FOREACH(item, &ompi_osc_base_framework.framework_components,
                      mca_base_component_list_item_t)
    {
        component = (ompi_osc_base_component_t*)item->cli_component;
        if (osc_daxpin_is_excluded(self, component, use) ||
            (count == OSC_DAXPIN_COMPONENTS_MAX)) {
            continue;
        }
        priority = component->osc_query(win, base, size, disp_unit, comm, info,
                                        flavor);
        if ((priority == OMPI_ERR_RMA_SHARED) &&
            (flavor == MPI_WIN_FLAVOR_SHARED)) {
            return priority; /* as Open MPI does */
        }
        if (priority < 0) {
            continue;
        }
        if ((use == OSC_DAXPIN_USE_INNER) &&
            (strcmp(component->osc_version.mca_component_name, "ucx") == 0)) {
            priority = INT_MAX;
        }
        for (i = count++; (i > 0) && (choices[i - 1].priority < priority);
             --i) {
            choices[i] = choices[i - 1];
        }
        choices[i] = (osc_daxpin_choice_t){component, priority};
    }
    return count;
}

/* List the components for a shadow window */
static int osc_daxpin_choose(const osc_daxpin_component_t *self,
                             ompi_win_t *win, void **base, size_t size,
                             osc_daxpin_unit_t disp_unit,
                             ompi_communicator_t *comm, opal_info_t *info,
                             int flavor, osc_daxpin_choice_t *choices)
{
    return osc_daxpin_list(self, win, base, size, disp_unit, comm, info,
                           flavor, OSC_DAXPIN_USE_INNER, choices);
}

int osc_daxpin_pass_through(const osc_daxpin_component_t *self, ompi_win_t *win,
                            void **base, size_t size,
                            osc_daxpin_unit_t disp_unit,
                            ompi_communicator_t *comm, opal_info_t *info,
                            int flavor, int *model)
{
    osc_daxpin_choice_t choices[OSC_DAXPIN_COMPONENTS_MAX];
    int count;

    count = osc_daxpin_list(self, win, base, size, disp_unit, comm, info,
                            flavor, OSC_DAXPIN_USE_PASS, choices);
    if (count == 0) {
        count = osc_daxpin_list(self, win, base, size, disp_unit, comm, info,
                                flavor, OSC_DAXPIN_USE_PASS_ANY, choices);
    }
    if (count <= 0) {
        return (count < 0) ? count : OMPI_ERR_NOT_SUPPORTED;
    }
    return choices[0].component->osc_select(win, base, size, disp_unit, comm,
                                            info, flavor, model);
}

/* ompi_win_create() is no use: MPI_Finalize() would free the window again */
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
    if (!osc_daxpin_win_prepare(shadow)) {
        OBJ_RELEASE(shadow);
        return NULL;
    }
    shadow->super.s_info = OBJ_NEW(opal_info_t);
    if (info != NULL) {
        opal_info_dup(info, &shadow->super.s_info);
    }
    return shadow;
}

static void osc_daxpin_shadow_delete(osc_daxpin_shadow_t *shadow)
{
    if (shadow->win != NULL) {
        OBJ_RELEASE(shadow->win);
    }
    shadow->win    = NULL;
    shadow->module = NULL;
}

/* Agree with all ranks on the next component; NULL: there is none here. Ranks
 * with different components would wait for each other for ever. */
static int osc_daxpin_shadow_agree(const osc_daxpin_module_t *module,
                                   const ompi_osc_base_component_t *component)
{
    ompi_communicator_t *comm = module->comm;
    const char *name          = (component != NULL) ?
                    component->osc_version.mca_component_name : "none";
    char first[MCA_BASE_MAX_COMPONENT_NAME_LEN + 1] = "";
    int differs, all, ret;

    snprintf(first, sizeof(first), "%s", name);
    ret = comm->c_coll->coll_bcast(first, sizeof(first), MPI_BYTE, 0, comm,
                                   comm->c_coll->coll_bcast_module);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    differs = strcmp(first, name) != 0;
    ret     = comm->c_coll->coll_allreduce(&differs, &all, 1, MPI_INT, MPI_MAX,
                                           comm,
                                           comm->c_coll->coll_allreduce_module);
    if ((ret != OMPI_SUCCESS) || !all) {
        return ret;
    }
    return osc_daxpin_error(OMPI_ERR_NOT_SUPPORTED, "rank %d: the ranks choose "
                            "different osc components to do the work: %s at "
                            "rank 0, %s here; give all ranks the same MCA "
                            "parameters and the same UCX_MD and UCX_TLS",
                            module->rank, first, name);
}

int osc_daxpin_shadow_open(const osc_daxpin_module_t *module,
                           const ompi_win_t *win, void *base, size_t size,
                           osc_daxpin_unit_t disp_unit, opal_info_t *info,
                           int *model_p, osc_daxpin_shadow_t *shadow)
{
    const osc_daxpin_component_t *self = module->component;
    ompi_communicator_t *comm          = module->comm;
    osc_daxpin_choice_t choices[OSC_DAXPIN_COMPONENTS_MAX];
    int ret = OMPI_ERR_NOT_SUPPORTED;
    int count, i, agreed;

    shadow->win = osc_daxpin_shadow_new(win, info);
    agreed      = osc_daxpin_agree(module, (shadow->win == NULL) ?
                                                   OMPI_ERR_OUT_OF_RESOURCE :
                                                   OMPI_SUCCESS);
    if (agreed != OMPI_SUCCESS) {
        osc_daxpin_shadow_delete(shadow);
        return agreed;
    }
    info = shadow->win->super.s_info; /* osc/pt2pt wants one in any case */
    count = osc_daxpin_choose(self, shadow->win, &base, size, disp_unit, comm,
                              info, MPI_WIN_FLAVOR_CREATE, choices);
    /* Some components want a window that they then cannot make. Where one fails
     * on some ranks only, the others leave its window as it is: freeing it would
     * wait for all ranks. */
    for (i = 0; ret != OMPI_SUCCESS; ++i) {
        agreed = osc_daxpin_shadow_agree(module, (i < count) ?
                                         choices[i].component : NULL);
        if (agreed != OMPI_SUCCESS) {
            osc_daxpin_shadow_delete(shadow);
            return agreed;
        }
        if (i >= count) {
            break;
        }
        ret = choices[i].component->osc_select(shadow->win, &base, size,
                                               disp_unit, comm, info,
                                               MPI_WIN_FLAVOR_CREATE, model_p);
        agreed = osc_daxpin_agree(module, ret);
        if ((ret == OMPI_SUCCESS) && (agreed != OMPI_SUCCESS)) {
            OBJ_RETAIN(shadow->win); /* for ever */
        }
        ret = agreed;
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_shadow_delete(shadow);
        return osc_daxpin_error(ret, "no other osc component%s can do the "
                                "work%s; the MCA parameters osc and "
                                "osc_daxpin_inner limit the choice",
                                (self->inner != NULL) ?
                                " that osc_daxpin_inner allows" : "",
                                (count == 0) ? ": none wants it" : "");
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
        opal_output(0, "osc/daxpin: cannot free an inner window");
    }
    osc_daxpin_shadow_delete(shadow);
}
