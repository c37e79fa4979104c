# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# For the tests in the virtual machine, test/vm/test_*; to be sourced. Besides
# what test/lib.sh gives:
#   $here         this directory
#   $filesystems  those to be tested: xfs, ext4, which are mounted in /mnt

# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
# shellcheck source=test/lib.sh
. "$here/../lib.sh"

# shellcheck disable=SC2034 # for scripts that source this
filesystems=${DAXPIN_VM_FILESYSTEMS:-xfs ext4}

# A holder that is slow is not dead
export UCX_DAXPIN_TIMEOUT=${UCX_DAXPIN_TIMEOUT:-60s}
# The tests' files are where they have to be; Open MPI's own need not
export OMPI_MCA_orte_tmpdir_base=/tmp PRTE_MCA_prte_tmpdir_base=/tmp
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# As the tests do themselves for Open MPI 4
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export PRTE_MCA_mapby=:oversubscribe

# How mpirun starts something on another node: Open MPI 4, and PRRTE of later ones
export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_no_tree_spawn=1
export OMPI_MCA_plm_rsh_agent=$here/node
export PRTE_MCA_plm=ssh PRTE_MCA_plm_ssh_no_tree_spawn=1
export PRTE_MCA_plm_ssh_agent=$here/node

# From 1.16 to 1.18, UCX fences the new protocols by a kind of flush that devices
# driven by verbs alone do not have: see daxpin(7), "Releases of UCX"
ucx_release=$(sed -n 's/^#define DAXPIN_UCX_ABI //p' "$DAXPIN_BUILD/config.h")
[ "${ucx_release:-0}" -lt 116 ] || [ "$ucx_release" -gt 118 ] ||
    export UCX_FENCE_MODE=weak

# Arguments of mpirun, for two ranks on what they take for two nodes. All goes by
# UCX: TCP between addresses of one machine is not what Open MPI expects.
# shellcheck disable=SC2034
two_nodes=(-n 2 -host "nodeA,nodeB" --map-by node --mca pml ucx
           --mca osc "^rdma,pt2pt"
           --mca opal_common_ucx_progress_iterations 1)

# Name, command: it has to succeed and say something
check()
{
    local name=$1
    shift
    if "$@" >"$TMP/log" 2>&1 && [ -s "$TMP/log" ]; then
        ok "$name"
    else
        not_ok "$name" "$* failed, or printed nothing"
        show "$TMP/log"
    fi
}

# Run a program that prints results, such as test/vm/*.c, in a file system's
# directory, which is its last argument: file system, seconds, command
run_in()
{
    local fs=$1 seconds=$2 said=$TMP/said status
    shift 2
    timeout -k 5 "$seconds" "$@" "/mnt/$fs/tmp" >"$said" 2>&1 </dev/null
    status=$?
    sed -E "s/^(ok|not ok|skip) /\1 $fs: /" "$said"
    case $status in
    0) ;;
    124 | 137) not_ok "$fs: ${1##*/}" "still running after $seconds s" ;;
    *)
        FAILED=1
        grep -q '^not ok' "$said" ||
            not_ok "$fs: ${1##*/}" "exit status $status before its end" ;;
    esac
}

# Take the RDMA devices away, so that UCX cannot see them: rxe0, rxe1
have_no_rdma()
{
    local device
    for device in rxe0 rxe1; do
        [ ! -e "/sys/class/infiniband/$device" ] ||
            rdma link delete "$device" || return
    done
}

# Bring back those that are not there
have_rdma()
{
    local number devices=(dummy0 veth0)
    for number in 0 1; do
        [ -e "/sys/class/infiniband/rxe$number" ] ||
            rdma link add "rxe$number" type rxe netdev "${devices[number]}" ||
            return
    done
}

# Run a command while the kernel ends a lease 3 s after it was broken
with_short_leases()
{
    local setting=/proc/sys/fs/lease-break-time time status
    time=$(cat "$setting")
    echo 3 >"$setting"
    "$@"
    status=$?
    echo "$time" >"$setting"
    return "$status"
}

# The pin module, which test/vm/layer has built
load_module()
{
    local module
    module=$DAXPIN_BUILD/test/vm/kmod-$(uname -r)/daxpin.ko
    if ! insmod "$module" 2>"$TMP/insmod"; then
        not_ok "the pin module" "insmod $module: $(cat "$TMP/insmod")"
        dmesg | tail -n 5
        return 1
    fi
    chmod 0666 /dev/daxpin # as src/kmod/60-daxpin.rules does
}

# The same, for tests of mappings of the device, which are before Linux 6.15
load_module_with_mapping()
{
    if printf '6.15\n%s\n' "$(uname -r)" | sort -CV; then
        skip "mappings of the pin module" \
            "from Linux 6.15 on it has dma-bufs, see src/kmod/README.md"
        return 1
    fi
    load_module
}

# Descriptors that the kernel closes by and by keep it for a moment
unload_module()
{
    local i
    for ((i = 0; i < 50; ++i)); do
        if rmmod daxpin 2>"$TMP/rmmod"; then
            ok "the pin module can be unloaded"
            return
        fi
        sleep 0.1
    done
    not_ok "the pin module can be unloaded" "$(cat "$TMP/rmmod")"
}
