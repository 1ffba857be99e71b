# SPDX-License-Identifier: GPL-2.0-or-later
"""The other image formats, against Debian's qemu-img and qemu-io, in both directions."""
import pathlib
import random
import shutil
import subprocess

import pytest
from conftest import BUILD, SOAK, times
from test_img import IMG, both, fill, run

IO = str(BUILD / "vireo-io")
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils is not installed")

FORMATS = [("vdi", ""), ("vdi", "static=on"), ("vpc", ""), ("vpc", "subformat=fixed"), ("vpc", "force_size=on"),
           ("qed", ""), ("qed", "cluster_size=4k"), ("qcow", ""), ("parallels", ""),
           ("parallels", "cluster_size=64k"), ("vmdk", ""), ("vmdk", "zeroed_grain=on"), ("vmdk", "subformat=monolithicFlat"),
           ("vmdk", "subformat=twoGbMaxExtentSparse"), ("vmdk", "subformat=twoGbMaxExtentFlat"),
           ("vmdk", "adapter_type=lsilogic,hwversion=7,toolsversion=55"), ("vmdk", "compat6=on"), ("vhdx", ""),
           ("vhdx", "block_size=1M"), ("vhdx", "subformat=fixed"), ("vhdx", "block_state_zero=off,log_size=2M")]
CHECKED = ("vdi", "qed", "parallels", "vhdx", "vmdk")


def same(a, b, fmt):
    """Equal content, as both tools see it."""
    for tool in (IMG, "qemu-img"):
        run(tool, "compare", "-f", "raw", "-F", fmt, a, b)


@pytest.mark.parametrize("fmt, options", FORMATS)
def test_format(tmp_path, monkeypatch, fmt, options):
    monkeypatch.chdir(tmp_path)
    opts = ["-o", options] if options else []
    fill("r.raw", 20 << 20, random.Random(fmt + options))
    run(IMG, "convert", "-f", "raw", "-O", fmt, *opts, "r.raw", f"a.{fmt}")
    run("qemu-img", "convert", "-f", "raw", "-O", fmt, *opts, "r.raw", f"b.{fmt}")
    for name in (f"a.{fmt}", f"b.{fmt}"):
        both(["info", "--output=json", "-f", fmt, name])
        if fmt != "vhdx":  # qemu-img does not look for holes there; ours does
            both(["map", "--output=json", "-f", fmt, name])
        same("r.raw", name, fmt)
        if fmt in CHECKED:
            both(["check", "--output=json", "-f", fmt, name])
    run(IMG, "create", "-q", "-f", fmt, *opts, f"c.{fmt}", "30M")
    run("qemu-img", "create", "-q", "-f", fmt, *opts, f"d.{fmt}", "30M")
    both(["info", "--output=json", "-f", fmt, f"c.{fmt}"])
    both(["info", "--output=json", "-f", fmt, f"d.{fmt}"])
    # Written by both in turn.
    rng = random.Random(1)
    for step in range(times(12, 400)):
        off = rng.randrange(0, (30 << 20) - 300000) // 512 * 512
        length = rng.randrange(1, 500) * 512
        what = f"write -P {step % 250 + 1} {off} {length}" if rng.random() < 0.8 else f"write -z {off} {length}"
        for name, tool in ((f"c.{fmt}", "qemu-io" if step % 2 else IO), (f"d.{fmt}", IO if step % 2 else "qemu-io")):
            run(tool, "-f", fmt, "-c", what, name)
    run(IMG, "convert", "-f", fmt, "-O", "raw", f"c.{fmt}", "c.raw")
    same("c.raw", f"d.{fmt}", fmt)
    if fmt in CHECKED:
        for name in (f"c.{fmt}", f"d.{fmt}"):
            run("qemu-img", "check", "-f", fmt, name)
            both(["check", "--output=json", "-f", fmt, name])


