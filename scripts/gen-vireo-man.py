#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the list of the daemon's commands in docs/man/vireo.1 as the program's own tables have it.

gen-vireo-man.py VIREO PAGE [--check]: between the two marker lines of the page. check-man.py runs it with --check.
"""
import pathlib
import re
import subprocess
import sys

BEGIN, END = '.\\" commands begin', '.\\" commands end'


def ask(program, *args):
    return subprocess.run([program, "help", *args], capture_output=True, text=True, check=True).stdout


def section(program):
    out = []
    for line in ask(program).splitlines():
        if m := re.match(r" (.+) \(help keyword '(\w+)'\):", line):
            if out:
                out += [".El"]
            out += [f".Ss {m[1]}", ".Bl -tag -width Ds"]
        elif m := re.match(r"    ([a-z0-9-]+) +(.*)", line):
            usage = re.search(r"SYNOPSIS\n    \S+ ?(.*)", ask(program, m[1]))[1]
            words = []
            for part in re.findall(r"\[--([\w-]+) <\w+>\]|\[--([\w-]+)\]|<([\w-]+)>(\.\.\.)?|\[<([\w-]+)>\]\.\.\.", usage):
                value, switch, need, dots, rest = part
                words += [f"Op Fl -{value} Ar {value}" if value else f"Op Fl -{switch}" if switch else f"Op Ar {rest} ..." if rest
                          else f"Ar {need} ..." if dots else f"Ar {need}"]
            out += [f".It Ic {m[1]}" + (" Xo" if words else "")]
            out += ["." + w for w in words] + ([".Xc"] if words else [])
            out += [m[2][0].upper() + m[2][1:] + "."]
    return out + [".El"]


def main(program, page, check):
    path = pathlib.Path(page)
    head, _, rest = path.read_text().partition(BEGIN + "\n")
    old, _, tail = rest.partition(END + "\n")
    new = "\n".join(section(program)) + "\n"
    if check:
        if old != new:
            print(f"{path.name}: the commands are not as 'vireo help' has them: run scripts/gen-vireo-man.py BUILD/vireo {page}")
        return old != new
    path.write_text(head + BEGIN + "\n" + new + END + "\n" + tail)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], "--check" in sys.argv))
