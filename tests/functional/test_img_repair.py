# SPDX-License-Identifier: GPL-2.0-or-later
"""Repair, amend, dd, bench and encryption of qcow2, against Debian's qemu-img on the same images."""
import json
import pathlib
import random
import re
import shutil

import pytest
from conftest import BUILD
from test_img import IMG, both, fill, run

IO = str(BUILD / "vireo-io")
SECRET = ["--object", "secret,id=s,data=geheim"]
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def poke(name, off, data):
    with open(name, "r+b") as f:
        f.seek(off)
        f.write(data)


def header(name, off, length):
    return int.from_bytes(pathlib.Path(name).read_bytes()[off:off + length], "big")


def damaged(kind):
    """An image with refcounts that are too low, or with a wrong COPIED flag."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "x.qcow2", "10M")
    run("qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 2 5M 200k", "x.qcow2")
    data = pathlib.Path("x.qcow2").read_bytes()
    block = int.from_bytes(data[header("x.qcow2", 48, 8):][:8], "big")
    if kind == "low":
        poke("x.qcow2", block + 2 * 6, b"\0\0" * 3)
    else:
        l2 = int.from_bytes(data[header("x.qcow2", 40, 8):][:8], "big") & 0xfffffffffffe00
        poke("x.qcow2", l2, b"\0")


@pytest.mark.parametrize("kind, how", [("low", "all"), ("flag", "leaks"), ("flag", "all")])
def test_repair(kind, how):
    damaged(kind)
    shutil.copy("x.qcow2", "y.qcow2")
    done = [run(t, "check", "--output=json", "x.qcow2", ok=False) for t in (IMG, "qemu-img")]
    assert done[0].returncode == done[1].returncode == 2
    assert json.loads(done[0].stdout) == json.loads(done[1].stdout)
    done = [run(t, "check", "-r", how, "--output=json", n, ok=False) for t, n in ((IMG, "x.qcow2"), ("qemu-img", "y.qcow2"))]
    assert done[0].returncode == done[1].returncode
    found = [json.loads(d.stdout) for d in done]
    for f in found:  # rebuilt refcounts may lie elsewhere
        f.pop("filename"), f.pop("image-end-offset")
    assert found[0] == found[1]
    if how == "all":
        run("qemu-img", "check", "x.qcow2")
        run(IO, "-c", "read -P 1 0 1M", "-c", "read -P 2 5M 200k", "x.qcow2")


def test_lazy_refcounts_are_repaired():
    """A dirty image, as a writer that was killed leaves it, is put right by who opens it next."""
    for tool in (IO, "qemu-io"):
        run(IMG, "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "a.qcow2", "10M")
        run(tool, "-c", "write -P 3 0 1M", "-c", "flush", "-c", "abort", "a.qcow2", ok=False)
        assert header("a.qcow2", 72, 8) & 1
        for reader in (IMG, "qemu-img"):
            assert run(reader, "check", "a.qcow2", ok=False).returncode == 2
        run(IO, "-c", "read -P 3 0 1M", "a.qcow2")
        assert header("a.qcow2", 72, 8) & 1 == 0
        both(["check", "--output=json", "a.qcow2"])


@pytest.mark.parametrize("options", ["compat=0.10", "compat=1.1", "lazy_refcounts=on", "size=20M", "refcount_bits=8", "refcount_bits=64"])
def test_amend(options):
    run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", "compat=0.10"] if "1.1" in options else []), "a.qcow2", "10M")
    run("qemu-io", "-c", "write -P 1 1M 300k", "a.qcow2")
    shutil.copy("a.qcow2", "c.qcow2")
    run(IMG, "amend", "-f", "qcow2", "-o", options, "a.qcow2")
    run("qemu-img", "amend", "-f", "qcow2", "-o", options, "c.qcow2")
    infos = [json.loads(run("qemu-img", "info", "--output=json", n).stdout) for n in ("a.qcow2", "c.qcow2")]
    for i in infos:
        i.pop("filename"), i.pop("actual-size")
    assert infos[0] == infos[1]
    run("qemu-img", "check", "a.qcow2")
    run("qemu-io", "-c", "read -P 1 1M 300k", "a.qcow2")


def test_dd():
    fill("a.raw", 3 << 20, random.Random(1))
    for args in (["bs=64k"], ["bs=1k", "count=100"], ["bs=1M", "count=9"], ["bs=100", "skip=5"]):
        for tool, out in ((IMG, "v"), ("qemu-img", "q")):
            run(tool, "dd", "-f", "raw", "-O", "qcow2", *args, "if=a.raw", f"of={out}.qcow2")
            run("qemu-img", "convert", "-O", "raw", f"{out}.qcow2", f"{out}.raw")
        assert pathlib.Path("v.raw").read_bytes() == pathlib.Path("q.raw").read_bytes(), args
    for args in (["bs=0"], ["count=x"], ["if=a.raw"], ["of=x"]):
        assert run(IMG, "dd", *args, ok=False).returncode == run("qemu-img", "dd", *args, ok=False).returncode == 1


def test_bench():
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "10M")
    for args in (["-c", "100"], ["-c", "50", "-w", "-d", "4"], ["-c", "20", "-s", "1k", "-S", "4096", "-o", "1M"],
                 ["-c", "20", "-w", "--flush-interval=5", "-d", "2"], ["-c", "10", "-w", "--pattern=7"]):
        out = [re.sub(r"[\d.]+ seconds", "N seconds", run(t, "bench", "-f", "qcow2", *args, "a.qcow2").stdout) for t in (IMG, "qemu-img")]
        assert out[0] == out[1]
    run("qemu-img", "check", "a.qcow2")
    assert run(IMG, "bench", "-c", "x", "a.qcow2", ok=False).returncode == 1


def test_aes():
    """Legacy encryption, of images that qemu-img makes only for qcow (v1) and reads in qcow2."""
    fill("r.raw", 2 << 20, random.Random(3))
    where = "driver=qcow,encrypt.key-secret=s,file.filename={}"
    for tool, name in ((IMG, "a.qcow"), ("qemu-img", "b.qcow")):
        run(tool, "convert", *SECRET, "-f", "raw", "-O", "qcow", "-o", "encrypt.format=aes,encrypt.key-secret=s", "r.raw", name)
        for reader in (IMG, "qemu-img"):
            run(reader, "convert", *SECRET, "--image-opts", "-O", "raw", where.format(name), "x.raw")
            assert pathlib.Path("x.raw").read_bytes() == pathlib.Path("r.raw").read_bytes()


def test_io_info():
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "10M")
    assert run(IO, "-c", "info", "a.qcow2").stdout == run("qemu-io", "-c", "info", "a.qcow2").stdout
