# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices as Debian's kernel for real hardware sees them.

VIREO_MINI names a folder made by tests/guest/mkmini.sh; without it one is made.
"""
import os
import pathlib
import time

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


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "small.img"
    path.write_bytes(b"")
    os.truncate(path, 64 << 20)
    return path


def keeps_checksums(guest, disk, megabytes=8):
    """A file system on the disk under load: what was written is read back after the caches went."""
    guest(f"mke2fs -q {disk} > /dev/null; mount {disk} /mnt")
    assert disk in guest("cat /proc/mounts")
    guest(f"for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=64k count={megabytes * 4} 2>/dev/null & done; wait")
    guest("md5sum /mnt/? > /tmp/sums; umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount " + disk + " /mnt")
    assert guest("md5sum -c /tmp/sums | grep -c OK") == "4"
    guest("umount /mnt")


@pytest.mark.parametrize("machine,controller", [("pc", "piix3-usb-uhci"), ("q35", "qemu-xhci"), ("pc", "nec-usb-xhci")])
def test_usb(start, small_disk, machine, controller):
    with start("-M", machine, "-device", f"{controller},id=usb", "-device", "usb-tablet,bus=usb.0,port=1",
               "-drive", f"if=none,id=u,file={small_disk},format=raw", "-device", "usb-storage,bus=usb.0,drive=u") as guest:
        guest.until("ls /dev", "sda")
        assert "QEMU USB Tablet" in guest("cat /proc/bus/input/devices")
        guest("event=/dev/input/$(sed -n '/USB Tablet/,/^$/s/.*\\(event[0-9]*\\).*/\\1/p' /proc/bus/input/devices)")
        guest.child.sendline("echo listening; dd if=$event bs=24 count=3 2> /dev/null | hexdump -v -e '8/2 \"%04x \" \"\\n\"'")
        guest.child.expect("listening\r*\n")
        time.sleep(0.5)
        guest.qmp("input-send-event", events=[{"type": "abs", "data": {"axis": "x", "value": 0x1234}},
                                              {"type": "abs", "data": {"axis": "y", "value": 0x2345}}])
        guest.child.expect("mini# ")
        text = guest.child.before
        assert "0003 0000 1234" in text and "0003 0001 2345" in text
        keeps_checksums(guest, "/dev/sda", 1 if "uhci" in controller else 8)
        if "xhci" in controller:  # which has a port left
            guest.qmp("device_add", driver="usb-kbd", id="k")
            guest.until("cat /proc/bus/input/devices", "QEMU USB Keyboard")
            guest.qmp("device_del", id="k")
            assert guest.qmp.event("DEVICE_DELETED")["device"] == "k"
            guest.until("grep -c 'USB Keyboard' /proc/bus/input/devices", "0")
        guest.poweroff()


def test_virtio_scsi(start, small_disk):
    with start("-M", "q35", "-device", "virtio-scsi-pci,id=s", "-drive", f"if=none,id=u,file={small_disk},format=raw",
               "-device", "scsi-hd,drive=u,id=d0,serial=abc", "-device", "scsi-cd,scsi-id=5") as guest:
        assert "/dev/sr0" in guest("ls /dev/sd* /dev/sr*")
        keeps_checksums(guest, "/dev/sda")
        guest.qmp("device_del", id="d0")
        assert guest.qmp.event("DEVICE_DELETED")["device"] == "d0"
        guest.until("ls /dev/sda 2>&1", "No such")
        guest.qmp("device_add", driver="scsi-hd", id="d1", drive="u", lun=3, bus="s.0", **{"scsi_id": 2})
        guest.until("ls -d /sys/class/scsi_disk/*", "0:2:3")
        guest.poweroff()


def test_virtio_vga(start, tmp_path):
    with start("-M", "q35", "-device", "virtio-vga,id=video0,xres=1024,yres=768") as guest:
        guest.until("cat /sys/class/drm/card0-Virtual-1/modes", "1024x768")
        guest("cat /dev/zero > /dev/fb0; sleep 0.5")
        guest.qmp("screendump", filename=f"{tmp_path}/black.ppm")
        guest("dd if=/dev/urandom of=/dev/fb0 bs=1M count=3; sleep 0.5")
        guest.qmp("screendump", filename=f"{tmp_path}/noise.ppm")
        black, noise = ((tmp_path / f"{name}.ppm").read_bytes() for name in ("black", "noise"))
        assert black.startswith(b"P6\n1024 768\n") and len(noise) == len(black)
        assert black.count(0) > len(black) * 9 // 10 and noise.count(0) < len(noise) // 10
        guest.poweroff()


def test_nvme(start, small_disk):
    with start("-M", "q35", "-smp", "2", "-drive", f"if=none,id=u,file={small_disk},format=raw",
               "-device", "nvme,drive=u,serial=abc,id=n") as guest:
        guest.until("ls /dev", "nvme0n1")
        assert guest("cat /sys/class/nvme/nvme0/model").startswith("QEMU NVMe Ctrl")
        keeps_checksums(guest, "/dev/nvme0n1")
        guest("blkdiscard /dev/nvme0n1")
        assert guest.qmp("query-blockstats")[0]["stats"]["unmap_operations"] > 0
        guest.poweroff()


def test_virtio_input(start):
    with start("-M", "q35", "-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci") as guest:
        text = guest("cat /proc/bus/input/devices")
        assert "QEMU Virtio Keyboard" in text and "QEMU Virtio Tablet" in text
        guest("event=/dev/input/$(sed -n '/Virtio Keyboard/,/^$/s/.*\\(event[0-9]*\\).*/\\1/p' /proc/bus/input/devices)")
        guest.child.sendline("echo listening; dd if=$event bs=24 count=2 2> /dev/null | hexdump -v -e '8/2 \"%04x \" \"\\n\"'")
        guest.child.expect("listening\r*\n")
        time.sleep(0.5)
        guest.qmp("send-key", keys=[{"type": "qcode", "data": "home"}])
        guest.child.expect("mini# ")
        assert "0001 0066 0001" in guest.child.before  # a key, KEY_HOME, down
        guest.poweroff()


@pytest.mark.parametrize("device", ["pvpanic", "pvpanic-pci"])
def test_panic_is_told(start, device):
    with start("-M", "q35", "-device", device, "-no-shutdown", append="panic=0") as guest:
        guest("modprobe pvpanic-mmio; modprobe pvpanic-pci")
        guest.qmp("query-status")
        guest.child.sendline("echo c > /proc/sysrq-trigger")
        assert guest.qmp.event("GUEST_PANICKED")["action"] == "pause"
        assert guest.qmp("query-status")["status"] == "guest-panicked"


def test_watchdog(start):
    with start("-M", "pc", "-device", "i6300esb") as guest:
        guest.qmp("set-action", watchdog="pause")
        guest.until("ls /dev", "watchdog")
        guest.child.sendline("busybox watchdog -T 2 -t 1 -F /dev/watchdog & sleep 4; kill -9 $!; sleep 30")
        time.sleep(3)
        assert guest.qmp("query-status")["status"] == "running"  # it is fed
        assert guest.qmp.event("WATCHDOG", 20)["action"] == "pause"
        assert guest.qmp("query-status")["status"] == "watchdog"


def test_serial_and_clock_are_saved(start, mini, tmp_path, build):
    with start("-M", "q35", "-rtc", "base=2031-05-06T07:08:09") as guest:
        assert "2031" in guest("hwclock -u -r")
        guest.qmp("migrate", uri=f"file:{tmp_path}/state")
        while guest.qmp("query-migrate")["status"] != "completed":
            time.sleep(0.1)
    saved = Mini(build / "vireo-system-x86_64", mini, "-accel", "vireo", "-M", "q35", "-incoming", f"file:{tmp_path}/state")
    saved.child.sendline("")  # the port's interrupts are on: it answers
    saved.child.expect("mini# ")
    assert "2031" in saved("hwclock -u -r")
    saved.poweroff()
