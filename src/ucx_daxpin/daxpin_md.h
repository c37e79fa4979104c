/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The memory domain: registers shared mappings of files under a lease */

#ifndef UCT_DAXPIN_MD_H_
#define UCT_DAXPIN_MD_H_

#include "abi/adapt.h"
#include "daxpin_ucp.h"
#include "daxpin/daxpin.h"

/* Of the component, of the memory domain that packs keys and has lanes, and of
 * the one transport */
#define UCT_DAXPIN_NAME     "daxpin"

/*
 * Of the memory domain that has leases, where they are two. UCP then registers
 * ordinary buffers of big messages in every memory domain that has a lane, and
 * only those may be cached together with the other lanes' registrations. But
 * what is cached stays registered when a program unmaps memory. So "daxpin" has
 * the lanes, is cached and owns nothing; "daxpin_map" has a device and an
 * interface that can do nothing, is not cached, and owns leases and pins.
 */
#define UCT_DAXPIN_MAP_NAME "daxpin_map"

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
    uct_daxpin_ucp_config_t ucp;
    int             has_keys;   /* packs them, and has lanes */
    int             has_leases; /* and pins */
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
