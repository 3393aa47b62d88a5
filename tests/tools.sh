#!/bin/bash
# Installs what the tests need where this is Debian and we are root; otherwise says what is missing.
set -euo pipefail

# Each program with the Debian package that holds it.
tools="
rsync:rsync sshd:openssh-server ssh:openssh-client strace:strace gcc:gcc make:make
mkfs.ext4:e2fsprogs filefrag:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
mkfs.exfat:exfatprogs mount.exfat-fuse:exfat-fuse fusermount:fuse3 taskset:util-linux
setfattr:attr setfacl:acl mount:mount losetup:mount setpriv:util-linux
"

PATH=$PATH:/usr/sbin:/sbin
packages=()
names=()
for tool in $tools; do
    if ! command -v "${tool%%:*}" >/dev/null; then
        names+=("${tool%%:*}")
        packages+=("${tool##*:}")
    fi
done

if [ ${#names[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null
        apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null >/dev/null
    else
        echo "missing, so some tests will be skipped: ${names[*]} (Debian: ${packages[*]})" >&2
    fi
fi

if ! command -v cargo >/dev/null; then
    echo "missing: cargo, see https://rustup.rs" >&2
    exit 1
fi
