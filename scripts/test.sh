#!/usr/bin/env bash
# Builds everything, runs the tests on real runc, and looks for what they may have left behind.
#
#   scripts/test.sh                 the normal suite
#   scripts/test.sh --all           with the long versions (category Soak)
#   scripts/test.sh --filter EXPR   only what the expression of `dotnet test --filter` picks
#
# The last line on stdout is "N passed, N failed, N skipped". A leak and a run that broke off count as failures. A test that
# fails is run once more, alone, and named either way.
# With CI=true a skipped test fails the run. Results stay in out/test/.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cd "$here/.."
. scripts/packages.sh

# Tests of category VirtualMachine change their machine; scripts/test-vm.sh has one for them.
filter='TestCategory!=VirtualMachine' all= expression=
while [ $# -gt 0 ]; do
    case "$1" in
        --all) all=1 ;;
        --filter) [ $# -gt 1 ] || fail "--filter needs an expression"; shift; expression=$1 ;;
        -h | --help) sed -n '2,10s/^# \{0,1\}//p' scripts/test.sh; exit 0 ;;
        *) fail "unknown argument '$1' (see --help)" ;;
    esac
    shift
done
[ -n "$all" ] || filter="$filter&TestCategory!=Soak"
[ -z "$expression" ] || filter="($expression)&$filter"

[ "$(id -u)" = 0 ] || fail "the tests start real containers and need root"
need_dotnet
need_packages runc busybox-static containerd python3 python3-grpcio python3-protobuf protobuf-compiler protobuf-compiler-grpc libprotobuf-dev gcc libc6-dev strace
scripts/build.sh

# Everything the tests create on disk lies under one directory whose name nothing else on the machine contains,
# and every cgroup they create begins with that name: so leaks can be told from the neighbours' things.
run=shim-tests-$$-$(date +%s)
root=${TMPDIR:-/tmp}/$run
mkdir -m 0755 "$root"
export SHIM_TEST_ROOT=$root
results=out/test
mkdir -p "$results"
first=$results/results.trx
again=$results/again.trx
rm -f "$first" "$again"

# leaks: one line for each thing that should not be there; the tests' own processes have ended by now.
leaks() {
    local pid
    for pid in /proc/[0-9]*; do
        pid=${pid#/proc/}
        [ "$pid" != $$ ] || continue
        if grep -qsF "$root" "/proc/$pid/cmdline" || [[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" == "$root"* ]] \
            || [[ "$(readlink "/proc/$pid/root" 2>/dev/null)" == "$root"* ]]; then
            printf 'process %s: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
        elif grep -qsF "$run" "/proc/$pid/cgroup"; then
            printf 'process %s in a cgroup of the tests: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
        fi
    done
    awk -v root="$root" 'index($0, root) { print "mount " $5 }' /proc/self/mountinfo
    find /sys/fs/cgroup -type d -name "$run*" -printf 'cgroup %p\n' 2>/dev/null
    find "$root" -mindepth 1 -maxdepth 1 -printf 'file %p\n'
}

# sweep: removes what leaks named, so that one failed run does not spoil the next; only our own, by id.
sweep() {
    leaks 2>/dev/null | sed -n 's/^process \([0-9]*\).*/\1/p' | xargs -r kill -KILL 2>/dev/null || true
    sleep 0.2
    leaks 2>/dev/null | sed -n 's/^mount //p' | sort -r | xargs -r -n 1 umount -l 2>/dev/null || true
    find /sys/fs/cgroup -depth -type d -path "*/$run*" -exec rmdir {} + 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap sweep EXIT
trap 'exit 130' INT TERM

# run_tests FILTER TRX: what dotnet test says of it is its exit status.
run_tests() {
    dotnet test Shim.Tests -c Release -nologo -nodeReuse:false ${1:+--filter "$1"} \
        --results-directory "$results" --logger "trx;LogFileName=$(basename "$2")" --logger "console;verbosity=minimal" \
        --blame-hang --blame-hang-timeout 15min --blame-hang-dump-type none >&2
}

say "running the tests"
began=$SECONDS
broken=0
run_tests "$filter" "$first" || broken=$?

# The suite runs tests side by side on a machine that may be busy, and many of them measure time. A test that failed there gets a second
# chance alone; both outcomes are printed. More than a few failures are no accident.
if [ "$broken" != 0 ] && [ -s "$first" ]; then
    failures=$(scripts/results.py summary "$first" | tail -1 | cut -d ' ' -f 2)
    if [ "$failures" -ge 1 ] && [ "$failures" -le 12 ]; then
        leaks | sed 's/^/left behind by the first run: /' >&2
        sweep
        mkdir -p -m 0755 "$root"
        say "running $failures failed tests again"
        run_tests "$(scripts/results.py filter "$first")" "$again" || true
    fi
fi
scripts/results.py summary "$first" "$again" >"$results/summary"
head -n -1 "$results/summary"
read -r passed failed skipped <<<"$(tail -n 1 "$results/summary")"
printf 'the tests took %d s\n' $((SECONDS - began))

if [ "$broken" != 0 ] && [ "$failed" = 0 ] && [ ! -s "$again" ]; then
    echo "the test run broke off (dotnet test exited with $broken)"
    failed=$((failed + 1))
fi
left=$(leaks)
if [ -n "$left" ]; then
    printf 'left behind by the tests:\n%s\n' "$left"
    failed=$((failed + 1))
fi
result=0
if [ "$failed" != 0 ]; then
    result=1
elif [ "$passed" = 0 ]; then
    echo "no test was run"
    result=1
elif [ "${CI-}" = true ] && [ "$skipped" != 0 ]; then
    echo "on the build server no test may be skipped"
    result=1
fi
sweep
trap - EXIT
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
exit $result
