/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What this rank does for others, in any window, when it makes progress. A
 * service may wait for another rank, and makes progress meanwhile: then the other
 * service goes on, and the same one does not.
 */

#include "osc_daxpin_service.h"

/* The windows that have services. Who changes the list has all mutexes, and who
 * reads it for one service has that of the service. */
static osc_daxpin_module_t *osc_daxpin_served_list;
static pthread_mutex_t osc_daxpin_service_mutexes[OSC_DAXPIN_SERVICES] = {
    [OSC_DAXPIN_SERVICE_LEND] = PTHREAD_MUTEX_INITIALIZER,
    [OSC_DAXPIN_SERVICE_AM]   = PTHREAD_MUTEX_INITIALIZER
};

/* Return the number of requests that were served */
static int osc_daxpin_service_serve(osc_daxpin_service_t service)
{
    osc_daxpin_module_t *module;
    int count = 0;

    if (pthread_mutex_trylock(&osc_daxpin_service_mutexes[service]) != 0) {
        return 0;
    }
    for (module = osc_daxpin_served_list; module != NULL;
         module = module->served.next) {
        if (module->served.funcs[service] != NULL) {
            count += module->served.funcs[service](module);
        }
    }
    pthread_mutex_unlock(&osc_daxpin_service_mutexes[service]);
    return count;
}

static int osc_daxpin_services_progress(void)
{
    int count = 0, i;

    for (i = 0; i < OSC_DAXPIN_SERVICES; ++i) {
        count += osc_daxpin_service_serve((osc_daxpin_service_t)i);
    }
    return count;
}

/* Wait for active messages first: they may wait for another rank, and lending
 * goes on meanwhile. */
static void osc_daxpin_services_lock(void)
{
    pthread_mutex_lock(&osc_daxpin_service_mutexes[OSC_DAXPIN_SERVICE_AM]);
    pthread_mutex_lock(&osc_daxpin_service_mutexes[OSC_DAXPIN_SERVICE_LEND]);
}

static void osc_daxpin_services_unlock(void)
{
    pthread_mutex_unlock(&osc_daxpin_service_mutexes[OSC_DAXPIN_SERVICE_LEND]);
    pthread_mutex_unlock(&osc_daxpin_service_mutexes[OSC_DAXPIN_SERVICE_AM]);
}

void osc_daxpin_service_open(osc_daxpin_module_t *module,
                             osc_daxpin_service_t service,
                             osc_daxpin_serve_func_t func)
{
    osc_daxpin_services_lock();
    if (osc_daxpin_served_list == NULL) {
        opal_progress_register(osc_daxpin_services_progress);
    }
    if (!module->served.listed) {
        module->served.listed  = 1;
        module->served.next    = osc_daxpin_served_list;
        osc_daxpin_served_list = module;
    }
    module->served.funcs[service] = func;
    osc_daxpin_services_unlock();
}

void osc_daxpin_services_close(osc_daxpin_module_t *module)
{
    osc_daxpin_module_t **link = &osc_daxpin_served_list;

    if (!module->served.listed) {
        return;
    }
    osc_daxpin_services_lock();
    while (*link != module) {
        link = &(*link)->served.next;
    }
    *link                 = module->served.next;
    module->served.listed = 0;
    if (osc_daxpin_served_list == NULL) {
        opal_progress_unregister(osc_daxpin_services_progress);
    }
    osc_daxpin_services_unlock();
}

void osc_daxpin_services_finalize(void)
{
    while (osc_daxpin_served_list != NULL) {
        osc_daxpin_services_close(osc_daxpin_served_list);
    }
}
