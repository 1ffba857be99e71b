# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo-nbd and the NBD client, against qemu-nbd, qemu-img, libnbd's tools and nbdkit, in both roles."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from conftest import BUILD, times
from test_img import IMG, fill, run

IO = str(BUILD / "vireo-io")
NBD = str(BUILD / "vireo-nbd")
SIZE = 20 << 20
pytestmark = pytest.mark.skipif(shutil.which("qemu-nbd") is None or shutil.which("nbdinfo") is None,
                                reason="qemu-utils or libnbd-bin is not installed")


class Server:
    """A server on the unix socket `name`, until the end of the with block."""

    def __init__(self, *argv, name="sock", status=(0, -signal.SIGTERM)):
        self.name, self.status = os.path.abspath(name), status
        self.argv = [self.name if a == name else a for a in argv]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stderr=subprocess.PIPE, text=True)
        for _ in range(200):
            if os.path.exists(self.name):
                return self
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.02)
        raise AssertionError("no socket")

    def __exit__(self, *_):
        self.process.terminate()
        _, err = self.process.communicate(timeout=20)
        assert self.process.returncode in self.status, err
        pathlib.Path(self.name).unlink(missing_ok=True)


def uri(export=""):
    return f"nbd+unix:///{export}?socket={os.getcwd()}/sock"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def nbdinfo(*args):
    return json.loads(run("nbdinfo", "--json", *args).stdout)


def test_described_as_qemu_nbd(tmp_path):
    """nbdinfo sees the same of ours and of qemu-nbd, and each lists the other."""
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "3M")
    run(IMG, "bitmap", "--add", "a.qcow2", "bm")
    run(IO, "-c", "write 1M 100k", "a.qcow2")
    seen = []
    for tool in (NBD, "qemu-nbd"):
        with Server(tool, "-k", "sock", "-t", "-e", "4", "-x", "ex", "-D", "a text", "-A", "-B", "bm", "a.qcow2"):
            info = nbdinfo("--list", uri())
            info["exports"][0].pop("uri", None)
            lists = [run(t, "-L", "-k", os.path.abspath("sock")).stdout for t in (NBD, "qemu-nbd")]
            assert lists[0] == lists[1]
            maps = [run("nbdinfo", f"--map={c}", uri("ex")).stdout
                    for c in ("base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:bm")]
            seen.append((info, lists[0], maps))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("options", [[], ["-r"], ["-s"], ["-o", "1M"], ["--cache=none"], ["--cache=writethrough"]])
def test_copy_from_ours(options):
    fill("r.raw", SIZE, random.Random(1))
    run(IMG, "convert", "-f", "raw", "-O", "qcow2", "r.raw", "a.qcow2")
    want = pathlib.Path("r.raw").read_bytes()[1 << 20 if "-o" in options else 0:]
    with Server(NBD, "-k", "sock", "-t", "-e", "0", "-f", "qcow2", *options, "a.qcow2"):
        run("nbdcopy", uri(), "n.raw")
        run("qemu-img", "convert", "-O", "raw", uri(), "q.raw")
        run(IMG, "convert", "-O", "raw", uri(), "v.raw")
        for name in ("n.raw", "q.raw", "v.raw"):
            assert pathlib.Path(name).read_bytes() == want
        if options != ["-r"]:
            run("qemu-io", "-f", "raw", "-c", "write -P 7 4096 9000", "-c", "write -z 64k 64k", "-c", "discard 1M 1M",
                "-c", "flush", uri())
            run(IO, "-f", "raw", "-c", "read -P 7 4096 9000", "-c", "read -P 0 64k 64k", uri())
        else:
            done = run("qemu-io", "-f", "raw", "-c", "write 0 512", uri(), ok=False)
            assert done.returncode != 0
            assert "read-only" in run(IO, "-f", "raw", "-c", "write 0 512", uri(), ok=False).stderr
    if options == ["-s"]:
        run(IMG, "compare", "-f", "raw", "-F", "qcow2", "r.raw", "a.qcow2")
    run("qemu-img", "check", "a.qcow2")


