/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What a rank of daxpin-probe prints: lines "daxpin-probe RANK KEY VALUE" */

#ifndef DAXPIN_TOOLS_PROBE_H_
#define DAXPIN_TOOLS_PROBE_H_

#define PROBE_FILE  "daxpin-probe"
#define PROBE_LABEL "daxpin-probe "

#define PROBE_KEY_SIZE    "size"    /* of MPI_COMM_WORLD */
#define PROBE_KEY_HOST    "host"
#define PROBE_KEY_MD      "md"      /* UCX_MD */
#define PROBE_KEY_MODULE  "module"  /* file name of the UCX plug-in, or none */
#define PROBE_KEY_OSC     "osc"     /* component behind a window */
#define PROBE_KEY_LEASE   "lease"   /* yes: the window's file is pinned */
#define PROBE_KEY_DATA    "data"    /* yes: MPI_Put wrote into the file */
#define PROBE_KEY_WINDOW  "window"  /* yes: osc_daxpin makes windows in files */
#define PROBE_KEY_MEMLOCK "memlock" /* bytes, or unlimited */

#endif
