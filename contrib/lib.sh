# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Functions that contrib/demo and test/run share: install Debian packages, and
# build. To be sourced.

# shellcheck shell=bash

CONTRIB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1

# configure would say so after minutes, libtool and lists of paths never
signs=$'[][ \t\n"#$&\'`\\:;,*?()<>{}|!]'
if [[ $CONTRIB_TOP =~ $signs ]]; then
    echo "daxpin cannot be built in $CONTRIB_TOP: autoconf, libtool and lists of" \
        "paths take a character of it as a sign; letters, digits and /._+~-" \
        "are fine. Move this directory." >&2
    exit 1
fi

# What root has there is missing in the PATH of "su"
case :$PATH: in
*:/usr/sbin:*) ;;
*) export PATH=$PATH:/usr/sbin:/sbin ;;
esac

# Open MPI 5 does not start without it. A service has none.
if [ -z "${HOME-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d : -f 6)
    export HOME=${HOME:-/}
fi

# shellcheck disable=SC2034 # used by scripts that source this
# Packages to build daxpin and run the demo
PACKAGES_BUILD=(autoconf automake libtool make gcc libc6-dev pkg-config
                libucx-dev ucx-utils libopenmpi-dev openmpi-bin libpmix-dev
                libpmem2-dev libibverbs-dev libhwloc-dev)

# Print more packages, for the tests of layers: their names. One with a bar at its
# end is left out where the release of Debian does not have it, and the test skips
# itself.
test_packages()
{
    local layer
    echo build-essential libcmocka-dev python3 procps
    # The guard daemon and its programs, which make part of a whole build
    echo clang bpftool libbpf-dev
    for layer; do
        case $layer in
        format) echo "clang-format-14|" shellcheck man-db ;;
        unit | mpi) echo valgrind ;;
        model) echo spin ;;
        install) echo man-db ;;
        packaging) echo debhelper dh-dkms dkms lintian rpm ;;
        osc) echo iproute2 strace "gfortran|" "python3-mpi4py|" ;;
        mpich) echo mpich libmpich-dev ;;
        releases) echo debootstrap ;;
        scale) echo strace ;;
        vm)
            test_packages packaging
            echo qemu-system-x86 busybox-static cpio kmod xz-utils ndctl \
                xfsprogs e2fsprogs iproute2 rdma-core ibverbs-utils ;;
        esac
    done
}

# Open MPI refuses root unless both variables are set
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# Return whether the processes of this machine reach each other, as mpirun and the
# ranks do; say what to do if not
need_loopback()
{
    if LC_ALL=C timeout 5 bash -c ': <>/dev/tcp/127.0.0.1/9' 2>&1 |
           grep -q unreachable; then
        echo "127.0.0.1 cannot be reached, and mpirun needs it; as root, run:" \
            "ip link set lo up" >&2
        return 1
    fi
}

# Return whether apt has lists of packages
have_lists()
{
    # shellcheck disable=SC2016 # a name that apt replaces
    [ -n "$(apt-get indextargets --format '$(FILENAME)' \
                'Identifier: Packages' 2>/dev/null)" ]
}

# Install the named packages that are missing; see test_packages()
install_packages()
{
    local name missing=() lists=''
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not Debian; these packages have to be there already:" \
            "$*" >&2
        return 0
    fi
    for name; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "${name%|}" \
                2>/dev/null)" = installed ]; then
            continue
        fi
        if [ "$name" != "${name%|}" ]; then
            [ -n "$lists" ] || [ "$(id -u)" -ne 0 ] || have_lists ||
                apt_get update || return 1
            lists="read"
            apt-cache show "${name%|}" >/dev/null 2>&1 || continue
        fi
        [[ " ${missing[*]} " = *" ${name%|} "* ]] || missing+=("${name%|}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Packages are missing; as root, run:" \
            "apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "Installing ${missing[*]}"
    # At first the lists of packages may be missing or old
    apt_get install "${missing[@]}" 2>/dev/null && return 0
    apt_get update && apt_get install "${missing[@]}" && return 0
    echo "apt-get could not install ${missing[*]}; see above" >&2
    return 1
}

# apt-get without questions: update, or install PACKAGES. Its output is
# shown only when it fails.
apt_get()
{
    local verb=$1 output status
    shift
    output=$(DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=120 "$verb" \
        ${1:+--no-install-recommends} "$@" 2>&1 </dev/null)
    status=$?
    [ "$status" -eq 0 ] || echo "$output" | tail -n 15 >&2
    return "$status"
}

# Configure where needed, and build: directory, arguments of configure.
# The output goes to build.log there; its end is shown when the build fails.
build_tree()
{
    local dir=$1
    shift
    if ! mkdir -p "$dir" || ! [ -w "$dir" ] ||
           { [ -e "$dir/build.log" ] && ! [ -w "$dir/build.log" ]; }; then
        echo "Cannot build daxpin in $dir: user $(id -u) may not write there." \
            "Set DAXPIN_BUILD to another directory, or copy the sources." >&2
        return 1
    fi
    if ! build_steps "$dir" "$@" >"$dir/build.log" 2>&1 </dev/null; then
        echo "Cannot build daxpin in $dir; the end of build.log there:" >&2
        tail -n 30 "$dir/build.log" >&2
        return 1
    fi
}

# Print what configure looks for, and which of it there is: packages that came
# after a build tree was configured change what it has to build
found_parts()
{
    local name debian
    debian=/usr/lib/$(gcc -print-multiarch 2>/dev/null)/openmpi/lib/pkgconfig
    for name in libpmem2 ucx ompi-c pmix libibverbs hwloc cmocka libbpf; do
        echo "$name $(PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-}:$debian \
            pkg-config --modversion "$name" 2>/dev/null)"
    done
    for name in gcc clang bpftool mpicc pkg-config; do
        echo "$name $(PATH=$PATH:/usr/sbin:/sbin command -v "$name")"
    done
}

build_steps()
(
    local dir=$1 found
    shift
    if [ ! -x "$CONTRIB_TOP/configure" ] ||
           [ -e "$CONTRIB_TOP/config/aux/unfinished" ]; then
        "$CONTRIB_TOP/autogen.sh" || return 1
    fi
    cd "$dir" || return 1
    found=$(echo "$*"; found_parts)
    if [ ! -x config.status ] || [ "$(cat configured 2>/dev/null)" != "$found" ]
    then
        rm -f configured
        "$CONTRIB_TOP/configure" -q "$@" || return 1
        echo "$found" >configured
    fi
    make -s -j"$(nproc)"
)

# Print the mirror that apt has Debian from; nothing if it has no lists
debian_mirror()
{
    # shellcheck disable=SC2016 # names that apt replaces
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' \
        'Identifier: Packages' 'Origin: Debian' |
        sed -n 's/^Debian main //p' | head -n 1
}
