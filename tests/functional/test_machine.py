# SPDX-License-Identifier: GPL-2.0-or-later
"""pc and q35: SeaBIOS, -kernel by its option ROM, PCI devices, saving and restoring, libvirt's probe.

VIREO_DISK names a disk image made by tests/guest/mkdisk.sh; with VIREO_SOAK=1 one is made.
"""
import glob
import json
import os
import pathlib
import socket
import subprocess
import time

import pexpect
import pytest

MKDISK = pathlib.Path(__file__).parent.parent / "guest" / "mkdisk.sh"


@pytest.fixture
def kernel():
    found = sorted(glob.glob("/boot/vmlinuz-*cloud-amd64"))
    if not found:
        pytest.skip("no Debian cloud kernel in /boot")
    return found[-1]


@pytest.fixture(scope="module")
def disk_image(tmp_path_factory):
    if "VIREO_DISK" in os.environ:
        return os.environ["VIREO_DISK"]
    if not os.environ.get("VIREO_SOAK"):
        pytest.skip("no VIREO_DISK; made with VIREO_SOAK=1")
    path = tmp_path_factory.mktemp("disk") / "debian.img"
    subprocess.run([MKDISK, path, "linux-image-amd64"], check=True, stdout=subprocess.DEVNULL)
    return str(path)


