#!/usr/bin/env bash
# Measures ours and its peers side by side, interleaved in rounds, on the containers of one run.
#
#   scripts/bench.sh                all parts
#   scripts/bench.sh PART...        only these
#   scripts/bench.sh --rounds N     rounds of each part (default: 5)
#   scripts/bench.sh --quick        one round and little data: shows that it works, not how fast
#   scripts/bench.sh --only TEXT    only rows whose name contains TEXT (for work on one of them)
#   scripts/bench.sh --chart        measures nothing: draws the last full run of each part into scripts/bench/chart.svg, for the README
#
# Parts (minutes on 2 idle CPUs; the rows are runc's verbs by hand, containerd with its Go shim and with ours, podman, and ours):
#   lifecycle (5)   create, start, wait for the end and delete of `true`; and create and start, detached
#   exec (5)        one more process in a running container: one after the other, and 20 at a time
#   memory (12)     an idle shim: PSS, private dirty, RSS, threads, at 1, 10, 100 and 500 containers; the daemons
#   idle (2)        an idle shim: wake-ups and CPU in a minute, all kinds at the same time
#   stdio (15)      throughput of stdout: raw pipe, runc alone, containerd's shim, podman, ours
#   scale (8)       start rate of 200 containers, one by one and 8 at a time; then 1,000 of ours: reads, restart, memory
#   soak (15)       200,000 execs and state calls against one shim: how much it has grown
#
# Prints tables with medians, p99 and ratios, writes every sample to out/bench/PART.json, and draws out/bench/chart.svg. Peers are installed from
# Debian. A part fails when a measurement does, also when a byte is missing; a peer that cannot be installed is only said in the table.
# memory, idle, scale and soak have one round by default.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/packages.sh

known=(lifecycle exec memory idle stdio scale soak)
rounds='' quick='' only='' parts=()
while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) [ $# -gt 1 ] || fail "--rounds needs a number"; shift; rounds=$1 ;;
        --quick) quick=1 ;;
        --chart) exec /usr/bin/python3 scripts/bench/chart.py out/bench scripts/bench/chart.svg --full ;;
        --only) [ $# -gt 1 ] || fail "--only needs a text"; shift; only=$1 ;;
        -h | --help) sed -n '2,24s/^# \{0,1\}//p' scripts/bench.sh; exit 0 ;;
        -*) fail "unknown option '$1' (see --help)" ;;
        *)
            [[ " ${known[*]} " == *" $1 "* ]] || fail "unknown part '$1'; there is: ${known[*]}"
            parts+=("$1")
            ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=("${known[@]}")
[[ $rounds =~ ^([1-9][0-9]{0,3})?$ ]] || fail "--rounds needs a number from 1 to 9999, not '$rounds'"

[ "$(id -u)" = 0 ] || fail "containers need root"
need_packages runc containerd gcc libc6-dev busybox-static python3 python3-grpcio python3-protobuf protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
# In a subshell: a podman that cannot be installed is said in the tables.
command -v podman >/dev/null || (need_packages podman) || say "without podman"
scripts/build.sh

# Everything lies under one directory, and every cgroup begins with its name, so that nothing is left and nobody else's is touched.
sockets=/run/containerd
[ -e $sockets ] && sockets=
work=$(mktemp -d "${TMPDIR:-/tmp}/shim-bench.XXXXXX")
chmod 0755 "$work"
name=${work##*/}
child=

# processes: the ids of those that carry the name of our directory in their command line, or run in a cgroup of ours.
# shellcheck disable=SC2317  # Called by the trap.
processes() {
    local pid
    # There may be thousands of processes, so not a grep for each.
    { grep -lsF "$work/" /proc/[0-9]*/cmdline; grep -lsF "$name" /proc/[0-9]*/cgroup; } | cut -d / -f 3 | sort -u | while read -r pid; do
        case "$pid" in "$$" | "$BASHPID") continue ;; esac
        # A zombie is its parent's, who is about to collect it or about to end; the grep above has ended.
        grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" && echo "$pid"
    done
}

# The parts clean up after themselves; this is for what a failure has left.
# shellcheck disable=SC2317  # Called by the trap.
clean_up() {
    local result=$? left pid try
    trap - EXIT
    trap '' INT TERM
    # One thing that is not there to be removed must not save the others.
    set +e
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    for try in 1 2 3 4 5; do
        left=$(processes)
        [ -n "$left" ] || break
        [ "$try" != 1 ] || for pid in $(head -n 20 <<<"$left"); do
            say "still running, killed now ($(wc -l <<<"$left") in all): $pid: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c 1-120)"
        done
        xargs -r kill -KILL <<<"$left" 2>/dev/null
        sleep 0.2
    done
    awk -v work="$work/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount -l
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} + 2>/dev/null
    # containerd 1.6 puts its shims' sockets here, whatever it is told; a shim that was killed leaves its own.
    if [ -n "$sockets" ]; then
        find "$sockets/s" -type s 2>/dev/null | while read -r left; do
            grep -qF "$left" /proc/net/unix || rm -f "$left"
        done
        rmdir "$sockets/s" "$sockets" 2>/dev/null
    fi
    rm -rf --one-file-system "$work"
    exit "$result"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

gcc -O2 -Wall -Wextra -Werror -static -o "$work/pump" scripts/bench/pump.c
mkdir "$work/generated"
protoc --proto_path proto --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" \
    --python_out="$work/generated" --grpc_python_out="$work/generated" proto/containerd/v1/*.proto
# containerd's own API.
protoc --proto_path proto --proto_path scripts/bench --python_out="$work/generated" containerd/runc/v1/options.proto peer.proto

result=0
for part in "${parts[@]}"; do
    mkdir "$work/$part"
    # Debian's python3: another one in the path need not have grpc.
    # In the background, so that a signal to us is not kept waiting until it has ended.
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "scripts/bench/$part.py" --work "$work" --bin "$PWD/out/bin" --out "$PWD/out/bench" \
        ${rounds:+--rounds "$rounds"} --only "$only" ${quick:+--quick} &
    child=$!
    wait "$child" || result=1
    child=
    [ "$part" = "${parts[-1]}" ] || echo
done
/usr/bin/python3 scripts/bench/chart.py out/bench out/bench/chart.svg || result=1
exit $result
