# SPDX-License-Identifier: GPL-2.0-or-later
"""The filters: blkdebug, blkverify, blklogwrites, copy-on-read, throttle."""
import json
import pathlib
import random
import time

import pytest
from conftest import BUILD
from test_img import IMG, fill, run

IO = str(BUILD / "vireo-io")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def io(where, *commands, ok=True, options=()):
    return run(IO, *options, "--image-opts", *sum((["-c", c] for c in commands), []), where, ok=ok)


def test_blkdebug():
    run(IMG, "create", "-q", "-f", "raw", "a.raw", "1M")
    base = "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename=a.raw"
    rule = ",file.inject-error.0.event=write_aio,file.inject-error.0.sector=8,file.inject-error.0.once=on,file.inject-error.0.errno=5"
    done = io(base + rule, "write -P 1 0 4096", "write 4000 512", "write 4000 512", ok=False)
    assert done.returncode == 1 and done.stdout.count("failed: Input/output error") == 1
    # A flush changes the state; then reads fail.
    rule = (",file.set-state.0.event=flush_to_disk,file.set-state.0.state=1,file.set-state.0.new_state=2,"
            "file.inject-error.0.iotype=read,file.inject-error.0.state=2,file.inject-error.0.errno=28,file.inject-error.0.event=read_aio")
    done = io(base + rule, "read 0 512", "flush", "read 0 512", ok=False)
    assert done.returncode == 1 and "read failed: No space left" in done.stdout and "read 512/512" in done.stdout
    done = io(base + ",file.inject-error.0.event=l2_update", "read 0 1", ok=False)
    assert done.returncode == 1 and "'l2_update' is not raised here" in done.stderr
    run(IO, "-f", "raw", "-c", "read 0 512", "blkdebug::a.raw")


def test_blkverify():
    run(IMG, "create", "-q", "-f", "raw", "a.raw", "4M")
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "4M")
    where = "driver=blkverify,test.driver=qcow2,test.file.filename=a.qcow2,raw.file.filename=a.raw"
    io(where, "write -P 5 1000 200000", "write -z 4k 64k", "read -P 5 1000 3096", "read 0 4M")
    run(IMG, "compare", "a.raw", "a.qcow2")
    run(IO, "-f", "raw", "-c", "write -P 9 3M 512", "a.raw")
    assert "Input/output error" in io(where, "read 3M 4k", ok=False).stdout


def test_copy_on_read():
    fill("base.raw", 4 << 20, random.Random(1))
    run(IMG, "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "a.qcow2")
    where = "driver=copy-on-read,file.driver=qcow2,file.file.filename=a.qcow2"
    io(where, "write -P 3 100k 10k", "read 0 1M", "read 3M 512")
    mine = [e for e in json.loads(run(IMG, "map", "--output=json", "a.qcow2").stdout) if e["depth"] == 0]
    assert sum(e["length"] for e in mine) >= 1 << 20 and max(e["start"] + e["length"] for e in mine) <= (3 << 20) + 65536
    run("qemu-img", "check", "a.qcow2")
    run(IO, "-f", "raw", "-c", "write -P 3 100k 10k", "base.raw")
    run(IMG, "compare", "base.raw", "a.qcow2")


def test_throttle():
    run(IMG, "create", "-q", "-f", "raw", "a.raw", "8M")
    where = "driver=throttle,throttle-group=g,file.driver=raw,file.file.filename=a.raw"
    group = "throttle-group,id=g,"
    start = time.monotonic()
    io(where, *["write 0 512"] * 30, options=["--object", group + "x-iops-write=20"])
    assert time.monotonic() - start > 1.2
    start = time.monotonic()
    io(where, *["read 0 1M"] * 3, options=["--object", group + "x-bps-total=1M"])
    assert time.monotonic() - start > 1.5
    # Within a burst nothing waits.
    start = time.monotonic()
    io(where, *["write 0 512"] * 30, options=["--object", group + "x-iops-total=1,x-iops-total-max=100"])
    assert time.monotonic() - start < 20
    for text, error in (("x-iops-total=1,x-iops-read=1", "at the same time"), ("x-bps-read=5,x-bps-read-max=2", "lower")):
        done = io(where, "read 0 1", ok=False, options=["--object", group + text])
        assert done.returncode == 1 and error in done.stderr
    assert "'h' does not exist" in io(where.replace("group=g", "group=h"), "read 0 1", ok=False).stderr


def test_blklogwrites():
    """The record, replayed, is the image; a second run goes on with it."""
    from test_crash import apply, read_log
    run(IMG, "create", "-q", "-f", "raw", "a.raw", "1M")
    pathlib.Path("log").touch()
    where = ("driver=raw,file.driver=blklogwrites,file.file.driver=file,file.file.filename=a.raw,file.log.driver=file,"
             "file.log.filename=log")
    io(where, "write -P 1 100 5000", "write -z 64k 64k", "flush")
    io(where + ",file.log-append=on", "write -P 2 500k 1000", "truncate 2M")
    image = bytearray(1 << 20)
    for entry in read_log("log"):
        apply(image, entry)
    assert image == pathlib.Path("a.raw").read_bytes()
    pathlib.Path("log").write_bytes(b"nonsense" * 100)
    assert "no log" in io(where + ",file.log-append=on", "flush", ok=False).stderr
