# SPDX-License-Identifier: GPL-2.0-or-later
"""Crashes at every moment, and failures of every request.

An image is written to through the filter blklogwrites, which records each write and flush. From the record,
crashes are made up: everything up to a flush is there; of what was written later, any part may be. Each such
image must open, have no corruption (leaks are fine), and hold all that was flushed.
"""
import os
import pathlib
import random
import struct
import subprocess

import pytest
from conftest import BUILD, SOAK, times
from test_img import IMG, run

IO = str(BUILD / "vireo-io")
BLOCK = 4096
SEED = int(os.environ.get("VIREO_SEED", "20260701"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read_log(name):
    """(flags, offset, data) of each entry; ("length", n) for changes of the file's length."""
    data = pathlib.Path(name).read_bytes()
    magic, version, n, sector = struct.unpack_from("<QQQI", data)
    assert magic == 0x6a736677736872 and version == 1
    entries, at = [], sector
    for _ in range(n):
        first, _, flags, length = struct.unpack_from("<QQQQ", data, at)
        payload = data[at + sector:at + sector + length]
        at += sector + (length + sector - 1) // sector * sector
        if flags & 8:
            entries.append(("length", int(payload.split()[1])))
        elif flags & 1:
            entries.append(("flush", None, None))
        else:
            entries.append(("write", first * sector, payload))
    return entries


class Session:
    """vireo-io on the image, through the record."""

    def __init__(self, fmt, append):
        self.where = (f"driver={fmt},discard=unmap,file.driver=blklogwrites,file.file.driver=file,file.file.filename=img,"
                      f"file.log.driver=file,file.log.filename=log,file.log-append={'on' if append else 'off'}")
        self.io = subprocess.Popen([IO, "-d", "unmap", "--image-opts", self.where], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, bufsize=0)
        self.reply()

    def reply(self):
        out = b""
        while not out.endswith(b"vireo-io> "):
            c = self.io.stdout.read(4096)
            assert c, out
            out += c
        assert b"failed" not in out, out

    def do(self, command):
        self.io.stdin.write(command.encode() + b"\n")
        self.reply()

    def close(self):
        self.io.stdin.close()
        assert self.io.wait() == 0


def position():
    """How many entries the record has now."""
    with open("log", "rb") as f:
        return struct.unpack("<QQQ", f.read(24))[2]


def record(fmt, size, rng, steps, snapshots, discards):
    """Writes at random; the history is (position before, changes {block: value}) and (position after, "flush")."""
    n = size // BLOCK
    now, history, saved = [0] * n, [], {}
    open("log", "wb").close()
    session = Session(fmt, False)
    for step in range(steps):
        kind = rng.random()
        first = rng.randrange(n)
        count = min(n - first, rng.choice([1, 1, 2, 5, 16, 40]))
        before = position()
        if kind < 0.12:
            session.do("flush")
            history.append((position(), "flush"))
        elif snapshots and kind < 0.2:
            session.close()
            history.append((position(), "flush"))
            before = position()
            what = rng.choice("cccda") if saved else "c"
            name = f"s{step}" if what == "c" else rng.choice(sorted(saved))
            done = subprocess.run([IMG, "snapshot", "--image-opts", f"-{what}", name,
                                   session.where.replace("log-append=off", "log-append=on")], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            if what == "c":
                saved[name] = list(now)
            elif what == "d":
                del saved[name]
            else:
                history.append((before, {b: v for b, v in enumerate(saved[name]) if v != now[b]}))
                now = list(saved[name])
            history.append((position(), "flush"))
            session = Session(fmt, True)
        else:
            value = 0 if kind < 0.4 else step % 255 + 1
            history.append((before, {b: value for b in range(first, first + count)}))
            now[first:first + count] = [value] * count
            what = f"write -P {value}" if value else rng.choice(["write -z", "write -z -u", "discard"])
            if what == "discard" and not discards:
                what = "write -z"
            session.do(f"{what} {first * BLOCK} {count * BLOCK}")
    session.close()
    return history


def apply(image, entry, rng=None):
    """rng: a part of it only."""
    if entry[0] == "length":
        length = entry[1]
        del image[length:]
        image.extend(bytes(length - len(image)))
    elif entry[0] == "write":
        _, off, data = entry
        if len(image) < off + len(data):
            image.extend(bytes(off + len(data) - len(image)))
        if rng is None or len(data) <= 512:
            image[off:off + len(data)] = data
        else:
            for at in range(0, len(data), 512):
                if rng.random() < 0.6:
                    image[off + at:off + at + 512] = data[at:at + 512]


def allowed(history, cut):
    """For each block: what it held at the last flush before the cut, and all it may hold instead."""
    last = max((i for i, h in enumerate(history) if h[1] == "flush" and h[0] <= cut), default=-1)
    certain, possible = {}, {}
    for i, (at, change) in enumerate(history):
        if change == "flush":
            continue
        for block, value in change.items():
            if i < last:
                certain[block] = value
            elif at <= cut:
                possible.setdefault(block, set()).add(value)
    return certain, possible


def check_content(raw, certain, possible, what):
    for block in range(len(raw) // BLOCK):
        data = raw[block * BLOCK:(block + 1) * BLOCK]
        value = certain.get(block, 0)
        if data == bytes([value]) * BLOCK:
            continue
        values = possible.get(block, set()) | {value}
        for at in range(0, BLOCK, 512):
            assert data[at:at + 512] in [bytes([v]) * 512 for v in values], (what, block, at, data[at:at + 8], values)


def cut_images(fmt, options, size, rng, steps, cuts, snapshots, check):
    run(IMG, "create", "-q", "-f", fmt, *(["-o", options] if options else []), "img", str(size))
    durable = bytearray(pathlib.Path("img").read_bytes())
    history = record(fmt, size, rng, steps, snapshots, "size=4k" in options or "size=512" in options)
    entries = read_log("log")
    places = sorted(rng.randrange(len(entries) + 1) for _ in range(cuts))
    done = flushed = 0
    for cut in places:
        while done < cut:
            done += 1
            if entries[done - 1][0] == "flush":
                for entry in entries[flushed:done]:
                    apply(durable, entry)
                flushed = done
        image = bytearray(durable)
        chance = rng.choice([1, 1, 0.9, 0.5, 0.1])
        for entry in entries[flushed:cut]:
            if chance == 1 or rng.random() < chance:
                apply(image, entry, rng if chance < 1 else None)
        pathlib.Path("cut").write_bytes(image)
        what = (fmt, options, "seed", SEED, "cut", cut, "of", len(entries))
        check(what)
        run(IMG, "convert", "-f", fmt, "-O", "raw", "cut", "cut.raw")
        check_content(pathlib.Path("cut.raw").read_bytes(), *allowed(history, cut), what)


def check_leaks_only(fmt):
    def check(what):
        for tool in (IMG, "qemu-img"):
            done = run(tool, "check", "-f", fmt, "cut", ok=False)
            assert done.returncode in (0, 3), (what, tool, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return check


def check_after_repair(fmt):
    """Formats with a log, and lazy refcounts: who opens the image for writing puts it right first."""
    turn = iter(range(1 << 30))

    def check(what):
        tool = (IMG, "qemu-img")[next(turn) % 2]
        done = run(tool, "check", "-r", "all", "-f", fmt, "cut", ok=False)
        assert done.returncode == 0, (what, tool, done.stdout[-2000:], done.stderr[-2000:])
        check_leaks_only(fmt)(what)
    return check


def check_marked(fmt):
    """While a snapshot is made or goes away the header says that refcounts are not to be trusted."""
    repair, plain = check_after_repair(fmt), check_leaks_only(fmt)

    def check(what):
        with open("cut", "rb") as f:
            f.seek(79)
            (repair if f.read(1)[0] & 1 else plain)(what)
    return check


CRASHES = [("qcow2", "cluster_size=4k", 4 << 20, True, check_marked, 3000),
           ("qcow2", "cluster_size=512", 2 << 20, True, check_marked, 2500),
           ("qcow2", "cluster_size=4k,refcount_bits=64", 4 << 20, True, check_marked, 1500),
           ("qcow2", "extended_l2=on,cluster_size=16k", 4 << 20, True, check_marked, 2000),
           ("qcow2", "cluster_size=4k,lazy_refcounts=on", 4 << 20, False, check_after_repair, 1500),
           ("vmdk", "", 4 << 20, False, check_leaks_only, 1000),
           ("vmdk", "zeroed_grain=on", 4 << 20, False, check_leaks_only, 500),
           ("vhdx", "block_size=1M", 8 << 20, False, check_after_repair, 1000)]


@pytest.mark.parametrize("fmt, options, size, snapshots, check, soak", CRASHES)
def test_crash(fmt, options, size, snapshots, check, soak):
    print("VIREO_SEED", SEED)
    rng = random.Random(f"{SEED} {fmt} {options}")
    rounds = 10 if SOAK else 1
    for _ in range(rounds):
        pathlib.Path("img").unlink(missing_ok=True)
        cut_images(fmt, options, size, rng, times(60, 250), times(20, soak // rounds), snapshots, check(fmt))


FAILURES = [("qcow2", ""), ("qcow2", "cluster_size=512"), ("qcow2", "extended_l2=on"), ("qcow2", "lazy_refcounts=on"), ("qed", ""),
            ("vmdk", ""), ("vhdx", "block_size=1M"), ("vdi", ""), ("vpc", ""), ("qcow", ""), ("parallels", "")]


@pytest.mark.parametrize("fmt, options", FAILURES)
def test_every_request_fails(fmt, options):
    """The n-th request that changes something fails, for each n, alone or with all after it, and half done."""
    size = 8 << 20
    run(IMG, "create", "-q", "-f", fmt, *(["-o", options] if options else []), "start", str(size))
    run(IO, "-f", fmt, "-c", "write -P 1 0 2M", "-c", "write -P 2 3M 500k", "start")
    scenario = ["write -P 9 1M 100k", "write -P 8 3300k 700k", "write -z 64k 200k", "write -P 7 5M 300k", "flush", "write -P 6 7000k 1k"]
    touched = [(1024, 100), (3300, 700), (64, 200), (5120, 300), (7000, 1)]
    before = {(0, 64): 1, (264, 760): 1, (1124, 924): 1, (3072, 228): 2, (4000, 1120): 0, (5420, 1580): 0, (7001, 1191): 0}
    repair = fmt in ("qcow2", "qed", "vhdx", "parallels")
    # Until no request is left to fail; "only" looks at each, "from" at each third in the short form.
    for how, error, step in (("only", 28, 1), ("from", 28, times(3, 1)), ("from", 5, times(5, 1))):
        for n in range(1, times(16, 400), step):
            pathlib.Path("img").write_bytes(pathlib.Path("start").read_bytes())
            where = (f"driver={fmt},file.driver=blkdebug,file.x-fail-{how}={n},file.x-fail-errno={error},"
                     "file.image.driver=file,file.image.filename=img")
            done = run(IO, "--image-opts", *sum((["-c", c] for c in scenario), []), where, ok=False)
            assert done.returncode in (0, 1), (n, done)
            failed = done.returncode == 1 or bool(done.stderr)
            assert not failed or os.strerror(error) in done.stdout + done.stderr, (n, done)
            assert failed or how == "only" or n > 3, (n, done)
            if repair:
                fixed = run(IMG, "check", "-q", "-r", "all", "-f", fmt, "img", ok=False)
                assert fixed.returncode in (0, 3), (how, n, fixed)
                assert run("qemu-img", "check", "-q", "-f", fmt, "img", ok=False).returncode in (0, 3), (how, n)
            # What was there before and not written to is there still, and what nobody complained about.
            known = dict(before)
            if not failed:
                known.update(zip(touched, (9, 8, 0, 7, 6)))
            run(IO, "-r", "-f", fmt, *sum((["-c", f"read -P {v} {off}k {length}k"] for (off, length), v in known.items()), []), "img")
