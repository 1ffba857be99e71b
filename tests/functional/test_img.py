# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo-img against Debian's qemu-img on the same images, in both directions."""
import json
import os
import pathlib
import random
import shutil
import subprocess

import pytest
from conftest import BUILD, times

IMG = str(BUILD / "vireo-img")
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils is not installed")


def run(*argv, ok=True):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if ok:
        assert done.returncode == 0, (argv, done.returncode, done.stdout, done.stderr)
    return done


def both(args, ignore=()):
    """The JSON of ours and of theirs, and that they are equal."""
    ours = json.loads(run(IMG, *args).stdout)
    theirs = json.loads(run("qemu-img", *args).stdout)

    def strip(o):
        if isinstance(o, dict):
            return {k: strip(v) for k, v in o.items() if k not in ignore}
        return [strip(x) for x in o] if isinstance(o, list) else o
    assert strip(ours) == strip(theirs)
    return ours


def fill(path, size, rng, pieces=40):
    """A raw file with data here and there."""
    with open(path, "wb") as f:
        f.truncate(size)
        for _ in range(pieces):
            f.seek(rng.randrange(0, size - 70000) // 512 * 512)
            f.write(bytes([rng.randrange(1, 256)]) * rng.randrange(1, 130) * 512)
            if rng.random() < 0.3:
                f.write(rng.randbytes(rng.randrange(1, 64) * 512))
        f.truncate(size)


QCOW2 = ["", "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "refcount_bits=1", "refcount_bits=2",
         "refcount_bits=8", "refcount_bits=64", "compat=0.10", "lazy_refcounts=on", "extended_l2=on",
         "extended_l2=on,cluster_size=16k", "compression_type=zstd", "preallocation=metadata", "preallocation=falloc",
         "preallocation=full", "data_file=d.raw", "data_file=d.raw,data_file_raw=on"]


@pytest.mark.parametrize("options", QCOW2)
def test_create(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    opts = ["-o", options] if options else []
    run(IMG, "create", "-q", "-f", "qcow2", *opts, "a.qcow2", "20M")
    run("qemu-img", "check", "a.qcow2")
    ours = both(["info", "--output=json", "a.qcow2"])
    both(["check", "--output=json", "a.qcow2"])
    both(["map", "--output=json", "a.qcow2"])
    run("qemu-img", "create", "-q", "-f", "qcow2", *opts, "b.qcow2", "20M")
    theirs = json.loads(run("qemu-img", "info", "--output=json", "b.qcow2").stdout)
    for key in ("virtual-size", "format-specific", "cluster-size"):
        assert ours[key] == theirs[key]
    both(["info", "--output=json", "b.qcow2"])
    both(["map", "--output=json", "b.qcow2"])


@pytest.mark.parametrize("options", QCOW2)
def test_convert(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(options)
    opts = ["-o", options] if options else []
    fill("r.raw", 20 << 20, rng)
    run(IMG, "convert", "-f", "raw", "-O", "qcow2", *opts, "r.raw", "a.qcow2")
    run("qemu-img", "check", "a.qcow2")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "r.raw", "a.qcow2")
    both(["map", "--output=json", "a.qcow2"])
    both(["check", "--output=json", "a.qcow2"])
    run("rm", "-f", "d.raw")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *opts, "r.raw", "b.qcow2")
    run(IMG, "check", "b.qcow2")
    run(IMG, "compare", "-f", "raw", "-F", "qcow2", "r.raw", "b.qcow2")
    both(["check", "--output=json", "b.qcow2"])
    both(["map", "--output=json", "b.qcow2"])
    run(IMG, "convert", "-O", "raw", "b.qcow2", "c.raw")
    assert pathlib.Path("c.raw").read_bytes() == pathlib.Path("r.raw").read_bytes()
    if "data_file" not in options and "preallocation" not in options:
        run(IMG, "convert", "-c", "-f", "raw", "-O", "qcow2", *opts, "r.raw", "z.qcow2")
        run("qemu-img", "check", "z.qcow2")
        run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "r.raw", "z.qcow2")
        run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", *opts, "r.raw", "y.qcow2")
        run(IMG, "compare", "-f", "raw", "-F", "qcow2", "r.raw", "y.qcow2")
        both(["check", "--output=json", "z.qcow2"])
    for fmt in ("raw", "qcow2"):
        o = [] if fmt == "raw" or "data_file" in options else opts
        both(["measure", "--output=json", "-O", fmt, *o, "r.raw"])
        both(["measure", "--output=json", "-O", fmt, *o, "a.qcow2"])
        both(["measure", "--output=json", "-O", fmt, *o, "--size", "3G"])


