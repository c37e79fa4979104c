#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Make ./configure out of configure.ac; needs autoconf, automake and libtool.

set -e
cd "$(dirname "$0")"
mkdir -p config/m4 config/aux
exec autoreconf --install --force "$@"