@pytest.mark.parametrize("server", ["qemu-nbd", "nbdkit", "nbdkit-old", "nbdkit-blocks", "nbdkit-plain", "ours"])
def test_our_client(server):
    """Our client does to a server's image what it does to a file."""
    fill("a.raw", SIZE, random.Random(2))
    shutil.copy("a.raw", "b.raw")
    argv = {"qemu-nbd": ["qemu-nbd", "-k", "sock", "-t", "-e", "5", "-f", "raw", "b.raw"],
            "nbdkit": ["nbdkit", "-f", "-U", "sock", "file", "b.raw"],
            "nbdkit-old": ["nbdkit", "-f", "-o", "-U", "sock", "file", "b.raw"],
            "nbdkit-blocks": ["nbdkit", "-f", "-U", "sock", "--filter=blocksize-policy", "file", "b.raw",
                              "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=1M",
                              "blocksize-error-policy=error"],
            "nbdkit-plain": ["nbdkit", "-f", "-U", "sock", "--no-sr", "--filter=nozero", "--filter=nocache", "file", "b.raw"],
            "ours": [NBD, "-k", "sock", "-t", "-e", "5", "-f", "raw", "b.raw"]}[server]
    rng = random.Random(3)
    commands = []
    for step in range(times(60, 2000)):
        off, length = rng.randrange(SIZE - 3000000), rng.choice([512, 4096, rng.randrange(1, 100000), 2500000])
        what = [f"write -P {step % 250 + 1}", "read", "write -z", "write -z -u", "discard"]
        # What is discarded depends on the block size; nbdkit forgets what it told of old style exports.
        what = rng.choice(what[:{"nbdkit-old": 2, "nbdkit-blocks": 4, "qemu-nbd": 4}.get(server, 5)])
        commands += ["-c", f"{what} {off} {length}"]
    with Server(*argv):
        old = server == "nbdkit-old"
        name = f"nbd:unix:{os.getcwd()}/sock" if old else uri()
        for i in range(0, len(commands), 100):
            run(IO, "-d", "unmap", "-f", "raw", *commands[i:i + 100], *([] if old else ["-c", "flush"]), name)
        run(IO, "-d", "unmap", "-f", "raw", *commands[:100], "a.raw")
        for i in range(100, len(commands), 100):
            run(IO, "-d", "unmap", "-f", "raw", *commands[i:i + 100], "a.raw")
        run(IMG, "compare", "-f", "raw", "-F", "raw", "a.raw", name)
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", "a.raw", name)
        ours = json.loads(run(IMG, "map", "--output=json", "-f", "raw", name).stdout)
        theirs = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", name).stdout)
        assert ours == theirs
        info = [json.loads(run(t, "info", "--output=json", "-f", "raw", name).stdout) for t in (IMG, "qemu-img")]
        assert info[0] == info[1]
        if old:
            return
        # Only what is there is converted, and formats lie in exports.
        run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", "a.raw", name)
        run(IMG, "create", "-q", "-f", "qcow2", "-b", os.path.abspath("a.raw"), "-F", "raw", name, "10M")
        run("qemu-img", "check", "-f", "qcow2", name)
        run(IO, "-f", "qcow2", "-c", "write -P 9 1M 64k", "-c", "read -P 9 1M 64k", name)


