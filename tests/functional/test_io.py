# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo-io against qemu-io: the same commands on the same image, what they print and leave behind."""
import re
import shutil
import subprocess

import pytest

COMMANDS = ["write -P 0x5a 1M 64k", "read -P 0x5a 1M 64k", "write -z 2M 128k", "discard 4M 1M", "read -v 1M 32",
            "map", "length", "flush", "alloc 1M 64k", "aio_write -P 7 8M 64k", "aio_flush", "writev -P 3 9M 4k 4k",
            "truncate 80M", "read -P 1 1M 4k", "bogus"]


def session(program, image):
    args = [a for c in COMMANDS for a in ("-c", c)]
    done = subprocess.run([program, *args, image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60)
    lines = sorted(done.stdout.splitlines())  # errors and answers reach the pipe in an order of their own
    times = re.compile(r"[0-9.]+ sec.*|\([0-9.]+ .*")
    return done.returncode, [times.sub("", line) for line in lines]


@pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-io")
def test_same_session(build, tmp_path):
    ours, theirs = tmp_path / "ours.img", tmp_path / "theirs.img"
    for image in (ours, theirs):
        subprocess.run([build / "vireo-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    assert session(build / "vireo-io", ours) == session("qemu-io", theirs)
    subprocess.run(["qemu-img", "compare", ours, theirs], check=True)
