# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of the command line beyond devices: the human monitor, -snapshot, -readconfig, -runas, -action."""
import os
import subprocess

import pexpect
import pytest
from mini import Qmp
from test_devices import mini, small_disk, start  # noqa: F401 (fixtures)


def test_monitor_on_the_console(build):
    child = pexpect.spawn(str(build / "vireo-system-x86_64"), ["-M", "pc", "-accel", "vireo", "-nographic", "-S", "-quiet"],
                          timeout=30, encoding="utf-8")
    child.send("\x01c")
    child.expect(r"\(qemu\) ")
    child.send("info status\r")
    child.expect("VM status: paused")
    child.send("info pxi\x7f\x7fci\r")  # a mistake mended
    child.expect("82540EM")
    child.send("\x1b[A\x1b[A\r")  # two lines up
    child.expect("VM status: paused")
    child.send("nonsense\r")
    child.expect("unknown command: 'nonsense'")
    child.send("quit\r")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_snapshot_leaves_the_image_alone(start, small_disk):  # noqa: F811
    with start("-M", "q35", "-snapshot", "-drive", f"file={small_disk},format=raw,if=virtio") as guest:
        guest("echo hello > /dev/vda; sync; echo 3 > /proc/sys/vm/drop_caches")
        assert guest("head -c 5 /dev/vda") == "hello"
        guest.poweroff()
    assert not any(small_disk.read_bytes())
    assert not [n for n in os.listdir(os.environ.get("TMPDIR", "/var/tmp")) if n.startswith("vireo-snapshot.")]


def test_readconfig(build, tmp_path):
    config = tmp_path / "machine.cfg"
    config.write_text('# a machine\n[machine]\n  type = "q35"\n[memory]\n  size = "64M"\n[smp-opts]\n  cpus = "2"\n'
                      '[device "balloon, mine"]\n  driver = "virtio-balloon-pci"\n')
    path = tmp_path / "q"
    with subprocess.Popen([build / "vireo-system-x86_64", "-accel", "vireo", "-S", "-nodefaults", "-display", "none",
                           "-readconfig", config, "-qmp", f"unix:{path},server=on,wait=off"]) as child:
        qmp = Qmp(path)
        assert len(qmp("query-cpus-fast")) == 2
        assert qmp("query-memory-size-summary")["base-memory"] == 64 << 20
        assert "balloon, mine" in [o["name"] for o in qmp("qom-list", path="/machine/peripheral")]
        qmp("quit")
        assert child.wait(20) == 0
    config.write_text("[device\n")
    done = subprocess.run([build / "vireo-system-x86_64", "-readconfig", config], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"{config}:1" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_runas(build, tmp_path):
    path = tmp_path / "q"
    with subprocess.Popen([build / "vireo-system-x86_64", "-accel", "vireo", "-S", "-nodefaults", "-display", "none",
                           "-runas", "nobody", "-qmp", f"unix:{path},server=on,wait=off"]) as child:
        qmp = Qmp(path)
        assert os.stat(f"/proc/{child.pid}").st_uid == 65534
        qmp("quit")
        assert child.wait(20) == 0
