#!/bin/bash
# Names the tools that `make dist` misses, each with the command that installs it. Changes nothing.
# usage: ARCHS="x86_64 aarch64" KINDS="deb rpm" tools.sh
set -uo pipefail

missing=0
# lacks TOOL PURPOSE COMMAND: prints that TOOL is missing.
lacks() {
    echo "make dist: $1 is missing ($2): $3" >&2
    missing=1
}

command -v rustc >/dev/null && command -v cargo >/dev/null ||
    { lacks cargo "the compiler" "see https://rustup.rs" && exit 1; }

for arch in $ARCHS; do
    [ "$arch" != "$(uname -m)" ] || continue
    target=$arch-unknown-linux-gnu
    libraries=$(rustc --print target-libdir --target "$target" 2>/dev/null)
    [ -n "$libraries" ] && [ -d "$libraries" ] ||
        lacks "the standard library of $target" "to compile for $arch" "rustup target add $target"
    case $arch in aarch64) debian=arm64 ;; *) debian=amd64 ;; esac
    command -v "$arch-linux-gnu-gcc" >/dev/null ||
        lacks "$arch-linux-gnu-gcc" "to link for $arch" \
            "apt-get install gcc-${arch/_/-}-linux-gnu libc6-dev-$debian-cross"
done

for kind in $KINDS; do
    case $kind in deb) tool=dpkg-deb package=dpkg ;; *) tool=rpmbuild package=rpm ;; esac
    command -v $tool >/dev/null || lacks $tool "for the .$kind; KINDS= leaves packages out" "apt-get install $package"
done

if [ $missing != 0 ]; then
    echo "make dist: nothing was built or removed. For this machine's architecture only: make dist ARCHS=$(uname -m)" >&2
    exit 1
fi
