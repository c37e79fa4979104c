/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_MD_H_
#define UCT_DAXPIN_MD_H_

#include "abi/abi.h"
#include "daxpin/daxpin.h"

/* Of the component, of its one memory domain and of its one transport */
#define UCT_DAXPIN_NAME "daxpin"

/* Where a program learns that its file cannot be leased */
typedef enum uct_daxpin_reg_error {
    UCT_DAXPIN_REG_ERROR_MAP,
    UCT_DAXPIN_REG_ERROR_ACCESS
} uct_daxpin_reg_error_t;

typedef struct uct_daxpin_md_config {
    UCS_CONFIG_STRING_ARRAY_FIELD(names) files;
    unsigned                             on_break; /* daxpin_on_break_t */
    double                               timeout;  /* seconds */
    unsigned                             pin;       /* daxpin_pin_policy_t */
    unsigned                             reg_error; /* uct_daxpin_reg_error_t */
} uct_daxpin_md_config_t;

typedef struct uct_daxpin_md {
    uct_md_t        super;
    uct_component_h posix;  /* what the transport is made from */
    uct_md_h        inner;  /* memory domain of posix */
    daxpin_params_t params; /* for daxpin_file_adopt() */
    unsigned        reg_error;
} uct_daxpin_md_t;

/* A registration. Memory that is none of daxpin's business has no file. */
typedef struct uct_daxpin_memh {
    ucs_status_t  status; /* an error: its key is dead */
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    uint64_t      offset; /* in the file */
    uint64_t      va;
    uint64_t      length;
} uct_daxpin_memh_t;

extern ucs_config_field_t uct_daxpin_md_config_table[];

ucs_status_t uct_daxpin_md_query_resources(uct_component_t *component,
                                           uct_md_resource_desc_t **resources_p,
                                           unsigned *num_resources_p);

ucs_status_t uct_daxpin_md_open(uct_component_t *component,
                                const char *md_name,
                                const uct_md_config_t *md_config,
                                uct_md_h *md_p);

/* How daxpin_file_adopt() is to do it; 0: no memory domain is open to say so */
int uct_daxpin_md_get_params(daxpin_params_t *params);

/* What memory domains need of the process: libdaxpin's messages, and news of
 * what is unmapped. One put for every get. */
void uct_daxpin_process_get(void);
void uct_daxpin_process_put(void);

/* For a negative errno value of libdaxpin */
ucs_status_t uct_daxpin_status(int ret);

#endif
