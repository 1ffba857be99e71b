# SPDX-License-Identifier: GPL-2.0-or-later
"""Images on other machines (here: on this one), and the formats that are only read."""
import base64
import bz2
import getpass
import http.server
import os
import pathlib
import plistlib
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

import pytest
from conftest import BUILD, times
from test_img import IMG, both, fill, run

IO = str(BUILD / "vireo-io")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with ranges, which Python's own does not know; without, for /plain/."""
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        plain = self.path.startswith("/plain/")
        path = pathlib.Path(self.path.removeprefix("/plain").lstrip("/"))
        if not path.exists():
            self.send_error(404)
            return
        data = path.read_bytes()
        found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.send_response(206 if found and not plain else 200)
        if found and not plain:
            first, last = int(found[1]), min(int(found[2]), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first:last + 1]
        if not plain:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_http(web):
    fill("a.raw", 5 << 20, random.Random(1))
    run(IMG, "convert", "-f", "raw", "-O", "qcow2", "-c", "a.raw", "a.qcow2")
    run(IMG, "convert", "-O", "raw", f"{web}/a.qcow2", "b.raw")
    assert pathlib.Path("b.raw").read_bytes() == pathlib.Path("a.raw").read_bytes()
    run(IMG, "create", "-q", "-f", "qcow2", "-b", f"{web}/a.qcow2", "-F", "qcow2", "over.qcow2")
    run(IO, "-c", "write -P 1 1M 1000", "over.qcow2")
    run(IO, "-f", "raw", "-c", "write -P 1 1M 1000", "a.raw")
    run(IMG, "compare", "-f", "raw", "-F", "qcow2", "a.raw", "over.qcow2")
    run(IO, "-r", "--image-opts", "-c", "read 0 1M", "-c", "read 100 5",
        f"driver=qcow2,file.driver=http,file.url={web}/a.qcow2,file.readahead=64k,file.timeout=3")
    for name, text in ((f"{web}/none.raw", "404"), (f"{web}/plain/a.raw", "range"), ("http://127.0.0.1:1/x", "Failed to connect")):
        done = run(IMG, "info", "-f", "raw", name, ok=False)
        assert done.returncode == 1 and text in done.stderr, done.stderr
    done = run(IO, "-f", "raw", "-c", "write 0 1", f"{web}/a.raw", ok=False)
    assert done.returncode == 1 and "read-only" in done.stderr


def start_sshd():
    """A server of this user's on a free port; its arguments for us: host key's hash, port."""
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name)
    shutil.copy("user.pub", "keys")
    port = free_port()
    here = os.getcwd()
    os.makedirs("/run/sshd", exist_ok=True)
    pathlib.Path("config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/keys\nStrictModes no\n"
        f"UsePAM no\nPidFile {here}/pid\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n")
    server = subprocess.Popen([shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f", "config"], stderr=open("sshd.log", "w"))
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    key = base64.b64decode(pathlib.Path("host.pub").read_text().split()[1])
    import hashlib
    return server, port, hashlib.sha256(key).hexdigest()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None, reason="openssh-server, root")
def test_ssh(monkeypatch):
    server, port, key = start_sshd()
    try:
        # The key comes by an agent, as there is no option for it.
        out = run("ssh-agent", "-s").stdout
        env = dict(re.findall(r"(SSH_\w+)=([^;]+);", out))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        run("ssh-add", "-q", "user")
        fill("a.raw", 3 << 20, random.Random(1))
        base = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{os.getcwd()}"
        check = f"?host_key_check=sha256:{key}"
        run(IMG, "convert", "-f", "raw", "-O", "raw", f"{base}/a.raw{check}", "b.raw")
        assert pathlib.Path("b.raw").read_bytes() == pathlib.Path("a.raw").read_bytes()
        run(IMG, "convert", "-f", "raw", "-O", "qcow2", "a.raw", f"{base}/c.qcow2{check}")
        run(IO, "-f", "qcow2", "-c", "write -P 3 1M 5000", "-c", "flush", "-c", "read -P 3 1M 5000", f"{base}/c.qcow2{check}")
        run(IO, "-f", "raw", "-c", "write -P 3 1M 5000", "a.raw")
        run(IMG, "compare", "a.raw", "c.qcow2")
        run(IMG, "check", "c.qcow2")
        for name, text in ((f"{base}/a.raw?host_key_check=sha256:{'0' * 64}", "fingerprint does not match"),
                           (f"{base}/none.raw{check}", "none.raw"), (f"{base}/a.raw?x=y", "unsupported parameter")):
            done = run(IMG, "info", "-f", "raw", name, ok=False)
            assert done.returncode == 1 and text in done.stderr, done.stderr
    finally:
        server.terminate()
        server.wait(20)
        if "SSH_AGENT_PID" in os.environ:
            os.kill(int(os.environ["SSH_AGENT_PID"]), 15)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("tgtd") is None, reason="tgt, root")
