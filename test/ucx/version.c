/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A UCX that reports another release, to be preloaded before daxpin */

#ifndef MINOR
#  define MINOR 99
#endif

void ucp_get_version(unsigned *major, unsigned *minor, unsigned *release);

void ucp_get_version(unsigned *major, unsigned *minor, unsigned *release)
{
    *major   = 1;
    *minor   = MINOR;
    *release = 0;
}
