# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.
#
# The report of test/bench/run --report DIR: tables, CSV files and plots of what
# daxpin costs beside what a user would take in its place. To be sourced by
# test/bench/run, whose variables and functions it uses.

# shellcheck shell=bash disable=SC2154 # variables of test/bench/run

# Kinds of windows and copies, and what the report calls them; see sweep.c
report_kinds="daxpin create allocate passed sm memcpy"

# Calls that have a size
report_calls="put get accumulate"

report_title()
{
    case $1 in
    daxpin) echo "daxpin, a file" ;;
    durable) echo "daxpin, daxpin_persist=flush" ;;
    create) echo "MPI_Win_create, the file without daxpin" ;;
    allocate) echo "MPI_Win_allocate, memory, osc/ucx" ;;
    sm) echo "MPI_Win_allocate, memory, osc/sm" ;;
    memcpy) echo "memcpy" ;;
    synced) echo "a store and MPI_Win_sync, daxpin_persist=sync" ;;
    passed) echo "MPI_Win_allocate with daxpin, osc/ucx" ;;
    write) echo "MPI_File_write_at, MPI_File_sync" ;;
    msync) echo "msync" ;;
    pmem2) echo "pmem2_persist" ;;
    persist) echo "daxpin_file_persist" ;;
    idle) echo "idle" ;;
    puts) echo "8 B puts" ;;
    large) echo "64 MiB puts" ;;
    first) echo "idle, locks not listed before" ;;
    stopped) echo "one is stopped" ;;
    esac
}

