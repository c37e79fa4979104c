# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# For the `run` script of a layer; to be sourced. Gives it
#   $TMP    a directory of its own, gone at the end
#   $MARK   what all its processes have in their environment
# and the functions below. A layer prints one line a test, and ends with
# `finish`, whose status is 0 if no test failed.

# shellcheck shell=bash

FAILED=0
TMP=$(mktemp -d "${TMPDIR:-/tmp}/daxpin-test.XXXXXX") || exit 1
MARK=${TMP##*/}
export DAXPIN_TEST_MARK=$MARK

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

# Show what a failed test said: file, greatest number of lines
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
    local end=$((SECONDS + $3))
    while [ "$(leases "$1")" != "$2" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# Processes of this test that are still there
survivors()
{
    local file pid
    for file in /proc/[0-9]*/environ; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        if grep -qzx "DAXPIN_TEST_MARK=$MARK" "$file" 2>/dev/null &&
               [ "$pid" != "$$" ] &&
               grep -q '^State:[[:space:]]*[^Z]' "/proc/$pid/status" \
                    2>/dev/null; then
            echo "$pid"
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
    local pid left='' end=$((SECONDS + 3))
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
    kill_survivors
    rm -rf "$TMP"
}

trap clean_up EXIT
trap 'exit 1' INT TERM
