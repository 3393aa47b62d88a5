#!/bin/bash
# Installs what the tests need, as root on Debian, and prints it before. Elsewhere it prints what is missing.
# usage: tools.sh [distributed]: also what the clusters of tests/distributed need
set -euo pipefail

# Each program with the Debian package that holds it.
tools="
rsync:rsync sshd:openssh-server ssh:openssh-client strace:strace gcc:gcc make:make
mkfs.ext4:e2fsprogs filefrag:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
mkfs.exfat:exfatprogs mount.exfat-fuse:exfat-fuse fusermount:fuse3 taskset:util-linux
setfattr:attr setfacl:acl mount:mount losetup:mount setpriv:util-linux
readelf:binutils chroot:coreutils sudo:sudo
smbd:samba,samba-vfs-modules smbclient:smbclient
dpkg-deb:dpkg rpmbuild:rpm mandoc:mandoc groff:groff-base unzip:unzip
gocryptfs:gocryptfs sqlite3:sqlite3
kubectl:kubernetes-client systemd-analyze:systemd ionice:util-linux
proftpd:proftpd-core,proftpd-mod-crypto dropbear:dropbear-bin tinysshd:tinysshd
"

PATH=$PATH:/usr/sbin:/sbin

if [ "${1:-}" = distributed ]; then
    tools+=" mfsmaster:moosefs-master mfschunkserver:moosefs-chunkserver mfsmount:moosefs-client"
    tools+=" glusterd:glusterfs-server glusterfs:glusterfs-client ip:iproute2"
fi

# Static binaries of the other architecture, and something to run them with.
case $(uname -m) in
    x86_64) other=aarch64 && tools+="aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu,libc6-dev-arm64-cross" ;;
    aarch64) other=x86_64 && tools+="x86_64-linux-gnu-gcc:gcc-x86-64-linux-gnu,libc6-dev-amd64-cross" ;;
    *) other= ;;
esac
[ -z "$other" ] || tools+=" qemu-$other-static:qemu-user-static"

# An engine of somebody else's is used as it is; its packages and Debian's exclude each other.
if ! docker info >/dev/null 2>&1; then
    tools+=" dockerd:docker.io docker:docker.io iptables:iptables mmdebstrap:mmdebstrap,ca-certificates"
fi
if ! docker compose version >/dev/null 2>&1; then
    tools+=" docker-compose:docker-compose"
fi

# CI runs no browser.
if [ "${CI:-}" != true ]; then
    tools+=" chromium:chromium chromedriver:chromium-driver"
fi

# A library: no program tells that it is there.
if ! compgen -G '/usr/lib/*/libnss_wrapper.so' >/dev/null; then
    tools+=" libnss_wrapper:libnss-wrapper"
fi

# No program in PATH: sshd starts it by its path.
if [ ! -x /usr/libexec/gesftpserver ]; then
    tools+=" gesftpserver:gesftpserver"
fi

# Libraries of Debian's Python: servers are made with two, the third one reads the release workflow.
for library in asyncssh paramiko yaml; do
    if ! /usr/bin/python3 -W ignore -c "import $library" 2>/dev/null; then
        tools+=" python3-$library:python3-$library"
    fi
done

packages=()
names=()
for tool in $tools; do
    if ! command -v "${tool%%:*}" >/dev/null; then
        names+=("${tool%%:*}")
        IFS=, read -ra needed <<<"${tool##*:}"
        packages+=("${needed[@]}")
    fi
done

if [ ${#names[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing with apt-get what the tests need: ${packages[*]}" >&2
        echo "installing with apt-get, for the tests: ${packages[*]}"
        export DEBIAN_FRONTEND=noninteractive
        # The tests start the servers that they need, on ports of their own. No service of this machine starts.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' >$policy
            chmod +x $policy
        fi
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

# Where the toolchain is not rustup's, or its server out of reach, only this machine's binary is built.
if [ -n "$other" ] && command -v rustup >/dev/null &&
    ! rustup target list --installed | grep -qx "$other-unknown-linux-gnu"; then
    echo "installing with rustup, for the tests of the static binaries: the standard library of $other-unknown-linux-gnu"
    timeout 120 rustup --quiet target add "$other-unknown-linux-gnu" </dev/null >/dev/null 2>&1 ||
        echo "no standard library for $other: its static binary is not built" >&2
fi
