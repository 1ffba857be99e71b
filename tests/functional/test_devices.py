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
