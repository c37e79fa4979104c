/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_PARAMS_H_
#define OSC_DAXPIN_PARAMS_H_

/* The parameters of a window that is to be made */

#include "osc_daxpin.h"
#include "osc_daxpin_adopt.h"

typedef struct osc_daxpin_params {
    osc_daxpin_spec_t    spec;
    daxpin_adoption_t    adoption; /* of the program's own mapping */
    osc_daxpin_segment_t segment;  /* likewise, when it was adopted */
    int                  wanted;  /* there is a file */
} osc_daxpin_params_t;

/* Find out what this rank wants. Not collective. */
int osc_daxpin_params_get(const osc_daxpin_component_t *component, void *base,
                          size_t size, ompi_communicator_t *comm,
                          opal_info_t *info, int flavor,
                          osc_daxpin_params_t *params);

/* Agree with all ranks whether the window is this component's, and return that
 * in *wanted_p. @a ret is the result of the above. Collective. */
int osc_daxpin_params_agree(const osc_daxpin_component_t *component,
                            ompi_communicator_t *comm, int flavor, int ret,
                            osc_daxpin_params_t *params, int *wanted_p);

#endif