def test_bitmap_as_status():
    """x-dirty-bitmap= reads a bitmap's context instead of the allocation."""
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "3M")
    run(IMG, "bitmap", "--add", "a.qcow2", "bm")
    run(IO, "-c", "write 1M 64k", "a.qcow2")
    where = "driver=nbd,server.type=unix,server.path=" + os.path.abspath("sock") + ",x-dirty-bitmap=qemu:dirty-bitmap:{}"
    with Server(NBD, "-k", "sock", "-t", "-e", "0", "-B", "bm", "a.qcow2"):
        seen = [json.loads(run(t, "map", "--output=json", "--image-opts", where.format("bm")).stdout)
                for t in (IMG, "qemu-img")]
        assert seen[0] == seen[1] and [e["length"] for e in seen[0] if not e["data"]] == [65536]
        done = run(IMG, "info", "--image-opts", where.format("no"), ok=False)
        assert done.returncode == 1 and "qemu:dirty-bitmap:no not found" in done.stderr


def test_many_clients_and_exports():
    """Several images, several clients at once on one of them, and the limit of -e."""
    for name in "abc":
        fill(f"{name}.raw", 8 << 20, random.Random(name))
    run(IMG, "convert", "-f", "raw", "-O", "qcow2", "c.raw", "c.qcow2")
    run(IMG, "snapshot", "-c", "old", "c.qcow2")
    run(IO, "-c", "write -P 3 0 1M", "c.qcow2")
    with Server(NBD, "-k", "sock", "-t", "-e", "0", "-f", "raw", "-x", "a", "a.raw",
                "--export", "name=b,file=b.raw,format=raw,read-only=on,description=second",
                "--export", "name=c,file=c.qcow2,format=qcow2,load-snapshot=old"):
        exports = {e["export-name"]: e for e in nbdinfo("--list", uri())["exports"]}
        assert sorted(exports) == ["a", "b", "c"]
        assert exports["b"]["is_read_only"] and exports["c"]["is_read_only"] and not exports["a"]["is_read_only"]
        for name in "bc":
            run(IMG, "compare", "-f", "raw", "-F", "raw", f"{name}.raw", uri(name))
        jobs = [subprocess.Popen([tool, "-f", "raw", *sum((["-c", f"write -P {n + 1} {(i * 4 + n) * 100000} 100000"]
                                                           for i in range(20)), []), uri("a")], stdout=subprocess.DEVNULL)
                for n, tool in enumerate([IO, "qemu-io", IO, IO])]
        assert [j.wait() for j in jobs] == [0, 0, 0, 0]
        run(IO, "-f", "raw", *sum((["-c", f"read -P {i % 4 + 1} {i * 100000} 100000"] for i in range(80)), []), uri("a"))
        done = run(IO, "-f", "raw", "-c", "read 0 1", uri("none"), ok=False)
        assert done.returncode == 1 and "not available" in done.stderr
    with Server(NBD, "-k", "sock", "-t", "-e", "1", "-f", "raw", "a.raw"):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("sock")
            assert s.recv(18, socket.MSG_WAITALL)[:8] == b"NBDMAGIC"
            late = subprocess.Popen(["nbdinfo", "--size", uri()], stdout=subprocess.PIPE)
            time.sleep(0.3)
            assert late.poll() is None
        assert late.communicate(timeout=20)[0] == b"%d\n" % (8 << 20)


def test_ends_with_last_client():
    fill("a.raw", 1 << 20, random.Random(1))
    run(NBD, "--fork", "--pid-file=pid", "-k", "sock", "-f", "raw", "a.raw")
    pid = int(pathlib.Path("pid").read_text())
    run("nbdinfo", "--size", uri())
    for _ in range(200):
        if not os.path.exists(f"/proc/{pid}"):
            break
        time.sleep(0.02)
    assert not os.path.exists("sock") and not os.path.exists("pid") and not os.path.exists(f"/proc/{pid}")
    for args, text in ((["-k", "sock", "nothing.raw"], "nothing.raw"), (["--fork", "-k", "sock", "nothing.raw"], "nothing.raw"),
                       ([], "file name is missing"), (["-e", "x", "a.raw"], "'x'"), (["-o", "2M", "-f", "raw", "a.raw"], "behind the end"),
                       (["-B", "no", "-f", "raw", "a.raw"], "'no'"), (["-c", "/dev/nbd0", "a.raw"], "nbd-client"),
                       (["--tls-creds=no", "-f", "raw", "a.raw"], "'no'"), (["-k", "s" * 200, "-f", "raw", "a.raw"], "longer than")):
        done = run(NBD, *args, ok=False)
        assert done.returncode == 1 and text in done.stderr, (args, done.stderr)


