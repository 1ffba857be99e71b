# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine emulator as a command: options, errors, small ROMs, QMP, Debian's kernel."""
import glob
import json
import re
import socket
import subprocess
import time

import pytest

import conftest


@pytest.fixture
def emulator(build):
    def run(*args, timeout=60, accel="vireo", **kw):
        argv = [str(build / "vireo-system-x86_64"), "-M", "microvm", "-nodefaults", "-display", "none", "-no-reboot"]
        if accel:
            argv += ["-accel", accel]
        return subprocess.run(argv + [str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout, **kw)
    return run


@pytest.fixture
def kernel():
    found = sorted(glob.glob("/boot/vmlinuz-*cloud-amd64"))
    if not found:
        pytest.skip("no Debian cloud kernel in /boot")
    return found[-1]


def rom(code):
    """64 KiB that end at the reset vector; the code starts at 0xe000."""
    image = bytearray(b"\xf4" * 65536)
    image[0xe000:0xe000 + len(code)] = code
    image[0xfff0:0xfff3] = b"\xe9" + ((0xe000 - 0xfff3) & 0xffff).to_bytes(2, "little")
    return bytes(image)


# mov dx,0x3f8; mov al,'!'; out dx,al; lidt (an empty table); int3: a triple fault
HELLO = bytes.fromhex("baf803" "b021" "ee" "2e0f011e40e0" "cc" "f4")
# mov al,3; out 0xf4,al
EXIT_7 = bytes.fromhex("b003" "e6f4" "f4")


def test_rom_writes_and_triple_faults(emulator, tmp_path):
    path = tmp_path / "rom"
    path.write_bytes(rom(HELLO)[:0xe040] + bytes(6) + rom(HELLO)[0xe046:])
    done = emulator("-m", "16", "-serial", "stdio", "-bios", path)
    assert (done.returncode, done.stdout) == (0, b"!")


def test_debug_exit_status(emulator, tmp_path):
    path = tmp_path / "rom"
    path.write_bytes(rom(EXIT_7))
    assert emulator("-m", "16", "-bios", path, "-device", "isa-debug-exit,iobase=0xf4,iosize=4").returncode == 7


@pytest.mark.parametrize("args, words", [
    (["-kernle", "x"], "did you mean '-kernel'"),
    (["-kernel", "/nonexistent"], "/nonexistent"),
    (["-kernel", "/etc/passwd"], "no kernel that can be booted"),
    (["-device", "virtio-blk-devise"], "did you mean 'virtio-blk-device'"),
    (["-device", "virtio-blk-device,drive=none"], "there is no drive or block node 'none'"),
    (["-device", "virtio-rng-device,colour=red"], "colour"),
    (["-drive", "file=/nonexistent,format=raw"], "/nonexistent"),
    (["-drive", "file=/etc/passwd,format=warp"], "warp"),
    (["-cpu", "Itanium"], "Itanium"),
    (["-cpu", "max,+warp"], "warp"),
    (["-m", "lots"], "lots"),
    (["-smp", "100"], "at most"),
    (["-M", "pdp11"], "pdp11"),
    (["-netdev", "user,id=n,hostfwd=tcp::99999-:22"], "hostfwd"),
    (["-append", "x"], "need -kernel"),
    (["-accel", "magic"], "magic"),
    (["-serial", "teletype"], "teletype"),
])
def test_bad_input_is_one_line(emulator, args, words):
    done = emulator(*args, timeout=20)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1 and len(lines) == 1 and words in lines[0], lines


def test_too_little_memory(emulator, kernel):
    done = emulator("-m", "16", "-kernel", kernel)
    assert done.returncode == 1 and b"-m" in done.stderr


def test_port_in_use(emulator):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = emulator("-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22")
    assert done.returncode == 1 and str(port).encode() in done.stderr


@pytest.mark.parametrize("args", [["-help"], ["-version"], ["-M", "help"], ["-cpu", "help"], ["-device", "help"],
                                  ["-device", "virtio-blk-device,help"]])
def test_help(build, args):
    done = subprocess.run([build / "vireo-system-x86_64"] + args, capture_output=True, timeout=20)
    assert done.returncode == 0 and done.stdout and not done.stderr


class Qmp:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        self.sock.settimeout(20)
        self.file = self.sock.makefile("rw")
        self.events = []
        self.greeting = json.loads(self.file.readline())

    def __call__(self, name, **args):
        self.file.write(json.dumps({"execute": name, "arguments": args, "id": name}))
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                assert answer["id"] == name
                return answer
            self.events.append(answer["event"])


def test_qmp(build, tmp_path):
    path = tmp_path / "rom"
    path.write_bytes(rom(bytes.fromhex("ebfe")))
    vm = subprocess.Popen([build / "vireo-system-x86_64", "-M", "microvm", "-accel", "vireo", "-nodefaults", "-display",
                           "none", "-m", "16", "-S", "-bios", path, "-name", "guest=n1", "-qmp",
                           f"unix:{tmp_path}/qmp,server=on,wait=off"])
    try:
        qmp = Qmp(tmp_path / "qmp")
        assert qmp.greeting["QMP"]["version"]["qemu"]["major"] == 7
        assert qmp("query-status")["error"]["class"] == "CommandNotFound"
        assert qmp("qmp_capabilities")["return"] == {}
        assert qmp("query-status")["return"] == {"status": "prelaunch", "running": False, "singlestep": False}
        assert qmp("query-name")["return"] == {"name": "n1"}
        assert qmp("stop")["return"] == {}
        assert qmp("cont")["return"] == {}
        assert qmp("query-status")["return"]["status"] == "running"
        assert qmp("stop")["return"] == {}
        assert qmp("query-status")["return"]["status"] == "paused"
        assert qmp("stop", force=True)["error"]["desc"] == "Parameter 'force' is unexpected"
        assert len(qmp("query-cpus-fast")["return"]) == 1
        assert {"name": "query-status"} in qmp("query-commands")["return"]
        assert qmp("no-such")["error"]["class"] == "CommandNotFound"
        assert qmp("quit")["return"] == {}
        assert vm.wait(20) == 0
        assert qmp.events[:2] == ["RESUME", "STOP"]
    finally:
        vm.kill()
        vm.wait()


def test_sandbox_is_on(build, tmp_path):
    """Privileges are gone and every thread has a system call filter before the guest runs."""
    path = tmp_path / "rom"
    path.write_bytes(rom(bytes.fromhex("ebfe")))
    vm = subprocess.Popen([build / "vireo-system-x86_64", "-M", "microvm", "-accel", "vireo", "-nodefaults", "-display",
                           "none", "-m", "16", "-bios", path, "-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off"])
    try:
        qmp = Qmp(tmp_path / "qmp")
        qmp("qmp_capabilities")
        for task in glob.glob(f"/proc/{vm.pid}/task/*/status"):
            with open(task, encoding="utf-8") as f:
                text = f.read()
            assert re.search(r"^Seccomp:\s+2$", text, re.M), task
        with open(f"/proc/{vm.pid}/status", encoding="utf-8") as f:
            text = f.read()
        assert re.search(r"^NoNewPrivs:\s+1$", text, re.M) and re.search(r"^CapEff:\s+0+$", text, re.M)
    finally:
        vm.kill()
        vm.wait()


@pytest.mark.parametrize("cpus", [1, 2])
def test_debian_kernel_reaches_its_panic(emulator, kernel, cpus):
    """No root file system: the kernel says so, and panic=-1 with reboot=t ends the emulator."""
    done = emulator("-cpu", "max", "-m", "512", "-smp", cpus, "-serial", "stdio", "-kernel", kernel, "-append",
                    "console=ttyS0 panic=-1 reboot=t", timeout=conftest.times(90, 90))
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0
    assert "Unable to mount root fs" in text
    assert f"Brought up 1 node, {cpus} CPU" in text
