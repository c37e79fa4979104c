/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The memory domain: registers shared mappings of files under a lease */

#ifndef UCT_DAXPIN_MD_H_
#define UCT_DAXPIN_MD_H_

#include "abi/abi.h"
#include "daxpin/daxpin.h"

/* Of the component, of its one memory domain and of its one transport */
#define UCT_DAXPIN_NAME "daxpin"

typedef struct uct_daxpin_md_config {
    UCS_CONFIG_STRING_ARRAY_FIELD(names) files;
    unsigned                             on_break;  /* daxpin_on_break_t */
    double                               timeout;   /* seconds */
    unsigned                             pin;       /* daxpin_pin_policy_t */
    unsigned                             reg_error; /* see daxpin_md.c */
} uct_daxpin_md_config_t;

typedef struct uct_daxpin_md {
    uct_md_t        super;
    uct_component_h posix;  /* what the transport is made from */
    uct_md_h        inner;  /* memory domain of posix */
    daxpin_params_t params; /* for daxpin_file_adopt() */
    unsigned        reg_error;
} uct_daxpin_md_t;

extern ucs_config_field_t uct_daxpin_md_config_table[];

/* Have libdaxpin follow the settings that concern the whole process */
ucs_status_t uct_daxpin_md_configure(const uct_md_config_t *md_config);

/* Open a memory domain, for the component's operation of this name */
ucs_status_t uct_daxpin_md_open(uct_component_t *component,
                                const char *md_name,
                                const uct_md_config_t *md_config,
                                uct_md_h *md_p);

#endif
