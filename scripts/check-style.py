#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fails on what a compiler does not see: licence lines, file names, banned functions, meson mirror.

Run by `meson test --suite lint`.
"""
import pathlib
import re
import sys

BANNED = {
    r"\bstrcpy\s*\(": "use memcpy with a checked length, or strbuf",
    r"\bstrcat\s*\(": "use strbuf",
    r"\bsprintf\s*\(": "use snprintf or strbuf_printf",
    r"\bvsprintf\s*\(": "use vsnprintf",
    r"\bgets\s*\(": "use fgets",
    r"\bato(i|l|ll|f)\s*\(": "use str_to_u64 and its family",
    r"\balloca\s*\(": "use the heap or a bounded array",
    r"\bsystem\s*\(": "use process_spawn",
    r"\bpopen\s*\(": "use process_capture",
    r"\bstrtok\s*\(": "use strcspn",
    r"\bmktemp\s*\(": "use mkostemp",
    r"\bassert\s*\(\s*0\s*\)": "name the impossible condition",
    r"__attribute__\s*\(\s*\(\s*constructor": "register in an explicit table",
}
FOLDERS = {"src", "include", "tests", "fuzz", "scripts", "bench"}
NAME = re.compile(r"^[a-z0-9.-]+(_[a-z0-9.-]+){0,2}(\.S)?$")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.S)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def check(path, rel):
    text = path.read_text(errors="replace")
    if "SPDX-License-Identifier:" not in text[:400]:
        yield f"{rel}:1: no SPDX-License-Identifier line"
    if not NAME.match(path.name) and not path.name.startswith("__"):
        yield f"{rel}:1: file names are lower case"
    if path.suffix in (".c", ".h") and rel.parts[0] in ("src", "include"):
        code = COMMENT.sub(blank, text)
        for pattern, instead in BANNED.items():
            for m in re.finditer(pattern, code):
                line = code.count("\n", 0, m.start()) + 1
                yield f"{rel}:{line}: {m.group(0).strip()} is banned: {instead}"
        if path.suffix == ".h" and "#pragma once" not in text and not path.name.endswith(".tab.h"):
            if rel.parts[0] != "include":
                yield f"{rel}:1: no #pragma once"
    for n, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield f"{rel}:{n}: trailing blanks"


def main(top):
    root = pathlib.Path(top)
    bad = 0
    for path in sorted(root.rglob("*")):
        rel = path.relative_to(root)
        if rel.parts[0] not in FOLDERS or path.suffix not in (".c", ".h", ".py", ".S", ".sh", ".x"):
            continue
        for message in check(path, rel):
            print(message)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
