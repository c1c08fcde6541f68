#!/usr/bin/env bash
# Installs the executables and a systemd unit, or removes them.
#
#   scripts/install.sh [--prefix DIR] [--unit-dir DIR] [--no-start]
#   scripts/install.sh --uninstall [--prefix DIR] [--unit-dir DIR]
#
# Defaults: prefix /usr/local (executables in PREFIX/bin), units in /etc/systemd/system. Without a running systemd the
# files are installed and nothing is started. Uninstalling stops the daemon; containers go on and keep their shims.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/packages.sh

prefix=/usr/local unit_dir=/etc/systemd/system uninstall= start=1
while [ $# -gt 0 ]; do
    case "$1" in
        --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; shift; prefix=$1 ;;
        --unit-dir) [ $# -gt 1 ] || fail "--unit-dir needs a directory"; shift; unit_dir=$1 ;;
        --no-start) start= ;;
        --uninstall) uninstall=1 ;;
        -h | --help) sed -n '2,8s/^# \{0,1\}//p' scripts/install.sh; exit 0 ;;
        *) fail "unknown argument '$1' (see --help)" ;;
    esac
    shift
done
case "$prefix" in /*) ;; *) fail "--prefix must be an absolute path, not '$prefix'" ;; esac
bin=$prefix/bin
unit=$unit_dir/supervisor.service
files=(supervisor shim libMonoPosixHelper.so)
# containerd finds runtimes by these names in its PATH.
links=(containerd-shim-runc-v2-cs containerd-shim-runc_grpc-v2-cs)
systemd=
[ ! -d /run/systemd/system ] || [ "$unit_dir" != /etc/systemd/system ] || systemd=1

if [ -n "$uninstall" ]; then
    [ -z "$systemd" ] || systemctl disable --now --quiet supervisor.service 2>/dev/null || true
    rm -f "$unit" "${links[@]/#/$bin/}" "${files[@]/#/$bin/}"
    [ -z "$systemd" ] || systemctl daemon-reload
    say "removed from $bin and $unit_dir"
    exit 0
fi

# Compiling as the owner of the sources is possible; only the copying may need root.
scripts/build.sh
install -d -m 0755 "$bin" "$unit_dir"
for file in "${files[@]}"; do
    [ -e "out/bin/$file" ] || continue
    # By rename: a running executable cannot be written to, and must not change under a running process.
    install -m "$([ "${file##*.}" = so ] && echo 0644 || echo 0755)" "out/bin/$file" "$bin/.$file.new"
    mv -f "$bin/.$file.new" "$bin/$file"
done
for link in "${links[@]}"; do
    ln -sfn shim "$bin/$link"
done
cat >"$unit" <<END
[Unit]
Description=Container supervisor
After=network.target local-fs.target

[Service]
Type=notify
ExecStart=$bin/supervisor serve
# Shims and containers outlive the supervisor: a stop or a restart ends the daemon alone. When the host goes down, the
# SIGTERM that every process gets ends shims too: SIGTERM to the container, 3 s, SIGKILL, everything removed and written down.
KillMode=process
TimeoutStopSec=10
Delegate=yes
Restart=on-failure
RestartSec=1
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
END
chmod 0644 "$unit"
say "installed into $bin, unit $unit"
if [ -n "$systemd" ]; then
    systemctl daemon-reload
    if [ -n "$start" ]; then
        systemctl enable --quiet supervisor.service
        systemctl restart supervisor.service
        say "supervisor.service runs"
    fi
else
    say "no systemd here: start it with $bin/supervisor serve"
fi
