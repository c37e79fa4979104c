# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# What ran with which releases, and how it ended: test/run and test/releases
# append to $DAXPIN_BUILD/results, and test/run --table prints it. To be sourced;
# needs DAXPIN_BUILD.
#
# A line of it, with tabs: date, UCX, MPI, Debian, Linux, layer, how (whole,
# short: with DAXPIN_TEST_QUICK, part: of its tests), passed, failed, skipped.
# Instead of a layer: the order of the two commands in a fresh root, as demo+run.

# shellcheck shell=bash

# Print the first number with dots that a command prints; false if there is
# none: command
first_release()
{
    "$@" 2>/dev/null | grep -aoEm 1 '[0-9]+(\.[0-9]+)+[0-9a-z]*' | head -n 1 |
        grep .
}

# Print the release of UCX that the build is for. The one that runs has the rest
# of its number.
ucx_release()
{
    local abi release
    abi=$(sed -n 's/^#define DAXPIN_UCX_ABI 1//p' \
              "$DAXPIN_BUILD/config.h" 2>/dev/null)
    if [ -z "$abi" ]; then
        echo none
    elif release=$(first_release ucx_info -v) &&
            [ "${release#"1.$abi."}" != "$release" ]; then
        echo "$release"
    else
        echo "1.$abi"
    fi
}

# Print the MPI of a layer: layer
mpi_release()
{
    local release
    if [ "$1" = mpich ]; then
        release=$(first_release mpichversion) && echo "MPICH $release" && return
    elif grep -q '^#define HAVE_OMPI ' "$DAXPIN_BUILD/config.h" 2>/dev/null; then
        release=$(first_release ompi_info --version) &&
            echo "Open MPI $release" && return
    fi
    echo none
}

# Print the release of Debian, or what else this is
debian_release()
(
    ID=
    VERSION_ID=
    # shellcheck disable=SC1091
    ! [ -r /etc/os-release ] || . /etc/os-release
    if [ "$ID" = debian ]; then
        echo "${VERSION_ID:-$(cat /etc/debian_version)}"
    else
        echo "${ID:-unknown} $VERSION_ID"
    fi
)

# Print how much of a layer the caller's settings leave: layer
how_much()
{
    local tests=DAXPIN_${1^^}_TESTS
    if [ -n "${!tests:-}" ]; then
        echo part
    elif [ "${DAXPIN_TEST_QUICK:-0}" != 0 ] ||
             [ "$1-${DAXPIN_UNIT_ONLY:+only}" = unit-only ]; then
        echo short
    else
        echo whole
    fi
}

# Add a line: layer, Linux, how, passed, failed, skipped
add_result()
{
    local layer=$1 fields
    fields=("$(date +%F)" "$(ucx_release)" "$(mpi_release "$layer")"
            "$(debian_release)" "$2" "$layer" "$3" "$4" "$5" "$6")
    (IFS=$'\t'; echo "${fields[*]}") >>"$DAXPIN_BUILD/results"
}

# Print the release of Linux, without the numbers of its mends
linux_release()
{
    uname -r | grep -oE '^[0-9]+\.[0-9]+'
}

# Print the sums of a layer that ran with other kernels, in machines of their own:
# file with its output, number of failures in all. A test there is one of a layer,
# or of "vm". Before a machine runs, its kernel may be called "7", then "7.3".
machine_results()
{
    awk -v failed="$2" '
        !/^(ok|not ok|skip) [0-9]+(\.[0-9]+)? / { next }
        {
            verdict = sub(/^not /, "") ? "failed" : $1
        }
        NR == FNR {
            if (split($2, part, ".") > 1)
                whole[part[1]] = $2
            next
        }
        {
            kernel = $2 in whole ? whole[$2] : $2
            layer = "vm whole"
            if ($3 ~ /^(xfs|ext4)$/ && $4 ~ /^(unit|ucx|mpi|osc)(\+short)?:$/) {
                split($4, part, /[+:]/)
                layer = part[1] " short" # test/vm/test_layer sets that
            }
            sums[kernel " " layer]
            count[kernel " " layer, verdict]++
            failed -= verdict == "failed"
        }
        END {
            # One that had to be killed has no line for that
            if (failed > 0) {
                sums[kernel " vm whole"]
                count[kernel " vm whole", "failed"] += failed
            }
            for (i in sums)
                print i, count[i, "ok"] + 0, count[i, "failed"] + 0,
                    count[i, "skip"] + 0
        }' "$1" "$1" | sort -V
}

# Add the lines of such a layer; the arguments are those of machine_results()
add_machine_results()
{
    local linux layer how passed failed skipped
    while read -r linux layer how passed failed skipped; do
        [ -z "${DAXPIN_VM_TESTS:-}" ] || how=part
        add_result "$layer" "$linux" "$how" "$passed" "$failed" "$skipped"
    done < <(machine_results "$1" "$2")
}

# Print the newest line of each layer and release, as a table of Markdown: files.
# Where there is a line of a whole layer, none that is short or of a part counts,
# and so on.
table()
{
    sort -s -t "$(printf '\t')" -k 1,1 "$@" | awk -F '\t' '
        BEGIN {
            n = split("demo+run run run+demo unit model install packaging " \
                "tools ucx mpi osc scale mpich slurm vm", layers, " ")
        }
        {
            row = $2 "\t" $3 "\t" $4 "\t" $5
            cell = $8 " passed"
            if ($9) cell = "**" $9 " failed**, " cell
            if ($10) cell = cell ", " $10 " skipped"
            if ($7 != "whole") cell = cell " (" $7 ")"
            rows[row] = $1
            much = index("part short whole", $7)
            if (much >= how[row, $6]) {
                how[row, $6] = much
                cells[row, $6] = cell
            }
        }
        END {
            for (row in rows) {
                text = ""
                for (i = 1; i <= n; i++)
                    if ((row, layers[i]) in cells)
                        text = text (text == "" ? "" : "; ") layers[i] ": " \
                            cells[row, layers[i]]
                print row "\t" text "\t" rows[row]
            }
        }' | sort -t "$(printf '\t')" -k 3,3V -k 1,1V -k 2,2V -k 4,4V | awk -F '\t' '
        BEGIN {
            print "| UCX | MPI | Debian | Linux | what ran, and how it ended " \
                "| last |"
            print "|---|---|---|---|---|---|"
        }
        $5 != "" { print "| " $1 " | " $2 " | " $3 " | " $4 " | " $5 " | " $6 " |" }'
}
