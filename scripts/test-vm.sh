#!/usr/bin/env bash
# Runs the tests that touch cgroups, and those of checkpoints, in a virtual machine with Debian's own kernel and a pure cgroup v2 hierarchy: most hosts
# have that and a kernel for CRIU, and the development machines do not. The machine is emulated (no KVM, no network) and sees this one's files, read-only.
#
#   scripts/test-vm.sh                 the tests of the categories CgroupV2 and VirtualMachine (which change their machine)
#   scripts/test-vm.sh --filter EXPR   only what the expression of `dotnet test --filter` picks, of any category
#   scripts/test-vm.sh --shell CMD     runs a shell command in there instead, in this directory; its exit code is ours
#
# The last line on stdout is "N passed, N failed, N skipped". All that the machine prints is in out/vm/console.log.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/packages.sh
. scripts/vm/initramfs.sh

filter='TestCategory=CgroupV2|TestCategory=VirtualMachine' command=
while [ $# -gt 0 ]; do
    case "$1" in
        --filter) [ $# -gt 1 ] || fail "--filter needs an expression"; shift; filter=$1 ;;
        --shell) [ $# -gt 1 ] || fail "--shell needs a command"; shift; command=$1 ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' scripts/test-vm.sh; exit 0 ;;
        *) fail "unknown argument '$1' (see --help)" ;;
    esac
    shift
done

# An emulated processor is ten to twenty times slower: deadlines of the tests are that much longer, and the whole has one too.
patience=8 limit=2400

[ "$(id -u)" = 0 ] || fail "the machine's files can only be shared by root"
need_packages qemu-system-x86 runc busybox-static python3
if [ -z "$command" ]; then
    need_dotnet
    scripts/build.sh
    say "building the tests"
    dotnet build Shim.Tests -c Release -nologo -nodeReuse:false -clp:ErrorsOnly >&2
    tests=$(echo "$PWD"/Shim.Tests/bin/Release/net*/Shim.Tests.dll)
    console=$(dirname "$(readlink -f "$(command -v dotnet)")")/sdk/$(dotnet --version)/vstest.console.dll
fi

vm=out/vm share=$PWD/out/vm/share
mkdir -p $vm
# One machine at a time: two would share the kernel, the shared directory and too few processors.
exec 9>$vm/lock
flock -n 9 || fail "another scripts/test-vm.sh is running (it holds $vm/lock)"
fetch_kernel "$PWD/$vm"
fetch_criu "$PWD/$vm"
make_initramfs "$PWD/$vm/initramfs"
rm -rf "$share"
mkdir -p "$share"
cp scripts/vm/guest.sh "$share/"
printf %s "$vm_criu" >"$share/layer"

if [ -n "$command" ]; then
    printf 'cd %q\n%s\n' "$PWD" "$command" >"$share/command"
else
    cat >"$share/command" <<END
cd $(printf %q "$PWD")
export SHIM_TEST_VM=1 SHIM_TEST_PATIENCE=$patience SHIM_TEST_ROOT=/tmp/shim-tests-vm
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_TieredPGO=0 DOTNET_EnableWriteXorExecute=0 VSTEST_CONNECTION_TIMEOUT=600
mkdir -m 0755 \$SHIM_TEST_ROOT
dotnet exec $(printf %q "$console") $(printf %q "$tests") --TestCaseFilter:$(printf %q "$filter") \\
    --ResultsDirectory:/run/share '--logger:trx;LogFileName=results.trx' '--logger:console;verbosity=normal'
END
fi

machine=
# shellcheck disable=SC2317  # Called by the trap.
clean_up() {
    local result=$?
    trap - EXIT
    if [ -n "$machine" ]; then
        kill -TERM "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    exit "$result"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say "starting the virtual machine"
began=$SECONDS
# no_timer_check: on a busy machine the kernel misses ticks of the emulated timer, and would stop for that.
# multidevs=remap: files of several file systems are exported as one, and without it their inode numbers collide.
timeout --kill-after=10 $limit qemu-system-x86_64 \
    -machine q35 -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 3G -nodefaults -no-reboot -display none -nic none \
    -kernel "$vm_kernel" -initrd $vm/initramfs \
    -append "console=ttyS0 loglevel=4 panic=-1 mitigations=off no_timer_check cgroup_no_v1=all" \
    -chardev stdio,id=console,signal=off,logfile=$vm/console.log -serial chardev:console \
    -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$share,mount_tag=share,security_model=none" \
    </dev/null >&2 9>&- &
machine=$!
ended=0
wait "$machine" || ended=$?
machine=
took=$((SECONDS - began))

status=$(cat "$share/status" 2>/dev/null || true)
if [ -z "$status" ]; then
    [ "$ended" != 124 ] || say "the machine was stopped after $limit s"
    say "the machine ended before its command did (qemu: $ended); see $vm/console.log"
fi
if [ -n "$command" ]; then
    exit "${status:-1}"
fi

passed=0 failed=0 skipped=0
if [ -s "$share/results.trx" ]; then
    scripts/results.py summary "$share/results.trx" >"$vm/summary"
    head -n -1 "$vm/summary"
    read -r passed failed skipped <<<"$(tail -n 1 "$vm/summary")"
fi
printf 'the virtual machine ran for %d s\n' "$took"
if [ "$failed" = 0 ] && [ "$status" != 0 ]; then
    echo "the test run broke off (it exited with ${status:-nothing})"
    failed=1
elif [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
    echo "no test was run"
    failed=1
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
