#!/usr/bin/env bash
# Publishes both executables (NativeAOT, Release) into out/bin. Does nothing when no source has changed since.
#
#   scripts/build.sh            build what has changed
#   scripts/build.sh --force    build all
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/packages.sh

force=
case "${1-}" in
    '') ;;
    --force) force=1 ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' scripts/build.sh; exit 0 ;;
    *) fail "unknown argument '$1' (see --help)" ;;
esac

need_dotnet
# All that NativeAOT needs beyond the SDK is a linker driver: clang or, where that is missing, gcc. Its zlib is its own.
command -v clang >/dev/null || need_packages gcc libc6-dev

mkdir -p out/bin out/build
# Two builds at once would overwrite each other's intermediate files.
exec 9>out/build/lock
flock -w 900 9 || fail "another build has held out/build/lock for 15 minutes"

# fingerprint PATH...: one hash over the compiler's version and every source file below the paths.
fingerprint() {
    {
        dotnet --version
        find Directory.Build.props Directory.Packages.props global.json .editorconfig proto "$@" \
            \( -name bin -o -name obj \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum
}

# publish PROJECT NAME SOURCE...: NAME ends up in out/bin, replaced by rename so that a running one is not disturbed.
publish() {
    local project=$1 name=$2 stamp=out/build/$2.stamp print
    shift 2
    print=$(fingerprint "$@")
    if [ -z "$force" ] && [ -x "out/bin/$name" ] && [ "$print" = "$(cat "$stamp" 2>/dev/null)" ]; then
        return 0
    fi
    say "publishing $name"
    rm -f "$stamp"
    local log=out/build/$name.log
    if ! dotnet publish "$project" -c Release -nologo -v minimal -warnaserror -nodeReuse:false -o "out/build/$name" >"$log" 2>&1 9>&-; then
        grep -E 'error|warning' "$log" | sort -u >&2 || cat "$log" >&2
        fail "publishing $name failed; all of its output is in $log"
    fi
    if grep -E '\bwarning\b' "$log" >&2; then
        fail "publishing $name gave warnings"
    fi
    install -m 0755 "out/build/$name/$name" "out/bin/.$name.new"
    mv -f "out/bin/.$name.new" "out/bin/$name"
    # Mono.Posix calls through this library; it is looked for beside the executable.
    if [ -e "out/build/$name/libMonoPosixHelper.so" ]; then
        install -m 0644 "out/build/$name/libMonoPosixHelper.so" out/bin/.helper.new
        mv -f out/bin/.helper.new out/bin/libMonoPosixHelper.so
    fi
    printf '%s\n' "$print" >"$stamp"
    say "out/bin/$name: $(stat -c %s "out/bin/$name") bytes"
}

publish Shim shim Shim
# The supervisor compiles some files of the shim into itself: its project says which.
linked=$(sed -n 's|.*Compile Include="\.\./\(Shim/[^"]*\)".*|\1|p' Supervisor/Supervisor.csproj)
[ -n "$linked" ] || fail "Supervisor.csproj names no files of the shim any more: mend scripts/build.sh"
# shellcheck disable=SC2086  # Patterns, to be expanded.
publish Supervisor supervisor Supervisor $linked
# Under these names containerd finds the shim: runtime io.containerd.runc.v2-cs (ttrpc), and io.containerd.runc_grpc.v2-cs.
for name in containerd-shim-runc-v2-cs containerd-shim-runc_grpc-v2-cs; do
    [ "$(readlink "out/bin/$name" 2>/dev/null)" = shim ] || ln -sfn shim "out/bin/$name"
done