def test_backing_chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill("r.raw", 10 << 20, random.Random(5))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "r.raw", "base.qcow2")
    run(IMG, "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2")
    run("qemu-io", "-c", "write -P 7 1M 100k", "-c", "write -z 3M 1M", "mid.qcow2")
    run(IMG, "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "12M")
    run("qemu-io", "-c", "write -P 9 2M 10k", "top.qcow2")
    both(["info", "--output=json", "--backing-chain", "top.qcow2"])
    both(["map", "--output=json", "top.qcow2"])
    run(IMG, "convert", "-O", "raw", "top.qcow2", "ours.raw")
    run("qemu-img", "convert", "-O", "raw", "top.qcow2", "theirs.raw")
    assert pathlib.Path("ours.raw").read_bytes() == pathlib.Path("theirs.raw").read_bytes()
    run("cp", "base.qcow2", "base2.qcow2")
    run(IMG, "rebase", "-b", "base2.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-img", "compare", "top.qcow2", "theirs.raw")
    run("qemu-img", "check", "top.qcow2")
    run(IMG, "commit", "top.qcow2")
    run("qemu-img", "check", "base2.qcow2")
    run("qemu-img", "check", "top.qcow2")
    run("qemu-img", "compare", "base2.qcow2", "theirs.raw")
    run(IMG, "rebase", "-b", "", "top.qcow2")
    run("qemu-img", "compare", "top.qcow2", "theirs.raw")


def test_text_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill("r.raw", 10 << 20, random.Random(5))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "r.raw", "a.qcow2")
    run("qemu-img", "snapshot", "-c", "first", "a.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
    for args in (["info", "a.qcow2"], ["info", "--backing-chain", "b.qcow2"], ["check", "a.qcow2"], ["map", "a.qcow2"],
                 ["map", "b.qcow2"], ["snapshot", "-l", "a.qcow2"], ["info", "r.raw"], ["map", "-f", "raw", "r.raw"],
                 ["measure", "-O", "qcow2", "r.raw"], ["compare", "a.qcow2", "b.qcow2"],
                 ["create", "-f", "qcow2", "x.qcow2", "1G"], ["create", "-f", "raw", "x.raw", "1G"],
                 ["resize", "x.qcow2", "+1G"], ["create", "-f", "qcow2", "-o", "help", "x.qcow2"]):
        assert run(IMG, *args).stdout == run("qemu-img", *args).stdout, args


@pytest.mark.parametrize("args, code", [
    (["info", "none"], 1), (["create", "-f", "nope", "x", "1M"], 1), (["create", "-f", "qcow2", "x"], 1),
    (["create", "-f", "qcow2", "-o", "cluster_size=3k", "x", "1M"], 1), (["compare", "none", "none"], 2),
    (["check", "-f", "raw", "r.raw"], 63), (["compare", "r.raw", "s.raw"], 1), (["frobnicate"], 1), ([], 1),
    (["resize", "r.raw", "1M"], 1), (["convert", "r.raw"], 1), (["create", "-f", "qcow2", "-o", "bogus=1", "x", "1M"], 1)])
def test_exit_codes(tmp_path, monkeypatch, args, code):
    monkeypatch.chdir(tmp_path)
    for name in ("r.raw", "s.raw"):
        with open(name, "wb") as f:
            f.truncate(2 << 20)
            f.write(name.encode())
    ours = run(IMG, *args, ok=False)
    theirs = run("qemu-img", *args, ok=False)
    assert ours.returncode == theirs.returncode == code
    assert ours.stderr.startswith("vireo-img: ") or ours.stdout == theirs.stdout
    assert not os.path.exists("x")


def test_locks(tmp_path, monkeypatch):
    """A second writer is refused, whichever program has the image."""
    monkeypatch.chdir(tmp_path)
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    holder = subprocess.Popen(["qemu-io", "a.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write("write 0 64k\n")
    holder.stdin.flush()
    while "ops/sec" not in holder.stdout.readline():
        pass
    done = run(IMG, "resize", "a.qcow2", "2M", ok=False)
    assert done.returncode == 1 and 'Failed to get "write" lock' in done.stderr
    done = run(IMG, "info", "a.qcow2", ok=False)
    assert done.returncode == 1 and 'Failed to get shared "write" lock' in done.stderr
    run(IMG, "info", "-U", "a.qcow2")
    holder.communicate("quit\n")
    run(IMG, "resize", "a.qcow2", "2M")


@pytest.mark.parametrize("options", ["", "cluster_size=4k", "extended_l2=on", "refcount_bits=8", "compat=0.10",
                                     "lazy_refcounts=on", "compression_type=zstd,cluster_size=16k"])
def test_random_sequence(tmp_path, monkeypatch, options):
    """Writes, zeroes, discards, snapshots, resizes, commits, rebases by either tool, on two images."""
    monkeypatch.chdir(tmp_path)
    seed = int(os.environ.get("VIREO_SEED", "1")) + len(options)
    rng = random.Random(seed)
    print("seed", seed)
    opts = ["-o", options] if options else []
    size = 8 << 20
    fill("base.raw", size, rng)
    snaps = 0
    for name in ("a.qcow2", "b.qcow2"):
        run("qemu-img", "create", "-q", "-f", "qcow2", *opts, "-b", "base.raw", "-F", "raw", name, size)
    for step in range(times(20, 1500)):
        what = rng.choice(["write"] * 6 + ["zero", "zero-unmap", "discard", "snap", "apply", "drop", "resize", "rebase"])
        tool = rng.choice([IMG, "qemu-img"])
        off = rng.randrange(0, size) // 512 * 512
        length = min(rng.randrange(1, 600) * 512, size - off)
        other = "qemu-img" if tool == IMG else IMG
        for name, t in (("a.qcow2", tool), ("b.qcow2", other)):
            io = str(BUILD / "vireo-io") if t == IMG and (BUILD / "vireo-io").exists() else "qemu-io"
            if what == "write":
                run(io, "-c", f"write -P {step % 255 + 1} {off} {length}", name)
            elif what == "zero":
                run(io, "-c", f"write -z {off} {length}", name)
            elif what == "zero-unmap":
                run(io, "-c", f"write -z -u {off} {length}", name)
            elif what == "discard" and options != "compat=0.10":
                o, n = off // 65536 * 65536, max(length // 65536, 1) * 65536
                run(io, "-d", "unmap", "-c", f"discard {o} {min(n, size - o)}", name)
            elif what == "snap" and snaps < 8:
                run(t, "snapshot", "-c", f"s{step}", name)
            elif what == "apply" and snaps and options != "compat=0.10":
                run(t, "snapshot", "-a", f"{first}", name)
            elif what == "drop" and snaps:
                run(t, "snapshot", "-d", f"{first}", name)
            elif what == "resize" and not snaps:
                run(t, "resize", "-q", "-f", "qcow2", name, size + 65536)
            elif what == "rebase":
                run("cp", "base.raw", "base2.raw")
                run(t, "rebase", "-b", "base2.raw" if step % 2 else "base.raw", "-F", "raw", name)
        if what == "snap" and snaps < 8:
            first = f"s{step}" if snaps == 0 else first
            snaps += 1
        elif what == "drop" and snaps:
            listed = json.loads(run("qemu-img", "info", "--output=json", "a.qcow2").stdout).get("snapshots", [])
            snaps = len(listed)
            first = listed[0]["name"] if listed else None
        elif what == "resize" and not snaps:
            size += 65536
        if step % 10 == 9 or what in ("apply", "drop"):
            for name in ("a.qcow2", "b.qcow2"):
                done = run("qemu-img", "check", name, ok=False)
                assert done.returncode in (0, 3) and "ERROR" not in done.stderr, (step, what, tool, done.stdout, done.stderr)
                ours, theirs = (run(x, "check", "--output=json", name, ok=False) for x in (IMG, "qemu-img"))
                assert json.loads(ours.stdout) == json.loads(theirs.stdout), (step, what)
            run("qemu-img", "compare", "a.qcow2", "b.qcow2")
            run(IMG, "compare", "a.qcow2", "b.qcow2")
