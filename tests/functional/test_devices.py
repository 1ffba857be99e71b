# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices as Debian's kernel for real hardware sees them.

VIREO_MINI names a folder made by tests/guest/mkmini.sh; without it one is made.
"""
import os
import pathlib

import pytest
from mini import Mini, make

MKMINI = pathlib.Path(__file__).parent.parent / "guest" / "mkmini.sh"


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    return os.environ.get("VIREO_MINI") or make(MKMINI, tmp_path_factory.mktemp("mini"))


@pytest.fixture
def start(build, mini):
    return lambda *args, **kw: Mini(build / "vireo-system-x86_64", mini, "-accel", "vireo", *args, **kw)


@pytest.mark.parametrize("machine,card", [("pc", "e1000"), ("q35", "e1000e"), ("q35", "virtio-net-pci")])
def test_network_card_gets_its_lease(start, machine, card):
    with start("-M", machine, "-netdev", "user,id=n", "-device", f"{card},netdev=n") as guest:
        guest("ip link set eth0 up")
        assert "lease of 10.0.2.15 obtained" in guest("udhcpc -i eth0 -n -q 2>&1 | tail -1")
        guest.poweroff()


def test_balloon(start):
    balloon = "/machine/peripheral/b"
    with start("-M", "pc", "-device", "virtio-balloon-pci,id=b,free-page-reporting=on") as guest:
        total = int(guest("awk '/MemTotal/ {print $2}' /proc/meminfo")) * 1024
        assert guest.qmp("query-balloon") == {"actual": 256 << 20}
        guest.qmp("balloon", value=200 << 20)
        assert guest.qmp.event("BALLOON_CHANGE")["actual"] < 256 << 20
        while guest.qmp("query-balloon")["actual"] != 200 << 20:
            guest("sleep 0.1")
        less = int(guest("awk '/MemTotal/ {print $2}' /proc/meminfo")) * 1024
        assert total - less == 56 << 20
        guest.qmp("qom-set", path=balloon, property="guest-stats-polling-interval", value=1)
        guest("sleep 1.5")
        stats = guest.qmp("qom-get", path=balloon, property="guest-stats")
        assert stats["stats"]["stat-total-memory"] == less and stats["last-update"] > 0
        guest.qmp("balloon", value=256 << 20)
        while guest.qmp("query-balloon")["actual"] != 256 << 20:
            guest("sleep 0.1")
        assert "gone" not in guest("dd if=/dev/urandom of=/tmp/x bs=1M count=60; md5sum /tmp/x > /tmp/s;"
                                   "md5sum -c /tmp/s || echo gone")
        guest.poweroff()
