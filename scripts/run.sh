#!/usr/bin/env bash
# Shows the whole thing at work: builds, starts a private supervisor, runs real containers under it and their own shims,
# and cleans up. Ends with exit code 0 when everything went as expected.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/packages.sh

[ "$(id -u)" = 0 ] || fail "containers need root"
need_packages runc busybox-static
scripts/build.sh

bin=$PWD/out/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/shim-run.XXXXXX")
export SUPERVISOR_SOCKET=$work/root/supervisor.sock
daemon= begun=0

clean_up() {
    local result=$?
    trap - EXIT
    if [ "$result" != 0 ] && [ -s "$work/supervisor.log" ]; then
        say "the end of the supervisor's log:"
        tail -n 30 "$work/supervisor.log" >&2
    fi
    if [ -n "$daemon" ]; then
        "$bin/supervisor" delete --force hello counter >/dev/null 2>&1 || true
        kill -TERM "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work"
    exit "$result"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# show ARG...: prints a command of the client as one would type it, and runs it.
show() {
    local word line='$ supervisor'
    for word in "$@"; do
        case "$word" in
            "$work"/*) word='$work'${word#"$work"} ;;
            *[!A-Za-z0-9_./:=,-]*) word="'$word'" ;;
        esac
        line+=" $word"
    done
    printf '\n%s\n' "$line"
    "$bin/supervisor" "$@"
}


rootfs=$work/rootfs
mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp}
cp /bin/busybox "$rootfs/bin/busybox"
"$rootfs/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$rootfs/etc/passwd"
echo 'root:x:0:' >"$rootfs/etc/group"

echo "\$ supervisor serve --root \$work/root &"
"$bin/supervisor" serve --root "$work/root" --runtime-root "$work/runc" 2>"$work/supervisor.log" &
daemon=$!
until "$bin/supervisor" info >/dev/null 2>&1; do
    kill -0 "$daemon" 2>/dev/null || { daemon=; cat "$work/supervisor.log" >&2; fail "the supervisor did not start"; }
    [ $((begun += 1)) -le 100 ] || fail "the supervisor did not answer within 10 seconds"
    sleep 0.1
done
show version

status=0
show run --rootfs "$rootfs" hello /bin/sh -c 'echo "hello from a container, pid $$"; exit 42' || status=$?
echo "exit status: $status"
[ "$status" = 42 ] || fail "the container exited with 42, the client reported $status"
show list
show delete hello

show run -d --rootfs "$rootfs" counter /bin/sh -c 'n=0; while :; do n=$((n + 1)); echo $n >/tmp/n; sleep 0.1; done'
show list
status=0
show exec counter /bin/sh -c 'echo "a second process beside it; the counter is at $(cat /tmp/n)"; exit 7' || status=$?
echo "exit status: $status"
[ "$status" = 7 ] || fail "the exec exited with 7, the client reported $status"
show ps counter
show pause counter
show list
show resume counter
show stats --no-stream counter
show kill -s KILL counter
status=0
show wait counter || status=$?
[ "$status" = 137 ] || fail "the container was killed with signal 9, the client reported $status instead of 137"
show delete counter

show events --since 0 --no-follow
left=$("$bin/supervisor" list --output json)
[ "$(printf '%s' "$left" | tr -d ' \n')" = '[]' ] || fail "containers were left: $left"
printf '\nall as expected\n'