def test_reconnect():
    """A server that goes away and comes back: the request waits for it."""
    fill("a.raw", 1 << 20, random.Random(1))
    where = "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=sock,file.reconnect-delay=20,file.open-timeout=20"
    io = subprocess.Popen([IO, "--image-opts", where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)  # nobody listens yet
    with Server(NBD, "-k", "sock", "-t", "-f", "raw", "a.raw"):
        io.stdin.write("write -P 5 0 4096\n")
        io.stdin.flush()
        while "wrote 4096" not in io.stdout.readline():
            assert io.poll() is None
    io.stdin.write("read -P 5 0 4096\n")
    io.stdin.flush()
    time.sleep(0.3)
    with Server(NBD, "-k", "sock", "-t", "-f", "raw", "a.raw"):
        out, _ = io.communicate(timeout=30)
        assert io.returncode == 0 and "read 4096/4096" in out


@pytest.fixture
def certificates(tmp_path):
    """A CA, and what it signed for a server, a client; and another CA's client."""
    def make(text, *args):
        pathlib.Path("template").write_text(text)
        run("certtool", *args, "--template", "template")

    def signed(folder, ca, name, usage):
        run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile", f"{folder}/{name}-key.pem")
        make(f"cn = {name}\ndns_name = localhost\nip_address = 127.0.0.1\n{usage}\nsigning_key\nencryption_key\n",
             "--generate-certificate", "--load-ca-certificate", f"{ca}/ca-cert.pem", "--load-ca-privkey", f"{ca}/ca-key.pem",
             "--load-privkey", f"{folder}/{name}-key.pem", "--outfile", f"{folder}/{name}-cert.pem")

    for folder in ("good", "bad"):
        os.mkdir(folder)
        run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile", f"{folder}/ca-key.pem")
        make("cn = ca\nca\ncert_signing_key\n", "--generate-self-signed", "--load-privkey", f"{folder}/ca-key.pem",
             "--outfile", f"{folder}/ca-cert.pem")
        signed(folder, folder, "client", "tls_www_client")
    signed("good", "good", "server", "tls_www_server")
    os.mkdir("anonymous")
    shutil.copy("good/ca-cert.pem", "anonymous")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.skipif(shutil.which("certtool") is None, reason="gnutls-bin is not installed")
@pytest.mark.parametrize("server", [NBD, "qemu-nbd"])
def test_tls(certificates, server):
    fill("a.raw", 3 << 20, random.Random(1))
    port = str(free_port())
    proc = subprocess.Popen([server, "-p", port, "-b", "127.0.0.1", "-t", "-e", "4", "--object",
                             f"tls-creds-x509,id=t,dir={os.getcwd()}/good,endpoint=server,verify-peer=yes", "--tls-creds", "t",
                             "-f", "raw", "a.raw"])
    try:
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.02)
        creds = "tls-creds-x509,id=c,dir={},endpoint=client".format
        where = f"driver=raw,file.driver=nbd,file.host=127.0.0.1,file.port={port},file.tls-creds=c"
        for tool in (IMG, "qemu-img"):
            run(tool, "convert", "--object", creds("good"), "--image-opts", "-O", "raw", where, "b.raw")
            assert pathlib.Path("b.raw").read_bytes() == pathlib.Path("a.raw").read_bytes()
        run(IO, "--object", creds("good"), "--image-opts", "-c", "write -P 4 1000 2000000", "-c", "read -P 4 1000 2000000", where)
        for t in (NBD, "qemu-nbd"):
            assert "exports available: 1" in run(t, "-L", "-b", "127.0.0.1", "-p", port, "--object", creds("good"), "--tls-creds",
                                                  "c").stdout
        for folder in ("bad", "anonymous"):
            assert run(IMG, "info", "--object", creds(folder), "--image-opts", where, ok=False).returncode == 1
        done = run(IMG, "info", "-f", "raw", f"nbd://127.0.0.1:{port}", ok=False)
        assert done.returncode == 1 and "tls-creds" in done.stderr
        named = where + ",file.tls-hostname=elsewhere"
        assert run(IMG, "info", "--object", creds("good"), "--image-opts", named, ok=False).returncode == 1
    finally:
        proc.terminate()
        assert proc.wait(20) in (0, -signal.SIGTERM)


