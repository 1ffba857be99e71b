# SPDX-License-Identifier: GPL-2.0-or-later
"""Network back ends: two guests on one wire, a tap in a network namespace of the test's own."""
import os
import subprocess

import pytest
from test_devices import mini, start  # noqa: F401 (fixtures)


def card(n):
    return ["-device", f"virtio-net-pci,netdev=n,mac=52:54:00:00:00:0{n}"]


@pytest.mark.parametrize("first,second", [
    ("stream,id=n,server=on,addr.type=unix,addr.path={0}/s", "stream,id=n,server=off,addr.type=unix,addr.path={0}/s"),
    ("dgram,id=n,local.type=unix,local.path={0}/a,remote.type=unix,remote.path={0}/b",
     "dgram,id=n,local.type=unix,local.path={0}/b,remote.type=unix,remote.path={0}/a"),
    ("socket,id=n,listen=127.0.0.1:{1}", "socket,id=n,connect=127.0.0.1:{1}"),
], ids=["stream", "dgram", "socket"])
def test_two_guests_on_a_wire(start, tmp_path, first, second):  # noqa: F811
    port = 20000 + os.getpid() % 20000
    with start("-M", "pc", "-netdev", first.format(tmp_path, port), *card(1)) as one:
        with start("-M", "q35", "-netdev", second.format(tmp_path, port), *card(2)) as two:
            one("ip addr add 10.9.0.1/24 dev eth0; ip link set eth0 up")
            two("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up")
            assert " 0% packet loss" in two("ping -c 3 -s 1400 10.9.0.1")
            two.poweroff()
        one.poweroff()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
def test_tap(build, mini, tmp_path):  # noqa: F811
    script = tmp_path / "guest.py"
    script.write_text(f"""
import subprocess, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from mini import Mini
run = lambda *a: subprocess.run(a, check=True)
run("ip", "tuntap", "add", "tap0", "mode", "tap")
run("ip", "addr", "add", "10.8.0.1/24", "dev", "tap0")
run("ip", "link", "set", "tap0", "up")
with Mini({str(build / 'vireo-system-x86_64')!r}, {str(mini)!r}, "-accel", "vireo", "-M", "q35",
          "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "e1000e,netdev=n") as guest:
    guest("ip addr add 10.8.0.2/24 dev eth0; ip link set eth0 up")
    print(guest("ping -c 3 10.8.0.1"))
    print(guest("ping -c 2 -s 1400 10.8.0.1"))
    guest.poweroff()
""")
    done = subprocess.run(["unshare", "-n", "/usr/bin/python3", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.count(" 0% packet loss") == 2, done.stdout + done.stderr
