#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fails when a program has no manual page, or a page is not clean mdoc, or an option is missing in it.

Run by `meson test --suite lint`. The programs are asked for their own --help.
"""
import pathlib
import re
import subprocess
import sys


def main(top, build):
    pages = pathlib.Path(top, "docs", "man")
    programs = [p for p in pathlib.Path(build).glob("vireo*")
                if p.is_file() and p.stat().st_mode & 0o100 and p.suffix == "" and p.name != "vireo-guest-init"]
    bad = 0
    for program in sorted(programs):
        found = list(pages.glob(program.name + ".[18]"))
        if not found:
            print(f"{program.name}: no manual page in docs/man")
            bad += 1
    for page in sorted(pages.glob("*.[1-8]")):
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
        if done.returncode:
            print(done.stdout + done.stderr)
            bad += 1
    vireo = pathlib.Path(build, "vireo")
    text = (pages / "vireo.1").read_text()
    for command in ("run",):
        out = subprocess.run([vireo, command, "--help"], capture_output=True, text=True).stdout
        for option in re.findall(r"^  --([a-z]+)", out, re.M):
            if f".It Fl -{option}" not in text:
                print(f"vireo.1: --{option} of 'vireo {command}' is not described")
                bad += 1
    generator = pathlib.Path(top, "scripts", "gen-vireo-man.py")
    bad += subprocess.run([sys.executable, generator, vireo, pages / "vireo.1", "--check"]).returncode
    text = (pages / "vireo-system-x86_64.1").read_text()
    out = subprocess.run([pathlib.Path(build, "vireo-system-x86_64"), "-help"], capture_output=True, text=True).stdout
    for option in re.findall(r"^-(\S+)", out, re.M):
        if not re.search(rf"^\.It Fl {re.escape(option)}( |$)", text, re.M):
            print(f"vireo-system-x86_64.1: -{option} is not described")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