def test_vmdk_cid_with_leading_zero(tmp_path, monkeypatch):
    """qemu-img writes the CID without leading zeroes: what stands behind it must stay."""
    monkeypatch.chdir(tmp_path)
    run(IMG, "create", "-q", "-f", "vmdk", "a.vmdk", "4M")
    image = bytearray(pathlib.Path("a.vmdk").read_bytes())
    at = image.index(b"\nCID=") + 5
    end = image.index(b"\0", at)
    image[at:end] = b"12345\n" + image[at + 9:end] + bytes(3)
    pathlib.Path("a.vmdk").write_bytes(image)
    run(IO, "-f", "vmdk", "-c", "write -P 5 0 64k", "a.vmdk")
    text = pathlib.Path("a.vmdk").read_bytes()
    cid = text[at:text.index(b"\n", at)]
    assert len(cid) == 5 and cid != b"12345" and text[at + 5:].startswith(b"\nparentCID=")
    run("qemu-io", "-f", "vmdk", "-c", "read -P 5 0 64k", "a.vmdk")


@pytest.mark.parametrize("fmt", ["qed", "qcow", "vmdk"])
def test_backing(tmp_path, monkeypatch, fmt):
    monkeypatch.chdir(tmp_path)
    fill("r.raw", 4 << 20, random.Random(3))
    base = "r.raw" if fmt != "vmdk" else "r.vmdk"  # a vmdk lies on a vmdk
    run(IMG, "convert", "-f", "raw", "-O", "vmdk", "r.raw", "r.vmdk")
    run(IMG, "create", "-q", "-f", fmt, "-b", base, "-F", base[2:], f"a.{fmt}")
    run("qemu-img", "create", "-q", "-f", fmt, "-b", base, "-F", base[2:], f"b.{fmt}")
    for name in (f"a.{fmt}", f"b.{fmt}"):
        both(["info", "--output=json", "-f", fmt, name])
    for step in range(10):
        what = f"write -P {step + 1} {step * 300000 // 512 * 512} 5120"
        run(IO, "-f", fmt, "-c", what, f"a.{fmt}")
        run("qemu-io", "-f", fmt, "-c", what, f"b.{fmt}")
    run("qemu-img", "compare", "-f", fmt, "-F", fmt, f"a.{fmt}", f"b.{fmt}")
    run(IMG, "compare", "-f", fmt, "-F", fmt, f"a.{fmt}", f"b.{fmt}")