# Run a command and print its lines with a kind before them: kind, command
report_run()
{
    local kind=$1
    shift
    timeout -k 5 $((120 * SLOW)) "$@" </dev/null 2>>"$log" |
        sed "s/^/$kind /"
    [ "${PIPESTATUS[0]}" -eq 0 ] || not_ok "report: $kind" "it does not run"
    rm -f "$files"/*
}

# One turn of all kinds of windows. Lines of KIND CALL BYTES NS
report_windows()
{
    local ucx=(--mca pml ucx --mca opal_common_ucx_tls any
               --mca opal_common_ucx_devices any)
    report_run allocate mpirun -n 2 "${ucx[@]}" --mca osc ucx "$bin/sweep" \
        allocate -
    report_run sm mpirun -n 2 --mca osc sm "$bin/sweep" allocate -
    report_run create mpirun -n 2 "${ucx[@]}" --mca osc ucx "$bin/sweep" \
        create "$files/w" "$files/other"
    (
        eval "$("$daxpin" env)"
        report_run daxpin mpirun -n 2 -x UCX_MD=daxpin "$bin/sweep" path \
            "$files/w"
        report_run durable mpirun -n 2 -x UCX_MD=daxpin "$bin/sweep" durable \
            "$files/w"
        report_run synced mpirun -n 2 -x UCX_MD=daxpin "$bin/sweep" synced \
            "$files/w"
        report_run passed mpirun -n 2 -x UCX_MD=daxpin "${ucx[@]}" \
            --mca osc ucx,daxpin "$bin/sweep" allocate -
    )
}

# One turn of many ranks that put at a time. Lines of KIND WHAT RANKS PER_SECOND
report_rates()
{
    local ranks
    local ucx=(--mca pml ucx --mca osc ucx --mca opal_common_ucx_tls any
               --mca opal_common_ucx_devices any)
    for ranks in 2 4 8; do
        report_run allocate mpirun -n "$ranks" --mca mpi_yield_when_idle 1 \
            "${ucx[@]}" "$bin/rate" allocate -
        report_run sm mpirun -n "$ranks" --mca mpi_yield_when_idle 1 \
            --mca osc sm "$bin/rate" allocate -
        (
            eval "$("$daxpin" env)"
            report_run daxpin mpirun -n "$ranks" --mca mpi_yield_when_idle 1 \
                -x UCX_MD=daxpin "$bin/rate" path "$files/w"
        )
    done
}

# Puts to another node, if this user can make two. Lines of KIND CALL BYTES NS
report_nodes()
{
    local i
    rm -f "$TMP"/calls.*
    for ((i = 0; i < (rounds + 1) / 2; ++i)); do
        calls_nodes
    done
    sed 's/^/daxpin /' "$TMP/calls.file-nodes" 2>>"$log"
    sed 's/^/allocate /' "$TMP/calls.plain-nodes" 2>>"$log"
}

# Checkpoints of 4 ranks. Lines of KIB MS COPIES_MS MPIIO_MS
report_checkpoints()
{
    local kib
    for kib in 256 16384; do
        (
            eval "$("$daxpin" env)"
            timeout -k 5 $((120 * SLOW)) mpirun -n 4 \
                --mca mpi_yield_when_idle 1 -x UCX_MD=daxpin \
                "$bin/checkpoint" "$files/c" "$kib" $((3 * rounds))
        ) 2>>"$log" >"$TMP/checkpoint"
        echo "$kib $(cut -d' ' -f1 "$TMP/checkpoint" | median)" \
            "$(cut -d' ' -f2 "$TMP/checkpoint" | median)" \
            "$(cut -d' ' -f3 "$TMP/checkpoint" | median)"
        rm -f "$files"/*
    done
}

# Times that are measured for processes that do something: what, their number.
# More processes take longer to begin and to end, and all writers together have no
# more processors than one of them.
report_turns()
{
    case $1,$2 in
    stopped,*) echo 2 ;; # each takes 5 s
    large,2 | large,8) echo $((6 * rounds)) ;;
    large,256) echo "$rounds" ;;
    large,*) echo $((2 * rounds)) ;;
    first,256 | puts,256) echo $((4 * rounds)) ;;
    *) echo $((40 * rounds)) ;;
    esac
}

# How long a truncate waits: lines of WHAT PROCESSES MEDIAN_US P99_US MAX_US TIMES
report_delays()
{
    local count what turns line
    for count in 2 8 64 256; do
        for what in idle first puts large stopped; do
            turns=$(report_turns "$what" "$count")
            line=$(timeout -k 5 $((240 * SLOW)) "$bin/delay" "$files" \
                "$turns" "$count" "$what") &&
                echo "$what $count ${line#* } $turns" ||
                echo "$what $count - - - 0"
            rm -f "$files"/*
        done
    done 2>>"$log"
}

# Print medians of lines of KEY... VALUE over all turns
report_medians()
{
    sort | awk '
        function flush_key(  i) {
            if (count) print last, values[int((count + 1) / 2)]
            count = 0
        }
        { value = $NF; $NF = ""; sub(/ $/, "")
          if ($0 != last) { flush_key(); last = $0 }
          # Insert in order
          for (i = count++; i > 0 && values[i] > value + 0; --i)
              values[i + 1] = values[i]
          values[i + 1] = value + 0 }
        END { flush_key() }'
}

report_measure()
{
    local i dir=$1
    mkdir -p "$files"
    for ((i = 0; i < rounds; ++i)); do
        report_windows >>"$TMP/turns"
        report_run persist "$bin/persist" "$files" >>"$TMP/persists"
        [ $((i % 3)) -ne 0 ] || report_rates >>"$TMP/rates"
    done
    {
        echo "kind,call,bytes,ns"
        # "create memcpy 8" is the copy, "create write 8" is MPI-IO
        sed -E 's/^create (memcpy|write) /\1 put /' "$TMP/turns" |
            report_medians | sort -k2,2 -k1,1 -k3,3n | tr ' ' ','
    } >"$dir/calls.csv"
    {
        echo "kind,call,bytes,ns"
        sed -E 's/^create (memcpy|write) /\1 put /; s/ /,/g' "$TMP/turns"
    } >"$dir/turns.csv"
    {
        echo "kind,bytes,ns"
        sed -E 's/^persist daxpin /persist persist /; s/^persist //' \
            "$TMP/persists" | report_medians | sort -k1,1 -k2,2n | tr ' ' ','
    } >"$dir/persist.csv"
    {
        echo "kind,what,ranks,per_second"
        report_medians <"$TMP/rates" | sort -k2,2 -k1,1 -k3,3n | tr ' ' ','
    } >"$dir/rate.csv"
    {
        echo "kind,call,bytes,ns"
        report_nodes | report_medians | sort -k2,2 -k1,1 -k3,3n | tr ' ' ','
    } >"$dir/nodes.csv"
    {
        echo "kib,ms,copies_ms,mpiio_ms"
        report_checkpoints | tr ' ' ','
    } >"$dir/checkpoint.csv"
    {
        echo "kind,processes,median_us,p99_us,max_us,times"
        report_delays | tr ' ' ','
    } >"$dir/delay.csv"
}

# Plot curves of a CSV file: output, title, x, y, then for each curve its title
# and the command that prints its points. Black on white; dashes and points
# differ.
report_plot()
{
    local output=$1 title=$2 x=$3 y=$4 curve=0 plots=''
    shift 4
    while [ $# -gt 0 ]; do
        curve=$((curve + 1))
        eval "$2" >"$TMP/curve.$curve"
        if [ -s "$TMP/curve.$curve" ]; then
            plots+="${plots:+, }'$TMP/curve.$curve' with linespoints \
                    linecolor black dashtype $curve pointtype $curve title '$1'"
        fi
        shift 2
    done
    gnuplot <<END >>"$log" 2>&1 || not_ok "report: $output" "gnuplot fails"
set terminal svg noenhanced size 800,600 dynamic background rgb 'white' \
    font 'sans,14'
set output '$output'
set title '$title'
set xlabel '$x'
set ylabel '$y'
set logscale xy
set format x '%.0s %c'
set format y '%.0s %c'
set key below left Left reverse maxrows 6
set grid
plot $plots
END
}

# Print the points of a curve: kind, call, of calls.csv
report_curve()
{
    awk -F, -v kind="$1" -v call="$2" \
        '$1 == kind && $2 == call { print $3, $4 * 1e-9 }' "$report/calls.csv"
}

report_plots()
{
    local call kind curves count
    for call in $report_calls; do
        curves=()
        for kind in $report_kinds; do
            curves+=("$(report_title "$kind")" "report_curve $kind \
                $([ "$kind" = memcpy ] && echo put || echo "$call")")
        done
        report_plot "$report/$call.svg" "MPI $call and flush, 2 ranks" bytes \
            seconds "${curves[@]}"
    done
    for call in messages bytes; do
        curves=()
        for kind in daxpin allocate sm; do
            curves+=("$(report_title "$kind")" "awk -F, '\$1 == \"$kind\" &&
                \$2 == \"$call\" { print \$3, \$4 }' '$report/rate.csv'")
        done
        report_plot "$report/$call.svg" "All ranks put" ranks \
            "$call a second" "${curves[@]}"
    done
    curves=()
    for kind in durable synced write memcpy; do
        curves+=("$(report_title "$kind")" "report_curve $kind put")
    done
    report_plot "$report/durable.svg" "Bytes that are durable on return" \
        bytes seconds "${curves[@]}"
    curves=()
    for kind in persist pmem2 msync; do
        curves+=("$(report_title "$kind")" "awk -F, '\$1 == \"$kind\" {
            print \$2, \$3 * 1e-9 }' '$report/persist.csv'")
    done
    report_plot "$report/persist.svg" "memcpy, and what makes it durable" \
        bytes seconds "${curves[@]}"
    curves=()
    for kind in idle first puts large stopped; do
        for count in 3 4; do
            curves+=("$(report_title "$kind"), $([ "$count" = 3 ] &&
                echo median || echo "99th percentile")" \
                "awk -F, '\$1 == \"$kind\" && \$$count > 0 {
                    print \$2, \$$count * 1e-6 }' '$report/delay.csv'")
        done
    done
    report_plot "$report/delay.svg" "How long a truncate waits" \
        "processes that have the file" seconds "${curves[@]}"
}

# Print a time in ns as text
report_time='function text(ns) {
    if (ns == "") return "-"
    if (ns < 1e3) return sprintf("%.1f ns", ns)
    if (ns < 1e6) return sprintf("%.1f us", ns / 1e3)
    if (ns < 1e9) return sprintf("%.1f ms", ns / 1e6)
    return sprintf("%.2f s", ns / 1e9) }'

# Print a number a second as text
report_per_second='function text(number) {
    if (number == "") return "-"
    if (number < 1e6) return sprintf("%.1f k", number / 1e3)
    if (number < 1e9) return sprintf("%.1f M", number / 1e6)
    return sprintf("%.2f G", number / 1e9) }'

# Print a table of a CSV file of KIND,...: columns are kinds; rows are given by
# an expression of awk, and values by another
report_table()
{
    local file=$1 head=$2 row=$3 value=$4 kinds=$5 text=${6:-$report_time}
    local kind
    printf '| %s |' "$head"
    for kind in $kinds; do
        printf ' %s |' "$(report_title "$kind")"
    done
    printf '\n|---|'
    for kind in $kinds; do
        printf -- '---|'
    done
    echo
    awk -F, -v kinds="$kinds" "$text"'
        BEGIN { n = split(kinds, kind, " ") }
        NR == 1 { next }
        { row = '"$row"'; if (row == "") next
          if (!(row in seen)) { seen[row]; rows[++num] = row }
          ns[row, $1] = '"$value"' }
        END { for (i = 1; i <= num; ++i) {
                  printf "| %s |", rows[i]
                  for (j = 1; j <= n; ++j) printf " %s |", text(ns[rows[i], kind[j]])
                  print "" } }' "$file"
}

report_machine()
{
    echo "| | |"
    echo "|---|---|"
    echo "| date | $(date -u +%Y-%m-%d) |"
    echo "| processor | $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo |
        head -n 1), $(nproc) may be used |"
    echo "| memory | $(awk '/^MemTotal/ { print int($2 / 1048576 + 0.5) }' \
        /proc/meminfo) GiB |"
    echo "| kernel | $(uname -sr) |"
    echo "| files | $(stat -f -c %T "$files"), $(df --output=source "$files" |
        tail -n 1) |"
    echo "| daxpin | $("$daxpin" --version 2>/dev/null | head -n 1) $(git \
        -C "$here" describe --always --dirty 2>/dev/null) |"
    echo "| Open MPI | $(mpirun --version 2>/dev/null | head -n 1) |"
    echo "| UCX | $(ucx_info -v 2>/dev/null | sed -n 's/.*ersion[ =:]*//p' |
        head -n 1) |"
    echo "| load before and after | $1, $(cut -d' ' -f1 /proc/loadavg) |"
    echo "| turns | $rounds of windows and of persistence, in turns; the value of a" \
        "kind is the median of its medians. $(((rounds + 2) / 3)) of many ranks," \
        "$(((rounds + 1) / 2)) of two nodes; $((3 * rounds)) checkpoints; truncates:" \
        "\`times\` in delay.csv |"
}

