# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# For the scripts of this directory, each of which tests a command; to be
# sourced.

# shellcheck shell=bash

TOOLS_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
# shellcheck source=test/lib.sh
. "$TOOLS_HERE/../lib.sh"

build=${DAXPIN_BUILD:-$PWD}
daxpin=$build/src/tools/daxpin
bin=$TMP/bin
log=$TMP/log
files=$TMP/files
fds=()
declare -A to=() from=() # descriptors of running pinners, by pid

# Name, reason; what the command said is shown
bad()
{
    not_ok "$1" "$2"
    show "$log" 40
}

# Build the programs of this directory: names
compile()
{
    local name
    mkdir -p "$bin" || return
    for name; do
        ${CC:-gcc} -std=gnu11 -Wall -Wextra -O1 -g \
            -I"$TOOLS_HERE/../../src/daxpin" -o "$bin/$name" "$TOOLS_HERE/$name.c" \
            -L"$build/src/daxpin/.libs" -ldaxpin \
            -Wl,-rpath,"$build/src/daxpin/.libs" || return
    done
}

# Start a pinner: its arguments. Sets `pid` and `fds`, an array
start_pinner()
{
    local in out answer
    coproc PINNER { exec "$bin/pinner" "$@" 2>>"$TMP/pinner.err"; }
    pid=$PINNER_PID
    exec {out}<&"${PINNER[0]}" {in}>&"${PINNER[1]}"
    # shellcheck disable=SC2093,SC1083
    exec {PINNER[0]}<&- {PINNER[1]}>&-
    disown "$pid" # so that its death is no news
    to[$pid]=$in
    from[$pid]=$out
    if ! read -r -t 300 answer <&"$out" || [ "${answer%% *}" != ready ]; then
        echo "pinner: ${answer:-said nothing}" >>"$TMP/pinner.err"
        cp "$TMP/pinner.err" "$log"
        fds=()
        return 1
    fi
    # shellcheck disable=SC2034 # for those who source this
    read -r -a fds <<<"${answer#ready}"
}

# pid, what to do
tell()
{
    local answer
    echo "$2" >&"${to[$1]}"
    read -r -t 60 answer <&"${from[$1]}" && [ "$answer" = "done" ]
}

# A process of ours, not our child any more: pid
await_end()
{
    local end=$((SECONDS + 60))
    while [ -e "/proc/$1" ] && [ "$SECONDS" -lt "$end" ]; do
        sleep 0.02
    done
}

stop_pinner()
{
    local in=${to[$1]} out=${from[$1]}
    kill "$1" 2>/dev/null
    exec {in}>&- {out}<&-
    await_end "$1"
    unset "to[$1]" "from[$1]"
}

stop_pinners()
{
    local pid
    for pid in "${!to[@]}"; do
        stop_pinner "$pid"
    done
}

# The command has to say this and nothing else: name, exit status, text,
# arguments
says()
{
    local name=$1 wanted=$2 text=$3 status
    shift 3
    "$daxpin" "$@" >"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        bad "$name" "exit status $status, not $wanted"
    elif [ "$(cat "$log")" != "$text" ]; then
        bad "$name" "it said other than: $text"
    else
        ok "$name"
    fi
}

# The command has to say a line that matches: name, exit status, extended
# regular expression, arguments
tells()
{
    local name=$1 wanted=$2 pattern=$3 status
    shift 3
    "$daxpin" "$@" >"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        bad "$name" "exit status $status, not $wanted"
    elif ! grep -qE -- "$pattern" "$log"; then
        bad "$name" "it does not say: $pattern"
    else
        ok "$name"
    fi
}

# What a Python expression says of JSON, `it`, that the command printed: name,
# expression, arguments
json_says()
{
    local name=$1 expression=$2
    shift 2
    "$daxpin" "$@" >"$log" 2>"$TMP/errors" </dev/null
    if python3 - "$log" "$expression" <<'END' 2>>"$TMP/errors"
import json, sys
it = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 1)
END
    then
        ok "$name"
    else
        cat "$TMP/errors" >>"$log"
        bad "$name" "not so: $expression"
    fi
}


# To be called first, with the names of the programs that are needed
begin()
{
    chmod 755 "$TMP" && mkdir -p "$files" && chmod 1777 "$files" || exit 1
    if ! compile "$@" >"$log" 2>&1; then
        bad "test programs" "they do not compile"
        exit 1
    fi
}

# And last
end()
{
    stop_pinners
    no_survivors "${0##*/}"
    finish
}
