# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Packages of Debian that test/packaging/run has built: install them, use them,
# remove them. For systems that are thrown away afterwards: test/vm/test_packages,
# test/packaging/installed. To be sourced after test/lib.sh; needs DAXPIN_BUILD.

# shellcheck shell=bash

debs=$DAXPIN_BUILD/packages/deb

# What tells where the build tree is
unset DAXPIN_UCX_MODULE OMPI_MCA_opal_mca_base_component_path LD_LIBRARY_PATH

# Name, command: it has to succeed
works()
{
    local name=$1
    shift
    if "$@" >"$TMP/log" 2>&1; then
        ok "$name"
    else
        not_ok "$name" "$* failed"
        show "$TMP/log" 40
        return 1
    fi
}

# Without triggers: those of man-db and libc take minutes under emulation, and
# the libraries are found without. Packages
install_debs()
{
    local name files=()
    for name; do
        files+=("$debs/$name"_[0-9]*.deb)
    done
    timeout 400 dpkg --no-triggers -i "${files[@]}" </dev/null
}

# A window in a file, by installed files alone: source of allocate, file that there
# is not yet
run_installed()
(
    eval "$(daxpin env)" &&
        mpicc -o "$TMP/allocate" "$1" &&
        timeout -k 5 150 mpirun --oversubscribe -n 2 -x UCX_MD=daxpin \
            "$TMP/allocate" "$2" </dev/null || exit
    # Without daxpin's component there would be a window, and no file
    [ -s "$2" ] || { echo "there is no $2"; exit 1; }
)

# Remove packages; nothing may be left: packages
remove_debs()
{
    local left
    works "packages can be removed" dpkg --no-triggers --purge "$@"
    left=$(find /usr/bin /usr/sbin /usr/lib/*-linux-gnu /usr/share/man /usr/src \
               /lib/modules/*/updates /lib/systemd /lib/udev \
               -name '*daxpin*' 2>/dev/null)
    if [ -z "$left" ]; then
        ok "nothing is left of them"
    else
        not_ok "nothing is left of them" "$left"
    fi
}
