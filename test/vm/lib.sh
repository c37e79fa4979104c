# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# The virtual machine, seen from the host: what it takes, its kernel, its
# initrd, how it is booted. To be sourced by run, shell and layer.
#
# The guest's root is the host's, read-only through 9p, under an overlay in
# memory: whatever is installed and built here is there, and nothing that the
# guest does is seen here, but for two directories that are shared read-write:
# one for the job, and one for results.
#
#   DAXPIN_BUILD         build directory; default: build/main
#   DAXPIN_VM_KERNEL     6.1, 6.12, or 7: Debian's kernel of that series; 6.1 is of
#                        Debian 12, and the default there, 7 is the newest of
#                        Debian 13's backports
#   DAXPIN_VM_CACHE      where kernels are unpacked; default:
#                        $DAXPIN_BUILD/test/vm. Remove it to get newer ones.
#   DAXPIN_VM_TIMEOUT    seconds from power-on to power-off; default: 600
#   DAXPIN_VM_RESULTS    directory that the guest may write to; it has the same
#                        name there
#   DAXPIN_VM_NVDIMM     directory for files that back the NVDIMMs, so that
#                        what they hold is there at the next boot; default:
#                        memory, new each time
#   DAXPIN_VM_NVDIMM_MB  size of each NVDIMM; default: 512
#   DAXPIN_VM_MEMORY_MB  memory of the guest; default: 3072
#   DAXPIN_VM_CPUS       number of processors; default: 2. An even number is
#                        on two NUMA nodes; the kernel has XFS's and ext4's
#                        NVDIMM on the first of them, device DAX's on the other.
#   DAXPIN_VM_ACCEL      default: tcg,thread=multi. A /dev/kvm that is there
#                        need not work, so it is not used unasked.

# shellcheck shell=bash

VM_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
VM_TOP=$(cd "$VM_HERE/../.." && pwd) || exit 1
# shellcheck source=contrib/lib.sh
. "$VM_TOP/contrib/lib.sh"
export DAXPIN_BUILD=${DAXPIN_BUILD:-$VM_TOP/build/main}
PATH=$PATH:/usr/sbin:/sbin

if [ -n "${DAXPIN_VM_RESULTS:-}" ]; then
    DAXPIN_VM_RESULTS=$(realpath -m "$DAXPIN_VM_RESULTS")
    export DAXPIN_VM_RESULTS
fi

# Print the series of kernels that this machine's Debian has, oldest first
vm_all_series()
(
    VERSION_ID=
    # shellcheck disable=SC1091
    ! [ -r /etc/os-release ] || . /etc/os-release
    [ "${VERSION_ID:-12}" != 12 ] || echo 6.1
    echo 6.12
    echo 7
)

VM_SERIES=${DAXPIN_VM_KERNEL:-$(vm_all_series | head -n 1)}
VM_CACHE=${DAXPIN_VM_CACHE:-$DAXPIN_BUILD/test/vm}
VM_APT=() # options of apt-get and apt-cache, for a series; see vm_apt
VM_BACKPORTS=trixie-backports # the suite that has the kernels 7
# shellcheck disable=SC2034 # used by scripts that source this
VM_TIMEOUT=${DAXPIN_VM_TIMEOUT:-600}
VM_MEMORY_MB=${DAXPIN_VM_MEMORY_MB:-3072}
VM_NVDIMM_MB=${DAXPIN_VM_NVDIMM_MB:-512}
VM_ROOT=${DAXPIN_VM_ROOT:-/}
VM_ACCEL=${DAXPIN_VM_ACCEL:-tcg,thread=multi}
VM_CPUS=${DAXPIN_VM_CPUS:-2}
VM_NODES=$((VM_CPUS % 2 == 0 ? 2 : 1))
VM_NVDIMMS=3 # XFS, ext4, device DAX
VM_NEED_MB=$((VM_MEMORY_MB + VM_NVDIMMS * VM_NVDIMM_MB + 256))
# shellcheck disable=SC2034
VM_STATUS_FAILED=125 # the machine itself, rather than the command
# shellcheck disable=SC2034
VM_STATUS_EMULATOR=126 # likewise, and it was the emulator's fault

# Modules that mount the root directory
VM_MODULES=(virtio_pci 9pnet_virtio 9p overlay virtio_rng)

