#!/bin/bash
# The first process of the virtual machine once it has its root: sets up what an init system would, runs the command that lies in
# the shared directory, leaves its exit status there, and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
# A console that is a file has no colours.
unset TERM
share=/run/share

mount -t proc proc /proc
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
busybox ip link set lo up

# Pure cgroup v2, with every controller that there is for the containers.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(</sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done

# What the machine outside need not have.
[ ! -s "$share/layer" ] || cp -a "$(cat "$share/layer")"/usr/. /usr/

cd /
# A session of its own, so that a terminal's signals have somewhere to go; this process stays the one that collects orphans.
setsid bash "$share/command" </dev/null
echo $? >"$share/status"
sync
busybox poweroff -f