def test_vmdk_split(tmp_path, monkeypatch):
    """More than one extent, and what is written across their border."""
    monkeypatch.chdir(tmp_path)
    for sub in ("twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        for tool, name in ((IMG, "a.vmdk"), ("qemu-img", "b.vmdk")):
            run(tool, "create", "-q", "-f", "vmdk", "-o", f"subformat={sub}", name, "5G")
            for io in (IO, "qemu-io"):
                run(io, "-f", "vmdk", "-c", "write -P 7 2147450880 65536", "-c", "write -P 8 5368705024 4096", name)
            both(["info", "--output=json", "-f", "vmdk", name])
            both(["map", "--output=json", "-f", "vmdk", name])
            both(["check", "--output=json", "-f", "vmdk", name])
        run(IMG, "compare", "-f", "vmdk", "-F", "vmdk", "a.vmdk", "b.vmdk")
        run("qemu-img", "compare", "-f", "vmdk", "-F", "vmdk", "a.vmdk", "b.vmdk")


def test_vmdk_stream(tmp_path, monkeypatch):
    """Stream-optimized: converted to and from, written to, with grains that become no smaller."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(4)
    fill("r.raw", (10 << 20) + 5 * 512, rng)
    with open("r.raw", "r+b") as f:
        f.write(rng.randbytes(300000))
    for tool, name in ((IMG, "a.vmdk"), ("qemu-img", "b.vmdk")):
        run(tool, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "r.raw", name)
        same("r.raw", name, "vmdk")
        both(["info", "--output=json", "-f", "vmdk", name])
        both(["map", "--output=json", "-f", "vmdk", name])
        both(["check", "--output=json", "-f", "vmdk", name])
    run(IO, "-f", "vmdk", "-c", "write -P 3 100 200000", "-c", "write -P 4 9M 1000", "a.vmdk")
    run(IO, "-f", "raw", "-c", "write -P 3 100 200000", "-c", "write -P 4 9M 1000", "r.raw")
    same("r.raw", "a.vmdk", "vmdk")
    assert pathlib.Path("b.vmdk").stat().st_size * 1.05 > pathlib.Path("a.vmdk").stat().st_size - 300000


def test_vmdk_refusals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(IMG, "create", "-q", "-f", "vmdk", "base.vmdk", "1M")
    run(IMG, "create", "-q", "-f", "raw", "base.raw", "1M")
    for opts, text in ((["-o", "subformat=none"], "Invalid subformat"), (["-o", "adapter_type=x"], "Unknown adapter type"),
                       (["-b", "base.raw", "-F", "raw"], "Must be \"vmdk\""),
                       (["-b", "base.vmdk", "-F", "vmdk", "-o", "subformat=monolithicFlat"], "can't have backing"),
                       (["-o", "compat6=on,hwversion=5"], "hwversion")):
        done = run(IMG, "create", "-f", "vmdk", *opts, "x.vmdk", *([] if "-b" in opts else ["1M"]), ok=False)
        assert done.returncode == 1 and text in done.stderr, done.stderr
        assert not pathlib.Path("x.vmdk").exists() and not pathlib.Path("x-flat.vmdk").exists()
    run(IMG, "create", "-q", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "over.vmdk")
    run(IO, "-c", "write 0 512", "base.vmdk")
    done = run(IMG, "convert", "-O", "raw", "over.vmdk", "x.raw", ok=False)
    assert done.returncode == 1 and "parent was changed" in done.stderr


def test_vhdx_log(tmp_path, monkeypatch):
    """What a writer that was killed left in the log is put in its place: ours of theirs, theirs of ours."""
    monkeypatch.chdir(tmp_path)
    for writer in (IO, "qemu-io"):
        for reader in (IMG, "qemu-img"):
            run(IMG, "create", "-q", "-f", "vhdx", "-o", "block_size=1M", "a.vhdx", "20M")
            io = subprocess.Popen([writer, "-f", "vhdx", "a.vhdx"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for n in range(10):
                io.stdin.write(f"write -P {n + 1} {n * 2}M 1M\n")
                io.stdin.flush()
                while "wrote 1048576" not in io.stdout.readline():
                    assert io.poll() is None
            io.kill()
            io.wait()
            if writer == IO:  # what went to the BAT last never arrived there
                with open("a.vhdx", "r+b") as f:
                    f.seek(2 << 20)
                    f.write(bytes([2, 0, 0, 0, 0, 0, 0, 0]) * 20)
                done = run(IMG, "info", "-f", "vhdx", "a.vhdx", ok=False)
                assert done.returncode == 1 and "check -r all" in done.stderr
            run(reader, "check", "-r", "all", "-f", "vhdx", "a.vhdx")
            for io in (IO, "qemu-io"):
                run(io, "-f", "vhdx", *sum((["-c", f"read -P {n + 1} {n * 2}M 1M"] for n in range(10)), []), "a.vhdx")


SECRET = ["--object", "secret,id=s,data=geheim"]
CIPHERS = ["", "cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha1",
           "cipher-alg=twofish-256,ivgen-alg=plain"]
if SOAK:
    CIPHERS += ["cipher-alg=aes-128", "cipher-alg=serpent-256", "cipher-mode=cbc", "hash-alg=sha512"]


@pytest.mark.parametrize("options", CIPHERS)
def test_luks(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    fill("r.raw", 3 << 20, random.Random(3))
    opts = "key-secret=s,iter-time=10" + ("," + options if options else "")
    for tool, name in ((IMG, "a.luks"), ("qemu-img", "b.luks")):
        # Old qemu-img cannot time very short PBKDF runs on every machine.
        for _ in range(5):
            if run(tool, "create", "-q", *SECRET, "-f", "luks", "-o", opts, name, "3M", ok=False).returncode == 0:
                break
        for reader in (IMG, "qemu-img"):
            run(reader, "convert", *SECRET, "-n", "-f", "raw", "--target-image-opts", "r.raw",
                f"driver=luks,key-secret=s,file.filename={name}")
            for other in (IMG, "qemu-img"):
                run(other, "convert", *SECRET, "--image-opts", "-O", "raw",
                    f"driver=luks,key-secret=s,file.filename={name}", "x.raw")
                assert pathlib.Path("x.raw").read_bytes() == pathlib.Path("r.raw").read_bytes()
    q = ",".join("encrypt." + o for o in opts.split(","))
    run(IMG, "create", "-q", *SECRET, "-f", "qcow2", "-o", "encrypt.format=luks," + q, "a.qcow2", "3M")
    where = "driver=qcow2,encrypt.key-secret=s,file.filename=a.qcow2"
    run(IO, *SECRET, "--image-opts", "-c", "write -P 5 100 10000", where)
    run("qemu-io", *SECRET, "--image-opts", "-c", "read -P 5 100 10000", "-c", "write -P 6 70000 9999", where)
    run(IO, *SECRET, "--image-opts", "-c", "read -P 6 70000 9999", "-c", "read -P 0 0 100", where)
    run("qemu-img", "check", *SECRET, "--image-opts", where)
    both(["info", *SECRET, "--output=json", "--image-opts", where], ignore=("filename",))


def test_luks_keyslots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = ["--object", "secret,id=n,data=neu"]
    run(IMG, "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10", "a.luks", "1M")
    opts = "driver=luks,key-secret={},file.filename=a.luks"
    run(IMG, "amend", *SECRET, *new, "--image-opts", "-o", "state=active,new-secret=n,iter-time=10", opts.format("s"))
    run("qemu-io", *new, "--image-opts", "-c", "write -P 3 0 64k", opts.format("n"))
    run(IMG, "amend", *SECRET, *new, "--image-opts", "-o", "state=inactive,old-secret=s", opts.format("n"))
    assert run("qemu-io", *SECRET, "--image-opts", "-c", "read 0 1", opts.format("s"), ok=False).returncode == 1
    done = run(IMG, "amend", *new, "--image-opts", "-o", "state=inactive,old-secret=n", opts.format("n"), ok=False)
    assert done.returncode == 1 and "only active keyslot" in done.stderr
    run(IO, *new, "--image-opts", "-c", "read -P 3 0 64k", opts.format("n"))
    assert run(IO, *SECRET, "--image-opts", "-c", "read 0 1", opts.format("s"), ok=False).returncode == 1


def test_bitmaps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(IMG, "create", "-q", "-f", "qcow2", "a.qcow2", "10M")
    run(IMG, "bitmap", "--add", "a.qcow2", "one")
    run("qemu-img", "bitmap", "--add", "-g", "4k", "a.qcow2", "two")
    run(IO, "-c", "write 1M 100k", "a.qcow2")
    run("qemu-io", "-c", "write 3M 100k", "a.qcow2")
    run(IMG, "bitmap", "--disable", "a.qcow2", "two")
    both(["info", "--output=json", "a.qcow2"])
    run("qemu-img", "check", "a.qcow2")
    both(["check", "--output=json", "a.qcow2"])
    both(["measure", "--output=json", "-O", "qcow2", "a.qcow2"])
    run(IMG, "convert", "--bitmaps", "-O", "qcow2", "a.qcow2", "b.qcow2")
    run("qemu-img", "check", "b.qcow2")
    run(IMG, "bitmap", "--merge", "one", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2", "two")
    run(IMG, "bitmap", "--remove", "b.qcow2", "one")
    run("qemu-img", "check", "b.qcow2")
    both(["info", "--output=json", "b.qcow2"])
