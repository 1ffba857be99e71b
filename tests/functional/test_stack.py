# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole stack: virsh, vireod, our emulator and engine; no QEMU in it."""
import os
import subprocess

import pytest

from conftest import BUILD
from peer import VIRSH_ENV, Vireod, have_libvirt

pytestmark = pytest.mark.skipif(not have_libvirt(), reason="needs root and libvirt's clients")

XML = """<domain type='kvm'>
  <name>ubuntu-vm</name>
  <memory unit='KiB'>131072</memory>
  <vcpu placement='static'>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-2.9'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{dir}/ubuntu.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'>
      <mac address='52:54:00:11:22:33'/>
      <model type='virtio'/>
    </interface>
    <graphics type='vnc' port='-1' autoport='yes'/>
  </devices>
</domain>
"""


@pytest.fixture
def ours(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/vireod.conf").write_text(f'emulator = "{BUILD}/vireo-system-x86_64"\nimage_tool = "{BUILD}/vireo-img"\n')
    d = Vireod(BUILD, tmp_path)
    yield d
    d.stop()


def test_life_on_our_emulator(ours, tmp_path):
    def ok(*args):
        return ours.virsh(*map(str, args), check=True)[1]
    for name in ("ubuntu", "extra"):
        subprocess.run([BUILD / "vireo-img", "create", "-q", "-f", "qcow2", tmp_path / f"{name}.qcow2", "64M"], check=True)
    (tmp_path / "d.xml").write_text(XML.format(emulator=BUILD / "vireo-system-x86_64", dir=tmp_path))
    ok("define", tmp_path / "d.xml")
    ok("start", "ubuntu-vm")
    assert "vireo-system" in os.readlink(f"/proc/{pid_of('ubuntu-vm')}/exe")
    ok("screenshot", "ubuntu-vm", tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes()[1:4] == b"PNG"
    ok("suspend", "ubuntu-vm")
    ok("resume", "ubuntu-vm")
    ok("snapshot-create-as", "ubuntu-vm", "inside")
    ok("snapshot-revert", "ubuntu-vm", "inside")
    assert "running (from snapshot)" in ok("domstate", "ubuntu-vm", "--reason")
    ok("snapshot-delete", "ubuntu-vm", "inside")
    ok("snapshot-create-as", "ubuntu-vm", "outside", "--disk-only")
    ok("snapshot-delete", "ubuntu-vm", "outside")
    assert f"{tmp_path}/ubuntu.qcow2" in ok("domblklist", "ubuntu-vm")
    ok("save", "ubuntu-vm", tmp_path / "save")
    ok("restore", tmp_path / "save")
    ours.kill()
    ours.start()
    assert "running" in ok("domstate", "ubuntu-vm")
    ok("attach-disk", "ubuntu-vm", tmp_path / "extra.qcow2", "vdb", "--subdriver", "qcow2")
    assert "vdb" in ok("domblklist", "ubuntu-vm")
    ok("managedsave", "ubuntu-vm")
    ok("managedsave-remove", "ubuntu-vm")
    ok("undefine", "ubuntu-vm")


def pid_of(name):
    return subprocess.run(["pgrep", "-f", f"vireo-system-x86_64 -name guest={name},"], capture_output=True, text=True).stdout.split()[0]


def test_ssh_clients_reach_it_through_the_helper(ours, tmp_path):
    (tmp_path / "virt-ssh-helper").symlink_to(BUILD / "vireod")
    (tmp_path / "ext").write_text(f"#!/bin/sh\nexec {tmp_path}/virt-ssh-helper 'qemu+unix:///system?socket={ours.socket}'\n")
    (tmp_path / "ext").chmod(0o755)
    for program in ("virsh", BUILD / "vireo"):
        done = subprocess.run([program, "-c", f"qemu+ext:///system?command={tmp_path}/ext", "list", "--all"], capture_output=True,
                              text=True, env=VIRSH_ENV, timeout=30)
        assert done.returncode == 0 and "Name" in done.stdout, done.stderr
