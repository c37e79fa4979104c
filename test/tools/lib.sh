# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# Functions for the scripts of this directory, each of which tests a command

# shellcheck shell=bash

TOOLS_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
# shellcheck source=test/lib.sh
. "$TOOLS_HERE/../lib.sh"

build=${DAXPIN_BUILD:-$TOOLS_HERE/../../build/main}
daxpin=$build/src/tools/daxpin
bin=$TMP/bin
log=$TMP/log
files=$TMP/files
fds=()
declare -A to=() from=() # descriptors of running pinners, by pid

# Report a failed test and show the output of the command, and what pinners have
# said: name, reason
bad()
{
    not_ok "$1" "$2"
    show "$log" 40
    [ ! -s "$TMP/pinner.err" ] || show "$TMP/pinner.err" 40
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
    disown "$pid" # so that bash prints nothing when it is killed
    to[$pid]=$in
    from[$pid]=$out
    if ! read -r -t 300 answer <&"$out" || [ "${answer%% *}" != ready ]; then
        echo "pinner: ${answer:-no answer}" >>"$TMP/pinner.err"
        cp "$TMP/pinner.err" "$log"
        fds=()
        return 1
    fi
    # shellcheck disable=SC2034 # the sourcing script uses it
    read -r -a fds <<<"${answer#ready}"
}

# Send a pinner a command and wait until it is done: pid, command
send_pinner()
{
    local answer
    echo "$2" >&"${to[$1]}"
    read -r -t 60 answer <&"${from[$1]}" && [ "$answer" = "done" ]
}

# Wait for the end of a process that bash has disowned: pid
await_end()
{
    local end=$((SECONDS + 60 * SLOW))
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

# The command prints a text and nothing else: name, exit status, text, arguments
check_output()
{
    local name=$1 wanted=$2 text=$3 status
    shift 3
    "$daxpin" "$@" >"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        bad "$name" "exit status $status, not $wanted"
    elif [ "$(cat "$log")" != "$text" ]; then
        bad "$name" "it does not print exactly: $text"
    else
        ok "$name"
    fi
}

# The command prints a line that matches: name, exit status, extended regular
# expression, arguments
check_line()
{
    local name=$1 wanted=$2 pattern=$3 status
    shift 3
    "$daxpin" "$@" >"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        bad "$name" "exit status $status, not $wanted"
    elif ! grep -qE -- "$pattern" "$log"; then
        bad "$name" "it prints no line with: $pattern"
    else
        ok "$name"
    fi
}

# A Python expression is true of the JSON, `it`, that the command prints: name,
# expression, arguments
check_json()
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
        bad "$name" "not true: $expression"
    fi
}

# A manual page names every member of the JSON that the command prints: page,
# arguments
check_members()
{
    local name="$1 names the members of --json" page=$TOOLS_HERE/../../man/$1.1
    shift
    "$daxpin" "$@" >"$log" 2>"$TMP/errors" </dev/null
    if python3 - "$log" "$page" <<'END' >>"$TMP/errors" 2>&1
import json, re, sys
def members(it):
    if isinstance(it, list):
        return set().union(*map(members, it))
    return set(it).union(*map(members, it.values())) if isinstance(it, dict) else set()
bold = set(re.findall(r"\w+", " ".join(
    line for line in open(sys.argv[2]) if line.startswith((".B", ".RB")))))
said = members(json.load(open(sys.argv[1])))
print("not named:", *sorted(said - bold))
sys.exit(not said or not said <= bold)
END
    then
        ok "$name"
    else
        cat "$TMP/errors" >>"$log"
        bad "$name" "not all of them"
    fi
}

# The manual pages and the completion name every option: command
check_options()
{
    local name="daxpin $1: its options are named" top=$TOOLS_HERE/../.. option file
    "$daxpin" "$1" --help | grep -oE -- '--[a-z-]{2,}' | sort -u >"$log"
    while read -r option; do
        for file in man/daxpin.1 "man/daxpin-$1.1" src/tools/completion/daxpin; do
            sed 's/\\-/-/g' "$top/$file" | grep -qwF -- "$option" ||
                echo "$option is not in $file"
        done
    done <"$log" >"$TMP/errors"
    if [ -s "$log" ] && [ ! -s "$TMP/errors" ]; then
        ok "$name"
    else
        bad "$name" "$(cat "$TMP/errors")"
    fi
}

# Begin a script: the names of the programs that it needs
begin()
{
    chmod 755 "$TMP" && mkdir -p "$files" && chmod 1777 "$files" || exit 1
    if ! compile "$@" >"$log" 2>&1; then
        bad "test programs" "they do not compile"
        exit 1
    fi
}

# End a script
end()
{
    stop_pinners
    no_survivors "${0##*/}"
    finish
}
