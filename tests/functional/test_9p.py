# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-9p with Debian's kernel that has 9P (linux-image-amd64, not the cloud one).

VIREO_KERNEL_ROOT names a folder where that package is unpacked; with VIREO_SOAK=1 it is downloaded.
"""
import glob
import os
import pathlib
import re
import subprocess

import pytest

MODULES = ["virtio_ring", "virtio", "virtio_mmio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "netfs", "fscache", "9pnet", "9pnet_virtio", "9p"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
for m in {modules}; do test -e /m/$m.ko && insmod /m/$m.ko; done
mkdir /a /b
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 rw /a || echo MOUNT-FAILED
mount -t 9p -o trans=virtio,version=9p2000.L,ro ro /b || echo MOUNT-FAILED
echo SUM $(sha256sum /a/big)
dd if=/dev/urandom of=/a/made bs=64k count=64 2>/dev/null
mkdir /a/dir && mv /a/made /a/dir/moved && ln -s moved /a/dir/link && ln /a/dir/moved /a/dir/hard
chmod 600 /a/dir/moved; touch -d '2001-02-03 04:05:06' /a/dir/moved; truncate -s 4000000 /a/dir/moved
echo MADE $(sha256sum < /a/dir/link) $(stat -c %h%a%s /a/dir/hard)
echo MANY $(ls /a/many | wc -l)
rm -r /a/many
touch /b/no 2>/dev/null || echo READ-ONLY
cat /a/../etc/passwd >/dev/null 2>&1 || echo CLOSED
cat /a/out >/dev/null 2>&1 || echo CLOSED
umount /a; umount /b
poweroff -f
"""


@pytest.fixture(scope="module")
def kernel_root(tmp_path_factory):
    if "VIREO_KERNEL_ROOT" in os.environ:
        return pathlib.Path(os.environ["VIREO_KERNEL_ROOT"])
    if not os.environ.get("VIREO_SOAK"):
        pytest.skip("no VIREO_KERNEL_ROOT; downloaded with VIREO_SOAK=1")
    work = tmp_path_factory.mktemp("kernel")
    shown = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True)
    package = re.search(r"linux-image-[0-9.]+-[0-9]+-amd64", shown.stdout).group(0)
    subprocess.run(["apt-get", "download", package], cwd=work, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", next(work.glob("*.deb")), work / "root"], check=True)
    return work / "root"


def make_initrd(root, tmp_path):
    tree = tmp_path / "tree"
    for name in ["bin", "dev", "proc", "sys", "m", "etc"]:
        (tree / name).mkdir(parents=True)
    (tree / "bin" / "busybox").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
    (tree / "bin" / "busybox").chmod(0o755)
    for name in MODULES:
        for found in glob.glob(f"{root}/lib/modules/*/kernel/**/{name}.ko", recursive=True):
            (tree / "m" / f"{name}.ko").write_bytes(pathlib.Path(found).read_bytes())
    (tree / "init").write_text(INIT.format(modules=" ".join(MODULES)))
    (tree / "init").chmod(0o755)
    initrd = tmp_path / "initrd"
    subprocess.run(f"find . | cpio -o -H newc --quiet > {initrd}", shell=True, cwd=tree, check=True)
    return initrd


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_share(build, kernel_root, tmp_path, machine):
    share, ro = tmp_path / "share", tmp_path / "ro"
    share.mkdir()
    ro.mkdir()
    (share / "big").write_bytes(os.urandom(3 << 20))
    (share / "out").symlink_to("/etc/hostname")
    (share / "many").mkdir()
    for i in range(3000):
        (share / "many" / f"a file with a longer name {i}").touch()
    suffix = "device" if machine == "microvm" else "pci"
    done = subprocess.run([build / "vireo-system-x86_64", "-M", machine, "-accel", "vireo", "-m", "256", "-nographic",
                           "-no-reboot", "-nodefaults", "-serial", "stdio",
                           "-kernel", next((kernel_root / "boot").glob("vmlinuz-*")),
                           "-initrd", make_initrd(kernel_root, tmp_path), "-append", "console=ttyS0 panic=-1 quiet",
                           "-fsdev", f"local,id=f,path={share},security_model=passthrough",
                           "-device", f"virtio-9p-{suffix},fsdev=f,mount_tag=rw",
                           "-virtfs", f"local,path={ro},mount_tag=ro,security_model=none,readonly=on"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
    text = done.stdout
    host = subprocess.run(["sha256sum", share / "big"], capture_output=True, text=True, check=True).stdout.split()[0]
    made = subprocess.run(["sha256sum"], stdin=open(share / "dir" / "moved", "rb"), capture_output=True, text=True,
                          check=True).stdout.split()[0]
    assert f"SUM {host} /a/big" in text, text + done.stderr
    assert f"MADE {made} - 26004000000" in text, text
    assert "MANY 3000" in text and "READ-ONLY" in text and text.count("CLOSED") == 2, text
    assert not (share / "many").exists() and list(ro.iterdir()) == []
    assert os.readlink(share / "dir" / "link") == "moved"
    assert int((share / "dir" / "hard").stat().st_mtime) != 0
    assert "MOUNT-FAILED" not in text and done.returncode == 0


@pytest.mark.parametrize("args, line", [
    (["-virtfs", "local,path=/none,mount_tag=t,security_model=none"], "cannot share '/none'"),
    (["-virtfs", "local,path=/usr,security_model=none"], "mount_tag= is missing"),
    (["-fsdev", "proxy,id=a,path=/usr,security_model=none"], "'proxy' is no file system driver of ours: use local"),
    (["-fsdev", "local,id=a,path=/usr,security_model=mapped-file"], "use passthrough or none"),
    (["-device", "virtio-9p-device,fsdev=x,mount_tag=t"], "fsdev=x: there is no -fsdev of this id"),
])
def test_bad_input(build, args, line):
    done = subprocess.run([build / "vireo-system-x86_64", "-M", "microvm", "-accel", "vireo", "-nographic", *args],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and line in done.stderr and done.stderr.count("\n") == 1, done.stderr