# Print the goals, and whether they are met: lines of a table. Of calls on windows,
# the least and the greatest ratio of a turn, too: where the host has put the
# processors of a virtual machine may make more of a difference than the call.
report_goals()
{
    echo "| goal | is | of turns | at most | |"
    echo "|---|---|---|---|---|"
    cat <(sed 's/^/turns,/' "$report/turns.csv") "$report/calls.csv" \
        <(sed 's/^/persist,/' "$report/persist.csv") \
        <(sed 's/^/delay,/' "$report/delay.csv") \
        <(sed 's/^/nodes,/' "$report/nodes.csv") \
        <(sed 's/^/checkpoint,/' "$report/checkpoint.csv") | awk -F, '
        $1 == "turns" { key = $2 SUBSEP $3 SUBSEP $4
                        turn[key, ++turns[key]] = $5; next }
        $1 == "persist" { durable[$2, $3] = $4; next }
        $1 == "delay" { delay[$2, $3] = $4 / 1e3; next }
        $1 == "nodes" { node[$2, $3, $4] = $5; next }
        $1 == "checkpoint" { checkpoint[$2] = $3; mpiio[$2] = $5; next }
        { ns[$1, $2, $3] = $4 }
        function least(a, b) { return (a > 0 && (b == 0 || a < b)) ? a : b }
        # What a kind takes; best: the best component for memory
        function taken(kind, call, bytes) {
            if (kind != "best") return ns[kind, call, bytes]
            return least(ns["allocate", call, bytes] + 0,
                         ns["sm", call, bytes] + 0) }
        function taken_in(kind, call, bytes, i) {
            if (kind != "best") return turn[kind, call, bytes, i]
            return least(turn["allocate", call, bytes, i] + 0,
                         turn["sm", call, bytes, i] + 0) }
        function row(what, is, of, most, unit, spread) {
            if (is + 0 == 0 || of + 0 == 0) {
                printf "| %s | - | - | %s%s | not measured |\n", what, most, unit
                return
            }
            printf "| %s | %.2f%s | %s | %s%s | %s |\n", what, is / of, unit,
                   spread, most, unit,
                   (is / of <= most) ? "met" : "**not met**" }
        function compare(what, kind, call, bytes, other, most,  i, r, low, high) {
            low = high = 0
            for (i = 1; i <= turns[kind, call, bytes]; ++i) {
                if (taken_in(other, call, bytes, i) + 0 == 0) continue
                r = taken_in(kind, call, bytes, i) / taken_in(other, call, bytes, i)
                if (low == 0 || r < low) low = r
                if (r > high) high = r
            }
            row(what, taken(kind, call, bytes), taken(other, call, bytes), most, "",
                sprintf("%.2f to %.2f", low, high)) }
        # What a turn took, against the median of what it is compared with
        function durably(bytes, most,  i, r, low, high) {
            for (i = 1; i <= turns["durable", "put", bytes]; ++i) {
                r = turn["durable", "put", bytes, i] / durable["pmem2", bytes]
                if (low == 0 || r < low) low = r
                if (r > high) high = r
            }
            row("durable put of " bytes " B, against memcpy and pmem2_persist",
                ns["durable", "put", bytes], durable["pmem2", bytes], most, "",
                sprintf("%.2f to %.2f", low, high)) }
        END {
            compare("put and flush of 8 B, against the best of osc/ucx and " \
                    "osc/sm", "daxpin", "put", 8, "best", 1.05)
            compare("get and flush of 8 B, against the best of osc/ucx and " \
                    "osc/sm", "daxpin", "get", 8, "best", 1.05)
            for (i = 2; i <= 64; i = (i == 2) ? 16 : 4 * i)
                compare("put of " i " MiB, against memcpy", "daxpin", "put",
                        i * 1048576, "memcpy", 1.05)
            for (i = 16; i <= 64; i *= 4)
                compare("get of " i " MiB, against the best of osc/ucx and " \
                        "osc/sm", "daxpin", "get", i * 1048576, "best", 1.05)
            n = split("8 64 512 4096 32768 262144 2097152 16777216 67108864",
                      size, " ")
            for (i = 1; i <= n; ++i)
                durably(size[i], 1.2)
            compare("accumulate of 64 MiB, against the best of osc/ucx and " \
                    "osc/sm", "daxpin", "accumulate", 67108864, "best", 1.1)
            compare("fetch_and_op, against the best of osc/ucx and osc/sm",
                    "daxpin", "fetch_and_op", 0, "best", 1.05)
            compare("lock and unlock, shared, against the best of both",
                    "daxpin", "lock", 0, "best", 1.05)
            compare("fence, against the best of both", "daxpin", "fence", 0,
                    "best", 1.05)
            compare("start, post, complete and wait, against the best of both",
                    "daxpin", "pscw", 0, "best", 1.05)
            n = split("8 4096 32768 262144 2097152", size, " ")
            for (i = 1; i <= n; ++i)
                compare("put and flush of " size[i] " B in memory, with " \
                        "daxpin, against without", "passed", "put", size[i],
                        "allocate", 1.03)
            compare("a flush alone, in the same way", "passed", "flush", 0,
                    "allocate", 1.03)
            row("put and flush of 8 B to another node, against osc/ucx",
                node["daxpin", "put", 8], node["allocate", "put", 8], 1.25)
            n = split("idle first puts large", kind, " ")
            split("idle|idle, locks not listed before|8 B puts|64 MiB puts", name, "|")
            for (i = 1; i <= n; ++i)
                row("truncate, 2 processes, " name[i] ", median",
                    delay[kind[i], 2], 1, 1, " ms")
            for (i = 1; i <= n; ++i)
                row("truncate, 256 processes, " name[i] ", median",
                    delay[kind[i], 256], 1, 20, " ms")
            row("checkpoint of 4 ranks, 256 KiB each, against MPI-IO",
                checkpoint[256], mpiio[256], 2)
            row("checkpoint of 4 ranks, 16 MiB each, against MPI-IO",
                checkpoint[16384], mpiio[16384], 1.1)
        }'
    echo
    echo "What goals that are not met are spent on:"
    echo
    echo "- Memory with daxpin: UCP flushes each lane of an endpoint, and daxpin's" \
        "lane is one more. UCP chooses lanes before it knows for which memory," \
        "and without the lane it would go around the access check."
    echo "- Another node: after its own flush a rank reads the state of the" \
        "target's file, which is a second round trip of as many messages, and" \
        "nothing but the first one orders the two. An accumulate also takes and" \
        "gives back a lock at the target, because a NIC's atomics are none for a" \
        "CPU."
    echo "- Lock and unlock: osc/sm checks nothing. An epoch of daxpin ends with a" \
        "look at the lease of the file, and a lock knows who waits for it, so" \
        "that a rank that has ended is found."
    echo "- A truncate without the kernel's locks listed before: both processors" \
        "are idle while the kernel waits for all of them to leave the list. An" \
        "administrator can have that done at once: \`/sys/kernel/rcu_expedited\`," \
        "in docs/administrators.md."
    echo "- 64 MiB puts: a truncate waits for the piece that is under way, whose" \
        "pages the kernel maps by one fault each, and for the end of the mappings," \
        "page by page, of 64 MiB in each process."
    echo "- 256 processes: there are $(nproc) processors, and each process needs" \
        "one to end its accesses, to look for what shows the file, to replace" \
        "that, and to answer."
    echo "- Small durable puts: all but a microsecond is the disk, whose times the" \
        "turns show. Large puts and gets: what memory gives to both processors."
    echo "- Checkpoints: the library also makes checksums of all data, which" \
        "MPI-IO does not, and syncs data before it syncs headers."
    echo
    echo "docs/developers.md has the reasons for the first two. \"Of turns\" is the" \
        "least and the greatest ratio of a turn: two processes that wait for each" \
        "other, as in a fence, take up to three times as long where the host has" \
        "put two processors far from each other."
}