class Qmp:
    def __init__(self, path):
        deadline = time.time() + 20
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.sock.makefile("rw")
        self.greeting = json.loads(self.file.readline())
        self.events = []
        self("qmp_capabilities")

    def __call__(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                return answer
            self.events.append(answer["event"])


@pytest.mark.parametrize("machine", ["pc", "q35", "pc-i440fx-6.2", "pc-q35-2.12"])
def test_kernel_under_seabios(build, kernel, machine):
    done = subprocess.run([build / "vireo-system-x86_64", "-M", machine, "-accel", "vireo", "-m", "256", "-nographic",
                           "-no-reboot", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    text = done.stdout.decode(errors="replace")
    assert "Linux version" in text and "Unable to mount root fs" in text, text[-2000:]
    assert "ACPI: PM-Timer IO Port: 0x608" in text
    assert f"{'440FX' if 'i440fx' in machine or machine == 'pc' else 'Q35'}" in text
    assert done.returncode == 0


PROBE = ["query-version", "query-target", "query-qmp-schema", "query-commands", "query-kvm", "qom-list-types",
         "query-machines", "query-cpu-definitions", "query-command-line-options", "query-migrate-capabilities"]


def test_libvirt_probe(build, tmp_path):
    """The first commands that libvirtd 9.0 sends to an emulator it does not know."""
    pidfile = tmp_path / "pid"
    done = subprocess.run([build / "vireo-system-x86_64", "-S", "-no-user-config", "-nodefaults", "-nographic",
                           "-machine", "none,accel=kvm:tcg", "-qmp", f"unix:{tmp_path}/q,server=on,wait=off",
                           "-pidfile", pidfile, "-daemonize"], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    qmp = Qmp(tmp_path / "q")
    for command in PROBE:
        assert "return" in qmp(command), command
    names = {m["name"] for m in qmp("query-machines")["return"]}
    assert {"pc-i440fx-7.2", "pc-q35-2.9", "microvm", "none"} <= names
    schema = {e["name"] for e in qmp("query-qmp-schema")["return"] if e["meta-type"] == "command"}
    assert schema == {c["name"] for c in qmp("query-commands")["return"]}
    for name in ["virtio-blk-pci", "VGA", "PIIX4_PM", "ICH9-LPC", "pcie-root-port", "mch"]:
        assert qmp("device-list-properties", typename=name)["return"] is not None
    assert qmp("device-list-properties", typename="warp-drive")["error"]["class"] == "DeviceNotFound"
    qmp("quit")


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_disk_boot_savevm_and_migration(build, tmp_path, disk_image, machine):
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", disk_image, image], check=True)
    args = ["-M", machine, "-accel", "vireo", "-smp", "2", "-m", "384", "-nodefaults", "-vga", "std", "-display", "none",
            "-chardev", "stdio,id=s", "-serial", "chardev:s", "-drive", f"file={image},format=qcow2,if=virtio",
            "-qmp", f"unix:{tmp_path}/q,server=on,wait=off"]

    def start(*extra):
        return pexpect.spawn(str(build / "vireo-system-x86_64"), args + list(extra), timeout=150, encoding="utf-8",
                             codec_errors="replace")

    guest = start()
    qmp = Qmp(tmp_path / "q")
    guest.expect("login: ")
    guest.sendline("root")
    guest.expect("~# ")
    guest.sendline("echo mark$((40+2)) > /dev/shm/x; echo ok$((1+1))")
    guest.expect("ok2")
    assert qmp("human-monitor-command", **{"command-line": "savevm s1"})["return"] == ""
    guest.sendline("rm /dev/shm/x; echo gone$((5+5))")
    guest.expect("gone10")
    assert qmp("human-monitor-command", **{"command-line": "loadvm s1"})["return"] == ""
    guest.sendline("cat /dev/shm/x; echo there$((6+6))")
    guest.expect("there12")
    assert "mark42" in guest.before
    assert qmp("screendump", filename=str(tmp_path / "shot.png"), format="png") == {"return": {}}
    assert (tmp_path / "shot.png").read_bytes()[:4] == b"\x89PNG"
    assert qmp("migrate", uri=f"file:{tmp_path}/state") == {"return": {}}
    while qmp("query-migrate")["return"]["status"] not in ("completed", "failed"):
        time.sleep(0.1)
    assert qmp("query-migrate")["return"]["status"] == "completed"
    qmp("quit")
    guest.expect(pexpect.EOF)
    guest = start("-incoming", f"file:{tmp_path}/state")
    guest.sendline("cat /dev/shm/x; echo back$((7+7))")
    guest.expect("back14")
    assert "mark42" in guest.before
    guest.sendline("poweroff")
    guest.expect(pexpect.EOF)
    guest.close()
    assert guest.exitstatus == 0


def test_vnc_shows_the_firmware(build):
    """A viewer without encodings of its own sees SeaBIOS's screen, sandboxed."""
    emulator = subprocess.Popen([build / "vireo-system-x86_64", "-M", "pc", "-accel", "vireo", "-m", "64", "-nic", "none",
                                 "-serial", "none", "-vnc", "127.0.0.1:57"])
    try:
        deadline = time.time() + 20
        while True:
            try:
                viewer = socket.create_connection(("127.0.0.1", 5957), timeout=10)
                break
            except OSError:
                assert time.time() < deadline
                time.sleep(0.1)
        stream = viewer.makefile("rwb", buffering=0)

        def read(n):
            data = b""
            while len(data) < n:
                part = stream.read(n - len(data))
                assert part, "the server hung up"
                data += part
            return data

        assert read(12) == b"RFB 003.008\n"
        stream.write(b"RFB 003.008\n")
        assert 1 in read(read(1)[0])
        stream.write(b"\x01")
        assert read(4) == bytes(4)
        stream.write(b"\x01")
        head = read(24)
        read(int.from_bytes(head[20:], "big"))
        time.sleep(3)
        width, height = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        stream.write(b"\x03\x00" + bytes(4) + head[:4])
        assert int.from_bytes(read(4)[2:], "big") >= 1
        rect = read(12)
        assert (int.from_bytes(rect[4:6], "big"), int.from_bytes(rect[8:12], "big")) == (width, 0)
        pixels = read(width * int.from_bytes(rect[6:8], "big") * 4)
        assert any(pixels), "the screen is black"
        assert height > 0
    finally:
        emulator.terminate()
    assert emulator.wait(timeout=20) == 0
