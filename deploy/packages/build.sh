#!/bin/bash
# Packs the folder of a tarball for dpkg and for rpm. The same folder gives the same bytes.
# usage: SOURCE_DATE_EPOCH=SECONDS build.sh FOLDER ARCH VERSION OUT KIND...      KIND is deb or rpm
# PACKAGE_LEVEL is the level of xz. A higher level than 3 takes twice the time for 2 % less. The tests use 0.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
level=${PACKAGE_LEVEL:-3}
tree=$1 arch=$2 version=${3//-/\~} out=$4
shift 4

# Debian's own backup-manager is another program, and the names of its packages have no underscore.
name=ism1-backup-manager
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# lay_out ROOT ZSH: puts the files where a system keeps them. ZSH is the folder of completions for zsh.
lay_out() {
    local root=$1 zsh=$2 file
    local man=$root/usr/share/man/man1 doc=$root/usr/share/doc/$name units=$root/usr/lib/systemd/system
    mkdir -p "$root/usr/bin" "$man" "$doc" "$units" "$root$zsh" \
        "$root/usr/share/bash-completion/completions" "$root/usr/share/fish/vendor_completions.d"
    cp -R "$tree/." "$doc"
    mv "$doc/backup_manager" "$root/usr/bin/"
    mv "$doc/completions/backup_manager.bash" "$root/usr/share/bash-completion/completions/backup_manager"
    mv "$doc/completions/backup_manager.zsh" "$root$zsh/_backup_manager"
    mv "$doc/completions/backup_manager.fish" "$root/usr/share/fish/vendor_completions.d/backup_manager.fish"
    for file in "$doc"/man/*.1; do
        gzip -9n <"$file" >"$man/$(basename "$file").gz"
    done
    mkdir -p "$root/usr/libexec/backup_manager"
    for file in "$doc"/libexec/backup_manager/*; do
        [ ! -e "$file" ] || mv "$file" "$root/usr/libexec/backup_manager/"
    done
    # The program for the machine of the package is in it once.
    ln -sf ../../bin/backup_manager "$root/usr/libexec/backup_manager/backup_manager-$arch-linux"
    rm -rf "$doc/completions" "$doc/man" "$doc/libexec"
    find "$doc/deploy" -type f -exec sed -i 's,/usr/local/bin/backup_manager,/usr/bin/backup_manager,g' {} +
    cp "$doc"/deploy/systemd/* "$units/"
    cp "$here/copyright" "$doc/copyright"
    find "$root" -type d -exec chmod 755 {} +
    find "$root" -type f -exec chmod 644 {} +
    chmod 755 "$root/usr/bin/backup_manager" "$root"/usr/libexec/backup_manager/*
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

deb() {
    local root=$work/deb debian
    case $arch in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; *) debian=$arch ;; esac
    lay_out "$root" /usr/share/zsh/vendor-completions
    mkdir "$root/DEBIAN"
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    install -m 755 "$here"/deb/* "$root/DEBIAN/"
    sed -e "s/@NAME@/$name/" -e "s/@VERSION@/$version/" -e "s/@ARCH@/$debian/" \
        -e "s/@SIZE@/$(du -k --apparent-size -s "$root/usr" | cut -f 1)/" "$here/control" >"$root/DEBIAN/control"
    # With several threads the bytes depend on their number.
    DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz "-z$level" --build "$root" "$out/${name}_${version}_$debian.deb" >/dev/null
}

rpm() {
    local root=$work/rpm
    lay_out "$root" /usr/share/zsh/site-functions
    # Without the caller's ~/.rpmmacros and database, both of which rpmbuild reads.
    HOME=$work rpmbuild -bb --quiet --target "$arch-linux" --dbpath "$work/db" --define "_topdir $work/rpmbuild" \
        --define "name_ $name" --define "level $level" --define "version_ $version" --define "tree $root" "$here/backup_manager.spec" >"$work/said" 2>&1 ||
        { cat "$work/said" >&2 && return 1; }
    mv "$work/rpmbuild/RPMS/$arch/"*.rpm "$out/"
}

for kind in "$@"; do
    "$kind"
done