# Required commands, and their Debian packages
VM_COMMANDS=(qemu-system-x86_64:qemu-system-x86 busybox:busybox-static
             cpio:cpio modprobe:kmod xz:xz-utils flock:util-linux
             ndctl:ndctl mkfs.xfs:xfsprogs xfs_io:xfsprogs mkfs.ext4:e2fsprogs
             ip:iproute2 rdma:iproute2 ibv_devinfo:ibverbs-utils)

vm_error()
{
    echo "${0##*/}: $*" >&2
}

# Print how much memory this machine has available
vm_available_mb()
{
    awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo
}

# Print why no virtual machine can run here; silent and false if one can
vm_missing()
{
    local pair missing=() available

    for pair in "${VM_COMMANDS[@]}"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if ldd "$(command -v busybox)" >/dev/null 2>&1; then
        missing+=(busybox-static)
    fi
    if [ "${#missing[@]}" -gt 0 ]; then
        echo "packages are missing: apt-get install ${missing[*]}"
        return 0
    fi

    if [ "$VM_NVDIMM_MB" -lt 320 ]; then
        echo "DAXPIN_VM_NVDIMM_MB=$VM_NVDIMM_MB: XFS takes at least 320"
        return 0
    fi
    available=$(vm_available_mb)
    if [ "$available" -lt "$VM_NEED_MB" ]; then
        echo "the guest needs $VM_NEED_MB MiB of memory, $available are" \
            "available; set DAXPIN_VM_MEMORY_MB or DAXPIN_VM_NVDIMM_MB"
        return 0
    fi
    return 1
}

# A regular expression for the names of a series' packages (not the cloud
# flavour, which has neither 9p nor soft-RoCE)
vm_package_pattern()
{
    case $1 in
    6.1) echo '^linux-image-6\.1\.0-[0-9]+-amd64$' ;;
    6.12) echo '^linux-image-6\.12\.[0-9]+\+deb1[23]-amd64$' ;;
    7) echo '^linux-image-7\.[0-9]+\.[0-9]+\+deb13-amd64$' ;;
    *)
        vm_error "DAXPIN_VM_KERNEL=$1: there are 6.1, 6.12 and 7"
        return 1 ;;
    esac
}

# The newest kernel in the cache that has been unpacked: series
vm_cached_kernel()
{
    local pattern
    pattern=$(vm_package_pattern "$1") || return
    find "$VM_CACHE" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null |
        grep -E "$pattern" | sort -V | tail -n 1
}

