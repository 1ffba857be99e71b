#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""embed-rom.py OUT.c SOURCE.S CC OBJCOPY - assembles an option ROM of ours and makes it a C array.

Fills in the checksums of its expansion header and of the whole.
"""
import pathlib
import subprocess
import sys
import tempfile


def main(out, source, cc, objcopy):
    with tempfile.TemporaryDirectory() as tmp:
        obj, binary = f"{tmp}/rom.o", f"{tmp}/rom.bin"
        subprocess.run([cc, "-m32", "-c", "-o", obj, source], check=True)
        subprocess.run([objcopy, "-O", "binary", "-j", ".text", obj, binary], check=True)
        rom = bytearray(pathlib.Path(binary).read_bytes())
    pnp = int.from_bytes(rom[0x1a:0x1c], "little")
    rom[pnp + 9] = -sum(rom[pnp:pnp + 32]) & 0xff
    rom[-1] = -sum(rom) & 0xff
    name = pathlib.Path(source).stem
    rows = [", ".join(f"0x{b:02x}" for b in rom[i:i + 16]) for i in range(0, len(rom), 16)]
    with open(out, "w", encoding="utf-8") as f:
        f.write(f"/* Generated from {pathlib.Path(source).name} by scripts/embed-rom.py. */\n")
        f.write(f'#include "vmm/fw/rom/rom.h"\n\nconst unsigned char rom_{name}[{len(rom)}] = {{\n    ')
        f.write(",\n    ".join(rows))
        f.write(f"\n}};\nconst unsigned rom_{name}_len = {len(rom)};\n")


if __name__ == "__main__":
    main(*sys.argv[1:5])