report_write()
{
    local call kinds="daxpin create allocate sm passed"
    echo "# What daxpin costs"
    echo
    echo "Made by \`test/bench/run --report\` in one run."
    echo
    report_machine "$1"
    echo
    echo "## Goals"
    echo
    report_goals
    for call in $report_calls; do
        echo
        echo "## MPI $call and flush"
        echo
        [ ! -e "$report/$call.svg" ] || printf '![%s](%s.svg)\n\n' "$call" \
            "$call"
        report_table "$report/calls.csv" bytes \
            "\$2 == \"$call\" || (\$1 == \"memcpy\") ? \$3 + 0 : \"\"" '$4' \
            "$report_kinds"
    done
    echo
    echo "## Calls without a size"
    echo
    echo "A window is made and freed with 64 KiB for each rank; lock is" \
        "MPI_Win_lock and unlock; pscw is start, complete, post and wait."
    echo
    report_table "$report/calls.csv" call '$3 == 0 ? $2 : ""' '$4' "$kinds"
    echo
    echo "## Many ranks that put"
    echo
    echo "Puts of 8 B a second, with a flush after each 100, and bytes a second in" \
        "puts of 1 MiB, with a flush after each: of all ranks together, each to" \
        "the next one. Ranks beyond the $(nproc) processors take turns."
    echo
    [ ! -e "$report/messages.svg" ] || printf '![messages](messages.svg)\n\n'
    report_table "$report/rate.csv" "ranks, puts a second" \
        '$2 == "messages" ? $3 + 0 : ""' '$4' "daxpin allocate sm" \
        "$report_per_second"
    echo
    [ ! -e "$report/bytes.svg" ] || printf '![bytes](bytes.svg)\n\n'
    report_table "$report/rate.csv" "ranks, bytes a second" \
        '$2 == "bytes" ? $3 + 0 : ""' '$4' "daxpin allocate sm" \
        "$report_per_second"
    echo
    echo "## To another node"
    echo
    echo "Two nodes of network namespaces, over TCP; each call with its flush."
    echo
    report_table "$report/nodes.csv" "call, bytes" '$2 ", " $3' '$4' \
        "daxpin allocate"
    echo
    echo "## Checkpoints"
    echo
    echo "By 4 ranks: the library of contrib/examples, the same with copies, and" \
        "MPI_File_write_at_all with MPI_File_sync. MPI-IO syncs once, and may" \
        "leave neither the old nor the new data behind when it is killed; the" \
        "library syncs data, and then headers."
    echo
    echo "| KiB of each rank | ms | with copies, ms | MPI-IO, ms |"
    echo "|---|---|---|---|"
    tail -n +2 "$report/checkpoint.csv" | sed 's/,/ | /g; s/^/| /; s/$/ |/'
    echo
    echo "## Durable puts"
    echo
    [ ! -e "$report/durable.svg" ] || printf '![durable](durable.svg)\n\n'
    report_table "$report/calls.csv" bytes \
        '$1 ~ /^(durable|synced|write|memcpy)$/ ? $3 + 0 : ""' '$4' \
        "durable synced write memcpy"
    echo
    echo "## Persistence without MPI"
    echo
    [ ! -e "$report/persist.svg" ] || printf '![persist](persist.svg)\n\n'
    report_table "$report/persist.csv" bytes '$2 + 0' '$3' \
        "persist pmem2 msync"
    echo
    echo "## How long a truncate waits"
    echo
    echo "The median, the 99th percentile and the longest, by the number of" \
        "processes that have the file and by what they do. A process that is stopped" \
        "is given up after 5 s. The kernel tells which processes wait" \
        "(/proc/locks) only after all processors have left its lists, but with" \
        "\`/sys/kernel/rcu_expedited\` set to 1 at once. It has done so just before" \
        "in all columns but the second, as for another truncate."
    echo
    echo "There is no 99th percentile of less than 200 times: \`times\` in" \
        "delay.csv. A file has 64 KiB, or 64 MiB where that much is put. Processes" \
        "that put want a processor each, and there are $(nproc). A revoke waits until" \
        "each process has had one to end the access that it is in, so that the" \
        "times of more such processes are mostly times of waiting for processors."
    echo
    [ ! -e "$report/delay.svg" ] || printf '![delay](delay.svg)\n\n'
    for call in 3:median 4:"99th percentile" 5:longest; do
        report_table "$report/delay.csv" "processes, ${call#*:}" '$2 + 0' \
            "\$${call%%:*} > 0 ? \$${call%%:*} * 1e3 : \"\"" \
            "idle first puts large stopped"
        echo
    done
}

# Measure and write all to a directory
report_all()
{
    local load
    load=$(cut -d' ' -f1 /proc/loadavg)
    report=$1
    mkdir -p "$report" || return
    report_measure "$report"
    rm -f "$report"/*.svg
    if command -v gnuplot >/dev/null; then
        report_plots
    else
        skip "report: plots" "no gnuplot; apt-get install gnuplot-nox; the CSV\
 files have the figures"
    fi
    report_write "$load" >"$report/report.md"
    [ "$FAILED" -ne 0 ] || ok "report: $report/report.md"
    awk -v load="$load" -v cpus="$(nproc)" 'BEGIN { exit !(load > cpus / 4) }' &&
        echo "The machine was not quiet (load $load): measure again"
}
