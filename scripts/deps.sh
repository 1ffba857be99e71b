#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what scripts/packages.txt lists and the machine lacks. Needs root (or sudo) only if
# something is missing.
set -eu
here=$(dirname "$0")
missing=
for p in $(sed 's/#.*//' "$here/packages.txt"); do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo=sudo
else
    echo "deps: these packages are missing:$missing" >&2
    echo "deps: run 'apt-get install$missing' as root, then try again" >&2
    exit 1
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
