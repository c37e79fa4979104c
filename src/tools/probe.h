/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_PROBE_H_
#define DAXPIN_TOOLS_PROBE_H_

/* What a rank of the probe says: lines "daxpin-probe RANK KEY VALUE" */
#define PROBE_FILE  "daxpin-probe"
#define PROBE_LABEL "daxpin-probe "

#define PROBE_KEY_SIZE    "size"    /* of MPI_COMM_WORLD */
#define PROBE_KEY_HOST    "host"
#define PROBE_KEY_MD      "md"      /* UCX_MD */
#define PROBE_KEY_MODULE  "module"  /* file name of the UCX module, or none */
#define PROBE_KEY_PML     "pml"     /* component in use */
#define PROBE_KEY_OSC     "osc"     /* component behind a window */
#define PROBE_KEY_LEASE   "lease"   /* yes: its file is pinned under lease */
#define PROBE_KEY_DATA    "data"    /* yes: what was put has arrived */
#define PROBE_KEY_WINDOW  "window"  /* yes: osc_daxpin makes windows in files */
#define PROBE_KEY_MEMLOCK "memlock" /* bytes, or unlimited */

#endif
