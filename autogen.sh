#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Make ./configure out of configure.ac; needs autoconf, automake and libtool.

set -e
cd "$(dirname "$0")"
mkdir -p config/m4 config/aux

# While this is there, ./configure may be, and what it needs not: it is made before
# the last of it
: >config/aux/unfinished
autoreconf --install --force "$@"
rm config/aux/unfinished
