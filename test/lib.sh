# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# For the `run` script of a layer; to be sourced. Gives it
#   $TMP    a directory of its own, gone at the end
#   $MARK   what all its processes have in their environment
#   $SLOW   how many times longer things may take here: what a wait is to be
#           multiplied with
#   $QUICK  1: there is no time for many rounds; 0
# and the functions below. A layer prints one line a test, and ends with
# `finish`, whose status is 0 if no test failed.
#
#   DAXPIN_TEST_SLOW   a number, for slow machines; default: 1
#   DAXPIN_TEST_QUICK  1: fewer rounds, and of cases that differ little, one
#   DAXPIN_TEST_COMPILED  not empty: the layers' programs are there

# shellcheck shell=bash

# Tests say which files others may read, and take the rest for granted
umask 022

FAILED=0
# shellcheck disable=SC2034 # used by scripts that source this
SLOW=${DAXPIN_TEST_SLOW:-1}
QUICK=${DAXPIN_TEST_QUICK:-0}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/daxpin-test.XXXXXX") || exit 1
MARK=${TMP##*/}
export DAXPIN_TEST_MARK=$MARK

# Whether daxpin leases files there by default, as src/daxpin/os/fstype.c has it:
# directory. (Not on an overlay, where /tmp is in a container.)
trusted()
{
    case $(stat -f -c %T "$1") in
    ext2/ext3 | xfs | tmpfs | btrfs | f2fs) ;;
    *) false ;;
    esac
}

trusted "$TMP" || export DAXPIN_ANY_FS=${DAXPIN_ANY_FS:-1}

# A command that runs another one, where $TMP/overlay/all is an overlay; it fails
# if this user cannot mount one
# shellcheck disable=SC2016,SC2034 # for the shell that it starts
in_overlay=(unshare -m sh -c 'mkdir -p "$0" && mount -t tmpfs none "$0" &&
mkdir "$0/lower" "$0/upper" "$0/work" "$0/all" &&
mount -t overlay -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work" \
    none "$0/all" && exec "$@"' "$TMP/overlay")

# What mpirun of Open MPI 5 passes on may have zeroes before lines, and is text all
# the same
grep()
{
    command grep -a "$@"
}

# Run a command whose output goes to $log, without zeroes
# shellcheck disable=SC2154 # $log is the layer's
logged()
{
    local status
    "$@" </dev/null >"$log" 2>&1
    status=$?
    sed -i 's/\x00//g' "$log"
    return "$status"
}

ok()
{
    echo "ok $1"
}

# Name, why. What it left running goes.
not_ok()
{
    echo "not ok $1: $2"
    FAILED=1
    kill_survivors
}

skip()
{
    echo "skip $1: $2"
}

# One of two: what is to be done, and what if there is little time
choose()
{
    if [ "$QUICK" -eq 0 ]; then
        echo "$1"
    else
        echo "$2"
    fi
}

# Show the output of a failed test: file, greatest number of lines
show()
{
    tail -n "${2:-20}" "$1" | sed 's/^/# /'
}

# What the kernel says of the leases on a file, such as "ACTIVE WRITE", one
# a line. Does not open the file, so that it breaks none.
leases()
{
    local id
    id=$(stat -c '%Hd %Ld %i' "$1" 2>/dev/null) || return 0
    # shellcheck disable=SC2086
    id=$(printf '%02x:%02x:%s' $id)
    awk -v id="$id" '$2 == "LEASE" && $6 == id { print $3, $4 }' /proc/locks
}

# Wait until `leases FILE` is what is wanted: file, wanted, seconds
await_leases()
{
    local end=$((SECONDS + $3 * SLOW))
    while [ "$(leases "$1")" != "$2" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# Processes of this test that are still there. Those that are dead and not
# waited for have no environment. (No pipe: it would be of this test, too.)
survivors()
{
    local file
    for file in $(grep -lzx "DAXPIN_TEST_MARK=$MARK" /proc/[0-9]*/environ \
                      2>/dev/null); do
        file=${file#/proc/}
        [ "${file%/*}" = "$$" ] || echo "${file%/*}"
    done
}

# The process id of a rank of this test's job
rank_pid()
{
    local pid
    for pid in $(survivors); do
        if grep -qzx "OMPI_COMM_WORLD_RANK=$1" "/proc/$pid/environ" \
               2>/dev/null; then
            echo "$pid"
            return
        fi
    done
}

kill_survivors()
{
    local pid
    for pid in $(survivors); do
        kill -9 "$pid" 2>/dev/null
    done
}

# A test left nothing running: name
no_survivors()
{
    local pid left='' end=$((SECONDS + 3 * SLOW))
    while [ -n "$(survivors)" ] && [ "$SECONDS" -lt "$end" ]; do
        sleep 0.2
    done
    for pid in $(survivors); do
        left+=" $pid ($(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline"))"
    done
    [ -z "$left" ] && return 0
    not_ok "$1" "left processes behind:$left"
    return 1
}

finish()
{
    exit "$FAILED"
}

clean_up()
{
    # A signal to the process group may arrive twice; do not stop half-way
    trap '' INT TERM HUP
    kill_survivors
    rm -rf "$TMP"
}

trap clean_up EXIT
trap 'exit 1' INT TERM