def test_iscsi():
    fill("a.raw", 4 << 20, random.Random(1))
    shutil.copy("a.raw", "lun.raw")
    port, control = free_port(), str(random.randrange(1000, 30000))
    server = subprocess.Popen(["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    admin = ["tgtadm", "-C", control, "--lld", "iscsi"]
    try:
        for _ in range(200):
            if run(*admin, "--mode", "sys", "--op", "show", ok=False).returncode == 0:
                break
            time.sleep(0.05)
        target = "iqn.2026-01.test:disk"
        run(*admin, "--mode", "target", "--op", "new", "--tid", "1", "-T", target)
        run(*admin, "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", os.path.abspath("lun.raw"))
        run(*admin, "--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
        url = f"iscsi://127.0.0.1:{port}/{target}/1"
        run(IMG, "compare", "-f", "raw", "-F", "raw", "a.raw", url)
        commands = sum((["-c", c] for c in ("write -P 5 1000 100000", "write -z 1M 64k", "discard 2M 64k", "flush", "read -P 5 1000 100000",
                                            "read -P 0 1M 64k")), [])
        run(IO, "-f", "raw", *commands, url)
        run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", "a.raw", url)
        run(IMG, "compare", "-f", "raw", "-F", "raw", "a.raw", "lun.raw")
        run(IO, "-r", "--image-opts", "-c", "read 0 4M",
            f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=127.0.0.1:{port},file.target={target},file.lun=1")
        done = run(IMG, "info", "-f", "raw", f"iscsi://127.0.0.1:{port}/iqn.none/1", ok=False)
        assert done.returncode == 1 and "iSCSI" in done.stderr
    finally:
        run(*admin, "--mode", "sys", "--op", "update", "--name", "State", "-v", "offline", ok=False)
        server.kill()
        server.wait(20)


def test_names_of_remote_images():
    for name, text in (("nfs://", "nfs URL"), ("nfs://h/x/y?z=1", "Unknown NFS parameter"), ("iscsi://x", "iSCSI URL"), ("ssh://h", "ssh URI"),
                       ("sheepdog:x", "no longer supported"), ("tftp://h/x", "no longer supported"), ("gopher://h", "Unknown protocol")):
        done = run(IMG, "info", name, ok=False)
        assert done.returncode == 1 and text in done.stderr, (name, done.stderr)


# ---- formats that are only read ----

def make_cloop(data, block=65536):
    head = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n".ljust(128, b"\0")
    blocks = [zlib.compress(data[i:i + block].ljust(block, b"\0")) for i in range(0, len(data), block)]
    at, places = 136 + 8 * (len(blocks) + 1), []
    for b in blocks + [b""]:
        places.append(at)
        at += len(b)
    return head + struct.pack(">II", block, len(blocks)) + struct.pack(f">{len(places)}Q", *places) + b"".join(blocks)


def make_bochs(data, extent=65536):
    n = (len(data) + extent - 1) // extent
    bitmap = max(512, extent // 512 // 8)
    catalog, body, count = [], b"", 0
    for i in range(n):
        part = data[i * extent:(i + 1) * extent].ljust(extent, b"\0")
        if not any(part):
            catalog.append(0xffffffff)
            continue
        bits = bytearray(bitmap)
        for s in range(extent // 512):
            if any(part[s * 512:(s + 1) * 512]):
                bits[s // 8] |= 1 << s % 8
        catalog.append(count)
        count += 1
        body += bytes(bits) + part
    head = (b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0") + b"Growing".ljust(16, b"\0") +
            struct.pack("<IIIIIIQ", 0x20000, 512, n, bitmap, extent, 0, len(data))).ljust(512, b"\0")
    return head + struct.pack(f"<{n}I", *catalog) + body


def make_dmg(data, chunk=131072, bzip2=True):
    body, entries = b"", b""
    for i in range(0, len(data), chunk):
        part = data[i:i + chunk]
        kind = i // chunk % 4
        if not any(part):
            kind, packed = 2, b""
        elif kind == 1:
            packed, kind = part, 1
        elif kind == 2 and bzip2:
            packed, kind = bz2.compress(part), 0x80000006
        else:
            packed, kind = zlib.compress(part), 0x80000005
        entries += struct.pack(">IIQQQQ", kind, 0, i // 512, len(part) // 512, len(body), len(packed))
        body += packed
    entries += struct.pack(">IIQQQQ", 0xffffffff, 0, len(data) // 512, 0, len(body), 0)
    mish = (b"mish" + struct.pack(">IQQQ", 1, 0, len(data) // 512, 0)).ljust(200, b"\0") + struct.pack(">I", len(entries) // 40) + entries
    plist = plistlib.dumps({"resource-fork": {"blkx": [{"Attributes": "0x0050", "Data": mish, "ID": "0", "Name": "disk"}]}})
    koly = bytearray(512)
    koly[0:12] = b"koly" + struct.pack(">II", 4, 512)
    struct.pack_into(">QQ", koly, 24, 0, len(body))
    struct.pack_into(">QQ", koly, 216, len(body), len(plist))
    struct.pack_into(">Q", koly, 0x1ec, len(data) // 512)
    return body + plist + bytes(koly)


@pytest.mark.parametrize("fmt, make", [("cloop", make_cloop), ("bochs", make_bochs), ("dmg", make_dmg)])
def test_read_only_formats(fmt, make):
    rng = random.Random(fmt)
    fill("a.raw", 2 << 20, rng)
    data = pathlib.Path("a.raw").read_bytes()
    image = make(data)
    pathlib.Path(f"x.{fmt}").write_bytes(image)
    run(IMG, "convert", "-f", fmt, "-O", "raw", f"x.{fmt}", "b.raw")
    assert pathlib.Path("b.raw").read_bytes() == data
    if fmt == "dmg":  # Debian's qemu-img has a package of its own for bzip2
        pathlib.Path(f"x.{fmt}").write_bytes(make(data, bzip2=False))
    run("qemu-img", "compare", "-f", "raw", "-F", fmt, "a.raw", f"x.{fmt}")
    both(["info", "--output=json", "-f", fmt, f"x.{fmt}"], ignore=("cluster-size",))
    run(IMG, "info", f"x.{fmt}")
    assert "read-only" in run(IO, "-f", fmt, "-c", "write 0 512", f"x.{fmt}", ok=False).stderr
    for _ in range(times(40, 2000)):
        bad = bytearray(image)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.choice([rng.randrange(len(bad)), rng.randrange(200), len(bad) - 1 - rng.randrange(512)])] = rng.randrange(256)
        pathlib.Path("bad").write_bytes(bad[:rng.choice([len(bad), len(bad), rng.randrange(len(bad))])])
        assert run(IMG, "convert", "-f", fmt, "-O", "raw", "bad", "b.raw", ok=False).returncode in (0, 1)