def test_hostile_clients():
    """Nonsense ends a client's connection, or is refused, and nothing else."""
    fill("a.raw", 1 << 20, random.Random(1))
    rng = random.Random(5)
    option = lambda n, data: b"IHAVEOPT" + struct.pack(">II", n, len(data)) + data
    with Server(NBD, "-k", "sock", "-t", "-e", "0", "-f", "raw", "a.raw"):
        for i in range(times(60, 3000)):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect("sock")
                s.recv(18, socket.MSG_WAITALL)
                data = struct.pack(">I", rng.choice([3, 3, 3, 1, 0, 255]))
                for _ in range(rng.randrange(4)):
                    data += option(rng.randrange(12), rng.randbytes(rng.randrange(40)))
                if rng.random() < 0.6:
                    data += option(8, b"") + option(10, struct.pack(">III", 0, 1, 15) + b"base:allocation")
                    data += option(7, struct.pack(">IH", 0, 0))
                for _ in range(rng.randrange(6)):
                    data += struct.pack(">IHHQQI", 0x25609513 if rng.random() < 0.9 else 1, rng.randrange(32), rng.randrange(9), 1,
                                        rng.choice([0, 1 << 20, 1 << 63, (1 << 64) - 1, 5000]),
                                        rng.choice([0, 1, 1 << 20, 1 << 25, (1 << 32) - 1]))
                try:
                    s.sendall(data + rng.randbytes(rng.randrange(64)))
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(1 << 20):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
        run("nbdinfo", "--size", uri())


def test_hostile_servers():
    """A server that sends nonsense gives an error, not a crash or a wait without end."""
    rng = random.Random(6)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("sock")
    listener.listen()
    listener.settimeout(20)
    reply = lambda n, kind, data=b"": struct.pack(">QIII", 0x3e889045565a9, n, kind, len(data)) + data
    for i in range(times(25, 1000)):
        io = subprocess.Popen([IO, "-f", "raw", "-c", rng.choice(["read 0 100000", "map"]), uri()], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        s, _ = listener.accept()
        s.settimeout(20)
        with s:
            data = b"NBDMAGICIHAVEOPT" + struct.pack(">H", rng.choice([3, 3, 3, 1, 0]))
            if rng.random() < 0.9:
                data += reply(8, 1)
                data += reply(10, 4, struct.pack(">I", 1) + b"base:allocation") + reply(10, 1)
                data += reply(7, 3, struct.pack(">HQH", 0, rng.choice([1 << 20, 1 << 63]), rng.randrange(1 << 12)))
                if rng.random() < 0.3:
                    data += reply(7, 3, struct.pack(">HIII", 3, rng.randrange(9), 1, rng.randrange(9)))
                data += reply(7, 1)
                data += struct.pack(">IHHQI", 0x668e33ef, rng.randrange(2), rng.choice([0, 1, 2, 5, 0x8001, 77]), rng.choice([1, 1, 2]),
                                    rng.choice([0, 8, 12, 100008, 1 << 31]))
            try:
                s.sendall(data + rng.randbytes(rng.randrange(200)))
                s.shutdown(socket.SHUT_WR)
                while s.recv(1 << 16):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
        assert io.wait(30) in (0, 1)
