# SPDX-License-Identifier: GPL-2.0-or-later
"""The gdb stub, with Debian's gdb: breakpoints of both kinds, a watchpoint, steps, several CPUs."""
import shutil
import subprocess

import pytest
from test_emulator import rom

# 16-bit code at the reset vector's segment: ax counts up, is stored at 0x600, for ever.
CODE = bytes.fromhex("31c0" "8ed8" "40" "a30006" "ebfa")


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")
def test_gdb(build, tmp_path):
    image = tmp_path / "rom"
    image.write_bytes(rom(CODE))
    sock = tmp_path / "gdb"
    with subprocess.Popen([build / "vireo-system-x86_64", "-M", "microvm", "-accel", "vireo", "-smp", "2", "-m", "64",
                           "-nodefaults", "-display", "none", "-bios", image, "-S",
                           "-gdb", f"unix:{sock},server=on,wait=off"]) as child:
        script = ["set pagination off", "set confirm off", f"target remote {sock}", "info threads", "stepi", "stepi", "stepi",
                  "printf \"ip %lx\\n\", $rip", "info registers rax xmm0", "watch *(unsigned short *)0x600",
                  "continue", "continue", "printf \"ax %lx\\n\", $rax", "delete", "kill"]
        done = subprocess.run(["gdb", "-nx", "-batch", *sum((["-ex", line] for line in script), [])],
                              capture_output=True, text=True, timeout=60, check=False)
        child.wait(20)
    assert "CPU#1" in done.stdout, done.stdout + done.stderr
    assert "rax" in done.stdout and "xmm0" in done.stdout
    assert done.stdout.count("atchpoint") >= 3, done.stdout + done.stderr
