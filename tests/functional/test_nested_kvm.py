# SPDX-License-Identifier: GPL-2.0-or-later
"""The full boot on the kernel's true KVM: QEMU's TCG emulates SVM, so a Debian guest under it has kvm_amd.

Minutes, and a root file system made by mmdebstrap: part of the soak only.
"""
import glob
import os
import shutil
import subprocess

import pytest

import conftest

INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /tmp
export LD_LIBRARY_PATH=/opt/v XDG_CACHE_HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin
modprobe kvm_amd nested=1
cd /opt/v
for cpus in 1 2; do
    ./vireo-system-x86_64 -M microvm -cpu max -nodefaults -display none -no-reboot -m 256 -smp $cpus -serial stdio \\
        -kernel vmlinuz -append "console=ttyS0 panic=-1" </dev/null
    echo "NESTED-STATUS $cpus $?"
done
echo b >/proc/sysrq-trigger
"""
PACKAGES = "linux-image-cloud-amd64,kmod,libjson-c5,libseccomp2,libcap-ng0,liburing2,libdeflate0"


@pytest.mark.skipif(not conftest.SOAK, reason="soak only")
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap")
def test_boot_on_true_kvm(build, tmp_path):
    root = tmp_path / "nest"
    subprocess.run(["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], check=True,
                   timeout=3600)
    (root / "opt/v").mkdir()
    kernel = sorted(glob.glob(str(root / "boot/vmlinuz-*")))[-1]
    for source, name in ((build / "vireo-system-x86_64", "vireo-system-x86_64"),
                         (build / "src/engine/libvireo-kvm.so.0", "libvireo-kvm.so.0"), (kernel, "vmlinuz")):
        shutil.copy(source, root / "opt/v" / name)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, tmp_path / "nest.img", "2G"], check=True, timeout=300)
    initrd = sorted(glob.glob(str(root / "boot/initrd.img-*")))[-1]
    done = subprocess.run(
        ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max,+svm", "-m", "1500", "-nographic",
         "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append",
         "console=ttyS0 root=/dev/vda rw init=/init panic=-1 quiet", "-drive",
         f"file={tmp_path}/nest.img,format=raw,if=virtio"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
    text = done.stdout.decode(errors="replace")
    assert "the kernel's KVM runs the guest: its test passed" in text
    for cpus in (1, 2):
        assert f"Brought up 1 node, {cpus} CPU" in text
        assert f"NESTED-STATUS {cpus} 0" in text
