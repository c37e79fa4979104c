#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Make ./configure out of configure.ac; needs autoconf, automake and libtool.

set -e
cd "$(dirname "$0")"
mkdir -p config/m4 config/aux

# An autoreconf that was interrupted leaves half of a cache, on which every later
# one fails; and while this is there, ./configure may be, and what it needs not
rm -rf autom4te.cache
: >config/aux/unfinished
autoreconf --install --force "$@"
rm config/aux/unfinished
