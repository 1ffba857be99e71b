#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mkroot.sh OUT - an ext4 image with a Debian 12 of compilers and test suites, for `vireo run --rootfs`.
set -eu
out=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/mkroot.XXXXXX")
trap 'rm -rf "$work"' EXIT

packages=gcc,libc6-dev,python3,libpython3.11-testsuite,openssl,ca-certificates,curl,isc-dhcp-client,iproute2,dnsutils
mmdebstrap --variant=minbase --include="$packages" --customize-hook='chroot "$1" passwd -d root' \
    --aptopt='Acquire::Languages "none"' \
    bookworm "$work/root.tar" "${MIRROR:-/etc/apt/sources.list.d/debian.sources}"
mkdir "$work/root"
tar -C "$work/root" -xf "$work/root.tar" --exclude='./dev/*'
truncate -s 3G "$out"
mke2fs -q -t ext4 -F -d "$work/root" "$out"
