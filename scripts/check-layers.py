#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fails when a file includes a header from a layer it may not use.

The table is the architecture: a layer may include itself and what is listed.
Run by `meson test --suite lint`.
"""
import pathlib
import re
import sys

LAYERS = {
    "base": set(),
    "os": {"base"},
    "codec": {"base"},
    "engine": {"base", "os"},
    "block": {"base", "os", "codec"},
    "rpc": {"base", "os", "codec"},
    "vmm": {"base", "os", "codec", "block"},  # the engine only through include/
    "mgmt": {"base", "os", "codec", "rpc", "client"},  # the emulator only through its sockets; a client of other daemons
    "client": {"base", "os", "codec", "rpc"},
    "tools": {"base", "os", "codec", "block", "rpc", "client"},
    "web": {"base", "os", "codec", "client"},
}
# Installed headers, and who may use them.
INSTALLED = {"vireo/kvm.h": {"engine", "vmm", "tools"}, "vireo/vireo.h": {"client", "tools", "web"}}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def main(top):
    root = pathlib.Path(top) / "src"
    bad = 0
    for path in sorted(root.rglob("*.[ch]")):
        layer = path.relative_to(root).parts[0]
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            target = m.group(1).split("/")[0]
            wrong = target in LAYERS and target != layer and target not in LAYERS[layer]
            wrong = wrong or layer not in INSTALLED.get(m.group(1), {layer})
            if wrong:
                print(f"{path}:{n}: {layer} may not use {target}: {m.group(1)}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