# Set VM_APT, so that apt has the packages of a series: series. 7 is of a suite
# that this machine need not know: it is on the mirror that apt has Debian from.
# Lists are of their own, so that apt on this machine stays as it is.
vm_apt()
{
    local apt=$VM_CACHE/apt mirror
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg
    VM_APT=()
    [ "$1" = 7 ] || return 0
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        echo "apt has no lists of a mirror of Debian"
        return 1
    fi
    mkdir -p "$apt"/{parts,lists/partial,cache/archives/partial} &&
        printf "deb [signed-by=$keys] $mirror %s main\n" \
            "$VM_BACKPORTS" "${VM_BACKPORTS%-*}" >"$apt/sources.list" || return
    VM_APT=(-o "Dir::Etc::SourceList=$apt/sources.list"
            -o "Dir::Etc::SourceParts=$apt/parts"
            -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache")
}

# Update the lists of packages: series
vm_update()
{
    # A mirror of another suite is in the lists of this machine
    if [ "$1" = 7 ] && ! vm_apt "$1"; then
        apt-get -q update && vm_apt "$1" || return
    fi
    apt-get "${VM_APT[@]}" -q update
}

# Fetch the newest package of a series into the current directory. That of 7 is
# empty; it depends on those that have the kernel and its modules.
vm_download()
{
    local pattern package parts
    vm_apt "$1" && pattern=$(vm_package_pattern "$1") || return
    package=$(apt-cache "${VM_APT[@]}" search --names-only "$pattern" |
                  cut -d' ' -f1 | sort -V | tail -n 1)
    if [ -z "$package" ]; then
        echo "apt-cache knows no package $pattern"
        return 1
    fi
    apt-get "${VM_APT[@]}" -q download "$package" || return
    parts=$(dpkg-deb -f ./*.deb Depends |
                grep -oE 'linux-(base|binary|modules)-[0-9][^ ,]*')
    # shellcheck disable=SC2086
    [ -z "$parts" ] || apt-get "${VM_APT[@]}" -q download $parts || return
    echo "$package" >name
}

# Fetch and unpack a kernel, without installing it: series, new directory
vm_unpack_kernel()
(
    cd "$2" || exit
    if ! vm_download "$1"; then
        # The lists may be missing or old
        vm_update "$1" && vm_download "$1" || exit
    fi
    mkdir root || exit
    for package in ./*.deb; do
        dpkg -x "$package" root || exit
    done
    rm ./*.deb
    # Modules are in /usr/lib in 7, with the kernel among them
    [ -e root/lib ] || ln -s usr/lib root/lib || exit
    basename root/lib/modules/* >release
    depmod -b root "$(cat release)" &&
        mv "$(find root/boot root/usr/lib/modules -name 'vmlinuz*' \
                  2>/dev/null)" vmlinuz
)

# Make sure that there is a kernel, and set VM_KERNEL to its directory, which
# has in it: vmlinuz, initrd, release, root/lib/modules
vm_kernel()
{
    local new lock
    vm_package_pattern "$VM_SERIES" >/dev/null || return
    mkdir -p "$VM_CACHE" || return
    exec {lock}>"$VM_CACHE/lock"
    flock "$lock"
    VM_KERNEL=$VM_CACHE/$(vm_cached_kernel "$VM_SERIES")
    if [ ! -e "$VM_KERNEL/vmlinuz" ]; then
        new=$(mktemp -d "$VM_CACHE/new.XXXXXX") || return
        if ! vm_unpack_kernel "$VM_SERIES" "$new" >"$new/log" 2>&1; then
            vm_error "cannot get Debian's kernel $VM_SERIES by apt-get:"
            tail -n 10 "$new/log" >&2
            rm -rf "$new"
            return 1
        fi
        VM_KERNEL=$VM_CACHE/$(cat "$new/name")
        mv "$new" "$VM_KERNEL" || return
    fi
    vm_initrd
    local status=$?
    exec {lock}>&-
    return "$status"
}

# Fetch the headers of a kernel, and what they need, into the current directory:
# release. The tools of 7 need the C library of their own release of Debian.
vm_download_headers()
{
    vm_apt "$VM_SERIES" &&
        apt-get "${VM_APT[@]}" -q download "linux-headers-$1" || return
    # shellcheck disable=SC2046 # the packages that it needs
    apt-get "${VM_APT[@]}" -q download $(dpkg-deb -f ./*.deb Depends |
        grep -oE 'linux-(headers-[^ ,]*-common|kbuild-[^ ,]*)') || return
    [ "$VM_SERIES" != 7 ] ||
        apt-get "${VM_APT[@]}" -q download "libc6/${VM_BACKPORTS%-*}"
}

# Have a program of the current directory run with the C library that is there
vm_wrap_tool()
{
    local libs=$VM_KERNEL/headers/usr/lib/x86_64-linux-gnu
    mv "$1" "$1.elf" && chmod +x "$1.elf" &&
        printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
            "$libs/ld-linux-x86-64.so.2" \
            "$libs:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu" \
            "$VM_KERNEL/headers/$1.elf" >"$1" && chmod +x "$1"
}

# Fetch and unpack the headers of the kernel VM_KERNEL: new directory
vm_unpack_headers()
(
    local release package tool
    release=$(cat "$VM_KERNEL/release") && cd "$1" || exit
    if ! vm_download_headers "$release"; then
        rm -f ./*.deb
        vm_update "$VM_SERIES" && vm_download_headers "$release" || exit
    fi
    for package in ./*.deb; do
        dpkg -x "$package" . || exit
    done
    rm ./*.deb
    [ "$VM_SERIES" != 7 ] ||
        for tool in scripts/mod/modpost.real-lsb-64 tools/objtool/objtool.real-x86
        do
            vm_wrap_tool "$(echo usr/lib/linux-kbuild-*)/$tool" || exit
        done
    ln -s "usr/src/linux-headers-$release" build &&
        sed -i "s|/usr/src/|$VM_KERNEL/headers/usr/src/|" build/Makefile
)

# Make sure that there are headers in VM_KERNEL, as `headers/build`. They have their
# own path in them: those of a cache that was copied are fetched again.
vm_headers()
{
    local new='' lock status=0
    exec {lock}>"$VM_CACHE/lock"
    flock "$lock"
    if ! grep -qsF "$VM_KERNEL/headers/" "$VM_KERNEL/headers/build/Makefile"
    then
        rm -rf "$VM_KERNEL/headers"
        new=$(mktemp -d "$VM_KERNEL/headers.XXXXXX") &&
            vm_unpack_headers "$new" >"$new.log" 2>&1 &&
            mv "$new" "$VM_KERNEL/headers"
        status=$?
    fi
    if [ "$status" -ne 0 ]; then
        vm_error "cannot get the headers of $VM_KERNEL by apt-get; if Debian" \
            "has removed them, remove it to get a newer kernel:"
        tail -n 10 "$new.log" >&2
        rm -rf "$new"
    fi
    [ -z "$new" ] || rm -f "$new.log"
    exec {lock}>&-
    return "$status"
}

# Build a module for the kernel VM_KERNEL, without a warning: sources, directory
# for it. It has no BTF types, which need a program that few have. The compiler
# is this machine's, which need not know all that the kernel's own compiler did.
vm_build_module()
{
    local arguments=(CONFIG_DEBUG_INFO_BTF_MODULES=)
    vm_headers || return
    [ "$VM_SERIES" != 7 ] ||
        arguments+=(CC="${CC:-gcc}" CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=
                    PAHOLE_VERSION= CONFIG_PAHOLE_VERSION=)
    mkdir -p "$2/wire" && cp -u "$1"/{Kbuild,*.[ch]} "$2" &&
        cp -u "$VM_TOP/src/wire/ioctl.h" "$2/wire" &&
        make -s -C "$VM_KERNEL/headers/build" M="$2" W=1 KCFLAGS=-Werror \
            "${arguments[@]}" modules
}

# The files of the modules that the initrd needs, in the order of loading
vm_module_files()
(
    set -o pipefail
    for module in "${VM_MODULES[@]}"; do
        modprobe -d "$VM_KERNEL/root" -S "$(cat "$VM_KERNEL/release")" \
            --show-depends "$module" || return
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
)

# Make the initrd, if it is older than what goes into it
vm_initrd()
{
    local root file files name
    [ "$VM_KERNEL/initrd" -nt "$VM_HERE/init" ] && return
    files=$(vm_module_files) || return
    root=$(mktemp -d "$VM_KERNEL/initrd.XXXXXX") || return
    mkdir "$root"/{bin,dev,proc,sys,modules,new,lower,upper}
    cp "$(command -v busybox)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cp "$VM_HERE/init" "$root/init"
    for file in $files; do
        name=$(basename "${file%.xz}")
        case $file in
        *.xz) xz -dc "$file" >"$root/modules/$name" ;;
        *) cp "$file" "$root/modules/$name" ;;
        esac
        echo "$name" >>"$root/modules/list"
    done
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) \
        >"$root.gz" && mv "$root.gz" "$VM_KERNEL/initrd"
    local status=$?
    rm -rf "$root" "$root.gz"
    if [ "$status" -ne 0 ]; then
        vm_error "cannot make $VM_KERNEL/initrd"
    fi
    return "$status"
}

# Write the job for another system than this machine's: a unit of systemd that runs
# a script, which has the other files beside it. Directory, script, other files
vm_job_unit()
{
    local share=$1
    shift
    cp "$@" "$share" && cat >"$share/daxpin-vm.service" <<END
[Unit]
Description=Test in the virtual machine

[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=DAXPIN_TEST_SLOW=${DAXPIN_TEST_SLOW:-8}
StandardOutput=append:/run/daxpin-vm/stdout
StandardError=append:/run/daxpin-vm/stderr
ExecStartPre=dmesg -C
ExecStart=/bin/bash -c '"\$0" "\$@"; echo \$? >/run/daxpin-vm/status' \
    /run/daxpin-vm/$(basename "$1")
ExecStopPost=/bin/bash -c 'dmesg >/run/daxpin-vm/dmesg; sync; systemctl poweroff -ff'
END
}

# Write the job for the guest into the directory that is shared with it:
# directory, seconds that it has, command (none: a shell)
vm_job()
{
    local share=$1
    # shellcheck disable=SC2034
    local job_deadline=$(($(date +%s) + $2))
    shift 2
    # shellcheck disable=SC2034 # they go to the guest
    local job_command=("$@") job_directory=$PWD job_kernel=$VM_KERNEL
    # shellcheck disable=SC2034
    local job_results=${DAXPIN_VM_RESULTS:-} job_environment=()
    local name size job_terminal=sane
    for name in $(compgen -e | grep -E '^((DAXPIN|UCX|OMPI)_.*|TERM)$'); do
        job_environment+=("$name=${!name}")
    done
    if size=$(stty size 2>/dev/null); then
        job_terminal="sane rows ${size% *} cols ${size#* }"
    fi
    cp "$VM_HERE/guest" "$share/guest" &&
        declare -p job_command job_deadline job_directory job_environment \
            job_kernel job_results job_terminal >"$share/job"
}

# QEMU's arguments for NUMA nodes with half of the processors and the memory
# each, into `arguments`
vm_nodes()
{
    local node size=$((VM_MEMORY_MB / VM_NODES)) half=$((VM_CPUS / VM_NODES))
    for ((node = 0; node < VM_NODES; ++node)); do
        arguments+=(-object "memory-backend-ram,id=mem$node,size=${size}M"
                    -numa "node,nodeid=$node,memdev=mem$node,\
cpus=$((node * half))-$((node * half + half - 1))")
    done
    [ "$VM_NODES" -eq 1 ] || arguments+=(-numa "dist,src=0,dst=1,val=20")
}

# QEMU's arguments for the NVDIMMs, on one node after the other, into
# `arguments`
vm_nvdimms()
{
    local i backend size=$((VM_NVDIMM_MB << 20))
    for ((i = 0; i < VM_NVDIMMS; ++i)); do
        backend=memory-backend-ram,id=nv$i,size=$size
        if [ -n "${DAXPIN_VM_NVDIMM:-}" ]; then
            mkdir -p "$DAXPIN_VM_NVDIMM" || return
            backend=memory-backend-file,id=nv$i,size=$size,share=on
            backend+=,mem-path=$DAXPIN_VM_NVDIMM/nvdimm$i
        fi
        arguments+=(-object "$backend" -device
                    "nvdimm,id=nvdimm$i,memdev=nv$i,node=$((i % VM_NODES))")
    done
}

# QEMU's arguments for a directory: path, name, further options
vm_directory()
{
    arguments+=(-fsdev
                "local,id=$2,path=$1,security_model=none,multidevs=remap${3:-}"
                -device "virtio-9p-pci,fsdev=$2,mount_tag=$2")
}

# Pass the frequency of the time-stamp counter, which is the host's, to an
# emulated guest. Otherwise the guest measures against an emulated timer: its
# clock was seen to be a quarter too fast, so that time limits ended too early.
vm_clock()
{
    local program=$VM_CACHE/tsc source=$VM_HERE/tsc.c
    case $VM_ACCEL in
    tcg*) ;;
    *) return ;;
    esac
    [ "$program" -nt "$source" ] ||
        ${CC:-gcc} -std=gnu11 -O1 -o "$program" "$source" || return
    echo "tsc_early_khz=$("$program")"
}

# Print the processor that is emulated. The emulator breaks the flags of cmpxchg16b
# once in many hours: the guest's kernel died of EFLAGS that no processor has. So
# there is none, but for Linux 7: it has no memory for BPF's maps without.
vm_processor()
{
    case $VM_SERIES in
    6.*) echo max,-cx16 ;;
    *) echo max ;;
    esac
}

# Set VM_QEMU to the command that boots the guest: directory of the job
vm_qemu()
{
    local arguments=()
    vm_nodes
    vm_nvdimms || return
    vm_directory "$VM_ROOT" root ,readonly=on
    vm_directory "$1" job
    if [ -n "${DAXPIN_VM_RESULTS:-}" ]; then
        mkdir -p "$DAXPIN_VM_RESULTS" || return
        vm_directory "$DAXPIN_VM_RESULTS" results
    fi
    # Tests count page faults: there are none of NUMA balancing
    # shellcheck disable=SC2034,SC2054
    VM_QEMU=(qemu-system-x86_64 -machine pc,nvdimm=on,pit=off
             -accel "$VM_ACCEL" -cpu "$(vm_processor)"
             -smp "$VM_CPUS"
             -m "$((VM_MEMORY_MB / VM_NODES * VM_NODES))M,slots=8,maxmem=64G"
             -kernel "$VM_KERNEL/vmlinuz" -initrd "$VM_KERNEL/initrd"
             -append "console=ttyS0 quiet panic=-1 nokaslr mitigations=off \
numa_balancing=disable tsc=reliable log_buf_len=4M watchdog_thresh=60 \
rcupdate.rcu_cpu_stall_timeout=120 $(vm_clock)"
             -device virtio-rng-pci -nic none -display none -monitor none
             -no-reboot "${arguments[@]}")
}
