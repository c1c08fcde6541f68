# Sourced by scripts/test-vm.sh: the kernel, the initramfs that mounts the machine's root for it, and what it has beyond that root.

# What finds the console and the exported directories, then what CRIU asks the kernel by. In the order in which dependencies are looked up;
# crc32c_generic is one of nf_tables that the list of dependencies does not have.
vm_modules=(virtio_pci 9pnet_virtio 9p overlay)
vm_modules+=(unix_diag tcp_diag udp_diag raw_diag netlink_diag af_packet_diag crc32c_generic nf_tables veth tun)

# fetch_kernel DIRECTORY: Debian's kernel package, only unpacked; sets $vm_kernel and $vm_modules_root.
fetch_kernel() {
    local package version
    # linux-image-amd64 is empty and depends on the real one. Without package lists apt-cache knows nothing.
    package=$(kernel_package)
    [ -n "$package" ] || { apt-get update -qq >/dev/null 2>&1 || true; package=$(kernel_package); }
    [ -n "$package" ] || package=$(cat "$1/kernel.stamp" 2>/dev/null || true)
    [ -n "$package" ] || fail "apt knows no package linux-image-amd64"
    version=${package#linux-image-}
    if [ "$(cat "$1/kernel.stamp" 2>/dev/null)" != "$package" ]; then
        say "fetching $package"
        rm -rf "$1/kernel" "$1/kernel.stamp" "$1"/linux-image-*.deb
        # As root apt would otherwise drop its privileges, and could then not write here.
        (cd "$1" && apt-get download -qq -o APT::Sandbox::User=root "$package" >kernel.log 2>&1) \
            || { cat "$1/kernel.log" >&2; fail "could not download $package"; }
        dpkg -x "$1/$package"_*.deb "$1/kernel"
        rm -f "$1/$package"_*.deb
        # The package's own installation would have made this list of dependencies.
        busybox depmod -b "$1/kernel" "$version"
        echo "$package" >"$1/kernel.stamp"
    fi
    vm_kernel=$1/kernel/boot/vmlinuz-$version
    vm_modules_root=$1/kernel/lib/modules/$version
}

# fetch_criu DIRECTORY: Debian's CRIU with those of its libraries that this machine has not, only unpacked: tests on this machine expect none, and
# it would not work here. Sets $vm_criu, the tree to be laid over the machine's root; empty when CRIU is installed.
fetch_criu() {
    local missing file
    vm_criu=
    ! command -v criu >/dev/null || return 0
    missing=$(criu_packages)
    [ -n "$missing" ] || { apt-get update -qq >/dev/null 2>&1 || true; missing=$(criu_packages); }
    [ -n "$missing" ] || missing=$(cat "$1/criu.stamp" 2>/dev/null || true)
    [ -n "$missing" ] || fail "apt knows no package criu"
    if [ "$(cat "$1/criu.stamp" 2>/dev/null)" != "$missing" ]; then
        say "fetching criu"
        rm -rf "$1/criu" "$1/criu.stamp"
        mkdir -p "$1/criu"
        # shellcheck disable=SC2086  # Several packages, NAME=VERSION each.
        (cd "$1/criu" && apt-get download -qq -o APT::Sandbox::User=root $missing >../criu.log 2>&1) \
            || { cat "$1/criu.log" >&2; fail "could not download $missing"; }
        for file in "$1/criu"/*.deb; do
            dpkg -x "$file" "$1/criu"
            rm -f "$file"
        done
        echo "$missing" >"$1/criu.stamp"
    fi
    vm_criu=$1/criu
}

# What an installation would install.
criu_packages() {
    apt-get install -s --no-install-recommends criu 2>/dev/null | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p'
}

kernel_package() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1; }

# make_initramfs FILE: busybox, the modules and scripts/vm/init, packed for the kernel.
make_initramfs() {
    local tree module file
    tree=$(mktemp -d "${TMPDIR:-/tmp}/shim-vm.XXXXXX")
    mkdir -p "$tree"/{bin,modules,dev,proc,host,share,layer,root}
    cp /bin/busybox "$tree/bin/busybox"
    install -m 0755 scripts/vm/init "$tree/init"
    # modules.dep: "a.ko: b.ko c.ko", what is needed comes last.
    for module in "${vm_modules[@]}"; do
        for file in $(sed -n "s|^\([^:]*/$module\.ko\): *\(.*\)|\1 \2|p" "$vm_modules_root/modules.dep" | tr ' ' '\n' | tac); do
            file=${file#/}
            [ -e "$tree/modules/${file##*/}" ] && continue
            cp "$vm_modules_root/$file" "$tree/modules/"
            echo "${file##*/}" >>"$tree/modules/order"
        done
        grep -qx "$module.ko" "$tree/modules/order" || fail "the kernel package has no module $module"
    done
    (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$1"
    rm -rf "$tree"
}
