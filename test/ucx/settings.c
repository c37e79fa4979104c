/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Print what daxpin knows of UCP's settings. usage: settings */

#include "ucx_daxpin/daxpin_ucp.h"

#include <stdio.h>

int main(void)
{
    uct_daxpin_ucp_config_t config;

    uct_daxpin_ucp_config_read(&config);
    printf("%s%s%g\n", config.has_old_protocols ? "old " : "",
           config.has_new_protocols ? "new " : "", config.max_ratio);
    return 0;
}
