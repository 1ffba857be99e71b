#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fails when a header does not compile on its own. Run by `meson test --suite lint`."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

PACKAGES = ["libsystemd", "json-c", "libxml-2.0", "gnutls"]


def main(top, build):
    flags = subprocess.run(["pkg-config", "--cflags", *PACKAGES], capture_output=True, text=True,
                           check=True).stdout.split()
    headers = sorted(p for p in pathlib.Path(top, "src").rglob("*.h") if not p.name.endswith(".tab.h")) + \
        sorted(pathlib.Path(top, "include").rglob("*.h"))

    def one(header):
        cmd = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-I" + top + "/src",
               "-I" + top + "/include", "-I" + build + "/src", "-I" + build + "/include", *flags, "-include", str(header), "-x", "c",
               "/dev/null"]
        return subprocess.run(cmd, capture_output=True, text=True)

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, done in zip(headers, pool.map(one, headers)):
            if done.returncode != 0:
                print(f"{header}: not self-contained\n{done.stderr}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
